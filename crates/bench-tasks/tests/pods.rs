//! The pendulums of PODS: settings, starts, rewards, derivatives, and costs against the numbers of an
//! independent prototype.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::error::Error as _;
use std::f64::consts::FRAC_PI_3;

use bench_tasks::{BenchTask, PodsMeter, PodsSettings, Preset, TaskError, Variant, test_starts};
use ddp::{Guess, Method, Problem, Settings, Solver};
use dynamics::check::{BlockCheck, check_against_differences, check_cost};
use dynamics::mass_spring::{Integration, Layout, MassSpring, hanging, pendulum};
use dynamics::{
    CostExpansion, End, Environment, Move, RewardGradient, Stream, Task, difference_reward,
};
use nalgebra::{DMatrix, DVector};
use toml::{Table, Value};

const STOP: [&str; 3] = ["pods-2d-stop", "pods-3d-stop", "pods-double-stop"];
const ORIGIN: [&str; 3] = ["pods-2d-origin", "pods-3d-origin", "pods-double-origin"];

fn names() -> impl Iterator<Item = &'static str> {
    STOP.into_iter().chain(ORIGIN)
}

fn table(name: &str) -> Table {
    (bench_tasks::find(name).unwrap().settings)(Preset::Released).unwrap()
}

fn settings(name: &str) -> PodsSettings {
    table(name).try_into().unwrap()
}

fn build(name: &str, table: &Table) -> Result<Box<dyn BenchTask>, TaskError> {
    (bench_tasks::find(name).unwrap().build)(Variant::Real, table)
}

fn task(name: &str) -> Box<dyn BenchTask> {
    build(name, &table(name)).unwrap()
}

fn with(name: &str, key: &str, value: impl Into<Value>) -> Result<Box<dyn BenchTask>, TaskError> {
    let mut table = table(name);
    table.insert(key.to_owned(), value.into()).unwrap();
    build(name, &table)
}

/// The model of a task, to look at its states.
fn model(name: &str) -> MassSpring {
    let settings = settings(name);
    let PodsSettings { scheme, startup, .. } = settings;
    let integration = Integration { scheme, startup, dt: settings.common.dt };
    MassSpring::new(pendulum(settings.common.goal.len(), &settings.links()), integration).unwrap()
}

fn part(x: &DVector<f64>, range: std::ops::Range<usize>) -> DVector<f64> {
    x.rows(range.start, range.len()).into_owned()
}

/// The state without its flag, which costs know nothing of.
fn tangent(x: &DVector<f64>, layout: Layout) -> DVector<f64> {
    part(x, 0..layout.ndx())
}

/// Sum of the rewards of an episode and what remains of its state.
fn episode(task: &dyn Task, x0: &DVector<f64>, us: &[DVector<f64>]) -> (f64, DVector<f64>) {
    let mut env = Environment::new(task, None);
    env.restore(x0, 0).unwrap();
    let mut sum = 0.0;
    for (t, u) in us.iter().enumerate() {
        let step = env.step(u).unwrap();
        sum += step.reward;
        assert_eq!(step.end, (t + 1 == task.horizon()).then_some(End::Terminated));
    }
    (sum, env.x().clone())
}

fn idle(task: &dyn Task) -> Vec<DVector<f64>> {
    vec![DVector::zeros(task.plant().any_nu()); task.horizon()]
}

