//! Machines as folders.

use std::os::unix::fs::symlink;

use super::*;

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn roots(&self) -> Roots {
        let root = self.folder.path();
        Roots { sys: root.join("sys"), proc: root.join("proc"), dev: root.join("dev") }
    }

    /// A device with its files; a name that ends in `/` is a folder.
    fn device(&self, address: &str, driver: &str, files: &[(&str, &str)]) {
        let folder = self.roots().sys.join("bus/pci/devices").join(address);
        fs::create_dir_all(&folder).expect("made");
        for (name, text) in files {
            let path = folder.join(name);
            match name.ends_with('/') {
                true => fs::create_dir_all(&path).expect("made"),
                false => {
                    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
                    fs::write(&path, format!("{text}\n")).expect("written");
                }
            }
        }
        if !driver.is_empty() {
            symlink(format!("../../../bus/pci/drivers/{driver}"), folder.join("driver"))
                .expect("linked");
        }
    }

    fn node(&self, name: &str) {
        let path = self.roots().dev.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, "").expect("written");
    }
}

const DISCRETE_AMD: [(&str, &str); 14] = [
    ("class", "0x038000"),
    ("vendor", "0x1002"),
    ("device", "0x744c"),
    ("unique_id", "9f3c0b5d2a7e4410"),
    ("product_name", "Radeon PRO W7900"),
    ("mem_info_vram_total", "48301604864"),
    ("mem_info_vram_used", "27934721"),
    ("mem_info_gtt_total", "67422937088"),
    ("gpu_busy_percent", "37"),
    ("hwmon/hwmon4/temp1_input", "51499"),
    ("hwmon/hwmon4/power1_average", "96500000"),
    ("power/runtime_status", "active"),
    ("drm/card1/", ""),
    ("drm/renderD129/", ""),
];

#[test]
fn a_card_of_amd_is_read_and_given_by_its_own_nodes() {
    let machine = Machine::new();
    machine.device("0000:03:00.0", "amdgpu", &DISCRETE_AMD);
    machine.node("kfd");
    machine.node("dri/renderD129");
    let found = discover(&machine.roots());
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let facts = &found.cards[0].facts;
    assert_eq!(facts.uuid.as_str(), "AMD-9f3c0b5d2a7e4410");
    assert_eq!((facts.name.as_str(), facts.memory), ("Radeon PRO W7900", GpuMib(46_064)));
    let gid = fs::metadata(machine.roots().dev.join("kfd")).expect("a node").gid();
    let paths = ["/dev/kfd", "/dev/dri/renderD129"].map(PathBuf::from).to_vec();
    assert_eq!(facts.access, GpuAccess::Nodes { paths, groups: vec![gid] });
    let reading = read(&found.cards[0]);
    assert_eq!((reading.used, reading.busy_percent), (Some(GpuMib(27)), Some(37)));
    assert_eq!((reading.temperature, reading.power), (Some(51), Some(97)));
}

#[test]
fn a_card_that_sleeps_is_not_woken() {
    let machine = Machine::new();
    let mut files = DISCRETE_AMD.to_vec();
    files.push(("power/runtime_status", "suspended"));
    machine.device("0000:03:00.0", "amdgpu", &files);
    let found = discover(&machine.roots());
    let reading = read(&found.cards[0]);
    assert_eq!((reading.used, reading.temperature), (Some(GpuMib(0)), None));
}

#[test]
fn values_that_cannot_be_read_are_none_and_not_zero() {
    let machine = Machine::new();
    let unread = ["mem_info_vram_used", "gpu_busy_percent", "unique_id"];
    let files: Vec<_> =
        DISCRETE_AMD.into_iter().filter(|(name, _)| !unread.contains(name)).collect();
    machine.device("0000:03:00.0", "amdgpu", &files);
    let found = discover(&machine.roots());
    assert_eq!(found.cards[0].facts.uuid.as_str(), "PCI-0000:03:00.0");
    let reading = read(&found.cards[0]);
    assert_eq!((reading.used, reading.busy_percent), (None, None));
}

#[test]
fn graphics_of_processors_are_no_cards() {
    let machine = Machine::new();
    machine.device(
        "0000:e5:00.0",
        "amdgpu",
        &[
            ("class", "0x030000"),
            ("vendor", "0x1002"),
            ("mem_info_vram_total", "536870912"),
            ("mem_info_gtt_total", "16437174272"),
            ("drm/renderD128/", ""),
        ],
    );
    let intel = [("class", "0x030000"), ("vendor", "0x8086"), ("drm/renderD129/", "")];
    machine.device("0000:00:02.0", "i915", &intel);
    let found = discover(&machine.roots());
    assert!(found.cards.is_empty());
    assert_eq!(found.notes.len(), 2);
    assert!(found.notes.iter().all(|note| note.contains("built into")), "{:?}", found.notes);
}

#[test]
fn intel_tells_its_memory_by_tiles_or_with_its_own_driver_or_not_at_all() {
    let machine = Machine::new();
    let base = [("class", "0x038000"), ("vendor", "0x8086"), ("device", "0xe20b")];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    machine.device(
        "0000:04:00.0",
        "xe",
        &with(&[
            ("tile0/physical_vram_size_bytes", "8589934592"),
            ("tile1/physical_vram_size_bytes", "8589934592"),
            ("drm/card0/", ""),
            ("drm/renderD128/", ""),
        ]),
    );
    let own = with(&[("drm/card1/lmem_total_bytes", "17079205888"), ("drm/renderD129/", "")]);
    machine.device("0000:05:00.0", "i915", &own);
    machine.device("0000:06:00.0", "i915", &with(&[("drm/card2/", ""), ("drm/renderD130/", "")]));
    let found = discover(&machine.roots());
    let sizes: Vec<u32> = found.cards.iter().map(|card| card.facts.memory.0).collect();
    assert_eq!(sizes, [16_384, 16_288, 0]);
    assert!(found.notes[0].contains("gpu.memory"), "{:?}", found.notes);
    assert!(found.notes[0].contains("`PCI-0000:06:00.0: 16GiB`"), "{:?}", found.notes);
    assert_eq!(read(&found.cards[0]).used, None);
    assert!(matches!(
        &found.cards[0].facts.access,
        GpuAccess::Nodes { paths, .. } if paths == &[PathBuf::from("/dev/dri/renderD128")]
    ));
}

#[test]
fn cards_of_virtual_machines_and_of_other_drivers_are_told_and_left_alone() {
    let machine = Machine::new();
    for (address, driver, vendor) in [
        ("0000:01:00.0", "vfio-pci", "0x10de"),
        ("0000:02:00.0", "nvidia", "0x10de"),
        ("0000:03:00.0", "vfio-pci", "0x1002"),
        ("0000:04:00.0", "", "0x1002"),
        ("0000:05:00.0", "ast", "0x1a03"),
    ] {
        machine.device(address, driver, &[("class", "0x030000"), ("vendor", vendor)]);
    }
    machine.device("0000:06:00.0", "nvme", &[("class", "0x010802"), ("vendor", "0x8086")]);
    let found = discover(&machine.roots());
    assert!(found.cards.is_empty());
    let vfio = found.notes.iter().filter(|note| note.contains("vfio-pci")).count();
    assert_eq!((vfio, found.notes.len()), (2, 3), "{:?}", found.notes);
}

#[test]
fn a_machine_without_pci_has_no_cards() {
    assert_eq!(discover(&Machine::new().roots()), Discovered::default());
}
