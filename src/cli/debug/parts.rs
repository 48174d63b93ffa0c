//! Gathers the parts of a bundle; what cannot be had is said in it and holds up nothing.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::bundle::{Bundle, TooLarge};
use super::clean::{self, Clean};
use crate::causes::with_causes;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::{border, doctor};
use crate::client::Client;
use crate::engine::survey::EngineSurvey;
use crate::fleet::view::JobView;
use crate::fleet_file::{ENV_FILE, read_env};
use crate::spec::{Env, Spec};
use crate::state_dir::StateDir;

/// Bytes of the end of the supervisor's log.
const LOG_MAX: u64 = 1024 * 1024;
/// Post-mortems, newest first; each is bounded where it is written.
const POST_MORTEMS_MAX: usize = 20;

/// What the supervisor is asked for: name, what it is, where.
const ASKED: [(&str, &str, &str); 8] = [
    ("fleet.json", "the fleet as the API shows it", "/api/v1/fleet"),
    ("gpus.json", "cards and leases", "/api/v1/gpus"),
    ("forges.json", "forges", "/api/v1/forges"),
    ("jobs.json", "the newest jobs, without arguments and values", "/api/v1/jobs?limit=200"),
    ("forge-jobs.json", "jobs that forges tell of", "/api/v1/forge/jobs?limit=200"),
    ("spec.json", "the fleet file in force, resolved", "/api/v1/spec"),
    ("stats.json", "how long jobs waited and ran", "/api/v1/stats"),
    ("reports.json", "what is in the report store, in numbers", "/api/v1/reports"),
];
/// The newest events, one document per line.
const EVENTS: &str = "/api/v1/events?limit=1000";
/// Jobs whose variables are looked through for values to hide.
const JOBS: &str = "/api/v1/jobs?limit=10000";

/// Gathers everything.
pub(super) async fn gather(context: &Context) -> Bundle {
    let (mut bundle, mut clean) = (Bundle::default(), Clean::default());
    let mut client = context.connect().await.map_err(|failure| words(&failure));
    hide(context, client.as_mut().ok(), &mut clean).await;
    machine(context, &clean, &mut bundle).await;
    match context.rendered_spec() {
        Ok(text) => {
            let about = "the fleet file as it is read now, resolved";
            bundle.add("fleet-file.yaml", about, clean.text(&text), TooLarge::LeaveOut);
        }
        Err(failure) => bundle.lack("fleet-file.yaml", &clean.text(&words(&failure))),
    }
    match &mut client {
        Ok(client) => ask(client, &clean, &mut bundle).await,
        Err(why) => bundle.lack("everything that the supervisor knows", &clean.text(why)),
    }
    match context.state_dir() {
        Ok(state) => kept(&state, &clean, &mut bundle),
        Err(failure) => bundle.lack("the state folder", &clean.text(&words(&failure))),
    }
    bundle
}

fn words(failure: &Failure) -> String {
    failure.render().trim_end().to_owned()
}

/// Finds the values that must not get in.
async fn hide(context: &Context, client: Option<&mut Client>, clean: &mut Clean) {
    let beside = context.base().map(|folder| folder.join(ENV_FILE));
    if let Ok(Ok(variables)) = beside.map(|path| read_env(&path)) {
        clean.hide(&variables);
    }
    clean.hide(&of_secret_names(
        std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }),
    ));
    let specs = [context.spec().ok()];
    let Some(client) = client else { return profiles(specs, clean) };
    let in_force = client.get::<Spec>("/api/v1/spec").await.ok();
    profiles(specs.into_iter().chain([in_force]), clean);
    let jobs: Vec<JobView> = client.get(JOBS).await.unwrap_or_default();
    jobs.iter().for_each(|job| clean.hide(&job.spec.env));
}

fn profiles(specs: impl IntoIterator<Item = Option<Spec>>, clean: &mut Clean) {
    let specs: Vec<Spec> = specs.into_iter().flatten().collect();
    specs.iter().flat_map(|it| it.profiles.values()).for_each(|it| clean.hide(&it.env));
}

/// Of this process, only what is a secret by its name: `PATH` and `HOME` are all over the place.
fn of_secret_names(variables: impl Iterator<Item = (String, String)>) -> Env {
    variables.filter(|(name, _)| crate::spec::is_secret_name(name)).collect()
}

