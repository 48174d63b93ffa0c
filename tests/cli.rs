//! The API over a real socket, and the real command line, before a fleet that is played.
//!
//! What is behind the loop's handle is a script (`cli/fake.rs`); everything before it is real: the
//! socket, HTTP, the client, the program with its arguments, streams and exit codes.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod cli {
    mod access;
    mod api;
    mod audit;
    mod changes;
    mod dashboard;
    mod description;
    mod doctor;
    pub mod fake;
    mod forges;
    mod program;
    mod screen;
    mod shells;
    mod slow;
    mod steering;
    mod terminal;
}
