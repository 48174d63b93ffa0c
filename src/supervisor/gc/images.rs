//! Images that the fleet itself pulled: which they are, when they were used last, and their end.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Collector, Found, GcAge, GcEffect, GcOrder};
use crate::engine::{Engine, ImageEnd};
use crate::fleet::holdings::Holdings;
use crate::ids::{ImageId, ImageRef};
use crate::state_dir::StateDir;
use crate::units::Time;

/// Pulled images that are remembered; a fleet uses a handful, and one that is forgotten stays.
const REMEMBERED: usize = 1000;

/// One image that the fleet pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pulled {
    id: ImageId,
    used_at: Time,
}

/// The record of pulled images, in the state folder. An image that somebody else brought is not in
/// it, and so is never removed.
#[derive(Debug)]
pub(in crate::supervisor) struct PulledImages {
    path: PathBuf,
    images: Mutex<BTreeMap<ImageRef, Pulled>>,
}

impl PulledImages {
    /// Reads the record. One that cannot be read is begun anew: the images of before stay.
    pub fn open(state: &StateDir) -> Self {
        let path = state.pulled_images();
        let read = || -> io::Result<BTreeMap<ImageRef, Pulled>> {
            match fs::read(&path) {
                Ok(body) => Ok(serde_json::from_slice(&body)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
                Err(error) => Err(error),
            }
        };
        let images = read().unwrap_or_else(|error| {
            let path = path.display();
            tracing::warn!(%error, "cannot read {path}; images pulled before are kept for ever");
            BTreeMap::new()
        });
        Self { path, images: Mutex::new(images) }
    }

    /// Remembers that the fleet pulled an image.
    pub fn add(&self, image: &ImageRef, id: &ImageId, now: Time) {
        self.change(|images| {
            if images.len() < REMEMBERED {
                images.insert(image.clone(), Pulled { id: id.clone(), used_at: now });
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<ImageRef, Pulled>)) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let before = images.clone();
        change(&mut images);
        if *images == before {
            return;
        }
        if let Err(error) = self.write(&images) {
            tracing::warn!(%error, "cannot write {}", self.path.display());
        }
    }

    fn write(&self, images: &BTreeMap<ImageRef, Pulled>) -> io::Result<()> {
        let part = self.path.with_extension("part");
        let mut file = fs::File::create(&part)?;
        file.write_all(&serde_json::to_vec_pretty(images)?)?;
        file.sync_all()?;
        fs::rename(part, &self.path)
    }

    /// Notes which are in use now, and gives those that were not for longer than `keep`.
    fn unused(&self, holdings: &Holdings, keep: Duration, now: Time) -> Vec<(ImageRef, ImageId)> {
        let is_used = |image: &ImageRef, pulled: &Pulled| {
            holdings.images.contains(image) || holdings.image_ids.contains(&pulled.id)
        };
        self.change(|images| {
            for (image, pulled) in images {
                if is_used(image, pulled) {
                    pulled.used_at = now;
                }
            }
        });
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = images
            .iter()
            .filter(|(image, pulled)| !is_used(image, pulled) && now.since(pulled.used_at) >= keep);
        unused.map(|(image, pulled)| (image.clone(), pulled.id.clone())).collect()
    }
}

impl<E: Engine> Collector<E> {
    /// Images that the fleet pulled, that no profile names and no runner has.
    pub(super) async fn collect_images(
        &self,
        holdings: &Holdings,
        order: GcOrder,
        now: Time,
    ) -> Result<Found, String> {
        let keep = match order.age {
            GcAge::Any => Some(Duration::ZERO),
            GcAge::AsWritten => holdings.retention.images,
        };
        let mut found = Found::default();
        let keep = keep.unwrap_or(Duration::MAX);
        for (image, id) in self.pulled.unused(holdings, keep, now) {
            if order.effect == GcEffect::Tell {
                found.add(&image, 0);
                continue;
            }
            let end = self.engine.remove_image(&image, &id).await;
            match end.map_err(|error| error.describe())? {
                ImageEnd::Removed(size) => found.add(&image, size.0),
                // The name means another image now, or none: not ours to remove.
                ImageEnd::Another => {}
                ImageEnd::InUse => continue,
            }
            self.pulled.change(|images| drop(images.remove(&image)));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_unused_only_when_no_profile_and_no_runner_has_it_for_long_enough() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path().to_owned());
        let (old, new) = (ImageRef::new("old:1"), ImageRef::new("new:1"));
        let hour = Duration::from_secs(3600);
        let start = Time(1_000_000);
        let pulled = PulledImages::open(&state);
        pulled.add(&old, &ImageId::new("sha256:1"), start);
        pulled.add(&new, &ImageId::new("sha256:2"), start);

        let mut holdings = Holdings::default();
        holdings.images.insert(new.clone());
        holdings.image_ids.insert(ImageId::new("sha256:1"));
        let unused = |holdings: &Holdings, now| pulled.unused(holdings, hour, now);
        assert_eq!(unused(&holdings, start + hour * 5), [], "a runner has it");
        holdings.image_ids.clear();
        assert_eq!(unused(&holdings, start + hour * 5), [], "it was used just now");
        let gone = unused(&holdings, start + hour * 6);
        assert_eq!(gone, [(old.clone(), ImageId::new("sha256:1"))]);

        let again = PulledImages::open(&state);
        assert_eq!(again.unused(&holdings, hour, start + hour * 6), gone, "it is durable");
    }
}
