//! Opens and lists what is in the store, and nothing else.
//!
//! A path is walked name by name from the store's folder, each opened relative to the one before
//! and never through a link, so a swap under our feet leads nowhere either. Devices and pipes are
//! not even opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use rustix::io::Errno;

use crate::units::{Bytes, Time};

/// Deeper paths are no reports: publishing stops there, too.
const DEPTH_MAX: usize = 64;
/// Longest name of a file on Linux (`NAME_MAX`, limits.h).
const NAME_MAX: usize = 255;
/// Entries of one folder that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// What an address may have as it is (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Something cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing, or nothing that is served: a link, a device, a pipe.
    #[error("there is no plain file or folder {}", path.display())]
    NoSuchThing {
        /// What was asked for.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {action} {}", path.display())]
    Failed {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// A path in the store: names from the top down, none of which can lead out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Vec<OsString>);

impl Place {
    /// Reads the path of an address, percent-encoded, such as `ci/7/a%20b/`; none if a name of it
    /// is none: empty, `.`, `..`, too long, with a slash or a NUL in it.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Some(Self::default());
        }
        let names: Vec<OsString> = path
            .split('/')
            .map(|name| percent_decode_str(name).collect())
            .map(name)
            .collect::<Option<_>>()?;
        (names.len() <= DEPTH_MAX).then_some(Self(names))
    }

    /// A run's folder; none if these cannot be its names.
    #[must_use]
    pub fn of_run(workflow: &str, run_id: &str) -> Option<Self> {
        let are_names = crate::ids::is_folder_name(workflow) && crate::ids::is_folder_name(run_id);
        are_names.then(|| Self(vec![workflow.into(), run_id.into()]))
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[OsString] {
        &self.0
    }

    /// What is called so in this folder.
    #[must_use]
    pub fn join(&self, name: &OsStr) -> Self {
        let mut names = self.0.clone();
        names.push(name.to_owned());
        Self(names)
    }

    /// As an address has it, percent-encoded.
    #[must_use]
    pub fn encoded(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|name| encoded(name)).collect();
        names.join("/")
    }

    /// For people to read.
    #[must_use]
    pub fn shown(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|name| name.to_string_lossy()).collect();
        names.join("/")
    }

    fn below(&self, root: &Path) -> PathBuf {
        self.0.iter().fold(root.to_owned(), |path, name| path.join(name))
    }
}

/// One name as an address has it.
pub(super) fn encoded(name: &OsStr) -> String {
    percent_encode(name.as_bytes(), ESCAPED).to_string()
}

fn name(bytes: Vec<u8>) -> Option<OsString> {
    let is_name = !bytes.is_empty() && bytes != b"." && bytes != b".." && bytes.len() <= NAME_MAX;
    let leads_on = bytes.iter().any(|byte| matches!(byte, b'/' | 0));
    (is_name && !leads_on).then(|| OsString::from_vec(bytes))
}

/// What was found at a place.
#[derive(Debug)]
pub enum Found {
    /// A plain file, open to be read, and its time and size.
    File(File, Entry),
    /// A folder.
    Folder(Listing),
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// When an entry of it was made or removed last.
    pub at: Time,
    /// Its plain files and folders, as the system has them: in no order.
    pub entries: Vec<Entry>,
    /// Whether there are more than were looked at.
    pub is_partial: bool,
}

/// A plain file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// Which of both.
    pub kind: EntryKind,
    /// When it was written last, in nanoseconds since the Unix epoch.
    pub modified_ns: u128,
    /// A file's size.
    pub size: Bytes,
}

/// A plain file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A plain file.
    File,
}

impl Entry {
    /// When it was written last.
    #[must_use]
    pub fn at(&self) -> Time {
        Time(u64::try_from(self.modified_ns / 1_000_000).unwrap_or(u64::MAX))
    }

