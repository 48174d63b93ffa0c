//! The port to container engines: what the executor may ask, and how failures are sorted.
//!
//! Adapters live below (`docker`); nothing outside them sees an HTTP status or an engine's own
//! types. Every call has its own deadline, so no caller needs one. Read `translate` for what a
//! runner container is, `files` for what must exist on the host before it is made.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use hyper::body::Bytes as Chunk;
use tokio::io::AsyncWrite;

use crate::causes::with_causes;
use crate::fleet::effect::ContainerPlan;
use crate::fleet::event::{ContainerFact, EngineEvent, OpError, OpErrorClass, Outcome};
use crate::ids::{ContainerId, FleetId, ImageId, ImageRef, IncarnationId, ProjectName};
use crate::spec::{GpuRequestKind, Reports};
use crate::state_dir::StateDir;
use crate::units::{Bytes, Time};

pub mod docker;
pub mod files;
mod inspection;
pub mod narrow;
pub mod survey;
pub mod translate;

pub use inspection::Inspection;

/// Whose containers these are: both must match before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The fleet file's project.
    pub name: ProjectName,
    /// The identity of the state folder.
    pub fleet: FleetId,
}

/// The folders and files of the host that runners see parts of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPaths {
    /// The state folder, as the engine's host names it.
    pub state: StateDir,
    /// The report store, and how much of it a runner sees.
    pub reports: Reports,
    /// The CA bundle that jobs should trust.
    pub ca: Option<PathBuf>,
}

