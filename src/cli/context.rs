//! What every verb needs: where the fleet is, what the terminals are, and a connection.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;

use super::border;
use super::failure::Failure;
use super::progress::ProgressMode;
use super::render::Paint;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::fleet_file;
use crate::ids::ProjectName;
use crate::inventory::GpuSources;
use crate::spec::Spec;
use crate::state_dir::StateDir;

/// Options before the verb, and some that may also stand behind it.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// Fleet file; several are merged, later ones win
    ///
    /// Without it: slate.yaml or slate.yml in this folder or the nearest parent that has one.
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Project name instead of the file's
    #[arg(short, long, value_name = "NAME")]
    pub project: Option<String>,
    /// State folder [default: .slate beside the fleet file]
    #[arg(long, global = true, value_name = "DIR", env = "SLATE_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// NVIDIA's management library, where it is not found by itself
    ///
    /// Without it: libnvidia-ml.so.1 as the loader finds it, or where distributions keep it.
    #[arg(long, global = true, value_name = "FILE", env = "SLATE_NVML_LIB")]
    pub nvml_lib: Option<PathBuf>,
    /// How progress is shown on stderr
    #[arg(long, global = true, value_name = "MODE", default_value = "auto")]
    pub progress: ProgressMode,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns
    Table,
    /// More columns
    Wide,
    /// One JSON document
    Json,
    /// One JSON document per line
    Jsonl,
    /// YAML
    Yaml,
}

/// The surroundings of a verb.
#[derive(Debug)]
pub struct Context {
    globals: Globals,
    stdout_paint: Paint,
}

impl Context {
    /// The context of this process.
    #[must_use]
    pub fn new(globals: Globals) -> Self {
        Self { globals, stdout_paint: Paint::for_terminal(io::stdout().is_terminal()) }
    }

    /// How progress is shown.
    #[must_use]
    pub fn progress(&self) -> ProgressMode {
        self.globals.progress
    }

    /// Whether stdout takes colours.
    #[must_use]
    pub fn paint(&self) -> Paint {
        self.stdout_paint
    }

    /// Where cards are looked for.
    ///
    /// # Errors
    /// The working folder is gone.
    pub fn gpu_sources(&self) -> Result<GpuSources, Failure> {
        let nvml_lib = self.globals.nvml_lib.as_deref().map(absolute).transpose()?;
        Ok(GpuSources { nvml_lib, ..GpuSources::default() })
    }

    /// Where the fleet keeps its state.
    ///
    /// # Errors
    /// The working folder is gone, or the fleet file is needed for this and is wrong.
    pub fn state_dir(&self) -> Result<StateDir, Failure> {
        if let Some(folder) = &self.globals.state_dir {
            return Ok(StateDir::new(absolute(folder)?));
        }
        let base = self.base()?;
        let Some(wanted) = &self.globals.project else {
            return Ok(StateDir::new(base.join(".slate")));
        };
        // `-p` with the file's own name means the same fleet as no `-p` at all.
        let own = border::project_of(&self.fleet_files()?);
        let folder = match own.as_ref().map(ProjectName::as_str) == Some(wanted.as_str()) {
            true => ".slate".to_owned(),
            false => format!(".slate-{wanted}"),
        };
        Ok(StateDir::new(base.join(folder)))
    }

    /// The folder that relative things of the fleet are relative to.
    ///
    /// # Errors
    /// The working folder is gone.
    pub fn base(&self) -> Result<PathBuf, Failure> {
        match self.fleet_files()?.first().and_then(|file| file.parent()) {
            Some(folder) if folder.is_absolute() => Ok(folder.to_owned()),
            Some(_) | None => working_folder(),
        }
    }

