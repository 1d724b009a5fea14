//! Rigid-body trees: kinematics, dynamics and their analytic derivatives; robots from files.
//!
//! A [`Model`] is immutable, a [`Workspace`] has all scratch of one thread; after it is made, nothing
//! allocates.
//!
//! # Frames and conventions
//! - The world has gravity along −z unless a file says otherwise. SI units.
//! - The frame of a body is that of the joint that carries it, moved by q.
//! - Inside, spatial quantities stand in the world's axes about the world's origin, or about the
//!   position of a floating base; what is handed
//!   out says in which frame it stands.
//! - q and v of each kind of joint: see [`Model`]. Derivatives by q are along tangent vectors,
//!   nv × nv.

#![allow(
    clippy::needless_range_loop,
    reason = "rows, columns and parents of several arrays share the index"
)]

mod algorithms;
mod configuration;
mod derivatives;
pub mod description;
pub mod error;
mod gravity;
mod hessian;
pub mod load;
pub mod mjcf;
mod model;
mod operations;
mod passive;
mod plant;
mod plausibility;
mod reach_cost;
mod reach_settings;
mod second_order;
mod spatial;
pub mod urdf;
mod urdf_tree;
mod workspace;
mod xml;

pub use model::{Base, DegreeOfFreedom, Frame, FrameId, Model, ModelError};
pub use operations::{Energy, Twist};
pub use passive::PassiveForces;
pub use plant::{Motor, RigidBodyPlant, RigidBodyScheme, RigidBodyWorkspace};
pub use reach_cost::{ReachCost, ReachWorkspace};
pub use reach_settings::ReachSettings;
pub use second_order::SecondOrderWorkspace;
pub use workspace::Workspace;
