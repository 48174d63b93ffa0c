//! The shell: the one loop that feeds the core, and what carries out its effects.

pub mod handle;
