//! Jobs: what they see, how they end, and that nothing of them stays.

use std::time::{Duration, Instant};

use slate_fleet::fleet::effect::AgentOrder;
use slate_fleet::fleet::event::{AgentEvent, Held, JobEnd};
use slate_fleet::ids::{AttemptNo, JobId};
use slate_fleet::spec::JobUser;
use slate_fleet::wire::frame::Stream;

use super::bench::{Bench, below, script, until};

#[tokio::test]
async fn a_job_gets_its_exit_code_and_its_streams_are_kept_apart() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    let end = bench.run(script(1, "echo out; echo err >&2; exit 3")).await;
    assert_eq!(end, JobEnd::Exited(3));
    assert_eq!(bench.stdout(1), "out\n");
    assert_eq!(bench.written(1, Stream::Stderr), b"err\n");
    assert_eq!(bench.run(script(2, "kill -SEGV $$")).await, JobEnd::Signalled(11));
}

#[tokio::test]
async fn a_job_sees_only_the_environment_that_was_made_for_it() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    let text = "pwd; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo $SLATE_REPORTS; \
                echo found > $SLATE_REPORTS/report; cat; ps -o pgid= $$ | tr -d ' '; echo $$";
    assert_eq!(bench.run(script(1, text)).await, JobEnd::Exited(0));
    let output = bench.stdout(1);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], bench.path("work").display().to_string());
    assert_eq!(lines[1].trim(), "HOME LANG PATH PWD SLATE_JOB SLATE_REPORTS USER");
    assert_eq!(lines[2], bench.path("reports/tests/run-1").display().to_string());
    assert_eq!(lines[3], lines[4], "it leads its own process group");
    assert!(bench.path("reports/tests/run-1/report").exists());
}

#[tokio::test]
async fn a_job_that_cannot_start_says_why() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    let mut missing = script(1, "");
    missing.command = vec!["no-such-program".to_owned()];
    bench.assign(missing);
    let JobEnd::NoSuchProgram(why) = bench.ended(1).await else { panic!("it did not start") };
    assert!(why.contains("`no-such-program` was not found"), "{why}");
    let mut escaping = script(2, "true");
    escaping.reports = "/reports/../etc".to_owned();
    bench.assign(escaping);
    let JobEnd::NotStarted(why) = bench.ended(2).await else { panic!("it did not start") };
    assert!(why.contains("no folder below /reports"), "{why}");
}

#[tokio::test]
async fn a_job_runs_as_its_user_without_groups_and_cannot_look_into_the_agent() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut bench = Bench::new();
    let agent = bench.connected().await;
    open_to_others(&bench);
    let pid = agent.0.id();
    let mut job = script(
        1,
        &format!(
            "id -u; id -g; id -G; cat /proc/{pid}/environ /proc/{pid}/maps; ulimit -c; \
                  cat /proc/self/oom_score_adj; ls -ld . | cut -d' ' -f3; echo $HOME"
        ),
    );
    job.user = JobUser { uid: 4242, gid: 4343 };
    assert_eq!(bench.run(job).await, JobEnd::Exited(0));
    let home = bench.path("work/.home").display().to_string();
    assert_eq!(bench.stdout(1), format!("4242\n4343\n4343\n0\n300\n4242\n{home}\n"));
    let errors = String::from_utf8(bench.written(1, Stream::Stderr)).unwrap();
    assert_eq!(errors.matches("Permission denied").count(), 2, "{errors}");
}

/// The temporary folder is private to the user of the tests; the job is another one.
fn open_to_others(bench: &Bench) {
    use std::os::unix::fs::PermissionsExt as _;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.folder.path(), open).unwrap();
}

#[tokio::test]
async fn a_cancelled_job_is_killed_with_all_its_descendants() {
    let mut bench = Bench::new();
    let agent = bench.connected().await;
    let text = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo deep; while :; do sleep 1; done' & \
                (setsid setsid sleep 1000 &); echo up; while :; do sleep 1; done";
    bench.assign(script(1, text));
    bench.started(1).await;
    until("all of it runs", || {
        bench.state.job_log(JobId(1)).exists()
            && bench.stdout(1).len() == "deep\nup\n".len()
            && below(agent.0.id()).len() >= 4
    })
    .await;
    let begun = Instant::now();
    let grace = Duration::from_millis(200);
    bench.order(AgentOrder::Cancel { job: JobId(1), attempt: AttemptNo(1), grace });
    assert_eq!(bench.ended(1).await, JobEnd::Cancelled);
    assert!(begun.elapsed() >= grace, "it had its grace");
    assert!(below(agent.0.id()).is_empty(), "nothing is left");
}

