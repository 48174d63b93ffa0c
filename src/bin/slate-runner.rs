//! Slate.
fn main() {}
