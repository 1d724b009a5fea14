//! Tasks that are sums of costs: costs, rewards, settings, objectives.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::f64::consts::PI;

use bench_tasks::{BenchTask, Preset, TaskError, Variant};
use dynamics::check::{BlockCheck, check_against_differences, check_against_duals, check_cost};
use dynamics::{
    CostExpansion, End, Environment, Move, Objective, RewardGradient, Stream, Task,
    difference_reward,
};
use nalgebra::{DMatrix, DVector};
use toml::{Table, Value};

/// The tasks made of optimal-control parts.
const TASKS: [&str; 6] =
    ["unicycle", "cartpole-gym", "pendulum-ddp", "double-pendulum", "car", "quadrotor"];

fn settings(name: &str) -> Table {
    (bench_tasks::find(name).unwrap().settings)(Preset::Released).unwrap()
}

fn build(name: &str, settings: &Table) -> Result<Box<dyn BenchTask>, TaskError> {
    (bench_tasks::find(name).unwrap().build)(Variant::Real, settings)
}

/// The task with one setting changed.
fn with(name: &str, key: &str, value: impl Into<Value>) -> Result<Box<dyn BenchTask>, TaskError> {
    let mut settings = settings(name);
    settings.insert(key.to_owned(), value.into()).unwrap();
    build(name, &settings)
}

fn stage(objective: &Objective<'_>, t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
    objective.stage.any_stage(&mut objective.stage.any_workspace(), t, x, u)
}

fn terminal(objective: &Objective<'_>, x: &DVector<f64>) -> f64 {
    objective.terminal.any_terminal(&mut objective.terminal.any_workspace(), x)
}

#[test]
fn costs_equal_their_differences() {
    for name in TASKS.into_iter().chain(["cartpole", "pendulum"]) {
        let task = build(name, &settings(name)).unwrap();
        let objective = task.objective().unwrap();
        for (x, u) in task.check_points(&mut Stream::new(1, "costs", 0), 20) {
            for t in [0, 1] {
                // The kink of angles that are wrapped.
                let wraps = name == "cartpole" && x[1].rem_euclid(2.0 * PI) < 1e-3;
                let wraps = wraps || name == "pendulum" && (x[0].abs() - PI).abs() < 1e-3;
                if wraps {
                    continue;
                }
                for block in check_cost(&objective.stage, t, &x, &u) {
                    assert!(block.error <= 1e-6, "{name}: {block:?}");
                }
            }
        }
        let (n, terminal_cost) = (objective.terminal.any_ndx(), objective.terminal);
        let x = DVector::from_fn(n, |i, _| 0.3 - 0.2 * i as f64);
        let expand = |x: &DVector<f64>| {
            let mut out = CostExpansion::zeros(n, 0);
            out.lx.fill(f64::NAN);
            out.lxx.fill(f64::NAN);
            let mut ws = terminal_cost.any_workspace();
            terminal_cost.any_expand_terminal(&mut ws, x, &mut out);
            assert_eq!(out.l, terminal(&objective, x));
            out
        };
        let (found, h) = (expand(&x), 1e-5);
        for i in 0..n {
            let (mut above, mut below) = (x.clone(), x.clone());
            above[i] += h;
            below[i] -= h;
            let (above, below) = (expand(&above), expand(&below));
            assert!(((above.l - below.l) / (2.0 * h) - found.lx[i]).abs() < 1e-7, "{name}");
            let column = (above.lx - below.lx) / (2.0 * h);
            assert!((column - found.lxx.column(i)).amax() < 1e-7, "{name}");
        }
    }
}

