//! The fleet files that `init` writes: sized for the host, commented, and valid.

use crate::ids::ProjectName;
use crate::units::Bytes;

/// What the host has, for sizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostSize {
    /// CPUs.
    pub cpus: u32,
    /// Memory in total.
    pub memory: Bytes,
}

/// The example with every key, as it lies in `config/`.
const EXAMPLE: &str = include_str!("../../config/example.yaml");

/// Memory limits of the two built-in profiles that every host can run.
const LIGHT: Bytes = Bytes::mib(512);
const STANDARD: Bytes = Bytes::gib(1);

/// More runners than this are an operator's decision, not a default.
const COUNT_MAX: u32 = 16;

/// How many runners a host gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizing {
    light: u32,
    standard: u32,
    /// Ready containers beside each pool.
    spares: u32,
    /// Even one of each is more than the host has.
    overcommit: bool,
}

impl Sizing {
    /// A runner per CPU, half of them standard, in three quarters of the memory; at least one each.
    fn of(host: HostSize) -> Self {
        let budget = host.memory.0 / 4 * 3;
        let cpus = host.cpus.clamp(1, COUNT_MAX);
        let (light, standard) = (cpus, (cpus / 2).max(1));
        let mut sizing = Self { light, standard, spares: 1, overcommit: false };
        // Ends after at most `COUNT_MAX` steps of each: one pool shrinks in every step.
        while sizing.memory() > budget && (sizing.light > 1 || sizing.standard > 1) {
            if sizing.standard > 1 && sizing.standard * 2 >= sizing.light {
                sizing.standard -= 1;
            } else {
                sizing.light -= 1;
            }
        }
        if sizing.memory() > budget {
            sizing.spares = 0;
        }
        sizing.overcommit = sizing.memory() > host.memory.0;
        sizing
    }

    /// The sum of the memory limits.
    fn memory(self) -> u64 {
        let light = u64::from(self.light + self.spares) * LIGHT.0;
        light + u64::from(self.standard + self.spares) * STANDARD.0
    }
}

/// A short fleet file: a pool of light and one of standard runners that fit this host.
#[must_use]
pub fn minimal(project: &ProjectName, host: HostSize) -> String {
    let sizing = Sizing::of(host);
    let spares = match sizing.spares {
        0 => "    spares: 0 # memory is short here; the next job waits for a fresh container\n",
        _ => "",
    };
    let limits = match sizing.overcommit {
        true => "\nlimits:\n  overcommit: {memory: true} # the limits exceed this host's memory\n",
        false => "",
    };
    format!(
        "# A fleet for this machine ({} CPUs, {} of memory). `slate-fleet up` brings it up.\n\
         # `slate-fleet init` without `--minimal` writes a file that explains every key.\n\
         version: 1\n\
         project: {project}\n\
         \n\
         pools:\n  \
           - name: light # 1 CPU, 512 MiB: linters and small tests\n    \
             profile: light\n    \
             count: {}\n{spares}  \
           - name: standard # 2 CPUs, 1 GiB: test suites\n    \
             profile: standard\n    \
             count: {}\n{spares}{limits}",
        host.cpus, host.memory, sizing.light, sizing.standard
    )
}

/// A fleet file that shows and explains every key, with pools that fit this host.
#[must_use]
pub fn full(project: &ProjectName, host: HostSize) -> String {
    let sizing = Sizing::of(host);
    let sized = "# always this many (sized by init)";
    let light = format!("count: {} {sized}", sizing.light);
    let standard = format!("count: {} {sized}", sizing.standard);
    // The burst pool's one runner has the memory of a standard one.
    let overcommit = sizing.overcommit || sizing.memory() + STANDARD.0 > host.memory.0;
    EXAMPLE
        .replace("\nproject: slate #", &format!("\nproject: {project} #"))
        .replace(&format!("count: 2 {sized}"), &light)
        .replace(&format!("count: 1 {sized}"), &standard)
        .replace("overcommit: {memory: false}", &format!("overcommit: {{memory: {overcommit}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(cpus: u32, gib: u64) -> HostSize {
        HostSize { cpus, memory: Bytes::gib(gib) }
    }

    #[test]
    fn every_host_gets_at_least_one_runner_of_each_kind() {
        let show = |host| {
            let Sizing { light, standard, spares, overcommit } = Sizing::of(host);
            (light, standard, spares, overcommit)
        };
        assert_eq!(show(host(1, 1)), (1, 1, 0, true));
        assert_eq!(show(host(1, 2)), (1, 1, 0, false));
        assert_eq!(show(host(2, 4)), (1, 1, 1, false));
        assert_eq!(show(host(2, 24)), (2, 1, 1, false));
        assert_eq!(show(host(8, 8)), (5, 2, 1, false));
        assert_eq!(show(host(32, 64)), (16, 8, 1, false));
        assert_eq!(show(host(0, 0)), (1, 1, 0, true));
    }

    #[test]
    fn sized_pools_stay_within_the_memory_unless_one_each_exceeds_it() {
        for cpus in [1, 2, 3, 4, 8, 16, 64, 256] {
            for gib in [1, 2, 3, 4, 6, 8, 16, 32, 64, 512] {
                let host = host(cpus, gib);
                let sizing = Sizing::of(host);
                assert!(sizing.memory() <= host.memory.0 || sizing.overcommit, "{sizing:?}");
                assert!(!sizing.overcommit || (sizing.light, sizing.standard) == (1, 1));
            }
        }
    }
}
