//! Half-cheetah of VG-SAC (Gurumurthy, Kolter and Manchester, L4DC 2023), on the physics of DFlex.

use dynamics::models::{HalfCheetah as Model, HalfCheetahParameters};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, DerivativeKind, Move, Observation, RewardGradient,
    Scratch, Stream, Task,
};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::planar_walker::{Heights, WithoutRootX, check_horizon, check_points, state_names};
use crate::{BenchTask, CheckedModel, Preset, TaskError, Variant};

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfCheetahSettings {
    /// Control steps per episode.
    pub horizon: usize,
    /// Length of a control step (s).
    pub dt: f64,
    /// The plant.
    pub real: HalfCheetahParameters,
    /// The model that is differentiated.
    pub nominal: HalfCheetahParameters,
}

impl HalfCheetahSettings {
    /// The task as released ([`Preset::Released`]) or as the paper describes it
    /// ([`Preset::Paper`]: joint damping of the plant 30 % lower, which the released code intends
    /// but does not reach).
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let joint_damping_scale = match preset {
            Preset::Released => 1.0,
            Preset::Paper => 0.7,
        };
        Self {
            horizon: 1000,
            dt: 1.0 / 60.0,
            real: HalfCheetahParameters { joint_damping_scale, ..HalfCheetahParameters::real() },
            nominal: HalfCheetahParameters::nominal(),
        }
    }
}

/// The task: run forwards. The reward ẋ − 0.1 |u|² is that of the next state and the action. Nothing
/// ends an episode but the time limit, which truncates. The observation is the state without x.
pub struct HalfCheetah {
    variant: Variant,
    real: Model,
    nominal: Model,
    bounds: ActionBounds,
    horizon: usize,
}

impl HalfCheetah {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn new(variant: Variant, settings: &HalfCheetahSettings) -> Result<Self, TaskError> {
        check_horizon("halfcheetah", settings.horizon)?;
        Ok(Self {
            variant,
            real: settings.real.model(settings.dt)?,
            nominal: settings.nominal.model(settings.dt)?,
            bounds: ActionBounds::symmetric(6, 1.0),
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

/// Weight of the actions.
const ACTION_WEIGHT: f64 = 0.1;
/// Position of ẋ in the state.
const SPEED: usize = 9;

impl Task for HalfCheetah {
    fn name(&self) -> &str {
        "halfcheetah"
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
        for (i, x) in x0.iter_mut().enumerate() {
            let spread = if i < SPEED { 0.1 } else { 0.25 };
            *x = stream.uniform(-spread, spread);
        }
        // Feet just above ground.
        x0[1] -= 0.2;
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        m.x_next[SPEED] - ACTION_WEIGHT * m.u.norm_squared()
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        out.r_x.fill(0.0);
        out.r_u.zip_apply(m.u, |r, u| *r = -2.0 * ACTION_WEIGHT * u);
        out.r_xnext.fill(0.0);
        out.r_xnext[SPEED] = 1.0;
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn observation(&self) -> &dyn Observation {
        &WithoutRootX
    }
    fn state_names(&self) -> Vec<String> {
        state_names(&["bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"])
    }
}

impl BenchTask for HalfCheetah {
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
        let heights = Heights { flight: [0.5, 1.5], ground: [-0.8, -0.3] };
        check_points(&[&self.real, &self.nominal], stream, n, 0.0, &heights)
    }
}
