//! A simulated engine, agents, store and clock below the core's border, for tests and for trying
//! a spec without Docker.
//!
//! The world consumes effects and produces events; the real [`Fleet`] decides. The oracle looks at
//! the truth after every step. Start with [`Sim`]; `script` writes stories, `explore` makes them
//! up.

pub mod clock;
pub mod explore;
pub mod fault;
pub mod oracle;
pub mod records;
pub mod rng;
pub mod script;
#[cfg(test)]
mod stories;
pub mod transcript;
pub mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::fleet::audit::Client;
use crate::fleet::disk::{DiskFacts, Reserve};
use crate::fleet::effect::{Answer, Effect};
use crate::fleet::event::{Event, Request};
use crate::fleet::forge::ForgeEvent;
use crate::fleet::host::HostFacts;
use crate::fleet::state::Record;
use crate::fleet::{Fleet, Step};
use crate::ids::{FleetId, RequestId, ScopeUrl};
use crate::spec::{ForgeAccess, Spec};
use crate::units::{Bytes, Time};
use fault::Fault;
use oracle::Oracle;
use records::Records;
use rng::Rng;
use transcript::{Transcript, Writing};
use world::{Happening, World};

/// Events of one moment are taken in together, up to this many.
const BATCH_MAX: usize = 16;

/// A fleet in a simulated world.
#[derive(Debug)]
pub struct Sim {
    /// The world.
    pub world: World,
    /// What survives a supervisor.
    pub records: Records,
    /// What watches over both.
    pub oracle: Oracle,
    fleet: Option<Fleet>,
    spec: Spec,
    host: HostFacts,
    chance: Rng,
    /// Steps that the core made.
    pub steps: u64,
    last_request: RequestId,
    answer: Option<Answer>,
    is_finished: bool,
}

/// Which fleet it is.
const FLEET: &str = "5eed5eed00000000";

/// The scopes that a shell reads: those where it has a right of its own.
fn scopes(spec: &Spec) -> BTreeSet<ScopeUrl> {
    let forges = spec.pools.iter().filter_map(|pool| pool.forge.as_ref());
    let read = forges.filter(|forge| !matches!(forge.access, ForgeAccess::Tokens(_)));
    read.map(|forge| forge.scope.clone()).collect()
}

/// Who asks in simulations.
fn operator() -> Client {
    Client::new("operator")
}

/// Where a supervisor dies in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    /// Before anything is recorded: the step never was.
    BeforeRecords,
    /// After the records and this many effects.
    AfterEffects(usize),
}

impl Sim {
    /// An empty world of a seed, and a supervisor that starts with `spec`.
    #[must_use]
    pub fn new(seed: u64, writing: Writing, (spec, host): (Spec, HostFacts)) -> Self {
        let mut chance = Rng::new(seed);
        let mut sim = Self {
            world: World::new(chance.next(), Transcript::new(writing)),
            records: Records::default(),
            oracle: Oracle::default(),
            fleet: None,
            spec,
            host,
            chance,
            steps: 0,
            last_request: RequestId(0),
            answer: None,
            is_finished: false,
        };
        sim.start();
        sim
    }

