//! Workflows that are started by hand (`workflow_dispatch`): by which pool's right, and where.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::{Problem, ProblemKind};
use crate::forge::Dispatch;
use crate::ids::{ForgeRunId, PoolName, ScopeUrl};
use crate::spec::{ForgeAccess, ForgePool, Pool, Spec};

/// GitHub takes no more.
const INPUTS_MAX: usize = 25;
/// All inputs together, by GitHub's word.
const INPUT_BYTES_MAX: usize = 65_535;
/// Longest name of a workflow, a repository or a branch.
const NAME_MAX: usize = 255;

/// Body of `POST /api/v1/dispatch`. Only `workflow` is needed where the fleet serves one
/// repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DispatchBody {
    /// The workflow's file name, such as `multi-runner.yml`, or its number.
    pub workflow: String,
    /// `owner/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The pool whose right is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The branch or tag; the default branch if none.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Its inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
}

/// Answer of `POST /api/v1/dispatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DispatchAnswer {
    /// The workflow.
    pub workflow: String,
    /// `owner/name`.
    pub repository: String,
    /// The pool whose right was used.
    pub pool: PoolName,
    /// The run; null where the forge did not say in time which it is.
    pub run: Option<ForgeRunId>,
    /// Its page.
    pub url: Option<String>,
}

/// Answer of `GET /api/v1/forge/runs/{run}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunAnswer {
    /// The run.
    pub run: ForgeRunId,
    /// The forge's word for where it stands: `queued`, `in_progress`, `completed` …
    pub status: String,
    /// The forge's word for how it ended: `success`, `failure`, `cancelled` …
    pub conclusion: Option<String>,
    /// Its page.
    pub url: Option<String>,
}

/// Query of `GET /api/v1/forge/runs/{run}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunQuery {
    /// The pool whose right is used.
    pub pool: PoolName,
    /// `owner/name`.
    pub repository: String,
}

/// The pool by whose right it is started, and what is started.
pub(super) fn choose(spec: &Spec, body: DispatchBody) -> Result<(PoolName, Dispatch), Problem> {
    check(&body)?;
    let pools = usable(spec, body.pool.as_deref())?;
    let (pool, repository) = match &body.repository {
        Some(repository) => (covering(&pools, repository)?, repository.clone()),
        None => the_one(&pools)?,
    };
    let DispatchBody { workflow, reference, inputs, .. } = body;
    Ok((pool, Dispatch { repository, workflow, reference, inputs }))
}

/// By what right a run is looked at: as it is started.
pub(super) fn may_ask(spec: &Spec, query: &RunQuery) -> Result<(), Problem> {
    check_repository(&query.repository)?;
    let pools = usable(spec, Some(query.pool.as_str()))?;
    covering(&pools, &query.repository).map(drop)
}

fn check(body: &DispatchBody) -> Result<(), Problem> {
    let is_plain = |text: &str| {
        !text.is_empty()
            && text.len() <= NAME_MAX
            && !text.contains(|c: char| c.is_control() || c.is_whitespace() || "?#%\\".contains(c))
    };
    if !is_plain(&body.workflow) || body.workflow.contains('/') {
        return Err(invalid(format!(
            "`{}` is no workflow: name its file, such as `multi-runner.yml`, or its number",
            body.workflow
        )));
    }
    if let Some(reference) = body.reference.as_deref().filter(|it| !is_plain(it)) {
        return Err(invalid(format!("`{reference}` is no branch or tag")));
    }
    if let Some(repository) = &body.repository {
        check_repository(repository)?;
    }
    let bytes: usize = body.inputs.iter().map(|(name, value)| name.len() + value.len()).sum();
    match body.inputs.len() > INPUTS_MAX || bytes > INPUT_BYTES_MAX {
        true => Err(invalid(format!(
            "a workflow takes at most {INPUTS_MAX} inputs of {INPUT_BYTES_MAX} bytes together"
        ))),
        false => Ok(()),
    }
}

