//! The network's proxies in the environment of jobs. Their users and passwords are read as each
//! order goes out, so that none of them is in a record and a new one counts at once.

use std::collections::BTreeMap;

use super::secrets::Secrets;
use crate::causes::with_causes;
use crate::spec::{Proxy, ProxyUrl};

/// Never asked of a proxy: what a job starts in its own runner.
const OWN_HOST: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Tells a job of the proxies, each variable in both spellings, because tools read one or the
/// other. Whoever sets one of them has chosen for both. Reads a small file.
pub(super) fn tell(env: &mut BTreeMap<String, String>, proxy: &Proxy, secrets: &Secrets) {
    let url = |url: &Option<ProxyUrl>| url.as_ref().map(|url| open(url, secrets));
    let direct = OWN_HOST.into_iter().chain(proxy.no_proxy.iter().map(String::as_str));
    let direct: Vec<&str> = direct.collect();
    let variables = [
        ("HTTP_PROXY", url(&proxy.http)),
        ("HTTPS_PROXY", url(&proxy.https)),
        ("NO_PROXY", Some(direct.join(","))),
    ];
    for (name, value) in variables {
        let small = name.to_ascii_lowercase();
        let Some(value) = value else { continue };
        if !env.contains_key(name) && !env.contains_key(&small) {
            env.insert(small, value.clone());
            env.insert(name.to_owned(), value);
        }
    }
}

/// The whole address. Without its user the proxy itself tells a job what it lacks.
fn open(url: &ProxyUrl, secrets: &Secrets) -> String {
    match secrets.open(url) {
        Ok(whole) => whole.reveal().to_owned(),
        Err(error) => {
            tracing::warn!(
                "jobs are told of the proxy {url} without its user: {}",
                with_causes(&error)
            );
            url.address().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Env, Source, load};

    /// What a fleet file says of proxies, and where its variables are.
    fn scene(keys: &str, variables: &[(&str, &str)]) -> (Proxy, Secrets) {
        let text = format!(
            "version: 1\nproject: p\npools: [{{name: a, profile: light}}]\nproxy: {keys}\n"
        );
        let source = Source { path: "slate.yaml".to_owned(), text, base: "/nowhere".into() };
        let env = variables.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned()));
        let env: Env = env.collect();
        let loaded = load(&[source], &env).expect("it is valid");
        (loaded.spec.proxy.expect("there are proxies"), Secrets::new(env))
    }

    #[test]
    fn a_proxy_is_told_in_both_spellings_and_never_over_what_was_set() {
        let keys = "{http: 'http://p:1', https: 'http://u:${WORD}@p:2', no_proxy: [.lan]}";
        let (proxy, secrets) = scene(keys, &[("WORD", "w")]);
        let mut env = BTreeMap::from([("http_proxy".to_owned(), "http://mine:3".to_owned())]);
        tell(&mut env, &proxy, &secrets);
        let told: Vec<(&str, &str)> =
            env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let direct = "localhost,127.0.0.1,::1,.lan";
        let expected = [
            ("HTTPS_PROXY", "http://u:w@p:2"),
            ("NO_PROXY", direct),
            ("http_proxy", "http://mine:3"),
            ("https_proxy", "http://u:w@p:2"),
            ("no_proxy", direct),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_was_recorded_knows_the_password_that_is_kept_now_and_no_mask() {
        let (proxy, _) = scene("{https: 'http://u:${WORD}@p:2'}", &[("WORD", "old")]);
        let recorded = serde_json::to_string(&proxy).expect("JSON");
        assert!(!recorded.contains("old"), "{recorded}");
        let proxy: Proxy = serde_json::from_str(&recorded).expect("it is read back");
        let word = |variables: Env| {
            let mut env = BTreeMap::new();
            tell(&mut env, &proxy, &Secrets::new(variables));
            env.remove("HTTPS_PROXY")
        };
        let new = Env::from([("WORD".to_owned(), "new".to_owned())]);
        assert_eq!(word(new).as_deref(), Some("http://u:new@p:2"));
        assert_eq!(word(Env::new()).as_deref(), Some("http://p:2"), "nothing is made up");
    }
}
