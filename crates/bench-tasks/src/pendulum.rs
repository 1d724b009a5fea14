//! Gymnasium's `Pendulum-v1`: swing a pendulum up with little torque.

use std::f64::consts::PI;

use dynamics::models::{Pendulum as Model, PendulumParameters};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, CostReward, DerivativeKind, Move, Objective, Observation,
    ObservationJacobian, QuadraticCost, RewardAt, RewardGradient, Scratch, Stream, Task,
    ZeroTerminalCost,
};
use nalgebra::{DMatrix, DVector, dvector};
use serde::{Deserialize, Serialize};

use crate::{BenchTask, CheckedModel, TaskError, Variant};

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendulumSettings {
    /// Control steps per episode.
    pub horizon: usize,
    /// Length of a control step (s).
    pub dt: f64,
    /// The plant.
    pub real: PendulumParameters,
    /// The model that is differentiated; Gymnasium knows only one pendulum, so it is the plant's.
    pub nominal: PendulumParameters,
}

impl Default for PendulumSettings {
    fn default() -> Self {
        let model = PendulumParameters::default();
        Self { horizon: 200, dt: 0.05, real: model, nominal: model }
    }
}

/// The task: reward −(θ² + 0.1 θ̇² + 0.001 u²) at the current state, θ wrapped; observation
/// [cos θ, sin θ, θ̇]; the time limit truncates. The objective for solvers is the sum of −reward, from
/// hanging at rest.
pub struct Pendulum {
    variant: Variant,
    real: Model,
    nominal: Model,
    reward: CostReward<QuadraticCost>,
    hanging: DVector<f64>,
    no_torque: DVector<f64>,
    bounds: ActionBounds,
    horizon: usize,
}

impl Pendulum {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn new(variant: Variant, settings: &PendulumSettings) -> Result<Self, TaskError> {
        if settings.horizon == 0 {
            return Err(TaskError::Setting {
                task: "pendulum",
                key: "horizon",
                value: 0.0,
                needed: "at least 1",
            });
        }
        let max_torque = settings.real.max_torque;
        let cost = QuadraticCost::new(vec![0.0, 0.0], vec![1.0, 0.1], vec![0.001])?
            .with_angles(&[0])
            .with_control_limit(max_torque);
        Ok(Self {
            variant,
            real: Model::new(settings.real, settings.dt)?,
            nominal: Model::new(settings.nominal, settings.dt)?,
            reward: CostReward { cost, offset: 0.0, at: RewardAt::Current },
            hanging: dvector![PI, 0.0],
            no_torque: DVector::zeros(1),
            bounds: ActionBounds::symmetric(1, max_torque),
            horizon: settings.horizon,
        })
    }

    fn model(&self) -> &Model {
        match self.variant {
            Variant::Real => &self.real,
            Variant::Nominal => &self.nominal,
        }
    }
}

/// [cos θ, sin θ, θ̇].
struct Circle;

impl Observation for Circle {
    fn n_observations(&self, nx: usize) -> usize {
        nx + 1
    }
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]) {
        let (sin, cos) = x[0].sin_cos();
        o.copy_from_slice(&[cos, sin, x[1]]);
    }
    fn jacobian(&self) -> Option<&dyn ObservationJacobian> {
        Some(self)
    }
}

impl ObservationJacobian for Circle {
    fn linearize(&self, x: &DVector<f64>, ox: &mut DMatrix<f64>) {
        let (sin, cos) = x[0].sin_cos();
        ox.copy_from_slice(&[-sin, cos, 0.0, 0.0, 0.0, 1.0]);
    }
}

impl Task for Pendulum {
    fn name(&self) -> &str {
        "pendulum"
    }
    fn plant(&self) -> &dyn AnyPlant {
        self.model()
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.nominal
    }
    fn plant_dynamics(&self) -> Option<&dyn AnyDynamics> {
        Some(self.model())
    }
    fn horizon(&self) -> usize {
        self.horizon
    }
    fn dt(&self) -> f64 {
        self.real.dt()
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0[0] = stream.uniform(-PI, PI);
        x0[1] = stream.uniform(-1.0, 1.0);
    }
    fn reward_scratch(&self) -> Scratch {
        self.reward.scratch()
    }
    fn reward(&self, scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        self.reward.reward(scratch, m)
    }
    fn reward_gradient(&self, scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        self.reward.gradient(scratch, m, out);
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn objective(&self) -> Option<Objective<'_>> {
        Some(Objective {
            stage: &self.reward.cost,
            terminal: &ZeroTerminalCost { ndx: 2 },
            x0: &self.hanging,
            us0: &self.no_torque,
            control_limits: Some(&self.bounds),
        })
    }
    fn observation(&self) -> &dyn Observation {
        &Circle
    }
    fn state_names(&self) -> Vec<String> {
        ["θ [rad]", "θ̇ [rad/s]"].map(String::from).to_vec()
    }
}

impl BenchTask for Pendulum {
    fn as_task(&self) -> &dyn Task {
        self
    }
    fn checked_models(&self) -> Vec<CheckedModel<'_>> {
        vec![
            CheckedModel { label: "real", model: &self.real, oracle: Some(&self.real) },
            CheckedModel { label: "nominal", model: &self.nominal, oracle: Some(&self.nominal) },
        ]
    }
    fn check_points(&self, stream: &mut Stream, n: usize) -> Vec<(DVector<f64>, DVector<f64>)> {
        let limit = self.bounds.high[0];
        // Hanging and upright, pushed within and beyond the limit of the torque; then random ones
        // away from both clips.
        let mut points: Vec<_> = [0.0, PI]
            .into_iter()
            .flat_map(|theta| {
                [0.0, 0.5 * limit, 2.0 * limit].map(|u| (dvector![theta, 0.0], dvector![u]))
            })
            .collect();
        let p = *self.real.parameters();
        while points.len() < n {
            let x = dvector![stream.uniform(-2.0 * PI, 2.0 * PI), stream.uniform(-9.0, 9.0)];
            let u = stream.uniform(-1.5 * limit, 1.5 * limit);
            let rate = 1.5 * p.gravity / p.length * x[0].sin()
                + 3.0 / (p.mass * p.length * p.length) * u.clamp(-limit, limit);
            let speed = x[1] + self.real.dt() * rate;
            if (u.abs() - limit).abs() > 0.1 && (speed.abs() - p.max_speed).abs() > 0.1 {
                points.push((x, dvector![u]));
            }
        }
        points.truncate(n);
        points
    }
}
