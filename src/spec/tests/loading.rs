//! Accepted files: defaults, variables, merging, masking.

use super::*;
use crate::units::GpuMib;

const BASE: &str = "version: 1\npools: [{name: a, profile: light}]\n";

#[test]
fn a_minimal_file_gets_every_default() {
    let spec = spec_of(BASE);
    assert_eq!(spec.project.as_str(), "slate", "the folder's name");
    assert_eq!(spec.limits.max_parallel_workflows, 8);
    assert_eq!(spec.limits.task_timeout, Duration::from_secs(1800));
    assert_eq!(spec.limits.scale_max, 50);
    assert_eq!(spec.limits.queue_max, 100_000);
    assert_eq!(spec.limits.log_max, Bytes::mib(64));
    assert_eq!(spec.limits.workspace_max, Bytes::mib(512));
    assert_eq!(spec.limits.disk_floor, Bytes::mib(512));
    assert_eq!(spec.retention.logs_max, Bytes::gib(10));
    assert_eq!(spec.limits.overcommit_memory, Overcommit::Refuse);
    assert_eq!(spec.reports.path, PathBuf::from("/srv/slate/reports"));
    assert_eq!(spec.reports.keep, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(spec.reports.sharing, ReportSharing::Own);
    assert_eq!(spec.task_types.len(), 4);
    let pool = spec.pools.first().expect("there is one pool");
    assert_eq!((pool.size, pool.reuse, pool.spares), (PoolSize::Fixed(1), Reuse::OneJob, 1));
    let light = &spec.profiles[&ProfileName::new("light")];
    assert_eq!(light.image.as_str(), "slate-runner:latest");
    assert_eq!((light.user, light.pids), (JobUser { uid: 10_001, gid: 10_001 }, 1024));
    assert_eq!((light.shm, light.stop_grace), (Bytes::mib(256), Duration::from_secs(10)));
}

#[test]
fn spares_are_kept_only_where_they_can_help() {
    let text = "\
version: 1
pools:
  - {name: a, profile: light}
  - {name: b, profile: light, count: 0}
  - {name: c, profile: light, ephemeral: false}
  - {name: d, profile: gpu_light}
  - {name: e, profile: light, spares: 3}
  - {name: f, profile: light, max_runners: 4}
";
    let spares: Vec<u32> = spec_of(text).pools.iter().map(|pool| pool.spares).collect();
    assert_eq!(spares, [1, 0, 0, 0, 3, 1]);
}

#[test]
fn an_elastic_pool_has_specification_4s_values() {
    let text = "\
version: 1
pools:
  - name: default
    min_runners: 2
    max_runners: 20
    scale_up_threshold: 5
    scale_up_delay: 30s
    scale_down_delay: 10m
    instance_type: m5.large
";
    let spec = spec_of(text);
    let pool = spec.pools.first().expect("there is one pool");
    let elastic = Elastic {
        min: 2,
        max: 20,
        scale_up_threshold: 5,
        scale_up_delay: Duration::from_secs(30),
        scale_down_delay: Duration::from_secs(600),
        warm: 0,
    };
    assert_eq!(pool.size, PoolSize::Elastic(elastic));
    let profile = &spec.profiles[&pool.profile];
    assert_eq!(pool.profile.as_str(), "m5-large");
    assert_eq!((profile.cpus, profile.memory), (MilliCpu::cpus(2), Bytes::gib(8)));
    let short =
        "version: 1\npools: [{name: default, profile: light, min_runners: 2, max_runners: 20}]\n";
    assert_eq!(spec_of(short).pools.first().map(|pool| pool.size), Some(pool.size));
}

#[test]
fn a_locked_profile_takes_settings_and_more_labels() {
    let text = format!(
        "\
{BASE}profiles:
  light:
    image: python:3.12
    env: [A=1]
    labels: [more, slate]
    user: 1:2
    cpus: 1
    memory: 512m
    pids: 64
    shm: 64m
    stop_grace: 1m
"
    );
    let spec = spec_of(&text);
    let light = &spec.profiles[&ProfileName::new("light")];
    assert_eq!(light.labels, ["self-hosted", "slate", "light", "cpu-only", "more"]);
    assert_eq!((light.cpus, light.memory), (MilliCpu::cpus(1), Bytes::mib(512)));
    assert_eq!((light.shm, light.pids), (Bytes::mib(64), 64));
    assert_eq!(light.user, JobUser { uid: 1, gid: 2 });
    assert_eq!(light.env.get("A").map(String::as_str), Some("1"));
    assert_eq!(light.image.as_str(), "python:3.12");
}

/// Operators' pain 75: a pool takes any set of labels, with the usual ones on or off.
#[test]
fn an_own_profile_has_labels_of_its_kind_unless_it_lists_its_own() {
    let text = format!(
        "\
{BASE}profiles:
  a: {{cpus: 0.5, memory: 1GiB}}
  b: {{cpus: '2', memory: 1GiB, gpu_memory: 4GiB}}
  c: {{cpus: 1, memory: 1GiB, labels: [x], gpu_memory: 10, gpu_exclusive: true}}
"
    );
    let spec = spec_of(&text);
    let profile = |name: &str| &spec.profiles[&ProfileName::new(name)];
    assert_eq!(profile("a").labels, ["self-hosted", "slate", "a", "cpu-only"]);
    assert_eq!(profile("b").labels, ["self-hosted", "slate", "b", "gpu", "cuda"]);
    assert_eq!(profile("c").labels, ["x"]);
    assert_eq!(profile("a").cpus, MilliCpu(500));
    let shared = GpuDemand { memory: GpuMib(4096), sharing: GpuSharing::Shared };
    assert_eq!(profile("b").gpu, Some(shared));
    assert_eq!(profile("c").gpu.map(|gpu| gpu.sharing), Some(GpuSharing::Exclusive));
}

#[test]
fn variables_follow_compose() {
    let env = [("SET", "value"), ("EMPTY", ""), ("N", "3"), ("NESTED", "${SET}")];
    let table = [
        ("$SET", "value"),
        ("${SET}", "value"),
        ("a-${SET}-b$SET", "a-value-bvalue"),
        ("${UNSET}", ""),
        ("${SET:-d}", "value"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${UNSET:-d}", "d"),
        ("${UNSET-d}", "d"),
        ("${UNSET:-}", ""),
        ("${SET:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${UNSET+x}", ""),
        ("${SET:?no}", "value"),
        ("${EMPTY?no}", ""),
        ("${UNSET:-${SET}}", "value"),
        ("${UNSET:-a${UNSET:-b${N}}c}d", "ab3cd"),
        ("${UNSET:-$$}", "$"),
        ("${SET:-${UNSET:?not read}}", "value"),
        ("$$SET $${SET}", "$SET ${SET}"),
        ("${NESTED}", "${SET}"),
        ("100$$", "100$"),
    ];
    for (template, expected) in table {
        let text = format!("{BASE}profiles: {{light: {{env: {{A: '{template}'}}}}}}\n");
        let loaded = load_all(&[&text], &env).unwrap_or_else(|found| panic!("{template}\n{found}"));
        let light = &loaded.spec.profiles[&ProfileName::new("light")];
        assert_eq!(light.env.get("A").map(String::as_str), Some(expected), "{template}");
    }
}

#[test]
fn bad_variables_are_refused_with_what_would_be_right() {
    let deep = format!("{}x{}", "${A:-".repeat(40), "}".repeat(40));
    let table = [
        ("${UNSET:?say how many}", "the variable `UNSET` is needed: say how many"),
        ("${UNSET?}", "the variable `UNSET` is needed: it has no value"),
        ("${EMPTY:?}", "the variable `EMPTY` is needed: it has no value"),
        ("${UNSET:-${OTHER:?deep}}", "the variable `OTHER` is needed: deep"),
        ("${SET", "`${` has no closing `}`"),
        ("${SET:-x", "`${` has no closing `}`"),
        ("${SET!}", "`${SET` is followed by something unknown"),
        ("${}", "`$` is not followed by a variable's name"),
        ("cost: 5$", "`$` is not followed by a variable's name"),
        ("$1", "`$` is not followed by a variable's name"),
        (deep.as_str(), "nested deeper than 16 levels"),
    ];
    for (template, message) in table {
        let text = format!("{BASE}profiles: {{light: {{env: {{A: '{template}'}}}}}}\n");
        let found = load_all(&[&text], &[("EMPTY", ""), ("SET", "x")]).map(|loaded| loaded.spec);
        let shown = found.expect_err(template).to_string();
        assert!(shown.contains(message), "{template} should say {message}:\n{shown}");
        assert!(shown.contains("slate.yaml:3:"), "{shown}");
    }
}

#[test]
fn a_large_variable_cannot_fill_memory() {
    let big = "x".repeat(40_000);
    let text = format!("{BASE}image: \"{}\"\n", "${BIG}".repeat(1000));
    let found = load_all(&[&text], &[("BIG", &big)]).map(|loaded| loaded.spec);
    assert!(found.expect_err("too long").to_string().contains("longer than 65536 bytes"));
}

#[test]
fn variables_become_numbers_and_empty_ones_leave_a_key_out() {
    let text = "\
version: 1
ca: ${CA:-}
project: \"${P:-}\"
pools:
  - name: a
    profile: light
    count: ${N}
  - name: b
    profile: light
    count: \"${N}\"
    ephemeral: ${E:-false}
";
    let loaded = load_all(&[text], &[("N", "3")]).unwrap_or_else(|found| panic!("{found}"));
    let sizes: Vec<PoolSize> = loaded.spec.pools.iter().map(|pool| pool.size).collect();
    assert_eq!(sizes, [PoolSize::Fixed(3), PoolSize::Fixed(3)]);
    assert_eq!(loaded.spec.pools.last().map(|pool| pool.reuse), Some(Reuse::Persistent));
    assert_eq!((loaded.spec.ca, loaded.spec.project.as_str()), (None, "slate"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn anchors_merge_keys_and_extensions_work_as_in_compose() {
    let text = "\
version: 1
x-base: &base {profile: light, count: 2}
x-more: &more {count: 5, spares: 0}
pools:
  - {<<: *base, name: a}
  - {<<: [*base, *more], name: b, profile: standard}
";
    let spec = spec_of(text);
    let shown: Vec<String> = spec
        .pools
        .iter()
        .map(|pool| format!("{} {} {:?} {}", pool.name, pool.profile, pool.size, pool.spares))
        .collect();
    assert_eq!(shown, ["a light Fixed(2) 1", "b standard Fixed(2) 0"]);
}

#[test]
fn files_merge_as_compose_merges_them() {
    let first = "\
version: 1
project: one
limits: {scale_max: 10, task_timeout: 5m}
profiles:
  big: {cpus: 2, memory: 1GiB, labels: [x, y], env: [A=1, B=2]}
pools:
  - {name: a, profile: light, count: 2}
  - {name: b, profile: big}
lanes: {l: {pools: [a]}}
";
    let second = "\
project: two
limits: {scale_max: 20}
profiles:
  big: {memory: 2GiB, labels: [y, z], env: {B: 3, C: 4}}
pools:
  - {name: c, profile: light}
  - {name: a, count: 3}
lanes: {l: {pools: [b, a]}}
";
    let loaded = load_all(&[first, second], &[]).unwrap_or_else(|found| panic!("{found}"));
    let spec = loaded.spec;
    assert_eq!(spec.project.as_str(), "two");
    assert_eq!(spec.limits.scale_max, 20);
    assert_eq!(spec.limits.task_timeout, Duration::from_secs(300));
    let pools: Vec<_> = spec.pools.iter().map(|pool| (pool.name.as_str(), pool.size)).collect();
    let fixed = PoolSize::Fixed;
    assert_eq!(pools, [("a", fixed(3)), ("b", fixed(1)), ("c", fixed(1))]);
    let big = &spec.profiles[&ProfileName::new("big")];
    assert_eq!((big.cpus, big.memory), (MilliCpu::cpus(2), Bytes::gib(2)));
    assert_eq!(big.labels, ["x", "y", "z"]);
    let env: Vec<String> = big.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=1", "B=3", "C=4"]);
    let lane = &spec.lanes[&LaneName::new("l")];
    assert_eq!(lane.pools, [PoolName::new("a"), PoolName::new("b")]);
}

#[test]
fn reset_and_override_undo_earlier_files() {
    let first = "\
version: 1
ca: a.pem
limits: {scale_max: 9}
profiles: {big: {cpus: 2, memory: 1GiB, labels: [x, y]}}
pools: [{name: a, profile: light}, {name: b, profile: light}]
";
    let second = "\
ca: !reset null
limits: !reset {}
profiles: {big: {labels: !override [z]}}
pools: !override [{name: c, profile: big}]
";
    let third = "limits: {queue_max: 5}\n";
    let loaded = load_all(&[first, second, third], &[]).unwrap_or_else(|found| panic!("{found}"));
    let spec = loaded.spec;
    assert_eq!((spec.ca, spec.limits.scale_max, spec.limits.queue_max), (None, 50, 5));
    assert_eq!(spec.pools.len(), 1);
    assert_eq!(spec.profiles[&ProfileName::new("big")].labels, ["z"]);
}

#[test]
fn duplicate_pools_of_a_later_file_are_not_merged_away() {
    let later = "pools: [{name: a, count: 2}, {name: a, count: 3}]\n";
    let found = load_all(&[BASE, later], &[]).map(|loaded| loaded.spec).expect_err("two of a name");
    assert_eq!(messages(&found), ["error: two pools are named `a`"]);
}

#[test]
fn paths_are_relative_to_the_first_file() {
    let text =
        format!("{BASE}ca: ../certs/./ca.pem\nreports: {{path: out/reports, keep: false}}\n");
    let spec = spec_of(&text);
    assert_eq!(spec.ca, Some(PathBuf::from("/srv/certs/ca.pem")));
    assert_eq!(spec.reports.path, PathBuf::from("/srv/slate/out/reports"));
    assert_eq!(spec.reports.keep, None);
}

#[test]
fn the_project_comes_from_option_file_or_folder() {
    let named = format!("{BASE}project: file\n");
    let name = |text: &str, env: &[(&str, &str)]| {
        load_all(&[text], env).map(|loaded| loaded.spec.project.to_string())
    };
    assert_eq!(name(&named, &[("SLATE_PROJECT", "env")]), Ok("env".to_owned()));
    assert_eq!(name(&named, &[("SLATE_PROJECT", "")]), Ok("file".to_owned()));
    assert_eq!(name(BASE, &[]), Ok("slate".to_owned()));
    let bad = name(BASE, &[("SLATE_PROJECT", "My Fleet")]).expect_err("it is no name").to_string();
    assert!(bad.contains("help: write `myfleet`"), "{bad}");
    for (folder, project) in
        [("My Fleet (1)", "myfleet1"), ("_x-Y_z", "x-y_z"), ("é", ""), ("..", "")]
    {
        assert_eq!(validate::normalise_name(folder), project);
    }
}

#[test]
fn secrets_from_variables_are_masked_where_the_file_is_shown() {
    let text = format!(
        "\
{BASE}image: 'reg/${{REG_PASSWORD}}/x'
profiles:
  light:
    env:
      A: pre-${{API_TOKEN}}
      API_TOKEN:
      PIN_KEY: ${{PIN_KEY:-}}
      PLAIN: ${{PLAIN}}
"
    );
    let env = [
        ("REG_PASSWORD", "hunter22"),
        ("API_TOKEN", "t0psecret"),
        ("PIN_KEY", "7"),
        ("PLAIN", "p7"),
    ];
    let loaded = load_all(&[&text], &env).unwrap_or_else(|found| panic!("{found}"));
    let shown = loaded.render_masked();
    let debug = format!("{:?}", loaded.warnings);
    for secret in ["hunter22", "t0psecret", "\"7\""] {
        assert!(!shown.contains(secret) && !debug.contains(secret), "{secret}\n{shown}");
    }
    assert!(shown.contains("A: pre-***") || shown.contains("A: \"pre-***\""), "{shown}");
    assert!(shown.contains("PLAIN: p7"), "{shown}");
    assert!(render(&loaded.spec).contains("t0psecret"), "the complete file is for programs");
    assert_eq!(loaded.mask("x t0psecret"), "x ***");
    let bad = format!("{BASE}limits: {{task_timeout: '${{MY_SECRET}}'}}\n");
    let found = load_all(&[&bad], &[("MY_SECRET", "hunter22")]).map(|loaded| loaded.spec);
    let shown = found.expect_err("it is no duration").to_string();
    assert!(!shown.contains("hunter22") && shown.contains("`***` is no duration"), "{shown}");
}
