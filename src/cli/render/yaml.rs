//! Any data as YAML in block style; texts that could be read as something else are quoted.

use serde::Serialize;
use serde_json::Value;

/// The data as one YAML document.
pub(super) fn emit(value: &(impl Serialize + ?Sized)) -> String {
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    let mut out = String::new();
    match is_block(&value) {
        true => block(&mut out, 0, &value),
        false => {
            out.push_str(&scalar(&value));
            out.push('\n');
        }
    }
    out
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn block(out: &mut String, indent: usize, value: &Value) {
    match value {
        Value::Array(items) => {
            for item in items {
                pad(out, indent);
                out.push_str("- ");
                first(out, indent + 2, item);
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                pad(out, indent);
                entry(out, indent, key, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An item behind its dash: the first entry of a mapping stands on the dash's line.
fn first(out: &mut String, indent: usize, item: &Value) {
    match item {
        Value::Object(entries) if !entries.is_empty() => {
            for (place, (key, value)) in entries.iter().enumerate() {
                if place > 0 {
                    pad(out, indent);
                }
                entry(out, indent, key, value);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(out, indent, item);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            out.push_str(&scalar(item));
            out.push('\n');
        }
    }
}

fn entry(out: &mut String, indent: usize, key: &str, value: &Value) {
    out.push_str(&text(key));
    out.push(':');
    match is_block(value) {
        true => {
            out.push('\n');
            block(out, indent + 2, value);
        }
        false => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(plain) => text(plain),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// A JSON string is a YAML string, so everything that is not plainly a word is written as one.
fn text(plain: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = plain.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && plain.chars().all(word)
        && !reserved.contains(&plain.to_ascii_lowercase().as_str());
    match is_word {
        true => plain.to_owned(),
        false => Value::String(plain.to_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_data_is_block_yaml_with_safe_texts() {
        let data = json!([{"name": "slate-light-01", "labels": ["a", "yes"], "job": null,
            "env": {}, "note": "a: b\n", "at": "12:30"}]);
        let expected = [
            "- at: \"12:30\"",
            "  env: {}",
            "  job: null",
            "  labels:",
            "    - a",
            "    - \"yes\"",
            "  name: slate-light-01",
            "  note: \"a: b\\n\"",
            "",
        ]
        .join("\n");
        assert_eq!(emit(&data), expected);
        assert_eq!(emit(&Vec::<u8>::new()), "[]\n");
    }
}
