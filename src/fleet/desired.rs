//! What the spec asks for, made concrete: how many slots each pool has, and what fills them.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::Template;
use super::forge::{Enlistment, ListenMode};
use super::runner::{Build, GpuHold, Runner};
use super::scale::Grown;
use super::slot::{Fate, Slot};
use super::state::{Image, State};
use crate::ids::{GpuUuid, ImageId, ImageRef, PoolName, ProfileName, SlotId};
use crate::spec::{ForgeAccess, ForgePool, GpuDemand, Pool, PoolSize, Spec};

/// Numbers of runners by pool.
pub(super) type Counts = BTreeMap<PoolName, u32>;

/// The number of slots of each pool: what `scale` set, or what the pool has grown to.
pub(super) fn counts(spec: &Spec, scaled: &Counts, grown: &Grown) -> Counts {
    let count = |pool: &Pool| {
        let standing = grown.get(&pool.name).map(|standing| standing.count);
        scaled.get(&pool.name).copied().unwrap_or_else(|| match (pool.size, standing) {
            (PoolSize::Elastic(elastic), Some(count)) => elastic.bound(count),
            (size, _) => size.at_rest(),
        })
    };
    spec.pools.iter().map(|pool| (pool.name.clone(), count(pool))).collect()
}

/// The number of slots that each pool has to have now.
pub(super) fn counts_now(state: &State) -> Counts {
    counts(&state.spec, &state.meta.scaled, &state.meta.elastic)
}

/// A slot that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub id: SlotId,
    pub name: String,
    pub pool: PoolName,
}

/// How the slots differ from the numbers wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub add: Vec<Place>,
    pub leave: Vec<SlotId>,
    pub stay: Vec<SlotId>,
}

/// Compares the slots with the wanted numbers. Slots that do something stay rather than idle ones,
/// and low numbers rather than high ones.
pub(super) fn shape(state: &State, spec: &Spec, counts: &Counts) -> Shape {
    let mut shape = Shape::default();
    let mut taken: BTreeSet<SlotId> = BTreeSet::new();
    for slot in state.slots() {
        taken.insert(slot.id);
        if !spec.pools.iter().any(|pool| pool.name == slot.pool) {
            shape.leave.push(slot.id);
        }
    }
    for pool in &spec.pools {
        let wanted = counts.get(&pool.name).copied().unwrap_or(0) as usize;
        let mut slots: Vec<&Slot> = state.slots().filter(|slot| slot.pool == pool.name).collect();
        slots.sort_by_key(|slot| (slot.fate == Fate::Leave, !is_busy(state, slot), slot.id));
        shape.stay.extend(slots.iter().take(wanted).map(|slot| slot.id));
        shape.leave.extend(slots.iter().skip(wanted).map(|slot| slot.id));
        for _ in slots.len()..wanted {
            let place = next_place(state, spec, pool, (&shape, &taken));
            taken.insert(place.id);
            shape.add.push(place);
        }
    }
    shape
}

fn is_busy(state: &State, slot: &Slot) -> bool {
    slot.runner.and_then(|id| state.runner(id)).is_some_and(Runner::is_at_work)
}

/// A slot's number in its pool, from 1: as its name says, or its place among the pool's slots.
pub(super) fn number(state: &State, slot: &Slot) -> u32 {
    let pattern = pool(&state.spec, &slot.pool).and_then(|pool| pool.runner_name.as_ref());
    let named = pattern.and_then(|pattern| {
        let (before, after) = pattern.split_once("{n}")?;
        slot.name.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
    });
    named.unwrap_or_else(|| {
        let before = state.slots().filter(|it| it.pool == slot.pool && it.id < slot.id);
        u32::try_from(before.count()).unwrap_or(u32::MAX).saturating_add(1)
    })
}

/// The lowest free number, and the name that goes with it.
fn next_place(state: &State, spec: &Spec, pool: &Pool, (shape, taken): Ahead<'_>) -> Place {
    let mut id = SlotId(1);
    while taken.contains(&id) {
        id = id.next();
    }
    let mut names: BTreeSet<&str> = state.slots().map(|slot| slot.name.as_str()).collect();
    names.extend(shape.add.iter().map(|place| place.name.as_str()));
    Place { id, name: free_name(spec, pool, id, &names), pool: pool.name.clone() }
}

/// What was shaped so far, and the numbers that are taken.
type Ahead<'a> = (&'a Shape, &'a BTreeSet<SlotId>);

/// A slot's name as the file wants it: by its profile and number, or by the pool's pattern.
fn free_name(spec: &Spec, pool: &Pool, id: SlotId, taken: &BTreeSet<&str>) -> String {
    let Some(pattern) = &pool.runner_name else {
        let profile = pool.profile.as_str().replace('_', "-");
        return format!("{}-{profile}-{:02}", spec.project, id.0);
    };
    // Among one more number than there are names, one is free; a pattern without a number is
    // told apart by the slot's own.
    (1..=taken.len() + 1)
        .map(|n| pattern.replace("{n}", &n.to_string()))
        .find(|name| !taken.contains(name.as_str()))
        .unwrap_or_else(|| format!("{pattern}-{}", id.0))
}

/// The new name of a slot that stays, if the file names it otherwise now.
pub(super) fn renamed(state: &State, spec: &Spec, slot: &Slot) -> Option<String> {
    let pool = pool(spec, &slot.pool)?;
    if let Some(pattern) = &pool.runner_name
        && is_of_pattern(pattern, &slot.name)
    {
        return None;
    }
    let others = state.slots().filter(|other| other.id != slot.id);
    let taken = others.map(|other| other.name.as_str()).collect();
    let name = free_name(spec, pool, slot.id, &taken);
    (name != slot.name).then_some(name)
}

