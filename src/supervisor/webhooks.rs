//! The door for webhooks: takes a delivery in, checks whose it is, and answers at once. What it
//! says only makes the fleet faster: polling finds whatever is lost here.

mod door;
mod server;

pub(super) use door::{Door, Route};

#[cfg(test)]
mod tests;
