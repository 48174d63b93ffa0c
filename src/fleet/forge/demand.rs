//! What waits at forges for which pool, and why each job waits.
//!
//! Jobs are counted, never bound: a forge gives a job to any runner that matches, so the runner
//! that was made for one job may take another, and the next count sees that.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fact::{ForgeContact, ForgeJobStatus};
use super::jobs::Known;
use super::labels::{self, Match};
use super::view::ForgeJobView;
use super::{holds, names, plan};
use crate::fleet::demand::{Load, following};
use crate::fleet::pause;
use crate::fleet::runner::Phase;
use crate::fleet::scale;
use crate::fleet::slot::{Fate, Slot};
use crate::fleet::state::State;
use crate::fleet::view::{SizeReason, WaitCode, WaitReason};
use crate::fleet::waiting::reason::of_pools;
use crate::ids::{PoolName, ScopeUrl};
use crate::spec::{ForgeAccess, ForkJobs, Pool};
use crate::units::Time;

/// A job that idle runners could take and do not take for this long waits for something else.
const IGNORED: Duration = Duration::from_secs(120);

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
        let open = |it: &&Slot| it.fate == Fate::Stay && pause::is_open(state, it);
        for slot in state.slots().filter(open) {
            let Some(runner) = slot.runner.and_then(|id| state.runner(id)) else { continue };
            let is_idle = matches!(runner.phase, Phase::Idle { .. })
                && runner.enlistment().is_some()
                && state.contact(runner.id).is_connected()
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
    ) -> (Option<&'a Pool>, Option<WaitReason>) {
        let spec = &self.state.spec;
        let key = (scope, job.fact.labels.as_slice());
        let found = self.known.entry(key).or_insert_with(|| labels::pool(spec, scope, key.1));
        let pool = match found {
            Match::Pool(pool) => *pool,
            Match::None(nearest) => {
                let (nearest, missing) = nearest
                    .as_ref()
                    .map(|(it, missing)| (it.name.clone(), missing.clone()))
                    .unzip();
                let missing = missing.unwrap_or_default();
                return (None, Some(WaitReason::NoLabels { nearest, missing }));
            }
        };
        let fork_jobs = pool.forge.as_ref().map(|forge| forge.fork_jobs);
        let is_idle_for_long = |since: &Time| self.now.since(job.queued.max(*since)) >= IGNORED;
        let why = match &job.fact.status {
            ForgeJobStatus::Held => Some(WaitReason::HeldByForge),
            ForgeJobStatus::Queued if job.fact.fork == Some(true) => (fork_jobs
                == Some(ForkJobs::Deny))
            .then(|| WaitReason::ForkDenied { pool: pool.name.clone() }),
            ForgeJobStatus::Queued if self.idle.get(&pool.name).is_some_and(is_idle_for_long) => {
                Some(WaitReason::NotTaken { pool: pool.name.clone() })
            }
            ForgeJobStatus::Queued | ForgeJobStatus::Running | ForgeJobStatus::Completed(_) => None,
        };
        (Some(pool), why)
    }
}

fn all(state: &State) -> impl Iterator<Item = (&ScopeUrl, &Known)> {
    state.forge.scopes.iter().flat_map(|(scope, it)| it.jobs.iter().map(move |job| (scope, job)))
}

/// The scope that has a job of this number, if one has.
pub(in crate::fleet) fn scope_of(state: &State, number: u64) -> Option<&ScopeUrl> {
    all(state).find(|(_, it)| it.fact.id.0 == number).map(|(scope, _)| scope)
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
            load.ignored += u32::from(matches!(why, WaitReason::NotTaken { .. }));
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

/// A job that is not over, with the pool that it counts for and why it waits.
struct Sorted<'a> {
    scope: &'a ScopeUrl,
    job: &'a Known,
    pool: Option<&'a Pool>,
    wait: Option<WaitReason>,
}

