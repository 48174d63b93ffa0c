//! `.slate_runners.json`: the file of specification 1 beside the fleet file. The supervisor writes
//! it; its options are read, and hold where the fleet file does not say otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::Limits;
use super::diagnostic::{Diagnostics, Findings, Span};
use crate::ids::SlotId;

/// The file's name in a folder with one fleet.
pub const RUNNERS_FILE: &str = ".slate_runners.json";

/// The file of one fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnersFile {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// What it asks for.
    pub options: RunnersOptions,
}

/// What the file asks for; specification 1, "Configuration Options".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RunnersOptions {
    /// Most distinct workflow runs at a time.
    pub max_parallel_workflows: Option<u32>,
    /// A job's timeout where it names none, in minutes.
    pub task_timeout_minutes: Option<u32>,
    /// Most runners.
    pub scale_max: Option<u32>,
    /// The runners of each card, by its index; none is "auto".
    pub gpu_reservation: Option<BTreeMap<u32, Vec<SlotId>>>,
}

impl RunnersOptions {
    /// What is wrong with options that were not read from the file: key, message, help.
    pub(super) fn troubles(&self) -> Vec<(&'static str, String, String)> {
        let mut troubles: Vec<_> = [
            (PARALLEL, self.max_parallel_workflows),
            (TIMEOUT, self.task_timeout_minutes),
            (SCALE, self.scale_max),
        ]
        .into_iter()
        .filter_map(|(option, number)| {
            let (message, help) = option.trouble(number?)?;
            Some((option.key, message, help))
        })
        .collect();
        let mut seen = BTreeSet::new();
        let mut runners = self.gpu_reservation.iter().flat_map(BTreeMap::values).flatten();
        if let Some(twice) = runners.find(|runner| !seen.insert(**runner)) {
            let help = "name each runner once".to_owned();
            troubles.push(("gpu_reservation", format!("`{twice}` is on two GPUs"), help));
        }
        troubles
    }

    /// The bounds of a fleet whose own file says nothing of them.
    #[must_use]
    pub fn over(&self, defaults: Limits) -> Limits {
        let minutes = |minutes: u32| Duration::from_secs(u64::from(minutes) * 60);
        Limits {
            max_parallel_workflows: self
                .max_parallel_workflows
                .unwrap_or(defaults.max_parallel_workflows),
            task_timeout: self.task_timeout_minutes.map_or(defaults.task_timeout, minutes),
            scale_max: self.scale_max.unwrap_or(defaults.scale_max),
            ..defaults
        }
    }
}

/// An option that is a number from 1 on.
#[derive(Clone, Copy)]
struct Number {
    key: &'static str,
    most: u32,
}

const PARALLEL: Number = Number { key: "max_parallel_workflows", most: 10_000 };
/// Thirty days, as for `limits.task_timeout`.
const TIMEOUT: Number = Number { key: "task_timeout_minutes", most: 43_200 };
const SCALE: Number = Number { key: "scale_max", most: 10_000 };

impl Number {
    /// Why a number cannot be the option's, and what would be right.
    fn trouble(self, number: u32) -> Option<(String, String)> {
        let Self { key, most } = self;
        (number == 0 || number > most)
            .then(|| (format!("`{key}` is {number}"), format!("write a number from 1 to {most}")))
    }
}

/// The file's own form. Of the runners in it nothing is read: they are what the fleet wrote.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default, rename = "runners")]
    _runners: Vec<IgnoredAny>,
    #[serde(default)]
    max_parallel_workflows: Option<u32>,
    #[serde(default)]
    task_timeout_minutes: Option<u32>,
    #[serde(default)]
    scale_max: Option<u32>,
    #[serde(default)]
    gpu_reservation: Option<Reservation>,
    #[serde(default, rename = "updated_at")]
    _updated_at: Option<String>,
}

/// "auto", or the runners of each card.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reservation {
    Word(String),
    Cards(BTreeMap<String, Vec<String>>),
}

/// Reads the options of the file.
///
/// # Errors
/// Everything that is wrong with it, with its place.
pub fn read_runners_file(path: &str, text: &str) -> Result<RunnersOptions, Diagnostics> {
    let mut findings = Findings::default();
    let options = read((0, text), &mut findings);
    match options {
        Some(options) if !findings.has_errors() => Ok(options),
        Some(_) | None => Err(findings.into_diagnostics(&[(path, text)])),
    }
}

/// Reads the options of the file, which is the `file`th of those that findings name.
pub(super) fn read((file, text): (usize, &str), findings: &mut Findings) -> Option<RunnersOptions> {
    let raw: Raw = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let span = Span { file, line: error.line(), column: error.column(), width: 1 };
            let whole = error.to_string();
            // The place is shown with the line of text.
            let what = whole.split(" at line ").next().unwrap_or_default();
            findings
                .error(span, format!("the runners' file cannot be used: {what}"))
                .help("mend it, or remove it: the fleet writes it anew");
            return None;
        }
    };
    let mut check = Check { file, text, findings };
    Some(RunnersOptions {
        max_parallel_workflows: check.number(PARALLEL, raw.max_parallel_workflows),
        task_timeout_minutes: check.number(TIMEOUT, raw.task_timeout_minutes),
        scale_max: check.number(SCALE, raw.scale_max),
        gpu_reservation: raw.gpu_reservation.and_then(|it| check.reservation(it)),
    })
}