#[test]
fn costs_are_the_published_formulas() {
    let mut unicycle = settings("unicycle");
    unicycle.insert("state_weight".to_owned(), Value::Float(0.1));
    unicycle.insert("control_weight".to_owned(), Value::Float(0.2));
    let task = build("unicycle", &unicycle).unwrap();
    let objective = task.objective().unwrap();
    let (x, u) = (DVector::from_vec(vec![1.0, -2.0, 0.5]), DVector::from_vec(vec![3.0, -1.0]));
    assert!((stage(&objective, 7, &x, &u) - 0.5 * (0.01 * 5.25 + 0.04 * 10.0)).abs() < 1e-15);
    // The last weight follows that of the state.
    assert!((terminal(&objective, &x) - 0.5 * 0.01 * 5.25).abs() < 1e-15);

    let mut gym = settings("cartpole-gym");
    for (key, value) in [("state_weight", 2.0), ("control_weight", 0.5)] {
        gym.insert(key.to_owned(), Value::Float(value));
    }
    gym.insert("terminal_weight".to_owned(), vec![7.0].into());
    gym.insert("goal".to_owned(), vec![1.0, 0.0, 0.0, 0.0].into());
    let task = build("cartpole-gym", &gym).unwrap();
    let objective = task.objective().unwrap();
    let (x, u) = (DVector::from_vec(vec![2.0, 8.0, -1.0, 0.5]), DVector::from_vec(vec![3.0]));
    let squares = 1.0 + 64.0 + 1.0 + 0.25;
    assert!((stage(&objective, 0, &x, &u) - (2.0 * squares + 0.5 * 9.0)).abs() < 1e-12);
    assert!((terminal(&objective, &x) - 7.0 * squares).abs() < 1e-12);
}

#[test]
fn the_quadrotor_counts_controls_from_hover() {
    let task = build("quadrotor", &settings("quadrotor")).unwrap();
    let objective = task.objective().unwrap();
    let goal = DVector::zeros(12);
    assert_eq!(stage(&objective, 0, &goal, objective.us0), 0.0);
    let mut x_next = goal.clone();
    let plant = task.plant();
    plant.any_step(&mut plant.any_workspace(), &goal, objective.us0, &[], &mut x_next).unwrap();
    assert!(x_next.amax() < 1e-12, "{x_next}");
    assert!((objective.us0[0] - 14.4984).abs() < 1e-4);
    let limited = with("quadrotor", "u_max", vec![2.0]).unwrap();
    let limits = limited.objective().unwrap().control_limits.unwrap();
    assert!((limits.low[3] - 12.4984).abs() < 1e-4 && (limits.high[0] - 16.4984).abs() < 1e-4);
}

/// Rewards of an episode from x0 under the given controls, and minus the objective along it.
fn episode(task: &dyn Task, x0: &DVector<f64>, us: &[DVector<f64>]) -> (f64, f64) {
    let objective = task.objective().unwrap();
    let mut env = Environment::new(task, None);
    env.restore(x0, 0).unwrap();
    let (mut rewards, mut cost) = (0.0, 0.0);
    for (t, u) in us.iter().enumerate() {
        cost += stage(&objective, t, env.x(), u);
        let step = env.step(u).unwrap();
        rewards += step.reward;
        assert_eq!(step.end.is_some(), t + 1 == task.horizon());
    }
    cost += terminal(&objective, env.x());
    (rewards, -cost)
}

fn random_controls(task: &dyn Task, size: f64, stream: &mut Stream) -> Vec<DVector<f64>> {
    let us0 = task.objective().unwrap().us0.clone();
    let mut control = || us0.map(|u| u + stream.uniform(-size, size));
    (0..task.horizon()).map(|_| control()).collect()
}

#[test]
fn rewards_sum_to_minus_the_objective() {
    let mut stream = Stream::new(3, "episodes", 0);
    // What a reward of zero cost adds per step: 1 for the cartpole.
    let offsets = TASKS.map(|name| (name, 0.0)).into_iter();
    for (name, offset) in offsets.chain([("cartpole", 1.0), ("pendulum", 0.0)]) {
        let task = build(name, &settings(name)).unwrap();
        let x0 = task.objective().unwrap().x0.clone();
        // Small enough that no episode ends early.
        let size = if name == "quadrotor" { 0.01 } else { 0.5 };
        let us = random_controls(task.as_task(), size, &mut stream);
        let (rewards, objective) = episode(task.as_task(), &x0, &us);
        let expected = objective + offset * task.horizon() as f64;
        assert!((rewards - expected).abs() < 1e-9 * expected.abs(), "{name}: {rewards} {expected}");
    }
}

