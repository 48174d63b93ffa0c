//! The stream of changes: the whole once, then what is other, and no entry missed or told twice.

use std::time::Duration;

use serde_json::Value;
use slate_fleet::fleet::audit::{Actor, AuditEntry};
use slate_fleet::fleet::view::RunnerStatus;
use slate_fleet::units::Time;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::fake::Fake;

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(20);

struct Events(BufReader<UnixStream>);

impl Events {
    /// Follows as the socket's owner.
    async fn follow(fake: &Fake, head: &str) -> Self {
        Self::ask(fake, "", head).await
    }

    async fn ask(fake: &Fake, query: &str, head: &str) -> Self {
        let mut socket = UnixStream::connect(fake.state.api_socket()).await.expect("a socket");
        let line = format!("GET /api/v1/stream{query} HTTP/1.1\r\nHost: localhost");
        let request = format!("{line}\r\n{head}\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        Self(BufReader::new(socket))
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.0.read_line(&mut line)).await;
        read.expect("a line in time").expect("a line");
        line.trim_end().to_owned()
    }

    /// The next event: its name, its id, and what it says.
    async fn next(&mut self) -> (String, Option<u64>, Value) {
        let mut id = None;
        let mut event = String::new();
        loop {
            let line = self.line().await;
            match line.split_once(": ") {
                Some(("id", number)) => id = Some(number.parse().expect("a number")),
                Some(("event", name)) => name.clone_into(&mut event),
                Some(("data", data)) if !event.is_empty() => {
                    return (event, id, serde_json::from_str(data).expect("JSON"));
                }
                _ => {}
            }
        }
    }
}

fn begin() -> (TempDir, std::sync::Arc<Fake>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Fake::start(&folder.path().join("state"));
    (folder, fake)
}

fn entry(seq: u64) -> AuditEntry {
    AuditEntry {
        seq,
        at: Time(seq),
        actor: Actor::Fleet,
        object: "runner-001".to_owned(),
        incarnation: None,
        what: "ready".to_owned(),
        why: "the agent says so".to_owned(),
        before: None,
        after: None,
    }
}

#[tokio::test]
async fn a_follower_gets_the_fleet_once_and_then_what_is_other() {
    let (_folder, fake) = begin();
    let mut events = Events::follow(&fake, "").await;
    let (event, id, fleet) = events.next().await;
    assert_eq!((event.as_str(), id), ("fleet", None));
    assert_eq!(fleet["runners"].as_array().map(Vec::len), Some(2));
    fake.change(|world| world.fleet.runners[1].status = RunnerStatus::Running);
    let (event, _, change) = events.next().await;
    assert_eq!(event, "change");
    let runners = change["runners"].as_array().expect("runners");
    assert_eq!((runners.len(), &runners[0]["name"]), (1, &Value::from("slate-light-02")));
    fake.change(|world| drop(world.fleet.runners.remove(0)));
    let (_, _, change) = events.next().await;
    assert_eq!(
        (&change["gone"], &change["runners"]),
        (&serde_json::json!([1]), &Value::Array(vec![]))
    );
}

#[tokio::test]
async fn many_followers_cost_as_many_looks_as_one() {
    let (_folder, fake) = begin();
    let looks = || fake.world.lock().expect("no player panicked").looks;
    let mut followers = Vec::new();
    for _ in 0..40 {
        let mut events = Events::follow(&fake, "").await;
        assert_eq!(events.next().await.0, "fleet");
        followers.push(events);
    }
    let before = looks();
    fake.change(|world| world.fleet.runners[1].status = RunnerStatus::Running);
    for events in &mut followers {
        let (event, _, change) = events.next().await;
        assert_eq!(
            (event.as_str(), &change["runners"][0]["status"]),
            ("change", &"running".into())
        );
    }
    let looks = looks() - before;
    assert!(looks <= 3, "{looks} looks for one change");
}

#[tokio::test]
async fn whoever_comes_sees_what_was_done_before_though_others_follow_already() {
    let (_folder, fake) = begin();
    let mut first = Events::follow(&fake, "").await;
    assert_eq!(first.next().await.0, "fleet");
    for queued in 1..20 {
        fake.change(|world| world.fleet.queued = queued);
        let (event, _, fleet) = Events::follow(&fake, "").await.next().await;
        assert_eq!((event.as_str(), &fleet["queued"]), ("fleet", &queued.into()));
    }
}

#[tokio::test]
async fn who_was_away_for_long_is_told_no_more_than_it_wants() {
    let (_folder, fake) = begin();
    fake.change(|world| world.audit = (1..=90).map(entry).collect());
    for (wanted, first) in [("", 41), ("?entries=3", 88), ("?entries=0", 90)] {
        let mut events = Events::ask(&fake, wanted, "").await;
        assert_eq!(events.next().await.0, "fleet");
        assert_eq!(events.next().await.1, Some(first), "new, with `{wanted}`");
    }
    for (wanted, last, first) in [("", 2, 3), ("?entries=3", 2, 88), ("?entries=3", 88, 89)] {
        let mut events = Events::ask(&fake, wanted, &format!("Last-Event-ID: {last}\r\n")).await;
        assert_eq!(events.next().await.0, "fleet");
        assert_eq!(events.next().await.1, Some(first), "after {last}, with `{wanted}`");
    }
}

#[tokio::test]
async fn who_was_cut_off_misses_no_entry_and_gets_none_twice() {
    let (_folder, fake) = begin();
    fake.change(|world| world.audit = (1..=5).map(entry).collect());
    let mut events = Events::follow(&fake, "Last-Event-ID: 3\r\n").await;
    assert_eq!(events.next().await.0, "fleet");
    for seq in [4, 5] {
        let (event, id, entry) = events.next().await;
        assert_eq!((event.as_str(), id, &entry["seq"]), ("audit", Some(seq), &Value::from(seq)));
    }
    fake.change(|world| world.audit.push(entry(6)));
    assert_eq!(events.next().await.1, Some(6));
    let mut anew = Events::follow(&fake, "Last-Event-ID: 900\r\n").await;
    assert_eq!(anew.next().await.0, "fleet");
    assert_eq!(anew.next().await.1, Some(1), "a number of another record is none");
    let mut wrong = Events::follow(&fake, "Last-Event-ID: yesterday\r\n").await;
    assert!(wrong.line().await.contains("400"));
}
