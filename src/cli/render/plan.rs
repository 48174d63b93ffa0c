//! A plan for people: what would happen to each runner and why, then the counts.

use std::fmt::Write as _;

use super::{Paint, Tone};
use crate::capacity::report::thousands;
use crate::fleet::view::{Change, PlanView, PlannedChange};

/// The text that `plan` prints.
#[must_use]
pub fn text(plan: &PlanView, paint: Paint) -> String {
    let mut out = String::new();
    let width = plan.changes.iter().map(|change| change.name.chars().count()).max().unwrap_or(0);
    for change in plan.changes.iter().filter(|change| change.change != Change::Keep) {
        line(&mut out, change, width, paint);
    }
    cards(&mut out, plan);
    for warning in &plan.warnings {
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
        false => format!("No changes: all {} runners are as the file says.\n", plan.changes.len()),
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
    use crate::ids::{GpuUuid, PoolName, ProfileName, SlotId};
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
        assert_eq!(text(&plan, Paint::Off), expected);
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
        assert!(text(&plan, Paint::Off).starts_with(expected), "{}", text(&plan, Paint::Off));
    }

    #[test]
    fn a_plan_without_changes_says_so() {
        let plan = PlanView { changes: vec![change(1, Change::Keep, "")], ..PlanView::default() };
        assert_eq!(text(&plan, Paint::Off), "No changes: all 1 runners are as the file says.\n");
        assert!(!has_changes(&plan));
    }
}
