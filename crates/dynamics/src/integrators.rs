//! Integrators: from ẋ = f(x, u) to x' = F(x, u), the control held constant over the step.
//!
//! The Jacobians are exact for the integrator (chain rule through its stages and substeps), which is
//! what policy and value gradients along simulated trajectories need.

use nalgebra::DVector;

use crate::continuous::{GenericContinuous, Scalar};
use crate::duals::GenericDynamics;
use crate::{
    ContinuousDynamics, Dynamics, DynamicsError, Linearization, Plant, SecondOrderDynamics,
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

/// One substep of an integration scheme for models `M`, with its exact Jacobian.
pub trait Scheme<M: ContinuousDynamics>: Send + Sync {
    /// Writes the state after `h` seconds into `x_next`.
    fn advance(
        &self,
        model: &M,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    );
    /// The same, and the Jacobians of the substep into `ws.substep`.
    fn advance_and_linearize(
        &self,
        model: &M,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    );
    /// The substep on any scalar type, for the check with dual numbers.
    fn advance_generic<N: Scalar>(&self, model: &M, h: f64, x: &[N], u: &[N]) -> Vec<N>
    where
        M: GenericContinuous;
}

/// Scratch of a scheme within one substep.
pub struct Stages<W> {
    model: W,
    /// Slopes of the stages.
    k: [DVector<f64>; 4],
    /// State at which a stage is evaluated.
    at: DVector<f64>,
    /// ∂ẋ at a stage.
    rate: Linearization,
    /// Jacobians of a stage's slope with respect to the start of the substep.
    slope: Linearization,
    /// Jacobians of the state at which a stage is evaluated.
    inner: Linearization,
    /// Jacobians of the substep.
    substep: Linearization,
}

/// Scratch of a [`Discrete`] model.
pub struct IntegratorWorkspace<W> {
    stages: Stages<W>,
    start: DVector<f64>,
    end: DVector<f64>,
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
        let (nx, nu) = (self.nx(), self.nu());
        let vector = || DVector::zeros(nx);
        let matrices = || Linearization::zeros(nx, nu);
        IntegratorWorkspace {
            stages: Stages {
                model: self.model.workspace(),
                k: std::array::from_fn(|_| vector()),
                at: vector(),
                rate: matrices(),
                slope: matrices(),
                inner: matrices(),
                substep: matrices(),
            },
            start: vector(),
            end: vector(),
            product: matrices(),
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
        let IntegratorWorkspace { stages, start, end, product } = ws;
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
}

impl<M: GenericContinuous, S: Scheme<M>> GenericDynamics for Discrete<M, S> {
    fn step_generic<N: Scalar>(&self, x: &[N], u: &[N]) -> Vec<N> {
        (0..self.substeps)
            .fold(x.to_vec(), |x, _| self.scheme.advance_generic(&self.model, self.h(), &x, u))
    }
}

fn slope_generic<M: GenericContinuous, N: Scalar>(model: &M, x: &[N], u: &[N]) -> Vec<N> {
    let mut out = vec![N::zero(); x.len()];
    model.xdot_generic(x, u, &mut out);
    out
}

/// y = x + h k, entry by entry.
fn along<N: Scalar>(x: &[N], k: &[N], h: f64) -> Vec<N> {
    x.iter().zip(k).map(|(&x, &k)| x + k * h).collect()
}

/// Scheme of [`Euler`].
#[derive(Debug, Clone, Copy, Default)]
pub struct EulerScheme;

impl<M: ContinuousDynamics> Scheme<M> for EulerScheme {
    fn advance(
        &self,
        model: &M,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) {
        model.xdot(&mut ws.model, x, u, &mut ws.k[0]);
        x_next.copy_from(x);
        x_next.axpy(h, &ws.k[0], 1.0);
    }
    fn advance_and_linearize(
        &self,
        model: &M,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) {
        self.advance(model, ws, h, x, u, x_next);
        model.xdot_jacobian(&mut ws.model, x, u, &mut ws.rate);
        // Φ = I + h A, Γ = h B
        ws.substep.fx.zip_apply(&ws.rate.fx, |phi, a| *phi = h * a);
        add_identity(&mut ws.substep);
        ws.substep.fu.zip_apply(&ws.rate.fu, |gamma, b| *gamma = h * b);
    }
    fn advance_generic<N: Scalar>(&self, model: &M, h: f64, x: &[N], u: &[N]) -> Vec<N>
    where
        M: GenericContinuous,
    {
        along(x, &slope_generic(model, x, u), h)
    }
}

/// Scheme of [`SemiImplicitEuler`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SemiImplicitEulerScheme;

impl<M: SecondOrderDynamics> Scheme<M> for SemiImplicitEulerScheme {
    fn advance(
        &self,
        model: &M,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) {
        model.xdot(&mut ws.model, x, u, &mut ws.k[0]);
        let nv = x.len() / 2;
        for i in 0..nv {
            let v_next = x[nv + i] + h * ws.k[0][nv + i];
            x_next[nv + i] = v_next;
            x_next[i] = x[i] + h * v_next;
        }
    }
    fn advance_and_linearize(
        &self,
        model: &M,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) {
        self.advance(model, ws, h, x, u, x_next);
        model.xdot_jacobian(&mut ws.model, x, u, &mut ws.rate);
        // ∂v' = [0 I] + h ∂a ; ∂q' = [I 0] + h ∂v'
        let (nv, nx) = (x.len() / 2, x.len());
        for (out, rate) in [(&mut ws.substep.fx, &ws.rate.fx), (&mut ws.substep.fu, &ws.rate.fu)] {
            for column in 0..out.ncols() {
                for i in 0..nv {
                    out[(nv + i, column)] = h * rate[(nv + i, column)];
                    out[(i, column)] = h * h * rate[(nv + i, column)];
                }
            }
        }
        add_identity(&mut ws.substep);
        for i in nv..nx {
            ws.substep.fx[(i - nv, i)] += h;
        }
    }
    fn advance_generic<N: Scalar>(&self, model: &M, h: f64, x: &[N], u: &[N]) -> Vec<N>
    where
        M: GenericContinuous,
    {
        let nv = x.len() / 2;
        let v_next = along(&x[nv..], &slope_generic(model, x, u)[nv..], h);
        let mut next = along(&x[..nv], &v_next, h);
        next.extend(v_next);
        next
    }
}

/// Scheme of [`Rk4`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Rk4Scheme;

/// Fraction of the substep at which stage i is evaluated, along the slope of stage i − 1.
const RK4_NODES: [f64; 4] = [0.0, 0.5, 0.5, 1.0];
/// Share of stage i in the substep.
const RK4_WEIGHTS: [f64; 4] = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];

impl<M: ContinuousDynamics> Scheme<M> for Rk4Scheme {
    fn advance(
        &self,
        model: &M,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) {
        for i in 0..4 {
            stage_state(ws, i, h, x);
            model.xdot(&mut ws.model, &ws.at, u, &mut ws.k[i]);
        }
        x_next.copy_from(x);
        for (k, weight) in ws.k.iter().zip(RK4_WEIGHTS) {
            x_next.axpy(weight * h, k, 1.0);
        }
    }
    fn advance_and_linearize(
        &self,
        model: &M,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) {
        ws.substep.fx.fill_with_identity();
        ws.substep.fu.fill(0.0);
        x_next.copy_from(x);
        for i in 0..4 {
            stage_state(ws, i, h, x);
            model.xdot(&mut ws.model, &ws.at, u, &mut ws.k[i]);
            model.xdot_jacobian(&mut ws.model, &ws.at, u, &mut ws.rate);
            if i == 0 {
                std::mem::swap(&mut ws.slope, &mut ws.rate);
            } else {
                // K_x ← A (I + c h K_x), K_u ← B + A c h K_u
                let c = RK4_NODES[i] * h;
                ws.inner.fx.zip_apply(&ws.slope.fx, |y, k| *y = c * k);
                add_identity(&mut ws.inner);
                ws.inner.fu.copy_from(&ws.slope.fu);
                ws.slope.fx.gemm(1.0, &ws.rate.fx, &ws.inner.fx, 0.0);
                ws.slope.fu.copy_from(&ws.rate.fu);
                ws.slope.fu.gemm(c, &ws.rate.fx, &ws.inner.fu, 1.0);
            }
            let weight = RK4_WEIGHTS[i] * h;
            x_next.axpy(weight, &ws.k[i], 1.0);
            ws.substep.fx.zip_apply(&ws.slope.fx, |phi, k| *phi += weight * k);
            ws.substep.fu.zip_apply(&ws.slope.fu, |gamma, k| *gamma += weight * k);
        }
    }
    fn advance_generic<N: Scalar>(&self, model: &M, h: f64, x: &[N], u: &[N]) -> Vec<N>
    where
        M: GenericContinuous,
    {
        let mut k = vec![N::zero(); x.len()];
        let mut next = x.to_vec();
        for (node, weight) in RK4_NODES.iter().zip(RK4_WEIGHTS) {
            k = slope_generic(model, &along(x, &k, node * h), u);
            next = along(&next, &k, weight * h);
        }
        next
    }
}

/// Writes the state at which stage `i` of RK4 is evaluated into `ws.at`.
fn stage_state<W>(ws: &mut Stages<W>, i: usize, h: f64, x: &DVector<f64>) {
    ws.at.copy_from(x);
    if i > 0 {
        ws.at.axpy(RK4_NODES[i] * h, &ws.k[i - 1], 1.0);
    }
}

fn add_identity(jacobian: &mut Linearization) {
    for i in 0..jacobian.fx.nrows() {
        jacobian.fx[(i, i)] += 1.0;
    }
}
