//! What the program finds of cards: the library's calls through a stand-in, and kernel files.

mod stand_in;

#[path = "../support/nvml.rs"]
mod nvml;
