//! How the API speaks to the supervisor's loop: requests change the fleet, queries read it.

use tokio::sync::{mpsc, oneshot, watch};

use crate::fleet::effect::Answer;
use crate::fleet::event::Request;
use crate::fleet::view::{FleetView, HistoryEntry, JobStatus, JobView, PlanView};
use crate::ids::JobId;
use crate::spec::Spec;

/// A message to the loop.
#[derive(Debug)]
pub enum Message {
    /// Change the fleet; answered after the change is durable.
    Request(Request, oneshot::Sender<Answer>),
    /// Read the fleet as it is.
    Query(Query),
}

/// What can be read, each with the place for its answer.
#[derive(Debug)]
pub enum Query {
    /// The whole fleet.
    Fleet(oneshot::Sender<FleetView>),
    /// Jobs, newest first.
    Jobs(JobFilter, oneshot::Sender<Vec<JobView>>),
    /// One job.
    Job(JobId, oneshot::Sender<Option<JobView>>),
    /// The record after an entry.
    History(HistoryFilter, oneshot::Sender<Vec<HistoryEntry>>),
    /// What a spec would change.
    Plan(Box<Spec>, oneshot::Sender<PlanView>),
    /// The spec in force.
    Spec(oneshot::Sender<Spec>),
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only these states; all if empty.
    pub statuses: Vec<JobStatus>,
    /// At most this many.
    pub limit: usize,
}

/// Which part of the record to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Entries after this number.
    pub after: u64,
    /// At most this many, the newest ones when `after` is 0.
    pub limit: usize,
}

/// The loop has ended; the supervisor is going away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor is shutting down")]
pub struct Gone;

/// A cheap handle to the loop.
#[derive(Debug, Clone)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
    steps: watch::Receiver<u64>,
}

impl Handle {
    /// A handle over the loop's ends.
    #[must_use]
    pub fn new(messages: mpsc::Sender<Message>, steps: watch::Receiver<u64>) -> Self {
        Self { messages, steps }
    }

    /// Changes with every step of the core; wait on it instead of polling.
    #[must_use]
    pub fn steps(&self) -> watch::Receiver<u64> {
        self.steps.clone()
    }

    /// Asks for a change and waits until it is durable or refused.
    ///
    /// # Errors
    /// [`Gone`] when the supervisor ends before it answers.
    pub async fn request(&self, request: Request) -> Result<Answer, Gone> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Request(request, reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Reads something, for example `handle.query(Query::Fleet).await`.
    ///
    /// # Errors
    /// [`Gone`] when the supervisor ends before it answers.
    pub async fn query<T>(
        &self,
        query: impl FnOnce(oneshot::Sender<T>) -> Query,
    ) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Query(query(reply))).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}
