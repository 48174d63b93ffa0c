//! Finds and reads the fleet file and its `.env`, and loads them.
//!
//! The I/O around [`spec::load`]: `-f` files or the default found upwards, `.env` beside the first
//! file. The process environment wins over `.env`, and nothing of `.env` is exported to it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::ids::ProjectName;
use crate::spec::{self, Diagnostics, Env, Loaded, RUNNERS_FILE, RunnersFile, Source};

/// Names of a fleet file that is looked for, the preferred one first.
pub const DEFAULT_NAMES: [&str; 2] = ["slate.yaml", "slate.yml"];

/// The variables' file, beside the first fleet file.
pub const ENV_FILE: &str = ".env";

/// Overrides the project's name.
const PROJECT_VARIABLE: &str = "SLATE_PROJECT";

/// Most bytes read of a file: one more than the largest fleet file, which then says what is wrong.
const READ_MAX: u64 = (1 << 20) + 1;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `-f` files in order; `-` is standard input. Empty: look for the default.
    pub files: Vec<PathBuf>,
    /// `--project`; wins over everything.
    pub project: Option<String>,
    /// The working folder, absolute; relative paths and the search start here.
    pub folder: PathBuf,
    /// The environment of the process.
    pub environment: Env,
}

impl Request {
    /// A request from this process: its working folder and environment.
    ///
    /// # Errors
    ///
    /// If the working folder was removed or may not be read.
    pub fn from_process(
        files: Vec<PathBuf>,
        project: Option<String>,
    ) -> Result<Self, FleetFileError> {
        let folder = std::env::current_dir()
            .map_err(|source| FleetFileError::Read { path: PathBuf::from("."), source })?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self { files, project, folder, environment })
    }
}

/// A fleet file that may be used, and where it came from.
#[derive(Debug, Clone)]
pub struct FleetFile {
    /// What it says.
    pub loaded: Loaded,
    /// The files, absolute; `-` for standard input.
    pub paths: Vec<PathBuf>,
    /// The folder of the first file, absolute: the state folder is made here.
    pub folder: PathBuf,
    /// All variables, for tokens that the file refers to by name. Never to be shown.
    pub variables: Env,
}

/// Why no fleet file could be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetFileError {
    /// None of the default names exists here or above.
    #[error(
        "no fleet file: neither `slate.yaml` nor `slate.yml` is in {} or a folder above it; \
         `slate-fleet init` writes one, `-f FILE` names one", folder.display()
    )]
    NotFound {
        /// Where the search began.
        folder: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no UTF-8 text.
    #[error("{} is not a UTF-8 text file", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Others could put variables into `.env`.
    #[error(
        "{} may be written by others (mode {mode:03o}), who could then change what runs here; \
         `chmod go-w {}` repairs it", path.display(), path.display()
    )]
    EnvWritable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line of `.env` is no assignment. The line is not shown, because it may hold a secret.
    #[error("{}:{line}: not of the form `NAME=value`; quote a value with spaces", path.display())]
    EnvLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The fleet file is refused.
    #[error("{0}")]
    Invalid(Diagnostics),
}

/// What a request asks for, read.
struct Texts {
    paths: Vec<PathBuf>,
    sources: Vec<Source>,
    folder: PathBuf,
    /// Without the project that the request names.
    variables: Env,
}

fn read(request: &Request) -> Result<Texts, FleetFileError> {
    let paths = match request.files.as_slice() {
        [] => vec![find(&request.folder)?],
        files => files.to_vec(),
    };
    let sources = paths
        .iter()
        .map(|path| read_source(path, &request.folder))
        .collect::<Result<Vec<Source>, FleetFileError>>()?;
    let folder = sources.first().map_or_else(|| request.folder.clone(), |first| first.base.clone());
    let mut variables = read_env(&folder.join(ENV_FILE))?;
    variables.extend(request.environment.clone());
    Ok(Texts { paths, sources, folder, variables })
}

/// The project that the files name by themselves; none if they cannot be used.
#[must_use]
pub fn own_project(request: &Request) -> Option<ProjectName> {
    let Texts { sources, variables, .. } = read(request).ok()?;
    Some(spec::load(&sources, &variables).ok()?.spec.project)
}

/// Reads and loads what a request asks for, with specification 1's file beside it.
///
/// # Errors
///
/// What could not be found or read, or everything that is wrong with the fleet file.
pub fn load(request: &Request) -> Result<FleetFile, FleetFileError> {
    let Texts { paths, sources, folder, mut variables } = read(request)?;
    let beside = folder.join(runners_file(request, &sources, &variables));
    if let Some(project) = &request.project {
        variables.insert(PROJECT_VARIABLE.to_owned(), project.clone());
    }
    let runners = read_runners(&beside, &folder)?;
    let mut loaded = spec::load_beside(&sources, runners.as_ref(), &variables)
        .map_err(FleetFileError::Invalid)?;
    let options = runners.and_then(|it| spec::read_runners_file(&it.path, &it.text).ok());
    let options = options.unwrap_or_default();
    loaded.spec.runners_file = Some(RunnersFile { path: beside, options });
    loaded.spec.env_file = Some(folder.join(ENV_FILE));
    let paths = paths.iter().map(|path| absolute(path, &request.folder)).collect();
    Ok(FleetFile { loaded, paths, folder, variables })
}

