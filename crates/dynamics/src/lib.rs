//! Models, integrators, costs and tasks that know their own derivatives.
//!
//! The crate under everything else in Costate, and usable alone: it depends on linear algebra and
//! nothing of machine learning.
//!
//! ```
//! use dynamics::{Dynamics, Linearization, Plant, Rk4};
//! use dynamics::models::{Cartpole, CartpoleParameters, DeadbandKind};
//! use nalgebra::dvector;
//!
//! let cartpole = Cartpole::new(CartpoleParameters {
//!     cart_mass: 1.0, pole_mass: 0.2, length: 0.5, gravity: 9.81,
//!     damping: 0.0, friction: 0.0, friction_slope: 5.0,
//!     deadband: 0.0, deadband_kind: DeadbandKind::Zeroing,
//! })?;
//! let model = Rk4::new(cartpole, 0.05)?;
//! let (x, u) = (dvector![0.0, 3.0, 0.0, 0.0], dvector![1.0]);
//! let (mut ws, mut x_next) = (model.workspace(), x.clone());
//! let mut jacobian = Linearization::of(&model);
//! model.step(&mut ws, &x, &u, &mut x_next)?;
//! model.linearize(&mut ws, &x, &u, &mut jacobian)?; // fx: 4 × 4, fu: 4 × 1
//! # Ok::<(), dynamics::DynamicsError>(())
//! ```
//!
//! # Map
//! - [`Plant`] steps, [`Dynamics`] also linearises; [`AnyPlant`], [`AnyDynamics`] are their
//!   object-safe twins; a [`StepDerivative`] is what sweeps over a trajectory multiply with.
//! - [`ContinuousDynamics`] becomes discrete through [`Euler`], [`SemiImplicitEuler`] or [`Rk4`];
//!   [`FiniteDifference`] differentiates a black box.
//! - [`Cost`], [`TerminalCost`] and [`QuadraticCost`]; [`CostReward`] makes a reward of a cost.
//! - [`Task`] is a control problem, [`Environment`] runs it, [`TransitionGradient`] differentiates
//!   its transitions.
//! - [`Tracker`] is what a policy that follows references has beside its network.
//! - [`check`] compares derivatives with central differences and dual numbers.
//! - [`rigid_body`] has kinematic trees and robots from files.
//! - [`mass_spring`] has networks of masses, springs and handles with implicit integration.
//! - [`models`] has the models, [`planar`] the mechanics of walkers in a plane, [`Stream`] the
//!   random numbers.
//!
//! # Conventions
//! SI units. Costs are minimised, reward = −cost. Index order follows the letters: `lux` is nu × ndx.
//! Derivatives at kinks are those of the branch that is taken. f64 throughout.

// Files that tests inside and outside the crate share name it alike.
#[cfg(test)]
extern crate self as dynamics;
#[cfg(test)]
#[path = "../tests/common/random_tree.rs"]
mod random_tree;

mod angles;
pub mod check;
mod continuous;
mod cost;
mod duals;
mod environment;
mod erased;
mod error;
mod finite_difference;
mod integrators;
pub mod mass_spring;
pub mod models;
pub mod planar;
mod plant;
mod random;
pub mod rigid_body;
mod schemes;
mod state_space;
mod step_derivative;
mod task;
mod tracking;

pub use angles::{wrap_to_pi, wrap_to_tau};
pub use continuous::{
    ContinuousDynamics, GenericContinuous, Scalar, SecondOrderDynamics, XdotHessian,
};
pub use cost::{
    Cost, CostExpansion, GenericCost, HessianKind, QuadraticCost, TerminalCost, ZeroTerminalCost,
};
pub use duals::{DualOracle, GenericDynamics, real, xdot_hessian_by_duals};
pub use environment::{Environment, JacobianSource, Step, TransitionGradient};
pub use erased::{AnyCost, AnyDynamics, AnyPlant, AnyTerminalCost, Scratch};
pub use error::{DynamicsError, check_vector};
pub use finite_difference::FiniteDifference;
pub use integrators::{Discrete, Euler, IntegratorWorkspace, Rk4, SemiImplicitEuler};
pub use plant::{DerivativeKind, Dynamics, HessianProduct, Linearization, Plant};
pub use random::{Stream, StreamState};
pub use schemes::{EulerScheme, Rk4Scheme, Scheme, SemiImplicitEulerScheme, Stages};
pub use state_space::{StateSpace, States};
pub use step_derivative::{DerivativeScratch, StepDerivative};
pub use task::{
    ActionBounds, CostReward, End, Move, Objective, Observation, ObservationJacobian, RewardAt,
    RewardGradient, StateObservation, Task, Termination, difference_reward,
};
pub use tracking::{ControlJacobian, GenericControl, Tracker, TrackerShape};
