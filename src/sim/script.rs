//! Stories in few words: builders for specs and jobs, and waiting without guessing times.

pub mod forges;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::Sim;
use super::oracle::{CARD_MEMORY, false_end, settled};
use crate::fleet::attempt::RetryOn;
use crate::fleet::effect::Answer;
use crate::fleet::event::{Cordon, DownMode, JobSpec, Request, ScaleRequest, ScaleTarget};
use crate::fleet::gpu::{GpuAccess, GpuFacts, GpuVendor};
use crate::fleet::host::HostFacts;
use crate::fleet::view::{JobStatus, JobView, RunnerView};
use crate::ids::{
    ContainerId, GpuUuid, ImageRef, JobId, LaneName, PoolName, ProfileName, ProjectName, SlotId,
    TaskName,
};
use crate::sim::fault::Faults;
use crate::spec::{
    ApiPolicy, DockerAccess, Elastic, ForgePolicy, GpuDemand, GpuPolicy, GpuSharing, GpuWatchdog,
    JobUser, Lane, Limits, Overcommit, Pool, PoolSize, Profile, Reports, Retention, Reuse, Spec,
};
use crate::units::{Bytes, GpuMib, MilliCpu};

/// No story takes longer than this to come to rest: the longest backoff, a silent agent found out,
/// and its replacement, several times over.
pub const SETTLE_MAX: Duration = Duration::from_secs(3600);

/// A host as stories have it: 8 CPUs, 32 GiB, two cards.
#[must_use]
pub fn host() -> HostFacts {
    let card = |index: u32| GpuFacts {
        index,
        uuid: GpuUuid::new(format!("GPU-{index}")),
        name: "Simulated".to_owned(),
        memory: GpuMib(CARD_MEMORY),
        reserved: GpuMib(0),
        vendor: GpuVendor::Nvidia,
        parent: None,
        pci: None,
        access: GpuAccess::Request,
    };
    HostFacts { cpus: 8, memory: Bytes::gib(32), gpus: vec![card(0), card(1)] }
}

fn profile(cpus: u32, memory: Bytes, gpu: Option<GpuDemand>) -> Profile {
    Profile {
        cpus: MilliCpu::cpus(cpus),
        memory,
        gpu,
        labels: vec!["self-hosted".to_owned()],
        image: ImageRef::new("runner:1"),
        user: JobUser { uid: 1000, gid: 1000 },
        pids: 512,
        shm: Bytes::mib(64),
        env: BTreeMap::new(),
        gpu_watchdog: GpuWatchdog::Warn,
        stop_grace: Duration::from_secs(10),
        caches: BTreeMap::new(),
        docker: DockerAccess::None,
    }
}

/// A spec with profiles `light`, `standard`, `gpu_light` and `gpu_heavy`, and no pool yet.
#[must_use]
pub fn spec() -> Spec {
    let gpu = |memory, sharing| Some(GpuDemand { memory: GpuMib(memory), sharing });
    let profiles = [
        ("light", profile(1, Bytes::mib(512), None)),
        ("standard", profile(2, Bytes::gib(1), None)),
        ("gpu_light", profile(2, Bytes::gib(2), gpu(2000, GpuSharing::AtMost(5)))),
        ("gpu_heavy", profile(4, Bytes::gib(8), gpu(8000, GpuSharing::Shared))),
        ("gpu_max", profile(4, Bytes::gib(16), gpu(14_000, GpuSharing::Exclusive))),
    ];
    let named = |(name, it): (&str, Profile)| (ProfileName::new(name), it);
    Spec {
        project: ProjectName::new("demo"),
        profiles: profiles.into_iter().map(named).collect(),
        pools: Vec::new(),
        lanes: BTreeMap::new(),
        task_types: BTreeMap::from([("lint".to_owned(), ProfileName::new("light"))]),
        gpu: GpuPolicy::default(),
        forge: ForgePolicy::default(),
        limits: Limits {
            max_parallel_workflows: 8,
            task_timeout: Duration::from_secs(1800),
            scale_max: 50,
            queue_max: 1000,
            log_max: Bytes::mib(1),
            workspace_max: Bytes::mib(1),
            disk_floor: Bytes::mib(512),
            overcommit_memory: Overcommit::Refuse,
            retries: Limits::retries(),
            stale_after: Limits::stale_after(),
            start_timeout: Limits::start_timeout(),
        },
        reports: Reports::at(PathBuf::from("/reports")),
        retention: Retention::default(),
        ca: None,
        proxy: None,
        runners_file: None,
        notify: None,
        env_file: None,
        api: ApiPolicy::default(),
    }
}

/// A pool of one-job runners, named like its profile.
#[must_use]
pub fn pool(profile: &str, count: u32) -> Pool {
    Pool::plain(profile, count)
}

impl Spec {
    /// With one more pool.
    #[must_use]
    pub fn with(mut self, pool: Pool) -> Self {
        self.pools.push(pool);
        self
    }

