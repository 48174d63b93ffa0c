//! Whole lives of a forge's runners, told to the core by hand.

mod demand;
mod leave;
mod leftovers;
mod life;
mod reasons;
mod revival;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    ForgeContact, ForgeEvent, ForgeJobFact, ForgeJobStatus, ForgeOutcome, ForgeRunnerFact,
    ListenerEnd, ListenerStage, ListenerStatus, WorkFact,
};
use crate::fleet::Fleet;
use crate::fleet::audit::Client;
use crate::fleet::effect::{AgentOrder, Effect, EngineAction, ForgeAction, Patience};
use crate::fleet::event::{
    AgentEvent, ContainerFact, ContainerState, EngineEvent, Event, Outcome, Request,
};
use crate::fleet::forge::testing::SCOPE;
use crate::fleet::state::Restored;
use crate::fleet::view::RunnerView;
use crate::ids::{
    ContainerId, FleetId, ForgeRunId, ForgeRunnerId, ImageId, IncarnationId, OpId, RequestId,
    ScopeUrl, SlotId,
};
use crate::sim::script::{host, spec};
use crate::spec::{Pool, Spec};
use crate::units::Time;

/// A core with an engine that does what it is told at once, and a forge and agents that do what the
/// test says.
struct Desk {
    fleet: Fleet,
    now: Time,
    /// What was asked of the forge and is not answered.
    asked: Vec<(OpId, IncarnationId, ForgeAction)>,
    /// What agents were told.
    told: Vec<(IncarnationId, String)>,
    /// Everything else worth a word.
    seen: Vec<String>,
    containers: BTreeMap<IncarnationId, ContainerId>,
    /// Removals are asked for, and nothing becomes of them.
    stops_removing: bool,
    spec: Spec,
}

impl Desk {
    /// A fleet of these pools whose runners' agents have connected; the forge answers.
    fn new(pools: impl IntoIterator<Item = Pool>) -> Self {
        let mut desk = Self::before(pools);
        desk.hear(Event::Forge(ForgeEvent::Identity(FleetId::new("0123456789abcdef"))));
        desk.contact(ForgeContact::Good);
        desk
    }

    /// The same before anything is known of the forge.
    fn before(pools: impl IntoIterator<Item = Pool>) -> Self {
        let spec = pools.into_iter().fold(spec(), Spec::with);
        let fleet = Fleet::restore(spec.clone(), Restored::default(), Time(1_000_000));
        let mut desk = Self {
            fleet,
            now: Time(1_000_000),
            asked: Vec::new(),
            told: Vec::new(),
            seen: Vec::new(),
            containers: BTreeMap::new(),
            stops_removing: false,
            spec: spec.clone(),
        };
        desk.hear(Event::Host(host()));
        desk.list();
        desk.ask(Request::Apply(Box::new(spec)));
        desk
    }

    fn ask(&mut self, request: Request) {
        let by = Client::new("test");
        self.hear(Event::Request { id: RequestId(1), by, request });
    }

    fn up(&mut self) {
        self.ask(Request::Apply(Box::new(self.spec.clone())));
    }

    /// A complete list of the containers that there are.
    fn list(&mut self) {
        let fact = |(id, container): (&IncarnationId, &ContainerId)| ContainerFact {
            id: container.clone(),
            incarnation: *id,
            state: ContainerState::Running,
        };
        let containers = self.containers.iter().map(fact).collect();
        self.hear(Event::Engine(EngineEvent::Listed { begun: self.now, containers }));
    }

    /// The supervisor dies, and the next one begins with what was recorded.
    fn restart(&mut self) {
        let durable = self.fleet.durable();
        self.fleet = Fleet::restore(self.spec.clone(), durable, self.now);
        self.asked.clear();
        self.hear(Event::Host(host()));
        self.wait(1);
        self.list();
        self.hear(Event::Forge(ForgeEvent::Identity(FleetId::new("0123456789abcdef"))));
        self.contact(ForgeContact::Good);
    }

    fn contact(&mut self, contact: ForgeContact) {
        self.hear(Event::Forge(ForgeEvent::Contact { scope: ScopeUrl::new(SCOPE), contact }));
    }

    fn hear(&mut self, event: Event) {
        let step = self.fleet.handle(self.now, vec![event]);
        for effect in step.effects {
            self.serve(effect);
        }
    }

