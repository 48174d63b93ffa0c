//! What looks like a secret: refused in a fleet file, masked wherever something is shown.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use super::Env;

/// What stands in the place of what is not shown.
pub const MASK: &str = "***";

/// Words in a variable's name that say its value is a secret.
const SECRET_WORDS: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL"];

/// Keys that people put a secret itself behind, where its place belongs.
const LITERAL_WORDS: [&str; 8] =
    ["pat", "value", "literal", "plain", "raw", "string", "content", "pem"];

/// Prefixes of published token formats, with the least length of what follows.
///
/// Sources: the token format pages of GitHub, GitLab, AWS, Slack, npm, PyPI and Hugging Face.
const TOKEN_PREFIXES: [(&str, usize); 18] = [
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("glrt-", 16),
    ("AKIA", 16),
    ("ASIA", 16),
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("xapp-", 16),
    ("npm_", 30),
    ("pypi-", 30),
    ("hf_", 30),
    ("sk-", 32),
    ("dckr_pat_", 20),
];

/// A marker that no harmless value contains.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// Whether a variable of this name should not be shown.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| upper.contains(word))
}

/// Whether a text contains something in the form of a known token or a private key.
pub(super) fn contains_token(text: &str) -> bool {
    text.contains(PRIVATE_KEY) || first_token(text).is_some()
}

/// A line of somebody's output fit to be kept and shown: what looks like a secret is masked.
#[must_use]
pub fn redact(line: &str) -> String {
    mask_line(line)
}

/// A source line fit to be shown: tokens and what stands behind a secret key are masked.
pub(super) fn mask_line(line: &str) -> String {
    if line.contains(PRIVATE_KEY) {
        return MASK.to_owned();
    }
    let (mut shown, mut rest) = (String::new(), line);
    while let Some((start, end)) = first_token(rest) {
        shown.push_str(rest.get(..start).unwrap_or_default());
        shown.push_str(MASK);
        rest = rest.get(end..).unwrap_or_default();
    }
    shown.push_str(rest);
    mask_secret_values(&mask_user(&shown))
}

/// A text whose addresses show no user and password.
pub(super) fn mask_user(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + "://".len());
        shown.push_str(head);
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
        let (address, _) = tail.split_at(end.unwrap_or(tail.len()));
        let (user, from) = match address.rfind('@') {
            Some(at) => (MASK, at),
            None => ("", 0),
        };
        shown.push_str(user);
        rest = tail.get(from..).unwrap_or_default();
    }
    shown + rest
}

/// Byte range of the first token-shaped word.
fn first_token(text: &str) -> Option<(usize, usize)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, is_word(c)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                if text.get(from..at).is_some_and(is_token) {
                    return Some((from, at));
                }
                start = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    None
}

fn is_token(word: &str) -> bool {
    TOKEN_PREFIXES.iter().any(|(prefix, least)| {
        word.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() >= *least && rest.bytes().any(|byte| byte.is_ascii_digit())
        })
    })
}

/// Whether a word has the form of GitHub's registration tokens, which is also that of a name.
pub(super) fn is_registration_token(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    word.len() >= 25
        && word.bytes().all(is_part)
        && word.bytes().filter(u8::is_ascii_digit).count() >= 2
}

/// Masks literal values behind keys such as `token:` and `PASSWORD=`; names of variables stay.
fn mask_secret_values(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find([':', '=']) {
        let (head, tail) = rest.split_at(at + 1);
        shown.push_str(head);
        rest = tail;
        if !names_secret(head) {
            continue;
        }
        let blank = tail.len() - tail.trim_start().len();
        let (space, value) = tail.split_at(blank);
        if !is_harmless(value) {
            let end = value.find([',', '}', ']', ' ']).unwrap_or(value.len());
            shown.push_str(space);
            shown.push_str(MASK);
            rest = value.get(end..).unwrap_or_default();
        }
    }
    shown.push_str(rest);
    shown
}

/// Whether what stands behind a secret key is no value: nothing, a block, or just `${NAME}`.
fn is_harmless(value: &str) -> bool {
    if value.is_empty() || value.starts_with(['{', '[', '#', '&', '*', '}']) {
        return true;
    }
    let word = value.split([',', ']', ' ']).next().unwrap_or_default();
    let word = word.trim_start_matches(['"', '\'']).trim_end_matches(['"', '\'', '}']);
    let name = word.strip_prefix("${").or_else(|| word.strip_prefix('$'));
    name.is_some_and(|name| name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()))
}

/// Whether the word that ends in `:` or `=` names a secret; `token_env` names a variable only.
fn names_secret(head: &str) -> bool {
    let key = head.trim_end_matches([':', '=']).trim_end_matches(['"', '\'']);
    let word = key.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next();
    word.is_some_and(|word| {
        LITERAL_WORDS.contains(&word) || (is_secret_name(word) && !word.ends_with("_env"))
    })
}

