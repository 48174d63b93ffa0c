//! A `dockerd` beside the machine's own engine, for tests and benches: one that may be killed, hung
//! and restarted, and that leaves nothing behind however its owner ends.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses another part of it")]

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// In a network namespace of its own: a daemon without a bridge deletes `docker0`, which is the
/// machine's own engine's. Swarm talks to itself over the loopback.
const DAEMON: &str = r#"ip link set lo up && exec dockerd "$@""#;

/// Ends the engine and all that is left of it when its standard input closes: when its owner ends,
/// in whatever way. Argument: its folder, which is in the command line of every process of it.
const GUARD: &str = r#"
cat >/dev/null
for turn in 1 2 3; do
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    [ "$pid" = $$ ] && continue
    if tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -qF "$1/"; then
      kill -CONT "$pid"; kill -9 "$pid"
    fi
  done 2>/dev/null
done
awk -v folder="$1/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
rm -rf "$1"
"#;

/// The daemon; it and its containers go when it is dropped.
pub struct SecondDaemon {
    /// What it keeps.
    pub folder: TempDir,
    /// Its process.
    pub child: Child,
    guard: Child,
}

impl SecondDaemon {
    /// A daemon that begins to start.
    pub fn start() -> io::Result<Self> {
        Self::start_with(|_| Ok(()))
    }

    /// A daemon in a folder that was prepared first: programs in its `bin` come before the
    /// machine's, and `daemon.json` is its configuration.
    pub fn start_with(prepare: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<Self> {
        let folder = TempDir::with_prefix("slate-engine-")?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(folder.path()).current_dir("/");
        let guard = guard.process_group(0).stdin(Stdio::piped()).spawn()?;
        fs::write(folder.path().join("daemon.json"), "{}")?;
        fs::create_dir(folder.path().join("bin"))?;
        prepare(folder.path())?;
        let child = spawn(&folder)?;
        Ok(Self { folder, child, guard })
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its address.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// Starts a daemon on a folder, as at first or in the place of one that ended.
pub fn spawn(folder: &TempDir) -> io::Result<Child> {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let log = OpenOptions::new().create(true).append(true).open(path("log"))?;
    let machine = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("unshare");
    command.env("PATH", format!("{}:{machine}", path("bin")));
    command.args(["--net", "--", "sh", "-c", DAEMON, "daemon"]);
    command.args(["-H", &format!("unix://{}", path("docker.sock"))]);
    for (option, name) in [
        ("--data-root", "data"),
        ("--exec-root", "exec"),
        ("--pidfile", "docker.pid"),
        ("--config-file", "daemon.json"),
    ] {
        command.args([option, &path(name)]);
    }
    command.args(["--bridge=none", "--iptables=false", "--shutdown-timeout=3"]);
    command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn()
}

impl Drop for SecondDaemon {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        for child in [&mut self.guard, &mut self.child] {
            if let Err(error) = child.wait() {
                eprintln!("cannot clean up: {error}");
            }
        }
    }
}
