//! What a fleet file says of forges.

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{AppId, Duration, Forks};

/// The title of every place of a secret; nobody writes a secret itself there.
pub(in super::super) const SECRET_TITLE: &str = "a place of a secret, such as `{env: NAME}`";

/// A GitHub repository, organization or enterprise whose jobs the runners take.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawGithub {
    /// The address of the repository, organization or enterprise.
    #[schemars(required, example = &"https://github.com/me/site")]
    pub(in super::super) url: Option<String>,
    /// The name of the variable that holds a registration token; `{n}` is the runner's number. The
    /// runners stay registered and serve many jobs. Give this, `pat` or `app`.
    #[schemars(example = &"RUNNER_TOKEN_{n}")]
    pub(in super::super) token_env: Option<String>,
    /// Where a personal access token is. Each runner is registered for one job.
    pub(in super::super) pat: Option<RawSecret>,
    /// A GitHub App. Each runner is registered for one job.
    pub(in super::super) app: Option<RawApp>,
    /// Labels besides `self-hosted`, those of the profile, `linux`, and `x64` or `arm64`.
    #[schemars(example = ["site"])]
    pub(in super::super) labels: Option<Vec<String>>,
    /// Whether the runners also have those other labels; `false` leaves them `labels` alone.
    #[schemars(extend("default" = true))]
    pub(in super::super) default_labels: Option<bool>,
    /// The runner group, by its name; an organization's or enterprise's.
    #[schemars(example = &"trusted")]
    pub(in super::super) group: Option<String>,
    /// The repositories of an organization or enterprise whose queues are read, as `owner/name`.
    /// Without them those that GitHub lists.
    #[schemars(example = ["acme/site"])]
    pub(in super::super) repositories: Option<Vec<String>>,
    /// Whether jobs that run code of a fork are served: `deny` or `allow`.
    #[schemars(extend("default" = "deny"))]
    pub(in super::super) fork_jobs: Option<Forks>,
}

/// A GitHub App.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawApp {
    /// Its client id or its number.
    #[schemars(required)]
    pub(in super::super) id: Option<AppId>,
    /// The number of its installation; looked up if none is written.
    #[schemars(range(min = 1), example = 12_345_678)]
    pub(in super::super) installation: Option<u64>,
    /// Where its private key is.
    #[schemars(required)]
    pub(in super::super) key: Option<RawSecret>,
}

/// A Gitea or Forgejo repository, organization or instance whose jobs the runners take.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawGitea {
    /// The address of the repository, organization or whole instance.
    #[schemars(required, example = &"https://gitea.example.com/me/site")]
    pub(in super::super) url: Option<String>,
    /// Where a token for its API is. Each runner is registered for one job.
    #[schemars(required)]
    pub(in super::super) token: Option<RawSecret>,
    /// Labels besides `self-hosted`, those of the profile, `linux`, and `x64` or `arm64`.
    #[schemars(example = ["site"])]
    pub(in super::super) labels: Option<Vec<String>>,
    /// Whether the runners also have those other labels; `false` leaves them `labels` alone.
    #[schemars(extend("default" = true))]
    pub(in super::super) default_labels: Option<bool>,
    /// The repositories of an organization or instance whose queues are read, as `owner/name`.
    /// Without them those that the forge lists.
    #[schemars(example = ["acme/site"])]
    pub(in super::super) repositories: Option<Vec<String>>,
    /// Whether jobs that run code of a fork are served. Write `allow`: the forge gives them to any
    /// runner with their labels, and nothing here can keep them out.
    #[schemars(example = &"allow")]
    pub(in super::super) fork_jobs: Option<Forks>,
}

/// Where a secret is, read each time that it is needed. Give one of the four.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = SECRET_TITLE, example = serde_json::json!({"env": "GITHUB_PAT"}))]
pub(in super::super) struct RawSecret {
    /// The name of a variable in `.env` or the supervisor's environment.
    #[schemars(example = &"GITHUB_PAT")]
    pub(in super::super) env: Option<String>,
    /// A file on this host, relative to the fleet file.
    #[schemars(example = &"./github-app.pem")]
    pub(in super::super) file: Option<String>,
    /// A program and its arguments that print it.
    #[schemars(example = ["pass", "show", "github/pat"])]
    pub(in super::super) command: Option<Vec<String>>,
    /// A field of a secret in Vault, or in what speaks Vault's HTTP API.
    pub(in super::super) vault: Option<RawVault>,
}

/// A field of a secret in Vault.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawVault {
    /// The server's address.
    #[schemars(required, example = &"https://vault.lan:8200")]
    pub(in super::super) address: Option<String>,
    /// The secret's path with its mount; with `data` in it for version 2 of the key-value store.
    #[schemars(required, example = &"secret/data/github")]
    pub(in super::super) path: Option<String>,
    /// Which field of the secret.
    #[schemars(required, example = &"pat")]
    pub(in super::super) field: Option<String>,
    /// The variable that holds Vault's own token.
    #[schemars(extend("default" = "VAULT_TOKEN"))]
    pub(in super::super) token_env: Option<String>,
}

/// How GitHub is spoken to; the same for all pools.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawGithubPolicy {
    /// The address of GitHub's API, where it cannot be told from a pool's `url`.
    #[schemars(example = &"https://github.example.com/api/v3")]
    pub(in super::super) api_url: Option<String>,
    /// How often the queues are read while no webhook comes in; between `5s` and `1h`.
    #[schemars(extend("default" = "30s"))]
    pub(in super::super) poll: Option<Duration>,
    /// Where GitHub's webhooks come in. Without it the queues are read.
    pub(in super::super) webhook: Option<RawWebhook>,
}

/// Where GitHub's webhooks come in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawWebhook {
    /// Address and port on this host; a reverse proxy or a tunnel stands before it.
    #[schemars(required, example = &"127.0.0.1:9180")]
    pub(in super::super) listen: Option<String>,
    /// The variable that holds the webhook's secret.
    #[schemars(required, example = &"GITHUB_WEBHOOK_SECRET")]
    pub(in super::super) secret_env: Option<String>,
    /// The variable that holds the secret before, while it is changed.
    #[schemars(example = &"GITHUB_WEBHOOK_SECRET_OLD")]
    pub(in super::super) old_secret_env: Option<String>,
}
