//! Forges: where a pool's runners register, by what right, and whose jobs they take.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ProfileName, ScopeUrl};

/// A pool's place at a forge. Its runners take that forge's jobs and none of the fleet's own queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgePool {
    /// Which software it is.
    pub kind: ForgeKind,
    /// Where the runners register.
    pub scope: ScopeUrl,
    /// By what right.
    pub access: ForgeAccess,
    /// Every label that the runners register with, those of the profile included.
    pub labels: Vec<String>,
    /// The runner group, by name; the forge's default if none.
    pub group: Option<String>,
    /// For a scope of many repositories: those whose queues are read (`owner/name`). Without any,
    /// those that the forge lists.
    pub repositories: Vec<String>,
    /// Whether jobs from forks are served.
    pub fork_jobs: ForkJobs,
}

/// The labels that runners of a profile register with before a pool adds its own.
///
/// Specification 1's workflow asks for a built-in profile by its name, of which `gpu_light` and its
/// like are no label: their label is `gpu-light`.
pub(super) fn base_labels(name: &ProfileName, labels: &[String]) -> Vec<String> {
    /// As GitHub's own runner names it.
    const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let mut all = vec!["self-hosted"];
    all.extend(labels.iter().map(String::as_str));
    if super::locked_names().any(|locked| locked == name.as_str()) {
        all.push(name.as_str());
    }
    all.extend(["linux", ARCHITECTURE]);
    let mut base: Vec<String> = Vec::new();
    for label in all {
        if !base.iter().any(|known| known.eq_ignore_ascii_case(label)) {
            base.push(label.to_owned());
        }
    }
    base
}

impl ForgePool {
    /// A place at GitHub without labels, for no job from a fork.
    #[must_use]
    pub fn plain(scope: &str, access: ForgeAccess) -> Self {
        Self {
            kind: ForgeKind::Github,
            scope: ScopeUrl::new(scope),
            access,
            labels: Vec::new(),
            group: None,
            repositories: Vec::new(),
            fork_jobs: ForkJobs::Deny,
        }
    }
}

/// The software of a forge.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ForgeKind {
    /// GitHub, Enterprise Cloud and Enterprise Server.
    Github,
    /// Gitea, and Forgejo as far as it is the same.
    Gitea,
}

/// By what right runners register. Only names and places of secrets, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForgeAccess {
    /// A registration token for each runner, in the variable of this name, where `{n}` is the
    /// runner's number in its pool. The runners stay registered and serve many jobs.
    Tokens(String),
    /// A personal access token: each runner is registered for one job.
    Personal(SecretSource),
    /// A GitHub App: each runner is registered for one job.
    App(ForgeApp),
}

/// A GitHub App.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgeApp {
    /// The client id (`Iv…`) or the number of the app.
    pub id: String,
    /// The installation's number; looked up from the scope if none.
    pub installation: Option<u64>,
    /// Where the private key is.
    pub key: SecretSource,
}

/// Where a secret is read, each time that it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A variable in `.env` or the supervisor's environment.
    Variable(String),
    /// A file, absolute.
    File(PathBuf),
    /// The standard output of a program and its arguments.
    Command(Vec<String>),
    /// A field of a secret in Vault's HTTP API (KV version 1 or 2).
    Vault(VaultSecret),
}

/// A field of a secret in Vault, or what speaks its HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaultSecret {
    /// The server, such as `https://vault.lan:8200`.
    pub address: String,
    /// The secret's path with its mount, such as `secret/data/github`.
    pub path: String,
    /// Which field of it.
    pub field: String,
    /// The variable that holds Vault's own token.
    pub token_env: String,
}

/// Whether jobs from forks are served. A forge gives a job to any runner that matches, so this is
/// enforced where the job starts, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForkJobs {
    /// No runner is made for them, and one that gets such a job refuses it before its first step.
    #[default]
    Deny,
    /// Like all others.
    Allow,
}

/// How forges are spoken to; the same for all pools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ForgePolicy {
    /// Where the API of GitHub is; derived from a pool's `url` if none.
    pub github_api: Option<String>,
    /// How often the queues are read while webhooks are silent.
    pub poll: Duration,
    /// Where GitHub's webhooks come in, if anywhere.
    pub webhook: Option<Webhook>,
}

impl ForgePolicy {
    /// Two lists every 30 s leave 200 idle runners below 300 requests an hour.
    pub const POLL: Duration = Duration::from_secs(30);
}

impl Default for ForgePolicy {
    fn default() -> Self {
        Self { github_api: None, poll: Self::POLL, webhook: None }
    }
}

/// Where webhooks come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// Address and port, such as `127.0.0.1:9180`; a reverse proxy or tunnel stands before it.
    pub listen: String,
    /// The secrets that a delivery may be signed with: one, and the one before while it is changed.
    pub secrets: Vec<SecretSource>,
}

/// Whether jobs reach the host's container engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DockerAccess {
    /// No.
    #[default]
    None,
    /// The engine's socket is in the runner, and its work folder has one path inside and outside:
    /// whoever runs a job there is root on the host.
    Socket,
}
