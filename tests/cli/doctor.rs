//! What `doctor` tells of what reaches the operator: reports in a browser, and messages.

use std::collections::BTreeSet;

use slate_fleet::spec::{Notify, NotifyStyle, ReportServer, SecretSource};
use slate_fleet::supervisor::forge_report::{SecretReport, SecretUser};
use slate_fleet::supervisor::notifier::LastMessage;
use slate_fleet::units::Time;

use super::fake::NOW;
use super::program::Project;

/// A played fleet that shows reports and sends messages.
fn project() -> Project {
    let project = Project::new();
    project.fake.change(|world| {
        let listen = "127.0.0.1:9190".parse().expect("an address");
        world.spec.reports.server = Some(ReportServer { listen, url: None });
        world.spec.notify = Some(Notify {
            url: SecretSource::Variable("HOOK".to_owned()),
            style: NotifyStyle::Slack,
            events: BTreeSet::new(),
            queue_above: Notify::QUEUE_ABOVE,
            queue_for: Notify::QUEUE_FOR,
        });
    });
    project
}

fn secret(trouble: Option<&str>) -> SecretReport {
    SecretReport {
        source: "HOOK".to_owned(),
        of: SecretUser::Notify,
        trouble: trouble.map(str::to_owned),
        warning: None,
    }
}

#[tokio::test]
async fn doctor_says_that_reports_are_shown_and_messages_arrive() {
    let project = project();
    project.fake.change(|world| {
        world.message = Some(LastMessage { at: Time(NOW.0 - 90_000), trouble: None });
        world.report.secrets = vec![secret(None)];
    });
    let text = project.run("doctor").await.out();
    let folder = project.path().join(".slate/reports");
    for line in [
        format!("Reports\n  ok       {} is readable\n", folder.display()),
        "  ok       reports are shown at http://localhost:9190/\n".to_owned(),
        "Messages\n  ok       the last message arrived 1m30s ago\n".to_owned(),
        "Secrets\n  ok       HOOK is there (for notify)\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
}

#[tokio::test]
async fn doctor_names_a_report_server_that_is_shut_and_messages_that_do_not_arrive() {
    let project = project();
    project.fake.change(|world| {
        let trouble = Some("the webhook answered 404 Not Found".to_owned());
        world.message = Some(LastMessage { at: Time(NOW.0 - 5000), trouble });
        world.report.secrets = vec![secret(Some("HOOK is not set"))];
        world.shut = Some("Address already in use (os error 98)".to_owned());
        std::fs::remove_dir(&world.spec.reports.path).expect("it was there");
    });
    let ran = project.run("doctor --problems").await;
    assert_eq!(ran.code(), 1, "{}", ran.stderr);
    let text = ran.out();
    let folder = project.path().join(".slate/reports");
    for line in [
        format!("Reports\n  error    there is no plain file or folder {}\n", folder.display()),
        "  error    127.0.0.1:9190 is not open: Address already in use (os error 98)\n           \
         help: free the address"
            .to_owned(),
        "Messages\n  error    the last message did not arrive, 5s ago: the webhook answered 404 Not \
         Found\n           help: mend the address that `notify.url` names"
            .to_owned(),
        "  error    HOOK (for notify): HOOK is not set\n           help: set HOOK, then".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    assert!(!text.contains("is readable"), "only problems are shown: {text}");
}
