//! The whole, as a user types it: the real program, the real engine, real jobs.
//!
//! Each test has a fleet of its own in a folder of its own, removed by `down -v` whatever happens,
//! so the tests run beside each other and beside fleets that are up on the same engine.
#![cfg(feature = "fleet")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by a panic, helpers too"
)]

mod any_image;
mod assign;
#[expect(dead_code, reason = "the browser of another test program; not all of it is needed here")]
#[path = "../support/browser.rs"]
mod browser;
mod caches;
mod capacity;
mod clean_machine;
mod crashes;
mod damage;
mod dashboard;
mod debug;
mod description;
mod disk;
mod docker;
mod doctor;
mod elastic;
mod engine_socket;
mod exits;
mod fleet;
#[path = "../support/github.rs"]
mod forge_stand_in;
mod gc;
mod gitea;
#[path = "../support/gitea.rs"]
mod gitea_stand_in;
mod github;
mod github_accounts;
mod github_kept;
mod gpu_oom;
mod gpus;
mod health;
mod http;
mod kept_logs;
mod lifecycle;
mod limits;
mod metrics;
mod monitoring;
mod network;
mod networks;
mod notify;
#[path = "../support/nvidia_engine.rs"]
mod nvidia_engine;
#[path = "../support/nvml.rs"]
mod nvml;
mod on_call;
mod orphans;
mod pinning;
mod port;
mod post_mortems;
mod process;
mod queue;
mod ready_files;
mod real_projects;
mod refusals;
mod report_server;
mod reports;
mod run;
mod runners_file;
#[path = "../support/second_daemon.rs"]
mod second_daemon;
mod secrets;
mod see;
mod size;
mod slots;
mod words;
