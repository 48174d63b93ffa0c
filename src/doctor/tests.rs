//! The checks as tables: played facts in, levels and words out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::facts::{
    Boot, CardsState, EnvState, Facts, FileSystem, Folder, HostState, SecretsFile, Unit, Wanted,
};
use super::{RULES, examine};
use crate::api::doctor::{Check, CheckLevel};
use crate::engine::survey::{AddressPool, EngineSurvey, ImageSurvey};
use crate::engine::{CgroupVersion, EngineInfo};
use crate::spec::GpuRequestKind;
use crate::units::{Bytes, Time};

const NOW: Time = Time(1_770_552_000_000);

fn engine() -> EngineSurvey {
    EngineSurvey {
        info: EngineInfo {
            id: "LPGE".to_owned(),
            version: "28.0.1".to_owned(),
            api: "1.48".to_owned(),
            cgroups: CgroupVersion::V2,
            storage_driver: "overlay2".to_owned(),
            cpus: 8,
            memory: Bytes::gib(64),
            security: vec!["seccomp".to_owned(), "apparmor".to_owned()],
            cgroup_driver: Some("systemd".to_owned()),
            lists_cards: true,
            runtimes: vec!["runc".to_owned()],
            data_root: Some(PathBuf::from("/var/lib/docker")),
            warnings: Vec::new(),
        },
        kernel: Some("6.1.0-18-amd64".to_owned()),
        clock: Some(NOW),
        live_restore: Some(true),
        swarm: false,
        swap_limit: Some(true),
        forwards: Some(true),
        proxied: false,
        pools: Vec::new(),
        networks: 2,
        images: vec![ImageSurvey {
            name: "slate-runner:latest".to_owned(),
            present: true,
            built: Some(Time(NOW.0 - 86_400_000)),
        }],
    }
}

/// A machine on which all is well, with twenty runners wanted.
fn good() -> Facts {
    let folder = |holds| Folder {
        holds,
        path: PathBuf::from("/srv"),
        kind: FileSystem::Local,
        free: Bytes::gib(500),
        total: Bytes::gib(1000),
        inodes: (900_000, 1_000_000),
        mode: Some(0o40700),
        refused: None,
    };
    Facts {
        now: NOW,
        wanted: Some(Wanted {
            runners: 20,
            processes: 20 * 4096,
            memory: Bytes::gib(20),
            disk_floor: Bytes::gib(5),
            proxied: false,
            cards: Some(GpuRequestKind::Auto),
        }),
        engine: Some(engine()),
        engine_trouble: String::new(),
        running: Some(2),
        host: HostState {
            pid_max: Some(4_194_304),
            threads_max: Some(500_000),
            inotify_instances: Some(8192),
            inotify_watches: Some(1_048_576),
            file_max: Some(9_223_372_036_854_775_807),
            open_files: Some(1_048_576),
            overcommit: Some(0),
            memory: Some(Bytes::gib(64)),
            controllers: Some(["cpu", "memory", "pids"].map(str::to_owned).to_vec()),
            modules: Some(vec!["apparmor".to_owned()]),
            resolvers: Some(vec!["192.168.1.1".to_owned()]),
            mtu: Some((1500, 1500)),
            boot: Some(Boot { engine: true, supervisor: Unit::Machine }),
        },
        cards: CardsState {
            count: 2,
            nvidia: 2,
            driver: Some("550.54.15".to_owned()),
            notes: Vec::new(),
        },
        folders: vec![folder("state"), folder("reports"), folder("engine")],
        env_file: Some(SecretsFile { path: PathBuf::from("/srv/.env"), mode: 0o100_600 }),
        env: EnvState::default(),
    }
}

fn of(facts: &Facts, id: &str) -> Vec<Check> {
    let sections = examine(facts);
    let checks = sections.into_iter().flat_map(|section| section.checks);
    checks.filter(|check| check.id.as_deref() == Some(id)).collect()
}

#[test]
fn where_all_is_well_every_check_is_ok() {
    for rule in RULES {
        for check in (rule.judge)(&good()) {
            assert_eq!(check.level, CheckLevel::Ok, "{}: {}", rule.id, check.message);
        }
    }
}

#[test]
fn where_nothing_is_known_every_check_says_so_and_none_fails_but_the_engine() {
    let nothing = Facts { engine_trouble: "cannot reach it".to_owned(), ..Facts::default() };
    for rule in RULES {
        let found = (rule.judge)(&nothing);
        assert!(!found.is_empty(), "{} says nothing", rule.id);
        for check in found {
            let expected = if rule.id == "engine" { CheckLevel::Error } else { CheckLevel::Ok };
            assert!(check.level <= expected, "{}: {}", rule.id, check.message);
            assert!(!check.message.is_empty());
        }
    }
}

type Case = (&'static str, fn(&mut Facts), CheckLevel, &'static str);

fn on_engine(facts: &mut Facts, change: fn(&mut EngineSurvey)) {
    change(facts.engine.as_mut().expect("the good one has one"));
}

fn folders(facts: &mut Facts, change: fn(&mut Folder)) {
    facts.folders.iter_mut().for_each(change);
}