struct Check<'a> {
    file: usize,
    text: &'a str,
    findings: &'a mut Findings,
}

impl Check<'_> {
    fn number(&mut self, option: Number, number: Option<u32>) -> Option<u32> {
        let number = number?;
        if let Some((what, help)) = option.trouble(number) {
            self.findings.error(self.place(&format!("\"{}\"", option.key)), what).help(help);
        }
        Some(number)
    }

    fn reservation(&mut self, it: Reservation) -> Option<BTreeMap<u32, Vec<SlotId>>> {
        let cards = match it {
            Reservation::Word(word) if word == "auto" => return None,
            Reservation::Word(word) => {
                self.wrong(&word, "is no reservation of GPUs");
                return None;
            }
            Reservation::Cards(cards) => cards,
        };
        let mut reserved: BTreeMap<u32, Vec<SlotId>> = BTreeMap::new();
        for (card, runners) in cards {
            let Ok(index) = card.parse() else {
                self.wrong(&card, "is no index of a GPU");
                continue;
            };
            let mut ids = Vec::new();
            for runner in runners {
                match runner.parse::<SlotId>() {
                    Ok(id) if !reserved.values().flatten().chain(&ids).any(|it| *it == id) => {
                        ids.push(id);
                    }
                    Ok(_) => self.wrong(&runner, "is on two GPUs"),
                    Err(_) => self.wrong(&runner, "is no runner's id"),
                }
            }
            reserved.insert(index, ids);
        }
        Some(reserved).filter(|it| it.values().any(|ids| !ids.is_empty()))
    }

    fn wrong(&mut self, word: &str, what: &str) {
        let span = self.place(&format!("\"{word}\""));
        self.findings.error(span, format!("`{word}` {what}")).help(
            "`gpu_reservation` is \"auto\", or {\"0\": [\"runner-001\"]}: runners by the index of \
             their GPU",
        );
    }

    /// The last place of a word: keys come after the runners that the fleet wrote.
    fn place(&self, word: &str) -> Span {
        let at = self.text.rfind(word).unwrap_or(0);
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = self.text.get(start..at).unwrap_or_default().chars().count() + 1;
        Span { file: self.file, line, column, width: word.chars().count() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own sample, with the options that it only lists.
    const SAMPLE: &str = r#"{
  "runners": [
    {
      "id": "runner-001",
      "name": "slate-gpu-heavy-01",
      "profile": "gpu_heavy",
      "gpu_id": 0,
      "status": "idle",
      "current_task": null,
      "tasks_completed": 0
    }
  ],
  "max_parallel_workflows": 4,
  "task_timeout_minutes": 45,
  "scale_max": 60,
  "gpu_reservation": {
    "0": ["runner-001"],
    "1": ["runner-002", "runner-003", "runner-004"]
  },
  "updated_at": "2026-02-08T12:00:00Z"
}"#;

    #[test]
    fn the_specifications_sample_is_read() {
        let options = read_runners_file("x", SAMPLE).expect("it is the specification's");
        let cards =
            BTreeMap::from([(0, vec![SlotId(1)]), (1, vec![SlotId(2), SlotId(3), SlotId(4)])]);
        let expected = RunnersOptions {
            max_parallel_workflows: Some(4),
            task_timeout_minutes: Some(45),
            scale_max: Some(60),
            gpu_reservation: Some(cards),
        };
        assert_eq!(options, expected);
        let auto = r#"{"gpu_reservation": "auto"}"#;
        assert_eq!(read_runners_file("x", auto), Ok(RunnersOptions::default()));
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_place() {
        let cut: String = SAMPLE.chars().take(120).collect();
        let table = [
            (cut.as_str(), ":7:5"),
            ("", ":1:"),
            ("{\"max_paralel_workflows\": 8}", ":1:"),
            ("{\n  \"scale_max\": 0\n}", ":2:3"),
            ("{\n  \"scale_max\": -1\n}", ":2:17"),
            ("{\"task_timeout_minutes\": 99999}", ":1:2"),
            ("{\"gpu_reservation\": \"manual\"}", ":1:21"),
            ("{\"gpu_reservation\": {\"a\": []}}", ":1:22"),
            ("{\"gpu_reservation\": {\"0\": [\"runner-x\"]}}", ":1:28"),
            (
                "{\"gpu_reservation\": {\"0\": [\"runner-001\"], \"1\": [\"runner-001\"]}}",
                "is on two",
            ),
        ];
        for (text, told) in table {
            let error = read_runners_file(".slate_runners.json", text).expect_err(text);
            let error = error.to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
