//! The API holds to its own description, on a real supervisor: schemathesis asks by it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fleet::Fleet;
use crate::http::over_port;
use crate::process;

/// The same questions each time.
const SEED: &str = "20260208";

/// What would end the fleet under test or make another one of it, waits for a runner, follows, or
/// takes a body that schemathesis cannot make.
const NOT_ASKED: [&str; 8] = [
    "/api/v1/down",
    "/api/v1/spec",
    "/api/v1/run",
    "/api/v1/assign",
    "/api/v1/stream",
    "/dashboard/{file}",
    "/api/v1/blobs",
    "/api/v1/jobs/batch",
];

/// A fleet that cannot grow, whatever it is asked for.
const SMALL: &str = "\
pools: [{name: light, profile: light, spares: 0}]
limits: {scale_max: 2}
";

/// No request waits or follows: each question is answered at once.
const SETTINGS: &str = "\
[parameters]
follow = false
wait_seconds = 0
";

fn schemathesis() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    assert!(path.exists(), "{} is missing; run scripts/schemathesis", path.display());
    path
}

#[test]
fn every_answer_is_in_the_description_and_none_is_a_500() {
    let program = schemathesis();
    let fleet = Fleet::new(SMALL);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    fleet.cli(&["up", "-d", "--listen", &address]).ok();
    let token = fleet.cli(&["token", "create", "--role", "admin", "--expires", "1h"]).ok().word();
    fleet.write("schemathesis.toml", SETTINGS);
    let mut command = Command::new(program);
    command.current_dir(fleet.folder()).args(["--config-file", "schemathesis.toml", "run"]);
    command.arg(format!("http://{address}/api/v1/openapi.json"));
    command.args(["--seed", SEED, "--max-examples", "4", "--workers", "2", "--no-shrink"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--request-timeout", "20"]);
    command.args(["--checks", CHECKS, "--header", &format!("Authorization: Bearer {token}")]);
    command.args(["--max-time", "90", "--suppress-health-check", "all", "--warnings", "off"]);
    for path in NOT_ASKED {
        command.args(["--exclude-path", path]);
    }
    let told = process::run(command);
    assert_eq!(told.code, 0, "{}\n{}", told.out(), told.err());
    assert_eq!(over_port(&address, "localhost", "/healthz").expect("an answer").status, 200);
    fleet.cli(&["ps"]).ok();
}

/// That a wrong request is refused and a right one taken depends on the fleet, and is not asked.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method,\
                      allow_header_conformance";
