//! The locked algorithm, as a table made from specification 1's words.

use super::*;
use crate::fleet::Fleet;
use crate::fleet::desired;
use crate::fleet::effect::{Answer, Effect, RefusalKind, Template};
use crate::fleet::event::{Cordon, EngineEvent, Event, JobSpec, Request};
use crate::fleet::gpu::{GpuProcess, GpuReport};
use crate::fleet::host::HostFacts;
use crate::fleet::job::{Job, JobState};
use crate::fleet::runner::{Build, GpuHold};
use crate::fleet::slot::GpuLease;
use crate::fleet::state::{Meta, Restored};
use crate::ids::{
    AttemptNo, ContainerId, ImageId, ImageRef, JobId, ProfileName, RequestId, SlotId,
};
use crate::sim::script::{host, pool, spec, work};

/// A runner of the table: its profile, its card, and since when it is idle; busy without that.
type Row = (&'static str, Option<u32>, Option<u64>);

/// What work asks for.
enum Ask {
    /// A profile by name.
    Profile(&'static str),
    /// What a type of work needs.
    Type(&'static str),
}
use Ask::{Profile as P, Type as T};

/// Numbers of runners that got the work, in the order in which it came; nothing for what waits.
type Got = &'static [Option<u32>];

const NOW: Time = Time(1_000_000);

/// The specification's profiles and types of work, a type of this file's own, and a pool of each
/// profile.
fn whole_spec() -> Spec {
    let names = ["light", "standard", "gpu_light", "gpu_heavy", "gpu_max"];
    let mut spec = names.into_iter().fold(spec(), |spec, name| spec.with(pool(name, 0)));
    let types = [
        ("inference_large", "gpu_heavy"),
        ("inference_small", "gpu_light"),
        ("tests", "standard"),
        ("lint", "light"),
        ("quantize", "gpu_max"),
    ];
    let types = types.map(|(kind, profile)| (kind.to_owned(), ProfileName::new(profile)));
    spec.task_types = types.into_iter().collect();
    // As in the sample: four light ones beside a heavy one, ten in all.
    spec.edit("gpu_light", |it| {
        it.gpu = it.gpu.map(|gpu| GpuDemand { sharing: GpuSharing::Shared, ..gpu });
    })
}

fn template(spec: &Spec, name: &str) -> Template {
    let pool = desired::pool(spec, &PoolName::new(name)).expect("each profile has a pool");
    desired::template(spec, pool).expect("it has a profile")
}

fn container(number: u32) -> ContainerId {
    ContainerId::new(format!("c{number}"))
}

/// A slot with its runner, and the job of a busy one.
fn seat(spec: &Spec, number: u32, (name, card, idle): Row) -> (Slot, Runner, Option<Job>) {
    let host = host();
    let card = card.and_then(|index| host.gpus.iter().find(|gpu| gpu.index == index));
    let (id, slot) = (IncarnationId(u64::from(number)), SlotId(number));
    let job = idle.is_none().then(|| JobId(u64::from(number)));
    let demand = spec.profiles[&ProfileName::new(name)].gpu;
    let container = container(number);
    let runner = Runner {
        id,
        slot: Some(slot),
        registration: None,
        name: format!("demo-{number}"),
        build: Build {
            template: template(spec, name),
            image: ImageId::new("sha256:1"),
            gpu: card.zip(demand).map(|(card, demand)| GpuHold { card: card.uuid.clone(), demand }),
        },
        phase: match job {
            None => Phase::Idle { container },
            Some(job) => Phase::Busy { container, job, attempt: AttemptNo(1) },
        },
        since: Time(idle.unwrap_or(0)),
    };
    let slot = Slot {
        id: slot,
        name: format!("demo-{number}"),
        pool: PoolName::new(name),
        profile: ProfileName::new(name),
        downgrade: None,
        gpu: card.map(|card| GpuLease { index: card.index, uuid: card.uuid.clone() }),
        fate: Fate::Stay,
        cordon: Cordon::Open,
        runner: Some(id),
        filled: Time(0),
        tasks_completed: 0,
        last_failure: None,
    };
    let job = job.map(|job| running(job, (slot.id, id), name));
    (slot, runner, job)
}

fn running(id: JobId, (slot, runner): (SlotId, IncarnationId), profile: &str) -> Job {
    Job {
        id,
        spec: work(60),
        profile: ProfileName::new(profile),
        raised: None,
        priority: 0,
        timeout: std::time::Duration::from_secs(60),
        state: JobState::Given { runner, stop: None },
        attempt: AttemptNo(1),
        slot: Some(slot),
        slot_name: None,
        queued_at: Time(0),
        assigned_at: Some(Time(0)),
        started_at: Some(NOW),
        turn: 0,
        setback: None,
        attempts: Vec::new(),
        retries: 0,
        retry_on: crate::fleet::attempt::RetryOn::Never,
    }
}

/// A fleet of these runners, whose agents all listen, on cards that were read to use so much.
fn fleet(spec: &Spec, rows: &[Row], used: [u32; 2]) -> Fleet {
    let mut restored = Restored {
        meta: Meta { spec: Some(spec.clone()), job: 1000, incarnation: 1000, ..Meta::default() },
        ..Restored::default()
    };
    for (number, row) in (1u32..).zip(rows) {
        let (slot, runner, job) = seat(spec, number, *row);
        restored.slots.push(slot);
        restored.runners.push(runner);
        restored.jobs.extend(job);
    }
    let mut fleet = Fleet::restore(spec.clone(), restored, NOW);
    for runner in fleet.state.runners().map(|it| it.id).collect::<Vec<_>>() {
        fleet.state.contacts.entry(runner).or_default().session_since = Some(Time(0));
    }
    fleet.state.host = HostFacts { cpus: 64, memory: Bytes::gib(512), ..host() };
    fleet.state.gpus = report(used, rows);
    fleet.state.gpus_begun = NOW;
    fleet
}

/// The cards; what busy runners use of them is a part of what is used in all.
fn report(used: [u32; 2], rows: &[Row]) -> GpuReport {
    let mut cards: Vec<GpuReading> = host().gpus.into_iter().map(GpuReading::unread).collect();
    for (reading, used) in cards.iter_mut().zip(used) {
        let busy = (1u32..)
            .zip(rows)
            .filter(|(_, (_, card, idle))| *card == Some(reading.card.index) && idle.is_none());
        let process = |(number, _)| GpuProcess {
            nested: Vec::new(),
            runner: None,
            pid: number,
            name: "python".to_owned(),
            container: Some(container(number)),
            memory: Some(GpuMib(500)),
            busy_percent: None,
        };
        reading.used = Some(GpuMib(used));
        reading.processes = Some(busy.map(process).collect());
    }
    GpuReport { cards, ..GpuReport::default() }
}

fn asking(ask: &Ask) -> JobSpec {
    match ask {
        P(profile) => work(1).on(profile),
        T(kind) => JobSpec { task_type: Some((*kind).to_owned()), ..work(1) },
    }
}

/// Who gets work that comes at one moment.
fn assigned(spec: &Spec, (rows, used): (&[Row], [u32; 2]), asks: &[Ask]) -> Vec<Option<u32>> {
    let mut fleet = fleet(spec, rows, used);
    let jobs = asks.iter().map(asking).collect();
    let by = crate::fleet::audit::Client::new("table");
    let ask = Event::Request { id: RequestId(1), by, request: Request::SubmitAll(jobs) };
    // Jobs are given out while the engine does not answer, and nothing else is decided then.
    let silent = Event::Engine(EngineEvent::Unreachable { why: "a table has none".to_owned() });
    let step = fleet.handle(NOW, vec![silent, ask]);
    let taken = step.effects.iter().find_map(|effect| match effect {
        Effect::Answer { answer: Answer::SubmittedAll { first, last }, .. } => {
            Some(first.0..=last.0)
        }
        _ => None,
    });
    let taken = taken.unwrap_or_else(|| panic!("the jobs are accepted: {:?}", step.effects));
    taken.map(|id| fleet.state.job(JobId(id)).and_then(|job| job.slot).map(|it| it.0)).collect()
}

/// A rule in the specification's words, runners, MiB used on cards 0 and 1, work, and who got it.
type Rule = (&'static str, &'static [Row], [u32; 2], &'static [Ask], Got);

#[rustfmt::skip]
const TABLE: &[Rule] = &[
    ("inference_large -> gpu_heavy",
        &[("gpu_light", Some(1), Some(1)), ("gpu_heavy", Some(0), Some(2))], [0, 0],
        &[T("inference_large")], &[Some(2)]),
    ("inference_small -> gpu_light",
        &[("standard", None, Some(1)), ("gpu_light", Some(1), Some(2))], [0, 0],
        &[T("inference_small")], &[Some(2)]),
    ("tests -> standard",
        &[("light", None, Some(1)), ("standard", None, Some(2))], [0, 0],
        &[T("tests")], &[Some(2)]),
    ("lint -> light",
        &[("standard", None, Some(1)), ("light", None, Some(2))], [0, 0],
        &[T("lint")], &[Some(2)]),
    ("a type that the file adds",
        &[("gpu_heavy", Some(0), Some(1)), ("gpu_max", Some(1), Some(2))], [0, 0],
        &[T("quantize")], &[Some(2)]),
    ("status == idle",
        &[("light", None, None), ("light", None, Some(9))], [0, 0],
        &[P("light"), P("light")], &[Some(2), None]),
    ("prefer exact profile match, however long another is idle",
        &[("standard", None, Some(1)), ("light", None, Some(9))], [0, 0],
        &[P("light")], &[Some(2)]),
    ("or is more capable: light task can run on standard runner",
        &[("light", None, None), ("standard", None, Some(1))], [0, 0],
        &[P("light")], &[Some(2)]),
    ("of the more capable ones the smallest",
        &[("gpu_light", Some(0), Some(1)), ("standard", None, Some(9))], [0, 0],
        &[P("light")], &[Some(2)]),
    ("a less capable one never",
        &[("light", None, Some(1)), ("gpu_light", Some(0), Some(1))], [0, 0],
        &[P("gpu_heavy")], &[None]),
    ("a card for itself is not given by a larger one that is shared",
        &[("gpu_heavy", Some(0), Some(1))], [0, 0],
        &[P("gpu_max")], &[None]),
    ("no runner available: queue task",
        &[("standard", None, None)], [0, 0],
        &[T("tests")], &[None]),
    ("first idle, first assigned",
        &[("standard", None, Some(7)), ("standard", None, Some(3)),
          ("standard", None, Some(5))],
        [0, 0],
        &[P("standard"), P("standard"), P("standard")], &[Some(2), Some(3), Some(1)]),
    ("gpu_heavy tasks -> GPU 0, although card 1 has more memory and was idle for longer",
        &[("gpu_heavy", Some(1), Some(1)), ("gpu_heavy", Some(0), Some(9))], [6000, 0],
        &[P("gpu_heavy"), P("gpu_heavy")], &[Some(2), Some(1)]),
    ("gpu_light tasks -> GPU with most free memory, although the other was idle for longer",
        &[("gpu_light", Some(0), Some(1)), ("gpu_light", Some(1), Some(9))], [3000, 1000],
        &[P("gpu_light"), P("gpu_light")], &[Some(2), Some(1)]),
    ("memory that a job may still take is not free",
        // 500 + 1,500 to come on card 0; 1,900 on card 1.
        &[("gpu_light", Some(0), None), ("gpu_light", Some(0), Some(1)),
          ("gpu_light", Some(1), Some(9))], [500, 1900],
        &[P("gpu_light")], &[Some(3)]),
    ("prefer spreading tasks across GPUs",
        &[("gpu_light", Some(0), Some(1)), ("gpu_light", Some(0), Some(2)),
          ("gpu_light", Some(1), Some(3)), ("gpu_light", Some(1), Some(4))], [0, 0],
        &[P("gpu_light"), P("gpu_light"), P("gpu_light"), P("gpu_light")],
        &[Some(1), Some(3), Some(2), Some(4)]),
    ("spreading knows of the heavy job beside",
        &[("gpu_heavy", Some(0), Some(1)), ("gpu_light", Some(0), Some(1)),
          ("gpu_light", Some(1), Some(2))], [0, 0],
        &[P("gpu_heavy"), P("gpu_light")], &[Some(1), Some(3)]),
    ("work without a card that is upgraded is spread, too",
        &[("gpu_light", Some(0), Some(1)), ("gpu_light", Some(1), Some(2))], [900, 0],
        &[P("standard")], &[Some(2)]),
];

#[test]
fn the_locked_algorithm_does_what_the_specification_says() {
    let spec = whole_spec();
    for (rule, rows, used, asks, got) in TABLE {
        assert_eq!(assigned(&spec, (*rows, *used), asks), *got, "{rule}");
    }
}

#[test]
fn a_runner_of_another_image_is_not_more_capable() {
    let other = |it: &mut Profile| it.image = ImageRef::new("lean:4");
    let spec = whole_spec().edit("gpu_light", other);
    let rows: &[Row] = &[("gpu_light", Some(0), Some(1))];
    assert_eq!(assigned(&spec, (rows, [0, 0]), &[P("standard")]), [None]);
    assert_eq!(assigned(&spec, (rows, [0, 0]), &[P("gpu_light")]), [Some(1)]);
}

#[test]
fn an_unknown_type_is_refused_with_the_types_that_there_are() {
    let mut fleet = fleet(&whole_spec(), &[], [0, 0]);
    let by = crate::fleet::audit::Client::new("table");
    let request = Request::Submit(Box::new(asking(&T("inference"))));
    let step = fleet.handle(NOW, vec![Event::Request { id: RequestId(1), by, request }]);
    let [Effect::Answer { answer: Answer::Refused(refusal), .. }] = step.effects.as_slice() else {
        panic!("it is refused: {:?}", step.effects);
    };
    assert_eq!(refusal.kind, RefusalKind::NotFound);
    assert!(refusal.message.contains("lint, quantize, tests"), "{}", refusal.message);
}

// "More capable" is a partial order: reflexive, transitive, and antisymmetric in what it compares.
#[test]
fn more_capable_is_a_partial_order() {
    let spec = whole_spec();
    let profiles: Vec<(&str, &Profile)> =
        spec.profiles.iter().map(|(name, it)| (name.as_str(), it)).collect();
    let more: Vec<(&str, &str)> = profiles
        .iter()
        .flat_map(|a| profiles.iter().map(move |b| (a, b)))
        .filter(|((a, offer), (b, need))| a != b && is_at_least(offer, need))
        .map(|((a, _), (b, _))| (*a, *b))
        .collect();
    let expected = [
        ("gpu_heavy", "gpu_light"),
        ("gpu_heavy", "light"),
        ("gpu_heavy", "standard"),
        ("gpu_light", "light"),
        ("gpu_light", "standard"),
        ("gpu_max", "gpu_heavy"),
        ("gpu_max", "gpu_light"),
        ("gpu_max", "light"),
        ("gpu_max", "standard"),
        ("standard", "light"),
    ];
    assert_eq!(more, expected);
    assert!(profiles.iter().all(|(_, it)| is_at_least(it, it)));
    // Many CPUs and little memory, and the other way round: neither is more capable.
    let wide = spec.clone().edit("light", |it| it.cpus = MilliCpu::cpus(16));
    let named = |spec: &Spec, name: &str| spec.profiles[&ProfileName::new(name)].clone();
    let (wide, standard) = (&named(&wide, "light"), &named(&spec, "standard"));
    assert!(!is_at_least(wide, standard) && !is_at_least(standard, wide));
}
