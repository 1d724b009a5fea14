//! Checkpoints that survive a kill at any moment.
//!
//! From the bottom up: [`write_file_atomic`] replaces one file whole, [`Tensors`] is one file of
//! named arrays, a [`SnapshotWriter`] builds a folder that appears under its name only when
//! everything in it is on the disk, a [`Snapshot`] reads such a folder and checks every byte of it
//! first, and [`Checkpoints`] keeps the last few snapshots of a run.
//!
//! The formats are JSON and safetensors, so opening a file never runs code from it. Files are not
//! trusted: lengths are bounded before memory is reserved, names cannot leave their folder, and
//! nothing here panics on bad input.

mod error;
mod files;
mod history;
mod snapshot;
mod tensors;

pub use error::CheckpointError;
pub(crate) use files::read_limited;
pub use files::{content_hash, write_file_atomic};
pub use history::{Checkpoints, Latest, Skipped};
pub use snapshot::{Snapshot, SnapshotWriter};
pub use tensors::Tensors;
