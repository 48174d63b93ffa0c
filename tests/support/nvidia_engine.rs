//! An engine that can be asked for NVIDIA's cards on a machine that has none.
//!
//! A second daemon with a program named `nvidia-container-runtime-hook` in its `PATH`: the engine
//! then has the `nvidia` driver, takes real device requests, and has the runtime call the hook
//! before each container starts. This hook writes down what it was called with. Whatever it does,
//! no device appears in a container.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses another part of it")]

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::wait_until;
use crate::second_daemon::SecondDaemon;

/// The image on it: a shell, `cat`, `env`, `sleep`, `touch` and what they need, so small that it is
/// made anew each time. As CUDA's images do, it asks for all cards by its environment.
pub const IMAGE: &str = "asks-for-all:latest";

/// What [`IMAGE`] has.
const PROGRAMS: [&str; 6] =
    ["/bin/sh", "/bin/cat", "/usr/bin/env", "/bin/sleep", "/bin/touch", "/bin/stat"];

/// The node that a card of [`NvidiaEngine::with_cdi`] brings: it has the UUID in its name.
pub fn cdi_node(card: &str) -> String {
    format!("/dev/nvidia-{card}")
}

/// The name by which the engine looks for the vendor's hook.
const HOOK: &str = "nvidia-container-runtime-hook";

