//! Which pool a workflow's job is for, by its labels.
//!
//! A job counts for one pool: of those that have all its labels, the one with the fewest labels
//! beside them, then the first of the file. Labels are never stripped or added to force a match.

use std::collections::BTreeSet;

use crate::ids::ScopeUrl;
use crate::spec::{ForgeKind, ForgePool, Pool, Spec};

/// What became of the search.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::fleet) enum Match<'a> {
    /// This pool serves it.
    Pool(&'a Pool),
    /// None does; the pool that lacks the fewest of its labels, and those labels.
    None(Option<(&'a Pool, Vec<String>)>),
}

/// The pool of a scope that a job with these labels is for.
pub(in crate::fleet) fn pool<'a>(spec: &'a Spec, scope: &ScopeUrl, asked: &[String]) -> Match<'a> {
    let of_scope = spec.pools.iter().filter_map(|pool| {
        let forge = pool.forge.as_ref().filter(|forge| forge.scope == *scope)?;
        Some((pool, compare(forge, asked)))
    });
    let mut best: Option<(&Pool, Difference)> = None;
    for (pool, difference) in of_scope {
        if best.as_ref().is_none_or(|(_, it)| difference.rank() < it.rank()) {
            best = Some((pool, difference));
        }
    }
    match best {
        // Whoever asks for no label at all names a group, and which pool is in it is not known.
        Some((pool, it)) if it.missing.is_empty() && !asked.is_empty() => Match::Pool(pool),
        best => Match::None(best.map(|(pool, it)| (pool, it.missing))),
    }
}

/// How the labels of a job and a pool differ.
struct Difference {
    missing: Vec<String>,
    surplus: usize,
}

impl Difference {
    fn rank(&self) -> (usize, usize) {
        (self.missing.len(), self.surplus)
    }
}

fn compare(forge: &ForgePool, asked: &[String]) -> Difference {
    let fold = |labels: &[String]| -> BTreeSet<String> {
        labels.iter().map(|label| folded(forge.kind, label)).collect()
    };
    let (asked, offered) = (fold(asked), fold(&forge.labels));
    Difference {
        missing: asked.difference(&offered).cloned().collect(),
        surplus: offered.difference(&asked).count(),
    }
}

/// GitHub does not tell upper from lower case; Gitea does.
fn folded(kind: ForgeKind, label: &str) -> String {
    match kind {
        ForgeKind::Github => label.trim().to_ascii_lowercase(),
        ForgeKind::Gitea => label.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::forge::testing::{SCOPE, forge_pool};
    use crate::sim::script::spec;

    fn found(spec: &Spec, asked: &[&str]) -> Result<String, (String, Vec<String>)> {
        let asked: Vec<String> = asked.iter().map(|label| (*label).to_owned()).collect();
        match pool(spec, &ScopeUrl::new(SCOPE), &asked) {
            Match::Pool(pool) => Ok(pool.name.to_string()),
            Match::None(nearest) => {
                Err(nearest.map(|(pool, missing)| (pool.name.to_string(), missing)).unwrap())
            }
        }
    }

    #[test]
    fn a_job_is_for_the_pool_that_has_all_its_labels_and_the_fewest_others() {
        let spec = spec()
            .with(forge_pool("wide", &["self-hosted", "linux", "x64", "gpu"]))
            .with(forge_pool("small", &["self-hosted", "Linux", "X64"]))
            .with(forge_pool("twin", &["self-hosted", "Linux", "X64"]));
        let lacks = |pool: &str, label: &str| Err((pool.to_owned(), vec![label.to_owned()]));
        let table: [(&[&str], _); 8] = [
            (&["self-hosted"], Ok("small".to_owned())),
            (&["Self-Hosted", "LINUX"], Ok("small".to_owned())),
            (&[" linux ", "linux"], Ok("small".to_owned())),
            (&["GPU"], Ok("wide".to_owned())),
            (&["self-hosted", "gpu", "x64"], Ok("wide".to_owned())),
            (&["ubuntu-latest"], lacks("small", "ubuntu-latest")),
            (&["gpu", "arm64"], lacks("wide", "arm64")),
            (&[], Err(("small".to_owned(), Vec::new()))),
        ];
        for (asked, expected) in table {
            assert_eq!(found(&spec, asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn gitea_tells_upper_from_lower_case() {
        let mut pool = forge_pool("tea", &["Linux"]);
        pool.forge.as_mut().unwrap().kind = ForgeKind::Gitea;
        let spec = spec().with(pool);
        assert_eq!(found(&spec, &["Linux"]), Ok("tea".to_owned()));
        assert!(found(&spec, &["linux"]).is_err());
    }

    #[test]
    fn pools_of_other_scopes_and_of_none_serve_nobody_here() {
        let mut other = forge_pool("other", &["linux"]);
        other.forge.as_mut().unwrap().scope = ScopeUrl::new("https://github.com/them");
        let spec = spec().with(other).with(Pool::plain("light", 1));
        assert_eq!(pool(&spec, &ScopeUrl::new(SCOPE), &["linux".to_owned()]), Match::None(None));
    }
}
