//! What the record costs: jobs accepted per second, one job alone, a restart under a long queue,
//! and the check of the audit log, beside what the disk itself takes.
//!
//! `cargo build --release && cargo bench --bench record -- --slate-fleet
//! target/release/slate-fleet`
//!
//! Batches and single jobs go over the socket of a real supervisor whose one runner is cordoned, so
//! that nothing but the record is at work. Every answer means that the jobs are on the disk. The
//! rivals keep a job as a spool does (a file each, written, synced and renamed) and as a bare
//! SQLite table does (one row a job, one synced transaction a batch).
#![cfg(feature = "fleet")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use rusqlite::Connection;
use slate_fleet::api::dto::{CordonBody, SubmitBody, Submitted, SubmittedAll};
use slate_fleet::client::Client;
use slate_fleet::fleet::Fleet;
use slate_fleet::fleet::audit;
use slate_fleet::fleet::event::{AgentEvent, Cordon, Event, Request};
use slate_fleet::fleet::state::{Record, Restored};
use slate_fleet::fleet::view::{FleetView, RunnerStatus};
use slate_fleet::ids::{IncarnationId, RequestId};
use slate_fleet::sim::Sim;
use slate_fleet::sim::script::{host, one_of_many, pool, spec};
use slate_fleet::sim::transcript::Writing;
use slate_fleet::spec::{Overcommit, Spec};
use slate_fleet::state_dir::StateDir;
use slate_fleet::store::Store;
use slate_fleet::store::log::AuditLog;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The cordoned runner must be there after this long, or something is broken.
const READY_BOUND: Duration = Duration::from_secs(60);
/// Jobs of a batch.
const BATCH: usize = 10_000;
const BATCH_JOBS: u32 = 10_000;
/// Runners and jobs of the restarted fleet.
const RUNNERS: u32 = 500;
const QUEUED: u64 = 100_000;

#[derive(Parser)]
struct Options {
    /// Batches of 10,000 jobs.
    #[arg(long, default_value_t = 10)]
    batches: usize,
    /// Jobs that are submitted alone.
    #[arg(long, default_value_t = 1000)]
    single: usize,
    /// Restarts of the large fleet.
    #[arg(long, default_value_t = 10)]
    restarts: usize,
    /// The program to measure.
    #[arg(long, default_value = "target/release/slate-fleet")]
    slate_fleet: PathBuf,
    /// The image of the one runner.
    #[arg(long, default_value = "slate-runner:latest")]
    image: String,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A fleet of this bench's own; removed when it is dropped.
struct Stage {
    folder: PathBuf,
    program: PathBuf,
}

impl Stage {
    fn set(options: &Options) -> Outcome<Self> {
        let name = format!("record-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder)?;
        let file = format!(
            "version: 1\nproject: {name}\nimage: {}\npools:\n  - {{name: light, profile: light, \
             count: 1, spares: 0}}\nlimits: {{queue_max: 1000000}}\n",
            options.image
        );
        fs::write(folder.join("slate.yaml"), file)?;
        let program = std::path::absolute(&options.slate_fleet)?;
        let stage = Self { folder, program };
        stage.fleet(&["up", "-d"])?;
        Ok(stage)
    }

    fn state(&self) -> StateDir {
        StateDir::new(self.folder.join(".slate"))
    }

    fn fleet(&self, arguments: &[&str]) -> Outcome<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        let output = command.output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let down = self.fleet(&["down", "-v"]).map(drop);
        for result in [down, fs::remove_dir_all(&self.folder).map_err(Into::into)] {
            if let Err(error) = result {
                eprintln!("cannot clean up: {error}");
            }
        }
    }
}

/// A contender's times.
struct Row {
    name: String,
    times: Vec<Duration>,
}

impl Row {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), times: Vec::new() }
    }

    fn time<T>(&mut self, what: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let begun = Instant::now();
        let done = what()?;
        self.times.push(begun.elapsed());
        Ok(done)
    }

    fn print(&mut self, jobs: u32) {
        self.times.sort_unstable();
        let at = |share: usize| {
            let index = (self.times.len() * share / 100).min(self.times.len().saturating_sub(1));
            self.times.get(index).map_or(0.0, Duration::as_secs_f64)
        };
        let rate = f64::from(jobs) / at(50);
        println!(
            "{:<52} {:>5} {:>9.2} {:>9.2} {:>9.2} {rate:>10.0}",
            self.name,
            self.times.len(),
            at(50) * 1000.0,
            at(99) * 1000.0,
            at(100) * 1000.0,
        );
    }
}

fn body(number: usize) -> SubmitBody {
    SubmitBody {
        command: ["pytest", "-n", "auto", "tests/unit"].map(str::to_owned).to_vec(),
        profile: Some("light".to_owned()),
        workflow: Some("nightly".to_owned()),
        run_id: Some((number / 50).to_string()),
        submitter: Some("bench".to_owned()),
        ..SubmitBody::default()
    }
}

