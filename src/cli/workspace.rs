//! Packs a working folder into a tar stream: what git would track, in an order that never varies.
//!
//! First a look at the names and sizes, so that a folder that is too large is refused with the
//! culprits before a byte is sent; then the files, streamed as they are read.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream;
use hyper::body::Bytes;
use ignore::WalkBuilder;
use tokio::sync::mpsc;
use tokio::time::interval_at;

use super::clock;
use super::context::note;
use super::failure::Failure;
use crate::api::dto::Uploaded;
use crate::causes::with_causes;
use crate::client::Client;
use crate::exit::Exit;
use crate::ids::BlobId;
use crate::units::Bytes as Size;

/// More entries than any project has; a home or root folder is a mistake.
const ENTRIES_MAX: usize = 1_000_000;
/// Bytes sent at a time.
const CHUNK: usize = 128 * 1024;
/// Chunks packed ahead of a slow connection.
const AHEAD: usize = 4;
/// Entries that are named when a folder is too large.
const CULPRITS: usize = 5;
/// tar counts in blocks of this size.
const BLOCK: u64 = 512;

/// Whether the repository itself goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Git {
    /// Without `.git`: most jobs do not look at it, and it is often the largest part.
    Leave,
    /// With `.git`, for jobs that ask for the version or the history.
    Send,
}

/// What to pack.
#[derive(Debug, Clone)]
pub(super) struct Packing {
    /// The folder.
    pub root: PathBuf,
    /// Never packed, ignored or not: the fleet's own state, secrets and reports.
    pub never: Vec<PathBuf>,
    /// Whether `.git` goes along.
    pub git: Git,
    /// Largest tar stream.
    pub limit: Size,
}

/// One thing to pack.
#[derive(Debug)]
struct Entry {
    /// Relative to the root.
    path: PathBuf,
    metadata: Metadata,
}

/// A folder that has been looked at.
#[derive(Debug)]
pub(super) struct Scan {
    root: PathBuf,
    entries: Vec<Entry>,
    /// Size of the tar stream, long names aside.
    pub total: Size,
}

/// Looks at what would be packed.
pub(super) fn scan(packing: &Packing) -> Result<Scan, Failure> {
    let root = std::fs::canonicalize(&packing.root).map_err(|error| {
        Failure::system(
            format!("cannot open the working folder {}", packing.root.display()),
            &error,
        )
    })?;
    let mut entries = Vec::new();
    let mut total = 2 * BLOCK;
    for found in walk(&root, packing) {
        let found = found.map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("cannot read the working folder: {}", with_causes(&error)),
            )
        })?;
        let Some((entry, size)) = take(&root, &found)? else { continue };
        total = total.saturating_add(BLOCK + size.next_multiple_of(BLOCK));
        entries.push(entry);
        if entries.len() > ENTRIES_MAX {
            return Err(Failure::new(
                Exit::Usage,
                format!("{} has more than {ENTRIES_MAX} entries", root.display()),
            )
            .help("run it in the project's folder, or use `--no-workspace`"));
        }
    }
    let scan = Scan { root, entries, total: Size(total) };
    match scan.total > packing.limit {
        true => Err(too_large(&scan, packing.limit)),
        false => Ok(scan),
    }
}

fn walk(root: &Path, packing: &Packing) -> ignore::Walk {
    let never = packing.never.clone();
    let git = packing.git;
    WalkBuilder::new(root)
        .hidden(false)
        .require_git(false)
        .add_custom_ignore_filename(".slateignore")
        .follow_links(false)
        .sort_by_file_name(OsStr::cmp)
        .filter_entry(move |entry| {
            let repository = git == Git::Leave && entry.file_name() == ".git";
            !repository && !never.iter().any(|path| path == entry.path())
        })
        .build()
}

/// The entry and the bytes of its content; none for the root and for what tar cannot carry over
/// (sockets, pipes, devices), which no checkout has.
fn take(root: &Path, found: &ignore::DirEntry) -> Result<Option<(Entry, u64)>, Failure> {
    let Ok(path) = found.path().strip_prefix(root) else { return Ok(None) };
    let metadata = found.path().symlink_metadata().map_err(|error| {
        Failure::system(format!("cannot look at {}", found.path().display()), &error)
    })?;
    let kind = metadata.file_type();
    let known = kind.is_file() || kind.is_dir() || kind.is_symlink();
    if path.as_os_str().is_empty() || !known {
        return Ok(None);
    }
    let size = if kind.is_file() { metadata.len() } else { 0 };
    Ok(Some((Entry { path: path.to_owned(), metadata }, size)))
}

