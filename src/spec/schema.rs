//! The JSON Schema of the fleet file, made from the raw types.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::raw::RawFleet;

/// The JSON Schema (2020-12) of a fleet file, for editors and CI.
///
/// It checks the structure and the form of values. What needs more than one value (unknown profile
/// names, bounds between keys) is checked when a file is loaded.
#[must_use]
pub fn schema() -> Value {
    let mut schema = cached().clone();
    allow_variables(&mut schema);
    schema
}

/// The schema, built once.
pub(super) fn cached() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(build)
}

fn build() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    // No `$defs`: who reads the schema at a key has everything there, and so does our own check.
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<RawFleet>().to_value();
    remove_null(&mut schema);
    schema
}

/// Keywords that hold a value to a form.
const CONSTRAINTS: [&str; 9] =
    ["type", "not", "minimum", "maximum", "pattern", "minLength", "maxLength", "enum", "format"];

/// Lets every value that has a form be written with variables, too: an editor sees the file before
/// they are put in, and only loading sees what they come to.
fn allow_variables(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for key in ["properties", "additionalProperties", "items"] {
        match (key, map.get_mut(key)) {
            ("properties", Some(Value::Object(properties))) => {
                properties.values_mut().for_each(allow_variables);
            }
            (_, Some(below)) => allow_variables(below),
            (_, None) => {}
        }
    }
    let is_leaf = |kind: &Value| kind != "object" && kind != "array";
    let has_form = map.get("type").is_some_and(is_leaf)
        && !map.contains_key("const")
        && (map.contains_key("pattern") || map.get("type").is_some_and(|kind| kind != "string"));
    if !has_form {
        return;
    }
    let written = CONSTRAINTS.iter().filter_map(|key| map.remove_entry(*key)).collect();
    let variables = json!({"type": "string", "pattern": r"\$", "description": "with variables"});
    map.insert("anyOf".to_owned(), Value::Array(vec![Value::Object(written), variables]));
}

/// Takes out `null`, which `Option` adds: a key without a value is a mistake in a fleet file.
/// Values of `env` keep it: they list it beside three others.
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
    if let Some(Value::Array(kinds)) = map.get_mut("type")
        && kinds.len() < 4
    {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
}
