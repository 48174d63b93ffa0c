//! Polling against a played forge, with the clock stopped.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::fleet::forge::{ForgeEntry, ForgeError, ForgeJobFact, ForgeRunnerFact, RegisterOrder};
use crate::forge::{Dispatch, Dispatched, Finding, Grant, Removal};
use crate::ids::ForgeJobId;

const POLL: Duration = Duration::from_secs(30);

type Answers = Mutex<VecDeque<Result<Listed<ForgeJobFact>, CallError>>>;

/// A forge that answers as it is told, and then with empty lists.
#[derive(Default)]
struct Played {
    jobs: Answers,
    asked: Mutex<Vec<(List, Instant)>>,
}

impl Played {
    fn note(&self, list: List) {
        self.asked.lock().unwrap().push((list, Instant::now()));
    }

    /// The pauses between the lists of jobs, in seconds.
    fn pauses(&self) -> Vec<u64> {
        let asked = self.asked.lock().unwrap();
        let times: Vec<Instant> =
            asked.iter().filter(|(list, _)| *list == List::Jobs).map(|(_, at)| *at).collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect()
    }

    fn count(&self, wanted: List) -> usize {
        self.asked.lock().unwrap().iter().filter(|(list, _)| *list == wanted).count()
    }
}

fn unused<T>() -> Result<T, CallError> {
    Err(CallError::Unknown("a poller does not ask for this".to_owned()))
}

impl Forge for Played {
    async fn register(&self, _: &RegisterOrder) -> Result<Grant, CallError> {
        unused()
    }

    async fn remove(&self, _: &ForgeEntry) -> Result<Removal, CallError> {
        unused()
    }

    async fn runners(&self) -> Result<Listed<ForgeRunnerFact>, CallError> {
        self.note(List::Runners);
        Ok(Listed { items: Vec::new(), gaps: Vec::new() })
    }

    async fn jobs(&self) -> Result<Listed<ForgeJobFact>, CallError> {
        self.note(List::Jobs);
        let next = self.jobs.lock().unwrap().pop_front();
        next.unwrap_or(Ok(Listed { items: Vec::new(), gaps: Vec::new() }))
    }

    async fn newest_runner(&self) -> Result<Option<String>, CallError> {
        Ok(Some("2.336.0".to_owned()))
    }

    async fn dispatch(&self, _: &Dispatch) -> Result<Dispatched, CallError> {
        unused()
    }

    async fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }
}

struct Scene {
    forge: Arc<Played>,
    watch: Arc<Watch>,
    events: mpsc::Receiver<Event>,
    tasks: [JoinHandle<()>; 2],
    start: Instant,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn scene(answers: Vec<Result<Listed<ForgeJobFact>, CallError>>) -> Scene {
    let start = Instant::now();
    let clock: ReadClock = Arc::new(move || Time(1_000_000) + start.elapsed());
    let forge = Arc::new(Played { jobs: Mutex::new(answers.into()), ..Played::default() });
    let (events, told) = mpsc::channel(64);
    let watch = Arc::<Watch>::default();
    let poller = Arc::new(Poller {
        forge: Arc::clone(&forge),
        scope: ScopeUrl::new("https://github.com/me/site"),
        governor: Governor::new(Arc::clone(&clock)),
        clock,
        events,
        watch: Arc::clone(&watch),
        poll: POLL,
    });
    let tasks = [tokio::spawn(Arc::clone(&poller).jobs()), tokio::spawn(poller.runners())];
    Scene { forge, watch, events: told, tasks, start }
}

impl Scene {
    fn now(&self) -> Time {
        Time(1_000_000) + self.start.elapsed()
    }

