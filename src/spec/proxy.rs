//! The proxies that jobs go through. Users and passwords of theirs are read when they are needed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::MASK;
use super::{Env, interpolate};

/// What jobs are told of the network's proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proxy {
    /// For `http://` addresses.
    pub http: Option<ProxyUrl>,
    /// For `https://` addresses.
    pub https: Option<ProxyUrl>,
    /// Hosts, domains and networks that are reached directly.
    pub no_proxy: Vec<String>,
}

/// A proxy's address. Of a user and password it only has where they are kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Form", into = "Form")]
pub struct ProxyUrl {
    /// Scheme, host and port.
    address: String,
    /// As the fleet file writes it with its user: `http://${PROXY_USER}:${PROXY_PASSWORD}@proxy`.
    written: Option<String>,
}

/// A proxy's address in JSON.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Form {
    /// Without a user.
    Plain(String),
    /// With one that is kept in variables.
    Kept {
        /// Scheme, host and port.
        address: String,
        /// The same with its user, as the fleet file writes it.
        written: String,
    },
}

/// Why a text is no proxy's address, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAProxy(pub(super) &'static str);

/// What a user in the open is told.
pub(super) const OPEN_USER: NotAProxy = NotAProxy(
    "secrets never enter the file: put them into `.env` and write \
     `http://${PROXY_USER}:${PROXY_PASSWORD}@proxy.example:3128`",
);

impl ProxyUrl {
    /// Reads an address without a user, such as `http://proxy.example:3128`.
    ///
    /// # Errors
    /// [`NotAProxy`] with what would be right.
    pub fn parse(text: &str) -> Result<Self, NotAProxy> {
        let whole = WholeProxyUrl::parse(text)?;
        match whole.user() {
            // An older state has no more of the user than this; the next `up` knows the rest.
            None | Some(MASK) => Ok(Self { address: whole.without_user(), written: None }),
            Some(_) => Err(OPEN_USER),
        }
    }

    /// An address whose user comes from variables, as it is written and what that comes to now.
    ///
    /// # Errors
    /// [`NotAProxy`] where the secret is not in a variable.
    pub(super) fn kept(written: &str, whole: &WholeProxyUrl) -> Result<Self, NotAProxy> {
        let kept = Self { address: whole.without_user(), written: Some(written.to_owned()) };
        // Without any variable only the name of a user may be left.
        let bare = interpolate::fill(written, &Env::new()).map(|filled| filled.text);
        let is_open = bare.is_ok_and(|bare| has_secret(&bare))
            || (has_secret(written) && !user_of(written).contains('$'));
        if is_open { Err(OPEN_USER) } else { Ok(kept) }
    }

    /// The address without its user.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// As the fleet file writes it with its user, if it has one.
    #[must_use]
    pub fn written(&self) -> Option<&str> {
        self.written.as_deref()
    }

    /// The whole address, with the user and password that these variables hold.
    ///
    /// # Errors
    /// In words: a variable is missing, or what they come to is no address.
    pub fn open(&self, variables: &Env) -> Result<WholeProxyUrl, String> {
        let Some(written) = &self.written else {
            return Ok(WholeProxyUrl(self.address.clone()));
        };
        let filled = interpolate::fill(written, variables)?;
        if let Some(missing) = filled.missing {
            return Err(missing);
        }
        WholeProxyUrl::parse(&filled.text)
            .map_err(|why| format!("`{written}` comes to no address of a proxy: {why}"))
    }
}

/// A proxy's address with its user and password, for a job's environment and the fleet's own calls.
/// It is never shown and never kept.
#[derive(Clone, PartialEq, Eq)]
pub struct WholeProxyUrl(String);

impl WholeProxyUrl {
    /// Reads an address, with or without a user.
    ///
    /// # Errors
    /// [`NotAProxy`] with what would be right.
    pub fn parse(text: &str) -> Result<Self, NotAProxy> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let Some(rest) = rest else {
            return Err(NotAProxy("write it with `http://` or `https://` before the name"));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let is_user = |c: char| c.is_ascii_graphic() && !"@/?#[]\"\\".contains(c);
        if !user.chars().all(is_user) {
            return Err(NotAProxy(
                "special characters of a user or password are written as in every address: `@` \
                 is `%40`",
            ));
        }
        match is_place(place) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAProxy("write a host and a port, such as `http://proxy.example:3128`")),
        }
    }

    /// The address itself, for the one use that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once("://").unwrap_or(("", &self.0))
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.parts().1.rsplit_once('@').map(|(user, _)| user)
    }

    fn without_user(&self) -> String {
        let (scheme, rest) = self.parts();
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{place}")
    }
}

impl fmt::Debug for WholeProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WholeProxyUrl({})", self.without_user())
    }
}

/// What stands before the host.
fn user_of(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.rsplit_once('@').map_or("", |(user, _)| user)
}

/// Whether there is more of a user than the name.
fn has_secret(text: &str) -> bool {
    let user = user_of(text);
    !user.is_empty() && !user.ends_with(':')
}

