//! Everything that the core can be told: facts and requests. Nothing else crosses the border
//! inwards.

mod request;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::audit::Client;
use super::disk::DiskFacts;
use super::forge::{ForgeEvent, ForgeOutcome, ListenerStatus};
use super::gpu::{GpuReport, XidReport};
use super::host::HostFacts;
use super::oom::Finding;
use crate::ids::{
    AttemptNo, ContainerId, ImageId, ImageRef, IncarnationId, JobId, OpId, RequestId,
};
use crate::units::{Bytes, Time};

pub use request::{
    Cordon, DownMode, JobSpec, Request, RestartTime, ScaleRequest, ScaleTarget, TokenChange,
};

/// One fact or request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// What the engine says of its containers.
    Engine(EngineEvent),
    /// The end of an operation that an effect asked for.
    Operation {
        /// The operation's number.
        op: OpId,
        /// How it ended.
        outcome: Outcome,
    },
    /// What a forge says.
    Forge(ForgeEvent),
    /// The end of an operation at a forge.
    ForgeOperation {
        /// The operation's number.
        op: OpId,
        /// How it ended.
        outcome: ForgeOutcome,
    },
    /// What the agent in a runner says.
    Agent {
        /// The runner's incarnation, proved by its certificate.
        incarnation: IncarnationId,
        /// What it says.
        event: AgentEvent,
    },
    /// What a client asks for; answered once under this number.
    Request {
        /// The number to answer under.
        id: RequestId,
        /// Who asks.
        by: Client,
        /// What is asked.
        request: Request,
    },
    /// What the job left under `/reports` is in the store, or why it is not.
    Published {
        /// Which job.
        job: JobId,
        /// Which attempt of it.
        attempt: AttemptNo,
        /// What went wrong, in words.
        outcome: Result<(), String>,
        /// What was found in the end of its output.
        found: Finding,
    },
    /// What a forge's job left under `/reports` is in the store, or why it is not.
    ForgePublished {
        /// Whose folder it was.
        incarnation: IncarnationId,
        /// `workflow/run`.
        reports: String,
        /// What went wrong, in words.
        outcome: Result<(), String>,
    },
    /// What the host has.
    Host(HostFacts),
    /// What the host's cards say now.
    Gpus(GpuReport),
    /// A driver reports trouble on a card.
    Xid(XidReport),
    /// Every disk that the fleet writes to.
    Disks(Vec<DiskFacts>),
    /// The record is older than it is known to have been.
    RolledBack {
        /// The last audit entry that is known to have been.
        known: u64,
        /// The last that is there.
        found: u64,
    },
    /// Time has passed.
    Tick,
}

/// What the engine says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineEvent {
    /// The complete list of this project's containers.
    Listed {
        /// When the list was asked for: it says nothing of operations that ended later.
        begun: Time,
        /// Every container that carries the project's label and this fleet's id.
        containers: Vec<ContainerFact>,
    },
    /// A container's first process was killed; by whom is asked, and told as its death. Whoever
    /// needs no cause goes on at once: the engine answers only when it has cleaned up.
    Ended {
        /// Which container.
        container: ContainerId,
        /// Its exit code.
        code: i64,
    },
    /// A container's first process ended.
    Died {
        /// Which container.
        container: ContainerId,
        /// How.
        exit: ContainerExit,
    },
    /// A container is gone.
    Removed {
        /// Which container.
        container: ContainerId,
    },
    /// The engine does not answer; nothing is known until the next list.
    Unreachable {
        /// The engine's or the system's words.
        why: String,
    },
    /// What an image name means on the engine now.
    Image {
        /// The name.
        image: ImageRef,
        /// Its content id, or why there is none.
        outcome: Result<ImageId, String>,
    },
}

/// One container of this project, as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFact {
    /// The engine's id.
    pub id: ContainerId,
    /// The incarnation, from the label.
    pub incarnation: IncarnationId,
    /// The state.
    pub state: ContainerState,
}

/// A container's state, sorted into what matters to decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its first process lives (also while paused or restarting).
    Running,
    /// Its first process ended.
    Exited(ContainerExit),
    /// The engine is removing it, or failed to (`removing`, `dead`).
    Removing,
}

/// How a container's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerExit {
    /// Exit code; 128 + signal when killed.
    pub code: i64,
    /// Whether the kernel killed something in it for memory.
    pub oom: bool,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A container was made.
    Created(ContainerId),
    /// Started, stopped, removed or found to be so already.
    Done,
    /// It certainly did not happen.
    Failed(OpError),
    /// Nobody knows whether it happened: look before acting again.
    Unknown(String),
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpError {
    /// What kind of failure it is.
    pub class: OpErrorClass,
    /// The engine's words.
    pub message: String,
}

/// In an [`OpError::message`]: what comes before are words that say what to do, and what follows is
/// what the engine said in this one case.
pub const EVIDENCE: &str = "; the engine says: ";

/// Failures sorted by what to do next; the core never sees an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpErrorClass {
    /// The object does not exist.
    Gone,
    /// Something else has the name.
    Conflict,
    /// May go well later: the engine is busy, unreachable or out of a resource.
    Retry,
    /// Will fail again until the operator changes something.
    Fatal,
}

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentEvent {
    /// A session is open. The agent says what it has, so that a restarted supervisor learns it.
    Connected {
        /// The job it runs now or whose end was not acknowledged yet.
        holding: Option<Held>,
    },
    /// The session is lost; the runner may live on.
    Disconnected,
    /// It is alive.
    Heartbeat,
    /// The container may no longer open a device that it was given.
    DeviceLost {
        /// Its node in the container.
        path: String,
    },
    /// Where the listener of its forge stands. Said at each change and in each new session.
    Listener(ListenerStatus),
    /// The job's first process runs.
    Started {
        /// Which job.
        job: JobId,
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The job is over and its processes are gone.
    Ended {
        /// Which job.
        job: JobId,
        /// Which attempt.
        attempt: AttemptNo,
        /// How.
        end: JobEnd,
    },
}

/// An attempt at a job, as the agent that holds it names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: AttemptNo,
}

/// How a job's processes ended, as the agent saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobEnd {
    /// It exited by itself.
    Exited(i32),
    /// A signal ended it that the fleet did not send.
    Signalled(i32),
    /// It was stopped because it took longer than its timeout.
    TimedOut,
    /// It was stopped because somebody cancelled it.
    Cancelled,
    /// The kernel killed it because its runner had no more memory.
    OutOfMemory,
    /// The same, by an agent that knows the figures.
    MemoryLimit {
        /// The most that its container ever had.
        peak: Option<Bytes>,
        /// The most that it may have.
        limit: Bytes,
    },
    /// The kernel killed it because the host had no more memory.
    HostMemory {
        /// The most that its container ever had.
        peak: Option<Bytes>,
    },
    /// Whoever drove it from outside said that it is over.
    Completed(TaskEnd),
    /// Its program is not in the runner.
    NoSuchProgram(String),
    /// Its program may not be run by the job's user.
    NotExecutable(String),
    /// It could not be started for another reason: workspace damaged, …
    NotStarted(String),
}

/// How work that was driven from outside ended, by the word of whoever drove it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskEnd {
    /// Well.
    Succeeded,
    /// Not well.
    Failed,
}