/// Keeps state and bundle under the container's id, then does what the files beside it say.
///
/// A device is given as NVIDIA's tools do it: behind the engine's back, by a node in the
/// container's `/dev` and a rule in its control group.
const SCRIPT: &str = r#"#!/bin/sh
state=$(cat)
word() { printf '%s' "$state" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
id=$(word id)
printf '%s' "$state" >"FOLDER/$id.state"
cp "$(word bundle)/config.json" "FOLDER/$id.part" && mv "FOLDER/$id.part" "FOLDER/$id.json"
if [ -e FOLDER/device ]; then
  read -r major minor <FOLDER/device
  pid=$(printf '%s' "$state" | sed -n 's/.*"pid":\([0-9]*\).*/\1/p')
  root=$(sed -n 's/.*"root":{"path":"\([^"]*\)".*/\1/p' "$(word bundle)/config.json")
  group=/sys/fs/cgroup/devices$(sed -n 's/^[0-9]*:devices://p' "/proc/$pid/cgroup")
  echo "c $major:$minor rwm" >"$group/devices.allow"
  nsenter -t "$pid" -m mknod -m 666 "$root/dev/nvidia0" c "$major" "$minor"
fi
[ ! -e FOLDER/delay ] || sleep "$(cat FOLDER/delay)"
[ ! -e FOLDER/words ] || { cat FOLDER/words >&2; exit 1; }
"#;

/// The engine; it and its containers go when it is dropped.
pub struct NvidiaEngine {
    daemon: SecondDaemon,
}

/// One call of the hook.
#[derive(Debug, Clone)]
pub struct HookCall {
    /// The container's full id.
    pub container: String,
    /// Its environment in the runtime's configuration, in order.
    pub env: Vec<String>,
    /// The whole configuration.
    pub config: Value,
}

impl HookCall {
    /// The last value of a variable: the one that counts.
    pub fn last(&self, name: &str) -> Option<&str> {
        let value = |entry: &str| entry.split_once('=').is_some_and(|(key, _)| key == name);
        let entry = self.env.iter().rev().find(|entry| value(entry))?;
        entry.split_once('=').map(|(_, value)| value)
    }
}

impl NvidiaEngine {
    /// An engine that has the hook, and [`IMAGE`].
    pub fn start() -> Self {
        Self::start_with(install_hook)
    }

    /// The same without the hook: an engine on a host without NVIDIA's toolkit.
    pub fn without_hook() -> Self {
        Self::start_with(|_| Ok(()))
    }

    /// A newer engine that knows these cards by their CDI names, and has no hook; what it gives for
    /// one is the host's `/dev/fuse`, under [`cdi_node`]. None, with the reason on standard error,
    /// where no newer engine is to be had.
    pub fn with_cdi(cards: &[String]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/newer-engine");
        let newer = newer_engine();
        let got = Command::new(script).env("CARGO_TARGET_DIR", newer.parent()?).output();
        if !newer.join("usr/sbin/dockerd").exists() {
            eprintln!("SKIPPED: no newer engine for CDI: {got:?}");
            return None;
        }
        Some(Self::start_with(|folder| prepare_cdi(folder, &newer, cards)))
    }

    /// An engine in a folder that was prepared first.
    pub fn start_with(prepare: impl FnOnce(&Path) -> io::Result<()>) -> Self {
        let daemon = SecondDaemon::start_with(prepare).expect("dockerd on this machine");
        let engine = Self { daemon };
        wait_until("the second engine answers", || engine.docker(&["version"]).status.success());
        engine.import_image();
        engine
    }

    /// Its address.
    pub fn host(&self) -> String {
        self.daemon.host()
    }

    /// A file of its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.daemon.path(name)
    }

    /// Runs `docker` on it.
    pub fn docker(&self, args: &[&str]) -> Output {
        let mut docker = Command::new("docker");
        docker.arg(format!("--host={}", self.host())).args(args);
        docker.stdin(Stdio::null()).output().expect("docker on this machine")
    }

    /// This machine's number of the process in a container whose command line has these words.
    pub fn process_in(&self, container: &str, words: &str) -> u32 {
        let mut number = None;
        wait_until("the process is there", || {
            let listed = self.docker(&["top", container, "-eo", "pid,args"]);
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            let line = listed.lines().find(|line| line.contains(words));
            number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.is_some()
        });
        number.expect("a number")
    }

    /// The hook's calls so far, by container.
    pub fn calls(&self) -> Vec<HookCall> {
        let entries = fs::read_dir(self.path("hook")).expect("the hook's folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|it| it == "json")).map(call).collect()
    }

    /// From now on the hook fails with these words, as NVIDIA's does.
    pub fn fail(&self, words: &str) {
        fs::write(self.path("hook/words"), words).expect("written");
    }

    /// From now on the hook takes this long.
    pub fn delay(&self, time: Duration) {
        fs::write(self.path("hook/delay"), time.as_secs_f64().to_string()).expect("written");
    }

    /// From now on the hook gives each container this device of the host under a card's name.
    pub fn give_device(&self, major: u32, minor: u32) {
        fs::write(self.path("hook/device"), format!("{major} {minor}\n")).expect("written");
    }

    /// From now on the hook does well, and at once.
    pub fn heal(&self) {
        for file in ["hook/words", "hook/delay"] {
            match fs::remove_file(self.path(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{file}: {error}"),
                _ => {}
            }
        }
    }

    /// The toolkit is removed while the engine runs.
    pub fn remove_hook(&self) {
        fs::remove_file(self.path("bin").join(HOOK)).expect("removed");
    }

    fn import_image(&self) {
        let archive = self.path("image.tar");
        write_image(&archive).expect("an archive of the machine's programs");
        let archive = archive.display().to_string();
        let done =
            self.docker(&["import", "-c", "ENV NVIDIA_VISIBLE_DEVICES=all", &archive, IMAGE]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::remove_file(archive).expect("removed");
    }
}

/// Where `scripts/newer-engine` unpacks it: beside what Cargo builds.
fn newer_engine() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    test.ancestors().nth(3).expect("Cargo's target folder").join("newer-engine")
}

fn prepare_cdi(folder: &Path, newer: &Path, cards: &[String]) -> io::Result<()> {
    for program in ["sbin/dockerd", "bin/containerd", "bin/containerd-shim-runc-v2"] {
        let program = newer.join("usr").join(program);
        let name = program.file_name().expect("a name");
        std::os::unix::fs::symlink(&program, folder.join("bin").join(name))?;
    }
    let device = |card: &String| {
        json!({"name": card, "containerEdits": {
            "deviceNodes": [{"path": cdi_node(card), "hostPath": "/dev/fuse"}],
        }})
    };
    let devices: Vec<Value> = cards.iter().map(device).collect();
    let spec = json!({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices});
    let specs = folder.join("cdi");
    fs::create_dir(&specs)?;
    fs::write(specs.join("nvidia.json"), spec.to_string())?;
    fs::write(folder.join("daemon.json"), json!({"cdi-spec-dirs": [specs]}).to_string())
}

fn install_hook(folder: &Path) -> io::Result<()> {
    let records = folder.join("hook");
    fs::create_dir(&records)?;
    let hook = folder.join("bin").join(HOOK);
    fs::write(&hook, SCRIPT.replace("FOLDER", &records.display().to_string()))?;
    fs::set_permissions(&hook, Permissions::from_mode(0o755))
}

fn call(path: PathBuf) -> HookCall {
    let text = fs::read_to_string(&path).expect("what the hook kept");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    let env = config["process"]["env"].as_array().expect("an environment");
    let env = env.iter().map(|it| it.as_str().expect("text").to_owned()).collect();
    let container = path.file_stem().expect("a name").to_string_lossy().into_owned();
    HookCall { container, env, config }
}

/// The machine's own programs with the libraries that they name, as an archive.
fn write_image(archive: &Path) -> io::Result<()> {
    let root = TempDir::new()?;
    for folder in ["bin", "tmp", "etc"] {
        fs::create_dir(root.path().join(folder))?;
    }
    fs::set_permissions(root.path().join("tmp"), Permissions::from_mode(0o1777))?;
    for program in PROGRAMS {
        let name = Path::new(program).file_name().expect("a name");
        fs::copy(program, root.path().join("bin").join(name))?;
        let listed = Command::new("ldd").arg(program).output()?;
        for library in libraries(&String::from_utf8_lossy(&listed.stdout)) {
            let to = root.path().join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("a folder"))?;
            fs::copy(library, to)?;
        }
    }
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(archive).arg("-C").arg(root.path()).arg(".");
    let ended = tar.status()?;
    assert!(ended.success(), "tar failed");
    Ok(())
}

/// The paths in the lines of `ldd`.
fn libraries(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}
