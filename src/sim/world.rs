//! The world below the border: runs effects, lets time pass, and says what a supervisor would hear.
//!
//! It keeps the truth (which processes really live) apart from what is told of it, because telling
//! is where things go wrong: late, twice, or not at all.

pub mod agent;
pub mod cards;
mod due;
mod engine;
pub mod forge;
mod listener;
pub mod memory;
mod operate;
pub mod trouble;
pub mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::Clock;
use super::fault::{Fault, Faults};
use super::rng::Rng;
use super::transcript::{self, Transcript};
use crate::fleet::effect::Effect;
use crate::fleet::event::{ContainerExit, ContainerState, EngineEvent, Event};
use crate::fleet::forge::{ListenOrder, ListenerStage};
use crate::fleet::runner::OpKind;
use crate::ids::{
    AttemptNo, ContainerId, ForgeJobId, GpuUuid, ImageId, ImageRef, IncarnationId, JobId,
    ProfileName,
};
use crate::spec::Reuse;
use crate::units::Time;
use agent::Agent;
use cards::Card;
pub(super) use due::{Due, Operation, Told};
use forge::Forge;
use truth::Truth;

/// Simulated time begins here, so that "long ago" is a time too.
pub const BEGIN: Time = Time(1_000_000_000);
/// The shell lists the containers this often.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// The shell looks again this long after an engine did not answer.
const LIST_RETRY: Duration = Duration::from_secs(1);

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Always the same.
    Even,
    /// Between half and four times as long.
    Uneven,
}

/// A number that tells one session or one life of a process from the next.
pub type Turn = u64;

/// What comes out of the world.
#[derive(Debug)]
pub enum Happening {
    /// The supervisor hears something.
    Heard(Box<Event>),
    /// A supervisor is to be started.
    Start,
    /// Nobody notices.
    Unnoticed,
}

/// One container.
#[derive(Debug, Clone)]
pub struct Container {
    /// From its label.
    pub incarnation: IncarnationId,
    /// Unique on the engine.
    pub name: String,
    /// What it is for.
    pub profile: ProfileName,
    /// Its card.
    pub gpu: Option<GpuUuid>,
    /// Whether it serves many jobs.
    pub reuse: Reuse,
    /// Its state.
    pub state: ContainerState,
    /// Its last fall.
    pub(super) fall: Turn,
    /// When that was, and how.
    pub(super) fell: Option<(Time, ContainerExit)>,
    /// Since when its first process lives, if it does.
    pub since: Time,
    /// Its first process.
    pub agent: Agent,
    /// Every attempt that began in it, and in which life of its first process.
    pub served: BTreeMap<(JobId, AttemptNo), Turn>,
    /// What its listener was told, where that outlives its first process.
    pub(super) listens: Option<ListenOrder>,
}

impl Container {
    /// Whether it died once and lives again.
    #[must_use]
    pub fn is_revived(&self) -> bool {
        self.state == ContainerState::Running && self.fall > 0
    }

    /// The job of its forge whose processes live in it.
    #[must_use]
    pub fn forge_work(&self) -> Option<ForgeJobId> {
        match self.state {
            ContainerState::Running => self.agent.listener.as_ref()?.work,
            ContainerState::Created | ContainerState::Exited(_) | ContainerState::Removing => None,
        }
    }

    /// Whether a listener in it waits for its forge's jobs.
    #[must_use]
    pub fn listens(&self) -> bool {
        let listener = self.agent.listener.as_ref();
        listener.is_some_and(|it| it.status.stage == ListenerStage::Listening)
    }

    /// The attempt whose processes live in it.
    #[must_use]
    pub fn live_work(&self) -> Option<(JobId, AttemptNo)> {
        match self.state {
            ContainerState::Running => self.agent.live_work(),
            ContainerState::Created | ContainerState::Exited(_) | ContainerState::Removing => None,
        }
    }
}

