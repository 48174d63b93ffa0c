//! How many runners a machine takes: specification 1's formulas, and the best fleet for a machine.
//!
//! Pure: facts and a spec go in, numbers come out. Start with [`terms`], the locked formulas; then
//! [`optimal`], which places a whole fleet by the core's own rules.

pub mod document;
pub mod machine;
pub mod new_fleet;
pub mod optimal;
pub mod report;
pub mod terms;

#[cfg(test)]
mod tests;
