//! Compares a tree with the schema and turns it into the raw types.
//!
//! The schema is the only source of which keys exist and what their values are. What does not fit
//! is reported and left out, so that the rest can still be checked.

use serde_json::Value as Json;

use super::diagnostic::{Findings, Span};
use super::document::{Entry, Node, Value};
use super::interpolate::refuse_secret;
use super::raw::{RawFleet, SECRET_TITLE};
use super::scalar::{Kind, Origin, Quoting, Scalar};
use super::{schema, secret, suggest};

/// Reads a merged tree; what is wrong with its structure is added to the findings.
pub(super) fn read(root: &Node, findings: &mut Findings) -> Option<RawFleet> {
    let mut walk = Walk { findings, path: Vec::new() };
    let json = walk.node(root, schema::cached())?;
    match serde_json::from_value(json) {
        Ok(raw) => Some(raw),
        Err(error) => {
            // The schema and the types are one; this says so should they ever part.
            walk.findings.error(root.span, format!("the file cannot be read: {error}"));
            None
        }
    }
}

struct Walk<'a> {
    findings: &'a mut Findings,
    path: Vec<String>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, schema: &Json) -> Option<Json> {
        let schema = branch(node, schema);
        let kinds = kinds(schema);
        match &node.value {
            Value::Map(entries) if kinds.contains(&"object") => {
                Some(self.map(node, entries, schema))
            }
            Value::List(items) if kinds.contains(&"array") => Some(self.list(node, items, schema)),
            Value::Scalar(scalar) => self.scalar(node.span, scalar, schema),
            Value::Map(_) => self.wrong(node.span, "a map", schema),
            Value::List(_) => self.wrong(node.span, "a list", schema),
        }
    }

    fn map(&mut self, node: &Node, entries: &[Entry], schema: &Json) -> Json {
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let mut read = serde_json::Map::new();
        for entry in entries {
            let known = properties.and_then(|known| known.get(&entry.key));
            if known.is_some() && is_blank(&entry.value) {
                continue;
            }
            let Some(expected) = known.or(others) else {
                self.unknown_key(entry, schema);
                continue;
            };
            self.path.push(entry.key.clone());
            if let Some(value) = self.node(&entry.value, expected) {
                read.insert(entry.key.clone(), value);
            }
            self.path.pop();
        }
        self.required(node, schema);
        Json::Object(read)
    }

    fn unknown_key(&mut self, entry: &Entry, schema: &Json) {
        let key = &entry.key;
        if key.starts_with("x-") && schema.get("patternProperties").is_some() {
            return;
        }
        if entry.value.as_text().is_some_and(secret::contains_token) {
            // The value was refused as a secret already; that is what matters.
            return;
        }
        let known: Vec<&str> = match schema.get("properties").and_then(Json::as_object) {
            Some(properties) => properties.keys().map(String::as_str).collect(),
            None => Vec::new(),
        };
        let at_forge = self.path.iter().any(|step| matches!(step.as_str(), "github" | "gitea"));
        if at_forge && (secret::is_secret_name(key) || is_secret_place(schema)) {
            self.findings.hide(entry.value.span);
            let is_mistyped = suggest::nearest(key, known.iter().copied()).is_some();
            if !is_mistyped && matches!(entry.value.value, Value::Scalar(_)) {
                refuse_secret(self.findings, entry.key_span);
                return;
            }
        }
        let help = suggest::help(suggest::key(key, &known), &known);
        let place = self.place();
        self.findings.error(entry.key_span, format!("unknown key `{key}` in {place}")).help(help);
    }

    fn required(&mut self, node: &Node, schema: &Json) {
        let required = schema.get("required").and_then(Json::as_array);
        for key in required.into_iter().flatten().filter_map(Json::as_str) {
            let written = node.get(key).is_some_and(|value| !is_blank(value));
            if written {
                continue;
            }
            let example = schema.pointer(&format!("/properties/{key}")).and_then(example);
            let place = self.place();
            let finding = self.findings.error(node.span, format!("{place} has no `{key}`"));
            if let Some(example) = example {
                finding.help(format!("add `{key}: {example}`"));
            }
        }
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Json) -> Json {
        let any = Json::Bool(true);
        let expected = schema.get("items").unwrap_or(&any);
        let least = schema.get("minItems").and_then(Json::as_u64).unwrap_or(0);
        if items.is_empty() && least > 0 {
            let place = self.place();
            self.findings.error(node.span, format!("{place} is empty")).help("add an item");
        }
        let mut read = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.path.push(format!("[{index}]"));
            match self.node(item, expected) {
                Some(value) => read.push(value),
                // Keeps the numbers of the other pools.
                None if kinds(expected).contains(&"object") => {
                    read.push(Json::Object(serde_json::Map::new()));
                }
                None => {}
            }
            self.path.pop();
        }
        Json::Array(read)
    }

    fn scalar(&mut self, span: Span, scalar: &Scalar, schema: &Json) -> Option<Json> {
        let kinds = kinds(schema);
        let text = || Json::String(scalar.text.clone());
        let cast = scalar.origin != Origin::Literal || scalar.quoting == Quoting::Quoted;
        if is_secret_place(schema) && scalar.kind() != Kind::Null {
            self.findings.hide(span);
            refuse_secret(self.findings, span);
            return None;
        }
        let kind = scalar.kind();
        let fits = |name: &str| kinds.contains(&name);
        let quantity = schema.get("title").is_some();
        match kind {
            // Values with a unit, a choice of forms and variables arrive as text.
            _ if fits("string") && cast => Some(text()),
            Kind::Text if fits("string") => Some(text()),
            // A quantity says itself what is wrong with a bare number, such as a missing unit.
            Kind::Integer(_) | Kind::Float if fits("string") && (quantity || fits("number")) => {
                Some(text())
            }
            Kind::Bool(_) if fits("string") && fits("boolean") => Some(text()),
            Kind::Null if fits("null") => Some(Json::String(String::new())),
            Kind::Bool(value) if fits("boolean") => Some(Json::Bool(value)),
            Kind::Integer(Some(value)) if fits("integer") => self.integer(span, value, schema),
            Kind::Null => {
                let place = self.place();
                let right = expected(schema);
                self.findings
                    .error(span, format!("{place} has no value"))
                    .help(format!("write {right}, or remove the line"));
                None
            }
            Kind::Integer(_) | Kind::Float | Kind::Bool(_) | Kind::Text => {
                self.wrong(span, &format!("`{}`", scalar.shown()), schema)
            }
        }
    }

    fn integer(&mut self, span: Span, value: i64, schema: &Json) -> Option<Json> {
        if let Some(only) = schema.get("const").and_then(Json::as_i64).filter(|v| *v != value) {
            let place = self.place();
            self.findings
                .error(span, format!("{place} is {value}, but this program reads {only}"))
                .help(format!("write {only}; this is the format of the file, not of your fleet"));
            return None;
        }
        let bound = |key: &str| schema.get(key).and_then(Json::as_i64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        if least.is_some_and(|least| value < least) || most.is_some_and(|most| value > most) {
            return self.wrong(span, &format!("`{value}`"), schema);
        }
        Some(Json::from(value))
    }

    fn wrong(&mut self, span: Span, found: &str, schema: &Json) -> Option<Json> {
        let place = self.place();
        let right = expected(schema);
        let finding = self.findings.error(span, format!("{place} is {found}, not {right}"));
        if let Some(example) = example(schema) {
            finding.help(format!("an example is `{example}`"));
        }
        None
    }

    /// The path for a message: `pools[0].name`.
    fn place(&self) -> String {
        if self.path.is_empty() {
            return "the fleet file".to_owned();
        }
        let mut shown = String::new();
        for step in &self.path {
            if !shown.is_empty() && !step.starts_with('[') {
                shown.push('.');
            }
            shown.push_str(step);
        }
        format!("`{shown}`")
    }
}

