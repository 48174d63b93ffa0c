//! The simulated engine: containers, operations with every kind of end, lists and events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agent::Agent;
use super::{Container, Due, Operation, Told, Turn, World};
use crate::fleet::effect::{ContainerPlan, EngineAction};
use crate::fleet::event::{
    ContainerExit, ContainerFact, ContainerState, EngineEvent, Event, OpError, OpErrorClass,
    Outcome,
};
use crate::fleet::runner::OpKind;
use crate::ids::{ContainerId, IncarnationId, OpId};
use crate::sim::fault::{Limbo, OpFate};
use crate::units::Time;

/// The shell gives an operation up after this long.
const PATIENCE: Duration = Duration::from_secs(5);

impl World {
    pub(super) fn begin_op(&mut self, op: OpId, incarnation: IncarnationId, action: EngineAction) {
        self.truth.operations.insert(op, describe(incarnation, &action));
        if let Some(other) = self.truth.in_flight.insert(incarnation, op) {
            self.truth.violation(format!("{incarnation} has two operations: {other} and {op}"));
        }
        let (kind, base) = match action {
            EngineAction::Create(_) => (OpKind::Create, 100),
            EngineAction::Start(_) => (OpKind::Start, 50),
            EngineAction::Remove { .. } => (OpKind::Remove, 80),
        };
        let mut wait = self.span(base);
        let mut fate = self.faults.of_operation(&mut self.rng);
        if !self.is_engine_up || self.failing.contains(&kind) {
            fate = OpFate::Fails(OpErrorClass::Retry);
        }
        let mut operation =
            Operation { epoch: self.epoch, op, incarnation, action, told: Told::Yes };
        match fate {
            OpFate::Happens => {}
            OpFate::Slow(more) => wait += more,
            OpFate::Fails(class) => {
                let error = OpError { class, message: "the engine refused".to_owned() };
                self.tell(wait, Event::Operation { op, outcome: Outcome::Failed(error) });
                return;
            }
            OpFate::Unknown(limbo) => {
                operation.told = Told::GivenUp;
                self.truth.limbo.insert(incarnation);
                let outcome = Outcome::Unknown("no answer in time".to_owned());
                self.tell(PATIENCE, Event::Operation { op, outcome });
                match limbo {
                    Limbo::Before => {}
                    Limbo::Never => return,
                    Limbo::After(more) => wait = PATIENCE + more,
                }
            }
        }
        self.clock.after(wait, Due::Operate(Box::new(operation)));
    }

    pub(super) fn operate(&mut self, operation: Operation) {
        let Operation { epoch, op, incarnation, action, told } = operation;
        let report = (told == Told::Yes).then_some((epoch, op));
        let outcome = match action {
            EngineAction::Create(plan) => self.create(*plan),
            EngineAction::Start(container) => self.start(&container),
            EngineAction::Remove { container } => {
                match self.remove(container, incarnation, report) {
                    Some(outcome) => outcome,
                    None => return,
                }
            }
        };
        self.report(report, outcome);
    }

    fn report(&mut self, report: Option<(Turn, OpId)>, outcome: Outcome) {
        let Some((epoch, op)) = report else {
            self.note(format!("unheard: {outcome:?}"));
            return;
        };
        let wait = self.span(1) + self.slow_reports;
        self.clock.after(wait, Due::Tell(epoch, Box::new(Event::Operation { op, outcome })));
    }

    fn create(&mut self, plan: ContainerPlan) -> Outcome {
        let made = self.containers.iter().find(|(_, it)| it.incarnation == plan.incarnation);
        if let Some((id, _)) = made {
            return Outcome::Created(id.clone());
        }
        if self.containers.values().any(|it| it.name == plan.name) {
            let message = format!("the name {} is in use", plan.name);
            return Outcome::Failed(OpError { class: OpErrorClass::Conflict, message });
        }
        self.containers_made += 1;
        let id = ContainerId::new(format!("c{}", self.containers_made));
        let container = Container {
            incarnation: plan.incarnation,
            name: plan.name,
            profile: plan.template.profile,
            gpu: plan.gpu,
            reuse: plan.template.reuse,
            state: ContainerState::Created,
            agent: Agent::default(),
            served: BTreeMap::new(),
        };
        self.containers.insert(id.clone(), container);
        Outcome::Created(id)
    }

    fn start(&mut self, id: &ContainerId) -> Outcome {
        let Some(container) = self.containers.get_mut(id) else { return gone(id) };
        match container.state {
            ContainerState::Running => return Outcome::Done,
            ContainerState::Removing => return gone(id),
            ContainerState::Created | ContainerState::Exited(_) => {}
        }
        container.state = ContainerState::Running;
        self.boot(id);
        Outcome::Done
    }

