//! The API over a real unix socket.

use std::os::unix::fs::PermissionsExt;

use futures_util::stream;
use serde_json::Value;
use slate_fleet::api::dto::{Accepted, CordonBody, Healthy, SubmitBody, Submitted, SubmittedAll};
use slate_fleet::api::explain::Explanation;
use slate_fleet::api::problem::ProblemKind;
use slate_fleet::api::record::{Record, RecordKind};
use slate_fleet::api::spec_one::RunnersSummary;
use slate_fleet::client::{Client, ClientError, Records};
use slate_fleet::fleet::audit::{Actor, AuditEntry};
use slate_fleet::fleet::event::{Cordon, Request};
use slate_fleet::fleet::view::{
    FleetPhase, FleetView, JobStatus, JobView, PlanView, RunnerStatus, RunnerView,
};
use slate_fleet::ids::{BlobId, JobId, SlotId};
use slate_fleet::post_mortems::{PostMortem, PostMortems};
use slate_fleet::wire::frame::Stream;
use tempfile::TempDir;

use super::fake::{Fake, NOW};

async fn begin() -> (TempDir, std::sync::Arc<Fake>, Client) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Fake::start(&folder.path().join("state"));
    let client = Client::connect(&fake.state).await.expect("the socket takes connections");
    (folder, fake, client)
}

fn job(command: &[&str]) -> SubmitBody {
    let command = command.iter().map(|&word| word.to_owned()).collect();
    SubmitBody { command, ..SubmitBody::default() }
}

fn kind<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemKind {
    match result.expect_err("a problem") {
        ClientError::Refused(problem) => problem.kind,
        other => panic!("no problem but {other:?}"),
    }
}

async fn all(mut records: Records) -> Vec<Record> {
    let mut all = Vec::new();
    while let Some(record) = records.next().await.expect("records") {
        all.push(record);
    }
    all
}

