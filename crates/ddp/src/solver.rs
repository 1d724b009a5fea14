//! The iteration that all methods share.

use std::time::Instant;

use dynamics::{Cost, CostExpansion, Dynamics, HessianProduct, TerminalCost};
use nalgebra::DVector;

use crate::backward_pass::{Failure, HUGE, NodeModel, Regularization, Riccati};
use crate::forward_pass::Expectation;
use crate::refresh::Values;
use crate::regularization;
use crate::trajectory::{Node, Scratch, Trajectory, all_finite, has_bad_number, linearize};
use crate::{DdpError, Guess, IterationRow, Method, Problem, Settings, Solution, Status};

/// Rows of the log that are reserved ahead; longer logs allocate.
const LOG_CAPACITY: usize = 1024;
/// What rounding does to the cost of a roll-out, in units of the sum of its terms' sizes.
const ROUNDING: f64 = 64.0 * f64::EPSILON;
/// With a larger μ a small expected improvement does not mean an optimum.
const TRUSTED_REGULARIZATION: f64 = 1e-5;
/// Control-limited methods leave Crocoddyl's formulas for the exact ones after a step this short.
const STUCK_STEP: f64 = 0.01;

/// A solver with its workspace: made once, used for many solves of one problem.
///
/// [`Solver::solve`] allocates only what it returns; the iteration allocates nothing.
pub struct Solver<'a, D: Dynamics, C: Cost, E: TerminalCost> {
    pub(crate) problem: Problem<'a, D, C, E>,
    pub(crate) method: Method,
    pub(crate) settings: Settings,
    pub(crate) scratch: Vec<Scratch<D, C>>,
    pub(crate) terminal_ws: E::Workspace,
    /// Step of the cost's clock at node 0.
    pub(crate) t0: usize,
    pub(crate) x0: DVector<f64>,
    pub(crate) now: Trajectory,
    pub(crate) trial: Trajectory,
    pub(crate) nodes: Vec<Node>,
    pub(crate) terminal: CostExpansion,
    pub(crate) riccati: Riccati,
    curvature: Option<HessianProduct>,
    /// Whether the backward pass takes the curvature of the dynamics.
    pub(crate) curved: bool,
    /// V_xx gap of each node.
    pub(crate) vxx_gaps: Vec<DVector<f64>>,
    pub(crate) expectation: Expectation,
    /// Whether the trajectory has no gaps.
    pub(crate) feasible: bool,
    pub(crate) mu: f64,
    /// Whether control limits count exactly, also for controls that still move to a limit and across
    /// gaps: see [`NodeModel::general`].
    pub(crate) exact_box: bool,
    /// Whether a feasibility-driven method gave up on its gaps, which then close at the next step.
    pub(crate) closing: bool,
    /// Iterations before the last one.
    pub(crate) iterations: usize,
    /// The node at which the last roll-out that failed did so.
    pub(crate) trouble: Option<usize>,
    pub(crate) dx: DVector<f64>,
    pub(crate) x_next: DVector<f64>,
    lambda: DVector<f64>,
    room: [Vec<f64>; 2],
    pub(crate) log: Vec<IterationRow>,
}

impl<'a, D: Dynamics, C: Cost, E: TerminalCost> Solver<'a, D, C, E> {
    /// A solver of `problem`.
    ///
    /// # Errors
    /// [`DdpError`] for parts of the problem that do not fit together and settings out of range.
    pub fn new(
        problem: Problem<'a, D, C, E>,
        method: Method,
        settings: Settings,
    ) -> Result<Self, DdpError> {
        problem.check()?;
        settings.check()?;
        let (nx, ndx, nu) = (problem.dynamics.nx(), problem.dynamics.ndx(), problem.dynamics.nu());
        let horizon = problem.horizon;
        let trajectory = || Trajectory::new(nx, ndx, nu, horizon);
        Ok(Self {
            scratch: (0..settings.threads).map(|_| Scratch::of(&problem)).collect(),
            terminal_ws: problem.terminal.workspace(),
            t0: 0,
            x0: DVector::zeros(nx),
            now: trajectory(),
            trial: trajectory(),
            nodes: (0..horizon).map(|_| Node::new(ndx, nu)).collect(),
            terminal: CostExpansion::zeros(ndx, nu),
            riccati: Riccati::new(ndx, nu),
            curvature: method.second_order().then(|| HessianProduct::of(problem.dynamics)),
            curved: method.second_order(),
            vxx_gaps: vec![DVector::zeros(ndx); horizon + 1],
            expectation: Expectation::default(),
            feasible: false,
            mu: settings.regularization,
            exact_box: false,
            closing: false,
            iterations: 0,
            trouble: None,
            dx: DVector::zeros(ndx),
            x_next: DVector::zeros(nx),
            lambda: DVector::zeros(ndx),
            room: [vec![0.0; nu], vec![0.0; nu]],
            log: Vec::with_capacity(settings.max_iterations.min(LOG_CAPACITY)),
            problem,
            method,
            settings,
        })
    }

