//! Reads one card through NVIDIA's library.

use std::collections::BTreeMap;
use std::sync::Arc;

use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device, Nvml};

use crate::fleet::gpu::GpuHealth;
use crate::inventory::mib_up;
use crate::inventory::process::Use;
use crate::units::GpuMib;

/// Tries of a list that is longer each time that it is asked for.
const LIST_TRIES: usize = 3;
/// Milliwatts in a watt.
const MILLIWATTS: u32 = 1000;

/// What to read beside memory, utilisation and processes, which are always read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Temperature and power.
    pub display: bool,
    /// Error counts, which some drivers read from a slow memory.
    pub errors: bool,
}

/// What was read of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// In use, without what the driver keeps.
    pub used: Option<GpuMib>,
    /// Percent.
    pub busy_percent: Option<u8>,
    /// Who uses it.
    pub uses: Option<Vec<Use>>,
    /// Degrees and watts, if they were asked for.
    pub display: Option<(Option<u32>, Option<u32>)>,
    /// Uncorrected errors, if they were asked for.
    pub errors: Option<Errors>,
    /// Whether the card works.
    pub health: GpuHealth,
    /// Whether the library must be loaded again.
    pub library: Library,
}

/// Uncorrected errors since the driver was loaded; none without ECC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errors(pub Option<u64>);

/// What an answer tells of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// It can be used.
    Good,
    /// The driver went or was replaced.
    Stale,
}

/// One card; its handle is got again for each reading, as handles do not outlive a driver.
#[derive(Debug)]
pub struct Card {
    nvml: Arc<Nvml>,
    uuid: String,
    /// The newest sample of the processes' utilisation that was seen, in the driver's microseconds.
    since: u64,
}

impl Card {
    /// The card with this UUID.
    #[must_use]
    pub fn new(nvml: Arc<Nvml>, uuid: String) -> Self {
        Self { nvml, uuid, since: 0 }
    }

