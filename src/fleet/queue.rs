//! The waiting jobs: in their order, and by what they ask for.
//!
//! Giving out jobs must not cost more when 100,000 wait than when ten do. So the queue is kept
//! apart for each kind of job, and within a kind for each workflow run: the first job that may
//! start is the first of a few sets, never the end of a search.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::job::{Job, Rank};
use crate::ids::{JobId, LaneName, PoolName, ProfileName};

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

/// Some waiting jobs, in their order and by their age: a job's number rises with its time.
#[derive(Debug, Default)]
struct Crowd {
    ranks: BTreeSet<Rank>,
    ids: BTreeSet<JobId>,
}

impl Crowd {
    fn insert(&mut self, rank: Rank) {
        self.ranks.insert(rank);
        self.ids.insert(rank.id);
    }

    fn remove(&mut self, rank: Rank) {
        self.ranks.remove(&rank);
        self.ids.remove(&rank.id);
    }
}

/// The waiting jobs of one kind. No set is ever empty but `all` and `free`.
#[derive(Debug, Default)]
pub(super) struct Line {
    all: BTreeSet<Rank>,
    free: Crowd,
    by_run: BTreeMap<String, Crowd>,
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
                .filter_map(|crowd| behind(&crowd.ranks, after))
                .min(),
        }
    }

    /// All jobs of the kind.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The job that waits longest.
    pub fn oldest(&self) -> Option<JobId> {
        self.by_run.values().chain([&self.free]).filter_map(|it| it.ids.first().copied()).min()
    }

    /// The jobs of these runs, and those of none.
    pub fn count(&self, runs: &BTreeSet<String>) -> usize {
        self.crowds(runs).map(|crowd| crowd.ids.len()).sum()
    }

    /// Those of them that are old, up to a number; what is old is older than what is not.
    pub fn count_old(
        &self,
        runs: &BTreeSet<String>,
        most: usize,
        is_old: impl Fn(JobId) -> bool,
    ) -> usize {
        let old = |crowd: &Crowd| crowd.ids.iter().take(most).take_while(|id| is_old(**id)).count();
        self.crowds(runs).map(old).sum::<usize>().min(most)
    }

    fn crowds(&self, runs: &BTreeSet<String>) -> impl Iterator<Item = &Crowd> {
        runs.iter().filter_map(|run| self.by_run.get(run)).chain([&self.free])
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
    /// The first waiting job of each workflow run.
    heads: BTreeSet<(Rank, String)>,
    runs: BTreeMap<String, BTreeSet<Rank>>,
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

    /// The runs that could have a job started if there were runners for all: those under way, and
    /// those that come next, up to a number. A run whose jobs are all for kinds that nobody serves
    /// holds no place of the others.
    pub fn admissible(
        &self,
        under_way: BTreeSet<String>,
        most: usize,
        is_served: impl Fn(JobId) -> bool,
    ) -> BTreeSet<String> {
        let mut runs = under_way;
        for (_, run) in &self.heads {
            if runs.len() >= most {
                break;
            }
            let mut ranks = self.runs.get(run).into_iter().flatten();
            if ranks.any(|rank| is_served(rank.id)) {
                runs.insert(run.clone());
            }
        }
        runs
    }

    pub fn insert(&mut self, job: &Job) {
        let rank = job.rank();
        self.all.insert(rank);
        let run = job.workflow_run();
        if let Some(run) = &run {
            self.change_run(run, |ranks| {
                ranks.insert(rank);
            });
        }
        let line = self.lines.entry(Kind::of(job)).or_default();
        line.all.insert(rank);
        match run {
            Some(run) => line.by_run.entry(run).or_default().insert(rank),
            None => line.free.insert(rank),
        }
    }

    /// Changes the waiting jobs of a run, and keeps its first one true.
    fn change_run(&mut self, run: &str, change: impl FnOnce(&mut BTreeSet<Rank>)) {
        let ranks = self.runs.entry(run.to_owned()).or_default();
        let before = ranks.first().copied();
        change(ranks);
        let after = ranks.first().copied();
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.heads.remove(&(before, run.to_owned()));
        }
        match after {
            Some(after) => {
                self.heads.insert((after, run.to_owned()));
            }
            None => {
                self.runs.remove(run);
            }
        }
    }

    pub fn remove(&mut self, job: &Job) {
        let rank = job.rank();
        if !self.all.remove(&rank) {
            return;
        }
        let (kind, run) = (Kind::of(job), job.workflow_run());
        if let Some(run) = &run {
            self.change_run(run, |ranks| {
                ranks.remove(&rank);
            });
        }
        let Some(line) = self.lines.get_mut(&kind) else { return };
        line.all.remove(&rank);
        line.free.remove(rank);
        if let Some(run) = run
            && let Some(crowd) = line.by_run.get_mut(&run)
        {
            crowd.remove(rank);
            if crowd.ids.is_empty() {
                line.by_run.remove(&run);
            }
        }
        if line.all.is_empty() {
            self.lines.remove(&kind);
        }
    }
}
