//! The cart-pole of Gymnasium with a continuous force, as DVP (Parag et al., ICRA 2022) solves it:
//! swing the pole up.

use std::f64::consts::PI;

use dynamics::models::{CartpoleGym, CartpoleGymParameters};
use dynamics::{ActionBounds, Euler};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::optimal_control::{OptimalControlParts, OptimalControlTask, TaskModel};
use crate::optimal_control_settings::OptimalControlSettings;
use crate::{TaskError, Variant};

const NAME: &str = "cartpole-gym";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CartpoleGymSettings {
    #[serde(flatten)]
    common: OptimalControlSettings,
    #[serde(flatten)]
    model: CartpoleGymParameters,
}

impl Default for CartpoleGymSettings {
    /// 200 steps of 0.02 s from hanging to upright, no friction. The paper does not print its
    /// weights.
    fn default() -> Self {
        let common = OptimalControlSettings {
            horizon: 200,
            dt: 0.02,
            state_weight: 0.01,
            control_weight: 0.001,
            terminal_weight: Some(10.0),
            goal: vec![0.0; 4],
            u_max: None,
            x0: vec![0.0, PI, 0.0, 0.0],
        };
        Self { common, model: CartpoleGymParameters::default() }
    }
}

/// Explicit Euler, positions with the velocities before the step; ℓ = w_x ‖x − goal‖² + w_u ‖u‖² per
/// step, not times dt, and ℓ_T = w_T ‖x − goal‖². The angle is a plain number, 0 upright.
pub(crate) fn build(
    variant: Variant,
    settings: &CartpoleGymSettings,
) -> Result<OptimalControlTask, TaskError> {
    let CartpoleGymSettings { common, model } = settings;
    let [stage, terminal] = common.quadratic(NAME, &[1.0; 4], 1, |w| w)?;
    let nominal = TaskModel::generic(Euler::new(CartpoleGym::new(*model)?, common.dt)?);
    let us0 = DVector::zeros(1);
    let parts = OptimalControlParts {
        name: NAME,
        real: nominal.clone(),
        nominal,
        stage: Box::new(stage),
        terminal: Box::new(terminal),
        horizon: common.horizon,
        dt: common.dt,
        x0: common.x0(NAME, 4)?,
        // Gymnasium's reset.
        start_spread: vec![0.05; 4],
        control_limits: common.control_limits(NAME, &us0)?,
        us0,
        // The force of Gymnasium.
        action_bounds: ActionBounds::symmetric(1, 10.0),
        check_spread: vec![3.0, 6.0, 4.0, 8.0],
        state_names: ["p [m]", "θ [rad]", "ṗ [m/s]", "θ̇ [rad/s]"].map(String::from).to_vec(),
    };
    OptimalControlTask::new(variant, parts)
}
