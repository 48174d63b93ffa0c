//! The agent `slate-runner`: process 1 of every runner container.
//!
//! It holds at most one job, runs it as another user, streams its output, kills everything that the
//! job left, and reports the end until somebody acknowledges it. It decides nothing else. One
//! thread, one loop: whatever happens (a frame, output, a dead child, a signal, a timer) is handled
//! to its end before the next thing, so there are no locks and no races between tasks. `link` is
//! the connection, `job` the job, `processes` what only process 1 must do. Only `caches` has a
//! thread of its own at times, which shares nothing with the loop.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::wire::HEARTBEAT;
use crate::wire::SILENCE;
use crate::wire::enrolment::Endpoint;
use crate::wire::frame::CHUNK_MAX;
use crate::wire::listen::ListenOrder;
use crate::wire::message::{End, FromAgent, FromServer, Hello, JobOrder, JobRef};
use crate::wire::{PROTOCOL, PROTOCOL_OLDEST};

pub mod args;
mod caches;
mod cpus;
mod devices;
pub mod health;
mod identity;
mod job;
mod link;
pub mod listener;
mod memory;
mod output;
mod place;
mod processes;
mod running;
pub mod setup;
pub mod unpack;
mod unpacking;

use devices::Devices;
use health::HealthSocket;
use job::{Job, JobEvent};
use link::{Link, LinkEvent};
use listener::{Listener, ListenerEvent, Places};

/// After the container was asked to stop and the job is over: how long its end may wait to be
/// acknowledged. Shorter than any stop grace.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where things are; the defaults are right in a container, tests use other places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The enrolment file.
    pub enrolment: PathBuf,
    /// The supervisor, if not where the enrolment file says.
    pub endpoint: Option<Endpoint>,
    /// The job's working folder.
    pub work: PathBuf,
    /// The folder that jobs know as `/reports`.
    pub reports: PathBuf,
    /// The CPUs to use; all that are allowed if empty.
    pub cpus: Vec<u32>,
    /// Where the things of a forge's listener are.
    pub listeners: Places,
}

/// The agent cannot begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct AgentError {
    /// What was tried.
    pub action: &'static str,
    /// The system's answer.
    #[source]
    pub source: std::io::Error,
}

impl AgentError {
    fn new(action: &'static str, source: impl Into<std::io::Error>) -> Self {
        Self { action, source: source.into() }
    }
}

/// Says something to whoever reads the container's log. That nobody listens is no reason to stop.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "slate-runner: {text}");
}

/// How far a session is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Greeting {
    /// Nothing was said.
    #[default]
    None,
    /// The agent has said what it holds.
    Hello,
    /// The supervisor has accepted it; all else may be said.
    Welcome,
}

/// What was said in the session that is open now.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    greeting: Greeting,
    started: bool,
    lost: bool,
    ended: bool,
}

/// What waits to be said once.
#[derive(Debug, Default)]
struct ToSay {
    heartbeat: bool,
    renew: Option<String>,
    refused: Option<JobRef>,
}

/// The container was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// As soon as the job is over and acknowledged.
    AfterJob,
    /// The job is over; its end may wait until then to be acknowledged.
    By(Instant),
}

/// Why the agent is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The container was asked to stop.
    Asked,
    /// Its listener ended and no supervisor is there: the container is to be started again.
    Forsaken,
}

/// The agent's whole state.
pub struct Agent {
    settings: Settings,
    link: Link,
    health: HealthSocket,
    devices: Devices,
    job: Option<Job>,
    listener: Option<Box<Listener>>,
    said: Said,
    to_say: ToSay,
    next_heartbeat: Instant,
    leaving: Leaving,
    children: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Agent {
    /// Prepares the agent. Must be called inside a tokio runtime with one thread.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn new(settings: Settings) -> Result<Self, AgentError> {
        let listen = |kind| signal(kind).map_err(|e| AgentError::new("listen to signals", e));
        Ok(Self {
            link: Link::new(settings.enrolment.clone(), settings.endpoint.clone()),
            health: HealthSocket::default(),
            devices: Devices::of_container(),
            job: None,
            listener: Listener::resume(&settings).map(Box::new),
            said: Said::default(),
            to_say: ToSay::default(),
            next_heartbeat: Instant::now() + HEARTBEAT,
            leaving: Leaving::No,
            children: listen(SignalKind::child())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            settings,
        })
    }

