//! The cartpole task: derivatives, published values, rules.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::f64::consts::PI;

use bench_tasks::{BenchTask, Cartpole, CartpoleSettings, Preset, Variant};
use dynamics::check::{
    RICHARDSON_STEP, check_against_differences, check_against_duals, check_rollout_against_duals,
};
use dynamics::{
    Environment, JacobianSource, Move, RewardGradient, Stream, Task, TransitionGradient,
    difference_reward,
};
use nalgebra::{DVector, dvector};
use proptest::prelude::*;

fn task(preset: Preset, variant: Variant) -> Cartpole {
    Cartpole::new(variant, &CartpoleSettings::preset(preset)).unwrap()
}

fn point() -> impl Strategy<Value = (DVector<f64>, DVector<f64>)> {
    let angle = prop_oneof![Just(0.0), Just(PI), -7.0..7.0_f64];
    let speed = |limit: f64| prop_oneof![Just(0.0), -limit..limit];
    let force = prop_oneof![Just(0.0), Just(0.05), Just(-0.05), Just(0.02), -40.0..40.0_f64];
    (-3.0..3.0_f64, angle, speed(5.0), speed(12.0), force)
        .prop_map(|(p, theta, v, w, u)| (dvector![p, theta, v, w], dvector![u]))
}

proptest! {
    #[test]
    fn jacobians_equal_dual_numbers((x, u) in point()) {
        for preset in [Preset::Released, Preset::Paper] {
            for checked in task(preset, Variant::Real).checked_models() {
                let oracle = checked.oracle.unwrap();
                for block in check_against_duals(checked.model, oracle, &x, &u).unwrap() {
                    prop_assert!(block.error <= 1e-10, "{}: {block:?}", checked.label);
                }
            }
        }
    }

    #[test]
    fn jacobians_equal_central_differences_away_from_the_deadband((x, u) in point()) {
        // The actuator jumps at |u| = 0.05 N and, where it raises small forces, at 0.
        let reach = 10.0 * RICHARDSON_STEP * u[0].abs().max(1.0);
        prop_assume!((u[0].abs() - 0.05).abs() > reach && u[0].abs() > reach);
        for checked in task(Preset::Released, Variant::Real).checked_models() {
            for block in check_against_differences(checked.model, &x, &u).unwrap() {
                prop_assert!(block.error <= 1e-6, "{}: {block:?}", checked.label);
            }
        }
    }

    #[test]
    fn reward_gradient_equals_differences((x, u) in point(), (x_next, _) in point()) {
        // The reward's own kink: θ = 0, where the angle to upright jumps from π to −π.
        prop_assume!(x_next[1].rem_euclid(2.0 * PI).min((-x_next[1]).rem_euclid(2.0 * PI)) > 1e-3);
        let task = task(Preset::Released, Variant::Real);
        let mut scratch = task.reward_scratch();
        let m = Move { t: 3, x: &x, u: &u, x_next: &x_next };
        let (mut found, mut expected) = (RewardGradient::zeros(4, 1), RewardGradient::zeros(4, 1));
        task.reward_gradient(&mut scratch, &m, &mut found);
        difference_reward(&task, &mut scratch, &m, &mut expected);
        prop_assert!((found.r_xnext - expected.r_xnext).amax() <= 1e-8);
        prop_assert!((found.r_x - expected.r_x).amax() <= 1e-8);
        prop_assert!((found.r_u - expected.r_u).amax() <= 1e-8);
    }
}

#[test]
fn fifty_steps_of_jacobians_equal_dual_numbers_along_the_roll_out() {
    let task = task(Preset::Released, Variant::Real);
    let mut stream = Stream::new(5, "rollout-check", 0);
    for _ in 0..20 {
        let mut x0 = dvector![0.0, 0.0, 0.0, 0.0];
        task.sample_x0(&mut stream, &mut x0);
        let us: Vec<_> = (0..50).map(|_| dvector![stream.uniform(-40.0, 40.0)]).collect();
        for checked in task.checked_models() {
            let oracle = checked.oracle.unwrap();
            for block in check_rollout_against_duals(checked.model, oracle, &x0, &us).unwrap() {
                assert!(block.error <= 1e-9, "{}: {block:?}", checked.label);
            }
        }
    }
}

