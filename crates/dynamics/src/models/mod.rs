//! Models with hand-derived derivatives.

mod cartpole;

pub use cartpole::{Cartpole, CartpoleParameters, DeadbandKind};
