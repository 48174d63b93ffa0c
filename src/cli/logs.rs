//! `logs`: what jobs write, by job or by runner.

mod previous;

use std::collections::BTreeSet;

use clap::Args;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::{self, Since};
use super::context::{Context, note, print_bytes, print_error_bytes};
use super::failure::Failure;
use super::ps;
use super::render::{Paint, Tone};
use crate::api::record::{Record, RecordKind};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::view::{FleetView, JobView};
use crate::ids::{JobId, SlotId};
use crate::state_dir::StateDir;
use crate::units::Time;

/// Jobs that are searched for the last one of a runner.
const SEARCHED: usize = 1000;
/// Pieces of output that may wait to be printed.
const QUEUE: usize = 64;
/// Longest line that is put together before it is printed.
const LINE_MAX: usize = 64 * 1024;

/// Show what jobs write
///
/// A job's output is printed as it was written, standard output and standard error apart. For a
/// runner it is the output of the job that runs there, or ran last; with `-f` that of every next
/// job, too. Several are told apart by a prefix on each line. Output outlives its runner for as
/// long as `retention.logs` says.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet logs job-42\n  slate-fleet logs -f              \
                        every runner's jobs, as they run\n  \
                        slate-fleet logs -f slate-light-01 job-42 --since 10m\n  slate-fleet logs --previous \
                        slate-light-01")]
pub(super) struct LogsArgs {
    /// Go on with what is written
    #[arg(short, long)]
    follow: bool,
    /// Only what was written after this: `10m`, or a time
    #[arg(long, value_name = "WHEN", value_parser = clock::parse_since)]
    since: Option<Since>,
    /// What the runner's container before the present one left: its job's output, and why it went
    #[arg(short, long, conflicts_with = "follow", requires = "targets")]
    previous: bool,
    /// Runners by name or id, and jobs; every runner if none
    #[arg(value_name = "RUNNER | JOB")]
    targets: Vec<String>,
}

/// One log to show.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    job: JobId,
    /// What its lines begin with.
    name: String,
}

/// Runners whose next jobs are shown, too.
struct Watched {
    runners: Vec<(SlotId, String)>,
    /// Jobs that are shown already, or were over before.
    begun: BTreeSet<JobId>,
}

impl Watched {
    /// The log of a job that is seen on one of the runners for the first time.
    fn begins(&mut self, job: &JobView) -> Option<Source> {
        let (_, name) = self.runners.iter().find(|(slot, _)| job.runner == Some(*slot))?;
        let source = Source { job: job.id, name: name.clone() };
        self.begun.insert(job.id).then_some(source)
    }
}

/// How lines are shown.
#[derive(Debug, Clone)]
struct Look {
    since: Time,
    prefixed: bool,
    width: usize,
    paint: Paint,
}

impl LogsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let jobs: Vec<JobId> = self.targets.iter().filter_map(|target| job_id(target)).collect();
        let names: Vec<String> =
            self.targets.iter().filter(|target| job_id(target).is_none()).cloned().collect();
        if self.previous {
            return match jobs.first() {
                Some(job) => Err(all_attempts(*job)),
                None => {
                    let since = self.since.map(Since::time).unwrap_or_default();
                    previous::show(&mut client, &names, since).await
                }
            };
        }
        let of_runners = !names.is_empty() || jobs.is_empty();
        let fleet: Option<FleetView> = match of_runners {
            true => Some(client.get("/api/v1/fleet").await?),
            false => None,
        };
        let runners = match &fleet {
            Some(fleet) => wanted(fleet, &names)?,
            None => Vec::new(),
        };
        let mut sources: Vec<Source> =
            jobs.iter().map(|job| Source { job: *job, name: job.to_string() }).collect();
        let known = newest_jobs(&mut client, &runners).await?;
        sources.extend(of_each_runner(&known, &runners));
        let count = jobs.len() + runners.len();
        let look = Look {
            since: self.since.map(Since::time).unwrap_or_default(),
            prefixed: count > 1,
            width: runners.iter().map(|(_, name)| name.len()).chain([8]).max().unwrap_or(8),
            paint: context.paint(),
        };
        match self.follow {
            false => show_all(&mut client, sources, &look).await,
            true => {
                let ended = known.iter().filter(|job| job.status.is_final()).map(|job| job.id);
                let watched = Watched { runners, begun: ended.collect() };
                follow_all(context.state_dir()?, sources, watched, look).await
            }
        }
    }
}

