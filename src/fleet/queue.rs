//! The waiting jobs: in their order, and by what they ask for.
//!
//! Giving out jobs must not cost more when 100,000 wait than when ten do. So the queue is kept
//! apart for each kind of job, and within a kind for each workflow run: the first job that may
//! start is the first of a few sets, never the end of a search.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::job::{Job, Rank};
use crate::ids::{LaneName, PoolName, ProfileName};

/// What jobs ask for; when one of a kind finds no runner, the others of its kind will not either.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub profile: ProfileName,
    pub pool: Option<PoolName>,
    pub lane: Option<LaneName>,
}

impl Kind {
    pub fn of(job: &Job) -> Self {
        Self {
            profile: job.profile.clone(),
            pool: job.spec.pool.clone(),
            lane: job.spec.lane.clone(),
        }
    }
}

/// The waiting jobs of one kind. No set is ever empty but `all` and `free`.
#[derive(Debug, Default)]
pub(super) struct Line {
    all: BTreeSet<Rank>,
    free: BTreeSet<Rank>,
    by_run: BTreeMap<String, BTreeSet<Rank>>,
}

/// Which workflow runs may have a job started.
#[derive(Debug, Clone, Copy)]
pub(super) enum Admission<'a> {
    /// Every one.
    All,
    /// Only these, and jobs that belong to none.
    Only(&'a BTreeSet<String>),
}

impl Line {
    /// The first job behind `after` that may start.
    pub fn first(&self, after: Option<Rank>, admission: Admission<'_>) -> Option<Rank> {
        match admission {
            Admission::All => behind(&self.all, after),
            Admission::Only(runs) => runs
                .iter()
                .filter_map(|run| self.by_run.get(run))
                .chain([&self.free])
                .filter_map(|set| behind(set, after))
                .min(),
        }
    }
}

fn behind(set: &BTreeSet<Rank>, after: Option<Rank>) -> Option<Rank> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    set.range((from, Bound::Unbounded)).next().copied()
}

/// All waiting jobs.
#[derive(Debug, Default)]
pub(super) struct Queue {
    all: BTreeSet<Rank>,
    lines: BTreeMap<Kind, Line>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The order in which jobs would start if every runner suited every job.
    pub fn iter(&self) -> impl Iterator<Item = Rank> {
        self.all.iter().copied()
    }

    pub fn lines(&self) -> impl Iterator<Item = (&Kind, &Line)> {
        self.lines.iter()
    }

    pub fn insert(&mut self, job: &Job) {
        let rank = job.rank();
        self.all.insert(rank);
        let line = self.lines.entry(Kind::of(job)).or_default();
        line.all.insert(rank);
        match job.workflow_run() {
            Some(run) => line.by_run.entry(run).or_default().insert(rank),
            None => line.free.insert(rank),
        };
    }

    pub fn remove(&mut self, job: &Job) {
        let rank = job.rank();
        if !self.all.remove(&rank) {
            return;
        }
        let kind = Kind::of(job);
        let Some(line) = self.lines.get_mut(&kind) else { return };
        line.all.remove(&rank);
        line.free.remove(&rank);
        if let Some(run) = job.workflow_run()
            && let Some(set) = line.by_run.get_mut(&run)
        {
            set.remove(&rank);
            if set.is_empty() {
                line.by_run.remove(&run);
            }
        }
        if line.all.is_empty() {
            self.lines.remove(&kind);
        }
    }
}
