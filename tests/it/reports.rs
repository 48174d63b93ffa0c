//! What jobs write to `$SLATE_REPORTS` is on the host when they are over.

use std::fs;

use crate::fleet::{Fleet, ONE_LIGHT};

fn run(fleet: &Fleet, script: &str) -> crate::process::Output {
    let head = ["run", "--no-workspace", "--workflow", "nightly", "--run-id", "42", "--"];
    fleet.cli(&[&head[..], &["sh", "-c", script]].concat())
}

#[test]
fn reports_appear_on_the_host_with_their_folders() {
    let fleet = Fleet::up(ONE_LIGHT);
    let script = "mkdir -p $SLATE_REPORTS/html/css && cd $SLATE_REPORTS && echo a >html/css/a.css
        printf 'bytes\\000here' >junit.xml; pwd; exit 3";
    let job = run(&fleet, script).expect_code(3);
    assert_eq!(job.word(), "/reports/nightly/42");
    assert_eq!(fleet.read("reports/nightly/42/html/css/a.css"), "a\n");
    assert_eq!(fleet.read("reports/nightly/42/junit.xml"), "bytes\0here");
}

#[test]
fn jobs_of_one_run_add_to_the_same_folder() {
    let fleet = Fleet::up(ONE_LIGHT);
    run(&fleet, "echo 1 >$SLATE_REPORTS/one; echo 1 >$SLATE_REPORTS/both").ok();
    run(&fleet, "ls $SLATE_REPORTS; echo 2 >$SLATE_REPORTS/two; echo 2 >$SLATE_REPORTS/both").ok();
    let read = |name: &str| fleet.read(&format!("reports/nightly/42/{name}"));
    assert_eq!([read("one"), read("two"), read("both")], ["1\n", "2\n", "2\n"]);
}

#[test]
fn a_job_sees_no_reports_of_others_unless_they_are_shared() {
    let look = "find /reports -type f | sort";
    let fleet = Fleet::up(ONE_LIGHT);
    run(&fleet, "echo 1 >$SLATE_REPORTS/one").ok();
    assert_eq!(fleet.job(look).ok().out(), "");
    let shared = Fleet::beside(&format!("{ONE_LIGHT}reports: {{shared: true}}\n"));
    shared.cli(&["up", "-d"]).ok();
    run(&shared, "echo 1 >$SLATE_REPORTS/one").ok();
    assert_eq!(shared.job(look).ok().word(), "/reports/nightly/42/one");
    assert_eq!(shared.read("reports/nightly/42/one"), "1\n");
}

#[test]
fn hostile_links_and_devices_are_not_published() {
    let fleet = Fleet::up(ONE_LIGHT);
    let script = "cd $SLATE_REPORTS && ln -s /etc/passwd passwd && ln -s / root && mkfifo pipe
        ln -s ../../.. up && mkdir good && echo g >good/file && echo ok >plain
        ln -s $SLATE_REPORTS/good good/again";
    run(&fleet, script).ok();
    let mut names: Vec<String> = fs::read_dir(fleet.path("reports/nightly/42"))
        .expect("reports")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["good", "plain"]);
    assert_eq!(fs::read_dir(fleet.path("reports/nightly/42/good")).expect("good").count(), 1);
}

#[test]
fn a_report_folder_that_is_itself_a_link_leads_nowhere() {
    let fleet = Fleet::up(ONE_LIGHT);
    let script = "cd / && rm -rf /reports/nightly/42 && ln -s /etc /reports/nightly/42";
    run(&fleet, script);
    assert!(!fleet.path("reports/nightly/42").exists(), "something was published");
}

#[test]
fn a_later_job_cannot_write_through_a_link_of_an_earlier_one() {
    let fleet = Fleet::up(&format!("{ONE_LIGHT}reports: {{path: ./out}}\n"));
    fleet.write("victim", "untouched");
    run(&fleet, "ln -s ../../../victim $SLATE_REPORTS/file; mkdir $SLATE_REPORTS/d").ok();
    run(&fleet, "echo hit >$SLATE_REPORTS/file; ln -s / $SLATE_REPORTS/d").ok();
    assert_eq!(fleet.read("victim"), "untouched");
    assert_eq!(fleet.read("out/nightly/42/file"), "hit\n");
    assert!(fs::symlink_metadata(fleet.path("out/nightly/42/d")).is_ok_and(|it| it.is_dir()));
}

#[test]
fn reports_belong_to_who_runs_the_fleet_and_are_no_programs_of_others() {
    use std::os::unix::fs::PermissionsExt;
    let fleet = Fleet::up(ONE_LIGHT);
    run(&fleet, "cp /bin/true $SLATE_REPORTS/tool; chmod 6777 $SLATE_REPORTS/tool").ok();
    let found = fs::metadata(fleet.path("reports/nightly/42/tool")).expect("a report");
    assert_eq!(found.permissions().mode() & 0o6000, 0, "set-uid on the host");
}
