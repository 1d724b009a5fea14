//! The tasks of stochastic value gradients: equations, energy, exact derivatives, noise that is named and
//! recorded, and rewards at the end.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::f64::consts::PI;

use bench_tasks::{
    BenchTask, CartpoleStart, CartpoleSvg, CartpoleSvgSettings, HandBall, HandBallSettings, Variant,
};
use dynamics::check::{
    check_against_differences, check_against_duals, check_rollout_against_duals,
};
use dynamics::models::{CartpoleSuite, CartpoleSuiteParameters};
use dynamics::{
    ContinuousDynamics, End, Environment, Move, Plant, RewardGradient, Rk4, Stream, Task,
    difference_reward,
};
use nalgebra::{DVector, dvector};
use proptest::prelude::*;

fn cartpole() -> CartpoleSvg {
    CartpoleSvg::new(Variant::Real, &CartpoleSvgSettings::default()).unwrap()
}

fn hand_ball() -> HandBall {
    HandBall::new(Variant::Real, &HandBallSettings::default()).unwrap()
}

/// Derivatives of models and rewards at random points.
fn audit(task: &dyn BenchTask) {
    let mut stream = Stream::new(3, "points", 0);
    for checked in task.checked_models() {
        let oracle = checked.oracle.unwrap();
        for (x, u) in task.check_points(&mut stream, 200) {
            for block in check_against_duals(checked.model, oracle, &x, &u).unwrap() {
                assert!(block.error <= 1e-10, "{block:?}");
            }
            for block in check_against_differences(checked.model, &x, &u).unwrap() {
                assert!(block.error <= 1e-6, "{block:?}");
            }
        }
        let (x0, _) = task.check_points(&mut stream, 1).remove(0);
        let us: Vec<_> =
            (0..50).map(|t| DVector::repeat(task.plant().any_nu(), f64::from(t).sin())).collect();
        for block in check_rollout_against_duals(checked.model, oracle, &x0, &us).unwrap() {
            assert!(block.error <= 1e-9, "{block:?}");
        }
    }
    let (ndx, nu) = (task.plant().any_ndx(), task.plant().any_nu());
    let mut scratch = task.reward_scratch();
    let (mut exact, mut differences) =
        (RewardGradient::zeros(ndx, nu), RewardGradient::zeros(ndx, nu));
    for t in [0, task.horizon() - 1] {
        for (x, u) in task.check_points(&mut stream, 50) {
            let x_next = &x * 0.9;
            let m = Move { t, x: &x, u: &u, x_next: &x_next };
            task.reward_gradient(&mut scratch, &m, &mut exact);
            difference_reward(task.as_task(), &mut scratch, &m, &mut differences);
            for (a, b) in [
                (&exact.r_x, &differences.r_x),
                (&exact.r_u, &differences.r_u),
                (&exact.r_xnext, &differences.r_xnext),
            ] {
                assert!((a - b).amax() < 1e-7, "{t}: {a} {b}");
            }
        }
    }
}

#[test]
fn derivatives_equal_dual_numbers_and_differences() {
    audit(&cartpole());
    audit(&hand_ball());
}

proptest! {
    #[test]
    fn the_cart_and_its_pole_obey_both_equations(
        p in -1.7_f64..1.7, theta in -PI..PI, v in -3.0_f64..3.0, w in -8.0_f64..8.0, u in -1.0_f64..1.0,
    ) {
        let model = CartpoleSuite::new(CartpoleSuiteParameters::default()).unwrap();
        let mut rate = DVector::zeros(4);
        model.xdot(&mut (), &dvector![p, theta, v, w], &dvector![u], &mut rate);
        let (m, l, inertia, g) = (0.1, 0.5, 0.009_425, 9.81);
        let (sin, cos) = theta.sin_cos();
        let cart = 1.1 * rate[2] + m * l * cos * rate[3] - m * l * sin * w * w - 10.0 * u + 5e-4 * v;
        let pole = (inertia + m * l * l) * rate[3] + m * l * cos * rate[2] - m * g * l * sin + 2e-6 * w;
        prop_assert!(cart.abs() < 1e-11 && pole.abs() < 1e-11, "{} {}", cart, pole);
        prop_assert!(rate[0] == v && rate[1] == w);
    }
}

