//! What a runner's container is, as `docker inspect` and a job inside see it.

use serde_json::{Value, json};

use crate::docker::{docker, inspect};
use crate::fleet::{Fleet, NO_SPARE};

const MIB: u64 = 1024 * 1024;

/// Rights that are left: `CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `KILL`, `SETGID`, `SETUID`.
const BOUNDING_SET: &str = "00000000000000eb";

const OWN_PROFILE: &str = "
profiles:
  own: {cpus: 0.5, memory: 300MiB, pids: 100, shm: 32MiB, user: '12345:12345', labels: [mine]}
pools: [{name: own, profile: own, spares: 0}]
";

fn only_container(fleet: &Fleet) -> Value {
    inspect(&fleet.containers()[0])
}

#[test]
fn limits_are_those_of_the_profile() {
    let fleet = Fleet::up(OWN_PROFILE);
    let host = only_container(&fleet)["HostConfig"].clone();
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["Memory"], 300 * MIB);
    assert_eq!(host["MemorySwap"], 300 * MIB, "swap beside the memory");
    assert_eq!(host["PidsLimit"], 100);
    assert_eq!(host["ShmSize"], 32 * MIB);
}

#[test]
fn limits_hold_inside() {
    let fleet = Fleet::up(OWN_PROFILE);
    let memory = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null ||
                  cat /sys/fs/cgroup/memory.max";
    assert_eq!(fleet.job(memory).ok().word(), (300 * MIB).to_string());
    let crowd = "for i in $(seq 150); do sleep 60 & done";
    let crowded = fleet.cli(&["run", "--no-workspace", "--", "bash", "-c", crowd]);
    assert_ne!(crowded.code, 0, "150 processes under a limit of 100: {crowded}");
    let greedy = "python3 -c 'len(bytearray(400 << 20))'";
    assert_eq!(fleet.job(greedy).code, 137);
}

#[test]
fn a_runner_has_six_rights_and_gets_no_new_ones() {
    let fleet = Fleet::up(NO_SPARE);
    let host = only_container(&fleet)["HostConfig"].clone();
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(
        host["CapAdd"],
        json!(["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL"])
    );
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
    assert_eq!(host["Privileged"], false);
    let status = fleet.job("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status").ok().out();
    let value = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().last().unwrap_or_default().to_owned()
    };
    assert_eq!(value("CapEff"), "0000000000000000", "rights of the job itself");
    assert_eq!(value("CapBnd"), BOUNDING_SET);
    assert_eq!(value("NoNewPrivs"), "1");
}

#[test]
fn nothing_of_the_host_is_inside_but_the_fleets_own() {
    let fleet = Fleet::up(NO_SPARE);
    let container = only_container(&fleet);
    let own = fleet.folder().display().to_string();
    for mount in container["Mounts"].as_array().expect("mounts") {
        let source = mount["Source"].as_str().expect("a source");
        let is_own = source.starts_with(&own) || mount["Type"] == "volume";
        assert!(is_own, "a path of the host: {mount}");
        assert!(!source.ends_with("docker.sock"), "the engine's socket: {mount}");
    }
    let found = fleet.job("ls -d /run/docker.sock /var/run/docker.sock 2>/dev/null | wc -l");
    assert_eq!(found.ok().word(), "0");
    assert_eq!(container["HostConfig"]["Devices"], Value::Null);
    assert_eq!(container["HostConfig"]["PidMode"], "");
}

#[test]
fn a_runner_has_its_own_network_volume_and_labels() {
    let fleet = Fleet::up(OWN_PROFILE);
    let container = only_container(&fleet);
    let project = &fleet.project;
    let network = format!("slate_{project}");
    assert_eq!(container["HostConfig"]["NetworkMode"], network);
    let label = |object: &Value, name: &str| object[format!("dev.slate.fleet.{name}")].clone();
    let labels = &container["Config"]["Labels"];
    assert_eq!(label(labels, "project"), *project);
    assert_eq!(label(labels, "pool"), "own");
    assert_eq!(label(labels, "profile"), "own");
    assert_eq!(label(labels, "labels"), "mine");
    let mounts = container["Mounts"].as_array().expect("mounts");
    let work = mounts.iter().find(|mount| mount["Destination"] == "/work").expect("/work");
    let volume = inspect(work["Name"].as_str().expect("a volume"));
    assert_eq!(label(&volume["Labels"], "project"), *project);
    assert_eq!(label(&inspect(&network)["Labels"], "project"), *project);
}

#[test]
fn what_the_agent_logs_is_bounded() {
    let fleet = Fleet::up(NO_SPARE);
    let log = only_container(&fleet)["HostConfig"]["LogConfig"].clone();
    assert_eq!(log["Type"], "local");
    assert_eq!(log["Config"]["max-size"], "1m");
    assert_eq!(log["Config"]["max-file"], "2");
}

#[test]
fn runners_cannot_reach_each_other() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 2, spares: 0}]\n");
    let [server, client] = fleet.containers().try_into().expect("two containers");
    let addresses = inspect(&server)["NetworkSettings"]["Networks"].clone();
    let own = &addresses[format!("slate_{}", fleet.project)];
    let address = own["IPAddress"].as_str().expect("an address").to_owned();
    docker(&["exec", "-d", &server, "python3", "-m", "http.server", "8099"]).ok();
    let reach = |from: &str, to: &str| {
        let script = format!(
            "import socket; socket.setdefaulttimeout(2); socket.create_connection(('{to}', 8099))"
        );
        docker(&["exec", from, "python3", "-c", &script]).code == 0
    };
    crate::process::wait_until("the server listens", || reach(&server, "127.0.0.1"));
    assert!(!reach(&client, &address), "one runner reaches another");
}
