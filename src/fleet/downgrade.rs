//! A slot that ran out of GPU memory has a lighter profile for a while: specification 1's recovery.
//!
//! The slot keeps its own profile and its lease, so that the way back is always open; only the
//! runners that are made for it meanwhile are lighter. Jobs that need more wait, or go elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assignment::is_at_least;
use super::plan::Decision;
use super::slot::Slot;
use super::state::State;
use crate::ids::{ProfileName, SlotId};
use crate::spec::{Profile, Spec, show_duration};
use crate::units::words::about;
use crate::units::{Bytes, GpuMib, MilliCpu, Time};

/// A slot's lighter time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Downgrade {
    /// The slot's own profile, which it gets back.
    pub from: ProfileName,
    /// The profile that it has now.
    pub to: ProfileName,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Time,
    /// What it is for.
    pub why: String,
}

/// Specification 1's profiles, the lightest first; its order is locked like they are.
const LOCKED: [&str; 5] = ["light", "standard", "gpu_light", "gpu_heavy", "gpu_max"];

/// The profile that a slot gets after one that ran out of GPU memory; none if nothing is lighter.
///
/// Of the locked profiles it is the one before. Of others it is the largest profile of the file
/// that has the same image, less GPU memory, and nothing more of anything.
#[must_use]
pub fn next_lighter(spec: &Spec, heavy: &ProfileName) -> Option<ProfileName> {
    let place = LOCKED.iter().position(|name| *name == heavy.as_str());
    if let Some(place) = place {
        let before = ProfileName::new(*LOCKED.get(place.checked_sub(1)?)?);
        return spec.profiles.contains_key(&before).then_some(before);
    }
    let own = spec.profiles.get(heavy)?;
    let is_lighter = |it: &Profile| is_at_least(own, it) && gpu_memory(it) < gpu_memory(own);
    let lighter = spec.profiles.iter().filter(|(_, it)| is_lighter(it));
    lighter.max_by_key(|(name, it)| (weight(it), *name)).map(|(name, _)| name.clone())
}

/// What a profile has of a card.
pub(super) fn gpu_memory(profile: &Profile) -> GpuMib {
    profile.gpu.map_or(GpuMib(0), |gpu| gpu.memory)
}

/// Orders profiles by what they have, the dearest first: who is as capable or more is never
/// smaller.
pub(super) fn weight(profile: &Profile) -> (GpuMib, Bytes, MilliCpu) {
    (gpu_memory(profile), profile.memory, profile.cpus)
}

/// A runner of this slot, made to a profile, ran out of GPU memory by its own use.
pub(super) fn begin(
    state: &mut State,
    now: Time,
    (id, ran_as): (SlotId, &ProfileName),
    why: String,
) {
    let Some(span) = state.spec.gpu.downgrade_for else { return };
    let Some(slot) = state.slot(id) else { return };
    // What a runner of an earlier profile does at its end says nothing of the one that follows.
    if slot.profile_now() != ran_as {
        return;
    }
    let (from, since) = (slot.profile.clone(), slot.downgrade.as_ref().map_or(now, |it| it.since));
    let Some(to) = next_lighter(&state.spec, ran_as) else {
        state.tell(now, id, "not downgraded", format!("no profile is lighter than {ran_as}"));
        return;
    };
    let told = ("downgraded", format!("for {}: {why}", show_duration(span)));
    state.tell_change(now, id, told, (ran_as, &to));
    if let Some(slot) = state.slot_mut(id) {
        slot.downgrade = Some(Downgrade { from, to, since, until: now + span, why });
    }
}

/// Plans the way back of slots whose lighter time is over.
pub(super) fn plan(state: &State, now: Time, plan: &mut Vec<Decision>) {
    let over = state.slots().filter_map(|slot| {
        let why = over(&state.spec, now, slot)?;
        Some(Decision::Restore(slot.id, why.to_owned()))
    });
    plan.extend(over);
}

/// Why a slot gets its own profile back, if it does.
fn over(spec: &Spec, now: Time, slot: &Slot) -> Option<&'static str> {
    let downgrade = slot.downgrade.as_ref()?;
    if now >= downgrade.until {
        return Some("its lighter time is over");
    }
    if downgrade.from != slot.profile || !spec.profiles.contains_key(&downgrade.to) {
        return Some("the fleet file gives it another profile");
    }
    spec.gpu.downgrade_for.is_none().then_some("the fleet file switches downgrades off")
}

/// Gives a slot its own profile back.
pub(super) fn end(state: &mut State, now: Time, id: SlotId, why: &str) {
    if state.slot(id).is_none_or(|slot| slot.downgrade.is_none()) {
        return;
    }
    let Some(slot) = state.slot_mut(id) else { return };
    let Some(downgrade) = slot.downgrade.take() else { return };
    let states = (downgrade.to, slot.profile.clone());
    state.tell_change(now, id, ("profile restored", why), states);
}

impl Downgrade {
    /// What a person reads beside the slot.
    #[must_use]
    pub fn in_words(&self, now: Time) -> String {
        let left = about(self.until.since(now));
        format!("{} instead of {} for {left} more: {}", self.to, self.from, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::script::spec;
    use crate::spec::{GpuDemand, GpuSharing};
    use crate::units::{Bytes, GpuMib, MilliCpu};

    fn lighter(spec: &Spec, name: &str) -> Option<String> {
        next_lighter(spec, &ProfileName::new(name)).map(|name| name.to_string())
    }

    #[test]
    fn the_locked_profiles_go_down_one_by_one() {
        let spec = spec();
        let steps = ["gpu_max", "gpu_heavy", "gpu_light", "standard", "light"];
        for pair in steps.windows(2) {
            assert_eq!(lighter(&spec, pair[0]).as_deref(), Some(pair[1]));
        }
        assert_eq!(lighter(&spec, "light"), None);
    }

    #[test]
    fn an_own_profile_goes_to_the_largest_that_asks_for_nothing_more() {
        let mut spec = spec();
        let model = spec.profiles.get(&ProfileName::new("gpu_heavy")).cloned().expect("is there");
        let mut add = |name: &str, cpus: u32, gib: u64, gpu: u32| {
            let gpu =
                (gpu > 0).then_some(GpuDemand { memory: GpuMib(gpu), sharing: GpuSharing::Shared });
            let (cpus, memory) = (MilliCpu::cpus(cpus), Bytes::gib(gib));
            let profile = Profile { cpus, memory, gpu, ..model.clone() };
            spec.profiles.insert(ProfileName::new(name), profile);
        };
        add("train", 4, 8, 12_000);
        add("wide", 8, 8, 9000);
        add("embed", 1, 1, 1000);
        assert_eq!(lighter(&spec, "train").as_deref(), Some("gpu_heavy"), "`wide` has more CPUs");
        assert_eq!(lighter(&spec, "wide").as_deref(), Some("gpu_heavy"));
        assert_eq!(lighter(&spec, "embed").as_deref(), Some("light"));
        // The locked order stays, whatever else the file has.
        assert_eq!(lighter(&spec, "gpu_max").as_deref(), Some("gpu_heavy"));
        assert_eq!(lighter(&spec, "unknown"), None);
    }
}
