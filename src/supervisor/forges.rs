//! The forges of the spec in force: an adapter for each scope, its pollers, and what the core asks
//! of them. Nothing is decided here.

mod adapter;
mod operate;
mod poll;
mod report;
mod settings;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::adapter::{Adapter, Means, adapter};
use self::poll::Poller;
pub(super) use self::settings::Reach;
use self::settings::Settings;
pub(super) use self::watch::Watch;
use super::clock::Clock;
use super::secrets::Secrets;
use super::webhooks::{Door, Route};
use crate::fleet::event::Event;
use crate::fleet::forge::{ForgeContact, ForgeEvent};
use crate::forge::{Governor, GovernorView, Through, Web};
use crate::ids::ScopeUrl;
use crate::metrics::{Meters, Webhooks};
use crate::spec::{Pool, Proxy, SecretSource, Spec, Webhook};

/// All forges.
pub(super) struct Forges {
    secrets: Secrets,
    clock: Clock,
    events: mpsc::Sender<Event>,
    door: Door,
    meters: Arc<Meters>,
    state: Mutex<State>,
}

/// What the spec in force asks for, and what was made of it.
#[derive(Default)]
struct State {
    scopes: BTreeMap<ScopeUrl, Arc<Scope>>,
    /// One for each credential, for as long as the supervisor lives: what the forge asked of it
    /// holds after a change of the file, too.
    governors: BTreeMap<String, Governor>,
    pools: Vec<Pool>,
    webhook: Option<Webhook>,
    /// Where the address of messages is.
    notify: Option<SecretSource>,
    web: Option<Way>,
}

/// How forges are reached, and what that was made of.
struct Way {
    ca: Vec<u8>,
    proxy: Option<Proxy>,
    web: Result<Web, String>,
}

/// A scope that is or was spoken to.
struct Scope {
    settings: Settings,
    adapter: Result<Arc<Adapter>, String>,
    governor: Governor,
    watch: Arc<Watch>,
    /// None for a scope that no pool names any more: its runners leave, and then are looked for.
    jobs: Mutex<Option<Task>>,
    _runners: Option<Task>,
}

