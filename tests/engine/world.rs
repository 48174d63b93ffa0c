//! One test's fleet on the real engine, and its end.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptions, RemoveImageOptionsBuilder,
};
use futures_util::{FutureExt, StreamExt};
use tokio::io::AsyncWriteExt;

use slate_fleet::engine::docker::{DockerEngine, DockerEnv, EngineAddress};
use slate_fleet::engine::{Engine, ExecRequest, HostPaths, OutputSource, Project, Terminal, files};
use slate_fleet::fleet::effect::{ContainerPlan, Template};
use slate_fleet::ids::{
    ContainerId, FleetId, ImageId, ImageRef, IncarnationId, PoolName, ProfileName, ProjectName,
};
use slate_fleet::spec::{DockerAccess, JobUser, Reports, Reuse};
use slate_fleet::state_dir::StateDir;
use slate_fleet::units::{Bytes, MilliCpu};

/// Longest wait for anything here; machines that run the tests are slow and shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Marks what a test makes beside its fleet.
const TEST_LABEL: &str = "slate-fleet.test";

/// Ends at once when asked to.
pub const OBEDIENT: &str =
    "#!/bin/sh\ntrap 'exit 0' TERM\n>/ready\nwhile :; do sleep 1000 & wait; done\n";

pub struct World {
    pub engine: DockerEngine,
    pub raw: Docker,
    pub project: Project,
    pub paths: HostPaths,
    pub image: ImageId,
    id: String,
    _folder: tempfile::TempDir,
}

