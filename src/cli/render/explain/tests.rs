//! Explanations as text, whole.

use super::*;
use crate::cli::render::fixture::{self, NOW, failed_job, post_mortem, queued_job};
use crate::fleet::attempt::{AttemptEnd, GpuTime};
use crate::fleet::event::JobEnd;
use crate::fleet::job::{Raised, Verdict};
use crate::fleet::oom::Blame;
use crate::fleet::view::SizeReason;
use crate::fleet::waiting::{PoolQueue, WaitingView};
use crate::ids::{AttemptNo, IncarnationId, PoolName, ProfileName, SlotId};
use std::time::Duration;

fn two_busy() -> PoolStanding {
    let pool = PoolName::new("light");
    PoolStanding { pool, all: 2, idle: 0, busy: 2, coming: 0, failed: 0, closed: 1 }
}

fn attempt(number: u32, end: AttemptEnd) -> Attempt {
    Attempt {
        number: AttemptNo(number),
        slot: SlotId(12),
        runner_name: "slate-light-12".to_owned(),
        incarnation: IncarnationId(11 + u64::from(number)),
        given_at: NOW,
        started_at: None,
        gpu_time: None,
        end: Some(AttemptEnd { at: NOW + Duration::from_secs(5), ..end }),
        late: (number == 1).then(|| "exited with 0".to_owned()),
    }
}

fn lost(number: u32) -> Attempt {
    let verdict = Verdict::lost("the container ended with exit code 137");
    attempt(number, AttemptEnd::of(NOW, &verdict))
}

fn failed(number: u32) -> Attempt {
    attempt(number, AttemptEnd::of(NOW, &Verdict::of(&JobEnd::Exited(1), None)))
}

#[test]
fn a_failed_job_is_explained_by_its_end_its_output_and_its_dead_runner() {
    let it = JobExplanation {
        job: JobView {
            attempts: vec![lost(1), failed(2)],
            gpu_time: Some(GpuTime { reserved_ms: 12_000, busy_ms: Some(3400), unknown_ms: 900 }),
            ..failed_job()
        },
        waiting: None,
        pools: Vec::new(),
        troubles: Vec::new(),
        post_mortems: vec![post_mortem()],
        last_lines: vec!["E501 line too long".to_owned(), "\u{1b}[2Jgone".to_owned()],
        advice: vec!["read it all with `slate-fleet logs job-41`".to_owned()],
    };
    let shown = text(&Explanation::Job(Box::new(it)), NOW);
    assert_eq!(shown, include_str!("../expected/explain-job.txt"));
}

#[test]
fn a_job_that_needs_more_gpu_memory_now_shows_what_it_needed_before() {
    let from = ProfileName::new("gpu_light");
    let raised = Raised { from, after: AttemptNo(1), blame: Blame::Own };
    let job =
        JobView { profile: ProfileName::new("gpu_heavy"), raised: Some(raised), ..failed_job() };
    assert_eq!(profile(&job), "gpu_heavy (not gpu_light: attempt 1 ran out of GPU memory)");
}

#[test]
fn a_waiting_job_is_explained_by_who_is_before_it_and_what_its_pools_do() {
    let it = JobExplanation {
        job: queued_job(),
        waiting: Some(WaitingView {
            pools: vec![PoolName::new("light")],
            ahead: 7,
            next: vec![JobId(30), JobId(31)],
            running: vec![JobId(28), JobId(29)],
        }),
        pools: vec![two_busy()],
        troubles: vec!["the engine does not answer: refused".to_owned()],
        post_mortems: Vec::new(),
        last_lines: Vec::new(),
        advice: Vec::new(),
    };
    let shown = text(&Explanation::Job(Box::new(it)), NOW);
    assert_eq!(shown, include_str!("../expected/explain-waiting.txt"));
}

#[test]
fn a_pool_s_size_has_its_bounds_and_its_reason() {
    let held = SizeReason::Held { waiting: 9, why: "no memory is left".to_owned() };
    let pool = PoolView { min: 1, max: 20, why: held, ..fixture::fleet().pools[0].clone() };
    let text = size(&pool, NOW);
    assert_eq!(text, "8 (1 to 20), cannot grow for 9 waiting jobs: no memory is left");
}

#[test]
fn a_runner_and_a_pool_are_explained_by_their_state_and_their_last_failure() {
    let fleet = fixture::fleet();
    let runner = fleet.runners.iter().find(|it| it.id.0 == 19).expect("one in error").clone();
    let it = RunnerExplanation {
        runner,
        job: None,
        post_mortems: vec![post_mortem(), post_mortem()],
        advice: vec!["try again at once".to_owned()],
    };
    let shown = text(&Explanation::Runner(Box::new(it)), NOW);
    assert_eq!(shown, include_str!("../expected/explain-runner.txt"));
    let it = PoolExplanation {
        pool: fleet.pools[0].clone(),
        standing: two_busy(),
        forge: None,
        waiting: PoolQueue { count: 2, next: vec![JobId(1), JobId(2)] },
        troubles: Vec::new(),
        post_mortems: Vec::new(),
        advice: Vec::new(),
    };
    let shown = text(&Explanation::Pool(Box::new(it)), NOW);
    assert_eq!(shown, include_str!("../expected/explain-pool.txt"));
}

#[test]
fn a_forges_job_its_runner_and_its_pool_are_explained() {
    let fleet = fixture::forge_fleet();
    let it = ForgeJobExplanation {
        job: fixture::forge_job(),
        runner: None,
        pool: Some(two_busy()),
        troubles: vec!["homelab-runner-3: RUNNER_TOKEN_3 is not set".to_owned()],
        advice: vec!["it starts when a runner is free".to_owned()],
    };
    let shown = text(&Explanation::ForgeJob(Box::new(it)), NOW);
    assert_eq!(shown, include_str!("../expected/explain-forge-job.txt"));
    let it = RunnerExplanation {
        runner: fleet.runners[0].clone(),
        job: None,
        post_mortems: Vec::new(),
        advice: Vec::new(),
    };
    let shown = text(&Explanation::Runner(Box::new(it)), NOW);
    assert_eq!(shown, include_str!("../expected/explain-forge-runner.txt"));
    let it = PoolExplanation {
        pool: fleet.pools[0].clone(),
        standing: two_busy(),
        forge: Some(ForgePoolExplanation {
            scope: fixture::forge_job().scope,
            labels: vec!["self-hosted".to_owned(), "slate".to_owned()],
            right: "a registration token for each runner in `RUNNER_TOKEN_{n}`".to_owned(),
            fork_jobs: crate::spec::ForkJobs::Deny,
            waiting: 7,
            next: vec![fixture::forge_job()],
        }),
        waiting: PoolQueue::default(),
        troubles: Vec::new(),
        post_mortems: Vec::new(),
        advice: Vec::new(),
    };
    let shown = text(&Explanation::Pool(Box::new(it)), NOW);
    assert_eq!(shown, include_str!("../expected/explain-forge-pool.txt"));
}

#[test]
fn a_waiting_job_says_when_what_it_waits_for_is_tried_again() {
    let next_try = NOW + Duration::from_secs(245);
    let missing = WaitReason::ImageMissing { why: "no such image".to_owned(), next_try };
    let told = next_change(Some(&missing), NOW);
    assert_eq!(told, "2026-02-08T12:04:05.000Z, in 4m5s");
    assert_eq!(next_change(Some(&missing), next_try), "now");
    assert_eq!(next_change(Some(&WaitReason::GoingDown), NOW), "");
}
