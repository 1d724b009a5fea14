//! Models that fail, limits that are reached, and arguments that do not fit.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::UnicycleProblem;
use ddp::{DdpError, Guess, Method, Problem, Settings, Solution, Solver, Status, solve_batch};
use dynamics::{
    ActionBounds, Cost, CostExpansion, Dynamics, DynamicsError, HessianKind, Linearization, Plant,
    QuadraticCost, TerminalCost, ZeroTerminalCost,
};
use nalgebra::{DVector, dvector};

const HORIZON: usize = 10;

/// What goes wrong, and when the clock shows which step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    StepIsNan(f64),
    StepIsInfinite(f64),
    JacobianIsNan(f64),
    StepRefuses(f64),
    LinearizationRefuses(f64),
    /// Any control but zero.
    ControlIsNan(f64),
}

/// A point that is moved by its control, and a clock: x = [s, steps].
struct Faulty(Fault);

impl Plant for Faulty {
    type Workspace = ();

    fn name(&self) -> &str {
        "faulty"
    }
    fn nx(&self) -> usize {
        2
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[0] = x[0] + u[0];
        x_next[1] = x[1] + 1.0;
        match self.0 {
            Fault::StepIsNan(at) if x[1] == at => x_next[0] = f64::NAN,
            Fault::StepIsInfinite(at) if x[1] == at => x_next[0] = f64::INFINITY,
            Fault::ControlIsNan(at) if x[1] == at && u[0] != 0.0 => x_next[0] = f64::NAN,
            Fault::StepRefuses(at) if x[1] == at => return Err(refusal()),
            _ => {}
        }
        Ok(())
    }
}

impl Dynamics for Faulty {
    fn linearize(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.fill_with_identity();
        out.fu.copy_from_slice(&[1.0, 0.0]);
        match self.0 {
            Fault::JacobianIsNan(at) if x[1] == at => out.fu[0] = f64::NAN,
            Fault::LinearizationRefuses(at) if x[1] == at => return Err(refusal()),
            _ => {}
        }
        Ok(())
    }
}

fn refusal() -> DynamicsError {
    let model = "faulty".to_owned();
    DynamicsError::Parameter { model, parameter: "clock", value: 0.0, needed: "another" }
}

/// ½ s² + w (¼ u⁴ − ½ u²) + ½ r u² with a factor on all its derivatives, for one control.
#[derive(Clone, Copy)]
struct Bumpy {
    w: f64,
    r: f64,
    slope: f64,
}

impl Cost for Bumpy {
    type Workspace = ();

