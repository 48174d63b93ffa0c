//! One test's fleet: a folder, a project of its own, and an end that leaves nothing behind.

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::docker::{self, PROJECT_LABEL, TEST_LABEL};
use crate::process::{self, Output, Running, wait_until};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_slate-fleet");

/// Fleets of one test process at a time; more only make each other slower.
const AT_ONCE: usize = 3;

/// A light runner, and a spare beside it.
pub const ONE_LIGHT: &str = "pools: [{name: light, profile: light}]\n";

/// A light runner alone.
pub const NO_SPARE: &str = "pools: [{name: light, profile: light, spares: 0}]\n";

/// Holds a job until [`open_gate`].
pub const GATE: &str = "until [ -e /tmp/go ]; do sleep 0.05; done";

/// Lets the job in this container go on that waits at its [`GATE`].
pub fn open_gate(container: &str) {
    docker::docker(&["exec", container, "touch", "/tmp/go"]).ok();
}

/// Cleans up when its standard input closes: when the test ends, or dies in whatever way.
///
/// Arguments: program, folder, project, the two labels. Prints what `down` had to leave.
const GUARD: &str = r#"
cat >/dev/null
cd "$2" || exit 1
timeout 90 "$1" --progress quiet down -v --timeout 60s </dev/null || bad=1
pid=$(cat .slate/supervisor.lock 2>/dev/null)
if [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$2"; then
  kill -9 "$pid"
fi
awk -v folder="$2/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | xargs -r umount -l
filter="label=$4=$3"
left=$(docker ps -aq --filter "$filter"; docker volume ls -q --filter "$filter")
[ -z "$left" ] || { echo "down left $left"; bad=1; }
docker ps -aq --filter "$filter" | xargs -r docker rm -fv
docker ps -aq --filter "label=$5=$3" | xargs -r docker rm -fv
docker volume ls -q --filter "$filter" | xargs -r docker volume rm -f
docker volume ls -q --filter "label=$5=$3" | xargs -r docker volume rm -f
docker network ls -q --filter "$filter" | xargs -r docker network rm
docker network ls -q --filter "label=$5=$3" | xargs -r docker network rm
docker images -q --filter "label=$5=$3" | xargs -r docker rmi -f
cd / && rm -rf "$2"
[ -z "$bad" ]
"#;

/// A fleet that is not up yet.
pub struct Fleet {
    pub project: String,
    folder: TempDir,
    guard: Option<Child>,
    hosts: Hosts,
    env: Vec<(&'static str, PathBuf)>,
    _turn: Turn,
}

/// Engines other than the machine's own.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// What the fleet uses.
    pub fleet: Option<String>,
    /// What looks at it and cleans up use: another way to the same engine.
    pub test: Option<String>,
}

/// A place among the fleets that may be up at a time.
struct Turn(());

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Turn {
    fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = FREED
            .wait_while(taken, |taken| *taken >= AT_ONCE)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self(())
    }

    /// For a second fleet of a test: waiting for it while holding the first could last for ever.
    fn none() -> Self {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}

impl Fleet {
    /// A folder with a fleet file of this content; version and project are put before it.
    pub fn new(content: &str) -> Self {
        Self::on(Hosts::default(), content)
    }

    /// A fleet of its own on another engine, or on another way to this one.
    pub fn on(hosts: Hosts, content: &str) -> Self {
        Self::make(content, Turn::take(), hosts)
    }

    /// A second fleet of a test that has its turn.
    pub fn beside(content: &str) -> Self {
        Self::make(content, Turn::none(), Hosts::default())
    }

    fn make(content: &str, turn: Turn, hosts: Hosts) -> Self {
        docker::need_runner_image();
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let project = format!("it-{}-{number}", std::process::id());
        let folder = TempDir::with_prefix(format!("slate-{project}-")).expect("a folder");
        let guard = guard(folder.path(), &project, hosts.test.as_deref());
        let fleet =
            Self { project, folder, guard: Some(guard), hosts, env: Vec::new(), _turn: turn };
        fleet.edit(content);
        fleet
    }

    /// A fleet that is up.
    pub fn up(content: &str) -> Self {
        let fleet = Self::new(content);
        fleet.cli(&["up", "-d"]).ok();
        fleet
    }

    /// Every command line has this variable from now on.
    pub fn with_env(mut self, name: &'static str, value: PathBuf) -> Self {
        self.env.push((name, value));
        self
    }

    /// Replaces the fleet file.
    pub fn edit(&self, content: &str) {
        self.write("slate.yaml", format!("version: 1\nproject: {}\n{content}", self.project));
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file of the folder, with its folders.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("written");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The command line, in the fleet's folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(self.folder());
        for name in ["SLATE_STATE_DIR", "SLATE_LISTEN", "SLATE_PROJECT", "SLATE_LOG"] {
            command.env_remove(name);
        }
        if let Some(host) = &self.hosts.fleet {
            command.env("DOCKER_HOST", host);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `docker` on the fleet's engine.
    pub fn docker(&self, args: &[&str]) -> Output {
        docker::docker_at(self.hosts.test.as_deref(), args)
    }

    /// Runs a command line to its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        process::run(self.command(args))
    }

    /// Starts a command line.
    pub fn start(&self, args: &[&str]) -> Running {
        process::start(self.command(args))
    }

    /// Runs a shell script as a job, without sending a folder.
    pub fn job(&self, script: &str) -> Output {
        self.cli(&["run", "--no-workspace", "--", "sh", "-c", script])
    }

    /// Starts `run` with a shell script.
    pub fn start_job(&self, script: &str) -> Running {
        self.start(&["run", "--no-workspace", "--", "sh", "-c", script])
    }

    /// Hands in a shell script; its id.
    pub fn submit(&self, script: &str) -> String {
        self.submit_with(&[], script)
    }

    /// Hands in a shell script with options; its id.
    pub fn submit_with(&self, options: &[&str], script: &str) -> String {
        let head = ["submit", "--no-workspace"];
        self.cli(&[&head, options, &["--", "sh", "-c", script]].concat()).ok().word()
    }

    /// One job as JSON.
    pub fn show(&self, job: &str) -> Value {
        self.cli(&["jobs", "show", job, "--format", "json"]).ok().json()
    }

    /// A job's state in one word.
    pub fn status_of(&self, job: &str) -> String {
        self.show(job)["status"].as_str().expect("a word").to_owned()
    }

    pub fn wait_for_status(&self, job: &str, status: &str) {
        wait_until(&format!("{job} is {status}"), || {
            let shown = self.cli(&["jobs", "show", job, "--format", "json"]);
            shown.code == 0 && shown.json()["status"] == status
        });
    }

    /// The runners as JSON.
    pub fn runners(&self) -> Vec<Value> {
        let listed = self.cli(&["ps", "--format", "json"]).ok().json();
        listed.as_array().expect("a list").clone()
    }

    /// Full ids of the containers in the slots.
    pub fn containers(&self) -> Vec<String> {
        let id = |runner: &Value| runner["container"].as_str().unwrap_or_default().to_owned();
        self.runners().iter().map(id).collect()
    }

    /// Events as `object what why`, oldest first.
    pub fn events(&self) -> Vec<String> {
        let listed = self.cli(&["events", "-n", "2000", "--format", "json"]).ok().json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |event: &Value| {
            format!("{} {} {}", text(&event["object"]), text(&event["what"]), text(&event["why"]))
        };
        listed.as_array().expect("a list").iter().map(line).collect()
    }

    /// Waits until this many runners and spares wait for jobs, and nothing is under way.
    pub fn settle(&self, containers: u64) {
        self.cli(&["wait"]).ok();
        wait_until("the spares are there and used containers gone", || {
            let view = self.view();
            let count = |pool: &Value| {
                pool["idle"].as_u64().unwrap_or(0) + pool["spares"].as_u64().unwrap_or(0)
            };
            let ready: u64 = view["pools"].as_array().expect("pools").iter().map(count).sum();
            let all = docker::containers_at(self.hosts.test.as_deref(), &self.project).len() as u64;
            (ready, all, self.running()) == (containers, containers, containers)
        });
    }

    fn running(&self) -> u64 {
        let filter = format!("label={PROJECT_LABEL}={}", self.project);
        self.docker(&["ps", "-q", "--filter", &filter]).ok().lines().len() as u64
    }

    /// The fleet as the API shows it.
    pub fn view(&self) -> Value {
        crate::http::over_socket(&self.path(".slate/api.sock"), "/api/v1/fleet").json()
    }

    /// The supervisor's process.
    pub fn supervisor(&self) -> Pid {
        let pid = self.read(".slate/supervisor.lock");
        pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Kills the supervisor, and waits until it is gone.
    pub fn kill_supervisor(&self) {
        let pid = self.supervisor();
        kill_process(pid, Signal::KILL).expect("killed");
        // Its threads may still hold the socket when the process counts as dead.
        wait_until("the supervisor is gone", || {
            !is_alive(pid) && UnixStream::connect(self.path(".slate/api.sock")).is_err()
        });
    }

    fn tell_state(&self) {
        let log = fs::read_to_string(self.path(".slate/supervisor.log")).unwrap_or_default();
        let from = log.len().saturating_sub(8000);
        eprintln!("--- supervisor.log of {}\n{}", self.project, log.get(from..).unwrap_or(&log));
        for args in [&["ps", "--format", "wide"][..], &["jobs"], &["events", "-n", "60"]] {
            let told = self.cli(args);
            eprintln!("--- {}\n{}{}", args[0], told.out(), told.err());
        }
    }
}

/// Whether a process runs; one that is dead and not buried does not.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

fn guard(folder: &Path, project: &str, host: Option<&str>) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "guard", PROGRAM]).arg(folder);
    command.args([project, PROJECT_LABEL, TEST_LABEL]).current_dir("/");
    // Ctrl-C in the terminal of the tests is not for it.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["SLATE_STATE_DIR", "SLATE_LISTEN", "SLATE_PROJECT", "SLATE_LOG"] {
        command.env_remove(name);
    }
    if let Some(host) = host {
        command.env("DOCKER_HOST", host);
    }
    command.spawn().expect("a shell")
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            self.tell_state();
        }
        let Some(mut guard) = self.guard.take() else { return };
        drop(guard.stdin.take());
        let ended = guard.wait_with_output().expect("the guard's end");
        let told = [ended.stdout, ended.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        if !ended.status.success() {
            eprintln!("cleaning up after {}:\n{told}", self.project);
        }
        assert!(failed || ended.status.success(), "the fleet did not go away cleanly: {told}");
    }
}
