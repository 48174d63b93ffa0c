//! SARIF 2.1.0, as static analysers write it: findings by level.
//!
//! A result without a level has that of its rule, and `warning` without one: section 3.27.10 of
//! the standard (OASIS, 2.1.0). Unknown parts are skipped, never kept.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Finding, FindingCounts, Level, first_line};

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sarif {
    pub counts: FindingCounts,
    /// The first of the worst levels.
    pub worst: Vec<Finding>,
}

#[derive(Deserialize)]
struct Document {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(default)]
    tool: Tool,
    /// Null where the tool did not get as far.
    results: Option<Vec<Outcome>>,
}

#[derive(Default, Deserialize)]
struct Tool {
    #[serde(default)]
    driver: Driver,
}

#[derive(Default, Deserialize)]
struct Driver {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    id: String,
    #[serde(rename = "defaultConfiguration", default)]
    default: Configuration,
}

#[derive(Default, Deserialize)]
struct Configuration {
    level: Option<Level>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: Option<String>,
    rule_index: Option<i64>,
    /// `fail` without one; only those have a level.
    kind: Option<String>,
    level: Option<Level>,
    #[serde(default)]
    message: Message,
    #[serde(default)]
    locations: Vec<Location>,
    #[serde(default)]
    suppressions: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Default, Deserialize)]
struct Message {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Option<PhysicalLocation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: Option<Artifact>,
    region: Option<Region>,
}

#[derive(Deserialize)]
struct Artifact {
    uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: Option<u64>,
}

/// Reads a file. At most `most` findings are told, those of the worst level first.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(bytes: &[u8], source: &str, most: usize) -> Result<Sarif, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut found = Sarif::default();
    for run in document.runs {
        let levels: BTreeMap<&str, Option<Level>> = run
            .tool
            .driver
            .rules
            .iter()
            .map(|rule| (rule.id.as_str(), rule.default.level))
            .collect();
        for result in run.results.into_iter().flatten() {
            if result.suppressions.as_ref().is_some_and(|it| !it.is_empty()) {
                found.counts.suppressed = found.counts.suppressed.saturating_add(1);
                continue;
            }
            let level = level_of(&result, &run.tool.driver.rules, &levels);
            found.count(level);
            found.worst.push(told(result, level, source));
            // Kept short on the way: a file may have a million results.
            if found.worst.len() >= 2 * most {
                found.keep(most);
            }
        }
    }
    found.keep(most);
    Ok(found)
}

impl Sarif {
    fn count(&mut self, level: Level) {
        let count = match level {
            Level::Error => &mut self.counts.error,
            Level::Warning => &mut self.counts.warning,
            Level::Note => &mut self.counts.note,
            Level::None => &mut self.counts.none,
        };
        *count = count.saturating_add(1);
    }

    fn keep(&mut self, most: usize) {
        self.worst.sort_by_key(|finding| finding.level);
        self.worst.truncate(most);
    }
}

fn level_of(result: &Outcome, rules: &[Rule], levels: &BTreeMap<&str, Option<Level>>) -> Level {
    if result.kind.as_deref().is_some_and(|kind| kind != "fail") {
        return Level::None;
    }
    let by_index = || {
        let index = usize::try_from(result.rule_index?).ok()?;
        rules.get(index)?.default.level
    };
    let by_id = || levels.get(result.rule_id.as_deref()?).copied().flatten();
    result.level.or_else(by_index).or_else(by_id).unwrap_or(Level::Warning)
}

fn told(result: Outcome, level: Level, source: &str) -> Finding {
    let place = result.locations.into_iter().find_map(|it| it.physical_location).and_then(|at| {
        let uri = first_line(&at.artifact_location?.uri?);
        Some(match at.region.and_then(|region| region.start_line) {
            Some(line) => format!("{uri}:{line}"),
            None => uri,
        })
    });
    Finding {
        level,
        rule: result.rule_id.as_deref().map(first_line),
        place,
        message: first_line(&result.message.text.unwrap_or_default()),
        source: source.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: &str = r#"{"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "ruff", "rules": [
  {"id": "E1", "defaultConfiguration": {"level": "error"}}, {"id": "N1"}]}},
"results": [
  {"ruleId": "N1", "message": {"text": "by default"}, "locations": [{"physicalLocation":
    {"artifactLocation": {"uri": "src/a.py"}, "region": {"startLine": 7}}}]},
  {"ruleId": "E1", "message": {"text": "first\nsecond"}},
  {"ruleIndex": 0, "message": {"text": "by index"}},
  {"ruleId": "E1", "level": "note", "message": {"text": "own level"}},
  {"ruleId": "E1", "kind": "pass", "message": {"text": "fine"}},
  {"ruleId": "E1", "message": {}, "suppressions": [{"kind": "inSource"}]}
]}, {"tool": {"driver": {"name": "x"}}, "results": null}]}"#;

    #[test]
    fn findings_are_counted_by_level_and_the_worst_told_first() {
        let found = read(FOUND.as_bytes(), "a.sarif", 20).expect("a SARIF file");
        let counts = FindingCounts { error: 2, warning: 1, note: 1, none: 1, suppressed: 1 };
        assert_eq!(found.counts, counts);
        let told: Vec<&str> = found.worst.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(told, ["first", "by index", "by default", "own level", "fine"]);
        let third = found.worst.get(2).expect("a third");
        assert_eq!(third.place.as_deref(), Some("src/a.py:7"));
        let fewer = read(FOUND.as_bytes(), "a.sarif", 1).expect("a SARIF file");
        assert_eq!((fewer.worst.len(), fewer.counts), (1, counts));
    }

    #[test]
    fn what_is_no_sarif_says_so() {
        for text in ["", "{}", "[]", r#"{"runs": 1}"#, &"[".repeat(100_000)] {
            assert!(read(text.as_bytes(), "a.sarif", 20).is_err(), "{text:.20}");
        }
        let bom = [b"\xef\xbb\xbf".as_slice(), br#"{"runs": []}"#].concat();
        assert_eq!(read(&bom, "a.sarif", 20), Ok(Sarif::default()));
    }
}
