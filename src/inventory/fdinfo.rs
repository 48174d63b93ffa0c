//! What processes hold and use of AMD's and Intel's cards, by their open files.
//!
//! `/proc/PID/fdinfo/FD` of a descriptor of `/dev/dri/*` tells memory and engine times of one
//! client of the card (<https://docs.kernel.org/gpu/drm-usage-stats.html>). Reading other users'
//! needs root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::process::Use;

/// One client of a card: what one descriptor tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The card's PCI address.
    pub pci: String,
    /// Its number; descriptors of one client are duplicates.
    pub id: u64,
    /// Bytes of the card's own memory.
    pub memory: u64,
    /// Nanoseconds of each engine, divided by how many of it there are.
    pub engines: BTreeMap<String, u64>,
    /// Cycles of each engine, and of time, for drivers that count these (xe).
    pub cycles: BTreeMap<String, (u64, u64)>,
}

/// Reads one file; none if it is not of a card.
#[must_use]
pub fn parse(text: &str) -> Option<Client> {
    let mut client = Client::default();
    let mut memory = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
    let mut capacity: BTreeMap<String, u64> = BTreeMap::new();
    let mut has_id = false;
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let (key, value) = (key.trim(), value.trim());
        let number = || value.split_whitespace().next().and_then(|it| it.parse::<u64>().ok());
        let region = |kind: &str| key.strip_prefix(kind).filter(|name| is_own(name));
        match key {
            "drm-pdev" => client.pci = value.to_ascii_lowercase(),
            "drm-client-id" => (client.id, has_id) = (number()?, true),
            _ => {}
        }
        let kinds = ["drm-resident-", "drm-memory-", "drm-total-"];
        for (sizes, name) in memory.iter_mut().zip(kinds.map(region)) {
            sizes.extend(name.zip(size(value)).map(|(name, size)| (name.to_owned(), size)));
        }
        let Some(number) = number() else { continue };
        if let Some(engine) = key.strip_prefix("drm-engine-capacity-") {
            capacity.insert(engine.to_owned(), number.max(1));
        } else if let Some(engine) = key.strip_prefix("drm-engine-") {
            client.engines.insert(engine.to_owned(), number);
        } else if let Some(engine) = key.strip_prefix("drm-total-cycles-") {
            client.cycles.entry(engine.to_owned()).or_default().1 = number;
        } else if let Some(engine) = key.strip_prefix("drm-cycles-") {
            client.cycles.entry(engine.to_owned()).or_default().0 = number;
        }
    }
    for (engine, time) in &mut client.engines {
        *time /= capacity.get(engine).copied().unwrap_or(1);
    }
    // What is resident is what is taken; older drivers have one of the other keys.
    let told = memory.into_iter().find(|sizes| !sizes.is_empty()).unwrap_or_default();
    client.memory = told.into_values().fold(0, u64::saturating_add);
    (has_id && !client.pci.is_empty()).then_some(client)
}

/// The card's own memory: `vram` (amdgpu), `vram0` (xe), `local0` (i915); the rest is the host's.
fn is_own(region: &str) -> bool {
    region.starts_with("vram") || region.starts_with("local")
}

/// `512 KiB`, `3 MiB` or plain bytes.
fn size(value: &str) -> Option<u64> {
    let mut words = value.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let unit = match words.next() {
        None => 1,
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        Some("GiB") => 1 << 30,
        Some(_) => return None,
    };
    number.checked_mul(unit)
}

/// Who uses which card, over time: shares come from the difference of two looks.
#[derive(Debug, Default)]
pub struct Watch {
    before: BTreeMap<(String, u64), Client>,
    at: Duration,
}

impl Watch {
    /// Looks at every process: what it uses, by the card's PCI address. `at` is the time since the
    /// first look.
    pub fn look(&mut self, proc_root: &Path, at: Duration) -> BTreeMap<String, Vec<Use>> {
        let clients = clients(proc_root);
        let span = at.saturating_sub(self.at);
        let mut uses: BTreeMap<String, BTreeMap<u32, (u64, Option<u32>)>> = BTreeMap::new();
        for (pid, client) in &clients {
            let before = self.before.get(&(client.pci.clone(), client.id));
            let share = before.and_then(|before| share(before, client, span));
            let of_card = uses.entry(client.pci.clone()).or_default();
            let (memory, busy) = of_card.entry(*pid).or_default();
            *memory = memory.saturating_add(client.memory);
            *busy = busy.map(|busy| busy + share.unwrap_or(0)).or(share);
        }
        let key = |client: Client| ((client.pci.clone(), client.id), client);
        self.before = clients.into_iter().map(|(_, client)| key(client)).collect();
        self.at = at;
        let one = |(pid, (bytes, busy)): (u32, (u64, Option<u32>))| Use {
            pid,
            memory: Some(super::mib_up(bytes)),
            busy_percent: busy.map(|it| u8::try_from(it.min(100)).unwrap_or(100)),
        };
        uses.into_iter().map(|(pci, of)| (pci, of.into_iter().map(one).collect())).collect()
    }
}