/// Runs a test in a world of its own, whose agent is the script, and cleans up whatever happens.
pub async fn with_agent(script: &str, test: impl AsyncFnOnce(&World)) {
    let world = World::make(script).await;
    let result = AssertUnwindSafe(test(&world)).catch_unwind().await;
    world.clean().await;
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

impl World {
    async fn make(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let name = folder.path().file_name().expect("a name").to_string_lossy();
        let id = format!("t{}{}", std::process::id(), name.trim_start_matches('.'));
        let id = id.to_lowercase();
        let project = Project {
            name: ProjectName::new(format!("test-{id}")),
            fleet: FleetId::new(format!("fleet-{id}")),
        };
        let paths = HostPaths {
            state: StateDir::new(folder.path().join("state")),
            reports: Reports::at(folder.path().join("reports")),
            ca: None,
        };
        files::prepare_shared(&paths).expect("shared files");
        let agent = paths.state.agent();
        std::fs::write(&agent, script).expect("the agent");
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let address = EngineAddress::choose(&DockerEnv::from_process()).expect("an address");
        let engine = DockerEngine::connect(address, project.clone()).expect("an engine");
        let raw = Docker::connect_with_defaults().expect("an engine");
        let raw = raw.negotiate_version().await.expect("an engine that answers");
        let image = runner_image(&engine).await;
        let world = Self { engine, raw, project, paths, image, id, _folder: folder };
        world.engine.prepare().await.expect("a network");
        world
    }

    async fn clean(&self) {
        let mut faults: Vec<String> = Vec::new();
        for id in self.foreign_containers().await {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            if let Err(error) = self.raw.remove_container(&id, Some(options)).await {
                faults.push(error.to_string());
            }
        }
        match self.engine.sweep().await {
            Ok(swept) => swept.left.iter().for_each(|left| println!("left behind: {left}")),
            Err(error) => faults.push(error.describe()),
        }
        for image in self.test_images().await {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            let removed =
                self.raw.remove_image(&image, None::<RemoveImageOptions>.or(Some(options)), None);
            if let Err(error) = removed.await {
                faults.push(error.to_string());
            }
        }
        assert!(faults.is_empty(), "the test left something behind: {faults:?}");
        let left = self.engine.list().await.expect("a list");
        assert!(left.is_empty(), "the test left containers behind: {left:?}");
    }

    fn test_filter(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{TEST_LABEL}={}", self.id)])])
    }

    async fn foreign_containers(&self) -> Vec<String> {
        let filter = self.test_filter();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let found = self.raw.list_containers(Some(options)).await.expect("a list");
        found.into_iter().filter_map(|container| container.id).collect()
    }

    async fn test_images(&self) -> Vec<String> {
        let filter = self.test_filter();
        let options = ListImagesOptionsBuilder::default().filters(&filter).build();
        let found = self.raw.list_images(Some(options)).await.expect("a list");
        found.into_iter().map(|image| image.id).collect()
    }

    pub fn test_labels(&self) -> HashMap<String, String> {
        HashMap::from([(TEST_LABEL.to_owned(), self.id.clone())])
    }

    /// A light runner: 1 CPU, 512 MiB.
    pub fn plan(&self, incarnation: u64) -> ContainerPlan {
        ContainerPlan {
            incarnation: IncarnationId(incarnation),
            name: format!("{}-light-01-i{incarnation}", self.project.name),
            image: self.image.clone(),
            gpu: None,
            cpuset: Vec::new(),
            template: Template {
                pool: PoolName::new("default"),
                profile: ProfileName::new("light"),
                image: ImageRef::new("slate-runner:latest"),
                cpus: MilliCpu::cpus(1),
                memory: Bytes::mib(512),
                pids: 256,
                shm: Bytes::mib(64),
                user: JobUser { uid: 1000, gid: 1000 },
                env: BTreeMap::new(),
                labels: vec!["light".to_owned()],
                stop_grace: Duration::from_secs(10),
                reuse: Reuse::OneJob,
                docker_healthcheck: None,
                caches: BTreeMap::new(),
                docker: DockerAccess::None,
                forge: None,
            },
        }
    }

    pub async fn create(&self, plan: &ContainerPlan) -> ContainerId {
        files::prepare_files(plan, &self.paths, &files::host_view()).expect("files");
        self.engine.create(plan, &self.paths).await.expect("created")
    }

    pub async fn run(&self, plan: &ContainerPlan) -> ContainerId {
        let id = self.create(plan).await;
        self.engine.start(&id).await.expect("started");
        id
    }

    /// Waits until the stand-in has made the file that says it is ready.
    pub async fn ready(&self, id: &ContainerId) {
        let script = "for i in $(seq 600); do [ -e /ready ] && exit 0; sleep 0.1; done; exit 1";
        let waited = tokio::time::timeout(PATIENCE, self.shell(id, script)).await;
        assert_eq!(waited.expect("ready in time").1, 0, "the stand-in is not ready");
    }

    pub async fn inspect(&self, id: &ContainerId) -> ContainerInspectResponse {
        let none = None::<InspectContainerOptions>;
        self.raw.inspect_container(id.as_str(), none).await.expect("inspected")
    }

    /// A container that is not the fleet's: made directly, never started.
    pub async fn foreign(&self, name: &str, mut body: ContainerCreateBody) -> ContainerId {
        body.labels.get_or_insert_default().extend(self.test_labels());
        body.image.get_or_insert_with(|| self.image.to_string());
        body.cmd.get_or_insert_with(|| vec!["true".to_owned()]);
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let made = self.raw.create_container(Some(options), body).await.expect("made");
        ContainerId::new(made.id)
    }

    /// An image made of the runner image with these changes of a Dockerfile.
    pub async fn image_with(&self, changes: &[&str]) -> ImageId {
        let name = format!("{}-source", self.project.name);
        let source = self.foreign(&name, ContainerCreateBody::default()).await;
        let label = format!("LABEL {TEST_LABEL}={}", self.id);
        let changes = [changes, &[label.as_str()]].concat().join("\n");
        let options = CommitContainerOptionsBuilder::default()
            .container(source.as_str())
            .changes(&changes)
            .build();
        // Not among the changes that a commit takes.
        let config = bollard::models::ContainerConfig {
            stop_signal: Some("SIGQUIT".to_owned()),
            ..<_>::default()
        };
        let made = self.raw.commit_container(options, config).await.expect("an image");
        ImageId::new(made.id)
    }

    /// What a shell command in a runner prints, with its exit code.
    pub async fn shell(&self, id: &ContainerId, script: &str) -> (String, i64) {
        let request = ExecRequest {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            user: None,
            workdir: None,
            terminal: Terminal::None,
        };
        let mut session = self.engine.exec(id, &request).await.expect("a program");
        session.input.shutdown().await.expect("no input");
        let mut text = String::new();
        while let Some(chunk) = session.output.next().await {
            let chunk = chunk.expect("output");
            if chunk.source == OutputSource::Stderr {
                println!("{}", String::from_utf8_lossy(&chunk.bytes));
            } else {
                text.push_str(&String::from_utf8_lossy(&chunk.bytes));
            }
        }
        let code = self.engine.exec_exit(&session.id).await.expect("an exit code");
        (text, code.expect("it has ended"))
    }
}

/// The project's runner image, or the base that it is built from.
async fn runner_image(engine: &DockerEngine) -> ImageId {
    for name in ["slate-runner:latest", "slate-base:bookworm"] {
        if let Ok(id) = engine.resolve_image(&ImageRef::new(name)).await {
            return id;
        }
    }
    panic!("no runner image on the engine: build it with images/build");
}
