//! What is known of the forges beside the core, for people.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Forges, Scope, lock};
use crate::forge::{Finding, Forge, Governor, Level};
use crate::ids::PoolName;
use crate::spec::{ForgeAccess, ForgePool, Pool, Proxy, SecretSource, Webhook};
use crate::supervisor::forge_report::{
    ForgeReport, LimitReport, ScopeReport, SecretReport, SecretUser,
};

/// Clients wait half a minute for all of it.
const FINDINGS_MOST: Duration = Duration::from_secs(20);

/// Pools that use a scope by one right.
struct Group {
    forge: ForgePool,
    pools: Vec<PoolName>,
}

impl Forges {
    /// Asks the forges, all at once, and reads every secret that the spec names.
    pub async fn report(&self) -> ForgeReport {
        let (pools, webhook, notify, proxy) = {
            let state = lock(&self.state);
            let proxy = state.proxy().cloned();
            (state.pools.clone(), state.webhook.clone(), state.notify.clone(), proxy)
        };
        let groups = groups(&pools);
        let scopes = join_all(groups.into_iter().map(|group| self.scope_report(group)));
        let secrets = self.secret_reports(&pools, webhook.as_ref(), notify);
        let (scopes, mut secrets) = tokio::join!(scopes, secrets);
        secrets.extend(self.proxy_reports(proxy).await);
        let env_file = self.secrets.env_report();
        ForgeReport { scopes, secrets, env_file, webhook: self.door.report() }
    }

    /// One for each user of a proxy; both addresses have the same as a rule.
    async fn proxy_reports(&self, proxy: Option<Proxy>) -> Vec<SecretReport> {
        let Some(Proxy { http, https, .. }) = proxy else { return Vec::new() };
        let other = http.filter(|http| https.as_ref() != Some(http));
        let secrets = self.secrets.clone();
        let read = move || {
            let urls = https.iter().chain(&other);
            urls.filter_map(|url| secrets.proxy_report(url)).collect()
        };
        spawn_blocking(read).await.unwrap_or_default()
    }

    async fn scope_report(&self, group: Group) -> ScopeReport {
        let Group { forge, pools } = group;
        let has_api = !matches!(forge.access, ForgeAccess::Tokens(_));
        let known = self.scope(&forge.scope).filter(|_| has_api);
        let (findings, limit) = match known {
            None => (Vec::new(), None),
            Some(known) if known.settings.access == forge.access => {
                (findings(&known).await, limit(&known.governor))
            }
            Some(_) => (vec![unused(&forge)], None),
        };
        ScopeReport { scope: forge.scope, pools, findings, limit }
    }

    async fn secret_reports(
        &self,
        pools: &[Pool],
        webhook: Option<&Webhook>,
        notify: Option<SecretSource>,
    ) -> Vec<SecretReport> {
        let mut wanted: Vec<(SecretSource, SecretUser)> = Vec::new();
        for pool in pools {
            wanted.extend(secrets_of(pool));
        }
        let of_webhook = webhook.iter().flat_map(|it| &it.secrets);
        wanted.extend(of_webhook.map(|source| (source.clone(), SecretUser::Webhook)));
        wanted.extend(notify.map(|source| (source, SecretUser::Notify)));
        join_all(
            wanted.into_iter().map(async |(source, of)| self.secrets.report(&source, of).await),
        )
        .await
    }
}

fn groups(pools: &[Pool]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for pool in pools {
        let Some(forge) = &pool.forge else { continue };
        let is_same =
            |it: &&mut Group| it.forge.scope == forge.scope && it.forge.access == forge.access;
        match groups.iter_mut().find(is_same) {
            Some(group) => group.pools.push(pool.name.clone()),
            None => {
                let (forge, pools) = (forge.clone(), vec![pool.name.clone()]);
                groups.push(Group { forge, pools });
            }
        }
    }
    groups
}

async fn findings(scope: &Scope) -> Vec<Finding> {
    let forge = match &scope.adapter {
        Ok(forge) => forge,
        Err(why) => return vec![Finding { level: Level::Error, message: why.clone() }],
    };
    let late = || {
        let message = "the forge did not tell in time; ask again".to_owned();
        vec![Finding { level: Level::Warning, message }]
    };
    let asked = timeout(FINDINGS_MOST, forge.findings()).await;
    let mut findings = asked.unwrap_or_else(|_| late());
    let gaps = scope.watch.gaps().into_iter();
    findings.extend(gaps.map(|message| Finding { level: Level::Warning, message }));
    findings
}

fn unused(forge: &ForgePool) -> Finding {
    let message = format!(
        "another pool gives another right to {}, and that one is used; name the same one in both",
        forge.scope
    );
    Finding { level: Level::Warning, message }
}

fn limit(governor: &Governor) -> Option<LimitReport> {
    let view = governor.view();
    Some(LimitReport {
        limit: view.limit?,
        remaining: view.remaining?,
        reset: view.reset?,
        silent_until: view.limited_until,
    })
}

/// Each secret that a pool needs, and who needs it.
fn secrets_of(pool: &Pool) -> Vec<(SecretSource, SecretUser)> {
    let whole = || SecretUser::Pool(pool.name.clone());
    match pool.forge.as_ref().map(|forge| &forge.access) {
        None => Vec::new(),
        Some(ForgeAccess::Personal(source)) => vec![(source.clone(), whole())],
        Some(ForgeAccess::App(app)) => vec![(app.key.clone(), whole())],
        Some(ForgeAccess::Tokens(variable)) => {
            let one = |n: u32| {
                let source = SecretSource::Variable(variable.replace("{n}", &n.to_string()));
                (source, SecretUser::Runner(pool.name.clone(), n))
            };
            (1..=pool.size.most()).map(one).collect()
        }
    }
}
