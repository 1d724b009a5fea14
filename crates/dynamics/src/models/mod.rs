//! Models with hand-derived derivatives.

mod cartpole;
mod pendulum;

pub use cartpole::{Cartpole, CartpoleParameters, DeadbandKind};
pub use pendulum::{Pendulum, PendulumParameters};
