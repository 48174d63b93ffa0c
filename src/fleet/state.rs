//! What the core knows, and the notes of one step: what was touched, what happened, what to do.
//!
//! Every change of something durable goes through `*_mut`, `insert_*` or `remove_*`, so that no
//! change can be forgotten in the records of its step.

mod telling;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::audit::{Actor, AuditEntry};
use super::awake::Awake;
use super::backoff::Backoff;
use super::disk::Disks;
use super::effect::Effect;
use super::event::DownMode;
use super::failures;
use super::forge::{Forges, Hold, Leftover};
use super::gpu::GpuReport;
use super::gpu_memory::Measurements;
use super::gpus::Unowned;
use super::gpus::card::{CardRecord, Sweep};
use super::gpus::sickness::Xids;
use super::host::HostFacts;
use super::job::{Job, JobState};
use super::pause::Pause;
use super::queue::Queue;
use super::runner::{Contact, Runner};
use super::scale::Standing;
use super::slot::Slot;
use crate::ids::{
    BlobId, ContainerId, GpuUuid, ImageId, ImageRef, IncarnationId, JobId, OpId, PoolName, SlotId,
    TaskName,
};
use crate::spec::Spec;
use crate::units::Time;

/// Everything that must survive a restart, as the store gives it back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Slots.
    pub slots: Vec<Slot>,
    /// Runners that were not known to be gone.
    pub runners: Vec<Runner>,
    /// Jobs, ended ones too.
    pub jobs: Vec<Job>,
    /// The rest.
    pub meta: Meta,
    /// The number of the last entry of the audit log.
    pub audit_seq: u64,
}

/// Small durable facts of the whole fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The spec in force.
    pub spec: Option<Spec>,
    /// Numbers of runners that `scale` set, until the next `up` or a time.
    pub scaled: BTreeMap<PoolName, u32>,
    /// Of these, those that end by themselves, and when.
    #[serde(default)]
    pub scaled_until: BTreeMap<PoolName, Time>,
    /// Where the pools that follow their queue stand.
    #[serde(default)]
    pub elastic: BTreeMap<PoolName, Standing>,
    /// The fleet is to be removed, or was; until the next `up`.
    pub going_down: Option<DownMode>,
    /// What is recorded of cards.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cards: BTreeMap<GpuUuid, CardRecord>,
    /// Leases of runners that are gone, until nothing of them is left on their cards.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sweeping: BTreeMap<IncarnationId, Sweep>,
    /// Entries at forges of runners that are gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leftovers: BTreeMap<IncarnationId, Leftover>,
    /// What forges' jobs wrote that is not in the report store yet, by its runner.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub publishing: BTreeMap<IncarnationId, BTreeSet<String>>,
    /// Pools in which nothing begins before an operator opens them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<PoolName, Pause>,
    /// Pools that get no new runners before an operator does something.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pool_holds: BTreeMap<PoolName, Hold>,
    /// The same of slots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slot_holds: BTreeMap<SlotId, Hold>,
    /// The last incarnation number given.
    pub incarnation: u64,
    /// The last job number given.
    pub job: u64,
}

/// One durable change: the new value, or none where the thing is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A slot.
    Slot(SlotId, Option<Box<Slot>>),
    /// A runner.
    Runner(IncarnationId, Option<Box<Runner>>),
    /// A job.
    Job(JobId, Option<Box<Job>>),
    /// The small facts.
    Meta(Box<Meta>),
    /// One more entry of the audit log.
    Audit(AuditEntry),
}

/// What is known of an image name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// Asked for; no answer yet.
    Asked,
    /// Its content.
    Known(ImageId),
    /// Not to be had; asked again after a while.
    Missing {
        /// The engine's words.
        why: String,
        /// When to ask again.
        retry_at: Time,
    },
}

/// What is known of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineContact {
    /// No complete list yet: nothing may be decided.
    Unknown,
    /// Listed since it was last reached.
    Listed,
    /// It does not answer.
    Unreachable(String),
}

/// A place where runners fail and are tried again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A slot.
    Slot(SlotId),
    /// The spares of a pool.
    Spares(PoolName),
}

