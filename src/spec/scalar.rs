//! Scalars: a text whose type depends on how it is written and what is expected.

use super::secret;

/// A scalar as written; its type depends on what is expected at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    /// The text without quotes.
    pub(super) text: String,
    /// Whether it is quoted or a block, and so never a number.
    pub(super) quoting: Quoting,
    /// Whether variables went into it.
    pub(super) origin: Origin,
    /// As it is written, where variables went into it.
    pub(super) written: Option<String>,
}

/// Whether a scalar was written with quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// `4`
    Plain,
    /// `"4"`, or a block scalar.
    Quoted,
}

/// Where a scalar's text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From the file alone.
    Literal,
    /// Variables were put in.
    Interpolated,
    /// Variables were put in, one of which has the name of a secret.
    Secret,
}

/// The type of a plain scalar under YAML 1.2's core schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; `None` where it fits no 64 bits.
    Integer(Option<i64>),
    /// A number with a fraction or exponent.
    Float,
    /// Anything else.
    Text,
}

impl Scalar {
    /// A scalar into which no variables went.
    pub(super) fn literal(text: String, quoting: Quoting) -> Self {
        Self { text, quoting, origin: Origin::Literal, written: None }
    }

    /// The type of the scalar. Texts with variables count as plain, as compose casts them.
    pub(super) fn kind(&self) -> Kind {
        match (self.quoting, self.origin) {
            (Quoting::Quoted, Origin::Literal) => Kind::Text,
            (Quoting::Plain, _) | (Quoting::Quoted, Origin::Interpolated | Origin::Secret) => {
                plain_kind(&self.text)
            }
        }
    }

    /// The text for a message.
    pub(super) fn shown(&self) -> &str {
        match self.origin {
            Origin::Literal | Origin::Interpolated => &self.text,
            Origin::Secret => secret::MASK,
        }
    }
}

/// Resolves a plain text as section 10.3.2 of the YAML 1.2.2 specification says.
pub(super) fn plain_kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | ".nan" | ".NaN" | ".NAN" => Kind::Float,
        _ => number_kind(text),
    }
}

fn number_kind(text: &str) -> Kind {
    if let Some(digits) = text.strip_prefix("0x") {
        return based(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Kind::Integer(text.parse().ok());
    }
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let has_digit = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if numeric && has_digit && text.parse::<f64>().is_ok() { Kind::Float } else { Kind::Text }
}

fn based(digits: &str, radix: u32) -> Kind {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Kind::Text;
    }
    Kind::Integer(i64::from_str_radix(digits, radix).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_have_the_types_of_yaml_1_2() {
        let table = [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("null", Kind::Null),
            ("true", Kind::Bool(true)),
            ("False", Kind::Bool(false)),
            ("yes", Kind::Text),
            ("12", Kind::Integer(Some(12))),
            ("-12", Kind::Integer(Some(-12))),
            ("0o14", Kind::Integer(Some(12))),
            ("0xC", Kind::Integer(Some(12))),
            ("0x", Kind::Text),
            ("99999999999999999999", Kind::Integer(None)),
            ("1.5", Kind::Float),
            (".5", Kind::Float),
            ("1e3", Kind::Float),
            (".inf", Kind::Float),
            ("e3", Kind::Text),
            ("1000:1000", Kind::Text),
            ("512MiB", Kind::Text),
            ("-", Kind::Text),
            (".", Kind::Text),
        ];
        for (text, kind) in table {
            assert_eq!(plain_kind(text), kind, "{text:?}");
        }
    }
}
