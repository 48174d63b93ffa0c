//! A forge's listener under the real agent: what is told of it, and how it ends.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use slate_fleet::agents::Credential;
use slate_fleet::fleet::effect::{AgentOrder, Patience};
use slate_fleet::fleet::event::AgentEvent;
use slate_fleet::fleet::forge::{ListenerEnd, ListenerStage, ListenerStatus};
use slate_fleet::ids::{ForgeRunId, ForgeRunnerId};
use slate_fleet::spec::ForgeKind;

use super::bench::{AgentProcess, Bench, WHO, below, until};
use super::stand_in::{
    NAME, StandIn, TOKEN, blob, files_with, kept, listen, listen_at, listening, next, over,
    until_stage, working,
};

/// An agent whose stand-in waits for jobs with a registration for one.
async fn one_job() -> (Bench, StandIn, AgentProcess) {
    let mut bench = Bench::new();
    let stand_in = StandIn::install(&bench);
    let agent = stand_in.connected(&mut bench).await;
    stand_in.tell("one-job", "");
    listen(&bench, Credential::OneJob(blob()));
    listening(&mut bench).await;
    (bench, stand_in, agent)
}

/// The same with a registration that is kept.
async fn kept_runner() -> (Bench, StandIn, AgentProcess) {
    let mut bench = Bench::new();
    let stand_in = StandIn::install(&bench);
    let agent = stand_in.connected(&mut bench).await;
    listen(&bench, kept(TOKEN));
    listening(&mut bench).await;
    (bench, stand_in, agent)
}

