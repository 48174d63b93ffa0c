//! By which name something is asked for: the server's own, or that of one run.
//!
//! A request that names anything else is refused: a web page could have pointed a name of its own
//! at this address (DNS rebinding).

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use super::TOP;
use crate::api::listen::is_local;
use crate::reports::Place;

/// Bytes of a run's label; it need not be secret, only every run's own.
const LABEL_BYTES: usize = 16;
/// What labels begin with; a name must not begin with a number alone.
const LABEL_PREFIX: &str = "r-";
/// What all browsers take for this machine, whatever stands before it (RFC 6761).
const LOCALHOST: &str = "localhost";

/// The names that are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// Beside those of this machine.
    other: Option<String>,
}

/// What a request asks for by its `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The server itself.
    Own {
        /// Its name and port that runs' names are made of.
        host: String,
    },
    /// One run.
    Run {
        /// The server's own name and port.
        host: String,
        /// The run's label.
        label: String,
    },
}

impl Asked {
    /// The name and port that runs' names are made of.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Own { host } | Self::Run { host, .. } => host,
        }
    }

    /// The address of something on the server's own name.
    pub(super) fn own(&self, path: &str) -> String {
        match self {
            Self::Own { .. } => path.to_owned(),
            Self::Run { host, .. } => format!("//{host}{path}"),
        }
    }
}

impl Names {
    pub(super) fn new(other: Option<&str>) -> Self {
        Self { other: other.map(str::to_ascii_lowercase) }
    }

    /// Reads a `Host` header; none if it names something else.
    pub(super) fn read(&self, host: &str) -> Option<Asked> {
        let host = host.to_ascii_lowercase();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, format!(":{port}"))
            }
            Some(_) | None => (host.as_str(), String::new()),
        };
        if is_local(&host) {
            return Some(Asked::Own { host: format!("{LOCALHOST}{port}") });
        }
        let others = self.other.as_deref().into_iter().chain([LOCALHOST]);
        for own in others {
            if name == own {
                return Some(Asked::Own { host });
            }
            if let Some(label) = name.strip_suffix(own).and_then(|it| it.strip_suffix('.'))
                && is_label(label)
            {
                return Some(Asked::Run { host: format!("{own}{port}"), label: label.to_owned() });
            }
        }
        None
    }
}

fn is_label(text: &str) -> bool {
    let digits = text.strip_prefix(LABEL_PREFIX).unwrap_or_default();
    digits.len() == 2 * LABEL_BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The label of the run that a place is in.
pub(super) fn label(place: &Place) -> String {
    let mut named = Vec::new();
    for name in place.names().iter().take(2) {
        // No name has a slash in it.
        named.extend_from_slice(name.as_encoded_bytes());
        named.push(b'/');
    }
    let hash = digest(&SHA256, &named);
    let mut label = LABEL_PREFIX.to_owned();
    for byte in hash.as_ref().iter().take(LABEL_BYTES) {
        // Writing to a String cannot fail.
        let _infallible = write!(label, "{byte:02x}");
    }
    label
}

/// The address of something of a run, on the run's own name and by the scheme in use.
pub(super) fn run_address(host: &str, place: &Place) -> String {
    format!("//{}.{host}{TOP}{}", label(place), place.encoded())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Place {
        Place::parse(path).expect("a place")
    }

    #[test]
    fn only_names_of_ours_are_read() {
        let label = label(&place("ci/7"));
        let names = Names::new(Some("Reports.example.org"));
        for (host, own) in [
            ("127.0.0.1:9190", "localhost:9190"),
            ("[::1]:9190", "localhost:9190"),
            ("LOCALHOST", "localhost"),
            ("reports.example.org", "reports.example.org"),
            ("reports.example.org:8443", "reports.example.org:8443"),
        ] {
            assert_eq!(names.read(host), Some(Asked::Own { host: own.to_owned() }), "{host}");
        }
        for own in ["localhost:9190", "reports.example.org"] {
            let run = Asked::Run { host: own.to_owned(), label: label.clone() };
            assert_eq!(names.read(&format!("{label}.{own}")), Some(run), "{own}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9190",
            "localhost.evil.example",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "a.localhost",
            "r-00.localhost",
            "10.0.0.1",
            "r-zz.reports.example.org",
            &format!("x.{label}.localhost"),
            &format!("{label}localhost"),
            &format!("{label}.evil.example"),
        ] {
            assert_eq!(names.read(host), None, "{host}");
        }
        assert_eq!(Names::new(None).read("reports.example.org"), None);
    }

    #[test]
    fn every_run_has_a_name_of_its_own() {
        assert_eq!(label(&place("ci/7")), label(&place("ci/7/html/a.png")));
        let runs = ["ci/7", "ci/71", "ci7/7", "c/i7", "CI/7", "ci/8"].map(|it| label(&place(it)));
        for (at, one) in runs.iter().enumerate() {
            assert!(is_label(one), "{one}");
            assert!(runs.iter().skip(at + 1).all(|other| other != one), "{one}");
        }
        let address = run_address("localhost:9190", &place("ci/7/a%20b"));
        assert_eq!(address, format!("//{}.localhost:9190/reports/ci/7/a%20b", runs[0]));
    }
}
