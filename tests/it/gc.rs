//! `gc`: what is over goes, what is in use and what is not the fleet's own stays.

use std::fs;
use std::process::Command;

use crate::docker::{PROJECT_LABEL, TEST_LABEL, docker, exists, has_image, objects};
use crate::fleet::{Fleet, GATE, NO_SPARE, ONE_LIGHT, open_gate};
use crate::process::{run, wait_until};

#[test]
fn output_and_uploads_of_jobs_that_are_over_go_and_those_in_use_stay() {
    let fleet = Fleet::up(NO_SPARE);
    let over = fleet.submit("seq 1 5000");
    fleet.cli(&["wait", &over]).ok();
    fleet.wait_for_status(&over, "succeeded");
    let running = fleet.submit(&format!("seq 1 5000; {GATE}; echo done"));
    fleet.wait_for_status(&running, "running");

    let told = fleet.cli(&["gc", "--dry-run", "--all"]).ok();
    assert!(told.out().contains("would remove 1 job log") && told.out().contains(&over), "{told}");
    assert!(fleet.cli(&["logs", &over]).ok().out().ends_with("5000\n"), "nothing is gone yet");
    assert_eq!(fleet.cli(&["gc"]).ok().out(), "nothing to remove\n", "it is young");

    fleet.cli(&["gc", "--all"]).ok();
    let logs = fleet.cli(&["logs", &over]).ok();
    assert!(logs.out().is_empty() && logs.err().contains("was removed"), "{logs}");
    assert_eq!(fleet.status_of(&over), "succeeded", "the job itself is kept");
    assert_eq!(fleet.cli(&["gc", "--all"]).ok().out(), "nothing to remove\n");
    open_gate(&fleet.containers()[0]);
    fleet.cli(&["wait", &running]).ok();
    assert!(fleet.cli(&["logs", &running]).ok().out().ends_with("5000\ndone\n"));
}

/// Operators' pain 40: volumes, networks and containers with the fleet's labels equal what live
/// slots need, after one pass. (Scaled down: 3 left-over volumes instead of 200 killed jobs.)
#[test]
fn volumes_of_runners_that_are_gone_go_and_caches_and_strangers_stay() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.settle(2);
    let before = objects(&fleet.project);
    let label = docker(&["inspect", "-f", "{{json .Config.Labels}}", &fleet.containers()[0]]);
    let labels = label.ok().json();
    let fleet_label = format!(
        "dev.slate.fleet.fleet={}",
        labels["dev.slate.fleet.fleet"].as_str().expect("a label")
    );
    let project_label = format!("{PROJECT_LABEL}={}", fleet.project);
    let test_label = format!("{TEST_LABEL}={}", fleet.project);
    let volume = |name: &str, labels: &[&str]| {
        let name = format!("{}-{name}", fleet.project);
        let mut args = vec!["volume", "create", "--label", &test_label];
        args.extend(labels.iter().flat_map(|label| ["--label", label]));
        args.push(&name);
        docker(&args).ok();
        name
    };
    let of = |n: u32| format!("dev.slate.fleet.incarnation=i{n}");
    let jobs: Vec<String> = (0..2).map(|_| fleet.submit("true")).collect();
    for job in &jobs {
        fleet.cli(&["wait", job]).ok();
    }
    fleet.settle(2);
    let gone = volume("gone", &[&project_label, &fleet_label, &of(1)]);
    let later = volume("later", &[&project_label, &fleet_label, &of(999_999)]);
    let cache = volume("cache", &[&project_label, &fleet_label]);
    let stranger = volume("stranger", &[&project_label, &of(1)]);

    let told = fleet.cli(&["gc", "--dry-run"]).ok();
    assert!(told.out().contains(&gone) && exists(&gone), "{told}");
    let told = fleet.cli(&["gc"]).ok();
    assert_eq!(told.out(), format!("removed 1 volume\n  {gone}\n"), "{told}");
    assert!(!exists(&gone));
    for kept in [&later, &cache, &stranger] {
        assert!(exists(kept), "{kept}");
        docker(&["volume", "rm", kept]).ok();
    }
    assert_eq!(objects(&fleet.project).len(), before.len(), "what live slots need is there");
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

/// Reports of the fleet go by age; what somebody else put into the folder stays.
#[test]
fn old_reports_of_the_fleet_go_and_other_files_stay() {
    let fleet = Fleet::up(&format!("{NO_SPARE}reports: {{keep: 1m}}\n"));
    for run_id in ["1", "2"] {
        let options = ["--workflow", "ci", "--run-id", run_id];
        let job = fleet.submit_with(&options, "echo ok >$SLATE_REPORTS/result");
        fleet.cli(&["wait", &job]).ok();
    }
    fleet.write("reports/ci/by-hand/result", "mine");
    fleet.write("reports/thesis.txt", "mine");
    let mut age = Command::new("touch");
    age.args(["-d", "2020-01-01"]).arg(fleet.path(".slate/published/ci/1"));
    age.arg(fleet.path("reports/ci/by-hand")).arg(fleet.path("reports/thesis.txt"));
    run(age).ok();
    let told = fleet.cli(&["gc"]).ok();
    assert!(told.out().contains("1 report") && told.out().contains("ci/1"), "{told}");
    assert!(!fleet.path("reports/ci/1").exists());
    for kept in ["reports/ci/2/result", "reports/ci/by-hand/result", "reports/thesis.txt"] {
        assert!(fs::exists(fleet.path(kept)).expect("looked"), "{kept}");
    }
}

/// Operators' pain 39: "`gc` removes only images that the fleet pulled, unused for `keep`, used by
/// no profile; shows them first with `--dry-run`; touches nothing unlabelled."
#[test]
fn an_image_that_the_fleet_did_not_pull_stays() {
    let fleet = Fleet::up(NO_SPARE);
    let image = format!("{}-stranger", fleet.project);
    docker(&["tag", crate::docker::RUNNER_IMAGE, &image]).ok();
    let profile = format!("{NO_SPARE}image: {image}\n");
    fleet.edit(&profile);
    fleet.cli(&["up", "-d"]).ok();
    fleet.edit(NO_SPARE);
    fleet.cli(&["up", "-d"]).ok();
    wait_until("the fleet is back", || fleet.cli(&["wait"]).code == 0);
    assert_eq!(fleet.cli(&["gc", "--all"]).ok().out(), "nothing to remove\n");
    assert!(has_image(&image));
    docker(&["rmi", &image]).ok();
}
