//! What forges tell: their jobs as a table, and what is left of runners in their lists.

use super::ago::ago;
use super::table::{Cell, Table};
use super::{Paint, Tone};
use crate::fleet::forge::{ForgeJobStatus, ForgeJobView, ForgeView, WorkFact};
use crate::fleet::view::{FleetView, RunnerStatus, RunnerView};
use crate::ids::ScopeUrl;
use crate::units::Time;

/// The forges' jobs, as `jobs` prints them below the fleet's own.
#[must_use]
pub fn jobs(jobs: &[ForgeJobView], now: Time, paint: Paint) -> String {
    let mut table = Table::new(&[
        "FORGE JOB",
        "STATUS",
        "REPOSITORY",
        "NAME",
        "POOL",
        "RUNNER",
        "CREATED",
        "NOTE",
    ]);
    for job in jobs {
        table.row(vec![
            job.job.id.to_string().into(),
            status(job),
            job.job.repository.as_str().into(),
            job.job.name.as_str().into(),
            pool(job).into(),
            job.job.runner.as_deref().unwrap_or("-").into(),
            ago(now.since(job.job.created)).into(),
            job.reason.as_deref().unwrap_or("").into(),
        ]);
    }
    table.render(paint)
}

/// The same with what is looked up.
#[must_use]
pub fn jobs_wide(jobs: &[ForgeJobView], now: Time, paint: Paint) -> String {
    let mut table = Table::new(&[
        "FORGE JOB",
        "STATUS",
        "REPOSITORY",
        "WORKFLOW",
        "RUN",
        "ATTEMPT",
        "NAME",
        "LABELS",
        "FORK",
        "POOL",
        "RUNNER",
        "CREATED",
        "PAGE",
        "NOTE",
    ]);
    for job in jobs {
        let fact = &job.job;
        table.row(vec![
            fact.id.to_string().into(),
            status(job),
            fact.repository.as_str().into(),
            fact.workflow.as_deref().unwrap_or("-").into(),
            fact.run.to_string().into(),
            fact.attempt.to_string().into(),
            fact.name.as_str().into(),
            fact.labels.join(",").into(),
            yes_no(fact.fork).into(),
            pool(job).into(),
            fact.runner.as_deref().unwrap_or("-").into(),
            ago(now.since(fact.created)).into(),
            fact.url.as_deref().unwrap_or("-").into(),
            job.reason.as_deref().unwrap_or("").into(),
        ]);
    }
    table.render(paint)
}

fn status(job: &ForgeJobView) -> Cell {
    let tone = match &job.job.status {
        ForgeJobStatus::Held => Some(Tone::Dim),
        ForgeJobStatus::Queued => None,
        ForgeJobStatus::Running => Some(Tone::Busy),
        ForgeJobStatus::Completed(how) if how == "success" => Some(Tone::Good),
        ForgeJobStatus::Completed(_) => Some(Tone::Bad),
    };
    Cell::toned(tone, status_text(&job.job.status))
}

/// `queued`, or the forge's own word for how it ended.
pub(super) fn status_text(status: &ForgeJobStatus) -> String {
    match status {
        ForgeJobStatus::Held => "held".to_owned(),
        ForgeJobStatus::Queued => "queued".to_owned(),
        ForgeJobStatus::Running => "running".to_owned(),
        ForgeJobStatus::Completed(how) => how.clone(),
    }
}

fn pool(job: &ForgeJobView) -> &str {
    job.pool.as_ref().map_or("-", |pool| pool.as_str())
}

/// `yes`, `no`, or `-` where it is not known.
pub(super) fn yes_no(it: Option<bool>) -> &'static str {
    match it {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    }
}

/// The forge's job of a runner: `acme/site: build`.
pub(super) fn work(work: &WorkFact) -> String {
    let name = work.name.as_deref().or(work.workflow.as_deref()).unwrap_or("a job");
    match &work.repository {
        Some(repository) => format!("{repository}: {name}"),
        None => name.to_owned(),
    }
}

/// What a person should know of a runner, where the fleet and its forge do not see the same.
pub(super) fn note(runner: &RunnerView) -> Option<String> {
    let forge = runner.forge.as_ref()?;
    let host = host(&forge.scope);
    match (runner.status, forge.online, forge.busy) {
        (RunnerStatus::Idle | RunnerStatus::Running, Some(false), _) => {
            Some(format!("{host} sees it offline"))
        }
        (RunnerStatus::Idle, Some(true), Some(true)) => Some(format!("{host} calls it busy")),
        _ => None,
    }
}

/// `homelab-runner-1 (21)`: the name and the number at the forge.
pub(super) fn registration(runner: &RunnerView) -> String {
    let Some(forge) = &runner.forge else { return "-".to_owned() };
    match (&forge.name, forge.id) {
        (Some(name), Some(id)) => format!("{name} ({id})"),
        (Some(name), None) => name.clone(),
        (None, Some(id)) => id.to_string(),
        (None, None) => "-".to_owned(),
    }
}

/// The entries that wait to be removed, a line for each scope.
#[must_use]
pub fn leftovers(fleet: &FleetView) -> String {
    let with_some = fleet.forges.iter().filter(|forge| !forge.leftovers.is_empty());
    with_some.map(leftovers_line).collect()
}

fn leftovers_line(forge: &ForgeView) -> String {
    let place = place(&forge.scope);
    match forge.leftovers.as_slice() {
        [one] => format!("1 entry at {place} waits to be removed: {one}\n"),
        all => format!("{} entries at {place} wait to be removed\n", all.len()),
    }
}

/// `github.com/acme`.
pub(super) fn place(scope: &ScopeUrl) -> &str {
    scope.as_str().split_once("://").map_or(scope.as_str(), |(_, rest)| rest)
}

/// `github.com`.
pub(super) fn host(scope: &ScopeUrl) -> &str {
    place(scope).split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::fixture::{self, NOW};

    #[test]
    fn forges_jobs_are_a_table_with_the_reason_why_they_wait() {
        let running = || {
            let mut job = fixture::forge_job();
            job.job.status = ForgeJobStatus::Running;
            job.job.runner = Some("homelab-runner-1".to_owned());
            job.job.name = "test\u{1b}[2J".to_owned();
            job.reason = None;
            job
        };
        let all = [fixture::forge_job(), running()];
        assert_eq!(jobs(&all, NOW, Paint::Off), include_str!("expected/forge-jobs.txt"));
        let wide = jobs_wide(&all, NOW, Paint::Off);
        assert_eq!(wide, include_str!("expected/forge-jobs-wide.txt"));
    }

    #[test]
    fn leftovers_are_counted_and_a_single_one_is_named() {
        let mut fleet = fixture::forge_fleet();
        let two = "2 entries at github.com/acme/site wait to be removed\n";
        assert_eq!(leftovers(&fleet), two);
        fleet.forges[0].leftovers.truncate(1);
        let one = "1 entry at github.com/acme/site waits to be removed: slate-ci-7-0011aabb\n";
        assert_eq!(leftovers(&fleet), one);
        fleet.forges[0].leftovers.clear();
        assert_eq!(leftovers(&fleet), "");
    }
}
