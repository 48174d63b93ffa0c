//! Every job gets a clean machine, and need not wait for it.

use std::collections::BTreeSet;

use crate::fleet::{Fleet, ONE_LIGHT};

/// Looks for what [`MARK`] leaves, and prints what it finds.
const LOOK: &str = "
    ls /work/mark /tmp/mark /var/tmp/mark /dev/shm/mark $HOME/mark $HOME/.profile.mark 2>/dev/null
    env | grep MARK
    for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file 2>/dev/null | grep '^sleep 98765'; done
    find /reports -type f 2>/dev/null
";
const MARK: &str = "
    touch /work/mark /tmp/mark /var/tmp/mark /dev/shm/mark $HOME/mark $HOME/.profile.mark
    export MARK=1
    setsid sleep 98765 >/dev/null 2>&1 &
    mkdir -p $SLATE_REPORTS && touch $SLATE_REPORTS/mark
";

#[test]
fn twenty_jobs_in_a_row_never_see_a_trace_of_each_other() {
    let fleet = Fleet::up(ONE_LIGHT);
    let mut containers = BTreeSet::new();
    for n in 1..=20 {
        let secret = format!("MARK_{n}=secret");
        let script = format!("{LOOK}{MARK}cat /etc/hostname >&2");
        let options = ["run", "--no-workspace", "-e", &secret, "--", "sh", "-c"];
        let script = script.replace("grep MARK", &format!("grep MARK_ | grep -v MARK_{n}="));
        let job = fleet.cli(&[&options[..], &[&script]].concat()).ok();
        assert_eq!(job.out(), "", "job {n} found something");
        assert!(containers.insert(job.err()), "job {n} had a used container");
    }
}

#[test]
fn the_next_job_takes_a_spare_and_waits_for_no_container() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.settle(2);
    let first = fleet.submit("true");
    let second = fleet.submit("true");
    fleet.cli(&["wait", &first, &second]).ok();
    let events = fleet.events();
    let place = |start: &str| {
        let found = events.iter().position(|event| event.starts_with(start));
        found.unwrap_or_else(|| panic!("no `{start}` in {events:#?}"))
    };
    let over = place(&format!("{first} succeeded"));
    let given = place(&format!("{second} assigned"));
    assert!(events[over..given].iter().any(|event| event.contains("filled by the spare")));
    let between = &events[over..given];
    assert!(
        !between.iter().any(|event| event.contains("removed") || event.contains("created")),
        "the second job waited for an engine: {between:#?}"
    );
}

#[test]
fn volumes_go_with_their_containers() {
    let fleet = Fleet::up(ONE_LIGHT);
    for _ in 0..3 {
        fleet.job("echo x >/work/file").ok();
    }
    fleet.settle(2);
    let filter = format!("label=dev.slate.fleet.project={}", fleet.project);
    crate::process::wait_until("used volumes are gone", || {
        let volumes = crate::docker::docker(&["volume", "ls", "-q", "--filter", &filter]);
        volumes.ok().lines().len() == 2
    });
    let private = std::fs::read_dir(fleet.path(".slate/runners")).expect("private folders");
    assert_eq!(private.count(), 2, "folders of runners that are gone");
}

#[test]
fn a_persistent_runner_keeps_its_container_but_no_processes_and_no_working_folder() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, ephemeral: false}]\n");
    let container = fleet.containers();
    fleet.job("touch /tmp/kept /work/left; sleep 98766 & true").ok();
    let second = fleet.job(
        "ls /tmp/kept; ls -A /work
        for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file 2>/dev/null | grep '^sleep 98766'; done
        true",
    );
    assert_eq!(second.ok().word(), "/tmp/kept");
    assert_eq!(fleet.containers(), container);
}

#[test]
fn a_job_cannot_hold_up_the_next_one() {
    let fleet = Fleet::up(ONE_LIGHT);
    let hostile = "trap '' TERM HUP INT; (trap '' TERM; while :; do :; done) & exit 0";
    fleet.job(hostile).ok();
    assert_eq!(fleet.job("echo next").ok().word(), "next");
}
