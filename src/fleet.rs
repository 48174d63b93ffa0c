//! The core: pure and synchronous. Facts and requests go in, effects and records come out.
//!
//! No clock, no I/O, no async, no randomness, no unordered maps: the same input gives the same
//! output on every machine. Start with [`event`] and [`effect`], the two alphabets of the border.

pub mod effect;
pub mod event;
pub mod host;
pub mod view;