    /// Nothing while the removal goes on.
    fn remove(
        &mut self,
        container: Option<ContainerId>,
        incarnation: IncarnationId,
        report: Option<(Turn, OpId)>,
    ) -> Option<Outcome> {
        let by_label = || {
            let mut all = self.containers.iter();
            all.find(|(_, it)| it.incarnation == incarnation).map(|(id, _)| id.clone())
        };
        let Some(id) = container.clone().or_else(by_label) else { return Some(Outcome::Done) };
        if !self.containers.contains_key(&id) {
            return Some(if self.rng.chance(500) { gone(&id) } else { Outcome::Done });
        }
        if self.rng.chance(self.faults.op_slow) {
            self.die(&id, 137);
            if let Some(container) = self.containers.get_mut(&id) {
                container.state = ContainerState::Removing;
            }
            let wait = self.span(3_000);
            self.clock.after(wait, Due::Vanish(id, report));
            return None;
        }
        self.drop_container(&id);
        Some(Outcome::Done)
    }

    pub(super) fn vanish(&mut self, id: &ContainerId, report: Option<(Turn, OpId)>) {
        self.drop_container(id);
        self.report(report, Outcome::Done);
    }

    fn drop_container(&mut self, id: &ContainerId) {
        self.die(id, 137);
        if self.containers.remove(id).is_some() {
            self.engine_event(EngineEvent::Removed { container: id.clone() });
        }
    }

    /// The first process of a container ends, and all others with it.
    pub fn die(&mut self, id: &ContainerId, code: i64) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.state != ContainerState::Running {
            return;
        }
        let exit = ContainerExit { code, oom: false };
        container.state = ContainerState::Exited(exit);
        self.bury(id);
        self.engine_event(EngineEvent::Died { container: id.clone(), exit });
    }

    /// Somebody removes a container by hand.
    pub fn remove_by_hand(&mut self, id: &ContainerId) {
        self.note(format!("somebody removes {id}"));
        self.drop_container(id);
    }

    /// A container of this fleet that no record knows, as an older supervisor may have left it.
    pub fn leave_orphan(&mut self, incarnation: IncarnationId, plan: ContainerPlan) {
        let plan = ContainerPlan { incarnation, ..plan };
        let _made = self.create(plan);
    }

    /// The engine stops answering for a while.
    pub fn engine_away(&mut self, span: Duration) {
        if !self.is_engine_up {
            return;
        }
        self.is_engine_up = false;
        self.note("the engine stops answering".to_owned());
        let why = "connection refused".to_owned();
        let wait = self.span(5);
        self.tell(wait, Event::Engine(EngineEvent::Unreachable { why }));
        self.clock.after(span, Due::EngineBack);
    }

    fn engine_event(&mut self, event: EngineEvent) {
        if self.rng.chance(self.faults.event_lost) || !self.is_engine_up {
            return;
        }
        let event = Event::Engine(event);
        let late = if self.rng.chance(self.faults.event_late) { 8_000 } else { 0 };
        let wait = self.span(5) + Duration::from_millis(self.rng.below(late + 1));
        if self.rng.chance(self.faults.event_doubled) {
            let again = self.span(500);
            self.tell(again, event.clone());
        }
        self.tell(wait, event);
    }

    /// The shell asks for a list.
    pub(super) fn list_soon(&mut self) {
        let begun = self.now();
        let wait = self.lag(5);
        self.clock.after(wait, Due::Snapshot(self.epoch, begun));
    }

    pub(super) fn snapshot(&mut self, epoch: Turn, begun: Time) {
        let event = match self.is_engine_up {
            true => EngineEvent::Listed { begun, containers: self.facts() },
            false => EngineEvent::Unreachable { why: "connection refused".to_owned() },
        };
        let wait = self.lag(5) + self.slow_lists;
        self.clock.after(wait, Due::Tell(epoch, Box::new(Event::Engine(event))));
    }

    /// What a list that was begun at a time says now.
    #[must_use]
    pub fn list(&self, begun: Time) -> Event {
        Event::Engine(EngineEvent::Listed { begun, containers: self.facts() })
    }

    fn facts(&self) -> Vec<ContainerFact> {
        let fact = |(id, it): (&ContainerId, &Container)| ContainerFact {
            id: id.clone(),
            incarnation: it.incarnation,
            state: it.state,
        };
        self.containers.iter().map(fact).collect()
    }

    fn lag(&mut self, base: u64) -> Duration {
        let late = if self.rng.chance(self.faults.event_late) { 4_000 } else { 0 };
        self.span(base) + Duration::from_millis(self.rng.below(late + 1))
    }
}

fn gone(id: &ContainerId) -> Outcome {
    let message = format!("no such container: {id}");
    Outcome::Failed(OpError { class: OpErrorClass::Gone, message })
}

fn describe(incarnation: IncarnationId, action: &EngineAction) -> String {
    match action {
        EngineAction::Create(_) => format!("create {incarnation}"),
        EngineAction::Start(_) => format!("start {incarnation}"),
        EngineAction::Remove { .. } => format!("remove {incarnation}"),
    }
}