fn check_repository(repository: &str) -> Result<(), Problem> {
    let is_name = |text: &str| {
        !text.is_empty()
            && text.len() <= NAME_MAX
            && !matches!(text, "." | "..")
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    match repository.split_once('/') {
        Some((owner, name)) if is_name(owner) && is_name(name) => Ok(()),
        _ => Err(invalid(format!("`{repository}` is no repository; write `owner/name`"))),
    }
}

type Usable<'a> = Vec<(&'a Pool, &'a ForgePool)>;

/// The pools, or the one that is named, whose right is access to a forge's API.
fn usable<'a>(spec: &'a Spec, named: Option<&str>) -> Result<Usable<'a>, Problem> {
    if let Some(name) = named {
        let pool = spec.pools.iter().find(|pool| pool.name.as_str() == name);
        let pool = pool.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no pool `{name}`"))
        })?;
        let forge = pool.forge.as_ref().ok_or_else(|| {
            invalid(format!("pool {name} takes the fleet's own jobs and knows no forge"))
        })?;
        return match forge.access {
            ForgeAccess::Tokens(_) => Err(invalid(format!(
                "pool {name} registers with `token_env`, which gives no right to start workflows; \
                 give it `pat` or `app`"
            ))),
            ForgeAccess::Personal(_) | ForgeAccess::App(_) => Ok(vec![(pool, forge)]),
        };
    }
    let pools: Usable<'_> = spec
        .pools
        .iter()
        .filter_map(|pool| Some((pool, pool.forge.as_ref()?)))
        .filter(|(_, forge)| !matches!(forge.access, ForgeAccess::Tokens(_)))
        .collect();
    match pools.is_empty() {
        false => Ok(pools),
        true => Err(Problem::new(
            ProblemKind::Conflict,
            "no pool has a right to start workflows; give one `pat` or `app` under `github`",
        )),
    }
}

/// The first pool whose scope has a repository.
fn covering(pools: &Usable<'_>, repository: &str) -> Result<PoolName, Problem> {
    let found = pools.iter().find(|(_, forge)| Place::of(&forge.scope).has(repository));
    found.map(|(pool, _)| pool.name.clone()).ok_or_else(|| {
        let scopes: BTreeSet<&str> = pools.iter().map(|(_, forge)| forge.scope.as_str()).collect();
        let scopes: Vec<&str> = scopes.into_iter().collect();
        invalid(format!(
            "`{repository}` is in no scope that the fleet may start workflows in: {}",
            scopes.join(", ")
        ))
    })
}

/// The repository, where the pools leave no choice.
fn the_one(pools: &Usable<'_>) -> Result<(PoolName, String), Problem> {
    let known: BTreeMap<String, &PoolName> = pools
        .iter()
        .flat_map(|(pool, forge)| {
            repositories(forge).into_iter().map(|repository| (repository, &pool.name))
        })
        .rev()
        .collect();
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    match known.first_key_value().filter(|_| known.len() == 1) {
        Some((repository, pool)) => Ok(((*pool).clone(), repository.clone())),
        None if names.is_empty() => {
            Err(invalid("name the repository: `--repo owner/name`".to_owned()))
        }
        None => {
            let message = format!("name the repository: `--repo` with one of {}", names.join(", "));
            Err(invalid(message))
        }
    }
}

fn repositories(forge: &ForgePool) -> Vec<String> {
    match Place::of(&forge.scope) {
        Place::Repository(repository) => vec![repository],
        Place::Owner(_) | Place::All => forge.repositories.clone(),
    }
}

/// What a scope's address says.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// `owner/name`.
    Repository(String),
    /// An organization or a user.
    Owner(String),
    /// An enterprise, or a whole server.
    All,
}

impl Place {
    fn of(scope: &ScopeUrl) -> Self {
        let (_, address) = scope.as_str().split_once("://").unwrap_or(("", scope.as_str()));
        let parts: Vec<&str> = address.split('/').skip(1).filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] | ["enterprises", _] => Self::All,
            [owner] => Self::Owner((*owner).to_owned()),
            // A server below a path has more parts before these.
            [.., owner, name] => Self::Repository(format!("{owner}/{name}")),
        }
    }

    fn has(&self, repository: &str) -> bool {
        match self {
            Self::Repository(own) => own.eq_ignore_ascii_case(repository),
            Self::Owner(own) => {
                repository.split_once('/').is_some_and(|(owner, _)| owner.eq_ignore_ascii_case(own))
            }
            Self::All => true,
        }
    }
}

