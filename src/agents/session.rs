//! One agent's conversation: facts and output in, orders and working folders out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::listener::{Reader, Writer, refuse};
use super::registry::{Heard, SessionId, Ticket};
use super::workspace::{Piece, Sending};
use super::{Shared, convert, enrolment};
use crate::fleet::effect::{AgentOrder, JobOrder, Patience};
use crate::fleet::event::{AgentEvent, JobEnd};
use crate::fleet::forge::ListenOrder;
use crate::ids::IncarnationId;
use crate::logs::{LogError, Written};
use crate::wire::frame::{Frame, Output, Stream, parse_message, put_message, put_workspace};
use crate::wire::message::{FromAgent, FromServer, Hello, JobRef, Refusal};
use crate::wire::{PROTOCOL, PROTOCOL_OLDEST, SILENCE};

/// How often output is offered to a disk that refuses it, a second apart. In all less than the time
/// after which the agent would take the silence for a lost connection.
const WRITE_TRIES: u32 = 5;

/// An agent that has proved who it is.
pub(super) struct Peer {
    /// Who.
    pub(super) incarnation: IncarnationId,
    /// Its first words.
    pub(super) hello: Hello,
    /// What it says.
    pub(super) reader: Reader,
    /// What it is told.
    pub(super) writer: Writer,
}

/// Why a session is over.
#[derive(Debug)]
enum Over {
    /// The connection ended or broke, or carried something else than the protocol.
    Lost(String),
    /// Nothing was heard for [`SILENCE`].
    Silent,
    /// Another session took its place, or the incarnation was revoked.
    Replaced,
    /// The supervisor is going away.
    Shutdown,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) => f.write_str(why),
            Self::Silent => write!(f, "nothing was heard for {} s", SILENCE.as_secs()),
            Self::Replaced => f.write_str("it was replaced or revoked"),
            Self::Shutdown => f.write_str("the supervisor is going away"),
        }
    }
}

/// Serves one agent until the connection or the incarnation ends.
pub(super) async fn run(shared: &Arc<Shared>, peer: Peer) {
    let Peer { incarnation, hello, reader, mut writer } = peer;
    let Some(protocol) = common_protocol(&hello) else {
        let ours = format!("the supervisor speaks versions {PROTOCOL_OLDEST} to {PROTOCOL}");
        return refuse(&mut writer, Refusal::Protocol, &ours).await;
    };
    let ticket = shared.registry().open(incarnation, shared.started.elapsed());
    let Ticket { session, mut orders, heard } = match ticket {
        Ok(ticket) => ticket,
        Err(reason) => {
            tracing::debug!(%incarnation, ?reason, "a session was refused");
            return refuse(&mut writer, reason, "no session for this incarnation now").await;
        }
    };
    tracing::debug!(%incarnation, ?session, agent = hello.agent, "a session begins");
    enrolment::disarm(shared, incarnation);
    let last_heard = Instant::now();
    let mut talk =
        Session { shared, incarnation, reader, writer, heard, last_heard, workspace: None };
    let over = match talk.begin(protocol, hello.holding).await {
        Ok(()) => talk.serve(&mut orders).await,
        Err(over) => over,
    };
    tracing::debug!(%incarnation, ?session, why = %over, "a session is over");
    leave(shared, incarnation, session).await;
}

/// The newest version that both speak.
fn common_protocol(hello: &Hello) -> Option<u16> {
    let newest = hello.protocol.min(PROTOCOL);
    (newest >= hello.protocol_oldest.max(PROTOCOL_OLDEST)).then_some(newest)
}

/// Tells the core that the session is over, and only then frees the seat.
async fn leave(shared: &Shared, incarnation: IncarnationId, session: SessionId) {
    if !shared.registry().closing(incarnation, session) {
        return;
    }
    enrolment::rearm(shared, incarnation);
    if shared.facts.send((incarnation, AgentEvent::Disconnected)).await.is_err() {
        tracing::debug!(%incarnation, "the core is gone and need not know");
    }
    shared.registry().closed(incarnation, session);
}

struct Session<'a> {
    shared: &'a Arc<Shared>,
    incarnation: IncarnationId,
    reader: Reader,
    writer: Writer,
    heard: Heard,
    last_heard: Instant,
    workspace: Option<Sending>,
}

