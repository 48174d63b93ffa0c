//! Accounts and their rights: Apps, organizations with runner groups, and workflows that are
//! started from here; with real containers against the stand-in for GitHub.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::docker::containers;
use crate::fleet::Fleet;
use crate::forge_stand_in::{GitHub, need_image};
use crate::github::{elastic, up, wait_for_job};
use crate::process::wait_until;

/// A key for tests alone.
const KEY: &str = include_str!("../data/app-key-pkcs1.pem");

/// The pool of `elastic` at another place or by another right.
fn pool_at(github: &GitHub, place: &str, pool: &str) -> String {
    let usual = "url: https://github.com/me/site, pat: {env: GITHUB_TOKEN}";
    let content = elastic(github, pool);
    assert!(content.contains(usual), "{content}");
    content.replace(usual, place)
}

fn job(steps: &[&str]) -> Value {
    json!({"labels": ["self-hosted"], "steps": steps})
}

fn succeeds(github: &GitHub, id: u64) -> Value {
    let shown = wait_for_job(github, id, "completed");
    assert_eq!(shown["conclusion"], "success", "{shown}");
    shown
}

#[test]
fn an_app_with_its_key_in_a_file_serves_jobs_and_its_token_is_renewed() {
    let github = GitHub::start();
    github.post("apps", &json!({"key": KEY, "client_id": "Iv1.test"}));
    let rights = json!({"administration": "write", "actions": "read", "metadata": "read"});
    github.post("installations", &json!({"account": "me", "permissions": rights}));
    need_image();
    let place = "url: https://github.com/me/site, app: {id: Iv1.test, key: {file: ./app.pem}}";
    let fleet = Fleet::new(&pool_at(&github, place, "    min_runners: 0\n"));
    fleet.write("app.pem", KEY);
    fs::set_permissions(fleet.path("app.pem"), fs::Permissions::from_mode(0o600)).expect("private");
    fleet.cli(&["up", "-d"]).ok();
    succeeds(&github, github.queue(&job(&["true"])));
    let tokens = || github.count("/access_tokens 201");
    assert_eq!(tokens(), 1, "one token for all calls");
    github.post("tokens/revoke", &json!({}));
    succeeds(&github, github.queue(&job(&["true"])));
    assert_eq!(tokens(), 2, "renewed once");
    wait_until("nothing is left at GitHub", || github.runners().is_empty());
    let told = fleet.read(".slate/supervisor.log") + &fleet.cli(&["doctor"]).out();
    for secret in ["BEGIN RSA", "ghs_", KEY.lines().nth(1).expect("its first line")] {
        assert!(!told.contains(secret), "a secret can be read: {told}");
    }
    github.no_violations();
}

