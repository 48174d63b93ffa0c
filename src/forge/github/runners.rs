//! Runners: registered for one job, removed, listed; and the groups that they are registered in.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Github;
use super::line::{Call, Trouble, document, failed, refusal};
use super::scope::Place;
use super::shapes::{Group, JitConfig, Runner};
use crate::fleet::forge::{ForgeEntry, ForgeErrorClass, ForgeRunnerFact, RegisterOrder};
use crate::forge::governor::Use;
use crate::forge::{CallError, Grant, Listed, Removal};
use crate::ids::ForgeRunnerId;
use crate::units::Time;
use crate::units::words::counted;

/// A group's number is looked up again after this.
const GROUP_KEPT: Duration = Duration::from_secs(10 * 60);
/// The group of a repository's runners; a repository has no other.
const REPOSITORY_GROUP: u64 = 1;

/// A group's number, by its name; none is the default group.
pub(super) struct KnownGroup {
    name: Option<String>,
    id: u64,
    until: Time,
}

#[derive(Deserialize)]
struct Download {
    #[serde(default)]
    os: String,
    #[serde(default)]
    filename: String,
}

impl Github {
    pub(super) async fn register_runner(&self, order: &RegisterOrder) -> Result<Grant, CallError> {
        let what = format!("registering {} at {}", order.name, self.scope.words());
        let enlistment = &order.enlistment;
        let group = self.group(enlistment.group.as_deref(), &what).await?;
        let body = json!({
            "name": order.name,
            "runner_group_id": group,
            "labels": enlistment.labels,
            "work_folder": "_work",
        });
        let path = format!("{}/generate-jitconfig", self.scope.runners());
        let answer = match self.api.call(Call::post(&path, &body)).await {
            Ok(answer) => answer,
            Err(Trouble::Refused(answer)) if answer.status.as_u16() == 409 => {
                let words = format!("{what}: the name is taken ({})", refusal(&answer));
                return Err(failed(ForgeErrorClass::NameTaken, words));
            }
            Err(trouble) => {
                if matches!(&trouble, Trouble::Refused(answer) if answer.status.as_u16() == 404) {
                    self.forget_groups();
                }
                return Err(self.changing(&what).sort(trouble));
            }
        };
        let config: JitConfig =
            document(&answer).map_err(|trouble| self.changing(&what).sort(trouble))?;
        if config.runner.name != order.name || config.encoded_jit_config.is_empty() {
            return Err(CallError::Unknown(format!("{what}: GitHub answers with another runner")));
        }
        Ok(Grant { id: ForgeRunnerId(config.runner.id), secret: config.encoded_jit_config })
    }

    pub(super) async fn remove_runner(&self, entry: &ForgeEntry) -> Result<Removal, CallError> {
        let what = format!("removing {} from {}", entry.name, self.scope.words());
        let id = match entry.id {
            Some(id) => id.0,
            None => match self.id_of(&entry.name, &what).await? {
                Some(id) => id,
                None => return Ok(Removal::NotListed),
            },
        };
        let path = format!("{}/{id}", self.scope.runners());
        let call = Call { use_: Use::Remove, method: &Method::DELETE, ..Call::get(&path) };
        match self.api.call(call).await {
            Ok(_) => Ok(Removal::Removed),
            Err(Trouble::Refused(answer)) => match answer.status.as_u16() {
                404 => Ok(Removal::Removed),
                // GitHub refuses so for a runner with a job. Whatever else it may mean, the runner
                // stays.
                422 => Ok(Removal::Busy),
                _ => Err(self.changing(&what).sort(Trouble::Refused(answer))),
            },
            Err(trouble) => Err(self.changing(&what).sort(trouble)),
        }
    }

    /// A runner's number by its name; the filter may find others, too.
    async fn id_of(&self, name: &str, what: &str) -> Result<Option<u64>, CallError> {
        let path = format!("{}?name={}&per_page=100", self.scope.runners(), escaped(name));
        let call = Call { use_: Use::Remove, ..Call::get(&path) };
        let answer = self.api.call(call).await.map_err(|it| self.reading(what).sort(it))?;
        #[derive(Deserialize)]
        struct Found {
            runners: Vec<Runner>,
        }
        let found: Found = document(&answer).map_err(|it| self.reading(what).sort(it))?;
        Ok(found.runners.into_iter().find(|runner| runner.name == name).map(|runner| runner.id))
    }

