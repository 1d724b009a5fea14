//! The tracking-feedback policy gradient against published numbers, dual numbers and differences.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use agents::tracking::{
    Corrections, Derivatives, Horizon, Recording, TrackingGradient, TrackingPolicy,
    TrackingSettings, Windows,
};
use agents::{Budget, Learner, TrackingLearner};
use approx::assert_relative_eq;
use bench_tasks::{
    CarLapSettings, LapControl, LapLaw, LapTask, PendulumControl, Preset, QuadraticSpline,
    QuadrupedLapSettings, ReachPoint, ReachPointSettings, TrackLine, TrackLineSettings, Variant,
};
use critics::Mlp;
use dynamics::models::{CarParameters, DoublePendulum, DoublePendulumParameters};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, ControlJacobian, DerivativeKind, Euler, GenericControl,
    Move, RewardGradient, Scalar, Scratch, Stream, Task, Tracker, TrackerShape,
};
use nalgebra::{DMatrix, DVector, dvector};
use num_dual::Dual64;

/// An episode from `x0`.
fn record(task: &dyn Task, policy: &TrackingPolicy<'_>, x0: &DVector<f64>) -> Recording {
    Recording::from_start(task, &mut policy.follower(), x0, None).unwrap()
}

fn start(task: &dyn Task, seed: u64) -> DVector<f64> {
    let mut x0 = DVector::zeros(task.plant().any_nx());
    task.sample_x0(&mut Stream::new(seed, "starts", 0), &mut x0);
    x0
}

fn total_reward(task: &dyn Task, policy: &TrackingPolicy<'_>, x0: &DVector<f64>) -> f64 {
    let recording = record(task, policy, x0);
    let mut scratch = task.reward_scratch();
    let reward = |(t, u): (usize, &DVector<f64>)| {
        let m = Move { t, x: &recording.xs[t], u, x_next: &recording.xs[t + 1] };
        task.reward(&mut scratch, &m)
    };
    recording.us.iter().enumerate().map(reward).sum()
}

fn gradient(
    task: &dyn Task,
    policy: &TrackingPolicy<'_>,
    recording: &Recording,
    (derivatives, horizon): (Derivatives, Horizon),
) -> DVector<f64> {
    let mut grads = vec![0.0; policy.params().len()];
    let mut estimator = TrackingGradient::new(policy, task, derivatives, horizon).unwrap();
    let report = estimator.costate(policy, recording, &mut grads).unwrap();
    assert!(report.action_mismatch < 1e-12, "{report:?}");
    DVector::from_vec(grads)
}

/// A policy with small random weights everywhere.
fn random_policy<'a>(task: &'a dyn Task, hidden: &[usize]) -> TrackingPolicy<'a> {
    let mut policy = TrackingPolicy::new(task, hidden, 3).unwrap();
    let mut stream = Stream::new(4, "weights", 0);
    policy.params_mut().iter_mut().for_each(|p| *p += 0.05 * stream.normal());
    policy
}

fn small_car(preset: Preset, segments: usize) -> LapTask {
    let mut settings = CarLapSettings::preset(preset);
    settings.common.segments = segments;
    settings.common.settle_segments = 1;
    LapTask::car(Variant::Real, &settings).unwrap()
}

fn small_tasks() -> Vec<Box<dyn Task>> {
    let mut walker = QuadrupedLapSettings::preset(Preset::Paper);
    walker.common.segments = 5;
    walker.common.settle_segments = 1;
    let released = QuadrupedLapSettings { common: walker.common.clone(), ..released_walker() };
    let mut backstepping = CarLapSettings::preset(Preset::Released);
    backstepping.common.control.law = LapLaw::Backstepping;
    backstepping.common.gains = [0.6, 0.4, 1.5, 2.0, 1.0, 1.0];
    backstepping.common.segments = 5;
    backstepping.common.settle_segments = 1;
    let mut tasks: Vec<Box<dyn Task>> = vec![
        Box::new(small_car(Preset::Released, 6)),
        Box::new(small_car(Preset::Paper, 6)),
        Box::new(LapTask::car(Variant::Real, &backstepping).unwrap()),
        Box::new(LapTask::quadruped(Variant::Real, &walker).unwrap()),
        Box::new(LapTask::quadruped(Variant::Real, &released).unwrap()),
        Box::new(line(&TrackLineSettings::default())),
    ];
    for control in [
        PendulumControl::ContinuousLqr,
        PendulumControl::DiscreteLqr,
        PendulumControl::ComputedTorque,
        PendulumControl::OpenLoop,
        PendulumControl::OpenLoopTime,
    ] {
        // Segments that do not divide the episode, too.
        let settings = ReachPointSettings {
            control,
            horizon: 32,
            segment: 5,
            ..ReachPointSettings::default()
        };
        tasks.push(Box::new(ReachPoint::new(Variant::Real, &settings).unwrap()));
    }
    tasks
}

