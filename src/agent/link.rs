//! The connection to the supervisor: enrols, connects, and connects again for ever.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::health::Outage;
use super::identity::{Identity, IdentityError, Key, enrolling, identified};
use super::say;
use crate::wire::enrolment::{Endpoint, Enrolment, ParseEndpointError};
use crate::wire::frame::{
    CHUNK_MAX, Frame, FrameError, Output, parse_message, put_message, put_output,
};
use crate::wire::message::{Enrol, FromAgent, FromServer, IssuedCertificate};
use crate::wire::stream::{FrameReader, FrameWriter, ReadError};
use crate::wire::{HANDSHAKE, PROTOCOL, SERVER_NAME};

/// The first try after a loss comes about this soon …
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// … and later ones at most this late, so that a new supervisor finds its runners in seconds.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Bytes on their way at a time; more would only wait in the socket.
const PENDING_MAX: usize = 4 * CHUNK_MAX;

type Reader = FrameReader<ReadHalf<TlsStream<UnixStream>>>;
type Writer = FrameWriter<WriteHalf<TlsStream<UnixStream>>>;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("the enrolment file {} cannot be read: {source}", path.display())]
    Enrolment { path: PathBuf, source: io::Error },
    #[error("the enrolment file has no nonce for a first certificate")]
    NoNonce,
    #[error(transparent)]
    Endpoint(ParseEndpointError),
    #[error("the supervisor is not there: {0}")]
    Connect(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("it took too long")]
    Timeout,
    #[error("the supervisor refused: {0}")]
    Refused(String),
    #[error("the supervisor's answer is not understood")]
    Answer,
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Frame(FrameError),
    #[error(transparent)]
    Identity(IdentityError),
}

impl LinkError {
    /// Whether it only says that there is no supervisor now.
    fn is_absence(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Timeout => true,
            Self::Enrolment { .. }
            | Self::NoNonce
            | Self::Endpoint(_)
            | Self::Tls(_)
            | Self::Refused(_)
            | Self::Answer
            | Self::Read(_)
            | Self::Frame(_)
            | Self::Identity(_) => false,
        }
    }
}

/// What happens on the connection.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// A connection stands; the first words can be said.
    Up,
    /// The connection is lost.
    Down,
    /// Something went on its way, or the next try begins.
    Progress,
    /// A message.
    Message(Box<FromServer>),
    /// A piece of a working folder.
    Workspace(Vec<u8>),
}

/// One step towards a session.
enum Step {
    /// The certificate is there; connect with it.
    Enrolled { enrolment: Enrolment, identity: Identity },
    /// A connection with a certificate stands.
    Connected { enrolment: Enrolment, reader: Reader, writer: Writer },
}

/// What is thought of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It is as good as ever.
    Sound,
    /// The supervisor was there and did not welcome it: there may be a new nonce.
    Doubtful,
}

enum State {
    Waiting(Instant),
    Connecting(Pin<Box<dyn Future<Output = Result<Step, LinkError>>>>),
    Up(Box<(Reader, Writer)>),
    Failed(String),
}

/// The connection, in whatever state.
pub(super) struct Link {
    path: PathBuf,
    endpoint: Option<Endpoint>,
    enrolment: Option<Enrolment>,
    identity: Option<Arc<Identity>>,
    used_nonce: Option<String>,
    new_key: Option<Key>,
    state: State,
    /// Tries since the last welcome.
    failures: u32,
    trust: Trust,
    /// What was said last about the failures, so that it is not said again and again.
    complaint: String,
    last_heard: Instant,
    outage: Outage,
    outage_since: Instant,
}

impl Link {
    pub(super) fn new(path: PathBuf, endpoint: Option<Endpoint>) -> Self {
        let now = Instant::now();
        Self {
            path,
            endpoint,
            enrolment: None,
            identity: None,
            used_nonce: None,
            new_key: None,
            state: State::Waiting(now),
            failures: 0,
            trust: Trust::Sound,
            complaint: String::new(),
            last_heard: now,
            outage: Outage::Always,
            outage_since: now,
        }
    }

    /// The enrolment, once it was read.
    pub(super) fn enrolment(&self) -> Option<&Enrolment> {
        self.enrolment.as_ref()
    }

    /// Since when there is no session.
    pub(super) fn outage(&self, now: Instant) -> Outage {
        match self.outage {
            Outage::None => Outage::None,
            Outage::Always => Outage::Always,
            Outage::Lasts(_) => Outage::Lasts(now.duration_since(self.outage_since)),
        }
    }

