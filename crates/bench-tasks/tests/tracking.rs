//! The tasks of the tracking-feedback policy gradient: published numbers, exact derivatives, and what the
//! controllers promise.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::f64::consts::{FRAC_PI_2, PI};

use approx::assert_relative_eq;
use bench_tasks::{
    BenchTask, CarLapSettings, FigureEight, KnotSettings, KnotTask, LapControl, LapLaw, LapTask,
    PendulumControl, Preset, QuadraticSpline, QuadrupedLapSettings, ReachPoint, ReachPointSettings,
    TrackLine, TrackLineSettings, Variant,
};
use ddp::lqr::spectral_radius;
use dynamics::check::{check_against_differences, check_against_duals};
use dynamics::models::{CarParameters, DoublePendulumParameters};
use dynamics::{
    ControlJacobian, Environment, GenericControl, Linearization, Move, RewardGradient, Stream,
    Task, Tracker, difference_reward,
};
use nalgebra::{DMatrix, DVector, dvector};

fn car(preset: Preset) -> LapTask {
    LapTask::car(Variant::Real, &CarLapSettings::preset(preset)).unwrap()
}

fn quadruped(preset: Preset) -> LapTask {
    LapTask::quadruped(Variant::Real, &QuadrupedLapSettings::preset(preset)).unwrap()
}

fn pendulum(control: PendulumControl, gravity: f64, mass_factor: f64) -> ReachPoint {
    let real = DoublePendulumParameters { gravity, ..DoublePendulumParameters::real() };
    let open = matches!(control, PendulumControl::OpenLoop | PendulumControl::OpenLoopTime);
    let settings = ReachPointSettings {
        control,
        real,
        nominal: real.with_masses_scaled(mass_factor),
        segment: if open { 1 } else { 10 },
        ..ReachPointSettings::default()
    };
    ReachPoint::new(Variant::Real, &settings).unwrap()
}

const CONTROLS: [PendulumControl; 5] = [
    PendulumControl::ContinuousLqr,
    PendulumControl::DiscreteLqr,
    PendulumControl::ComputedTorque,
    PendulumControl::OpenLoop,
    PendulumControl::OpenLoopTime,
];

/// Every model, reward, feature and controller against differences, and models against dual numbers.
fn audit(task: &dyn BenchTask) {
    let mut stream = Stream::new(5, "points", 0);
    for checked in task.checked_models() {
        for (x, u) in task.check_points(&mut stream, 50) {
            let oracle = checked.oracle.unwrap();
            for block in check_against_duals(checked.model, oracle, &x, &u).unwrap() {
                assert!(block.error <= 1e-10, "{} {}: {block:?}", task.name(), checked.label);
            }
            for block in check_against_differences(checked.model, &x, &u).unwrap() {
                assert!(block.error <= 1e-6, "{} {}: {block:?}", task.name(), checked.label);
            }
        }
    }
    let (nx, nu) = (task.plant().any_nx(), task.plant().any_nu());
    let mut scratch = task.reward_scratch();
    let (mut exact, mut differences) =
        (RewardGradient::zeros(nx, nu), RewardGradient::zeros(nx, nu));
    for t in [0, task.horizon() - 1] {
        for (x, u) in task.check_points(&mut stream, 50) {
            let x_next = &x * 0.9;
            let m = Move { t, x: &x, u: &u, x_next: &x_next };
            task.reward_gradient(&mut scratch, &m, &mut exact);
            difference_reward(task.as_task(), &mut scratch, &m, &mut differences);
            // The reward is not differentiated by the time.
            for i in 0..nx.min(4) {
                assert_relative_eq!(
                    exact.r_x[i],
                    differences.r_x[i],
                    epsilon = 1e-6,
                    max_relative = 1e-6
                );
            }
        }
    }
    audit_tracker(task, &mut stream);
}

