//! What a person can do about a job that waits: one step for each reason of the closed set.

use super::PoolStanding;
use crate::api::words::time_of_day;
use crate::fleet::view::WaitReason;
use crate::ids::PoolName;

/// What the steps name beside the reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The job as commands take it; none for a forge's.
    pub job: Option<&'a str>,
    /// Its page at its forge.
    pub page: Option<&'a str>,
    /// The runners of the pools that may serve it.
    pub pools: &'a [PoolStanding],
}

impl Asked<'_> {
    /// How a pool gets one runner more than it has.
    fn one_more(&self, pool: &PoolName) -> String {
        let standing = self.pools.iter().find(|it| it.pool == *pool);
        one_more(pool, standing.map_or(0, |it| it.all))
    }

    /// The same for the first of some pools.
    fn more_of(&self, pools: &[PoolName]) -> String {
        pools.first().map_or_else(|| "`slate-fleet scale`".to_owned(), |it| self.one_more(it))
    }

    /// How to look at the first pool.
    fn look(&self) -> String {
        let first = self.pools.first().map(|it| it.pool.as_str());
        format!("`slate-fleet explain {}`", first.unwrap_or("POOL"))
    }

    fn on_its_page(&self) -> String {
        self.page.map_or_else(|| "at its forge".to_owned(), |page| format!("on its page, {page}"))
    }
}

/// What to do next. Every reason has its own.
pub(super) fn next_step(wait: &WaitReason, asked: Asked<'_>) -> String {
    match wait {
        WaitReason::Held { job, .. } => format!("let it go: `slate-fleet release {job}`"),
        WaitReason::GoingDown => {
            "`slate-fleet up -d` takes the fleet up again; the job keeps its place".to_owned()
        }
        WaitReason::DiskLow { .. } => {
            "make room: `slate-fleet gc` removes what is kept too long".to_owned()
        }
        WaitReason::WorkflowLimit { most, .. } => format!(
            "it starts when one of the {most} runs is over; more of them at a time: \
             `limits.max_parallel_workflows` in the fleet file, then `slate-fleet up -d`"
        ),
        WaitReason::LaneLimit { lane, .. } => format!(
            "it starts when one of its lane is over; more of them at a time: `lanes.{lane}.limit` \
             in the fleet file, then `slate-fleet up -d`"
        ),
        WaitReason::NoPool { profile, .. } => {
            let cancel = asked.job.map(|job| format!(", or `slate-fleet cancel {job}`"));
            format!(
                "add a pool of the profile {profile} or more to the fleet file, then `slate-fleet \
                 up -d`{}",
                cancel.unwrap_or_default()
            )
        }
        WaitReason::EngineUnreachable { .. } => {
            "start the engine: `sudo systemctl start docker`; it is asked again by itself"
                .to_owned()
        }
        WaitReason::Paused { pools, .. } => resume(pools),
        WaitReason::Cordoned { .. } => {
            "open a runner again: `slate-fleet resume RUNNER`".to_owned()
        }
        WaitReason::ImageMissing { .. } => {
            "build or pull the image (`docker pull`); it is looked for again by itself".to_owned()
        }
        WaitReason::Failing { .. } => format!(
            "see what fails: {}; once it is mended, `slate-fleet resume RUNNER` tries at once",
            asked.look()
        ),
        WaitReason::NoGpu { .. } => {
            "wait for a lease to end (`slate-fleet gpus` shows them), or choose a profile that \
             needs less of a card"
                .to_owned()
        }
        WaitReason::CannotGrow { .. }
        | WaitReason::GrowthDelayed { .. }
        | WaitReason::NoRunners { .. }
        | WaitReason::Starting { .. }
        | WaitReason::AllBusy { .. }
        | WaitReason::Next { .. } => of_size(wait, asked),
        WaitReason::NoLabels { .. }
        | WaitReason::ForkDenied { .. }
        | WaitReason::HeldByForge
        | WaitReason::NotTaken { .. }
        | WaitReason::RunnerGone { .. }
        | WaitReason::NeedsOperator { .. }
        | WaitReason::ForgeLimited { .. }
        | WaitReason::ForgeUnreachable { .. } => of_forge(wait, asked),
    }
}

/// How a pool gets one runner more than these.
pub(super) fn one_more(pool: &PoolName, all: usize) -> String {
    format!("`slate-fleet scale {pool}={}`", all.saturating_add(1))
}

/// How pools that are paused are opened.
pub(super) fn resume(pools: &[PoolName]) -> String {
    let names = pools.iter().map(PoolName::as_str).collect::<Vec<_>>().join(" ");
    format!("let jobs begin there again: `slate-fleet resume {names}`")
}

/// Where the pools are right, and have no runner free.
fn of_size(wait: &WaitReason, asked: Asked<'_>) -> String {
    match wait {
        WaitReason::CannotGrow { pool, .. } => format!(
            "mend that in the fleet file, then `slate-fleet up -d`; `slate-fleet explain {pool}` \
             tells more"
        ),
        WaitReason::GrowthDelayed { pool, .. } => format!(
            "at once: {}; sooner by itself: a lower `scale_up_threshold` or `scale_up_delay`",
            asked.one_more(pool)
        ),
        WaitReason::NoRunners { pools } => {
            format!("give its pool a runner: {}", asked.more_of(pools))
        }
        WaitReason::Starting { .. } => {
            "nothing: it starts when the runner is up; `slate-fleet ps` shows how far it is"
                .to_owned()
        }
        WaitReason::AllBusy { pools, .. } => {
            format!("it starts when a runner is free; more runners: {}", asked.more_of(pools))
        }
        _ => "nothing: it is about to start".to_owned(),
    }
}

