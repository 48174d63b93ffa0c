//! The stand-in is as strict as the library that it stands for, seen through the same bindings.

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::error::NvmlError;
use serde_json::json;

use crate::nvml::{StandIn, card, uuid};

fn open(library: &StandIn) -> Nvml {
    Nvml::builder().lib_path(library.library().as_os_str()).init().expect("it loads")
}

#[test]
fn it_tells_the_cards_of_its_file_and_follows_it() {
    let library = StandIn::of(2);
    let nvml = open(&library);
    assert_eq!(nvml.device_count().expect("a count"), 2);
    assert_eq!(nvml.sys_driver_version().expect("a version"), "550.54.15");
    let device = nvml.device_by_index(1).expect("a card");
    assert_eq!(device.uuid().expect("a UUID"), uuid(1));
    assert_eq!(device.pci_info().expect("an address").bus_id, "00000000:02:00.0");
    library.add_process(1, 4242, 1000);
    library.change_card(1, |card| card["used"] = json!(1200));
    let memory = device.memory_info().expect("memory");
    assert_eq!(memory.total, memory.reserved + memory.used + memory.free);
    assert_eq!(memory.used, 1200 * 1024 * 1024);
    assert_eq!(device.running_compute_processes().expect("processes")[0].pid, 4242);
}

#[test]
fn it_refuses_what_the_library_refuses() {
    let library = StandIn::of(1);
    let nvml = open(&library);
    assert!(matches!(nvml.device_by_index(1), Err(NvmlError::InvalidArg)));
    assert!(matches!(nvml.device_by_uuid("GPU-no"), Err(NvmlError::NotFound)));
    let device = nvml.device_by_index(0).expect("a card");
    assert!(matches!(device.process_utilization_stats(0), Err(NvmlError::NotFound)));
    assert!(matches!(device.mig_mode(), Err(NvmlError::NotSupported)));
    library.change_card(0, |card| card["lost"] = json!(true));
    assert!(matches!(device.memory_info(), Err(NvmlError::GpuLost)));
    library.change(|state| state["fail"]["nvmlDeviceGetCount_v2"] = json!(4));
    assert!(matches!(nvml.device_count(), Err(NvmlError::NoPermission)));
}

#[test]
fn an_xid_is_told_once_to_sets_that_were_there_before_it() {
    let library = StandIn::with_cards(json!([card(0), card(1)]));
    library.raise_xid(0, 13);
    let nvml = open(&library);
    let set = nvml.create_event_set().expect("a set");
    let device = nvml.device_by_index(0).expect("a card");
    let set = device.register_events(EventTypes::CRITICAL_XID_ERROR, set).expect("registered");
    assert!(matches!(set.wait(10), Err(NvmlError::Timeout)), "raised before");
    library.raise_xid(1, 31);
    assert!(matches!(set.wait(10), Err(NvmlError::Timeout)), "of a card that is not watched");
    library.raise_xid(0, 79);
    let event = set.wait(1000).expect("an event");
    assert_eq!(event.device.uuid().expect("a UUID"), uuid(0));
    assert!(matches!(set.wait(10), Err(NvmlError::Timeout)), "told once");
}

#[test]
fn a_symbol_that_is_taken_out_is_not_found() {
    let library = StandIn::of(1);
    library.remove_symbol("nvmlDeviceGetTemperature");
    let nvml = open(&library);
    let device = nvml.device_by_index(0).expect("a card");
    let sensor = nvml_wrapper::enum_wrappers::device::TemperatureSensor::Gpu;
    assert!(matches!(device.temperature(sensor), Err(NvmlError::FailedToLoadSymbol(_))));
    assert_eq!(device.power_usage().expect("the others stay"), 25_400);
}
