//! Two runners of a pool, as two holders of the same volume.

use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::ids::{AttemptNo, JobId};
use crate::wire::message::JobRef;

struct World {
    folder: TempDir,
    cache: Cache,
}

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let volume = folder.path().join("volume");
    fs::create_dir(&volume).expect("a volume");
    let path = folder.path().join("home/.cache/pip");
    World { cache: Cache { size: 64 * 1024, volume, path }, folder }
}

fn order(job: u64) -> JobOrder {
    let own = fs::metadata("/proc/self").expect("this process");
    JobOrder {
        job: JobRef { job: JobId(job), attempt: AttemptNo(1) },
        command: vec!["true".to_owned()],
        env: BTreeMap::new(),
        uid: own.uid(),
        gid: own.gid(),
        workspace: None,
        reports: "/reports/a/b".to_owned(),
        timeout: Duration::from_secs(1),
        stop_grace: Duration::ZERO,
    }
}

fn fill(world: &World, bytes: usize) {
    fs::write(world.cache.path.join("wheel"), vec![7; bytes]).expect("written");
}

#[test]
fn what_a_job_writes_is_there_for_the_next_and_for_its_neighbour() {
    let world = world();
    let first = world.cache.give(&order(1)).expect("given");
    fill(&world, 100);
    let neighbour = Cache { path: world.folder.path().join("other"), ..world.cache.clone() };
    let _second = neighbour.give(&order(2)).expect("given");
    assert_eq!(fs::read(neighbour.path.join("wheel")).expect("read").len(), 100);
    drop(first);
    world.cache.tend().expect("tended");
    let _third = world.cache.give(&order(3)).expect("given again");
    assert!(world.cache.path.join("wheel").exists());
}

#[test]
fn a_cache_over_its_size_is_begun_anew_and_never_taken_from_a_running_job() {
    let world = world();
    let running = world.cache.give(&order(1)).expect("given");
    let old = fs::read_link(&world.cache.path).expect("a link");
    fill(&world, 100 * 1024);
    world.cache.tend().expect("tended");
    let next = Cache { path: world.folder.path().join("other"), ..world.cache.clone() };
    let _next = next.give(&order(2)).expect("given");
    assert!(!next.path.join("wheel").exists(), "the next job begins anew");
    world.cache.tend().expect("tended");
    assert!(old.join("wheel").exists(), "it was taken from a running job");
    drop(running);
    world.cache.tend().expect("tended");
    assert!(!old.exists(), "nobody uses it any more");
    assert_eq!(world.cache.generations().expect("listed"), [2]);
}

#[test]
fn another_users_cache_is_not_used() {
    let world = world();
    drop(world.cache.give(&order(1)).expect("given"));
    let other = JobOrder { uid: order(1).uid + 1, ..order(2) };
    // Only root may give a folder away.
    let given = world.cache.give(&other);
    assert_eq!(given.is_ok(), order(1).uid == 0);
    if given.is_ok() {
        assert_eq!(world.cache.generations().expect("listed"), [1, 2]);
    }
}

#[test]
fn what_lies_at_the_path_already_is_left_alone_and_said() {
    let world = world();
    fs::create_dir_all(&world.cache.path).expect("a folder");
    drop(world.cache.give(&order(1)).expect("an empty folder is in nobody's way"));
    fs::remove_file(&world.cache.path).expect("a link");
    fs::create_dir_all(world.cache.path.join("of the image")).expect("a folder");
    let refused = world.cache.give(&order(2)).expect_err("refused");
    assert!(refused.contains("choose a path for it"), "{refused}");
    assert!(world.cache.path.join("of the image").exists());
}

#[test]
fn a_volume_that_was_emptied_by_hand_is_filled_again() {
    let world = world();
    drop(world.cache.give(&order(1)).expect("given"));
    fs::remove_dir_all(&world.cache.volume).expect("removed");
    fs::create_dir(&world.cache.volume).expect("made");
    drop(world.cache.give(&order(2)).expect("given again"));
    assert!(world.cache.path.is_dir());
}

#[test]
fn jobs_that_begin_at_once_share_one_generation() {
    let world = world();
    std::thread::scope(|scope| {
        let job = |number: u64| {
            let path = world.folder.path().join(format!("path-{number}"));
            let cache = Cache { path, ..world.cache.clone() };
            scope.spawn(move || cache.give(&order(number)).map(drop))
        };
        let jobs: Vec<_> = (1..9).map(job).collect();
        for job in jobs {
            job.join().expect("no panic").expect("given");
        }
    });
    assert_eq!(world.cache.generations().expect("listed"), [1]);
}

#[test]
fn the_list_is_read_and_nonsense_refused() {
    let cache = Cache { size: 7, volume: "/.slate-caches/pip".into(), path: "/a b".into() };
    assert_eq!(parse("7\t/.slate-caches/pip\t/a b\n"), Some(vec![cache]));
    assert_eq!(parse(""), Some(Vec::new()));
    for bad in ["7", "x\t/a\t/b", "7\t/a"] {
        assert_eq!(parse(bad), None, "{bad}");
    }
}
