//! A job's log opened for writing: where each stream stands, and what still fits.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::path::Path;

use super::format::{self, HEADER, Head, Record};
use super::{Progress, Written};
use crate::ids::AttemptNo;
use crate::units::{Bytes, Time};
use crate::wire::frame::{Output, Stream};

/// One stream of the attempt that writes now.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// Bytes of the attempt that are in the file.
    kept: u64,
    /// Bytes that the agent has sent.
    received: u64,
}

/// What a scan of the file finds.
#[derive(Debug, Clone, Copy)]
struct Contents {
    attempt: AttemptNo,
    stdout: Position,
    stderr: Position,
    /// Bytes of output in the file, of all attempts.
    output: u64,
    progress: Progress,
}

impl Contents {
    const EMPTY: Self = Self {
        attempt: AttemptNo(1),
        stdout: Position { kept: 0, received: 0 },
        stderr: Position { kept: 0, received: 0 },
        output: 0,
        progress: Progress { length: 0, ended: false },
    };

    fn stream(&mut self, stream: Stream) -> &mut Position {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn begin(&mut self, attempt: AttemptNo) {
        self.attempt = attempt;
        self.stdout = Position::default();
        self.stderr = Position::default();
    }

    fn count(&mut self, record: &Record) {
        match record {
            Record::Output { stream, bytes, .. } => {
                let position = self.stream(*stream);
                position.kept += bytes.len() as u64;
                position.received = position.kept;
                self.output += bytes.len() as u64;
            }
            Record::Attempt { attempt, .. } => self.begin(*attempt),
            Record::End { .. } => self.progress.ended = true,
        }
    }
}

/// How much of a log is whole. A file that does not exist is an empty log.
pub(super) fn measure(path: &Path) -> io::Result<Progress> {
    match File::open(path) {
        Ok(file) => scan(file).map(|contents| contents.progress),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Contents::EMPTY.progress),
        Err(error) => Err(error),
    }
}

/// Reads all whole records; stops at a torn or damaged one.
fn scan(file: File) -> io::Result<Contents> {
    let mut contents = Contents::EMPTY;
    let mut file = BufReader::new(file);
    let mut head = [0; HEADER];
    let mut body = Vec::new();
    while !contents.progress.ended && filled(&mut file, &mut head)? {
        let Ok(parsed) = Head::parse(&head) else { break };
        body.resize(parsed.record_length() - HEADER, 0);
        if !filled(&mut file, &mut body)? {
            break;
        }
        let Ok(record) = parsed.record(&body) else { break };
        contents.count(&record);
        contents.progress.length += parsed.record_length() as u64;
    }
    Ok(contents)
}

/// Fills the buffer; false if the file ends before.
fn filled(file: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A log that can be appended to.
#[derive(Debug)]
pub(super) struct OpenLog {
    file: File,
    log_max: Bytes,
    contents: Contents,
    /// Bytes of output, of all attempts, that were dropped.
    dropped: u64,
}

impl OpenLog {
    /// Opens or makes the file, and cuts off a record that was not written to its end.
    pub(super) fn open(path: &Path, log_max: Bytes) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let contents = scan(file.try_clone()?)?;
        file.set_len(contents.progress.length)?;
        Ok(Self { file, log_max, contents, dropped: 0 })
    }

    /// How far it is written.
    pub(super) fn progress(&self) -> Progress {
        self.contents.progress
    }

    /// Writes what is new in a piece of output, as far as it fits.
    pub(super) fn append(&mut self, output: &Output, now: Time) -> io::Result<Written> {
        if self.contents.progress.ended || output.attempt < self.contents.attempt {
            return Ok(taken_over(output));
        }
        if output.attempt > self.contents.attempt {
            self.write(&format::attempt(output.attempt, now))?;
            self.dropped += self.missing();
            self.contents.begin(output.attempt);
        }
        self.append_new(output, now)?;
        Ok(self.written())
    }

    fn append_new(&mut self, output: &Output, now: Time) -> io::Result<()> {
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let received = self.contents.stream(output.stream).received;
        let known = usize::try_from(received.saturating_sub(output.offset)).unwrap_or(usize::MAX);
        let new = output.bytes.get(known..).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        for piece in new.get(..room.min(new.len())).unwrap_or_default().chunks(format::BODY_MAX) {
            self.write(&format::output(output.stream, now, piece))?;
            // Counted piece by piece: after a failure the agent sends the rest again.
            let length = piece.len() as u64;
            self.contents.output += length;
            let position = self.contents.stream(output.stream);
            position.kept += length;
            position.received = received.max(output.offset) + length;
        }
        let end = output.offset.saturating_add(output.bytes.len() as u64);
        self.contents.stream(output.stream).received = end;
        Ok(())
    }

    /// Says what was dropped, and ends the log.
    pub(super) fn finish(&mut self, now: Time) -> io::Result<()> {
        if self.contents.progress.ended {
            return Ok(());
        }
        let dropped = self.dropped + self.missing();
        if dropped > 0 {
            let text = format!(
                "\nslate-fleet: {} of output ({dropped} bytes) are missing here; \
                 at most {} of a job's output are kept.\n",
                Bytes(dropped),
                self.log_max
            );
            self.write(&format::output(Stream::Stderr, now, text.as_bytes()))?;
        }
        self.write(&format::end(now))?;
        self.contents.progress.ended = true;
        Ok(())
    }

    /// Bytes of output that still fit. Once something was dropped nothing fits any more, so that
    /// what is kept is the beginning without holes.
    fn room(&self) -> u64 {
        if self.dropped + self.missing() > 0 {
            return 0;
        }
        self.log_max.0.saturating_sub(self.contents.output)
    }

    fn missing(&self) -> u64 {
        [self.contents.stdout, self.contents.stderr]
            .iter()
            .map(|position| position.received.saturating_sub(position.kept))
            .sum()
    }

    fn written(&self) -> Written {
        Written { stdout: self.contents.stdout.received, stderr: self.contents.stderr.received }
    }

    /// One `write` for each record, so that a kill between two of them tears nothing.
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let before = self.contents.progress.length;
        if let Err(error) = self.file.write_all(record) {
            // A full disk may have taken a part; the next record must not follow a torn one.
            self.file.set_len(before)?;
            return Err(error);
        }
        self.contents.progress.length = before + record.len() as u64;
        Ok(())
    }
}

/// The answer to output that is not wanted any more: the agent may forget it.
fn taken_over(output: &Output) -> Written {
    let end = output.offset.saturating_add(output.bytes.len() as u64);
    match output.stream {
        Stream::Stdout => Written { stdout: end, stderr: 0 },
        Stream::Stderr => Written { stdout: 0, stderr: end },
    }
}
