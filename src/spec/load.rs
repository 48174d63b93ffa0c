//! The way from texts to a [`Spec`]: parse, interpolate, merge, compare, validate.

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostics, Findings};
use super::document::{self, Node};
use super::interpolate::{self, Context as Variables};
use super::secret::Secrets;
use super::validate::{self, Context};
use super::{Env, RunnersOptions, Spec, merge, render, runners_file, structure};

/// Most files that are merged; more are a mistake in a script.
const FILES_MAX: usize = 16;

/// One fleet file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file as the operator named it, for messages.
    pub path: String,
    /// Its content.
    pub text: String,
    /// The folder that it lies in, absolute. Relative paths of all files are relative to the first
    /// file's folder, as in compose, and the folder's name is the project's name by default.
    pub base: PathBuf,
}

/// A fleet file that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What the operator wants.
    pub spec: Spec,
    /// What the operator should know; never errors.
    pub warnings: Diagnostics,
    secrets: Secrets,
}

impl Loaded {
    /// The resolved file as YAML for people to read: values of variables whose names look secret
    /// are masked.
    #[must_use]
    pub fn render_masked(&self) -> String {
        render::render_with(&self.spec, &|text| self.secrets.mask(text))
    }

    /// A text without the values of secret variables that went into the spec.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        self.secrets.mask(text)
    }
}

/// Loads a fleet file from one or more texts, the later laid over the earlier.
///
/// `env` holds the variables for `${NAME}`; its `SLATE_PROJECT` overrides the project's name.
///
/// # Errors
///
/// Everything that is wrong, at once, each with its place and what would be right.
pub fn load(sources: &[Source], env: &Env) -> Result<Loaded, Diagnostics> {
    load_beside(sources, None, env)
}

/// The same beside specification 1's own file, which says what the fleet file leaves open.
///
/// # Errors
///
/// Everything that is wrong with either, at once.
pub fn load_beside(
    sources: &[Source],
    runners: Option<&Source>,
    env: &Env,
) -> Result<Loaded, Diagnostics> {
    let files: Vec<(&str, &str)> = sources
        .iter()
        .chain(runners)
        .map(|source| (source.path.as_str(), source.text.as_str()))
        .collect();
    let mut findings = Findings::default();
    let options = runners
        .and_then(|runners| runners_file::read((sources.len(), &runners.text), &mut findings));
    let mut secrets = Secrets::default();
    let variables = Variables { env, findings: &mut findings, secrets: &mut secrets };
    let tree = read(sources, variables);
    let spec = tree.and_then(|tree| {
        let options = options.unwrap_or_default();
        check(&tree, (sources, options), env, &mut findings)
    });
    let refused = findings.has_errors();
    let diagnostics = findings.into_diagnostics(&files);
    match spec {
        Some(spec) if !refused => Ok(Loaded { spec, warnings: diagnostics, secrets }),
        Some(_) | None => Err(diagnostics),
    }
}

/// Reads and merges the files. `None` if any is no YAML: findings about the rest would mislead.
fn read(sources: &[Source], mut variables: Variables<'_>) -> Option<Node> {
    if sources.is_empty() || sources.len() > FILES_MAX {
        let message = format!("{} fleet files were given", sources.len());
        variables.findings.error_nowhere(message).help(format!("give 1 to {FILES_MAX}"));
        return None;
    }
    let mut trees = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        let mut tree = document::parse(file, &source.text, variables.findings);
        if let Some(tree) = &mut tree {
            interpolate::interpolate(tree, &mut variables);
            merge::normalise(tree, &mut variables);
        }
        trees.push(tree);
    }
    let mut trees = trees.into_iter().collect::<Option<Vec<Node>>>()?.into_iter();
    let mut merged = trees.next()?;
    trees.for_each(|tree| merge::merge(&mut merged, tree));
    merge::apply_resets(&mut merged);
    Some(merged)
}

fn check(
    tree: &Node,
    (sources, options): (&[Source], RunnersOptions),
    env: &Env,
    findings: &mut Findings,
) -> Option<Spec> {
    let base = sources.first().map_or(Path::new("/"), |source| &source.base);
    let raw = structure::read(tree, findings)?;
    validate::validate(&raw, &mut Context { root: tree, env, base, findings, options })
}
