//! Caches: both ways of writing them, and what is refused.

use super::*;

fn profile(cache: &str) -> String {
    format!(
        "version: 1\npools: [{{name: a, profile: p}}]\nprofiles:\n  p: {{cpus: 1, memory: 1GiB, \
         cache: {cache}}}\n"
    )
}

#[test]
fn a_cache_is_a_path_or_a_path_with_a_size() {
    let spec = spec_of(&profile("{pip: /work/.cache/pip, npm: {path: /npm/, size: 500MiB}}"));
    let caches = &spec.profiles[&ProfileName::new("p")].caches;
    let shown: Vec<String> = caches
        .iter()
        .map(|(name, cache)| format!("{name} {} {}", cache.path.display(), cache.size))
        .collect();
    assert_eq!(shown, ["npm /npm 500MiB", "pip /work/.cache/pip 2GiB"]);
}

#[test]
fn a_built_in_profile_may_have_caches_and_a_later_file_adds_to_them() {
    let first = "version: 1\npools: [{name: a, profile: light}]\nprofiles: {light: {cache: {pip: \
                 /pip}}}\n";
    let second = "profiles: {light: {cache: {npm: /npm}}}\n";
    let spec = load_all(&[first, second], &[]).expect("it should load").spec;
    assert_eq!(spec.profiles[&ProfileName::new("light")].caches.len(), 2);
}

#[test]
fn what_is_no_cache_is_refused_with_its_place_and_what_would_be_right() {
    let table = [
        ("{pip: work/.cache}", "`work/.cache` is no path for a cache"),
        ("{pip: /a/../b}", "`/a/../b` is no path for a cache"),
        ("{pip: /}", "`/` is no path for a cache"),
        ("{pip: /work}", "`/work` cannot be a cache: `/work` is taken"),
        ("{pip: /reports/x}", "`/reports/x` cannot be a cache: `/reports` is taken"),
        ("{pip: /proc}", "`/proc` cannot be a cache: `/proc` is taken"),
        ("{pip: {path: /.slate}}", "`/.slate` cannot be a cache: `/.slate` is taken"),
        ("{pip: {path: /p, size: 1KiB}}", "`1KiB` is out of bounds"),
        ("{pip: {size: 1GiB}}", "`profiles.p.cache.pip` has no `path`"),
        ("{pip: {path: /p, sise: 1GiB}}", "unknown key `sise` in `profiles.p.cache.pip`"),
        ("{a: /p, b: /p/q}", "the caches `a` and `b` overlap"),
        ("{Pip: /p}", "`Pip` is no name"),
    ];
    for (cache, message) in table {
        let shown = errors_of(&profile(cache));
        assert!(shown.contains(&format!("error: {message}")), "{cache}: {shown}");
        assert!(shown.contains("\n --> slate.yaml:4:"), "{cache}: {shown}");
        assert!(shown.contains("help: "), "{cache}: {shown}");
    }
}
