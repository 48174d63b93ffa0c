//! The socket: accepts connections, finds out who speaks, and hands over to `session`.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::{fs, io};

use rustls::pki_types::CertificateDer;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::Acceptor;
use super::{AgentsConfig, AgentsError, Closing, Shared, enrolment, session};
use crate::ids::IncarnationId;
use crate::wire::frame::{Frame, parse_message, put_message};
use crate::wire::message::{Enrol, FromAgent, FromServer, Refusal};
use crate::wire::stream::{FrameReader, FrameWriter};
use crate::wire::{HANDSHAKE, HEARTBEAT};

/// The reading side of a connection.
pub(super) type Reader = FrameReader<ReadHalf<TlsStream<UnixStream>>>;
/// The writing side of a connection.
pub(super) type Writer = FrameWriter<WriteHalf<TlsStream<UnixStream>>>;

/// Opens the socket where runners see it, in place of one that a dead supervisor left.
pub(super) fn bind(config: &AgentsConfig) -> Result<UnixListener, AgentsError> {
    let folder = config.state.shared_with_runners();
    fs::create_dir_all(&folder)
        .map_err(|source| AgentsError::file("make the folder", &folder, source))?;
    let path = config.state.agent_socket();
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(AgentsError::file("delete the old socket", path, source)),
    }
    let open = || -> io::Result<UnixListener> {
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(config.access.socket_mode()))?;
        Ok(listener)
    };
    open().map_err(|source| AgentsError::file("open the socket for agents", &path, source))
}

/// Serves agents until told to close; then all sessions end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    socket: UnixListener,
    mut closing: watch::Receiver<Closing>,
) {
    let mut acceptor = match Acceptor::new(&shared.authority, shared.now()) {
        Ok(acceptor) => acceptor,
        Err(error) => {
            tracing::error!(%error, "no agent can connect");
            return;
        }
    };
    // One of them is not a connection but the task below.
    let most = shared.config.limits.connections_max.saturating_add(1);
    let mut connections = JoinSet::new();
    connections.spawn(enrolment::rearm_absent(Arc::clone(&shared)));
    loop {
        tokio::select! {
            next = next_connection(&shared, &socket), if connections.len() < most => {
                let Some((stream, permit)) = next else { break };
                let tls = acceptor.current(&shared.authority, shared.now());
                connections.spawn(connection(Arc::clone(&shared), Waiting { stream, permit, tls }));
            }
            _ = closing.wait_for(|closing| *closing == Closing::Yes) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection of an agent ended by a defect");
                }
            }
        }
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for its handshake.
async fn next_connection(
    shared: &Shared,
    socket: &UnixListener,
) -> Option<(UnixStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(&shared.handshakes).acquire_owned().await.ok()?;
    let mut has_failed = false;
    loop {
        match socket.accept().await {
            Ok((stream, _)) => return Some((stream, permit)),
            Err(error) => {
                if !has_failed {
                    tracing::error!(%error, "cannot take agents' connections; trying again");
                }
                has_failed = true;
                // Out of file descriptors, most likely: trying again at once would only burn CPU.
                sleep(HEARTBEAT / 10).await;
            }
        }
    }
}

/// A connection that has not proved who it is.
struct Waiting {
    stream: UnixStream,
    permit: OwnedSemaphorePermit,
    tls: TlsAcceptor,
}

/// Who speaks, and the first words.
struct Opened {
    incarnation: Option<IncarnationId>,
    first: FromAgent,
    reader: Reader,
    writer: Writer,
}

async fn connection(shared: Arc<Shared>, waiting: Waiting) {
    let Waiting { stream, permit, tls } = waiting;
    let opened = match timeout(HANDSHAKE, open(&shared, stream, tls)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(why)) => return tracing::debug!(why, "a connection was no agent's"),
        Err(_) => return tracing::debug!("a connection did not say in time who it is"),
    };
    let Opened { incarnation, first, reader, mut writer } = opened;
    match (incarnation, first) {
        (Some(incarnation), FromAgent::Hello(hello)) => {
            drop(permit);
            session::run(&shared, session::Peer { incarnation, hello, reader, writer }).await;
        }
        (None, FromAgent::Enrol(request)) => {
            answer_enrolment(&shared, &request, &mut writer).await;
        }
        (_, FromAgent::Hello(_)) => {
            refuse(&mut writer, Refusal::NotAdmitted, "a session needs a certificate").await;
        }
        (
            _,
            FromAgent::Enrol(_)
            | FromAgent::Renew { .. }
            | FromAgent::Heartbeat
            | FromAgent::DeviceLost { .. }
            | FromAgent::Listener(_)
            | FromAgent::Started(_)
            | FromAgent::Ended { .. }
            | FromAgent::Refused { .. },
        ) => {
            refuse(&mut writer, Refusal::Unexpected, "this is not how a connection begins").await;
        }
    }
}

async fn open(shared: &Shared, stream: UnixStream, tls: TlsAcceptor) -> Result<Opened, String> {
    let stream = tls.accept(stream).await.map_err(|error| error.to_string())?;
    let certificate: Option<&CertificateDer<'_>> =
        stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let incarnation = match certificate {
        None => None,
        Some(certificate) => {
            let who = shared.authority.incarnation(certificate);
            Some(who.ok_or("its certificate names no incarnation of this fleet")?)
        }
    };
    let (reading, writing) = tokio::io::split(stream);
    let mut reader = FrameReader::new(reading);
    let writer = FrameWriter::new(writing);
    match reader.next().await.map_err(|error| error.to_string())? {
        Frame::Control(body) => {
            let first = parse_message(&body).map_err(|error| error.to_string())?;
            Ok(Opened { incarnation, first, reader, writer })
        }
        Frame::Output(_) | Frame::Workspace(_) => Err("it began with data".to_owned()),
    }
}

async fn answer_enrolment(shared: &Shared, request: &Enrol, writer: &mut Writer) {
    let incarnation = request.incarnation;
    match enrolment::enrol(shared, request) {
        Ok(Ok(certificate)) => {
            tracing::debug!(%incarnation, "enrolled");
            send_last(writer, &FromServer::Certificate(certificate)).await;
        }
        Ok(Err(reason)) => {
            tracing::warn!(%incarnation, ?reason, "an enrolment was refused");
            refuse(writer, reason, "the nonce is not valid for this incarnation").await;
        }
        Err(error) => {
            tracing::error!(%incarnation, %error, "an enrolment failed");
            refuse(writer, Refusal::Unexpected, "the supervisor could not make a certificate")
                .await;
        }
    }
}

/// Says why a connection is refused, and closes it.
pub(super) async fn refuse(writer: &mut Writer, reason: Refusal, message: &str) {
    send_last(writer, &FromServer::Refuse { reason, message: message.to_owned() }).await;
}

async fn send_last(writer: &mut Writer, message: &FromServer) {
    if let Err(error) = put_message(writer.buffer(), message) {
        return tracing::error!(%error, "an answer to an agent cannot be written");
    }
    match timeout(HANDSHAKE, writer.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an agent left before its answer"),
        Err(_) => tracing::debug!("an agent did not read its answer"),
    }
}
