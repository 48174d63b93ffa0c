//! From the death of a runner's process 1 to a runner again, beside Docker Swarm and raw calls.
//!
//! `cargo build --release && cargo bench --bench recovery -- --slate-fleet
//! target/release/slate-fleet`
//!
//! In every round each contender loses its container once (`kill -9` of process 1, from the host),
//! in turns. The raw rivals see the death, create and start, and do nothing else: they are what the
//! engine alone takes. One has a container like a runner's (network, volume, mounts), the other one
//! like Swarm's task. Swarm restarts without delay, on a second engine in a network namespace of
//! its own, and has no network: what it is told is the least that it can do. Both kinds of fleet
//! and all rivals have one image and the same limits. Needs root and `dockerd`.
#![cfg(feature = "fleet")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod fleets;
mod kills;
mod raw;
mod second;
#[path = "../../tests/support/second_daemon.rs"]
mod second_daemon;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;

use crate::fleets::Fleet;
use crate::kills::{Stage, Timeline};
use crate::raw::Raw;
use crate::second::{SecondEngine, Swarm};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a contender does must be over by then, or something is broken.
const BOUND: Duration = Duration::from_secs(60);

/// The machine comes to rest between two kills.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Parser)]
struct Options {
    /// Kills of each contender.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// The program to measure.
    #[arg(long, default_value = "target/release/slate-fleet")]
    slate_fleet: PathBuf,
    /// The image of all contenders.
    #[arg(long, default_value = "slate-base:bookworm")]
    image: String,
    /// Leave Swarm and its engine out.
    #[arg(long)]
    no_swarm: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Whoever has a container that is killed.
enum Contender {
    Fleet(Fleet),
    Raw(Raw),
    Swarm(Swarm),
}

impl Contender {
    fn name(&self) -> &str {
        match self {
            Self::Fleet(fleet) => fleet.title,
            Self::Raw(raw) => raw.title,
            Self::Swarm(_) => "Swarm, restart delay 0",
        }
    }

    /// Rests, loses its container, and has another one.
    async fn round(&mut self) -> Outcome<Timeline> {
        match self {
            Self::Fleet(fleet) => fleet.round().await,
            Self::Raw(raw) => raw.round().await,
            Self::Swarm(swarm) => swarm.round().await,
        }
    }
}

fn finish(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Says what went wrong where nothing more can be done about it.
fn note<T>(result: Outcome<T>) {
    if let Err(error) = result {
        eprintln!("cannot clean up: {error}");
    }
}

async fn contenders(options: &Options) -> Outcome<Vec<Contender>> {
    let mut all = vec![
        Contender::Fleet(Fleet::up(options, 0).await?),
        Contender::Fleet(Fleet::up(options, 1).await?),
        Contender::Raw(Raw::like_a_runner(&options.image).await?),
    ];
    if !options.no_swarm {
        let engine = SecondEngine::start(&options.image).await?;
        all.push(Contender::Raw(Raw::like_a_task(engine.client()?, &options.image).await?));
        all.push(Contender::Swarm(Swarm::start(engine, &options.image)?));
    }
    Ok(all)
}

/// A contender and its times.
type Entry = (Contender, Vec<Timeline>);

async fn compete(all: &mut [Entry], rounds: usize) -> Outcome<()> {
    for round in 1..=rounds {
        for (contender, times) in all.iter_mut() {
            let timeline = contender.round().await?;
            eprintln!("round {round:>3} {:<26} {timeline}", contender.name());
            times.push(timeline);
        }
        // Another one begins in each round.
        all.rotate_left(1);
    }
    Ok(())
}

fn print_table(all: &[Entry]) {
    let (n, p50, p99, worst) = ("n", "p50 ms", "p99 ms", "worst ms");
    println!("\n{:<50} {n:>5} {p50:>9} {p99:>9} {worst:>9}", "killed to");
    for (contender, times) in all {
        for stage in Stage::ALL {
            let mut taken: Vec<Duration> = times.iter().filter_map(|it| it.to(stage)).collect();
            taken.sort_unstable();
            let at = |share: usize| {
                let index = (taken.len() * share / 100).min(taken.len().saturating_sub(1));
                taken.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
            };
            if !taken.is_empty() {
                let name = format!("{}: {}", contender.name(), stage.words());
                let (p50, p99, worst) = (at(50), at(99), at(100));
                println!("{name:<50} {:>5} {p50:>9.0} {p99:>9.0} {worst:>9.0}", taken.len());
            }
        }
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = Options::parse();
    if !options.slate_fleet.exists() {
        return Err("build it first: cargo build --release".into());
    }
    // Whatever happens, each contender removes what is its own when it is dropped.
    let all = contenders(&options).await?;
    let mut all: Vec<Entry> = all.into_iter().map(|contender| (contender, Vec::new())).collect();
    compete(&mut all, options.rounds).await?;
    all.sort_by(|(one, _), (other, _)| one.name().cmp(other.name()));
    print_table(&all);
    Ok(())
}