#[test]
fn the_gradient_of_the_last_reward_has_the_terminal_cost() {
    for name in TASKS {
        let task = with(name, "horizon", 3).unwrap();
        let mut stream = Stream::new(4, "gradients", 0);
        let mut scratch = task.reward_scratch();
        let points = task.check_points(&mut stream, 6);
        for (t, pair) in points.windows(2).enumerate() {
            let ((x, u), x_next) = (&pair[0], &pair[1].0);
            let m = Move { t, x, u, x_next };
            let (ndx, nu) = (task.plant().any_ndx(), u.len());
            let [mut found, mut expected] = [(); 2].map(|()| RewardGradient::zeros(ndx, nu));
            found.r_xnext.fill(f64::NAN);
            task.reward_gradient(&mut scratch, &m, &mut found);
            difference_reward(task.as_task(), &mut scratch, &m, &mut expected);
            for (found, expected) in [
                (&found.r_x, &expected.r_x),
                (&found.r_u, &expected.r_u),
                (&found.r_xnext, &expected.r_xnext),
            ] {
                let matrix =
                    |v: &DVector<f64>| DMatrix::from_column_slice(v.len(), 1, v.as_slice());
                let check = BlockCheck::compare("reward", &matrix(found), &matrix(expected));
                assert!(check.error <= 1e-6, "{name} at {t}: {check:?}");
            }
            assert_eq!(found.r_xnext.amax() > 0.0, t == 2, "{name} at {t}");
        }
    }
}

#[test]
fn episodes_end_for_good_and_nothing_is_discounted() {
    for name in TASKS {
        let task = with(name, "horizon", 2).unwrap();
        assert_eq!((task.discount(), task.time_limit()), (1.0, End::Terminated), "{name}");
        let mut env = Environment::new(task.as_task(), None);
        env.reset(&mut Stream::new(5, "reset", 0));
        let u = task.objective().unwrap().us0;
        assert_eq!(env.step(u).unwrap().end, None);
        assert_eq!(env.step(u).unwrap().end, Some(End::Terminated));
    }
}

#[test]
fn derivatives_equal_dual_numbers_and_differences() {
    for name in TASKS {
        let task = build(name, &settings(name)).unwrap();
        let points = task.check_points(&mut Stream::new(6, "points", 0), 40);
        assert_eq!(points.len(), 40);
        for checked in task.checked_models() {
            for (x, u) in &points {
                let oracle = checked.oracle.unwrap();
                for block in check_against_duals(checked.model, oracle, x, u).unwrap() {
                    assert!(block.error <= 1e-10, "{name}: {block:?}");
                }
                for block in check_against_differences(checked.model, x, u).unwrap() {
                    assert!(block.error <= 1e-6, "{name}: {block:?}");
                }
            }
        }
    }
}

#[test]
fn the_unicycle_scales_with_squared_weights_together() {
    let objective_at = |w_x: f64, w_u: f64| {
        let mut table = settings("unicycle");
        table.insert("state_weight".to_owned(), Value::Float(w_x));
        table.insert("control_weight".to_owned(), Value::Float(w_u));
        let task = build("unicycle", &table).unwrap();
        let us = random_controls(task.as_task(), 1.0, &mut Stream::new(7, "controls", 0));
        let x0 = task.objective().unwrap().x0.clone();
        episode(task.as_task(), &x0, &us).1
    };
    let (one, three) = (objective_at(0.1, 0.2), objective_at(0.3, 0.6));
    assert!((three / one - 9.0).abs() < 1e-12);
    let (state, control) = (objective_at(0.1, 0.0), objective_at(0.0, 0.2));
    assert!((one - state - control).abs() < 1e-12 * one.abs());
}

