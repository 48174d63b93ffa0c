//! The CLI's side of the API: one connection to the supervisor's socket, kept open between calls.
//!
//! Made for one short command: no pool, no retries, no second thread.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::Stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::api::dto::{JOB_HEADER, SubmitBody, Uploaded};
use crate::api::problem::Problem;
use crate::api::record::{Record, RecordError, RecordReader};
use crate::api::socket::SocketPath;
use crate::ids::JobId;
use crate::state_dir::StateDir;

/// The supervisor answers within 30 s or says that it cannot; a little more than that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
/// A unix socket takes a connection at once unless its owner hangs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read into memory: ten thousand jobs are a few MiB.
const ANSWER_MAX: usize = 256 * 1024 * 1024;
/// Longest line of a JSON-lines answer: a view of thousands of runners.
const LINE_MAX: usize = 64 * 1024 * 1024;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No supervisor listens there.
    #[error("no supervisor listens on {}", path.display())]
    NotUp {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is not for this user.
    #[error("this user may not use {}", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be used.
    #[error("cannot connect to {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the supervisor broke")]
    Broken(#[source] hyper::Error),
    /// The supervisor is too slow.
    #[error("the supervisor did not {what} within {} s", after.as_secs())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The supervisor says no.
    #[error("{0}")]
    Refused(Problem),
    /// The answer is not what this version expects.
    #[error("the supervisor's answer is not understood; is it another version?")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<RecordError> for ClientError {
    fn from(error: RecordError) -> Self {
        Self::Answer(Box::new(error))
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Body>,
}

impl Client {
    /// Connects to the supervisor of a state folder.
    ///
    /// # Errors
    /// [`ClientError::NotUp`] when none runs.
    pub async fn connect(state: &StateDir) -> Result<Self, ClientError> {
        let path = state.api_socket();
        let stream = match timeout(CONNECT_TIMEOUT, open(&path)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(connect_error(path, error)),
            Err(_) => {
                return Err(ClientError::Timeout {
                    what: "take the connection",
                    after: CONNECT_TIMEOUT,
                });
            }
        };
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(ClientError::Broken)?;
        tokio::spawn(async move {
            // A broken connection fails the call that uses it, which says so.
            let _seen_by_the_call = connection.await;
        });
        Ok(Self { sender })
    }

    /// Reads a JSON document.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let response = self.send(request(Method::GET, path, empty())?).await?;
        read_json(response).await
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn text(&mut self, path: &str) -> Result<String, ClientError> {
        let response = self.send(request(Method::GET, path, empty())?).await?;
        Ok(String::from_utf8_lossy(&read(response).await?).into_owned())
    }

    /// Sends a JSON document and reads one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(request(Method::POST, path, json(body)?)?).await?;
        read_json(response).await
    }

    /// Sends JSON documents, one per line, and reads one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post_lines<T: DeserializeOwned>(
        &mut self,
        path: &str,
        lines: Vec<u8>,
    ) -> Result<T, ClientError> {
        let body = Full::new(Bytes::from(lines)).map_err(|never| match never {}).boxed_unsync();
        let response = self.send(request(Method::POST, path, body)?).await?;
        read_json(response).await
    }

    /// Replaces something by a JSON document.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn put<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(request(Method::PUT, path, json(body)?)?).await?;
        read_json(response).await
    }

    /// Removes something.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let response = self.send(request(Method::DELETE, path, empty())?).await?;
        read_json(response).await
    }

    /// Reads one JSON document per line for as long as they come.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn lines(&mut self, path: &str) -> Result<Lines, ClientError> {
        let response = self.send(request(Method::GET, path, empty())?).await?;
        Ok(Lines { body: response.into_body(), buffer: Vec::new(), scanned: 0 })
    }

    /// Reads a job's output.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn records(&mut self, path: &str) -> Result<Records, ClientError> {
        let response = self.send(request(Method::GET, path, empty())?).await?;
        Ok(Records::new(response.into_body()))
    }

    /// Submits a job and follows it: its id, then its output and what becomes of it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn run(&mut self, body: &SubmitBody) -> Result<(JobId, Records), ClientError> {
        let response = self.send(request(Method::POST, "/api/v1/run", json(body)?)?).await?;
        let id = response
            .headers()
            .get(JOB_HEADER)
            .and_then(|id| id.to_str().ok())
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| ClientError::Answer("the answer names no job".into()))?;
        Ok((id, Records::new(response.into_body())))
    }

    /// Sends a working folder as it is packed.
    ///
    /// # Errors
    /// [`ClientError`]; an error of the stream breaks the connection.
    pub async fn upload(
        &mut self,
        chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<Uploaded, ClientError> {
        use futures_util::StreamExt;
        let body = StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync();
        let request = request(Method::POST, "/api/v1/blobs", body)?;
        // No bound on the whole: the server gives up on a stalled upload, and then answers.
        let response = self.sender.send_request(request).await.map_err(ClientError::Broken)?;
        read_json(checked(response).await?).await
    }

    async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, ClientError> {
        let late = |_| ClientError::Timeout { what: "answer", after: ANSWER_TIMEOUT };
        timeout(ANSWER_TIMEOUT, self.sender.ready())
            .await
            .map_err(late)?
            .map_err(ClientError::Broken)?;
        let answer = self.sender.send_request(request);
        let response =
            timeout(ANSWER_TIMEOUT, answer).await.map_err(late)?.map_err(ClientError::Broken)?;
        checked(response).await
    }
}