fn audit_tracker(task: &dyn BenchTask, stream: &mut Stream) {
    let tracker = task.tracker().unwrap();
    let shape = tracker.shape();
    let (nx, nu) = (task.plant().any_nx(), task.plant().any_nu());
    let (ns, nr, nk) = (shape.n_set_point, shape.n_reference, shape.gains.len());
    let h = 1e-6;
    let mut zx = DMatrix::zeros(shape.n_features, nx);
    let mut jacobian = ControlJacobian::zeros(nx, nu, shape);
    let mut references = [DMatrix::zeros(nr, ns), DMatrix::zeros(nr, ns)];
    let random = |stream: &mut Stream, n: usize| -> Vec<f64> {
        (0..n).map(|_| stream.uniform(-1.0, 1.0)).collect()
    };
    let mut within = 0;
    for (x, _) in task.check_points(stream, 60) {
        tracker.features_jacobian(3, &x, &mut zx);
        for j in 0..shape.n_tracked {
            let features = |offset: f64| {
                let (mut x, mut z) = (x.clone(), vec![0.0; shape.n_features]);
                x[j] += offset;
                tracker.features(3, &x, &mut z);
                DVector::from_vec(z)
            };
            let slope = (features(h) - features(-h)) / (2.0 * h);
            assert_relative_eq!(
                zx.column(j).into_owned(),
                slope,
                epsilon = 1e-7,
                max_relative = 1e-7
            );
        }
        let (before, s) = (random(stream, ns), random(stream, ns));
        let [by_before, by_s] = &mut references;
        tracker.reference_jacobian(2, by_before, by_s);
        let mut sigma = vec![0.0; nr];
        tracker.reference(2, &before, &s, &mut sigma);
        let linear = &*by_before * DVector::from_vec(before) + &*by_s * DVector::from_vec(s);
        assert_relative_eq!(linear, DVector::from_vec(sigma.clone()), epsilon = 1e-12);
        let gains: Vec<f64> =
            shape.gains.iter().map(|gain| gain * stream.uniform(0.8, 1.2) + 0.01).collect();
        tracker.control_jacobian(&x, &sigma, &gains, &mut jacobian);
        let at = |which: usize, j: usize, offset: f64| {
            let (mut x, mut sigma, mut gains) = (x.clone(), sigma.clone(), gains.clone());
            match which {
                0 => x[j] += offset,
                1 => sigma[j] += offset,
                _ => gains[j] += offset,
            }
            let mut u = DVector::zeros(nu);
            tracker.control(&x, &sigma, &gains, &mut u);
            u
        };
        for (which, n, exact) in
            [(0, nx, &jacobian.x), (1, nr, &jacobian.sigma), (2, nk, &jacobian.gains)]
        {
            for j in 0..n {
                let slope = (at(which, j, h) - at(which, j, -h)) / (2.0 * h);
                let exact = exact.column(j).into_owned();
                assert_relative_eq!(exact, slope, epsilon = 1e-5, max_relative = 1e-5);
                within += usize::from(exact.norm() > 0.0);
            }
        }
    }
    assert!(within > 60, "{}: everything is cut off", task.name());
}

#[test]
fn derivatives_are_exact() {
    for preset in [Preset::Released, Preset::Paper] {
        audit(&car(preset));
        audit(&quadruped(preset));
    }
    for control in CONTROLS {
        audit(&pendulum(control, 1.0, 0.5));
    }
    audit(&TrackLine::new(Variant::Real, &TrackLineSettings::default()).unwrap());
    let mut settings = CarLapSettings::preset(Preset::Released);
    settings.common.control = backstepping(0.8, 0.6);
    settings.common.gains = [0.5, 0.4, 2.0, 2.5, 1.0, 1.0];
    audit(&LapTask::car(Variant::Real, &settings).unwrap());
}

fn backstepping(speed_weight: f64, heading_weight: f64) -> LapControl {
    let control = LapControl::car([1e3, 1e3]);
    LapControl {
        law: LapLaw::Backstepping,
        speed_weight,
        heading_weight,
        min_speed: 1e-3,
        ..control
    }
}