    pub(super) async fn list_runners(&self) -> Result<Listed<ForgeRunnerFact>, CallError> {
        let what = format!("listing the runners of {}", self.scope.words());
        let path = format!("{}?per_page=100", self.scope.runners());
        let pages = self.api.list::<Runner>(&path, "runners").await;
        let pages = pages.map_err(|trouble| self.reading(&what).sort(trouble))?;
        if pages.bad > 0 {
            // A runner that is missed here looks as if it were gone.
            let words = format!("{what}: not understood: {}", counted(pages.bad, "entry"));
            return Err(failed(ForgeErrorClass::Retry, words));
        }
        // While others are removed, one may stand on two pages.
        let mut seen = BTreeSet::new();
        let items = pages.items.into_iter().filter(|runner| seen.insert(runner.id));
        Ok(Listed { items: items.map(Runner::fact).collect(), gaps: Vec::new() })
    }

    pub(super) async fn find_newest_runner(&self) -> Result<Option<String>, CallError> {
        let what = format!("asking for the newest runner for {}", self.scope.words());
        let path = format!("{}/downloads", self.scope.runners());
        let list: Vec<Value> =
            self.api.get(&path).await.map_err(|trouble| self.reading(&what).sort(trouble))?;
        let (downloads, _bad) = super::shapes::entries::<Download>(list);
        Ok(downloads.iter().filter(|it| it.os == "linux").find_map(|it| version(&it.filename)))
    }

    /// The number of a group, or of the default one.
    async fn group(&self, name: Option<&str>, what: &str) -> Result<u64, CallError> {
        if matches!(self.scope.place, Place::Repository { .. }) {
            return match name {
                None => Ok(REPOSITORY_GROUP),
                Some(name) => Err(failed(
                    ForgeErrorClass::Invalid,
                    format!("{what}: a repository has no runner groups; take `group: {name}` out"),
                )),
            };
        }
        let now = self.api.line.now();
        {
            let known = self.known_groups.lock().unwrap_or_else(PoisonError::into_inner);
            let found = known.iter().find(|it| it.name.as_deref() == name && it.until > now);
            if let Some(found) = found {
                return Ok(found.id);
            }
        }
        let groups = self.list_groups().await;
        let groups = groups.map_err(|trouble| self.reading(what).sort(trouble))?;
        let found = groups.iter().find(|group| match name {
            Some(name) => group.name == name,
            None => group.default,
        });
        let Some(found) = found else {
            let wanted = name.map_or("default group".to_owned(), |name| format!("group `{name}`"));
            let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
            let names = crate::forge::words::one_line(&names.join(", "));
            let words = format!("{what}: there is no runner {wanted}; there are: {names}");
            return Err(failed(ForgeErrorClass::Invalid, words));
        };
        let mut known = self.known_groups.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|it| it.name.as_deref() != name);
        known.push(KnownGroup {
            name: name.map(ToOwned::to_owned),
            id: found.id,
            until: now + GROUP_KEPT,
        });
        Ok(found.id)
    }

    pub(super) async fn list_groups(&self) -> Result<Vec<Group>, Trouble> {
        let path = format!("{}/actions/runner-groups?per_page=100", self.scope.path());
        Ok(self.api.list::<Group>(&path, "runner_groups").await?.items)
    }

    fn forget_groups(&self) {
        self.known_groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The version in `actions-runner-linux-x64-2.336.0.tar.gz`.
fn version(file: &str) -> Option<String> {
    let name = file.strip_suffix(".tar.gz")?;
    let version = name.rsplit('-').next()?;
    let is_version = version.split('.').count() == 3
        && version.split('.').all(|part| part.parse::<u32>().is_ok());
    is_version.then(|| version.to_owned())
}

/// Text as a query's value.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_files_name() {
        let file = "actions-runner-linux-x64-2.336.0.tar.gz";
        assert_eq!(version(file).as_deref(), Some("2.336.0"));
        assert_eq!(version("actions-runner-linux-x64.tar.gz"), None);
        assert_eq!(version("actions-runner-win-x64-2.336.0.zip"), None);
    }

    #[test]
    fn what_is_no_plain_letter_is_escaped() {
        assert_eq!(escaped("a-b_c.1"), "a-b_c.1");
        assert_eq!(escaped("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }
}