/// The core's knowledge.
#[derive(Debug)]
pub(super) struct State {
    pub meta: Meta,
    pub spec: Spec,
    pub host: HostFacts,
    pub disks: Disks,
    /// What the cards said last; nothing of it is durable.
    pub gpus: GpuReport,
    /// The GPU memory that the present attempts held.
    pub gpu_memory: Measurements,
    /// When that was begun.
    pub gpus_begun: Time,
    /// What nobody seemed to hold of each card lately.
    pub unowned: BTreeMap<GpuUuid, Unowned>,
    /// Runners that have more of their card than they leased, and in how many readings.
    pub over: BTreeMap<IncarnationId, u8>,
    /// What drivers reported lately.
    pub xids: Xids,
    pub forge: Forges,
    pub engine: EngineContact,
    /// When the newest list was begun.
    pub listed: Time,
    pub images: BTreeMap<ImageRef, Image>,
    pub awake: Awake,
    pub backoffs: BTreeMap<Place, Backoff>,
    pub contacts: BTreeMap<IncarnationId, Contact>,
    /// Containers of this fleet that no record knows; they are to be removed.
    pub orphans: BTreeMap<IncarnationId, ContainerId>,
    /// Runners that are gone, and since when: a list begun earlier may still show them.
    pub graves: BTreeMap<IncarnationId, Time>,
    slots: BTreeMap<SlotId, Slot>,
    runners: BTreeMap<IncarnationId, Runner>,
    jobs: BTreeMap<JobId, Job>,
    queue: Queue,
    blobs: BTreeMap<BlobId, usize>,
    held: BTreeSet<JobId>,
    ended: BTreeSet<JobId>,
    /// Jobs that are driven from outside and not over.
    tasks: BTreeMap<TaskName, JobId>,
    last_op: OpId,
    audit_seq: u64,
    acting: Actor,
    notes: Notes,
}

/// What one step has touched and wants done.
#[derive(Debug, Default)]
pub(super) struct Notes {
    slots: BTreeSet<SlotId>,
    runners: BTreeSet<IncarnationId>,
    jobs: BTreeSet<JobId>,
    meta: bool,
    audit: Vec<AuditEntry>,
    pub effects: Vec<Effect>,
}

impl State {
    /// The state after a start: what was recorded, and nothing of the engine or the agents.
    pub fn restore(spec: Spec, restored: Restored, now: Time) -> Self {
        let mut state = Self {
            meta: restored.meta,
            spec,
            host: HostFacts::default(),
            disks: Disks::default(),
            gpus: GpuReport::default(),
            gpu_memory: Measurements::new(),
            gpus_begun: Time(0),
            unowned: BTreeMap::new(),
            over: BTreeMap::new(),
            xids: Xids::new(),
            forge: Forges::default(),
            engine: EngineContact::Unknown,
            listed: Time(0),
            images: BTreeMap::new(),
            awake: Awake::from(now),
            backoffs: BTreeMap::new(),
            contacts: BTreeMap::new(),
            orphans: BTreeMap::new(),
            graves: BTreeMap::new(),
            slots: restored.slots.into_iter().map(|slot| (slot.id, slot)).collect(),
            runners: BTreeMap::new(),
            jobs: BTreeMap::new(),
            queue: Queue::default(),
            blobs: BTreeMap::new(),
            held: BTreeSet::new(),
            ended: BTreeSet::new(),
            tasks: BTreeMap::new(),
            last_op: OpId(0),
            audit_seq: restored.audit_seq,
            acting: Actor::Fleet,
            notes: Notes::default(),
        };
        let failed = |slot: &Slot| {
            let backoff = slot.last_failure.as_ref().and_then(failures::remembered)?;
            Some((Place::Slot(slot.id), backoff))
        };
        state.backoffs = state.slots.values().filter_map(failed).collect();
        for runner in restored.runners {
            let heard = Contact { heard: now, ..Contact::default() };
            state.contacts.insert(runner.id, heard);
            state.runners.insert(runner.id, runner);
        }
        for job in restored.jobs {
            state.index(&job);
            state.jobs.insert(job.id, job);
        }
        state
    }

    /// All that would survive a restart now.
    pub fn durable(&self) -> Restored {
        Restored {
            slots: self.slots.values().cloned().collect(),
            runners: self.runners.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            meta: self.meta.clone(),
            audit_seq: self.audit_seq,
        }
    }

    /// Whether an `up` was ever carried out. A fleet whose first one was refused has a spec, too,
    /// but no slots, and nothing that would ever serve a job.
    pub fn was_applied(&self) -> bool {
        self.meta.spec.is_some()
    }

    /// Whether everything is to be removed.
    pub fn is_going_down(&self) -> bool {
        self.meta.going_down.is_some()
    }

