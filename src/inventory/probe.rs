//! All cards of this machine, whoever made them: found and read together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::fdinfo;
use super::nvml::{Nvidia, Patience, XidSink};
use super::process::{Use, describe};
use super::sysfs::{self, Discovered, SysfsCard};
use super::worker::Worker;
use crate::fleet::gpu::{GpuHealth, GpuReading, GpuReport};

/// Reading the kernel's files of all cards; a driver in trouble blocks them.
const SYSFS_DEADLINE: Duration = Duration::from_secs(3);
/// How often cards and their processes are looked for in the kernel's files.
const DISCOVER_EVERY: Duration = Duration::from_secs(60);
/// How often every process' open files are walked through.
const WALK_EVERY: Duration = Duration::from_secs(5);

/// Where cards are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuSources {
    /// NVIDIA's library; the first that is found if none.
    pub nvml_lib: Option<PathBuf>,
    /// How long it may take to answer.
    pub patience: Patience,
    /// The kernel's files.
    pub roots: Roots,
}

/// Where the kernel's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), dev: "/dev".into() }
    }
}

/// Reads the cards of this machine again and again.
pub struct GpuProbe {
    roots: Roots,
    nvidia: Nvidia,
    others: Option<Worker<Duration, Others>>,
    /// What the kernel's files told last.
    known: Others,
}

/// What the kernel's files tell.
#[derive(Debug, Clone, Default)]
struct Others {
    readings: Vec<(GpuReading, Option<Vec<Use>>)>,
    notes: Vec<String>,
}

impl GpuProbe {
    /// Looks nowhere yet. Xids are told to the sink, from a thread of its own.
    #[must_use]
    pub fn new(sources: GpuSources, sink: Option<XidSink>) -> Self {
        let GpuSources { nvml_lib, patience, roots } = sources;
        let mut files = Files::new(roots.clone());
        let others = Worker::start("gpu-files", move |at| files.read(at)).ok();
        let nvidia = Nvidia::new(nvml_lib, patience, sink);
        Self { roots, nvidia, others, known: Others::default() }
    }

    /// Everything as it is now; `at` is the time since the first look. Takes seconds at most,
    /// whatever the drivers do.
    pub fn read(&mut self, at: Duration) -> GpuReport {
        let asked = self.others.as_mut().map(|worker| worker.ask(at));
        let nvidia = self.nvidia.read(at);
        let told = match (asked, &mut self.others) {
            (Some(Ok(())), Some(worker)) => worker.wait(SYSFS_DEADLINE).ok(),
            _ => None,
        };
        match told {
            Some(told) => self.known = told,
            None => self.known.silence(),
        }
        let mut cards: Vec<GpuReading> = Vec::new();
        for (mut reading, uses) in nvidia.into_iter().chain(self.known.readings.iter().cloned()) {
            reading.card.index = u32::try_from(cards.len()).unwrap_or(u32::MAX);
            reading.processes = uses.map(|uses| describe(&self.roots.proc, &uses));
            cards.push(reading);
        }
        let mut notes = self.nvidia.notes().to_vec();
        notes.extend(self.known.notes.iter().cloned());
        notes.extend(foreign_numbers(&cards));
        GpuReport {
            cards,
            notes,
            library: self.nvidia.library().map(str::to_owned),
            driver: self.nvidia.driver().map(str::to_owned),
            begun: None,
        }
    }
}

/// Drivers give the host's process numbers. Inside a namespace of its own a program does not find
/// them, or finds others.
fn foreign_numbers(cards: &[GpuReading]) -> Option<String> {
    let mut processes = cards.iter().flat_map(|card| card.processes.iter().flatten()).peekable();
    processes.peek()?;
    processes.all(|process| process.name.is_empty()).then(|| {
        "the processes on the GPUs are not in /proc: a supervisor in a container needs the host's \
         process numbers (`pid: host`)"
            .to_owned()
    })
}

impl Others {
    /// What a driver that does not answer leaves: the cards, of which nothing is known.
    fn silence(&mut self) {
        for (reading, uses) in &mut self.readings {
            let why = "the kernel's files of the card cannot be read in time".to_owned();
            *reading = GpuReading {
                health: GpuHealth::Unresponsive(why),
                ..GpuReading::unread(reading.card.clone())
            };
            *uses = None;
        }
    }
}

/// The kernel's files, on the worker's side.
struct Files {
    roots: Roots,
    found: Discovered,
    /// Cards that were there: somebody may hold a lease on them.
    gone: Vec<SysfsCard>,
    watch: fdinfo::Watch,
    uses: BTreeMap<String, Vec<Use>>,
    discover_at: Duration,
    walk_at: Duration,
}

impl Files {
    fn new(roots: Roots) -> Self {
        Self {
            roots,
            found: Discovered::default(),
            gone: Vec::new(),
            watch: fdinfo::Watch::default(),
            uses: BTreeMap::new(),
            discover_at: Duration::ZERO,
            walk_at: Duration::ZERO,
        }
    }

    fn read(&mut self, at: Duration) -> Others {
        if at >= self.discover_at {
            self.discover_at = at + DISCOVER_EVERY;
            self.discover();
        }
        if !self.found.cards.is_empty() && at >= self.walk_at {
            self.walk_at = at + WALK_EVERY;
            self.uses = self.watch.look(&self.roots.proc, at);
        }
        let here = self.found.cards.iter().map(|card| {
            let uses = self.uses.get(&card.address).cloned().unwrap_or_default();
            (sysfs::read(card), Some(uses))
        });
        let gone = self.gone.iter().map(|card| {
            let health = GpuHealth::Lost("it is not on the PCI bus any more".to_owned());
            (GpuReading { health, ..GpuReading::unread(card.facts.clone()) }, None)
        });
        Others { readings: here.chain(gone).collect(), notes: self.found.notes.clone() }
    }

    fn discover(&mut self) {
        let before = std::mem::replace(&mut self.found, sysfs::discover(&self.roots));
        let is_here = |card: &SysfsCard| {
            let uuid = &card.facts.uuid;
            self.found.cards.iter().any(|it| it.facts.uuid == *uuid)
        };
        self.gone.extend(before.cards);
        self.gone.retain(|card| !is_here(card));
    }
}
