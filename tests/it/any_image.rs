//! Any Linux image is a runner: the agent is put in, nothing is baked.

use std::path::PathBuf;
use std::process::Command;

use crate::docker::{TEST_LABEL, docker, has_image};
use crate::fleet::Fleet;
use crate::process;

/// The base of the runner image, which has no users, Python or tools of its own added.
const PLAIN_BASE: &str = "slate-base:bookworm";

/// An image of busybox alone where this host has a static one, else a plain Debian.
fn foreign_image(fleet: &Fleet) -> String {
    let Some(busybox) = static_busybox() else {
        assert!(has_image(PLAIN_BASE), "no static busybox here, and no image {PLAIN_BASE}");
        return PLAIN_BASE.to_owned();
    };
    let root = fleet.path("root");
    std::fs::create_dir_all(root.join("bin")).expect("a folder");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("copied");
    for name in ["sh", "echo", "id", "ls", "cat", "env", "wc", "sleep", "nproc"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    let archive = fleet.path("root.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg("bin");
    process::run(tar).ok();
    let tag = format!("{}:bare", fleet.project);
    let label = format!("LABEL {TEST_LABEL}={}", fleet.project);
    let archive = archive.display().to_string();
    docker(&["import", "-c", &label, "-c", "ENV PATH=/bin", &archive, &tag]).ok();
    tag
}

/// Debian's package busybox-static, say; one that needs libraries is nothing for an empty image.
fn static_busybox() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let all = std::env::split_paths(&path).map(|folder| folder.join("busybox"));
    all.into_iter().find(|file| std::fs::read(file).is_ok_and(|elf| is_static(&elf)))
}

/// Whether a 64-bit ELF file names no loader: it has no program header of the type `PT_INTERP`.
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: usize = 3;
    let number = |at: usize, bytes: usize| {
        let field = elf.get(at..at + bytes).unwrap_or_default();
        field.iter().rev().fold(0, |number, byte| number * 256 + usize::from(*byte))
    };
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let kinds: Vec<usize> = (0..count).map(|index| number(first + index * size, 4)).collect();
    !kinds.is_empty() && !kinds.contains(&PT_INTERP)
}

#[test]
fn an_image_that_knows_nothing_of_the_fleet_is_a_runner() {
    let fleet = Fleet::new("pools: []\n");
    let image = foreign_image(&fleet);
    fleet.edit(&format!("image: '{image}'\npools: [{{name: light, profile: light}}]\n"));
    std::fs::remove_dir_all(fleet.path("root")).ok();
    std::fs::remove_file(fleet.path("root.tar")).ok();
    fleet.cli(&["up", "-d"]).ok();
    fleet.write("file", "sent\n");
    let look = "id -u; cat file; echo $HOME; echo x >$SLATE_REPORTS/x; echo err >&2; exit 6";
    let job = fleet.cli(&["run", "--workflow", "w", "--run-id", "1", "--", "sh", "-c", look]);
    let job = job.expect_code(6);
    assert_eq!(job.out(), "10001\nsent\n/work/.home\n");
    assert_eq!(job.err(), "err\n");
    assert_eq!(fleet.read("reports/w/1/x"), "x\n");
    fleet.cli(&["run", "--no-workspace", "--", "no-such"]).expect_code(127);
    let health = fleet.cli(&["ps", "--format", "json"]).ok().json();
    assert_eq!(health[0]["image"], image);
}

#[test]
fn the_images_own_entrypoint_user_and_health_check_do_not_count() {
    let fleet = Fleet::new("pools: []\n");
    let source = format!("{}-source", fleet.project);
    let label = format!("{TEST_LABEL}={}", fleet.project);
    docker(&["create", "--name", &source, "--label", &label, "slate-runner:latest"]).ok();
    let tag = format!("{}:odd", fleet.project);
    let change = [
        "ENTRYPOINT [\"/bin/false\"]",
        "USER nobody",
        "WORKDIR /nowhere",
        "HEALTHCHECK CMD false",
        "ENV LD_PRELOAD=/no/such.so",
        "ENV OWN=kept",
    ];
    let changes: Vec<&str> = change.iter().flat_map(|it| ["-c", it]).collect();
    let label = format!("LABEL {TEST_LABEL}={}", fleet.project);
    let tail = ["-c", &label, &source, &tag];
    docker(&[&["commit"], &changes[..], &tail].concat()).ok();
    fleet.edit(&format!("image: '{tag}'\npools: [{{name: light, profile: light}}]\n"));
    fleet.cli(&["up", "-d"]).ok();
    let job = fleet.job("id -u; pwd; echo ${LD_PRELOAD-none}").ok();
    assert_eq!(job.out(), "10001\n/work\nnone\n");
}
