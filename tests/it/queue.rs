//! Jobs that wait: handed in, listed, ordered, cancelled, and all of them done.

use rustix::process::Signal;

use crate::fleet::{Fleet, GATE, NO_SPARE, open_gate};
use crate::process::wait_until;

/// A fleet whose only runner is held by a job; the job and its container.
fn held(content: &str) -> (Fleet, String, String) {
    let fleet = Fleet::up(content);
    let container = fleet.containers()[0].clone();
    let holder = fleet.submit(GATE);
    fleet.wait_for_status(&holder, "running");
    (fleet, holder, container)
}

/// The jobs in the order in which they were started.
fn started(fleet: &Fleet) -> Vec<String> {
    let events = fleet.events();
    let name = |event: &String| event.split(' ').next().unwrap_or_default().to_owned();
    events
        .iter()
        .filter(|event| event.starts_with("job-") && event.contains(" started "))
        .map(name)
        .collect()
}

#[test]
fn submit_prints_the_id_and_the_job_runs_by_itself() {
    let fleet = Fleet::up(NO_SPARE);
    let job = fleet.submit("echo out; echo err >&2; exit 3");
    assert_eq!(job, "job-1");
    assert_eq!(fleet.cli(&["wait", &job]).expect_code(3).word(), "job-1 3");
    let logs = fleet.cli(&["logs", &job]).ok();
    assert_eq!((logs.out(), logs.err()), ("out\n".to_owned(), "err\n".to_owned()));
    let show = fleet.cli(&["jobs", "show", &job]).ok().out();
    for expected in ["job-1", "failed", "echo out; echo err >&2; exit 3"] {
        assert!(show.contains(expected), "no `{expected}` in {show}");
    }
    assert_eq!(fleet.show(&job)["exit_code"], 3);
}

#[test]
fn more_jobs_than_runners_end_all_and_start_in_order() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 2}]\n");
    let jobs: Vec<String> = (1..=8).map(|n| fleet.submit(&format!("echo {n}"))).collect();
    fleet.cli(&["wait", "--for", "idle"]).ok();
    for (job, n) in jobs.iter().zip(1..) {
        assert_eq!(fleet.status_of(job), "succeeded");
        assert_eq!(fleet.cli(&["logs", job]).ok().word(), n.to_string());
    }
    let assigned: Vec<String> = fleet
        .events()
        .iter()
        .filter(|event| event.contains(" assigned "))
        .map(|event| event.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(assigned, jobs, "first come, first served");
}

#[test]
fn a_job_of_higher_priority_starts_first() {
    let (fleet, holder, container) = held(NO_SPARE);
    let low = fleet.submit_with(&["--priority", "-5"], "true");
    let usual = fleet.submit("true");
    let high = fleet.submit_with(&["--priority", "10"], "true");
    let place = |job: &str| fleet.show(job)["position"].clone();
    assert_eq!((place(&high), place(&usual), place(&low)), (1.into(), 2.into(), 3.into()));
    open_gate(&container);
    fleet.cli(&["wait", "--for", "idle"]).ok();
    assert_eq!(started(&fleet), [holder, high, usual, low]);
}

#[test]
fn jobs_lists_the_newest_first_and_by_state() {
    let (fleet, holder, container) = held(NO_SPARE);
    let waiting = fleet.submit("true");
    assert_eq!(fleet.cli(&["jobs", "-q"]).ok().lines(), [&*waiting, &*holder]);
    assert_eq!(fleet.cli(&["jobs", "-q", "--status", "queued"]).ok().lines(), [&*waiting]);
    assert_eq!(fleet.cli(&["jobs", "-q", "--status", "running,failed"]).ok().lines(), [&*holder]);
    assert_eq!(fleet.cli(&["jobs", "-q", "-n", "1"]).ok().lines(), [&*waiting]);
    let table = fleet.cli(&["jobs"]).ok().out();
    assert!(table.starts_with("ID ") && table.contains("queued"), "{table}");
    open_gate(&container);
}

#[test]
fn a_queued_job_is_cancelled_without_ever_starting() {
    let (fleet, holder, container) = held(NO_SPARE);
    let waiting = fleet.submit("echo never");
    fleet.cli(&["cancel", &waiting]).ok();
    assert_eq!(fleet.status_of(&waiting), "cancelled");
    fleet.cli(&["cancel", &waiting]).expect_code(1).says("is over already");
    open_gate(&container);
    fleet.cli(&["wait", "--for", "idle"]).ok();
    assert_eq!(started(&fleet), [holder]);
    assert_eq!(fleet.cli(&["logs", &waiting]).ok().out(), "");
}

#[test]
fn a_running_job_is_asked_to_stop_and_may_clean_up() {
    let fleet = Fleet::up(NO_SPARE);
    let job = "trap 'echo cleaned up; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut run = fleet.start_job(job);
    run.wait_for_stdout("ready");
    fleet.cli(&["cancel", "job-1"]).ok();
    let ended = run.finish().expect_code(130);
    assert_eq!(ended.out(), "ready\ncleaned up\n");
    assert_eq!(fleet.status_of("job-1"), "cancelled");
}

#[test]
fn several_jobs_are_cancelled_and_what_could_not_be_is_told() {
    let (fleet, holder, _container) = held(NO_SPARE);
    let waiting = fleet.submit("true");
    fleet.cli(&["cancel", &waiting, "job-99"]).expect_code(5).says("job-99");
    fleet.cli(&["cancel", "job-99"]).expect_code(6);
    fleet.cli(&["cancel", &holder]).ok();
}