    /// The next thing that happens. Cancel-safe. Without `read` nothing is taken in.
    pub(super) async fn next(&mut self, read: bool) -> LinkEvent {
        match &mut self.state {
            State::Waiting(until) => {
                sleep_until(*until).await;
                self.state = State::Connecting(self.step());
                LinkEvent::Progress
            }
            State::Connecting(step) => {
                let step = step.await;
                self.handle_step(step)
            }
            State::Failed(why) => {
                let why = std::mem::take(why);
                self.wait(&why);
                LinkEvent::Down
            }
            State::Up(session) => {
                let (reader, writer) = session.as_mut();
                let busy = !writer.is_idle();
                tokio::select! {
                    frame = reader.next(), if read => self.handle_frame(frame),
                    written = writer.write(), if busy => match written {
                        Ok(()) => {
                            writer.shrink();
                            LinkEvent::Progress
                        }
                        Err(error) => self.fail(&error.to_string()),
                    },
                    else => std::future::pending().await,
                }
            }
        }
    }

    fn step(&self) -> Pin<Box<dyn Future<Output = Result<Step, LinkError>>>> {
        let attempt = Attempt {
            path: self.path.clone(),
            endpoint: self.endpoint.clone(),
            identity: self.identity.clone(),
            used_nonce: self.used_nonce.clone(),
            enrolment: self.enrolment.clone().filter(|_| self.trust == Trust::Sound),
        };
        Box::pin(async move {
            timeout(HANDSHAKE, attempt.step()).await.unwrap_or(Err(LinkError::Timeout))
        })
    }

    fn handle_step(&mut self, step: Result<Step, LinkError>) -> LinkEvent {
        match step {
            Ok(Step::Enrolled { mut enrolment, identity }) => {
                self.used_nonce = enrolment.nonce.take();
                self.identity = Some(Arc::new(identity));
                self.enrolment = Some(enrolment);
                self.state = State::Connecting(self.step());
                LinkEvent::Progress
            }
            Ok(Step::Connected { enrolment, reader, writer }) => {
                self.enrolment = Some(enrolment);
                self.last_heard = Instant::now();
                self.state = State::Up(Box::new((reader, writer)));
                // Until it is welcomed.
                self.trust = Trust::Doubtful;
                LinkEvent::Up
            }
            Err(error) => {
                if !error.is_absence() {
                    self.trust = Trust::Doubtful;
                }
                self.wait(&error.to_string());
                LinkEvent::Progress
            }
        }
    }