    /// None for what is neither a plain file nor a folder.
    fn of(name: &OsStr, stat: &Stat) -> Option<Self> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::Folder,
            FileType::RegularFile => EntryKind::File,
            _ => return None,
        };
        let seconds = u128::try_from(stat.st_mtime).unwrap_or(0);
        let modified_ns = seconds * 1_000_000_000 + u128::from(stat.st_mtime_nsec);
        let size = Bytes(u64::try_from(stat.st_size).unwrap_or(0));
        Some(Self { name: name.to_owned(), kind, modified_ns, size })
    }
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store(PathBuf);

impl Store {
    /// The store in this folder, which need not exist yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Opens what is at a place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find(&self, place: &Place) -> Result<Found, StoreError> {
        let failed = |action| {
            let path = place.below(&self.0);
            move |error: Errno| match error {
                // A link where a folder should be is a loop or no folder to the system.
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => {
                    StoreError::NoSuchThing { path }
                }
                other => StoreError::Failed { action, path, source: other.into() },
            }
        };
        let (folder, name) = self.walk(place).map_err(failed("open"))?;
        let Some(name) = name else {
            return list(&folder).map(Found::Folder).map_err(failed("list"));
        };
        let none = || StoreError::NoSuchThing { path: place.below(&self.0) };
        // Opening a device can do something, so it is looked at first.
        let stat = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("look at"))?;
        match Entry::of(&name, &stat).ok_or_else(none)?.kind {
            EntryKind::Folder => {
                let opened = openat(&folder, &name, LIST, Mode::empty()).map_err(failed("open"))?;
                list(&opened).map(Found::Folder).map_err(failed("list"))
            }
            EntryKind::File => {
                let opened = openat(&folder, &name, READ, Mode::empty()).map_err(failed("open"))?;
                let stat = fstat(&opened).map_err(failed("look at"))?;
                let entry = Entry::of(&name, &stat);
                let entry = entry.filter(|it| it.kind == EntryKind::File).ok_or_else(none)?;
                Ok(Found::File(File::from(opened), entry))
            }
        }
    }

    /// The folder that a place is in, open, and its name there; none for the store itself.
    fn walk(&self, place: &Place) -> Result<(OwnedFd, Option<OsString>), Errno> {
        // The store itself is the operator's, who may have made it a link.
        let Some((last, way)) = place.0.split_last() else {
            let top = LIST.difference(OFlags::NOFOLLOW);
            return Ok((open(&self.0, top, Mode::empty())?, None));
        };
        let mut here = open(&self.0, PASS.difference(OFlags::NOFOLLOW), Mode::empty())?;
        for name in way {
            here = openat(&here, name, PASS, Mode::empty())?;
        }
        Ok((here, Some(last.clone())))
    }
}

/// To go through a folder.
const PASS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// To read a folder's entries.
const LIST: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// To read a file; what became a pipe meanwhile does not hold us up.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

