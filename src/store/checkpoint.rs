//! The checkpoint: where the audit log ended a moment ago, in a small file beside the database.
//!
//! A database cannot tell by itself that its end was cut off, or that it is a copy of yesterday.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::chain::Head;

/// A checkpoint has some hundred bytes; what is longer is none.
const LENGTH_MAX: u64 = 4096;

/// Reads a checkpoint; none where there is none, or one that a power cut left half written.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> io::Result<Option<Head>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = io::read_to_string(io::Read::take(file, LENGTH_MAX))?;
    Ok(serde_json::from_str(&text).ok())
}

/// Writes a checkpoint, whole or not at all. Nothing waits for the disk: an older one is as true.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, head: Head) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut text = serde_json::to_string(&head)?;
    text.push('\n');
    let mut file = fs::File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    fs::rename(&fresh, path)
}
