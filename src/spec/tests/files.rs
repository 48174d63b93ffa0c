//! The files that ship: ready fleet files, templates, schema and reference agree with the code.

use super::*;
use crate::spec::template::{self, NewFleet, NewPool};

const CONFIG: [(&str, &str); 6] = [
    ("one-box", include_str!("../../../config/one-box.yaml")),
    ("workstation-50", include_str!("../../../config/workstation-50.yaml")),
    ("bench", include_str!("../../../config/bench.yaml")),
    ("github-homelab", include_str!("../../../config/github-homelab.yaml")),
    ("github-elastic", include_str!("../../../config/github-elastic.yaml")),
    ("example", include_str!("../../../config/example.yaml")),
];

const REFERENCE: &str = include_str!("../../../docs/reference/config.md");

/// Pages with fleet files on them.
const GUIDES: [&str; 5] = [
    include_str!("../../../docs/github/README.md"),
    include_str!("../../../docs/github/webhooks.md"),
    include_str!("../../../docs/github/kept-runners.md"),
    include_str!("../../../docs/github/security.md"),
    include_str!("../../../docs/gitea.md"),
];

fn ready(name: &str) -> Spec {
    let file = CONFIG.iter().find(|(known, _)| *known == name).expect("a ready file");
    spec_of(file.1)
}

/// Pools as `name profile size`.
fn pools(spec: &Spec) -> Vec<String> {
    let show = |pool: &Pool| format!("{} {} {:?}", pool.name, pool.profile, pool.size);
    spec.pools.iter().map(show).collect()
}

#[test]
fn every_ready_file_loads_without_a_word() {
    for (name, text) in CONFIG {
        let loaded = load_all(&[text], &[]).unwrap_or_else(|found| panic!("{name}:\n{found}"));
        assert!(loaded.warnings.is_empty(), "{name}:\n{}", loaded.warnings);
    }
}

#[test]
fn the_workstation_is_specification_1s_layout() {
    let spec = ready("workstation-50");
    let expected = [
        "gpu-heavy gpu_heavy Fixed(1)",
        "gpu-light gpu_light Fixed(10)",
        "standard standard Fixed(14)",
        "light light Fixed(25)",
    ];
    assert_eq!(pools(&spec), expected);
    let memory: u64 = spec
        .pools
        .iter()
        .map(|pool| spec.profiles[&pool.profile].memory.0 * u64::from(pool.size.at_rest()))
        .sum();
    assert_eq!(Bytes(memory).to_string(), "54.5GiB");
}

#[test]
fn the_box_and_the_bench_have_the_runners_that_they_promise() {
    let spec = ready("one-box");
    assert_eq!(pools(&spec), ["homelab standard Fixed(4)"]);
    let name = spec.pools.first().and_then(|pool| pool.runner_name.as_deref());
    assert_eq!(name, Some("homelab-runner-{n}"));
    assert_eq!(pools(&ready("bench")), ["light light Fixed(30)"]);
    let bench = CONFIG.iter().find(|(name, _)| *name == "bench").expect("a ready file").1;
    let fifty = load_all(&[bench], &[("BENCH_RUNNERS", "50")]).expect("it should load");
    assert_eq!(pools(&fifty.spec), ["light light Fixed(50)"]);
}

#[test]
fn the_files_for_github_register_what_they_promise() {
    let homelab = ready("github-homelab");
    assert_eq!(pools(&homelab), ["homelab standard Fixed(4)"]);
    let pool = homelab.pools.first().expect("a pool");
    assert_eq!(pool.runner_name.as_deref(), Some("homelab-runner-{n}"));
    let access = pool.forge.as_ref().map(|forge| forge.access.clone());
    assert_eq!(access, Some(ForgeAccess::Tokens("RUNNER_TOKEN_{n}".to_owned())));
    for pool in ready("github-elastic").pools {
        let PoolSize::Elastic(elastic) = pool.size else { panic!("{pool:?}") };
        let at_once = (elastic.min, elastic.scale_up_threshold, elastic.scale_up_delay);
        assert_eq!(at_once, (0, 0, Duration::ZERO));
        assert!(matches!(pool.forge.expect("a forge").access, ForgeAccess::App(_)));
    }
}

fn new_pool(profile: &str, count: u32, spares: Option<u32>) -> NewPool {
    let place = Some("4 on GPU 0, 6 on GPU 1".to_owned());
    NewPool { profile: ProfileName::new(profile), count, spares, place }
}

