//! Scripts as stories: each has a name that is an obligation, a transcript that a person can read
//! and that is compared exactly (`tests/stories/*.txt`), and the few checks that matter most.
//!
//! `SLATE_BLESS=1` writes the transcripts anew; read the difference before you keep it.

mod cards;
mod changes;
mod devices;
mod disk;
mod elastic;
mod fairness;
mod faults;
mod flapping;
mod forge_pains;
mod forges;
mod gpu_oom;
mod gpu_time;
mod hold;
mod jobs;
mod kept;
mod life;
mod load;
mod pains;
mod pause;
mod pins;
mod placement;
mod preview;
mod reasons;
mod recovery;
mod scale;
mod tasks;

use std::path::Path;

use super::Sim;
use super::script::{host, spec};
use super::transcript::Writing;
use crate::fleet::effect::{Answer, RefusalKind};
use crate::fleet::event::Event;
use crate::fleet::gpu::{GpuProcess, GpuReading, GpuReport};
use crate::spec::{Overcommit, Pool, Spec};
use crate::units::GpuMib;

/// A supervisor that has just started with a spec, and nothing else.
fn start(spec: Spec) -> Sim {
    let mut sim = Sim::new(1, Writing::On, (spec.clone(), host()));
    sim.up(spec);
    sim
}

/// A fleet that is as its spec says; the story begins here.
fn ready(spec: Spec) -> Sim {
    let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
    sim.up(spec);
    sim.settle().expect("a fleet without faults comes up");
    sim.world.transcript.set(Writing::On);
    sim
}

/// A spec with these pools.
fn with(pools: impl IntoIterator<Item = Pool>) -> Spec {
    pools.into_iter().fold(spec(), Spec::with)
}

/// What the cards say: of each, all that is used, and what a process of a slot's runner has.
fn read(sim: &mut Sim, slot: u32, used: Option<u32>, (own, busy): (u32, Option<u8>)) {
    let container = sim.container(slot);
    let reading = |card| GpuReading {
        used: used.map(GpuMib),
        processes: Some(vec![GpuProcess {
            nested: Vec::new(),
            runner: None,
            pid: 7,
            name: "python".to_owned(),
            container: container.clone(),
            memory: Some(GpuMib(own)),
            busy_percent: busy,
        }]),
        ..GpuReading::unread(card)
    };
    let cards = host().gpus.into_iter().map(reading).collect();
    sim.hear(Event::Gpus(GpuReport { cards, ..GpuReport::default() }));
}

/// A spec with these pools on a host that is too small for them.
fn crowded(pools: impl IntoIterator<Item = Pool>) -> Spec {
    let mut spec = with(pools);
    spec.limits.overcommit_memory = Overcommit::Allow;
    spec
}

/// The kind of a refusal.
fn refusal(answer: Option<Answer>) -> Option<RefusalKind> {
    match answer? {
        Answer::Refused(refusal) => Some(refusal.kind),
        Answer::Accepted | Answer::Submitted(_) | Answer::SubmittedAll { .. } => None,
    }
}

/// Ends a story: nothing that must never be was seen, and the transcript is as written.
fn tells(sim: &Sim, name: &str) {
    let text = sim.world.transcript.text();
    assert!(sim.oracle.violations.is_empty(), "{text}\n{:?}", sim.oracle.violations);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/stories/{name}.txt"));
    if std::env::var_os("SLATE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("stories have a folder")).expect("a folder");
        std::fs::write(&path, &text).expect("a transcript can be written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == wanted, "{} differs; it tells now:\n{text}", path.display());
}
