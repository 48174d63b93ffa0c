//! Images: what a name means, pulling what is missing, and which images bring our own labels.

use std::collections::HashMap;
use std::sync::PoisonError;

use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::DockerEngine;
use super::errors::{Call, deadline, is_gone};
use crate::engine::EngineError;
use crate::engine::translate::{LABEL_FLEET, LABEL_INCARNATION, LABEL_PROJECT};
use crate::fleet::event::OpErrorClass;
use crate::ids::{ImageId, ImageRef};

/// Labels that only containers may have: an image with them makes strangers look like ours.
const OWN: [&str; 3] = [LABEL_PROJECT, LABEL_FLEET, LABEL_INCARNATION];

/// Images whose labels are remembered; a fleet uses a handful.
const REMEMBERED: usize = 1000;

struct Found {
    id: ImageId,
    has_own_labels: bool,
}

impl DockerEngine {
    pub(super) async fn find_or_pull(&self, image: &ImageRef) -> Result<ImageId, EngineError> {
        let found = match self.inspect_image(image.as_str()).await {
            Err(error) if is_gone(&error) => {
                self.pull(image).await?;
                self.inspect_image(image.as_str()).await?
            }
            found => found?,
        };
        if found.has_own_labels {
            return Err(EngineError::Refused {
                action: format!("use image {image}"),
                class: OpErrorClass::Fatal,
                message: "it carries this program's own labels (it was probably committed from a \
                          runner), so its containers could not be told from ours; build it anew"
                    .to_owned(),
            });
        }
        Ok(found.id)
    }

    /// Whether an image brings the labels by which containers are known as ours.
    ///
    /// An image that is gone answers no: its containers got their labels when they were made.
    pub(super) async fn image_has_own_labels(&self, id: &ImageId) -> Result<bool, EngineError> {
        if let Some(labelled) = self.remembered(id) {
            return Ok(labelled);
        }
        match self.inspect_image(id.as_str()).await {
            Ok(found) => Ok(found.has_own_labels),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The labels of an image; none if the engine does not have it.
    ///
    /// # Errors
    /// [`EngineError`], when the engine does not answer or refuses.
    pub async fn image_labels(
        &self,
        image: &ImageRef,
    ) -> Result<Option<HashMap<String, String>>, EngineError> {
        let call = self.call(format!("inspect image {image}"), deadline::INSPECT);
        match call.run(self.client.inspect_image(image.as_str())).await {
            Ok(found) => {
                Ok(Some(found.config.and_then(|config| config.labels).unwrap_or_default()))
            }
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remembered(&self, id: &ImageId) -> Option<bool> {
        let known = self.labelled_images.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).copied()
    }

    async fn inspect_image(&self, name: &str) -> Result<Found, EngineError> {
        let call = self.call(format!("inspect image {name}"), deadline::INSPECT);
        let image = call.run(self.client.inspect_image(name)).await?;
        let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
        let found = Found {
            id: ImageId::new(image.id.unwrap_or_default()),
            has_own_labels: OWN.iter().any(|label| labels.contains_key(*label)),
        };
        let mut known = self.labelled_images.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < REMEMBERED {
            known.insert(found.id.clone(), found.has_own_labels);
        }
        Ok(found)
    }

    async fn pull(&self, image: &ImageRef) -> Result<(), EngineError> {
        let call = self.call(format!("pull image {image}"), deadline::PULL);
        if image.as_str().starts_with("sha256:") {
            return Err(missing(&call, image, "a content id cannot be pulled"));
        }
        tracing::info!(%image, "not on the engine yet: pulling");
        match tokio::time::timeout(deadline::PULL, self.follow_pull(image, &call)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Error::RequestTimeoutError)) => {
                let seconds = deadline::PULL_PROGRESS.as_secs();
                Err(missing(&call, image, &format!("the registry said nothing for {seconds} s")))
            }
            Ok(Err(error)) => match call.sort(error) {
                EngineError::Refused { message, .. } => Err(missing(&call, image, &message)),
                other => Err(other),
            },
            Err(_) => Err(call.overdue()),
        }
    }

    /// Reads a pull's progress to its end; a pull that falls silent is given up.
    async fn follow_pull(&self, image: &ImageRef, call: &Call) -> Result<(), Error> {
        let options = CreateImageOptionsBuilder::default().from_image(&tagged(image)).build();
        let mut progress = self.client.create_image(Some(options), None, None).boxed();
        loop {
            let step = tokio::time::timeout(deadline::PULL_PROGRESS, progress.next()).await;
            let Some(step) = step.map_err(|_| Error::RequestTimeoutError)? else { return Ok(()) };
            let step = step?;
            if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
                return Err(Error::DockerStreamError { error });
            }
            // Byte counts come many times a second; only the steps are worth a line.
            if step.progress_detail.is_none_or(|detail| detail.total.is_none()) {
                let (layer, status) =
                    (step.id.unwrap_or_default(), step.status.unwrap_or_default());
                tracing::info!(%layer, "{}: {status}", call.action);
            }
        }
    }
}

/// The name with a tag: without one, the engine would pull every tag there is.
fn tagged(image: &ImageRef) -> String {
    let name = image.as_str();
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.contains([':', '@']) {
        true => name.to_owned(),
        false => format!("{name}:latest"),
    }
}

fn missing(call: &Call, image: &ImageRef, why: &str) -> EngineError {
    EngineError::Refused {
        action: call.action.clone(),
        class: OpErrorClass::Fatal,
        message: format!(
            "image {image} is not on the engine and could not be pulled ({why}): build it with \
             images/build or correct `image:`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_means_latest_and_never_every_tag() {
        let full = |name: &str| tagged(&ImageRef::new(name));
        assert_eq!(full("slate-runner"), "slate-runner:latest");
        assert_eq!(full("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(full("localhost:5000/a/b:1"), "localhost:5000/a/b:1");
        assert_eq!(full("a@sha256:00"), "a@sha256:00");
    }
}
