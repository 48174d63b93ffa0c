//! Golden files of the create body: a field that is not in them fails.
//!
//! `UPDATE_GOLDEN=1 cargo test --lib translate` writes them anew; read the diff before committing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::fleet::effect::{GpuPlan, Template};
use crate::fleet::forge::{Enlistment, ListenMode};
use crate::fleet::gpu::GpuAccess;
use crate::ids::{
    FleetId, GpuUuid, ImageId, ImageRef, PoolName, ProfileName, ProjectName, ScopeUrl,
};
use crate::spec::{DockerAccess, ForgeKind, ForkJobs, GpuRequestKind, JobUser, Reports};
use crate::state_dir::StateDir;
use crate::units::Bytes;

fn project() -> Project {
    Project { name: ProjectName::new("slate"), fleet: FleetId::new("f1e2") }
}

fn paths(sharing: ReportSharing) -> HostPaths {
    HostPaths {
        state: StateDir::new(PathBuf::from("/srv/ci/.slate")),
        reports: Reports {
            path: PathBuf::from("/srv/ci/reports"),
            keep: None,
            sharing,
            server: None,
        },
        ca: None,
    }
}

fn plan(profile: &str, cpus: u32, memory: Bytes) -> ContainerPlan {
    ContainerPlan {
        incarnation: IncarnationId(17),
        name: format!("slate-{profile}-01-i17"),
        image: ImageId::new("sha256:aa"),
        gpu: None,
        cpuset: Vec::new(),
        template: Template {
            pool: PoolName::new("default"),
            profile: ProfileName::new(profile),
            image: ImageRef::new("slate-runner:latest"),
            cpus: MilliCpu::cpus(cpus),
            memory,
            pids: 4096,
            shm: Bytes::mib(64),
            user: JobUser { uid: 1000, gid: 1000 },
            env: BTreeMap::from([("PROFILE_VARIABLE".to_owned(), "secret?".to_owned())]),
            labels: vec!["self-hosted".to_owned(), profile.to_owned()],
            stop_grace: Duration::from_secs(10),
            reuse: Reuse::OneJob,
            docker_healthcheck: None,
            caches: BTreeMap::new(),
            docker: DockerAccess::None,
            forge: None,
        },
    }
}

fn golden(name: &str, body: &ContainerCreateBody) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/engine/translate/golden")
        .join(format!("{name}.json"));
    let made = serde_json::to_value(body).expect("a body is JSON");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let text = serde_json::to_string_pretty(&made).expect("JSON");
        std::fs::write(&file, text + "\n").expect("written");
    }
    let text = std::fs::read_to_string(&file).expect("a golden file");
    let wanted: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(made, wanted, "{name}: the create body is not as {} says", file.display());
}

const ENGINE: EngineTraits =
    EngineTraits { narrowing: Narrowing::On, cpus: 32, cards: CardRequest::Nvidia, reach: None };

fn body(plan: &ContainerPlan) -> ContainerCreateBody {
    container_body(plan, &project(), &paths(ReportSharing::Own), ENGINE)
}

#[test]
fn a_limit_above_the_hosts_cpus_is_cut_because_the_engine_would_refuse_it() {
    assert_eq!(nano_cpus(MilliCpu::cpus(8), 2), 2_000_000_000);
    assert_eq!(nano_cpus(MilliCpu(250), 2), 250_000_000);
}

#[test]
fn light_and_standard_runners_are_made_as_the_golden_files_say() {
    golden("light", &body(&plan("light", 1, Bytes::mib(512))));
    golden("standard", &body(&plan("standard", 2, Bytes::gib(1))));
}

#[test]
fn gpu_runners_get_their_one_gpu_by_uuid() {
    for (profile, cpus, memory) in [
        ("gpu_light", 2, Bytes::gib(2)),
        ("gpu_heavy", 4, Bytes::gib(8)),
        ("gpu_max", 4, Bytes::gib(16)),
    ] {
        let mut plan = plan(profile, cpus, memory);
        plan.gpu = Some(card(GpuAccess::Request));
        golden(profile, &body(&plan));
    }
}

#[test]
fn where_the_engine_knows_the_card_by_name_only_the_request_differs() {
    let mut plan = plan("gpu_light", 2, Bytes::gib(2));
    plan.gpu = Some(card(GpuAccess::Request));
    let by_name = EngineTraits { cards: CardRequest::Cdi, ..ENGINE };
    let made = container_body(&plan, &project(), &paths(ReportSharing::Own), by_name);
    golden("gpu_light_cdi", &made);
    let rest = |body: ContainerCreateBody| {
        let host = body.host_config.map(|it| HostConfig { device_requests: None, ..it });
        ContainerCreateBody { host_config: host, ..body }
    };
    assert_eq!(rest(made), rest(body(&plan)));
}

#[test]
fn amd_and_intel_cards_are_their_nodes_and_groups_and_no_nvidia_card_comes_with_them() {
    let mut plan = plan("gpu_light", 2, Bytes::gib(2));
    plan.gpu = Some(card(GpuAccess::Nodes {
        paths: vec!["/dev/kfd".into(), "/dev/dri/renderD128".into()],
        groups: vec![44, 109],
    }));
    golden("gpu_light_amd", &body(&plan));
}

fn card(access: GpuAccess) -> GpuPlan {
    GpuPlan { uuid: GpuUuid::new("GPU-6a1c"), access, request: GpuRequestKind::Auto }
}

