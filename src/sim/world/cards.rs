//! The simulated cards: what is really on them, and the readings that a supervisor gets.

use std::time::Duration;

use super::{Container, Due, Turn, World};
use crate::fleet::event::{ContainerState, Event};
use crate::fleet::gpu::{GpuFacts, GpuHealth, GpuProcess, GpuReading, GpuReport, XidReport};
use crate::ids::{ContainerId, GpuUuid};
use crate::sim::fault::Fault;
use crate::units::GpuMib;

/// The shell reads the cards this often.
const READ_EVERY: Duration = Duration::from_secs(2);
/// What a job has of its card if nobody says otherwise, in MiB.
const USE: u32 = 1_000;
/// What is left of a runner stays this long at most, in milliseconds.
const LEFT_MAX: u64 = 60_000;

/// A card as it really is.
#[derive(Debug, Clone)]
pub struct Card {
    /// What it is.
    pub facts: GpuFacts,
    /// What somebody else has of it, in MiB.
    pub others: u32,
    /// What no process has of it, in MiB.
    pub leak: u32,
    /// Processes that outlived their containers, with their memory.
    pub left: Vec<(ContainerId, u32)>,
    /// Its uncorrected memory errors.
    pub ecc: u64,
    /// What its driver says.
    pub health: GpuHealth,
    /// Whether its driver lists it.
    pub is_listed: bool,
    /// Whether it was ever reported as lost.
    pub was_lost: bool,
}

impl World {
    /// The shell reads these cards from now on.
    pub fn read_cards(&mut self, cards: &[GpuFacts]) {
        let card = |facts: &GpuFacts| Card {
            facts: facts.clone(),
            others: 0,
            leak: 0,
            left: Vec::new(),
            ecc: 0,
            health: GpuHealth::Ok,
            is_listed: true,
            was_lost: false,
        };
        self.cards = cards.iter().map(|it| (it.uuid.clone(), card(it))).collect();
        self.clock.after(Duration::ZERO, Due::Read(self.epoch));
    }

    pub(super) fn read(&mut self, epoch: Turn) {
        if epoch != self.epoch || !self.is_watched || self.cards.is_empty() {
            return;
        }
        self.clock.after(READ_EVERY, Due::Read(epoch));
        if self.strikes(Fault::ReadingLost) {
            return;
        }
        let late = if self.strikes(Fault::ReadingLate) { 20_000 } else { 0 };
        let wait = self.span(5) + Duration::from_millis(self.rng.below(late + 1));
        let report = self.reading_now();
        self.tell(wait, Event::Gpus(report));
    }

    /// What reading the cards says now.
    #[must_use]
    pub fn reading_now(&self) -> GpuReport {
        let listed = self.cards.values().filter(|card| card.is_listed);
        GpuReport {
            cards: listed.map(|card| self.reading(card)).collect(),
            library: Some("simulated".to_owned()),
            begun: Some(self.now()),
            ..GpuReport::default()
        }
    }

    fn reading(&self, card: &Card) -> GpuReading {
        let mut reading = GpuReading::unread(card.facts.clone());
        reading.health = card.health.clone();
        if matches!(card.health, GpuHealth::Lost(_)) {
            return reading;
        }
        let process = |pid: u32, name: &str, container: Option<&ContainerId>, memory: u32| {
            let memory = Some(GpuMib(memory));
            let name = name.to_owned();
            GpuProcess {
                pid,
                name,
                container: container.cloned(),
                nested: Vec::new(),
                runner: None,
                memory,
                busy_percent: u8::try_from(pid % 101).ok(),
            }
        };
        let mut processes = Vec::new();
        for (id, container) in self.containers.iter().filter(|(_, it)| is_on(it, card)) {
            let memory = self.use_of(id, container);
            if memory > 0 {
                processes.push(process(self.pid(id), "job", Some(id), memory));
            }
        }
        for (id, memory) in &card.left {
            processes.push(process(self.pid(id), "job", Some(id), *memory));
        }
        if card.others > 0 {
            processes.push(process(1, "game", None, card.others));
        }
        let owned: u32 = processes.iter().filter_map(|it| it.memory).map(|it| it.0).sum();
        reading.used = Some(GpuMib(owned.saturating_add(card.leak)));
        reading.processes = Some(processes);
        reading.ecc_errors = Some(card.ecc);
        reading
    }

