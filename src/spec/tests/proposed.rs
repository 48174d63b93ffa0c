//! Specs that come as data: held to what a fleet file is held to.

use serde_json::{Value, json};

use super::*;

/// Fleet files that people begin with.
const FILES: [&str; 5] = [
    include_str!("../../../config/example.yaml"),
    include_str!("../../../config/bench.yaml"),
    include_str!("../../../config/github-elastic.yaml"),
    include_str!("../../../config/github-homelab.yaml"),
    include_str!("../../../config/one-box.yaml"),
];

fn sent(spec: &Spec) -> Value {
    serde_json::to_value(spec).expect("JSON")
}

fn check(json: Value) -> Result<Spec, WrongSpec> {
    serde_json::from_value::<Proposed>(json).expect("it takes every document").check()
}

/// What is said of a light fleet that is changed in one place.
fn findings(pointer: &str, value: Value) -> Vec<String> {
    let mut json = sent(&spec_of("version: 1\nproject: p\npools: [{name: a, profile: light}]\n"));
    let (above, key) = pointer.rsplit_once('/').expect("a place");
    let above = json.pointer_mut(above).expect("there is such a place");
    match above.as_array_mut() {
        Some(items) => items.push(value),
        None => drop(above.as_object_mut().expect("a map").insert(key.to_owned(), value)),
    }
    let wrong = check(json).expect_err(pointer);
    assert_eq!(wrong.errors, wrong.findings.len(), "{wrong:?}");
    wrong.findings
}

#[test]
fn what_a_fleet_file_comes_to_is_taken_as_it_is() {
    let env = [("TOKEN", "ghp_0123456789012345678901"), ("NOTHING", "")];
    let more = "version: 1\nproject: p\nx-note: 1\nimage: \"a:${TAG:-b}\"\n\
                profiles: {own: {cpus: 1, memory: 1GiB, env: {T: \"${TOKEN}\", N: \"$NOTHING\", \
                Y: \"yes\", Z: \"~\", D: \"a $$ b\"}}}\npools: [{name: a, profile: own}]\n";
    for text in FILES.into_iter().chain([more]) {
        let mut spec = load_all(&[text], &env).unwrap_or_else(|found| panic!("{found}")).spec;
        let path = PathBuf::from("/srv/slate/.slate_runners.json");
        let options = RunnersOptions { scale_max: Some(7), ..RunnersOptions::default() };
        spec.runners_file = Some(RunnersFile { path, options });
        spec.env_file = Some(PathBuf::from("/srv/slate/.env"));
        assert_eq!(check(sent(&spec)), Ok(spec), "{text}");
    }
}

#[test]
fn many_unlike_specs_are_taken_as_they_are() {
    for n in 0..200 {
        let spec = roundtrip::fleet(n);
        assert_eq!(check(sent(&spec)), Ok(spec), "{n}");
    }
}

#[test]
fn what_a_fleet_file_may_not_say_is_refused_with_its_place_and_what_would_be_right() {
    let pool = |name: &str| sent_pool(name);
    let table = [
        ("/project", json!("No Name"), "`project`: `No Name` is no name"),
        ("/limits/scale_max", json!(0), "`limits.scale_max` is `0`, not a whole number from 1 to"),
        ("/limits/retries", json!(11), "`limits.retries` is `11`, not a whole number from 0 to 10"),
        ("/profiles/light/cpus", json!(64_000), "`profiles.light.cpus`: `cpus` of a built-in"),
        ("/profiles/light/image", json!("a b"), "`profiles.light.image`: `a b` is no image; "),
        ("/profiles/light/env", json!({"SLATE_X": "1"}), "`SLATE_X` is set by the fleet itself"),
        (
            "/pools/-",
            pool("a"),
            "`pools[1].name`: two pools are named `a`; the other is `pools[0]`",
        ),
        ("/pools/-", pool("../b"), "`pools[1].name`: `../b` is no name"),
        ("/lanes/l", json!({"pools": ["z"], "priority": 0}), "there is no pool `z`"),
        ("/task_types/docs", json!("none"), "`task_types.docs`: there is no profile `none`"),
        ("/reports/path", json!("/"), "`reports.path`: reports cannot go to the root folder"),
        ("/reports/path", json!("here"), "`reports.path`: no fleet file can say this"),
        ("/ca", json!("/a/../b.pem"), "`ca`: no fleet file can say this"),
        ("/env_file", json!(".env"), "`env_file`: `.env` is no absolute path of a file"),
        (
            "/runners_file",
            json!({"path": "/etc/passwd", "options": {}}),
            "`runners_file.path`: `/etc/passwd` is no path of the runners' file",
        ),
        (
            "/runners_file",
            json!({"path": "/s/.slate_runners.json", "options": {"scale_max": 0}}),
            "`scale_max` is 0; write a number from 1 to 10000",
        ),
        (
            "/limits/stale_after",
            json!({"secs": 1, "nanos": 0}),
            "`limits.stale_after`: `1s` is out",
        ),
        (
            "/limits/stale_after",
            json!({"secs": 300, "nanos": 1}),
            "`limits.stale_after.nanos`: no fleet file can say this",
        ),
        ("/retenton", json!({"logs": null}), "unknown key `retenton`"),
        ("/pools", json!("none"), "this is no spec: invalid type"),
    ];
    for (pointer, value, message) in table {
        let found = findings(pointer, value);
        assert!(found.iter().any(|line| line.contains(message)), "{pointer}: {found:#?}");
    }
}

fn sent_pool(name: &str) -> Value {
    serde_json::to_value(Pool::plain("light", 1)).map_or(Value::Null, |mut pool| {
        pool["name"] = json!(name);
        pool
    })
}

#[test]
fn a_built_in_profile_that_was_left_out_is_missing() {
    let mut json = sent(&spec_of("version: 1\nproject: p\npools: [{name: a, profile: light}]\n"));
    json["profiles"].as_object_mut().expect("a map").remove("gpu_max");
    let wrong = check(json).expect_err("it is missing");
    assert_eq!(wrong.to_string(), "the spec has 1 error; nothing was changed");
    assert!(wrong.findings[0].starts_with("`profiles.gpu_max`: this is missing"), "{wrong:?}");
}

#[test]
fn all_findings_are_told_at_once_and_very_many_are_counted() {
    let mut json = sent(&spec_of("version: 1\nproject: p\npools: [{name: a, profile: light}]\n"));
    json["project"] = json!("No");
    json["limits"]["retries"] = json!(99);
    let wrong = check(json.clone()).expect_err("two mistakes");
    assert_eq!((wrong.errors, wrong.findings.len()), (2, 2), "{wrong:?}");
    json["task_types"] = (0..300).map(|n| (format!("t{n}"), json!("none"))).collect();
    let wrong = check(json).expect_err("very many mistakes");
    assert!(wrong.errors > 300 && wrong.findings.len() == 100, "{}", wrong.errors);
}

#[test]
fn a_spec_that_is_too_large_to_look_through_is_refused() {
    let mut json = sent(&spec_of("version: 1\nproject: p\npools: [{name: a, profile: light}]\n"));
    json["task_types"] = (0..60_000).map(|n| (format!("t{n}"), json!("light"))).collect();
    let wrong = check(json).expect_err("it is too large");
    assert_eq!(wrong.findings, ["the spec has more than 50000 values"]);
}
