//! Model predictive control: every tick the optimum, with any clock, pushes and limits.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::lq::{Lq, random_vector};
use common::{UnicycleProblem, swing_up};
use ddp::lqr::finite_horizon;
use ddp::{
    DdpError, Guess, Method, Mpc, MpcSettings, Problem, Settings, Solver, Status, TickSchedule,
};
use dynamics::{ActionBounds, QuadraticCost, Stream};
use nalgebra::{DVector, dvector};

const EVERY_NODE: TickSchedule = TickSchedule { steps_per_tick: 1, nodes_per_step: 1.0 };

#[test]
fn one_iteration_is_the_regulator_of_a_linear_quadratic_problem() {
    // The cost of each step is another; the plan sees 8 of 30.
    let (horizon, n_ticks) = (8, 20);
    let lq = Lq::random(4, 2, 30, 0);
    let problem = Problem::new(&lq, &lq, &lq, horizon);
    let settings =
        Settings { regularization: 1e-12, min_regularization: 1e-12, ..Settings::default() };
    let one = MpcSettings { iterations: 1, ..MpcSettings::default() };
    for method in Method::ALL {
        let u = DVector::zeros(2);
        let mut mpc = Mpc::new(problem, method, settings.clone(), one, &u).unwrap();
        let s = &mut Stream::new(0, "pushes", 0);
        let mut x = random_vector(s, 4);
        for tick in 0..n_ticks {
            mpc.tick(&x).unwrap();
            let stages = &lq.stages[tick..tick + horizon];
            let best = finite_horizon(stages, &lq.terminal, 1.0).unwrap();
            let expected = best.control(0, &x);
            assert!((mpc.u0() - &expected).amax() < 1e-8 * expected.amax().max(1.0), "{tick}");
            x = lq.next(&x, mpc.u0()) + random_vector(s, 4) * 0.3;
            mpc.shift(1).unwrap();
        }
    }
}

#[test]
fn without_disturbance_the_plan_is_followed() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let u = dvector![0.0, 0.0];
    let settings = MpcSettings::default();
    let mut mpc =
        Mpc::new(parts.problem(80), Method::Fddp, Settings::default(), settings, &u).unwrap();
    let x0 = dvector![-1.0, 0.5, 1.0];
    let run = mpc.run(&parts.dynamics, &x0, 60, EVERY_NODE, |_, _| {}).unwrap();
    assert_eq!(run.ticks[0].status, Status::Converged);
    assert!(run.ticks[1..].iter().all(|tick| tick.iterations <= 2));
    assert_eq!((run.xs.len(), run.us.len()), (61, 60));
    // Sideways it creeps.
    assert!(run.xs[60].amax() < 0.25, "{}", run.xs[60]);
    // What is left to pay falls.
    assert!(run.ticks.windows(2).all(|pair| pair[1].cost < pair[0].cost));
}

#[test]
fn a_push_is_recovered_from_within_the_limits() {
    // Costs of the way, not of its end, lest it put off what the end asks for.
    let cost = QuadraticCost::new(vec![0.0; 2], vec![1.0, 0.1], vec![0.01]).unwrap();
    let parts = swing_up::SwingUp { cost, ..swing_up::pendulum() };
    let u = dvector![0.0];
    for method in [Method::BoxDdp, Method::BoxFddp] {
        let settings = MpcSettings { iterations: 5, ..MpcSettings::default() };
        let first = Settings { max_iterations: 500, ..Settings::default() };
        let mut mpc = Mpc::new(parts.limited(), method, first, settings, &u).unwrap();
        let push = |tick: usize, x: &mut DVector<f64>| {
            if tick == 30 {
                x[1] += 0.5;
            }
        };
        let run = mpc.run(&parts.dynamics, &dvector![0.2, 0.0], 120, EVERY_NODE, push).unwrap();
        assert!(run.us.iter().all(|u| u.amax() <= 2.0));
        assert!(run.xs[120].amax() < 0.05, "{}", run.xs[120]);
    }
}

#[test]
fn feedback_between_ticks_is_that_of_the_plan() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let zero = dvector![0.0, 0.0];
    let settings = MpcSettings::default();
    let mut mpc =
        Mpc::new(parts.problem(20), Method::Fddp, Settings::default(), settings, &zero).unwrap();
    let tick = mpc.tick(&dvector![-1.0, 0.5, 1.0]).unwrap();
    let plan = mpc.solution(&tick).unwrap();
    let mut u = zero.clone();
    let off = dvector![0.01, -0.02, 0.03];
    for (time, t, share) in [(0.0, 0, 0.0), (0.25, 0, 0.25), (3.5, 3, 0.5), (99.0, 19, 1.0)] {
        let reference = &plan.xs[t] * (1.0 - share) + &plan.xs[t + 1] * share;
        mpc.control(time, &(reference + &off), &mut u).unwrap();
        let expected = &plan.us[t] + &plan.gains[t] * &off;
        assert!((&u - expected).amax() < 1e-12, "{time}");
    }
}

