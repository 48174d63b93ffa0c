//! Forges: where a pool's runners register, by what right, and how forges are spoken to.

use std::time::Duration;

use super::super::address::{Address, Way, host_and_port};
use super::super::forge::{
    ForgeAccess, ForgeApp, ForgeKind, ForgePolicy, ForgePool, ForkJobs, Webhook, base_labels,
};
use super::super::raw::{Forks, RawApp, RawGitea, RawGithub, RawGithubPolicy, RawPool, RawWebhook};
use super::super::{Pool, PoolSize, Profile, quantity};
use super::secret_source::{source, variable};
use super::{Bounds, Context, Spot};
use crate::ids::{ProfileName, ScopeUrl};

/// Most labels of a registration: what GitHub takes.
const LABELS_MAX: usize = 100;

/// Most repositories whose queues are read one by one: each costs requests at every look.
const REPOSITORIES_MAX: usize = 50;

/// For how long the runners of a pool register.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// The fleet's own queue: they do not register.
    None,
    /// For one job each.
    OneJob,
    /// For good.
    Kept,
}

pub(super) fn term(raw: &RawPool) -> Term {
    match (&raw.github, &raw.gitea) {
        (Some(github), _) if github.token_env.is_some() => Term::Kept,
        (None, None) => Term::None,
        (Some(_), _) | (None, Some(_)) => Term::OneJob,
    }
}

/// What a pool's place at a forge depends on.
pub(super) struct Around<'a> {
    pub(super) size: PoolSize,
    pub(super) profile: Option<(&'a ProfileName, &'a Profile)>,
}

/// A pool's place at a forge. `None` also where something is missing, which the findings explain.
pub(super) fn pool(
    spot: Spot<'_>,
    raw: &RawPool,
    around: &Around<'_>,
    cx: &mut Context<'_>,
) -> Option<ForgePool> {
    if raw.github.is_some() && raw.gitea.is_some() {
        cx.findings
            .error(spot.key("gitea").key, "a pool has one forge: `github` or `gitea`")
            .help("make a pool for each");
        return None;
    }
    if term(raw) == Term::OneJob && spot.key("runner_name").is_written() {
        cx.findings
            .error(
                spot.key("runner_name").key,
                "runners that register for one job have a new name each",
            )
            .help("remove `runner_name`; it is for runners that register with `token_env`");
    }
    match (&raw.github, &raw.gitea) {
        (Some(github), _) => self::github(spot.key("github"), github, around, cx),
        (None, Some(gitea)) => self::gitea(spot.key("gitea"), gitea, around, cx),
        (None, None) => None,
    }
}

fn github(
    spot: Spot<'_>,
    raw: &RawGithub,
    around: &Around<'_>,
    cx: &mut Context<'_>,
) -> Option<ForgePool> {
    let scope = scope(spot.key("url"), raw.url.as_deref(), ForgeKind::Github, cx);
    let access = access(spot, raw, around, cx);
    let labels = labels(spot, (raw.labels.as_deref(), raw.default_labels), around, cx);
    let is_repository = scope.as_ref().is_some_and(|(_, reach)| *reach == Reach::Repository);
    let group = raw.group.as_deref().filter(|group| {
        let spot = spot.key("group");
        let fine = !group.trim().is_empty() && group.len() <= 100;
        if !fine || group.chars().any(char::is_control) {
            cx.findings.error(spot.span, "this is no name of a runner group");
        } else if is_repository {
            cx.findings
                .error(spot.key, "a repository has no runner groups")
                .help("remove `group`, or write the organization's address as `url`");
        }
        true
    });
    let group = group.map(str::to_owned);
    let written = Written { list: raw.repositories.as_deref(), scope: scope.as_ref() };
    let repositories = repositories(spot.key("repositories"), &written, cx);
    let fork_jobs = forks(spot.key("fork_jobs"), raw.fork_jobs.as_ref(), cx);
    let is_whole = scope.as_ref().is_some_and(|(_, reach)| *reach == Reach::Instance);
    if let (true, Some(ForgeAccess::App(ForgeApp { installation: None, .. }))) = (is_whole, &access)
    {
        cx.findings
            .error(
                spot.key("app").key,
                "an App's installation on an enterprise cannot be looked up",
            )
            .help("add `installation:` with its number, as its page's address shows it");
    }
    let ((scope, _), access) = (scope?, access?);
    let kind = ForgeKind::Github;
    Some(ForgePool { kind, scope, access, labels, group, repositories, fork_jobs })
}

