//! What every engine adapter must do, asked of the real engine that `DOCKER_HOST` names.
//!
//! Each test has its own project, fleet and folder, and removes what it made even when it fails.
//! They need a runner image. But in `agent`, a shell script stands in for the agent.
#![cfg(feature = "fleet")]

mod agent;
mod forge;
mod isolation;
mod lifecycle;
mod ownership;
mod sessions;
mod world;
