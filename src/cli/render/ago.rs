//! Spans of time in docker's words.

use std::time::Duration;

pub use crate::units::words::took;

/// `Less than a second`, `2 minutes`, `About an hour`, `3 weeks`.
#[must_use]
pub fn span(span: Duration) -> String {
    // Steps and roundings of docker's units.HumanDuration.
    let seconds = span.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 0 | 1) => "About an hour".to_owned(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 168),
        (_, _, 1440..17_520) => format!("{} months", hours / 720),
        (..) => format!("{} years", hours / 8760),
    }
}

/// How long ago: `2 minutes ago`.
#[must_use]
pub fn ago(time: Duration) -> String {
    format!("{} ago", span(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_dockers_words() {
        let said = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (125, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (21 * 86_400, "3 weeks"),
            (90 * 86_400, "3 months"),
            (800 * 86_400, "2 years"),
        ];
        for (seconds, words) in said {
            assert_eq!(span(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }
}
