//! One substep of an integrator: its state, Jacobians and second derivatives.

use nalgebra::DVector;

use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::{ContinuousDynamics, HessianProduct, Linearization, Plant, SecondOrderDynamics};

/// One substep of an integration scheme for models `M`, with its exact derivatives.
pub trait Scheme<M: ContinuousDynamics>: Send + Sync {
    /// Evaluations of ẋ in a substep.
    const STAGES: usize;
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
    /// Writes the second derivatives of λ·x' of the substep into `ws.hessian`, by those of the
    /// model. With more than one stage only after [`Scheme::advance_and_linearize`] there.
    fn differentiate_twice(
        &self,
        model: &M,
        by_model: XdotHessian<M>,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
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
    /// States at which the stages are evaluated.
    at: [DVector<f64>; 4],
    /// ∂ẋ at the stages.
    rate: [Linearization; 4],
    /// Jacobians of the states at which the stages are evaluated.
    inner: [Linearization; 4],
    /// Jacobians of a stage's slope with respect to the start of the substep.
    slope: Linearization,
    /// Jacobians of the substep.
    pub(crate) substep: Linearization,
    /// Costate of a stage's slope, and of the one after it.
    mu: [DVector<f64>; 2],
    /// Second derivatives of a stage, and of the substep.
    stage_hessian: HessianProduct,
    pub(crate) hessian: HessianProduct,
    product: Linearization,
}

impl<W> Stages<W> {
    /// Scratch around that of the continuous model, for the sizes of the discrete one.
    pub(crate) fn new(model: W, discrete: &impl Plant) -> Self {
        let vector = || DVector::zeros(discrete.nx());
        let matrices = || Linearization::of(discrete);
        Self {
            model,
            k: std::array::from_fn(|_| vector()),
            at: std::array::from_fn(|_| vector()),
            rate: std::array::from_fn(|_| matrices()),
            inner: std::array::from_fn(|_| matrices()),
            slope: matrices(),
            substep: matrices(),
            mu: [vector(), vector()],
            stage_hessian: HessianProduct::of(discrete),
            hessian: HessianProduct::of(discrete),
            product: matrices(),
        }
    }

