//! The double pendulum of the tracking-feedback policy gradient: bring the end effector to a point.

use std::f64::consts::{FRAC_PI_8, PI, TAU};

use ddp::lqr::{self, StationaryProblem};
use dynamics::models::{DoublePendulum, DoublePendulumParameters};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, ControlJacobian, DerivativeKind, Dynamics, Euler,
    GenericControl, Linearization, Move, RewardGradient, Scalar, Scratch, Stream, Task, Tracker,
    TrackerShape,
};
use nalgebra::{DMatrix, DVector, dvector};
use serde::{Deserialize, Serialize};

use crate::planar_walker::check_horizon;
use crate::{BenchTask, CheckedModel, TaskError, Variant};

const NAME: &str = "double-pendulum-reach";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachPointSettings {
    /// Control steps per episode.
    pub horizon: usize,
    /// Length of a control step (s), explicit Euler.
    pub dt: f64,
    /// θ₁ of the middle of all starts, at rest.
    pub start: f64,
    /// Half the range of θ₁ at the start.
    pub start_spread: f64,
    /// Where the end effector should be (m).
    pub target: [f64; 2],
    /// The controller.
    pub control: PendulumControl,
    /// Control steps of a segment.
    pub segment: usize,
    /// The plant.
    pub real: DoublePendulumParameters,
    /// The model that is differentiated and for which the controller is made.
    pub nominal: DoublePendulumParameters,
}

impl Default for ReachPointSettings {
    /// 300 steps of 0.01 s, decisions every 0.1 s, the regulator of the discrete model of half the masses.
    fn default() -> Self {
        Self {
            horizon: 300,
            dt: 0.01,
            start: 5.0 * FRAC_PI_8,
            start_spread: FRAC_PI_8,
            target: [1.70, -2.0 * (5.0 * FRAC_PI_8).cos()],
            control: PendulumControl::DiscreteLqr,
            segment: 10,
            real: DoublePendulumParameters::real(),
            nominal: DoublePendulumParameters::nominal(),
        }
    }
}

/// How the pendulum is held to its set point (θ, θ̇).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PendulumControl {
    /// u = −K(x − s) with the regulator of the continuous model upright, Q = diag(250, 250, 10, 10), R = 1,
    /// as released. At this sampling rate it leaves the model of half the masses unstable.
    ContinuousLqr,
    /// The same with the regulator of the discrete model and Q dt, R dt.
    DiscreteLqr,
    /// u = H(25 (θ_s − θ) + 10 (θ̇_s − θ̇)) + C + G of the model.
    ComputedTorque,
    /// No feedback: u = G at the middle of the starts + s₁,₂; the network sees state and time, as
    /// released.
    OpenLoop,
    /// No feedback, and the network sees the time alone.
    OpenLoopTime,
}

impl PendulumControl {
    fn has_feedback(self) -> bool {
        !matches!(self, Self::OpenLoop | Self::OpenLoopTime)
    }
}

/// The task: θ₁ uniform about its middle, at rest; reward −(squared distance of the end effector to the
/// target) before each step, nothing discounted.
pub struct ReachPoint {
    variant: Variant,
    settings: ReachPointSettings,
    real: Euler<DoublePendulum>,
    nominal: Euler<DoublePendulum>,
    law: Law,
    shape: TrackerShape,
    bounds: ActionBounds,
}

/// A controller with its constants.
#[derive(Debug, Clone)]
enum Law {
    /// The gains that are not corrected: K₁₂, K₂₁, K₁₄, K₂₃.
    Linear([f64; 4]),
    /// The model.
    ComputedTorque(DoublePendulum),
    /// The torques without correction.
    Open([f64; 2]),
}

/// Set point and gains are those of the paper's network, whether they are used or not.
const N_GAINS: usize = 6;

