//! Who and what a waiting job stands behind, for people who ask why it waits.

pub(super) mod reason;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assignment;
use super::job::{Job, JobState};
use super::queue::Kind;
use super::state::State;
use crate::ids::{JobId, PoolName};
use crate::units::Time;

/// Jobs that are named; the others are counted.
const NAMED_MAX: usize = 5;

/// What a waiting job stands behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingView {
    /// The pools that may serve it, in the file's order.
    pub pools: Vec<PoolName>,
    /// Jobs that wait for the same pools and go before it.
    pub ahead: u32,
    /// The first few of them, the next one first.
    pub next: Vec<JobId>,
    /// A few of the jobs that these pools run now, the longest under way first.
    pub running: Vec<JobId>,
}

/// The jobs that wait for one pool; other pools may serve some of them, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolQueue {
    /// How many.
    pub count: u32,
    /// The first few, the next one first.
    pub next: Vec<JobId>,
}

pub(super) fn of(state: &State, now: Time, id: JobId) -> Option<WaitingView> {
    let job = state.job(id).filter(|job| matches!(job.state, JobState::Queued))?;
    let pools = assignment::servers(&state.spec, job);
    let before = state.queue(now).take_while(|other| other.id != id);
    let ahead = served_by(state, before, &pools);
    let mut running: Vec<&Job> =
        state.held_jobs().filter(|it| runs_on(state, it, &pools)).collect();
    running.sort_by_key(|job| (job.assigned_at, job.id));
    Some(WaitingView {
        pools: pools.into_iter().cloned().collect(),
        ahead: ahead.count,
        next: ahead.next,
        running: running.into_iter().take(NAMED_MAX).map(|job| job.id).collect(),
    })
}

pub(super) fn for_pool(state: &State, now: Time, pool: &PoolName) -> PoolQueue {
    served_by(state, state.queue(now), &[pool])
}

/// Those of some jobs that one of these pools may serve. A kind is looked at once: the queue may
/// be long.
fn served_by<'a>(
    state: &State,
    jobs: impl Iterator<Item = &'a Job>,
    pools: &[&PoolName],
) -> PoolQueue {
    let mut kinds: BTreeMap<Kind, bool> = BTreeMap::new();
    let mut queue = PoolQueue::default();
    for job in jobs {
        let serves = || assignment::servers(&state.spec, job).iter().any(|it| pools.contains(it));
        if *kinds.entry(Kind::of(job)).or_insert_with(serves) {
            queue.count = queue.count.saturating_add(1);
            if queue.next.len() < NAMED_MAX {
                queue.next.push(job.id);
            }
        }
    }
    queue
}

fn runs_on(state: &State, job: &Job, pools: &[&PoolName]) -> bool {
    let slot = job.slot.and_then(|slot| state.slot(slot));
    slot.is_some_and(|slot| pools.contains(&&slot.pool))
}
