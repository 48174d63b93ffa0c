//! `kill -9` of runners, agents and jobs, and containers that go or stand in the way.

use rustix::process::{Pid, Signal, kill_process};

use crate::docker::{TEST_LABEL, docker, exists, inspect};
use crate::fleet::{Fleet, GATE, NO_SPARE, ONE_LIGHT, open_gate};
use crate::process::wait_until;
use crate::recovery::Fault;

/// Runners killed one after the other: enough for a middle and a worst.
const ROUNDS: usize = 6;

/// The host's number for a container's first process, which is the agent.
fn agent_of(container: &str) -> Pid {
    let pid = inspect(container)["State"]["Pid"].as_i64().expect("a process");
    Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process that lives")
}

fn replaced(fleet: &Fleet, container: &str) {
    wait_until("the slot has another container", || {
        fleet.containers().first().is_some_and(|id| !id.is_empty() && id != container)
    });
}

#[test]
fn a_killed_runner_is_replaced_at_once() {
    let fleet = Fleet::up(NO_SPARE);
    for round in 0..ROUNDS {
        fleet.settle(1);
        let container = fleet.containers()[0].clone();
        let agent = agent_of(&container);
        let fault = Fault::now("idle runner killed (to a ready replacement)");
        kill_process(agent, Signal::KILL).expect("killed");
        replaced(&fleet, &container);
        fleet.cli(&["wait"]).ok();
        fault.recovered();
        if round == 1 {
            // Two deaths in a row are a crash loop, and its back-off would be measured.
            fleet.cli(&["resume", "runner-001"]).ok();
        }
        assert_eq!(fleet.job("echo works").ok().word(), "works", "a good job ends the back-off");
    }
}

/// Pain 46: infrastructure deaths look like red tests. Both attempts stay visible, and only the
/// infrastructure's is tried again.
#[test]
fn a_job_whose_runner_is_killed_is_done_again_and_one_that_fails_is_not() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let killed = fleet.submit(&format!("[ $SLATE_ATTEMPT = 2 ] || {{ {GATE}; }}"));
    fleet.wait_for_status(&killed, "running");
    let agent = agent_of(&container);
    let fault = Fault::now("busy runner killed (to its job done again)");
    kill_process(agent, Signal::KILL).expect("killed");
    fleet.cli(&["wait", &killed]).ok();
    fault.recovered();
    let failed = fleet.submit("exit 3");
    fleet.cli(&["wait", &failed]).expect_code(3);
    let (killed, failed) = (fleet.show(&killed), fleet.show(&failed));
    assert_eq!(killed["attempts"].as_array().map(Vec::len), Some(2), "{killed}");
    assert_eq!(killed["attempts"][0]["end"]["fault"], "infrastructure", "{killed}");
    assert_eq!((&failed["attempt"], &failed["fault"]), (&1.into(), &"job".into()), "{failed}");
}

/// Pain 44: a killed job says which it was; here nobody of the fleet did it.
#[test]
fn a_job_whose_process_is_killed_by_hand_ends_alone_and_says_so() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let job = fleet.submit("exec sleep 1000");
    fleet.wait_for_status(&job, "running");
    let children = format!("/proc/{0}/task/{0}/children", agent_of(&container).as_raw_nonzero());
    let mut child = None;
    wait_until("the job's process is there", || {
        let pids = std::fs::read_to_string(&children).unwrap_or_default();
        child = pids.split_whitespace().next().and_then(|pid| pid.parse().ok());
        child.is_some()
    });
    kill_process(Pid::from_raw(child.expect("a child")).expect("a process"), Signal::KILL)
        .expect("killed");
    fleet.cli(&["wait", &job]).expect_code(137);
    let shown = fleet.show(&job);
    assert_eq!((&shown["status"], &shown["attempt"]), (&"failed".into(), &1.into()), "{shown}");
    assert!(shown["reason"].as_str().is_some_and(|why| !why.is_empty()), "no cause: {shown}");
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

/// Pain 81: a restart of the manager drops running work. Every container keeps its id, every job
/// its log and exit code.
#[test]
fn a_supervisor_killed_under_busy_runners_takes_all_of_them_over() {
    const COUNT: usize = 5;
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 5, spares: 0}]\n");
    let jobs: Vec<String> = (0..COUNT)
        .map(|n| fleet.submit(&format!("echo before; {GATE}; echo {n}; exit {n}")))
        .collect();
    jobs.iter().for_each(|job| fleet.wait_for_status(job, "running"));
    let containers = fleet.containers();
    fleet.kill_supervisor();
    let fault = Fault::now("supervisor killed under 5 jobs (to all taken over)");
    fleet.cli(&["up", "-d"]).ok();
    fault.recovered();
    assert_eq!(fleet.containers(), containers);
    containers.iter().for_each(|container| open_gate(container));
    for (job, n) in jobs.iter().zip(0..) {
        fleet.cli(&["wait", job]).expect_code(n);
        assert_eq!(fleet.cli(&["logs", job]).ok().out(), format!("before\n{n}\n"));
        assert_eq!(fleet.show(job)["attempt"], 1);
    }
}

#[test]
fn a_container_removed_by_hand_is_replaced() {
    let fleet = Fleet::up(NO_SPARE);
    fleet.settle(1);
    let container = fleet.containers()[0].clone();
    let fault = Fault::now("idle container removed by hand");
    docker(&["rm", "-f", &container]).ok();
    replaced(&fleet, &container);
    fleet.cli(&["wait"]).ok();
    fault.recovered();
}

/// A stranger's container is never touched, whatever it is called, and the fleet finds a way or
/// says who stands in it.
#[test]
fn a_name_that_a_stranger_has_is_left_to_it_and_the_fleet_serves_all_the_same() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.settle(2);
    let label = format!("{TEST_LABEL}={}", fleet.project);
    let strangers: Vec<String> = (3..=5)
        .map(|n| {
            let name = format!("{}-light-i{n}", fleet.project);
            docker(&["create", "--name", &name, "--label", &label, "slate-runner:latest", "true"])
                .ok()
                .word()
        })
        .collect();
    for n in 0..3 {
        assert_eq!(fleet.job(&format!("echo {n}")).ok().word(), n.to_string());
    }
    wait_until("the fleet is whole again", || fleet.cli(&["wait", "--timeout", "30s"]).code == 0);
    assert!(strangers.iter().all(|id| exists(id)), "a stranger's container was removed");
    let events = fleet.events().join("\n");
    assert!(events.contains("remove or rename that container"), "nothing says why: {events}");
}
