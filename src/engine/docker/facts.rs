//! What of the engine's own words changes how containers are made on it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bollard::models::SystemInfo;

use crate::engine::translate::{CardRequest, cdi_name};
use crate::ids::GpuUuid;
use crate::spec::GpuRequestKind;

/// What the engine said of itself last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Logical CPUs of its host.
    pub cpus: u32,
    /// Whether it knows devices by their CDI names.
    pub cdi: Cdi,
    /// Where it keeps images and volumes.
    pub data_root: Option<PathBuf>,
    /// Limits that it cannot set; it says so at the start, and takes them without a word.
    pub unlimited: Unlimited,
}

/// Whether an engine knows devices by CDI names (Docker 25 and newer, on by default from 28.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Cdi {
    /// It does not.
    #[default]
    Off,
    /// It does, and does not say which.
    On,
    /// It does; these.
    Names(BTreeSet<String>),
}

impl Cdi {
    /// Whether it lists any NVIDIA card by the identity that stays.
    pub fn lists_cards(&self) -> bool {
        let is_card = |name: &String| {
            ["GPU-", "MIG-"].iter().any(|it| name.starts_with(&cdi_name(&GpuUuid::new(*it))))
        };
        matches!(self, Self::Names(names) if names.iter().any(is_card))
    }
}

/// Limits that an engine cannot set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unlimited {
    pub cpu: bool,
    pub memory: bool,
    pub pids: bool,
}

/// Reads them from the answer of `/info`.
pub(super) fn facts(info: &SystemInfo) -> Facts {
    let cannot = |can: Option<bool>| can == Some(false);
    Facts {
        cpus: info.ncpu.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        cdi: cdi(info),
        data_root: info.docker_root_dir.clone().map(PathBuf::from),
        unlimited: Unlimited {
            cpu: cannot(info.cpu_cfs_quota),
            memory: cannot(info.memory_limit),
            pids: cannot(info.pids_limit),
        },
    }
}

/// Its folders of specifications tell that CDI is on, whatever the version; newer engines list
/// what they found there.
fn cdi(info: &SystemInfo) -> Cdi {
    let folders = info.cdi_spec_dirs.as_deref().unwrap_or_default();
    match (&info.discovered_devices, folders) {
        (Some(found), _) if !found.is_empty() => {
            let of_cdi = found.iter().filter(|it| it.source.as_deref() == Some("cdi"));
            Cdi::Names(of_cdi.filter_map(|it| it.id.clone()).collect())
        }
        (_, []) => Cdi::Off,
        (_, _) => Cdi::On,
    }
}

/// How this card is asked for, or why it cannot be asked for as the file wants it.
pub(super) fn card_request(
    wanted: GpuRequestKind,
    card: &GpuUuid,
    cdi: &Cdi,
) -> Result<CardRequest, String> {
    let name = cdi_name(card);
    match (wanted, cdi) {
        (GpuRequestKind::Nvidia, _) => Ok(CardRequest::Nvidia),
        (GpuRequestKind::Auto | GpuRequestKind::Cdi, Cdi::Names(names))
            if names.contains(&name) =>
        {
            Ok(CardRequest::Cdi)
        }
        // An engine that does not tell its names is not believed to know this one.
        (GpuRequestKind::Auto, _) => Ok(CardRequest::Nvidia),
        (GpuRequestKind::Cdi, Cdi::On) => Ok(CardRequest::Cdi),
        (GpuRequestKind::Cdi, Cdi::Off) => Err(format!(
            "`gpu.request` is cdi and the engine has CDI switched off, so it does not know {name}; \
             put {{\"features\": {{\"cdi\": true}}}} into /etc/docker/daemon.json and restart the \
             engine (Docker 25 or newer), or set `gpu.request: nvidia`"
        )),
        (GpuRequestKind::Cdi, Cdi::Names(_)) => Err(format!(
            "`gpu.request` is cdi and the engine knows no device {name}; write the specification \
             anew with `nvidia-ctk cdi generate --device-name-strategy=uuid \
             --output=/etc/cdi/nvidia.yaml`, or set `gpu.request: nvidia`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::DeviceInfo;

    use super::*;

    fn engine(folders: &[&str], names: Option<&[&str]>) -> Cdi {
        let device =
            |name: &&str| DeviceInfo { source: Some("cdi".into()), id: Some((*name).into()) };
        facts(&SystemInfo {
            cdi_spec_dirs: Some(folders.iter().map(|it| (*it).to_owned()).collect()),
            discovered_devices: names.map(|names| names.iter().map(device).collect()),
            ..SystemInfo::default()
        })
        .cdi
    }

    #[test]
    fn auto_asks_by_name_only_where_the_engine_lists_that_very_card() {
        let card = GpuUuid::new("GPU-6a1c");
        let auto = |cdi: &Cdi| card_request(GpuRequestKind::Auto, &card, cdi);
        let by_uuid = engine(&["/etc/cdi"], Some(&["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-6a1c"]));
        assert_eq!(auto(&by_uuid), Ok(CardRequest::Cdi));
        let by_index = engine(&["/etc/cdi"], Some(&["nvidia.com/gpu=0"]));
        for cdi in [by_index, engine(&["/etc/cdi"], None), engine(&[], None), Cdi::Off] {
            assert_eq!(auto(&cdi), Ok(CardRequest::Nvidia), "{cdi:?}");
        }
    }

    #[test]
    fn a_card_that_must_be_asked_for_by_name_and_has_none_is_refused_in_words() {
        let card = GpuUuid::new("GPU-6a1c");
        let asked = |cdi: &Cdi| card_request(GpuRequestKind::Cdi, &card, cdi);
        assert_eq!(asked(&engine(&["/etc/cdi"], None)), Ok(CardRequest::Cdi));
        let off = asked(&engine(&[], None)).unwrap_err();
        assert!(off.contains("switched off") && off.contains("daemon.json"), "{off}");
        let stale = asked(&engine(&["/etc/cdi"], Some(&["nvidia.com/gpu=0"]))).unwrap_err();
        assert!(
            stale.contains("nvidia.com/gpu=GPU-6a1c") && stale.contains("nvidia-ctk"),
            "{stale}"
        );
    }
}
