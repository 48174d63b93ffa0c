//! What the host has: CPUs and memory, read from the machine or from a file.
//!
//! Gathers facts and decides nothing; the core gets them as an event.

use std::path::{Path, PathBuf};

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::fleet::host::HostFacts;
use crate::units::Bytes;

/// The host's resources, and why something may be missing among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// What was found.
    pub facts: HostFacts,
    /// What was not looked for or not found, in words for `doctor` and `gpus`.
    pub notes: Vec<String>,
}

/// The host's resources could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file cannot be read.
    #[error("cannot read the inventory {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("cannot understand the inventory {path}; it should look like {EXAMPLE}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The system cannot be asked.
    #[error("cannot read this machine's CPUs and memory; describe it with --inventory FILE")]
    Unsupported(#[source] sysinfo::Error),
    /// A machine without CPUs or memory.
    #[error("cannot use {origin}: it has no {what}")]
    Empty {
        /// Where the facts come from.
        origin: String,
        /// What is zero.
        what: &'static str,
    },
}

const EXAMPLE: &str = concat!(
    r#"{"cpus": 32, "memory": 137438953472, "#,
    r#""gpus": [{"index": 0, "uuid": "GPU-…", "name": "…", "memory": 16384}]} "#,
    "(memory in bytes, GPU memory in MiB)"
);

/// Reads this machine: all its logical CPUs and all its memory.
///
/// Not what this process may use: runners get their limits from the engine, which runs elsewhere
/// in the tree of control groups.
///
/// # Errors
/// [`InventoryError::Empty`] when the system tells nothing.
pub fn local() -> Result<Inventory, InventoryError> {
    let what = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(what).map_err(InventoryError::Unsupported)?;
    let facts = HostFacts {
        cpus: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
        memory: Bytes(system.total_memory()),
        gpus: Vec::new(),
    };
    let note = "GPUs are not looked for on this machine; give them with --inventory FILE";
    checked(facts, "this machine").map(|facts| Inventory { facts, notes: vec![note.to_owned()] })
}

/// Reads the resources from a JSON file instead of the machine (`--inventory FILE`).
///
/// # Errors
/// What is wrong with the file, and how it should look.
pub fn from_file(path: &Path) -> Result<Inventory, InventoryError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| InventoryError::Unreadable { path: path.to_owned(), source })?;
    let facts = serde_json::from_str(&text)
        .map_err(|source| InventoryError::Malformed { path: path.to_owned(), source })?;
    let facts = checked(facts, &path.display().to_string())?;
    let note = format!("read from {}, not from this machine", path.display());
    Ok(Inventory { facts, notes: vec![note] })
}

fn checked(facts: HostFacts, origin: &str) -> Result<HostFacts, InventoryError> {
    let empty = |what| Err(InventoryError::Empty { origin: origin.to_owned(), what });
    match (facts.cpus, facts.memory) {
        (0, _) => empty("CPUs"),
        (_, Bytes(0)) => empty("memory"),
        _ => Ok(facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Inventory, InventoryError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("host.json");
        std::fs::write(&path, text).expect("written");
        from_file(&path)
    }

    #[test]
    fn this_machine_has_cpus_and_memory() {
        let found = local().expect("a machine");
        assert!(found.facts.cpus > 0 && found.facts.memory > Bytes::mib(64));
        assert_eq!(found.notes.len(), 1);
    }

    #[test]
    fn a_file_describes_another_machine() {
        let found = file(
            r#"{"cpus": 32, "memory": 1073741824,
                "gpus": [{"index": 0, "uuid": "GPU-1", "name": "T4", "memory": 16384}]}"#,
        )
        .expect("read");
        assert_eq!(found.facts.cpus, 32);
        assert_eq!(found.facts.memory, Bytes::gib(1));
        assert_eq!(found.facts.gpus[0].uuid.as_str(), "GPU-1");
    }

    #[test]
    fn a_file_that_is_wrong_says_how_it_should_look() {
        let error = file("{").expect_err("not JSON");
        assert!(error.to_string().contains("should look like"), "{error}");
        let error = file(r#"{"cpus": 0, "memory": 5, "gpus": []}"#).expect_err("no CPUs");
        assert!(error.to_string().contains("no CPUs"), "{error}");
    }
}