#[test]
fn a_quadrotor_that_tumbles_ends_its_episode() {
    let task = build("quadrotor", &settings("quadrotor")).unwrap();
    let mut env = Environment::new(task.as_task(), None);
    env.restore(task.objective().unwrap().x0, 0).unwrap();
    let mut u = task.objective().unwrap().us0.clone();
    u[0] += 0.1;
    u[1] += 0.1;
    let (t, last) = loop {
        let step = env.step(&u).unwrap();
        if step.end.is_some() {
            break (env.t(), step);
        }
    };
    assert!(t < task.horizon());
    assert_eq!((last.end, last.reward), (Some(End::Terminated), -100.0));
}

#[test]
fn a_roll_out_of_the_pendulum_does_not_clip() {
    let task = build("pendulum-ddp", &settings("pendulum-ddp")).unwrap();
    let mut env = Environment::new(task.as_task(), None);
    env.restore(&DVector::from_vec(vec![PI, 7.9]), 0).unwrap();
    env.step(&DVector::from_vec(vec![20.0])).unwrap();
    let rate = 7.9 + 0.05 * (15.0 * PI.sin() + 3.0 * 20.0);
    assert!((env.x()[1] - rate).abs() < 1e-12 && (env.x()[0] - PI - 0.05 * rate).abs() < 1e-12);
}

#[test]
fn settings_go_through_a_table_and_back() {
    for name in TASKS {
        let table = settings(name);
        for key in [
            "horizon",
            "dt",
            "state_weight",
            "control_weight",
            "terminal_weight",
            "goal",
            "u_max",
            "x0",
        ] {
            assert!(table.contains_key(key), "{name} has no `{key}`");
        }
        let text = toml::to_string(&table).unwrap();
        let again: Table = toml::from_str(&text).unwrap();
        assert_eq!(again, table);
        let task = build(name, &again).unwrap();
        let objective = task.objective().unwrap();
        let Value::Array(x0) = &table["x0"] else { panic!("{name}: x0 is no list") };
        assert!(x0.iter().map(|v| v.as_float().unwrap()).eq(objective.x0.iter().copied()));
        assert!(objective.control_limits.is_none());
        assert_eq!(task.state_names().len(), x0.len());
    }
}

#[test]
fn limits_are_those_of_solvers_and_learners() {
    let task = with("cartpole-gym", "u_max", vec![3.5]).unwrap();
    let limits = task.objective().unwrap().control_limits.unwrap();
    assert_eq!((&limits.low[..], &limits.high[..]), (&[-3.5][..], &[3.5][..]));
    assert_eq!(task.action_bounds(), limits);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let refusal =
        |key: &str, value: Value| with("unicycle", key, value).map(|_| ()).unwrap_err().to_string();
    let list = |values: &[f64]| Value::from(values.to_vec());
    for (key, value, message) in [
        ("horizon", 0.into(), "task `unicycle`: `horizon` is 0, but must be at least 1"),
        (
            "state_weight",
            (-1.0).into(),
            "task `unicycle`: `state_weight` is -1, but must be finite and not negative",
        ),
        (
            "terminal_weight",
            list(&[-2.0]),
            "task `unicycle`: `terminal_weight` is -2, but must be finite and not negative",
        ),
        (
            "u_max",
            list(&[0.0]),
            "task `unicycle`: `u_max` is 0, but must be positive and finite, or [] for no limit",
        ),
        ("goal", list(&[1.0, 2.0]), "task `unicycle`: `goal` has 2 entries, but needs 3"),
        ("x0", list(&[1.0, f64::NAN, 0.0]), "task `unicycle`: `x0` is NaN, but must be finite"),
        ("dt", 0.0.into(), "`unicycle`: dt is 0, but must be positive and finite, in seconds"),
    ] {
        assert_eq!(refusal(key, value), message);
    }
    assert!(refusal("u_max", list(&[1.0, 2.0])).contains("a list of no number or of one"));
}

#[test]
fn unknown_and_missing_keys_are_refused() {
    for name in TASKS {
        let mut table = settings(name);
        table.insert("state_wieght".to_owned(), Value::Float(1.0));
        let message = build(name, &table).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("state_wieght"), "{message}");
        let mut table = settings(name);
        table.remove("goal");
        let message = build(name, &table).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("goal"), "{message}");
    }
}
