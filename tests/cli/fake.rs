//! A loop that is played: it answers like a supervisor, and jobs follow a script.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slate_fleet::api::Api;
use slate_fleet::api::listen::{self, SocketAccess};
use slate_fleet::fleet::audit::{AuditEntry, Client};
use slate_fleet::fleet::effect::{Answer, Refusal, RefusalKind};
use slate_fleet::fleet::event::{Cordon, JobSpec, Request, TaskEnd};
use slate_fleet::fleet::forge::{ForgeJobView, ForgeRunnerView};
use slate_fleet::fleet::pause::Pause;
use slate_fleet::fleet::stats::StatsView;
use slate_fleet::fleet::view::{
    FleetPhase, FleetView, GpusView, Health, HostView, JobFilter, JobOrder, JobStatus, JobView,
    PlanView, PoolView, RunnerStatus, RunnerView, SizeReason, WaitCode, WaitReason,
};
use slate_fleet::fleet::waiting::PoolQueue;
use slate_fleet::forge::{CallError, Dispatched, RunState};
use slate_fleet::ids::{
    AttemptNo, ContainerId, ForgeRunnerId, IncarnationId, JobId, PoolName, ProfileName,
    ProjectName, ScopeUrl, SlotId,
};
use slate_fleet::logs::LogStore;
use slate_fleet::metrics::{Meters, Scrape};
use slate_fleet::reports::Store;
use slate_fleet::spec::{
    self, ForgeAccess, ForgeKind, ForgePool, ForkJobs, SecretSource, Source, Spec,
};
use slate_fleet::state_dir::StateDir;
use slate_fleet::supervisor::forge_report::ForgeReport;
use slate_fleet::supervisor::gc::GcReport;
use slate_fleet::supervisor::handle::{AuditFilter, DispatchOrder, Handle, Message, Query};
use slate_fleet::supervisor::notifier::LastMessage;
use slate_fleet::supervisor::report_door::ReportPlace;
use slate_fleet::supervisor::usage::UsageReport;
use slate_fleet::units::{Bytes, MilliCpu, Time};
use slate_fleet::wire::frame::{Output, Stream};
use tokio::sync::{mpsc, watch};

/// The fleet file of the played fleet.
pub const FLEET_FILE: &str = "\
version: 1
project: slate
pools:
  - {name: light, profile: light, count: 2}
limits: {workspace_max: 1MiB}
";

/// The moment of every view.
pub const NOW: Time = Time(1_770_552_000_000);

/// What the fleet is and was asked for.
pub struct World {
    pub fleet: FleetView,
    pub jobs: BTreeMap<JobId, JobView>,
    pub audit: Vec<AuditEntry>,
    pub requests: Vec<Request>,
    pub spec: Spec,
    pub usage: UsageReport,
    /// How often the fleet was looked at.
    pub looks: usize,
    /// It answers no question any more.
    pub mute: bool,
    pub stats: StatsView,
    pub forge_jobs: Vec<ForgeJobView>,
    /// Why scaling is refused, if so.
    pub refusal: Option<String>,
    pub report: ForgeReport,
    /// Why no browser is let in to the reports.
    pub shut: Option<String>,
    pub message: Option<LastMessage>,
    pub dispatched: Vec<DispatchOrder>,
    /// What a dispatch is answered with.
    pub begun: Result<Dispatched, CallError>,
    /// What looks at a run are answered with, one after the other; the last one stays.
    pub runs: Vec<RunState>,
}

/// A played supervisor.
pub struct Fake {
    pub world: Arc<Mutex<World>>,
    pub steps: watch::Sender<u64>,
    pub state: StateDir,
    pub api: Arc<Api>,
    logs: Arc<LogStore>,
}

