//! Rules for what is linked in: every dependency is argued for, and its licence allows it.

use std::process::Command;

use crate::{Finding, Text, finding, report, root};

/// Licences that may be linked into a program that is MIT or Apache-2.0.
const LICENCES: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unlicense",
    "CC0-1.0",
    "Unicode-3.0",
    "BSL-1.0",
    "0BSD",
    "Apache-2.0 WITH LLVM-exception",
];

/// Crates that must not come in, by whatever way.
const BANNED: [(&str, &str); 4] = [
    ("openssl-sys", "the agent is static; use rustls"),
    ("serde_yaml", "unmaintained"),
    ("tokio-tar", "loses its place on crafted archives"),
    ("aws-lc-rs", "one TLS provider only, and that is ring"),
];

fn manifest() -> Text {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap_or_default();
    Text { path: "Cargo.toml".to_owned(), text }
}

/// Each dependency stands below a comment that says why it is there, or beside others of its
/// reason.
fn check_argued(manifest: &Text) -> Vec<Finding> {
    let mut section = "";
    let mut is_argued = false;
    let mut findings = Vec::new();
    for (index, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            section = line;
            is_argued = false;
        } else if line.starts_with('#') {
            is_argued = true;
        } else if line.trim().is_empty() {
            is_argued = false;
        } else if section.ends_with("dependencies]") && !is_argued && line.contains('=') {
            let what = "a dependency without a comment that says why";
            findings.push(finding(manifest, index + 1, what));
        }
    }
    findings
}

fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], "");
    plain
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn every_dependency_is_argued_for() {
    report(check_argued(&manifest()));
}

#[test]
fn every_licence_allows_it_and_nothing_banned_came_in() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    let metadata: serde_json::Value = serde_json::from_slice(&output).unwrap_or_default();
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    assert!(packages.len() > 20, "`cargo metadata` gave no packages");
    let manifest = manifest();
    let mut findings = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence) {
            findings.push(finding(&manifest, 1, format!("{name} has the licence {licence}")));
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            findings.push(finding(&manifest, 1, format!("{name} is banned: {why}")));
        }
    }
    report(findings);
}

#[test]
fn the_checks_find_what_they_are_for() {
    assert!(is_allowed("MIT OR Apache-2.0"));
    assert!(is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(!is_allowed("GPL-3.0-only"));
    let bad = Text { path: "x".to_owned(), text: "[dependencies]\nserde = \"1\"\n".to_owned() };
    assert_eq!(check_argued(&bad).len(), 1);
}