#[test]
fn the_sizes_are_those_of_the_paper() {
    let sizes = [(2, 2, 6), (3, 3, 9), (3, 6, 15)];
    for names in [STOP, ORIGIN] {
        for (name, (handle, n, observed)) in names.into_iter().zip(sizes) {
            let task = task(name);
            let (nx, nu) = (task.plant().any_nx(), task.plant().any_nu());
            assert_eq!((nx, nu), (4 * n + handle + 1, handle), "{name}");
            assert_eq!(task.plant().any_ndx(), nx - 1);
            assert_eq!(task.state_names().len(), nx);
            assert_eq!(task.observation().n_observations(nx), observed);
            assert_eq!((task.horizon(), task.dt(), task.discount()), (100, 1.0 / 60.0, 1.0));
            assert_eq!(task.time_limit(), End::Terminated);
            let limits = task.objective().unwrap().control_limits.unwrap();
            assert_eq!((&limits.high, &limits.low), (&vec![2.0; nu], &vec![-2.0; nu]));
            assert_eq!(task.action_bounds(), limits);
        }
    }
    assert_eq!(
        task("pods-2d-stop").state_names().join(", "),
        "mass 1 x [m], mass 1 y [m], mass 1 before x [m], mass 1 before y [m], mass 1 vx [m/s], \
         mass 1 vy [m/s], mass 1 before vx [m/s], mass 1 before vy [m/s], handle x [m], handle y [m], \
         waits for first step"
    );
}

#[test]
fn a_policy_sees_handle_positions_and_velocities() {
    for name in names() {
        let (task, layout) = (task(name), model(name).layout());
        let x = test_starts(task.as_task(), 1).remove(0);
        let mut seen = vec![f64::NAN; layout.n_handle_coordinates + 2 * layout.n];
        task.observation().observe(&x, &mut seen);
        let expected: Vec<f64> = [layout.handles(), layout.positions(), layout.velocities()]
            .into_iter()
            .flat_map(|range| part(&x, range).as_slice().to_vec())
            .collect();
        assert_eq!(seen, expected);
        let mut jacobian = DMatrix::repeat(seen.len(), layout.ndx(), f64::NAN);
        task.observation().jacobian().unwrap().linearize(&x, &mut jacobian);
        assert_eq!((&jacobian * tangent(&x, layout)).as_slice(), seen);
    }
}

#[test]
fn a_chain_that_hangs_at_the_origin_costs_nothing_and_stays() {
    for name in names() {
        let (settings, model, task) = (settings(name), model(name), task(name));
        let layout = model.layout();
        let (d, n) = (layout.n_handle_coordinates, layout.n);
        let resting = hanging(d, &settings.links(), &vec![0.0; d]).unwrap();
        // The static stretch: each spring carries everything below it.
        let n_links = settings.masses.len();
        let stretch: f64 = (1..=n_links).map(|below| below as f64 * 9.81 / 1e4).sum();
        assert!((resting[n - 1] + 0.5 * n_links as f64 + stretch).abs() < 1e-12);
        let x0 = model.state(&resting, &vec![0.0; n], &vec![0.0; d]).unwrap();
        let (sum, last) = episode(task.as_task(), &x0, &idle(task.as_task()));
        assert!((-1e-15..=0.0).contains(&sum), "{name}: {sum}");
        let drift = (tangent(&last, layout) - tangent(&x0, layout)).amax();
        assert!(drift < 1e-9, "{name}: {drift}");
    }
}

#[test]
fn the_reward_is_the_formula() {
    let weights = [("handle_weight", 0.3), ("mass_weight", 0.5), ("velocity_weight", 0.7)];
    for name in names() {
        let mut table = table(name);
        for (key, value) in weights.into_iter().chain([("control_weight", 0.2)]) {
            table.insert(key.to_owned(), Value::Float(value));
        }
        table.insert("terminal_weight".to_owned(), vec![4.0].into());
        table.insert("horizon".to_owned(), 2.into());
        let (task, layout) = (build(name, &table).unwrap(), model(name).layout());
        let starts = test_starts(task.as_task(), 2);
        let (x, x_next) = (&starts[0], &starts[1]);
        let d = layout.n_handle_coordinates;
        let u = DVector::from_fn(d, |i, _| 1.0 - 0.7 * i as f64);
        let target = hanging(d, &settings(name).links(), &vec![0.0; d]).unwrap();
        let state_terms = |x: &DVector<f64>| {
            0.3 * part(x, layout.handles()).norm_squared()
                + 0.5
                    * (part(x, layout.positions()) - DVector::from_vec(target.clone()))
                        .norm_squared()
                + 0.7 * part(x, layout.velocities()).norm_squared()
        };
        for (t, last) in [(0, 0.0), (1, 4.0 * state_terms(x_next))] {
            let m = Move { t, x, u: &u, x_next };
            let found = task.reward(&mut task.reward_scratch(), &m);
            let expected = -state_terms(x) - 0.2 * u.norm_squared() - last;
            assert!(
                (found - expected).abs() < 1e-13 * expected.abs(),
                "{name}: {found} {expected}"
            );
        }
    }
}

