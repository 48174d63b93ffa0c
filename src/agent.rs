//! The agent `slate-runner`: process 1 of every runner container.
