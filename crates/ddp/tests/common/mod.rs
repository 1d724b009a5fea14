//! Problems that several tests share.

#![allow(dead_code, reason = "each test uses some of them")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

pub(crate) mod lq;
pub(crate) mod shooting;
pub(crate) mod starts;
pub(crate) mod swing_up;

use ddp::Problem;
use dynamics::models::Unicycle;
use dynamics::{Euler, QuadraticCost};

/// The unicycle of Crocoddyl: ½ (w_x² ‖x‖² + w_u² ‖u‖²) per step, the state's part at the end.
pub(crate) struct UnicycleProblem {
    pub(crate) dynamics: Euler<Unicycle>,
    pub(crate) cost: QuadraticCost,
}

impl UnicycleProblem {
    pub(crate) fn new(state_weight: f64, control_weight: f64) -> Self {
        let (wx, wu) = (0.5 * state_weight * state_weight, 0.5 * control_weight * control_weight);
        Self {
            dynamics: Euler::new(Unicycle, 0.1).unwrap(),
            cost: QuadraticCost::new(vec![0.0; 3], vec![wx; 3], vec![wu; 2]).unwrap(),
        }
    }

    pub(crate) fn problem(
        &self,
        horizon: usize,
    ) -> Problem<'_, Euler<Unicycle>, QuadraticCost, QuadraticCost> {
        Problem::new(&self.dynamics, &self.cost, &self.cost, horizon)
    }
}
