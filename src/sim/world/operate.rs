//! Operations on the simulated engine, with every kind of end, and every way to tell of it.

use std::time::Duration;

use super::{Due, Operation, Told, Turn, World};
use crate::fleet::effect::EngineAction;
use crate::fleet::event::{Event, OpError, OpErrorClass, Outcome};
use crate::fleet::runner::OpKind;
use crate::ids::{IncarnationId, OpId};
use crate::sim::fault::{Fault, Limbo, OpFate};

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
                self.refuse(op, wait, class);
                return;
            }
            OpFate::Lies(more) => {
                operation.told = Told::GivenUp;
                self.truth.limbo.insert(incarnation);
                self.refuse(op, wait, OpErrorClass::Retry);
                wait += more;
            }
            OpFate::Unknown(limbo) => {
                operation.told = self.give_up((self.epoch, op), incarnation);
                match limbo {
                    Limbo::Before => {}
                    Limbo::Never => return,
                    Limbo::After(more) => wait = PATIENCE + more,
                }
            }
        }
        self.clock.after(wait, Due::Operate(Box::new(operation)));
    }

    fn refuse(&mut self, op: OpId, wait: Duration, class: OpErrorClass) {
        let error = OpError { class, message: "the engine refused".to_owned() };
        self.tell(wait, Event::Operation { op, outcome: Outcome::Failed(error) });
    }

    /// Nobody waits any longer: nobody knows what becomes of it, unless it is told later.
    pub(super) fn give_up(&mut self, (epoch, op): (Turn, OpId), id: IncarnationId) -> Told {
        self.truth.limbo.insert(id);
        let outcome = Outcome::Unknown("no answer in time".to_owned());
        let event = Event::Operation { op, outcome };
        self.clock.after(PATIENCE, Due::Tell(epoch, Box::new(event)));
        match self.strikes(Fault::OpKnownLater) {
            true => Told::Yes,
            false => Told::GivenUp,
        }
    }

    pub(super) fn operate(&mut self, mut operation: Operation) {
        let reported = (operation.epoch, operation.op);
        if let Some(back) = self.hung_until() {
            if operation.told == Told::Yes {
                operation.told = self.give_up(reported, operation.incarnation);
            }
            self.clock.at(back, Due::Operate(Box::new(operation)));
            return;
        }
        if !self.is_engine_up {
            if operation.told == Told::Yes {
                self.give_up(reported, operation.incarnation);
            }
            return;
        }
        let Operation { epoch, op, incarnation, action, told } = operation;
        let report = (told == Told::Yes).then_some((epoch, op));
        let outcome = match action {
            EngineAction::Create(plan) => self.create(*plan),
            EngineAction::Start(container) => self.start(&container),
            EngineAction::Remove { container, .. } => {
                match self.remove(container, incarnation, report) {
                    Some(outcome) => outcome,
                    None => return,
                }
            }
        };
        self.report(report, outcome);
    }

    pub(super) fn report(&mut self, report: Option<(Turn, OpId)>, outcome: Outcome) {
        let Some((epoch, op)) = report else {
            self.note(format!("unheard: {outcome:?}"));
            return;
        };
        let late = if self.strikes(Fault::OpToldLate) { 10_000 } else { 0 };
        let late = Duration::from_millis(self.rng.below(late + 1));
        let wait = self.span(1) + self.slow_reports + late;
        let again = Duration::from_millis(self.rng.between(1, 30_000));
        let event = Event::Operation { op, outcome };
        if self.strikes(Fault::OpToldTwice) {
            self.clock.after(wait + again, Due::Tell(epoch, Box::new(event.clone())));
        }
        self.clock.after(wait, Due::Tell(epoch, Box::new(event)));
    }
}

fn describe(incarnation: IncarnationId, action: &EngineAction) -> String {
    match action {
        EngineAction::Create(_) => format!("create {incarnation}"),
        EngineAction::Start(_) => format!("start {incarnation}"),
        EngineAction::Remove { .. } => format!("remove {incarnation}"),
    }
}
