//! The real agent program against a real server, over a temporary state folder.
//!
//! The agent runs here as an ordinary process; that it is process 1 in a container changes only how
//! it finds what to kill.

mod agent {
    pub mod bench;
    mod enrolment;
    mod jobs;
    mod reconnect;
    mod workspaces;
}
