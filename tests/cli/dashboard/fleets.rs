//! Fleets for the page to show: many runners, cards, trouble, jobs that wait.

use std::collections::BTreeMap;

use slate_fleet::fleet::audit::{Actor, AuditEntry};
use slate_fleet::fleet::event::JobSpec;
use slate_fleet::fleet::gpu::{GpuAccess, GpuFacts, GpuReading, GpuVendor};
use slate_fleet::fleet::view::{
    GpuView, HostView, JobStatus, JobView, LaneView, LeaseView, OldestView, RunnerStatus,
    RunnerView, SizeReason,
};
use slate_fleet::ids::{
    AttemptNo, GpuUuid, IncarnationId, JobId, LaneName, PoolName, ProfileName, SlotId,
};
use slate_fleet::supervisor::usage::{RunnerUsage, UsageReport};
use slate_fleet::units::{Bytes, GpuMib, MilliCpu, Time};

use crate::cli::fake::{NOW, World};

/// The fleet of 19 runners that specification 1 draws: two cards, heavy and light work on them.
pub fn workstation(world: &mut World) {
    let pools = [("gpu_heavy", 1, 4), ("gpu_light", 8, 2), ("standard", 4, 2), ("light", 6, 1)];
    fill(world, &pools);
    world.fleet.host = HostView {
        cpus: 32,
        memory: Bytes::gib(128),
        cpus_promised: MilliCpu::cpus(34),
        memory_promised: Bytes::gib(31),
    };
    let on = |from: usize, to: usize| world.fleet.runners[from..to].iter().map(lease).collect();
    let leases: [Vec<LeaseView>; 2] = [on(0, 3), on(3, 9)];
    world.fleet.gpus.cards = (0..).zip(leases).map(|(index, leases)| card(index, leases)).collect();
    for (index, place) in (1..).zip([0, 1, 3, 5, 9, 10, 11, 13, 14, 15]) {
        let started = 90_000 - 7_000 * index;
        running(world, JobId(100 + index), place, started);
    }
    world.fleet.lanes = vec![LaneView {
        name: LaneName::new("verify"),
        pools: vec![PoolName::new("standard"), PoolName::new("light")],
        priority: 100,
        queued: 2,
        running: 4,
    }];
    world.usage = usage(world);
    over(world);
    for (number, waits) in [(121, 12_000), (122, 9_000), (123, 2_000)] {
        wait(world, JobId(number), waits);
    }
    world.audit =
        (1..=12).map(|seq| entry(seq, "runner-003", "ready", "the agent says so")).collect();
}

/// What runners use: much where a job runs, nearly nothing elsewhere.
fn usage(world: &World) -> UsageReport {
    let runners = world.fleet.runners.iter().map(|runner| {
        let part = if runner.job.is_some() { 35 + runner.id.0 * 17 % 60 } else { 1 };
        RunnerUsage {
            id: runner.id,
            name: runner.name.clone(),
            cpus: Some(MilliCpu(runner.cpus.0 * part / 100)),
            memory: Bytes(runner.memory.0 * u64::from(part) / 130),
            memory_limit: runner.memory,
            pids: 8,
        }
    });
    UsageReport { at: NOW, runners: runners.collect() }
}

/// So many light runners, most of them at work.
pub fn crowd(world: &mut World, runners: u32) {
    fill(world, &[("light", runners, 1)]);
    for place in 0..runners as usize {
        if place % 5 != 0 {
            running(world, JobId(1000 + place as u64), place, 30_000 + place as u64 * 100);
        }
    }
}

/// Pools of this size each, by their profile; all idle.
fn fill(world: &mut World, pools: &[(&str, u32, u32)]) {
    let runner = world.fleet.runners[0].clone();
    let pool = world.fleet.pools[0].clone();
    (world.fleet.runners, world.fleet.pools) = (Vec::new(), Vec::new());
    for (profile, count, cpus) in pools {
        for number in 1..=*count {
            let id = SlotId(u32::try_from(world.fleet.runners.len()).expect("few") + 1);
            world.fleet.runners.push(RunnerView {
                id,
                name: format!("slate-{}-{number:02}", profile.replace('_', "-")),
                pool: PoolName::new(*profile),
                profile: ProfileName::new(*profile),
                incarnation: Some(IncarnationId(u64::from(id.0) + 40)),
                cpus: MilliCpu::cpus(*cpus),
                memory: Bytes::gib(u64::from(*cpus)),
                tasks_completed: u64::from(id.0 * 7 % 40),
                since: Time(NOW.0 - 1000 * u64::from(id.0 * 37 % 900)),
                ..runner.clone()
            });
        }
        let mut it = pool.clone();
        it.name = PoolName::new(*profile);
        it.profile = ProfileName::new(*profile);
        (it.desired, it.min, it.max, it.idle) = (*count, *count, *count, *count);
        if *profile == "light" {
            (it.min, it.waiting, it.spares) = (2, 3, 1);
            it.why = SizeReason::Most { waiting: 3 };
        }
        world.fleet.pools.push(it);
    }
}

fn lease(runner: &RunnerView) -> LeaseView {
    let reserved = if runner.profile.as_str() == "gpu_heavy" { 8000 } else { 2000 };
    LeaseView {
        slot: Some(runner.id),
        incarnation: runner.incarnation.expect("it is there"),
        name: runner.name.clone(),
        profile: runner.profile.clone(),
        reserved: GpuMib(reserved),
        used: Some(GpuMib(reserved * (30 + runner.id.0 * 13 % 60) / 100)),
        exclusive: false,
        busy_percent: Some(20),
    }
}

