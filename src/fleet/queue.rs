//! The waiting jobs: in their order, and by what they ask for.
//!
//! Giving out jobs must not cost more when 100,000 wait than when ten do. So the queue is kept
//! apart for each kind of job, and within a kind for each workflow run: the first job that may
//! start is the first of a few sets, never the end of a search.

use std::collections::btree_set::Iter;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::{Copied, Peekable};
use std::ops::Bound;
use std::time::Duration;

use super::job::{Job, Place, Rank};
use super::turns::Turns;
use crate::ids::{JobId, LaneName, PoolName, ProfileName};

/// A job that waits for so long is of age ...
pub(super) const OF_AGE: Duration = Duration::from_secs(30 * 60);
/// ... and from then on so many others at most start before the oldest of these.
pub(super) const PASSES: u32 = 3;

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

/// What is compared by its turns: what asks for the same runners, in whatever lane.
type Class<'a> = (&'a ProfileName, Option<&'a PoolName>);

/// The next job of a kind: whether it may be passed, and its place.
pub(super) type Next = (bool, Place);

/// The first of the next jobs of some kinds, and where it was found: within a class by its turn,
/// between classes by its priority and its age.
pub(super) fn first<'a>(
    heads: impl Iterator<Item = (usize, &'a Kind, Next)>,
) -> Option<(usize, Next)> {
    let mut firsts: BTreeMap<Class<'a>, (Next, usize)> = BTreeMap::new();
    for (at, kind, next) in heads {
        let first = firsts.entry((&kind.profile, kind.pool.as_ref())).or_insert((next, at));
        *first = (next, at).min(*first);
    }
    let firsts = firsts.into_values();
    firsts.min_by_key(|((passable, place), _)| (*passable, place.rank())).map(|(it, at)| (at, it))
}

/// Some waiting jobs, in their order and by their age: a job's number rises with its time.
#[derive(Debug, Default)]
struct Crowd {
    places: BTreeSet<Place>,
    ids: BTreeSet<JobId>,
}

impl Crowd {
    fn insert(&mut self, place: Place) {
        self.places.insert(place);
        self.ids.insert(place.id);
    }

    fn remove(&mut self, place: Place) {
        self.places.remove(&place);
        self.ids.remove(&place.id);
    }
}

/// The waiting jobs of one kind. No crowd is ever empty but `all` and `free`.
#[derive(Debug, Default)]
pub(super) struct Line {
    all: Crowd,
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
    pub fn first(&self, after: Option<Place>, admission: Admission<'_>) -> Option<Place> {
        self.admitted(admission).filter_map(|crowd| behind(&crowd.places, after)).min()
    }

    /// The oldest job that may start and is younger than `after`.
    pub fn oldest(&self, after: Option<JobId>, admission: Admission<'_>) -> Option<JobId> {
        self.admitted(admission).filter_map(|crowd| behind(&crowd.ids, after)).min()
    }

    fn admitted<'a>(
        &'a self,
        admission: Admission<'a>,
    ) -> Box<dyn Iterator<Item = &'a Crowd> + 'a> {
        match admission {
            Admission::All => Box::new(std::iter::once(&self.all)),
            Admission::Only(runs) => Box::new(self.crowds(runs)),
        }
    }

    /// All jobs of the kind.
    pub fn len(&self) -> usize {
        self.all.ids.len()
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

    fn crowds<'a>(&'a self, runs: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Crowd> {
        runs.iter().filter_map(|run| self.by_run.get(run)).chain([&self.free])
    }
}

