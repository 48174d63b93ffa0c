//! What reaches the operator: reports in a browser, and messages.

use super::{Outside, Section};
use crate::causes::with_causes;
use crate::spec::Spec;
use crate::supervisor::notifier::LastMessage;
use crate::units::Time;
use crate::units::words::about;

/// Whether the report store is read, and shown where the file says.
pub(super) fn reports(spec: &Spec, outside: &Outside) -> Section {
    let mut section = Section::new("Reports");
    let place = &outside.reports;
    let folder = place.store.folder().display();
    match &outside.unread {
        Some(why) => section.error(
            with_causes(why),
            Some("the user who runs the supervisor must read and write it; `reports.path`"),
        ),
        None => section.ok(format!("{folder} is readable")),
    }
    let Some(server) = &spec.reports.server else {
        section.skipped("no browser is let in to the reports: there is no `reports.listen`");
        return section;
    };
    match (&place.trouble, &place.url) {
        (Some(why), _) => section.error(
            format!("{} is not open: {why}", server.listen),
            Some("free the address, or choose another `reports.listen` and `slate-fleet up -d`"),
        ),
        (None, Some(url)) => section.ok(format!("reports are shown at {url}/")),
        (None, None) => section.warning(format!("{} is not open yet", server.listen), None),
    }
    section
}

/// Whether messages arrive, where they are asked for.
pub(super) fn messages(spec: &Spec, outside: &Outside, now: Time) -> Option<Section> {
    spec.notify.as_ref()?;
    let mut section = Section::new("Messages");
    match &outside.message {
        None => section.ok("there was nothing to tell since the supervisor began"),
        Some(LastMessage { at, trouble: None }) => {
            section.ok(format!("the last message arrived {} ago", about(now.since(*at))));
        }
        Some(LastMessage { at, trouble: Some(why) }) => section.error(
            format!("the last message did not arrive, {} ago: {why}", about(now.since(*at))),
            Some("mend the address that `notify.url` names; it is read anew at each message"),
        ),
    }
    Some(section)
}
