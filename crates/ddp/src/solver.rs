//! The iteration that all methods share.

use std::time::Instant;

use dynamics::{Cost, CostExpansion, Dynamics, HessianProduct, TerminalCost, check_vector};
use nalgebra::{DMatrix, DVector};

use crate::backward_pass::{Failure, HUGE, NodeModel, Regularization, Riccati};
use crate::forward_pass::Expectation;
use crate::regularization;
use crate::trajectory::{Node, Scratch, Trajectory, all_finite, has_bad_number, linearize};
use crate::{DdpError, IterationRow, Method, Problem, Settings, Solution, Status};

/// Rows of the log that are reserved ahead; longer logs allocate.
const LOG_CAPACITY: usize = 1024;
/// Rounding error of a sum of costs, in units of the sum of their sizes.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// Where a solve begins.
#[derive(Debug, Clone, Copy)]
pub enum Guess<'a> {
    /// The initial state and this control at every node: a trajectory with gaps, unless x₀ is a rest
    /// under the control. What Crocoddyl does without a guess.
    Repeat(&'a DVector<f64>),
    /// These controls (T of them), rolled out: feasible.
    Controls(&'a [DVector<f64>]),
    /// These states (T + 1) and controls (T); gaps are found.
    Trajectory(&'a [DVector<f64>], &'a [DVector<f64>]),
}

impl<'a> Guess<'a> {
    /// The trajectory of a solution, for a warm start.
    #[must_use]
    pub fn of(solution: &'a Solution) -> Self {
        Self::Trajectory(&solution.xs, &solution.us)
    }
}

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
    riccati: Riccati,
    curvature: Option<HessianProduct>,
    /// Whether the backward pass takes the curvature of the dynamics.
    curved: bool,
    /// V_xx gap of each node.
    pub(crate) vxx_gaps: Vec<DVector<f64>>,
    pub(crate) expectation: Expectation,
    /// Whether the trajectory has no gaps.
    pub(crate) feasible: bool,
    mu: f64,
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

    /// Puts the solver at a guess; limited controls are moved into their box.
    ///
    /// With [`Solver::evaluate`], [`Solver::linearize`], [`Solver::backward_pass`] and
    /// [`Solver::forward_pass`] it makes an iteration of one's own; [`Solver::solve`] is made of them.
    ///
    /// # Errors
    /// [`DdpError`] for a state or guess of the wrong size or with entries that are not finite.
    pub fn set_guess(&mut self, x0: &DVector<f64>, guess: Guess<'_>) -> Result<(), DdpError> {
        let problem = self.problem;
        let (name, nu) = (problem.dynamics.name(), problem.dynamics.nu());
        problem.check_state("x0", x0)?;
        self.x0.copy_from(x0);
        let length = |what, found, needed| match found == needed {
            true => Ok(()),
            false => Err(DdpError::GuessLength { what, found, needed }),
        };
        self.now.xs.iter_mut().for_each(|x| x.copy_from(x0));
        match guess {
            Guess::Repeat(u) => {
                check_vector(name, "the guess of the control", u.as_slice(), nu)?;
                self.now.us.iter_mut().for_each(|to| to.copy_from(u));
            }
            Guess::Controls(us) => self.set_controls(us, length)?,
            Guess::Trajectory(xs, us) => {
                length("states", xs.len(), problem.horizon + 1)?;
                self.set_controls(us, length)?;
                for (to, x) in self.now.xs.iter_mut().zip(xs) {
                    problem.check_state("a state of the guess", x)?;
                    to.copy_from(x);
                }
            }
        }
        if let Some(limits) = problem.control_limits.filter(|_| self.method.boxed()) {
            for u in &mut self.now.us {
                let limits = limits.low.iter().zip(&limits.high);
                u.iter_mut().zip(limits).for_each(|(u, (&low, &high))| *u = u.clamp(low, high));
            }
        }
        // A roll-out from a trajectory with zero gains is feasible.
        let roll_out = matches!(guess, Guess::Controls(_));
        if roll_out {
            for node in &mut self.nodes {
                node.k.fill(0.0);
                node.gains.fill(0.0);
            }
            self.trouble = None;
            if self.forward_pass(1.0) {
                std::mem::swap(&mut self.now, &mut self.trial);
            }
        }
        self.feasible = roll_out && self.trouble.is_none();
        Ok(())
    }

    fn set_controls(
        &mut self,
        us: &[DVector<f64>],
        length: impl Fn(&'static str, usize, usize) -> Result<(), DdpError>,
    ) -> Result<(), DdpError> {
        length("controls", us.len(), self.problem.horizon)?;
        for (to, u) in self.now.us.iter_mut().zip(us) {
            let name = self.problem.dynamics.name();
            check_vector(name, "a control of the guess", u.as_slice(), to.len())?;
            to.copy_from(u);
        }
        Ok(())
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
        if !self.feasible {
            self.evaluate()?;
        }
        if let Some(node) = self.first_bad_value() {
            return Ok(Status::NotFinite { node });
        }
        let mut was_feasible = false;
        let mut moved = true;
        for iter in 0..settings.max_iterations {
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
            let stop = (e.slope + 0.5 * e.curvature).abs();
            if moved {
                was_feasible = self.feasible;
                std::mem::swap(&mut self.now, &mut self.trial);
                self.feasible |= step == 1.0 || !self.method.keeps_gaps();
            }
            let dv_exp = e.at(step);
            let cost = self.now.cost;
            let row = IterationRow { iter, cost, stop, grad: e.slope, reg, step, feas, dv_exp, dv };
            self.log.push(row);
            observer(&row);
            if step > settings.long_step {
                regularization::decrease(&mut self.mu, &settings);
            }
            if step <= settings.short_step && !regularization::increase(&mut self.mu, &settings) {
                return Ok(match self.trouble {
                    Some(node) if !moved => Status::NotFinite { node },
                    _ => Status::LineSearchFailed,
                });
            }
            if was_feasible && stop < settings.stop {
                return Ok(Status::Converged);
            }
        }
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
    fn first_bad_value(&self) -> Option<usize> {
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

    /// The curvature of the dynamics counts on feasible trajectories only: across gaps the costate
    /// grows with μ, and with it a curvature that no μ makes positive definite.
    fn takes_curvature(&self) -> bool {
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
    fn sweep(
        &mut self,
        regularization: Regularization,
        mut values: Option<&mut Values>,
    ) -> Result<(), (usize, Failure)> {
        let problem = self.problem;
        let limits = problem.control_limits.filter(|_| self.method.boxed() && self.feasible);
        let crossing = !self.feasible;
        let mut weight = problem.discount.powi(problem.horizon.try_into().unwrap_or(i32::MAX));
        let mut e = Expectation::default();
        self.riccati.start(&self.terminal, regularization);
        for t in (0..=problem.horizon).rev() {
            if let Some(node) = self.nodes.get_mut(t) {
                self.riccati.discount(problem.discount);
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
                };
                self.riccati
                    .step(&model, regularization, &mut node.k, &mut node.gains)
                    .map_err(|failure| (t, failure))?;
                e.slope_part -= weight * self.riccati.linear;
                e.curvature_part -= weight * self.riccati.quadratic;
            }
            if let Some(values) = &mut values {
                self.riccati.value(&mut values.vx[t], &mut values.vxx[t]);
            }
            if crossing {
                let (gap, vxx_gap) = (&self.now.gaps[t], &mut self.vxx_gaps[t]);
                self.riccati.cross_gap(gap, vxx_gap);
                if self.method.keeps_gaps() {
                    let vx_gap: f64 =
                        self.riccati.vx.iter().zip(gap.iter()).map(|(vx, gap)| vx * gap).sum();
                    e.slope_part -= weight * vx_gap;
                    e.curvature_part += weight * gap.dot(vxx_gap);
                }
            }
            weight /= problem.discount;
        }
        (e.slope, e.curvature) = (e.slope_part, e.curvature_part);
        self.expectation = e;
        Ok(())
    }

    /// Tries α = 1, ½, ¼, …; the first step that is accepted and its improvement.
    fn line_search(&mut self, settings: &Settings) -> Option<(f64, f64)> {
        self.trouble = None;
        let rounding = settings.min_slope.max(ROUNDING * self.now.scale);
        let mut step = 1.0;
        for _ in 0..settings.n_step_lengths {
            if self.forward_pass(step) {
                self.expected_improvement();
                let improvement = self.now.cost - self.trial.cost;
                let expected = self.expectation.at(step);
                if self.accepts(settings, improvement, expected, rounding) {
                    return Some((step, improvement));
                }
            }
            step *= 0.5;
        }
        None
    }

    /// The Goldstein-like condition of FDDP; the other methods accept every promising step from a
    /// trajectory with gaps.
    fn accepts(&self, settings: &Settings, improvement: f64, expected: f64, rounding: f64) -> bool {
        if expected < 0.0 {
            return self.method.keeps_gaps()
                && !self.feasible
                && improvement > settings.accept_rise * expected;
        }
        let small = self.expectation.slope.abs() < rounding;
        // From a feasible trajectory the cost never rises by more than its rounding error.
        let harmless = !self.feasible || improvement >= -rounding;
        improvement > settings.accept_ratio * expected
            || (small && harmless)
            || (!self.feasible && !self.method.keeps_gaps())
    }

    /// What was found, with gains and values at the trajectory itself: one more linearisation and a
    /// backward pass without regularisation. Where that fails, the gains need μ and the value is that
    /// of the policy with those gains, still in the plain quadratic model.
    pub(crate) fn solution(&mut self, status: Status) -> Result<Solution, DdpError> {
        let problem = self.problem;
        let (ndx, nu, horizon) = (problem.dynamics.ndx(), problem.dynamics.nu(), problem.horizon);
        let mut values = Values {
            vx: vec![DVector::from_element(ndx, f64::NAN); horizon + 1],
            vxx: vec![DMatrix::from_element(ndx, ndx, f64::NAN); horizon + 1],
        };
        let mut last_vx0 = DVector::from_element(ndx, f64::NAN);
        let mut last_vxx0 = DMatrix::from_element(ndx, ndx, f64::NAN);
        if !self.log.is_empty() {
            self.riccati.value(&mut last_vx0, &mut last_vxx0);
        }
        let found = self.first_bad_value().is_none() && self.refresh(Some(&mut values))?;
        if !found {
            for node in &mut self.nodes {
                node.k = DVector::from_element(nu, f64::NAN);
                node.gains = DMatrix::from_element(nu, ndx, f64::NAN);
            }
        }
        let Trajectory { xs, us, costs, gaps, cost, .. } = &self.now;
        let mut v = costs.clone();
        for t in (0..horizon).rev() {
            v[t] += problem.discount * v[t + 1];
        }
        v[0] = *cost;
        let multiplier =
            |((vx, vxx), gap): ((&DVector<f64>, &DMatrix<f64>), &DVector<f64>)| vx + vxx * gap;
        let multipliers = values.vx.iter().zip(&values.vxx).zip(gaps).map(multiplier).collect();
        Ok(Solution {
            method: self.method,
            status,
            iterations: match status {
                Status::IterationLimit => self.settings.max_iterations,
                _ => self.log.len().saturating_sub(1),
            },
            cost: *cost,
            discount: problem.discount,
            feasible: self.feasible,
            regularization: self.mu,
            xs: xs.clone(),
            us: us.clone(),
            k: self.nodes.iter().map(|node| node.k.clone()).collect(),
            gains: self.nodes.iter().map(|node| node.gains.clone()).collect(),
            v,
            vx: values.vx,
            vxx: values.vxx,
            gaps: gaps.clone(),
            multipliers,
            last_vx0,
            last_vxx0,
            log: self.log.clone(),
        })
    }

    /// Linearises at the trajectory and computes gains (and values) there; false if no regularisation
    /// makes that possible.
    pub(crate) fn refresh(&mut self, mut values: Option<&mut Values>) -> Result<bool, DdpError> {
        self.linearize()?;
        self.curved = self.takes_curvature();
        let mut mu = 0.0;
        loop {
            let regularization = Regularization { mu, plain_value: true };
            if self.sweep(regularization, values.as_deref_mut()).is_ok() {
                return Ok(true);
            }
            if !regularization::increase(&mut mu, &self.settings) {
                return Ok(false);
            }
        }
    }
}

/// Expansion of the value at every node.
pub(crate) struct Values {
    pub(crate) vx: Vec<DVector<f64>>,
    pub(crate) vxx: Vec<DMatrix<f64>>,
}
