//! What the host has: CPUs, memory and GPUs, read from the machine or from a file.
//!
//! Gathers facts and decides nothing; the core gets them as events.

pub mod cgroup;
pub mod fdinfo;
pub mod nvml;
mod probe;
pub mod process;
pub mod sysfs;
mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::fleet::gpu::{GpuReading, GpuReport};
use crate::fleet::host::HostFacts;
use crate::units::{Bytes, GpuMib};

pub use self::nvml::{Patience, XidSink};
pub use self::probe::{GpuProbe, GpuSources, Roots};

/// The host's resources at one moment, and why something may be missing among them.
///
/// The JSON of `--inventory FILE` has the same names, so that what one machine prints can be
/// planned with on another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Logical CPUs.
    pub cpus: u32,
    /// Memory in all.
    pub memory: Bytes,
    /// Memory that is free or can be freed at once; all of it where nothing is known of its use.
    #[serde(default)]
    pub memory_free: Option<Bytes>,
    /// GPUs in the order of their index.
    #[serde(default)]
    pub gpus: Vec<GpuReading>,
    /// What was not looked for or not found, in words for `doctor` and `gpus`.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The library that told of NVIDIA's cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// The version of NVIDIA's driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

impl Inventory {
    /// What stays while the host runs.
    #[must_use]
    pub fn facts(&self) -> HostFacts {
        let gpus = self.gpus.iter().map(|reading| reading.card.clone()).collect();
        HostFacts { cpus: self.cpus, memory: self.memory, gpus }
    }

    /// The cards alone.
    #[must_use]
    pub fn report(&self) -> GpuReport {
        GpuReport {
            cards: self.gpus.clone(),
            notes: self.notes.clone(),
            library: self.library.clone(),
            driver: self.driver.clone(),
            begun: None,
        }
    }
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
    r#"{"cpus": 32, "memory": 137438953472, "memory_free": 68719476736, "gpus": [{"index": 0, "#,
    r#""uuid": "GPU-…", "name": "…", "memory": 16384, "used": 512, "busy_percent": 3}]} "#,
    "(memory in bytes, GPU memory in MiB; what is in use may be left out)"
);

/// Reads this machine: all its logical CPUs, all its memory, and its cards.
///
/// Not what this process may use: runners get their limits from the engine, which runs elsewhere
/// in the tree of control groups.
///
/// # Errors
/// [`InventoryError::Empty`] when the system tells nothing.
pub fn local(sources: &GpuSources) -> Result<Inventory, InventoryError> {
    let report = GpuProbe::new(sources.clone(), None).read(Duration::ZERO);
    Ok(Inventory {
        gpus: report.cards,
        notes: report.notes,
        library: report.library,
        driver: report.driver,
        ..without_cards()?
    })
}

/// Reads this machine but for its cards.
///
/// # Errors
/// As [`local`].
pub fn without_cards() -> Result<Inventory, InventoryError> {
    let what = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(what).map_err(InventoryError::Unsupported)?;
    let found = Inventory {
        cpus: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
        memory: Bytes(system.total_memory()),
        memory_free: Some(Bytes(system.available_memory())),
        gpus: Vec::new(),
        notes: Vec::new(),
        library: None,
        driver: None,
    };
    checked(found, "this machine")
}

/// Reads the resources from a JSON file instead of the machine (`--inventory FILE`).
///
/// # Errors
/// What is wrong with the file, and how it should look.
pub fn from_file(path: &Path) -> Result<Inventory, InventoryError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| InventoryError::Unreadable { path: path.to_owned(), source })?;
    let found: Inventory = serde_json::from_str(&text)
        .map_err(|source| InventoryError::Malformed { path: path.to_owned(), source })?;
    let mut found = checked(found, &path.display().to_string())?;
    found.notes.push(format!("read from {}, not from this machine", path.display()));
    Ok(found)
}

/// Whole MiB of what there is.
fn mib_down(bytes: u64) -> GpuMib {
    GpuMib(u32::try_from(bytes / Bytes::mib(1).0).unwrap_or(u32::MAX))
}

/// Whole MiB of what is taken.
fn mib_up(bytes: u64) -> GpuMib {
    GpuMib(u32::try_from(bytes.div_ceil(Bytes::mib(1).0)).unwrap_or(u32::MAX))
}

fn checked(found: Inventory, origin: &str) -> Result<Inventory, InventoryError> {
    let empty = |what| Err(InventoryError::Empty { origin: origin.to_owned(), what });
    match (found.cpus, found.memory) {
        (0, _) => empty("CPUs"),
        (_, Bytes(0)) => empty("memory"),
        _ => Ok(found),
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
        let found = local(&GpuSources::default()).expect("a machine");
        assert!(found.cpus > 0 && found.memory > Bytes::mib(64));
        assert!(found.memory_free.is_some_and(|free| free <= found.memory));
        assert!(!found.gpus.is_empty() || !found.notes.is_empty(), "nothing, and no word why");
    }

    #[test]
    fn a_file_describes_another_machine() {
        let found = file(
            r#"{"cpus": 32, "memory": 1073741824,
                "gpus": [{"index": 0, "uuid": "GPU-1", "name": "T4", "memory": 16384}]}"#,
        )
        .expect("read");
        assert_eq!((found.cpus, found.memory), (32, Bytes::gib(1)));
        let facts = found.facts();
        assert_eq!(facts.gpus[0].uuid.as_str(), "GPU-1");
        let printed = serde_json::to_string(&found).expect("JSON");
        let again = file(&printed).expect("what is printed can be read");
        assert_eq!(again.facts(), facts);
    }

    #[test]
    fn a_file_that_is_wrong_says_how_it_should_look() {
        let error = file("{").expect_err("not JSON");
        assert!(error.to_string().contains("should look like"), "{error}");
        let error = file(r#"{"cpus": 0, "memory": 5, "gpus": []}"#).expect_err("no CPUs");
        assert!(error.to_string().contains("no CPUs"), "{error}");
    }
}
