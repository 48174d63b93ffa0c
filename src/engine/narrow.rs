//! Makes the texts of the narrowed `/proc` files: a machine of the runner's size. Pure.
//!
//! The kernel does not narrow these files for a container, so programs that size their pools by
//! them start a worker per host CPU. The texts are made once, with the container: totals are
//! right, but the use of memory and CPU in them does not move.

use crate::units::{Bytes, MilliCpu};

/// What the host's own files say, as far as the narrowed ones repeat it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostView {
    /// `/proc/cpuinfo`: one paragraph per CPU, whose model and flags programs read.
    pub cpuinfo: String,
    /// `/proc/stat`: `ps` takes the time of booting from it.
    pub stat: String,
}

/// The numbers of the CPUs that a runner sees: the given ones, or the first so many.
///
/// Never more than `host` CPUs, where that is known (not zero).
#[must_use]
pub fn visible_cpus(cpus: MilliCpu, cpuset: &[u32], host: u32) -> Vec<u32> {
    if !cpuset.is_empty() {
        return cpuset.to_vec();
    }
    let most = if host == 0 { u32::MAX } else { host };
    (0..cpus.visible().min(most)).collect()
}

/// CPU numbers as the kernel lists them: `0-2,5`.
#[must_use]
pub fn cpu_list(cpus: &[u32]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for cpu in sorted {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => parts.push((cpu, cpu)),
        }
    }
    let show = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(show).collect::<Vec<_>>().join(",") + "\n"
}

/// `/proc/meminfo` of a machine with this much memory, all of it free, and no swap.
#[must_use]
pub fn meminfo(memory: Bytes) -> String {
    // The lines that `free`, the C library and common runtimes read.
    const FULL: [&str; 3] = ["MemTotal", "MemFree", "MemAvailable"];
    const ZERO: [&str; 19] = [
        "Buffers",
        "Cached",
        "SwapCached",
        "Active",
        "Inactive",
        "Active(anon)",
        "Inactive(anon)",
        "Active(file)",
        "Inactive(file)",
        "Unevictable",
        "Mlocked",
        "SwapTotal",
        "SwapFree",
        "Dirty",
        "Writeback",
        "Shmem",
        "Slab",
        "SReclaimable",
        "SUnreclaim",
    ];
    let line = |name: &str, kib: u64| format!("{:<15} {kib:>8} kB\n", format!("{name}:"));
    let full = FULL.iter().map(|name| line(name, memory.0 / 1024));
    full.chain(ZERO.iter().map(|name| line(name, 0))).collect()
}

/// `/proc/cpuinfo` with one paragraph per visible CPU, in one socket.
#[must_use]
pub fn cpuinfo(host: &HostView, cpus: &[u32]) -> String {
    let paragraphs: Vec<&str> =
        host.cpuinfo.split("\n\n").filter(|text| text.starts_with("processor")).collect();
    let Some(first) = paragraphs.first() else {
        return cpus.iter().map(|cpu| format!("processor\t: {cpu}\n\n")).collect();
    };
    let paragraph = |(place, cpu): (usize, &u32)| {
        let lines = first.lines().map(|line| match line.split(':').next().unwrap_or("").trim() {
            "processor" => format!("processor\t: {cpu}\n"),
            "physical id" => "physical id\t: 0\n".to_owned(),
            "siblings" => format!("siblings\t: {}\n", cpus.len()),
            "core id" => format!("core id\t\t: {place}\n"),
            "cpu cores" => format!("cpu cores\t: {}\n", cpus.len()),
            _ => format!("{line}\n"),
        });
        lines.chain(["\n".to_owned()]).collect::<String>()
    };
    cpus.iter().enumerate().map(paragraph).collect()
}

/// `/proc/stat` with one idle line per visible CPU, and the host's time of booting.
///
/// Node counts the `cpu` lines. What the host's CPUs do is nothing that a job should see.
#[must_use]
pub fn stat(host: &HostView, cpus: &[u32]) -> String {
    const IDLE: &str = "0 0 0 0 0 0 0 0 0 0";
    let booted = host.stat.lines().find(|line| line.starts_with("btime ")).unwrap_or("btime 0");
    let per_cpu: String = cpus.iter().map(|cpu| format!("cpu{cpu} {IDLE}\n")).collect();
    format!(
        "cpu  {IDLE}\n{per_cpu}intr 0\nctxt 0\n{booted}\nprocesses 1\nprocs_running 1\n\
         procs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_sees_as_many_cpus_as_its_limit_rounded_up_and_never_more_than_the_host() {
        assert_eq!(visible_cpus(MilliCpu(1500), &[], 8), [0, 1]);
        assert_eq!(visible_cpus(MilliCpu(250), &[], 8), [0]);
        assert_eq!(visible_cpus(MilliCpu::cpus(16), &[], 2), [0, 1]);
        assert_eq!(visible_cpus(MilliCpu::cpus(2), &[5, 7], 8), [5, 7]);
    }

    #[test]
    fn cpu_lists_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list(&[0]), "0\n");
        assert_eq!(cpu_list(&[7, 0, 1, 2, 5]), "0-2,5,7\n");
    }

    #[test]
    fn meminfo_shows_the_limit_and_no_swap() {
        let text = meminfo(Bytes::mib(512));
        assert!(text.starts_with("MemTotal:         524288 kB\nMemFree:          524288 kB\n"));
        assert!(text.contains("SwapTotal:             0 kB\n"), "{text}");
    }

    #[test]
    fn cpuinfo_repeats_the_hosts_model_for_each_visible_cpu() {
        let one = "processor\t: 0\nmodel name\t: X\nsiblings\t: 64\ncore id\t\t: 9\n\
                   cpu cores\t: 32\n";
        let host = HostView { cpuinfo: format!("{one}\n{one}\n"), stat: String::new() };
        assert_eq!(
            cpuinfo(&host, &[4, 6]),
            "processor\t: 4\nmodel name\t: X\nsiblings\t: 2\ncore id\t\t: 0\ncpu cores\t: 2\n\n\
             processor\t: 6\nmodel name\t: X\nsiblings\t: 2\ncore id\t\t: 1\ncpu cores\t: 2\n\n"
        );
        assert_eq!(cpuinfo(&HostView::default(), &[0]), "processor\t: 0\n\n");
    }

    #[test]
    fn stat_has_a_line_per_visible_cpu_and_the_hosts_boot_time() {
        let host =
            HostView { stat: "cpu  9 9\ncpu0 9\ncpu1 9\nbtime 42\n".to_owned(), ..<_>::default() };
        let text = stat(&host, &[0]);
        assert_eq!(text.lines().filter(|line| line.starts_with("cpu")).count(), 2);
        assert!(text.contains("btime 42\n") && !text.contains("cpu1"));
    }
}
