//! Reaching with any robot: bring a frame of it to a point, or to a pose.

use std::path::Path;

use dynamics::models::iiwa14;
use dynamics::rigid_body::description::RobotDescription;
use dynamics::rigid_body::load::load_robot;
use dynamics::rigid_body::mjcf::MjcfOptions;
use dynamics::rigid_body::{
    Base, Model, Motor, PassiveForces, ReachCost, ReachSettings as CostSettings, RigidBodyPlant,
    RigidBodyScheme,
};
use dynamics::{ActionBounds, Cost, Plant};
use nalgebra::{DVector, UnitQuaternion, Vector3};
use serde::{Deserialize, Serialize};

use crate::optimal_control::{OptimalControlParts, OptimalControlTask, TaskModel};
use crate::optimal_control_settings::OptimalControlSettings;
use crate::{TaskError, Variant};

const NAME: &str = "reach";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReachSettings {
    /// `goal` is a point (m, world); an empty `x0` is the robot at rest, each joint at the position
    /// next to 0 that its limits allow; `terminal_weight` is a factor of what a second at the last
    /// state costs by its distance from the goal and its velocity.
    #[serde(flatten)]
    common: OptimalControlSettings,
    /// URDF or MJCF file; empty for the arm of the task `arm`.
    robot: String,
    /// Whether the robot's root floats, or stands fixed in the world.
    floating_base: bool,
    /// Link whose frame is brought to the goal; empty for the last one of the tree.
    frame: String,
    /// How the frame shall stand: roll, pitch, yaw (rad) about the world's x, y, z.
    goal_rpy: [f64; 3],
    /// Weight of the point.
    goal_weight: f64,
    /// Weight of the orientation.
    orientation_weight: f64,
    /// Weight of limits that are exceeded.
    limit_weight: f64,
    /// Part of a joint's range, about its middle, in which no limit is felt.
    limit_margin: f64,
    /// Velocity from which on a joint exceeds its limit (rad/s, m/s); a large number for none.
    velocity_limit: f64,
    /// Whether motors keep within the limits of the file.
    effort_limits: bool,
    /// Steps of the integrator per control step.
    substeps: usize,
}

impl Default for ReachSettings {
    /// The problem of the task `arm`.
    fn default() -> Self {
        Self {
            common: dvp_settings(Vec::new()),
            robot: String::new(),
            floating_base: false,
            frame: String::new(),
            goal_rpy: [0.0; 3],
            goal_weight: 2.0,
            orientation_weight: 0.0,
            limit_weight: 0.1,
            limit_margin: 0.95,
            velocity_limit: 1.0,
            effort_limits: false,
            substeps: 1,
        }
    }
}

/// 200 steps of 0.03 s to the goal of DVP's arm with its weights, nothing at the end, no limits of
/// controls.
pub(crate) fn dvp_settings(x0: Vec<f64>) -> OptimalControlSettings {
    OptimalControlSettings {
        horizon: 200,
        dt: 0.03,
        state_weight: 0.2,
        control_weight: 0.01,
        terminal_weight: Some(0.0),
        goal: vec![-0.3, -0.4, 0.5],
        u_max: None,
        x0,
    }
}

/// Rotor inertias of DVP's arm [kg·m²].
pub(crate) const ARMATURE: [f64; 7] = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01];

/// The arm of DVP with rotor inertias.
pub(crate) fn arm(armature: [f64; 7]) -> RobotDescription {
    let mut robot = iiwa14();
    let turning = robot.joints.iter_mut().filter(|joint| !joint.home.is_empty());
    for (joint, armature) in turning.zip(armature) {
        joint.properties.armature = armature;
    }
    robot
}

/// The plant of a description: semi-implicit Euler, with the motors of the file, or one of gear 1 on
/// every joint that moves by one number. No springs at limits, which the cost knows of.
pub(crate) fn plant(
    task: &'static str,
    file: &str,
    robot: &RobotDescription,
    base: Base,
    dt: f64,
) -> Result<RigidBodyPlant, TaskError> {
    let refuse = |source| TaskError::Robot { task, key: "robot", robot: file.to_owned(), source };
    let mut model = Model::new(robot, base).map_err(refuse)?;
    let passive = PassiveForces { limit_stiffness: 0.0, limit_damping: 0.0, ..Default::default() };
    model.set_passive_forces(passive);
    let plant = RigidBodyPlant::new(model, RigidBodyScheme::SemiImplicitEuler, dt)?;
    match robot.motors.is_empty() {
        true => Ok(plant),
        false => plant.with_motors_of(robot).map_err(refuse),
    }
}

