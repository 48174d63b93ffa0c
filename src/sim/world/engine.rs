//! The simulated engine: containers, lists and events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agent::Agent;
use super::{Container, Due, Turn, World};
use crate::fleet::effect::ContainerPlan;
use crate::fleet::event::{
    ContainerExit, ContainerFact, ContainerState, EngineEvent, Event, OpError, OpErrorClass,
    Outcome,
};
use crate::ids::{ContainerId, IncarnationId, OpId};
use crate::sim::fault::Fault;
use crate::units::Time;

/// An engine that cannot let go of a container lets go after this long, in milliseconds.
const HANG_MAX: u64 = 300_000;

/// How far before its own beginning a stream of events begins.
const OVERLAP: Duration = Duration::from_secs(10);

/// How a container falls that is killed.
pub(super) const KILLED: ContainerExit = ContainerExit { code: 137, oom: false };

impl World {
    pub(super) fn create(&mut self, plan: ContainerPlan) -> Outcome {
        let made = self.containers.iter().find(|(_, it)| it.incarnation == plan.incarnation);
        if let Some((id, _)) = made {
            return Outcome::Created(id.clone());
        }
        let is_taken = self.containers.values().any(|it| it.name == plan.name);
        if is_taken || self.foreign.contains(&plan.name) {
            let message = format!("the name {} is in use", plan.name);
            return Outcome::Failed(OpError { class: OpErrorClass::Conflict, message });
        }
        self.containers_made += 1;
        let id = ContainerId::new(format!("c{}", self.containers_made));
        let container = Container {
            incarnation: plan.incarnation,
            name: plan.name,
            profile: plan.template.profile,
            gpu: plan.gpu.map(|gpu| gpu.uuid),
            reuse: plan.template.reuse,
            state: ContainerState::Created,
            fall: 0,
            fell: None,
            since: self.now(),
            agent: Agent::default(),
            served: BTreeMap::new(),
            listens: None,
        };
        self.containers.insert(id.clone(), container);
        Outcome::Created(id)
    }

    pub(super) fn start(&mut self, id: &ContainerId) -> Outcome {
        let now = self.now();
        let Some(container) = self.containers.get_mut(id) else { return gone(id) };
        match container.state {
            ContainerState::Running => return Outcome::Done,
            ContainerState::Removing => return gone(id),
            ContainerState::Created | ContainerState::Exited(_) => {}
        }
        container.state = ContainerState::Running;
        container.since = now;
        self.boot(id);
        Outcome::Done
    }

    /// Nothing while the removal goes on.
    pub(super) fn remove(
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
        if self.containers.get(&id).is_some_and(|it| it.state == ContainerState::Removing) {
            let message = format!("removal of {id} is already in progress");
            return Some(Outcome::Failed(OpError { class: OpErrorClass::Retry, message }));
        }
        let is_slow = self.strikes(Fault::OpSlow);
        let hangs = self.strikes(Fault::RemovalHangs);
        if is_slow || hangs {
            self.fall(&id, KILLED);
            if let Some(container) = self.containers.get_mut(&id) {
                container.state = ContainerState::Removing;
            }
            self.remove_slowly(id, incarnation, (report, hangs));
            return None;
        }
        self.drop_container(&id);
        Some(Outcome::Done)
    }

    /// The shell does not wait for a removal that hangs.
    fn remove_slowly(
        &mut self,
        id: ContainerId,
        incarnation: IncarnationId,
        (report, hangs): (Option<(Turn, OpId)>, bool),
    ) {
        let mut wait = self.span(3_000);
        let mut report = report;
        if hangs {
            wait += Duration::from_millis(self.rng.between(10_000, HANG_MAX));
            if let Some((epoch, op)) = report.take() {
                self.give_up((epoch, op), incarnation);
            }
        }
        self.clock.after(wait, Due::Vanish(id, report));
    }

    pub(super) fn vanish(&mut self, id: &ContainerId, report: Option<(Turn, OpId)>) {
        if let Some(back) = self.hung_until() {
            self.clock.at(back, Due::Vanish(id.clone(), report));
            return;
        }
        self.drop_container(id);
        self.report(report, Outcome::Done);
    }

    fn drop_container(&mut self, id: &ContainerId) {
        self.fall(id, KILLED);
        if self.containers.remove(id).is_some() {
            self.engine_event(EngineEvent::Removed { container: id.clone() });
        }
    }

    /// The first process of a container ends, and all others with it. The engine starts one that
    /// serves many jobs again, by its restart policy.
    pub fn die(&mut self, id: &ContainerId, code: i64) {
        self.die_so(id, ContainerExit { code, oom: false });
    }

