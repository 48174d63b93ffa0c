//! The server's own pages: lists of runs and folders, and a run with what its results say.
//!
//! Names and texts of jobs are put in by the templates, which escape them; there is no script.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use serde::Serialize;

use super::{TOP, document};
use crate::reports::{
    Entry, EntryKind, FindingCounts, Level, Listing, Place, RunDetails, RunReport, TestCounts,
};
use crate::units::Time;
use crate::units::words::counted;

/// Where the pages' style is.
pub(super) const STYLE_PATH: &str = "/style.css";
const STYLE: &str = include_str!("style.css");
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// Entries of a folder that are shown.
const SHOWN_MAX: usize = 2000;

/// The style of all pages.
pub(super) fn style() -> Response {
    document(StatusCode::OK, "text/css; charset=utf-8", STYLE.to_owned())
}

/// Something else than what was asked for.
pub(super) fn sorry(status: StatusCode, words: &str) -> Response {
    let reason = status.canonical_reason().unwrap_or("Sorry");
    let body = html! { h1 { (reason) } p { (words) "." } p { a href=(TOP) { "All reports" } } };
    document(status, HTML, page(reason, &body))
}

/// The newest runs of all workflows.
pub(super) fn all(
    (runs, is_partial): &(Vec<RunReport>, bool),
    workflows: &[(String, Time)],
    json: bool,
) -> Response {
    if json {
        #[derive(Serialize)]
        struct All<'a> {
            workflows: Vec<&'a str>,
            runs: &'a [RunReport],
            is_partial: bool,
        }
        let workflows = workflows.iter().map(|(name, _)| name.as_str()).collect();
        return data(&All { workflows, runs, is_partial: *is_partial });
    }
    let body = html! {
        h1 { "Reports" }
        @if workflows.is_empty() {
            p { "No job has left a report yet. What a job writes to " code { "$SLATE_REPORTS" }
                " is here when it is over." }
        } @else {
            nav.chips aria-label="Workflows" {
                @for (name, _) in workflows { a href=(format!("{name}/")) { (name) } }
            }
            (table_of_runs(runs, true))
            @if *is_partial { p.note { "Older runs are on the pages of their workflows." } }
        }
    };
    document(StatusCode::OK, HTML, page("Reports", &body))
}

/// The newest runs of one workflow.
pub(super) fn workflow(
    name: &str,
    (runs, is_partial): &(Vec<RunReport>, bool),
    json: bool,
) -> Response {
    if json {
        #[derive(Serialize)]
        struct OfOne<'a> {
            runs: &'a [RunReport],
            is_partial: bool,
        }
        return data(&OfOne { runs, is_partial: *is_partial });
    }
    let body = html! {
        (crumbs(&Place::parse(name).unwrap_or_default()))
        h1 { (name) }
        (table_of_runs(runs, false))
        @if *is_partial { p.note { "There are older runs; they are in the folder itself." } }
    };
    document(StatusCode::OK, HTML, page(name, &body))
}

/// One run; its pages are at `address`, a name of its own.
pub(super) fn run(details: &RunDetails, listing: Listing, address: &str, json: bool) -> Response {
    if json {
        return data(details);
    }
    let RunDetails { run, failures, worst, sources, unread } = details;
    let title = format!("{} / {}", run.workflow, run.run_id);
    let place = Place::of_run(&run.workflow, &run.run_id).unwrap_or_default();
    let body = html! {
        (crumbs(&place))
        h1 { (run.run_id) }
        p.facts { (when(run.at)) " · " (counted(run.files, "file")) " · " (run.bytes)
            @if run.is_partial { " · more than is counted here" } }
        @if !run.pages.is_empty() {
            p.open { @for path in &run.pages {
                a href=(format!("{address}/{}", encoded(path))) { "Open "
                    (if path.is_empty() { "the report" } else { path.trim_end_matches('/') }) }
            } }
        }
        @if let Some(tests) = run.tests { section { h2 { "Tests" } p { (told_tests(tests)) }
            @if !failures.is_empty() { ol.told { @for failure in failures {
                li { strong { (failure.name) } br; (failure.message) " "
                    small { (failure.source) } }
            } } }
        } }
        @if let Some(findings) = run.findings { section { h2 { "Findings" }
            p { (told_findings(findings)) }
            @if !worst.is_empty() { ol.told { @for finding in worst {
                li { span class=(format!("level {}", word(finding.level))) { (word(finding.level)) }
                    " " strong { (finding.rule.as_deref().unwrap_or("")) } " "
                    (finding.place.as_deref().unwrap_or("")) br; (finding.message) }
            } } }
        } }
        @if !unread.is_empty() { section { h2 { "Not read" } ul { @for it in unread {
            li { (it.path) ": " (it.why) }
        } } } }
        @if !sources.is_empty() { p.note { "Counted from " (sources.join(", ")) "." } }
        h2 { "Files" }
        (table_of_files(listing))
    };
    document(StatusCode::OK, HTML, page(&title, &body))
}

