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

/// The architecture's map has every module of the crate, and what it names is there.
fn check_map(page: &Text, modules: &[String]) -> Vec<Finding> {
    let map = page.text.split("## Code map").nth(1).unwrap_or_default();
    let map = map.split("\n## ").next().unwrap_or_default();
    let has = |name: &str| map.contains(&format!("`{name}`"));
    let missing = modules.iter().filter(|name| !has(name));
    let mut findings: Vec<Finding> =
        missing.map(|name| finding(page, 1, format!("`{name}` is not in the code map"))).collect();
    for (index, line) in page.text.lines().enumerate() {
        let names = line.split('`').skip(1).step_by(2);
        for path in names.filter(|name| !name.contains(' ') && name.contains('/')) {
            let path = path.split('*').next().unwrap_or_default();
            let is_ours =
                ["src/", "tests/", "docs/", "config/"].iter().any(|top| path.starts_with(top));
            if is_ours && !root().join(path).exists() {
                findings.push(finding(page, index + 1, format!("`{path}` does not exist")));
            }
        }
    }
    findings
}

#[test]
fn the_map_has_every_module_and_names_nothing_that_is_not_there() {
    let of = |file: &str, start: &str| -> Vec<String> {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        let names = text.lines().filter_map(|line| line.strip_prefix(start)?.strip_suffix(';'));
        names.map(str::to_owned).collect()
    };
    let parts =
        [of("src/lib.rs", "pub mod "), of("src/fleet.rs", "pub mod "), of("src/fleet.rs", "mod ")];
    let modules = parts.concat();
    assert!(modules.len() > 60, "{modules:?}");
    let path = "docs/ARCHITECTURE.md".to_owned();
    let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
    report(check_map(&Text { path, text }, &modules));
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
    let map = bad("## Code map\n\n- `one`: see `src/nowhere.rs`.\n\n## More\n\n`two`\n");
    assert_eq!(check_map(&map, &["one".to_owned(), "two".to_owned()]).len(), 2);
}
