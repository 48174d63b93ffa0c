//! The formulas and the rule on the specification's machine, and what the tests below share.

mod always;
mod machines;
mod new_fleets;
mod sample;

use super::machine::{Cordons, Machine};
use crate::fleet::gpu::{GpuAccess, GpuFacts, GpuReading, GpuVendor};
use crate::ids::{GpuUuid, ProjectName};
use crate::inventory::Inventory;
use crate::spec::Spec;
use crate::units::{Bytes, GpuMib};

/// A card of which this much is in use.
fn card(index: u32, memory: u32, used: u32) -> GpuReading {
    let facts = GpuFacts {
        index,
        uuid: GpuUuid::new(format!("GPU-{index}")),
        name: "a card".to_owned(),
        memory: GpuMib(memory),
        reserved: GpuMib(0),
        vendor: GpuVendor::Nvidia,
        parent: None,
        pci: None,
        access: GpuAccess::Request,
    };
    GpuReading { used: Some(GpuMib(used)), ..GpuReading::unread(facts) }
}

fn inventory(cpus: u32, memory: Bytes, gpus: Vec<GpuReading>) -> Inventory {
    Inventory {
        cpus,
        memory,
        memory_free: None,
        gpus,
        notes: Vec::new(),
        library: None,
        driver: None,
    }
}

fn machine(cpus: u32, memory: Bytes, gpus: Vec<GpuReading>) -> Machine {
    Machine::new(&inventory(cpus, memory, gpus), &Cordons::new())
}

/// Cards that are empty, of these sizes.
fn cards(sizes: &[u32]) -> Vec<GpuReading> {
    (0..).zip(sizes).map(|(index, size)| card(index, *size, 0)).collect()
}

fn spec() -> Spec {
    Spec::built_in(ProjectName::new("slate"))
}
