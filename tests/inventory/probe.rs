//! Cards as the probe reports them, over time.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use slate_fleet::fleet::gpu::{ComputeMode, GpuHealth, GpuVendor, MigMode};
use slate_fleet::ids::GpuUuid;
use slate_fleet::units::GpuMib;

use crate::nvml::{StandIn, card, uuid};
use crate::{impatient, once, probe, sources};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_card_is_read_in_full_and_in_its_units() {
    let library = StandIn::of(2);
    library.change_card(1, |card| {
        card["used"] = json!(1200);
        card["busy"] = json!(63);
        card["ecc"] = json!(2);
        card["compute_mode"] = json!(3);
    });
    let report = once(&library);
    assert_eq!(report.library.as_deref(), library.library().to_str());
    assert_eq!(report.driver.as_deref(), Some("550.54.15"));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
    let it = &report.cards[1];
    assert_eq!((it.card.index, it.card.uuid.as_str()), (1, uuid(1).as_str()));
    assert_eq!((it.card.memory, it.card.reserved), (GpuMib(16384), GpuMib(300)));
    assert_eq!(
        (it.card.vendor, it.card.pci.as_deref()),
        (GpuVendor::Nvidia, Some("00000000:02:00.0"))
    );
    assert_eq!((it.used, it.busy_percent), (Some(GpuMib(1200)), Some(63)));
    assert_eq!((it.temperature, it.power, it.ecc_errors), (Some(41), Some(25), Some(2)));
    assert_eq!(it.mig, Some(MigMode::Off));
    assert_eq!(it.compute_mode, Some(ComputeMode::OneProcess));
    assert_eq!((&it.health, it.processes.as_deref()), (&GpuHealth::Ok, Some(&[][..])));
}

#[test]
fn processes_count_once_and_idle_is_not_unknown() {
    let library = StandIn::of(1);
    let own = std::process::id();
    library.change_card(0, |card| {
        card["processes"] = json!([
            {"pid": own, "memory": 700, "busy": 40, "sampled_at": 10},
            {"pid": own, "memory": 650, "graphics": true},
            {"pid": 4_000_000, "memory": 5, "graphics": true},
        ]);
    });
    let mut probe = probe(&library, None);
    let report = probe.read(Duration::ZERO);
    let processes = report.cards[0].processes.as_ref().expect("read");
    assert_eq!(processes.len(), 2);
    assert_eq!((processes[0].pid, processes[0].memory), (own, Some(GpuMib(700))));
    assert_eq!(processes[0].busy_percent, Some(40));
    assert!(!processes[0].name.is_empty(), "the kernel knows this process");
    assert_eq!((processes[1].name.as_str(), processes[1].busy_percent), ("", Some(0)));
    // No sample since then is NotFound: it is idle.
    let report = probe.read(SECOND);
    assert_eq!(report.cards[0].processes.as_ref().expect("read")[0].busy_percent, Some(0));
}

#[test]
fn mig_instances_are_cards_behind_their_parents() {
    let cut = json!({
        "uuid": "GPU-cut", "memory": 40960, "mig": {"current": 1, "pending": 1, "devices": [
            {"uuid": "MIG-1", "name": "1g.5gb", "memory": 4864, "used": 9}, null,
            {"uuid": "MIG-2", "name": "1g.5gb", "memory": 4864},
        ]},
    });
    let pending = json!({"uuid": "GPU-p", "memory": 1, "mig": {"current": 0, "pending": 1}});
    let library = StandIn::with_cards(json!([cut, card(1), pending]));
    let report = once(&library);
    let uuids: Vec<&str> = report.cards.iter().map(|it| it.card.uuid.as_str()).collect();
    assert_eq!(uuids, ["GPU-cut", &uuid(1), "GPU-p", "MIG-1", "MIG-2"]);
    assert_eq!(report.cards[3].card.index, 3);
    assert_eq!(report.cards[3].card.parent, Some(GpuUuid::new("GPU-cut")));
    assert_eq!(report.cards[0].mig, Some(MigMode::On));
    assert_eq!(report.cards[2].mig, Some(MigMode::Pending));
    assert_eq!(report.cards[3].used, Some(GpuMib(9)));
    assert_eq!(report.cards[3].busy_percent, None, "not told under MIG, and not invented");
}

