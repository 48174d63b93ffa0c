//! The store: what must survive a crash, in one SQLite file.
//!
//! Each step of the core is one transaction, durable (`synchronous=FULL`) before anything of it is
//! done or answered. Bodies are JSON: the database is a journal of the core's records, not a model
//! of its own.

mod audit;
pub mod chain;
pub mod checkpoint;
pub mod log;
mod schema;
pub mod verify;
mod wal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, ffi, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use chain::{Head, Linker};

use crate::fleet::audit::AuditEntry;
use crate::fleet::state::{Meta, Record, Restored};
use crate::ids::FleetId;
use crate::units::Time;

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
        "the state in {} is damaged ({finding}). Nothing was changed. Stop what writes to that \
         folder and bring back a copy of it; or give this state up: `mv {folder} \
         {folder}.damaged`, then `slate-fleet up` (waiting jobs, results, logs and job numbers \
         stay in the folder that was moved; `up` says how the old runners are removed)",
        path.display(), folder = folder(path)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
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
    /// The file was written by an earlier version, and is only read here.
    #[error(
        "the state in {} was written by an older slate-fleet; start the fleet once with this \
         version, and ask again",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
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
    #[error(
        "an entry of the state cannot be understood: the file is damaged, or another version of \
         slate-fleet wrote it; bring back a copy, or use that version"
    )]
    Body(#[source] serde_json::Error),
}

/// An open store. There is one per state folder, held by the one supervisor.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    head: Head,
    linker: Linker,
}

/// What stands in the way of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// No space is left.
    Full,
    /// It is not allowed now: the file system is read-only, or another program holds the file.
    Denied,
    /// The disk refused, and the system's reason is not known here.
    Refused,
    /// The disk or the file is broken: what was written before cannot be relied on.
    Broken,
}

impl StoreError {
    /// What stood in the way of a write, to decide whether it may go well later.
    #[must_use]
    pub fn obstacle(&self) -> Obstacle {
        let Self::Statement { source: rusqlite::Error::SqliteFailure(failure, _), .. } = self
        else {
            return Obstacle::Broken;
        };
        match failure.code {
            ErrorCode::DiskFull => Obstacle::Full,
            ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked => Obstacle::Denied,
            // Nothing was promised yet when these fail; a failed sync, on the other hand, may have
            // dropped what was written.
            ErrorCode::SystemIoFailure
                if matches!(
                    failure.extended_code,
                    ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP
                ) =>
            {
                Obstacle::Refused
            }
            _ => Obstacle::Broken,
        }
    }
}

impl Store {
    /// Opens the file of a folder that may have had a fleet. A file that is missing or empty is
    /// only made if none of these `traces` (things that a fleet leaves beside it) is there.
    ///
    /// # Errors
    /// As [`Self::open`], and when the state of a fleet is gone: it never starts empty over it.
    pub fn open_beside(path: &Path, traces: &[PathBuf]) -> Result<Self, StoreError> {
        let is_empty = std::fs::metadata(path).map_or(true, |found| found.len() == 0);
        if let Some(trace) = traces.iter().find(|trace| is_empty && trace.exists()) {
            let finding = format!("it is missing or empty, but {} is there", trace.display());
            return Err(StoreError::Damaged { path: path.to_owned(), finding });
        }
        Self::open(path)
    }

    /// Opens or makes the file, brings it to this version's format and checks it.
    ///
    /// # Errors
    /// When the file is damaged, newer than this program, or cannot be used. It is never replaced.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = schema::open(path)?;
        let head = audit::head(&connection)?;
        Ok(Self { connection, head, linker: Linker::default() })
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
            .map_err(writing)?;
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
            audit_seq: self.head.seq,
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
        let transaction = self.connection.transaction().map_err(writing)?;
        let mut head = self.head;
        for record in records {
            match record {
                Record::Audit(entry) => {
                    head = audit::append(&transaction, &mut self.linker, head, entry)?;
                }
                Record::Slot(..) | Record::Runner(..) | Record::Job(..) | Record::Meta(_) => {
                    write(&transaction, record)?;
                }
            }
        }
        if head != self.head {
            audit::set_head(&transaction, head)?;
        }
        transaction.commit().map_err(writing)?;
        self.head = head;
        Ok(())
    }

    /// The audit log after entry `after`, oldest first; the last `limit` entries when `after` is 0.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let after = match after {
            0 => self.head.seq.saturating_sub(limit as u64),
            after => after,
        };
        audit::entries(&self.connection, after, limit)
    }

    /// Where the audit log ends.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Whether this database is older than its checkpoint, or another: a backup was brought back,
    /// or the end of the log was cut off.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_behind(&self, checkpoint: Head) -> Result<bool, StoreError> {
        if checkpoint.seq > self.head.seq {
            return Ok(true);
        }
        let found = audit::hash_of(&self.connection, checkpoint.seq)?;
        Ok(found.is_some_and(|found| found != checkpoint.hash))
    }

    /// Removes audit entries that are older than `keep`, or too many, some at a time. Returns how
    /// many went.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn trim_audit(&mut self, now: Time, keep: Option<Duration>) -> Result<u64, StoreError> {
        audit::trim(&mut self.connection, now, keep, audit::KEPT_MAX)
    }

    fn meta<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let body: Option<String> = self
            .connection
            .query_row("SELECT body FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(reading)?;
        body.map(|body| serde_json::from_str(&body).map_err(StoreError::Body)).transpose()
    }

    fn bodies<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare(query).map_err(reading)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(reading)?;
        rows.map(|body| {
            let body = body.map_err(reading)?;
            serde_json::from_str(&body).map_err(StoreError::Body)
        })
        .collect()
    }
}

fn reading(source: rusqlite::Error) -> StoreError {
    StoreError::Statement { what: "read", source }
}

fn writing(source: rusqlite::Error) -> StoreError {
    StoreError::Statement { what: "write", source }
}

/// The state folder, as a shell needs it.
fn folder(path: &Path) -> String {
    let folder = path.parent().unwrap_or(path).display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match folder.chars().all(plain) {
        true => folder,
        false => format!("'{}'", folder.replace('\'', "'\\''")),
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
        // Written apart, behind the entry before it.
        Record::Audit(_) => Ok(()),
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
    transaction.prepare_cached(statement).and_then(|mut it| it.execute(values)).map_err(writing)?;
    Ok(())
}

#[cfg(test)]
mod tests;
