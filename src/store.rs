//! The store: what must survive a crash, in one SQLite file.
//!
//! Each step of the core is one transaction, durable (`synchronous=FULL`) before anything of it is
//! done or answered. Bodies are JSON: the database is a journal of the core's records, not a model
//! of its own.

mod schema;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fleet::state::{Meta, Record, Restored};
use crate::fleet::view::HistoryEntry;
use crate::ids::FleetId;
use crate::units::Time;

/// History entries that are kept; the oldest go first.
const HISTORY_KEPT: u64 = 200_000;
/// History is trimmed each time this many entries were added.
const HISTORY_SLACK: u64 = 1_000;

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or is not what it should be.
    #[error("cannot open the state in {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file fails SQLite's own check.
    #[error(
        "the state in {} is damaged ({finding}); move the file away to start with an empty state \
         (queued jobs and counters are lost, runners are replaced), or bring back a copy",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        finding: String,
    },
    /// The file was written by a later version.
    #[error(
        "the state in {} was written by a newer slate-fleet (format {found}, this one knows \
         {known}); use that version",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// A statement failed.
    #[error("cannot {what} the state")]
    Statement {
        /// `read` or `write`.
        what: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A body is not the JSON that it should be.
    #[error("an entry of the state cannot be understood")]
    Body(#[source] serde_json::Error),
}

/// An open store. There is one per state folder, held by the one supervisor.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    trimmed_at: u64,
}

impl Store {
    /// Opens or makes the file, brings it to this version's format and checks it.
    ///
    /// # Errors
    /// When the file is damaged, newer than this program, or cannot be used. It is never replaced.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = schema::open(path)?;
        Ok(Self { connection, trimmed_at: 0 })
    }

    /// The identity of this state folder, made by `make` when there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn fleet_id(&self, make: impl FnOnce() -> FleetId) -> Result<FleetId, StoreError> {
        if let Some(id) = self.meta::<FleetId>("fleet")? {
            return Ok(id);
        }
        let id = make();
        let body = to_json(&id)?;
        self.connection
            .execute("INSERT INTO meta (key, body) VALUES ('fleet', ?1)", [body])
            .map_err(|source| StoreError::Statement { what: "write", source })?;
        Ok(id)
    }

    /// Everything that was recorded.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn restore(&self) -> Result<Restored, StoreError> {
        Ok(Restored {
            slots: self.bodies("SELECT body FROM slot ORDER BY id")?,
            runners: self.bodies("SELECT body FROM runner ORDER BY id")?,
            jobs: self.bodies("SELECT body FROM job ORDER BY id")?,
            meta: self.meta::<Meta>("fleet-state")?.unwrap_or_default(),
            history_seq: self.history_seq()?,
        })
    }

    /// Stores one step, whole or not at all; durable when it returns.
    ///
    /// # Errors
    /// When the disk is full or fails. Nothing of the step is stored then.
    pub fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let failed = |source| StoreError::Statement { what: "write", source };
        let transaction = self.connection.transaction().map_err(failed)?;
        let mut last_seq = 0;
        for record in records {
            write(&transaction, record)?;
            if let Record::History(entry) = record {
                last_seq = entry.seq;
            }
        }
        if last_seq > self.trimmed_at + HISTORY_SLACK {
            self.trimmed_at = last_seq;
            let oldest = last_seq.saturating_sub(HISTORY_KEPT);
            transaction.execute("DELETE FROM history WHERE seq <= ?1", [oldest]).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// The record after entry `after`, oldest first; the last `limit` entries when `after` is 0.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn history(&self, after: u64, limit: usize) -> Result<Vec<HistoryEntry>, StoreError> {
        let after = match after {
            0 => self.history_seq()?.saturating_sub(limit as u64),
            after => after,
        };
        let failed = |source| StoreError::Statement { what: "read", source };
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT seq, at, object, what, why FROM history WHERE seq > ?1 \
                 ORDER BY seq LIMIT ?2",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(params![after, limit as u64], |row| {
                Ok(HistoryEntry {
                    seq: row.get(0)?,
                    at: Time(row.get(1)?),
                    object: row.get(2)?,
                    what: row.get(3)?,
                    why: row.get(4)?,
                })
            })
            .map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    fn history_seq(&self) -> Result<u64, StoreError> {
        self.connection
            .query_row("SELECT coalesce(max(seq), 0) FROM history", [], |row| row.get(0))
            .map_err(|source| StoreError::Statement { what: "read", source })
    }

    fn meta<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let body: Option<String> = self
            .connection
            .query_row("SELECT body FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(|source| StoreError::Statement { what: "read", source })?;
        body.map(|body| serde_json::from_str(&body).map_err(StoreError::Body)).transpose()
    }

    fn bodies<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, StoreError> {
        let failed = |source| StoreError::Statement { what: "read", source };
        let mut statement = self.connection.prepare(query).map_err(failed)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
        rows.map(|body| {
            let body = body.map_err(failed)?;
            serde_json::from_str(&body).map_err(StoreError::Body)
        })
        .collect()
    }
}

fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::Body)
}

fn write(transaction: &Transaction<'_>, record: &Record) -> Result<(), StoreError> {
    match record {
        Record::Slot(id, slot) => put(transaction, "slot", u64::from(id.0), slot.as_deref()),
        Record::Runner(id, runner) => put(transaction, "runner", id.0, runner.as_deref()),
        Record::Job(id, job) => put(transaction, "job", id.0, job.as_deref()),
        Record::Meta(meta) => {
            let body = to_json(meta)?;
            execute(
                transaction,
                "INSERT INTO meta (key, body) VALUES ('fleet-state', ?1) \
                 ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                [body],
            )
        }
        Record::History(entry) => execute(
            transaction,
            "INSERT INTO history (seq, at, object, what, why) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![entry.seq, entry.at.0, entry.object, entry.what, entry.why],
        ),
    }
}

/// Writes or deletes one body. `table` is one of three words of this file, never input.
fn put<T: Serialize>(
    transaction: &Transaction<'_>,
    table: &str,
    id: u64,
    value: Option<&T>,
) -> Result<(), StoreError> {
    match value {
        None => execute(transaction, &format!("DELETE FROM {table} WHERE id = ?1"), [id]),
        Some(value) => {
            let body = to_json(value)?;
            execute(
                transaction,
                &format!(
                    "INSERT INTO {table} (id, body) VALUES (?1, ?2) \
                     ON CONFLICT (id) DO UPDATE SET body = excluded.body"
                ),
                params![id, body],
            )
        }
    }
}

fn execute(
    transaction: &Transaction<'_>,
    statement: &str,
    values: impl rusqlite::Params,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Statement { what: "write", source };
    transaction.prepare_cached(statement).and_then(|mut it| it.execute(values)).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests;
