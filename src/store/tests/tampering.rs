//! Whatever is done to the log behind the fleet's back is found and named.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::chain::Hash;
use crate::store::log::{AuditLog, Range, verify_export};
use crate::store::verify::{Flaw, Verified};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is done to a file in a test.
type Tampering<'a> = (&'a str, &'a [Flaw]);

/// Entries of a test's log.
const ENTRIES: u64 = 12;

struct Log {
    _folder: tempfile::TempDir,
    path: PathBuf,
    head: Head,
}

fn told(seq: u64) -> AuditEntry {
    AuditEntry {
        object: format!("job-{seq}"),
        incarnation: seq.is_multiple_of(3).then_some(IncarnationId(seq)),
        why: format!("MARK{seq:04}MARK"),
        before: seq.is_multiple_of(2).then(|| "queued".to_owned()),
        ..entry(seq)
    }
}

fn log() -> Result<Log> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("fleet.db");
    let mut store = Store::open(&path)?;
    for seq in 1..=ENTRIES {
        store.commit(&[Record::Audit(told(seq))])?;
    }
    let head = store.head();
    Ok(Log { _folder: folder, path, head })
}

fn verified(path: &Path, known: Option<Head>) -> Result<Verified> {
    Ok(AuditLog::open(path)?.verify(known)?)
}

fn tamper(path: &Path, statement: &str) -> Result<()> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection.execute_batch(statement)?)
}

/// Exchanges two rows whole: numbers stay in order, contents do not.
fn swap(one: u64, other: u64) -> String {
    format!(
        "UPDATE audit SET seq = -1 WHERE seq = {one};
         UPDATE audit SET seq = {one} WHERE seq = {other};
         UPDATE audit SET seq = {other} WHERE seq = -1;"
    )
}

#[test]
fn a_log_that_nobody_touched_is_in_order() -> Result<()> {
    let log = log()?;
    let found = verified(&log.path, Some(log.head))?;
    assert_eq!((found.entries, found.first, found.head), (ENTRIES, 1, log.head));
    assert_eq!(found.flaws, []);
    // Also while its supervisor has it open and goes on.
    let mut store = Store::open(&log.path)?;
    store.commit(&[Record::Audit(told(ENTRIES + 1))])?;
    assert_eq!(verified(&log.path, Some(log.head))?.entries, ENTRIES + 1);
    assert_eq!(verified(&log.path, Some(store.head()))?.flaws, []);
    Ok(())
}

#[test]
fn each_way_of_tampering_is_named_with_its_entry() -> Result<()> {
    let text_alone = "UPDATE audit SET why = 'MARK0007MARK', object = 'job-7', at = 7,
            incarnation = NULL, before = NULL WHERE seq = 4;
         UPDATE audit SET why = 'MARK0004MARK', object = 'job-4', at = 4,
            incarnation = NULL, before = 'queued' WHERE seq = 7;";
    let (apart, neighbours, last) = (swap(3, 7), swap(3, 4), swap(11, 12));
    let cases: [Tampering<'_>; 16] = [
        ("UPDATE audit SET why = 'nothing' WHERE seq = 5", &[Flaw::Edited(5)]),
        ("UPDATE audit SET actor = 'client:bob' WHERE seq = 1", &[Flaw::Edited(1)]),
        ("UPDATE audit SET incarnation = NULL WHERE seq = 3", &[Flaw::Edited(3)]),
        ("UPDATE audit SET after = '' WHERE seq = 12", &[Flaw::Edited(12)]),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 5", &[Flaw::Edited(5)]),
        ("DELETE FROM audit WHERE seq = 5", &[Flaw::Removed { from: 5, to: 5 }]),
        ("DELETE FROM audit WHERE seq <= 2", &[Flaw::Removed { from: 1, to: 2 }]),
        ("DELETE FROM audit WHERE seq IN (5, 6, 7)", &[Flaw::Removed { from: 5, to: 7 }]),
        (&apart, &[Flaw::Swapped(3, 7)]),
        (&neighbours, &[Flaw::Swapped(3, 4)]),
        (&last, &[Flaw::Swapped(11, 12)]),
        (text_alone, &[Flaw::Swapped(4, 7)]),
        ("DELETE FROM audit WHERE seq > 9", &[Flaw::Truncated { from: 10, to: 12 }]),
        ("DELETE FROM audit WHERE seq = 12", &[Flaw::Truncated { from: 12, to: 12 }]),
        (
            "DELETE FROM audit WHERE seq > 9; DELETE FROM audit_end",
            &[Flaw::NoHead, Flaw::Truncated { from: 10, to: 12 }],
        ),
        (
            "DELETE FROM audit WHERE seq > 9; UPDATE audit_end
                SET seq = 9, hash = (SELECT hash FROM audit WHERE seq = 9)",
            &[Flaw::Truncated { from: 10, to: 12 }],
        ),
    ];
    for (statement, flaws) in cases {
        let log = log()?;
        tamper(&log.path, statement)?;
        assert_eq!(verified(&log.path, Some(log.head))?.flaws, flaws, "{statement}");
    }
    Ok(())
}

