//! Notices as a webhook takes them.

use serde_json::json;

use super::{Notice, NoticeState};
use crate::ids::ProjectName;
use crate::spec::NotifyStyle;
use crate::units::words::about;

/// A line is cut here: an engine's words may be long, and chat servers refuse long messages.
const LINE_MAX: usize = 600;

/// The body of a message with these notices.
#[must_use]
pub fn body(style: NotifyStyle, project: &ProjectName, notices: &[Notice]) -> String {
    let body = match style {
        NotifyStyle::Slack => {
            let lines: Vec<String> = notices.iter().map(|it| line(project, it)).collect();
            json!({"text": lines.join("\n")})
        }
        NotifyStyle::Json => {
            let notices: Vec<_> = notices.iter().map(document).collect();
            json!({"project": project, "notices": notices})
        }
    };
    body.to_string()
}

/// A notice in one line, as Slack's markup wants it.
fn line(project: &ProjectName, notice: &Notice) -> String {
    let Notice { event, words, state, .. } = notice;
    let event = event.word();
    let lasted = notice.at.since(notice.since);
    let line = match state {
        NoticeState::Firing if lasted.as_secs() > 0 => {
            format!("[{project}] {event}: {words} (for {})", about(lasted))
        }
        NoticeState::Firing => format!("[{project}] {event}: {words}"),
        NoticeState::Resolved => {
            format!("[{project}] {event} resolved after {}: {words}", about(lasted))
        }
    };
    let line: String =
        line.chars().take(LINE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn document(notice: &Notice) -> serde_json::Value {
    json!({
        "event": notice.event.word(),
        "object": notice.object,
        "state": notice.state.word(),
        "message": notice.words,
        "since": notice.since,
        "at": notice.at,
    })
}
