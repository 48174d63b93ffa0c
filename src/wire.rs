//! The protocol between the supervisor and the agents, in types that both sides share.
//!
//! A session is one mutual TLS 1.3 connection that carries frames (`frame`): JSON messages
//! (`message`), output of jobs, and working folders. Nothing here does I/O. The types mirror the
//! core's alphabets on purpose, so that the protocol only changes when somebody changes it here.

use std::time::Duration;

pub mod enrolment;
pub mod frame;
pub mod listen;
pub mod message;
pub mod stream;

/// The newest version of the protocol that this program speaks.
pub const PROTOCOL: u16 = 1;

/// The oldest version that this program still speaks.
pub const PROTOCOL_OLDEST: u16 = 1;

/// How often an agent says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// Without any word for this long a session counts as lost: three heartbeats.
pub const SILENCE: Duration = Duration::from_secs(15);

/// Until TLS and the first message are done; a healthy local handshake takes milliseconds.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// The name in the supervisor's certificate. It is never resolved; agents compare it.
pub const SERVER_NAME: &str = "supervisor.slate-fleet.internal";

/// Most output that an agent keeps unacknowledged before it stops reading the job's pipes.
pub const UNACKNOWLEDGED_MAX: usize = 1024 * 1024;
