//! The fleet as it changes, looked at once for all who follow it.
//!
//! While anybody follows, one task looks at the fleet after each step, ten times a second at most,
//! and finds what is other. Followers take its [`Look`]s in its rhythm and make none of their own,
//! so that a hundred of them cost the loop no more than one. Whoever comes waits for a look that
//! began after that: it sees all that was done before it came.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Duration;

use axum::body::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Api;
use super::problem::{Problem, ProblemKind};
use crate::fleet::view::{FleetView, RunnerView};
use crate::ids::SlotId;

/// At most this many looks: ten per second is live to the eye.
const INTERVAL: Duration = Duration::from_millis(100);
/// Without a step the fleet is looked at this often: some things change by the clock alone.
const PATIENCE: Duration = Duration::from_secs(15);

/// What changed since the event before: a fleet with only those runners that are new or other than
/// they were. A runner's last sign of life alone is no change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The fleet, with the runners that changed.
    #[serde(flatten)]
    pub fleet: FleetView,
    /// The slots that are gone.
    pub gone: Vec<SlotId>,
}

/// The fleet at one moment, for all who follow it.
#[derive(Debug)]
pub(super) struct Look {
    /// Counts the looks at which something was other.
    number: u64,
    view: Arc<FleetView>,
    /// The fleet without its runners.
    rest: FleetView,
    /// As JSON, once somebody wants it.
    whole: OnceLock<Bytes>,
    /// What is other than at the look before, as JSON.
    change: Bytes,
}

impl Look {
    fn new(view: Arc<FleetView>) -> Self {
        let mut rest = FleetView::clone(&view);
        drop(take(&mut rest.runners));
        Self { number: 0, view, rest, whole: OnceLock::new(), change: Bytes::new() }
    }

    /// The look after another one; none if nothing is other.
    fn after(before: &Self, view: Arc<FleetView>) -> Option<Self> {
        let look = Self::new(view);
        let change = between(before, &look)?;
        Some(Self { number: before.number + 1, change: json(&change), ..look })
    }

    /// The whole fleet as JSON.
    pub fn whole(&self) -> Bytes {
        self.whole.get_or_init(|| json(&*self.view)).clone()
    }

    /// What is other than at an earlier look, as JSON; none if nothing is.
    pub fn since(&self, earlier: &Self) -> Option<Bytes> {
        match self.number.checked_sub(earlier.number)? {
            0 => None,
            1 => Some(self.change.clone()),
            // Whoever was slow missed some.
            _ => between(earlier, self).map(|change| json(&change)),
        }
    }
}

/// The types of the read model have no key that JSON lacks.
fn json(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

fn between(before: &Look, after: &Look) -> Option<Change> {
    let known: BTreeMap<SlotId, &RunnerView> =
        before.view.runners.iter().map(|runner| (runner.id, runner)).collect();
    let is_other =
        |runner: &&RunnerView| known.get(&runner.id).is_none_or(|known| !is_same(known, runner));
    let runners: Vec<RunnerView> = after.view.runners.iter().filter(is_other).cloned().collect();
    let now: BTreeSet<SlotId> = after.view.runners.iter().map(|runner| runner.id).collect();
    let gone: Vec<SlotId> = known.into_keys().filter(|slot| !now.contains(slot)).collect();
    let rest = FleetView { at: after.rest.at, ..before.rest.clone() };
    if runners.is_empty() && gone.is_empty() && rest == after.rest {
        return None;
    }
    Some(Change { fleet: FleetView { runners, ..after.rest.clone() }, gone })
}

/// Whether a runner says the same as before; that it was heard again is no news.
fn is_same(before: &RunnerView, after: &RunnerView) -> bool {
    match before.heard == after.heard {
        true => before == after,
        false => RunnerView { heard: after.heard, ..before.clone() } == *after,
    }
}

/// The newest look.
#[derive(Debug, Clone)]
struct Newest {
    look: Arc<Look>,
    /// The fleet says what it was at this time, or later.
    begun: Instant,
}

/// Where looks are told and asked for.
#[derive(Debug)]
pub(super) struct Lookout {
    teller: watch::Sender<Option<Newest>>,
    /// Somebody came, and waits for a look.
    asked: Notify,
}

/// The looks that are made while somebody follows; they are the task's that makes them, and end
/// with it however that ends.
pub(super) type Looks = Weak<Lookout>;

/// One who follows the fleet.
pub(super) struct Following {
    looks: watch::Receiver<Option<Newest>>,
    /// What was taken last.
    pub known: Arc<Look>,
}

impl Following {
    /// Takes the newest look; what is other in it than in the one taken last.
    pub fn take(&mut self) -> Option<Bytes> {
        let newest = self.looks.borrow_and_update().as_ref().map(|it| Arc::clone(&it.look))?;
        let change = newest.since(&self.known);
        self.known = newest;
        change
    }

    /// Waits until the fleet was looked at again. It fails when the supervisor goes.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.looks.changed().await
    }
}

