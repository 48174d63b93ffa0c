//! The framing of job output on disk and on the wire, and its reader.
//!
//! A record is `[u8 kind][u64 LE Unix ms][u32 LE length][bytes]`. Kinds 1 and 2 are stdout and
//! stderr, 3 says that a later attempt begins (its number as u32 LE), 0xFF is the end.
//! `POST /api/v1/run` adds kind 0x10: the job as JSON.

use std::collections::VecDeque;

use crate::units::Time;

/// Bytes before a record's payload.
pub const HEADER_LEN: usize = 13;
/// Longest payload; a longer one means that the stream is damaged.
pub const PAYLOAD_MAX: usize = 16 * 1024 * 1024;

/// What a record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Bytes of standard output.
    Stdout,
    /// Bytes of standard error.
    Stderr,
    /// The output of a later attempt begins; its number is the payload.
    Attempt,
    /// A `JobView` as JSON; only in the answer to `POST /api/v1/run`.
    Job,
    /// Nothing follows.
    End,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            3 => Some(Self::Attempt),
            0x10 => Some(Self::Job),
            0xFF => Some(Self::End),
            _ => None,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::Attempt => 3,
            Self::Job => 0x10,
            Self::End => 0xFF,
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it carries.
    pub kind: RecordKind,
    /// When it was written.
    pub at: Time,
    /// The payload.
    pub bytes: Vec<u8>,
}

impl Record {
    /// The record as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(HEADER_LEN + self.bytes.len());
        out.push(self.kind.byte());
        out.extend_from_slice(&self.at.0.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }
}

/// The stream is not made of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A byte that begins no known record.
    #[error("the job's output is damaged: a record begins with {0:#04x}")]
    Kind(u8),
    /// A length beyond the bound.
    #[error("the job's output is damaged: a record claims {0} bytes")]
    Length(u32),
}

/// Cuts a stream of chunks into records.
#[derive(Debug, Default)]
pub struct RecordReader {
    buffer: VecDeque<u8>,
}

impl RecordReader {
    /// Adds what arrived.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend(chunk);
    }

    /// Bytes that wait for the rest of their record.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole record, if it has arrived.
    ///
    /// # Errors
    /// [`RecordError`] when the stream is not made of records.
    pub fn next_record(&mut self) -> Result<Option<Record>, RecordError> {
        let Some((kind, at, length)) = self.header()? else { return Ok(None) };
        if self.buffer.len() < HEADER_LEN + length {
            return Ok(None);
        }
        self.buffer.drain(..HEADER_LEN);
        let bytes = self.buffer.drain(..length).collect();
        Ok(Some(Record { kind, at, bytes }))
    }

    fn header(&self) -> Result<Option<(RecordKind, Time, usize)>, RecordError> {
        if self.buffer.len() < HEADER_LEN {
            return Ok(None);
        }
        let mut header = [0_u8; HEADER_LEN];
        for (to, from) in header.iter_mut().zip(&self.buffer) {
            *to = *from;
        }
        let [kind, a, b, c, d, e, f, g, h, i, j, k, l] = header;
        let at = Time(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        let length = u32::from_le_bytes([i, j, k, l]);
        let kind = RecordKind::from_byte(kind).ok_or(RecordError::Kind(kind))?;
        match usize::try_from(length) {
            Ok(length) if length <= PAYLOAD_MAX => Ok(Some((kind, at, length))),
            Ok(_) | Err(_) => Err(RecordError::Length(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_any_cut_of_the_stream() {
        let records = [
            Record { kind: RecordKind::Stdout, at: Time(7), bytes: b"out\n\0\xff".to_vec() },
            Record { kind: RecordKind::Stderr, at: Time(8), bytes: Vec::new() },
            Record { kind: RecordKind::End, at: Time(9), bytes: Vec::new() },
        ];
        let stream: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        for size in 1..=stream.len() {
            let mut reader = RecordReader::default();
            let mut seen = Vec::new();
            for chunk in stream.chunks(size) {
                reader.push(chunk);
                while let Some(record) = reader.next_record().expect("good stream") {
                    seen.push(record);
                }
            }
            assert_eq!(seen, records, "chunks of {size}");
            assert_eq!(reader.pending(), 0);
        }
    }

    #[test]
    fn a_damaged_stream_is_an_error_and_not_a_huge_allocation() {
        let mut reader = RecordReader::default();
        reader.push(&[9; HEADER_LEN]);
        assert_eq!(reader.next_record(), Err(RecordError::Kind(9)));
        let mut reader = RecordReader::default();
        reader.push(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(reader.next_record(), Err(RecordError::Length(u32::MAX)));
    }
}
