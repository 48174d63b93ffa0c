//! Which cards are sick, by what their drivers report. A sick card is cordoned alone.
//!
//! The classes of Xids follow the vendor's practice for data-centre cards; `gpu.xids` of the fleet
//! file has the last word.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::card::{CardCordon, Severity, Sickness};
use super::ledger;
use crate::fleet::gpu::{GpuHealth, GpuReading, XidReport};
use crate::fleet::runner::Runner;
use crate::fleet::state::State;
use crate::ids::{GpuUuid, IncarnationId, JobId};
use crate::spec::XidClasses;
use crate::units::Time;

/// An Xid of a job next to a worse one of its card is that one's echo.
const ECHO: Duration = Duration::from_secs(30);
/// Failures of jobs on a card are counted over this long.
const FAULTS_WITHIN: Duration = Duration::from_secs(3600);
/// So many jobs are not all wrong themselves.
const FAULTS_MAX: usize = 3;
/// A card that is cordoned again so soon after that ended by itself needs a person.
const AGAIN_WITHIN: Duration = Duration::from_secs(24 * 3600);

const APPLICATION: &[u32] = &[8, 13, 31, 32, 43, 45, 68, 69, 109];
const FATAL: &[u32] = &[46, 64, 79, 95, 110, 119, 120, 140, 143];

/// What an Xid means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum XidClass {
    /// The job's own fault.
    Application,
    /// The card's.
    Card(Severity),
}

/// What an Xid means; one that nobody knows is the card's.
pub(super) fn class(xid: u32, by_file: &XidClasses) -> XidClass {
    let built_in = || match (APPLICATION.contains(&xid), FATAL.contains(&xid)) {
        (true, _) => XidClass::Application,
        (false, true) => XidClass::Card(Severity::Fatal),
        (false, false) => XidClass::Card(Severity::Degraded),
    };
    let by_file = [
        (&by_file.application, XidClass::Application),
        (&by_file.degraded, XidClass::Card(Severity::Degraded)),
        (&by_file.fatal, XidClass::Card(Severity::Fatal)),
    ];
    let named = by_file.into_iter().find(|(list, _)| list.contains(&xid));
    named.map_or_else(built_in, |(_, class)| class)
}

/// What is remembered of the Xids of a card, as long as the supervisor lives.
#[derive(Debug, Clone, Default)]
pub(in crate::fleet) struct Faults {
    /// Jobs that failed with one, the oldest first.
    jobs: VecDeque<(Time, JobId)>,
    /// The last one that was the card's.
    severe: Option<Time>,
}

/// The Xids of all cards.
pub(in crate::fleet) type Xids = BTreeMap<GpuUuid, Faults>;

/// Takes in what a driver reports of a card.
pub(in crate::fleet) fn xid(state: &mut State, now: Time, report: XidReport) {
    let (card, xid) = (report.card.clone(), report.xid);
    let holder = report.pid.and_then(|pid| holder(state, &card, pid));
    let cards = &mut state.gpus.cards;
    if let Some(reading) = cards.iter_mut().find(|it| it.card.uuid == card) {
        reading.last_xid = Some(report);
    }
    match class(xid, &state.spec.gpu.xids) {
        XidClass::Application => fault(state, now, (&card, xid), holder),
        XidClass::Card(severity) => {
            let faults = state.xids.entry(card.clone()).or_default();
            faults.severe = Some(now);
            faults.jobs.retain(|(at, _)| now.since(*at) > ECHO);
            // One card may be cut into several: what is wrong with it is wrong with all of them.
            let slices = state.host.gpus.iter().filter(|it| it.parent.as_ref() == Some(&card));
            let slices: Vec<GpuUuid> = slices.map(|it| it.uuid.clone()).collect();
            for card in slices.into_iter().chain([card]) {
                cordon(state, now, &card, Sickness::Xid { xid, severity });
            }
        }
    }
}

/// The runner whose process this is.
fn holder(state: &State, card: &GpuUuid, pid: u32) -> Option<IncarnationId> {
    let mut processes = ledger::reading(state, card)?.processes.iter().flatten();
    let container = processes.find(|it| it.pid == pid)?.container.as_ref()?;
    let mut runners = state.runners();
    runners.find(|it| it.container() == Some(container)).map(|it| it.id)
}

