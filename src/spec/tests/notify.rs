//! Messages: defaults, and what is refused.

use super::*;

const BASE: &str = "version: 1\npools: [{name: a, profile: light}]\n";

#[test]
fn a_webhook_alone_is_told_everything_as_the_specification_wants_it() {
    let spec = spec_of(&format!("{BASE}notify: {{url: {{env: HOOK}}}}\n"));
    let notify = spec.notify.expect("it is there");
    assert_eq!(notify.url, SecretSource::Variable("HOOK".to_owned()));
    assert_eq!((notify.queue_above, notify.queue_for), (20, Duration::from_secs(300)));
    assert_eq!(notify.events, NotifyEvent::ALL.into());
    assert_eq!(notify.style, NotifyStyle::Slack);
    assert!(spec_of(BASE).notify.is_none());
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let table = [
        ("{queue_above: 3}", "`url`"),
        ("{url: {env: HOOK}, events: [queue, queue]}", "`queue` is written twice"),
        ("{url: {env: HOOK}, events: [queues]}", "there is no event `queues`"),
        ("{url: {env: HOOK}, style: teams}", "there is no style of messages `teams`"),
        ("{url: {env: HOOK}, queue_for: 2d}", "`2d` is out of bounds"),
        (
            "{url: {env: 'https://hooks.slack.com/services/T0/B0/x'}}",
            "this is no name of a variable",
        ),
    ];
    for (keys, message) in table {
        let shown = errors_of(&format!("{BASE}notify: {keys}\n"));
        assert!(shown.contains(message), "{keys}\n{shown}");
        assert!(!shown.contains("hooks.slack.com"), "{shown}");
    }
}
