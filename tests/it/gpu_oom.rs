//! Out of GPU memory: the engine is real and is asked for cards, the jobs and their output are
//! real, their processes are found by their real numbers; only what the cards say is a stand-in's.

use serde_json::{Value, json};

use crate::fleet::{Fleet, GATE, Hosts};
use crate::nvidia_engine::{IMAGE, NvidiaEngine};
use crate::nvml::{self, StandIn};
use crate::process::wait_until;

/// What `PyTorch` prints.
const WORDS: &str = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB";

/// A fleet whose engine and cards are these.
fn fleet(engine: &NvidiaEngine, cards: &StandIn, downgrade_for: &str) -> Fleet {
    let host = Some(engine.host());
    let content = format!(
        "image: {IMAGE}\nlimits: {{overcommit: {{memory: true}}}}\n\
         gpu: {{downgrade_for: {downgrade_for}, oom_patterns: [arena exhausted]}}\n\
         pools:\n  - {{name: heavy, profile: gpu_heavy, count: 1}}\n  \
         - {{name: max, profile: gpu_max, count: 1}}\n"
    );
    let fleet = Fleet::on(Hosts { fleet: host.clone(), test: host }, &content)
        .with_env("SLATE_NVML_LIB", cards.library());
    fleet.cli(&["up", "-d"]).ok();
    fleet
}

fn runner(fleet: &Fleet, pool: &str) -> Value {
    let runners = fleet.runners();
    runners.into_iter().find(|it| it["pool"] == pool).expect("the pool has a runner")
}

fn has(text: &Value, words: &str) -> bool {
    text.as_str().is_some_and(|text| text.contains(words))
}

/// The job has 7,500 MiB of the first card until it goes on, and to its end.
fn fill_and_go_on(engine: &NvidiaEngine, cards: &StandIn, (fleet, container): (&Fleet, &str)) {
    cards.add_process(0, engine.process_in(container, "until ["), 7500);
    cards.change_card(0, |card| card["used"] = json!(7600));
    wait_until("the use of the card is read", || {
        fleet.view()["gpus"]["cards"][0]["processes"][0]["memory"] == 7500
    });
    assert!(engine.docker(&["exec", container, "touch", "/tmp/go"]).status.success());
    wait_until("the container is gone", || !engine.docker(&["top", container]).status.success());
    cards.change_card(0, |card| {
        card["processes"] = json!([]);
        card["used"] = json!(0);
    });
}

#[test]
fn a_job_that_ran_out_of_gpu_memory_gets_more_and_its_slot_less_for_a_while() {
    let engine = NvidiaEngine::start();
    let cards = StandIn::of(2);
    let fleet = fleet(&engine, &cards, "10m");
    let own = runner(&fleet, "heavy");
    let container = own["container"].as_str().expect("it is there").to_owned();
    let script = format!("[ $SLATE_ATTEMPT = 2 ] && exit 0; {GATE}; echo '{WORDS}' >&2; exit 1");
    let options = ["--profile", "gpu_heavy", "--retry-on", "oom"];
    let job = fleet.submit_with(&options, &script);
    fleet.wait_for_status(&job, "running");
    fill_and_go_on(&engine, &cards, (&fleet, &container));
    fleet.wait_for_status(&job, "succeeded");

    let shown = fleet.show(&job);
    let first = &shown["attempts"][0]["end"];
    assert_eq!((&first["status"], &first["exit_code"]), (&json!("oom"), &json!(1)), "{shown:#}");
    assert_eq!(first["fault"], "job");
    assert!(has(&first["reason"], &format!("out of GPU memory: {WORDS} (it held 7500 of 8000")));
    assert_eq!(shown["attempts"][1]["runner_name"], runner(&fleet, "max")["name"]);
    assert_eq!(
        (&shown["profile"], &shown["raised"]["from"]),
        (&json!("gpu_max"), &json!("gpu_heavy"))
    );

    let lighter = runner(&fleet, "heavy");
    assert_eq!(lighter["profile"], "gpu_light", "{lighter:#}");
    assert_eq!(lighter["last_failure"]["status"], "oom");
    let name = lighter["name"].as_str().expect("a name").to_owned();
    let listed = fleet.cli(&["ps"]).ok();
    assert!(listed.out().contains("gpu_light instead of gpu_heavy for"), "{listed}");
    let explain = |name: &str| fleet.cli(&["explain", name, "--format", "json"]).ok().json();
    let newest = explain(&name)["post_mortems"][0].clone();
    assert_eq!(newest["cause"], "oom_gpu", "{newest:#}");
    let evidence = &newest["gpu_oom"];
    assert_eq!((&evidence["line"], &evidence["certainty"]), (&json!(WORDS), &json!("certain")));
    assert_eq!(evidence["measured"]["peak"], 7500);
    fleet.cli(&["wait"]).ok();
    let planned = fleet.cli(&["plan"]).ok();
    assert!(!planned.out().contains("recreate"), "{planned}");

    // An operator who knows better need not wait for the end of the time.
    fleet.cli(&["resume", &name]).ok();
    wait_until("the slot has its own profile again", || {
        let it = runner(&fleet, "heavy");
        it["profile"] == "gpu_heavy" && it["status"] == "idle"
    });
    let events = fleet.events();
    for what in ["downgraded for 10m", "profile restored"] {
        assert!(events.iter().any(|event| event.contains(what)), "{what}: {events:#?}");
    }
    // The engine was asked for the slot's own card each time, and for no other.
    let cards: Vec<String> = (0..2).map(nvml::uuid).collect();
    let asked = |call: &crate::nvidia_engine::HookCall| {
        call.last("NVIDIA_VISIBLE_DEVICES").map(str::to_owned)
    };
    let asked: Vec<_> = engine.calls().iter().filter_map(asked).collect();
    assert!(asked.len() >= 5 && asked.iter().all(|card| cards.contains(card)), "{asked:?}");
}

#[test]
fn red_jobs_handled_shortages_and_own_words_are_told_apart() {
    let engine = NvidiaEngine::start();
    let cards = StandIn::of(2);
    let fleet = fleet(&engine, &cards, "false");
    let run = |script: &str| {
        let job = fleet.submit_with(&["--pool", "heavy"], script);
        wait_until("it is over", || !fleet.show(&job)["ended_at"].is_null());
        let shown = fleet.show(&job);
        (shown["status"].as_str().expect("a word").to_owned(), shown["reason"].clone())
    };
    assert_eq!(run("echo it is red; exit 1").0, "failed");
    let handled = format!("echo '{WORDS}'; echo smaller batches; exit 0");
    assert_eq!(run(&handled).0, "succeeded");
    let far = format!(
        "echo '{WORDS}'; n=0; while [ $n -lt 3000 ]; do n=$((n+1)); \
                       echo a line of thirty characters $n; done; exit 1"
    );
    assert_eq!(run(&far).0, "failed", "it was said more than 64 KiB before the end");
    let (status, why) = run("echo 'Arena EXHAUSTED on device' >&2; exit 3");
    assert_eq!(status, "oom");
    assert!(has(&why, "out of GPU memory: Arena EXHAUSTED on device"), "{why}");
    assert_eq!(runner(&fleet, "heavy")["profile"], "gpu_heavy", "downgrades are off");
    let events = fleet.events();
    assert!(!events.iter().any(|event| event.contains("downgraded")), "{events:#?}");
}