#[test]
fn a_card_that_hangs_is_unresponsive_alone_until_it_answers() {
    let library = StandIn::of(2);
    let mut probe = impatient(&library);
    probe.read(Duration::ZERO);
    library.change_card(0, |card| card["hang"] = json!(["nvmlDeviceGetMemoryInfo_v2"]));
    let report = probe.read(SECOND);
    assert!(matches!(report.cards[0].health, GpuHealth::Unresponsive(_)), "{report:?}");
    assert_eq!(report.cards[0].used, None);
    assert_eq!(report.cards[1].health, GpuHealth::Ok);
    // The list of cards hangs with it; those that are known are read as always.
    let report = probe.read(SECOND * 61);
    assert!(matches!(report.cards[0].health, GpuHealth::Unresponsive(_)), "{report:?}");
    assert_eq!(report.cards[1].health, GpuHealth::Ok);
    library.change_card(0, |card| card["hang"] = json!([]));
    let until = |probe: &mut slate_fleet::inventory::GpuProbe| {
        (2..2000).any(|_| probe.read(SECOND * 62).cards[0].health == GpuHealth::Ok)
    };
    assert!(until(&mut probe), "it answers again");
}

#[test]
fn a_library_that_hangs_at_the_start_does_not_hang_the_probe() {
    let library = StandIn::of(1);
    library.change(|state| state["hang"] = json!(["nvmlInit_v2"]));
    let report = impatient(&library).read(Duration::ZERO);
    assert!(report.cards.is_empty());
    assert!(report.notes[0].contains("does not answer"), "{:?}", report.notes);
}

#[test]
fn a_lost_card_stays_in_the_report_and_comes_back() {
    let library = StandIn::of(2);
    let mut probe = probe(&library, None);
    probe.read(Duration::ZERO);
    library.change_card(1, |card| card["lost"] = json!(true));
    let lost = |report: &slate_fleet::fleet::gpu::GpuReport| {
        matches!(report.cards[1].health, GpuHealth::Lost(_)) && report.cards[1].used.is_none()
    };
    assert!(lost(&probe.read(SECOND)));
    let listed_anew = probe.read(SECOND * 61);
    assert!(lost(&listed_anew), "{listed_anew:?}");
    assert_eq!(listed_anew.cards[1].card.uuid.as_str(), uuid(1));
    library.change(|state| {
        state["cards"].as_array_mut().expect("cards").truncate(1);
    });
    assert!(lost(&probe.read(SECOND * 122)), "it is not even listed");
    library.change(|state| state["cards"] = json!([card(0), card(1)]));
    assert_eq!(probe.read(SECOND * 183).cards[1].health, GpuHealth::Ok);
}

#[test]
fn a_driver_that_is_reloaded_is_found_again_with_patience() {
    let library = StandIn::of(1);
    let mut probe = probe(&library, None);
    probe.read(Duration::ZERO);
    // 18: the driver was upgraded under the library.
    library.change(|state| {
        state["fail"] = json!({"nvmlDeviceGetHandleByUUID": 18, "nvmlInit_v2": 18});
    });
    let report = probe.read(SECOND);
    assert!(matches!(report.cards[0].health, GpuHealth::Lost(_)), "{report:?}");
    let report = probe.read(SECOND * 6);
    assert!(report.notes[0].contains("restart"), "{:?}", report.notes);
    assert_eq!(report.cards.len(), 1, "its leases are known by it");
    library.change(|state| state["fail"] = json!({}));
    let early = probe.read(SECOND * 7);
    assert!(matches!(early.cards[0].health, GpuHealth::Lost(_)), "not before its time");
    assert_eq!(probe.read(SECOND * 20).cards[0].health, GpuHealth::Ok);
}

#[test]
fn xids_are_told_as_they_happen() {
    let library = StandIn::of(2);
    let (out, told) = channel();
    let out = Mutex::new(out);
    let sink = Arc::new(move |card: GpuUuid, xid: u32| {
        out.lock().expect("free").send((card.to_string(), xid)).expect("taken");
    });
    let mut probe = probe(&library, Some(sink));
    probe.read(Duration::ZERO);
    // Only what comes after the set was made is told, so it is raised until it is.
    let first = (0..200).find_map(|_| {
        library.raise_xid(1, 31);
        told.recv_timeout(Duration::from_millis(50)).ok()
    });
    assert_eq!(first, Some((uuid(1), 31)));
    library.raise_xid(0, 79);
    let mut all = std::iter::from_fn(|| told.recv_timeout(SECOND * 10).ok());
    assert!(all.any(|it| it == (uuid(0), 79)));
}

#[test]
fn a_machine_without_the_library_says_so_and_has_no_card() {
    let mut probe = slate_fleet::inventory::GpuProbe::new(sources("/nowhere/lib.so".into()), None);
    let report = probe.read(Duration::ZERO);
    assert!(report.cards.is_empty() && report.library.is_none());
    assert!(report.notes[0].contains("cannot load /nowhere/lib.so"), "{:?}", report.notes);
}
