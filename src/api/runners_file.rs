//! Specification 1's `.slate_runners.json`, to the letter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::words::runner_status;
use crate::fleet::view::{FleetView, RunnerView};
use crate::ids::SlotId;
use crate::spec::RunnersOptions;
use crate::units::Time;

/// The file. The order of the fields is the specification's.
#[derive(Debug, Serialize)]
struct File {
    runners: Vec<Runner>,
    max_parallel_workflows: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_timeout_minutes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale_max: Option<u32>,
    gpu_reservation: BTreeMap<u32, Vec<String>>,
    updated_at: String,
}

#[derive(Debug, Serialize)]
struct Runner {
    id: String,
    name: String,
    profile: String,
    gpu_id: Option<u32>,
    status: &'static str,
    current_task: Option<String>,
    tasks_completed: u64,
}

impl Runner {
    fn of(it: &RunnerView) -> Self {
        let task = it.task.as_ref().map(ToString::to_string);
        Self {
            id: it.id.to_string(),
            name: it.name.clone(),
            profile: it.profile.to_string(),
            gpu_id: it.gpu,
            status: runner_status(it.status),
            current_task: task.or_else(|| it.job.map(|job| job.to_string())),
            tasks_completed: it.tasks_completed,
        }
    }
}

/// The file's text. What the options ask for stays in it; so does what somebody `asked` for there
/// since, and that stands in the place of what is in force.
#[must_use]
pub fn text(fleet: &FleetView, options: &RunnersOptions, asked: Option<&RunnersOptions>) -> String {
    let options = asked.unwrap_or(options);
    let file = File {
        runners: fleet.runners.iter().map(Runner::of).collect(),
        max_parallel_workflows: asked
            .and_then(|asked| asked.max_parallel_workflows)
            .unwrap_or(fleet.max_parallel_workflows),
        task_timeout_minutes: options.task_timeout_minutes,
        scale_max: options.scale_max,
        gpu_reservation: reservation(fleet, asked),
        updated_at: seconds(fleet.at),
    };
    // Texts and numbers always serialise.
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

/// The runners of each card.
fn reservation(fleet: &FleetView, asked: Option<&RunnersOptions>) -> BTreeMap<u32, Vec<String>> {
    let mut cards: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    if let Some(asked) = asked.and_then(|asked| asked.gpu_reservation.as_ref()) {
        let words = |ids: &Vec<SlotId>| ids.iter().map(ToString::to_string).collect();
        return asked.iter().map(|(card, ids)| (*card, words(ids))).collect();
    }
    for runner in &fleet.runners {
        if let Some(gpu) = runner.gpu {
            cards.entry(gpu).or_default().push(runner.id.to_string());
        }
    }
    cards
}

/// As the specification writes times: without fractions.
fn seconds(at: Time) -> String {
    let at = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Sim;
    use crate::sim::script::{host, pool, spec, task};
    use crate::sim::transcript::Writing;
    use crate::spec::read_runners_file;

    // Specification 1, "Configuration File": the sample's own runners.
    #[test]
    fn the_text_is_the_specifications_sample_to_the_letter() {
        let fleet = fleet();
        let expected = r#"{
  "runners": [
    {
      "id": "runner-001",
      "name": "slate-gpu-heavy-01",
      "profile": "gpu_heavy",
      "gpu_id": 0,
      "status": "idle",
      "current_task": null,
      "tasks_completed": 0
    },
    {
      "id": "runner-002",
      "name": "slate-gpu-light-02",
      "profile": "gpu_light",
      "gpu_id": 1,
      "status": "running",
      "current_task": "inference-task-123",
      "tasks_completed": 5
    }
  ],
  "max_parallel_workflows": 8,
  "gpu_reservation": {
    "0": [
      "runner-001"
    ],
    "1": [
      "runner-002"
    ]
  },
  "updated_at": "2026-02-08T12:00:00Z"
}
"#;
        assert_eq!(text(&fleet, &RunnersOptions::default(), None), expected);
        let options = RunnersOptions { scale_max: Some(60), ..RunnersOptions::default() };
        let kept = text(&fleet, &options, None);
        let read = read_runners_file("x", &kept).expect("what is written can be read");
        assert_eq!((read.scale_max, read.max_parallel_workflows), (Some(60), Some(8)));
    }

    /// The sample's runners: real ones, renamed as the sample has them.
    fn fleet() -> FleetView {
        let pools = ["gpu_heavy", "gpu_light"].map(|name| pool(name, 1));
        let spec = pools.into_iter().fold(spec(), crate::spec::Spec::with);
        let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
        sim.up(spec);
        sim.settle().expect("a fleet without faults comes up");
        sim.submit(task("inference-task-123").on("gpu_light"));
        let core = sim.fleet().expect("it lives");
        let mut view = core.view(Time(1_770_552_000_000));
        for runner in &mut view.runners {
            runner.name = runner.name.replace("demo", "slate");
        }
        if let Some(runner) = view.runners.last_mut() {
            runner.tasks_completed = 5;
        }
        view
    }
}
