//! The audit log in the database: written in the transaction of the change that it tells of, bound
//! by a chain of hashes, and shortened from its old end only.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::chain::{Fields, Hash, Head, Linker};
use super::{StoreError, reading, writing};
use crate::fleet::audit::{Actor, AuditEntry, Client};
use crate::ids::IncarnationId;
use crate::units::Time;

/// Most entries that are kept, whatever their age: some 300 MB.
pub const KEPT_MAX: u64 = 1_000_000;
/// Entries that go at a time at most: some 10 ms of the loop.
const TRIM_MAX: u64 = 5_000;

/// What migration 2 makes. `audit_end` says where the log begins (behind `anchor`) and ends.
pub(super) const TABLES: &str = "
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL,
        object TEXT NOT NULL, incarnation INTEGER, what TEXT NOT NULL, why TEXT NOT NULL,
        before TEXT, after TEXT, hash BLOB NOT NULL
    ) STRICT;
    CREATE TABLE audit_end (
        name TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL,
        removed INTEGER NOT NULL, at INTEGER NOT NULL
    ) STRICT;
";

/// An entry with its place in the chain, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Linked {
    pub seq: u64,
    pub at: u64,
    pub actor: String,
    pub object: String,
    pub incarnation: Option<u64>,
    pub what: String,
    pub why: String,
    pub before: Option<String>,
    pub after: Option<String>,
    pub hash: Hash,
}

pub(super) const COLUMNS: &str =
    "seq, at, actor, object, incarnation, what, why, before, after, hash";

/// The fields of a row, borrowed from it.
pub(super) fn fields<'a>(row: &'a Row<'_>) -> rusqlite::Result<(Fields<'a>, Hash)> {
    let text = |at: usize| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str()?);
    let maybe = |at: usize| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str_or_null()?);
    let fields = Fields {
        seq: row.get(0)?,
        at: row.get(1)?,
        actor: text(2)?,
        object: text(3)?,
        incarnation: row.get(4)?,
        what: text(5)?,
        why: text(6)?,
        before: maybe(7)?,
        after: maybe(8)?,
    };
    Ok((fields, row.get(9)?))
}

impl Linked {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (fields, hash) = fields(row)?;
        Ok(Self {
            seq: fields.seq,
            at: fields.at,
            actor: fields.actor.to_owned(),
            object: fields.object.to_owned(),
            incarnation: fields.incarnation,
            what: fields.what.to_owned(),
            why: fields.why.to_owned(),
            before: fields.before.map(str::to_owned),
            after: fields.after.map(str::to_owned),
            hash,
        })
    }

    pub(super) fn fields(&self) -> Fields<'_> {
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

    fn into_entry(self) -> AuditEntry {
        // An actor that nobody can have written is shown as it stands; `audit verify` names it.
        let actor = self.actor.parse().unwrap_or_else(|_| Actor::Client(Client::new(self.actor)));
        AuditEntry {
            seq: self.seq,
            at: Time(self.at),
            actor,
            object: self.object,
            incarnation: self.incarnation.map(IncarnationId),
            what: self.what,
            why: self.why,
            before: self.before,
            after: self.after,
        }
    }
}

/// One end of the log, as `audit_end` names them.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// The last entry that was removed for its age.
    Anchor,
    /// The last entry.
    Head,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::Head => "head",
        }
    }
}

/// Where the log begins or ends, by its own word.
pub(super) fn end(connection: &Connection, end: End) -> Result<Option<Head>, StoreError> {
    connection
        .query_row("SELECT seq, hash FROM audit_end WHERE name = ?1", [end.name()], |row| {
            Ok(Head { seq: row.get(0)?, hash: row.get(1)? })
        })
        .optional()
        .map_err(reading)
}

/// What the next entry follows: the head by the log's own word, or the last entry where that is
/// further. A log whose end was cut off stays visibly so.
pub(super) fn head(connection: &Connection) -> Result<Head, StoreError> {
    let told = end(connection, End::Head)?.unwrap_or(Head::START);
    let last = connection
        .query_row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok(Head { seq: row.get(0)?, hash: row.get(1)? })
        })
        .optional()
        .map_err(reading)?
        .unwrap_or(Head::START);
    Ok(if last.seq > told.seq { last } else { told })
}

/// The hash of an entry that is still there.
pub(super) fn hash_of(connection: &Connection, seq: u64) -> Result<Option<Hash>, StoreError> {
    connection
        .query_row("SELECT hash FROM audit WHERE seq = ?1", [seq], |row| row.get(0))
        .optional()
        .map_err(reading)
}

