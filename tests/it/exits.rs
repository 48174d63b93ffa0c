//! Every exit code of the catalogue that a person can meet, each by one thing to type.

use std::os::unix::process::CommandExt;
use std::process::Command;

use slate_fleet::exit::CATALOGUE;

use crate::fleet::{Fleet, GATE, NO_SPARE, PROGRAM, open_gate};
use crate::process;

/// The codes that tests of this suite reach; the second word says where.
const REACHED: [(u8, &str); 14] = [
    (0, "lifecycle"),
    (1, "cancelling what is over"),
    (2, "a wrong file"),
    (3, "waiting too short"),
    (4, "more memory than there is"),
    (5, "cancelling what is there and what is not"),
    (6, "a runner that is not there"),
    (7, "the socket of another user"),
    (8, "no fleet"),
    (10, "plan with changes"),
    (124, "a job's timeout"),
    (125, "a job that cannot be started"),
    (130, "Ctrl-C"),
    (137, "out of memory"),
];

#[test]
fn the_catalogue_has_no_code_that_no_test_reaches() {
    let known: Vec<u8> = CATALOGUE.iter().map(|(exit, _)| exit.code()).collect();
    assert_eq!(known, REACHED.map(|(code, _)| code));
}

#[test]
fn wrong_command_lines_and_files_are_2() {
    let fleet = Fleet::new("pools: [{name: light, profil: light}]\n");
    fleet.cli(&["up", "-d"]).expect_code(2);
    fleet.cli(&["no-such-verb"]).expect_code(2);
    fleet.cli(&["run"]).expect_code(2);
    fleet.cli(&["-f", "nowhere.yaml", "config"]).expect_code(2);
    fleet.cli(&["jobs", "show", "no-number"]).expect_code(2);
}

#[test]
fn what_is_not_there_is_6() {
    let fleet = Fleet::up(NO_SPARE);
    let nearly = format!("{}-light-02", fleet.project);
    let name = format!("{}-light-01", fleet.project);
    fleet.cli(&["ps", &nearly]).expect_code(6).says(&format!("did you mean `{name}`?"));
    fleet.cli(&["logs", &nearly]).expect_code(6);
    fleet.cli(&["exec", &nearly, "--", "true"]).expect_code(6);
    fleet.cli(&["cordon", &nearly]).expect_code(6);
    fleet.cli(&["restart", &nearly]).expect_code(6);
    for verb in [&["jobs", "show"][..], &["logs"], &["cancel"], &["wait"]] {
        fleet.cli(&[verb, &["job-99"]].concat()).expect_code(6).says("job-99");
    }
}

#[test]
fn waiting_too_short_is_3() {
    let fleet = Fleet::up(NO_SPARE);
    let job = fleet.submit(GATE);
    fleet.cli(&["wait", &job, "--timeout", "200ms"]).expect_code(3).says("has not ended");
    fleet.cli(&["wait", "--for", "idle", "--timeout", "200ms"]).expect_code(3);
    fleet.cli(&["cancel", &job]).ok();
}

#[test]
fn without_a_fleet_every_client_says_8_and_what_to_type() {
    let fleet = Fleet::new(NO_SPARE);
    let clients = [
        &["ps"][..],
        &["status"],
        &["logs"],
        &["events"],
        &["jobs"],
        &["cancel", "job-1"],
        &["scale", "2"],
        &["wait"],
        &["submit", "--", "true"],
        &["exec", "x", "--", "true"],
        &["cordon", "x"],
        &["healthz"],
    ];
    for client in clients {
        fleet.cli(client).expect_code(8).says("slate-fleet up -d");
    }
    assert!(!fleet.path(".slate").exists(), "a refusal made a folder");
}

#[test]
fn an_engine_that_does_not_answer_is_8() {
    let fleet = Fleet::new(NO_SPARE);
    let mut up = fleet.command(&["up", "-d"]);
    up.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let refused = process::run(up).expect_code(8);
    assert!(refused.err().contains("/nowhere/docker.sock"), "{refused}");
}

#[test]
fn the_fleet_of_another_user_is_7() {
    if !rustix::process::getuid().is_root() {
        // Only root can be somebody else for a moment.
        return;
    }
    let fleet = Fleet::up(NO_SPARE);
    let program = fleet.path("program");
    std::fs::copy(PROGRAM, &program).expect("a copy that everybody can run");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(fleet.folder(), mode).expect("its mode");
    let mut command = Command::new(program);
    command.arg("ps").current_dir(fleet.folder()).uid(65534).gid(65534);
    process::run(command).expect_code(7);
}

#[test]
fn a_job_that_cannot_be_started_is_125() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let holder = fleet.submit(GATE);
    fleet.wait_for_status(&holder, "running");
    fleet.write("file", "sent");
    let job = fleet.start(&["run", "--", "true"]);
    fleet.wait_for_status("job-2", "queued");
    for blob in std::fs::read_dir(fleet.path(".slate/blobs")).expect("blobs") {
        std::fs::remove_file(blob.expect("a blob").path()).expect("removed");
    }
    open_gate(&container);
    job.finish().expect_code(125).says("could not be started");
}

#[test]
fn out_of_memory_is_137_and_called_by_its_name() {
    let fleet = Fleet::up(NO_SPARE);
    let greedy = "import sys; sys.stdout.write('x'); b = bytearray(900 << 20)";
    let job = fleet.cli(&["run", "--no-workspace", "--", "python3", "-c", greedy]);
    // Pain 44: with limit and peak, as far as the kernel tells.
    job.expect_code(137).says("ran out of memory: its container's memory limit of");
    assert_eq!(fleet.status_of("job-1"), "oom");
}
