//! Turns fleet views into steps: what each runner is doing, and what changed since the last view.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Renderer, Step, StepState, Update};
use crate::cli::clock;
use crate::fleet::view::{FleetPhase, FleetView, RunnerStatus, RunnerView};
use crate::ids::SlotId;

/// Follows every runner of a fleet.
pub(in crate::cli) struct Tracker {
    began: Instant,
    order: Vec<SlotId>,
    steps: BTreeMap<SlotId, Step>,
    /// Runners that have been seen under way; the others needed nothing.
    moved: BTreeSet<SlotId>,
    renderer: Box<dyn Renderer>,
}

impl Tracker {
    pub(in crate::cli) fn new(renderer: Box<dyn Renderer>) -> Self {
        Self {
            began: clock::start(),
            order: Vec::new(),
            steps: BTreeMap::new(),
            moved: BTreeSet::new(),
            renderer,
        }
    }

    /// Since progress began.
    pub(in crate::cli) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes in a view and shows what changed.
    pub(in crate::cli) fn see(&mut self, fleet: &FleetView) {
        let elapsed = self.elapsed();
        let mut changed = BTreeSet::new();
        let present: BTreeSet<SlotId> = fleet.runners.iter().map(|runner| runner.id).collect();
        for runner in &fleet.runners {
            let step = self.step(runner, fleet.phase, elapsed);
            self.put(runner.id, step, &mut changed);
        }
        let gone: Vec<SlotId> =
            self.order.iter().filter(|id| !present.contains(id)).copied().collect();
        for id in gone {
            if let Some(step) = self.steps.get(&id).and_then(|step| removed(step, elapsed)) {
                self.put(id, step, &mut changed);
            }
        }
        self.show(&changed, elapsed);
    }

    /// Moves the seconds on.
    pub(in crate::cli) fn tick(&mut self) {
        let elapsed = self.elapsed();
        for id in &self.moved {
            if let Some(step) = self.steps.get_mut(id).filter(|s| s.state == StepState::Working) {
                step.took = Some(elapsed);
            }
        }
        self.show(&BTreeSet::new(), elapsed);
    }

    /// Everything is removed: the last view was sent before the last runner went.
    pub(in crate::cli) fn all_gone(&mut self) {
        let elapsed = self.elapsed();
        let mut changed = BTreeSet::new();
        for id in self.order.clone() {
            if let Some(step) = self.steps.get(&id).and_then(|step| removed(step, elapsed)) {
                self.put(id, step, &mut changed);
            }
        }
        self.show(&changed, elapsed);
    }

    /// No more updates.
    pub(in crate::cli) fn finish(&mut self) {
        self.renderer.finish();
    }

    fn step(&mut self, runner: &RunnerView, phase: FleetPhase, elapsed: Duration) -> Step {
        let (what, state) = match (phase, runner.status) {
            // Its slot goes last of all.
            (FleetPhase::GoingDown, RunnerStatus::Planned) => ("Removed", StepState::Done),
            (_, status) => words(status),
        };
        if state != StepState::Done {
            self.moved.insert(runner.id);
        }
        let moved = self.moved.contains(&runner.id);
        let what = if what == "Started" && !moved { "Running" } else { what };
        let note = match state {
            StepState::Done => None,
            StepState::Working | StepState::Failed => runner.reason.clone(),
        };
        Step { runner: runner.name.clone(), what, state, note, took: moved.then_some(elapsed) }
    }

    fn put(&mut self, id: SlotId, step: Step, changed: &mut BTreeSet<SlotId>) {
        match self.steps.get(&id) {
            Some(old) if old.what == step.what && old.note == step.note => return,
            Some(_) => {}
            None => self.order.push(id),
        }
        self.steps.insert(id, step);
        changed.insert(id);
    }

    fn show(&mut self, changed: &BTreeSet<SlotId>, elapsed: Duration) {
        let all: Vec<Step> =
            self.order.iter().filter_map(|id| self.steps.get(id)).cloned().collect();
        let places = self.order.iter().enumerate();
        let changed: Vec<usize> =
            places.filter(|(_, id)| changed.contains(id)).map(|(place, _)| place).collect();
        self.renderer.update(Update { all: &all, changed: &changed, elapsed });
    }
}

fn words(status: RunnerStatus) -> (&'static str, StepState) {
    match status {
        RunnerStatus::Planned => ("Waiting", StepState::Working),
        RunnerStatus::Creating => ("Creating", StepState::Working),
        RunnerStatus::Starting => ("Starting", StepState::Working),
        RunnerStatus::Registering => ("Registering", StepState::Working),
        RunnerStatus::Idle | RunnerStatus::Running => ("Started", StepState::Done),
        RunnerStatus::Stopping => ("Stopping", StepState::Working),
        RunnerStatus::Removing => ("Removing", StepState::Working),
        RunnerStatus::Error => ("Error", StepState::Failed),
        RunnerStatus::Stale => ("Stale", StepState::Failed),
        RunnerStatus::Oom => ("Out of memory", StepState::Failed),
        RunnerStatus::TimedOut => ("Timed out", StepState::Failed),
    }
}

fn removed(step: &Step, elapsed: Duration) -> Option<Step> {
    (step.what != "Removed").then(|| Step {
        what: "Removed",
        state: StepState::Done,
        note: None,
        took: Some(elapsed),
        runner: step.runner.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::cli::render::fixture;

    struct Recorder(Rc<RefCell<Vec<String>>>);

    impl Renderer for Recorder {
        fn update(&mut self, update: Update<'_>) {
            for index in update.changed {
                let step = &update.all[*index];
                self.0.borrow_mut().push(format!("{} {}", step.runner, step.what));
            }
        }
        fn finish(&mut self) {}
    }

    #[test]
    fn each_change_of_a_runner_is_told_once_and_removal_too() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let mut tracker = Tracker::new(Box::new(Recorder(Rc::clone(&told))));
        let mut fleet = fixture::fleet();
        fleet.runners.truncate(2);
        let status = |fleet: &mut FleetView, at: usize, status| fleet.runners[at].status = status;
        status(&mut fleet, 0, RunnerStatus::Idle);
        status(&mut fleet, 1, RunnerStatus::Creating);
        tracker.see(&fleet);
        tracker.see(&fleet);
        status(&mut fleet, 1, RunnerStatus::Idle);
        tracker.see(&fleet);
        fleet.runners.truncate(1);
        tracker.see(&fleet);
        let (first, second) = ("slate-gpu-heavy-01", "slate-gpu-light-02");
        let expected = [
            format!("{first} Running"),
            format!("{second} Creating"),
            format!("{second} Started"),
            format!("{second} Removed"),
        ];
        assert_eq!(*told.borrow(), expected);
    }
}
