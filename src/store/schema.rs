//! Opening the file: settings, format and migrations.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction};

use super::wal::{self, Log};
use super::{StoreError, audit};

/// How long a statement waits for another process that reads or writes the file.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Brings over what an older format had.
type Fill = fn(&Transaction<'_>) -> Result<(), StoreError>;

/// One step to a newer format.
struct Migration {
    /// What is made first.
    tables: &'static str,
    /// What is brought over from the format before.
    fill: Option<Fill>,
    /// What is removed then.
    leave: &'static str,
}

/// Each entry brings a file from the format of its index to the next. Never changed, only added to.
const MIGRATIONS: [Migration; 2] = [
    Migration { tables: FIRST, fill: None, leave: "" },
    Migration {
        tables: audit::TABLES,
        fill: Some(audit::adopt_history),
        leave: "DROP TABLE history;",
    },
];

pub(super) const FIRST: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE slot (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE runner (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE job (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE history (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL,
        object TEXT NOT NULL, what TEXT NOT NULL, why TEXT NOT NULL
    ) STRICT;
";

/// `FULL`, because `NORMAL` may lose the last commits at a power cut, and what was acknowledged
/// must not be lost. No memory mapping: an I/O error must be an error, not a signal.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA mmap_size = 0;
";

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    check_log(path)?;
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    // Nothing is written into a file that may turn out to be damaged, not even on the way out.
    let at_close = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(at_close, true).map_err(failed)?;
    let settings = connection.execute_batch(SETTINGS);
    settings.map_err(|source| damaged_or(path, source))?;
    check(path, &connection)?;
    connection.set_db_config(at_close, false).map_err(failed)?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

/// What SQLite would pass over in silence: a log without its file, a log that is damaged.
fn check_log(path: &Path) -> Result<(), StoreError> {
    let mut log = path.to_owned().into_os_string();
    log.push("-wal");
    let log = PathBuf::from(log);
    let damaged = |finding: String| StoreError::Damaged { path: path.to_owned(), finding };
    let found = wal::look(&log)
        .map_err(|error| damaged(format!("{} cannot be read: {error}", log.display())))?;
    let is_empty = std::fs::metadata(path).map_or(true, |found| found.len() == 0);
    match found {
        Log::Damaged => Err(damaged(format!("{} is damaged", log.display()))),
        Log::Sound if is_empty => {
            Err(damaged(format!("it is missing or empty, but {} is there", log.display())))
        }
        Log::Sound | Log::Empty => Ok(()),
    }
}

/// A file that is no database is damage, not a fault of opening.
fn damaged_or(path: &Path, source: rusqlite::Error) -> StoreError {
    let code = source.sqlite_error_code();
    let path = path.to_owned();
    match code {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { path, finding: source.to_string() }
        }
        _ => StoreError::Open { path, source },
    }
}

fn check(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let finding: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| damaged_or(path, source))?;
    match finding.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Damaged { path: path.to_owned(), finding }),
    }
}

/// Whether a file that is only read has this version's format.
pub(super) fn check_format(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let found: usize = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|source| damaged_or(path, source))?;
    let path = path.to_owned();
    match found.cmp(&MIGRATIONS.len()) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(StoreError::Older { path }),
        Ordering::Greater => {
            let (found, known) = (as_format(found), as_format(MIGRATIONS.len()));
            Err(StoreError::Newer { path, found, known })
        }
    }
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let found: usize =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let Some(missing) = MIGRATIONS.get(found..) else {
        let (found, known) = (as_format(found), as_format(MIGRATIONS.len()));
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    };
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction().map_err(failed)?;
    for migration in missing {
        transaction.execute_batch(migration.tables).map_err(failed)?;
        if let Some(fill) = migration.fill {
            fill(&transaction)?;
        }
        transaction.execute_batch(migration.leave).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn as_format(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
