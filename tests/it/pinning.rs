//! Each runner gets exactly its own card, proved at the last place before the hardware: what the
//! runtime hands to NVIDIA's hook. Engine, requests and containers are real; the cards are the
//! stand-in library's, and the hook writes down what it was told.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::docker::{containers, containers_at, inspect};
use crate::fleet::{Fleet, Hosts};
use crate::nvidia_engine::{IMAGE, NvidiaEngine, cdi_node};
use crate::nvml::{self, StandIn};
use crate::process::{wait_for, wait_until};

/// What the engine and the runtime may need to settle.
const SOON: Duration = Duration::from_secs(30);

/// The name of the variable that pins.
const PIN: &str = "NVIDIA_VISIBLE_DEVICES";

fn fleet_on(engine: &NvidiaEngine, cards: &StandIn, pools: &str) -> Fleet {
    let host = Some(engine.host());
    let hosts = Hosts { fleet: host.clone(), test: host };
    let file = format!("image: '{IMAGE}'\npools:\n{pools}");
    Fleet::on(hosts, &file).with_env("SLATE_NVML_LIB", cards.library())
}

fn look(fleet: &Fleet, container: &str) -> Value {
    fleet.docker(&["inspect", container]).ok().json()[0].take()
}

fn pins(env: &Value) -> Vec<&str> {
    let entries = env.as_array().expect("a list").iter().filter_map(Value::as_str);
    entries.filter(|entry| entry.starts_with(PIN)).collect()
}

const BOTH: &str = "
  - {name: heavy, profile: gpu_heavy, count: 2}
  - {name: small, profile: gpu_light, count: 2}
  - {name: cpu, profile: light, spares: 0}
";

// Pains 51 and 55: the image asks for all cards, and each runner gets its own or none.
#[test]
fn each_runner_gets_exactly_its_own_card_whatever_the_image_asks_for() {
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(2));
    let fleet = fleet_on(&engine, &cards, BOTH);
    fleet.cli(&["up", "-d"]).ok();
    let calls = engine.calls();
    let mut cards_used = Vec::new();
    for runner in fleet.runners() {
        let id = runner["container"].as_str().expect("a container");
        let made = look(&fleet, id);
        let call = calls.iter().find(|call| call.container == id);
        let Some(card) = runner["gpu"].as_u64() else {
            assert_eq!(pins(&made["Config"]["Env"]), [format!("{PIN}=void")], "{runner}");
            assert!(call.is_none(), "the hook was called for {runner}");
            continue;
        };
        let uuid = nvml::uuid(u32::try_from(card).expect("an index"));
        let call = call.expect("the hook was called");
        assert_eq!(call.last(PIN), Some(uuid.as_str()), "{runner}");
        assert_eq!(call.last("NVIDIA_DRIVER_CAPABILITIES"), Some("compute,utility"));
        let all = call.env.iter().filter(|entry| entry.starts_with(&format!("{PIN}="))).count();
        assert_eq!(all, 1, "the image's own entry is still there: {:?}", call.env);
        let ids = &made["HostConfig"]["DeviceRequests"][0]["DeviceIDs"];
        assert_eq!(ids[0], uuid.as_str());
        cards_used.push((runner["profile"].as_str().expect("a name").to_owned(), card));
    }
    cards_used.sort();
    assert_eq!(cards_used[0], ("gpu_heavy".to_owned(), 0), "{cards_used:?}");
    assert_eq!(cards_used.len(), 4, "{cards_used:?}");
}

/// How the toolkit's errors of its libraries begin.
const ERROR: &str = "nvidia-container-cli: initialization error: nvml error:";

#[test]
fn what_the_hook_says_of_the_driver_is_told_once_in_words() {
    refusals_are_told_once([
        (format!("{ERROR} driver not loaded"), "driver is not loaded"),
        (format!("{ERROR} driver/library version mismatch"), "reboot the host"),
    ]);
}

#[test]
fn what_the_hook_says_of_card_and_image_is_told_once_in_words() {
    refusals_are_told_once([
        ("nvidia-container-cli: device error: GPU-1: unknown device".to_owned(), "card is gone"),
        (
            "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=99.0, please \
             update your driver to a newer version"
                .to_owned(),
            "newer NVIDIA driver",
        ),
    ]);
}

