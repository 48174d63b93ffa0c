//! A spec that comes as data, over the API: held to all that a fleet file is held to.
//!
//! It is laid out as the fleet file that says the same, and that is checked like any other, with
//! the places of values by name instead of by line. What comes out must be what came in: what no
//! fleet file can say is refused, too.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::diagnostic::{Findings, Span};
use super::document::{Entry, Merging, NODES_MAX, Node, Value};
use super::render::{self, Yaml};
use super::scalar::{Quoting, Scalar};
use super::validate::{self, Context};
use super::{Env, RunnersOptions, Spec, structure};

/// A spec as somebody sent it. It may say anything; [`Self::check`] makes a [`Spec`] of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Proposed(#[schemars(with = "Spec")] Json);

/// Why a spec cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the spec has {errors} error{}; nothing was changed", if *.errors == 1 { "" } else { "s" })]
pub struct WrongSpec {
    /// How many errors were found.
    pub errors: usize,
    /// Each in one line, with its place and what would be right; of very many, the first hundred.
    pub findings: Vec<String>,
}

impl Proposed {
    /// Checks all of it.
    ///
    /// # Errors
    /// [`WrongSpec`] with everything that is wrong.
    pub fn check(self) -> Result<Spec, WrongSpec> {
        let Self(json) = self;
        let sent: Spec = serde_json::from_value(json.clone()).map_err(|error| WrongSpec {
            errors: 1,
            findings: vec![format!("this is no spec: {error}")],
        })?;
        let mut findings = Findings::default();
        let mut layout = Layout::default();
        let unknown = surplus(&json, &serde_json::to_value(&sent).unwrap_or_default());
        for place in unknown {
            let span = layout.span(&place);
            findings.error(span, format!("unknown key `{place}`"));
        }
        check_beside(&sent, &mut layout, &mut findings);
        let made = layout.read(&sent, &mut findings);
        if let Some(made) = made.as_ref().filter(|_| !findings.has_errors()) {
            compare(&sent, made, &mut layout, &mut findings);
        }
        match made {
            Some(made) if !findings.has_errors() => Ok(made),
            Some(_) | None => {
                let (findings, errors) = findings.into_lines(|span| layout.name(span));
                Err(WrongSpec { errors, findings })
            }
        }
    }
}

/// What is beside the fleet file itself.
fn check_beside(sent: &Spec, layout: &mut Layout, findings: &mut Findings) {
    let is_whole = |path: &Path| path.is_absolute() && path.file_name().is_some();
    if let Some(path) = sent.env_file.as_ref().filter(|path| !is_whole(path)) {
        let message = format!("`{}` is no absolute path of a file", path.display());
        findings.error(layout.span("env_file"), message);
    }
    check_pool_names(sent, layout, findings);
    let Some(file) = &sent.runners_file else { return };
    let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_json = file.path.extension().is_some_and(|it| it == "json");
    if !is_whole(&file.path) || !name.starts_with(".slate_runners.") || !is_json {
        findings
            .error(
                layout.span("runners_file.path"),
                format!("`{}` is no path of the runners' file", file.path.display()),
            )
            .help("write an absolute path that ends in `.slate_runners.json`");
    }
    for (key, message, help) in file.options.troubles() {
        findings.error(layout.span(&format!("runners_file.options.{key}")), message).help(help);
    }
}

/// Two files are merged by the names of their pools, so texts are held to this when they are read.
fn check_pool_names(sent: &Spec, layout: &mut Layout, findings: &mut Findings) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, pool) in sent.pools.iter().enumerate() {
        if let Some(first) = names.insert(pool.name.as_str(), index) {
            let span = layout.span(&format!("pools[{index}].name"));
            findings
                .error(span, format!("two pools are named `{}`", pool.name))
                .help(format!("the other is `pools[{first}]`; names must differ"));
        }
    }
}

/// A spec as a tree, and the names of the places in it: a span's line is its place's number.
#[derive(Default)]
struct Layout {
    places: Vec<String>,
}

