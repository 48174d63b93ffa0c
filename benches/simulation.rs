//! Tells stories for long: how fast, how they end, and which ways of runners and jobs they went.
//!
//! `cargo bench --bench simulation -- --stories 1000000` tells a million from seed 0 on, on every
//! processor; `--seconds 60` as many as a minute allows, `--first` others. It ends with the first
//! that goes wrong, shrunk, and fails; and it fails when a way that must be gone was not.
#![cfg(feature = "fleet")]

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use slate_fleet::sim::explore::{Told, shrunk, tell};
use slate_fleet::sim::oracle::edges::{Edge, Edges, JOB_EDGES, RUNNER_EDGES};

/// Stories that a thread takes at a time.
const BATCH: u64 = 64;

#[derive(Parser)]
struct Options {
    /// Stories to tell.
    #[arg(long, default_value_t = 20_000)]
    stories: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Ends after this long.
    #[arg(long)]
    seconds: Option<u64>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was told so far, on all threads.
#[derive(Default)]
struct Sum {
    stories: u64,
    jobs: u64,
    containers: u64,
    steps: u64,
    calm_after: Vec<Duration>,
    edges: Edges,
    bad: Vec<(u64, String)>,
}

impl Sum {
    fn add(&mut self, told: &Told) {
        self.stories += 1;
        self.jobs += told.jobs as u64;
        self.containers += told.containers;
        self.steps += told.steps;
        self.calm_after.push(told.calm_after);
        self.edges.add(&told.edges);
    }

    fn join(&mut self, other: Self) {
        self.stories += other.stories;
        self.jobs += other.jobs;
        self.containers += other.containers;
        self.steps += other.steps;
        self.calm_after.extend(other.calm_after);
        self.edges.add(&other.edges);
        self.bad.extend(other.bad);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let begun = Instant::now();
    let end = options.seconds.map(|seconds| begun + Duration::from_secs(seconds));
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let work = || {
        let mut own = Sum::default();
        while !is_over.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            for offset in from..options.stories.min(from + BATCH) {
                let seed = options.first.wrapping_add(offset);
                match tell(seed) {
                    Ok(told) => own.add(&told),
                    Err(what) => {
                        own.bad.push((seed, what));
                        is_over.store(true, Ordering::Relaxed);
                    }
                }
            }
            if from + BATCH >= options.stories {
                break;
            }
        }
        if let Ok(mut sum) = sum.lock() {
            sum.join(own);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    report(sum.into_inner()?, begun.elapsed())
}

fn report(mut sum: Sum, took: Duration) -> Result<(), Box<dyn Error>> {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = |count: u64| count.saturating_mul(1000) / millis;
    println!("{} stories in {:.1} s: {}/s", sum.stories, took.as_secs_f64(), rate(sum.stories));
    println!("{} steps of the core: {}/s", sum.steps, rate(sum.steps));
    println!("{} jobs, {} containers", sum.jobs, sum.containers);
    sum.calm_after.sort_unstable();
    let at = |share: usize| sum.calm_after.get(sum.calm_after.len() * share / 1000);
    println!("calm after the last fault: p50 {:?}, p99 {:?}", at(500), at(990));
    println!("                           p99.9 {:?}, worst {:?}", at(999), sum.calm_after.last());
    let missing = [
        ways("runners", &RUNNER_EDGES, &sum.edges.runners),
        ways("jobs", &JOB_EDGES, &sum.edges.jobs),
    ]
    .concat();
    if let Some((seed, what)) = sum.bad.first() {
        println!("{}", shrunk(*seed, what));
        return Err(format!("{} stories went wrong", sum.bad.len()).into());
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("never gone: {missing:?}").into()),
    }
}

/// Prints how often each way was gone, and gives back those that must be and were not.
fn ways(of: &str, wanted: &[Edge], gone: &std::collections::BTreeMap<Edge, u64>) -> Vec<Edge> {
    println!("ways of {of}:");
    for ((from, to), count) in gone {
        println!("  {from:>12} -> {to:<12} {count:>12}");
    }
    wanted.iter().filter(|edge| !gone.contains_key(edge)).copied().collect()
}
