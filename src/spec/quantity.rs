//! Sizes, durations, CPUs and users as people write them, and back.
//!
//! Units are read as Docker and compose read them: every size is binary, so `512MB`, `512m` and
//! `512MiB` are the same. Specification 1's "512 MB" is the same size, too.

use std::time::Duration;

use super::{DockerAccess, ForkJobs, GpuRequestKind, GpuWatchdog};
use crate::units::{Bytes, GpuMib, MilliCpu};

use super::JobUser;

/// Longest duration: 10 years, so that sums of times never overflow.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// Sizes beyond this are typing mistakes.
const SIZE_MAX: u64 = 1 << 50;

/// Names of size units in lower case, with the power of two that each means.
const SIZE_UNITS: [(&str, u32); 14] = [
    ("b", 0),
    ("k", 10),
    ("kb", 10),
    ("kib", 10),
    ("m", 20),
    ("mb", 20),
    ("mib", 20),
    ("g", 30),
    ("gb", 30),
    ("gib", 30),
    ("t", 40),
    ("tb", 40),
    ("tib", 40),
    ("byte", 0),
];

/// Names of duration units with their milliseconds, the longest first.
const TIME_UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a size such as `512MiB`; the error says what is wrong with it.
pub(super) fn size(text: &str) -> Result<Bytes, String> {
    const RIGHT: &str = "write a size such as `512MiB`, `512m` or `1.5GiB`";
    let (number, unit) = split_unit(text);
    let thousandths = decimal(number).ok_or_else(|| format!("is no size; {RIGHT}"))?;
    if unit.is_empty() {
        return Err(format!("has no unit; write `{number}MiB` or `{number}GiB`"));
    }
    let unit = unit.to_ascii_lowercase();
    let shift = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, shift)| *shift)
        .ok_or_else(|| format!("has an unknown unit; {RIGHT}"))?;
    let bytes = (u128::from(thousandths) << shift) / 1000;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes <= SIZE_MAX => Ok(Bytes(bytes)),
        Ok(_) | Err(_) => Err("is larger than any machine's memory".to_owned()),
    }
}

/// Reads a duration such as `1h30m`; the error says what is wrong with it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const RIGHT: &str = "write a duration such as `30s`, `10m`, `1h30m`, `500ms` or `2d`";
    let mut rest = text.trim();
    let (mut total, mut last) = (0_u128, u64::MAX);
    while !rest.is_empty() {
        let (number, tail) = split_unit(rest);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let thousandths = decimal(number).ok_or_else(|| format!("is no duration; {RIGHT}"))?;
        if unit.is_empty() {
            return Err(format!("has no unit; write `{number}s` or `{number}m`"));
        }
        let millis = TIME_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, millis)| *millis)
            .filter(|millis| *millis < last)
            .ok_or_else(|| format!("is no duration; {RIGHT}"))?;
        total += u128::from(thousandths) * u128::from(millis) / 1000;
        (last, rest) = (millis, next);
    }
    if last == u64::MAX {
        return Err(format!("is no duration; {RIGHT}"));
    }
    let millis = u64::try_from(total).unwrap_or(u64::MAX);
    let duration = Duration::from_millis(millis);
    if duration > DURATION_MAX { Err("is longer than ten years".to_owned()) } else { Ok(duration) }
}

/// Reads CPUs: a number with at most three decimals.
pub(super) fn cpus(text: &str) -> Result<MilliCpu, String> {
    const RIGHT: &str = "write a number of CPUs such as `2` or `0.5`";
    let text = text.trim();
    if let Some(number) = text.strip_suffix('m').filter(|number| decimal(number).is_some()) {
        let share = decimal(number).unwrap_or_default() / 1000;
        let written = MilliCpu(u32::try_from(share).unwrap_or(u32::MAX));
        return Err(format!("has a unit; {RIGHT}, here `{written}`"));
    }
    let thousandths = decimal(text).ok_or_else(|| format!("is no number of CPUs; {RIGHT}"))?;
    match u32::try_from(thousandths) {
        Ok(milli @ 10..=1_024_000) => Ok(MilliCpu(milli)),
        Ok(_) | Err(_) => Err("is not between 0.01 and 1024 CPUs".to_owned()),
    }
}

/// `auto`, `nvidia` or `cdi`.
pub(super) fn gpu_request(text: &str) -> Result<GpuRequestKind, String> {
    match text {
        "auto" => Ok(GpuRequestKind::Auto),
        "nvidia" => Ok(GpuRequestKind::Nvidia),
        "cdi" => Ok(GpuRequestKind::Cdi),
        _ => Err("is no way to ask for a card; write `auto`, `nvidia` or `cdi`".to_owned()),
    }
}

/// `off`, `warn` or `kill`.
pub(super) fn watchdog(text: &str) -> Result<GpuWatchdog, String> {
    match text {
        "off" => Ok(GpuWatchdog::Off),
        "warn" => Ok(GpuWatchdog::Warn),
        "kill" => Ok(GpuWatchdog::Kill),
        _ => Err("is nothing that the watchdog does; write `off`, `warn` or `kill`".to_owned()),
    }
}

/// Reads whether jobs reach the host's engine.
pub(super) fn docker(text: &str) -> Result<DockerAccess, String> {
    match text {
        "none" => Ok(DockerAccess::None),
        "socket" => Ok(DockerAccess::Socket),
        _ => Err("is no access to the engine; write `none` or `socket`".to_owned()),
    }
}

