//! `solve`: trajectory optimisation on a task, from one start or many, as JSON.

mod answer;
mod batch;
mod starts;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use bench_tasks::{BenchTask, Entry, Preset, Variant, registry};
use clap::Args;
use critics::write_file_atomic;
use ddp::{Guess, IterationRow, Method, Problem, Settings, Solver};
use dynamics::{AnyCost, AnyDynamics, AnyTerminalCost, Task};
use nalgebra::DVector;
use toml::{Table, Value};

use self::answer::Answer;
use self::starts::WarmStart;
use super::train::with_threads;
use crate::progress::tell;
use crate::settings::{
    Split, apply_overrides, parse_assignments, preset_parser, split_by_prefix, variant_parser,
};

/// Arguments of `solve`.
#[derive(Args)]
pub(crate) struct SolveArgs {
    /// Name of the task
    task: String,
    /// How: fddp, ddp, ilqr, box-ddp or box-fddp [default: fddp, or box-fddp where the task limits
    /// its controls]
    #[arg(long, value_name = "NAME")]
    solver: Option<Method>,
    /// Whose dynamics
    #[arg(long, default_value = "nominal", value_parser = variant_parser())]
    variant: Variant,
    /// Which description of the task
    #[arg(long, default_value = "released", value_parser = preset_parser())]
    preset: Preset,
    /// Control steps [default: those of the task]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    horizon: Option<u32>,
    /// Factor by which each step counts less than the one before
    #[arg(long, value_name = "GAMMA", default_value_t = 1.0)]
    discount: f64,
    /// Initial state, its entries separated by commas [default: that of the task]
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["starts", "random"])]
    x0: Option<String>,
    /// Solve from each line of a file, a list [a, b, …], and print one line for each
    #[arg(long, value_name = "FILE", conflicts_with = "random")]
    starts: Option<PathBuf>,
    /// Solve from this many initial states as the task draws them, and print one line for each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    random: Option<u32>,
    /// Seed of the initial states
    #[arg(long, default_value_t = 0, requires = "random")]
    seed: u64,
    /// Begin with the trajectory that --save or --full wrote
    #[arg(long, value_name = "FILE")]
    warm_start: Option<PathBuf>,
    /// Change a setting of the task, or of the solver with `solver.` before the key; may be given
    /// many times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the trajectory with gains and values of every node as well
    #[arg(long)]
    full: bool,
    /// Write what --full prints to a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["starts", "random"])]
    save: Option<PathBuf>,
    /// Threads; the results do not depend on them [default: 1, or the cores for many starts]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Show each iteration on stderr
    #[arg(long, conflicts_with_all = ["starts", "random"])]
    verbose: bool,
}

/// A problem whose parts are known by their traits alone.
type AnyProblem<'a> = Problem<'a, &'a dyn AnyDynamics, &'a dyn AnyCost, &'a dyn AnyTerminalCost>;

/// What is solved and how, whatever the start.
struct Job<'a> {
    setup: &'a Setup,
    task: &'a dyn Task,
    problem: AnyProblem<'a>,
    method: Method,
    settings: Settings,
    warm_start: Option<&'a WarmStart>,
}

impl SolveArgs {
    /// Prints the solution, or one line for each start.
    ///
    /// # Errors
    /// An unknown task or setting, a task without an objective, states and files that do not fit the
    /// problem, a model that fails. How well the solver did is part of the answer.
    pub(crate) fn run(self) -> Result<()> {
        let (setup, settings) = self.setup()?;
        let task = setup.build()?;
        let task = task.as_task();
        let objective = match task.objective() {
            Some(objective) => objective,
            None => bail!(
                "the reward of `{}` is no sum of costs that a solver could minimise; the tasks \
                 with one are: {}",
                task.name(),
                solvable()?.join(", ")
            ),
        };
        let model = match self.variant {
            Variant::Nominal => task.nominal(),
            Variant::Real => task.plant_dynamics().with_context(|| {
                format!(
                    "the plant of `{}` has no derivatives; solve with --variant nominal",
                    task.name()
                )
            })?,
        };
        let horizon = task.horizon();
        let warm_start = match &self.warm_start {
            Some(file) => Some(WarmStart::read(file, model, horizon)?),
            None => None,
        };
        let job = Job {
            setup: &setup,
            task,
            problem: Problem {
                dynamics: &model,
                cost: &objective.stage,
                terminal: &objective.terminal,
                horizon,
                discount: self.discount,
                control_limits: objective.control_limits,
            },
            method: self.method(task.name(), objective.control_limits.is_some()),
            settings,
            warm_start: warm_start.as_ref(),
        };
        let threads = self.threads.map(usize::from);
        match (&self.starts, self.random) {
            (Some(file), _) => job.solve_all(starts::read(file, task)?, self.full, threads),
            (None, Some(n)) => job.solve_all(starts::draw(task, n, self.seed), self.full, threads),
            (None, None) => {
                let x0 = match &self.x0 {
                    Some(text) => starts::parse(text, task)?,
                    None => objective.x0.clone(),
                };
                self.solve_one(&job, &x0)
            }
        }
    }