/// The name of specification 1's file: that of the fleet's own project is the specification's, and
/// that of another one (`-p NAME`) has its name in it, as the state folder has.
fn runners_file(request: &Request, sources: &[Source], variables: &Env) -> String {
    let own = || Some(spec::load(sources, variables).ok()?.spec.project);
    match &request.project {
        Some(name) if own().is_none_or(|own| own.as_str() != name) => {
            RUNNERS_FILE.replace(".json", &format!(".{name}.json"))
        }
        Some(_) | None => RUNNERS_FILE.to_owned(),
    }
}

fn read_runners(path: &Path, folder: &Path) -> Result<Option<Source>, FleetFileError> {
    let failed = |source| FleetFileError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let text = read_text(file, path)?;
    let shown = path.strip_prefix(folder).unwrap_or(path);
    Ok(Some(Source { path: shown.display().to_string(), text, base: folder.to_owned() }))
}

/// The default fleet file in a folder or the nearest one above it.
///
/// # Errors
///
/// If there is none up to the root folder.
pub fn find(folder: &Path) -> Result<PathBuf, FleetFileError> {
    let candidates = folder
        .ancestors()
        .flat_map(|folder| DEFAULT_NAMES.iter().map(move |name| folder.join(name)));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| FleetFileError::NotFound { folder: folder.to_owned() })
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn absolute(path: &Path, folder: &Path) -> PathBuf {
    if is_stdin(path) { path.to_owned() } else { folder.join(path) }
}

fn read_source(path: &Path, folder: &Path) -> Result<Source, FleetFileError> {
    let failed = |source| FleetFileError::Read { path: path.to_owned(), source };
    if is_stdin(path) {
        let text = read_text(io::stdin().lock(), path)?;
        return Ok(Source { path: "<stdin>".to_owned(), text, base: folder.to_owned() });
    }
    let full = folder.join(path);
    let text = read_text(File::open(&full).map_err(failed)?, path)?;
    // Resolved, so that `-f ../slate.yaml` names the folder and not `..`.
    let parent = full.parent().unwrap_or(folder);
    let base = parent.canonicalize().map_err(failed)?;
    let shown = full.strip_prefix(folder).unwrap_or(&full);
    Ok(Source { path: shown.display().to_string(), text, base })
}

fn read_text(from: impl Read, path: &Path) -> Result<String, FleetFileError> {
    let mut bytes = Vec::new();
    from.take(READ_MAX)
        .read_to_end(&mut bytes)
        .map_err(|source| FleetFileError::Read { path: path.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|_| FleetFileError::NotText { path: path.to_owned() })
}

/// The variables of a `.env` file; none if it does not exist.
///
/// # Errors
///
/// If it cannot be read, is not of its form, or may be written by others.
pub fn read_env(path: &Path) -> Result<Env, FleetFileError> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let failed = |source| FleetFileError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Env::new()),
        Err(error) => return Err(failed(error)),
    };
    // Asked of the open file, so that it is the one that is read.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(FleetFileError::EnvWritable { path: path.to_owned(), mode });
    }
    let text = read_text(file, path)?;
    dotenvy::from_read_iter(text.as_bytes())
        .collect::<Result<Env, dotenvy::Error>>()
        .map_err(|error| env_line(&error, &text, path))
}