/// Each leaves no half made container either, and the fleet comes up when the hook is well.
fn refusals_are_told_once(texts: [(String, &str); 2]) {
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(2));
    let fleet = fleet_on(&engine, &cards, "  - {name: small, profile: gpu_light, count: 4}\n");
    for (text, words) in texts {
        engine.fail(&text);
        let up = ["--progress", "quiet", "up", "-d", "--timeout", "6s"];
        let told = fleet.cli(&up).expect_code(3).err();
        assert_eq!(told.matches(words).count(), 1, "not told once: {told}");
        assert!(told.contains(&text), "the evidence is missing: {told}");
    }
    let gone = || containers_at(Some(&engine.host()), &fleet.project).is_empty();
    assert!(wait_for(SOON, gone), "containers that never started are left");
    engine.heal();
    fleet.cli(&["up", "-d"]).ok();
}

#[test]
fn a_toolkit_that_is_removed_while_the_engine_runs_is_named() {
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(1));
    engine.remove_hook();
    let fleet = fleet_on(&engine, &cards, "  - {name: small, profile: gpu_light}\n");
    let up = fleet.cli(&["up", "-d", "--timeout", "4s"]).expect_code(3);
    up.says("the NVIDIA Container Toolkit was removed");
}

#[test]
fn a_slow_hook_is_waited_for() {
    // Longer than any other answer of the engine may take.
    const SLOW: Duration = Duration::from_secs(12);
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(1));
    engine.delay(SLOW);
    let fleet = fleet_on(&engine, &cards, "  - {name: small, profile: gpu_light}\n");
    fleet.cli(&["up", "-d", "--timeout", "4s"]).expect_code(3);
    fleet.cli(&["wait", "--timeout", "40s"]).ok();
    assert_eq!(engine.calls().len(), 1, "it was started more than once");
}

// The machine's own engine has no toolkit.
#[test]
fn an_engine_without_nvidias_toolkit_says_what_to_install_and_keeps_nothing_half_made() {
    let cards = StandIn::of(2);
    let fleet = Fleet::new("pools: [{name: small, profile: gpu_light, count: 3}]\n")
        .with_env("SLATE_NVML_LIB", cards.library());
    let up = ["--progress", "quiet", "up", "-d", "--timeout", "6s"];
    let told = fleet.cli(&up).expect_code(3).err();
    assert_eq!(told.matches("install the NVIDIA Container Toolkit").count(), 1, "{told}");
    wait_until("one trouble for all three", || {
        let troubles = fleet.view()["troubles"].clone();
        let told: Vec<&str> =
            troubles.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        told.len() == 1 && told[0].contains("and 2 more")
    });
    let runner = fleet.runners()[0]["name"].as_str().expect("a name").to_owned();
    let explained = fleet.cli(&["explain", &runner]).ok().out();
    assert!(explained.contains("install the NVIDIA Container Toolkit"), "{explained}");
    let gone = || containers(&fleet.project).is_empty();
    assert!(wait_for(SOON, gone), "containers that never started are left");
}

// Pain 56.
#[test]
fn shared_memory_is_half_the_memory_private_and_gone_with_its_container() {
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(1));
    let fleet = fleet_on(&engine, &cards, "  - {name: small, profile: gpu_light}\n");
    fleet.cli(&["up", "-d"]).ok();
    let made = look(&fleet, &fleet.containers()[0]);
    assert_eq!(made["HostConfig"]["ShmSize"], 1024 * 1024 * 1024);
    assert_eq!(made["HostConfig"]["IpcMode"], "private");
    let script = "cat /proc/mounts; echo here >/dev/shm/trace; cat /dev/shm/trace";
    let job = ["run", "--no-workspace", "--profile", "gpu_light", "--", "sh", "-c"];
    let out = fleet.cli(&[&job[..], &[script]].concat()).ok().out();
    let mount = out.lines().find(|line| line.contains(" /dev/shm ")).expect("a mount");
    assert!(mount.contains("size=1048576k") && out.contains("here"), "{out}");
    let next = fleet.cli(&[&job[..], &["[ ! -e /dev/shm/trace ]"]].concat());
    assert_eq!(next.code, 0, "the next job sees what the one before left: {next}");
    assert!(!fs::exists("/dev/shm/trace").expect("a folder"), "it is the host's");
}

