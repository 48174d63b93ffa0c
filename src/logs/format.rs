//! The format of a job's log, in the file and over HTTP.
//!
//! Records follow each other: `u8` kind, `u64` little-endian milliseconds since the Unix epoch,
//! `u32` little-endian length, then that many bytes.
//! Kind 1 is standard output and 2 standard error; 3 says that a later attempt begins (its number
//! as `u32` little-endian; without it the log begins with attempt 1); 255 ends the log.

use crate::ids::AttemptNo;
use crate::units::Time;
use crate::wire::frame::{CHUNK_MAX, Stream};

/// Bytes before a record's body.
pub(super) const HEADER: usize = 1 + 8 + 4;

const KIND_ATTEMPT: u8 = 3;
const KIND_END: u8 = 0xFF;

/// Longest body: a frame's chunk, or a marker.
pub(super) const BODY_MAX: usize = CHUNK_MAX;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A piece of output.
    Output {
        /// Which stream.
        stream: Stream,
        /// When the supervisor received it.
        at: Time,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// What follows is the output of a later attempt.
    Attempt {
        /// Its number.
        attempt: AttemptNo,
        /// When it began to write.
        at: Time,
    },
    /// Nothing follows.
    End {
        /// When the log was ended.
        at: Time,
    },
}

/// Bytes that are no job log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No such kind of record.
    #[error(
        "a job log has no record of kind {0}; the log is damaged or was read from a wrong offset"
    )]
    Kind(u8),
    /// A body longer than any record has.
    #[error("a record of {0} bytes is too long for a job log; the log is damaged")]
    Length(u32),
    /// An attempt record without a number.
    #[error("a record of a new attempt has no number; the log is damaged")]
    Attempt,
}

/// Turns received bytes into records, however they were cut.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Adds received bytes.
    pub fn push(&mut self, received: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(received);
    }

    /// The next whole record, or nothing until more bytes arrive.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes are no job log.
    pub fn next_record(&mut self) -> Result<Option<Record>, FormatError> {
        let pending = self.bytes.get(self.start..).unwrap_or_default();
        let Some((head, body)) = split(pending)? else { return Ok(None) };
        let record = head.record(body)?;
        self.start += HEADER + body.len();
        Ok(Some(record))
    }

    /// Bytes of a record that is not whole yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.bytes.len().saturating_sub(self.start)
    }
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    kind: u8,
    at: Time,
    length: u32,
}

impl Head {
    /// Reads a header.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Self, FormatError> {
        let (kind, rest) = bytes.split_first().ok_or(FormatError::Attempt)?;
        let (at, rest) = rest.split_first_chunk().ok_or(FormatError::Attempt)?;
        let (length, _) = rest.split_first_chunk().ok_or(FormatError::Attempt)?;
        let length = u32::from_le_bytes(*length);
        match *kind {
            1 | 2 | KIND_ATTEMPT | KIND_END => {}
            other => return Err(FormatError::Kind(other)),
        }
        if length as usize > BODY_MAX {
            return Err(FormatError::Length(length));
        }
        Ok(Self { kind: *kind, at: Time(u64::from_le_bytes(*at)), length })
    }

    /// The whole record's length.
    pub(super) fn record_length(self) -> usize {
        HEADER + self.length as usize
    }

    /// Whether it ends the log.
    pub(super) fn is_end(self) -> bool {
        self.kind == KIND_END
    }

    /// The record with this body.
    pub(super) fn record(self, body: &[u8]) -> Result<Record, FormatError> {
        let at = self.at;
        if let Some(stream) = Stream::from_number(self.kind) {
            return Ok(Record::Output { stream, at, bytes: body.to_vec() });
        }
        match self.kind {
            KIND_ATTEMPT => {
                let number = body.try_into().map_err(|_| FormatError::Attempt)?;
                Ok(Record::Attempt { attempt: AttemptNo(u32::from_le_bytes(number)), at })
            }
            KIND_END => Ok(Record::End { at }),
            other => Err(FormatError::Kind(other)),
        }
    }
}

/// The first whole record's header and body.
fn split(bytes: &[u8]) -> Result<Option<(Head, &[u8])>, FormatError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    let head = Head::parse(head)?;
    Ok(rest.get(..head.length as usize).map(|body| (head, body)))
}

/// The bytes of an output record. `bytes` are at most [`BODY_MAX`] long.
pub(super) fn output(stream: Stream, at: Time, bytes: &[u8]) -> Vec<u8> {
    record(stream.number(), at, bytes)
}

/// The bytes of a record of a new attempt.
pub(super) fn attempt(attempt: AttemptNo, at: Time) -> Vec<u8> {
    record(KIND_ATTEMPT, at, &attempt.0.to_le_bytes())
}

/// The bytes of the end record.
pub(super) fn end(at: Time) -> Vec<u8> {
    record(KIND_END, at, &[])
}

fn record(kind: u8, at: Time, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + body.len());
    record.push(kind);
    record.extend_from_slice(&at.0.to_le_bytes());
    record.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(body);
    record
}
