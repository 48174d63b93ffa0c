//! Pools of a forge, for tests.

use std::time::Duration;

use crate::ids::{PoolName, ProfileName};
use crate::spec::{Elastic, ForgeAccess, ForgePool, Pool, PoolSize, Reuse, SecretSource};

pub(in crate::fleet) const SCOPE: &str = "https://github.com/me/site";

/// A pool of one-job runners that are registered with a personal token.
pub(in crate::fleet) fn forge_pool(name: &str, labels: &[&str]) -> Pool {
    Pool {
        name: PoolName::new(name),
        profile: ProfileName::new("light"),
        forge: Some(ForgePool {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..ForgePool::plain(
                SCOPE,
                ForgeAccess::Personal(SecretSource::Variable("TOKEN".to_owned())),
            )
        }),
        ..Pool::plain("light", 1)
    }
}

/// Runners that register with tokens, and stay.
pub(in crate::fleet) fn kept_pool(count: u32) -> Pool {
    let mut pool = forge_pool("homelab", &["self-hosted", "linux"]);
    if let Some(forge) = &mut pool.forge {
        forge.access = ForgeAccess::Tokens("RUNNER_TOKEN_{n}".to_owned());
    }
    Pool {
        size: PoolSize::Fixed(count),
        runner_name: Some("homelab-runner-{n}".to_owned()),
        reuse: Reuse::Persistent,
        ..pool
    }
}

/// A pool that follows its queue at once.
pub(in crate::fleet) fn elastic_pool(name: &str, labels: &[&str], (min, max): (u32, u32)) -> Pool {
    let elastic = Elastic {
        min,
        max,
        scale_up_threshold: 0,
        scale_up_delay: Duration::ZERO,
        scale_down_delay: Duration::from_secs(600),
        warm: 0,
    };
    Pool { size: PoolSize::Elastic(elastic), ..forge_pool(name, labels) }
}
