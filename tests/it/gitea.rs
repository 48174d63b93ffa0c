//! Jobs of Gitea on one-job runners: the real program and real containers against the stand-in for
//! Gitea and the one for its runner.

use serde_json::{Value, json};

use crate::docker::{self, containers, docker};
use crate::fleet::{Fleet, GATE};
use crate::gitea_stand_in::{Gitea, IMAGE, need_image};
use crate::process::wait_until;

/// A fleet with one pool at this Gitea; `pool` is put into it.
fn up(gitea: &Gitea, pool: &str) -> Fleet {
    need_image();
    let fleet = Fleet::new(&format!(
        "image: {IMAGE}
github: {{poll: 5s}}
pools:
  - name: ci
    profile: light
    spares: 0
    max_runners: 2
    scale_up_threshold: 0
    scale_up_delay: 0s
    scale_down_delay: 3s
    gitea: {{url: '{}/me/site', token: {{env: GITEA_TOKEN}}, fork_jobs: allow}}
{pool}",
        gitea.url()
    ));
    fleet.write(".env", format!("GITEA_TOKEN={}\n", gitea.token));
    fleet.cli(&["up", "-d"]).ok();
    fleet
}

fn job(step: &str) -> Value {
    json!({"labels": ["self-hosted", "linux"], "steps": [step]})
}

fn wait_for_job(gitea: &Gitea, id: u64, status: &str) -> Value {
    wait_until(&format!("the job is {status}"), || gitea.job(id)["status"] == status);
    gitea.job(id)
}

#[test]
fn giteas_job_gets_a_fresh_runner_and_both_are_gone_afterwards() {
    let gitea = Gitea::start();
    let fleet = up(&gitea, "    min_runners: 0\n");
    assert_eq!(gitea.runners().len(), 0, "no job, no runner");
    let id = gitea.queue(&job("id -u; slate-fleet --complete \"$RUNNER_NAME\""));
    let shown = wait_for_job(&gitea, id, "completed");
    assert_eq!(shown["conclusion"], "success", "{shown}");
    let name = shown["runner_name"].as_str().expect("a name");
    assert!(name.starts_with(&format!("{}-ci-", fleet.project)), "{name}");
    let log = shown["log"].as_str().expect("a log");
    assert!(log.starts_with("10001\n"), "as the jobs' user: {log}");
    assert!(log.contains("given back when this job ends"), "{log}");
    wait_until("nothing is left at Gitea", || gitea.runners().is_empty());
    wait_until("nor here", || containers(&fleet.project).is_empty());
    gitea.no_violations();
}

#[test]
fn down_waits_for_giteas_job_and_leaves_no_runner_there() {
    let gitea = Gitea::start();
    let fleet = up(&gitea, "    min_runners: 2\n");
    wait_until("two listen", || gitea.runners().len() == 2);
    let id = gitea.queue(&job(GATE));
    wait_for_job(&gitea, id, "in_progress");
    let down = fleet.start(&["down", "--drain"]);
    wait_until("the idle one is gone", || gitea.runners().len() == 1);
    let closed = gitea.calls().iter().filter(|call| call.starts_with("PATCH ")).count();
    assert!(closed > 0, "it was closed before it was removed: {:?}", gitea.calls());
    assert_eq!(gitea.job(id)["status"], "in_progress");
    for name in containers(&fleet.project) {
        docker(&["exec", &name, "touch", "/tmp/go"]);
    }
    down.finish().ok();
    let shown = gitea.job(id);
    assert_eq!(
        (&shown["conclusion"], shown["began"].as_array().map(Vec::len)),
        (&json!("success"), Some(1))
    );
    assert_eq!(docker::objects(&fleet.project), Vec::<String>::new());
    assert_eq!(gitea.runners(), Vec::<Value>::new());
    gitea.no_violations();
}

#[test]
fn a_workflow_of_gitea_is_dispatched_with_its_inputs() {
    let gitea = Gitea::start();
    let fleet = up(&gitea, "    min_runners: 0\n");
    fleet.cli(&["dispatch", "ci.yml", "--input", "task_id=42"]).ok();
    wait_until("its job is over", || gitea.jobs().iter().any(|one| one["status"] == "completed"));
    let shown = gitea.jobs().remove(0);
    assert_eq!(shown["conclusion"], "success", "{shown}");
    assert!(shown["log"].to_string().contains("42"), "{shown}");
    gitea.no_violations();
}
