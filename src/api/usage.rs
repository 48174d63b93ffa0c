//! How busy the host is, for the utilisation that specification 1 shows.

use std::sync::{Mutex, PoisonError};

use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, System};
use tokio::time::Instant;

/// The host's CPU use between two looks.
pub(super) struct HostUsage(Mutex<Sample>);

struct Sample {
    /// None where the system's figures cannot be read; then no use is reported.
    system: Option<System>,
    at: Instant,
}

impl HostUsage {
    /// Takes the first look; use is known from the second on.
    pub(super) fn new() -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
        }
        Self(Mutex::new(Sample { system, at: Instant::now() }))
    }

    /// Percent of all CPUs in use since the last look that was long enough ago.
    pub(super) fn cpu_percent(&self) -> Option<u32> {
        let mut sample = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Sample { system, at } = &mut *sample;
        let system = system.as_mut()?;
        if at.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL {
            system.refresh_cpu_usage();
            *at = Instant::now();
        }
        Some(rounded_percent(system.global_cpu_usage()))
    }
}

/// A percentage between 0 and 100; a gauge that is not a number reads as 0.
#[expect(clippy::cast_possible_truncation, reason = "clamped to 0..=100 before")]
#[expect(clippy::cast_sign_loss, reason = "clamped to 0..=100 before")]
fn rounded_percent(percent: f32) -> u32 {
    percent.clamp(0.0, 100.0).round() as u32
}
