//! The house rules that a program can check. Reads the tree, runs nothing but `cargo metadata`.
//!
//! Every check collects all it finds and says `path:line: what; what to do instead`. An exemption
//! that is no longer needed fails too, so the list only shrinks.

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the project, by its path from the root.
struct Text {
    path: String,
    text: String,
}

/// One thing that is against a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

fn finding(text: &Text, line: usize, what: impl Into<String>) -> Finding {
    Finding { path: text.path.clone(), line, what: what.into() }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` that end in `ending`, in the order of their paths.
fn texts(folder: &str, ending: &str) -> Vec<Text> {
    let mut found = Vec::new();
    collect(&root().join(folder), ending, &mut found);
    assert!(!found.is_empty(), "no {ending} files below {folder}: the check would check nothing");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<Text>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            found.push(Text { path, text });
        }
    }
}

/// The lines of a source file before its tests, numbered from 1.
fn production(text: &Text) -> impl Iterator<Item = (usize, &str)> {
    let is_test_file = text.path.ends_with("/tests.rs")
        || text.path.contains("/tests/")
        || text.path.contains("/stories");
    let lines = text.text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.take_while(move |(_, line)| !is_test_file && !line.starts_with("#[cfg(test)]"))
}

/// Fails once, with everything that was found.
fn report(findings: Vec<Finding>) {
    let lines: Vec<String> =
        findings.iter().map(|it| format!("{}:{}: {}", it.path, it.line, it.what)).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}