#[test]
fn energy_stays_on_a_track_without_friction_and_stops_take_some() {
    let parameters = CartpoleSuiteParameters {
        cart_friction: 0.0,
        pole_friction: 0.0,
        ..CartpoleSuiteParameters::default()
    };
    let energy = |x: &DVector<f64>| {
        let (m, l, inertia, g) = (0.1, 0.5, 0.009_425, 9.81);
        let (sin, cos) = x[1].sin_cos();
        let (vx, vz) = (x[2] + l * cos * x[3], -l * sin * x[3]);
        0.5 * x[2] * x[2]
            + 0.5 * m * (vx * vx + vz * vz)
            + 0.5 * inertia * x[3] * x[3]
            + m * g * l * cos
    };
    let run = |track, x0: DVector<f64>, n: usize| {
        let model = CartpoleSuite::new(CartpoleSuiteParameters { track, ..parameters }).unwrap();
        let model = Rk4::new(model, 0.002).unwrap();
        let (mut x, mut next, mut ws) = (x0, DVector::zeros(4), model.workspace());
        let mut furthest = 0.0_f64;
        for _ in 0..n {
            model.step(&mut ws, &x, &dvector![0.0], &mut next).unwrap();
            std::mem::swap(&mut x, &mut next);
            furthest = furthest.max(x[0].abs());
        }
        (energy(&x), furthest)
    };
    let start = dvector![0.0, 2.0, 0.3, 1.0];
    let (after, _) = run(100.0, start.clone(), 5000);
    assert!((after - energy(&start)).abs() < 1e-9, "{after} {}", energy(&start));
    // Against a stop at 3 m/s: it holds, and some of the energy is gone.
    let fast = dvector![0.0, PI, 3.0, 0.0];
    let (after, furthest) = run(1.8, fast.clone(), 500);
    assert!(furthest > 1.8 && furthest < 2.0, "{furthest}");
    assert!(after < energy(&fast) - 0.5, "{after} {}", energy(&fast));
}

#[test]
fn the_cart_pole_starts_hanging_or_upright_and_is_cut_off_by_the_clock() {
    let task = cartpole();
    let mut env = Environment::new(&task, None);
    env.reset(&mut Stream::new(0, "start", 0));
    assert!((env.x()[1] - PI).abs() < 0.1);
    let mut measure = [0.0];
    let mut last = None;
    for t in 0..500 {
        let x = env.x().clone();
        last = env.step(&dvector![0.0]).unwrap().end;
        let u = dvector![0.0];
        task.measure(&Move { t, x: &x, u: &u, x_next: env.x() }, &mut measure);
    }
    assert_eq!(last, Some(End::Truncated));
    // Hanging still over the last hundred steps.
    assert!(measure[0] < -0.98, "{measure:?}");
    let settings =
        CartpoleSvgSettings { start: CartpoleStart::Upright, ..CartpoleSvgSettings::default() };
    let task = CartpoleSvg::new(Variant::Real, &settings).unwrap();
    let mut x0 = DVector::zeros(4);
    task.sample_x0(&mut Stream::new(0, "start", 0), &mut x0);
    assert!(x0[1].abs() <= 0.034 && x0[0].abs() <= 0.1);
    let refused = CartpoleSvgSettings { speed_weight: -1.0, ..CartpoleSvgSettings::default() };
    assert!(CartpoleSvg::new(Variant::Real, &refused).is_err());
}

#[test]
fn the_ball_moves_as_the_recorded_noise_says() {
    let task = hand_ball();
    let mut env = Environment::new(&task, Some(Stream::new(5, "plant noise", 0)));
    env.reset(&mut Stream::new(1, "start", 0));
    assert_eq!(env.x()[3], -0.25);
    let (dt, root) = (0.01_f64, 0.1);
    let mut stream = Stream::new(2, "actions", 0);
    for t in 0..1000_u32 {
        let x = env.x().clone();
        let u = dvector![stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0)];
        let step = env.step(&u).unwrap();
        let xi = env.noise().to_vec();
        assert!(xi.iter().any(|xi| *xi != 0.0));
        for axis in 0..2 {
            let fall = if axis == 1 { 1.0 } else { 0.0 };
            let v =
                x[4 + axis] + dt * (4.0 * (x[axis] - x[2 + axis]) - fall) + root * 0.3 * xi[axis];
            assert!((env.x()[4 + axis] - v).abs() < 1e-12);
            assert!((env.x()[2 + axis] - (x[2 + axis] + dt * v)).abs() < 1e-12);
            assert!((env.x()[axis] - (x[axis] + dt * u[axis])).abs() < 1e-12);
        }
        assert_eq!(env.x()[6], x[6]);
        let mut reward = -1e-5 * u.norm_squared();
        if t == 999 {
            assert_eq!(step.end, Some(End::Terminated));
            assert!((env.x()[7] - 1.0).abs() < 1e-12);
            let (target, x) = (x[6], env.x());
            let miss = [x[0] - target, x[1] - 0.625, x[2] - target, x[3] - 0.375];
            reward -= miss.iter().map(|m| m * m).sum::<f64>();
        } else {
            assert_eq!(step.end, None);
        }
        assert!((step.reward - reward).abs() < 1e-12);
    }
}

#[test]
fn the_symplectic_step_keeps_a_free_ball_swinging() {
    let task = hand_ball();
    let mut env = Environment::new(&task, None);
    let mut x0 = DVector::zeros(8);
    task.sample_x0(&mut Stream::new(1, "start", 0), &mut x0);
    // Beside its place of rest; explicit Euler would swing 1.22 times as far after 1,000 steps.
    x0[2] = 0.5;
    env.restore(&x0, 0).unwrap();
    let mut furthest = 0.0_f64;
    for t in 0..1000 {
        env.step(&dvector![0.0, 0.0]).unwrap();
        if t >= 600 {
            furthest = furthest.max(env.x()[2].abs());
        }
    }
    assert!((furthest - 0.5).abs() < 0.01, "{furthest}");
    let refused = HandBallSettings { u_max: 0.0, ..HandBallSettings::default() };
    assert!(HandBall::new(Variant::Real, &refused).is_err());
}
