//! A corpus of hostile archives, and what honest ones become.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use tar::{Builder, Header};
use tempfile::TempDir;

use super::*;

struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Writes a header by hand: the library refuses to write hostile names.
    fn entry(mut self, kind: EntryType, path: &str, (link, body): (&str, &[u8])) -> Self {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(body.len() as u64);
        header.set_mode(0o6755);
        header.set_mtime(1_600_000_000);
        header.set_cksum();
        self.0.append(&header, body).unwrap();
        self
    }

    fn file(self, path: &str, body: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, ("", body))
    }

    fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, ("", b""))
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, (target, b""))
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn unpack(self) -> (TempDir, Result<(), UnpackError>) {
        let outer = TempDir::new().unwrap();
        std::fs::create_dir(outer.path().join("work")).unwrap();
        let bounds = Bounds { entries: 20, bytes: 1000, depth: 5, path: 90 };
        let result = unpack(self.bytes().as_slice(), &outer.path().join("work"), bounds);
        (outer, result)
    }
}

fn refused(tar: Tar) -> &'static str {
    let (outer, result) = tar.unpack();
    let outside: Vec<PathBuf> =
        std::fs::read_dir(outer.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(outside, [outer.path().join("work")], "nothing was written outside");
    match result {
        Err(UnpackError::Refused { rule, .. }) => rule,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_honest_archive_becomes_what_it_was() {
    let tar = Tar::new()
        .folder("src")
        .file("src/a.txt", b"hello")
        .file("./deep/er/b", b"made parents")
        .link("deep/er/up", "../../src/a.txt")
        .file("src/a.txt", b"twice");
    let (outer, result) = tar.unpack();
    result.unwrap();
    let work = outer.path().join("work");
    assert_eq!(std::fs::read(work.join("src/a.txt")).unwrap(), b"twice");
    assert_eq!(std::fs::read(work.join("deep/er/up")).unwrap(), b"twice");
    let found = std::fs::metadata(work.join("deep/er/b")).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o755, "setuid and setgid are gone");
    assert_eq!(found.mtime(), 1_600_000_000);
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    for path in ["../evil", "a/../../evil", "a/..", ".."] {
        assert_eq!(refused(Tar::new().file(path, b"x")), "its path must not leave the folder");
        assert_eq!(refused(Tar::new().folder(path)), "its path must not leave the folder");
        assert_eq!(refused(Tar::new().link(path, "x")), "its path must not leave the folder");
    }
    assert_eq!(refused(Tar::new().file("/evil", b"x")), "its path must be relative");
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    for target in ["..", "../x", "a/../../x", "a/..", "./../x"] {
        assert_eq!(refused(Tar::new().link("l", target)), "its target must not leave the folder");
    }
    assert_eq!(refused(Tar::new().link("a/l", "../../x")), "its target must not leave the folder");
    assert_eq!(refused(Tar::new().link("l", "/etc/passwd")), "its target must be relative");
    assert_eq!(refused(Tar::new().link("l", "")), "its target must be relative");
}

#[test]
fn nothing_is_written_through_a_link() {
    let (_outer, result) = Tar::new().folder("d").link("l", "d").file("l/x", b"x").unpack();
    assert!(matches!(result, Err(UnpackError::Write { .. })), "{result:?}");
    let (outer, result) = Tar::new().file("f", b"f").link("l", "f").file("l", b"new").unpack();
    result.unwrap();
    assert_eq!(std::fs::read(outer.path().join("work/f")).unwrap(), b"f", "the link was replaced");
}

#[test]
fn devices_pipes_and_hard_links_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::Link] {
        let tar = Tar::new().entry(kind, "x", ("y", b""));
        assert_eq!(refused(tar), "only files, folders and symbolic links are unpacked");
    }
}

#[test]
fn archives_beyond_the_bounds_are_refused() {
    let many = (0..21).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), b""));
    assert_eq!(refused(many), "the archive has too many entries");
    let large = Tar::new().file("a", &[0; 600]).file("b", &[0; 600]);
    assert_eq!(refused(large), "the archive's files are too large");
    assert_eq!(refused(Tar::new().file("1/2/3/4/5/6", b"")), "it lies too deep");
    assert_eq!(refused(Tar::new().file(&"x".repeat(91), b"")), "its path is too long");
}

#[test]
fn a_cut_or_damaged_archive_is_an_error() {
    let whole = Tar::new().file("a", &[7; 900]).bytes();
    for cut in [100, 512, 700, 1400] {
        let folder = TempDir::new().unwrap();
        let result = unpack(&whole[..cut], folder.path(), Bounds::DEFAULT);
        assert!(result.is_err() || cut == 512, "cut at {cut}");
    }
    let folder = TempDir::new().unwrap();
    assert!(unpack([0xAB; 2048].as_slice(), folder.path(), Bounds::DEFAULT).is_err());
}

#[test]
fn the_source_is_read_to_its_end() {
    let mut bytes = Tar::new().file("a", b"x").bytes();
    bytes.resize(bytes.len() + 100_000, 0);
    let mut source = bytes.as_slice();
    let folder = TempDir::new().unwrap();
    unpack(&mut source, folder.path(), Bounds::DEFAULT).unwrap();
    assert!(source.is_empty());
}
