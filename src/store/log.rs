//! The audit log read on its own: while a supervisor runs or without one, and changing nothing.

use std::io::BufRead;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::audit::{self, COLUMNS, End, Linked};
use super::chain::{Fields, Hash, Head, Linker};
use super::verify::{Before, Flaw, Verified, Verifier};
use super::{StoreError, reading, schema};

/// Longest line of an export; no entry comes near it.
const LINE_MAX: u64 = 1 << 20;

/// A state folder's audit log, opened for reading.
#[derive(Debug)]
pub struct AuditLog {
    connection: Connection,
}

/// Which entries are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// From this number.
    pub from: u64,
    /// Up to this number, it included.
    pub to: u64,
    /// Not before this time, in milliseconds since the Unix epoch.
    pub since: u64,
}

/// An entry as it is exported: its fields, and its place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct ExportedLine<'a> {
    #[serde(flatten)]
    fields: Fields<'a>,
    prev: Hash,
    hash: Hash,
}

/// An exported entry as it is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadLine {
    seq: u64,
    at: u64,
    actor: String,
    object: String,
    incarnation: Option<u64>,
    what: String,
    why: String,
    before: Option<String>,
    after: Option<String>,
    prev: Hash,
    hash: Hash,
}

impl AuditLog {
    /// Opens a database that is there; it is neither made nor brought to a newer format.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or is of another format.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(schema::PATIENCE).map_err(failed)?;
        schema::check_format(path, &connection)?;
        Ok(Self { connection })
    }

    /// Checks every entry. `known` is an entry that is known to have been in the log.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn verify(&self, known: Option<Head>) -> Result<Verified, StoreError> {
        // One view of the file for the whole reading, whatever is written meanwhile.
        let view = self.connection.unchecked_transaction().map_err(reading)?;
        let anchor = audit::end(&view, End::Anchor)?.unwrap_or(Head::START);
        let head = audit::end(&view, End::Head)?;
        let known = known.filter(|known| known.seq > anchor.seq);
        let mut verifier = Verifier::new(anchor, known);
        let mut statement =
            view.prepare(&format!("SELECT {COLUMNS} FROM audit ORDER BY seq")).map_err(reading)?;
        let mut rows = statement.query([]).map_err(reading)?;
        while let Some(row) = rows.next().map_err(reading)? {
            let (fields, hash) = audit::fields(row).map_err(reading)?;
            verifier.take(&fields, Before::Read, hash);
        }
        if head.is_none() && (verifier.has_read() || known.is_some()) {
            verifier.flaw(Flaw::NoHead);
        }
        let mut found = verifier.finish(head);
        self.name_swaps(anchor, &mut found.flaws)?;
        Ok(found)
    }

    /// Tells entries that stand in each other's place from edited ones.
    fn name_swaps(&self, anchor: Head, flaws: &mut Vec<Flaw>) -> Result<(), StoreError> {
        let mut linker = Linker::default();
        let mut at = 0;
        while let Some(Flaw::Edited(one)) = next_edited(flaws, &mut at) {
            let others: Vec<u64> = edited(flaws).filter(|other| *other > one).collect();
            for other in others {
                let Some(pair) = self.pair(anchor, one, other)? else { continue };
                if !pair.is_swapped(&mut linker) {
                    continue;
                }
                flaws.retain(|flaw| *flaw != Flaw::Edited(other));
                if let Some(flaw) = flaws.iter_mut().find(|flaw| **flaw == Flaw::Edited(one)) {
                    *flaw = Flaw::Swapped(one, other);
                }
                // Those behind a moved entry seem edited, because they follow another now.
                for behind in [one + 1, other + 1] {
                    if self.follows(&pair, behind, &mut linker)? {
                        flaws.retain(|flaw| *flaw != Flaw::Edited(behind));
                    }
                }
                break;
            }
        }
        Ok(())
    }

    fn row(&self, seq: u64) -> Result<Option<Linked>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM audit WHERE seq = ?1");
        self.connection.query_row(&query, [seq], Linked::of).optional().map_err(reading)
    }

    fn pair(&self, anchor: Head, one: u64, other: u64) -> Result<Option<Pair>, StoreError> {
        let before = |seq: u64| match seq.checked_sub(1) {
            Some(seq) if seq == anchor.seq => Ok(Some(anchor.hash)),
            Some(seq) => audit::hash_of(&self.connection, seq),
            None => Ok(None),
        };
        let (Some(one_row), Some(other_row)) = (self.row(one)?, self.row(other)?) else {
            return Ok(None);
        };
        let (Some(before_one), Some(before_other)) = (before(one)?, before(other)?) else {
            return Ok(None);
        };
        Ok(Some(Pair { one: one_row, other: other_row, before_one, before_other }))
    }

    /// Whether the entry of this number follows the one that belongs before it.
    fn follows(&self, pair: &Pair, seq: u64, linker: &mut Linker) -> Result<bool, StoreError> {
        let belongs = if seq == pair.one.seq + 1 { pair.other.hash } else { pair.one.hash };
        let row = self.row(seq)?;
        Ok(row.is_some_and(|row| linker.link(belongs, &row.fields()) == row.hash))
    }

    /// Gives out entries as lines of JSON, oldest first. The same entries are the same bytes.
    ///
    /// # Errors
    /// When the file cannot be read, or whatever `out` returns.
    pub fn export<E: From<StoreError>>(
        &self,
        range: Range,
        mut out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let view = self.connection.unchecked_transaction().map_err(reading)?;
        let anchor = audit::end(&view, End::Anchor)?.unwrap_or(Head::START);
        let mut statement = view
            .prepare(&format!(
                "SELECT {COLUMNS} FROM audit WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq"
            ))
            .map_err(reading)?;
        let mut prev = match range.from.checked_sub(1).filter(|before| *before > anchor.seq) {
            Some(before) => audit::hash_of(&view, before)?.unwrap_or(Hash::ZERO),
            None => anchor.hash,
        };
        // SQLite's numbers end at i64's.
        let to = range.to.min(i64::MAX.unsigned_abs());
        let mut rows = statement.query([range.from, to]).map_err(reading)?;
        let mut line = Vec::new();
        while let Some(row) = rows.next().map_err(reading)? {
            let (fields, hash) = audit::fields(row).map_err(reading)?;
            if fields.at >= range.since {
                line.clear();
                let exported = ExportedLine { fields, prev, hash };
                serde_json::to_writer(&mut line, &exported).map_err(StoreError::Body)?;
                line.push(b'\n');
                out(&line)?;
            }
            prev = hash;
        }
        Ok(())
    }
}

