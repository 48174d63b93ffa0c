//! Keeps the audit log: its checkpoint beside the database, and its length.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::chain::Head;
use crate::store::{Store, checkpoint};
use crate::units::Time;

/// What it has done so far.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    written: Option<Head>,
    health: Health,
}

/// Whether the last checkpoint could be written; a full disk is told of once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    Failing,
}

impl Keeper {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, written: None, health: Health::Well }
    }

    /// Once a second: says where the log ends now, and lets old entries go.
    pub(super) fn tick(&mut self, store: &mut Store, now: Time, keep: Option<Duration>) {
        self.checkpoint(store);
        match store.trim_audit(now, keep) {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "old audit entries are removed"),
            Err(error) => tracing::warn!(%error, "old audit entries cannot be removed"),
        }
    }

    /// Says where the log ends now.
    pub(super) fn checkpoint(&mut self, store: &Store) {
        let head = store.head();
        if self.written == Some(head) {
            return;
        }
        match checkpoint::write(&self.path, head) {
            Ok(()) => {
                self.written = Some(head);
                self.health = Health::Well;
            }
            Err(error) if self.health == Health::Well => {
                self.health = Health::Failing;
                let path = self.path.display();
                tracing::warn!(%error, "cannot write {path}; a log that is cut off goes unseen");
            }
            Err(_) => {}
        }
    }
}
