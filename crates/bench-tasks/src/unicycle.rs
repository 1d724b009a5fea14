//! The unicycle of DVP (Parag et al., ICRA 2022) and Crocoddyl: drive to the origin.

use dynamics::models::Unicycle;
use dynamics::{ActionBounds, Euler};
use nalgebra::DVector;

use crate::optimal_control::{OptimalControlParts, OptimalControlTask, TaskModel};
use crate::optimal_control_settings::OptimalControlSettings;
use crate::{TaskError, Variant};

const NAME: &str = "unicycle";

/// Both weights 1, 50 steps of 0.1 s from (−1, −1, 1) to the origin.
pub(crate) fn settings() -> OptimalControlSettings {
    OptimalControlSettings {
        horizon: 50,
        dt: 0.1,
        state_weight: 1.0,
        control_weight: 1.0,
        terminal_weight: None,
        goal: vec![0.0; 3],
        u_max: None,
        x0: vec![-1.0, -1.0, 1.0],
    }
}

/// Explicit Euler; ℓ = ½(w_x² ‖x − goal‖² + w_u² ‖u‖²) per step, not times dt, and
/// ℓ_T = ½ w_T² ‖x − goal‖². The angle is a plain number.
pub(crate) fn build(
    variant: Variant,
    settings: &OptimalControlSettings,
) -> Result<OptimalControlTask, TaskError> {
    let [stage, terminal] = settings.quadratic(NAME, &[1.0; 3], 2, |w| 0.5 * w * w)?;
    let nominal = TaskModel::generic(Euler::new(Unicycle, settings.dt)?);
    let us0 = DVector::zeros(2);
    let parts = OptimalControlParts {
        name: NAME,
        real: nominal.clone(),
        nominal,
        stage: Box::new(stage),
        terminal: Box::new(terminal),
        horizon: settings.horizon,
        dt: settings.dt,
        x0: settings.x0(NAME, 3)?,
        start_spread: vec![1.0; 3],
        control_limits: settings.control_limits(NAME, &us0)?,
        us0,
        action_bounds: ActionBounds::symmetric(2, 5.0),
        check_spread: vec![3.0, 3.0, 6.0],
        state_names: ["x [m]", "y [m]", "θ [rad]"].map(String::from).to_vec(),
    };
    OptimalControlTask::new(variant, parts)
}
