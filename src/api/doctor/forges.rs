//! Each scope at a forge, and the door of the webhooks.

use std::net::{IpAddr, SocketAddr};

use super::Section;
use crate::api::words::{numbers, time_of_day};
use crate::fleet::forge::{ForgeContact, ForgeView};
use crate::fleet::view::{FleetView, RunnerView};
use crate::forge::Level;
use crate::ids::ScopeUrl;
use crate::spec::Spec;
use crate::supervisor::forge_report::{ForgeReport, LimitReport, ScopeReport, WebhookReport};
use crate::units::Time;
use crate::units::words::{about, counted};

/// Entries that are named; the others are counted.
const NAMED_MAX: usize = 5;

/// A section for each scope that the spec names, or that is still known.
pub(super) fn sections(fleet: &FleetView, spec: &Spec, report: &ForgeReport) -> Vec<Section> {
    let own = spec.pools.iter().filter_map(|pool| Some(&pool.forge.as_ref()?.scope));
    let known = fleet.forges.iter().map(|forge| &forge.scope);
    let mut scopes: Vec<&ScopeUrl> = Vec::new();
    for scope in own.chain(known) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes.into_iter().map(|scope| section(fleet, scope, report)).collect()
}

fn section(fleet: &FleetView, scope: &ScopeUrl, report: &ForgeReport) -> Section {
    let mut section = Section::new(without_scheme(scope));
    let reports: Vec<&ScopeReport> = report.scopes.iter().filter(|it| it.scope == *scope).collect();
    let view = fleet.forges.iter().find(|it| it.scope == *scope);
    contact(&mut section, view, &reports);
    for finding in reports.iter().flat_map(|it| &it.findings) {
        match finding.level {
            Level::Good => section.ok(finding.message.clone()),
            Level::Warning => section.warning(finding.message.clone(), None),
            Level::Error => section.error(finding.message.clone(), None),
        }
    }
    for limit in reports.iter().filter_map(|it| it.limit) {
        limits(&mut section, limit, fleet.at);
    }
    let runners: Vec<&RunnerView> = fleet.runners.iter().filter(|it| is_at(it, scope)).collect();
    standing(&mut section, &runners);
    if let Some(view) = view {
        leftovers(&mut section, view);
        if let Some(newest) = &view.newest_runner {
            versions(&mut section, &runners, newest);
        }
    }
    section
}

fn contact(section: &mut Section, view: Option<&ForgeView>, reports: &[&ScopeReport]) {
    let has_access = reports.is_empty() || reports.iter().any(|it| !it.findings.is_empty());
    let Some(contact) = view.and_then(|view| view.contact.as_ref()) else {
        match has_access {
            true => section.warning("it was not spoken to yet", None),
            false => section.ok(
                "runners register with tokens: nothing is asked of its API, so neither queue nor \
                 list is known",
            ),
        }
        return;
    };
    match contact {
        ForgeContact::Good => section.ok("it answers"),
        ForgeContact::Unreachable(why) => section.error(
            format!("it does not answer: {why}"),
            Some("nothing is removed while it does not; it is tried again by itself"),
        ),
        ForgeContact::Limited { until, why } => section.warning(
            format!("limited until {}: {why}", time_of_day(*until)),
            Some("it goes on by itself; a longer `github.poll` asks less"),
        ),
        ForgeContact::Denied(why) => section.error(
            format!("it refuses: {why}"),
            Some("mend the credential or its rights, then `slate-fleet up -d`"),
        ),
    }
}

fn limits(section: &mut Section, it: LimitReport, now: Time) {
    let LimitReport { limit, remaining, reset, silent_until } = it;
    if let Some(until) = silent_until.filter(|until| *until > now) {
        section.warning(format!("no call before {}, as it asked", time_of_day(until)), None);
    }
    let text = format!("{remaining} of {limit} calls are left until {}", time_of_day(reset));
    // A fifth is kept for removals.
    match remaining.saturating_mul(5) < limit {
        true => section.warning(text, Some("a longer `github.poll`, or webhooks, ask less")),
        false => section.ok(text),
    }
}

