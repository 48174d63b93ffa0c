//! What keeps people from using the page: axe-core looks at each state of it, in light and dark.
//!
//! `scripts/axe` installs it.

use std::path::Path;

use serde_json::{Value, json};
use slate_fleet::fleet::audit::Client;
use slate_fleet::fleet::pause::Pause;

use super::Stage;
use super::browser::{Browser, Scheme};
use super::fleets::{newest_running, next_in_line, troubled, workstation};

/// Puts axe-core into the page that is shown.
fn bring_axe(page: &Browser) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/axe.min.js");
    let axe = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/axe", path.display()));
    page.eval(&format!("{axe}\nwindow.axe = axe;"));
}

/// Looks at what is shown, by all rules, in both colours.
#[track_caller]
fn look(page: &Browser, what: &str) {
    for scheme in [Scheme::Light, Scheme::Dark] {
        page.prefer(scheme);
        let found = page.eval(
            "return axe.run(document, {resultTypes: ['violations']}).then((it) => ({
               passes: it.passes.length,
               violations: it.violations.map(({id, help, nodes}) => ({id, help,
                 nodes: nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + ' ' + node.failureSummary)})),
             }));",
        );
        assert!(found["passes"].as_u64() > Some(10), "{what}: nothing was looked at: {found}");
        assert_eq!(found["violations"], json!([]), "{what}, {scheme:?}: {found:#}");
    }
    page.prefer(Scheme::Light);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_keeps_people_from_using_the_page_and_its_dialogs() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    page.wait_for_text("#queue-list", "next in line");
    bring_axe(page);
    look(page, "the page");
    page.resize(390, 900);
    look(page, "the page on a phone");
    page.resize(1400, 1000);
    page.click("#runner-rows a[href='#/slate-gpu-heavy-01']");
    page.wait_for_text("#detail", "Jobs done");
    look(page, "a runner");
    for action in ["cordon", "restart", "force"] {
        page.click(&format!("[data-action={action}]"));
        look(page, &format!("the question before `{action}`"));
        page.click("#confirm-no");
    }
    page.click("#detail-close");
    let job = stage.of_world(|world| newest_running(world, "light"));
    page.click(&format!("#waterfall a[href='#/{job}']"));
    page.wait_for_text("#detail", "Given out after");
    look(page, "a job");
    page.click("#detail-close");
    let next = stage.of_world(next_in_line);
    page.click(&format!("#queue-list a[href='#/{next}']"));
    for (question, after) in [("Hold", "Release"), ("Release", "Hold")] {
        page.wait_for_text("[data-action=hold]", question);
        page.click("[data-action=hold]");
        look(page, question);
        page.click("#confirm-yes");
        page.wait_for_text("[data-action=hold]", after);
        look(page, after);
    }
    page.click("#detail-close");
    for button in
        ["[aria-label='Scale light']", "[aria-label='Pause light']", "[aria-label='Close GPU 1']"]
    {
        page.click(button);
        look(page, button);
        page.click("#confirm-no");
    }
    stage.fake.change(|world| {
        let light = world.fleet.pools.last_mut().expect("a pool");
        light.paused = Some(Pause { since: world.fleet.at, by: Client::new("ana") });
    });
    page.wait_for_text("#pool-list", "paused for");
    look(page, "a paused pool");
    let spoiled = page.eval(
        "document.querySelector('#filter').parentElement.replaceWith(document.createElement('input'));
         return axe.run(document, {runOnly: ['wcag2a']}).then((it) => it.violations.length);",
    );
    assert_eq!(spoiled, 1, "a field without a name is found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_keeps_people_from_using_the_page_in_trouble_or_without_a_fleet() {
    let stage = Stage::open(Some("operator"), troubled).await;
    let page = &stage.browser;
    page.wait_for_text("#sentence", "in trouble");
    bring_axe(page);
    look(page, "trouble");
    stage.fake.change(|world| {
        world.fleet.troubles.clear();
        world.fleet.runners.clear();
        world.fleet.pools.clear();
        world.fleet.gpus.cards.clear();
        world.fleet.lanes.clear();
        world.jobs.clear();
    });
    page.wait_for_text("#sentence", "The fleet has no runners");
    look(page, "no runners");
    let Stage { browser: page, server, .. } = stage;
    drop(server);
    page.wait_for_text("#lost", "No contact with the supervisor");
    look(&page, "a lost contact");
    assert_ne!(page.eval("return document.title"), Value::Null);
}