impl Fake {
    /// Plays in a state folder and serves the API there until the runtime ends.
    pub fn start(root: &Path) -> Arc<Self> {
        let state = StateDir::new(root.to_owned());
        std::fs::create_dir_all(root).expect("the state folder can be made");
        let logs = Arc::new(LogStore::new(state.clone(), Bytes::mib(64)).expect("a log store"));
        let (messages, inbox) = mpsc::channel(64);
        let (steps, steps_in) = watch::channel(0);
        let (_never, stuck) = watch::channel(None);
        let handle = Handle::new(messages, steps_in, stuck);
        let api = Api::new(handle, state.clone(), Arc::clone(&logs) as _, Arc::new(|| NOW));
        let world = Arc::new(Mutex::new(World {
            fleet: fleet(),
            jobs: BTreeMap::new(),
            audit: Vec::new(),
            requests: Vec::new(),
            spec: with_reports(root),
            usage: UsageReport::default(),
            looks: 0,
            mute: false,
            stats: StatsView::default(),
            forge_jobs: Vec::new(),
            refusal: None,
            report: ForgeReport::default(),
            shut: None,
            message: None,
            dispatched: Vec::new(),
            begun: Ok(Dispatched { run: None, url: None }),
            runs: Vec::new(),
        }));
        let fake = Arc::new(Self { world, steps, state, api, logs });
        tokio::spawn(play(Arc::clone(&fake), inbox));
        let socket = listen::bind_socket(&fake.api, SocketAccess::Owner).expect("a socket");
        // The sender lives as long as the server: it is never told to stop.
        let (stop, stopped) = watch::channel(false);
        let api = Arc::clone(&fake.api);
        tokio::spawn(async move {
            let _stop = stop;
            listen::serve_socket(api, (socket, 64), stopped).await;
        });
        fake
    }

