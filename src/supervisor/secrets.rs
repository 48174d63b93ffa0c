//! Reads secrets where they are kept, anew each time that one is needed: what the operator renews
//! counts at once, and nothing of it is kept. No error and no log has a secret in it.

mod command;
mod vault;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::forge_report::{EnvFileReport, SecretReport, SecretUser};
use crate::causes::with_causes;
use crate::fleet_file::{self, FleetFileError};
use crate::forge::{ReadSecret, Secret, Web};
use crate::spec::{Env, ProxyUrl, SecretSource, WholeProxyUrl};

/// Largest secret: a private key of 16,384 bits has 13 KiB.
const SECRET_MAX: u64 = 64 * 1024;
/// How long a secret may take to come from a file, a program or a server.
const PATIENCE: Duration = Duration::from_secs(10);
/// A secret's file is for its owner and the owner's group.
const OTHERS: u32 = 0o007;
/// Where Docker and Kubernetes mount secrets. They are root's, read-only for everybody (mode 0444,
/// 0644) unless the operator asked for less: who may look into the container may read them.
const MOUNTED: &str = "/run/secrets";

/// Why a secret cannot be had: the place, the trouble, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// Neither `.env` nor the environment has the variable.
    #[error("{name} is not set; put it into {}", shown(file.as_deref()))]
    NotSet { name: String, file: Option<PathBuf> },
    /// It is there, and nothing is in it.
    #[error("{0} is empty")]
    Empty(String),
    /// `.env` cannot be used.
    #[error("the variables cannot be read")]
    Env(#[source] FleetFileError),
    /// A proxy's user is not where it is kept.
    #[error("{why}; put it into {}", shown(file.as_deref()))]
    Proxy { why: String, file: Option<PathBuf> },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The file is no secret's.
    #[error(
        "{} may be used by everybody (mode {mode:03o}); `chmod 600 {}` keeps it secret",
        path.display(), path.display()
    )]
    Open { path: PathBuf, mode: u32 },
    /// It is too large to be a secret, or no text.
    #[error("{0} is no text of at most {limit} KiB", limit = SECRET_MAX / 1024)]
    NoText(String),
    /// The program did not give it.
    #[error("`{program}` gave no secret: {why}")]
    Command { program: String, why: String },
    /// The server did not give it.
    #[error("{place} gave no secret: {why}")]
    Vault { place: String, why: String },
    /// It did not come in time.
    #[error("{0} did not answer within {secs} s", secs = PATIENCE.as_secs())]
    Late(String),
}

fn shown(file: Option<&Path>) -> String {
    file.map_or_else(|| "the supervisor's environment".to_owned(), |it| it.display().to_string())
}

/// Where secrets are read. Cheap to clone; all clones share the place.
#[derive(Clone)]
pub(super) struct Secrets {
    place: Arc<RwLock<Place>>,
    environment: Arc<Env>,
}

/// What the spec in force says of it.
struct Place {
    env_file: Option<PathBuf>,
    /// For servers that keep secrets.
    web: Result<Web, String>,
}

impl Secrets {
    /// Reads variables in `.env` first, because that is what an operator renews, and then in this
    /// environment.
    pub fn new(environment: Env) -> Self {
        let place = Place { env_file: None, web: Err("no spec is in force yet".to_owned()) };
        Self { place: Arc::new(RwLock::new(place)), environment: Arc::new(environment) }
    }

