//! The hand-ball of stochastic value gradients (Heess et al., NIPS 2015, figure 2 left): move a hand so
//! that a ball on a spring, pushed about at random, is at its target when time is up. What the paper says
//! is the plant's form, 1,000 steps of 0.01 s, two targets, and that all of the reward but small terms
//! comes with the last step; every constant is ours.

use dynamics::models::{HandBall as Model, HandBallParameters};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, DerivativeKind, End, Move, RewardGradient, Scratch,
    Stream, Task,
};
use nalgebra::{DVector, dvector};
use serde::{Deserialize, Serialize};

use crate::planar_walker::check_horizon;
use crate::{BenchTask, CheckedModel, TaskError, Variant};

const NAME: &str = "hand-ball";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandBallSettings {
    /// Control steps per episode.
    pub horizon: usize,
    /// Length of a control step (s).
    pub dt: f64,
    /// Weight of dt·|u|² in every step.
    pub control_weight: f64,
    /// Limit of each of the hand's velocities [m/s].
    pub u_max: f64,
    /// The plant.
    pub real: HandBallParameters,
    /// The model whose derivatives count as true; no method of the paper sees it.
    pub nominal: HandBallParameters,
}

impl Default for HandBallSettings {
    fn default() -> Self {
        let model = HandBallParameters::default();
        Self {
            horizon: 1000,
            dt: 0.01,
            control_weight: 1e-3,
            u_max: 1.0,
            real: model,
            nominal: model,
        }
    }
}

/// The task: from hanging at rest to one of two places, (±1, ½), where ball and hand hang at rest again.
/// Reward −w dt |u|² in every step, and −(|h − h*|² + |b − b*|²) of the state reached in the last; nothing
/// is discounted, and time is over for good then.
pub struct HandBall {
    variant: Variant,
    settings: HandBallSettings,
    real: Model,
    nominal: Model,
    bounds: ActionBounds,
    /// G/K: how far the ball hangs below the hand.
    sag: f64,
}

impl HandBall {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn new(variant: Variant, settings: &HandBallSettings) -> Result<Self, TaskError> {
        check_horizon(NAME, settings.horizon)?;
        let refuse =
            |key, value, needed| Err(TaskError::Setting { task: NAME, key, value, needed });
        let HandBallSettings { control_weight, u_max, .. } = *settings;
        if !(control_weight.is_finite() && control_weight >= 0.0) {
            return refuse("control_weight", control_weight, "finite and not negative");
        }
        if !(u_max.is_finite() && u_max > 0.0) {
            return refuse("u_max", u_max, "positive and finite");
        }
        // The clock runs from −1 to 1.
        let tick = 2.0 / settings.horizon as f64;
        let model = |p| Model::new(p, settings.dt, tick);
        Ok(Self {
            variant,
            real: model(settings.real)?,
            nominal: model(settings.nominal)?,
            bounds: ActionBounds::symmetric(2, u_max),
            sag: settings.real.gravity / settings.real.stiffness,
            settings: settings.clone(),
        })
    }

    fn model(&self) -> &Model {
        match self.variant {
            Variant::Real => &self.real,
            Variant::Nominal => &self.nominal,
        }
    }

    /// h − h* and b − b*, one after the other, in the first four entries of the state.
    fn misses(&self, x: &DVector<f64>) -> [f64; 4] {
        let target = [x[Model::TARGET], 0.5];
        let half = 0.5 * self.sag;
        [x[0] - target[0], x[1] - (target[1] + half), x[2] - target[0], x[3] - (target[1] - half)]
    }

    fn is_last(&self, m: &Move<'_>) -> bool {
        m.t + 1 == self.settings.horizon
    }
}

impl Task for HandBall {
    fn name(&self) -> &str {
        NAME
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
        self.settings.horizon
    }
    fn dt(&self) -> f64 {
        self.settings.dt
    }
    fn discount(&self) -> f64 {
        1.0
    }
    fn time_limit(&self) -> End {
        End::Terminated
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0.fill(0.0);
        x0[3] = -self.sag;
        x0[Model::TARGET] = if stream.unit() < 0.5 { -1.0 } else { 1.0 };
        x0[Model::CLOCK] = -1.0;
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        let running = -self.settings.control_weight * self.settings.dt * m.u.norm_squared();
        if !self.is_last(m) {
            return running;
        }
        running - self.misses(m.x_next).iter().map(|miss| miss * miss).sum::<f64>()
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        out.r_x.fill(0.0);
        out.r_xnext.fill(0.0);
        out.r_u.copy_from(m.u);
        out.r_u *= -2.0 * self.settings.control_weight * self.settings.dt;
        if self.is_last(m) {
            let misses = self.misses(m.x_next);
            for (r, miss) in out.r_xnext.iter_mut().zip(misses) {
                *r = -2.0 * miss;
            }
            // Both targets move with τ.
            out.r_xnext[Model::TARGET] = 2.0 * (misses[0] + misses[2]);
        }
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn measures(&self) -> &[&'static str] {
        &["final_distance"]
    }
    fn measure(&self, m: &Move<'_>, out: &mut [f64]) {
        let [.., x, y] = self.misses(m.x_next);
        out[0] = x.hypot(y);
    }
    fn state_names(&self) -> Vec<String> {
        ["h₁ [m]", "h₂ [m]", "b₁ [m]", "b₂ [m]", "v₁ [m/s]", "v₂ [m/s]", "target", "clock"]
            .map(String::from)
            .to_vec()
    }
}

impl BenchTask for HandBall {
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
        // A start of each kind, then anywhere.
        let mut points: Vec<_> = [-1.0, 1.0]
            .into_iter()
            .map(|tau| {
                (dvector![0.0, 0.0, 0.0, -self.sag, 0.0, 0.0, tau, -1.0], dvector![0.0, 0.0])
            })
            .collect();
        while points.len() < n {
            let mut x = DVector::from_fn(8, |_, _| stream.uniform(-1.5, 1.5));
            x[Model::TARGET] = if stream.unit() < 0.5 { -1.0 } else { 1.0 };
            x[Model::CLOCK] = stream.uniform(-1.0, 1.0);
            let limit = self.settings.u_max;
            points.push((x, DVector::from_fn(2, |_, _| stream.uniform(-limit, limit))));
        }
        points.truncate(n);
        points
    }
}