    /// Changes the world and makes a step.
    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().expect("no player panicked"));
        self.steps.send_modify(|count| *count += 1);
    }

    /// Lets the pool take the jobs of a repository, by the right of a personal token.
    pub fn at_a_forge(&self) {
        self.change(|world| {
            let scope = ScopeUrl::new("https://github.com/acme/site");
            for runner in &mut world.fleet.runners {
                runner.forge = Some(ForgeRunnerView {
                    scope: scope.clone(),
                    name: Some(format!("slate-light-{}-0011aabb", runner.id.0)),
                    id: Some(ForgeRunnerId(20 + u64::from(runner.id.0))),
                    online: Some(true),
                    busy: Some(false),
                    work: None,
                    version: None,
                    hold: None,
                });
            }
            world.spec.pools[0].forge = Some(ForgePool {
                kind: ForgeKind::Github,
                scope,
                access: ForgeAccess::Personal(SecretSource::Variable("GITHUB_PAT".to_owned())),
                labels: vec!["self-hosted".to_owned(), "light".to_owned()],
                group: None,
                repositories: Vec::new(),
                fork_jobs: ForkJobs::Deny,
            });
        });
    }

    pub fn requests(&self) -> Vec<Request> {
        self.world.lock().expect("no player panicked").requests.clone()
    }

    fn answer(self: &Arc<Self>, request: Request) -> Answer {
        let refusal = self.world.lock().expect("no player panicked").refusal.clone();
        if let (Some(why), Request::Scale(_)) = (refusal, &request) {
            return refused(RefusalKind::NoCapacity, &why);
        }
        self.change(|world| world.requests.push(request.clone()));
        match request {
            Request::Submit(spec) => self.submit(*spec),
            Request::SubmitAll(specs) => {
                let first =
                    JobId(self.world.lock().expect("no player panicked").jobs.len() as u64 + 1);
                let last = JobId(first.0 + specs.len() as u64 - 1);
                for spec in specs {
                    self.submit(spec);
                }
                Answer::SubmittedAll { first, last }
            }
            Request::Cancel(id) => self.cancel(id),
            Request::Hold(ids) => self.turn(&ids, true),
            Request::Release(ids) => self.turn(&ids, false),
            Request::Down(_) => {
                self.change(|world| world.fleet.phase = FleetPhase::GoingDown);
                Answer::Accepted
            }
            Request::Complete { job, end } => {
                let status = match end {
                    TaskEnd::Succeeded => JobStatus::Succeeded,
                    TaskEnd::Failed => JobStatus::Failed,
                };
                self.end(job, status, None);
                Answer::Accepted
            }
            Request::Pause { pools, to } => {
                self.change(|world| {
                    let is_it = |it: &&mut PoolView| {
                        pools.is_empty() || pools.contains(&it.name.to_string())
                    };
                    for pool in world.fleet.pools.iter_mut().filter(is_it) {
                        let pause = Pause { since: NOW, by: Client::new("ana") };
                        pool.paused = (to == Cordon::Closed).then_some(pause);
                    }
                });
                Answer::Accepted
            }
            Request::Apply(_)
            | Request::Scale(_)
            | Request::Cordon { .. }
            | Request::CordonCards { .. }
            | Request::Restart { .. }
            | Request::Token { .. } => Answer::Accepted,
        }
    }

    fn submit(self: &Arc<Self>, spec: JobSpec) -> Answer {
        if let Some(wrong) = spec.profile.as_ref().filter(|profile| profile.as_str() != "light") {
            return refused(RefusalKind::NotFound, &format!("there is no profile `{wrong}`"));
        }
        let mut id = JobId(0);
        self.change(|world| {
            id = JobId(world.jobs.len() as u64 + 1);
            world.jobs.insert(id, queued(id, spec));
        });
        tokio::spawn(script(Arc::clone(self), id));
        Answer::Submitted(id)
    }

    fn cancel(&self, id: JobId) -> Answer {
        if !self.world.lock().expect("no player panicked").jobs.contains_key(&id) {
            return refused(RefusalKind::NotFound, &format!("there is no job `{id}`"));
        }
        self.end(id, JobStatus::Cancelled, None);
        Answer::Accepted
    }

    /// Puts jobs on hold, or takes them off it; all or none.
    fn turn(&self, ids: &[JobId], to_hold: bool) -> Answer {
        let known = self.world.lock().expect("no player panicked").jobs.clone();
        if let Some(id) = ids.iter().find(|id| !known.contains_key(id)) {
            return refused(RefusalKind::NotFound, &format!("there is no {id}"));
        }
        self.change(|world| {
            for (id, job) in world.jobs.iter_mut().filter(|(id, _)| ids.contains(id)) {
                let wait = WaitReason::Held { job: *id, since: NOW, by: Client::new("ana") };
                let wait = Some(wait).filter(|_| to_hold);
                job.reason_code = wait.as_ref().map(WaitReason::code);
                job.reason = wait.as_ref().map(ToString::to_string);
                (job.wait, job.position) = (wait, (!to_hold).then_some(1));
            }
            let count = u32::try_from(ids.len()).expect("few");
            let FleetView { queued, held, .. } = &mut world.fleet;
            let (from, to) = if to_hold { (queued, held) } else { (held, queued) };
            (*from, *to) = (from.saturating_sub(count), *to + count);
        });
        Answer::Accepted
    }

    /// Writes a job's output as its agent would.
    pub fn write(&self, job: JobId, stream: Stream, offset: u64, text: &[u8]) {
        let bytes = text.to_vec();
        let output = Output { stream, job, attempt: AttemptNo(1), offset, bytes };
        self.logs.append(&output, NOW).expect("the log can be written");
    }

    /// Ends a job's log and then the job, as a supervisor does.
    pub fn end(&self, id: JobId, status: JobStatus, exit_code: Option<i32>) {
        self.logs.finish(id, NOW).expect("the log can be ended");
        self.change(|world| {
            if let Some(job) = world.jobs.get_mut(&id).filter(|job| !job.status.is_final()) {
                job.status = status;
                job.exit_code = exit_code;
                job.position = None;
                job.reason = (status != JobStatus::Failed).then(|| "as told".to_owned());
                job.ended_at = Some(NOW);
            }
        });
    }
}

/// The spec with a report store that is there.
fn with_reports(root: &Path) -> Spec {
    let mut spec = spec();
    spec.reports.path = root.join("reports");
    std::fs::create_dir_all(&spec.reports.path).expect("a folder");
    spec
}

