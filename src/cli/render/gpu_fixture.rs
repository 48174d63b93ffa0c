//! Cards for the tests of tables and maps.

use crate::fleet::gpu::{
    ComputeMode, GpuAccess, GpuFacts, GpuHealth, GpuProcess, GpuReading, GpuVendor, MigMode,
};
use crate::fleet::view::{GpuView, GpusView, LeaseView};
use crate::ids::{ContainerId, GpuUuid, IncarnationId, ProfileName, SlotId};
use crate::units::GpuMib;

fn card(index: u32, name: &str, memory: u32) -> GpuView {
    GpuView::unleased(GpuReading::unread(GpuFacts {
        index,
        uuid: GpuUuid::new(format!("GPU-{index:08}-aaaa-bbbb-cccc-000000000000")),
        name: name.to_owned(),
        memory: GpuMib(memory),
        reserved: GpuMib(0),
        vendor: GpuVendor::Nvidia,
        parent: None,
        pci: Some(format!("00000000:0{index}:00.0")),
        access: GpuAccess::Request,
    }))
}

fn lease(profile: &str, number: u32, reserved: u32) -> LeaseView {
    LeaseView {
        slot: Some(SlotId(number)),
        incarnation: IncarnationId(number.into()),
        name: format!("slate-{}-{number:02}", profile.replace('_', "-")),
        profile: ProfileName::new(profile),
        reserved: GpuMib(reserved),
        used: None,
        exclusive: false,
        busy_percent: None,
    }
}

fn view(cards: Vec<GpuView>) -> GpusView {
    GpusView { cards, ..GpusView::default() }
}

/// Two cards, one at work and one in trouble.
pub fn gpus() -> GpusView {
    let mut busy = card(0, "NVIDIA GeForce RTX 5070 Ti", 16_303);
    busy.leases = vec![lease("gpu_heavy", 1, 8000)];
    (busy.foreign, busy.committed, busy.headroom) = (GpuMib(20), GpuMib(8000), GpuMib(7903));
    let it = &mut busy.reading;
    it.card.reserved = GpuMib(380);
    (it.used, it.busy_percent) = (Some(GpuMib(7020)), Some(63));
    (it.temperature, it.power, it.ecc_errors) = (Some(61), Some(212), None);
    (it.mig, it.compute_mode) = (Some(MigMode::Off), Some(ComputeMode::Shared));
    it.processes = Some(vec![GpuProcess {
        pid: 4711,
        name: "python3".to_owned(),
        container: Some(ContainerId::new("0123456789abcdef".repeat(4))),
        nested: Vec::new(),
        runner: Some("slate-gpu-heavy-01".to_owned()),
        memory: Some(GpuMib(7000)),
        busy_percent: Some(60),
    }]);
    let mut lost = card(1, "NVIDIA GeForce RTX 5070 Ti", 16_303);
    lost.reading.health = GpuHealth::Lost("device fell off the bus".to_owned());
    lost.headroom = GpuMib(0);
    lost.cordon = Some("Xid 79".to_owned());
    view(vec![busy, lost])
}

/// The two cards that specification 1 draws.
pub fn specification() -> GpusView {
    let mut first = card(0, "RTX 5070 Ti", 16_384);
    first.leases =
        vec![lease("gpu_light", 2, 2000), lease("gpu_light", 3, 2000), lease("gpu_heavy", 1, 8000)];
    let mut second = card(1, "RTX 5070 Ti", 16_384);
    second.leases = (4..10).map(|number| lease("gpu_light", number, 2000)).collect();
    view(vec![first, second])
}

/// A large card full of small leases, a small one, one that is cut, and one that tells nothing.
pub fn unusual() -> GpusView {
    let mut large = card(0, "NVIDIA H100 80GB HBM3", 81_559);
    large.leases = (1..13).map(|number| lease("gpu_light", number, 2000)).collect();
    large.leases.push(lease("a_profile_with_quite_a_long_name", 20, 500));
    large.reading.card.reserved = GpuMib(551);
    large.foreign = GpuMib(3000);
    let mut small = card(1, "NVIDIA T400", 2048);
    small.leases = vec![lease("tiny", 30, 1024), lease("tiny", 31, 1024)];
    let mut cut = card(2, "NVIDIA A100", 40_960);
    cut.reading.mig = Some(MigMode::On);
    let mut closed = card(3, "unknown", 0);
    closed.cordon = Some("it does not tell its memory".to_owned());
    view(vec![large, small, cut, closed])
}
