//! How a container asks for its card. Pure.
//!
//! What the engine makes of each request is in Docker's sources: `daemon/nvidia_linux.go` and
//! `daemon/cdi.go`. A list of ids that is empty starts a container without a card and without a
//! word, so a request is made of one card and never of none.

use std::path::Path;

use bollard::models::{DeviceMapping, DeviceRequest};

use crate::fleet::effect::GpuPlan;
use crate::fleet::gpu::GpuAccess;
use crate::ids::GpuUuid;

/// The kind of the CDI names of NVIDIA's cards; the vendor's toolkit writes them.
const CDI_KIND: &str = "nvidia.com/gpu";

/// How the engine is asked for NVIDIA cards: what is left of the file's `gpu.request` once the
/// engine is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CardRequest {
    /// Through its `nvidia` driver, which is there when the vendor's hook is in its `PATH`.
    #[default]
    Nvidia,
    /// By the CDI name of the card.
    Cdi,
}

/// What a container's host configuration says of its card.
#[derive(Debug, Default)]
pub(super) struct Devices {
    pub requests: Option<Vec<DeviceRequest>>,
    pub nodes: Option<Vec<DeviceMapping>>,
    pub groups: Option<Vec<String>>,
}

/// The CDI name of a card, or of a MIG instance.
#[must_use]
pub fn cdi_name(card: &GpuUuid) -> String {
    format!("{CDI_KIND}={card}")
}

pub(super) fn devices(plan: Option<&GpuPlan>, request: CardRequest) -> Devices {
    match plan.map(|plan| (&plan.uuid, &plan.access)) {
        None => Devices::default(),
        Some((card, GpuAccess::Request)) => Devices {
            requests: Some(vec![match request {
                CardRequest::Nvidia => by_driver(card),
                CardRequest::Cdi => by_name(card),
            }]),
            ..Devices::default()
        },
        // Groups by number: most images know none of the host's names.
        Some((_, GpuAccess::Nodes { paths, groups })) => Devices {
            requests: None,
            nodes: Some(paths.iter().map(|path| node(path)).collect()),
            groups: Some(groups.iter().map(u32::to_string).collect()),
        },
    }
}

/// `gpu` chooses the driver; the others are the parts of NVIDIA's software that CUDA and
/// `nvidia-smi` need. One word that the driver does not know, and it counts as missing.
fn by_driver(card: &GpuUuid) -> DeviceRequest {
    DeviceRequest {
        driver: Some("nvidia".to_owned()),
        // Beside ids every other number is refused.
        count: Some(0),
        device_ids: Some(vec![card.to_string()]),
        capabilities: Some(vec![["gpu", "compute", "utility"].map(str::to_owned).to_vec()]),
        options: None,
    }
}

fn by_name(card: &GpuUuid) -> DeviceRequest {
    DeviceRequest {
        driver: Some("cdi".to_owned()),
        count: Some(0),
        device_ids: Some(vec![cdi_name(card)]),
        capabilities: None,
        options: None,
    }
}

fn node(path: &Path) -> DeviceMapping {
    let path = path.display().to_string();
    DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path),
        cgroup_permissions: Some("rwm".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::GpuRequestKind;

    fn plan(uuid: &str, access: GpuAccess) -> GpuPlan {
        GpuPlan { uuid: GpuUuid::new(uuid), access, request: GpuRequestKind::Auto }
    }

    #[test]
    fn no_request_is_ever_without_an_id_or_with_a_count() {
        for request in [CardRequest::Nvidia, CardRequest::Cdi] {
            let made = devices(Some(&plan("GPU-6a1c", GpuAccess::Request)), request);
            let asked = made.requests.expect("a request");
            assert_eq!(asked.len(), 1, "a second request would win over the first");
            assert_eq!(asked[0].count, Some(0));
            assert!(asked[0].device_ids.as_ref().is_some_and(|ids| ids.len() == 1), "{asked:?}");
        }
        assert!(devices(None, CardRequest::Nvidia).requests.is_none());
    }

    #[test]
    fn a_mig_instance_is_asked_for_by_its_own_name() {
        let plan = plan("MIG-1c3a", GpuAccess::Request);
        let ids = |request| {
            devices(Some(&plan), request).requests.and_then(|all| all[0].device_ids.clone())
        };
        assert_eq!(ids(CardRequest::Nvidia), Some(vec!["MIG-1c3a".to_owned()]));
        assert_eq!(ids(CardRequest::Cdi), Some(vec!["nvidia.com/gpu=MIG-1c3a".to_owned()]));
    }
}