fn too_large(scan: &Scan, limit: Size) -> Failure {
    let mut files: Vec<&Entry> =
        scan.entries.iter().filter(|entry| entry.metadata.is_file()).collect();
    files.sort_by_key(|entry| std::cmp::Reverse(entry.metadata.len()));
    let largest: Vec<String> = files
        .iter()
        .take(CULPRITS)
        .map(|entry| {
            format!("{:>10}  {}", Size(entry.metadata.len()).to_string(), entry.path.display())
        })
        .collect();
    Failure::new(
        Exit::Failed,
        format!(
            "the working folder {} packs to {}, and the limit is {limit}; its largest files:\n{}",
            scan.root.display(),
            scan.total,
            largest.join("\n")
        ),
    )
    .help(
        "leave things out with .gitignore or .slateignore, raise `limits.workspace_max`, or use \
         `--no-workspace`",
    )
}

impl Scan {
    /// Writes the tar stream.
    pub(super) fn write(&self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        for entry in &self.entries {
            self.append(&mut tar, entry).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", entry.path.display()))
            })?;
        }
        tar.into_inner()?.flush()
    }

    fn append(&self, tar: &mut tar::Builder<impl Write>, entry: &Entry) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.metadata.permissions().mode() & 0o777);
        header.set_mtime(u64::try_from(entry.metadata.mtime()).unwrap_or(0));
        header.set_size(0);
        let full = self.root.join(&entry.path);
        if entry.metadata.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            return tar.append_link(&mut header, &entry.path, std::fs::read_link(full)?);
        }
        if entry.metadata.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            return tar.append_data(&mut header, &entry.path, io::empty());
        }
        // The size that was promised, whatever happens to the file meanwhile.
        let size = entry.metadata.len();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        let mut content = Counted { inner: File::open(full)?.take(size), left: size };
        tar.append_data(&mut header, &entry.path, &mut content)
    }
}

/// Fails when a file turns out shorter than it was: a stream with a hole would be a wrong folder.
struct Counted<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left -= u64::try_from(read).unwrap_or(0).min(self.left);
        match (read, self.left, buffer.is_empty()) {
            (0, 1.., false) => {
                Err(io::Error::other("it became shorter while it was sent; try again"))
            }
            (..) => Ok(read),
        }
    }
}

/// Looks at the folder, packs it and sends it while packing.
pub(super) async fn send(client: &mut Client, packing: Packing) -> Result<BlobId, Failure> {
    let scan = tokio::task::spawn_blocking(move || scan(&packing)).await.map_err(broken)??;
    let total = scan.total;
    let sent = Arc::new(AtomicU64::new(0));
    let (chunks, received) = mpsc::channel(AHEAD);
    let out = Chunks { to: chunks.clone(), buffer: Vec::new(), sent: Arc::clone(&sent) };
    let packer = tokio::task::spawn_blocking(move || {
        let packed = scan.write(out);
        if packed.is_err() {
            // The upload must not look complete; the packer's own error is told below.
            let _told = chunks.blocking_send(Err(io::ErrorKind::Other.into()));
        }
        packed
    });
    let body = stream::unfold(received, |mut received: mpsc::Receiver<_>| async move {
        received.recv().await.map(|chunk| (chunk, received))
    });
    let uploaded = with_progress(client.upload(body), &sent, total).await;
    let outcome = packer.await.map_err(broken)?;
    match (uploaded, outcome) {
        (Ok(Uploaded { blob, .. }), Ok(())) => Ok(blob),
        // A refusal closes the stream, which then fails the packer: the refusal is the cause.
        (Err(error), Err(packing)) if packing.kind() == io::ErrorKind::BrokenPipe => {
            Err(error.into())
        }
        (_, Err(error)) => Err(Failure::system("cannot pack the working folder", &error)),
        (Err(error), Ok(())) => Err(error.into()),
    }
}

fn broken(error: tokio::task::JoinError) -> Failure {
    Failure::new(Exit::Failed, format!("packing the working folder broke off: {error}"))
}

/// Says how far it is once a second, from the first second on.
async fn with_progress<T>(work: impl Future<Output = T>, sent: &AtomicU64, total: Size) -> T {
    const EVERY: Duration = Duration::from_secs(1);
    let mut ticks = interval_at(clock::start() + EVERY, EVERY);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                let sent = Size(sent.load(Ordering::Relaxed));
                note(&format!("sending the working folder: {sent} of {total}"));
            }
        }
    }
}

/// Collects what tar writes into chunks and hands them to the connection.
struct Chunks {
    to: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    sent: Arc<AtomicU64>,
}

impl Chunks {
    fn hand_over(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        let length = u64::try_from(chunk.len()).unwrap_or(0);
        self.to.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.sent.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.buffer.is_empty() {
            true => Ok(()),
            false => self.hand_over(),
        }
    }
}

#[cfg(test)]
mod tests;