/// What can be had without a supervisor.
async fn machine(context: &Context, clean: &Clean, bundle: &mut Bundle) {
    let kernel = rustix::system::uname();
    let version = json!({
        "slate_fleet": env!("CARGO_PKG_VERSION"),
        "kernel": kernel.release().to_string_lossy(),
        "machine": kernel.machine().to_string_lossy(),
        "system": fs::read_to_string("/etc/os-release").unwrap_or_default(),
    });
    bundle.add("version.json", "versions", clean.json(version), TooLarge::LeaveOut);
    let found = context.gpu_sources().and_then(|sources| border::inventory(None, &sources));
    match found.map(|found| serde_json::to_value(found).unwrap_or_default()) {
        Ok(found) => {
            let about = "the machine: CPUs, memory, cards";
            bundle.add("host.json", about, clean.json(found), TooLarge::LeaveOut);
        }
        Err(failure) => bundle.lack("host.json", &clean.text(&words(&failure))),
    }
    match doctor::diagnose(context).await {
        Ok(found) => {
            let found = serde_json::to_value(found).unwrap_or_default();
            bundle.add("doctor.json", "what `doctor` says", clean.json(found), TooLarge::LeaveOut);
        }
        Err(failure) => bundle.lack("doctor.json", &clean.text(&words(&failure))),
    }
    match border::engine(&[]).await {
        Ok(survey) => {
            let told = engine_told(&survey);
            bundle.add("engine.json", "the engine", clean.json(told), TooLarge::LeaveOut);
        }
        Err(why) => bundle.lack("engine.json", &clean.text(&why)),
    }
}

fn engine_told(survey: &EngineSurvey) -> Value {
    let engine = &survey.info;
    json!({
        "version": engine.version,
        "api": engine.api,
        "kernel": survey.kernel,
        "cgroups": format!("{:?}", engine.cgroups),
        "cgroup_driver": engine.cgroup_driver,
        "storage_driver": engine.storage_driver,
        "cpus": engine.cpus,
        "memory": engine.memory,
        "security": engine.security,
        "runtimes": engine.runtimes,
        "data_root": engine.data_root,
        "live_restore": survey.live_restore,
        "swarm": survey.swarm,
        "networks": survey.networks,
        "proxied": survey.proxied,
        "warnings": engine.warnings,
    })
}

/// What the supervisor knows.
async fn ask(client: &mut Client, clean: &Clean, bundle: &mut Bundle) {
    for (name, about, path) in ASKED {
        match client.get::<Value>(path).await {
            Ok(value) => bundle.add(name, about, clean.json(value), TooLarge::LeaveOut),
            Err(error) => bundle.lack(name, &clean.text(&words(&error.into()))),
        }
    }
    match events(client, clean).await {
        Ok(text) => bundle.add("events.jsonl", "the newest events", text, TooLarge::KeepEnd),
        Err(failure) => bundle.lack("events.jsonl", &clean.text(&words(&failure))),
    }
    match client.text("/metrics").await {
        Ok(text) => bundle.add("metrics.txt", "metrics", clean.text(&text), TooLarge::KeepEnd),
        Err(error) => bundle.lack("metrics.txt", &clean.text(&words(&error.into()))),
    }
}

async fn events(client: &mut Client, clean: &Clean) -> Result<String, Failure> {
    let (mut text, mut lines) = (String::new(), client.lines(EVENTS).await?);
    while let Some(event) = lines.next::<Value>().await? {
        let line = clean.json(clean::without_command(event));
        text.extend(line.lines().map(str::trim_start));
        text.push('\n');
    }
    Ok(text)
}

/// What the state folder keeps in files.
fn kept(state: &StateDir, clean: &Clean, bundle: &mut Bundle) {
    let log = state.supervisor_log();
    match end_of(&log) {
        Ok(text) => {
            let about = "the end of the background supervisor's log";
            bundle.add("supervisor.log", about, clean.text(&text), TooLarge::KeepEnd);
        }
        Err(error) => bundle.lack("supervisor.log", &format!("{}: {error}", log.display())),
    }
    match newest(&state.post_mortems()) {
        Ok(files) => files.iter().for_each(|file| post_mortem(file, clean, bundle)),
        Err(error) => bundle.lack("post-mortems", &error.to_string()),
    }
}

fn post_mortem(file: &Path, clean: &Clean, bundle: &mut Bundle) {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("post-mortems/{name}");
    let read = fs::read(file).map_err(|error| with_causes(&error));
    let read = read.and_then(|it| serde_json::from_slice(&it).map_err(|it| it.to_string()));
    match read {
        Ok(value) => {
            bundle.add(&name, "why a runner went", clean.json(value), TooLarge::LeaveOut);
        }
        Err(why) => bundle.lack(&name, &why),
    }
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LOG_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // Half a line may hold half a secret, which nobody recognises.
    let whole = match size > LOG_MAX {
        true => text.split_once('\n').map_or("", |(_torn, whole)| whole),
        false => &text,
    };
    Ok(whole.to_owned())
}

/// The newest files of a folder, newest first; none where there is no folder.
fn newest(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort_by(|one, other| other.cmp(one));
    Ok(files.into_iter().take(POST_MORTEMS_MAX).map(|(_, path)| path).collect())
}
