//! Puts variables into scalars, as compose does.
//!
//! `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?message}`, `${VAR?message}`,
//! `${VAR:+instead}`, `${VAR+instead}` and `$$`; what follows an operator may itself hold
//! variables. Keys are never touched, values of variables are never expanded again.

use super::Env;
use super::diagnostic::{Findings, Span};
use super::document::{Entry, Merging, Node, Value};
use super::scalar::{Kind, Origin, Quoting, Scalar};
use super::secret::{self, Secrets};

/// Deepest nesting of defaults; more is a mistake.
const DEPTH_MAX: usize = 16;

/// Longest text that may come out, so that a large variable used often cannot fill memory.
const TEXT_MAX: usize = 64 * 1024;

/// Replaces the variables in every scalar of a tree; depth was bounded when it was parsed.
pub(super) fn interpolate(node: &mut Node, cx: &mut Context<'_>) {
    let span = node.span;
    match &mut node.value {
        Value::Scalar(scalar) => cx.scalar(scalar, span),
        Value::List(items) => items.iter_mut().for_each(|item| interpolate(item, cx)),
        Value::Map(entries) => {
            for entry in entries {
                interpolate(&mut entry.value, cx);
            }
        }
    }
}

/// What interpolation reads and writes.
pub(super) struct Context<'a> {
    /// The variables.
    pub(super) env: &'a Env,
    /// What is wrong.
    pub(super) findings: &'a mut Findings,
    /// Values of secret variables that were put in.
    pub(super) secrets: &'a mut Secrets,
}

impl Context<'_> {
    fn scalar(&mut self, scalar: &mut Scalar, span: Span) {
        if secret::contains_token(&scalar.text) {
            refuse_secret(self.findings, span);
            return;
        }
        if !scalar.text.contains('$') {
            return;
        }
        let mut reader = Reader { rest: &scalar.text, cx: self, span, origin: Origin::Literal };
        match reader.template(0, Branch::Taken) {
            Ok(text) if text.len() <= TEXT_MAX => {
                let (origin, written) = (reader.origin, Some(scalar.text.clone()));
                *scalar = Scalar { text, origin, written, quoting: scalar.quoting };
            }
            Ok(_) => {
                let message = format!("with its variables this is longer than {TEXT_MAX} bytes");
                self.findings.error(span, message);
            }
            Err(Refused) => scalar.origin = Origin::Interpolated,
        }
    }
}

impl Context<'_> {
    /// Gives a name without a value the variable's value, as compose does in `environment`.
    pub(super) fn look_up(&mut self, entry: &mut Entry) {
        let Value::Scalar(scalar) = &mut entry.value.value else { return };
        if scalar.origin != Origin::Literal || scalar.kind() != Kind::Null {
            return;
        }
        let name = entry.key.as_str();
        let Some(value) = self.env.get(name) else {
            self.findings
                .warning(entry.key_span, format!("the variable `{name}` is not set; left out"))
                .help("set it in `.env`, or write its value here");
            entry.value.merging = Merging::Reset;
            return;
        };
        let origin = match secret::is_secret_name(name) {
            true => Origin::Secret,
            false => Origin::Interpolated,
        };
        if origin == Origin::Secret {
            self.secrets.add(value);
        }
        entry.value = Node::text(entry.value.span, value, origin);
    }
}

/// A text with its variables put in.
pub(super) struct Filled {
    pub(super) text: String,
    /// What is said of the first variable that is not set, and counts as empty.
    pub(super) missing: Option<String>,
}

/// Puts variables into one text.
///
/// # Errors
/// In words, without a value: it is not written right, or needs a variable that is not set.
pub(super) fn fill(text: &str, env: &Env) -> Result<Filled, String> {
    let (mut findings, mut secrets) = (Findings::default(), Secrets::default());
    let mut scalar = Scalar::literal(text.to_owned(), Quoting::Quoted);
    let mut cx = Context { env, findings: &mut findings, secrets: &mut secrets };
    cx.scalar(&mut scalar, Span::default());
    let told = |message: String| message.split(';').next().map(str::to_owned);
    let missing = findings.first_message().and_then(told);
    match (findings.has_errors(), missing) {
        (true, Some(why)) => Err(why),
        (_, missing) => Ok(Filled { text: scalar.text, missing }),
    }
}

/// Says that a secret was found where it must not be.
pub(super) fn refuse_secret(findings: &mut Findings, span: Span) {
    findings.error(span, "this looks like a secret").help(
        "secrets never enter the file: put it into `.env` and write the variable's name, as in \
         `token_env: RUNNER_TOKEN`; a secret that was saved here should be revoked",
    );
}

/// The reason is among the findings.
struct Refused;

/// Whether the text that is being read will be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    Taken,
    Unused,
}

struct Reader<'t, 'c, 'a> {
    rest: &'t str,
    cx: &'c mut Context<'a>,
    span: Span,
    origin: Origin,
}

