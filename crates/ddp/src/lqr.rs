//! Linear-quadratic regulators: optimal control of linear systems with quadratic costs.
//!
//! - [`finite_horizon`]: time-varying, affine, discounted problems, by the Riccati recursion.
//! - [`discrete`]: the stationary regulator of x⁺ = A x + B u, from the discrete-time algebraic
//!   Riccati equation.
//! - [`continuous`]: the stationary regulator of ẋ = A x + B u, from the continuous-time one.
//!
//! All of them minimise, their gains enter as u = k + K x, and they are written for clarity with
//! allocating matrix operators: the solvers of this crate are tested against them.
//!
//! ```
//! use ddp::lqr::{StationaryProblem, continuous};
//! use nalgebra::{DMatrix, dmatrix};
//!
//! // A double integrator, whose optimal gains are −(1, √3).
//! let problem = StationaryProblem::new(
//!     dmatrix![0.0, 1.0; 0.0, 0.0],
//!     dmatrix![0.0; 1.0],
//!     DMatrix::identity(2, 2),
//!     dmatrix![1.0],
//! );
//! let regulator = continuous(&problem)?;
//! assert!((regulator.gains[(0, 1)] + 3.0_f64.sqrt()).abs() < 1e-12);
//! # Ok::<(), ddp::lqr::LqrError>(())
//! ```

mod doubling;
mod error;
mod finite_horizon;
mod stationary;

pub use doubling::spectral_radius;
pub use error::LqrError;
pub use finite_horizon::{FiniteHorizon, LqStage, LqTerminal, finite_horizon};
pub use stationary::{
    ContinuousRegulator, DiscreteRegulator, StationaryProblem, continuous, discrete,
};
