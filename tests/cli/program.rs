//! The real program against a played fleet: streams, exit codes, words.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use slate_fleet::fleet::event::{Request, ScaleRequest, ScaleTarget};
use slate_fleet::fleet::view::JobStatus;
use slate_fleet::ids::JobId;
use slate_fleet::wire::frame::Stream;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::fake::{FLEET_FILE, Fake, until};

/// A project with a fleet file and a played supervisor.
pub struct Project {
    folder: TempDir,
    pub fake: Arc<Fake>,
}

/// What a command left.
pub struct Ran {
    status: ExitStatus,
    stdout: Vec<u8>,
    pub stderr: String,
}

impl Project {
    pub fn new() -> Self {
        let folder = folder();
        let fake = Fake::start(&folder.path().join(".slate"));
        Self { folder, fake }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub async fn run(&self, line: &str) -> Ran {
        run(self.folder.path(), line).await
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
}

pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("slate.yaml"), FLEET_FILE).expect("a fleet file");
    folder
}

fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slate-fleet"));
    command
        .args(line.split(' '))
        .current_dir(folder)
        .env_remove("SLATE_STATE_DIR")
        .env("USER", "ana")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(folder: &Path, line: &str) -> Ran {
    let output = command(folder, line).output().await.expect("the program runs");
    Ran {
        status: output.status,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    pub fn code(&self) -> i32 {
        self.status.code().expect("it exits by itself")
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

#[tokio::test]
async fn a_verb_that_needs_a_fleet_says_that_none_is_up_and_what_to_type() {
    let folder = folder();
    let place = folder.path().canonicalize().expect("a path");
    for line in ["ps", "run -- true", "jobs", "scale 3", "logs", "healthz"] {
        let ran = run(folder.path(), line).await;
        assert_eq!(ran.code(), 8, "{line}: {}", ran.stderr);
        let expected = format!(
            "error: no fleet is up for project `slate` in {}\n\n  help: start it with \
             `slate-fleet up -d`\n",
            place.display()
        );
        assert_eq!(ran.stderr, expected, "{line}");
    }
}

#[tokio::test]
async fn a_run_keeps_streams_apart_byte_for_byte_and_passes_the_exit_code_on() {
    let project = Project::new();
    let ran = project.run("run --no-workspace -- both").await;
    assert_eq!(ran.stdout, b"out\0\xff\n");
    assert_eq!(ran.stderr, "err\n");
    assert_eq!(ran.code(), 7);
    assert_eq!(project.run("run --no-workspace -- true").await.code(), 0);
    let ran = project.run("run --no-workspace late").await;
    assert_eq!((ran.code(), ran.stderr.as_str()), (124, "job-3 took too long: as told\n"));
}

#[tokio::test]
async fn a_job_gets_what_the_options_say() {
    let project = Project::new();
    let line = "submit --no-workspace --profile light --priority -5 --timeout 90s --env A=b=c \
                --workflow nightly --run-id 1 -- echo --flag";
    let ran = project.run(line).await;
    assert_eq!((ran.code(), ran.out().as_str()), (0, "job-1\n"), "{}", ran.stderr);
    let Some(Request::Submit(spec)) = project.fake.requests().pop() else {
        panic!("no job was submitted");
    };
    assert_eq!(spec.command, ["echo", "--flag"]);
    assert_eq!(spec.env["A"], "b=c");
    assert_eq!((spec.priority, spec.timeout.map(|it| it.as_secs())), (-5, Some(90)));
    assert_eq!(spec.workflow.as_deref(), Some("nightly"));
    assert_eq!(spec.submitter, "ana");
}

#[tokio::test]
async fn the_working_folder_goes_along_without_state_secrets_and_ignored_files() {
    let project = Project::new();
    project.file("src/main.py", "print(1)");
    project.file(".gitignore", "build/\n");
    project.file("build/out", "x");
    project.file(".env", "TOKEN=secret");
    let ran = project.run("submit -- true").await;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    let Some(Request::Submit(spec)) = project.fake.requests().pop() else {
        panic!("no job was submitted");
    };
    let blob = project.fake.state.blob(&spec.workspace.expect("a workspace"));
    let mut archive = tar::Archive::new(std::fs::File::open(blob).expect("a blob"));
    let names: Vec<String> = archive
        .entries()
        .expect("a tar stream")
        .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect();
    assert_eq!(names, [".gitignore", "slate.yaml", "src", "src/main.py"]);
}

#[tokio::test]
async fn a_working_folder_beyond_the_limit_is_named_with_its_largest_file() {
    let project = Project::new();
    project.file("video.mp4", &"x".repeat(2 << 20));
    let ran = project.run("run -- true").await;
    assert_eq!(ran.code(), 1);
    assert!(ran.stderr.contains("the limit is 1MiB"), "{}", ran.stderr);
    assert!(ran.stderr.contains("2MiB  video.mp4"), "{}", ran.stderr);
    assert!(project.fake.requests().is_empty());
}

#[tokio::test]
async fn ctrl_c_cancels_the_job_and_waits_for_its_end() {
    let project = Project::new();
    let child = command(project.folder.path(), "run --no-workspace -- wait")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("a process");
    until("the job is submitted", || !project.fake.requests().is_empty()).await;
    kill_process(pid, Signal::INT).expect("a signal can be sent");
    let output = child.wait_with_output().await.expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cancelling job-1"), "{stderr}");
    assert_eq!(output.status.code(), Some(130), "{stderr}");
}

#[tokio::test]
async fn a_job_that_waits_says_why() {
    let project = Project::new();
    let ran = project.run("run --no-workspace -- wait");
    let ended = async {
        let submitted = || !project.fake.requests().is_empty();
        until("the job is submitted", submitted).await;
        // Longer than the patience of `run`, which is what is tested.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        project.fake.end(JobId(1), JobStatus::Succeeded, Some(0));
    };
    let (ran, ()) = tokio::join!(ran, ended);
    assert_eq!(ran.stderr, "job-1 waits: both runners are busy\n");
    assert_eq!(ran.code(), 0);
}

#[tokio::test]
async fn names_that_do_not_exist_get_a_suggestion_and_code_6() {
    let project = Project::new();
    for (line, near) in [
        ("ps slate-lihgt-01", "slate-light-01"),
        ("cordon slate-light-1", "slate-light-01"),
        ("run --no-workspace --profile ligth -- true", "light"),
        ("scale ligth=3", "light"),
        ("explain slate-lihgt-01", "slate-light-01"),
        ("explain ligth", "light"),
        ("explain ligh/t", "light"),
    ] {
        let ran = project.run(line).await;
        assert_eq!(ran.code(), 6, "{line}: {}", ran.stderr);
        let hint = format!("did you mean `{near}`?");
        assert!(ran.stderr.contains(&hint), "{line}: {}", ran.stderr);
    }
    assert_eq!(project.run("jobs show job-77").await.code(), 6);
    assert_eq!(project.run("cancel job-77").await.code(), 6);
    let ran = project.run("explain job-77").await;
    assert_eq!(ran.code(), 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("`slate-fleet jobs`"), "{}", ran.stderr);
}

#[tokio::test]
async fn lists_are_tables_for_people_and_documents_for_programs() {
    let project = Project::new();
    let ran = project.run("ps").await;
    let expected = "\
NAME             PROFILE   STATUS           JOB   DONE   LIMITS          NOTE
slate-light-01   light     Idle 2 minutes   -     0      1 CPU, 512MiB
slate-light-02   light     Idle 2 minutes   -     0      1 CPU, 512MiB
";
    assert_eq!(ran.out(), expected);
    assert_eq!(project.run("ps -q").await.out(), "runner-001\nrunner-002\n");
    let lines = project.run("ps --format jsonl").await.out();
    assert_eq!(lines.lines().count(), 2);
    let yaml = project.run("ps --format yaml slate-light-02").await.out();
    assert!(yaml.contains("name: slate-light-02\n"), "{yaml}");
    let summary: serde_json::Value =
        serde_json::from_slice(&project.run("--json").await.stdout).expect("JSON");
    assert_eq!(summary["total_runners"], 2);
    let status = project.run("--status").await.out();
    assert!(status.contains("\nTotal Runners: 2\n"), "{status}");
}

#[tokio::test]
async fn jobs_can_be_listed_waited_for_and_read_again() {
    let project = Project::new();
    project.run("run --no-workspace -- both").await;
    project.run("submit --no-workspace -- true").await;
    let ran = project.run("wait job-1 job-2").await;
    assert_eq!((ran.code(), ran.out().as_str()), (5, "job-1 7\njob-2 0\n"), "{}", ran.stderr);
    assert_eq!(project.run("wait job-1").await.code(), 7);
    assert_eq!(project.run("jobs -q --status failed").await.out(), "job-1\n");
    let ran = project.run("logs job-1").await;
    assert_eq!((ran.stdout.as_slice(), ran.stderr.as_str()), (&b"out\0\xff\n"[..], "err\n"));
    let ran = project.run("logs job-1 job-2").await;
    assert_eq!(ran.stderr, "job-1    | err\n");
    let text = project.run("jobs show 1").await.out();
    assert!(text.starts_with("Job:         job-1\nStatus:      failed (7)\n"), "{text}");
}

#[tokio::test]
async fn scale_asks_for_numbers_and_waits_until_they_are_there() {
    let set = |lasting| Request::Scale(ScaleRequest { target: ScaleTarget::Total(3), lasting });
    let project = Project::new();
    let ran = project.run("--scale 3").await;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert_eq!(project.fake.requests(), [set(None)]);
    assert!(ran.stderr.contains("Runner slate-light-01  Running"), "{}", ran.stderr);
    assert_eq!(project.run("scale 3 --for 2h").await.code(), 0);
    let two_hours = set(Some(std::time::Duration::from_secs(7200)));
    assert_eq!(project.fake.requests(), [set(None), two_hours]);
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_program_quietly() {
    let project = Project::new();
    project.run("run --no-workspace -- long").await;
    let line = format!(
        "{} logs job-1 | head -n 1; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_slate-fleet")
    );
    let output = Command::new("bash")
        .args(["-c", &line])
        .current_dir(project.folder.path())
        .output()
        .await
        .expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0123456789abcdef\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

/// Passes connections on to a fleet's socket; dropped, it breaks them.
struct Door(JoinSet<()>);

impl Door {
    fn open(at: &Path, to: PathBuf) -> Self {
        // There is no door behind the first one.
        let _none = std::fs::remove_file(at);
        let listener = UnixListener::bind(at).expect("a socket");
        let mut connections = JoinSet::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let to = to.clone();
                connections.spawn(async move {
                    let mut there = UnixStream::connect(to).await.expect("the fleet's socket");
                    let _cut = copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
        Self(tasks)
    }
}

#[tokio::test]
async fn a_run_goes_on_where_it_was_when_the_supervisor_comes_back() {
    let project = Project::new();
    let front = project.folder.path().join("front");
    std::fs::create_dir(&front).expect("a folder");
    let socket = front.join("api.sock");
    let mut door = Door::open(&socket, project.fake.state.api_socket());
    let mut child = command(project.folder.path(), "--state-dir front run --no-workspace -- wait")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    until("the job is submitted", || !project.fake.requests().is_empty()).await;
    project.fake.write(JobId(1), Stream::Stdout, 0, b"first\n");
    let mut seen = [0; 6];
    let out = child.stdout.as_mut().expect("a pipe");
    out.read_exact(&mut seen).await.expect("the first line");
    door.0.shutdown().await;
    let _again = Door::open(&socket, project.fake.state.api_socket());
    project.fake.write(JobId(1), Stream::Stdout, 6, b"second\n");
    project.fake.end(JobId(1), JobStatus::Succeeded, Some(0));
    let output = child.wait_with_output().await.expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"second\n", "{stderr}");
    assert!(stderr.contains("the supervisor went away; job-1 goes on"), "{stderr}");
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_wrong_fleet_file_is_shown_whole_and_changes_nothing() {
    let project = Project::new();
    project.file("slate.yaml", "version: 1\npools:\n  - {name: a, profil: light}\n");
    for line in ["up -d", "plan", "config"] {
        let ran = project.run(line).await;
        assert_eq!(ran.code(), 2, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains("slate.yaml:3:"), "{line}: {}", ran.stderr);
        assert!(ran.stderr.ends_with("nothing was changed\n"), "{line}: {}", ran.stderr);
    }
    assert!(project.fake.requests().is_empty());
}

#[tokio::test]
async fn init_writes_a_file_once_that_plan_understands() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ran = run(folder.path(), "--init --minimal").await;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert_eq!(run(folder.path(), "init").await.code(), 2);
    let plan = run(folder.path(), "plan").await;
    assert_eq!(plan.code(), 10, "{}", plan.stderr);
    assert!(plan.out().contains("to create"), "{}", plan.out());
    assert_eq!(run(folder.path(), "config -q").await.code(), 0);
    let schema = run(folder.path(), "config schema").await;
    serde_json::from_slice::<serde_json::Value>(&schema.stdout).expect("a JSON document");
}
