//! The simulated listeners: they take a forge's jobs in containers, and agents tell of them.

use std::time::Duration;

use super::forge::{Fate, ForgeDue, Session, Step, Token};
use super::{Turn, World};
use crate::fleet::effect::{AgentOrder, Patience};
use crate::fleet::event::AgentEvent;
use crate::fleet::forge::{
    ListenMode, ListenOrder, ListenerEnd, ListenerStage, ListenerStatus, WorkFact,
};
use crate::ids::{ContainerId, ForgeJobId, ForgeRunnerId, IncarnationId, ScopeUrl};
use crate::sim::fault::Fault;

/// A listener that finds its session taken tries again after this long, so many times.
const CONFLICT: (Duration, u32) = (Duration::from_secs(30), 8);
/// A listener that finds no forge tries again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// Without progress for this long, an agent calls its listener stuck.
const STUCK: Duration = Duration::from_secs(180);
/// The agent of a kept runner ends with its listener after this long without a supervisor.
const ALONE: Duration = Duration::from_secs(10);
/// What a listener says that is too old.
const TOO_OLD: &str = "Runner version v2.300.0 is deprecated and cannot receive messages";
/// What a listener says that is not in the forge's list any more.
const DELETED: &str = "The runner registration has been deleted from the server";

/// What takes a forge's jobs in a container.
#[derive(Debug, Clone)]
pub struct Listener {
    /// As it was told.
    pub order: ListenOrder,
    /// What its agent says of it.
    pub status: ListenerStatus,
    /// The job whose processes live.
    pub work: Option<ForgeJobId>,
    fate: Fate,
}

impl Listener {
    /// Whether its process lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(self.status.stage, ListenerStage::Over(_))
    }

    fn place(&self) -> (ScopeUrl, String) {
        (self.order.enlistment.scope.clone(), self.order.name.clone())
    }

    fn is_kept(&self) -> bool {
        self.order.enlistment.mode != ListenMode::OneJob
    }
}

impl World {
    /// Whether the shell has what an order needs: a registration for one job is lost with it.
    pub(super) fn may_listen(&mut self, incarnation: IncarnationId, order: &AgentOrder) -> bool {
        let AgentOrder::Listen(order) = order else { return true };
        let has = order.enlistment.mode != ListenMode::OneJob
            || self.forge.grants.contains_key(&incarnation);
        if !has {
            self.note(format!("nothing is left to register {incarnation} with"));
        }
        has
    }

    pub(super) fn listen(&mut self, id: &ContainerId, order: ListenOrder) {
        let Some(incarnation) = self.containers.get(id).map(|it| it.incarnation) else { return };
        let Some(agent) = self.agent(id, |_| true) else { return };
        if agent.listener.as_ref().is_some_and(Listener::is_alive) {
            self.say_listener(id);
            return;
        }
        let runner = match order.enlistment.mode {
            ListenMode::OneJob => self.forge.grants.get(&incarnation).copied(),
            ListenMode::Kept { .. } => None,
        };
        if let Some(container) = self.containers.get_mut(id) {
            container.listens =
                (order.enlistment.mode != ListenMode::OneJob).then(|| order.clone());
        }
        self.start_listener(id, order, runner);
    }

    /// A kept runner that was told once goes on by itself when its container starts again.
    pub(super) fn listen_again(&mut self, id: &ContainerId) {
        let Some(order) = self.containers.get(id).and_then(|it| it.listens.clone()) else { return };
        let place = (order.enlistment.scope.clone(), order.name.clone());
        if self.forge.identities.contains_key(&place) {
            self.start_listener(id, order, None);
        }
    }

    fn start_listener(
        &mut self,
        id: &ContainerId,
        order: ListenOrder,
        runner: Option<ForgeRunnerId>,
    ) {
        let fate = self.fate();
        let place = (order.enlistment.scope.clone(), order.name.clone());
        let runner = runner.or_else(|| self.forge.identities.get(&place).copied());
        let is_kept = order.enlistment.mode != ListenMode::OneJob;
        let registers = is_kept && runner.is_none();
        let stage = match registers {
            true => ListenerStage::Registering,
            false => ListenerStage::Starting,
        };
        let status = ListenerStatus { stage, runner, jobs: 0, stuck: None };
        let Some(agent) = self.agent(id, |_| true) else { return };
        let life = agent.life;
        agent.listener = Some(Listener { order, status, work: None, fate });
        self.say_listener(id);
        let step = if registers { Step::Register } else { Step::Connect(0) };
        let wait = self.span(1_500);
        self.listener_later(wait, id, (life, step));
    }