impl<'t> Reader<'t, '_, '_> {
    /// Reads up to the closing brace of depth `depth`, or at depth 0 to the end.
    fn template(&mut self, depth: usize, branch: Branch) -> Result<String, Refused> {
        if depth > DEPTH_MAX {
            return self.refuse(format!("variables are nested deeper than {DEPTH_MAX} levels"));
        }
        let mut text = String::new();
        while let Some(c) = self.rest.chars().next() {
            if c == '}' && depth > 0 {
                return Ok(text);
            }
            self.skip(c.len_utf8());
            if c != '$' {
                text.push(c);
            } else if self.rest.starts_with('$') {
                self.skip(1);
                text.push('$');
            } else {
                let value = self.variable(depth, branch)?;
                text.push_str(&value);
                if text.len() > TEXT_MAX {
                    return Ok(text);
                }
            }
        }
        if depth == 0 { Ok(text) } else { self.refuse("`${` has no closing `}`".to_owned()) }
    }

    /// Reads what follows a `$`.
    fn variable(&mut self, depth: usize, branch: Branch) -> Result<String, Refused> {
        let braced = self.rest.starts_with('{');
        if braced {
            self.skip(1);
        }
        let name = self.name();
        if name.is_empty() {
            return self.refuse("`$` is not followed by a variable's name".to_owned());
        }
        let value = self.cx.env.get(name).cloned();
        if !braced {
            return Ok(self.plain(name, value, branch));
        }
        let (op, filled) = match self.rest.strip_prefix(':') {
            Some(tail) => (tail.chars().next(), value.clone().filter(|value| !value.is_empty())),
            None => (self.rest.chars().next(), value.clone()),
        };
        match op {
            Some('}') if self.rest.starts_with('}') => {
                self.skip(1);
                Ok(self.plain(name, value, branch))
            }
            Some(op @ ('-' | '+' | '?')) => {
                self.skip(if self.rest.starts_with(':') { 2 } else { 1 });
                self.with_operator(name, op, Use { filled, depth, branch })
            }
            Some(_) => self.refuse(format!("`${{{name}` is followed by something unknown")),
            None => self.refuse("`${` has no closing `}`".to_owned()),
        }
    }

    /// Reads the rest of `${NAME-…}`, `${NAME+…}` or `${NAME?…}` and chooses.
    fn with_operator(&mut self, name: &str, op: char, usage: Use) -> Result<String, Refused> {
        let Use { filled, depth, branch } = usage;
        let uses_other = (op == '+') == filled.is_some();
        let inner = if uses_other { branch } else { Branch::Unused };
        let other = self.template(depth + 1, inner)?;
        self.skip(1);
        match (op, filled) {
            ('?', None) if branch == Branch::Taken => {
                let reason = if other.is_empty() { "it has no value" } else { other.as_str() };
                self.refuse(format!("the variable `{name}` is needed: {reason}"))
            }
            ('+', None) => Ok(String::new()),
            ('+', Some(_)) | (_, None) => {
                self.mark(Origin::Interpolated);
                Ok(other)
            }
            (_, Some(value)) => Ok(self.put_in(name, value, branch)),
        }
    }

    /// `$NAME` and `${NAME}`: nothing if it is not set, which is said.
    fn plain(&mut self, name: &str, value: Option<String>, branch: Branch) -> String {
        if value.is_none() && branch == Branch::Taken {
            self.cx
                .findings
                .warning(self.span, format!("the variable `{name}` is not set; using nothing"))
                .help(format!(
                    "set it in `.env`, or write `${{{name}:-default}}` or `${{{name}:?message}}`"
                ));
        }
        self.mark(Origin::Interpolated);
        value.map_or_else(String::new, |value| self.put_in(name, value, branch))
    }

    fn put_in(&mut self, name: &str, value: String, branch: Branch) -> String {
        self.mark(Origin::Interpolated);
        if secret::is_secret_name(name) && branch == Branch::Taken {
            self.cx.secrets.add(&value);
            self.mark(Origin::Secret);
        }
        value
    }

    /// A scalar with one secret in it stays secret.
    fn mark(&mut self, origin: Origin) {
        if self.origin != Origin::Secret {
            self.origin = origin;
        }
    }

    fn name(&mut self) -> &'t str {
        let is_name = |(at, c): (usize, char)| {
            c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
        };
        let end = self.rest.char_indices().find(|found| !is_name(*found));
        let (name, rest) = self.rest.split_at(end.map_or(self.rest.len(), |(at, _)| at));
        self.rest = rest;
        name
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn refuse(&mut self, message: String) -> Result<String, Refused> {
        self.cx.findings.error(self.span, message).help(
            "write `${NAME}`, `${NAME:-default}` or `${NAME:?message}`; a dollar sign is `$$`",
        );
        Err(Refused)
    }
}

/// How a variable with an operator is used.
struct Use {
    filled: Option<String>,
    depth: usize,
    branch: Branch,
}