fn is_of_pattern(pattern: &str, name: &str) -> bool {
    let number = match pattern.split_once("{n}") {
        None => return name.starts_with(pattern),
        Some((before, after)) => {
            name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after))
        }
    };
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// What runners of a pool are like.
pub(super) fn template(spec: &Spec, pool: &Pool) -> Option<Template> {
    template_as(spec, pool, &pool.profile)
}

/// What runners of a pool are like that have this profile.
pub(super) fn template_as(spec: &Spec, pool: &Pool, name: &ProfileName) -> Option<Template> {
    let profile = spec.profiles.get(name)?;
    Some(Template {
        pool: pool.name.clone(),
        profile: name.clone(),
        image: profile.image.clone(),
        cpus: profile.cpus,
        memory: profile.memory,
        pids: profile.pids,
        shm: profile.shm,
        user: profile.user,
        env: profile.env.clone(),
        labels: profile.labels.clone(),
        stop_grace: profile.stop_grace,
        reuse: pool.reuse,
        docker_healthcheck: pool.docker_healthcheck,
        caches: profile.caches.clone(),
        docker: profile.docker,
        forge: pool.forge.as_ref().map(enlistment),
    })
}

/// How runners of a pool are registered with its forge.
fn enlistment(forge: &ForgePool) -> Enlistment {
    Enlistment {
        kind: forge.kind,
        scope: forge.scope.clone(),
        labels: forge.labels.clone(),
        group: forge.group.clone(),
        mode: match &forge.access {
            ForgeAccess::Tokens(variable) => ListenMode::Kept { variable: variable.clone() },
            ForgeAccess::Personal(_) | ForgeAccess::App(_) => ListenMode::OneJob,
        },
        fork_jobs: forge.fork_jobs,
    }
}

/// What runners of one profile should be made to now.
#[derive(Debug)]
pub(super) struct Model {
    template: Template,
    image: Option<ImageId>,
    demand: Option<GpuDemand>,
}

impl Model {
    /// What fills this slot, or a place beside the slots; none while the image is not known, or
    /// the slot waits for a card.
    pub fn build(&self, slot: Option<&Slot>) -> Option<Build> {
        let image = self.image.clone()?;
        if self.demand.is_some() && slot.is_none_or(|slot| slot.gpu.is_none()) {
            return None;
        }
        let hold = self.hold(slot).map(|(card, demand)| GpuHold { card: card.clone(), demand });
        Some(Build { template: self.template.clone(), image, gpu: hold })
    }

    /// Whether a runner is as it should be there; yes while the image is not known.
    pub fn is_met(&self, slot: Option<&Slot>, build: &Build) -> bool {
        let held = build.gpu.as_ref().map(|hold| (&hold.card, hold.demand));
        let is_like = |image: &ImageId| {
            build.image == *image && build.template == self.template && held == self.hold(slot)
        };
        self.image.as_ref().is_none_or(is_like)
    }

    /// The image as the file names it.
    pub fn image(&self) -> &ImageRef {
        &self.template.image
    }

    /// Whether the image is known.
    pub fn is_known(&self) -> bool {
        self.image.is_some()
    }

    fn hold<'a>(&self, slot: Option<&'a Slot>) -> Option<(&'a GpuUuid, GpuDemand)> {
        slot?.gpu.as_ref().map(|lease| &lease.uuid).zip(self.demand)
    }
}

/// The models of all pools, made once for a plan; of each pool its own, and those that some of its
/// slots have for a while.
#[derive(Debug, Default)]
pub(super) struct Models(BTreeMap<PoolName, BTreeMap<ProfileName, Model>>);

impl Models {
    /// What fills a slot now.
    pub fn of_slot(&self, slot: &Slot) -> Option<&Model> {
        self.0.get(&slot.pool)?.get(slot.profile_now())
    }

    /// What runners of a pool are like that fill no slot.
    pub fn of_pool(&self, pool: &Pool) -> Option<&Model> {
        self.0.get(&pool.name)?.get(&pool.profile)
    }

    /// What a runner should be like: as its slot says, or its pool.
    pub fn of(&self, pool: &Pool, slot: Option<&Slot>) -> Option<&Model> {
        slot.map_or_else(|| self.of_pool(pool), |slot| self.of_slot(slot))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.0.values().flat_map(BTreeMap::values)
    }
}

pub(super) fn models(state: &State) -> Models {
    let mut models = Models::default();
    for pool in &state.spec.pools {
        let lighter = state.slots().filter(|slot| slot.pool == pool.name);
        let lighter = lighter.filter_map(|slot| slot.downgrade.as_ref()).map(|it| &it.to);
        for profile in lighter.chain([&pool.profile]) {
            if let Some(model) = model(state, pool, profile) {
                models.0.entry(pool.name.clone()).or_default().insert(profile.clone(), model);
            }
        }
    }
    models
}

fn model(state: &State, pool: &Pool, profile: &ProfileName) -> Option<Model> {
    let template = template_as(&state.spec, pool, profile)?;
    let image = match state.images.get(&template.image) {
        Some(Image::Known(image)) => Some(image.clone()),
        Some(Image::Asked | Image::Missing { .. }) | None => None,
    };
    let demand = state.spec.profiles.get(profile)?.gpu;
    Some(Model { template, image, demand })
}

/// A pool of the spec in force.
pub(super) fn pool<'a>(spec: &'a Spec, name: &PoolName) -> Option<&'a Pool> {
    spec.pools.iter().find(|pool| &pool.name == name)
}
