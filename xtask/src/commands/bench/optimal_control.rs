//! Rows about optimal control: the passes of an iteration, solves, ticks of MPC, and an iteration
//! against the horizon.

use anyhow::{Context as _, Result, ensure};
use bench_tasks::BenchTask;
use ddp::{Guess, Method, Mpc, MpcSettings, Problem, Settings, Solver};
use dynamics::models::Unicycle;
use dynamics::{
    AnyCost, AnyDynamics, AnyTerminalCost, Cost, Dynamics, Euler, Objective, QuadraticCost, Task,
    TerminalCost,
};
use nalgebra::{DVector, dvector};

use super::case::{Case, Source, Unit, Work};
use super::springs::Springs;
use super::steps::Tasks;
use super::values;

/// Horizons of the rows that show how the cost of an iteration grows.
pub(super) const HORIZONS: [usize; 8] = [10, 20, 50, 100, 200, 500, 1000, 2000];
/// Horizons of the unicycle's solves, as in `bench/peers/crocoddyl_times.py`.
pub(super) const SOLVES: [usize; 4] = [20, 50, 100, 200];
/// Iterations of the unicycle's solves: fewer than any of them needs.
const ITERATIONS: usize = 6;
/// Iterations before a pass is measured.
const BEFORE: usize = 3;
/// Nodes of the passes, of the derivatives on threads, of the arm's solve and of the ticks.
const PASSES: usize = 100;
const MANY: usize = 1000;
const WHOLE: usize = 200;
const PLAN: usize = 50;
/// Smallest regularisation of the solvers.
const MU: f64 = 1e-9;

/// A problem that is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    /// The task `arm`.
    Arm,
    /// The unicycle of DVP and Crocoddyl, both weights 1.
    Unicycle,
}

/// A part of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Dynamics and costs of all nodes.
    Calc,
    /// Their derivatives.
    CalcDiff,
    /// Gains of all nodes.
    Backward,
    /// A step along the gains.
    RollOut,
}

impl Pass {
    /// All in the order of the table.
    pub(super) const ALL: [Self; 4] = [Self::Calc, Self::CalcDiff, Self::Backward, Self::RollOut];

    /// How names of rows end.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Calc => "calc",
            Self::CalcDiff => "calc-diff",
            Self::Backward => "backward",
            Self::RollOut => "roll-out",
        }
    }

    /// How readers call it.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Calc => "dynamics, costs and gaps",
            Self::CalcDiff => "derivatives of dynamics and costs",
            Self::Backward => "backward pass",
            Self::RollOut => "roll-out under the gains",
        }
    }
}

/// What a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// A pass over the arm, per node.
    Pass(Pass),
    /// The arm's derivatives over many nodes, per node, on some threads.
    ManyDerivatives,
    /// The arm's whole solve from a cold start.
    Solve,
    /// An iteration of the unicycle's solve from a cold start.
    Iteration(usize),
    /// A warm tick of MPC on the unicycle with one iteration, with gains at the new plan or without.
    Tick { fresh_gains: bool },
    /// Derivatives, backward pass and roll-out.
    Horizon(Plant, usize),
}

/// What problems are made of, for solvers to borrow.
pub(super) struct Problems<'a> {
    arm: &'a dyn AnyDynamics,
    objective: Objective<'a>,
    unicycle: Euler<Unicycle>,
    cost: QuadraticCost,
    start: DVector<f64>,
    rest: DVector<f64>,
    dvp: Box<dyn BenchTask>,
    springs: Springs<'a>,
}

impl<'a> Problems<'a> {
    /// The parts of the task `arm`, the unicycle, that of DVP, and the pendulums of PODS.
    ///
    /// # Errors
    /// Models that refuse their parameters.
    pub(super) fn new(tasks: &'a Tasks) -> Result<Self> {
        let task = tasks.find("arm")?;
        Ok(Self {
            arm: task.nominal(),
            objective: task.objective().context("task `arm` has no objective")?,
            unicycle: Euler::new(Unicycle, 0.1)?,
            cost: QuadraticCost::new(vec![0.0; 3], vec![0.5; 3], vec![0.5; 2])?,
            start: dvector![-1.0, -1.0, 1.0],
            rest: dvector![0.0, 0.0],
            dvp: values::unicycle()?,
            springs: Springs::new(tasks)?,
        })
    }

    /// The task that DVP's value is learned on.
    pub(super) fn dvp(&self) -> &dyn Task {
        self.dvp.as_task()
    }