    fn fate(&mut self) -> Fate {
        let codes = [0, 1, 2, 5, 137];
        let code = self.rng.pick(&codes).copied().unwrap_or(1);
        let fates = [
            (Fault::ListenerMute, Fate::Mute),
            (Fault::ListenerEnds, Fate::Ends(code)),
            (Fault::ListenerFreezes, Fate::Freezes),
        ];
        let struck = fates.map(|(fault, fate)| self.strikes(fault).then_some(fate));
        match self.forge.fate {
            Fate::Serves => struck.into_iter().flatten().next().unwrap_or(Fate::Serves),
            fate => fate,
        }
    }

    fn listener_later(&mut self, wait: Duration, id: &ContainerId, (life, step): (Turn, Step)) {
        self.due_at_forge(wait, ForgeDue::Listener(id.clone(), life, step));
    }

    pub(super) fn listener_step(&mut self, id: &ContainerId, life: Turn, step: Step) {
        let listener = self.agent(id, |agent| agent.life == life);
        let Some(listener) = listener.and_then(|agent| agent.listener.clone()) else { return };
        if !listener.is_alive() && step != Step::Quits {
            return;
        }
        match step {
            Step::Register => self.register_listener(id, life, &listener),
            Step::Connect(tries) => self.connect_listener(id, (life, tries), &listener),
            Step::Stuck => {
                let how = "no completed poll for 3 minutes".to_owned();
                self.with_listener(id, |listener| listener.status.stuck = Some(how));
            }
            Step::Expelled if listener.work.is_none() => {
                self.forget_identity(&listener);
                self.end_listener(id, (0, DELETED), true);
            }
            Step::Ends => self.end_listener(id, (0, ""), true),
            Step::Quits => {
                let is_alone = self.agent(id, |agent| agent.session.is_none()).is_some();
                if is_alone && !listener.is_alive() {
                    self.die(id, 1);
                }
            }
            Step::Expelled => {}
        }
    }

    fn register_listener(&mut self, id: &ContainerId, life: Turn, listener: &Listener) {
        if self.is_forge_away() {
            self.listener_later(RETRY, id, (life, Step::Register));
            return;
        }
        let variable = listener.order.token_env.as_deref().unwrap_or_default();
        let end = match self.forge.tokens.get(variable) {
            None => ListenerEnd::NeedsToken,
            Some(Token::Expired) => {
                ListenerEnd::TokenRefused("the forge answers 404: it is too old".to_owned())
            }
            Some(Token::Good) => {
                let Some(incarnation) = self.containers.get(id).map(|it| it.incarnation) else {
                    return;
                };
                let labels = listener.order.enlistment.labels.clone();
                let runner = self.register_kept(incarnation, listener.place(), labels);
                self.with_listener(id, |listener| {
                    listener.status.stage = ListenerStage::Starting;
                    listener.status.runner = Some(runner);
                });
                let wait = self.span(1_500);
                self.listener_later(wait, id, (life, Step::Connect(0)));
                return;
            }
        };
        self.listener_over(id, end);
    }

    fn connect_listener(
        &mut self,
        id: &ContainerId,
        (life, tries): (Turn, u32),
        listener: &Listener,
    ) {
        if self.is_forge_away() {
            self.listener_later(RETRY, id, (life, Step::Connect(tries)));
            return;
        }
        match listener.fate {
            Fate::Mute => return,
            Fate::Ends(code) => return self.end_listener(id, (code, "An error occurred"), true),
            Fate::Serves | Fate::Freezes => {}
        }
        if self.forge.is_too_old {
            return self.end_listener(id, (7, TOO_OLD), true);
        }
        let now = self.now();
        let own = Session { container: id.clone(), life };
        let runner = listener.status.runner;
        let Some(entry) = runner.and_then(|id| self.forge.entries.get_mut(&id)) else {
            self.forget_identity(listener);
            return self.end_listener(id, (1, DELETED), true);
        };
        let is_taken = entry.held > now || entry.session.as_ref().is_some_and(|it| *it != own);
        if is_taken && tries >= CONFLICT.1 {
            return self.end_listener(id, (5, "A session for this runner already exists"), true);
        }
        if is_taken {
            return self.listener_later(CONFLICT.0, id, (life, Step::Connect(tries + 1)));
        }
        if entry.is_done {
            return self.end_listener(id, (1, DELETED), true);
        }
        entry.session = Some(own);
        entry.was_online = true;
        self.with_listener(id, |listener| listener.status.stage = ListenerStage::Listening);
        if listener.fate == Fate::Freezes {
            self.listener_later(STUCK, id, (life, Step::Stuck));
        }
        let wait = self.span(20);
        self.due_at_forge(wait, ForgeDue::GiveOut);
    }

