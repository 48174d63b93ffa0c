//! Runs, newest first, and what their result files say.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::store::{Entry, EntryKind, Found, Listing, Place, Store, StoreError};
use super::{
    FindingCounts, INDEX, RunDetails, RunReport, TOLD_MAX, TestCounts, Unread, junit, sarif,
};
use crate::ids::is_folder_name;
use crate::units::{Bytes, Time};

/// Files and folders of a run that are looked at; a large Playwright report has a few thousand.
const LOOKED_AT_MAX: usize = 20_000;
/// Files of results that are read of a run.
pub const RESULTS_MAX: usize = 64;
/// Largest file of results: a hundred thousand tests.
const RESULT_SIZE_MAX: u64 = 16 * 1024 * 1024;
/// All of a run's together.
const RESULTS_SIZE_MAX: u64 = 64 * 1024 * 1024;
/// Pages of a run that are told.
const PAGES_MAX: usize = 50;
/// Runs whose results are remembered.
const REMEMBERED_MAX: usize = 1000;

/// The store's runs. What their result files say is remembered for as long as these stay as they
/// are.
#[derive(Debug, Clone, Default)]
pub struct Runs(Arc<Mutex<BTreeMap<Place, Remembered>>>);

#[derive(Debug)]
struct Remembered {
    results: Vec<Candidate>,
    details: RunDetails,
}

/// A file that looks like one of results.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    place: Place,
    modified_ns: u128,
    size: Bytes,
}

/// What a walk through a run's folder finds.
#[derive(Debug, Default)]
struct Look {
    looked_at: usize,
    is_partial: bool,
    files: usize,
    bytes: u64,
    pages: Vec<String>,
    results: Vec<Candidate>,
}

impl Runs {
    /// The newest runs, newest first: of one workflow, or of all; and whether there are more.
    ///
    /// # Errors
    /// [`StoreError`]; a store or workflow that is not there has no runs.
    pub fn newest(
        &self,
        store: &Store,
        workflow: Option<&str>,
        most: usize,
    ) -> Result<(Vec<RunReport>, bool), StoreError> {
        let (mut found, mut is_partial) = (Vec::new(), false);
        let workflows = match workflow {
            Some(name) if is_folder_name(name) => vec![name.to_owned()],
            Some(_) => Vec::new(),
            None => {
                let listing = folder_of(store, &Place::default())?;
                is_partial |= listing.is_partial;
                named(listing).into_iter().map(|(name, _)| name).collect()
            }
        };
        for workflow in workflows {
            let Some(place) = Place::parse(&workflow) else { continue };
            let listing = folder_of(store, &place)?;
            is_partial |= listing.is_partial;
            let runs = named(listing).into_iter();
            found.extend(runs.map(|(run, entry)| (entry.modified_ns, workflow.clone(), run)));
        }
        found.sort_by(|one, other| other.cmp(one));
        is_partial |= found.len() > most;
        let mut runs = Vec::new();
        for (_, workflow, run) in found.into_iter().take(most) {
            match self.details(store, &workflow, &run) {
                Ok(details) => runs.push(details.run),
                // Removed meanwhile.
                Err(StoreError::NoSuchThing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((runs, is_partial))
    }

    /// The workflows, that of the newest run first, with the time of it.
    ///
    /// # Errors
    /// [`StoreError`]; a store that is not there has none.
    pub fn workflows(&self, store: &Store) -> Result<Vec<(String, Time)>, StoreError> {
        let mut found = Vec::new();
        for (workflow, entry) in named(folder_of(store, &Place::default())?) {
            let Some(place) = Place::parse(&workflow) else { continue };
            let runs = named(folder_of(store, &place)?);
            let newest = runs.iter().map(|(_, run)| run.at()).max().unwrap_or(entry.at());
            found.push((workflow, newest));
        }
        found.sort_by(|(one, at), (other, then)| then.cmp(at).then(one.cmp(other)));
        Ok(found)
    }

    /// One run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn details(
        &self,
        store: &Store,
        workflow: &str,
        run_id: &str,
    ) -> Result<RunDetails, StoreError> {
        let none = || StoreError::NoSuchThing { path: [workflow, run_id].iter().collect() };
        let place = Place::of_run(workflow, run_id).ok_or_else(none)?;
        let Found::Folder(listing) = store.find(&place)? else { return Err(none()) };
        let (at, mut look) = (listing.at, Look::default());
        look.through(store, &place, listing)?;
        look.results.sort();
        look.is_partial |= look.results.len() > RESULTS_MAX;
        look.results.truncate(RESULTS_MAX);
        let results = std::mem::take(&mut look.results);
        let run = RunReport {
            workflow: workflow.to_owned(),
            run_id: run_id.to_owned(),
            at,
            files: look.files,
            bytes: Bytes(look.bytes),
            is_partial: look.is_partial,
            pages: look.pages,
            tests: None,
            findings: None,
            url: None,
        };
        if let Some(known) = self.known(&place, &results) {
            let counts = (known.run.tests, known.run.findings);
            return Ok(RunDetails {
                run: RunReport { tests: counts.0, findings: counts.1, ..run },
                ..known
            });
        }
        let details = read(store, run, &results)?;
        self.remember(place, results, &details);
        Ok(details)
    }

    fn known(&self, place: &Place, results: &[Candidate]) -> Option<RunDetails> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(place).filter(|known| known.results == results)?;
        Some(known.details.clone())
    }

    fn remember(&self, place: Place, results: Vec<Candidate>, details: &RunDetails) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(place, Remembered { results, details: details.clone() });
    }
}