fn refused(kind: RefusalKind, message: &str) -> Answer {
    Answer::Refused(Refusal { kind, message: message.to_owned() })
}

async fn play(fake: Arc<Fake>, mut inbox: mpsc::Receiver<Message>) {
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Request { request, reply, .. } => drop(reply.send(fake.answer(request))),
            Message::Query(query) => tell(&fake, query),
        }
    }
}

fn tell(fake: &Fake, query: Query) {
    let mut world = fake.world.lock().expect("no player panicked");
    if world.mute {
        return;
    }
    match query {
        Query::Fleet(reply) => {
            world.looks += 1;
            drop(reply.send(Arc::new(world.fleet.clone())));
        }
        Query::Metrics(reply) => drop(reply.send(scrape(&world))),
        Query::Jobs(filter, reply) => drop(reply.send(jobs(&world, &filter))),
        Query::Job(id, reply) => drop(reply.send(world.jobs.get(&id).cloned())),
        Query::Waiting(_, reply) => drop(reply.send(None)),
        Query::WaitingFor(_, reply) => drop(reply.send(PoolQueue::default())),
        Query::Audit(filter, reply) => drop(reply.send(entries(&world, &filter))),
        Query::Plan(_, reply) => {
            drop(reply.send(PlanView::default()));
        }
        Query::Usage(reply) => drop(reply.send(world.usage.clone())),
        Query::Stats(_, reply) => drop(reply.send(world.stats.clone())),
        Query::Gc(_, reply) => drop(reply.send(GcReport::default())),
        Query::Room(reply) => drop(reply.send(Ok(spec().limits.workspace_max))),
        Query::Spec(reply) => drop(reply.send(world.spec.clone())),
        Query::ForgeJobs(limit, reply) => {
            drop(reply.send(world.forge_jobs.iter().take(limit).cloned().collect()));
        }
        Query::ForgeReport(reply) => drop(reply.send(world.report.clone())),
        Query::Reports(reply) => {
            let store = Store::new(world.spec.reports.path.clone());
            let trouble = world.shut.clone();
            let url = trouble.is_none().then(|| "http://localhost:9190".to_owned());
            drop(reply.send(ReportPlace { store, url, trouble }));
        }
        Query::LastMessage(reply) => drop(reply.send(world.message.clone())),
        Query::Dispatch(order, reply) => {
            world.dispatched.push(order);
            drop(reply.send(world.begun.clone()));
        }
        Query::ForgeRun(_, reply) => {
            let first = world.runs.first().cloned().expect("a script of the run");
            if world.runs.len() > 1 {
                world.runs.remove(0);
            }
            drop(reply.send(Ok(first)));
        }
    }
}

fn scrape(world: &World) -> Scrape {
    Scrape {
        meters: Arc::new(Meters::new().expect("names that are right")),
        fleet: Arc::new(world.fleet.clone()),
        waiting: BTreeMap::new(),
        budgets: BTreeMap::new(),
        webhooks: None,
        audit_head: 0,
    }
}

fn entries(world: &World, filter: &AuditFilter) -> Vec<AuditEntry> {
    let later = world.audit.iter().filter(|entry| entry.seq > filter.after);
    let too_many = match filter.after {
        0 => world.audit.len().saturating_sub(filter.limit),
        _ => 0,
    };
    later.skip(too_many).take(filter.limit).cloned().collect()
}

fn jobs(world: &World, filter: &JobFilter) -> Vec<JobView> {
    let wanted = |job: &&JobView| {
        (filter.statuses.is_empty() || filter.statuses.contains(&job.status))
            && filter.before.is_none_or(|before| job.id < before)
            && (filter.lane.is_none() || filter.lane == job.spec.lane)
    };
    let mut jobs: Vec<JobView> = world.jobs.values().rev().filter(wanted).cloned().collect();
    if filter.order == JobOrder::Queue {
        let is_held = |job: &JobView| job.reason_code == Some(WaitCode::Held);
        jobs.retain(|job| job.position.is_some() || is_held(job));
        jobs.sort_by_key(|job| (job.position.is_none(), job.position));
    }
    jobs.truncate(filter.limit);
    jobs
}

