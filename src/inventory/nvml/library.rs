//! Finds and loads NVIDIA's management library.

use std::fs;
use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// The name that the driver's packages install.
const NAME: &str = "libnvidia-ml.so.1";
/// Where it is on machines whose loader does not look there: other architectures' folders, WSL,
/// NixOS.
const FOLDERS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/wsl/lib",
    "/run/opengl-driver/lib",
];

/// The library, initialised.
#[derive(Debug)]
pub struct Loaded {
    /// Its calls.
    pub nvml: Nvml,
    /// The file that answered.
    pub path: String,
}

/// Why there is no library to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLoaded {
    /// None is installed, or it cannot be loaded: looked for again now and then.
    NoLibrary(String),
    /// It is there, and its driver does not answer: tried again soon.
    NoDriver(String),
}

impl NotLoaded {
    /// What to tell and what to do about it.
    #[must_use]
    pub fn note(&self) -> &str {
        match self {
            Self::NoLibrary(note) | Self::NoDriver(note) => note,
        }
    }
}

/// Loads the named library, or the first that is found where it usually is.
///
/// # Errors
/// Why not, with what to do.
pub fn load(wanted: Option<&Path>) -> Result<Loaded, NotLoaded> {
    match wanted {
        Some(path) => open(path).map_err(|error| refused(&path.display().to_string(), &error)),
        None => {
            let names = FOLDERS.iter().map(|folder| Path::new(folder).join(NAME));
            let there = names.filter(|path| path.exists());
            for path in [PathBuf::from(NAME)].into_iter().chain(there) {
                match open(&path) {
                    Ok(loaded) => return Ok(loaded),
                    Err(NvmlError::LibloadingError(error)) if is_static(&error.to_string()) => {
                        return Err(NotLoaded::NoLibrary(STATIC.to_owned()));
                    }
                    Err(NvmlError::LibloadingError(_)) => {}
                    Err(error) => return Err(refused(&path.display().to_string(), &error)),
                }
            }
            Err(NotLoaded::NoLibrary(format!(
                "no NVIDIA card: {NAME} is not on this machine; it comes with NVIDIA's driver, and \
                 --nvml-lib PATH names it where it lies elsewhere"
            )))
        }
    }
}

const STATIC: &str = "NVIDIA cards cannot be seen: this is a static build, which cannot load \
                      libraries; use a build for glibc, or --inventory FILE where a verb takes it";

fn open(path: &Path) -> Result<Loaded, NvmlError> {
    let nvml = Nvml::builder().lib_path(path.as_os_str()).init()?;
    let path = mapped(path).unwrap_or_else(|| path.display().to_string());
    Ok(Loaded { nvml, path })
}

/// What the loader made of a bare name.
fn mapped(path: &Path) -> Option<String> {
    if path.is_absolute() {
        return None;
    }
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let is_it =
        |file: &&str| file.rsplit('/').next().is_some_and(|it| it.starts_with("libnvidia-ml"));
    files.filter(is_it).map(str::to_owned).next()
}

fn is_static(words: &str) -> bool {
    words.contains("Dynamic loading not supported")
}

fn refused(path: &str, error: &NvmlError) -> NotLoaded {
    let remedy = match error {
        NvmlError::LibloadingError(words) if is_static(&words.to_string()) => {
            return NotLoaded::NoLibrary(STATIC.to_owned());
        }
        NvmlError::LibloadingError(_) | NvmlError::FailedToLoadSymbol(_) => {
            let what = "it must be a libnvidia-ml.so.1 of this machine's architecture";
            return NotLoaded::NoLibrary(format!("cannot load {path}: {error}; {what}"));
        }
        NvmlError::DriverNotLoaded => "load it: modprobe nvidia",
        NvmlError::LibRmVersionMismatch => {
            "the driver was upgraded: restart the machine or reload its modules, and restart a \
             supervisor that runs in a container"
        }
        NvmlError::NoPermission => "let this user open /dev/nvidiactl and /dev/nvidia*",
        _ => "see what nvidia-smi and the kernel's log say",
    };
    NotLoaded::NoDriver(format!("NVIDIA's driver does not answer {path}: {error}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_library_says_what_to_do() {
        let missing = load(Some(Path::new("/nowhere/libnvidia-ml.so.1"))).expect_err("none");
        assert!(missing.note().contains("cannot load /nowhere/libnvidia-ml.so.1"), "{missing:?}");
        let gone = refused("x", &NvmlError::LibRmVersionMismatch);
        assert!(matches!(&gone, NotLoaded::NoDriver(note) if note.contains("restart")), "{gone:?}");
    }
}
