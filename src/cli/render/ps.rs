//! Runners as a table.

use super::ago::span;
use super::table::{Cell, Table};
use super::{Paint, Tone, forges};
use crate::fleet::event::Cordon;
use crate::fleet::view::{FleetView, Health, RunnerStatus, RunnerView};
use crate::units::Time;

/// The table that `ps` prints.
#[must_use]
pub fn table(fleet: &FleetView, paint: Paint) -> String {
    let mut table = Table::new(&["NAME", "PROFILE", "STATUS", "JOB", "DONE", "LIMITS", "NOTE"]);
    for runner in &fleet.runners {
        table.row(vec![
            runner.name.as_str().into(),
            runner.profile.as_str().into(),
            status(runner, fleet.at),
            job(runner).into(),
            runner.tasks_completed.to_string().into(),
            limits(runner).into(),
            note(runner).into(),
        ]);
    }
    table.render(paint)
}

/// The heads of the wide table; those of a forge only where a runner has one.
const WIDE: [&str; 12] = [
    "ID",
    "NAME",
    "POOL",
    "PROFILE",
    "STATUS",
    "HEALTH",
    "JOB",
    "DONE",
    "LIMITS",
    "IMAGE",
    "CONTAINER",
    "LABELS",
];
const FORGE: [&str; 4] = ["REGISTERED", "ONLINE", "BUSY", "VERSION"];

/// The table that `ps --format wide` prints.
#[must_use]
pub fn wide(fleet: &FleetView, paint: Paint) -> String {
    let has_forge = fleet.runners.iter().any(|runner| runner.forge.is_some());
    let forge: &[&'static str] = if has_forge { &FORGE } else { &[] };
    let mut table = Table::new(&[&WIDE, forge, &["NOTE"]].concat());
    for runner in &fleet.runners {
        let mut row = vec![
            runner.id.to_string().into(),
            runner.name.as_str().into(),
            runner.pool.as_str().into(),
            runner.profile.as_str().into(),
            status(runner, fleet.at),
            crate::api::words::health(runner.health).into(),
            job(runner).into(),
            runner.tasks_completed.to_string().into(),
            limits(runner).into(),
            runner.image.as_str().into(),
            container(runner).into(),
            runner.labels.join(",").into(),
        ];
        if has_forge {
            let at = runner.forge.as_ref();
            row.push(forges::registration(runner).into());
            row.push(forges::yes_no(at.and_then(|it| it.online)).into());
            row.push(forges::yes_no(at.and_then(|it| it.busy)).into());
            row.push(at.and_then(|it| it.version.as_deref()).unwrap_or("-").into());
        }
        row.push(note(runner).into());
        table.row(row);
    }
    table.render(paint)
}

/// Why it is so, or where its forge sees it otherwise.
fn note(runner: &RunnerView) -> String {
    runner.reason.clone().or_else(|| forges::note(runner)).unwrap_or_default()
}

fn status(runner: &RunnerView, now: Time) -> Cell {
    let (_, tone) = word(runner.status);
    Cell::toned(Some(tone), status_text(runner, now))
}

pub(super) fn word(status: RunnerStatus) -> (&'static str, Tone) {
    match status {
        RunnerStatus::Planned => ("Planned", Tone::Dim),
        RunnerStatus::Creating => ("Creating", Tone::Busy),
        RunnerStatus::Starting => ("Starting", Tone::Busy),
        RunnerStatus::Registering => ("Registering", Tone::Busy),
        RunnerStatus::Idle => ("Idle", Tone::Good),
        RunnerStatus::Running => ("Running", Tone::Busy),
        RunnerStatus::Stopping => ("Stopping", Tone::Dim),
        RunnerStatus::Removing => ("Removing", Tone::Dim),
        RunnerStatus::Error => ("Error", Tone::Bad),
        RunnerStatus::Stale => ("Stale", Tone::Bad),
        RunnerStatus::Oom => ("Out of memory", Tone::Bad),
        RunnerStatus::TimedOut => ("Timed out", Tone::Bad),
    }
}

/// `Idle 2 minutes (cordoned)`.
pub(super) fn status_text(runner: &RunnerView, now: Time) -> String {
    let (word, _) = word(runner.status);
    let since = span(now.since(runner.since));
    let health = match runner.health {
        Health::Healthy | Health::Unknown => "",
        Health::Unhealthy => " (unhealthy)",
    };
    let cordon = match runner.cordon {
        Cordon::Open => "",
        Cordon::Closed => " (cordoned)",
    };
    format!("{word} {}{health}{cordon}", lower_first(&since))
}

/// `About a minute` behind a word is `about a minute`.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn job(runner: &RunnerView) -> String {
    let work = runner.forge.as_ref().filter(|_| runner.status == RunnerStatus::Running);
    let work = work.and_then(|forge| forge.work.as_ref()).map(forges::work);
    runner.job.map(|job| job.to_string()).or(work).unwrap_or_else(|| "-".to_owned())
}

fn limits(runner: &RunnerView) -> String {
    let gpu = runner.gpu.map(|gpu| format!(", GPU {gpu}")).unwrap_or_default();
    format!("{} CPU, {}{gpu}", runner.cpus, runner.memory)
}

fn container(runner: &RunnerView) -> String {
    match &runner.container {
        // Docker's own short form.
        Some(id) => id.as_str().chars().take(12).collect(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::fixture;

    #[test]
    fn the_table_shows_state_job_limits_and_what_is_wrong() {
        let mut fleet = fixture::fleet();
        fleet.runners.retain(|runner| [1, 3, 8, 19].contains(&runner.id.0));
        let expected = include_str!("expected/ps.txt");
        assert_eq!(table(&fleet, Paint::Off), expected);
    }

    #[test]
    fn a_forges_runners_show_its_job_and_where_it_sees_them_otherwise() {
        let fleet = fixture::forge_fleet();
        let expected = include_str!("expected/ps-forge.txt");
        assert_eq!(table(&fleet, Paint::Off), expected);
        let expected = include_str!("expected/ps-forge-wide.txt");
        assert_eq!(wide(&fleet, Paint::Off), expected);
    }

    #[test]
    fn the_wide_table_adds_what_an_operator_looks_up() {
        let mut fleet = fixture::fleet();
        fleet.runners.truncate(1);
        let expected = include_str!("expected/ps-wide.txt");
        assert_eq!(wide(&fleet, Paint::Off), expected);
    }
}
