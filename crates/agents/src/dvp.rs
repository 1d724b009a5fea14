//! DVP: value functions from trajectory optimisation and Sobolev descent (Parag, Kleff, Saci, Mansard
//! and Stasse, ICRA 2022).
//!
//! 1. Sample starts and solve each over a short horizon by DDP, with the value learned so far as the
//!    terminal cost (none in the first iteration): labels V, V_x (and V_xx) at the starts.
//! 2. Fit the value network to them by Sobolev regression; network and optimiser go on from where they
//!    stand.
//!
//! With perfect fits, iteration n (from 0) has the value of the horizon (n + 1) T.

use std::ops::ControlFlow;

use critics::{
    Adam, AdamSettings, FitEpoch, FitSettings, Head, Initialization, NeuralTerminalCost, Scaling,
    TerminalWorkspace, ValueData, ValueNetwork, ValueSpec,
};
use ddp::{Guess, Method, Problem, Settings, Solution, Status, solve_batch};
use dynamics::{
    AnyTerminalCost, CostExpansion, HessianKind, Objective, Scratch, Stream, Task, TerminalCost,
};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::LearnError;

/// Which numbers of a solve become labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueLabels {
    /// Value and derivatives at the returned trajectory, free of regularisation.
    Solution,
    /// Derivatives of the last backward pass, which belong to the iterate before the last step and
    /// contain the regularisation: what the authors' solver hands out. Of the start alone; later nodes
    /// have those of the solution.
    LastPass,
}

/// Settings of [`Dvp`]. Where the paper publishes none they are ours: samples, horizon and epochs of the
/// small systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DvpSettings {
    /// Iterations of the whole loop.
    pub iterations: usize,
    /// Starts per iteration.
    pub samples: usize,
    /// T, steps of each solve.
    pub horizon: usize,
    /// γ.
    pub discount: f64,
    /// Half-widths of the box around the task's first start from which starts are drawn; empty for the
    /// starts of the task's episodes.
    pub start_spread: Vec<f64>,
    /// Whether every node of a trajectory is a sample, not the start alone. Labels of later nodes belong
    /// to shorter horizons.
    pub all_nodes: bool,
    /// Hidden layers of the network, tanh.
    pub hidden: Vec<usize>,
    /// How its outputs become a value.
    pub head: Head,
    /// Its outputs, where the head has residuals.
    pub residuals: usize,
    /// Whether states are shifted and scaled by the mean and deviation of the first data set, and values
    /// by their mean size.
    pub normalize: bool,
    /// Whether the terminal node gets the network's exact Hessian in the place of the Gauss–Newton one.
    pub exact_hessian: bool,
    /// Step length of Adam.
    pub learning_rate: f64,
    /// The regression of each iteration.
    pub fit: FitSettings,
    /// Constant that the terminal cost of the first iteration adds (figure 4 of the paper).
    pub first_bias: f64,
    /// What the labels are.
    pub labels: ValueLabels,
    /// A state whose value is known to be 0, such as a goal at rest; empty for none. The terminal cost is
    /// then V(x) − V(anchor): without discount the costs of a step fix V up to a constant only, so that
    /// errors of the regression there would stay in all later values and add up.
    pub anchor: Vec<f64>,
    /// Solves that end with a regularisation of this size or more are rejected, as are those whose value
    /// is not finite.
    pub max_regularization: f64,
    /// Whether a solve begins with the trajectory of the nearest start of the iteration before.
    pub warm_start: bool,
    /// The solver.
    pub method: Method,
    /// Its constants.
    pub solver: Settings,
}

