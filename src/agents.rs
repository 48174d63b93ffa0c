//! The supervisor's side of the agents: who may speak, what they say, what they are told.
//!
//! One TLS listener; each agent proves with its certificate which incarnation it is. Facts go to
//! the core through one channel, output goes to the log store. Nothing is decided here: orders to
//! an agent that is not connected are dropped, because the core learns what the agent holds as soon
//! as it connects. `registry` holds the state, `session` is one agent's conversation.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::fleet::effect::AgentOrder;
use crate::fleet::event::{AgentEvent, Held};
use crate::ids::{FleetId, IncarnationId, ProjectName};
use crate::logs::LogStore;
use crate::state_dir::StateDir;
use crate::units::Time;

mod authority;
mod convert;
pub mod embedded;
mod enrolment;
mod error;
mod listener;
mod registry;
mod session;
mod tls;
mod workspace;

pub use crate::wire::listen::Credential;
pub use authority::Authority;
pub use error::AgentsError;

use registry::Registry;

/// Where runners see the socket: the mount of [`StateDir::shared_with_runners`] is `/.slate`.
pub const ENDPOINT: &str = "unix:/.slate/agent.sock";

/// Where runners see [`StateDir::private`]; the agent looks for its enrolment there.
pub const PRIVATE_MOUNT: &str = "/run/slate";

/// Tells the time; one clock for the whole supervisor.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// What the agents' side needs to know.
#[derive(Clone)]
pub struct AgentsConfig {
    /// The state folder.
    pub state: StateDir,
    /// The fleet's identity, written into certificates.
    pub fleet: FleetId,
    /// The project, for people.
    pub project: ProjectName,
    /// Where agents find the supervisor; [`ENDPOINT`] unless containers see the socket elsewhere.
    pub endpoint: String,
    /// Who may open the socket and read the enrolment file.
    pub access: Access,
    /// Bounds.
    pub limits: AgentLimits,
    /// The supervisor's clock.
    pub clock: Clock,
    /// Incarnations known from before, and the attempt that each was given, so that no agent is
    /// turned away in the first moments after a restart.
    pub admitted: Vec<(IncarnationId, Option<Held>)>,
}

/// Who may open the socket and read an enrolment file, by file permissions. The certificate alone
/// decides who is heard; permissions only keep job code from knocking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only the supervisor's own user, which is the containers' root when both are uid 0.
    Owner,
    /// Everybody: containers' root is another user on the host (rootless or remapped engines).
    Everyone,
}

impl Access {
    /// [`Access::Owner`] for root, [`Access::Everyone`] otherwise.
    #[must_use]
    pub fn for_this_user() -> Self {
        if rustix::process::geteuid().is_root() { Self::Owner } else { Self::Everyone }
    }

    fn socket_mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everyone => 0o666,
        }
    }

    fn file_mode(self) -> u32 {
        match self {
            Self::Owner => 0o400,
            Self::Everyone => 0o444,
        }
    }
}

/// Bounds of the agents' side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentLimits {
    /// Connections that have not proved who they are.
    pub handshakes_max: usize,
    /// Connections in all; who comes beyond them waits at the door.
    pub connections_max: usize,
    /// Until an unused nonce is refused.
    pub nonce_life: Duration,
    /// Life of an agent's certificate; it asks for the next at half of it.
    pub certificate_life: Duration,
}

impl AgentLimits {
    /// 256 handshakes; 10 minutes for an image to start; a day for a certificate.
    pub const DEFAULT: Self = Self {
        handshakes_max: 256,
        connections_max: 20_000,
        nonce_life: Duration::from_secs(600),
        certificate_life: Duration::from_secs(24 * 60 * 60),
    };
}

/// Whether an order went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It is on its way; whether it arrives, the agent's next words tell.
    Sent,
    /// The agent is not connected. It will say what it holds when it is.
    NotConnected,
}

/// What all connections share.
struct Shared {
    config: AgentsConfig,
    authority: Authority,
    registry: Mutex<Registry>,
    facts: mpsc::Sender<(IncarnationId, AgentEvent)>,
    logs: Arc<LogStore>,
    handshakes: Arc<Semaphore>,
    started: Instant,
}

