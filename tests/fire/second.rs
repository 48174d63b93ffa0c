//! A second engine beside the machine's own: one that may be killed, hung and restarted.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::docker::{docker, docker_at};
use crate::fleet::Hosts;
use crate::process::{Output, wait_for, wait_until};
use crate::second_daemon::{SecondDaemon, spawn};

/// An engine that ends has to stop its containers first.
const END: Duration = Duration::from_secs(60);

/// The image that its fleets use: small, and there wherever the runner image was built.
pub const IMAGE: &str = "slate-base:bookworm";

/// The engine.
pub struct SecondEngine(SecondDaemon);

impl SecondEngine {
    /// An engine that answers and has [`IMAGE`].
    pub fn start() -> Self {
        let engine = Self(SecondDaemon::start().expect("dockerd on this machine"));
        engine.wait();
        let archive = engine.path("image.tar").display().to_string();
        docker(&["save", "-o", &archive, IMAGE]).ok();
        engine.docker(&["load", "-i", &archive]).ok();
        fs::remove_file(&archive).expect("removed");
        engine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Its address.
    pub fn host(&self) -> String {
        self.0.host()
    }

    /// For a fleet on it.
    pub fn hosts(&self) -> Hosts {
        Hosts { fleet: Some(self.host()), test: Some(self.host()) }
    }

    /// Runs `docker` on it.
    pub fn docker(&self, args: &[&str]) -> Output {
        docker_at(Some(&self.host()), args)
    }

    fn wait(&self) {
        wait_until("the second engine answers", || {
            self.path("docker.sock").exists() && self.docker(&["version"]).code == 0
        });
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0.child), signal).expect("a daemon to signal");
    }

    /// What the daemon had started for itself goes with it; the containers' own keepers stay.
    fn kill_containerd(&self) {
        let pid = fs::read_to_string(self.path("exec/containerd/containerd.pid"));
        let pid = pid.ok().and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        // It may have gone with the daemon.
        let _gone = pid.map(|pid| kill_process(pid, Signal::KILL));
    }

    /// The daemon ends, and a new one takes over.
    pub fn end_and_start(&mut self, signal: Signal) {
        self.signal(signal);
        let ended = wait_for(END, || self.0.child.try_wait().expect("a child").is_some());
        assert!(ended, "the engine did not end within {END:?} of {signal:?}");
        if signal == Signal::KILL {
            self.kill_containerd();
        }
        // A daemon that was killed leaves these behind, and believes them where nobody buries
        // the dead.
        for pid in ["docker.pid", "exec/containerd/containerd.pid"] {
            let _gone = fs::remove_file(self.path(pid));
        }
        self.0.child = spawn(&self.0.folder).expect("dockerd on this machine");
        self.wait();
    }
}

impl Drop for SecondEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.0.log();
            let from = log.len().saturating_sub(6000);
            eprintln!("--- the second engine\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}
