//! What runners use of processor and memory: read from the engine only while somebody looks.
//!
//! Nobody looks, nothing is read. Whoever looks twice within a moment gets the same report, so any
//! number of watchers costs the engine one round of readings at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::clock::Clock;
use crate::engine::{ContainerStats, Engine};
use crate::fleet::view::FleetView;
use crate::ids::{ContainerId, SlotId};
use crate::units::{Bytes, MilliCpu, Time};

/// A report serves everybody who asks so soon after it.
const FRESH: Duration = Duration::from_secs(1);
/// A mean over more than this says little of now.
const STALE: Duration = Duration::from_secs(15);
/// Readings at a time: they must not hold up what makes containers.
const AT_A_TIME: usize = 8;
/// How long a round may take; what was not read by then is left out.
const ROUND: Duration = Duration::from_secs(5);

/// Answer of `GET /api/v1/usage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageReport {
    /// When it was read.
    pub at: Time,
    /// The runners whose containers run, by slot; one that could not be read is left out.
    pub runners: Vec<RunnerUsage>,
}

/// What one runner uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerUsage {
    /// Its slot.
    pub id: SlotId,
    /// The slot's name.
    pub name: String,
    /// Processors in use since the look before, in thousandths of one; none at the first look.
    pub cpus: Option<MilliCpu>,
    /// Memory in use, without the page cache that can be dropped.
    pub memory: Bytes,
    /// The memory limit.
    pub memory_limit: Bytes,
    /// Processes and threads.
    pub pids: u64,
}

/// A runner whose container may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    id: SlotId,
    name: String,
    container: ContainerId,
}

/// The runners of a fleet that have a container.
pub(super) fn present(fleet: &FleetView) -> Vec<Present> {
    let of = |(id, name, container): (SlotId, &String, &ContainerId)| Present {
        id,
        name: name.clone(),
        container: container.clone(),
    };
    let runners = fleet.runners.iter();
    runners.filter_map(|it| Some(of((it.id, &it.name, it.container.as_ref()?)))).collect()
}

/// Reads what runners use.
pub(super) struct UsageReader<E> {
    engine: Arc<E>,
    clock: Clock,
    last: Mutex<Last>,
}

/// The last round.
#[derive(Default)]
struct Last {
    report: UsageReport,
    cpu: BTreeMap<ContainerId, Reading>,
}

/// Processor time of a container at a moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Time,
    cpu: Duration,
}

impl<E: Engine> UsageReader<E> {
    pub(super) fn new(engine: Arc<E>, clock: Clock) -> Self {
        Self { engine, clock, last: Mutex::default() }
    }

    /// What these runners use now, or used a moment ago.
    pub(super) async fn read(&self, present: Vec<Present>) -> UsageReport {
        // Whoever comes while a round is under way waits for it and takes its report.
        let mut last = self.last.lock().await;
        let now = self.clock.now();
        if now.since(last.report.at) < FRESH {
            return last.report.clone();
        }
        let mut next = Last::default();
        next.report.at = now;
        for (it, at, stats) in self.round(present).await {
            let before = last.cpu.get(&it.container).copied();
            next.report.runners.push(usage(&it, (at, stats), before));
            next.cpu.insert(it.container, Reading { at, cpu: stats.cpu });
        }
        next.report.runners.sort_unstable_by_key(|it| it.id);
        *last = next;
        last.report.clone()
    }

    async fn round(&self, present: Vec<Present>) -> Vec<(Present, Time, ContainerStats)> {
        let late = sleep(ROUND);
        tokio::pin!(late);
        let readings = stream::iter(present).map(|it| async {
            let stats = self.engine.stats(&it.container).await;
            (it, self.clock.now(), stats)
        });
        let mut readings = readings.buffer_unordered(AT_A_TIME);
        let mut read = Vec::new();
        loop {
            let next = tokio::select! {
                () = &mut late => None,
                next = readings.next() => next,
            };
            match next {
                // Without a process it does not run, and its figures mean nothing.
                Some((it, at, Ok(stats))) if stats.pids > 0 => read.push((it, at, stats)),
                Some((_, _, Ok(_))) => {}
                Some((it, _, Err(error))) => {
                    tracing::debug!(runner = it.name, "no use: {}", error.describe());
                }
                None => return read,
            }
        }
    }
}

fn usage(
    it: &Present,
    (at, stats): (Time, ContainerStats),
    before: Option<Reading>,
) -> RunnerUsage {
    let before = before.filter(|before| at.since(before.at) <= STALE);
    RunnerUsage {
        id: it.id,
        name: it.name.clone(),
        cpus: before.and_then(|before| rate(before, Reading { at, cpu: stats.cpu })),
        memory: stats.memory,
        memory_limit: stats.memory_limit,
        pids: stats.pids,
    }
}

/// Processors in use between two readings; none where no time passed or the counter began anew.
fn rate(before: Reading, now: Reading) -> Option<MilliCpu> {
    let used = now.cpu.checked_sub(before.cpu)?.as_micros();
    let milli = used.checked_div(now.at.since(before.at).as_millis())?;
    Some(MilliCpu(u32::try_from(milli).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: u64, cpu_ms: u64) -> Reading {
        Reading { at: Time(at), cpu: Duration::from_millis(cpu_ms) }
    }

    #[test]
    fn a_rate_is_processor_time_over_time() {
        let rates = [
            (reading(0, 0), reading(2000, 3000), Some(1500)),
            (reading(0, 500), reading(1000, 500), Some(0)),
            (reading(5, 0), reading(5, 10), None),
            (reading(0, 10), reading(1000, 5), None),
        ];
        for (before, now, expected) in rates {
            assert_eq!(rate(before, now), expected.map(MilliCpu), "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_reading_of_long_ago_makes_no_rate() {
        let it = Present {
            id: SlotId(1),
            name: "slate-light-01".to_owned(),
            container: ContainerId::new("0123456789abcdef"),
        };
        let stats = ContainerStats {
            cpu: Duration::from_secs(20),
            memory: Bytes::mib(100),
            memory_limit: Bytes::mib(512),
            pids: 3,
        };
        let told = |before| usage(&it, (Time(20_000), stats), before).cpus;
        assert_eq!(told(None), None);
        assert_eq!(told(Some(reading(0, 0))), None, "too long ago");
        assert_eq!(told(Some(reading(10_000, 10_000))), Some(MilliCpu(1000)));
    }
}