#[tokio::test]
async fn only_the_owner_may_use_the_socket() {
    let (_folder, fake, _client) = begin().await;
    let mode = std::fs::metadata(fake.state.api_socket()).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn readiness_says_what_stands_in_the_way() {
    let (_folder, fake, mut client) = begin().await;
    assert_eq!(client.get::<Healthy>("/healthz").await.expect("healthy"), Healthy::Ok);
    assert_eq!(client.get::<Healthy>("/readyz").await.expect("ready"), Healthy::Ready);
    fake.change(|world| {
        world.fleet.phase = FleetPhase::Converging;
        world.fleet.troubles.push("the engine is slow".to_owned());
        world.fleet.runners[1].status = RunnerStatus::Error;
        world.fleet.runners[1].reason = Some("no such image".to_owned());
    });
    let Err(ClientError::Refused(problem)) = client.get::<Healthy>("/readyz").await else {
        panic!("a fleet that converges is not ready");
    };
    assert_eq!(problem.kind, ProblemKind::Unavailable);
    assert_eq!(problem.reasons, ["the engine is slow", "slate-light-02: no such image"]);
    assert_eq!(client.get::<Healthy>("/healthz").await.expect("healthy"), Healthy::Ok);
}

#[tokio::test]
async fn runners_are_found_by_name_and_by_id() {
    let (_folder, fake, mut client) = begin().await;
    for name in ["slate-light-02", "runner-002", "2"] {
        let runner: RunnerView = client.get(&format!("/api/v1/runners/{name}")).await.expect(name);
        assert_eq!(runner.id, SlotId(2), "{name}");
    }
    assert_eq!(
        kind(client.get::<RunnerView>("/api/v1/runners/nobody").await),
        ProblemKind::NotFound
    );
    let body = CordonBody {
        runners: vec!["slate-light-02".to_owned()],
        gpus: Vec::new(),
        to: Cordon::Closed,
    };
    let _: Accepted = client.post("/api/v1/cordon", &body).await.expect("accepted");
    let expected = Request::Cordon { slots: vec![SlotId(2)], to: Cordon::Closed };
    assert_eq!(fake.requests(), [expected]);
    let body =
        CordonBody { runners: vec!["nobody".to_owned()], gpus: Vec::new(), to: Cordon::Closed };
    assert_eq!(kind(client.post::<Accepted>("/api/v1/cordon", &body).await), ProblemKind::NotFound);
}

#[tokio::test]
async fn cards_are_cordoned_apart_from_runners() {
    let (_folder, fake, mut client) = begin().await;
    let gpus = vec!["1".to_owned()];
    let body = CordonBody { runners: Vec::new(), gpus: gpus.clone(), to: Cordon::Closed };
    let _: Accepted = client.post("/api/v1/cordon", &body).await.expect("accepted");
    assert_eq!(fake.requests(), [Request::CordonCards { cards: gpus, to: Cordon::Closed }]);
    let both = CordonBody { runners: vec!["slate-light-02".to_owned()], ..body };
    assert_eq!(kind(client.post::<Accepted>("/api/v1/cordon", &both).await), ProblemKind::Invalid);
}

#[tokio::test]
async fn the_specifications_summary_has_its_keys() {
    let (_folder, _fake, mut client) = begin().await;
    let summary: RunnersSummary = client.get("/api/runners").await.expect("a summary");
    assert_eq!((summary.total_runners, summary.idle, summary.max_parallel), (2, 2, 8));
    assert!(summary.utilization.cpu.is_some_and(|percent| percent <= 100));
}

#[tokio::test]
async fn errors_are_problems_with_words() {
    let (_folder, _fake, mut client) = begin().await;
    assert_eq!(kind(client.get::<JobView>("/api/v1/jobs/7").await), ProblemKind::NotFound);
    assert_eq!(kind(client.get::<JobView>("/api/v1/jobs/x").await), ProblemKind::Invalid);
    assert_eq!(kind(client.get::<JobView>("/api/v1/nothing").await), ProblemKind::NotFound);
    assert_eq!(kind(client.get::<JobView>("/api/v1/jobs?status=done").await), ProblemKind::Invalid);
    assert_eq!(kind(client.get::<JobView>("/api/v1/jobs?limt=1").await), ProblemKind::Invalid);
    assert_eq!(kind(client.put::<Accepted>("/api/v1/scale", &1).await), ProblemKind::WrongMethod);
    assert_eq!(kind(client.post::<Accepted>("/api/v1/scale", &1).await), ProblemKind::Invalid);
    assert_eq!(
        kind(client.post::<Submitted>("/api/v1/jobs", &job(&[])).await),
        ProblemKind::Invalid
    );
}

#[tokio::test]
async fn a_spec_is_held_to_what_a_fleet_file_is_held_to_and_all_that_is_wrong_is_told() {
    let (_folder, fake, mut client) = begin().await;
    let good: Value = client.get("/api/v1/spec").await.expect("the spec in force");
    let _: PlanView = client.post("/api/v1/plan", &good).await.expect("planned");
    let _: Accepted = client.put("/api/v1/spec", &good).await.expect("accepted");
    assert_eq!(fake.requests().len(), 1);
    let mut bad = good.clone();
    bad["pools"][0]["name"] = "../up".into();
    bad["limits"]["retries"] = 99.into();
    let told = [
        client.put::<Accepted>("/api/v1/spec", &bad).await.map(drop),
        client.post::<PlanView>("/api/v1/plan", &bad).await.map(drop),
    ];
    for told in told {
        let Err(ClientError::Refused(problem)) = told else { panic!("{told:?}") };
        assert_eq!(problem.kind, ProblemKind::Invalid);
        assert_eq!(problem.detail, "the spec has 2 errors; nothing was changed");
        let places: Vec<&str> =
            problem.reasons.iter().filter_map(|line| line.split('`').nth(1)).collect();
        assert_eq!(places, ["pools[0].name", "limits.retries"], "{:?}", problem.reasons);
    }
    assert_eq!(fake.requests().len(), 1, "nothing was handed to the fleet");
}

#[tokio::test]
async fn a_run_is_one_answer_with_output_and_end() {
    let (_folder, _fake, mut client) = begin().await;
    let (id, records) = client.run(&job(&["both"])).await.expect("runs");
    assert_eq!(id, JobId(1));
    let records = all(records).await;
    let kinds: Vec<RecordKind> = records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [RecordKind::Stdout, RecordKind::Stderr, RecordKind::End, RecordKind::Job]);
    assert_eq!(records[0].bytes, b"out\0\xff\n");
    let end: JobView = serde_json::from_slice(&records[3].bytes).expect("a job");
    assert_eq!((end.status, end.exit_code), (JobStatus::Failed, Some(7)));
}

