//! What the shell asks of the forge, with every kind of end, and every way to tell of it.

use std::time::Duration;

use super::{Call, CallAction, Entry, ForgeDue, Whose};
use crate::fleet::effect::ForgeAction;
use crate::fleet::event::Event;
use crate::fleet::forge::{
    ForgeEntry, ForgeError, ForgeErrorClass, ForgeOutcome, ListenMode, RegisterOrder,
};
use crate::ids::{ForgeRunnerId, IncarnationId, OpId, ScopeUrl};
use crate::sim::fault::Fault;
use crate::sim::world::forge::Step;
use crate::sim::world::{Turn, World};
use crate::units::Time;

/// How long a call takes, in milliseconds.
const CALL: u64 = 300;
/// The shell gives a call up after this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lists hide a new runner for this long at most, in milliseconds.
const HIDES_MAX: u64 = 300_000;
/// A listener learns of its removal within one long poll, in milliseconds.
const LONG_POLL: u64 = 50_000;

/// What becomes of a call.
enum CallFate {
    Happens,
    Refused(ForgeError),
    /// Nobody is told what became of it; none if it never happens.
    Lost(Option<Duration>),
}

impl World {
    pub(in crate::sim::world) fn call_forge(
        &mut self,
        op: OpId,
        incarnation: IncarnationId,
        action: ForgeAction,
    ) {
        let (action, what) = match action {
            ForgeAction::Register(order) => {
                (CallAction::Register(order), format!("register {incarnation}"))
            }
            ForgeAction::Remove(entry) => {
                let what = format!("deregister {}", entry.name);
                (CallAction::Remove(entry), what)
            }
        };
        self.truth.operations.insert(op, what);
        if let Some(other) = self.forge.in_flight.insert(incarnation, op) {
            let what = format!("{incarnation} has two calls at its forge: {other} and {op}");
            self.truth.violation(what);
        }
        self.forge.calls += 1;
        let mut wait = self.span(CALL);
        if self.strikes(Fault::ForgeSlow) {
            wait += Duration::from_millis(self.rng.below(9_000));
        }
        let mut call = Call { epoch: self.epoch, op, incarnation, action, is_told: true };
        match self.call_fate() {
            CallFate::Happens => {}
            CallFate::Refused(error) => {
                self.tell_call(wait, (call.epoch, op), ForgeOutcome::Failed(error));
                return;
            }
            CallFate::Lost(happens) => {
                call.is_told = false;
                let outcome = ForgeOutcome::Unknown("no answer in time".to_owned());
                self.tell_call(PATIENCE, (call.epoch, op), outcome);
                let Some(later) = happens else {
                    self.note_name(&call.action);
                    return;
                };
                wait += later;
            }
        }
        self.note_name(&call.action);
        self.due_at_forge(wait, ForgeDue::Call(Box::new(call)));
    }

    fn call_fate(&mut self) -> CallFate {
        let (fails, lost) = (self.strikes(Fault::ForgeFails), self.strikes(Fault::ForgeUnknown));
        if self.strikes(Fault::ForgeLimited) {
            let span = Duration::from_secs(self.rng.between(10, 180));
            self.limit_forge(span);
        }
        let refused = |class, message: &str| {
            CallFate::Refused(ForgeError { class, message: message.to_owned() })
        };
        if self.is_forge_away() {
            return refused(ForgeErrorClass::Retry, "no connection");
        }
        if self.forge.limited > self.now() {
            let class = ForgeErrorClass::Limited(self.forge.limited);
            return refused(class, "too many requests");
        }
        if self.forge.is_denied {
            return refused(ForgeErrorClass::Denied, "bad credentials");
        }
        if fails {
            return refused(ForgeErrorClass::Retry, "server error");
        }
        if !lost {
            return CallFate::Happens;
        }
        CallFate::Lost(match self.rng.below(3) {
            0 => None,
            1 => Some(Duration::ZERO),
            _ => Some(Duration::from_millis(self.rng.between(1, 30_000))),
        })
    }

    /// A name that may have come to the forge never comes again.
    fn note_name(&mut self, action: &CallAction) {
        let CallAction::Register(order) = action else { return };
        let name = order.name.as_str();
        let is_fit = name.len() <= 64
            && name.chars().all(|it| it.is_ascii_alphanumeric() || "._-".contains(it));
        if !is_fit {
            self.truth.violation(format!("{name:?} is no name for a runner at the forge"));
        }
        if !self.forge.names.insert(name.to_owned()) {
            self.truth.violation(format!("the name {name} is used twice at the forge"));
        }
    }

    fn tell_call(&mut self, wait: Duration, (epoch, op): (Turn, OpId), outcome: ForgeOutcome) {
        let event = Event::ForgeOperation { op, outcome };
        self.clock.after(wait, crate::sim::world::Due::Tell(epoch, Box::new(event)));
    }

