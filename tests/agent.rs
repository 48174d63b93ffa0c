//! The real agent program against a real server, over a temporary state folder.
//!
//! The agent runs here as an ordinary process; that it is process 1 in a container changes only how
//! it finds what to kill.
#![cfg(feature = "fleet")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and measure time themselves"
)]

mod agent {
    pub mod bench;
    mod enrolment;
    mod jobs;
    mod listeners;
    mod reconnect;
    mod stand_in;
    mod workspaces;
}