/// A folder of a run without a page of its own.
pub(super) fn folder(place: &Place, listing: Listing) -> Response {
    let title = place.shown();
    let body = html! { (crumbs(place)) h1 { (title) } (table_of_files(listing)) };
    document(StatusCode::OK, HTML, page(&title, &body))
}

fn data(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => document(StatusCode::OK, JSON, text),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn page(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · slate-fleet" }
                link rel="stylesheet" href=(STYLE_PATH);
                link rel="icon" href="data:,";
            }
            body { main { (body) } }
        }
    };
    page.into_string()
}

/// The way from the top to a place, each step a link but the last.
fn crumbs(place: &Place) -> Markup {
    let names = place.names();
    html! { nav.crumbs aria-label="Breadcrumb" {
        a href=(TOP) { "reports" }
        @for (at, name) in names.iter().enumerate() {
            " / "
            @let up = "../".repeat(names.len() - at - 1);
            @if at + 1 == names.len() { span aria-current="page" { (name.to_string_lossy()) } }
            @else { a href=(up) { (name.to_string_lossy()) } }
        }
    } }
}

fn table_of_runs(runs: &[RunReport], with_workflow: bool) -> Markup {
    html! { div.scroll { table {
        thead { tr {
            @if with_workflow { th { "Workflow" } }
            th { "Run" } th { "When" } th { "Tests" } th { "Findings" } th.number { "Files" }
            th.number { "Size" }
        } }
        tbody { @for run in runs { tr {
            @let up = if with_workflow { format!("{}/", run.workflow) } else { String::new() };
            @if with_workflow { td { a href=(up) { (run.workflow) } } }
            td { a href=(format!("{up}{}/", run.run_id)) { (run.run_id) } }
            td { (when(run.at)) }
            td { @if let Some(tests) = run.tests { (told_tests(tests)) } }
            td { @if let Some(findings) = run.findings { (told_findings(findings)) } }
            td.number { (run.files) @if run.is_partial { "+" } }
            td.number { (run.bytes) @if run.is_partial { "+" } }
        } } }
    } } }
}

fn table_of_files(mut listing: Listing) -> Markup {
    let is_partial = listing.is_partial || listing.entries.len() > SHOWN_MAX;
    listing
        .entries
        .sort_by(|one, other| one.kind.cmp(&other.kind).then_with(|| one.name.cmp(&other.name)));
    html! {
        div.scroll { table {
            thead { tr { th { "Name" } th { "When" } th.number { "Size" } } }
            tbody { @for entry in listing.entries.iter().take(SHOWN_MAX) { tr {
                @let slash = if entry.kind == EntryKind::Folder { "/" } else { "" };
                td { a href=(link(entry, slash)) { (entry.name.to_string_lossy()) (slash) } }
                td { (when(entry.at())) }
                td.number { @if entry.kind == EntryKind::File { (entry.size) } }
            } } }
        } }
        @if is_partial { p.note { "There is more in this folder than is shown." } }
        @if listing.entries.is_empty() { p.note { "This folder is empty." } }
    }
}

/// Relative to the folder; `./` keeps a name such as `a:b` from being taken for a scheme.
fn link(entry: &Entry, slash: &str) -> String {
    format!("./{}{slash}", Place::default().join(&entry.name).encoded())
}

/// A path that was made for people to read, as an address has it.
fn encoded(path: &str) -> String {
    let names = path.split('/').map(|name| Place::default().join(name.as_ref()).encoded());
    names.collect::<Vec<String>>().join("/")
}

fn when(at: Time) -> Markup {
    let stamp = i64::try_from(at.0).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
    let stamp = stamp.unwrap_or(Timestamp::UNIX_EPOCH);
    html! { time datetime=(stamp) { (stamp.strftime("%Y-%m-%d %H:%M UTC")) } }
}

fn told_tests(tests: TestCounts) -> Markup {
    let TestCounts { passed, failed, skipped, .. } = tests;
    html! {
        @if failed > 0 { span.bad { (failed) " failed" } ", " }
        span.good[failed == 0] { (passed) " passed" }
        @if skipped > 0 { ", " (skipped) " skipped" }
    }
}

fn told_findings(findings: FindingCounts) -> Markup {
    let FindingCounts { error, warning, note, none: _, suppressed } = findings;
    let parts = [(error, "error"), (warning, "warning"), (note, "note")];
    let told: Vec<(u32, &str)> = parts.into_iter().filter(|(number, _)| *number > 0).collect();
    html! {
        @if told.is_empty() { span.good { "none" } }
        @for (at, (number, what)) in told.iter().enumerate() {
            @if at > 0 { ", " }
            span.bad[*what == "error"] { (counted(*number, what)) }
        }
        @if suppressed > 0 { " (" (suppressed) " suppressed)" }
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
        Level::None => "none",
    }
}
