//! What `compose/monitoring` asks of this page: only metrics and labels that exist, and files that
//! fit together. Prometheus itself reads the expressions in `tests/it/monitoring.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{ALL, Kind};

/// What Prometheus adds to each sample.
const OF_TARGETS: [&str; 2] = ["instance", "job"];

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/monitoring").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboard() -> Value {
    serde_json::from_str(&shipped("grafana/dashboards/slate-fleet.json")).expect("JSON")
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

fn word<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// The labels of a metric or of a histogram's series; none if there is no such metric.
fn labels(series: &str) -> Option<BTreeSet<&'static str>> {
    let all = |labels: &'static [&'static str]| labels.iter().chain(&OF_TARGETS).copied().collect();
    if series == "up" {
        return Some(all(&[]));
    }
    if let Some(entry) = ALL.iter().find(|it| it.name == series) {
        return (!matches!(entry.kind, Kind::Histogram(_))).then(|| all(entry.labels));
    }
    let (name, more): (&str, Option<&str>) = match series.strip_suffix("_bucket") {
        Some(name) => (name, Some("le")),
        None => (series.strip_suffix("_sum").or(series.strip_suffix("_count"))?, None),
    };
    let entry = ALL.iter().find(|it| it.name == name && matches!(it.kind, Kind::Histogram(_)))?;
    let mut labels: BTreeSet<&str> = all(entry.labels);
    labels.extend(more);
    Some(labels)
}

/// What an expression names: series with the labels that it chooses them by, and the labels that
/// it groups by.
#[derive(Debug, Default, PartialEq)]
struct Named {
    series: Vec<(String, Vec<String>)>,
    groups: Vec<String>,
}

/// Reads as much of an expression as it takes to know what it names.
fn named(expression: &str) -> Named {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut named = Named::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start();
        match first {
            '[' => rest = rest.split_once(']').map_or("", |(_, rest)| rest),
            _ if name.is_empty() => rest = &rest[first.len_utf8()..],
            _ if first.is_ascii_digit() => rest = after,
            _ if ["by", "on", "without", "ignoring"].contains(&name) => {
                let (inside, beyond) = after.trim_start_matches('(').split_once(')').expect("`)`");
                named.groups.extend(inside.split(',').map(|it| it.trim().to_owned()));
                rest = beyond;
            }
            _ if ["(", "by (", "without ("].iter().any(|it| after.starts_with(it)) => rest = after,
            _ if ["and", "or", "unless"].contains(&name) => rest = after,
            _ => {
                let chosen = after.strip_prefix('{').and_then(|it| it.split_once('}'));
                let (inside, beyond) = chosen.unwrap_or(("", after));
                named.series.push((name.to_owned(), matchers(inside)));
                rest = beyond;
            }
        }
    }
    named
}