/// What keeps a forge's job and a pool apart.
fn of_forge(wait: &WaitReason, asked: Asked<'_>) -> String {
    match wait {
        WaitReason::NoLabels { nearest: None, .. } => {
            "add a pool for its repository to the fleet file, then `slate-fleet up -d`".to_owned()
        }
        WaitReason::NoLabels { nearest: Some(pool), missing } if missing.is_empty() => {
            format!("name a label of pool {pool} in the job's `runs-on`")
        }
        WaitReason::NoLabels { nearest: Some(pool), missing } => format!(
            "add `{}` to the `labels` of pool {pool}, then `slate-fleet up -d`; or change the \
             job's `runs-on`",
            missing.join("`, `")
        ),
        WaitReason::ForkDenied { pool } => format!(
            "jobs from forks need `fork_jobs: allow` at pool {pool}, which lets strangers' code \
             run"
        ),
        WaitReason::HeldByForge => {
            format!("approve it, or wait for the jobs before it, {}", asked.on_its_page())
        }
        WaitReason::NotTaken { pool } => format!(
            "open the runner group of pool {pool} to its repository at the forge; `slate-fleet \
             doctor` names groups that are not open"
        ),
        WaitReason::RunnerGone { .. } => {
            format!("cancel the run and run it again, {}", asked.on_its_page())
        }
        WaitReason::NeedsOperator { pool, .. } => format!(
            "do that, then `slate-fleet up -d`; `slate-fleet explain {pool}` names each runner \
             that waits for it"
        ),
        WaitReason::ForgeLimited { until, .. } => format!(
            "nothing: it goes on by itself at {}; webhooks, or a longer `github.poll`, ask less",
            time_of_day(*until)
        ),
        _ => "`slate-fleet doctor` asks the forge now; it is tried again by itself".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::fleet::audit::Client;
    use crate::fleet::view::WaitCode;
    use crate::ids::{JobId, LaneName, ProfileName};
    use crate::units::Time;

    /// A reason for each code.
    fn reasons() -> Vec<WaitReason> {
        let (pool, pools) = (PoolName::new("ci"), vec![PoolName::new("ci")]);
        let why = String::new;
        vec![
            WaitReason::Held { job: JobId(7), since: Time(0), by: Client::new("ana") },
            WaitReason::GoingDown,
            WaitReason::DiskLow { why: why() },
            WaitReason::WorkflowLimit { under_way: 8, most: 8 },
            WaitReason::LaneLimit { lane: LaneName::new("verify"), running: 8, most: 8 },
            WaitReason::NoPool { profile: ProfileName::new("big"), too_small: Vec::new() },
            WaitReason::NoLabels { nearest: Some(pool.clone()), missing: vec!["gpu".to_owned()] },
            WaitReason::ForkDenied { pool: pool.clone() },
            WaitReason::HeldByForge,
            WaitReason::NotTaken { pool: pool.clone() },
            WaitReason::RunnerGone { runner: "ci-1".to_owned() },
            WaitReason::NeedsOperator { pool: pool.clone(), why: why() },
            WaitReason::ForgeLimited { until: Time(16 * 3_600_000), why: why() },
            WaitReason::ForgeUnreachable { why: why() },
            WaitReason::EngineUnreachable { why: why() },
            WaitReason::Paused { pools: pools.clone(), since: Time(0), by: Client::new("ana") },
            WaitReason::Cordoned { closed: 1 },
            WaitReason::ImageMissing { why: why(), next_try: Time(0) },
            WaitReason::Failing { why: why(), failures: 1, next_try: None },
            WaitReason::NoGpu { why: why() },
            WaitReason::CannotGrow { pool: pool.clone(), why: why() },
            WaitReason::GrowthDelayed {
                pool: pool.clone(),
                threshold: 5,
                delay: Duration::ZERO,
                busy: 0,
            },
            WaitReason::NoRunners { pools: pools.clone() },
            WaitReason::Starting { pools: pools.clone(), starting: 1, ahead: 0 },
            WaitReason::AllBusy { pools, busy: 3, all: 3, lighter: 0, ahead: 0 },
            WaitReason::Next { pool },
        ]
    }

    fn three() -> [PoolStanding; 1] {
        let pool = PoolName::new("ci");
        [PoolStanding { pool, all: 3, idle: 0, busy: 3, coming: 0, failed: 0, closed: 0 }]
    }

    #[test]
    fn every_code_has_a_step_of_its_own() {
        let pools = three();
        let asked = Asked { job: Some("job-7"), page: None, pools: &pools };
        let codes: Vec<WaitCode> = reasons().iter().map(WaitReason::code).collect();
        assert_eq!(codes, WaitCode::ALL, "a reason for each code");
        let steps: BTreeSet<String> = reasons().iter().map(|it| next_step(it, asked)).collect();
        assert_eq!(steps.len(), WaitCode::ALL.len(), "{steps:#?}");
    }

    #[test]
    fn steps_name_what_to_type() {
        let pools = three();
        let page = Some("https://github.com/acme/site/actions/runs/7/job/9");
        let asked = Asked { job: Some("job-7"), page, pools: &pools };
        let steps: Vec<String> = reasons().iter().map(|it| next_step(it, asked)).collect();
        for words in [
            "slate-fleet cancel job-7",
            "add `gpu` to the `labels` of pool ci",
            "on its page, https://github.com/acme/site/actions/runs/7/job/9",
            "it goes on by itself at 16:00 UTC",
            "more runners: `slate-fleet scale ci=4`",
            "see what fails: `slate-fleet explain ci`",
        ] {
            assert!(steps.iter().any(|it| it.contains(words)), "{words}: {steps:#?}");
        }
    }
}
