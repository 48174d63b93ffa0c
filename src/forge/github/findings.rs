//! What an operator should know of a scope before GitHub refuses something.

use serde::Deserialize;
use serde_json::Value;

use super::Github;
use super::auth::{Learned, SKEW_SMALL};
use super::line::Trouble;
use super::scope::Place;
use super::shapes::{Group, Repository};
use crate::fleet::forge::ForgeRunnerFact;
use crate::forge::{CallError, Finding, Level};
use crate::units::words::{agree, part};

/// Repositories of a scope that are looked at.
const REPOSITORIES_MAX: usize = 10;
/// The policy that lets no stranger's code run without a click.
const STRICTEST: &str = "all_external_contributors";

#[derive(Deserialize)]
struct Approval {
    #[serde(default)]
    approval_policy: String,
}

impl Finding {
    pub(in crate::forge) fn good(message: String) -> Self {
        Self { level: Level::Good, message }
    }

    pub(in crate::forge) fn warning(message: String) -> Self {
        Self { level: Level::Warning, message }
    }

    pub(in crate::forge) fn error(message: String) -> Self {
        Self { level: Level::Error, message }
    }
}

impl Github {
    pub(super) async fn look(&self) -> Vec<Finding> {
        let runners = match self.list_runners().await {
            Ok(listed) => listed.items,
            Err(error) => return self.look_without_runners(error),
        };
        let words = self.scope.words();
        let mut findings = vec![Finding::good(format!("the runners of {words} can be listed"))];
        findings.extend(self.look_at_rights(&self.api.auth.learned()));
        findings.extend(skew(&self.api.auth.learned()));
        findings.extend(self.look_at_versions(&runners).await);
        let public = self.look_at_repositories(&mut findings).await;
        if !matches!(self.scope.place, Place::Repository { .. }) {
            self.look_at_groups(&public, &mut findings).await;
        }
        findings
    }

    fn look_without_runners(&self, error: CallError) -> Vec<Finding> {
        let mut findings = vec![Finding::error(error.to_string())];
        findings.extend(skew(&self.api.auth.learned()));
        findings
    }

    /// What the credential says of itself. A fine-grained token says nothing.
    fn look_at_rights(&self, learned: &Learned) -> Option<Finding> {
        let needs = self.scope.rights();
        let missing = if let Some(permissions) = &learned.permissions {
            missing_permissions(&self.scope.place, permissions)
        } else if let Some(scopes) = learned.scopes.as_deref().filter(|it| !it.is_empty()) {
            missing_scopes(&self.scope.place, scopes)
        } else {
            return None;
        };
        Some(match missing.is_empty() {
            true => Finding::good("the credential has the rights that are needed".to_owned()),
            false => Finding::error(format!(
                "the credential lacks {}; needed is {needs}",
                missing.join(" and ")
            )),
        })
    }

    async fn look_at_versions(&self, runners: &[ForgeRunnerFact]) -> Option<Finding> {
        let newest = self.find_newest_runner().await.ok().flatten()?;
        let is_old = |runner: &&ForgeRunnerFact| {
            let version = runner.version.as_deref().unwrap_or(&newest);
            parts(version) < parts(&newest)
        };
        let old: Vec<&ForgeRunnerFact> = runners.iter().filter(is_old).collect();
        let first = old.first()?;
        Some(Finding::warning(format!(
            "{} {} older than {newest}, such as {} with {}; GitHub gives no jobs to a version that \
             is 30 days behind: build the image anew",
            part(old.len(), runners.len(), "runner"),
            agree(&old.len(), "is", "are"),
            first.name,
            first.version.as_deref().unwrap_or_default()
        )))
    }

    /// Looks at the scope's repositories; tells which of them are public.
    async fn look_at_repositories(&self, findings: &mut Vec<Finding>) -> Vec<String> {
        let names = match &self.scope.place {
            Place::Repository { owner, name } => vec![format!("{owner}/{name}")],
            _ => self.repositories.iter().take(REPOSITORIES_MAX).cloned().collect(),
        };
        let mut public = Vec::new();
        for name in names {
            let what = format!("the runs of {name}");
            let runs = format!("/repos/{name}/actions/runs?per_page=1");
            if let Err(trouble) = self.api.get::<Value>(&runs).await {
                findings.push(Finding::error(self.reading(&what).sort(trouble).to_string()));
                continue;
            }
            let found = self.api.get::<Repository>(&format!("/repos/{name}")).await;
            if found.is_ok_and(|it| is_public(&it)) {
                findings.extend(self.look_at_forks(&name).await);
                public.push(name);
            }
        }
        public
    }

    async fn look_at_forks(&self, name: &str) -> Option<Finding> {
        let path = format!("/repos/{name}/actions/permissions/fork-pr-contributor-approval");
        match self.api.get::<Approval>(&path).await {
            Ok(it) if it.approval_policy == STRICTEST => None,
            Ok(it) => Some(Finding::warning(format!(
                "{name} is public and lets strangers' pull requests run by the policy \
                 `{}`; set it to `{STRICTEST}` (Settings, Actions, General), and keep \
                 `fork_jobs: deny`",
                crate::forge::words::one_line(&it.approval_policy)
            ))),
            // The policy needs a right that runners do not: that it is public is told in any case.
            Err(_) => Some(Finding::warning(format!(
                "{name} is public, and its policy for strangers' pull requests cannot be read; see \
                 that approval is required for all external contributors"
            ))),
        }
    }

