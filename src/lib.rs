//! slate-fleet: docker compose for self-hosted CI runners.
//!
//! A pure, synchronous core (`fleet`) decides; a thin asynchronous shell around it acts.
//! Start with `fleet.rs`, then `supervisor.rs`, then `cli.rs`.

pub mod agent;
pub mod ids;
pub mod units;
pub mod wire;

#[cfg(feature = "fleet")]
pub mod agents;
#[cfg(feature = "fleet")]
pub mod api;
#[cfg(feature = "fleet")]
pub mod capacity;
#[cfg(feature = "fleet")]
pub mod causes;
#[cfg(feature = "fleet")]
pub mod cli;
#[cfg(feature = "fleet")]
pub mod client;
#[cfg(feature = "fleet")]
pub mod doctor;
#[cfg(feature = "fleet")]
pub mod engine;
#[cfg(feature = "fleet")]
pub mod exit;
#[cfg(feature = "fleet")]
pub mod failpoint;
#[cfg(feature = "fleet")]
pub mod fleet;
#[cfg(feature = "fleet")]
pub mod fleet_file;
#[cfg(feature = "fleet")]
pub mod forge;
#[cfg(feature = "fleet")]
pub mod inventory;
#[cfg(feature = "fleet")]
pub mod logs;
#[cfg(feature = "fleet")]
pub mod metrics;
#[cfg(feature = "fleet")]
pub mod notify;
#[cfg(feature = "fleet")]
pub mod post_mortems;
#[cfg(feature = "fleet")]
pub mod reports;
#[cfg(feature = "fleet")]
pub mod sim;
#[cfg(feature = "fleet")]
pub mod spec;
#[cfg(feature = "fleet")]
pub mod state_dir;
#[cfg(feature = "fleet")]
pub mod store;
#[cfg(feature = "fleet")]
pub mod supervisor;
