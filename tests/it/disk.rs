//! Disks that are full, read-only or held: what was acknowledged is neither lost nor done twice.
//!
//! The state folder is a small file system of the test's own; the fleet's guard unmounts it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::docker::containers;
use crate::fleet::{Fleet, GATE, open_gate};
use crate::process::{PATIENCE, run, wait_for, wait_until};

const TWO: &str = "pools: [{name: light, profile: light, count: 2, spares: 0}]\n";

/// Says when it begins, where a second beginning would be seen, and waits for its gate.
fn witness() -> String {
    format!("echo begin >>$SLATE_REPORTS/$SLATE_JOB_ID; {GATE}; exit 3")
}

const RUN: [&str; 4] = ["--workflow", "w", "--run-id", "1"];

/// A fleet whose state folder is a disk of 32 MiB.
fn on_small_disk(content: &str) -> Fleet {
    let fleet = Fleet::new(content);
    let state = fleet.path(".slate");
    fs::create_dir(&state).expect("a folder");
    mount(&["-t", "tmpfs", "-o", "size=32m,mode=700", "none"], &state);
    fleet
}

fn mount(options: &[&str], at: &Path) {
    let mut command = Command::new("mount");
    command.args(options).arg(at);
    run(command).ok();
}

/// Takes all space that is left; false when there was none.
fn fill(fleet: &Fleet) -> bool {
    let open = OpenOptions::new().create(true).append(true).open(fleet.path(".slate/filler"));
    let Ok(mut file) = open else { return false };
    let mut taken = false;
    for piece in [1 << 20, 4096] {
        while file.write_all(&vec![1; piece]).is_ok() {
            taken = true;
        }
    }
    taken
}

fn free(fleet: &Fleet) {
    fs::remove_file(fleet.path(".slate/filler")).expect("removed");
}

/// Asserts that each job ended with the witness's code, in its first attempt.
fn ended_once(fleet: &Fleet, jobs: &[String]) {
    for job in jobs {
        assert_eq!(fleet.cli(&["wait", job]).expect_code(3).word(), format!("{job} 3"));
        assert_eq!(fleet.show(job)["attempt"], 1, "{job}");
        assert_eq!(fleet.read(&format!("reports/w/1/{job}")), "begin\n", "{job} ran twice");
    }
}

fn open_gates(fleet: &Fleet) {
    for container in containers(&fleet.project) {
        // A container on its way out cannot be told, and need not.
        let mut touch = Command::new("docker");
        touch.args(["exec", &container, "touch", "/tmp/go"]);
        run(touch);
    }
}

/// Operators' pain 38: "Below the disk floor no job is given out, the host is cordoned with that
/// reason, and the supervisor still writes its journal (reserve file)."
#[test]
fn a_full_disk_stops_the_intake_and_running_jobs_end_and_are_recorded() {
    let fleet = on_small_disk(TWO);
    fleet.cli(&["up", "-d"]).ok();
    let mut jobs: Vec<String> = (0..3).map(|_| fleet.submit_with(&RUN, &witness())).collect();
    fleet.wait_for_status(&jobs[0], "running");
    fleet.wait_for_status(&jobs[1], "running");
    fill(&fleet);
    wait_until("the disk is seen to be full", || {
        fleet.view()["troubles"].to_string().contains("no job is given out")
    });
    let refused = fleet.cli(&["submit", "--no-workspace", "--", "true"]).expect_code(4);
    assert!(refused.err().contains(".slate") && refused.err().contains("disk"), "{refused}");
    let events = fleet.events();
    assert!(events.iter().any(|event| event.starts_with("host cordoned")), "{events:?}");

    open_gate(&fleet.containers()[0]);
    wait_until("a running job ends and is recorded", || {
        jobs.iter().filter(|job| fleet.status_of(job) == "failed").count() == 1
    });
    assert_eq!(fleet.status_of(&jobs[2]), "queued", "nothing is given out");
    fleet.kill_supervisor();
    free(&fleet);
    fleet.cli(&["up", "-d"]).ok();

    jobs.push(fleet.submit_with(&RUN, &witness()));
    wait_until("all jobs ended", || {
        open_gates(&fleet);
        jobs.iter().all(|job| fleet.status_of(job) == "failed")
    });
    ended_once(&fleet, &jobs);
    assert!(fleet.view()["troubles"].as_array().expect("a list").is_empty());
}

