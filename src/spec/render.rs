//! A [`Spec`] as YAML with every default written out; loading it gives the same spec.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::quantity::{show_duration, show_size};
use super::scalar::{Kind, plain_kind};
use super::validate::show_gpu;
use super::{ApiPolicy, Proxy, ProxyUrl, Retention, Reuse, Spec};
use super::{
    Cache, Elastic, Lane, Limits, Overcommit, Pool, PoolSize, Profile, ReportSharing, Reports,
};
use crate::ids::CacheName;

/// The resolved file, complete: it may hold values of secret variables. To show it to people use
/// [`Loaded::render_masked`](super::Loaded::render_masked).
#[must_use]
pub fn render(spec: &Spec) -> String {
    render_with(spec, &str::to_owned)
}

/// The resolved file, with every text passed through `mask`.
pub(super) fn render_with(spec: &Spec, mask: &dyn Fn(&str) -> String) -> String {
    let mut writer = Writer { out: String::new(), mask };
    writer.block(0, &tree(spec));
    writer.out
}

mod forge;
mod gpu;
mod notify;

use gpu::watchdog;

/// The few kinds of YAML that a fleet file needs.
pub(super) enum Yaml {
    /// Written as it is: numbers and truth values.
    Plain(String),
    Text(String),
    /// A proxy's address, and how it is written with the variables that hold its user.
    Proxy {
        address: String,
        written: String,
    },
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    fn plain(value: impl ToString) -> Self {
        Self::Plain(value.to_string())
    }

    fn texts<'a, T: std::fmt::Display + 'a>(items: impl IntoIterator<Item = &'a T>) -> Self {
        Self::List(items.into_iter().map(Self::text).collect())
    }

    /// A map without the keys that have no value.
    fn map<const N: usize>(entries: [(&str, Option<Self>); N]) -> Self {
        let some = |(key, value): (&str, Option<Self>)| Some((key.to_owned(), value?));
        Self::Map(entries.into_iter().filter_map(some).collect())
    }
}

/// A whole fleet file.
pub(super) fn tree(spec: &Spec) -> Yaml {
    let profiles = spec.profiles.iter().map(|(name, p)| (name.to_string(), profile(p)));
    let types = spec.task_types.iter().map(|(kind, name)| (kind.clone(), Yaml::text(name)));
    let lanes: Vec<_> = spec.lanes.iter().map(|(name, l)| (name.to_string(), lane(l))).collect();
    Yaml::map([
        ("version", Some(Yaml::plain(1))),
        ("project", Some(Yaml::text(&spec.project))),
        ("profiles", Some(Yaml::Map(profiles.collect()))),
        ("pools", Some(Yaml::List(spec.pools.iter().map(|it| pool(it, spec)).collect()))),
        ("lanes", (!lanes.is_empty()).then_some(Yaml::Map(lanes))),
        ("task_types", Some(Yaml::Map(types.collect()))),
        ("limits", Some(limits(&spec.limits))),
        ("gpu", Some(gpu::policy(&spec.gpu))),
        ("github", Some(forge::policy(&spec.forge))),
        ("api", api(&spec.api)),
        ("notify", spec.notify.as_ref().map(notify::notify)),
        ("reports", Some(reports(&spec.reports))),
        ("retention", Some(retention(&spec.retention))),
        ("ca", spec.ca.as_ref().map(|path| Yaml::text(path.display()))),
        ("proxy", spec.proxy.as_ref().map(proxy)),
    ])
}

fn proxy(proxy: &Proxy) -> Yaml {
    let url = |url: &Option<ProxyUrl>| {
        let url = url.as_ref()?;
        let address = url.address().to_owned();
        Some(match url.written() {
            None => Yaml::Text(address),
            Some(written) => Yaml::Proxy { address, written: written.to_owned() },
        })
    };
    let direct = (!proxy.no_proxy.is_empty()).then(|| Yaml::texts(&proxy.no_proxy));
    Yaml::map([("http", url(&proxy.http)), ("https", url(&proxy.https)), ("no_proxy", direct)])
}

