//! Frames: a length, a kind, a body. Decoding is incremental, bounded and never panics.
//!
//! Layout: `u32` little-endian length of what follows, `u8` kind, body.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::{AttemptNo, JobId};

/// Longest frame without its length field. Bounds what a hostile peer can make the other side keep.
pub const FRAME_MAX: usize = 1024 * 1024;

/// Bytes of output or of a working folder in one frame: large enough to amortise TLS records, small
/// enough that a cancellation behind it does not wait.
pub const CHUNK_MAX: usize = 64 * 1024;

/// Memory that a buffer keeps while nothing is on its way.
const QUIET_CAPACITY: usize = 4 * 1024;

const LENGTH: usize = 4;
const KIND_CONTROL: u8 = 1;
const KIND_OUTPUT: u8 = 2;
const KIND_WORKSPACE: u8 = 3;
const OUTPUT_HEADER: usize = 1 + 8 + 4 + 8;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message in JSON.
    Control(Vec<u8>),
    /// A piece of a job's output.
    Output(Output),
    /// The next piece of the working folder's tar stream.
    Workspace(Vec<u8>),
}

/// Which of a job's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The number in frames and log files.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    /// The stream of a number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// A piece of a job's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Which stream.
    pub stream: Stream,
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: AttemptNo,
    /// Where in the stream the piece begins, in bytes from the attempt's start.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What is wrong with received bytes. The session cannot go on after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field is above [`FRAME_MAX`] or zero.
    #[error("a frame of {0} bytes is not allowed (1 to {FRAME_MAX})")]
    Length(usize),
    /// No such kind.
    #[error("frame kind {0} is unknown")]
    Kind(u8),
    /// An output frame whose header is short or names no stream.
    #[error("an output frame has no valid header")]
    Output,
    /// A control frame that is no message of this protocol.
    #[error("a message cannot be read: {0}")]
    Message(String),
    /// A message too long for a frame.
    #[error("a message of {0} bytes does not fit a frame")]
    TooLong(usize),
}

/// Collects received bytes and gives out whole frames.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl FrameBuffer {
    /// Where received bytes are appended; has room for at least `ask` more.
    pub fn space(&mut self, ask: usize) -> &mut Vec<u8> {
        self.compact();
        self.bytes.reserve(ask);
        &mut self.bytes
    }

    /// The next whole frame, or nothing until more bytes arrive.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes are no frames; all later calls are meaningless then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let pending = self.bytes.get(self.start..).unwrap_or_default();
        let Some((head, rest)) = pending.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length == 0 || length > FRAME_MAX {
            return Err(FrameError::Length(length));
        }
        let Some((kind, body)) = rest.get(..length).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        let frame = parse(*kind, body)?;
        self.start += LENGTH + length;
        Ok(Some(frame))
    }

    /// Drops what was given out; gives memory back after a large frame.
    fn compact(&mut self) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(QUIET_CAPACITY);
        } else {
            self.bytes.drain(..self.start);
        }
        self.start = 0;
    }
}

fn parse(kind: u8, body: &[u8]) -> Result<Frame, FrameError> {
    match kind {
        KIND_CONTROL => Ok(Frame::Control(body.to_vec())),
        KIND_OUTPUT => parse_output(body).map(Frame::Output).ok_or(FrameError::Output),
        KIND_WORKSPACE => Ok(Frame::Workspace(body.to_vec())),
        other => Err(FrameError::Kind(other)),
    }
}

fn parse_output(body: &[u8]) -> Option<Output> {
    let (stream, rest) = body.split_first()?;
    let (job, rest) = rest.split_first_chunk()?;
    let (attempt, rest) = rest.split_first_chunk()?;
    let (offset, bytes) = rest.split_first_chunk()?;
    Some(Output {
        stream: Stream::from_number(*stream)?,
        job: JobId(u64::from_le_bytes(*job)),
        attempt: AttemptNo(u32::from_le_bytes(*attempt)),
        offset: u64::from_le_bytes(*offset),
        bytes: bytes.to_vec(),
    })
}

/// Reads the message in a control frame.
///
/// # Errors
/// [`FrameError::Message`] when it is not one of `T`.
pub fn parse_message<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(|error| FrameError::Message(error.to_string()))
}