    /// With a lane over some pools.
    #[must_use]
    pub fn with_lane(mut self, name: &str, pools: &[&str], priority: i32) -> Self {
        let pools = pools.iter().map(|pool| PoolName::new(*pool)).collect();
        self.lanes.insert(LaneName::new(name), Lane { pools, priority, limit: None });
        self
    }

    /// With so many jobs of a lane at a time at most; 0 for any number.
    #[must_use]
    pub fn limiting(mut self, lane: &str, most: u32) -> Self {
        if let Some(lane) = self.lanes.get_mut(&LaneName::new(lane)) {
            lane.limit = NonZeroU32::new(most);
        }
        self
    }

    /// With one profile changed.
    #[must_use]
    pub fn edit(mut self, profile: &str, change: impl FnOnce(&mut Profile)) -> Self {
        if let Some(profile) = self.profiles.get_mut(&ProfileName::new(profile)) {
            change(profile);
        }
        self
    }
}

impl Pool {
    /// With ready containers beside the slots.
    #[must_use]
    pub fn spares(mut self, spares: u32) -> Self {
        self.spares = spares;
        self
    }

    /// With specification 4's values, between these bounds.
    #[must_use]
    pub fn between(mut self, min: u32, max: u32) -> Self {
        self.size = PoolSize::Elastic(Elastic {
            min,
            max,
            scale_up_threshold: 5,
            scale_up_delay: Duration::from_secs(30),
            scale_down_delay: Duration::from_secs(600),
            warm: 0,
        });
        self
    }

    /// With other values for a pool that follows its queue.
    #[must_use]
    pub fn elastic(mut self, change: impl FnOnce(&mut Elastic)) -> Self {
        if let PoolSize::Elastic(elastic) = &mut self.size {
            change(elastic);
        }
        self
    }

    /// With containers that serve many jobs.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.reuse = Reuse::Persistent;
        self
    }

    /// With another name than its profile's.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = PoolName::new(name);
        self
    }
}

/// A job that runs for a number of seconds and exits with 0.
#[must_use]
pub fn work(seconds: u64) -> JobSpec {
    command(&["work", &(seconds * 1000).to_string(), "0"])
}

/// One of four kinds of job that large queues are made of: two sizes, runs of 40, and one pool.
#[must_use]
pub fn one_of_many(number: u64) -> JobSpec {
    match number % 4 {
        0 => work(1).on("light"),
        1 => work(1).on("standard"),
        2 => work(1).on("light").of("ci", &(number / 40).to_string()),
        _ => work(1).on("light").in_pool("standard"),
    }
}

/// A job with these words: `work MILLISECONDS EXIT_CODE`, `stubborn` if it ignores TERM, and
/// `needs MIB` of GPU memory.
#[must_use]
pub fn command(words: &[&str]) -> JobSpec {
    JobSpec {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        task: None,
        env: BTreeMap::new(),
        profile: None,
        task_type: None,
        pool: None,
        lane: None,
        workflow: None,
        run_id: None,
        priority: 0,
        timeout: None,
        workspace: None,
        submitter: "somebody".to_owned(),
        retries: None,
        retry_on: RetryOn::default(),
        hold: false,
    }
}

/// Work that somebody drives from outside.
#[must_use]
pub fn task(name: &str) -> JobSpec {
    JobSpec { command: Vec::new(), task: Some(TaskName::new(name)), ..command(&[]) }
}

impl JobSpec {
    /// On this profile or more.
    #[must_use]
    pub fn on(mut self, profile: &str) -> Self {
        self.profile = Some(ProfileName::new(profile));
        self
    }

    /// Only in this pool.
    #[must_use]
    pub fn in_pool(mut self, pool: &str) -> Self {
        self.pool = Some(PoolName::new(pool));
        self
    }

    /// In this lane.
    #[must_use]
    pub fn in_lane(mut self, lane: &str) -> Self {
        self.lane = Some(LaneName::new(lane));
        self
    }

    /// Of this run of a workflow.
    #[must_use]
    pub fn of(mut self, workflow: &str, run: &str) -> Self {
        self.workflow = Some(workflow.to_owned());
        self.run_id = Some(run.to_owned());
        self
    }

    /// With so much GPU memory, in MiB, or it fails.
    #[must_use]
    pub fn needing(mut self, mib: u32) -> Self {
        self.command.extend(["needs".to_owned(), mib.to_string()]);
        self
    }

    /// Tried again so often at most, after these ends.
    #[must_use]
    pub fn retried(mut self, retries: u32, on: RetryOn) -> Self {
        (self.retries, self.retry_on) = (Some(retries), on);
        self
    }

    /// With a priority.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// On hold from the start.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.hold = true;
        self
    }

    /// With a bound of its own.
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Some(Duration::from_secs(seconds));
        self
    }
}

impl Sim {
    /// Writes a heading into the story.
    pub fn tell(&mut self, heading: &str) {
        self.world.transcript.heading(heading);
    }

    /// Brings the fleet to a spec.
    pub fn up(&mut self, spec: Spec) -> Option<Answer> {
        self.ask(Request::Apply(Box::new(spec)))
    }

