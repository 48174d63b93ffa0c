//! The files of GitHub's runner: where its program is, and what a registration consists of.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::agent::place::Owner;
use crate::ids::ForgeRunnerId;

/// A registration: its description, then its secrets.
pub(super) const REGISTRATION: [&str; 3] = [SETTINGS, ".credentials", ".credentials_rsaparams"];

/// The description of a registration.
pub(super) const SETTINGS: &str = ".runner";

/// What a runner may leave beside them in newer versions; a new registration must not meet it.
const MIGRATED: [&str; 2] = [".runner_migrated", ".credentials_migrated"];

/// More than any registration takes.
const FILE_MAX: u64 = 256 * 1024;

/// The runner writes its settings with a mark at their begin.
const MARK: char = '\u{feff}';

/// The files of a registration, by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The program, below its root.
pub(super) fn program(root: &Path) -> PathBuf {
    root.join("bin/Runner.Listener")
}

/// The first root that has the program.
pub(super) fn find(roots: &[PathBuf]) -> Result<PathBuf, String> {
    let found = roots.iter().find(|root| program(root).is_file());
    found.cloned().ok_or_else(|| {
        let places: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        format!(
            "the image has no GitHub runner: bin/Runner.Listener is in none of {}; build an image \
             with one (images/github-runner/build)",
            places.join(", ")
        )
    })
}

/// Lets the job's user write in the root's top: the runner keeps its files and logs there.
pub(super) fn own(root: &Path, owner: Owner) -> Result<(), String> {
    let give = || -> io::Result<()> {
        let found = fs::metadata(root)?;
        match (found.uid(), found.gid()) == (owner.uid, owner.gid) {
            true => Ok(()),
            false => chown(root, Some(owner.uid), Some(owner.gid)),
        }
    };
    give().map_err(|error| format!("cannot give {} to the job's user: {error}", root.display()))
}

/// The files of a registration for one job, as the forge gave it.
pub(super) fn unpack(blob: &str, work: &str) -> Result<Files, String> {
    let broken = |what: &str| format!("the registration that the forge gave is broken: {what}");
    let json = STANDARD.decode(blob.trim()).map_err(|_| broken("it is not base64"))?;
    let packed: BTreeMap<String, String> =
        serde_json::from_slice(&json).map_err(|_| broken("it is no map of files"))?;
    let mut files = Files::new();
    for (name, content) in packed {
        if !name.starts_with('.') || name.contains('/') || name == ".." {
            return Err(broken("it has a file of a strange name"));
        }
        let bytes = STANDARD.decode(content).map_err(|_| broken("a file is not base64"))?;
        files.insert(name, bytes);
    }
    let settings = files.get(SETTINGS).ok_or_else(|| broken("it has no settings"))?;
    let mut settings = parse(settings).ok_or_else(|| broken("its settings make no sense"))?;
    let key = settings.keys().find(|key| key.eq_ignore_ascii_case("workFolder")).cloned();
    settings.insert(key.unwrap_or_else(|| "workFolder".to_owned()), work.into());
    let text = Value::Object(settings).to_string();
    files.insert(SETTINGS.to_owned(), text.into_bytes());
    Ok(files)
}

fn parse(settings: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(settings).ok()?;
    serde_json::from_str(text.trim_start_matches(MARK)).ok()
}

/// What a registration says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Described {
    /// Its number at the forge.
    pub(super) id: Option<ForgeRunnerId>,
    /// Its name.
    pub(super) name: Option<String>,
    /// Where it is registered; one for a single job does not say.
    pub(super) url: Option<String>,
}

/// Reads the description of a registration.
pub(super) fn describe(settings: &[u8]) -> Option<Described> {
    let settings = parse(settings)?;
    let field = |wanted: &str| {
        settings.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let text = |wanted: &str| {
        field(wanted).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let id = field("agentId").and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    Some(Described { id: id.map(ForgeRunnerId), name: text("agentName"), url: text("gitHubUrl") })
}

/// A registration as it lies in a folder; none unless all of it is there.
pub(super) fn read(folder: &Path) -> Option<Files> {
    let file = |name: &str| {
        let bytes = read_bounded(&folder.join(name)).ok().filter(|bytes| !bytes.is_empty());
        Some((name.to_owned(), bytes?))
    };
    REGISTRATION.iter().map(|name| file(name)).collect()
}

/// Reads a small file; never through a link, which a job may have put there.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a registration into a folder, for its owner alone, and nothing of an earlier one.
pub(super) fn write(folder: &Path, files: &Files, owner: Owner) -> Result<(), String> {
    clean(folder)?;
    for (name, bytes) in files {
        let path = folder.join(name);
        write_private(&path, bytes, owner)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Writes a file anew that only its owner reads; it is there as a whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8], owner: Owner) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    remove(&fresh)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
    fs::rename(&fresh, path)
}

/// Removes a registration from a folder.
pub(super) fn clean(folder: &Path) -> Result<(), String> {
    for name in REGISTRATION.iter().chain(&MIGRATED) {
        let path = folder.join(name);
        remove(&path).map_err(|error| format!("cannot remove {}: {error}", path.display()))?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(files: &[(&str, &str)]) -> String {
        let packed: BTreeMap<&str, String> =
            files.iter().map(|(name, text)| (*name, STANDARD.encode(text))).collect();
        STANDARD.encode(serde_json::to_vec(&packed).unwrap())
    }

    #[test]
    fn a_registration_for_one_job_gets_the_work_folder() {
        let settings = "\u{feff}{\"AgentId\":\"77\",\"AgentName\":\"n\",\"WorkFolder\":\"_work\",\
                        \"gitHubUrl\":\"\",\"new\":{\"x\":1}}";
        let files =
            unpack(&blob(&[(".runner", settings), (".credentials", "{}")]), "/work").unwrap();
        let text = std::str::from_utf8(&files[".runner"]).unwrap();
        assert!(text.contains("\"WorkFolder\":\"/work\"") && !text.contains("_work"), "{text}");
        assert!(text.contains("\"new\":{\"x\":1}"), "unknown settings stay: {text}");
        let described = describe(&files[".runner"]).unwrap();
        assert_eq!(described.id, Some(ForgeRunnerId(77)));
        assert_eq!((described.name.as_deref(), described.url), (Some("n"), None));
    }

    #[test]
    fn a_broken_registration_is_refused_without_its_content() {
        let strange = blob(&[("../../etc/passwd", "canary"), (".runner", "{}")]);
        for broken in ["***", "e30=", &STANDARD.encode("[1]"), &strange, &blob(&[(".runner", "x")])]
        {
            let why = unpack(broken, "/work").unwrap_err();
            assert!(why.contains("broken") && !why.contains("canary"), "{why}");
        }
    }

    #[test]
    fn a_registration_is_written_for_its_owner_alone_and_read_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let owner = Owner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let files: Files =
            REGISTRATION.iter().map(|name| ((*name).to_owned(), b"{}".to_vec())).collect();
        fs::write(at.join(".credentials_migrated"), "old").unwrap();
        write(at, &files, owner).unwrap();
        assert_eq!(read(at), Some(files));
        assert!(!at.join(".credentials_migrated").exists());
        let mode = fs::metadata(at.join(".credentials_rsaparams")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(at.join(".credentials"), "").unwrap();
        assert_eq!(read(at), None, "an empty file is none");
        clean(at).unwrap();
        assert_eq!(fs::read_dir(at).unwrap().count(), 0);
        std::os::unix::fs::symlink("/etc/passwd", at.join(".runner")).unwrap();
        assert!(read_bounded(&at.join(".runner")).is_err(), "links are not followed");
    }
}