/// A job's own fault; several jobs' are the card's.
fn fault(
    state: &mut State,
    now: Time,
    (card, xid): (&GpuUuid, u32),
    holder: Option<IncarnationId>,
) {
    let faults = state.xids.entry(card.clone()).or_default();
    if faults.severe.is_some_and(|at| now.since(at) <= ECHO) {
        return;
    }
    faults.jobs.retain(|(at, _)| now.since(*at) <= FAULTS_WITHIN);
    let Some(holder) = holder else { return };
    state.tell_runner(now, holder, "gpu fault", format!("Xid {xid} on {card}: the job's own"));
    let Some((job, _)) = state.runner(holder).and_then(Runner::job) else { return };
    let faults = state.xids.entry(card.clone()).or_default();
    if !faults.jobs.iter().any(|(_, known)| *known == job) {
        faults.jobs.push_back((now, job));
    }
    let jobs = faults.jobs.len();
    if jobs >= FAULTS_MAX {
        cordon(state, now, card, Sickness::Faults { jobs });
    }
}

/// Looks at what a card says of itself.
pub(super) fn look(state: &mut State, now: Time, reading: &GpuReading) {
    let card = &reading.card.uuid;
    match &reading.health {
        GpuHealth::Ok => {}
        GpuHealth::Degraded(why) => cordon(state, now, card, Sickness::Degraded(why.clone())),
        GpuHealth::Lost(why) => cordon(state, now, card, Sickness::Lost(why.clone())),
        GpuHealth::Unresponsive(why) => {
            cordon(state, now, card, Sickness::Unresponsive(why.clone()));
        }
    }
    let Some(to) = reading.ecc_errors else { return };
    let before = state.meta.cards.get(card).and_then(|it| it.ecc);
    if before == Some(to) {
        return;
    }
    state.meta_mut().cards.entry(card.clone()).or_default().ecc = Some(to);
    // A count that fell began anew with the driver.
    if let Some(from) = before.filter(|from| *from < to) {
        cordon(state, now, card, Sickness::Ecc { from, to });
    }
}

/// A card takes no new lease from now on. What is worse counts, then what was first.
pub(super) fn cordon(state: &mut State, now: Time, card: &GpuUuid, cause: Sickness) {
    let record = state.meta.cards.get(card);
    let before = record.and_then(|it| it.cordon.as_ref());
    let is_worse = |before: &CardCordon| {
        cause.severity() > before.cause.severity()
            // What a person has to look at does not end because what is left over is gone.
            || (before.cause.may_pass() && !before.by_hand && !cause.may_pass())
    };
    if before.is_some_and(|before| !is_worse(before)) {
        return;
    }
    let lifted = record.and_then(|it| it.lifted);
    let is_again = lifted.is_some_and(|at| now.since(at) <= AGAIN_WITHIN);
    let by_hand = !cause.may_pass() || is_again;
    let states = (word(before.is_some()), word(true));
    let why = cause.to_string();
    let record = state.meta_mut().cards.entry(card.clone()).or_default();
    record.cordon = Some(CardCordon { cause, since: now, by_hand });
    state.tell_change(now, name(card), ("cordoned", why), states);
}

/// A card takes leases again.
pub(super) fn uncordon(state: &mut State, now: Time, card: &GpuUuid, why: &str) {
    let Some(record) = state.meta.cards.get(card).filter(|it| it.cordon.is_some()) else { return };
    let mut record = record.clone();
    record.cordon = None;
    state.meta_mut().cards.insert(card.clone(), record);
    state.tell_change(now, name(card), ("uncordoned", why), (word(true), word(false)));
}

/// What was wrong with a card is over, and nobody needs to look at it.
pub(super) fn passes(state: &mut State, now: Time, card: &GpuUuid, why: &str) {
    let Some(record) = state.meta_mut().cards.get_mut(card) else { return };
    if record.cordon.as_ref().is_some_and(|it| it.cause.may_pass() && !it.by_hand) {
        record.lifted = Some(now);
        uncordon(state, now, card, why);
    }
}

/// A card as the record names it.
pub(super) fn name(card: &GpuUuid) -> String {
    format!("gpu {card}")
}

fn word(is_cordoned: bool) -> &'static str {
    if is_cordoned { "cordoned" } else { "open" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xid_means_what_the_file_says_and_else_what_the_vendor_says() {
        let none = XidClasses::default();
        let (degraded, fatal) =
            (XidClass::Card(Severity::Degraded), XidClass::Card(Severity::Fatal));
        let table = [
            (13, XidClass::Application),
            (31, XidClass::Application),
            (43, XidClass::Application),
            (45, XidClass::Application),
            (48, degraded),
            (63, degraded),
            (74, degraded),
            (94, degraded),
            (64, fatal),
            (79, fatal),
            (95, fatal),
            (119, fatal),
            (154, degraded),
            (9999, degraded),
        ];
        for (xid, expected) in table {
            assert_eq!(class(xid, &none), expected, "{xid}");
        }
        let own = XidClasses { application: vec![79], degraded: vec![31], fatal: vec![13] };
        assert_eq!(class(79, &own), XidClass::Application);
        assert_eq!(class(31, &own), degraded);
        assert_eq!(class(13, &own), fatal);
    }
}