    /// Submits a job.
    pub fn submit(&mut self, job: JobSpec) -> Option<JobId> {
        match self.ask(Request::Submit(Box::new(job)))? {
            Answer::Submitted(job) => Some(job),
            Answer::Accepted | Answer::SubmittedAll { .. } | Answer::Refused(_) => None,
        }
    }

    /// Keeps jobs from starting.
    pub fn hold(&mut self, jobs: &[JobId]) -> Option<Answer> {
        self.ask(Request::Hold(jobs.to_vec()))
    }

    /// Lets jobs start again.
    pub fn release(&mut self, jobs: &[JobId]) -> Option<Answer> {
        self.ask(Request::Release(jobs.to_vec()))
    }

    /// Lets nothing begin in these pools; in no pool at all if none is named.
    pub fn pause(&mut self, pools: &[&str]) -> Option<Answer> {
        self.turn_pools(pools, Cordon::Closed)
    }

    /// Opens these pools again; all of them if none is named.
    pub fn resume(&mut self, pools: &[&str]) -> Option<Answer> {
        self.turn_pools(pools, Cordon::Open)
    }

    fn turn_pools(&mut self, pools: &[&str], to: Cordon) -> Option<Answer> {
        let pools = pools.iter().map(|pool| (*pool).to_owned()).collect();
        self.ask(Request::Pause { pools, to })
    }

    /// Sets the size of pools.
    pub fn scale(&mut self, pools: &[(&str, u32)]) -> Option<Answer> {
        let pools = pools.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        self.ask(Request::Scale(ScaleRequest { target: ScaleTarget::Pools(pools), lasting: None }))
    }

    /// Sets the size of the whole fleet.
    pub fn scale_all(&mut self, total: u32) -> Option<Answer> {
        let target = ScaleTarget::Total(total);
        self.ask(Request::Scale(ScaleRequest { target, lasting: None }))
    }

    /// Sets the size of one pool for a time.
    pub fn scale_for(&mut self, pool: &str, count: u32, lasting: Duration) -> Option<Answer> {
        let target = ScaleTarget::Pools(BTreeMap::from([(pool.to_owned(), count)]));
        self.ask(Request::Scale(ScaleRequest { target, lasting: Some(lasting) }))
    }

    /// Takes the fleet down.
    pub fn down(&mut self, mode: DownMode) -> Option<Answer> {
        self.ask(Request::Down(mode))
    }

    /// A job as people see it.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobView> {
        self.fleet()?.job(id)
    }

    /// Where a job stands.
    #[must_use]
    pub fn status(&self, id: JobId) -> Option<JobStatus> {
        Some(self.job(id)?.status)
    }

    /// A slot as people see it.
    #[must_use]
    pub fn slot(&self, id: u32) -> Option<RunnerView> {
        let view = self.fleet()?.view(self.now());
        view.runners.into_iter().find(|runner| runner.id == SlotId(id))
    }

    /// The container that fills a slot.
    #[must_use]
    pub fn container(&self, slot: u32) -> Option<ContainerId> {
        self.slot(slot)?.container
    }

    /// The containers that exist.
    #[must_use]
    pub fn containers(&self) -> BTreeSet<ContainerId> {
        self.world.containers.keys().cloned().collect()
    }

    /// Lets things happen until something is so, for an hour at most.
    pub fn run_till(&mut self, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = self.now() + SETTLE_MAX;
        while !is_so(self) {
            if self.now() > end || self.is_finished() || !self.step() {
                return is_so(self);
            }
        }
        true
    }

    /// Lets things happen until a job has this status.
    pub fn run_till_job(&mut self, job: JobId, status: JobStatus) -> bool {
        self.run_till(|sim| sim.status(job) == Some(status))
    }

    /// Nothing goes wrong any more; lets things happen until the fleet is as the spec says.
    ///
    /// # Errors
    /// What is still not so after an hour, or what should never have been.
    pub fn settle(&mut self) -> Result<(), String> {
        self.world.faults = Faults::NONE;
        let end = self.now() + SETTLE_MAX;
        let mut look_at = self.now();
        loop {
            if let Some(what) = self.oracle.violations.first() {
                return Err(what.clone());
            }
            if self.now() >= look_at {
                look_at = self.now() + Duration::from_millis(20);
                let state = self.is_settled();
                if state.is_ok() || self.now() > end {
                    return state;
                }
            }
            if !self.step() {
                return Err("nothing will happen any more".to_owned());
            }
        }
    }

    /// What is missing for the fleet to be as the spec says.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn is_settled(&self) -> Result<(), String> {
        let Some(fleet) = self.fleet() else { return Err("there is no supervisor".to_owned()) };
        settled(&self.world, &self.records, fleet)?;
        if !self.world.is_at_rest() {
            return Err("something is on its way".to_owned());
        }
        match self.records.jobs.values().find_map(|job| false_end(&self.world, job)) {
            Some(what) => Err(what),
            None => Ok(()),
        }
    }
}