#[tokio::test]
async fn long_output_arrives_whole_and_in_order() {
    let (_folder, _fake, mut client) = begin().await;
    let (_, records) = client.run(&job(&["long"])).await.expect("runs");
    let output: Vec<u8> = all(records)
        .await
        .into_iter()
        .filter(|record| record.kind == RecordKind::Stdout)
        .flat_map(|record| record.bytes)
        .collect();
    assert_eq!(output, b"0123456789abcdef\n".repeat(4096 * 64));
}

#[tokio::test]
async fn a_follower_learns_why_a_job_waits_and_that_it_was_cancelled() {
    let (_folder, fake, mut client) = begin().await;
    let (id, mut records) = client.run(&job(&["wait"])).await.expect("runs");
    let first = records.next().await.expect("a record").expect("a record");
    let waiting: JobView = serde_json::from_slice(&first.bytes).expect("a job");
    assert_eq!(waiting.reason.as_deref(), Some("both runners are busy"));
    let mut other = Client::connect(&fake.state).await.expect("connects");
    let path = format!("/api/v1/jobs/{id}/cancel");
    let _: Accepted = other.post(&path, &()).await.expect("accepted");
    let last = all(records).await.pop().expect("a last record");
    let end: JobView = serde_json::from_slice(&last.bytes).expect("a job");
    assert_eq!(end.status, JobStatus::Cancelled);
}

#[tokio::test]
async fn a_job_whose_runner_died_ends_its_stream_without_an_end_record() {
    let (_folder, fake, mut client) = begin().await;
    let (id, mut records) = client.run(&job(&["wait"])).await.expect("runs");
    fake.write(id, Stream::Stdout, 0, b"last words");
    fake.change(|world| {
        world.jobs.get_mut(&id).expect("the job").status = JobStatus::Lost;
    });
    let mut output = Vec::new();
    let mut end = None;
    while let Some(record) = records.next().await.expect("records") {
        match record.kind {
            RecordKind::Stdout => output.extend(record.bytes),
            RecordKind::Job => end = serde_json::from_slice::<JobView>(&record.bytes).ok(),
            RecordKind::Stderr | RecordKind::Attempt | RecordKind::End => {}
        }
    }
    assert_eq!(output, b"last words");
    assert_eq!(end.map(|job| job.status), Some(JobStatus::Lost));
}

#[tokio::test]
async fn logs_go_on_where_a_reader_stopped() {
    let (_folder, _fake, mut client) = begin().await;
    let (id, records) = client.run(&job(&["both"])).await.expect("runs");
    let records = all(records).await;
    let path = format!("/api/v1/jobs/{id}/logs?from={}", records[0].encode().len());
    let rest = all(client.records(&path).await.expect("a log")).await;
    assert_eq!(rest, records[1..3]);
    let path = format!("/api/v1/jobs/{id}/logs?follow=true");
    assert_eq!(all(client.records(&path).await.expect("a log")).await, records[..3]);
}

#[tokio::test]
async fn a_wait_for_a_jobs_end_is_answered_when_it_ends() {
    let (_folder, fake, mut client) = begin().await;
    let Submitted { id } = client.post("/api/v1/jobs", &job(&["wait"])).await.expect("submitted");
    let ending = std::sync::Arc::clone(&fake);
    let path = format!("/api/v1/jobs/{id}?wait_seconds=20");
    let waited = client.get::<JobView>(&path);
    let ended = async {
        ending.end(id, JobStatus::Succeeded, Some(0));
    };
    let (job, ()) = tokio::join!(waited, ended);
    assert_eq!(job.expect("a job").status, JobStatus::Succeeded);
}

