//! What a runner may do, what it sees, and whom it reaches.

use bollard::models::ContainerCreateBody;
use slate_fleet::engine::{CgroupVersion, Engine};
use slate_fleet::ids::ContainerId;
use slate_fleet::units::Bytes;

use crate::world::{OBEDIENT, World, with_agent};

async fn line(world: &World, id: &ContainerId, script: &str) -> String {
    let (text, code) = world.shell(id, script).await;
    assert_eq!(code, 0, "{script}: {text}");
    text.trim().to_owned()
}

#[tokio::test]
async fn limits_are_what_the_plan_says_in_the_engine_and_inside() {
    with_agent(OBEDIENT, async |world| {
        let id = world.run(&world.plan(1)).await;
        let host = world.inspect(&id).await.host_config.expect("a host config");
        let memory = i64::try_from(Bytes::mib(512).0).expect("small");
        assert_eq!((host.memory, host.memory_swap), (Some(memory), Some(memory)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_000_000_000), Some(256)));
        assert_eq!((host.privileged, host.oom_score_adj), (Some(false), Some(500)));

        let version = world.engine.info().await.expect("info").cgroups;
        let [memory_file, pids_file] = match version {
            CgroupVersion::V2 => ["memory.max", "pids.max"],
            CgroupVersion::V1 | CgroupVersion::Unknown => {
                ["memory/memory.limit_in_bytes", "pids/pids.max"]
            }
        };
        let read = async |name| line(world, &id, &format!("cat /sys/fs/cgroup/{name}")).await;
        assert_eq!(read(memory_file).await, memory.to_string());
        assert_eq!(read(pids_file).await, "256");
        let shm = line(world, &id, "df -k /dev/shm | tail -1 | awk '{print $2}'").await;
        assert_eq!(shm, "65536");
        assert_eq!(line(world, &id, "ulimit -n; ulimit -c").await, "16384\n0");
    })
    .await;
}

#[tokio::test]
async fn a_runner_has_few_rights_and_can_gain_none() {
    with_agent(OBEDIENT, async |world| {
        let id = world.run(&world.plan(1)).await;
        let status = line(world, &id, "cat /proc/1/status").await;
        let field = |name: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name));
            found.expect("a field").trim_start_matches(':').trim().to_owned()
        };
        // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7.
        assert_eq!(field("CapBnd"), "00000000000000eb");
        assert_eq!(field("CapEff"), "00000000000000eb");
        assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));
        for attack in [
            "mount -t tmpfs x /mnt",
            "mknod /x c 1 1",
            "echo 1 > /proc/sys/vm/drop_caches",
            "chroot / true",
            "unshare -U true",
            "touch /.slate/x",
            "touch /run/slate/x",
            "echo x > /proc/meminfo",
            "ls /var/run/docker.sock",
        ] {
            let (text, code) = world.shell(&id, attack).await;
            assert_ne!(code, 0, "{attack} worked: {text}");
        }
        assert_eq!(line(world, &id, "touch /work/x /reports/x /x && echo ok").await, "ok");
    })
    .await;
}

#[tokio::test]
async fn programs_in_a_runner_see_a_machine_of_its_size() {
    with_agent(OBEDIENT, async |world| {
        let id = world.run(&world.plan(1)).await;
        let see = async |script| line(world, &id, script).await;
        assert_eq!(see("free -m | awk '/Mem:/ {print $2}'").await, "512");
        assert_eq!(see("getconf _NPROCESSORS_ONLN").await, "1");
        assert_eq!(see("grep -c ^processor /proc/cpuinfo").await, "1");
        assert_eq!(see("grep -c '^cpu[0-9]' /proc/stat").await, "1");
        assert_eq!(see("python3 -c 'import os; print(os.cpu_count())'").await, "1");
        // What the agent adds: jobs may run on as many CPUs as they see.
        assert_eq!(see("taskset -c 0 nproc").await, "1");
        let booted = "awk '/^btime/ {print $2}' /proc/stat";
        let host = std::fs::read_to_string("/proc/stat").expect("the host's");
        assert!(host.contains(&format!("btime {}\n", see(booted).await)));
    })
    .await;
}

/// Tries to connect for two seconds and says how it went; a blocked packet is never answered.
fn connect(kind: &str, to: &str) -> String {
    format!(
        "python3 - <<'END'\n\
         import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_{kind})\n\
         s.settimeout(2)\n\
         try:\n    \
             s.connect(('{to}', 8765))\n    \
             s.send(b'x')\n    \
             print(s.recv(1).decode())\n\
         except OSError as error:\n    \
             print(type(error).__name__)\n\
         END"
    )
}

