//! Laps of a figure of eight: the car and the quadruped of the tracking-feedback policy gradient.

use std::f64::consts::TAU;

use dynamics::models::{
    Car, CarParameters, LagParameters, LaggedCar, VelocityCommanded, VelocityCommandedParameters,
};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, ControlJacobian, DerivativeKind, DualOracle, Euler,
    GenericControl, Move, RewardGradient, Scratch, Stream, Task, Tracker, TrackerShape,
};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::figure_eight::{FigureEight, TrackErrors};
use super::lap_control::{LapControl, LapLaw, N_GAINS};
use super::lap_plant::LapPlant;
use super::spline::QuadraticSpline;
use crate::{BenchTask, CheckedModel, Preset, TaskError, Variant};

const CAR: &str = "car-lap";
const QUADRUPED: &str = "quadruped-lap";

/// What car and quadruped have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LapCommon {
    /// The track.
    pub track: FigureEight,
    /// Length of a control step (s).
    pub dt: f64,
    /// Time between two decisions of the policy (s); a segment lasts the nearest number of steps.
    pub knot_period: f64,
    /// Control steps by which the reference is ahead of the clock: 1 as in the released simulation, whose set
    /// points lie so much before the knot's end; 0 as on the hardware, where the first reference begins at the
    /// measured state, with a speed of at least 0.01 m/s.
    pub lead_steps: usize,
    /// Segments of an episode.
    pub segments: usize,
    /// Segments at its start that cost nothing: the robot may settle on the track.
    pub settle_segments: usize,
    /// Weight of the squared error of the speed, beside 1 for the distance.
    pub speed_weight: f64,
    /// Weight of the squared error of the heading.
    pub heading_weight: f64,
    /// Starts are within ± this of the track: x, y, v, φ.
    pub start_spread: [f64; 4],
    /// The controller.
    pub control: LapControl,
    /// Its gains.
    pub gains: [f64; N_GAINS],
    /// Largest corrections of set point (x, y, ẋ, ẏ) and gains.
    pub scales: [f64; 4 + N_GAINS],
    /// Control steps that each command takes to arrive at the plant.
    pub dead_steps: [usize; 2],
    /// Integration steps of the plant per control step.
    pub substeps: usize,
}

/// Everything about `car-lap` that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarLapSettings {
    /// What it shares with the quadruped.
    #[serde(flatten)]
    pub common: LapCommon,
    /// Whether the plant's motor, steering and tyres lag.
    pub lagged: bool,
    /// By how much.
    pub lags: LagParameters,
    /// The plant.
    pub real: CarParameters,
    /// The model that is differentiated.
    pub nominal: CarParameters,
}

impl CarLapSettings {
    /// The published training: laps of 5.5 s, 50 Hz, 40 decisions per lap, 156 segments of which the first
    /// 40 do not count. `released`: the released simulated car, which the model knows. `paper`: a car
    /// identified from the hardware's logs, with lags and dead times, and the model of unit scales
    /// (equation 11). The paper's own high-fidelity car is not published.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let released = preset == Preset::Released;
        let common = LapCommon {
            track: FigureEight { radius: 1.5, lap: 5.5 },
            dt: 0.02,
            knot_period: 0.1375,
            lead_steps: 1,
            segments: 156,
            settle_segments: 40,
            speed_weight: 1.0 / 30.0,
            heading_weight: 1.0 / 3.0,
            start_spread: [0.01, 0.01, 1e-4, 4e-4],
            control: LapControl::car([0.75, 1.0]),
            gains: [0.45, 0.45, 0.35, 0.35, 0.0, 0.0],
            scales: [1.0, 1.0, 1.0, 1.0, 0.25, 0.25, 0.25, 0.1, 0.1, 0.02],
            dead_steps: if released { [0; 2] } else { [3; 2] },
            substeps: if released { 1 } else { 4 },
        };
        let (real, nominal) = match preset {
            Preset::Released => (CarParameters::released(), CarParameters::released()),
            Preset::Paper => (CarParameters::identified(), CarParameters::unit()),
        };
        Self { common, lagged: !released, lags: LagParameters::identified(), real, nominal }
    }
}