fn gitea(
    spot: Spot<'_>,
    raw: &RawGitea,
    around: &Around<'_>,
    cx: &mut Context<'_>,
) -> Option<ForgePool> {
    let scope = scope(spot.key("url"), raw.url.as_deref(), ForgeKind::Gitea, cx);
    let token = raw.token.as_ref().and_then(|token| source(spot.key("token"), token, cx));
    let labels = labels(spot, (raw.labels.as_deref(), raw.default_labels), around, cx);
    let written = Written { list: raw.repositories.as_deref(), scope: scope.as_ref() };
    let repositories = repositories(spot.key("repositories"), &written, cx);
    let fork_jobs = giteas_forks(spot, raw.fork_jobs.as_ref(), cx);
    let (scope, _) = scope?;
    Some(ForgePool {
        kind: ForgeKind::Gitea,
        scope,
        access: ForgeAccess::Personal(token?),
        labels,
        group: None,
        repositories,
        fork_jobs,
    })
}

/// By what right the runners of GitHub register.
fn access(
    spot: Spot<'_>,
    raw: &RawGithub,
    around: &Around<'_>,
    cx: &mut Context<'_>,
) -> Option<ForgeAccess> {
    const WAYS: [&str; 3] = ["token_env", "pat", "app"];
    let written: Vec<&str> = WAYS.into_iter().filter(|key| spot.key(key).is_written()).collect();
    match written.as_slice() {
        [] => {
            let help = "add `token_env: RUNNER_TOKEN_{n}` with the variable of a registration \
                        token, `pat: {env: GITHUB_PAT}` or `app: {id: …, key: {file: ./app.pem}}`";
            cx.findings
                .error(spot.span, "nothing says by what right these runners register")
                .help(help);
            None
        }
        [_] => {
            let by_token = raw.token_env.as_deref().map(|name| token_env(spot, name, around, cx));
            let by_person = raw.pat.as_ref().map(|pat| source(spot.key("pat"), pat, cx));
            let by_app = raw.app.as_ref().map(|app| self::app(spot.key("app"), app, cx));
            by_token
                .flatten()
                .map(ForgeAccess::Tokens)
                .or(by_person.flatten().map(ForgeAccess::Personal))
                .or(by_app.flatten().map(ForgeAccess::App))
        }
        [first, second, ..] => {
            cx.findings
                .error(
                    spot.key(second).key,
                    format!("`{first}` and `{second}` are two rights; one is enough"),
                )
                .help("keep one of `token_env`, `pat` and `app`");
            None
        }
    }
}

/// The template of the variables that hold registration tokens.
fn token_env(
    spot: Spot<'_>,
    name: &str,
    around: &Around<'_>,
    cx: &mut Context<'_>,
) -> Option<String> {
    let spot = spot.key("token_env");
    variable(spot, &name.replace("{n}", "0"), "RUNNER_TOKEN_{n}", cx)?;
    let most = around.size.most();
    if most > 1 && !name.contains("{n}") {
        cx.findings
            .error(spot.span, format!("{most} runners would share the variable `{name}`"))
            .help(format!("write `{name}_{{n}}`; `{{n}}` counts from 1"));
        return None;
    }
    Some(name.to_owned())
}

fn app(spot: Spot<'_>, raw: &RawApp, cx: &mut Context<'_>) -> Option<ForgeApp> {
    let id = raw.id.as_ref().map(|id| id.0.as_str());
    let id = id.filter(|id| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let fine = !id.is_empty() && id.len() <= 64 && id.chars().all(is_part);
        if !fine {
            cx.findings
                .error(spot.key("id").span, "this is no id of a GitHub App")
                .help("write its client id (`Iv23…`) or its number, as its page shows them");
        }
        fine
    });
    let key = raw.key.as_ref().and_then(|key| source(spot.key("key"), key, cx));
    Some(ForgeApp { id: id?.to_owned(), installation: raw.installation, key: key? })
}

/// How much a scope holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Repository,
    /// An organization, by its name at index 0 of the path.
    Organization,
    /// An enterprise or a whole instance.
    Instance,
}

