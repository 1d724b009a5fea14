//! Hopper of VG-SAC (Gurumurthy, Kolter and Manchester, L4DC 2023), on the physics of DFlex.

use std::f64::consts::FRAC_PI_6;

use dynamics::models::{Hopper as Model, HopperParameters};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, DerivativeKind, End, Move, Observation, RewardGradient,
    Scratch, Stream, Task, Termination,
};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::planar_walker::{Heights, WithoutRootX, check_horizon, check_points, state_names};
use crate::{BenchTask, CheckedModel, TaskError, Variant};

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HopperSettings {
    /// Control steps per episode.
    pub horizon: usize,
    /// Length of a control step (s).
    pub dt: f64,
    /// The plant.
    pub real: HopperParameters,
    /// The model that is differentiated.
    pub nominal: HopperParameters,
}

impl Default for HopperSettings {
    /// As released; the paper describes the same.
    fn default() -> Self {
        Self {
            horizon: 1000,
            dt: 1.0 / 60.0,
            real: HopperParameters::real(),
            nominal: HopperParameters::nominal(),
        }
    }
}

/// The task: run forwards without falling. The reward is that of the next state and the action,
///
/// ```text
/// r = ẋ + r_h(z) + 1 − (θ/(π/6))² − 0.1 |u|²
/// r_h = e for e > 0, −200 e² otherwise, with e = clip(z + 0.3, −1, 0.3)
/// ```
///
/// An episode ends below z = −0.45 and keeps its last reward; the time limit truncates. The
/// observation is the state without x.
pub struct Hopper {
    variant: Variant,
    real: Model,
    nominal: Model,
    bounds: ActionBounds,
    horizon: usize,
}

impl Hopper {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn new(variant: Variant, settings: &HopperSettings) -> Result<Self, TaskError> {
        check_horizon("hopper", settings.horizon)?;
        Ok(Self {
            variant,
            real: settings.real.model(settings.dt)?,
            nominal: settings.nominal.model(settings.dt)?,
            bounds: ActionBounds::symmetric(3, 1.0),
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

/// An episode ends when z falls below this.
const LOWEST: f64 = -0.45;
/// Height above [`LOWEST`] up to which the torso is punished for being low.
const TOLERANCE: f64 = 0.15;
/// Weight of low heights.
const LOW_WEIGHT: f64 = 200.0;
/// Range of the height above the tolerance that is rewarded.
const HEIGHT_RANGE: [f64; 2] = [-1.0, 0.3];
/// Pitch at which the reward for being upright is used up.
const PITCH: f64 = FRAC_PI_6;
/// Weight of the actions.
const ACTION_WEIGHT: f64 = 0.1;
/// Position of ẋ in the state.
const SPEED: usize = 6;

/// r_h and its slope: 0 strictly outside the clip, that of the parabola at e = 0.
fn height_reward(z: f64) -> (f64, f64) {
    let e = z - LOWEST - TOLERANCE;
    let [low, high] = HEIGHT_RANGE;
    let slope = if e < low || e > high { 0.0 } else { 1.0 };
    match e.clamp(low, high) {
        e if e > 0.0 => (e, slope),
        e => (-LOW_WEIGHT * e * e, -2.0 * LOW_WEIGHT * e * slope),
    }
}

impl Task for Hopper {
    fn name(&self) -> &str {
        "hopper"
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
        self.nominal.dt()
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0.iter_mut().for_each(|x| *x = stream.uniform(-0.05, 0.05));
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        let (height, _) = height_reward(m.x_next[1]);
        m.x_next[SPEED] + height + 1.0
            - (m.x_next[2] / PITCH).powi(2)
            - ACTION_WEIGHT * m.u.norm_squared()
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        let (_, height_slope) = height_reward(m.x_next[1]);
        out.r_x.fill(0.0);
        out.r_u.zip_apply(m.u, |r, u| *r = -2.0 * ACTION_WEIGHT * u);
        out.r_xnext.fill(0.0);
        out.r_xnext[SPEED] = 1.0;
        out.r_xnext[1] = height_slope;
        out.r_xnext[2] = -2.0 * m.x_next[2] / (PITCH * PITCH);
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn ends(&self, m: &Move<'_>, reward: f64) -> Option<Termination> {
        (m.x_next[1] < LOWEST).then_some(Termination { end: End::Terminated, reward })
    }
    fn observation(&self) -> &dyn Observation {
        &WithoutRootX
    }
    fn state_names(&self) -> Vec<String> {
        state_names(&["thigh", "leg", "foot"])
    }
}

impl BenchTask for Hopper {
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
        let heights = Heights { flight: [0.5, 1.5], ground: [-0.5, 0.0] };
        check_points(&[&self.real, &self.nominal], stream, n, -0.4, &heights)
    }
}
