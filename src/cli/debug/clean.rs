//! Takes secrets out of what goes into a bundle: known values, and what looks like one.

use serde_json::Value;

use crate::spec::{Env, MASK, Secrets, redact};

/// What must not be in a bundle.
#[derive(Debug, Default)]
pub(super) struct Clean(Secrets);

impl Clean {
    /// Hides the values of these variables.
    pub(super) fn hide(&mut self, variables: &Env) {
        self.0.extend(Secrets::of_variables(variables));
    }

    /// A text of lines, fit to be given away.
    pub(super) fn text(&self, text: &str) -> String {
        let masked = self.0.mask(text);
        masked.lines().map(|line| format!("{}\n", redact(line))).collect()
    }

    /// A document fit to be given away, in lines.
    pub(super) fn json(&self, mut document: Value) -> String {
        self.walk("", &mut document);
        let text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text + "\n"
    }

    fn walk(&self, key: &str, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.leaf(key, text),
            Value::Array(items) if key == "command" => arguments(items),
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(key, item)),
            // Variables of jobs and profiles: their names tell enough.
            Value::Object(entries) if key == "env" => {
                entries.values_mut().for_each(|value| *value = Value::from(MASK));
            }
            Value::Object(entries) => {
                entries.iter_mut().for_each(|(key, value)| self.walk(key, value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A text is looked at with its key before it: `"token": "x"` is as telling as `token=x`.
    fn leaf(&self, key: &str, text: &str) -> String {
        let masked = self.0.mask(text);
        let head = format!("{key}: ");
        let shown = redact(&format!("{head}{masked}"));
        shown.strip_prefix(&head).map_or_else(|| MASK.to_owned(), str::to_owned)
    }
}

/// An entry of the audit log. That of a job that was handed in has the whole command as its reason.
pub(super) fn without_command(mut event: Value) -> Value {
    let was_before = event.get("before").is_some_and(|before| !before.is_null());
    let is_handed_in = event.get("what").is_some_and(|it| it == "queued") && !was_before;
    if let Some(Value::String(why)) = event.get_mut("why").filter(|_| is_handed_in) {
        let program = why.split(' ').next().unwrap_or_default();
        *why = format!("{program} {MASK}");
    }
    event
}

/// Arguments hold what people type; the program alone tells enough.
fn arguments(items: &mut Vec<Value>) {
    let count = items.len();
    if count > 1 {
        items.truncate(1);
        items.push(Value::from(format!("{MASK} ({} arguments)", count - 1)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_secret_is_left_and_the_rest_stays_readable() {
        let mut clean = Clean::default();
        let variables = [("DEPLOY", "canary-5f1d"), ("API_TOKEN", "short"), ("MODE", "fast")];
        clean.hide(&variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let text = clean.json(json!({
            "spec": {"env": {"A": "x", "B": 1}, "command": ["sh", "-c", "echo hidden"]},
            "reason": "it said canary-5f1d",
            "nested": [{"token": "anything", "token_env": "RUNNER_TOKEN"}],
            "url": "https://me:pw@proxy:1",
            "seen": "ghp_0123456789abcdefghij0123456789abcdef",
            "count": 3,
        }));
        for secret in ["canary", "\"x\"", "hidden", "anything", "me:pw", "ghp_0"] {
            assert!(!text.contains(secret), "`{secret}` in {text}");
        }
        for kept in ["\"count\": 3", "RUNNER_TOKEN", "it said ***", "\"sh\"", "(2 arguments)"] {
            assert!(text.contains(kept), "no `{kept}` in {text}");
        }
        let handed_in = json!({"what": "queued", "before": null, "why": "sh -c hidden words"});
        assert_eq!(without_command(handed_in)["why"], "sh ***");
        let again = json!({"what": "queued", "before": "running", "why": "its runner died"});
        assert_eq!(without_command(again.clone()), again);
        let log = clean.text("a canary-5f1d b\npassword=hunter2 c\nplain\n");
        assert_eq!(log, "a *** b\npassword=*** c\nplain\n");
    }
}