    fn use_of(&self, id: &ContainerId, container: &Container) -> u32 {
        let is_working = container.state == ContainerState::Running && container.agent.is_working();
        let own = self.uses.get(id).copied().unwrap_or(USE);
        if is_working { own } else { 0 }
    }

    /// The number of a container's process on its card.
    #[must_use]
    pub fn pid(&self, id: &ContainerId) -> u32 {
        let number = id.as_str().trim_start_matches('c').parse::<u32>();
        1_000_u32.saturating_add(number.unwrap_or(0))
    }

    /// A container ended: its processes on its card may not have.
    pub(super) fn leave_card(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let Some(uuid) = container.gpu.clone().filter(|uuid| self.cards.contains_key(uuid)) else {
            return;
        };
        let memory = self.uses.get(id).copied().unwrap_or(USE);
        let (stays, leaks) = (self.strikes(Fault::ProcessStays), self.strikes(Fault::MemoryLeaks));
        let wait = Duration::from_millis(self.rng.below(LEFT_MAX));
        let Some(card) = self.cards.get_mut(&uuid) else { return };
        if stays {
            card.left.push((id.clone(), memory));
            self.note(format!("a process of {id} stays on {uuid}"));
        } else if leaks {
            card.leak = card.leak.saturating_add(memory);
            self.note(format!("memory of {id} stays on {uuid} without a process"));
        } else {
            return;
        }
        self.clock.after(wait, Due::Clean(uuid, id.clone(), memory));
    }

    /// What was left over goes.
    pub(super) fn clean(&mut self, uuid: &GpuUuid, id: &ContainerId, memory: u32) {
        let Some(card) = self.cards.get_mut(uuid) else { return };
        let before = card.left.len();
        card.left.retain(|(left, _)| left != id);
        if card.left.len() == before {
            card.leak = card.leak.saturating_sub(memory);
        }
        self.note(format!("nothing of {id} is left on {uuid}"));
    }

    /// Somebody else has so much of a card from now on, in MiB.
    pub fn use_by_others(&mut self, uuid: &GpuUuid, memory: u32) {
        self.note(format!("somebody else has {memory} MiB of {uuid}"));
        if let Some(card) = self.cards.get_mut(uuid) {
            card.others = memory;
        }
    }

    /// A container's job has so much of its card from now on, in MiB.
    pub fn use_by(&mut self, id: &ContainerId, memory: u32) {
        self.note(format!("the job in {id} has {memory} MiB of its card"));
        self.uses.insert(id.clone(), memory);
    }

    /// A driver reports an Xid, for the process of a container if one is given.
    pub fn report_xid(&mut self, uuid: &GpuUuid, xid: u32, of: Option<&ContainerId>) {
        self.note(format!("{uuid} has Xid {xid}"));
        let is_fatal = xid == 79;
        if let Some(card) = self.cards.get_mut(uuid) {
            card.was_lost |= is_fatal;
        }
        let pid = of.map(|id| self.pid(id));
        let report = XidReport { xid, card: uuid.clone(), pid, at: self.now() };
        let wait = self.span(1);
        self.tell(wait, Event::Xid(report));
    }

    /// A card's state changes.
    pub fn turn_card(&mut self, uuid: &GpuUuid, what: &str, change: impl FnOnce(&mut Card)) {
        self.note(format!("{uuid} {what}"));
        if let Some(card) = self.cards.get_mut(uuid) {
            change(card);
            card.was_lost |= matches!(card.health, GpuHealth::Lost(_));
        }
    }

    /// Nobody else uses the cards, and all are well.
    pub fn heal_cards(&mut self) {
        for card in self.cards.values_mut() {
            card.others = 0;
            card.health = GpuHealth::Ok;
            card.is_listed = true;
        }
        self.uses.clear();
    }
}

fn is_on(container: &Container, card: &Card) -> bool {
    container.gpu.as_ref() == Some(&card.facts.uuid)
}
