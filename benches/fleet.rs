//! How long N light runners take to come up and go down: raw calls, docker-compose, slate-fleet.
//!
//! `cargo bench --bench fleet -- --runners 50 --rounds 3 --slate-fleet target/release/slate-fleet`
//!
//! All contenders use one image and one create body; they take turns, so that a machine that slows
//! down slows all of them, and the table shows medians. Raw calls run at several concurrencies, and
//! the best counts: it is the engine's own limit. What compose cannot say is left out of its file:
//! a named volume per replica (an unnamed one stands in) and a report folder of one's own.
#![cfg(feature = "fleet")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
    StartContainerOptions,
};
use clap::Parser;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use slate_fleet::engine::docker::{DockerEngine, DockerEnv, EngineAddress};
use slate_fleet::engine::translate::{
    self, CardRequest, EngineTraits, NARROWED, NARROWED_FOLDER, Narrowing,
};
use slate_fleet::engine::{Engine, HostPaths, Project, files};
use slate_fleet::fleet::effect::{ContainerPlan, Template};
use slate_fleet::ids::{
    FleetId, ImageId, ImageRef, IncarnationId, PoolName, ProfileName, ProjectName,
};
use slate_fleet::spec::{DockerAccess, JobUser, Reports, Reuse};
use slate_fleet::state_dir::StateDir;
use slate_fleet::units::{Bytes, MilliCpu};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Options {
    /// Runners to bring up.
    #[arg(long, default_value_t = 50)]
    runners: u32,
    /// Rounds; every contender runs once in each.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many raw calls at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [4, 6, 8])]
    concurrency: Vec<usize>,
    /// The image of all contenders.
    #[arg(long, default_value = "slate-runner:latest")]
    image: String,
    /// The program to compare; without it only the rivals run.
    #[arg(long)]
    slate_fleet: Option<PathBuf>,
    /// Leave docker-compose out.
    #[arg(long)]
    no_compose: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Engine 20.10 sometimes counts an endpoint that is gone: the network then stays until a restart,
/// and works as before.
const MISCOUNTED: &str = "has active endpoints";

/// What the contenders share.
struct Ground {
    client: Docker,
    engine: DockerEngine,
    project: Project,
    paths: HostPaths,
    traits: EngineTraits,
    image: ImageId,
    image_name: String,
    runners: u32,
    folder: tempfile::TempDir,
}

enum Contender {
    Raw(usize),
    Compose,
    Slate(PathBuf),
}

impl Contender {
    fn name(&self) -> String {
        match self {
            Self::Raw(at_once) => format!("raw API, {at_once} at a time"),
            Self::Compose => "docker-compose".to_owned(),
            Self::Slate(_) => "slate-fleet".to_owned(),
        }
    }

    async fn up(&self, ground: &Ground) -> Outcome<()> {
        match self {
            Self::Raw(at_once) => raw_up(ground, *at_once).await,
            Self::Compose => {
                let scale = format!("runner={}", ground.runners);
                compose(ground, &["up", "-d", "--scale", &scale])
            }
            Self::Slate(program) => {
                slate(ground, program, &["up", "-d"])?;
                slate(ground, program, &["wait"])
            }
        }
    }

    async fn down(&self, ground: &Ground) -> Outcome<()> {
        match self {
            Self::Raw(at_once) => raw_down(ground, *at_once).await,
            // No grace: the stand-in does not listen, and raw removal gives none either.
            Self::Compose => compose(ground, &["down", "-v", "-t", "0"]),
            Self::Slate(program) => slate(ground, program, &["down", "-v"]),
        }
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = Options::parse();
    let ground = Ground::prepare(&options).await?;
    let contenders = contenders(&options);
    let result = compete(&ground, &contenders, options.rounds).await;
    // Whatever happened, nothing stays behind.
    ground.clean().await?;
    print_table(&ground, &contenders, &result?);
    Ok(())
}

fn contenders(options: &Options) -> Vec<Contender> {
    let mut contenders: Vec<_> = options.concurrency.iter().copied().map(Contender::Raw).collect();
    if !options.no_compose {
        contenders.push(Contender::Compose);
    }
    contenders.extend(options.slate_fleet.iter().cloned().map(Contender::Slate));
    contenders
}

type Times = BTreeMap<usize, (Vec<Duration>, Vec<Duration>)>;

async fn compete(ground: &Ground, contenders: &[Contender], rounds: usize) -> Outcome<Times> {
    let mut times = Times::new();
    for round in 0..rounds {
        for place in 0..contenders.len() {
            // Another one begins in each round.
            let index = (place + round) % contenders.len();
            let contender = &contenders[index];
            let begun = Instant::now();
            contender.up(ground).await?;
            let up = begun.elapsed();
            let begun = Instant::now();
            contender.down(ground).await?;
            let down = begun.elapsed();
            eprintln!("round {} {:<26} up {up:.2?} down {down:.2?}", round + 1, contender.name());
            let entry = times.entry(index).or_default();
            entry.0.push(up);
            entry.1.push(down);
        }
    }
    Ok(times)
}

fn print_table(ground: &Ground, contenders: &[Contender], times: &Times) {
    let medians = |index: usize| {
        let (up, down) = times.get(&index).cloned().unwrap_or_default();
        (median(up), median(down))
    };
    let raw = (0..contenders.len()).filter(|i| matches!(contenders[*i], Contender::Raw(_)));
    let (ups, downs): (Vec<_>, Vec<_>) = raw.map(medians).unzip();
    let best = |all: Vec<Duration>| all.into_iter().min().unwrap_or_default().as_secs_f64();
    let (best_up, best_down) = (best(ups), best(downs));
    let rounds = times.values().next().map_or(0, |(ups, _)| ups.len());
    println!("\n{} runners of {}, medians of {rounds} rounds", ground.runners, ground.image_name);
    println!("{:<28}{:>9}{:>8}{:>9}{:>8}", "", "up", "of raw", "down", "of raw");
    for (index, contender) in contenders.iter().enumerate() {
        let (up, down) = medians(index);
        let (up, down) = (up.as_secs_f64(), down.as_secs_f64());
        let (of_up, of_down) = (up / best_up, down / best_down);
        let name = contender.name();
        println!("{name:<28}{up:>8.2}s{of_up:>8.2}{down:>8.2}s{of_down:>8.2}");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |place: usize| times.get(place).copied().unwrap_or_default();
    (at(times.len().saturating_sub(1) / 2) + at(times.len() / 2)) / 2
}

impl Ground {
    async fn prepare(options: &Options) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let id = std::process::id();
        let project = Project {
            name: ProjectName::new(format!("bench{id}")),
            fleet: FleetId::new(format!("bench-{id}")),
        };
        let paths = HostPaths {
            state: StateDir::new(folder.path().join("state")),
            reports: Reports::at(folder.path().join("reports")),
            ca: None,
        };
        files::prepare_shared(&paths)?;
        // Process 1 of the rivals: it does nothing, so the figures are the engine's alone.
        std::os::unix::fs::symlink("/bin/sleep", paths.state.agent())?;
        let address = EngineAddress::choose(&DockerEnv::from_process())?;
        let engine = DockerEngine::connect(address, project.clone())?;
        let info = engine.info().await?;
        let image = engine.resolve_image(&ImageRef::new(options.image.as_str())).await?;
        let client = Docker::connect_with_defaults()?.negotiate_version().await?;
        let ground = Self {
            client,
            engine,
            project,
            paths,
            traits: EngineTraits {
                narrowing: Narrowing::On,
                cpus: info.cpus,
                cards: CardRequest::Nvidia,
                reach: None,
            },
            image,
            image_name: options.image.clone(),
            runners: options.runners,
            folder,
        };
        ground.write_compose_file()?;
        ground.write_fleet_file()?;
        Ok(ground)
    }

    /// Removes everything, whatever a failed round has left.
    async fn clean(&self) -> Outcome<()> {
        if self.folder.path().join("compose/started").exists() {
            compose(self, &["down", "-v", "-t", "0"])?;
        }
        let swept = self.engine.sweep().await?;
        swept.left.iter().for_each(|reason| eprintln!("left behind: {reason}"));
        Ok(())
    }

    fn plan(&self, number: u32) -> ContainerPlan {
        ContainerPlan {
            incarnation: IncarnationId(u64::from(number)),
            name: format!("{}-light-{number}", self.project.name),
            image: self.image.clone(),
            gpu: None,
            cpuset: Vec::new(),
            template: Template {
                pool: PoolName::new("light"),
                profile: ProfileName::new("light"),
                image: ImageRef::new(self.image_name.as_str()),
                cpus: MilliCpu::cpus(1),
                memory: Bytes::mib(512),
                pids: 4096,
                shm: Bytes::mib(64),
                user: JobUser { uid: 1000, gid: 1000 },
                env: BTreeMap::new(),
                caches: BTreeMap::new(),
                docker: DockerAccess::None,
                forge: None,
                labels: Vec::new(),
                stop_grace: Duration::from_secs(10),
                reuse: Reuse::OneJob,
                docker_healthcheck: None,
            },
        }
    }

    fn body(&self, plan: &ContainerPlan) -> ContainerCreateBody {
        let mut body =
            translate::container_body(plan, &self.project, &self.paths, self.traits.clone());
        body.cmd = Some(vec!["infinity".to_owned()]);
        body
    }

    /// The create body in compose's words.
    fn write_compose_file(&self) -> Outcome<()> {
        let plan = self.plan(0);
        files::prepare_files(&plan, &self.paths, &files::host_view())?;
        let body = serde_json::to_value(self.body(&plan))?;
        let host = &body["HostConfig"];
        let volumes = self.compose_volumes(&plan);
        let service = json!({
            "image": self.image_name,
            "user": body["User"],
            "entrypoint": body["Entrypoint"],
            "command": body["Cmd"],
            "working_dir": body["WorkingDir"],
            "stop_signal": body["StopSignal"],
            "healthcheck": {"disable": true},
            "cpus": plan.template.cpus.0 / 1000,
            "mem_limit": host["Memory"],
            "memswap_limit": host["MemorySwap"],
            "pids_limit": host["PidsLimit"],
            "shm_size": host["ShmSize"],
            "oom_score_adj": host["OomScoreAdj"],
            "cap_drop": host["CapDrop"],
            "cap_add": host["CapAdd"],
            "security_opt": host["SecurityOpt"],
            "ulimits": {"nofile": host["Ulimits"][0]["Soft"], "core": 0},
            "logging": {
                "driver": host["LogConfig"]["Type"],
                "options": host["LogConfig"]["Config"],
            },
            "restart": "no",
            "volumes": volumes,
        });
        let network = serde_json::to_value(translate::network_body(&self.project))?;
        let file = json!({
            "version": "2.4",
            "services": {"runner": service},
            "networks": {"default": {"driver_opts": network["Options"]}},
        });
        self.write("compose/docker-compose.yml", &file)
    }

    fn compose_volumes(&self, plan: &ContainerPlan) -> Vec<Value> {
        let bind = |source: PathBuf, target: &str, mode: &str| {
            json!(format!("{}:{target}:{mode}", source.display()))
        };
        let private = self.paths.state.private(plan.incarnation);
        let mut volumes = vec![
            bind(self.paths.state.shared_with_runners(), translate::SHARED, "ro"),
            bind(private.clone(), translate::PRIVATE, "ro"),
            json!(translate::WORK),
            bind(translate::reports_source(plan, &self.paths), translate::REPORTS, "rw"),
        ];
        volumes.extend(
            NARROWED
                .iter()
                .map(|(name, target)| bind(private.join(NARROWED_FOLDER).join(name), target, "ro")),
        );
        volumes
    }

    fn write_fleet_file(&self) -> Outcome<()> {
        let file = json!({
            "version": 1,
            "project": format!("{}s", self.project.name),
            "image": self.image_name,
            "pools": [{"name": "light", "profile": "light", "count": self.runners, "spares": 0}],
            "limits": {"overcommit": {"memory": true}},
        });
        self.write("slate/slate.yaml", &file)
    }

    /// Writes JSON, which is YAML too.
    fn write(&self, name: &str, file: &Value) -> Outcome<()> {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().ok_or("a folder")?)?;
        std::fs::write(path, serde_json::to_string_pretty(file)?)?;
        Ok(())
    }
}

async fn raw_up(ground: &Ground, at_once: usize) -> Outcome<()> {
    ground.engine.prepare().await?;
    let starts = stream::iter(1..=ground.runners).map(|number| async move {
        let plan = ground.plan(number);
        files::prepare_files(&plan, &ground.paths, &files::host_view())?;
        let options = CreateContainerOptionsBuilder::default().name(&plan.name).build();
        let made = ground.client.create_container(Some(options), ground.body(&plan)).await?;
        ground.client.start_container(&made.id, None::<StartContainerOptions>).await?;
        Ok::<_, Box<dyn Error>>(())
    });
    starts.buffer_unordered(at_once).try_collect().await
}

async fn raw_down(ground: &Ground, at_once: usize) -> Outcome<()> {
    let removals = stream::iter(1..=ground.runners).map(|number| async move {
        let plan = ground.plan(number);
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        ground.client.remove_container(&plan.name, Some(options)).await?;
        let volume = translate::work_volume(&ground.project, plan.incarnation);
        let options = RemoveVolumeOptionsBuilder::default().build();
        ground.client.remove_volume(&volume, Some(options)).await?;
        Ok::<_, Box<dyn Error>>(())
    });
    removals.buffer_unordered(at_once).try_collect::<()>().await?;
    let network = translate::network_name(&ground.project);
    match ground.client.remove_network(&network).await {
        Err(error) if error.to_string().contains(MISCOUNTED) => {
            eprintln!("the network stays: {error}");
            Ok(())
        }
        done => Ok(done?),
    }
}

fn compose(ground: &Ground, arguments: &[&str]) -> Outcome<()> {
    let folder = ground.folder.path().join("compose");
    std::fs::write(folder.join("started"), "")?;
    let project = format!("{}c", ground.project.name);
    let arguments = [&["-p", project.as_str()], arguments].concat();
    run(Path::new("docker-compose"), &arguments, &folder)
}

fn slate(ground: &Ground, program: &Path, arguments: &[&str]) -> Outcome<()> {
    run(&program.canonicalize()?, arguments, &ground.folder.path().join("slate"))
}

fn run(program: &Path, arguments: &[&str], folder: &Path) -> Outcome<()> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if words.contains(MISCOUNTED) {
        eprintln!("the network stays: {words}");
        return Ok(());
    }
    Err(format!("{} {}: {words}", program.display(), arguments.join(" ")).into())
}
