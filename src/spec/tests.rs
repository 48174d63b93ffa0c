//! Whole files: what they load to, and every message that a person reads.

use super::*;

mod caches;
mod errors;
mod files;
mod forge;
mod loading;
mod mutation;
mod network;
mod notify;
mod proposed;
mod roundtrip;

/// Loads texts as `slate.yaml`, `2.yaml`, … in `/srv/slate`.
fn load_all(texts: &[&str], env: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
    let name =
        |index| if index == 0 { "slate.yaml".to_owned() } else { format!("{}.yaml", index + 1) };
    let sources: Vec<Source> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let base = PathBuf::from("/srv/slate");
            Source { path: name(index), text: (*text).to_owned(), base }
        })
        .collect();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&sources, &env)
}

fn spec_of(text: &str) -> Spec {
    load_all(&[text], &[]).unwrap_or_else(|found| panic!("it should load:\n{found}")).spec
}

/// What a refused file is told, as one text.
fn errors_of(text: &str) -> String {
    load_all(&[text], &[]).map(|loaded| loaded.spec).expect_err("it should be refused").to_string()
}

/// The messages alone, without places.
fn messages(found: &Diagnostics) -> Vec<String> {
    found
        .iter()
        .map(|diagnostic| format!("{}: {}", diagnostic.severity, diagnostic.message))
        .collect()
}
