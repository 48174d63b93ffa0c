//! Rules for what people read.

use std::path::Path;

use crate::{Finding, Text, finding, report, root, texts};

fn pages() -> Vec<Text> {
    let mut pages = texts("docs", ".md");
    for folder in ["images", "compose", "config"] {
        pages.extend(texts(folder, ".md"));
    }
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap_or_default();
    pages.push(Text { path: "README.md".to_owned(), text: readme });
    pages
}

fn check_title(page: &Text) -> Vec<Finding> {
    let mut in_code = false;
    let mut titles = 0;
    for line in page.text.lines() {
        in_code ^= line.starts_with("```");
        titles += usize::from(!in_code && line.starts_with("# "));
    }
    (titles != 1)
        .then(|| finding(page, 1, format!("{titles} titles, there is one")))
        .into_iter()
        .collect()
}

fn check_code_blocks(page: &Text) -> Vec<Finding> {
    let mut is_open = false;
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        if !is_open && language.trim().is_empty() {
            findings.push(finding(page, index + 1, "a code block without a language"));
        }
        is_open = !is_open;
    }
    findings
}

/// Relative links point to something.
fn check_links(page: &Text) -> Vec<Finding> {
    let folder = root().join(Path::new(&page.path).parent().unwrap_or(Path::new("")));
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        for part in line.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            let is_relative = !target.is_empty() && !target.contains("://");
            if is_relative && !folder.join(target).exists() {
                findings.push(finding(page, index + 1, format!("`{target}` does not exist")));
            }
        }
    }
    findings
}

/// Decisions are numbered without gaps, and the architecture names each.
fn check_decisions() -> Vec<Finding> {
    let map = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap_or_default();
    let mut findings = Vec::new();
    for (index, page) in texts("docs/adr", ".md").iter().enumerate() {
        let name = page.path.trim_start_matches("docs/adr/");
        if !name.starts_with(&format!("{:04}-", index + 1)) {
            findings.push(finding(page, 1, format!("the next number is {:04}", index + 1)));
        }
        if !map.contains(name) {
            findings.push(finding(page, 1, "docs/ARCHITECTURE.md does not name it"));
        }
    }
    findings
}

#[test]
fn pages_have_one_title_sane_links_and_languages() {
    let pages = pages();
    let mut findings: Vec<Finding> = pages.iter().flat_map(check_title).collect();
    findings.extend(pages.iter().flat_map(check_code_blocks));
    findings.extend(pages.iter().flat_map(check_links));
    report(findings);
}

#[test]
fn decisions_are_numbered_and_named() {
    report(check_decisions());
}

#[test]
fn the_checks_find_what_they_are_for() {
    let bad = |text: &str| Text { path: "docs/x.md".to_owned(), text: text.to_owned() };
    assert_eq!(check_title(&bad("no title\n")).len(), 1);
    assert_eq!(check_code_blocks(&bad("```\nx\n```\n")).len(), 1);
    assert_eq!(check_links(&bad("[x](nowhere.md)\n")).len(), 1);
}
