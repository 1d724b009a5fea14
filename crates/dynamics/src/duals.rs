//! Exact derivatives by forward-mode dual numbers: the independent second opinion on hand-derived
//! Jacobians, for every model that is written generically over its scalar.

use nalgebra::DVector;
use num_dual::Dual64;

use crate::Linearization;
use crate::continuous::Scalar;

/// A discrete-time model whose step works on every [`Scalar`].
pub trait GenericDynamics {
    /// x' for a state and control of any scalar type.
    fn step_generic<S: Scalar>(&self, x: &[S], u: &[S]) -> Vec<S>;
}

/// Derivatives by dual numbers behind a pointer; every [`GenericDynamics`] implements it.
pub trait DualOracle: Send + Sync {
    /// Jacobians of one step.
    fn dual_linearize(&self, x: &DVector<f64>, u: &DVector<f64>) -> Linearization;
    /// Jacobians of the final state of a whole roll-out: with respect to the initial state (`fx`)
    /// and to the stacked controls u₀, u₁, … (`fu`, nx × (T·nu)).
    fn dual_rollout(&self, x0: &DVector<f64>, us: &[DVector<f64>]) -> Linearization;
}

impl<M: GenericDynamics + Send + Sync> DualOracle for M {
    fn dual_linearize(&self, x: &DVector<f64>, u: &DVector<f64>) -> Linearization {
        self.dual_rollout(x, std::slice::from_ref(u))
    }

    fn dual_rollout(&self, x0: &DVector<f64>, us: &[DVector<f64>]) -> Linearization {
        let nx = x0.len();
        let nu = us.first().map_or(0, DVector::len);
        let mut out = Linearization::zeros(nx, nu * us.len());
        // One pass per input, with the derivative seeded there.
        for input in 0..nx + nu * us.len() {
            let seeded = |value: f64, position: usize| {
                Dual64::new(value, if position == input { 1.0 } else { 0.0 })
            };
            let mut x: Vec<_> = x0.iter().enumerate().map(|(i, &v)| seeded(v, i)).collect();
            for (t, u) in us.iter().enumerate() {
                let u: Vec<_> =
                    u.iter().enumerate().map(|(j, &v)| seeded(v, nx + t * nu + j)).collect();
                x = self.step_generic(&x, &u);
            }
            for (row, value) in x.iter().enumerate() {
                if input < nx {
                    out.fx[(row, input)] = value.eps;
                } else {
                    out.fu[(row, input - nx)] = value.eps;
                }
            }
        }
        out
    }
}

/// The real part of any scalar, for the choice of a branch.
#[must_use]
pub(crate) fn real<S: Scalar>(value: S) -> f64 {
    value.re()
}