fn scope(
    spot: Spot<'_>,
    text: Option<&str>,
    kind: ForgeKind,
    cx: &mut Context<'_>,
) -> Option<(ScopeUrl, Reach)> {
    let address = address(spot, text?, cx)?;
    let path: Vec<&str> = address.path.iter().map(String::as_str).collect();
    let (path, reach) = match (kind, path.as_slice()) {
        (ForgeKind::Github, ["enterprises", name]) => {
            (format!("/enterprises/{name}"), Reach::Instance)
        }
        (ForgeKind::Gitea, []) => (String::new(), Reach::Instance),
        (_, [owner]) => (format!("/{owner}"), Reach::Organization),
        (_, [owner, name]) => {
            (format!("/{owner}/{}", name.trim_end_matches(".git")), Reach::Repository)
        }
        (_, _) => {
            let right = match kind {
                ForgeKind::Github => {
                    "`https://github.com/me/site`, `https://github.com/acme` or \
                                      `https://github.com/enterprises/acme`"
                }
                ForgeKind::Gitea => {
                    "`https://gitea.example.com/me/site`, an organization's \
                                     address, or `https://gitea.example.com` for all of it"
                }
            };
            cx.findings
                .error(spot.span, format!("`{}` is no place to register", spot.shown()))
                .help(format!("write the address of a repository or organization: {right}"));
            return None;
        }
    };
    Some((ScopeUrl::new(format!("{}{path}", address.origin)), reach))
}

/// A server that secrets are sent to.
pub(super) fn address(spot: Spot<'_>, text: &str, cx: &mut Context<'_>) -> Option<Address> {
    let address = match Address::parse(text) {
        Ok(address) => address,
        Err(right) => {
            let shown = super::super::secret::mask_user(spot.shown());
            cx.findings.error(spot.span, format!("`{shown}` is no address")).help(right);
            return None;
        }
    };
    if address.way == Way::Private {
        cx.findings
            .warning(spot.span, "tokens cross the network to this address unencrypted")
            .help("write `https://` where the server has it");
    }
    Some(address)
}

/// Every label that the runners register with.
fn labels(
    spot: Spot<'_>,
    (written, default): (Option<&[String]>, Option<bool>),
    around: &Around<'_>,
    cx: &mut Context<'_>,
) -> Vec<String> {
    let (bare, spot) = (spot.key("default_labels"), spot.key("labels"));
    let own = cx.labels(spot, written.unwrap_or_default());
    let mut all = match around.profile {
        Some((name, profile)) if default != Some(false) => base_labels(name, &profile.labels),
        Some(_) | None => Vec::new(),
    };
    if default == Some(false) && own.is_empty() {
        cx.findings
            .error(bare.span, "no label is left by which a job could ask for these runners")
            .help("write some in `labels`, or remove `default_labels`");
    }
    for label in own {
        if !all.iter().any(|known| known.eq_ignore_ascii_case(&label)) {
            all.push(label);
        }
    }
    if all.len() > LABELS_MAX {
        cx.findings.error(
            spot.span,
            format!(
                "with those of the profile these are {} labels, more than {LABELS_MAX}",
                all.len()
            ),
        );
    }
    all
}

struct Written<'a> {
    list: Option<&'a [String]>,
    scope: Option<&'a (ScopeUrl, Reach)>,
}

fn repositories(spot: Spot<'_>, written: &Written<'_>, cx: &mut Context<'_>) -> Vec<String> {
    let list = written.list.unwrap_or_default();
    if let Some((_, Reach::Repository)) = written.scope
        && !list.is_empty()
    {
        cx.findings
            .error(spot.key, "`url` is one repository already")
            .help("remove `repositories`, or write the organization's address as `url`");
    }
    if list.len() > REPOSITORIES_MAX {
        cx.findings
            .error(spot.span, format!("more than {REPOSITORIES_MAX} repositories"))
            .help("each is asked for at every look; use a webhook and leave the others out");
    }
    let owner = written.scope.and_then(|(scope, reach)| match reach {
        Reach::Organization => scope.as_str().rsplit('/').next(),
        Reach::Repository | Reach::Instance => None,
    });
    for name in list {
        let item = spot.item(name);
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_name = |part: &str| !part.is_empty() && part.chars().all(is_part);
        let parts = name.split_once('/').filter(|(of, name)| is_name(of) && is_name(name));
        match (parts, owner) {
            (None, _) => {
                cx.findings
                    .error(item.span, format!("`{}` is no repository", item.shown()))
                    .help("write it with its owner: `acme/site`");
            }
            (Some((of, _)), Some(owner)) if !of.eq_ignore_ascii_case(owner) => {
                cx.findings
                    .error(item.span, format!("`{name}` is no repository of `{owner}`"))
                    .help(format!("`url` is `{owner}`; make a pool of its own for `{of}`"));
            }
            (Some(_), _) => {}
        }
    }
    list.to_vec()
}

