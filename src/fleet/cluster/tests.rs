//! What holds for every mix and every cluster.

use super::*;

/// Numbers that only look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % end
    }

    fn small(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(u64::from(end))).unwrap()
    }
}

const SIZES: [u32; 3] = [8_000, 16_384, 81_920];

fn any_demand(dice: &mut Dice) -> Demand {
    let cards = match dice.below(3) {
        0 => CardDemand::None,
        1 => CardDemand::Part(GpuMib(dice.small(9_000))),
        _ => CardDemand::Whole { cards: 1 + dice.small(4), memory: GpuMib(dice.small(20_000)) },
    };
    let (cpus, memory) = (MilliCpu(500 * dice.small(20)), Bytes(dice.below(20) << 29));
    Demand { cpus, memory, cards }
}

fn any_host(dice: &mut Dice) -> HostSize {
    let size = SIZES[dice.below(3) as usize];
    let cards = (0..dice.below(9)).map(|_| {
        let other = SIZES[dice.below(3) as usize];
        GpuMib(if dice.below(4) == 0 { other } else { size })
    });
    HostSize {
        cards: cards.collect(),
        cpus: MilliCpu(1000 * dice.small(64)),
        memory: Bytes::gib(dice.below(128)),
    }
}

fn any_world(dice: &mut Dice) -> (Mix, Vec<HostSize>) {
    let kinds = (0..=dice.below(12))
        .map(|_| Kind { demand: any_demand(dice), weight: dice.small(50) })
        .collect();
    let hosts = (0..=dice.below(20)).map(|_| any_host(dice)).collect();
    (Mix::new(kinds).unwrap(), hosts)
}

/// A book of its own: what the placements that live take of each host.
fn assert_holds(mix: &Mix, hosts: &[HostSize], live: &[Placement], cluster: &Cluster) {
    for (at, host) in hosts.iter().enumerate() {
        let mine = || live.iter().filter(|it| it.host as usize == at);
        let demand = |it: &Placement| mix.kinds()[usize::from(it.kind.0)].demand;
        let cpus: u32 = mine().map(|it| demand(it).cpus.0).sum();
        let memory: u64 = mine().map(|it| demand(it).memory.0.div_ceil(1 << 20) << 20).sum();
        let mut left = HostLeft {
            cpus: MilliCpu(host.cpus.0.checked_sub(cpus).expect("CPUs are taken once")),
            memory: Bytes(host.memory.0.checked_sub(memory).expect("memory is taken once")),
            cards: host.cards.clone(),
        };
        for it in mine() {
            for (card, free) in left.cards.iter_mut().enumerate() {
                let taken = match demand(it).cards {
                    _ if it.cards >> card & 1 == 0 => 0,
                    CardDemand::Part(part) => part.0,
                    _ => host.cards[card].0,
                };
                free.0 = free.0.checked_sub(taken).expect("a card is taken once");
            }
        }
        assert_eq!(cluster.left(u32::try_from(at).unwrap()), Some(left));
    }
}

/// Tasks come and leave; every answer is looked at, and those of two clusters are the same.
fn tell(seed: u64) -> u32 {
    let mut dice = Dice(seed);
    let (mix, hosts) = any_world(&mut dice);
    let mut cluster = Cluster::new(&mix, &hosts).unwrap();
    let mut twin = cluster.clone();
    let (mut live, mut placed) = (Vec::new(), 0);
    for _ in 0..200 {
        if dice.below(3) == 0 && !live.is_empty() {
            let it: Placement = live.swap_remove(dice.below(live.len() as u64) as usize);
            cluster.release(&it).unwrap();
            twin.release(&it).unwrap();
        }
        let kind = KindId(u8::try_from(dice.below(mix.kinds().len() as u64)).unwrap());
        let scanned = cluster.scan(kind);
        let chosen = cluster.place(kind);
        assert_eq!(chosen, scanned, "the index says what all hosts say");
        assert_eq!(chosen, twin.place(kind), "the same input, the same answer");
        live.extend(chosen);
        placed += u32::from(chosen.is_some());
    }
    assert_holds(&mix, &hosts, &live, &cluster);
    placed
}

#[test]
fn it_never_overcommits_and_the_index_is_only_an_index() {
    let placed: u32 = (0..120).map(tell).sum();
    assert!(placed > 5_000, "{placed} placements are too few to say so");
}

