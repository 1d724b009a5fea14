//! Model predictive control: solve, apply, shift, solve again.

use std::time::Instant;

use dynamics::{Cost, Dynamics, Plant, TerminalCost, check_vector};
use nalgebra::DVector;

use crate::forward_pass::clamp;
use crate::settings::{UNLIMITED_SECONDS, check_budget};
use crate::{DdpError, Guess, Method, Problem, Settings, Solution, Solver, Status};

/// A receding-horizon controller that keeps its plan from tick to tick. After it is made, a tick
/// allocates nothing.
pub struct Mpc<'a, D: Dynamics, C: Cost, E: TerminalCost> {
    solver: Solver<'a, D, C, E>,
    u_guess: DVector<f64>,
    settings: MpcSettings,
    /// Whether a tick has succeeded.
    started: bool,
    /// Whether there is a plan to go on from.
    planned: bool,
    dx: DVector<f64>,
    reference: DVector<f64>,
}

/// What a tick may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MpcSettings {
    /// Iterations per tick at most; until a first tick succeeds those of [`Settings`].
    pub iterations: usize,
    /// Seconds per tick after which no new iteration begins.
    pub time_budget: f64,
    /// Whether a tick ends with gains at the new plan itself, for one more linearisation and backward
    /// pass. Without it they are those of the plan before the last step.
    pub fresh_gains: bool,
}

impl Default for MpcSettings {
    fn default() -> Self {
        Self { iterations: 2, time_budget: UNLIMITED_SECONDS, fresh_gains: true }
    }
}

/// What a tick did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick {
    /// Why it ended; the iteration limit is no fault here.
    pub status: Status,
    /// Iterations done.
    pub iterations: usize,
    /// Cost of the plan.
    pub cost: f64,
    /// Whether the gains belong to the plan itself.
    pub fresh_gains: bool,
    /// Seconds it took.
    pub seconds: f64,
}

impl<'a, D: Dynamics, C: Cost, E: TerminalCost> Mpc<'a, D, C, E> {
    /// A controller for `problem`, whose first plan is searched from `u_guess` at every node.
    ///
    /// # Errors
    /// As [`Solver::new`].
    pub fn new(
        problem: Problem<'a, D, C, E>,
        method: Method,
        first: Settings,
        settings: MpcSettings,
        u_guess: &DVector<f64>,
    ) -> Result<Self, DdpError> {
        if settings.iterations == 0 {
            return Err(DdpError::Setting { key: "iterations", value: 0.0, needed: "at least 1" });
        }
        let (key, value, right, needed) = check_budget(settings.time_budget);
        if !right {
            return Err(DdpError::Setting { key, value, needed });
        }
        let (name, nu) = (problem.dynamics.name(), problem.dynamics.nu());
        check_vector(name, "u_guess", u_guess.as_slice(), nu)?;
        let (nx, ndx) = (problem.dynamics.nx(), problem.dynamics.ndx());
        Ok(Self {
            solver: Solver::new(problem, method, first)?,
            u_guess: u_guess.clone(),
            settings,
            started: false,
            planned: false,
            dx: DVector::zeros(ndx),
            reference: DVector::zeros(nx),
        })
    }

