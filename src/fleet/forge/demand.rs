//! What waits at forges for which pool, and why each job waits.
//!
//! Jobs are counted, never bound: a forge gives a job to any runner that matches, so the runner
//! that was made for one job may take another, and the next count sees that.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::fact::{ForgeContact, ForgeJobStatus};
use super::jobs::Known;
use super::labels::{self, Match};
use super::view::ForgeJobView;
use super::{holds, names, plan};
use crate::fleet::demand::{Load, following};
use crate::fleet::event::Cordon;
use crate::fleet::runner::Phase;
use crate::fleet::scale;
use crate::fleet::slot::Fate;
use crate::fleet::state::State;
use crate::fleet::view::SizeReason;
use crate::ids::{PoolName, ScopeUrl};
use crate::spec::{ForkJobs, Pool, PoolSize};
use crate::units::Time;

/// A job that idle runners could take and do not take for this long waits for something else.
const IGNORED: Duration = Duration::from_secs(120);

/// Why a workflow's job does not run. There are no other reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgeWait {
    /// Its forge does not offer it yet.
    Held,
    /// No pool has all its labels; the nearest pool, and what that lacks.
    NoPool(Option<(PoolName, Vec<String>)>),
    /// It comes from a fork, and the pool does not serve those.
    Fork(PoolName),
    /// Runners that match are idle and do not get it.
    NotTaken(PoolName),
    /// The pool waits for an operator; why.
    PoolHeld(PoolName, String),
    /// Its forge asked for silence; until when, and its words.
    Limited(Time, String),
    /// Runners are on their way; how many.
    Starting(PoolName, usize),
    /// A runner is idle and about to get it.
    Offered(PoolName),
    /// The pool has all the runners that it may have; how many.
    Full(PoolName, u32),
    /// The pool should have more runners and cannot; why.
    Hindered(PoolName, String),
    /// The pool grows when more jobs wait, or longer.
    Patience(PoolName, u32, Duration),
    /// The runner that its forge gave it to is gone.
    RunnerGone(String),
}

impl ForgeWait {
    /// The reason in one word, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NoPool(_) => "no_pool",
            Self::Fork(_) => "fork",
            Self::NotTaken(_) => "not_taken",
            Self::PoolHeld(..) => "pool_held",
            Self::Limited(..) => "limited",
            Self::Starting(..) => "starting",
            Self::Offered(_) => "offered",
            Self::Full(..) => "full",
            Self::Hindered(..) => "hindered",
            Self::Patience(..) => "patience",
            Self::RunnerGone(_) => "runner_gone",
        }
    }
}

impl fmt::Display for ForgeWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str(
                "its forge holds it back: an approval, an earlier job or its concurrency group",
            ),
            Self::NoPool(None) => f.write_str("no pool serves its repository"),
            Self::NoPool(Some((pool, missing))) if missing.is_empty() => {
                write!(f, "it asks for no label, only for a group; the nearest pool is {pool}")
            }
            Self::NoPool(Some((pool, missing))) => write!(
                f,
                "no pool has all its labels; the nearest, {pool}, lacks `{}`",
                missing.join("`, `")
            ),
            Self::Fork(pool) => write!(
                f,
                "it comes from a fork, and pool {pool} does not serve those (`fork_jobs: allow`)"
            ),
            Self::NotTaken(pool) => write!(
                f,
                "idle runners of pool {pool} have its labels and do not get it: their runner group \
                 may not be open to its repository, or the forge gives it to others"
            ),
            Self::PoolHeld(pool, why) => write!(f, "pool {pool} waits for you: {why}"),
            Self::Limited(until, why) => {
                write!(f, "its forge is limited until {}: {why}", holds::clock(*until))
            }
            Self::Starting(pool, 1) => write!(f, "a runner of pool {pool} is starting"),
            Self::Starting(pool, count) => {
                write!(f, "{count} runners of pool {pool} are starting")
            }
            Self::Offered(pool) => {
                write!(f, "a runner of pool {pool} is idle, and its forge gives it the job soon")
            }
            Self::Full(pool, 0) => write!(f, "pool {pool} has no runners"),
            Self::Full(pool, most) => {
                write!(f, "pool {pool} has all its {most} runners, and they are busy")
            }
            Self::Hindered(pool, why) => write!(f, "pool {pool} cannot grow: {why}"),
            Self::Patience(pool, most, delay) => {
                write!(f, "pool {pool} grows when more than {most} jobs wait longer than {delay:?}")
            }
            Self::RunnerGone(name) => write!(
                f,
                "its forge gave it to {name}, which is gone, and does not queue it again: cancel \
                 the run there, then run it again"
            ),
        }
    }
}