impl Default for DvpSettings {
    fn default() -> Self {
        Self {
            iterations: 10,
            samples: 100,
            horizon: 60,
            discount: 1.0,
            start_spread: Vec::new(),
            all_nodes: false,
            hidden: vec![64; 3],
            head: Head::SumOfSquares,
            residuals: 3,
            normalize: false,
            exact_hessian: false,
            learning_rate: 1e-3,
            fit: FitSettings::default(),
            first_bias: 0.0,
            labels: ValueLabels::Solution,
            anchor: Vec::new(),
            max_regularization: 0.1,
            warm_start: false,
            method: Method::Fddp,
            solver: Settings::default(),
        }
    }
}

impl DvpSettings {
    pub(crate) fn check(&self, nx: usize) -> Result<(), LearnError> {
        let refuse = |key, value: String, needed| Err(LearnError::Setting { key, value, needed });
        for (key, value) in [
            ("method.iterations", self.iterations),
            ("method.samples", self.samples),
            ("method.horizon", self.horizon),
        ] {
            if value == 0 {
                return refuse(key, "0".to_owned(), "at least 1");
            }
        }
        let fits = |list: &[f64]| list.is_empty() || list.len() == nx;
        let Self { start_spread, anchor, .. } = self;
        if !fits(start_spread) || start_spread.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
            let found = format!("{start_spread:?}");
            let needed = "[] or one finite half-width per state entry";
            return refuse("method.start_spread", found, needed);
        }
        if !fits(anchor) || anchor.iter().any(|x| !x.is_finite()) {
            let needed = "[] or one finite number per state entry";
            return refuse("method.anchor", format!("{anchor:?}"), needed);
        }
        if !self.first_bias.is_finite() {
            return refuse("method.first_bias", self.first_bias.to_string(), "finite");
        }
        for (key, value) in [
            ("method.max_regularization", self.max_regularization),
            ("method.learning_rate", self.learning_rate),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(key, value.to_string(), "finite and above 0");
            }
        }
        Ok(())
    }

    fn hessian_kind(&self) -> HessianKind {
        if self.exact_hessian { HessianKind::Exact } else { HessianKind::GaussNewton }
    }
}

/// The loop of DVP on a task whose objective is a sum of costs and whose states are vectors.
pub struct Dvp<'a> {
    task: &'a dyn Task,
    objective: Objective<'a>,
    settings: DvpSettings,
    seed: u64,
    pub(crate) network: ValueNetwork<f64>,
    pub(crate) adam: Adam<f64>,
    /// Iterations done.
    pub(crate) iteration: usize,
    /// What the first solves end in, where it is not the constant bias.
    pub(crate) first_terminal: Option<&'a dyn AnyTerminalCost>,
    /// Whether the network holds a value: after an iteration, or where it comes from another run.
    pub(crate) learned: bool,
    /// Trajectories of the last iteration, for warm starts.
    pub(crate) trajectories: Vec<Trajectory>,
}

/// What a warm start needs of a solve.
pub(crate) struct Trajectory {
    /// T + 1 states.
    pub(crate) xs: Vec<DVector<f64>>,
    /// T controls.
    pub(crate) us: Vec<DVector<f64>>,
}

/// What an iteration did.
#[derive(Debug, Clone, PartialEq)]
pub struct DvpIteration {
    /// From 0.
    pub iteration: usize,
    /// Solves whose labels were used.
    pub solved: usize,
    /// Solves that were rejected.
    pub rejected: usize,
    /// Of the solves used, those that converged.
    pub converged: usize,
    /// Mean iterations of the solver.
    pub solver_iterations: f64,
    /// Mean cost of the solves used, the value at their ends included.
    pub cost: f64,
    /// Errors of the regression, epoch by epoch.
    pub fit: Vec<FitEpoch>,
}

