//! What the fleet needs now: nothing of it may be collected as garbage.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::job::{Job, JobState};
use super::state::State;
use crate::ids::{BlobId, ImageId, ImageRef, IncarnationId, JobId};
use crate::spec::{Reports, Retention};
use crate::units::Time;

/// What is in use, and what is over since when.
#[derive(Debug, Clone)]
pub struct Holdings {
    /// How long what is over is kept.
    pub retention: Retention,
    /// The report store.
    pub reports: Reports,
    /// Jobs that are over, oldest end first.
    pub ended: Vec<(JobId, Time)>,
    /// `workflow/run_id` of the jobs that are not over.
    pub runs: BTreeSet<String>,
    /// Working folders of the jobs that are not over.
    pub blobs: BTreeSet<BlobId>,
    /// Runners that are not known to be gone.
    pub incarnations: BTreeSet<IncarnationId>,
    /// The last runner that was made; later ones are not known here.
    pub last_incarnation: IncarnationId,
    /// Images that profiles name.
    pub images: BTreeSet<ImageRef>,
    /// Images that runners have.
    pub image_ids: BTreeSet<ImageId>,
}

impl Default for Holdings {
    /// Those of no fleet.
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            reports: Reports::at(PathBuf::new()),
            ended: Vec::new(),
            runs: BTreeSet::new(),
            blobs: BTreeSet::new(),
            incarnations: BTreeSet::new(),
            last_incarnation: IncarnationId(0),
            images: BTreeSet::new(),
            image_ids: BTreeSet::new(),
        }
    }
}

impl Holdings {
    /// Whether an object of a runner, or of none, belongs to nobody.
    #[must_use]
    pub fn is_left_over(&self, incarnation: Option<IncarnationId>) -> bool {
        incarnation.is_none_or(|it| it <= self.last_incarnation && !self.incarnations.contains(&it))
    }
}

pub(super) fn holdings(state: &State) -> Holdings {
    let mut ended: Vec<(JobId, Time)> = state
        .ended_jobs()
        .filter_map(|job| match job.state {
            JobState::Ended { at, .. } => Some((job.id, at)),
            _ => None,
        })
        .collect();
    ended.sort_by_key(|(id, at)| (*at, *id));
    let alive = || state.held_jobs().chain(state.waiting_jobs());
    Holdings {
        retention: state.spec.retention,
        reports: state.spec.reports.clone(),
        ended,
        runs: alive().map(Job::reports).collect(),
        blobs: alive().filter_map(|job| job.spec.workspace.clone()).collect(),
        incarnations: state.contacts.keys().chain(state.orphans.keys()).copied().collect(),
        last_incarnation: IncarnationId(state.meta.incarnation),
        images: state.spec.profiles.values().map(|profile| profile.image.clone()).collect(),
        image_ids: state.runners().map(|runner| runner.build.image.clone()).collect(),
    }
}
