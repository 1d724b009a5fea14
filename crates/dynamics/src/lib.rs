//! dynamics
mod random;
pub use random::{Stream, StreamState};
