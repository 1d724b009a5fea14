//! Problems that several tests share.

#![allow(dead_code, reason = "each test uses some of them")]

use ddp::Problem;
use dynamics::models::Unicycle;
use dynamics::{Euler, QuadraticCost};

/// The unicycle of Crocoddyl: ½ (w_x² ‖x‖² + w_u² ‖u‖²) per step, the state's part at the end.
pub struct UnicycleProblem {
    pub dynamics: Euler<Unicycle>,
    pub cost: QuadraticCost,
}

impl UnicycleProblem {
    pub fn new(state_weight: f64, control_weight: f64) -> Self {
        let (wx, wu) = (0.5 * state_weight * state_weight, 0.5 * control_weight * control_weight);
        Self {
            dynamics: Euler::new(Unicycle, 0.1).unwrap(),
            cost: QuadraticCost::new(vec![0.0; 3], vec![wx; 3], vec![wu; 2]).unwrap(),
        }
    }

    pub fn problem(
        &self,
        horizon: usize,
    ) -> Problem<'_, Euler<Unicycle>, QuadraticCost, QuadraticCost> {
        Problem::new(&self.dynamics, &self.cost, &self.cost, horizon)
    }
}
