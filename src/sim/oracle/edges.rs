//! Which ways of runners and jobs a simulation went: what was never gone was never tried.

use std::collections::BTreeMap;

use crate::fleet::job::Job;
use crate::fleet::state::Record;
use crate::ids::{IncarnationId, JobId};

/// From one state to the next, as the records of a step tell it.
pub type Edge = (&'static str, &'static str);

/// How often each way was gone.
#[derive(Debug, Clone, Default)]
pub struct Edges {
    /// The ways of runners.
    pub runners: BTreeMap<Edge, u64>,
    /// The ways of jobs.
    pub jobs: BTreeMap<Edge, u64>,
    runner: BTreeMap<IncarnationId, &'static str>,
    job: BTreeMap<JobId, &'static str>,
}

/// What was before the beginning and is after the end.
const NOTHING: &str = "-";

impl Edges {
    /// Takes in the records of a step.
    pub(super) fn follow(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Runner(id, runner) => {
                    let to = runner.as_ref().map(|runner| runner.phase.word());
                    step(&mut self.runner, &mut self.runners, *id, to);
                }
                Record::Job(id, job) => {
                    let to = job.as_deref().map(Job::word);
                    step(&mut self.job, &mut self.jobs, *id, to);
                }
                Record::Slot(..) | Record::Meta(_) | Record::Audit(_) => {}
            }
        }
    }

    /// Adds what another simulation went.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in [(&mut self.runners, &other.runners), (&mut self.jobs, &other.jobs)] {
            for (edge, count) in more {
                *own.entry(*edge).or_default() += count;
            }
        }
    }
}

fn step<K: Ord>(
    at: &mut BTreeMap<K, &'static str>,
    edges: &mut BTreeMap<Edge, u64>,
    key: K,
    to: Option<&'static str>,
) {
    let from = match to {
        Some(to) => at.insert(key, to),
        None => at.remove(&key),
    };
    let edge = (from.unwrap_or(NOTHING), to.unwrap_or(NOTHING));
    if edge.0 != edge.1 {
        *edges.entry(edge).or_default() += 1;
    }
}

/// Ways that simulated runners must go.
pub const RUNNER_EDGES: [Edge; 13] = [
    (NOTHING, "planned"),
    ("planned", "created"),
    ("created", "starting"),
    ("created", "idle"),
    ("starting", "idle"),
    ("idle", "running"),
    ("running", "idle"),
    ("planned", "removing"),
    ("created", "removing"),
    ("starting", "removing"),
    ("idle", "removing"),
    ("running", "removing"),
    ("removing", NOTHING),
];

/// Ways that simulated jobs must go.
pub const JOB_EDGES: [Edge; 15] = [
    (NOTHING, "queued"),
    (NOTHING, "assigned"),
    ("queued", "assigned"),
    ("queued", "cancelled"),
    ("assigned", "running"),
    ("assigned", "fenced"),
    ("running", "publishing"),
    ("running", "stopping"),
    ("running", "fenced"),
    ("stopping", "publishing"),
    ("stopping", "fenced"),
    ("publishing", "succeeded"),
    ("publishing", "failed"),
    ("publishing", "cancelled"),
    ("fenced", "queued"),
];
