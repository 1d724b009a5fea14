//! What DVP's value is for: a short-sighted controller that ends in it.

use std::path::Path;

use critics::{CheckpointError, ValueNetwork};
use ddp::{Mpc, MpcSettings, Problem};
use dynamics::{AnyCost, AnyDynamics, Objective, Task};
use nalgebra::DVector;

use crate::dvp::DvpTerminalCost;
use crate::{DvpLearnerSettings, LearnError, Policy};

/// Plans a few steps ahead of a task's nominal model, with a learned value as the cost of what comes
/// after: min Σ γᵗ ℓ + γᵀ V(x_T).
///
/// The end of an episode and the task's own terminal cost are not looked at: V is that of a task
/// that goes on.
pub struct ValuePlanner<'a> {
    task: &'a dyn Task,
    model: &'a dyn AnyDynamics,
    objective: Objective<'a>,
    terminal: DvpTerminalCost<'a>,
    settings: DvpLearnerSettings,
}

type PlannerMpc<'p, 'a> = Mpc<'p, &'a dyn AnyDynamics, &'a dyn AnyCost, DvpTerminalCost<'a>>;

impl<'a> ValuePlanner<'a> {
    /// A planner for `task` with this value at the end of its plans.
    ///
    /// # Errors
    /// Settings out of range; a task without an objective or with states on a Lie group; a value for
    /// states of another size.
    pub fn new(
        task: &'a dyn Task,
        terminal: DvpTerminalCost<'a>,
        settings: &DvpLearnerSettings,
    ) -> Result<Self, LearnError> {
        settings.check()?;
        let planner = Self {
            task,
            model: task.nominal(),
            objective: crate::dvp::objective(task)?,
            terminal,
            settings: settings.clone(),
        };
        planner.mpc()?;
        Ok(planner)
    }

    /// A planner whose value is a file that [`ValueNetwork::save`] has written.
    ///
    /// # Errors
    /// As [`ValuePlanner::new`], and a file that is missing, damaged or of another size.
    pub fn load(
        task: &'a dyn Task,
        settings: &DvpLearnerSettings,
        path: &Path,
    ) -> Result<Self, LearnError> {
        let network = ValueNetwork::load(path)?;
        let (found, needed) = (network.nx(), task.nominal().any_nx());
        if found != needed {
            let reason = format!("its states have {found} entries, the task's have {needed}");
            return Err(CheckpointError::Format { path: path.to_owned(), reason }.into());
        }
        settings.values.check(needed)?;
        Self::new(task, DvpTerminalCost::learned(network, &settings.values), settings)
    }

    /// Puts another value at the end of the plans.
    pub(crate) fn set_terminal(&mut self, terminal: DvpTerminalCost<'a>) {
        self.terminal = terminal;
    }

    /// Entries of state and control.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.model.any_nx(), self.model.any_nu())
    }

    /// The controller. It keeps its plan from step to step of an episode, and does not depend on the
    /// number of threads.
    ///
    /// # Errors
    /// What the solver refuses.
    pub fn policy(&self) -> Result<PlanPolicy<'_, 'a>, LearnError> {
        Ok(PlanPolicy { planner: self, mpc: Some(self.mpc()?), planned_at: None })
    }

    fn mpc(&self) -> Result<PlannerMpc<'_, 'a>, LearnError> {
        let DvpLearnerSettings { values, plan_horizon, plan_iterations, .. } = &self.settings;
        let problem = Problem {
            dynamics: &self.model,
            cost: &self.objective.stage,
            terminal: &self.terminal,
            horizon: *plan_horizon,
            discount: self.settings.discount(self.task),
            control_limits: self.objective.control_limits,
        };
        // Episodes run in parallel, and only the first control of a plan is used.
        let solver = ddp::Settings { threads: 1, ..values.solver.clone() };
        let tick = MpcSettings {
            iterations: *plan_iterations,
            fresh_gains: false,
            ..MpcSettings::default()
        };
        Ok(Mpc::new(problem, values.method, solver, tick, self.objective.us0)?)
    }
}

/// A [`ValuePlanner`] at work: model predictive control that plans anew in every step.
///
/// Where no plan can be found, because the model or the costs are not finite there, the action is the
/// task's first guess. All actions are within the task's bounds.
pub struct PlanPolicy<'p, 'a> {
    planner: &'p ValuePlanner<'a>,
    /// Absent after a reset.
    mpc: Option<PlannerMpc<'p, 'a>>,
    /// Step of the last plan.
    planned_at: Option<usize>,
}

impl PlanPolicy<'_, '_> {
    /// Whether there is a plan from `x` whose first control is finite.
    fn plan(&mut self, t: usize, x: &DVector<f64>) -> bool {
        if self.mpc.is_none() || self.planned_at.is_some_and(|last| last >= t) {
            self.planned_at = None;
            self.mpc = self.planner.mpc().ok();
        }
        let Some(mpc) = &mut self.mpc else { return false };
        let shifted = self.planned_at.is_none_or(|last| mpc.shift(t - last).is_ok());
        let found = shifted && mpc.tick(x).is_ok() && mpc.u0().iter().all(|u| u.is_finite());
        self.planned_at = Some(t);
        if !found {
            self.mpc = None;
        }
        found
    }
}

impl Policy for PlanPolicy<'_, '_> {
    fn reset(&mut self) {
        self.mpc = None;
    }

    fn act(&mut self, t: usize, x: &DVector<f64>, u: &mut DVector<f64>) {
        let planned = self.plan(t, x);
        u.copy_from(match &self.mpc {
            Some(mpc) if planned => mpc.u0(),
            _ => self.planner.objective.us0,
        });
        let bounds = self.planner.task.action_bounds();
        for (u, (&low, &high)) in u.iter_mut().zip(bounds.low.iter().zip(&bounds.high)) {
            *u = u.clamp(low, high);
        }
    }

    fn fork(&self) -> Option<Box<dyn Policy + '_>> {
        Some(Box::new(Self { planner: self.planner, mpc: None, planned_at: None }))
    }
}
