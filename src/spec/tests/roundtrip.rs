//! The rendered file loads to the same spec.

use std::num::NonZeroU32;

use super::*;
use crate::units::GpuMib;

const TEXTS: [&str; 12] = [
    "",
    "plain",
    "yes",
    "1",
    "1:30",
    "a: b",
    "#x",
    "${A} $$ $",
    "\"q\" \\ \n\t",
    "é ✓ \u{85}\u{7f}",
    " x ",
    "~",
];

fn gpu(side: u64, n: u64) -> Option<GpuDemand> {
    let (memory, sharing) = match side {
        0 => return None,
        1 => (GpuMib(1 + u32::try_from(n).unwrap_or(0)), GpuSharing::Shared),
        2 => (GpuMib(4000), GpuSharing::AtMost(3)),
        _ => (GpuMib(4000), GpuSharing::Exclusive),
    };
    Some(GpuDemand { memory, sharing })
}

/// Builds a fleet from a number, so that many unlike ones are tried without randomness.
pub(super) fn fleet(n: u64) -> Spec {
    let pick = |step: u64, sides: u64| (n / step.max(1) + n * step) % sides.max(1);
    let text = |step: u64| {
        TEXTS[usize::try_from(pick(step, TEXTS.len() as u64)).expect("a small number")].to_owned()
    };
    let mut spec = spec_of("version: 1\npools: [{name: a, profile: light}]\n");
    let gpu = gpu(pick(2, 4), n);
    let own = Profile {
        cpus: MilliCpu(10 + u32::try_from(pick(3, 5000)).unwrap_or(0)),
        memory: Bytes::mib(32 + n),
        gpu,
        labels: vec![format!("l{n}")],
        shm: Bytes(1 + n),
        env: BTreeMap::from([("A".to_owned(), text(1)), ("B".to_owned(), text(7))]),
        stop_grace: Duration::from_millis(pick(5, 3_600_000)),
        caches: caches(n),
        ..spec.profiles[&ProfileName::new("standard")].clone()
    };
    spec.profiles.insert(ProfileName::new("own"), own);
    let elastic = Elastic {
        min: u32::try_from(pick(3, 4)).unwrap_or(0),
        max: 5,
        scale_up_threshold: 3,
        scale_up_delay: Duration::from_millis(n * 37),
        scale_down_delay: Duration::from_secs(n),
        warm: u32::try_from(n % 3).unwrap_or(0),
    };
    spec.pools.push(Pool {
        name: PoolName::new("b"),
        profile: ProfileName::new("own"),
        size: if n.is_multiple_of(2) { PoolSize::Fixed(3) } else { PoolSize::Elastic(elastic) },
        runner_name: (n.is_multiple_of(3)).then(|| "r-{n}".to_owned()),
        reuse: if n.is_multiple_of(5) { Reuse::Persistent } else { Reuse::OneJob },
        spares: if n.is_multiple_of(5) { 0 } else { u32::try_from(n % 4).unwrap_or(0) },
        docker_healthcheck: (n.is_multiple_of(7)).then(|| Duration::from_secs(1 + n)),
        forge: None,
    });
    spec.pools.push(forge::pool(n));
    spec.forge = forge::policy(n);
    let pools = vec![PoolName::new("b"), PoolName::new("a")];
    let limit = NonZeroU32::new(u32::try_from(n % 3).unwrap_or(0));
    let lane = Lane { pools, priority: -3, limit };
    spec.lanes.insert(LaneName::new("l"), lane);
    spec.task_types.insert("docs".to_owned(), ProfileName::new("own"));
    spec.reports.keep = (n.is_multiple_of(2)).then(|| Duration::from_secs(60 + n));
    spec.reports.path = PathBuf::from(format!("/a b/$x/{n}"));
    spec.reports.server = report_server(n);
    spec.ca = (n % 3 == 1).then(|| PathBuf::from("/c: d"));
    spec.proxy = proxy(n);
    spec.notify = notify(n);
    if n.is_multiple_of(4) {
        spec.limits.overcommit_memory = Overcommit::Allow;
        spec.reports.sharing = ReportSharing::Shared;
    }
    spec
}

fn report_server(n: u64) -> Option<ReportServer> {
    (n % 3 == 2).then(|| ReportServer {
        listen: core::net::SocketAddr::from(([127, 0, 0, 1], 9190)),
        url: (n.is_multiple_of(2)).then(|| "https://reports.example.org:8443".to_owned()),
    })
}

fn caches(n: u64) -> BTreeMap<CacheName, Cache> {
    let cache = |index| Cache { path: format!("/c $ {index}").into(), size: Bytes::mib(1 + n) };
    (0..n % 3).map(|index| (CacheName::new(format!("c{index}")), cache(index))).collect()
}

fn notify(n: u64) -> Option<Notify> {
    (n % 5 == 1).then(|| Notify {
        url: SecretSource::Variable("HOOK".to_owned()),
        style: if n.is_multiple_of(2) { NotifyStyle::Slack } else { NotifyStyle::Json },
        events: NotifyEvent::ALL.into_iter().skip(usize::from(n.is_multiple_of(3))).collect(),
        queue_above: u32::try_from(n).unwrap_or(0),
        queue_for: Duration::from_millis(n * 41),
    })
}

fn proxy(n: u64) -> Option<Proxy> {
    (n % 3 == 2).then(|| Proxy {
        http: (n.is_multiple_of(2)).then(|| ProxyUrl::parse("http://p:3128").expect("a proxy")),
        https: Some(ProxyUrl::parse("https://[fd00::1]:3128/").expect("a proxy")),
        no_proxy: if n.is_multiple_of(4) { vec![".lan".to_owned()] } else { Vec::new() },
    })
}

#[test]
fn rendering_and_loading_is_the_identity() {
    for n in 0..400 {
        let spec = fleet(n);
        let text = render(&spec);
        let again = load_all(&[&text], &[]).unwrap_or_else(|found| panic!("{n}\n{text}\n{found}"));
        assert_eq!(again.spec, spec, "{n}\n{text}");
        assert!(again.warnings.is_empty(), "{}", again.warnings);
    }
}
