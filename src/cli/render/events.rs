//! The record of events, one line each.

use super::{Paint, Tone, one_line};
use crate::cli::clock::utc;
use crate::fleet::audit::AuditEntry;

/// One line: `2026-02-08T12:00:00.000Z  runner-001  created  no container yet`.
#[must_use]
pub fn line(entry: &AuditEntry, paint: Paint) -> String {
    let time = paint.paint(Tone::Dim, &utc(entry.at));
    let why = short_ids(&one_line(&entry.why));
    let text = format!("{time}  {:<12}  {:<12}  {why}", entry.object, entry.what);
    format!("{}\n", text.trim_end())
}

/// The line with its number, who did it, and the states before and after.
#[must_use]
pub fn wide(entry: &AuditEntry, paint: Paint) -> String {
    let time = paint.paint(Tone::Dim, &utc(entry.at));
    let life = entry.incarnation.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let (actor, why) = (one_line(&entry.actor.to_string()), one_line(&entry.why));
    let states = states(entry);
    let text = format!(
        "{:>7}  {time}  {actor:<14}  {:<12}  {life:<5}  {:<12}  {states:<22}  {why}",
        entry.seq, entry.object, entry.what
    );
    format!("{}\n", text.trim_end())
}

/// A container's id in its first digits, as `docker ps` shows it; `--format json` has it whole.
fn short_ids(text: &str) -> String {
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|it| it.is_ascii_hexdigit());
    let word = |word| if is_id(&word) { word.get(..12).unwrap_or(word) } else { word };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn states(entry: &AuditEntry) -> String {
    let word = |state: &Option<String>| one_line(state.as_deref().unwrap_or("-"));
    match (&entry.before, &entry.after) {
        (None, None) => "-".to_owned(),
        (before, after) => format!("{} -> {}", word(before), word(after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::fixture::NOW;
    use crate::fleet::audit::Actor;

    #[test]
    fn an_entry_is_one_line() {
        let entry = AuditEntry {
            seq: 1,
            at: NOW,
            actor: Actor::Fleet,
            object: "runner-001".to_owned(),
            incarnation: None,
            what: "created".to_owned(),
            why: "no container yet".to_owned(),
            before: None,
            after: None,
        };
        let odd = AuditEntry { why: "a\nb\u{1b}[31mc".to_owned(), ..entry.clone() };
        assert!(line(&odd, Paint::Off).ends_with("a\\nb\\u{1b}[31mc\n"));
        let id = "a02b7c9bb1bae3546adb89984a1172b243b5f991cfc5315d90825f2777312131";
        let made = AuditEntry { why: format!("container {id}"), ..entry.clone() };
        assert!(line(&made, Paint::Off).ends_with("  container a02b7c9bb1ba\n"));
        assert_eq!(
            line(&entry, Paint::Off),
            "2026-02-08T12:00:00.000Z  runner-001    created       no container yet\n"
        );
        let moved = AuditEntry {
            incarnation: Some(crate::ids::IncarnationId(7)),
            before: Some("planned".to_owned()),
            after: Some("created".to_owned()),
            ..entry
        };
        assert_eq!(
            wide(&moved, Paint::Off),
            "      1  2026-02-08T12:00:00.000Z  fleet           runner-001    i7     created       \
             planned -> created      no container yet\n"
        );
    }
}
