//! Looks at the cards again and again, and tells the loop of them.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::clock::Clock;
use crate::fleet::event::Event;
use crate::fleet::gpu::{GpuReport, XidReport};
use crate::ids::GpuUuid;
use crate::inventory::{GpuProbe, GpuSources, XidSink};

/// How often cards are read: a second decides whether a process is within its lease.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How often a machine without a card is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The probe's own deadlines are shorter together: more than this is a machine in trouble.
const FIRST_LOOK_MOST: Duration = Duration::from_secs(30);

/// The thread that reads the cards; it ends with this.
#[derive(Debug)]
pub(super) struct Sampler {
    /// What the first look found, before anything is placed.
    pub first: GpuReport,
    /// Its end wakes the thread.
    _end: Sender<()>,
}

/// Looks for the first time, and goes on looking.
pub(super) async fn start(
    sources: GpuSources,
    clock: Clock,
    events: mpsc::Sender<Event>,
) -> Sampler {
    let (end, ended) = channel::<()>();
    let (found, first) = oneshot::channel();
    let begun = clock.now();
    let sample = move || {
        let sink = tell_xids(clock.clone(), events.clone());
        let mut probe = GpuProbe::new(sources, Some(sink));
        let mut last = probe.read(Duration::ZERO);
        last.begun = Some(begun);
        if found.send(last.clone()).is_err() {
            return;
        }
        loop {
            let pause = if last.cards.is_empty() { LOOK_EVERY } else { READ_EVERY };
            match ended.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = clock.now();
            let mut report = probe.read(now.since(begun));
            let is_worth = !report.cards.is_empty() || report.notes != last.notes;
            report.begun = Some(now);
            last = report.clone();
            if is_worth && events.blocking_send(Event::Gpus(report)).is_err() {
                return;
            }
        }
    };
    let started = thread::Builder::new().name("gpus".to_owned()).spawn(sample);
    let first = match started {
        Ok(_thread) => timeout(FIRST_LOOK_MOST, first).await.ok().and_then(Result::ok),
        Err(error) => {
            tracing::error!(%error, "there is no thread to read GPUs");
            None
        }
    };
    let unknown = || GpuReport {
        notes: vec!["the GPUs could not be looked at when the supervisor started".to_owned()],
        ..GpuReport::default()
    };
    let first = first.unwrap_or_else(unknown);
    for note in &first.notes {
        tracing::info!("{note}");
    }
    Sampler { first, _end: end }
}

fn tell_xids(clock: Clock, events: mpsc::Sender<Event>) -> XidSink {
    Arc::new(move |card: GpuUuid, xid: u32| {
        tracing::warn!(%card, xid, "the driver reports an Xid");
        let report = XidReport { xid, card, pid: None, at: clock.now() };
        // Nobody is left to tell when the loop is over.
        let _told = events.blocking_send(Event::Xid(report));
    })
}