    fn handle_frame(&mut self, frame: Result<Frame, ReadError>) -> LinkEvent {
        self.last_heard = Instant::now();
        match frame {
            Ok(Frame::Control(body)) => match parse_message(&body) {
                Ok(message) => LinkEvent::Message(Box::new(message)),
                Err(error) => self.fail(&error.to_string()),
            },
            Ok(Frame::Workspace(bytes)) => LinkEvent::Workspace(bytes),
            Ok(Frame::Output(_)) => self.fail("the supervisor sent output"),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn fail(&mut self, why: &str) -> LinkEvent {
        self.wait(why);
        LinkEvent::Down
    }

    /// Waits for the next try: twice as long each time, shortened at random by up to a half, so
    /// that the runners of a fleet do not come all at once.
    fn wait(&mut self, why: &str) {
        let now = Instant::now();
        if self.complaint != why {
            say(&format!("no session: {why}; trying again"));
            why.clone_into(&mut self.complaint);
        }
        if self.outage == Outage::None {
            self.outage = Outage::Lasts(Duration::ZERO);
            self.outage_since = now;
        }
        let full = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting(now + full.mul_f64(1.0 - random_half()));
    }

    /// The supervisor has opened the session.
    pub(super) fn welcomed(&mut self) {
        self.failures = 0;
        self.trust = Trust::Sound;
        self.complaint.clear();
        self.outage = Outage::None;
    }

    /// The supervisor has refused the session.
    pub(super) fn refused(&mut self, why: &str) {
        self.state = State::Failed(format!("the supervisor refused: {why}"));
    }

    /// Gives the connection up when nothing was heard for too long.
    pub(super) fn drop_if_silent(&mut self, now: Instant, silence: Duration) {
        if matches!(self.state, State::Up(_)) && now.duration_since(self.last_heard) > silence {
            self.state = State::Failed("the supervisor is silent".to_owned());
        }
    }

    /// How many bytes may be put on their way now; nothing without a connection.
    pub(super) fn room(&mut self) -> Option<usize> {
        match &mut self.state {
            State::Up(session) => Some(PENDING_MAX.saturating_sub(session.1.buffer().len())),
            State::Waiting(_) | State::Connecting(_) | State::Failed(_) => None,
        }
    }

    /// Puts a message on its way.
    pub(super) fn put(&mut self, message: &FromAgent) {
        if let State::Up(session) = &mut self.state
            && let Err(error) = put_message(session.1.buffer(), message)
        {
            self.state = State::Failed(error.to_string());
        }
    }

    /// Puts a piece of output on its way.
    pub(super) fn put_output(&mut self, output: &Output) {
        if let State::Up(session) = &mut self.state {
            put_output(session.1.buffer(), output);
        }
    }

    /// The public key to ask a new certificate for, when half of the present one's life is over.
    pub(super) fn key_to_renew(&mut self, now: Instant) -> Option<String> {
        if self.identity.as_ref().is_none_or(|identity| now < identity.renew_at) {
            return None;
        }
        match Key::generate() {
            Ok(key) => {
                let public = key.public().to_owned();
                self.new_key = Some(key);
                Some(public)
            }
            Err(error) => {
                say(&error.to_string());
                None
            }
        }
    }

    /// The new certificate is there; the next connection uses it.
    pub(super) fn renewed(&mut self, issued: &IssuedCertificate) {
        let Some(key) = self.new_key.take() else { return };
        match key.certified(issued) {
            Ok(identity) => self.identity = Some(Arc::new(identity)),
            Err(error) => say(&error.to_string()),
        }
    }
}

/// Between 0 and a half.
fn random_half() -> f64 {
    let mut byte = [0];
    // Without randomness there is no jitter, which only matters to large fleets.
    let _ = SystemRandom::new().fill(&mut byte);
    let [byte] = byte;
    f64::from(byte) / 512.0
}

/// What one step is made from; it outlives changes of the link.
struct Attempt {
    path: PathBuf,
    endpoint: Option<Endpoint>,
    identity: Option<Arc<Identity>>,
    used_nonce: Option<String>,
    enrolment: Option<Enrolment>,
}

impl Attempt {
    async fn step(self) -> Result<Step, LinkError> {
        let enrolment = match self.enrolment.clone() {
            Some(enrolment) => enrolment,
            None => self.read_enrolment()?,
        };
        let fresh_nonce = enrolment.nonce.is_some() && enrolment.nonce != self.used_nonce;
        match &self.identity {
            Some(identity) if !fresh_nonce => {
                let config = identified(&enrolment, identity).map_err(LinkError::Identity)?;
                let (reader, writer) = self.connect(&enrolment, config).await?;
                Ok(Step::Connected { enrolment, reader, writer })
            }
            Some(_) | None => self.enrol(enrolment).await,
        }
    }

    fn read_enrolment(&self) -> Result<Enrolment, LinkError> {
        let read = || -> io::Result<Enrolment> {
            Ok(serde_json::from_slice(&std::fs::read(&self.path)?)?)
        };
        read().map_err(|source| LinkError::Enrolment { path: self.path.clone(), source })
    }

    async fn enrol(&self, enrolment: Enrolment) -> Result<Step, LinkError> {
        let nonce = enrolment.nonce.clone().ok_or(LinkError::NoNonce)?;
        let key = Key::generate().map_err(LinkError::Identity)?;
        let config = enrolling(&enrolment).map_err(LinkError::Identity)?;
        let (mut reader, mut writer) = self.connect(&enrolment, config).await?;
        let request = FromAgent::Enrol(Enrol {
            protocol: PROTOCOL,
            incarnation: enrolment.incarnation,
            nonce,
            public_key: key.public().to_owned(),
        });
        put_message(writer.buffer(), &request).map_err(LinkError::Frame)?;
        writer.write().await.map_err(LinkError::Connect)?;
        let Frame::Control(body) = reader.next().await.map_err(LinkError::Read)? else {
            return Err(LinkError::Answer);
        };
        match parse_message(&body).map_err(LinkError::Frame)? {
            FromServer::Certificate(issued) => {
                let identity = key.certified(&issued).map_err(LinkError::Identity)?;
                Ok(Step::Enrolled { enrolment, identity })
            }
            FromServer::Refuse { message, .. } => Err(LinkError::Refused(message)),
            FromServer::Welcome { .. }
            | FromServer::HeartbeatSeen
            | FromServer::Assign(_)
            | FromServer::WorkspaceEnd { .. }
            | FromServer::WorkspaceFailed { .. }
            | FromServer::Cancel { .. }
            | FromServer::OutputWritten { .. }
            | FromServer::Listen(_)
            | FromServer::StopListening { .. }
            | FromServer::Acknowledge(_) => Err(LinkError::Answer),
        }
    }

    async fn connect(
        &self,
        enrolment: &Enrolment,
        config: Arc<ClientConfig>,
    ) -> Result<(Reader, Writer), LinkError> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => enrolment.endpoint.parse().map_err(LinkError::Endpoint)?,
        };
        let Endpoint::Unix(path) = endpoint;
        let stream = UnixStream::connect(path).await.map_err(LinkError::Connect)?;
        let name = ServerName::try_from(SERVER_NAME)
            .map_err(|error| LinkError::Tls(io::Error::other(error)))?;
        let connector = TlsConnector::from(config);
        let stream = connector.connect(name, stream).await.map_err(LinkError::Tls)?;
        let (reader, writer) = tokio::io::split(stream);
        Ok((FrameReader::new(reader), FrameWriter::new(writer)))
    }
}