fn invalid(detail: String) -> Problem {
    Problem::new(ProblemKind::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProjectName;
    use crate::spec::SecretSource;

    fn pool(name: &str, scope: &str, access: ForgeAccess) -> Pool {
        let forge = ForgePool::plain(scope, access);
        Pool { name: PoolName::new(name), forge: Some(forge), ..Pool::plain("light", 1) }
    }

    fn personal() -> ForgeAccess {
        ForgeAccess::Personal(SecretSource::Variable("GITHUB_PAT".to_owned()))
    }

    fn spec(pools: Vec<Pool>) -> Spec {
        Spec { pools, ..Spec::built_in(ProjectName::new("slate")) }
    }

    fn body(repository: Option<&str>, pool: Option<&str>) -> DispatchBody {
        DispatchBody {
            workflow: "multi-runner.yml".to_owned(),
            repository: repository.map(str::to_owned),
            pool: pool.map(str::to_owned),
            ..DispatchBody::default()
        }
    }

    #[test]
    fn the_repository_and_the_right_are_found_where_there_is_no_choice() {
        let site = "https://github.com/acme/site";
        let tokens = ForgeAccess::Tokens("RUNNER_TOKEN_{n}".to_owned());
        let one = spec(vec![
            Pool::plain("light", 2),
            pool("homelab", site, tokens),
            pool("ci", site, personal()),
            pool("more", site, personal()),
        ]);
        let (by, dispatch) = choose(&one, body(None, None)).expect("one repository");
        assert_eq!((by.as_str(), dispatch.repository.as_str()), ("ci", "acme/site"));
        let (by, _) = choose(&one, body(Some("Acme/Site"), Some("more"))).expect("the same");
        assert_eq!(by.as_str(), "more");
        for (repository, pool, said) in [
            (None, Some("homelab"), "`token_env`"),
            (None, Some("light"), "knows no forge"),
            (None, Some("lite"), "there is no pool `lite`"),
            (Some("acme/other"), None, "in no scope"),
            (Some("acme"), None, "write `owner/name`"),
            (Some("../x"), None, "write `owner/name`"),
        ] {
            let problem = choose(&one, body(repository, pool)).expect_err(said);
            assert!(problem.detail.contains(said), "{}", problem.detail);
        }
    }

    #[test]
    fn an_organization_needs_a_name_unless_its_pool_lists_one_repository() {
        let mut org = pool("org", "https://github.com/acme", personal());
        let problem = choose(&spec(vec![org.clone()]), body(None, None)).expect_err("no name");
        assert!(problem.detail.contains("--repo owner/name"), "{}", problem.detail);
        let listed = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let forge = org.forge.as_mut().expect("it has a forge");
        forge.repositories = listed(&["acme/site"]);
        let (_, dispatch) = choose(&spec(vec![org.clone()]), body(None, None)).expect("the one");
        assert_eq!(dispatch.repository, "acme/site");
        let forge = org.forge.as_mut().expect("it has a forge");
        forge.repositories = listed(&["acme/site", "acme/api"]);
        let problem = choose(&spec(vec![org.clone()]), body(None, None)).expect_err("two");
        assert!(problem.detail.contains("acme/api, acme/site"), "{}", problem.detail);
        assert!(choose(&spec(vec![org]), body(Some("acme/any"), None)).is_ok());
        let none = choose(&spec(vec![Pool::plain("light", 1)]), body(None, None));
        assert_eq!(none.expect_err("no right").kind, ProblemKind::Conflict);
    }

    #[test]
    fn what_cannot_be_a_workflow_a_branch_or_inputs_is_refused() {
        let one = spec(vec![pool("ci", "https://github.com/acme/site", personal())]);
        let many = (0..26).map(|n| (n.to_string(), String::new())).collect();
        for wrong in [
            DispatchBody { workflow: String::new(), ..body(None, None) },
            DispatchBody { workflow: "../1/cancel".to_owned(), ..body(None, None) },
            DispatchBody { reference: Some("a b".to_owned()), ..body(None, None) },
            DispatchBody { inputs: many, ..body(None, None) },
        ] {
            let problem = choose(&one, wrong.clone()).expect_err("refused");
            assert_eq!(problem.kind, ProblemKind::Invalid, "{wrong:?}");
        }
    }

    #[test]
    fn a_scope_is_read_from_its_address() {
        let of = |text: &str| Place::of(&ScopeUrl::new(text));
        assert_eq!(of("https://github.com/a/b"), Place::Repository("a/b".to_owned()));
        assert_eq!(of("https://ghe.lan/a"), Place::Owner("a".to_owned()));
        assert_eq!(of("https://github.com/enterprises/e"), Place::All);
        assert_eq!(of("http://127.0.0.1:8080"), Place::All);
    }
}
