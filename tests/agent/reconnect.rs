//! Supervisors come and go; jobs go on, and nothing of them is lost or doubled.

use std::time::Duration;

use slate_fleet::agents::{Access, Delivery};
use slate_fleet::fleet::effect::AgentOrder;
use slate_fleet::fleet::event::{AgentEvent, Held, JobEnd};
use slate_fleet::ids::{AttemptNo, IncarnationId, JobId};
use slate_fleet::wire::enrolment::Enrolment;
use slate_fleet::wire::frame::Stream;

use super::bench::{Bench, WHO, script, until};

const HELD: Held = Held { job: JobId(1), attempt: AttemptNo(1) };

fn known() -> Vec<(IncarnationId, Option<Held>)> {
    vec![(WHO, Some(HELD))]
}

/// Facts from a reconnection until the job's end, which is acknowledged.
async fn end_after_reconnect(bench: &mut Bench) -> JobEnd {
    loop {
        match bench.next().await {
            AgentEvent::Disconnected | AgentEvent::Started { .. } => {}
            AgentEvent::Connected { holding } => assert_eq!(holding, Some(HELD)),
            AgentEvent::Ended { job, attempt, end } => {
                bench.order(AgentOrder::Acknowledge { job, attempt });
                return end;
            }
            AgentEvent::Heartbeat | AgentEvent::DeviceLost { .. } | AgentEvent::Listener(_) => {
                unreachable!("the bench leaves them out")
            }
        }
    }
}

#[tokio::test]
async fn output_is_complete_after_restarts_in_the_middle_of_a_job() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    // 5,000,000 bytes on one stream, 200,000 on the other, both checked by a sum.
    let text = "exec 3>sum; { i=0; while [ $i -lt 100 ]; do head -c 50000 /dev/urandom; \
                head -c 2000 /dev/urandom | tee -a err >&2; i=$((i+1)); sleep 0.005; done; } \
                | tee out; sha256sum < out >&3; sha256sum < err >&3";
    bench.assign(script(1, text));
    bench.started(1).await;
    for round in 1..=3_u64 {
        let written = |bench: &Bench| std::fs::metadata(bench.state.job_log(JobId(1)));
        let enough = round * 1_000_000;
        until("some was written", || written(&bench).is_ok_and(|log| log.len() > enough)).await;
        bench = bench.restart(known()).await;
    }
    assert_eq!(end_after_reconnect(&mut bench).await, JobEnd::Exited(0));
    let on_disk = |name: &str| std::fs::read(bench.path("work").join(name)).unwrap();
    assert_eq!(bench.written(1, Stream::Stdout).len(), 5_000_000);
    assert!(bench.written(1, Stream::Stdout) == on_disk("out"), "every byte, in order, once");
    assert!(bench.written(1, Stream::Stderr) == on_disk("err"), "every byte, in order, once");
}

#[tokio::test]
async fn a_job_that_ends_without_a_supervisor_is_reported_to_the_next_one() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    bench.assign(script(1, "while [ ! -e go ]; do sleep 0.02; done; echo done; exit 4"));
    bench.started(1).await;
    let folder = bench.stop().await;
    std::fs::write(folder.path().join("work/go"), "").unwrap();
    let mut bench = Bench::open(folder, known());
    assert_eq!(bench.next().await, AgentEvent::Connected { holding: Some(HELD) });
    bench.started(1).await;
    let AgentEvent::Ended { end, .. } = bench.next().await else { panic!("it has ended") };
    assert_eq!(end, JobEnd::Exited(4));
    // Not acknowledged: the next supervisor hears it again, and the output is not doubled.
    let mut bench = bench.restart(known()).await;
    assert_eq!(end_after_reconnect(&mut bench).await, JobEnd::Exited(4));
    assert_eq!(bench.stdout(1), "done\n");
    let mut bench = bench.restart(vec![(WHO, None)]).await;
    assert_eq!(bench.next().await, AgentEvent::Connected { holding: None });
}

#[tokio::test]
async fn a_job_without_a_supervisor_waits_when_its_output_fills_the_buffer() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    bench.assign(script(1, "while [ ! -e go ]; do sleep 0.02; done; head -c 3000000 /dev/zero"));
    bench.started(1).await;
    let folder = bench.stop().await;
    std::fs::write(folder.path().join("work/go"), "").unwrap();
    let mut bench = Bench::open(folder, known());
    assert_eq!(end_after_reconnect(&mut bench).await, JobEnd::Exited(0));
    assert_eq!(bench.written(1, Stream::Stdout).len(), 3_000_000);
}

#[tokio::test]
async fn output_of_a_job_that_the_runner_was_not_given_is_not_written() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    bench.assign(script(1, "while [ ! -e go ]; do sleep 0.02; done; echo stale"));
    bench.started(1).await;
    let mut bench = bench.restart(vec![(WHO, None)]).await;
    std::fs::write(bench.path("work/go"), "").unwrap();
    assert_eq!(end_after_reconnect(&mut bench).await, JobEnd::Exited(0));
    assert!(!bench.state.job_log(JobId(1)).exists());
}

#[tokio::test]
async fn a_revoked_runner_is_cut_off_and_stays_out() {
    let mut bench = Bench::new();
    let mut agent = bench.connected().await;
    bench.agents.revoke(WHO).unwrap();
    let acknowledge = AgentOrder::Acknowledge { job: JobId(1), attempt: AttemptNo(1) };
    assert_eq!(bench.agents.order(WHO, acknowledge), Delivery::NotConnected);
    // Another runner comes and goes meanwhile; the revoked one is not heard of.
    bench.agents.expect(IncarnationId(2)).unwrap();
    let other = bench.spawn(IncarnationId(2));
    assert_eq!(bench.next().await, AgentEvent::Connected { holding: None });
    tokio::time::timeout(Duration::from_millis(500), std::future::pending::<()>()).await.ok();
    assert!(bench.is_quiet());
    assert!(agent.0.try_wait().unwrap().is_none(), "it goes on trying");
    drop(other);
}

#[tokio::test]
async fn an_agent_that_starts_again_enrols_again() {
    let mut bench = Bench::new();
    let nonce = |bench: &Bench| {
        let text = std::fs::read(bench.state.private(WHO).join("enrol.json")).unwrap();
        serde_json::from_slice::<Enrolment>(&text).unwrap().nonce
    };
    let agent = bench.connected().await;
    assert_eq!(nonce(&bench), None, "there is no nonce beside a session");
    drop(agent);
    assert_eq!(bench.next().await, AgentEvent::Disconnected);
    if Access::for_this_user() == Access::Everyone {
        assert_eq!(nonce(&bench), None, "a job could read it");
        bench.agents.expect(WHO).unwrap();
    }
    let _agent = bench.spawn(WHO);
    assert_eq!(bench.next().await, AgentEvent::Connected { holding: None });
    assert_eq!(nonce(&bench), None);
}