/// Fact sheet, section 14e.
#[test]
fn the_car_has_the_published_numbers() {
    let track = FigureEight { radius: 1.5, lap: 5.5 };
    let close = |a: &[f64], b: &[f64], epsilon: f64| {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert_relative_eq!(a, b, epsilon = epsilon);
        }
    };
    close(&track.at(0.0), &[0.0, 0.0, 0.0, 3.427_191_985_7], 1e-10);
    let ahead = track.at(0.1175);
    close(&ahead, &[0.053_730_562, 0.397_875_247_8, 0.909_063_240_5, 3.304_428_684_6], 1e-10);

    let spline = QuadraticSpline { duration: 0.1175 };
    let after: Vec<_> = ahead.iter().zip([0.05, -0.03, 0.2, 0.1]).map(|(a, b)| a + b).collect();
    let mut sigma = [0.0; 6];
    spline.reference(0.0, &track.at(0.0), &after, &mut sigma);
    let start = [0.018_643_071, -0.016_182_678, 0.010_952_804_3, 3.417_684_662_4];
    close(&sigma[..4], &start, 1e-9);
    close(&sigma[4..], &[2.0 * 4.719_418_044_6, 2.0 * -0.096_865_111], 1e-9);
    spline.reference(0.02, &track.at(0.0), &after, &mut sigma);
    close(
        &sigma,
        &[
            0.020_749_894_4,
            0.052_132_269_2,
            0.199_729_526,
            3.413_810_058,
            9.438_836_089_2,
            -0.193_730_222_1,
        ],
        1e-9,
    );

    let task = car(Preset::Released);
    let tracker = task.lap_tracker();
    let gains: Vec<_> = tracker
        .shape()
        .gains
        .iter()
        .zip([0.05, -0.02, 0.1, -0.03, 0.08, 0.01])
        .map(|(gain, change)| gain + change)
        .collect();
    let x = dvector![0.1, -0.2, 2.0, 1.3, 0.0];
    let mut u = dvector![0.0, 0.0];
    tracker.control(&x, &sigma, &gains, &mut u);
    close(u.as_slice(), &[0.715_269_901_5, 0.044_531_333], 1e-9);
    let mut out = ControlJacobian::zeros(5, 2, tracker.shape());
    tracker.control_jacobian(&x, &sigma, &gains, &mut out);
    let rows = |m: &DMatrix<f64>, n: usize| -> Vec<f64> {
        (0..2).flat_map(|j| (0..n).map(move |i| (j, i))).map(|at| m[at]).collect()
    };
    close(
        &rows(&out.x, 4),
        &[
            -0.010_216_930_6,
            -0.193_300_404_4,
            -0.45,
            0.0,
            0.045_332_141_5,
            -0.001_772_110_6,
            0.0,
            -0.32,
        ],
        1e-9,
    );
    close(
        &rows(&out.sigma, 6),
        &[
            0.010_216_930_6,
            0.193_300_404_4,
            0.240_759_078_6,
            0.436_645_402_6,
            0.004_672_516_9,
            0.079_863_430_8,
            -0.045_332_141_5,
            0.001_772_110_6,
            -0.089_887_570_1,
            0.012_156_964,
            -0.002_919_285_7,
            0.000_170_796_7,
        ],
        1e-9,
    );
    close(
        &rows(&out.gains, 6),
        &[
            -0.001_619_385_7,
            0.113_342_487_5,
            1.525_863_867_9,
            0.0,
            0.357_889_511_9,
            0.0,
            0.007_185_154,
            0.001_039_084_3,
            0.0,
            0.225_372_126_9,
            0.0,
            -2.758_774_761_8,
        ],
        1e-9,
    );

    // One step of the plant, and of the model of unit scales.
    let mut settings = CarLapSettings::preset(Preset::Released);
    settings.nominal = dynamics::models::CarParameters::unit();
    let task = LapTask::car(Variant::Real, &settings).unwrap();
    let mut x_next = DVector::zeros(5);
    let mut step = |plant: &dyn dynamics::AnyPlant| {
        plant.any_step(&mut plant.any_workspace(), &x, &u, &[], &mut x_next).unwrap();
        x_next.as_slice().to_vec()
    };
    let place = [0.110_699_953_1, -0.161_457_672_6];
    close(&step(task.plant()), &[place[0], place[1], 2.116_935_727_8, 1.315_578_146_6, 0.02], 1e-9);
    close(&step(task.nominal()), &[place[0], place[1], 2.014_305_398, 1.301_781_253_3, 0.02], 1e-9);

    // Costs and times of the nearest place.
    for (t, x, cost, time) in [
        (0.0, [0.1, -0.2, 2.0, 1.3], 0.087_689_604_4, 5.445_572_791_8),
        (1.0, [1.6, 1.4, 3.0, 0.1], 0.025_164_528_0, 0.718_709_572_6),
        (2.0, [2.5, -1.0, 3.2, -2.4], 0.009_719_493_7, 1.718_75),
        (3.0, [-0.3, 0.9, 3.0, 1.9], 0.039_010_725_8, 3.031_645_051_5),
        (4.9, [-1.2, -1.45, 3.3, 0.3], 0.003_982_241_0, 4.901_793_792_3),
    ] {
        let e = track.errors(t, x);
        let ours = e.distance.powi(2) + e.speed.powi(2) / 30.0 + e.heading.powi(2) / 3.0;
        close(&[ours, track.nearest_time(t, [x[0], x[1]]).0], &[cost, time], 1e-9);
    }
}

