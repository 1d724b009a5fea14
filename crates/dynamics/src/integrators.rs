//! Integrators: from ẋ = f(x, u) to x' = F(x, u), the control held constant over the step.
//!
//! The derivatives are exact for the integrator (chain rule through its stages and substeps), which is
//! what policy and value gradients along simulated trajectories need. Second ones need those of the
//! model ([`ContinuousDynamics::xdot_hessian`]); without, they are differences of the Jacobians.

use nalgebra::DVector;

use crate::continuous::{GenericContinuous, Scalar};
use crate::duals::GenericDynamics;
use crate::plant::difference_jacobians;
use crate::schemes::{EulerScheme, Rk4Scheme, Scheme, SemiImplicitEulerScheme, Stages};
use crate::{
    ContinuousDynamics, DerivativeKind, Dynamics, DynamicsError, HessianProduct, Linearization,
    Plant,
};

/// A continuous model made discrete: `substeps` steps of the scheme `S` per control step of `dt`
/// seconds.
#[derive(Debug, Clone)]
pub struct Discrete<M, S> {
    model: M,
    scheme: S,
    dt: f64,
    substeps: usize,
}

/// Explicit Euler, first order: x' = x + h f(x, u).
pub type Euler<M> = Discrete<M, EulerScheme>;
/// Semi-implicit (symplectic) Euler, first order: v' = v + h a(q, v, u), then q' = q + h v'.
pub type SemiImplicitEuler<M> = Discrete<M, SemiImplicitEulerScheme>;
/// The classical fourth-order Runge–Kutta method.
pub type Rk4<M> = Discrete<M, Rk4Scheme>;

impl<M: ContinuousDynamics, S: Scheme<M> + Default> Discrete<M, S> {
    /// One step of the scheme per control step of `dt` seconds.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] unless `dt` is positive and finite.
    pub fn new(model: M, dt: f64) -> Result<Self, DynamicsError> {
        Self::with_substeps(model, dt, 1)
    }

    /// `substeps` steps of dt/substeps per control step of `dt` seconds.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] unless `dt` is positive and finite and `substeps` at least 1.
    pub fn with_substeps(model: M, dt: f64, substeps: usize) -> Result<Self, DynamicsError> {
        let refuse = |parameter, value, needed| {
            Err(DynamicsError::Parameter {
                model: model.name().to_owned(),
                parameter,
                value,
                needed,
            })
        };
        if !(dt.is_finite() && dt > 0.0) {
            return refuse("dt", dt, "positive and finite, in seconds");
        }
        if substeps == 0 {
            return refuse("substeps", 0.0, "at least 1");
        }
        Ok(Self { model, scheme: S::default(), dt, substeps })
    }
}

impl<M, S> Discrete<M, S> {
    /// The model in continuous time.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Length of a control step (s).
    pub fn dt(&self) -> f64 {
        self.dt
    }

    fn h(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few substeps")]
        let substeps = self.substeps as f64;
        self.dt / substeps
    }
}

/// Scratch of a [`Discrete`] model.
pub struct IntegratorWorkspace<W> {
    stages: Stages<W>,
    /// Where the substeps start, for second derivatives.
    starts: Vec<DVector<f64>>,
    start: DVector<f64>,
    end: DVector<f64>,
    costate: DVector<f64>,
    product: Linearization,
}

impl<M: ContinuousDynamics, S: Scheme<M>> Plant for Discrete<M, S> {
    type Workspace = IntegratorWorkspace<M::Workspace>;

    fn name(&self) -> &str {
        self.model.name()
    }
    fn nx(&self) -> usize {
        self.model.nx()
    }
    fn nu(&self) -> usize {
        self.model.nu()
    }
    fn workspace(&self) -> Self::Workspace {
        let vector = || DVector::zeros(self.nx());
        IntegratorWorkspace {
            stages: Stages::new(self.model.workspace(), self),
            starts: vec![vector(); self.substeps],
            start: vector(),
            end: vector(),
            costate: vector(),
            product: Linearization::of(self),
        }
    }
    fn step(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next.copy_from(x);
        for _ in 0..self.substeps {
            ws.start.copy_from(x_next);
            self.scheme.advance(&self.model, &mut ws.stages, self.h(), &ws.start, u, x_next);
        }
        Ok(())
    }
}

impl<M: ContinuousDynamics, S: Scheme<M>> Dynamics for Discrete<M, S> {
    fn linearize(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.fill_with_identity();
        out.fu.fill(0.0);
        let IntegratorWorkspace { stages, start, end, product, .. } = ws;
        end.copy_from(x);
        for _ in 0..self.substeps {
            start.copy_from(end);
            self.scheme.advance_and_linearize(&self.model, stages, self.h(), start, u, end);
            // Chain rule with the substep's Φ, Γ: fx ← Φ fx, fu ← Φ fu + Γ.
            let Linearization { fx: phi, fu: gamma } = &stages.substep;
            product.fx.gemm(1.0, phi, &out.fx, 0.0);
            product.fu.copy_from(gamma);
            product.fu.gemm(1.0, phi, &out.fu, 1.0);
            out.fx.copy_from(&product.fx);
            out.fu.copy_from(&product.fu);
        }
        Ok(())
    }

    fn hessian_product(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        let Some(by_model) = self.model.xdot_hessian() else {
            return difference_jacobians(self, ws, x, u, lambda, out);
        };
        let IntegratorWorkspace { stages, starts, end, costate, .. } = ws;
        let (model, h) = (&self.model, self.h());
        starts[0].copy_from(x);
        for s in 1..self.substeps {
            let (before, after) = starts.split_at_mut(s);
            self.scheme.advance(model, stages, h, &before[s - 1], u, &mut after[0]);
        }
        // From the last substep back: what lies behind a substep counts through its Jacobians.
        costate.copy_from(lambda);
        for (s, start) in starts.iter().enumerate().rev() {
            if self.substeps > 1 || S::STAGES > 1 {
                self.scheme.advance_and_linearize(model, stages, h, start, u, end);
            }
            self.scheme.differentiate_twice(model, by_model, stages, h, start, u, costate);
            if s + 1 < self.substeps {
                stages.add_later(out);
            }
            out.xx.copy_from(&stages.hessian.xx);
            out.ux.copy_from(&stages.hessian.ux);
            out.uu.copy_from(&stages.hessian.uu);
            if s > 0 {
                // λ ← Φᵀ λ
                end.gemv_tr(1.0, &stages.substep.fx, costate, 0.0);
                std::mem::swap(end, costate);
            }
        }
        out.symmetrize();
        Ok(())
    }
    fn hessian_product_kind(&self) -> DerivativeKind {
        match self.model.xdot_hessian() {
            Some(_) => DerivativeKind::Analytic,
            None => DerivativeKind::FiniteDifference,
        }
    }
}

impl<M: GenericContinuous, S: Scheme<M>> GenericDynamics for Discrete<M, S> {
    fn step_generic<N: Scalar>(&self, x: &[N], u: &[N]) -> Vec<N> {
        (0..self.substeps)
            .fold(x.to_vec(), |x, _| self.scheme.advance_generic(&self.model, self.h(), &x, u))
    }
}
