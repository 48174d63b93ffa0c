//! Opening the file: settings, format and migrations.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::StoreError;

/// Each entry brings a file from the format of its index to the next. Never changed, only added to.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE meta (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE slot (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE runner (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE job (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE history (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL,
        object TEXT NOT NULL, what TEXT NOT NULL, why TEXT NOT NULL
    ) STRICT;
"];

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
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    let settings = connection.execute_batch(SETTINGS);
    settings.map_err(|source| damaged_or(path, source))?;
    check(path, &connection)?;
    migrate(path, &mut connection)?;
    Ok(connection)
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
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn as_format(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
