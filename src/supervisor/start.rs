//! Starting, which is recovering: the same steps after a first `up` and after a crash.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, mpsc};

use super::clock::Clock;
use super::descriptors::Connections;
use super::disk::{self, Ballast, Place};
use super::executor::{Executor, Workplace};
use super::forges::Forges;
use super::secrets::Secrets;
use super::{Intent, Options, SupervisorError};
use crate::agents::{Access, AgentLimits, Agents, AgentsConfig, embedded};
use crate::engine::{Engine, EngineInfo, HostPaths, OtherFleet, Project, files};
use crate::fleet::Fleet;
use crate::fleet::disk::DiskFacts;
use crate::fleet::event::{AgentEvent, Event, Held};
use crate::fleet::job::JobState;
use crate::fleet::runner::Runner;
use crate::fleet::state::Restored;
use crate::ids::{FleetId, IncarnationId, ProjectName};
use crate::logs::LogStore;
use crate::metrics::{Lives, Meters};
use crate::spec::{Pool, Spec};
use crate::state_dir::StateDir;
use crate::store::{Store, checkpoint};
use crate::units::Time;

/// What the loop works with.
pub(super) struct Parts<E: Engine> {
    pub fleet: Fleet,
    pub store: Store,
    pub executor: Arc<Executor<E>>,
    pub logs: Arc<LogStore>,
    pub disks: Disks,
    pub rolled_back: Option<Event>,
    /// Told when an agent's session ends.
    pub lost: Arc<Notify>,
    pub connections: Connections,
    /// Which fleet this is.
    pub identity: FleetId,
    pub meters: Arc<Meters>,
    pub lives: Lives,
}

/// What the parts are made of, beside the opened state.
pub(super) struct Ground<'a, E> {
    pub options: &'a Options,
    pub engine: Arc<E>,
    pub info: EngineInfo,
    pub events: mpsc::Sender<Event>,
    pub meters: Arc<Meters>,
    pub connections: Connections,
}

/// The watch over the disks.
pub(super) struct Disks {
    pub places: Vec<Place>,
    pub ballast: Arc<Ballast>,
    /// Asks for a look before its time.
    pub soon: Arc<Notify>,
    /// What the first look found.
    pub found: Vec<DiskFacts>,
}

/// The opened state.
pub(super) struct Opened {
    pub store: Store,
    pub restored: Restored,
    pub fleet: FleetId,
    pub spec: Spec,
    pub rolled_back: Option<Event>,
}

/// Takes the state folder for this process; the lock goes with the process, however it ends.
pub(super) fn take(state: &StateDir) -> Result<File, SupervisorError> {
    for folder in [state.root(), &state.blobs()] {
        make_private(folder)?;
    }
    keep_out_of_git(state.root())?;
    let path = state.lock();
    let failed = |action| {
        let path = path.clone();
        move |source| SupervisorError::Folder { action, path, source }
    };
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            return Err(SupervisorError::Held { folder: state.root().to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
    }
    file.set_len(0).map_err(failed("write"))?;
    writeln!(file, "{}", std::process::id()).map_err(failed("write"))?;
    Ok(file)
}

/// Empties the lock: whoever finds a process id in it, and the lock free, knows that this
/// supervisor did not come to its end.
pub(super) fn let_go(state: &StateDir, lock: &File) -> Result<(), SupervisorError> {
    lock.set_len(0).map_err(|source| SupervisorError::Folder {
        action: "write",
        path: state.lock(),
        source,
    })
}

fn make_private(folder: &Path) -> Result<(), SupervisorError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| {
        SupervisorError::Folder { action: "make", path: folder.to_owned(), source }
    })
}

/// The state folder stands in the operator's project; nobody wants it in a commit.
fn keep_out_of_git(root: &Path) -> Result<(), SupervisorError> {
    let path = root.join(".gitignore");
    match path.exists() {
        true => Ok(()),
        false => fs::write(&path, "*\n").map_err(|source| SupervisorError::Folder {
            action: "write",
            path,
            source,
        }),
    }
}

/// Opens the store and reads what was recorded.
pub(super) fn open(options: &Options) -> Result<Opened, SupervisorError> {
    let store = Store::open_beside(&options.state.database(), &options.state.traces())?;
    let fleet = store.fleet_id(random_id)?;
    let restored = store.restore()?;
    let recorded = restored.meta.spec.clone();
    let spec = recorded.or_else(|| options.spec.clone()).ok_or(SupervisorError::NoFleet)?;
    let rolled_back = compare(&options.state.audit_head(), &store)?;
    Ok(Opened { store, restored, fleet, spec, rolled_back })
}

