//! Where the command line touches what it is not: the fleet file, the supervisor, the engine.
//!
//! Verbs know only these functions, so that what is behind them can change without them.

use std::collections::HashMap;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::attach;
use super::context::note;
use super::failure::Failure;
use crate::causes::with_causes;
use crate::engine::docker::{DockerEngine, DockerEnv, EngineAddress};
use crate::engine::survey::EngineSurvey;
use crate::engine::{Engine, EngineError, Project};
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::fleet::event::{DownMode, Event};
use crate::fleet::forge::ForgeEntry;
use crate::fleet::state::Restored;
use crate::fleet::view::PlanView;
use crate::fleet_file::{self, FleetFile, FleetFileError};
use crate::ids::{ContainerId, FleetId, ImageRef, PoolName, ProjectName, ScopeUrl};
use crate::inventory::{GpuSources, Inventory};
use crate::spec::{ForgeAccess, ForgePool, Pool, RunnersOptions, Spec};
use crate::state_dir::StateDir;
use crate::store::Store;
use crate::supervisor::{self, Options, SupervisorError};
use crate::units::Time;
use crate::units::words::counted;
use crate::{inventory, spec};

/// Reads, merges and checks the fleet files.
pub(super) fn load_spec(files: &[PathBuf], project: Option<&str>) -> Result<Spec, Failure> {
    let file = load(files, project)?;
    if !file.loaded.warnings.is_empty() {
        note(file.loaded.warnings.to_string().trim_end());
    }
    Ok(file.loaded.spec)
}

/// The fleet files, resolved, as YAML with secrets masked.
pub(super) fn render_spec(files: &[PathBuf], project: Option<&str>) -> Result<String, Failure> {
    load(files, project).map(|file| file.loaded.render_masked())
}

/// The project that the files name, without `-p`; none if they cannot be read.
pub(super) fn project_of(files: &[PathBuf]) -> Option<ProjectName> {
    let request = fleet_file::Request::from_process(files.to_vec(), None).ok()?;
    fleet_file::own_project(&request)
}

fn load(files: &[PathBuf], project: Option<&str>) -> Result<FleetFile, Failure> {
    let project = project.map(str::to_owned);
    fleet_file::Request::from_process(files.to_vec(), project)
        .and_then(|request| fleet_file::load(&request))
        .map_err(|error| match error {
            FleetFileError::Invalid(findings) => Failure::findings(findings.to_string()),
            other => Failure::new(Exit::Usage, with_causes(&other)),
        })
}

/// The fleet file's JSON Schema.
pub(super) fn schema() -> Value {
    spec::schema()
}

/// The resources of this machine, or those that a file describes (`--inventory FILE`).
pub(super) fn inventory(file: Option<&Path>, gpus: &GpuSources) -> Result<Inventory, Failure> {
    match file {
        Some(file) => inventory::from_file(file).map_err(|it| (Exit::Usage, it)),
        None => inventory::local(gpus).map_err(|it| (Exit::Failed, it)),
    }
    .map_err(|(exit, error)| Failure::new(exit, with_causes(&error)))
}

/// The resources of this machine but for its cards, which the supervisor tells.
pub(super) fn without_cards() -> Result<Inventory, Failure> {
    inventory::without_cards().map_err(|error| Failure::new(Exit::Failed, with_causes(&error)))
}

/// What a spec would change while no supervisor runs: compared with what the state folder knows,
/// or from nothing.
pub(super) fn plan_offline(
    spec: &Spec,
    state: Option<&StateDir>,
    found: &Inventory,
) -> Result<PlanView, Failure> {
    let restored = match state {
        Some(state) if state.root().exists() => {
            Store::open_beside(&state.database(), &state.traces())
                .and_then(|store| store.restore())
                .map_err(|error| Failure::new(Exit::Failed, with_causes(&error)))?
        }
        Some(_) | None => Restored::default(),
    };
    let mut fleet = Fleet::restore(spec.clone(), restored, Time::default());
    // Nothing is decided without a list of containers, so there is nothing to be done about it.
    let _nothing = fleet
        .handle(Time::default(), vec![Event::Host(found.facts()), Event::Gpus(found.report())]);
    Ok(fleet.preview(spec))
}

