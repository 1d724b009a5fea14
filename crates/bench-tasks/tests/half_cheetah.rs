//! The half-cheetah task: derivatives, published values, rules.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use bench_tasks::{BenchTask, HalfCheetah, HalfCheetahSettings, Preset, Variant};
use dynamics::check::{
    check_against_differences, check_against_duals, check_rollout_against_duals,
};
use dynamics::{End, Environment, Move, RewardGradient, Stream, Task, difference_reward};
use nalgebra::{DMatrix, DVector};

fn task(variant: Variant) -> HalfCheetah {
    HalfCheetah::new(variant, &HalfCheetahSettings::preset(Preset::Released)).unwrap()
}

fn random_action(stream: &mut Stream) -> DVector<f64> {
    DVector::from_fn(6, |_, _| stream.uniform(-1.0, 1.0))
}

#[test]
fn derivatives_equal_dual_numbers_and_differences_in_flight_and_on_the_ground() {
    let task = task(Variant::Real);
    let points = task.check_points(&mut Stream::new(1, "points", 0), 20);
    let grounded = points.iter().filter(|(x, _)| x[1] < -0.3).count();
    assert!(points.len() == 20 && grounded >= 5, "{grounded}");
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
    let mut x0 = DVector::zeros(18);
    task.sample_x0(&mut stream, &mut x0);
    let us: Vec<_> = (0..50).map(|_| random_action(&mut stream)).collect();
    for checked in task.checked_models() {
        let oracle = checked.oracle.unwrap();
        for block in check_rollout_against_duals(checked.model, oracle, &x0, &us).unwrap() {
            assert!(block.error <= 1e-9, "{}: {block:?}", checked.label);
        }
    }
}

#[test]
fn reward_is_speed_minus_effort_with_its_gradient() {
    let task = task(Variant::Real);
    let mut stream = Stream::new(3, "reward", 0);
    let mut scratch = task.reward_scratch();
    let (mut found, mut expected) = (RewardGradient::zeros(18, 6), RewardGradient::zeros(18, 6));
    for _ in 0..20 {
        let u = random_action(&mut stream);
        let x = DVector::from_fn(18, |_, _| stream.uniform(-2.0, 2.0));
        let x_next = DVector::from_fn(18, |_, _| stream.uniform(-2.0, 2.0));
        let m = Move { t: 0, x: &x, u: &u, x_next: &x_next };
        let by_hand = x_next[9] - 0.1 * u.iter().map(|u| u * u).sum::<f64>();
        assert!((task.reward(&mut scratch, &m) - by_hand).abs() < 1e-14);
        task.reward_gradient(&mut scratch, &m, &mut found);
        difference_reward(&task, &mut scratch, &m, &mut expected);
        assert!((&found.r_xnext - &expected.r_xnext).amax() < 1e-8);
        assert!((&found.r_u - &expected.r_u).amax() < 1e-8);
        assert!((&found.r_x - &expected.r_x).amax() < 1e-8);
    }
}

#[test]
fn the_observation_is_the_state_without_x() {
    let task = task(Variant::Real);
    let x = DVector::from_fn(18, |i, _| i as f64);
    let mut o = vec![f64::NAN; task.observation().n_observations(18)];
    task.observation().observe(&x, &mut o);
    assert_eq!(o, (1..18).map(f64::from).collect::<Vec<_>>());
    assert!(task.state_names()[9].starts_with("ẋ"));
    let mut ox = DMatrix::repeat(17, 18, f64::NAN);
    task.observation().jacobian().unwrap().linearize(&x, &mut ox);
    assert_eq!(&ox * &x, DVector::from_vec(o));
}

#[test]
fn starts_lie_in_the_published_box() {
    let task = task(Variant::Real);
    let mut stream = Stream::new(2, "starts", 0);
    let (mut x, mut low, mut high) =
        (DVector::zeros(18), DVector::repeat(18, 9.0), DVector::repeat(18, -9.0));
    for _ in 0..500 {
        task.sample_x0(&mut stream, &mut x);
        (low, high) = (low.inf(&x), high.sup(&x));
    }
    for i in 0..18 {
        let (center, spread) = (if i == 1 { -0.2 } else { 0.0 }, if i < 9 { 0.1 } else { 0.25 });
        assert!((low[i] - center + spread).abs() < 0.03 * spread, "{i}: {}", low[i]);
        assert!((high[i] - center - spread).abs() < 0.03 * spread, "{i}: {}", high[i]);
    }
}

#[test]
fn presets_differ_in_the_joint_damping_of_the_plant() {
    let (released, paper) =
        (HalfCheetahSettings::preset(Preset::Released), HalfCheetahSettings::preset(Preset::Paper));
    assert_eq!(released.nominal, paper.nominal);
    let mut same = paper.clone();
    assert_eq!(same.real.joint_damping_scale, 0.7);
    same.real.joint_damping_scale = released.real.joint_damping_scale;
    assert_eq!(same, released);
    let damping =
        |s: &HalfCheetahSettings| s.real.model(s.dt).unwrap().description().links[0].damping;
    assert!((damping(&released) - 6.0).abs() < 1e-12 && (damping(&paper) - 4.2).abs() < 1e-12);
}

#[test]
fn only_the_clock_ends_an_episode() {
    let task = task(Variant::Nominal);
    let mut env = Environment::new(&task, None);
    let mut x = DVector::zeros(18);
    // On its back.
    (x[1], x[2]) = (-0.5, 3.0);
    env.restore(&x, 998).unwrap();
    assert_eq!(env.step(&DVector::zeros(6)).unwrap().end, None);
    assert_eq!(env.step(&DVector::zeros(6)).unwrap().end, Some(End::Truncated));
    assert_eq!(task.horizon(), 1000);
}

/// Mean return of 400 steps of zero or random actions, and its standard deviation.
fn mean_return(variant: Variant, random: bool) -> (f64, f64) {
    let task = task(variant);
    let (mut starts, mut actions) = (Stream::new(1, "starts", 0), Stream::new(1, "actions", 0));
    let mut env = Environment::new(&task, None);
    let returns = DVector::from_fn(40, |_, _| {
        env.reset(&mut starts);
        let mut step = || {
            let u = if random { random_action(&mut actions) } else { DVector::zeros(6) };
            env.step(&u).unwrap().reward
        };
        (0..400).map(|_| step()).sum()
    });
    (returns.mean(), returns.variance().sqrt())
}

#[test]
fn simple_policies_earn_the_published_returns() {
    // Published means, of about 8 episodes; three standard errors of both means, with our own
    // spread.
    for (variant, random, published) in [
        (Variant::Nominal, false, 0.0),
        (Variant::Real, false, 0.0),
        (Variant::Nominal, true, -149.0),
        (Variant::Real, true, -134.0),
    ] {
        let (mean, deviation) = mean_return(variant, random);
        let bound = 3.0 * deviation * (1.0_f64 / 8.0 + 1.0 / 40.0).sqrt();
        let case = format!("{variant:?}, random {random}: {mean} ± {bound}, not {published}");
        assert!((mean - published).abs() < bound, "{case}");
    }
}