/// The range of each control that the file has, infinite where it has none.
pub(crate) fn file_limits(robot: &RobotDescription, plant: &RigidBodyPlant) -> ActionBounds {
    let range = |(j, motor): (usize, &Motor)| match robot.motors.get(j) {
        Some(motor) => (motor.control_range[0], motor.control_range[1]),
        None => {
            let limit = plant.model().dofs()[motor.dof].properties.effort_limit;
            (-limit, limit)
        }
    };
    let (low, high) = plant.motors().iter().enumerate().map(range).unzip();
    ActionBounds { low, high }
}

/// Learners choose from this range where neither the settings nor the file have one.
const WIDEST_CONTROL: f64 = 100.0;

/// How far from x0 positions (rad, m) and velocities start at most.
const START_SPREAD: [f64; 2] = [0.3, 0.01];

/// A joint at this speed (rad/s, m/s) is out of control.
const WILD_SPEED: f64 = 100.0;

/// What a step costs in `x0` with every joint at [`WILD_SPEED`]: an episode that costs more has run away.
pub(crate) fn worst_cost(cost: &ReachCost, x0: &DVector<f64>, u: &DVector<f64>) -> f64 {
    let mut x = x0.clone();
    x.rows_mut(cost.model().nq(), cost.model().nv()).fill(WILD_SPEED);
    cost.stage(&mut Cost::workspace(cost), 0, &x, u)
}

/// The parts of a reaching task: solvers start at `x0` and hold the robot there, episodes near it.
pub(crate) fn parts(
    task: &'static str,
    plant: RigidBodyPlant,
    cost: ReachCost,
    common: &OptimalControlSettings,
    x0: DVector<f64>,
    file_limits: &ActionBounds,
    keep_file_limits: bool,
) -> Result<OptimalControlParts, TaskError> {
    let (nv, nu) = (plant.model().nv(), plant.nu());
    let narrowed = |by: &ActionBounds| ActionBounds {
        low: by.low.iter().zip(&file_limits.low).map(|(a, b)| a.max(*b)).collect(),
        high: by.high.iter().zip(&file_limits.high).map(|(a, b)| a.min(*b)).collect(),
    };
    let control_limits = match common.control_limits(task, &DVector::zeros(nu))? {
        Some(limits) if keep_file_limits => Some(narrowed(&limits)),
        None if keep_file_limits => Some(file_limits.clone()),
        limits => limits,
    };
    let mut us0 = DVector::zeros(nu);
    cost.holding_controls(&mut Cost::workspace(&cost), &x0, &mut us0);
    if let Some(ActionBounds { low, high }) = &control_limits {
        for (u, (low, high)) in us0.iter_mut().zip(low.iter().zip(high)) {
            *u = u.max(*low).min(*high);
        }
    }
    let dofs = plant.model().dofs();
    // A floating base starts where it is.
    let positions = dofs.iter().map(|dof| if dof.scalar { START_SPREAD[0] } else { 0.0 });
    let start_spread = positions.chain(vec![START_SPREAD[1]; nv]).collect();
    let state_names = state_names(plant.model());
    let dt = plant.dt();
    let nominal = TaskModel::plain(plant);
    Ok(OptimalControlParts {
        name: task,
        real: nominal.clone(),
        nominal,
        stage: Box::new(cost.clone()),
        terminal: Box::new(cost),
        horizon: common.horizon,
        dt,
        x0,
        start_spread,
        us0,
        control_limits,
        action_bounds: narrowed(&ActionBounds::symmetric(nu, WIDEST_CONTROL)),
        check_spread: vec![1.0; 2 * nv],
        state_names,
    })
}

/// Every joint at the position next to 0 that its limits allow, at rest.
fn resting(model: &Model) -> DVector<f64> {
    let mut x = DVector::zeros(model.nq() + model.nv());
    x.rows_mut(0, model.nq()).copy_from(&model.neutral());
    for dof in model.dofs().iter().filter(|dof| dof.scalar) {
        let [low, high] = dof.properties.position_limit;
        x[dof.q] = low.max(high.min(0.0));
    }
    x
}

