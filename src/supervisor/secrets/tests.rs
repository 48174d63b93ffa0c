//! Each source, and what is said when it fails.

use std::fs;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::spec::VaultSecret;

fn write(folder: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("owned");
    path
}

fn secrets(environment: &[(&str, &str)]) -> Secrets {
    let environment = environment.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned()));
    let secrets = Secrets::new(environment.collect());
    secrets.use_place(None, Web::new(b""));
    secrets
}

fn with_env_file(secrets: &Secrets, path: PathBuf) {
    secrets.use_place(Some(path), Web::new(b""));
}

fn command(words: &[&str]) -> SecretSource {
    SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect())
}

async fn trouble(secrets: &Secrets, source: &SecretSource) -> String {
    let error = secrets.read(source).await.expect_err("there is no such secret");
    with_causes(&error)
}

#[tokio::test]
async fn a_variable_is_read_anew_each_time_and_the_file_comes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = secrets(&[("A", "environment"), ("B", "environment")]);
    with_env_file(&secrets, write(&folder, ".env", "A=first\nB=\n", 0o600));
    let a = SecretSource::Variable("A".to_owned());
    assert_eq!(secrets.read(&a).await.expect("set").expose(), "first");
    write(&folder, ".env", "A=\"second\"\n", 0o600);
    assert_eq!(secrets.read(&a).await.expect("set").expose(), "second");
    assert_eq!(secrets.variable("B").expect("set").expose(), "environment");
    let why = trouble(&secrets, &SecretSource::Variable("C".to_owned())).await;
    assert!(why.starts_with("C is not set; put it into /") && why.ends_with(".env"), "{why}");
}

#[tokio::test]
async fn a_bad_env_file_is_told_without_what_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = secrets(&[]);
    with_env_file(&secrets, write(&folder, ".env", "A=1\nTOKEN hunter2 x\n", 0o604));
    let source = SecretSource::Variable("A".to_owned());
    let report = secrets.report(&source, SecretUser::Webhook).await;
    let why = report.trouble.expect("it is bad");
    assert!(why.contains(".env:2") && !why.contains("hunter2"), "{why}");
    assert!(report.warning.expect("all may read it").contains("chmod 600"));
    assert!(secrets.env_report().expect("it is there").trouble.is_some());
}