    /// Solves from `x0`.
    ///
    /// # Errors
    /// [`DdpError`] for a guess or state of the wrong size and for a model that fails on the guess or
    /// on an iterate. Everything else is a [`Status`].
    pub fn solve(&mut self, x0: &DVector<f64>, guess: Guess<'_>) -> Result<Solution, DdpError> {
        self.solve_observed(x0, guess, &mut |_| {})
    }

    /// [`Solver::solve`], with every row of the log shown to `observer` as it comes.
    ///
    /// # Errors
    /// As [`Solver::solve`].
    pub fn solve_observed(
        &mut self,
        x0: &DVector<f64>,
        guess: Guess<'_>,
        observer: &mut dyn FnMut(&IterationRow),
    ) -> Result<Solution, DdpError> {
        self.set_guess(x0, guess)?;
        let status = self.iterate(observer)?;
        self.solution(status)
    }

    /// Solves from `x0` in place, without an allocation and without the values of the nodes: see
    /// [`Solver::xs`], [`Solver::us`], [`Solver::cost`] and [`Solver::log`].
    ///
    /// # Errors
    /// As [`Solver::solve`].
    pub fn solve_in_place(
        &mut self,
        x0: &DVector<f64>,
        guess: Guess<'_>,
    ) -> Result<Status, DdpError> {
        self.set_guess(x0, guess)?;
        self.iterate(&mut |_| {})
    }

    /// States of the trajectory found last, T + 1.
    pub fn xs(&self) -> &[DVector<f64>] {
        &self.now.xs
    }
    /// Controls of the trajectory found last, T.
    pub fn us(&self) -> &[DVector<f64>] {
        &self.now.us
    }
    /// Cost of the trajectory found last.
    pub fn cost(&self) -> f64 {
        self.now.cost
    }
    /// One row per iteration of the last solve.
    pub fn log(&self) -> &[IterationRow] {
        &self.log
    }

    /// Iterates from where the solver stands.
    pub(crate) fn iterate(
        &mut self,
        observer: &mut dyn FnMut(&IterationRow),
    ) -> Result<Status, DdpError> {
        let start = Instant::now();
        let settings = self.settings.clone();
        self.mu = settings.regularization;
        self.log.clear();
        self.closing = false;
        if !self.feasible {
            self.evaluate()?;
        }
        if let Some(node) = self.first_bad_value() {
            return Ok(Status::NotFinite { node });
        }
        let mut was_feasible = false;
        let mut moved = true;
        for iter in 0..settings.max_iterations {
            self.iterations = iter;
            if iter > 0 && start.elapsed().as_secs_f64() > settings.time_budget {
                return Ok(Status::TimeBudget);
            }
            if moved {
                self.linearize()?;
            }
            if let Err(status) = self.direction(&settings) {
                return Ok(status);
            }
            let (reg, feas) = (self.mu, self.now.largest_gap());
            let accepted = self.line_search(&settings);
            moved = accepted.is_some();
            let (step, dv) = accepted.unwrap_or((0.0, 0.0));
            let e = self.expectation;
            let stop = (e.slope + 0.5 * e.curvature).abs() + e.clamped;
            if moved {
                was_feasible = self.feasible;
                std::mem::swap(&mut self.now, &mut self.trial);
                self.feasible |= step == 1.0 || !self.keeps_gaps();
            }
            let dv_exp = e.at(step);
            let cost = self.now.cost;
            let row = IterationRow { iter, cost, stop, grad: e.slope, reg, step, feas, dv_exp, dv };
            self.log.push(row);
            observer(&row);
            let invisible = !moved && self.feasible && self.too_small_to_see(&settings);
            if reg <= TRUSTED_REGULARIZATION && (was_feasible && stop < settings.stop || invisible)
            {
                return Ok(Status::Converged);
            }
            if self.method.boxed() && !self.exact_box && step <= STUCK_STEP {
                self.exact_box = true;
                if !moved {
                    continue;
                }
            } else if self.method.boxed() && !moved && self.keeps_gaps() && !self.feasible {
                self.closing = true;
                continue;
            }
            if step > settings.long_step {
                regularization::decrease(&mut self.mu, &settings);
            }
            if (step <= settings.short_step || !moved)
                && !regularization::increase(&mut self.mu, &settings)
            {
                return Ok(match self.trouble {
                    Some(node) if !moved => Status::NotFinite { node },
                    _ => Status::LineSearchFailed,
                });
            }
        }
        self.iterations = settings.max_iterations;
        Ok(Status::IterationLimit)
    }

