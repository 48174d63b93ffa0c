//! The CLI's side of the API: one connection to the supervisor's socket.
