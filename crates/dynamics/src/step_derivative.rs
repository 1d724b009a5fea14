//! The derivative of one step in the form that its model has it in.

use crate::Linearization;
use crate::mass_spring::MassSpringDerivative;

/// The derivative of one step, x' = f(x, u), as a linear map: what sweeps over a trajectory
/// multiply with. Made by [`Dynamics::new_derivative`](crate::Dynamics::new_derivative), written by
/// [`Dynamics::derivative`](crate::Dynamics::derivative).
///
/// Vectors are tangent vectors of `ndx` entries and controls of `nu`. The products do not allocate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StepDerivative {
    /// Jacobians as matrices.
    Dense(Linearization),
    /// The factored step of a mass-spring network.
    MassSpring(MassSpringDerivative),
}

/// Scratch of the products with a [`StepDerivative`], one per thread; the first product makes room.
#[derive(Debug, Clone, Default)]
pub struct DerivativeScratch {
    pub(crate) solved: Vec<f64>,
    pub(crate) placed: Vec<f64>,
}

impl DerivativeScratch {
    pub(crate) fn fit(&mut self, n: usize) {
        self.solved.resize(n, 0.0);
        self.placed.resize(n, 0.0);
    }
}

impl StepDerivative {
    /// Scratch with room for the products with derivatives of the same model.
    #[must_use]
    pub fn scratch(&self) -> DerivativeScratch {
        let mut scratch = DerivativeScratch::default();
        if let Self::MassSpring(factored) = self {
            scratch.fit(factored.n());
        }
        scratch
    }

    /// Writes fx dx + fu du (ndx).
    pub fn tangent(
        &self,
        scratch: &mut DerivativeScratch,
        dx: &[f64],
        du: &[f64],
        out: &mut [f64],
    ) {
        match self {
            Self::Dense(Linearization { fx, fu }) => {
                out.fill(0.0);
                for (matrix, factors) in [(fx, dx), (fu, du)] {
                    for (column, factor) in matrix.column_iter().zip(factors) {
                        for (out, entry) in out.iter_mut().zip(column.iter()) {
                            *out += entry * factor;
                        }
                    }
                }
            }
            Self::MassSpring(factored) => factored.tangent(scratch, dx, du, out),
        }
    }

    /// Writes fxᵀλ (ndx) and fuᵀλ (nu).
    pub fn adjoint(
        &self,
        scratch: &mut DerivativeScratch,
        lambda: &[f64],
        out_x: &mut [f64],
        out_u: &mut [f64],
    ) {
        match self {
            Self::Dense(Linearization { fx, fu }) => {
                for (matrix, out) in [(fx, out_x), (fu, out_u)] {
                    for (column, out) in matrix.column_iter().zip(out) {
                        *out = column.iter().zip(lambda).map(|(entry, l)| entry * l).sum();
                    }
                }
            }
            Self::MassSpring(factored) => factored.adjoint(scratch, lambda, out_x, out_u),
        }
    }

    /// Writes the Jacobians as matrices.
    pub fn dense(&self, out: &mut Linearization) {
        match self {
            Self::Dense(Linearization { fx, fu }) => {
                out.fx.copy_from(fx);
                out.fu.copy_from(fu);
            }
            Self::MassSpring(factored) => factored.dense(out),
        }
    }
}
