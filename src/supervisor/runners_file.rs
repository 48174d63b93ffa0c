//! Writes specification 1's `.slate_runners.json` whenever the fleet changes, and never over what a
//! person wrote there meanwhile.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::SupervisorError;
use super::handle::{Handle, Query};
use crate::api::runners_file::text;
use crate::fleet::view::FleetView;
use crate::spec::{RunnersFile, RunnersOptions, Spec, read_runners_file};

/// Changes that follow each other closely are written together.
const GATHER: Duration = Duration::from_millis(50);
/// The file is not written more often than this: each time costs a disk's flush.
const SPACING: Duration = Duration::from_millis(450);

/// Why the file is not written.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("another supervisor writes it")]
    Taken,
    #[error("it was changed, and what is there cannot be read:\n{0}")]
    Damaged(String),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The file as this supervisor left it.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Held as long as the file is this supervisor's; goes with the process, however it ends.
    held: Option<File>,
    /// What was written last.
    written: Option<String>,
    /// What a person asked for in the file since; kept until the next `up` takes it up.
    asked: Option<RunnersOptions>,
    /// The trouble that was told last.
    told: Option<String>,
}

/// Refuses to start where another supervisor writes the same file.
pub(super) fn claim(spec: &Spec) -> Result<Writer, SupervisorError> {
    let mut writer = Writer::default();
    let Some(RunnersFile { path, .. }) = &spec.runners_file else { return Ok(writer) };
    // What is there was read by this `up`, or left by the last supervisor. Damaged, it is told of
    // when it should be written.
    let there = fs::read_to_string(path).ok();
    writer.written = there.filter(|there| read_runners_file("", there).is_ok());
    match writer.take(path) {
        Err(Trouble::Taken) => Err(SupervisorError::FileTaken { path: path.clone() }),
        // It is told when the file is written.
        Ok(()) | Err(Trouble::Damaged(_) | Trouble::System(_)) => Ok(writer),
    }
}

/// The file while it follows the fleet.
pub(super) struct Kept {
    writer: Arc<Mutex<Writer>>,
    task: JoinHandle<()>,
}

/// Writes the file after each change from now on.
pub(super) fn start(handle: &Handle, writer: Writer) -> Kept {
    let writer = Arc::new(Mutex::new(writer));
    let task = tokio::spawn(keep(handle.clone(), Arc::clone(&writer)));
    Kept { writer, task }
}

impl Kept {
    /// Writes it for the last time.
    pub(super) fn end(self, fleet: &FleetView, spec: &Spec) {
        self.task.abort();
        write(&self.writer, fleet, spec);
    }
}

/// Writes the file after each change, until the loop ends.
async fn keep(handle: Handle, writer: Arc<Mutex<Writer>>) {
    let mut steps = handle.steps();
    loop {
        sleep(GATHER).await;
        steps.mark_unchanged();
        let Ok(fleet) = handle.query(Query::Fleet).await else { return };
        let Ok(spec) = handle.query(Query::Spec).await else { return };
        let writer = Arc::clone(&writer);
        let written = spawn_blocking(move || write(&writer, &fleet, &spec)).await;
        if let Err(error) = written {
            tracing::error!(%error, "writing the runners' file broke down");
        }
        sleep(SPACING).await;
        if steps.changed().await.is_err() {
            return;
        }
    }
}

/// Writes the file, if the fleet has one and something in it changed.
fn write(writer: &Mutex<Writer>, fleet: &FleetView, spec: &Spec) {
    let Some(RunnersFile { path, options }) = &spec.runners_file else { return };
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    let told = writer.put(path, fleet, options).err().map(|trouble| trouble.to_string());
    if let Some(why) = told.as_ref().filter(|_| told != writer.told) {
        tracing::warn!("{} is not written: {why}", path.display());
    }
    writer.told = told;
}

impl Writer {
    fn put(
        &mut self,
        path: &Path,
        fleet: &FleetView,
        options: &RunnersOptions,
    ) -> Result<(), Trouble> {
        self.take(path)?;
        self.look(path, options)?;
        if self.held.is_none() && fleet.runners.is_empty() {
            // A fleet that was refused, or is gone, leaves no new file.
            return Ok(());
        }
        let text = text(fleet, options, self.asked.as_ref());
        let is_same = |old: &String| without_time(old) == without_time(&text);
        if self.written.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let new = beside(path);
        let mut file = File::create(&new)?;
        // Before it has the name, so that nobody else can take it.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Trouble::Taken),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(&new, path)?;
        self.held = Some(file);
        self.written = Some(text);
        Ok(())
    }

    /// What a person wrote since the last time: damaged, it stays as it is; else its options stay.
    fn look(&mut self, path: &Path, options: &RunnersOptions) -> Result<(), Trouble> {
        if self.asked.as_ref() == Some(options) {
            self.asked = None;
        }
        let there = match fs::read_to_string(path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.written = None;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if self.written.as_ref() == Some(&there) {
            return Ok(());
        }
        let shown = path.display().to_string();
        let asked = read_runners_file(&shown, &there)
            .map_err(|findings| Trouble::Damaged(findings.to_string()))?;
        self.asked = (asked != *options).then_some(asked);
        self.written = None;
        Ok(())
    }

    /// Makes the file that is there this supervisor's.
    fn take(&mut self, path: &Path) -> Result<(), Trouble> {
        let there = match File::open(path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.held = None;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let id = |file: &File| file.metadata().map(|it| (it.dev(), it.ino()));
        if let Some(held) = &self.held
            && id(held)? == id(&there)?
        {
            return Ok(());
        }
        match there.try_lock() {
            Ok(()) => {
                self.held = Some(there);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(Trouble::Taken),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

/// Where the next version of a file is written before it takes its place.
fn beside(path: &Path) -> PathBuf {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    PathBuf::from(new)
}

/// The time alone is no change.
fn without_time(text: &str) -> &str {
    text.rsplit_once("\"updated_at\"").map_or(text, |(before, _)| before)
}
