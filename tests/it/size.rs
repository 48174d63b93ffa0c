//! A runner looks its size: programs that count CPUs and memory find the runner's, not the host's.

use crate::fleet::{Fleet, NO_SPARE};

/// Operators' pain 47: in every runner `nproc`, `os.cpu_count()`, `/proc/cpuinfo` and `MemTotal`
/// tell the profile's values.
#[test]
fn programs_find_one_cpu_in_a_runner_of_one() {
    let fleet = Fleet::up(NO_SPARE);
    let counts = "nproc
        getconf _NPROCESSORS_ONLN
        python3 -c 'import os; print(os.cpu_count())'
        python3 -c 'import os; print(len(os.sched_getaffinity(0)))'
        grep -c ^processor /proc/cpuinfo
        grep -cE '^[0-9]+$' /sys/devices/system/cpu/online";
    assert_eq!(fleet.job(counts).ok().lines(), ["1", "1", "1", "1", "1", "1"]);
}

#[test]
fn programs_find_512_mib_in_a_runner_of_512_mib() {
    let fleet = Fleet::up(NO_SPARE);
    let memory = "free -m | awk '/^Mem:/ {print $2}'
        free -m | awk '/^Swap:/ {print $2}'
        python3 -c 'import os; print(os.sysconf(\"SC_PHYS_PAGES\") * 4096 // 2**20)'";
    let found = fleet.job(memory).ok().lines();
    assert_eq!(found[..2], ["512", "0"]);
    let shm = fleet.job("df -m --output=size /dev/shm | tail -1").ok().word();
    assert_eq!(shm, "256", "half of the memory");
}

#[test]
fn make_and_pytest_start_as_many_workers_as_there_are_cpus() {
    let fleet = Fleet::up("pools: [{name: standard, profile: standard, spares: 0}]\n");
    let expected = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    assert_eq!(fleet.job("nproc").ok().word(), expected.to_string());
}
