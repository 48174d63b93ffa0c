//! What the engine is: version, what it can enforce, what it warns of.

use std::path::PathBuf;
use std::sync::PoisonError;

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};

use super::DockerEngine;
use super::address::Transport;
use super::errors::deadline;
use super::facts::{Facts, facts};
use crate::engine::{CgroupVersion, EngineError, EngineInfo};
use crate::units::Bytes;

/// The oldest API that has everything asked for here (engine 20.10).
const OLDEST_API: (usize, usize) = (1, 41);

impl DockerEngine {
    pub(super) async fn ask_info(&self) -> Result<EngineInfo, EngineError> {
        let call = self.call("ask the engine for its version", deadline::INFO);
        // Clones share the agreed version, so this settles it for every later call.
        let client = call.run(self.client.clone().negotiate_version()).await?;
        let version = client.client_version();
        let api = format!("{}.{}", version.major_version, version.minor_version);
        if (version.major_version, version.minor_version) < OLDEST_API {
            return Err(EngineError::Unusable(format!(
                "it speaks API {api}, and 1.41 (Docker Engine 20.10) is the oldest that works; \
                 upgrade it"
            )));
        }
        let (_, told) = self.ask().await?;
        let mut info = translate(told, api);
        if self.address.transport() == Transport::Tcp {
            info.data_root = None;
        }
        Ok(info)
    }

    /// What changes how containers are made, as the engine says it now.
    pub(super) async fn ask_facts(&self) -> Result<Facts, EngineError> {
        Ok(self.ask().await?.0)
    }

    async fn ask(&self) -> Result<(Facts, SystemInfo), EngineError> {
        let call = self.call("ask the engine what it can do", deadline::INFO);
        let told = call.run(self.client.info()).await?;
        let found = facts(&told);
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok((found, told))
    }
}

pub(super) fn translate(info: SystemInfo, api: String) -> EngineInfo {
    let mut runtimes: Vec<String> =
        info.runtimes.as_ref().map(|all| all.keys().cloned().collect()).unwrap_or_default();
    runtimes.sort_unstable();
    let warnings = warnings(&info);
    let Facts { cpus, cdi, .. } = facts(&info);
    EngineInfo {
        id: info.id.unwrap_or_default(),
        version: info.server_version.unwrap_or_default(),
        api,
        cgroups: match info.cgroup_version {
            Some(SystemInfoCgroupVersionEnum::_1) => CgroupVersion::V1,
            Some(SystemInfoCgroupVersionEnum::_2) => CgroupVersion::V2,
            Some(SystemInfoCgroupVersionEnum::EMPTY) | None => CgroupVersion::Unknown,
        },
        storage_driver: info.driver.unwrap_or_default(),
        cpus,
        memory: Bytes(info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)),
        security: security_names(info.security_options.as_deref().unwrap_or_default()),
        cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()),
        lists_cards: cdi.lists_cards(),
        runtimes,
        data_root: info.docker_root_dir.map(PathBuf::from),
        warnings,
    }
}

/// The names in options such as `name=seccomp,profile=builtin`; what is unknown is kept.
fn security_names(options: &[String]) -> Vec<String> {
    let name = |option: &String| {
        let named = option.split(',').find_map(|pair| pair.strip_prefix("name="));
        named.unwrap_or(option).to_owned()
    };
    options.iter().map(name).collect()
}

/// Limits that this engine would accept and not enforce, then its own warnings.
fn warnings(info: &SystemInfo) -> Vec<String> {
    let mut warnings = Vec::new();
    let limits = [
        (info.memory_limit, "memory limits are not enforced by this engine"),
        (info.swap_limit, "swap is not limited: a runner may swap beyond its memory limit"),
        (info.cpu_cfs_quota, "CPU limits are not enforced by this engine"),
        (info.pids_limit, "limits on processes are not enforced by this engine"),
    ];
    for (supported, words) in limits {
        if supported == Some(false) {
            warnings.push(words.to_owned());
        }
    }
    let security = security_names(info.security_options.as_deref().unwrap_or_default());
    if !security.iter().any(|name| name == "seccomp") {
        warnings.push("the engine filters no system calls (seccomp is off)".to_owned());
    }
    warnings.extend(info.warnings.iter().flatten().cloned());
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::GpuRequestKind;

    fn options(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn security_options_are_read_by_name_in_every_engines_spelling() {
        let old = options(&["name=seccomp,profile=default"]);
        assert_eq!(security_names(&old), ["seccomp"]);
        let new = options(&["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"]);
        assert_eq!(security_names(&new), ["apparmor", "seccomp", "cgroupns"]);
    }

    #[test]
    fn systemd_beside_nvidias_hook_is_warned_of_and_cdi_or_cgroupfs_is_not() {
        use bollard::models::{DeviceInfo, SystemInfoCgroupDriverEnum as Driver};
        let warned = |driver, names: &[&str], request| {
            let device = |name: &&str| DeviceInfo {
                source: Some("cdi".to_owned()),
                id: Some((*name).to_owned()),
            };
            let discovered_devices = Some(names.iter().map(device).collect());
            let info = SystemInfo {
                cgroup_driver: Some(driver),
                discovered_devices,
                ..SystemInfo::default()
            };
            translate(info, "1.41".to_owned()).card_warning(request).is_some()
        };
        assert!(warned(Driver::SYSTEMD, &[], GpuRequestKind::Auto));
        let named = ["nvidia.com/gpu=GPU-6a1c"];
        assert!(warned(Driver::SYSTEMD, &["nvidia.com/gpu=0"], GpuRequestKind::Auto));
        assert!(warned(Driver::SYSTEMD, &named, GpuRequestKind::Nvidia));
        assert!(!warned(Driver::SYSTEMD, &named, GpuRequestKind::Auto));
        assert!(!warned(Driver::CGROUPFS, &[], GpuRequestKind::Nvidia));
    }

    #[test]
    fn a_limit_that_the_engine_cannot_enforce_is_told() {
        let info = SystemInfo {
            pids_limit: Some(false),
            memory_limit: Some(true),
            security_options: Some(options(&["name=seccomp,profile=default"])),
            warnings: Some(options(&["WARNING: No swap limit support"])),
            ..SystemInfo::default()
        };
        let told = translate(info, "1.41".to_owned()).warnings;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("processes") && told[1].contains("No swap limit"));
    }
}
