//! The stand-in for NVIDIA's library, and the cards that it tells.
//!
//! Every [`StandIn`] is a copy of the library in a folder of its own, with the file of its cards
//! beside it: `slate-fleet --nvml-lib PATH`, or `SLATE_NVML_LIB`.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses another part of it")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A library of its own with its cards.
pub struct StandIn {
    folder: TempDir,
}

impl StandIn {
    /// A library with these cards: a JSON list as `tests/stand_in/state.rs` describes it.
    pub fn with_cards(cards: Value) -> Self {
        let it = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::copy(built(), it.library()).expect("the stand-in can be copied");
        it.write(&json!({"driver": "550.54.15", "cuda": 12040, "cards": cards}));
        it
    }

    /// A library with `count` cards of 16,384 MiB, of which the driver keeps 300.
    pub fn of(count: u32) -> Self {
        Self::with_cards((0..count).map(card).collect())
    }

    /// What to name by `--nvml-lib`.
    pub fn library(&self) -> PathBuf {
        self.folder.path().join("libnvidia-ml.so.1")
    }

    /// What it tells now.
    pub fn state(&self) -> Value {
        let text = fs::read_to_string(self.file()).expect("the file of the cards");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Changes what it tells from the next call on.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        change(&mut state);
        self.write(&state);
    }

    /// Changes one card.
    pub fn change_card(&self, index: usize, change: impl FnOnce(&mut Value)) {
        self.change(|state| change(&mut state["cards"][index]));
    }

    /// Something on the card has this much of it; the process' number is one of this machine.
    pub fn add_process(&self, index: usize, pid: u32, mib: u64) {
        self.change_card(index, |card| {
            let process = json!({"pid": pid, "memory": mib, "busy": 50, "sampled_at": 1});
            match card["processes"].as_array_mut() {
                Some(processes) => processes.push(process),
                None => card["processes"] = json!([process]),
            }
        });
    }

    /// The driver reports an Xid of a card.
    pub fn raise_xid(&self, index: usize, xid: u32) {
        self.change(|state| {
            let raised = json!({"uuid": state["cards"][index]["uuid"], "xid": xid});
            match state["xids"].as_array_mut() {
                Some(xids) => xids.push(raised),
                None => state["xids"] = json!([raised]),
            }
        });
    }

    /// Takes a function out of the library, as older drivers lack newer ones. Before it is loaded.
    pub fn remove_symbol(&self, symbol: &str) {
        let mut bytes = fs::read(self.library()).expect("the library");
        let name = [b"\0", symbol.as_bytes(), b"\0"].concat();
        let found: Vec<usize> =
            (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(&name)).collect();
        assert!(!found.is_empty(), "the stand-in does not export {symbol}");
        for at in found {
            // The table of names keeps its hash, so no look-up finds the new name either.
            bytes[at + 1] = b'x';
        }
        fs::write(self.library(), bytes).expect("written");
    }

    fn file(&self) -> PathBuf {
        let mut file = self.library().into_os_string();
        file.push(".json");
        PathBuf::from(file)
    }

    fn write(&self, state: &Value) {
        let part = self.folder.path().join("part");
        fs::write(&part, state.to_string()).expect("written");
        // At once: a call never sees half a file.
        fs::rename(part, self.file()).expect("renamed");
    }
}

/// A healthy, idle card of 16 GB.
pub fn card(index: u32) -> Value {
    json!({
        "uuid": uuid(index),
        "name": "NVIDIA Stand-in 16GB",
        "memory": 16384,
        "reserved": 300,
        "used": 0,
        "busy": 0,
        "temperature": 41,
        "power": 25_400,
        "pci": format!("00000000:{:02X}:00.0", index + 1),
        "minor": index,
        "ecc": 0,
    })
}

/// The UUID of [`card`].
pub fn uuid(index: u32) -> String {
    format!("GPU-5147e000-0000-4000-8000-{index:012}")
}

/// Cargo builds it with the tests, unless single targets of them are named.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    let profile = test.ancestors().nth(2).unwrap_or(Path::new(""));
    let library = profile.join("examples/libnvml_stand_in.so");
    assert!(
        library.exists(),
        "{} is not built; run: cargo build --example nvml_stand_in",
        library.display()
    );
    library
}