    /// The task's settings and the solver's with everything the command line changes.
    fn setup(&self) -> Result<(Setup, Settings)> {
        let entry = bench_tasks::find(&self.task)?;
        let defaults = (entry.settings)(self.preset)?;
        let Split { mut task, method, train, solver } =
            split_by_prefix(&parse_assignments(&self.set)?, &defaults)?;
        for (prefix, list) in [("method", method), ("train", train)] {
            if let Some((key, _)) = list.first() {
                bail!(
                    "`{prefix}.{key}` has no effect here; `solve` takes settings of the task and \
                     `solver.…`"
                );
            }
        }
        task.extend(self.horizon.map(|n| ("horizon".to_owned(), n.to_string())));
        let settings = apply_overrides(&defaults, &task)?;
        let mut solver = solver_settings(&solver)?;
        if let Some(threads) = self.threads {
            solver.threads = threads.into();
        }
        Ok((Setup { entry, variant: self.variant, settings }, solver))
    }

    /// The method that is asked for, or the one that suits the task.
    fn method(&self, task: &str, limited: bool) -> Method {
        let keeps_limits = |method: Method| matches!(method, Method::BoxDdp | Method::BoxFddp);
        if let Some(method) = self.solver.filter(|method| limited && !keeps_limits(*method)) {
            tell(&format!(
                "`{task}` limits its controls, which `{method}` ignores; `box-ddp` and `box-fddp` \
                 keep to the limits"
            ));
        }
        let default = if limited { Method::BoxFddp } else { Method::Fddp };
        self.solver.unwrap_or(default)
    }

    fn solve_one(&self, job: &Job<'_>, x0: &DVector<f64>) -> Result<()> {
        let us0 = job.setup.us0_at(x0)?;
        let mut solver = Solver::new(job.problem, job.method, job.settings.clone())?;
        if self.verbose {
            tell(IterationRow::TITLE);
        }
        let mut observer = |row: &IterationRow| {
            if self.verbose {
                tell(&row.to_string());
            }
        };
        let (solution, seconds) = with_threads(job.settings.threads, || {
            let start = Instant::now();
            let solution = solver.solve_observed(x0, job.guess(&us0), &mut observer);
            (solution, start.elapsed().as_secs_f64())
        })?;
        let solution = solution?;
        let answer = Answer::new(job.task.name(), &solution).timed(seconds);
        if let Some(file) = &self.save {
            let text = serde_json::to_string(&answer.clone().full(&solution))?;
            write_file_atomic(file, format!("{text}\n").as_bytes())?;
        }
        let answer = if self.full { answer.full(&solution) } else { answer };
        Ok(super::print(&format!("{}\n", serde_json::to_string(&answer)?))?)
    }
}

impl Job<'_> {
    fn guess<'a>(&'a self, us0: &'a DVector<f64>) -> Guess<'a> {
        self.warm_start.map_or(Guess::Repeat(us0), WarmStart::guess)
    }
}

/// A task with its settings.
struct Setup {
    entry: &'static Entry,
    variant: Variant,
    settings: Table,
}

impl Setup {
    fn build(&self) -> Result<Box<dyn BenchTask>> {
        Ok((self.entry.build)(self.variant, &self.settings)?)
    }

    /// The control that the first guess repeats from `x0`: what holds a robot at rest depends on
    /// where it stands, so the task is asked as if it started there.
    fn us0_at(&self, x0: &DVector<f64>) -> Result<DVector<f64>> {
        let mut settings = self.settings.clone();
        if let Some(setting) = settings.get_mut("x0") {
            *setting = Value::Array(x0.iter().copied().map(Value::Float).collect());
        }
        let task = (self.entry.build)(self.variant, &settings)?;
        let objective = task.objective().context("the task lost its objective")?;
        Ok(objective.us0.clone())
    }
}

/// The solver's settings with some of them changed.
///
/// # Errors
/// A key that there is not, a value of the wrong type.
fn solver_settings(overrides: &[(String, String)]) -> Result<Settings> {
    // Messages name the keys as they are given.
    let defaults = Table::try_from(Settings::default())?;
    let defaults = Table::from_iter([("solver".to_owned(), Value::Table(defaults))]);
    let overrides: Vec<_> =
        overrides.iter().map(|(key, value)| (format!("solver.{key}"), value.clone())).collect();
    let mut table = apply_overrides(&defaults, &overrides)?;
    let solver = table.remove("solver").context("the solver has no settings")?;
    solver.try_into().map_err(|error| anyhow!("`solver.…` cannot be used: {error}"))
}

/// Names of the tasks that can be solved.
///
/// # Errors
/// A task that cannot be built.
pub(super) fn solvable() -> Result<Vec<&'static str>> {
    let mut names = Vec::new();
    for entry in registry() {
        let task = (entry.build)(Variant::Nominal, &(entry.settings)(Preset::Released)?)?;
        if task.objective().is_some() {
            names.push(entry.name);
        }
    }
    Ok(names)
}

/// One line about a method.
pub(super) fn summary(method: Method) -> &'static str {
    match method {
        Method::Fddp => "feasibility-driven DDP: the guess may have gaps between its states",
        Method::Ddp => "differential dynamic programming, with second derivatives of the dynamics",
        Method::Ilqr => "iterative LQR: first derivatives of the dynamics",
        Method::BoxDdp => "ilqr within the limits of the controls",
        Method::BoxFddp => "fddp within the limits of the controls",
    }
}
