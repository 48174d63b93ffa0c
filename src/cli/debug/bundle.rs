//! The archive: parts within bounds, and a list of what is in it and what is not.

use std::io::{self, Write};

use tar::{Builder, Header};

use crate::units::{Bytes, Time};

/// Largest part; of texts the end is kept, a document is left out.
const PART_MAX: usize = 4 * 1024 * 1024;
/// All parts together.
const ALL_MAX: usize = 32 * 1024 * 1024;
/// The folder that everything is in.
const FOLDER: &str = "slate-debug";

/// What is kept of a part that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooLarge {
    /// Its last lines.
    KeepEnd,
    /// Nothing: a part of it means nothing.
    LeaveOut,
}

/// Parts of an archive.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    parts: Vec<Part>,
    missing: Vec<String>,
}

#[derive(Debug)]
struct Part {
    name: String,
    about: String,
    text: String,
}

impl Bundle {
    /// Adds a text that is clean of secrets.
    pub(super) fn add(&mut self, name: &str, about: &str, text: String, too_large: TooLarge) {
        let left = ALL_MAX.saturating_sub(self.parts.iter().map(|part| part.text.len()).sum());
        let most = PART_MAX.min(left);
        let text = match (text.len() > most, too_large) {
            (false, _) => text,
            (true, TooLarge::KeepEnd) if most > 0 => end_of(&text, most),
            (true, TooLarge::KeepEnd | TooLarge::LeaveOut) => {
                let size = Bytes(text.len() as u64);
                return self.lack(name, &format!("it has {size}, and {most} bytes fit"));
            }
        };
        self.parts.push(Part { name: name.to_owned(), about: about.to_owned(), text });
    }

    /// Notes a part that could not be had.
    pub(super) fn lack(&mut self, name: &str, why: &str) {
        self.missing.push(format!("{name}: {why}"));
    }

    /// What could not be had, and why.
    pub(super) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// All parts together, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.text.len() as u64).sum()
    }

    /// Writes the archive.
    pub(super) fn write(&self, out: impl Write, now: Time) -> io::Result<()> {
        let mut archive = Builder::new(out);
        let contents = self.contents();
        let parts = self.parts.iter().map(|part| (part.name.as_str(), part.text.as_str()));
        for (name, text) in [("CONTENTS.txt", contents.as_str())].into_iter().chain(parts) {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(now.0 / 1000);
            archive.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())?;
        }
        archive.into_inner()?.flush()
    }

    fn contents(&self) -> String {
        let mut text = "What is in this archive:\n".to_owned();
        for Part { name, about, text: part } in &self.parts {
            text.push_str(&format!("  {name} ({}): {about}\n", Bytes(part.len() as u64)));
        }
        text.push_str("\nWhat could not be had:\n");
        if self.missing.is_empty() {
            text.push_str("  nothing\n");
        }
        for missing in &self.missing {
            text.push_str(&format!("  {missing}\n"));
        }
        text.push_str(
            "\nLeft out on purpose: output and arguments of jobs, values of variables, tokens, \
             keys, certificates, the database, reports.\nWhat looks like a secret is ***.\n",
        );
        text
    }
}

/// The last bytes, from the beginning of a line on.
fn end_of(text: &str, most: usize) -> String {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let end = text.get(from..).unwrap_or_default();
    end.split_once('\n').map_or(end, |(_torn, whole)| whole).to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn parts_are_bounded_and_what_is_missing_is_said() {
        let mut bundle = Bundle::default();
        bundle.add("fleet.json", "the fleet", "{}\n".to_owned(), TooLarge::LeaveOut);
        let long = format!("{}last\n", "line\n".repeat(PART_MAX / 5));
        bundle.add("supervisor.log", "its log", long.clone(), TooLarge::KeepEnd);
        bundle.add("jobs.json", "jobs", long, TooLarge::LeaveOut);
        bundle.lack("metrics.txt", "no supervisor");
        assert_eq!(bundle.missing().len(), 2);
        let mut bytes = Vec::new();
        bundle.write(&mut bytes, Time(1_000_000)).expect("written");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut found = Vec::new();
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("a text");
            found.push((path, text));
        }
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = ["CONTENTS.txt", "fleet.json", "supervisor.log"];
        assert_eq!(names, wanted.map(|name| format!("slate-debug/{name}")));
        let (contents, log) = (&found[0].1, &found[2].1);
        for words in ["fleet.json (3B): the fleet", "jobs.json: it has", "metrics.txt: no super"] {
            assert!(contents.contains(words), "no `{words}` in {contents}");
        }
        assert!(log.len() <= PART_MAX && log.starts_with("line\n") && log.ends_with("last\n"));
    }
}
