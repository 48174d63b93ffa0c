//! Starting, which is recovering: the same steps after a first `up` and after a crash.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;

use super::clock::Clock;
use super::executor::{Executor, Workplace};
use super::{Intent, Options, SupervisorError};
use crate::agents::{Access, AgentLimits, Agents, AgentsConfig, embedded};
use crate::engine::{Engine, HostPaths, OtherFleet, files};
use crate::fleet::Fleet;
use crate::fleet::event::{AgentEvent, Event, Held};
use crate::fleet::job::JobState;
use crate::fleet::runner::Runner;
use crate::fleet::state::Restored;
use crate::ids::{FleetId, IncarnationId, ProjectName};
use crate::logs::LogStore;
use crate::spec::Spec;
use crate::state_dir::StateDir;
use crate::store::Store;

/// What the loop works with.
pub(super) struct Parts<E: Engine> {
    pub fleet: Fleet,
    pub store: Store,
    pub executor: Arc<Executor<E>>,
    pub logs: Arc<LogStore>,
}

/// The opened state.
pub(super) struct Opened {
    pub store: Store,
    pub restored: Restored,
    pub fleet: FleetId,
    pub spec: Spec,
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
    let store = Store::open(&options.state.database())?;
    let fleet = store.fleet_id(random_id)?;
    let restored = store.restore()?;
    let recorded = restored.meta.spec.clone();
    let spec = recorded.or_else(|| options.spec.clone()).ok_or(SupervisorError::NoFleet)?;
    Ok(Opened { store, restored, fleet, spec })
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
) -> Result<(), SupervisorError> {
    let info = engine.info().await?;
    tracing::info!(version = %info.version, api = %info.api, "the engine answers");
    for warning in &info.warnings {
        tracing::warn!("engine: {warning}");
    }
    match intent {
        Intent::Remove(_) => return Ok(()),
        Intent::Keep => {}
    }
    // An empty network alone is what an earlier fleet could not remove; it is used again.
    let is_there = |other: &OtherFleet| other.objects.containers + other.objects.volumes > 0;
    if let Some(other) = engine.others().await?.into_iter().find(is_there) {
        return Err(SupervisorError::NameTaken { project: project.clone(), other });
    }
    engine.prepare().await?;
    Ok(())
}

/// Puts the parts together: agents first, so that those of before are let in as soon as they knock.
pub(super) fn assemble<E: Engine>(
    options: &Options,
    opened: Opened,
    engine: Arc<E>,
    events: mpsc::Sender<Event>,
) -> Result<Parts<E>, SupervisorError> {
    let Opened { store, restored, fleet, spec } = opened;
    let clock = Clock::start();
    let wanted = options.spec.as_ref().unwrap_or(&spec);
    let paths = HostPaths {
        state: options.state.clone(),
        reports: wanted.reports.clone(),
        ca: wanted.ca.clone(),
    };
    files::prepare_shared(&paths)?;
    drop_unused_blobs(&options.state, &restored)?;
    embedded::install(&options.state)?;
    let logs = Arc::new(LogStore::new(options.state.clone(), wanted.limits.log_max)?);
    let (facts, facts_in) = mpsc::channel(super::EVENTS_MAX);
    let config = AgentsConfig {
        state: options.state.clone(),
        fleet,
        project: spec.project.clone(),
        endpoint: crate::agents::ENDPOINT.to_owned(),
        access: Access::for_this_user(),
        limits: AgentLimits::DEFAULT,
        clock: clock.reader(),
        admitted: restored.runners.iter().map(admitted).collect(),
    };
    let agents = Agents::start(config, facts, Arc::clone(&logs))?;
    tokio::spawn(forward(facts_in, events.clone()));
    let fleet = Fleet::restore(spec, restored, clock.now());
    let workplace = Workplace { engine, agents, logs: Arc::clone(&logs), paths, clock };
    let executor = Executor::new(workplace, events, options.host.cpus);
    Ok(Parts { fleet, store, executor, logs })
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
) {
    while let Some((incarnation, event)) = facts.recv().await {
        if events.send(Event::Agent { incarnation, event }).await.is_err() {
            return;
        }
    }
}