fn profile(profile: &Profile) -> Yaml {
    let (gpu_memory, exclusive, most) = show_gpu(profile.gpu);
    let env: Vec<_> =
        profile.env.iter().map(|(name, value)| (name.clone(), Yaml::text(value))).collect();
    Yaml::map([
        ("cpus", Some(Yaml::plain(profile.cpus))),
        ("memory", Some(Yaml::text(show_size(profile.memory)))),
        ("gpu_memory", gpu_memory.map(Yaml::plain)),
        ("gpu_exclusive", exclusive.then(|| Yaml::plain(true))),
        ("gpu_max_per_card", most.map(Yaml::plain)),
        ("labels", Some(Yaml::texts(&profile.labels))),
        ("image", Some(Yaml::text(&profile.image))),
        ("user", Some(Yaml::text(format!("{}:{}", profile.user.uid, profile.user.gid)))),
        ("pids", Some(Yaml::plain(profile.pids))),
        ("shm", Some(Yaml::text(show_size(profile.shm)))),
        ("env", (!env.is_empty()).then_some(Yaml::Map(env))),
        ("gpu_watchdog", profile.gpu.map(|_| watchdog(profile.gpu_watchdog))),
        ("docker", Some(forge::docker(profile.docker))),
        ("stop_grace", Some(duration(profile.stop_grace))),
        ("cache", (!profile.caches.is_empty()).then(|| caches(&profile.caches))),
    ])
}

fn caches(caches: &BTreeMap<CacheName, Cache>) -> Yaml {
    let cache = |cache: &Cache| {
        Yaml::map([
            ("path", Some(Yaml::text(cache.path.display()))),
            ("size", Some(Yaml::text(show_size(cache.size)))),
        ])
    };
    Yaml::Map(caches.iter().map(|(name, it)| (name.to_string(), cache(it))).collect())
}

fn pool(pool: &Pool, spec: &Spec) -> Yaml {
    let (count, elastic) = match pool.size {
        PoolSize::Fixed(count) => (Some(count), None),
        PoolSize::Elastic(elastic) => (None, Some(elastic)),
    };
    let number = |pick: fn(Elastic) -> u32| elastic.map(|e| Yaml::plain(pick(e)));
    let delay = |pick: fn(Elastic) -> Duration| elastic.map(|e| duration(pick(e)));
    let ephemeral = match pool.reuse {
        Reuse::OneJob => true,
        Reuse::Persistent => false,
    };
    let known = spec.profiles.get_key_value(&pool.profile);
    let forge = pool.forge.as_ref().map(|forge| forge::pool(forge, known));
    let (forge_key, forge) = forge.map_or(("github", None), |(key, yaml)| (key, Some(yaml)));
    let health = pool.docker_healthcheck.map_or_else(|| Yaml::plain(false), duration);
    Yaml::map([
        ("name", Some(Yaml::text(&pool.name))),
        ("profile", Some(Yaml::text(&pool.profile))),
        ("count", count.map(Yaml::plain)),
        ("min_runners", number(|e| e.min)),
        ("max_runners", number(|e| e.max)),
        ("scale_up_threshold", number(|e| e.scale_up_threshold)),
        ("scale_up_delay", delay(|e| e.scale_up_delay)),
        ("scale_down_delay", delay(|e| e.scale_down_delay)),
        ("warm", number(|e| e.warm)),
        ("runner_name", pool.runner_name.as_ref().map(Yaml::text)),
        ("ephemeral", Some(Yaml::plain(ephemeral))),
        ("spares", Some(Yaml::plain(pool.spares))),
        ("healthcheck", Some(health)),
        (forge_key, forge),
    ])
}

fn lane(lane: &Lane) -> Yaml {
    Yaml::map([
        ("pools", Some(Yaml::texts(&lane.pools))),
        ("priority", Some(Yaml::plain(lane.priority))),
        ("limit", lane.limit.map(Yaml::plain)),
    ])
}

fn limits(limits: &Limits) -> Yaml {
    let overcommit = match limits.overcommit_memory {
        Overcommit::Refuse => false,
        Overcommit::Allow => true,
    };
    Yaml::map([
        ("max_parallel_workflows", Some(Yaml::plain(limits.max_parallel_workflows))),
        ("task_timeout", Some(duration(limits.task_timeout))),
        ("scale_max", Some(Yaml::plain(limits.scale_max))),
        ("queue_max", Some(Yaml::plain(limits.queue_max))),
        ("log_max", Some(Yaml::text(show_size(limits.log_max)))),
        ("workspace_max", Some(Yaml::text(show_size(limits.workspace_max)))),
        ("disk_floor", Some(Yaml::text(show_size(limits.disk_floor)))),
        ("retries", Some(Yaml::plain(limits.retries))),
        ("stale_after", Some(duration(limits.stale_after))),
        ("start_timeout", Some(duration(limits.start_timeout))),
        ("overcommit", Some(Yaml::map([("memory", Some(Yaml::plain(overcommit)))]))),
    ])
}

/// Nothing where nobody asked for an address.
fn api(api: &ApiPolicy) -> Option<Yaml> {
    let tls = api.tls.as_ref().map(|tls| {
        let path = |path: &Path| Some(Yaml::text(path.display()));
        Yaml::map([("cert", path(&tls.cert)), ("key", path(&tls.key))])
    });
    let listen = api.listen.map(Yaml::text);
    (listen.is_some() || tls.is_some()).then(|| Yaml::map([("listen", listen), ("tls", tls)]))
}