#[test]
fn logs_follow_a_job_from_the_queue_to_its_end() {
    let (fleet, _holder, container) = held(NO_SPARE);
    let job = fleet.submit("echo first; echo second >&2");
    let logs = fleet.start(&["logs", "-f", &job]);
    open_gate(&container);
    let logs = logs.finish().ok();
    assert_eq!((logs.out(), logs.err()), ("first\n".to_owned(), "second\n".to_owned()));
}

#[test]
fn logs_of_a_runner_show_its_jobs_as_they_come() {
    let fleet = Fleet::up(NO_SPARE);
    let name = format!("{}-light-01", fleet.project);
    let mut logs = fleet.start(&["logs", "-f", &name]);
    fleet.job("echo one").ok();
    logs.wait_for_stdout("one");
    fleet.job("echo two").ok();
    logs.wait_for_stdout("two");
    logs.signal(Signal::INT);
    logs.finish();
}

#[test]
fn wait_sums_up_several_jobs() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 2}]\n");
    let good = fleet.submit("true");
    let bad = fleet.submit("exit 4");
    let waited = fleet.cli(&["wait", &good, &bad]).expect_code(5);
    assert_eq!(waited.lines(), [format!("{good} 0"), format!("{bad} 4")]);
    fleet.cli(&["wait", &good]).ok();
    fleet.cli(&["wait", &bad]).expect_code(4);
}

#[test]
fn run_with_detach_is_submit() {
    let fleet = Fleet::up(NO_SPARE);
    let job = fleet.cli(&["run", "-d", "--no-workspace", "--", "true"]).ok().word();
    fleet.cli(&["wait", &job]).ok();
}

#[test]
fn a_light_job_may_use_a_standard_runner_but_not_the_other_way_round() {
    let fleet = Fleet::up(
        "pools: [{name: standard, profile: standard, spares: 0}, {name: light, profile: light, spares: 0}]\n",
    );
    let profile = "echo $SLATE_PROFILE";
    let run = |options: &[&str]| {
        let command = ["--", "sh", "-c", profile];
        fleet.cli(&[&["run", "--no-workspace"], options, &command].concat()).ok().word()
    };
    assert_eq!(run(&["--profile", "light"]), "light", "the exact one first");
    assert_eq!(run(&["--type", "tests"]), "standard");
    assert_eq!(run(&["--type", "lint", "--pool", "standard"]), "standard");
    fleet.cli(&["scale", "standard=0"]).ok();
    let waiting = fleet.submit_with(&["--profile", "standard"], "true");
    assert_eq!(run(&["--profile", "light"]), "light", "one that waits blocks no other");
    assert_eq!(fleet.status_of(&waiting), "queued");
    fleet.cli(&["cancel", &waiting]).ok();
}

#[test]
fn a_job_that_waits_says_why() {
    let (fleet, _holder, container) = held(NO_SPARE);
    let mut run = fleet.start_job("echo ran");
    run.wait_for_stderr("job-2 waits: ");
    open_gate(&container);
    assert_eq!(run.finish().ok().word(), "ran");
}

#[test]
fn no_more_workflows_run_at_a_time_than_allowed() {
    let fleet = Fleet::up(
        "pools: [{name: light, profile: light, count: 3, spares: 0}]
limits: {max_parallel_workflows: 1}\n",
    );
    let submit =
        |workflow: &str| fleet.submit_with(&["--workflow", workflow, "--run-id", "1"], GATE);
    let (first, other, same) = (submit("a"), submit("b"), submit("a"));
    fleet.wait_for_status(&first, "running");
    fleet.wait_for_status(&same, "running");
    assert_eq!(fleet.status_of(&other), "queued", "a second workflow beside the first");
    let busy = fleet.runners().into_iter().filter(|runner| runner["status"] == "running");
    busy.for_each(|runner| open_gate(runner["container"].as_str().expect("a container")));
    fleet.wait_for_status(&other, "running");
    fleet.cli(&["cancel", &other]).ok();
}

#[test]
fn a_cordoned_runner_gets_no_jobs_until_it_is_resumed() {
    let fleet = Fleet::up(NO_SPARE);
    let name = format!("{}-light-01", fleet.project);
    fleet.cli(&["cordon", &name]).ok();
    let job = fleet.submit("true");
    assert!(fleet.cli(&["ps"]).ok().out().contains("(cordoned)"));
    fleet.cli(&["wait", &job, "--timeout", "1s"]).expect_code(3);
    fleet.cli(&["resume", "runner-001"]).ok();
    fleet.cli(&["wait", &job]).ok();
    let before = fleet.containers();
    fleet.cli(&["restart", &name]).ok();
    wait_until("the runner is a new one", || fleet.containers() != before);
}

#[test]
fn drain_waits_for_the_job_of_a_runner() {
    let (fleet, holder, container) = held(NO_SPARE);
    let name = format!("{}-light-01", fleet.project);
    fleet.cli(&["drain", &name, "--timeout", "1s"]).expect_code(3);
    let drain = fleet.start(&["drain", &name]);
    open_gate(&container);
    drain.finish().ok();
    fleet.cli(&["wait", &holder]).ok();
}
