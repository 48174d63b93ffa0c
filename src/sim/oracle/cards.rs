//! Cards: who holds what of them when a lease begins, told by the records and by what was heard.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::event::{Cordon, Event, Request};
use crate::fleet::gpu::{GpuReading, GpuReport};
use crate::fleet::runner::{Build, GpuHold};
use crate::fleet::state::Record;
use crate::ids::{ContainerId, GpuUuid, IncarnationId};
use crate::sim::records::Records;
use crate::spec::GpuSharing;
use crate::units::{GpuMib, Time};

/// Older readings say nothing of now.
const FRESH: Duration = Duration::from_secs(60);

/// What is known of the cards by what was told, and who held what of them.
#[derive(Debug, Default)]
pub(super) struct CardBook {
    report: GpuReport,
    begun: Time,
    held: BTreeMap<IncarnationId, (GpuHold, Option<ContainerId>)>,
    /// Leases of runners that are gone and were not seen to be gone from their cards.
    dirty: BTreeMap<IncarnationId, (GpuHold, Option<ContainerId>, Time)>,
}

impl CardBook {
    /// A supervisor starts and knows nothing.
    pub(super) fn started(&mut self) {
        self.report = GpuReport::default();
        self.begun = Time(0);
    }

    /// The core is told of something.
    pub(super) fn heard(&mut self, now: Time, event: &Event) {
        let Event::Gpus(report) = event else { return };
        let begun = report.begun.unwrap_or(now);
        if begun < self.begun {
            return;
        }
        self.begun = begun;
        self.report = report.clone();
        let report = &self.report;
        self.dirty.retain(|_, (hold, container, gone)| {
            *gone >= begun || is_dirty(report, hold, container.as_ref())
        });
    }

    /// Something is asked for.
    pub(super) fn asked(&mut self, request: &Request) {
        if matches!(request, Request::CordonCards { to: Cordon::Open, .. }) {
            self.dirty.clear();
        }
    }

    /// A step was recorded: what began with it fits.
    pub(super) fn check(&mut self, now: Time, records: &Records, step: &[Record]) -> Vec<String> {
        if now.since(self.begun) > FRESH {
            self.report = GpuReport::default();
            self.dirty.clear();
        }
        let mut begun: Vec<&Build> = Vec::new();
        for record in step {
            match record {
                Record::Runner(id, Some(runner)) => {
                    let Some(hold) = &runner.build.gpu else { continue };
                    let container = runner.container().cloned();
                    let known = self.held.insert(*id, (hold.clone(), container));
                    if known.is_none() {
                        begun.push(&runner.build);
                    }
                }
                Record::Runner(id, None) => {
                    let Some((hold, container)) = self.held.remove(id) else { continue };
                    if self.reading(&hold.card).is_some_and(|it| it.processes.is_some()) {
                        self.dirty.insert(*id, (hold, container, now));
                    }
                }
                _ => {}
            }
        }
        let mut breaches = Vec::new();
        for build in begun {
            breaches.extend(self.check_lease(records, build));
        }
        breaches
    }

    fn check_lease(&self, records: &Records, build: &Build) -> Option<String> {
        let card = &build.gpu.as_ref()?.card;
        let cordon = records.meta.cards.get(card).and_then(|it| it.cordon.as_ref());
        if let Some(cordon) = cordon {
            return Some(format!("{card} is leased, and {cordon}"));
        }
        let live = self.held.values().map(|(hold, _)| hold);
        let dirty = self.dirty.values().map(|(hold, _, _)| hold);
        let holds: Vec<&GpuHold> = live.chain(dirty).filter(|it| it.card == *card).collect();
        let is_alone = |it: &&GpuHold| it.demand.sharing == GpuSharing::Exclusive;
        if holds.len() > 1 && holds.iter().any(is_alone) {
            return Some(format!("{card} is held exclusively and leased once more: {holds:?}"));
        }
        let reading = self.reading(card)?;
        let leased: u32 = holds.iter().map(|it| it.demand.memory.0).sum();
        let others = others(reading);
        let all = leased.saturating_add(others);
        (all > reading.card.memory.0)
            .then(|| format!("{card}: {leased} MiB are leased and {others} used by others"))
    }

    fn reading(&self, card: &GpuUuid) -> Option<&GpuReading> {
        self.report.cards.iter().find(|it| it.card.uuid == *card)
    }
}

/// What processes outside of all containers hold.
fn others(reading: &GpuReading) -> u32 {
    let processes = reading.processes.iter().flatten();
    processes.filter(|it| it.container.is_none()).filter_map(|it| it.memory).map(|it| it.0).sum()
}

fn is_dirty(report: &GpuReport, hold: &GpuHold, container: Option<&ContainerId>) -> bool {
    let reading = report.cards.iter().find(|it| it.card.uuid == hold.card);
    let processes = reading.and_then(|it| it.processes.as_ref());
    let is_its = |it: &crate::fleet::gpu::GpuProcess| {
        it.container.is_some() && it.container.as_ref() == container && it.memory > Some(GpuMib(0))
    };
    processes.is_some_and(|all| all.iter().any(is_its))
}
