//! What readers of a large fleet wait for: lists over the real socket, from the real core.
//!
//! `cargo bench --bench api` asks a fleet of 1,000 runners that stand in the simulator; no engine
//! is needed. Each figure is one whole request: connection kept, view made, sent and read.
#![cfg(feature = "fleet")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use slate_fleet::api::Api;
use slate_fleet::api::listen::{self, SocketAccess};
use slate_fleet::client::Client;
use slate_fleet::logs::LogStore;
use slate_fleet::sim::Sim;
use slate_fleet::sim::script::{host, pool, spec};
use slate_fleet::sim::transcript::Writing;
use slate_fleet::spec::Overcommit;
use slate_fleet::state_dir::StateDir;
use slate_fleet::supervisor::handle::{Handle, Message, Query};
use slate_fleet::units::Bytes;
use tokio::sync::{mpsc, watch};

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

/// Answers as the supervisor's loop does.
async fn answer(sim: Arc<std::sync::Mutex<Sim>>, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        let Ok(sim) = sim.lock() else { return };
        if let (Message::Query(Query::Fleet(reply)), Some(fleet)) = (message, sim.fleet()) {
            drop(reply.send(fleet.view(sim.now())));
        }
    }
}

async fn measure(client: &mut Client, path: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut spans = Vec::with_capacity(rounds);
    let mut items = 0;
    for _ in 0..rounds {
        let begun = Instant::now();
        let answer: serde_json::Value = client.get(path).await?;
        spans.push(begun.elapsed());
        items = answer.as_array().map_or(1, Vec::len);
    }
    spans.sort();
    let at = |percent: usize| spans.get(spans.len() * percent / 100).copied().unwrap_or_default();
    println!("{path:<32} p50 {:>9.2?}  p99 {:>9.2?}  {items} items", at(50), at(99));
    Ok(())
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let sim = fleet(options.runners);
    let up = sim.fleet().map_or(0, |fleet| fleet.view(sim.now()).runners.len());
    println!("{up} runners");
    let folder = tempfile::tempdir()?;
    let state = StateDir::new(folder.path().to_owned());
    let logs = Arc::new(LogStore::new(state.clone(), Bytes::mib(1))?);
    let (messages, inbox) = mpsc::channel(64);
    let (_steps, steps) = watch::channel(0);
    let (_never, stuck) = watch::channel(None);
    let now = sim.now();
    let handle = Handle::new(messages, steps, stuck);
    let api = Api::new(handle, state.clone(), logs, Arc::new(move || now));
    tokio::spawn(answer(Arc::new(std::sync::Mutex::new(sim)), inbox));
    let socket = listen::bind_socket(&api, SocketAccess::Owner)?;
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(listen::serve_socket(Arc::clone(&api), (socket, 64), stopped));
    let mut client = Client::connect(&state).await?;
    for path in ["/api/v1/runners", "/api/v1/runners?limit=100", "/api/v1/fleet", "/api/runners"] {
        measure(&mut client, path, options.rounds).await?;
    }
    Ok(())
}
