//! A slot stays what it is while its containers come and go: its name, and a clean working folder.

use crate::docker::{PROJECT_LABEL, docker};
use crate::fleet::Fleet;

const TEN: &str = "profiles: {tiny: {cpus: 0.1, memory: 32MiB}}
pools: [{name: tiny, profile: tiny, count: 10, spares: 0, runner_name: 'tiny-{n}'}]
";

fn names(fleet: &Fleet) -> Vec<String> {
    let name = |runner: &serde_json::Value| runner["name"].as_str().unwrap_or_default().to_owned();
    fleet.runners().iter().map(name).collect()
}

fn work_volumes(fleet: &Fleet) -> usize {
    let filter = format!("label={PROJECT_LABEL}={}", fleet.project);
    let listed = docker(&["volume", "ls", "-q", "--filter", &filter]).ok().lines();
    listed.iter().filter(|name| name.ends_with("-work")).count()
}

/// Operators' pain 76: `count: 10` gives ten stable names, ten volumes, and the same ones after
/// `down` and `up`. The names are the same; a working folder is as new as its container.
#[test]
fn ten_runners_have_ten_names_and_folders_and_the_same_names_after_down_and_up() {
    let fleet = Fleet::up(TEN);
    let expected: Vec<String> = (1..=10).map(|number| format!("tiny-{number}")).collect();
    assert_eq!(names(&fleet), expected);
    assert_eq!(work_volumes(&fleet), 10);
    fleet.cli(&["down"]).ok();
    assert_eq!(work_volumes(&fleet), 0);
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(names(&fleet), expected);
    assert_eq!(work_volumes(&fleet), 10);
}

/// A tree that only root could remove, were it on the host.
const STUBBORN: &str = "mkdir -p tree/deep && touch tree/deep/file tree/.hidden && chmod -R a-w . \
                        && chmod 0 tree/deep";

/// Nothing of the last job is there, and everything can be written.
const CLEAN: &str = "ls -A; mkdir -p tree/deep && echo mine >tree/deep/file && cat tree/deep/file";

/// Operators' pain 41: a job that leaves a root-owned, read-only tree does not affect the next job
/// on that slot.
#[test]
fn a_tree_that_root_left_does_not_affect_the_next_job() {
    for (kind, user) in [("ephemeral: true", "10001:10001"), ("ephemeral: false", "0:0")] {
        let file = |user: &str| {
            format!(
                "profiles: {{light: {{user: '{user}'}}}}\n\
                 pools: [{{name: light, profile: light, spares: 0, {kind}}}]\n"
            )
        };
        let fleet = Fleet::up(&file("0:0"));
        fleet.job(STUBBORN).ok();
        fleet.edit(&file(user));
        fleet.cli(&["up", "-d"]).ok();
        fleet.settle(1);
        let next = fleet.job(CLEAN).ok();
        assert_eq!(next.word(), "mine", "{kind}: {next}");
    }
}
