//! What the fleet file opted out of. Also what `plan` shows.

use super::Section;
use super::forges::is_public;
use crate::spec::{DockerAccess, ForkJobs, ReportSharing, Spec};

/// Every weaker setting that a runner of this spec has, and what it means.
#[must_use]
pub fn weaker(spec: &Spec) -> Vec<String> {
    let mut found = Vec::new();
    let used = |name| spec.pools.iter().any(|pool| pool.profile == name);
    let profiles = spec.profiles.iter().filter(|(name, _)| used((*name).clone()));
    for (name, _) in profiles.filter(|(_, it)| it.docker == DockerAccess::Socket) {
        found.push(format!(
            "profile {name} has `docker: socket`: whoever runs a job there is root on the host"
        ));
    }
    for pool in &spec.pools {
        if pool.forge.as_ref().is_some_and(|forge| forge.fork_jobs == ForkJobs::Allow) {
            found.push(format!(
                "pool {} has `fork_jobs: allow`: strangers' pull requests run their code there",
                pool.name
            ));
        }
    }
    if let Some(webhook) = spec.forge.webhook.as_ref().filter(|it| is_public(&it.listen)) {
        found.push(format!(
            "webhooks come in on {}, which other machines reach: keep a proxy with TLS before it",
            webhook.listen
        ));
    }
    if spec.reports.sharing == ReportSharing::Shared {
        found.push(
            "`reports.shared` is true: each job can change the reports of all others".to_owned(),
        );
    }
    found
}

/// A warning for each.
#[must_use]
pub fn section(spec: &Spec) -> Section {
    let mut section = Section::new("Security");
    let found = weaker(spec);
    if found.is_empty() {
        section.ok("no setting is weaker than its default");
    }
    for text in found {
        section.warning(text, None);
    }
    section
}
