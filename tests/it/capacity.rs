//! How many runners fit: `benchmark`, the fleet that `init` writes, and what `plan` refuses.

use std::path::PathBuf;

use crate::fleet::{Fleet, NO_SPARE};

fn inventory() -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("config/workstation-50.inventory.json").display().to_string()
}

/// Two cards, of which others have taken nearly all.
const TAKEN: &str = r#"{"cpus": 32, "memory": 68719476736, "gpus": [
    {"index": 0, "uuid": "GPU-0", "name": "a card", "memory": 16384, "used": 15000},
    {"index": 1, "uuid": "GPU-1", "name": "a card", "memory": 16384, "used": 11000}]}"#;

#[test]
fn the_benchmark_is_the_page_of_the_specification() {
    let fleet = Fleet::new(NO_SPARE);
    let page = fleet.cli(&["benchmark", "--inventory", &inventory()]).ok().out();
    let rule = "=".repeat(60);
    assert!(
        page.starts_with(&format!("{rule}\n  SLATE Multi-Runner Benchmark Report\n{rule}\n\n"))
    );
    assert!(page.contains("    GPU 0: 14,208 / 16,384 MB free (12% utilized)\n"), "{page}");
    assert!(page.contains("  GPU Light Runner     10     gpu      [7, 7]\n"), "{page}");
    assert!(page.contains("  Total Runners: 50\n  Parallel Workflows: 8\n"), "{page}");
    let layout = "    0: 1x gpu_heavy\n    0: 4x gpu_light\n    1: 6x gpu_light\n    1: 4x \
                  standard\n    cpu: 10x standard\n    cpu: 25x light\n";
    assert!(page.ends_with(&format!("{layout}\n{rule}\n")), "{page}");
    let json = fleet.cli(&["benchmark", "--json", "--inventory", &inventory()]).ok().json();
    assert_eq!(json["optimal"]["strategy"], "dual_gpu_scaled");
    assert_eq!(json["profiles"][3]["now"]["max"], 2);
    assert_eq!(json["profiles"][3]["empty"]["max"], 4);
}

#[test]
fn the_benchmark_of_this_machine_needs_no_fleet_and_shows_own_profiles() {
    let fleet = Fleet::new(
        "profiles: {replay: {cpus: 1, memory: 1GiB}}\npools: [{name: a, profile: replay}]\n",
    );
    let page = fleet.cli(&["benchmark"]).ok().out();
    assert!(page.contains("  CPU Cores: ") && page.contains("\n  Replay Runner  "), "{page}");
    let one = fleet.cli(&["benchmark", "--profile", "replay"]).ok().out();
    assert!(one.contains("Terms of replay:") && !one.contains("Optimal"), "{one}");
    fleet.cli(&["benchmark", "--profile", "replai"]).expect_code(6).says("did you mean `replay`?");
    std::fs::remove_file(fleet.path("slate.yaml")).expect("it is there");
    let page = fleet.cli(&["benchmark"]).ok().out();
    assert!(page.contains("  GPU Max Runner  ") && !page.contains("Replay"), "{page}");
    fleet.write("box.json", "{\"cpus\": 0");
    fleet.cli(&["benchmark", "--inventory", "box.json"]).expect_code(2).says("should look like");
}

#[test]
fn what_init_writes_for_this_machine_comes_up() {
    for extra in [&[][..], &["--minimal"][..]] {
        let fleet = Fleet::new(NO_SPARE);
        let shown = fleet.cli(&["benchmark", "--json"]).ok().json();
        fleet.cli(&[&["init", "--force"], extra].concat()).ok();
        // Only the project is the test's own.
        let project = format!("project: {}", fleet.project);
        let file = fleet.read("slate.yaml").replacen("project: slate", &project, 1);
        fleet.write("slate.yaml", file);
        fleet.cli(&["plan"]).expect_code(10);
        fleet.cli(&["up", "-d"]).ok();
        let runners = fleet.runners();
        assert!(runners.iter().all(|it| it["status"] == "idle"), "{runners:?}");
        let total =
            if extra.is_empty() { shown["optimal"]["total_runners"].as_u64() } else { None };
        assert!(total.is_none_or(|total| total == runners.len() as u64), "{shown} {runners:?}");
        assert_eq!(fleet.job("echo it works").ok().out(), "it works\n");
    }
}

#[test]
fn init_writes_the_fleet_of_another_machine_and_plan_places_it() {
    let fleet = Fleet::new(NO_SPARE);
    let inventory = inventory();
    fleet.cli(&["-f", "big.yaml", "init", "--inventory", &inventory]).ok();
    let planned = fleet.cli(&["-f", "big.yaml", "plan", "--inventory", &inventory]);
    let page = planned.expect_code(10).out();
    assert!(page.contains("Plan: 50 to create"), "{page}");
    assert!(page.contains("vram: accounted\n"), "{page}");
    fleet.write("empty.json", fleet_of_empty_cards());
    let planned = fleet.cli(&["-f", "big.yaml", "plan", "--inventory", "empty.json"]);
    let page = planned.expect_code(10).out();
    assert!(page.contains("GPU 0: 16,000 of 16,384 MiB: 1 gpu_heavy, 4 gpu_light\n"), "{page}");
    assert!(page.contains("GPU 1: 12,000 of 16,384 MiB: 6 gpu_light\n"), "{page}");
}

fn fleet_of_empty_cards() -> String {
    TAKEN.replace("15000", "0").replace("11000", "0")
}

#[test]
fn cards_that_others_use_are_left_to_them() {
    let fleet = Fleet::new(NO_SPARE);
    fleet.write("taken.json", TAKEN);
    let told = fleet.cli(&["-f", "taken.yaml", "init", "--inventory", "taken.json"]).ok();
    assert!(told.err().contains("GPU 1 has 5,384 of 16,384 MiB free now"), "{told}");
    let planned = fleet.cli(&["-f", "taken.yaml", "plan", "--inventory", "taken.json"]);
    let page = planned.expect_code(10).out();
    assert!(page.contains("GPU 0: 0 of 16,384 MiB: no runner\n"), "{page}");
    assert!(page.contains("GPU 1: 4,000 of 16,384 MiB: 2 gpu_light\n"), "{page}");
}

#[test]
fn a_fleet_that_does_not_fit_is_refused_with_what_is_missing() {
    let fleet = Fleet::new("pools: [{name: max, profile: gpu_max, count: 3}]\n");
    let planned = fleet.cli(&["plan", "--inventory", &inventory()]).expect_code(4);
    let page = planned.out();
    assert!(page.contains("`up` would refuse this") && page.contains("gpu_max"), "{page}");
    let json = fleet.cli(&["plan", "--format", "json", "--inventory", &inventory()]);
    let json = json.expect_code(4).json();
    assert!(json["refusal"].as_str().is_some_and(|it| it.contains("14,000")), "{json}");
}
