//! The simulated agents: sessions that break, jobs that run, messages that are said again.

use std::time::Duration;

use super::listener::Listener;
use super::{Due, Happening, Turn, World};
use crate::fleet::effect::{AgentOrder, JobOrder};
use crate::fleet::event::{AgentEvent, ContainerState, Event, Held, JobEnd};
use crate::ids::{AttemptNo, ContainerId, IncarnationId, JobId};
use crate::sim::fault::Fault;
use crate::spec::Reuse;
use crate::units::Time;

/// Rarer than a real agent's sign of life; only the stale bound depends on it.
const BEAT: Duration = Duration::from_secs(60);
/// An agent that finds no supervisor tries again after this long.
const CALL_AGAIN: Duration = Duration::from_millis(500);

/// The first process of a container.
#[derive(Debug, Clone, Default)]
pub struct Agent {
    /// Counts its starts.
    pub life: Turn,
    /// The open session.
    pub session: Option<Turn>,
    /// It hangs: nothing is said, and nothing heard.
    pub hangs: bool,
    /// When the supervisor last heard of it.
    pub heard: Time,
    /// Whether this supervisor has heard what its listener does.
    pub has_spoken: bool,
    /// What it has to do, or has done without a word of thanks.
    pub work: Option<Work>,
    /// What takes a forge's jobs, once it was told to.
    pub listener: Option<Listener>,
    said: Time,
    told: Time,
}

/// A job in an agent's hands.
#[derive(Debug, Clone)]
pub struct Work {
    /// As it was told.
    pub order: JobOrder,
    /// How far it is.
    pub stage: Stage,
    stuck: bool,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its folder is unpacked.
    Preparing,
    /// Its processes live.
    Running,
    /// Its processes are gone.
    Over(JobEnd),
}

impl Agent {
    /// The attempt whose processes live, or are about to.
    #[must_use]
    pub fn live_work(&self) -> Option<(JobId, AttemptNo)> {
        let work = self.work.as_ref()?;
        match work.stage {
            Stage::Preparing | Stage::Running => Some(work.key()),
            Stage::Over(_) => None,
        }
    }

    /// Whether the job's first process lives.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.stage == Stage::Running)
    }

    fn holding(&self) -> Option<Held> {
        let (job, attempt) = self.work.as_ref()?.key();
        Some(Held { job, attempt })
    }
}

impl Work {
    fn key(&self) -> (JobId, AttemptNo) {
        (self.order.job, self.order.attempt)
    }
}

impl World {
    /// A container's first process starts.
    pub(super) fn boot(&mut self, id: &ContainerId) {
        let life = self.turn();
        let hangs = self.strikes(Fault::AgentMute);
        let Some(container) = self.containers.get_mut(id) else { return };
        container.agent = Agent { life, hangs, ..Agent::default() };
        let wait = self.span(60);
        self.clock.after(wait, Due::Connect(id.clone(), life));
        self.listen_again(id);
    }

    pub(super) fn connect(&mut self, id: &ContainerId, life: Turn) {
        let is_watched = self.is_watched;
        let session = self.turn();
        let Some(agent) = self.agent(id, |agent| agent.life == life) else { return };
        if agent.session.is_some() || agent.hangs {
            return;
        }
        if !is_watched {
            self.clock.after(CALL_AGAIN, Due::Connect(id.clone(), life));
            return;
        }
        agent.session = Some(session);
        let holding = agent.holding();
        let work = agent.work.clone();
        self.say(id, AgentEvent::Connected { holding });
        if let Some(work) = work {
            let (job, attempt) = work.key();
            if work.stage != Stage::Preparing {
                self.say(id, AgentEvent::Started { job, attempt });
            }
            if let Stage::Over(end) = work.stage {
                self.say(id, AgentEvent::Ended { job, attempt, end });
            }
        }
        self.say_listener(id);
        self.clock.after(BEAT, Due::Beat(id.clone(), session));
    }

    pub(super) fn beat(&mut self, id: &ContainerId, session: Turn) {
        if self.agent(id, |agent| agent.session == Some(session)).is_some() {
            self.say(id, AgentEvent::Heartbeat);
            self.clock.after(BEAT, Due::Beat(id.clone(), session));
        }
    }

    /// Puts a message on the line; messages of one session stay in their order.
    pub(super) fn say(&mut self, id: &ContainerId, event: AgentEvent) {
        let at = self.now() + self.span(1);
        let Some(agent) = self.agent(id, |agent| !agent.hangs) else { return };
        let Some(session) = agent.session else { return };
        agent.said = agent.said.max(at);
        let at = agent.said;
        // A session's first word is said once by its nature.
        let is_first = matches!(event, AgentEvent::Connected { .. });
        if self.strikes(Fault::SaidTwice) && !is_first {
            self.clock.at(at, Due::Say(id.clone(), session, event.clone()));
        }
        self.clock.at(at, Due::Say(id.clone(), session, event));
    }