/// Puts jobs to pools.
struct Sorter<'a> {
    state: &'a State,
    now: Time,
    /// Since when the longest idle runner of a pool that could take a job is so.
    idle: BTreeMap<&'a PoolName, Time>,
    /// Jobs ask for the same labels again and again.
    known: BTreeMap<(&'a ScopeUrl, &'a [String]), Match<'a>>,
}

impl<'a> Sorter<'a> {
    fn new(state: &'a State, now: Time) -> Self {
        let mut idle: BTreeMap<&PoolName, Time> = BTreeMap::new();
        let open = |it: &Cordon| *it == Cordon::Open;
        for slot in state.slots().filter(|it| it.fate == Fate::Stay && open(&it.cordon)) {
            let Some(runner) = slot.runner.and_then(|id| state.runner(id)) else { continue };
            let is_idle = matches!(runner.phase, Phase::Idle { .. })
                && runner.enlistment().is_some()
                && state.contact(runner.id).connected
                && !plan::is_claimed(state, runner);
            if is_idle {
                let since = idle.entry(&slot.pool).or_insert(runner.since);
                *since = runner.since.min(*since);
            }
        }
        Self { state, now, idle, known: BTreeMap::new() }
    }

    /// The pool that a job is for, and why it does not count for it.
    fn place(
        &mut self,
        scope: &'a ScopeUrl,
        job: &'a Known,
    ) -> (Option<&'a Pool>, Option<ForgeWait>) {
        let spec = &self.state.spec;
        let key = (scope, job.fact.labels.as_slice());
        let found = self.known.entry(key).or_insert_with(|| labels::pool(spec, scope, key.1));
        let pool = match found {
            Match::Pool(pool) => *pool,
            Match::None(nearest) => {
                let nearest =
                    nearest.as_ref().map(|(it, missing)| (it.name.clone(), missing.clone()));
                return (None, Some(ForgeWait::NoPool(nearest)));
            }
        };
        let fork_jobs = pool.forge.as_ref().map(|forge| forge.fork_jobs);
        let is_idle_for_long = |since: &Time| self.now.since(job.queued.max(*since)) >= IGNORED;
        let why = match &job.fact.status {
            ForgeJobStatus::Held => Some(ForgeWait::Held),
            ForgeJobStatus::Queued if job.fact.fork == Some(true) => {
                (fork_jobs == Some(ForkJobs::Deny)).then(|| ForgeWait::Fork(pool.name.clone()))
            }
            ForgeJobStatus::Queued if self.idle.get(&pool.name).is_some_and(is_idle_for_long) => {
                Some(ForgeWait::NotTaken(pool.name.clone()))
            }
            ForgeJobStatus::Queued | ForgeJobStatus::Running | ForgeJobStatus::Completed(_) => None,
        };
        (Some(pool), why)
    }
}

fn all(state: &State) -> impl Iterator<Item = (&ScopeUrl, &Known)> {
    state.forge.scopes.iter().flat_map(|(scope, it)| it.jobs.iter().map(move |job| (scope, job)))
}

/// Counts the jobs that wait at forges for the pools that serve them.
pub(in crate::fleet) fn count(state: &State, now: Time, loads: &mut BTreeMap<PoolName, Load>) {
    if !state.spec.pools.iter().any(|pool| pool.forge.is_some()) {
        return;
    }
    let mut sorter = Sorter::new(state, now);
    for (scope, job) in all(state).filter(|(_, it)| it.fact.status == ForgeJobStatus::Queued) {
        let (Some(pool), why) = sorter.place(scope, job) else { continue };
        let Some(load) = loads.get_mut(&pool.name) else { continue };
        if let Some(why) = why {
            load.ignored += u32::from(matches!(why, ForgeWait::NotTaken(_)));
            continue;
        }
        let delay = following(state, pool).map(|elastic| elastic.scale_up_delay);
        let is_overdue = delay.is_some_and(|delay| now.since(job.queued) > delay);
        load.waiting = load.waiting.saturating_add(1);
        load.overdue = load.overdue.saturating_add(u32::from(is_overdue));
        if load.free + load.busy == 0 {
            load.forsaken = load.forsaken.saturating_add(u32::from(is_overdue));
        }
    }
}

