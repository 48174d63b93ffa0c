//! What the fleet file brings with it: cards, and the file of secrets.

use super::facts::Facts;
use super::{Check, error, fine, no_engine, skipped, warning};
use crate::units::words::counted;

/// Somebody beside the owner may read.
const READABLE_BY_OTHERS: u32 = 0o077;

pub(super) fn cards(facts: &Facts) -> Vec<Check> {
    let found = facts.cards.count;
    let uses = facts.wanted.as_ref().is_some_and(|wanted| wanted.cards.is_some());
    match (uses, found) {
        (true, 0) => {
            let notes = facts.cards.notes.join("; ");
            vec![error(
                format!("a pool asks for cards, and there is none: {notes}"),
                "`slate-fleet gpus` tells where they were looked for; docs/gpus/inventory.md",
            )]
        }
        (true, _) => vec![fine(counted(found, "card"))],
        (false, 0) => vec![fine("no card, and no pool asks for one")],
        (false, _) => vec![fine(format!("{}, and no pool asks for one", counted(found, "card")))],
    }
}

pub(super) fn driver(facts: &Facts) -> Vec<Check> {
    match (facts.cards.nvidia, &facts.cards.driver) {
        (0, _) => vec![skipped("NVIDIA's driver: there is no card of NVIDIA")],
        (_, Some(version)) => vec![fine(format!("NVIDIA's driver {version}"))],
        (_, None) => vec![warning(
            "NVIDIA's driver does not tell its version",
            "`nvidia-smi` says whether library and kernel module fit; restart the machine after \
             an upgrade of the driver",
        )],
    }
}

pub(super) fn toolkit(facts: &Facts) -> Vec<Check> {
    if facts.cards.nvidia == 0 {
        return vec![skipped("NVIDIA's toolkit: there is no card of NVIDIA")];
    }
    let Some(engine) = &facts.engine else { return no_engine("NVIDIA's toolkit") };
    let by_runtime = engine.info.runtimes.iter().any(|it| it == "nvidia");
    match engine.info.lists_cards || by_runtime {
        true => vec![fine("the engine gives NVIDIA's cards to containers")],
        false => vec![error(
            "the engine knows neither NVIDIA's runtime nor CDI: runners get no card",
            "install nvidia-container-toolkit, then `sudo nvidia-ctk runtime configure \
             --runtime=docker && sudo systemctl restart docker`",
        )],
    }
}

pub(super) fn reload(facts: &Facts) -> Vec<Check> {
    let request = facts.wanted.as_ref().and_then(|wanted| wanted.cards);
    let (Some(request), true) = (request, facts.cards.nvidia > 0) else {
        return vec![skipped("reloads of systemd: no runner has a card of NVIDIA")];
    };
    let Some(engine) = &facts.engine else { return no_engine("reloads of systemd") };
    match engine.info.card_warning(request) {
        Some(why) => vec![warning(why, "`gpu.request: cdi`; docs/gpus/engine.md")],
        None => vec![fine("runners keep their cards when systemd is reloaded")],
    }
}

pub(super) fn secrets_file(facts: &Facts) -> Vec<Check> {
    let Some(file) = &facts.env_file else {
        return vec![skipped("file of secrets: there is no `.env` beside the fleet file")];
    };
    let path = file.path.display();
    match file.mode & READABLE_BY_OTHERS {
        0 => vec![fine(format!("only its owner reads {path}"))],
        _ => vec![warning(
            format!("others may read {path} (mode {:04o})", file.mode & 0o7777),
            format!("`chmod 600 {path}`"),
        )],
    }
}
