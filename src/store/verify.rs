//! Checking the chain: reads entry after entry in constant memory and names what does not fit.

use std::fmt;

use super::chain::{Fields, Hash, Head, Linker};

/// Findings that are kept; whoever has rewritten more has rewritten everything.
pub const FLAWS_MAX: usize = 20;

/// Something that is wrong with the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// An entry is not what was recorded.
    Edited(u64),
    /// Entries between others are not there.
    Removed {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// Two entries stand in each other's place.
    Swapped(u64, u64),
    /// An entry stands behind a later one.
    Misplaced {
        /// Which.
        seq: u64,
        /// Behind which.
        behind: u64,
    },
    /// The last entries are not there.
    Truncated {
        /// The first of them.
        from: u64,
        /// The last of them that is known to have been.
        to: u64,
    },
    /// An entry fits those before it, and is not the one that was there.
    Rewritten(u64),
    /// There are entries behind the end.
    Added {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// The database does not say where its log ends.
    NoHead,
    /// A line of a file is no entry.
    Unreadable {
        /// Which line, from 1.
        line: u64,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited(seq) => write!(f, "entry {seq} was edited: it does not fit its hash"),
            Self::Removed { from, to } if from == to => write!(f, "entry {from} was removed"),
            Self::Removed { from, to } => write!(f, "entries {from} to {to} were removed"),
            Self::Swapped(one, other) => write!(f, "entries {one} and {other} were swapped"),
            Self::Misplaced { seq, behind } => {
                write!(f, "entry {seq} was moved: it stands behind entry {behind}")
            }
            Self::Truncated { from, to } if from == to => {
                write!(f, "the log was truncated: its last entry, {from}, is missing")
            }
            Self::Truncated { from, to } => {
                write!(f, "the log was truncated: its last entries, {from} to {to}, are missing")
            }
            Self::Rewritten(seq) => {
                write!(f, "entry {seq} was rewritten: it is not the one that was recorded")
            }
            Self::Added { from, to } if from == to => {
                write!(f, "entry {from} was added behind the end of the log")
            }
            Self::Added { from, to } => {
                write!(f, "entries {from} to {to} were added behind the end of the log")
            }
            Self::NoHead => f.write_str("the database does not say where its log ends"),
            Self::Unreadable { line } => write!(f, "line {line} is no entry of an audit log"),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Entries read.
    pub entries: u64,
    /// The number of the first.
    pub first: u64,
    /// The last entry.
    pub head: Head,
    /// What is wrong, at most [`FLAWS_MAX`].
    pub flaws: Vec<Flaw>,
    /// Findings beyond those.
    pub more: u64,
}

/// Reads a log from its beginning to its end.
#[derive(Debug)]
pub(super) struct Verifier {
    linker: Linker,
    first: u64,
    at: Head,
    /// What the last entry's hash should have been, where that was wrong: perhaps only the hash
    /// was edited.
    should_be: Option<Hash>,
    entries: u64,
    flaws: Vec<Flaw>,
    more: u64,
    known: Option<Head>,
}

/// How an entry's predecessor is known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before {
    /// By the entry read before it.
    Read,
    /// It says so itself.
    Said(Hash),
}

impl Verifier {
    /// A log that begins behind `anchor`; `known` is an entry that is known to have been in it.
    pub(super) fn new(anchor: Head, known: Option<Head>) -> Self {
        Self {
            linker: Linker::default(),
            first: anchor.seq.saturating_add(1),
            at: anchor,
            should_be: None,
            entries: 0,
            flaws: Vec::new(),
            more: 0,
            known,
        }
    }

    /// The next entry.
    pub(super) fn take(&mut self, fields: &Fields<'_>, before: Before, hash: Hash) {
        self.entries += 1;
        if fields.seq <= self.at.seq {
            self.misplaced(fields, before, hash);
            return;
        }
        let expected = self.at.seq.saturating_add(1);
        let is_next = fields.seq == expected;
        if !is_next {
            self.flaw(Flaw::Removed { from: expected, to: fields.seq - 1 });
        }
        let misfit = match before {
            // Behind a gap nothing tells what stood there.
            Before::Read if !is_next => None,
            Before::Read => self.misfit(self.at.hash, fields, hash),
            Before::Said(said) if is_next && said != self.at.hash => {
                Some(self.linker.link(self.at.hash, fields))
            }
            Before::Said(said) => self.misfit(said, fields, hash),
        };
        let forgiven = is_next
            && self.should_be.is_some_and(|hash_before| {
                matches!(before, Before::Read) && self.linker.link(hash_before, fields) == hash
            });
        if misfit.is_some() && !forgiven {
            self.flaw(Flaw::Edited(fields.seq));
        }
        self.should_be = misfit.filter(|_| !forgiven);
        self.at = Head { seq: fields.seq, hash };
        if let Some(known) = self.known
            && known.seq == fields.seq
            && known.hash != hash
            && misfit.is_none()
        {
            self.flaw(Flaw::Rewritten(fields.seq));
        }
    }

    /// The hash that an entry should have, where that is another.
    fn misfit(&mut self, before: Hash, fields: &Fields<'_>, hash: Hash) -> Option<Hash> {
        let should_be = self.linker.link(before, fields);
        (should_be != hash).then_some(should_be)
    }

    /// An entry behind a later one: what seemed removed was only moved.
    fn misplaced(&mut self, fields: &Fields<'_>, before: Before, hash: Hash) {
        let seq = fields.seq;
        let behind = self.at.seq;
        self.unmiss(seq);
        self.flaw(Flaw::Misplaced { seq, behind });
        if let Before::Said(said) = before
            && self.misfit(said, fields, hash).is_some()
        {
            self.flaw(Flaw::Edited(seq));
        }
    }

    fn unmiss(&mut self, seq: u64) {
        let Some(at) = self.flaws.iter().position(
            |flaw| matches!(flaw, Flaw::Removed { from, to } if (*from..=*to).contains(&seq)),
        ) else {
            return;
        };
        if let Flaw::Removed { from, to } = self.flaws.remove(at) {
            let parts = [(from, seq.saturating_sub(1)), (seq.saturating_add(1), to)];
            for (from, to) in parts.into_iter().filter(|(from, to)| from <= to) {
                self.flaws.insert(at, Flaw::Removed { from, to });
            }
        }
    }

    pub(super) fn flaw(&mut self, flaw: Flaw) {
        match self.flaws.len() < FLAWS_MAX {
            true => self.flaws.push(flaw),
            false => self.more += 1,
        }
    }

    /// Whether there were entries.
    pub(super) fn has_read(&self) -> bool {
        self.entries > 0
    }

    /// The log is read; `head` is where it should end, if that is known.
    pub(super) fn finish(mut self, head: Option<Head>) -> Verified {
        let ends = [head, self.known];
        let last = ends.iter().flatten().map(|end| end.seq).max();
        if let Some(last) = last.filter(|last| *last > self.at.seq) {
            self.flaw(Flaw::Truncated { from: self.at.seq.saturating_add(1), to: last });
        }
        match head {
            Some(head) if head.seq < self.at.seq => {
                self.flaw(Flaw::Added { from: head.seq.saturating_add(1), to: self.at.seq });
            }
            Some(head) if head.seq == self.at.seq && head.hash != self.at.hash => {
                let seq = self.at.seq;
                if !self.flaws.iter().any(|flaw| names(flaw, seq)) {
                    self.flaw(Flaw::Rewritten(seq));
                }
            }
            Some(_) | None => {}
        }
        Verified {
            entries: self.entries,
            first: self.first,
            head: self.at,
            flaws: self.flaws,
            more: self.more,
        }
    }
}

fn names(flaw: &Flaw, seq: u64) -> bool {
    match flaw {
        Flaw::Edited(it) | Flaw::Rewritten(it) => *it == seq,
        Flaw::Swapped(one, other) => *one == seq || *other == seq,
        Flaw::Removed { .. }
        | Flaw::Misplaced { .. }
        | Flaw::Truncated { .. }
        | Flaw::Added { .. }
        | Flaw::NoHead
        | Flaw::Unreadable { .. } => false,
    }
}
