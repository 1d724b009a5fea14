//! Planar mechanisms on flat ground: a floating root with links on hinges, springs, joint limits and
//! penalty contact, in the time stepping of DFlex (Xu et al., ICLR 2022) that the hopper and the
//! half-cheetah of VG-SAC use.
//!
//! A mechanism moves in the x–height plane. Its configuration is q = [x, z, θ, q₃, …] with root
//! height h = h₀ + z and pitch θ about the axis that tips the top towards +x; the state is [q, v]
//! with v = q̇. A vector (a_x, a_z) of a body at absolute angle φ stands in the world as
//! (a_x cos φ + a_z sin φ, −a_x sin φ + a_z cos φ). The angle of a link is φ = φ_parent + σ q with
//! σ = ±1 for a hinge about the positive or negative pitch axis.
//!
//! One control step of length dt is n substeps of h = dt/n:
//!
//! ```text
//! (H + a·1) q̈ = τ(u) − C(q, v) − G(q) − k q − d v − ν v + f_limit(q) + Σ Jᵀ F
//! v⁺ = v + h q̈,   q⁺ = q + h v⁺
//! ```
//!
//! The mass matrix H is that of the *first* substep, for all n of them. Armature a and viscosity ν
//! act on every degree of freedom, the root included. τ = strength · clip(u, −1, 1).
//!
//! Inside, everything is in absolute angles p = [x, z, φ₀, φ₁, …]. There bias forces couple a body
//! with its ancestors only, contact has a diagonal geometric stiffness, and no recursion is needed;
//! since q = T p with a constant T, the steps are the same. Jacobians are carried through the
//! substeps eight columns at a time.

#![expect(
    clippy::needless_range_loop,
    reason = "several arrays run over the same coordinates, and sums are written as in the formulas"
)]

mod contact;
mod description;
mod sensitivity;
mod step;
mod tree;

pub use contact::{ContactKind, ContactParameters};
pub use description::{Capsule, HingeAxis, PlanarDescription, PlanarLink};
pub use sensitivity::PlanarWorkspace;
pub use tree::PlanarTree;
