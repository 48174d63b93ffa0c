//! Messages of the built-in notifier reach a real receiver.

use crate::fleet::{Fleet, GATE};
use crate::http::over_socket;
use crate::on_call::OnCall;
use crate::process::wait_until;

const FILE: &str = "pools: [{name: light, profile: light, spares: 0}]\n\
                    notify: {url: {env: HOOK}, queue_above: 2, queue_for: 1s}\n";

#[test]
fn a_deep_queue_is_told_and_so_is_its_end_also_when_the_receiver_was_away() {
    let on_call = OnCall::after(1);
    let fleet = Fleet::new(FILE);
    fleet.write(".env", format!("HOOK=http://{}/services/the-secret-part\n", on_call.address));
    fleet.cli(&["up", "-d"]).ok();
    let held = fleet.submit(GATE);
    fleet.wait_for_status(&held, "running");
    fleet.write("jobs.jsonl", "{\"command\": [\"true\"]}\n".repeat(5));
    fleet.cli(&["submit", "--file", "jobs.jsonl"]).ok();
    let project = &fleet.project;
    let begins = |text: &serde_json::Value, with: &str| {
        text["text"].as_str().is_some_and(|text| text.contains(&format!("[{project}] {with}")))
    };
    on_call.wait_for("the message", |it| begins(it, "queue: 5 jobs wait for pool light"));
    let jobs = fleet.cli(&["jobs", "--status", "queued", "-q"]).ok().lines();
    let cancel: Vec<&str> = ["cancel"].into_iter().chain(jobs.iter().map(String::as_str)).collect();
    fleet.cli(&cancel).ok();
    on_call.wait_for("its end", |it| begins(it, "queue resolved after"));
    wait_until("both are counted", || {
        let page = over_socket(&fleet.path(".slate/api.sock"), "/metrics").body;
        let sample = "slate_fleet_notifications_total{event=\"queue\",result=\"delivered\"} 2";
        page.contains(sample)
    });
    let log = fleet.read(".slate/supervisor.log");
    assert!(log.contains("tried again"), "it tells of the receiver that was away: {log}");
    assert!(!log.contains("the-secret-part"), "whoever reads the log may not write there: {log}");
}
