//! Carries out effects. Every outcome becomes an event; nothing is decided here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, Semaphore, mpsc, oneshot};
use tokio::task::{block_in_place, spawn_blocking};

use super::clock::Clock;
use super::forges::Forges;
use super::gc::{Collector, GcOrder, GcReport, PulledImages, mark_published};
use super::usage::UsageReader;
use super::{proxies, reports, shortage};
use crate::agents::{Agents, Credential};
use crate::causes::with_causes;
use crate::engine::files::{self, Forgotten};
use crate::engine::narrow::HostView;
use crate::engine::translate::{incoming, work_on_host};
use crate::engine::{Engine, HostPaths, Project};
use crate::failpoint::{reach, variant};
use crate::fleet::death::Death;
use crate::fleet::effect::{AgentOrder, ContainerPlan, Effect, EngineAction};
use crate::fleet::event::{EngineEvent, Event, OpError, OpErrorClass, Outcome};
use crate::fleet::holdings::Holdings;
use crate::fleet::oom::{Finding, Search};
use crate::ids::{AttemptNo, BlobId, ContainerId, ImageRef, IncarnationId, JobId, OpId};
use crate::logs::LogStore;
use crate::post_mortems::{Keep, PostMortems, Pruning, gather};
use crate::spec::{DockerAccess, Proxy, ReportSharing};

/// Fewer operations at a time leave the engine idle, more only queue up inside it.
const OPERATIONS_MIN: u32 = 2;
const OPERATIONS_MAX: u32 = 8;

/// What effects act on.
pub(super) struct Workplace<E> {
    pub engine: Arc<E>,
    pub agents: Arc<Agents>,
    pub forges: Arc<Forges>,
    pub logs: Arc<LogStore>,
    pub paths: HostPaths,
    pub clock: Clock,
    /// Whose the engine's volumes are.
    pub project: Project,
    /// Where the engine keeps them, if it says so.
    pub data_root: Option<PathBuf>,
}

/// Runs effects beside the loop.
pub(super) struct Executor<E> {
    place: Workplace<E>,
    events: mpsc::Sender<Event>,
    relist: Arc<Notify>,
    operations: Semaphore,
    host: HostView,
    post_mortems: PostMortems,
    collector: Arc<Collector<E>>,
    usage: Arc<UsageReader<E>>,
}

impl<E: Engine> Executor<E> {
    pub fn new(place: Workplace<E>, events: mpsc::Sender<Event>, cpus: u32) -> Arc<Self> {
        let operations = cpus.saturating_mul(2).clamp(OPERATIONS_MIN, OPERATIONS_MAX);
        let post_mortems = PostMortems::new(&place.paths.state);
        let collector = Arc::new(Collector {
            engine: Arc::clone(&place.engine),
            logs: Arc::clone(&place.logs),
            paths: place.paths.clone(),
            pulled: PulledImages::open(&place.paths.state),
            alone: Mutex::new(()),
        });
        let usage = UsageReader::new(Arc::clone(&place.engine), place.clock.clone());
        Arc::new(Self {
            usage: Arc::new(usage),
            place,
            post_mortems,
            collector,
            events,
            relist: Arc::new(Notify::new()),
            operations: Semaphore::new(operations as usize),
            host: files::host_view(),
        })
    }

    pub fn clock(&self) -> Clock {
        self.place.clock.clone()
    }

    pub fn relist(&self) -> Arc<Notify> {
        Arc::clone(&self.relist)
    }

    pub fn agents(&self) -> &Agents {
        &self.place.agents
    }

    pub fn forges(&self) -> &Arc<Forges> {
        &self.place.forges
    }

    pub fn usage(&self) -> Arc<UsageReader<E>> {
        Arc::clone(&self.usage)
    }

    /// Removes what is kept too long or left over, and tells whoever asked.
    pub fn gc(&self, holdings: Holdings, order: GcOrder, reply: Option<oneshot::Sender<GcReport>>) {
        let (collector, now) = (Arc::clone(&self.collector), self.place.clock.now());
        tokio::spawn(async move {
            let report = collector.collect(holdings, order, now).await;
            if let Some(reply) = reply {
                // A client that went away has it in the log.
                let _gone = reply.send(report);
            }
        });
    }

