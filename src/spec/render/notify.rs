//! The `notify:` section as YAML.

use super::forge::secret;
use super::{Yaml, duration};
use crate::spec::{Notify, NotifyStyle};

pub(super) fn notify(notify: &Notify) -> Yaml {
    let style = match notify.style {
        NotifyStyle::Slack => "slack",
        NotifyStyle::Json => "json",
    };
    let events = notify.events.iter().map(|event| Yaml::text(event.word())).collect();
    Yaml::map([
        ("url", Some(secret(&notify.url))),
        ("style", Some(Yaml::text(style))),
        ("events", Some(Yaml::List(events))),
        ("queue_above", Some(Yaml::plain(notify.queue_above))),
        ("queue_for", Some(duration(notify.queue_for))),
    ])
}
