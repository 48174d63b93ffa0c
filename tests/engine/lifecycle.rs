//! Made, started, dead, removed: each step, its repetition, and how it is told.

use std::time::Duration;

use futures_util::StreamExt;
use slate_fleet::engine::files::{self, Forgotten};
use slate_fleet::engine::{Engine, EngineError};
use slate_fleet::fleet::event::{
    ContainerExit, ContainerState, EngineEvent, OpErrorClass, Outcome,
};
use slate_fleet::ids::{ContainerId, ImageId, ImageRef, IncarnationId};
use slate_fleet::spec::Reuse;
use slate_fleet::units::{Bytes, Time};

use crate::world::{OBEDIENT, PATIENCE, World, with_agent};

fn now() -> Time {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    Time(u64::try_from(since.as_millis()).expect("before the year 500 million"))
}

/// The next event about a container.
async fn next_event(world: &World, since: Time, id: &ContainerId) -> EngineEvent {
    let mut events = world.engine.watch(since);
    let about_it = async {
        while let Some(event) = events.next().await {
            let event = event.expect("an event");
            match &event {
                EngineEvent::Died { container, .. } | EngineEvent::Removed { container }
                    if container == id =>
                {
                    return event;
                }
                other => println!("also: {other:?}"),
            }
        }
        panic!("the events ended");
    };
    tokio::time::timeout(PATIENCE, about_it).await.expect("an event in time")
}

#[tokio::test]
async fn a_runner_is_made_started_stopped_and_removed_and_every_step_can_be_repeated() {
    with_agent(OBEDIENT, async |world| {
        let plan = world.plan(1);
        let id = world.create(&plan).await;
        assert_eq!(world.create(&plan).await, id, "the same incarnation is the same container");
        let state = async || world.engine.list().await.expect("a list")[0].state;
        assert_eq!(state().await, ContainerState::Created);
        for _ in 0..2 {
            world.engine.start(&id).await.expect("started");
            assert_eq!(state().await, ContainerState::Running);
        }
        world.ready(&id).await;
        for _ in 0..2 {
            world.engine.stop(&id, Duration::from_secs(10)).await.expect("stopped");
            let ended = ContainerExit { code: 0, oom: false };
            assert_eq!(state().await, ContainerState::Exited(ended));
        }
        for _ in 0..2 {
            world.engine.remove(Some(&id), plan.incarnation).await.expect("removed");
        }
        assert!(world.engine.list().await.expect("a list").is_empty());
        let volumes = world.raw.list_volumes(None::<bollard::query_parameters::ListVolumesOptions>);
        let volumes = volumes.await.expect("volumes").volumes.unwrap_or_default();
        let work = format!("{}-i1-work", world.project.name);
        assert!(volumes.iter().all(|volume| volume.name != work), "the work volume is left");
    })
    .await;
}

#[tokio::test]
async fn removal_finds_the_container_by_its_incarnation_and_kills_it_if_it_runs() {
    with_agent(OBEDIENT, async |world| {
        let first = world.run(&world.plan(1)).await;
        let second = world.run(&world.plan(2)).await;
        world.engine.remove(None, IncarnationId(1)).await.expect("removed");
        assert_eq!(world.engine.find(IncarnationId(1)).await.expect("looked"), None);
        let left = world.engine.find(IncarnationId(2)).await.expect("looked").expect("there");
        assert_eq!((left.id, left.state), (second, ContainerState::Running));
        world.engine.remove(None, IncarnationId(1)).await.expect("gone is done");
        let gone = world.engine.start(&first).await.expect_err("it is gone");
        assert_eq!(gone.class(), Some(OpErrorClass::Gone));
    })
    .await;
}

