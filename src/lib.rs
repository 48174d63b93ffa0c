//! slate-fleet: docker compose for self-hosted CI runners.
//!
//! A pure, synchronous core (`fleet`) decides; a thin asynchronous shell around it acts.
//! Start with `fleet.rs`, then `supervisor.rs`, then `cli.rs`.

pub mod ids;
pub mod units;

#[cfg(feature = "fleet")]
pub mod fleet;
#[cfg(feature = "fleet")]
pub mod fleet_file;
#[cfg(feature = "fleet")]
pub mod sim;
#[cfg(feature = "fleet")]
pub mod spec;
#[cfg(feature = "fleet")]
pub mod state_dir;
#[cfg(feature = "fleet")]
pub mod supervisor;
