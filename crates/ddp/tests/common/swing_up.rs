//! Swinging up a pendulum and a pole on a cart.

use ddp::Problem;
use dynamics::models::{Cartpole, CartpoleParameters, DeadbandKind};
use dynamics::{
    ActionBounds, DerivativeKind, Dynamics, DynamicsError, HessianProduct, Linearization, Plant,
    QuadraticCost, Rk4,
};
use nalgebra::DVector;

/// Gymnasium's pendulum without its clips, x = [θ, θ̇] with θ = 0 upright; exact to second order.
pub(crate) struct Pendulum;

const DT: f64 = 0.05;
/// 3 g/(2 l) and 3/(m l²).
const FALL: f64 = 15.0;
const PUSH: f64 = 3.0;

impl Plant for Pendulum {
    type Workspace = ();

    fn name(&self) -> &str {
        "test pendulum"
    }
    fn nx(&self) -> usize {
        2
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[1] = x[1] + DT * (FALL * x[0].sin() + PUSH * u[0]);
        x_next[0] = x[0] + DT * x_next[1];
        Ok(())
    }
}

impl Dynamics for Pendulum {
    fn linearize(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        let slope = DT * FALL * x[0].cos();
        out.fx.copy_from_slice(&[1.0 + DT * slope, slope, DT, 1.0]);
        out.fu.copy_from_slice(&[DT * DT * PUSH, DT * PUSH]);
        Ok(())
    }
    fn hessian_product(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        _u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        out.xx.fill(0.0);
        out.ux.fill(0.0);
        out.uu.fill(0.0);
        out.xx[(0, 0)] = -(lambda[1] + DT * lambda[0]) * DT * FALL * x[0].sin();
        Ok(())
    }
    fn hessian_product_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
}

/// Dynamics, costs and control limits of a swing-up.
pub(crate) struct SwingUp<D> {
    pub(crate) dynamics: D,
    pub(crate) cost: QuadraticCost,
    pub(crate) terminal: QuadraticCost,
    pub(crate) limits: ActionBounds,
    pub(crate) horizon: usize,
}

impl<D: Dynamics> SwingUp<D> {
    /// The problem without limits.
    pub(crate) fn free(&self) -> Problem<'_, D, QuadraticCost, QuadraticCost> {
        Problem::new(&self.dynamics, &self.cost, &self.terminal, self.horizon)
    }

    /// The problem with its limits.
    pub(crate) fn limited(&self) -> Problem<'_, D, QuadraticCost, QuadraticCost> {
        Problem { control_limits: Some(&self.limits), ..self.free() }
    }
}

/// The pendulum with torques |u| ≤ 2, a third of what would hold it level: 5 s.
pub(crate) fn pendulum() -> SwingUp<Pendulum> {
    SwingUp {
        dynamics: Pendulum,
        cost: QuadraticCost::new(vec![0.0; 2], vec![0.01; 2], vec![0.001]).unwrap(),
        terminal: QuadraticCost::new(vec![0.0; 2], vec![10.0; 2], vec![0.0]).unwrap(),
        limits: ActionBounds::symmetric(1, 2.0),
        horizon: 100,
    }
}

/// A cart of 1 kg with a pole of 0.2 kg and forces |u| ≤ 10: 3 s.
pub(crate) fn cartpole() -> SwingUp<Rk4<Cartpole>> {
    let parameters = CartpoleParameters {
        cart_mass: 1.0,
        pole_mass: 0.2,
        length: 0.5,
        gravity: 9.81,
        damping: 0.0,
        friction: 0.0,
        friction_slope: 5.0,
        deadband: 0.0,
        deadband_kind: DeadbandKind::Zeroing,
    };
    let goal = vec![0.0, std::f64::consts::PI, 0.0, 0.0];
    let weights = vec![0.1, 0.1, 0.01, 0.01];
    SwingUp {
        dynamics: Rk4::new(Cartpole::new(parameters).unwrap(), 0.05).unwrap(),
        cost: QuadraticCost::new(goal.clone(), weights, vec![0.001]).unwrap(),
        terminal: QuadraticCost::new(goal, vec![100.0, 100.0, 10.0, 10.0], vec![0.0]).unwrap(),
        limits: ActionBounds::symmetric(1, 10.0),
        horizon: 60,
    }
}
