//! The arm of DVP (Parag et al., ICRA 2022): bring the tool of a KUKA iiwa 14 to a point.

use dynamics::rigid_body::{Base, ReachCost, ReachSettings as CostSettings};
use nalgebra::{DVector, Vector3};
use serde::{Deserialize, Serialize};

use crate::optimal_control::OptimalControlTask;
use crate::optimal_control_settings::OptimalControlSettings;
use crate::{TaskError, Variant, reach};

const NAME: &str = "arm";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArmSettings {
    /// `goal` is a point (m, world); `terminal_weight` is a factor of the terms of goal and velocity at
    /// the last state.
    #[serde(flatten)]
    common: OptimalControlSettings,
    /// Weight of the distance from the goal.
    goal_weight: f64,
    /// Weight of limits that are exceeded.
    limit_weight: f64,
    /// Part of a joint's range, about its middle, in which no limit is felt.
    limit_margin: f64,
    /// Velocity from which on a joint exceeds its limit (rad/s).
    velocity_limit: f64,
    /// Weights of the velocities' entries, which count squared.
    velocity_weights: [f64; 7],
    /// Rotor inertias [kg·m²].
    armature: [f64; 7],
}

impl Default for ArmSettings {
    /// The problem of the paper's released code.
    fn default() -> Self {
        let mut x0 = vec![0.0; 14];
        x0[..7].copy_from_slice(&[0.1, 0.7, 0.0, 0.7, -0.5, 1.5, 0.0]);
        Self {
            common: reach::dvp_settings(x0),
            goal_weight: 2.0,
            limit_weight: 0.1,
            limit_margin: 0.95,
            velocity_limit: 1.0,
            velocity_weights: [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            armature: reach::ARMATURE,
        }
    }
}

/// A configuration with the tool at the goal: the middle of where episodes start.
const Q_GOAL: [f64; 7] = [-1.2062, 0.8035, 1.5311, 2.0016, -1.0634, 1.2727, 0.0];
/// How far positions (rad) and velocities (rad/s) of starts are from it at most.
const START_SPREAD: [f64; 2] = [0.9, 0.01];

/// Semi-implicit Euler; per step, times dt,
/// ℓ = w_g ½‖p(q) − goal‖² + w_u ½‖u − g(q)‖² + w_x ½(v₁² + 4 v₂² + v₃² + … + v₇²)
/// + w_l ½[‖(|q| − 0.95 q_max)₊‖² + ‖(|v| − 1)₊‖²].
pub(crate) fn build(
    variant: Variant,
    settings: &ArmSettings,
) -> Result<OptimalControlTask, TaskError> {
    let common = &settings.common;
    common.check_weights(NAME)?;
    let goal = common.goal(NAME, 3)?;
    let robot = reach::arm(settings.armature);
    let plant = reach::plant(NAME, &robot.name, &robot, Base::Fixed, common.dt)?;
    let model = plant.model();
    let tool = model.find_frame("tool").map_err(|source| TaskError::Robot {
        task: NAME,
        key: "robot",
        robot: robot.name.clone(),
        source,
    })?;
    let mut cost_settings = CostSettings {
        goal_weight: settings.goal_weight,
        control_weight: common.control_weight,
        state_weight: common.state_weight,
        limit_weight: settings.limit_weight,
        limit_margin: settings.limit_margin,
        velocity_limits: DVector::repeat(7, settings.velocity_limit),
        terminal_weight: common.last_weight(),
        ..CostSettings::new(model, common.dt, Vector3::new(goal[0], goal[1], goal[2]))
    };
    cost_settings.state_weights.rows_mut(7, 7).copy_from_slice(&settings.velocity_weights);
    let cost = ReachCost::new(model.clone(), tool, plant.motors(), cost_settings)?;

    // Uniform in the box within the limits of the joints, which is a box again.
    let limits = model.dofs().iter().map(|dof| dof.properties.position_limit);
    let within = Q_GOAL.iter().zip(limits).map(|(q, [low, high])| {
        let [below, above] = [low.max(q - START_SPREAD[0]), high.min(q + START_SPREAD[0])];
        (0.5 * (below + above), 0.5 * (above - below))
    });
    let (mut start, mut spread): (Vec<_>, Vec<_>) = within.unzip();
    start.extend([0.0; 7]);
    spread.extend([START_SPREAD[1]; 7]);

    let x0 = common.x0(NAME, 14)?;
    let limits = reach::file_limits(&robot, &plant);
    let mut parts = reach::parts(NAME, plant, cost.clone(), common, x0, &limits, false)?;
    let worst = reach::worst_cost(&cost, &parts.x0, &parts.us0);
    parts.start_spread = spread;
    let task = OptimalControlTask::new(variant, parts)?.ending_above(worst);
    Ok(task.starting_about(DVector::from_vec(start)))
}