/// A folder's listing; an empty one where there is none.
fn folder_of(store: &Store, place: &Place) -> Result<Listing, StoreError> {
    let none = Listing { at: Time(0), entries: Vec::new(), is_partial: false };
    match store.find(place) {
        Ok(Found::Folder(listing)) => Ok(listing),
        Ok(Found::File(..)) | Err(StoreError::NoSuchThing { .. }) => Ok(none),
        Err(error) => Err(error),
    }
}

/// The folders that workflows and runs can have.
fn named(listing: Listing) -> Vec<(String, Entry)> {
    let folders = listing.entries.into_iter().filter(|it| it.kind == EntryKind::Folder);
    let named = folders.filter_map(|it| Some((it.name.to_str()?.to_owned(), it)));
    named.filter(|(name, _)| is_folder_name(name)).collect()
}

impl Look {
    /// Looks through a folder, and the folders in it.
    fn through(&mut self, store: &Store, run: &Place, listing: Listing) -> Result<(), StoreError> {
        // One listing at a time: each may be as large as they get.
        let (mut waiting, mut first) = (vec![run.clone()], Some(listing));
        while let Some(place) = waiting.pop() {
            let listing = match first.take() {
                Some(listing) => listing,
                None => folder_of(store, &place)?,
            };
            self.is_partial |= listing.is_partial;
            for entry in listing.entries {
                if self.looked_at == LOOKED_AT_MAX {
                    self.is_partial = true;
                    return Ok(());
                }
                self.looked_at += 1;
                let here = place.join(&entry.name);
                match entry.kind {
                    EntryKind::Folder => waiting.push(here),
                    EntryKind::File => self.file(run, here, &entry),
                }
            }
        }
        self.pages.sort();
        Ok(())
    }

    fn file(&mut self, run: &Place, place: Place, entry: &Entry) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(entry.size.0);
        let name = entry.name.to_string_lossy().to_ascii_lowercase();
        if name == INDEX && self.pages.len() < PAGES_MAX {
            self.pages.push(relative(run, &place).trim_end_matches(INDEX).to_owned());
        }
        let is_result = [".xml", ".sarif", ".sarif.json"].iter().any(|end| name.ends_with(end));
        // One more than are read, so that it is known that there are more.
        if is_result && self.results.len() <= RESULTS_MAX {
            let Entry { modified_ns, size, .. } = *entry;
            self.results.push(Candidate { place, modified_ns, size });
        }
    }
}

/// A path from the run on, for people to read.
fn relative(run: &Place, place: &Place) -> String {
    let names = place.names().iter().skip(run.names().len());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    names.join("/")
}

