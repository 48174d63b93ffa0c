//! The fleet files that `init` writes: sized by whoever knows the host, commented, and valid.

use std::fmt::Write as _;

use super::builtin;
use crate::ids::{ProfileName, ProjectName};

/// A fleet to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFleet {
    /// Its name.
    pub project: ProjectName,
    /// The host in words: `32 CPUs, 64GiB of memory, 2 GPUs`.
    pub host: String,
    /// Its pools, in the order of the file.
    pub pools: Vec<NewPool>,
    /// Distinct workflow runs at a time.
    pub max_parallel_workflows: u32,
}

/// A pool of a locked profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPool {
    /// The profile.
    pub profile: ProfileName,
    /// How many runners.
    pub count: u32,
    /// Ready containers, where it has other than the usual number.
    pub spares: Option<u32>,
    /// Where its runners are, in words, where there is something to say.
    pub place: Option<String>,
}

/// The example with every key, as it lies in `config/`.
const EXAMPLE: &str = include_str!("../../config/example.yaml");

/// What a reader of the whole file should have before his eyes, but not in force.
const SHOWN: [&str; 3] = ["profiles", "lanes", "gpu"];

/// A short fleet file.
#[must_use]
pub fn minimal(fleet: &NewFleet) -> String {
    let mut out = format!(
        "# A small fleet for this host ({}). `slate-fleet up -d` brings it up.\n\
         # `slate-fleet init` without `--minimal` writes as many runners as the host takes.\n\
         version: 1\n\
         project: {}\n\
         \n",
        fleet.host, fleet.project
    );
    out.push_str(&pools(fleet));
    if has_nothing(fleet) {
        out.push_str(
            "\nlimits:\n  overcommit: {memory: true} # a runner's limit is more than there is\n",
        );
    }
    out
}

/// A fleet file that explains every key: what is sized is in force, what is a matter of taste is
/// there as a comment.
#[must_use]
pub fn full(fleet: &NewFleet) -> String {
    let mut out = format!(
        "# A fleet for this host ({}). `slate-fleet up -d` brings it up.\n\
         # Lines that begin with `#` and a key are examples: take the `# ` away to use one.\n",
        fleet.host
    );
    let mut key = "";
    let mut is_written = false;
    // The first block is the example's own heading.
    for block in EXAMPLE.split("\n\n").skip(1) {
        key = key_of(block).unwrap_or(key);
        match key {
            "pools" if is_written => {}
            "pools" => {
                is_written = true;
                let _infallible = write!(out, "\n{}", pools(fleet));
            }
            _ if SHOWN.contains(&key) => {
                let _infallible = write!(out, "\n{}", commented(block));
            }
            // Writing to a String cannot fail.
            _ => {
                let _infallible = write!(out, "\n{}\n", adapted(block, fleet).trim_end());
            }
        }
    }
    out
}

/// The top-level key that a block begins.
fn key_of(block: &str) -> Option<&str> {
    let mut keys = block.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    keys.find_map(|line| Some(line.split_once(':')?.0))
}

fn commented(block: &str) -> String {
    let comment = |line: &str| match line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("# {line}\n"),
    };
    block.lines().map(comment).collect()
}

/// The values that are this fleet's own.
fn adapted(block: &str, fleet: &NewFleet) -> String {
    let parallel = format!("max_parallel_workflows: {} #", fleet.max_parallel_workflows);
    let overcommit = format!("overcommit: {{memory: {}}}", has_nothing(fleet));
    block
        .replace("project: slate #", &format!("project: {} #", fleet.project))
        .replace("max_parallel_workflows: 8 #", &parallel)
        .replace("overcommit: {memory: false}", &overcommit)
}

/// Nothing fits into the host's memory.
fn has_nothing(fleet: &NewFleet) -> bool {
    fleet.pools.is_empty()
}

fn pools(fleet: &NewFleet) -> String {
    // A host that is too small for any runner still gets one, and its operator the risk.
    let least = NewPool {
        profile: ProfileName::new("light"),
        count: 1,
        spares: Some(0),
        place: Some("its limit is more memory than this host has".to_owned()),
    };
    let pools = if has_nothing(fleet) { vec![least] } else { fleet.pools.clone() };
    let mut out = "pools:\n".to_owned();
    for pool in &pools {
        let NewPool { profile, count, spares, place } = pool;
        let name = profile.as_str().replace('_', "-");
        let words = builtin::words(profile.as_str());
        let place = place.as_ref().map_or_else(String::new, |place| format!(" # {place}"));
        // Writing to a String cannot fail.
        let _infallible = write!(
            out,
            "  - name: {name} # {words}\n    profile: {profile}\n    count: {count}{place}\n"
        );
        if let Some(spares) = spares {
            let _infallible = writeln!(
                out,
                "    spares: {spares} # memory is short; the next job waits for a fresh container"
            );
        }
    }
    out
}
