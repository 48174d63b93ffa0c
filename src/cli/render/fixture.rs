//! A fleet and jobs for tests: the fleet of specification 1's sample.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Inspection;
use crate::fleet::event::{Cordon, JobSpec};
use crate::fleet::forge::{
    ForgeContact, ForgeJobFact, ForgeJobStatus, ForgeJobView, ForgeRunnerView, ForgeView, WorkFact,
};
use crate::fleet::view::{
    FleetPhase, FleetView, GpusView, Health, HostView, JobStatus, JobView, PoolView, RunnerStatus,
    RunnerView, SizeReason,
};
use crate::ids::{
    AttemptNo, ContainerId, ForgeJobId, ForgeRunId, ForgeRunnerId, IncarnationId, JobId, PoolName,
    ProfileName, ProjectName, ScopeUrl, SlotId,
};
use crate::post_mortems::PostMortem;
use crate::units::{Bytes, MilliCpu, Time};

/// The moment of every view: 2026-02-08T12:00:00Z.
pub(in crate::cli) const NOW: Time = Time(1_770_552_000_000);

fn before(seconds: u64) -> Time {
    Time(NOW.0 - seconds * 1000)
}

/// Nineteen runners: three running, fifteen idle, one in error.
pub(in crate::cli) fn fleet() -> FleetView {
    FleetView {
        project: ProjectName::new("slate"),
        at: NOW,
        phase: FleetPhase::Ready,
        troubles: Vec::new(),
        max_parallel_workflows: 8,
        runners: (1..=19).map(runner).collect(),
        pools: vec![pool()],
        gpus: GpusView::default(),
        forges: Vec::new(),
        disks: Vec::new(),
        queued: 0,
        held: 0,
        running: 3,
        oldest: None,
        lanes: Vec::new(),
        host: HostView::default(),
    }
}

/// Three runners at a forge: one works, one idles, one waits for a token.
pub(in crate::cli) fn forge_fleet() -> FleetView {
    let scope = ScopeUrl::new("https://github.com/acme/site");
    let runners = (1..=3).map(|number| RunnerView {
        name: format!("homelab-runner-{number}"),
        pool: PoolName::new("homelab"),
        profile: ProfileName::new("standard"),
        status: match number {
            1 => RunnerStatus::Running,
            2 => RunnerStatus::Idle,
            _ => RunnerStatus::Error,
        },
        cordon: Cordon::Open,
        gpu: None,
        job: None,
        reason: (number == 3).then(|| "needs a token: RUNNER_TOKEN_3 is not set".to_owned()),
        forge: Some(ForgeRunnerView {
            scope: scope.clone(),
            name: (number != 3).then(|| format!("homelab-runner-{number}")),
            id: (number != 3).then(|| ForgeRunnerId(20 + u64::from(number))),
            online: (number != 3).then_some(number == 1),
            busy: (number != 3).then_some(number == 1),
            work: (number == 1).then(|| WorkFact {
                name: Some("build".to_owned()),
                repository: Some("acme/site".to_owned()),
                ..WorkFact::default()
            }),
            version: (number == 1).then(|| "2.336.0".to_owned()),
            hold: (number == 3).then(|| "RUNNER_TOKEN_3 is not set".to_owned()),
        }),
        ..runner(number)
    });
    FleetView {
        runners: runners.collect(),
        forges: vec![ForgeView {
            scope: scope.clone(),
            contact: Some(ForgeContact::Good),
            since: before(600),
            runners_listed: Some(before(5)),
            jobs_listed: Some(before(5)),
            leftovers: vec!["slate-ci-7-0011aabb".to_owned(), "slate-ci-8-0011aabb".to_owned()],
            newest_runner: Some("2.336.0".to_owned()),
        }],
        ..fleet()
    }
}

/// A forge's job that waits for a pool.
pub(in crate::cli) fn forge_job() -> ForgeJobView {
    ForgeJobView {
        scope: ScopeUrl::new("https://github.com/acme/site"),
        job: ForgeJobFact {
            id: ForgeJobId(50_123_456_789),
            run: ForgeRunId(18_123_456_789),
            attempt: 1,
            repository: "acme/site".to_owned(),
            workflow: Some("CI".to_owned()),
            name: "build (linux)".to_owned(),
            labels: vec!["self-hosted".to_owned(), "slate".to_owned()],
            status: ForgeJobStatus::Queued,
            runner: None,
            created: before(40),
            fork: Some(false),
            url: Some("https://github.com/acme/site/actions/runs/18/job/50".to_owned()),
        },
        pool: Some(PoolName::new("homelab")),
        reason: Some("pool homelab has all 3 runners that it may have".to_owned()),
        reason_code: None,
        wait: None,
    }
}

fn pool() -> PoolView {
    PoolView {
        name: PoolName::new("light"),
        profile: ProfileName::new("light"),
        desired: 8,
        min: 8,
        max: 8,
        why: SizeReason::File,
        paused: None,
        waiting: 0,
        idle: 7,
        running: 0,
        error: 1,
        spares: 0,
        scaled: false,
    }
}

