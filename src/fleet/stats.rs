//! What became of the jobs that ended lately: how many, how soon, and whose fault the rest was.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attempt::{Fault, GpuTime};
use super::event::EVIDENCE;
use super::job::{Job, JobState, Verdict};
use super::state::State;
use super::view::JobStatus;
use crate::units::Time;

/// Most jobs that are counted, the newest; the loop stands still meanwhile.
pub const COUNTED_MAX: usize = 20_000;
/// Causes that are named; the others are in the numbers.
const CAUSES_MAX: usize = 10;

/// What became of the jobs that ended within a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsView {
    /// Its beginning.
    pub since: Time,
    /// Its end.
    pub until: Time,
    /// Jobs that ended then and are not counted, because there are more than [`COUNTED_MAX`].
    pub left_out: usize,
    /// All of them together.
    pub all: Figures,
    /// Those of each pool that still has the slot that a job ran on, by name.
    pub pools: Vec<Group>,
    /// Those of each profile, by name.
    pub profiles: Vec<Group>,
    /// Those of each lane, by name.
    pub lanes: Vec<Group>,
    /// Why jobs did not succeed, the most frequent first.
    pub causes: Vec<CauseCount>,
}

/// The jobs that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// Their figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What became of some jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// How many ended.
    pub jobs: u32,
    /// How many ended in each way.
    pub ends: BTreeMap<JobStatus, u32>,
    /// How many did not succeed by whose fault.
    pub faults: BTreeMap<Fault, u32>,
    /// Of 1,000 that no person ended, how many succeeded.
    pub success_permille: Option<u32>,
    /// Times that they were given out beyond the first time.
    pub retries: u32,
    /// From being accepted to being given to a runner for the first time.
    pub queued: Option<Spread>,
    /// From being given to the last runner to the first process.
    pub starting: Option<Spread>,
    /// From the first process to the end.
    pub running: Option<Spread>,
    /// From being accepted to the end.
    pub whole: Option<Spread>,
    /// What they had of cards' time.
    pub gpu_time: Option<GpuTime>,
}

/// How spans of time are spread, in milliseconds: so many percent of them were no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Half of them.
    pub p50_ms: u64,
    /// Nine of ten.
    pub p90_ms: u64,
    /// Ninety-nine of a hundred.
    pub p99_ms: u64,
    /// All of them.
    pub max_ms: u64,
}

/// A cause and how often it was one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CauseCount {
    /// How the jobs ended.
    pub status: JobStatus,
    /// Whose fault it was.
    pub fault: Option<Fault>,
    /// The cause in words, without what differs from job to job.
    pub cause: String,
    /// How many jobs.
    pub jobs: u32,
}

/// Figures in the making.
#[derive(Default)]
struct Tally {
    figures: Figures,
    queued: Vec<u64>,
    starting: Vec<u64>,
    running: Vec<u64>,
    whole: Vec<u64>,
}

pub(super) fn of(state: &State, since: Time, now: Time) -> StatsView {
    let mut ended: Vec<(Time, &Job, &Verdict)> =
        state.jobs().filter_map(end).filter(|(at, ..)| *at >= since).collect();
    ended.sort_unstable_by_key(|(at, job, _)| (*at, job.id));
    let left_out = ended.len().saturating_sub(COUNTED_MAX);
    let counted = ended.into_iter().skip(left_out);
    let mut all = Tally::default();
    let mut groups: [BTreeMap<String, Tally>; 3] = Default::default();
    let mut causes: BTreeMap<(JobStatus, Option<Fault>, String), u32> = BTreeMap::new();
    for (at, job, verdict) in counted {
        all.add(at, job, verdict);
        let slot = job.slot.and_then(|slot| state.slot(slot));
        let names = [
            slot.map(|slot| slot.pool.to_string()),
            Some(job.profile.to_string()),
            job.spec.lane.as_ref().map(ToString::to_string),
        ];
        for (group, name) in groups.iter_mut().zip(names) {
            if let Some(name) = name {
                group.entry(name).or_default().add(at, job, verdict);
            }
        }
        if verdict.status != JobStatus::Succeeded {
            *causes.entry((verdict.status, verdict.fault, cause(verdict))).or_default() += 1;
        }
    }
    let [pools, profiles, lanes] = groups.map(|group| {
        group.into_iter().map(|(name, it)| Group { name, figures: it.figures() }).collect()
    });
    StatsView {
        since,
        until: now,
        left_out,
        all: all.figures(),
        pools,
        profiles,
        lanes,
        causes: most_frequent(causes),
    }
}

