//! The scalar example of the tracking-feedback policy gradient: a point on a line, with feedback and
//! without.

use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, ControlJacobian, DerivativeKind, Dynamics, DynamicsError,
    GenericDynamics, Linearization, Move, Plant, RewardGradient, Scalar, Scratch, Stream, Task,
    Tracker, TrackerShape,
};
use nalgebra::{DMatrix, DVector, dvector};
use serde::{Deserialize, Serialize};

use crate::planar_walker::check_horizon;
use crate::{BenchTask, CheckedModel, TaskError, Variant};

const NAME: &str = "track-line";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackLineSettings {
    /// Control steps per episode, T.
    pub horizon: usize,
    /// a, b of the plant x' = a x + b u.
    pub real: [f64; 2],
    /// â, b̂ of the model that is differentiated.
    pub nominal: [f64; 2],
    /// k of u = k(x̄ − x); without feedback u = x̄.
    pub gain: f64,
    /// Whether there is feedback.
    pub feedback: bool,
}

impl Default for TrackLineSettings {
    /// An unstable plant: a = 1.1, the model's â = 1.15; k = 0.8 makes them 0.3 and 0.43.
    fn default() -> Self {
        Self { horizon: 20, real: [1.1, 1.0], nominal: [1.15, 0.9], gain: 0.8, feedback: true }
    }
}

/// The task: x₀ uniform in ±1, reward −½x² of every state from the first to the last.
pub struct TrackLine {
    variant: Variant,
    settings: TrackLineSettings,
    real: Line,
    nominal: Line,
    shape: TrackerShape,
    bounds: ActionBounds,
}

impl TrackLine {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn new(variant: Variant, settings: &TrackLineSettings) -> Result<Self, TaskError> {
        check_horizon(NAME, settings.horizon)?;
        let ([a, b], [a_hat, b_hat]) = (settings.real, settings.nominal);
        for (key, value) in [
            ("real", a),
            ("real", b),
            ("nominal", a_hat),
            ("nominal", b_hat),
            ("gain", settings.gain),
        ] {
            if !value.is_finite() {
                return Err(TaskError::Setting { task: NAME, key, value, needed: "finite" });
            }
        }
        let shape = TrackerShape {
            n_features: 1,
            n_set_point: 1,
            n_reference: 1,
            segment: 1,
            n_tracked: 1,
            scales: vec![1.0],
            gains: Vec::new(),
        };
        Ok(Self {
            variant,
            real: Line { a, b },
            nominal: Line { a: a_hat, b: b_hat },
            shape,
            bounds: ActionBounds::symmetric(1, 10.0),
            settings: settings.clone(),
        })
    }

    fn model(&self) -> &Line {
        match self.variant {
            Variant::Real => &self.real,
            Variant::Nominal => &self.nominal,
        }
    }

    /// ∂u/∂x̄ and −∂u/∂x.
    fn gains(&self) -> (f64, f64) {
        let k = self.settings.gain;
        if self.settings.feedback { (k, k) } else { (1.0, 0.0) }
    }
}

/// x' = a x + b u.
#[derive(Debug, Clone, Copy)]
struct Line {
    a: f64,
    b: f64,
}

impl GenericDynamics for Line {
    fn step_generic<S: Scalar>(&self, x: &[S], u: &[S]) -> Vec<S> {
        vec![x[0] * self.a + u[0] * self.b]
    }
}

impl Plant for Line {
    type Workspace = ();
    fn name(&self) -> &str {
        "line"
    }
    fn nx(&self) -> usize {
        1
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[0] = self.a * x[0] + self.b * u[0];
        Ok(())
    }
}

impl Dynamics for Line {
    fn linearize(
        &self,
        (): &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx[(0, 0)] = self.a;
        out.fu[(0, 0)] = self.b;
        Ok(())
    }
}

impl Task for TrackLine {
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
        1.0
    }
    fn discount(&self) -> f64 {
        1.0
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0[0] = stream.uniform(-1.0, 1.0);
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        let last = if m.t + 1 == self.settings.horizon { m.x_next[0] } else { 0.0 };
        -0.5 * (m.x[0] * m.x[0] + last * last)
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        let last = if m.t + 1 == self.settings.horizon { m.x_next[0] } else { 0.0 };
        out.r_x[0] = -m.x[0];
        out.r_u[0] = 0.0;
        out.r_xnext[0] = -last;
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn tracker(&self) -> Option<&dyn Tracker> {
        Some(self)
    }
}

impl BenchTask for TrackLine {
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
        let mut number = || dvector![stream.uniform(-2.0, 2.0)];
        (0..n).map(|_| (number(), number())).collect()
    }
}

impl Tracker for TrackLine {
    fn shape(&self) -> &TrackerShape {
        &self.shape
    }
    fn features(&self, _t: usize, x: &DVector<f64>, z: &mut [f64]) {
        z[0] = x[0];
    }
    fn features_jacobian(&self, _t: usize, _x: &DVector<f64>, zx: &mut DMatrix<f64>) {
        zx[(0, 0)] = 1.0;
    }
    fn start(&self, _x: &DVector<f64>, s: &mut [f64]) {
        s[0] = 0.0;
    }
    fn set_point(&self, _t: usize, _x: &DVector<f64>, s: &mut [f64]) {
        s[0] = 0.0;
    }
    fn reference(&self, _i: usize, _before: &[f64], s: &[f64], sigma: &mut [f64]) {
        sigma[0] = s[0];
    }
    fn reference_jacobian(&self, _i: usize, by_before: &mut DMatrix<f64>, by_s: &mut DMatrix<f64>) {
        by_before[(0, 0)] = 0.0;
        by_s[(0, 0)] = 1.0;
    }
    fn control(&self, x: &DVector<f64>, sigma: &[f64], _gains: &[f64], u: &mut DVector<f64>) {
        let (by_sigma, k) = self.gains();
        u[0] = by_sigma * sigma[0] - k * x[0];
    }
    fn control_jacobian(
        &self,
        _x: &DVector<f64>,
        _sigma: &[f64],
        _gains: &[f64],
        out: &mut ControlJacobian,
    ) {
        let (by_sigma, k) = self.gains();
        out.sigma[(0, 0)] = by_sigma;
        out.x[(0, 0)] = -k;
    }
}
