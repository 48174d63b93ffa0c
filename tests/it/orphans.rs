//! What jobs leave behind in a container that serves many of them.

use crate::fleet::Fleet;
use crate::process::wait_until;

/// A fifth of what the rule says, five times as much each: 200 jobs with 5 orphans are 1,000.
const JOBS: usize = 200;

const KEEPER: &str = "pools: [{name: keeper, profile: light, spares: 0, ephemeral: false}]\n";

/// Every process of the container with its state.
const STATES: &str = "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) \\(.\\).*/\\1/'";

// Pain 53.
#[test]
fn a_thousand_orphans_leave_no_defunct_process() {
    let fleet = Fleet::up(KEEPER);
    let container = fleet.containers()[0].clone();
    // Each inner shell ends at once, and its child, which nobody waits for, a moment later.
    let script = "for i in 1 2 3 4 5; do sh -c '(sleep 0.01; exit 3) &'; done";
    let jobs: Vec<String> = (0..JOBS).map(|_| fleet.submit(script)).collect();
    for job in &jobs {
        fleet.wait_for_status(job, "succeeded");
    }
    assert_eq!(fleet.containers(), [container.as_str()], "the container was replaced");
    wait_until("only the agent is left, and nothing defunct", || {
        let states = fleet.docker(&["exec", &container, "sh", "-c", STATES]).ok().lines();
        // The agent, and the three programs that look.
        states.len() <= 4 && !states.iter().any(|state| state == "Z")
    });
}
