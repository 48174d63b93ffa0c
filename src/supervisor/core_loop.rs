//! The only loop that feeds the core: take in, decide, record, then act.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::executor::Executor;
use super::handle::{Handle, Message, Query};
use super::start::Parts;
use super::{Intent, Options, SupervisorError};
use crate::api::listen::{self, SocketAccess};
use crate::api::{Api, logs::JobLogs};
use crate::engine::Engine;
use crate::fleet::Fleet;
use crate::fleet::effect::{Answer, Effect};
use crate::fleet::event::{AgentEvent, Event, Request};
use crate::ids::RequestId;
use crate::store::Store;

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
    store: Store,
    executor: Arc<Executor<E>>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    last_request: RequestId,
    steps: watch::Sender<u64>,
    heartbeats: Vec<Event>,
    is_finished: bool,
}

/// Serves the API and steps the core until the fleet is down.
pub(super) async fn run<E: Engine>(
    parts: Parts<E>,
    mut events: mpsc::Receiver<Event>,
    options: &Options,
) -> Result<(), SupervisorError> {
    let (messages_out, mut messages) = mpsc::channel(MESSAGES_MAX);
    let (steps, steps_in) = watch::channel(0);
    let mut it = Loop {
        fleet: parts.fleet,
        store: parts.store,
        executor: parts.executor,
        waiting: BTreeMap::new(),
        last_request: RequestId(0),
        steps,
        heartbeats: Vec::new(),
        is_finished: false,
    };
    // Before anything is done: an address that cannot be had must not leave half a fleet.
    let port = match &options.listen {
        Some(address) => Some(listen::bind_port(address).await?),
        None => None,
    };
    it.begin(options)?;
    let logs: Arc<dyn JobLogs> = parts.logs;
    let api = Api::new(Handle::new(messages_out, steps_in), options.state.clone(), logs);
    let (stop, servers) = serve(&api, port)?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !it.is_finished {
        let mut batch = Batch::default();
        tokio::select! {
            Some(event) = events.recv() => it.keep(event, &mut batch),
            Some(message) = messages.recv() => it.sort(message, &mut batch),
            _ = ticks.tick() => {
                batch.events.append(&mut it.heartbeats);
                batch.events.push(Event::Tick);
            }
        }
        it.drain(&mut events, &mut messages, &mut batch);
        it.step(batch)?;
    }
    drop(messages);
    farewell(&it.executor, stop, servers).await;
    Ok(())
}

/// What one step takes in and whom it tells.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    queries: Vec<Query>,
}

impl<E: Engine> Loop<E> {
    /// Tells the core what it starts with; a spec that is refused ends the start, nothing changed.
    fn begin(&mut self, options: &Options) -> Result<(), SupervisorError> {
        let mut batch = Batch::default();
        batch.events.push(Event::Host(options.host.clone()));
        let request = match (options.intent, &options.spec) {
            (Intent::Remove(mode), _) => Some(Request::Down(mode)),
            (Intent::Keep, Some(spec)) => Some(Request::Apply(Box::new(spec.clone()))),
            (Intent::Keep, None) => None,
        };
        let Some(request) = request else { return self.step(batch) };
        let (reply, mut answer) = oneshot::channel();
        self.intake(request, Some(reply), &mut batch);
        self.step(batch)?;
        match answer.try_recv() {
            Ok(Answer::Refused(refusal)) => Err(SupervisorError::Refused(refusal)),
            Ok(Answer::Accepted | Answer::Submitted(_)) | Err(_) => Ok(()),
        }
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
            Message::Request(request, reply) => self.intake(request, Some(reply), batch),
            Message::Query(query) => batch.queries.push(query),
        }
    }

    fn intake(
        &mut self,
        request: Request,
        reply: Option<oneshot::Sender<Answer>>,
        batch: &mut Batch,
    ) {
        self.last_request = self.last_request.next();
        if let Some(reply) = reply {
            self.waiting.insert(self.last_request, reply);
        }
        batch.events.push(Event::Request { id: self.last_request, request });
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
    fn step(&mut self, batch: Batch) -> Result<(), SupervisorError> {
        if !batch.events.is_empty() {
            let step = self.fleet.handle(self.executor.clock().now(), batch.events);
            block_in_place(|| self.store.commit(&step.records))?;
            for effect in step.effects {
                self.act(effect);
            }
            if !step.records.is_empty() {
                self.steps.send_modify(|count| *count += 1);
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
            Query::Fleet(reply) => drop(reply.send(self.fleet.view(now))),
            Query::Jobs(filter, reply) => {
                drop(reply.send(self.fleet.jobs(&filter.statuses, filter.limit)));
            }
            Query::Job(id, reply) => drop(reply.send(self.fleet.job(id))),
            Query::History(filter, reply) => {
                match block_in_place(|| self.store.history(filter.after, filter.limit)) {
                    Ok(entries) => drop(reply.send(entries)),
                    Err(error) => tracing::error!(%error, "cannot read the record"),
                }
            }
            Query::Plan(spec, reply) => drop(reply.send(self.fleet.preview(&spec))),
            Query::Spec(reply) => drop(reply.send(self.fleet.spec().clone())),
        }
    }
}

type Servers = Vec<JoinHandle<std::io::Result<()>>>;

fn serve(
    api: &Arc<Api>,
    port: Option<TcpListener>,
) -> Result<(watch::Sender<bool>, Servers), SupervisorError> {
    let (stop, stopped) = watch::channel(false);
    let socket = listen::bind_socket(api, SocketAccess::Owner)?;
    let mut servers =
        vec![tokio::spawn(listen::serve_socket(Arc::clone(api), socket, stopped.clone()))];
    if let Some(port) = port {
        servers.push(tokio::spawn(listen::serve_port(Arc::clone(api), port, stopped)));
    }
    Ok((stop, servers))
}

/// Lets clients read their last answers, then ends the sessions of agents, which keep their jobs.
async fn farewell<E: Engine>(executor: &Executor<E>, stop: watch::Sender<bool>, servers: Servers) {
    stop.send_replace(true);
    for server in servers {
        match timeout(FAREWELL, server).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the API did not end well"),
            Ok(Err(error)) => tracing::warn!(%error, "the API did not end well"),
            Err(_late) => tracing::warn!("clients kept the API open; cut off"),
        }
    }
    executor.agents().shutdown().await;
}
