//! What a project has beside its containers: making its network, removing everything, neighbours.

use std::collections::{BTreeMap, HashMap};

use bollard::models::Network;
use bollard::query_parameters::{ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
use futures_util::{StreamExt, stream};

use super::DockerEngine;
use super::containers::own_filter;
use super::errors::{deadline, is_gone};
use crate::engine::translate::{self, LABEL_FLEET, LABEL_PROJECT};
use crate::engine::{EngineError, OtherFleet, Swept};
use crate::fleet::event::OpErrorClass;
use crate::ids::{ContainerId, FleetId};

/// Removals at a time: more do not make the engine faster.
const REMOVED_AT_ONCE: usize = 8;

type Labels = HashMap<String, String>;

impl DockerEngine {
    pub(super) async fn make_network(&self) -> Result<(), EngineError> {
        let name = translate::network_name(&self.project);
        let by_name = HashMap::from([("name".to_owned(), vec![name.clone()])]);
        // The filter finds parts of names too.
        let found = self
            .networks(by_name)
            .await?
            .into_iter()
            .find(|network| network.name.as_deref() == Some(name.as_str()));
        let call = self.call(format!("make network {name}"), deadline::CREATE);
        let Some(found) = found else {
            call.run(self.client.create_network(translate::network_body(&self.project))).await?;
            return Ok(());
        };
        let labels = found.labels.unwrap_or_default();
        let own = translate::project_labels(&self.project);
        if own.iter().all(|(key, value)| labels.get(key) == Some(value)) {
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

    async fn networks(
        &self,
        filter: HashMap<String, Vec<String>>,
    ) -> Result<Vec<Network>, EngineError> {
        let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
        let call = self.call("list networks", deadline::LIST);
        call.run(self.client.list_networks(Some(options))).await
    }

    /// Names and labels of the volumes that a filter finds.
    async fn volumes(
        &self,
        filter: HashMap<String, Vec<String>>,
    ) -> Result<Vec<(String, Labels)>, EngineError> {
        let options = ListVolumesOptionsBuilder::default().filters(&filter).build();
        let call = self.call("list volumes", deadline::LIST);
        let found = call.run(self.client.list_volumes(Some(options))).await?;
        let volumes = found.volumes.unwrap_or_default();
        Ok(volumes.into_iter().map(|volume| (volume.name, volume.labels)).collect())
    }

    /// Removes containers, then the volumes and networks that they held.
    ///
    /// Goes on after a failure and returns the first one, so that as little as possible is left.
    pub(super) async fn remove_everything(&self) -> Result<Swept, EngineError> {
        let filter = own_filter(&self.project);
        let containers = self.own_summaries(filter.clone()).await?;
        let ids = containers.into_iter().filter_map(|summary| summary.id).map(ContainerId::new);
        let removals = stream::iter(ids).map(|id| async move { self.remove_container(&id).await });
        let containers = tally(removals.buffer_unordered(REMOVED_AT_ONCE).collect().await);

        let names = self.volumes(filter.clone()).await?.into_iter().map(|(name, _)| name);
        let removals =
            stream::iter(names).map(|name| async move { self.remove_volume(&name).await });
        let volumes = tally(removals.buffer_unordered(REMOVED_AT_ONCE).collect().await);

        let ids = self.networks(filter).await?.into_iter().filter_map(|network| network.id);
        let removals = stream::iter(ids).map(|id| async move { self.remove_network(&id).await });
        let networks = tally(removals.buffer_unordered(REMOVED_AT_ONCE).collect().await);
        Ok(Swept { containers: containers?, volumes: volumes?, networks: networks? })
    }

    async fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        let call = self.call(format!("remove network {id}"), deadline::REMOVE);
        match call.run(self.client.remove_network(id)).await {
            Err(error) if is_gone(&error) => Ok(()),
            done => done,
        }
    }

    pub(super) async fn list_other_fleets(&self) -> Result<Vec<OtherFleet>, EngineError> {
        let label = format!("{LABEL_PROJECT}={}", self.project.name);
        let filter = HashMap::from([("label".to_owned(), vec![label])]);
        let mut others: BTreeMap<FleetId, Swept> = BTreeMap::new();
        let mut count = |labels: Option<&Labels>, add: fn(&mut Swept)| {
            let fleet = labels.and_then(|all| all.get(LABEL_FLEET)).cloned().unwrap_or_default();
            if fleet != self.project.fleet.as_str() {
                add(others.entry(FleetId::new(fleet)).or_default());
            }
        };
        for container in self.own_summaries(filter.clone()).await? {
            count(container.labels.as_ref(), |objects| objects.containers += 1);
        }
        for (_, labels) in self.volumes(filter.clone()).await? {
            count(Some(&labels), |objects| objects.volumes += 1);
        }
        for network in self.networks(filter).await? {
            count(network.labels.as_ref(), |objects| objects.networks += 1);
        }
        let found = others.into_iter().map(|(fleet, objects)| OtherFleet { fleet, objects });
        Ok(found.collect())
    }
}

fn tally(results: Vec<Result<(), EngineError>>) -> Result<usize, EngineError> {
    let count = results.len();
    results.into_iter().collect::<Result<(), _>>().map(|()| count)
}