impl<'a> Dvp<'a> {
    /// The loop at its start, with random parameters.
    ///
    /// # Errors
    /// Settings out of range; a task without an objective or with states on a Lie group.
    pub fn new(task: &'a dyn Task, settings: &DvpSettings, seed: u64) -> Result<Self, LearnError> {
        let objective = objective(task)?;
        let nx = task.nominal().any_nx();
        settings.check(nx)?;
        let spec = ValueSpec {
            hidden: settings.hidden.clone(),
            head: settings.head,
            residuals: settings.residuals,
            ..ValueSpec::new(nx)
        };
        let stream = &mut Stream::new(seed, "value weights", 0);
        let network =
            ValueNetwork::random(spec, Scaling::none(nx), Initialization::Pytorch, stream)?;
        let adam = AdamSettings { lr: settings.learning_rate, ..AdamSettings::default() };
        let adam = Adam::new(network.net().params().len(), adam);
        let settings = settings.clone();
        Ok(Self {
            task,
            objective,
            settings,
            seed,
            network,
            adam,
            iteration: 0,
            first_terminal: None,
            learned: false,
            trajectories: Vec::new(),
        })
    }

    /// The value network as it is now.
    #[must_use]
    pub fn network(&self) -> &ValueNetwork<f64> {
        &self.network
    }

    /// The value learned so far as a terminal cost; before the first iteration the constant bias.
    #[must_use]
    pub fn terminal_cost(&self) -> DvpTerminalCost<'a> {
        if self.learned {
            return DvpTerminalCost::learned(self.network.clone(), &self.settings);
        }
        if let Some(cost) = self.first_terminal {
            return DvpTerminalCost::Task(cost);
        }
        let ndx = self.task.nominal().any_ndx();
        DvpTerminalCost::Constant { ndx, value: self.settings.first_bias }
    }

    /// Draws `n` starts. Iterations draw from indices of their own, so other draws change nothing.
    #[must_use]
    pub fn starts(&self, stream: &mut Stream, n: usize) -> Vec<DVector<f64>> {
        let draw = |_| {
            let mut x = self.objective.x0.clone();
            if self.settings.start_spread.is_empty() {
                self.task.sample_x0(stream, &mut x);
            } else {
                for (x, spread) in x.iter_mut().zip(&self.settings.start_spread) {
                    *x += stream.uniform(-spread, *spread);
                }
            }
            x
        };
        (0..n).map(draw).collect()
    }

    /// One iteration: solve, then fit.
    ///
    /// # Errors
    /// A model that fails, no solve that can be used, a regression that diverges.
    pub fn iterate(&mut self) -> Result<DvpIteration, LearnError> {
        let index = self.iteration as u64;
        let mut stream = Stream::new(self.seed, "dvp starts", index);
        let starts = self.starts(&mut stream, self.settings.samples);
        let solutions = self.solve(&starts)?;
        let rejected = starts.len() - solutions.len();
        let data = self.labels(&solutions);
        if data.v.is_empty() {
            return Err(LearnError::NoLabels {
                method: "dvp",
                iteration: self.iteration,
                rejected,
            });
        }
        if !self.learned && self.settings.normalize {
            self.scale_to(&data)?;
        }
        let fit = self.network.fit(
            &mut self.adam,
            &data,
            None,
            &self.settings.fit,
            &mut Stream::new(self.seed, "dvp batches", index),
            &mut |_| ControlFlow::Continue(()),
        )?;
        let done = self.iteration;
        self.iteration += 1;
        self.learned = true;
        let n = solutions.len().max(1) as f64;
        let report = DvpIteration {
            iteration: done,
            solved: solutions.len(),
            rejected,
            converged: solutions.iter().filter(|s| s.status == Status::Converged).count(),
            solver_iterations: solutions.iter().map(|s| s.iterations as f64).sum::<f64>() / n,
            cost: solutions.iter().map(|s| s.cost).sum::<f64>() / n,
            fit: fit.epochs,
        };
        if self.settings.warm_start {
            let kept = solutions.into_iter().map(|s| Trajectory { xs: s.xs, us: s.us });
            self.trajectories = kept.collect();
        }
        Ok(report)
    }

    /// Solves from every start with the value learned so far; without those that are rejected.
    ///
    /// # Errors
    /// A model that fails.
    pub fn solve(&self, starts: &[DVector<f64>]) -> Result<Vec<Solution>, LearnError> {
        let DvpSettings { horizon, discount, method, solver, .. } = &self.settings;
        let (model, terminal) = (self.task.nominal(), self.terminal_cost());
        let problem = Problem {
            dynamics: &model,
            cost: &self.objective.stage,
            terminal: &terminal,
            horizon: *horizon,
            discount: *discount,
            control_limits: self.objective.control_limits,
        };
        let guess = |i: usize| match nearest(&self.trajectories, &starts[i]) {
            Some(Trajectory { xs, us }) => Guess::Trajectory(xs, us),
            None => Guess::Repeat(self.objective.us0),
        };
        let solutions = solve_batch(&problem, *method, solver, starts, guess)?;
        let usable = |s: &Solution| {
            let finite = s.cost.is_finite() && s.vx[0].iter().all(|v| v.is_finite());
            finite && s.feasible && s.regularization < self.settings.max_regularization
        };
        let solutions = solutions.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(solutions.into_iter().filter(usable).collect())
    }

    fn labels(&self, solutions: &[Solution]) -> ValueData<f64> {
        let mut data = ValueData::default();
        let hessians = self.settings.fit.weights.hessian > 0.0;
        for solution in solutions {
            let last = if self.settings.all_nodes { solution.horizon() } else { 1 };
            for t in 0..last {
                let raw = t == 0 && self.settings.labels == ValueLabels::LastPass;
                let (vx, vxx) = match raw {
                    true => (&solution.last_vx0, &solution.last_vxx0),
                    false => (&solution.vx[t], &solution.vxx[t]),
                };
                data.x.extend(&solution.xs[t]);
                data.v.push(solution.v[t]);
                data.vx.extend(vx);
                if hessians {
                    data.vxx.extend(vxx);
                }
            }
        }
        data
    }

    /// Takes the scalings of the data into the network, whose parameters stay.
    fn scale_to(&mut self, data: &ValueData<f64>) -> Result<(), LearnError> {
        let nx = self.network.nx();
        let n = data.v.len() as f64;
        let column = |i: usize| data.x.iter().skip(i).step_by(nx);
        let shift: Vec<f64> = (0..nx).map(|i| column(i).sum::<f64>() / n).collect();
        let deviation = |i: usize| {
            let variance = column(i).map(|x| (x - shift[i]).powi(2)).sum::<f64>() / n;
            // A coordinate that never moves needs no scale.
            if variance > 0.0 { variance.sqrt() } else { 1.0 }
        };
        let scale = (0..nx).map(deviation).collect();
        let size = data.v.iter().map(|v| v.abs()).sum::<f64>() / n;
        let value = if size > 0.0 { size } else { 1.0 };
        let spec = self.network.spec().clone();
        let params = self.network.net().params().to_vec();
        self.network = ValueNetwork::new(spec, Scaling { shift, scale, value }, params)?;
        Ok(())
    }
}

