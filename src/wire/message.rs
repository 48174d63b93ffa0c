//! The messages of a session, one enum for each direction.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptNo, BlobId, IncarnationId, JobId};
use crate::units::Bytes;
use crate::wire::listen::{ListenOrder, ListenerStatus};

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromAgent {
    /// The first message of a connection without a certificate: asks for one.
    Enrol(Enrol),
    /// The first message of a session.
    Hello(Hello),
    /// Asks for a fresh certificate for a new key, over the live session.
    Renew {
        /// The new public key: an uncompressed P-256 point, in hex.
        public_key: String,
    },
    /// It is alive.
    Heartbeat,
    /// A device that the container was given may no longer be opened; a new container has it again.
    /// Said before the job's end, and again and again while it lasts.
    DeviceLost {
        /// Its node in the container.
        path: String,
    },
    /// The job's first process runs. Said again in each new session.
    Started(JobRef),
    /// The job is over. Follows all of its output, and is said again in each new session until it
    /// is acknowledged.
    Ended {
        /// Which attempt.
        job: JobRef,
        /// How.
        end: End,
        /// More of an end for memory. Agents of before this was known leave it out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory: Option<MemoryKill>,
    },
    /// Where its forge's listener stands. Said at each change and again in each new session.
    Listener(ListenerStatus),
    /// It will not take this job: it holds another.
    Refused {
        /// What it was given.
        job: JobRef,
        /// What it holds.
        holding: JobRef,
    },
}

/// A request for the first certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// The newest protocol version that the agent speaks.
    pub protocol: u16,
    /// Who it says it is; must be what the nonce was made for.
    pub incarnation: IncarnationId,
    /// The nonce, in hex.
    pub nonce: String,
    /// Its public key: an uncompressed P-256 point, in hex.
    pub public_key: String,
}

impl std::fmt::Debug for Enrol {
    /// Leaves the nonce out: it is a secret until it is used.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrol").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}

/// The agent's first words in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest protocol version that the agent speaks.
    pub protocol: u16,
    /// The oldest protocol version that the agent speaks.
    pub protocol_oldest: u16,
    /// The agent's own version, for people.
    pub agent: String,
    /// The job it runs now, or whose end was not acknowledged yet.
    pub holding: Option<JobRef>,
}

/// One attempt at a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobRef {
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: AttemptNo,
}

impl std::fmt::Display for JobRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (attempt {})", self.job, self.attempt)
    }
}

/// What the kernel says of the memory that it killed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryKill {
    /// Where memory ran short.
    pub short: Short,
    /// The most that the container ever had.
    pub peak: Option<Bytes>,
    /// The most that it may have.
    pub limit: Option<Bytes>,
}

/// Where memory ran short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Short {
    /// In the container: it came to its limit.
    Container,
    /// On the host: the container never came to its limit.
    Host,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It exited by itself.
    Exited(i32),
    /// A signal ended it that the agent did not send.
    Signalled(i32),
    /// It was stopped because it took longer than its timeout.
    TimedOut,
    /// It was stopped because it was cancelled, or its container was asked to stop.
    Cancelled,
    /// The kernel killed it because its runner had no more memory.
    OutOfMemory,
    /// Its program is not in the runner.
    NoSuchProgram(String),
    /// Its program may not be run by the job's user.
    NotExecutable(String),
    /// It could not be started for another reason.
    NotStarted(String),
}

/// What the supervisor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromServer {
    /// The session is open.
    Welcome {
        /// The protocol version that both will speak.
        protocol: u16,
    },
    /// The certificate that was asked for.
    Certificate(IssuedCertificate),
    /// The connection is refused and will be closed.
    Refuse {
        /// What kind.
        reason: Refusal,
        /// In words.
        message: String,
    },
    /// Answers a heartbeat.
    HeartbeatSeen,
    /// Run this job. Its working folder follows in workspace frames, if it has one.
    Assign(Box<JobOrder>),
    /// The working folder is complete.
    WorkspaceEnd {
        /// Whose.
        job: JobRef,
    },
    /// The working folder cannot be sent.
    WorkspaceFailed {
        /// Whose.
        job: JobRef,
        /// Why.
        why: String,
    },
    /// Take a forge's jobs. An agent that already does goes on.
    Listen(Box<ListenOrder>),
    /// End the listener: at once if it has no job. With one it is cancelled if there is a grace,
    /// and goes on with it otherwise.
    StopListening {
        /// How long a job gets that is cancelled.
        cancel: Option<Duration>,
    },
    /// Stop the job.
    Cancel {
        /// Which.
        job: JobRef,
        /// Time between TERM and KILL.
        grace: Duration,
    },
    /// Output up to these offsets is written.
    OutputWritten {
        /// Whose.
        job: JobRef,
        /// Bytes of standard output.
        stdout: u64,
        /// Bytes of standard error.
        stderr: u64,
    },
    /// The end of this attempt is recorded; the agent may forget it.
    Acknowledge(JobRef),
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The two sides have no protocol version in common.
    Protocol,
    /// The nonce is unknown, used, too old, or made for another incarnation.
    Nonce,
    /// The supervisor does not know this incarnation, or has revoked it.
    NotAdmitted,
    /// Another session of this incarnation lives.
    AlreadyConnected,
    /// The first message was not what it had to be.
    Unexpected,
}

/// A certificate for the agent's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// The certificate (DER, in hex).
    pub certificate: String,
    /// How long it is valid from now on; relative, so that clocks need not agree.
    pub valid_for: Duration,
}

/// A job as the agent gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOrder {
    /// Which attempt.
    pub job: JobRef,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The environment that the fleet sets.
    pub env: BTreeMap<String, String>,
    /// User id inside the container.
    pub uid: u32,
    /// Group id inside the container.
    pub gid: u32,
    /// The working folder that follows.
    pub workspace: Option<BlobId>,
    /// `/reports/{workflow}/{run_id}`, made before the job starts.
    pub reports: String,
    /// Ends the job after this long.
    pub timeout: Duration,
    /// Time between TERM and KILL.
    pub stop_grace: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_as_they_were_written() {
        let job = JobRef { job: JobId(42), attempt: AttemptNo(1) };
        let ended = FromAgent::Ended { job, end: End::Exited(3), memory: None };
        let text = serde_json::to_string(&ended).unwrap();
        assert_eq!(text, r#"{"ended":{"job":{"job":42,"attempt":1},"end":{"exited":3}}}"#);
        assert_eq!(
            serde_json::from_str::<FromAgent>(&text).unwrap(),
            ended,
            "as agents of every version say it"
        );
    }

    #[test]
    fn the_nonce_is_not_in_debug_output() {
        let enrol = Enrol {
            protocol: 1,
            incarnation: IncarnationId(1),
            nonce: "canary".to_owned(),
            public_key: String::new(),
        };
        assert!(!format!("{:?}", FromAgent::Enrol(enrol)).contains("canary"));
    }
}
