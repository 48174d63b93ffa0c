//! What stands in a fleet's way, by its read model.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Condition;
use crate::fleet::disk::DiskView;
use crate::fleet::forge::{ForgeContact, ForgeView};
use crate::fleet::view::{FleetPhase, FleetView, PoolView, RunnerView};
use crate::ids::PoolName;
use crate::spec::{Notify, NotifyEvent};
use crate::units::words::{agree, counted};

/// A runner that failed this often in a row is in a loop.
const LOOP: u32 = 5;
/// A fleet comes up, and a forge comes back, within this time.
const A_WHILE: Duration = Duration::from_secs(5 * 60);
/// Troubles that are named; the others are counted.
const NAMED_MAX: usize = 3;

/// Everything that a message may be about, of the kinds that are wanted.
#[must_use]
pub fn conditions(
    fleet: &FleetView,
    queue: &BTreeMap<PoolName, u32>,
    notify: &Notify,
) -> Vec<Condition> {
    let mut all = Vec::new();
    all.extend(fleet.pools.iter().filter_map(|pool| self::queue(pool, queue, notify)));
    all.extend(fleet.pools.iter().filter_map(|pool| crash_loop(pool, fleet)));
    all.extend(degraded(fleet));
    all.extend(fleet.disks.iter().filter(|disk| disk.low).map(disk));
    all.extend(fleet.forges.iter().filter_map(forge));
    all.retain(|condition| notify.events.contains(&condition.event));
    all
}

/// The supervisor cannot record, and so does nothing.
#[must_use]
pub fn unrecorded(why: String) -> Condition {
    let (event, object) = (NotifyEvent::Degraded, "record".to_owned());
    Condition { event, object, words: why, patience: Duration::ZERO }
}

fn queue(pool: &PoolView, queue: &BTreeMap<PoolName, u32>, notify: &Notify) -> Option<Condition> {
    let depth = queue.get(&pool.name).copied().filter(|depth| *depth > notify.queue_above)?;
    Some(Condition {
        event: NotifyEvent::Queue,
        object: pool.name.to_string(),
        words: format!(
            "{} {} for pool {}",
            counted(depth, "job"),
            agree(&depth, "waits", "wait"),
            pool.name
        ),
        patience: notify.queue_for,
    })
}

fn crash_loop(pool: &PoolView, fleet: &FleetView) -> Option<Condition> {
    let failures = |runner: &RunnerView| runner.failures_in_a_row(fleet.at);
    let in_loop = |runner: &&RunnerView| runner.pool == pool.name && failures(runner) >= LOOP;
    let mut runners = fleet.runners.iter().filter(in_loop);
    let first = runners.next()?;
    let (count, others) = (failures(first), runners.count());
    let cause = first.last_failure.as_ref().map_or("", |failure| failure.cause.as_str());
    let others = match others {
        0 => String::new(),
        others => format!(" (and {} of pool {})", counted(others, "more runner"), pool.name),
    };
    Some(Condition {
        event: NotifyEvent::CrashLoop,
        object: pool.name.to_string(),
        words: format!("{} failed {count} times in a row: {cause}{others}", first.name),
        patience: Duration::ZERO,
    })
}

fn degraded(fleet: &FleetView) -> Option<Condition> {
    match fleet.phase {
        FleetPhase::Starting | FleetPhase::Converging => {}
        FleetPhase::Ready | FleetPhase::GoingDown => return None,
    }
    let mut words = "the fleet is not as its file says".to_owned();
    let named = fleet.troubles.iter().take(NAMED_MAX).map(String::as_str);
    let named: Vec<&str> = named.collect();
    if !named.is_empty() {
        words.push_str(&format!(": {}", named.join("; ")));
    }
    let others = fleet.troubles.len().saturating_sub(NAMED_MAX);
    if others > 0 {
        words.push_str(&format!("; and {}", counted(others, "more trouble")));
    }
    let (event, object) = (NotifyEvent::Degraded, "fleet".to_owned());
    Some(Condition { event, object, words, patience: A_WHILE })
}

fn disk(disk: &DiskView) -> Condition {
    let DiskView { path, holds, free, floor, .. } = disk;
    let path = path.display();
    Condition {
        event: NotifyEvent::Disk,
        object: holds.clone(),
        words: format!(
            "the disk of {path} ({holds}) has {free} free, and {floor} is the least: no job is \
             given out"
        ),
        patience: Duration::ZERO,
    }
}

fn forge(forge: &ForgeView) -> Option<Condition> {
    let scope = &forge.scope;
    let words = match forge.contact.as_ref()? {
        ForgeContact::Good => return None,
        ForgeContact::Unreachable(why) => format!("{scope} does not answer: {why}"),
        ForgeContact::Limited { why, .. } => format!("{scope} asked for silence: {why}"),
        ForgeContact::Denied(why) => format!("{scope} refuses: {why}"),
    };
    let (event, object) = (NotifyEvent::Forge, scope.to_string());
    Some(Condition { event, object, words, patience: A_WHILE })
}