fn card(index: u32, leases: Vec<LeaseView>) -> GpuView {
    let facts = GpuFacts {
        index,
        uuid: GpuUuid::new(format!("GPU-{index}")),
        name: "NVIDIA GeForce RTX 5070 Ti".to_owned(),
        memory: GpuMib(16_384),
        reserved: GpuMib(304),
        vendor: GpuVendor::Nvidia,
        parent: None,
        pci: None,
        access: GpuAccess::Request,
    };
    let committed = GpuMib(leases.iter().map(|it| it.reserved.0).sum());
    let foreign = GpuMib(index * 1100);
    let mut view = GpuView::unleased(GpuReading::unread(facts));
    view.reading.used = Some(GpuMib(6200 + index * 3100));
    view.reading.busy_percent = Some(if index == 0 { 75 } else { 45 });
    view.reading.temperature = Some(61 - index * 6);
    view.reading.power = Some(188 - index * 40);
    GpuView {
        headroom: GpuMib(16_384 - 304 - committed.0 - foreign.0),
        leases,
        committed,
        foreign,
        cordon: None,
        reading: view.reading,
    }
}

/// A runner that has a job since so many milliseconds.
fn running(world: &mut World, id: JobId, place: usize, since: u64) {
    let commands: [&[&str]; 5] = [
        &["pytest", "-q", "tests/unit"],
        &["cargo", "nextest", "run"],
        &["ruff", "check", "."],
        &["make", "release"],
        &["npm", "test"],
    ];
    let runner = &mut world.fleet.runners[place];
    runner.status = RunnerStatus::Running;
    runner.job = Some(id);
    runner.since = Time(NOW.0 - since);
    let mut job = job(id, commands[usize::try_from(id.0).expect("small") % commands.len()]);
    job.status = JobStatus::Running;
    job.runner = Some(runner.id);
    job.runner_name = Some(runner.name.clone());
    job.queued_at = Time(NOW.0 - since - 2_000 - id.0 % 5 * 1500);
    job.assigned_at = Some(Time(NOW.0 - since - 250));
    job.started_at = Some(Time(NOW.0 - since));
    let pool = runner.pool.clone();
    world.jobs.insert(id, job);
    world.fleet.running += 1;
    for pool in world.fleet.pools.iter_mut().filter(|it| it.name == pool) {
        (pool.running, pool.idle) = (pool.running + 1, pool.idle - 1);
    }
}

/// Jobs that are over, good and bad.
fn over(world: &mut World) {
    let ends =
        [JobStatus::Succeeded, JobStatus::Succeeded, JobStatus::Failed, JobStatus::Succeeded];
    for (number, status) in (81..=88).zip(ends.into_iter().cycle()) {
        let began = NOW.0 - 110_000 + (number - 81) * 6_000;
        let mut job = job(JobId(number), &["mypy", "src"]);
        job.status = status;
        job.queued_at = Time(began - 3_000);
        job.assigned_at = Some(Time(began - 300));
        job.started_at = Some(Time(began));
        job.ended_at = Some(Time(began + 4_000 + number % 4 * 9_000));
        job.exit_code = Some(i32::from(status == JobStatus::Failed));
        world.jobs.insert(JobId(number), job);
    }
}

/// A job that waits since so many milliseconds, behind all that wait already.
pub fn wait(world: &mut World, id: JobId, since: u64) {
    world.fleet.queued += 1;
    let ahead = match world.fleet.queued {
        1 => "next in line".to_owned(),
        place => format!("{} before it", place - 1),
    };
    let mut job = job(id, &["pytest", "-q"]);
    job.queued_at = Time(NOW.0 - since);
    job.position = Some(world.fleet.queued);
    job.reason = Some(format!("6 of 6 runners in light are busy; {ahead}"));
    world.fleet.oldest.get_or_insert(OldestView {
        id,
        queued_at: job.queued_at,
        reason: job.reason.clone(),
    });
    world.jobs.insert(id, job);
}

/// A job as it is handed in.
fn job(id: JobId, command: &[&str]) -> JobView {
    JobView {
        id,
        spec: JobSpec {
            command: command.iter().map(|&word| word.to_owned()).collect(),
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
            submitter: "ana".to_owned(),
            retries: None,
            retry_on: slate_fleet::fleet::attempt::RetryOn::default(),
        },
        profile: ProfileName::new("light"),
        raised: None,
        reports: format!("jobs/{id}"),
        status: JobStatus::Queued,
        attempt: AttemptNo(1),
        runner: None,
        runner_name: None,
        queued_at: NOW,
        assigned_at: None,
        started_at: None,
        ended_at: None,
        exit_code: None,
        reason: None,
        reason_code: None,
        wait: None,
        fault: None,
        attempts: Vec::new(),
        gpu_time: None,
        position: None,
    }
}

/// Something that happened.
pub fn entry(seq: u64, object: &str, what: &str, why: &str) -> AuditEntry {
    AuditEntry {
        seq,
        at: Time(NOW.0 - 60_000 + seq * 1000),
        actor: Actor::Fleet,
        object: object.to_owned(),
        incarnation: None,
        what: what.to_owned(),
        why: why.to_owned(),
        before: None,
        after: None,
    }
}
