//! Jobs of a forge on one-job runners: the real program and real containers against the stand-in
//! for GitHub and the one for its runner.

use serde_json::{Value, json};

use crate::docker::{self, containers, docker};
use crate::fleet::Fleet;
use crate::forge_stand_in::{GitHub, IMAGE, need_image};
use crate::process::wait_until;

const LABELS: [&str; 1] = ["self-hosted"];

/// A fleet file with one elastic pool at this GitHub; `pool` is put into it.
pub fn elastic(github: &GitHub, pool: &str) -> String {
    format!(
        "image: {IMAGE}
github: {{api_url: {}, poll: 5s}}
pools:
  - name: ci
    profile: light
    spares: 0
    max_runners: 3
    scale_up_threshold: 0
    scale_up_delay: 0s
    scale_down_delay: 3s
    github: {{url: https://github.com/me/site, pat: {{env: GITHUB_TOKEN}}}}
{pool}",
        github.api()
    )
}

pub fn up(github: &GitHub, content: &str) -> Fleet {
    need_image();
    let fleet = Fleet::new(content);
    fleet.write(".env", format!("GITHUB_TOKEN={}\n", github.token));
    fleet.cli(&["up", "-d"]).ok();
    fleet
}

fn job(steps: &[&str]) -> Value {
    json!({"labels": LABELS, "steps": steps})
}

pub fn wait_for_job(github: &GitHub, id: u64, status: &str) -> Value {
    wait_until(&format!("the job is {status}"), || github.job(id)["status"] == status);
    github.job(id)
}

/// Holds a job until its container has `/tmp/go`.
const GATE: &str = "until [ -e /tmp/go ]; do sleep 0.05; done";

fn open_gate(fleet: &Fleet) {
    for name in containers(&fleet.project) {
        docker(&["exec", &name, "touch", "/tmp/go"]);
    }
}

#[test]
fn a_queued_job_gets_a_fresh_runner_and_both_are_gone_afterwards() {
    let github = GitHub::start();
    let fleet = up(&github, &elastic(&github, "    min_runners: 0\n"));
    assert_eq!(github.runners().len(), 0, "no job, no runner");
    let id = github.queue(&job(&["echo from $RUNNER_NAME; id -u"]));
    let shown = wait_for_job(&github, id, "completed");
    assert_eq!(shown["conclusion"], "success", "{shown}");
    let name = shown["runner_name"].as_str().expect("a name");
    assert!(name.starts_with(&format!("{}-ci-", fleet.project)), "{name}");
    assert!(shown["log"].to_string().contains("10001"), "as the jobs' user: {shown}");
    wait_until("nothing is left at GitHub", || github.runners().is_empty());
    wait_until("nor here", || containers(&fleet.project).is_empty());
    github.no_violations();
}

#[test]
fn six_jobs_run_once_each_on_three_runners_at_a_time() {
    let github = GitHub::start();
    let fleet = up(&github, &elastic(&github, "    min_runners: 0\n"));
    let jobs: Vec<Value> = (0..6).map(|_| job(&["sleep 1"])).collect();
    let ids = github.run(&json!({"jobs": jobs}));
    let mut most = 0;
    wait_until("all are over", || {
        most = most.max(containers(&fleet.project).len());
        ids.iter().all(|id| github.job(*id)["status"] == "completed")
    });
    let mut names: Vec<String> =
        ids.iter().map(|id| github.job(*id)["began"].to_string()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6, "a runner of its own each: {names:?}");
    // A runner that has done its job may still be on its way out beside its successor.
    assert!(most <= 6, "{most} containers");
    wait_until("nothing is left at GitHub", || github.runners().is_empty());
    github.no_violations();
}

#[test]
fn a_webhook_brings_a_runner_long_before_the_next_poll() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address").to_string();
    drop(port);
    let github = GitHub::start();
    let hook = json!({"url": format!("http://{address}/github"), "secret": "s3cret-of-the-test"});
    github.post("hooks", &hook);
    let content = elastic(&github, "    min_runners: 0\n").replace(
        "poll: 5s",
        &format!("poll: 1h, webhook: {{listen: '{address}', secret_env: WEBHOOK_SECRET}}"),
    );
    need_image();
    let fleet = Fleet::new(&content);
    let env = format!("GITHUB_TOKEN={}\nWEBHOOK_SECRET=s3cret-of-the-test\n", github.token);
    fleet.write(".env", env);
    fleet.cli(&["up", "-d"]).ok();
    wait_until("the queue was read once", || github.count("/actions/runs 200") > 0);
    let id = github.queue(&job(&["true"]));
    let shown = wait_for_job(&github, id, "completed");
    assert_eq!(shown["conclusion"], "success");
    let told = github.get("deliveries").to_string();
    assert!(told.contains("\"status\":\"OK\""), "{told}");
    github.no_violations();
}

#[test]
fn a_registration_whose_answer_is_lost_leaves_no_ghost() {
    let github = GitHub::start();
    github.post("faults", &json!({"path": "generate-jitconfig", "action": "lost"}));
    let _fleet = up(&github, &elastic(&github, "    min_runners: 0\n"));
    let id = github.queue(&job(&["true"]));
    wait_for_job(&github, id, "completed");
    wait_until("nothing is left at GitHub", || github.runners().is_empty());
    github.no_violations();
}

#[test]
fn an_idle_runner_that_is_killed_leaves_no_ghost_and_has_a_successor() {
    let github = GitHub::start();
    let foreign = json!({"name": "somebody-else-1", "labels": ["self-hosted"], "scope": "me/site"});
    github.post("runners", &foreign);
    let fleet = up(&github, &elastic(&github, "    min_runners: 1\n"));
    wait_until("a runner listens", || github.polling().len() == 1);
    let before = github.polling()[0].clone();
    docker(&["kill", &containers(&fleet.project)[0]]).ok();
    wait_until("its successor listens, and its entry is gone", || {
        let names: Vec<String> =
            github.runners().iter().map(crate::forge_stand_in::name_of).collect();
        github.polling().len() == 1 && names.len() == 2 && !names.contains(&before)
    });
    github.no_violations();
}

#[test]
fn a_listener_that_loses_its_session_is_replaced_under_another_name() {
    let github = GitHub::start();
    let _fleet = up(&github, &elastic(&github, "    min_runners: 1\n"));
    wait_until("a runner listens", || github.polling().len() == 1);
    let before = github.polling()[0].clone();
    github.post(&format!("runners/{before}/command"), &json!({"do": "exit", "code": 5}));
    wait_until("another listens", || {
        let now = github.polling();
        now.len() == 1 && now[0] != before
    });
    wait_until("the first is gone from GitHub", || github.runners().len() == 1);
    github.no_violations();
}

#[test]
fn a_listener_that_claims_a_job_and_never_starts_it_is_replaced() {
    let github = GitHub::start();
    let _fleet = up(&github, &elastic(&github, "    min_runners: 1\n"));
    wait_until("a runner listens", || github.polling().len() == 1);
    let before = github.polling()[0].clone();
    github.post(&format!("runners/{before}/command"), &json!({"do": "claim"}));
    // GitHub ends a job whose runner is silent; until then it does not let the runner be removed.
    github.set(&json!({"lock_seconds": 20.0}));
    let stuck = github.queue(&job(&["true"]));
    wait_until("it claimed the job", || github.job(stuck)["status"] == "in_progress");
    wait_until("another listens", || {
        let now = github.polling();
        now.iter().any(|name| *name != before)
    });
}

#[test]
fn a_runner_that_is_too_old_is_not_made_again_and_again() {
    let github = GitHub::start();
    github.set(&json!({"connect_floor": "9.0.0"}));
    need_image();
    let fleet = Fleet::new(&elastic(&github, "    min_runners: 1\n"));
    fleet.write(".env", format!("GITHUB_TOKEN={}\n", github.token));
    let said = fleet.cli(&["up", "-d"]).expect_code(1).err();
    assert!(said.contains("its program is too old for the forge"), "{said}");
    let tries = github.count("generate-jitconfig");
    assert!(tries <= 3, "{tries} registrations");
    github.set(&json!({"connect_floor": null}));
    fleet.cli(&["up", "-d"]).ok();
    wait_until("an `up` tries anew", || github.polling().len() == 1);
    github.no_violations();
}

#[test]
fn a_forks_job_gets_no_runner_and_none_of_its_steps_run() {
    let github = GitHub::start();
    github.post("repositories", &json!({"full_name": "me/open"}));
    let content = elastic(&github, "    min_runners: 0\n").replace("me/site", "me/open");
    let fleet = up(&github, &content);
    let jobs = json!([{"labels": LABELS, "steps": ["echo stolen"]}]);
    let run = json!({"repository": "me/open", "fork": true, "jobs": jobs});
    let id = github.run(&run)[0];
    wait_until("it is shown with the reason", || fleet.cli(&["jobs"]).out().contains("fork"));
    assert_eq!(github.runners().len(), 0);
    assert_eq!(github.job(id)["status"], "queued");
    // An idle runner that gets it all the same refuses it.
    fleet.edit(&content.replace("min_runners: 0", "min_runners: 1"));
    fleet.cli(&["up", "-d"]).ok();
    let shown = wait_for_job(&github, id, "completed");
    assert_eq!(shown["conclusion"], "failure");
    assert!(!shown["log"].to_string().contains("stolen\\n"), "{shown}");
    github.no_violations();
}

#[test]
fn a_step_fills_the_reports_of_its_workflow_and_run() {
    let github = GitHub::start();
    let fleet = up(&github, &elastic(&github, "    min_runners: 0\n"));
    let step = "echo 42 >/reports/CI/$GITHUB_RUN_ID/metrics.txt";
    let made = github.post("runs", &json!({"jobs": [job(&[step])]}));
    let id = made["jobs"][0].as_u64().expect("a job");
    let shown = wait_for_job(&github, id, "completed");
    assert_eq!(shown["conclusion"], "success", "{shown}");
    let path = fleet.path(&format!("reports/CI/{}/metrics.txt", made["run"]));
    wait_until("the report is on the host", || path.exists());
}

#[test]
fn down_leaves_nothing_at_github_and_nothing_here() {
    let github = GitHub::start();
    let fleet = up(&github, &elastic(&github, "    min_runners: 2\n"));
    wait_until("two listen", || github.polling().len() == 2);
    fleet.cli(&["down"]).ok();
    assert_eq!(docker::objects(&fleet.project), Vec::<String>::new());
    assert_eq!(github.runners(), Vec::<Value>::new());
    github.no_violations();
}

#[test]
fn a_job_outlives_its_supervisor_and_ends_once() {
    let github = GitHub::start();
    let fleet = up(&github, &elastic(&github, "    min_runners: 0\n"));
    let id = github.queue(&job(&[GATE]));
    wait_for_job(&github, id, "in_progress");
    fleet.kill_supervisor();
    fleet.cli(&["up", "-d"]).ok();
    open_gate(&fleet);
    let shown = wait_for_job(&github, id, "completed");
    assert_eq!(shown["conclusion"], "success", "{shown}");
    assert_eq!(shown["began"].as_array().map(Vec::len), Some(1));
    wait_until("nothing is left at GitHub", || github.runners().is_empty());
    wait_until("nor here", || containers(&fleet.project).is_empty());
    github.no_violations();
}

#[test]
fn a_busy_runner_stays_although_github_calls_it_idle_and_lets_it_be_removed() {
    let github = GitHub::start();
    let fleet = up(&github, &elastic(&github, "    min_runners: 1\n"));
    wait_until("a runner listens", || github.polling().len() == 1);
    let id = github.queue(&job(&[GATE]));
    wait_for_job(&github, id, "in_progress");
    github.set(&json!({"busy_lies": true}));
    let changed = elastic(&github, "    min_runners: 1\nprofiles: {light: {env: {NEW: '1'}}}\n");
    fleet.edit(&changed);
    let renewing = fleet.start(&["up", "-d"]);
    let since = github.count("/actions/runs");
    wait_until("the forge was polled again", || github.count("/actions/runs") > since + 2);
    assert_eq!(github.job(id)["status"], "in_progress");
    open_gate(&fleet);
    let shown = wait_for_job(&github, id, "completed");
    assert_eq!(shown["conclusion"], "success", "{shown}");
    assert_eq!(shown["began"].as_array().map(Vec::len), Some(1));
    renewing.finish().ok();
}
