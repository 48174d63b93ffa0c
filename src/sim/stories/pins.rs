//! Runners that `.slate_runners.json` gives a card of its own choice.

use super::{ready, refusal, start, with};
use crate::fleet::effect::RefusalKind;
use crate::fleet::event::Request;
use crate::ids::SlotId;
use crate::sim::Sim;
use crate::sim::script::pool;
use crate::spec::{RunnersFile, RunnersOptions, Spec};

/// A spec whose runners' file gives these cards to these runners.
fn reserving(spec: Spec, cards: &[(u32, &[u32])]) -> Spec {
    let ids = |ids: &[u32]| ids.iter().map(|id| SlotId(*id)).collect();
    let cards = cards.iter().map(|(card, runners)| (*card, ids(runners))).collect();
    let options = RunnersOptions { gpu_reservation: Some(cards), ..RunnersOptions::default() };
    let path = "/fleet/.slate_runners.json".into();
    Spec { runners_file: Some(RunnersFile { path, options }), ..spec }
}

fn cards(sim: &Sim) -> Vec<Option<u32>> {
    let slots = &sim.records.slots;
    slots.values().map(|slot| slot.gpu.as_ref().map(|lease| lease.index)).collect()
}

#[test]
fn runners_get_the_cards_that_the_file_gives_them() {
    let plain = with([pool("gpu_light", 3), pool("light", 1)]);
    let mut sim = start(reserving(plain.clone(), &[(1, &[1, 2])]));
    sim.settle().expect("it comes up");
    assert_eq!(cards(&sim)[..2], [Some(1), Some(1)]);
    assert_eq!(cards(&sim)[2..], [Some(0), None], "the others as the fleet finds best");
    // What the fleet wrote itself is no wish; what differs from it is.
    let own: &[(u32, &[u32])] = &[(0, &[3]), (1, &[1, 2])];
    sim.up(reserving(plain.clone(), own));
    let before = sim.containers();
    sim.settle().expect("nothing changes");
    assert_eq!(sim.containers(), before);
    sim.up(reserving(plain.clone(), &[(0, &[1, 3]), (1, &[2])]));
    sim.settle().expect("the runner is replaced on its new card");
    assert_eq!(cards(&sim)[..3], [Some(0), Some(1), Some(0)]);
    assert_eq!(sim.containers().intersection(&before).count(), 3, "and no other one");
    sim.up(plain);
    sim.settle().expect("nothing changes");
    assert_eq!(cards(&sim)[..3], [Some(0), Some(1), Some(0)], "and all stay where they are");
}

#[test]
fn a_card_that_cannot_be_had_is_refused_and_nothing_changes() {
    let plain = with([pool("gpu_heavy", 3), pool("light", 1)]);
    let mut sim = ready(plain.clone());
    let before = cards(&sim);
    let wrong: [&[(u32, &[u32])]; 4] =
        [&[(7, &[1])], &[(0, &[1, 2, 3])], &[(0, &[4])], &[(0, &[99])]];
    for cards in wrong {
        let answer = sim.ask(Request::Apply(Box::new(reserving(plain.clone(), cards))));
        assert_eq!(refusal(answer), Some(RefusalKind::NoCapacity), "{cards:?}");
    }
    assert_eq!(cards(&sim), before);
}
