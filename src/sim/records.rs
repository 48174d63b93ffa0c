//! A store that keeps records in memory, as the real one keeps them on disk.

use std::collections::BTreeMap;

use crate::fleet::audit::AuditEntry;
use crate::fleet::job::Job;
use crate::fleet::runner::Runner;
use crate::fleet::slot::Slot;
use crate::fleet::state::{Meta, Record, Restored};
use crate::ids::{IncarnationId, JobId, SlotId};

/// All that survives a supervisor.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Slots by number.
    pub slots: BTreeMap<SlotId, Slot>,
    /// Runners that are not known to be gone.
    pub runners: BTreeMap<IncarnationId, Runner>,
    /// Jobs, ended ones too.
    pub jobs: BTreeMap<JobId, Job>,
    /// The small facts.
    pub meta: Meta,
    /// The record.
    pub audit: Vec<AuditEntry>,
    /// Every transaction, for tests of what reads them.
    #[cfg(test)]
    pub steps: Vec<Vec<Record>>,
}

impl Records {
    /// One transaction.
    pub fn apply(&mut self, records: &[Record]) {
        #[cfg(test)]
        self.steps.push(records.to_vec());
        for record in records {
            match record {
                Record::Slot(id, value) => put(&mut self.slots, *id, value.as_deref()),
                Record::Runner(id, value) => put(&mut self.runners, *id, value.as_deref()),
                Record::Job(id, value) => put(&mut self.jobs, *id, value.as_deref()),
                Record::Meta(meta) => self.meta = meta.as_ref().clone(),
                Record::Audit(entry) => self.audit.push(entry.clone()),
            }
        }
    }

    /// What the next supervisor starts from.
    #[must_use]
    pub fn restored(&self) -> Restored {
        Restored {
            slots: self.slots.values().cloned().collect(),
            runners: self.runners.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            meta: self.meta.clone(),
            audit_seq: self.audit.last().map_or(0, |entry| entry.seq),
        }
    }
}

fn put<K: Ord, V: Clone>(map: &mut BTreeMap<K, V>, key: K, value: Option<&V>) {
    match value {
        Some(value) => map.insert(key, value.clone()),
        None => map.remove(&key),
    };
}