/// The runners that wait for an operator, and those that the forge does not see.
fn standing(section: &mut Section, runners: &[&RunnerView]) {
    let held = runners.iter().filter_map(|it| Some((it, it.forge.as_ref()?.hold.as_ref()?)));
    for (runner, why) in held {
        section.error(format!("{}: {why}", runner.name), Some("then `slate-fleet up -d`"));
    }
    let online = runners.iter().filter(|it| seen(it) == Some(true)).count();
    let offline: Vec<&str> = runners
        .iter()
        .filter(|it| seen(it) == Some(false) && it.status.is_serving())
        .map(|it| it.name.as_str())
        .collect();
    if !offline.is_empty() {
        let names = named(&offline);
        section.warning(
            format!("it sees {} offline: {names}", counted(offline.len(), "runner")),
            None,
        );
    } else if online > 0 {
        section.ok(format!("it sees {} online", counted(online, "runner")));
    }
}

fn seen(runner: &RunnerView) -> Option<bool> {
    runner.forge.as_ref().and_then(|forge| forge.online)
}

fn leftovers(section: &mut Section, view: &ForgeView) {
    if view.leftovers.is_empty() {
        return;
    }
    let names: Vec<&str> = view.leftovers.iter().map(String::as_str).collect();
    let what = match names.len() {
        1 => "1 entry of a runner that is gone waits to be removed".to_owned(),
        count => format!("{count} entries of runners that are gone wait to be removed"),
    };
    section.warning(
        format!("{what}: {}", named(&names)),
        Some("they are removed by themselves; a busy one after the forge gave up its job"),
    );
}

/// GitHub gives jobs to runners that had every release within thirty days, and to no others.
fn versions(section: &mut Section, runners: &[&RunnerView], newest: &str) {
    let mut versions: Vec<&str> =
        runners.iter().filter_map(|runner| runner.forge.as_ref()?.version.as_deref()).collect();
    versions.sort_by_key(|version| numbers(version));
    versions.dedup();
    let old: Vec<&str> =
        versions.iter().copied().filter(|it| numbers(it) < numbers(newest)).collect();
    match (versions.is_empty(), old.is_empty()) {
        (true, _) => section.ok(format!("its newest runner is {newest}")),
        (false, true) => section.ok(format!("the runners' program is its newest, {newest}")),
        (false, false) => section.warning(
            format!("the runners' program is {}, its newest is {newest}", old.join(" and ")),
            Some(
                "a forge may refuse a program 30 days after a newer one: build the image anew, \
                 then `slate-fleet up -d`",
            ),
        ),
    }
}

/// The door of the webhooks, where one is asked for.
pub(super) fn webhooks(spec: &Spec, report: &ForgeReport, now: Time) -> Option<Section> {
    let wanted = spec.forge.webhook.as_ref()?;
    let mut section = Section::new("Webhooks");
    let Some(door) = &report.webhook else {
        section.warning(format!("{} is not open yet", wanted.listen), None);
        return Some(section);
    };
    let WebhookReport { listen, trouble, last, taken, bad_signatures, turned_away } = door;
    match trouble {
        Some(why) => section.error(
            format!("{listen} is not open: {why}"),
            Some("jobs are found by polling meanwhile"),
        ),
        None => section.ok(format!("{listen} is open")),
    }
    match last {
        None => section.warning(
            "no delivery came since the supervisor began",
            Some("jobs are found by polling; see the deliveries of the webhook at the forge"),
        ),
        Some(last) => {
            let ago = about(now.since(*last));
            let taken = counted(*taken, "delivery");
            section.ok(format!("the last of {taken} came {ago} ago"));
        }
    }
    if *bad_signatures > 0 {
        section.warning(
            format!(
                "{} had a wrong signature, and did nothing",
                counted(*bad_signatures, "delivery")
            ),
            Some("compare `github.webhook.secret_env` with the secret at the forge"),
        );
    }
    if *turned_away > 0 {
        let turned_away = counted(*turned_away, "delivery");
        section.warning(format!("turned away, too many at once: {turned_away}"), None);
    }
    Some(section)
}

/// Whether an address is reachable from other machines, as far as it says so.
pub(super) fn is_public(listen: &str) -> bool {
    let host = match listen.parse::<SocketAddr>() {
        Ok(address) => return !address.ip().is_loopback(),
        Err(_) => listen.rsplit_once(':').map_or(listen, |(host, _)| host),
    };
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_loopback && host != "localhost"
}

fn is_at(runner: &RunnerView, scope: &ScopeUrl) -> bool {
    runner.forge.as_ref().is_some_and(|forge| forge.scope == *scope)
}

fn without_scheme(scope: &ScopeUrl) -> &str {
    scope.as_str().split_once("://").map_or(scope.as_str(), |(_, rest)| rest)
}

fn named(names: &[&str]) -> String {
    let mut text = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED_MAX {
        text.push_str(", …");
    }
    text
}