/// The labels in `a="x",b=~"y"`.
fn matchers(inside: &str) -> Vec<String> {
    let pairs = inside.split("\",").filter_map(|pair| pair.split(['=', '!']).next());
    pairs.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// The labels in a text such as `{{pool}} idle` or `{{ $labels.pool }} waits`.
fn placeholders(text: &str) -> Vec<String> {
    let inside = text.split("{{").skip(1).filter_map(|it| it.split("}}").next());
    let labels = inside.map(|it| it.trim().trim_start_matches("$labels.").to_owned());
    labels.filter(|it| !it.starts_with("$value")).collect()
}

/// What is wrong with an expression, and with the labels that its text takes from it.
fn wrong(expression: &str, text: &str) -> Vec<String> {
    let named = named(expression);
    let mut wrong = Vec::new();
    let mut common: Option<BTreeSet<&str>> = None;
    for (series, chosen) in &named.series {
        let Some(has) = labels(series) else {
            wrong.push(format!("there is no metric {series}: {expression}"));
            continue;
        };
        for label in chosen.iter().chain(&named.groups) {
            if !has.contains(label.as_str()) {
                wrong.push(format!("{series} has no label {label}: {expression}"));
            }
        }
        common = Some(common.map_or_else(|| has.clone(), |all| &all & &has));
    }
    let is_grouped = expression.contains(" by (") || expression.starts_with("sum(");
    for label in placeholders(text) {
        let is_there = match is_grouped {
            true => named.groups.contains(&label),
            false => common.as_ref().is_some_and(|all| all.contains(label.as_str())),
        };
        if !is_there {
            wrong.push(format!("nothing gives {label} for `{text}`: {expression}"));
        }
    }
    wrong
}

#[test]
fn grafana_and_the_alerts_name_only_metrics_and_labels_that_exist() {
    let mut all: Vec<String> = Vec::new();
    let dashboard = dashboard();
    let mut count = 0;
    for target in list(&dashboard, "panels").iter().flat_map(|panel| list(panel, "targets")) {
        count += 1;
        all.extend(wrong(word(target, "expr"), word(target, "legendFormat")));
    }
    assert!(count > 30, "only {count} expressions");
    for variable in list(&dashboard["templating"], "list") {
        let asked = word(&variable["query"], "query");
        let (series, label) = asked
            .strip_prefix("label_values(")
            .and_then(|it| it.strip_suffix(')')?.split_once(", "))
            .unwrap_or_else(|| panic!("not understood: {asked}"));
        assert!(labels(series).is_some_and(|it| it.contains(label)), "{asked}");
    }
    let rules = shipped("rules.yaml");
    let (mut alerts, mut expression) = (0, "");
    for line in rules.lines().map(str::trim) {
        if let Some(it) = line.strip_prefix("expr: ") {
            (alerts, expression) = (alerts + 1, it);
            all.extend(wrong(it, ""));
        } else if let Some(it) = line.strip_prefix("summary: ") {
            all.extend(wrong(expression, it));
        }
    }
    assert!(alerts > 7, "only {alerts} alerts");
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn a_metric_or_label_that_does_not_exist_is_found() {
    for (expression, text, found) in [
        ("sum(runners_activ{instance=~\"$instance\"})", "", "no metric runners_activ"),
        ("queue_depth{poool=\"a\"} > 20", "", "no label poool"),
        ("sum by (lane) (queue_depth)", "", "no label lane"),
        ("rate(slate_fleet_job_run_seconds{pool=\"a\"}[5m])", "", "no metric"),
        ("sum by (pool) (queue_depth)", "{{instance}}", "nothing gives instance"),
        ("queue_depth", "{{ $labels.lane }} waits", "nothing gives lane"),
    ] {
        let told = wrong(expression, text);
        assert!(told.iter().any(|it| it.contains(found)), "{expression}: {told:?}");
    }
    let expression = "time() - queue_depth{pool=~\"a,b\", job!=\"x\"} * 2 and on (pool) up == 1";
    let series = vec![
        ("queue_depth".to_owned(), vec!["pool".to_owned(), "job".to_owned()]),
        ("up".to_owned(), Vec::new()),
    ];
    assert_eq!(named(expression), Named { series, groups: vec!["pool".to_owned()] });
}

#[test]
fn grafana_s_panels_fit_beside_each_other_and_each_asks_the_source_that_is_provisioned() {
    let dashboard = dashboard();
    let uid = word(&dashboard, "uid");
    assert!((8..=40).contains(&uid.len()), "Grafana takes 8 to 40 characters: {uid}");
    let source = shipped("grafana/provisioning/datasources/prometheus.yaml");
    let is_provisioned = |of: &Value| source.contains(&format!("uid: {}\n", word(of, "uid")));
    let mut seen: Vec<(u64, [u64; 4])> = Vec::new();
    for panel in list(&dashboard, "panels") {
        let title = word(panel, "title");
        let id = panel["id"].as_u64().unwrap_or_else(|| panic!("{title} has no id"));
        let place = &panel["gridPos"];
        let place = ["x", "y", "w", "h"].map(|it| place[it].as_u64().expect("a number"));
        let [x, y, w, h] = place;
        assert!(x + w <= 24 && w > 0 && h > 0, "{title} is {w} wide at {x}");
        for (other, [ox, oy, ow, oh]) in &seen {
            let is_beside = x + w <= *ox || ox + ow <= x || y + h <= *oy || oy + oh <= y;
            assert!(*other != id && is_beside, "{title} and panel {other}");
        }
        seen.push((id, place));
        let targets = list(panel, "targets");
        let names: BTreeSet<&str> = targets.iter().map(|it| word(it, "refId")).collect();
        assert_eq!(names.len(), targets.len(), "{title}: two queries of one name");
        let is_row = word(panel, "type") == "row";
        assert_eq!(is_row, targets.is_empty(), "{title} asks for nothing");
        for it in targets.iter().chain((!is_row).then_some(panel)) {
            assert!(is_provisioned(&it["datasource"]), "{title}: {}", it["datasource"]);
        }
    }
    assert!(seen.len() > 25, "{} panels", seen.len());
}

#[test]
fn the_files_of_the_stack_name_each_other_s_places() {
    let compose = shipped("compose.yaml");
    let has = |name: &str, words: &str| assert!(shipped(name).contains(words), "{name}: {words}");
    for listens in ["127.0.0.1:9090", "127.0.0.1:9093"] {
        assert!(compose.contains(&format!("--web.listen-address={listens}\n")), "{listens}");
    }
    has("grafana/provisioning/datasources/prometheus.yaml", "url: http://127.0.0.1:9090\n");
    has("prometheus.yaml", "targets: [\"127.0.0.1:9093\"]");
    has("prometheus.yaml", "rule_files: [rules.yaml]");
    for (here, there) in [
        ("prometheus.yaml", "/etc/prometheus/prometheus.yaml"),
        ("rules.yaml", "/etc/prometheus/rules.yaml"),
        ("alertmanager.yaml", "/etc/alertmanager/alertmanager.yaml"),
        ("grafana/provisioning", "/etc/grafana/provisioning"),
        ("grafana/dashboards", "/etc/grafana/slate-fleet"),
    ] {
        assert!(compose.contains(&format!("- ./{here}:{there}:ro\n")), "{here} is at {there}");
    }
    has("grafana/provisioning/dashboards/slate-fleet.yaml", "path: /etc/grafana/slate-fleet\n");
}
