//! The specification's sample machine: its report beside what is reported.

use super::spec;
use crate::capacity::document::Benchmark;
use crate::capacity::machine::{Basis, Cordons, Machine};
use crate::capacity::optimal::optimal;
use crate::capacity::report;
use crate::ids::ProfileName;
use crate::inventory::Inventory;

/// Specification 1, "Sample Benchmark Output".
const SAMPLE: &str = "\
============================================================
  SLATE Multi-Runner Benchmark Report
============================================================

System Resources:
----------------------------------------
  GPUs: 2
    GPU 0: 14,208 / 16,384 MB free (12% utilized)
    GPU 1: 15,872 / 16,384 MB free (3% utilized)
  CPU Cores: 32
  RAM: 48,256 / 65,536 MB free

Runner Capacity by Profile:
----------------------------------------
  Profile              Max    Limit    Per GPU
  -------------------- ------ -------- ---------------
  Light Runner         50     cap      [999, 999]
  Standard Runner      16     cpu      [999, 999]
  GPU Light Runner     10     gpu      [7, 7]
  GPU Heavy Runner     3      gpu      [1, 1]
  GPU Max Runner       2      gpu      [1, 1]

Optimal Configuration:
----------------------------------------
  Strategy: dual_gpu_scaled
  50-runner config: GPU 0/1 for inference, CPU pool for parallelism
  Total Runners: 50
  Parallel Workflows: 8

  Configuration:
    0: 1x gpu_heavy
    0: 4x gpu_light
    1: 6x gpu_light
    1: 4x standard
    cpu: 10x standard
    cpu: 25x light

============================================================
";

/// Each line of the sample that the formulas cannot give, what they give, and why.
const DEVIATIONS: [(&str, &str, &str); 2] = [
    (
        "  Light Runner         50     cap      [999, 999]",
        "  Light Runner         32     cpu      [999, 999]",
        "32 cores / 1 = 32 is less than the cap; the next line counts the same 32 cores",
    ),
    (
        "  GPU Heavy Runner     3      gpu      [1, 1]",
        "  GPU Heavy Runner     2      gpu      [1, 1]",
        "3 comes from pooled memory; one on each card is what can be placed, and the line's own \
         column says so",
    ),
];

fn machine() -> Machine {
    let text = include_str!("../../../config/workstation-50.inventory.json");
    let inventory: Inventory = serde_json::from_str(text).expect("the inventory that ships");
    Machine::new(&inventory, &Cordons::new())
}

fn reported() -> String {
    let (machine, spec) = (machine(), spec());
    report::full(&machine, &spec, &optimal(&machine, &spec.limits, Basis::Empty))
}

#[test]
fn the_report_is_the_specifications_but_for_two_lines() {
    let expected = DEVIATIONS.iter().fold(SAMPLE.to_owned(), |text, (said, given, _)| {
        assert!(text.contains(said), "{said}");
        text.replace(said, given)
    });
    assert_eq!(reported(), expected);
}

#[test]
fn exactly_the_documented_lines_deviate_from_the_sample() {
    let ours = reported();
    assert_eq!(ours.lines().count(), SAMPLE.lines().count());
    let pairs = SAMPLE.lines().zip(ours.lines());
    let differ: Vec<(&str, &str)> = pairs.filter(|(said, given)| said != given).collect();
    let documented: Vec<_> = DEVIATIONS.iter().map(|(said, given, _)| (*said, *given)).collect();
    assert_eq!(differ, documented);
    let page = include_str!("../../../docs/capacity.md");
    for (said, given, _) in DEVIATIONS {
        assert!(page.contains(said.trim()) && page.contains(given.trim()), "{said}");
    }
}

/// Every term of every row, for the machine as it is and when empty.
#[test]
fn every_term_of_the_sample_is_what_can_be_placed() {
    let (machine, spec) = (machine(), spec());
    let benchmark = Benchmark::new(&machine, &spec, &report::profiles(&spec), None);
    let shown: Vec<String> = benchmark
        .profiles
        .iter()
        .flat_map(|row| {
            [("now", &row.now), ("empty", &row.empty)].map(|(basis, terms)| {
                format!(
                    "{} {basis}: {:?} gpu {:?} cpu {:?} ram {:?} = {} {}",
                    row.profile,
                    terms.per_gpu.as_deref().unwrap_or_default(),
                    terms.gpu.unwrap_or_default(),
                    terms.cpu.unwrap_or_default(),
                    terms.ram.unwrap_or_default(),
                    terms.max,
                    terms.limiting.word()
                )
            })
        })
        .collect();
    let expected = [
        "light now: [] gpu 0 cpu 32 ram 94 = 32 cpu",
        "light empty: [] gpu 0 cpu 32 ram 128 = 32 cpu",
        "standard now: [] gpu 0 cpu 16 ram 47 = 16 cpu",
        "standard empty: [] gpu 0 cpu 16 ram 64 = 16 cpu",
        "gpu_light now: [7, 7] gpu 10 cpu 16 ram 23 = 10 gpu",
        "gpu_light empty: [8, 8] gpu 10 cpu 16 ram 32 = 10 gpu",
        "gpu_heavy now: [1, 1] gpu 2 cpu 8 ram 5 = 2 gpu",
        "gpu_heavy empty: [2, 2] gpu 4 cpu 8 ram 8 = 4 gpu",
        "gpu_max now: [1, 1] gpu 2 cpu 8 ram 2 = 2 gpu",
        "gpu_max empty: [1, 1] gpu 2 cpu 8 ram 4 = 2 gpu",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn the_json_has_both_readings_and_what_they_are_divided_by() {
    let (machine, spec) = (machine(), spec());
    let best = optimal(&machine, &spec.limits, Basis::Empty);
    let all = Benchmark::new(&machine, &spec, &report::profiles(&spec), Some(best));
    let json = serde_json::to_value(&all).expect("JSON");
    let light = &json["profiles"][2];
    assert_eq!(light["now"]["per_gpu"], serde_json::json!([7, 7]));
    assert_eq!((&light["now"]["sum"], &light["now"]["limiting"]), (&14.into(), &"gpu".into()));
    assert_eq!(
        (&light["basis"]["gpu_mib"], &light["basis"]["gpu_per_card"]),
        (&2000.into(), &5.into())
    );
    assert_eq!(json["profiles"][0]["now"]["per_gpu"], serde_json::Value::Null);
    let optimal = &json["optimal"];
    assert_eq!((&optimal["total_runners"], &optimal["cpu_milli"]), (&50.into(), &77_000.into()));
    assert_eq!(
        optimal["configuration"][4],
        serde_json::json!({"gpu": null, "profile": "standard", "count": 10})
    );
    assert_eq!(json["system"]["gpus"][0]["free"], 14_208);
}

#[test]
fn one_profile_shows_every_term() {
    let (machine, spec) = (machine(), spec());
    let name = ProfileName::new("gpu_light");
    let text = report::one(&machine, &spec, &name, &spec.profiles[&name]);
    let (_, rest) = text.split_once("Runner Capacity").expect("the table");
    let expected = " by Profile:
----------------------------------------
  Profile              Max    Limit    Per GPU
  -------------------- ------ -------- ---------------
  GPU Light Runner     10     gpu      [7, 7]

Terms of gpu_light:
----------------------------------------
  Term                 Now      Empty machine
  -------------------- -------- -------------
  gpu / 2,000 MiB      14       16
  gpu, 5 per card      10       10
  cpu / 2              16       16
  ram / 2GiB           23       32
  cap                  50       50
  max                  10       10

============================================================
";
    assert_eq!(rest, expected);
}
