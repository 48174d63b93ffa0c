//! Quantities in words, as people say them.

use std::fmt::Display;
use std::time::Duration;

/// A number and what it counts: `1 runner`, `2 runners`, `3 entries`.
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    if count == N::from(1) {
        return format!("{count} {what}");
    }
    match what.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{count} {stem}ies"),
        Some(_) | None => format!("{count} {what}s"),
    }
}

/// A part of a number of things: `the one runner`, `1 of 3 runners`.
#[must_use]
pub fn part<N: Copy + Display + PartialEq + From<u8>>(count: N, all: N, what: &str) -> String {
    match count == N::from(1) && all == count {
        true => format!("the one {what}"),
        false => format!("{count} of {}", counted(all, what)),
    }
}

/// All of a number of things: `the one runner`, `all 3 runners`.
#[must_use]
pub fn all_of<N: Copy + Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    match count == N::from(1) {
        true => format!("the one {what}"),
        false => format!("all {}", counted(count, what)),
    }
}

/// The form of a word that goes with a number: `is` or `are`, `waits` or `wait`.
#[must_use]
pub fn agree<'a, N: PartialEq + From<u8>>(count: &N, one: &'a str, many: &'a str) -> &'a str {
    if *count == N::from(1) { one } else { many }
}

/// How long something took: `0.42s`, `12.3s`, `4m05s`, `1h02m`, `3d04h`.
#[must_use]
pub fn took(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match (seconds, hours) {
        (0..10, _) => format!("{:.2}s", span.as_secs_f64()),
        (10..60, _) => format!("{:.1}s", span.as_secs_f64()),
        (60..3600, _) => format!("{minutes}m{:02}s", seconds % 60),
        (_, 0..48) => format!("{hours}h{:02}m", minutes % 60),
        (..) => format!("{}d{:02}h", hours / 24, hours % 24),
    }
}

/// A span in a sentence, in its two largest units: `12s`, `5m`, `2h5m`, `7d`, `200d3h`.
#[must_use]
pub fn about(span: Duration) -> String {
    let seconds = span.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let told = parts.iter().skip_while(|(count, _)| *count == 0).take(2);
    let told = told.filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}"));
    match seconds {
        0 => "0s".to_owned(),
        _ => told.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_as_one_and_others_as_many() {
        let said = [(0_u32, "0 runners"), (1, "1 runner"), (2, "2 runners")];
        for (count, words) in said {
            assert_eq!(counted(count, "runner"), words);
        }
        assert_eq!(counted(2_usize, "entry"), "2 entries");
        assert_eq!(counted(0_u64, "day"), "0 days");
        assert_eq!(part(1_u32, 1, "runner"), "the one runner");
        assert_eq!(part(1_u32, 3, "runner"), "1 of 3 runners");
        assert_eq!(part(0_u32, 1, "runner"), "0 of 1 runner");
        assert_eq!(all_of(1_u32, "card"), "the one card");
        assert_eq!(all_of(2_u32, "card"), "all 2 cards");
        assert_eq!((agree(&1, "is", "are"), agree(&0, "is", "are")), ("is", "are"));
    }

    #[test]
    fn spans_in_sentences_have_two_units_and_none_for_nothing() {
        let said = [
            (0, "0s"),
            (12, "12s"),
            (300, "5m"),
            (7500, "2h5m"),
            (3601, "1h"),
            (7 * 86_400 + 59, "7d"),
            (200 * 86_400 + 3 * 3600 + 5, "200d3h"),
        ];
        for (seconds, words) in said {
            assert_eq!(about(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }

    #[test]
    fn durations_keep_the_digits_that_matter() {
        let said = [
            (420, "0.42s"),
            (12_340, "12.3s"),
            (245_000, "4m05s"),
            (3_720_000, "1h02m"),
            (47 * 3_600_000, "47h00m"),
            (2159 * 3_600_000, "89d23h"),
        ];
        for (millis, words) in said {
            assert_eq!(took(Duration::from_millis(millis)), words);
        }
    }
}