/// Each check made to complain, with a word that it must say and what to do.
const CASES: &[Case] = &[
    (
        "engine",
        |it| (it.engine, it.engine_trouble) = (None, "no such socket".to_owned()),
        CheckLevel::Error,
        "no such socket",
    ),
    (
        "engine-warnings",
        |it| on_engine(it, |it| it.info.warnings.push("No swap".to_owned())),
        CheckLevel::Warning,
        "No swap",
    ),
    (
        "engine-exposure",
        |it| it.env.docker_host = Some("tcp://10.0.0.1:2375".to_owned()),
        CheckLevel::Warning,
        "without TLS",
    ),
    (
        "storage-driver",
        |it| on_engine(it, |it| it.info.storage_driver = "vfs".to_owned()),
        CheckLevel::Warning,
        "vfs",
    ),
    (
        "cgroup-version",
        |it| on_engine(it, |it| it.info.cgroups = CgroupVersion::V1),
        CheckLevel::Warning,
        "version 1",
    ),
    (
        "swap-limit",
        |it| on_engine(it, |it| it.swap_limit = Some(false)),
        CheckLevel::Warning,
        "swap",
    ),
    ("seccomp", |it| on_engine(it, |it| it.info.security.clear()), CheckLevel::Error, "filtered"),
    (
        "mandatory-access",
        |it| on_engine(it, |it| it.info.security.clear()),
        CheckLevel::Warning,
        "apparmor is on",
    ),
    (
        "live-restore",
        |it| on_engine(it, |it| it.live_restore = Some(false)),
        CheckLevel::Warning,
        "ends the 2 jobs that run",
    ),
    (
        "live-restore",
        |it| on_engine(it, |it| (it.live_restore, it.swarm) = (Some(false), true)),
        CheckLevel::Warning,
        "a swarm has no live-restore",
    ),
    (
        "images-present",
        |it| on_engine(it, |it| it.images[0].present = false),
        CheckLevel::Warning,
        "not there yet",
    ),
    (
        "images-age",
        |it| on_engine(it, |it| it.images[0].built = Some(Time(NOW.0 - 8_640_000_000))),
        CheckLevel::Warning,
        "100 days ago",
    ),
    (
        "kernel-version",
        |it| on_engine(it, |it| it.kernel = Some("4.9.0".to_owned())),
        CheckLevel::Warning,
        "older than 4.18",
    ),
    (
        "cgroup-controllers",
        |it| it.host.controllers = Some(vec!["cpu".to_owned()]),
        CheckLevel::Error,
        "memory, pids",
    ),
    ("process-ids", |it| it.host.pid_max = Some(32_768), CheckLevel::Warning, "82944"),
    ("threads", |it| it.host.threads_max = Some(30_000), CheckLevel::Warning, "82944"),
    ("inotify-instances", |it| it.host.inotify_instances = Some(128), CheckLevel::Warning, "384"),
    ("inotify-watches", |it| it.host.inotify_watches = Some(8192), CheckLevel::Warning, "163840"),
    ("host-files", |it| it.host.file_max = Some(1024), CheckLevel::Warning, "98304"),
    ("open-files", |it| it.host.open_files = Some(256), CheckLevel::Warning, "296"),
    ("memory-overcommit", |it| it.host.overcommit = Some(2), CheckLevel::Warning, "is 2"),
    ("memory", |it| it.host.memory = Some(Bytes::gib(16)), CheckLevel::Warning, "20GiB together"),
    (
        "start-at-boot",
        |it| it.host.boot = Some(Boot { engine: false, supervisor: Unit::Lingering }),
        CheckLevel::Warning,
        "the engine is not started",
    ),
    (
        "start-at-boot",
        |it| it.host.boot = Some(Boot { engine: true, supervisor: Unit::None }),
        CheckLevel::Warning,
        "no unit",
    ),
    (
        "start-at-boot",
        |it| it.host.boot = Some(Boot { engine: true, supervisor: Unit::Session }),
        CheckLevel::Warning,
        "last session",
    ),
    ("disk-space", |it| folders(it, |it| it.free = Bytes::gib(1)), CheckLevel::Error, "no job"),
    ("disk-space", |it| folders(it, |it| it.free = Bytes::gib(7)), CheckLevel::Warning, "only"),
    ("disk-inodes", |it| folders(it, |it| it.inodes.0 = 1000), CheckLevel::Warning, "1000 more of"),
    (
        "file-system",
        |it| folders(it, |it| it.kind = FileSystem::Memory),
        CheckLevel::Warning,
        "memory",
    ),
    (
        "state-folder",
        |it| folders(it, |it| it.mode = Some(0o40777)),
        CheckLevel::Error,
        "others may write",
    ),
    (
        "reports-folder",
        |it| folders(it, |it| it.refused = Some("/srv: Permission denied".to_owned())),
        CheckLevel::Error,
        "/srv: Permission denied",
    ),
    ("clock", |it| it.now = Time(NOW.0 + 5000), CheckLevel::Warning, "by 5s"),
    ("clock", |it| it.now = Time(NOW.0 - 60_000), CheckLevel::Error, "by 1m:"),
    (
        "dns",
        |it| it.host.resolvers = Some(vec!["127.0.0.53".to_owned()]),
        CheckLevel::Warning,
        "do not reach",
    ),
    (
        "ip-forwarding",
        |it| on_engine(it, |it| it.forwards = Some(false)),
        CheckLevel::Error,
        "reach nothing",
    ),
    (
        "engine-proxy",
        |it| it.wanted.as_mut().expect("a fleet file").proxied = true,
        CheckLevel::Warning,
        "without one",
    ),
    ("address-pools", |it| on_engine(it, |it| it.networks = 29), CheckLevel::Warning, "2 of 31"),
    (
        "address-pools",
        |it| {
            on_engine(it, |it| {
                it.pools = vec![AddressPool { base: "10.0.0.0/23".to_owned(), size: 24 }];
            });
        },
        CheckLevel::Error,
        "all 2 networks",
    ),
    ("mtu", |it| it.host.mtu = Some((1400, 1500)), CheckLevel::Warning, "1400"),
    (
        "listen-address",
        |it| it.env.listen = Some("0.0.0.0:7373".to_owned()),
        CheckLevel::Error,
        "no TLS",
    ),
    (
        "listen-address",
        |it| it.env.listen = Some("7373".to_owned()),
        CheckLevel::Error,
        "which is none",
    ),
    (
        "gpu-cards",
        |it| {
            it.cards = CardsState { notes: vec!["no library".to_owned()], ..CardsState::default() }
        },
        CheckLevel::Error,
        "no library",
    ),
    ("gpu-driver", |it| it.cards.driver = None, CheckLevel::Warning, "does not tell"),
    ("gpu-toolkit", |it| on_engine(it, |it| it.info.lists_cards = false), CheckLevel::Error, "CDI"),
    (
        "gpu-reload",
        |it| on_engine(it, |it| it.info.lists_cards = false),
        CheckLevel::Warning,
        "systemd",
    ),
    (
        "secrets-file",
        |it| it.env_file = Some(SecretsFile { path: PathBuf::from("/srv/.env"), mode: 0o100_644 }),
        CheckLevel::Warning,
        "mode 0644",
    ),
];

