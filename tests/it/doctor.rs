//! `doctor` on the real engine: what it tells of reports and messages that reach nobody.

use std::net::TcpListener;

use crate::fleet::{Fleet, GATE, open_gate};
use crate::http::free_address;
use crate::process::wait_until;

#[test]
fn doctor_names_a_taken_report_address_and_a_webhook_that_is_not_there() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let reports = taken.local_addr().expect("an address");
    let nobody = free_address();
    let fleet = Fleet::new(&format!(
        "pools: [{{name: light, profile: light, spares: 0}}]\n\
         reports: {{listen: \"{reports}\"}}\n\
         notify: {{url: {{env: HOOK}}, queue_above: 0, queue_for: 0s}}\n"
    ));
    fleet.cli(&["up", "-d"]).ok();
    let problems = || fleet.cli(&["doctor", "--problems"]).out();
    wait_until("the shut door is told", || {
        problems().contains(&format!("  error    {reports} is not open: "))
    });
    let told = problems();
    assert!(told.contains("  error    HOOK (for notify): HOOK is not set"), "{told}");
    fleet.write(".env", format!("HOOK=http://{nobody}/services/the-secret-part\n"));
    wait_until("the secret is there", || !problems().contains("HOOK is not set"));
    let job = fleet.submit(GATE);
    fleet.wait_for_status(&job, "running");
    fleet.submit("true");
    wait_until("the lost message is told", || {
        problems().contains("Messages\n  error    the last message did not arrive, ")
    });
    let told = problems();
    assert!(!told.contains("the-secret-part"), "{told}");
    drop(taken);
    wait_until("the door is open by itself", || {
        fleet
            .cli(&["doctor"])
            .out()
            .contains(&format!("reports are shown at http://localhost:{}/", reports.port()))
    });
    open_gate(&fleet.containers()[0]);
}
