//! Specification 1's `/api/runners`, to the letter; `status --json` prints the same.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::usage::HostUsage;
use crate::fleet::view::{FleetView, RunnerStatus};

/// The summary. Field order is the specification's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnersSummary {
    /// Slots in all.
    pub total_runners: u32,
    /// Slots with a job.
    pub running: u32,
    /// Slots ready for a job.
    pub idle: u32,
    /// Slots in trouble.
    pub error: u32,
    /// Bound on distinct workflow runs.
    pub max_parallel: u32,
    /// Slots by card: `GPU 0`.
    pub gpu_distribution: BTreeMap<Card, u32>,
    /// Percent in use: `gpu_0` … where the cards are read, and `cpu`.
    pub utilization: Utilization,
}

/// A card as the specification writes it: `GPU 0`. In the order of the numbers, also beyond nine.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
pub struct Card(pub u32);

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GPU {}", self.0)
    }
}

impl From<Card> for String {
    fn from(card: Card) -> Self {
        card.to_string()
    }
}

impl TryFrom<String> for Card {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let index = text.strip_prefix("GPU ").and_then(|index| index.parse().ok());
        index.map(Self).ok_or_else(|| format!("`{text}` is no card such as `GPU 0`"))
    }
}

/// Percent in use. The specification has the cards before the CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Utilization {
    /// Each card that could be read.
    #[serde(flatten)]
    pub cards: BTreeMap<CardUse, u32>,
    /// All CPUs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
}

/// A card as the specification writes it here: `gpu_0`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
pub struct CardUse(pub u32);

impl From<CardUse> for String {
    fn from(card: CardUse) -> Self {
        format!("gpu_{}", card.0)
    }
}

impl TryFrom<String> for CardUse {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let index = text.strip_prefix("gpu_").and_then(|index| index.parse().ok());
        index.map(Self).ok_or_else(|| format!("`{text}` is no card such as `gpu_0`"))
    }
}

impl RunnersSummary {
    pub(super) fn of(fleet: &FleetView, usage: &HostUsage) -> Self {
        let mut summary = Self::counts(fleet);
        summary.utilization.cpu = usage.cpu_percent();
        summary
    }

    /// The summary without the use of the CPUs, which the fleet does not know.
    #[must_use]
    pub fn counts(fleet: &FleetView) -> Self {
        let mut summary = Self {
            total_runners: 0,
            running: 0,
            idle: 0,
            error: 0,
            max_parallel: fleet.max_parallel_workflows,
            gpu_distribution: BTreeMap::new(),
            utilization: Utilization { cards: busy(fleet), cpu: None },
        };
        for runner in &fleet.runners {
            summary.total_runners += 1;
            match runner.status {
                RunnerStatus::Running => summary.running += 1,
                RunnerStatus::Idle => summary.idle += 1,
                RunnerStatus::Error
                | RunnerStatus::Stale
                | RunnerStatus::Oom
                | RunnerStatus::TimedOut => summary.error += 1,
                RunnerStatus::Planned
                | RunnerStatus::Creating
                | RunnerStatus::Starting
                | RunnerStatus::Registering
                | RunnerStatus::Stopping
                | RunnerStatus::Removing => {}
            }
            if let Some(gpu) = runner.gpu {
                *summary.gpu_distribution.entry(Card(gpu)).or_default() += 1;
            }
        }
        summary
    }
}

/// How busy the cards are that say so.
fn busy(fleet: &FleetView) -> BTreeMap<CardUse, u32> {
    let cards = fleet.gpus.cards.iter().map(|card| &card.reading);
    cards.filter_map(|it| Some((CardUse(it.card.index), u32::from(it.busy_percent?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Sim;
    use crate::sim::script::{host, pool, spec};
    use crate::sim::transcript::Writing;

    #[test]
    fn cards_are_counted_by_their_runners_and_read_for_their_use() {
        let spec = spec().with(pool("gpu_heavy", 1)).with(pool("light", 2));
        let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
        sim.up(spec);
        sim.settle().expect("a fleet without faults comes up");
        let mut fleet = sim.fleet().expect("it lives").view(sim.now());
        for (card, percent) in fleet.gpus.cards.iter_mut().zip([Some(75), None]) {
            card.reading.busy_percent = percent;
        }
        let summary = RunnersSummary::counts(&fleet);
        assert_eq!((summary.total_runners, summary.idle), (3, 3));
        assert_eq!(summary.gpu_distribution, [(Card(0), 1)].into());
        assert_eq!(summary.utilization.cards, [(CardUse(0), 75)].into(), "unread is not idle");
        let many: BTreeMap<Card, u32> = [(Card(10), 1), (Card(9), 1)].into();
        let text = serde_json::to_string(&many).expect("it serialises");
        assert_eq!(text, r#"{"GPU 9":1,"GPU 10":1}"#);
    }
}