fn forks(spot: Spot<'_>, raw: Option<&Forks>, cx: &mut Context<'_>) -> ForkJobs {
    cx.read(spot, raw.map(|forks| forks.0.as_str()), quantity::forks).unwrap_or_default()
}

/// Gitea gives a job to any runner with its labels, and its runner asks nobody before it begins:
/// `deny` could not be kept, so whoever has a pool there says that he knows.
fn giteas_forks(spot: Spot<'_>, raw: Option<&Forks>, cx: &mut Context<'_>) -> ForkJobs {
    let key = spot.key("fork_jobs");
    let read = cx.read(key, raw.map(|forks| forks.0.as_str()), quantity::forks);
    if read == Some(ForkJobs::Deny) || raw.is_none() {
        let span = if key.is_written() { key.span } else { spot.key };
        cx.findings
            .error(span, "jobs from forks cannot be kept from a runner of Gitea or Forgejo")
            .help(
                "write `fork_jobs: allow`, and let the forge ask for an approval before it runs \
                 a stranger's pull request",
            );
    }
    read.unwrap_or_default()
}

/// Two pools of one scope are spoken for by one right.
pub(super) fn check_rights(list: Spot<'_>, pools: &[Pool], cx: &mut Context<'_>) {
    let forge = |pool: &'_ Pool| pool.forge.clone();
    for (index, pool) in pools.iter().enumerate() {
        let Some(own) = forge(pool) else { continue };
        let is_token = |access: &ForgeAccess| matches!(access, ForgeAccess::Tokens(_));
        let other = pools.iter().take(index).find(|other| {
            other.forge.as_ref().is_some_and(|other| {
                other.scope == own.scope
                    && !is_token(&other.access)
                    && !is_token(&own.access)
                    && (other.access != own.access || other.kind != own.kind)
            })
        });
        if let Some(other) = other {
            let spot = list.index(index);
            let spot = if pool_is_gitea(&own) { spot.key("gitea") } else { spot.key("github") };
            cx.findings
                .error(
                    spot.key("url").span,
                    format!(
                        "the pools `{}` and `{}` speak to this address by two rights",
                        other.name, pool.name
                    ),
                )
                .help("write the same `pat`, `app` or `token` in both");
        }
    }
}

fn pool_is_gitea(forge: &ForgePool) -> bool {
    match forge.kind {
        ForgeKind::Gitea => true,
        ForgeKind::Github => false,
    }
}

/// How forges are spoken to.
pub(super) fn policy(raw: Option<&RawGithubPolicy>, cx: &mut Context<'_>) -> ForgePolicy {
    const POLL: Bounds<Duration> =
        Bounds::duration(Duration::from_secs(5), Duration::from_secs(3600));
    let Some(raw) = raw else { return ForgePolicy::default() };
    let spot = Spot::root(cx.root).key("github");
    let api = raw.api_url.as_deref().and_then(|api| address(spot.key("api_url"), api, cx));
    let github_api = api.map(|api| {
        let path: String = api.path.iter().map(|part| format!("/{part}")).collect();
        format!("{}{path}", api.origin)
    });
    let poll = raw.poll.as_ref().map(|poll| poll.0.as_str());
    let poll = cx.read_within(spot.key("poll"), poll, &POLL).unwrap_or(ForgePolicy::POLL);
    let webhook = raw.webhook.as_ref().and_then(|raw| webhook(spot.key("webhook"), raw, cx));
    ForgePolicy { github_api, poll, webhook }
}

fn webhook(spot: Spot<'_>, raw: &RawWebhook, cx: &mut Context<'_>) -> Option<Webhook> {
    let listen = raw.listen.as_deref().filter(|listen| {
        let fine = host_and_port(listen).is_some_and(|(_, port)| port.is_some());
        if !fine {
            cx.findings
                .error(spot.key("listen").span, "this is no address and port")
                .help("write `127.0.0.1:9180`, or `0.0.0.0:9180` to listen on every network");
        }
        fine
    });
    let mut secret = |key, name: Option<&str>| {
        super::secret_source::named(spot.key(key), name?, "GITHUB_WEBHOOK_SECRET", cx)
    };
    let new = secret("secret_env", raw.secret_env.as_deref());
    let old = secret("old_secret_env", raw.old_secret_env.as_deref());
    let secrets = [Some(new?), old].into_iter().flatten().collect();
    Some(Webhook { listen: listen?.to_owned(), secrets })
}
