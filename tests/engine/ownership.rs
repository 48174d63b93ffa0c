//! Only what carries both labels is ours; everything else on the engine is left alone.

use std::collections::HashMap;

use bollard::models::ContainerCreateBody;
use slate_fleet::engine::docker::{DockerEngine, DockerEnv, EngineAddress};
use slate_fleet::engine::{Engine, Project, translate};
use slate_fleet::fleet::event::OpErrorClass;
use slate_fleet::ids::FleetId;

use crate::world::{OBEDIENT, World, with_agent};

fn neighbour(world: &World) -> (Project, DockerEngine) {
    let fleet = FleetId::new(format!("{}-neighbour", world.project.fleet));
    let project = Project { name: world.project.name.clone(), fleet };
    let address = EngineAddress::choose(&DockerEnv::from_process()).expect("an address");
    (project.clone(), DockerEngine::connect(address, project).expect("an engine"))
}

#[tokio::test]
async fn sweeping_removes_all_of_this_fleet_and_nothing_of_others() {
    with_agent(OBEDIENT, async |world| {
        let (other, _) = neighbour(world);
        let mut labels = translate::project_labels(&other);
        labels.insert(translate::LABEL_INCARNATION.to_owned(), "i1".to_owned());
        let body = ContainerCreateBody { labels: Some(labels), ..<_>::default() };
        let theirs = world.foreign(&format!("{}-theirs", world.project.name), body).await;
        let plain = ContainerCreateBody { labels: Some(HashMap::new()), ..<_>::default() };
        let stranger = world.foreign(&format!("{}-plain", world.project.name), plain).await;

        world.run(&world.plan(1)).await;
        world.create(&world.plan(2)).await;
        assert_eq!(world.engine.list().await.expect("a list").len(), 2);
        let swept = world.engine.sweep().await.expect("swept");
        assert_eq!((swept.objects.containers, swept.objects.volumes), (2, 2));
        assert_eq!(swept.objects.networks + swept.left.len(), 1);
        assert!(world.engine.list().await.expect("a list").is_empty());
        world.inspect(&theirs).await;
        world.inspect(&stranger).await;
        let again = world.engine.sweep().await.expect("swept again");
        assert_eq!((again.objects.containers, again.objects.volumes), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn another_fleet_of_the_same_name_is_noticed() {
    with_agent(OBEDIENT, async |world| {
        assert!(world.engine.others().await.expect("a list").is_empty());
        let (project, engine) = neighbour(world);
        world.run(&world.plan(1)).await;
        let others = engine.others().await.expect("a list");
        assert_eq!(others.len(), 1);
        assert_eq!(others[0].fleet, world.project.fleet);
        let seen = others[0].objects;
        assert_eq!((seen.containers, seen.volumes, seen.networks), (1, 1, 1));
        let error = engine.prepare().await.expect_err("the network is in use by another fleet");
        assert_eq!(error.class(), Some(OpErrorClass::Conflict));
        assert!(error.to_string().contains("choose another `project:`"), "{error}");
        assert_ne!(project.fleet, world.project.fleet);
    })
    .await;
}

#[tokio::test]
async fn a_container_name_that_a_stranger_has_is_a_conflict_told_with_what_to_do() {
    with_agent(OBEDIENT, async |world| {
        let plan = world.plan(1);
        let stranger = world.foreign(&plan.name, ContainerCreateBody::default()).await;
        let files = slate_fleet::engine::files::host_view();
        slate_fleet::engine::files::prepare_files(&plan, &world.paths, &files).expect("files");
        let error = world.engine.create(&plan, &world.paths).await.expect_err("taken");
        assert_eq!(error.class(), Some(OpErrorClass::Conflict));
        assert!(error.to_string().contains("remove or rename that container"), "{error}");
        world.inspect(&stranger).await;
    })
    .await;
}

#[tokio::test]
async fn a_volume_that_a_stranger_has_is_neither_used_nor_removed() {
    with_agent(OBEDIENT, async |world| {
        let plan = world.plan(1);
        let name = translate::work_volume(&world.project, plan.incarnation);
        let theirs = bollard::models::VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(world.test_labels()),
            ..<_>::default()
        };
        world.raw.create_volume(theirs).await.expect("a volume");
        let error = world.engine.create(&plan, &world.paths).await.expect_err("taken");
        assert_eq!(error.class(), Some(OpErrorClass::Conflict));
        assert!(error.to_string().contains("docker volume rm"), "{error}");
        world.engine.remove(None, plan.incarnation).await.expect("nothing of ours");
        world.raw.inspect_volume(&name).await.expect("it is still there");
        let none = None::<bollard::query_parameters::RemoveVolumeOptions>;
        world.raw.remove_volume(&name, none).await.expect("cleaned up");
    })
    .await;
}