    /// Plans from the state `x`, which node 0 of the plan stands for.
    ///
    /// # Errors
    /// As [`Solver::solve`]; the plan before the call is kept where `x` is refused. After another error
    /// or [`Status::NotFinite`] the next tick plans from the first guess, within the budget of a tick.
    pub fn tick(&mut self, x: &DVector<f64>) -> Result<Tick, DdpError> {
        let start = Instant::now();
        self.solver.problem.check_state("x", x)?;
        if self.planned {
            self.solver.x0.copy_from(x);
            self.solver.feasible = false;
        } else {
            self.solver.set_guess(x, Guess::Repeat(&self.u_guess))?;
        }
        // Here nobody's path is to be followed.
        self.solver.exact_box = true;
        // A model that fails on the old plan is asked again from the first guess.
        self.planned = false;
        let status = self.solver.iterate(&mut |_| {})?;
        self.planned = !matches!(status, Status::NotFinite { .. });
        if self.planned && !self.started {
            self.started = true;
            self.solver.settings.max_iterations = self.settings.iterations;
            self.solver.settings.time_budget = self.settings.time_budget;
        }
        let fresh = self.settings.fresh_gains && self.planned && self.solver.refresh(None)?;
        Ok(Tick {
            status,
            iterations: self.solver.log.len(),
            cost: self.solver.cost(),
            fresh_gains: fresh,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// Moves the plan on by `nodes` nodes (at most the horizon); the last control and its gains are
    /// repeated at the end.
    ///
    /// # Errors
    /// [`DdpError::Model`] if the model fails beyond the end of the plan.
    pub fn shift(&mut self, nodes: usize) -> Result<(), DdpError> {
        let Solver { problem, now, nodes: models, scratch, t0, .. } = &mut self.solver;
        *t0 += nodes.saturating_sub(problem.horizon);
        for _ in 0..nodes.min(problem.horizon) {
            now.xs.rotate_left(1);
            now.us.rotate_left(1);
            models.rotate_left(1);
            *t0 += 1;
            let last = problem.horizon - 1;
            if last > 0 {
                let (before, after) = now.us.split_at_mut(last);
                after[0].copy_from(&before[last - 1]);
                let (before, after) = models.split_at_mut(last);
                after[0].gains.copy_from(&before[last - 1].gains);
            }
            if let [scratch, ..] = &mut scratch[..] {
                let (before, after) = now.xs.split_at_mut(last + 1);
                problem
                    .dynamics
                    .step(&mut scratch.dynamics, &before[last], &now.us[last], &mut after[0])
                    .map_err(|source| DdpError::Model { t: last, source })?;
            }
        }
        Ok(())
    }

    /// The control of node 0 of the plan; zero before the first tick.
    pub fn u0(&self) -> &DVector<f64> {
        &self.solver.now.us[0]
    }

    /// Writes the control for state `x` at `time` nodes after the tick (0.25: a quarter of the first
    /// step): u = usₜ + Kₜ (x ⊖ x̄) with x̄ on the line between the plan's states, moved into the
    /// control limits if the method keeps them.
    ///
    /// # Errors
    /// A state or control of the wrong size, a state or time that is not finite,
    /// [`DdpError::NoPlan`] before the first tick.
    pub fn control(
        &mut self,
        time: f64,
        x: &DVector<f64>,
        u: &mut DVector<f64>,
    ) -> Result<(), DdpError> {
        let Solver { problem, now, nodes, method, .. } = &self.solver;
        if !self.started {
            return Err(DdpError::NoPlan);
        }
        if !time.is_finite() {
            return Err(DdpError::Setting { key: "time", value: time, needed: "finite" });
        }
        problem.check_state("x", x)?;
        let (found, needed) = (u.len(), problem.dynamics.nu());
        if found != needed {
            let model = problem.dynamics.name().to_owned();
            return Err(DdpError::Mismatch { model, what: "the control", found, needed });
        }
        let states = problem.dynamics.states();
        let last = problem.horizon - 1;
        // A negative time counts as the tick's.
        let t = (time.max(0.0) as usize).min(last);
        let share = (time - t as f64).clamp(0.0, 1.0);
        states.difference(&now.xs[t], &now.xs[t + 1], &mut self.dx);
        self.dx *= share;
        states.integrate(&now.xs[t], &self.dx, &mut self.reference);
        states.difference(&self.reference, x, &mut self.dx);
        u.copy_from(&now.us[t]);
        u.gemv(1.0, &nodes[t].gains, &self.dx, 1.0);
        if let Some(limits) = problem.control_limits.filter(|_| method.boxed()) {
            clamp(u, limits);
        }
        Ok(())
    }

    /// States of the plan.
    pub fn xs(&self) -> &[DVector<f64>] {
        &self.solver.now.xs
    }

    /// Controls of the plan.
    pub fn us(&self) -> &[DVector<f64>] {
        &self.solver.now.us
    }

    /// The plan with the values of its nodes.
    ///
    /// # Errors
    /// As [`Solver::solve`].
    pub fn solution(&mut self, tick: &Tick) -> Result<Solution, DdpError> {
        self.solver.solution(tick.status)
    }

    /// Runs the loop on `plant` from `x0`: at each tick `disturb` may change the state (a push), then
    /// the controller plans, and the plant makes `steps_per_tick` steps under feedback, each
    /// `nodes_per_step` nodes long. The plan is shifted whenever a whole node has passed.
    ///
    /// A tick whose status is not good does not end the run: the plan before it goes on.
    ///
    /// # Errors
    /// What a tick or the plant reports.
    pub fn run<P: Plant>(
        &mut self,
        plant: &P,
        x0: &DVector<f64>,
        n_ticks: usize,
        schedule: TickSchedule,
        mut disturb: impl FnMut(usize, &mut DVector<f64>),
    ) -> Result<ClosedLoop, DdpError> {
        let value = schedule.nodes_per_step;
        if !(value > 0.0 && value.is_finite()) {
            let needed = "positive and finite";
            return Err(DdpError::Setting { key: "nodes_per_step", value, needed });
        }
        let mut x = x0.clone();
        let mut x_next = x0.clone();
        let mut u = self.u_guess.clone();
        let mut ws = plant.workspace();
        let mut out = ClosedLoop { xs: vec![x.clone()], us: Vec::new(), ticks: Vec::new() };
        // Nodes since the plan was shifted.
        let mut phase = 0.0;
        for tick in 0..n_ticks {
            disturb(tick, &mut x);
            out.ticks.push(self.tick(&x)?);
            for step in 0..schedule.steps_per_tick {
                self.control(step as f64 * schedule.nodes_per_step, &x, &mut u)?;
                let t = out.us.len();
                plant
                    .step(&mut ws, &x, &u, &mut x_next)
                    .map_err(|source| DdpError::Model { t, source })?;
                std::mem::swap(&mut x, &mut x_next);
                out.xs.push(x.clone());
                out.us.push(u.clone());
            }
            phase += schedule.steps_per_tick as f64 * schedule.nodes_per_step;
            // Sums of fractions such as 0.1 fall short of whole numbers by rounding.
            let whole = (phase + 1e-9).floor();
            self.shift(whole as usize)?;
            phase -= whole;
        }
        Ok(out)
    }
}

/// How the plant's steps, the ticks and the plan's nodes follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TickSchedule {
    /// Steps of the plant between two ticks.
    pub steps_per_tick: usize,
    /// Length of a plant's step in units of the plan's nodes.
    pub nodes_per_step: f64,
}

/// A run of an [`Mpc`].
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedLoop {
    /// States of the plant after each step, the start first. A push comes between a state and the
    /// control that follows it.
    pub xs: Vec<DVector<f64>>,
    /// Controls applied.
    pub us: Vec<DVector<f64>>,
    /// What each tick did.
    pub ticks: Vec<Tick>,
}