impl Shared {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Every change of the registry is one call that leaves it whole, even after a panic.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        (self.config.clock)()
    }
}

/// The agents of one fleet.
pub struct Agents {
    shared: Arc<Shared>,
    closing: watch::Sender<Closing>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// Whether the listener and the sessions go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    Yes,
}

impl std::fmt::Debug for Agents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agents").field("fleet", &self.shared.config.fleet).finish_non_exhaustive()
    }
}

impl Agents {
    /// Makes or loads the fleet's CA, opens the socket and begins to serve agents.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the state folder or the CA is not usable.
    pub fn start(
        config: AgentsConfig,
        facts: mpsc::Sender<(IncarnationId, AgentEvent)>,
        logs: Arc<LogStore>,
    ) -> Result<Arc<Self>, AgentsError> {
        let now = (config.clock)();
        let authority = Authority::open(&config.state, &config.fleet, now)?;
        let socket = listener::bind(&config)?;
        let shared = Arc::new(Shared {
            authority,
            registry: Mutex::new(Registry::default()),
            facts,
            logs,
            handshakes: Arc::new(Semaphore::new(config.limits.handshakes_max)),
            started: Instant::now(),
            config,
        });
        let (closing, closed) = watch::channel(Closing::No);
        let agents =
            Arc::new(Self { shared: Arc::clone(&shared), closing, listener: Mutex::new(None) });
        for (incarnation, holding) in &shared.config.admitted {
            agents.admit(*incarnation, holding.as_ref())?;
        }
        let task = tokio::spawn(listener::serve(shared, socket, closed));
        *agents.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(agents)
    }

    /// Prepares for an agent that will start: writes its enrolment file with a fresh nonce.
    /// Safe to repeat; the nonce before is void then. A session that lives goes on.
    ///
    /// # Errors
    /// When the incarnation's private folder cannot be written.
    pub fn expect(&self, incarnation: IncarnationId) -> Result<(), AgentsError> {
        let nonce = enrolment::issue(&self.shared, incarnation)?;
        self.shared.registry().arm(incarnation, nonce);
        Ok(())
    }

    /// Lets in an incarnation that was known before this supervisor started, by its certificate, or
    /// by its nonce if that is still unused. `holding` is the attempt that it was given last:
    /// output of any other is not written.
    ///
    /// # Errors
    /// When its enrolment file exists but cannot be read.
    pub fn admit(
        &self,
        incarnation: IncarnationId,
        holding: Option<&Held>,
    ) -> Result<(), AgentsError> {
        let nonce = enrolment::unused(&self.shared, incarnation)?;
        let mut registry = self.shared.registry();
        registry.admit(incarnation, holding.map(convert::job_ref));
        if let Some(nonce) = nonce {
            registry.arm(incarnation, nonce);
        }
        Ok(())
    }

    /// Keeps what an agent is to register with until it has it, in memory alone. A later one takes
    /// its place.
    pub fn grant(&self, incarnation: IncarnationId, credential: Credential) {
        self.shared.registry().grant(incarnation, credential);
    }

    /// Says where an agent's listener works, where that is not the runner's usual folder.
    pub fn work_at(&self, incarnation: IncarnationId, work: String) {
        self.shared.registry().work_at(incarnation, work);
    }

    /// Tells an agent something, if it is connected.
    pub fn order(&self, incarnation: IncarnationId, order: AgentOrder) -> Delivery {
        self.shared.registry().order(incarnation, order)
    }

    /// The runner is gone for good: ends its session without a word to the core, and refuses it
    /// from now on.
    ///
    /// # Errors
    /// When its enrolment file cannot be deleted.
    pub fn revoke(&self, incarnation: IncarnationId) -> Result<(), AgentsError> {
        self.shared.registry().revoke(incarnation);
        enrolment::delete(&self.shared, incarnation)
    }

    /// Ends all sessions and the listener. Agents keep their jobs and wait for the next supervisor.
    pub async fn shutdown(&self) {
        self.closing.send_replace(Closing::Yes);
        let task = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the listener for agents had ended by itself");
        }
    }

    /// The socket on this host.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.shared.config.state.agent_socket()
    }
}