impl ReachPoint {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn new(variant: Variant, settings: &ReachPointSettings) -> Result<Self, TaskError> {
        let ReachPointSettings { horizon, dt, segment, control, .. } = *settings;
        check_horizon(NAME, horizon)?;
        let refuse =
            |key, value, needed| Err(TaskError::Setting { task: NAME, key, value, needed });
        if segment == 0 || segment > horizon {
            return refuse("segment", segment as f64, "at least 1 and at most the horizon");
        }
        for (key, value) in [
            ("start", settings.start),
            ("start_spread", settings.start_spread),
            ("target", settings.target[0]),
            ("target", settings.target[1]),
        ] {
            if !value.is_finite() {
                return refuse(key, value, "finite");
            }
        }
        let model = |p| Euler::new(DoublePendulum::new(p)?, dt);
        let (real, nominal) = (model(settings.real)?, model(settings.nominal)?);
        let (law, gains, scales) = match control {
            PendulumControl::ContinuousLqr | PendulumControl::DiscreteLqr => {
                let k = regulator(&nominal, control)?;
                let corrected = [k[(0, 0)], k[(1, 1)], k[(0, 2)], k[(1, 3)]];
                let law = Law::Linear([k[(0, 1)], k[(1, 0)], k[(0, 3)], k[(1, 2)]]);
                (law, corrected, [PI, PI, 1.0, 1.0])
            }
            PendulumControl::ComputedTorque => (
                Law::ComputedTorque(nominal.model().clone()),
                [25.0, 25.0, 10.0, 10.0],
                [PI, PI, 1.0, 1.0],
            ),
            PendulumControl::OpenLoop | PendulumControl::OpenLoopTime => {
                let held = nominal.model().torques(&[settings.start, 0.0, 0.0, 0.0], [0.0; 2]);
                (Law::Open(held), [0.0; 4], [1.0, 1.0, 0.0, 0.0])
            }
        };
        let shape = TrackerShape {
            n_features: match control {
                PendulumControl::OpenLoop => 8,
                PendulumControl::OpenLoopTime => 2,
                _ => 4,
            },
            n_set_point: 4,
            n_reference: 4,
            segment,
            n_tracked: 4,
            scales: scales.into_iter().chain(gains.map(|k: f64| 0.5 * k)).chain([0.0; 2]).collect(),
            gains: gains.into_iter().chain([0.0; 2]).collect(),
        };
        Ok(Self {
            variant,
            real,
            nominal,
            law,
            shape,
            // The paper has no limits; these are for methods that need some.
            bounds: ActionBounds::symmetric(2, 2.0),
            settings: settings.clone(),
        })
    }

    fn model(&self) -> &Euler<DoublePendulum> {
        match self.variant {
            Variant::Real => &self.real,
            Variant::Nominal => &self.nominal,
        }
    }

    /// End effector minus target (m); the reward knows the real lengths.
    fn miss<S: Scalar>(&self, x: &[S]) -> [S; 2] {
        let [ex, ey] = self.real.model().end_effector(x);
        [ex - self.settings.target[0], ey - self.settings.target[1]]
    }

    /// cos and sin of 2πt/T for the time t of a step.
    fn phase(&self, t: usize) -> [f64; 2] {
        let (sin, cos) = (TAU * t as f64 / self.settings.horizon as f64).sin_cos();
        [cos, sin]
    }
}

/// K of u = −K x for the model upright.
fn regulator(
    model: &Euler<DoublePendulum>,
    control: PendulumControl,
) -> Result<DMatrix<f64>, TaskError> {
    let dt = model.dt();
    let upright = dvector![PI, 0.0, 0.0, 0.0];
    let mut jacobian = Linearization::zeros(4, 2);
    let mut ws = dynamics::Plant::workspace(model);
    model.linearize(&mut ws, &upright, &dvector![0.0, 0.0], &mut jacobian)?;
    let (q, r) = (
        DMatrix::from_diagonal(&dvector![250.0, 250.0, 10.0, 10.0]),
        DMatrix::<f64>::identity(2, 2),
    );
    let found = if control == PendulumControl::ContinuousLqr {
        // Euler's step is x + dt ẋ.
        let a = (jacobian.fx - DMatrix::identity(4, 4)) / dt;
        lqr::continuous(&StationaryProblem::new(a, jacobian.fu / dt, q, r)).map(|k| k.gains)
    } else {
        let problem = StationaryProblem::new(jacobian.fx, jacobian.fu, q * dt, r * dt);
        lqr::discrete(&problem, 1.0).map(|k| k.gains)
    };
    found.map(|gains| -gains).map_err(|source| TaskError::Regulator { task: NAME, source })
}

impl GenericControl<4, 4, N_GAINS, 2> for ReachPoint {
    fn control_generic<S: Scalar>(&self, x: &[S; 4], s: &[S; 4], gains: &[S; N_GAINS]) -> [S; 2] {
        let e: [S; 4] = std::array::from_fn(|i| s[i] - x[i]);
        let [k1, k2, d1, d2, ..] = *gains;
        match &self.law {
            Law::Linear([k12, k21, k14, k23]) => [
                k1 * e[0] + e[1] * *k12 + d1 * e[2] + e[3] * *k14,
                e[0] * *k21 + k2 * e[1] + e[2] * *k23 + d2 * e[3],
            ],
            Law::ComputedTorque(model) => {
                model.torques(x, [k1 * e[0] + d1 * e[2], k2 * e[1] + d2 * e[3]])
            }
            Law::Open(held) => [s[0] + held[0], s[1] + held[1]],
        }
    }
}

