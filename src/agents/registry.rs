//! Which incarnations may speak, and the one session that each may have. Plain data, no I/O.
//!
//! A session ends when the registry drops its sender. The place of a session that ends by itself
//! stays taken until the core has been told, so that a new session's first fact never overtakes the
//! last fact of the one before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::enrolment::Nonce;
use super::{Delivery, convert};
use crate::fleet::effect::AgentOrder;
use crate::ids::IncarnationId;
use crate::units::Time;
use crate::wire::HEARTBEAT;
use crate::wire::listen::Credential;
use crate::wire::message::{JobRef, Refusal};

/// Orders on their way to one agent. The core sends one at a time; more waiting means that the
/// session is stuck, and then it is ended.
const ORDERS_MAX: usize = 32;

/// A session that was silent for longer gives way to a new one: two heartbeats.
const REPLACEABLE: Duration = HEARTBEAT.saturating_mul(2);

/// Names one session; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionId(u64);

/// When a session last heard its agent, in milliseconds since the supervisor's start.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<AtomicU64>);

impl Heard {
    /// The agent spoke.
    pub(super) fn at(&self, since_start: Duration) {
        self.0.store(millis(since_start), Ordering::Relaxed);
    }

    fn silent_for(&self, now: Duration) -> Duration {
        Duration::from_millis(millis(now).saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What a new session gets.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Its name.
    pub(super) session: SessionId,
    /// What the agent is to be told. When it is closed, the session must end.
    pub(super) orders: mpsc::Receiver<AgentOrder>,
    /// Where it notes that the agent spoke.
    pub(super) heard: Heard,
}

#[derive(Debug)]
enum Seat {
    Free,
    Taken { session: SessionId, orders: mpsc::Sender<AgentOrder>, heard: Heard },
    Closing { session: SessionId },
}

/// What an agent is given to take a forge's jobs with.
#[derive(Debug)]
struct Grant {
    credential: Credential,
    delivery: Handover,
}

/// How far a grant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handover {
    /// The agent has not been told.
    Waits,
    /// It was told; its next word of its listener says that it has it.
    Sent,
}

#[derive(Debug)]
struct Entry {
    nonce: Option<Nonce>,
    job: Option<JobRef>,
    seat: Seat,
    grant: Option<Grant>,
    work: Option<String>,
}

impl Entry {
    const NEW: Self = Self { nonce: None, job: None, seat: Seat::Free, grant: None, work: None };
}

/// All incarnations that may speak.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: BTreeMap<IncarnationId, Entry>,
    sessions: u64,
}

impl Registry {
    /// Lets an incarnation in, with the attempt that it was given last.
    pub(super) fn admit(&mut self, incarnation: IncarnationId, job: Option<JobRef>) {
        self.entries.entry(incarnation).or_insert(Entry::NEW).job = job;
    }

    /// Lets an incarnation in and gives it a nonce to enrol with; one before is void.
    pub(super) fn arm(&mut self, incarnation: IncarnationId, nonce: Nonce) {
        self.entries.entry(incarnation).or_insert(Entry::NEW).nonce = Some(nonce);
    }

    /// The same for one that is known and has no session; an incarnation that was revoked meanwhile
    /// stays out.
    pub(super) fn rearm(&mut self, incarnation: IncarnationId, nonce: Nonce) {
        if let Some(entry) = self.entries.get_mut(&incarnation) {
            entry.nonce = Some(nonce);
        }
    }

    /// Makes a nonce void; true if there was one.
    pub(super) fn disarm(&mut self, incarnation: IncarnationId) -> bool {
        self.entries.get_mut(&incarnation).is_some_and(|entry| entry.nonce.take().is_some())
    }

    /// Those that have neither a session nor a nonce.
    pub(super) fn absent(&self) -> Vec<IncarnationId> {
        let absent = |entry: &Entry| matches!(entry.seat, Seat::Free) && entry.nonce.is_none();
        self.entries.iter().filter(|(_, entry)| absent(entry)).map(|(id, _)| *id).collect()
    }

