//! Forges as YAML: names and places of secrets, which are all that a spec has.

use super::{Yaml, duration};
use crate::ids::ProfileName;
use crate::spec::forge::base_labels;
use crate::spec::{
    DockerAccess, ForgeAccess, ForgeApp, ForgeKind, ForgePolicy, ForgePool, ForkJobs, Profile,
    SecretSource, VaultSecret, Webhook,
};

/// A pool's `github` or `gitea`.
pub(super) fn pool(
    forge: &ForgePool,
    profile: Option<(&ProfileName, &Profile)>,
) -> (&'static str, Yaml) {
    let base = profile.map(|(name, profile)| base_labels(name, &profile.labels));
    let base = base.unwrap_or_default();
    // Labels that do not begin so were all written in the file.
    let beside = forge.labels.strip_prefix(base.as_slice());
    let own = beside.unwrap_or(&forge.labels);
    let list = |items: &[String]| (!items.is_empty()).then(|| Yaml::texts(items));
    let (key, right) = match (forge.kind, &forge.access) {
        (ForgeKind::Gitea, ForgeAccess::Personal(token)) => ("gitea", ("token", secret(token))),
        (ForgeKind::Gitea, ForgeAccess::Tokens(name)) => ("gitea", ("token_env", Yaml::text(name))),
        (ForgeKind::Gitea, ForgeAccess::App(it)) => ("gitea", ("app", app(it))),
        (ForgeKind::Github, ForgeAccess::Personal(token)) => ("github", ("pat", secret(token))),
        (ForgeKind::Github, ForgeAccess::Tokens(name)) => {
            ("github", ("token_env", Yaml::text(name)))
        }
        (ForgeKind::Github, ForgeAccess::App(it)) => ("github", ("app", app(it))),
    };
    let yaml = Yaml::map([
        ("url", Some(Yaml::text(&forge.scope))),
        (right.0, Some(right.1)),
        ("labels", list(own)),
        ("default_labels", beside.is_none().then(|| Yaml::plain(false))),
        ("group", forge.group.as_ref().map(Yaml::text)),
        ("repositories", list(&forge.repositories)),
        ("fork_jobs", Some(Yaml::text(forks(forge.fork_jobs)))),
    ]);
    (key, yaml)
}

fn app(app: &ForgeApp) -> Yaml {
    Yaml::map([
        ("id", Some(Yaml::text(&app.id))),
        ("installation", app.installation.map(Yaml::plain)),
        ("key", Some(secret(&app.key))),
    ])
}

pub(super) fn secret(source: &SecretSource) -> Yaml {
    let (key, value) = match source {
        SecretSource::Variable(name) => ("env", Yaml::text(name)),
        SecretSource::File(path) => ("file", Yaml::text(path.display())),
        SecretSource::Command(words) => ("command", Yaml::texts(words)),
        SecretSource::Vault(secret) => ("vault", vault(secret)),
    };
    Yaml::map([(key, Some(value))])
}

fn vault(secret: &VaultSecret) -> Yaml {
    Yaml::map([
        ("address", Some(Yaml::text(&secret.address))),
        ("path", Some(Yaml::text(&secret.path))),
        ("field", Some(Yaml::text(&secret.field))),
        ("token_env", Some(Yaml::text(&secret.token_env))),
    ])
}

fn forks(forks: ForkJobs) -> &'static str {
    match forks {
        ForkJobs::Deny => "deny",
        ForkJobs::Allow => "allow",
    }
}

/// A profile's access to the engine.
pub(super) fn docker(access: DockerAccess) -> Yaml {
    Yaml::text(match access {
        DockerAccess::None => "none",
        DockerAccess::Socket => "socket",
    })
}

/// The top level's `github`.
pub(super) fn policy(policy: &ForgePolicy) -> Yaml {
    Yaml::map([
        ("api_url", policy.github_api.as_ref().map(Yaml::text)),
        ("poll", Some(duration(policy.poll))),
        ("webhook", policy.webhook.as_ref().map(webhook)),
    ])
}

fn webhook(webhook: &Webhook) -> Yaml {
    let name = |index| match webhook.secrets.get(index) {
        Some(SecretSource::Variable(name)) => Some(Yaml::text(name)),
        Some(SecretSource::File(_) | SecretSource::Command(_) | SecretSource::Vault(_)) | None => {
            None
        }
    };
    Yaml::map([
        ("listen", Some(Yaml::text(&webhook.listen))),
        ("secret_env", name(0)),
        ("old_secret_env", name(1)),
    ])
}