#[test]
fn an_end_that_was_recomputed_is_not_the_recorded_one() -> Result<()> {
    let log = log()?;
    let forged = AuditEntry { why: "forged".to_owned(), ..told(ENTRIES) };
    let mut connection = Connection::open(&log.path)?;
    connection.execute("DELETE FROM audit WHERE seq = ?1", [ENTRIES])?;
    let before = audit::hash_of(&connection, ENTRIES - 1)?.ok_or("no entry")?;
    let transaction = connection.transaction()?;
    let before = Head { seq: ENTRIES - 1, hash: before };
    let head = audit::append(&transaction, &mut Linker::default(), before, &forged)?;
    transaction.commit()?;
    assert_eq!(verified(&log.path, None)?.flaws, [Flaw::Rewritten(ENTRIES)]);
    let transaction = connection.transaction()?;
    audit::set_head(&transaction, head)?;
    transaction.commit()?;
    // All within the database fits now. Only the checkpoint knows better.
    assert_eq!(verified(&log.path, None)?.flaws, []);
    assert_eq!(verified(&log.path, Some(log.head))?.flaws, [Flaw::Rewritten(ENTRIES)]);
    Ok(())
}

#[test]
fn a_byte_changed_in_the_file_itself_is_named() -> Result<()> {
    let log = log()?;
    let mut bytes = fs::read(&log.path)?;
    let mark = b"MARK0006MARK";
    let at = bytes.windows(mark.len()).position(|part| part == mark).ok_or("no such bytes")?;
    bytes[at] = b'm';
    fs::write(&log.path, bytes)?;
    assert_eq!(verified(&log.path, Some(log.head))?.flaws, [Flaw::Edited(6)]);
    Ok(())
}

/// Whether a flaw names an entry, or stands right behind it.
fn names(flaw: &Flaw, seq: u64) -> bool {
    match flaw {
        Flaw::Edited(it) | Flaw::Rewritten(it) => *it == seq,
        Flaw::Swapped(one, other) => *one == seq || *other == seq,
        Flaw::Removed { from, to } | Flaw::Truncated { from, to } => (*from..=*to).contains(&seq),
        Flaw::Misplaced { .. } | Flaw::Added { .. } | Flaw::NoHead | Flaw::Unreadable { .. } => {
            false
        }
    }
}

/// One random change, and the entry that must be named.
fn at_random(chance: &mut Rng) -> (String, u64) {
    const COLUMNS: [&str; 8] =
        ["at", "actor", "object", "incarnation", "what", "why", "before", "after"];
    let seq = chance.between(1, ENTRIES);
    let other = 1 + (seq + chance.below(ENTRIES - 1)) % ENTRIES;
    let statement = match chance.below(5) {
        0 | 1 => {
            let column = COLUMNS[usize::try_from(chance.below(8)).unwrap_or(0)];
            let value = match column {
                "at" | "incarnation" => (1000 + chance.below(1000)).to_string(),
                _ => format!("'x{}'", chance.below(1000)),
            };
            format!("UPDATE audit SET {column} = {value} WHERE seq = {seq}")
        }
        2 => format!("UPDATE audit SET hash = randomblob(32) WHERE seq = {seq}"),
        3 => format!("DELETE FROM audit WHERE seq = {seq}"),
        _ => swap(seq, other),
    };
    (statement, seq)
}

#[test]
fn random_tampering_is_found_every_time() -> Result<()> {
    let log = log()?;
    let copy = log.path.with_file_name("copy.db");
    let mut chance = Rng::new(20_260_731);
    for round in 0..300 {
        fs::copy(&log.path, &copy)?;
        let (statement, seq) = at_random(&mut chance);
        tamper(&copy, &statement)?;
        let flaws = verified(&copy, Some(log.head))?.flaws;
        let is_named = flaws.iter().any(|flaw| names(flaw, seq));
        assert!(is_named, "round {round}: {statement}: {seq} is not in {flaws:?}");
        assert!(flaws.len() <= 2, "round {round}: {statement}: {flaws:?}");
    }
    Ok(())
}