    /// Uses up a nonce, if it is the right one for this incarnation.
    pub(super) fn use_nonce(
        &mut self,
        incarnation: IncarnationId,
        bytes: &[u8],
        now: Time,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&incarnation) else { return false };
        // A wrong guess leaves the nonce as it is: guessing must not lock the real agent out.
        entry.nonce.take_if(|nonce| nonce.admits(bytes, now)).is_some()
    }

    /// Forgets an incarnation; its session ends.
    pub(super) fn revoke(&mut self, incarnation: IncarnationId) {
        self.entries.remove(&incarnation);
    }

    /// Keeps what an agent is to register with until it has it; an incarnation that was revoked
    /// needs nothing.
    pub(super) fn grant(&mut self, incarnation: IncarnationId, credential: Credential) {
        if let Some(entry) = self.entries.get_mut(&incarnation) {
            entry.grant = Some(Grant { credential, delivery: Handover::Waits });
        }
    }

    /// Notes where an agent's listener works, where that is not the usual place.
    pub(super) fn work_at(&mut self, incarnation: IncarnationId, work: String) {
        if let Some(entry) = self.entries.get_mut(&incarnation) {
            entry.work = Some(work);
        }
    }

    /// What an agent is to register with, and where it works if that is not the usual place. The
    /// grant stays until the agent says that it has it: a session may break on the way.
    pub(super) fn hand_over(
        &mut self,
        incarnation: IncarnationId,
    ) -> Option<(Credential, Option<String>)> {
        let entry = self.entries.get_mut(&incarnation)?;
        let grant = entry.grant.as_mut()?;
        grant.delivery = Handover::Sent;
        Some((grant.credential.clone(), entry.work.clone()))
    }

    /// The agent spoke of its listener: what it was sent is needed no more.
    pub(super) fn handed_over(&mut self, incarnation: IncarnationId) {
        if let Some(entry) = self.entries.get_mut(&incarnation) {
            entry.grant.take_if(|grant| grant.delivery == Handover::Sent);
        }
    }

    /// The attempt whose output may be written.
    pub(super) fn job(&self, incarnation: IncarnationId) -> Option<JobRef> {
        self.entries.get(&incarnation).and_then(|entry| entry.job)
    }

    /// Seats a new session, unless another one lives.
    pub(super) fn open(
        &mut self,
        incarnation: IncarnationId,
        now: Duration,
    ) -> Result<Ticket, Refusal> {
        let entry = self.entries.get_mut(&incarnation).ok_or(Refusal::NotAdmitted)?;
        match &entry.seat {
            Seat::Free => {}
            Seat::Taken { heard, .. } if heard.silent_for(now) > REPLACEABLE => {}
            Seat::Taken { .. } | Seat::Closing { .. } => return Err(Refusal::AlreadyConnected),
        }
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let heard = Heard::default();
        heard.at(now);
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        entry.seat = Seat::Taken { session, orders: sender, heard: heard.clone() };
        Ok(Ticket { session, orders, heard })
    }

    /// A session ends. True if the core must be told: no other session took its place.
    pub(super) fn closing(&mut self, incarnation: IncarnationId, ending: SessionId) -> bool {
        let Some(entry) = self.entries.get_mut(&incarnation) else { return false };
        match entry.seat {
            Seat::Taken { session, .. } if session == ending => {
                entry.seat = Seat::Closing { session };
                true
            }
            Seat::Free | Seat::Taken { .. } | Seat::Closing { .. } => false,
        }
    }

    /// The core was told that the session is over; the seat is free.
    pub(super) fn closed(&mut self, incarnation: IncarnationId, ended: SessionId) {
        let Some(entry) = self.entries.get_mut(&incarnation) else { return };
        match entry.seat {
            Seat::Closing { session } if session == ended => entry.seat = Seat::Free,
            Seat::Free | Seat::Taken { .. } | Seat::Closing { .. } => {}
        }
    }

    /// Passes an order on, and notes which attempt the agent works for.
    pub(super) fn order(&mut self, incarnation: IncarnationId, order: AgentOrder) -> Delivery {
        let Some(entry) = self.entries.get_mut(&incarnation) else {
            return Delivery::NotConnected;
        };
        let Seat::Taken { orders, session, .. } = &entry.seat else {
            return Delivery::NotConnected;
        };
        let session = *session;
        let assigned = match &order {
            AgentOrder::Assign(job) => Some(convert::order_ref(job)),
            AgentOrder::Listen(_)
            | AgentOrder::StopListening(_)
            | AgentOrder::Cancel { .. }
            | AgentOrder::Acknowledge { .. } => entry.job,
        };
        match orders.try_send(order) {
            Ok(()) => {
                entry.job = assigned;
                Delivery::Sent
            }
            Err(_) => {
                tracing::warn!(%incarnation, ?session, "its session takes no orders; ending it");
                // Dropping the sender ends the session; the seat waits for its last fact.
                entry.seat = Seat::Closing { session };
                Delivery::NotConnected
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: IncarnationId = IncarnationId(1);
    const SOON: Duration = Duration::from_secs(1);

    fn admitted() -> Registry {
        let mut registry = Registry::default();
        registry.admit(WHO, None);
        registry
    }

    #[test]
    fn an_unknown_or_revoked_incarnation_is_refused() {
        let mut registry = admitted();
        assert_eq!(registry.open(IncarnationId(2), SOON).unwrap_err(), Refusal::NotAdmitted);
        let mut ticket = registry.open(WHO, SOON).unwrap();
        registry.revoke(WHO);
        assert_eq!(ticket.orders.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert!(!registry.closing(WHO, ticket.session), "the core is not told");
        assert_eq!(registry.open(WHO, SOON).unwrap_err(), Refusal::NotAdmitted);
    }

    #[test]
    fn a_second_session_is_refused_while_the_first_one_speaks() {
        let mut registry = admitted();
        let first = registry.open(WHO, SOON).unwrap();
        assert_eq!(registry.open(WHO, SOON).unwrap_err(), Refusal::AlreadyConnected);
        let late = SOON + REPLACEABLE + Duration::from_millis(1);
        first.heard.at(late);
        assert_eq!(registry.open(WHO, late).unwrap_err(), Refusal::AlreadyConnected);
    }

    #[test]
    fn a_new_session_replaces_a_silent_one_and_fences_it() {
        let mut registry = admitted();
        let mut first = registry.open(WHO, SOON).unwrap();
        let second = registry.open(WHO, SOON * 100).unwrap();
        assert_eq!(first.orders.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert!(!registry.closing(WHO, first.session));
        assert!(registry.closing(WHO, second.session));
    }

    #[test]
    fn a_grant_stays_until_the_agent_has_it_and_is_in_no_debug_output() {
        let mut registry = admitted();
        assert_eq!(registry.hand_over(WHO), None);
        registry.grant(WHO, Credential::OneJob("s3cret".to_owned()));
        registry.handed_over(WHO);
        assert!(!format!("{registry:?}").contains("s3cret"));
        let given = Some((Credential::OneJob("s3cret".to_owned()), None));
        assert_eq!(registry.hand_over(WHO), given);
        assert_eq!(registry.hand_over(WHO), given, "the session broke before it arrived");
        registry.handed_over(WHO);
        assert_eq!(registry.hand_over(WHO), None);
        registry.grant(WHO, Credential::Kept(None));
        registry.revoke(WHO);
        registry.admit(WHO, None);
        assert_eq!(registry.hand_over(WHO), None, "a grant goes with its incarnation");
        registry.grant(IncarnationId(2), Credential::Kept(None));
        assert_eq!(registry.hand_over(IncarnationId(2)), None);
    }

    #[test]
    fn a_seat_is_free_only_after_the_core_was_told() {
        let mut registry = admitted();
        let first = registry.open(WHO, SOON).unwrap();
        assert!(registry.closing(WHO, first.session));
        assert_eq!(registry.open(WHO, SOON).unwrap_err(), Refusal::AlreadyConnected);
        registry.closed(WHO, first.session);
        assert!(registry.open(WHO, SOON).is_ok());
    }
}