fn released_walker() -> QuadrupedLapSettings {
    QuadrupedLapSettings::preset(Preset::Released)
}

const MODES: [(Derivatives, Horizon); 4] = [
    (Derivatives::Nominal, Horizon::Full),
    (Derivatives::Nominal, Horizon::Segment),
    (Derivatives::Plant, Horizon::Full),
    (Derivatives::Plant, Horizon::Segment),
];

#[test]
fn both_forms_agree() {
    for task in small_tasks() {
        let task = &*task;
        let mut table = TrackingPolicy::tabled(task, 4).unwrap();
        let mut stream = Stream::new(6, "table", 0);
        table.params_mut().iter_mut().for_each(|p| *p = stream.uniform(-0.3, 0.3));
        for (policy, (derivatives, horizon)) in [random_policy(task, &[6, 5]), table]
            .iter()
            .flat_map(|policy| MODES.map(|mode| (policy, mode)))
        {
            let recording = record(task, policy, &start(task, 0));
            let backward = gradient(task, policy, &recording, (derivatives, horizon));
            let mut forward = vec![0.0; backward.len()];
            let mut estimator = TrackingGradient::new(policy, task, derivatives, horizon).unwrap();
            estimator.forward(policy, &recording, &mut forward).unwrap();
            let error = (&backward - DVector::from_vec(forward)).norm();
            assert!(error <= 1e-12 * backward.norm(), "{}: {error}", task.name());
        }
    }
}

#[test]
fn with_the_plants_derivatives_it_is_the_gradient_of_the_return() {
    for task in small_tasks() {
        let task = &*task;
        let mut policy = random_policy(task, &[6, 5]);
        let x0 = start(task, 1);
        let recording = record(task, &policy, &x0);
        let exact = gradient(task, &policy, &recording, (Derivatives::Plant, Horizon::Full));
        let scale = exact.amax();
        let mut stream = Stream::new(2, "which", 0);
        for _ in 0..25 {
            let at = stream.index(exact.len());
            let h = 1e-5;
            let mut moved = |offset: f64| {
                let before = policy.params()[at];
                policy.params_mut()[at] = before + offset;
                let reward = total_reward(task, &policy, &x0);
                policy.params_mut()[at] = before;
                reward
            };
            let slope = (moved(h) - moved(-h)) / (2.0 * h);
            assert!(
                (slope - exact[at]).abs() < 1e-6 * scale,
                "{}: {slope} {}",
                task.name(),
                exact[at]
            );
        }
    }
}