/// An episode of the controller alone, without a network, step by step; `visit` also gets the reference.
fn drive(task: &dyn Task, x0: &DVector<f64>, mut visit: impl FnMut(&Move<'_>, &[f64])) {
    let tracker = task.tracker().unwrap();
    let shape = tracker.shape();
    let (mut x, mut x_next) = (x0.clone(), x0.clone());
    let mut u = DVector::zeros(task.plant().any_nu());
    let (mut before, mut s) = (vec![0.0; shape.n_set_point], vec![0.0; shape.n_set_point]);
    let mut sigma = vec![0.0; shape.n_reference];
    let mut plant = task.plant().any_workspace();
    tracker.start(&x, &mut s);
    for t in 0..task.horizon() {
        let i = t % shape.segment;
        if i == 0 {
            before.copy_from_slice(&s);
            tracker.set_point(t, &x, &mut s);
        }
        tracker.reference(i, &before, &s, &mut sigma);
        tracker.control(&x, &sigma, &shape.gains, &mut u);
        task.plant().any_step(&mut plant, &x, &u, &[], &mut x_next).unwrap();
        visit(&Move { t, x: &x, u: &u, x_next: &x_next }, &sigma);
        x.copy_from(&x_next);
    }
}

/// What it costs.
fn nominal_cost(task: &dyn Task, x0: &DVector<f64>) -> f64 {
    let (mut scratch, mut cost) = (task.reward_scratch(), 0.0);
    drive(task, x0, |m, _| cost -= task.reward(&mut scratch, m));
    cost
}

/// Mean norms of products of so many Jacobians along episodes of the released car: without feedback it is at
/// its margin, with it products decay, the slower the weaker the model's inputs (fact sheet, section 9b).
#[test]
fn the_cars_loops_contract_as_published() {
    let lengths = [7, 50, 137, 275, 550];
    let norms = |nominal: CarParameters, feedback: f64| -> [f64; 5] {
        let settings = CarLapSettings { nominal, ..CarLapSettings::preset(Preset::Released) };
        let task = LapTask::car(Variant::Real, &settings).unwrap();
        let (model, shape) = (task.nominal(), task.lap_tracker().shape());
        let (mut ws, mut step) = (model.any_workspace(), Linearization::zeros(5, 2));
        let mut control = ControlJacobian::zeros(5, 2, shape);
        let mut loops = Vec::new();
        let mut x0 = DVector::zeros(5);
        task.sample_x0(&mut Stream::new(0, "starts", 0), &mut x0);
        drive(&task, &x0, |m, sigma| {
            model.any_linearize(&mut ws, m.x, m.u, &mut step).unwrap();
            task.lap_tracker().control_jacobian(m.x, sigma, &shape.gains, &mut control);
            let closed = &step.fx + &step.fu * &control.x * feedback;
            loops.push(closed.view((0, 0), (4, 4)).into_owned());
        });
        lengths.map(|n| {
            let product = |first: usize| {
                loops[first..first + n].iter().fold(DMatrix::identity(4, 4), |phi, a| a * phi)
            };
            let firsts: Vec<_> = (280..loops.len() - n).step_by(7).collect();
            let norm = |&first: &usize| product(first).singular_values().max();
            firsts.iter().map(norm).sum::<f64>() / firsts.len() as f64
        })
    };
    let released = CarParameters::released();
    for (nominal, published) in [
        (released, [1.02, 0.87, 0.54, 0.25, 0.05]),
        (released.scaled(0.25), [1.10, 1.41, 1.05, 0.70, 0.32]),
        (CarParameters::unit(), [1.13, 1.71, 1.43, 1.15, 0.79]),
    ] {
        for (found, published) in norms(nominal, 1.0).into_iter().zip(published) {
            assert_relative_eq!(found, published, max_relative = 0.15, epsilon = 0.02);
        }
    }
    // 1.2, 2.6, 3.1, 1.1 to 1.5, 1.1 to 2.2.
    let open = norms(released, 0.0);
    assert!(open.iter().all(|norm| (1.0..4.0).contains(norm)), "{open:?}");
}

/// Fact sheet, section 14b.
#[test]
fn untrained_pendulums_cost_what_is_published() {
    let x0 = dvector![FRAC_PI_2, 0.0, 0.0, 0.0];
    let cost = |control, gravity, factor| nominal_cost(&pendulum(control, gravity, factor), &x0);
    let feedback = PendulumControl::ContinuousLqr;
    assert_relative_eq!(cost(feedback, 0.1, 1.0), 1_110.510_458_82, max_relative = 1e-10);
    assert_relative_eq!(cost(feedback, 1.0, 0.5), 1_163.763_315_15, max_relative = 1e-10);
    let open = PendulumControl::OpenLoop;
    assert_relative_eq!(cost(open, 0.1, 1.0), 207.975_516_212, max_relative = 1e-10);
    assert_relative_eq!(cost(open, 1.0, 0.5), 859.424_585_881, max_relative = 1e-10);
}

/// Regulators of the pendulum, and spectral radii of the sampled loop upright, of model and plant (fact
/// sheet, section 8; the model has half the masses but where `factor` says otherwise).
#[test]
fn pendulum_regulators_are_the_published_ones() {
    let check = |control, factor, rows: [[f64; 4]; 2], radii: Option<[f64; 2]>| {
        let task = pendulum(control, 1.0, factor);
        let tracker = task.tracker().unwrap();
        let (shape, x, u) = (tracker.shape(), dvector![PI, 0.0, 0.0, 0.0], dvector![0.0, 0.0]);
        let mut jacobian = ControlJacobian::zeros(4, 2, shape);
        let mut set_point = vec![0.0; 4];
        tracker.set_point(0, &x, &mut set_point);
        tracker.control_jacobian(&x, &set_point, &shape.gains, &mut jacobian);
        for (found, published) in (-&jacobian.x).row_iter().zip(rows) {
            for (found, published) in found.iter().zip(published) {
                assert_relative_eq!(*found, published, epsilon = 6e-3);
            }
        }
        let Some(radii) = radii else { return };
        let plant = task.plant_dynamics().unwrap();
        for (model, published) in [task.nominal(), plant].into_iter().zip(radii) {
            let mut step = Linearization::zeros(4, 2);
            model.any_linearize(&mut model.any_workspace(), &x, &u, &mut step).unwrap();
            let radius = spectral_radius(&step.fx + &step.fu * &jacobian.x);
            assert_relative_eq!(radius, published, epsilon = 6e-3);
        }
    };
    let (released, sampled) = (PendulumControl::ContinuousLqr, PendulumControl::DiscreteLqr);
    check(released, 1.0, [[16.115, 0.101, 5.059, 0.750], [0.101, 15.912, 0.750, 3.558]], None);
    let half = [[15.962, 0.050, 4.221, 0.421], [0.050, 15.862, 0.421, 3.379]];
    check(released, 0.5, half, Some([2.69, 0.963]));
    let half = [[13.24, 3.851, 3.73, 1.195], [3.851, 5.539, 1.195, 1.34]];
    check(sampled, 0.5, half, Some([0.951, 0.964]));
}

/// Mean costs of the nominal controllers (fact sheet, sections 9 and 10).
#[test]
fn nominal_controllers_drive_as_published() {
    let laps = |task: &LapTask, seeds: u64| -> f64 {
        let cost = |seed| {
            let mut x0 = DVector::zeros(task.plant().any_nx());
            task.sample_x0(&mut Stream::new(seed, "starts", 0), &mut x0);
            nominal_cost(task, &x0)
        };
        (0..seeds).map(cost).sum::<f64>() / seeds as f64
    };
    // 812 steps count: 137 on the released car, 91 on the identified one.
    let released = laps(&car(Preset::Released), 5);
    assert!((released - 137.0).abs() < 2.0, "{released}");
    let identified = laps(&car(Preset::Paper), 5);
    assert!((identified - 91.0).abs() < 2.0, "{identified}");
    // 54 × 9 steps of the identified quadruped: 53. On the released one costs depend on where an episode
    // begins: means of five have a deviation of 3.7 about 65, of which the sheet's 70 is one.
    let mean = laps(&quadruped(Preset::Released), 200);
    assert!((mean - 65.0).abs() < 2.0, "{mean}");
    let walker = laps(&quadruped(Preset::Paper), 5);
    assert!((walker - 53.0).abs() < 2.0, "{walker}");
}

/// Full backstepping makes its Lyapunov function fall as it promises, for the model it is made for.
#[test]
fn backstepping_has_its_lyapunov_function() {
    let (gamma_v, gamma_phi) = (0.7, 0.5);
    let law = backstepping(gamma_v, gamma_phi);
    let gains = [0.6, 0.4, 1.5, 2.0, 1.0, 1.0];
    let track = FigureEight { radius: 1.5, lap: 5.5 };
    // A reference that moves on a circle, exactly.
    let reference = |t: f64| {
        let [x, y, vx, vy] = track.at(t);
        let w = 4.0 * PI / 5.5;
        [x, y, vx, vy, -w * w * (x - 1.5), -w * w * y]
    };
    let lyapunov = |t: f64, x: &[f64; 4]| {
        let sigma = reference(t);
        let e = [sigma[0] - x[0], sigma[1] - x[1]];
        let nu = [sigma[2] + gains[0] * e[0], sigma[3] + gains[1] * e[1]];
        let e_v = nu[0].hypot(nu[1]) - x[2];
        let e_phi = dynamics::wrap_to_pi(nu[1].atan2(nu[0]) - x[3]);
        let value = 0.5 * (e[0] * e[0] + e[1] * e[1])
            + e_v * e_v / (2.0 * gamma_v)
            + e_phi * e_phi / (2.0 * gamma_phi);
        let promised = -gains[0] * e[0] * e[0]
            - gains[1] * e[1] * e[1]
            - gains[2] / gamma_v * e_v * e_v
            - gains[3] / gamma_phi * e_phi * e_phi;
        (value, promised)
    };
    let mut stream = Stream::new(1, "points", 0);
    for _ in 0..50 {
        let t = stream.uniform(0.1, 2.0);
        let wanted = reference(t);
        let mut offset = |size: f64| stream.uniform(-size, size);
        let x = [
            wanted[0] + offset(0.5),
            wanted[1] + offset(0.5),
            3.4 + offset(1.0),
            wanted[3].atan2(wanted[2]) + offset(1.0),
        ];
        let [a, w] = law.control_generic(&x, &reference(t), &gains);
        let rate = [x[2] * x[3].cos(), x[2] * x[3].sin(), a, x[2] * w];
        let h = 1e-6;
        let moved = |h: f64| -> [f64; 4] { std::array::from_fn(|i| x[i] + h * rate[i]) };
        let slope = (lyapunov(t + h, &moved(h)).0 - lyapunov(t - h, &moved(-h)).0) / (2.0 * h);
        assert_relative_eq!(slope, lyapunov(t, &x).1, epsilon = 1e-6, max_relative = 1e-6);
    }
}

/// A segment of the knots' task is that of the task below, and actions of 0 are the controller alone.
#[test]
fn decisions_without_corrections_cost_what_the_controller_costs() {
    let mut settings = KnotSettings::car(Preset::Paper);
    settings.inner.common.segments = 30;
    settings.settle = 10;
    let knots = KnotTask::car(Variant::Real, &settings).unwrap();
    let task = LapTask::car(Variant::Real, &settings.inner).unwrap();
    let mut env = Environment::new(&knots, None);
    env.reset(&mut Stream::new(0, "starts", 0));
    let mut x0 = DVector::zeros(task.plant().any_nx());
    task.sample_x0(&mut Stream::new(0, "starts", 0), &mut x0);
    let (u, mut total) = (DVector::zeros(10), 0.0);
    loop {
        let step = env.step(&u).unwrap();
        total += step.reward;
        if step.end.is_some() {
            break;
        }
    }
    assert_eq!(env.t(), 30);
    assert_relative_eq!(total, -nominal_cost(&task, &x0), max_relative = 1e-12);
    let mut o = [0.0; 12];
    knots.observation().observe(env.x(), &mut o);
    settings.max_step_cost = 0.01;
    let capped = KnotTask::car(Variant::Real, &settings).unwrap();
    let mut env = Environment::new(&capped, None);
    env.reset(&mut Stream::new(0, "starts", 0));
    let least = (0..30).map(|_| env.step(&u).unwrap().reward).fold(0.0, f64::min);
    assert_relative_eq!(least, -7.0 * 0.01, max_relative = 1e-12);
    assert!(o.iter().all(|o| o.is_finite()) && o[6..10].iter().any(|o| o.abs() > 1e-3));
}

#[test]
fn bad_settings_are_named() {
    let mut settings = CarLapSettings::preset(Preset::Released);
    settings.common.settle_segments = 156;
    let refused = LapTask::car(Variant::Real, &settings).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("`segments`"), "{refused}");
    let mut settings = QuadrupedLapSettings::preset(Preset::Released);
    settings.common.control.law = LapLaw::Car;
    let refused = LapTask::quadruped(Variant::Real, &settings).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("`control.law` is `car`, but must be `unicycle`"), "{refused}");
    let settings = ReachPointSettings { segment: 0, ..ReachPointSettings::default() };
    let refused = ReachPoint::new(Variant::Real, &settings).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("`segment`"), "{refused}");
}

