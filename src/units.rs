//! Quantities with their unit in the type.

pub mod words;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since the Unix epoch, as the supervisor's clock gave it.
///
/// The core never reads a clock; it is told what time it is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "fleet", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The time that has passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The time `span` earlier; the beginning of time at the earliest.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Memory or disk, in bytes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "fleet", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `n` binary mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// `n` binary gibibytes.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n * 1024 * 1024 * 1024)
    }
}

impl fmt::Display for Bytes {
    /// The largest binary unit that loses nothing, else one decimal of the largest that fits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] =
            [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (name, size) in UNITS {
            if self.0 >= size {
                let tenths = self.0 % size * 10 / size;
                return match tenths {
                    0 => f.pad(&format!("{}{name}", self.0 / size)),
                    _ => f.pad(&format!("{}.{tenths}{name}", self.0 / size)),
                };
            }
        }
        f.pad(&format!("{}B", self.0))
    }
}

/// GPU memory, in the unit that NVML's tools print (binary mebibytes).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "fleet", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct GpuMib(pub u32);

impl GpuMib {
    /// What is left of it without `other`; nothing if that is more.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Processor time, in thousandths of one CPU.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "fleet", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct MilliCpu(pub u32);

impl MilliCpu {
    /// `n` whole CPUs.
    #[must_use]
    pub const fn cpus(n: u32) -> Self {
        Self(n * 1000)
    }

    /// Whole CPUs that a program inside should see: rounded up, at least one.
    #[must_use]
    pub fn visible(self) -> u32 {
        self.0.div_ceil(1000).max(1)
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => f.pad(&(self.0 / 1000).to_string()),
            _ => f.pad(format!("{:.3}", f64::from(self.0) / 1000.0).trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_in_the_unit_that_people_wrote() {
        assert_eq!(Bytes::mib(512).to_string(), "512MiB");
        assert_eq!(Bytes::gib(24).to_string(), "24GiB");
        assert_eq!(Bytes(1_610_612_736).to_string(), "1.5GiB");
        assert_eq!(MilliCpu(1500).to_string(), "1.5");
        assert_eq!(MilliCpu(250).visible(), 1);
    }
}
