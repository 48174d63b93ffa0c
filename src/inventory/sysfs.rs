//! AMD's and Intel's cards, read from the kernel's files.
//!
//! Walks PCI, not `/sys/class/drm`, so that a card that a virtual machine has (`vfio-pci`) is seen,
//! too. The files are those of the kernel's amdgpu and xe documentation
//! (<https://docs.kernel.org/gpu/amdgpu/>, <https://docs.kernel.org/gpu/xe/>); i915 tells its memory
//! with the vendor's own driver only.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Roots, mib_down, mib_up};
use crate::fleet::gpu::{GpuAccess, GpuFacts, GpuReading, GpuVendor};
use crate::ids::GpuUuid;
use crate::units::GpuMib;

/// PCI base classes of displays and of accelerators.
const CLASSES: [&str; 2] = ["0x03", "0x12"];
/// Where Intel's processors have their built-in graphics.
const INTEL_BUILT_IN: &str = "0000:00:02.0";
/// An AMD processor's built-in graphics has at most this much set aside.
const CARVE_OUT_MOST: u64 = 4 << 30;

/// A card, and where its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysfsCard {
    /// What it is; its index is given by whoever lists all cards.
    pub facts: GpuFacts,
    /// Its PCI address as the kernel writes it.
    pub address: String,
    folder: PathBuf,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Cards that can be given to runners, by PCI address.
    pub cards: Vec<SysfsCard>,
    /// Cards that cannot, and why.
    pub notes: Vec<String>,
}

/// Looks for cards.
#[must_use]
pub fn discover(roots: &Roots) -> Discovered {
    let mut found = Discovered::default();
    let Ok(entries) = fs::read_dir(roots.sys.join("bus/pci/devices")) else { return found };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    for folder in folders {
        let class = text(&folder.join("class")).unwrap_or_default();
        if CLASSES.iter().any(|start| class.starts_with(start)) {
            look(roots, folder, &mut found);
        }
    }
    found
}

fn look(roots: &Roots, folder: PathBuf, found: &mut Discovered) {
    let name = |path: &Path| path.file_name().map(|it| it.to_string_lossy().into_owned());
    let Some(address) = name(&folder) else { return };
    let vendor = match text(&folder.join("vendor")).as_deref() {
        Some("0x1002") => Some(GpuVendor::Amd),
        Some("0x8086") => Some(GpuVendor::Intel),
        // NVIDIA's are read through its library, but for those that it cannot see.
        Some("0x10de") => None,
        _ => return,
    };
    let driver = fs::read_link(folder.join("driver")).ok().and_then(|link| name(&link));
    let whose = vendor.map_or("NVIDIA", words);
    match (driver.as_deref(), vendor) {
        (Some("vfio-pci"), _) => found.notes.push(format!(
            "the {whose} GPU at {address} is given to a virtual machine (vfio-pci) and not used here"
        )),
        (_, None) => {}
        (Some(driver @ ("amdgpu" | "i915" | "xe")), Some(vendor)) => {
            card(roots, (folder, address), (vendor, driver), found);
        }
        (driver, Some(_)) => found.notes.push(format!(
            "the {whose} GPU at {address} is not used: its driver is {}, not amdgpu, i915 or xe",
            driver.unwrap_or("not loaded")
        )),
    }
}

fn card(
    roots: &Roots,
    (folder, address): (PathBuf, String),
    (vendor, driver): (GpuVendor, &str),
    found: &mut Discovered,
) {
    let whose = words(vendor);
    let nodes = entries(&folder.join("drm"));
    let Some(render) = nodes.iter().find(|node| node.starts_with("renderD")) else {
        found.notes.push(format!("the {whose} GPU at {address} has no render node; not used"));
        return;
    };
    let memory = memory(&folder, driver, &nodes);
    let id = text(&folder.join("unique_id")).filter(|id| id.chars().any(|digit| digit != '0'));
    if is_built_in(vendor, &address, id.as_deref(), &folder) {
        let note = format!("the {whose} GPU at {address} is built into the processor; not used");
        found.notes.push(note);
        return;
    }
    let uuid = match id {
        Some(id) => format!("AMD-{id}"),
        None => format!("PCI-{address}"),
    };
    if memory == GpuMib(0) {
        found.notes.push(format!(
            "the {whose} GPU at {address} does not tell its memory; give it as gpu.memory in the \
             fleet file: `{uuid}: 16GiB`"
        ));
    }
    let name = text(&folder.join("product_name")).filter(|name| !name.is_empty());
    let device = text(&folder.join("device")).unwrap_or_default();
    let device = device.trim_start_matches("0x");
    found.cards.push(SysfsCard {
        facts: GpuFacts {
            index: 0,
            uuid: GpuUuid::new(uuid),
            name: name.unwrap_or_else(|| format!("{whose} GPU {device}")),
            memory,
            reserved: GpuMib(0),
            vendor,
            parent: None,
            pci: Some(address.clone()),
            access: access(roots, vendor, render),
        },
        address,
        folder,
    });
}

