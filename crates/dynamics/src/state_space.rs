//! Where states live: how a state is moved along a tangent vector, and how two states differ.

use nalgebra::DVector;

/// A space of states with `nx` entries and a tangent space of dimension `ndx`.
///
/// Jacobians of models are with respect to tangent vectors. In a vector space the two coincide; on
/// a Lie group (unit quaternions) they do not.
pub trait StateSpace: Send + Sync {
    /// Entries of a state.
    fn nx(&self) -> usize;
    /// Dimension of the tangent space.
    fn ndx(&self) -> usize;
    /// Writes x ⊕ dx, the state reached from `x` along the tangent vector `dx`.
    fn integrate(&self, x: &DVector<f64>, dx: &DVector<f64>, out: &mut DVector<f64>);
    /// Writes x₁ ⊖ x₀, the tangent vector at `x0` that leads to `x1`.
    fn difference(&self, x0: &DVector<f64>, x1: &DVector<f64>, out: &mut DVector<f64>);
}

/// Rⁿ: addition and subtraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorSpace {
    /// Dimension.
    pub n: usize,
}

impl StateSpace for VectorSpace {
    fn nx(&self) -> usize {
        self.n
    }
    fn ndx(&self) -> usize {
        self.n
    }
    fn integrate(&self, x: &DVector<f64>, dx: &DVector<f64>, out: &mut DVector<f64>) {
        out.copy_from(x);
        *out += dx;
    }
    fn difference(&self, x0: &DVector<f64>, x1: &DVector<f64>, out: &mut DVector<f64>) {
        out.copy_from(x1);
        *out -= x0;
    }
}
