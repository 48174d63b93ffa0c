//! Everything that the core can ask of the world. Nothing else crosses the border outwards.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::death::Death;
use super::forge::{Enlistment, ForgeEntry, ListenOrder, RegisterOrder};
use super::gpu::GpuAccess;
use super::oom::Search;
use crate::ids::{
    AttemptNo, BlobId, CacheName, ContainerId, GpuUuid, ImageId, ImageRef, IncarnationId, JobId,
    OpId, PoolName, ProfileName, RequestId, ScopeUrl,
};
use crate::spec::{Cache, DockerAccess, GpuRequestKind, JobUser, Proxy, Reuse};
use crate::units::{Bytes, MilliCpu};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// An operation on the engine; its outcome comes back as an event.
    Engine {
        /// The number to report under.
        op: OpId,
        /// The runner that it is about.
        incarnation: IncarnationId,
        /// What to do.
        action: EngineAction,
    },
    /// An operation at a forge; its outcome comes back as an event.
    Forge {
        /// The number to report under.
        op: OpId,
        /// The runner that it is about; it may be gone already.
        incarnation: IncarnationId,
        /// What to do.
        action: ForgeAction,
    },
    /// Read a forge's runners and jobs soon: something is not known.
    LookAtForge(ScopeUrl),
    /// Find out what an image name means, pulling it if it is missing.
    ResolveImage(ImageRef),
    /// Tell an agent something. Lost if it is not connected: it says what it has when it connects.
    Agent {
        /// Which runner.
        incarnation: IncarnationId,
        /// What to tell.
        order: AgentOrder,
    },
    /// Answer a request.
    Answer {
        /// Which.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Move what the job wrote under `/reports` into the store, and look into its output.
    PublishReports {
        /// Whose folder.
        incarnation: IncarnationId,
        /// The job that wrote it.
        job: JobId,
        /// Which attempt of it.
        attempt: AttemptNo,
        /// `workflow/run_id`; nothing else of the folder is published.
        reports: String,
        /// What to look for in the end of its output, if anything.
        search: Option<Search>,
    },
    /// Move what a forge's job wrote under `/reports` into the store.
    PublishForgeReports {
        /// Whose folder.
        incarnation: IncarnationId,
        /// `workflow/run`; nothing else of the folder is published.
        reports: String,
    },
    /// A used working folder is needed no more.
    DropBlob(BlobId),
    /// A job is over: nothing more is written to its log, and readers come to its end.
    CloseLog(JobId),
    /// An ended job is forgotten; so is its output.
    DropLog(JobId),
    /// The runner is gone for good: forget its certificate and its private files.
    Forget(IncarnationId),
    /// List the containers soon: something is not known.
    Relist,
    /// Everything is removed; the supervisor can end.
    Finish,
}

/// An operation on the engine. All are safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAction {
    /// Make the container, unless one with this incarnation's label exists.
    Create(Box<ContainerPlan>),
    /// Start it.
    Start(ContainerId),
    /// Remove the container and the incarnation's work volume, whatever state they are in.
    Remove {
        /// The container, if it is known.
        container: Option<ContainerId>,
        /// The runner failed: what is left of it is looked at first.
        evidence: Option<Box<Death>>,
    },
}

/// An operation at a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgeAction {
    /// Register a runner for one job. What it registers with is a secret: it stays with the shell,
    /// for this incarnation's [`AgentOrder::Listen`], and is lost with the supervisor.
    /// Not safe to repeat: one whose outcome is unknown is given up, name and all.
    Register(Box<RegisterOrder>),
    /// Remove a runner, unless it has a job. Safe to repeat.
    Remove(ForgeEntry),
}

/// All that is needed to make one container. Two plans with equal `template` make equal runners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPlan {
    /// The incarnation, written into a label.
    pub incarnation: IncarnationId,
    /// The container's name.
    pub name: String,
    /// The image's content id.
    pub image: ImageId,
    /// The card leased.
    pub gpu: Option<GpuPlan>,
    /// The host's CPUs that the runner should see and use, when they are known.
    pub cpuset: Vec<u32>,
    /// What the runner is like.
    pub template: Template,
}