/// `q` or `v`, the joint's name, and which entry of it where it has several.
fn state_names(model: &Model) -> Vec<String> {
    const POSE: [&str; 7] = [" x", " y", " z", " qx", " qy", " qz", " qw"];
    const TWIST: [&str; 6] = [" x", " y", " z", " ωx", " ωy", " ωz"];
    let (mut names, mut velocities) = (Vec::new(), Vec::new());
    for joint in model.dofs().chunk_by(|a, b| a.q == b.q) {
        let (q, v): (&[_], &[_]) = match joint {
            [_] => (&[""], &[""]),
            // A spherical joint turns only.
            [_, _, _] => (&POSE[3..], &TWIST[3..]),
            _ => (&POSE, &TWIST),
        };
        let name = &joint[0].joint;
        names.extend(q.iter().map(|entry| format!("q {name}{entry}")));
        velocities.extend(v.iter().map(|entry| format!("v {name}{entry}")));
    }
    names.extend(velocities);
    names
}

/// Semi-implicit Euler and a [`ReachCost`] on the robot of the file; its damping, friction, springs and
/// rotor inertias act, its limits are matters of the cost.
pub(crate) fn build(
    variant: Variant,
    settings: &ReachSettings,
) -> Result<OptimalControlTask, TaskError> {
    let ReachSettings { common, robot: file, effort_limits, .. } = settings;
    common.check_weights(NAME)?;
    let goal = common.goal(NAME, 3)?;
    let robot = match file.as_str() {
        "" => arm(ARMATURE),
        file => load_robot(Path::new(file), MjcfOptions::default())
            .map_err(|source| TaskError::RobotFile { task: NAME, source })?,
    };
    let file = if file.is_empty() { &robot.name } else { file };
    let base = if settings.floating_base { Base::Floating } else { Base::Fixed };
    let plant = plant(NAME, file, &robot, base, common.dt)?.with_substeps(settings.substeps);
    let model = plant.model();
    let last = || model.frames().last().map(|frame| frame.name.as_str()).unwrap_or_default();
    let frame = if settings.frame.is_empty() { last() } else { &settings.frame };
    let frame = model.find_frame(frame).map_err(|source| TaskError::Robot {
        task: NAME,
        key: "frame",
        robot: file.clone(),
        source,
    })?;
    let limits = file_limits(&robot, &plant);
    let unlimited = limits.low.iter().zip(&limits.high).position(|(l, h)| !(h - l).is_finite());
    if let Some(j) = unlimited.filter(|_| *effort_limits) {
        let joint = model.dofs()[plant.motors()[j].dof].joint.clone();
        return Err(TaskError::NoEffortLimit { task: NAME, robot: file.clone(), joint });
    }
    let x0 = match common.x0.is_empty() {
        true => resting(model),
        false => common.x0(NAME, plant.nx())?,
    };
    let (q, v) =
        (x0.rows(0, model.nq()).into_owned(), x0.rows(model.nq(), model.nv()).into_owned());
    model.check_state(&q, &v)?;
    let [roll, pitch, yaw] = settings.goal_rpy;
    let cost = ReachCost::new(
        model.clone(),
        frame,
        plant.motors(),
        CostSettings {
            goal_weight: settings.goal_weight,
            orientation: UnitQuaternion::from_euler_angles(roll, pitch, yaw),
            orientation_weight: settings.orientation_weight,
            control_weight: common.control_weight,
            state_weight: common.state_weight,
            limit_weight: settings.limit_weight,
            limit_margin: settings.limit_margin,
            velocity_limits: DVector::repeat(model.nv(), settings.velocity_limit),
            terminal_weight: common.last_weight(),
            ..CostSettings::new(model, common.dt, Vector3::new(goal[0], goal[1], goal[2]))
        },
    )?;
    let parts = parts(NAME, plant, cost.clone(), common, x0, &limits, *effort_limits)?;
    let worst = worst_cost(&cost, &parts.x0, &parts.us0);
    Ok(OptimalControlTask::new(variant, parts)?.ending_above(worst))
}