fn end(job: &Job) -> Option<(Time, &Job, &Verdict)> {
    match &job.state {
        JobState::Ended { at, verdict } => Some((*at, job, verdict)),
        JobState::Queued
        | JobState::OnHold { .. }
        | JobState::Given { .. }
        | JobState::Publishing { .. }
        | JobState::Fenced { .. } => None,
    }
}

/// Why, without the evidence and what was added for the one job.
fn cause(verdict: &Verdict) -> String {
    let words = verdict.in_words();
    let cause = words.split(EVIDENCE).next().unwrap_or_default();
    cause.split("; ").next().unwrap_or_default().to_owned()
}

fn most_frequent(causes: BTreeMap<(JobStatus, Option<Fault>, String), u32>) -> Vec<CauseCount> {
    let mut all: Vec<CauseCount> = causes
        .into_iter()
        .map(|((status, fault, cause), jobs)| CauseCount { status, fault, cause, jobs })
        .collect();
    all.sort_by_key(|it| std::cmp::Reverse(it.jobs));
    all.truncate(CAUSES_MAX);
    all
}

impl Tally {
    fn add(&mut self, at: Time, job: &Job, verdict: &Verdict) {
        let it = &mut self.figures;
        it.jobs += 1;
        *it.ends.entry(verdict.status).or_default() += 1;
        if let Some(fault) = verdict.fault {
            *it.faults.entry(fault).or_default() += 1;
        }
        it.retries += job.attempt.0.saturating_sub(1);
        it.gpu_time = match (it.gpu_time, job.gpu_time()) {
            (Some(one), Some(other)) => Some(one.plus(other)),
            (one, other) => one.or(other),
        };
        let first = job.attempts.first().map(|it| it.given_at).or(job.assigned_at);
        push(&mut self.queued, Some(job.queued_at), first);
        push(&mut self.starting, job.assigned_at, job.started_at);
        push(&mut self.running, job.started_at, Some(at));
        push(&mut self.whole, Some(job.queued_at), Some(at));
    }

    fn figures(self) -> Figures {
        let Self { mut figures, queued, starting, running, whole } = self;
        let count = |status| figures.ends.get(&status).copied().unwrap_or(0);
        let by_person = figures.faults.get(&Fault::Operator).copied().unwrap_or(0);
        let judged = figures.jobs.saturating_sub(by_person);
        let good = count(JobStatus::Succeeded).saturating_mul(1000);
        figures.success_permille = good.checked_div(judged);
        figures.queued = spread(queued);
        figures.starting = spread(starting);
        figures.running = spread(running);
        figures.whole = spread(whole);
        figures
    }
}

