//! The shell under fire: whatever dies, hangs or lies on the real engine, the fleet comes back.
//!
//! The bench is that of `tests/it`: each test has a fleet of its own, and leaves nothing behind.
#![cfg(feature = "fleet")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by a panic, helpers too"
)]

mod deaths;
#[expect(dead_code, reason = "the bench of another test program; not all of it is needed here")]
#[path = "../it/docker.rs"]
mod docker;
#[expect(dead_code, reason = "the bench of another test program; not all of it is needed here")]
#[path = "../it/fleet.rs"]
mod fleet;
mod hostile;
#[expect(dead_code, reason = "the bench of another test program; not all of it is needed here")]
#[path = "../it/http.rs"]
mod http;
mod kills;
mod lies;
mod outages;
#[expect(dead_code, reason = "the bench of another test program; not all of it is needed here")]
#[path = "../it/process.rs"]
mod process;
mod proxy;
mod recovery;
mod second;
#[path = "../support/second_daemon.rs"]
mod second_daemon;