    /// Reads it now. It may block as long as the driver does.
    pub fn read(&mut self, depth: Depth) -> Sample {
        let nvml = Arc::clone(&self.nvml);
        let device = match nvml.device_by_uuid(self.uuid.as_str()) {
            Ok(device) => device,
            Err(NvmlError::NotFound) => {
                return Sample::nothing(GpuHealth::Lost(
                    "the driver knows no such card".to_owned(),
                ));
            }
            Err(error) => return Sample::failed(&error),
        };
        let (memory, sums) = match device.memory_info() {
            Ok(memory) => (Some(mib_up(memory.used)), false),
            Err(error) if is_lack(&error) => (None, true),
            Err(error) => return Sample::failed(&error),
        };
        let (uses, trouble) = match self.uses(&device) {
            Ok(uses) => (uses, None),
            Err(error) => (None, Some(error)),
        };
        let sum =
            |uses: &Vec<Use>| GpuMib(uses.iter().filter_map(|it| it.memory).map(|m| m.0).sum());
        let mut sample = Sample {
            used: memory.or_else(|| uses.as_ref().filter(|_| sums).map(sum)),
            busy_percent: device.utilization_rates().ok().map(|rates| percent(rates.gpu)),
            uses,
            ..Sample::nothing(GpuHealth::Ok)
        };
        if let Some(error) = trouble {
            (sample.health, sample.library) = verdict(&error);
        }
        if depth.display {
            let heat = device.temperature(TemperatureSensor::Gpu).ok();
            let power = device.power_usage().ok();
            sample.display = Some((heat, power.map(|it| (it + MILLIWATTS / 2) / MILLIWATTS)));
        }
        if depth.errors {
            let count = device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile);
            sample.errors = Some(Errors(count.ok()));
        }
        sample
    }

    /// The processes of both kinds, each once, with what they had of the card lately.
    fn uses(&mut self, device: &Device<'_>) -> Result<Option<Vec<Use>>, NvmlError> {
        let mut uses: BTreeMap<u32, Option<GpuMib>> = BTreeMap::new();
        let graphics = match patiently(|| device.running_graphics_processes()) {
            Ok(found) => found,
            // MIG instances have no graphics.
            Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => Vec::new(),
            Err(error) if is_lack(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let compute = match patiently(|| device.running_compute_processes()) {
            Ok(found) => found,
            Err(error) if is_lack(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        for process in graphics.iter().chain(&compute) {
            let known = uses.entry(process.pid).or_default();
            *known = (*known).max(memory_of(process));
        }
        let shares = self.shares(device);
        let one = |(pid, memory): (u32, Option<GpuMib>)| {
            let busy = |shares: &Shares| shares.get(&pid).copied().unwrap_or(0);
            Use { pid, memory, busy_percent: shares.as_ref().map(busy) }
        };
        Ok(Some(uses.into_iter().map(one).collect()))
    }

    /// The mean share of each process since the last look; none where the driver does not tell.
    fn shares(&mut self, device: &Device<'_>) -> Option<Shares> {
        let samples = match device.process_utilization_stats(self.since) {
            Ok(samples) => samples,
            // No sample since then: nothing ran.
            Err(NvmlError::NotFound) => return Some(Shares::new()),
            Err(_) => return None,
        };
        let mut sums: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let seen = self.since;
        for sample in samples.iter().filter(|it| it.pid != 0 && it.timestamp > seen) {
            let (sum, count) = sums.entry(sample.pid).or_default();
            *sum += u64::from(sample.sm_util);
            *count += 1;
            self.since = self.since.max(sample.timestamp);
        }
        let mean = |(sum, count): (u64, u64)| {
            percent(u32::try_from(sum / count.max(1)).unwrap_or(u32::MAX))
        };
        Some(sums.into_iter().map(|(pid, it)| (pid, mean(it))).collect())
    }
}

/// Percent of a card by process.
type Shares = BTreeMap<u32, u8>;

impl Sample {
    fn nothing(health: GpuHealth) -> Self {
        Self {
            used: None,
            busy_percent: None,
            uses: None,
            display: None,
            errors: None,
            health,
            library: Library::Good,
        }
    }

    fn failed(error: &NvmlError) -> Self {
        let (health, library) = verdict(error);
        Self { library, ..Self::nothing(health) }
    }
}

/// Asks again while the list outgrows the room for it.
fn patiently<T>(list: impl Fn() -> Result<T, NvmlError>) -> Result<T, NvmlError> {
    let mut answer = list();
    for _ in 1..LIST_TRIES {
        match answer {
            Err(NvmlError::InsufficientSize(_)) => answer = list(),
            _ => break,
        }
    }
    answer
}

fn memory_of(process: &ProcessInfo) -> Option<GpuMib> {
    match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(mib_up(bytes)),
        UsedGpuMemory::Unavailable => None,
    }
}

fn percent(value: u32) -> u8 {
    u8::try_from(value.min(100)).unwrap_or(100)
}

/// Errors that say nothing of the card: the value does not exist, or is not for this user, or was
/// not to be had this time.
pub fn is_lack(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::FunctionNotFound
            | NvmlError::NoPermission
            | NvmlError::NoData
            | NvmlError::NotFound
            | NvmlError::InsufficientSize(_)
            | NvmlError::UnexpectedVariant(_)
    )
}

/// What a failed call says of the card and of the library.
pub fn verdict(error: &NvmlError) -> (GpuHealth, Library) {
    match error {
        NvmlError::GpuLost | NvmlError::ResetRequired => {
            (GpuHealth::Lost(error.to_string()), Library::Good)
        }
        NvmlError::DriverNotLoaded | NvmlError::LibRmVersionMismatch | NvmlError::Uninitialized => {
            (GpuHealth::Lost(error.to_string()), Library::Stale)
        }
        error => (GpuHealth::Degraded(error.to_string()), Library::Good),
    }
}