/// What a value of `task` is made of. Where its costs know no limits of the controls, those of policies
/// hold; solvers without limits do not see them.
pub(crate) fn objective(task: &dyn Task) -> Result<Objective<'_>, LearnError> {
    let unfit = |needed| LearnError::Unfit { method: "dvp", task: task.name().to_owned(), needed };
    let mut objective =
        task.objective().ok_or_else(|| unfit("an objective that is a sum of costs"))?;
    let model = task.nominal();
    if model.any_nx() != model.any_ndx() {
        return Err(unfit("states that are vectors"));
    }
    objective.control_limits = objective.control_limits.or(Some(task.action_bounds()));
    Ok(objective)
}

/// V at each state.
#[must_use]
pub fn values(network: &ValueNetwork<f64>, states: &[DVector<f64>]) -> Vec<f64> {
    let x: Vec<f64> = states.iter().flat_map(|x| x.iter().copied()).collect();
    let mut v = vec![0.0; states.len()];
    network.value(&x, &mut network.workspace(states.len()), &mut v);
    v
}

/// Mean squared difference: of two successive networks the Bellman residual, of a network and
/// long-horizon values its error.
#[must_use]
pub fn mean_squared_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64
}

/// The trajectory whose start is nearest to `x`.
fn nearest<'t>(trajectories: &'t [Trajectory], x: &DVector<f64>) -> Option<&'t Trajectory> {
    let distance = |t: &Trajectory| (&t.xs[0] - x).norm_squared();
    trajectories.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// The terminal cost of an iteration.