/// Adds an entry behind `before`.
pub(super) fn append(
    transaction: &Transaction<'_>,
    linker: &mut Linker,
    before: Head,
    entry: &AuditEntry,
) -> Result<Head, StoreError> {
    let actor = entry.actor.to_string();
    let it = Fields::of(entry, &actor);
    let hash = linker.link(before.hash, &it);
    transaction
        .prepare_cached(
            "INSERT INTO audit \
             (seq, at, actor, object, incarnation, what, why, before, after, hash) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                it.seq,
                it.at,
                it.actor,
                it.object,
                it.incarnation,
                it.what,
                it.why,
                it.before,
                it.after,
                hash
            ])
        })
        .map_err(writing)?;
    Ok(Head { seq: it.seq, hash })
}

/// Says where the log ends now.
pub(super) fn set_head(transaction: &Transaction<'_>, head: Head) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO audit_end (name, seq, hash, removed, at) VALUES ('head', ?1, ?2, 0, 0) \
             ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        )
        .and_then(|mut statement| statement.execute(params![head.seq, head.hash]))
        .map_err(writing)?;
    Ok(())
}

/// Entries behind `after`, oldest first.
pub(super) fn entries(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2"
        ))
        .map_err(reading)?;
    let rows = statement.query_map(params![after, limit as u64], Linked::of).map_err(reading)?;
    rows.map(|row| row.map(Linked::into_entry).map_err(reading)).collect()
}

/// Removes the oldest entries that are too old or too many, a bounded number at a time, and moves
/// the anchor behind them. Returns how many went.
pub(super) fn trim(
    connection: &mut Connection,
    now: Time,
    keep: Option<Duration>,
    kept_max: u64,
) -> Result<u64, StoreError> {
    let newest = head(connection)?.seq;
    let last = oldest(connection)?
        .into_iter()
        .take_while(|(seq, at, _)| {
            let is_old = keep.is_some_and(|keep| now.since(Time(*at)) > keep);
            is_old || newest.saturating_sub(*seq) >= kept_max
        })
        .fold((0, None), |(count, _), (seq, _, hash)| (count + 1, Some(Head { seq, hash })));
    let (count, Some(anchor)) = last else { return Ok(0) };
    let transaction = connection.transaction().map_err(writing)?;
    transaction
        .execute("DELETE FROM audit WHERE seq <= ?1", [anchor.seq])
        .and_then(|_| {
            transaction.execute(
                "INSERT INTO audit_end (name, seq, hash, removed, at) \
                 VALUES ('anchor', ?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE SET \
                 seq = excluded.seq, hash = excluded.hash, at = excluded.at, \
                 removed = removed + excluded.removed",
                params![anchor.seq, anchor.hash, count, now.0],
            )
        })
        .and_then(|_| transaction.commit())
        .map_err(writing)?;
    Ok(count)
}

fn oldest(connection: &Connection) -> Result<Vec<(u64, u64, Hash)>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT seq, at, hash FROM audit ORDER BY seq LIMIT ?1")
        .map_err(reading)?;
    let rows = statement
        .query_map([TRIM_MAX], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(reading)?;
    rows.collect::<Result<_, _>>().map_err(reading)
}

/// Brings the entries of formats before the chain into it, in their order and with all they say.
/// Who did what was not recorded then.
pub(super) fn adopt_history(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement = transaction
        .prepare("SELECT seq, at, object, what, why FROM history ORDER BY seq")
        .map_err(reading)?;
    let rows = statement
        .query_map([], |row| {
            Ok(AuditEntry {
                seq: row.get(0)?,
                at: Time(row.get(1)?),
                actor: Actor::Client(Client::new("unrecorded")),
                object: row.get(2)?,
                incarnation: None,
                what: row.get(3)?,
                why: row.get(4)?,
                before: None,
                after: None,
            })
        })
        .map_err(reading)?;
    let (mut linker, mut at) = (Linker::default(), None);
    for entry in rows {
        let entry = entry.map_err(reading)?;
        let before = match at {
            Some(head) => head,
            None => begin(transaction, &entry)?,
        };
        at = Some(append(transaction, &mut linker, before, &entry)?);
    }
    at.map_or(Ok(()), |head| set_head(transaction, head))
}

/// A log whose oldest entries went before there was a chain begins behind them.
fn begin(transaction: &Transaction<'_>, first: &AuditEntry) -> Result<Head, StoreError> {
    let anchor = Head { seq: first.seq.saturating_sub(1), hash: Hash::ZERO };
    if anchor.seq > 0 {
        transaction
            .execute(
                "INSERT INTO audit_end (name, seq, hash, removed, at) \
                 VALUES ('anchor', ?1, ?2, ?1, ?3)",
                params![anchor.seq, anchor.hash, first.at.0],
            )
            .map_err(writing)?;
    }
    Ok(anchor)
}