    /// The kernel kills the first process of a container for memory.
    pub fn die_of_memory(&mut self, id: &ContainerId) {
        self.die_so(id, ContainerExit { code: 137, oom: true });
    }

    fn die_so(&mut self, id: &ContainerId, exit: ContainerExit) {
        if self.fall(id, exit) && self.is_engine_up {
            let wait = self.span(200);
            self.revive_after(wait, id);
        }
    }

    /// Whether a container fell that ran.
    pub(super) fn fall(&mut self, id: &ContainerId, exit: ContainerExit) -> bool {
        let (fall, now) = (self.turn(), self.now());
        let Some(container) = self.containers.get_mut(id) else { return false };
        if container.state != ContainerState::Running {
            return false;
        }
        (container.fall, container.fell) = (fall, Some((now, exit)));
        container.state = ContainerState::Exited(exit);
        self.truth.died.insert(id.clone());
        self.leave_card(id);
        self.bury(id);
        if exit.code == KILLED.code && self.asking.is_some() {
            self.engine_event(EngineEvent::Ended { container: id.clone(), code: exit.code });
        }
        self.engine_event(EngineEvent::Died { container: id.clone(), exit });
        true
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

    fn engine_event(&mut self, event: EngineEvent) {
        if self.strikes(Fault::EventLost) || !self.is_engine_up {
            return;
        }
        let asking = match &event {
            EngineEvent::Died { exit, .. } if exit.code == KILLED.code => self.asking,
            _ => None,
        };
        let event = Event::Engine(event);
        let late = if self.strikes(Fault::EventLate) { 8_000 } else { 0 };
        let mut wait = self.span(5) + Duration::from_millis(self.rng.below(late + 1));
        wait += asking.unwrap_or_default();
        if let Some(back) = self.hung_until() {
            wait += back.since(self.now());
        }
        if self.strikes(Fault::EventDoubled) {
            let again = self.span(500);
            self.tell(again, event.clone());
        }
        self.tell(wait, event);
    }

    /// A stream of events begins a little before its time: what the last one may have lost is told,
    /// be it over or not.
    pub(super) fn replay_deaths(&mut self) {
        let now = self.now();
        let lately = self.containers.iter().filter_map(|(id, it)| {
            let (at, exit) = it.fell.filter(|(at, _)| now.since(*at) <= OVERLAP)?;
            Some((now.since(at), EngineEvent::Died { container: id.clone(), exit }))
        });
        for (age, event) in lately.collect::<Vec<_>>() {
            // Before the first list, or after it.
            let wait = Duration::from_millis(u64::try_from(age.as_millis() % 40).unwrap_or(0));
            self.tell(wait, Event::Engine(event));
        }
    }

    /// The shell asks for a list.
    pub(super) fn list_soon(&mut self) {
        let begun = self.now();
        let wait = self.lag(5);
        self.clock.after(wait, Due::Snapshot(self.epoch, begun));
    }

    pub(super) fn snapshot(&mut self, epoch: Turn, begun: Time) {
        if let Some(back) = self.hung_until() {
            self.clock.at(back, Due::Snapshot(epoch, begun));
            return;
        }
        let event = match self.is_engine_up {
            true if self.lists_nothing => EngineEvent::Listed { begun, containers: Vec::new() },
            true => EngineEvent::Listed { begun, containers: self.messy_facts() },
            false => EngineEvent::Unreachable { why: "connection refused".to_owned() },
        };
        let wait = self.lag(5) + self.slow_lists;
        let again = Duration::from_millis(self.rng.between(1_000, 60_000));
        if self.strikes(Fault::ListStale) {
            let event = Event::Engine(event.clone());
            self.clock.after(wait + again, Due::Tell(epoch, Box::new(event)));
        }
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

    /// Nothing says in which order containers come, nor that each comes once.
    fn messy_facts(&mut self) -> Vec<ContainerFact> {
        let mut facts = self.facts();
        if self.strikes(Fault::ListMessy) {
            let mut rng = self.rng.fork();
            let more: Vec<_> = facts.iter().filter(|_| rng.chance(300)).cloned().collect();
            facts.extend(more);
            facts.sort_by_cached_key(|_| rng.next());
        }
        facts
    }

    fn lag(&mut self, base: u64) -> Duration {
        let late = if self.strikes(Fault::EventLate) { 4_000 } else { 0 };
        self.span(base) + Duration::from_millis(self.rng.below(late + 1))
    }
}

fn gone(id: &ContainerId) -> Outcome {
    let message = format!("no such container: {id}");
    Outcome::Failed(OpError { class: OpErrorClass::Gone, message })
}
