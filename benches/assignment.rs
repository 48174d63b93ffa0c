//! How long an assignment takes in the core, with 50 runners and 10,000 queued jobs: specification
//! 1 allows 100 ms.
//!
//! `cargo bench --bench assignment` prints p50, p99 and the largest. A simulated fleet of 50
//! runners works a queue off that is filled up to 10,000 jobs all the while. What is timed is each
//! whole step in which at least one job is given to a runner (facts taken in, everything decided,
//! the world's answer to it), and each step that gives a runner to work from outside.
#![cfg(feature = "fleet")]
#![expect(clippy::expect_used, reason = "a bench may stop")]

use std::time::{Duration, Instant};

use slate_fleet::fleet::effect::Answer;
use slate_fleet::fleet::event::{Request, TaskEnd};
use slate_fleet::fleet::job::JobState;
use slate_fleet::fleet::view::JobStatus;
use slate_fleet::sim::Sim;
use slate_fleet::sim::script::{host, one_of_many, pool, spec, task};
use slate_fleet::sim::transcript::Writing;
use slate_fleet::spec::Overcommit;

const JOBS: u64 = 10_000;
const TASKS: usize = 500;
const SAMPLES: usize = 5_000;

fn main() {
    let mut sim = fleet();
    tell("`assign`, 10,000 others wait", leases(&mut sim));
    tell("a queued job's step", steps(&mut sim));
}

/// Fifty runners, and one more that only work from outside asks for.
fn fleet() -> Sim {
    let mut spec = spec().with(pool("standard", 25)).with(pool("light", 25));
    spec = spec.with(pool("gpu_light", 1));
    spec.limits.overcommit_memory = Overcommit::Allow;
    spec.limits.max_parallel_workflows = 8;
    spec.limits.queue_max = 100_000;
    spec.limits.scale_max = 100;
    let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
    sim.oracle.watches = false;
    sim.up(spec);
    sim.settle().expect("the fleet comes up");
    // The one more waits for its own work: the jobs of the queue must not take it.
    sim.submit(task("held").on("gpu_light"));
    sim
}

/// Gives the held runner back and leases it again, over and over.
fn leases(sim: &mut Sim) -> Vec<Duration> {
    let mut spans = Vec::with_capacity(TASKS);
    let mut last = sim.submit(task("held")).expect("it is held");
    for number in 0..TASKS {
        refill(sim);
        sim.ask(Request::Complete { job: last, end: TaskEnd::Succeeded });
        let job = task(&format!("task-{number}")).on("gpu_light").priority(1);
        let asked = sim.submit(job).expect("it is accepted");
        // Its runner is replaced, and given to it in the step in which the new one is ready.
        loop {
            let begun = Instant::now();
            sim.step();
            let span = begun.elapsed();
            if sim.status(asked) == Some(JobStatus::Running) {
                spans.push(span);
                break;
            }
        }
        last = asked;
    }
    spans
}

/// Every step in which a job of the queue is given to a runner.
fn steps(sim: &mut Sim) -> Vec<Duration> {
    let mut spans = Vec::new();
    let mut given = sim.world.truth.given.len();
    while spans.len() < SAMPLES {
        refill(sim);
        for _ in 0..200 {
            let begun = Instant::now();
            sim.step();
            let span = begun.elapsed();
            // What is over is not kept there.
            let before = std::mem::replace(&mut given, sim.world.truth.given.len());
            if given > before {
                spans.push(span);
            }
        }
    }
    spans
}

/// Keeps ten thousand jobs waiting, give or take some that were begun since.
fn refill(sim: &mut Sim) {
    let jobs = sim.records.jobs.values();
    let waiting = jobs.filter(|job| job.state == JobState::Queued).count() as u64;
    let missing = JOBS.saturating_sub(waiting);
    if missing < JOBS / 20 {
        return;
    }
    let taken = sim.ask(Request::SubmitAll((0..missing).map(one_of_many).collect()));
    assert!(matches!(taken, Some(Answer::SubmittedAll { .. })), "{taken:?}");
}

fn tell(what: &str, mut spans: Vec<Duration>) {
    spans.sort_unstable();
    let at = |percent: usize| {
        let span = spans.get(spans.len().saturating_sub(1) * percent / 100).copied();
        span.unwrap_or_default().as_secs_f64() * 1000.0
    };
    println!(
        "{what}: {} samples, p50 {:.3} ms, p99 {:.3} ms, largest {:.3} ms (specified: 100 ms)",
        spans.len(),
        at(50),
        at(99),
        at(100)
    );
}
