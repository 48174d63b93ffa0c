//! `docker: socket`: jobs of such a profile reach the engine that they run on, and no others do.

use serde_json::json;

use crate::docker::containers;
use crate::fleet::Fleet;
use crate::forge_stand_in::GitHub;
use crate::github::{elastic, up, wait_for_job};

/// Asks the engine for a container and prints the first line of its answer.
const ASK: &str = r#"
    my $engine = IO::Socket::UNIX->new("/var/run/docker.sock") or die "no engine: $!\n";
    print $engine "GET /containers/$ARGV[0]/json HTTP/1.0\r\n\r\n";
    print scalar <$engine>;
"#;

const POOLS: &str = "profiles: {light: {docker: socket}}
pools:
  - {name: open, profile: light, spares: 0}
  - {name: shut, profile: standard, spares: 0}
";

#[test]
fn a_job_reaches_the_engine_where_its_profile_says_so_and_nowhere_else() {
    let fleet = Fleet::up(POOLS);
    let name = fleet.containers().pop().expect("a container");
    let asked = |profile: &str| {
        let job = ["perl", "-MIO::Socket::UNIX", "-e", ASK, name.as_str()];
        fleet.cli(&[&["run", "--profile", profile, "--"], &job[..]].concat())
    };
    assert_eq!(asked("light").ok().word(), "HTTP/1.0 200 OK");
    let shut = asked("standard");
    assert!(shut.err().contains("no engine: No such file or directory"), "{shut}");
    let warned = fleet.cli(&["plan"]).out();
    assert!(warned.contains("whoever runs a job there is root on the host"), "{warned}");
}

#[test]
fn a_forges_job_reaches_the_engine_where_its_profile_says_so() {
    let github = GitHub::start();
    let pool = "    min_runners: 1\nprofiles: {light: {docker: socket}}\n";
    let fleet = up(&github, &elastic(&github, pool));
    let name = containers(&fleet.project).pop().expect("a runner that waits");
    let step = format!("perl -MIO::Socket::UNIX -e '{ASK}' {name}");
    let id = github.queue(&json!({"labels": ["self-hosted"], "steps": [step]}));
    let shown = wait_for_job(&github, id, "completed");
    assert_eq!(shown["conclusion"], "success", "{shown}");
    assert!(shown["log"].to_string().contains("200 OK"), "{shown}");
    github.no_violations();
}
