//! Caches: where they may lie, and how large they may be.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::ids::CacheName;
use crate::units::Bytes;

use super::super::Cache;
use super::super::raw::RawCache;
use super::{Bounds, Context, Spot};

/// A cache's bound where it names none: the wheels of a large project fit.
const SIZE: Bytes = Bytes::gib(2);

/// Smallest bound: below it a cache would be begun anew all the time.
const SIZE_MIN: Bytes = Bytes::mib(1);

/// Largest bound.
const SIZE_MAX: Bytes = Bytes::gib(16 * 1024);

/// Most caches of a profile; each is a volume and a mount of every container.
const CACHES_MAX: usize = 16;

/// Longest path, as the kernel has it.
const PATH_MAX: usize = 4095;

/// What is the fleet's or the kernel's; no cache lies there or below.
const TAKEN: [&str; 7] = ["/reports", "/.slate", "/.slate-caches", "/run", "/proc", "/sys", "/dev"];

/// The working folder: caches may lie in it, but not be it.
const WORK: &str = "/work";

pub(super) fn caches(
    spot: Spot<'_>,
    raw: Option<&BTreeMap<String, RawCache>>,
    cx: &mut Context<'_>,
) -> BTreeMap<CacheName, Cache> {
    let mut caches: BTreeMap<CacheName, Cache> = BTreeMap::new();
    let Some(raw) = raw else { return caches };
    if raw.len() > CACHES_MAX {
        cx.findings
            .error(spot.key, format!("`cache` has more than {CACHES_MAX} caches"))
            .help("let several tools share one, each in a folder of its own below it");
    }
    for (name, raw) in raw {
        let place = spot.key(name);
        cx.check_name(place.key, name);
        let Some(cache) = cache(place, raw, cx) else { continue };
        let other = caches.iter().find(|(_, other)| overlap(&cache.path, &other.path));
        if let Some((other, _)) = other {
            cx.findings
                .error(at(place, raw).span, format!("the caches `{other}` and `{name}` overlap"))
                .help("give each a path of its own, none inside another");
            continue;
        }
        caches.insert(CacheName::new(name), cache);
    }
    caches
}

/// Where a cache's path stands.
fn at<'a>(spot: Spot<'a>, raw: &RawCache) -> Spot<'a> {
    match raw {
        RawCache::Path(_) => spot,
        RawCache::Sized { .. } => spot.key("path"),
    }
}

fn cache(spot: Spot<'_>, raw: &RawCache, cx: &mut Context<'_>) -> Option<Cache> {
    const BOUNDS: Bounds<Bytes> = Bounds::size(SIZE_MIN, SIZE_MAX);
    let (path, size) = raw.parts();
    let size = cx.read_within(spot.key("size"), size, &BOUNDS).unwrap_or(SIZE);
    let path = path_of(at(spot, raw), path?, cx)?;
    Some(Cache { path, size })
}

fn path_of(spot: Spot<'_>, text: &str, cx: &mut Context<'_>) -> Option<PathBuf> {
    let path = Path::new(text);
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let clean: PathBuf = path.components().collect();
    let fine = path.is_absolute()
        && path.components().all(is_plain)
        && text.len() <= PATH_MAX
        && !text.contains(|c: char| c.is_control())
        && clean.parent().is_some();
    if !fine {
        cx.findings
            .error(spot.span, format!("`{}` is no path for a cache", spot.shown()))
            .help("write a folder from the root on, without `..`, such as `/work/.cache/pip`");
        return None;
    }
    let taken = TAKEN.iter().map(Path::new).find(|taken| clean.starts_with(taken));
    if let Some(taken) = taken.or((clean == Path::new(WORK)).then_some(Path::new(WORK))) {
        cx.findings
            .error(
                spot.span,
                format!("`{}` cannot be a cache: `{}` is taken", spot.shown(), taken.display()),
            )
            .help("choose a folder of its own, such as `/work/.cache/pip`");
        return None;
    }
    Some(clean)
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
