//! Real projects: source distributions from PyPI, linted and tested as their authors do.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docker::{RUNNER_IMAGE, docker};
use crate::fleet::Fleet;
use crate::process::{Output, Running, run};

/// The projects of `scripts/samples.txt`, each with a part of its tests that ends soon.
const PROJECTS: [(&str, &str); 3] = [
    ("attrs", "tests/test_validators.py tests/test_converters.py tests/test_slots.py"),
    ("click", "tests/test_options.py tests/test_basic.py tests/test_formatting.py"),
    ("packaging", "tests/test_utils.py tests/test_metadata.py"),
];

/// The folder of a project, downloaded if it is not there yet.
fn project(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("scripts/samples");
    assert!(script.exists(), "scripts/samples is missing, which downloads the sample projects");
    let mut command = Command::new(script);
    command.args(["--only", name]).arg(root.join("target/samples"));
    PathBuf::from(run(command).ok().word())
}

/// What a command says in a container that the fleet knows nothing of.
fn without_the_fleet(folder: &Path, script: &str) -> Output {
    let mount = format!("{}:/sources:ro", folder.display());
    let copy = format!("cp -r /sources /tmp/work && cd /tmp/work && {script}");
    let user = ["--user", "10001:10001", "-e", "HOME=/home/runner", "-e", "CI=true"];
    let rest = ["-v", &mount, RUNNER_IMAGE, "sh", "-c", &copy];
    docker(&[&["run", "--rm"], &user[..], &rest].concat())
}

/// The lines that say how it ended, without the time that it took.
fn verdict(output: &Output) -> (i32, Vec<String>) {
    let text = output.out();
    let is_verdict = |line: &&str| {
        [" passed", " failed", "Found ", "All checks passed", "no tests ran", " error"]
            .iter()
            .any(|word| line.contains(word))
    };
    let untimed = |line: &str| {
        let line = line.split(" in ").next().unwrap_or(line);
        line.trim_matches(['=', ' ']).to_owned()
    };
    (output.code, text.lines().filter(is_verdict).map(untimed).collect())
}

const LINT: &str = "ruff check .";

fn test_command(tests: &str) -> String {
    format!("python3 -m pytest -q -p no:cacheprovider {tests}")
}

#[test]
fn lint_and_tests_of_real_projects_say_the_same_as_without_the_fleet() {
    let fleet = Fleet::up(
        "pools:
  - {name: light, profile: light, count: 1}
  - {name: standard, profile: standard, count: 1}
",
    );
    let projects: Vec<(PathBuf, String)> =
        PROJECTS.iter().map(|(name, tests)| (project(name), test_command(tests))).collect();
    // Six jobs on two runners, all handed in at once.
    let start = |profile: &str, folder: &Path, script: &str| -> Running {
        let folder = folder.display().to_string();
        let options = ["run", "--profile", profile, "-w", &folder, "--", "sh", "-c"];
        fleet.start(&[&options[..], &[script]].concat())
    };
    let jobs: Vec<(Running, Running)> = projects
        .iter()
        .map(|(folder, test)| (start("light", folder, LINT), start("standard", folder, test)))
        .collect();
    let jobs: Vec<(Output, Output)> =
        jobs.into_iter().map(|(lint, test)| (lint.finish(), test.finish())).collect();
    for ((folder, test), (lint_job, test_job)) in projects.iter().zip(&jobs) {
        for (script, job) in [(LINT, lint_job), (test.as_str(), test_job)] {
            let expected = verdict(&without_the_fleet(folder, script));
            assert_eq!(verdict(job), expected, "{} of {job}", folder.display());
            assert!(!expected.1.is_empty(), "nothing to compare in {job}");
        }
        assert!(verdict(test_job).1.iter().any(|line| line.contains("passed")), "{test_job}");
    }
    let profiles = fleet.cli(&["jobs", "--format", "json"]).ok().json();
    let on = |profile: &str| {
        let jobs = profiles.as_array().expect("jobs");
        jobs.iter().filter(|job| job["profile"] == profile).count()
    };
    assert_eq!((on("light"), on("standard")), (3, 3));
}
