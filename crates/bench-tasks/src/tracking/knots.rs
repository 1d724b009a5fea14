//! A task with a tracker as its network meets it: one step per decision, the controller part of the world.
//! It is what methods that know nothing of controllers are compared on, over the same architecture.

use std::sync::Arc;

use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, DynamicsError, FiniteDifference, Move, Observation,
    ObservationJacobian, Plant, Scratch, Stream, Task, Tracker,
};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::laps::{CarLapSettings, LapTask, QuadrupedLapSettings};
use crate::{BenchTask, CheckedModel, Preset, TaskError, Variant};

/// Settings of a task of decisions over a task `T`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnotSettings<T> {
    /// γ per decision.
    pub discount: f64,
    /// Costs of a control step count up to this.
    pub max_step_cost: f64,
    /// Decisions at the start that the measure leaves out, as the task below does when it trains; rewards
    /// count from the first.
    pub settle: usize,
    /// The task below.
    pub inner: T,
}

impl KnotSettings<CarLapSettings> {
    /// The car, from its first decision on.
    #[must_use]
    pub fn car(preset: Preset) -> Self {
        let mut inner = CarLapSettings::preset(preset);
        let settle = std::mem::take(&mut inner.common.settle_segments);
        Self { discount: 0.99, max_step_cost: 5.0, settle, inner }
    }
}

impl KnotSettings<QuadrupedLapSettings> {
    /// The quadruped, from its first decision on.
    #[must_use]
    pub fn quadruped(preset: Preset) -> Self {
        let mut inner = QuadrupedLapSettings::preset(preset);
        let settle = std::mem::take(&mut inner.common.settle_segments);
        Self { discount: 0.99, max_step_cost: 5.0, settle, inner }
    }
}

/// The task: actions within ±1 are the outputs of a policy's network, which correct the set point and the
/// gains of the next segment; 0 is the controller alone. Reward: the sum over the segment's steps.
///
/// State: that of the task below, the last corrected set point, the step, and what the last segment has
/// earned. Observation: the tracker's features, the last set point relative to the task's own, and that
/// relative to the robot.
pub struct KnotTask {
    name: &'static str,
    discount: f64,
    settle: usize,
    inner: Arc<LapTask>,
    real: FiniteDifference<KnotModel>,
    nominal: FiniteDifference<KnotModel>,
    observation: KnotObservation,
    bounds: ActionBounds,
    horizon: usize,
}

impl KnotTask {
    /// Decisions of the car.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn car(
        variant: Variant,
        settings: &KnotSettings<CarLapSettings>,
    ) -> Result<Self, TaskError> {
        let inner = LapTask::car(variant, &settings.inner)?;
        let KnotSettings { discount, max_step_cost, settle, .. } = *settings;
        Self::new("car-lap-knots", inner, (discount, max_step_cost, settle))
    }

    /// Decisions of the quadruped.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn quadruped(
        variant: Variant,
        settings: &KnotSettings<QuadrupedLapSettings>,
    ) -> Result<Self, TaskError> {
        let inner = LapTask::quadruped(variant, &settings.inner)?;
        let KnotSettings { discount, max_step_cost, settle, .. } = *settings;
        Self::new("quadruped-lap-knots", inner, (discount, max_step_cost, settle))
    }

    fn new(
        name: &'static str,
        inner: LapTask,
        (discount, max_step_cost, settle): (f64, f64, usize),
    ) -> Result<Self, TaskError> {
        let refuse =
            |key, value, needed| Err(TaskError::Setting { task: name, key, value, needed });
        if !(discount > 0.0 && discount <= 1.0) {
            return refuse("discount", discount, "above 0 and at most 1");
        }
        if max_step_cost.is_nan() || max_step_cost <= 0.0 {
            return refuse("max_step_cost", max_step_cost, "positive");
        }
        let inner = Arc::new(inner);
        let shape = inner.lap_tracker().shape();
        let n_outputs = shape.n_outputs();
        let horizon = inner.horizon() / shape.segment;
        if settle >= horizon {
            return refuse("settle", settle as f64, "below the number of decisions");
        }
        let model = |real| {
            FiniteDifference::new(KnotModel {
                name,
                real,
                max_step_cost,
                inner: Arc::clone(&inner),
            })
        };
        Ok(Self {
            name,
            discount,
            settle,
            real: model(true)?,
            nominal: model(false)?,
            observation: KnotObservation { inner: Arc::clone(&inner) },
            bounds: ActionBounds::symmetric(n_outputs, 1.0),
            horizon,
            inner,
        })
    }
}