/// The room of a host by the words of `docs/placement.md`, in MiB and not in whole numbers.
fn published(mix: &Mix, hosts: &[HostSize], at: usize, left: &HostLeft) -> f64 {
    let all = || hosts.iter().flat_map(|it| &it.cards).map(|card| f64::from(card.0));
    let typical = all().sum::<f64>() / f64::from(u32::try_from(all().count()).unwrap());
    let (mut total, mut asked, mut cpus, mut memory, mut cards) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let free = || left.cards.iter().map(|card| f64::from(card.0));
    let sizes = || hosts[at].cards.iter().map(|card| f64::from(card.0));
    let wholes: Vec<f64> = free().zip(sizes()).filter(|(a, b)| a >= b).map(|(a, _)| a).collect();
    for Kind { demand, weight } in mix.kinds() {
        let weight = f64::from(*weight);
        let (size, usable) = match demand.cards {
            CardDemand::Part(GpuMib(part @ 1..)) => {
                let part = f64::from(part);
                (part, free().filter(|free| *free >= part).sum())
            }
            CardDemand::Whole { cards, .. } => {
                let count = u32::try_from(wholes.len()).unwrap();
                let used = f64::from(count - count % cards) / f64::from(count.max(1));
                (typical * f64::from(cards), wholes.iter().sum::<f64>() * used)
            }
            _ => continue,
        };
        total += weight;
        asked += weight * size;
        cards += weight * usable;
        cpus += weight * f64::from(demand.cpus.0);
        memory += weight * f64::from(u32::try_from(demand.memory.0.div_ceil(1 << 20)).unwrap());
    }
    let serves = |have: f64, want: f64| if want > 0.0 { have * asked / want } else { f64::MAX };
    let mib = f64::from(u32::try_from(left.memory.0 >> 20).unwrap());
    let served = serves(f64::from(left.cpus.0), cpus).min(serves(mib, memory)).min(8_388_608.0);
    let cards = if total > 0.0 { cards / total } else { 0.0 };
    16.0 * cards.min(served) + cards * served / (cards + served).max(f64::MIN_POSITIVE)
}

#[test]
fn the_score_is_the_published_one() {
    let mut compared = 0;
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let (mix, hosts) = any_world(&mut dice);
        if hosts.iter().all(|host| host.cards.is_empty()) {
            continue;
        }
        let mut cluster = Cluster::new(&mix, &hosts).unwrap();
        for _ in 0..dice.below(40) {
            cluster.place(KindId(u8::try_from(dice.below(mix.kinds().len() as u64)).unwrap()));
        }
        for (at, host) in cluster.hosts.iter().enumerate() {
            let words = published(&mix, &hosts, at, &host.left());
            let ours = f64::from(host.room) / 16.0;
            assert!((words - ours).abs() <= 20.0 + words / 1000.0, "{seed}/{at}: {words} {ours}");
            compared += u32::from(ours > 0.0);
        }
    }
    assert!(compared > 500, "{compared} hosts with room are too few to say so");
}

fn kind(cpus: u32, cards: CardDemand) -> Kind {
    let demand = Demand { cpus: MilliCpu::cpus(cpus), memory: Bytes::gib(1), cards };
    Kind { demand, weight: 1 }
}

fn part(cpus: u32, mib: u32) -> Kind {
    kind(cpus, CardDemand::Part(GpuMib(mib)))
}

fn whole(cpus: u32, cards: u32) -> Kind {
    kind(cpus, CardDemand::Whole { cards, memory: GpuMib(0) })
}

fn host(cpus: u32, cards: &[u32]) -> HostSize {
    let cards = cards.iter().map(|size| GpuMib(*size)).collect();
    HostSize { cpus: MilliCpu::cpus(cpus), memory: Bytes::gib(64), cards }
}

fn cluster(kinds: &[Kind], hosts: &[HostSize]) -> Cluster {
    Cluster::new(&Mix::new(kinds.to_vec()).unwrap(), hosts).unwrap()
}

fn place(cluster: &mut Cluster, kind: u8) -> Option<(u32, u64)> {
    cluster.place(KindId(kind)).map(|it| (it.host, it.cards))
}

