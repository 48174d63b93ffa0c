//! The record of events, one line each.

use super::{Paint, Tone, one_line};
use crate::cli::clock::utc;
use crate::fleet::view::HistoryEntry;

/// One line: `2026-02-08T12:00:00.000Z  runner-001  created  no container yet`.
#[must_use]
pub fn line(entry: &HistoryEntry, paint: Paint) -> String {
    let time = paint.paint(Tone::Dim, &utc(entry.at));
    let why = one_line(&entry.why);
    let text = format!("{time}  {:<12}  {:<12}  {why}", entry.object, entry.what);
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::fixture::NOW;

    #[test]
    fn an_entry_is_one_line() {
        let entry = HistoryEntry {
            seq: 1,
            at: NOW,
            object: "runner-001".to_owned(),
            what: "created".to_owned(),
            why: "no container yet".to_owned(),
        };
        let odd = HistoryEntry { why: "a\nb\u{1b}[31mc".to_owned(), ..entry.clone() };
        assert!(line(&odd, Paint::Off).ends_with("a\\nb\\u{1b}[31mc\n"));
        assert_eq!(
            line(&entry, Paint::Off),
            "2026-02-08T12:00:00.000Z  runner-001    created       no container yet\n"
        );
    }
}
