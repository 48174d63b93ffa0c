//! What a forge's runner has beside others: its registration that stays, and for jobs that are
//! allowed to, the engine itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{Mount, MountType, MountVolumeOptions};

use super::{Access, LABEL_POOL, bind, project_labels, volume, work_volume};
use crate::engine::Project;
use crate::fleet::effect::ContainerPlan;
use crate::fleet::forge::ListenMode;
use crate::ids::IncarnationId;

/// The label with the address of the forge whose jobs a runner takes.
pub const LABEL_FORGE: &str = "dev.slate.fleet.forge";
/// The label with a runner's name; only the volumes that hold registrations have it.
pub const LABEL_IDENTITY: &str = "dev.slate.fleet.identity";

/// Where the volume with a runner's registration is mounted; only root can read it.
pub const IDENTITY: &str = "/.slate-identity";
/// Where jobs that may reach the engine find its socket.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// How jobs reach the engine that their container runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineReach {
    /// Its socket on the host.
    pub socket: PathBuf,
    /// The group that may use the socket.
    pub group: u32,
    /// Where it keeps its volumes.
    pub data_root: PathBuf,
}

/// The volume of a runner's registration: of the slot and not of the incarnation, so that a new
/// container is the runner that the forge knows. A runner that stays is named like its slot.
pub(super) fn identity_volume(plan: &ContainerPlan, project: &Project) -> Option<String> {
    match plan.template.forge.as_ref()?.mode {
        ListenMode::Kept { .. } => Some(format!("{}.identity.{}", project.name, plan.name)),
        ListenMode::OneJob => None,
    }
}

/// Where an incarnation's work volume is on the engine's host.
///
/// Jobs that reach the engine work under this very path, so that what they mount into containers
/// of their own is there under the name that they know.
#[must_use]
pub fn work_on_host(project: &Project, incarnation: IncarnationId, data_root: &Path) -> PathBuf {
    data_root.join("volumes").join(work_volume(project, incarnation)).join("_data")
}

pub(super) fn mounts(
    plan: &ContainerPlan,
    project: &Project,
    reach: Option<&EngineReach>,
) -> Vec<Mount> {
    let identity = identity_volume(plan, project).map(|source| {
        let mut labels = project_labels(project);
        labels.insert(LABEL_POOL.to_owned(), plan.template.pool.to_string());
        labels.insert(LABEL_IDENTITY.to_owned(), plan.name.clone());
        volume(source, IDENTITY.to_owned(), labels)
    });
    let engine = reach.into_iter().flat_map(|reach| {
        let path = work_on_host(project, plan.incarnation, &reach.data_root);
        [bind(&reach.socket, DOCKER_SOCKET, Access::ReadWrite), same_volume(plan, project, &path)]
    });
    identity.into_iter().chain(engine).collect()
}

/// The work volume once more. Its labels are those of its first mount, which makes it.
fn same_volume(plan: &ContainerPlan, project: &Project, path: &Path) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(work_volume(project, plan.incarnation)),
        target: Some(path.display().to_string()),
        read_only: Some(false),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

pub(super) fn label(plan: &ContainerPlan, labels: &mut HashMap<String, String>) {
    if let Some(forge) = &plan.template.forge {
        labels.insert(LABEL_FORGE.to_owned(), forge.scope.to_string());
    }
}
