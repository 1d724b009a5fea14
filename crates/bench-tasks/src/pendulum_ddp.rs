//! The pendulum of Gymnasium without its clips, as DVP (Parag et al., ICRA 2022) solves it: swing
//! up.

use std::f64::consts::PI;

use dynamics::ActionBounds;
use dynamics::models::{Pendulum, PendulumParameters};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::optimal_control::{OptimalControlParts, OptimalControlTask, TaskModel};
use crate::optimal_control_settings::OptimalControlSettings;
use crate::{TaskError, Variant};

const NAME: &str = "pendulum-ddp";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PendulumDdpSettings {
    #[serde(flatten)]
    common: OptimalControlSettings,
    /// Mass of the rod (kg).
    mass: f64,
    /// Length of the rod (m).
    length: f64,
    /// Gravity [m/s²].
    gravity: f64,
}

impl Default for PendulumDdpSettings {
    /// 100 steps of 0.05 s from hanging to upright. The paper does not print its weights.
    fn default() -> Self {
        let common = OptimalControlSettings {
            horizon: 100,
            dt: 0.05,
            state_weight: 0.01,
            control_weight: 0.001,
            terminal_weight: Some(10.0),
            goal: vec![0.0; 2],
            u_max: None,
            x0: vec![PI, 0.0],
        };
        let PendulumParameters { mass, length, gravity, .. } = PendulumParameters::default();
        Self { common, mass, length, gravity }
    }
}

/// Neither torque nor speed is clipped; ℓ = w_x ‖x − goal‖² + w_u ‖u‖² per step, not times dt, and
/// ℓ_T = w_T ‖x − goal‖². The angle is a plain number, 0 upright.
pub(crate) fn build(
    variant: Variant,
    settings: &PendulumDdpSettings,
) -> Result<OptimalControlTask, TaskError> {
    let PendulumDdpSettings { common, mass, length, gravity } = settings;
    let [stage, terminal] = common.quadratic(NAME, &[1.0; 2], 1, |w| w)?;
    // Limits that no number exceeds.
    let free = PendulumParameters {
        max_torque: f64::MAX,
        max_speed: f64::MAX,
        mass: *mass,
        length: *length,
        gravity: *gravity,
    };
    let nominal = TaskModel::generic(Pendulum::new(free, common.dt)?);
    let us0 = DVector::zeros(1);
    let parts = OptimalControlParts {
        name: NAME,
        real: nominal.clone(),
        nominal,
        stage: Box::new(stage),
        terminal: Box::new(terminal),
        horizon: common.horizon,
        dt: common.dt,
        x0: common.x0(NAME, 2)?,
        // Gymnasium's reset, which begins at any angle.
        start_spread: vec![PI, 1.0],
        control_limits: common.control_limits(NAME, &us0)?,
        us0,
        // The torque of Gymnasium.
        action_bounds: ActionBounds::symmetric(1, 2.0),
        check_spread: vec![6.0, 9.0],
        state_names: ["θ [rad]", "θ̇ [rad/s]"].map(String::from).to_vec(),
    };
    OptimalControlTask::new(variant, parts)
}