    /// The core, while a supervisor lives.
    #[must_use]
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.world.now()
    }

    /// Whether the core said that everything is removed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Chance begins anew from a seed, so that what went before does not matter to it.
    pub fn reseed(&mut self, seed: u64) {
        self.chance = Rng::new(seed);
        self.world.reseed(self.chance.next());
    }

    /// A supervisor starts from what is recorded.
    pub fn start(&mut self) {
        if self.fleet.is_some() || self.is_finished {
            return;
        }
        let restored = self.records.restored();
        let spec = restored.meta.spec.clone().unwrap_or_else(|| self.spec.clone());
        self.world.follow_scopes(scopes(&spec));
        self.fleet = Some(Fleet::restore(spec, restored, self.now()));
        self.world.watch();
        self.oracle.started(self.world.now());
        let identity = ForgeEvent::Identity(FleetId::new(FLEET));
        self.feed(vec![Event::Host(self.host.clone()), Event::Forge(identity)]);
    }

    /// The supervisor dies at this moment, and starts again after a while.
    pub fn crash(&mut self, pause: Duration) {
        if self.fleet.take().is_none() {
            return;
        }
        self.world.note("the supervisor dies".to_owned());
        self.world.unwatch();
        self.world.restart_after(pause);
    }

    /// Asks for something; no answer when there is no supervisor, or it dies over the question.
    pub fn ask(&mut self, request: Request) -> Option<Answer> {
        self.fleet.as_ref().filter(|_| !self.world.is_asleep())?;
        self.last_request = self.last_request.next();
        self.world.note(transcript::of_request(&request));
        if let Request::Complete { job, end } = request {
            self.world.truth.completed.insert((job, end));
        }
        self.answer = None;
        self.oracle.asked(self.world.now(), &request);
        self.feed(vec![Event::Request { id: self.last_request, by: operator(), request }]);
        self.answer.take()
    }

    /// The supervisor is told something that the world had no part in.
    pub fn hear(&mut self, event: Event) {
        if self.fleet.is_some()
            && let Happening::Heard(event) = self.world.hear(event)
        {
            self.feed(vec![*event]);
        }
    }

    /// The supervisor looks at its disk and finds this much free of 100 GiB.
    pub fn find_free(&mut self, free: Bytes) {
        let disk = DiskFacts {
            path: "/state".into(),
            holds: "state".to_owned(),
            free,
            total: Bytes::gib(100),
            reserve: Reserve::Held,
        };
        let event = Event::Disks(vec![disk]);
        if let Happening::Heard(event) = self.world.hear(event) {
            self.feed(vec![*event]);
        }
    }

    /// Lets the next thing happen. `false` when nothing will happen any more.
    pub fn step(&mut self) -> bool {
        let Some(happening) = self.world.next() else { return false };
        match happening {
            Happening::Unnoticed => {}
            Happening::Start => self.start(),
            Happening::Heard(event) => {
                let mut events = vec![*event];
                self.gather(&mut events);
                self.feed(events);
            }
        }
        true
    }

    /// Takes in what happens at the same moment; a new supervisor waits for its turn.
    fn gather(&mut self, events: &mut Vec<Event>) {
        let now = self.now();
        while events.len() < BATCH_MAX && self.world.next_is_told_at(now) {
            if let Some(Happening::Heard(event)) = self.world.next() {
                events.push(*event);
            }
        }
    }

    /// Lets things happen up to a time.
    pub fn run_until(&mut self, time: Time) {
        while !self.is_finished && self.world.next_at().is_some_and(|next| next <= time) {
            self.step();
        }
        self.world.skip_to(time);
    }

    /// Lets things happen for a while.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now() + span);
    }

    fn feed(&mut self, events: Vec<Event>) {
        let now = self.now();
        let crash = self.crash_point();
        let Some(fleet) = &mut self.fleet else { return };
        self.oracle.heard(now, &events);
        self.steps += 1;
        let step = fleet.handle(now, events);
        if crash == Some(Crash::BeforeRecords) {
            self.die_in_step();
            return;
        }
        self.records.apply(&step.records);
        self.write_down(&step);
        if step.records.iter().any(|record| matches!(record, Record::Meta(_)))
            && let Some(spec) = &self.records.meta.spec
        {
            self.world.follow_scopes(scopes(spec));
        }
        let most = match crash {
            Some(Crash::AfterEffects(most)) => most,
            Some(Crash::BeforeRecords) | None => usize::MAX,
        };
        self.oracle.decided(&self.world, &self.records, &step);
        for effect in step.effects.into_iter().take(most) {
            self.perform(effect);
        }
        if let Some(fleet) = &mut self.fleet {
            self.oracle.check(&self.world, &self.records, fleet);
        }
        if crash.is_some() {
            self.die_in_step();
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { answer, .. } => {
                self.oracle.answered(&answer);
                self.answer = Some(answer);
            }
            Effect::Finish => self.is_finished = true,
            effect => self.world.run(effect),
        }
    }

    fn crash_point(&mut self) -> Option<Crash> {
        if !self.world.faults.strikes(Fault::Crash, &mut self.chance) {
            return None;
        }
        Some(match self.chance.below(3) {
            0 => Crash::BeforeRecords,
            1 => Crash::AfterEffects(0),
            _ => Crash::AfterEffects(usize::try_from(self.chance.below(6)).unwrap_or(0)),
        })
    }

    fn die_in_step(&mut self) {
        let pause = Duration::from_millis(self.chance.between(100, 20_000));
        self.crash(pause);
    }

    fn write_down(&mut self, step: &Step) {
        if !self.world.transcript.is_on() {
            return;
        }
        for record in &step.records {
            if let Record::Audit(entry) = record {
                self.world.note(transcript::of_audit(entry));
            }
        }
        for effect in &step.effects {
            self.world.note(transcript::of_effect(effect));
        }
    }
}
