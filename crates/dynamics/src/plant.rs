//! Discrete-time models: something that steps ([`Plant`]), and something that also knows its
//! derivatives ([`Dynamics`]).

use std::any::Any;

use nalgebra::{DMatrix, DVector};

use crate::DynamicsError;

/// A system in discrete time, x' = f(x, u) or x' = f(x, u, ξ) with exogenous noise ξ.
///
/// A plant is immutable and shared between threads; scratch is a separate value, one per thread.
/// Simulators, learned models and hardware links implement this; what can be differentiated
/// implements [`Dynamics`] as well.
pub trait Plant: Send + Sync {
    /// Scratch of one thread: everything a step needs, allocated once.
    type Workspace: Any + Send;

    /// Name used in messages.
    fn name(&self) -> &str;
    /// Entries of the state x.
    fn nx(&self) -> usize;
    /// Dimension of the state's tangent space; differs from [`Plant::nx`] on a Lie group.
    fn ndx(&self) -> usize {
        self.nx()
    }
    /// Entries of the control u.
    fn nu(&self) -> usize;
    /// Entries of the exogenous noise ξ; 0 for a deterministic plant.
    fn n_noise(&self) -> usize {
        0
    }
    /// Fresh scratch for one thread.
    fn workspace(&self) -> Self::Workspace;
    /// Writes x' = f(x, u) into `x_next`, with zero noise.
    ///
    /// # Errors
    /// What the model reports; a result that is not finite is left for the caller to detect.
    fn step(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError>;
    /// Writes x' = f(x, u, ξ) for the given noise (`n_noise` entries, each standard normal).
    ///
    /// # Errors
    /// As [`Plant::step`].
    fn step_with_noise(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        _noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.step(ws, x, u, x_next)
    }
}

/// A plant that knows the Jacobians of its step.
pub trait Dynamics: Plant {
    /// Writes fx = ∂x'/∂x (ndx × ndx) and fu = ∂x'/∂u (ndx × nu) at (x, u), zero noise, in tangent
    /// coordinates. They are exact for the discrete step, not for the differential equation behind
    /// it. At a kink they are those of the branch that the model takes.
    ///
    /// # Errors
    /// As [`Plant::step`].
    fn linearize(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError>;

    /// Where the derivatives come from.
    fn derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
}

/// How a derivative is obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivativeKind {
    /// Exact up to rounding.
    Analytic,
    /// Central differences of values.
    FiniteDifference,
}

/// Jacobians of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Linearization {
    /// ∂x'/∂x, ndx × ndx.
    pub fx: DMatrix<f64>,
    /// ∂x'/∂u, ndx × nu.
    pub fu: DMatrix<f64>,
}

impl Linearization {
    /// Zero matrices of the given sizes.
    #[must_use]
    pub fn zeros(ndx: usize, nu: usize) -> Self {
        Self { fx: DMatrix::zeros(ndx, ndx), fu: DMatrix::zeros(ndx, nu) }
    }

    /// Zero matrices for a model.
    #[must_use]
    pub fn of(model: &impl Plant) -> Self {
        Self::zeros(model.ndx(), model.nu())
    }
}
