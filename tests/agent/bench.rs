//! A state folder with a server and agents that are ended with the test.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use slate_fleet::agents::{Access, AgentLimits, Agents, AgentsConfig, Clock, Delivery, embedded};
use slate_fleet::fleet::effect::{AgentOrder, JobOrder};
use slate_fleet::fleet::event::{AgentEvent, Held, JobEnd};
use slate_fleet::ids::{AttemptNo, FleetId, IncarnationId, JobId, ProjectName};
use slate_fleet::logs::{Decoder, LogStore, Record};
use slate_fleet::spec::JobUser;
use slate_fleet::state_dir::StateDir;
use slate_fleet::units::{Bytes, Time};
use slate_fleet::wire::frame::Stream;
use tempfile::TempDir;
use tokio::sync::mpsc;

pub const WHO: IncarnationId = IncarnationId(1);

/// Every wait ends with this: far longer than anything takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An agent process; killed with everything that it started when the test ends.
pub struct AgentProcess(pub Child);

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // The agent inherits its job's orphans, so what is below it is all there is. It goes first:
        // it would see to what ends.
        for pid in std::iter::once(self.0.id()).chain(below(self.0.id())) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.0.wait();
    }
}

pub fn below(root: u32) -> Vec<u32> {
    let parents = processes();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

fn processes() -> Vec<(u32, u32)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
    .collect()
}

/// A server and what it hears.
pub struct Bench {
    pub folder: Arc<TempDir>,
    pub state: StateDir,
    pub agents: Arc<Agents>,
    pub logs: Arc<LogStore>,
    facts: mpsc::Receiver<(IncarnationId, AgentEvent)>,
    ahead: Arc<AtomicU64>,
}

impl Bench {
    pub fn new() -> Self {
        Self::open(Arc::new(TempDir::new().unwrap()), Vec::new())
    }

    pub fn open(folder: Arc<TempDir>, admitted: Vec<(IncarnationId, Option<Held>)>) -> Self {
        let state = StateDir::new(folder.path().to_owned());
        let logs = Arc::new(LogStore::new(state.clone(), Bytes::mib(64)).unwrap());
        let (sender, facts) = mpsc::channel(1024);
        let ahead = Arc::new(AtomicU64::new(0));
        let config = AgentsConfig {
            state: state.clone(),
            // Health checks are answered under a name that must be unique on the machine.
            fleet: FleetId::new(folder.path().file_name().unwrap().to_string_lossy()),
            project: ProjectName::new("test"),
            endpoint: format!("unix:{}", state.agent_socket().display()),
            access: Access::for_this_user(),
            limits: AgentLimits::DEFAULT,
            clock: clock(Arc::clone(&ahead)),
            admitted,
        };
        let agents = Agents::start(config, sender, Arc::clone(&logs)).unwrap();
        embedded::install(&state).unwrap();
        for name in ["work", "reports"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder, state, agents, logs, facts, ahead }
    }

    /// The server goes, as if it was killed: sessions break off. Its folder stays.
    pub async fn stop(self) -> Arc<TempDir> {
        self.agents.shutdown().await;
        self.folder
    }

