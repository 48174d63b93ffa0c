//! Programs beside the agent, the agent's log, and readings of use.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use slate_fleet::engine::{
    Engine, ExecRequest, ExecSession, Follow, LogRange, OutputSource, Terminal, TerminalSize,
};
use slate_fleet::ids::ContainerId;
use slate_fleet::units::Bytes;
use tokio::io::AsyncWriteExt;

use crate::world::{OBEDIENT, PATIENCE, World, with_agent};

fn request(script: &str, terminal: Terminal) -> ExecRequest {
    ExecRequest {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        user: Some("1000:1000".to_owned()),
        workdir: Some("/work".to_owned()),
        terminal,
    }
}

/// Reads output until it holds a text; the two streams apart.
async fn read_until(session: &mut ExecSession, wanted: &str) -> (String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    let reading = async {
        while !out.contains(wanted) {
            let Some(chunk) = session.output.next().await else { break };
            let chunk = chunk.expect("output");
            let text = String::from_utf8_lossy(&chunk.bytes).into_owned();
            match chunk.source {
                OutputSource::Stdout => out.push_str(&text),
                OutputSource::Stderr => err.push_str(&text),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("output in time");
    (out, err)
}

async fn exit_code(world: &World, session: &ExecSession) -> Option<i64> {
    world.engine.exec_exit(&session.id).await.expect("an exit code")
}

#[tokio::test]
async fn a_plain_program_gets_input_and_keeps_its_two_outputs_apart() {
    with_agent(OBEDIENT, async |world| {
        let id = world.run(&world.plan(1)).await;
        let script = "echo bad >&2; read x; echo $GREETING $x $(id -u) $(pwd); cat; exit 3";
        let plain = request(script, Terminal::None);
        let mut session = world.engine.exec(&id, &plain).await.expect("a program");
        assert_eq!(exit_code(world, &session).await, None);
        session.input.write_all(b"there\nmore\n").await.expect("input");
        session.input.shutdown().await.expect("end of input");
        // To the end: the engine carries the two streams in no order.
        let (out, err) = read_until(&mut session, "what never comes").await;
        assert_eq!((out.as_str(), err.as_str()), ("hello there 1000 /work\nmore\n", "bad\n"));
        let rest = session.output.next().await;
        assert!(rest.is_none(), "{rest:?}");
        assert_eq!(exit_code(world, &session).await, Some(3));
    })
    .await;
}

#[tokio::test]
async fn a_program_with_a_terminal_sees_its_size_and_its_changes() {
    with_agent(OBEDIENT, async |world| {
        let id = world.run(&world.plan(1)).await;
        let size = TerminalSize { rows: 30, columns: 100 };
        let shell = request("read x; stty size; read y; stty size", Terminal::Sized(size));
        let mut session = world.engine.exec(&id, &shell).await.expect("a program");
        session.input.write_all(b"\n").await.expect("input");
        read_until(&mut session, "30 100").await;
        let larger = TerminalSize { rows: 50, columns: 132 };
        world.engine.resize_exec(&session.id, larger).await.expect("resized");
        session.input.write_all(b"\n").await.expect("input");
        read_until(&mut session, "50 132").await;
        while session.output.next().await.is_some() {}
        assert_eq!(exit_code(world, &session).await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn the_agents_log_can_be_read_and_followed_to_its_end() {
    let script = "#!/bin/sh\necho one; echo two; echo three >&2\n\
                  while [ ! -e /work/go ]; do sleep 0.05; done; echo four\n";
    with_agent(script, async |world| {
        let id = world.run(&world.plan(1)).await;
        let follow = LogRange { tail: None, follow: Follow::Yes };
        let mut log = world.engine.container_logs(&id, follow);
        let mut lines = Vec::new();
        let reading = async {
            while let Some(chunk) = log.next().await {
                let chunk = chunk.expect("a chunk");
                lines.push((chunk.source, String::from_utf8_lossy(&chunk.bytes).into_owned()));
                if lines.len() == 3 {
                    world.shell(&id, "touch /work/go").await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it ends with the container");
        let of = |source| {
            let own = lines.iter().filter(|line| line.0 == source);
            own.map(|line| line.1.trim()).collect::<Vec<_>>()
        };
        assert_eq!(of(OutputSource::Stdout), ["one", "two", "four"]);
        assert_eq!(of(OutputSource::Stderr), ["three"]);
        let last = LogRange { tail: Some(1), follow: Follow::No };
        let tail: Vec<_> = world.engine.container_logs(&id, last).collect().await;
        assert_eq!(tail.len(), 1);
        assert_eq!(tail[0].as_ref().expect("a chunk").bytes.as_ref(), b"four\n");
    })
    .await;
}

#[tokio::test]
async fn a_reading_of_use_has_cpu_memory_and_processes() {
    with_agent(OBEDIENT, async |world| {
        let id = world.run(&world.plan(1)).await;
        let stats = world.engine.stats(&id).await.expect("a reading");
        assert_eq!(stats.memory_limit, Bytes::mib(512));
        assert!(stats.cpu > Duration::ZERO && stats.memory > Bytes(0), "{stats:?}");
        assert!((1..10).contains(&stats.pids), "{stats:?}");
        let gone = world.engine.stats(&ContainerId::new("no-such-container")).await;
        assert!(gone.is_err());
    })
    .await;
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    with_agent(OBEDIENT, async |world| {
        let info = world.engine.info().await.expect("info");
        assert!(info.cpus > 0 && info.memory > Bytes::mib(64), "{info:?}");
        assert!(!info.id.is_empty() && info.api.starts_with("1."), "{info:?}");
        assert!(info.runtimes.iter().any(|name| name == "runc"), "{info:?}");
    })
    .await;
}