/// Everything about `quadruped-lap` that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuadrupedLapSettings {
    /// What it shares with the car.
    #[serde(flatten)]
    pub common: LapCommon,
    /// The plant.
    pub real: VelocityCommandedParameters,
    /// The model that is differentiated.
    pub nominal: VelocityCommandedParameters,
}

impl QuadrupedLapSettings {
    /// The published training: laps of 37.7 s, 10 Hz, 40 decisions per lap, 64 segments of which the first
    /// 10 do not count; the model does what it is told (equation 12). `released`: the released simulated
    /// plant. `paper`: a plant identified from the hardware's logs, with lag, dead times and drift.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let released = preset == Preset::Released;
        let lap = 2.0 * TAU * 1.5 / 0.5;
        let common = LapCommon {
            track: FigureEight { radius: 1.5, lap },
            dt: 0.1,
            knot_period: lap / 40.0,
            lead_steps: 1,
            segments: 64,
            settle_segments: 10,
            speed_weight: 1.0 / 30.0,
            heading_weight: 1.0 / 3.0,
            start_spread: [0.01, 0.01, 1e-4, 4e-4],
            control: LapControl::unicycle([1.0, 3.0]),
            gains: [0.2, 0.2, 0.95, 2.5, 0.95, 0.0],
            scales: [1.0, 1.0, 0.0, 0.0, 0.25, 0.25, 1.0, 0.25, 1.0, 0.35],
            dead_steps: if released { [0; 2] } else { [2, 1] },
            substeps: if released { 1 } else { 4 },
        };
        let real = match preset {
            Preset::Released => VelocityCommandedParameters::released(),
            Preset::Paper => VelocityCommandedParameters::identified(),
        };
        Self { common, real, nominal: VelocityCommandedParameters::ideal() }
    }
}

fn unfit_law(task: &'static str, law: LapLaw, needed: &'static str) -> TaskError {
    let value = format!("{law:?}").to_lowercase();
    TaskError::Choice { task, key: "control.law", value, needed }
}

/// A model, and itself on dual numbers.
trait LapModel: AnyDynamics + DualOracle {
    fn as_dynamics(&self) -> &dyn AnyDynamics;
    fn as_oracle(&self) -> &dyn DualOracle;
}

impl<M: AnyDynamics + DualOracle> LapModel for M {
    fn as_dynamics(&self) -> &dyn AnyDynamics {
        self
    }
    fn as_oracle(&self) -> &dyn DualOracle {
        self
    }
}

/// The task: reward −(distance² + w_v (v − v_n)² + w_φ heading²) of the state before each step, 0 while
/// it settles. The state begins with x, y, v, φ and ends with the time, which is drawn from a lap at the
/// start; nothing is discounted.
pub struct LapTask {
    name: &'static str,
    variant: Variant,
    common: LapCommon,
    real: Box<dyn LapModel>,
    nominal: Box<dyn LapModel>,
    tracker: LapTracker,
    bounds: ActionBounds,
    /// Further names of the plant's state.
    hidden: Vec<&'static str>,
}

