//! Caches: what one-job runners keep for the next job, whose it is, and when it goes.

use std::time::Duration;

use crate::docker::{PROJECT_LABEL, docker};
use crate::fleet::Fleet;
use crate::process::{Output, wait_until};

/// Wheels of some size with no dependencies.
const WHEELS: &str = "ruff==0.6.9 numpy==2.1.1 scipy==1.14.1 pygments==2.18.0";

/// Downloads the wheels into the cache, unless they are there and whole, and says how many
/// milliseconds it took.
fn download() -> String {
    format!(
        "start=$(date +%s%N)
        get() {{ pip download --no-deps --disable-pip-version-check --progress-bar off \"$@\" {WHEELS}; }}
        get --no-index --find-links $WHEELS -d out 2>/dev/null || get -d $WHEELS || exit
        echo \"took $(( ($(date +%s%N) - start) / 1000000 ))\"
        for wheel in $WHEELS/*; do python3 -m zipfile -t $wheel || exit; done"
    )
}

fn lines_with(output: &Output, word: &str) -> usize {
    output.lines().iter().filter(|line| line.contains(word)).count()
}

fn took(output: &Output) -> Duration {
    let lines = output.lines();
    let number = lines.iter().find_map(|line| line.strip_prefix("took ")).expect("a time");
    Duration::from_millis(number.parse().expect("a number"))
}

/// The host's own certificates, for networks whose proxy inspects.
fn certificates() -> String {
    let named = ["PIP_CERT", "SSL_CERT_FILE"].into_iter().find_map(|name| std::env::var(name).ok());
    named.unwrap_or_else(|| "/etc/ssl/certs/ca-certificates.crt".to_owned())
}

/// Operators' pain 43: `cache:` in a profile gives named volumes with size limit and owner; the
/// second run of a sample job is at least five times faster in its download part, and a damaged
/// cache only costs time.
#[test]
fn the_second_job_downloads_nothing_and_a_damaged_cache_only_costs_time() {
    let fleet = Fleet::up(&format!(
        "ca: {}
profiles:
  standard: {{env: {{WHEELS: /work/.cache/wheels}}, cache: {{wheels: /work/.cache/wheels}}}}
pools: [{{name: standard, profile: standard}}]
",
        certificates()
    ));
    let first = fleet.job(&download()).ok();
    assert_eq!(lines_with(&first, "Downloading"), 4, "{first}");
    fleet.settle(2);
    let second = fleet.job(&download()).ok();
    assert_eq!(lines_with(&second, "Downloading"), 0, "{second}");
    assert_eq!(lines_with(&second, "Done testing"), 4, "{second}");
    let ratio = took(&first).as_secs_f64() / took(&second).as_secs_f64();
    println!("pip download: {:?}, then {:?}: {ratio:.1} times", took(&first), took(&second));
    fleet.settle(2);
    fleet.job("for wheel in $WHEELS/*; do echo broken >$wheel; done").ok();
    fleet.settle(2);
    let third = fleet.job(&download()).ok();
    assert_eq!(lines_with(&third, "Downloading"), 4, "{third}");
    assert_eq!(lines_with(&third, "Done testing"), 4, "{third}");
}

const TWO_POOLS: &str = "profiles:
  a: {cpus: 0.5, memory: 64MiB, cache: {data: {path: /work/.cache/data, size: 1MiB}}}
  b: {cpus: 0.5, memory: 64MiB, cache: {data: {path: /work/.cache/data, size: 1MiB}}}
pools:
  - {name: a, profile: a, spares: 0}
  - {name: b, profile: b, spares: 0}
";

fn job(fleet: &Fleet, profile: &str, script: &str) -> Output {
    let head = ["run", "--no-workspace", "--profile", profile, "--", "sh", "-c", script];
    let output = fleet.cli(&head).ok();
    fleet.settle(2);
    output
}

fn volumes(fleet: &Fleet) -> Vec<String> {
    let filter = format!("label={PROJECT_LABEL}={}", fleet.project);
    let mut names = docker(&["volume", "ls", "-q", "--filter", &filter]).ok().lines();
    names.retain(|name| name.contains(".cache."));
    names.sort();
    names
}

#[test]
fn a_cache_is_its_pools_alone_is_bounded_and_stays_until_down_with_volumes() {
    let fleet = Fleet::up(TWO_POOLS);
    let plan = fleet.cli(&["plan"]).ok();
    assert!(plan.out().contains("the jobs of pool a share its caches (data)"), "{plan}");
    let user = job(&fleet, "a", "echo kept >/work/.cache/data/note; stat -Lc %u /work/.cache/data");
    assert_eq!(user.word(), "10001");
    assert_eq!(job(&fleet, "a", "cat /work/.cache/data/note").word(), "kept");
    assert_eq!(job(&fleet, "b", "ls /work/.cache/data").word(), "");
    // Nor by the volume's own place: other generations and locks are the agent's.
    let closed = "( : >/.slate-caches/data/x ) 2>/dev/null && echo written; true";
    assert_eq!(job(&fleet, "a", closed).word(), "");

    job(&fleet, "a", "head -c 3000000 /dev/zero >/work/.cache/data/big");
    wait_until("the next job begins anew", || {
        job(&fleet, "a", "ls /work/.cache/data").word().is_empty()
    });
    wait_until("the large generation is gone", || {
        let runner = fleet.runners().into_iter().find(|runner| runner["pool"] == "a");
        let id = runner.and_then(|it| it["container"].as_str().map(str::to_owned));
        let listed = docker(&["exec", &id.unwrap_or_default(), "du", "-sk", "/.slate-caches/data"]);
        let size = listed.word().split_whitespace().next().and_then(|kib| kib.parse().ok());
        size.is_some_and(|kib: u64| kib < 1000)
    });

    let of = |pool: &str| format!("{}.cache.{pool}.data", fleet.project);
    assert_eq!(volumes(&fleet), [of("a"), of("b")]);
    job(&fleet, "b", "echo kept >/work/.cache/data/note");
    fleet.cli(&["down"]).ok();
    assert_eq!(volumes(&fleet), [of("a"), of("b")], "down keeps caches");
    docker(&["volume", "rm", &of("a")]).ok();
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(job(&fleet, "a", "touch /work/.cache/data/x; ls /work/.cache/data").word(), "x");
    assert_eq!(job(&fleet, "b", "cat /work/.cache/data/note").word(), "kept");
    fleet.cli(&["down", "-v"]).ok().says("removed 2 volumes of caches and registrations");
    assert!(volumes(&fleet).is_empty());
}

#[test]
fn a_changed_cache_replaces_the_runners() {
    let fleet = Fleet::up(TWO_POOLS);
    fleet.edit(&TWO_POOLS.replacen("size: 1MiB", "size: 2MiB", 1));
    let plan = fleet.cli(&["plan"]).expect_code(10);
    assert!(plan.out().contains("cache data at /work/.cache/data up to 1MiB -> "), "{plan}");
    let before = fleet.containers();
    fleet.cli(&["up", "-d"]).ok();
    let after = fleet.containers();
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
}
