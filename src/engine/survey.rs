//! What an operator should know of an engine, beside what runners need of it. `doctor` judges it.

use crate::units::Time;

use super::EngineInfo;

/// An engine, looked over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSurvey {
    /// What runners need of it.
    pub info: EngineInfo,
    /// The version of its host's kernel.
    pub kernel: Option<String>,
    /// Its clock, when it answered.
    pub clock: Option<Time>,
    /// Whether containers survive its restart.
    pub live_restore: Option<bool>,
    /// Whether it is part of a swarm.
    pub swarm: bool,
    /// Whether it can limit swap.
    pub swap_limit: Option<bool>,
    /// Whether its host passes packets on between networks.
    pub forwards: Option<bool>,
    /// Whether it pulls images through a proxy.
    pub proxied: bool,
    /// The ranges that it takes networks from; empty for Docker's own.
    pub pools: Vec<AddressPool>,
    /// Networks that took one.
    pub networks: usize,
    /// The images that were asked for.
    pub images: Vec<ImageSurvey>,
}

/// A range of addresses that is cut into networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    /// The range: `172.20.0.0/14`.
    pub base: String,
    /// The prefix of each network in it.
    pub size: u8,
}

impl AddressPool {
    /// How many networks it gives.
    #[must_use]
    pub fn networks(&self) -> u64 {
        let prefix = self.base.rsplit_once('/').and_then(|(_, prefix)| prefix.parse::<u8>().ok());
        let bits = prefix.and_then(|prefix| self.size.checked_sub(prefix)).unwrap_or(0);
        1u64.checked_shl(u32::from(bits)).unwrap_or(u64::MAX)
    }
}

/// An image on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSurvey {
    /// Its name in the fleet file.
    pub name: String,
    /// Whether the engine has it.
    pub present: bool,
    /// When it was built, if it says so.
    pub built: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_networks_of_the_pools_size() {
        let pool = |base: &str, size| AddressPool { base: base.to_owned(), size }.networks();
        assert_eq!(pool("172.17.0.0/16", 16), 1);
        assert_eq!(pool("172.20.0.0/14", 16), 4);
        assert_eq!(pool("192.168.0.0/16", 20), 16);
        assert_eq!(pool("10.0.0.0/24", 16), 1, "a pool that makes no sense counts as one");
    }
}