    /// The pendulums of PODS.
    pub(super) fn springs(&self) -> &Springs<'a> {
        &self.springs
    }

    fn arm(
        &self,
        horizon: usize,
    ) -> Start<'_, &'a dyn AnyDynamics, &'a dyn AnyCost, &'a dyn AnyTerminalCost> {
        let Objective { stage, terminal, x0, us0, .. } = &self.objective;
        Start { problem: Problem::new(&self.arm, stage, terminal, horizon), x0, u: us0 }
    }

    fn unicycle(&self, horizon: usize) -> Start<'_, Euler<Unicycle>, QuadraticCost, QuadraticCost> {
        let problem = Problem::new(&self.unicycle, &self.cost, &self.cost, horizon);
        Start { problem, x0: &self.start, u: &self.rest }
    }
}

/// A problem with its cold start.
struct Start<'a, D, C, E> {
    problem: Problem<'a, D, C, E>,
    x0: &'a DVector<f64>,
    u: &'a DVector<f64>,
}

impl<'a, D: Dynamics, C: Cost, E: TerminalCost> Start<'a, D, C, E> {
    fn solver(&self, settings: Settings) -> Result<Solver<'a, D, C, E>> {
        Ok(Solver::new(self.problem, Method::Fddp, settings)?)
    }

    /// A solver after some iterations with derivatives and gains where it stands, and the longest
    /// step whose roll-out does not run away.
    fn advanced(&self, threads: usize) -> Result<(Solver<'a, D, C, E>, f64)> {
        let settings = Settings { max_iterations: BEFORE, threads, ..Settings::default() };
        let mut solver = self.solver(settings)?;
        solver.solve_in_place(self.x0, Guess::Repeat(self.u))?;
        solver.linearize()?;
        ensure!(solver.backward_pass(MU), "the backward pass failed");
        let mut steps = (0..10).map(|halvings| 0.5_f64.powi(halvings));
        let step = steps.find(|step| solver.forward_pass(*step));
        Ok((solver, step.context("every roll-out runs away")?))
    }

    /// A pass, per node.
    fn pass(&self, pass: Pass, threads: usize) -> Result<(usize, Work<'a>)> {
        let (mut solver, step) = self.advanced(threads)?;
        let nodes = self.problem.horizon;
        let work: Work<'a> = Box::new(move |calls| {
            for _ in 0..calls / nodes {
                match pass {
                    Pass::Calc => solver.evaluate()?,
                    Pass::CalcDiff => solver.linearize()?,
                    Pass::Backward => ensure!(solver.backward_pass(MU), "the pass failed"),
                    Pass::RollOut => ensure!(solver.forward_pass(step), "the pass failed"),
                }
            }
            Ok(())
        });
        Ok((nodes, work))
    }

    /// Derivatives, backward pass and one roll-out.
    fn iteration(&self) -> Result<(usize, Work<'a>)> {
        let (mut solver, step) = self.advanced(1)?;
        let work: Work<'a> = Box::new(move |calls| {
            for _ in 0..calls {
                solver.linearize()?;
                ensure!(solver.backward_pass(MU) && solver.forward_pass(step), "a pass failed");
            }
            Ok(())
        });
        Ok((1, work))
    }

    /// Solves from the cold start, per iteration if their number is given.
    fn solves(&self, iterations: Option<usize>) -> Result<(usize, Work<'a>)> {
        let default = Settings::default();
        let limit = iterations.unwrap_or(default.max_iterations);
        let mut solver = self.solver(Settings { max_iterations: limit, ..default })?;
        let (x0, u) = (self.x0, self.u);
        solver.solve_in_place(x0, Guess::Repeat(u))?;
        let done = solver.log().len();
        let per_solve = iterations.unwrap_or(1);
        ensure!(iterations.is_none_or(|n| n == done), "the solve ended after {done} iterations");
        let work: Work<'a> = Box::new(move |calls| {
            for _ in 0..calls / per_solve {
                solver.solve_in_place(x0, Guess::Repeat(u))?;
            }
            Ok(())
        });
        Ok((per_solve, work))
    }

    /// Ticks that follow the plan.
    fn ticks(&self, fresh_gains: bool) -> Result<(usize, Work<'a>)> {
        let settings = MpcSettings { iterations: 1, fresh_gains, ..MpcSettings::default() };
        let mut mpc = Mpc::new(self.problem, Method::Fddp, Settings::default(), settings, self.u)?;
        let mut x = self.x0.clone();
        mpc.tick(&x)?;
        let work: Work<'a> = Box::new(move |calls| {
            for _ in 0..calls {
                x.copy_from(&mpc.xs()[1]);
                mpc.shift(1)?;
                mpc.tick(&x)?;
            }
            Ok(())
        });
        Ok((1, work))
    }
}

