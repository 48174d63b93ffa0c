//! The audit log as its operator checks it: with the program, on real files.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use slate_fleet::fleet::audit::{Actor, AuditEntry, Client};
use slate_fleet::fleet::state::Record;
use slate_fleet::state_dir::StateDir;
use slate_fleet::store::{Store, checkpoint};
use slate_fleet::units::Time;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn audit(folder: &Path, line: &str, input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slate-fleet"))
        .arg("audit")
        .args(line.split(' '))
        .arg("--state-dir")
        .arg(folder)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).await.expect("its input is read");
    drop(stdin);
    let ran = child.wait_with_output().await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) }
}

/// A state folder whose log has five entries.
fn folder() -> (TempDir, StateDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = StateDir::new(folder.path().to_owned());
    let mut store = Store::open(&state.database()).expect("a store");
    for seq in 1..=5 {
        let entry = AuditEntry {
            seq,
            at: Time(seq),
            actor: Actor::Client(Client::new("alice")),
            object: format!("job-{seq}"),
            incarnation: None,
            what: "queued".to_owned(),
            why: format!("MARK{seq}MARK"),
            before: None,
            after: Some("queued".to_owned()),
        };
        store.commit(&[Record::Audit(entry)]).expect("stored");
    }
    checkpoint::write(&state.audit_head(), store.head()).expect("a checkpoint");
    (folder, state)
}

#[tokio::test]
async fn an_untouched_log_is_well_and_its_export_too() {
    let (folder, _state) = folder();
    let ran = audit(folder.path(), "verify", "").await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.starts_with("ok: 5 entries, 1 to 5\nhead: "), "{}", ran.out);
    let export = audit(folder.path(), "export --from 2", "").await;
    assert_eq!((export.code, export.out.lines().count()), (Some(0), 4));
    let ran = audit(folder.path(), "verify --file -", &export.out).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let forged = export.out.replacen("client:alice", "client:bob", 1);
    let ran = audit(folder.path(), "verify --file -", &forged).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.starts_with("entry 2 was edited"), "{}", ran.out);
}

#[tokio::test]
async fn an_edited_entry_is_named_and_a_missing_log_is_told() {
    let (folder, state) = folder();
    let mut bytes = fs::read(state.database()).expect("the database");
    let at = bytes.windows(9).position(|it| it == b"MARK4MARK").expect("an entry");
    bytes[at] = b'm';
    fs::write(state.database(), bytes).expect("written");
    let ran = audit(folder.path(), "verify", "").await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.out, "entry 4 was edited: it does not fit its hash\n");
    assert!(ran.err.contains("is not what was recorded"), "{}", ran.err);
    fs::remove_file(state.database()).expect("removed");
    assert_eq!(audit(folder.path(), "verify", "").await.code, Some(6));
    assert_eq!(audit(folder.path(), "verify --file nothing", "").await.code, Some(6));
}