#[test]
fn a_persistent_runner_is_restarted_by_docker_and_may_have_a_health_check() {
    let mut plan = plan("standard", 2, Bytes::gib(1));
    plan.template.reuse = Reuse::Persistent;
    plan.template.docker_healthcheck = Some(Duration::from_secs(30));
    golden("persistent", &body(&plan));
}

#[test]
fn shared_reports_and_an_engine_without_narrowing_change_only_mounts() {
    let plan = plan("light", 1, Bytes::mib(512));
    let wide = EngineTraits { narrowing: Narrowing::Off, ..ENGINE };
    let shared = container_body(&plan, &project(), &paths(ReportSharing::Shared), wide);
    golden("shared_reports", &shared);
    let mut own = body(&plan);
    let mounts = |body: &mut ContainerCreateBody| {
        body.host_config.as_mut().and_then(|host| host.mounts.take()).map_or(0, |all| all.len())
    };
    let mut shared = shared;
    assert_eq!((mounts(&mut own), mounts(&mut shared)), (4 + NARROWED.len(), 4));
    assert_eq!(own, shared);
}

#[test]
fn a_cache_is_a_volume_of_the_pool_that_no_other_pool_can_get() {
    let mut plan = plan("light", 1, Bytes::mib(512));
    let cache = Cache { path: "/work/.cache/pip".into(), size: Bytes::gib(2) };
    plan.template.caches.insert(CacheName::new("pip"), cache);
    golden("cache", &body(&plan));
    assert_eq!(cache_list(&plan), "2147483648\t/.slate-caches/pip\t/work/.cache/pip\n");
    let name = |pool: &str, cache: &str| {
        cache_volume(&project(), &PoolName::new(pool), &CacheName::new(cache))
    };
    assert_eq!(name("default", "pip"), "slate.cache.default.pip");
    assert_ne!(name("a-b", "c"), name("a", "b-c"));
    assert_eq!(volumes(&plan, &project()), ["slate.cache.default.pip", "slate-i17-work"]);
}

fn enlisted(mode: ListenMode) -> Enlistment {
    Enlistment {
        kind: ForgeKind::Github,
        scope: ScopeUrl::new("https://github.com/me/site"),
        labels: vec!["self-hosted".to_owned()],
        group: None,
        mode,
        fork_jobs: ForkJobs::Deny,
    }
}

#[test]
fn a_runner_that_stays_registered_has_its_registration_in_a_volume_of_its_slot() {
    let mut plan = plan("standard", 2, Bytes::gib(1));
    plan.name = "homelab-runner-1".to_owned();
    plan.template.reuse = Reuse::Persistent;
    plan.template.docker_healthcheck = Some(Duration::from_secs(30));
    let variable = "RUNNER_TOKEN_{n}".to_owned();
    plan.template.forge = Some(enlisted(ListenMode::Kept { variable }));
    golden("kept", &body(&plan));
    let volumes = ["slate.identity.homelab-runner-1", "slate-i17-work"];
    assert_eq!(super::volumes(&plan, &project()), volumes);
    let text = serde_json::to_string(&body(&plan)).expect("JSON");
    assert!(!text.contains("RUNNER_TOKEN"), "{text}");
    plan.template.forge = Some(enlisted(ListenMode::OneJob));
    assert_eq!(super::volumes(&plan, &project()), ["slate-i17-work"]);
}

#[test]
fn jobs_that_reach_the_engine_work_under_one_path_inside_and_outside() {
    let mut plan = plan("standard", 2, Bytes::gib(1));
    plan.template.docker = DockerAccess::Socket;
    plan.template.forge = Some(enlisted(ListenMode::OneJob));
    let reach = EngineReach {
        socket: "/run/user/1000/docker.sock".into(),
        group: 998,
        data_root: "/var/lib/docker".into(),
    };
    let reaching = EngineTraits { reach: Some(reach), ..ENGINE };
    golden(
        "docker_socket",
        &container_body(&plan, &project(), &paths(ReportSharing::Own), reaching),
    );
    let path = work_on_host(&project(), plan.incarnation, Path::new("/var/lib/docker"));
    assert_eq!(path, Path::new("/var/lib/docker/volumes/slate-i17-work/_data"));
}

#[test]
fn the_network_keeps_runners_apart() {
    let made = serde_json::to_value(network_body(&project())).expect("JSON");
    let wanted = serde_json::json!({
        "Name": "slate_slate",
        "Driver": "bridge",
        "EnableIPv6": false,
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Labels": {"dev.slate.fleet.project": "slate", "dev.slate.fleet.fleet": "f1e2"},
    });
    assert_eq!(made, wanted);
}

#[test]
fn a_jobs_environment_is_not_in_the_container() {
    let text = serde_json::to_string(&body(&plan("light", 1, Bytes::mib(512)))).expect("JSON");
    assert!(!text.contains("PROFILE_VARIABLE") && !text.contains("secret?"), "{text}");
}

#[test]
fn the_ca_bundle_is_where_the_core_tells_jobs_to_look() {
    assert_eq!(format!("{SHARED}/{CA_FILE}"), crate::fleet::CA_BUNDLE);
}

#[test]
fn host_names_are_legal_whatever_the_container_is_called() {
    assert_eq!(hostname("homelab_runner.1"), "homelab-runner-1");
    assert_eq!(hostname(&"x".repeat(80)).len(), 63);
}

#[test]
fn a_field_that_no_golden_file_knows_is_noticed() {
    let mut body = body(&plan("light", 1, Bytes::mib(512)));
    body.domainname = Some("example".to_owned());
    let failed = std::panic::catch_unwind(|| golden("light", &body));
    assert!(failed.is_err() || std::env::var_os("UPDATE_GOLDEN").is_some());
}
