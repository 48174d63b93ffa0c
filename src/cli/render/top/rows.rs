//! The rows of the live view: runners in an order, and what waits.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Order, Sort, View, short};
use crate::cli::render::ps::word;
use crate::cli::render::{Tone, forges, one_line};
use crate::fleet::forge::{ForgeJobStatus, ForgeJobView};
use crate::fleet::view::{JobView, RunnerStatus, RunnerView};
use crate::supervisor::usage::RunnerUsage;
use crate::units::{Bytes, Time};

/// The heads of the queue.
pub(super) const WAITING_HEAD: &str = "WAITING       PROFILE      AGE    WHY";

/// A runner with what it uses.
pub(super) struct Runner<'a> {
    view: &'a RunnerView,
    usage: Option<&'a RunnerUsage>,
    /// What its processes hold of its card, else what it leased.
    vram: Option<u32>,
    age: Duration,
}

/// The runners in an order; among equals by name.
pub(super) fn runners(view: &View, (sort, order): (Sort, Order)) -> Vec<Runner<'_>> {
    let mut all: Vec<Runner<'_>> = view.fleet.runners.iter().map(|it| join(view, it)).collect();
    all.sort_by(|one, other| one.view.name.cmp(&other.view.name));
    match sort {
        Sort::Name => {}
        Sort::Status => all.sort_by_key(|it| urgency(it.view.status)),
        Sort::Job => all.sort_by_cached_key(|it| {
            let job = it.job();
            (job.is_empty(), it.view.job, job)
        }),
        Sort::Age => all.sort_by_key(|it| Reverse(it.age)),
        Sort::Cpu => all.sort_by_key(|it| Reverse(it.usage.and_then(|it| it.cpus))),
        Sort::Memory => all.sort_by_key(|it| Reverse(it.usage.map(|it| it.memory))),
        Sort::Vram => all.sort_by_key(|it| Reverse(it.vram)),
    }
    if order == Order::Reverse {
        all.reverse();
    }
    all
}

fn join<'a>(view: &'a View, runner: &'a RunnerView) -> Runner<'a> {
    let leases = view.fleet.gpus.cards.iter().flat_map(|card| &card.leases);
    let mut own = leases.filter(|lease| lease.slot == Some(runner.id));
    Runner {
        usage: view.usage.runners.iter().find(|it| it.id == runner.id),
        vram: own.next().map(|lease| lease.used.unwrap_or(lease.reserved).0),
        age: view.fleet.at.since(runner.since),
        view: runner,
    }
}

/// What needs somebody stands first.
fn urgency(status: RunnerStatus) -> u8 {
    match status {
        RunnerStatus::Error | RunnerStatus::Stale | RunnerStatus::Oom | RunnerStatus::TimedOut => 0,
        RunnerStatus::Running => 1,
        RunnerStatus::Planned
        | RunnerStatus::Creating
        | RunnerStatus::Starting
        | RunnerStatus::Registering
        | RunnerStatus::Stopping
        | RunnerStatus::Removing => 2,
        RunnerStatus::Idle => 3,
    }
}

impl Runner<'_> {
    fn job(&self) -> String {
        let work = self.view.forge.as_ref().filter(|_| self.view.status == RunnerStatus::Running);
        let work = work.and_then(|forge| forge.work.as_ref()).map(forges::work);
        self.view.job.map(|job| job.to_string()).or(work).unwrap_or_default()
    }

    /// The cells of all columns.
    pub(super) fn cells(&self) -> [(String, Option<Tone>); 9] {
        let (status, tone) = word(self.view.status);
        let plain = |text: String| (text, None);
        let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let cpus = self.usage.and_then(|it| it.cpus).map(|it| self::cpus(it.0));
        let memory =
            self.usage.map(|it| format!("{}/{}", size(it.memory.0), size(it.memory_limit.0)));
        let vram = self.vram.map(|mib| size(Bytes::mib(u64::from(mib)).0));
        [
            plain(one_line(&self.view.name)),
            (status.to_owned(), Some(tone)),
            plain(one_line(&dash(self.job()))),
            plain(short(self.age)),
            plain(dash(cpus.unwrap_or_default())),
            plain(dash(memory.unwrap_or_default())),
            plain(dash(vram.unwrap_or_default())),
            plain(self.view.pool.to_string()),
            plain(one_line(self.view.reason.as_deref().unwrap_or_default())),
        ]
    }
}

/// Processors with one decimal.
pub(super) fn cpus(milli: u32) -> String {
    format!("{}.{}", milli / 1000, milli % 1000 / 100)
}

/// Three digits and a unit: `512M`, `1.5G`.
pub(super) fn size(bytes: u64) -> String {
    let mib = bytes / Bytes::mib(1).0;
    match mib {
        0..1024 => format!("{mib}M"),
        1024..10_240 => format!("{}.{}G", mib / 1024, mib % 1024 * 10 / 1024),
        _ => format!("{}G", mib / 1024),
    }
}

/// Something that waits for a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    name: String,
    of: String,
    since: Time,
    why: String,
}

impl Waiting {
    pub(super) fn line(&self, now: Time) -> String {
        let age = short(now.since(self.since));
        format!("{:<13} {:<12} {age:<6} {}", cut(&self.name, 13), cut(&self.of, 12), self.why)
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// What waits: the fleet's own jobs in their order, then those of forges, the oldest first.
#[must_use]
pub fn waiting(jobs: &[JobView], forge: &[ForgeJobView]) -> Vec<Waiting> {
    let mut own: Vec<&JobView> = jobs.iter().filter(|job| job.position.is_some()).collect();
    own.sort_by_key(|job| job.position);
    let own = own.into_iter().map(|job| Waiting {
        name: job.id.to_string(),
        of: job.profile.to_string(),
        since: job.queued_at,
        why: one_line(job.reason.as_deref().unwrap_or_default()),
    });
    let mut theirs: Vec<&ForgeJobView> =
        forge.iter().filter(|it| it.job.status == ForgeJobStatus::Queued).collect();
    theirs.sort_by_key(|it| it.job.created);
    let theirs = theirs.into_iter().map(|it| Waiting {
        name: one_line(&it.job.name),
        of: it.pool.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        since: it.job.created,
        why: one_line(it.reason.as_deref().unwrap_or_default()),
    });
    own.chain(theirs).collect()
}