impl LapTask {
    /// The car.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn car(variant: Variant, settings: &CarLapSettings) -> Result<Self, TaskError> {
        let LapCommon { dt, dead_steps, substeps, control, .. } = settings.common;
        if control.law == LapLaw::Unicycle {
            return Err(unfit_law(CAR, control.law, "`car` or `backstepping`"));
        }
        let nominal = Euler::new(Car::new(settings.nominal)?, dt)?;
        let car = Car::new(settings.real)?;
        let (real, hidden): (Box<dyn LapModel>, _) = if settings.lagged {
            let lagged = LaggedCar::new(settings.real, settings.lags)?;
            let plant = Euler::with_substeps(lagged, dt, substeps)?;
            let hidden = vec!["tyre speed [m/s]", "steering", "motor"];
            (Box::new(LapPlant::new(plant, dead_steps, dt)), hidden)
        } else {
            let plant = Euler::with_substeps(car, dt, substeps)?;
            (Box::new(LapPlant::new(plant, dead_steps, dt)), Vec::new())
        };
        let nominal = Box::new(LapPlant::within(nominal, real.any_nx(), dt));
        Self::new((CAR, variant), &settings.common, real, nominal, hidden)
    }

    /// The quadruped.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn quadruped(variant: Variant, settings: &QuadrupedLapSettings) -> Result<Self, TaskError> {
        let LapCommon { dt, dead_steps, substeps, control, .. } = settings.common;
        if control.law != LapLaw::Unicycle {
            return Err(unfit_law(QUADRUPED, control.law, "`unicycle`"));
        }
        let plant = VelocityCommanded::new(settings.real, dt, substeps)?;
        let nominal = VelocityCommanded::new(settings.nominal, dt, 1)?;
        let real = Box::new(LapPlant::new(plant, dead_steps, dt));
        let nominal = Box::new(LapPlant::within(nominal, real.any_nx(), dt));
        Self::new((QUADRUPED, variant), &settings.common, real, nominal, Vec::new())
    }

    fn new(
        (name, variant): (&'static str, Variant),
        common: &LapCommon,
        real: Box<dyn LapModel>,
        nominal: Box<dyn LapModel>,
        hidden: Vec<&'static str>,
    ) -> Result<Self, TaskError> {
        let LapCommon { track, dt, knot_period, segments, settle_segments, .. } = *common;
        let refuse =
            |key, value, needed| Err(TaskError::Setting { task: name, key, value, needed });
        let LapControl { limits: [throttle, steering], min_speed, .. } = common.control;
        for (key, value) in [
            ("track.radius", track.radius),
            ("track.lap", track.lap),
            ("dt", dt),
            ("control.limits", throttle),
            ("control.limits", steering),
            ("control.min_speed", min_speed),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(key, value, "positive and finite");
            }
        }
        let finite = |values: &[f64]| values.iter().copied().find(|value| !value.is_finite());
        for (key, values) in [
            ("gains", &common.gains[..]),
            ("scales", &common.scales),
            ("start_spread", &common.start_spread),
            ("speed_weight", &[common.speed_weight]),
            ("heading_weight", &[common.heading_weight]),
            ("control.speed_weight", &[common.control.speed_weight]),
            ("control.heading_weight", &[common.control.heading_weight]),
        ] {
            if let Some(value) = finite(values) {
                return refuse(key, value, "finite");
            }
        }
        let segment = (knot_period / dt).round();
        if !(2.0..=1e6).contains(&segment) {
            return refuse("knot_period", knot_period, "at least two steps of `dt`");
        }
        if segments == 0 || segments > 100_000 || settle_segments >= segments {
            return refuse(
                "segments",
                segments as f64,
                "more than `settle_segments`, at most 100000",
            );
        }
        if let Some(&steps) = common.dead_steps.iter().find(|&&steps| steps > 1000) {
            return refuse("dead_steps", steps as f64, "at most 1000");
        }
        let shape = TrackerShape {
            n_features: 6,
            n_set_point: 4,
            n_reference: 6,
            segment: segment as usize,
            n_tracked: 4,
            scales: common.scales.to_vec(),
            gains: common.gains.to_vec(),
        };
        let lead = common.lead_steps as f64;
        if lead >= segment {
            return refuse("lead_steps", lead, "less than the steps of a segment");
        }
        let spline = QuadraticSpline { duration: knot_period - lead * dt };
        let tracker = LapTracker {
            shape,
            track,
            dt,
            lead,
            spline,
            control: common.control,
            clock: real.any_nx() - 1,
        };
        Ok(Self {
            name,
            variant,
            bounds: ActionBounds {
                low: vec![-throttle, -steering],
                high: vec![throttle, steering],
            },
            common: common.clone(),
            real,
            nominal,
            tracker,
            hidden,
        })
    }

    /// Set points, reference and controller.
    #[must_use]
    pub fn lap_tracker(&self) -> &LapTracker {
        &self.tracker
    }

    fn model(&self) -> &dyn LapModel {
        match self.variant {
            Variant::Real => &*self.real,
            Variant::Nominal => &*self.nominal,
        }
    }

    fn counts(&self, t: usize) -> bool {
        t >= self.common.settle_segments * self.tracker.shape.segment
    }

    /// Steps that count.
    fn n_counted(&self) -> f64 {
        let common = &self.common;
        ((common.segments - common.settle_segments) * self.tracker.shape.segment) as f64
    }

    fn errors(&self, x: &DVector<f64>) -> TrackErrors {
        self.common.track.errors(x[self.tracker.clock], [x[0], x[1], x[2], x[3]])
    }

    fn cost(&self, x: &DVector<f64>) -> f64 {
        let e = self.errors(x);
        e.distance.powi(2)
            + self.common.speed_weight * e.speed.powi(2)
            + self.common.heading_weight * e.heading.powi(2)
    }
}

