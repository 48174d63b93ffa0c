//! What is true at the moment of the scrape, from the read model.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Scrape;
use super::catalogue::{self, Entry};
use super::page::Page;
use super::process::number;
use crate::fleet::event::Cordon;
use crate::fleet::forge::{ForgeContact, ForgeView};
use crate::fleet::view::{FleetPhase, FleetView, GpuView, Health, RunnerStatus, RunnerView};
use crate::ids::PoolName;
use crate::units::{GpuMib, Time};

/// Everything but the state's files and this process.
pub(super) fn fleet(page: &mut Page, scrape: &Scrape) {
    let fleet = &scrape.fleet;
    whole(page, fleet);
    pools(page, scrape);
    runners(page, fleet);
    cards(page, fleet);
    forges(page, fleet);
    budgets(page, scrape);
    disks(page, fleet);
    page.one(&catalogue::AUDIT_HEAD, number(scrape.audit_head));
    page.put(&catalogue::BUILD_INFO, [([env!("CARGO_PKG_VERSION")], 1.0)]);
}

/// The sizes of the state's files; one that is not there has none.
pub(super) fn store(page: &mut Page, database: &Path) {
    let mut log = OsString::from(database);
    log.push("-wal");
    let size = |path: &Path| Some(number(std::fs::metadata(path).ok()?.len()));
    let files = [("database", size(database)), ("wal", size(&PathBuf::from(log)))];
    let there = files.into_iter().filter_map(|(file, size)| Some(([file], size?)));
    page.put(&catalogue::STORE_SIZE, there);
}

fn whole(page: &mut Page, fleet: &FleetView) {
    let count = |is_so: fn(RunnerStatus) -> bool| {
        number(fleet.runners.iter().filter(|it| is_so(it.status)).count() as u64)
    };
    page.one(&catalogue::RUNNERS_TOTAL, number(fleet.runners.len() as u64));
    page.one(&catalogue::RUNNERS_ACTIVE, count(|it| it == RunnerStatus::Running));
    page.one(&catalogue::RUNNERS_IDLE, count(|it| it == RunnerStatus::Idle));
    page.one(&catalogue::RUNNERS_ERROR, count(RunnerStatus::is_trouble));
    page.one(&catalogue::TROUBLES, number(fleet.troubles.len() as u64));
    let oldest = fleet.oldest.as_ref().map_or(0.0, |it| fleet.at.since(it.queued_at).as_secs_f64());
    page.one(&catalogue::QUEUE_OLDEST, oldest);
    let phases = FleetPhase::ALL.map(|it| ([it.word()], truth(it == fleet.phase)));
    page.put(&catalogue::PHASE, phases);
}

fn pools(page: &mut Page, scrape: &Scrape) {
    let pools = &scrape.fleet.pools;
    let depths = scrape.queue_depths();
    let depth = |pool: &PoolName| depths.get(pool).copied().unwrap_or(0);
    let failures = |pool: &PoolName| {
        let of_pool = scrape.fleet.runners.iter().filter(|it| it.pool == *pool);
        of_pool.map(|it| it.failures_in_a_row(scrape.fleet.at)).max().unwrap_or(0)
    };
    let columns: [(&Entry, Vec<u32>); 8] = [
        (&catalogue::RUNNER_ACTIVE, pools.iter().map(|it| it.running).collect()),
        (&catalogue::RUNNER_IDLE, pools.iter().map(|it| it.idle).collect()),
        (&catalogue::QUEUE_DEPTH, pools.iter().map(|it| depth(&it.name)).collect()),
        (&catalogue::RUNNERS_DESIRED, pools.iter().map(|it| it.desired).collect()),
        (&catalogue::RUNNERS_MIN, pools.iter().map(|it| it.min).collect()),
        (&catalogue::RUNNERS_MAX, pools.iter().map(|it| it.max).collect()),
        (&catalogue::SPARES, pools.iter().map(|it| it.spares).collect()),
        (&catalogue::RUNNER_FAILURES_IN_A_ROW, pools.iter().map(|it| failures(&it.name)).collect()),
    ];
    for (entry, values) in columns {
        let samples = pools.iter().zip(values);
        page.put(entry, samples.map(|(pool, it)| ([pool.name.as_str()], f64::from(it))));
    }
    let waiting = scrape.waiting.iter().map(|((pool, why), count)| {
        let pool = pool.as_ref().map_or("", |pool| pool.as_str());
        ([pool, why.word()], f64::from(*count))
    });
    page.put(&catalogue::JOBS_WAITING, waiting);
}

fn runners(page: &mut Page, fleet: &FleetView) {
    let count = |pool: &PoolName, is_so: &dyn Fn(&RunnerView) -> bool| {
        let alike = fleet.runners.iter().filter(|it| it.pool == *pool && is_so(it));
        number(alike.count() as u64)
    };
    let names = || fleet.pools.iter().map(|pool| &pool.name);
    let by_status = names().flat_map(|pool| {
        RunnerStatus::ALL.map(|status| {
            let value = count(pool, &|it| it.status == status);
            ([pool.as_str(), status.word()], value)
        })
    });
    page.put(&catalogue::RUNNERS, by_status);
    let closed = |pool| count(pool, &|it| it.cordon == Cordon::Closed);
    page.put(&catalogue::RUNNERS_CORDONED, names().map(|pool| ([pool.as_str()], closed(pool))));
    let ill = |pool| count(pool, &|it| it.health == Health::Unhealthy);
    page.put(&catalogue::RUNNERS_UNHEALTHY, names().map(|pool| ([pool.as_str()], ill(pool))));
}