    pub(super) fn answer_call(&mut self, call: Call) {
        let Call { epoch, op, incarnation, action, is_told } = call;
        let outcome = match action {
            CallAction::Register(order) => self.register(incarnation, &order),
            CallAction::Remove(entry) => self.remove_entry(&entry),
        };
        if !is_told || epoch != self.epoch {
            self.note(format!(
                "unheard at the forge: {}",
                crate::sim::transcript::of_outcome(&outcome)
            ));
            return;
        }
        if let ForgeOutcome::Registered(id) = &outcome {
            self.forge.grants.insert(incarnation, *id);
        }
        let wait = self.span(1);
        self.tell_call(wait, (epoch, op), outcome);
    }

    fn register(&mut self, incarnation: IncarnationId, order: &RegisterOrder) -> ForgeOutcome {
        if self.forge.entries.values().any(|entry| entry.name == order.name) {
            let message = format!("a runner called {} exists", order.name);
            let class = ForgeErrorClass::NameTaken;
            return ForgeOutcome::Failed(ForgeError { class, message });
        }
        let enlistment = &order.enlistment;
        if enlistment.labels.is_empty() {
            let message = "a runner needs a label".to_owned();
            return ForgeOutcome::Failed(ForgeError { class: ForgeErrorClass::Invalid, message });
        }
        let place = (enlistment.scope.clone(), order.name.clone());
        let mut entry = self.new_entry(place, enlistment.labels.clone(), Whose::Fleet);
        entry.is_ephemeral = enlistment.mode == ListenMode::OneJob;
        let id = self.forge.enter(entry);
        self.forge.made.entry(incarnation).or_default().insert(id);
        ForgeOutcome::Registered(id)
    }

    pub(in crate::sim::world) fn new_entry(
        &mut self,
        (scope, name): (ScopeUrl, String),
        labels: Vec<String>,
        whose: Whose,
    ) -> Entry {
        let hidden = if self.strikes(Fault::ForgeHides) { HIDES_MAX } else { 0 };
        let shown = self.now() + Duration::from_millis(self.rng.below(hidden + 1));
        Entry {
            scope,
            name,
            labels,
            whose,
            is_ephemeral: false,
            is_done: false,
            session: None,
            job: None,
            held: Time(0),
            shown,
            busy_from: Time(0),
            was_online: whose == Whose::Others,
        }
    }

    /// A kept listener registers with its token, and takes the place of one with its name.
    pub(in crate::sim::world) fn register_kept(
        &mut self,
        incarnation: IncarnationId,
        (scope, name): (ScopeUrl, String),
        labels: Vec<String>,
    ) -> ForgeRunnerId {
        let known =
            self.forge.entries.iter_mut().find(|(_, it)| it.scope == scope && it.name == name);
        let id = match known {
            Some((id, entry)) => {
                entry.labels = labels;
                entry.whose = Whose::Fleet;
                *id
            }
            None => {
                let entry = self.new_entry((scope.clone(), name.clone()), labels, Whose::Fleet);
                self.forge.enter(entry)
            }
        };
        self.forge.made.entry(incarnation).or_default().insert(id);
        self.forge.identities.insert((scope, name), id);
        id
    }

    fn remove_entry(&mut self, wanted: &ForgeEntry) -> ForgeOutcome {
        let now = self.now();
        let is_meant = |(id, entry): &(&ForgeRunnerId, &Entry)| match wanted.id {
            Some(wanted) => **id == wanted,
            // Whoever is looked up by name is not found while lists hide him.
            None => entry.scope == wanted.scope && entry.name == wanted.name && entry.shown <= now,
        };
        let found = self.forge.entries.iter().find(is_meant);
        let Some((id, entry)) = found.map(|(id, entry)| (*id, entry.clone())) else {
            return match wanted.id {
                Some(_) => ForgeOutcome::Removed,
                None => ForgeOutcome::NotListed,
            };
        };
        if entry.whose == Whose::Others {
            self.truth.violation(format!("{} is somebody else's and is removed", entry.name));
        }
        let is_blind = self.strikes(Fault::ForgeBlind);
        if entry.job.is_some() && !is_blind {
            return ForgeOutcome::Busy;
        }
        self.forge.entries.remove(&id);
        if entry.job.is_some() {
            self.note(format!("the forge removes {} although it has a job", entry.name));
        }
        if let Some(session) = entry.session {
            let wait = self.span(LONG_POLL / 2);
            self.due_at_forge(
                wait,
                ForgeDue::Listener(session.container, session.life, Step::Expelled),
            );
        }
        ForgeOutcome::Removed
    }

    /// An operator, or the forge's own tidying, takes a runner from the list.
    pub fn purge(&mut self, name: &str) {
        self.note(format!("somebody removes {name} from the forge's list"));
        let found = self.forge.entries.iter().find(|(_, entry)| entry.name == name);
        let Some(id) = found.map(|(id, _)| *id) else { return };
        let Some(entry) = self.forge.entries.remove(&id) else { return };
        if let Some(session) = entry.session {
            let wait = self.span(LONG_POLL / 2);
            self.due_at_forge(
                wait,
                ForgeDue::Listener(session.container, session.life, Step::Expelled),
            );
        }
    }
}
