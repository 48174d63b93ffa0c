//! The specification's GPU memory reservation map: what is reserved of each card, drawn to scale.

use std::collections::{BTreeMap, BTreeSet};

use super::one_line;
use crate::fleet::gpu::MigMode;
use crate::fleet::view::{GpuView, GpusView, LeaseView};
use crate::units::GpuMib;

/// Columns of a bar; with its words a line fits into 80.
const WIDTH: u32 = 40;
/// The narrowest part with a name of two letters: `[LT]`.
const NAMED: u32 = 4;
/// Longest words beside a bar.
const WORDS_MAX: usize = 36;

/// The map of all cards, with a legend.
#[must_use]
pub fn map(gpus: &GpusView) -> String {
    let mut text = String::new();
    let mut used = BTreeSet::new();
    for gpu in &gpus.cards {
        let card = &gpu.reading.card;
        let name = one_line(&card.name);
        text.push_str(&format!("GPU {}: {name} ({} GB)\n", card.index, gb(card.memory)));
        if let Some(why) = closed(gpu) {
            text.push_str(&format!("{}\n", one_line(&why)));
        }
        if card.memory != GpuMib(0) && gpu.reading.mig != Some(MigMode::On) {
            text.push_str(&bars(gpu, &mut used));
        }
        text.push('\n');
    }
    if text.is_empty() {
        return "no GPU\n".to_owned();
    }
    text.push_str("Legend:\n");
    for (profile, size) in used {
        text.push_str(&format!("{:<6}= {profile} ({} GB)\n", short(&profile), gb(size)));
    }
    text.push_str("[F]   = Free/Available\n");
    text
}

/// Why nothing is placed on a card.
fn closed(gpu: &GpuView) -> Option<String> {
    let mig = gpu.reading.mig == Some(MigMode::On);
    let cut = mig.then(|| "cut into MIG instances, which are cards of their own".to_owned());
    gpu.cordon.as_ref().map(|why| format!("cordoned: {why}")).or(cut)
}

fn bars(gpu: &GpuView, used: &mut BTreeSet<(String, GpuMib)>) -> String {
    let card = &gpu.reading.card;
    let edge = "=".repeat(WIDTH as usize + 2);
    let mut text = format!("{edge}\n|{}|\n", scale(card.memory));
    let mut bar = Bar { total: card.memory.0, from: 0 };
    for (profile, leases) in by_profile(&gpu.leases) {
        let sizes: Vec<u32> = leases.iter().map(|it| it.reserved.0).collect();
        let (drawn, named) = bar.runners(&profile, &sizes);
        if let Some(first) = leases.first().filter(|_| named == Named::Short) {
            used.insert((profile.clone(), first.reserved));
        }
        let reserved = GpuMib(sizes.iter().sum());
        let count = match (leases.len(), named) {
            (1, Named::InFull) => String::new(),
            (count, _) => format!(" ({count}x {profile})"),
        };
        text.push_str(&line(&drawn, &format!("{} GB reserved{count}", gb(reserved))));
    }
    for (memory, letter, words) in
        [(gpu.foreign, 'X', "used by others"), (card.reserved, 'D', "kept by the driver")]
    {
        if memory.0 > 0 {
            text.push_str(&line(
                &bar.part(memory.0, letter),
                &format!("{} GB {words}", gb(memory)),
            ));
        }
    }
    let free = card.memory.0.saturating_sub(bar.from);
    let drawn = bar.part(free, 'F');
    text.push_str(&line(&drawn, &format!("{} GB free", whole_gb(GpuMib(free)))));
    text + &edge + "\n"
}

/// The largest reservations first, as the specification draws them.
fn by_profile(leases: &[LeaseView]) -> Vec<(String, Vec<&LeaseView>)> {
    let mut by: BTreeMap<String, Vec<&LeaseView>> = BTreeMap::new();
    for lease in leases {
        by.entry(lease.profile.to_string()).or_default().push(lease);
    }
    let mut all: Vec<_> = by.into_iter().collect();
    let largest = |leases: &[&LeaseView]| leases.iter().map(|it| it.reserved).max();
    all.sort_by(|a, b| largest(&b.1).cmp(&largest(&a.1)).then_with(|| a.0.cmp(&b.0)));
    all
}

/// Where the name of a profile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// In each part of the bar.
    InFull,
    /// In two letters, which the legend tells.
    Short,
    /// In the words beside the bar.
    Beside,
}

/// How far a card is drawn.
struct Bar {
    total: u32,
    /// MiB that are drawn already.
    from: u32,
}

impl Bar {
    /// The column at which a place of the card is, rounded.
    fn column(&self, mib: u32) -> u32 {
        let scaled = u64::from(mib.min(self.total)) * u64::from(WIDTH) + u64::from(self.total) / 2;
        u32::try_from(scaled / u64::from(self.total.max(1))).unwrap_or(WIDTH)
    }

    /// Takes the next part; its first column and its width.
    fn take(&mut self, mib: u32) -> (u32, u32) {
        let start = self.column(self.from);
        self.from = self.from.saturating_add(mib);
        (start, self.column(self.from).saturating_sub(start))
    }

