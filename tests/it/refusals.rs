//! What is refused is refused whole: the code says why, and nothing has changed.

use crate::docker::objects;
use crate::fleet::{Fleet, NO_SPARE};

#[test]
fn more_memory_than_the_host_has_is_refused() {
    let fleet = Fleet::new(
        "profiles: {huge: {cpus: 1, memory: 60TiB}}\npools: [{name: huge, profile: huge}]\n",
    );
    let refused = fleet.cli(&["up", "-d"]).expect_code(4);
    assert!(refused.err().contains("memory"), "{refused}");
    assert!(objects(&fleet.project).is_empty(), "something was made");
    let planned = fleet.cli(&["plan"]);
    assert!(planned.out().contains("`up` would refuse this"), "{planned}");
}

#[test]
fn an_edit_that_does_not_fit_leaves_the_fleet_as_it_was() {
    let fleet = Fleet::up(NO_SPARE);
    let before = fleet.containers();
    fleet
        .edit("profiles: {huge: {cpus: 1, memory: 60TiB}}\npools: [{name: huge, profile: huge}]\n");
    fleet.cli(&["up", "-d"]).expect_code(4);
    assert_eq!(fleet.containers(), before);
    fleet.edit("pools: [{name: light, profil: light}]\n");
    fleet.cli(&["up", "-d"]).expect_code(2).says("did you mean `profile`?");
    assert_eq!(fleet.containers(), before);
}

#[test]
fn scale_is_refused_beyond_its_bounds_and_for_unknown_pools() {
    let fleet = Fleet::up(NO_SPARE);
    let before = fleet.containers();
    fleet.cli(&["scale", "51"]).expect_code(4).says("scale_max");
    fleet.cli(&["scale", "light=51"]).expect_code(4);
    fleet.cli(&["scale", "lihgt=2"]).expect_code(6).says("did you mean `light`?");
    fleet.cli(&["scale", "many"]).expect_code(2);
    assert_eq!(fleet.containers(), before);
}

#[test]
fn a_job_that_no_pool_could_ever_run_is_refused() {
    let fleet = Fleet::up(NO_SPARE);
    let run = |option: &str, value: &str| {
        fleet.cli(&["run", "--no-workspace", option, value, "--", "true"])
    };
    run("--profile", "gpu_max").expect_code(4);
    run("--profile", "lihgt").expect_code(6).says("did you mean `light`?");
    run("--pool", "other").expect_code(6);
    run("--type", "other").expect_code(6);
    run("--lane", "other").expect_code(6);
    run("--workflow", "../../etc").expect_code(2).says("folder");
    run("--env", "=x").expect_code(2);
    run("--timeout", "soon").expect_code(2);
    assert_eq!(fleet.cli(&["jobs", "-q"]).ok().out(), "", "a refused job is no job");
}

#[test]
fn a_working_folder_beyond_the_limit_is_refused_with_the_largest_files() {
    let fleet = Fleet::up(&format!("{NO_SPARE}limits: {{workspace_max: 1MiB}}\n"));
    fleet.write("large.bin", vec![7; 2 << 20]);
    fleet.cli(&["run", "--", "true"]).expect_code(1).says("large.bin");
    fleet.cli(&["run", "--no-workspace", "--", "true"]).ok();
    fleet.write(".slateignore", "*.bin\n");
    fleet.cli(&["run", "--", "true"]).ok();
}

#[test]
fn a_name_that_another_fleet_has_is_refused() {
    let fleet = Fleet::up(NO_SPARE);
    let other = Fleet::beside("pools: []\n");
    let file = fleet.read("slate.yaml");
    other.write("slate.yaml", &file);
    let before = objects(&fleet.project);
    other.cli(&["up", "-d"]).expect_code(1).says("choose another `project:`");
    assert_eq!(objects(&fleet.project), before);
    other.cli(&["down", "-v"]);
    assert_eq!(objects(&fleet.project), before);
    assert_eq!(fleet.job("echo here").ok().word(), "here");
}

#[test]
fn an_image_that_the_engine_lacks_is_named_and_is_no_reason_to_hang() {
    let fleet = Fleet::new("image: no-such-image:1\npools: [{name: light, profile: light}]\n");
    let late = fleet.cli(&["up", "-d", "--timeout", "3s"]).expect_code(3);
    assert!(late.err().contains("no-such-image:1"), "{late}");
}
