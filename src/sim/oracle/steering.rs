//! What an operator has ordered, and was told to be done, holds: what is on hold does not begin,
//! and neither does anything in a paused pool; of a lane no more runs than it may.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::Step;
use crate::fleet::effect::{Answer, Effect, ForgeAction};
use crate::fleet::event::{Cordon, Request};
use crate::fleet::job::{Job, JobState};
use crate::fleet::slot::Fate;
use crate::fleet::state::Record;
use crate::ids::{AttemptNo, IncarnationId, JobId, LaneName, PoolName};
use crate::sim::records::Records;
use crate::spec::Spec;

/// Those of these lanes, in which jobs began, that have more of them than they may.
fn over_limit(records: &Records, lanes: BTreeSet<&LaneName>) -> Vec<String> {
    let spec = records.meta.spec.as_ref();
    let limit = |lane: &LaneName| spec?.lanes.get(lane)?.limit;
    let running = |lane: &LaneName| {
        let jobs = records.jobs.values().filter(|job| job.runner().is_some());
        jobs.filter(|job| job.spec.lane.as_ref() == Some(lane)).count()
    };
    let over = lanes.into_iter().filter_map(|lane| {
        let (running, most) = (running(lane), limit(lane)?.get());
        (running > most as usize).then(|| format!("{running} jobs of lane {lane}, {most} at most"))
    });
    over.collect()
}

/// What is asked for and was not answered yet.
#[derive(Debug, Default)]
enum Asked {
    /// Nothing that matters here.
    #[default]
    Nothing,
    /// That these jobs do not begin.
    Hold(Vec<JobId>),
    /// That the job that is handed in does not begin.
    HoldNew,
    /// That nothing begins in these pools; in none, if empty.
    Pause(Vec<PoolName>),
}

/// The orders that were acknowledged and stand.
#[derive(Debug, Default)]
pub(super) struct Orders {
    asked: Asked,
    on_hold: BTreeSet<JobId>,
    paused: BTreeSet<PoolName>,
    begun: BTreeSet<(JobId, AttemptNo)>,
    pools: BTreeSet<PoolName>,
    /// The slots of the paused pools.
    sizes: BTreeMap<PoolName, usize>,
    /// An operator asked for other sizes.
    may_grow: bool,
}

impl Orders {
    /// Something is asked for. What ends an order ends it now, be it answered or not.
    pub(super) fn asked(&mut self, request: &Request) {
        self.may_grow |= matches!(request, Request::Apply(_) | Request::Scale(_));
        let named = |pools: &[String]| pools.iter().map(PoolName::new).collect::<Vec<_>>();
        self.asked = match request {
            Request::Hold(jobs) => Asked::Hold(jobs.clone()),
            Request::Submit(job) if job.hold => Asked::HoldNew,
            Request::Pause { pools, to: Cordon::Closed } => Asked::Pause(named(pools)),
            _ => Asked::Nothing,
        };
        match request {
            Request::Release(jobs) => self.on_hold.retain(|id| !jobs.contains(id)),
            Request::Pause { pools, to: Cordon::Open } => {
                let opened = named(pools);
                self.paused.retain(|pool| !opened.is_empty() && !opened.contains(pool));
            }
            _ => {}
        }
    }

    /// A client has got its answer: from now on the order stands.
    pub(super) fn answered(&mut self, answer: &Answer) {
        match (std::mem::take(&mut self.asked), answer) {
            (Asked::Hold(jobs), Answer::Accepted) => self.on_hold.extend(jobs),
            (Asked::HoldNew, Answer::Submitted(job)) => {
                self.on_hold.insert(*job);
            }
            (Asked::Pause(pools), Answer::Accepted) if pools.is_empty() => {
                self.paused.clone_from(&self.pools);
            }
            (Asked::Pause(pools), Answer::Accepted) => self.paused.extend(pools),
            _ => {}
        }
    }

    /// Takes in a step; what begins against an order comes back.
    pub(super) fn check(&mut self, records: &Records, step: &Step) -> Vec<String> {
        let (mut breaches, mut lanes) = (Vec::new(), BTreeSet::new());
        for record in &step.records {
            match record {
                Record::Job(_, Some(job)) if self.begins(job) => {
                    breaches.extend(self.check_job(records, job));
                    lanes.extend(&job.spec.lane);
                }
                Record::Meta(meta) => self.follow(meta.spec.as_ref()),
                Record::Job(..) | Record::Slot(..) | Record::Runner(..) | Record::Audit(_) => {}
            }
        }
        for effect in &step.effects {
            if let Effect::Forge { incarnation, action: ForgeAction::Register(_), .. } = effect
                && self.is_in_paused(records, *incarnation)
            {
                breaches.push(format!("{incarnation} registers, and its pool is paused"));
            }
        }
        breaches.extend(self.check_sizes(records));
        breaches.extend(over_limit(records, lanes));
        breaches
    }

    /// A pool that the file has no more is forgotten.
    fn follow(&mut self, spec: Option<&Spec>) {
        let pools = spec.iter().flat_map(|spec| &spec.pools);
        self.pools = pools.map(|pool| pool.name.clone()).collect();
        self.paused.retain(|pool| self.pools.contains(pool));
    }

    fn is_in_paused(&self, records: &Records, runner: IncarnationId) -> bool {
        let runner = records.runners.get(&runner);
        runner.is_some_and(|it| self.paused.contains(&it.build.template.pool))
    }

    /// Whether a job has just got a runner.
    fn begins(&mut self, job: &Job) -> bool {
        let has_runner = matches!(job.state, JobState::Given { .. });
        has_runner && self.begun.insert((job.id, job.attempt))
    }

    fn check_job(&self, records: &Records, job: &Job) -> Option<String> {
        if self.on_hold.contains(&job.id) {
            return Some(format!("{} began, and was on hold", job.id));
        }
        let runner = job.runner().filter(|runner| self.is_in_paused(records, *runner))?;
        Some(format!("{} began on {runner}, whose pool is paused", job.id))
    }

    fn check_sizes(&mut self, records: &Records) -> Vec<String> {
        let size = |pool: &PoolName| {
            let slots = records.slots.values().filter(|slot| slot.pool == *pool);
            slots.filter(|slot| slot.fate == Fate::Stay).count()
        };
        let sizes: BTreeMap<PoolName, usize> =
            self.paused.iter().map(|pool| (pool.clone(), size(pool))).collect();
        let changed = sizes.iter().filter(|(pool, size)| {
            !self.may_grow && self.sizes.get(*pool).is_some_and(|before| before != *size)
        });
        let told = changed.map(|(pool, size)| format!("pool {pool} is paused, and has {size} now"));
        let breaches = told.collect();
        self.sizes = sizes;
        self.may_grow = false;
        breaches
    }
}
