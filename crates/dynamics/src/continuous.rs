//! Models in continuous time, ẋ = f(x, u), before an integrator makes them discrete.

use std::any::Any;

use nalgebra::DVector;
use num_dual::DualNum;

use crate::{HessianProduct, Linearization};

/// Writes the second derivatives of λ·ẋ(x, u) by x and u for a model M; the arguments are the model,
/// its scratch, x, u, λ and the result, every block of which is written.
pub type XdotHessian<M> = fn(
    &M,
    &mut <M as ContinuousDynamics>::Workspace,
    &DVector<f64>,
    &DVector<f64>,
    &DVector<f64>,
    &mut HessianProduct,
);

/// A differential equation ẋ = f(x, u) with its Jacobians.
pub trait ContinuousDynamics: Send + Sync {
    /// Scratch of one thread.
    type Workspace: Any + Send;

    /// Name used in messages.
    fn name(&self) -> &str;
    /// Entries of the state.
    fn nx(&self) -> usize;
    /// Entries of the control.
    fn nu(&self) -> usize;
    /// Fresh scratch for one thread.
    fn workspace(&self) -> Self::Workspace;
    /// Writes ẋ (nx entries).
    fn xdot(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut DVector<f64>,
    );
    /// Writes ∂ẋ/∂x (nx × nx) into `out.fx` and ∂ẋ/∂u (nx × nu) into `out.fu`.
    fn xdot_jacobian(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    );
    /// What computes exact second derivatives, where the model has them: of a [`GenericContinuous`]
    /// model those by hyper-dual numbers ([`xdot_hessian_by_duals`](crate::xdot_hessian_by_duals)).
    /// Without, integrators take differences.
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>>
    where
        Self: Sized,
    {
        None
    }
}

/// A mechanical system whose state is x = [q; v] with q̇ = v: what semi-implicit Euler needs.
///
/// The first nx/2 entries of ẋ are v, the rest the acceleration.
pub trait SecondOrderDynamics: ContinuousDynamics {}

/// A scalar that a model can be evaluated with: `f64`, or a dual number that carries derivatives.
pub trait Scalar: DualNum<Primitive = f64> + Copy {}
impl<S: DualNum<Primitive = f64> + Copy> Scalar for S {}

/// A differential equation written once for every [`Scalar`], so that dual numbers can check (or
/// supply) its derivatives.
pub trait GenericContinuous: ContinuousDynamics {
    /// Writes ẋ for a state and control of any scalar type.
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]);
}
