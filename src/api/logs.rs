//! What the API needs of the store of job output.

use std::future::ready;
use std::io;
use std::pin::Pin;

use axum::body::Bytes;
use futures_util::{Stream, stream};

use crate::ids::JobId;
use crate::logs::{LogReader, LogStore};

/// Chunks of whole records.
pub type LogStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Whether a reader waits for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Until the end record.
    Yes,
    /// Up to what is there now.
    No,
}

/// The output of jobs, by job.
pub trait JobLogs: Send + Sync + 'static {
    /// Whole records from byte `from` on.
    ///
    /// With [`Follow::Yes`] the stream waits for a log that does not exist yet and ends after the
    /// end record; with [`Follow::No`] it ends at what is written, and is empty without a log.
    fn read(&self, job: JobId, from: u64, follow: Follow) -> LogStream;
}

impl JobLogs for LogStore {
    fn read(&self, job: JobId, from: u64, follow: Follow) -> LogStream {
        let reader = match self.reader(job, from) {
            Ok(reader) => reader,
            Err(error) => return Box::pin(stream::once(ready(Err(io::Error::other(error))))),
        };
        let until = match follow {
            Follow::Yes => u64::MAX,
            Follow::No => self.size(job).map_or(0, |size| size.0),
        };
        Box::pin(stream::unfold(reader, move |reader| next(reader, until)))
    }
}

/// One more piece, unless the reader has come to `until`.
async fn next(mut reader: LogReader, until: u64) -> Option<(io::Result<Bytes>, LogReader)> {
    if reader.offset() >= until {
        return None;
    }
    match reader.next().await {
        Ok(piece) => Some((Ok(Bytes::from(piece?)), reader)),
        Err(error) => Some((Err(io::Error::other(error)), reader)),
    }
}
