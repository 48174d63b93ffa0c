//! A state that is damaged or gone is refused with a way out; an older or empty one is never
//! taken in its place.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const ENTRIES: u64 = 60;

/// A state as a killed supervisor leaves it: a file and its log, both in use.
fn killed(folder: &Path) -> PathBuf {
    let home = tempfile::tempdir().expect("a folder");
    let origin = home.path().join("fleet.db");
    let mut store = Store::open(&origin).expect("it opens");
    store.fleet_id(|| FleetId::new("a")).expect("a fleet");
    let first: Vec<Record> = (1..=ENTRIES / 2).map(|seq| Record::Audit(entry(seq))).collect();
    store.commit(&first).expect("stored");
    store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("in the file");
    for seq in ENTRIES / 2 + 1..=ENTRIES {
        store.commit(&[Record::Audit(entry(seq))]).expect("stored");
    }
    let path = folder.join("fleet.db");
    for suffix in ["", "-wal", "-shm"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(name(&origin), name(&path)).expect("copied");
    }
    path
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[at] ^= 0xff;
    fs::write(path, bytes).expect("written");
}

/// Opens the state after some damage, and gives the words of the refusal.
fn refusal(what: &str, damage: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = killed(folder.path());
    let ca = folder.path().join("ca");
    fs::create_dir(&ca).expect("a trace");
    damage(&path);
    let before = fs::read(&path).ok();
    let error = match Store::open_beside(&path, &[ca]) {
        Ok(store) => {
            panic!("{what}: opened with {} entries", store.restore().expect("read").audit_seq)
        }
        Err(error) => error.to_string(),
    };
    assert!(fs::read(&path).ok() == before, "{what}: the file was changed");
    error
}

#[test]
fn an_untouched_state_is_whole_and_the_index_of_its_log_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = killed(folder.path());
    fs::remove_file(beside(&path, "-shm")).expect("removed");
    let store = Store::open_beside(&path, &[]).expect("it opens");
    assert_eq!(store.restore().expect("read").audit_seq, ENTRIES);
}

#[test]
fn every_damage_is_refused_with_a_way_out() {
    let truncate = |path: &Path, length: usize| {
        let bytes = fs::read(path).expect("read");
        fs::write(path, &bytes[..length.min(bytes.len())]).expect("written");
    };
    let refusals = [
        refusal("the file's header", |path| flip(path, 3)),
        refusal("a page's header", |path| flip(path, 4096)),
        refusal("a cut file", |path| {
            truncate(path, 4096);
            fs::remove_file(beside(path, "-wal")).expect("removed");
        }),
        refusal("an empty file", |path| truncate(path, 0)),
        refusal("no file", |path| fs::remove_file(path).expect("removed")),
        refusal("neither file nor log", |path| {
            fs::remove_file(path).expect("removed");
            fs::remove_file(beside(path, "-wal")).expect("removed");
        }),
        refusal("the log's header", |path| flip(&beside(path, "-wal"), 18)),
        refusal("a page in the log", |path| flip(&beside(path, "-wal"), 32 + 24 + 100)),
        refusal("a frame's header in the log", |path| flip(&beside(path, "-wal"), 32 + 17)),
    ];
    for told in refusals {
        assert!(told.contains("is damaged (") && told.contains("`mv /"), "{told}");
        assert!(told.contains("Nothing was changed"), "{told}");
    }
}

/// What a power cut may leave is no damage: it was not promised to anybody.
#[test]
fn a_log_that_is_torn_in_its_last_transaction_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = killed(folder.path());
    let log = beside(&path, "-wal");
    let bytes = fs::read(&log).expect("read");
    fs::write(&log, &bytes[..bytes.len() - 1000]).expect("cut");
    assert_eq!(
        Store::open(&path).expect("it opens").restore().expect("read").audit_seq,
        ENTRIES - 1
    );

    let folder = tempfile::tempdir().expect("a folder");
    let path = killed(folder.path());
    flip(&beside(&path, "-wal"), bytes.len() - 1000);
    assert_eq!(
        Store::open(&path).expect("it opens").restore().expect("read").audit_seq,
        ENTRIES - 1
    );
}

#[test]
fn a_folder_with_a_space_is_quoted_in_the_command() {
    assert_eq!(folder(Path::new("/srv/it's mine/fleet.db")), r"'/srv/it'\''s mine'");
    assert_eq!(folder(Path::new("/srv/ci/.slate/fleet.db")), "/srv/ci/.slate");
}
