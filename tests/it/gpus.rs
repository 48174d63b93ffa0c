//! The cards of a fleet as its user sees them: who leases and who uses what, and what a sick one
//! does. Engine, containers and processes are real; what the cards say is a stand-in's.

use serde_json::{Value, json};

use crate::fleet::{Fleet, GATE, Hosts};
use crate::http::over_socket;
use crate::nvidia_engine::{IMAGE, NvidiaEngine};
use crate::nvml::{self, StandIn};
use crate::process::wait_until;

/// A fleet that is up on this engine with these cards.
fn up(engine: &NvidiaEngine, cards: &StandIn, pools: &str) -> Fleet {
    let host = Some(engine.host());
    let hosts = Hosts { fleet: host.clone(), test: host };
    let file = format!("image: '{IMAGE}'\npools:\n{pools}");
    let fleet = Fleet::on(hosts, &file).with_env("SLATE_NVML_LIB", cards.library());
    fleet.cli(&["up", "-d"]).ok();
    fleet
}

/// A card as `gpus --format json` tells it.
fn card(fleet: &Fleet, index: usize) -> Value {
    fleet.cli(&["gpus", "--format", "json"]).ok().json()["gpus"][index].take()
}

/// The runner of a fleet that has one.
fn only_runner(fleet: &Fleet) -> Value {
    fleet.runners().first().cloned().unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Names of the runners that hold leases on a card, and what each reserved.
fn leases(card: &Value) -> Vec<(String, u64)> {
    let leases = card["leases"].as_array().expect("a list").iter();
    let mut leases: Vec<_> = leases
        .map(|it| (text(it, "name").to_owned(), it["reserved"].as_u64().expect("MiB")))
        .collect();
    leases.sort();
    leases
}

const HEAVY: &str = "  - {name: heavy, profile: gpu_heavy, spares: 0}\n";

#[test]
fn who_leases_what_is_the_same_in_every_form() {
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(2));
    let pools = format!("{HEAVY}  - {{name: small, profile: gpu_light, count: 4}}\n");
    let fleet = up(&engine, &cards, &pools);
    let runners = fleet.runners();
    let by_card = |card: u64| {
        let on = runners.iter().filter(|it| it["gpu"] == card);
        let size = |it: &Value| if it["pool"] == "heavy" { 8000 } else { 2000 };
        let mut held: Vec<_> = on.map(|it| (text(it, "name").to_owned(), size(it))).collect();
        held.sort();
        held
    };
    assert_eq!((by_card(0).len(), by_card(1).len()), (3, 2), "{runners:#?}");

    let json = fleet.cli(&["gpus", "--format", "json"]).ok().json();
    let served = over_socket(&fleet.path(".slate/api.sock"), "/api/v1/gpus").json();
    for (index, committed) in [(0, 12_000), (1, 4000)] {
        let shown = &json["gpus"][index as usize];
        assert_eq!(leases(shown), by_card(index), "{shown:#}");
        assert_eq!(leases(&served["cards"][index as usize]), by_card(index));
        assert_eq!(text(shown, "uuid"), nvml::uuid(u32::try_from(index).expect("an index")));
        assert_eq!((&shown["memory"], &shown["committed"]), (&json!(16_384), &json!(committed)));
        assert_eq!(shown["headroom"], 16_384 - 300 - committed, "{shown:#}");
    }
    let table = fleet.cli(&["gpus"]).ok().lines();
    assert_eq!(table.len(), 3, "{table:#?}");
    assert!(table[1].contains("NVIDIA Stand-in 16GB") && table[0].contains("LEASES"), "{table:?}");
    let map = fleet.cli(&["gpus", "--map"]).ok().out();
    for words in
        ["gpu_heavy", "8 GB reserved", "4 GB reserved (2x gpu_light)", "3 GB free", "11 GB free"]
    {
        assert!(map.contains(words), "{words} is missing:\n{map}");
    }
    // What it prints is a machine that can be planned for elsewhere.
    fleet.write("box.json", json.to_string());
    let planned = fleet.cli(&["gpus", "--inventory", "box.json"]).ok().lines();
    assert_eq!(planned.len(), 3, "{planned:#?}");
}