    /// The same with the environment of this process.
    pub fn of_this_process() -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::new(std::env::vars_os().filter_map(text).collect())
    }

    /// From now on `.env` is there, and servers are spoken to so.
    pub fn use_place(&self, env_file: Option<PathBuf>, web: Result<Web, String>) {
        let place = Place { env_file, web };
        *self.place.write().unwrap_or_else(PoisonError::into_inner) = place;
    }

    fn env_file(&self) -> Option<PathBuf> {
        self.place.read().unwrap_or_else(PoisonError::into_inner).env_file.clone()
    }

    fn web(&self) -> Result<Web, String> {
        self.place.read().unwrap_or_else(PoisonError::into_inner).web.clone()
    }

    /// A variable's value. Reads a small file.
    pub fn variable(&self, name: &str) -> Result<Secret, SecretError> {
        let file = self.env_file();
        let mut variables = match &file {
            Some(path) => fleet_file::read_env(path).map_err(SecretError::Env)?,
            None => Env::new(),
        };
        let found = variables.remove(name).filter(|value| !value.trim().is_empty());
        let found = found.or_else(|| self.environment.get(name).cloned());
        let Some(value) = found else {
            return Err(SecretError::NotSet { name: name.to_owned(), file });
        };
        secret(name, value)
    }

    /// A proxy's whole address. Reads a small file if there is a user in it.
    pub fn open(&self, url: &ProxyUrl) -> Result<WholeProxyUrl, SecretError> {
        let file = self.env_file();
        let mut variables = (*self.environment).clone();
        if let (Some(path), Some(_)) = (&file, url.written()) {
            let first = fleet_file::read_env(path).map_err(SecretError::Env)?;
            variables.extend(first.into_iter().filter(|(_, value)| !value.trim().is_empty()));
        }
        url.open(&variables).map_err(|why| SecretError::Proxy { why, file })
    }

    /// The same as a function that forges are reached by.
    pub fn opener(&self, url: ProxyUrl) -> ReadSecret {
        let secrets = self.clone();
        Arc::new(move || {
            let (secrets, url) = (secrets.clone(), url.clone());
            Box::pin(async move {
                let place = url.to_string();
                let open =
                    move || secrets.open(&url).map(|whole| Secret::new(whole.reveal().to_owned()));
                aside(&place, open).await.map_err(|error| with_causes(&error))
            })
        })
    }

    /// The secret, as it is now.
    pub async fn read(&self, source: &SecretSource) -> Result<Secret, SecretError> {
        let place = place(source);
        let reading = async {
            match source {
                SecretSource::Variable(name) => self.variable_aside(name).await,
                SecretSource::File(path) => {
                    let file = path.clone();
                    aside(&place, move || read_file(&file)).await
                }
                SecretSource::Command(words) => {
                    let value = command::run(words, self.folder().as_deref()).await?;
                    secret(&place, value)
                }
                SecretSource::Vault(wanted) => {
                    let token = self.variable_aside(&wanted.token_env).await?;
                    let value = vault::read(self.web(), wanted, &token).await.map_err(|why| {
                        SecretError::Vault { place: place.clone(), why: token.redact(&why) }
                    })?;
                    secret(&place, value)
                }
            }
        };
        // A program ends itself in time; this is for the rest.
        let late = PATIENCE + Duration::from_secs(1);
        timeout(late, reading).await.unwrap_or_else(|_| Err(SecretError::Late(place.clone())))
    }

    async fn variable_aside(&self, name: &str) -> Result<Secret, SecretError> {
        let (secrets, owned) = (self.clone(), name.to_owned());
        aside(name, move || secrets.variable(&owned)).await
    }

    /// The fleet file's folder: where programs run.
    fn folder(&self) -> Option<PathBuf> {
        self.env_file()?.parent().map(Path::to_owned)
    }

    /// The same as a function that forges call.
    pub fn reader(&self, source: SecretSource) -> ReadSecret {
        let secrets = self.clone();
        Arc::new(move || {
            let (secrets, source) = (secrets.clone(), source.clone());
            Box::pin(
                async move { secrets.read(&source).await.map_err(|error| with_causes(&error)) },
            )
        })
    }

    /// Whether a proxy's user can be read now, for people; none where it has none.
    pub fn proxy_report(&self, url: &ProxyUrl) -> Option<SecretReport> {
        url.written()?;
        let trouble = self.open(url).err().map(|error| with_causes(&error));
        let warning = self.env_file().and_then(|path| warning(&path));
        Some(SecretReport { source: url.to_string(), of: SecretUser::Proxy, trouble, warning })
    }

    /// Whether a secret can be read now, for people.
    pub async fn report(&self, source: &SecretSource, of: SecretUser) -> SecretReport {
        let trouble = self.read(source).await.err().map(|error| with_causes(&error));
        let warning = match (source, self.env_file()) {
            (SecretSource::Variable(_), Some(path)) => warning(&path),
            _ => None,
        };
        SecretReport { source: place(source), of, trouble, warning }
    }

    /// Whether `.env` can be read now, if there is one.
    pub fn env_report(&self) -> Option<EnvFileReport> {
        let path = self.env_file().filter(|path| path.exists())?;
        let trouble = fleet_file::read_env(&path).err().map(|error| with_causes(&error));
        Some(EnvFileReport { path, trouble })
    }
}

/// What is to be mended about a `.env` file that can be used.
fn warning(path: &Path) -> Option<String> {
    const READABLE: u32 = 0o004;
    let mode = path.metadata().ok()?.permissions().mode() & 0o777;
    let path = path.display();
    (mode & READABLE != 0).then(|| {
        format!("{path} may be read by everybody (mode {mode:03o}); `chmod 600 {path}` mends it")
    })
}

/// A source in words: names and places, nothing that could be a secret itself.
pub(super) fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::Variable(name) => name.clone(),
        SecretSource::File(path) => format!("file {}", path.display()),
        // Its arguments are not shown: one of them may be what it asks for with.
        SecretSource::Command(words) => {
            format!("command `{}`", words.first().map_or("", String::as_str))
        }
        SecretSource::Vault(it) => format!("vault {}: {}#{}", it.address, it.path, it.field),
    }
}

/// Without the line's end that editors and programs leave.
fn secret(place: &str, value: String) -> Result<Secret, SecretError> {
    match value.trim() {
        "" => Err(SecretError::Empty(place.to_owned())),
        trimmed => Ok(Secret::new(trimmed.to_owned())),
    }
}

/// A file system that hangs must not hold up a thread that others need.
async fn aside(
    place: &str,
    read: impl FnOnce() -> Result<Secret, SecretError> + Send + 'static,
) -> Result<Secret, SecretError> {
    spawn_blocking(read).await.unwrap_or_else(|_| Err(SecretError::Late(place.to_owned())))
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that it is the one that is read.
    let about = file.metadata().map_err(failed)?;
    let mode = about.permissions().mode() & 0o777;
    let is_mounted = || path.canonicalize().is_ok_and(|it| is_mounted(&it, about.uid(), mode));
    if mode & OTHERS != 0 && !is_mounted() {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let place = format!("file {}", path.display());
    let mut bytes = Vec::new();
    file.take(SECRET_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    secret(&place, text(&place, bytes)?)
}

/// Whether a file is a secret that the platform mounted: nobody but root can put another there.
fn is_mounted(path: &Path, owner: u32, mode: u32) -> bool {
    const WRITABLE: u32 = 0o022;
    path.starts_with(MOUNTED) && owner == 0 && mode & WRITABLE == 0
}

fn text(place: &str, bytes: Vec<u8>) -> Result<String, SecretError> {
    let no_text = || SecretError::NoText(place.to_owned());
    if bytes.len() as u64 > SECRET_MAX {
        return Err(no_text());
    }
    String::from_utf8(bytes).map_err(|_| no_text())
}

#[cfg(test)]
mod tests;
