//! The tracking-feedback policy gradient against dual numbers and differences, and what its learner promises.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "common/tracking.rs"]
mod helpers;

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
use dynamics::models::CarParameters;
use dynamics::{GenericControl, Scalar, Stream, Task, Tracker};
use helpers::{gradient, record, start, total_reward};
use nalgebra::{DVector, dvector};
use num_dual::Dual64;

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
        Box::new(TrackLine::new(Variant::Real, &TrackLineSettings::default()).unwrap()),
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
        [(3, 0, 8_usize), (3, 2, 8), (30, 40, 154), (1, 0, 5), (8, 0, 8), (9, 0, 8), (3, 7, 8)]
    {
        let windows = Windows { length, start };
        for j in 0..n {
            let firsts = start..(n + 1).saturating_sub(length);
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
    let refused = learner.learn_from(&[]).unwrap_err().to_string();
    assert_eq!(refused, "cannot learn from these recordings: there are none");
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
