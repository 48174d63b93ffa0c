//! GPUs as tables.

use super::table::{Cell, Table};
use super::{Paint, Tone};
use crate::fleet::gpu::{ComputeMode, GpuHealth, GpuProcess, MigMode};
use crate::fleet::view::{GpuView, GpusView};
use crate::units::GpuMib;

/// The table that `gpus` prints.
#[must_use]
pub fn table(gpus: &GpusView, paint: Paint) -> String {
    let heads =
        ["GPU", "NAME", "MEMORY", "USED", "FREE", "BUSY", "TEMP", "POWER", "LEASES", "STATE"];
    let mut table = Table::new(&heads);
    for gpu in &gpus.cards {
        let it = &gpu.reading;
        table.row(vec![
            it.card.index.to_string().into(),
            it.card.name.as_str().into(),
            size(it.card.memory).into(),
            known(it.used, size).into(),
            known(free(gpu), size).into(),
            known(it.busy_percent, |busy| format!("{busy} %")).into(),
            known(it.temperature, |heat| format!("{heat} °C")).into(),
            known(it.power, |power| format!("{power} W")).into(),
            gpu.leases.len().to_string().into(),
            state(gpu),
        ]);
    }
    table.render(paint)
}

/// The tables that `gpus --format wide` prints: the cards, then what runs on them.
#[must_use]
pub fn wide(gpus: &GpusView, paint: Paint) -> String {
    let mut table = Table::new(&[
        "GPU", "UUID", "NAME", "PCI", "MEMORY", "RESERVED", "USED", "FREE", "FOREIGN", "HEADROOM",
        "BUSY", "TEMP", "POWER", "ECC", "MIG", "MODE", "LEASES", "STATE",
    ]);
    for gpu in &gpus.cards {
        let it = &gpu.reading;
        table.row(vec![
            it.card.index.to_string().into(),
            it.card.uuid.as_str().into(),
            it.card.name.as_str().into(),
            it.card.pci.as_deref().unwrap_or("-").into(),
            size(it.card.memory).into(),
            size(it.card.reserved).into(),
            known(it.used, size).into(),
            known(free(gpu), size).into(),
            size(gpu.foreign).into(),
            size(gpu.headroom).into(),
            known(it.busy_percent, |busy| format!("{busy} %")).into(),
            known(it.temperature, |heat| format!("{heat} °C")).into(),
            known(it.power, |power| format!("{power} W")).into(),
            known(it.ecc_errors, |count| count.to_string()).into(),
            known(it.mig, |mig| mig_word(mig).to_owned()).into(),
            known(it.compute_mode, |mode| mode_word(mode).to_owned()).into(),
            leases(gpu).into(),
            state(gpu),
        ]);
    }
    let mut text = table.render(paint);
    let processes = processes(gpus, paint);
    if !processes.is_empty() {
        text = format!("{text}\n{processes}");
    }
    text
}

fn processes(gpus: &GpusView, paint: Paint) -> String {
    let mut table = Table::new(&["GPU", "PID", "PROCESS", "MEMORY", "BUSY", "RUNNER", "CONTAINER"]);
    let mut is_empty = true;
    for gpu in &gpus.cards {
        for it in gpu.reading.processes.iter().flatten() {
            is_empty = false;
            table.row(process(gpu, it));
        }
    }
    if is_empty { String::new() } else { table.render(paint) }
}

fn process(gpu: &GpuView, it: &GpuProcess) -> Vec<Cell> {
    let short = |id: &crate::ids::ContainerId| id.as_str().chars().take(12).collect::<String>();
    let name = if it.name.is_empty() { "-" } else { &it.name };
    vec![
        gpu.reading.card.index.to_string().into(),
        it.pid.to_string().into(),
        name.into(),
        known(it.memory, size).into(),
        known(it.busy_percent, |busy| format!("{busy} %")).into(),
        it.runner.as_deref().unwrap_or("-").into(),
        // Docker's own short form.
        it.container.as_ref().map_or_else(|| "-".to_owned(), short).into(),
    ]
}

/// What is neither kept by the driver nor in use.
fn free(gpu: &GpuView) -> Option<GpuMib> {
    let it = &gpu.reading;
    it.used.map(|used| GpuMib(it.card.usable().0.saturating_sub(used.0)))
}

fn leases(gpu: &GpuView) -> String {
    match gpu.leases.as_slice() {
        [] => "-".to_owned(),
        leases => leases.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(","),
    }
}

/// `-` for what could not be read, which is not the same as nothing.
fn known<T: Copy>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

fn size(memory: GpuMib) -> String {
    format!("{} MiB", memory.0)
}

fn mig_word(mode: MigMode) -> &'static str {
    match mode {
        MigMode::Off => "off",
        MigMode::On => "on",
        MigMode::Pending => "pending",
    }
}

fn mode_word(mode: ComputeMode) -> &'static str {
    match mode {
        ComputeMode::Shared => "shared",
        ComputeMode::OneProcess => "one process",
        ComputeMode::Prohibited => "prohibited",
    }
}

/// How a card is, and why nothing is placed on it.
fn state(gpu: &GpuView) -> Cell {
    let (tone, health) = match &gpu.reading.health {
        GpuHealth::Ok => (Tone::Good, "Ok".to_owned()),
        GpuHealth::Degraded(why) => (Tone::Bad, format!("Degraded: {why}")),
        GpuHealth::Lost(why) => (Tone::Bad, format!("Lost: {why}")),
        GpuHealth::Unresponsive(why) => (Tone::Bad, format!("Unresponsive: {why}")),
    };
    match &gpu.cordon {
        Some(why) => Cell::toned(Some(Tone::Bad), format!("{health} (cordoned: {why})")),
        None => Cell::toned(Some(tone), health),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::gpu_fixture;

    #[test]
    fn the_table_shows_memory_use_and_state() {
        let expected = include_str!("expected/gpus.txt");
        assert_eq!(table(&gpu_fixture::gpus(), Paint::Off), expected);
    }

    #[test]
    fn the_wide_table_adds_identity_and_processes() {
        let expected = include_str!("expected/gpus-wide.txt");
        assert_eq!(wide(&gpu_fixture::gpus(), Paint::Off), expected);
    }
}
