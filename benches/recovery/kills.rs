//! Kills process 1 of a container, and hears from the engine what comes of it.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{BOUND, Outcome};

/// What happens after a kill, as far as a contender has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The engine tells of the death.
    Died,
    /// The replacement is decided and recorded.
    Planned,
    /// The replacement's container is made.
    Created,
    /// It runs.
    Started,
    /// The slot is served: its runner takes jobs.
    Served,
}

impl Stage {
    pub const ALL: [Self; 5] =
        [Self::Died, Self::Planned, Self::Created, Self::Started, Self::Served];

    pub fn words(self) -> &'static str {
        match self {
            Self::Died => "die event",
            Self::Planned => "replacement planned",
            Self::Created => "replacement created",
            Self::Started => "replacement started",
            Self::Served => "slot served again",
        }
    }
}

/// The times of one kill, since the epoch.
#[derive(Debug, Clone)]
pub struct Timeline {
    killed: Duration,
    stages: Vec<(Stage, Duration)>,
}

impl Timeline {
    /// When the process was killed.
    pub fn killed(&self) -> Duration {
        self.killed
    }

    pub fn add(&mut self, stage: Stage, at: Duration) {
        self.stages.push((stage, at));
    }

    /// From the kill to a stage.
    pub fn to(&self, stage: Stage) -> Option<Duration> {
        let (_, at) = self.stages.iter().find(|(reached, _)| *reached == stage)?;
        Some(at.saturating_sub(self.killed))
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in Stage::ALL {
            if let Some(taken) = self.to(stage) {
                write!(f, "  {} {}", stage.words(), taken.as_millis())?;
            }
        }
        Ok(())
    }
}

fn now() -> Outcome<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// A container that was killed, and the engine's word of what follows.
pub struct Killed {
    pub timeline: Timeline,
    container: String,
    events: mpsc::Receiver<EventMessage>,
    reading: JoinHandle<()>,
}

impl Killed {
    /// Kills process 1 of a container. Events of containers with `label` are heard.
    pub async fn kill(client: &Docker, container: &str, label: &str) -> Outcome<Self> {
        let found = client.inspect_container(container, None::<InspectContainerOptions>).await?;
        let pid = found.state.and_then(|state| state.pid).ok_or("it does not run")?;
        let pid = Pid::from_raw(i32::try_from(pid)?).ok_or("it has no process")?;
        let filter = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![label.to_owned()]),
        ]);
        let since = now()?;
        let options = EventsOptionsBuilder::default()
            .since(&format!("{}.{:09}", since.as_secs(), since.subsec_nanos()))
            .filters(&filter)
            .build();
        let mut stream = client.events(Some(options)).boxed();
        let (put, events) = mpsc::channel(256);
        let reading = tokio::spawn(async move {
            while let Some(Ok(event)) = stream.next().await {
                if put.send(event).await.is_err() {
                    return;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        let killed = now()?;
        kill_process(pid, Signal::KILL)?;
        let timeline = Timeline { killed, stages: Vec::new() };
        Ok(Self { timeline, container: container.to_owned(), events, reading })
    }

    /// Waits for the death itself.
    pub async fn died(&mut self) -> Outcome<()> {
        let container = self.container.clone();
        self.hear(Stage::Died, |action, id| action == "die" && id == container).await.map(drop)
    }

    /// Waits until another container was made and started.
    pub async fn replaced(&mut self) -> Outcome<()> {
        let container = self.container.clone();
        let made =
            self.hear(Stage::Created, |action, id| action == "create" && id != container).await?;
        self.hear(Stage::Started, |action, id| action == "start" && id == made).await.map(drop)
    }

    /// What was heard.
    pub fn finish(self) -> Timeline {
        self.timeline.clone()
    }

    async fn hear(&mut self, stage: Stage, is: impl Fn(&str, &str) -> bool) -> Outcome<String> {
        let find = async {
            while let Some(event) = self.events.recv().await {
                let action = event.action.unwrap_or_default();
                let id = event.actor.and_then(|actor| actor.id).unwrap_or_default();
                if is(&action, &id) {
                    let at = u64::try_from(event.time_nano.unwrap_or_default())?;
                    return Ok((Duration::from_nanos(at), id));
                }
            }
            Err("the engine's events ended".into())
        };
        let heard: Outcome<(Duration, String)> = timeout(BOUND, find)
            .await
            .map_err(|_| format!("not within {BOUND:?}: {}", stage.words()))?;
        let (at, id) = heard?;
        self.timeline.add(stage, at);
        Ok(id)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