/// A job has one log, whatever runners it had.
fn all_attempts(job: JobId) -> Failure {
    Failure::new(Exit::Usage, format!("`--previous` is for runners, and {job} is a job"))
        .help(format!("`slate-fleet logs {job}` has the output of all its attempts"))
}

/// `job-42`, or a bare number; runners are called by their names.
fn job_id(target: &str) -> Option<JobId> {
    let is_job = target.starts_with("job-") || target.bytes().all(|byte| byte.is_ascii_digit());
    is_job.then(|| target.parse().ok()).flatten()
}

/// The named runners, or all.
fn wanted(fleet: &FleetView, names: &[String]) -> Result<Vec<(SlotId, String)>, Failure> {
    let runners = match names.is_empty() {
        true => fleet.runners.iter().collect(),
        false => ps::find_all(fleet, names)?,
    };
    Ok(runners.into_iter().map(|runner| (runner.id, runner.name.clone())).collect())
}

/// The newest jobs, if there are runners to look for.
async fn newest_jobs(
    client: &mut Client,
    runners: &[(SlotId, String)],
) -> Result<Vec<JobView>, Failure> {
    match runners.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(client.get(&format!("/api/v1/jobs?limit={SEARCHED}")).await?),
    }
}

/// The newest job of each runner.
fn of_each_runner(jobs: &[JobView], runners: &[(SlotId, String)]) -> Vec<Source> {
    let newest = |slot: SlotId| jobs.iter().find(|job| job.runner == Some(slot));
    let source = |(slot, name): &(SlotId, String)| {
        newest(*slot).map(|job| Source { job: job.id, name: name.clone() })
    };
    runners.iter().filter_map(source).collect()
}

async fn show_all(client: &mut Client, sources: Vec<Source>, look: &Look) -> Result<Exit, Failure> {
    for source in sources {
        let mut records = client.records(&format!("/api/v1/jobs/{}/logs", source.job)).await?;
        let mut lines = Lines::new(source, look.clone());
        while let Some(record) = records.next().await? {
            lines.take(record)?;
        }
        lines.finish()?;
    }
    Ok(Exit::Done)
}

/// Follows logs side by side; with runners, also the jobs that they get later.
async fn follow_all(
    state: StateDir,
    sources: Vec<Source>,
    watched: Watched,
    look: Look,
) -> Result<Exit, Failure> {
    let (begin, mut started) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    let mut seen: BTreeSet<JobId> = sources.iter().map(|source| source.job).collect();
    for source in sources {
        tasks.spawn(follow_one(state.clone(), source, look.clone()));
    }
    if !watched.runners.is_empty() {
        tasks.spawn(watch_runners(state.clone(), watched, begin));
    }
    loop {
        tokio::select! {
            Some(source) = started.recv() => {
                let source: Source = source;
                if seen.insert(source.job) {
                    tasks.spawn(follow_one(state.clone(), source, look.clone()));
                }
            }
            ended = tasks.join_next() => match ended {
                Some(Ok(result)) => result?,
                Some(Err(error)) => {
                    return Err(Failure::new(Exit::Failed, format!("following broke off: {error}")));
                }
                None => return Ok(Exit::Done),
            }
        }
    }
}

async fn follow_one(state: StateDir, source: Source, look: Look) -> Result<(), Failure> {
    let mut client = Client::connect(&state).await?;
    let path = format!("/api/v1/jobs/{}/logs?follow=true", source.job);
    let mut records = client.records(&path).await?;
    let mut lines = Lines::new(source, look);
    while let Some(record) = records.next().await? {
        lines.take(record)?;
    }
    lines.finish()
}

