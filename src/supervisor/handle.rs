//! How the API speaks to the supervisor's loop: requests change the fleet, queries read it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::forge_report::ForgeReport;
use super::gc::{GcOrder, GcReport};
use super::notifier::LastMessage;
use super::report_door::ReportPlace;
use super::usage::UsageReport;
use crate::fleet::audit::{AuditEntry, Client};
use crate::fleet::effect::{Answer, Refusal};
use crate::fleet::event::Request;
use crate::fleet::forge::ForgeJobView;
use crate::fleet::stats::StatsView;
use crate::fleet::view::{FleetView, JobFilter, JobView, PlanView};
use crate::fleet::waiting::{PoolQueue, WaitingView};
use crate::forge::{CallError, Dispatch, Dispatched, RunState};
use crate::ids::{ForgeRunId, JobId, PoolName};
use crate::metrics::Scrape;
use crate::spec::Spec;
use crate::units::{Bytes, Time};

/// A message to the loop.
#[derive(Debug)]
pub enum Message {
    /// Change the fleet; answered after the change is durable.
    Request {
        /// Who asks.
        by: Client,
        /// What is asked.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// Read the fleet as it is.
    Query(Query),
}

/// What can be read, each with the place for its answer.
#[derive(Debug)]
pub enum Query {
    /// The whole fleet; one view for all who ask between two steps.
    Fleet(oneshot::Sender<Arc<FleetView>>),
    /// What Prometheus reads.
    Metrics(oneshot::Sender<Scrape>),
    /// Jobs, in the filter's order.
    Jobs(JobFilter, oneshot::Sender<Vec<JobView>>),
    /// One job.
    Job(JobId, oneshot::Sender<Option<JobView>>),
    /// What one job stands behind.
    Waiting(JobId, oneshot::Sender<Option<WaitingView>>),
    /// The jobs that wait for a pool.
    WaitingFor(PoolName, oneshot::Sender<PoolQueue>),
    /// The record after an entry.
    Audit(AuditFilter, oneshot::Sender<Vec<AuditEntry>>),
    /// What a spec would change.
    Plan(Box<Spec>, oneshot::Sender<PlanView>),
    /// Whether a working folder may come in, and how large it may be.
    Room(oneshot::Sender<Result<Bytes, Refusal>>),
    /// Remove what is kept too long or left over; answered when it is done.
    Gc(GcOrder, oneshot::Sender<GcReport>),
    /// What runners use of processor and memory; asks the engine.
    Usage(oneshot::Sender<UsageReport>),
    /// What became of the jobs that ended since a moment.
    Stats(Time, oneshot::Sender<StatsView>),
    /// The spec in force.
    Spec(oneshot::Sender<Spec>),
    /// At most this many of the forges' jobs: what is not over first, then the newest.
    ForgeJobs(usize, oneshot::Sender<Vec<ForgeJobView>>),
    /// What is known of the forges beside the core; asks them.
    ForgeReport(oneshot::Sender<ForgeReport>),
    /// Where reports are, and where they are shown.
    Reports(oneshot::Sender<ReportPlace>),
    /// How the last message to the operator fared; none before the first one.
    LastMessage(oneshot::Sender<Option<LastMessage>>),
    /// Start a workflow.
    Dispatch(DispatchOrder, oneshot::Sender<Result<Dispatched, CallError>>),
    /// Where a workflow's run stands.
    ForgeRun(RunOrder, oneshot::Sender<Result<RunState, CallError>>),
}

/// A workflow to start, by whose right, and who asks; it is put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchOrder {
    /// Who asks.
    pub by: Client,
    /// The pool whose scope and right are used; the spec has it, and its right is no static token.
    pub pool: PoolName,
    /// What to start.
    pub dispatch: Dispatch,
}

/// A workflow's run to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOrder {
    /// The pool whose scope and right are used.
    pub pool: PoolName,
    /// `owner/name`.
    pub repository: String,
    /// The run.
    pub run: ForgeRunId,
}

/// Which part of the record to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Entries after this number.
    pub after: u64,
    /// At most this many, the newest ones when `after` is 0.
    pub limit: usize,
}

/// Why the loop does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It has ended; the supervisor is going away.
    #[error("the supervisor is shutting down")]
    Gone,
    /// It cannot record, so it does nothing and says nothing until it can.
    #[error("{0}")]
    Stuck(String),
    /// It got stuck on the very thing that was asked, which waits to be recorded.
    #[error(
        "{0}; what you asked for waits to be recorded and is done then, unless the supervisor \
         ends before: look before you ask again"
    )]
    InDoubt(String),
}

/// Why the loop is stuck, while it is.
pub type Stuck = Option<String>;

/// A write that fails for a moment is not worth an error.
const STUCK_PATIENCE: Duration = Duration::from_secs(1);
/// How long a client waits for something that the loop is stuck on.
const DOUBT_PATIENCE: Duration = Duration::from_secs(5);

/// A cheap handle to the loop.
#[derive(Debug, Clone)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
    steps: watch::Receiver<u64>,
    stuck: watch::Receiver<Stuck>,
}

impl Handle {
    /// A handle over the loop's ends.
    #[must_use]
    pub fn new(
        messages: mpsc::Sender<Message>,
        steps: watch::Receiver<u64>,
        stuck: watch::Receiver<Stuck>,
    ) -> Self {
        Self { messages, steps, stuck }
    }

    /// Changes with every step of the core; wait on it instead of polling.
    #[must_use]
    pub fn steps(&self) -> watch::Receiver<u64> {
        self.steps.clone()
    }

    /// Why the loop is stuck, if it is.
    #[must_use]
    pub fn stuck(&self) -> Stuck {
        self.stuck.borrow().clone()
    }

    /// Asks for a change and waits until it is durable or refused.
    ///
    /// # Errors
    /// [`NoAnswer`] when the supervisor ends before it answers, or cannot record.
    pub async fn request(&self, by: Client, request: Request) -> Result<Answer, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Request { by, request, reply }).await?;
        tokio::select! {
            answer = answer => answer.map_err(|_| self.why()),
            why = self.stuck_long() => Err(NoAnswer::InDoubt(why)),
        }
    }

    /// Reads something, for example `handle.query(Query::Fleet).await`.
    ///
    /// # Errors
    /// [`NoAnswer`] when the supervisor ends before it answers, or cannot record.
    pub async fn query<T>(
        &self,
        query: impl FnOnce(oneshot::Sender<T>) -> Query,
    ) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Query(query(reply))).await?;
        answer.await.map_err(|_| self.why())
    }

    async fn send(&self, message: Message) -> Result<(), NoAnswer> {
        let mut stuck = self.stuck.clone();
        // A loop that has ended is not stuck; sending says so.
        let free = timeout(STUCK_PATIENCE, stuck.wait_for(Option::is_none)).await.map(drop);
        if free.is_err() {
            return Err(self.why());
        }
        self.messages.send(message).await.map_err(|_| self.why())
    }

    /// Why the loop is stuck, once it has been for a while.
    async fn stuck_long(&self) -> String {
        let mut stuck = self.stuck.clone();
        loop {
            if stuck.wait_for(Option::is_some).await.map(drop).is_err() {
                // The loop has ended, and whoever waits for its answer is told so.
                std::future::pending::<()>().await;
            }
            let free = timeout(DOUBT_PATIENCE, stuck.wait_for(Option::is_none)).await.map(drop);
            if let (Err(_), Some(why)) = (free, self.stuck()) {
                return why;
            }
        }
    }

    fn why(&self) -> NoAnswer {
        self.stuck().map_or(NoAnswer::Gone, NoAnswer::Stuck)
    }
}