#[test]
fn a_process_on_a_card_is_its_runners_and_what_is_nobodys_is_foreign() {
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(1));
    let fleet = up(&engine, &cards, "  - {name: small, profile: gpu_light, spares: 0}\n");
    let runner = only_runner(&fleet);
    let (name, container) = (text(&runner, "name"), text(&runner, "container"));
    let job = fleet.submit_with(&["--profile", "gpu_light"], GATE);
    fleet.wait_for_status(&job, "running");
    let pid = engine.process_in(container, "until [");
    cards.add_process(0, pid, 900);
    cards.add_process(0, std::process::id(), 400);
    cards.change_card(0, |card| card["used"] = json!(1300));

    let mut shown = Value::Null;
    wait_until("the processes are read", || {
        shown = card(&fleet, 0);
        shown["foreign"] == 400 && shown["leases"][0]["used"] == 900
    });
    let processes = shown["processes"].as_array().expect("a list");
    let of = |pid: u32| processes.iter().find(|it| it["pid"] == pid).expect("the process");
    let own = of(pid);
    assert_eq!((text(own, "runner"), text(own, "container")), (name, container), "{own:#}");
    assert_eq!(own["memory"], 900);
    assert_eq!(of(std::process::id())["runner"], Value::Null);
    assert_eq!(leases(&shown), [(name.to_owned(), 2000)]);
    // What it reserved counts, for it is more than what it has; 1 % of the card for others' growth.
    assert_eq!(shown["headroom"], 16_384 - 300 - 2000 - 400 - 163, "{shown:#}");
    let wide = fleet.cli(&["gpus", "--format", "wide"]).ok().lines();
    let line = wide.iter().find(|line| line.contains(&pid.to_string())).expect("a line");
    assert!(line.contains(name) && line.contains(&container[..12]), "{line}");
    assert!(fleet.docker(&["exec", container, "touch", "/tmp/go"]).ok().out().is_empty());
    fleet.wait_for_status(&job, "succeeded");
}

#[test]
fn a_card_with_a_fatal_xid_is_left_by_its_idle_runner_until_it_is_resumed() {
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(2));
    let fleet = up(&engine, &cards, HEAVY);
    let first = only_runner(&fleet);
    assert_eq!(first["gpu"], 0, "{first:#}");
    let moved_to = |index: u32| {
        wait_until("the runner is on the other card", || {
            let it = only_runner(&fleet);
            it["gpu"] == index && it["status"] == "idle"
        });
        let it = only_runner(&fleet);
        let calls = engine.calls();
        let call = calls.iter().find(|call| call.container == text(&it, "container"));
        let pinned = call.expect("it was started").last("NVIDIA_VISIBLE_DEVICES");
        assert_eq!(pinned, Some(nvml::uuid(index).as_str()), "{it:#}");
        it
    };
    cards.raise_xid(0, 79);
    let second = moved_to(1);
    assert_ne!(first["container"], second["container"]);
    let mut sick = card(&fleet, 0);
    assert!(text(&sick, "cordon").contains("Xid 79: the card is lost"), "{sick:#}");
    assert_eq!(sick["last_xid"]["xid"], 79);
    wait_until("nothing is held of it", || {
        sick = card(&fleet, 0);
        leases(&sick).is_empty()
    });
    assert_eq!(card(&fleet, 1)["cordon"], Value::Null, "a healthy card is cordoned, too");
    let map = fleet.cli(&["gpus", "--map"]).ok().out();
    assert!(map.contains("cordoned: its driver reported Xid 79"), "{map}");

    fleet.cli(&["resume", "--gpu", "0"]).ok();
    assert_eq!(card(&fleet, 0)["cordon"], Value::Null);
    fleet.cli(&["cordon", "--gpu", "1"]).ok();
    moved_to(0);
    let events = fleet.events();
    for what in [format!("gpu {} cordoned", nvml::uuid(0)), "uncordoned".to_owned()] {
        assert!(events.iter().any(|event| event.contains(&what)), "{what}: {events:#?}");
    }
}

#[test]
fn a_job_on_a_card_with_a_fatal_xid_is_tried_again_on_another() {
    let (engine, cards) = (NvidiaEngine::start(), StandIn::of(2));
    let fleet = up(&engine, &cards, HEAVY);
    let script = format!("[ $SLATE_ATTEMPT = 2 ] && exit 0; {GATE}");
    let job = fleet.submit_with(&["--profile", "gpu_heavy"], &script);
    fleet.wait_for_status(&job, "running");
    cards.raise_xid(0, 79);
    fleet.wait_for_status(&job, "succeeded");
    let shown = fleet.show(&job);
    let first = &shown["attempts"][0]["end"];
    assert_eq!(first["fault"], "infrastructure", "{shown:#}");
    assert!(text(first, "reason").contains("Xid 79"), "{first:#}");
    let calls = engine.calls();
    let on = |uuid: String| {
        calls.iter().filter(|call| call.last("NVIDIA_VISIBLE_DEVICES") == Some(&uuid)).count()
    };
    assert_eq!(on(nvml::uuid(0)), 1, "something was started on the card that is lost");
    assert!(on(nvml::uuid(1)) >= 1);
}