impl Task for LapTask {
    fn name(&self) -> &str {
        self.name
    }
    fn plant(&self) -> &dyn AnyPlant {
        self.model().as_dynamics()
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        self.nominal.as_dynamics()
    }
    fn plant_dynamics(&self) -> Option<&dyn AnyDynamics> {
        Some(self.model().as_dynamics())
    }
    fn horizon(&self) -> usize {
        self.common.segments * self.tracker.shape.segment
    }
    fn dt(&self) -> f64 {
        self.common.dt
    }
    fn discount(&self) -> f64 {
        1.0
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        let t = stream.uniform(0.0, self.common.track.lap);
        let [x, y, vx, vy] = self.common.track.at(t);
        let wanted = [x, y, vx.hypot(vy), vy.atan2(vx)];
        x0.fill(0.0);
        for (i, (wanted, spread)) in wanted.iter().zip(self.common.start_spread).enumerate() {
            x0[i] = wanted + stream.uniform(-spread, spread);
        }
        if !self.hidden.is_empty() {
            // Tyres that do not slip yet.
            x0[4] = x0[2];
        }
        x0[self.tracker.clock] = t;
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        if self.counts(m.t) { -self.cost(m.x) } else { 0.0 }
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        out.r_x.fill(0.0);
        out.r_u.fill(0.0);
        out.r_xnext.fill(0.0);
        if !self.counts(m.t) {
            return;
        }
        let e = self.errors(m.x);
        let heading = self.common.heading_weight * e.heading;
        for i in 0..2 {
            out.r_x[i] = -2.0 * (e.distance * e.distance_xy[i] + heading * e.heading_xy[i]);
        }
        out.r_x[2] = -2.0 * self.common.speed_weight * e.speed;
        out.r_x[3] = -2.0 * heading;
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn measures(&self) -> &[&'static str] {
        &["cost_per_step", "track_distance", "speed"]
    }
    fn measure(&self, m: &Move<'_>, out: &mut [f64]) {
        if self.counts(m.t) {
            let share = self.n_counted().recip();
            out[0] += share * self.cost(m.x);
            out[1] += share * self.errors(m.x).distance.abs();
            out[2] += share * m.x[2];
        }
    }
    fn tracker(&self) -> Option<&dyn Tracker> {
        Some(&self.tracker)
    }
    fn state_names(&self) -> Vec<String> {
        let mut names: Vec<_> = ["x [m]", "y [m]", "v [m/s]", "φ [rad]"]
            .into_iter()
            .chain(self.hidden.iter().copied())
            .map(String::from)
            .collect();
        let commands = self.tracker.clock - names.len();
        names.extend((0..commands).map(|i| format!("command under way {i}")));
        names.push("time [s]".to_owned());
        names
    }
}

impl BenchTask for LapTask {
    fn as_task(&self) -> &dyn Task {
        self
    }
    fn checked_models(&self) -> Vec<CheckedModel<'_>> {
        [("real", &self.real), ("nominal", &self.nominal)]
            .into_iter()
            .map(|(label, model)| CheckedModel {
                label,
                model: model.as_dynamics(),
                oracle: Some(model.as_oracle()),
            })
            .collect()
    }
    fn check_points(&self, stream: &mut Stream, n: usize) -> Vec<(DVector<f64>, DVector<f64>)> {
        let nx = self.tracker.clock + 1;
        let [throttle, steering] = self.common.control.limits;
        let mut points = Vec::new();
        while points.len() < n {
            let mut x = DVector::from_fn(nx, |_, _| stream.uniform(-1.0, 1.0));
            // Forward, since drag has a kink at rest, and turning, since scrub has one straight ahead.
            x[2] = stream.uniform(0.5, 4.0);
            x[0] *= 3.0;
            x[1] *= 3.0;
            x[3] *= 3.0;
            if !self.hidden.is_empty() {
                x[4] = x[2] + 0.1 * x[4];
                x[5] = if x[5] < 0.0 { x[5] - 0.2 } else { x[5] + 0.2 };
            }
            x[self.tracker.clock] = stream.uniform(0.0, 2.0 * self.common.track.lap);
            let turn = stream.uniform(0.1, 1.0) * steering;
            let turn = if stream.unit() < 0.5 { -turn } else { turn };
            points.push((x, DVector::from_vec(vec![stream.uniform(-throttle, throttle), turn])));
        }
        points
    }
}

