//! The hopper task: derivatives, published values, rules.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use bench_tasks::{BenchTask, Hopper, HopperSettings, Variant};
use dynamics::check::{
    check_against_differences, check_against_duals, check_rollout_against_duals,
};
use dynamics::{
    End, Environment, JacobianSource, Move, RewardGradient, Stream, Task, TransitionGradient,
    difference_reward,
};
use nalgebra::{DMatrix, DVector, dvector};

fn task(variant: Variant) -> Hopper {
    Hopper::new(variant, &HopperSettings::default()).unwrap()
}

fn random_action(stream: &mut Stream) -> DVector<f64> {
    DVector::from_fn(3, |_, _| stream.uniform(-1.0, 1.0))
}

#[test]
fn derivatives_equal_dual_numbers_and_differences_in_flight_and_on_the_ground() {
    let task = task(Variant::Real);
    let points = task.check_points(&mut Stream::new(1, "points", 0), 40);
    let grounded = points.iter().filter(|(x, _)| x[1] < 0.0).count();
    assert!(points.len() == 40 && grounded >= 10, "{grounded}");
    for checked in task.checked_models() {
        for (x, u) in &points {
            let oracle = checked.oracle.unwrap();
            for block in check_against_duals(checked.model, oracle, x, u).unwrap() {
                assert!(block.error <= 1e-10, "{}: {block:?}", checked.label);
            }
            for block in check_against_differences(checked.model, x, u).unwrap() {
                assert!(block.error <= 1e-6, "{}: {block:?}", checked.label);
            }
        }
    }
}

#[test]
fn fifty_steps_of_jacobians_equal_dual_numbers_along_the_roll_out() {
    let task = task(Variant::Real);
    let mut stream = Stream::new(5, "rollout-check", 0);
    let mut x0 = DVector::zeros(12);
    for _ in 0..3 {
        task.sample_x0(&mut stream, &mut x0);
        let us: Vec<_> = (0..50).map(|_| random_action(&mut stream)).collect();
        for checked in task.checked_models() {
            let oracle = checked.oracle.unwrap();
            for block in check_rollout_against_duals(checked.model, oracle, &x0, &us).unwrap() {
                assert!(block.error <= 1e-9, "{}: {block:?}", checked.label);
            }
        }
    }
}

/// A transition to height z and pitch θ at speed ẋ.
fn arrival(z: f64, theta: f64, speed: f64) -> DVector<f64> {
    let mut x = DVector::zeros(12);
    (x[1], x[2], x[6]) = (z, theta, speed);
    x
}

#[test]
fn reward_by_hand() {
    let task = task(Variant::Real);
    let u = dvector![0.5, -1.0, 0.2];
    let pi = std::f64::consts::PI;
    for (z, height) in [
        (0.4, 0.3),     // clipped above
        (-0.1, 0.2),    // e = 0.2
        (-0.4, -2.0),   // e = −0.1
        (-1.0, -98.0),  // e = −0.7
        (-2.0, -200.0), // clipped below
    ] {
        let x_next = arrival(z, pi / 12.0, 1.5);
        let m = Move { t: 0, x: &x_next, u: &u, x_next: &x_next };
        let expected = 1.5 + height + 0.75 - 0.1 * 1.29;
        assert!((task.reward(&mut task.reward_scratch(), &m) - expected).abs() < 1e-12, "z = {z}");
    }
}

#[test]
fn reward_gradient_equals_differences_away_from_kinks_and_is_declared_at_them() {
    let task = task(Variant::Real);
    let mut scratch = task.reward_scratch();
    let (u, x) = (dvector![0.5, -1.0, 0.2], DVector::zeros(12));
    let (mut found, mut expected) = (RewardGradient::zeros(12, 3), RewardGradient::zeros(12, 3));
    for z in [0.5, 0.05, -0.2, -0.35, -0.6, -1.5] {
        let x_next = arrival(z, 0.3, -0.4);
        let m = Move { t: 0, x: &x, u: &u, x_next: &x_next };
        task.reward_gradient(&mut scratch, &m, &mut found);
        difference_reward(&task, &mut scratch, &m, &mut expected);
        assert!((&found.r_xnext - &expected.r_xnext).amax() < 1e-6, "z = {z}");
        assert!((&found.r_u - &expected.r_u).amax() < 1e-8);
        assert!(found.r_x.amax() == 0.0 && expected.r_x.amax() == 0.0);
    }
    // On the parabola's side at e = 0, and outside the clip.
    for (z, slope) in [(-0.3 - 1e-12, 0.0), (1e-9, 0.0), (-1e-9, 1.0), (-1.3 - 1e-9, 0.0)] {
        let x_next = arrival(z, 0.0, 0.0);
        let m = Move { t: 0, x: &x, u: &u, x_next: &x_next };
        task.reward_gradient(&mut scratch, &m, &mut found);
        assert!((found.r_xnext[1] - slope).abs() < 1e-8, "z = {z}: {}", found.r_xnext[1]);
    }
}

