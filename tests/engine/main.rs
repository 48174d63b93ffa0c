//! What every engine adapter must do, asked of the real engine that `DOCKER_HOST` names.
//!
//! Each test has its own project, fleet and folder, and removes what it made even when it fails.
//! A shell script stands in for the agent, so these tests need a runner image and no agent.
#![cfg(feature = "fleet")]

mod isolation;
mod lifecycle;
mod ownership;
mod sessions;
mod world;
