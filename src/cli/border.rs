//! Where the command line touches what it is not: the fleet file, the supervisor, the engine.
//!
//! Verbs know only these functions, so that what is behind them can change without them.

use std::path::PathBuf;

use serde_json::Value;

use super::failure::Failure;
use crate::exit::Exit;
use crate::fleet::event::DownMode;
use crate::fleet::host::HostFacts;
use crate::fleet::view::PlanView;
use crate::ids::{ContainerId, ProjectName};
use crate::spec::Spec;
use crate::state_dir::StateDir;

/// Reads, merges and checks the fleet files.
pub(super) fn load_spec(files: &[PathBuf], project: Option<&str>) -> Result<Spec, Failure> {
    let _ = (files, project);
    Err(missing("fleet files"))
}

/// The fleet files, resolved, as YAML with secrets masked.
pub(super) fn render_spec(files: &[PathBuf], project: Option<&str>) -> Result<String, Failure> {
    let _ = (files, project);
    Err(missing("fleet files"))
}

/// The project that the files name, without `-p`; none if they cannot be read.
pub(super) fn project_of(files: &[PathBuf]) -> Option<ProjectName> {
    load_spec(files, None).ok().map(|spec| spec.project)
}

/// The fleet file's JSON Schema.
pub(super) fn schema() -> Result<Value, Failure> {
    Err(missing("the schema"))
}

/// Which fleet file `init` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// As much as this host takes, with comments.
    Optimal,
    /// The fewest runners that are of use.
    Minimal,
}

/// The text of a new fleet file.
pub(super) fn template(template: Template) -> Result<String, Failure> {
    let _ = template;
    Err(missing("fleet file templates"))
}

/// What a spec would need on a host where nothing is up.
pub(super) fn plan_from_nothing(spec: &Spec, host: Option<HostFacts>) -> Result<PlanView, Failure> {
    let _ = (spec, host);
    Err(missing("planning without a supervisor"))
}

/// What a supervisor is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// To keep the fleet as it should be.
    Supervise,
    /// To take down what a dead supervisor left, and to start nothing.
    Down(DownMode),
}

/// How a supervisor is started.
#[derive(Debug)]
pub(super) struct SuperviseOptions {
    /// Its state folder.
    pub state: StateDir,
    /// What to bring the fleet to; what the state says if none.
    pub spec: Option<Spec>,
    /// Whether it keeps the fleet or takes it down.
    pub intent: Intent,
    /// A loopback address for those who only read (`SLATE_LISTEN`).
    pub listen: Option<String>,
}

/// Runs a supervisor until the fleet is down.
pub(super) async fn supervise(options: SuperviseOptions) -> Result<(), Failure> {
    let _ = (options.state, options.spec, options.intent, options.listen);
    Err(missing("the supervisor"))
}

/// A program to run in a runner's container.
#[derive(Debug)]
pub(super) struct ExecOrder {
    /// Which container.
    pub container: ContainerId,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Numeric `uid:gid`; the container's own if none.
    pub user: Option<String>,
    /// The folder to start in.
    pub workdir: Option<String>,
    /// Whether it gets this terminal.
    pub terminal: ExecTerminal,
}

/// Whether a program gets the terminal of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExecTerminal {
    /// Plain pipes.
    Pipes,
    /// The terminal.
    Terminal,
}

/// Runs a program in a container; its exit code.
pub(super) async fn exec(order: ExecOrder) -> Result<i64, Failure> {
    let ExecOrder { container, command, user, workdir, terminal } = order;
    let _ = (container, command, user, workdir, terminal);
    Err(missing("exec"))
}

fn missing(what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{what} cannot be used in this build"))
}
