//! Specification 1's status text, to the letter.

use std::fmt::Write as _;

use crate::api::spec_one::RunnersSummary;
use crate::api::words::runner_status;
use crate::fleet::view::FleetView;

/// Rows that the specification shows before it writes `...`.
const ROWS: usize = 13;
const RULE: &str = "============================================================";
const THIN: &str = "------------------------------------------------------------";

/// How many runners are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// As the specification shows it: thirteen, then `...`.
    AsSpecified,
    /// Every one.
    All,
}

/// The text, for any number of runners.
#[must_use]
pub fn text(fleet: &FleetView, rows: Rows) -> String {
    let mut out = format!("{RULE}\n  SLATE Multi-Runner Status\n{RULE}\n\n");
    summary(&mut out, &RunnersSummary::counts(fleet));
    out.push_str("Runners:\n");
    out.push_str(THIN);
    out.push('\n');
    row(&mut out, ["ID", "Name", "Profile", "GPU", "Status"]);
    row(&mut out, [&"-".repeat(12), &"-".repeat(25), &"-".repeat(12), "-----", "--------"]);
    let shown = match rows {
        Rows::AsSpecified => ROWS,
        Rows::All => fleet.runners.len(),
    };
    for runner in fleet.runners.iter().take(shown) {
        let gpu = runner.gpu.map_or_else(|| "-".to_owned(), |gpu| gpu.to_string());
        let id = runner.id.to_string();
        let status = runner_status(runner.status);
        row(&mut out, [&id, &runner.name, runner.profile.as_str(), &gpu, status]);
    }
    if fleet.runners.len() > shown {
        out.push_str("  ...\n");
    }
    out.push_str(RULE);
    out.push('\n');
    out
}

/// How many runners the specification's form leaves out.
#[must_use]
pub fn hidden(fleet: &FleetView) -> usize {
    fleet.runners.len().saturating_sub(ROWS)
}

fn summary(out: &mut String, counts: &RunnersSummary) {
    let RunnersSummary { total_runners, running, idle, error, max_parallel, .. } = counts;
    // Writing to a String cannot fail.
    let _infallible = write!(
        out,
        "Total Runners: {total_runners}\n  Running: {running}\n  Idle:    {idle}\n  \
         Error:   {error}\nMax Parallel: {max_parallel}\n\nGPU Distribution:\n"
    );
    for (gpu, runners) in &counts.gpu_distribution {
        let _infallible = writeln!(out, "  {gpu}: {runners} runners");
    }
    out.push('\n');
}

fn row(out: &mut String, [id, name, profile, gpu, status]: [&str; 5]) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "  {id:<12} {name:<25} {profile:<12} {gpu:<5} {status}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::spec_one::CardUse;
    use crate::cli::render::fixture;

    /// Specification 1, "Status Output".
    const SAMPLE: &str = "\
============================================================
  SLATE Multi-Runner Status
============================================================

Total Runners: 19
  Running: 3
  Idle:    15
  Error:   1
Max Parallel: 8

GPU Distribution:
  GPU 0: 1 runners
  GPU 1: 6 runners

Runners:
------------------------------------------------------------
  ID           Name                      Profile      GPU   Status
  ------------ ------------------------- ------------ ----- --------
  runner-001   slate-gpu-heavy-01        gpu_heavy    0     running
  runner-002   slate-gpu-light-02        gpu_light    1     idle
  runner-003   slate-gpu-light-03        gpu_light    1     idle
  runner-004   slate-gpu-light-04        gpu_light    1     running
  runner-005   slate-gpu-light-05        gpu_light    1     idle
  runner-006   slate-gpu-light-06        gpu_light    1     idle
  runner-007   slate-gpu-light-07        gpu_light    1     idle
  runner-008   slate-standard-08         standard     -     running
  runner-009   slate-standard-09         standard     -     idle
  runner-010   slate-standard-10         standard     -     idle
  runner-011   slate-standard-11         standard     -     idle
  runner-012   slate-light-12            light        -     idle
  runner-013   slate-light-13            light        -     idle
  ...
============================================================
";

    #[test]
    fn the_text_is_the_specifications_sample_to_the_letter() {
        assert_eq!(text(&fixture::fleet(), Rows::AsSpecified), SAMPLE);
    }

    #[test]
    fn all_rows_are_shown_when_asked_for_or_when_they_fit() {
        let mut fleet = fixture::fleet();
        let all = text(&fleet, Rows::All);
        assert!(
            all.contains("  runner-019   slate-light-19            light        -     error\n")
        );
        assert!(!all.contains("..."));
        fleet.runners.truncate(13);
        assert!(!text(&fleet, Rows::AsSpecified).contains("..."));
    }

    #[test]
    fn the_json_is_the_specifications_with_its_keys_in_order() {
        let mut summary = RunnersSummary::counts(&fixture::fleet());
        summary.utilization.cards = [(CardUse(0), 75), (CardUse(1), 45)].into();
        summary.utilization.cpu = Some(12);
        let json = serde_json::to_string(&summary).expect("serialises");
        assert_eq!(
            json,
            "{\"total_runners\":19,\"running\":3,\"idle\":15,\"error\":1,\"max_parallel\":8,\
             \"gpu_distribution\":{\"GPU 0\":1,\"GPU 1\":6},\"utilization\":{\"gpu_0\":75,\"gpu_1\":45,\
             \"cpu\":12}}"
        );
        assert_eq!(serde_json::from_str::<RunnersSummary>(&json).ok(), Some(summary));
    }
}
