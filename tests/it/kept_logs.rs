//! Output outlives its runner, however that ended.

use crate::docker::docker;
use crate::fleet::{Fleet, GATE, NO_SPARE};
use crate::process::wait_until;

fn name_of_the_runner(fleet: &Fleet) -> String {
    fleet.runners()[0]["name"].as_str().expect("a name").to_owned()
}

/// Waits until the slot's container is another one than this.
fn replaced(fleet: &Fleet, container: &str) {
    wait_until("the runner is replaced", || {
        let now = fleet.containers();
        now.first().is_some_and(|it| !it.is_empty() && it != container)
    });
}

#[test]
fn a_one_job_runner_that_is_gone_has_its_output_under_its_name_and_its_jobs() {
    let fleet = Fleet::up(NO_SPARE);
    let (name, container) = (name_of_the_runner(&fleet), fleet.containers()[0].clone());
    fleet.cli(&["logs", "--previous", &name]).expect_code(6);
    fleet.job("echo first; echo aside >&2").ok();
    replaced(&fleet, &container);
    let told = fleet.cli(&["logs", "--previous", &name]).ok();
    assert_eq!(told.out(), "first\n");
    assert!(told.err().contains("aside") && told.err().contains("job-1"), "{told}");
    assert_eq!(fleet.cli(&["logs", "job-1"]).ok().out(), "first\n");
    fleet.cli(&["logs", "--previous", "job-1"]).expect_code(2);
    fleet.cli(&["logs", "--previous", "nobody"]).expect_code(6);
}

#[test]
fn a_runner_that_ran_out_of_memory_leaves_its_jobs_output_and_its_cause() {
    let fleet = Fleet::up(NO_SPARE);
    let (name, container) = (name_of_the_runner(&fleet), fleet.containers()[0].clone());
    let script = format!("echo attempt $SLATE_ATTEMPT; [ $SLATE_ATTEMPT = 2 ] || {{ {GATE}; }}");
    let job = fleet.submit(&script);
    wait_until("it has written", || fleet.cli(&["logs", &job]).out().contains("attempt 1"));
    // The agent is the one whom the kernel takes first, and with it everything inside.
    let eat = "echo 1000 >/proc/1/oom_score_adj || exit 1
        for n in 1 2 3 4 5 6 7 8 9 10 11 12; do (head -c 64M /dev/zero | tail | sleep 9) & done
        wait";
    docker(&["exec", "-u", "0", &container, "sh", "-c", eat]);
    fleet.cli(&["wait", &job]).ok();
    let all = fleet.cli(&["logs", &job]).ok();
    assert_eq!(all.out(), "attempt 1\nattempt 2\n");
    // The second attempt ran in the same slot; what it left is shown, and that of the first one
    // is still in the job's log.
    replaced(&fleet, &container);
    let second = || fleet.cli(&["logs", "--previous", &name]).ok().out();
    wait_until("the second container is gone, too", || second() == "attempt 2\n");
}

#[test]
fn why_the_container_before_went_is_told() {
    let fleet = Fleet::up(NO_SPARE);
    let (name, container) = (name_of_the_runner(&fleet), fleet.containers()[0].clone());
    docker(&["kill", "--signal", "KILL", &container]).ok();
    replaced(&fleet, &container);
    let told = || fleet.cli(&["logs", "-p", &name]);
    wait_until("it is told", || told().code == 0);
    let told = told();
    assert_eq!(told.out(), "");
    for words in ["it had no job", "killed from outside by signal 9"] {
        assert!(told.err().contains(words), "no `{words}` in {told}");
    }
}

#[test]
fn a_job_that_ran_out_of_memory_keeps_what_it_wrote_before() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let script = "echo before; python3 -c 'len(bytearray(900 << 20))'; exit $?";
    let ended = fleet.cli(&["run", "--no-workspace", "--retries", "0", "--", "sh", "-c", script]);
    assert_ne!(ended.code, 0, "{ended}");
    replaced(&fleet, &container);
    assert!(fleet.cli(&["logs", "job-1"]).ok().out().contains("before"));
}

/// Operators' pain 71, the end of its sentence: "… also after OOM and host loss up to the last
/// flush". A host that is lost takes supervisor and container with it at one moment.
#[test]
fn what_was_written_before_supervisor_and_container_died_together_is_there_afterwards() {
    let fleet = Fleet::up(NO_SPARE);
    let (name, container) = (name_of_the_runner(&fleet), fleet.containers()[0].clone());
    let job = fleet.submit(&format!("echo before; {GATE}; echo after"));
    wait_until("it is written", || fleet.cli(&["logs", &job]).out().contains("before"));
    fleet.kill_supervisor();
    docker(&["kill", &container]).ok();
    fleet.cli(&["up", "-d"]).ok();
    wait_until("the job runs again", || {
        let job = fleet.show(&job);
        (job["attempt"].as_u64(), job["status"].as_str()) == (Some(2), Some("running"))
    });
    let told = fleet.cli(&["logs", "--previous", &name]).ok();
    assert_eq!(told.out(), "before\n", "{told}");
    assert!(told.err().contains("attempt 1"), "{told}");
}
