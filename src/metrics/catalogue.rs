//! Every metric as one table: its name, its kind, its unit, its labels and what it says.
//!
//! `docs/metrics.md` has the same table, and a test compares the two.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only rises, and begins at zero when the supervisor does.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts of what fell below each of these bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word of the text format.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Where the numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Counted when it happens.
    Happenings,
    /// Read from the present state at each scrape: what is idle shows zero.
    State,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Where its numbers come from.
    pub origin: Origin,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it is counted in.
    pub unit: &'static str,
    /// What it says, in one sentence without its full stop.
    pub help: &'static str,
}

/// From a job's acceptance to its runner, and from there to its first process: milliseconds on an
/// idle fleet, hours on a full one.
const WAITS: &[f64] = &[0.001, 0.01, 0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];
/// How long jobs run.
const RUNS: &[f64] = &[1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0];
/// Steps of a runner's life: tenths of a second to minutes.
const PHASES: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0];
/// Calls to engines and forges.
const CALLS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// The supervisor's own work.
const WORK: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

macro_rules! catalogue {
    ($(
        $id:ident = $origin:ident $kind:expr, $name:literal [$($label:literal)*] $unit:literal:
        $help:literal;
    )*) => {
        $(pub(super) const $id: Entry = Entry {
            name: $name,
            kind: $kind,
            origin: Origin::$origin,
            labels: &[$($label),*],
            unit: $unit,
            help: $help,
        };)*

        /// Every metric, in the order of the page and of the documentation.
        pub const ALL: &[Entry] = &[$($id),*];
    };
}

use Kind::{Counter, Gauge, Histogram};

