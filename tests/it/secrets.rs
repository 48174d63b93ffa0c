//! What a job cannot read, and where a secret of `.env` never turns up.

use std::fs;
use std::path::Path;

use crate::docker::docker;
use crate::fleet::{Fleet, NO_SPARE};
use crate::process::wait_until;

const CANARY: &str = "canary-b7f3a91c55d2";

#[test]
fn a_job_is_not_root_and_cannot_read_the_agents_secrets() {
    let fleet = Fleet::up(NO_SPARE);
    assert_eq!(fleet.job("id -u; id -g").ok().lines(), ["10001", "10001"]);
    let secrets = "for path in /run/slate/enrol.json /proc/1/environ /proc/1/mem /proc/1/maps; do
            head -c 1 $path >/dev/null 2>&1 && echo \"$path can be read\"
        done
        ls /run/slate 2>/dev/null
        ls /proc/1/fd 2>/dev/null
        kill -0 1 2>/dev/null && echo 'the agent can be signalled'
        true";
    assert_eq!(fleet.job(secrets).ok().out(), "");
}

#[test]
fn a_job_cannot_write_where_other_runners_read() {
    let fleet = Fleet::up(NO_SPARE);
    let places = "for place in /.slate /run/slate /proc/meminfo /proc/cpuinfo; do
            ( : >$place/x ) 2>/dev/null || ( : >$place ) 2>/dev/null && echo \"$place can be written\"
        done
        true";
    assert_eq!(fleet.job(places).ok().out(), "");
    // A job that runs as root is still without the right to mount or to change the clock.
    let rootly =
        "profiles: {light: {user: '0:0'}}\npools: [{name: light, profile: light, spares: 0}]\n";
    let root = Fleet::beside(rootly);
    root.cli(&["up", "-d"]).ok();
    let tries = "id -u
        mount -t tmpfs none /mnt 2>/dev/null && echo mounted
        mknod /tmp/disk b 8 0 2>/dev/null && echo 'made a device'
        date -s 2000-01-01 >/dev/null 2>&1 && echo 'set the clock'
        ( : >/.slate/slate-runner ) 2>/dev/null && echo 'changed the agent'
        true";
    assert_eq!(root.job(tries).ok().out(), "0\n");
}

#[test]
fn a_token_of_the_env_file_turns_up_nowhere() {
    let fleet = Fleet::new(
        "pools:
  - name: light
    profile: light
",
    );
    fleet.write(".env", format!("RUNNER_TOKEN_1={CANARY}\n"));
    fs::set_permissions(fleet.path(".env"), mode(0o600)).expect("its mode");
    fleet.cli(&["up", "-d"]).ok();
    let seen = fleet.cli(&["run", "--", "sh", "-c", "env; ls -a"]).ok();
    assert!(!seen.out().contains(CANARY), "in the job's environment: {seen}");
    assert!(!seen.lines().contains(&".env".to_owned()), "sent to the runner: {seen}");
    fleet.settle(2);
    for container in fleet.containers() {
        for told in [docker(&["inspect", &container]), docker(&["logs", &container])] {
            assert!(!format!("{}{}", told.out(), told.err()).contains(CANARY), "{told}");
        }
    }
    for args in [&["config"][..], &["events"], &["jobs", "--format", "json"], &["ps"]] {
        let told = fleet.cli(args).ok();
        assert!(!format!("{}{}", told.out(), told.err()).contains(CANARY), "{told}");
    }
    let found = files_with(&fleet.path(".slate"), CANARY.as_bytes());
    assert!(found.is_empty(), "the token is in {found:?}");
}

#[test]
fn secret_variables_are_masked_where_the_file_is_printed() {
    let fleet = Fleet::new(
        "profiles: {light: {env: {PLAIN: '${PLAIN}', KEY: '${API_TOKEN}'}}}
pools: [{name: light, profile: light}]\n",
    );
    fleet.write(".env", format!("PLAIN=visible\nAPI_TOKEN={CANARY}\n"));
    fs::set_permissions(fleet.path(".env"), mode(0o600)).expect("its mode");
    let shown = fleet.cli(&["config"]).ok();
    assert!(shown.out().contains("visible"), "{shown}");
    assert!(shown.out().contains("***") && !shown.out().contains(CANARY), "{shown}");
}

#[test]
fn the_state_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let fleet = Fleet::up(NO_SPARE);
    let mode_of = |name: &str| {
        let found = fs::metadata(fleet.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode_of(".slate"), 0o700);
    assert_eq!(mode_of(".slate/api.sock"), 0o600);
    wait_until("the CA is there", || fleet.path(".slate/ca").exists());
    for path in walk(&fleet.path(".slate/ca")) {
        let found = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(found & 0o077, 0, "others can read {}", path.display());
    }
}

/// A file's mode.
pub fn mode(bits: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(bits)
}

/// Every file below a folder, or the file itself.
fn walk(path: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    entries.flatten().flat_map(|entry| walk(&entry.path())).collect()
}

/// The files below a folder that hold these bytes.
pub fn files_with(folder: &Path, needle: &[u8]) -> Vec<std::path::PathBuf> {
    let has = |path: &std::path::PathBuf| {
        let bytes = if path.is_file() { fs::read(path).unwrap_or_default() } else { Vec::new() };
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    walk(folder).into_iter().filter(has).collect()
}
