//! Mutated files: whatever comes in, loading ends with a spec or with findings, never a panic.

use super::*;

/// A small generator, so that a failure can be repeated from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // Constants of Knuth's MMIX generator.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides.max(1)
    }
}

const SEED_FILES: [&str; 2] = [
    include_str!("../../../config/example.yaml"),
    "version: 1\nx: &a {b: [1, ~, \"q\\u00e9\", 'x', |\n  t\n]}\n\
     profiles: {p: {<<: *a, cpus: 1}}\n",
];

const PIECES: [&str; 28] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "\t",
    "&a ",
    "*a",
    "!reset ",
    "${",
    "${A:-",
    "$$",
    "\"",
    "'",
    "|\n",
    "#",
    "? ",
    "<<: *a",
    "---\n",
    "\u{feff}",
    "é",
    "\0",
    "99999999999999999999",
    "~",
];

fn mutate(text: &str, dice: &mut Dice) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(chars.len() + 1).min(chars.len());
        match dice.roll(4) {
            0 => {
                let end = (at + dice.roll(20)).min(chars.len());
                chars.drain(at..end);
            }
            1 => {
                let end = (at + dice.roll(40)).min(chars.len());
                let copy: Vec<char> = chars.get(at..end).unwrap_or_default().to_vec();
                let to = dice.roll(chars.len() + 1).min(chars.len());
                chars.splice(to..to, copy);
            }
            2 => chars.truncate(at.max(40)),
            _ => {
                let piece = PIECES[dice.roll(PIECES.len())];
                chars.splice(at..at, piece.chars());
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn mutated_files_never_panic_and_always_say_something() {
    let mut dice = Dice(3);
    let env = [("A", "${A}"), ("PROJECT", "x"), ("TOKEN", "t")];
    for round in 0..1500 {
        let seed = dice.0;
        let text = mutate(SEED_FILES[round % SEED_FILES.len()], &mut dice);
        match load_all(&[&text], &env) {
            Ok(loaded) => {
                let again = load_all(&[&render(&loaded.spec)], &[]).map(|again| again.spec);
                assert_eq!(again, Ok(loaded.spec), "seed {seed}\n{text}");
            }
            Err(found) => {
                assert!(found.errors() > 0 && !found.to_string().is_empty(), "seed {seed}\n{text}");
            }
        }
    }
}

#[test]
fn two_mutated_files_merge_without_a_panic() {
    let mut dice = Dice(11);
    for _ in 0..300 {
        let first = mutate(SEED_FILES[0], &mut dice);
        let second = mutate(SEED_FILES[0], &mut dice);
        if let Err(found) = load_all(&[&first, &second], &[]) {
            assert!(found.errors() > 0);
        }
    }
}

/// What this thread has computed, however often others had the processor meanwhile.
fn computed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The largest files that may come, each of a kind that could cost the square of its size, and the
/// bound that it is refused by.
fn hostile() -> [(String, &'static str); 9] {
    let lines = |count: usize, line: &str| -> String {
        (0..count).map(|n| line.replace('@', &n.to_string())).collect()
    };
    let pools = lines(5000, "  - {name: k@, profile: light}\n");
    let named =
        lines(5000, "  - {name: k@, profile: light, count: 10000, runner_name: 'k@-{n}'}\n");
    [
        (lines(24_000, "k@: 1\n"), "unknown key `k0`"),
        (
            format!(
                "version: 1\npools:\n{pools}lanes: {{l: {{pools: [{}]}}}}",
                lines(15_000, "z@,")
            ),
            "there is no pool `z0`",
        ),
        (format!("version: 1\npools:\n{named}"), "more than `scale_max` (50)"),
        ("[".repeat(1 << 20), "recursion limit exceeded"),
        ("- ".repeat(1 << 19), "nested deeper than 32 levels"),
        ("a:".repeat(1 << 19), "mapping values are not allowed"),
        (format!("a: {}", "${A:-".repeat(200_000)), "nested deeper than 16 levels"),
        (
            format!("a: {}", "ghp_0123456789012345678901 ".repeat(38_000)),
            "this looks like a secret",
        ),
        (format!("a: {}", "x".repeat((1 << 20) - 10)), "unknown key `a`"),
    ]
}

#[test]
fn the_largest_hostile_files_are_refused_with_little_work() {
    let mut wrong = Vec::new();
    for (text, bound) in hostile() {
        let begun = computed();
        let found = load_all(&[&text], &[]).map(|loaded| loaded.spec).expect_err("it is refused");
        let took = computed().saturating_sub(begun);
        let told = messages(&found);
        let is_told = told.len() <= 100 && told.iter().any(|message| message.contains(bound));
        // About a second without optimization; what is quadratic takes minutes.
        let head: String = text.chars().take(20).collect();
        println!("{head:?}: {took:?}");
        if !is_told || took > Duration::from_secs(30) {
            wrong.push(format!("{head:?}: {took:?}, {} findings: {:?}", told.len(), told.first()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
