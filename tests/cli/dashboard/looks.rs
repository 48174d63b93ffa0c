//! How the page looks: contrast, names for screen readers, narrow screens, how soon it is there.

use serde_json::Value;

use super::browser::{Browser, Scheme};
use super::fleets::{newest_running, workstation};
use super::{Stage, picture};

/// Every text that is shown, with less contrast than WCAG AA asks for: 4.5, or 3 for large text.
const CONTRAST: &str = r"
const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
};
const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const light = (colour) => {
  const linear = (v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const [r, g, b] = colour.map((v) => linear(v / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const grounds = (element) => {
  const own = getComputedStyle(element);
  const isLast = !element.parentElement || element.matches('dialog');
  const under = isLast ? [[255, 255, 255, 1]] : grounds(element.parentElement);
  const stops = [...own.backgroundImage.matchAll(/rgba?\([^)]*\)/g)].map((it) => it[0]);
  const colours = stops.length ? stops : [own.backgroundColor];
  return colours.flatMap((colour) => under.map((it) => over(rgba(colour), it)));
};
const dialog = [...document.querySelectorAll('dialog[open]')].at(-1);
const bad = []; let looked = 0;
const walker = document.createTreeWalker(dialog ?? document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility({visibilityProperty: true})) continue;
  if (element.closest('.unseen, thead') && innerWidth < 700 || element.closest('.unseen, .skip, #done')) continue;
  const style = getComputedStyle(element);
  const size = parseFloat(style.fontSize);
  const wanted = size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5;
  looked += 1;
  for (const ground of grounds(element)) {
    const [a, b] = [light(over(rgba(style.color), ground)), light(ground)];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < wanted) bad.push(`${ratio.toFixed(2)}: ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
}
return {looked, bad: [...new Set(bad)]};";

/// What can be used or is a region, and has no name that a screen reader could say.
const NAMELESS: &str = r"
const named = (it) => document.getElementById(it.getAttribute('aria-labelledby'));
const name = (it) => it.getAttribute('aria-label') || named(it)?.textContent.trim()
  || it.textContent.trim() || it.labels?.[0]?.textContent.trim();
const all = 'button, a[href]:not(.tile), input, section, [role=region], [role=log], dialog[open]';
return [...document.querySelectorAll(all)]
  .filter((it) => it.checkVisibility() && !name(it)).map((it) => it.outerHTML.slice(0, 120));";

/// Opens a job that runs.
fn open_job(stage: &Stage) {
    let job = stage.of_world(|world| newest_running(world, "standard"));
    stage.browser.eval(&format!("location.hash = '#/{job}'"));
    stage.browser.wait_for_text("#detail", "Given out after");
}

fn check_contrast(page: &Browser, what: &str) {
    for scheme in [Scheme::Light, Scheme::Dark] {
        page.prefer(scheme);
        let found = page.eval(CONTRAST);
        let looked = found["looked"].as_u64().expect("a count");
        assert!(looked > 3, "{what}: only {looked} texts were looked at");
        assert_eq!(found["bad"], Value::Array(Vec::new()), "{what}, {scheme:?}");
    }
    page.prefer(Scheme::Light);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_has_the_contrast_of_wcag_aa_in_light_and_dark() {
    let stage = Stage::open(Some("operator"), |world| {
        workstation(world);
        world.fleet.troubles = vec!["slate-light-06: crashed 3 times in a row".to_owned()];
        let states = ["error", "stale", "starting", "stopping", "registering"];
        for (runner, state) in world.fleet.runners.iter_mut().rev().zip(states) {
            runner.status = serde_json::from_value(state.into()).expect("a state");
        }
        world.fleet.gpus.cards[1].cordon = Some("Xid 79".to_owned());
    })
    .await;
    let page = &stage.browser;
    page.resize(1400, 2400);
    page.wait_for_text("#queue-list", "next in line");
    check_contrast(page, "the page");
    open_job(&stage);
    check_contrast(page, "a job");
    page.click("#detail [data-danger]");
    check_contrast(page, "a question");
    page.click("#confirm-no");
    page.click("#detail-close");
    page.resize(390, 2400);
    check_contrast(page, "the page on a phone");
    let bad = page.eval("document.querySelector('h1').style.color = '#bbb';") == Value::Null
        && page.eval(CONTRAST)["bad"] == Value::Array(Vec::new());
    assert!(!bad, "a text without contrast is found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_used_has_a_name_and_the_page_has_landmarks() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    page.wait_for_text("#queue-list", "next in line");
    assert_eq!(page.eval(NAMELESS), Value::Array(Vec::new()));
    open_job(&stage);
    assert_eq!(page.eval(NAMELESS), Value::Array(Vec::new()));
    for landmark in ["header", "main", "h1", "[aria-live=polite]", "th[aria-sort]", "html[lang]"] {
        let script = format!("return document.querySelectorAll('{landmark}').length");
        assert_eq!(page.eval(&script), 1, "{landmark}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_screen_scrolls_one_way_only() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    page.wait_for_text("#queue-list", "next in line");
    for width in [320, 390, 768, 1000, 1400] {
        page.resize(width, 900);
        let beyond = page.eval("return document.documentElement.scrollWidth - innerWidth");
        assert_eq!(beyond, 0, "at {width} pixels something stands out");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_there_soon_and_asks_nobody_else() {
    let stage = Stage::open(Some("viewer"), workstation).await;
    let page = &stage.browser;
    page.wait_for_text("#queue-list", "next in line");
    let figures = page.eval(
        "const all = performance.getEntriesByType('resource');
         const page = performance.getEntriesByType('navigation')[0];
         const files = all.filter((it) => it.name.includes('/dashboard/'));
         return {
           files: files.length + 1,
           bytes: files.reduce((sum, it) => sum + it.encodedBodySize, page.encodedBodySize),
           painted: Math.round(performance.getEntriesByName('first-contentful-paint')[0].startTime),
           told: Math.round(performance.getEntriesByName('draw')[0].startTime),
           others: all.filter((it) => !it.name.startsWith(location.origin)).map((it) => it.name),
         };",
    );
    eprintln!("the page: {figures} (times in ms after it was asked for)");
    assert_eq!(figures["others"], Value::Array(Vec::new()));
    assert!(figures["told"].as_f64().expect("a time") < 5_000.0, "{figures}");
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// `scripts/pictures` puts two of them into the documentation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_for_people() {
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    page.wait_for_text("#queue-list", "next in line");
    page.wait_for_text("#hosts", "used");
    for (name, scheme) in [("light", Scheme::Light), ("dark", Scheme::Dark)] {
        page.prefer(scheme);
        page.resize(1400, 1500);
        page.picture(&picture(name));
        page.resize(390, 1800);
        page.picture(&picture(&format!("phone-{name}")));
    }
    assert!(picture("light").exists());
}