/// The card that a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuPlan {
    /// Which.
    pub uuid: GpuUuid,
    /// How.
    pub access: GpuAccess,
    /// How the file wants the engine to be asked, where it is asked.
    #[serde(default)]
    pub request: GpuRequestKind,
}

/// What runners of one pool are like; a change of it replaces them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The pool.
    pub pool: PoolName,
    /// The profile.
    pub profile: ProfileName,
    /// The image as the file names it.
    pub image: ImageRef,
    /// CPU limit.
    pub cpus: MilliCpu,
    /// Memory limit.
    pub memory: Bytes,
    /// Most processes and threads.
    pub pids: u32,
    /// Size of `/dev/shm`.
    pub shm: Bytes,
    /// Who a job runs as.
    pub user: JobUser,
    /// Environment of every job.
    pub env: BTreeMap<String, String>,
    /// Labels by which forges choose.
    pub labels: Vec<String>,
    /// How long a job may go on after it was asked to stop.
    pub stop_grace: Duration,
    /// Whether the container serves many jobs.
    pub reuse: Reuse,
    /// Interval of Docker's own health check, if wanted.
    pub docker_healthcheck: Option<Duration>,
    /// What outlives the container and is the pool's.
    #[serde(default)]
    pub caches: BTreeMap<CacheName, Cache>,
    /// Whether jobs reach the host's container engine.
    #[serde(default)]
    pub docker: DockerAccess,
    /// The forge whose jobs the runner takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<Enlistment>,
}

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentOrder {
    /// Run this job.
    Assign(Box<JobOrder>),
    /// Take a forge's jobs: register if that is still to be done, then start the listener. An agent
    /// that already does goes on.
    Listen(Box<ListenOrder>),
    /// End the listener: at once and well if it has no job; with one, as `patience` says.
    StopListening(Patience),
    /// Stop the job: TERM, grace, KILL to everything it started.
    Cancel {
        /// Which job.
        job: JobId,
        /// Which attempt.
        attempt: AttemptNo,
        /// Time between TERM and KILL.
        grace: Duration,
    },
    /// The end of this attempt is recorded; the agent may forget it.
    Acknowledge {
        /// Which job.
        job: JobId,
        /// Which attempt.
        attempt: AttemptNo,
    },
}

/// What happens to a forge's job whose listener is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It goes on, and so does the listener: the order is void.
    Spare,
    /// It is cancelled, and gets this long.
    Cancel(Duration),
}

/// A job as the agent gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobOrder {
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: AttemptNo,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The environment that the fleet sets (`SLATE_*` included), but for the proxies.
    pub env: BTreeMap<String, String>,
    /// The proxies that it is told of; their users and passwords are the shell's to read.
    pub proxy: Option<Proxy>,
    /// Who it runs as.
    pub user: JobUser,
    /// The working folder to unpack first; the server streams it.
    pub workspace: Option<BlobId>,
    /// `/reports/{workflow}/{run_id}`, made before the job starts.
    pub reports: String,
    /// Ends the job after this long.
    pub timeout: Duration,
    /// Time between TERM and KILL.
    pub stop_grace: Duration,
}

/// The core's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is recorded and will be done.
    Accepted,
    /// The job is recorded under this id.
    Submitted(JobId),
    /// The jobs are accepted; their numbers follow each other.
    SubmittedAll {
        /// The first.
        first: JobId,
        /// The last.
        last: JobId,
    },
    /// It is refused, and nothing was changed.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// What, why, and what to do, in one or two sentences.
    pub message: String,
}

/// Kinds of refusal; the CLI maps them to exit codes, the API to statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// No such job, runner, pool, profile.
    NotFound,
    /// The request itself is wrong.
    Invalid,
    /// It would exceed a bound.
    NoCapacity,
    /// The host lacks something for the moment; later it may go well.
    NotNow,
    /// Not in this state (the fleet is going down, the job has ended).
    Conflict,
}
