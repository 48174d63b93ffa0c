//! The door's HTTP: small, bounded, and without trust in whoever knocks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::door::Shared;

/// What forges send at most.
const BODY_MAX: usize = 25 * 1024 * 1024;
/// Connections at a time; who comes when all are taken waits at the door.
const SEATS: usize = 16;
/// Memory for all bodies together, in KiB: a delivery has 30 as a rule.
const ROOM: u32 = 64 * 1024;
/// How long heads and bodies may take to come.
const READ_MOST: Duration = Duration::from_secs(10);
/// How long a connection may take in all: a secret may have to be read.
const CONNECTION_MOST: Duration = Duration::from_secs(45);
/// Out of descriptors, most likely: trying again at once would only burn CPU.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Serves until it is dropped; connections come to their own end.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let (seats, room) = (Arc::new(Semaphore::new(SEATS)), Arc::new(Semaphore::new(ROOM as usize)));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shared, room) = (Arc::clone(&shared), Arc::clone(&room));
                tokio::spawn(connection(stream, shared, room, seat));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot take a webhook's connection");
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    _seat: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request| {
        let (shared, room) = (Arc::clone(&shared), Arc::clone(&room));
        async move { Ok::<_, Infallible>(answer(request, &shared, room).await) }
    });
    // One delivery each: a seat that is kept for a next one is a seat less for the others.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_MOST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Who breaks off or is slow gets no answer, and nothing was done.
    let _over = timeout(CONNECTION_MOST, served).await;
}

async fn answer(
    request: Request<Incoming>,
    shared: &Shared,
    room: Arc<Semaphore>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        let mut refused = say(StatusCode::METHOD_NOT_ALLOWED, "deliveries are POST requests");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return refused;
    }
    let (head, body) = request.into_parts();
    let (status, words) = match timeout(READ_MOST, read(body, room)).await {
        Ok(Ok((body, _room))) => shared.take(&head.headers, &body).await,
        Ok(Err(status)) => (status, "it is larger than what forges send".to_owned()),
        Err(_slow) => (StatusCode::REQUEST_TIMEOUT, "it did not come in time".to_owned()),
    };
    say(status, &words)
}

/// The body, and its part of the room for all bodies.
async fn read(
    body: Incoming,
    room: Arc<Semaphore>,
) -> Result<(Bytes, OwnedSemaphorePermit), StatusCode> {
    // A body of unknown length may be as large as any.
    let most = body.size_hint().upper().unwrap_or(BODY_MAX as u64);
    if most > BODY_MAX as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let kib = u32::try_from(most.div_ceil(1024)).unwrap_or(ROOM).min(ROOM);
    let place = room.acquire_many_owned(kib).await;
    let place = place.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => Ok((body.to_bytes(), place)),
        Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_broken) => Err(StatusCode::BAD_REQUEST),
    }
}

fn say(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{words}\n"))));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
