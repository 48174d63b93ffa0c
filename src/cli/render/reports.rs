//! Reports of runs as a table, and one in full.

use std::fmt::Write as _;

use super::table::Table;
use super::{ago, one_line};
use crate::reports::{FindingCounts, Level, RunDetails, RunReport, TestCounts};
use crate::units::{Time, words};

/// The table that `reports` prints.
#[must_use]
pub fn table(runs: &[RunReport], now: Time) -> String {
    let heads = ["WORKFLOW", "RUN", "WHEN", "TESTS", "FINDINGS", "SIZE", "URL"];
    let mut table = Table::new(&heads);
    for run in runs {
        table.row(vec![
            run.workflow.as_str().into(),
            run.run_id.as_str().into(),
            ago::ago(now.since(run.at)).into(),
            run.tests.map_or_else(|| "-".to_owned(), tests).into(),
            run.findings.map_or_else(|| "-".to_owned(), findings).into(),
            size(run).into(),
            run.url.as_deref().unwrap_or("-").into(),
        ]);
    }
    table.render(super::Paint::Off)
}

/// One run with what failed in it.
#[must_use]
pub fn details(details: &RunDetails, now: Time) -> String {
    let RunDetails { run, failures, worst, sources: _, unread } = details;
    let mut text = format!("{} / {}, {}", run.workflow, run.run_id, ago::ago(now.since(run.at)));
    let mut line = |words: String| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "\n{}", one_line(&words));
    };
    if let Some(url) = &run.url {
        line(format!("  {url}"));
    }
    let files = words::counted(run.files, "file");
    line(format!("  {files}, {}", size(run)));
    if let Some(counts) = run.tests {
        line(format!("  tests: {}", tests(counts)));
    }
    for failure in failures {
        line(format!("    {}: {}", failure.name, failure.message));
    }
    if let Some(counts) = run.findings {
        line(format!("  findings: {}", findings(counts)));
    }
    for finding in worst {
        let rule = finding.rule.as_deref().map(|rule| format!(" {rule}")).unwrap_or_default();
        let place = finding.place.as_deref().map(|at| format!("{at}: ")).unwrap_or_default();
        line(format!("    {}{rule}: {place}{}", level(finding.level), finding.message));
    }
    for it in unread {
        line(format!("  not read: {}: {}", it.path, it.why));
    }
    text.push('\n');
    text
}

fn size(run: &RunReport) -> String {
    format!("{}{}", run.bytes, if run.is_partial { "+" } else { "" })
}

fn tests(TestCounts { passed, failed, skipped, .. }: TestCounts) -> String {
    let parts = [(failed, "failed"), (passed, "passed"), (skipped, "skipped")];
    counted(&parts, "none")
}

fn findings(counts: FindingCounts) -> String {
    let FindingCounts { error, warning, note, none: _, suppressed } = counts;
    let parts = [
        (error, words::agree(&error, "error", "errors")),
        (warning, words::agree(&warning, "warning", "warnings")),
        (note, words::agree(&note, "note", "notes")),
        (suppressed, "suppressed"),
    ];
    counted(&parts, "none")
}

/// `2 failed, 7 passed`, without what there is none of.
fn counted(parts: &[(u32, &str)], nothing: &str) -> String {
    let told = parts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told.map(|(count, what)| format!("{count} {what}")).collect();
    if told.is_empty() { nothing.to_owned() } else { told.join(", ") }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
        Level::None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::{Finding, TestFailure, Unread};
    use crate::units::Bytes;

    fn run() -> RunReport {
        RunReport {
            workflow: "nightly".to_owned(),
            run_id: "42".to_owned(),
            at: Time(1_000_000),
            files: 2,
            bytes: Bytes(2048),
            is_partial: false,
            pages: Vec::new(),
            tests: Some(TestCounts { passed: 7, failed: 2, skipped: 0, took_ms: 12 }),
            findings: None,
            url: Some("http://localhost:9190/reports/nightly/42/".to_owned()),
        }
    }

    #[test]
    fn runs_are_told_in_a_table() {
        let bare = RunReport { tests: None, url: None, is_partial: true, ..run() };
        let text = table(&[run(), bare], Time(1_120_000));
        assert_eq!(
            text,
            "WORKFLOW   RUN   WHEN            TESTS                FINDINGS   SIZE    URL\n\
             nightly    42    2 minutes ago   2 failed, 7 passed   -          2KiB    \
             http://localhost:9190/reports/nightly/42/\n\
             nightly    42    2 minutes ago   -                    -          2KiB+   -\n"
        );
    }

    #[test]
    fn one_run_tells_what_failed_and_nothing_steers_the_terminal() {
        let source = "a.xml".to_owned();
        let details = RunDetails {
            run: RunReport {
                findings: Some(FindingCounts { error: 1, note: 2, ..FindingCounts::default() }),
                ..run()
            },
            failures: vec![TestFailure {
                name: "tests › a".to_owned(),
                message: "\x1b[31mno".to_owned(),
                source: source.clone(),
            }],
            worst: vec![Finding {
                level: Level::Error,
                rule: Some("E1".to_owned()),
                place: Some("a.py:7".to_owned()),
                message: "bad".to_owned(),
                source,
            }],
            sources: Vec::new(),
            unread: vec![Unread { path: "b.xml".to_owned(), why: "torn".to_owned() }],
        };
        let text = super::details(&details, Time(1_120_000));
        assert!(!text.contains('\x1b'), "{text}");
        for words in [
            "nightly / 42, 2 minutes ago\n",
            "  2 files, 2KiB\n",
            "  tests: 2 failed, 7 passed\n",
            "    tests › a: ",
            "  findings: 1 error, 2 notes\n",
            "    error E1: a.py:7: bad\n",
            "  not read: b.xml: torn\n",
        ] {
            assert!(text.contains(words), "no `{words}` in {text}");
        }
    }
}