    fn serve(&mut self, effect: Effect) {
        match effect {
            Effect::Engine { op, incarnation, action } => {
                let outcome = match action {
                    EngineAction::Create(_) => {
                        let container = ContainerId::new(format!("c{}", incarnation.0));
                        self.containers.insert(incarnation, container.clone());
                        Outcome::Created(container)
                    }
                    EngineAction::Start(_) => Outcome::Done,
                    EngineAction::Remove { .. } if self.stops_removing => return,
                    EngineAction::Remove { .. } => {
                        self.containers.remove(&incarnation);
                        self.seen.push(format!("{incarnation} removed"));
                        Outcome::Done
                    }
                };
                let is_start = self.containers.contains_key(&incarnation);
                self.hear(Event::Operation { op, outcome });
                if is_start {
                    self.agent(incarnation, AgentEvent::Connected { holding: None });
                }
            }
            Effect::Forge { op, incarnation, action } => self.asked.push((op, incarnation, action)),
            Effect::Agent { incarnation, order } => {
                let order = match order {
                    AgentOrder::Listen(order) => match order.token_env {
                        Some(variable) => format!("listen as {} with {variable}", order.name),
                        None => format!("listen as {}", order.name),
                    },
                    AgentOrder::StopListening(Patience::Spare) => "stop".to_owned(),
                    AgentOrder::StopListening(Patience::Cancel(grace)) => {
                        format!("cancel within {grace:?}")
                    }
                    _ => return,
                };
                self.told.push((incarnation, order));
            }
            Effect::ResolveImage(image) => {
                let outcome = Ok(ImageId::new("sha256:1"));
                self.hear(Event::Engine(EngineEvent::Image { image, outcome }));
            }
            Effect::PublishForgeReports { incarnation, reports } => {
                self.seen.push(format!("{incarnation} publishes {reports}"));
                let event = Event::ForgePublished { incarnation, reports, outcome: Ok(()) };
                self.hear(event);
            }
            Effect::LookAtForge(_) => self.seen.push("look".to_owned()),
            Effect::Finish => self.seen.push("finish".to_owned()),
            _ => {}
        }
    }

    /// Time passes, second by second, and every agent speaks.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            let ids: Vec<IncarnationId> = self.containers.keys().copied().collect();
            for id in ids {
                self.agent(id, AgentEvent::Heartbeat);
            }
            self.hear(Event::Tick);
        }
    }

    fn agent(&mut self, incarnation: IncarnationId, event: AgentEvent) {
        self.hear(Event::Agent { incarnation, event });
    }

    fn says(&mut self, id: u64, stage: ListenerStage, jobs: u32) {
        let status = ListenerStatus { stage, runner: None, jobs, stuck: None };
        self.agent(IncarnationId(id), AgentEvent::Listener(status));
    }

    fn listens(&mut self, id: u64) {
        self.says(id, ListenerStage::Listening, 0);
    }

    fn works(&mut self, id: u64) {
        let work = WorkFact {
            name: Some("build".to_owned()),
            repository: Some("me/site".to_owned()),
            workflow: Some("CI".to_owned()),
            run: Some(ForgeRunId(7)),
        };
        self.says(id, ListenerStage::Working(work), 1);
    }

    fn ends(&mut self, id: u64, code: i32, jobs: u32) {
        let end = ListenerEnd::Exited { code, said: String::new() };
        self.says(id, ListenerStage::Over(end), jobs);
    }

    /// What the forge was asked first, in words, and answers.
    fn answer(&mut self, outcome: ForgeOutcome) -> String {
        let (op, _, action) = self.asked.remove(0);
        self.hear(Event::ForgeOperation { op, outcome });
        words(&action)
    }

    /// Registers everything that is asked for, each under its incarnation's number.
    fn register_all(&mut self) {
        while let Some((op, id, ForgeAction::Register(_))) = self.asked.first().cloned() {
            self.asked.remove(0);
            let outcome = ForgeOutcome::Registered(ForgeRunnerId(id.0));
            self.hear(Event::ForgeOperation { op, outcome });
        }
    }

    /// The runners of a list: name, and whether it is online and busy.
    fn runners(&mut self, runners: &[(&str, bool, bool)]) {
        let fact = |(name, online, busy): &(&str, bool, bool)| ForgeRunnerFact {
            id: ForgeRunnerId(1),
            name: (*name).to_owned(),
            online: Some(*online),
            busy: *busy,
            version: None,
        };
        let runners = runners.iter().map(fact).collect();
        let scope = ScopeUrl::new(SCOPE);
        let begun = self.now;
        self.hear(Event::Forge(ForgeEvent::Runners { scope, begun, runners }));
    }

    fn jobs(&mut self, jobs: Vec<ForgeJobFact>) {
        let (scope, begun) = (ScopeUrl::new(SCOPE), self.now);
        self.hear(Event::Forge(ForgeEvent::Jobs { scope, begun, jobs }));
    }

    fn slot(&self, number: u32) -> RunnerView {
        let view = self.fleet.view(self.now);
        view.runners.into_iter().find(|it| it.id == SlotId(number)).expect("the slot is there")
    }

    /// The status of every slot, and why.
    fn states(&self) -> Vec<String> {
        let view = self.fleet.view(self.now);
        let state = |it: &RunnerView| format!("{:?}", it.status).to_lowercase();
        view.runners.iter().map(state).collect()
    }

    fn leftovers(&self) -> Vec<String> {
        let view = self.fleet.view(self.now);
        view.forges.into_iter().flat_map(|it| it.leftovers).collect()
    }

    fn take_told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told).into_iter().map(|(id, it)| format!("{id} {it}")).collect()
    }
}

fn words(action: &ForgeAction) -> String {
    match action {
        ForgeAction::Register(order) => format!("register {}", order.name),
        ForgeAction::Remove(entry) => format!("remove {}", entry.name),
    }
}

fn job(id: u64, labels: &[&str], created: Time) -> ForgeJobFact {
    ForgeJobFact {
        run: ForgeRunId(7),
        workflow: Some("CI".to_owned()),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        fork: Some(false),
        ..ForgeJobFact::plain(id, "me/site", created)
    }
}
