//! What the program finds of cards: the library's calls through a stand-in, and kernel files.

mod codes;
mod probe;
mod stand_in;

#[path = "../support/nvml.rs"]
mod nvml;

use std::path::PathBuf;
use std::time::Duration;

use nvml::StandIn;
use slate_fleet::fleet::gpu::GpuReport;
use slate_fleet::inventory::{GpuProbe, GpuSources, Patience, Roots, XidSink};

/// A probe over a stand-in, without any other card.
fn probe(library: &StandIn, sink: Option<XidSink>) -> GpuProbe {
    GpuProbe::new(sources(library.library()), sink)
}

fn sources(library: PathBuf) -> GpuSources {
    let roots = Roots { sys: "/nowhere".into(), ..Roots::default() };
    GpuSources { nvml_lib: Some(library), roots, ..GpuSources::default() }
}

/// A probe that does not wait long for a library that hangs.
fn impatient(library: &StandIn) -> GpuProbe {
    let patience = Patience { list: Duration::from_secs(4), card: Duration::from_secs(2) };
    GpuProbe::new(GpuSources { patience, ..sources(library.library()) }, None)
}

fn once(library: &StandIn) -> GpuReport {
    probe(library, None).read(Duration::ZERO)
}