/// Operators' pain 75: a pool takes any set of labels, with the usual defaults on or off; existing
/// workflows need no edit.
#[test]
fn a_pool_with_its_own_labels_alone_serves_workflows_that_ask_for_them_and_no_others() {
    let github = GitHub::start();
    let place = "url: https://github.com/me/site, pat: {env: GITHUB_TOKEN}, \
                 labels: [ubuntu-latest], default_labels: false";
    let fleet = up(&github, &pool_at(&github, place, "    min_runners: 1\n    warm: 1\n"));
    wait_until("a runner is there", || github.runners().len() == 1);
    let runner = github.runners().remove(0);
    let names = runner["labels"].as_array().expect("labels").iter();
    let names: Vec<&str> = names.map(|it| it["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["ubuntu-latest"]);
    let asks_for_more = github.queue(&job(&["true"]));
    let asks_for_it = json!({"labels": ["ubuntu-latest"], "steps": ["true"]});
    succeeds(&github, github.queue(&asks_for_it));
    assert_eq!(github.job(asks_for_more)["status"], "queued");
    let listed = || fleet.cli(&["jobs", "--format", "wide"]).ok().out();
    wait_until("it says what is missing", || listed().contains("lacks `self-hosted`"));
    github.no_violations();
}

#[test]
fn an_organizations_runners_join_their_group_and_serve_its_repositories_alone() {
    let github = GitHub::start();
    for name in ["acme/site", "acme/other"] {
        github.post("repositories", &json!({"full_name": name, "private": true}));
    }
    let groups = json!([{"name": "trusted", "repositories": ["acme/site"]}]);
    github.post("accounts", &json!({"login": "acme", "groups": groups}));
    let place = "url: https://github.com/acme, pat: {env: GITHUB_TOKEN}, group: trusted";
    let content = pool_at(&github, place, "    min_runners: 1\n");
    let fleet = up(&github, &content.replace("max_runners: 3", "max_runners: 1"));
    wait_until("one listens", || github.polling().len() == 1);
    assert_eq!(github.runners()[0]["runner_group_id"], 2, "1 is the default group");
    let run = |repository: &str| {
        github.run(&json!({"repository": repository, "jobs": [job(&["true"])]}))[0]
    };
    let (outside, inside) = (run("acme/other"), run("acme/site"));
    succeeds(&github, inside);
    assert_eq!(github.job(outside)["status"], "queued", "its repository is not in the group");
    wait_until("it is shown, too", || {
        fleet.cli(&["jobs", "--forge"]).ok().out().contains("acme/other")
    });
    // A name that is no group of the organization holds the pool, with the names that there are.
    let wrong = place.replace("trusted", "trused");
    fleet.edit(&pool_at(&github, &wrong, "    min_runners: 1\n"));
    let said = fleet.cli(&["up", "-d", "--timeout", "30s"]);
    assert_ne!(said.code, 0);
    wait_until("the group is named with those that there are", || {
        let told = fleet.cli(&["doctor"]).out();
        told.contains("no runner group `trused`") && told.contains("trusted")
    });
}

/// The workflow of specification 1: its inputs choose the runner, and its last step reports the
/// completion of the runner that it runs on.
fn multi_runner(github: &GitHub) {
    let steps = json!([
        "echo \"task $INPUT_TASK_ID as $INPUT_PROFILE\"",
        "slate-fleet --complete \"$RUNNER_NAME\"",
        "slate-fleet --complete somebody-else || echo \"refused with $?\"",
    ]);
    let labels = ["self-hosted", "slate", "light"];
    let workflow = json!({
        "file": "multi-runner.yml", "name": "Multi-Runner Task Execution",
        "inputs": ["task_id", "profile"], "jobs": [{"labels": labels, "steps": steps}],
    });
    let repository = json!({"full_name": "me/site", "private": true, "workflows": [workflow]});
    github.post("repositories", &repository);
}

#[test]
fn a_workflow_is_dispatched_with_inputs_and_may_complete_its_own_runner_alone() {
    let github = GitHub::start();
    multi_runner(&github);
    let fleet = up(&github, &elastic(&github, "    min_runners: 0\n"));
    let inputs = ["--input", "task_id=42", "--input", "profile=light"];
    let begun = [&["dispatch", "multi-runner.yml"], &inputs[..], &["--wait"]].concat();
    let told = fleet.cli(&begun).ok();
    let shown = github.get("jobs")[0].clone();
    assert_eq!(shown["conclusion"], "success", "{shown}");
    assert!(told.err().contains(&format!("run {} ended: success", shown["run_id"])), "{told}");
    let log = shown["log"].as_str().expect("a log");
    assert!(log.contains("task 42 as light"), "{log}");
    assert!(log.contains("given back when this job ends"), "{log}");
    assert!(log.contains("refused with 7"), "{log}");
    let refused = fleet.cli(&["dispatch", "multi-runner.yml", "--input", "wrong=1"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err().contains("Unexpected inputs"), "{refused}");
    let missing = fleet.cli(&["dispatch", "none.yml"]);
    assert_ne!(missing.code, 0);
    wait_until("no runner is left", || containers(&fleet.project).is_empty());
    github.no_violations();
}
