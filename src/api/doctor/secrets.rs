//! Whether what the fleet registers with can be read.

use super::Section;
use crate::fleet::view::{FleetView, RunnerView};
use crate::ids::PoolName;
use crate::spec::Spec;
use crate::supervisor::forge_report::{ForgeReport, SecretReport, SecretUser};

/// Nothing where no secret is needed.
pub(super) fn section(fleet: &FleetView, spec: &Spec, report: &ForgeReport) -> Option<Section> {
    if report.secrets.is_empty() && report.env_file.is_none() {
        return None;
    }
    let mut section = Section::new("Secrets");
    if let Some(file) = &report.env_file {
        let path = file.path.display();
        match &file.trouble {
            None => section.ok(format!("{path} is readable")),
            Some(why) if report.secrets.is_empty() => {
                section.warning(format!("{path}: {why}"), None);
            }
            Some(why) => section.error(
                format!("{path}: {why}"),
                Some("write it beside the fleet file, readable by its owner alone (mode 0600)"),
            ),
        }
    }
    for secret in &report.secrets {
        tell(&mut section, (fleet, spec), secret);
    }
    Some(section)
}

fn tell(section: &mut Section, (fleet, spec): (&FleetView, &Spec), secret: &SecretReport) {
    let SecretReport { source, of: user, trouble, warning } = secret;
    let runner = match user {
        SecretUser::Runner(pool, number) => runner(fleet, spec, (pool, *number)),
        SecretUser::Webhook | SecretUser::Notify | SecretUser::Proxy | SecretUser::Pool(_) => None,
    };
    let of = match (user, runner) {
        (SecretUser::Webhook, _) => "webhook".to_owned(),
        (SecretUser::Notify, _) => "notify".to_owned(),
        (SecretUser::Proxy, _) => "proxy".to_owned(),
        (SecretUser::Pool(pool), _) => pool.to_string(),
        (SecretUser::Runner(..), Some(runner)) => runner.name.clone(),
        (SecretUser::Runner(pool, number), None) => format!("runner {number} of pool {pool}"),
    };
    match (trouble, warning) {
        (None, None) => section.ok(format!("{source} is there (for {of})")),
        (None, Some(why)) => section.warning(format!("{source} (for {of}): {why}"), None),
        (Some(_), _) if runner.is_some_and(is_registered) => {
            section.ok(format!("{source} is not there; {of} is registered and does not need it"));
        }
        (Some(why), _) => {
            let advice = format!("set {source}, then `slate-fleet up -d`");
            let message = format!("{source} (for {of}): {why}");
            // For a runner that is not there yet nothing fails now.
            match runner.is_some() || !matches!(user, SecretUser::Runner(..)) {
                true => section.error(message, Some(&advice)),
                false => section.warning(message, Some(&advice)),
            }
        }
    }
}

/// A runner by its number in its pool: as its name says, or its place among the pool's.
fn runner<'a>(
    fleet: &'a FleetView,
    spec: &Spec,
    (pool, number): (&PoolName, u32),
) -> Option<&'a RunnerView> {
    let mut own: Vec<&RunnerView> = fleet.runners.iter().filter(|it| it.pool == *pool).collect();
    own.sort_by_key(|it| it.id);
    let pattern = spec.pools.iter().find(|it| it.name == *pool)?.runner_name.as_ref();
    match pattern.filter(|pattern| pattern.contains("{n}")) {
        Some(pattern) => {
            let name = pattern.replace("{n}", &number.to_string());
            own.into_iter().find(|it| it.name == name)
        }
        None => own.into_iter().nth(usize::try_from(number).ok()?.checked_sub(1)?),
    }
}

/// A runner that is registered for good needs its token no more.
fn is_registered(runner: &RunnerView) -> bool {
    runner.forge.is_some() && runner.status.is_serving()
}
