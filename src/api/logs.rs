//! What the API needs of the store of job output.

use std::io;
use std::pin::Pin;

use axum::body::Bytes;
use futures_util::Stream;

use crate::ids::JobId;

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
