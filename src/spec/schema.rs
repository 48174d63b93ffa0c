//! The JSON Schema of the fleet file, made from the raw types.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::raw::RawFleet;

/// The JSON Schema (2020-12) of a fleet file, for editors and CI.
///
/// It checks the structure and the form of values. What needs more than one value (unknown profile
/// names, bounds between keys) is checked when a file is loaded.
#[must_use]
pub fn schema() -> Value {
    cached().clone()
}

/// The schema, built once.
pub(super) fn cached() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(build)
}

fn build() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    // No `$defs`: whoever reads the schema at a key has everything there, and so does our own check.
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<RawFleet>().to_value();
    remove_null(&mut schema);
    schema
}

/// Takes out `null`, which `Option` adds: a key without a value is a mistake in a fleet file. Types
/// that do allow it keep it because they list it beside at least two others.
fn remove_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            remove_null_here(map);
            map.values_mut().for_each(remove_null);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn remove_null_here(map: &mut Map<String, Value>) {
    let is_null = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "null");
    if let Some(Value::Array(options)) = map.get_mut("anyOf") {
        options.retain(|option| !is_null(option));
        if let [Value::Object(only)] = options.as_mut_slice() {
            let only = std::mem::take(only);
            map.remove("anyOf");
            for (key, value) in only {
                map.entry(key).or_insert(value);
            }
        }
    }
    // An integer's format only repeats its range.
    map.remove("format");
    let allows_null = map.contains_key("x-null");
    if let (false, Some(Value::Array(kinds))) = (allows_null, map.get_mut("type")) {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
}
