//! The real agent as process 1 of real containers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and measure time themselves"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slate_fleet::agents::{
    Access, AgentLimits, Agents, AgentsConfig, Delivery, ENDPOINT, embedded,
};
use slate_fleet::engine::Engine;
use slate_fleet::fleet::effect::{AgentOrder, JobOrder};
use slate_fleet::fleet::event::{AgentEvent, JobEnd};
use slate_fleet::ids::{AttemptNo, ContainerId, IncarnationId, JobId};
use slate_fleet::logs::{Decoder, LogStore, Record};
use slate_fleet::spec::JobUser;
use slate_fleet::units::{Bytes, Time};
use tokio::sync::mpsc;

use crate::world::{PATIENCE, World, with_agent};

const WHO: IncarnationId = IncarnationId(1);
const ATTEMPT: AttemptNo = AttemptNo(1);

/// The agents' side of a world.
struct Side {
    agents: Arc<Agents>,
    logs: Arc<LogStore>,
    facts: mpsc::Receiver<(IncarnationId, AgentEvent)>,
}

impl Side {
    fn open(world: &World) -> Self {
        let state = world.paths.state.clone();
        embedded::install(&state).unwrap();
        let logs = Arc::new(LogStore::new(state.clone(), Bytes::mib(16)).unwrap());
        let (sender, facts) = mpsc::channel(256);
        let config = AgentsConfig {
            state,
            fleet: world.project.fleet.clone(),
            project: world.project.name.clone(),
            endpoint: ENDPOINT.to_owned(),
            access: Access::for_this_user(),
            limits: AgentLimits::DEFAULT,
            clock: Arc::new(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                Time(u64::try_from(now.as_millis()).unwrap())
            }),
            admitted: Vec::new(),
        };
        let agents = Agents::start(config, sender, Arc::clone(&logs)).unwrap();
        Self { agents, logs, facts }
    }

    async fn next(&mut self) -> AgentEvent {
        loop {
            let fact = tokio::time::timeout(PATIENCE, self.facts.recv()).await;
            match fact.expect("a fact in time").expect("a server") {
                (_, AgentEvent::Heartbeat) => {}
                (_, event) => return event,
            }
        }
    }

    fn order(&self, order: AgentOrder) {
        assert_eq!(self.agents.order(WHO, order), Delivery::Sent);
    }

    async fn start(&mut self, job: u64, text: &str) {
        self.order(AgentOrder::Assign(Box::new(script(job, text))));
        assert_eq!(self.next().await, AgentEvent::Started { job: JobId(job), attempt: ATTEMPT });
    }

    async fn end(&mut self, job: u64) -> JobEnd {
        let AgentEvent::Ended { end, .. } = self.next().await else { panic!("not the end") };
        self.order(AgentOrder::Acknowledge { job: JobId(job), attempt: ATTEMPT });
        self.logs.finish(JobId(job), Time(0)).unwrap();
        end
    }

    async fn run(&mut self, job: u64, text: &str) -> JobEnd {
        self.start(job, text).await;
        self.end(job).await
    }

    async fn output(&self, job: u64) -> String {
        let mut reader = self.logs.reader(JobId(job), 0).unwrap();
        let mut decoder = Decoder::default();
        let mut text = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            decoder.push(&piece);
            while let Some(record) = decoder.next_record().unwrap() {
                match record {
                    Record::Output { bytes, .. } => text.extend(bytes),
                    Record::Attempt { .. } | Record::End { .. } => {}
                }
            }
        }
        String::from_utf8(text).unwrap()
    }
}

fn script(job: u64, text: &str) -> JobOrder {
    JobOrder {
        job: JobId(job),
        attempt: ATTEMPT,
        command: ["sh", "-c", text].map(str::to_owned).to_vec(),
        env: BTreeMap::new(),
        proxy: None,
        user: JobUser { uid: 1000, gid: 1000 },
        workspace: None,
        reports: format!("/reports/tests/{job}"),
        timeout: PATIENCE,
        stop_grace: Duration::from_secs(5),
    }
}

async fn connected(world: &World) -> (Side, ContainerId) {
    let mut side = Side::open(world);
    side.agents.expect(WHO).unwrap();
    let begun = Instant::now();
    let id = world.run(&world.plan(WHO.0)).await;
    println!("created and started after {:?}", begun.elapsed());
    assert_eq!(side.next().await, AgentEvent::Connected { holding: None });
    println!("connected after {:?}", begun.elapsed());
    (side, id)
}

#[tokio::test]
async fn the_agent_runs_jobs_as_process_1_and_leaves_nothing_of_them() {
    with_agent("", async |world| {
        let (mut side, id) = connected(world).await;
        let text = "id -u; id -G; pwd; touch made-here; echo report > $SLATE_REPORTS/r; \
                    cat /proc/1/environ 2>&1 | tr -d '\\0' | grep -c Permission; \
                    cat /proc/self/oom_score_adj /proc/1/oom_score_adj; exit 7";
        assert_eq!(side.run(1, text).await, JobEnd::Exited(7));
        assert_eq!(side.output(1).await, "1000\n1000\n/work\n1\n800\n500\n");

        let tree = "trap '' TERM; (setsid setsid sh -c 'trap \"\" TERM; sleep 1000' &); \
                    for n in 1 2 3 4 5; do (sh -c ': orphan' &); done; echo up; \
                    while :; do sleep 1; done";
        side.start(2, tree).await;
        let grace = Duration::from_millis(200);
        side.order(AgentOrder::Cancel { job: JobId(2), attempt: ATTEMPT, grace });
        assert_eq!(side.end(2).await, JobEnd::Cancelled);
        let (left, _) = world.shell(&id, "set -- /proc/[0-9]*; echo $#").await;
        assert_eq!(left.trim(), "2", "process 1 and the shell that counts");
        let (health, code) = world.shell(&id, "/.slate/slate-runner health").await;
        assert_eq!((health.trim(), code), ("healthy: idle, connected", 0));
    })
    .await;
}

fn resident_kib(pid: i64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().filter(|line| line.starts_with("Rss")).for_each(|line| println!("{line}"));
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn an_idle_agent_is_small_and_ends_at_once_when_the_engine_asks() {
    with_agent("", async |world| {
        let (mut side, id) = connected(world).await;
        let pid = world.inspect(&id).await.state.unwrap().pid.unwrap();
        let idle = resident_kib(pid);
        assert_eq!(side.run(1, "head -c 5000000 /dev/zero").await, JobEnd::Exited(0));
        let used = resident_kib(pid);
        println!("resident {idle} KiB, {used} KiB after a job; {} bytes", embedded::size());
        assert!(idle < 3 * 1024 && embedded::size() < 3_000_000, "the goal is 3 MB each");
        let begun = Instant::now();
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(side.next().await, AgentEvent::Disconnected);
        println!("ended {:?} after TERM", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_millis(100));
        world.engine.remove(Some(&id), WHO).await.unwrap();
    })
    .await;
}
