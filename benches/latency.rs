//! From submitting a job to its first instruction, and whole commands, beside Docker's own.
//!
//! `cargo build --release && cargo bench --bench latency -- --slate-fleet
//! target/release/slate-fleet`
//!
//! The job is `date +%s%N`: what it prints is the time of its first instruction, on the host's own
//! clock. Jobs are durable before they are acknowledged. Contenders take turns in every round.
#![cfg(feature = "fleet")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use slate_fleet::api::dto::SubmitBody;
use slate_fleet::api::record::RecordKind;
use slate_fleet::client::Client;
use slate_fleet::fleet::view::{FleetPhase, FleetView, JobView};
use slate_fleet::state_dir::StateDir;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A runner must be idle again after this long, or something is broken.
const IDLE_BOUND: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Options {
    /// Jobs, and calls of each rival.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// The program to measure.
    #[arg(long, default_value = "target/release/slate-fleet")]
    slate_fleet: PathBuf,
    /// The image of all contenders.
    #[arg(long, default_value = "slate-runner:latest")]
    image: String,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A fleet and a plain container of this bench's own; removed when it is dropped.
struct Stage {
    folder: PathBuf,
    program: PathBuf,
    container: String,
}

impl Stage {
    fn set(options: &Options) -> Outcome<Self> {
        let name = format!("latency-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder)?;
        let file = format!(
            "version: 1\nproject: {name}\nimage: {}\npools:\n  - {{name: light, profile: light, \
             count: 2, spares: 1}}\n",
            options.image
        );
        std::fs::write(folder.join("slate.yaml"), file)?;
        let program = std::path::absolute(&options.slate_fleet)?;
        let stage = Self { folder, program, container: name };
        stage.fleet(&["up", "-d"])?;
        let image = options.image.as_str();
        let limits = ["--cpus", "1", "--memory", "512m"];
        let mut run = Command::new("docker");
        run.args(["run", "-d", "--name", &stage.container]).args(limits);
        finish(run.args([image, "sleep", "3600"]))?;
        Ok(stage)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.folder);
        command
    }

    fn fleet(&self, arguments: &[&str]) -> Outcome<()> {
        finish(&mut self.command(arguments))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let down = self.fleet(&["down", "-v"]);
        let gone = finish(Command::new("docker").args(["rm", "-f", &self.container]));
        for result in [down, gone, std::fs::remove_dir_all(&self.folder).map_err(Into::into)] {
            if let Err(error) = result {
                eprintln!("cannot clean up: {error}");
            }
        }
    }
}

fn finish(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn timed(command: &mut Command) -> Outcome<Duration> {
    let begun = Instant::now();
    finish(command)?;
    Ok(begun.elapsed())
}

fn now() -> Outcome<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// The time that `date +%s%N` printed.
fn printed(text: &[u8]) -> Outcome<Duration> {
    Ok(Duration::from_nanos(std::str::from_utf8(text)?.trim().parse()?))
}

/// From just before a command is started to the first instruction inside the container.
fn first_instruction(command: &mut Command) -> Outcome<Duration> {
    let begun = now()?;
    let output = command.stdin(Stdio::null()).output()?;
    Ok(printed(&output.stdout)?.saturating_sub(begun))
}

/// Waits until the fleet is at rest with an idle runner, so that the machine does nothing else.
async fn idle(client: &mut Client) -> Outcome<()> {
    let begun = Instant::now();
    while begun.elapsed() < IDLE_BOUND {
        let fleet: FleetView = client.get("/api/v1/fleet").await?;
        let spares = fleet.pools.iter().all(|pool| pool.spares > 0);
        if fleet.phase == FleetPhase::Ready && fleet.running == 0 && spares {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("no runner became idle".into())
}

/// One job, submitted over the API; the connection is opened before the clock starts.
async fn job(state: &StateDir) -> Outcome<Duration> {
    let mut client = Client::connect(state).await?;
    idle(&mut client).await?;
    let body = SubmitBody {
        command: ["date", "+%s%N"].map(str::to_owned).to_vec(),
        profile: Some("light".to_owned()),
        ..SubmitBody::default()
    };
    let begun = now()?;
    let (_id, mut records) = client.run(&body).await?;
    while let Some(record) = records.next().await? {
        if record.kind == RecordKind::Stdout {
            return Ok(printed(&record.bytes)?.saturating_sub(begun));
        }
    }
    Err("the job printed nothing".into())
}

/// One job whose program is not in the image's layers: what the layers' file system adds is left
/// out. To the program's start, as the agent told it; in whole milliseconds.
async fn bare_job(state: &StateDir) -> Outcome<Duration> {
    let mut client = Client::connect(state).await?;
    idle(&mut client).await?;
    let body = SubmitBody {
        command: ["/.slate/slate-runner", "--version"].map(str::to_owned).to_vec(),
        profile: Some("light".to_owned()),
        ..SubmitBody::default()
    };
    let (id, mut records) = client.run(&body).await?;
    while records.next().await?.is_some() {}
    let job: JobView = Client::connect(state).await?.get(&format!("/api/v1/jobs/{id}")).await?;
    let started = job.started_at.ok_or("the job did not start")?;
    Ok(started.since(job.queued_at))
}

/// A contender's times.
struct Row {
    name: &'static str,
    times: Vec<Duration>,
}

impl Row {
    fn new(name: &'static str) -> Self {
        Self { name, times: Vec::new() }
    }

    fn print(&mut self) {
        self.times.sort_unstable();
        let at = |share: usize| {
            let index = (self.times.len() * share / 100).min(self.times.len().saturating_sub(1));
            self.times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        println!(
            "{:<44} {:>5} {:>9.2} {:>9.2} {:>9.2}",
            self.name,
            self.times.len(),
            at(50),
            at(99),
            at(100)
        );
    }
}

async fn measure(options: &Options, stage: &Stage) -> Outcome<()> {
    let state = StateDir::new(stage.folder.join(".slate"));
    let container = stage.container.as_str();
    let docker = |arguments: &[&str]| {
        let mut command = Command::new("docker");
        command.args(arguments);
        command
    };
    let mut rows = [
        Row::new("job: submitted to first instruction"),
        Row::new("job outside the image: accepted to started"),
        Row::new("docker exec: to first instruction"),
        Row::new("docker run --rm: to first instruction"),
        Row::new("whole command: slate-fleet run -- true"),
        Row::new("whole command: docker exec C true"),
        Row::new("whole command: docker version"),
    ];
    let [submitted, bare, executed, started, run, exec, version] = &mut rows;
    for round in 0..options.rounds {
        submitted.times.push(job(&state).await?);
        bare.times.push(bare_job(&state).await?);
        executed.times.push(first_instruction(&mut docker(&["exec", container, "date", "+%s%N"]))?);
        if round % 5 == 0 {
            let arguments = ["run", "--rm", &options.image, "date", "+%s%N"];
            started.times.push(first_instruction(&mut docker(&arguments))?);
        }
        idle(&mut Client::connect(&state).await?).await?;
        let arguments = ["run", "--no-workspace", "--profile", "light", "--", "true"];
        run.times.push(timed(&mut stage.command(&arguments))?);
        exec.times.push(timed(&mut docker(&["exec", container, "true"]))?);
        version.times.push(timed(&mut docker(&["version"]))?);
    }
    println!("{:<44} {:>5} {:>9} {:>9} {:>9}", "", "n", "p50 ms", "p99 ms", "worst ms");
    for row in &mut rows {
        row.print();
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let options = Options::parse();
    if !Path::new(&options.slate_fleet).exists() {
        return Err("build it first: cargo build --release".into());
    }
    let stage = Stage::set(&options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&options, &stage))
}
