//! From the raw file to the typed [`Spec`]: names, bounds and what belongs together.
//!
//! Every check goes on after a finding. A value that the structure check already refused is not
//! reported again: [`Spot`] still sees it in the tree.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::ids::{ImageRef, LaneName, PoolName, ProfileName, ProjectName};
use crate::units::Bytes;

use super::address::Address;
use super::diagnostic::{Findings, Span};
use super::document::{Entry, Node, Value};
use super::raw::{RawFleet, RawLane, RawReports};
use super::{Env, Lane, Profile, ReportServer, ReportSharing, Reports, RunnersOptions, Spec};
use super::{builtin, quantity, suggest};

mod api;
mod cache;
mod forge;
mod gpu;
mod limits;
mod notify;
mod pool;
mod profile;
mod proxy;
mod secret_source;

pub(super) use profile::show_gpu;

/// Longest project, profile, pool or lane name: a container's name of three parts stays readable.
const NAME_MAX: usize = 40;

/// The variable that overrides the project's name.
pub(super) const PROJECT_VARIABLE: &str = "SLATE_PROJECT";

/// Everything that the checks need besides the raw file.
pub(super) struct Context<'a> {
    /// The merged tree, for the places of values.
    pub(super) root: &'a Node,
    /// The variables.
    pub(super) env: &'a Env,
    /// The folder that relative paths are relative to.
    pub(super) base: &'a Path,
    /// What is wrong.
    pub(super) findings: &'a mut Findings,
    /// What holds where the file says nothing.
    pub(super) options: RunnersOptions,
}

/// A cursor into the tree that always has a place: of the value, or of what would contain it.
#[derive(Clone, Copy)]
struct Spot<'a> {
    node: Option<&'a Node>,
    /// The value, or its container where it is missing.
    span: Span,
    /// The key, where there is one.
    key: Span,
}

impl<'a> Spot<'a> {
    fn root(node: &'a Node) -> Self {
        Self { node: Some(node), span: node.span, key: node.span }
    }

    fn key(self, key: &str) -> Self {
        match self.node.and_then(|node| node.entry(key)) {
            Some(Entry { key_span, value, .. }) => {
                Self { node: Some(value), span: value.span, key: *key_span }
            }
            None => Self { node: None, ..self },
        }
    }

    fn index(self, index: usize) -> Self {
        let item = self.items().get(index);
        item.map_or(Self { node: None, ..self }, Self::root)
    }

    /// The last list item with this text.
    fn item(self, text: &str) -> Self {
        let item = self.items().iter().rev().find(|item| item.as_text() == Some(text));
        item.map_or(Self { node: None, ..self }, Self::root)
    }

    fn items(self) -> &'a [Node] {
        match self.node.map(|node| &node.value) {
            Some(Value::List(items)) => items,
            Some(Value::Scalar(_) | Value::Map(_)) | None => &[],
        }
    }

    /// Whether the file says anything here, be it right or wrong.
    fn is_written(self) -> bool {
        self.node.is_some_and(|node| match &node.value {
            Value::Scalar(scalar) => !scalar.text.is_empty(),
            Value::List(_) | Value::Map(_) => true,
        })
    }

    /// The value for a message; a secret is masked.
    fn shown(self) -> &'a str {
        match self.node.map(|node| &node.value) {
            Some(Value::Scalar(scalar)) => scalar.shown(),
            Some(Value::List(_) | Value::Map(_)) | None => "",
        }
    }
}