fn lines(batch: usize) -> Outcome<Vec<u8>> {
    let mut lines = Vec::new();
    for number in 0..BATCH {
        serde_json::to_writer(&mut lines, &body(batch * BATCH + number))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Waits for the one runner and closes it.
async fn cordon(client: &mut Client) -> Outcome<()> {
    let begun = Instant::now();
    while begun.elapsed() < READY_BOUND {
        let fleet: FleetView = client.get("/api/v1/fleet").await?;
        if let [runner] = fleet.runners.as_slice()
            && runner.status == RunnerStatus::Idle
        {
            let body = CordonBody {
                runners: vec![runner.name.clone()],
                gpus: Vec::new(),
                to: Cordon::Closed,
            };
            let _accepted: serde_json::Value = client.post("/api/v1/cordon", &body).await?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("no runner became idle".into())
}

/// What else keeps jobs.
struct Rivals {
    spool: PathBuf,
    bare: Connection,
}

/// A job as a spool keeps it.
fn spool(folder: &Path, name: &str, job: &[u8]) -> Outcome<()> {
    let fresh = folder.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(job)?;
    file.sync_data()?;
    fs::rename(&fresh, folder.join(name))?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn table(path: &Path) -> Outcome<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE job (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;",
    )?;
    Ok(connection)
}

fn insert(connection: &mut Connection, jobs: &[&[u8]]) -> Outcome<()> {
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare_cached("INSERT INTO job (body) VALUES (?1)")?;
        for job in jobs {
            statement.execute([std::str::from_utf8(job)?])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

async fn singles(options: &Options, stage: &Stage, rivals: &mut Rivals) -> Outcome<()> {
    let mut client = Client::connect(&stage.state()).await?;
    let mut one = Row::new("one job: submitted to durable, over the socket");
    let mut one_bare = Row::new("one job: a row of a bare SQLite table");
    let mut one_spool = Row::new("one job: a synced file of a spool");
    for number in 0..options.single {
        let job = body(number);
        let bytes = serde_json::to_vec(&job)?;
        let begun = Instant::now();
        let _id: Submitted = client.post("/api/v1/jobs", &job).await?;
        one.times.push(begun.elapsed());
        one_bare.time(|| insert(&mut rivals.bare, &[&bytes]))?;
        one_spool.time(|| spool(&rivals.spool, &format!("one-{number}"), &bytes))?;
    }
    for row in [&mut one, &mut one_bare, &mut one_spool] {
        row.print(1);
    }
    Ok(())
}

async fn batches(options: &Options, stage: &Stage, rivals: &mut Rivals) -> Outcome<()> {
    let mut client = Client::connect(&stage.state()).await?;
    let mut batch = Row::new("10,000 jobs: one request over the socket");
    let mut batch_bare = Row::new("10,000 rows: one transaction of a bare table");
    let mut batch_spool = Row::new("1,000 synced files of a spool");
    for number in 0..options.batches {
        let lines = lines(number)?;
        let jobs: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').take(BATCH).collect();
        batch_bare.time(|| insert(&mut rivals.bare, &jobs))?;
        batch_spool.time(|| {
            let named = jobs.iter().take(1000).enumerate();
            for (at, job) in named {
                spool(&rivals.spool, &format!("batch-{number}-{at}"), job)?;
            }
            Ok(())
        })?;
        let begun = Instant::now();
        let all: SubmittedAll = client.post_lines("/api/v1/jobs/batch", lines).await?;
        batch.times.push(begun.elapsed());
        assert_eq!(all.last.0 - all.first.0 + 1, BATCH as u64);
    }
    batch.print(BATCH_JOBS);
    batch_bare.print(BATCH_JOBS);
    batch_spool.print(1000);
    Ok(())
}

async fn accepts(options: &Options, stage: &Stage) -> Outcome<()> {
    cordon(&mut Client::connect(&stage.state()).await?).await?;
    let spool = stage.folder.join("spool");
    fs::create_dir_all(&spool)?;
    let mut rivals = Rivals { spool, bare: table(&stage.folder.join("bare.db"))? };
    singles(options, stage, &mut rivals).await?;
    batches(options, stage, &mut rivals).await?;
    let begun = Instant::now();
    let told = stage.fleet(&["audit", "verify"])?;
    println!("audit verify, whole command: {:?}: {}", begun.elapsed(), told.trim_end());
    Ok(())
}

fn large() -> Spec {
    let mut spec = spec().with(pool("light", 400)).with(pool("standard", RUNNERS - 400));
    spec.limits.scale_max = RUNNERS;
    spec.limits.queue_max = 1_000_000;
    spec.limits.overcommit_memory = Overcommit::Allow;
    spec
}

fn submit(number: u64) -> Event {
    let job = one_of_many(number);
    let by = audit::Client::new("bench");
    Event::Request { id: RequestId(number), by, request: Request::Submit(Box::new(job)) }
}

/// Records a simulated fleet of 500 running containers with 100,000 waiting jobs.
fn record(sim: &Sim, path: &Path) -> Outcome<()> {
    let mut store = Store::open(path)?;
    let records = &sim.records;
    let mut first: Vec<Record> = vec![Record::Meta(Box::new(records.meta.clone()))];
    first.extend(records.slots.values().map(|it| Record::Slot(it.id, Some(Box::new(it.clone())))));
    let runners = records.runners.values();
    first.extend(runners.map(|it| Record::Runner(it.id, Some(Box::new(it.clone())))));
    first.extend(records.audit.iter().cloned().map(Record::Audit));
    store.commit(&first)?;
    let mut fleet = Fleet::restore(large(), records.restored(), sim.now());
    for batch in 0..QUEUED / 1000 {
        let jobs = (0..1000).map(|it| submit(batch * 1000 + it)).collect();
        store.commit(&fleet.handle(sim.now(), jobs).records)?;
    }
    Ok(())
}

/// One restart: from the closed file to 500 jobs that are given out, durably.
fn restart(sim: &Sim, path: &Path, rows: &mut [Row]) -> Outcome<()> {
    let [open, read, restore, list, given, whole] = rows else { return Err("six rows".into()) };
    let begun = Instant::now();
    let mut store = open.time(|| Ok(Store::open(path)?))?;
    let restored: Restored = read.time(|| Ok(store.restore()?))?;
    let now = sim.now() + Duration::from_secs(1);
    let mut fleet = restore.time(|| Ok(Fleet::restore(large(), restored, now)))?;
    list.time(|| {
        let events = vec![Event::Host(host()), sim.world.list(now), sim.world.image("runner:1")];
        let later = now + Duration::from_millis(10);
        Ok(store.commit(&fleet.handle(later, events).records)?)
    })?;
    given.time(|| {
        let call = |id: u64| Event::Agent {
            incarnation: IncarnationId(id),
            event: AgentEvent::Connected { holding: None },
        };
        let later = now + Duration::from_millis(20);
        let step = fleet.handle(later, (1..=u64::from(RUNNERS)).map(call).collect());
        if step.effects.len() != RUNNERS as usize {
            return Err(format!("{} jobs were given out", step.effects.len()).into());
        }
        Ok(store.commit(&step.records)?)
    })?;
    whole.times.push(begun.elapsed());
    Ok(())
}

fn restarts(options: &Options, folder: &Path) -> Outcome<()> {
    let mut sim = Sim::new(1, Writing::Off, (large(), host()));
    sim.oracle.watches = false;
    sim.up(large());
    sim.run_for(Duration::from_secs(3));
    let path = folder.join("large.db");
    record(&sim, &path)?;
    println!("\n500 runners, 100,000 waiting jobs: {} MB", fs::metadata(&path)?.len() / 1_000_000);
    let mut rows = [
        "restart: the file opened and checked",
        "restart: the records read",
        "restart: the core restored",
        "restart: the first list taken in, stored",
        "restart: 500 agents call, 500 jobs given, stored",
        "restart: all of it",
    ]
    .map(Row::new);
    for number in 0..options.restarts {
        let copy = folder.join(format!("large-{number}.db"));
        fs::copy(&path, &copy)?;
        restart(&sim, &copy, &mut rows)?;
        fs::remove_file(&copy)?;
    }
    for row in &mut rows {
        row.print(1);
    }
    let begun = Instant::now();
    let verified = AuditLog::open(&path)?.verify(None)?;
    let entries = u32::try_from(verified.entries)?;
    let rate = f64::from(entries) / begun.elapsed().as_secs_f64();
    println!("audit verify: {entries} entries, {rate:.0} a second");
    Ok(())
}

fn main() -> Outcome<()> {
    let options = Options::parse();
    if !Path::new(&options.slate_fleet).exists() {
        return Err("build it first: cargo build --release".into());
    }
    println!(
        "{:<52} {:>5} {:>9} {:>9} {:>9} {:>10}",
        "", "n", "p50 ms", "p99 ms", "worst ms", "a second"
    );
    if options.batches + options.single > 0 {
        let stage = Stage::set(&options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(accepts(&options, &stage))?;
    }
    if options.restarts > 0 {
        let folder = std::env::temp_dir().join(format!("restart-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let done = restarts(&options, &folder);
        fs::remove_dir_all(&folder)?;
        done?;
    }
    Ok(())
}
