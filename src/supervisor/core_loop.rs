//! The only loop that feeds the core: take in, decide, record, then act.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::clock::Stopwatch;
use super::executor::Executor;
use super::forges::Forges;
use super::gc::{self, GcOrder};
use super::handle::{Handle, Message, Query};
use super::keeper::Keeper;
use super::notifier::{self, Fate};
use super::recorder::Recorder;
use super::report_door::ReportDoor;
use super::runners_file;
use super::start::Parts;
use super::{Intent, Options, SupervisorError, usage};
use crate::api::listen::{self, SocketAccess};
use crate::api::{Api, door::Door, logs::JobLogs, peer::Peer};
use crate::engine::Engine;
use crate::failpoint::{reach, variant};
use crate::fleet::Fleet;
use crate::fleet::audit::Client;
use crate::fleet::disk::DiskFacts;
use crate::fleet::effect::{Answer, Effect};
use crate::fleet::event::{AgentEvent, Event, Request};
use crate::fleet::forge::ForgeEvent;
use crate::fleet::gpu::GpuReport;
use crate::fleet::view::FleetView;
use crate::ids::{FleetId, RequestId};
use crate::metrics::{Lives, Meters, Scrape};
use crate::spec::Notify;
use crate::units::Time;

/// Requests that wait for the loop; beyond it clients wait.
const MESSAGES_MAX: usize = 1024;
/// Facts and requests taken into one step, and so into one transaction.
const BATCH_MAX: usize = 512;
/// Deadlines of the core are seconds; it is told of the time this often.
const TICK: Duration = Duration::from_secs(1);
/// How long clients may take to read the last answer.
const FAREWELL: Duration = Duration::from_secs(3);

/// The loop's own things.
struct Loop<E> {
    fleet: Fleet,
    recorder: Recorder,
    executor: Arc<Executor<E>>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    last_request: RequestId,
    steps: watch::Sender<u64>,
    heartbeats: Vec<Event>,
    meters: Arc<Meters>,
    lives: Lives,
    notify: watch::Sender<Option<Notify>>,
    /// How the last message fared.
    fate: Fate,
    reports: ReportDoor,
    /// Made when it is asked for, good until the next step.
    view: OnceLock<Arc<FleetView>>,
    /// A spec came since the forges and the reports were told of one.
    has_new_spec: bool,
    is_finished: bool,
}

/// Serves the API and steps the core until the fleet is down.
pub(super) async fn run<E: Engine>(
    options: &Options,
    parts: Parts<E>,
    mut events: mpsc::Receiver<Event>,
    cards: &GpuReport,
    runners_file: runners_file::Writer,
) -> Result<(), SupervisorError> {
    let (messages_out, mut messages) = mpsc::channel(MESSAGES_MAX);
    let (steps, steps_in) = watch::channel(0);
    let (stuck, stuck_in) = watch::channel(None);
    let recorder = Recorder {
        keeper: Keeper::new(options.state.audit_head()),
        store: parts.store,
        ballast: parts.disks.ballast,
        look_soon: parts.disks.soon,
        stuck,
        meters: parts.meters,
    };
    let mut it = Loop::new(parts.fleet, recorder, parts.executor, parts.lives, steps);
    let handle = Handle::new(messages_out, steps_in, stuck_in);
    let logs: Arc<dyn JobLogs> = parts.logs;
    let clock = it.executor.clock().reader();
    let api = Api::new(handle.clone(), options.state.clone(), logs, clock);
    *api.door().await = Door::new(options.listen.clone(), parts.connections.api);
    // Before anything is done: an address that cannot be had must not leave half a fleet.
    let wanted = options.spec.as_ref().unwrap_or(it.fleet.spec());
    let turn = api.door().await.take(None, &wanted.api).await?;
    let known = known(options, parts.identity, cards, parts.disks.found);
    it.begin(options, parts.rolled_back.into_iter().chain(known).collect()).await?;
    let file = runners_file::start(&handle, runners_file);
    let _notifier = notifier::start(handle, it.notify.subscribe(), it.means());
    let (stop, stopped) = watch::channel(false);
    let socket = (listen::bind_socket(&api, SocketAccess::Owner)?, parts.connections.api);
    let socket = tokio::spawn(listen::serve_socket(Arc::clone(&api), socket, stopped));
    api.door().await.turn(&api, turn);
    let (mut ticks, mut collections) = clocks();
    while !it.is_finished {
        let mut batch = Batch::default();
        tokio::select! {
            Some(event) = events.recv() => it.keep(event, &mut batch),
            Some(message) = messages.recv() => it.sort(message, &mut batch),
            _ = collections.tick() => {
                it.executor.gc(it.fleet.holdings(), GcOrder::default(), None);
            }
            due = ticks.tick() => {
                it.meters.lagged(due.elapsed());
                it.keep_record();
                batch.events.append(&mut it.heartbeats);
                batch.events.push(Event::Tick);
            }
        }
        it.drain(&mut events, &mut messages, &mut batch);
        it.step(batch, &mut messages).await?;
    }
    it.close(file);
    drop(messages);
    stop.send_replace(true);
    let port = api.door().await.shut();
    farewell(&it.executor, [Some(socket), port]).await;
    Ok(())
}

