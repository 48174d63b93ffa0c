//! Connections within a bound, and accepting that does not spin when descriptors run out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::peer::Peer;

/// Out of descriptors, most likely: trying again at once would only burn CPU.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// A listener's own way to take a connection.
pub trait Accept: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Takes the next connection.
    fn take(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Who is at its other end.
    fn peer(stream: &Self::Stream) -> Peer;
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn take(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn peer(stream: &UnixStream) -> Peer {
        stream.peer_cred().map_or(Peer::Owner, |user| Peer::User(user.uid()))
    }
}

/// A port for what is shown to everybody; who it is, is never asked.
impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn take(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn peer(_: &TcpStream) -> Peer {
        Peer::Remote
    }
}

/// A listener with so many seats; who comes when all are taken waits at the door.
#[derive(Debug)]
pub struct Seats<L> {
    listener: L,
    free: Arc<Semaphore>,
    has_failed: bool,
}

impl<L> Seats<L> {
    /// A listener with this many seats.
    #[must_use]
    pub fn new(listener: L, seats: usize) -> Self {
        let free = Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS)));
        Self { listener, free, has_failed: false }
    }
}

impl<L: Accept> Seats<L> {
    /// The next client that finds a seat.
    pub async fn accept(&mut self) -> Seated<L::Stream> {
        // The semaphore is never closed; without a permit the connection would only go unbounded.
        let seat = Arc::clone(&self.free).acquire_owned().await.ok();
        loop {
            match self.listener.take().await {
                Ok(stream) => {
                    self.has_failed = false;
                    return Seated { stream, _seat: seat };
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    if !self.has_failed {
                        tracing::error!(%error, "cannot take clients' connections; trying again");
                    }
                    self.has_failed = true;
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
    }
}

/// The client went away before it was let in.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// A connection that gives its seat back when it closes.
#[derive(Debug)]
pub struct Seated<S> {
    /// The connection.
    pub stream: S,
    _seat: Option<OwnedSemaphorePermit>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Seated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Seated<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::time::timeout;

    #[tokio::test]
    async fn whoever_comes_when_all_seats_are_taken_waits_for_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let mut seats = Seats::new(listener, 1);
        let mut first = TcpStream::connect(address).await.expect("connected");
        let _second = TcpStream::connect(address).await.expect("waits at the door");
        let seated = seats.accept().await;
        let early = timeout(Duration::from_millis(50), seats.accept()).await;
        assert!(early.is_err(), "there is one seat");
        drop(seated);
        assert_eq!(first.read(&mut [0]).await.expect("its end"), 0);
        let late = timeout(Duration::from_secs(10), seats.accept()).await;
        assert!(late.is_ok(), "the seat is free again");
    }
}
