//! Where states live: how a state is moved along a tangent vector, and how two states differ.

use nalgebra::{DMatrix, DVector};

/// A space of states that is not Rⁿ: states of `nx` entries, tangent vectors of `ndx`.
///
/// Jacobians of models are with respect to tangent vectors. In a vector space the two coincide; on
/// a Lie group (unit quaternions) they do not.
pub trait StateSpace: Send + Sync {
    /// Writes x ⊕ dx, the state reached from `x` along the tangent vector `dx`.
    fn integrate(&self, x: &DVector<f64>, dx: &DVector<f64>, out: &mut DVector<f64>);
    /// Writes x₁ ⊖ x₀, the tangent vector at `x0` that leads to `x1`.
    fn difference(&self, x0: &DVector<f64>, x1: &DVector<f64>, out: &mut DVector<f64>);
    /// Writes ∂(x₁ ⊖ x₀)/∂x₁, ndx × ndx, by tangent vectors at `x1`.
    fn difference_jacobian(&self, x0: &DVector<f64>, x1: &DVector<f64>, out: &mut DMatrix<f64>);
}

/// The space of a model's states: see [`Plant::states`](crate::Plant::states).
#[derive(Clone, Copy)]
pub enum States<'a> {
    /// Rⁿ: addition and subtraction.
    Vector,
    /// Anything else.
    Manifold(&'a dyn StateSpace),
}

impl States<'_> {
    /// Writes x ⊕ dx.
    pub fn integrate(&self, x: &DVector<f64>, dx: &DVector<f64>, out: &mut DVector<f64>) {
        match self {
            Self::Vector => out.zip_zip_apply(x, dx, |out, x, dx| *out = x + dx),
            Self::Manifold(space) => space.integrate(x, dx, out),
        }
    }

    /// Writes x₁ ⊖ x₀.
    pub fn difference(&self, x0: &DVector<f64>, x1: &DVector<f64>, out: &mut DVector<f64>) {
        match self {
            Self::Vector => out.zip_zip_apply(x0, x1, |out, x0, x1| *out = x1 - x0),
            Self::Manifold(space) => space.difference(x0, x1, out),
        }
    }

    /// Writes ∂(x₁ ⊖ x₀)/∂x₁, ndx × ndx.
    pub fn difference_jacobian(
        &self,
        x0: &DVector<f64>,
        x1: &DVector<f64>,
        out: &mut DMatrix<f64>,
    ) {
        match self {
            Self::Vector => out.fill_with_identity(),
            Self::Manifold(space) => space.difference_jacobian(x0, x1, out),
        }
    }
}
