//! Working folders on their way into a runner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slate_fleet::fleet::effect::{AgentOrder, JobOrder};
use slate_fleet::fleet::event::{AgentEvent, JobEnd};
use slate_fleet::ids::{AttemptNo, BlobId, JobId};

use super::bench::{Bench, WHO, below, script, until};

/// Stores a tar file as an uploaded working folder.
fn upload(bench: &Bench, name: &str, tar: &[u8]) {
    let path = bench.state.blob(&BlobId::new(name));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, tar).unwrap();
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, body) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *body).unwrap();
    }
    builder.into_inner().unwrap()
}

fn with_workspace(job: u64, text: &str, blob: &str) -> JobOrder {
    JobOrder { workspace: Some(BlobId::new(blob)), ..script(job, text) }
}

#[tokio::test]
async fn a_job_finds_its_working_folder() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    let large = vec![b'x'; 3_000_000];
    let long = format!("{}/b.txt", "a-long-folder-name/".repeat(8));
    upload(&bench, "b1", &archive(&[("src/a.txt", b"hello"), (&long, b"long"), ("large", &large)]));
    let text = format!("cat src/a.txt '{long}'; wc -c < large");
    assert_eq!(bench.run(with_workspace(1, &text, "b1")).await, JobEnd::Exited(0));
    assert_eq!(bench.stdout(1), "hellolong3000000\n");
}

#[tokio::test]
async fn a_working_folder_that_is_missing_or_hostile_starts_no_job() {
    let mut bench = Bench::new();
    let agent = bench.connected().await;
    bench.assign(with_workspace(1, "true", "missing"));
    let JobEnd::NotStarted(why) = bench.ended(1).await else { panic!("it did not start") };
    assert!(why.contains("cannot be opened"), "{why}");
    let mut hostile = archive(&[("aa/evil", b"x")]);
    hostile[..2].copy_from_slice(b"..");
    let sum: u32 = hostile[..512].iter().map(|byte| u32::from(*byte)).sum::<u32>()
        - hostile[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>()
        + 8 * u32::from(b' ');
    hostile[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    upload(&bench, "evil", &hostile);
    bench.assign(with_workspace(2, "true", "evil"));
    let JobEnd::NotStarted(why) = bench.ended(2).await else { panic!("it did not start") };
    assert!(why.contains("must not leave the folder"), "{why}");
    assert!(!bench.path("evil").exists());
    assert_eq!(bench.run(script(3, "exit 0")).await, JobEnd::Exited(0), "the agent goes on");
    assert!(below(agent.0.id()).is_empty());
}

#[tokio::test]
async fn a_job_can_be_cancelled_while_its_working_folder_arrives() {
    let mut bench = Bench::new();
    let _agent = bench.connected().await;
    let (_path, writer) = slow_upload(&bench);
    bench.assign(with_workspace(1, "true", "slow"));
    let grace = Duration::ZERO;
    bench.order(AgentOrder::Cancel { job: JobId(1), attempt: AttemptNo(1), grace });
    assert_eq!(bench.ended(1).await, JobEnd::Cancelled);
    drop(writer);
    assert_eq!(bench.run(script(2, "exit 0")).await, JobEnd::Exited(0));
}

#[tokio::test]
async fn an_assignment_whose_working_folder_was_cut_off_is_forgotten() {
    let mut bench = Bench::new();
    let agent = bench.connected().await;
    let (path, writer) = slow_upload(&bench);
    bench.assign(with_workspace(1, "true", "slow"));
    until("the unpacker waits", || !below(agent.0.id()).is_empty()).await;
    let mut bench = bench.restart(vec![(WHO, None)]).await;
    drop(writer);
    assert_eq!(bench.next().await, AgentEvent::Connected { holding: None });
    upload_over(&bench, &path);
    assert_eq!(bench.run(with_workspace(1, "cat a", "slow")).await, JobEnd::Exited(0));
}

/// A pipe that nobody writes to stands for a slow disk.
fn slow_upload(bench: &Bench) -> (PathBuf, File) {
    let path = bench.state.blob(&BlobId::new("slow"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    (path, writer)
}

fn upload_over(bench: &Bench, fifo: &Path) {
    std::fs::remove_file(fifo).unwrap();
    upload(bench, "slow", &archive(&[("a", b"whole")]));
}
