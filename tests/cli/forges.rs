//! What the command line and the API say of forges, on a played fleet.

use slate_fleet::api::dispatch::{DispatchAnswer, DispatchBody};
use slate_fleet::api::doctor::{CheckLevel, Diagnosis};
use slate_fleet::api::explain::Explanation;
use slate_fleet::client::{Client, ClientError};
use slate_fleet::fleet::forge::{
    ForgeContact, ForgeError, ForgeErrorClass, ForgeJobFact, ForgeJobStatus, ForgeJobView,
    ForgeView, WorkFact,
};
use slate_fleet::fleet::view::{FleetPhase, RunnerStatus, WaitReason};
use slate_fleet::forge::{CallError, Dispatched, Finding, Level, RunState};
use slate_fleet::ids::{ForgeJobId, ForgeRunId, PoolName, ScopeUrl};
use slate_fleet::supervisor::forge_report::{
    ForgeReport, LimitReport, ScopeReport, SecretReport, SecretUser,
};
use slate_fleet::units::Time;

use super::fake::NOW;
use super::program::Project;

fn scope() -> ScopeUrl {
    ScopeUrl::new("https://github.com/acme/site")
}

fn project() -> Project {
    let project = Project::new();
    project.fake.at_a_forge();
    project
}

fn job(id: u64, status: ForgeJobStatus) -> ForgeJobView {
    ForgeJobView {
        scope: scope(),
        job: ForgeJobFact {
            id: ForgeJobId(id),
            run: ForgeRunId(700 + id),
            attempt: 1,
            repository: "acme/site".to_owned(),
            workflow: Some("CI".to_owned()),
            name: "build".to_owned(),
            labels: vec!["self-hosted".to_owned(), "gpu".to_owned()],
            status,
            runner: None,
            created: NOW,
            fork: Some(false),
            url: None,
        },
        pool: None,
        reason: Some("no pool has the label gpu".to_owned()),
        reason_code: None,
        wait: None,
    }
}

fn begun(run: Option<u64>) -> Result<Dispatched, CallError> {
    let url = run.map(|run| format!("https://github.com/acme/site/actions/runs/{run}"));
    Ok(Dispatched { run: run.map(ForgeRunId), url })
}

#[tokio::test]
async fn a_workflow_is_started_with_its_inputs_and_its_run_is_told() {
    let project = project();
    project.fake.change(|world| world.begun = begun(Some(4711)));
    let line = "dispatch multi-runner.yml --input task_id=42 --input profile=standard --ref main";
    let ran = project.run(line).await;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    let expected = "run 4711 of multi-runner.yml in acme/site: \
                    https://github.com/acme/site/actions/runs/4711\n";
    assert_eq!(ran.out(), expected);
    let order = project.fake.world.lock().expect("no player panicked").dispatched[0].clone();
    assert_eq!(order.pool, PoolName::new("light"));
    assert_eq!(order.dispatch.repository, "acme/site");
    assert_eq!(order.dispatch.reference.as_deref(), Some("main"));
    let inputs: Vec<_> = order.dispatch.inputs.iter().collect();
    let [("profile", "standard"), ("task_id", "42")] = [
        (inputs[0].0.as_str(), inputs[0].1.as_str()),
        (inputs[1].0.as_str(), inputs[1].1.as_str()),
    ] else {
        panic!("{inputs:?}")
    };
    assert_eq!(project.run("dispatch x.yml -q").await.out(), "4711\n");
}

