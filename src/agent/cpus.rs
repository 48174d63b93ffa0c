//! The CPUs that a runner should see and use, as the kernel writes lists of them (`0-1,3`).

use std::io;
use std::path::Path;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Beside the enrolment file: the same text that is mounted over `/sys/devices/system/cpu/online`.
const LIST: &str = "machine/online";

/// Keeps this process and its children to the CPUs of the runner, so that `nproc` shows its size.
/// A runner without a list uses every CPU.
///
/// # Errors
/// When the list is there and cannot be read or used.
pub fn keep_to_own(given: &[u32], enrolment: &Path) -> io::Result<()> {
    let cpus = match given {
        [] => own(enrolment)?,
        given => given.to_vec(),
    };
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus.iter().map(|cpu| *cpu as usize).filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

fn own(enrolment: &Path) -> io::Result<Vec<u32>> {
    match std::fs::read_to_string(enrolment.with_file_name(LIST)) {
        Ok(text) => parse(text.trim()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is no CPU list", text.trim()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads a list such as `0-1,3`; none if it is not one.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last as usize >= CpuSet::MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_understood_and_others_refused() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-2,5"), Some(vec![0, 1, 2, 5]));
        for bad in ["", "x", "2-1", "0-99999999", "-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