#[tokio::test]
async fn an_upload_is_kept_under_its_hash_and_a_broken_one_leaves_nothing() {
    let (_folder, fake, mut client) = begin().await;
    let whole = stream::iter([Ok("abc".into())]);
    let uploaded = client.upload(whole).await.expect("uploaded");
    // SHA-256 of `abc`, FIPS 180-4.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let (named, own) = uploaded.blob.as_str().split_once('-').expect("a hash and a part");
    assert_eq!((named, own.len()), (hash, 8), "equal folders of two jobs are two files");
    assert_eq!(std::fs::read(fake.state.blob(&uploaded.blob)).expect("kept"), b"abc");
    let mut body = job(&["true"]);
    body.workspace = Some(uploaded.blob);
    client.post::<Submitted>("/api/v1/jobs", &body).await.expect("submitted");
    body.workspace = Some(BlobId::new(format!("{}-00000000", "0".repeat(64))));
    assert_eq!(kind(client.post::<Submitted>("/api/v1/jobs", &body).await), ProblemKind::NotFound);
    body.workspace = Some(BlobId::new("../../etc/passwd"));
    assert_eq!(kind(client.post::<Submitted>("/api/v1/jobs", &body).await), ProblemKind::Invalid);

    let broken = stream::iter([Ok("abc".into()), Err(std::io::ErrorKind::Other.into())]);
    client.upload(broken).await.expect_err("broken");
    let kept = || std::fs::read_dir(fake.state.blobs()).expect("a folder").count();
    super::fake::until("the broken upload is removed", || kept() == 1).await;
}

