//! What readers of a large fleet wait for: lists over the real socket, from the real core.
//!
//! `cargo bench --bench api` asks a fleet of 1,000 runners that stand in the simulator; no engine
//! is needed. Each figure is one whole request: connection kept, view made, sent and read. Then the
//! program itself is started, as people and their shells start it, until it has ended.
#![cfg(feature = "fleet")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use slate_fleet::api::Api;
use slate_fleet::api::listen::{self, SocketAccess};
use slate_fleet::client::Client;
use slate_fleet::logs::LogStore;
use slate_fleet::metrics::{Meters, Scrape};
use slate_fleet::sim::Sim;
use slate_fleet::sim::script::{host, pool, spec};
use slate_fleet::sim::transcript::Writing;
use slate_fleet::spec::Overcommit;
use slate_fleet::state_dir::StateDir;
use slate_fleet::supervisor::handle::{Handle, Message, Query};
use slate_fleet::units::Bytes;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};

/// Of the folder that the program is started in.
const FLEET_FILE: &str = "version: 1\nproject: slate\npools: [{name: light, profile: light}]\n";

#[derive(Parser)]
struct Options {
    /// Runners of the fleet.
    #[arg(long, default_value_t = 1000)]
    runners: u32,
    /// Requests to each route.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A fleet whose runners are all up.
fn fleet(runners: u32) -> Sim {
    let mut wanted = spec().with(pool("light", runners));
    wanted.limits.scale_max = runners;
    wanted.limits.overcommit_memory = Overcommit::Allow;
    let mut sim = Sim::new(1, Writing::Off, (wanted.clone(), host()));
    sim.oracle.watches = false;
    sim.up(wanted);
    sim.run_for(Duration::from_secs(60));
    sim
}

/// Answers as the supervisor's loop does: with one view for all who ask between two steps.
async fn answer(sim: Arc<std::sync::Mutex<Sim>>, mut messages: mpsc::Receiver<Message>) {
    let mut seen = None;
    while let Some(message) = messages.recv().await {
        let Ok(sim) = sim.lock() else { return };
        let (Message::Query(query), Some(fleet)) = (message, sim.fleet()) else { continue };
        let view = seen.get_or_insert_with(|| Arc::new(fleet.view(sim.now())));
        match query {
            Query::Fleet(reply) => drop(reply.send(Arc::clone(view))),
            Query::Metrics(reply) => {
                let Ok(meters) = Meters::new().map(Arc::new) else { return };
                let waiting = fleet.waiting_counts();
                let (budgets, webhooks, audit_head) = (BTreeMap::new(), None, 0);
                let fleet = Arc::clone(view);
                let scrape = Scrape { meters, fleet, waiting, budgets, webhooks, audit_head };
                drop(reply.send(scrape));
            }
            _ => {}
        }
    }
}

type Outcome = Result<(), Box<dyn Error>>;

async fn measure(client: &mut Client, path: &str, rounds: usize) -> Outcome {
    let mut spans = Vec::with_capacity(rounds);
    let mut bytes = 0;
    for _ in 0..rounds {
        let begun = Instant::now();
        let answer = client.text(path).await?;
        spans.push(begun.elapsed());
        bytes = answer.len();
    }
    tell(path, spans, &format!("{} KiB", bytes / 1024));
    Ok(())
}

fn tell(what: &str, mut spans: Vec<Duration>, more: &str) {
    spans.sort();
    let at = |percent: usize| spans.get(spans.len() * percent / 100).copied().unwrap_or_default();
    println!("{what:<32} p50 {:>9.2?}  p99 {:>9.2?}  {more}", at(50), at(99));
}

/// What the first who asks after a step waits for, before all else.
fn look(sim: &std::sync::Mutex<Sim>, rounds: usize) {
    let Ok(sim) = sim.lock() else { return };
    let Some(fleet) = sim.fleet() else { return };
    let spans = (0..rounds).map(|_| {
        let begun = Instant::now();
        std::hint::black_box(fleet.view(sim.now()));
        begun.elapsed()
    });
    tell("a view of the fleet", spans.collect(), "made once for each step that is looked at");
}

/// From the start of the program to its end.
async fn start(folder: &Path, what: &str, shell: Option<&str>, rounds: usize) -> Outcome {
    let mut spans = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slate-fleet"));
        command.current_dir(folder).env_remove("SLATE_STATE_DIR").stdin(Stdio::null());
        match shell {
            None => drop(command.args(what.split(' '))),
            Some(shell) => {
                let words: Vec<&str> = what.split(' ').collect();
                let last = words.len().saturating_sub(1).to_string();
                command.arg("--").args(words).env("SLATE_COMPLETE", shell);
                command.env("_CLAP_COMPLETE_INDEX", last).env("_CLAP_IFS", "\n");
            }
        }
        let begun = Instant::now();
        let ended = command.output().await?;
        spans.push(begun.elapsed());
        if !ended.status.success() || ended.stdout.is_empty() {
            return Err(format!("`{what}`: {}", String::from_utf8_lossy(&ended.stderr)).into());
        }
    }
    tell(&format!("{what}{}", shell.map_or("", |_| "<TAB>")), spans, "from start to end");
    Ok(())
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Outcome {
    let options = Options::parse();
    let sim = fleet(options.runners);
    let up = sim.fleet().map_or(0, |fleet| fleet.view(sim.now()).runners.len());
    println!("{up} runners");
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("slate.yaml"), FLEET_FILE)?;
    let state = StateDir::new(folder.path().join(".slate"));
    std::fs::create_dir_all(state.root())?;
    let logs = Arc::new(LogStore::new(state.clone(), Bytes::mib(1))?);
    let (messages, inbox) = mpsc::channel(64);
    let (_steps, steps) = watch::channel(0);
    let (_never, stuck) = watch::channel(None);
    let now = sim.now();
    let handle = Handle::new(messages, steps, stuck);
    let api = Api::new(handle, state.clone(), logs, Arc::new(move || now));
    let sim = Arc::new(std::sync::Mutex::new(sim));
    look(&sim, options.rounds);
    tokio::spawn(answer(sim, inbox));
    let socket = listen::bind_socket(&api, SocketAccess::Owner)?;
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(listen::serve_socket(Arc::clone(&api), (socket, 64), stopped));
    let mut client = Client::connect(&state).await?;
    for path in [
        "/api/v1/runners",
        "/api/v1/runners?limit=100",
        "/api/v1/fleet",
        "/api/runners",
        "/metrics",
    ] {
        measure(&mut client, path, options.rounds).await?;
    }
    start(folder.path(), "healthz", None, options.rounds).await?;
    start(folder.path(), "slate-fleet drain demo-light-99", Some("bash"), options.rounds).await?;
    Ok(())
}
