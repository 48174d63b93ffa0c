//! Builds the agent that `slate-fleet` carries inside itself.
//!
//! The agent must be static and small while the main program must not be, so it cannot come out of
//! the same build: this script runs cargo once more, for this package without its default features.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Everything that the agent is made of.
const SOURCES: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "src/lib.rs",
    "src/ids.rs",
    "src/units.rs",
    "src/wire.rs",
    "src/wire",
    "src/agent.rs",
    "src/agent",
];

/// What the nested cargo may know of the outer one's surroundings. All else (flags, wrappers,
/// lints, profiles of the outer build) would change the agent or build it anew each time.
const KEPT: [&str; 25] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "LANG",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CARGO_HTTP_CAINFO",
    "CARGO_HTTP_PROXY",
    "CARGO_NET_OFFLINE",
    "CARGO_NET_GIT_FETCH_WITH_CLI",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "ALL_PROXY",
    "CC",
    "AR",
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    // Set by cargo while it builds the agent itself, or whoever wants no supervisor.
    if env::var_os("CARGO_FEATURE_FLEET").is_none() {
        return ExitCode::SUCCESS;
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-changed=src/bin/slate-runner.rs");
    match build() {
        Ok(program) => {
            println!("cargo::rustc-env=SLATE_RUNNER_PROGRAM={}", program.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("cargo::error=the agent (slate-runner) cannot be built: {why}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<PathBuf, String> {
    let target = agent_target()?;
    let folder = agent_folder()?;
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    // `--target` keeps the flag away from build scripts and macros, which must stay dynamic.
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.replace('-', "_").to_uppercase());
    cargo.env(flags, "-C target-feature=+crt-static");
    cargo.current_dir(variable("CARGO_MANIFEST_DIR")?);
    cargo.args(["build", "--quiet", "--locked", "--no-default-features"]);
    cargo.args(["--bin", "slate-runner", "--profile", "agent", "--target", &target]);
    cargo.arg("--target-dir").arg(&folder);
    let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(explain(&String::from_utf8_lossy(&output.stderr)));
    }
    let program = folder.join(&target).join("agent").join("slate-runner");
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!("cargo left no program at {}", program.display()))
    }
}

/// The agent runs on the engine's host, in any image: GNU target, linked statically.
fn agent_target() -> Result<String, String> {
    let os = variable("CARGO_CFG_TARGET_OS")?;
    if os != "linux" {
        return Err(format!(
            "runners are Linux containers; the target system here is {}",
            os.display()
        ));
    }
    Ok(variable("TARGET")?.display().to_string())
}

/// Beside the profiles of the outer build, so that all of them share one agent.
fn agent_folder() -> Result<PathBuf, String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let root = out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let fallback = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("target");
    Ok(root.map_or(fallback, Path::to_path_buf).join("agent-build"))
}

fn explain(messages: &str) -> String {
    let hint = if messages.contains("linker `cc` not found") {
        "a C compiler is missing; on Debian and Ubuntu: apt-get install gcc libc6-dev"
    } else if messages.contains("cannot find -lc") || messages.contains("crt1.o") {
        "the static C library is missing; on Debian and Ubuntu: apt-get install libc6-dev"
    } else if messages.contains("can't find crate for `std`") {
        "the Rust target is missing; run: rustup target add with the target named below"
    } else {
        "cargo's own words follow"
    };
    let indented: Vec<&str> = messages.lines().collect();
    format!("{hint}\ncargo::error={}", indented.join("\ncargo::error="))
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"))
}
