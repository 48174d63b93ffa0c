//! Which cards there are, as NVIDIA's driver lists them: cards, then their MIG instances.

use std::sync::Arc;

use nvml_wrapper::enum_wrappers::device::ComputeMode as Mode;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use crate::fleet::gpu::{ComputeMode, GpuAccess, GpuFacts, GpuVendor, MigMode};
use crate::ids::GpuUuid;
use crate::inventory::{mib_down, mib_up};
use crate::units::GpuMib;

/// What the driver lists.
#[derive(Debug)]
pub struct Listing {
    /// The library that listed it.
    pub nvml: Arc<Nvml>,
    /// The file of the library.
    pub library: String,
    /// The driver's version.
    pub driver: Option<String>,
    /// Cards in the driver's order, then MIG instances in the order of their cards.
    pub cards: Vec<Listed>,
    /// What is not as it should be.
    pub notes: Vec<String>,
}

/// One card or MIG instance, with what seldom changes.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What it is.
    pub facts: GpuFacts,
    /// Whether it is cut.
    pub mig: Option<MigMode>,
    /// Who may use it.
    pub compute_mode: Option<ComputeMode>,
}

/// Lists everything.
///
/// # Errors
/// The driver does not even tell how many there are.
pub fn list(nvml: &Arc<Nvml>, library: &str) -> Result<Listing, NvmlError> {
    let mut listing = Listing {
        nvml: Arc::clone(nvml),
        library: library.to_owned(),
        driver: nvml.sys_driver_version().ok(),
        cards: Vec::new(),
        notes: Vec::new(),
    };
    let mut instances = Vec::new();
    for index in 0..nvml.device_count()? {
        let found = nvml
            .device_by_index(index)
            .and_then(|device| describe(&device, index, None).map(|card| (device, card)));
        match found {
            Ok((device, card)) => {
                listing.tell_unknown_memory(&card.facts);
                if card.mig == Some(MigMode::On) {
                    instances.extend(instances_of(&device, &card.facts));
                }
                listing.cards.push(card);
            }
            Err(error) => listing.notes.push(format!(
                "GPU {index} cannot be used: {error}; see what nvidia-smi and the kernel's log say"
            )),
        }
    }
    // Numbered behind the cards, so that no card's number depends on how another is cut.
    for mut instance in instances {
        instance.facts.index = u32::try_from(listing.cards.len()).unwrap_or(u32::MAX);
        listing.cards.push(instance);
    }
    Ok(listing)
}

impl Listing {
    fn tell_unknown_memory(&mut self, card: &GpuFacts) {
        if card.memory == GpuMib(0) {
            self.notes.push(format!(
                "GPU {} ({}) does not tell its memory; give it as gpu.memory in the fleet file: \
                 `{}: 16GiB`",
                card.index, card.name, card.uuid
            ));
        }
    }
}

fn describe(
    device: &Device<'_>,
    index: u32,
    parent: Option<&GpuFacts>,
) -> Result<Listed, NvmlError> {
    let memory = device.memory_info().ok();
    let memory = memory.as_ref();
    let pci = || device.pci_info().ok().map(|pci| pci.bus_id);
    Ok(Listed {
        facts: GpuFacts {
            index,
            uuid: GpuUuid::new(device.uuid()?),
            name: device.name().unwrap_or_else(|_| "NVIDIA GPU".to_owned()),
            memory: memory.map_or(GpuMib(0), |it| mib_down(it.total)),
            reserved: memory.map_or(GpuMib(0), |it| mib_up(it.reserved)),
            vendor: GpuVendor::Nvidia,
            parent: parent.map(|card| card.uuid.clone()),
            pci: parent.map_or_else(pci, |card| card.pci.clone()),
            access: GpuAccess::Request,
        },
        mig: match parent {
            Some(_) => None,
            None => mig(device),
        },
        compute_mode: device.compute_mode().ok().map(|mode| match mode {
            Mode::Default => ComputeMode::Shared,
            Mode::ExclusiveThread | Mode::ExclusiveProcess => ComputeMode::OneProcess,
            Mode::Prohibited => ComputeMode::Prohibited,
        }),
    })
}

/// Cards that cannot be cut do not support the question; they are one card.
fn mig(device: &Device<'_>) -> Option<MigMode> {
    let mode = match device.mig_mode() {
        Ok(mode) => mode,
        Err(NvmlError::NotSupported) => return Some(MigMode::Off),
        Err(_) => return None,
    };
    Some(match (mode.current, mode.pending) {
        (current, pending) if current != pending => MigMode::Pending,
        (1, _) => MigMode::On,
        _ => MigMode::Off,
    })
}

fn instances_of(device: &Device<'_>, card: &GpuFacts) -> Vec<Listed> {
    // The most that there can be; numbers that are not taken are not found.
    let most = device.mig_device_count().unwrap_or(0);
    (0..most)
        .filter_map(|number| device.mig_device_by_index(number).ok())
        .filter_map(|instance| describe(&instance, 0, Some(card)).ok())
        .collect()
}