    fn ndx(&self) -> usize {
        2
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn stage(&self, (): &mut (), _t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        let square = u[0] * u[0];
        0.5 * x[0] * x[0] + self.w * (0.25 * square * square - 0.5 * square) + 0.5 * self.r * square
    }
    fn expand_stage(
        &self,
        ws: &mut (),
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        out.l = self.stage(ws, t, x, u);
        out.lx.copy_from_slice(&[self.slope * x[0], 0.0]);
        out.lu[0] = self.slope * (self.w * (u[0].powi(3) - u[0]) + self.r * u[0]);
        out.lxx.fill(0.0);
        out.lxx[0] = 1.0;
        out.lux.fill(0.0);
        out.luu[0] = self.w * (3.0 * u[0] * u[0] - 1.0) + self.r;
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::Exact
    }
}

const PLAIN: Bumpy = Bumpy { w: 0.0, r: 1.0, slope: 1.0 };

/// Solves from s = 1 at clock 0, with the states at rest but the clock right.
fn solve_with(
    fault: Fault,
    cost: Bumpy,
    method: Method,
    settings: Settings,
    u: f64,
) -> Result<Solution, DdpError> {
    let (dynamics, terminal) = (Faulty(fault), ZeroTerminalCost { ndx: 2 });
    let problem = Problem::new(&dynamics, &cost, &terminal, HORIZON);
    let xs: Vec<_> = (0..=HORIZON).map(|t| dvector![1.0 + u * t as f64, t as f64]).collect();
    let us = vec![dvector![u]; HORIZON];
    let mut solver = Solver::new(problem, method, settings).unwrap();
    solver.solve(&xs[0], Guess::Trajectory(&xs, &us))
}

fn solve(fault: Fault, cost: Bumpy, method: Method) -> Result<Solution, DdpError> {
    solve_with(fault, cost, method, Settings::default(), 0.0)
}

#[test]
fn numbers_that_are_not_finite_end_a_solve_with_the_node() {
    let faults = [
        Fault::StepIsNan(7.0),
        Fault::StepIsInfinite(7.0),
        Fault::JacobianIsNan(7.0),
        Fault::ControlIsNan(7.0),
    ];
    for method in Method::ALL {
        assert_eq!(solve(Fault::None, PLAIN, method).unwrap().status, Status::Converged);
        for fault in faults {
            let found = solve(fault, PLAIN, method).unwrap();
            assert_eq!(found.status, Status::NotFinite { node: 7 }, "{fault:?} {method}");
            assert_eq!(found.status.to_string(), "not_finite at node 7");
        }
    }
}

#[test]
fn a_roll_out_that_fails_at_every_step_length_is_no_convergence() {
    let (dynamics, terminal) = (Faulty(Fault::ControlIsNan(7.0)), ZeroTerminalCost { ndx: 2 });
    let problem = Problem::new(&dynamics, &PLAIN, &terminal, HORIZON);
    let us = vec![dvector![0.0]; HORIZON];
    for method in Method::ALL {
        let mut solver = Solver::new(problem, method, Settings::default()).unwrap();
        let found = solver.solve(&dvector![1.0, 0.0], Guess::Controls(&us)).unwrap();
        assert_eq!(found.status, Status::NotFinite { node: 7 }, "{method}");
        assert!(found.feasible && found.log.iter().all(|row| row.step == 0.0));
        assert!(found.log[0].stop > 0.1);
    }
}

#[test]
fn a_guess_whose_roll_out_fails_ends_with_the_node() {
    let (dynamics, terminal) = (Faulty(Fault::StepIsNan(7.0)), ZeroTerminalCost { ndx: 2 });
    let problem = Problem::new(&dynamics, &PLAIN, &terminal, HORIZON);
    let us = vec![dvector![0.0]; HORIZON];
    for method in [Method::Ilqr, Method::Ddp, Method::BoxDdp] {
        let mut solver = Solver::new(problem, method, Settings::default()).unwrap();
        let found = solver.solve(&dvector![1.0, 0.0], Guess::Controls(&us)).unwrap();
        assert_eq!(found.status, Status::NotFinite { node: 7 }, "{method}");
    }
}

#[test]
fn an_infinite_cost_ends_a_solve_with_its_node() {
    /// Infinite away from the origin.
    struct Wall;

    impl TerminalCost for Wall {
        type Workspace = ();

        fn ndx(&self) -> usize {
            2
        }
        fn workspace(&self) {}
        fn terminal(&self, (): &mut (), x: &DVector<f64>) -> f64 {
            if x[0] == 0.0 { 0.0 } else { f64::INFINITY }
        }
        fn expand_terminal(&self, ws: &mut (), x: &DVector<f64>, out: &mut CostExpansion) {
            out.l = self.terminal(ws, x);
            out.lx.fill(0.0);
            out.lxx.fill(0.0);
        }
        fn hessian_kind(&self) -> HessianKind {
            HessianKind::Exact
        }
    }

    let dynamics = Faulty(Fault::None);
    let problem = Problem::new(&dynamics, &PLAIN, &Wall, HORIZON);
    for method in Method::ALL {
        let mut solver = Solver::new(problem, method, Settings::default()).unwrap();
        let found = solver.solve(&dvector![1.0, 0.0], Guess::Repeat(&dvector![0.0])).unwrap();
        assert_eq!(found.status, Status::NotFinite { node: HORIZON });
    }
}

#[test]
fn a_model_that_refuses_is_an_error_with_the_node() {
    for fault in [Fault::StepRefuses(4.0), Fault::LinearizationRefuses(4.0)] {
        let error = solve(fault, PLAIN, Method::Fddp).unwrap_err();
        assert_eq!(error, DdpError::Model { t: 4, source: refusal() });
        assert_eq!(error.to_string(), "the dynamics failed at node 4");
    }
}

#[test]
fn derivatives_of_the_wrong_sign_fail_the_line_search() {
    let uphill = Bumpy { slope: -1.0, ..PLAIN };
    for method in Method::ALL {
        let settings = Settings { max_iterations: 1000, ..Settings::default() };
        let dynamics = Faulty(Fault::None);
        let problem = Problem::new(&dynamics, &uphill, &ZeroTerminalCost { ndx: 2 }, HORIZON);
        let us = vec![dvector![0.0]; HORIZON];
        let mut solver = Solver::new(problem, method, settings).unwrap();
        let found = solver.solve(&dvector![1.0, 0.0], Guess::Controls(&us)).unwrap();
        assert_eq!(found.status, Status::LineSearchFailed, "{method}");
        assert!(found.regularization >= 1e9);
    }
}

#[test]
fn indefinite_costs_are_regularised_up_to_the_limit() {
    for method in Method::ALL {
        let hopeless = solve(Fault::None, Bumpy { r: -1e10, ..PLAIN }, method).unwrap();
        assert_eq!(hopeless.status, Status::RegularizationLimit, "{method}");
        // A double well: its top, near which the search begins, is no solution.
        let well = Bumpy { w: 1.0, r: 0.0, slope: 1.0 };
        let found = solve_with(Fault::None, well, method, Settings::default(), 0.1).unwrap();
        assert_eq!(found.status, Status::Converged, "{method}");
        assert!(found.log[0].reg > 0.1);
        assert!((found.us[HORIZON - 1].amax() - 1.0).abs() < 1e-4, "{method}");
    }
}

#[test]
fn budgets_end_a_solve() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let (x0, u) = (dvector![-1.0, -1.0, 1.0], dvector![0.0, 0.0]);
    let solve = |settings| {
        let mut solver = Solver::new(parts.problem(50), Method::Fddp, settings).unwrap();
        solver.solve(&x0, Guess::Repeat(&u)).unwrap()
    };
    let found = solve(Settings { time_budget: 1e-12, ..Settings::default() });
    assert_eq!((found.status, found.log.len()), (Status::TimeBudget, 1));
    let found = solve(Settings { max_iterations: 3, ..Settings::default() });
    assert_eq!((found.status, found.iterations), (Status::IterationLimit, 3));
    assert!(found.v[0].is_finite() && found.vx[0].iter().all(|v| v.is_finite()));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let base = Settings::default;
    let refused = [
        ("stop", Settings { stop: -1.0, ..base() }),
        ("stop", Settings { stop: f64::NAN, ..base() }),
        ("accept_ratio", Settings { accept_ratio: 1.0, ..base() }),
        ("accept_rise", Settings { accept_rise: -1.0, ..base() }),
        ("min_slope", Settings { min_slope: -1.0, ..base() }),
        ("n_step_lengths", Settings { n_step_lengths: 0, ..base() }),
        ("regularization", Settings { regularization: 1e9, ..base() }),
        ("min_regularization", Settings { min_regularization: 0.0, ..base() }),
        ("max_regularization", Settings { max_regularization: f64::INFINITY, ..base() }),
        ("regularization_factor", Settings { regularization_factor: 1.0, ..base() }),
        ("time_budget", Settings { time_budget: 0.0, ..base() }),
        ("threads", Settings { threads: 0, ..base() }),
    ];
    for (name, settings) in refused {
        let error = Solver::new(parts.problem(5), Method::Fddp, settings).err().unwrap();
        assert!(matches!(&error, DdpError::Setting { key, .. } if *key == name), "{error}");
        assert!(error.to_string().starts_with(&format!("`{name}` is ")), "{error}");
    }
    for (name, problem) in [
        ("horizon", parts.problem(0)),
        ("discount", Problem { discount: 0.0, ..parts.problem(5) }),
        ("discount", Problem { discount: 1.1, ..parts.problem(5) }),
    ] {
        let error = Solver::new(problem, Method::Fddp, base()).err().unwrap();
        assert!(matches!(&error, DdpError::Setting { key, .. } if *key == name), "{error}");
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let wrong = QuadraticCost::new(vec![0.0; 4], vec![1.0; 4], vec![1.0; 3]).unwrap();
    let settings = Settings::default;
    let dynamics = &parts.dynamics;
    let mismatch = |what, found, needed| {
        Some(DdpError::Mismatch { model: "unicycle".to_owned(), what, found, needed })
    };
    let problem = Problem::new(dynamics, &wrong, &parts.cost, 5);
    let error = Solver::new(problem, Method::Fddp, settings()).err();
    assert_eq!(error, mismatch("the cost's ndx", 4, 3));
    let problem = Problem::new(dynamics, &parts.cost, &wrong, 5);
    let error = Solver::new(problem, Method::Fddp, settings()).err();
    assert_eq!(error, mismatch("the terminal cost's ndx", 4, 3));
    let limits = ActionBounds { low: vec![0.0], high: vec![1.0, 1.0] };
    let problem = Problem { control_limits: Some(&limits), ..parts.problem(5) };
    let error = Solver::new(problem, Method::BoxFddp, settings()).err();
    assert_eq!(error, mismatch("the control limits' low", 1, 2));
    for (low, high) in [(1.0, -1.0), (f64::NAN, 1.0)] {
        let limits = ActionBounds { low: vec![-1.0, low], high: vec![1.0, high] };
        let problem = Problem { control_limits: Some(&limits), ..parts.problem(5) };
        let error = Solver::new(problem, Method::BoxFddp, settings()).err().unwrap();
        assert!(matches!(error, DdpError::Limits { control: 1, .. }), "{error}");
    }
}

#[test]
fn states_and_guesses_that_do_not_fit_are_refused() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let mut solver = Solver::new(parts.problem(5), Method::Fddp, Settings::default()).unwrap();
    let (x, u) = (dvector![1.0, 0.0, 0.0], dvector![0.0, 0.0]);
    let (short, nan) = (dvector![1.0], dvector![1.0, f64::NAN, 0.0]);
    let (xs, us) = (vec![x.clone(); 6], vec![u.clone(); 5]);
    let mut refuse = |x0: &DVector<f64>, guess| solver.solve(x0, guess).err().unwrap();