/// Engine, agents and clock.
#[derive(Debug)]
pub struct World {
    pub(super) clock: Clock<Due>,
    pub(super) rng: Rng,
    /// What goes wrong.
    pub faults: Faults,
    /// How long things take.
    pub pace: Pace,
    /// How often the shell tells the core of the time.
    pub tick_every: Duration,
    /// Every container that exists.
    pub containers: BTreeMap<ContainerId, Container>,
    /// Operations of these kinds fail every time.
    pub failing: Vec<OpKind>,
    /// Outcomes of operations are told this much later than they are.
    pub slow_reports: Duration,
    /// Lists are told this much later than they are made.
    pub slow_lists: Duration,
    /// Lists are empty, whatever there is.
    pub lists_nothing: bool,
    /// Tells of kills before it knows their cause, and of that so much later.
    pub asking: Option<Duration>,
    /// Images that are not to be had.
    pub missing_images: BTreeSet<ImageRef>,
    /// Counts up when images are built anew.
    pub image_build: u32,
    /// Every card that is read.
    pub cards: BTreeMap<GpuUuid, Card>,
    /// What jobs have of their cards where it is not the usual, in MiB.
    pub uses: BTreeMap<ContainerId, u32>,
    /// The forge, and what the shell keeps of it.
    pub forge: Forge,
    /// What really happened.
    pub truth: Truth,
    /// The story so far.
    pub transcript: Transcript,
    pub(super) epoch: Turn,
    pub(super) is_watched: bool,
    pub(super) is_engine_up: bool,
    hung: Time,
    asleep: Time,
    /// Names of containers that are not this fleet's.
    pub(super) foreign: BTreeSet<String>,
    turns: Turn,
    containers_made: u64,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, transcript: Transcript) -> Self {
        Self {
            clock: Clock::new(BEGIN),
            rng: Rng::new(seed),
            faults: Faults::NONE,
            pace: Pace::Even,
            tick_every: Duration::from_secs(1),
            containers: BTreeMap::new(),
            failing: Vec::new(),
            slow_reports: Duration::ZERO,
            slow_lists: Duration::ZERO,
            lists_nothing: false,
            asking: None,
            missing_images: BTreeSet::new(),
            image_build: 1,
            cards: BTreeMap::new(),
            uses: BTreeMap::new(),
            forge: Forge::default(),
            truth: Truth::default(),
            transcript,
            epoch: 0,
            is_watched: false,
            is_engine_up: true,
            hung: BEGIN,
            asleep: BEGIN,
            foreign: BTreeSet::new(),
            turns: 0,
            containers_made: 0,
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.clock.next_at()
    }

    /// Whether the next thing happens at `now` and may be something that is told.
    #[must_use]
    pub fn next_is_told_at(&self, now: Time) -> bool {
        self.clock.peek().is_some_and(|(time, due)| {
            time == now && matches!(due, Due::Tell(..) | Due::Say(..) | Due::Tick(_))
        })
    }

    /// Lets time pass in which nothing happens.
    pub fn skip_to(&mut self, time: Time) {
        self.clock.skip_to(time);
    }

    /// The next thing that happens.
    pub fn next(&mut self) -> Option<Happening> {
        let due = self.clock.pop()?;
        if self.waits_for_supervisor(&due) {
            self.clock.at(self.asleep, due);
            return Some(Happening::Unnoticed);
        }
        Some(self.happen(due))
    }

    fn happen(&mut self, due: Due) -> Happening {
        match due {
            Due::Tell(epoch, event) => return self.heard(epoch, *event),
            Due::Say(container, session, event) => return self.arrive(&container, session, event),
            Due::Order(container, session, order) => self.obey(&container, session, *order),
            Due::Operate(operation) => self.operate(*operation),
            Due::Vanish(container, report) => self.vanish(&container, report),
            Due::Connect(container, life) => self.connect(&container, life),
            Due::Beat(container, session) => self.beat(&container, session),
            Due::Begin(container, job, attempt) => self.begin(&container, (job, attempt)),
            Due::End(container, job, attempt, end) => {
                self.end_work(&container, (job, attempt), end);
            }
            Due::ListAgain(epoch) => self.list_again(epoch),
            Due::Snapshot(epoch, begun) => self.snapshot(epoch, begun),
            Due::Tick(epoch) => return self.tick(epoch),
            Due::Lookup(epoch, image) => self.lookup(epoch, image),
            Due::EngineBack => self.engine_back(),
            Due::Revive(container, fall) => self.revive(&container, fall),
            Due::Unhang(container, life) => self.unhang(&container, life),
            Due::Read(epoch) => self.read(epoch),
            Due::Clean(card, container, memory) => self.clean(&card, &container, memory),
            Due::Forge(due) => return self.at_forge(due),
            Due::Start => return Happening::Start,
        }
        Happening::Unnoticed
    }

    /// A supervisor starts: sessions of agents may come in, lists and ticks begin.
    pub fn watch(&mut self) {
        self.is_watched = true;
        let epoch = self.epoch;
        let wait = self.span(10);
        self.clock.after(wait, Due::ListAgain(epoch));
        self.replay_deaths();
        self.clock.after(self.tick_every, Due::Tick(epoch));
        if !self.cards.is_empty() {
            self.clock.after(Duration::ZERO, Due::Read(epoch));
        }
        self.watch_forge();
    }

    /// The supervisor is gone: whatever was on its way to it is lost.
    pub fn unwatch(&mut self) {
        self.is_watched = false;
        self.forge.unwatch();
        self.asleep = self.now();
        self.epoch += 1;
        // Whoever dies asleep does not wake up; what it slept is over.
        let now = self.now();
        for container in self.containers.values_mut() {
            container.agent.heard = container.agent.heard.min(now);
        }
        let outlived = std::mem::take(&mut self.truth.in_flight);
        self.truth.limbo.extend(outlived.into_keys());
        let all: Vec<ContainerId> = self.containers.keys().cloned().collect();
        for container in all {
            self.hang_up(&container);
        }
    }

    /// Starts a new supervisor after a while.
    pub fn restart_after(&mut self, wait: Duration) {
        self.clock.after(wait, Due::Start);
    }

    /// Carries out an effect; what the loop itself does (answers, the end) is not the world's.
    pub fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Engine { op, incarnation, action } => self.begin_op(op, incarnation, action),
            Effect::ResolveImage(image) => {
                let wait = self.span(20);
                self.clock.after(wait, Due::Lookup(self.epoch, image));
            }
            Effect::Agent { incarnation, order } => self.send(incarnation, order),
            Effect::PublishReports { job, attempt, search, .. } => {
                self.publish((job, attempt), search.is_some());
            }
            Effect::PublishForgeReports { incarnation, reports } => {
                let event = Event::ForgePublished { incarnation, reports, outcome: Ok(()) };
                let wait = self.span(20);
                self.clock.after(wait, Due::Tell(self.epoch, Box::new(event)));
            }
            Effect::Relist => self.list_soon(),
            Effect::Forge { op, incarnation, action } => self.call_forge(op, incarnation, action),
            Effect::LookAtForge(scope) => self.read_forge(scope),
            Effect::Answer { .. }
            | Effect::DropBlob(_)
            | Effect::CloseLog(_)
            | Effect::DropLog(_)
            | Effect::Forget(_)
            | Effect::Finish => {}
        }
    }

    /// Whether a list was made and is not told yet.
    #[must_use]
    pub fn is_list_on_its_way(&self) -> bool {
        self.clock.pending().any(|due| {
            matches!(due, Due::Tell(_, event)
                if matches!(**event, Event::Engine(EngineEvent::Listed { .. })))
        })
    }

    /// Whether something of the past may still change the world.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        !self.clock.pending().any(Due::is_awaited)
    }

    pub(super) fn tell(&mut self, wait: Duration, event: Event) {
        self.clock.after(wait, Due::Tell(self.epoch, Box::new(event)));
    }

    /// Whether a fault strikes now.
    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        self.faults.strikes(fault, &mut self.rng)
    }

    /// Chance begins anew from a seed, so that what went before does not matter to it.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }

    /// A base time in milliseconds, as the pace makes it.
    pub(super) fn span(&mut self, base: u64) -> Duration {
        Duration::from_millis(match self.pace {
            Pace::Even => base,
            Pace::Uneven => self.rng.between(base / 2, base * 4),
        })
    }

    pub(super) fn turn(&mut self) -> Turn {
        self.turns += 1;
        self.turns
    }

    pub(super) fn note(&mut self, line: String) {
        let now = self.now();
        self.transcript.note(now, line);
    }

    fn heard(&mut self, epoch: Turn, event: Event) -> Happening {
        if epoch != self.epoch || !self.is_watched {
            return Happening::Unnoticed;
        }
        self.hear(event)
    }

    pub(super) fn hear(&mut self, event: Event) -> Happening {
        let is_list = matches!(event, Event::Engine(EngineEvent::Listed { .. }) | Event::Forge(_));
        if (self.transcript.is_on() || is_list)
            && let Some(line) = transcript::of_event(&event, &self.truth)
        {
            self.note(line);
        }
        if let Event::Operation { op, .. } = &event {
            self.truth.in_flight.retain(|_, flying| flying != op);
        }
        if let Event::ForgeOperation { op, .. } = &event {
            self.forge.in_flight.retain(|_, flying| flying != op);
        }
        Happening::Heard(Box::new(event))
    }

    fn tick(&mut self, epoch: Turn) -> Happening {
        if epoch != self.epoch || !self.is_watched {
            return Happening::Unnoticed;
        }
        self.clock.after(self.tick_every, Due::Tick(epoch));
        Happening::Heard(Box::new(Event::Tick))
    }

    fn list_again(&mut self, epoch: Turn) {
        if epoch != self.epoch || !self.is_watched {
            return;
        }
        let next = if self.is_engine_up { LIST_EVERY } else { LIST_RETRY };
        self.clock.after(next, Due::ListAgain(epoch));
        self.list_soon();
    }

    /// What looking up an image says now.
    #[must_use]
    pub fn image(&self, name: &str) -> Event {
        let image = ImageRef::new(name);
        let outcome = match self.missing_images.contains(&image) {
            true => Err("no such image".to_owned()),
            false => Ok(ImageId::new(format!("sha256:{image}-{}", self.image_build))),
        };
        Event::Engine(EngineEvent::Image { image, outcome })
    }

    fn lookup(&mut self, epoch: Turn, image: ImageRef) {
        if let Some(back) = self.hung_until() {
            self.clock.at(back, Due::Lookup(epoch, image));
            return;
        }
        let mut event = self.image(image.as_str());
        if self.strikes(Fault::ImageMissing) {
            let outcome = Err("no such image".to_owned());
            event = Event::Engine(EngineEvent::Image { image, outcome });
        }
        self.clock.after(Duration::ZERO, Due::Tell(epoch, Box::new(event)));
    }
}
