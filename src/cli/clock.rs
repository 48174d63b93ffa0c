//! The one place of the command line that reads clocks, and how times are read and written.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::units::Time;

/// The wall clock.
pub(super) fn now() -> Time {
    Time(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0))
}

/// A moment to measure from.
pub(super) fn start() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Reads `30s`, `10m`, `1h30m`, `2d`; for clap.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let right = "write a duration such as `30s`, `10m`, `1h30m` or `2d`";
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    if let Some(days) = days {
        return Ok(Duration::from_secs(days.saturating_mul(86_400)));
    }
    let duration: SignedDuration = text.parse().map_err(|_| right.to_owned())?;
    Duration::try_from(duration).map_err(|_| right.to_owned())
}

/// A moment that people give: a time, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// At this time.
    At(Time),
    /// This long before now.
    Ago(Duration),
}

impl Since {
    pub(super) fn time(self) -> Time {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => {
                let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                Time(now().0.saturating_sub(span))
            }
        }
    }
}

/// Reads `10m` or `2026-02-08T12:00:00Z`; for clap.
pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(span) = parse_duration(text) {
        return Ok(Since::Ago(span));
    }
    let time: Timestamp = text.parse().map_err(|_| {
        "write how long ago, such as `10m`, or a time such as `2026-02-08T12:00:00Z`".to_owned()
    })?;
    Ok(Since::At(Time(u64::try_from(time.as_millisecond()).unwrap_or(0))))
}

/// A moment in UTC with milliseconds: `2026-02-08T12:00:00.000Z`.
#[must_use]
pub fn utc(time: Time) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .map_or_else(|| time.0.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "30", "-5s", "soon"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_and_written_in_utc() {
        assert_eq!(parse_since("2026-02-08T12:00:00Z"), Ok(Since::At(Time(1_770_552_000_000))));
        assert_eq!(utc(Time(1_770_552_000_000)), "2026-02-08T12:00:00.000Z");
        assert_eq!(parse_since("10m"), Ok(Since::Ago(Duration::from_secs(600))));
    }
}
