//! Which deliveries are taken, and where they go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::server;
use crate::causes::with_causes;
use crate::fleet::event::Event;
use crate::fleet::forge::{ForgeEvent, ForgeJobFact, ForgeJobStatus};
use crate::forge::webhook::{self, Content, Delivery, Refused, Seen};
use crate::forge::{ReadClock, Secret};
use crate::ids::ScopeUrl;
use crate::spec::{SecretSource, Webhook};
use crate::supervisor::forge_report::WebhookReport;
use crate::supervisor::forges::{Reach, Watch};
use crate::supervisor::secrets::Secrets;
use crate::units::Time;

/// Deliveries that wait for the loop; a forge may send a thousand in one burst.
const QUEUE_MAX: usize = 2048;
/// How long a secret is used that was read; a program or server must not be asked each time.
const SECRET_LIFE: Duration = Duration::from_secs(60);
/// How soon it is read again because a signature was wrong: it may have been changed.
const SECRET_AGAIN: Duration = Duration::from_secs(10);
/// How soon an address is tried again that could not be had.
const BIND_AGAIN: Duration = Duration::from_secs(2);

/// Where a delivery may go.
pub(in crate::supervisor) struct Route {
    pub scope: ScopeUrl,
    pub reach: Reach,
    /// Whose jobs are read; all that are within reach if empty.
    pub repositories: Vec<String>,
    pub watch: Arc<Watch>,
}

impl Route {
    fn takes(&self, repository: &str, organization: Option<&str>) -> bool {
        let is_read = |it: &String| it.eq_ignore_ascii_case(repository);
        self.reach.has(repository, organization)
            && (self.repositories.is_empty() || self.repositories.iter().any(is_read))
    }
}

/// The door, open or not.
pub(in crate::supervisor) struct Door {
    shared: Arc<Shared>,
    server: Mutex<Option<(String, JoinHandle<()>)>>,
}

/// What all deliveries meet.
pub(super) struct Shared {
    secrets: Secrets,
    clock: ReadClock,
    queue: mpsc::Sender<Event>,
    /// One reads, and the others wait for what it finds.
    known: tokio::sync::Mutex<Known>,
    state: Mutex<State>,
}

/// The secrets that were read last.
#[derive(Default)]
struct Known {
    sources: Vec<SecretSource>,
    read: Option<(Time, Vec<Secret>)>,
}

#[derive(Default)]
struct State {
    routes: Vec<Route>,
    sources: Vec<SecretSource>,
    seen: Seen,
    trouble: Option<String>,
    last: Option<Time>,
    taken: u64,
    bad_signatures: u64,
    turned_away: u64,
}

impl Door {
    /// A door that is shut.
    pub fn new(secrets: Secrets, clock: ReadClock, events: mpsc::Sender<Event>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(forward(waiting, events));
        let (known, state) = (tokio::sync::Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { secrets, clock, queue, known, state });
        Self { shared, server: Mutex::default() }
    }

    /// Opens it where the file says, or shuts it; what is under way comes to its end.
    pub fn apply(&self, webhook: Option<&Webhook>, routes: Vec<Route>) {
        let mut state = self.shared.state();
        state.routes = routes;
        state.sources = webhook.map(|it| it.secrets.clone()).unwrap_or_default();
        drop(state);
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.as_ref().map(|(at, _)| at) == webhook.map(|it| &it.listen) {
            return;
        }
        if let Some((_, open)) = server.take() {
            open.abort();
        }
        if let Some(webhook) = webhook {
            let task = tokio::spawn(open(webhook.listen.clone(), Arc::clone(&self.shared)));
            *server = Some((webhook.listen.clone(), task));
        }
    }

    /// How it goes, if there is a door.
    pub fn report(&self) -> Option<WebhookReport> {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let listen = server.as_ref().map(|(at, _)| at.clone())?;
        let state = self.shared.state();
        Some(WebhookReport {
            listen,
            trouble: state.trouble.clone(),
            last: state.last,
            taken: state.taken,
            bad_signatures: state.bad_signatures,
            turned_away: state.turned_away,
        })
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, open)) = server.take() {
            open.abort();
        }
    }
}

