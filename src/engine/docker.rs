//! Docker, through its HTTP API (1.41 and newer, engine 20.10 on).
//!
//! Errors of an operation belong to its runner: nothing here ends the process or retries by
//! itself. `address` says where the engine is, `errors` sorts failures, the rest is one file per
//! kind of object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::Stream;

use self::address::Transport;
use self::errors::{Call, deadline};
use self::events::RecentDeaths;
use self::facts::{Cdi, Facts, card_request};
use self::seen::Seen;
use super::translate::{CardRequest, EngineTraits, Narrowing};
use super::{
    ContainerStats, Engine, EngineError, EngineInfo, ExecId, ExecRequest, ExecSession, HostPaths,
    ImageEnd, Inspection, Leftover, LogRange, OtherFleet, OutputChunk, Project, Swept,
    TerminalSize,
};
use crate::fleet::effect::ContainerPlan;
use crate::fleet::event::{ContainerFact, EngineEvent, OpErrorClass};
use crate::fleet::gpu::GpuAccess;
use crate::ids::{ContainerId, ImageId, ImageRef, IncarnationId};
use crate::spec::DockerAccess;
use crate::units::Time;

mod address;
mod card_errors;
mod containers;
mod errors;
mod events;
mod exec;
mod facts;
mod images;
mod info;
mod inspect;
mod leftovers;
mod limits;
mod project;
mod reach;
mod seen;
mod survey;

pub use address::{DockerEnv, EngineAddress};

/// The client's own limit, above every deadline here: `errors::Call` is the one that counts.
const CLIENT_TIMEOUT_S: u64 = 2 * 60 * 60;

/// One project's view of a Docker engine.
pub struct DockerEngine {
    client: Docker,
    address: EngineAddress,
    project: Project,
    /// Whether this engine was seen to refuse mounts over `/proc` files.
    refuses_narrowing: AtomicBool,
    /// What it said of itself last, once it was asked.
    facts: Mutex<Option<Facts>>,
    /// Containers that died lately: the engine's lists go on calling them running for a moment.
    died: Arc<RecentDeaths>,
    /// Containers that are not known to be gone.
    seen: Seen,
    /// Held while the network is looked for and made: the engine makes second ones of one name.
    network: tokio::sync::Mutex<()>,
    /// For each image seen, whether it brings this program's own labels: content never changes.
    labelled_images: Mutex<BTreeMap<ImageId, bool>>,
    /// Warnings of the engine that were logged already: it repeats them for every container.
    warned: Mutex<BTreeSet<String>>,
}

impl DockerEngine {
    /// A client for the engine at `address`; nothing is sent before the first call.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`] when there is no such socket.
    pub fn connect(address: EngineAddress, project: Project) -> Result<Self, EngineError> {
        let connect = match address.transport() {
            Transport::Unix => Docker::connect_with_unix,
            Transport::Tcp => Docker::connect_with_http,
        };
        let call = Call {
            action: "connect to the engine".to_owned(),
            host: address.as_str().to_owned(),
            deadline: deadline::INFO,
        };
        let client = connect(address.as_str(), CLIENT_TIMEOUT_S, API_DEFAULT_VERSION)
            .map_err(|error| call.sort(error))?;
        Ok(Self {
            client,
            address,
            project,
            refuses_narrowing: AtomicBool::new(false),
            facts: Mutex::default(),
            died: Arc::default(),
            seen: Seen::default(),
            network: tokio::sync::Mutex::new(()),
            labelled_images: Mutex::default(),
            warned: Mutex::default(),
        })
    }

    fn call(&self, action: impl Into<String>, deadline: Duration) -> Call {
        Call { action: action.into(), host: self.address.as_str().to_owned(), deadline }
    }

    fn narrowing(&self) -> Narrowing {
        match self.refuses_narrowing.load(Ordering::Relaxed) {
            true => Narrowing::Off,
            false => Narrowing::On,
        }
    }

