//! What a project has beside its containers: making its network, removing everything, neighbours.

use std::collections::{BTreeMap, HashMap};

use bollard::models::Network;
use bollard::query_parameters::{
    InspectNetworkOptions, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};
use futures_util::{StreamExt, stream};

use super::DockerEngine;
use super::containers::own_filter;
use super::errors::{deadline, is_gone};
use crate::engine::translate::{self, LABEL_CACHE, LABEL_FLEET, LABEL_IDENTITY, LABEL_PROJECT};
use crate::engine::{EngineError, ObjectCount, OtherFleet, Swept};
use crate::fleet::event::OpErrorClass;
use crate::ids::{ContainerId, FleetId};

/// Removals at a time: more do not make the engine faster.
const REMOVED_AT_ONCE: usize = 8;

/// The engine's words for a network that it will not remove.
const IN_USE: &str = "has active endpoints";

type Labels = HashMap<String, String>;

impl DockerEngine {
    pub(super) async fn make_network(&self) -> Result<(), EngineError> {
        let _alone = self.network.lock().await;
        let name = translate::network_name(&self.project);
        let call = self.call(format!("make network {name}"), deadline::CREATE);
        let by_name = HashMap::from([("name".to_owned(), vec![name.clone()])]);
        // The filter finds parts of names too.
        let is_it = |network: &Network| network.name.as_deref() == Some(name.as_str());
        let Some(found) = self.networks(by_name).await?.into_iter().find(is_it) else {
            call.run(self.client.create_network(translate::network_body(&self.project))).await?;
            return Ok(());
        };
        let id = found.id.unwrap_or_default();
        if self.may_use(&id, &found.labels.unwrap_or_default()).await? {
            return Ok(());
        }
        Err(call.refused(
            OpErrorClass::Conflict,
            format!(
                "a network of that name is there and is not this fleet's; choose another \
                 `project:` or remove it (`docker network rm {name}`)"
            ),
        ))
    }

    /// Whether a network is ours, or what an earlier fleet of this project could not remove.
    async fn may_use(&self, id: &str, labels: &Labels) -> Result<bool, EngineError> {
        let has = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
        if !has(LABEL_PROJECT, self.project.name.as_str()) {
            return Ok(false);
        }
        Ok(has(LABEL_FLEET, self.project.fleet.as_str()) || self.is_empty(id).await?)
    }

    /// Whether no container is on a network.
    async fn is_empty(&self, id: &str) -> Result<bool, EngineError> {
        let call = self.call(format!("inspect network {id}"), deadline::INSPECT);
        let found = call.run(self.client.inspect_network(id, None::<InspectNetworkOptions>)).await;
        Ok(found?.containers.unwrap_or_default().is_empty())
    }

    pub(super) async fn networks(
        &self,
        filter: HashMap<String, Vec<String>>,
    ) -> Result<Vec<Network>, EngineError> {
        let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
        let call = self.call("list networks", deadline::LIST);
        call.run(self.client.list_networks(Some(options))).await
    }

    /// Names and labels of the volumes that a filter finds.
    pub(super) async fn volumes(
        &self,
        filter: HashMap<String, Vec<String>>,
    ) -> Result<Vec<(String, Labels)>, EngineError> {
        let options = ListVolumesOptionsBuilder::default().filters(&filter).build();
        let call = self.call("list volumes", deadline::LIST);
        let found = call.run(self.client.list_volumes(Some(options))).await?;
        let volumes = found.volumes.unwrap_or_default();
        Ok(volumes.into_iter().map(|volume| (volume.name, volume.labels)).collect())
    }

