//! A registration that is kept: in the slot's own volume, which outlives the container. With it the
//! listener starts again without a token and without a supervisor.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, Files, SETTINGS};
use crate::agent::place::Owner;
use crate::agent::say;
use crate::ids::IncarnationId;
use crate::wire::listen::{Credential, ListenOrder};

/// What the registration was made with.
const TERMS: &str = "registered.json";

/// The last order, without its secret.
const ORDER: &str = "order.json";

/// What a registration is for: one of other terms is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Terms {
    url: String,
    name: String,
    labels: Vec<String>,
    group: Option<String>,
}

impl Terms {
    fn of(order: &ListenOrder) -> Self {
        Self {
            url: order.url.clone(),
            name: order.name.clone(),
            labels: order.labels.clone(),
            group: order.group.clone(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Another container of the same slot waits for its own order.
    incarnation: IncarnationId,
    order: ListenOrder,
}

/// The folder of a slot's registration.
#[derive(Debug)]
pub(super) struct Registration {
    folder: PathBuf,
}

impl Registration {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The registration, if it is of these terms.
    pub(super) fn find(&self, order: &ListenOrder) -> Option<Files> {
        let terms: Terms = self.read(TERMS)?;
        let files = files::read(&self.folder)?;
        let described = files::describe(files.get(SETTINGS)?)?;
        let same = terms == Terms::of(order) && described.name.as_ref() == Some(&order.name);
        same.then_some(files)
    }

    /// Keeps a new registration, as the forge's program left it in its root.
    pub(super) fn keep(&self, order: &ListenOrder, root: &Path) -> Result<Files, String> {
        let files = files::read(root).ok_or_else(|| {
            format!("the registration's files are not in {} as they should be", root.display())
        })?;
        let kept = || -> Result<(), String> {
            self.make().map_err(|error| self.problem(&error))?;
            // First away with the old terms: they do not fit the new files.
            self.forget()?;
            files::write(&self.folder, &files, root_user())?;
            self.write(TERMS, &Terms::of(order)).map_err(|error| self.problem(&error))
        };
        kept()?;
        Ok(files)
    }

    /// The registration is gone at the forge.
    pub(super) fn forget(&self) -> Result<(), String> {
        match fs::remove_file(self.folder.join(TERMS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.problem(&error));
            }
            Ok(()) | Err(_) => {}
        }
        files::clean(&self.folder)
    }

    /// Remembers an order for a start without a supervisor.
    pub(super) fn remember(&self, order: &ListenOrder, incarnation: IncarnationId) {
        let order = ListenOrder { credential: Credential::Kept(None), ..order.clone() };
        let kept = self.make().and_then(|()| self.write(ORDER, &Kept { incarnation, order }));
        if let Err(error) = kept {
            say(&self.problem(&error));
        }
    }

    /// The order that this very runner had, if its registration is there.
    pub(super) fn recall(&self, incarnation: IncarnationId) -> Option<ListenOrder> {
        let kept: Kept = self.read(ORDER)?;
        (kept.incarnation == incarnation && self.find(&kept.order).is_some()).then_some(kept.order)
    }

    fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&files::read_bounded(&self.folder.join(name)).ok()?).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        files::write_private(&self.folder.join(name), &serde_json::to_vec(value)?, root_user())
    }

    fn problem(&self, error: &io::Error) -> String {
        format!("the registration cannot be kept in {}: {error}", self.folder.display())
    }
}

/// Whoever the agent runs as.
fn root_user() -> Owner {
    Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::wire::listen::ForgeKind;

    fn order() -> ListenOrder {
        ListenOrder {
            forge: ForgeKind::Github,
            url: "https://github.com/me/site".to_owned(),
            name: "homelab-runner-1".to_owned(),
            labels: vec!["self-hosted".to_owned()],
            group: None,
            credential: Credential::Kept(Some("canary-token".to_owned())),
            uid: 1000,
            gid: 1000,
            env: BTreeMap::new(),
            refuse_forks: false,
            work: "/work".to_owned(),
        }
    }

    #[test]
    fn a_registration_is_found_again_under_the_same_terms_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        for name in files::REGISTRATION {
            fs::write(root.join(name), r#"{"agentId":7,"agentName":"homelab-runner-1"}"#).unwrap();
        }
        let registration = Registration::new(&folder.path().join("identity"));
        assert_eq!(registration.find(&order()), None);
        registration.keep(&order(), &root).unwrap();
        assert!(registration.find(&order()).is_some());
        let elsewhere = ListenOrder { url: "https://github.com/me/other".to_owned(), ..order() };
        assert_eq!(registration.find(&elsewhere), None);
        let relabelled = ListenOrder { labels: vec!["gpu".to_owned()], ..order() };
        assert_eq!(registration.find(&relabelled), None);

        registration.remember(&order(), IncarnationId(3));
        let recalled = registration.recall(IncarnationId(3)).unwrap();
        assert_eq!(recalled.credential, Credential::Kept(None));
        assert_eq!(registration.recall(IncarnationId(4)), None, "it waits for its own order");
        for entry in fs::read_dir(folder.path().join("identity")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains("canary"), "{text}");
        }

        registration.forget().unwrap();
        assert_eq!(registration.recall(IncarnationId(3)), None);
    }
}