fn push(spans: &mut Vec<u64>, from: Option<Time>, to: Option<Time>) {
    if let (Some(from), Some(to)) = (from, to) {
        spans.push(millis(to.since(from)));
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// By nearest rank: a percentile is a span that was measured.
fn spread(mut spans: Vec<u64>) -> Option<Spread> {
    spans.sort_unstable();
    let at = |percent: usize| {
        let rank = (spans.len() * percent).div_ceil(100);
        spans.get(rank.saturating_sub(1)).copied()
    };
    Some(Spread { p50_ms: at(50)?, p90_ms: at(90)?, p99_ms: at(99)?, max_ms: at(100)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fleet;
    use crate::fleet::attempt::RetryOn;
    use crate::fleet::event::JobEnd;
    use crate::fleet::job::StopBy;
    use crate::fleet::state::{Meta, Restored};
    use crate::ids::{AttemptNo, JobId, LaneName, ProfileName};
    use crate::sim::script::{pool, spec, work};

    const NOW: Time = Time(1_000_000);

    /// A job that waited for a second, began 10 ms later, and ran for a while.
    fn ended(id: u64, ran_ms: u64, verdict: Verdict) -> Job {
        let assigned = Time(901_000);
        let started = Time(901_010);
        Job {
            id: JobId(id),
            spec: work(60),
            profile: ProfileName::new("light"),
            raised: None,
            priority: 0,
            timeout: Duration::from_secs(60),
            state: JobState::Ended { at: Time(started.0 + ran_ms), verdict },
            attempt: AttemptNo(1),
            slot: None,
            slot_name: None,
            queued_at: Time(900_000),
            assigned_at: Some(assigned),
            started_at: Some(started),
            turn: 0,
            setback: None,
            attempts: Vec::new(),
            retries: 0,
            retry_on: RetryOn::Never,
        }
    }

    fn fleet(jobs: Vec<Job>) -> Fleet {
        let spec = spec().with(pool("light", 0));
        let meta = Meta { spec: Some(spec.clone()), job: 1000, ..Meta::default() };
        Fleet::restore(spec, Restored { meta, jobs, ..Restored::default() }, NOW)
    }

    #[test]
    fn jobs_that_ended_in_time_are_counted_by_end_fault_and_group() {
        let exit = |code| Verdict::of(&JobEnd::Exited(code), None);
        let mut lane = ended(2, 200, exit(0));
        lane.spec.lane = Some(LaneName::new("verify"));
        let mut waits = ended(6, 0, exit(0));
        waits.state = JobState::Queued;
        let mut again = ended(3, 300, exit(1));
        again.attempt = AttemptNo(3);
        let jobs = vec![
            ended(1, 100, exit(0)),
            lane,
            again,
            ended(4, 400, exit(1)),
            ended(5, 500, Verdict::stopped(StopBy::Cancel)),
            waits,
        ];
        let told = fleet(jobs).stats(Time(901_200), NOW);
        assert_eq!((told.since, told.until, told.left_out), (Time(901_200), NOW, 0));
        let all = &told.all;
        assert_eq!(all.jobs, 4, "the first ended before, and one waits");
        assert_eq!(all.ends[&JobStatus::Succeeded], 1);
        assert_eq!(all.ends[&JobStatus::Failed], 2);
        assert_eq!((all.faults[&Fault::Job], all.faults[&Fault::Operator]), (2, 1));
        assert_eq!(all.success_permille, Some(333), "a cancelled one says nothing");
        assert_eq!(all.retries, 2);
        assert_eq!(all.queued.map(|it| it.p50_ms), Some(1000));
        assert_eq!(all.starting.map(|it| it.max_ms), Some(10));
        assert_eq!(all.running.map(|it| (it.p50_ms, it.p99_ms)), Some((300, 500)));
        assert_eq!(all.whole.map(|it| it.max_ms), Some(1510));
        let names = |groups: &[Group]| -> Vec<(String, u32)> {
            groups.iter().map(|it| (it.name.clone(), it.figures.jobs)).collect()
        };
        assert_eq!(names(&told.profiles), [("light".to_owned(), 4)]);
        assert_eq!(names(&told.lanes), [("verify".to_owned(), 1)]);
        assert_eq!((told.causes[0].cause.as_str(), told.causes[0].jobs), ("exit code 1", 2));
        assert_eq!(told.causes[1].cause, "cancelled on request");
    }

    #[test]
    fn without_a_job_there_is_no_rate_and_no_spread() {
        let told = fleet(Vec::new()).stats(Time(0), NOW);
        assert_eq!(told.all, Figures::default());
        assert_eq!((told.all.success_permille, told.all.queued), (None, None));
    }

    #[test]
    fn of_too_many_jobs_the_newest_are_counted() {
        let exit = Verdict::of(&JobEnd::Exited(0), None);
        let jobs = (1..=20_005).map(|id| ended(id, id, exit.clone())).collect();
        let told = fleet(jobs).stats(Time(0), NOW);
        assert_eq!((told.left_out, told.all.jobs), (5, 20_000));
        assert_eq!(told.all.running.map(|it| it.max_ms), Some(20_005));
    }

    #[test]
    fn percentiles_are_spans_that_were_measured() {
        assert_eq!(spread(Vec::new()), None);
        let one = Spread { p50_ms: 7, p90_ms: 7, p99_ms: 7, max_ms: 7 };
        assert_eq!(spread(vec![7]), Some(one));
        let hundred = Spread { p50_ms: 50, p90_ms: 90, p99_ms: 99, max_ms: 100 };
        assert_eq!(spread((1..=100).rev().collect()), Some(hundred));
        let two = Spread { p50_ms: 1, p90_ms: 2, p99_ms: 2, max_ms: 2 };
        assert_eq!(spread(vec![2, 1]), Some(two));
    }

    #[test]
    fn a_cause_is_told_without_what_differs_from_job_to_job() {
        let verdict = Verdict::lost("its container disappeared; it was tried 3 times");
        assert_eq!(cause(&verdict), "its container disappeared");
        let verdict = Verdict { reason: None, exit_code: Some(2), ..verdict };
        assert_eq!(cause(&verdict), "exit code 2");
    }

    #[test]
    fn causes_are_told_by_their_number_and_only_the_first_ones() {
        let one = |n: u32| ((JobStatus::Failed, Some(Fault::Job), format!("exit code {n}")), n);
        let told = most_frequent((1..=12).map(one).collect());
        assert_eq!(told.len(), CAUSES_MAX);
        assert_eq!((told[0].jobs, told[9].jobs), (12, 3));
    }
}
