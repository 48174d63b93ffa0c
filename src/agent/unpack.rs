//! Unpacks a working folder, by strict rules: the archive may be hostile.
//!
//! Entries are walked by hand. Nothing is ever written through a symbolic link, because each folder
//! on the way is opened without following any. Allowed are plain files, folders, and symbolic links
//! that stay inside; setuid bits are dropped; counts and sizes are bounded.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens, mkdirat, open,
    openat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

/// Bounds on an archive, far above real working folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Entries.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Folders below each other.
    pub depth: usize,
    /// Bytes of one path.
    pub path: usize,
}

impl Bounds {
    /// A million entries, 64 GiB, 64 folders deep, 4096 bytes of path.
    pub const DEFAULT: Self = Self { entries: 1_000_000, bytes: 64 << 30, depth: 64, path: 4096 };
}

/// Why an archive is not unpacked further.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is damaged, or the connection to its source broke.
    #[error("the archive cannot be read: {0}")]
    Archive(#[source] io::Error),
    /// An entry breaks a rule.
    #[error("`{path}` is refused: {rule}")]
    Refused {
        /// The entry, readable.
        path: String,
        /// The rule.
        rule: &'static str,
    },
    /// The system refuses to write something.
    #[error("`{path}` cannot be written: {source}")]
    Write {
        /// The entry, readable.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Unpacks an archive into a folder that exists, and reads the source to its end.
///
/// # Errors
/// [`UnpackError`] at the first entry that is not right; what came before it stays.
pub fn unpack(source: impl Read, folder: &Path, bounds: Bounds) -> Result<(), UnpackError> {
    let root = open(folder, folder_flags(), Mode::empty()).map_err(|error| UnpackError::Write {
        path: folder.display().to_string(),
        source: error.into(),
    })?;
    let mut unpacker = Unpacker { root, bounds, entries: 0, bytes: 0 };
    let mut archive = Archive::new(source);
    for entry in archive.entries().map_err(UnpackError::Archive)? {
        unpacker.unpack(&mut entry.map_err(UnpackError::Archive)?)?;
    }
    // The sender must not find a closed pipe because of padding.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(UnpackError::Archive)?;
    Ok(())
}

struct Unpacker {
    root: OwnedFd,
    bounds: Bounds,
    entries: u64,
    bytes: u64,
}

impl Unpacker {
    fn unpack<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), UnpackError> {
        let raw = entry.path_bytes().into_owned();
        let shown = raw.escape_ascii().to_string();
        let refused = |rule| UnpackError::Refused { path: shown.clone(), rule };
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        self.entries += 1;
        if self.entries > self.bounds.entries {
            return Err(refused("the archive has too many entries"));
        }
        let names = self.names(&raw).map_err(refused)?;
        let written = match kind {
            EntryType::Directory => self.folder(&names, mode_of(entry)),
            EntryType::Regular | EntryType::Continuous => {
                self.bytes = self.bytes.saturating_add(entry.size());
                if self.bytes > self.bounds.bytes {
                    return Err(refused("the archive's files are too large"));
                }
                self.file(&names, entry)
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                check_target(&target, names.len().saturating_sub(1)).map_err(refused)?;
                self.link(&names, &target)
            }
            _ => return Err(refused("only files, folders and symbolic links are unpacked")),
        };
        written.map_err(|source| UnpackError::Write { path: shown.clone(), source })
    }

    /// The path's parts, without those that mean nothing.
    fn names<'a>(&self, path: &'a [u8]) -> Result<Vec<&'a [u8]>, &'static str> {
        if path.len() > self.bounds.path {
            return Err("its path is too long");
        }
        if path.first() == Some(&b'/') || path.contains(&0) {
            return Err("its path must be relative");
        }
        let parts = path.split(|byte| *byte == b'/');
        let names: Vec<&[u8]> = parts.filter(|name| !name.is_empty() && *name != b".").collect();
        if names.contains(&b"..".as_slice()) {
            return Err("its path must not leave the folder");
        }
        if names.len() > self.bounds.depth {
            return Err("it lies too deep");
        }
        Ok(names)
    }

    fn folder(&self, names: &[&[u8]], mode: Mode) -> io::Result<()> {
        let folder = self.open_folders(names)?;
        // The user must be able to fill it, whatever the archive says; the root keeps its own mode.
        match names.is_empty() {
            true => Ok(()),
            false => Ok(fchmod(&folder, mode | Mode::RWXU)?),
        }
    }

    fn file<R: Read>(&self, names: &[&[u8]], entry: &mut Entry<'_, R>) -> io::Result<()> {
        let (parent, name) = self.open_parent(names)?;
        make_way(&parent, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)?);
        io::copy(entry, &mut file)?;
        file.flush()?;
        fchmod(&file, mode_of(entry))?;
        let seconds = entry.header().mtime().ok().and_then(|time| i64::try_from(time).ok());
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let modified = seconds.map_or(now, |tv_sec| Timespec { tv_sec, tv_nsec: 0 });
        Ok(futimens(&file, &Timestamps { last_access: now, last_modification: modified })?)
    }

    fn link(&self, names: &[&[u8]], target: &[u8]) -> io::Result<()> {
        let (parent, name) = self.open_parent(names)?;
        make_way(&parent, name)?;
        Ok(symlinkat(target, &parent, name)?)
    }

    fn open_parent<'a>(&self, names: &[&'a [u8]]) -> io::Result<(OwnedFd, &'a [u8])> {
        let (name, parents) = names.split_last().ok_or(Errno::ISDIR)?;
        Ok((self.open_folders(parents)?, *name))
    }

    /// Opens folders below the root, and makes those that are missing.
    fn open_folders(&self, names: &[&[u8]]) -> io::Result<OwnedFd> {
        let mut folder = self.root.try_clone()?;
        for name in names {
            match mkdirat(&folder, *name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = openat(&folder, *name, folder_flags(), Mode::empty())?;
        }
        Ok(folder)
    }
}

fn folder_flags() -> OFlags {
    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY
}

/// Permissions without setuid, setgid and sticky bits.
fn mode_of<R: Read>(entry: &Entry<'_, R>) -> Mode {
    Mode::from_raw_mode(entry.header().mode().unwrap_or(0o644) & 0o777)
}

/// Takes away what is in a new file's place; a folder there is an error.
fn make_way(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A link may climb only at its beginning, and not above the root. Folders on the way to a link are
/// real ones, so a target that passes this stays inside wherever it leads.
fn check_target(target: &[u8], depth: usize) -> Result<(), &'static str> {
    if target.is_empty() || target.first() == Some(&b'/') || target.contains(&0) {
        return Err("its target must be relative");
    }
    let parts = target.split(|byte| *byte == b'/');
    let mut parts = parts.filter(|name| !name.is_empty() && *name != b".").peekable();
    let mut climbed = 0;
    while parts.next_if_eq(&b"..".as_slice()).is_some() {
        climbed += 1;
    }
    if climbed > depth || parts.any(|name| name == b"..") {
        return Err("its target must not leave the folder");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