    /// A job reaches a listener; its runner's name, if it takes it.
    pub(super) fn listener_takes(
        &mut self,
        id: &ContainerId,
        runner: ForgeRunnerId,
        job: ForgeJobId,
    ) -> Option<String> {
        let agent = self.agent(id, |_| true)?;
        let listener = agent.listener.as_mut()?;
        let is_ready = listener.status.stage == ListenerStage::Listening
            && listener.status.runner == Some(runner)
            && listener.fate != Fate::Freezes;
        if !is_ready {
            return None;
        }
        listener.work = Some(job);
        let name = listener.order.name.clone();
        let work = WorkFact {
            name: Some(format!("build-{job}")),
            repository: Some("acme/site".to_owned()),
            workflow: Some("ci".to_owned()),
            run: self.forge.jobs.get(&job).map(|job| job.run),
        };
        self.with_listener(id, |listener| {
            listener.status.jobs += 1;
            listener.status.stage = ListenerStage::Working(work);
        });
        Some(name)
    }

    /// A job's steps are over; whether its runner is there to say so.
    pub(super) fn listener_finishes(&mut self, id: &ContainerId, job: ForgeJobId) -> bool {
        let Some(agent) = self.agent(id, |_| true) else { return false };
        let life = agent.life;
        let Some(listener) = agent.listener.as_mut().filter(|it| it.work == Some(job)) else {
            return false;
        };
        listener.work = None;
        if listener.is_kept() {
            self.with_listener(id, |listener| listener.status.stage = ListenerStage::Listening);
        } else {
            let wait = self.span(300);
            self.listener_later(wait, id, (life, Step::Ends));
        }
        true
    }

    pub(super) fn stop_listening(&mut self, id: &ContainerId, patience: Patience) {
        let Some(agent) = self.agent(id, |_| true) else { return };
        let Some(listener) = agent.listener.as_ref().filter(|it| it.is_alive()) else {
            self.say_listener(id);
            return;
        };
        match (listener.work, patience) {
            (None, _) => self.end_listener(id, (0, ""), true),
            (Some(_), Patience::Spare) => self.say_listener(id),
            (Some(job), Patience::Cancel(_)) => {
                let runner = listener.status.runner;
                self.with_listener(id, |listener| listener.work = None);
                if let Some(runner) = runner {
                    self.end_job(job, runner, "cancelled");
                }
                self.end_listener(id, (0, ""), true);
            }
        }
    }

    /// The listener dies, and its agent lives; what it did dies with it.
    pub fn kill_listener(&mut self, id: &ContainerId) {
        self.note(format!("the listener in {id} is killed"));
        self.end_listener(id, (137, ""), false);
    }

    /// The listener makes no progress from now on, unless it has a job.
    pub fn freeze_listener(&mut self, id: &ContainerId) {
        let Some(agent) = self.agent(id, |_| true) else { return };
        let life = agent.life;
        let is_waiting = |it: &&mut Listener| it.status.stage == ListenerStage::Listening;
        let Some(listener) = agent.listener.as_mut().filter(is_waiting) else { return };
        listener.fate = Fate::Freezes;
        self.note(format!("the listener in {id} freezes"));
        self.listener_later(STUCK, id, (life, Step::Stuck));
    }

    fn forget_identity(&mut self, listener: &Listener) {
        self.forge.identities.remove(&listener.place());
    }

    fn end_listener(&mut self, id: &ContainerId, (code, said): (i32, &str), is_clean: bool) {
        let is_alive =
            |agent: &super::agent::Agent| agent.listener.as_ref().is_some_and(Listener::is_alive);
        if self.agent(id, is_alive).is_none() {
            return;
        }
        self.end_session(id, is_clean);
        self.listener_over(id, ListenerEnd::Exited { code, said: said.to_owned() });
    }

    fn listener_over(&mut self, id: &ContainerId, end: ListenerEnd) {
        let Some(agent) = self.agent(id, |_| true) else { return };
        let life = agent.life;
        let is_kept = agent.listener.as_ref().is_some_and(Listener::is_kept);
        self.with_listener(id, |listener| {
            listener.work = None;
            listener.status.stuck = None;
            listener.status.stage = ListenerStage::Over(end);
        });
        if is_kept {
            self.listener_later(ALONE, id, (life, Step::Quits));
        }
    }

    /// Changes a listener, and says how it is then.
    fn with_listener(&mut self, id: &ContainerId, change: impl FnOnce(&mut Listener)) {
        if let Some(listener) = self.agent(id, |_| true).and_then(|it| it.listener.as_mut()) {
            change(listener);
            self.say_listener(id);
        }
    }

    /// Says how the listener is, if there is one.
    pub(super) fn say_listener(&mut self, id: &ContainerId) {
        let agent = self.containers.get(id).map(|container| &container.agent);
        if let Some(listener) = agent.and_then(|agent| agent.listener.as_ref()) {
            let status = listener.status.clone();
            self.say(id, AgentEvent::Listener(status));
        }
    }
}