    /// Costs and gaps of the trajectory (Crocoddyl's `calc`).
    ///
    /// # Errors
    /// [`DdpError::Model`].
    pub fn evaluate(&mut self) -> Result<(), DdpError> {
        let (problem, t0) = (self.problem, self.t0);
        let states = problem.dynamics.states();
        let [scratch, ..] = &mut self.scratch[..] else { return Ok(()) };
        let Trajectory { xs, us, costs, gaps, .. } = &mut self.now;
        states.difference(&xs[0], &self.x0, &mut gaps[0]);
        for (t, u) in us.iter().enumerate() {
            costs[t] = problem.cost.stage(&mut scratch.cost, t0 + t, &xs[t], u);
            problem
                .dynamics
                .step(&mut scratch.dynamics, &xs[t], u, &mut self.x_next)
                .map_err(|source| DdpError::Model { t, source })?;
            states.difference(&xs[t + 1], &self.x_next, &mut gaps[t + 1]);
        }
        costs[us.len()] = problem.terminal.terminal(&mut self.terminal_ws, &xs[us.len()]);
        self.now.sum_costs(problem.discount);
        Ok(())
    }

    /// The first node whose cost or following gap is not finite.
    pub(crate) fn first_bad_value(&self) -> Option<usize> {
        let Trajectory { costs, gaps, .. } = &self.now;
        let horizon = self.problem.horizon;
        (0..=horizon).find(|&t| {
            let gap = &gaps[(t + 1).min(horizon)];
            !(costs[t].abs() < HUGE && all_finite(gap.as_slice()))
        })
    }

    fn first_bad_derivative(&self) -> Option<usize> {
        let bad = self.nodes.iter().position(Node::has_bad_number);
        bad.or_else(|| has_bad_number(&self.terminal).then_some(self.problem.horizon))
    }

    /// Derivatives of dynamics and costs at the trajectory (Crocoddyl's `calcDiff`).
    ///
    /// # Errors
    /// [`DdpError::Model`].
    pub fn linearize(&mut self) -> Result<(), DdpError> {
        linearize(&self.problem, self.t0, &self.now, &mut self.nodes, &mut self.scratch)?;
        let last = &self.now.xs[self.problem.horizon];
        self.problem.terminal.expand_terminal(&mut self.terminal_ws, last, &mut self.terminal);
        Ok(())
    }

    /// The direction of the iteration: backward passes until one succeeds, for full second order
    /// first with and then without the curvature of the dynamics, at last with growing μ.
    fn direction(&mut self, settings: &Settings) -> Result<(), Status> {
        self.curved = self.takes_curvature();
        loop {
            let regularization = Regularization { mu: self.mu, plain_value: false };
            let Err((node, failure)) = self.sweep(regularization, None) else {
                return Ok(());
            };
            // A number that is not finite also shows as a Hessian that cannot be factorised.
            if let Some(node) = self.first_bad_derivative() {
                return Err(Status::NotFinite { node });
            }
            if std::mem::take(&mut self.curved) {
                continue;
            }
            if !regularization::increase(&mut self.mu, settings) {
                return Err(match failure {
                    Failure::Indefinite => Status::RegularizationLimit,
                    Failure::NotFinite => Status::NotFinite { node },
                });
            }
        }
    }

    /// Whether steps shorter than 1 leave a share of the gaps.
    pub(crate) fn keeps_gaps(&self) -> bool {
        self.method.keeps_gaps() && !self.closing
    }

    /// The curvature of the dynamics counts on feasible trajectories only: across gaps the costate
    /// grows with μ, and with it a curvature that no μ makes positive definite.
    pub(crate) fn takes_curvature(&self) -> bool {
        self.method.second_order() && self.feasible
    }

    /// Gains of all nodes from their derivatives, with regularisation `mu`; false if some control
    /// Hessian is not positive definite or a value not finite.
    pub fn backward_pass(&mut self, mu: f64) -> bool {
        self.curved = self.takes_curvature();
        self.sweep(Regularization { mu, plain_value: false }, None).is_ok()
    }