/// A segment as one step.
struct KnotModel {
    name: &'static str,
    real: bool,
    max_step_cost: f64,
    inner: Arc<LapTask>,
}

/// Scratch of a [`KnotModel`].
struct KnotWorkspace {
    plant: Scratch,
    reward: Scratch,
    x: DVector<f64>,
    x_next: DVector<f64>,
    u: DVector<f64>,
    set_point: Vec<f64>,
    sigma: Vec<f64>,
    gains: Vec<f64>,
}

impl KnotModel {
    fn model(&self) -> &dyn AnyPlant {
        if self.real { self.inner.plant() } else { self.inner.nominal() }
    }

    fn sizes(&self) -> (usize, usize) {
        (self.inner.plant().any_nx(), self.inner.lap_tracker().shape().n_set_point)
    }
}

impl Plant for KnotModel {
    type Workspace = KnotWorkspace;

    fn name(&self) -> &str {
        self.name
    }
    fn nx(&self) -> usize {
        let (nx, ns) = self.sizes();
        nx + ns + 2
    }
    fn nu(&self) -> usize {
        self.inner.lap_tracker().shape().n_outputs()
    }
    fn workspace(&self) -> KnotWorkspace {
        let ((nx, ns), shape) = (self.sizes(), self.inner.lap_tracker().shape());
        KnotWorkspace {
            plant: self.model().any_workspace(),
            reward: self.inner.reward_scratch(),
            x: DVector::zeros(nx),
            x_next: DVector::zeros(nx),
            u: DVector::zeros(self.inner.plant().any_nu()),
            set_point: vec![0.0; ns],
            sigma: vec![0.0; shape.n_reference],
            gains: vec![0.0; shape.gains.len()],
        }
    }
    fn step(
        &self,
        ws: &mut KnotWorkspace,
        x: &DVector<f64>,
        outputs: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        let ((nx, ns), tracker) = (self.sizes(), self.inner.lap_tracker());
        let shape = tracker.shape();
        let first = x[nx + ns].round().max(0.0) as usize;
        ws.x.copy_from(&x.rows(0, nx));
        tracker.set_point(first, &ws.x, &mut ws.set_point);
        ws.gains.copy_from_slice(&shape.gains);
        let corrected = ws.set_point.iter_mut().chain(&mut ws.gains);
        for ((value, output), scale) in corrected.zip(outputs.iter()).zip(&shape.scales) {
            *value += scale * output;
        }
        let before = &x.as_slice()[nx..nx + ns];
        let mut earned = 0.0;
        for i in 0..shape.segment {
            tracker.reference(i, before, &ws.set_point, &mut ws.sigma);
            tracker.control(&ws.x, &ws.sigma, &ws.gains, &mut ws.u);
            self.model().any_step(&mut ws.plant, &ws.x, &ws.u, &[], &mut ws.x_next)?;
            let m = Move { t: first + i, x: &ws.x, u: &ws.u, x_next: &ws.x_next };
            earned += self.inner.reward(&mut ws.reward, &m).max(-self.max_step_cost);
            std::mem::swap(&mut ws.x, &mut ws.x_next);
        }
        x_next.rows_mut(0, nx).copy_from(&ws.x);
        x_next.as_mut_slice()[nx..nx + ns].copy_from_slice(&ws.set_point);
        x_next[nx + ns] = (first + shape.segment) as f64;
        x_next[nx + ns + 1] = earned;
        Ok(())
    }
}

/// What the network of a tracking policy sees; the last set point relative to where the task had it; and
/// where the task's own point is as seen from the robot. Without the last two the process is not Markov:
/// the next spline begins at the one, and the clock that moves the other is in nothing else.
struct KnotObservation {
    inner: Arc<LapTask>,
}

