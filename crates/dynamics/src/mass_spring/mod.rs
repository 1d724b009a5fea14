//! Mass-spring networks with implicit integration and exact sensitivities.
//!
//! A [`NetworkSpec`] says what there is: point masses, springs that pull and push or pull only,
//! gravity, damping, and handles, which are moved from outside. [`MassSpring`] integrates it, with the
//! velocities of the handles as control: every step minimises the energy
//!
//! ```text
//! Φ(x) = (c/2)(x − x̃)ᵀM(x − x̃) + U(x, p'),   p' = p + h u,
//! ```
//!
//! by a guarded Newton method, with x̃ and c from implicit Euler (BDF1) or from the second-order
//! backward differentiation formula (BDF2). The derivative of the step follows from the implicit
//! function theorem with the factor of ∂²Φ/∂x², which is banded where the network is.
//!
//! ```
//! use dynamics::mass_spring::{Integration, Link, MassSpring, Scheme, Startup, hanging, pendulum};
//! use dynamics::{Dynamics, Plant};
//! use nalgebra::dvector;
//!
//! let links = [Link::pendulum()];
//! let integration = Integration { scheme: Scheme::Bdf2, startup: Startup::Bdf1, dt: 1.0 / 60.0 };
//! let model = MassSpring::new(pendulum(2, &links), integration)?;
//! let x = model.state(&hanging(2, &links, &[0.0, 0.0])?, &[0.0, 0.0], &[0.0, 0.0])?;
//! let (mut ws, mut x_next, mut derivative) = (model.workspace(), x.clone(), model.new_derivative());
//! model.derivative(&mut ws, &x, &dvector![1.0, 0.0], &mut x_next, &mut derivative)?;
//! // The gradient of a cost with gradient λ at x', by state and by control.
//! let (lambda, mut by_x, mut by_u) = ([1.0; 10], [0.0; 10], [0.0; 2]);
//! derivative.adjoint(&mut derivative.scratch(), &lambda, &mut by_x, &mut by_u);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod curvature;
mod derivative;
mod diagnostics;
mod factor;
mod law;
mod layout;
mod mechanics;
mod model;
mod network;
mod newton;
mod pendulums;
mod scheme;

pub use derivative::MassSpringDerivative;
pub use diagnostics::Energies;
pub use law::{Law, Slopes};
pub use layout::{Layout, NetworkObservation};
pub use model::{MassSpring, MassSpringWorkspace};
pub use network::{End, NetworkError, NetworkSpec, Spring};
pub use newton::NewtonStatistics;
pub use pendulums::{ChainStart, GRAVITY, Link, chain_start, hanging, pendulum};
pub use scheme::{Integration, Scheme, Startup};