/// Answers `y` on TCP and UDP port 8765 and says when it is ready.
const SERVER: &str = "#!/usr/bin/python3\n\
import socket, threading\n\
t = socket.create_server(('', 8765))\n\
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
u.bind(('', 8765))\n\
def udp():\n    \
    while True: u.sendto(b'y', u.recvfrom(1)[1])\n\
threading.Thread(target=udp, daemon=True).start()\n\
open('/ready', 'w').close()\n\
while True:\n    \
    c = t.accept()[0]; c.recv(1); c.send(b'y'); c.close()\n";

#[tokio::test]
async fn runners_cannot_reach_each_other() {
    with_agent(SERVER, async |world| {
        let one = world.run(&world.plan(1)).await;
        let two = world.run(&world.plan(2)).await;
        world.ready(&one).await;
        world.ready(&two).await;
        let address = line(world, &one, "hostname -i").await;
        for kind in ["STREAM", "DGRAM"] {
            // The same question from inside shows that there is something to reach.
            assert_eq!(line(world, &one, &connect(kind, &address)).await, "y");
            let from_other = line(world, &two, &connect(kind, &address)).await;
            assert!(
                ["timeout", "TimeoutError"].contains(&from_other.as_str()),
                "{kind}: {from_other}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_cannot_change_how_a_runner_starts() {
    with_agent(OBEDIENT, async |world| {
        let mut plan = world.plan(1);
        plan.image = world
            .image_with(&[
                "ENV LD_PRELOAD=/evil.so",
                "ENV BASH_ENV=/evil.sh",
                "ENV NVIDIA_VISIBLE_DEVICES=all",
                "ENV KEPT=yes",
                "ENTRYPOINT [\"/evil\"]",
                "CMD [\"--evil\"]",
                "USER nobody",
                "WORKDIR /evil",
                "HEALTHCHECK CMD /evil",
                "VOLUME /evil",
            ])
            .await;
        let id = world.run(&plan).await;
        let config = world.inspect(&id).await.config.expect("a config");
        assert_eq!(config.entrypoint, Some(vec!["/.slate/slate-runner".to_owned()]));
        assert_eq!(config.cmd.unwrap_or_default(), Vec::<String>::new());
        assert_eq!(config.stop_signal.as_deref(), Some("SIGTERM"));
        let test = config.healthcheck.and_then(|check| check.test);
        assert_eq!(test, Some(vec!["NONE".to_owned()]));
        let env = line(world, &id, "tr '\\0' '\\n' < /proc/1/environ").await;
        assert!(!env.contains("evil"), "{env}");
        assert!(env.contains("NVIDIA_VISIBLE_DEVICES=void") && env.contains("KEPT=yes"), "{env}");
        assert_eq!(line(world, &id, "id -u; pwd").await, "0\n/");
        let volume = world.inspect(&id).await.mounts.unwrap_or_default();
        let unnamed =
            volume.into_iter().find(|mount| mount.destination.as_deref() == Some("/evil"));
        let unnamed = unnamed.and_then(|mount| mount.name).expect("an unnamed volume");
        world.engine.remove(Some(&id), plan.incarnation).await.expect("removed");
        let gone = world.raw.inspect_volume(&unnamed).await;
        assert!(gone.is_err(), "the image's own volume is left");
    })
    .await;
}

#[tokio::test]
async fn an_image_that_carries_our_labels_is_refused_and_its_containers_are_strangers() {
    with_agent(OBEDIENT, async |world| {
        let labels = [
            format!("LABEL dev.slate.fleet.project={}", world.project.name),
            format!("LABEL dev.slate.fleet.fleet={}", world.project.fleet),
            "LABEL dev.slate.fleet.incarnation=i1".to_owned(),
        ];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let image = world.image_with(&labels).await;
        let by_id = slate_fleet::ids::ImageRef::new(image.as_str());
        let error = world.engine.resolve_image(&by_id).await.expect_err("refused");
        assert!(error.to_string().contains("carries this program's own labels"), "{error}");

        let body = ContainerCreateBody { image: Some(image.to_string()), ..<_>::default() };
        let stranger = world.foreign(&format!("{}-stranger", world.project.name), body).await;
        assert!(world.engine.list().await.expect("a list").is_empty());
        let swept = world.engine.sweep().await.expect("swept");
        assert_eq!(swept.objects.containers, 0);
        world.inspect(&stranger).await;
    })
    .await;
}