/// When the core is told of the time, and when what is kept too long is removed.
fn clocks() -> (Interval, Interval) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut collections = interval(gc::EVERY);
    collections.reset();
    (ticks, collections)
}

/// What one step takes in and whom it tells.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    queries: Vec<Query>,
}

impl<E: Engine> Loop<E> {
    fn new(
        fleet: Fleet,
        recorder: Recorder,
        executor: Arc<Executor<E>>,
        lives: Lives,
        steps: watch::Sender<u64>,
    ) -> Self {
        Self {
            fleet,
            meters: Arc::clone(&recorder.meters),
            recorder,
            executor,
            waiting: BTreeMap::new(),
            last_request: RequestId(0),
            steps,
            heartbeats: Vec::new(),
            lives,
            notify: watch::Sender::new(None),
            fate: Fate::default(),
            reports: ReportDoor::default(),
            view: OnceLock::new(),
            has_new_spec: false,
            is_finished: false,
        }
    }

    /// Tells the core what it starts with; a spec that is refused ends the start, nothing changed.
    async fn begin(
        &mut self,
        options: &Options,
        events: Vec<Event>,
    ) -> Result<(), SupervisorError> {
        let mut batch = Batch { events, queries: Vec::new() };
        // Nobody can ask anything yet, so nobody waits while the state cannot be written.
        let (_nobody, mut messages) = mpsc::channel(1);
        // Also without a request there is a spec: the recorded one.
        self.has_new_spec = true;
        let request = match (options.intent, &options.spec) {
            (Intent::Remove(mode), _) => Some(Request::Down(mode)),
            (Intent::Keep, Some(spec)) => Some(Request::Apply(Box::new(spec.clone()))),
            (Intent::Keep, None) => None,
        };
        let Some(request) = request else { return self.step(batch, &mut messages).await };
        let (reply, mut answer) = oneshot::channel();
        // Whoever started the supervisor asks by that.
        let by = Peer::User(rustix::process::getuid().as_raw()).client();
        self.intake(by, request, reply, &mut batch);
        self.step(batch, &mut messages).await?;
        match answer.try_recv() {
            Ok(Answer::Refused(refusal)) => Err(SupervisorError::Refused(refusal)),
            Ok(Answer::Accepted | Answer::Submitted(_) | Answer::SubmittedAll { .. }) | Err(_) => {
                Ok(())
            }
        }
    }

    /// Writes the last things of a fleet that is down. Its slots stay on record for the next `up`;
    /// there are no runners any more.
    fn close(&mut self, file: runners_file::Kept) {
        self.recorder.checkpoint();
        let mut last = self.fleet.view(self.executor.clock().now());
        last.runners.clear();
        block_in_place(|| file.end(&last, self.fleet.spec()));
        self.executor.forges().close();
    }

