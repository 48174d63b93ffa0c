//! How old GitHub's program in the images is: GitHub gives no jobs to one that missed a release for
//! 30 days, and every month has a release.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::border;
use crate::api::doctor::Section;
use crate::api::words::numbers;
use crate::cli::clock;
use crate::cli::context::Context;
use crate::client::Client;
use crate::fleet::view::FleetView;
use crate::ids::{ImageRef, ScopeUrl};
use crate::spec::{ForgeKind, Spec};
use crate::units::words::counted;

/// Labels of `images/github-runner/build`.
const VERSION: &str = "dev.slate.image.github-runner";
const MADE: &str = "dev.slate.image.github-runner-made";
/// Days that leave an operator ten more.
const OLD: i32 = 20;
const ADVICE: &str = "GitHub gives no jobs to a program 30 days after a newer one: build the image \
                      anew (images/github-runner/build), then `slate-fleet up -d`";

/// GitHub's program in an image.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    version: String,
    /// When it was made, if its image says so.
    made: Option<Date>,
}

/// Nothing where no image says what program it has.
pub(super) async fn section(context: &Context, spec: &Spec) -> Option<Section> {
    let mut section = Section::new("GitHub's program");
    let images = images(spec);
    if images.is_empty() {
        return None;
    }
    let newest = newest(context).await;
    let today = today()?;
    for (image, scope) in images {
        // An image that is missing, and an engine that does not answer, are told elsewhere.
        let labels = border::image_labels(image).await.ok().flatten();
        if let Some(program) = labels.as_ref().and_then(program) {
            let newest = newest.get(scope).map(String::as_str);
            tell(&mut section, image, &program, (newest, today));
        }
    }
    (!section.checks.is_empty()).then_some(section)
}

/// The images of the pools that take GitHub's jobs, and where their runners register.
fn images(spec: &Spec) -> BTreeMap<&ImageRef, &ScopeUrl> {
    let pools = spec.pools.iter().filter_map(|pool| {
        let forge = pool.forge.as_ref().filter(|forge| forge.kind == ForgeKind::Github)?;
        Some((&spec.profiles.get(&pool.profile)?.image, &forge.scope))
    });
    pools.collect()
}

/// The newest version that each scope offers, as far as a supervisor knows it.
async fn newest(context: &Context) -> BTreeMap<ScopeUrl, String> {
    let Ok(state) = context.state_dir() else { return BTreeMap::new() };
    let Ok(mut client) = Client::connect(&state).await else { return BTreeMap::new() };
    let Ok(fleet) = client.get::<FleetView>("/api/v1/fleet").await else { return BTreeMap::new() };
    fleet.forges.into_iter().filter_map(|it| Some((it.scope, it.newest_runner?))).collect()
}

fn today() -> Option<Date> {
    let now = i64::try_from(clock::now().0).ok()?;
    let now = jiff::Timestamp::from_millisecond(now).ok()?;
    Some(now.to_zoned(TimeZone::UTC).date())
}

fn program(labels: &HashMap<String, String>) -> Option<Program> {
    let version = labels.get(VERSION).filter(|it| !it.is_empty())?.clone();
    Some(Program { version, made: labels.get(MADE).and_then(|it| it.parse().ok()) })
}

fn tell(
    section: &mut Section,
    image: &ImageRef,
    program: &Program,
    (newest, today): (Option<&str>, Date),
) {
    let Program { version, made } = program;
    let days = made.and_then(|made| today.since(made).ok()).map(|span| span.get_days().max(0));
    let age = match days {
        None => "of unknown age".to_owned(),
        Some(days) => format!("{} old", counted(days, "day")),
    };
    let what = format!("{image} has {version}, {age}");
    match newest {
        Some(newest) if numbers(version) >= numbers(newest) => {
            section.ok(format!("{what}, the newest"));
        }
        Some(newest) => {
            section.warning(format!("{what}; the newest is {newest}"), Some(ADVICE));
        }
        None if days.is_none_or(|days| days >= OLD) => section.warning(what, Some(ADVICE)),
        None => section.ok(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::doctor::CheckLevel;

    fn told(made: Option<&str>, newest: Option<&str>) -> (CheckLevel, String) {
        let mut labels = HashMap::from([(VERSION.to_owned(), "2.337.0".to_owned())]);
        labels.extend(made.map(|made| (MADE.to_owned(), made.to_owned())));
        let program = program(&labels).expect("it says its version");
        let mut section = Section::new("x");
        let today = Date::constant(2026, 3, 2);
        tell(&mut section, &ImageRef::new("a:1"), &program, (newest, today));
        let check = section.checks.remove(0);
        (check.level, check.message)
    }

    #[test]
    fn a_program_is_old_in_time_to_do_something() {
        let young = "a:1 has 2.337.0, 19 days old".to_owned();
        assert_eq!(told(Some("2026-02-11"), None), (CheckLevel::Ok, young));
        let old = "a:1 has 2.337.0, 20 days old".to_owned();
        assert_eq!(told(Some("2026-02-10"), None), (CheckLevel::Warning, old));
        let months = "a:1 has 2.337.0, 60 days old".to_owned();
        assert_eq!(told(Some("2026-01-01"), None), (CheckLevel::Warning, months));
    }

    #[test]
    fn what_github_says_counts_more_than_age() {
        let newest = "a:1 has 2.337.0, 60 days old, the newest".to_owned();
        assert_eq!(told(Some("2026-01-01"), Some("2.337.0")), (CheckLevel::Ok, newest));
        let newer = Some("2.336.0");
        assert_eq!(told(Some("2026-03-02"), newer).0, CheckLevel::Ok, "GitHub was asked before");
        let missed = "a:1 has 2.337.0, 1 day old; the newest is 2.338.0".to_owned();
        assert_eq!(told(Some("2026-03-01"), Some("2.338.0")), (CheckLevel::Warning, missed));
    }

    #[test]
    fn an_age_that_is_not_known_is_said() {
        let unknown = "a:1 has 2.337.0, of unknown age".to_owned();
        assert_eq!(told(None, None), (CheckLevel::Warning, unknown.clone()));
        assert_eq!(told(Some("yesterday"), None), (CheckLevel::Warning, unknown));
        assert_eq!(program(&HashMap::new()), None);
    }
}