#[test]
fn a_part_goes_beside_others_and_whole_cards_stay_whole() {
    let kinds = [part(1, 2_000), whole(1, 1)];
    let mut cluster = cluster(&kinds, &[host(32, &[16_000, 16_000])]);
    assert_eq!(place(&mut cluster, 0), Some((0, 0b01)));
    assert_eq!(place(&mut cluster, 0), Some((0, 0b01)));
    assert_eq!(place(&mut cluster, 1), Some((0, 0b10)));
    assert_eq!(place(&mut cluster, 1), None);
}

#[test]
fn a_part_of_a_used_card_costs_less_than_one_of_an_untouched_card() {
    let mix = Mix::new(vec![part(1, 2_000), whole(1, 1)]).unwrap();
    let cost = |size, free| mix.cost_of_part(GpuMib(size), GpuMib(free), GpuMib(2_000));
    assert_eq!(cost(24_000, 16_000), 2_000);
    assert_eq!(cost(16_000, 16_000), 18_000, "a whole card is gone");
    assert_eq!(cost(24_000, 3_500), 3_500, "what is left is too small for anybody");
}

#[test]
fn the_first_of_equals() {
    let mut cluster = cluster(&[whole(1, 1)], &vec![host(8, &[16_000]); 3]);
    let order: Vec<_> = (0..4).map(|_| place(&mut cluster, 0)).collect();
    assert_eq!(order, [Some((0, 1)), Some((1, 1)), Some((2, 1)), None]);
}

#[test]
fn work_without_cards_keeps_off_the_hosts_that_have_them() {
    let kinds = [kind(4, CardDemand::None), whole(4, 1)];
    let mut cluster = cluster(&kinds, &[host(16, &[16_000, 16_000]), host(8, &[])]);
    let order: Vec<_> = (0..3).map(|_| place(&mut cluster, 0)).collect();
    assert_eq!(order, [Some((1, 0)), Some((1, 0)), Some((0, 0))]);
}

#[test]
fn cards_and_cpus_run_out_together() {
    // Host 0 has CPUs to spare for its card, host 1 has not.
    let kinds = [part(12, 4_000), part(1, 4_000)];
    let mut cluster = cluster(&kinds, &[host(26, &[8_000]), host(13, &[8_000])]);
    assert_eq!(place(&mut cluster, 0), Some((0, 1)));
}

#[test]
fn a_large_demand_gets_a_large_card() {
    let kinds = [kind(1, CardDemand::Whole { cards: 1, memory: GpuMib(14_000) })];
    let mut cluster = cluster(&kinds, &[host(8, &[8_000, 16_000])]);
    assert_eq!(place(&mut cluster, 0), Some((0, 0b10)));
    assert_eq!(place(&mut cluster, 0), None);
}

#[test]
fn what_is_not_there_is_neither_taken_nor_given_back() {
    let kinds = [part(1, 3_000), whole(1, 1)];
    let mut cluster = cluster(&kinds, &[host(8, &[8_000])]);
    let placed = cluster.place(KindId(0)).unwrap();
    let before = cluster.left(0);
    let wrong = [
        Placement { kind: KindId(1), ..placed },
        Placement { cards: 0b10, ..placed },
        Placement { cards: 0, ..placed },
        Placement { host: 1, ..placed },
        Placement { kind: KindId(9), ..placed },
    ];
    for it in wrong {
        assert_eq!(cluster.take(&it), Err(Mismatch(it)));
        assert_eq!(cluster.release(&it), Err(Mismatch(it)));
    }
    assert_eq!(cluster.left(0), before);
    cluster.release(&placed).unwrap();
    assert_eq!(cluster.release(&placed), Err(Mismatch(placed)), "nothing is given back twice");
}

#[test]
fn what_a_placement_cannot_name_is_refused() {
    let kinds = vec![part(1, 1); KINDS_MAX + 1];
    assert_eq!(Mix::new(kinds.clone()), Err(Unfit::Kinds(KINDS_MAX + 1)));
    let mix = Mix::new(kinds[1..].to_vec()).unwrap();
    let hosts = [host(1, &[1; CARDS_MAX]), host(1, &[1; CARDS_MAX + 1])];
    assert_eq!(Cluster::new(&mix, &hosts[..1]).unwrap().scan(KindId(63)).unwrap().cards, 1);
    let refused = Cluster::new(&mix, &hosts).unwrap_err();
    assert_eq!(refused, Unfit::Cards { host: 1, cards: CARDS_MAX + 1 });
}
