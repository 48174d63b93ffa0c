//! A debug bundle tells what is needed, and no secret.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::docker::docker;
use crate::fleet::{Fleet, GATE, NO_SPARE};
use crate::process::wait_until;

const CANARY: &str = "canary-3e8a6d10f2b7";

#[test]
fn a_bundle_has_the_fleets_state_and_none_of_its_secrets() {
    let fleet =
        Fleet::new(&format!("profiles: {{light: {{env: {{PLACE: '${{PLACE}}'}}}}}}\n{NO_SPARE}"));
    fleet.write(".env", format!("PLACE={CANARY}-env-file\nDEPLOY_TOKEN={CANARY}-token\n"));
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(fleet.path(".env"), private).expect("its mode");
    fleet.cli(&["up", "-d"]).ok();
    let token = fleet.cli(&["token", "create", "--role", "viewer"]).ok().word();
    let container = fleet.containers()[0].clone();
    let variable = format!("DEPLOY={CANARY}-job");
    let script = format!("env; : {CANARY}-argument; [ $SLATE_ATTEMPT = 2 ] || {{ {GATE}; }}");
    let job = fleet.submit_with(&["--env", &variable], &script);
    fleet.wait_for_status(&job, "running");
    docker(&["kill", &container]).ok();
    fleet.cli(&["wait", &job]).ok();
    let left = fleet.path(".slate/post-mortems");
    wait_until("there is a post-mortem", || {
        fs::read_dir(&left).is_ok_and(|mut entries| entries.next().is_some())
    });

    fleet.cli(&["debug", "bundle"]).ok();
    fleet.cli(&["debug", "bundle"]).expect_code(2);
    let bundle = fs::read(fleet.path("slate-debug.tar")).expect("the bundle");
    let mode = fs::metadata(fleet.path("slate-debug.tar")).expect("the bundle").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let text = String::from_utf8_lossy(&bundle);
    for secret in [CANARY, token.as_str()] {
        let at = text.find(secret);
        let around = at.map(|at| text.get(at.saturating_sub(200)..at + 50));
        assert!(at.is_none(), "{secret} in {around:?}");
    }
    for part in [
        "CONTENTS.txt",
        "version.json",
        "host.json",
        "engine.json",
        "doctor.json",
        "fleet.json",
        "jobs.json",
        "events.jsonl",
        "fleet-file.yaml",
        "supervisor.log",
        "post-mortems/i1.json",
    ] {
        assert!(text.contains(&format!("slate-debug/{part}")), "{part} is not there");
    }
    // What is there is of use: names stay, and so does why the runner went.
    for words in ["DEPLOY", "killed from outside by signal 9", "PLACE"] {
        assert!(text.contains(words), "no `{words}`");
    }
}

#[test]
fn a_bundle_without_a_supervisor_says_what_is_missing() {
    let fleet = Fleet::new(NO_SPARE);
    let told = fleet.cli(&["debug", "bundle", "-o", "-"]).ok();
    assert!(told.err().contains("no fleet is up"), "{}", told.err());
    for part in ["version.json", "engine.json", "fleet-file.yaml", "What could not be had"] {
        assert!(told.out().contains(part), "{part} is not there");
    }
}