async fn open(path: &std::path::Path) -> io::Result<UnixStream> {
    let reachable = SocketPath::new(path)?;
    UnixStream::connect(reachable.as_path()).await
}

fn connect_error(path: PathBuf, error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::ConnectionRefused
        // Its listener was closed at this very moment.
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotADirectory => ClientError::NotUp { path },
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path },
        _ => ClientError::Connect { path, source: error },
    }
}

fn request(method: Method, path: &str, body: Body) -> Result<Request<Body>, ClientError> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| ClientError::Answer(Box::new(error)))
}

fn empty() -> Body {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync()
}

fn json(value: &impl Serialize) -> Result<Body, ClientError> {
    let bytes = serde_json::to_vec(value).map_err(|error| ClientError::Answer(Box::new(error)))?;
    Ok(Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync())
}

async fn checked(response: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
    match response.status().is_success() {
        true => Ok(response),
        false => Err(ClientError::Refused(read_json(response).await?)),
    }
}

async fn read_json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let bytes = read(response).await?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(Box::new(error)))
}

async fn read(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect();
    let answer = timeout(ANSWER_TIMEOUT, body)
        .await
        .map_err(|_| ClientError::Timeout { what: "finish its answer", after: ANSWER_TIMEOUT })?
        .map_err(ClientError::Answer)?;
    Ok(answer.to_bytes())
}

/// JSON documents, one per line, as they arrive.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are known to hold no line end.
    scanned: usize,
}

impl Lines {
    /// The next document; none when the supervisor ends the stream.
    ///
    /// # Errors
    /// [`ClientError`] when the connection breaks or a line is not what is expected.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(line) = self.take_line() {
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| ClientError::Answer(Box::new(error)));
            }
            if self.buffer.len() > LINE_MAX {
                return Err(ClientError::Answer("a line without an end".into()));
            }
            match next_data(&mut self.body).await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None => return Ok(None),
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
        match unseen.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let end = self.scanned + at + 1;
                self.scanned = 0;
                Some(self.buffer.drain(..end).collect())
            }
            None => {
                self.scanned = self.buffer.len();
                None
            }
        }
    }
}

/// A job's output, record by record, as it arrives.
#[derive(Debug)]
pub struct Records {
    body: Incoming,
    reader: RecordReader,
}

impl Records {
    fn new(body: Incoming) -> Self {
        Self { body, reader: RecordReader::default() }
    }

    /// The next record; none when the stream ends. Safe to drop and call again.
    ///
    /// # Errors
    /// [`ClientError`] when the connection breaks or the stream is damaged.
    pub async fn next(&mut self) -> Result<Option<Record>, ClientError> {
        loop {
            if let Some(record) = self.reader.next_record()? {
                return Ok(Some(record));
            }
            match next_data(&mut self.body).await? {
                Some(data) => self.reader.push(&data),
                None => return Ok(None),
            }
        }
    }
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, ClientError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(ClientError::Broken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
