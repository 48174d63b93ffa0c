//! What an operator does on the page, and what others may not.

use slate_fleet::fleet::event::{Cordon, Request, RestartTime, ScaleTarget};
use slate_fleet::ids::SlotId;
use slate_fleet::wire::frame::Stream;

use super::browser::{ENTER, ESCAPE, TAB};
use super::fleets::{entry, job_on, newest_running, next_in_line, workstation};
use super::{Stage, picture};

const BUSY: &str = "a[href='#/slate-gpu-heavy-01']";

/// Does an action of a dialog, and says yes.
fn confirm(stage: &Stage, button: &str) {
    stage.browser.click(button);
    stage.browser.click("#confirm-yes");
    stage.browser.wait("it is done", "return !document.querySelector('#confirm').open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_drains_restarts_scales_and_closes_each_after_a_question() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    page.click(&format!("#runner-rows {BUSY}"));
    page.click("[data-action=cordon]");
    page.wait_for_text("#confirm", "Drain slate-gpu-heavy-01?");
    let job = stage.of_world(|world| job_on(world, "slate-gpu-heavy-01"));
    page.wait_for_text("#confirm", &format!("{job} runs to its end"));
    page.picture(&picture("confirm"));
    page.click("#confirm-no");
    assert!(stage.asked().is_empty(), "`Leave it` leaves it");
    confirm(&stage, "[data-action=cordon]");
    confirm(&stage, "[data-action=restart]");
    confirm(&stage, "[data-action=force]");
    page.click("#detail-close");
    page.click("[aria-label='Scale light']");
    page.eval("document.querySelector('#confirm-number').select()");
    page.keys("9");
    page.click("#confirm-yes");
    page.wait_for_text("#done", "light is being scaled");
    confirm(&stage, "[aria-label='Close GPU 1']");
    let slots = vec![SlotId(1)];
    let requests = stage.asked();
    let [drain, restart, force, Request::Scale(scale), close] = requests.as_slice() else {
        panic!("five requests, not {requests:?}")
    };
    assert_eq!(*drain, Request::Cordon { slots: slots.clone(), to: Cordon::Closed });
    let after_job = RestartTime::AfterJob;
    assert_eq!(*restart, Request::Restart { slots: slots.clone(), when: after_job });
    assert_eq!(*force, Request::Restart { slots, when: RestartTime::Now });
    let pools = [("light".to_owned(), 9)].into();
    assert_eq!(scale.target, ScaleTarget::Pools(pools));
    assert_eq!(
        *close,
        Request::CordonCards { cards: vec!["GPU-1".to_owned()], to: Cordon::Closed }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jobs_output_is_followed_and_the_job_cancelled() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let (page, job) = (&stage.browser, stage.of_world(|world| newest_running(world, "light")));
    let words = stage.of_world(|world| world.jobs[&job].spec.command.join(" "));
    page.click(&format!("#waterfall a[href='#/{job}']"));
    page.wait_for_text("#detail", &words);
    let first = b"\x1b[32mgood\x1b[0m <img src=x onerror=alert(1)>\n";
    stage.fake.write(job, Stream::Stdout, 0, first);
    page.wait_for_text(".log", "good <img src=x onerror=alert(1)>");
    let green = page.eval("return document.querySelector('.log .c2').textContent");
    assert_eq!(green, "good", "colours are shown, and codes are not");
    stage.fake.write(job, Stream::Stdout, first.len() as u64, b"and more\n");
    page.wait_for_text(".log", "and more");
    page.picture(&picture("log"));
    page.eval("document.querySelector('#detail dd a').focus()");
    page.eval("window.before = document.querySelector('#detail').innerText");
    let went_on = "return document.querySelector('#detail').innerText !== window.before";
    page.wait("its age went on", went_on);
    let focus = page.eval("return document.activeElement.matches('#detail dd a')");
    assert_eq!(focus, true, "what has the focus keeps it");
    confirm(&stage, "#detail [data-danger]");
    page.wait_for_text("#detail", "cancelled");
    page.wait_for_text("#detail", "The end of its output.");
    assert_eq!(stage.asked(), [Request::Cancel(job)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_holds_a_job_that_waits_and_lets_it_go() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let (page, job) = (&stage.browser, stage.of_world(next_in_line));
    page.click(&format!("#queue-list a[href='#/{job}']"));
    page.wait_for_text("[data-action=hold]", "Hold");
    page.click("[data-action=hold]");
    page.wait_for_text("#confirm", &format!("Hold {job}?"));
    page.click("#confirm-yes");
    page.wait_for_text("#done", &format!("{job} is on hold"));
    page.wait_for_text("#detail", &format!("`slate-fleet release {job}` lets it go"));
    page.wait_for_text("#queue-list li:last-child", "on hold");
    page.wait_for_text("[data-action=hold]", "Release");
    confirm(&stage, "[data-action=hold]");
    page.wait_for_text("[data-action=hold]", "Hold");
    assert_eq!(stage.asked(), [Request::Hold(vec![job]), Request::Release(vec![job])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_pauses_a_pool_or_all_and_resumes_them() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    page.click("[aria-label='Pause light']");
    page.wait_for_text("#confirm", "Pause light?");
    page.click("#confirm-yes");
    page.wait_for_text("#pool-list", "paused for 0 s by ana");
    page.wait_for_text("#sentence", "All 45 runners are fine; light is paused; 3 jobs wait");
    page.picture(&picture("paused"));
    confirm(&stage, "[aria-label='Resume light']");
    page.wait("it is open", "return !document.querySelector('[data-paused]')");
    page.click("#pause-all");
    page.wait_for_text("#confirm", "Pause all pools?");
    page.click("#confirm-yes");
    page.wait_for_text("#sentence", "every pool is paused");
    page.wait_for_text("#pause-all", "Resume all");
    confirm(&stage, "#pause-all");
    page.wait_for_text("#pause-all", "Pause all");
    let pause = |pools: &[&str], to| Request::Pause {
        pools: pools.iter().map(|&pool| pool.to_owned()).collect(),
        to,
    };
    let (closed, open) = (Cordon::Closed, Cordon::Open);
    let asked =
        [pause(&["light"], closed), pause(&["light"], open), pause(&[], closed), pause(&[], open)];
    assert_eq!(stage.asked(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_sees_jobs_and_events_and_no_buttons() {
    let stage = Stage::open(Some("viewer"), workstation).await;
    let page = &stage.browser;
    page.wait_for_text("#queue-list", "25 of 25 runners in light are busy; next in line");
    page.wait_for_text("#event-list", "idle");
    assert_eq!(page.eval("return location.hash"), "", "the token is not in the address any more");
    stage.fake.change(|world| {
        let next = entry(world, "job-121", "assigned", "first in line");
        world.audit.push(next);
    });
    page.wait_for_text("#event-list li:first-child", "first in line");
    page.click(&format!("#runner-rows {BUSY}"));
    page.wait_for_text("#detail", "slate-gpu-heavy-01");
    let shown = "return [...document.querySelectorAll('[data-action], .small, [data-danger]')]
        .filter((it) => it.checkVisibility()).length";
    assert_eq!(page.eval(shown), 0, "a viewer changes no runner");
    page.click("#detail-close");
    page.click("#queue-list a");
    page.wait_for_text("#detail", "Waits because");
    assert_eq!(page.eval(shown), 0, "a viewer changes no job");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_page_shows_what_is_public_and_says_how_to_see_more() {
    let stage = Stage::open(None, workstation).await;
    let page = &stage.browser;
    page.wait_for_text("#who", "public view");
    let sentence = stage.sentence();
    assert!(sentence.starts_with("All 45 runners are fine; 3 jobs wait"), "{sentence}");
    for part in ["#queue", "#recent", "#events"] {
        page.wait_for_text(part, "slate-fleet dashboard");
    }
    let body = page.text("body");
    assert!(!body.contains("ruff"), "a command is for those with a token: {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_where_it_was_asked() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    page.click("[aria-label='Scale light']");
    page.eval("document.querySelector('#confirm-number').value = ''");
    page.click("#confirm-yes");
    page.wait_for_text("#confirm-error", "Not done: give a whole number");
    page.eval("document.querySelector('#confirm-number').value = '7'");
    let why = "the host has memory for 6 runners of this size".to_owned();
    stage.fake.change(|world| world.refusal = Some(why));
    page.click("#confirm-yes");
    page.wait_for_text("#confirm-error", "Not done: the host has memory for 6 runners");
    page.keys(ESCAPE);
    page.wait("it is closed", "return !document.querySelector('#confirm').open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_reached_with_the_keyboard() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    page.keys(TAB);
    assert_eq!(page.eval("return document.activeElement.className"), "skip");
    page.keys(ENTER);
    page.wait("the runners have the focus", "return document.activeElement.id === 'runners'");
    page.keys(&TAB.repeat(3));
    page.keys(TAB);
    assert_eq!(page.eval("return document.activeElement.dataset.sort"), "status");
    page.keys(ENTER);
    page.wait_for_text("#runner-rows tr:first-child", "running");
    let sorted = "return document.querySelector('th[aria-sort]').innerText.startsWith('State')";
    assert_eq!(page.eval(sorted), true);
    page.eval("document.querySelector('#runner-rows tr:first-child a').focus()");
    page.keys(ENTER);
    page.wait("it opens", "return document.querySelector('#detail').open");
    let inside = "return document.querySelector('#detail').contains(document.activeElement)";
    assert_eq!(page.eval(inside), true, "the focus is in the dialog");
    page.keys(ESCAPE);
    page.wait("it closes", "return !document.querySelector('#detail').open");
    let back = "return document.activeElement.closest('#runner-rows') !== null";
    assert_eq!(page.eval(back), true, "the focus is where it was");
}
