//! The double pendulum of the tracking-feedback policy gradient with a quadratic cost: raise it
//! upright with a motor at each joint.

use std::f64::consts::{FRAC_PI_8, PI};

use dynamics::models::{DoublePendulum, DoublePendulumParameters};
use dynamics::{ActionBounds, DynamicsError, Euler};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::optimal_control::{OptimalControlParts, OptimalControlTask, TaskModel};
use crate::optimal_control_settings::OptimalControlSettings;
use crate::{TaskError, Variant};

const NAME: &str = "double-pendulum";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DoublePendulumSettings {
    #[serde(flatten)]
    common: OptimalControlSettings,
    /// The plant.
    real: DoublePendulumParameters,
    /// The model that is differentiated.
    nominal: DoublePendulumParameters,
}

impl Default for DoublePendulumSettings {
    /// 300 steps of 0.01 s from the paper's start, θ₁ = 5π/8 at rest, to upright; the model is the
    /// paper's plant.
    fn default() -> Self {
        let common = OptimalControlSettings {
            horizon: 300,
            dt: 0.01,
            state_weight: 0.01,
            control_weight: 0.01,
            terminal_weight: Some(10.0),
            goal: vec![PI, 0.0, 0.0, 0.0],
            u_max: None,
            x0: vec![5.0 * FRAC_PI_8, 0.0, 0.0, 0.0],
        };
        let model = DoublePendulumParameters::real();
        Self { common, real: model, nominal: model }
    }
}

/// Explicit Euler; ℓ = w_x ‖x − goal‖² + w_u ‖u‖² per step, not times dt, and ℓ_T = w_T ‖x − goal‖².
/// Angles are plain numbers, (0, 0) hanging.
pub(crate) fn build(
    variant: Variant,
    settings: &DoublePendulumSettings,
) -> Result<OptimalControlTask, TaskError> {
    let DoublePendulumSettings { common, real, nominal } = settings;
    let [stage, terminal] = common.quadratic(NAME, &[1.0; 4], 2, |w| w)?;
    let model = |parameters| -> Result<_, DynamicsError> {
        Ok(TaskModel::generic(Euler::new(DoublePendulum::new(parameters)?, common.dt)?))
    };
    let us0 = DVector::zeros(2);
    let parts = OptimalControlParts {
        name: NAME,
        real: model(*real)?,
        nominal: model(*nominal)?,
        stage: Box::new(stage),
        terminal: Box::new(terminal),
        horizon: common.horizon,
        dt: common.dt,
        x0: common.x0(NAME, 4)?,
        start_spread: vec![FRAC_PI_8, 0.0, 0.0, 0.0],
        control_limits: common.control_limits(NAME, &us0)?,
        us0,
        // Several times what holds the arm out level.
        action_bounds: ActionBounds::symmetric(2, 2.0),
        check_spread: vec![3.0, 3.0, 4.0, 4.0],
        state_names: ["θ₁ [rad]", "θ₂ [rad]", "θ̇₁ [rad/s]", "θ̇₂ [rad/s]"]
            .map(String::from)
            .to_vec(),
    };
    OptimalControlTask::new(variant, parts)
}