    pub fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.slots.values()
    }

    pub fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(&id)
    }

    pub fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.notes.slots.insert(id);
        self.slots.get_mut(&id)
    }

    pub fn insert_slot(&mut self, slot: Slot) {
        self.notes.slots.insert(slot.id);
        self.slots.insert(slot.id, slot);
    }

    pub fn remove_slot(&mut self, id: SlotId) {
        self.notes.slots.insert(id);
        self.slots.remove(&id);
        self.backoffs.remove(&Place::Slot(id));
        if self.meta.slot_holds.contains_key(&id) {
            self.meta_mut().slot_holds.remove(&id);
        }
    }

    pub fn runners(&self) -> impl Iterator<Item = &Runner> {
        self.runners.values()
    }

    pub fn runner(&self, id: IncarnationId) -> Option<&Runner> {
        self.runners.get(&id)
    }

    pub fn runner_mut(&mut self, id: IncarnationId) -> Option<&mut Runner> {
        self.notes.runners.insert(id);
        self.runners.get_mut(&id)
    }

    fn insert_runner(&mut self, runner: Runner, now: Time) {
        self.notes.runners.insert(runner.id);
        let contact = Contact { heard: now, op_ended: now, ..Contact::default() };
        self.contacts.insert(runner.id, contact);
        self.runners.insert(runner.id, runner);
    }

    fn remove_runner(&mut self, id: IncarnationId, now: Time) {
        self.notes.runners.insert(id);
        self.bury(id, now);
        self.runners.remove(&id);
    }

    /// A runner or an orphan is gone.
    pub fn bury(&mut self, id: IncarnationId, now: Time) {
        self.orphans.remove(&id);
        self.contacts.remove(&id);
        self.forge.listeners.remove(&id);
        self.graves.insert(id, now);
    }

    /// What is known of a runner beside its record.
    pub fn contact(&self, id: IncarnationId) -> Contact {
        self.contacts.get(&id).copied().unwrap_or_default()
    }

    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.jobs.values()
    }

    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Whether a job that is not over needs this working folder.
    pub fn is_needed(&self, blob: &BlobId) -> bool {
        self.blobs.contains_key(blob)
    }

    /// The jobs that a runner holds or held until their end is settled.
    pub fn held_jobs(&self) -> impl Iterator<Item = &Job> {
        self.held.iter().filter_map(|id| self.jobs.get(id))
    }

    /// The job of this name that somebody drives from outside, if it is not over.
    pub fn task(&self, task: &TaskName) -> Option<&Job> {
        self.job(*self.tasks.get(task)?)
    }

    pub fn ended_len(&self) -> usize {
        self.ended.len()
    }

    /// The ended jobs, oldest number first.
    pub fn ended_jobs(&self) -> impl Iterator<Item = &Job> {
        self.ended.iter().filter_map(|id| self.jobs.get(id))
    }

    /// Changes a job, and keeps queue and indexes true.
    pub fn change_job(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        self.unindex(&job);
        change(&mut job);
        self.index(&job);
        self.jobs.insert(id, job);
        self.notes.jobs.insert(id);
    }

    fn insert_job(&mut self, job: Job) {
        self.index(&job);
        self.notes.jobs.insert(job.id);
        self.jobs.insert(job.id, job);
    }

    fn remove_job(&mut self, id: JobId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.unindex(&job);
            self.notes.jobs.insert(id);
        }
    }

    pub fn meta_mut(&mut self) -> &mut Meta {
        self.notes.meta = true;
        &mut self.meta
    }

    pub fn next_incarnation(&mut self) -> IncarnationId {
        let meta = self.meta_mut();
        meta.incarnation += 1;
        IncarnationId(meta.incarnation)
    }

    pub fn next_job(&mut self) -> JobId {
        let meta = self.meta_mut();
        meta.job += 1;
        JobId(meta.job)
    }

    pub fn next_op(&mut self) -> OpId {
        self.last_op = self.last_op.next();
        self.last_op
    }

    /// Wants something done after this step is durable.
    pub fn effect(&mut self, effect: Effect) {
        self.notes.effects.push(effect);
    }

    /// Takes the notes of the step: its records and its effects.
    pub fn take_notes(&mut self) -> (Vec<Record>, Vec<Effect>) {
        let notes = std::mem::take(&mut self.notes);
        let mut records = Vec::new();
        if notes.meta {
            records.push(Record::Meta(Box::new(self.meta.clone())));
        }
        let slots = notes.slots.into_iter();
        records
            .extend(slots.map(|id| Record::Slot(id, self.slots.get(&id).cloned().map(Box::new))));
        let runners = notes.runners.into_iter();
        records.extend(
            runners.map(|id| Record::Runner(id, self.runners.get(&id).cloned().map(Box::new))),
        );
        let jobs = notes.jobs.into_iter();
        records.extend(jobs.map(|id| Record::Job(id, self.jobs.get(&id).cloned().map(Box::new))));
        records.extend(notes.audit.into_iter().map(Record::Audit));
        (records, notes.effects)
    }

    fn index(&mut self, job: &Job) {
        if job.attempt.0 > 0 {
            self.queue.serve(job);
        }
        match &job.state {
            JobState::Queued => self.queue.insert(job),
            JobState::OnHold { .. } => self.queue.put_aside(job),
            JobState::Given { .. } | JobState::Publishing { .. } | JobState::Fenced { .. } => {
                self.held.insert(job.id);
            }
            JobState::Ended { .. } => {
                self.ended.insert(job.id);
                return;
            }
        }
        if let Some(task) = &job.spec.task {
            self.tasks.insert(task.clone(), job.id);
        }
        if let Some(blob) = &job.spec.workspace {
            *self.blobs.entry(blob.clone()).or_default() += 1;
        }
    }

    fn unindex(&mut self, job: &Job) {
        self.queue.remove(job);
        self.held.remove(&job.id);
        if self.ended.remove(&job.id) {
            return;
        }
        if let Some(task) = &job.spec.task {
            self.tasks.remove(task);
        }
        if let Some(blob) = &job.spec.workspace
            && let Some(needed) = self.blobs.get_mut(blob)
        {
            *needed -= 1;
            if *needed == 0 {
                self.blobs.remove(blob);
            }
        }
    }
}