/// A container engine, seen by one project.
///
/// Dropping a call's future leaves its outcome unknown, as a deadline does.
pub trait Engine: Send + Sync + 'static {
    /// What the engine is and can do; also agrees on the API version, so ask after each reconnect.
    fn info(&self) -> impl Future<Output = Result<EngineInfo, EngineError>> + Send;

    /// Makes what all runners of the project share (its network), unless it is there.
    fn prepare(&self) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Every container of this project and fleet, whatever its state.
    fn list(&self) -> impl Future<Output = Result<Vec<ContainerFact>, EngineError>> + Send;

    /// What happens to this project's containers from `since` on, in the engine's order.
    ///
    /// Ends with an error when the connection is lost or the consumer was too slow; then list and
    /// watch again from before the list. Never yields `Listed`, `Unreachable` or `Image`.
    fn watch(
        &self,
        since: Time,
    ) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send + Unpin + 'static;

    /// The image that a name means now; pulled when the engine does not have it.
    fn resolve_image(
        &self,
        image: &ImageRef,
    ) -> impl Future<Output = Result<ImageId, EngineError>> + Send;

    /// Makes a container, or finds the one that was made for this incarnation.
    ///
    /// `Gone` means that the image is no longer on the engine.
    /// [`files::prepare_files`] must have run for this plan.
    fn create(
        &self,
        plan: &ContainerPlan,
        paths: &HostPaths,
    ) -> impl Future<Output = Result<ContainerId, EngineError>> + Send;

    /// Starts a container; one that runs is left as it is.
    fn start(
        &self,
        container: &ContainerId,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Asks a container's first process to end and kills it after `grace`.
    fn stop(
        &self,
        container: &ContainerId,
        grace: Duration,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes an incarnation's container and volumes in whatever state they are; gone is done.
    fn remove(
        &self,
        container: Option<&ContainerId>,
        incarnation: IncarnationId,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The container of an incarnation, if there is one.
    fn find(
        &self,
        incarnation: IncarnationId,
    ) -> impl Future<Output = Result<Option<ContainerFact>, EngineError>> + Send;

    /// What the engine says of a container; none if it is gone.
    fn inspect(
        &self,
        container: &ContainerId,
    ) -> impl Future<Output = Result<Option<Inspection>, EngineError>> + Send;

    /// What a container uses now.
    fn stats(
        &self,
        container: &ContainerId,
    ) -> impl Future<Output = Result<ContainerStats, EngineError>> + Send;

    /// What a container's first process printed (the agent's own messages, not a job's output).
    fn container_logs(
        &self,
        container: &ContainerId,
        range: LogRange,
    ) -> impl Stream<Item = Result<OutputChunk, EngineError>> + Send + Unpin + 'static;

    /// Starts a program in a running container and connects to it.
    fn exec(
        &self,
        container: &ContainerId,
        request: &ExecRequest,
    ) -> impl Future<Output = Result<ExecSession, EngineError>> + Send;

    /// Tells a program's terminal its new size.
    fn resize_exec(
        &self,
        exec: &ExecId,
        size: TerminalSize,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The exit code of a program whose output has ended; none while it runs.
    fn exec_exit(
        &self,
        exec: &ExecId,
    ) -> impl Future<Output = Result<Option<i64>, EngineError>> + Send;

    /// Removes everything of this project and fleet but its caches and registrations: containers,
    /// volumes, the network.
    fn sweep(&self) -> impl Future<Output = Result<Swept, EngineError>> + Send;

    /// What carries this fleet's labels and may belong to a runner that is gone.
    fn leftovers(&self) -> impl Future<Output = Result<Vec<Leftover>, EngineError>> + Send;

    /// Removes one of them; gone is done.
    fn remove_leftover(
        &self,
        left: &Leftover,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The image that a name means now, if the engine has it; nothing is pulled.
    fn image_id(
        &self,
        image: &ImageRef,
    ) -> impl Future<Output = Result<Option<ImageId>, EngineError>> + Send;

    /// Removes an image under a name, never by force, if the name still means it.
    fn remove_image(
        &self,
        image: &ImageRef,
        id: &ImageId,
    ) -> impl Future<Output = Result<ImageEnd, EngineError>> + Send;

    /// Removes the caches and registrations of this project and fleet; how many. No container may
    /// be left.
    fn remove_caches(&self) -> impl Future<Output = Result<usize, EngineError>> + Send;

    /// Other fleets that use this project's name on the same engine.
    fn others(&self) -> impl Future<Output = Result<Vec<OtherFleet>, EngineError>> + Send;
}

/// What an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The engine's own identity; another one means another set of containers.
    pub id: String,
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// The API version in use, the lower of its newest and ours.
    pub api: String,
    /// The control group hierarchy that limits are written to.
    pub cgroups: CgroupVersion,
    /// How image layers are stacked.
    pub storage_driver: String,
    /// Logical CPUs of its host.
    pub cpus: u32,
    /// Memory of its host.
    pub memory: Bytes,
    /// Security features by name (`seccomp`, `apparmor`, `userns`, `rootless` …).
    pub security: Vec<String>,
    /// Who sets limits and device rules, `cgroupfs` or `systemd`, if it says so.
    pub cgroup_driver: Option<String>,
    /// Whether it lists NVIDIA's cards by their CDI names.
    pub lists_cards: bool,
    /// Names of the container runtimes it can use.
    pub runtimes: Vec<String>,
    /// Where it keeps images and containers, if that is on this host.
    pub data_root: Option<PathBuf>,
    /// What an operator should know: limits that this engine cannot enforce, its own warnings.
    pub warnings: Vec<String>,
}

impl EngineInfo {
    /// What an operator with NVIDIA cards should know: with the systemd driver, containers lose
    /// what a hook gave them whenever systemd is reloaded.
    #[must_use]
    pub fn card_warning(&self, request: GpuRequestKind) -> Option<String> {
        let by_hook = match request {
            GpuRequestKind::Nvidia => true,
            GpuRequestKind::Auto => !self.lists_cards,
            GpuRequestKind::Cdi => false,
        };
        (by_hook && self.cgroup_driver.as_deref() == Some("systemd")).then(|| {
            "its cgroup driver is systemd, so containers lose their NVIDIA cards whenever systemd \
             is reloaded (`systemctl daemon-reload`, package upgrades); such runners are replaced. \
             Switch CDI on (Docker 25 or newer) and set `gpu.request: cdi` to avoid it"
                .to_owned()
        })
    }
}

/// Which control group hierarchy an engine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy per controller.
    V1,
    /// The unified hierarchy.
    V2,
    /// The engine does not say.
    Unknown,
}

/// One reading of a container's use; rates are made of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// Processor time used so far.
    pub cpu: Duration,
    /// Memory in use, without the page cache that can be dropped.
    pub memory: Bytes,
    /// The memory limit.
    pub memory_limit: Bytes,
    /// Processes and threads.
    pub pids: u64,
}

/// Which part of a container's log to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// At most this many of the last lines; all if none.
    pub tail: Option<u32>,
    /// Whether to go on with what is printed later.
    pub follow: Follow,
}