    /// Adds the second derivatives `later` behind the substep, by its end and u, to its own.
    pub(crate) fn add_later(&mut self, later: &HessianProduct) {
        add_pulled_back(&mut self.hessian, later, &self.substep, &mut self.product);
    }
}

/// to ← to + Zᵀ H Z with Z = [fx fu; 0 I]: second derivatives by (y, u) become those by (x, u) where
/// y has the Jacobians fx, fu. The blocks on the diagonal are right up to their symmetric part.
fn add_pulled_back(
    to: &mut HessianProduct,
    h: &HessianProduct,
    Linearization { fx, fu }: &Linearization,
    product: &mut Linearization,
) {
    product.fx.gemm(1.0, &h.xx, fx, 0.0);
    product.fu.gemm(1.0, &h.xx, fu, 0.0);
    to.xx.gemm_tr(1.0, fx, &product.fx, 1.0);
    to.ux.gemm_tr(1.0, fu, &product.fx, 1.0);
    to.ux.gemm(1.0, &h.ux, fx, 1.0);
    to.uu += &h.uu;
    to.uu.gemm_tr(1.0, fu, &product.fu, 1.0);
    // Twice in the place of once and its transpose.
    to.uu.gemm(2.0, &h.ux, fu, 1.0);
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

/// Scheme of [`Euler`](crate::Euler).
#[derive(Debug, Clone, Copy, Default)]
pub struct EulerScheme;

impl<M: ContinuousDynamics> Scheme<M> for EulerScheme {
    const STAGES: usize = 1;

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
        model.xdot_jacobian(&mut ws.model, x, u, &mut ws.rate[0]);
        // Φ = I + h A, Γ = h B
        ws.substep.fx.zip_apply(&ws.rate[0].fx, |phi, a| *phi = h * a);
        add_identity(&mut ws.substep);
        ws.substep.fu.zip_apply(&ws.rate[0].fu, |gamma, b| *gamma = h * b);
    }
    fn differentiate_twice(
        &self,
        model: &M,
        by_model: XdotHessian<M>,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
    ) {
        ws.mu[0].zip_apply(lambda, |mu, l| *mu = h * l);
        by_model(model, &mut ws.model, x, u, &ws.mu[0], &mut ws.hessian);
    }
    fn advance_generic<N: Scalar>(&self, model: &M, h: f64, x: &[N], u: &[N]) -> Vec<N>
    where
        M: GenericContinuous,
    {
        along(x, &slope_generic(model, x, u), h)
    }
}

/// Scheme of [`SemiImplicitEuler`](crate::SemiImplicitEuler).
#[derive(Debug, Clone, Copy, Default)]
pub struct SemiImplicitEulerScheme;

impl<M: SecondOrderDynamics> Scheme<M> for SemiImplicitEulerScheme {
    const STAGES: usize = 1;

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
        model.xdot_jacobian(&mut ws.model, x, u, &mut ws.rate[0]);
        // ∂v' = [0 I] + h ∂a ; ∂q' = [I 0] + h ∂v'
        let (nv, nx) = (x.len() / 2, x.len());
        let Stages { substep, rate: [rate, ..], .. } = ws;
        for (out, rate) in [(&mut substep.fx, &rate.fx), (&mut substep.fu, &rate.fu)] {
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
    fn differentiate_twice(
        &self,
        model: &M,
        by_model: XdotHessian<M>,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
    ) {
        // λ·x' has h (λ_v + h λ_q)·a, and what is linear.
        let nv = x.len() / 2;
        for i in 0..nv {
            ws.mu[0][i] = 0.0;
            ws.mu[0][nv + i] = h * (lambda[nv + i] + h * lambda[i]);
        }
        by_model(model, &mut ws.model, x, u, &ws.mu[0], &mut ws.hessian);
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

/// Scheme of [`Rk4`](crate::Rk4).
#[derive(Debug, Clone, Copy, Default)]
pub struct Rk4Scheme;

/// Fraction of the substep at which stage i is evaluated, along the slope of stage i − 1.
const RK4_NODES: [f64; 4] = [0.0, 0.5, 0.5, 1.0];
/// Share of stage i in the substep.
const RK4_WEIGHTS: [f64; 4] = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];

impl<M: ContinuousDynamics> Scheme<M> for Rk4Scheme {
    const STAGES: usize = 4;

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
            model.xdot(&mut ws.model, &ws.at[i], u, &mut ws.k[i]);
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
            model.xdot(&mut ws.model, &ws.at[i], u, &mut ws.k[i]);
            model.xdot_jacobian(&mut ws.model, &ws.at[i], u, &mut ws.rate[i]);
            if i == 0 {
                ws.slope.fx.copy_from(&ws.rate[0].fx);
                ws.slope.fu.copy_from(&ws.rate[0].fu);
            } else {
                // K_x ← A Y_x, K_u ← B + A Y_u with Y_x = I + c h K_x, Y_u = c h K_u
                let c = RK4_NODES[i] * h;
                let (rate, inner) = (&ws.rate[i], &mut ws.inner[i]);
                inner.fx.zip_apply(&ws.slope.fx, |y, k| *y = c * k);
                add_identity(inner);
                inner.fu.copy_from(&ws.slope.fu);
                ws.slope.fx.gemm(1.0, &rate.fx, &inner.fx, 0.0);
                ws.slope.fu.copy_from(&rate.fu);
                ws.slope.fu.gemm(c, &rate.fx, &inner.fu, 1.0);
                inner.fu *= c;
            }
            let weight = RK4_WEIGHTS[i] * h;
            x_next.axpy(weight, &ws.k[i], 1.0);
            ws.substep.fx.zip_apply(&ws.slope.fx, |phi, k| *phi += weight * k);
            ws.substep.fu.zip_apply(&ws.slope.fu, |gamma, k| *gamma += weight * k);
        }
    }
    fn differentiate_twice(
        &self,
        model: &M,
        by_model: XdotHessian<M>,
        ws: &mut Stages<M::Workspace>,
        h: f64,
        _x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
    ) {
        for m in [&mut ws.hessian.xx, &mut ws.hessian.ux, &mut ws.hessian.uu] {
            m.fill(0.0);
        }
        for i in (0..4).rev() {
            // μ_i = w_i h λ + c_{i+1} h A_{i+1}ᵀ μ_{i+1}
            let [mu, mu_after] = &mut ws.mu;
            mu.zip_apply(lambda, |mu, l| *mu = RK4_WEIGHTS[i] * h * l);
            if i < 3 {
                mu.gemv_tr(RK4_NODES[i + 1] * h, &ws.rate[i + 1].fx, mu_after, 1.0);
            }
            by_model(model, &mut ws.model, &ws.at[i], u, mu, &mut ws.stage_hessian);
            // Stage 0 stands at x itself.
            if i == 0 {
                ws.hessian.xx += &ws.stage_hessian.xx;
                ws.hessian.ux += &ws.stage_hessian.ux;
                ws.hessian.uu += &ws.stage_hessian.uu;
            } else {
                let (inner, product) = (&ws.inner[i], &mut ws.product);
                add_pulled_back(&mut ws.hessian, &ws.stage_hessian, inner, product);
            }
            std::mem::swap(mu, mu_after);
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

/// Writes the state at which stage `i` of RK4 is evaluated into `ws.at[i]`.
fn stage_state<W>(ws: &mut Stages<W>, i: usize, h: f64, x: &DVector<f64>) {
    ws.at[i].copy_from(x);
    if i > 0 {
        ws.at[i].axpy(RK4_NODES[i] * h, &ws.k[i - 1], 1.0);
    }
}

fn add_identity(jacobian: &mut Linearization) {
    for i in 0..jacobian.fx.nrows() {
        jacobian.fx[(i, i)] += 1.0;
    }
}