    /// Removes containers, then the volumes and networks that they held; caches and
    /// registrations stay.
    ///
    /// Goes on after a failure and returns the first one, so that as little as possible is left.
    pub(super) async fn remove_everything(&self) -> Result<Swept, EngineError> {
        let filter = own_filter(&self.project);
        let containers = self.own_summaries(filter.clone()).await?;
        let ids = containers.into_iter().filter_map(|summary| summary.id).map(ContainerId::new);
        let removals = stream::iter(ids).map(|id| async move { self.remove_container(&id).await });
        let containers = tally(removals.buffer_unordered(REMOVED_AT_ONCE).collect().await);

        let volumes = self.remove_volumes(is_not_kept).await;

        let mut swept = Swept::default();
        for network in self.networks(filter).await? {
            match self.remove_network(&network.id.unwrap_or_default()).await? {
                None => swept.objects.networks += 1,
                Some(reason) => swept.left.push(reason),
            }
        }
        swept.objects.containers = containers?;
        swept.objects.volumes = volumes?;
        Ok(swept)
    }

    pub(super) async fn remove_all_caches(&self) -> Result<usize, EngineError> {
        self.remove_volumes(|labels| !is_not_kept(labels)).await
    }

    /// Removes the volumes of this fleet whose labels are so; how many.
    async fn remove_volumes(&self, chosen: fn(&Labels) -> bool) -> Result<usize, EngineError> {
        let all = self.volumes(own_filter(&self.project)).await?.into_iter();
        let names = all.filter(|(_, labels)| chosen(labels)).map(|(name, _)| name);
        let removals =
            stream::iter(names).map(|name| async move { self.remove_volume(&name).await });
        tally(removals.buffer_unordered(REMOVED_AT_ONCE).collect().await)
    }

    /// Removes a network, or says why it has to stay; gone is done.
    ///
    /// The engine sometimes counts an endpoint that is gone (seen on 20.10 after many removals
    /// at a time) and then keeps the network until it is restarted. `up` uses it again.
    pub(super) async fn remove_network(&self, id: &str) -> Result<Option<String>, EngineError> {
        let call = self.call(format!("remove network {id}"), deadline::REMOVE);
        match call.run(self.client.remove_network(id)).await {
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) if error.to_string().contains(IN_USE) && self.is_empty(id).await? => {
                Ok(Some(format!(
                    "{error}; no container is on it, so the engine has miscounted: it can be \
                     removed after the engine was restarted, and does no harm until then"
                )))
            }
            done => done.map(|()| None),
        }
    }

    pub(super) async fn list_other_fleets(&self) -> Result<Vec<OtherFleet>, EngineError> {
        let label = format!("{LABEL_PROJECT}={}", self.project.name);
        let filter = HashMap::from([("label".to_owned(), vec![label])]);
        let mut others: BTreeMap<FleetId, ObjectCount> = BTreeMap::new();
        let mut count = |labels: Option<&Labels>, add: fn(&mut ObjectCount)| {
            let fleet = labels.and_then(|all| all.get(LABEL_FLEET)).cloned().unwrap_or_default();
            if fleet != self.project.fleet.as_str() {
                add(others.entry(FleetId::new(fleet)).or_default());
            }
        };
        for container in self.own_summaries(filter.clone()).await? {
            count(container.labels.as_ref(), |objects| objects.containers += 1);
        }
        // Caches and registrations stay when a fleet goes: they do not tell of one that is there.
        let volumes = self.volumes(filter.clone()).await?;
        for (_, labels) in volumes.iter().filter(|(_, labels)| is_not_kept(labels)) {
            count(Some(labels), |objects| objects.volumes += 1);
        }
        for network in self.networks(filter).await? {
            count(network.labels.as_ref(), |objects| objects.networks += 1);
        }
        let found = others.into_iter().map(|(fleet, objects)| OtherFleet { fleet, objects });
        Ok(found.collect())
    }
}

/// Caches and registrations are kept.
fn is_not_kept(labels: &Labels) -> bool {
    !labels.contains_key(LABEL_CACHE) && !labels.contains_key(LABEL_IDENTITY)
}

fn tally(results: Vec<Result<(), EngineError>>) -> Result<usize, EngineError> {
    let count = results.len();
    results.into_iter().collect::<Result<(), _>>().map(|()| count)
}
