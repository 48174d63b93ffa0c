//! What the verbs print: for people, for programs, and when something is wrong.

use rustix::process::Signal;

use crate::docker::inspect;
use crate::fleet::{Fleet, NO_SPARE, ONE_LIGHT};
use crate::process::{self, wait_until};

const VERBS: [&str; 24] = [
    "assign",
    "complete",
    "init",
    "benchmark",
    "plan",
    "up",
    "down",
    "scale",
    "ps",
    "status",
    "logs",
    "exec",
    "wait",
    "events",
    "run",
    "submit",
    "jobs",
    "cancel",
    "cordon",
    "drain",
    "resume",
    "restart",
    "config",
    "audit",
];

#[test]
fn a_wrong_file_lists_all_that_is_wrong_with_its_place_at_once() {
    let fleet = Fleet::new(
        "pools:
  - {name: light, profil: light}
  - {name: light, profile: lihgt, count: -3}
limits: {task_timeout: soon}
secret: [oops
",
    );
    fleet.cli(&["config", "-q"]).expect_code(2).says("slate.yaml:");
    fleet.edit(
        "pools:
  - {name: light, profil: light}
  - {name: other, profile: lihgt, count: -3}
limits: {task_timeout: soon}
",
    );
    let told = fleet.cli(&["config"]).expect_code(2).err();
    for expected in [
        "slate.yaml:4:19",
        "did you mean `profile`?",
        "lihgt",
        "did you mean `light`?",
        "-3",
        "soon",
        "4 |   - {name: light, profil: light}",
    ] {
        assert!(told.contains(expected), "no `{expected}` in\n{told}");
    }
}

#[test]
fn config_prints_a_file_that_means_the_same() {
    let fleet = Fleet::new("pools: [{name: light, profile: light, count: '${N:-2}'}]\n");
    let first = fleet.cli(&["config"]).ok().out();
    assert!(first.contains("count: 2"), "{first}");
    fleet.write("slate.yaml", &first);
    assert_eq!(fleet.cli(&["config"]).ok().out(), first);
    assert_eq!(fleet.cli(&["config", "--pools"]).ok().out(), "light\n");
    let profiles = fleet.cli(&["config", "--profiles"]).ok().lines();
    assert_eq!(profiles, ["gpu_heavy", "gpu_light", "gpu_max", "light", "standard"]);
    assert_eq!(fleet.cli(&["config", "--images"]).ok().out(), "slate-runner:latest\n");
}

#[test]
fn several_files_are_laid_over_each_other() {
    let fleet = Fleet::new(ONE_LIGHT);
    fleet.write("more.yaml", "pools: [{name: light, count: 7}]\n");
    let merged = fleet.cli(&["-f", "slate.yaml", "-f", "more.yaml", "config"]).ok().out();
    assert!(merged.contains("count: 7") && merged.contains("profile: light"), "{merged}");
    let piped = fleet.command(&["-f", "-", "config", "--pools"]);
    let text = "version: 1\nproject: piped\npools: [{name: from-stdin, profile: light}]\n";
    let piped = process::start_with(piped, text.as_bytes()).finish();
    assert_eq!(piped.ok().out(), "from-stdin\n");
}

#[test]
fn the_schema_is_a_json_schema_of_every_key() {
    let fleet = Fleet::new(ONE_LIGHT);
    let schema = fleet.cli(&["config", "schema"]).ok().json();
    for key in ["version", "project", "image", "profiles", "pools", "lanes", "limits", "reports"] {
        assert!(schema["properties"][key]["description"].is_string(), "`{key}` is not described");
    }
}

#[test]
fn init_writes_a_file_that_works_and_never_over_another() {
    let fleet = Fleet::new(ONE_LIGHT);
    fleet.cli(&["init"]).expect_code(2).says("--force");
    fleet.cli(&["-f", "new.yaml", "init"]).ok();
    fleet.cli(&["-f", "new.yaml", "config", "-q"]).ok();
    fleet.cli(&["-f", "new.yaml", "-p", &fleet.project, "plan"]).expect_code(10);
    fleet.cli(&["-f", "small.yaml", "init", "--minimal"]).ok();
    fleet.cli(&["-f", "small.yaml", "config", "-q"]).ok();
}

#[test]
fn status_is_the_page_of_the_specification() {
    let fleet = Fleet::up(NO_SPARE);
    let page = fleet.cli(&["status"]).ok().out();
    let expected = format!(
        "\
============================================================
  SLATE Multi-Runner Status
============================================================

Total Runners: 1
  Running: 0
  Idle:    1
  Error:   0
Max Parallel: 8

GPU Distribution:

Runners:
------------------------------------------------------------
  ID           Name                      Profile      GPU   Status
  ------------ ------------------------- ------------ ----- --------
  runner-001   {:<25} light        -     idle
============================================================
",
        format!("{}-light-01", fleet.project)
    );
    assert_eq!(page, expected);
    let json = fleet.cli(&["status", "--json"]).ok().json();
    assert_eq!((&json["total_runners"], &json["idle"]), (&1.into(), &1.into()));
    assert_eq!(fleet.cli(&["--status"]).ok().out(), expected, "the old flag");
}

#[test]
fn ps_shows_the_runners_in_every_format() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 2}]\n");
    assert_eq!(fleet.cli(&["ps", "-q"]).ok().lines(), ["runner-001", "runner-002"]);
    let table = fleet.cli(&["ps"]).ok().out();
    assert!(table.contains("-light-01") && table.contains("1 CPU, 512MiB"), "{table}");
    let lines = fleet.cli(&["ps", "--format", "jsonl"]).ok().lines();
    assert_eq!(lines.len(), 2);
    let first: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
    assert_eq!(first["status"], "idle");
    assert!(fleet.cli(&["ps", "--format", "yaml"]).ok().out().contains("status: idle"));
    assert_eq!(fleet.cli(&["ps", "-q", "runner-002"]).ok().lines(), ["runner-002"]);
}

