//! A plan for people: what would happen to each runner and why, then the counts.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Paint, Tone};
use crate::api::doctor::security;
use crate::api::words::{as_the_file_says, right};
use crate::capacity::report::thousands;
use crate::fleet::view::{Change, PlanView, PlannedChange};
use crate::ids::{PoolName, ScopeUrl};
use crate::spec::{Pool, Reuse, Spec};

/// A plan, and what the file says that is no change of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The changes.
    #[serde(flatten)]
    pub plan: PlanView,
    /// The pools that take a forge's jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forges: Vec<PlannedForge>,
    /// Settings that are weaker than their defaults.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weaker: Vec<String>,
}

/// A pool that takes a forge's jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedForge {
    /// The pool.
    pub pool: PoolName,
    /// Where its runners register.
    pub scope: ScopeUrl,
    /// With which labels.
    pub labels: Vec<String>,
    /// By what right; only names of secrets.
    pub right: String,
    /// Whether a registration serves one job or many.
    pub ephemeral: bool,
}

impl Planned {
    /// A plan with what its spec says.
    #[must_use]
    pub fn of(plan: PlanView, spec: &Spec) -> Self {
        let forge = |pool: &Pool| {
            pool.forge.as_ref().map(|forge| PlannedForge {
                pool: pool.name.clone(),
                scope: forge.scope.clone(),
                labels: forge.labels.clone(),
                right: right(&forge.access),
                ephemeral: pool.reuse == Reuse::OneJob,
            })
        };
        let forges = spec.pools.iter().filter_map(forge).collect();
        Self { plan, forges, weaker: security::weaker(spec) }
    }
}

/// The text that `plan` prints.
#[must_use]
pub fn text(planned: &Planned, paint: Paint) -> String {
    let plan = &planned.plan;
    let mut out = String::new();
    let width = plan.changes.iter().map(|change| change.name.chars().count()).max().unwrap_or(0);
    for change in plan.changes.iter().filter(|change| change.change != Change::Keep) {
        line(&mut out, change, width, paint);
    }
    cards(&mut out, plan);
    planned.forges.iter().for_each(|it| forge(&mut out, it));
    for warning in planned.weaker.iter().chain(&plan.warnings) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "warning: {warning}");
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&counts(plan));
    out
}

/// Whether anything would happen.
#[must_use]
pub fn has_changes(plan: &PlanView) -> bool {
    plan.changes.iter().any(|change| change.change != Change::Keep)
}

fn line(out: &mut String, change: &PlannedChange, width: usize, paint: Paint) {
    let (mark, word, tone) = match change.change {
        Change::Create => ("+", "create", Tone::Good),
        Change::Recreate => ("~", "recreate", Tone::Busy),
        Change::Remove => ("-", "remove", Tone::Bad),
        Change::Keep => (" ", "keep", Tone::Dim),
    };
    let head = paint.paint(tone, &format!("{mark} {word:<8}"));
    let text = format!("{head} {:<width$}   {:<10} {}", change.name, change.profile, change.reason);
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "{}", text.trim_end());
}

/// `Pool homelab: https://github.com/me/site, each for one job, by …`.
fn forge(out: &mut String, it: &PlannedForge) {
    let PlannedForge { pool, scope, labels, right, ephemeral } = it;
    let kept = if *ephemeral { "for one job each" } else { "for good" };
    let labels = labels.join(", ");
    // Writing to a String cannot fail.
    let _infallible =
        writeln!(out, "Pool {pool}: registers at {scope} {kept}, by {right}\n  labels: {labels}");
}

/// What each card would hold. Its memory is counted by the fleet; no driver keeps runners to it.
fn cards(out: &mut String, plan: &PlanView) {
    for card in &plan.cards {
        let (leased, memory) = (thousands(card.leased.0), thousands(card.memory.0));
        let runners = card.runners.iter().map(|(profile, count)| format!("{count} {profile}"));
        let runners = match card.runners.is_empty() {
            true => "no runner".to_owned(),
            false => runners.collect::<Vec<_>>().join(", "),
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "GPU {}: {leased} of {memory} MiB: {runners}", card.index);
    }
    if plan.cards.iter().any(|card| !card.runners.is_empty()) {
        out.push_str("vram: accounted\n");
    }
}