    /// Serves until the container is asked to stop, or is to be started again.
    pub async fn run(mut self) -> Ended {
        caches::tend(&self.settings);
        while !self.is_done() {
            self.advance();
            self.fill();
            // A full pipe to the unpacker stops the reading, so that memory stays bounded.
            let read = !self.job.as_ref().is_some_and(Job::is_busy_unpacking);
            tokio::select! {
                event = self.link.next(read) => self.handle_link(event),
                event = job::next(&mut self.job) => self.handle_job(event),
                event = listener::next(self.listener.as_deref()) => self.handle_listener(event),
                _ = self.children.recv() => self.reap(),
                _ = self.terminate.recv() => self.leave(),
                _ = self.interrupt.recv() => self.leave(),
                () = sleep_until(self.next_heartbeat) => self.beat(),
                probe = self.health.accept() => {
                    health::answer(&probe, &self.health_report());
                }
            }
        }
        match self.leaving {
            Leaving::No => Ended::Forsaken,
            Leaving::AfterJob | Leaving::By(_) => Ended::Asked,
        }
    }

    fn health_report(&self) -> health::Report {
        let outage = self.link.outage(Instant::now());
        match &self.listener {
            Some(listener) => listener.health(outage),
            None => health::report(self.holding(), outage),
        }
    }

    fn is_done(&self) -> bool {
        let now = Instant::now();
        let listener = self.listener.as_ref();
        match self.leaving {
            Leaving::No => listener.is_some_and(|it| it.is_forsaken(now, self.link.outage(now))),
            Leaving::AfterJob => self.job.is_none() && listener.is_none_or(|it| it.is_over()),
            Leaving::By(deadline) => self.job.is_none() || now >= deadline,
        }
    }

    /// Does what is due by now.
    fn advance(&mut self) {
        let now = Instant::now();
        if let Some(job) = &mut self.job {
            job.advance(now, &self.settings);
            if job.end().is_some() && self.leaving == Leaving::AfterJob {
                self.leaving = Leaving::By(now + FAREWELL);
                self.next_heartbeat = self.next_heartbeat.min(now + FAREWELL);
            }
        }
        if let Some(listener) = &mut self.listener {
            listener.advance(now);
        }
        if let Some(enrolment) = self.link.enrolment() {
            self.health.open(enrolment);
        }
    }

    /// Puts what is to be said on its way, in the order in which the other side must hear it.
    fn fill(&mut self) {
        while let Some(room) = self.link.room()
            && room > CHUNK_MAX
        {
            let Some(message) = self.next_message() else {
                // Output follows all other words but the job's end, which follows all output.
                if !self.put_output() {
                    break;
                }
                continue;
            };
            self.link.put(&message);
        }
    }

    fn next_message(&mut self) -> Option<FromAgent> {
        match self.said.greeting {
            Greeting::None => {
                self.said.greeting = Greeting::Hello;
                return Some(FromAgent::Hello(self.hello()));
            }
            Greeting::Hello => return None,
            Greeting::Welcome => {}
        }
        if std::mem::take(&mut self.to_say.heartbeat) {
            return Some(FromAgent::Heartbeat);
        }
        if let Some(public_key) = self.to_say.renew.take() {
            return Some(FromAgent::Renew { public_key });
        }
        if let Some(status) = self.listener.as_mut().and_then(|listener| listener.tell()) {
            return Some(FromAgent::Listener(status));
        }
        // Before a job's end: it may be why the job failed.
        let may_end = self.job.as_ref().is_none_or(|job| job.end().is_some());
        if may_end
            && !self.said.lost
            && let Some(node) = self.devices.lost()
        {
            self.said.lost = true;
            return Some(FromAgent::DeviceLost { path: node.display().to_string() });
        }
        let job = self.job.as_ref()?;
        if let Some(refused) = self.to_say.refused.take() {
            return Some(FromAgent::Refused { job: refused, holding: job.id() });
        }
        if job.has_started() && !self.said.started {
            self.said.started = true;
            return Some(FromAgent::Started(job.id()));
        }
        let end = job.end().filter(|_| !self.said.ended && job.output().all_sent())?.clone();
        self.said.ended = true;
        let memory = (end == End::OutOfMemory).then(memory::account).flatten();
        Some(FromAgent::Ended { job: job.id(), end, memory })
    }

    fn put_output(&mut self) -> bool {
        let Some(job) = self.job.as_mut().filter(|_| self.said.greeting == Greeting::Welcome)
        else {
            return false;
        };
        match job.output_mut().next_unsent() {
            Some(chunk) => {
                self.link.put_output(chunk);
                true
            }
            None => false,
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            protocol_oldest: PROTOCOL_OLDEST,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            holding: self.holding(),
        }
    }

    fn holding(&self) -> Option<JobRef> {
        self.job.as_ref().map(Job::id)
    }

