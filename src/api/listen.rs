//! Where the API listens: the unix socket, and a port for those who have a token or only read.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::Api;
use super::peer::Peer;
use super::port::Port;
use super::problem::{Problem, ProblemKind};
use super::seats::Seats;
use super::serve::serve;
use super::socket::SocketPath;

/// Who may use the socket, beside root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SocketAccess {
    /// The owner (mode 0600).
    #[default]
    Owner,
    /// The owner and the folder's group (mode 0660).
    Group,
}

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The port cannot be taken.
    #[error("cannot listen on {address}")]
    Port {
        /// Which.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// An address that others can reach.
    #[error(
        "the API is to listen on {0}, which others can reach; write `api: {{tls: {{cert: FILE, \
         key: FILE}}}}` in the fleet file, or listen on 127.0.0.1"
    )]
    NeedsTls(SocketAddr),
    /// Not an address.
    #[error("the API is to listen on `{0}`, which is no address; write 127.0.0.1:7373")]
    NoAddress(String),
    /// The certificate or its key cannot be used.
    #[error("cannot use {} for TLS: {why}", path.display())]
    Tls {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Makes the socket. It never exists with wider permissions, and replaces a dead supervisor's.
///
/// # Errors
/// [`ListenError::Socket`]. The caller holds the state folder's lock, so no other supervisor's
/// living socket is replaced.
pub fn bind_socket(api: &Api, access: SocketAccess) -> Result<UnixListener, ListenError> {
    let path = api.state.api_socket();
    let fail = |source| ListenError::Socket { path: path.clone(), source };
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    let reachable = SocketPath::new(&fresh).map_err(fail)?;
    let listener = UnixListener::bind(reachable.as_path()).map_err(fail)?;
    let mode = match access {
        SocketAccess::Owner => 0o600,
        SocketAccess::Group => 0o660,
    };
    fs::set_permissions(&fresh, Permissions::from_mode(mode)).map_err(fail)?;
    fs::rename(&fresh, &path).map_err(fail)?;
    Ok(listener)
}

/// Serves the whole API, to so many connections at a time, until `stop` changes; then ends open
/// requests within a bound.
pub async fn serve_socket(
    api: Arc<Api>,
    (listener, seats): (UnixListener, usize),
    stop: watch::Receiver<bool>,
) {
    let path = api.state.api_socket();
    serve(Seats::new(listener, seats), api.router(), stop).await;
    // The state folder is still locked, so this is our own socket and not a successor's. One that
    // stays behind answers nobody and is replaced by the next supervisor.
    let _removed = fs::remove_file(path);
}

/// Serves the API on a port, to so many connections at a time, until `stop` changes.
pub async fn serve_port(api: Arc<Api>, (port, seats): (Port, usize), stop: watch::Receiver<bool>) {
    let router = api.router().layer(middleware::from_fn(check_origin));
    let router = match port.peer() {
        Peer::Loopback => router.layer(middleware::from_fn(check_host)),
        // Its names are its operator's business, and nothing is done or told there by a name alone.
        Peer::Remote | Peer::User(_) | Peer::Owner => router,
    };
    serve(Seats::new(port, seats), router, stop).await;
}

/// Refuses requests that name another host: a web page in the operator's browser could send them
/// here by rebinding its own name to the loopback address.
async fn check_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    match is_local(host) {
        true => next.run(request).await,
        false => Problem::new(
            ProblemKind::NotAllowed,
            format!("`{host}` is not this machine; ask for 127.0.0.1 or localhost"),
        )
        .into_response(),
    }
}

/// Refuses what a web page of another origin wants changed. Only browsers say where a page is from,
/// and they always do for what is not a plain read.
async fn check_origin(request: Request, next: Next) -> Response {
    match is_foreign(request.headers()) && !request.method().is_safe() {
        false => next.run(request).await,
        true => Problem::new(
            ProblemKind::NotAllowed,
            "this came from a web page of another origin, which may not change the fleet",
        )
        .into_response(),
    }
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    header(ORIGIN).is_some_and(|origin| {
        let place = origin.split_once("://").map(|(_, place)| place);
        place.is_none() || place != header(HOST)
    })
}

pub(super) fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass_the_host_check() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "[::1]:80", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:80", "127.0.0.1.evil.example", "::1:x"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