/// Where 100 ticks lead from the start of the test below.
fn mpc_run_with_a_tick_per_node(parts: &UnicycleProblem) -> DVector<f64> {
    let (u, settings) = (dvector![0.0, 0.0], MpcSettings::default());
    let mut mpc =
        Mpc::new(parts.problem(50), Method::Fddp, Settings::default(), settings, &u).unwrap();
    let x0 = dvector![-1.0, 0.5, 1.0];
    mpc.run(&parts.dynamics, &x0, 100, EVERY_NODE, |_, _| {}).unwrap().xs[100].clone()
}

#[test]
fn ticks_may_be_shorter_than_nodes() {
    // Four ticks per node: the plan moves on at every fourth.
    let parts = UnicycleProblem::new(1.0, 1.0);
    let fine = dynamics::Euler::new(dynamics::models::Unicycle, 0.025).unwrap();
    let u = dvector![0.0, 0.0];
    let settings = MpcSettings::default();
    let mut mpc =
        Mpc::new(parts.problem(50), Method::Fddp, Settings::default(), settings, &u).unwrap();
    let schedule = TickSchedule { steps_per_tick: 1, nodes_per_step: 0.25 };
    let run = mpc.run(&fine, &dvector![-1.0, 0.5, 1.0], 400, schedule, |_, _| {}).unwrap();
    assert_eq!(run.us.len(), 400);
    let coarse = mpc_run_with_a_tick_per_node(&parts);
    assert!((&run.xs[400] - coarse).amax() < 0.05, "{}", run.xs[400]);
}

#[test]
fn settings_and_states_that_do_not_fit_are_refused() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let u = dvector![0.0, 0.0];
    let make =
        |settings| Mpc::new(parts.problem(20), Method::Fddp, Settings::default(), settings, &u);
    let none = MpcSettings { iterations: 0, ..MpcSettings::default() };
    assert!(matches!(make(none).err(), Some(DdpError::Setting { key: "iterations", .. })));
    let mut mpc = make(MpcSettings::default()).unwrap();
    let x = dvector![-1.0, 0.5, 1.0];
    mpc.tick(&x).unwrap();
    let plan = mpc.us().to_vec();
    assert!(mpc.tick(&dvector![1.0]).is_err());
    assert!(mpc.tick(&dvector![f64::NAN, 0.0, 0.0]).is_err());
    assert!(mpc.control(0.0, &x, &mut dvector![0.0]).is_err());
    assert_eq!(mpc.us(), plan);
}

fn limited_unicycle(ticks: usize, iterations: usize) -> (f64, f64) {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds::symmetric(2, 0.3);
    let problem = Problem { control_limits: Some(&limits), ..parts.problem(50) };
    let (x, u) = (dvector![-1.0, -1.0, 1.0], dvector![0.0, 0.0]);
    let settings = Settings { max_iterations: 1000, stop: 1e-13, ..Settings::default() };
    let mut solver = Solver::new(problem, Method::BoxFddp, settings.clone()).unwrap();
    let best = solver.solve(&x, Guess::Repeat(&u)).unwrap().cost;
    let first = Settings { max_iterations: 1, ..settings };
    let tick = MpcSettings { iterations, ..MpcSettings::default() };
    let mut mpc = Mpc::new(problem, Method::BoxFddp, first, tick, &u).unwrap();
    let costs: Vec<_> = (0..ticks).map(|_| mpc.tick(&x).unwrap().cost).collect();
    (costs[ticks - 1], best)
}

#[test]
fn ticks_within_limits_at_one_state_reach_the_optimum() {
    for iterations in [1, 2] {
        let (reached, best) = limited_unicycle(40, iterations);
        assert!((reached - best).abs() < 1e-6, "{iterations}: {reached} {best}");
    }
}

#[test]
fn a_shifted_plan_ends_with_the_gains_of_its_last_node() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let u = dvector![0.0, 0.0];
    let problem = parts.problem(10);
    let mut mpc =
        Mpc::new(problem, Method::Fddp, Settings::default(), MpcSettings::default(), &u).unwrap();
    mpc.tick(&dvector![-1.0, -1.0, 1.0]).unwrap();
    let feedback = |mpc: &mut Mpc<'_, _, _, _>, t: usize| {
        let (mut moved, mut u) = (mpc.xs()[t].clone(), dvector![0.0, 0.0]);
        moved[2] += 0.1;
        mpc.control(t as f64, &moved, &mut u).unwrap();
        u - &mpc.us()[t]
    };
    let last = feedback(&mut mpc, 9);
    mpc.shift(1).unwrap();
    assert!((feedback(&mut mpc, 9) - &last).amax() < 1e-12);
    assert!((feedback(&mut mpc, 8) - last).amax() < 1e-12);
}

#[test]
fn controls_without_a_plan_or_a_time_are_refused() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let (x, mut u) = (dvector![-1.0, -1.0, 1.0], dvector![0.0, 0.0]);
    let settings = || (Settings::default(), MpcSettings::default());
    let (first, tick) = settings();
    let mut mpc = Mpc::new(parts.problem(10), Method::Fddp, first, tick, &u.clone()).unwrap();
    assert_eq!(mpc.control(0.0, &x, &mut u), Err(DdpError::NoPlan));
    mpc.tick(&x).unwrap();
    assert!(mpc.control(f64::NAN, &x, &mut u).is_err());
    let (first, tick) = settings();
    let wrong = Mpc::new(parts.problem(10), Method::Fddp, first, tick, &dvector![0.0]);
    assert!(wrong.is_err());
}
