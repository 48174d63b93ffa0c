//! Records steps, and holds on to one that cannot be recorded until it can.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::clock::Stopwatch;
use super::disk::{Ballast, GivenUp};
use super::handle::{Message, Stuck};
use super::keeper::Keeper;
use crate::causes::with_causes;
use crate::fleet::state::Record;
use crate::metrics::Meters;
use crate::store::{Obstacle, Store, StoreError};
use crate::units::Time;

/// How often a step that could not be recorded is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The store, and what to do when it does not take a step.
pub(super) struct Recorder {
    pub store: Store,
    pub keeper: Keeper,
    pub ballast: Arc<Ballast>,
    /// Asks for a look at the disks before its time.
    pub look_soon: Arc<Notify>,
    /// Tells the API why nothing is answered.
    pub stuck: watch::Sender<Stuck>,
    pub meters: Arc<Meters>,
}

/// Whether a step is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// At once.
    Now,
    /// After a while.
    Later,
    /// Never: what was recorded before cannot be relied on either.
    Never,
}

impl Recorder {
    /// Records a step. While that is not possible nothing of it is done or answered, nothing else
    /// is taken in, and it is tried again until it goes well: no promise is broken, none is made.
    ///
    /// # Errors
    /// When the disk or the file is broken. The next supervisor starts from what is recorded.
    pub async fn record(
        &mut self,
        records: &[Record],
        messages: &mut mpsc::Receiver<Message>,
    ) -> Result<(), StoreError> {
        loop {
            let Err(error) = self.commit(records) else { break };
            match block_in_place(|| self.next(&error)) {
                Next::Now => {}
                Next::Later => self.wait(&error, messages).await,
                Next::Never => return Err(error),
            }
        }
        if self.stuck.send_replace(None).is_some() {
            tracing::info!("the state can be written again");
        }
        Ok(())
    }

    /// Once a second: sees to the audit log.
    pub fn keep(&mut self, now: Time, keep: Option<Duration>) {
        self.keeper.tick(&mut self.store, now, keep);
    }

    /// Says where the audit log ends now.
    pub fn checkpoint(&mut self) {
        self.keeper.checkpoint(&self.store);
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let begun = Stopwatch::start();
        let committed = block_in_place(|| self.store.commit(records));
        match &committed {
            Ok(()) if records.is_empty() => {}
            Ok(()) => self.meters.committed(begun.elapsed()),
            Err(_) => self.meters.not_committed(),
        }
        committed
    }

    fn next(&self, error: &StoreError) -> Next {
        match error.obstacle() {
            Obstacle::Full => {
                self.look_soon.notify_one();
                match self.ballast.give_up() {
                    GivenUp::Space => Next::Now,
                    GivenUp::Nothing => Next::Later,
                }
            }
            Obstacle::Denied => Next::Later,
            // The system's own answer to a write says what it is.
            Obstacle::Refused => match self.ballast.probe().map_err(|error| error.kind()) {
                Err(
                    ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::ReadOnlyFilesystem,
                ) => Next::Later,
                Ok(()) | Err(_) => Next::Never,
            },
            Obstacle::Broken => Next::Never,
        }
    }

    /// Turns everybody away until the next try.
    async fn wait(&mut self, error: &StoreError, messages: &mut mpsc::Receiver<Message>) {
        let why = format!(
            "{}; nothing is taken in or given out until it can be written, and jobs that run go \
             on: make room on its disk, or make it writable",
            with_causes(error)
        );
        if self.stuck.borrow().as_ref() != Some(&why) {
            tracing::error!("{why}");
            self.stuck.send_replace(Some(why));
        }
        let end = sleep(AGAIN);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                // Without an answer the client is told why.
                Some(message) = messages.recv() => drop(message),
            }
        }
    }
}
