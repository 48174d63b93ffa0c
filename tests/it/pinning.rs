//! Each runner gets exactly its own card, proved at the last place before the hardware: what the
//! runtime hands to NVIDIA's hook. The engine is real, the hook writes down what it was told.

use crate::nvidia_engine::{IMAGE, NvidiaEngine};

#[test]
fn the_bench_itself_an_engine_with_the_hook_takes_a_card_and_one_without_refuses_at_start() {
    let engine = NvidiaEngine::start();
    let run = ["run", "--rm", "--network=none", "--gpus", "device=GPU-1", IMAGE, "env"];
    let ran = engine.docker(&run);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let calls = engine.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].last("NVIDIA_VISIBLE_DEVICES"), Some("GPU-1"));
    engine.fail("nvidia-container-cli: device error: GPU-1: unknown device");
    let failed = engine.docker(&run);
    assert!(!failed.status.success());
    let told = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(told.contains("unknown device"), "{told}");
}