    /// The server is killed, and another one started.
    pub async fn restart(self, admitted: Vec<(IncarnationId, Option<Held>)>) -> Self {
        let folder = self.stop().await;
        Self::open(folder, admitted)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn advance_clock(&self, span: Duration) {
        self.ahead.fetch_add(span.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    pub fn now(&self) -> Time {
        clock(Arc::clone(&self.ahead))()
    }

    /// Starts an agent for an incarnation that is expected already.
    pub fn spawn(&self, who: IncarnationId) -> AgentProcess {
        self.spawn_with(who, &[])
    }

    /// The same with more arguments.
    pub fn spawn_with(&self, who: IncarnationId, more: &[&str]) -> AgentProcess {
        let mut command = Command::new(self.state.agent());
        command
            .arg("--enrolment")
            .arg(self.state.private(who).join("enrol.json"))
            .arg("--work")
            .arg(self.path("work"))
            .arg("--reports")
            .arg(self.path("reports"))
            .args(more)
            .env("SECRET_OF_THE_AGENT", "canary")
            .stdin(Stdio::null());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match command.spawn() {
                Ok(child) => return AgentProcess(child),
                // A process that another test has just forked still holds the file that was
                // written, until it runs its own program.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                    assert!(Instant::now() < deadline, "the agent's file stays busy");
                    std::thread::yield_now();
                }
                Err(error) => panic!("the agent does not start: {error}"),
            }
        }
    }

    /// Expects, starts and waits for one agent.
    pub async fn connected(&mut self) -> AgentProcess {
        self.agents.expect(WHO).unwrap();
        let agent = self.spawn(WHO);
        assert_eq!(self.next().await, AgentEvent::Connected { holding: None });
        agent
    }

    /// The next fact but heartbeats.
    pub async fn next(&mut self) -> AgentEvent {
        loop {
            let fact = tokio::time::timeout(PATIENCE, self.facts.recv()).await;
            match fact.expect("a fact comes in time").expect("the server lives") {
                (_, AgentEvent::Heartbeat) => {}
                (_, event) => return event,
            }
        }
    }

    /// Whether a fact waits.
    pub fn is_quiet(&mut self) -> bool {
        self.facts.is_empty()
    }

    pub fn order(&self, order: AgentOrder) {
        assert_eq!(self.agents.order(WHO, order), Delivery::Sent);
    }

    pub fn assign(&self, job: JobOrder) {
        self.order(AgentOrder::Assign(Box::new(job)));
    }

    pub async fn started(&mut self, job: u64) {
        let started = AgentEvent::Started { job: JobId(job), attempt: AttemptNo(1) };
        assert_eq!(self.next().await, started);
    }

    /// Waits for the end of a job that runs, acknowledges it, and says how it was.
    pub async fn ended(&mut self, job: u64) -> JobEnd {
        let (job, attempt) = (JobId(job), AttemptNo(1));
        match self.next().await {
            AgentEvent::Ended { job: of, end, .. } if of == job => {
                self.order(AgentOrder::Acknowledge { job, attempt });
                self.logs.finish(job, self.now()).unwrap();
                end
            }
            other => panic!("not the end of {job}: {other:?}"),
        }
    }

    /// Runs a job from order to end.
    pub async fn run(&mut self, job: JobOrder) -> JobEnd {
        let id = job.job.0;
        self.assign(job);
        self.started(id).await;
        self.ended(id).await
    }

    /// What a job wrote.
    pub fn written(&self, job: u64, wanted: Stream) -> Vec<u8> {
        let mut decoder = Decoder::default();
        decoder.push(&std::fs::read(self.state.job_log(JobId(job))).unwrap());
        let mut all = Vec::new();
        while let Some(record) = decoder.next_record().unwrap() {
            match record {
                Record::Output { stream, bytes, .. } if stream == wanted => all.extend(bytes),
                Record::Output { .. } | Record::Attempt { .. } | Record::End { .. } => {}
            }
        }
        all
    }

    pub fn stdout(&self, job: u64) -> String {
        String::from_utf8(self.written(job, Stream::Stdout)).unwrap()
    }
}

fn clock(ahead: Arc<AtomicU64>) -> Clock {
    Arc::new(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Time(u64::try_from(now.as_millis()).unwrap() + ahead.load(Ordering::Relaxed))
    })
}

/// A job that runs a shell script as whoever runs the tests.
pub fn script(job: u64, text: &str) -> JobOrder {
    JobOrder {
        job: JobId(job),
        attempt: AttemptNo(1),
        command: ["sh", "-c", text].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("SLATE_JOB".to_owned(), format!("job-{job}"))]),
        proxy: None,
        user: JobUser {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        },
        workspace: None,
        reports: format!("/reports/tests/run-{job}"),
        timeout: Duration::from_secs(60),
        stop_grace: Duration::from_secs(5),
    }
}

/// Waits for a condition that no message tells of.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "in vain waited until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