/// Reads whether jobs from forks are served.
pub(super) fn forks(text: &str) -> Result<ForkJobs, String> {
    match text {
        "deny" => Ok(ForkJobs::Deny),
        "allow" => Ok(ForkJobs::Allow),
        _ => {
            Err("is nothing that is done with jobs from forks; write `deny` or `allow`".to_owned())
        }
    }
}

/// Reads GPU memory: a size, or a number of MiB as NVML's tools print it.
pub(super) fn gpu_memory(text: &str) -> Result<GpuMib, String> {
    let text = text.trim();
    let mib = if let Ok(mib) = text.parse::<u64>() {
        mib
    } else {
        let bytes = size(text).map_err(|_| {
            "is no GPU memory; write MiB as a number such as `8000`, or a size such as `8GiB`"
                .to_owned()
        })?;
        bytes.0 >> 20
    };
    match u32::try_from(mib) {
        Ok(mib @ 1..=1_048_576) => Ok(GpuMib(mib)),
        Ok(_) | Err(_) => Err("is not between 1 MiB and 1 TiB".to_owned()),
    }
}

/// Reads `uid` or `uid:gid`; without a group it is the user's number.
pub(super) fn user(text: &str) -> Result<JobUser, String> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => Ok(JobUser { uid, gid }),
        (Ok(_) | Err(_), Err(_)) | (Err(_), Ok(_)) => {
            Err("is no numeric user; write `uid` or `uid:gid` such as `1000:1000`, because a name \
             would be resolved by the image"
                .to_owned())
        }
    }
}

/// A duration as the file would say it, such as `1h30m`; exact to the millisecond.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut shown = String::new();
    // Weeks are left out: `30d` is what people write.
    for (unit, millis) in TIME_UNITS.iter().skip(1) {
        let count = rest / millis;
        rest %= millis;
        if count > 0 {
            shown.push_str(&format!("{count}{unit}"));
        }
    }
    shown
}

/// A size as the file would say it; exact.
pub(super) fn show_size(bytes: Bytes) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let exact = UNITS.iter().find(|(_, shift)| bytes.0 > 0 && bytes.0.trailing_zeros() >= *shift);
    match exact {
        Some((unit, shift)) => format!("{}{unit}", bytes.0 >> shift),
        None => format!("{}B", bytes.0),
    }
}

/// Splits `1.5GiB` into `1.5` and `GiB`.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// A decimal with at most three places, in thousandths; no sign, no exponent.
fn decimal(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let thousandths: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_as_in_docker() {
        let table = [
            ("512MiB", 512 << 20),
            ("512MB", 512 << 20),
            ("512m", 512 << 20),
            ("2GB", 2 << 30),
            ("2 GiB", 2 << 30),
            ("1.5GiB", 3 << 29),
            ("64k", 64 << 10),
            ("1TiB", 1 << 40),
            ("1024b", 1024),
        ];
        for (text, bytes) in table {
            assert_eq!(size(text), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn a_bad_size_says_what_would_be_right() {
        let table = [
            ("512", "has no unit; write `512MiB` or `512GiB`"),
            ("512XB", "has an unknown unit; write a size such as `512MiB`, `512m` or `1.5GiB`"),
            ("much", "is no size; write a size such as `512MiB`, `512m` or `1.5GiB`"),
            ("-1GiB", "is no size; write a size such as `512MiB`, `512m` or `1.5GiB`"),
            ("9999999TiB", "is larger than any machine's memory"),
            (
                "99999999999999999999GiB",
                "is no size; write a size such as `512MiB`, `512m` or `1.5GiB`",
            ),
        ];
        for (text, message) in table {
            assert_eq!(size(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_are_read_and_printed_alike() {
        let table = [
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("2d", 172_800_000),
            ("1s500ms", 1500),
            ("0s", 0),
        ];
        for (text, millis) in table {
            let read = duration(text);
            assert_eq!(read, Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1w"), Ok(Duration::from_secs(604_800)));
        for bad in ["30", "", "s", "10 minutes", "1m1h", "1s1s", "-1s", "99999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("30"), Err("has no unit; write `30s` or `30m`".to_owned()));
    }

    #[test]
    fn sizes_print_exactly() {
        for bytes in [1, 1023, 1024, 1536, 3 << 29, 512 << 20, 1 << 40, (1 << 40) + 1] {
            assert_eq!(size(&show_size(Bytes(bytes))), Ok(Bytes(bytes)));
        }
        assert_eq!(show_size(Bytes::gib(24)), "24GiB");
        assert_eq!(show_size(Bytes(3 << 29)), "1536MiB");
    }

    #[test]
    fn cpus_and_users_and_gpu_memory_are_read() {
        assert_eq!(cpus("0.25"), Ok(MilliCpu(250)));
        assert_eq!(cpus("8"), Ok(MilliCpu(8000)));
        assert!(cpus("0").is_err() && cpus("1.2345").is_err() && cpus("2000").is_err());
        let unit = "has a unit; write a number of CPUs such as `2` or `0.5`, here `0.5`";
        assert_eq!(cpus("500m"), Err(unit.to_owned()));
        assert_eq!(gpu_memory("8000"), Ok(GpuMib(8000)));
        assert_eq!(gpu_memory("8GiB"), Ok(GpuMib(8192)));
        assert!(gpu_memory("0").is_err() && gpu_memory("lots").is_err());
        assert_eq!(user("1000"), Ok(JobUser { uid: 1000, gid: 1000 }));
        assert_eq!(user("1000:50"), Ok(JobUser { uid: 1000, gid: 50 }));
        assert!(user("runner").is_err() && user("1000:").is_err());
    }
}