    let input = |error| matches!(error, DdpError::Input(DynamicsError::Dimension { .. }));
    assert!(input(refuse(&short, Guess::Repeat(&u))));
    assert!(input(refuse(&x, Guess::Repeat(&short))));
    let mut wrong = us.clone();
    wrong[3] = short.clone();
    assert!(input(refuse(&x, Guess::Controls(&wrong))));
    let mut wrong = xs.clone();
    wrong[3] = short.clone();
    assert!(input(refuse(&x, Guess::Trajectory(&wrong, &us))));
    let error = refuse(&nan, Guess::Repeat(&u));
    assert!(matches!(error, DdpError::Input(DynamicsError::NotFinite { index: 1, .. })));

    let error = refuse(&x, Guess::Controls(&us[..3]));
    assert_eq!(error, DdpError::GuessLength { what: "controls", found: 3, needed: 5 });
    let error = refuse(&x, Guess::Trajectory(&xs[..5], &us));
    assert_eq!(error, DdpError::GuessLength { what: "states", found: 5, needed: 6 });
    // What was refused does not spoil the next solve.
    assert_eq!(solver.solve(&x, Guess::Repeat(&u)).unwrap().status, Status::Converged);
}

#[test]
fn a_batch_reports_a_start_that_fails_in_its_place() {
    let parts = UnicycleProblem::new(1.0, 1.0);
    let u = dvector![0.0, 0.0];
    let starts = [dvector![1.0, 0.0, 0.0], dvector![1.0], dvector![0.0, 0.5, 0.0]];
    let solved = |settings: Settings| {
        solve_batch(&parts.problem(20), Method::Fddp, &settings, &starts, |_| Guess::Repeat(&u))
    };
    let found = solved(Settings::default()).unwrap();
    assert!(found[0].is_ok() && found[1].is_err() && found[2].is_ok());
    assert!(solved(Settings { stop: -1.0, ..Settings::default() }).is_err());
}