/// A database that is older than its checkpoint is a backup that was brought back, or one whose end
/// was cut off. Both are used: a fleet must go on. Both are told, aloud and in the record.
fn compare(path: &Path, store: &Store) -> Result<Option<Event>, SupervisorError> {
    let known = match checkpoint::read(path) {
        Ok(Some(known)) => known,
        Ok(None) => return Ok(None),
        Err(error) => {
            tracing::warn!(%error, "cannot read {}; it is written anew", path.display());
            return Ok(None);
        }
    };
    if !store.is_behind(known)? {
        return Ok(None);
    }
    let found = store.head().seq;
    tracing::warn!(
        "the state is older than it was: its audit log ends at entry {found} and had entry {}; a \
         backup was brought back, or entries were removed. What happened in between is not known",
        known.seq
    );
    Ok(Some(Event::RolledBack { known: known.seq, found }))
}

fn random_id() -> FleetId {
    let mut bytes = [0u8; 8];
    // Without randomness the process id still tells two state folders of one moment apart.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        bytes = u64::from(std::process::id()).to_be_bytes();
    }
    FleetId::new(format!("{:016x}", u64::from_be_bytes(bytes)))
}

/// Makes sure of the engine, and that the name is ours on it. Whoever only removes needs no name:
/// what is another fleet's is not found.
pub(super) async fn prepare<E: Engine>(
    intent: Intent,
    project: &ProjectName,
    engine: &Arc<E>,
) -> Result<EngineInfo, SupervisorError> {
    let info = engine.info().await?;
    tracing::info!(version = %info.version, api = %info.api, "the engine answers");
    for warning in &info.warnings {
        tracing::warn!("engine: {warning}");
    }
    match intent {
        Intent::Remove(_) => return Ok(info),
        Intent::Keep => {}
    }
    // An empty network alone is what an earlier fleet could not remove; it is used again.
    let is_there = |other: &OtherFleet| other.objects.containers + other.objects.volumes > 0;
    if let Some(other) = engine.others().await?.into_iter().find(is_there) {
        return Err(SupervisorError::NameTaken { project: project.clone(), other });
    }
    engine.prepare().await?;
    Ok(info)
}

/// Puts the parts together: agents first, so that those of before are let in as soon as they knock.
pub(super) fn assemble<E: Engine>(
    opened: Opened,
    ground: Ground<'_, E>,
) -> Result<Parts<E>, SupervisorError> {
    let Opened { store, restored, fleet, spec, rolled_back } = opened;
    let Ground { options, engine, info, events, meters, connections } = ground;
    let recorded = store.audit(0, 1)?.last().map_or(Time(0), |entry| entry.at);
    let clock = Clock::start_at_least(recorded);
    let wanted = options.spec.as_ref().unwrap_or(&spec);
    warn_of_cards(wanted, &info);
    let paths = prepare_files(&options.state, wanted, &restored)?;
    let logs = Arc::new(LogStore::new(options.state.clone(), wanted.limits.log_max)?);
    let ballast = Ballast::new(&options.state, Arc::clone(&logs));
    let disks = watch_disks(&options.state, &wanted.reports.path, info.data_root.clone(), ballast);
    let config = AgentsConfig {
        state: options.state.clone(),
        fleet: fleet.clone(),
        project: spec.project.clone(),
        endpoint: crate::agents::ENDPOINT.to_owned(),
        access: Access::for_this_user(),
        limits: agent_limits(&connections),
        clock: clock.reader(),
        admitted: restored.runners.iter().map(admitted).collect(),
    };
    let (agents, lost) = serve_agents(config, &logs, events.clone())?;
    let project = Project { name: spec.project.clone(), fleet: fleet.clone() };
    let identity = fleet;
    let lives = Lives::of(&restored);
    let fleet = Fleet::restore(spec, restored, clock.now());
    let secrets = Secrets::of_this_process();
    let forges = Forges::new(secrets, Arc::clone(&meters), clock.clone(), events.clone());
    let workplace = Workplace {
        engine,
        agents,
        forges,
        logs: Arc::clone(&logs),
        paths,
        clock,
        project,
        data_root: info.data_root,
    };
    let executor = Executor::new(workplace, events, options.host.cpus);
    Ok(Parts {
        fleet,
        store,
        executor,
        logs,
        disks,
        rolled_back,
        lost,
        connections,
        identity,
        meters,
        lives,
    })
}