/// Reads the files of results.
fn read(store: &Store, run: RunReport, results: &[Candidate]) -> Result<RunDetails, StoreError> {
    let mut details = RunDetails {
        run,
        failures: Vec::new(),
        worst: Vec::new(),
        sources: Vec::new(),
        unread: Vec::new(),
    };
    let top = Place::of_run(&details.run.workflow, &details.run.run_id).unwrap_or_default();
    let mut left = RESULTS_SIZE_MAX;
    for candidate in results {
        let path = relative(&top, &candidate.place);
        let size = candidate.size.0;
        if size > RESULT_SIZE_MAX.min(left) {
            let most = Bytes(RESULT_SIZE_MAX);
            let why = format!(
                "it has {}; {most} of one and {} of all are read",
                candidate.size,
                Bytes(RESULTS_SIZE_MAX)
            );
            details.unread.push(Unread { path, why });
            continue;
        }
        left -= size;
        let bytes = match store.find(&candidate.place) {
            Ok(Found::File(file, _)) => {
                let mut bytes = Vec::new();
                // It may have grown meanwhile.
                match file.take(RESULT_SIZE_MAX).read_to_end(&mut bytes) {
                    Ok(_) => bytes,
                    Err(error) => {
                        details.unread.push(Unread { path, why: error.to_string() });
                        continue;
                    }
                }
            }
            Ok(Found::Folder(_)) | Err(StoreError::NoSuchThing { .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Err(why) = details.take(&path, &bytes) {
            details.unread.push(Unread { path, why });
        }
    }
    details.worst.sort_by_key(|finding| finding.level);
    details.worst.truncate(TOLD_MAX);
    Ok(details)
}

impl RunDetails {
    /// Adds what a file says.
    fn take(&mut self, path: &str, bytes: &[u8]) -> Result<(), String> {
        if path.to_ascii_lowercase().ends_with(".xml") {
            let most = TOLD_MAX - self.failures.len().min(TOLD_MAX);
            let text = String::from_utf8_lossy(bytes);
            let Some(found) = junit::read(&text, path, most)? else { return Ok(()) };
            self.run.tests.get_or_insert_with(TestCounts::default).add(found.counts);
            self.failures.extend(found.failures);
        } else {
            let found = sarif::read(bytes, path, TOLD_MAX)?;
            self.run.findings.get_or_insert_with(FindingCounts::default).add(found.counts);
            self.worst.extend(found.worst);
        }
        self.sources.push(path.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const JUNIT: &str = "<testsuite><testcase name='a'/><testcase name='b'><failure \
                         message='no'/></testcase></testsuite>";
    const SARIF: &str =
        r#"{"runs": [{"results": [{"level": "error", "message": {"text": "x"}}]}]}"#;

    fn write(root: &Path, path: &str, text: &str) -> std::io::Result<()> {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(path, text)
    }

    fn age(root: &Path, path: &str, hours: u64) -> std::io::Result<()> {
        let at = SystemTime::now() - Duration::from_secs(3600 * hours);
        fs::File::open(root.join(path))?.set_modified(at)
    }

    #[test]
    fn runs_are_listed_newest_first_with_what_their_results_say() -> Outcome {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        write(root, "ci/1/html/index.html", "<p>")?;
        write(root, "ci/1/junit.xml", JUNIT)?;
        write(root, "ci/1/more/junit.xml", JUNIT)?;
        write(root, "ci/1/coverage.xml", "<coverage/>")?;
        write(root, "ci/1/broken.xml", "<testsuite>")?;
        write(root, "lint/a/ruff.sarif", SARIF)?;
        write(root, "ci/2/index.html", "<p>")?;
        write(root, ".git/x/y", "not a run")?;
        write(root, "ci/a b/y", "not a run")?;
        for (path, hours) in [("ci/1", 3), ("lint/a", 2), ("ci/2", 1)] {
            age(root, path, hours)?;
        }
        let (store, runs) = (Store::new(root.to_owned()), Runs::default());
        let (all, is_partial) = runs.newest(&store, None, 10)?;
        let names: Vec<String> =
            all.iter().map(|it| format!("{}/{}", it.workflow, it.run_id)).collect();
        assert_eq!(
            (names, is_partial),
            (vec!["ci/2".into(), "lint/a".into(), "ci/1".into()], false)
        );
        let (newest, is_partial) = runs.newest(&store, Some("ci"), 1)?;
        assert_eq!((newest.len(), is_partial), (1, true));
        assert_eq!(newest.first().map(|it| it.pages.clone()), Some(vec![String::new()]));
        assert_eq!(runs.newest(&store, Some("../ci"), 1)?.0, []);
        let workflows = runs.workflows(&store)?;
        let names: Vec<&str> = workflows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ci", "lint"]);

        let first = runs.details(&store, "ci", "1")?;
        assert_eq!(
            first.run.tests,
            Some(TestCounts { passed: 2, failed: 2, skipped: 0, took_ms: 0 })
        );
        assert_eq!(first.run.pages, ["html/"]);
        assert_eq!(first.sources, ["junit.xml", "more/junit.xml"]);
        assert_eq!(first.failures.len(), 2);
        let unread: Vec<&str> = first.unread.iter().map(|it| it.path.as_str()).collect();
        assert_eq!((unread, first.run.files), (vec!["broken.xml"], 5));
        let lint = runs.details(&store, "lint", "a")?;
        assert_eq!(lint.run.findings.map(|it| it.error), Some(1));
        Ok(())
    }

    #[test]
    fn results_are_read_again_when_they_change_and_only_then() -> Outcome {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        write(root, "ci/1/junit.xml", JUNIT)?;
        let (store, runs) = (Store::new(root.to_owned()), Runs::default());
        let before = runs.details(&store, "ci", "1")?;
        write(root, "ci/1/other.txt", "no result")?;
        let known = runs.details(&store, "ci", "1")?;
        assert_eq!((known.run.tests, known.run.files), (before.run.tests, 2));
        write(root, "ci/1/junit.xml", &JUNIT.replace("failure", "skipped"))?;
        let after = runs.details(&store, "ci", "1")?;
        assert_eq!(after.run.tests.map(|it| (it.failed, it.skipped)), Some((0, 1)));
        Ok(())
    }

    #[test]
    fn a_store_that_is_not_there_has_no_runs() -> Outcome {
        let folder = tempfile::tempdir()?;
        let (store, runs) = (Store::new(folder.path().join("none")), Runs::default());
        assert_eq!(runs.newest(&store, None, 10)?, (Vec::new(), false));
        assert!(runs.details(&store, "ci", "1").is_err());
        Ok(())
    }

    #[test]
    fn results_beyond_the_bounds_are_named_and_not_read() -> Outcome {
        let folder = tempfile::tempdir()?;
        write(folder.path(), "ci/1/junit.xml", "")?;
        let large = fs::File::options().write(true).open(folder.path().join("ci/1/junit.xml"))?;
        large.set_len(RESULT_SIZE_MAX + 1)?;
        let details = Runs::default().details(&Store::new(folder.path().into()), "ci", "1")?;
        assert_eq!((details.run.tests, details.unread.len()), (None, 1));
        Ok(())
    }
}
