//! Follows one job to its end: its output as it comes, and what becomes of it.

use std::time::Duration;

use axum::body::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Api;
use super::logs::{Follow, LogStream};
use super::record::{Record, RecordKind};
use super::sight::Sight;
use super::stream::{Ended, Out, send};
use crate::fleet::view::JobView;
use crate::ids::JobId;

/// While a job waits or runs, it is looked at this often at most: five times a second is enough to
/// tell people why it waits, and keeps a thousand followers from flooding the loop.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What a follower is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// Only what the job writes.
    Output,
    /// Also how the job stands, whenever that changes, and at the end.
    OutputAndJob(Sight),
}

/// One client that follows one job.
pub(super) struct JobFollower<'a> {
    pub(super) api: &'a Api,
    pub(super) job: JobId,
    pub(super) out: &'a Out,
    pub(super) telling: Telling,
}

/// How far the follower is.
struct Progress {
    log: Option<LogStream>,
    from: u64,
    changed: Changed,
    look_at: Instant,
    told: Option<JobView>,
}

/// Whether the loop has made a step since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}

impl JobFollower<'_> {
    /// Until the job is over, the client leaves, or the supervisor goes.
    pub(super) async fn run(self, from: u64) {
        // Why it ended is for nobody: the closed stream says it.
        let _ended = self.follow(from).await;
    }

    async fn follow(&self, from: u64) -> Result<(), Ended> {
        let mut steps = self.api.handle.steps();
        let mut progress = Progress {
            log: Some(self.api.logs.read(self.job, from, Follow::Yes)),
            from,
            changed: Changed::Yes,
            look_at: Instant::now() + LOOK_INTERVAL,
            told: None,
        };
        loop {
            if let Some(job) = self.turn(&mut progress, &mut steps).await? {
                self.rest_of_log(&mut progress).await?;
                return self.tell(job).await;
            }
        }
    }

    /// Waits for the next thing to happen; returns the job when it is over.
    async fn turn(
        &self,
        progress: &mut Progress,
        steps: &mut watch::Receiver<u64>,
    ) -> Result<Option<JobView>, Ended> {
        tokio::select! {
            biased;
            chunk = next_chunk(&mut progress.log) => {
                self.chunk(progress, chunk).await?;
                Ok(None)
            }
            step = steps.changed(), if progress.changed == Changed::No => {
                step.map_err(|_| Ended)?;
                progress.changed = Changed::Yes;
                Ok(None)
            }
            () = sleep_until(progress.look_at), if progress.changed == Changed::Yes => {
                progress.changed = Changed::No;
                self.look(progress).await
            }
            () = self.out.closed() => Err(Ended),
        }
    }

    async fn chunk(&self, progress: &mut Progress, chunk: Option<Bytes>) -> Result<(), Ended> {
        match chunk {
            Some(bytes) => {
                progress.from += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                send(self.out, bytes).await
            }
            None => {
                // The output is complete, so the end is near: look at once, then at each step.
                progress.log = None;
                progress.changed = Changed::Yes;
                progress.look_at = Instant::now();
                Ok(())
            }
        }
    }

    async fn look(&self, progress: &mut Progress) -> Result<Option<JobView>, Ended> {
        let job = self.api.job_view(self.job).await.map_err(|_| Ended)?;
        progress.look_at = match progress.log {
            Some(_) => Instant::now() + LOOK_INTERVAL,
            None => Instant::now(),
        };
        if job.status.is_final() {
            return Ok(Some(job));
        }
        if progress.told.as_ref() != Some(&job) {
            self.tell(job.clone()).await?;
            progress.told = Some(job);
        }
        Ok(None)
    }

    /// A job that is over writes no more, even if no end record says so (its runner died).
    async fn rest_of_log(&self, progress: &mut Progress) -> Result<(), Ended> {
        if progress.log.take().is_none() {
            return Ok(());
        }
        let mut rest = Some(self.api.logs.read(self.job, progress.from, Follow::No));
        while let Some(bytes) = next_chunk(&mut rest).await {
            send(self.out, bytes).await?;
        }
        Ok(())
    }

    async fn tell(&self, job: JobView) -> Result<(), Ended> {
        match self.telling {
            Telling::Output => Ok(()),
            Telling::OutputAndJob(sight) => {
                let at = job.ended_at.unwrap_or(job.queued_at);
                let bytes = serde_json::to_vec(&sight.job(job)).map_err(|_| Ended)?;
                send(self.out, Record { kind: RecordKind::Job, at, bytes }.encode()).await
            }
        }
    }
}

/// The next chunk; none at the end of the log. Without a log it waits for ever: others go on.
async fn next_chunk(log: &mut Option<LogStream>) -> Option<Bytes> {
    let Some(stream) = log else { return std::future::pending().await };
    match stream.next().await? {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tracing::error!(%error, "cannot read a job's output; its followers see what was read");
            None
        }
    }
}
