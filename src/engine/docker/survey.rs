//! Looks an engine over for `doctor`; changes nothing.

use std::collections::HashMap;

use bollard::models::{LocalNodeState, Network, SystemInfo};
use jiff::Timestamp;

use super::DockerEngine;
use super::errors::{deadline, is_gone};
use super::info::translate;
use crate::engine::survey::{AddressPool, EngineSurvey, ImageSurvey};
use crate::engine::{Engine, EngineError};
use crate::ids::ImageRef;
use crate::units::Time;

impl DockerEngine {
    /// What an operator should know of this engine, and whether it has these images.
    ///
    /// # Errors
    /// As of every call to the engine.
    pub async fn survey(&self, images: &[ImageRef]) -> Result<EngineSurvey, EngineError> {
        let info = self.info().await?;
        let call = self.call("ask the engine what it is", deadline::INFO);
        let told = call.run(self.client.info()).await?;
        let networks = self.networks(HashMap::new()).await?;
        let mut found = Vec::new();
        for image in images {
            found.push(self.survey_image(image).await?);
        }
        Ok(EngineSurvey {
            networks: networks.iter().filter(|it| takes_addresses(it)).count(),
            images: found,
            ..overview(told, info.api)
        })
    }

    async fn survey_image(&self, image: &ImageRef) -> Result<ImageSurvey, EngineError> {
        let call = self.call(format!("inspect image {image}"), deadline::INSPECT);
        let (present, created) = match call.run(self.client.inspect_image(image.as_str())).await {
            Ok(told) => (true, told.created),
            Err(error) if is_gone(&error) => (false, None),
            Err(error) => return Err(error),
        };
        let built = created.as_deref().and_then(moment);
        Ok(ImageSurvey { name: image.to_string(), present, built })
    }
}

fn overview(told: SystemInfo, api: String) -> EngineSurvey {
    let pools = told.default_address_pools.iter().flatten();
    let pool = |(base, size): (&String, i64)| AddressPool {
        base: base.clone(),
        size: u8::try_from(size).unwrap_or(0),
    };
    let state = told.swarm.as_ref().and_then(|swarm| swarm.local_node_state);
    EngineSurvey {
        kernel: told.kernel_version.clone(),
        clock: told.system_time.as_deref().and_then(moment),
        live_restore: told.live_restore_enabled,
        swarm: state == Some(LocalNodeState::ACTIVE),
        swap_limit: told.swap_limit,
        forwards: told.ipv4_forwarding,
        proxied: told.https_proxy.as_ref().is_some_and(|it| !it.is_empty()),
        pools: pools.filter_map(|it| Some(pool((it.base.as_ref()?, it.size?)))).collect(),
        networks: 0,
        images: Vec::new(),
        info: translate(told, api),
    }
}

/// Whether a network took a range of the engine's pools, or one that pools lack then.
fn takes_addresses(network: &Network) -> bool {
    let ranges = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    network.driver.as_deref() == Some("bridge") && ranges.is_some_and(|it| !it.is_empty())
}

/// A time as engines write it; images of some builders say the year 1, which is none.
fn moment(text: &str) -> Option<Time> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().filter(|it| *it > 0).map(Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_times_are_read_and_a_builders_lack_of_one_is_none() {
        let time = moment("2026-02-08T12:00:00.123456789Z");
        assert_eq!(time, Some(Time(1_770_552_000_123)));
        assert_eq!(moment("0001-01-01T00:00:00Z"), None);
        assert_eq!(moment("yesterday"), None);
    }
}
