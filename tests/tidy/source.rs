//! Rules for each source file by itself.

use crate::{Finding, Text, finding, production, report, texts};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 60;
const WIDTH_MAX: usize = 100;

fn all_sources() -> Vec<Text> {
    let mut all = texts("src", ".rs");
    all.extend(texts("tests", ".rs"));
    all
}

fn check_length(text: &Text) -> Vec<Finding> {
    let lines = production(text).count();
    let what = format!("{lines} lines before the tests, {FILE_LINES_MAX} at most: split it");
    (lines > FILE_LINES_MAX).then(|| finding(text, 1, what)).into_iter().collect()
}

/// Whether the function whose signature begins at this line is more than a signature.
fn has_body(text: &Text, number: usize) -> bool {
    let ends = |line: &&str| line.ends_with([';', '{', '}']);
    let end = text.text.lines().skip(number - 1).find(ends);
    end.is_some_and(|line| line.ends_with('{'))
}

/// rustfmt closes a function with a brace at the indent of its `fn`.
fn check_function_length(text: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_fn = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(super) fn "]
            .iter()
            .chain(&["pub(super) async fn ", "pub(crate) fn ", "const fn ", "pub const fn "])
            .any(|start| line.trim_start().starts_with(start));
        match &open {
            None if is_fn && has_body(text, number) => {
                open = Some((number, indent.to_owned()));
            }
            Some((start, at)) if line == format!("{at}}}") => {
                if number - start > FUNCTION_LINES_MAX {
                    let what = format!(
                        "a function of {} lines, {FUNCTION_LINES_MAX} at most: split it",
                        number - start
                    );
                    findings.push(finding(text, *start, what));
                }
                open = None;
            }
            _ => {}
        }
    }
    findings
}

/// rustfmt sees to code, but cannot break texts; comments are ours to break.
fn width_of(line: &str) -> usize {
    if line.trim_start().starts_with("//") { WIDTH_MAX } else { WIDTH_MAX + 20 }
}

fn check_width(text: &Text) -> Vec<Finding> {
    let lines = text.text.lines().enumerate();
    lines
        .filter(|(_, line)| line.chars().count() > width_of(line) && !line.contains("http"))
        .map(|(index, line)| {
            finding(text, index + 1, format!("wider than {} columns", width_of(line)))
        })
        .collect()
}

fn check_module_doc(text: &Text) -> Vec<Finding> {
    let mut lines = text.text.lines();
    let first = lines.next().unwrap_or_default();
    let is_doc = first.starts_with("//! ");
    let ends = text
        .text
        .lines()
        .take_while(|line| line.starts_with("//! "))
        .any(|line| line.ends_with('.') || line.contains(". ") || line.ends_with(':'));
    let what = "the file does not begin with a `//!` sentence saying what it is for";
    (!(is_doc && ends)).then(|| finding(text, 1, what)).into_iter().collect()
}

fn check_panics(text: &Text) -> Vec<Finding> {
    const BANNED: [&str; 6] =
        [".unwrap()", "todo!(", "unimplemented!(", "panic!(", "unreachable!(", ".expect(\""];
    production(text)
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            BANNED
                .iter()
                .filter(|banned| line.contains(**banned))
                .map(move |banned| finding(text, number, format!("`{banned}` can panic")))
        })
        .collect()
}

fn check_leftovers(text: &Text) -> Vec<Finding> {
    // Put together here, so that this file does not find itself.
    let banned = [
        ["dbg", "!("].concat(),
        ["FIX", "ME"].concat(),
        ["TO", "DO"].concat(),
        ["XX", "X"].concat(),
        ["// let", " "].concat(),
        ["// fn", " "].concat(),
        ["#[allow", "("].concat(),
        ["thread::", "sleep"].concat(),
    ];
    let lines = text.text.lines().enumerate();
    lines
        .flat_map(|(index, line)| {
            banned
                .iter()
                .filter(|banned| line.contains(banned.as_str()))
                .map(move |banned| finding(text, index + 1, format!("`{banned}` is left over")))
        })
        .collect()
}

fn check_all(sources: &[Text], check: fn(&Text) -> Vec<Finding>) -> Vec<Finding> {
    sources.iter().flat_map(check).collect()
}

#[test]
fn files_are_one_room() {
    report(check_all(&texts("src", ".rs"), check_length));
}

#[test]
fn functions_fit_on_a_screen() {
    report(check_all(&all_sources(), check_function_length));
}

#[test]
fn lines_fit_in_a_column() {
    report(check_all(&all_sources(), check_width));
}

#[test]
fn every_file_says_what_it_is_for() {
    report(check_all(&all_sources(), check_module_doc));
}

#[test]
fn production_code_does_not_panic() {
    report(check_all(&texts("src", ".rs"), check_panics));
}

#[test]
fn nothing_is_left_over() {
    report(check_all(&all_sources(), check_leftovers));
}

#[test]
fn the_checks_find_what_they_are_for() {
    let bad = |text: &str| Text { path: "src/bad.rs".to_owned(), text: text.to_owned() };
    assert_eq!(check_length(&bad(&"x\n".repeat(501))).len(), 1);
    let long = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(61));
    assert_eq!(check_function_length(&bad(&long)).len(), 1);
    assert_eq!(check_width(&bad(&format!("// {}", "x".repeat(98)))).len(), 1);
    assert_eq!(check_module_doc(&bad("use std::fs;\n")).len(), 1);
    assert_eq!(check_panics(&bad("    x.unwrap();\n")).len(), 1);
    assert_eq!(check_panics(&bad("#[cfg(test)]\n    x.unwrap();\n")).len(), 0);
    assert_eq!(check_leftovers(&bad(&["    dbg", "!(x);\n"].concat())).len(), 1);
}
