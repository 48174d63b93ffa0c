//! What a forge says of a refusal, made fit for a line of text.

use serde_json::Value;

/// Longest text that is taken over.
const SAID_MAX: usize = 300;

/// The `message` of an error's body and its details, on one line and bounded; empty if there is
/// none.
pub(super) fn said(body: &[u8]) -> String {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let mut text = value.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    let details = value.get("errors").and_then(Value::as_array);
    for detail in details.into_iter().flatten().take(3) {
        let words = detail.as_str().or_else(|| detail.get("message")?.as_str());
        if let Some(words) = words {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(words);
        }
    }
    one_line(&text)
}

/// Text of a stranger: no control characters, bounded.
pub(super) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(SAID_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_one_bounded_line() {
        assert_eq!(said(br#"{"message":"Not Found"}"#), "Not Found");
        let body = br#"{"message":"Validation Failed","errors":["bad\u001b[1m",{"message":"x"}]}"#;
        assert_eq!(said(body), "Validation Failed: bad [1m: x");
        assert_eq!(said(b"<html>Bad gateway</html>"), "");
        let long = format!(r#"{{"message":"{}"}}"#, "a".repeat(1000));
        assert_eq!(said(long.as_bytes()).len(), SAID_MAX);
    }
}
