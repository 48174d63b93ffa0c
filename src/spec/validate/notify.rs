//! Messages to a webhook.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::notify::{Notify, NotifyEvent, NotifyStyle};
use super::super::raw::RawNotify;
use super::{Bounds, Context, Spot, secret_source};

/// A queue that may be deep for a day is watched by nobody.
const QUEUE_FOR: Bounds<Duration> =
    Bounds::duration(Duration::ZERO, Duration::from_secs(24 * 60 * 60));

pub(super) fn notify(raw: Option<&RawNotify>, cx: &mut Context<'_>) -> Option<Notify> {
    let raw = raw?;
    let spot = Spot::root(cx.root).key("notify");
    let url = raw.url.as_ref().and_then(|raw| secret_source::source(spot.key("url"), raw, cx));
    let queue_for = raw.queue_for.as_ref().map(|it| it.0.as_str());
    let queue_for = cx.read_within(spot.key("queue_for"), queue_for, &QUEUE_FOR);
    let style = match raw.style.as_ref().map(|it| it.0.as_str()) {
        Some("json") => NotifyStyle::Json,
        Some("slack") | None => NotifyStyle::Slack,
        Some(_) => {
            cx.unknown(spot.key("style"), "style of messages", &["slack", "json"]);
            NotifyStyle::Slack
        }
    };
    Some(Notify {
        url: url?,
        style,
        events: events(raw, spot.key("events"), cx),
        queue_above: raw.queue_above.unwrap_or(Notify::QUEUE_ABOVE),
        queue_for: queue_for.unwrap_or(Notify::QUEUE_FOR),
    })
}

fn events(raw: &RawNotify, spot: Spot<'_>, cx: &mut Context<'_>) -> BTreeSet<NotifyEvent> {
    let Some(written) = &raw.events else { return NotifyEvent::ALL.into() };
    let mut events = BTreeSet::new();
    for word in written {
        let item = spot.item(&word.0);
        let Some(event) = NotifyEvent::ALL.into_iter().find(|event| event.word() == word.0) else {
            cx.unknown(item, "event", &NotifyEvent::ALL.map(NotifyEvent::word));
            continue;
        };
        if !events.insert(event) {
            cx.findings.error(item.span, format!("`{}` is written twice", word.0)).help("keep one");
        }
    }
    events
}
