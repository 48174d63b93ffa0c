//! The hash chain: what binds each entry of the audit log to all before it.
//!
//! An entry's hash is SHA-256 over a domain, the hash of the entry before it, and its fields in one
//! unmistakable form: every text with its length, every option with its presence.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::fleet::audit::AuditEntry;

/// Keeps hashes of this log apart from hashes of anything else, and this form from later ones.
const DOMAIN: &[u8] = b"slate-fleet audit entry 1\0";
const HASH_BYTES: usize = 32;

/// An entry's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// What stands before the first entry.
    pub const ZERO: Self = Self([0; HASH_BYTES]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(2 * HASH_BYTES);
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.pad(&text)
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no hash: expected 64 hexadecimal digits")]
pub struct ParseHashError(String);

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let wrong = || ParseHashError(text.to_owned());
        let mut bytes = [0; HASH_BYTES];
        if text.len() != 2 * HASH_BYTES || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = ParseHashError;

    fn try_from(text: String) -> Result<Self, ParseHashError> {
        text.parse()
    }
}

impl ToSql for Hash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for Hash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        bytes.try_into().map(Self).map_err(|_| FromSqlError::InvalidBlobSize {
            expected_size: HASH_BYTES,
            blob_size: bytes.len(),
        })
    }
}

/// A place in the chain: an entry's number and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The entry's number; 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first entry.
    pub const START: Self = Self { seq: 0, hash: Hash::ZERO };
}

/// An entry's fields as they are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fields<'a> {
    /// Counted from 1 without gaps.
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Who.
    pub actor: &'a str,
    /// To what.
    pub object: &'a str,
    /// Which life of it.
    pub incarnation: Option<u64>,
    /// What.
    pub what: &'a str,
    /// Why.
    pub why: &'a str,
    /// The state before.
    pub before: Option<&'a str>,
    /// The state after.
    pub after: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// The fields of an entry; `actor` is its actor in words.
    #[must_use]
    pub fn of(entry: &'a AuditEntry, actor: &'a str) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at.0,
            actor,
            object: &entry.object,
            incarnation: entry.incarnation.map(|id| id.0),
            what: &entry.what,
            why: &entry.why,
            before: entry.before.as_deref(),
            after: entry.after.as_deref(),
        }
    }
}

/// Makes hashes, with one buffer for all.
#[derive(Debug, Default)]
pub struct Linker {
    buffer: Vec<u8>,
}

impl Linker {
    /// The hash of an entry that follows `before`.
    pub fn link(&mut self, before: Hash, fields: &Fields<'_>) -> Hash {
        self.buffer.clear();
        self.buffer.extend_from_slice(DOMAIN);
        self.buffer.extend_from_slice(&before.0);
        self.number(fields.seq);
        self.number(fields.at);
        self.text(fields.actor);
        self.text(fields.object);
        self.option(fields.incarnation, Self::number);
        self.text(fields.what);
        self.text(fields.why);
        self.option(fields.before, Self::text);
        self.option(fields.after, Self::text);
        let hash = digest(&SHA256, &self.buffer);
        // SHA-256 has 32 bytes; there is no other case.
        Hash(hash.as_ref().try_into().unwrap_or([0; HASH_BYTES]))
    }

    fn number(&mut self, number: u64) {
        self.buffer.extend_from_slice(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.buffer.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Fields<'static> = Fields {
        seq: 7,
        at: 1_770_552_000_000,
        actor: "fleet",
        object: "job-1",
        incarnation: None,
        what: "queued",
        why: "true",
        before: None,
        after: Some("queued"),
    };

    #[test]
    fn every_field_is_bound_and_the_form_never_changes() {
        let mut linker = Linker::default();
        let hash = linker.link(Hash::ZERO, &ENTRY);
        // Files of today must be verified by every later version.
        assert_eq!(
            hash.to_string(),
            "64f8943ae10077e36dc94da920dc12a15b5d8fc5e24529256365ad8279dfeadd"
        );
        let others = [
            Fields { seq: 8, ..ENTRY },
            Fields { at: 0, ..ENTRY },
            Fields { actor: "engine", ..ENTRY },
            Fields { object: "job-", why: "1true", ..ENTRY },
            Fields { incarnation: Some(0), ..ENTRY },
            Fields { what: "queue", why: "dtrue", ..ENTRY },
            Fields { why: "", ..ENTRY },
            Fields { before: Some(""), ..ENTRY },
            Fields { before: Some("queued"), after: None, ..ENTRY },
        ];
        for other in others {
            assert_ne!(linker.link(Hash::ZERO, &other), hash, "{other:?}");
        }
        assert_ne!(linker.link(hash, &ENTRY), hash);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("zz".repeat(32).parse::<Hash>().is_err());
    }
}
