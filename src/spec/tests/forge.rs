//! Pools that take a forge's jobs.

use super::*;
use crate::ids::ScopeUrl;

const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };

fn github(keys: &str) -> String {
    format!("version: 1\npools: [{{name: a, profile: light, {keys}}}]\n")
}

fn forge_of(keys: &str) -> ForgePool {
    let pool = spec_of(&github(keys)).pools.remove(0);
    pool.forge.expect("it has a forge")
}

/// A pool for the round trip, made from a number.
pub(super) fn pool(n: u64) -> Pool {
    let sources = [
        SecretSource::Variable("GITHUB_PAT".to_owned()),
        SecretSource::File(PathBuf::from("/srv/a b/$x.pem")),
        SecretSource::Command(vec!["pass".to_owned(), "show a: b".to_owned(), String::new()]),
        SecretSource::Vault(VaultSecret {
            address: "https://vault.example:8200/v".to_owned(),
            path: "secret/data/github".to_owned(),
            field: "pat: $x".to_owned(),
            token_env: "VAULT_TOKEN".to_owned(),
        }),
    ];
    let source = sources[usize::try_from(n % 4).expect("small")].clone();
    let installation = n.is_multiple_of(2).then_some(n + 1);
    let (kind, access) = match n % 5 {
        0 => (ForgeKind::Github, ForgeAccess::Tokens("RUNNER_TOKEN_{n}".to_owned())),
        1 => (ForgeKind::Github, ForgeAccess::Personal(source)),
        2 => (ForgeKind::Gitea, ForgeAccess::Personal(source)),
        _ => {
            let id = if n % 5 == 3 { "Iv23.x".to_owned() } else { n.to_string() };
            (ForgeKind::Github, ForgeAccess::App(ForgeApp { id, installation, key: source }))
        }
    };
    let kept = matches!(access, ForgeAccess::Tokens(_));
    let base = ["self-hosted", "slate", "light", "cpu-only", "linux", ARCHITECTURE];
    let bare = n % 7 == 3;
    let base: &[&str] = if bare { &["bare", "linux"] } else { &base };
    let mut labels: Vec<String> = base.iter().map(|label| (*label).to_owned()).collect();
    labels.extend((0..n % 3).map(|label| format!("l{label}")));
    let of_repository = n.is_multiple_of(3);
    let many = |item: &str| if of_repository { vec![] } else { vec![item.to_owned()] };
    let forge = ForgePool {
        kind,
        scope: ScopeUrl::new(match of_repository {
            true => "https://git.example/acme/site",
            false => "https://git.example/acme",
        }),
        access,
        labels,
        group: (kind == ForgeKind::Github && !of_repository).then(|| "a group: 1".to_owned()),
        repositories: many("acme/site"),
        fork_jobs: match kind {
            ForgeKind::Github if n.is_multiple_of(2) => ForkJobs::Deny,
            ForgeKind::Github | ForgeKind::Gitea => ForkJobs::Allow,
        },
    };
    Pool {
        name: PoolName::new("forge"),
        reuse: if kept { Reuse::Persistent } else { Reuse::OneJob },
        spares: u32::from(!kept),
        docker_healthcheck: kept.then_some(Duration::from_secs(30)),
        forge: Some(forge),
        ..Pool::plain("light", 2)
    }
}

pub(super) fn policy(n: u64) -> ForgePolicy {
    let name = |name: &str| SecretSource::Variable(name.to_owned());
    let webhook = n.is_multiple_of(2).then(|| Webhook {
        listen: "127.0.0.1:9180".to_owned(),
        secrets: match n.is_multiple_of(3) {
            true => vec![name("HOOK")],
            false => vec![name("HOOK"), name("OLD_HOOK")],
        },
    });
    ForgePolicy {
        github_api: (n % 3 == 1).then(|| "https://git.example/api/v3".to_owned()),
        poll: Duration::from_secs(5 + n),
        webhook,
    }
}