catalogue! {
    // Specification 1.
    RUNNERS_TOTAL = State Gauge, "runners_total" [] "runners":
        "Total configured runners";
    RUNNERS_ACTIVE = State Gauge, "runners_active" [] "runners":
        "Currently running tasks";
    RUNNERS_IDLE = State Gauge, "runners_idle" [] "runners":
        "Available for assignment";
    RUNNERS_ERROR = State Gauge, "runners_error" [] "runners":
        "In error state";
    TASKS_COMPLETED = Happenings Counter, "tasks_completed_total" [] "tasks":
        "Total tasks completed";
    TASK_DURATION = Happenings Histogram(RUNS), "task_duration_seconds" [] "seconds":
        "Task execution time";
    GPU_UTILIZATION = State Gauge, "gpu_utilization" ["gpu" "uuid"] "percent":
        "Per-GPU utilization %";
    GPU_MEMORY_USED = State Gauge, "gpu_memory_used" ["gpu" "uuid"] "bytes":
        "Per-GPU memory usage";
    // Specification 4.
    RUNNER_ACTIVE = State Gauge, "runner_active" ["pool"] "runners":
        "Number of runners currently executing jobs";
    RUNNER_IDLE = State Gauge, "runner_idle" ["pool"] "runners":
        "Number of runners waiting for jobs";
    QUEUE_DEPTH = State Gauge, "queue_depth" ["pool"] "jobs":
        "Number of workflows waiting for a runner";
    // Jobs.
    JOBS_WAITING = State Gauge, "slate_fleet_jobs_waiting" ["pool" "reason"] "jobs":
        "Jobs that wait, of the built-in queue and of forges, by the pool that each counts for and \
         by why; the pool is empty where none serves them";
    QUEUE_OLDEST = State Gauge, "slate_fleet_queue_oldest_seconds" [] "seconds":
        "How long the job that waits longest in the built-in queue has waited; 0 if none waits";
    JOBS_SUBMITTED = Happenings Counter, "slate_fleet_jobs_submitted_total" [] "jobs":
        "Jobs that were accepted into the built-in queue";
    JOBS_ENDED = Happenings Counter, "slate_fleet_jobs_ended_total" ["pool" "status"] "jobs":
        "Jobs of the built-in queue that are over, by how they ended; the pool is empty for a job \
         that no runner ever had";
    JOB_RETRIES = Happenings Counter, "slate_fleet_job_retries_total" ["pool" "fault"] "attempts":
        "Attempts after a job's first, by whose fault the end of the one before was";
    JOB_QUEUE = Happenings Histogram(WAITS), "slate_fleet_job_queue_seconds" ["pool" "lane"]
        "seconds": "From a job's acceptance, or the end of its last attempt, to its assignment";
    JOB_START = Happenings Histogram(WAITS), "slate_fleet_job_start_seconds" ["pool" "lane"]
        "seconds": "From a job's assignment to its first instruction";
    JOB_RUN = Happenings Histogram(RUNS), "slate_fleet_job_run_seconds" ["pool" "lane"] "seconds":
        "From a job's first instruction to the end of that attempt; a forge's jobs have no lane";
    // Runners and pools.
    RUNNERS = State Gauge, "slate_fleet_runners" ["pool" "status"] "runners":
        "Runners by where they stand";
    RUNNERS_CORDONED = State Gauge, "slate_fleet_runners_cordoned" ["pool"] "runners":
        "Runners that take no new job, because an operator said so";
    RUNNERS_UNHEALTHY = State Gauge, "slate_fleet_runners_unhealthy" ["pool"] "runners":
        "Runners whose agent was not heard for too long";
    RUNNERS_DESIRED = State Gauge, "slate_fleet_pool_desired_runners" ["pool"] "runners":
        "Runners that the pool should have now";
    RUNNERS_MIN = State Gauge, "slate_fleet_pool_min_runners" ["pool"] "runners":
        "The fewest runners of the pool by the fleet file";
    RUNNERS_MAX = State Gauge, "slate_fleet_pool_max_runners" ["pool"] "runners":
        "The most runners of the pool by the fleet file";
    SPARES = State Gauge, "slate_fleet_pool_spares" ["pool"] "containers":
        "Ready containers beside the pool's runners";
    RUNNER_CREATE = Happenings Histogram(PHASES), "slate_fleet_runner_create_seconds" ["pool"]
        "seconds": "From the decision to make a runner to its container";
    RUNNER_START = Happenings Histogram(PHASES), "slate_fleet_runner_start_seconds" ["pool"]
        "seconds": "From a container's creation to its start";
    RUNNER_BOOT = Happenings Histogram(PHASES), "slate_fleet_runner_boot_seconds" ["pool"]
        "seconds": "From a container's start to the first word of the agent in it";
    RUNNER_REGISTER = Happenings Histogram(PHASES), "slate_fleet_runner_register_seconds" ["pool"]
        "seconds": "From an agent's first word to its runner being online at its forge";
    RUNNER_FAILURES = Happenings Counter, "slate_fleet_runner_failures_total" ["pool" "cause"]
        "runners": "Runners that went because something went wrong, by cause";
    RUNNER_FAILURES_IN_A_ROW = State Gauge, "slate_fleet_runner_failures_in_a_row" ["pool"]
        "failures": "Failures in a row of the pool's worst runner, none once it has served for a \
        minute; above 4 it is a crash loop";
    // Cards.
    GPU_MEMORY_SIZE = State Gauge, "slate_fleet_gpu_memory_size_bytes" ["gpu" "uuid"] "bytes":
        "Memory of the card";
    GPU_MEMORY_LEASED = State Gauge, "slate_fleet_gpu_memory_leased_bytes" ["gpu" "uuid"] "bytes":
        "What the fleet's runners hold of the card: of each the larger of leased and measured";
    GPU_MEMORY_FOREIGN = State Gauge, "slate_fleet_gpu_memory_foreign_bytes" ["gpu" "uuid"]
        "bytes": "What others use of the card";
    GPU_MEMORY_HEADROOM = State Gauge, "slate_fleet_gpu_memory_headroom_bytes" ["gpu" "uuid"]
        "bytes": "What may still be leased of the card";
    GPU_LEASES = State Gauge, "slate_fleet_gpu_leases" ["gpu" "uuid"] "leases":
        "Leases on the card, those of runners that are being cleared away included";
    GPU_CORDONED = State Gauge, "slate_fleet_gpu_cordoned" ["gpu" "uuid"] "0 or 1":
        "Whether nothing more is placed on the card";
    // Forges.
    FORGE_CONTACT = State Gauge, "slate_fleet_forge_contact" ["scope" "contact"] "0 or 1":
        "Whether the forge can be spoken to: 1 for the one state that is true";
    FORGE_LISTED = State Gauge, "slate_fleet_forge_last_list_timestamp_seconds" ["scope" "list"]
        "seconds since 1970": "When a list of the forge's runners or jobs came well the last time; \
        absent before the first";
    FORGE_LEFTOVERS = State Gauge, "slate_fleet_forge_leftovers" ["scope"] "entries":
        "Entries of runners that are gone, which the forge still lists or may list";
    FORGE_CALLS = Happenings Counter, "slate_fleet_forge_calls_total" ["forge" "call" "result"]
        "calls": "What was asked of forges, by what came of it; one call may be several requests";
    FORGE_CALL_TIME = Happenings Histogram(CALLS), "slate_fleet_forge_call_seconds"
        ["forge" "call"] "seconds": "How long forges took, waits for a turn included";
    FORGE_REQUESTS = State Counter, "slate_fleet_forge_requests_total" ["scope"] "requests":
        "HTTP requests by a credential; scopes that share one are counted under the first of them";
    FORGE_UNCHANGED = State Counter, "slate_fleet_forge_requests_unchanged_total" ["scope"]
        "requests": "Of these, those that were answered with `not changed` and cost nothing";
    FORGE_REFUSED = State Counter, "slate_fleet_forge_requests_refused_total" ["scope"]
        "requests": "Requests that were not made, because of a limit";
    FORGE_LIMITED = State Counter, "slate_fleet_forge_limits_passed_total" ["scope"] "answers":
        "How often the forge said that a limit is passed";
    FORGE_LIMIT = State Gauge, "slate_fleet_forge_limit_requests" ["scope"] "requests":
        "Requests that a credential has for each hour; absent before the forge has said so";
    FORGE_REMAINING = State Gauge, "slate_fleet_forge_limit_remaining_requests" ["scope"]
        "requests": "Requests that are left of them";
    FORGE_RESET = State Gauge, "slate_fleet_forge_limit_reset_timestamp_seconds" ["scope"]
        "seconds since 1970": "When the next hour begins";
    FORGE_SILENT = State Gauge, "slate_fleet_forge_silent_until_timestamp_seconds" ["scope"]
        "seconds since 1970": "Until when nothing is asked, because the forge said so; 0 if it did \
        not";
    WEBHOOKS = State Counter, "slate_fleet_forge_webhooks_total" ["result"] "deliveries":
        "Webhooks that came in, by what became of them";
    // The engine.
    ENGINE_CALLS = Happenings Counter, "slate_fleet_engine_calls_total" ["call" "result"] "calls":
        "What was asked of the container engine, by what came of it";
    ENGINE_CALL_TIME = Happenings Histogram(CALLS), "slate_fleet_engine_call_seconds" ["call"]
        "seconds": "How long the container engine took";
    // The host.
    DISK_FREE = State Gauge, "slate_fleet_disk_free_bytes" ["holds"] "bytes":
        "Free space of a disk that the fleet writes to, by what is on it";
    DISK_SIZE = State Gauge, "slate_fleet_disk_size_bytes" ["holds"] "bytes":
        "Size of that disk";
    DISK_LOW = State Gauge, "slate_fleet_disk_low" ["holds"] "0 or 1":
        "Whether that disk has so little space that no job is given out";
    // The supervisor.
    PHASE = State Gauge, "slate_fleet_phase" ["phase"] "0 or 1":
        "Where the fleet stands: 1 for the one phase that is true";
    TROUBLES = State Gauge, "slate_fleet_troubles" [] "troubles":
        "What stands in the fleet's way, as `status` lists it";
    STEP_TIME = Happenings Histogram(WORK), "slate_fleet_step_seconds" [] "seconds":
        "How long the core took to decide on what had happened";
    LOOP_LAG = Happenings Histogram(WORK), "slate_fleet_loop_lag_seconds" [] "seconds":
        "How much later than due the loop came to its clock, once a second";
    COMMIT_TIME = Happenings Histogram(WORK), "slate_fleet_store_commit_seconds" [] "seconds":
        "How long it took to make a step durable";
    COMMIT_FAILURES = Happenings Counter, "slate_fleet_store_commit_failures_total" [] "tries":
        "Tries to make a step durable that failed";
    STORE_SIZE = State Gauge, "slate_fleet_store_size_bytes" ["file"] "bytes":
        "Size of the state's files";
    AUDIT_HEAD = State Gauge, "slate_fleet_audit_head_seq" [] "number":
        "Number of the last entry of the audit log; it never falls";
    BUILD_INFO = State Gauge, "slate_fleet_build_info" ["version"] "1":
        "The version of the supervisor";
    NOTIFICATIONS = Happenings Counter, "slate_fleet_notifications_total" ["event" "result"]
        "notices": "What was worth a message to the webhook of `notify`, by what became of it";
    PROCESS_CPU = State Counter, "process_cpu_seconds_total" [] "seconds":
        "Processor time that the supervisor used";
    PROCESS_RESIDENT = State Gauge, "process_resident_memory_bytes" [] "bytes":
        "Memory of the supervisor";
    PROCESS_VIRTUAL = State Gauge, "process_virtual_memory_bytes" [] "bytes":
        "Address space of the supervisor";
    PROCESS_OPEN_FDS = State Gauge, "process_open_fds" [] "files":
        "Files and connections that the supervisor has open";
    PROCESS_MAX_FDS = State Gauge, "process_max_fds" [] "files":
        "Most files and connections that it may have open";
    PROCESS_START = State Gauge, "process_start_time_seconds" [] "seconds since 1970":
        "When the supervisor started";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_have_their_grammar_and_are_there_once() {
        let names: BTreeSet<&str> = ALL.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), ALL.len());
        // As the specifications write them.
        let theirs = ALL.iter().position(|it| it.name.starts_with("slate_fleet_")).unwrap();
        for entry in &ALL[theirs..] {
            let name = entry.name;
            assert!(name.starts_with("slate_fleet_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), entry.kind == Counter, "{name}");
            assert!(!entry.help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn no_label_names_a_job_a_run_or_a_runner() {
        let bounded = [
            "call", "cause", "contact", "event", "fault", "file", "forge", "gpu", "holds", "lane",
            "list", "phase", "pool", "reason", "result", "scope", "status", "uuid", "version",
        ];
        for entry in ALL {
            assert!(entry.labels.iter().all(|it| bounded.contains(it)), "{}", entry.name);
        }
    }

    #[test]
    fn bounds_rise() {
        for entry in ALL {
            if let Histogram(bounds) = entry.kind {
                assert!(bounds.is_sorted() && bounds.len() <= 12, "{}", entry.name);
            }
        }
    }
}
