//! Completion in real shells with live names, and manual pages as `man` reads them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;

use super::program::{Project, folder};
use super::screen::Terminal;

/// How often people press the key for a name.
const TRIES: u32 = 20;
/// How long they wait before they press it again.
const A_MOMENT: Duration = Duration::from_secs(2);

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

/// What a person types at a shell of their own, with the script where `completion --help` puts it.
struct Shell {
    terminal: Terminal,
    _home: TempDir,
}

impl Shell {
    async fn open(project: &Project, shell: &str) -> Self {
        let found = Command::new(shell).arg("--version").stdin(Stdio::null()).output().await;
        assert!(found.is_ok(), "{shell} is not installed: run scripts/shells");
        let home = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("written");
        };
        let script = project.run(&format!("completion {shell}")).await.out();
        let line = match shell {
            "bash" => {
                write(".bashrc", "PS1='ready> '\nsource <(slate-fleet completion bash)\n");
                "bash --noprofile -i"
            }
            "zsh" => {
                write(".zfunc/_slate-fleet", &script);
                let setup = "fpath=(~/.zfunc $fpath)\nautoload -Uz compinit\ncompinit -u -D\n\
                             PS1='ready> '\n";
                write(".zshrc", setup);
                "zsh -i"
            }
            _ => {
                write(".config/fish/completions/slate-fleet.fish", &script);
                let setup =
                    "set -g fish_greeting\nfunction fish_prompt\n  echo -n 'ready> '\nend\n";
                write(".config/fish/config.fish", setup);
                "fish -i"
            }
        };
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_slate-fleet"));
        let folder = program.parent().expect("a folder").display();
        let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
        let place = home.path().to_str().expect("a plain path");
        let variables = [("HOME", place), ("ZDOTDIR", place), ("PATH", path.as_str())];
        let mut terminal = Terminal::open(project.path(), line, &variables);
        terminal.until_shown("ready> ").await;
        Self { terminal, _home: home }
    }

    /// Types words and the key of completion.
    async fn completes(&mut self, typed: &str, wanted: &str) {
        self.terminal.type_keys(&format!("{typed}\t")).await;
        self.terminal.until_shown(wanted).await;
    }

    /// The same with names of the fleet. A busy machine may not answer before the shell gives up;
    /// people press the key again.
    async fn completes_name(&mut self, typed: &str, wanted: &str) {
        self.terminal.type_keys(typed).await;
        for _ in 0..TRIES {
            self.terminal.type_keys("\t").await;
            if self.terminal.is_within(A_MOMENT, |it| it.shows(wanted)).await {
                return;
            }
        }
        panic!("waited in vain for `{wanted}`:\n{}", self.terminal.contents());
    }

    /// Takes back what stands there.
    async fn forgets(&mut self, what: &str) {
        self.terminal.type_keys("\u{15}").await;
        self.terminal.until("an empty line", |it| !it.shows(what)).await;
    }
}

/// A verb, an option, and the name of a runner that is up now.
async fn completes_in(shell: &str) {
    let project = Project::new();
    let mut typing = Shell::open(&project, shell).await;
    typing.completes("slate-fleet cord", "> slate-fleet cordon").await;
    typing.forgets("> slate-fleet cordon").await;
    typing.completes("slate-fleet ps --form", "> slate-fleet ps --format").await;
    typing.forgets("> slate-fleet ps").await;
    // Two have this in common.
    typing.completes_name("slate-fleet drain sl", "> slate-fleet drain slate-light-0").await;
    typing.completes_name("2", "> slate-fleet drain slate-light-02").await;
    typing.forgets("> slate-fleet drain").await;
    project.fake.change(|world| "slate-new-77".clone_into(&mut world.fleet.runners[1].name));
    typing.completes_name("slate-fleet drain slate-n", "> slate-fleet drain slate-new-77").await;
}

#[tokio::test]
async fn a_person_at_bash_completes_a_verb_an_option_and_a_live_name() {
    completes_in("bash").await;
}

#[tokio::test]
async fn a_person_at_zsh_completes_a_verb_an_option_and_a_live_name() {
    completes_in("zsh").await;
}

#[tokio::test]
async fn a_person_at_fish_completes_a_verb_an_option_and_a_live_name() {
    completes_in("fish").await;
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
    let line = "mandoc -T lint -W warning pages/*.1 2>&1";
    let warned = run(line.to_owned()).await.expect("bash runs");
    let told = String::from_utf8_lossy(&warned.stdout);
    assert!(warned.status.success() && told.is_empty(), "scripts/shells installs mandoc: {told}");
    let line = "for page in pages/*.1; do man -l --warnings=w \"$page\" >/dev/null; done 2>&1";
    let warned = run(line.to_owned()).await.expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&warned.stdout), "");
}
