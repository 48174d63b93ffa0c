//! The store keeps what it was given, whole, and refuses what it cannot understand.

use super::*;
use crate::fleet::event::Cordon;
use crate::fleet::slot::{Fate, Slot};
use crate::ids::{PoolName, ProfileName, SlotId};

fn slot(id: u32) -> Slot {
    Slot {
        id: SlotId(id),
        name: format!("slate-light-{id:02}"),
        pool: PoolName::new("light"),
        profile: ProfileName::new("light"),
        gpu: None,
        fate: Fate::Stay,
        cordon: Cordon::Open,
        runner: None,
        tasks_completed: 7,
    }
}

fn entry(seq: u64) -> HistoryEntry {
    HistoryEntry {
        seq,
        at: Time(seq),
        object: "fleet".to_owned(),
        what: "tested".to_owned(),
        why: String::new(),
    }
}

#[test]
fn what_was_committed_is_there_after_reopening() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("fleet.db");
    let id = {
        let mut store = Store::open(&path)?;
        store.commit(&[
            Record::Slot(SlotId(1), Some(Box::new(slot(1)))),
            Record::Slot(SlotId(2), Some(Box::new(slot(2)))),
            Record::Meta(Box::new(Meta { job: 9, ..Meta::default() })),
            Record::History(entry(1)),
        ])?;
        store.commit(&[Record::Slot(SlotId(1), None), Record::History(entry(2))])?;
        store.fleet_id(|| FleetId::new("a"))?
    };
    let store = Store::open(&path)?;
    let restored = store.restore()?;
    assert_eq!(restored.slots, [slot(2)]);
    assert_eq!(restored.meta.job, 9);
    assert_eq!(restored.history_seq, 2);
    assert_eq!(store.fleet_id(|| FleetId::new("b"))?, id);
    assert_eq!(store.history(0, 1)?, [entry(2)]);
    assert_eq!(store.history(1, 10)?, [entry(2)]);
    Ok(())
}

#[test]
fn a_step_is_stored_whole_or_not_at_all() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut store = Store::open(&folder.path().join("fleet.db"))?;
    store.commit(&[Record::History(entry(1))])?;
    let broken = [Record::Slot(SlotId(1), Some(Box::new(slot(1)))), Record::History(entry(1))];
    assert!(store.commit(&broken).is_err());
    assert!(store.restore()?.slots.is_empty());
    Ok(())
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("fleet.db");
    let garbage = vec![b'x'; 8192];
    std::fs::write(&path, &garbage)?;
    let refusal = Store::open(&path).err().ok_or("it was opened")?;
    assert!(matches!(refusal, StoreError::Damaged { .. }), "{refusal:?}");
    assert_eq!(std::fs::read(&path)?, garbage);
    Ok(())
}

#[test]
fn a_file_of_a_newer_version_is_refused() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("fleet.db");
    drop(Store::open(&path)?);
    Connection::open(&path)?.pragma_update(None, "user_version", 99)?;
    let refusal = Store::open(&path).err().ok_or("it was opened")?;
    assert!(matches!(refusal, StoreError::Newer { found: 99, known: 1, .. }), "{refusal:?}");
    Ok(())
}

#[test]
fn the_bundled_library_is_free_of_the_known_defects() {
    // The WAL-reset race between checkpointers was mended in 3.51.3.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}
