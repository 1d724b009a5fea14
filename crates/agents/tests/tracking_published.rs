//! The tracking-feedback policy gradient against published numbers.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "common/tracking.rs"]
mod helpers;

use std::f64::consts::{FRAC_PI_2, PI};

use agents::tracking::{
    Corrections, Derivatives, Horizon, TrackingGradient, TrackingPolicy, TrackingSettings,
};
use agents::{Budget, Learner, TrackingLearner};
use approx::assert_relative_eq;
use bench_tasks::{
    CarLapSettings, LapTask, PendulumControl, Preset, ReachPoint, ReachPointSettings, TrackLine,
    TrackLineSettings, Variant,
};
use dynamics::models::{CarParameters, DoublePendulum, DoublePendulumParameters};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, ControlJacobian, DerivativeKind, Euler, GenericControl,
    Move, RewardGradient, Scalar, Scratch, Stream, Task, Tracker, TrackerShape,
};
use helpers::{gradient, record, start, total_reward};
use nalgebra::{DMatrix, DVector, dvector};
use num_dual::Dual64;

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
