//! Frames over a byte stream, in a way that a `select!` may cancel at any time.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::frame::{Frame, FrameBuffer, FrameError};

/// Bytes asked of a quiet connection at a time. Small, because hundreds of them wait in a
/// supervisor.
const READ_QUIET: usize = 4 * 1024;

/// Bytes asked of a busy connection at a time.
const READ_BUSY: usize = 64 * 1024;

/// Why no frame can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The other side closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// The other side sent something else than frames.
    #[error("the other side does not speak the protocol")]
    Frame(#[source] FrameError),
}

/// Reads frames.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    frames: FrameBuffer,
    ask: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from this stream.
    pub fn new(stream: R) -> Self {
        Self { stream, frames: FrameBuffer::default(), ask: READ_QUIET }
    }

    /// The next frame. Cancel-safe: nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`ReadError`]; the session is over then.
    pub async fn next(&mut self) -> Result<Frame, ReadError> {
        loop {
            if let Some(frame) = self.frames.next_frame().map_err(ReadError::Frame)? {
                return Ok(frame);
            }
            let space = self.frames.space(self.ask);
            self.ask = match self.stream.read_buf(space).await.map_err(ReadError::Io)? {
                0 => return Err(ReadError::Closed),
                count if count >= self.ask => READ_BUSY,
                _ => READ_QUIET,
            };
        }
    }
}

/// Writes prepared bytes piece by piece.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    bytes: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes to this stream.
    pub fn new(stream: W) -> Self {
        Self { stream, bytes: Vec::new(), written: 0, unflushed: false }
    }

    /// Whether all that was put in is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.written == self.bytes.len() && !self.unflushed
    }

    /// The place where frames are put. What is there is kept.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
        &mut self.bytes
    }

    /// Gives memory back when nothing is on its way.
    pub fn shrink(&mut self) {
        if self.is_idle() {
            self.bytes = Vec::new();
            self.written = 0;
        }
    }

    /// Writes until all is on its way. Cancel-safe: the rest goes with the next call.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn write(&mut self) -> io::Result<()> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = self.stream.write(rest).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += count;
            self.unflushed = true;
        }
        self.stream.flush().await?;
        self.unflushed = false;
        Ok(())
    }

    /// Closes the stream properly.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn close(&mut self) -> io::Result<()> {
        self.write().await?;
        self.stream.shutdown().await
    }
}