/// Tells of each job that begins on these runners, until the supervisor ends.
///
/// A new view of the fleet says only that something happened: a short job begins and ends between
/// two of them.
async fn watch_runners(
    state: StateDir,
    mut watched: Watched,
    begin: mpsc::Sender<Source>,
) -> Result<(), Failure> {
    let mut follower = Client::connect(&state).await?;
    let mut client = Client::connect(&state).await?;
    let mut views = follower.lines("/api/v1/fleet?follow=true").await?;
    while views.next::<FleetView>().await?.is_some() {
        let jobs = newest_jobs(&mut client, &watched.runners).await?;
        // Oldest first, as they were written.
        for source in jobs.iter().rev().filter_map(|job| watched.begins(job)) {
            if begin.send(source).await.is_err() {
                return Ok(());
            }
        }
    }
    note("the supervisor has ended");
    Ok(())
}

/// Prints one log: as it is when it is alone, else line by line with a prefix.
struct Lines {
    source: Source,
    look: Look,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    fn new(source: Source, look: Look) -> Self {
        Self { source, look, stdout: Vec::new(), stderr: Vec::new() }
    }

    fn take(&mut self, record: Record) -> Result<(), Failure> {
        if record.at < self.look.since {
            return Ok(());
        }
        match record.kind {
            RecordKind::Stdout | RecordKind::Stderr if !self.look.prefixed => {
                write(record.kind, &record.bytes)
            }
            RecordKind::Stdout | RecordKind::Stderr => {
                let buffer = match record.kind {
                    RecordKind::Stderr => &mut self.stderr,
                    RecordKind::Stdout
                    | RecordKind::Attempt
                    | RecordKind::Job
                    | RecordKind::End => &mut self.stdout,
                };
                buffer.extend_from_slice(&record.bytes);
                let whole = match buffer.len() > LINE_MAX {
                    true => buffer.len(),
                    false => buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
                };
                let lines: Vec<u8> = buffer.drain(..whole).collect();
                write(record.kind, &prefixed(&lines, &self.prefix()))
            }
            RecordKind::Attempt => {
                note(&format!("{} begins again: its last attempt did not count", self.source.job));
                Ok(())
            }
            RecordKind::Job | RecordKind::End => Ok(()),
        }
    }

    /// Prints last lines that have no end.
    fn finish(self) -> Result<(), Failure> {
        let prefix = self.prefix();
        write(RecordKind::Stdout, &prefixed(&self.stdout, &prefix))?;
        write(RecordKind::Stderr, &prefixed(&self.stderr, &prefix))
    }

    fn prefix(&self) -> String {
        let name = format!("{:<width$} |", self.source.name, width = self.look.width);
        format!("{} ", self.look.paint.paint(Tone::Busy, &name))
    }
}

fn prefixed(lines: &[u8], prefix: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() * 2);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            out.push(b'\n');
        }
    }
    out
}

fn write(kind: RecordKind, bytes: &[u8]) -> Result<(), Failure> {
    match (bytes.is_empty(), kind) {
        (true, _) => Ok(()),
        (false, RecordKind::Stderr) => print_error_bytes(bytes),
        (false, RecordKind::Stdout | RecordKind::Attempt | RecordKind::Job | RecordKind::End) => {
            print_bytes(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_told_from_runners() {
        assert_eq!(job_id("job-42"), Some(JobId(42)));
        assert_eq!(job_id("42"), Some(JobId(42)));
        assert_eq!(job_id("runner-001"), None);
        assert_eq!(job_id("slate-light-01"), None);
    }

    #[test]
    fn every_line_gets_its_prefix_and_an_end() {
        assert_eq!(prefixed(b"a\nb", "x | "), b"x | a\nx | b\n");
        assert_eq!(prefixed(b"", "x | "), b"");
    }
}
