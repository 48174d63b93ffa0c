//! `run`: a job as if it ran here.

use rustix::process::Signal;

use crate::docker::docker;
use crate::fleet::{Fleet, NO_SPARE, ONE_LIGHT};
use crate::process::{self, wait_until};

const MIB: usize = 1 << 20;

#[test]
fn the_exit_code_of_the_job_is_passed_on() {
    let fleet = Fleet::up(ONE_LIGHT);
    for code in [0, 1, 42, 255] {
        fleet.job(&format!("exit {code}")).expect_code(code);
    }
}

#[test]
fn a_signal_that_ends_the_job_is_128_and_its_number() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.job("kill -TERM $$").expect_code(143);
    fleet.job("kill -SEGV $$").expect_code(139);
}

#[test]
fn a_command_that_is_not_there_is_127_with_words() {
    let fleet = Fleet::up(ONE_LIGHT);
    let run = |command: &str| fleet.cli(&["run", "--no-workspace", "--", command]);
    run("no-such-program").expect_code(127).says("no-such-program");
    run("/etc/passwd").expect_code(126).says("/etc/passwd");
}

#[test]
fn stdout_and_stderr_stay_apart() {
    let fleet = Fleet::up(ONE_LIGHT);
    let job = fleet.job("echo out; echo err >&2; echo out again").ok();
    assert_eq!(job.out(), "out\nout again\n");
    assert_eq!(job.err(), "err\n");
}

#[test]
fn output_arrives_byte_by_byte_as_it_was_written() {
    let fleet = Fleet::up(ONE_LIGHT);
    let all = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 3 + b'no newline')";
    let job = fleet.cli(&["run", "--no-workspace", "--", "python3", "-c", all]).ok();
    let expected: Vec<u8> = (0..=255).cycle().take(768).chain(*b"no newline").collect();
    assert_eq!(job.stdout, expected);
    assert_eq!(job.err(), "");
}

#[test]
fn five_megabytes_arrive_whole() {
    let fleet = Fleet::up(ONE_LIGHT);
    let numbers = "import sys
for n in range(5 * 2**20 // 8): sys.stdout.write('%07d\\n' % n)";
    let job = fleet.cli(&["run", "--no-workspace", "--", "python3", "-c", numbers]).ok();
    let expected: String = (0..5 * MIB / 8).map(|n| format!("{n:07}\n")).collect();
    assert_eq!(job.stdout.len(), expected.len());
    assert!(job.stdout == expected.as_bytes(), "some bytes differ");
}

#[test]
fn output_is_shown_while_the_job_runs() {
    let fleet = Fleet::up(ONE_LIGHT);
    let container = fleet.containers()[0].clone();
    let mut job = fleet.start_job(&format!("echo early; {}; echo late", crate::fleet::GATE));
    job.wait_for_stdout("early\n");
    crate::fleet::open_gate(&container);
    assert_eq!(job.finish().ok().out(), "early\nlate\n");
}

#[test]
fn the_working_folder_is_sent_as_git_would_track_it() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.write(".gitignore", "ignored/\n*.log\n");
    fleet.write("src/deep/file.txt", "content");
    fleet.write("a name with spaces and ü", "odd");
    fleet.write("script.sh", "#!/bin/sh\necho ran\n");
    fleet.write("ignored/secret", "x");
    fleet.write("noise.log", "x");
    fleet.write(".git/HEAD", "ref: refs/heads/main\n");
    fleet.write(".hidden", "kept");
    let path = fleet.path("script.sh");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("its mode");
    std::os::unix::fs::symlink("src/deep/file.txt", fleet.path("link")).expect("a link");
    let list = "find . -mindepth 1 | sort; cat link; ./script.sh";
    let job = fleet.cli(&["run", "--", "sh", "-c", list]).ok();
    let expected = "./.gitignore\n./.hidden\n./a name with spaces and ü\n./link\n./script.sh\n\
                    ./slate.yaml\n./src\n./src/deep\n./src/deep/file.txt\ncontentran\n";
    assert_eq!(job.out(), expected);
    let git = fleet.cli(&["run", "--with-git", "--", "cat", ".git/HEAD"]).ok();
    assert_eq!(git.out(), "ref: refs/heads/main\n");
    let none = fleet.cli(&["run", "--no-workspace", "--", "ls", "-A"]).ok();
    assert_eq!(none.out(), "");
    let other = fleet.cli(&["run", "-w", "src", "--", "ls", "-A"]).ok();
    assert_eq!(other.out(), "deep\n");
}

#[test]
fn a_job_can_write_where_it_works_and_the_folder_here_stays_as_it_is() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.write("file", "before");
    let job = fleet.cli(&["run", "--", "sh", "-c", "echo after >file; mkdir new; cat file; pwd"]);
    assert_eq!(job.ok().out(), "after\n/work\n");
    assert_eq!(fleet.read("file"), "before");
    assert!(!fleet.path("new").exists());
}

