//! Tables of what is told when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::body;
use super::{Condition, NoticeState, Watch, conditions, unrecorded};
use crate::fleet::disk::DiskView;
use crate::fleet::forge::{ForgeContact, ForgeView};
use crate::fleet::view::{FailureView, FleetPhase, FleetView, RunnerStatus};
use crate::ids::{IncarnationId, PoolName, ProjectName, ScopeUrl};
use crate::sim::Sim;
use crate::sim::script::{host, pool, spec};
use crate::sim::transcript::Writing;
use crate::spec::{Notify, NotifyEvent, NotifyStyle, SecretSource};
use crate::units::{Bytes, Time};

fn settings() -> Notify {
    Notify {
        url: SecretSource::Variable("HOOK".to_owned()),
        style: NotifyStyle::Slack,
        events: NotifyEvent::ALL.into(),
        queue_above: 20,
        queue_for: Duration::from_secs(300),
    }
}

/// A fleet of two pools that is well.
fn fleet() -> FleetView {
    let spec = spec().with(pool("light", 2)).with(pool("standard", 1));
    let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
    sim.up(spec);
    sim.settle().expect("a fleet without faults comes up");
    sim.fleet().expect("a supervisor").view(sim.now())
}

fn depths(light: u32) -> BTreeMap<PoolName, u32> {
    BTreeMap::from([(PoolName::new("light"), light), (PoolName::new("standard"), 0)])
}

/// What stands in the way, as `event object: words`.
fn told(fleet: &FleetView, light: u32) -> Vec<String> {
    let found = conditions(fleet, &depths(light), &settings());
    let line = |it: &Condition| format!("{} {}: {}", it.event.word(), it.object, it.words);
    found.iter().map(line).collect()
}

#[test]
fn a_fleet_that_is_well_is_worth_no_message() {
    assert_eq!(told(&fleet(), 20), Vec::<String>::new());
}

#[test]
fn each_trouble_is_told_with_its_object_and_its_numbers() {
    let well = fleet();
    assert_eq!(told(&well, 21), ["queue light: 21 jobs wait for pool light"]);
    let mut full = well.clone();
    full.disks = vec![DiskView {
        path: "/srv".into(),
        holds: "state".to_owned(),
        free: Bytes::mib(100),
        total: Bytes::gib(10),
        floor: Bytes::mib(512),
        low: true,
    }];
    let words = "disk state: the disk of /srv (state) has 100MiB free, and 512MiB is the least: no \
                 job is given out";
    assert_eq!(told(&full, 0), [words]);
    let mut silent = well.clone();
    silent.forges = vec![ForgeView {
        scope: ScopeUrl::new("https://github.com/me/site"),
        contact: Some(ForgeContact::Denied("bad credentials".to_owned())),
        since: well.at,
        runners_listed: None,
        jobs_listed: None,
        leftovers: Vec::new(),
        newest_runner: None,
    }];
    let words = "forge https://github.com/me/site: https://github.com/me/site refuses: bad \
                 credentials";
    assert_eq!(told(&silent, 0), [words]);
    let mut slow = well.clone();
    slow.phase = FleetPhase::Converging;
    slow.troubles = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let words = "degraded fleet: the fleet is not as its file says: a; b; c; and 2 more troubles";
    assert_eq!(told(&slow, 0), [words]);
    slow.phase = FleetPhase::GoingDown;
    assert_eq!(told(&slow, 0), Vec::<String>::new(), "somebody wants it so");
}

#[test]
fn runners_that_fail_again_and_again_are_told_once_for_their_pool() {
    let mut fleet = fleet();
    let at = fleet.at;
    for runner in fleet.runners.iter_mut().filter(|it| it.pool.as_str() == "light") {
        runner.status = RunnerStatus::Error;
        runner.last_failure = Some(FailureView {
            status: RunnerStatus::Error,
            cause: "no such image".to_owned(),
            at,
            incarnation: IncarnationId(7),
            job: None,
            in_a_row: 5,
            next_try: None,
        });
    }
    let name = fleet.runners[0].name.clone();
    let words = format!(
        "crash_loop light: {name} failed 5 times in a row: no such image (and 1 more runner of \
         pool light)"
    );
    assert_eq!(told(&fleet, 0), [words]);
    for runner in &mut fleet.runners {
        runner.status = RunnerStatus::Idle;
        runner.since = at;
    }
    assert_eq!(told(&fleet, 0).len(), 1, "it may die again at once");
    fleet.at = at + Duration::from_secs(61);
    assert_eq!(told(&fleet, 0), Vec::<String>::new(), "it has served for a minute");
}