#[tokio::test]
async fn an_upload_beyond_the_limit_is_refused() {
    let (_folder, _fake, mut client) = begin().await;
    let chunks = (0..32).map(|_| Ok(vec![0; 64 * 1024].into()));
    let result = client.upload(stream::iter(chunks)).await;
    match result.expect_err("2 MiB are more than 1 MiB") {
        ClientError::Refused(problem) => assert_eq!(problem.kind, ProblemKind::TooLarge),
        // The server may close the connection before the client has read why.
        ClientError::Broken(_) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_record_is_read_and_followed() {
    let (_folder, fake, mut client) = begin().await;
    let entry = |seq| AuditEntry {
        seq,
        at: NOW,
        actor: Actor::Fleet,
        object: "runner-001".to_owned(),
        incarnation: None,
        what: "created".to_owned(),
        why: String::new(),
        before: None,
        after: None,
    };
    fake.change(|world| world.audit.extend((1..=3).map(entry)));
    let mut lines = client.lines("/api/v1/events?after=1").await.expect("lines");
    let mut read = Vec::new();
    while let Some(line) = lines.next::<AuditEntry>().await.expect("an entry") {
        read.push(line.seq);
    }
    assert_eq!(read, [2, 3]);
    let mut client = Client::connect(&fake.state).await.expect("connects");
    let mut lines = client.lines("/api/v1/events?after=3&follow=true").await.expect("lines");
    fake.change(|world| world.audit.push(entry(4)));
    let next = lines.next::<AuditEntry>().await.expect("an entry");
    assert_eq!(next.map(|entry| entry.seq), Some(4));
}

#[tokio::test]
async fn a_follower_of_the_fleet_sees_each_change() {
    let (_folder, fake, mut client) = begin().await;
    let mut views = client.lines("/api/v1/fleet?follow=true").await.expect("lines");
    let first: FleetView = views.next().await.expect("a view").expect("a view");
    assert_eq!(first.phase, FleetPhase::Ready);
    fake.change(|world| world.fleet.phase = FleetPhase::GoingDown);
    let next: FleetView = views.next().await.expect("a view").expect("a view");
    assert_eq!(next.phase, FleetPhase::GoingDown);
}

fn post_mortem(incarnation: u64, job: Option<JobId>) -> PostMortem {
    let file = serde_json::json!({
        "summary": "its agent was killed", "cause": "died", "why": "exit code 137", "at": NOW,
        "incarnation": incarnation, "slot": 2, "runner": "slate-light-02", "pool": "light",
        "profile": "light", "image": "slate-runner:latest", "container": null,
        "container_name": "slate-light-i1", "job": job, "attempt": job.map(|_| 1),
        "exit_code": 137, "heard": null, "engine": null, "log": ["bye"], "missing": [],
    });
    serde_json::from_value(file).expect("a post-mortem")
}

#[tokio::test]
async fn post_mortems_are_read_by_runner_and_by_job() {
    let (_folder, fake, mut client) = begin().await;
    let store = PostMortems::new(&fake.state);
    let Submitted { id } = client.post("/api/v1/jobs", &job(&["both"])).await.expect("submitted");
    for it in [post_mortem(4, None), post_mortem(5, Some(id)), post_mortem(6, None)] {
        store.write(&it).expect("written");
    }
    let mut read = async |path: &str| {
        let found: Vec<PostMortem> = client.get(path).await.expect(path);
        found.iter().map(|it| it.incarnation.0).collect::<Vec<_>>()
    };
    assert_eq!(read("/api/v1/runners/slate-light-02/post-mortems").await, [6, 5, 4]);
    assert_eq!(read("/api/v1/runners/slate-light-02/post-mortems?limit=1").await, [6]);
    assert_eq!(read("/api/v1/runners/slate-light-01/post-mortems").await, [0_u64; 0]);
    assert_eq!(read(&format!("/api/v1/jobs/{id}/post-mortems")).await, [5]);
    let nobody = client.get::<Vec<PostMortem>>("/api/v1/runners/nobody/post-mortems").await;
    assert_eq!(kind(nobody), ProblemKind::NotFound);
}

#[tokio::test]
async fn a_job_is_explained_with_its_last_lines_and_without_what_its_variables_hold() {
    let (_folder, fake, mut client) = begin().await;
    let mut body = job(&["wait"]);
    body.env.insert("DEPLOY_TOKEN".to_owned(), "hunter2hunter2".to_owned());
    let Submitted { id } = client.post("/api/v1/jobs", &body).await.expect("submitted");
    fake.write(id, Stream::Stdout, 0, b"first\nsent hunter2hunter2 away\n");
    fake.end(id, JobStatus::Failed, Some(7));
    PostMortems::new(&fake.state).write(&post_mortem(5, Some(id))).expect("written");
    let told: Explanation = client.get(&format!("/api/v1/explain/{id}")).await.expect("explained");
    let Explanation::Job(it) = &told else { panic!("no job but {told:?}") };
    assert_eq!(it.last_lines, ["first", "sent *** away"]);
    assert_eq!(it.post_mortems.len(), 1);
    assert!(it.advice.iter().any(|text| text.contains("slate-fleet logs job-1")), "{it:?}");
    assert!(!format!("{told:?}").contains("hunter2"), "{told:?}");
}

#[tokio::test]
async fn runners_and_pools_are_explained_by_name_and_strangers_are_not() {
    let (_folder, fake, mut client) = begin().await;
    PostMortems::new(&fake.state).write(&post_mortem(5, None)).expect("written");
    let told: Explanation = client.get("/api/v1/explain/slate-light-02").await.expect("explained");
    let Explanation::Runner(it) = told else { panic!("no runner but {told:?}") };
    assert_eq!((it.runner.id, it.post_mortems.len()), (SlotId(2), 1));
    let told: Explanation = client.get("/api/v1/explain/light").await.expect("explained");
    let Explanation::Pool(it) = told else { panic!("no pool but {told:?}") };
    assert_eq!((it.standing.all, it.standing.idle, it.post_mortems.len()), (2, 2, 1));
    for name in ["nobody", "job-77"] {
        let told = client.get::<Explanation>(&format!("/api/v1/explain/{name}")).await;
        assert_eq!(kind(told), ProblemKind::NotFound, "{name}");
    }
}

#[tokio::test]
async fn many_jobs_come_in_one_request_and_a_wrong_line_is_named() {
    let (_folder, fake, mut client) = begin().await;
    let line = |program: &str| format!("{{\"command\": [\"{program}\"]}}\n");
    let lines = format!("{}\n{}", line("true"), line("true")).into_bytes();
    let taken: SubmittedAll = client.post_lines("/api/v1/jobs/batch", lines).await.expect("taken");
    assert_eq!(taken, SubmittedAll { first: JobId(1), last: JobId(2) });
    for (lines, said) in [
        (format!("{}{}", line("true"), line("")), "line 2: "),
        (format!("{}nonsense\n", line("true")), "line 2: "),
        (String::new(), "at least one"),
        (line("true").repeat(10_001), "more than 10000 lines"),
    ] {
        let answer =
            client.post_lines::<SubmittedAll>("/api/v1/jobs/batch", lines.into_bytes()).await;
        let ClientError::Refused(problem) = answer.expect_err("refused") else { panic!("{said}") };
        assert!(problem.detail.contains(said), "{}", problem.detail);
    }
    assert_eq!(fake.world.lock().expect("no player panicked").jobs.len(), 2);
}
