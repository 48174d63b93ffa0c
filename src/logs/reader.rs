//! Follows a job's log from an offset to its end, woken by the writer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use tokio::sync::watch;

use super::format::{HEADER, Head};
use super::{JobLog, LogError, Progress};

/// Bytes read at a time: one full record and more, so that whole records always fit.
const PIECE: usize = 128 * 1024;

/// Reads one log. Dropping it is all that is needed to stop.
#[derive(Debug)]
pub struct LogReader {
    log: Arc<JobLog>,
    progress: watch::Receiver<Progress>,
    file: Option<Arc<File>>,
    offset: u64,
    ended: bool,
}

impl LogReader {
    pub(super) fn new(log: Arc<JobLog>, from: u64) -> Self {
        let progress = log.progress.subscribe();
        Self { log, progress, file: None, offset: from, ended: false }
    }

    /// Where the next piece begins; a later reader can go on there.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece, made of whole records; waits for one. Nothing after the end record, or when
    /// the log was removed.
    ///
    /// # Errors
    /// When the file cannot be read, or is no log at this offset.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        while !self.ended {
            let written = *self.progress.borrow_and_update();
            if self.offset < written.length {
                return self.read(written.length).await.map(Some);
            }
            if written.ended || self.progress.changed().await.is_err() {
                self.ended = true;
            }
        }
        Ok(None)
    }

    async fn read(&mut self, until: u64) -> Result<Vec<u8>, LogError> {
        let file = self.file()?;
        let offset = self.offset;
        let wanted = usize::try_from(until - offset).unwrap_or(PIECE).min(PIECE);
        let piece = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
            let mut piece = vec![0; wanted];
            file.read_exact_at(&mut piece, offset)?;
            Ok(piece)
        });
        let piece = piece.await.map_err(io::Error::other).and_then(|read| read);
        let mut piece = piece.map_err(|source| self.log.error("read", source))?;
        let (whole, ended) =
            whole_records(&piece).map_err(|source| self.log.error("read", source))?;
        piece.truncate(whole);
        self.offset += whole as u64;
        self.ended = ended;
        Ok(piece)
    }

    fn file(&mut self) -> Result<Arc<File>, LogError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = File::open(&self.log.path).map_err(|source| self.log.error("open", source))?;
        let file = Arc::new(file);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// The length of the whole records at the front, and whether the last one ends the log.
fn whole_records(piece: &[u8]) -> io::Result<(usize, bool)> {
    let mut whole = 0;
    loop {
        let rest = piece.get(whole..).unwrap_or_default();
        let Some((head, _)) = rest.split_first_chunk::<HEADER>() else { break };
        let head = Head::parse(head).map_err(io::Error::other)?;
        if rest.len() < head.record_length() {
            break;
        }
        whole += head.record_length();
        if head.is_end() {
            return Ok((whole, true));
        }
    }
    if whole == 0 {
        let why = "the offset is not where a record begins";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok((whole, false))
}
