//! The port of the API: opened, moved and shut as the operator and the fleet file say.
//!
//! An address is taken before the spec that asks for it is applied: one that cannot be had refuses
//! the spec whole.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Api;
use super::listen::{ListenError, serve_port};
use super::port::Port;
use super::problem::{Problem, ProblemKind};
use crate::causes::with_causes;
use crate::spec::{ApiPolicy, TlsFiles};

/// The door, open or not.
#[derive(Default)]
pub struct Door {
    /// An address that an operator gave; it wins over the spec's as long as the supervisor lives.
    by_hand: Option<String>,
    /// Connections at a time.
    seats: usize,
    open: Option<Open>,
}

/// Where the API is to be reached, and what it shows there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    address: String,
    tls: Option<TlsFiles>,
}

/// A port and its server, which ends its open requests within a bound when this is dropped.
struct Open {
    wanted: Wanted,
    port: Port,
    server: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

/// What a door has to do to be as it is wanted; nothing was done yet but to take a port.
#[must_use]
pub struct Turn {
    by_hand: Option<String>,
    to: To,
}

enum To {
    Stay,
    Shut,
    Open(Wanted, Port),
}

impl Door {
    /// A door that is shut.
    #[must_use]
    pub fn new(by_hand: Option<String>, seats: usize) -> Self {
        Self { by_hand, seats, open: None }
    }

    /// Takes the address that a spec wants, or a person, and serves nobody there yet.
    ///
    /// # Errors
    /// As of [`Port::bind`].
    pub async fn take(
        &self,
        by_hand: Option<String>,
        policy: &ApiPolicy,
    ) -> Result<Turn, ListenError> {
        let by_hand = by_hand.or_else(|| self.by_hand.clone());
        let address = by_hand.clone().or_else(|| policy.listen.map(|it| it.to_string()));
        let wanted = address.map(|address| Wanted { address, tls: policy.tls.clone() });
        let to = match (&self.open, wanted) {
            (None, None) => To::Stay,
            (Some(_), None) => To::Shut,
            (Some(open), Some(wanted)) if open.wanted == wanted => To::Stay,
            (Some(open), Some(wanted)) if open.wanted.address == wanted.address => {
                let port = open.port.with(wanted.tls.as_ref())?;
                To::Open(wanted, port)
            }
            (_, Some(wanted)) => {
                let port = Port::bind(&wanted.address, wanted.tls.as_ref()).await?;
                To::Open(wanted, port)
            }
        };
        Ok(Turn { by_hand, to })
    }

    /// Serves where it was taken, and nowhere else any more.
    pub fn turn(&mut self, api: &Arc<Api>, Turn { by_hand, to }: Turn) {
        self.by_hand = by_hand;
        self.open = match to {
            To::Stay => return,
            To::Shut => None,
            To::Open(wanted, port) => Some(Open::start(api, wanted, port, self.seats)),
        };
        let origin = self.open.as_ref().map(|open| open.port.origin());
        match &origin {
            Some(origin) => tracing::info!("the API is reached at {origin}"),
            None => tracing::info!("the API is reached at its socket only"),
        }
        api.reached_at(origin);
    }

    /// Shuts it for good: the server, which still lets open requests end.
    pub fn shut(&mut self) -> Option<JoinHandle<()>> {
        self.open.take().map(|open| open.server)
    }
}

impl Open {
    fn start(api: &Arc<Api>, wanted: Wanted, port: Port, seats: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let serving = serve_port(Arc::clone(api), (port.clone(), seats), stopped);
        let server = tokio::spawn(serving);
        Self { wanted, port, server, _stop: stop }
    }
}

impl From<ListenError> for Problem {
    fn from(error: ListenError) -> Self {
        let kind = match &error {
            ListenError::Port { .. } => ProblemKind::Conflict,
            ListenError::NeedsTls(_) | ListenError::NoAddress(_) | ListenError::Tls { .. } => {
                ProblemKind::Invalid
            }
            ListenError::Socket { .. } => ProblemKind::Internal,
        };
        Self::new(kind, with_causes(&error))
    }
}
