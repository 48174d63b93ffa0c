//! Which job is next, of those that the same runners suit: higher priority first, and of one
//! submitter the first come. Only what waited for long may go before more important work.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::job::{Job, JobState};
use crate::fleet::state::Record;
use crate::ids::{JobId, LaneName, PoolName, ProfileName};
use crate::units::Time;

/// What waits for so long may go before what is more important.
const OF_AGE: Duration = Duration::from_secs(30 * 60);

/// Jobs that the same runners suit.
type Kind = (ProfileName, Option<PoolName>, Option<LaneName>);

/// A job that waits.
#[derive(Debug)]
struct Waiting {
    kind: Kind,
    priority: i32,
    submitter: String,
    since: Time,
    /// It ran out of GPU memory, and keeps the turn that it had among jobs of a lesser profile.
    is_raised: bool,
}

/// The jobs that wait.
#[derive(Debug, Default)]
pub(super) struct OrderBook {
    waiting: BTreeMap<JobId, Waiting>,
    last: Option<JobId>,
}

impl OrderBook {
    /// Takes in the records of a step; what went before its turn comes back.
    pub(super) fn check(&mut self, now: Time, records: &[Record]) -> Vec<String> {
        let mut begun = Vec::new();
        let mut last = self.last;
        for record in records {
            let Record::Job(id, Some(job)) = record else { continue };
            // Some begin in the step that they came in.
            let before = match self.waiting.remove(id) {
                None if Some(*id) > self.last => Some(Waiting::of(job)),
                before => before,
            };
            last = last.max(Some(*id));
            match job.state {
                // How many workflow runs there are is another bound.
                _ if job.spec.workflow.is_some() => {}
                JobState::Queued => drop(self.waiting.insert(*id, Waiting::of(job))),
                JobState::Given { .. } => begun.extend(before.map(|before| (*id, before))),
                JobState::OnHold { .. }
                | JobState::Publishing { .. }
                | JobState::Fenced { .. }
                | JobState::Ended { .. } => {}
            }
        }
        self.last = last;
        begun.iter().filter_map(|(id, job)| self.before_its_turn(now, *id, job)).collect()
    }

    fn before_its_turn(&self, now: Time, id: JobId, job: &Waiting) -> Option<String> {
        if now.since(job.since) >= OF_AGE || job.is_raised {
            return None;
        }
        let is_wronged = |(other, it): &(&JobId, &Waiting)| {
            let is_earlier = it.submitter == job.submitter && **other < id;
            it.kind == job.kind
                && !it.is_raised
                && (it.priority > job.priority || (it.priority == job.priority && is_earlier))
        };
        let (other, _) = self.waiting.iter().find(is_wronged)?;
        Some(format!("{id} began before {other}, whose turn it was"))
    }
}

impl Waiting {
    fn of(job: &Job) -> Self {
        Self {
            kind: (job.profile.clone(), job.spec.pool.clone(), job.spec.lane.clone()),
            priority: job.priority,
            submitter: job.spec.submitter.clone(),
            since: job.queued_at,
            is_raised: job.raised.is_some(),
        }
    }
}