    fn handle_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up => {
                self.said = Said::default();
                if let Some(job) = &mut self.job {
                    job.output_mut().rewind();
                }
                if let Some(listener) = &mut self.listener {
                    listener.rewind();
                }
            }
            LinkEvent::Down => {
                self.said = Said::default();
                // Nothing of it has run, and the rest of its folder will not come any more.
                if self.job.as_mut().is_some_and(Job::abandon_if_incomplete) {
                    self.job = None;
                }
            }
            LinkEvent::Progress => {}
            LinkEvent::Message(message) => self.handle_message(*message),
            LinkEvent::Workspace(bytes) => {
                if let Some(job) = &mut self.job {
                    job.unpack(bytes);
                }
            }
        }
    }

    fn handle_message(&mut self, message: FromServer) {
        match message {
            FromServer::Welcome { .. } => {
                self.said.greeting = Greeting::Welcome;
                self.link.welcomed();
            }
            FromServer::Certificate(issued) => self.link.renewed(&issued),
            FromServer::Refuse { message, .. } => self.link.refused(&message),
            FromServer::HeartbeatSeen => {}
            FromServer::Assign(order) => self.assign(*order),
            FromServer::WorkspaceEnd { job } => self.with_job(job, Job::unpack_end),
            FromServer::WorkspaceFailed { job, why } => {
                self.with_job(job, |job| job.unpack_failed(why));
            }
            FromServer::Listen(order) => self.listen(*order),
            FromServer::StopListening { cancel } => {
                if let Some(listener) = &mut self.listener {
                    let now = Instant::now();
                    match cancel {
                        None => listener.stop_idle(now),
                        Some(grace) => listener.cancel(grace, now),
                    }
                }
            }
            FromServer::Cancel { job, grace } => {
                self.with_job(job, |job| job.stop(End::Cancelled, grace));
            }
            FromServer::OutputWritten { job, stdout, stderr } => {
                self.with_job(job, |job| job.output_mut().written(stdout, stderr));
            }
            FromServer::Acknowledge(job) => {
                if self.job.as_ref().is_some_and(|held| held.id() == job && held.end().is_some()) {
                    self.job = None;
                    caches::tend(&self.settings);
                }
            }
        }
    }

    fn with_job(&mut self, id: JobRef, act: impl FnOnce(&mut Job)) {
        if let Some(job) = self.job.as_mut().filter(|job| job.id() == id) {
            act(job);
        }
    }

    fn listen(&mut self, mut order: ListenOrder) {
        order.gid = place::group(order.gid);
        match &mut self.listener {
            Some(listener) => listener.order(order),
            None if self.job.is_some() => say("a runner with a job does not listen to a forge"),
            None => {
                self.devices.grant(order.gid);
                self.listener = Some(Box::new(Listener::begin(order, &self.settings)));
            }
        }
    }

    fn assign(&mut self, mut order: JobOrder) {
        order.gid = place::group(order.gid);
        if self.listener.is_some() {
            return say(&format!("refused {}: this runner takes a forge's jobs", order.job));
        }
        match &self.job {
            Some(held) if held.id() == order.job => {}
            Some(held) => {
                say(&format!("refused {} while holding {}", order.job, held.id()));
                self.to_say.refused = Some(order.job);
            }
            None => {
                self.said.started = false;
                self.said.ended = false;
                self.devices.grant(order.gid);
                self.job = Some(Job::new(order, &self.settings));
            }
        }
    }

    fn handle_job(&mut self, event: JobEvent) {
        if let Some(job) = &mut self.job {
            job.handle(event);
        }
    }

    fn handle_listener(&mut self, event: ListenerEvent) {
        if let Some(listener) = &mut self.listener {
            listener.handle(event);
        }
    }

    /// Buries every dead child, the job's or anybody's.
    fn reap(&mut self) {
        let left = processes::reap(|pid, status| {
            if let Some(job) = &mut self.job {
                job.reaped(pid, status);
            }
            if let Some(listener) = &mut self.listener {
                listener.reaped(pid, status);
            }
        });
        if let Some(job) = &mut self.job {
            job.counted(left);
        }
    }

    fn leave(&mut self) {
        let again = self.leaving != Leaving::No;
        self.leaving = Leaving::AfterJob;
        if let Some(listener) = &mut self.listener {
            listener.leave(again, Instant::now());
        }
        if let Some(job) = &mut self.job {
            let grace = if again { Duration::ZERO } else { job.stop_grace() };
            job.stop(End::Cancelled, grace);
        }
    }

    fn beat(&mut self) {
        let now = Instant::now();
        self.next_heartbeat = now + HEARTBEAT;
        self.link.drop_if_silent(now, SILENCE);
        if self.said.greeting == Greeting::Welcome {
            self.to_say.heartbeat = true;
            self.said.lost = false;
            self.to_say.renew = self.link.key_to_renew(now);
        }
    }
}