    /// A message arrives at the supervisor.
    pub(super) fn arrive(
        &mut self,
        id: &ContainerId,
        session: Turn,
        event: AgentEvent,
    ) -> Happening {
        let now = self.now();
        if self.agent(id, |agent| agent.session == Some(session)).is_none() {
            self.linger(id, event);
            return Happening::Unnoticed;
        }
        if self.strikes(Fault::SessionBreaks) {
            self.disconnect(id);
            return Happening::Unnoticed;
        }
        if let Some(agent) = self.agent(id, |_| true) {
            agent.heard = now;
            agent.has_spoken |= matches!(event, AgentEvent::Listener(_));
        }
        let Some(container) = self.containers.get(id) else { return Happening::Unnoticed };
        let incarnation = container.incarnation;
        self.hear(Event::Agent { incarnation, event })
    }

    /// What was said in a session that is over may arrive between the words of the next. Not its
    /// first word: the shell opens no session before it told the end of the one before.
    fn linger(&mut self, id: &ContainerId, event: AgentEvent) {
        let wait = Duration::from_millis(self.rng.below(3_000));
        let is_kept = match event {
            AgentEvent::Started { .. }
            | AgentEvent::Ended { .. }
            | AgentEvent::DeviceLost { .. }
            | AgentEvent::Listener(_)
            | AgentEvent::Heartbeat => true,
            AgentEvent::Connected { .. } | AgentEvent::Disconnected => false,
        };
        if !self.strikes(Fault::SessionLingers) || !is_kept {
            return;
        }
        if let Some(incarnation) = self.containers.get(id).map(|it| it.incarnation) {
            self.tell(wait, Event::Agent { incarnation, event });
        }
    }

    /// An order goes to the agent's session, if it has one.
    pub(super) fn send(&mut self, incarnation: IncarnationId, order: AgentOrder) {
        if let AgentOrder::Assign(order) = &order {
            self.remember_gift(incarnation, order);
        }
        if !self.may_listen(incarnation, &order) {
            return;
        }
        let by_label = |(id, it): (&ContainerId, &super::Container)| {
            (it.incarnation == incarnation && it.agent.session.is_some()).then(|| id.clone())
        };
        let Some(id) = self.containers.iter().find_map(by_label) else { return };
        if self.strikes(Fault::SessionBreaks) {
            self.disconnect(&id);
            return;
        }
        let at = self.now() + self.span(1);
        let Some(agent) = self.agent(&id, |_| true) else { return };
        let Some(session) = agent.session else { return };
        agent.told = agent.told.max(at);
        let at = agent.told;
        self.clock.at(at, Due::Order(id, session, Box::new(order)));
    }

    fn remember_gift(&mut self, incarnation: IncarnationId, order: &JobOrder) {
        let key = (order.job, order.attempt);
        let first = *self.truth.given.entry(key).or_insert(incarnation);
        if first != incarnation {
            let (job, attempt) = key;
            self.truth.violation(format!(
                "attempt {attempt} of {job} was given to {first} and to {incarnation}"
            ));
        }
    }

    pub(super) fn obey(&mut self, id: &ContainerId, session: Turn, order: AgentOrder) {
        let is_open = |agent: &Agent| agent.session == Some(session) && !agent.hangs;
        if self.agent(id, is_open).is_none() {
            return;
        }
        match order {
            AgentOrder::Assign(order) => self.take_on(id, *order),
            AgentOrder::Listen(order) => self.listen(id, *order),
            AgentOrder::StopListening(patience) => self.stop_listening(id, patience),
            AgentOrder::Cancel { job, attempt, grace } => self.cancel(id, (job, attempt), grace),
            AgentOrder::Acknowledge { job, attempt } => {
                let Some(agent) = self.agent(id, |_| true) else { return };
                let is_over = agent.work.as_ref().is_some_and(|work| {
                    work.key() == (job, attempt) && matches!(work.stage, Stage::Over(_))
                });
                if is_over {
                    agent.work = None;
                }
            }
        }
    }

    fn take_on(&mut self, id: &ContainerId, order: JobOrder) {
        let key = (order.job, order.attempt);
        let elsewhere: Vec<ContainerId> = self
            .containers
            .iter()
            .filter(|(other, it)| {
                *other != id && it.live_work().is_some_and(|(job, _)| job == key.0)
            })
            .map(|(other, _)| other.clone())
            .collect();
        let stuck = self.strikes(Fault::JobStuck);
        let unbegun = self.strikes(Fault::JobUnbegun);
        let wait = self.span(2);
        let Some(container) = self.containers.get_mut(id) else { return };
        match &container.agent.work {
            Some(work) if work.key() == key => return,
            Some(work) if container.agent.live_work().is_some() => {
                let other = work.order.job;
                self.truth.violation(format!("{id} was given {} while it runs {other}", key.0));
                return;
            }
            Some(_) | None => {}
        }
        if container.reuse == Reuse::OneJob && !container.served.is_empty() {
            self.truth.violation(format!("{id} is for one job and was given {}", key.0));
        }
        if order.command.is_empty() {
            self.truth.violation(format!("{id} was given {}, which is driven from outside", key.0));
        }
        container.served.insert(key, container.agent.life);
        container.agent.work = Some(Work { order, stage: Stage::Preparing, stuck });
        for other in elsewhere {
            self.truth.violation(format!("{} lives in {other} and in {id}", key.0));
        }
        if !unbegun {
            self.clock.after(wait, Due::Begin(id.clone(), key.0, key.1));
        }
    }

