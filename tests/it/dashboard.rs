//! The dashboard of a real fleet in a real browser: real containers, real jobs, real clicks.

use serde_json::Value;

use crate::browser::Browser;
use crate::fleet::{Fleet, GATE, NO_SPARE};
use crate::http::{free_address, over_socket};
use crate::process::{self, wait_until};

/// A fleet that is up and listens on a port, and the address of its page with a token.
fn up(file: &str) -> (Fleet, String) {
    let fleet = Fleet::new(file).with_env("SLATE_LISTEN", free_address().into());
    fleet.cli(&["up", "-d"]).ok();
    let url = fleet.cli(&["dashboard", "--print"]).ok().word();
    (fleet, url)
}

#[test]
fn an_operator_sees_and_steers_a_real_fleet() {
    let (fleet, url) = up(NO_SPARE);
    let page = Browser::start();
    page.open(&url);
    page.wait_for_text("#sentence", "The runner is fine; nothing waits.");
    page.wait_for_text("#who", "operator");

    let job = fleet.submit(&format!("echo hello from the job; {GATE}; echo bye"));
    let waiting = fleet.submit("true");
    page.wait_for_text("#sentence", "1 job waits for");
    page.wait_for_text("#sentence", "because the one runner in light is busy");
    page.wait_for_text("#queue-list", &waiting);
    page.wait_for_text("[data-kind=running] .big", "1");
    page.wait_for_text("[data-kind=queued] .big", "1");
    page.wait_for_text("#runner-rows", &job);
    let measured = r"return /\d \/ 1\s.*iB \/ 512 MiB/s.test(document.querySelector('#runner-rows').innerText)";
    page.wait("its processors and memory are measured", measured);
    page.wait_for_text("#event-list", "assigned");

    page.click(&format!("#waterfall a[href='#/{job}']"));
    page.wait_for_text(".log", "hello from the job");
    page.click("#detail [data-danger]");
    page.wait_for_text("#confirm", &format!("Cancel {job}?"));
    page.click("#confirm-yes");
    fleet.wait_for_status(&job, "cancelled");
    page.wait_for_text("#detail", "cancelled");
    page.click("#detail-close");
    fleet.wait_for_status(&waiting, "succeeded");

    page.click("[aria-label='Scale light']");
    page.eval("document.querySelector('#confirm-number').value = '2'");
    page.click("#confirm-yes");
    wait_until("there are two", || fleet.runners().len() == 2);
    page.wait_for_text("#sentence", "All 2 runners are fine");

    page.click("#runner-rows a");
    page.click("[data-action=cordon]");
    page.click("#confirm-yes");
    wait_until("it is closed", || fleet.runners()[0]["cordon"] == "closed");
    page.wait_for_text("#detail", "takes no new job");
    page.click("[data-action=resume]");
    page.click("#confirm-yes");
    wait_until("it is open", || fleet.runners()[0]["cordon"] == "open");
    let before = fleet.containers()[0].clone();
    page.click("[data-action=restart]");
    page.click("#confirm-yes");
    wait_until("it is another container", || {
        let now = fleet.containers()[0].clone();
        !now.is_empty() && now != before
    });
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn a_page_that_loses_its_supervisor_says_so_and_finds_the_next_one() {
    let (fleet, url) = up(NO_SPARE);
    let page = Browser::start();
    page.open(&url);
    page.wait_for_text("#sentence", "The runner is fine");
    let runner = fleet.runners()[0]["name"].as_str().expect("a name").to_owned();
    fleet.cli(&["cordon", &runner]).ok();
    fleet.write("jobs.jsonl", "{\"command\": [\"true\"]}\n".repeat(60));
    fleet.cli(&["submit", "--file", "jobs.jsonl"]).ok();
    page.wait("it has all events", &shows_all(&fleet));
    fleet.kill_supervisor();
    page.wait_for_text("#lost", "No contact with the supervisor since ");
    fleet.cli(&["up", "-d"]).ok();
    fleet.cli(&["cancel", "job-1", "job-2", "job-3"]).ok();
    page.wait("it is live again", "return document.querySelector('#lost').hidden");
    page.wait_for_text("#who", "operator");
    page.wait("it went on where it was cut off: no event twice, none lost", &shows_all(&fleet));
}

/// Whether the page shows each entry of the audit log so far, once, the last one first.
fn shows_all(fleet: &Fleet) -> String {
    let told = over_socket(&fleet.path(".slate/api.sock"), "/api/v1/events?limit=1000").body;
    let entries = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let last = entries.filter_map(|entry| entry["seq"].as_u64()).next_back().expect("an entry");
    format!(
        "const seen = [...document.querySelectorAll('#event-list li')].map((it) => Number(it.dataset.seq));
         return seen[0] >= {last} && seen.at(-1) === 1 && seen.every((seq, at) => seq === seen[0] - at);"
    )
}

#[test]
fn the_dashboard_verb_needs_a_port_and_makes_tokens_that_end() {
    let fleet = Fleet::up(NO_SPARE);
    fleet.cli(&["dashboard", "--print"]).expect_code(2).says("--listen 127.0.0.1:7373");
    let (beside, url) = {
        let fleet = Fleet::beside(NO_SPARE).with_env("SLATE_LISTEN", free_address().into());
        fleet.cli(&["up", "-d"]).ok();
        let url = fleet.cli(&["dashboard", "--print", "--role", "viewer", "--expires", "1h"]).ok();
        (fleet, url.word())
    };
    assert!(url.starts_with("http://127.0.0.1:") && url.contains("/#token="), "{url}");
    let listed = beside.cli(&["token", "list"]).ok().out();
    assert!(listed.contains("viewer") && listed.contains("dashboard"), "{listed}");
    let secret = url.rsplit("#token=").next().expect("a token");
    assert!(!listed.contains(secret), "a token is shown once");
    process::run(beside.command(&["dashboard", "--role", "root"])).expect_code(2);
}
