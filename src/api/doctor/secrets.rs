//! Whether what the fleet registers with can be read.

use super::Section;
use crate::fleet::view::FleetView;
use crate::supervisor::forge_report::{ForgeReport, SecretReport};

/// Nothing where no secret is needed.
pub(super) fn section(fleet: &FleetView, report: &ForgeReport) -> Option<Section> {
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
        tell(&mut section, fleet, secret);
    }
    Some(section)
}

fn tell(section: &mut Section, fleet: &FleetView, secret: &SecretReport) {
    let SecretReport { source, of, trouble, warning } = secret;
    match (trouble, warning) {
        (None, None) => section.ok(format!("{source} is there (for {of})")),
        (None, Some(why)) => section.warning(format!("{source} (for {of}): {why}"), None),
        (Some(_), _) if is_registered(fleet, of) => {
            section.ok(format!("{source} is not there; {of} is registered and does not need it"));
        }
        (Some(why), _) => {
            let advice = format!("set {source}, then `slate-fleet up -d`");
            let message = format!("{source} (for {of}): {why}");
            match is_needed(fleet, of) {
                true => section.error(message, Some(&advice)),
                false => section.warning(message, Some(&advice)),
            }
        }
    }
}

/// Whether something cannot go on without it: a pool, the webhooks, or a runner that is there. For
/// a runner that is not there yet, nothing fails now.
fn is_needed(fleet: &FleetView, of: &str) -> bool {
    of == "webhook"
        || fleet.pools.iter().any(|pool| pool.name.as_str() == of)
        || fleet.runners.iter().any(|runner| runner.name == of)
}

/// A runner that is registered for good needs its token no more.
fn is_registered(fleet: &FleetView, name: &str) -> bool {
    fleet.runners.iter().any(|runner| {
        let serves = runner.status.is_serving();
        runner.name == name && runner.forge.is_some() && serves
    })
}
