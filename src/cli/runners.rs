//! `cordon`, `drain`, `resume` and `restart`: single runners, by name or id, and cards.

use std::time::Duration;

use clap::Args;
use tokio::time::timeout_at;

use super::context::{Context, note};
use super::failure::Failure;
use super::{clock, ps};
use crate::api::dto::{Accepted, CordonBody, RestartBody};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::event::{Cordon, RestartTime};
use crate::fleet::view::FleetView;
use crate::ids::SlotId;

/// What takes no new work, or takes it again
#[derive(Debug, Args)]
struct Which {
    /// Runners by name or id
    #[arg(required_unless_present = "gpus", conflicts_with = "gpus", value_name = "RUNNER")]
    runners: Vec<String>,
    /// A GPU by index or UUID; may be repeated
    #[arg(long = "gpu", value_name = "CARD")]
    gpus: Vec<String>,
}

/// Give runners no new jobs, or GPUs no new runners; what runs there goes on
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet cordon slate-light-01\n  \
                        slate-fleet cordon runner-001 runner-002\n  \
                        slate-fleet cordon --gpu 1")]
pub(super) struct CordonArgs {
    #[command(flatten)]
    which: Which,
}

/// Give runners no new jobs, and wait until theirs have ended
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet drain slate-light-01\n  \
                        slate-fleet drain runner-001 runner-002 --timeout 1h")]
pub(super) struct DrainArgs {
    /// Runners by name or id
    #[arg(required = true, value_name = "RUNNER")]
    runners: Vec<String>,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30m",
          value_parser = clock::parse_duration)]
    timeout: Duration,
}

/// Give runners jobs again after `cordon` or `drain`, and try failed ones again at once
///
/// With `--gpu`, a GPU that was cordoned, by hand or because it was sick, takes runners again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet resume slate-light-01\n  \
                        slate-fleet resume --gpu 1")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    which: Which,
}

/// Replace the containers of runners, busy ones after their job
///
/// `--force` takes the runner from its job, too. The job is tried again on another runner, unless
/// its retries are used up.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet restart slate-light-01\n  \
                        slate-fleet restart --force runner-001        whatever runs there\n  \
                        slate-fleet restart $(slate-fleet ps -q)      every runner")]
pub(super) struct RestartArgs {
    /// Runners by name or id
    #[arg(required = true, value_name = "RUNNER")]
    runners: Vec<String>,
    /// At once, whatever runs there
    #[arg(short, long)]
    force: bool,
}

impl Which {
    async fn set(self, client: &mut Client, to: Cordon) -> Result<(), Failure> {
        if self.gpus.is_empty() {
            return cordon(client, &self.runners, to).await.map(drop);
        }
        let gpus = self.gpus.join(", ");
        let body = CordonBody { runners: Vec::new(), gpus: self.gpus, to };
        let _: Accepted = client.post("/api/v1/cordon", &body).await?;
        let what = match to {
            Cordon::Closed => "cordoned",
            Cordon::Open => "open for runners",
        };
        note(&format!("GPU {gpus}: {what}"));
        Ok(())
    }
}

impl CordonArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        self.which.set(&mut client, Cordon::Closed).await?;
        Ok(Exit::Done)
    }
}

impl DrainArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let slots = cordon(&mut client, &self.runners, Cordon::Closed).await?;
        let until = clock::start() + self.timeout;
        let seconds = self.timeout.as_secs_f64();
        timeout_at(until, without_jobs(&mut client, &slots)).await.map_err(|_| {
            Failure::new(Exit::NotReady, format!("jobs still run there after {seconds} s"))
                .help("the runners stay cordoned; `slate-fleet ps` shows their jobs")
        })??;
        Ok(Exit::Done)
    }
}

impl ResumeArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        self.which.set(&mut client, Cordon::Open).await?;
        Ok(Exit::Done)
    }
}

impl RestartArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let (names, _) = resolve(&mut client, &self.runners).await?;
        let (when, told) = match self.force {
            true => (RestartTime::Now, "replaced now"),
            false => (RestartTime::AfterJob, "replaced as soon as no job runs there"),
        };
        let body = RestartBody { runners: names.clone(), when };
        let _: Accepted = client.post("/api/v1/restart", &body).await?;
        note(&format!("{}: {told}", names.join(", ")));
        Ok(Exit::Done)
    }
}

async fn cordon(
    client: &mut Client,
    runners: &[String],
    to: Cordon,
) -> Result<Vec<SlotId>, Failure> {
    let (names, slots) = resolve(client, runners).await?;
    let body = CordonBody { runners: names.clone(), gpus: Vec::new(), to };
    let _: Accepted = client.post("/api/v1/cordon", &body).await?;
    let what = match to {
        Cordon::Closed => "cordoned",
        Cordon::Open => "open for jobs",
    };
    note(&format!("{}: {what}", names.join(", ")));
    Ok(slots)
}

/// Names and ids of runners that all exist.
async fn resolve(
    client: &mut Client,
    runners: &[String],
) -> Result<(Vec<String>, Vec<SlotId>), Failure> {
    let fleet: FleetView = client.get("/api/v1/fleet").await?;
    let found = ps::find_all(&fleet, runners)?;
    Ok(found.into_iter().map(|runner| (runner.name.clone(), runner.id)).unzip())
}

async fn without_jobs(client: &mut Client, slots: &[SlotId]) -> Result<(), Failure> {
    let mut lines = client.lines("/api/v1/fleet?follow=true").await?;
    while let Some(fleet) = lines.next::<FleetView>().await? {
        let busy = fleet.runners.iter().filter(|runner| slots.contains(&runner.id));
        if busy.filter(|runner| runner.job.is_some()).count() == 0 {
            return Ok(());
        }
    }
    Err(Failure::new(Exit::Unreachable, "the supervisor went away while its runners drained"))
}