fn cards(page: &mut Page, fleet: &FleetView) {
    type Read = fn(&GpuView) -> Option<f64>;
    let columns: [(&Entry, Read); 8] = [
        (&catalogue::GPU_UTILIZATION, |it| it.reading.busy_percent.map(f64::from)),
        (&catalogue::GPU_MEMORY_USED, |it| it.reading.used.map(bytes)),
        (&catalogue::GPU_MEMORY_SIZE, |it| Some(bytes(it.reading.card.memory))),
        (&catalogue::GPU_MEMORY_LEASED, |it| Some(bytes(it.committed))),
        (&catalogue::GPU_MEMORY_FOREIGN, |it| Some(bytes(it.foreign))),
        (&catalogue::GPU_MEMORY_HEADROOM, |it| Some(bytes(it.headroom))),
        (&catalogue::GPU_LEASES, |it| Some(number(it.leases.len() as u64))),
        (&catalogue::GPU_CORDONED, |it| Some(truth(it.cordon.is_some()))),
    ];
    let cards = &fleet.gpus.cards;
    let indexes: Vec<String> = cards.iter().map(|it| it.reading.card.index.to_string()).collect();
    for (entry, read) in columns {
        let samples = cards.iter().zip(&indexes).filter_map(|(card, index)| {
            Some(([index.as_str(), card.reading.card.uuid.as_str()], read(card)?))
        });
        page.put(entry, samples);
    }
}

fn forges(page: &mut Page, fleet: &FleetView) {
    let contacts = fleet.forges.iter().flat_map(|forge| {
        let now = forge.contact.as_ref().map(ForgeContact::word);
        ForgeContact::WORDS.map(|word| ([forge.scope.as_str(), word], truth(now == Some(word))))
    });
    page.put(&catalogue::FORGE_CONTACT, contacts);
    let lists = fleet.forges.iter().flat_map(|forge: &ForgeView| {
        [("runners", forge.runners_listed), ("jobs", forge.jobs_listed)]
            .map(|(list, at)| Some(([forge.scope.as_str(), list], seconds(at?))))
    });
    page.put(&catalogue::FORGE_LISTED, lists.flatten());
    let left = |forge: &ForgeView| number(forge.leftovers.len() as u64);
    let leftovers = fleet.forges.iter().map(|forge| ([forge.scope.as_str()], left(forge)));
    page.put(&catalogue::FORGE_LEFTOVERS, leftovers);
}

fn budgets(page: &mut Page, scrape: &Scrape) {
    type Read = fn(&crate::forge::GovernorView) -> Option<f64>;
    let columns: [(&Entry, Read); 8] = [
        (&catalogue::FORGE_REQUESTS, |it| Some(number(it.calls))),
        (&catalogue::FORGE_UNCHANGED, |it| Some(number(it.unchanged))),
        (&catalogue::FORGE_REFUSED, |it| Some(number(it.refused))),
        (&catalogue::FORGE_LIMITED, |it| Some(number(it.limited))),
        (&catalogue::FORGE_LIMIT, |it| it.limit.map(number)),
        (&catalogue::FORGE_REMAINING, |it| it.remaining.map(number)),
        (&catalogue::FORGE_RESET, |it| it.reset.map(seconds)),
        (&catalogue::FORGE_SILENT, |it| Some(it.limited_until.map_or(0.0, seconds))),
    ];
    for (entry, read) in columns {
        let samples = scrape.budgets.iter();
        page.put(entry, samples.filter_map(|(scope, it)| Some(([scope.as_str()], read(it)?))));
    }
    let webhooks = scrape.webhooks.iter().flat_map(|it| {
        [
            (["taken"], number(it.taken)),
            (["bad_signature"], number(it.bad_signatures)),
            (["turned_away"], number(it.turned_away)),
        ]
    });
    page.put(&catalogue::WEBHOOKS, webhooks);
}

fn disks(page: &mut Page, fleet: &FleetView) {
    let disks = || fleet.disks.iter().map(|disk| (disk, [disk.holds.as_str()]));
    page.put(&catalogue::DISK_FREE, disks().map(|(disk, it)| (it, number(disk.free.0))));
    page.put(&catalogue::DISK_SIZE, disks().map(|(disk, it)| (it, number(disk.total.0))));
    page.put(&catalogue::DISK_LOW, disks().map(|(disk, it)| (it, truth(disk.low))));
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn seconds(at: Time) -> f64 {
    number(at.0) / 1000.0
}

fn bytes(memory: GpuMib) -> f64 {
    f64::from(memory.0) * 1024.0 * 1024.0
}
