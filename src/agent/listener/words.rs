//! What a listener says: the few lines that mean something, and its last words without secrets.

use std::collections::VecDeque;

/// Most that is kept of a line; the rest of a longer one is dropped.
const LINE_MAX: usize = 1000;

/// Most that is kept of its last words.
const LAST_MAX: usize = 2048;

/// A run of letters and digits this long, with both in it, may be a secret.
const SECRET_MIN: usize = 24;

/// How the listener begins its own lines, by example: letters stand for themselves, `0` for any
/// digit. What its worker says begins otherwise, so that no job can speak for the listener.
const STAMP: &str = "0000-00-00 00:00:00Z: ";

/// A line that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// It waits for a job.
    Listening,
    /// It has a job of this name.
    Claimed(String),
    /// Its job is over.
    Done,
    /// It cannot reach its forge, and tries again by itself.
    Unconnected,
    /// It reaches its forge again.
    Connected,
    /// Its registration is gone at the forge.
    Deleted,
}

/// What a line means, if anything.
pub(super) fn parse(line: &str) -> Option<Word> {
    if line.contains("registration has been deleted") && !is_trace(line) {
        return Some(Word::Deleted);
    }
    if line.trim() == "Runner reconnected." {
        return Some(Word::Connected);
    }
    let said = unstamped(line)?.trim_end();
    if let Some(name) = said.strip_prefix("Running job: ") {
        return Some(Word::Claimed(name.to_owned()));
    }
    match said {
        "Listening for Jobs" => Some(Word::Listening),
        "Runner reconnected." => Some(Word::Connected),
        said if said.starts_with("Job ") && said.contains(" completed with result: ") => {
            Some(Word::Done)
        }
        said if said.starts_with("Runner connect error") => Some(Word::Unconnected),
        _ => None,
    }
}

/// Whether it is a line of the diagnostic log.
fn is_trace(line: &str) -> bool {
    line.starts_with("[RUNNER ") || line.starts_with("[WORKER ")
}

fn unstamped(line: &str) -> Option<&str> {
    let (stamp, said) = line.split_at_checked(STAMP.len())?;
    let fits = |(c, pattern): (char, char)| match pattern {
        '0' => c.is_ascii_digit(),
        other => c == other,
    };
    stamp.chars().zip(STAMP.chars()).all(fits).then_some(said)
}

/// A line without what may be a secret: long runs of letters and digits.
pub(super) fn redact(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=');
        let run = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(run);
        let mixed = head.contains(|c: char| c.is_ascii_digit())
            && head.contains(|c: char| c.is_ascii_alphabetic());
        clean.push_str(if head.len() >= SECRET_MIN && mixed { "***" } else { head });
        let other = tail.find(word).unwrap_or(tail.len());
        let (between, next) = tail.split_at(other);
        clean.push_str(between);
        rest = next;
    }
    clean
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// The lines that are complete with these bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        self.extend(pieces.next().unwrap_or_default());
        for piece in pieces {
            lines.extend(self.finish());
            self.extend(piece);
        }
        lines
    }

    /// The line that was begun, if any.
    pub(super) fn finish(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.open);
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        Some(line).filter(|line| !line.is_empty())
    }

    fn extend(&mut self, piece: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.open.len());
        self.open.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
    }
}

/// The last lines that a program said.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    lines: VecDeque<String>,
    size: usize,
}

impl LastWords {
    /// Takes a line, which is clean already. Of the diagnostic log only errors are worth keeping.
    pub(super) fn push(&mut self, line: &str) {
        if is_trace(line) && !line.contains(" ERR ") && !line.contains(" CRIT ") {
            return;
        }
        self.size += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.size > LAST_MAX
            && let Some(first) = self.lines.pop_front()
        {
            self.size -= first.len() + 1;
        }
    }

    /// All of them.
    pub(super) fn text(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listeners_own_lines_are_understood() {
        let at = |said: &str| parse(&format!("2026-11-21 15:42:44Z: {said}"));
        assert_eq!(at("Listening for Jobs"), Some(Word::Listening));
        assert_eq!(at("Running job: build (1, a)"), Some(Word::Claimed("build (1, a)".to_owned())));
        assert_eq!(at("Job build completed with result: Succeeded"), Some(Word::Done));
        assert_eq!(at("Runner connect error: no. Retrying."), Some(Word::Unconnected));
        assert_eq!(parse("Runner reconnected."), Some(Word::Connected));
        let deleted = "Failed to create a session. The runner registration has been deleted";
        assert_eq!(parse(deleted), Some(Word::Deleted));
    }

    #[test]
    fn nobody_speaks_for_the_listener() {
        for line in [
            "Listening for Jobs",
            "[WORKER 2026-11-21 15:42:44Z INFO Steps] Running job: x",
            "echo 2026-11-21 15:42:44Z: Running job: x",
            "2026-11-21T15:42:44Z: Running job: x",
            "[WORKER 2026-11-21 15:42:44Z INFO x] registration has been deleted",
            "",
            "ü026-11-21 15:42:44Z: Listening for Jobs",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        for secret in [
            "AABF3JGZDX3P5PMEXLND6TS6FCWO6",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9",
        ] {
            let clean = redact(&format!("the token {secret}, refused"));
            assert_eq!(clean, "the token ***, refused");
        }
        let plain =
            "Job https://github.com/me/site/actions/runs/30433642 (3fa85f64-5717-4562-b3fc)";
        assert_eq!(redact(plain), plain);
    }

    #[test]
    fn lines_are_whole_and_bounded() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntw"), ["one"]);
        assert_eq!(lines.push(b"o\r\n\nthree"), ["two"]);
        assert_eq!(lines.finish(), Some("three".to_owned()));
        assert_eq!(lines.push(&vec![b'x'; 100_000]), [""; 0]);
        assert_eq!(lines.push(b"\n")[0].len(), LINE_MAX);
    }

    #[test]
    fn last_words_are_bounded_and_without_the_diagnostic_log() {
        let mut last = LastWords::default();
        last.push("[RUNNER 2026-11-21 15:42:44Z INFO Listener] noise");
        last.push("[RUNNER 2026-11-21 15:42:44Z ERR  Listener] trouble");
        assert!(last.text().ends_with("trouble") && !last.text().contains("noise"));
        for number in 0..1000 {
            last.push(&format!("line {number}"));
        }
        assert!(last.text().len() <= LAST_MAX);
        assert!(last.text().ends_with("line 999"));
    }
}