#[tokio::test]
async fn a_job_that_stops_when_asked_is_not_killed() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    bench.assign(script(1, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done"));
    bench.started(1).await;
    until("it runs", || bench.state.job_log(JobId(1)).exists()).await;
    let grace = Duration::from_secs(20);
    bench.order(AgentOrder::Cancel { job: JobId(1), attempt: AttemptNo(1), grace });
    assert_eq!(bench.ended(1).await, JobEnd::Cancelled);
    assert_eq!(bench.stdout(1), "up\nbye\n");
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_stopped() {
    let mut bench = Bench::new();
    let agent = bench.connected().await;
    let mut job = script(1, "sleep 1000 & sleep 1000");
    job.timeout = Duration::from_millis(100);
    assert_eq!(bench.run(job).await, JobEnd::TimedOut);
    assert!(below(agent.0.id()).is_empty());
}

#[tokio::test]
async fn what_a_job_leaves_running_is_killed_when_it_ends() {
    let mut bench = Bench::new();
    let agent = bench.connected().await;
    let text = "setsid sh -c 'sleep 0.1; echo last words; exec sleep 1000' & exit 5";
    let begun = Instant::now();
    assert_eq!(bench.run(script(1, text)).await, JobEnd::Exited(5));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(bench.stdout(1), "last words\n");
    assert!(below(agent.0.id()).is_empty());
    let silent = "setsid sleep 1000 >/dev/null 2>&1 & exit 6";
    assert_eq!(bench.run(script(2, silent)).await, JobEnd::Exited(6));
    assert!(below(agent.0.id()).is_empty());
}

#[tokio::test]
async fn orphans_that_die_during_a_job_are_buried() {
    let mut bench = Bench::new();
    let agent = bench.connected().await;
    let pid = agent.0.id();
    let text = format!(
        "for n in 1 2 3 4 5 6 7 8 9 10; do (sh -c ': orphan' &) ; done; sleep 0.3; \
         ps --ppid {pid} -o stat= | grep -c Z; true"
    );
    assert_eq!(bench.run(script(1, &text)).await, JobEnd::Exited(0));
    assert_eq!(bench.stdout(1).trim(), "0");
}

#[tokio::test]
async fn a_second_order_for_the_held_attempt_is_ignored_and_another_job_refused() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    bench.assign(script(1, "sleep 0.3; echo once"));
    bench.started(1).await;
    bench.assign(script(1, "echo twice"));
    bench.assign(script(2, "echo other"));
    let held = Held { job: JobId(1), attempt: AttemptNo(1) };
    assert_eq!(bench.next().await, AgentEvent::Connected { holding: Some(held) });
    assert_eq!(bench.ended(1).await, JobEnd::Exited(0));
}

#[tokio::test]
async fn an_idle_agent_ends_at_once_when_asked_and_a_busy_one_after_its_job() {
    let mut bench = Bench::new();
    let mut idle = bench.connected().await;
    let begun = Instant::now();
    terminate(&idle);
    assert!(idle.0.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(bench.next().await, AgentEvent::Disconnected);

    let mut busy = bench.connected().await;
    bench.assign(script(
        1,
        "trap 'echo stopped; exit 9' TERM; echo up; while :; do sleep 0.02; done",
    ));
    bench.started(1).await;
    until("it runs", || bench.state.job_log(JobId(1)).exists()).await;
    terminate(&busy);
    assert_eq!(bench.ended(1).await, JobEnd::Cancelled);
    assert!(busy.0.wait().unwrap().success());
    assert_eq!(bench.stdout(1), "up\nstopped\n");
}

fn terminate(agent: &super::bench::AgentProcess) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(agent.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[tokio::test]
async fn the_health_check_tells_the_state() {
    let mut bench = Bench::new();
    let check = |bench: &Bench| {
        let enrolment = bench.state.private(super::bench::WHO).join("enrol.json");
        let mut command = std::process::Command::new(bench.state.agent());
        let output = command.arg("health").arg("--enrolment").arg(enrolment).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(check(&bench).0, Some(1), "there is no agent");
    let _agent = bench.connected().await;
    until("it is healthy", || check(&bench).0 == Some(0)).await;
    assert_eq!(check(&bench).1, "healthy: idle, connected\n");
    bench.assign(script(1, "sleep 1"));
    bench.started(1).await;
    assert_eq!(check(&bench).1, "healthy: holding job-1 (attempt 1), connected\n");
}

#[tokio::test]
async fn jobs_start_within_milliseconds() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    let mut spans = Vec::new();
    for job in 1..=200 {
        let mut order = script(job, "");
        order.command = vec!["true".to_owned()];
        let begun = Instant::now();
        bench.assign(order);
        bench.started(job).await;
        spans.push(begun.elapsed());
        assert_eq!(bench.ended(job).await, JobEnd::Exited(0));
    }
    spans.sort();
    println!("order to started: p50 {:?}, p99 {:?}, max {:?}", spans[100], spans[198], spans[199]);
    assert!(spans[100] < Duration::from_millis(100), "specification 1: assignment within 100 ms");
}