#[test]
fn rewards_sum_to_minus_the_objective() {
    for name in names() {
        let task = task(name);
        let objective = task.objective().unwrap();
        let (mut ws, mut terminal_ws) =
            (objective.stage.any_workspace(), objective.terminal.any_workspace());
        let mut stream = Stream::new(1, "controls", 0);
        let mut us = idle(task.as_task());
        us.iter_mut().for_each(|u| task.action_bounds().sample(&mut stream, u.as_mut_slice()));
        let x0 = test_starts(task.as_task(), 1).remove(0);
        let (sum, last) = episode(task.as_task(), &x0, &us);
        let mut env = Environment::new(task.as_task(), None);
        env.restore(&x0, 0).unwrap();
        let mut cost = objective.terminal.any_terminal(&mut terminal_ws, &last);
        for (t, u) in us.iter().enumerate() {
            cost += objective.stage.any_stage(&mut ws, t, env.x(), u);
            env.step(u).unwrap();
        }
        assert!((sum + cost).abs() < 1e-12 * cost, "{name}: {sum} {cost}");
    }
}

#[test]
fn derivatives_of_rewards_and_costs_equal_differences() {
    for name in names() {
        let (task, layout) = (with(name, "horizon", 2).unwrap(), model(name).layout());
        let (ndx, nu) = (layout.ndx(), layout.n_handle_coordinates);
        let objective = task.objective().unwrap();
        let points = task.check_points(&mut Stream::new(2, "rewards", 0), 8);
        for (t, pair) in points.windows(2).enumerate() {
            let ((x, u), x_next) = (&pair[0], &pair[1].0);
            let m = Move { t: t % 2, x, u, x_next };
            let [mut found, mut expected] = [(); 2].map(|()| RewardGradient::zeros(ndx, nu));
            for block in [&mut found.r_x, &mut found.r_u, &mut found.r_xnext] {
                block.fill(f64::NAN);
            }
            let mut scratch = task.reward_scratch();
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
            let last_pays = found.r_xnext.amax() > 0.0;
            assert_eq!(last_pays, t % 2 == 1, "{name} at {t}");
            for block in check_cost(&objective.stage, t, &tangent(x, layout), u) {
                assert!(block.error <= 1e-6, "{name}: {block:?}");
            }
            // The terminal cost has the state's terms of the stage cost.
            let [mut stage, mut terminal] = [(); 2].map(|()| CostExpansion::zeros(ndx, nu));
            let still = DVector::zeros(nu);
            let mut ws = objective.stage.any_workspace();
            objective.stage.any_expand_stage(&mut ws, t, x, &still, &mut stage);
            let mut ws = objective.terminal.any_workspace();
            objective.terminal.any_expand_terminal(&mut ws, x, &mut terminal);
            assert_eq!((stage.l, &stage.lx, &stage.lxx), (terminal.l, &terminal.lx, &terminal.lxx));
        }
    }
}

#[test]
fn derivatives_of_steps_equal_differences_before_and_after_the_first_step() {
    for name in names() {
        let (task, flag) = (task(name), model(name).layout().flag().unwrap());
        let points = task.check_points(&mut Stream::new(3, "points", 0), 30);
        let n_starts = points.iter().filter(|(x, _)| x[flag] == 1.0).count();
        assert!((2..20).contains(&n_starts), "{name}: {n_starts} of 30 points are starts");
        for checked in task.checked_models() {
            for (x, u) in &points {
                for block in check_against_differences(checked.model, x, u).unwrap() {
                    assert!(block.error <= 1e-6, "{name}: {block:?}");
                }
            }
        }
    }
}