#[test]
fn old_entries_go_and_the_rest_can_still_be_checked() -> Result<()> {
    let log = log()?;
    let mut store = Store::open(&log.path)?;
    let keep = Some(Duration::from_millis(5));
    assert_eq!(store.trim_audit(Time(9), keep)?, 3, "entries of 1, 2 and 3 ms are too old");
    assert_eq!(store.trim_audit(Time(9), keep)?, 0);
    assert_eq!(store.trim_audit(Time(1_000_000), None)?, 0, "kept for ever");
    let found = verified(&log.path, Some(log.head))?;
    assert_eq!((found.entries, found.first, found.flaws), (ENTRIES - 3, 4, vec![]));
    tamper(&log.path, "DELETE FROM audit WHERE seq = 4")?;
    let flaws = verified(&log.path, Some(log.head))?.flaws;
    assert_eq!(flaws, [Flaw::Removed { from: 4, to: 4 }], "that was not the fleet");
    // By number, and after everything is gone.
    let mut connection = Connection::open(&log.path)?;
    assert_eq!(audit::trim(&mut connection, Time(9), None, 2)?, 6);
    assert_eq!(audit::trim(&mut connection, Time(1_000_000), keep, 2)?, 2);
    assert_eq!(verified(&log.path, Some(log.head))?.flaws, []);
    drop(store);
    let mut store = Store::open(&log.path)?;
    assert_eq!(store.restore()?.audit_seq, ENTRIES);
    store.commit(&[Record::Audit(told(ENTRIES + 1))])?;
    assert_eq!(verified(&log.path, Some(store.head()))?.flaws, []);
    Ok(())
}

fn exported(path: &Path, range: Range) -> Result<String> {
    let mut text = Vec::new();
    AuditLog::open(path)?.export(range, |line| {
        text.extend_from_slice(line);
        Ok::<_, StoreError>(())
    })?;
    Ok(String::from_utf8(text)?)
}

const ALL: Range = Range { from: 1, to: u64::MAX, since: 0 };

#[test]
fn an_export_is_the_same_bytes_each_time_and_is_checked_elsewhere() -> Result<()> {
    let log = log()?;
    let text = exported(&log.path, ALL)?;
    assert_eq!(exported(&log.path, ALL)?, text);
    let found = verify_export(text.as_bytes())?;
    assert_eq!((found.entries, found.head, found.flaws), (ENTRIES, log.head, vec![]));
    let part = exported(&log.path, Range { from: 4, to: 9, since: 6 })?;
    let found = verify_export(part.as_bytes())?;
    assert_eq!((found.entries, found.first, found.head.seq), (4, 6, 9));
    assert_eq!(found.flaws, []);
    assert_eq!(verify_export(&b""[..])?.flaws, []);
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    let cases: [(String, &[Flaw]); 4] = [
        (text.replace("MARK0006", "MARK0007"), &[Flaw::Edited(6)]),
        (joined(&[&lines[..4], &lines[6..]].concat()), &[Flaw::Removed { from: 5, to: 6 }]),
        (joined(&swapped), &[Flaw::Misplaced { seq: 5, behind: 6 }]),
        (
            text.replacen("{\"seq\":7,", "{\"sq\":7,", 1),
            &[Flaw::Unreadable { line: 7 }, Flaw::Removed { from: 7, to: 7 }],
        ),
    ];
    for (text, flaws) in cases {
        assert_eq!(verify_export(text.as_bytes())?.flaws, flaws);
    }
    Ok(())
}

#[test]
fn entries_of_the_first_format_are_brought_into_the_chain() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("fleet.db");
    let connection = Connection::open(&path)?;
    connection.execute_batch(schema::FIRST)?;
    connection.execute_batch(
        "INSERT INTO history VALUES (41, 1, 'job-1', 'queued', 'true');
         INSERT INTO history VALUES (42, 2, 'job-1', 'succeeded', '');
         PRAGMA user_version = 1;",
    )?;
    assert!(matches!(AuditLog::open(&path), Err(StoreError::Older { .. })));
    drop(connection);
    let store = Store::open(&path)?;
    assert_eq!(store.restore()?.audit_seq, 42);
    let entries = store.audit(40, 10)?;
    let words: Vec<_> = entries.iter().map(|it| (it.seq, it.at.0, it.what.as_str())).collect();
    assert_eq!(words, [(41, 1, "queued"), (42, 2, "succeeded")]);
    let found = verified(&path, Some(store.head()))?;
    assert_eq!((found.entries, found.first, found.flaws), (2, 41, vec![]));
    Ok(())
}

#[test]
fn a_database_older_than_its_checkpoint_is_noticed() -> Result<()> {
    let log = log()?;
    let path = log.path.with_file_name("audit.head");
    assert_eq!(checkpoint::read(&path)?, None);
    checkpoint::write(&path, log.head)?;
    let known = checkpoint::read(&path)?.ok_or("no checkpoint")?;
    assert_eq!(known, log.head);
    let mut store = Store::open(&log.path)?;
    assert!(!store.is_behind(known)?);
    assert!(!store.is_behind(Head { seq: 0, hash: Hash::ZERO })?);
    assert!(store.is_behind(Head { seq: 4, hash: Hash::ZERO })?, "another log");
    store.commit(&[Record::Audit(told(ENTRIES + 1))])?;
    assert!(!store.is_behind(known)?, "a checkpoint may be older");
    assert!(store.is_behind(Head { seq: ENTRIES + 2, ..known })?, "a copy of yesterday");
    fs::write(&path, "")?;
    assert_eq!(checkpoint::read(&path)?, None, "cut off by a power failure");
    Ok(())
}