/// The row of what is measured.
///
/// # Errors
/// Models and solvers that fail.
pub(super) fn case<'a>(
    name: &str,
    threads: usize,
    measure: Measure,
    problems: &'a Problems<'_>,
) -> Result<Case<'a>> {
    let (granule, work) = match measure {
        Measure::Pass(pass) => problems.arm(PASSES).pass(pass, threads),
        Measure::ManyDerivatives => problems.arm(MANY).pass(Pass::CalcDiff, threads),
        Measure::Solve => problems.arm(WHOLE).solves(None),
        Measure::Iteration(horizon) => problems.unicycle(horizon).solves(Some(ITERATIONS)),
        Measure::Tick { fresh_gains } => problems.unicycle(PLAN).ticks(fresh_gains),
        Measure::Horizon(Plant::Arm, horizon) => problems.arm(horizon).iteration(),
        Measure::Horizon(Plant::Unicycle, horizon) => problems.unicycle(horizon).iteration(),
    }
    .with_context(|| format!("`{name}` cannot be prepared"))?;
    let unit = if measure == Measure::Solve { Unit::Milliseconds } else { Unit::Microseconds };
    Ok(Case {
        name: name.to_owned(),
        threads,
        unit,
        flops: None,
        updates_per_step: None,
        source: Source::timed(granule, granule, work),
    })
}

/// Names, what they measure and one line about each, in the order of the table; `true` where two
/// threads are measured too.
pub(super) fn rows() -> Vec<(String, Measure, bool, String)> {
    let passes = Pass::ALL.into_iter().map(|pass| {
        let what = format!("7-dof arm, {PASSES} nodes: {}, per node", pass.what());
        (format!("ddp-arm-{}", pass.name()), Measure::Pass(pass), false, what)
    });
    let mut rows: Vec<_> = passes.collect();
    let mut add = |name: String, measure, threads, what: String| {
        rows.push((name, measure, threads, what));
    };
    add(
        format!("ddp-arm-calc-diff-{MANY}"),
        Measure::ManyDerivatives,
        true,
        format!("the same derivatives over {MANY} nodes, per node"),
    );
    add(
        "ddp-arm-solve".to_owned(),
        Measure::Solve,
        false,
        format!("7-dof arm, {WHOLE} nodes: a whole FDDP solve from a cold start"),
    );
    for horizon in SOLVES {
        add(
            format!("ddp-unicycle-{horizon}"),
            Measure::Iteration(horizon),
            false,
            format!(
                "unicycle, {horizon} nodes: an iteration of {ITERATIONS} of an FDDP solve from a \
                 cold start"
            ),
        );
    }
    for (end, fresh_gains, with) in
        [("", false, ""), ("-fresh", true, ", and gains at the new plan")]
    {
        add(
            format!("ddp-unicycle-tick{end}"),
            Measure::Tick { fresh_gains },
            false,
            format!("unicycle, {PLAN} nodes: a warm tick of MPC with one iteration{with}"),
        );
    }
    for (name, plant) in [("unicycle", Plant::Unicycle), ("arm", Plant::Arm)] {
        for horizon in HORIZONS {
            add(
                format!("ddp-horizons-{name}-{horizon}"),
                Measure::Horizon(plant, horizon),
                false,
                format!("{name}, {horizon} nodes: derivatives, backward pass and roll-out"),
            );
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_prepared_and_counts_whole_granules() {
        let tasks = Tasks::build().unwrap();
        let problems = Problems::new(&tasks).unwrap();
        for (name, measure, ..) in rows() {
            let case = case(&name, 1, measure, &problems).unwrap();
            let Source::Timed { mut work, granule, .. } = case.source else { unreachable!() };
            let needed = match measure {
                Measure::Pass(_) => PASSES,
                Measure::ManyDerivatives => MANY,
                Measure::Iteration(_) => ITERATIONS,
                _ => 1,
            };
            assert_eq!(granule, needed, "{name}");
            work(granule).unwrap();
        }
    }

    /// The peer's ticks are of this kind: an iteration with one roll-out.
    #[test]
    fn warm_ticks_take_the_full_step() {
        let tasks = Tasks::build().unwrap();
        let problems = Problems::new(&tasks).unwrap();
        let Start { problem, x0, u } = problems.unicycle(PLAN);
        let settings = MpcSettings { iterations: 1, ..MpcSettings::default() };
        let mut mpc = Mpc::new(problem, Method::Fddp, Settings::default(), settings, u).unwrap();
        mpc.tick(x0).unwrap();
        for tick in 0..500 {
            let x = mpc.xs()[1].clone();
            mpc.shift(1).unwrap();
            let done = mpc.tick(&x).unwrap();
            let log = mpc.solution(&done).unwrap().log;
            assert!(log.iter().all(|row| row.step == 1.0), "tick {tick}: {log:?}");
        }
    }
}