#[test]
fn four_homelab_runners_with_their_own_tokens() {
    let text = "version: 1\nproject: homelab\npools:\n  - name: homelab\n    profile: standard\n    \
                count: 4\n    runner_name: homelab-runner-{n}\n    github:\n      url: \
                https://GitHub.com/me/site/\n      token_env: RUNNER_TOKEN_{n}\n      labels: \
                [Site, LINUX]\n";
    let loaded = load_all(&[text], &[]).expect("it should load");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let pool = loaded.spec.pools.first().expect("a pool");
    assert_eq!((pool.reuse, pool.spares), (Reuse::Persistent, 0));
    assert_eq!(pool.docker_healthcheck, Some(Duration::from_secs(30)));
    let forge = pool.forge.as_ref().expect("a forge");
    assert_eq!(forge.scope.as_str(), "https://github.com/me/site");
    assert_eq!(forge.access, ForgeAccess::Tokens("RUNNER_TOKEN_{n}".to_owned()));
    let labels = ["self-hosted", "slate", "standard", "cpu-only", "linux", ARCHITECTURE, "Site"];
    assert_eq!(forge.labels, labels);
    assert_eq!(forge.fork_jobs, ForkJobs::Deny);
    assert!(loaded.render_masked().contains("labels: [Site]"), "{}", loaded.render_masked());
}

#[test]
fn a_built_in_profile_can_be_asked_for_by_its_name() {
    let labels = |profile: &str| {
        let text = "version: 1\nprofiles: {own: {cpus: 1, memory: 1GiB, labels: [x]}}\npools: [{name: a, \
                    profile: @, github: {url: https://github.com/a, pat: {env: P}}}]\n";
        let pool = spec_of(&text.replace('@', profile)).pools.remove(0);
        pool.forge.expect("a forge").labels.join(" ")
    };
    let end = format!("linux {ARCHITECTURE}");
    let gpu = format!("self-hosted slate gpu gpu-light cuda gpu_light {end}");
    assert_eq!(labels("gpu_light"), gpu);
    assert_eq!(labels("light"), format!("self-hosted slate light cpu-only {end}"));
    assert_eq!(labels("own"), format!("self-hosted x {end}"));
}

/// Operators' pain 75: a pool takes any set of labels, with the usual defaults on or off.
#[test]
fn a_pool_can_have_its_own_labels_alone() {
    let github = "github: {url: https://github.com/a, pat: {env: P}, default_labels: false";
    let gitea =
        "gitea: {url: https://g.e, token: {env: T}, fork_jobs: allow, default_labels: false";
    for place in [github, gitea] {
        let forge = forge_of(&format!("{place}, labels: [ubuntu-latest, LINUX]}}"));
        assert_eq!(forge.labels, ["ubuntu-latest", "LINUX"]);
    }
    assert_eq!(forge_of(&format!("{}}}", github.replace("false", "true"))).labels.len(), 6);
}

#[test]
fn the_api_registers_runners_for_one_job_each() {
    let text = github(
        "max_runners: 20, min_runners: 0, github: {url: https://github.com/acme, \
                       app: {id: 12, key: {file: ./x.pem}}, group: trusted, repositories: \
                       [acme/site], fork_jobs: allow}",
    );
    let pool = spec_of(&text).pools.remove(0);
    assert_eq!((pool.reuse, pool.docker_healthcheck), (Reuse::OneJob, None));
    let forge = pool.forge.expect("a forge");
    let key = SecretSource::File(PathBuf::from("/srv/slate/x.pem"));
    let app = ForgeApp { id: "12".to_owned(), installation: None, key };
    assert_eq!(forge.access, ForgeAccess::App(app));
    assert_eq!((forge.group.as_deref(), forge.fork_jobs), (Some("trusted"), ForkJobs::Allow));
    let pat = forge_of("github: {url: https://github.com/a/b.git, pat: {command: [./get, x]}}");
    assert_eq!(pat.scope.as_str(), "https://github.com/a/b");
    let command = vec!["/srv/slate/get".to_owned(), "x".to_owned()];
    assert_eq!(pat.access, ForgeAccess::Personal(SecretSource::Command(command)));
    let whole = forge_of(
        "gitea: {url: 'https://git.example:3000/', token: {env: GITEA}, fork_jobs: allow}",
    );
    assert_eq!((whole.kind, whole.scope.as_str()), (ForgeKind::Gitea, "https://git.example:3000"));
    let big = forge_of("github: {url: https://github.com/enterprises/big, pat: {env: P}}");
    assert_eq!(big.scope.as_str(), "https://github.com/enterprises/big");
}