#[tokio::test]
async fn two_removals_at_once_both_end_well() {
    with_agent(OBEDIENT, async |world| {
        let id = world.run(&world.plan(1)).await;
        let one = world.engine.remove(Some(&id), IncarnationId(1));
        let two = world.engine.remove(Some(&id), IncarnationId(1));
        let (one, two) = tokio::join!(one, two);
        one.expect("removed");
        two.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn a_death_is_told_with_its_exit_code_and_then_the_removal() {
    with_agent("#!/bin/sh\nexit 7\n", async |world| {
        let since = now();
        let id = world.run(&world.plan(1)).await;
        let exit = ContainerExit { code: 7, oom: false };
        let died = next_event(world, since, &id).await;
        assert_eq!(died, EngineEvent::Died { container: id.clone(), exit });
        let facts = world.engine.list().await.expect("a list");
        assert_eq!(facts[0].state, ContainerState::Exited(exit));
        let since = now();
        world.engine.remove(Some(&id), IncarnationId(1)).await.expect("removed");
        let removed = next_event(world, since, &id).await;
        assert_eq!(removed, EngineEvent::Removed { container: id });
    })
    .await;
}

#[tokio::test]
async fn a_runner_killed_for_memory_is_told_from_one_that_was_just_killed() {
    with_agent("#!/bin/sh\nexec tail /dev/zero\n", async |world| {
        let since = now();
        let mut plan = world.plan(1);
        plan.template.memory = Bytes::mib(32);
        plan.template.shm = Bytes::mib(8);
        let id = world.run(&plan).await;
        let exit = ContainerExit { code: 137, oom: true };
        let died = next_event(world, since, &id).await;
        assert_eq!(died, EngineEvent::Died { container: id, exit });
        let facts = world.engine.list().await.expect("a list");
        assert_eq!(facts[0].state, ContainerState::Exited(exit));
    })
    .await;
}

#[tokio::test]
async fn a_runner_that_ignores_the_request_to_end_is_killed_after_its_grace() {
    with_agent("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1000; done\n", async |world| {
        let since = now();
        let id = world.run(&world.plan(1)).await;
        let begun = std::time::Instant::now();
        world.engine.stop(&id, Duration::from_millis(300)).await.expect("stopped");
        assert!(begun.elapsed() >= Duration::from_millis(900), "the grace is rounded up to 1 s");
        let exit = ContainerExit { code: 137, oom: false };
        let died = next_event(world, since, &id).await;
        assert_eq!(died, EngineEvent::Died { container: id, exit });
    })
    .await;
}

#[tokio::test]
async fn a_persistent_runner_is_started_again_by_the_engine() {
    with_agent("#!/bin/sh\n[ -e /first ] && exec sleep 1000\n>/first\n", async |world| {
        let mut plan = world.plan(1);
        plan.template.reuse = Reuse::Persistent;
        let since = now();
        let id = world.run(&plan).await;
        let exit = ContainerExit { code: 0, oom: false };
        let died = next_event(world, since, &id).await;
        assert_eq!(died, EngineEvent::Died { container: id.clone(), exit });
        let running = async {
            while !world.inspect(&id).await.state.and_then(|state| state.running).unwrap_or(false) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, running).await.expect("it runs again");
        assert_eq!(world.inspect(&id).await.restart_count, Some(1));
        world.engine.remove(Some(&id), IncarnationId(1)).await.expect("removed for good");
    })
    .await;
}

#[tokio::test]
async fn a_missing_image_says_what_to_do_and_is_gone_to_a_create() {
    with_agent(OBEDIENT, async |world| {
        let image = ImageRef::new("localhost:1/slate-no-such-image:1");
        let error = world.engine.resolve_image(&image).await.expect_err("there is none");
        let text = error.describe();
        assert!(text.contains("is not on the engine and could not be pulled"), "{text}");
        assert!(text.contains("images/build or correct `image:`"), "{text}");
        assert_eq!(error.class(), Some(OpErrorClass::Fatal));

        let mut plan = world.plan(1);
        plan.image = ImageId::new(format!("sha256:{}", "0".repeat(64)));
        files::prepare_files(&plan, &world.paths, &files::host_view()).expect("files");
        let error = world.engine.create(&plan, &world.paths).await.expect_err("no image");
        assert_eq!(error.class(), Some(OpErrorClass::Gone));
    })
    .await;
}

#[tokio::test]
async fn a_create_without_its_host_files_fails_for_good() {
    with_agent(OBEDIENT, async |world| {
        let error = world.engine.create(&world.plan(1), &world.paths).await.expect_err("no files");
        let Outcome::Failed(error) = error.into_outcome() else { panic!("known to have failed") };
        assert_eq!(error.class, OpErrorClass::Fatal);
        assert!(error.message.contains("bind source path does not exist"), "{}", error.message);
    })
    .await;
}

#[tokio::test]
async fn a_network_that_somebody_removed_is_made_again_and_the_start_may_be_repeated() {
    with_agent(OBEDIENT, async |world| {
        let id = world.create(&world.plan(1)).await;
        let network = format!("slate_{}", world.project.name);
        world.raw.remove_network(&network).await.expect("removed");
        let error = world.engine.start(&id).await.expect_err("no network");
        assert_eq!(error.class(), Some(OpErrorClass::Retry), "{error}");
        world.engine.start(&id).await.expect("started");
    })
    .await;
}

#[tokio::test]
async fn a_hundred_preparations_at_once_make_one_network() {
    with_agent(OBEDIENT, async |world| {
        let network = format!("slate_{}", world.project.name);
        world.raw.remove_network(&network).await.expect("removed");
        let all = (0..100).map(|_| world.engine.prepare());
        for made in futures_util::future::join_all(all).await {
            made.expect("prepared");
        }
        let none = None::<bollard::query_parameters::ListNetworksOptions>;
        let found = world.raw.list_networks(none).await.expect("networks");
        let count = found.iter().filter(|one| one.name.as_deref() == Some(&network)).count();
        assert_eq!(count, 1);
    })
    .await;
}

#[tokio::test]
async fn a_runners_files_are_forgotten_but_reports_that_nobody_took_are_kept() {
    with_agent(OBEDIENT, async |world| {
        let plan = world.plan(1);
        let id = world.run(&plan).await;
        let (_, code) = world.shell(&id, "mkdir -p /reports/w/1 && echo hi > /reports/w/1/a").await;
        assert_eq!(code, 0);
        world.engine.remove(Some(&id), plan.incarnation).await.expect("removed");
        let kept = world.paths.reports.path.join(".incoming/i1");
        let forgotten = files::forget_files(plan.incarnation, &world.paths).expect("forgotten");
        assert_eq!(forgotten, Forgotten::ButReports(kept.clone()));
        assert!(!world.paths.state.private(plan.incarnation).exists());
        std::fs::remove_file(kept.join("w/1/a")).expect("taken");
        let forgotten = files::forget_files(plan.incarnation, &world.paths).expect("forgotten");
        assert_eq!((forgotten, kept.exists()), (Forgotten::All, false));
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_from_one_that_refuses() {
    use slate_fleet::engine::docker::{DockerEngine, EngineAddress};
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("engine.sock");
    let address = EngineAddress::parse(&format!("unix://{}", socket.display())).expect("valid");
    let project = slate_fleet::engine::Project {
        name: slate_fleet::ids::ProjectName::new("nobody"),
        fleet: slate_fleet::ids::FleetId::new("nobody"),
    };
    let missing = DockerEngine::connect(address.clone(), project.clone());
    assert!(matches!(missing, Err(EngineError::Unreachable { .. })));

    // A socket whose listener is gone refuses connections: nothing was sent.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bound"));
    let engine = DockerEngine::connect(address.clone(), project.clone()).expect("a socket");
    let error = engine.remove(Some(&ContainerId::new("x")), IncarnationId(1)).await;
    let Err(EngineError::Unreachable { .. }) = error else { panic!("{error:?}") };

    // One that hangs up after the request leaves the outcome unknown.
    std::fs::remove_file(&socket).expect("removed");
    let listener = tokio::net::UnixListener::bind(&socket).expect("bound");
    let hang_up = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut some = [0; 16];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut some).await.expect("a request");
        assert!(read > 0);
    };
    let id = ContainerId::new("x");
    let (error, ()) = tokio::join!(engine.start(&id), hang_up);
    let outcome = error.expect_err("it hung up").into_outcome();
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
}