    fn keep_record(&mut self) {
        let (now, keep) = (self.executor.clock().now(), self.fleet.spec().retention.audit);
        block_in_place(|| self.recorder.keep(now, keep));
    }

    /// Signs of life wait for the next tick: hundreds of idle runners must not each cost a step.
    fn keep(&mut self, event: Event, batch: &mut Batch) {
        match event {
            Event::Agent { event: AgentEvent::Heartbeat, .. } => self.heartbeats.push(event),
            _ => batch.events.push(event),
        }
    }

    fn sort(&mut self, message: Message, batch: &mut Batch) {
        match message {
            Message::Request { by, request, reply } => self.intake(by, request, reply, batch),
            Message::Query(query) => batch.queries.push(query),
        }
    }

    fn intake(
        &mut self,
        by: Client,
        request: Request,
        reply: oneshot::Sender<Answer>,
        batch: &mut Batch,
    ) {
        self.last_request = self.last_request.next();
        self.has_new_spec |= matches!(request, Request::Apply(_));
        self.waiting.insert(self.last_request, reply);
        batch.events.push(Event::Request { id: self.last_request, by, request });
    }

    /// Takes what else is there already, so that it shares the step's transaction.
    fn drain(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        messages: &mut mpsc::Receiver<Message>,
        batch: &mut Batch,
    ) {
        while batch.events.len() < BATCH_MAX
            && let Ok(event) = events.try_recv()
        {
            self.keep(event, batch);
        }
        while batch.events.len() + batch.queries.len() < 2 * BATCH_MAX
            && let Ok(message) = messages.try_recv()
        {
            self.sort(message, batch);
        }
    }