/// The pools that serve the jobs that wait at forges, one for each job.
pub(in crate::fleet) fn waiting(state: &State, now: Time) -> Vec<&PoolName> {
    let mut sorter = Sorter::new(state, now);
    let queued = all(state).filter(|(_, it)| it.fact.status == ForgeJobStatus::Queued);
    let mut pools = Vec::new();
    for (scope, job) in queued {
        match sorter.place(scope, job) {
            // It waits for nobody here.
            (_, Some(ForgeWait::Fork(_))) | (None, _) => {}
            (Some(pool), _) => pools.push(&pool.name),
        }
    }
    pools
}

/// The jobs of all scopes that are not over, the newest first.
pub(in crate::fleet) fn jobs(state: &State, now: Time, limit: usize) -> Vec<ForgeJobView> {
    let mut jobs: Vec<_> = all(state).collect();
    jobs.sort_by_key(|(_, it)| std::cmp::Reverse((it.queued, it.fact.id)));
    jobs.truncate(limit);
    let mut sorter = Sorter::new(state, now);
    let sizes = scale::reasons(state, now);
    let view = |(scope, job): (&ScopeUrl, &Known),
                (pool, why): (Option<&Pool>, Option<ForgeWait>)| {
        ForgeJobView {
            scope: scope.clone(),
            job: job.fact.clone(),
            pool: pool.map(|pool| pool.name.clone()),
            reason: why.map(|why| why.to_string()),
        }
    };
    let mut views = Vec::new();
    for (scope, job) in jobs {
        let (pool, why) = sorter.place(scope, job);
        let why = match (&job.fact.status, pool) {
            (ForgeJobStatus::Running, _) => lost(state, job),
            (ForgeJobStatus::Queued, Some(pool)) => {
                let size = sizes.get(&pool.name).map(|(size, _)| size);
                why.or_else(|| Some(wait(&sorter, pool, size)))
            }
            _ => why,
        };
        views.push(view((scope, job), (pool, why)));
    }
    views
}

/// A forge does not queue a job again whose runner is lost.
fn lost(state: &State, job: &Known) -> Option<ForgeWait> {
    let name = job.fact.runner.as_ref()?;
    let id = names::incarnation(name, state.forge.fleet.as_ref()?)?;
    let is_there = state.runner(id).is_some_and(|runner| !runner.is_retiring());
    // A list that was begun soon after its end may be behind.
    let gone = state.meta.leftovers.get(&id).map(|it| it.since + IGNORED);
    let is_late = gone.is_none_or(|late| job.said >= late);
    (!is_there && is_late).then(|| ForgeWait::RunnerGone(name.clone()))
}

/// What a job waits for that counts for a pool.
fn wait(sorter: &Sorter<'_>, pool: &Pool, size: Option<&SizeReason>) -> ForgeWait {
    let (state, name) = (sorter.state, pool.name.clone());
    let scope = pool.forge.as_ref().map(|forge| &forge.scope);
    let known = scope.and_then(|scope| state.forge.scopes.get(scope));
    if let Some(why) = holds::of_pool(state, pool) {
        return ForgeWait::PoolHeld(name, why.to_owned());
    }
    if sorter.idle.contains_key(&pool.name) {
        return ForgeWait::Offered(name);
    }
    if let Some(ForgeContact::Limited { until, why }) = known.and_then(|it| it.contact.as_ref()) {
        return ForgeWait::Limited(*until, why.clone());
    }
    let slots = || state.slots().filter(|it| it.pool == pool.name && it.fate == Fate::Stay);
    let is_coming = |phase: &Phase| {
        matches!(
            phase,
            Phase::Planned
                | Phase::Created { .. }
                | Phase::Booting { .. }
                | Phase::Registering { .. }
        )
    };
    let runners = slots().filter_map(|slot| state.runner(slot.runner?));
    let coming = runners.filter(|runner| is_coming(&runner.phase)).count();
    if coming > 0 {
        return ForgeWait::Starting(name, coming);
    }
    match (size, pool.size) {
        (Some(SizeReason::Held { why, .. }), _) => ForgeWait::Hindered(name, why.clone()),
        (_, PoolSize::Elastic(elastic)) if slots().count() < elastic.max as usize => {
            ForgeWait::Patience(name, elastic.scale_up_threshold, elastic.scale_up_delay)
        }
        (_, size) => ForgeWait::Full(name, size.most()),
    }
}
