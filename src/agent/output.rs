//! Output that the supervisor has not written yet. Plain data; bounded by [`UNACKNOWLEDGED_MAX`].

use std::collections::VecDeque;

use crate::wire::UNACKNOWLEDGED_MAX;
use crate::wire::frame::{CHUNK_MAX, Output, Stream};
use crate::wire::message::JobRef;

/// What one chunk takes beside its bytes; counted, so that a job that prints byte by byte cannot
/// make the agent grow.
const CHUNK_COST: usize = 96;

/// Pieces of output in the order in which they were read, from the first that is not acknowledged.
#[derive(Debug)]
pub(super) struct Outbox {
    job: JobRef,
    chunks: VecDeque<Output>,
    /// How many of `chunks` went out in this session.
    sent: usize,
    cost: usize,
    stdout: u64,
    stderr: u64,
}

impl Outbox {
    pub(super) fn new(job: JobRef) -> Self {
        Self { job, chunks: VecDeque::new(), sent: 0, cost: 0, stdout: 0, stderr: 0 }
    }

    /// Whether more output may be read.
    pub(super) fn has_room(&self) -> bool {
        self.cost < UNACKNOWLEDGED_MAX
    }

    /// Adds what was read. Small pieces that have not gone out are joined.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let end = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let offset = *end;
        *end += bytes.len() as u64;
        self.cost += bytes.len();
        if self.chunks.len() > self.sent
            && let Some(last) = self.chunks.back_mut()
            && last.stream == stream
            && last.bytes.len() + bytes.len() <= CHUNK_MAX
        {
            last.bytes.extend_from_slice(bytes);
            return;
        }
        self.cost += CHUNK_COST;
        let JobRef { job, attempt } = self.job;
        self.chunks.push_back(Output { stream, job, attempt, offset, bytes: bytes.to_vec() });
    }

    /// The next piece for this session; it counts as sent.
    pub(super) fn next_unsent(&mut self) -> Option<&Output> {
        let next = self.chunks.get(self.sent)?;
        self.sent += 1;
        Some(next)
    }

    pub(super) fn all_sent(&self) -> bool {
        self.sent == self.chunks.len()
    }

    /// A new session: everything that was not acknowledged goes out again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The supervisor has written both streams up to here.
    pub(super) fn written(&mut self, stdout: u64, stderr: u64) {
        while let Some(first) = self.chunks.front() {
            let end = first.offset + first.bytes.len() as u64;
            let written = match first.stream {
                Stream::Stdout => stdout,
                Stream::Stderr => stderr,
            };
            if end > written || self.sent == 0 {
                break;
            }
            self.cost -= first.bytes.len() + CHUNK_COST;
            self.sent -= 1;
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            self.chunks.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AttemptNo, JobId};

    fn outbox() -> Outbox {
        Outbox::new(JobRef { job: JobId(1), attempt: AttemptNo(1) })
    }

    fn drain(outbox: &mut Outbox) -> Vec<(Stream, u64, Vec<u8>)> {
        std::iter::from_fn(|| {
            outbox.next_unsent().map(|chunk| (chunk.stream, chunk.offset, chunk.bytes.clone()))
        })
        .collect()
    }

    #[test]
    fn small_pieces_of_one_stream_are_joined_until_they_are_sent() {
        let mut outbox = outbox();
        outbox.push(Stream::Stdout, b"a");
        outbox.push(Stream::Stdout, b"b");
        outbox.push(Stream::Stderr, b"c");
        outbox.push(Stream::Stdout, b"d");
        let expected = vec![
            (Stream::Stdout, 0, b"ab".to_vec()),
            (Stream::Stderr, 0, b"c".to_vec()),
            (Stream::Stdout, 2, b"d".to_vec()),
        ];
        assert_eq!(drain(&mut outbox), expected);
        outbox.push(Stream::Stdout, b"e");
        assert_eq!(drain(&mut outbox), [(Stream::Stdout, 3, b"e".to_vec())]);
    }

    #[test]
    fn a_new_session_gets_what_was_not_acknowledged() {
        let mut outbox = outbox();
        outbox.push(Stream::Stdout, b"one");
        assert_eq!(drain(&mut outbox).len(), 1);
        outbox.push(Stream::Stdout, b"two");
        assert_eq!(drain(&mut outbox).len(), 1);
        outbox.written(3, 0);
        outbox.rewind();
        assert_eq!(drain(&mut outbox), [(Stream::Stdout, 3, b"two".to_vec())]);
        assert!(outbox.all_sent());
    }

    #[test]
    fn unacknowledged_output_is_bounded_even_byte_by_byte() {
        let mut outbox = outbox();
        let mut pieces = 0;
        while outbox.has_room() {
            outbox.push(Stream::Stdout, b"x");
            assert!(outbox.next_unsent().is_some());
            pieces += 1;
        }
        assert!(pieces < UNACKNOWLEDGED_MAX / CHUNK_COST + 2);
        outbox.written(u64::MAX, 0);
        assert_eq!(outbox.cost, 0);
    }
}
