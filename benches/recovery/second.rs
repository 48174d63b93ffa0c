//! A second engine, and Swarm on it.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use bollard::{API_DEFAULT_VERSION, Docker};

use crate::kills::{Killed, Timeline};
use crate::second_daemon::SecondDaemon;
use crate::{BOUND, Outcome, PAUSE, finish};

const SERVICE: &str = "recovery";

/// The client's own limit for one call, in seconds.
const CALL_S: u64 = 60;

/// The engine; it goes when it is dropped.
pub struct SecondEngine(SecondDaemon);

impl SecondEngine {
    /// An engine that answers and has the image.
    pub async fn start(image: &str) -> Outcome<Self> {
        let engine = Self(SecondDaemon::start()?);
        let begun = Instant::now();
        while engine.docker(&["version"]).is_err() {
            if begun.elapsed() > BOUND {
                let log = engine.0.log();
                return Err(format!("the second engine does not answer:\n{log}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let archive = engine.0.path("image.tar").display().to_string();
        finish(Command::new("docker").args(["save", "-o", &archive, image]))?;
        engine.docker(&["load", "-i", &archive])?;
        fs::remove_file(&archive)?;
        Ok(engine)
    }

    fn docker(&self, arguments: &[&str]) -> Outcome<String> {
        finish(Command::new("docker").args(["-H", &self.0.host()]).args(arguments))
    }

    pub fn client(&self) -> Outcome<Docker> {
        Ok(Docker::connect_with_unix(&self.0.host(), CALL_S, API_DEFAULT_VERSION)?)
    }
}

/// A service of one task.
pub struct Swarm {
    engine: SecondEngine,
    client: Docker,
}

impl Swarm {
    pub fn start(engine: SecondEngine, image: &str) -> Outcome<Self> {
        engine.docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"])?;
        let create = ["service", "create", "--detach", "--name", SERVICE, "--replicas", "1"];
        let restart = ["--restart-condition", "any", "--restart-delay", "0s"];
        let limits = ["--limit-cpu", "1", "--limit-memory", "512M", "--no-resolve-image"];
        let what = [image, "sleep", "infinity"];
        engine.docker(&[&create[..], &restart, &limits, &what].concat())?;
        let client = engine.client()?;
        Ok(Self { engine, client })
    }

    /// Waits until one task runs; its container.
    async fn rest(&self) -> Outcome<String> {
        let begun = Instant::now();
        let filter = format!("label={}", label());
        while begun.elapsed() < BOUND {
            let running = self.engine.docker(&["ps", "-q", "--no-trunc", "--filter", &filter])?;
            if let [container] = running.lines().collect::<Vec<_>>().as_slice() {
                return Ok((*container).to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let tasks = self.engine.docker(&["service", "ps", "--no-trunc", SERVICE])?;
        Err(format!("Swarm does not come to rest:\n{tasks}").into())
    }

    pub async fn round(&mut self) -> Outcome<Timeline> {
        self.rest().await?;
        tokio::time::sleep(PAUSE).await;
        let container = self.rest().await?;
        let mut killed = Killed::kill(&self.client, &container, &label()).await?;
        killed.died().await?;
        killed.replaced().await?;
        Ok(killed.finish())
    }
}

fn label() -> String {
    format!("com.docker.swarm.service.name={SERVICE}")
}