impl Layout {
    /// What the fleet file that says the same comes to. `None` where the findings say why not.
    fn read(&mut self, sent: &Spec, findings: &mut Findings) -> Option<Spec> {
        let tree = self.node("", render::tree(sent));
        if self.places.len() > NODES_MAX {
            findings.error_nowhere(format!("the spec has more than {NODES_MAX} values"));
            return None;
        }
        let raw = structure::read(&tree, findings)?;
        let (env, base, options) = (Env::new(), Path::new("/"), RunnersOptions::default());
        let mut context = Context { root: &tree, env: &env, base, findings, options };
        let made = validate::validate(&raw, &mut context)?;
        let (runners_file, env_file) = (sent.runners_file.clone(), sent.env_file.clone());
        // Where a proxy's user is kept was looked at when it was read.
        let mut made = Spec { runners_file, env_file, ..made };
        if let (Some(made), Some(sent)) = (&mut made.proxy, &sent.proxy) {
            made.http.clone_from(&sent.http);
            made.https.clone_from(&sent.https);
        }
        Some(made)
    }

    fn span(&mut self, place: &str) -> Span {
        self.places.push(place.to_owned());
        Span { file: 0, line: self.places.len(), column: 1, width: 1 }
    }

    fn name(&self, span: Span) -> Option<String> {
        let place = self.places.get(span.line.checked_sub(1)?)?;
        (!place.is_empty()).then(|| place.clone())
    }

    fn node(&mut self, place: &str, yaml: Yaml) -> Node {
        let span = self.span(place);
        let value = match yaml {
            Yaml::Plain(text) => Value::Scalar(Scalar::literal(text, Quoting::Plain)),
            Yaml::Text(text) | Yaml::Proxy { address: text, .. } => {
                Value::Scalar(Scalar::literal(text, Quoting::Quoted))
            }
            Yaml::List(items) => {
                let items = items.into_iter().enumerate();
                let node = |(index, item)| self.node(&format!("{place}[{index}]"), item);
                Value::List(items.map(node).collect())
            }
            Yaml::Map(entries) => {
                let entry = |(key, value): (String, Yaml)| {
                    let value = self.node(&below(place, &key), value);
                    Entry { key, key_span: value.span, value }
                };
                Value::Map(entries.into_iter().map(entry).collect())
            }
        };
        Node { span, merging: Merging::Merge, value }
    }
}

fn below(place: &str, key: &str) -> String {
    match place.is_empty() {
        true => key.to_owned(),
        false => format!("{place}.{key}"),
    }
}

/// The places of what was sent and means nothing: what it means would have been written again.
fn surplus(sent: &Json, read: &Json) -> Vec<String> {
    let mut places = Vec::new();
    differences("", sent, read, &mut |place, sent, read| {
        let is_nothing = |json: &Json| match json {
            Json::Null => true,
            Json::Array(items) => items.is_empty(),
            Json::Object(entries) => entries.is_empty(),
            Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
        };
        if sent.is_some_and(|sent| !is_nothing(sent)) && read.is_none() {
            places.push(place.to_owned());
        }
    });
    places
}

/// Tells where what comes out is not what came in.
fn compare(sent: &Spec, made: &Spec, layout: &mut Layout, findings: &mut Findings) {
    if sent == made {
        return;
    }
    let json = |spec: &Spec| serde_json::to_value(spec).unwrap_or_default();
    let begun = layout.places.len();
    differences("", &json(sent), &json(made), &mut |place, sent, _made| {
        let span = layout.span(place);
        match sent {
            Some(_) => findings
                .error(span, "no fleet file can say this")
                .help("begin with what `GET /api/v1/spec` answers"),
            None => findings
                .error(span, "this is missing")
                .help("every fleet has it: take it from what `GET /api/v1/spec` answers"),
        }
    });
    if layout.places.len() == begun {
        // Never happens: two specs that differ are written in two ways.
        findings.error_nowhere("no fleet file can say this");
    }
}

/// Is told a place where two documents differ, and what each of them has there.
type Tell<'a> = dyn FnMut(&str, Option<&Json>, Option<&Json>) + 'a;

/// Tells each place where two documents differ.
fn differences(place: &str, one: &Json, other: &Json, tell: &mut Tell<'_>) {
    match (one, other) {
        (Json::Object(ones), Json::Object(others)) => {
            for (key, one) in ones {
                match others.get(key) {
                    Some(other) => differences(&below(place, key), one, other, tell),
                    None => tell(&below(place, key), Some(one), None),
                }
            }
            let more = others.iter().filter(|(key, _)| !ones.contains_key(*key));
            more.for_each(|(key, other)| tell(&below(place, key), None, Some(other)));
        }
        (Json::Array(ones), Json::Array(others)) if ones.len() == others.len() => {
            for (index, (one, other)) in ones.iter().zip(others).enumerate() {
                differences(&format!("{place}[{index}]"), one, other, tell);
            }
        }
        _ if one == other => {}
        _ => tell(place, Some(one), Some(other)),
    }
}
