//! What runners that take a forge's jobs have beside others.

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    InspectContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;
use slate_fleet::engine::Engine;
use slate_fleet::engine::translate::{DOCKER_SOCKET, work_on_host};
use slate_fleet::fleet::effect::ContainerPlan;
use slate_fleet::fleet::forge::{Enlistment, ListenMode};
use slate_fleet::ids::{ContainerId, IncarnationId, ScopeUrl};
use slate_fleet::spec::{DockerAccess, ForgeKind, ForkJobs, Reuse};

use crate::world::{OBEDIENT, World, with_agent};

fn kept(world: &World, incarnation: u64) -> ContainerPlan {
    let mut plan = world.plan(incarnation);
    plan.name = format!("{}-runner-1", world.project.name);
    plan.template.reuse = Reuse::Persistent;
    plan.template.forge = Some(Enlistment {
        kind: ForgeKind::Github,
        scope: ScopeUrl::new("https://github.com/me/site"),
        labels: vec!["self-hosted".to_owned()],
        group: None,
        mode: ListenMode::Kept { variable: "RUNNER_TOKEN_{n}".to_owned() },
        fork_jobs: ForkJobs::Deny,
    });
    plan
}

#[tokio::test]
async fn a_registration_outlives_its_containers_and_goes_with_the_caches() {
    with_agent(OBEDIENT, async |world| {
        let first = world.run(&kept(world, 1)).await;
        world.shell(&first, "echo mine > /.slate-identity/proof").await;
        world.engine.remove(Some(&first), IncarnationId(1)).await.expect("removed");
        let second = world.run(&kept(world, 2)).await;
        let read = world.shell(&second, "cat /.slate-identity/proof").await;
        assert_eq!(read, ("mine\n".to_owned(), 0));
        let left = world.engine.leftovers().await.expect("leftovers");
        let of_runner = left.iter().all(|left| left.incarnation == Some(IncarnationId(2)));
        assert!(of_runner, "only its work volume: {left:?}");
        world.engine.sweep().await.expect("swept");
        world.engine.prepare().await.expect("a network");
        let third = world.run(&kept(world, 3)).await;
        assert_eq!(world.shell(&third, "cat /.slate-identity/proof").await.0, "mine\n");
        world.engine.sweep().await.expect("swept");
        assert_eq!(world.engine.remove_caches().await.expect("removed"), 1);
        assert_eq!(world.engine.remove_caches().await.expect("nothing left"), 0);
    })
    .await;
}

#[tokio::test]
async fn jobs_with_the_socket_reach_the_engine_and_mount_what_they_see() {
    with_agent(OBEDIENT, async |world| {
        let mut plan = world.plan(1);
        plan.template.docker = DockerAccess::Socket;
        let id = world.run(&plan).await;
        let root = world.engine.info().await.expect("info").data_root.expect("its folder");
        let work = work_on_host(&world.project, IncarnationId(1), &root);
        let work = work.display();
        let script = format!("test -S {DOCKER_SOCKET} && echo x > {work}/proof && cat /work/proof");
        assert_eq!(world.shell(&id, &script).await, ("x\n".to_owned(), 0));
        assert!(mounted(world, &format!("{work}:/seen:ro")).await, "the host has it, too");
        world.engine.remove(Some(&id), IncarnationId(1)).await.expect("removed");
        let left = world.engine.leftovers().await.expect("leftovers");
        assert!(left.is_empty(), "{left:?}");
    })
    .await;
}

/// Whether a container that somebody else makes sees the proof through this mount.
async fn mounted(world: &World, bind: &str) -> bool {
    let body = ContainerCreateBody {
        entrypoint: Some(vec!["test".to_owned()]),
        cmd: Some(["-f", "/seen/proof"].map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            binds: Some(vec![bind.to_owned()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let other: ContainerId = world.foreign(&format!("{}-other", world.project.name), body).await;
    let started = world.raw.start_container(other.as_str(), None::<StartContainerOptions>).await;
    started.expect("started");
    let mut ended = world.raw.wait_container(other.as_str(), None::<WaitContainerOptions>);
    // An exit code other than 0 comes as an error.
    let fine = matches!(ended.next().await, Some(Ok(_)));
    let none = None::<InspectContainerOptions>;
    let found = world.raw.inspect_container(other.as_str(), none).await.expect("inspected");
    fine && found.state.and_then(|state| state.exit_code) == Some(0)
}
