//! The end of what one attempt wrote, each stream for itself: chunks of both are mixed in the file,
//! and a line must not be torn by the other stream.

use std::fs::File;
use std::io::{self, BufReader, Read as _};

use super::format::{HEADER, Head, Record};
use super::{JobLog, LogError, LogStore};
use crate::ids::{AttemptNo, JobId};
use crate::wire::frame::Stream;

/// The last bytes of both streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// Of standard output.
    pub stdout: End,
    /// Of standard error.
    pub stderr: End,
}

/// The last bytes of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether there were more before them.
    pub is_cut: bool,
}

impl LogStore {
    /// The last `most` bytes of each stream that an attempt wrote; empty where it wrote none. What
    /// went beyond the log's bound is not there.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn ends(&self, job: JobId, attempt: AttemptNo, most: usize) -> Result<Ends, LogError> {
        let log = self.active(job)?;
        let written = log.progress.borrow().length;
        let found = read(&log, written, (attempt, most));
        drop(log);
        self.sweep();
        found
    }
}

fn read(log: &JobLog, written: u64, wanted: (AttemptNo, usize)) -> Result<Ends, LogError> {
    match File::open(&log.path) {
        // Only whole records are counted as written.
        Ok(file) => {
            scan(file.take(written), wanted).map_err(|source| log.error("read the end of", source))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ends::default()),
        Err(source) => Err(log.error("open", source)),
    }
}

fn scan(file: impl io::Read, (wanted, most): (AttemptNo, usize)) -> io::Result<Ends> {
    let mut file = BufReader::new(file);
    let (mut attempt, mut ends) = (AttemptNo(1), Ends::default());
    let mut head = [0; HEADER];
    loop {
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let head = Head::parse(&head).map_err(io::Error::other)?;
        let mut body = vec![0; head.record_length() - HEADER];
        file.read_exact(&mut body)?;
        match head.record(&body).map_err(io::Error::other)? {
            Record::Output { stream: Stream::Stdout, bytes, .. } => ends.stdout.add(&bytes, most),
            Record::Output { stream: Stream::Stderr, bytes, .. } => ends.stderr.add(&bytes, most),
            Record::Attempt { attempt: next, .. } => {
                (attempt, ends) = (next, Ends::default());
            }
            Record::End { .. } => break,
        }
    }
    // An attempt that wrote nothing left no mark: what is there is an earlier one's.
    Ok(if attempt == wanted { ends } else { Ends::default() })
}

impl End {
    fn add(&mut self, bytes: &[u8], most: usize) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(most);
        self.is_cut |= surplus > 0;
        self.bytes.drain(..surplus);
    }
}