/// The closed loop of car, controller, spline and network on any scalar, the model corrected so that it
/// replays the recording: its derivative is the estimator. Cut, each decision begins at the recorded state.
fn car_twin<S: Scalar>(
    theta: &[S],
    net: &Mlp<f64>,
    task: &LapTask,
    (recording, horizon): (&Recording, Horizon),
) -> S {
    let settings = CarLapSettings::preset(Preset::Released);
    let shape = task.lap_tracker().shape();
    let dt = 0.02;
    let model = |x: &[S; 4], u: &[S; 2]| -> [S; 4] {
        let (sin, cos) = x[3].sin_cos();
        let CarParameters { throttle_gain, drag, steering_gain, steering_bias, .. } =
            CarParameters::released();
        [
            x[0] + x[2] * cos * dt,
            x[1] + x[2] * sin * dt,
            x[2] + (u[0] * throttle_gain - x[2] * x[2] * drag) * dt,
            x[3] + x[2] * (u[1] * steering_gain + steering_bias) * dt,
        ]
    };
    // Right circle throughout: the recording stays in the second quarter of a lap.
    let arc = |x: &[S; 4]| -> S { x[1].atan2(x[0] - 1.5) };
    let lift = |values: &[f64]| -> Vec<S> { values.iter().map(|&v| S::from(v)).collect() };
    let state = |t: usize| -> [S; 4] { std::array::from_fn(|i| S::from(recording.xs[t][i])) };
    let mut x = state(0);
    let mut set_point = [0.0; 4].map(S::from);
    let (mut before, mut gains) = (set_point, [0.0; 6].map(S::from));
    let mut reward = S::from(0.0);
    for t in 0..recording.n_steps() {
        let (i, clock) = (t % 7, recording.xs[t][4]);
        if i == 0 {
            if horizon == Horizon::Segment {
                x = state(t);
            }
            before = set_point;
            let track = |time: f64| lift(&settings.common.track.at(time));
            if t == 0 {
                before.copy_from_slice(&track(clock));
            }
            let phase = (-arc(&x) * (1.0 / PI) + 1.0) * (0.25 * TAU);
            let (sin, cos) = x[3].sin_cos();
            let (phase_sin, phase_cos) = phase.sin_cos();
            let mut values = vec![x[0], x[1], x[2] * cos, x[2] * sin, phase_cos, phase_sin];
            for layer in 0..net.spec().n_layers() {
                let (w, b) = (net.spec().weight(layer).start, net.spec().bias(layer).start);
                let n = values.len();
                values = (0..net.spec().sizes[layer + 1])
                    .map(|row| {
                        let sum = (0..n).fold(theta[b + row], |sum, k| {
                            sum + theta[w + row * n + k] * values[k]
                        });
                        sum.tanh()
                    })
                    .collect();
            }
            let nominal = track(clock + 0.1175);
            for k in 0..4 {
                set_point[k] = nominal[k] + values[k] * shape.scales[k];
            }
            for k in 0..6 {
                gains[k] = values[4 + k] * shape.scales[4 + k] + shape.gains[k];
            }
        }
        let weights = QuadraticSpline { duration: 0.1175 }.weights((i + 1) as f64 * dt);
        let sigma: [S; 6] = std::array::from_fn(|row| {
            let (w, axis) = (weights[row / 2], row % 2);
            before[axis] * w[0]
                + before[axis + 2] * w[1]
                + set_point[axis] * w[2]
                + set_point[axis + 2] * w[3]
        });
        if t >= 7 {
            let distance = ((x[0] - 1.5) * (x[0] - 1.5) + x[1] * x[1]).sqrt() - 1.5;
            let speed = x[2] - settings.common.track.speed();
            let heading = x[3] - (arc(&x) - FRAC_PI_2);
            let heading = heading - (heading.re() / TAU).round() * TAU;
            reward -= distance * distance
                + speed * speed * (1.0 / 30.0)
                + heading * heading * (1.0 / 3.0);
        }
        let u = LapControl::car([0.75, 1.0]).control_generic(&x, &sigma, &gains);
        let recorded: [S; 2] = std::array::from_fn(|j| S::from(recording.us[t][j]));
        let (moved, there, next) = (model(&x, &u), model(&state(t), &recorded), state(t + 1));
        x = std::array::from_fn(|k| moved[k] - there[k] + next[k]);
        for (value, next) in x.iter().zip(next) {
            assert!((value.re() - next.re()).abs() < 1e-9, "the model replays the recording");
        }
    }
    reward
}

