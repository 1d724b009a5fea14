//! A car that steers by curvature, the model of the tracking-feedback policy gradient, with a
//! quadratic cost: park at the goal.

use dynamics::models::{Car, CarParameters};
use dynamics::{ActionBounds, DynamicsError, Euler};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::optimal_control::{OptimalControlParts, OptimalControlTask, TaskModel};
use crate::optimal_control_settings::OptimalControlSettings;
use crate::{TaskError, Variant};

const NAME: &str = "car";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CarSettings {
    #[serde(flatten)]
    common: OptimalControlSettings,
    /// The plant.
    real: CarParameters,
    /// The model that is differentiated.
    nominal: CarParameters,
}

impl Default for CarSettings {
    /// 150 steps of 0.02 s from the origin at rest, heading along x, to the place 1.5 m ahead and
    /// 0.5 m to the left; unit gains, no drag.
    fn default() -> Self {
        let common = OptimalControlSettings {
            horizon: 150,
            dt: 0.02,
            state_weight: 0.01,
            control_weight: 0.001,
            terminal_weight: Some(10.0),
            goal: vec![1.5, 0.5, 0.0, 0.0],
            u_max: None,
            x0: vec![0.0; 4],
        };
        Self { common, real: CarParameters::unit(), nominal: CarParameters::unit() }
    }
}

/// Explicit Euler; ℓ = w_x ‖x − goal‖² + w_u ‖u‖² per step, not times dt, and ℓ_T = w_T ‖x − goal‖²
/// for x = [x, y, v, φ]. The angle is a plain number.
pub(crate) fn build(
    variant: Variant,
    settings: &CarSettings,
) -> Result<OptimalControlTask, TaskError> {
    let CarSettings { common, real, nominal } = settings;
    let [stage, terminal] = common.quadratic(NAME, &[1.0; 4], 2, |w| w)?;
    let model = |parameters| -> Result<_, DynamicsError> {
        Ok(TaskModel::generic(Euler::new(Car::new(parameters)?, common.dt)?))
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
        start_spread: vec![0.1; 4],
        control_limits: common.control_limits(NAME, &us0)?,
        us0,
        action_bounds: ActionBounds::symmetric(2, 5.0),
        check_spread: vec![2.0, 2.0, 4.0, 4.0],
        state_names: ["x [m]", "y [m]", "v [m/s]", "φ [rad]"].map(String::from).to_vec(),
    };
    OptimalControlTask::new(variant, parts)
}