#[test]
fn webhooks_polling_and_the_api_have_one_place() {
    let text = "version: 1\npools: [{name: a, profile: light}]\ngithub:\n  api_url: \
                http://127.0.0.1:8080/api/\n  poll: 1m\n  webhook: {listen: 'localhost:9180', \
                secret_env: HOOK, old_secret_env: OLD_HOOK}\n";
    let loaded = load_all(&[text], &[]).expect("it should load");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let policy = loaded.spec.forge;
    assert_eq!(policy.github_api.as_deref(), Some("http://127.0.0.1:8080/api"));
    assert_eq!(policy.poll, Duration::from_secs(60));
    assert_eq!(policy.webhook.map(|hook| hook.secrets.len()), Some(2));
}

#[test]
fn every_check_of_a_forge_has_its_message() {
    let at = |keys: &str| format!("github: {{url: https://github.com/a/b, {keys}}}");
    let of = |keys: &str| format!("github: {{url: https://github.com/a, pat: {{env: P}}, {keys}}}");
    let by = |place: &str| at(&format!("pat: {place}"));
    let table = [
        ("github: {token_env: T}".to_owned(), "`pools[0].github` has no `url`"),
        ("github: {url: x, token_env: T}".to_owned(), "`x` is no address"),
        ("github: {url: https://github.com, token_env: T}".to_owned(), "is no place to register"),
        ("github: {url: https://a.b/c/d/e, token_env: T}".to_owned(), "is no place to register"),
        ("github: {url: http://github.com/a/b, pat: {env: P}}".to_owned(), "with `https://`"),
        (at(""), "nothing says by what right these runners register"),
        (at("token_env: T, pat: {env: P}"), "`token_env` and `pat` are two rights"),
        (at("token_env: 'a b'"), "this is no name of a variable"),
        (at("token_env: T") + ", count: 4", "4 runners would share the variable `T`"),
        (at("token_env: T") + ", ephemeral: true", "its tokens are good for an hour"),
        (at("pat: {env: P}") + ", ephemeral: false", "`app` or `token` have one job"),
        (at("pat: {env: P}") + ", runner_name: r", "for one job have a new name each"),
        (at("pat: {env: P}") + ", gitea: {url: https://g.e, token: {env: T}}", "one forge"),
        (at("pat: {env: P}, group: g"), "a repository has no runner groups"),
        (of("repositories: [b]"), "`b` is no repository"),
        (of("repositories: [c/b]"), "`c/b` is no repository of `a`"),
        (at("pat: {env: P}, repositories: [a/b]"), "`url` is one repository already"),
        (at("pat: {env: P}, fork_jobs: hold"), "write `deny` or `allow`"),
        (by("{}"), "nothing says where the secret is"),
        (by("{env: P, file: x}"), "`env` and `file` are two places of one secret"),
        (by("{command: []}"), "this is no program with its arguments"),
        (by("{file: ''}"), "nothing says where the secret is"),
        (by("{file: x/}"), "this is no path of a file"),
        (by("{fil: x}"), "did you mean `file`?"),
        (by("{vault: {address: x, path: a/b, field: f}}"), "`x` is no address"),
        (by("{vault: {address: https://v, path: b, field: f}}"), "no path of a secret in Vault"),
        (by("{vault: {address: https://v, path: a/b}}"), "has no `field`"),
        (at("app: {key: {file: x}}"), "`pools[0].github.app` has no `id`"),
        (at("app: {id: 'a b', key: {file: x}}"), "this is no id of a GitHub App"),
        (at("app: {id: 1, key: {file: x}, instalation: 3}"), "did you mean `installation`?"),
        (at("pat: {env: P}, default_labels: false"), "no label is left"),
        (at("token_envv: T"), "did you mean `token_env`?"),
        (
            "github: {url: https://github.com/enterprises/a, app: {id: 1, key: {file: x}}}"
                .to_owned(),
            "on an enterprise cannot be looked up",
        ),
        ("gitea: {url: https://g.e}".to_owned(), "`pools[0].gitea` has no `token`"),
        ("gitea: {url: https://g.e, token: {env: T}}".to_owned(), "write `fork_jobs: allow`"),
        (
            "gitea: {url: https://g.e, token: {env: T}, fork_jobs: deny}".to_owned(),
            "cannot be kept from a runner of Gitea or Forgejo",
        ),
    ];
    for (keys, message) in table {
        let shown = errors_of(&github(&keys));
        assert!(shown.contains(message), "{keys}\nshould say {message}:\n{shown}");
    }
}