    async fn look_at_groups(&self, public: &[String], findings: &mut Vec<Finding>) {
        let groups = match self.list_groups().await {
            Ok(groups) => groups,
            Err(trouble) => {
                let error = self.reading("listing the runner groups").sort(trouble);
                findings.push(Finding::error(error.to_string()));
                return;
            }
        };
        let mut wanted: Vec<Option<&str>> =
            self.groups.iter().map(|name| Some(name.as_str())).collect();
        if wanted.is_empty() {
            wanted.push(None);
        }
        for name in wanted {
            let found = groups.iter().find(|group| match name {
                Some(name) => group.name == name,
                None => group.default,
            });
            match (found, name) {
                (Some(group), _) => findings.extend(self.look_at_group(group, public).await),
                (None, Some(name)) => findings.push(Finding::error(format!(
                    "{} has no runner group `{name}`; make it, or change `group`",
                    self.scope.words()
                ))),
                (None, None) => {}
            }
        }
    }

    /// Jobs of a repository that may not use the group wait without a word.
    async fn look_at_group(&self, group: &Group, public: &[String]) -> Vec<Finding> {
        let name = &group.name;
        let mut findings = Vec::new();
        if group.allows_public_repositories == Some(false)
            && let Some(repository) = public.first()
        {
            findings.push(Finding::error(format!(
                "the runner group `{name}` takes no jobs of public repositories, and {repository} \
                 is one: its jobs would wait for ever; allow public repositories in the group"
            )));
        }
        if group.restricted_to_workflows {
            findings.push(Finding::warning(format!(
                "the runner group `{name}` serves some workflows only; jobs of others wait"
            )));
        }
        if group.visibility.as_deref() == Some("selected") && !self.repositories.is_empty() {
            findings.extend(self.look_at_selected(group).await);
        }
        if findings.is_empty() {
            findings.push(Finding::good(format!("the runner group `{name}` can be used")));
        }
        findings
    }

    async fn look_at_selected(&self, group: &Group) -> Option<Finding> {
        let path = format!(
            "{}/actions/runner-groups/{}/repositories?per_page=100",
            self.scope.path(),
            group.id
        );
        let selected: Result<_, Trouble> = self.api.list::<Repository>(&path, "repositories").await;
        let selected = selected.ok()?.items;
        let is_in = |name: &str| selected.iter().any(|it| it.full_name.eq_ignore_ascii_case(name));
        let out: Vec<&str> =
            self.repositories.iter().map(String::as_str).filter(|name| !is_in(name)).collect();
        let first = out.first()?;
        Some(Finding::error(format!(
            "the runner group `{}` may not be used by {first}: its jobs would wait for ever; add it \
             to the group's repositories",
            group.name
        )))
    }
}

fn is_public(repository: &Repository) -> bool {
    match repository.visibility.as_deref() {
        Some(visibility) => visibility == "public",
        None => repository.private == Some(false),
    }
}

fn skew(learned: &Learned) -> Option<Finding> {
    let skew = learned.skew.filter(|skew| skew.abs() > SKEW_SMALL)?;
    let (seconds, direction) = (skew.abs() / 1000, if skew > 0 { "behind" } else { "before" });
    Some(Finding::warning(format!(
        "this host's clock is {seconds} s {direction} GitHub's; set it right (NTP)"
    )))
}

fn missing_permissions(place: &Place, permissions: &Value) -> Vec<String> {
    let has = |name: &str, levels: &[&str]| {
        permissions.get(name).and_then(Value::as_str).is_some_and(|it| levels.contains(&it))
    };
    let mut missing = Vec::new();
    match place {
        Place::Repository { .. } if !has("administration", &["write", "admin"]) => {
            missing.push("Administration: write".to_owned());
        }
        Place::Organization(_) if !has("organization_self_hosted_runners", &["write", "admin"]) => {
            missing.push("Self-hosted runners: write".to_owned());
        }
        _ => {}
    }
    if !has("actions", &["read", "write", "admin"]) {
        missing.push("Actions: read".to_owned());
    }
    missing
}

fn missing_scopes(place: &Place, scopes: &str) -> Vec<String> {
    let has = |name: &str| scopes.split(',').any(|scope| scope.trim() == name);
    let needed: &[&str] = match place {
        Place::Repository { .. } => &["repo"],
        Place::Organization(_) => &["admin:org", "repo"],
        Place::Enterprise(_) => &["manage_runners:enterprise"],
    };
    // The greater right holds the smaller one.
    let is_held =
        |name: &str| has(name) || (name == "manage_runners:enterprise" && has("admin:enterprise"));
    needed.iter().filter(|name| !is_held(name)).map(|name| format!("`{name}`")).collect()
}

fn parts(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}
