//! Packing is tested on real folders.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn packing(root: &Path) -> Packing {
    Packing { root: root.to_owned(), never: Vec::new(), git: Git::Leave, limit: Size::mib(1) }
}

fn packed(packing: &Packing) -> Vec<u8> {
    let mut bytes = Vec::new();
    scan(packing).expect("a small folder").write(&mut bytes).expect("writes to memory");
    bytes
}

/// Names with their content; links with their target.
fn unpacked(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(bytes);
    let mut found = BTreeMap::new();
    for entry in archive.entries().expect("a tar stream") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let mut content = String::new();
        match entry.link_name().expect("a link name") {
            Some(target) => content = format!("-> {}", target.display()),
            None => {
                entry.read_to_string(&mut content).expect("content");
            }
        }
        found.insert(path, content);
    }
    found
}

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folder");
        fs::write(path, text).expect("file");
    };
    write(".gitignore", "*.log\nbuild/\n");
    write(".slateignore", "data/\n!keep.log\n");
    write(".hidden", "seen");
    write("src/main.py", "print(1)\n");
    write("src/noise.log", "x");
    write("keep.log", "kept");
    write("build/out", "x");
    write("data/huge", "x");
    write(".git/HEAD", "ref");
    write(".slate/fleet.db", "state");
    folder
}

#[test]
fn ignored_files_stay_home_and_hidden_ones_go_along() {
    let folder = project();
    let state = folder.path().canonicalize().expect("path").join(".slate");
    let packing = Packing { never: vec![state], ..packing(folder.path()) };
    let names: Vec<String> = unpacked(&packed(&packing)).into_keys().collect();
    let expected = [".gitignore", ".hidden", ".slateignore", "keep.log", "src/", "src/main.py"];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let trimmed = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| name.trim_end_matches('/').to_owned()).collect()
    };
    assert_eq!(trimmed(&names), trimmed(&expected));
}

#[test]
fn the_repository_goes_along_when_asked_for() {
    let folder = project();
    let packing = Packing { git: Git::Send, ..packing(folder.path()) };
    assert_eq!(unpacked(&packed(&packing)).get(".git/HEAD").map(String::as_str), Some("ref"));
}

#[test]
fn the_same_folder_gives_the_same_stream() {
    let folder = project();
    assert_eq!(packed(&packing(folder.path())), packed(&packing(folder.path())));
}

#[test]
fn links_stay_links_even_when_they_dangle() {
    let folder = tempfile::tempdir().expect("temporary folder");
    symlink("/etc/passwd", folder.path().join("absolute")).expect("link");
    symlink("nowhere", folder.path().join("dangling")).expect("link");
    let found = unpacked(&packed(&packing(folder.path())));
    assert_eq!(found.get("absolute").map(String::as_str), Some("-> /etc/passwd"));
    assert_eq!(found.get("dangling").map(String::as_str), Some("-> nowhere"));
}

#[test]
fn long_names_and_executables_survive() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let name = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let path = folder.path().join(&name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("folder");
    fs::write(&path, "#!/bin/sh\n").expect("file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    let bytes = packed(&packing(folder.path()));
    let mut archive = tar::Archive::new(bytes.as_slice());
    let modes: Vec<u32> = archive
        .entries()
        .expect("a tar stream")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_ok_and(|path| path == Path::new(&name)))
        .map(|entry| entry.header().mode().expect("a mode"))
        .collect();
    assert_eq!(modes, [0o755]);
}

#[test]
fn a_folder_that_is_too_large_is_refused_with_its_largest_files() {
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::write(folder.path().join("small"), "x").expect("file");
    fs::write(folder.path().join("video.mp4"), vec![0; 2 << 20]).expect("file");
    let failure = scan(&packing(folder.path())).expect_err("too large");
    let text = failure.render();
    assert!(text.contains("packs to 2"), "{text}");
    assert!(text.contains("2MiB  video.mp4"), "{text}");
    assert!(text.find("video.mp4") < text.find("small"), "{text}");
}

#[test]
fn a_file_that_shrinks_meanwhile_is_an_error_and_not_a_hole() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "0123456789").expect("file");
    let scan = scan(&packing(folder.path())).expect("a small folder");
    fs::write(&file, "0123").expect("file");
    let error = scan.write(io::sink()).expect_err("shorter");
    assert!(error.to_string().contains("shorter"), "{error}");
}