    /// The fleet files, absolute; empty if none is named and none is found.
    ///
    /// # Errors
    /// The working folder is gone.
    pub fn fleet_files(&self) -> Result<Vec<PathBuf>, Failure> {
        if !self.globals.files.is_empty() {
            // `-` is standard input, not a name.
            let is_input = |file: &PathBuf| file.as_os_str() == "-";
            let named = self.globals.files.iter();
            return named
                .map(|file| if is_input(file) { Ok(file.clone()) } else { absolute(file) })
                .collect();
        }
        Ok(fleet_file::find(&working_folder()?).into_iter().collect())
    }

    /// The fleet file, resolved and valid.
    ///
    /// # Errors
    /// There is none, or it is wrong; the message has every finding.
    pub fn spec(&self) -> Result<Spec, Failure> {
        border::load_spec(&self.fleet_files()?, self.globals.project.as_deref())
    }

    /// The fleet file, resolved, as YAML with secrets masked.
    ///
    /// # Errors
    /// As [`Self::spec`].
    pub fn rendered_spec(&self) -> Result<String, Failure> {
        border::render_spec(&self.fleet_files()?, self.globals.project.as_deref())
    }

    /// Where `init` writes: the one named file, or `slate.yaml` in this folder.
    ///
    /// # Errors
    /// Several files are named, or the working folder is gone.
    pub fn new_fleet_file(&self) -> Result<PathBuf, Failure> {
        match self.globals.files.as_slice() {
            [] => absolute(Path::new("slate.yaml")),
            [file] => absolute(file),
            _ => Err(Failure::new(Exit::Usage, "`init` writes one file; name one `-f FILE`")),
        }
    }

    /// A connection to this fleet's supervisor.
    ///
    /// # Errors
    /// No fleet is up, or its supervisor does not answer.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let state = self.state_dir()?;
        match Client::connect(&state).await {
            Ok(client) => Ok(client),
            Err(ClientError::NotUp { .. }) => Err(self.no_fleet(&state)),
            Err(
                error @ (ClientError::NotAllowed { .. }
                | ClientError::Connect { .. }
                | ClientError::Broken(_)
                | ClientError::Timeout { .. }
                | ClientError::Refused(_)
                | ClientError::Answer(_)),
            ) => Err(error.into()),
        }
    }

    /// Connects and reads one document.
    ///
    /// # Errors
    /// As [`Self::connect`], or the supervisor refuses.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        Ok(self.connect().await?.get(path).await?)
    }

    fn no_fleet(&self, state: &StateDir) -> Failure {
        let project = self.project_name();
        let base = self.base().ok();
        let folder = base.as_deref().or_else(|| state.root().parent()).unwrap_or(state.root());
        Failure::new(
            Exit::Unreachable,
            format!("no fleet is up for project `{project}` in {}", folder.display()),
        )
        .help("start it with `slate-fleet up -d`")
    }

    /// The project's name as well as it can be known without a supervisor.
    fn project_name(&self) -> String {
        if let Some(name) = &self.globals.project {
            return name.clone();
        }
        let own = self.fleet_files().ok().and_then(|files| border::project_of(&files));
        match own {
            Some(name) => name.to_string(),
            None => self
                .base()
                .ok()
                .and_then(|base| Some(base.file_name()?.to_string_lossy().into_owned()))
                .unwrap_or_else(|| "slate".to_owned()),
        }
    }
}

/// Prints data to stdout.
///
/// # Errors
/// A quiet one when the reader went away, else the system's.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Prints bytes to stdout as they are.
///
/// # Errors
/// A quiet one when the reader went away, else the system's.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_left(),
        _ => Failure::system("cannot write to standard output", &error),
    })
}

/// Prints bytes to stderr as they are.
///
/// # Errors
/// A quiet one when the reader went away, else the system's.
pub fn print_error_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stderr().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_left(),
        _ => Failure::system("cannot write to standard error", &error),
    })
}

/// Tells the operator something on stderr.
pub fn note(text: &str) {
    // Nobody can be told that stderr is closed.
    let _told = writeln!(io::stderr().lock(), "{text}");
}

fn working_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| Failure::system("cannot find this folder", &error))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::system(format!("cannot resolve {}", path.display()), &error))
}
