//! Waits for the Xids that NVIDIA's driver reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{EventSet, Nvml};

use crate::ids::GpuUuid;

/// Whom an Xid is told to; from a thread of its own.
pub type XidSink = Arc<dyn Fn(GpuUuid, u32) + Send + Sync>;

/// One wait, in milliseconds; it is also how long the thread lives on.
const WAIT_MS: u32 = 1000;
/// After an error the set is made anew.
const PAUSE: Duration = Duration::from_secs(5);
/// What the driver reports when it does not know.
const UNKNOWN_XID: u32 = 999;

/// A running watch; it ends when this is dropped.
pub struct XidWatch {
    /// The cards that are watched.
    pub cards: Vec<GpuUuid>,
    over: Arc<AtomicBool>,
    /// Its end wakes the thread from a pause.
    _awake: Sender<()>,
}

impl Drop for XidWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl XidWatch {
    /// Watches these cards; none if there is no thread for it.
    #[must_use]
    pub fn start(nvml: Arc<Nvml>, cards: Vec<GpuUuid>, sink: XidSink) -> Option<Self> {
        let over = Arc::<AtomicBool>::default();
        let (awake, pause) = channel();
        let watch = Watch { nvml, cards: cards.clone(), sink, over: Arc::clone(&over), pause };
        let thread = thread::Builder::new().name("gpu-xids".to_owned());
        thread.spawn(move || watch.run()).ok()?;
        Some(Self { cards, over, _awake: awake })
    }
}

struct Watch {
    nvml: Arc<Nvml>,
    cards: Vec<GpuUuid>,
    sink: XidSink,
    over: Arc<AtomicBool>,
    pause: Receiver<()>,
}

impl Watch {
    fn run(&self) {
        while !self.over.load(Ordering::Relaxed) {
            // Older drivers and virtual cards have no events; nothing will change that.
            if let Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) = self.follow() {
                return;
            }
            // Woken only by the end.
            let _over = self.pause.recv_timeout(PAUSE);
        }
    }

    /// Until an error: one that a card causes would come again at once with the same set.
    fn follow(&self) -> Result<(), NvmlError> {
        let set = self.register()?;
        while !self.over.load(Ordering::Relaxed) {
            match set.wait(WAIT_MS) {
                Ok(event) => {
                    let Some(xid) = event.event_data else { continue };
                    let xid = match xid {
                        XidError::Value(xid) => u32::try_from(xid).unwrap_or(UNKNOWN_XID),
                        XidError::Unknown => UNKNOWN_XID,
                    };
                    for card in self.cards_of(event.device.uuid()) {
                        (self.sink)(card, xid);
                    }
                }
                Err(NvmlError::Timeout) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One set for all cards. A card that refuses frees the set; the next try goes without it.
    fn register(&self) -> Result<EventSet<'_>, NvmlError> {
        let wanted = EventTypes::CRITICAL_XID_ERROR;
        let willing = |uuid: &&GpuUuid| {
            let device = self.nvml.device_by_uuid(uuid.as_str());
            let types = device.and_then(|device| device.supported_event_types());
            types.is_ok_and(|types| types.contains(wanted))
        };
        let cards: Vec<&GpuUuid> = self.cards.iter().filter(willing).collect();
        if cards.is_empty() {
            return Err(NvmlError::NoData);
        }
        let mut set = self.nvml.create_event_set()?;
        for uuid in cards {
            let device = self.nvml.device_by_uuid(uuid.as_str())?;
            set = device.register_events(wanted, set).map_err(|error| error.error)?;
        }
        Ok(set)
    }

    /// A card that fell off the bus may not tell its name any more: then it is one of those that
    /// are lost.
    fn cards_of(&self, uuid: Result<String, NvmlError>) -> Vec<GpuUuid> {
        let is_lost = |card: &&GpuUuid| {
            let device = self.nvml.device_by_uuid(card.as_str());
            device.and_then(|device| device.uuid()).is_err()
        };
        match uuid {
            Ok(uuid) => vec![GpuUuid::new(uuid)],
            Err(_) => self.cards.iter().filter(is_lost).cloned().collect(),
        }
    }
}
