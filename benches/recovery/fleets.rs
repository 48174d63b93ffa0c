//! A fleet of one runner, with or without a spare.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bollard::Docker;
use slate_fleet::api::dto::SubmitBody;
use slate_fleet::client::Client;
use slate_fleet::fleet::audit::AuditEntry;
use slate_fleet::fleet::view::{FleetPhase, FleetView};
use slate_fleet::state_dir::StateDir;
use tempfile::TempDir;

use crate::kills::{Killed, Stage, Timeline};
use crate::{BOUND, Options, Outcome, PAUSE, finish, note};

/// Between two looks at something that must come.
const LOOK: Duration = Duration::from_millis(20);

/// A fleet of this bench's own; removed when it is dropped.
pub struct Fleet {
    pub title: &'static str,
    spares: u32,
    folder: TempDir,
    program: PathBuf,
    label: String,
    docker: Docker,
}

impl Fleet {
    pub async fn up(options: &Options, spares: u32) -> Outcome<Self> {
        let name = format!("recovery{spares}-{}", std::process::id());
        let folder = TempDir::with_prefix(&name)?;
        let file = format!(
            "version: 1\nproject: {name}\nimage: {}\npools:\n  - {{name: light, profile: light, \
             count: 1, spares: {spares}}}\n",
            options.image
        );
        std::fs::write(folder.path().join("slate.yaml"), file)?;
        let fleet = Self {
            title: if spares == 0 { "slate-fleet, no spare" } else { "slate-fleet, a spare" },
            spares,
            folder,
            program: options.slate_fleet.canonicalize()?,
            label: format!("dev.slate.fleet.project={name}"),
            docker: Docker::connect_with_defaults()?.negotiate_version().await?,
        };
        fleet.cli(&["up", "-d"])?;
        Ok(fleet)
    }

    fn cli(&self, arguments: &[&str]) -> Outcome<String> {
        finish(Command::new(&self.program).args(arguments).current_dir(self.folder.path()))
    }

    async fn client(&self) -> Outcome<Client> {
        Ok(Client::connect(&StateDir::new(self.folder.path().join(".slate"))).await?)
    }

    /// A job that goes well makes the next failure the slot's first: later ones wait before they
    /// are tried again.
    async fn forgive(&self) -> Outcome<()> {
        let body = SubmitBody { command: vec!["true".to_owned()], ..SubmitBody::default() };
        let (_job, mut records) = self.client().await?.run(&body).await?;
        while records.next().await?.is_some() {}
        Ok(())
    }

    /// Waits until every runner is ready and what is used up is gone; the slot's container.
    async fn rest(&self) -> Outcome<String> {
        let begun = Instant::now();
        while begun.elapsed() < BOUND {
            let fleet: FleetView = self.client().await?.get("/api/v1/fleet").await?;
            let listed = ["ps", "-aq", "--filter", &format!("label={}", self.label)];
            let containers = finish(Command::new("docker").args(listed))?.lines().count();
            let spares: u32 = fleet.pools.iter().map(|pool| pool.spares).sum();
            let all = usize::try_from(self.spares)? + 1;
            let is_quiet = fleet.phase == FleetPhase::Ready && fleet.running == 0;
            if is_quiet && spares == self.spares && containers == all {
                let container = fleet.runners.into_iter().find_map(|runner| runner.container);
                return Ok(container.ok_or("a slot without a container")?.to_string());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err("the fleet does not come to rest".into())
    }

    /// When the first of these things was recorded after the kill.
    async fn told(&self, what: &[&str], killed: Duration) -> Outcome<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < BOUND {
            let mut entries = self.client().await?.lines("/api/v1/events?limit=50").await?;
            while let Some(entry) = entries.next::<AuditEntry>().await? {
                let at = Duration::from_millis(entry.at.0);
                // The record counts whole milliseconds.
                if at + Duration::from_millis(1) > killed && what.contains(&entry.what.as_str()) {
                    return Ok(at);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(format!("not in the record: {}", what.join(", ")).into())
    }

    pub async fn round(&self) -> Outcome<Timeline> {
        self.forgive().await?;
        self.rest().await?;
        tokio::time::sleep(PAUSE).await;
        let container = self.rest().await?;
        let mut killed = Killed::kill(&self.docker, &container, &self.label).await?;
        killed.died().await?;
        killed.replaced().await?;
        let at = killed.timeline.killed();
        killed.timeline.add(Stage::Planned, self.told(&["planned"], at).await?);
        let served = if self.spares == 0 { "ready" } else { "filled" };
        killed.timeline.add(Stage::Served, self.told(&[served], at).await?);
        Ok(killed.finish())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        note(self.cli(&["down", "-v"]));
    }
}