    /// What is told from now on, until so much time has passed.
    async fn told(&mut self, within: Duration) -> Vec<ForgeEvent> {
        let end = Instant::now() + within;
        let mut told = Vec::new();
        while let Ok(Some(event)) = timeout(end - Instant::now(), self.events.recv()).await {
            let Event::Forge(event) = event else { panic!("{event:?} is not the poller's") };
            told.push(event);
        }
        told
    }
}

fn listed(jobs: Vec<ForgeJobFact>) -> Result<Listed<ForgeJobFact>, CallError> {
    Ok(Listed { items: jobs, gaps: Vec::new() })
}

fn failed(class: ForgeErrorClass) -> Result<Listed<ForgeJobFact>, CallError> {
    Err(CallError::Failed(ForgeError { class, message: "no".to_owned() }))
}

fn job(id: u64, created: Time) -> ForgeJobFact {
    ForgeJobFact { fork: Some(false), ..ForgeJobFact::plain(id, "me/site", created) }
}

fn contacts(told: &[ForgeEvent]) -> Vec<ForgeContact> {
    let contact = |event: &ForgeEvent| match event {
        ForgeEvent::Contact { contact, .. } => Some(contact.clone()),
        _ => None,
    };
    told.iter().filter_map(contact).collect()
}

fn lists(told: &[ForgeEvent]) -> usize {
    told.iter().filter(|event| matches!(event, ForgeEvent::Jobs { .. })).count()
}

#[tokio::test(start_paused = true)]
async fn an_idle_scope_is_asked_rarely_enough() {
    let mut scene = scene(Vec::new());
    let told = scene.told(Duration::from_secs(3600)).await;
    assert_eq!(contacts(&told), [ForgeContact::Good], "it is told once");
    let (jobs, runners) = (scene.forge.count(List::Jobs), scene.forge.count(List::Runners));
    assert!((105..=121).contains(&jobs), "{jobs}");
    assert!((10..=13).contains(&runners), "{runners}");
    // Two calls for jobs, two pages of runners: 200 idle runners stay below 300 an hour.
    assert!(2 * jobs + 2 * runners < 300);
    let versions = told.iter().filter(|it| matches!(it, ForgeEvent::RunnerVersion { .. }));
    assert_eq!(versions.count(), 1, "it is asked for every six hours");
}

#[tokio::test(start_paused = true)]
async fn a_failure_never_becomes_an_empty_list_and_is_tried_again_slower_each_time() {
    let unknown = || Err(CallError::Unknown("no answer".to_owned()));
    let mut scene = scene(vec![listed(vec![job(1, Time(0))]), unknown(), unknown(), unknown()]);
    let told = scene.told(Duration::from_secs(80)).await;
    assert_eq!(lists(&told), 2, "the first, and the one after the failures");
    let unreachable = ForgeContact::Unreachable("no answer".to_owned());
    assert_eq!(contacts(&told), [ForgeContact::Good, unreachable, ForgeContact::Good]);
    let pauses = scene.forge.pauses();
    assert!((30..=33).contains(&pauses[0]) && (5..=6).contains(&pauses[1]), "{pauses:?}");
    assert!((10..=11).contains(&pauses[2]), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_silence_gets_it() {
    let until = Time(1_000_000) + Duration::from_secs(600);
    let mut scene = scene(vec![failed(ForgeErrorClass::Limited(until))]);
    let told = scene.told(Duration::from_secs(590)).await;
    assert_eq!((lists(&told), scene.forge.count(List::Jobs)), (0, 1));
    let limited = ForgeContact::Limited { until, why: "no".to_owned() };
    assert!(contacts(&told).contains(&limited));
    assert!(lists(&scene.told(Duration::from_secs(30)).await) >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_denied_scope_is_looked_at_again_when_somebody_mended_it() {
    let mut scene = scene(vec![failed(ForgeErrorClass::Denied)]);
    let told = scene.told(Duration::from_secs(20)).await;
    assert!(contacts(&told).contains(&ForgeContact::Denied("no".to_owned())));
    scene.watch.look();
    let told = scene.told(Duration::from_secs(1)).await;
    assert_eq!(contacts(&told), [ForgeContact::Good]);
    // Asked for again and again, it is not called again and again.
    for _ in 0..20 {
        scene.watch.look();
        scene.told(Duration::from_secs(1)).await;
    }
    assert!(scene.forge.count(List::Jobs) <= 5, "{:?}", scene.forge.pauses());
}

#[tokio::test(start_paused = true)]
async fn polling_is_stretched_while_webhooks_tell_all_and_comes_back_when_one_is_lost() {
    let mut scene = scene(Vec::new());
    scene.told(Duration::from_secs(1)).await;
    for _ in 0..4 {
        scene.watch.heard(ForgeJobId(1), scene.now());
        scene.told(Duration::from_secs(600)).await;
    }
    let pauses = scene.forge.pauses();
    assert!(pauses.iter().any(|pause| (300..=330).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 330), "{pauses:?}");
    let asked = scene.forge.count(List::Jobs);
    assert!(asked < 20, "40 minutes at the usual pace are 80 lists: {asked}");
    let lost = job(2, scene.now());
    let answers = [listed(vec![lost.clone()]), listed(vec![lost])];
    scene.told(Duration::from_secs(20)).await;
    scene.forge.jobs.lock().unwrap().extend(answers);
    scene.told(Duration::from_secs(330)).await;
    let before = scene.forge.count(List::Jobs);
    scene.told(Duration::from_secs(330)).await;
    assert!(scene.forge.count(List::Jobs) - before >= 9, "{:?}", scene.forge.pauses());
}

#[tokio::test(start_paused = true)]
async fn a_hint_shortens_a_stretched_pause_to_the_usual_one() {
    let mut scene = scene(Vec::new());
    scene.told(Duration::from_secs(1)).await;
    scene.watch.heard(ForgeJobId(1), scene.now());
    scene.told(Duration::from_secs(400)).await;
    let before = scene.forge.count(List::Jobs);
    scene.watch.hint.notify_one();
    scene.told(POLL + Duration::from_secs(1)).await;
    assert_eq!(scene.forge.count(List::Jobs), before + 1);
}
