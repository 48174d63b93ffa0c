//! The store keeps what it was given, whole, and refuses what it cannot understand.

mod damage;
mod tampering;

use super::*;
use crate::fleet::audit::Actor;
use crate::fleet::event::Cordon;
use crate::fleet::slot::{Fate, Slot};
use crate::ids::{IncarnationId, PoolName, ProfileName, SlotId};
use crate::sim::rng::Rng;

fn slot(id: u32) -> Slot {
    Slot {
        id: SlotId(id),
        name: format!("slate-light-{id:02}"),
        pool: PoolName::new("light"),
        profile: ProfileName::new("light"),
        downgrade: None,
        gpu: None,
        fate: Fate::Stay,
        cordon: Cordon::Open,
        runner: None,
        filled: Time(0),
        tasks_completed: 7,
        last_failure: None,
    }
}

fn entry(seq: u64) -> AuditEntry {
    AuditEntry {
        seq,
        at: Time(seq),
        actor: Actor::Fleet,
        object: "fleet".to_owned(),
        incarnation: None,
        what: "tested".to_owned(),
        why: String::new(),
        before: None,
        after: None,
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
            Record::Audit(entry(1)),
        ])?;
        store.commit(&[Record::Slot(SlotId(1), None), Record::Audit(entry(2))])?;
        store.fleet_id(|| FleetId::new("a"))?
    };
    let store = Store::open(&path)?;
    let restored = store.restore()?;
    assert_eq!(restored.slots, [slot(2)]);
    assert_eq!(restored.meta.job, 9);
    assert_eq!(restored.audit_seq, 2);
    assert_eq!(store.fleet_id(|| FleetId::new("b"))?, id);
    assert_eq!(store.audit(0, 1)?, [entry(2)]);
    assert_eq!(store.audit(1, 10)?, [entry(2)]);
    Ok(())
}

#[test]
fn a_step_is_stored_whole_or_not_at_all() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut store = Store::open(&folder.path().join("fleet.db"))?;
    store.commit(&[Record::Audit(entry(1))])?;
    let broken = [Record::Slot(SlotId(1), Some(Box::new(slot(1)))), Record::Audit(entry(1))];
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
    assert!(matches!(refusal, StoreError::Newer { found: 99, known: 2, .. }), "{refusal:?}");
    Ok(())
}

#[test]
fn the_bundled_library_is_free_of_the_known_defects() {
    // The WAL-reset race between checkpointers was mended in 3.51.3.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn what_stands_in_the_way_of_a_write_is_told_and_nothing_is_half_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("fleet.db")).expect("it opens");
    let records: Vec<Record> = (1..=200).map(|seq| Record::Audit(entry(seq))).collect();

    let pages: u64 =
        store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("a number");
    store.connection.pragma_update(None, "max_page_count", pages).expect("bounded");
    let full = store.commit(&records).expect_err("it is full");
    assert_eq!(full.obstacle(), Obstacle::Full, "{full:?}");
    store.connection.pragma_update(None, "max_page_count", pages + 1000).expect("free again");

    store.connection.pragma_update(None, "query_only", true).expect("read-only");
    let denied = store.commit(&records).expect_err("it is read-only");
    assert_eq!(denied.obstacle(), Obstacle::Denied, "{denied:?}");
    store.connection.pragma_update(None, "query_only", false).expect("writable again");

    assert_eq!(store.audit(0, 1000).expect("read"), [], "nothing of a failed step is there");
    store.commit(&records).expect("it goes well now");
    assert_eq!(store.audit(0, 1000).expect("read").len(), 200);

    let other = StoreError::Body(serde_json::from_str::<u8>("x").expect_err("no number"));
    assert_eq!(other.obstacle(), Obstacle::Broken);
}