fn health(bench: &Bench) -> (bool, String) {
    let enrolment = bench.state.private(WHO).join("enrol.json");
    let mut command = std::process::Command::new(bench.state.agent());
    let output = command.arg("health").arg("--enrolment").arg(enrolment).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn listener_of(agent: &AgentProcess, name: &str) -> Pid {
    let is = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let pid = below(agent.0.id()).into_iter().find(is).expect("it runs");
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

#[tokio::test]
async fn a_registration_for_one_job_runs_one_job_and_all_of_it_is_told() {
    let mut bench = Bench::new();
    let stand_in = StandIn::install(&bench);
    let _agent = stand_in.connected(&mut bench).await;
    stand_in.tell("one-job", "");
    listen(&bench, Credential::OneJob(blob()));
    let status = next(&mut bench).await;
    assert_eq!((status.stage, status.jobs), (ListenerStage::Starting, 0));
    assert_eq!(status.runner, Some(ForgeRunnerId(41)));
    assert_eq!(next(&mut bench).await.stage, ListenerStage::Listening);
    for name in [".runner", ".credentials", ".credentials_rsaparams"] {
        let mode = std::fs::metadata(stand_in.root().join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let settings = std::fs::read_to_string(stand_in.root().join(".runner")).unwrap();
    assert!(settings.contains(&bench.path("work").display().to_string()), "{settings}");
    let environment = stand_in.told("environment");
    assert!(environment.contains("FLEET_SAYS=hello"), "{environment}");
    for secret in ["SECRET_OF_THE_AGENT", "key-canary", "INPUT_JITCONFIG"] {
        assert!(!environment.contains(secret), "{secret} is in its environment");
    }
    assert!(health(&bench).1.contains("registered, waits for jobs"));

    stand_in.tell("job", "build (1)");
    let work = working(&mut bench).await;
    assert_eq!(work.name.as_deref(), Some("build (1)"));
    assert_eq!(work.workflow.as_deref(), Some("CI / Build"));
    assert_eq!(work.repository.as_deref(), Some("me/site"));
    assert_eq!(work.run, Some(ForgeRunId(4242)));
    assert!(bench.path("reports/CI---Build/4242").is_dir(), "its reports have a place");
    assert!(health(&bench).0, "a busy runner is healthy");
    stand_in.tell("finish", "");
    let (end, jobs) = over(&mut bench).await;
    let ListenerEnd::Exited { code: 0, .. } = end else { panic!("{end:?}") };
    assert_eq!(jobs, 1);
    assert_eq!(stand_in.told("steps"), "begun\nended\n");
    // Nothing starts it again, whatever is said.
    listen(&bench, Credential::OneJob(blob()));
    assert_eq!(over(&mut bench).await.1, 1);
    assert!(!health(&bench).0);
}

#[tokio::test]
async fn a_job_of_a_fork_is_refused_before_its_first_step() {
    let (mut bench, stand_in, _agent) = one_job().await;
    let fork = r#"{"repository":{"id":1},"pull_request":{"head":{"repo":{"id":2}}}}"#;
    stand_in.tell("event.json", fork);
    stand_in.tell("job", "build");
    over(&mut bench).await;
    assert_eq!(stand_in.told("steps"), "refused\n");
    let hook = stand_in.told("hook");
    assert!(hook.contains("takes no jobs from forks"), "{hook}");
}

#[tokio::test]
async fn a_token_registers_once_and_stays_nowhere() {
    let (mut bench, stand_in, agent) = kept_runner().await;
    let said = stand_in.told("configured");
    for part in ["--unattended", "--replace", "--labels self-hosted,gpu", &format!("--name {NAME}")]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains(TOKEN), "the token is no argument");
    assert!(!stand_in.told("environment").contains(TOKEN));
    // The stand-ins themselves know what to take.
    let bin = stand_in.root().join("bin");
    let found = files_with(bench.folder.path(), TOKEN);
    assert!(found.iter().all(|path| path.starts_with(&bin)), "{found:?}");
    let identity = std::fs::metadata(stand_in.folder.join("identity")).unwrap();
    assert_eq!(identity.mode() & 0o777, 0o700);

    // The container starts again, and nobody has a token any more.
    drop(agent);
    std::fs::remove_file(stand_in.control("configured")).unwrap();
    bench.agents.expect(WHO).unwrap();
    let _agent = stand_in.spawn(&bench);
    let status = listening(&mut bench).await;
    assert_eq!(status.runner, Some(ForgeRunnerId(7)));
    assert_eq!(stand_in.told("configured"), "", "it did not register anew");
    listen(&bench, Credential::Kept(None));
    assert_eq!(listening(&mut bench).await.jobs, 0, "it goes on");
}

#[tokio::test]
async fn a_kept_runner_starts_and_works_without_a_supervisor() {
    let (bench, stand_in, agent) = kept_runner().await;
    let folder = bench.stop().await;
    drop(agent);
    std::fs::remove_file(stand_in.control("environment")).unwrap();
    let mut bench = Bench::open(folder, Vec::new());
    bench.agents.shutdown().await;
    let mut agent = stand_in.spawn(&bench);
    until("it listens", || stand_in.control("environment").exists()).await;
    stand_in.tell("job", "alone");
    until("it works", || stand_in.told("steps") == "begun\n").await;
    stand_in.tell("finish", "");
    until("it has worked", || stand_in.told("steps").ends_with("ended\n")).await;
    // Its listener fails: the engine is to start the container again.
    stand_in.tell("exit", "2");
    until("the agent ends", || agent.0.try_wait().unwrap().is_some()).await;
    assert_eq!(agent.0.wait().unwrap().code(), Some(1));
    assert!(bench.is_quiet());
}

#[tokio::test]
async fn without_a_good_token_it_says_so_and_a_new_one_is_tried() {
    let mut bench = Bench::new();
    let stand_in = StandIn::install(&bench);
    let _agent = stand_in.connected(&mut bench).await;
    listen(&bench, Credential::Kept(None));
    assert_eq!(over(&mut bench).await.0, ListenerEnd::NeedsToken);
    listen(&bench, kept("AABF3JGZDX3P5PMEXLND6TS6FCWO6"));
    let (ListenerEnd::TokenRefused(why), _) = over(&mut bench).await else { panic!("refused") };
    assert!(why.contains("older than an hour") && !why.contains("AABF"), "{why}");
    assert!(!health(&bench).0);
    listen(&bench, kept(TOKEN));
    listening(&mut bench).await;
    assert!(health(&bench).0);
}

#[tokio::test]
async fn a_registration_that_is_gone_at_the_forge_is_forgotten() {
    let (mut bench, stand_in, _agent) = kept_runner().await;
    stand_in
        .tell("last-words", "Failed: the runner registration has been deleted from the server\n");
    stand_in.tell("exit", "1");
    let (ListenerEnd::Exited { code, said }, _) = over(&mut bench).await else { panic!("ended") };
    assert_eq!(code, 1);
    assert!(said.contains("registration has been deleted"), "{said}");
    assert!(!stand_in.folder.join("identity/.credentials").exists());
}

#[tokio::test]
async fn what_a_job_leaves_is_gone_before_the_next_one() {
    let (mut bench, stand_in, agent) = kept_runner().await;
    stand_in.tell("leave", "");
    stand_in.tell("job", "first");
    working(&mut bench).await;
    until("it left something", || stand_in.control("left").exists()).await;
    stand_in.tell("finish", "");
    assert_eq!(listening(&mut bench).await.jobs, 1);
    let left = || {
        below(agent.0.id()).iter().any(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|it| it.starts_with(b"sleep\x001000"))
        })
    };
    until("it is gone", || !left()).await;
    stand_in.tell("job", "second");
    working(&mut bench).await;
    stand_in.tell("finish", "");
    assert_eq!(listening(&mut bench).await.jobs, 2);
}

#[tokio::test]
async fn a_supervisor_that_comes_back_hears_of_the_job_that_ended_meanwhile() {
    let (mut bench, stand_in, _agent) = one_job().await;
    stand_in.tell("job", "build");
    working(&mut bench).await;
    let mut bench = bench.restart(vec![(WHO, None)]).await;
    assert_eq!(working(&mut bench).await.name.as_deref(), Some("build"), "it still has it");
    let folder = bench.stop().await;
    stand_in.tell("finish", "");
    until("it is over", || stand_in.told("steps").ends_with("ended\n")).await;
    let mut bench = Bench::open(folder, vec![(WHO, None)]);
    assert_eq!(over(&mut bench).await.1, 1);
}

#[tokio::test]
async fn a_job_of_which_nobody_heard_is_told_when_somebody_listens() {
    let (bench, stand_in, _agent) = one_job().await;
    let folder = bench.stop().await;
    stand_in.tell("job", "build");
    stand_in.tell("finish", "");
    until("it is over", || stand_in.told("steps").ends_with("ended\n")).await;
    let mut bench = Bench::open(folder, vec![(WHO, None)]);
    let work = working(&mut bench).await;
    assert_eq!((work.name.as_deref(), work.run), (Some("build"), Some(ForgeRunId(4242))));
    assert_eq!(over(&mut bench).await.1, 1);
}

#[tokio::test]
async fn a_listener_that_hangs_is_told_as_stuck() {
    let (mut bench, stand_in, agent) = one_job().await;
    kill_process(listener_of(&agent, "Runner.Listener"), Signal::STOP).unwrap();
    let status = until_stage(&mut bench, "stuck", |it| it.stuck.is_some()).await;
    assert_eq!(status.stage, ListenerStage::Listening);
    assert!(!health(&bench).0);
    // It sends something again.
    stand_in.sent(2);
    until_stage(&mut bench, "moving", |it| it.stuck.is_none()).await;
    assert!(health(&bench).0);
}

#[tokio::test]
async fn a_claimed_job_that_is_never_begun_is_stuck_and_ends_when_asked() {
    let (mut bench, stand_in, _agent) = one_job().await;
    stand_in.tell("claim", "");
    let is = |it: &ListenerStatus| matches!(it.stage, ListenerStage::Working(_));
    until_stage(&mut bench, "claimed", is).await;
    bench.order(AgentOrder::StopListening(Patience::Spare));
    let status = until_stage(&mut bench, "stuck", |it| it.stuck.is_some()).await;
    assert!(is(&status), "the first order was void: {status:?}");
    bench.order(AgentOrder::StopListening(Patience::Spare));
    assert!(matches!(over(&mut bench).await.0, ListenerEnd::Exited { code: 0, .. }));
}

#[tokio::test]
async fn a_killed_listener_is_told_and_its_job_is_not_ended_with_it() {
    let (mut bench, stand_in, agent) = one_job().await;
    stand_in.tell("job", "build");
    working(&mut bench).await;
    kill_process(listener_of(&agent, "Runner.Listener"), Signal::KILL).unwrap();
    let status = until_stage(&mut bench, "alone", |it| it.stuck.is_some()).await;
    assert!(matches!(status.stage, ListenerStage::Working(_)), "{status:?}");
    stand_in.tell("finish", "");
    let (ListenerEnd::Exited { code: 137, .. }, 1) = over(&mut bench).await else {
        panic!("killed")
    };
    assert!(stand_in.told("steps").ends_with("ended\n"), "its job came to its end");
}

#[tokio::test]
async fn an_idle_listener_ends_when_asked_and_a_busy_one_does_not() {
    let (mut bench, stand_in, _agent) = kept_runner().await;
    stand_in.tell("job", "build");
    working(&mut bench).await;
    bench.order(AgentOrder::StopListening(Patience::Spare));
    assert!(matches!(next(&mut bench).await.stage, ListenerStage::Working(_)), "it is void");
    stand_in.tell("finish", "");
    listening(&mut bench).await;
    bench.order(AgentOrder::StopListening(Patience::Spare));
    let (end, jobs) = over(&mut bench).await;
    assert!(matches!(end, ListenerEnd::Exited { code: 0, .. }), "{end:?}");
    assert_eq!(jobs, 1);
    assert_eq!(stand_in.told("steps"), "begun\nended\n");
}

#[tokio::test]
async fn a_cancelled_job_ends_with_its_listener_and_leaves_nothing() {
    let (mut bench, stand_in, agent) = one_job().await;
    stand_in.tell("leave", "");
    stand_in.tell("job", "build");
    working(&mut bench).await;
    let grace = Duration::from_secs(20);
    bench.order(AgentOrder::StopListening(Patience::Cancel(grace)));
    over(&mut bench).await;
    until("nothing is left", || below(agent.0.id()).is_empty()).await;
    assert_eq!(stand_in.told("steps"), "begun\n");
}

#[tokio::test]
async fn a_container_that_is_stopped_ends_its_listener_well() {
    let (mut bench, _stand_in, mut agent) = one_job().await;
    kill_process(Pid::from_raw(i32::try_from(agent.0.id()).unwrap()).unwrap(), Signal::TERM)
        .unwrap();
    until("the agent ends", || agent.0.try_wait().unwrap().is_some()).await;
    assert_eq!(agent.0.wait().unwrap().code(), Some(0));
    until_stage(&mut bench, "any", |_| true).await;
}

#[tokio::test]
async fn an_image_without_the_program_is_told() {
    let mut bench = Bench::new();
    let stand_in = StandIn::install(&bench);
    std::fs::remove_file(stand_in.root().join("bin/Runner.Listener")).unwrap();
    let _agent = stand_in.connected(&mut bench).await;
    listen(&bench, Credential::OneJob(blob()));
    let (ListenerEnd::NotStarted(why), 0) = over(&mut bench).await else { panic!("not started") };
    assert!(why.contains("Runner.Listener") && why.contains("images/github-runner"), "{why}");
    listen(&bench, Credential::OneJob("broken".to_owned()));
    assert!(matches!(bench.next().await, AgentEvent::Listener(_)));
}

#[tokio::test]
async fn giteas_runner_registers_takes_one_job_and_ends() {
    let mut bench = Bench::new();
    let stand_in = StandIn::install(&bench);
    let _agent = stand_in.connected(&mut bench).await;
    listen_at(&bench, ForgeKind::Gitea, Credential::OneJob(TOKEN.to_owned()));
    assert_eq!(next(&mut bench).await.stage, ListenerStage::Registering);
    assert_eq!(listening(&mut bench).await.runner, Some(ForgeRunnerId(12)));
    let said = stand_in.told("configured");
    for part in
        ["--ephemeral", "--instance https://github.com ", "--labels self-hosted:host,gpu:host"]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains(TOKEN) && !stand_in.told("environment").contains(TOKEN));
    assert!(health(&bench).0);
    stand_in.tell("job", "");
    let is = |it: &ListenerStatus| matches!(it.stage, ListenerStage::Working(_));
    until_stage(&mut bench, "working", is).await;
    bench.order(AgentOrder::StopListening(Patience::Spare));
    until_stage(&mut bench, "still working", is).await;
    stand_in.tell("finish", "");
    let (end, jobs) = over(&mut bench).await;
    assert!(matches!(end, ListenerEnd::Exited { code: 0, .. }), "{end:?}");
    assert_eq!(jobs, 1);
}

#[tokio::test]
async fn giteas_refused_token_is_told() {
    let mut bench = Bench::new();
    let stand_in = StandIn::install(&bench);
    let _agent = stand_in.connected(&mut bench).await;
    listen_at(&bench, ForgeKind::Gitea, Credential::OneJob("wrong".to_owned()));
    let (ListenerEnd::TokenRefused(why), 0) = over(&mut bench).await else { panic!("refused") };
    assert!(why.contains("token not found"), "{why}");
}
