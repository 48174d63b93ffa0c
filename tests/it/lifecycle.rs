//! `plan`, `up`, `scale` and `down`: the fleet becomes what the file says, and goes again.

use crate::docker::{TEST_LABEL, containers, docker, exists, objects};
use crate::fleet::{Fleet, GATE, NO_SPARE, ONE_LIGHT, open_gate};
use crate::process::wait_until;

/// Two profiles; the small one's environment is what the tests change.
fn two_profiles(value: &str) -> String {
    format!(
        "profiles:
  small: {{cpus: 0.5, memory: 64MiB, env: {{VALUE: {value}}}}}
pools:
  - {{name: light, profile: light, spares: 0}}
  - {{name: small, profile: small, spares: 0}}
"
    )
}

#[test]
fn up_makes_the_runners_of_the_file_and_a_spare() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 2}]\n");
    fleet.settle(3);
    assert_eq!(fleet.runners().len(), 2);
    assert_eq!(containers(&fleet.project).len(), 3, "two runners and a spare");
    let names: Vec<String> =
        fleet.runners().iter().map(|it| it["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(names, [1, 2].map(|n| format!("{}-light-0{n}", fleet.project)));
}

#[test]
fn a_second_up_changes_nothing() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.settle(2);
    let before = docker(&["ps", "-aq", "--no-trunc"]).ok().lines();
    let own = objects(&fleet.project);
    fleet.cli(&["up", "-d"]).ok();
    fleet.settle(2);
    assert_eq!(objects(&fleet.project), own);
    assert!(fleet.containers().iter().all(|id| before.contains(id)));
}

#[test]
fn plan_exits_with_10_before_up_and_with_0_after_it() {
    let fleet = Fleet::new(ONE_LIGHT);
    let planned = fleet.cli(&["plan"]).expect_code(10);
    assert!(planned.out().contains("Plan: 1 to create"), "{planned}");
    assert!(containers(&fleet.project).is_empty(), "plan made something");
    fleet.cli(&["up", "-d"]).ok();
    let planned = fleet.cli(&["plan"]).ok();
    assert!(planned.out().contains("No changes"), "{planned}");
    fleet.edit("pools: [{name: light, profile: light, count: 2}]\n");
    let planned = fleet.cli(&["plan", "--format", "json"]).expect_code(10).json();
    assert_eq!(planned["changes"][1]["change"], "create");
}

#[test]
fn editing_one_profile_replaces_its_runners_alone() {
    let fleet = Fleet::up(&two_profiles("one"));
    let [light, small] = fleet.containers().try_into().expect("two runners");
    fleet.edit(&two_profiles("two"));
    let planned = fleet.cli(&["plan"]).expect_code(10);
    assert!(planned.out().contains("1 to recreate, 0 to remove, 1 to keep"), "{planned}");
    fleet.cli(&["up", "-d"]).ok();
    let after = fleet.containers();
    assert_eq!(after[0], light);
    assert_ne!(after[1], small);
    let value = fleet.cli(&["run", "--no-workspace", "--pool", "small", "--", "printenv", "VALUE"]);
    assert_eq!(value.ok().word(), "two");
}

#[test]
fn a_busy_runner_is_replaced_after_its_job() {
    let fleet = Fleet::up(&two_profiles("one"));
    let busy = fleet.containers()[1].clone();
    let gate = format!("{GATE}; echo $VALUE");
    let job = fleet.submit_with(&["--pool", "small"], &gate);
    fleet.wait_for_status(&job, "running");
    fleet.edit(&two_profiles("two"));
    let up = fleet.start(&["up", "-d"]);
    wait_until("the new file is known", || {
        fleet.events().iter().filter(|event| event.starts_with("fleet spec applied")).count() == 2
    });
    assert_eq!(fleet.containers()[1], busy, "a busy runner was taken away");
    open_gate(&busy);
    up.finish().ok();
    assert_eq!(fleet.cli(&["wait", &job]).ok().word(), format!("{job} 0"));
    assert_eq!(fleet.cli(&["logs", &job]).ok().word(), "one");
    wait_until("the runner is a new one", || fleet.containers()[1] != busy);
}

#[test]
fn a_pool_that_leaves_the_file_takes_its_runners_along() {
    let fleet = Fleet::up(&two_profiles("one"));
    let light = fleet.containers()[0].clone();
    fleet.edit(NO_SPARE);
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.containers(), [light]);
    wait_until("the other container is gone", || containers(&fleet.project).len() == 1);
}

#[test]
fn scale_sets_the_number_of_runners() {
    let fleet = Fleet::up(ONE_LIGHT);
    let first = fleet.containers();
    fleet.cli(&["scale", "3"]).ok();
    assert_eq!(fleet.runners().len(), 3);
    fleet.cli(&["scale", "light=2"]).ok();
    assert_eq!(fleet.runners().len(), 2);
    assert_eq!(fleet.containers()[..1], first, "the first runner stays");
    fleet.settle(3);
    fleet.cli(&["scale", "light=0"]).ok();
    assert!(fleet.runners().is_empty());
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.runners().len(), 1, "`up` goes back to the file");
}

