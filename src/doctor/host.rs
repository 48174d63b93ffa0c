//! The machine: its memory, its clock, and what it starts by itself.

use std::time::Duration;

use super::facts::{Boot, Facts, Unit};
use super::{Check, error, fine, no_engine, skipped, unread, warning};
use crate::units::words::{about, all_of};

/// Clocks that differ by this much make certificates and tokens fail.
const SKEW_BAD: Duration = Duration::from_secs(30);
/// The engine answers within a moment; what is more is a difference of clocks.
const SKEW_NOTABLE: Duration = Duration::from_secs(3);

pub(super) fn memory(facts: &Facts) -> Vec<Check> {
    let Some(found) = facts.host.memory else { return unread("the memory") };
    let Some(wanted) = &facts.wanted else {
        return vec![skipped(format!("{found} of memory; there is no fleet file to compare with"))];
    };
    match wanted.memory > found {
        true => vec![warning(
            format!(
                "the limits of {} are {} together, and this machine has {found}",
                all_of(wanted.runners, "runner"),
                wanted.memory
            ),
            "`slate-fleet plan` tells what fits; fewer or lighter runners do not swap",
        )],
        false => vec![fine(format!(
            "the limits of {} are {} of {found}",
            all_of(wanted.runners, "runner"),
            wanted.memory
        ))],
    }
}

pub(super) fn clock(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("clock") };
    let Some(clock) = engine.clock else { return unread("the engine's clock") };
    let skew = facts.now.since(clock).max(clock.since(facts.now));
    let differs = format!("the engine's clock differs by {}", about(skew));
    let advice = "set both by NTP: `sudo timedatectl set-ntp true`";
    if skew >= SKEW_BAD {
        let why = "certificates and tokens are refused";
        return vec![error(format!("{differs}: {why}"), advice)];
    }
    match skew >= SKEW_NOTABLE {
        true => vec![warning(differs, advice)],
        false => vec![fine("the engine's clock is ours")],
    }
}

pub(super) fn boot(facts: &Facts) -> Vec<Check> {
    let Some(Boot { engine, supervisor }) = facts.host.boot else {
        return vec![skipped("what starts with the machine: there is no systemd here")];
    };
    let mut found = Vec::new();
    if !engine {
        found.push(warning(
            "the engine is not started with the machine",
            "`sudo systemctl enable docker`",
        ));
    }
    match supervisor {
        Unit::None => found.push(warning(
            "no unit starts a supervisor after a restart of the machine",
            "write one with `ExecStart=slate-fleet -f FILE up`: docs/reference/doctor.md has it",
        )),
        Unit::Session => found.push(warning(
            "the supervisor's unit is a user's, and ends with that user's last session",
            "`loginctl enable-linger`",
        )),
        Unit::Machine | Unit::Lingering => {}
    }
    match found.is_empty() {
        true => vec![fine("engine and supervisor are started with the machine")],
        false => found,
    }
}
