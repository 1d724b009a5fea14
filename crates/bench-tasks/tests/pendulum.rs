//! The pendulum task against the equations of Gymnasium's `Pendulum-v1`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::f64::consts::PI;

use bench_tasks::{BenchTask, Pendulum, PendulumSettings, Variant};
use dynamics::check::{
    check_against_differences, check_against_duals, check_rollout_against_duals,
};
use dynamics::{End, Environment, Stream, Task};
use nalgebra::{DMatrix, dvector};

fn task() -> Pendulum {
    Pendulum::new(Variant::Real, &PendulumSettings::default()).unwrap()
}

/// One step of Pendulum-v1, written down independently.
fn gymnasium([theta, rate]: [f64; 2], u: f64) -> ([f64; 2], f64) {
    let u = u.clamp(-2.0, 2.0);
    let normalized = (theta + PI).rem_euclid(2.0 * PI) - PI;
    let cost = normalized * normalized + 0.1 * rate * rate + 0.001 * u * u;
    let rate = (rate + (15.0 * theta.sin() + 3.0 * u) * 0.05).clamp(-8.0, 8.0);
    ([theta + rate * 0.05, rate], -cost)
}

#[test]
fn steps_and_rewards_are_those_of_gymnasium() {
    let task = task();
    let mut stream = Stream::new(2, "pendulum", 0);
    let mut env = Environment::new(&task, None);
    for _ in 0..20 {
        env.reset(&mut stream);
        let mut x = [env.x()[0], env.x()[1]];
        for t in 0..200 {
            let u = stream.uniform(-3.0, 3.0);
            let step = env.step(&dvector![u]).unwrap();
            let (next, reward) = gymnasium(x, u);
            assert!((step.reward - reward).abs() < 1e-12 * reward.abs().max(1.0));
            assert!((env.x()[0] - next[0]).abs() < 1e-12 && (env.x()[1] - next[1]).abs() < 1e-12);
            assert_eq!(step.end, (t == 199).then_some(End::Truncated));
            x = [env.x()[0], env.x()[1]];
        }
    }
}

#[test]
fn derivatives_equal_dual_numbers_and_differences() {
    let task = task();
    let mut stream = Stream::new(3, "pendulum", 0);
    for checked in task.checked_models() {
        let oracle = checked.oracle.unwrap();
        for (x, u) in task.check_points(&mut stream, 500) {
            for block in check_against_duals(checked.model, oracle, &x, &u).unwrap() {
                assert!(block.error <= 1e-10, "{block:?}");
            }
            for block in check_against_differences(checked.model, &x, &u).unwrap() {
                assert!(block.error <= 1e-6, "{block:?}");
            }
        }
        let us: Vec<_> = (0..50).map(|_| dvector![stream.uniform(-2.5, 2.5)]).collect();
        for block in
            check_rollout_against_duals(checked.model, oracle, &dvector![3.0, 0.5], &us).unwrap()
        {
            assert!(block.error <= 1e-9, "{block:?}");
        }
    }
}

#[test]
fn the_observation_has_the_jacobian_of_differences() {
    let task = task();
    let observation = task.observation();
    let mut ox = DMatrix::zeros(3, 2);
    let x = dvector![0.7, -1.3];
    observation.jacobian().unwrap().linearize(&x, &mut ox);
    for column in 0..2 {
        let at = |h: f64| {
            let mut moved = x.clone();
            moved[column] += h;
            let mut o = [0.0; 3];
            observation.observe(&moved, &mut o);
            o
        };
        let (above, below) = (at(1e-5), at(-1e-5));
        for row in 0..3 {
            assert!(((above[row] - below[row]) / 2e-5 - ox[(row, column)]).abs() < 1e-9);
        }
    }
}