/// Makes sure of the files that runners see, and lets those go that nobody needs.
fn prepare_files(
    state: &StateDir,
    wanted: &Spec,
    restored: &Restored,
) -> Result<HostPaths, SupervisorError> {
    let paths =
        HostPaths { state: state.clone(), reports: wanted.reports.clone(), ca: wanted.ca.clone() };
    files::prepare_shared(&paths)?;
    drop_unused_blobs(state, restored)?;
    embedded::install(state)?;
    Ok(paths)
}

/// Lets agents in. What they say goes to the loop, and the end of a session is told beside it.
fn serve_agents(
    config: AgentsConfig,
    logs: &Arc<LogStore>,
    events: mpsc::Sender<Event>,
) -> Result<(Arc<Agents>, Arc<Notify>), SupervisorError> {
    let (facts, facts_in) = mpsc::channel(super::EVENTS_MAX);
    let agents = Agents::start(config, facts, Arc::clone(logs))?;
    let lost = Arc::<Notify>::default();
    tokio::spawn(forward(facts_in, events, Arc::clone(&lost)));
    Ok((agents, lost))
}

fn agent_limits(connections: &Connections) -> AgentLimits {
    AgentLimits {
        handshakes_max: AgentLimits::DEFAULT.handshakes_max.min(connections.agents),
        connections_max: connections.agents,
        ..AgentLimits::DEFAULT
    }
}

/// Tells what the engine does to containers with cards, where the file asks for any.
fn warn_of_cards(spec: &Spec, info: &EngineInfo) {
    let has_card =
        |pool: &Pool| spec.profiles.get(&pool.profile).is_some_and(|it| it.gpu.is_some());
    if spec.pools.iter().any(has_card)
        && let Some(warning) = info.card_warning(spec.gpu.request)
    {
        tracing::warn!("engine: {warning}");
    }
}

/// Looks at the disks for the first time, before anything is given out.
fn watch_disks(
    state: &StateDir,
    reports: &Path,
    engine: Option<PathBuf>,
    ballast: Ballast,
) -> Disks {
    let place = |path: &Path, holds| Place { path: path.to_owned(), holds };
    let mut places = vec![place(state.root(), "state"), place(reports, "reports")];
    places.extend(engine.map(|path| Place { path, holds: "engine" }));
    let ballast = Arc::new(ballast);
    let found = disk::look(&places, &ballast);
    Disks { places, ballast, soon: Arc::new(Notify::new()), found }
}

/// Working folders whose job was never recorded, or is over: an upload or a clean-up was cut off.
fn drop_unused_blobs(state: &StateDir, restored: &Restored) -> Result<(), SupervisorError> {
    let folder = state.blobs();
    let failed = |action| {
        let path = folder.clone();
        move |source| SupervisorError::Folder { action, path, source }
    };
    let is_needed = |name: &OsStr| {
        restored.jobs.iter().any(|job| {
            let is_over = matches!(job.state, JobState::Ended { .. });
            let blob = job.spec.workspace.as_ref().filter(|_| !is_over);
            blob.is_some_and(|blob| OsStr::new(blob.as_str()) == name)
        })
    };
    for entry in fs::read_dir(&folder).map_err(failed("read"))? {
        let entry = entry.map_err(failed("read"))?;
        if !is_needed(&entry.file_name()) {
            fs::remove_file(entry.path()).map_err(failed("clean up"))?;
        }
    }
    Ok(())
}

fn admitted(runner: &Runner) -> (IncarnationId, Option<Held>) {
    (runner.id, runner.job().map(|(job, attempt)| Held { job, attempt }))
}

async fn forward(
    mut facts: mpsc::Receiver<(IncarnationId, AgentEvent)>,
    events: mpsc::Sender<Event>,
    lost: Arc<Notify>,
) {
    while let Some((incarnation, event)) = facts.recv().await {
        if event == AgentEvent::Disconnected {
            lost.notify_one();
        }
        if events.send(Event::Agent { incarnation, event }).await.is_err() {
            return;
        }
    }
}