impl Context<'_> {
    /// Reads a value with a unit; what is wrong with it is reported at its place.
    fn read<T>(
        &mut self,
        spot: Spot<'_>,
        text: Option<&str>,
        reader: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match reader(text?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let (what, right) = wrong.split_once("; ").unwrap_or((&wrong, ""));
                let finding = self.findings.error(spot.span, format!("`{}` {what}", spot.shown()));
                if !right.is_empty() {
                    finding.help(right);
                }
                None
            }
        }
    }

    /// Reads a value and holds it to its bounds.
    fn read_within<T: PartialOrd + Copy>(
        &mut self,
        spot: Spot<'_>,
        text: Option<&str>,
        bounds: &Bounds<T>,
    ) -> Option<T> {
        let value = self.read(spot, text, bounds.reader)?;
        if value >= bounds.least && value <= bounds.most {
            return Some(value);
        }
        let (least, most) = ((bounds.show)(bounds.least), (bounds.show)(bounds.most));
        self.findings
            .error(spot.span, format!("`{}` is out of bounds", spot.shown()))
            .help(format!("write something from `{least}` to `{most}`"));
        None
    }

    /// Checks a name's characters and length.
    fn check_name(&mut self, span: Span, name: &str) -> bool {
        let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let other = |c: char| first(c) || matches!(c, '-' | '_');
        let fine = name.starts_with(first) && name.chars().all(other) && name.len() <= NAME_MAX;
        if !fine {
            let mended = normalise_name(name);
            let finding = self.findings.error(
                span,
                format!(
                    "`{name}` is no name: names have up to {NAME_MAX} characters `a-z`, `0-9`, \
                     `-` and `_`, and begin with a letter or digit"
                ),
            );
            if !mended.is_empty() {
                finding.help(format!("write `{mended}`"));
            }
        }
        fine
    }

    /// Checks an image reference's form; whether it exists is the engine's to say.
    fn image(&mut self, spot: Spot<'_>, text: Option<&str>) -> Option<ImageRef> {
        let text = text?;
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        let fine = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(is_part)
            && text.len() <= 255
            && !text.ends_with([':', '/', '@']);
        if !fine {
            self.findings
                .error(spot.span, format!("`{}` is no image", spot.shown()))
                .help("write a name with an optional tag, such as `python:3.12-slim`");
            return None;
        }
        Some(ImageRef::new(text))
    }

    /// Checks the labels that a key lists.
    fn labels(&mut self, spot: Spot<'_>, labels: &[String]) -> Vec<String> {
        let mut kept: Vec<String> = Vec::new();
        for label in labels {
            let item = spot.item(label);
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
            if label.is_empty() || label.len() > 128 || !label.chars().all(is_part) {
                self.findings
                    .error(item.span, format!("`{}` is no label", item.shown()))
                    .help("labels have letters, digits and `-`, `_`, `.`, `:`, `/`");
            } else if kept.contains(label) {
                self.findings
                    .error(item.span, format!("the label `{label}` is written twice"))
                    .help("keep one");
            } else {
                kept.push(label.clone());
            }
        }
        kept
    }

    /// Reports a name that refers to nothing.
    fn unknown(&mut self, spot: Spot<'_>, what: &str, known: &[&str]) {
        let text = spot.shown();
        // Of thousands of findings a hundred are shown; the rest need no suggestion.
        let crowded = self.findings.is_crowded();
        let nearest = if crowded { None } else { suggest::nearest(text, known.iter().copied()) };
        let help = suggest::help(nearest, known);
        self.findings.error(spot.span, format!("there is no {what} `{text}`")).help(help);
    }

    /// Makes a path absolute without asking the file system.
    fn path(&self, text: &str) -> PathBuf {
        let mut path = PathBuf::new();
        for part in self.base.join(text).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    path.pop();
                }
                Component::Prefix(_) | Component::RootDir | Component::Normal(_) => path.push(part),
            }
        }
        path
    }
}

/// How a value is read, and what it may be.
struct Bounds<T> {
    reader: fn(&str) -> Result<T, String>,
    show: fn(T) -> String,
    least: T,
    most: T,
}

impl Bounds<Duration> {
    const fn duration(least: Duration, most: Duration) -> Self {
        Self { reader: quantity::duration, show: quantity::show_duration, least, most }
    }
}

impl Bounds<Bytes> {
    const fn size(least: Bytes, most: Bytes) -> Self {
        Self { reader: quantity::size, show: quantity::show_size, least, most }
    }
}