fn knot_tasks() -> [KnotTask; 2] {
    let car = KnotTask::car(Variant::Real, &KnotSettings::car(Preset::Paper)).unwrap();
    let walker = KnotSettings::quadruped(Preset::Released);
    [car, KnotTask::quadruped(Variant::Real, &walker).unwrap()]
}

/// What baselines see of a decision, by every entry of the state.
#[test]
fn observations_of_decisions_have_exact_derivatives() {
    for task in knot_tasks() {
        let observation = task.observation();
        let nx = task.plant().any_nx();
        let no = observation.n_observations(nx);
        for (mut x, _) in task.check_points(&mut Stream::new(8, "points", 0), 20) {
            // Away from the track's own time, as after some decisions.
            x[0] += 0.1;
            x[2] -= 0.3;
            let mut exact = DMatrix::zeros(no, nx);
            observation.jacobian().unwrap().linearize(&x, &mut exact);
            for i in 0..nx {
                let h = 1e-6;
                let at = |offset: f64| {
                    let mut moved = x.clone();
                    moved[i] += offset;
                    let mut o = DVector::zeros(no);
                    observation.observe(&moved, o.as_mut_slice());
                    o
                };
                let slope = (at(h) - at(-h)) / (2.0 * h);
                assert_relative_eq!(slope, exact.column(i).into_owned(), epsilon = 1e-6);
            }
        }
    }
}
