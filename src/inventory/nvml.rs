//! NVIDIA's cards, read through NVML with a deadline on every call.
//!
//! Each card has a thread of its own, and so has the listing of cards: a card that hangs keeps
//! neither the others nor the caller waiting, and is not asked again before it answered. What
//! the calls answer and cost is in the vendor's NVML reference
//! (<https://docs.nvidia.com/deploy/nvml-api/>).

mod card;
mod library;
mod listing;
mod xids;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::card::{Card, Depth, Errors, Library, Sample};
use self::library::{Loaded, NotLoaded};
use self::listing::{Listed, Listing};
pub use self::xids::XidSink;
use self::xids::XidWatch;
use super::process::Use;
use super::worker::{Silence, Worker};
use crate::fleet::gpu::{GpuHealth, GpuReading};

/// How long the library may take to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Loading it and listing the cards: the first look at a card that nobody holds open takes
    /// seconds.
    pub list: Duration,
    /// Reading one card, which usually takes milliseconds.
    pub card: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { list: Duration::from_secs(15), card: Duration::from_secs(3) }
    }
}

/// How often cards are looked for.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// How often temperature and power are read.
const DISPLAY_EVERY: Duration = Duration::from_secs(5);
/// The first and the longest wait for a driver that went away.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// How the library is to be asked for its cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// As it is.
    List,
    /// After it was loaded anew: the driver went or was replaced.
    Reload,
}

type Lister = Worker<Ask, Result<Listing, NotLoaded>>;

/// Everything that is known of NVIDIA's cards.
pub struct Nvidia {
    wanted: Option<PathBuf>,
    patience: Patience,
    sink: Option<XidSink>,
    lister: Option<Lister>,
    desks: Vec<Desk>,
    xids: Option<XidWatch>,
    library: Option<String>,
    driver: Option<String>,
    notes: Vec<String>,
    due: Due,
    ask: Ask,
}

/// When what is to be done again.
#[derive(Debug, Clone, Copy)]
struct Due {
    list: Duration,
    display: Duration,
    backoff: Duration,
}

/// A card and the thread that reads it.
struct Desk {
    listed: Listed,
    worker: Worker<Depth, Sample>,
    /// What was read last of what is not read each time.
    slow: Slow,
    /// Why it is not asked.
    absent: Option<GpuHealth>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slow {
    temperature: Option<u32>,
    power: Option<u32>,
    errors: Option<u64>,
    /// Whether the errors were read since the last listing.
    is_fresh: bool,
}

/// What was read of one card: the reading without its processes, and who uses it.
pub type Found = (GpuReading, Option<Vec<Use>>);

impl Nvidia {
    /// Uses this library, or the first that is found. Xids are told to the sink, if there is one.
    #[must_use]
    pub fn new(wanted: Option<PathBuf>, patience: Patience, sink: Option<XidSink>) -> Self {
        Self {
            wanted,
            patience,
            sink,
            lister: None,
            desks: Vec::new(),
            xids: None,
            library: None,
            driver: None,
            notes: Vec::new(),
            due: Due { list: Duration::ZERO, display: Duration::ZERO, backoff: BACKOFF.0 },
            ask: Ask::List,
        }
    }

    /// The library that answered.
    #[must_use]
    pub fn library(&self) -> Option<&str> {
        self.library.as_deref()
    }

    /// The driver's version.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        self.driver.as_deref()
    }

    /// What is not as it should be.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads every card that was ever listed; `at` is the time since the first look.
    pub fn read(&mut self, at: Duration) -> Vec<Found> {
        if at >= self.due.list {
            self.list(at);
        }
        let display = at >= self.due.display;
        if display {
            self.due.display = at + DISPLAY_EVERY;
        }
        // All are asked before one is waited for.
        let asked: Vec<Result<(), Silence>> =
            self.desks.iter_mut().map(|desk| desk.ask(display)).collect();
        let mut stale = false;
        let mut found = Vec::new();
        for (desk, asked) in self.desks.iter_mut().zip(asked) {
            let sample = asked.and_then(|()| desk.worker.wait(self.patience.card));
            stale |= sample.as_ref().is_ok_and(|sample| sample.library == Library::Stale);
            found.push(desk.reading(sample, self.patience));
        }
        if stale {
            self.ask = Ask::Reload;
            self.due.list = self.due.list.min(at + self.due.backoff);
        }
        found
    }

    fn list(&mut self, at: Duration) {
        match self.ask_lister() {
            Ok(Ok(listing)) => {
                self.due.list = at + LIST_EVERY;
                self.due.backoff = BACKOFF.0;
                self.take(listing);
            }
            Ok(Err(why)) => {
                let soon = match why {
                    NotLoaded::NoLibrary(_) => LIST_EVERY,
                    NotLoaded::NoDriver(_) => self.due.backoff,
                };
                self.due.list = at + soon;
                self.due.backoff = (self.due.backoff * 2).min(BACKOFF.1);
                self.ask = Ask::Reload;
                self.lose(&GpuHealth::Lost(why.note().to_owned()), why.note());
            }
            Err(silence) => {
                self.due.list = at + BACKOFF.0;
                let note = match silence {
                    Silence::Late => "NVIDIA's library does not answer; see the kernel's log",
                    Silence::Gone => "there is no thread to ask NVIDIA's library",
                };
                // Known cards tell for themselves how they are: one may hang alone.
                self.notes = vec![note.to_owned()];
            }
        }
    }