/// Directions and relative velocities of the links, and the handle.
fn links(layout: Layout, x: &DVector<f64>) -> Vec<(DVector<f64>, DVector<f64>)> {
    let d = layout.n_handle_coordinates;
    let mut upper = (part(x, layout.handles()), DVector::zeros(d));
    let place = |i: usize| {
        let at =
            |range: std::ops::Range<usize>| part(x, range.start + d * i..range.start + d * (i + 1));
        (at(layout.positions()), at(layout.velocities()))
    };
    let link = |i| {
        let lower = place(i);
        let relative = (&lower.0 - &upper.0, &lower.1 - &upper.1);
        upper = lower;
        relative
    };
    (0..layout.n / d).map(link).collect()
}

#[test]
fn starts_fill_their_bounds() {
    for name in names() {
        let (task, settings, layout) = (task(name), settings(name), model(name).layout());
        let d = layout.n_handle_coordinates;
        let (mut handle, mut cosines, mut speeds) = (Vec::new(), Vec::new(), Vec::new());
        for x in test_starts(task.as_task(), 1000) {
            handle.extend_from_slice(part(&x, layout.handles()).as_slice());
            for (w, v) in links(layout, &x) {
                // Across the link.
                assert!(w.dot(&v).abs() < 1e-12, "{name}");
                cosines.push(-w[d - 1] / w.norm());
                speeds.push(v.norm() / settings.start_speed);
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let most = |values: &[f64]| values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let spread = if name.ends_with("stop") { 0.0 } else { 1.0 };
        assert!(most(&handle) <= spread && most(&handle) >= 0.99 * spread, "{name}");
        assert!(mean(&handle).abs() < 0.05);
        let least = cosines.iter().copied().fold(1.0_f64, f64::min);
        assert!((0.5 - 1e-12..0.51).contains(&least), "{name}: {least}");
        assert!(most(&speeds) <= 1.0 + 1e-12 && most(&speeds) > 0.99, "{name}");
        // Means: of cos θ for θ uniform in ±60° and for a uniform cap; of |U(−1, 1)| and of √U(0, 1).
        let (cosine, speed) = match d {
            2 => (FRAC_PI_3.sin() / FRAC_PI_3, 0.5),
            _ => (0.75, 2.0 / 3.0),
        };
        assert!((mean(&cosines) - cosine).abs() < 0.015, "{name}: {}", mean(&cosines));
        assert!((mean(&speeds) - speed).abs() < 0.03, "{name}: {}", mean(&speeds));
    }
}

#[test]
fn starts_are_in_axial_balance() {
    for name in names() {
        let (task, model) = (task(name), model(name));
        let (layout, d) = (model.layout(), model.layout().n_handle_coordinates);
        for x in test_starts(task.as_task(), 50) {
            let [r, v, p] = [layout.positions(), layout.velocities(), layout.handles()]
                .map(|range| part(&x, range).as_slice().to_vec());
            let a = DVector::from_vec(model.acceleration(&r, &v, &p));
            let mut upper = DVector::zeros(d);
            for (i, (w, v)) in links(layout, &x).into_iter().enumerate() {
                let lower = part(&a, d * i..d * (i + 1));
                let along = w.dot(&(&lower - &upper)) / w.norm();
                let balance = along + v.norm_squared() / w.norm();
                // Exact for one link; a second one pulls sideways. The rest length would leave
                // about 10 m/s² in the first and 20 m/s² in the second case.
                let bound = if layout.n == d { 1e-9 } else { 20.0 };
                assert!(balance.abs() < bound, "{name}: link {i} {balance}");
                upper = lower;
            }
        }
    }
}

#[test]
fn test_starts_are_the_same_each_time_and_begin_alike() {
    for name in names() {
        let task = task(name);
        let (few, many) = (test_starts(task.as_task(), 3), test_starts(task.as_task(), 10));
        assert_eq!(few, many[..3]);
        assert_ne!(many[0], many[1]);
        assert_eq!(few, test_starts(build(name, &table(name)).unwrap().as_task(), 3));
    }
}

/// Mean costs without actions and with those of a solver, over some starts.
fn calibration(name: &str) -> [f64; 2] {
    const N: usize = 12;
    let task = task(name);
    let objective = task.objective().unwrap();
    let model = task.nominal();
    let problem = Problem {
        dynamics: &model,
        cost: &objective.stage,
        terminal: &objective.terminal,
        horizon: task.horizon(),
        discount: 1.0,
        control_limits: objective.control_limits,
    };
    let settings = Settings { max_iterations: 50, ..Settings::default() };
    let mut solver = Solver::new(problem, Method::BoxFddp, settings).unwrap();
    let mut sums = [0.0; 2];
    for x0 in test_starts(task.as_task(), N) {
        let idle = idle(task.as_task());
        sums[0] -= episode(task.as_task(), &x0, &idle).0;
        let solution = solver.solve(&x0, Guess::Controls(&idle)).unwrap();
        let (reward, _) = episode(task.as_task(), &x0, &solution.us);
        assert!((reward + solution.cost).abs() < 1e-9 * solution.cost.max(1.0), "{name}");
        sums[1] += solution.cost;
    }
    sums.map(|sum| sum / N as f64)
}

#[test]
fn costs_are_of_the_size_of_an_independent_prototype() {
    // A prototype with springs that start at their rest length, means of 3 to 12 starts.
    for (name, expected) in [
        ("pods-2d-stop", [116.0, 11.9]),
        ("pods-3d-stop", [166.0, 16.4]),
        ("pods-double-stop", [406.0, 129.0]),
        ("pods-2d-origin", [890.0, 226.0]),
        ("pods-3d-origin", [1340.0, 384.0]),
        ("pods-double-origin", [1185.0, 381.0]),
    ] {
        let found = calibration(name);
        println!("{name} {found:?} {expected:?}");
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((0.4..2.5).contains(&(found / expected)), "{name}: {found} {expected}");
        }
    }
}

#[test]
fn the_meter_shows_energy_and_distance() {
    let name = "pods-double-origin";
    let (settings, model) = (settings(name), model(name));
    let meter = PodsMeter::new(name, &settings).unwrap();
    let mut x = hanging(3, &settings.links(), &[0.0; 3]).unwrap();
    let at_rest = model.state(&x, &[0.0; 6], &[0.0; 3]).unwrap();
    assert_eq!((meter.kinetic_energy(&at_rest), meter.distance(&at_rest)), (0.0, 0.0));
    x[0] += 0.3;
    x[1] += 0.4;
    x[5] -= 1.0;
    let state = model.state(&x, &[1.0, 0.0, 2.0, 0.0, 0.0, -3.0], &[0.0; 3]).unwrap();
    assert!((meter.kinetic_energy(&state) - 7.0).abs() < 1e-12);
    assert!((meter.distance(&state) - 0.75).abs() < 1e-12);
}

#[test]
fn variants_and_schemes_are_at_choice() {
    for name in names() {
        let entry = bench_tasks::find(name).unwrap();
        let nominal = (entry.build)(Variant::Nominal, &table(name)).unwrap();
        let real = task(name);
        let x0 = test_starts(real.as_task(), 1).remove(0);
        let us = idle(real.as_task());
        assert_eq!(episode(real.as_task(), &x0, &us), episode(nominal.as_task(), &x0, &us));
        let bdf1 = with(name, "scheme", "bdf1").unwrap();
        assert_eq!(bdf1.plant().any_nx(), real.plant().any_ndx());
        let second_order = with(name, "startup", "second_order").unwrap();
        assert_eq!(second_order.plant().any_nx(), real.plant().any_ndx());
        // BDF1 loses the energy that BDF2 keeps.
        let cost = |task: &dyn BenchTask| {
            let x0 = test_starts(task.as_task(), 1).remove(0);
            -episode(task.as_task(), &x0, &idle(task.as_task())).0
        };
        if name.ends_with("stop") {
            assert!(cost(&*bdf1) < 0.8 * cost(&*real), "{name}");
            assert!((cost(&*second_order) / cost(&*real) - 1.0).abs() < 0.1, "{name}");
        }
    }
}

#[test]
fn solvers_start_inclined_or_where_they_are_told() {
    let origin = task("pods-3d-origin");
    let x0 = origin.objective().unwrap().x0.clone();
    let layout = model("pods-3d-origin").layout();
    assert_eq!(part(&x0, layout.handles()).as_slice(), [1.0, 0.0, 0.0]);
    let (w, v) = links(layout, &x0).remove(0);
    assert!((w[0] / w.norm() - FRAC_PI_3.sin()).abs() < 1e-12 && w[1] == 0.0 && w[2] < 0.0);
    assert_eq!(v.amax(), 0.0);
    let given: Vec<f64> = (0..16).map(|i| 0.1 * f64::from(i)).collect();
    let told = with("pods-3d-origin", "x0", given.clone()).unwrap();
    assert_eq!(told.objective().unwrap().x0.as_slice(), given);
}

#[test]
fn nonsense_is_refused_by_name() {
    let refusal = |key: &str, value: Value| {
        let error = with("pods-2d-stop", key, value).map(|_| ()).unwrap_err();
        error.source().map_or(error.to_string(), |source| format!("{error}: {source}"))
    };
    let list = |values: &[f64]| Value::from(values.to_vec());
    let network = "task `pods-2d-stop`: the mass-spring network cannot be built: ";
    for (key, value, message) in [
        ("horizon", 0.into(), "task `pods-2d-stop`: `horizon` is 0, but must be at least 1"),
        (
            "handle_weight",
            (-1.0).into(),
            "task `pods-2d-stop`: `handle_weight` is -1, but must be finite and not negative",
        ),
        (
            "control_weight",
            f64::NAN.into(),
            "task `pods-2d-stop`: `control_weight` is NaN, but must be finite and not negative",
        ),
        (
            "start_angle",
            4.0.into(),
            "task `pods-2d-stop`: `start_angle` is 4, but must be between 0 and π",
        ),
        (
            "start_speed",
            f64::INFINITY.into(),
            "task `pods-2d-stop`: `start_speed` is inf, but must be finite and not negative",
        ),
        ("lengths", list(&[0.5; 2]), "task `pods-2d-stop`: `lengths` has 2 entries, but needs 1"),
        (
            "lengths",
            list(&[0.0]),
            "task `pods-2d-stop`: `lengths` is 0, but must be positive and finite in every entry",
        ),
        ("goal", list(&[0.0; 3]), "task `pods-2d-stop`: `goal` has 3 entries, but needs 2"),
        ("x0", list(&[0.0; 3]), "task `pods-2d-stop`: `x0` has 3 entries, but needs 11"),
        (
            "masses",
            list(&[-1.0]),
            &format!("{network}entry 0 of `masses` is -1, but must be positive and finite"),
        ),
        (
            "stiffness",
            0.0.into(),
            &format!("{network}entry 0 of `stiffness` is 0, but must be positive and finite"),
        ),
        (
            "damping",
            (-1.0).into(),
            &format!("{network}entry 0 of `damping` is -1, but must be finite and not negative"),
        ),
        (
            "dt",
            0.0.into(),
            &format!("{network}entry 0 of `dt` is 0, but must be positive and finite"),
        ),
    ] {
        assert_eq!(refusal(key, value), message);
    }
    assert!(refusal("scheme", "bdf3".into()).contains("bdf3"));
    let mut no_masses = table("pods-2d-stop");
    for key in ["masses", "lengths"] {
        no_masses.insert(key.to_owned(), list(&[]));
    }
    let error = build("pods-2d-stop", &no_masses).map(|_| ()).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "a network needs at least one mass");
}

#[test]
fn settings_go_through_a_table_and_back() {
    for name in names() {
        let table = table(name);
        let text = toml::to_string(&table).unwrap();
        assert_eq!(toml::from_str::<Table>(&text).unwrap(), table);
        let typed = settings(name);
        assert_eq!(Table::try_from(&typed).unwrap(), table);
        let free = with(name, "u_max", Vec::<f64>::new()).unwrap();
        assert!(free.objective().unwrap().control_limits.is_none());
    }
}