    /// The backward pass: gains of all nodes and the parts of the expected improvement that come
    /// with them; with `values` also the value's expansion at each node.
    pub(crate) fn sweep(
        &mut self,
        regularization: Regularization,
        mut values: Option<&mut Values>,
    ) -> Result<(), (usize, Failure)> {
        let problem = self.problem;
        // Steps that close gaps know no limits, nor do Crocoddyl's first ones.
        let closing = self.closing && !self.feasible;
        let general = (self.exact_box && !closing) || regularization.plain_value;
        let limits =
            problem.control_limits.filter(|_| self.method.boxed() && (self.feasible || general));
        let (crossing, keeps_gaps) = (!self.feasible, self.keeps_gaps());
        let mut e = Expectation::default();
        self.riccati.start(&self.terminal, regularization);
        for t in (0..=problem.horizon).rev() {
            if let Some(node) = self.nodes.get_mut(t) {
                self.riccati.discount(problem.discount);
                e.discount(problem.discount);
                let mut curvature = self.curvature.as_mut().filter(|_| self.curved);
                if let (Some(product), [scratch, ..]) = (&mut curvature, &mut self.scratch[..]) {
                    self.lambda.as_mut_slice().copy_from_slice(&self.riccati.vx);
                    let (x, u) = (&self.now.xs[t], &self.now.us[t]);
                    let ws = &mut scratch.dynamics;
                    let done = problem.dynamics.hessian_product(ws, x, u, &self.lambda, product);
                    done.map_err(|_| (t, Failure::NotFinite))?;
                }
                if let Some(limits) = limits {
                    let [low, high] = &mut self.room;
                    for (j, &u) in self.now.us[t].iter().enumerate() {
                        low[j] = limits.low[j] - u;
                        high[j] = limits.high[j] - u;
                    }
                }
                let model = NodeModel {
                    jacobian: &node.jacobian,
                    cost: &node.cost,
                    curvature: curvature.as_deref(),
                    room: limits.map(|_| (&self.room[0][..], &self.room[1][..])),
                    general,
                };
                self.riccati
                    .step(&model, regularization, &mut node.k, &mut node.gains)
                    .map_err(|failure| (t, failure))?;
                e.slope_part -= self.riccati.linear;
                e.curvature_part -= self.riccati.quadratic;
                e.clamped += self.riccati.clamped;
            }
            if let Some(values) = &mut values {
                self.riccati.value(&mut values.vx[t], &mut values.vxx[t]);
            }
            if crossing {
                let (gap, vxx_gap) = (&self.now.gaps[t], &mut self.vxx_gaps[t]);
                self.riccati.cross_gap(gap, vxx_gap);
                if keeps_gaps {
                    let vx_gap: f64 =
                        self.riccati.vx.iter().zip(gap.iter()).map(|(vx, gap)| vx * gap).sum();
                    e.slope_part -= vx_gap;
                    e.curvature_part += gap.dot(vxx_gap);
                }
            }
        }
        (e.slope, e.curvature) = (e.slope_part, e.curvature_part);
        self.expectation = e;
        Ok(())
    }

    /// Tries α = 1, ½, ¼, …; the first step that is accepted and its improvement.
    fn line_search(&mut self, settings: &Settings) -> Option<(f64, f64)> {
        self.trouble = None;
        let mut step = 1.0;
        for _ in 0..settings.n_step_lengths {
            if self.forward_pass(step) {
                self.expected_improvement();
                let improvement = self.now.cost - self.trial.cost;
                let expected = self.expectation.at(step);
                if self.accepts(settings, improvement, expected) {
                    return Some((step, improvement));
                }
            }
            step *= 0.5;
        }
        None
    }

    /// The Goldstein-like condition of FDDP; the other methods accept every promising step from a
    /// trajectory with gaps.
    fn accepts(&self, settings: &Settings, improvement: f64, expected: f64) -> bool {
        if expected < 0.0 {
            return self.keeps_gaps()
                && !self.feasible
                && improvement > settings.accept_rise * expected;
        }
        // From a feasible trajectory the cost never rises by more than its rounding error.
        let harmless = !self.feasible || improvement >= -ROUNDING * self.now.scale;
        improvement > settings.accept_ratio * expected
            || (self.too_small_to_see(settings) && harmless)
            || (!self.feasible && !self.keeps_gaps())
    }

    /// Whether the expected improvement drowns in the rounding of the cost.
    fn too_small_to_see(&self, settings: &Settings) -> bool {
        let e = &self.expectation;
        e.slope.abs() + e.clamped < settings.min_slope.max(ROUNDING * self.now.scale)
    }
}