    /// Carries out one effect. Answers and the end are the loop's own business.
    pub fn run(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Engine { op, incarnation, action } => {
                tokio::spawn(Arc::clone(self).operate(op, incarnation, action));
            }
            Effect::ResolveImage(image) => {
                tokio::spawn(Arc::clone(self).resolve(image));
            }
            Effect::Agent { incarnation, mut order } => {
                self.provide(incarnation, &mut order);
                let delivery = self.place.agents.order(incarnation, order);
                tracing::debug!(%incarnation, ?delivery, "order");
            }
            Effect::PublishReports { incarnation, job, attempt, reports, search } => {
                let end = (job, attempt);
                tokio::spawn(Arc::clone(self).publish(incarnation, end, (reports, search)));
            }
            Effect::PublishForgeReports { incarnation, reports } => {
                tokio::spawn(Arc::clone(self).publish_of_forge(incarnation, reports));
            }
            Effect::CloseLog(job) => {
                warn(self.place.logs.finish(job, self.place.clock.now()), "close the log of a job");
            }
            Effect::DropLog(job) => warn(self.place.logs.remove(job), "delete the log of a job"),
            Effect::DropBlob(blob) => self.drop_blob(&blob),
            Effect::Forget(incarnation) => self.forget(incarnation),
            Effect::Forge { op, incarnation, action } => {
                let (forges, agents) =
                    (Arc::clone(&self.place.forges), Arc::clone(&self.place.agents));
                tokio::spawn(forges.operate(op, incarnation, action, agents));
            }
            Effect::LookAtForge(scope) => self.place.forges.look(&scope),
            Effect::Relist => self.relist.notify_one(),
            Effect::Answer { .. } | Effect::Finish => {}
        }
    }

    /// What an order needs beside what the core knows: the users of proxies, as they are in their
    /// variables at this moment. One to take a forge's jobs has its own token, too, and where it
    /// works if its jobs reach the engine.
    fn provide(&self, incarnation: IncarnationId, order: &mut AgentOrder) {
        let order = match order {
            AgentOrder::Assign(order) => {
                return self.tell_proxy(&mut order.env, order.proxy.as_ref());
            }
            AgentOrder::Listen(order) => order,
            AgentOrder::StopListening(_)
            | AgentOrder::Cancel { .. }
            | AgentOrder::Acknowledge { .. } => return,
        };
        self.tell_proxy(&mut order.env, order.proxy.as_ref());
        if let (DockerAccess::Socket, Some(root)) = (order.docker, &self.place.data_root) {
            let work = work_on_host(&self.place.project, incarnation, root);
            self.place.agents.work_at(incarnation, work.display().to_string());
        }
        let Some(variable) = &order.token_env else { return };
        let token = block_in_place(|| self.place.forges.secrets().variable(variable));
        if let Err(error) = &token {
            // One that is registered already needs none, and one that is not says so itself.
            let why = with_causes(error);
            tracing::info!(%incarnation, runner = order.name, "there is no token for it: {why}");
        }
        let token = token.ok().map(|token| token.expose().to_owned());
        self.place.agents.grant(incarnation, Credential::Kept(token));
    }

    fn tell_proxy(&self, env: &mut BTreeMap<String, String>, proxy: Option<&Proxy>) {
        if let Some(proxy) = proxy {
            block_in_place(|| proxies::tell(env, proxy, self.place.forges.secrets()));
        }
    }

    async fn tell(&self, event: Event) {
        // Without a loop the supervisor is on its way out, and the next one looks for itself.
        let _gone = self.events.send(event).await;
    }

    async fn operate(self: Arc<Self>, op: OpId, incarnation: IncarnationId, action: EngineAction) {
        let Ok(_permit) = self.operations.acquire().await else { return };
        let name = variant(&action);
        reach(|| format!("before the operation {name}"));
        let outcome = match action {
            EngineAction::Create(plan) => self.create(&plan).await,
            EngineAction::Start(container) => done(self.place.engine.start(&container).await),
            EngineAction::Remove { container, evidence } => {
                if let Some(death) = evidence {
                    self.examine(&death, container.as_ref()).await;
                }
                done(self.place.engine.remove(container.as_ref(), incarnation).await)
            }
        };
        reach(|| format!("after the operation {name}"));
        self.tell(Event::Operation { op, outcome }).await;
    }

    /// Keeps what is left of a failed runner. A removal that is tried again finds it kept, and one
    /// that cannot be examined goes on without.
    async fn examine(&self, death: &Death, container: Option<&ContainerId>) {
        if self.post_mortems.has(death.incarnation) {
            return;
        }
        let found = gather(self.place.engine.as_ref(), death, container).await;
        let (kept, now) = (self.post_mortems.clone(), self.place.clock.now());
        let written = spawn_blocking(move || {
            kept.write(&found)?;
            kept.prune(&Keep::SPACE, now, Pruning::Delete)
        });
        match written.await {
            Ok(written) => warn(written, "keep a post-mortem"),
            Err(error) => tracing::warn!(%error, "cannot keep a post-mortem"),
        }
    }

    async fn create(&self, plan: &ContainerPlan) -> Outcome {
        if let Err(error) = files::prepare_files(plan, &self.place.paths, &self.host) {
            return refused(with_causes(&error));
        }
        if let Err(error) = self.place.agents.expect(plan.incarnation) {
            return refused(with_causes(&error));
        }
        reach(|| "after expecting an agent".to_owned());
        match self.place.engine.create(plan, &self.place.paths).await {
            Ok(container) => Outcome::Created(container),
            Err(error) => error.into_outcome(),
        }
    }

    async fn resolve(self: Arc<Self>, image: ImageRef) {
        // An image that cannot be asked for is not known to be missing, so it is not ours.
        let is_missing = matches!(self.place.engine.image_id(&image).await, Ok(None));
        let outcome = self.place.engine.resolve_image(&image).await;
        if let (true, Ok(id)) = (is_missing, &outcome) {
            self.collector.pulled.add(&image, id, self.place.clock.now());
        }
        let outcome = outcome.map_err(|error| error.describe());
        reach(|| "after resolving an image".to_owned());
        self.tell(Event::Engine(EngineEvent::Image { image, outcome })).await;
    }

    async fn publish(
        self: Arc<Self>,
        incarnation: IncarnationId,
        (job, attempt): (JobId, AttemptNo),
        (reports, search): (String, Option<Search>),
    ) {
        let found = self.look((job, attempt), search).await;
        let outcome = self.store_reports(incarnation, reports).await;
        reach(|| "after publishing reports".to_owned());
        self.tell(Event::Published { job, attempt, outcome, found }).await;
    }

    async fn publish_of_forge(self: Arc<Self>, incarnation: IncarnationId, reports: String) {
        let outcome = self.store_reports(incarnation, reports.clone()).await;
        reach(|| "after publishing reports".to_owned());
        self.tell(Event::ForgePublished { incarnation, reports, outcome }).await;
    }

    /// Moves what a job wrote under `/reports` into the store.
    async fn store_reports(
        &self,
        incarnation: IncarnationId,
        reports: String,
    ) -> Result<(), String> {
        let store = self.place.paths.reports.clone();
        let marks = self.place.paths.state.published();
        if let Err(error) = mark_published(&marks, &reports) {
            tracing::warn!(%error, %reports, "these reports will be kept for ever");
        }
        match store.sharing {
            ReportSharing::Shared => Ok(()),
            ReportSharing::Own => {
                let from = incoming(&self.place.paths, incarnation);
                let moved = spawn_blocking(move || reports::publish(&from, &store.path, &reports));
                match moved.await {
                    Ok(outcome) => outcome.map_err(|error| with_causes(&error)),
                    Err(error) => Err(error.to_string()),
                }
            }
        }
    }

    /// Looks into the end of an attempt's output, if that is wanted.
    async fn look(&self, attempt: (JobId, AttemptNo), search: Option<Search>) -> Finding {
        let Some(search) = search else { return Finding::NotAsked };
        let logs = Arc::clone(&self.place.logs);
        let looked = spawn_blocking(move || shortage::look(&logs, attempt, &search));
        looked.await.unwrap_or_else(|error| Finding::Unreadable(error.to_string()))
    }

    fn drop_blob(&self, blob: &BlobId) {
        let path = self.place.paths.state.blob(blob);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "cannot delete a working folder");
            }
            _ => {}
        }
    }

    fn forget(&self, incarnation: IncarnationId) {
        warn(self.place.agents.revoke(incarnation), "revoke a runner's certificate");
        reach(|| "after revoking a certificate".to_owned());
        match files::forget_files(incarnation, &self.place.paths) {
            Ok(Forgotten::All) => {}
            Ok(Forgotten::ButReports(path)) => {
                tracing::warn!(path = %path.display(), "reports of no job are left here");
            }
            Err(error) => tracing::warn!(error = with_causes(&error), "cannot clean up a runner"),
        }
    }
}

fn done(result: Result<(), crate::engine::EngineError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => error.into_outcome(),
    }
}

fn refused(message: String) -> Outcome {
    Outcome::Failed(OpError { class: OpErrorClass::Retry, message })
}

fn warn<T, Error: std::error::Error>(result: Result<T, Error>, what: &str) {
    if let Err(error) = result {
        tracing::warn!(error = with_causes(&error), "cannot {what}");
    }
}
