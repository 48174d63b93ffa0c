//! Where a scope is: its kind, its paths, and the API that serves it.

/// What a scope's address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Repository { owner: String, name: String },
    Organization(String),
    Enterprise(String),
}

/// A scope and its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) place: Place,
    /// Without a slash at its end.
    pub(super) api: String,
}

impl Scope {
    /// Reads a scope's address; `api` is the API's, where it is not the one that follows from it.
    ///
    /// # Errors
    /// What is wrong with it, and what it should look like.
    pub(super) fn parse(url: &str, api: Option<&str>) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "`{url}` {what}; a repository is `https://github.com/owner/name`, an organization \
                 `https://github.com/name`, an enterprise `https://github.com/enterprises/name`"
            )
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let mut parts = rest.trim_end_matches('/').split('/');
        let host = parts.next().unwrap_or_default();
        let parts: Vec<&str> = parts.collect();
        if host.is_empty() || !parts.iter().all(|part| is_name(part)) {
            return Err(wrong("is not the address of a place at GitHub"));
        }
        let place = match parts.as_slice() {
            ["enterprises", name] => Place::Enterprise((*name).to_owned()),
            [owner, name] => {
                let name = name.strip_suffix(".git").unwrap_or(name);
                Place::Repository { owner: (*owner).to_owned(), name: name.to_owned() }
            }
            [name] => Place::Organization((*name).to_owned()),
            _ => return Err(wrong("names no repository, organization or enterprise")),
        };
        let api = match api {
            Some(api) => {
                let api = api.trim_end_matches('/');
                if !api.starts_with("https://") && !api.starts_with("http://") {
                    return Err(format!("the API's address `{api}` does not begin with https://"));
                }
                api.to_owned()
            }
            None if scheme != "https" => {
                return Err(wrong("is not https: a token must not travel in the open"));
            }
            None => api_of(host),
        };
        Ok(Self { place, api })
    }

    /// `S` of the API: where the scope's runners are.
    pub(super) fn runners(&self) -> String {
        format!("{}/actions/runners", self.path())
    }

    /// The scope's path.
    pub(super) fn path(&self) -> String {
        match &self.place {
            Place::Repository { owner, name } => format!("/repos/{owner}/{name}"),
            Place::Organization(name) => format!("/orgs/{name}"),
            Place::Enterprise(name) => format!("/enterprises/{name}"),
        }
    }

    /// The scope in words.
    pub(super) fn words(&self) -> String {
        match &self.place {
            Place::Repository { owner, name } => format!("{owner}/{name}"),
            Place::Organization(name) => format!("the organization {name}"),
            Place::Enterprise(name) => format!("the enterprise {name}"),
        }
    }

    /// The rights that a token needs to register and remove runners here.
    pub(super) fn rights(&self) -> &'static str {
        match &self.place {
            Place::Repository { .. } => {
                "Administration: write and Actions: read (a classic token: `repo`)"
            }
            Place::Organization(_) => {
                "Self-hosted runners: write and Actions: read (a classic token: `admin:org` and `repo`)"
            }
            Place::Enterprise(_) => "a classic token with `manage_runners:enterprise`",
        }
    }
}

/// The rule of GitHub's own clients: its hosted servers have a name for the API, all others a path.
fn api_of(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host == "github.com" || host == "www.github.com" {
        "https://api.github.com".to_owned()
    } else if host.ends_with(".ghe.com") {
        format!("https://api.{host}")
    } else {
        format!("https://{host}/api/v3")
    }
}

/// A name as GitHub gives them; so it stands in a path as it is.
pub(in crate::forge) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text != "." && text != ".." && text.len() <= 100 && text.chars().all(plain)
}

/// `owner/name`, if it is that.
pub(in crate::forge) fn repository(text: &str) -> Result<&str, String> {
    match text.split_once('/') {
        Some((owner, name)) if is_name(owner) && is_name(name) => Ok(text),
        _ => Err(format!("`{text}` is no repository; write `owner/name`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_places_and_their_api() {
        for (url, path, api) in [
            ("https://github.com/me/site", "/repos/me/site", "https://api.github.com"),
            ("https://www.github.com/me/site.git", "/repos/me/site", "https://api.github.com"),
            ("https://github.com/acme", "/orgs/acme", "https://api.github.com"),
            ("https://github.com/enterprises/big", "/enterprises/big", "https://api.github.com"),
            ("https://acme.ghe.com/team", "/orgs/team", "https://api.acme.ghe.com"),
            ("https://git.lan:8443/a/b", "/repos/a/b", "https://git.lan:8443/api/v3"),
            (
                "https://github.com.evil.example/a",
                "/orgs/a",
                "https://github.com.evil.example/api/v3",
            ),
        ] {
            let scope = Scope::parse(url, None).unwrap();
            assert_eq!((scope.path().as_str(), scope.api.as_str()), (path, api), "{url}");
        }
    }

    #[test]
    fn http_is_for_an_api_that_is_named() {
        assert!(Scope::parse("http://git.lan/a/b", None).unwrap_err().contains("in the open"));
        let scope = Scope::parse("http://git.lan/a/b", Some("http://127.0.0.1:80/")).unwrap();
        assert_eq!(scope.api, "http://127.0.0.1:80");
        assert!(Scope::parse("https://github.com/a", Some("ftp://x")).is_err());
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for url in [
            "github.com/me/site",
            "https://github.com",
            "https://github.com/a/b/c",
            "https://github.com/a/../b",
            "https://github.com/a b",
            "https://github.com/a?x=1",
            "https:///a/b",
        ] {
            assert!(Scope::parse(url, None).is_err(), "{url}");
        }
        assert!(repository("a/b").is_ok());
        for text in ["a", "a/b/c", "a/", "a/b?x", "../b"] {
            assert!(repository(text).is_err(), "{text}");
        }
    }
}
