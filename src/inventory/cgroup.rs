//! From a process to the container that it runs in, by the names of its control groups.
//!
//! NVML and the kernel know processes by their numbers on the host; `/proc/PID/cgroup` names the
//! groups (cgroups(7)), and every container manager puts the container's id into the name.

use crate::ids::ContainerId;

/// Digits of a container's id.
const ID_LENGTH: usize = 64;
/// Controllers of version 1 that every container manager uses, the most telling first.
const CONTROLLERS: [&str; 3] = ["devices", "memory", "pids"];

/// The containers that a process runs in, the outermost first: more than one with Docker in Docker.
///
/// The one hierarchy of version 2 tells it, or on machines that have both, one of version 1.
#[must_use]
pub fn containers(text: &str) -> Vec<ContainerId> {
    let paths = || text.lines().filter_map(line);
    let of = |wanted: &str| {
        paths()
            .filter(|(controllers, _)| controllers.split(',').any(|it| it == wanted))
            .map(|(_, path)| ids(path))
            .find(|ids| !ids.is_empty())
    };
    let known = [""].into_iter().chain(CONTROLLERS).find_map(of);
    let any = || paths().map(|(_, path)| ids(path)).find(|ids| !ids.is_empty());
    known.or_else(any).unwrap_or_default()
}

/// Controllers and path of one line: `0::/path`, `5:devices:/path`.
fn line(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    rest.split_once(':')
}

/// Every id in a path: 64 lower-case digits with nothing of a name beside them.
fn ids(path: &str) -> Vec<ContainerId> {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    path.split(['/', '-', '.', ':'])
        .filter(|part| part.len() == ID_LENGTH && part.chars().all(is_digit))
        .map(ContainerId::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";
    const B: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    fn found(text: &str) -> Vec<String> {
        containers(text).into_iter().map(String::from).collect()
    }

    #[test]
    fn every_form_of_the_line_names_its_container() {
        for form in [
            format!("0::/system.slice/docker-{A}.scope\n"),
            format!("0::/docker/{A}\n"),
            format!("5:devices:/docker/{A}\n1:name=systemd:/docker/{A}\n"),
            format!("5:devices:/system.slice/docker-{A}.scope\n"),
            format!("0::/../../docker/{A}\n"),
            format!("0::/../docker-{A}.scope\n"),
            format!("0::/machine.slice/libpod-{A}.scope\n"),
            format!("0::/kubepods.slice/pod1/cri-containerd-{A}.scope\n"),
            format!("12:cpu,cpuacct,memory:/my/own/parent/{A}\n0::/\n"),
            format!("9:rdma:/docker/{A}\n0::/init.scope\n"),
        ] {
            assert_eq!(found(&form), [A], "{form}");
        }
    }

    #[test]
    fn nested_containers_come_outermost_first_and_once() {
        assert_eq!(found(&format!("0::/docker/{A}/docker/{B}\n")), [A, B]);
        let both = format!("5:devices:/docker/{A}\n0::/docker/{B}\n");
        assert_eq!(found(&both), [B], "the hierarchy of version 2 is preferred");
    }

    #[test]
    fn processes_of_the_host_are_in_none() {
        for text in ["0::/user.slice/user-1000.slice/session-2.scope\n", "0::/init.scope", "", "x"]
        {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    /// Numbers from a seed, as the simulator makes them.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self, below: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) as usize % below
        }

        fn text(&mut self, alphabet: &str, length: usize) -> String {
            let letters: Vec<char> = alphabet.chars().collect();
            (0..length).map(|_| letters[self.next(letters.len())]).collect()
        }
    }

    #[test]
    fn an_id_is_found_behind_any_prefix_and_nothing_else_is() {
        let mut numbers = Numbers(7);
        for _ in 0..2000 {
            let id = numbers.text("0123456789abcdef", 64);
            let length = numbers.next(40);
            let prefix = numbers.text("ghxyz/_ABC", length);
            let edge = ["/", "-", "/docker-"][numbers.next(3)];
            let end = ["", ".scope", "/inner", "-x"][numbers.next(4)];
            assert_eq!(found(&format!("0::/{prefix}{edge}{id}{end}\n")), std::slice::from_ref(&id));
            assert!(found(&format!("0::/{prefix}{edge}{}{end}", &id[1..])).is_empty(), "63");
            assert!(found(&format!("0::/{prefix}{edge}{id}0{end}")).is_empty(), "65");
            let upper = id.to_uppercase();
            if upper != id {
                assert!(found(&format!("0::/{prefix}{edge}{upper}{end}")).is_empty(), "upper");
            }
        }
    }

    #[test]
    fn any_text_is_taken_without_breaking_down() {
        let mut numbers = Numbers(11);
        for _ in 0..5000 {
            let length = numbers.next(300);
            let _found = containers(&numbers.text("0:/-.\nabcdefäß§devicesmemory,", length));
        }
    }
}
