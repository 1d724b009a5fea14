//! A wheel that rolls where it points.

use nalgebra::DVector;

use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::{ContinuousDynamics, HessianProduct, Linearization};

/// Unicycle: x = [x, y, θ], u = [v, ω]; ẋ = v cosθ, ẏ = v sinθ, θ̇ = ω. The angle is not wrapped.
///
/// With [`Euler`](crate::Euler) at dt = 0.1 s it is the discrete unicycle of Crocoddyl and DVP
/// (Parag et al., ICRA 2022).
#[derive(Debug, Clone, Copy, Default)]
pub struct Unicycle;

impl GenericContinuous for Unicycle {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let (sin, cos) = x[2].sin_cos();
        out.copy_from_slice(&[cos * u[0], sin * u[0], u[1]]);
    }
}

impl ContinuousDynamics for Unicycle {
    type Workspace = ();

    fn name(&self) -> &str {
        "unicycle"
    }
    fn nx(&self) -> usize {
        3
    }
    fn nu(&self) -> usize {
        2
    }
    fn workspace(&self) {}
    fn xdot(&self, (): &mut (), x: &DVector<f64>, u: &DVector<f64>, out: &mut DVector<f64>) {
        self.xdot_generic(x.as_slice(), u.as_slice(), out.as_mut_slice());
    }
    fn xdot_jacobian(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) {
        let (sin, cos) = x[2].sin_cos();
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        fx[(0, 2)] = -u[0] * sin;
        fx[(1, 2)] = u[0] * cos;
        fu.fill(0.0);
        fu[(0, 0)] = cos;
        fu[(1, 0)] = sin;
        fu[(2, 1)] = 1.0;
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(|_, (), x, u, lambda, out| {
            let (sin, cos) = x[2].sin_cos();
            let HessianProduct { xx, ux, uu, .. } = out;
            xx.fill(0.0);
            xx[(2, 2)] = -u[0] * (lambda[0] * cos + lambda[1] * sin);
            ux.fill(0.0);
            ux[(0, 2)] = lambda[1] * cos - lambda[0] * sin;
            uu.fill(0.0);
        })
    }
}
