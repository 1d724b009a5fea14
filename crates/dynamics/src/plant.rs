//! Discrete-time models: something that steps ([`Plant`]), and something that also knows its
//! derivatives ([`Dynamics`]).

use std::any::Any;

use nalgebra::{DMatrix, DVector};

use crate::finite_difference::neighbours;
use crate::{DynamicsError, States, StepDerivative};

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
    /// The space of the states; a model with [`Plant::ndx`] ≠ [`Plant::nx`] must say which.
    fn states(&self) -> States<'_> {
        States::Vector
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

    /// Room for the derivative of one step, in the form that [`Dynamics::derivative`] writes.
    fn new_derivative(&self) -> StepDerivative {
        StepDerivative::Dense(Linearization::zeros(self.ndx(), self.nu()))
    }
    /// Writes x' = f(x, u) and the derivative of this very step: [`Plant::step`] and
    /// [`Dynamics::linearize`] in one, which a model whose step is an implicit equation solves once.
    /// An `out` made by a model of another form is replaced by a new one.
    ///
    /// # Errors
    /// As [`Plant::step`].
    fn derivative(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
        out: &mut StepDerivative,
    ) -> Result<(), DynamicsError> {
        self.step(ws, x, u, x_next)?;
        if let StepDerivative::Dense(jacobian) = out {
            return self.linearize(ws, x, u, jacobian);
        }
        let mut jacobian = Linearization::zeros(self.ndx(), self.nu());
        let result = self.linearize(ws, x, u, &mut jacobian);
        *out = StepDerivative::Dense(jacobian);
        result
    }

    /// Where the Jacobians come from.
    fn derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }

    /// Writes the second derivatives of λ·f(x, u) by x and u, in the coordinates x ⊕ dx of state
    /// and next state; `lambda` is a tangent vector at f(x, u). The default takes central
    /// differences of [`Dynamics::linearize`].
    ///
    /// # Errors
    /// As [`Plant::step`].
    fn hessian_product(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        difference_jacobians(self, ws, x, u, lambda, out)
    }
    /// Where [`Dynamics::hessian_product`] comes from; override it together with the product.
    fn hessian_product_kind(&self) -> DerivativeKind {
        DerivativeKind::FiniteDifference
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

/// Second derivatives of a step, contracted with a costate λ: those of λ·f(x, u).
#[derive(Debug, Clone)]
pub struct HessianProduct {
    /// ∂²(λ·f)/∂x², ndx × ndx.
    pub xx: DMatrix<f64>,
    /// ∂²(λ·f)/∂u∂x, nu × ndx.
    pub ux: DMatrix<f64>,
    /// ∂²(λ·f)/∂u², nu × nu.
    pub uu: DMatrix<f64>,
    differences: DifferenceScratch,
}

/// What central differences of Jacobians need.
#[derive(Debug, Clone)]
struct DifferenceScratch {
    at: Carried,
    x: DVector<f64>,
    u: DVector<f64>,
    dx: DVector<f64>,
    gradient: DVector<f64>,
    inverse: DMatrix<f64>,
}

/// Jacobians at a moved point, and the costate carried to the state that follows it.
#[derive(Debug, Clone)]
struct Carried {
    jacobian: Linearization,
    lambda: DVector<f64>,
    /// x' at the point itself and at the moved one.
    x_next: DVector<f64>,
    moved_next: DVector<f64>,
    chart: DMatrix<f64>,
}

impl HessianProduct {
    /// Zeros, and the scratch of the default of [`Dynamics::hessian_product`], for a model.
    #[must_use]
    pub fn of(model: &impl Plant) -> Self {
        let (nx, ndx, nu) = (model.nx(), model.ndx(), model.nu());
        let (state, tangent) = (|| DVector::zeros(nx), || DVector::zeros(ndx));
        Self {
            xx: DMatrix::zeros(ndx, ndx),
            ux: DMatrix::zeros(nu, ndx),
            uu: DMatrix::zeros(nu, nu),
            differences: DifferenceScratch {
                at: Carried {
                    jacobian: Linearization::zeros(ndx, nu),
                    lambda: tangent(),
                    x_next: state(),
                    moved_next: state(),
                    chart: DMatrix::zeros(ndx, ndx),
                },
                x: state(),
                u: DVector::zeros(nu),
                dx: tangent(),
                gradient: tangent(),
                inverse: DMatrix::zeros(ndx, ndx),
            },
        }
    }

    /// Makes `xx` and `uu` symmetric by taking the mean with their transposes.
    pub fn symmetrize(&mut self) {
        for m in [&mut self.xx, &mut self.uu] {
            for column in 0..m.ncols() {
                for row in 0..column {
                    let mean = 0.5 * (m[(row, column)] + m[(column, row)]);
                    m[(row, column)] = mean;
                    m[(column, row)] = mean;
                }
            }
        }
    }
}

impl Carried {
    fn move_to<D: Dynamics + ?Sized>(
        &mut self,
        model: &D,
        ws: &mut D::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
    ) -> Result<(), DynamicsError> {
        model.linearize(ws, x, u, &mut self.jacobian)?;
        match model.states() {
            States::Vector => self.lambda.copy_from(lambda),
            States::Manifold(space) => {
                model.step(ws, x, u, &mut self.moved_next)?;
                space.difference_jacobian(&self.x_next, &self.moved_next, &mut self.chart);
                self.lambda.gemv_tr(1.0, &self.chart, lambda, 0.0);
            }
        }
        Ok(())
    }
}

/// The default of [`Dynamics::hessian_product`].
///
/// On a Lie group the gradient of δ ↦ λ·(f(x ⊕ δ) ⊖ f(x)) away from δ = 0 is J(δ)ᵀ fxᵀ Lᵀ λ, with L
/// the derivative of ⊖ at the next states and J that of x ⊕ δ by δ. To first order in δ, J is
/// 2 − J⁻¹, whose error is even in δ and cancels in the difference.
pub(crate) fn difference_jacobians<D: Dynamics + ?Sized>(
    model: &D,
    ws: &mut D::Workspace,
    x: &DVector<f64>,
    u: &DVector<f64>,
    lambda: &DVector<f64>,
    out: &mut HessianProduct,
) -> Result<(), DynamicsError> {
    let step = f64::EPSILON.cbrt();
    let states = model.states();
    let HessianProduct { xx, ux, uu, differences } = out;
    let DifferenceScratch { at, x: x_moved, u: u_moved, dx, gradient, inverse } = differences;
    model.step(ws, x, u, &mut at.x_next)?;
    for i in 0..dx.len() {
        let size = if matches!(states, States::Vector) { x[i] } else { 0.0 };
        let (above, below) = neighbours(size, step);
        let width = above - below;
        let (mut xx, mut ux) = (xx.column_mut(i), ux.column_mut(i));
        xx.fill(0.0);
        ux.fill(0.0);
        for (moved, factor) in [(above, 1.0 / width), (below, -1.0 / width)] {
            dx.fill(0.0);
            dx[i] = moved - size;
            states.integrate(x, dx, x_moved);
            at.move_to(model, ws, x_moved, u, lambda)?;
            ux.gemv_tr(factor, &at.jacobian.fu, &at.lambda, 1.0);
            gradient.gemv_tr(1.0, &at.jacobian.fx, &at.lambda, 0.0);
            xx.axpy(factor, gradient, 1.0);
            if let States::Manifold(space) = states {
                space.difference_jacobian(x, x_moved, inverse);
                xx.axpy(factor, gradient, 1.0);
                xx.gemv_tr(-factor, inverse, gradient, 1.0);
            }
        }
    }
    u_moved.copy_from(u);
    for j in 0..u.len() {
        let (above, below) = neighbours(u[j], step);
        let mut uu = uu.column_mut(j);
        uu.fill(0.0);
        for (moved, factor) in [(above, 1.0), (below, -1.0)] {
            u_moved[j] = moved;
            at.move_to(model, ws, x, u_moved, lambda)?;
            uu.gemv_tr(factor / (above - below), &at.jacobian.fu, &at.lambda, 1.0);
        }
        u_moved[j] = u[j];
    }
    out.symmetrize();
    Ok(())
}