#[tokio::test]
async fn a_dispatch_that_waits_ends_as_its_run_ends() {
    let project = project();
    let state = |status: &str, conclusion: Option<&str>| RunState {
        status: status.to_owned(),
        conclusion: conclusion.map(str::to_owned),
        url: None,
    };
    for (conclusion, code) in
        [("success", 0), ("failure", 1), ("cancelled", 130), ("timed_out", 124)]
    {
        project.fake.change(|world| {
            world.begun = begun(Some(4711));
            world.runs = vec![state("completed", Some(conclusion))];
        });
        let ran = project.run("dispatch x.yml --wait").await;
        assert_eq!(ran.code(), code, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("run 4711 ended: {conclusion}")), "{}", ran.stderr);
    }
    project.fake.change(|world| world.runs = vec![state("queued", None)]);
    let ran = project.run("dispatch x.yml --wait --timeout 1s").await;
    assert_eq!(ran.code(), 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("run 4711 is queued"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_dispatch_that_cannot_be_says_why_with_a_code_of_its_own() {
    let project = project();
    let refused = |class, message: &str| {
        Err(CallError::Failed(ForgeError { class, message: message.to_owned() }))
    };
    let denied = refused(ForgeErrorClass::Denied, "the token has no right `actions: write`");
    let limited = refused(ForgeErrorClass::Limited(Time(0)), "limited until 16:14");
    let unknown = Err(CallError::Unknown("the answer was lost".to_owned()));
    for (answer, code) in [(denied, 7), (limited, 4), (unknown, 8)] {
        project.fake.change(|world| world.begun = answer.clone());
        let ran = project.run("dispatch x.yml").await;
        assert_eq!(ran.code(), code, "{}", ran.stderr);
    }
    let ran = project.run("dispatch x.yml --pool ligth").await;
    assert_eq!(ran.code(), 6);
    assert!(ran.stderr.contains("did you mean `light`?"), "{}", ran.stderr);
    assert_eq!(project.run("dispatch x.yml --repo acme/other").await.code(), 2);
    assert_eq!(project.run("dispatch x.yml --input nonsense").await.code(), 2);
    let body = DispatchBody { workflow: "a/b".to_owned(), ..DispatchBody::default() };
    let mut client = Client::connect(&project.fake.state).await.expect("connects");
    let answer = client.post::<DispatchAnswer>("/api/v1/dispatch", &body).await;
    assert!(matches!(answer, Err(ClientError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn a_runner_of_a_forge_has_nothing_to_complete_and_that_is_no_failure() {
    let project = project();
    for line in ["complete slate-light-2-0011aabb", "--complete slate-light-02", "complete 2"] {
        let ran = project.run(line).await;
        assert_eq!(ran.code(), 0, "{line}: {}", ran.stderr);
        let expected = "nothing to complete: slate-light-02 takes its forge's jobs, and the forge \
                        sees for itself when one ends\n";
        assert_eq!(ran.stderr, expected, "{line}");
    }
    assert!(project.fake.requests().is_empty(), "nothing was asked of the fleet");
}

#[tokio::test]
async fn forges_jobs_stand_below_the_fleets_own_and_alone_where_asked_for() {
    let project = project();
    project.fake.change(|world| {
        let done = ForgeJobStatus::Completed("success".to_owned());
        world.forge_jobs = vec![job(9, ForgeJobStatus::Queued), job(8, done)];
    });
    let ran = project.run("jobs").await;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    let text = ran.out();
    assert!(text.contains("\n\nFORGE JOB   STATUS"), "{text}");
    assert!(text.contains("no pool has the label gpu"), "{text}");
    assert!(!text.contains("success"), "what is over is not listed below: {text}");
    assert_eq!(project.run("jobs --forge -q").await.out(), "9\n8\n");
    let lines = project.run("jobs --forge --format jsonl").await.out();
    assert_eq!(lines.lines().count(), 2);
    assert_eq!(project.run("jobs --format jsonl").await.out(), "");
    assert!(!project.run("jobs --status queued").await.out().contains("FORGE"));
}

#[tokio::test]
async fn ps_names_what_is_left_at_a_forge_and_weaker_settings() {
    let project = project();
    project.fake.change(|world| {
        world.fleet.forges = vec![view(ForgeContact::Good, &["slate-light-7-0011aabb"])];
        world.spec.pools[0].forge.as_mut().expect("it has one").fork_jobs =
            slate_fleet::spec::ForkJobs::Allow;
    });
    let text = project.run("ps").await.out();
    let below = "\n\n1 entry at github.com/acme/site waits to be removed: slate-light-7-0011aabb\n\
                 Warning: pool light has `fork_jobs: allow`: strangers' pull requests run their \
                 code there\n";
    assert!(text.ends_with(below), "{text}");
    let alone = project.run("ps slate-light-1-0011aabb").await.out();
    assert_eq!(alone.lines().count(), 2, "{alone}");
}

#[tokio::test]
async fn a_forges_job_is_explained_by_its_number_and_by_its_page() {
    let project = project();
    let page = "https://github.com/acme/site/actions/runs/709/job/9";
    let mut dead = job(8, ForgeJobStatus::Running);
    dead.job.runner = Some("slate-light-1-0011aabb-gone".to_owned());
    dead.pool = Some(PoolName::new("light"));
    project.fake.change(|world| {
        let mut waiting = job(9, ForgeJobStatus::Queued);
        let (nearest, missing) = (Some(PoolName::new("light")), vec!["gpu".to_owned()]);
        waiting.wait = Some(WaitReason::NoLabels { nearest, missing });
        world.forge_jobs = vec![waiting, dead];
    });
    for name in ["9", page, "https://github.com/acme/site/actions/runs/709"] {
        let ran = project.run(&format!("explain {name}")).await;
        assert_eq!(ran.code(), 0, "{name}: {}", ran.stderr);
        let text = ran.out();
        assert!(text.starts_with("Forge's job:  9 (acme/site: build)\n"), "{text}");
        assert!(text.contains("Reason:       no pool has the label gpu\n"), "{text}");
        assert!(text.contains("  - add `gpu` to the `labels` of pool light, then"), "{text}");
    }
    let text = project.run("explain 8").await.out();
    assert!(text.contains("its runner slate-light-1-0011aabb-gone is gone"), "{text}");
    let ran = project.run("explain https://github.com/acme/site/actions/runs/1/job/7").await;
    assert_eq!(ran.code(), 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean `8`?"), "{}", ran.stderr);
    let ran = project.run("explain 77").await;
    assert_eq!(ran.code(), 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("`slate-fleet jobs --forge`"), "{}", ran.stderr);
    assert_eq!(project.run("explain https://github.com/acme").await.code(), 2);
}

#[tokio::test]
async fn a_forges_runner_and_pool_are_explained_with_what_the_forge_says() {
    let project = project();
    project.fake.change(|world| {
        let forge = world.fleet.runners[0].forge.as_mut().expect("it has one");
        forge.work = Some(WorkFact { name: Some("build".to_owned()), ..WorkFact::default() });
        let mut waits = job(9, ForgeJobStatus::Queued);
        waits.pool = Some(PoolName::new("light"));
        world.forge_jobs = vec![waits];
    });
    let text = project.run("explain slate-light-1-0011aabb").await.out();
    assert!(text.contains("Registered:   slate-light-1-0011aabb (21)\n"), "{text}");
    assert!(text.contains("Forge's word: github.com sees it online\n"), "{text}");
    let mut client = Client::connect(&project.fake.state).await.expect("connects");
    let told: Explanation = client.get("/api/v1/explain/light").await.expect("explained");
    let Explanation::Pool(it) = told else { panic!("no pool but {told:?}") };
    let forge = it.forge.expect("it has a forge");
    assert_eq!(
        (forge.waiting, forge.right.as_str()),
        (1, "a personal access token from `GITHUB_PAT`")
    );
}

fn view(contact: ForgeContact, leftovers: &[&str]) -> ForgeView {
    ForgeView {
        scope: scope(),
        contact: Some(contact),
        since: NOW,
        runners_listed: Some(NOW),
        jobs_listed: Some(NOW),
        leftovers: leftovers.iter().map(|&name| name.to_owned()).collect(),
        newest_runner: Some("2.336.0".to_owned()),
    }
}

#[tokio::test]
async fn doctor_names_what_is_wrong_with_a_forge_and_what_to_do() {
    let project = project();
    project.fake.change(|world| {
        let until = Time(NOW.0 + 600_000);
        let why = "secondary rate limit".to_owned();
        world.fleet.forges =
            vec![view(ForgeContact::Limited { until, why }, &["slate-light-7-0011aabb"])];
        let limit = LimitReport { limit: 5000, remaining: 300, reset: until, silent_until: None };
        let message = "runner group `ci` does not allow public repositories".to_owned();
        world.report = ForgeReport {
            scopes: vec![ScopeReport {
                scope: scope(),
                pools: vec![PoolName::new("light")],
                findings: vec![Finding { level: Level::Warning, message }],
                limit: Some(limit),
            }],
            secrets: vec![SecretReport {
                source: "GITHUB_PAT".to_owned(),
                of: SecretUser::Pool(PoolName::new("light")),
                trouble: None,
                warning: None,
            }],
            ..ForgeReport::default()
        };
        let forge = world.fleet.runners[1].forge.as_mut().expect("it has one");
        (forge.online, forge.version) = (Some(false), Some("2.330.1".to_owned()));
    });
    let mut client = Client::connect(&project.fake.state).await.expect("connects");
    let told: Diagnosis = client.get("/api/v1/doctor").await.expect("told");
    assert_eq!(told.worst(), CheckLevel::Warning, "{told:?}");
    let forge = told.sections.iter().find(|it| it.name == "github.com/acme/site").expect("it");
    let messages: Vec<&str> = forge.checks.iter().map(|it| it.message.as_str()).collect();
    let expected = [
        "limited until 12:10 UTC: secondary rate limit",
        "runner group `ci` does not allow public repositories",
        "300 of 5000 calls are left until 12:10 UTC",
        "it sees 1 runner offline: slate-light-02",
        "1 entry of a runner that is gone waits to be removed: slate-light-7-0011aabb",
        "the runners' program is 2.330.1, its newest is 2.336.0",
    ];
    assert_eq!(messages, expected);
    project.fake.change(|world| {
        world.fleet.forges = vec![view(ForgeContact::Denied("bad credentials".to_owned()), &[])];
        world.report.secrets[0].trouble = Some("it is not set".to_owned());
    });
    let ran = project.run("doctor").await;
    assert_eq!(ran.code(), 1, "{}", ran.stderr);
    let text = ran.out();
    for line in [
        "  error    it refuses: bad credentials\n",
        "  error    GITHUB_PAT (for light): it is not set\n           help: set GITHUB_PAT, then",
        "Security\n  ok       no setting is weaker than its default\n",
        "Fleet file\n  ok       1 pool, at most 2 runners\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let json = project.run("doctor --format json").await.out();
    let parsed: Diagnosis = serde_json::from_str(&json).expect("a diagnosis");
    assert_eq!(parsed.worst(), CheckLevel::Error);
}

#[tokio::test]
async fn doctor_names_the_runners_that_tokens_are_for() {
    let project = project();
    project.fake.change(|world| {
        let secret = |number| SecretReport {
            source: format!("RUNNER_TOKEN_{number}"),
            of: SecretUser::Runner(PoolName::new("light"), number),
            trouble: Some("it is not set".to_owned()),
            warning: None,
        };
        world.report.secrets = vec![secret(1), secret(2), secret(3)];
        world.fleet.runners[1].status = RunnerStatus::Error;
    });
    let text = project.run("doctor").await.out();
    for line in [
        "  ok       RUNNER_TOKEN_1 is not there; slate-light-01 is registered and does not need it\n",
        "  error    RUNNER_TOKEN_2 (for slate-light-02): it is not set\n",
        "  warning  RUNNER_TOKEN_3 (for runner 3 of pool light): it is not set\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn up_ends_when_the_runners_that_are_left_wait_for_an_operator() {
    let project = project();
    project.fake.change(|world| {
        world.fleet.phase = FleetPhase::Converging;
        let runner = &mut world.fleet.runners[1];
        runner.status = RunnerStatus::Error;
        runner.forge.as_mut().expect("it has one").hold =
            Some("RUNNER_TOKEN_2 is not set".to_owned());
    });
    let ran = project.run("up -d --github-api-url http://127.0.0.1:9/api/").await;
    assert_eq!(ran.code(), 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("  slate-light-02: RUNNER_TOKEN_2 is not set\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 of 2 runners waits for you"), "{}", ran.stderr);
    let Some(slate_fleet::fleet::event::Request::Apply(spec)) = project.fake.requests().pop()
    else {
        panic!("the file was not handed over");
    };
    assert_eq!(spec.forge.github_api.as_deref(), Some("http://127.0.0.1:9/api"));
    assert_eq!(project.run("up -d --github-api-url nonsense").await.code(), 2);
}
