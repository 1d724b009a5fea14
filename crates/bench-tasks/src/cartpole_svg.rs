//! The cart-pole of stochastic value gradients (Heess et al., NIPS 2015). The paper publishes neither the
//! task's constants nor its reward: the plant is the DeepMind control suite's, by the same authors, with soft
//! stops at the ends of the track and a reward that is smooth everywhere.

use std::f64::consts::PI;

use dynamics::models::{CartpoleSuite, CartpoleSuiteParameters};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, DerivativeKind, Move, Observation, ObservationJacobian,
    RewardGradient, Rk4, Scratch, Stream, Task,
};
use nalgebra::{DMatrix, DVector, dvector};
use serde::{Deserialize, Serialize};

use crate::planar_walker::check_horizon;
use crate::{BenchTask, CheckedModel, TaskError, Variant};

const NAME: &str = "cartpole-svg";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartpoleSvgSettings {
    /// Control steps per episode.
    pub horizon: usize,
    /// Length of a control step (s), one step of RK4.
    pub dt: f64,
    /// Where episodes start.
    pub start: CartpoleStart,
    /// Weight of p².
    pub position_weight: f64,
    /// Weight of θ̇².
    pub speed_weight: f64,
    /// Weight of u².
    pub control_weight: f64,
    /// The plant.
    pub real: CartpoleSuiteParameters,
    /// The model whose derivatives count as true; no method of the paper sees it.
    pub nominal: CartpoleSuiteParameters,
}

/// Where episodes of `cartpole-svg` start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CartpoleStart {
    /// Hanging at rest, every number 0.01 N off: swing the pole up.
    Hanging,
    /// Upright within ±0.034 rad, the cart within ±0.1 m: balance it.
    Upright,
}

impl Default for CartpoleSvgSettings {
    /// 500 steps of 0.02 s from hanging. None of it is published.
    fn default() -> Self {
        let model = CartpoleSuiteParameters::default();
        Self {
            horizon: 500,
            dt: 0.02,
            start: CartpoleStart::Hanging,
            position_weight: 0.05,
            speed_weight: 0.01,
            control_weight: 0.01,
            real: model,
            nominal: model,
        }
    }
}

/// The task: reward ½(1 + cosθ) − w_p p² − w_v θ̇² − w_u u² at the current state, observation
/// [p, cosθ, sinθ, ṗ, θ̇]; the time limit truncates. The measure `upright` is the mean of cosθ over the
/// last hundred steps.
pub struct CartpoleSvg {
    variant: Variant,
    settings: CartpoleSvgSettings,
    real: Rk4<CartpoleSuite>,
    nominal: Rk4<CartpoleSuite>,
    bounds: ActionBounds,
}

impl CartpoleSvg {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn new(variant: Variant, settings: &CartpoleSvgSettings) -> Result<Self, TaskError> {
        check_horizon(NAME, settings.horizon)?;
        for (key, value) in [
            ("position_weight", settings.position_weight),
            ("speed_weight", settings.speed_weight),
            ("control_weight", settings.control_weight),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                let needed = "finite and not negative";
                return Err(TaskError::Setting { task: NAME, key, value, needed });
            }
        }
        let model = |p| Rk4::new(CartpoleSuite::new(p)?, settings.dt);
        Ok(Self {
            variant,
            real: model(settings.real)?,
            nominal: model(settings.nominal)?,
            bounds: ActionBounds::symmetric(1, 1.0),
            settings: settings.clone(),
        })
    }

    fn model(&self) -> &Rk4<CartpoleSuite> {
        match self.variant {
            Variant::Real => &self.real,
            Variant::Nominal => &self.nominal,
        }
    }
}

/// [p, cosθ, sinθ, ṗ, θ̇].
struct Circle;

impl Observation for Circle {
    fn n_observations(&self, nx: usize) -> usize {
        nx + 1
    }
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]) {
        let (sin, cos) = x[1].sin_cos();
        o.copy_from_slice(&[x[0], cos, sin, x[2], x[3]]);
    }
    fn jacobian(&self) -> Option<&dyn ObservationJacobian> {
        Some(self)
    }
}

impl ObservationJacobian for Circle {
    fn linearize(&self, x: &DVector<f64>, ox: &mut DMatrix<f64>) {
        let (sin, cos) = x[1].sin_cos();
        ox.fill(0.0);
        ox[(0, 0)] = 1.0;
        ox[(1, 1)] = -sin;
        ox[(2, 1)] = cos;
        ox[(3, 2)] = 1.0;
        ox[(4, 3)] = 1.0;
    }
}

/// Steps at the end of an episode over which the pole's height counts.
const MEASURED: usize = 100;

impl Task for CartpoleSvg {
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
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        match self.settings.start {
            CartpoleStart::Hanging => {
                x0.iter_mut().for_each(|x| *x = 0.01 * stream.normal());
                x0[1] += PI;
            }
            CartpoleStart::Upright => {
                x0[0] = stream.uniform(-0.1, 0.1);
                x0[1] = stream.uniform(-0.034, 0.034);
                x0[2] = 0.0;
                x0[3] = 0.0;
            }
        }
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        let CartpoleSvgSettings { position_weight, speed_weight, control_weight, .. } =
            self.settings;
        0.5 * (1.0 + m.x[1].cos())
            - position_weight * m.x[0] * m.x[0]
            - speed_weight * m.x[3] * m.x[3]
            - control_weight * m.u[0] * m.u[0]
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        let CartpoleSvgSettings { position_weight, speed_weight, control_weight, .. } =
            self.settings;
        out.r_x.copy_from_slice(&[
            -2.0 * position_weight * m.x[0],
            -0.5 * m.x[1].sin(),
            0.0,
            -2.0 * speed_weight * m.x[3],
        ]);
        out.r_u[0] = -2.0 * control_weight * m.u[0];
        out.r_xnext.fill(0.0);
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn observation(&self) -> &dyn Observation {
        &Circle
    }
    fn measures(&self) -> &[&'static str] {
        &["upright"]
    }
    fn measure(&self, m: &Move<'_>, out: &mut [f64]) {
        let measured = MEASURED.min(self.settings.horizon);
        if m.t + measured >= self.settings.horizon {
            out[0] += m.x_next[1].cos() / measured as f64;
        }
    }
    fn state_names(&self) -> Vec<String> {
        ["p [m]", "θ [rad]", "ṗ [m/s]", "θ̇ [rad/s]"].map(String::from).to_vec()
    }
}

impl BenchTask for CartpoleSvg {
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
        // Hanging, upright and across, at rest; then anywhere.
        let mut points: Vec<_> = [PI, 0.0, 0.5 * PI]
            .into_iter()
            .flat_map(|theta| [0.0, 1.0].map(|u| (dvector![0.0, theta, 0.0, 0.0], dvector![u])))
            .collect();
        while points.len() < n {
            let x = dvector![
                stream.uniform(-2.0, 2.0),
                stream.uniform(-PI, PI),
                stream.uniform(-3.0, 3.0),
                stream.uniform(-8.0, 8.0),
            ];
            // Away from where the stops begin.
            if (x[0].abs() - self.settings.real.track).abs() > 0.1 {
                points.push((x, dvector![stream.uniform(-1.0, 1.0)]));
            }
        }
        points.truncate(n);
        points
    }
}
