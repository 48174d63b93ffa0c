//! HTTP to clients that may be slow, many or gone: each connection has a seat, and keeps it only
//! while something comes of it.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service as _;

use super::seats::{Accept, Seated, Seats};

/// How long a request's head may take to come, and how long a connection may be silent before its
/// next one. A client that says half a head and no more costs a seat for so long.
pub const HEAD_MOST: Duration = Duration::from_secs(30);
/// Streams end by themselves when the loop ends; what is still open after this is cut off.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Serves until `stop` changes, then lets open requests end within a bound. When it is dropped, its
/// connections are cut off.
pub(super) async fn serve<L: Accept>(
    mut seats: Seats<L>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut stopping = pin!(stopped(stop.clone()));
    'serving: loop {
        let mut accepting = pin!(seats.accept());
        let stream = loop {
            tokio::select! {
                stream = &mut accepting => break stream,
                // Those that have ended are forgotten.
                Some(_) = connections.join_next() => {}
                () = &mut stopping => break 'serving,
            }
        };
        connections.spawn(connection::<L>(stream, router.clone(), stop.clone()));
    }
    // Nobody is to come in any more, and somebody else may want the address.
    drop(seats);
    farewell(connections).await;
}

/// Changes, or is dropped: then nobody keeps the server any more.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _gone = stop.changed().await;
}

async fn farewell(mut connections: JoinSet<()>) {
    let ends = async { while connections.join_next().await.is_some() {} };
    // What is late is cut off with the set.
    let _late = timeout(SHUTDOWN_GRACE, ends).await;
}

async fn connection<L: Accept>(
    stream: Seated<L::Stream>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let peer = L::peer(&stream.stream);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MOST)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    // Who breaks off or is slow gets no answer, and that is nobody's concern here.
    tokio::select! {
        _over = &mut serving => return,
        () = stopped(stop) => serving.as_mut().graceful_shutdown(),
    }
    let _over = serving.await;
}