#[test]
fn analytic_and_difference_transition_gradients_agree_in_flight() {
    let task = task(Variant::Real);
    let mut analytic = TransitionGradient::new(&task, JacobianSource::Analytic).unwrap();
    let mut differences = TransitionGradient::new(&task, JacobianSource::FiniteDifference).unwrap();
    let mut x = DVector::zeros(12);
    (x[1], x[3], x[4], x[5]) = (1.0, -0.5, -0.5, 0.1);
    let u = dvector![0.3, 0.2, -0.6];
    let mut x_next = x.clone();
    let plant = task.plant();
    plant.any_step(&mut plant.any_workspace(), &x, &u, &[], &mut x_next).unwrap();
    let m = Move { t: 0, x: &x, u: &u, x_next: &x_next };
    analytic.evaluate(&m).unwrap();
    differences.evaluate(&m).unwrap();
    assert!((&analytic.jacobian.fx - &differences.jacobian.fx).amax() < 1e-7);
    assert!((&analytic.reward_gradient - &differences.reward_gradient).amax() < 1e-7);
}

#[test]
fn the_observation_is_the_state_without_x() {
    let task = task(Variant::Real);
    let x = DVector::from_fn(12, |i, _| i as f64);
    let observation = task.observation();
    assert_eq!(observation.n_observations(12), 11);
    let mut o = vec![f64::NAN; 11];
    observation.observe(&x, &mut o);
    assert_eq!(o, (1..12).map(f64::from).collect::<Vec<_>>());
    let mut ox = DMatrix::repeat(11, 12, f64::NAN);
    observation.jacobian().unwrap().linearize(&x, &mut ox);
    assert_eq!(&ox * &x, DVector::from_vec(o));
    assert_eq!(ox.sum(), 11.0);
}

#[test]
fn an_episode_ends_below_0_80_m_with_its_ordinary_reward_and_is_truncated_at_1000_steps() {
    let task = task(Variant::Real);
    assert_eq!((task.horizon(), task.time_limit()), (1000, End::Truncated));
    let mut env = Environment::new(&task, None);
    let mut x = DVector::zeros(12);
    (x[1], x[2], x[7]) = (-0.44, 1.2, -2.0);
    env.restore(&x, 0).unwrap();
    let step = env.step(&dvector![0.0, 0.0, 0.0]).unwrap();
    assert!(env.x()[1] < -0.45);
    assert_eq!(step.end, Some(End::Terminated));
    let m = Move { t: 0, x: &x, u: &dvector![0.0, 0.0, 0.0], x_next: env.x() };
    assert_eq!(step.reward, task.reward(&mut task.reward_scratch(), &m));
    x[1] = 0.5;
    env.restore(&x, 999).unwrap();
    assert_eq!(env.step(&dvector![0.0, 0.0, 0.0]).unwrap().end, Some(End::Truncated));
}

#[test]
fn starts_lie_in_the_published_box() {
    let task = task(Variant::Real);
    let mut stream = Stream::new(2, "starts", 0);
    let (mut x, mut low, mut high) = (DVector::zeros(12), DVector::zeros(12), DVector::zeros(12));
    for _ in 0..500 {
        task.sample_x0(&mut stream, &mut x);
        (low, high) = (low.inf(&x), high.sup(&x));
    }
    assert!(low.iter().all(|v| (-0.05..-0.045).contains(v)), "{low}");
    assert!(high.iter().all(|v| (0.045..0.05).contains(v)), "{high}");
}

/// Returns and lengths of 200 episodes with zero or random actions.
fn episodes(variant: Variant, random: bool) -> [DVector<f64>; 2] {
    let task = task(variant);
    let (mut starts, mut actions) = (Stream::new(1, "starts", 0), Stream::new(1, "actions", 0));
    let mut env = Environment::new(&task, None);
    let mut out = [DVector::zeros(200), DVector::zeros(200)];
    let [returns, lengths] = &mut out;
    for (total, length) in returns.iter_mut().zip(lengths.iter_mut()) {
        env.reset(&mut starts);
        loop {
            let u = if random { random_action(&mut actions) } else { DVector::zeros(3) };
            let step = env.step(&u).unwrap();
            *total += step.reward;
            *length += 1.0;
            if step.end.is_some() {
                break;
            }
        }
    }
    out
}

#[test]
fn simple_policies_earn_the_published_returns() {
    // Published means of 8 episodes; four standard errors of both means, with our own spread.
    // Long episodes of random actions are the bad ones, and both random rows seem to have drawn
    // such.
    for (variant, random, published) in [
        (Variant::Nominal, false, [125.0, 169.0]),
        (Variant::Real, false, [94.0, 163.0]),
        (Variant::Nominal, true, [-190.0, 107.0]),
        (Variant::Real, true, [-200.0, 109.0]),
    ] {
        for (ours, published) in episodes(variant, random).iter().zip(published) {
            let bound = 4.0 * (ours.variance() * (1.0 / 8.0 + 1.0 / 200.0)).sqrt();
            let mean = ours.mean();
            let case = format!("{variant:?}, random {random}: {mean} ± {bound}, not {published}");
            assert!((mean - published).abs() < bound, "{case}");
        }
    }
}