/// What a supervisor is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// To keep the fleet as it should be.
    Supervise,
    /// To take down what a dead supervisor left, and to start nothing.
    Down(DownMode),
}

/// How a supervisor is started.
#[derive(Debug)]
pub(super) struct SuperviseOptions {
    /// Its state folder.
    pub state: StateDir,
    /// What to bring the fleet to; what the state says if none.
    pub spec: Option<Spec>,
    /// Whether it keeps the fleet or takes it down.
    pub intent: Intent,
    /// Where cards are looked for.
    pub gpus: GpuSources,
    /// Where the API is reached beside its socket, instead of where the file says (`SLATE_LISTEN`).
    pub listen: Option<String>,
}

/// Runs a supervisor until the fleet is down. Dropping it leaves the runners to the next one.
pub(super) async fn supervise(options: SuperviseOptions) -> Result<(), Failure> {
    start_log();
    let options = Options {
        state: options.state,
        spec: options.spec,
        host: without_cards()?.facts(),
        gpus: options.gpus,
        listen: options.listen,
        intent: match options.intent {
            Intent::Supervise => supervisor::Intent::Keep,
            Intent::Down(mode) => supervisor::Intent::Remove(mode),
        },
    };
    // Boxed: its future is large, and every verb would carry the space for it.
    let ended = Box::pin(supervisor::run(options, connect)).await;
    ended.map_err(|error| Failure::new(exit_of(&error), with_causes(&error)))
}

/// Removes the caches of the fleet that a state folder knows; without one there is none.
pub(super) async fn remove_caches(state: &StateDir) -> Result<(), Failure> {
    let path = state.database();
    if !path.exists() {
        return Ok(());
    }
    let failed = |error| Failure::new(Exit::Failed, with_causes(&error));
    let store = Store::open(&path).map_err(failed)?;
    let Some(spec) = store.restore().map_err(failed)?.meta.spec else { return Ok(()) };
    let fleet = store.fleet_id(|| FleetId::new("")).map_err(failed)?;
    let unreachable = |error: EngineError| Failure::new(Exit::Unreachable, error.describe());
    let engine = connect(&spec.project, &fleet).map_err(unreachable)?;
    let removed = engine.remove_caches().await.map_err(unreachable)?;
    if removed > 0 {
        note(&format!("removed {} of caches and registrations", counted(removed, "volume")));
    }
    Ok(())
}

/// What stays at forges when a fleet is gone.
#[derive(Debug, Default)]
pub(super) struct AtForges {
    /// Entries of runners that are gone, which could not be removed.
    pub left: Vec<ForgeEntry>,
    /// The pools whose right is no right to remove anything, and where their runners are listed.
    pub kept: Vec<(PoolName, ScopeUrl)>,
}

/// What stays at the forges of the fleet that a state folder knows.
pub(super) fn at_forges(state: &StateDir) -> Result<AtForges, Failure> {
    let path = state.database();
    if !path.exists() {
        return Ok(AtForges::default());
    }
    let failed = |error| Failure::new(Exit::Failed, with_causes(&error));
    let meta = Store::open(&path).map_err(failed)?.restore().map_err(failed)?.meta;
    let kept = |pool: &Pool| match pool.forge.as_ref() {
        Some(ForgePool { scope, access: ForgeAccess::Tokens(_), .. }) => {
            Some((pool.name.clone(), scope.clone()))
        }
        Some(_) | None => None,
    };
    let pools = meta.spec.iter().flat_map(|spec| &spec.pools);
    let left = meta.leftovers.into_values().filter(|it| !it.is_answered());
    Ok(AtForges { kept: pools.filter_map(kept).collect(), left: left.map(|it| it.entry).collect() })
}