/// The jobs of all scopes that are not over, the oldest first.
fn sorted<'a>(
    state: &'a State,
    now: Time,
    sizes: &BTreeMap<PoolName, (SizeReason, u32)>,
) -> Vec<Sorted<'a>> {
    let mut jobs: Vec<_> = all(state).collect();
    jobs.sort_by_key(|(_, it)| (it.queued, it.fact.id));
    let mut sorter = Sorter::new(state, now);
    let mut of_pools: BTreeMap<&PoolName, (WaitReason, u32)> = BTreeMap::new();
    let mut found = Vec::new();
    for (scope, job) in jobs {
        let (pool, why) = sorter.place(scope, job);
        let wait = match (&job.fact.status, pool, why) {
            (ForgeJobStatus::Running, ..) => lost(state, job),
            (ForgeJobStatus::Queued, Some(pool), None) => {
                let look = || (wait(&sorter, pool, sizes), 0);
                let (reason, ahead) = of_pools.entry(&pool.name).or_insert_with(look);
                *ahead += 1;
                Some(reason.clone().behind(*ahead - 1))
            }
            (.., why) => why,
        };
        found.push(Sorted { scope, job, pool, wait });
    }
    found
}

/// The jobs of all scopes that are not over, the newest first.
pub(in crate::fleet) fn jobs(state: &State, now: Time, limit: usize) -> Vec<ForgeJobView> {
    let sizes = scale::reasons(state, now);
    let view = |it: Sorted<'_>| ForgeJobView {
        scope: it.scope.clone(),
        job: it.job.fact.clone(),
        pool: it.pool.map(|pool| pool.name.clone()),
        reason: it.wait.as_ref().map(ToString::to_string),
        reason_code: it.wait.as_ref().map(WaitReason::code),
        wait: it.wait,
    };
    sorted(state, now, &sizes).into_iter().rev().take(limit).map(view).collect()
}

/// Counts the jobs that wait, by the pool that each counts for and why.
pub(in crate::fleet) fn waits(
    state: &State,
    now: Time,
    sizes: &BTreeMap<PoolName, (SizeReason, u32)>,
    counts: &mut BTreeMap<(Option<PoolName>, WaitCode), u32>,
) {
    for it in sorted(state, now, sizes) {
        if let Some(wait) = it.wait {
            let pool = it.pool.map(|pool| pool.name.clone());
            *counts.entry((pool, wait.code())).or_default() += 1;
        }
    }
}

/// A forge does not queue a job again whose runner is lost.
fn lost(state: &State, job: &Known) -> Option<WaitReason> {
    let name = job.fact.runner.as_ref()?;
    let id = names::incarnation(name, state.forge.fleet.as_ref()?)?;
    let is_there = state.runner(id).is_some_and(|runner| !runner.is_retiring());
    // A list that was begun soon after its end may be behind.
    let gone = state.meta.leftovers.get(&id).map(|it| it.since + IGNORED);
    let is_late = gone.is_none_or(|late| job.said >= late);
    (!is_there && is_late).then(|| WaitReason::RunnerGone { runner: name.clone() })
}

/// What a job waits for that counts for a pool.
fn wait(
    sorter: &Sorter<'_>,
    pool: &Pool,
    sizes: &BTreeMap<PoolName, (SizeReason, u32)>,
) -> WaitReason {
    let (state, name) = (sorter.state, pool.name.clone());
    if let Some(why) = pause::reason(state, &[pool]) {
        return why;
    }
    if let Some(why) = holds::of_pool(state, pool) {
        return WaitReason::NeedsOperator { pool: name, why: why.to_owned() };
    }
    if sorter.idle.contains_key(&pool.name) {
        return WaitReason::Next { pool: name };
    }
    of_forge(state, pool).unwrap_or_else(|| of_pools(state, sorter.now, &[pool], sizes))
}

/// What keeps a pool's runners from being registered.
fn of_forge(state: &State, pool: &Pool) -> Option<WaitReason> {
    let forge = pool.forge.as_ref()?;
    if matches!(forge.access, ForgeAccess::Tokens(_)) {
        return None;
    }
    let known = state.forge.scopes.get(&forge.scope);
    if let Some(ForgeContact::Limited { until, why }) = known.and_then(|it| it.contact.as_ref()) {
        return Some(WaitReason::ForgeLimited { until: *until, why: why.clone() });
    }
    holds::silence(state, &forge.scope).map(|why| WaitReason::ForgeUnreachable { why })
}