/// A host and perhaps a port.
fn is_place(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(rest.is_empty().then_some("80"))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("80")),
        },
    };
    let bracketed = text.starts_with('[');
    let is_host =
        |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c) || (bracketed && c == ':');
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    !host.is_empty() && host.chars().all(is_host) && port.is_some_and(is_port)
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.written, self.address.split_once("://")) {
            (Some(_), Some((scheme, place))) => write!(f, "{scheme}://{MASK}@{place}"),
            _ => f.write_str(&self.address),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

impl TryFrom<Form> for ProxyUrl {
    type Error = NotAProxy;

    fn try_from(form: Form) -> Result<Self, NotAProxy> {
        match form {
            Form::Plain(text) => Self::parse(&text),
            Form::Kept { address, written } => {
                let whole = WholeProxyUrl::parse(&address)?;
                match whole.user() {
                    None => Self::kept(&written, &whole),
                    Some(_) => Err(OPEN_USER),
                }
            }
        }
    }
}

impl From<ProxyUrl> for Form {
    fn from(ProxyUrl { address, written }: ProxyUrl) -> Self {
        match written {
            None => Self::Plain(address),
            Some(written) => Self::Kept { address, written },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Env {
        variables.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect()
    }

    /// An address whose whole comes from `P`.
    fn kept(written: &str, whole: &str) -> Result<ProxyUrl, NotAProxy> {
        ProxyUrl::kept(written, &WholeProxyUrl::parse(whole).expect("an address"))
    }

    #[test]
    fn addresses_are_read_and_other_texts_refused_with_what_would_be_right() {
        for right in [
            "http://proxy:3128",
            "https://proxy.example",
            "http://10.0.0.1:80/",
            "http://[fd00::1]:3128",
            "http://u:p%40ss@proxy:3128",
            "http://u@proxy",
        ] {
            assert!(WholeProxyUrl::parse(right).is_ok(), "{right}");
            assert_eq!(ProxyUrl::parse(right).is_ok(), !right.contains('@'), "{right}");
        }
        for wrong in [
            "",
            "proxy:3128",
            "socks5://proxy:1080",
            "http://",
            "http://proxy:0",
            "http://proxy:99999",
            "http://proxy:3128/path",
            "http://u:p@ss@proxy:3128",
            "http://u:p/s@proxy:3128",
            "http://pro xy:3128",
            "http://[fd00::1:3128",
            "http://fd00::1",
        ] {
            assert!(WholeProxyUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_is_read_from_its_variables_each_time_and_is_nowhere_else() {
        let written = "http://me:${WORD}@proxy:3128";
        let url = kept(written, "http://me:hunter2@proxy:3128").expect("its word is kept");
        assert_eq!(url.to_string(), "http://***@proxy:3128");
        let text = serde_json::to_string(&url).expect("JSON");
        assert!(!format!("{url:?}{text}").contains("hunter2"), "{text}");
        assert_eq!(serde_json::from_str::<ProxyUrl>(&text).expect("read back"), url);
        for word in ["hunter2", "another"] {
            let whole = url.open(&env(&[("WORD", word)])).expect("it is set");
            assert_eq!(whole.reveal(), format!("http://me:{word}@proxy:3128"));
            assert!(!format!("{whole:?}").contains(word));
        }
        let missing = url.open(&Env::new()).expect_err("it is not set");
        assert!(missing.contains("`WORD`"), "{missing}");
        let broken = url.open(&env(&[("WORD", "a/b")])).expect_err("no address");
        assert!(broken.contains(written) && !broken.contains("a/b"), "{broken}");
    }

    #[test]
    fn a_secret_that_is_in_no_variable_is_refused() {
        let whole = "http://me:hunter2@proxy:3128";
        for right in ["${P}", "http://${U}:${W}@proxy:3128", "http://me:${W:?ask}@proxy:3128"] {
            assert!(kept(right, whole).is_ok(), "{right}");
        }
        for wrong in [
            "http://me:hunter2@${HOST}:3128",
            "http://me:${W:-hunter2}@proxy:3128",
            "http://token@${HOST}:3128",
            "${P:-http://me:hunter2@proxy:3128}",
        ] {
            assert_eq!(kept(wrong, whole), Err(OPEN_USER), "{wrong}");
        }
        for json in [
            r#""http://me:hunter2@proxy:3128""#,
            r#"{"address": "http://me:hunter2@proxy", "written": "${P}"}"#,
            r#"{"address": "http://proxy", "written": "http://me:hunter2@proxy"}"#,
        ] {
            assert!(serde_json::from_str::<ProxyUrl>(json).is_err(), "{json}");
        }
        // An older state's.
        let masked: ProxyUrl = serde_json::from_str(r#""http://***@proxy:1""#).expect("it is read");
        assert_eq!((masked.address(), masked.written()), ("http://proxy:1", None));
    }
}