    pub(super) fn begin(&mut self, id: &ContainerId, key: (JobId, AttemptNo)) {
        let Some(work) = self.work(id, key) else { return };
        if work.stage != Stage::Preparing {
            return;
        }
        work.stage = Stage::Running;
        let (job, attempt) = key;
        let timeout = work.order.timeout;
        let stuck = work.stuck;
        let command = work.order.command.clone();
        let (runs, code) = behaviour(&command);
        let code = self.exit_code(id, key, (&command, code));
        self.say(id, AgentEvent::Started { job, attempt });
        if stuck {
            return;
        }
        let due = |end| Due::End(id.clone(), job, attempt, end);
        self.clock.after(runs, due(JobEnd::Exited(code)));
        self.clock.after(timeout, due(JobEnd::TimedOut));
    }

    fn cancel(&mut self, id: &ContainerId, key: (JobId, AttemptNo), grace: Duration) {
        let wait = self.span(20);
        let Some(work) = self.work(id, key) else { return };
        if work.stuck {
            return;
        }
        let is_stubborn = work.order.command.iter().any(|word| word == "stubborn");
        let wait = if is_stubborn { grace } else { wait };
        self.clock.after(wait, Due::End(id.clone(), key.0, key.1, JobEnd::Cancelled));
    }

    pub(super) fn end_work(&mut self, id: &ContainerId, key: (JobId, AttemptNo), end: JobEnd) {
        let Some(work) = self.work(id, key) else { return };
        if matches!(work.stage, Stage::Over(_)) {
            return;
        }
        work.stage = Stage::Over(end.clone());
        self.truth.ends.insert(key, end.clone());
        self.say(id, AgentEvent::Ended { job: key.0, attempt: key.1, end });
    }

    /// An agent's session breaks; it calls again.
    pub fn disconnect(&mut self, id: &ContainerId) {
        let Some(agent) = self.agent(id, |agent| agent.session.is_some()) else { return };
        agent.session = None;
        let life = agent.life;
        let Some(incarnation) = self.containers.get(id).map(|it| it.incarnation) else { return };
        let late = if self.strikes(Fault::GoodbyeLate) { 5_000 } else { 0 };
        let wait = self.span(5) + Duration::from_millis(self.rng.below(late + 1));
        self.tell(wait, Event::Agent { incarnation, event: AgentEvent::Disconnected });
        let again = self.span(200);
        self.clock.after(again, Due::Connect(id.clone(), life));
    }

    /// The host takes a device from the container; its agent tells.
    pub fn lose_device(&mut self, id: &ContainerId) {
        self.say(id, AgentEvent::DeviceLost { path: "/dev/nvidia0".to_owned() });
    }

    /// The agent hangs from now on: its job lives, and nobody hears of it.
    pub fn hang(&mut self, id: &ContainerId) {
        self.note(format!("the agent in {id} hangs"));
        if let Some(agent) = self.agent(id, |_| true) {
            agent.hangs = true;
        }
    }

    /// The supervisor is gone, so is the session; the agent calls again.
    pub(super) fn hang_up(&mut self, id: &ContainerId) {
        let Some(agent) = self.agent(id, |_| true) else { return };
        (agent.session, agent.has_spoken) = (None, false);
        let life = agent.life;
        self.clock.after(CALL_AGAIN, Due::Connect(id.clone(), life));
    }

    /// The container's processes are gone.
    pub(super) fn bury(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let incarnation = container.incarnation;
        let had_session = container.agent.session.is_some();
        let had_listener = container.agent.listener.is_some();
        container.agent = Agent::default();
        if had_listener {
            self.end_session(id, false);
        }
        if had_session {
            let wait = self.span(3);
            self.tell(wait, Event::Agent { incarnation, event: AgentEvent::Disconnected });
        }
    }

    pub(super) fn agent(
        &mut self,
        id: &ContainerId,
        is_meant: impl FnOnce(&Agent) -> bool,
    ) -> Option<&mut Agent> {
        let container = self.containers.get_mut(id)?;
        let is_alive = container.state == ContainerState::Running;
        (is_alive && is_meant(&container.agent)).then_some(&mut container.agent)
    }

    fn work(&mut self, id: &ContainerId, key: (JobId, AttemptNo)) -> Option<&mut Work> {
        let agent = self.agent(id, |_| true)?;
        agent.work.as_mut().filter(|work| work.key() == key)
    }
}

/// `work MILLISECONDS EXIT_CODE`: how long a job runs and how it exits if it has what it needs.
fn behaviour(command: &[String]) -> (Duration, i32) {
    let number = |index: usize| command.get(index).and_then(|word| word.parse::<u32>().ok());
    let runs = Duration::from_millis(number(1).unwrap_or(0).into());
    (runs, number(2).and_then(|code| i32::try_from(code).ok()).unwrap_or(0))
}