/// Percent of the busiest engine between two looks.
fn share(before: &Client, now: &Client, span: Duration) -> Option<u32> {
    let percent = |part: u64, whole: u64| {
        let part = u128::from(part) * 100;
        part.checked_div(u128::from(whole)).and_then(|it| u32::try_from(it).ok())
    };
    let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let times = now.engines.iter().filter_map(|(engine, time)| {
        // A counter that fell is another client's.
        percent(time.checked_sub(*before.engines.get(engine)?)?, span)
    });
    let cycles = now.cycles.iter().filter_map(|(engine, (part, whole))| {
        let (part_before, whole_before) = before.cycles.get(engine)?;
        percent(part.checked_sub(*part_before)?, whole.checked_sub(*whole_before)?)
    });
    times.chain(cycles).max()
}

/// Every client once, with the first process that has it open.
fn clients(proc_root: &Path) -> Vec<(u32, Client)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let Ok(processes) = fs::read_dir(proc_root) else { return found };
    let pids = processes.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let mut pids: Vec<u32> = pids.collect();
    pids.sort_unstable();
    for pid in pids {
        let folder = proc_root.join(pid.to_string());
        let Ok(open) = fs::read_dir(folder.join("fd")) else { continue };
        for descriptor in open.flatten() {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            if !target.starts_with("/dev/dri") {
                continue;
            }
            let told = fs::read_to_string(folder.join("fdinfo").join(descriptor.file_name()));
            let Some(client) = told.ok().as_deref().and_then(parse) else { continue };
            if seen.insert((client.pci.clone(), client.id)) {
                found.push((pid, client));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::GpuMib;
    use std::os::unix::fs::symlink;

    const AMD: &str = "pos:\t0\nflags:\t02100002\ndrm-driver:\tamdgpu\ndrm-client-id:\t1234\n\
                       drm-pdev:\t0000:03:00.0\ndrm-memory-vram:\t2048 KiB\n\
                       drm-resident-vram:\t1025 KiB\ndrm-resident-gtt:\t9 MiB\n\
                       drm-engine-gfx:\t4000 ns\ndrm-engine-compute:\t8000 ns\n\
                       drm-engine-capacity-compute:\t4\n";

    #[test]
    fn a_client_has_its_own_memory_and_its_engines() {
        let client = parse(AMD).expect("a client");
        assert_eq!((client.pci.as_str(), client.id), ("0000:03:00.0", 1234));
        assert_eq!(client.memory, 1025 * 1024, "resident before memory, without the host's");
        assert_eq!(client.engines["compute"], 2000);
        assert_eq!(parse("pos: 0\nmnt_id: 15\n"), None);
        assert_eq!(parse("drm-client-id:\tx\ndrm-pdev:\ta\n"), None);
        let i915 = parse("drm-pdev: 0000:04:00.0\ndrm-client-id: 1\ndrm-total-local0: 3 MiB\n");
        assert_eq!(i915.map(|it| it.memory), Some(3 << 20));
        let huge = "drm-pdev: a\ndrm-client-id: 1\ndrm-total-vram0: 18446744073709551615 GiB\n";
        assert_eq!(parse(huge).map(|it| it.memory), Some(0));
    }

    #[test]
    fn any_text_is_taken_without_breaking_down() {
        let mut state = 5u64;
        for _ in 0..3000 {
            let mut text = AMD.to_owned();
            for _ in 0..6 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % text.len();
                text.replace_range(at..=at, ["", ":", "9", "\n", "-"][(state >> 40) as usize % 5]);
            }
            let _client = parse(&text);
        }
    }

    fn open(root: &Path, pid: u32, fd: u32, text: &str) {
        let folder = root.join(pid.to_string());
        fs::create_dir_all(folder.join("fd")).expect("made");
        fs::create_dir_all(folder.join("fdinfo")).expect("made");
        let link = folder.join("fd").join(fd.to_string());
        let _before = fs::remove_file(&link);
        symlink("/dev/dri/renderD128", link).expect("linked");
        fs::write(folder.join("fdinfo").join(fd.to_string()), text).expect("written");
    }

    #[test]
    fn clients_count_once_and_shares_come_from_two_looks() {
        let root = tempfile::tempdir().expect("a folder");
        open(root.path(), 10, 3, AMD);
        open(root.path(), 10, 4, AMD);
        open(root.path(), 11, 3, AMD);
        let mut watch = Watch::default();
        let uses = watch.look(root.path(), Duration::ZERO);
        let first = Use { pid: 10, memory: Some(GpuMib(2)), busy_percent: None };
        assert_eq!(uses["0000:03:00.0"], [first]);
        open(root.path(), 10, 3, &AMD.replace("4000 ns", "500004000 ns"));
        let uses = watch.look(root.path(), Duration::from_secs(1));
        assert_eq!(uses["0000:03:00.0"][0].busy_percent, Some(50));
    }

    #[test]
    fn xe_counts_cycles() {
        let of = |part, whole| {
            let text = format!(
                "drm-pdev: a\ndrm-client-id: 1\ndrm-cycles-ccs: {part}\ndrm-total-cycles-ccs: {whole}"
            );
            parse(&text).expect("a client")
        };
        assert_eq!(share(&of(10, 100), &of(40, 200), Duration::ZERO), Some(30));
        assert_eq!(share(&of(40, 100), &of(10, 200), Duration::ZERO), None);
    }
}
