//! Completion in real shells with live names, and manual pages as `man` reads them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::program::{Project, folder};

/// What bash would offer for a line whose last word is being typed.
async fn offered(folder: &std::path::Path, words: &[&str]) -> Vec<String> {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_slate-fleet"));
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    // As readline does it: the words, the number of the one under the cursor, then the function
    // that the script has registered.
    let script = format!(
        "set -u\nsource <(slate-fleet completion bash)\n\
         complete -p slate-fleet >/dev/null || exit 3\n\
         f=$(complete -p slate-fleet | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         COMP_WORDS=({}); COMP_CWORD={}; COMP_LINE='{}'; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9\n\
         COMPREPLY=()\n\
         $f slate-fleet '{}' '' || true\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted.join(" "),
        words.len() - 1,
        words.join(" "),
        words.last().expect("a word"),
    );
    let path = format!(
        "{}:{}",
        program.parent().expect("a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", &script])
        .current_dir(folder)
        .env_remove("SLATE_STATE_DIR")
        .env("PATH", path)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("bash runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    words.lines().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

#[tokio::test]
async fn bash_completes_verbs_options_and_the_names_of_this_fleet() {
    let project = Project::new();
    project.run("submit --no-workspace -- wait").await;
    let here = project.path();
    assert_eq!(offered(here, &["slate-fleet", "cord"]).await, ["cordon"]);
    let runners = ["slate-light-01", "slate-light-02"];
    assert_eq!(offered(here, &["slate-fleet", "drain", "sl"]).await, runners);
    assert_eq!(offered(here, &["slate-fleet", "drain", "slate-light-02"]).await, [runners[1]]);
    assert_eq!(offered(here, &["slate-fleet", "cancel", "j"]).await, ["job-1"]);
    assert_eq!(offered(here, &["slate-fleet", "submit", "--pool", "l"]).await, ["light"]);
    let all = offered(here, &["slate-fleet", "explain", ""]).await;
    for name in ["job-1", "light", runners[0]] {
        assert!(all.iter().any(|it| it == name), "{name} is not among {all:?}");
    }
}

#[tokio::test]
async fn without_a_supervisor_completion_is_silent_and_quick() {
    let folder = folder();
    assert_eq!(offered(folder.path(), &["slate-fleet", "drain", "sl"]).await, [""; 0]);
    assert_eq!(offered(folder.path(), &["slate-fleet", "cord"]).await, ["cordon"]);
}

/// Asks the program itself, as each shell's script does.
async fn ask(folder: &std::path::Path, shell: &str, words: &[&str]) -> (String, Duration) {
    #[expect(clippy::disallowed_methods, reason = "a test measures")]
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_slate-fleet"))
        .arg("--")
        .args(words)
        .current_dir(folder)
        .env_remove("SLATE_STATE_DIR")
        .env("SLATE_COMPLETE", shell)
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_IFS", "\n")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("the program runs");
    let took = begun.elapsed();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8_lossy(&output.stdout).into_owned(), took)
}

#[tokio::test]
async fn every_shell_is_answered_and_has_a_script() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish"] {
        let (told, _) = ask(project.path(), shell, &["slate-fleet", "logs", "slate-light-0"]).await;
        assert!(told.contains("slate-light-01"), "{shell}: {told}");
        let script = project.run(&format!("completion {shell}")).await;
        assert_eq!(script.code(), 0, "{}", script.stderr);
        assert!(script.out().contains("SLATE_COMPLETE"), "{shell}: {}", script.out());
    }
}

#[tokio::test]
async fn a_hanging_supervisor_delays_nobody_who_types() {
    let folder = folder();
    let state = folder.path().join(".slate");
    std::fs::create_dir_all(&state).expect("a state folder");
    // It takes the connection and never says a word.
    let _silent = std::os::unix::net::UnixListener::bind(state.join("api.sock")).expect("a socket");
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let (told, took) = ask(folder.path(), "bash", &["slate-fleet", "drain", "sl"]).await;
        assert_eq!(told, "");
        best = best.min(took);
    }
    println!("completion with a supervisor that hangs: {best:?}");
    // 80 ms of patience, and a debug build's start on a busy machine.
    assert!(best < Duration::from_millis(400), "{best:?}");
}

#[tokio::test]
async fn manual_pages_of_all_verbs_are_read_without_a_warning() {
    let folder = folder();
    let run = |line: String| {
        Command::new("bash")
            .args(["-c", &line])
            .current_dir(folder.path())
            .env("MANWIDTH", "80")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
    };
    let program = env!("CARGO_BIN_EXE_slate-fleet");
    let written = run(format!("{program} man --dir pages")).await.expect("it runs");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let pages = std::fs::read_dir(folder.path().join("pages")).expect("a folder").count();
    assert!(pages > 40, "{pages} pages");
    let shown = run("man -l pages/slate-fleet-up.1".to_owned()).await.expect("man runs");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("slate-fleet up") && text.contains("--detach"), "{text}");
    // groff tells what it does not understand; a page of a long option may not break its line.
    let line = "for page in pages/*.1; do groff -man -Tutf8 -ww -z \"$page\"; done 2>&1 | \
                grep -v 'cannot adjust line\\|cannot break line' || true";
    let warned = run(line.to_owned()).await.expect("groff runs");
    assert_eq!(String::from_utf8_lossy(&warned.stdout), "");
}