#[test]
fn a_busy_runner_is_never_stopped_by_scale_down() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 2, spares: 0}]\n");
    let jobs = [fleet.submit(GATE), fleet.submit(GATE)];
    jobs.iter().for_each(|job| fleet.wait_for_status(job, "running"));
    let busy = fleet.containers();
    fleet.cli(&["scale", "1", "--no-wait"]).ok();
    assert!(busy.iter().all(|id| exists(id)));
    busy.iter().for_each(|id| open_gate(id));
    for job in &jobs {
        fleet.cli(&["wait", job]).ok();
    }
    wait_until("one runner is left", || fleet.runners().len() == 1);
}

#[test]
fn down_removes_exactly_its_own() {
    let fleet = Fleet::up(ONE_LIGHT);
    let other = Fleet::beside(NO_SPARE);
    other.cli(&["up", "-d"]).ok();
    let label = format!("{TEST_LABEL}={}", fleet.project);
    let foreign = format!("{}-light-99", fleet.project);
    let image = "slate-runner:latest";
    docker(&["create", "--name", &foreign, "--label", &label, image, "true"]).ok();
    let volume = format!("{}-i99-work", fleet.project);
    docker(&["volume", "create", "--label", &label, &volume]).ok();
    let theirs = other.containers();

    fleet.cli(&["down"]).ok();
    assert!(objects(&fleet.project).is_empty(), "left: {:?}", objects(&fleet.project));
    assert!(exists(&foreign) && exists(&volume), "what is not the fleet's was removed");
    assert_eq!(other.containers(), theirs);
    assert_eq!(other.job("echo still here").ok().word(), "still here");
}

#[test]
fn down_keeps_reports_and_state_and_v_removes_the_state() {
    let fleet = Fleet::up(ONE_LIGHT);
    let options = ["run", "--no-workspace", "--workflow", "w", "--run-id", "1", "--"];
    let write = ["sh", "-c", "echo kept >$SLATE_REPORTS/a"];
    fleet.cli(&[&options[..], &write].concat()).ok();
    fleet.cli(&["down"]).ok();
    assert_eq!(fleet.read("reports/w/1/a"), "kept\n");
    assert!(fleet.path(".slate/fleet.db").exists());
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.status_of("job-1"), "succeeded", "the history is still there");
    fleet.cli(&["down", "-v"]).ok();
    assert!(!fleet.path(".slate").exists());
    assert_eq!(fleet.read("reports/w/1/a"), "kept\n");
}

#[test]
fn down_without_a_fleet_is_done_already() {
    let fleet = Fleet::new(ONE_LIGHT);
    fleet.cli(&["down"]).ok().says("nothing to remove");
}

#[test]
fn down_works_when_the_supervisor_has_died_and_the_file_is_gone() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.kill_supervisor();
    std::fs::rename(fleet.path("slate.yaml"), fleet.path("kept.yaml")).expect("renamed");
    fleet.cli(&["down"]).ok();
    std::fs::rename(fleet.path("kept.yaml"), fleet.path("slate.yaml")).expect("renamed");
    assert!(objects(&fleet.project).is_empty(), "left: {:?}", objects(&fleet.project));
}

#[test]
fn down_with_drain_lets_jobs_end() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let job = fleet.start(&["run", "--no-workspace", "--", "sh", "-c", &format!("{GATE}; exit 9")]);
    fleet.wait_for_status("job-1", "running");
    let down = fleet.start(&["down", "--drain"]);
    wait_until("the fleet is going down", || fleet.view()["phase"] == "going_down");
    fleet.cli(&["submit", "--no-workspace", "--", "true"]).expect_code(1).says("going down");
    open_gate(&container);
    job.finish().expect_code(9);
    down.finish().ok();
    assert!(objects(&fleet.project).is_empty());
}

#[test]
fn a_network_that_an_earlier_fleet_left_behind_is_used_again() {
    let fleet = Fleet::new(NO_SPARE);
    let network = format!("slate_{}", fleet.project);
    let label = format!("dev.slate.fleet.project={}", fleet.project);
    let earlier = "dev.slate.fleet.fleet=0123456789abcdef";
    docker(&["network", "create", "--label", &label, "--label", earlier, &network]).ok();
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.job("echo works").ok().word(), "works");
    fleet.cli(&["down"]).ok();
}

#[test]
fn up_in_the_foreground_drains_at_the_first_ctrl_c() {
    use rustix::process::Signal;
    let fleet = Fleet::new(NO_SPARE);
    let mut up = fleet.start(&["up"]);
    up.wait_for_stderr("the fleet is up");
    let container = fleet.containers()[0].clone();
    let job = fleet.start_job(&format!("{GATE}; echo done"));
    fleet.wait_for_status("job-1", "running");
    up.signal(Signal::INT);
    up.wait_for_stderr("draining");
    open_gate(&container);
    assert_eq!(job.finish().ok().word(), "done");
    up.finish().ok();
    assert!(objects(&fleet.project).is_empty());
}

#[test]
fn a_terminated_foreground_supervisor_leaves_its_runners_to_the_next_one() {
    use rustix::process::Signal;
    let fleet = Fleet::new(NO_SPARE);
    let mut up = fleet.start(&["up"]);
    up.wait_for_stderr("the fleet is up");
    let before = fleet.containers();
    up.signal(Signal::TERM);
    up.finish().ok();
    assert!(before.iter().all(|id| exists(id)));
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.containers(), before);
}