#[test]
fn differences_of_the_nominal_model_give_the_analytic_transition_gradient() {
    let task = task(Preset::Released, Variant::Real);
    let mut analytic = TransitionGradient::new(&task, JacobianSource::Analytic).unwrap();
    let mut differences = TransitionGradient::new(&task, JacobianSource::FiniteDifference).unwrap();
    let mut env = Environment::new(&task, None);
    let mut stream = Stream::new(9, "env", 0);
    env.reset(&mut stream);
    for _ in 0..100 {
        let u = dvector![stream.uniform(-40.0, 40.0)];
        let t = env.t();
        let step = env.step(&u).unwrap();
        let m = Move { t, x: env.x_previous(), u: &u, x_next: env.x() };
        analytic.evaluate(&m).unwrap();
        differences.evaluate(&m).unwrap();
        assert!((&analytic.jacobian.fx - &differences.jacobian.fx).amax() < 1e-7);
        assert!((&analytic.jacobian.fu - &differences.jacobian.fu).amax() < 1e-7);
        assert!((&analytic.reward_gradient - &differences.reward_gradient).amax() < 1e-7);
        if step.end.is_some() {
            env.reset(&mut stream);
        }
    }
}

/// Mean return of a policy of constant zero or random forces.
fn mean_return(variant: Variant, random: bool) -> f64 {
    let task = task(Preset::Released, variant);
    let (mut starts, mut actions) = (Stream::new(1, "starts", 0), Stream::new(1, "actions", 0));
    let mut env = Environment::new(&task, None);
    let mut total = 0.0;
    let episodes = 400;
    for _ in 0..episodes {
        env.reset(&mut starts);
        loop {
            let u = if random { actions.uniform(-40.0, 40.0) } else { 0.0 };
            let step = env.step(&dvector![u]).unwrap();
            total += step.reward;
            if step.end.is_some() {
                break;
            }
        }
    }
    total / f64::from(episodes)
}

#[test]
fn simple_policies_earn_the_published_returns() {
    // Published mean ± standard deviation over 150 episodes; three standard errors of both means.
    for (variant, random, mean, deviation) in [
        (Variant::Nominal, false, -2.0, 49.0),
        (Variant::Real, false, -52.0, 25.0),
        (Variant::Nominal, true, -117.0, 87.0),
        (Variant::Real, true, -49.0, 19.0),
    ] {
        let ours = mean_return(variant, random);
        let bound = 3.0 * deviation * (1.0_f64 / 150.0 + 1.0 / 400.0).sqrt() + 0.5;
        assert!((ours - mean).abs() < bound, "{variant:?}, random {random}: {ours}, not {mean}");
    }
}

#[test]
fn presets_differ_where_paper_and_released_code_differ_and_nowhere_else() {
    let (released, paper) =
        (CartpoleSettings::preset(Preset::Released), CartpoleSettings::preset(Preset::Paper));
    assert_eq!(released.nominal, paper.nominal);
    assert_eq!((released.real.cart_mass, paper.real.cart_mass), (1.8, 2.0));
    let mut same = paper.clone();
    same.real.cart_mass = released.real.cart_mass;
    same.real.deadband_kind = released.real.deadband_kind;
    assert_eq!(same, released);
    // A force inside the deadband: raised to 0.05 N by one, zeroed by the other.
    for (preset, force) in [(Preset::Released, 0.05), (Preset::Paper, 0.0)] {
        let task = task(preset, Variant::Real);
        let next = |u: f64| {
            let mut x_next = dvector![0.0, 0.0, 0.0, 0.0];
            let x = dvector![0.0, 1.0, 0.3, -0.2];
            let plant = task.plant();
            plant.any_step(&mut plant.any_workspace(), &x, &dvector![u], &[], &mut x_next).unwrap();
            x_next
        };
        assert_eq!(next(0.01), next(force), "{preset:?}");
    }
}

#[test]
fn an_episode_ends_below_minus_ten_and_keeps_that_reward() {
    let task = task(Preset::Released, Variant::Real);
    let mut env = Environment::new(&task, None);
    env.restore(&dvector![23.5, PI, 0.0, 0.0], 0).unwrap();
    let step = env.step(&dvector![0.0]).unwrap();
    assert!(step.reward < -10.0);
    assert_eq!(step.end, Some(dynamics::End::Terminated));
}