/// Whether a log reader stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// End with what is there.
    No,
    /// Stay until the container ends.
    Yes,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where it was written to.
    pub source: OutputSource,
    /// The bytes as they were written.
    pub bytes: Chunk,
}

/// Where a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputSource {
    /// Standard output, or a terminal, where the two cannot be told apart.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A program to start in a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment beside the container's.
    pub env: BTreeMap<String, String>,
    /// Numeric `uid:gid`; the container's own user (root, without most rights) if none.
    pub user: Option<String>,
    /// The folder to start in; the container's if none.
    pub workdir: Option<String>,
    /// Whether it gets a terminal.
    pub terminal: Terminal,
}

/// Whether a program gets a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// Plain pipes.
    None,
    /// A terminal of this size.
    Sized(TerminalSize),
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// The engine's name for a program started by [`Engine::exec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecId(pub String);

/// Output as it arrives; ends when the program does.
pub type OutputStream = Pin<Box<dyn Stream<Item = Result<OutputChunk, EngineError>> + Send>>;

/// A connection to a program in a container.
pub struct ExecSession {
    /// Its name, for [`Engine::resize_exec`] and [`Engine::exec_exit`].
    pub id: ExecId,
    /// What it prints.
    pub output: OutputStream,
    /// What it reads; shutting it down is the end of its input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// A volume of an incarnation, or a network beside the fleet's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its name.
    pub name: String,
    /// Whose volume it is; none for a network.
    pub incarnation: Option<IncarnationId>,
}

/// What became of an image that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageEnd {
    /// It is gone; its size.
    Removed(Bytes),
    /// A container needs it.
    InUse,
    /// The name means another image, or none.
    Another,
}

/// What [`Engine::sweep`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// How much of what.
    pub objects: ObjectCount,
    /// What had to stay and does no harm, each with its reason.
    pub left: Vec<String>,
}

/// How much there is of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectCount {
    /// Containers.
    pub containers: usize,
    /// Work volumes.
    pub volumes: usize,
    /// Networks.
    pub networks: usize,
}

/// Another fleet's objects under this project's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherFleet {
    /// Its identity.
    pub fleet: FleetId,
    /// How many of what it has.
    pub objects: ObjectCount,
}

/// Why a call to the engine did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine answered no: it certainly did not happen.
    #[error("cannot {action}: {message}")]
    Refused {
        /// What was asked.
        action: String,
        /// What to do next.
        class: OpErrorClass,
        /// The engine's words, and ours where they say what to do.
        message: String,
    },
    /// No connection: nothing was sent.
    #[error("cannot {action}: the engine at {host} cannot be reached; is it running?")]
    Unreachable {
        /// What was to be asked.
        action: String,
        /// The engine's address.
        host: String,
        /// The system's words.
        source: BoxedError,
    },
    /// No answer in time: nobody knows whether it happened.
    #[error("cannot tell the outcome of: {action}; the engine did not answer within {after:?}")]
    Overdue {
        /// What was asked.
        action: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke, or the answer made no sense: nobody knows whether it happened.
    #[error("cannot tell the outcome of: {action}; the connection to the engine broke")]
    Broken {
        /// What was asked.
        action: String,
        /// The system's words.
        source: BoxedError,
    },
    /// The events came faster than they were taken, so some are lost: list again.
    #[error("cannot follow the engine's events: {dropped_after} wait already and are not taken")]
    Lagged {
        /// How many were kept.
        dropped_after: usize,
    },
    /// This engine or address cannot be used at all.
    #[error("cannot use the engine: {0}")]
    Unusable(String),
}

/// An error of a lower layer, whose type is no business of callers.
pub type BoxedError = Box<dyn StdError + Send + Sync>;

impl EngineError {
    /// What to do next; none when the outcome is unknown and has to be looked at first.
    #[must_use]
    pub fn class(&self) -> Option<OpErrorClass> {
        match self {
            Self::Refused { class, .. } => Some(*class),
            Self::Unreachable { .. } => Some(OpErrorClass::Retry),
            Self::Unusable(_) => Some(OpErrorClass::Fatal),
            Self::Overdue { .. } | Self::Broken { .. } | Self::Lagged { .. } => None,
        }
    }

    /// The error with all its causes, as one line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        with_causes(self)
    }

    /// The error as the core understands it.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        let message = self.describe();
        match self.class() {
            Some(class) => Outcome::Failed(OpError { class, message }),
            None => Outcome::Unknown(message),
        }
    }
}