impl Task for ReachPoint {
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
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0.fill(0.0);
        let spread = self.settings.start_spread;
        x0[0] = self.settings.start + stream.uniform(-spread, spread);
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        let [ex, ey] = self.miss(m.x.as_slice());
        -(ex * ex + ey * ey)
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        out.r_x.fill(0.0);
        out.r_u.fill(0.0);
        out.r_xnext.fill(0.0);
        let [ex, ey] = self.miss(m.x.as_slice());
        let [l1, l2] = self.real.model().parameters().lengths;
        let ((sin1, cos1), (sin12, cos12)) = (m.x[0].sin_cos(), (m.x[0] + m.x[1]).sin_cos());
        let by_12 = ex * l2 * cos12 + ey * l2 * sin12;
        out.r_x[0] = -2.0 * (ex * l1 * cos1 + ey * l1 * sin1 + by_12);
        out.r_x[1] = -2.0 * by_12;
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn measures(&self) -> &[&'static str] {
        &["final_distance"]
    }
    fn measure(&self, m: &Move<'_>, out: &mut [f64]) {
        let [ex, ey] = self.miss(m.x_next.as_slice());
        out[0] = ex.hypot(ey);
    }
    fn tracker(&self) -> Option<&dyn Tracker> {
        Some(self)
    }
    fn state_names(&self) -> Vec<String> {
        ["θ₁ [rad]", "θ₂ [rad]", "θ̇₁ [rad/s]", "θ̇₂ [rad/s]"].map(String::from).to_vec()
    }
}

impl BenchTask for ReachPoint {
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
        let mut points = vec![
            (dvector![0.0, 0.0, 0.0, 0.0], dvector![0.0, 0.0]),
            (dvector![PI, 0.0, 0.0, 0.0], dvector![0.0, 0.0]),
        ];
        while points.len() < n {
            let x = DVector::from_fn(4, |_, _| stream.uniform(-3.0, 3.0));
            points.push((x, DVector::from_fn(2, |_, _| stream.uniform(-2.0, 2.0))));
        }
        points.truncate(n);
        points
    }
}

impl Tracker for ReachPoint {
    fn shape(&self) -> &TrackerShape {
        &self.shape
    }
    fn features(&self, t: usize, x: &DVector<f64>, z: &mut [f64]) {
        let phase = self.phase(t);
        if self.settings.control == PendulumControl::OpenLoopTime {
            z.copy_from_slice(&phase);
            return;
        }
        let ((sin1, cos1), (sin2, cos2)) = (x[0].sin_cos(), x[1].sin_cos());
        z[..4].copy_from_slice(&[cos1, sin1, cos2, sin2]);
        if self.settings.control == PendulumControl::OpenLoop {
            z[4..].copy_from_slice(&[x[2], x[3], phase[0], phase[1]]);
        }
    }
    fn features_jacobian(&self, _t: usize, x: &DVector<f64>, zx: &mut DMatrix<f64>) {
        zx.fill(0.0);
        if self.settings.control == PendulumControl::OpenLoopTime {
            return;
        }
        for i in 0..2 {
            let (sin, cos) = x[i].sin_cos();
            zx[(2 * i, i)] = -sin;
            zx[(2 * i + 1, i)] = cos;
        }
        if self.settings.control == PendulumControl::OpenLoop {
            zx[(4, 2)] = 1.0;
            zx[(5, 3)] = 1.0;
        }
    }
    fn start(&self, _x: &DVector<f64>, s: &mut [f64]) {
        self.nominal_set_point(s);
    }
    fn set_point(&self, _t: usize, _x: &DVector<f64>, s: &mut [f64]) {
        self.nominal_set_point(s);
    }
    fn reference(&self, _i: usize, _before: &[f64], s: &[f64], sigma: &mut [f64]) {
        sigma.copy_from_slice(s);
    }
    fn reference_jacobian(&self, _i: usize, by_before: &mut DMatrix<f64>, by_s: &mut DMatrix<f64>) {
        by_before.fill(0.0);
        by_s.fill_with_identity();
    }
    fn control(&self, x: &DVector<f64>, sigma: &[f64], gains: &[f64], u: &mut DVector<f64>) {
        self.write_control(x.as_slice(), sigma, gains, u.as_mut_slice());
    }
    fn control_jacobian(
        &self,
        x: &DVector<f64>,
        sigma: &[f64],
        gains: &[f64],
        out: &mut ControlJacobian,
    ) {
        self.write_control_jacobian(x.as_slice(), sigma, gains, out);
    }
}

impl ReachPoint {
    /// Upright at rest; without feedback no torque beyond what is held.
    fn nominal_set_point(&self, s: &mut [f64]) {
        s.fill(0.0);
        if self.settings.control.has_feedback() {
            s[0] = PI;
        }
    }
}