impl KnotObservation {
    /// The state of the task below, the last set point and the step.
    fn split<'x>(&self, x: &'x DVector<f64>) -> (DVector<f64>, &'x [f64], usize) {
        let tracker = self.inner.lap_tracker();
        let (nx, ns) = (self.inner.plant().any_nx(), tracker.shape().n_set_point);
        let step = x[nx + ns].round().max(0.0) as usize;
        (x.rows(0, nx).into_owned(), &x.as_slice()[nx..nx + ns], step)
    }
}

impl Observation for KnotObservation {
    fn n_observations(&self, _nx: usize) -> usize {
        let shape = self.inner.lap_tracker().shape();
        shape.n_features + shape.n_set_point + 2
    }
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]) {
        let tracker = self.inner.lap_tracker();
        let (below, last, step) = self.split(x);
        let (features, rest) = o.split_at_mut(tracker.shape().n_features);
        let (correction, ahead) = rest.split_at_mut(last.len());
        tracker.features(step, &below, features);
        let own = tracker.own(&below);
        ahead.copy_from_slice(&[own[0] - below[0], own[1] - below[1]]);
        for (correction, (last, own)) in correction.iter_mut().zip(last.iter().zip(own)) {
            *correction = last - own;
        }
    }
    fn jacobian(&self) -> Option<&dyn ObservationJacobian> {
        Some(self)
    }
}

impl ObservationJacobian for KnotObservation {
    fn linearize(&self, x: &DVector<f64>, ox: &mut DMatrix<f64>) {
        let tracker = self.inner.lap_tracker();
        let (below, last, step) = self.split(x);
        let (nx, nf, ns) = (below.len(), tracker.shape().n_features, last.len());
        let mut zx = DMatrix::zeros(nf, nx);
        tracker.features_jacobian(step, &below, &mut zx);
        ox.fill(0.0);
        ox.view_mut((0, 0), (nf, nx)).copy_from(&zx);
        let (clock, rate) = tracker.own_rate(&below);
        for (i, rate) in rate.into_iter().enumerate() {
            ox[(nf + i, nx + i)] = 1.0;
            ox[(nf + i, clock)] = -rate;
            if i < 2 {
                ox[(nf + ns + i, i)] = -1.0;
                ox[(nf + ns + i, clock)] = rate;
            }
        }
    }
}

impl Task for KnotTask {
    fn name(&self) -> &str {
        self.name
    }
    fn plant(&self) -> &dyn AnyPlant {
        &self.real
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.nominal
    }
    fn horizon(&self) -> usize {
        self.horizon
    }
    fn dt(&self) -> f64 {
        self.inner.dt() * self.inner.lap_tracker().shape().segment as f64
    }
    fn discount(&self) -> f64 {
        self.discount
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        let nx = self.inner.plant().any_nx();
        let mut below = DVector::zeros(nx);
        self.inner.sample_x0(stream, &mut below);
        x0.fill(0.0);
        x0.rows_mut(0, nx).copy_from(&below);
        let ns = self.inner.lap_tracker().shape().n_set_point;
        self.inner.lap_tracker().start(&below, &mut x0.as_mut_slice()[nx..nx + ns]);
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        m.x_next[m.x_next.len() - 1]
    }
    fn observation(&self) -> &dyn Observation {
        &self.observation
    }
    fn measures(&self) -> &[&'static str] {
        &["cost_per_step"]
    }
    fn measure(&self, m: &Move<'_>, out: &mut [f64]) {
        if m.t >= self.settle {
            let n = (self.horizon - self.settle) * self.inner.lap_tracker().shape().segment;
            out[0] -= m.x_next[m.x_next.len() - 1] / n as f64;
        }
    }
}

impl BenchTask for KnotTask {
    fn as_task(&self) -> &dyn Task {
        self
    }
    /// None: its derivatives are differences, and the circle on which a robot counts changes with the time.
    fn checked_models(&self) -> Vec<CheckedModel<'_>> {
        Vec::new()
    }
    fn check_points(&self, stream: &mut Stream, n: usize) -> Vec<(DVector<f64>, DVector<f64>)> {
        let point = |_| {
            let mut x = DVector::zeros(self.plant().any_nx());
            self.sample_x0(stream, &mut x);
            let u = DVector::from_fn(self.bounds.low.len(), |_, _| stream.uniform(-0.5, 0.5));
            (x, u)
        };
        (0..n).map(point).collect()
    }
}