/// Total memory; zero where the driver does not tell.
fn memory(folder: &Path, driver: &str, nodes: &[String]) -> GpuMib {
    let bytes = match driver {
        "amdgpu" => number(&folder.join("mem_info_vram_total")),
        "xe" => {
            let tiles = entries(folder);
            let tiles = tiles.iter().filter(|it| it.starts_with("tile"));
            let sizes =
                tiles.filter_map(|it| number(&folder.join(it).join("physical_vram_size_bytes")));
            Some(sizes.fold(0, u64::saturating_add))
        }
        _ => {
            let card = nodes.iter().find(|node| node.starts_with("card"));
            card.and_then(|it| number(&folder.join("drm").join(it).join("lmem_total_bytes")))
        }
    };
    mib_down(bytes.unwrap_or(0))
}

/// Graphics that share the host's memory: what they set aside for themselves is no card's memory.
fn is_built_in(vendor: GpuVendor, address: &str, id: Option<&str>, folder: &Path) -> bool {
    match vendor {
        GpuVendor::Nvidia => false,
        GpuVendor::Intel => address == INTEL_BUILT_IN,
        GpuVendor::Amd => {
            let own = number(&folder.join("mem_info_vram_total")).unwrap_or(0);
            let hosts = number(&folder.join("mem_info_gtt_total")).unwrap_or(0);
            id.is_none() && own <= CARVE_OUT_MOST && own < hosts
        }
    }
}

/// The render node, which is this card's alone; AMD's compute needs `/dev/kfd` beside it.
fn access(roots: &Roots, vendor: GpuVendor, render: &str) -> GpuAccess {
    let render = Path::new("dri").join(render);
    let nodes = match vendor {
        GpuVendor::Amd => vec![PathBuf::from("kfd"), render],
        GpuVendor::Intel | GpuVendor::Nvidia => vec![render],
    };
    let owner = |node: &PathBuf| fs::metadata(roots.dev.join(node)).ok().map(|it| it.gid());
    let mut groups: Vec<u32> = nodes.iter().filter_map(owner).collect();
    groups.sort_unstable();
    groups.dedup();
    let paths = nodes.iter().map(|node| Path::new("/dev").join(node)).collect();
    GpuAccess::Nodes { paths, groups }
}

/// Reads a card now. Intel's drivers tell what is in use to nobody but privileged programs by
/// another way, so that stays unknown.
#[must_use]
pub fn read(card: &SysfsCard) -> GpuReading {
    let mut reading = GpuReading::unread(card.facts.clone());
    if card.facts.vendor != GpuVendor::Amd {
        return reading;
    }
    // A card that sleeps uses nothing, and a look would wake it.
    if text(&card.folder.join("power/runtime_status")).as_deref() == Some("suspended") {
        reading.used = Some(GpuMib(0));
        reading.busy_percent = Some(0);
        return reading;
    }
    reading.used = number(&card.folder.join("mem_info_vram_used")).map(mib_up);
    let busy = number(&card.folder.join("gpu_busy_percent"));
    reading.busy_percent = busy.map(|it| u8::try_from(it.min(100)).unwrap_or(100));
    let hwmon = entries(&card.folder.join("hwmon"));
    if let Some(sensor) = hwmon.first().map(|it| card.folder.join("hwmon").join(it)) {
        // Thousandths of a degree, millionths of a watt.
        let whole = |file: &str, unit: u64| {
            number(&sensor.join(file)).and_then(|it| u32::try_from((it + unit / 2) / unit).ok())
        };
        reading.temperature = whole("temp1_input", 1000);
        reading.power = whole("power1_average", 1_000_000);
    }
    reading
}

fn words(vendor: GpuVendor) -> &'static str {
    match vendor {
        GpuVendor::Nvidia => "NVIDIA",
        GpuVendor::Amd => "AMD",
        GpuVendor::Intel => "Intel",
    }
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// Names in a folder, in order.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests;