fn reports(reports: &Reports) -> Yaml {
    let shared = match reports.sharing {
        ReportSharing::Own => false,
        ReportSharing::Shared => true,
    };
    Yaml::map([
        ("path", Some(Yaml::text(reports.path.display()))),
        ("keep", Some(reports.keep.map_or_else(|| Yaml::plain(false), duration))),
        ("shared", Some(Yaml::plain(shared))),
        ("listen", reports.server.as_ref().map(|it| Yaml::text(it.listen))),
        ("url", reports.server.as_ref().and_then(|it| it.url.as_ref()).map(Yaml::text)),
    ])
}

fn retention(retention: &Retention) -> Yaml {
    let age = |age: Option<Duration>| Some(age.map_or_else(|| Yaml::plain(false), duration));
    Yaml::map([
        ("logs", age(retention.logs)),
        ("logs_max", Some(Yaml::text(show_size(retention.logs_max)))),
        ("audit", age(retention.audit)),
        ("post_mortems", age(retention.post_mortems)),
        ("reports_max", Some(Yaml::text(show_size(retention.reports_max)))),
        ("images", age(retention.images)),
    ])
}

fn duration(duration: Duration) -> Yaml {
    Yaml::Text(show_duration(duration))
}

struct Writer<'a> {
    out: String,
    mask: &'a dyn Fn(&str) -> String,
}

impl Writer<'_> {
    /// Writes a map or list as a block, each line indented.
    fn block(&mut self, indent: usize, yaml: &Yaml) {
        match yaml {
            Yaml::Map(entries) => {
                for (key, value) in entries {
                    self.pad(indent);
                    self.entry(indent, key, value);
                }
            }
            Yaml::List(items) => {
                for item in items {
                    self.pad(indent);
                    self.out.push_str("- ");
                    self.item(indent + 2, item);
                }
            }
            Yaml::Plain(_) | Yaml::Text(_) | Yaml::Proxy { .. } => self.line(yaml),
        }
    }

    /// Writes a list's item behind its dash.
    fn item(&mut self, indent: usize, item: &Yaml) {
        let Yaml::Map(entries) = item else { return self.line(item) };
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                self.pad(indent);
            }
            self.entry(indent, key, value);
        }
    }

    fn entry(&mut self, indent: usize, key: &str, value: &Yaml) {
        self.out.push_str(&scalar(key));
        self.out.push(':');
        match value {
            Yaml::Map(entries) if !entries.is_empty() => {
                self.out.push('\n');
                self.block(indent + 2, value);
            }
            Yaml::List(items) if items.iter().any(|item| matches!(item, Yaml::Map(_))) => {
                self.out.push('\n');
                self.block(indent + 2, value);
            }
            Yaml::Plain(_) | Yaml::Text(_) | Yaml::Proxy { .. } | Yaml::List(_) | Yaml::Map(_) => {
                self.out.push(' ');
                self.line(value);
            }
        }
    }

    /// Writes a value in one line.
    fn line(&mut self, yaml: &Yaml) {
        let line = self.inline(yaml);
        self.out.push_str(&line);
        self.out.push('\n');
    }

    fn inline(&self, yaml: &Yaml) -> String {
        match yaml {
            Yaml::Plain(text) => text.clone(),
            Yaml::Text(text) => scalar(&(self.mask)(text)),
            // Names of variables, which are put in when it is loaded.
            Yaml::Proxy { written, .. } => quoted(written),
            Yaml::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.inline(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Yaml::Map(_) => "{}".to_owned(),
        }
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
}

/// A text as a YAML scalar: plain where it stays a text, else in double quotes. Dollar signs are
/// doubled, because loading puts in variables.
fn scalar(text: &str) -> String {
    let text = text.replace('$', "$$");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:+-@$".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "/_$.".contains(c));
    let is_text = matches!(plain_kind(&text), Kind::Text) && !is_old_yaml(&text);
    if starts && is_text && text.chars().all(is_plain) && !text.ends_with(':') {
        return text;
    }
    quoted(&text)
}

/// A text in double quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            ' '..='~' => quoted.push(c),
            _ if c.is_alphanumeric() => quoted.push(c),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether YAML 1.1, which many tools still read, takes this text for a truth value or for a
/// number to the base of 60.
fn is_old_yaml(text: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    let lower = text.to_ascii_lowercase();
    WORDS.contains(&lower.as_str())
        || text.bytes().all(|byte| byte.is_ascii_digit() || b":._".contains(&byte))
}
