//! Looks at the fleet every few seconds, and sends what is worth a message to a webhook.
//!
//! It reads like any client and sends from a task of its own: the loop waits for nobody. What
//! cannot be delivered is tried again for a while, logged and counted; what waits is bounded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::clock::Clock;
use super::forges::Forges;
use super::handle::{Handle, NoAnswer, Query};
use crate::causes::with_causes;
use crate::forge::{Ask, WebError};
use crate::ids::ProjectName;
use crate::metrics::Meters;
use crate::notify::{Notice, Watch, conditions, message, unrecorded};
use crate::spec::Notify;
use crate::units::Time;

/// How often the fleet is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Notices that wait to be sent; more are counted and lost.
const WAITING_MAX: usize = 64;
/// Notices in one message.
const TOGETHER_MAX: usize = 20;
/// Between two messages: chat servers take about one a second, and people fewer.
const GAP: Duration = Duration::from_secs(5);
/// A server that needs longer than this for an answer hangs.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long after a failure a message is tried again; after the last it is given up.
const AGAIN: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
];
/// A server that asks for more patience is asked again after this.
const ASKED_MAX: Duration = Duration::from_secs(600);

/// What the file says, whenever that changes.
pub(super) type Settings = watch::Receiver<Option<Notify>>;

/// How the last message fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastMessage {
    /// When that was known.
    pub at: Time,
    /// Why it did not arrive; none if it did.
    pub trouble: Option<String>,
}

/// The last message's fate, for those who ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Arc<Mutex<Option<LastMessage>>>);

impl Fate {
    pub fn last(&self) -> Option<LastMessage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, at: Time, trouble: Option<String>) {
        let last = LastMessage { at, trouble };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }
}

/// What it works with.
#[derive(Clone)]
pub(super) struct Means {
    pub fate: Fate,
    pub project: ProjectName,
    pub clock: Clock,
    pub forges: Arc<Forges>,
    pub meters: Arc<Meters>,
}

/// The two tasks; they end with this.
pub(super) struct Notifier([JoinHandle<()>; 2]);

impl Drop for Notifier {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Begins to look, if the file wants it; and whenever it does.
pub(super) fn start(handle: Handle, settings: Settings, means: Means) -> Notifier {
    let (notices, waiting) = mpsc::channel(WAITING_MAX);
    let looking = tokio::spawn(look(handle, settings.clone(), notices, means.clone()));
    Notifier([looking, tokio::spawn(send(waiting, settings, means))])
}

/// Looks until the supervisor ends.
async fn look(handle: Handle, mut settings: Settings, notices: mpsc::Sender<Notice>, means: Means) {
    let mut watch = Watch::default();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if settings.wait_for(Option::is_some).await.is_err() {
            return;
        }
        looks.tick().await;
        let Some(notify) = settings.borrow_and_update().clone() else { continue };
        let found = match handle.query(Query::Metrics).await {
            Ok(scrape) => conditions(&scrape.fleet, &scrape.queue_depths(), &notify),
            Err(NoAnswer::Stuck(why) | NoAnswer::InDoubt(why)) => vec![unrecorded(why)],
            Err(NoAnswer::Gone) => return,
        };
        for notice in watch.look(means.clock.now(), found) {
            if let Err(mpsc::error::TrySendError::Full(notice)) = notices.try_send(notice) {
                tracing::warn!("a message is lost, because too many wait: {}", notice.words);
                means.meters.notified(notice.event.word(), "lost");
            }
        }
    }
}

/// Sends what comes, as much as there is in one message.
async fn send(mut waiting: mpsc::Receiver<Notice>, settings: Settings, means: Means) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, TOGETHER_MAX).await > 0 {
        let result = match deliver(&settings, &means, &batch).await {
            Ok(()) => "delivered",
            Err(why) => {
                tracing::warn!(notices = batch.len(), "a message is given up: {why}");
                "failed"
            }
        };
        for notice in batch.drain(..) {
            means.meters.notified(notice.event.word(), result);
        }
        sleep(GAP).await;
    }
}

/// Why a message did not arrive.
enum Failure {
    /// It may arrive later; after this long, if the server said so.
    Later(String, Option<Duration>),
    /// It never will.
    Never(String),
}

/// Sends one message, several times if need be.
async fn deliver(settings: &Settings, means: &Means, notices: &[Notice]) -> Result<(), String> {
    for pause in AGAIN.into_iter().map(Some).chain([None]) {
        let (why, asked) = match post(settings, means, notices).await {
            Ok(()) => {
                means.fate.tell(means.clock.now(), None);
                return Ok(());
            }
            Err(Failure::Never(why)) => {
                means.fate.tell(means.clock.now(), Some(why.clone()));
                return Err(why);
            }
            Err(Failure::Later(why, asked)) => (why, asked),
        };
        means.fate.tell(means.clock.now(), Some(why.clone()));
        let Some(pause) = pause else { return Err(why) };
        tracing::info!("a message did not arrive and is tried again: {why}");
        sleep(pause.max(asked.unwrap_or_default().min(ASKED_MAX))).await;
    }
    Ok(())
}

/// Sends it once, with the address as it is now.
async fn post(settings: &Settings, means: &Means, notices: &[Notice]) -> Result<(), Failure> {
    // The file wants no messages any more.
    let Some(notify) = settings.borrow().clone() else { return Ok(()) };
    let secret = means.forges.secrets().read(&notify.url).await;
    let url = secret.map_err(|error| Failure::Later(with_causes(&error), None))?;
    let web = means.forges.web().map_err(|why| Failure::Later(why, None))?;
    let body = message::body(notify.style, &means.project, notices);
    let mut ask = Ask::new(Method::POST, url.expose().trim());
    ask.body = body.into();
    let ask = ask.header(CONTENT_TYPE, "application/json");
    let answer = web.with_deadline(DEADLINE).call(ask).await.map_err(|error| match error {
        // Whoever reads the log must not be able to write into the channel.
        WebError::NotSent(why) | WebError::Lost(why) => Failure::Later(url.redact(&why), None),
    })?;
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    let why = format!("the webhook answered {status}");
    let asked = answer.header(RETRY_AFTER.as_str()).and_then(|it| it.trim().parse().ok());
    match status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        true => Err(Failure::Later(why, asked.map(Duration::from_secs))),
        false => Err(Failure::Never(why)),
    }
}
