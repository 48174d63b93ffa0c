//! What each code of the library means for a card.

use std::time::Duration;

use serde_json::json;
use slate_fleet::fleet::gpu::{GpuHealth, GpuReading};
use slate_fleet::units::GpuMib;

use crate::nvml::{StandIn, card};
use crate::{once, probe};

fn with(symbol: &str, code: u32) -> GpuReading {
    let library = StandIn::of(1);
    let mut probe = probe(&library, None);
    probe.read(Duration::ZERO);
    library.change_card(0, |card| card["fail"] = json!({symbol: code}));
    probe.read(Duration::from_secs(6)).cards.remove(0)
}

#[test]
fn memory_tells_whether_the_card_works() {
    let symbol = "nvmlDeviceGetMemoryInfo_v2";
    for code in [15, 16] {
        let reading = with(symbol, code);
        assert!(matches!(reading.health, GpuHealth::Lost(_)), "{code}: {reading:?}");
        assert_eq!(reading.used, None, "{code}");
    }
    for code in [999, 10, 11, 14, 17, 20] {
        let reading = with(symbol, code);
        assert!(matches!(reading.health, GpuHealth::Degraded(_)), "{code}: {reading:?}");
        assert_eq!(reading.used, None, "{code}");
    }
    for code in [1, 9, 18] {
        let reading = with(symbol, code);
        assert!(matches!(reading.health, GpuHealth::Lost(_)), "{code}: {reading:?}");
    }
}

#[test]
fn what_a_card_does_not_tell_is_none_and_the_card_is_well() {
    let missing = |symbol: &str, code: u32| {
        let reading = with(symbol, code);
        assert_eq!(reading.health, GpuHealth::Ok, "{symbol} {code}");
        reading
    };
    for code in [3, 4, 13, 21, 25, 999] {
        assert_eq!(missing("nvmlDeviceGetUtilizationRates", code).busy_percent, None);
        assert_eq!(missing("nvmlDeviceGetTemperature", code).temperature, None);
        assert_eq!(missing("nvmlDeviceGetPowerUsage", code).power, None);
        assert_eq!(missing("nvmlDeviceGetProcessUtilization", code).used, Some(GpuMib(0)));
    }
    for code in [3, 4, 13] {
        let reading = missing("nvmlDeviceGetComputeRunningProcesses_v3", code);
        assert_eq!(reading.processes, None, "unknown is not nobody");
    }
}

#[test]
fn a_list_of_processes_that_keeps_growing_is_tried_three_times() {
    let library = StandIn::of(1);
    (1..=12).for_each(|pid| library.add_process(0, 4_000_000 + pid, 10));
    library.change_card(0, |card| card["growing"] = json!({"by": 9, "times": 2}));
    let report = once(&library);
    assert_eq!(report.cards[0].processes.as_ref().map(Vec::len), Some(12), "{report:?}");
    library.change_card(0, |card| card["growing"] = json!({"by": 9, "times": 1000}));
    let report = once(&library);
    assert_eq!(report.cards[0].processes, None, "unknown is not nobody");
}

#[test]
fn a_function_that_the_driver_lacks_takes_away_its_value_only() {
    for symbol in [
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetProcessUtilization",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetTotalEccErrors",
        "nvmlDeviceGetComputeMode",
        "nvmlDeviceGetPciInfo_v3",
        "nvmlDeviceGetName",
        "nvmlSystemGetDriverVersion",
        "nvmlEventSetCreate",
    ] {
        let library = StandIn::of(1);
        library.remove_symbol(symbol);
        let report = once(&library);
        assert_eq!(report.cards.len(), 1, "{symbol}: {:?}", report.notes);
        assert_eq!(report.cards[0].health, GpuHealth::Ok, "{symbol}");
    }
}

#[test]
fn a_card_that_does_not_tell_its_memory_is_known_by_its_processes() {
    let mut integrated = card(0);
    integrated["memory"] = json!(null);
    let library = StandIn::with_cards(json!([integrated]));
    library.add_process(0, 4_000_001, 300);
    library.add_process(0, 4_000_002, 40);
    let mut report = once(&library);
    assert_eq!(report.cards[0].card.memory, GpuMib(0));
    assert_eq!(report.cards[0].used, Some(GpuMib(340)));
    assert!(report.notes[0].contains("gpu.memory"), "{:?}", report.notes);
    let uuid = report.cards[0].card.uuid.clone();
    report.fill_memory(&[(uuid, GpuMib(65536))].into());
    assert_eq!(report.cards[0].card.memory, GpuMib(65536));
}

#[test]
fn a_library_without_a_driver_says_what_to_do() {
    for (code, remedy) in
        [(9, "modprobe"), (18, "restart"), (4, "/dev/nvidiactl"), (999, "nvidia-smi")]
    {
        let library = StandIn::of(1);
        library.change(|state| state["fail"]["nvmlInit_v2"] = json!(code));
        let report = once(&library);
        assert!(report.cards.is_empty());
        assert!(report.notes[0].contains(remedy), "{code}: {:?}", report.notes);
    }
    let library = StandIn::of(2);
    library.change_card(1, |card| card["lost"] = json!(true));
    let report = once(&library);
    assert_eq!(report.cards.len(), 1, "a card that never told its name is none");
    assert!(report.notes[0].contains("GPU 1 cannot be used"), "{:?}", report.notes);
}