#[tokio::test]
async fn a_file_that_everybody_may_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = secrets(&[]);
    let good = SecretSource::File(write(&folder, "good", "ghp_file\n", 0o640));
    assert_eq!(secrets.read(&good).await.expect("readable").expose(), "ghp_file");
    for mode in [0o644, 0o602] {
        let open = SecretSource::File(write(&folder, "open", "ghp_file", mode));
        let why = trouble(&secrets, &open).await;
        assert!(why.contains("chmod 600") && !why.contains("ghp_"), "{why}");
    }
    let long = "x".repeat(SECRET_MAX as usize + 1);
    let cases = [
        (write(&folder, "empty", " \n", 0o600), "is empty"),
        (write(&folder, "long", &long, 0o600), "no text of at most 64 KiB"),
        (folder.path().join("none"), "cannot read"),
    ];
    for (path, words) in cases {
        let why = trouble(&secrets, &SecretSource::File(path)).await;
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn what_the_platform_mounts_may_be_readable_by_everybody() {
    let is_mounted = |path: &str, owner, mode| is_mounted(Path::new(path), owner, mode);
    assert!(is_mounted("/run/secrets/github_token", 0, 0o444), "Docker's default");
    assert!(is_mounted("/run/secrets/github/..2026_11_21/token", 0, 0o644), "Kubernetes' default");
    for (path, owner, mode) in [
        ("/run/secrets/github_token", 1000, 0o444),
        ("/run/secrets/github_token", 0, 0o664),
        ("/run/secrets-of-mine/github_token", 0, 0o444),
        ("/etc/slate/github_token", 0, 0o444),
    ] {
        assert!(!is_mounted(path, owner, mode), "{path} of {owner}, {mode:o}");
    }
}

#[tokio::test]
async fn a_program_is_run_without_a_shell_in_the_fleets_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, "token", "ghp_program\n", 0o600);
    let secrets = secrets(&[]);
    with_env_file(&secrets, folder.path().join(".env"));
    let cat = secrets.read(&command(&["cat", "token"])).await.expect("it prints");
    assert_eq!(cat.expose(), "ghp_program");
    assert_eq!(secrets.read(&command(&["echo", "$HOME"])).await.expect("it").expose(), "$HOME");
    let says = "echo ghp_said; echo ghp_said >&2; exit 3";
    let why = trouble(&secrets, &command(&["sh", "-c", says])).await;
    assert!(why.contains("`sh` gave no secret") && why.contains('3'), "{why}");
    assert!(!why.contains("ghp_"), "{why}");
    let why = trouble(&secrets, &command(&["/no/such/program", "--token=ghp_argument"])).await;
    assert!(why.contains("/no/such/program") && !why.contains("ghp_"), "{why}");
    let why = trouble(&secrets, &command(&["yes"])).await;
    assert!(why.contains("no text of at most"), "{why}");
    let why = trouble(&secrets, &command(&["true"])).await;
    assert!(why.contains("is empty"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = secrets(&[]);
    with_env_file(&secrets, folder.path().join(".env"));
    let script = "sleep 600 & echo $! > child; wait";
    let why = trouble(&secrets, &command(&["sh", "-c", script])).await;
    assert!(why.contains("did not answer within 10 s"), "{why}");
    // With time paused the program may have been ended before it began, or before it wrote.
    let told = fs::read_to_string(folder.path().join("child")).unwrap_or_default();
    if let Ok(child) = told.trim().parse::<u32>() {
        let status = format!("/proc/{child}/stat");
        let is_gone = || fs::read_to_string(&status).map_or(true, |stat| stat.contains(") Z "));
        let mut looks = 0;
        while !is_gone() {
            looks += 1;
            assert!(looks < 1_000_000, "what the program started lives on");
            tokio::task::yield_now().await;
        }
    }
}

/// A stand-in for Vault that answers one call if its token is right.
async fn vault(listener: TcpListener, body: &'static str) -> String {
    let (mut stream, _) = listener.accept().await.expect("a call");
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await.expect("a request"));
    }
    let asked = String::from_utf8(asked).expect("text");
    let is_right = asked.to_ascii_lowercase().contains("x-vault-token: s.vault\r\n");
    let (status, body) = if is_right { ("200 OK", body) } else { ("403 Forbidden", "s.vault") };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.expect("answered");
    asked.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn vault_gives_a_field_to_its_own_token() {
    for (token, is_given) in [("s.vault", true), ("s.other", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let source = SecretSource::Vault(VaultSecret {
            address: format!("http://{}/", listener.local_addr().expect("its address")),
            path: "/secret/data/github".to_owned(),
            field: "pat".to_owned(),
            token_env: "VAULT_TOKEN".to_owned(),
        });
        let body = r#"{"data": {"data": {"pat": "ghp_vault"}, "metadata": {}}}"#;
        let server = tokio::spawn(vault(listener, body));
        let secrets = secrets(&[("VAULT_TOKEN", token)]);
        match secrets.read(&source).await {
            Ok(secret) => assert!(is_given && secret.expose() == "ghp_vault"),
            Err(error) => {
                let why = with_causes(&error);
                assert!(!is_given && why.contains("may the token in VAULT_TOKEN"), "{why}");
                assert!(!why.contains(token), "{why}");
            }
        }
        let line = server.await.expect("answered");
        assert_eq!(line, "GET /v1/secret/data/github HTTP/1.1");
    }
}

#[test]
fn nothing_that_is_shown_of_a_source_is_secret() {
    assert_eq!(place(&command(&["op", "read", "ghp_x"])), "command `op`");
    assert_eq!(place(&SecretSource::File("/etc/app.pem".into())), "file /etc/app.pem");
}