#[test]
fn the_adjoint_is_the_derivative_of_the_corrected_model() {
    // The plant has lags and dead times of which the model knows nothing.
    let mut settings = CarLapSettings::preset(Preset::Paper);
    settings.nominal = CarParameters::released();
    settings.common.segments = 4;
    settings.common.settle_segments = 1;
    let task = LapTask::car(Variant::Real, &settings).unwrap();
    let policy = random_policy(&task, &[5, 4]);
    let mut x0 = start(&task, 0);
    // Early in the second quarter.
    let [x, y, vx, vy] = settings.common.track.at(1.6);
    for (i, value) in [x, y, 2.6, vy.atan2(vx)].into_iter().enumerate() {
        x0[i] = value;
    }
    let last = x0.len() - 1;
    (x0[4], x0[last]) = (2.6, 1.6);
    let mut recording = record(&task, &policy, &x0);
    let exact = [Horizon::Full, Horizon::Segment].map(|horizon| {
        (horizon, gradient(&task, &policy, &recording, (Derivatives::Nominal, horizon)))
    });
    // The twin knows what is tracked, and the time.
    recording.xs.iter_mut().for_each(|x| *x = dvector![x[0], x[1], x[2], x[3], x[last]]);
    let Corrections::Network(net) = policy.corrections() else { panic!("a network") };
    for (horizon, at) in exact
        .iter()
        .flat_map(|(horizon, exact)| (0..exact.len()).map(move |at| ((*horizon, exact), at)))
    {
        let (horizon, exact) = horizon;
        let theta: Vec<_> = policy
            .params()
            .iter()
            .enumerate()
            .map(|(i, &p)| Dual64::new(p, f64::from(u8::from(i == at))))
            .collect();
        let twin = car_twin(&theta, net, &task, (&recording, horizon)).eps;
        assert!((twin - exact[at]).abs() < 1e-10 * exact.amax(), "{at}: {twin} {}", exact[at]);
    }
}

fn line(settings: &TrackLineSettings) -> TrackLine {
    TrackLine::new(Variant::Real, settings).unwrap()
}

/// Fact sheet, section 14a.
#[test]
fn the_scalar_example_has_the_published_numbers() {
    for (feedback, published, hessian) in [
        (
            false,
            [-4.19316, -3.11196, -2.05906, -1.02487],
            [
                [-5.44566, -4.04151, -2.6741, -1.331],
                [-4.04151, -3.6741, -2.431, -1.21],
                [-2.6741, -2.431, -2.21, -1.1],
                [-1.331, -1.21, -1.1, -1.0],
            ],
        ),
        (
            true,
            [-0.1846, -0.05534, -0.01648, -0.00454],
            [
                [-0.70325, -0.21084, -0.06278, -0.01728],
                [-0.21084, -0.70278, -0.20928, -0.0576],
                [-0.06278, -0.20928, -0.6976, -0.192],
                [-0.01728, -0.0576, -0.192, -0.64],
            ],
        ),
    ] {
        let task = line(&TrackLineSettings {
            horizon: 4,
            real: [1.1, 1.0],
            nominal: [1.1, 1.0],
            feedback,
            ..TrackLineSettings::default()
        });
        let mut policy = TrackingPolicy::tabled(&task, 4).unwrap();
        let mode = (Derivatives::Nominal, Horizon::Full);
        let x0 = dvector![0.7];
        let at = |policy: &TrackingPolicy<'_>| {
            gradient(&task, policy, &record(&task, policy, &x0), mode)
        };
        let found = at(&policy);
        for (found, published) in found.iter().zip(published) {
            assert_relative_eq!(*found, published, epsilon = 6e-6);
        }
        // The return is quadratic: differences of its gradient are exact.
        for (j, row) in hessian.iter().enumerate() {
            policy.params_mut()[j] = 1.0;
            let slopes = at(&policy) - &found;
            policy.params_mut()[j] = 0.0;
            for (slope, published) in slopes.iter().zip(row) {
                assert_relative_eq!(*slope, *published, epsilon = 6e-6);
            }
        }
    }
}

/// The pendulum of the fact sheet's section 14d: one segment, gains that are given, a reward after the last
/// step as well.
struct Given {
    horizon: usize,
    plant: Euler<DoublePendulum>,
    model: Euler<DoublePendulum>,
    shape: TrackerShape,
    bounds: ActionBounds,
}

