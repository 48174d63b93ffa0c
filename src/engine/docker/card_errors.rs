//! What engine, runtime and NVIDIA's tools say when a container cannot get its card, in words that
//! say what to do.
//!
//! Nothing of a card is checked when a container is made; all of these come when it starts, wrapped
//! in whatever the runtime adds. So single phrases are looked for, and the whole text is kept.

use crate::fleet::event::{EVIDENCE, OpErrorClass};

/// A phrase, what may come of trying again, and what it means for whoever runs the fleet.
struct Known(&'static [&'static str], OpErrorClass, &'static str);

/// The first whose phrases are all in a text is what it means. Sources: Docker's `daemon/` and
/// libnvidia-container's `src/cli` and `src/nvc*.c`.
const KNOWN: &[Known] = &[
    Known(
        &["could not select device driver \"cdi\""],
        OpErrorClass::Fatal,
        "the engine has CDI switched off: put {\"features\": {\"cdi\": true}} into \
         /etc/docker/daemon.json and restart it, or set `gpu.request: nvidia`",
    ),
    Known(
        &["could not select device driver"],
        OpErrorClass::Fatal,
        "the engine cannot give NVIDIA cards to containers: install the NVIDIA Container Toolkit \
         (package nvidia-container-toolkit) on its host and restart the engine",
    ),
    Known(
        &["exec: \"nvidia-container-runtime-hook\"", "not found"],
        OpErrorClass::Fatal,
        "the NVIDIA Container Toolkit was removed from the engine's host while the engine ran: \
         install it again, or restart the engine without it",
    ),
    Known(
        &["driver/library version mismatch"],
        OpErrorClass::Fatal,
        "NVIDIA's driver was upgraded on the engine's host and the old one is still loaded: reboot \
         the host or load the driver's modules anew",
    ),
    Known(
        &["driver not loaded"],
        OpErrorClass::Fatal,
        "NVIDIA's driver is not loaded on the engine's host: install it, or load it, until \
         `nvidia-smi` lists the cards there",
    ),
    Known(
        &["nvidia-container-cli", "initialization error"],
        OpErrorClass::Fatal,
        "NVIDIA's driver does not work on the engine's host: `nvidia-smi` there says more",
    ),
    Known(
        &["device error", "unknown device"],
        OpErrorClass::Retry,
        "the card is gone from the engine's host, or was cut anew by MIG: `nvidia-smi -L` there \
         lists what it has",
    ),
    Known(
        &["unsatisfied condition"],
        OpErrorClass::Fatal,
        "the image wants a newer NVIDIA driver than the engine's host has: upgrade the driver, or \
         use an image for an older CUDA",
    ),
    Known(
        &["unresolvable CDI devices"],
        OpErrorClass::Fatal,
        "the engine's CDI specification does not have the card: write it anew (`nvidia-ctk cdi \
         generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml`), or set \
         `gpu.request: nvidia`",
    ),
    Known(
        &["error gathering device information"],
        OpErrorClass::Retry,
        "a device node of the card is missing on the engine's host: is the card's driver loaded?",
    ),
    Known(
        &["nvidia-container-cli"],
        OpErrorClass::Retry,
        "NVIDIA's tools on the engine's host failed to give the container its card",
    ),
];

/// What a refusal to start a container means, if it is about its card.
pub(super) fn explain(text: &str) -> Option<(OpErrorClass, String)> {
    let is_meant = |known: &&Known| known.0.iter().all(|phrase| text.contains(phrase));
    let Known(_, class, words) = KNOWN.iter().find(is_meant)?;
    // The hook's own lines come with line breaks between them.
    let line: Vec<&str> = text.split_whitespace().collect();
    Some((*class, format!("{words}{EVIDENCE}{}", line.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker 20.10 and runc wrap what a hook prints.
    fn from_hook(line: &str) -> String {
        format!(
            "failed to create shim task: OCI runtime create failed: container_linux.go:380: \
             starting container process caused: process_linux.go:545: container init caused: \
             Running hook #0:: error running hook: exit status 1, stdout: , stderr: Auto-detected \
             mode as 'legacy'\nnvidia-container-cli: {line}: unknown"
        )
    }

    #[test]
    fn every_text_of_the_table_is_told_in_words_and_kept_as_it_is() {
        use OpErrorClass::{Fatal, Retry};
        let capabilities = "with capabilities: [[gpu compute utility]]";
        let cases = [
            (format!("could not select device driver \"nvidia\" {capabilities}"), Fatal, "install"),
            (format!("could not select device driver \"cdi\" {capabilities}"), Fatal, "CDI"),
            (from_hook("initialization error: nvml error: driver not loaded"), Fatal, "load it"),
            (
                from_hook("initialization error: load library failed: libnvidia-ml.so.1"),
                Fatal,
                "dri",
            ),
            (from_hook("device error: GPU-6a1c: unknown device"), Retry, "the card is gone"),
            (
                from_hook("requirement error: unsatisfied condition: cuda>=12.4, please update"),
                Fatal,
                "newer NVIDIA driver",
            ),
            (
                from_hook("initialization error: nvml error: driver/library version mismatch"),
                Fatal,
                "reboot",
            ),
            (
                "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=GPU-6a1c"
                    .to_owned(),
                Fatal,
                "write it anew",
            ),
            (
                "error gathering device information while adding custom device \"/dev/kfd\": no \
                 such file or directory"
                    .to_owned(),
                Retry,
                "node",
            ),
            (
                "exec: \"nvidia-container-runtime-hook\": executable file not found in $PATH"
                    .to_owned(),
                Fatal,
                "was removed",
            ),
        ];
        for (text, class, words) in cases {
            let (told_class, told) = explain(&text).unwrap_or_else(|| panic!("unknown: {text}"));
            assert_eq!(told_class, class, "{text}");
            let (ours, theirs) = told.split_once(EVIDENCE).expect("both");
            assert!(ours.contains(words), "{text}: {ours}");
            assert_eq!(theirs, text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }

    #[test]
    fn what_is_about_no_card_is_left_to_others() {
        assert_eq!(explain("exec /.slate/slate-runner: exec format error"), None);
        assert_eq!(explain("error while creating mount source path: no such file"), None);
    }
}