/// Removes specification 1's file of the fleet that a state folder knows, unless it holds options
/// that only a person can have written.
pub(super) fn remove_runners_file(state: &StateDir) -> Result<(), Failure> {
    let database = state.database();
    if !database.exists() {
        return Ok(());
    }
    let failed = |error| Failure::new(Exit::Failed, with_causes(&error));
    let store = Store::open(&database).map_err(failed)?;
    let Some(spec) = store.restore().map_err(failed)?.meta.spec else { return Ok(()) };
    let Some(file) = &spec.runners_file else { return Ok(()) };
    let Ok(text) = fs::read_to_string(&file.path) else { return Ok(()) };
    let in_force = Some(spec.limits.max_parallel_workflows);
    let is_ours = spec::read_runners_file("", &text).is_ok_and(|options| {
        let own = RunnersOptions { max_parallel_workflows: in_force, ..RunnersOptions::default() };
        options == own
    });
    if !is_ours {
        note(&format!("{} holds options and stays", file.path.display()));
        return Ok(());
    }
    let removed = fs::remove_file(&file.path);
    removed
        .map_err(|error| Failure::system(format!("cannot remove {}", file.path.display()), &error))
}

fn connect(project: &ProjectName, fleet: &FleetId) -> Result<DockerEngine, EngineError> {
    let address = EngineAddress::choose(&DockerEnv::from_process())?;
    DockerEngine::connect(address, Project { name: project.clone(), fleet: fleet.clone() })
}

fn exit_of(error: &SupervisorError) -> Exit {
    match error {
        SupervisorError::Refused(refusal) => Failure::from_refusal(refusal).exit(),
        SupervisorError::Engine(_) => Exit::Unreachable,
        SupervisorError::NameTaken { .. }
        | SupervisorError::FileTaken { .. }
        | SupervisorError::NoFleet
        | SupervisorError::Held { .. }
        | SupervisorError::Folder { .. }
        | SupervisorError::Store(_)
        | SupervisorError::Files(_)
        | SupervisorError::Agents(_)
        | SupervisorError::Logs(_)
        | SupervisorError::Listen(_)
        | SupervisorError::Metrics(_) => Exit::Failed,
    }
}

/// The supervisor's own log goes to stderr; on a terminal only what needs somebody.
fn start_log() {
    let level = if std::io::stderr().is_terminal() { "warn" } else { "info" };
    let filter = std::env::var("SLATE_LOG").unwrap_or_else(|_| level.to_owned());
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false);
    // A second supervisor in one process (there is none) would share the first one's log.
    drop(log.try_init());
}

/// The labels of an image; none if the engine does not have it.
pub(super) async fn image_labels(
    image: &ImageRef,
) -> Result<Option<HashMap<String, String>>, EngineError> {
    connect(&ProjectName::new(""), &FleetId::new(""))?.image_labels(image).await
}

/// What the engine is, and whether it has these images; or why it does not answer.
pub(super) async fn engine(images: &[ImageRef]) -> Result<EngineSurvey, String> {
    let engine = connect(&ProjectName::new(""), &FleetId::new("")).map_err(|it| it.describe())?;
    engine.survey(images).await.map_err(|it| it.describe())
}

/// A program to run in a runner's container.
#[derive(Debug)]
pub(super) struct ExecOrder {
    /// Which container.
    pub container: ContainerId,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Numeric `uid:gid`; the container's own if none.
    pub user: Option<String>,
    /// The folder to start in.
    pub workdir: Option<String>,
    /// Whether it gets this terminal.
    pub terminal: ExecTerminal,
}

/// Whether a program gets the terminal of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExecTerminal {
    /// Plain pipes.
    Pipes,
    /// The terminal.
    Terminal,
}

/// Runs a program in a container; its exit code.
pub(super) async fn exec(order: ExecOrder) -> Result<i64, Failure> {
    let nobody = FleetId::new("");
    let engine = connect(&ProjectName::new(""), &nobody)
        .map_err(|error| Failure::new(Exit::Unreachable, error.describe()))?;
    attach::run(&engine, order).await
}