impl Session<'_> {
    async fn begin(&mut self, protocol: u16, holding: Option<JobRef>) -> Result<(), Over> {
        self.put(&FromServer::Welcome { protocol })?;
        self.fact(AgentEvent::Connected { holding: holding.map(convert::held) }).await
    }

    async fn serve(&mut self, orders: &mut mpsc::Receiver<AgentOrder>) -> Over {
        loop {
            let sending = self.workspace.is_some() && self.writer.is_idle();
            let step = tokio::select! {
                frame = self.reader.next() => match frame {
                    Ok(frame) => self.handle_frame(frame).await,
                    Err(error) => Err(Over::Lost(error.to_string())),
                },
                written = self.writer.write(), if !self.writer.is_idle() => match written {
                    Ok(()) => {
                        self.writer.shrink();
                        Ok(())
                    }
                    Err(error) => Err(Over::Lost(error.to_string())),
                },
                order = orders.recv() => match order {
                    Some(order) => self.handle_order(order).await,
                    None => Err(Over::Replaced),
                },
                piece = next_piece(&mut self.workspace), if sending => self.handle_piece(piece),
                () = sleep_until(self.last_heard + SILENCE) => Err(Over::Silent),
            };
            if let Err(over) = step {
                return over;
            }
        }
    }

    async fn handle_frame(&mut self, frame: Frame) -> Result<(), Over> {
        self.last_heard = Instant::now();
        self.heard.at(self.shared.started.elapsed());
        match frame {
            Frame::Control(body) => {
                let message = parse_message(&body).map_err(|e| Over::Lost(e.to_string()))?;
                self.handle_message(message).await
            }
            Frame::Output(output) => self.handle_output(output).await,
            Frame::Workspace(_) => Err(Over::Lost("it sent a working folder".to_owned())),
        }
    }

    async fn handle_message(&mut self, message: FromAgent) -> Result<(), Over> {
        match message {
            FromAgent::Heartbeat => {
                self.put(&FromServer::HeartbeatSeen)?;
                self.fact(AgentEvent::Heartbeat).await
            }
            FromAgent::DeviceLost { path } => self.fact(AgentEvent::DeviceLost { path }).await,
            FromAgent::Listener(status) => {
                self.shared.registry().handed_over(self.incarnation);
                self.fact(AgentEvent::Listener(convert::listener(status))).await
            }
            FromAgent::Started(JobRef { job, attempt }) => {
                self.fact(AgentEvent::Started { job, attempt }).await
            }
            FromAgent::Ended { job: JobRef { job, attempt }, end, memory } => {
                let end = convert::end(end, memory);
                self.fact(AgentEvent::Ended { job, attempt, end }).await
            }
            FromAgent::Refused { job, holding } => {
                tracing::warn!(
                    incarnation = %self.incarnation, refused = %job, %holding,
                    "a job was refused, because the runner holds another"
                );
                // The core decides by what runners hold, so it is told that once more.
                let holding = Some(convert::held(holding));
                self.fact(AgentEvent::Connected { holding }).await
            }
            FromAgent::Renew { public_key } => self.renew(&public_key),
            FromAgent::Enrol(_) | FromAgent::Hello(_) => {
                Err(Over::Lost("it began anew within a session".to_owned()))
            }
        }
    }

    fn renew(&mut self, public_key: &str) -> Result<(), Over> {
        let key = enrolment::public_key(public_key)
            .ok_or_else(|| Over::Lost("it sent no public key".to_owned()))?;
        match enrolment::issue_certificate(self.shared, self.incarnation, &key) {
            Ok(certificate) => self.put(&FromServer::Certificate(certificate)),
            Err(error) => Err(Over::Lost(error.to_string())),
        }
    }

    /// Writes output of the attempt that this incarnation was given; other output is taken over
    /// and dropped, so that no runner can write into another's log.
    async fn handle_output(&mut self, output: Output) -> Result<(), Over> {
        let job = JobRef { job: output.job, attempt: output.attempt };
        let written = if self.shared.registry().job(self.incarnation) == Some(job) {
            self.append(output).await?
        } else {
            tracing::debug!(incarnation = %self.incarnation, %job, "stale output was dropped");
            let end = output.offset.saturating_add(output.bytes.len() as u64);
            match output.stream {
                Stream::Stdout => Written { stdout: end, stderr: 0 },
                Stream::Stderr => Written { stdout: 0, stderr: end },
            }
        };
        let Written { stdout, stderr } = written;
        self.put(&FromServer::OutputWritten { job, stdout, stderr })
    }

    async fn append(&self, output: Output) -> Result<Written, Over> {
        let output = Arc::new(output);
        for _ in 0..WRITE_TRIES {
            match self.try_append(&output).await? {
                Ok(written) => return Ok(written),
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, source, "a job waits until its output can be written");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
        Err(Over::Lost("its output cannot be written".to_owned()))
    }

    async fn try_append(&self, output: &Arc<Output>) -> Result<Result<Written, LogError>, Over> {
        let (output, logs, now) =
            (Arc::clone(output), Arc::clone(&self.shared.logs), self.shared.now());
        tokio::task::spawn_blocking(move || logs.append(&output, now))
            .await
            .map_err(|error| Over::Lost(error.to_string()))
    }

    async fn handle_order(&mut self, order: AgentOrder) -> Result<(), Over> {
        match order {
            AgentOrder::Assign(order) => self.assign(*order).await,
            AgentOrder::Listen(order) => self.listen(*order).await,
            AgentOrder::StopListening(patience) => {
                let cancel = match patience {
                    Patience::Spare => None,
                    Patience::Cancel(grace) => Some(grace),
                };
                self.put(&FromServer::StopListening { cancel })
            }
            AgentOrder::Cancel { job, attempt, grace } => {
                // The rest of its working folder is not wanted any more.
                self.workspace.take_if(|sending| sending.job == JobRef { job, attempt });
                self.put(&FromServer::Cancel { job: JobRef { job, attempt }, grace })
            }
            AgentOrder::Acknowledge { job, attempt } => {
                self.put(&FromServer::Acknowledge(JobRef { job, attempt }))
            }
        }
    }

    async fn assign(&mut self, order: JobOrder) -> Result<(), Over> {
        let order = convert::order(order);
        let job = order.job;
        let workspace = Sending::open(&self.shared.config.state, &order).await;
        let message = FromServer::Assign(Box::new(order));
        if let Err(error) = put_message(self.writer.buffer(), &message) {
            let end = JobEnd::NotExecutable(format!(
                "its command and environment are too large to be sent: {error}"
            ));
            return self.fact(AgentEvent::Ended { job: job.job, attempt: job.attempt, end }).await;
        }
        match workspace {
            Ok(workspace) => {
                self.workspace = workspace;
                Ok(())
            }
            Err(why) => self.put(&FromServer::WorkspaceFailed { job, why }),
        }
    }

    /// Adds what the shell keeps for this incarnation, and nothing else of it is kept.
    async fn listen(&mut self, order: ListenOrder) -> Result<(), Over> {
        let Some((credential, work)) = self.shared.registry().hand_over(self.incarnation) else {
            tracing::warn!(
                incarnation = %self.incarnation, name = order.name,
                "nothing to register with is kept for this runner; it is made anew"
            );
            return Ok(());
        };
        let order = convert::listen(order, credential, work);
        let message = FromServer::Listen(Box::new(order));
        let Err(error) = put_message(self.writer.buffer(), &message) else { return Ok(()) };
        let why = format!("its order is too large to be sent: {error}");
        self.fact(AgentEvent::Listener(convert::not_started(why))).await
    }

    fn handle_piece(&mut self, piece: Option<(JobRef, Piece)>) -> Result<(), Over> {
        let Some((job, piece)) = piece else { return Ok(()) };
        match piece {
            Piece::Bytes(bytes) => {
                put_workspace(self.writer.buffer(), &bytes);
                Ok(())
            }
            Piece::End => {
                self.workspace = None;
                self.put(&FromServer::WorkspaceEnd { job })
            }
            Piece::Failed(why) => {
                self.workspace = None;
                self.put(&FromServer::WorkspaceFailed { job, why })
            }
        }
    }

    fn put(&mut self, message: &FromServer) -> Result<(), Over> {
        put_message(self.writer.buffer(), message).map_err(|error| Over::Lost(error.to_string()))
    }

    async fn fact(&self, event: AgentEvent) -> Result<(), Over> {
        let fact = (self.incarnation, event);
        self.shared.facts.send(fact).await.map_err(|_| Over::Shutdown)
    }
}

async fn next_piece(workspace: &mut Option<Sending>) -> Option<(JobRef, Piece)> {
    let sending = workspace.as_mut()?;
    let piece = sending.next().await;
    Some((sending.job, piece))
}