/// A harmless device of the host: `/dev/full` under a number that no container may use by itself
/// would be one, but all have it; `/dev/fuse` is not among the usual ones.
const HARMLESS: (u32, u32) = (10, 229);

// Pain 50: as systemd does at `daemon-reload`, the device rules are written anew without the card.
#[test]
fn a_runner_that_lost_its_card_is_replaced_and_a_job_that_fails_without_is_not_to_blame() {
    if !fs::exists("/sys/fs/cgroup/devices").expect("a folder") {
        eprintln!("SKIPPED: device rules cannot be changed by hand under control groups v2");
        return;
    }
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(1));
    engine.give_device(HARMLESS.0, HARMLESS.1);
    let fleet = fleet_on(&engine, &cards, "  - {name: small, profile: gpu_light}\n");
    fleet.cli(&["up", "-d"]).ok();
    let first = fleet.containers()[0].clone();
    revoke(&fleet, &first);
    wait_until("the idle runner is replaced", || fleet.containers()[0] != first);
    fleet.cli(&["wait"]).ok();
    let told = fleet.events().join("\n");
    assert!(told.contains("the host took /dev/nvidia0 from its container"), "{told}");

    let second = fleet.containers()[0].clone();
    let script = "until ! true 2>/dev/null </dev/nvidia0; do sleep 0.1; done; exit 1";
    let head = ["--profile", "gpu_light", "--retries", "0"];
    let job = fleet.submit_with(&head, script);
    fleet.wait_for_status(&job, "running");
    revoke(&fleet, &second);
    fleet.wait_for_status(&job, "lost");
    let shown = fleet.show(&job);
    assert_eq!(shown["attempts"][0]["end"]["fault"], "infrastructure", "{shown}");
}

/// Takes the device from a container that runs.
fn revoke(fleet: &Fleet, container: &str) {
    let pid = look(fleet, container)["State"]["Pid"].to_string();
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
    let group = groups.lines().find_map(|line| line.split_once(":devices:")).expect("a group").1;
    let rule = format!("c {}:{} rwm", HARMLESS.0, HARMLESS.1);
    fs::write(format!("/sys/fs/cgroup/devices{group}/devices.deny"), rule).expect("revoked");
}

// An engine with CDI is asked by name of its own accord, and what the name stands for is inside.
#[test]
fn where_the_engine_lists_a_card_by_name_it_is_asked_for_by_name() {
    let cards = StandIn::of(2);
    let Some(engine) = NvidiaEngine::with_cdi(&[nvml::uuid(0)]) else { return };
    let fleet = fleet_on(&engine, &cards, "  - {name: heavy, profile: gpu_heavy}\n");
    fleet.cli(&["up", "-d"]).ok();
    let made = look(&fleet, &fleet.containers()[0]);
    let request = &made["HostConfig"]["DeviceRequests"][0];
    assert_eq!(request["Driver"], "cdi", "{request}");
    assert_eq!(request["DeviceIDs"][0], format!("nvidia.com/gpu={}", nvml::uuid(0)));
    let node = cdi_node(&nvml::uuid(0));
    let nodes = fleet.docker(&["exec", &fleet.containers()[0], "sh", "-c", "echo /dev/nvidia*"]);
    assert_eq!(nodes.ok().word(), node, "another card is inside");
    let job = ["run", "--no-workspace", "--profile", "gpu_heavy", "--", "stat", &node];
    assert!(fleet.cli(&job).ok().out().contains("character special"));

    // The second card has no name there: by name alone it is refused, in words.
    fleet.edit(&format!(
        "image: '{IMAGE}'\ngpu: {{request: cdi}}\npools:\n  - {{name: heavy, profile: gpu_heavy, \
         count: 2}}\n"
    ));
    let up = ["--progress", "quiet", "up", "-d", "--timeout", "6s"];
    let refused = fleet.cli(&up).expect_code(3);
    refused.says("nvidia-ctk cdi generate").says(&nvml::uuid(1));
}

// Pain 54 on the real engine: what is inspected is what the profile says, or there is no runner.
#[test]
fn what_the_engine_made_is_what_was_asked_for() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, spares: 0}]\n");
    let made = inspect(&fleet.containers()[0]);
    assert_eq!(pins(&made["Config"]["Env"]), [format!("{PIN}=void")]);
    assert_eq!(made["HostConfig"]["DeviceRequests"], Value::Null);
}
