//! The fleet files of `config/` are right for this version, and fit the hosts that they are for.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fleet::PROGRAM;
use crate::process::{Output, run};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The workstation of specification 1: 32 CPUs, 64 GiB, two GPUs of 16,384 MiB.
fn workstation() -> String {
    root().join("tests/data/workstation.json").display().to_string()
}

/// Runs the program on a fleet file, with a state folder that does not exist.
fn on(file: &Path, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(PROGRAM);
    command.arg("-f").arg(file).args(args).env("SLATE_STATE_DIR", folder.path().join("none"));
    command.env_remove("SLATE_PROJECT").env_remove("RUNNERS").env_remove("BENCH_RUNNERS");
    run(command)
}

/// Every fleet file of `config/`.
fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("config")).expect("config/");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "yaml"));
    files.sort();
    assert!(files.len() >= 4, "too few files: {files:?}");
    files
}

#[test]
fn every_ready_file_is_valid_without_a_warning() {
    for file in files() {
        let checked = on(&file, &["config", "-q"]).ok();
        assert_eq!(checked.err(), "", "{}", file.display());
    }
}

#[test]
fn every_ready_file_fits_the_workstation() {
    for file in files() {
        let planned = on(&file, &["plan", "--format", "json", "--inventory", &workstation()]);
        // A pool that follows its forge's queue begins with no runner.
        let begins_empty = file.ends_with("github-elastic.yaml");
        let plan = planned.clone().expect_code(if begins_empty { 0 } else { 10 }).json();
        let changes = plan["changes"].as_array().expect("changes");
        assert_eq!(changes.is_empty(), begins_empty, "{planned}");
        assert!(!planned.out().contains("would refuse"), "{planned}");
    }
}

#[test]
fn the_workstation_has_the_fifty_runners_of_the_specification() {
    let file = root().join("config/workstation-50.yaml");
    let args = ["plan", "--format", "json", "--inventory", &workstation()];
    let plan = on(&file, &args).expect_code(10).json();
    let changes = plan["changes"].as_array().expect("changes");
    let count = |profile: &str| changes.iter().filter(|it| it["profile"] == profile).count();
    assert_eq!(["gpu_heavy", "gpu_light", "standard", "light"].map(count), [1, 10, 14, 25]);
    assert_eq!(changes[0]["name"], "slate-gpu-heavy-01");
}

#[test]
fn the_one_box_file_takes_the_number_of_runners_from_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(PROGRAM);
    command.arg("-f").arg(root().join("config/one-box.yaml")).args(["config"]);
    command.env("RUNNERS", "2").env("SLATE_STATE_DIR", folder.path());
    assert!(run(command).ok().out().contains("count: 2"));
}

#[test]
fn every_ready_file_keeps_to_the_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(PROGRAM);
    command.args(["config", "schema"]).current_dir(folder.path());
    let schema = run(command).ok().json();
    let keys = schema["properties"].as_object().expect("properties");
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("a file");
        let used = text.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key);
        let is_key = |key: &&str| key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        for key in used.filter(is_key) {
            assert!(keys.contains_key(key), "`{key}` of {} is not in the schema", file.display());
        }
    }
    assert_eq!(schema["additionalProperties"], Value::Bool(false));
}