    /// What the engine said of itself last; asks it if nobody did before.
    async fn known_facts(&self) -> Result<Facts, EngineError> {
        let known = self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(facts) => Ok(facts),
            None => self.ask_facts().await,
        }
    }

    /// What to heed when this container is made.
    async fn traits(&self, plan: &ContainerPlan) -> Result<EngineTraits, EngineError> {
        let facts = self.known_facts().await?;
        let cards = self.card_request(plan, &facts).await?;
        let reach = match plan.template.docker {
            DockerAccess::None => None,
            DockerAccess::Socket => Some(self.reach(&facts)?),
        };
        Ok(EngineTraits { narrowing: self.narrowing(), cpus: facts.cpus, cards, reach })
    }

    /// How the engine is asked for the plan's card. Names come and go while an engine runs, so it
    /// is asked for them again where it knows any.
    async fn card_request(
        &self,
        plan: &ContainerPlan,
        facts: &Facts,
    ) -> Result<CardRequest, EngineError> {
        let Some(gpu) = plan.gpu.as_ref().filter(|gpu| gpu.access == GpuAccess::Request) else {
            return Ok(CardRequest::default());
        };
        let cdi = match &facts.cdi {
            Cdi::Off => Cdi::Off,
            Cdi::On | Cdi::Names(_) => self.ask_facts().await?.cdi,
        };
        let call = self.call("ask for the runner's card", deadline::CREATE);
        card_request(gpu.request, &gpu.uuid, &cdi)
            .map_err(|why| call.refused(OpErrorClass::Fatal, why))
    }

    /// Logs an engine's warning the first time that it comes.
    fn warn_once(&self, warning: &str) {
        // Bounded, because an engine could put a changing number into its words.
        const KEPT: usize = 100;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < KEPT && warned.insert(warning.to_owned()) {
            tracing::warn!("the engine warns: {warning}");
        }
    }
}

impl Engine for DockerEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.ask_info().await
    }

    async fn prepare(&self) -> Result<(), EngineError> {
        self.make_network().await
    }

    async fn list(&self) -> Result<Vec<ContainerFact>, EngineError> {
        self.list_containers().await
    }

    fn watch(
        &self,
        since: Time,
    ) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send + Unpin + 'static {
        self.follow_events(since)
    }

    async fn resolve_image(&self, image: &ImageRef) -> Result<ImageId, EngineError> {
        self.find_or_pull(image).await
    }

    async fn create(
        &self,
        plan: &ContainerPlan,
        paths: &HostPaths,
    ) -> Result<ContainerId, EngineError> {
        self.create_container(plan, paths).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.start_container(container).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        self.stop_container(container, grace).await
    }

    async fn remove(
        &self,
        container: Option<&ContainerId>,
        incarnation: IncarnationId,
    ) -> Result<(), EngineError> {
        self.remove_runner(container, incarnation).await
    }

    async fn find(&self, incarnation: IncarnationId) -> Result<Option<ContainerFact>, EngineError> {
        self.find_container(incarnation).await
    }

    async fn inspect(&self, container: &ContainerId) -> Result<Option<Inspection>, EngineError> {
        self.look_at(container).await
    }

    async fn stats(&self, container: &ContainerId) -> Result<ContainerStats, EngineError> {
        self.read_stats(container).await
    }

    fn container_logs(
        &self,
        container: &ContainerId,
        range: LogRange,
    ) -> impl Stream<Item = Result<OutputChunk, EngineError>> + Send + Unpin + 'static {
        self.read_logs(container, range)
    }

    async fn exec(
        &self,
        container: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecSession, EngineError> {
        self.start_exec(container, request).await
    }

    async fn resize_exec(&self, exec: &ExecId, size: TerminalSize) -> Result<(), EngineError> {
        self.resize_terminal(exec, size).await
    }

    async fn exec_exit(&self, exec: &ExecId) -> Result<Option<i64>, EngineError> {
        self.read_exec_exit(exec).await
    }

    async fn sweep(&self) -> Result<Swept, EngineError> {
        self.remove_everything().await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, EngineError> {
        self.list_leftovers().await
    }

    async fn remove_leftover(&self, left: &Leftover) -> Result<(), EngineError> {
        self.remove_leftover_of(left).await
    }

    async fn image_id(&self, image: &ImageRef) -> Result<Option<ImageId>, EngineError> {
        self.find_image(image).await
    }

    async fn remove_image(&self, image: &ImageRef, id: &ImageId) -> Result<ImageEnd, EngineError> {
        self.remove_image_of(image, id).await
    }

    async fn remove_caches(&self) -> Result<usize, EngineError> {
        self.remove_all_caches().await
    }

    async fn others(&self) -> Result<Vec<OtherFleet>, EngineError> {
        self.list_other_fleets().await
    }
}