#[test]
fn environment_variables_are_the_given_ones() {
    let fleet = Fleet::up(
        "profiles: {light: {env: {FROM_PROFILE: profile, BOTH: profile}}}
pools: [{name: light, profile: light}]\n",
    );
    let mut command = fleet.command(&["run", "--no-workspace", "-e", "A=b c=d", "-e", "HERE"]);
    command.env("HERE", "from the shell").args(["-e", "BOTH=job", "--", "env"]);
    let lines = process::run(command).ok().lines();
    let has = |line: &str| lines.iter().any(|it| it == line);
    assert!(has("A=b c=d") && has("HERE=from the shell"), "{lines:?}");
    assert!(has("FROM_PROFILE=profile") && has("BOTH=job"), "{lines:?}");
    assert!(has("CI=true") && has("SLATE_JOB_ID=job-1"), "{lines:?}");
    let missing = fleet.cli(&["run", "--no-workspace", "-e", "NOT_SET_HERE", "--", "env"]);
    missing.expect_code(2).says("NOT_SET_HERE");
}

#[test]
fn programs_find_the_certificates_that_the_file_names() {
    let fleet = Fleet::new(&format!("ca: ./company.pem\n{ONE_LIGHT}"));
    let own = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
    fleet.write("company.pem", own);
    fleet.cli(&["up", "-d"]).ok();
    let names = "SSL_CERT_FILE REQUESTS_CA_BUNDLE PIP_CERT CURL_CA_BUNDLE GIT_SSL_CAINFO \
                 NODE_EXTRA_CA_CERTS";
    let look = format!("for n in {names}; do eval cat \\$$n | grep -c QUJD; done");
    assert_eq!(fleet.job(&look).ok().out(), "1\n".repeat(6));
}

#[test]
fn a_job_that_takes_too_long_is_ended_with_all_its_processes() {
    let fleet = Fleet::up(NO_SPARE);
    let nap = long_sleep(&fleet);
    let job = format!("sh -c '{nap}' & setsid {nap} & trap '' TERM; {nap}");
    let light = "profiles: {light: {stop_grace: 1s}}\n";
    fleet.edit(&format!("{light}{NO_SPARE}"));
    fleet.cli(&["up", "-d"]).ok();
    let args = ["run", "--no-workspace", "--timeout", "1s", "--", "sh", "-c", &job];
    fleet.cli(&args).expect_code(124).says("took too long");
    assert_eq!(fleet.status_of("job-1"), "timed_out");
    assert_no_process(&nap);
}

#[test]
fn ctrl_c_cancels_the_job_and_its_process_tree() {
    let fleet = Fleet::up(NO_SPARE);
    let nap = long_sleep(&fleet);
    let tree = format!("setsid {nap} & sh -c '{nap}; true' & echo ready; wait");
    let mut job = fleet.start_job(&tree);
    job.wait_for_stdout("ready");
    let container = fleet.containers()[0].clone();
    assert!(docker(&["top", &container]).ok().out().contains(&nap));
    job.signal(Signal::INT);
    let ended = job.finish().expect_code(130);
    assert!(ended.err().contains("cancelling job-1"), "{ended}");
    assert_eq!(fleet.status_of("job-1"), "cancelled");
    assert_no_process(&nap);
}

#[test]
fn a_second_ctrl_c_leaves_the_job_alone() {
    let fleet =
        Fleet::up("profiles: {light: {stop_grace: 5s}}\npools: [{name: light, profile: light}]\n");
    let mut job = fleet.start_job("trap '' TERM; echo ready; while :; do sleep 0.1; done");
    job.wait_for_stdout("ready");
    job.signal(Signal::INT);
    job.wait_for_stderr("cancelling job-1");
    job.signal(Signal::INT);
    job.finish().expect_code(130).says("left job-1 to itself");
    assert_eq!(fleet.status_of("job-1"), "running");
}

#[test]
fn run_without_a_fleet_says_what_to_type() {
    let fleet = Fleet::new(ONE_LIGHT);
    let refused = fleet.cli(&["run", "--", "true"]).expect_code(8);
    assert!(refused.err().contains("slate-fleet up -d"), "{refused}");
    assert!(refused.err().contains(&fleet.project), "{refused}");
    assert!(!fleet.path(".slate").exists(), "a refusal made a folder");
}

#[test]
fn standard_input_is_empty() {
    let fleet = Fleet::up(ONE_LIGHT);
    let command = fleet.command(&["run", "--no-workspace", "--", "wc", "-c"]);
    assert_eq!(process::start_with(command, b"typed here").finish().ok().word(), "0");
}

#[test]
fn a_reader_that_leaves_ends_the_job() {
    let fleet = Fleet::up(NO_SPARE);
    let mut command = std::process::Command::new("sh");
    command.current_dir(fleet.folder()).args([
        "-c",
        "\"$0\" run --no-workspace -- yes | head -n 1",
        crate::fleet::PROGRAM,
    ]);
    assert_eq!(process::run(command).ok().out(), "y\n");
    wait_until("the job is over", || fleet.status_of("job-1") == "cancelled");
}

#[test]
fn background_processes_do_not_keep_a_job_and_do_not_survive_it() {
    let fleet = Fleet::up(NO_SPARE);
    let nap = long_sleep(&fleet);
    assert_eq!(fleet.job(&format!("{nap} & echo over")).ok().out(), "over\n");
    assert_no_process(&nap);
}

/// A command that ends long after the test, and that no other test uses.
fn long_sleep(fleet: &Fleet) -> String {
    let number: String = fleet.project.chars().filter(char::is_ascii_digit).collect();
    format!("sleep 1{number}")
}

/// Waits until no process of this host has this command line.
fn assert_no_process(line: &str) {
    wait_until(&format!("no `{line}` runs"), || {
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        !processes
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .any(|found| String::from_utf8_lossy(&found).replace('\0', " ").trim() == line)
    });
}
