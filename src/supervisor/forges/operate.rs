//! Operations at a forge, and workflows that are started by hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::settings::words;
use super::{Adapter, Forges, lock};
use crate::agents::{Agents, Credential};
use crate::failpoint::{reach, variant};
use crate::fleet::effect::ForgeAction;
use crate::fleet::event::Event;
use crate::fleet::forge::{
    ForgeEntry, ForgeError, ForgeErrorClass, ForgeEvent, ForgeOutcome, RegisterOrder,
};
use crate::forge::{CallError, Dispatched, Forge, Removal, RunState};
use crate::ids::{IncarnationId, OpId, PoolName, ScopeUrl};
use crate::supervisor::handle::{DispatchOrder, RunOrder};

/// An adapter's own deadlines and its turn at the governor are shorter.
const OPERATION_MOST: Duration = Duration::from_secs(180);
/// Clients of the API wait half a minute.
const ANSWER_MOST: Duration = Duration::from_secs(25);

impl Forges {
    /// Carries an operation out; its outcome becomes an event. What a runner is registered with
    /// goes to the agents' side, and nowhere else.
    pub async fn operate(
        self: Arc<Self>,
        op: OpId,
        incarnation: IncarnationId,
        action: ForgeAction,
        agents: Arc<Agents>,
    ) {
        let name = variant(&action);
        reach(|| format!("before the forge operation {name}"));
        let outcome = match action {
            ForgeAction::Register(order) => {
                self.register(incarnation, &order, |secret| {
                    reach(|| "after the forge registered a runner".to_owned());
                    agents.grant(incarnation, Credential::OneJob(secret));
                })
                .await
            }
            ForgeAction::Remove(entry) => self.remove(&entry).await,
        };
        reach(|| format!("after the forge operation {name}"));
        // Without a loop the supervisor is on its way out, and the next one looks for itself.
        let _gone = self.events.send(Event::ForgeOperation { op, outcome }).await;
    }

    async fn register(
        &self,
        incarnation: IncarnationId,
        order: &RegisterOrder,
        grant: impl FnOnce(String),
    ) -> ForgeOutcome {
        let forge = match self.adapter(&order.enlistment.scope) {
            Ok(forge) => forge,
            Err(why) => return denied(why),
        };
        let late = || Err(CallError::Unknown("the forge did not answer in time".to_owned()));
        let registered = timeout(OPERATION_MOST, forge.register(order)).await;
        match registered.unwrap_or_else(|_| late()) {
            Ok(given) => {
                tracing::debug!(%incarnation, name = order.name, id = %given.id, "registered");
                grant(given.secret);
                ForgeOutcome::Registered(given.id)
            }
            Err(error) => {
                tracing::warn!(%incarnation, name = order.name, "not registered: {error}");
                failed(error)
            }
        }
    }

    async fn remove(&self, entry: &ForgeEntry) -> ForgeOutcome {
        let forge = match self.adapter(&entry.scope) {
            Ok(forge) => forge,
            Err(why) => return denied(why),
        };
        let late = || Err(CallError::Unknown("the forge did not answer in time".to_owned()));
        let removed = timeout(OPERATION_MOST, forge.remove(entry)).await;
        match removed.unwrap_or_else(|_| late()) {
            Ok(Removal::Removed) => {
                tracing::debug!(entry = words(entry), "removed");
                ForgeOutcome::Removed
            }
            Ok(Removal::NotListed) => ForgeOutcome::NotListed,
            Ok(Removal::Busy) => ForgeOutcome::Busy,
            Err(error) => {
                tracing::warn!(entry = words(entry), "not removed: {error}");
                failed(error)
            }
        }
    }

    /// Starts a workflow by a pool's right, and puts it on record.
    pub async fn dispatch(&self, order: DispatchOrder) -> Result<Dispatched, CallError> {
        let (scope, forge) = self.of_pool(&order.pool)?;
        let started = timeout(ANSWER_MOST, forge.dispatch(&order.dispatch)).await;
        let started = started.unwrap_or_else(|_| Err(late()))?;
        let event = ForgeEvent::Dispatched {
            by: order.by,
            scope,
            repository: order.dispatch.repository,
            workflow: order.dispatch.workflow,
            run: started.run,
        };
        let _gone = self.events.send(Event::Forge(event)).await;
        Ok(started)
    }

    /// Where a workflow's run stands.
    pub async fn run(&self, order: RunOrder) -> Result<RunState, CallError> {
        let (_, forge) = self.of_pool(&order.pool)?;
        let state = timeout(ANSWER_MOST, forge.run(&order.repository, order.run)).await;
        state.unwrap_or_else(|_| Err(late()))
    }

    fn adapter(&self, scope: &ScopeUrl) -> Result<Arc<Adapter>, String> {
        let nobody = || {
            format!(
                "no pool gives a right to the API of {scope} any more; what is left there is for \
                 you to remove"
            )
        };
        self.scope(scope).ok_or_else(nobody)?.adapter.clone()
    }

    fn of_pool(&self, name: &PoolName) -> Result<(ScopeUrl, Arc<Adapter>), CallError> {
        let found = lock(&self.state).pools.iter().find(|pool| pool.name == *name).cloned();
        let scope = found.and_then(|pool| pool.forge).map(|forge| forge.scope);
        let scope = scope.ok_or_else(|| refused(format!("pool `{name}` has no forge")))?;
        let forge = self.adapter(&scope).map_err(refused)?;
        Ok((scope, forge))
    }
}

fn late() -> CallError {
    CallError::Unknown("the forge did not answer in time; look before you ask again".to_owned())
}

fn refused(message: String) -> CallError {
    CallError::Failed(ForgeError { class: ForgeErrorClass::Denied, message })
}

fn denied(message: String) -> ForgeOutcome {
    failed(refused(message))
}

fn failed(error: CallError) -> ForgeOutcome {
    match error {
        CallError::Failed(error) => ForgeOutcome::Failed(error),
        CallError::Unknown(why) => ForgeOutcome::Unknown(why),
    }
}
