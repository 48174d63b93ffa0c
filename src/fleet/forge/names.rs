//! Names of runners at their forge.
//!
//! A one-job runner's name ends with its incarnation and the fleet's id, so that it is never used
//! twice, and an entry that this fleet left behind is known for its own.

use super::fact::WorkFact;
use crate::ids::{FleetId, IncarnationId, PoolName, ProjectName, folder_name};

/// GitHub takes no longer one.
const NAME_MAX: usize = 64;
/// Digits of the fleet's id in a name.
const MARK: usize = 8;

/// The name of a one-job runner.
pub(in crate::fleet) fn one_job(
    (project, pool): (&ProjectName, &PoolName),
    id: IncarnationId,
    fleet: &FleetId,
) -> String {
    let tail = format!("-{id}-{}", mark(fleet));
    let head = plain(&format!("{project}-{pool}"));
    let head: String = head.chars().take(NAME_MAX.saturating_sub(tail.len())).collect();
    format!("{head}{tail}")
}

/// The incarnation of a name that this fleet gave.
pub(in crate::fleet) fn incarnation(name: &str, fleet: &FleetId) -> Option<IncarnationId> {
    let head = name.strip_suffix(&mark(fleet))?.strip_suffix('-')?;
    let (_, id) = head.rsplit_once('-')?;
    let id = id.strip_prefix('i')?;
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok().map(IncarnationId))?
}

/// Eight hexadecimal digits that stand for a fleet.
fn mark(fleet: &FleetId) -> String {
    let text = fleet.as_str();
    match text.get(..MARK) {
        Some(head) if head.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) => {
            head.to_owned()
        }
        _ => {
            let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
            hash.as_ref().iter().take(MARK / 2).map(|byte| format!("{byte:02x}")).collect()
        }
    }
}

/// Only what may stand in a name.
fn plain(text: &str) -> String {
    let one = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => c,
        _ => '-',
    };
    text.chars().map(one).collect()
}

/// Where a job's reports are, `workflow/run`, as its agent names the folders; none where its run is
/// not known.
#[must_use]
pub fn reports(work: &WorkFact) -> Option<String> {
    let run = work.run?;
    Some(format!("{}/{run}", folder_name(work.workflow.as_deref().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ForgeRunId;

    #[test]
    fn a_name_is_plain_short_and_known_for_its_own() {
        let fleet = FleetId::new("0123456789abcdef");
        let name = |project: &str, pool: &str, id| {
            let (project, pool) = (ProjectName::new(project), PoolName::new(pool));
            one_job((&project, &pool), IncarnationId(id), &fleet)
        };
        assert_eq!(name("homelab", "ci", 17), "homelab-ci-i17-01234567");
        assert_eq!(name("büro", "a b", 1), "b-ro-a-b-i1-01234567");
        let long = name(&"p".repeat(63), &"q".repeat(63), u64::MAX);
        assert_eq!(long.len(), NAME_MAX);
        assert_eq!(incarnation(&long, &fleet), Some(IncarnationId(u64::MAX)));
        assert_eq!(incarnation("homelab-ci-i17-01234567", &fleet), Some(IncarnationId(17)));
        let others = [
            "homelab-ci-i17-01234568",
            "homelab-ci-17-01234567",
            "homelab-ci-i+7-01234567",
            "homelab-runner-1",
            "i17-01234567",
            "",
        ];
        for other in others {
            assert_eq!(incarnation(other, &fleet), None, "{other}");
        }
    }

    #[test]
    fn a_fleet_of_another_kind_of_id_has_a_mark_all_the_same() {
        assert_eq!(mark(&FleetId::new("f1")).len(), MARK);
        assert_ne!(mark(&FleetId::new("f1")), mark(&FleetId::new("f2")));
        assert_eq!(mark(&FleetId::new("日本語の名前です")).len(), MARK);
    }

    #[test]
    fn reports_are_in_folders_that_no_name_leads_out_of() {
        let of = |workflow: &str| {
            let workflow = Some(workflow.to_owned());
            reports(&WorkFact { workflow, run: Some(ForgeRunId(7)), ..WorkFact::default() })
        };
        assert_eq!(of("Build & Test").as_deref(), Some("Build---Test/7"));
        assert_eq!(of("../../etc").as_deref(), Some("-..-etc/7"));
        assert_eq!(of("..").as_deref(), Some("jobs/7"));
        assert_eq!(reports(&WorkFact::default()), None);
    }
}
