//! A stand-in for GitHub's runner in a temporary folder: strict about its files, and no more than a
//! script.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slate_fleet::agents::Credential;
use slate_fleet::fleet::effect::AgentOrder;
use slate_fleet::fleet::event::AgentEvent;
use slate_fleet::fleet::forge::{
    Enlistment, ListenMode, ListenOrder, ListenerEnd, ListenerStage, ListenerStatus, WorkFact,
};
use slate_fleet::ids::ScopeUrl;
use slate_fleet::spec::{DockerAccess, ForgeKind, ForkJobs, JobUser};

use super::bench::{AgentProcess, Bench, WHO};

/// All waits of a listener are so many times shorter: a stuck one is known after 3 s.
pub const HURRY: u32 = 60;

pub const NAME: &str = "homelab-runner-1";

/// The token that the stand-in takes.
pub const TOKEN: &str = "good-token-canary";

const URL: &str = "https://github.com/me/site";

/// The runner's root, and what is done to it.
pub struct StandIn {
    pub folder: PathBuf,
}

impl StandIn {
    pub fn install(bench: &Bench) -> Self {
        let folder = bench.path("listeners");
        let root = folder.join("root");
        for below in ["bin", "control"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        for (name, text) in [
            ("Runner.Listener", include_str!("stand_in/listener.sh")),
            ("Runner.Worker", include_str!("stand_in/worker.sh")),
            ("act_runner", include_str!("stand_in/act_runner.sh")),
        ] {
            let path = root.join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let stand_in = Self { folder };
        stand_in.tell("event.json", r#"{"repository":{"id":1}}"#);
        stand_in.sent(1);
        stand_in
    }

    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub fn control(&self, name: &str) -> PathBuf {
        self.root().join("control").join(name)
    }

    /// Puts a file into its control folder, as a whole.
    pub fn tell(&self, name: &str, text: &str) {
        let fresh = self.control(&format!("{name}.new"));
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.control(name)).unwrap();
    }

    pub fn told(&self, name: &str) -> String {
        fs::read_to_string(self.control(name)).unwrap_or_default()
    }

    /// The kernel's counters, as the agent will read them.
    pub fn sent(&self, segments: u64) {
        let text = format!("TcpExt: A TCPOrigDataSent\nTcpExt: 1 {segments}\n");
        fs::write(self.folder.join("netstat"), text).unwrap();
    }

    /// Starts an agent that finds the stand-in, and waits for it.
    pub async fn connected(&self, bench: &mut Bench) -> AgentProcess {
        bench.agents.expect(WHO).unwrap();
        let agent = self.spawn(bench);
        assert_eq!(bench.next().await, AgentEvent::Connected { holding: None });
        agent
    }

    pub fn spawn(&self, bench: &Bench) -> AgentProcess {
        let folder = self.folder.display().to_string();
        bench.spawn_with(WHO, &["--listeners", &folder, "--hurry", &HURRY.to_string()])
    }
}

/// A registration for one job, as GitHub packs it.
pub fn blob() -> String {
    let settings = "\u{feff}{\"agentId\":\"41\",\"agentName\":\"homelab-runner-1\",\
                    \"workFolder\":\"_work\",\"gitHubUrl\":\"\",\"ephemeral\":true}";
    let files = BTreeMap::from([
        (".runner", STANDARD.encode(settings)),
        (".credentials", STANDARD.encode("{}")),
        (".credentials_rsaparams", STANDARD.encode("key-canary")),
    ]);
    STANDARD.encode(serde_json::to_vec(&files).unwrap())
}

/// Orders a listener with what it registers with.
pub fn listen(bench: &Bench, credential: Credential) {
    listen_at(bench, ForgeKind::Github, credential);
}

/// The same at any forge.
pub fn listen_at(bench: &Bench, kind: ForgeKind, credential: Credential) {
    let mode = match &credential {
        Credential::OneJob(_) => ListenMode::OneJob,
        Credential::Kept(_) => ListenMode::Kept { variable: "RUNNER_TOKEN_{n}".to_owned() },
    };
    bench.agents.grant(WHO, credential);
    let order = ListenOrder {
        name: NAME.to_owned(),
        enlistment: Enlistment {
            kind,
            scope: ScopeUrl::new(URL),
            labels: vec!["self-hosted".to_owned(), "gpu".to_owned()],
            group: None,
            mode,
            fork_jobs: ForkJobs::Deny,
        },
        token_env: None,
        proxy: None,
        user: JobUser {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        },
        env: BTreeMap::from([("FLEET_SAYS".to_owned(), "hello".to_owned())]),
        docker: DockerAccess::None,
    };
    bench.order(AgentOrder::Listen(Box::new(order)));
}

pub fn kept(token: &str) -> Credential {
    Credential::Kept(Some(token.to_owned()))
}

/// The next status.
pub async fn next(bench: &mut Bench) -> ListenerStatus {
    match bench.next().await {
        AgentEvent::Listener(status) => status,
        other => panic!("not a status: {other:?}"),
    }
}

/// Statuses until one is in a stage; that one.
pub async fn until_stage(
    bench: &mut Bench,
    what: &str,
    is: impl Fn(&ListenerStatus) -> bool,
) -> ListenerStatus {
    let mut seen = Vec::new();
    for _ in 0..20 {
        match bench.next().await {
            AgentEvent::Listener(status) if is(&status) => return status,
            AgentEvent::Listener(status) => seen.push(status),
            AgentEvent::Connected { .. } | AgentEvent::Disconnected => {}
            other => panic!("not a status: {other:?}"),
        }
    }
    panic!("never {what}: {seen:?}");
}

pub async fn listening(bench: &mut Bench) -> ListenerStatus {
    until_stage(bench, "listening", |it| it.stage == ListenerStage::Listening).await
}

/// Until the job is known as far as it says what it is.
pub async fn working(bench: &mut Bench) -> WorkFact {
    let is = |it: &ListenerStatus| matches!(&it.stage, ListenerStage::Working(work) if work.run.is_some());
    match until_stage(bench, "working", is).await.stage {
        ListenerStage::Working(work) => work,
        other => panic!("{other:?}"),
    }
}

pub async fn over(bench: &mut Bench) -> (ListenerEnd, u32) {
    let status = until_stage(bench, "over", |it| matches!(it.stage, ListenerStage::Over(_))).await;
    match status.stage {
        ListenerStage::Over(end) => (end, status.jobs),
        other => panic!("{other:?}"),
    }
}

/// Every file below a folder whose text has this in it.
pub fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                        found.push(entry.path());
                    }
                }
                _ => {}
            }
        }
    }
    found
}