#[test]
fn templates_are_valid_with_any_pools() {
    let project = ProjectName::new("my-box");
    let (host, max_parallel_workflows) = ("2 CPUs, 24GiB of memory".to_owned(), 3);
    let all = ["gpu_heavy", "gpu_light", "standard", "light"];
    for (names, spares) in
        [(&all[..], None), (&all[2..], Some(0)), (&all[3..], Some(0)), (&[], None)]
    {
        let pools: Vec<NewPool> = names.iter().map(|name| new_pool(name, 7, spares)).collect();
        let fleet = NewFleet {
            project: project.clone(),
            host: host.clone(),
            pools: pools.clone(),
            max_parallel_workflows,
        };
        for text in [template::minimal(&fleet), template::full(&fleet)] {
            let loaded = load_all(&[&text], &[]).unwrap_or_else(|found| panic!("{text}\n{found}"));
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            let spec = loaded.spec;
            assert_eq!(spec.project, project);
            let counts: Vec<u32> = spec.pools.iter().map(|pool| pool.size.at_rest()).collect();
            assert_eq!(counts, if pools.is_empty() { vec![1] } else { vec![7; pools.len()] });
            let overcommit = spec.limits.overcommit_memory == Overcommit::Allow;
            assert_eq!(overcommit, pools.is_empty(), "{text}");
            assert!(
                spec.lanes.is_empty() && !spec.profiles.contains_key(&ProfileName::new("replay"))
            );
        }
        let full = template::full(&fleet);
        let loaded = load_all(&[&full], &[]).expect("it is valid").spec;
        assert_eq!(loaded.limits.max_parallel_workflows, 3);
        for shown in
            ["#   replay:", "# lanes:", "#   downgrade_for: 10m", "\nreports:\n", "# proxy:"]
        {
            assert!(full.contains(shown), "{shown} is not in\n{full}");
        }
        assert!(!full.contains("name: burst"), "{full}");
    }
}

#[test]
fn what_a_template_shows_as_a_comment_is_valid_when_it_is_used() {
    let pools = vec![new_pool("standard", 1, None), new_pool("light", 1, None)];
    let fleet = NewFleet {
        project: ProjectName::new("my-box"),
        host: "a host".to_owned(),
        pools,
        max_parallel_workflows: 8,
    };
    let full = template::full(&fleet);
    let from = full.find("# profiles:").expect("shown");
    let (head, rest) = full.split_at(from);
    let (profiles, rest) = rest.split_at(rest.find("\npools:").expect("pools"));
    let used: String = profiles
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
        .collect();
    let text = format!("{head}{used}{rest}");
    let spec = load_all(&[&text], &[]).unwrap_or_else(|found| panic!("{text}\n{found}")).spec;
    assert!(spec.profiles.contains_key(&ProfileName::new("replay")));
}

/// Every key of the schema as `limits.scale_max`, `pools[].name`, `profiles.*.cpus`.
///
/// The keys of a place of a secret are named once, as `SECRET.env`.
fn schema_keys(schema: &serde_json::Value, path: &str, keys: &mut Vec<String>) {
    let title = schema.get("title").and_then(|title| title.as_str());
    let path = if title == Some(raw::SECRET_TITLE) { "SECRET" } else { path };
    for (key, below) in schema.get("properties").and_then(|p| p.as_object()).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if !keys.contains(&path) {
            keys.push(path.clone());
        }
        schema_keys(below, &path, keys);
    }
    if let Some(items) = schema.get("items") {
        schema_keys(items, &format!("{path}[]"), keys);
    }
    if let Some(others) = schema.get("additionalProperties") {
        schema_keys(others, &format!("{path}.*"), keys);
    }
}

#[test]
fn every_key_of_the_schema_is_in_the_reference_and_in_the_example() {
    let mut keys = Vec::new();
    schema_keys(&schema(), "", &mut keys);
    assert!(keys.len() > 50, "{keys:?}");
    let example = CONFIG.iter().find(|(name, _)| *name == "example").expect("a ready file").1;
    for key in keys {
        assert!(REFERENCE.contains(&format!("`{key}`")), "docs/reference/config.md lacks `{key}`");
        let last = key.rsplit('.').next().expect("a key has a last part");
        assert!(example.contains(&format!("{last}:")), "config/example.yaml lacks `{last}`");
    }
}