fn runner(number: u32) -> RunnerView {
    let (profile, pool, gpu, cpus, memory) = match number {
        1 => ("gpu_heavy", "heavy", Some(0), 4, Bytes::gib(8)),
        2..=7 => ("gpu_light", "inference", Some(1), 2, Bytes::gib(2)),
        8..=11 => ("standard", "default", None, 2, Bytes::gib(1)),
        _ => ("light", "light", None, 1, Bytes::mib(512)),
    };
    let (status, since, job) = match number {
        1 => (RunnerStatus::Running, 130, Some(JobId(42))),
        4 => (RunnerStatus::Running, 60, Some(JobId(44))),
        8 => (RunnerStatus::Running, 3, Some(JobId(43))),
        19 => (RunnerStatus::Error, 5, None),
        _ => (RunnerStatus::Idle, 3700, None),
    };
    RunnerView {
        id: SlotId(number),
        name: format!("slate-{}-{number:02}", profile.replace('_', "-")),
        pool: PoolName::new(pool),
        profile: ProfileName::new(profile),
        downgrade: None,
        forge: None,
        labels: vec!["self-hosted".to_owned(), "slate".to_owned()],
        gpu,
        status,
        since: before(since),
        cordon: if number == 19 { Cordon::Closed } else { Cordon::Open },
        incarnation: Some(IncarnationId(u64::from(number))),
        container: Some(ContainerId::new(format!("0123456789abcdef{number:048}"))),
        container_name: Some(format!("slate-i{number}")),
        image: "slate-runner:latest".to_owned(),
        job,
        task: None,
        tasks_completed: match number {
            1 => 5,
            8 => 1,
            _ => 0,
        },
        cpus: MilliCpu::cpus(cpus),
        memory,
        reason: (number == 19).then(|| "exited with 137, tried again in 4 s".to_owned()),
        last_failure: None,
        health: Health::Healthy,
        heard: None,
    }
}

/// A job that waits.
pub(in crate::cli) fn queued_job() -> JobView {
    JobView {
        id: JobId(45),
        spec: job_spec(&["pytest", "-n", "auto", "tests/a very long folder name"]),
        profile: ProfileName::new("standard"),
        raised: None,
        reports: "attrs/45".to_owned(),
        status: JobStatus::Queued,
        attempt: AttemptNo(0),
        runner: None,
        runner_name: None,
        queued_at: before(20),
        assigned_at: None,
        started_at: None,
        ended_at: None,
        exit_code: None,
        reason: Some("all 4 runners of pool `default` are busy".to_owned()),
        reason_code: None,
        wait: None,
        fault: None,
        attempts: Vec::new(),
        gpu_time: None,
        position: Some(3),
    }
}

/// A job that ended with an exit code.
pub(in crate::cli) fn failed_job() -> JobView {
    JobView {
        id: JobId(41),
        spec: job_spec(&["ruff", "check", "."]),
        profile: ProfileName::new("light"),
        status: JobStatus::Failed,
        attempt: AttemptNo(1),
        runner: Some(SlotId(12)),
        runner_name: Some("slate-light-12".to_owned()),
        queued_at: before(300),
        assigned_at: Some(before(300)),
        started_at: Some(before(300)),
        ended_at: Some(Time(before(300).0 + 420)),
        exit_code: Some(1),
        reason: None,
        position: None,
        ..queued_job()
    }
}

fn job_spec(command: &[&str]) -> JobSpec {
    JobSpec {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        task: None,
        env: BTreeMap::new(),
        profile: None,
        task_type: None,
        pool: None,
        lane: None,
        workflow: Some("attrs".to_owned()),
        run_id: None,
        priority: 0,
        timeout: Some(Duration::from_secs(1800)),
        workspace: None,
        submitter: "ana".to_owned(),
        retries: None,
        retry_on: crate::fleet::attempt::RetryOn::default(),
        hold: false,
    }
}

/// What is left of a runner that was killed from outside.
pub(in crate::cli) fn post_mortem() -> PostMortem {
    PostMortem {
        summary: "its agent was killed from outside by signal 9 (exit code 137); the container \
                  was not out of memory; it held job-41 (attempt 1)"
            .to_owned(),
        cause: "died".to_owned(),
        why: "the container ended with exit code 137".to_owned(),
        at: before(300),
        incarnation: IncarnationId(12),
        slot: Some(SlotId(12)),
        runner: Some("slate-light-12".to_owned()),
        pool: PoolName::new("light"),
        profile: ProfileName::new("light"),
        image: "slate-runner:latest".to_owned(),
        container: Some(ContainerId::new("0123456789abcdef")),
        container_name: "slate-light-i12".to_owned(),
        job: Some(JobId(41)),
        attempt: Some(AttemptNo(1)),
        gpu_oom: None,
        exit_code: Some(137),
        heard: Some(before(302)),
        engine: Some(Inspection {
            status: "exited".to_owned(),
            exit_code: Some(137),
            memory: Some(Bytes::mib(512)),
            started_at: Some("2026-02-08T11:50:00Z".to_owned()),
            finished_at: Some("2026-02-08T11:55:00Z".to_owned()),
            ..Inspection::default()
        }),
        log: vec!["slate-runner: connected".to_owned()],
        missing: Vec::new(),
    }
}