    fn ask_lister(&mut self) -> Result<Result<Listing, NotLoaded>, Silence> {
        let wanted = self.wanted.clone();
        let lister = match &mut self.lister {
            Some(lister) => lister,
            none => {
                let started = start_lister(wanted).map_err(|_| Silence::Gone)?;
                none.insert(started)
            }
        };
        lister.ask(self.ask)?;
        lister.wait(self.patience.list)
    }

    fn lose(&mut self, health: &GpuHealth, note: &str) {
        self.notes = vec![note.to_owned()];
        self.xids = None;
        for desk in &mut self.desks {
            desk.absent = Some(health.clone());
        }
    }

    /// Cards that are listed no more stay, as lost: somebody may hold a lease on them.
    fn take(&mut self, listing: Listing) {
        let reloaded = std::mem::replace(&mut self.ask, Ask::List) == Ask::Reload;
        if reloaded {
            self.xids = None;
        }
        let mut before = std::mem::take(&mut self.desks);
        for listed in listing.cards {
            let same = |desk: &Desk| desk.listed.facts.uuid == listed.facts.uuid;
            let known = before.iter().position(same).map(|place| before.remove(place));
            let kept = known.filter(|_| !reloaded).map(|desk| desk.again(listed.clone()));
            match kept.map_or_else(|| Desk::start(&listing.nvml, listed), Ok) {
                Ok(desk) => self.desks.push(desk),
                Err(error) => self.notes.push(format!("no thread to read a GPU: {error}")),
            }
        }
        let why = "the driver does not list it any more".to_owned();
        let gone = |desk| Desk { absent: Some(GpuHealth::Lost(why.clone())), ..desk };
        self.desks.extend(before.into_iter().map(gone));
        (self.library, self.driver) = (Some(listing.library), listing.driver);
        self.notes = listing.notes;
        self.watch_xids(&listing.nvml);
    }

    fn watch_xids(&mut self, nvml: &Arc<nvml_wrapper::Nvml>) {
        let Some(sink) = &self.sink else { return };
        let whole = self.desks.iter().filter(|desk| desk.listed.facts.parent.is_none());
        let there = whole.filter(|desk| desk.absent.is_none());
        let cards: Vec<_> = there.map(|desk| desk.listed.facts.uuid.clone()).collect();
        if self.xids.as_ref().is_none_or(|watch| watch.cards != cards) {
            let (nvml, sink) = (Arc::clone(nvml), Arc::clone(sink));
            self.xids = (!cards.is_empty()).then(|| XidWatch::start(nvml, cards, sink)).flatten();
        }
    }
}

fn start_lister(wanted: Option<PathBuf>) -> std::io::Result<Lister> {
    let mut loaded: Option<(Arc<nvml_wrapper::Nvml>, String)> = None;
    Worker::start("gpu-list", move |ask| {
        if ask == Ask::Reload {
            loaded = None;
        }
        let (nvml, path) = match &loaded {
            Some(known) => known,
            None => {
                let Loaded { nvml, path } = library::load(wanted.as_deref())?;
                loaded.insert((Arc::new(nvml), path))
            }
        };
        listing::list(nvml, path).map_err(|error| {
            NotLoaded::NoDriver(format!("NVIDIA's driver does not list its cards: {error}"))
        })
    })
}

impl Desk {
    fn start(nvml: &Arc<nvml_wrapper::Nvml>, listed: Listed) -> std::io::Result<Self> {
        let mut card = Card::new(Arc::clone(nvml), listed.facts.uuid.to_string());
        let worker = Worker::start("gpu-read", move |depth| card.read(depth))?;
        Ok(Self { listed, worker, slow: Slow::default(), absent: None })
    }

    fn again(self, listed: Listed) -> Self {
        Self { listed, absent: None, slow: Slow { is_fresh: false, ..self.slow }, ..self }
    }

    fn ask(&mut self, display: bool) -> Result<(), Silence> {
        match self.absent {
            Some(_) => Err(Silence::Gone),
            None => self.worker.ask(Depth { display, errors: !self.slow.is_fresh }),
        }
    }

    fn reading(&mut self, sample: Result<Sample, Silence>, patience: Patience) -> Found {
        let mut reading = GpuReading::unread(self.listed.facts.clone());
        reading.mig = self.listed.mig;
        reading.compute_mode = self.listed.compute_mode;
        let sample = match (&self.absent, sample) {
            (Some(why), _) => {
                reading.health = why.clone();
                return (reading, None);
            }
            (None, Ok(sample)) => sample,
            (None, Err(silence)) => {
                reading.health = GpuHealth::Unresponsive(match silence {
                    Silence::Late => format!(
                        "the driver has not answered for it within {} s",
                        patience.card.as_secs()
                    ),
                    Silence::Gone => "there is no thread to read it".to_owned(),
                });
                return (reading, None);
            }
        };
        if let Some((temperature, power)) = sample.display {
            (self.slow.temperature, self.slow.power) = (temperature, power);
        }
        if let Some(Errors(errors)) = sample.errors {
            (self.slow.errors, self.slow.is_fresh) = (errors, true);
        }
        reading.used = sample.used;
        reading.busy_percent = sample.busy_percent;
        reading.temperature = self.slow.temperature;
        reading.power = self.slow.power;
        reading.ecc_errors = self.slow.errors;
        reading.health = sample.health;
        (reading, sample.uses)
    }
}
