//! What `init` writes down: the best fleet of a machine, or the smallest one of use.

use super::machine::{Basis, Machine};
use super::optimal::{Optimal, minimal, optimal};
use super::report::thousands;
use crate::ids::{ProfileName, ProjectName};
use crate::spec::template::{NewFleet, NewPool};
use crate::spec::{Limits, Spec};
use crate::units::words::counted;

/// How much of the machine a new fleet takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// As much as is good for it.
    Optimal,
    /// The fewest runners that are of use.
    Minimal,
}

/// The new fleet of a machine, and what its operator should know of it.
#[must_use]
pub fn new_fleet(
    machine: &Machine,
    extent: Extent,
    project: &ProjectName,
) -> (NewFleet, Vec<String>) {
    let limits = Spec::built_in(project.clone()).limits;
    let mut notes = Vec::new();
    let (pools, parallel) = match extent {
        Extent::Minimal => {
            let pools = minimal(machine, &limits, Basis::Now);
            let plain = |(profile, count)| NewPool { profile, count, spares: None, place: None };
            (pools.into_iter().map(plain).collect(), limits.max_parallel_workflows)
        }
        Extent::Optimal => {
            let best = fitting(machine, &limits, &mut notes);
            let parallel = best.parallel_workflows.max(1);
            (pools_of(&best), parallel)
        }
    };
    let fleet = NewFleet {
        project: project.clone(),
        host: host(machine),
        pools,
        max_parallel_workflows: parallel,
    };
    (fleet, notes)
}

/// The best fleet of the empty machine, or of what others leave of its cards: `up` has to be able
/// to place it now.
fn fitting(machine: &Machine, limits: &Limits, notes: &mut Vec<String>) -> Optimal {
    let empty = optimal(machine, limits, Basis::Empty);
    let now = optimal(machine, limits, Basis::Now);
    if now.pools() == empty.pools() {
        return empty;
    }
    let open = machine.open();
    for card in open.filter(|card| card.free() < card.usable()) {
        notes.push(format!(
            "GPU {} has {} of {} MiB free now, and the fleet is sized for that; run `init` again \
             when the rest is free",
            card.reading.card.index,
            thousands(card.free().0),
            thousands(card.usable().0)
        ));
    }
    now
}

fn pools_of(best: &Optimal) -> Vec<NewPool> {
    let pool = |(profile, count): (ProfileName, u32)| {
        let on = best.rows.iter().filter(|row| row.profile == profile);
        let on: Vec<String> =
            on.filter_map(|row| Some(format!("{} on GPU {}", row.count, row.gpu?))).collect();
        let is_gpu = profile.as_str().starts_with("gpu");
        NewPool {
            spares: (best.spares == 0 && !is_gpu).then_some(0),
            place: (is_gpu && !on.is_empty()).then(|| on.join(", ")),
            profile,
            count,
        }
    };
    best.pools().into_iter().map(pool).collect()
}

fn host(machine: &Machine) -> String {
    let cpus = counted(machine.cpus, "CPU");
    let gpus = match machine.cards.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "GPU")),
    };
    format!("{cpus}, {} of memory{gpus}", machine.memory)
}
