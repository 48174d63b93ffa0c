//! Who may know whom, and who may touch the world.

use crate::{Finding, Text, finding, production, report, texts};

/// The table of `docs/ARCHITECTURE.md`, read from there so that the document cannot drift.
fn table() -> Vec<(String, Vec<String>)> {
    let text =
        std::fs::read_to_string(crate::root().join("docs/ARCHITECTURE.md")).unwrap_or_default();
    let rows = text.lines().skip_while(|line| !line.starts_with("| Module | May use |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let module = cells.next()?.trim_matches('`').to_owned();
            let uses = cells.next()?;
            let uses = uses.split(',').map(|it| it.trim().trim_matches('`').to_owned()).collect();
            Some((module, uses))
        })
        .collect()
}

/// The top-level module that a file belongs to.
fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split(['/', '.']).next().unwrap_or(inside)
}

/// The modules that a line names by `crate::`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").filter_map(|(at, found)| {
        let rest = &line[at + found.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).filter(|name| !name.is_empty())
    })
}

fn check_direction(text: &Text, table: &[(String, Vec<String>)]) -> Vec<Finding> {
    let module = module_of(&text.path);
    if matches!(module, "lib" | "main" | "bin") {
        return Vec::new();
    }
    let Some((_, uses)) = table.iter().find(|(row, _)| row == module) else {
        let what = format!("module `{module}` is not in the table of docs/ARCHITECTURE.md");
        return vec![finding(text, 1, what)];
    };
    production(text)
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            named(line)
                .filter(|name| *name != module && !uses.iter().any(|allowed| allowed == name))
                .map(move |name| finding(text, number, format!("`{module}` may not know `{name}`")))
        })
        .collect()
}

/// What the pure part may not touch.
fn check_purity(text: &Text) -> Vec<Finding> {
    const BANNED: [&str; 12] = [
        "Instant",
        "SystemTime",
        "rand::",
        "tokio",
        "async ",
        "tracing",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "HashMap",
        "Mutex",
    ];
    production(text)
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            BANNED.iter().filter(|banned| line.contains(**banned)).map(move |banned| {
                finding(text, number, format!("`{banned}` in the core, which must stay pure"))
            })
        })
        .collect()
}

/// Libraries that stay with one module.
fn check_homes(text: &Text) -> Vec<Finding> {
    const HOMES: [(&str, &[&str]); 7] = [
        ("bollard::", &["src/engine/"]),
        ("rusqlite::", &["src/store"]),
        ("axum::", &["src/api"]),
        ("clap::", &["src/cli", "src/main.rs"]),
        ("rcgen::", &["src/agents"]),
        ("prometheus::", &["src/metrics"]),
        ("sysinfo::", &["src/inventory", "src/api/usage.rs"]),
    ];
    production(text)
        .flat_map(|(number, line)| {
            HOMES
                .iter()
                .filter(|(library, homes)| {
                    line.contains(library) && !homes.iter().any(|home| text.path.starts_with(home))
                })
                .map(move |(library, homes)| {
                    finding(text, number, format!("`{library}` belongs in {}", homes.join(", ")))
                })
        })
        .collect()
}

/// The clock is read in one place, and by the agent and the CLI, which have their own.
fn check_clock(text: &Text) -> Vec<Finding> {
    let own =
        ["src/supervisor/clock.rs", "src/agent", "src/cli", "src/agents", "src/engine", "src/api"];
    if own.iter().any(|home| text.path.starts_with(home)) {
        return Vec::new();
    }
    production(text)
        .filter(|(_, line)| line.contains("Instant::now") || line.contains("SystemTime::now"))
        .map(|(number, _)| finding(text, number, "the time comes from `supervisor::clock`"))
        .collect()
}

#[test]
fn dependencies_point_inwards() {
    let table = table();
    assert!(table.len() > 5, "the table of docs/ARCHITECTURE.md was not found");
    report(texts("src", ".rs").iter().flat_map(|text| check_direction(text, &table)).collect());
}

#[test]
fn the_core_is_pure() {
    let pure =
        ["src/fleet/", "src/fleet.rs", "src/spec/", "src/spec.rs", "src/ids.rs", "src/units.rs"];
    let texts = texts("src", ".rs");
    let core = texts.iter().filter(|it| pure.iter().any(|start| it.path.starts_with(start)));
    report(core.flat_map(check_purity).collect());
}

#[test]
fn libraries_stay_home() {
    report(texts("src", ".rs").iter().flat_map(check_homes).collect());
}

#[test]
fn one_clock() {
    report(texts("src", ".rs").iter().flat_map(check_clock).collect());
}

#[test]
fn the_checks_find_what_they_are_for() {
    let bad = |path: &str, text: &str| Text { path: path.to_owned(), text: text.to_owned() };
    let table = vec![("fleet".to_owned(), vec!["ids".to_owned()])];
    let text = bad("src/fleet/plan.rs", "use crate::engine::Engine;\nuse crate::ids::JobId;\n");
    assert_eq!(check_direction(&text, &table).len(), 1);
    assert_eq!(check_purity(&bad("src/fleet.rs", "use std::fs;\n")).len(), 1);
    assert_eq!(check_homes(&bad("src/cli/up.rs", "use bollard::Docker;\n")).len(), 1);
    assert_eq!(check_clock(&bad("src/store.rs", "Instant::now()\n")).len(), 1);
}
