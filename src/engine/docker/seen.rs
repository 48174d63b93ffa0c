//! The containers that the engine has shown: one that a list leaves out is asked for by its id.
//!
//! A list can be empty or stale where the engine is confused, and absence from it would end jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::ids::{ContainerId, IncarnationId};

/// More containers than this are no fleet's; those beyond it are believed to be gone at once.
const KEPT: usize = 10_000;

/// What was made or listed, and is not known to be gone.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<BTreeMap<ContainerId, IncarnationId>>);

impl Seen {
    /// The engine has it.
    pub(super) fn add(&self, id: &ContainerId, incarnation: IncarnationId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < KEPT {
            all.insert(id.clone(), incarnation);
        }
    }

    /// The engine says that there is no such container.
    pub(super) fn forget(&self, id: &ContainerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Those that a list leaves out.
    pub(super) fn missing_from(
        &self,
        listed: &BTreeSet<ContainerId>,
    ) -> Vec<(ContainerId, IncarnationId)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = all.iter().filter(|(id, _)| !listed.contains(*id));
        missing.map(|(id, incarnation)| (id.clone(), *incarnation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_leaves_out_is_asked_for_until_the_engine_denies_it() {
        let seen = Seen::default();
        let (a, b) = (ContainerId::new("a"), ContainerId::new("b"));
        seen.add(&a, IncarnationId(1));
        seen.add(&b, IncarnationId(2));
        let listed = BTreeSet::from([a.clone()]);
        assert_eq!(seen.missing_from(&listed), [(b.clone(), IncarnationId(2))]);
        seen.forget(&b);
        assert!(seen.missing_from(&listed).is_empty());
    }
}
