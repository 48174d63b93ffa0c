//! Merges several fleet files as compose merges them.
//!
//! Maps are merged key by key and later scalars win. Pools with the same name are merged, others
//! are appended. Other lists are appended without repeating an item. `!override` replaces and
//! `!reset` removes what earlier files said.

use std::collections::BTreeMap;

use super::diagnostic::{Findings, Span};
use super::document::{Entry, Merging, Node, Value};
use super::interpolate::Context;
use super::scalar::Origin;

/// Lays a later file over an earlier one.
pub(super) fn merge(base: &mut Node, later: Node) {
    if base.merging == Merging::Reset {
        *base = later;
        return;
    }
    match (later.merging, &mut base.value, later.value) {
        (Merging::Merge, Value::Map(entries), Value::Map(laid)) => merge_maps(entries, laid),
        (Merging::Merge, Value::List(items), Value::List(laid)) => merge_lists(items, laid),
        (_, _, value) => {
            let (span, merging) = (later.span, later.merging);
            *base = Node { span, merging, value };
        }
    }
}

/// Removes what `!reset` marks, once all files are merged.
pub(super) fn apply_resets(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            items.retain(|item| item.merging != Merging::Reset);
            items.iter_mut().for_each(apply_resets);
        }
        Value::Map(entries) => {
            entries.retain(|entry| entry.value.merging != Merging::Reset);
            entries.iter_mut().for_each(|entry| apply_resets(&mut entry.value));
        }
    }
}

fn merge_maps(entries: &mut Vec<Entry>, laid: Vec<Entry>) {
    for entry in laid {
        match entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => {
                known.key_span = entry.key_span;
                merge(&mut known.value, entry.value);
            }
            None => entries.push(entry),
        }
    }
}

/// Lists of maps with names are merged by name, in place; everything else is appended once.
fn merge_lists(items: &mut Vec<Node>, laid: Vec<Node>) {
    for item in laid {
        let name = item.get("name").and_then(Node::as_text).map(str::to_owned);
        let text = item.as_text().map(str::to_owned);
        let same = items.iter_mut().find(|known| match (&name, &text) {
            (Some(name), _) => known.get("name").and_then(Node::as_text) == Some(name),
            (None, Some(text)) => known.as_text() == Some(text),
            (None, None) => false,
        });
        match (same, name) {
            (Some(known), Some(_)) => merge(known, item),
            (Some(_), None) => {}
            (None, _) => items.push(item),
        }
    }
}

/// Brings one file into the form in which files are merged: every `env` is a map, names without a
/// value are looked up, and no two pools of the file share a name.
pub(super) fn normalise(root: &mut Node, cx: &mut Context<'_>) {
    let Value::Map(entries) = &mut root.value else { return };
    for entry in entries {
        match (entry.key.as_str(), &mut entry.value.value) {
            ("pools", Value::List(pools)) => check_pool_names(pools, cx.findings),
            ("profiles", Value::Map(profiles)) => {
                profiles.iter_mut().for_each(|profile| normalise_profile(&mut profile.value, cx));
            }
            (_, Value::Scalar(_) | Value::List(_) | Value::Map(_)) => {}
        }
    }
}

fn check_pool_names(pools: &[Node], findings: &mut Findings) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for name in pools.iter().filter_map(|pool| pool.get("name")) {
        let Some(text) = name.as_text() else { continue };
        if let Some(first) = seen.insert(text, name.span) {
            findings
                .error(name.span, format!("two pools are named `{text}`"))
                .help(format!("the other is on line {}; names must differ", first.line));
        }
    }
}

fn normalise_profile(profile: &mut Node, cx: &mut Context<'_>) {
    let Value::Map(keys) = &mut profile.value else { return };
    for env in keys.iter_mut().filter(|key| key.key == "env") {
        if let Value::List(items) = &env.value.value {
            env.value.value = Value::Map(env_entries(items, cx.findings));
        }
        if let Value::Map(entries) = &mut env.value.value {
            entries.iter_mut().for_each(|entry| cx.look_up(entry));
        }
    }
}

fn env_entries(items: &[Node], findings: &mut Findings) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        let Value::Scalar(scalar) = &item.value else {
            findings
                .error(item.span, "an item of `env` is a text, not a list or a map")
                .help("write `- NAME=value`, or make `env` a map: `NAME: value`");
            continue;
        };
        let entry = env_entry(&scalar.text, item.span, scalar.origin);
        if let Some(known) = entries.iter().find(|known| known.key == entry.key) {
            findings
                .error(item.span, format!("`{}` is written twice", entry.key))
                .help(format!("the first is on line {}; keep one", known.key_span.line));
        }
        entries.push(entry);
    }
    entries
}

fn env_entry(text: &str, span: Span, origin: Origin) -> Entry {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Node::text(span, value, origin)),
        None => (text, Node::unset(span)),
    };
    Entry { key: key.to_owned(), key_span: span, value }
}