/// A task that ends with this.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scope {
    fn is_wanted(&self) -> bool {
        lock(&self.jobs).is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Forges {
    /// No forge yet; [`Self::apply`] makes those that a spec names.
    pub fn new(
        secrets: Secrets,
        meters: Arc<Meters>,
        clock: Clock,
        events: mpsc::Sender<Event>,
    ) -> Arc<Self> {
        let door = Door::new(secrets.clone(), clock.reader(), events.clone());
        Arc::new(Self { secrets, clock, events, door, meters, state: Mutex::default() })
    }

    /// The client that the spec in force asks for.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn web(&self) -> Result<Web, String> {
        let known = lock(&self.state).web.as_ref().map(|way| way.web.clone());
        known.unwrap_or_else(|| Err("no spec is in force yet".to_owned()))
    }

    /// How each credential's budget stands, under the first of the scopes that share it.
    pub fn budgets(&self) -> BTreeMap<ScopeUrl, GovernorView> {
        let state = lock(&self.state);
        let mut seen = BTreeSet::new();
        let first = state.scopes.iter().filter(|(_, it)| seen.insert(&it.settings.budget));
        first.map(|(url, scope)| (url.clone(), scope.governor.view())).collect()
    }

    /// What came in by webhooks, if there is a door for them.
    pub fn webhooks(&self) -> Option<Webhooks> {
        self.door.report().map(|it| Webhooks {
            taken: it.taken,
            bad_signatures: it.bad_signatures,
            turned_away: it.turned_away,
        })
    }

    /// Where secrets are read.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Speaks to the forges that this spec names, by the rights that it names. A scope that is
    /// named as before is looked at at once: the operator may have mended what was wrong with it.
    pub fn apply(&self, spec: &Spec) {
        let ca = spec.ca.as_deref().map(read_ca).unwrap_or_default();
        let mut state = lock(&self.state);
        let web = state.web(&ca, spec.proxy.as_ref(), &self.secrets);
        self.secrets.use_place(spec.env_file.clone(), web.clone());
        let wanted = settings::of(spec, &ca);
        for (scope, known) in &state.scopes {
            if !wanted.contains_key(scope) {
                lock(&known.jobs).take();
            }
        }
        let mut routes = Vec::new();
        for (scope, settings) in wanted {
            let known = state.scopes.get(&scope);
            let same = known.filter(|it| it.settings == settings && it.is_wanted()).cloned();
            let made = match same {
                Some(known) => {
                    known.watch.look();
                    known
                }
                None => self.speak(&mut state, &scope, &settings, web.clone()),
            };
            routes.push(Route {
                reach: Reach::of(&scope),
                repositories: settings.repositories,
                watch: Arc::clone(&made.watch),
                scope: scope.clone(),
            });
            state.scopes.insert(scope, made);
        }
        state.pools.clone_from(&spec.pools);
        state.webhook.clone_from(&spec.forge.webhook);
        state.notify = spec.notify.as_ref().map(|it| it.url.clone());
        drop(state);
        self.door.apply(spec.forge.webhook.as_ref(), routes);
    }

    fn speak(
        &self,
        state: &mut State,
        scope: &ScopeUrl,
        settings: &Settings,
        web: Result<Web, String>,
    ) -> Arc<Scope> {
        let clock = self.clock.reader();
        let new = || Governor::new(Arc::clone(&clock));
        let governor = state.governors.entry(settings.budget.clone()).or_insert_with(new).clone();
        let (secrets, watch) = (&self.secrets, Arc::<Watch>::default());
        let means = Means {
            secrets,
            web,
            governor: governor.clone(),
            clock: Arc::clone(&clock),
            meters: Arc::clone(&self.meters),
        };
        let adapter = adapter(scope, settings, means);
        let (jobs, runners) = match &adapter {
            Ok(forge) => {
                let poller = Arc::new(Poller {
                    forge: Arc::clone(forge),
                    scope: scope.clone(),
                    governor: governor.clone(),
                    clock,
                    events: self.events.clone(),
                    watch: Arc::clone(&watch),
                    poll: settings.poll,
                });
                (tokio::spawn(Arc::clone(&poller).jobs()), tokio::spawn(poller.runners()))
            }
            Err(why) => {
                tracing::warn!(%scope, "{why}");
                let contact = ForgeContact::Denied(why.clone());
                let event = Event::Forge(ForgeEvent::Contact { scope: scope.clone(), contact });
                let events = self.events.clone();
                let told = tokio::spawn(async move { drop(events.send(event).await) });
                (told, tokio::spawn(async {}))
            }
        };
        let (jobs, runners) = (Mutex::new(Some(Task(jobs))), Some(Task(runners)));
        let settings = settings.clone();
        Arc::new(Scope { settings, adapter, governor, watch, jobs, _runners: runners })
    }

    /// Reads a scope's lists soon.
    pub fn look(&self, scope: &ScopeUrl) {
        if let Some(scope) = lock(&self.state).scopes.get(scope) {
            scope.watch.look();
        }
    }

    /// Ends the pollers and the door. Runners and their jobs go on.
    pub fn close(&self) {
        self.door.apply(None, Vec::new());
        lock(&self.state).scopes.clear();
    }

    fn scope(&self, scope: &ScopeUrl) -> Option<Arc<Scope>> {
        lock(&self.state).scopes.get(scope).cloned()
    }
}

impl State {
    fn proxy(&self) -> Option<&Proxy> {
        self.web.as_ref()?.proxy.as_ref()
    }

    /// The client that trusts these certificates, too, and goes through this proxy; one for as long
    /// as they are the same.
    fn web(&mut self, ca: &[u8], proxy: Option<&Proxy>, secrets: &Secrets) -> Result<Web, String> {
        match &self.web {
            Some(way) if way.ca == ca && way.proxy.as_ref() == proxy => way.web.clone(),
            Some(_) | None => {
                let through = proxy.and_then(|proxy| {
                    let https = proxy.https.clone()?;
                    let open = secrets.opener(https.clone());
                    Some(Through { https, no_proxy: proxy.no_proxy.clone(), open })
                });
                let web = Web::through(ca, through);
                let (ca, proxy) = (ca.to_owned(), proxy.cloned());
                self.web = Some(Way { ca, proxy, web: web.clone() });
                web
            }
        }
    }
}

/// Without the file forges are spoken to all the same, with the host's certificates.
fn read_ca(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "cannot read the `ca` file");
        Vec::new()
    })
}