/// Values that must not be shown: those of secret variables that went into a spec, and those that
/// a runner's programs may print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// What variables hold that a program could repeat in its output: everything long enough to
    /// be told from ordinary words, and the short values of names that say so.
    #[must_use]
    pub fn of_variables(variables: &Env) -> Self {
        const LONG: usize = 8;
        let mut secrets = Self::default();
        for (name, value) in variables {
            // Programs print a text of several lines line by line.
            for part in [value.as_str()].into_iter().chain(value.lines()) {
                if part.len() >= LONG || is_secret_name(name) {
                    secrets.add(part);
                }
            }
        }
        secrets
    }

    /// Takes over what other secrets hide.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Remembers a value; an empty one hides nothing.
    pub(super) fn add(&mut self, value: &str) {
        if !value.is_empty() {
            self.0.insert(value.to_owned());
        }
    }

    /// The text without the values. Short ones hide only a text that is the value and no more, so
    /// that `KEY=a` does not blank every letter `a`.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        const SHORT: usize = 4;
        if self.0.contains(text) {
            return MASK.to_owned();
        }
        let mut long: Vec<&String> = self.0.iter().filter(|value| value.len() >= SHORT).collect();
        // A value inside another one must not leave the other's rest.
        long.sort_by_key(|value| Reverse(value.len()));
        long.into_iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), MASK))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} values)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_line_never_carries_a_secret() {
        let table = [
            ("  token: hunter2", "  token: ***"),
            ("env: {API_TOKEN: abc, A: 1}", "env: {API_TOKEN: ***, A: 1}"),
            ("- \"DB_PASSWORD=abc def\"", "- \"DB_PASSWORD=*** def\""),
            ("github: {token: \"abc\"}", "github: {token: ***}"),
            ("  token_env: RUNNER_TOKEN", "  token_env: RUNNER_TOKEN"),
            ("  A_KEY: ${A_KEY}", "  A_KEY: ${A_KEY}"),
            ("  A_KEY: ${A_KEY:-hunter2}", "  A_KEY: ***}"),
            ("{token: '${T:-hunter2}', a: 1}", "{token: ***}', a: 1}"),
            ("{token: '${T}', a: 1}", "{token: '${T}', a: 1}"),
            ("  image: ghp_abcdefghijklmnopqrst0123456789", "  image: ***"),
            ("key:", "key:"),
            ("pat: hunter2", "pat: ***"),
            ("path: /data", "path: /data"),
            ("pat: {env: GITHUB_PAT}", "pat: {env: GITHUB_PAT}"),
            ("pat: {value: hunter2}", "pat: {value: ***}"),
            ("http: http://me:hunter2@proxy:1", "http: http://***@proxy:1"),
            ("{http: 'http://me:a/b@c@p', a: 1}", "{http: 'http://***@p', a: 1}"),
            ("url: https://github.com/me/site", "url: https://github.com/me/site"),
            ("x: -----BEGIN RSA PRIVATE KEY-----", "***"),
        ];
        for (line, shown) in table {
            assert_eq!(mask_line(line), shown, "{line}");
        }
    }

    #[test]
    fn tokens_are_known_by_their_shape() {
        assert!(contains_token("glpat-abcdefghij0123456789"));
        assert!(contains_token("Bearer ghp_0123456789abcdefghij0123456789abcdef"));
        assert!(contains_token("AKIAABCDEFGHIJ0123456"));
        for harmless in
            ["sk-learn", "pypi-mirror", "RUNNER_TOKEN_{n}", "hf_hub", "npm_config_cache"]
        {
            assert!(!contains_token(harmless), "{harmless}");
        }
    }

    #[test]
    fn short_secrets_hide_only_themselves() {
        let mut secrets = Secrets::default();
        secrets.add("a");
        secrets.add("hunter22");
        secrets.add("");
        assert_eq!(secrets.mask("a"), "***");
        assert_eq!(secrets.mask("bar"), "bar");
        assert_eq!(secrets.mask("x-hunter22-y"), "x-***-y");
        assert_eq!(format!("{secrets:?}"), "Secrets(2 values)");
    }

    #[test]
    fn what_variables_hold_is_hidden_line_by_line_and_ordinary_words_are_not() {
        let variables = [
            ("REGION", "eu-central-1"),
            ("MODE", "fast"),
            ("DEPLOY_KEY", "k9x1"),
            ("NOTE", "first line of it\nsecond line of it"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let secrets = Secrets::of_variables(&Env::from(variables));
        assert_eq!(secrets.mask("fast in eu-central-1 by k9x1"), "fast in *** by ***");
        assert_eq!(secrets.mask("said: second line of it"), "said: ***");
    }
}
