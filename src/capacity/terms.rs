//! Specification 1's locked formulas: how many runners of one profile a machine takes.

use serde::Serialize;

use super::machine::{Basis, Card, Machine};
use crate::fleet::gpu::GpuVendor;
use crate::spec::{GpuDemand, GpuSharing, Profile};

/// What keeps the number of runners from being larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// GPU memory, or the profile's bound for each card.
    Gpu,
    /// CPUs.
    Cpu,
    /// Memory.
    Ram,
    /// The fleet's `scale_max`.
    Cap,
}

impl Limit {
    /// As the report prints it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
            Self::Ram => "ram",
            Self::Cap => "cap",
        }
    }
}

/// Every term of the formula, and what comes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// By memory, for each card in the order of the indices; none for a profile without GPU.
    pub per_gpu: Option<Vec<u64>>,
    /// The sum of these.
    pub sum: Option<u64>,
    /// The sum within the profile's bound for each card: the GPU term.
    pub gpu: Option<u64>,
    /// Cores by the profile's CPUs.
    pub cpu: Option<u64>,
    /// Memory by the profile's memory.
    pub ram: Option<u64>,
    /// The fleet's `scale_max`.
    pub cap: u64,
    /// The smallest of these.
    pub max: u64,
    /// Which one that is; of equals the first of `gpu`, `cpu`, `ram`, `cap`.
    pub limiting: Limit,
}

impl Terms {
    /// How many runners of a profile a machine takes if it runs nothing else.
    #[must_use]
    pub fn new(machine: &Machine, profile: &Profile, cap: u32, basis: Basis) -> Self {
        let demand = profile.gpu.filter(|gpu| gpu.memory.0 > 0);
        let per_gpu: Option<Vec<u64>> = demand.map(|demand| {
            let on = |card| if suits(card, profile) { on_card(card, demand, basis) } else { 0 };
            machine.cards.iter().map(on).collect()
        });
        let sum = per_gpu.as_ref().map(|all| all.iter().sum());
        let gpu = sum.zip(demand).map(|(sum, demand)| bounded(machine, sum, demand));
        let cpu = u64::from(machine.cpus).saturating_mul(1000).checked_div(profile.cpus.0.into());
        let ram = machine.memory_of(basis).0.checked_div(profile.memory.0);
        let terms = [(gpu, Limit::Gpu), (cpu, Limit::Cpu), (ram, Limit::Ram)];
        let terms = terms.into_iter().filter_map(|(term, limit)| Some((term?, limit)));
        let cap = u64::from(cap);
        // Of equals the first stays: raising a cap helps nobody when the hardware ends there too.
        let (max, limiting) =
            terms.chain([(cap, Limit::Cap)]).fold((u64::MAX, Limit::Cap), |least, term| {
                if term.0 < least.0 { term } else { least }
            });
        Self { per_gpu, sum, gpu, cpu, ram, cap, max, limiting }
    }
}

/// By memory alone, or one where the card or the profile is for one runner.
fn on_card(card: &Card, demand: GpuDemand, basis: Basis) -> u64 {
    let fits = card.memory_of(basis).0.checked_div(demand.memory.0).unwrap_or(0);
    let alone = demand.sharing == GpuSharing::Exclusive;
    let most = if alone { Some(1) } else { card.tenants() };
    u64::from(most.map_or(fits, |most| fits.min(most)))
}

/// A profile that promises CUDA to its jobs is for NVIDIA's cards.
fn suits(card: &Card, profile: &Profile) -> bool {
    let is_cuda = profile.labels.iter().any(|label| label == "cuda");
    !is_cuda || card.reading.card.vendor == GpuVendor::Nvidia
}

/// "10 (5 per GPU)": the bound is the cards' together, as the core has it at placement.
fn bounded(machine: &Machine, sum: u64, demand: GpuDemand) -> u64 {
    let cards = u64::try_from(machine.cards.len()).unwrap_or(u64::MAX);
    match demand.sharing {
        GpuSharing::AtMost(most) => sum.min(u64::from(most).saturating_mul(cards)),
        GpuSharing::Shared | GpuSharing::Exclusive => sum,
    }
}