    /// One step: decide, make it durable, then act and answer.
    async fn step(
        &mut self,
        batch: Batch,
        messages: &mut mpsc::Receiver<Message>,
    ) -> Result<(), SupervisorError> {
        if !batch.events.is_empty() {
            let now = self.executor.clock().now();
            let begun = Stopwatch::start();
            let step = self.fleet.handle(now, batch.events);
            self.view = OnceLock::new();
            self.meters.stepped(begun.elapsed());
            let changes = !step.records.is_empty();
            if changes {
                reach(|| "before the commit".to_owned());
            }
            self.recorder.record(&step.records, messages).await?;
            self.lives.read(&step.records, &self.meters);
            if changes {
                reach(|| "after the commit".to_owned());
            }
            for effect in step.effects {
                let name = variant(&effect);
                self.act(effect);
                reach(|| format!("after the effect {name}"));
            }
            if changes {
                self.steps.send_modify(|count| *count += 1);
            }
            if std::mem::take(&mut self.has_new_spec) {
                // The one in force: a new one may have been refused.
                block_in_place(|| self.executor.forges().apply(self.fleet.spec()));
                self.notify.send_replace(self.fleet.spec().notify.clone());
                self.reports.apply(&self.fleet.spec().reports);
            }
        }
        for query in batch.queries {
            self.answer(query);
        }
        Ok(())
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { request, answer } => {
                if let Some(reply) = self.waiting.remove(&request) {
                    // A client that went away has its answer in the record.
                    let _gone = reply.send(answer);
                }
            }
            Effect::Finish => self.is_finished = true,
            other => self.executor.run(other),
        }
    }

    /// Answers a reader; one that went away is no matter.
    fn answer(&self, query: Query) {
        let now = self.executor.clock().now();
        match query {
            Query::Fleet(reply) => drop(reply.send(self.view(now))),
            Query::Metrics(reply) => drop(reply.send(self.scrape(now))),
            Query::Jobs(filter, reply) => {
                drop(reply.send(self.fleet.jobs(&filter)));
            }
            Query::Job(id, reply) => drop(reply.send(self.fleet.job(id))),
            Query::Waiting(id, reply) => drop(reply.send(self.fleet.waiting(id))),
            Query::WaitingFor(pool, reply) => drop(reply.send(self.fleet.waiting_for(&pool))),
            Query::Audit(filter, reply) => {
                match block_in_place(|| self.recorder.store.audit(filter.after, filter.limit)) {
                    Ok(entries) => drop(reply.send(entries)),
                    Err(error) => tracing::error!(%error, "cannot read the record"),
                }
            }
            Query::Plan(spec, reply) => drop(reply.send(self.fleet.preview(&spec))),
            Query::Room(reply) => drop(reply.send(self.fleet.room())),
            Query::Gc(order, reply) => self.executor.gc(self.fleet.holdings(), order, Some(reply)),
            Query::Usage(reply) => {
                let (reader, runners) = (self.executor.usage(), usage::present(&self.view(now)));
                answer_aside(reply, async move { reader.read(runners).await });
            }
            Query::Stats(since, reply) => drop(reply.send(self.fleet.stats(since, now))),
            Query::Spec(reply) => drop(reply.send(self.fleet.spec().clone())),
            Query::ForgeJobs(limit, reply) => drop(reply.send(self.fleet.forge_jobs(limit))),
            Query::ForgeReport(reply) => {
                let forges = self.forges();
                answer_aside(reply, async move { forges.report().await });
            }
            Query::Reports(reply) => {
                drop(reply.send(self.reports.place(&self.fleet.spec().reports)));
            }
            Query::LastMessage(reply) => drop(reply.send(self.fate.last())),
            Query::Dispatch(order, reply) => {
                let forges = self.forges();
                answer_aside(reply, async move { forges.dispatch(order).await });
            }
            Query::ForgeRun(order, reply) => {
                let forges = self.forges();
                answer_aside(reply, async move { forges.run(order).await });
            }
        }
    }

    fn means(&self) -> notifier::Means {
        notifier::Means {
            fate: self.fate.clone(),
            project: self.fleet.spec().project.clone(),
            clock: self.executor.clock(),
            forges: self.forges(),
            meters: Arc::clone(&self.meters),
        }
    }

    /// The fleet as it was at the first look since the last step; every second has a step.
    fn view(&self, now: Time) -> Arc<FleetView> {
        Arc::clone(self.view.get_or_init(|| Arc::new(self.fleet.view(now))))
    }

    fn scrape(&self, now: Time) -> Scrape {
        let forges = self.executor.forges();
        Scrape {
            meters: Arc::clone(&self.meters),
            fleet: self.view(now),
            waiting: self.fleet.waiting_counts(),
            budgets: forges.budgets(),
            webhooks: forges.webhooks(),
            audit_head: self.lives.audit_head(),
        }
    }

    fn forges(&self) -> Arc<Forges> {
        Arc::clone(self.executor.forges())
    }
}

/// Answers when a forge has; the loop waits for nobody. A reader that went away is no matter.
fn answer_aside<T: Send + 'static>(
    reply: oneshot::Sender<T>,
    answer: impl Future<Output = T> + Send + 'static,
) {
    tokio::spawn(async move { drop(reply.send(answer.await)) });
}

/// What is known before anything was asked.
fn known(
    options: &Options,
    fleet: FleetId,
    cards: &GpuReport,
    disks: Vec<DiskFacts>,
) -> [Event; 4] {
    [
        Event::Forge(ForgeEvent::Identity(fleet)),
        Event::Host(options.host.clone()),
        Event::Gpus(cards.clone()),
        Event::Disks(disks),
    ]
}

/// Lets clients read their last answers, then ends the sessions of agents, which keep their jobs.
async fn farewell<E: Engine>(executor: &Executor<E>, servers: [Option<JoinHandle<()>>; 2]) {
    for server in servers.into_iter().flatten() {
        match timeout(FAREWELL, server).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the API did not end well"),
            Err(_late) => tracing::warn!("clients kept the API open; cut off"),
        }
    }
    executor.agents().shutdown().await;
}