#[test]
fn events_tell_what_happened_and_why_and_go_on_when_followed() {
    let fleet = Fleet::up(NO_SPARE);
    let mut follow = fleet.start(&["events", "-f", "--format", "jsonl"]);
    follow.wait_for_stdout("spec applied");
    fleet.job("printf 'a\\nb'; exit 3").expect_code(3);
    follow.wait_for_stdout("exit code 3");
    follow.signal(Signal::INT);
    for line in follow.finish().lines() {
        serde_json::from_str::<serde_json::Value>(&line).expect("one document per line");
    }
    let events = fleet.events();
    for expected in ["job-1 queued", "job-1 assigned runner-001", "job-1 started", "job-1 failed"] {
        assert!(events.iter().any(|it| it.starts_with(expected)), "no `{expected}`: {events:#?}");
    }
    let table = fleet.cli(&["events", "-n", "3"]).ok().lines();
    assert_eq!(table.len(), 3);
    assert!(fleet.cli(&["events", "--since", "1h"]).ok().lines().len() >= events.len());
}

#[test]
fn an_event_is_one_line_whatever_a_job_is_called() {
    let fleet = Fleet::up(NO_SPARE);
    fleet.job("true\n\x1b[31mtrue\ntrue").ok();
    let lines = fleet.cli(&["events", "-n", "1000"]).ok().lines();
    // Not counted: the fleet goes on, so that two lists need not be equally long.
    let is_whole = |line: &String| line.starts_with("20") && line.contains("Z  ");
    assert!(lines.iter().all(is_whole), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("job-1")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains('\x1b')), "a job paints the terminal");
    let jobs = fleet.cli(&["jobs"]).ok().lines();
    assert_eq!(jobs.len(), 2, "{jobs:#?}");
}