fn list(folder: &OwnedFd) -> Result<Listing, Errno> {
    let at = Entry::of(OsStr::new(""), &fstat(folder)?).map_or(Time(0), |entry| entry.at());
    let (mut entries, mut looked_at) = (Vec::new(), 0_usize);
    for found in Dir::read_from(folder)? {
        let found = found?;
        let name = OsStr::from_bytes(found.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if looked_at == ENTRIES_MAX {
            return Ok(Listing { at, entries, is_partial: true });
        }
        looked_at += 1;
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => entries.extend(Entry::of(name, &stat)),
            // It was removed meanwhile.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Listing { at, entries, is_partial: false })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn place(path: &str) -> Place {
        Place::parse(path).unwrap_or_else(|| panic!("{path} is a place"))
    }

    fn names(found: &Found) -> Vec<String> {
        let Found::Folder(listing) = found else { return Vec::new() };
        let mut names: Vec<String> =
            listing.entries.iter().map(|it| it.name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn no_path_of_an_address_leads_out() {
        for path in [
            "..",
            "../x",
            "ci/../../x",
            "ci/%2e%2e/x",
            "ci/%2E./x",
            "ci/.%2e",
            ".",
            "ci/./x",
            "%2e",
            "/etc/passwd",
            "ci//x",
            "//",
            "ci/%2fetc",
            "ci/a%2F..%2Fb",
            "ci/%00",
            "%00",
            "ci/7/..%00/",
            "ci/%2e%2e%2f%2e%2e/x",
        ] {
            assert_eq!(Place::parse(path), None, "{path}");
        }
        assert_eq!(Place::parse(&"a/".repeat(65)), None, "too deep");
        assert_eq!(Place::parse(&"a".repeat(256)), None, "too long");
        for (path, shown) in [
            ("", ""),
            ("ci/7/", "ci/7"),
            ("ci/7/a%20b/%C3%BC.txt", "ci/7/a b/ü.txt"),
            // Neither of them means anything to Linux.
            ("ci/..%5cx", "ci/..\\x"),
            ("ci/%252e%252e", "ci/%2e%2e"),
        ] {
            assert_eq!(Place::parse(path).map(|it| it.shown()).as_deref(), Some(shown), "{path}");
        }
        let odd = place("ci/a%20b/%ff%25");
        assert_eq!(odd.encoded(), "ci/a%20b/%FF%25");
        assert_eq!(Place::parse(&odd.encoded()), Some(odd), "there and back");
        assert!(Place::of_run("ci", "7").is_some());
        for (workflow, run) in [("..", "7"), ("ci", ".git"), ("", "7"), ("ci", "a/b")] {
            assert_eq!(Place::of_run(workflow, run), None, "{workflow}/{run}");
        }
    }

    #[test]
    fn links_devices_and_pipes_are_not_there() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (store, outside) = (folder.path().join("store"), folder.path().join("outside"));
        fs::create_dir_all(store.join("ci/7/deep"))?;
        fs::create_dir_all(&outside)?;
        fs::write(outside.join("secret"), "secret")?;
        fs::write(store.join("ci/7/deep/plain"), "plain")?;
        symlink(&outside, store.join("ci/7/out"))?;
        symlink(outside.join("secret"), store.join("ci/7/file"))?;
        symlink("deep/plain", store.join("ci/7/inside"))?;
        symlink(".", store.join("ci/7/self"))?;
        symlink(&outside, store.join("linked"))?;
        let pipe = store.join("ci/7/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0)?;
        let store = Store::new(store);

        assert_eq!(names(&store.find(&place("ci/7"))?), ["deep"]);
        let Found::File(mut file, entry) = store.find(&place("ci/7/deep/plain"))? else {
            panic!("a file");
        };
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        assert_eq!((text.as_str(), entry.size), ("plain", Bytes(5)));
        for path in [
            "ci/7/out",
            "ci/7/out/secret",
            "ci/7/file",
            "ci/7/inside",
            "ci/7/self",
            "ci/7/self/deep/plain",
            "linked",
            "linked/secret",
            "ci/7/pipe",
            "ci/7/none",
            "ci/7/deep/plain/x",
            "CI/7",
            "ci/7/DEEP",
        ] {
            let found = store.find(&place(path));
            assert!(matches!(found, Err(StoreError::NoSuchThing { .. })), "{path}: {found:?}");
        }
        Ok(())
    }

    #[test]
    fn a_store_may_be_a_link_or_missing() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        fs::create_dir_all(folder.path().join("disk/ci/7"))?;
        symlink("disk", folder.path().join("reports"))?;
        let store = Store::new(folder.path().join("reports"));
        assert_eq!(names(&store.find(&Place::default())?), ["ci"]);
        assert_eq!(names(&store.find(&place("ci"))?), ["7"]);
        let missing = Store::new(folder.path().join("none"));
        let found = missing.find(&Place::default());
        assert!(matches!(found, Err(StoreError::NoSuchThing { .. })), "{found:?}");
        Ok(())
    }

    #[test]
    fn a_folder_with_too_many_entries_says_so() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        for number in 0..=ENTRIES_MAX {
            File::create(folder.path().join(number.to_string()))?;
        }
        let Found::Folder(listing) = Store::new(folder.path().into()).find(&Place::default())?
        else {
            panic!("a folder");
        };
        assert!(listing.is_partial);
        assert_eq!(listing.entries.len(), ENTRIES_MAX);
        Ok(())
    }
}
