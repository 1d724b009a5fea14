//! Exact derivatives by forward-mode dual numbers, for every model that is written generically over
//! its scalar: the independent second opinion on hand-derived Jacobians, and second derivatives.

use nalgebra::DVector;
use num_dual::{Dual64, HyperDual64};

use crate::continuous::{GenericContinuous, Scalar};
use crate::{HessianProduct, Linearization};

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

/// Second derivatives of λ·ẋ(x, u) by hyper-dual numbers, one evaluation of ẋ for every pair of
/// inputs and no allocation: an [`XdotHessian`](crate::XdotHessian) for a model of NX states and NU
/// controls.
pub fn xdot_hessian_by_duals<M: GenericContinuous, const NX: usize, const NU: usize>(
    model: &M,
    _ws: &mut M::Workspace,
    x: &DVector<f64>,
    u: &DVector<f64>,
    lambda: &DVector<f64>,
    out: &mut HessianProduct,
) {
    debug_assert_eq!((model.nx(), model.nu()), (NX, NU), "{}", model.name());
    let lift = |value: f64| HyperDual64::new(value, 0.0, 0.0, 0.0);
    let mut x: [_; NX] = std::array::from_fn(|i| lift(x[i]));
    let mut u: [_; NU] = std::array::from_fn(|j| lift(u[j]));
    let mut rate = [lift(0.0); NX];
    for first in 0..NX + NU {
        input(&mut x, &mut u, first).eps1 = 1.0;
        for second in 0..=first {
            input(&mut x, &mut u, second).eps2 = 1.0;
            model.xdot_generic(&x, &u, &mut rate);
            input(&mut x, &mut u, second).eps2 = 0.0;
            let value = rate.iter().zip(lambda.iter()).map(|(r, l)| r.eps1eps2 * l).sum();
            if first < NX {
                out.xx[(first, second)] = value;
                out.xx[(second, first)] = value;
            } else if second < NX {
                out.ux[(first - NX, second)] = value;
            } else {
                out.uu[(first - NX, second - NX)] = value;
                out.uu[(second - NX, first - NX)] = value;
            }
        }
        input(&mut x, &mut u, first).eps1 = 0.0;
    }
}

/// Entry `at` of the stacked [x, u].
fn input<'a, S>(x: &'a mut [S], u: &'a mut [S], at: usize) -> &'a mut S {
    let nx = x.len();
    if at < nx { &mut x[at] } else { &mut u[at - nx] }
}

/// The real part of any scalar, for the choice of a branch.
#[must_use]
pub fn real<S: Scalar>(value: S) -> f64 {
    value.re()
}