/// Calls `visit` with every schema object and its path.
fn walk(schema: &serde_json::Value, path: &str, visit: &mut impl FnMut(&str, &serde_json::Value)) {
    visit(path, schema);
    for (key, below) in schema.get("properties").and_then(|p| p.as_object()).into_iter().flatten() {
        walk(below, &format!("{path}.{key}"), visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(key).filter(|below| below.is_object()) {
            walk(below, &format!("{path}.{key}"), visit);
        }
    }
}

#[test]
fn the_schema_describes_every_key_and_allows_no_null() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "slate-fleet fleet file");
    assert!(schema.get("$defs").is_none());
    walk(&schema, "", &mut |path, schema| {
        let types = schema.get("type").map(ToString::to_string).unwrap_or_default();
        assert!(!types.contains("null"), "{path} allows null: {schema}");
        assert!(schema.get("$ref").is_none(), "{path}: {schema}");
        let described = schema.get("description").is_some();
        let is_value = path.ends_with(".items") || path.ends_with(".additionalProperties");
        assert!(described || is_value || path.is_empty(), "{path} has no description");
        if schema.get("properties").is_some() {
            assert_eq!(schema["additionalProperties"], false, "{path} would allow unknown keys");
        }
    });
}

#[test]
fn defaults_in_the_schema_are_the_defaults_in_the_code() {
    let text = render(&spec_of("version: 1\npools: [{name: a, profile: light}]\n"));
    let text = text.replace('"', "");
    walk(&schema(), "", &mut |path, schema| {
        let Some(default) = schema.get("default") else { return };
        let key = path.rsplit('.').next().unwrap_or_default();
        let shown = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        let shown = if key == "path" { "/srv/slate/reports".to_owned() } else { shown };
        let elastic =
            ["min_runners", "scale_up_threshold", "scale_up_delay", "scale_down_delay", "warm"];
        // Of what is written only where somebody wants it.
        let elsewhere = [
            "count",
            "default_labels",
            "fork_jobs",
            "gpu_exclusive",
            "priority",
            "queue_above",
            "queue_for",
            "style",
            "token_env",
        ];
        if !elastic.contains(&key) && !elsewhere.contains(&key) {
            assert!(text.contains(&format!("{key}: {shown}")), "{path}: {shown}\n{text}");
        }
    });
}

/// The parts of fleet files on a page; workflows are none.
fn yaml_blocks(page: &str) -> Vec<&str> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block).filter(|block| !block.contains("runs-on")).collect()
}

#[test]
fn the_workflow_of_specification_1_finds_its_runners() {
    let workflow = include_str!("../../../docs/github/multi-runner.yml");
    assert!(workflow.contains("runs-on: [self-hosted, slate, \"${{ inputs.profile }}\"]"));
    let options = workflow.split_once("options:").expect("options").1;
    let options = options.lines().skip(1).map_while(|line| line.trim().strip_prefix("- "));
    let mut count = 0;
    for profile in options {
        let text = format!(
            "version: 1\npools: [{{name: a, profile: {profile}, github: {{url: \
             https://github.com/me/site, pat: {{env: P}}}}}}]\n"
        );
        let forge = spec_of(&text).pools.remove(0).forge.expect("a forge");
        for label in ["self-hosted", "slate", profile] {
            assert!(forge.labels.iter().any(|known| known == label), "{profile}: {label}");
        }
        count += 1;
    }
    assert_eq!(count, 4, "{workflow}");
}

#[test]
fn every_example_of_the_reference_and_the_guides_loads() {
    let base =
        "version: 1\nlanes: {l: {pools: [homelab]}}\npools: [{name: homelab, profile: light}]\n";
    let blocks: Vec<&str> = [REFERENCE].into_iter().chain(GUIDES).flat_map(yaml_blocks).collect();
    assert!(blocks.len() >= 14, "{blocks:?}");
    for block in blocks {
        let texts = if block.contains("version: 1") { vec![block] } else { vec![base, block] };
        let loaded = load_all(&texts, &[("HTTPS_PROXY", "http://proxy")]);
        loaded.unwrap_or_else(|found| panic!("{block}\n{found}"));
    }
}

#[test]
fn the_reference_names_every_instance_type_and_every_default() {
    let named = |name: &str| {
        REFERENCE.contains(name) || {
            let (family, size) = name.split_once('.').unwrap_or((name, ""));
            REFERENCE.contains(family) && REFERENCE.contains(size)
        }
    };
    assert!(builtin::instance_types().into_iter().all(named));
    walk(&schema(), "", &mut |path, schema| {
        let key = path.trim_start_matches('.').replace(".additionalProperties", ".*");
        let key = key.replace(".items", "[]");
        let key = match key.split_once(".vault.") {
            Some((_, last)) => format!("SECRET.vault.{last}"),
            None => key,
        };
        let row = REFERENCE.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
        if let (Some(default), Some(row)) = (schema.get("default"), row) {
            let shown = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            assert!(row.contains(&format!("`{shown}`")), "{key} is {shown} by default:\n{row}");
        }
    });
}