    /// The runners of one profile side by side, or as one where they are too narrow.
    fn runners(&mut self, profile: &str, sizes: &[u32]) -> (String, Named) {
        let before = self.from;
        let parts: Vec<(u32, u32)> = sizes.iter().map(|size| self.take(*size)).collect();
        let start = parts.first().map_or(0, |(start, _)| *start);
        let name = one_line(profile);
        let fits = |width: u32, text: &str| width as usize >= text.chars().count() + 2;
        let mut drawn = " ".repeat(start as usize);
        if parts.iter().all(|(_, width)| fits(*width, &name)) {
            drawn.extend(parts.iter().map(|(_, width)| boxed(&name, *width, '=')));
            return (drawn, Named::InFull);
        }
        if parts.iter().all(|(_, width)| *width >= NAMED) {
            let cell = |width: u32| format!("{:<1$}", short(&name), width as usize);
            drawn.extend(parts.iter().map(|(_, width)| cell(*width)));
            return (drawn, Named::Short);
        }
        self.from = before;
        let (_, width) = self.take(sizes.iter().sum());
        let all = format!("{}x {name}", sizes.len());
        drawn.push_str(&match fits(width, &all) {
            true => boxed(&all, width, '='),
            false => "#".repeat(width.max(1) as usize),
        });
        (drawn, Named::Beside)
    }

    /// A part that is no runner's.
    fn part(&mut self, mib: u32, letter: char) -> String {
        let (start, width) = self.take(mib);
        let drawn = match width {
            0 => String::new(),
            1 | 2 => letter.to_string().repeat(width as usize),
            _ => boxed(&letter.to_string(), width, ' '),
        };
        " ".repeat(start as usize) + &drawn
    }
}

/// `[==text==]` of this width.
fn boxed(text: &str, width: u32, fill: char) -> String {
    let room = (width as usize).saturating_sub(text.chars().count() + 2);
    let fill = |count: usize| fill.to_string().repeat(count);
    format!("[{}{text}{}]", fill(room / 2), fill(room - room / 2))
}

fn line(drawn: &str, words: &str) -> String {
    let drawn: String = drawn.chars().take(WIDTH as usize).collect();
    let words: String = one_line(words).chars().take(WORDS_MAX).collect();
    format!("|{drawn:<width$}| {words}\n", width = WIDTH as usize)
}

/// `0         4GB       8GB       12GB  16GB`.
fn scale(total: GpuMib) -> String {
    let quarter = WIDTH as usize / 4;
    // Marks of small cards would be the same without a decimal.
    let mark = |mib: u64| match total.0 < 8 * 1024 {
        true => format!("{}GB", gb(GpuMib(u32::try_from(mib).unwrap_or(u32::MAX)))),
        false => format!("{}GB", (mib + 512) / 1024),
    };
    let marks: String = (1..4u64)
        .map(|step| format!("{:<quarter$}", mark(u64::from(total.0) * step / 4)))
        .collect();
    let last = mark(total.0.into());
    let kept = (WIDTH as usize).saturating_sub(last.len());
    let marks = format!("{:<quarter$}{marks}", "0");
    format!("{}{last}", marks.chars().take(kept).collect::<String>())
}

/// `gpu_light` is `[LT]`, as the specification draws it: the first and the last letter.
fn short(profile: &str) -> String {
    let name = profile.strip_prefix("gpu_").unwrap_or(profile);
    let letters = name.chars().take(1).chain(name.chars().last());
    format!("[{}]", letters.flat_map(char::to_uppercase).collect::<String>())
}

/// Profiles have sizes in thousands, cards in binary units: each is told in what it is whole in.
fn gb(memory: GpuMib) -> String {
    if memory.0.is_multiple_of(1000) {
        return (memory.0 / 1000).to_string();
    }
    let tenths = (u64::from(memory.0) * 10 + 512) / 1024;
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        part => format!("{}.{part}", tenths / 10),
    }
}

/// What is left, never more than there is: whole units where there is one.
fn whole_gb(memory: GpuMib) -> String {
    match memory.0 / 1024 {
        0 => gb(memory),
        whole => whole.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::gpu_fixture;

    /// The drawing of specification 1, "GPU Memory Reservation", to scale.
    #[test]
    fn the_map_has_the_content_of_the_specifications() {
        let map = map(&gpu_fixture::specification());
        assert_eq!(map, include_str!("expected/gpu-map.txt"));
        for words in [
            "GPU 0: RTX 5070 Ti (16 GB)",
            "gpu_heavy",
            "8 GB reserved",
            "4 GB reserved (2x gpu_light)",
            "4 GB free",
            "12 GB reserved (6x gpu_light)",
            "[LT]  = gpu_light (2 GB)",
            "[F]   = Free/Available",
        ] {
            assert!(map.contains(words), "{words}\n{map}");
        }
    }

    #[test]
    fn any_card_fits_into_eighty_columns() {
        let map = map(&gpu_fixture::unusual());
        assert_eq!(map, include_str!("expected/gpu-map-unusual.txt"));
        assert!(map.lines().all(|line| line.chars().count() <= 80), "{map}");
    }

    #[test]
    fn a_machine_without_cards_says_so() {
        assert_eq!(map(&GpusView::default()), "no GPU\n");
    }
}