/// Appends a message as one frame.
///
/// # Errors
/// [`FrameError::TooLong`] when it is longer than a frame may be; nothing is appended then.
pub fn put_message<T: Serialize>(to: &mut Vec<u8>, message: &T) -> Result<(), FrameError> {
    let body =
        serde_json::to_vec(message).map_err(|error| FrameError::Message(error.to_string()))?;
    if body.len() >= FRAME_MAX {
        return Err(FrameError::TooLong(body.len()));
    }
    put_head(to, KIND_CONTROL, body.len());
    to.extend_from_slice(&body);
    Ok(())
}

/// Appends a piece of output, which is at most [`CHUNK_MAX`] long.
pub fn put_output(to: &mut Vec<u8>, output: &Output) {
    put_head(to, KIND_OUTPUT, OUTPUT_HEADER + output.bytes.len());
    to.push(output.stream.number());
    to.extend_from_slice(&output.job.0.to_le_bytes());
    to.extend_from_slice(&output.attempt.0.to_le_bytes());
    to.extend_from_slice(&output.offset.to_le_bytes());
    to.extend_from_slice(&output.bytes);
}

/// Appends a piece of a working folder, which is at most [`CHUNK_MAX`] long.
pub fn put_workspace(to: &mut Vec<u8>, bytes: &[u8]) {
    put_head(to, KIND_WORKSPACE, bytes.len());
    to.extend_from_slice(bytes);
}

fn put_head(to: &mut Vec<u8>, kind: u8, body: usize) {
    let length = u32::try_from(body.saturating_add(1)).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_le_bytes());
    to.push(kind);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::FromAgent;

    fn output(bytes: &[u8]) -> Output {
        Output {
            stream: Stream::Stderr,
            job: JobId(7),
            attempt: AttemptNo(2),
            offset: 99,
            bytes: bytes.to_vec(),
        }
    }

    fn sample() -> (Vec<u8>, Vec<Frame>) {
        let mut bytes = Vec::new();
        put_message(&mut bytes, &FromAgent::Heartbeat).unwrap();
        put_output(&mut bytes, &output(b"hello"));
        put_output(&mut bytes, &output(b""));
        put_workspace(&mut bytes, &[9; 300]);
        let frames = vec![
            Frame::Control(serde_json::to_vec(&FromAgent::Heartbeat).unwrap()),
            Frame::Output(output(b"hello")),
            Frame::Output(output(b"")),
            Frame::Workspace(vec![9; 300]),
        ];
        (bytes, frames)
    }

    #[test]
    fn frames_come_back_whole_however_the_bytes_were_cut() {
        let (bytes, frames) = sample();
        for size in [1, 2, 3, 5, 7, 64, bytes.len()] {
            let mut buffer = FrameBuffer::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(size) {
                buffer.space(0).extend_from_slice(piece);
                while let Some(frame) = buffer.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames, "cut at {size}");
        }
    }

    #[test]
    fn bad_frames_are_named_and_refused() {
        let long = u32::try_from(FRAME_MAX + 1).unwrap().to_le_bytes();
        let table: [(&[u8], FrameError); 5] = [
            (&[0, 0, 0, 0], FrameError::Length(0)),
            (&long, FrameError::Length(FRAME_MAX + 1)),
            (&[1, 0, 0, 0, 77], FrameError::Kind(77)),
            (&[2, 0, 0, 0, KIND_OUTPUT, 1], FrameError::Output),
            (
                &[22, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                FrameError::Output,
            ),
        ];
        for (bytes, expected) in table {
            let mut buffer = FrameBuffer::default();
            buffer.space(0).extend_from_slice(bytes);
            assert_eq!(buffer.next_frame(), Err(expected));
        }
    }

    #[test]
    fn a_message_longer_than_a_frame_is_refused_by_the_sender() {
        let mut to = Vec::new();
        let text = "x".repeat(FRAME_MAX);
        assert_eq!(put_message(&mut to, &text), Err(FrameError::TooLong(FRAME_MAX + 2)));
        assert!(to.is_empty());
    }

    #[test]
    fn garbage_never_panics_and_never_grows_beyond_a_frame() {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..2000 {
            let mut buffer = FrameBuffer::default();
            let garbage: Vec<u8> = (0..64)
                .map(|index| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Small lengths now and then, so that bodies are parsed too.
                    if index < 4 && seed >> 62 == 0 { 0 } else { seed.to_le_bytes()[5] }
                })
                .collect();
            buffer.space(0).extend_from_slice(&garbage);
            while let Ok(Some(frame)) = buffer.next_frame() {
                if let Frame::Control(body) = frame {
                    assert!(parse_message::<FromAgent>(&body).is_err());
                }
            }
        }
    }
}
