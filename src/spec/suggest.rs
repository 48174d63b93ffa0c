//! The nearest known name for one that does not exist.

/// Words that people bring from compose and other tools, and what they mean here.
const FOREIGN: [(&str, &str); 29] = [
    ("cpu", "cpus"),
    ("cores", "cpus"),
    ("mem", "memory"),
    ("mem_limit", "memory"),
    ("ram", "memory"),
    ("gpu", "gpu_memory"),
    ("vram", "gpu_memory"),
    ("gpu_mem", "gpu_memory"),
    ("exclusive", "gpu_exclusive"),
    ("environment", "env"),
    ("shm_size", "shm"),
    ("pids_limit", "pids"),
    ("stop_grace_period", "stop_grace"),
    ("replicas", "count"),
    ("scale", "count"),
    ("size", "count"),
    ("min", "min_runners"),
    ("max", "max_runners"),
    ("services", "pools"),
    ("name", "project"),
    ("container_name", "runner_name"),
    ("timeout", "task_timeout"),
    ("task_timeout_minutes", "task_timeout"),
    ("max_parallel", "max_parallel_workflows"),
    ("retention", "keep"),
    ("health_check", "healthcheck"),
    ("tags", "labels"),
    ("standby", "spares"),
    ("token", "token_env"),
];

/// The candidate that was probably meant.
///
/// Two edits at most, and not more than a third of the word, so that short names are not confused.
pub(super) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let bound = (text.chars().count() / 3).clamp(1, 2);
    let lower = text.to_lowercase().replace('-', "_");
    let scored = candidates.into_iter().map(|candidate| {
        let distance =
            strsim::damerau_levenshtein(&lower, &candidate.to_lowercase().replace('-', "_"));
        (distance, candidate)
    });
    scored.filter(|(distance, _)| *distance <= bound).min().map(|(_, candidate)| candidate)
}

/// The key that was probably meant: a foreign word's meaning first, then the nearest.
pub(super) fn key<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let foreign = FOREIGN.iter().find(|(word, _)| *word == text).map(|(_, ours)| *ours);
    known
        .iter()
        .find(|key| Some(**key) == foreign)
        .copied()
        .or_else(|| nearest(text, known.iter().copied()))
}

/// "did you mean …?" or the list of what exists, as a help text.
pub(super) fn help(found: Option<&str>, known: &[&str]) -> String {
    /// Longer lists do not help on a terminal.
    const LISTED_MAX: usize = 24;
    match (found, known.len()) {
        (Some(name), _) => format!("did you mean `{name}`?"),
        (None, 0) => "there are none yet".to_owned(),
        (None, count) => {
            let listed: Vec<String> =
                known.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
            let more = if count > LISTED_MAX { ", …" } else { "" };
            format!("there are {}{more}", listed.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let names = ["light", "standard", "gpu_light", "gpu_heavy"];
        assert_eq!(nearest("ligth", names), Some("light"));
        assert_eq!(nearest("Standart", names), Some("standard"));
        assert_eq!(nearest("gpu-light", names), Some("gpu_light"));
        assert_eq!(nearest("replay", names), None);
        assert_eq!(key("environment", &["env", "image"]), Some("env"));
        assert_eq!(key("mem", &["env", "memory"]), Some("memory"));
        assert_eq!(help(None, &["a", "b"]), "there are `a`, `b`");
    }
}
