//! A damaged state and a flood of connections: what an operator sees, and the way out.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::fleet::{Fleet, GATE, NO_SPARE, PROGRAM, open_gate};
use crate::process::{run, wait_for, wait_until};

#[test]
fn a_state_that_is_gone_is_not_replaced_by_an_empty_one_and_the_way_out_works() {
    let fleet = Fleet::up(NO_SPARE);
    fleet.job("echo before").ok();
    fleet.kill_supervisor();
    fs::write(fleet.path(".slate/fleet.db"), "").expect("emptied");
    let refused = fleet.cli(&["up", "-d"]).expect_code(1).says("is damaged");
    fleet.cli(&["plan"]).expect_code(1).says("is damaged");
    fleet.cli(&["up", "-d"]).expect_code(1).says("is damaged");

    // The commands are copied out of the messages, as an operator would.
    shell(&between(&refused.err(), "`mv ", "`"), "mv ");
    let taken = fleet.cli(&["up", "-d"]).expect_code(1).says("of another fleet");
    shell(&between(&taken.err(), "`docker ps", "`"), "docker ps");
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.job("echo works").ok().word(), "works");
    assert!(fleet.path(".slate.damaged/logs").exists(), "the old logs are kept");
}

fn between(text: &str, begin: &str, end: &str) -> String {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {text}"));
    rest.split_once(end).expect("an end").0.to_owned()
}

fn shell(rest: &str, program: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{program}{rest}")]);
    run(command).ok();
}

/// Processor time that the supervisor has used, in ticks of 10 ms.
fn ticks(fleet: &Fleet) -> u64 {
    let pid = fleet.supervisor().as_raw_nonzero();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its figures");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// Operators' pain 78 in part: few descriptors and 200 connections are survived, without spinning.
#[test]
fn out_of_descriptors_the_supervisor_neither_dies_nor_spins_and_works_after() {
    let fleet = Fleet::new(NO_SPARE);
    let mut up = Command::new("prlimit");
    up.args(["--nofile=64:64", PROGRAM, "up", "-d"]).current_dir(fleet.folder());
    run(up).ok();
    let job = fleet.submit(&format!("{GATE}; exit 3"));
    fleet.wait_for_status(&job, "running");
    let container = fleet.containers()[0].clone();

    let sockets = [fleet.path(".slate/api.sock"), fleet.path(".slate/runner/agent.sock")];
    let flood: Vec<UnixStream> =
        sockets.iter().flat_map(|path| (0..100).map_while(|_| connect(path))).collect();
    assert!(flood.len() > 60, "{} connections", flood.len());
    let before = ticks(&fleet);
    // Two seconds of a flood; nothing that could be waited for happens in them.
    wait_for(std::time::Duration::from_secs(2), || false);
    let used = ticks(&fleet) - before;
    assert!(used < 40, "{used} ticks of 200 used while nothing can be done");

    open_gate(&container);
    drop(flood);
    wait_until("it answers again", || fleet.cli(&["healthz"]).code == 0);
    fleet.cli(&["wait", &job]).expect_code(3);
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

/// A connection, unless as many wait at the door as the kernel lets.
fn connect(path: &std::path::Path) -> Option<UnixStream> {
    let stream = UnixStream::connect(path).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}
