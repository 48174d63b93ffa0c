//! Refused files: the exact text of typical errors, and the message of every check.

use super::*;

const BASE: &str = "version: 1\npools: [{name: a, profile: light}]\n";

/// A file with a profile's keys, and one with a pool's.
fn profile(keys: &str) -> String {
    format!("{BASE}profiles: {{p: {{{keys}}}}}\n")
}

fn pool(keys: &str) -> String {
    format!("version: 1\npools: [{{name: a, {keys}}}]\n")
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_key() {
    let text = "version: 1\npools:\n  - name: a\n    profle: light\n";
    let expected = "\
error: this pool has no `profile`
 --> slate.yaml:3:5
  |
3 |   - name: a
  |     ^
  help: add `profile:` with one of `gpu_heavy`, `gpu_light`, `gpu_max`, `light`, `standard`

error: unknown key `profle` in `pools[0]`
 --> slate.yaml:4:5
  |
4 |     profle: light
  |     ^^^^^^
  help: did you mean `profile`?

2 errors; nothing was changed";
    assert_eq!(errors_of(text), expected);
}

#[test]
fn all_errors_of_all_files_are_listed_at_once() {
    let first = "version: 1\nprojekt: slate\npools:\n  - {name: a, profile: light, count: lots}\n";
    let second = "limits:\n  task_timeout: 30\nlanes: {fast: {pools: [b]}}\n";
    let expected = "\
error: unknown key `projekt` in the fleet file
 --> slate.yaml:2:1
  |
2 | projekt: slate
  | ^^^^^^^
  help: did you mean `project`?

error: `pools[0].count` is `lots`, not a whole number from 0 to 10000
 --> slate.yaml:4:38
  |
4 |   - {name: a, profile: light, count: lots}
  |                                      ^^^^

error: `30` has no unit
 --> 2.yaml:2:17
  |
2 |   task_timeout: 30
  |                 ^^
  help: write `30s` or `30m`

error: there is no pool `b`
 --> 2.yaml:3:24
  |
3 | lanes: {fast: {pools: [b]}}
  |                        ^
  help: did you mean `a`?

4 errors; nothing was changed";
    let found = load_all(&[first, second], &[]).map(|loaded| loaded.spec);
    assert_eq!(found.expect_err("it should be refused").to_string(), expected);
}

#[test]
fn a_locked_profile_says_why_and_what_may_be_set() {
    let expected = "\
error: `cpus` of a built-in profile is locked (it is 1)
 --> slate.yaml:3:20
  |
3 | profiles: {light: {cpus: 4}}
  |                    ^^^^
  help: the built-in profiles mean the same in every fleet; make a profile of your own name, or \
set `image`, `env`, `cache`, `docker`, `user`, `pids`, `shm`, `stop_grace` or more `labels` here

1 error; nothing was changed";
    assert_eq!(errors_of(&format!("{BASE}profiles: {{light: {{cpus: 4}}}}\n")), expected);
}

#[test]
fn bounds_that_contradict_each_other_are_shown_at_the_value() {
    let text = "version: 1\npools:\n  - name: a\n    profile: light\n    min_runners: 5\n    \
                max_runners: 2\n";
    let expected = "\
error: `min_runners` is 5, but `max_runners` is 2
 --> slate.yaml:5:18
  |
5 |     min_runners: 5
  |                  ^
  help: raise `max_runners` or lower `min_runners`

1 error; nothing was changed";
    assert_eq!(errors_of(text), expected);
}

#[test]
fn a_secret_is_refused_and_not_shown() {
    let token = "ghp_abcdefghijklmnopqrst0123456789";
    let text = format!(
        "version: 1\npools:\n  - name: a\n    profile: light\n    github:\n      url: \
         https://github.com/me/site\n      token_env: {token}\n"
    );
    let shown = errors_of(&text);
    let expected = "\
error: this looks like a secret
 --> slate.yaml:7:18
  |
7 |       token_env: ***
  |                  ^^^
  help: secrets never enter the file: put it into `.env` and write the variable's name, as in \
`token_env: RUNNER_TOKEN`; a secret that was saved here should be revoked";
    assert!(shown.starts_with(expected), "{shown}");
    for text in [
        pool("profile: light, github: {url: 'https://x/y', token_env: T, token: hunter2}"),
        pool("profile: light, github: {url: 'https://x/y', token: '${T:-hunter2}', token_env: T}"),
        profile(&format!("cpus: 1, memory: 1GiB, env: [\"A={token}\"]")),
        profile(&format!("cpus: 1, memory: 1GiB, labels: [{token}]")),
        format!("{BASE}x-note: {token}\n"),
    ] {
        let shown = errors_of(&text);
        assert!(shown.contains("error: this looks like a secret"), "{text}\n{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains(token), "{shown}");
    }
}

#[test]
fn yaml_itself_is_checked_with_a_likely_reason() {
    let table = [
        ("version: 1\npools:\n\t- name: a\n", "3:2", "the line is indented by a tab"),
        ("version: 1\npools: [", "2:9", "a `[`, `{` or quote may not be closed"),
        ("version: 1\npools: [{count: ${N}}]\n", "2:18", "a variable needs quotes: `\"${NAME}\"`"),
        ("version: 1\n  pools: 2\n", "2:8", "look at the line's indentation"),
        ("version: *one\n", "1:10", "`*name` needs `&name` earlier"),
        ("", "1:1", "`slate-fleet init` writes one"),
        ("# nothing\n---\n", "1:1", "`slate-fleet init` writes one"),
        ("- a\n", "1:1", "a fleet file is a map of keys"),
        ("just text\n", "1:1", "a fleet file is a map of keys"),
        ("version: 1\n---\nversion: 1\n", "2:1", "a second YAML document begins here"),
        ("version: 1\nversion: 1\n", "2:1", "`version` is written twice"),
        ("? [a, b]\n: 1\n", "1:3", "a key must be a plain text"),
        ("a: &a [*a]\n", "1:8", "refers to the value that it is part of"),
        ("version: !thing 1\n", "1:10", "the tag `!thing` has no meaning"),
        ("<<: 3\nversion: 1\n", "1:1", "`<<` takes a map or a list of maps"),
    ];
    for (text, place, part) in table {
        let shown = errors_of(text);
        assert!(shown.contains(part), "{text:?} should say {part:?}:\n{shown}");
        assert!(shown.contains(&format!("slate.yaml:{place}\n")), "{text:?} at {place}:\n{shown}");
    }
}

#[test]
fn growth_and_depth_are_bounded() {
    let mut bomb = String::from("x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("x-{level}: &a{level} [{aliases}]\n"));
    }
    assert!(errors_of(&bomb).contains("aliases of aliases multiply"));
    let deep = format!("x-deep: {}1{}\n", "[".repeat(60), "]".repeat(60));
    assert!(errors_of(&deep).contains("nested deeper than 32 levels"));
    let chain: String = (1..60).map(|n| format!("x-{n}: &a{n} [*a{}]\n", n - 1)).collect();
    assert!(errors_of(&format!("x-0: &a0 [1]\n{chain}")).contains("nested deeper than 32 levels"));
    let large = format!("{BASE}# {}\n", "x".repeat(1 << 20));
    assert!(errors_of(&large).contains("more than 1048576"));
    let brackets = format!("x-a: {}", "[".repeat(1 << 19));
    assert!(load_all(&[&brackets], &[]).is_err());
    let many: String = (0..500).map(|n| format!("unknown{n}: 1\n")).collect();
    let found = load_all(&[&many], &[]).expect_err("it should be refused");
    assert_eq!((found.iter().count(), found.errors()), (100, 502));
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let text = format!("version: 1\npools: [{}{{name: a, profle: x}}]\n", " ".repeat(500));
    let found = load_all(&[&text], &[]).expect_err("it should be refused");
    for place in found.iter().filter_map(|diagnostic| diagnostic.place.as_ref()) {
        assert!(place.excerpt.chars().count() <= 120 && place.caret <= 120, "{place:?}");
    }
    assert!(found.to_string().contains("{name: a, profle: x}]\n  |"), "{found}");
}

#[test]
fn escape_sequences_of_a_file_never_reach_the_terminal() {
    let shown = errors_of("version: 1\npools: []\n\"a\\e[31m\": 1\n# \u{9b}\n");
    assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown:?}");
}

#[test]
fn structure_is_checked_against_the_schema() {
    let table = [
        ("pools: [{name: a, profile: light}]\n", "the fleet file has no `version`"),
        ("version: 2\npools: [{name: a, profile: light}]\n", "but this program reads 1"),
        ("version: 3.8\npools: [{name: a, profile: light}]\n", "`version` is `3.8`, not a whole"),
        ("version: 1\n", "the fleet file has no `pools`"),
        ("version: 1\npools: []\n", "`pools` is empty"),
        ("version: 1\npools:\n", "`pools` has no value"),
        ("version: 1\npools: {a: {}}\n", "`pools` is a map, not a list (`- item`)"),
        ("version: 1\npools: [a]\n", "`pools[0]` is `a`, not a map (`key: value`)"),
        ("version: 1\npools: [{profile: light}]\n", "`pools[0]` has no `name`"),
        ("version: 1\npools: [{name: 7, profile: light}]\n", "`pools[0].name` is `7`, not a text"),
    ];
    for (text, message) in table {
        let shown = errors_of(text);
        assert!(shown.contains(message), "{text}\nshould say {message}:\n{shown}");
    }
}

#[test]
fn every_check_of_a_profile_has_its_message() {
    let table = [
        ("memory: 1GiB", "the profile `p` has no `cpus`"),
        ("cpus: 1", "the profile `p` has no `memory`"),
        ("cpus: many, memory: 1GiB", "`many` is no number of CPUs"),
        ("cpus: 500m, memory: 1GiB", "write a number of CPUs such as `2` or `0.5`, here `0.5`"),
        ("cpus: 0, memory: 1GiB", "`0` is not between 0.01 and 1024 CPUs"),
        ("cpus: 1, memory: 512", "`512` has no unit"),
        ("cpus: 1, memory: 1KiB", "write something from `32MiB` to `64TiB`"),
        ("cpus: 1, memory: 1GiB, shm: 2GiB", "`shm` is 2GiB, but `memory` is 1GiB"),
        ("cpus: 1, memory: 1GiB, pids: 1", "not a whole number from 16 to 4194304"),
        ("cpus: 1, memory: 1GiB, user: root", "`root` is no numeric user"),
        ("cpus: 1, memory: 1GiB, image: 'a b'", "`a b` is no image"),
        ("cpus: 1, memory: 1GiB, labels: ['a b']", "`a b` is no label"),
        ("cpus: 1, memory: 1GiB, labels: [a, a]", "the label `a` is written twice"),
        ("cpus: 1, memory: 1GiB, stop_grace: 2h", "write something from `0s` to `1h`"),
        ("cpus: 1, memory: 1GiB, gpu_exclusive: true", "`gpu_exclusive` needs `gpu_memory`"),
        ("cpus: 1, memory: 1GiB, gpu_exclusive: 1", "not `true` or `false`"),
        (
            "cpus: 1, memory: 1GiB, gpu_memory: 1, gpu_exclusive: true, gpu_max_per_card: 2",
            "an exclusive runner is alone on its card",
        ),
        ("cpus: 1, memory: 1GiB, gpu_memory: lots", "`lots` is no GPU memory"),
        ("cpus: 1, memory: 1GiB, env: {'A B': 1}", "`A B` is no name of a variable"),
        ("cpus: 1, memory: 1GiB, env: {SLATE_X: 1}", "`SLATE_X` is set by the fleet itself"),
        ("cpus: 1, memory: 1GiB, env: [A=1, A=2]", "`A` is written twice"),
        ("cpus: 1, memory: 1GiB, env: [[A]]", "an item of `env` is a text"),
        ("cpus: 1, memory: 1GiB, env: 3", "`profiles.p.env` is `3`, not a map"),
    ];
    for (keys, message) in table {
        let shown = errors_of(&profile(keys));
        assert!(shown.contains(message), "{keys}\nshould say {message}:\n{shown}");
    }
    let name = errors_of(&format!("{BASE}profiles: {{My.Big: {{cpus: 1, memory: 1GiB}}}}\n"));
    assert!(name.contains("`My.Big` is no name") && name.contains("help: write `mybig`"), "{name}");
}

#[test]
fn every_check_of_a_pool_has_its_message() {
    let table = [
        ("profile: ligth", "there is no profile `ligth`"),
        ("profile: light, instance_type: m5.large", "has a `profile` or an `instance_type`"),
        ("instance_type: m5.larg", "did you mean `m5.large`?"),
        ("count: 2", "this pool has no `profile`"),
        ("profile: light, count: -1", "not a whole number from 0 to 10000"),
        ("profile: light, count: 51", "up to 51 runners, more than `scale_max` (50)"),
        ("profile: light, count: 2, max_runners: 3", "`count` is a fixed size, `max_runners` is"),
        ("profile: light, min_runners: 3", "`min_runners` needs `max_runners`"),
        ("profile: light, warm: 2", "`warm` needs `max_runners`"),
        ("profile: light, count: 3, warm: 2", "`count` is a fixed size, `warm` is not"),
        ("profile: light, max_runners: 3, warm: 4", "`warm` is 4, but `max_runners` is 3"),
        ("profile: light, max_runners: 3, scale_up_delay: 2d", "from `0s` to `1d`"),
        ("profile: light, count: 2, runner_name: x", "2 runners cannot all be named `x`"),
        ("profile: light, runner_name: 'x y'", "`x y` makes no names of runners"),
        ("profile: light, runner_name: 'x-{m}'", "`x-{m}` makes no names of runners"),
        ("profile: light, healthcheck: true", "`true` is no duration"),
        ("profile: light, healthcheck: 10ms", "write something from `1s` to `1h`"),
        ("profile: light, ephemeral: false, spares: 1", "not ephemeral has no spares"),
    ];
    for (keys, message) in table {
        let shown = errors_of(&pool(keys));
        assert!(shown.contains(message), "{keys}\nshould say {message}:\n{shown}");
    }
}

#[test]
fn what_belongs_together_is_checked_across_the_file() {
    let two = "version: 1\npools: [{name: a, profile: light, runner_name: r-1}, \
               {name: b, profile: light, count: 3, runner_name: 'r-{n}'}]\n";
    let same = "version: 1\npools: [{name: a, profile: light}, {name: a, profile: light}]\n";
    let clash = "version: 1\nprofiles: {m5-large: {cpus: 1, memory: 1GiB}}\n\
                 pools: [{name: a, instance_type: m5.large}]\n";
    let long = format!(
        "project: {0}\nprofiles: {{{0}: {{cpus: 1, memory: 1GiB}}}}\nversion: 1\n\
                        pools: [{{name: a, profile: {0}}}]\n",
        "x".repeat(35)
    );
    let table = [
        (two, "the pools `a` and `b` both name a runner `r-1`"),
        (same, "two pools are named `a`"),
        (clash, "there is a profile `m5-large` with other resources"),
        (long.as_str(), "would be longer than 63 characters"),
    ];
    for (text, message) in table {
        let shown = errors_of(text);
        assert!(shown.contains(message), "{text}\nshould say {message}:\n{shown}");
    }
    let table = [
        ("project: My Fleet\n", "help: write `myfleet`"),
        ("lanes: {l: {pools: [a, a]}}\n", "the pool `a` is written twice"),
        ("lanes: {l: {}}\n", "`lanes.l` has no `pools`"),
        ("lanes: {l: {pools: [a], limit: 0}}\n", "not a whole number from 1 to 10000"),
        ("task_types: {docs: standart}\n", "did you mean `standard`?"),
        ("limits: {log_max: 1b}\n", "write something from `64KiB` to `4GiB`"),
        ("limits: {scale_max: 0}\n", "not a whole number from 1 to 10000"),
        ("limits: {overcommit: {gpu: true}}\n", "unknown key `gpu` in `limits.overcommit`"),
        ("reports: {path: /}\n", "reports cannot go to the root folder"),
        ("reports: {listen: '0.0.0.0:9190'}\n", "this is no loopback address and port"),
        ("reports: {listen: here}\n", "write `127.0.0.1:9190`"),
        ("reports: {url: 'https://r.example.org'}\n", "add `listen: 127.0.0.1:9190`"),
        ("reports: {listen: '[::1]:1', url: 'https://r.example.org/x'}\n", "without a path"),
        ("reports: {listen: '[::1]:1', url: r.example.org}\n", "this is no address"),
        ("reports: {keep: 1s}\n", "write something from `1m` to `3650d`"),
    ];
    for (text, message) in table {
        let shown = errors_of(&format!("{BASE}{text}"));
        assert!(shown.contains(message), "{text}\nshould say {message}:\n{shown}");
    }
}

#[test]
fn words_from_compose_are_understood_in_suggestions() {
    let table = [
        (pool("profile: light, replicas: 3"), "did you mean `count`?"),
        (profile("cpus: 1, mem_limit: 1GiB"), "did you mean `memory`?"),
        (profile("cpus: 1, memory: 1GiB, environment: {A: 1}"), "did you mean `env`?"),
        (format!("{BASE}services: {{}}\n"), "did you mean `pools`?"),
        (format!("{BASE}name: x\n"), "did you mean `project`?"),
    ];
    for (text, help) in table {
        let shown = errors_of(&text);
        assert!(shown.contains(help), "{text}\nshould say {help}:\n{shown}");
    }
}

#[test]
fn warnings_do_not_refuse_a_file() {
    let text = "version: 1\nprofiles: {light: {user: 0, env: {A: '${NONE}', B: , T_KEY: }}}\n\
                pools: [{name: a, profile: light, github: {url: 'http://git.lan/y', token_env: T}}]\n";
    let loaded = load_all(&[text], &[("T_KEY", "hunter22")]).expect("it should load");
    let expected = [
        "warning: jobs of this profile run as root in their container",
        "warning: the variable `NONE` is not set; using nothing",
        "warning: the variable `B` is not set; left out",
        "warning: every job can read `T_KEY`, and `inspect` shows it",
        "warning: tokens cross the network to this address unencrypted",
    ];
    assert_eq!(messages(&loaded.warnings), expected);
    assert_eq!((loaded.warnings.errors(), loaded.warnings.warnings()), (0, 5));
}