#[test]
fn each_check_complains_with_numbers_and_says_what_to_do() {
    for (id, change, level, words) in CASES {
        let mut facts = good();
        change(&mut facts);
        let found = of(&facts, id);
        let worst = found.iter().max_by_key(|check| check.level).expect("a check of this name");
        assert_eq!(worst.level, *level, "{id}: {}", worst.message);
        assert!(worst.message.contains(words), "{id}: {}", worst.message);
        assert!(worst.advice.as_ref().is_some_and(|it| !it.is_empty()), "{id}: nothing to do");
    }
}

#[test]
fn every_check_that_can_complain_is_in_the_table_of_cases() {
    // These tell what is, and leave the judgement to whoever reads it.
    let neutral = ["user-namespaces"];
    let told: BTreeSet<&str> = CASES.iter().map(|(id, ..)| *id).chain(neutral).collect();
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(told, all);
    assert_eq!(all.len(), RULES.len(), "no name twice");
}

#[test]
fn a_state_on_a_network_is_an_error_and_reports_there_are_not() {
    let mut facts = good();
    facts.folders.iter_mut().for_each(|it| it.kind = FileSystem::Network("NFS"));
    let levels: Vec<CheckLevel> = of(&facts, "file-system").iter().map(|it| it.level).collect();
    assert_eq!(levels, [CheckLevel::Error, CheckLevel::Warning, CheckLevel::Warning]);
}

#[test]
fn a_file_in_the_place_of_the_report_store_is_told() {
    let here = tempfile::tempdir().expect("a folder");
    let place = here.path().join("reports");
    let told = |path| super::look::folder("reports", path).expect("it is on a disk").refused;
    assert_eq!(told(&place), None, "it is made by `up`");
    std::fs::write(&place, "").expect("written");
    let why = told(&place).expect("no folder");
    assert_eq!(why, format!("{} is no folder", place.display()));
}

#[test]
fn the_line_to_set_is_a_round_number_in_a_file_of_our_own() {
    let mut facts = good();
    facts.host.inotify_instances = Some(128);
    let advice = of(&facts, "inotify-instances").remove(0).advice.expect("a line");
    assert!(advice.contains("fs.inotify.max_user_instances = 512"), "{advice}");
    assert!(advice.contains("/etc/sysctl.d/90-slate-fleet.conf"), "{advice}");
}

#[test]
fn a_small_disk_is_not_closed_by_a_floor_for_large_ones() {
    let mut facts = good();
    facts.folders.iter_mut().for_each(|it| (it.free, it.total) = (Bytes::gib(3), Bytes::gib(10)));
    assert!(of(&facts, "disk-space").iter().all(|it| it.level == CheckLevel::Ok));
}

#[test]
fn the_reference_has_every_check_and_no_other() {
    let reference = include_str!("../../docs/reference/doctor.md");
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(told, all);
}