fn counts(plan: &PlanView) -> String {
    let count = |wanted| plan.changes.iter().filter(|change| change.change == wanted).count();
    match has_changes(plan) {
        false => format!("No changes: {}.\n", as_the_file_says(plan.changes.len())),
        true => format!(
            "Plan: {} to create, {} to recreate, {} to remove, {} to keep.\n",
            count(Change::Create),
            count(Change::Recreate),
            count(Change::Remove),
            count(Change::Keep)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::PlannedCard;
    use crate::ids::{GpuUuid, ProfileName, SlotId};
    use crate::spec::{DockerAccess, ForgeAccess, ForgePool, ForkJobs};
    use crate::units::GpuMib;

    fn change(number: u32, change: Change, reason: &str) -> PlannedChange {
        PlannedChange {
            id: SlotId(number),
            name: format!("slate-light-{number:02}"),
            pool: PoolName::new("light"),
            profile: ProfileName::new("light"),
            change,
            reason: reason.to_owned(),
        }
    }

    fn shown(plan: &PlanView) -> String {
        let spec = Spec::built_in(crate::ids::ProjectName::new("slate"));
        text(&Planned::of(plan.clone(), &spec), Paint::Off)
    }

    #[test]
    fn a_forges_pools_and_weaker_settings_are_shown_with_names_of_secrets_only() {
        let mut spec = Spec::built_in(crate::ids::ProjectName::new("slate"));
        let forge = ForgePool {
            labels: vec!["self-hosted".to_owned(), "slate".to_owned()],
            fork_jobs: ForkJobs::Allow,
            ..ForgePool::plain(
                "https://github.com/me/site",
                ForgeAccess::Tokens("RUNNER_TOKEN_{n}".to_owned()),
            )
        };
        let pool = Pool { reuse: Reuse::Persistent, forge: Some(forge), ..Pool::plain("light", 1) };
        spec.pools = vec![pool];
        let profile = spec.profiles.get_mut(&ProfileName::new("light")).expect("a locked one");
        profile.docker = DockerAccess::Socket;
        let expected = "\
Pool light: registers at https://github.com/me/site for good, by a registration token for each \
runner in `RUNNER_TOKEN_{n}`
  labels: self-hosted, slate
warning: profile light has `docker: socket`: whoever runs a job there is root on the host
warning: pool light has `fork_jobs: allow`: strangers' pull requests run their code there

No changes: the file asks for no runner, and there is none.
";
        assert_eq!(text(&Planned::of(PlanView::default(), &spec), Paint::Off), expected);
    }

    #[test]
    fn a_plan_names_each_change_with_its_reason_and_counts_them() {
        let plan = PlanView {
            changes: vec![
                change(1, Change::Create, "no container yet"),
                change(2, Change::Recreate, "memory: 512MiB, was 1GiB"),
                change(3, Change::Keep, ""),
                change(4, Change::Remove, "the pool has 3 runners"),
            ],
            warnings: vec!["12 CPUs for 2: runners share them".to_owned()],
            ..PlanView::default()
        };
        let expected = "\
+ create   slate-light-01   light      no container yet
~ recreate slate-light-02   light      memory: 512MiB, was 1GiB
- remove   slate-light-04   light      the pool has 3 runners
warning: 12 CPUs for 2: runners share them

Plan: 1 to create, 1 to recreate, 1 to remove, 1 to keep.
";
        assert_eq!(shown(&plan), expected);
        assert!(has_changes(&plan));
    }

    #[test]
    fn cards_are_shown_with_what_would_be_leased() {
        let card = |index, leased, runners: &[(&str, u32)]| PlannedCard {
            index,
            uuid: GpuUuid::new(format!("GPU-{index}")),
            memory: GpuMib(16_384),
            leased: GpuMib(leased),
            runners: runners
                .iter()
                .map(|(name, count)| (ProfileName::new(*name), *count))
                .collect(),
        };
        let cards = vec![card(0, 16_000, &[("gpu_heavy", 1), ("gpu_light", 4)]), card(1, 0, &[])];
        let plan = PlanView { cards, ..PlanView::default() };
        let expected = "GPU 0: 16,000 of 16,384 MiB: 1 gpu_heavy, 4 gpu_light\n\
                        GPU 1: 0 of 16,384 MiB: no runner\nvram: accounted\n";
        assert!(shown(&plan).starts_with(expected), "{}", shown(&plan));
    }

    #[test]
    fn a_plan_without_changes_says_so() {
        let plan = PlanView { changes: vec![change(1, Change::Keep, "")], ..PlanView::default() };
        assert_eq!(shown(&plan), "No changes: the one runner is as the file says.\n");
        assert!(!has_changes(&plan));
    }
}