#[test]
fn only_the_wanted_kinds_are_told() {
    let mut fleet = fleet();
    fleet.phase = FleetPhase::Converging;
    let wanted = Notify { events: BTreeSet::from([NotifyEvent::Queue]), ..settings() };
    let found = conditions(&fleet, &depths(100), &wanted);
    assert_eq!(found.iter().map(|it| it.event).collect::<Vec<_>>(), [NotifyEvent::Queue]);
}

fn deep(depth: u32) -> Condition {
    Condition {
        event: NotifyEvent::Queue,
        object: "light".to_owned(),
        words: format!("{depth} jobs wait for pool light"),
        patience: Duration::from_secs(300),
    }
}

/// Looks at a queue every so many seconds; `second state words` of what is told.
fn story(looks: impl IntoIterator<Item = (u64, Option<u32>)>) -> Vec<String> {
    let mut watch = Watch::default();
    let mut told = Vec::new();
    for (second, depth) in looks {
        let notices = watch.look(Time(second * 1000), depth.map(deep).into_iter().collect());
        told.extend(notices.iter().map(|it| format!("{second} {} {}", it.state.word(), it.words)));
    }
    told
}

#[test]
fn a_queue_is_told_once_after_its_time_and_once_when_it_is_over() {
    let deep = (0..=400).step_by(5).map(|second| (second, Some(25)));
    let shallow = (405..=500).step_by(5).map(|second| (second, None));
    assert_eq!(
        story(deep.chain(shallow)),
        ["300 firing 25 jobs wait for pool light", "415 resolved 25 jobs wait for pool light",]
    );
}

#[test]
fn a_break_before_it_is_told_begins_anew_and_one_after_is_none() {
    let looks = (0..=700).step_by(5).map(|second| match second {
        200 | 600 => (second, None),
        _ => (second, Some(30)),
    });
    assert_eq!(story(looks), ["505 firing 30 jobs wait for pool light"]);
}

#[test]
fn what_is_watched_is_bounded() {
    let mut watch = Watch::default();
    let many = || {
        (0..1000).map(|number| Condition {
            object: number.to_string(),
            patience: Duration::ZERO,
            ..deep(1)
        })
    };
    assert_eq!(watch.look(Time(0), many().collect()).len(), 200);
    assert_eq!(watch.look(Time(5000), many().collect()).len(), 0);
    assert_eq!(watch.look(Time(60_000), Vec::new()).len(), 200, "each is told to be over");
    assert!(watch.known.is_empty());
}

#[test]
fn messages_are_as_chat_servers_and_programs_take_them() {
    let project = ProjectName::new("slate");
    let mut watch = Watch::default();
    let full = || vec![unrecorded("no <space>\nleft & more".to_owned())];
    let mut notices = watch.look(Time(0), full());
    notices.extend(watch.look(Time(100_000), Vec::new()));
    let slack = body(NotifyStyle::Slack, &project, &notices);
    let text = "[slate] degraded: no &lt;space&gt; left &amp; more\n[slate] degraded resolved \
                after 1m40s: no &lt;space&gt; left &amp; more";
    assert_eq!(slack, serde_json::json!({"text": text}).to_string());
    let document: serde_json::Value =
        serde_json::from_str(&body(NotifyStyle::Json, &project, &notices)).expect("JSON");
    assert_eq!(document["project"], "slate");
    assert_eq!(document["notices"][0]["state"], NoticeState::Firing.word());
    assert_eq!(document["notices"][1]["state"], "resolved");
    assert_eq!(document["notices"][1]["object"], "record");
    assert_eq!(document["notices"][1]["at"], 100_000);
}
