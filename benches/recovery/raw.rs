//! Raw calls: see the death, create, start. What the engine alone takes.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use slate_fleet::engine::docker::{DockerEngine, DockerEnv, EngineAddress};
use slate_fleet::engine::translate::{self, CardRequest, EngineTraits, Narrowing};
use slate_fleet::engine::{Engine, HostPaths, Project, files};
use slate_fleet::fleet::effect::{ContainerPlan, Template};
use slate_fleet::ids::{
    FleetId, ImageId, ImageRef, IncarnationId, PoolName, ProfileName, ProjectName,
};
use slate_fleet::spec::{DockerAccess, JobUser, Reports, Reuse};
use slate_fleet::state_dir::StateDir;
use slate_fleet::units::{Bytes, MilliCpu};
use tempfile::TempDir;

use crate::kills::{Killed, Timeline};
use crate::{Outcome, PAUSE, finish, note};

/// The limits of the profile `light`, which all contenders have.
const MEMORY: Bytes = Bytes::mib(512);
const CPUS: MilliCpu = MilliCpu::cpus(1);
/// Marks what is like Swarm's task.
const LABEL: &str = "dev.slate.bench";

/// What the rival's containers are like.
enum Kind {
    /// A runner's container, with a process 1 that does nothing.
    Runner(Box<Ground>),
    /// What a task of Swarm's is told here.
    Task(String),
}

/// What runners' containers need beside them.
struct Ground {
    project: Project,
    paths: HostPaths,
    traits: EngineTraits,
    image: ImageId,
    _folder: TempDir,
}

/// A rival that keeps one container alive.
pub struct Raw {
    pub title: &'static str,
    client: Docker,
    kind: Kind,
    made: u64,
    container: Option<String>,
}

impl Raw {
    pub async fn like_a_runner(image: &str) -> Outcome<Self> {
        let folder = TempDir::with_prefix("recovery-raw-")?;
        let id = std::process::id();
        let project = Project {
            name: ProjectName::new(format!("recoveryraw{id}")),
            fleet: FleetId::new(format!("recoveryraw-{id}")),
        };
        let paths = HostPaths {
            state: StateDir::new(folder.path().join("state")),
            reports: Reports::at(folder.path().join("reports")),
            ca: None,
        };
        files::prepare_shared(&paths)?;
        std::os::unix::fs::symlink("/bin/sleep", paths.state.agent())?;
        let address = EngineAddress::choose(&DockerEnv::from_process())?;
        let engine = DockerEngine::connect(address, project.clone())?;
        let traits = EngineTraits {
            narrowing: Narrowing::On,
            cpus: engine.info().await?.cpus,
            cards: CardRequest::Nvidia,
            reach: None,
        };
        let image = engine.resolve_image(&ImageRef::new(image)).await?;
        engine.prepare().await?;
        let kind =
            Kind::Runner(Box::new(Ground { project, paths, traits, image, _folder: folder }));
        let client = Docker::connect_with_defaults()?.negotiate_version().await?;
        Self::start("raw, like a runner", client, kind).await
    }

    pub async fn like_a_task(client: Docker, image: &str) -> Outcome<Self> {
        let client = client.negotiate_version().await?;
        Self::start("raw, like Swarm's task", client, Kind::Task(image.to_owned())).await
    }

    async fn start(title: &'static str, client: Docker, kind: Kind) -> Outcome<Self> {
        let mut raw = Self { title, client, kind, made: 0, container: None };
        raw.replace().await?;
        Ok(raw)
    }

    /// Makes and starts the next container; returns the one before it.
    async fn replace(&mut self) -> Outcome<Option<String>> {
        self.made += 1;
        let (name, body) = match &self.kind {
            Kind::Runner(ground) => ground.container(self.made)?,
            Kind::Task(image) => (format!("recovery-{}", self.made), task(image)?),
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let made = self.client.create_container(Some(options), body).await?.id;
        self.client.start_container(&made, None::<StartContainerOptions>).await?;
        Ok(self.container.replace(made))
    }

    fn label(&self) -> String {
        match &self.kind {
            Kind::Runner(ground) => {
                format!("{}={}", translate::LABEL_PROJECT, ground.project.name)
            }
            Kind::Task(_) => LABEL.to_owned(),
        }
    }

    pub async fn round(&mut self) -> Outcome<Timeline> {
        tokio::time::sleep(PAUSE).await;
        let container = self.container.clone().ok_or("no container")?;
        let mut killed = Killed::kill(&self.client, &container, &self.label()).await?;
        killed.died().await?;
        let dead = self.replace().await?;
        killed.replaced().await?;
        if let Some(dead) = dead {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            self.client.remove_container(&dead, Some(options)).await?;
        }
        Ok(killed.finish())
    }

    /// Removes all of one kind that carries this rival's label.
    fn remove(&self, list: &[&str], remove: &[&str]) -> Outcome<()> {
        let filter = format!("label={}", self.label());
        let found = finish(Command::new("docker").args(list).args(["-q", "--filter", &filter]))?;
        let found: Vec<&str> = found.lines().collect();
        if !found.is_empty() {
            finish(Command::new("docker").args(remove).args(found))?;
        }
        Ok(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The others go with their engine.
        if matches!(self.kind, Kind::Runner(_)) {
            note(self.remove(&["ps", "-a"], &["rm", "-fv"]));
            note(self.remove(&["volume", "ls"], &["volume", "rm"]));
            note(self.remove(&["network", "ls"], &["network", "rm"]));
        }
    }
}

impl Ground {
    fn container(&self, number: u64) -> Outcome<(String, ContainerCreateBody)> {
        let plan = ContainerPlan {
            incarnation: IncarnationId(number),
            name: format!("{}-light-{number}", self.project.name),
            image: self.image.clone(),
            gpu: None,
            cpuset: Vec::new(),
            template: Template {
                pool: PoolName::new("light"),
                profile: ProfileName::new("light"),
                image: ImageRef::new(self.image.as_str()),
                cpus: CPUS,
                memory: MEMORY,
                pids: 4096,
                shm: Bytes::mib(64),
                user: JobUser { uid: 1000, gid: 1000 },
                env: BTreeMap::new(),
                labels: Vec::new(),
                stop_grace: Duration::from_secs(10),
                reuse: Reuse::OneJob,
                docker_healthcheck: None,
                caches: BTreeMap::new(),
                docker: DockerAccess::None,
                forge: None,
            },
        };
        files::prepare_files(&plan, &self.paths, &files::host_view())?;
        let mut body =
            translate::container_body(&plan, &self.project, &self.paths, self.traits.clone());
        body.cmd = Some(vec!["infinity".to_owned()]);
        Ok((plan.name, body))
    }
}

fn task(image: &str) -> Outcome<ContainerCreateBody> {
    Ok(ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(["sleep", "infinity"].map(str::to_owned).to_vec()),
        labels: Some(HashMap::from([(LABEL.to_owned(), String::new())])),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            memory: Some(i64::try_from(MEMORY.0)?),
            nano_cpus: Some(i64::try_from(u64::from(CPUS.0) * 1_000_000)?),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    })
}
