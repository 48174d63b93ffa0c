//! Lost contact, trouble, and nothing at all.

use slate_fleet::fleet::view::{FleetPhase, RunnerStatus};

use super::fleets::{crowd, entry, troubled, workstation};
use super::{Server, Stage, picture};
use crate::cli::fake::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_contact_is_said_with_its_time_and_ends_by_itself() {
    let Stage { fake, browser: page, address, server, _folder } =
        Stage::open(Some("viewer"), workstation).await;
    drop(server);
    page.wait_for_text("#lost", "No contact with the supervisor since ");
    page.wait_for_text("#lost", "What you see is from then.");
    page.wait_for_text("#contact", "no contact");
    page.picture(&picture("lost"));
    fake.change(|world| world.fleet.runners.truncate(44));
    let (server, _) = Server::start(&fake, &address).await;
    page.wait("it is live again", "return document.querySelector('#lost').hidden");
    page.wait_for_text("#sentence", "All 44 runners are fine");
    page.wait_for_text("#who", "viewer");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_contact_the_events_go_on_where_they_broke_off() {
    let Stage { fake, browser: page, address, mut server, _folder } =
        Stage::open(Some("viewer"), |world| happens(world, 60)).await;
    page.wait("a new page has the last 50", &shows(11, 60));
    for (more, first, last) in [(80, 11, 140), (360, 301, 500)] {
        drop(server);
        page.wait_for_text("#lost", "No contact with the supervisor since ");
        fake.change(|world| happens(world, more));
        server = Server::start(&fake, &address).await.0;
        page.wait("none is missed and none is there twice", &shows(first, last));
    }
    drop(server);
    page.wait_for_text("#lost", "No contact with the supervisor since ");
    fake.change(|world| {
        world.audit.clear();
        happens(world, 3);
    });
    let _server = Server::start(&fake, &address).await;
    page.wait("a record that was begun anew is shown alone", &shows(1, 3));
}

/// So many more entries of the audit log.
fn happens(world: &mut World, count: u32) {
    for _ in 0..count {
        let next = entry(world, "runner-001", "ready", "the agent says so");
        world.audit.push(next);
    }
}

/// Whether exactly these entries are shown, the last one first.
fn shows(first: u64, last: u64) -> String {
    format!(
        "const seen = [...document.querySelectorAll('#event-list li')];
         return seen.length === {} && seen.every((it, at) => Number(it.dataset.seq) === {last} - at);",
        last - first + 1
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_no_good_any_more_leaves_what_is_public() {
    let stage = Stage::open(None, workstation).await;
    let page = &stage.browser;
    page.eval("location.hash = '#token=nonsense'; location.reload()");
    page.wait_for_text("#who", "public view");
    page.wait_for_text("#sentence", "All 45 runners are fine");
    page.wait_for_text("#queue", "slate-fleet dashboard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_is_in_the_verdict_and_its_cause_below() {
    let stage = Stage::open(Some("operator"), troubled).await;
    let page = &stage.browser;
    page.wait_for_text("#sentence", "1 of 45 runners is in trouble; 1 takes no new jobs; 3 jobs");
    for trouble in stage.of_world(|world| world.fleet.troubles.clone()) {
        page.wait_for_text("#troubles", &trouble);
    }
    page.wait_for_text("#cards", "Nothing new is placed here: its uncorrected memory errors rose");
    page.click("[data-kind=error]");
    page.wait_for_text("#runner-count", "1 of 45");
    page.wait_for_text("#runner-rows", "next try");
    page.picture(&picture("trouble"));
    stage.fake.change(|world| {
        for runner in &mut world.fleet.runners {
            runner.status = RunnerStatus::Idle;
        }
    });
    page.wait_for_text("[data-kind=error] .big", "0");
    page.wait_for_text("[data-kind=idle] .big", "45");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_fleet_and_its_phases_have_words() {
    let stage = Stage::open(Some("viewer"), |world| {
        world.fleet.runners.clear();
        world.fleet.pools.clear();
    })
    .await;
    let page = &stage.browser;
    page.wait_for_text("#sentence", "The fleet has no runners; nothing waits.");
    page.wait_for_text("#pools", "The fleet file has no pools.");
    page.wait_for_text("#no-runners", "There are no runners.");
    page.wait_for_text("#recent", "No jobs yet.");
    page.picture(&picture("empty"));
    stage.fake.change(|world| world.fleet.phase = FleetPhase::Starting);
    page.wait_for_text("#sentence", "has just started");
    stage.fake.change(|world| world.fleet.phase = FleetPhase::GoingDown);
    page.wait_for_text("#sentence", "going down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_looks_like_html_is_text() {
    let stage = Stage::open(Some("operator"), |world| {
        workstation(world);
        let evil = "<img src=x onerror=\"document.title='taken'\"><script>alert(1)</script>";
        world.fleet.troubles = vec![evil.to_owned()];
        world.fleet.runners[0].reason = Some(evil.to_owned());
        world.fleet.runners[0].name = evil.to_owned();
        for job in world.jobs.values_mut() {
            job.spec.command = vec![evil.to_owned()];
        }
    })
    .await;
    let page = &stage.browser;
    page.wait_for_text("#troubles", "<img src=x onerror=");
    page.wait_for_text("#runner-rows", "<script>alert(1)</script>");
    page.wait_for_text("#queue-list", "<img src=x");
    assert_eq!(page.eval("return document.querySelectorAll('main img, main script').length"), 0);
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_runners_in_a_hurry_do_not_hold_up_the_page() {
    let stage = Stage::open(Some("viewer"), |world| crowd(world, 500)).await;
    let page = &stage.browser;
    page.wait_for_text("#runner-count", "500");
    page.eval(
        "performance.clearMeasures(); window.frames_ = []; let last = performance.now();
         (function next() { const now = performance.now(); window.frames_.push(now - last);
           last = now; if (window.frames_.length < 100000) requestAnimationFrame(next); })();",
    );
    for round in 0..30 {
        stage.fake.change(|world| hurry(world, round));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    stage.fake.change(|world| world.fleet.runners.truncate(499));
    page.wait_for_text("#runner-count", "499");
    let figures = page.eval(
        "const by = (all) => [...all].sort((a, b) => a - b);
         const draws = by(performance.getEntriesByName('draw').map((it) => it.duration));
         const frames = by(window.frames_);
         const at = (all, part) => Math.round(10 * all[Math.floor((all.length - 1) * part)]) / 10;
         return {draws: draws.length, draw_p50: at(draws, .5), draw_p95: at(draws, .95),
                 frame_p50: at(frames, .5), frame_p95: at(frames, .95)};",
    );
    eprintln!("500 runners, 100 of them changing ten times a second, in ms: {figures}");
    let p50 = figures["draw_p50"].as_f64().expect("a figure");
    assert!(p50 < 100.0, "drawing takes {p50} ms");
}

/// A fifth of the runners changes.
fn hurry(world: &mut World, round: usize) {
    for runner in world.fleet.runners.iter_mut().skip(round % 5).step_by(5) {
        runner.tasks_completed += 1;
        runner.status = match runner.status {
            RunnerStatus::Idle => RunnerStatus::Running,
            _ => RunnerStatus::Idle,
        };
    }
}