/// Variables came out empty: the key counts as not written.
fn is_blank(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.origin != Origin::Literal && scalar.text.is_empty(),
        Value::List(_) | Value::Map(_) => false,
    }
}

/// Of several forms, the one that has the node's kind.
fn branch<'s>(node: &Node, schema: &'s Json) -> &'s Json {
    let Some(options) = schema.get("anyOf").and_then(Json::as_array) else { return schema };
    let wanted = match node.value {
        Value::Map(_) => "object",
        Value::List(_) => "array",
        Value::Scalar(_) => "string",
    };
    let fitting = options.iter().find(|option| kinds(option).contains(&wanted));
    fitting.or(options.first()).unwrap_or(schema)
}

/// Whether a place of a secret is expected, so that what is there instead may be the secret.
fn is_secret_place(schema: &Json) -> bool {
    schema.get("title").and_then(Json::as_str) == Some(SECRET_TITLE)
}

fn kinds(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) | None => Vec::new(),
    }
}

/// What a value should be, in words.
fn expected(schema: &Json) -> String {
    if let Some(title) = schema.get("title").and_then(Json::as_str) {
        return title.to_owned();
    }
    let kinds = kinds(schema);
    let bound = |key: &str| schema.get(key).and_then(Json::as_i64);
    match (kinds.first().copied(), bound("minimum"), bound("maximum")) {
        (Some("integer"), Some(least), Some(most)) => {
            format!("a whole number from {least} to {most}")
        }
        (Some("integer"), _, _) => "a whole number".to_owned(),
        (Some("boolean"), _, _) => "`true` or `false`".to_owned(),
        (Some("object"), _, _) => "a map (`key: value`)".to_owned(),
        (Some("array"), _, _) => "a list (`- item`)".to_owned(),
        (Some(_) | None, _, _) => "a text".to_owned(),
    }
}

/// The schema's first example, else its only value, as YAML in one line.
fn example(schema: &Json) -> Option<String> {
    let first = schema.get("examples").and_then(Json::as_array).and_then(|list| list.first());
    let value = first.or_else(|| schema.get("const"))?;
    Some(match value {
        Json::String(text) => text.clone(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            value.to_string()
        }
    })
}