impl Api {
    /// Begins to follow the fleet.
    pub(super) async fn follow(self: &Arc<Self>) -> Result<Following, Problem> {
        let came = Instant::now();
        let mut looks = self.looks();
        let is_fresh = |it: &Option<Newest>| it.as_ref().is_some_and(|it| it.begun >= came);
        let first = looks.wait_for(is_fresh).await.ok().and_then(|newest| newest.clone());
        let known = first.map(|newest| newest.look).ok_or_else(|| {
            let detail = "the supervisor is shutting down, or its loop does not answer";
            Problem::new(ProblemKind::Unavailable, detail)
        })?;
        Ok(Following { looks, known })
    }

    /// The looks; somebody makes them from now on, and the next one at once.
    fn looks(self: &Arc<Self>) -> watch::Receiver<Option<Newest>> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookout) = looks.upgrade() {
            lookout.asked.notify_one();
            return lookout.teller.subscribe();
        }
        let (teller, receiver) = watch::channel(None);
        let lookout = Arc::new(Lookout { teller, asked: Notify::new() });
        *looks = Arc::downgrade(&lookout);
        tokio::spawn(look_on(Arc::clone(self), lookout));
        receiver
    }

    /// Whether nobody follows any more; then whoever comes next begins anew.
    fn is_unwatched(&self, lookout: &Lookout) -> bool {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let is_unwatched = lookout.teller.receiver_count() == 0;
        if is_unwatched {
            *looks = Weak::new();
        }
        is_unwatched
    }
}

/// Looks at the fleet until nobody follows it, or the loop does not answer; whoever follows then
/// finds the end.
async fn look_on(api: Arc<Api>, lookout: Arc<Lookout>) {
    let mut steps = api.handle.steps();
    let mut last: Option<Arc<Look>> = None;
    while !api.is_unwatched(&lookout) {
        let begun = Instant::now();
        steps.mark_unchanged();
        let Ok(view) = api.fleet_view().await else { break };
        let look = match &last {
            None => Some(Look::new(view)),
            Some(last) => Look::after(last, view),
        };
        last = look.map(Arc::new).or(last);
        // Also told when nothing is other: something may be on record.
        lookout.teller.send_replace(last.clone().map(|look| Newest { look, begun }));
        tokio::select! {
            step = timeout(PATIENCE, steps.changed()) => match step {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_gone)) => break,
            },
            () = lookout.asked.notified() => continue,
            () = lookout.teller.closed() => continue,
        }
        tokio::select! {
            () = sleep_until(begun + INTERVAL) => {}
            () = lookout.asked.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::RunnerStatus;
    use crate::sim::script::{host, pool, spec};
    use crate::sim::{Sim, transcript::Writing};
    use crate::units::Time;

    /// Two light runners that idle.
    fn fleet() -> FleetView {
        let spec = spec().with(pool("light", 2));
        let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
        sim.up(spec);
        sim.settle().expect("a fleet without faults comes up");
        sim.fleet().expect("it lives").view(sim.now())
    }

    fn look(view: &FleetView) -> Look {
        Look::new(Arc::new(view.clone()))
    }

    fn change(before: &FleetView, after: &FleetView) -> Option<Change> {
        between(&look(before), &look(after))
    }

    #[test]
    fn a_view_that_says_the_same_later_is_no_change() {
        let before = fleet();
        let mut after = FleetView { at: Time(before.at.0 + 5000), ..before.clone() };
        after.runners[0].heard = Some(after.at);
        assert_eq!(change(&before, &after), None);
    }

    #[test]
    fn only_the_runners_that_changed_are_told_and_those_that_are_gone() {
        let before = fleet();
        let mut after = before.clone();
        after.runners[1].status = RunnerStatus::Running;
        let found = change(&before, &after).expect("a change");
        assert_eq!(found.fleet.runners, [after.runners[1].clone()]);
        assert_eq!(found.gone, []);
        let gone = after.runners.remove(0);
        let found = change(&before, &after).expect("a change");
        assert_eq!(found.gone, [gone.id]);
        let back = change(&after, &before).expect("a change");
        assert_eq!(back.fleet.runners.len(), 2, "one is new, one is other than it was");
    }

    #[test]
    fn what_is_beside_the_runners_is_a_change_too() {
        let before = fleet();
        let after = FleetView { queued: 1, ..before.clone() };
        let change = change(&before, &after).expect("a change");
        assert_eq!((change.fleet.queued, change.fleet.runners.len()), (1, 0));
    }

    #[test]
    fn whoever_missed_a_look_is_told_all_that_is_other_since_and_nothing_that_came_and_went() {
        let begun = fleet();
        let mut busy = begun.clone();
        busy.runners[0].status = RunnerStatus::Running;
        let queued = FleetView { queued: 1, ..begun.clone() };
        let first = look(&begun);
        let second = Look::after(&first, Arc::new(busy)).expect("a runner is other");
        let third = Look::after(&second, Arc::new(queued)).expect("it is as it was, a job waits");
        let read = |bytes: Option<Bytes>| -> Change {
            serde_json::from_slice(&bytes.expect("a change")).expect("JSON")
        };
        let slow = read(third.since(&first));
        assert_eq!((slow.fleet.queued, slow.fleet.runners.len()), (1, 0));
        let quick = read(third.since(&second));
        assert_eq!((quick.fleet.queued, quick.fleet.runners.len()), (1, 1));
        assert_eq!(third.since(&third), None);
        let whole: FleetView = serde_json::from_slice(&first.whole()).expect("JSON");
        assert_eq!(whole, begun);
    }
}