fn behind<T: Ord + Copy>(set: &BTreeSet<T>, after: Option<T>) -> Option<T> {
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
    /// Jobs that an operator holds back: they stand in no line, and keep their turns.
    on_hold: BTreeSet<JobId>,
    turns: Turns,
    passed: BTreeMap<Kind, u32>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The waiting jobs.
    pub fn ids(&self) -> impl Iterator<Item = JobId> {
        self.all.iter().map(|rank| rank.id)
    }

    /// The jobs that are on hold, the oldest first.
    pub fn on_hold(&self) -> &BTreeSet<JobId> {
        &self.on_hold
    }

    /// A job is on hold.
    pub fn put_aside(&mut self, job: &Job) {
        self.on_hold.insert(job.id);
        self.turns.put_aside(job);
    }

    /// The order in which jobs would start if every runner suited every job; `aged` gives the place
    /// of a job that is of age.
    pub fn order<'a>(
        &'a self,
        aged: impl Fn(JobId) -> Option<Place> + 'a,
    ) -> impl Iterator<Item = JobId> + 'a {
        let mut lines: Vec<(&Kind, Ordering<'_>)> = self
            .lines
            .iter()
            .map(|(kind, line)| (kind, Ordering::of(line, self.passed(kind))))
            .collect();
        std::iter::from_fn(move || {
            let heads = lines.iter_mut().enumerate();
            let heads = heads.filter_map(|(at, (kind, line))| Some((at, *kind, line.head(&aged)?)));
            let (at, (_, next)) = first(heads)?;
            for (other, (_, line)) in lines.iter_mut().enumerate() {
                line.start(next.id, other == at);
            }
            Some(next.id)
        })
    }

    /// How often the oldest job of a kind was passed since it is of age: others got runners that
    /// suit it.
    pub fn passed(&self, kind: &Kind) -> u32 {
        self.passed.get(kind).copied().unwrap_or(0)
    }

    /// The oldest job of a kind was passed so often; none when it starts.
    pub fn pass(&mut self, kind: Kind, passed: Option<u32>) {
        match passed.filter(|_| self.lines.contains_key(&kind)) {
            Some(passed) => self.passed.insert(kind, passed),
            None => self.passed.remove(&kind),
        };
    }

    /// The turn of a job that is handed in now.
    pub fn next_turn(&self, job: &Job) -> u64 {
        self.turns.next(job)
    }

    /// A job is given to a runner, or was before a restart.
    pub fn serve(&mut self, job: &Job) {
        self.turns.serve(job);
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
        let (rank, place) = (job.rank(), job.place());
        self.all.insert(rank);
        self.turns.wait(job);
        let run = job.workflow_run();
        if let Some(run) = &run {
            self.change_run(run, |ranks| {
                ranks.insert(rank);
            });
        }
        let line = self.lines.entry(Kind::of(job)).or_default();
        line.all.insert(place);
        match run {
            Some(run) => line.by_run.entry(run).or_default().insert(place),
            None => line.free.insert(place),
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

    /// A job neither waits nor is on hold any more.
    pub fn remove(&mut self, job: &Job) {
        if self.on_hold.remove(&job.id) {
            self.turns.take_away(job);
        }
        let (rank, place) = (job.rank(), job.place());
        if !self.all.remove(&rank) {
            return;
        }
        self.turns.leave(job);
        let (kind, run) = (Kind::of(job), job.workflow_run());
        if let Some(run) = &run {
            self.change_run(run, |ranks| {
                ranks.remove(&rank);
            });
        }
        let Some(line) = self.lines.get_mut(&kind) else { return };
        line.all.remove(place);
        line.free.remove(place);
        if let Some(run) = run
            && let Some(crowd) = line.by_run.get_mut(&run)
        {
            crowd.remove(place);
            if crowd.ids.is_empty() {
                line.by_run.remove(&run);
            }
        }
        if line.all.ids.is_empty() {
            self.lines.remove(&kind);
            self.passed.remove(&kind);
        }
    }
}

/// The jobs of one kind while all are put into one order.
struct Ordering<'a> {
    places: Peekable<Copied<Iter<'a, Place>>>,
    ids: Peekable<Copied<Iter<'a, JobId>>>,
    started: BTreeSet<JobId>,
    passed: u32,
}

impl<'a> Ordering<'a> {
    fn of(line: &'a Line, passed: u32) -> Self {
        Self {
            places: line.all.places.iter().copied().peekable(),
            ids: line.all.ids.iter().copied().peekable(),
            started: BTreeSet::new(),
            passed,
        }
    }

    /// The next job, and whether it may be passed.
    fn head(&mut self, aged: &impl Fn(JobId) -> Option<Place>) -> Option<Next> {
        let Self { places, ids, started, .. } = self;
        while ids.next_if(|id| started.contains(id)).is_some() {}
        while places.next_if(|place| started.contains(&place.id)).is_some() {}
        let oldest = ids.peek().and_then(|id| aged(*id));
        if oldest.is_none() {
            self.passed = 0;
        }
        match oldest.filter(|_| self.passed >= PASSES) {
            Some(place) => Some((false, place)),
            None => self.places.peek().map(|place| (true, *place)),
        }
    }

    /// A job starts, of this kind or another.
    fn start(&mut self, id: JobId, is_own: bool) {
        let is_oldest = self.ids.peek() == Some(&id);
        self.passed = if is_oldest { 0 } else { self.passed.saturating_add(1) };
        if is_own {
            self.started.insert(id);
        }
    }
}