/// What becomes of a job, by its program's name.
async fn script(fake: Arc<Fake>, id: JobId) {
    let program = fake.world.lock().expect("no player panicked").jobs[&id].spec.command[0].clone();
    match program.as_str() {
        "both" => {
            fake.write(id, Stream::Stdout, 0, b"out\0\xff\n");
            fake.write(id, Stream::Stderr, 0, b"err\n");
            fake.end(id, JobStatus::Failed, Some(7));
        }
        "long" => {
            let line = b"0123456789abcdef\n".repeat(4096);
            for piece in 0..64 {
                fake.write(id, Stream::Stdout, piece * line.len() as u64, &line);
                tokio::task::yield_now().await;
            }
            fake.end(id, JobStatus::Succeeded, Some(0));
        }
        "late" => fake.end(id, JobStatus::TimedOut, None),
        // Waits until somebody ends it.
        "wait" => {}
        _ => fake.end(id, JobStatus::Succeeded, Some(0)),
    }
}

fn spec() -> Spec {
    let source = Source {
        path: "slate.yaml".to_owned(),
        text: FLEET_FILE.to_owned(),
        base: "/nowhere".into(),
    };
    spec::load(&[source], &BTreeMap::new()).expect("the fleet file is valid").spec
}

fn fleet() -> FleetView {
    FleetView {
        project: ProjectName::new("slate"),
        at: NOW,
        phase: FleetPhase::Ready,
        troubles: Vec::new(),
        max_parallel_workflows: 8,
        runners: vec![runner(1), runner(2)],
        pools: vec![PoolView {
            name: PoolName::new("light"),
            profile: ProfileName::new("light"),
            desired: 2,
            min: 2,
            max: 2,
            why: SizeReason::File,
            paused: None,
            waiting: 0,
            idle: 2,
            running: 0,
            error: 0,
            spares: 0,
            scaled: false,
        }],
        gpus: GpusView::default(),
        forges: Vec::new(),
        disks: Vec::new(),
        queued: 0,
        held: 0,
        running: 0,
        oldest: None,
        lanes: Vec::new(),
        host: HostView::default(),
    }
}

fn runner(number: u32) -> RunnerView {
    RunnerView {
        id: SlotId(number),
        name: format!("slate-light-{number:02}"),
        pool: PoolName::new("light"),
        profile: ProfileName::new("light"),
        downgrade: None,
        forge: None,
        labels: Vec::new(),
        gpu: None,
        status: RunnerStatus::Idle,
        since: Time(NOW.0 - 120_000),
        cordon: Cordon::Open,
        incarnation: Some(IncarnationId(u64::from(number))),
        container: Some(ContainerId::new("0123456789abcdef")),
        container_name: None,
        image: "slate-runner:latest".to_owned(),
        job: None,
        task: None,
        tasks_completed: 0,
        cpus: MilliCpu::cpus(1),
        memory: Bytes::mib(512),
        reason: None,
        last_failure: None,
        health: Health::Healthy,
        heard: None,
    }
}

fn queued(id: JobId, spec: JobSpec) -> JobView {
    JobView {
        id,
        spec,
        profile: ProfileName::new("light"),
        raised: None,
        reports: format!("jobs/{id}"),
        status: JobStatus::Queued,
        attempt: AttemptNo(0),
        runner: None,
        runner_name: None,
        queued_at: NOW,
        assigned_at: None,
        started_at: None,
        ended_at: None,
        exit_code: None,
        reason: Some("both runners are busy".to_owned()),
        reason_code: None,
        wait: None,
        fault: None,
        attempts: Vec::new(),
        gpu_time: None,
        position: Some(1),
    }
}

/// Waits for something, with a bound.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let bound = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        assert!(tokio::time::Instant::now() < bound, "waited in vain: {what}");
        looks.tick().await;
    }
}