/// A name as compose normalises a folder's: lower case, without foreign characters.
pub(super) fn normalise_name(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept = lower.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let kept: String = kept.collect();
    kept.trim_start_matches(['-', '_']).chars().take(NAME_MAX).collect()
}

/// Validates everything. `None` where something is missing, which the findings explain.
pub(super) fn validate(raw: &RawFleet, cx: &mut Context<'_>) -> Option<Spec> {
    let root = Spot::root(cx.root);
    let project = project(raw, cx);
    let image = cx.image(root.key("image"), raw.image.as_deref());
    let image = image.unwrap_or_else(|| ImageRef::new(builtin::IMAGE));
    let mut profiles = profile::profiles(raw, &image, cx);
    let limits = limits::limits(raw.limits.as_ref(), cx);
    let project_name = project.as_ref();
    let mut fleet =
        pool::Fleet { project: project_name, image: &image, limits, profiles: &mut profiles };
    let pools = pool::pools(raw, &mut fleet, cx);
    let lanes = lanes(raw, cx);
    let task_types = task_types(raw, &profiles, cx);
    let reports = reports(raw.reports.as_ref(), cx);
    let api = api::api(raw.api.as_ref(), cx);
    let retention = limits::retention(raw.retention.as_ref(), cx);
    let ca = raw.ca.as_deref().map(|path| cx.path(path));
    let gpu = gpu::policy(raw.gpu.as_ref(), cx);
    let forge = forge::policy(raw.github.as_ref(), cx);
    let proxy = proxy::proxy(raw.proxy.as_ref(), cx);
    let notify = notify::notify(raw.notify.as_ref(), cx);
    let project = project?;
    Some(Spec {
        project,
        profiles,
        pools,
        lanes,
        task_types,
        limits,
        api,
        reports,
        retention,
        ca,
        gpu,
        forge,
        proxy,
        notify,
        runners_file: None,
        env_file: None,
    })
}

/// The project's name: environment, file, folder, in this order.
fn project(raw: &RawFleet, cx: &mut Context<'_>) -> Option<ProjectName> {
    let spot = Spot::root(cx.root).key("project");
    if let Some(name) = cx.env.get(PROJECT_VARIABLE).filter(|name| !name.is_empty()) {
        if name == &normalise_name(name) {
            return Some(ProjectName::new(name));
        }
        cx.findings
            .error_nowhere(format!("`{name}` from `--project` or `{PROJECT_VARIABLE}` is no name"))
            .help(format!("write `{}`", normalise_name(name)));
        return None;
    }
    if let Some(name) = raw.project.as_deref() {
        return cx.check_name(spot.span, name).then(|| ProjectName::new(name));
    }
    if spot.is_written() {
        return None;
    }
    let folder = cx.base.file_name().map(|name| normalise_name(&name.to_string_lossy()));
    match folder.filter(|name| !name.is_empty()) {
        Some(name) => Some(ProjectName::new(name)),
        None => {
            cx.findings
                .error(spot.span, "the fleet has no name, and the folder's name gives none")
                .help("add `project: slate`");
            None
        }
    }
}

fn lanes(raw: &RawFleet, cx: &mut Context<'_>) -> BTreeMap<LaneName, Lane> {
    let spot = Spot::root(cx.root).key("lanes");
    let mut lanes = BTreeMap::new();
    for (name, lane) in raw.lanes.iter().flatten() {
        cx.check_name(spot.key(name).key, name);
        lanes.insert(LaneName::new(name), self::lane(spot.key(name), lane, raw, cx));
    }
    lanes
}

fn lane(spot: Spot<'_>, lane: &RawLane, raw: &RawFleet, cx: &mut Context<'_>) -> Lane {
    let known: Vec<&str> =
        raw.pools.iter().flatten().filter_map(|pool| pool.name.as_deref()).collect();
    let mut pools: Vec<PoolName> = Vec::new();
    for name in lane.pools.iter().flatten() {
        let item = spot.key("pools").item(name);
        let name_id = PoolName::new(name);
        if !known.contains(&name.as_str()) {
            cx.unknown(item, "pool", &known);
        } else if pools.contains(&name_id) {
            cx.findings
                .error(item.span, format!("the pool `{name}` is written twice"))
                .help("keep one");
        } else {
            refuse_forge(item, name, raw, cx);
            pools.push(name_id);
        }
    }
    let limit = lane.limit.and_then(NonZeroU32::new);
    Lane { pools, priority: lane.priority.unwrap_or(0), limit }
}