#[derive(Clone)]
pub enum DvpTerminalCost<'a> {
    /// The first iteration's: nothing but a bias.
    Constant {
        /// Dimension of the state.
        ndx: usize,
        /// The bias.
        value: f64,
    },
    /// A task's own, for a first iteration that is to see it.
    Task(&'a dyn AnyTerminalCost),
    /// Later iterations': the value learned so far.
    Network(Box<NeuralTerminalCost<f64>>),
}

/// Scratch of a [`DvpTerminalCost`].
pub enum DvpTerminalWorkspace {
    /// Of a constant.
    None,
    /// Of a task's cost.
    Task(Scratch),
    /// Of a network.
    Network(Box<TerminalWorkspace<f64>>),
}

impl DvpTerminalCost<'_> {
    /// V, or V − V(anchor), of a network.
    pub(crate) fn learned(network: ValueNetwork<f64>, settings: &DvpSettings) -> Self {
        let mut cost = NeuralTerminalCost::new(network, settings.hessian_kind());
        if !settings.anchor.is_empty() {
            let anchor = DVector::from_column_slice(&settings.anchor);
            cost.bias = -values(&cost.net, &[anchor])[0];
        }
        Self::Network(Box::new(cost))
    }
}

impl TerminalCost for DvpTerminalCost<'_> {
    type Workspace = DvpTerminalWorkspace;

    fn ndx(&self) -> usize {
        match self {
            Self::Constant { ndx, .. } => *ndx,
            Self::Task(cost) => cost.any_ndx(),
            Self::Network(cost) => cost.ndx(),
        }
    }
    fn workspace(&self) -> Self::Workspace {
        match self {
            Self::Constant { .. } => DvpTerminalWorkspace::None,
            Self::Task(cost) => DvpTerminalWorkspace::Task(cost.any_workspace()),
            Self::Network(cost) => DvpTerminalWorkspace::Network(Box::new(cost.workspace())),
        }
    }
    fn terminal(&self, ws: &mut Self::Workspace, x: &DVector<f64>) -> f64 {
        match (self, ws) {
            (Self::Constant { value, .. }, _) => *value,
            (Self::Task(cost), DvpTerminalWorkspace::Task(ws)) => cost.any_terminal(ws, x),
            (Self::Network(cost), DvpTerminalWorkspace::Network(ws)) => cost.terminal(ws, x),
            // Another cost's workspace.
            _ => f64::NAN,
        }
    }
    fn expand_terminal(&self, ws: &mut Self::Workspace, x: &DVector<f64>, out: &mut CostExpansion) {
        match (self, &mut *ws) {
            (Self::Task(cost), DvpTerminalWorkspace::Task(ws)) => {
                cost.any_expand_terminal(ws, x, out);
            }
            (Self::Network(cost), DvpTerminalWorkspace::Network(ws)) => {
                cost.expand_terminal(ws, x, out);
            }
            _ => {
                out.l = self.terminal(ws, x);
                out.lx.fill(0.0);
                out.lxx.fill(0.0);
            }
        }
    }
    fn hessian_kind(&self) -> HessianKind {
        match self {
            Self::Constant { .. } => HessianKind::Exact,
            Self::Task(cost) => cost.any_hessian_kind(),
            Self::Network(cost) => TerminalCost::hessian_kind(&**cost),
        }
    }
}