#[test]
fn every_check_of_what_is_said_to_all_forges_has_its_message() {
    let base = "version: 1\npools: [{name: a, profile: light}]\n";
    let table = [
        ("github: {poll: 1s}", "write something from `5s` to `1h`"),
        ("github: {api_url: github.com}", "`github.com` is no address"),
        ("github: {webhook: {secret_env: S}}", "has no `listen`"),
        ("github: {webhook: {listen: '127.0.0.1', secret_env: S}}", "no address and port"),
        ("github: {webhook: {listen: '127.0.0.1:1'}}", "has no `secret_env`"),
        ("github: {token: x}", "this looks like a secret"),
        ("profiles: {light: {docker: yes}}", "write `none` or `socket`"),
    ];
    for (text, message) in table {
        let shown = errors_of(&format!("{base}{text}\n"));
        assert!(shown.contains(message), "{text}\nshould say {message}:\n{shown}");
    }
}

#[test]
fn a_secret_in_the_place_of_its_name_is_refused_and_shown_nowhere() {
    let at = |keys: &str| github(&format!("github: {{url: https://github.com/a/b, {keys}}}"));
    let block = |lines: &str| {
        format!(
            "version: 1\npools:\n  - name: a\n    profile: light\n    github:\n      url: \
             https://github.com/a/b\n      {lines}\n"
        )
    };
    let registration = "ABHUNTER2XXJLMNOP3QRSTUVWXYZA";
    for text in [
        at("pat: hunter2"),
        at("pat: 'hunter2 x'"),
        at("pat: {value: hunter2}"),
        at("pat: {env: 'hunter2-x'}"),
        at("token_env: 'hunter2-x'"),
        at(&format!("token_env: {registration}")),
        at(&format!("pat: {{env: {registration}}}")),
        at("app: {id: 1, key: hunter2}"),
        at("app: {id: 1, private_key: hunter2}"),
        block("pat: hunter2"),
        block("pat:\n        is: hunter2"),
        block("pat:\n        env: hunter2-x"),
        block("app:\n        id: 1\n        key: hunter2"),
        github("gitea: {url: https://g.e, token: hunter2}"),
    ] {
        let shown = errors_of(&text);
        let lower = shown.to_lowercase();
        assert!(!lower.contains("hunter2"), "{text}\n{shown}");
        assert!(shown.contains("secret"), "{text}\n{shown}");
    }
}

#[test]
fn pools_of_one_forge_agree() {
    let pools = |second: &str| {
        format!(
            "version: 1\npools:\n  - {{name: a, profile: light, github: {{url: \
             https://github.com/a, pat: {{env: P}}}}}}\n  - {{name: b, profile: light, github: \
             {{url: https://github.com/a, {second}}}}}\n"
        )
    };
    assert!(errors_of(&pools("pat: {env: Q}")).contains("by two rights"));
    for second in ["pat: {env: P}, labels: [x]", "token_env: T"] {
        assert_eq!(spec_of(&pools(second)).pools.len(), 2);
    }
    let lane = format!("{}lanes: {{l: {{pools: [a]}}}}\n", pools("token_env: T"));
    assert!(errors_of(&lane).contains("the pool `a` takes a forge's jobs, and no lane's"));
}

#[test]
fn access_to_the_engine_is_said_aloud() {
    let text = "version: 1\nprofiles: {light: {docker: socket}}\n\
                pools: [{name: a, profile: light}]\n";
    let loaded = load_all(&[text], &[]).expect("it should load");
    assert_eq!(loaded.spec.profiles[&ProfileName::new("light")].docker, DockerAccess::Socket);
    let expected = ["warning: jobs of this profile are as good as root on the host"];
    assert_eq!(messages(&loaded.warnings), expected);
    assert!(loaded.render_masked().contains("docker: socket"));
}
