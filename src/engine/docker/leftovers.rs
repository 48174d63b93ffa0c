//! What may be removed between runs: volumes of runners that are gone, second networks, images.

use bollard::query_parameters::RemoveImageOptionsBuilder;

use super::DockerEngine;
use super::containers::own_filter;
use super::errors::{deadline, is_conflict, is_gone};
use crate::engine::translate::{self, LABEL_INCARNATION};
use crate::engine::{EngineError, ImageEnd, Leftover};
use crate::ids::{ImageId, ImageRef};
use crate::units::Bytes;

impl DockerEngine {
    /// Volumes that belong to an incarnation, and networks beside the fleet's one. What carries
    /// the fleet's labels and no incarnation (a cache, a registration) is nobody's leftover.
    pub(super) async fn list_leftovers(&self) -> Result<Vec<Leftover>, EngineError> {
        let filter = own_filter(&self.project);
        let volumes =
            self.volumes(filter.clone()).await?.into_iter().filter_map(|(name, labels)| {
                let incarnation = labels.get(LABEL_INCARNATION)?.parse().ok()?;
                Some(Leftover { name, incarnation: Some(incarnation) })
            });
        let mut left: Vec<Leftover> = volumes.collect();
        let own = translate::network_name(&self.project);
        let names = self.networks(filter).await?.into_iter().filter_map(|network| network.name);
        let others = names.filter(|name| *name != own);
        left.extend(others.map(|name| Leftover { name, incarnation: None }));
        Ok(left)
    }

    pub(super) async fn remove_leftover_of(&self, left: &Leftover) -> Result<(), EngineError> {
        match left.incarnation {
            Some(_) => self.remove_volume(&left.name).await,
            // What has to stay says so itself, and does no harm.
            None => self.remove_network(&left.name).await.map(drop),
        }
    }

    /// The content that a name means, if the engine has it.
    pub(super) async fn find_image(
        &self,
        image: &ImageRef,
    ) -> Result<Option<ImageId>, EngineError> {
        let call = self.call(format!("inspect image {image}"), deadline::INSPECT);
        match call.run(self.client.inspect_image(image.as_str())).await {
            Ok(found) => Ok(found.id.map(ImageId::new)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a name from an image, and the image away if that was its last. Never by force.
    pub(super) async fn remove_image_of(
        &self,
        image: &ImageRef,
        id: &ImageId,
    ) -> Result<ImageEnd, EngineError> {
        let call = self.call(format!("inspect image {image}"), deadline::INSPECT);
        let found = match call.run(self.client.inspect_image(image.as_str())).await {
            Ok(found) => found,
            Err(error) if is_gone(&error) => return Ok(ImageEnd::Another),
            Err(error) => return Err(error),
        };
        if found.id.as_deref() != Some(id.as_str()) {
            return Ok(ImageEnd::Another);
        }
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        let call = self.call(format!("remove image {image}"), deadline::REMOVE);
        let removed = self.client.remove_image(image.as_str(), Some(options), None);
        match call.run(removed).await {
            Ok(_) => {
                let size = found.size.and_then(|size| u64::try_from(size).ok());
                Ok(ImageEnd::Removed(Bytes(size.unwrap_or(0))))
            }
            Err(error) if is_gone(&error) => Ok(ImageEnd::Another),
            Err(error) if is_conflict(&error) => Ok(ImageEnd::InUse),
            Err(error) => Err(error),
        }
    }
}
