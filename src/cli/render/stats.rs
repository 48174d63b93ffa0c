//! How jobs fared lately, as tables.

use std::fmt::Write as _;
use std::time::Duration;

use super::ago::took;
use super::table::{Cell, Table};
use super::{Paint, Tone};
use crate::api::words::job_status;
use crate::fleet::stats::{CauseCount, Figures, Spread, StatsView};
use crate::units::words::{about, counted};

/// A span as it was meant: who asked and who answered have clocks of their own.
fn rounded(span: Duration) -> Duration {
    let step: u64 = if span.as_secs() < 3600 { 1 } else { 60 };
    let seconds = (span + Duration::from_millis(step * 500)).as_secs();
    Duration::from_secs(seconds - seconds % step)
}

/// The text that `stats` prints.
#[must_use]
pub fn text(stats: &StatsView, paint: Paint) -> String {
    let all = &stats.all;
    let within = about(rounded(stats.until.since(stats.since)));
    if all.jobs == 0 {
        return format!("No job ended in the last {within}.\n");
    }
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "In the last {within}: {}", verdict(all));
    if stats.left_out > 0 {
        let _infallible =
            writeln!(out, "Counted are the newest {}; {} more ended.", all.jobs, stats.left_out);
    }
    if let Some(time) = all.gpu_time {
        let _infallible = writeln!(out, "GPU time: {time}");
    }
    out.push('\n');
    out.push_str(&phases(all).render(paint));
    let kinds = [("POOL", &stats.pools), ("PROFILE", &stats.profiles), ("LANE", &stats.lanes)];
    for (kind, groups) in kinds.into_iter().filter(|(_, groups)| !groups.is_empty()) {
        let head = [kind, "JOBS", "SUCCESS", "RETRIES", "WAITED P50", "P99", "RAN P50", "P99"];
        let mut table = Table::new(&head);
        for group in groups {
            let it = &group.figures;
            let mut row: Vec<Cell> = vec![
                group.name.as_str().into(),
                it.jobs.to_string().into(),
                success(it),
                it.retries.to_string().into(),
            ];
            for spread in [it.queued, it.running] {
                row.push(millis(spread.map(|it| it.p50_ms)).into());
                row.push(millis(spread.map(|it| it.p99_ms)).into());
            }
            table.row(row);
        }
        out.push('\n');
        out.push_str(&table.render(paint));
    }
    if !stats.causes.is_empty() {
        out.push('\n');
        out.push_str(&causes(&stats.causes).render(paint));
    }
    out
}

fn verdict(all: &Figures) -> String {
    let jobs = counted(all.jobs, "job");
    let ends: Vec<String> =
        all.ends.iter().map(|(status, count)| format!("{count} {}", job_status(*status))).collect();
    format!("{jobs} ended: {}", ends.join(", "))
}

fn phases(all: &Figures) -> Table {
    let mut table = Table::new(&["PHASE", "P50", "P90", "P99", "MAX"]);
    let phases = [
        ("queued to assigned", all.queued),
        ("assigned to started", all.starting),
        ("started to ended", all.running),
        ("queued to ended", all.whole),
    ];
    for (name, spread) in phases {
        let figures: [fn(&Spread) -> u64; 4] =
            [|it| it.p50_ms, |it| it.p90_ms, |it| it.p99_ms, |it| it.max_ms];
        let cells = figures.map(|figure| millis(spread.as_ref().map(figure)).into());
        table.row(std::iter::once(name.into()).chain(cells).collect());
    }
    table
}

fn success(it: &Figures) -> Cell {
    let Some(permille) = it.success_permille else { return "-".into() };
    let tone = if permille == 1000 { Tone::Good } else { Tone::Bad };
    Cell::toned(Some(tone), format!("{}.{}%", permille / 10, permille % 10))
}

fn causes(causes: &[CauseCount]) -> Table {
    let mut table = Table::new(&["JOBS", "ENDED", "FAULT", "CAUSE"]);
    for it in causes {
        let fault = it.fault.map_or_else(|| "-".to_owned(), |fault| fault.to_string());
        table.row(vec![
            it.jobs.to_string().into(),
            job_status(it.status).into(),
            fault.into(),
            it.cause.as_str().into(),
        ]);
    }
    table
}

/// Below a second the digits that matter are milliseconds.
fn millis(span: Option<u64>) -> String {
    match span {
        None => "-".to_owned(),
        Some(ms @ 0..1000) => format!("{ms}ms"),
        Some(ms) => took(Duration::from_millis(ms)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::render::fixture::NOW;
    use crate::fleet::attempt::{Fault, GpuTime};
    use crate::fleet::stats::Group;
    use crate::fleet::view::JobStatus;

    fn stats() -> StatsView {
        let spread =
            |p50_ms, max_ms| Some(Spread { p50_ms, p90_ms: p50_ms * 2, p99_ms: max_ms, max_ms });
        let all = Figures {
            jobs: 42,
            ends: BTreeMap::from([(JobStatus::Succeeded, 38), (JobStatus::Failed, 4)]),
            faults: BTreeMap::from([(Fault::Job, 4)]),
            success_permille: Some(904),
            retries: 1,
            queued: spread(2, 4100),
            starting: spread(1, 9),
            running: spread(12_000, 245_000),
            whole: spread(12_100, 246_000),
            gpu_time: Some(GpuTime { reserved_ms: 60_000, busy_ms: Some(31_500), unknown_ms: 0 }),
        };
        let lint = Figures {
            jobs: 3,
            success_permille: Some(1000),
            queued: spread(1, 2),
            ..Figures::default()
        };
        StatsView {
            since: NOW.before(Duration::from_secs(86_400)),
            until: NOW,
            left_out: 0,
            pools: vec![
                Group { name: "default".to_owned(), figures: all.clone() },
                Group { name: "light".to_owned(), figures: lint },
            ],
            all,
            profiles: Vec::new(),
            lanes: Vec::new(),
            causes: vec![CauseCount {
                status: JobStatus::Failed,
                fault: Some(Fault::Job),
                cause: "exit code 1".to_owned(),
                jobs: 4,
            }],
        }
    }

    #[test]
    fn the_text_has_phases_groups_and_causes() {
        assert_eq!(text(&stats(), Paint::Off), include_str!("expected/stats.txt"));
    }

    #[test]
    fn a_fleet_without_jobs_says_so_and_no_clock_makes_it_a_moment_less() {
        for (millis, within) in [(599_700, "10m"), (600_200, "10m"), (86_398_900, "1d")] {
            let none = StatsView {
                since: NOW.before(Duration::from_millis(millis)),
                until: NOW,
                ..StatsView::default()
            };
            let told = text(&none, Paint::Off);
            assert_eq!(told, format!("No job ended in the last {within}.\n"));
        }
    }
}