/// A forge gives its runners their jobs itself; a lane is for the fleet's own.
fn refuse_forge(item: Spot<'_>, name: &str, raw: &RawFleet, cx: &mut Context<'_>) {
    let mut pools = raw.pools.iter().flatten();
    let pool = pools.find(|pool| pool.name.as_deref() == Some(name));
    if pool.is_some_and(|pool| pool.github.is_some() || pool.gitea.is_some()) {
        cx.findings
            .error(item.span, format!("the pool `{name}` takes a forge's jobs, and no lane's"))
            .help("remove it here, or add a pool without `github` and `gitea` for the lane");
    }
}

fn task_types(
    raw: &RawFleet,
    profiles: &BTreeMap<ProfileName, Profile>,
    cx: &mut Context<'_>,
) -> BTreeMap<String, ProfileName> {
    let spot = Spot::root(cx.root).key("task_types");
    let known: Vec<&str> = profiles.keys().map(ProfileName::as_str).collect();
    let builtin = builtin::TASK_TYPES.iter();
    let mut types: BTreeMap<String, ProfileName> =
        builtin.map(|(kind, name)| ((*kind).to_owned(), ProfileName::new(*name))).collect();
    for (kind, name) in raw.task_types.iter().flatten() {
        cx.check_name(spot.key(kind).key, kind);
        if !known.contains(&name.as_str()) {
            cx.unknown(spot.key(kind), "profile", &known);
        }
        types.insert(kind.clone(), ProfileName::new(name));
    }
    types
}

fn reports(raw: Option<&RawReports>, cx: &mut Context<'_>) -> Reports {
    let default = RawReports::default();
    let raw = raw.unwrap_or(&default);
    let spot = Spot::root(cx.root).key("reports");
    let keep = limits::keep(raw.keep.as_ref(), spot.key("keep"), Some(builtin::REPORTS_KEEP), cx);
    let path = cx.path(raw.path.as_deref().unwrap_or(builtin::REPORTS_PATH));
    if path.parent().is_none() {
        cx.findings
            .error(spot.key("path").span, "reports cannot go to the root folder")
            .help("write a folder of its own, such as `./reports`");
    }
    let sharing = match raw.shared {
        Some(true) => ReportSharing::Shared,
        Some(false) | None => ReportSharing::Own,
    };
    Reports { path, keep, sharing, server: report_server(raw, spot, cx) }
}

fn report_server(raw: &RawReports, spot: Spot<'_>, cx: &mut Context<'_>) -> Option<ReportServer> {
    let url = raw.url.as_deref().and_then(|url| match Address::parse(url) {
        Ok(address) if address.path.is_empty() => Some(address.origin),
        Ok(_) => {
            let what = "reports have an address of their own, without a path";
            cx.findings.error(spot.key("url").span, what);
            None
        }
        Err(help) => {
            cx.findings.error(spot.key("url").span, "this is no address").help(help);
            None
        }
    });
    let Some(text) = raw.listen.as_deref() else {
        if spot.key("url").is_written() {
            cx.findings
                .error(spot.key("url").key, "there is no report server to have this address")
                .help("add `listen: 127.0.0.1:9190`");
        }
        return None;
    };
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse::<SocketAddr>(),
        None => text.parse(),
    };
    let Some(listen) = address.ok().filter(|it| it.ip().is_loopback()) else {
        cx.findings
            .error(spot.key("listen").span, "this is no loopback address and port")
            .help("write `127.0.0.1:9190`; a proxy before it can ask others who they are");
        return None;
    };
    Some(ReportServer { listen, url })
}
