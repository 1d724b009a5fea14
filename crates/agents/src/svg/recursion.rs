//! The one recursion of all stochastic value gradients (Heess et al. 2015, eqs. 9 to 12).

use std::ops::Range;

use nalgebra::{DMatrix, DVector};

/// Derivatives at one step of a trajectory, in the coordinates of the state and with all noise held
/// fixed: those of a step that was observed, or imagined.
#[derive(Debug, Clone, PartialEq)]
pub struct StepGradient {
    /// ∂r/∂x, ndx.
    pub r_x: DVector<f64>,
    /// ∂r/∂a, nu.
    pub r_u: DVector<f64>,
    /// ∂r/∂x', ndx.
    pub r_xnext: DVector<f64>,
    /// ∂x'/∂x, ndx × ndx.
    pub fx: DMatrix<f64>,
    /// ∂x'/∂a, ndx × nu.
    pub fu: DMatrix<f64>,
    /// ∂π/∂x, nu × ndx.
    pub policy_x: DMatrix<f64>,
}

impl StepGradient {
    /// Zeros of the given sizes.
    #[must_use]
    pub fn zeros(ndx: usize, nu: usize) -> Self {
        Self {
            r_x: DVector::zeros(ndx),
            r_u: DVector::zeros(nu),
            r_xnext: DVector::zeros(ndx),
            fx: DMatrix::zeros(ndx, ndx),
            fu: DMatrix::zeros(ndx, nu),
            policy_x: DMatrix::zeros(nu, ndx),
        }
    }
}

/// The backward pass over steps t of a trajectory, from the last to the first:
///
/// ```text
/// c    = r_x' + γ v_x(t+1)
/// q(t) = r_a + f_aᵀ c                       weight of ∂π/∂θ at t
/// v_x  = r_x + f_xᵀ c + π_xᵀ q(t)
/// ```
///
/// which is eq. 9 with c and q in the place of repeated products. The value's gradient by the
/// parameters, eq. 10, is then Σ γᵗ q(t)ᵀ ∂π/∂θ, one pass of a network over all steps.
#[derive(Debug, Clone)]
pub struct Recursion {
    c: DVector<f64>,
    q: DVector<f64>,
    vx: DVector<f64>,
}

impl Recursion {
    /// Scratch for states of `ndx` and actions of `nu` entries.
    #[must_use]
    pub fn new(ndx: usize, nu: usize) -> Self {
        Self { c: DVector::zeros(ndx), q: DVector::zeros(nu), vx: DVector::zeros(ndx) }
    }

    /// Goes back over `steps[range]`. `vx` is the value's gradient behind the last of them (0 where
    /// nothing comes after) and becomes that at the first; `weights` gets γᵗ⁻ᶠ q(t) for the steps of
    /// the range, nu each, with f the first.
    ///
    /// # Panics
    /// When a length does not fit.
    pub fn backward(
        &mut self,
        steps: &[StepGradient],
        range: Range<usize>,
        discount: f64,
        vx: &mut [f64],
        weights: &mut [f64],
    ) {
        let nu = self.q.len();
        assert_eq!(weights.len(), range.len() * nu, "nu weights per step");
        self.vx.copy_from_slice(vx);
        for (step, weight) in steps[range.clone()].iter().zip(weights.chunks_exact_mut(nu)).rev() {
            self.c.copy_from(&step.r_xnext);
            self.c.axpy(discount, &self.vx, 1.0);
            self.q.copy_from(&step.r_u);
            self.q.gemv_tr(1.0, &step.fu, &self.c, 1.0);
            self.vx.copy_from(&step.r_x);
            self.vx.gemv_tr(1.0, &step.fx, &self.c, 1.0);
            self.vx.gemv_tr(1.0, &step.policy_x, &self.q, 1.0);
            weight.copy_from_slice(self.q.as_slice());
        }
        let mut factor = 1.0;
        for weight in weights.chunks_exact_mut(nu) {
            weight.iter_mut().for_each(|q| *q *= factor);
            factor *= discount;
        }
        vx.copy_from_slice(self.vx.as_slice());
    }
}