/// Set points on the track, quadratic splines, and the controller of the robot.
#[derive(Debug, Clone)]
pub struct LapTracker {
    shape: TrackerShape,
    track: FigureEight,
    dt: f64,
    /// Steps by which the reference is ahead.
    lead: f64,
    spline: QuadraticSpline,
    control: LapControl,
    /// Where the state has the time.
    clock: usize,
}

impl LapTracker {
    /// The task's own point: x, y, ẋ, ẏ.
    pub(super) fn own(&self, x: &DVector<f64>) -> [f64; 4] {
        self.track.at(x[self.clock])
    }

    /// Which entry of the state is the time, and how the task's own point moves with it.
    pub(super) fn own_rate(&self, x: &DVector<f64>) -> (usize, [f64; 4]) {
        (self.clock, self.track.rate_at(x[self.clock]))
    }
}

impl Tracker for LapTracker {
    fn shape(&self) -> &TrackerShape {
        &self.shape
    }
    /// x, y, v cosφ, v sinφ, and cosine and sine of the place in the lap that is nearest.
    fn features(&self, _t: usize, x: &DVector<f64>, z: &mut [f64]) {
        let (sin, cos) = x[3].sin_cos();
        let (time, _) = self.track.nearest_time(x[self.clock], [x[0], x[1]]);
        let (phase_sin, phase_cos) = (TAU * time / self.track.lap).sin_cos();
        z.copy_from_slice(&[x[0], x[1], x[2] * cos, x[2] * sin, phase_cos, phase_sin]);
    }
    fn features_jacobian(&self, _t: usize, x: &DVector<f64>, zx: &mut DMatrix<f64>) {
        let (sin, cos) = x[3].sin_cos();
        let (time, time_xy) = self.track.nearest_time(x[self.clock], [x[0], x[1]]);
        let (phase_sin, phase_cos) = (TAU * time / self.track.lap).sin_cos();
        zx.fill(0.0);
        zx[(0, 0)] = 1.0;
        zx[(1, 1)] = 1.0;
        zx[(2, 2)] = cos;
        zx[(2, 3)] = -x[2] * sin;
        zx[(3, 2)] = sin;
        zx[(3, 3)] = x[2] * cos;
        for (i, slope) in time_xy.into_iter().enumerate() {
            let slope = TAU / self.track.lap * slope;
            zx[(4, i)] = -phase_sin * slope;
            zx[(5, i)] = phase_cos * slope;
        }
    }
    fn start(&self, x: &DVector<f64>, s: &mut [f64]) {
        if self.lead > 0.0 {
            s.copy_from_slice(&self.track.at(x[self.clock]));
        } else {
            let (speed, (sin, cos)) = (x[2].max(0.01), x[3].sin_cos());
            s.copy_from_slice(&[x[0], x[1], speed * cos, speed * sin]);
        }
    }
    fn set_point(&self, _t: usize, x: &DVector<f64>, s: &mut [f64]) {
        s.copy_from_slice(&self.track.at(x[self.clock] + self.spline.duration));
    }
    fn reference(&self, i: usize, before: &[f64], s: &[f64], sigma: &mut [f64]) {
        self.spline.reference((i as f64 + self.lead) * self.dt, before, s, sigma);
    }
    fn reference_jacobian(&self, i: usize, by_before: &mut DMatrix<f64>, by_s: &mut DMatrix<f64>) {
        self.spline.jacobian((i as f64 + self.lead) * self.dt, by_before, by_s);
    }
    fn control(&self, x: &DVector<f64>, sigma: &[f64], gains: &[f64], u: &mut DVector<f64>) {
        self.control.write_control(x.as_slice(), sigma, gains, u.as_mut_slice());
    }
    fn control_jacobian(
        &self,
        x: &DVector<f64>,
        sigma: &[f64],
        gains: &[f64],
        out: &mut ControlJacobian,
    ) {
        self.control.write_control_jacobian(x.as_slice(), sigma, gains, out);
    }
}
