//! What a spec says of forges, sorted by scope.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::forge::ForgeEntry;
use crate::forge::budget_of;
use crate::ids::ScopeUrl;
use crate::spec::{ForgeAccess, ForgeKind, ForgePool, Proxy, Spec};

/// All that an adapter is made of; one that would be made of the same is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub kind: ForgeKind,
    pub api: Option<String>,
    pub access: ForgeAccess,
    /// Names the credential, whose calls are counted together.
    pub budget: String,
    /// Whose queues are read; all that there are if empty.
    pub repositories: Vec<String>,
    pub groups: Vec<String>,
    pub poll: Duration,
    /// Certificates that are trusted beside the host's.
    pub ca: Vec<u8>,
    /// What is between here and there.
    pub proxy: Option<Proxy>,
}

/// The scopes of a spec that give a right to their API. One that several pools name is spoken to
/// by the right of the first.
pub(super) fn of(spec: &Spec, ca: &[u8]) -> BTreeMap<ScopeUrl, Settings> {
    let mut found: BTreeMap<ScopeUrl, Settings> = BTreeMap::new();
    for pool in with_api(spec) {
        let settings = found.entry(pool.scope.clone()).or_insert_with(|| Settings {
            kind: pool.kind,
            api: spec.forge.github_api.clone().filter(|_| pool.kind == ForgeKind::Github),
            access: pool.access.clone(),
            budget: budget_of(pool),
            repositories: repositories(spec, &pool.scope),
            groups: Vec::new(),
            poll: spec.forge.poll,
            ca: ca.to_owned(),
            proxy: spec.proxy.clone(),
        });
        let group = pool.group.iter().filter(|it| !settings.groups.contains(it)).cloned();
        let group: Vec<_> = group.collect();
        settings.groups.extend(group);
    }
    found
}

fn with_api(spec: &Spec) -> impl Iterator<Item = &ForgePool> {
    let pools = spec.pools.iter().filter_map(|pool| pool.forge.as_ref());
    pools.filter(|pool| !matches!(pool.access, ForgeAccess::Tokens(_)))
}

/// A pool that reads all repositories reads them for the others.
fn repositories(spec: &Spec, scope: &ScopeUrl) -> Vec<String> {
    let mut all = Vec::new();
    for pool in with_api(spec).filter(|pool| pool.scope == *scope) {
        if pool.repositories.is_empty() {
            return Vec::new();
        }
        all.extend(pool.repositories.iter().cloned());
    }
    all.sort();
    all.dedup();
    all
}

/// Where jobs come from that a scope's runners may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) enum Reach {
    /// One repository, `owner/name`.
    Repository(String),
    /// Those of one owner.
    Owner(String),
    /// Those of many: an enterprise, a whole server.
    All,
}

impl Reach {
    /// What a scope's address says.
    pub fn of(scope: &ScopeUrl) -> Self {
        let address = scope.as_str();
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] | ["enterprises", _] => Self::All,
            [owner] => Self::Owner((*owner).to_owned()),
            [.., owner, name] => Self::Repository(format!("{owner}/{name}")),
        }
    }

    /// Whether a repository's jobs may come to the scope's runners.
    pub fn has(&self, repository: &str, organization: Option<&str>) -> bool {
        match self {
            Self::Repository(own) => own.eq_ignore_ascii_case(repository),
            Self::Owner(own) => {
                let owner = repository.split_once('/').map_or(repository, |(owner, _)| owner);
                own.eq_ignore_ascii_case(owner)
                    || organization.is_some_and(|it| own.eq_ignore_ascii_case(it))
            }
            Self::All => true,
        }
    }
}

/// An entry in a few words, for the log.
pub(super) fn words(entry: &ForgeEntry) -> String {
    format!("{} at {}", entry.name, entry.scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PoolName, ProjectName};
    use crate::spec::{Pool, SecretSource};

    fn pool(name: &str, scope: &str, repositories: &[&str], token: Option<&str>) -> Pool {
        let access = match token {
            Some(name) => ForgeAccess::Personal(SecretSource::Variable(name.to_owned())),
            None => ForgeAccess::Tokens("RUNNER_TOKEN_{n}".to_owned()),
        };
        let forge = ForgePool {
            group: Some(name.to_owned()),
            repositories: repositories.iter().map(|it| (*it).to_owned()).collect(),
            ..ForgePool::plain(scope, access)
        };
        Pool { name: PoolName::new(name), forge: Some(forge), ..Pool::plain("standard", 1) }
    }

    #[test]
    fn a_scope_is_spoken_to_once_by_the_first_right_that_it_has() {
        let acme = "https://github.com/acme";
        let mut spec = Spec::built_in(ProjectName::new("slate"));
        spec.pools = vec![
            pool("kept", acme, &[], None),
            pool("a", acme, &["acme/b", "acme/a"], Some("PAT_A")),
            pool("b", acme, &["acme/a"], Some("PAT_B")),
            pool("c", "https://github.com/me/site", &[], None),
        ];
        let found = of(&spec, b"");
        assert_eq!(found.len(), 1, "static tokens give no right to the API");
        let settings = &found[&ScopeUrl::new(acme)];
        let first = ForgeAccess::Personal(SecretSource::Variable("PAT_A".to_owned()));
        assert_eq!(settings.access, first);
        assert_eq!(settings.repositories, ["acme/a", "acme/b"]);
        assert_eq!(settings.groups, ["a", "b"]);
        spec.pools.push(pool("d", acme, &[], Some("PAT_A")));
        assert!(of(&spec, b"")[&ScopeUrl::new(acme)].repositories.is_empty(), "all of them");
    }

    #[test]
    fn a_webhooks_job_is_matched_by_the_scopes_address() {
        let reach = |scope: &str| Reach::of(&ScopeUrl::new(scope));
        let repository = reach("https://github.com/Acme/site/");
        assert!(repository.has("acme/Site", None) && !repository.has("acme/site2", None));
        let owner = reach("https://github.com/acme");
        assert!(owner.has("ACME/x", None) && owner.has("renamed/x", Some("Acme")));
        assert!(!owner.has("other/x", Some("other")) && !owner.has("acme2/x", None));
        assert!(reach("https://github.com/enterprises/big").has("any/thing", None));
        assert!(reach("https://git.lan:3000/").has("any/thing", None));
    }
}