/// K without corrections.
const K: [[f64; 4]; 2] = [[13.0, 4.0, 3.7, 1.2], [4.0, 5.5, 1.2, 1.3]];
/// Which entries are corrected.
const CORRECTED: [(usize, usize); 4] = [(0, 0), (1, 1), (0, 2), (1, 3)];

impl GenericControl<4, 4, 4, 2> for Given {
    fn control_generic<S: Scalar>(&self, x: &[S; 4], s: &[S; 4], change: &[S; 4]) -> [S; 2] {
        std::array::from_fn(|row| {
            (0..4).fold(S::from(0.0), |sum, i| {
                let mut gain = S::from(K[row][i]);
                for (at, change) in CORRECTED.iter().zip(change) {
                    if *at == (row, i) {
                        gain += *change;
                    }
                }
                sum + gain * (s[i] - x[i])
            })
        })
    }
}

impl Tracker for Given {
    fn shape(&self) -> &TrackerShape {
        &self.shape
    }
    fn features(&self, _t: usize, _x: &DVector<f64>, _z: &mut [f64]) {}
    fn features_jacobian(&self, _t: usize, _x: &DVector<f64>, _zx: &mut DMatrix<f64>) {}
    fn start(&self, _x: &DVector<f64>, s: &mut [f64]) {
        s.fill(0.0);
    }
    fn set_point(&self, _t: usize, _x: &DVector<f64>, s: &mut [f64]) {
        s.fill(0.0);
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

impl Given {
    fn squares<S: Scalar>(&self, x: &[S]) -> S {
        let [ex, ey] = self.plant.model().end_effector(x);
        let (dx, dy) = (ex - 1.70, ey - (-2.0 * (0.625 * PI).cos()));
        dx * dx + dy * dy
    }

    fn slopes(&self, x: &DVector<f64>) -> DVector<f64> {
        DVector::from_fn(4, |i, _| {
            let x: Vec<_> =
                (0..4).map(|k| Dual64::new(x[k], f64::from(u8::from(k == i)))).collect();
            -self.squares(&x).eps
        })
    }
}

impl Task for Given {
    fn name(&self) -> &str {
        "given"
    }
    fn plant(&self) -> &dyn AnyPlant {
        &self.plant
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.model
    }
    fn plant_dynamics(&self) -> Option<&dyn AnyDynamics> {
        Some(&self.plant)
    }
    fn horizon(&self) -> usize {
        self.horizon
    }
    fn dt(&self) -> f64 {
        0.01
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, _stream: &mut Stream, x0: &mut DVector<f64>) {
        x0.copy_from_slice(&[FRAC_PI_2, 0.0, 0.0, 0.0]);
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        let last = if m.t + 1 == self.horizon { self.squares(m.x_next.as_slice()) } else { 0.0 };
        -self.squares(m.x.as_slice()) - last
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        out.r_u.fill(0.0);
        out.r_x.copy_from(&self.slopes(m.x));
        out.r_xnext.fill(0.0);
        if m.t + 1 == self.horizon {
            out.r_xnext.copy_from(&self.slopes(m.x_next));
        }
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn tracker(&self) -> Option<&dyn Tracker> {
        Some(self)
    }
}

#[test]
fn the_pendulum_has_the_published_gradients() {
    for (horizon, reward, exact, estimate) in [
        (
            5,
            -4.017_283_301_447,
            [
                0.126_786_039_9,
                0.119_017_012_5,
                0.037_551_779_6,
                0.033_000_352_3,
                0.002_028_025_1,
                -0.006_166_001_2,
                -0.000_532_783_8,
                0.010_648_418_4,
            ],
            [
                0.252_122_668_7,
                0.198_230_737_5,
                0.074_237_833_7,
                0.055_367_212_6,
                0.005_861_031_8,
                -0.009_328_462_7,
                -0.001_728_977_6,
                0.017_880_514_3,
            ],
        ),
        (
            50,
            -14.665_646_932_787,
            [
                22.297_581_067_2,
                10.968_093_742_3,
                6.491_037_929,
                3.145_598_182_1,
                0.667_303_345_2,
                -0.199_421_260_3,
                -1.401_138_446_6,
                0.974_290_864,
            ],
            [
                28.003_834_447_4,
                13.473_929_659_3,
                8.148_764_798_6,
                3.870_281_969_9,
                0.834_103_416_1,
                -0.228_811_039_8,
                -1.801_205_276,
                1.125_697_950_3,
            ],
        ),
        (
            300,
            -18.861_843_456_130,
            [
                -49.218_156_097_6,
                -33.834_398_692_2,
                -14.437_135_567_2,
                -9.511_039_976,
                0.606_026_540_6,
                -0.440_366_771_3,
                -1.231_814_244,
                1.852_187_395_4,
            ],
            [
                -42.081_646_304_6,
                -30.643_475_646_9,
                -12.363_256_918_2,
                -8.589_507_335_9,
                0.787_681_206_2,
                -0.468_876_787,
                -1.711_485_464_3,
                1.998_257_888,
            ],
        ),
    ] {
        let real = DoublePendulumParameters::real();
        let model = |p| Euler::new(DoublePendulum::new(p).unwrap(), 0.01).unwrap();
        let shape = TrackerShape {
            n_features: 1,
            n_set_point: 4,
            n_reference: 4,
            segment: 300,
            n_tracked: 4,
            scales: vec![1.0; 8],
            gains: vec![0.0; 4],
        };
        let task = Given {
            horizon,
            plant: model(real),
            model: model(real.with_masses_scaled(0.5)),
            shape,
            bounds: ActionBounds::symmetric(2, 100.0),
        };
        let table = vec![2.2, -0.3, 0.1, -0.2, 0.5, -0.4, 0.2, 0.1];
        let policy = TrackingPolicy::with(&task, Corrections::Table(table)).unwrap();
        let x0 = start(&task, 0);
        assert_relative_eq!(total_reward(&task, &policy, &x0), reward, max_relative = 1e-12);
        let recording = record(&task, &policy, &x0);
        for (derivatives, published) in
            [(Derivatives::Plant, exact), (Derivatives::Nominal, estimate)]
        {
            let found = gradient(&task, &policy, &recording, (derivatives, Horizon::Full));
            for (found, published) in found.iter().zip(published) {
                assert_relative_eq!(*found, published, epsilon = 2e-10, max_relative = 1e-9);
            }
        }
    }
}

/// Fact sheet, section 9: over the whole horizon the gradient hardly knows how strong the model's inputs
/// are, since the loop follows its reference whatever they are; cut at the segments it is proportional.
#[test]
fn the_cars_gradients_have_their_signatures() {
    let norms = |horizon: Horizon, nominal: CarParameters| {
        let mut settings = CarLapSettings::preset(Preset::Released);
        settings.nominal = nominal;
        let task = LapTask::car(Variant::Real, &settings).unwrap();
        let norm = |seed: u64| {
            let policy = TrackingPolicy::new(&task, &[64, 64], seed).unwrap();
            let recording = record(&task, &policy, &start(&task, seed));
            let source = Derivatives::Nominal;
            let mut estimator = TrackingGradient::new(&policy, &task, source, horizon).unwrap();
            let mut whole = vec![0.0; policy.params().len()];
            estimator.costate(&policy, &recording, &mut whole).unwrap();
            // The published norms are those of decisions from the first that counts on.
            let Corrections::Network(net) = policy.corrections() else { panic!("a network") };
            let (tracker, shape) = (task.lap_tracker(), task.lap_tracker().shape());
            let (mut ws, mut z) = (net.workspace(1), [0.0; 6]);
            let mut counted = vec![0.0; whole.len()];
            for j in settings.common.settle_segments..settings.common.segments {
                let t = j * shape.segment;
                tracker.features(t, &recording.xs[t], &mut z);
                net.forward(&z, &mut ws);
                let by_outputs = estimator.by_knot().column(j);
                let seed: Vec<_> =
                    by_outputs.iter().zip(&shape.scales).map(|(by, scale)| by * scale).collect();
                net.backward(&seed, &mut ws, &mut counted, None);
            }
            [whole, counted].map(|grads| DVector::from_vec(grads).norm())
        };
        let all: Vec<_> = (0..5).map(norm).collect();
        [0, 1].map(|i| all.iter().map(|norms| norms[i]).sum::<f64>() / 5.0)
    };
    let released = CarParameters::released();
    let models = [released, released.scaled(0.5), released.scaled(0.25), CarParameters::unit()];
    let [full, cut] =
        [Horizon::Full, Horizon::Segment].map(|horizon| models.map(|model| norms(horizon, model)));
    for (found, published) in full.iter().zip([515.0, 515.0, 515.0, 684.0]) {
        assert_relative_eq!(found[1], published, max_relative = 0.1);
    }
    for (found, published) in cut.iter().zip([22.0, 12.0, 6.4, 3.1]) {
        assert_relative_eq!(found[1], published, max_relative = 0.1);
    }
    for gamma in 1..3 {
        assert_relative_eq!(full[gamma][0], full[0][0], max_relative = 0.05);
        let share = 0.5_f64.powi(gamma as i32);
        assert_relative_eq!(cut[gamma][0], share * cut[0][0], max_relative = 0.2);
    }
}

#[test]
fn the_pendulum_learns_with_half_the_masses() {
    let task = ReachPoint::new(Variant::Real, &ReachPointSettings::default()).unwrap();
    let settings = TrackingSettings {
        rollouts: 5,
        learning_rate: 5e-5,
        ..TrackingSettings::of(Horizon::Full)
    };
    let mut learner = TrackingLearner::new(&task, &settings, 0).unwrap();
    let first = learner.advance(Budget { env_steps: 1 }).unwrap().episode.unwrap().total_reward;
    let mut last = first;
    for _ in 0..14 {
        last = learner.advance(Budget { env_steps: 1 }).unwrap().episode.unwrap().total_reward;
    }
    // Five roll-outs cost 5,862 at first and about 23 soon after (fact sheet, section 8).
    assert!(5.0 * first < -5000.0 && 5.0 * last > -40.0, "{first} {last}");
    let metrics = learner.take_metrics();
    assert!(metrics[2] > 0.9 && metrics[2] < 1.0, "the model's closed loop: {metrics:?}");
}

/// Fact sheet, section 8: over the whole horizon the released regulator overflows with half the masses.
#[test]
fn an_unstable_model_is_named_before_it_is_learned_from() {
    let settings = ReachPointSettings {
        control: PendulumControl::ContinuousLqr,
        ..ReachPointSettings::default()
    };
    let task = ReachPoint::new(Variant::Real, &settings).unwrap();
    let learner = TrackingLearner::new(&task, &TrackingSettings::of(Horizon::Full), 0).unwrap();
    let remark = learner.remark().unwrap().unwrap();
    assert!(remark.contains("2.6") && remark.contains("grow with the horizon"), "{remark}");
    let policy = TrackingPolicy::new(&task, &[4], 0).unwrap();
    let recording = record(&task, &policy, &start(&task, 0));
    let norm =
        |horizon| gradient(&task, &policy, &recording, (Derivatives::Nominal, horizon)).norm();
    assert!(norm(Horizon::Full) > 1e100 && norm(Horizon::Segment) < 1e5);
}

#[test]
fn steps_are_as_long_as_the_settings_allow() {
    let task = small_car(Preset::Paper, 3);
    let length = |max_gradient_norm| {
        let settings = TrackingSettings {
            learning_rate: 0.5,
            max_gradient_norm,
            ..TrackingSettings::of(Horizon::Full)
        };
        let mut learner = TrackingLearner::new(&task, &settings, 0).unwrap();
        let before = DVector::from_column_slice(learner.tracking_policy().params());
        learner.advance(Budget { env_steps: 1 }).unwrap();
        let after = DVector::from_column_slice(learner.tracking_policy().params());
        ((after - before).norm(), learner.take_metrics()[1])
    };
    let (free, norm) = length(f64::INFINITY);
    assert_relative_eq!(free, 0.5 * norm, max_relative = 1e-9);
    let (short, same) = length(1e-3 * norm);
    assert_relative_eq!(short, 0.5e-3 * norm, max_relative = 1e-9);
    assert_eq!(same, norm);
}

#[test]
fn windows_count_rewards_as_often_as_they_contain_them() {
    for (length, start, n) in
        [(3, 0, 8_usize), (3, 2, 8), (30, 40, 154), (1, 0, 5), (8, 0, 8), (9, 0, 8)]
    {
        let windows = Windows { length, start };
        for j in 0..n {
            let firsts = start..=n.saturating_sub(length).max(start);
            let containing = firsts.filter(|first| (*first..first + length).contains(&j)).count();
            let found = windows.containing(j, n);
            assert_eq!(found, containing, "{windows:?}, segment {j} of {n}");
        }
    }
    let counts: usize =
        (0..154).map(|j| Windows { length: 30, start: 40 }.containing(j, 154)).sum();
    // The published car: 85 windows of 30 segments of 7 steps, about 18,600 terms with the last state.
    assert_eq!(counts, 85 * 30);
    // The first of two windows is what an episode that ends with it has.
    let task = small_car(Preset::Released, 6);
    let policy = random_policy(&task, &[5]);
    let whole = record(&task, &policy, &start(&task, 0));
    let first = Recording { xs: whole.xs[..=35].to_vec(), us: whole.us[..35].to_vec() };
    for horizon in [Horizon::Full, Horizon::Segment] {
        let along = |recording: &Recording, windows| {
            let mut grads = vec![0.0; policy.params().len()];
            let source = Derivatives::Nominal;
            let estimator = TrackingGradient::new(&policy, &task, source, horizon).unwrap();
            estimator.with_windows(windows).costate(&policy, recording, &mut grads).unwrap();
            DVector::from_vec(grads)
        };
        let [both, second] = [0, 1].map(|start| along(&whole, Windows { length: 5, start }));
        let expected = along(&first, Windows::default());
        assert_relative_eq!(both - second, expected, epsilon = 1e-12 * expected.amax());
    }
}

#[test]
fn logs_of_a_plant_are_read_and_learned_from() {
    let task = small_car(Preset::Paper, 3);
    let mut learner = TrackingLearner::new(&task, &TrackingSettings::of(Horizon::Full), 0).unwrap();
    let recording = learner.record().unwrap().remove(0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.json");
    let rows = |rows: &[DVector<f64>]| -> Vec<Vec<f64>> {
        rows.iter().map(|row| row.as_slice().to_vec()).collect()
    };
    let write = |xs: Vec<Vec<f64>>, us: Vec<Vec<f64>>| {
        let text = serde_json::json!({ "note": "passed over", "xs": xs, "us": us }).to_string();
        std::fs::write(&path, text).unwrap();
        Recording::read(&task, &path)
    };
    let (xs, us) = (rows(&recording.xs), rows(&recording.us));
    let read = write(xs.clone(), us.clone()).unwrap();
    assert_eq!(read, recording);
    // A robot logs what is tracked, and the time.
    let last = xs[0].len() - 1;
    let logged: Vec<_> = xs.iter().map(|x| [&x[..4], &x[last..]].concat()).collect();
    let bare = write(logged, us.clone()).unwrap();
    let (policy, mode) = (learner.tracking_policy(), (Derivatives::Nominal, Horizon::Full));
    let slopes = [&bare, &recording].map(|log| gradient(&task, policy, log, mode));
    assert_eq!(slopes[0], slopes[1]);
    assert!(learner.learn_from(&[]).unwrap_err().to_string().contains("none"));
    let before = learner.tracking_policy().params().to_vec();
    learner.learn_from(&[read]).unwrap();
    assert_ne!(learner.tracking_policy().params(), before);
    for (xs, us, words) in [
        (xs[1..].to_vec(), us.clone(), "one more state than actions"),
        (xs.iter().map(|x| x[1..].to_vec()).collect(), us.clone(), "`xs`, row 0"),
    ] {
        let refused = write(xs, us).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    let policy = dir.path().join("policy.safetensors");
    learner.save_policy(&policy).unwrap();
    let loaded = TrackingPolicy::load(&task, &policy).unwrap();
    assert_eq!(loaded.params(), learner.tracking_policy().params());
}
