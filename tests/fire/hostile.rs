//! Jobs that do their worst to their runner: each ends, says how, and the slot serves the next.

use std::time::Duration;

use crate::docker::docker;
use crate::fleet::{Fleet, NO_SPARE};
use crate::process::Output;
use crate::recovery::Fault;

/// The profile's time between TERM and KILL, and what the machine may add.
const STOP: Duration = Duration::from_secs(10 + 5);
/// Pain 45: it fails in 10 s.
const MEMORY: Duration = Duration::from_secs(10);

fn fleet() -> Fleet {
    Fleet::up(NO_SPARE)
}

fn serves(fleet: &Fleet) {
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

/// Runs a program of Python.
fn python(fleet: &Fleet, program: &str) -> Output {
    fleet.cli(&["run", "--no-workspace", "--", "python3", "-c", program])
}

/// Pain 49: a fork bomb that ignores signals is gone in grace + 5 s, and nothing of it is left.
#[test]
fn a_fork_bomb_that_ignores_signals_is_gone_after_its_grace() {
    let fleet = fleet();
    let bomb = "
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
made = 0
for _ in range(10000):
    try:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
    except OSError:
        pass
print(made, flush=True)
time.sleep(1000)";
    let container = fleet.containers()[0].clone();
    let mut run = fleet.start(&["run", "--no-workspace", "--", "python3", "-c", bomb]);
    run.wait_for_stdout("\n");
    let fault = Fault::now("fork bomb cancelled (to its last process gone)");
    fleet.cli(&["cancel", "job-1"]).ok();
    run.finish().expect_code(130);
    fault.recovered_within(STOP);
    serves(&fleet);
    // The last process goes with its container at the latest.
    crate::process::wait_until("its container is gone", || {
        docker(&["inspect", &container]).code != 0
    });
}

/// Pains 44, 45: a job beyond its memory fails with "out of memory" in 10 s; the agent lives to
/// tell, and the slot serves on.
#[test]
fn a_job_beyond_its_memory_says_so() {
    let fleet = fleet();
    let fault = Fault::now("job beyond its memory (to its end)");
    let greedy = "x = []\nwhile True: x.append(bytearray(8 << 20))";
    assert_eq!(python(&fleet, greedy).code, 137);
    fault.recovered_within(MEMORY);
    let shown = fleet.show("job-1");
    assert_eq!((&shown["status"], &shown["attempt"]), (&"oom".into(), &1.into()), "{shown}");
    let reason = shown["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("memory limit"), "no cause: {shown}");
    serves(&fleet);
}

/// Pain 44: timeout and cancel are told apart, from each other and from a kill.
#[test]
fn a_job_that_ignores_sigterm_is_killed_after_its_grace_and_says_why() {
    let fleet = fleet();
    let deaf = "trap '' TERM; while :; do sleep 1; done";
    let fault = Fault::now("job that ignores TERM timed out (to its end)");
    let job = fleet.submit_with(&["--timeout", "1s"], deaf);
    fleet.cli(&["wait", &job]);
    fault.recovered_within(STOP + Duration::from_secs(1));
    let shown = fleet.show(&job);
    assert_eq!(shown["status"], "timed_out", "{shown}");
    serves(&fleet);
}

#[test]
fn a_job_that_fills_what_it_can_write_to_gets_the_systems_own_error() {
    let fleet = fleet();
    let full = fleet.job("cat /dev/zero >/dev/shm/x; echo code $? >&2; exit 4").expect_code(4);
    assert!(full.err().contains("No space left on device"), "{full}");
    serves(&fleet);
}

/// The log is bounded, and its reader learns how much is missing.
#[test]
fn a_job_that_prints_a_gigabyte_fills_its_log_and_no_more() {
    const MIB: u64 = 1024 * 1024;
    let fleet = Fleet::up(&format!("limits: {{log_max: 8MiB}}\n{NO_SPARE}"));
    let job = fleet.submit("yes a line of thirty-two characters | head -c 1000000000; exit 6");
    fleet.cli(&["wait", &job]).expect_code(6);
    let log = std::fs::metadata(fleet.path(&format!(".slate/logs/{job}.log"))).expect("a log");
    assert!((8 * MIB..9 * MIB).contains(&log.len()), "{} bytes of log", log.len());
    let read = fleet.cli(&["logs", &job]).ok();
    assert!(read.stdout.len() as u64 <= 8 * MIB, "{} bytes", read.stdout.len());
    serves(&fleet);
}

#[test]
fn output_that_is_no_text_and_output_that_is_closed_do_no_harm() {
    let fleet = fleet();
    let bytes = fleet.job(r"printf '\377\376\000\033[2J\200ok'").ok();
    assert_eq!(bytes.stdout, b"\xff\xfe\0\x1b[2J\x80ok");
    let closed = fleet.job("exec >&- 2>&-; sleep 0.3; exit 9").expect_code(9);
    assert_eq!(closed.out(), "");
    serves(&fleet);
}
