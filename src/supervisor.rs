//! The shell: the one loop that feeds the core, and what carries out its effects.
//!
//! [`run`] is the whole life of a supervisor: take the state folder, open the store, adopt what is
//! there, serve, leave. Killing it at any moment is safe; starting is the same as recovering.

pub mod clock;
mod core_loop;
mod descriptors;
mod disk;
mod executor;
pub mod forge_report;
mod forges;
pub mod gc;
mod gpus;
pub mod handle;
mod keeper;
mod metered;
pub mod notifier;
mod proxies;
mod recorder;
pub mod report_door;
mod reports;
mod runners_file;
mod secrets;
mod shortage;
mod start;
pub mod usage;
mod watch;
mod webhooks;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use self::metered::Metered;
use self::watch::Calls;
use crate::agents::AgentsError;
use crate::api::listen::ListenError;
use crate::engine::files::FilesError;
use crate::engine::translate::LABEL_FLEET;
use crate::engine::{Engine, EngineError, OtherFleet};
use crate::failpoint::reach;
use crate::fleet::effect::Refusal;
use crate::fleet::event::DownMode;
use crate::fleet::host::HostFacts;
use crate::ids::{FleetId, ProjectName};
use crate::inventory::GpuSources;
use crate::logs::LogError;
use crate::metrics::{Meters, MetricsError};
use crate::spec::Spec;
use crate::state_dir::StateDir;
use crate::store::StoreError;
use crate::units::words::counted;

/// What a supervisor is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The state folder; made if it is missing.
    pub state: StateDir,
    /// What the fleet should be; as recorded if none.
    pub spec: Option<Spec>,
    /// What this host has; its cards are looked for by the supervisor itself.
    pub host: HostFacts,
    /// Where cards are looked for.
    pub gpus: GpuSources,
    /// Where the API is reached beside its socket, instead of where the spec says.
    pub listen: Option<String>,
    /// What to do at the start.
    pub intent: Intent,
}

/// What a supervisor is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Keep the fleet as the spec says.
    Keep,
    /// Remove what is there, and end.
    Remove(DownMode),
}

/// Why a supervisor cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Another one holds the state folder.
    #[error("a supervisor (process {pid}) already holds {}", folder.display())]
    Held {
        /// The state folder.
        folder: PathBuf,
        /// Its process id.
        pid: String,
    },
    /// Another fleet uses the name.
    #[error(
        "the engine already has {count} of another fleet named `{project}` (id \
         {fleet}); choose another `project:`, or take that one down where it was started. If its \
         state folder is lost, remove what is left of it: `docker ps -aq --filter \
         label={LABEL_FLEET}={fleet} | xargs docker rm -fv; docker volume ls -q --filter \
         label={LABEL_FLEET}={fleet} | xargs docker volume rm`",
        count = counted(other.objects.containers, "container"), fleet = other.fleet
    )]
    NameTaken {
        /// The name.
        project: ProjectName,
        /// Whose it is.
        other: OtherFleet,
    },
    /// Two fleets would write one file.
    #[error(
        "another fleet's supervisor writes {}; fleets in one folder need names of their own: \
         `slate-fleet -p NAME up`", path.display()
    )]
    FileTaken {
        /// The file.
        path: PathBuf,
    },
    /// Nothing says what the fleet is.
    #[error("there is no fleet here: neither a fleet file nor a recorded one")]
    NoFleet,
    /// The spec asks for what this host or file does not allow.
    #[error("{0}")]
    Refused(#[source] Refusal),
    /// A file or folder of the state is not usable.
    #[error("cannot {action} {}", path.display())]
    Folder {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The engine cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store cannot be used. What it did not take was not done either.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The files that runners see cannot be made.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The agents' side cannot be served.
    #[error(transparent)]
    Agents(#[from] AgentsError),
    /// Job output cannot be kept.
    #[error(transparent)]
    Logs(#[from] LogError),
    /// The API cannot be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Nothing can be counted.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// Runs a supervisor until its fleet is down. `connect` makes the engine once the fleet's identity
/// is known. Dropping the future is safe: runners and their jobs go on, and the next supervisor
/// adopts them.
///
/// # Errors
/// When it cannot start, or cannot record any more. Runners go on in either case.
pub async fn run<E: Engine>(
    options: Options,
    connect: impl FnOnce(&ProjectName, &FleetId) -> Result<E, EngineError>,
) -> Result<(), SupervisorError> {
    let lock = start::take(&options.state)?;
    reach(|| "after taking the state folder".to_owned());
    let opened = start::open(&options)?;
    reach(|| "after opening the store".to_owned());
    let wanted = options.spec.as_ref().unwrap_or(&opened.spec);
    let runners_file = match options.intent {
        Intent::Keep => runners_file::claim(wanted)?,
        Intent::Remove(_) => runners_file::Writer::default(),
    };
    let meters = Arc::new(Meters::new()?);
    let engine = connect(&opened.spec.project, &opened.fleet)?;
    let engine = Arc::new(Metered::new(engine, Arc::clone(&meters)));
    let info = start::prepare(options.intent, &opened.spec.project, &engine).await?;
    reach(|| "after preparing the engine".to_owned());
    let (events, events_in) = mpsc::channel(EVENTS_MAX);
    let ground = start::Ground {
        options: &options,
        engine: Arc::clone(&engine),
        info,
        events: events.clone(),
        meters,
        connections: descriptors::raise(),
    };
    let parts = start::assemble(opened, ground)?;
    reach(|| "after putting the parts together".to_owned());
    let cards =
        gpus::start(options.gpus.clone(), parts.executor.clock().clone(), events.clone()).await;
    let disk_watcher = tokio::spawn(disk::watch(
        parts.disks.places.clone(),
        Arc::clone(&parts.disks.ballast),
        events.clone(),
        Arc::clone(&parts.disks.soon),
    ));
    let watcher = tokio::spawn(watch::watch(
        Arc::clone(&engine),
        parts.executor.clock(),
        events,
        Calls { relist: parts.executor.relist(), lost: Arc::clone(&parts.lost) },
    ));
    let ended = core_loop::run(&options, parts, events_in, &cards.first, runners_file).await;
    drop(cards);
    watcher.abort();
    disk_watcher.abort();
    if ended.is_err() {
        leave_nothing_empty(&engine).await;
    }
    ended?;
    reach(|| "before the last sweep".to_owned());
    let swept = engine.sweep().await?;
    reach(|| "after the last sweep".to_owned());
    tracing::info!(?swept, "the project's network and leftovers are removed");
    start::let_go(&options.state, &lock)
}

/// After a failure: a network without runners was made for nothing. With runners all stays as it
/// is.
async fn leave_nothing_empty<E: Engine>(engine: &Arc<E>) {
    let swept = match engine.list().await {
        Ok(runners) if runners.is_empty() => engine.sweep().await.map(drop),
        Ok(_) => return,
        Err(error) => Err(error),
    };
    if let Err(error) = swept {
        tracing::warn!("cannot remove the network again: {}", error.describe());
    }
}

/// Events that wait for the loop; beyond it the senders wait, and so do engine and agents.
const EVENTS_MAX: usize = 4096;
