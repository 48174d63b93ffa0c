//! `cordon`, `drain`, `resume` and `restart`: single runners, by name or id, and cards; `resume`
//! opens pools, too.

use std::time::Duration;

use clap::Args;
use tokio::time::timeout_at;

use super::context::{Context, note};
use super::failure::Failure;
use super::{clock, pause, ps, suggest};
use crate::api::dto::{Accepted, CordonBody, RestartBody};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::event::{Cordon, RestartTime};
use crate::fleet::view::FleetView;
use crate::ids::{PoolName, SlotId};
use crate::spec::show_duration;

/// Give runners no new jobs, or GPUs no new runners; what runs there goes on
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet cordon slate-light-01\n  \
                        slate-fleet cordon runner-001 runner-002\n  \
                        slate-fleet cordon --gpu 1")]
pub(super) struct CordonArgs {
    /// Runners by name or id
    #[arg(required_unless_present = "gpus", conflicts_with = "gpus", value_name = "RUNNER")]
    runners: Vec<String>,
    /// A GPU by index or UUID; may be repeated
    #[arg(long = "gpu", value_name = "CARD")]
    gpus: Vec<String>,
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

/// Give runners jobs again after `cordon` or `drain`, and pools after `pause`
///
/// Failed runners are tried again at once. Without a name, every pool that is paused is opened.
/// With `--gpu`, a GPU that was cordoned, by hand or because it was sick, takes runners again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet resume slate-light-01\n  \
                        slate-fleet resume standard      a pool that is paused\n  \
                        slate-fleet resume               every pool that is paused\n  \
                        slate-fleet resume --gpu 1")]
pub(super) struct ResumeArgs {
    /// Runners by name or id, or pools by name
    #[arg(conflicts_with = "gpus", value_name = "RUNNER | POOL")]
    names: Vec<String>,
    /// A pool whose name is a runner's, too; may be repeated
    #[arg(long = "pool", conflicts_with = "gpus", value_name = "POOL")]
    pools: Vec<String>,
    /// A GPU by index or UUID; may be repeated
    #[arg(long = "gpu", value_name = "CARD")]
    gpus: Vec<String>,
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

impl CordonArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        match self.gpus.is_empty() {
            true => cordon(&mut client, &self.runners, Cordon::Closed).await.map(drop)?,
            false => cordon_cards(&mut client, self.gpus, Cordon::Closed).await?,
        }
        Ok(Exit::Done)
    }
}

impl DrainArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let slots = cordon(&mut client, &self.runners, Cordon::Closed).await?;
        let until = clock::start() + self.timeout;
        let timeout = show_duration(self.timeout);
        timeout_at(until, without_jobs(&mut client, &slots)).await.map_err(|_| {
            Failure::new(Exit::NotReady, format!("jobs still run there after {timeout}"))
                .help("the runners stay cordoned; `slate-fleet ps` shows their jobs")
        })??;
        Ok(Exit::Done)
    }
}

impl ResumeArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        if !self.gpus.is_empty() {
            cordon_cards(&mut client, self.gpus, Cordon::Open).await?;
            return Ok(Exit::Done);
        }
        let fleet: FleetView = client.get("/api/v1/fleet").await?;
        let (runners, pools) = self.sort(&fleet)?;
        if !runners.is_empty() {
            cordon(&mut client, &runners, Cordon::Open).await?;
        }
        match (pools.is_empty(), runners.is_empty()) {
            (false, _) => pause::turn(&mut client, &pools, Cordon::Open).await?,
            (true, true) => note("no pool is paused"),
            (true, false) => {}
        }
        Ok(Exit::Done)
    }
}

impl ResumeArgs {
    /// What is a runner and what is a pool; every paused pool where nothing is named.
    fn sort(self, fleet: &FleetView) -> Result<(Vec<String>, Vec<PoolName>), Failure> {
        if self.names.is_empty() && self.pools.is_empty() {
            let paused = fleet.pools.iter().filter(|pool| pool.paused.is_some());
            return Ok((Vec::new(), paused.map(|pool| pool.name.clone()).collect()));
        }
        let mut runners = Vec::new();
        let mut pools = self
            .pools
            .iter()
            .map(|name| pause::find(fleet, name))
            .collect::<Result<Vec<_>, _>>()?;
        for name in self.names {
            match (ps::find(fleet, &name), pause::find(fleet, &name)) {
                (Ok(runner), Ok(_)) => {
                    let what = format!("`{name}` is a runner and a pool");
                    return Err(Failure::new(Exit::Usage, what).help(format!(
                        "`slate-fleet resume {}` for the runner, `slate-fleet resume --pool \
                         {name}` for the pool",
                        runner.id
                    )));
                }
                (Ok(_), Err(_)) => runners.push(name),
                (Err(_), Ok(pool)) => pools.push(pool),
                (Err(_), Err(_)) => return Err(neither(fleet, &name)),
            }
        }
        Ok((runners, pools))
    }
}

fn neither(fleet: &FleetView, name: &str) -> Failure {
    let runners = fleet.runners.iter().map(|runner| runner.name.as_str());
    let pools = fleet.pools.iter().map(|pool| pool.name.as_str());
    suggest::no_such("runner or pool", name, &runners.chain(pools).collect::<Vec<_>>())
}

async fn cordon_cards(client: &mut Client, gpus: Vec<String>, to: Cordon) -> Result<(), Failure> {
    let named = gpus.join(", ");
    let body = CordonBody { runners: Vec::new(), gpus, to };
    let _: Accepted = client.post("/api/v1/cordon", &body).await?;
    let what = match to {
        Cordon::Closed => "cordoned",
        Cordon::Open => "open for runners",
    };
    note(&format!("GPU {named}: {what}"));
    Ok(())
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