#[test]
fn wait_ends_when_the_fleet_is_ready() {
    let fleet = Fleet::up(NO_SPARE);
    fleet.cli(&["scale", "2", "--no-wait"]).ok();
    fleet.cli(&["wait"]).ok();
    wait_until("both are idle", || fleet.runners().iter().all(|it| it["status"] == "idle"));
    fleet.cli(&["wait", "--for", "idle"]).ok();
}

#[test]
fn exec_looks_into_a_runner() {
    let fleet = Fleet::up(NO_SPARE);
    let name = format!("{}-light-01", fleet.project);
    let look = fleet.cli(&["exec", &name, "--", "sh", "-c", "pwd; echo err >&2; exit 9"]);
    let look = look.expect_code(9);
    assert_eq!((look.out(), look.err()), ("/work\n".to_owned(), "err\n".to_owned()));
    let host = inspect(&fleet.containers()[0])["Config"]["Hostname"].clone();
    assert_eq!(fleet.cli(&["exec", "runner-001", "--", "hostname"]).ok().word(), host);
    let user = fleet.cli(&["exec", "-u", "10001:10001", "-w", "/tmp", &name, "--", "id", "-u"]);
    assert_eq!(user.ok().word(), "10001");
    let typed = fleet.command(&["exec", "-T", &name, "--", "cat"]);
    assert_eq!(process::start_with(typed, b"typed").finish().ok().out(), "typed");
}

#[test]
fn every_verb_explains_itself_with_examples() {
    let fleet = Fleet::new(ONE_LIGHT);
    let all = fleet.cli(&["--help"]).ok().out();
    for verb in VERBS {
        assert!(all.contains(&format!("\n  {verb} ")), "`{verb}` is not listed");
        let help = fleet.cli(&[verb, "--help"]).ok().out();
        assert!(help.contains("Examples:") && help.contains("slate-fleet "), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "too wide: {help}");
    }
    for wrong in ["upp", "pss"] {
        fleet.cli(&[wrong]).expect_code(2).says("--help");
    }
}

#[test]
fn completion_scripts_are_what_shells_read() {
    let fleet = Fleet::new(ONE_LIGHT);
    let bash = fleet.cli(&["completion", "bash"]).ok();
    fleet.write("completion.bash", &bash.stdout);
    let mut check = std::process::Command::new("bash");
    check.args(["-n", "completion.bash"]).current_dir(fleet.folder());
    process::run(check).ok();
    for shell in ["zsh", "fish"] {
        assert!(fleet.cli(&["completion", shell]).ok().out().contains("slate-fleet"));
    }
}

#[test]
fn progress_goes_to_stderr_and_can_be_silent_or_json() {
    let fleet = Fleet::new(NO_SPARE);
    let up = fleet.cli(&["up", "-d"]).ok();
    assert_eq!(up.out(), "");
    assert!(up.err().contains(&format!("Runner {}-light-01", fleet.project)), "{up}");
    let down = fleet.cli(&["down", "--progress", "quiet"]).ok();
    assert_eq!((down.out(), down.err()), (String::new(), String::new()));
    let up = fleet.cli(&["up", "-d", "--progress", "json"]).ok();
    for line in up.err().lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("one document per line");
    }
}

#[test]
fn a_fleet_is_found_from_a_folder_below_and_by_its_state_folder() {
    let fleet = Fleet::up(NO_SPARE);
    std::fs::create_dir_all(fleet.path("a/b")).expect("a folder");
    let mut below = fleet.command(&["ps", "-q"]);
    below.current_dir(fleet.path("a/b"));
    assert_eq!(process::run(below).ok().out(), "runner-001\n");
    let mut elsewhere = fleet.command(&["ps", "-q"]);
    elsewhere.current_dir("/").env("SLATE_STATE_DIR", fleet.path(".slate"));
    assert_eq!(process::run(elsewhere).ok().out(), "runner-001\n");
}
