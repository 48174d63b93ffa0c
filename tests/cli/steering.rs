//! What begins and what does not, as an operator types it.

use slate_fleet::fleet::event::{Cordon, Request};
use slate_fleet::ids::JobId;

use super::program::Project;

#[tokio::test]
async fn jobs_are_held_and_released_by_their_numbers_all_or_none() {
    let project = Project::new();
    project.run("submit --no-workspace -- wait").await;
    let ran = project.run("submit --no-workspace --hold -- wait").await;
    assert_eq!((ran.code(), ran.out().as_str()), (0, "job-2\n"), "{}", ran.stderr);
    let requests = project.fake.requests();
    let is_held = |it: &Request| matches!(it, Request::Submit(job) if job.hold);
    assert_eq!(requests.iter().map(is_held).collect::<Vec<_>>(), [false, true]);

    let ran = project.run("hold job-1 2").await;
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, "job-1 held\njob-2 held\n"));
    let both = vec![JobId(1), JobId(2)];
    assert_eq!(project.fake.requests().last(), Some(&Request::Hold(both.clone())));
    let listed = project.run("jobs").await.out();
    assert_eq!(listed.matches(" held ").count(), 2, "{listed}");
    let told = "`slate-fleet release job-2` lets it go";
    assert!(listed.contains(told), "{listed}");
    let explained = project.run("explain job-2").await.out();
    assert!(explained.contains("\nStatus:       held\n"), "{explained}");
    assert!(explained.contains("\nCode:         held\n"), "{explained}");
    assert!(explained.contains("- let it go: `slate-fleet release job-2`"), "{explained}");

    let ran = project.run("release 1 job-7").await;
    assert_eq!((ran.code(), ran.out().as_str()), (6, ""));
    assert!(ran.stderr.contains("there is no job-7"), "{}", ran.stderr);
    let ran = project.run("release 1 2").await;
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, "job-1 released\njob-2 released\n"));
    assert_eq!(project.fake.requests().last(), Some(&Request::Release(both)));
    assert_eq!(project.run("hold").await.code(), 2, "some job has to be named");
}

#[tokio::test]
async fn pools_are_paused_and_resumed_by_name_or_all_at_once() {
    let project = Project::new();
    let light = |to| Request::Pause { pools: vec!["light".to_owned()], to };
    let ran = project.run("pause light").await;
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, "light: paused; what runs there goes on\n"));
    assert_eq!(project.fake.requests(), [light(Cordon::Closed)]);
    let listed = project.run("ps").await.out();
    let told = "\nPool light: 2 runners (2 in the file), as the file says; paused since \
                2026-02-08 12:00 UTC by ana\n";
    assert!(listed.ends_with(told), "{listed}");
    let explained = project.run("explain light").await.out();
    let fact = "\nPaused:       since 2026-02-08 12:00 UTC by ana\n";
    assert!(explained.contains(fact), "{explained}");
    let advice = "- let jobs begin there again: `slate-fleet resume light`\n";
    assert!(explained.contains(advice), "{explained}");

    let ran = project.run("resume light").await;
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, "light: open for jobs\n"));
    assert_eq!(project.fake.requests().last(), Some(&light(Cordon::Open)));
    let ran = project.run("pause").await;
    assert_eq!(ran.stderr, "light: paused; what runs there goes on\n");
    let ran = project.run("resume").await;
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, "light: open for jobs\n"));
    let ran = project.run("resume").await;
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, "no pool is paused\n"));
    assert_eq!(project.fake.requests().len(), 4, "nothing was asked for");
}

#[tokio::test]
async fn resume_tells_runners_from_pools_and_says_where_it_cannot() {
    let project = Project::new();
    let ran = project.run("resume slate-light-01 light").await;
    assert_eq!(
        (ran.code(), ran.stderr.as_str()),
        (0, "slate-light-01: open for jobs\nlight: open for jobs\n")
    );
    project.fake.change(|world| world.fleet.runners[1].name = "light".to_owned());
    let ran = project.run("resume light").await;
    assert_eq!(
        (ran.code(), ran.stderr.as_str()),
        (
            2,
            "error: `light` is a runner and a pool\n\n  help: `slate-fleet resume runner-002` for \
             the runner, `slate-fleet resume --pool light` for the pool\n"
        )
    );
    let ran = project.run("resume --pool light").await;
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, "light: open for jobs\n"));
    for line in ["pause ligth", "resume ligth", "resume --pool ligth"] {
        let ran = project.run(line).await;
        assert_eq!(ran.code(), 6, "{line}");
        assert!(ran.stderr.contains("did you mean `light`?"), "{line}: {}", ran.stderr);
    }
    assert_eq!(project.run("resume light --gpu 1").await.code(), 2);
}