/// The loop may be slow for a moment; the forge is answered all the same.
async fn forward(mut waiting: mpsc::Receiver<Event>, events: mpsc::Sender<Event>) {
    while let Some(event) = waiting.recv().await {
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Takes the address as soon as it can be had: without webhooks jobs are found by polling.
async fn open(listen: String, shared: Arc<Shared>) {
    loop {
        match TcpListener::bind(&listen).await {
            Ok(listener) => {
                tracing::info!(listen, "webhooks are taken");
                shared.state().trouble = None;
                return server::serve(listener, shared).await;
            }
            Err(error) => shared.trouble(&listen, with_causes(&error)),
        }
        sleep(BIND_AGAIN).await;
    }
}

impl Shared {
    /// Takes a delivery in, or says why not.
    pub async fn take(&self, headers: &HeaderMap, body: &[u8]) -> (StatusCode, String) {
        let now = (self.clock)();
        let secrets = self.secrets(SECRET_LIFE).await;
        if secrets.is_empty() {
            return self.turn_away("no secret to check it with can be read; see `doctor`");
        }
        let mut read = webhook::read(headers, body, &secrets, now);
        if matches!(read, Err(Refused::Signature(_))) {
            let fresh = self.secrets(SECRET_AGAIN).await;
            if fresh != secrets {
                read = webhook::read(headers, body, &fresh, now);
            }
        }
        match read {
            Ok(delivery) => self.sort(delivery, now),
            Err(refused @ Refused::Signature(_)) => {
                let mut state = self.state();
                state.bad_signatures = state.bad_signatures.saturating_add(1);
                (StatusCode::UNAUTHORIZED, refused.to_string())
            }
            Err(refused @ Refused::Unreadable(_)) => {
                tracing::warn!("a webhook's delivery is not taken: {refused}");
                (StatusCode::BAD_REQUEST, refused.to_string())
            }
        }
    }

    fn sort(&self, delivery: Delivery, now: Time) -> (StatusCode, String) {
        let Delivery { guid, content } = delivery;
        let mut state = self.state();
        match content {
            Content::Ping => {
                state.note(now);
                (StatusCode::OK, "well met".to_owned())
            }
            Content::Other(event) => {
                state.note(now);
                (StatusCode::ACCEPTED, format!("`{event}` is of no use here"))
            }
            Content::Job { repository, organization, job } => {
                let routes = state.routes.iter();
                let routes: Vec<(ScopeUrl, Arc<Watch>)> = routes
                    .filter(|route| route.takes(&repository, organization.as_deref()))
                    .map(|route| (route.scope.clone(), Arc::clone(&route.watch)))
                    .collect();
                // Room comes first: a delivery that is turned away is not one that was seen.
                let Ok(room) = self.queue.try_reserve_many(routes.len()) else {
                    drop(state);
                    return self.turn_away("too many wait already");
                };
                state.note(now);
                if guid.is_some_and(|guid| !state.seen.is_new(&guid)) {
                    return (StatusCode::ACCEPTED, "it came before".to_owned());
                }
                drop(state);
                for (slot, (scope, watch)) in room.zip(routes) {
                    tell(&watch, &job, now);
                    let job = (*job).clone();
                    slot.send(Event::Forge(ForgeEvent::Job { scope, job }));
                }
                (StatusCode::ACCEPTED, "taken".to_owned())
            }
        }
    }

    fn turn_away(&self, why: &str) -> (StatusCode, String) {
        let mut state = self.state();
        state.turned_away = state.turned_away.saturating_add(1);
        (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
    }

    /// The secrets, read at most this long ago. Those that cannot be read are left out.
    async fn secrets(&self, life: Duration) -> Vec<Secret> {
        let sources = self.state().sources.clone();
        let mut known = self.known.lock().await;
        let now = (self.clock)();
        if known.sources == sources
            && let Some((at, secrets)) = &known.read
            && now.since(*at) < life
        {
            return secrets.clone();
        }
        let mut secrets = Vec::new();
        for source in &sources {
            match self.secrets.read(source).await {
                Ok(secret) => secrets.push(secret),
                Err(error) => tracing::warn!("webhooks: {}", with_causes(&error)),
            }
        }
        *known = Known { sources, read: Some((now, secrets.clone())) };
        secrets
    }

    fn trouble(&self, listen: &str, why: String) {
        let mut state = self.state();
        if state.trouble.as_ref() != Some(&why) {
            tracing::warn!(listen, "cannot listen for webhooks, polling goes on: {why}");
            state.trouble = Some(why);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what was heard. Whether a job runs a fork's code stands only in the list.
fn tell(watch: &Watch, job: &ForgeJobFact, now: Time) {
    watch.heard(job.id, now);
    if job.fork.is_none() && job.status == ForgeJobStatus::Queued {
        watch.hint.notify_one();
    }
}

impl State {
    fn note(&mut self, now: Time) {
        self.last = Some(now);
        self.taken = self.taken.saturating_add(1);
    }
}