/// Without any space a step is neither done nor answered; it is done when there is space.
#[test]
fn a_state_without_any_space_says_so_and_goes_on_by_itself_with_nothing_lost() {
    let fleet = on_small_disk(TWO);
    fleet.cli(&["up", "-d"]).ok();
    let jobs: Vec<String> = (0..3).map(|_| fleet.submit_with(&RUN, &witness())).collect();
    fleet.wait_for_status(&jobs[0], "running");
    fleet.wait_for_status(&jobs[1], "running");
    let slot = fleet.view()["runners"][0]["name"].as_str().expect("a name").to_owned();
    let stuck = wait_for(PATIENCE, || {
        // The reserve is given up first; it is filled, too.
        fill(&fleet);
        let asked = fleet.cli(&["cordon", &slot]);
        asked.code != 0 && asked.err().contains("cannot write the state")
    });
    assert!(stuck, "the state was still written");
    let sick = fleet.cli(&["healthz"]).expect_code(4);
    assert!(sick.err().contains("full"), "{sick}");
    let refused = fleet.cli(&["submit", "--no-workspace", "--", "true"]).expect_code(4);
    assert!(refused.err().contains("cannot write the state"), "{refused}");
    // Their ends wait with the rest.
    open_gates(&fleet);

    free(&fleet);
    wait_until("it is healthy again", || fleet.cli(&["healthz"]).code == 0);
    fleet.cli(&["resume", &slot]).ok();
    wait_until("all jobs ended", || {
        open_gates(&fleet);
        jobs.iter().all(|job| fleet.status_of(job) == "failed")
    });
    ended_once(&fleet, &jobs);
    let reserve = fleet.path(".slate/reserve");
    wait_until("the reserve is there again", || reserve.exists());
    let all = fleet.cli(&["jobs", "--format", "json"]).ok().json();
    assert_eq!(all.as_array().expect("a list").len(), 3, "what was refused was not taken");
}

/// A program that holds the file (a backup, say) makes the fleet wait, not fail.
#[test]
fn a_database_held_by_another_program_is_waited_for() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, spares: 0}]\n");
    let job = fleet.submit_with(&RUN, &witness());
    fleet.wait_for_status(&job, "running");
    let other = rusqlite::Connection::open(fleet.path(".slate/fleet.db")).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("held");
    open_gates(&fleet);
    wait_until("it says why it does not go on", || {
        let sick = fleet.cli(&["healthz"]);
        sick.code == 4 && sick.err().contains("locked")
    });
    other.execute_batch("ROLLBACK").expect("let go");
    ended_once(&fleet, std::slice::from_ref(&job));
}

#[test]
fn a_read_only_state_is_told_at_the_start_and_the_job_that_ran_meanwhile_is_kept() {
    let fleet = on_small_disk("pools: [{name: light, profile: light, spares: 0}]\n");
    fleet.cli(&["up", "-d"]).ok();
    let job = fleet.submit_with(&RUN, &witness());
    fleet.wait_for_status(&job, "running");
    fleet.kill_supervisor();
    mount(&["-o", "remount,ro"], &fleet.path(".slate"));
    open_gates(&fleet);
    let refused = fleet.cli(&["up", "-d"]).expect_code(1);
    assert!(refused.err().to_lowercase().contains("read-only"), "{refused}");
    mount(&["-o", "remount,rw"], &fleet.path(".slate"));
    fleet.cli(&["up", "-d"]).ok();
    ended_once(&fleet, std::slice::from_ref(&job));
}