fn env_line(error: &dotenvy::Error, text: &str, path: &Path) -> FleetFileError {
    let mut bad = "";
    if let dotenvy::Error::LineParse(line, _) = error {
        bad = line.lines().next().unwrap_or_default();
    }
    let found = text.lines().position(|line| !bad.is_empty() && line.contains(bad));
    FleetFileError::EnvLine { path: path.to_owned(), line: found.map_or(1, |index| index + 1) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const MINIMAL: &str = "version: 1\npools: [{name: a, profile: light}]\n";

    fn request(folder: &Path) -> Request {
        let (files, project, environment) = (Vec::new(), None, Env::new());
        Request { files, project, folder: folder.to_owned(), environment }
    }

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("it has a parent")).expect("writable");
            fs::write(&path, text).expect("writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("owned");
        }
        folder
    }

    #[test]
    fn the_file_is_found_upwards_and_its_folder_names_the_project() {
        let top = folder(&[("My Fleet/slate.yml", MINIMAL), ("My Fleet/a/b/x", "")]);
        let found = load(&request(&top.path().join("My Fleet/a/b"))).expect("it loads");
        assert_eq!(found.loaded.spec.project.as_str(), "myfleet");
        assert!(found.folder.ends_with("My Fleet"));
        assert!(found.paths.iter().all(|path| path.ends_with("slate.yml")));
    }

    #[test]
    fn the_environment_wins_over_env_file_and_project_option_over_both() {
        let text = "version: 1\nimage: ${A}-${B}\npools: [{name: a, profile: light}]\n";
        let top = folder(&[("slate.yaml", text), (".env", "A=env\nB=\"file\"\nSLATE_PROJECT=e\n")]);
        let mut request = request(top.path());
        request.environment.insert("A".to_owned(), "process".to_owned());
        let found = load(&request).expect("it loads");
        let images: Vec<_> =
            found.loaded.spec.profiles.values().map(|p| p.image.as_str()).collect();
        assert!(images.iter().all(|image| *image == "process-file"), "{images:?}");
        assert_eq!(found.loaded.spec.project.as_str(), "e");
        request.project = Some("opt".to_owned());
        assert_eq!(load(&request).expect("it loads").loaded.spec.project.as_str(), "opt");
        assert!(std::env::var_os("B").is_none_or(|value| value != "file"), "nothing is exported");
    }

    #[test]
    fn an_env_file_that_others_may_write_is_refused() {
        let top = folder(&[("slate.yaml", MINIMAL), (".env", "A=1\n")]);
        for mode in [0o620, 0o602, 0o666] {
            let env = top.path().join(".env");
            fs::set_permissions(env, fs::Permissions::from_mode(mode)).expect("owned");
            let error = load(&request(top.path())).expect_err("it is refused").to_string();
            assert!(error.contains("may be written by others"), "{error}");
        }
    }

    #[test]
    fn a_bad_env_line_is_named_and_never_shown() {
        let top = folder(&[("slate.yaml", MINIMAL), (".env", "A=1\nTOKEN hunter2 x\n")]);
        let error = load(&request(top.path())).expect_err("it is refused").to_string();
        assert!(error.ends_with(".env:2: not of the form `NAME=value`; quote a value with spaces"));
        assert!(!error.contains("hunter2"));
    }

    #[test]
    fn no_file_says_what_to_do() {
        let top = folder(&[]);
        let error = load(&request(top.path())).expect_err("there is none").to_string();
        assert!(error.contains("slate-fleet init") && error.contains("-f FILE"), "{error}");
    }

    // Specification 1, "Configuration Options"; the fleet file wins where it says something.
    #[test]
    fn the_runners_file_fills_in_what_the_fleet_file_leaves_open() {
        let options =
            r#"{"max_parallel_workflows": 3, "task_timeout_minutes": 45, "scale_max": 7}"#;
        let text = format!("{MINIMAL}limits: {{scale_max: 9}}\n");
        let top = folder(&[("slate.yaml", &text), (RUNNERS_FILE, options)]);
        let spec = load(&request(top.path())).expect("it loads").loaded.spec;
        let limits = spec.limits;
        let minutes = limits.task_timeout.as_secs() / 60;
        assert_eq!((limits.max_parallel_workflows, minutes, limits.scale_max), (3, 45, 9));
        let file = spec.runners_file.expect("there is one");
        assert!(file.path.ends_with(RUNNERS_FILE));
        assert_eq!(file.options.scale_max, Some(7), "what it asks for is kept");
        let mut other = request(top.path());
        other.project = Some("other".to_owned());
        let file = load(&other).expect("it loads").loaded.spec.runners_file.expect("another");
        assert!(file.path.ends_with(".slate_runners.other.json"));
    }

    #[test]
    fn a_damaged_runners_file_is_refused_with_line_and_column() {
        let top = folder(&[("slate.yaml", MINIMAL), (RUNNERS_FILE, "{\n  \"scale_max\": 7,\n")]);
        let error = load(&request(top.path())).expect_err("it is refused").to_string();
        assert!(error.contains("--> .slate_runners.json:"), "{error}");
        assert!(error.contains("remove it: the fleet writes it anew"), "{error}");
    }

    #[test]
    fn errors_name_the_file_as_the_operator_did() {
        let top = folder(&[("conf/a.yaml", "version: 1\n"), ("b.yaml", "pools: []\n")]);
        let mut request = request(top.path());
        request.files = vec!["conf/a.yaml".into(), "b.yaml".into()];
        let error = load(&request).expect_err("it is refused").to_string();
        assert!(error.contains("--> b.yaml:1:8"), "{error}");
        request.files = vec!["none.yaml".into()];
        let error = load(&request).expect_err("it is missing").to_string();
        assert_eq!(error, "cannot read none.yaml");
    }
}
