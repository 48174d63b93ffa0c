//! What the engine says, asked through its own command line, as an operator would.

use std::process::Command;

use serde_json::Value;

use crate::process::{Output, run};

/// The label of what a test makes beside its fleet.
pub const TEST_LABEL: &str = "slate-fleet.test";
/// The label by which everything of a project is found.
pub const PROJECT_LABEL: &str = "dev.slate.fleet.project";
/// The project's runner image.
pub const RUNNER_IMAGE: &str = "slate-runner:latest";

/// Runs `docker`.
pub fn docker(args: &[&str]) -> Output {
    docker_at(None, args)
}

/// Runs `docker` for the engine at this address; the machine's own if none.
pub fn docker_at(host: Option<&str>, args: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.args(host.map(|host| format!("--host={host}"))).args(args);
    run(command)
}

/// A container, volume or network as `docker inspect` shows it.
pub fn inspect(name: &str) -> Value {
    docker(&["inspect", name]).ok().json()[0].take()
}

/// Whether the engine still knows this object.
pub fn exists(name: &str) -> bool {
    docker(&["inspect", name]).code == 0
}

/// Names of a project's containers, running or not.
pub fn containers(project: &str) -> Vec<String> {
    containers_at(None, project)
}

/// Names of a project's containers on the engine at this address.
pub fn containers_at(host: Option<&str>, project: &str) -> Vec<String> {
    let filter = format!("label={PROJECT_LABEL}={project}");
    let listed = docker_at(host, &["ps", "-a", "--format", "{{.Names}}", "--filter", &filter]);
    let mut names = listed.ok().lines();
    names.sort();
    names
}

/// Everything of a project: containers, volumes, networks.
pub fn objects(project: &str) -> Vec<String> {
    let filter = format!("label={PROJECT_LABEL}={project}");
    let list = |kind: &str| docker(&[kind, "ls", "-q", "--filter", &filter]).ok().lines();
    let mut all = docker(&["ps", "-aq", "--filter", &filter]).ok().lines();
    all.extend(list("volume"));
    all.extend(list("network"));
    all
}

/// Whether the engine has this image.
pub fn has_image(image: &str) -> bool {
    docker(&["image", "inspect", image]).code == 0
}

/// The runner image, or a clear word about how to get it.
pub fn need_runner_image() {
    let answer = docker(&["version", "--format", "{{.Server.Version}}"]);
    assert!(answer.code == 0, "no Docker Engine answers; start it with scripts/engine: {answer}");
    assert!(
        has_image(RUNNER_IMAGE),
        "the engine has no image {RUNNER_IMAGE}; build it with images/build"
    );
}