/// The entries that seem edited.
fn edited(flaws: &[Flaw]) -> impl Iterator<Item = u64> {
    flaws.iter().filter_map(|flaw| match flaw {
        Flaw::Edited(seq) => Some(*seq),
        Flaw::Removed { .. }
        | Flaw::Swapped(..)
        | Flaw::Misplaced { .. }
        | Flaw::Truncated { .. }
        | Flaw::Rewritten(_)
        | Flaw::Added { .. }
        | Flaw::NoHead
        | Flaw::Unreadable { .. } => None,
    })
}

/// The next entry behind `at` that seems edited.
fn next_edited(flaws: &[Flaw], at: &mut u64) -> Option<Flaw> {
    let next = edited(flaws).find(|seq| *seq > *at)?;
    *at = next;
    Some(Flaw::Edited(next))
}

/// Two entries that may stand in each other's place, and the hashes before those places.
struct Pair {
    one: Linked,
    other: Linked,
    before_one: Hash,
    before_other: Hash,
}

impl Pair {
    /// Whether each fits into the other's place: with its hash, or with its text alone.
    fn is_swapped(&self, linker: &mut Linker) -> bool {
        let is_next = self.other.seq == self.one.seq + 1;
        let whole = if is_next { self.other.hash } else { self.before_other };
        let mut fits = |row: &Linked, seq: u64, before: Hash, hash: Hash| {
            linker.link(before, &Fields { seq, ..row.fields() }) == hash
        };
        let (one, other) = (&self.one, &self.other);
        let with_hash = fits(one, other.seq, whole, one.hash)
            && fits(other, one.seq, self.before_one, other.hash);
        let text_alone = fits(one, other.seq, self.before_other, other.hash)
            && fits(other, one.seq, self.before_one, one.hash);
        with_hash || text_alone
    }
}

/// Checks an export; it may begin and end anywhere in the log.
///
/// # Errors
/// When it cannot be read.
pub fn verify_export(mut file: impl BufRead) -> std::io::Result<Verified> {
    let mut verifier: Option<Verifier> = None;
    let mut unreadable = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = std::io::Read::take(&mut file, LINE_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        match serde_json::from_slice::<ReadLine>(&line) {
            Ok(read) => {
                let verifier = verifier.get_or_insert_with(|| {
                    let seq = read.seq.saturating_sub(1);
                    Verifier::new(Head { seq, hash: read.prev }, None)
                });
                verifier.take(&read.fields(), Before::Said(read.prev), read.hash);
            }
            Err(_) if unreadable.len() < super::verify::FLAWS_MAX => {
                unreadable.push(Flaw::Unreadable { line: number });
            }
            Err(_) => {}
        }
    }
    let mut found = verifier.unwrap_or_else(|| Verifier::new(Head::START, None)).finish(None);
    found.flaws.splice(0..0, unreadable);
    Ok(found)
}

impl ReadLine {
    fn fields(&self) -> Fields<'_> {
        Fields {
            seq: self.seq,
            at: self.at,
            actor: &self.actor,
            object: &self.object,
            incarnation: self.incarnation,
            what: &self.what,
            why: &self.why,
            before: self.before.as_deref(),
            after: self.after.as_deref(),
        }
    }
}
