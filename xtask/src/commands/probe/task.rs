//! One transition of a task, alone and with its derivatives.

use anyhow::{Context as _, Result};
use dynamics::{End, JacobianSource, Move, Scratch, Task, TransitionGradient, check_vector};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::{Derivatives, check_entries, rows};

/// One line of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskRequest {
    pub(super) state: Vec<f64>,
    pub(super) action: Vec<f64>,
}

/// What is printed of a transition; the contracts fix the names.
#[derive(Serialize)]
pub(super) struct TaskAnswer {
    /// Next state, wrapped.
    x_next: Vec<f64>,
    /// ∂x'/∂x as a list of rows; ignores the wrap.
    fx: Vec<Vec<f64>>,
    /// ∂x'/∂u as a list of rows.
    fu: Vec<Vec<f64>>,
    /// What a learner gets.
    reward: f64,
    /// dr/d[x, u] through fx and fu; of the formula of the reward, also where the end of the
    /// episode replaces its value.
    reward_gradient: Vec<f64>,
    /// Whether the task itself ends the episode here; never for the time limit.
    terminated: bool,
}

/// A task with everything that a transition needs.
pub(super) struct Stepper<'a> {
    task: &'a dyn Task,
    plant: Scratch,
    reward: Scratch,
}

/// What comes of an action.
pub(super) struct Outcome {
    /// Next state, wrapped.
    pub(super) x_next: DVector<f64>,
    /// What a learner gets.
    pub(super) reward: f64,
    /// Whether the task itself ends the episode here; never for the time limit.
    pub(super) terminated: bool,
}

impl<'a> Stepper<'a> {
    pub(super) fn new(task: &'a dyn Task) -> Self {
        Self { task, plant: task.plant().any_workspace(), reward: task.reward_scratch() }
    }

    /// Checks size and entries of a state; `what` names it in messages.
    pub(super) fn check_state(&self, what: &str, state: &[f64]) -> Result<()> {
        let nx = self.task.plant().any_nx();
        check_entries(self.task.name(), what, state, nx, &self.task.state_names())
    }

    /// The same for an action.
    pub(super) fn check_action(&self, what: &str, action: &[f64]) -> Result<()> {
        check_entries(self.task.name(), what, action, self.task.plant().any_nu(), &[])
    }

    /// Step `t` from a state and under an action that have been checked.
    pub(super) fn step(&mut self, t: usize, x: &DVector<f64>, u: &DVector<f64>) -> Result<Outcome> {
        let Self { task, plant, reward } = self;
        let mut x_next = DVector::zeros(x.len());
        task.plant().any_step(plant, x, u, &[], &mut x_next)?;
        check_vector(task.name(), "x_next", x_next.as_slice(), x.len())?;
        task.wrap(&mut x_next);
        let m = Move { t, x, u, x_next: &x_next };
        let reward = task.reward(reward, &m);
        let end = task.ends(&m, reward);
        let reward = end.map_or(reward, |end| end.reward);
        check_vector(task.name(), "reward", &[reward], 1)?;
        let terminated = end.is_some_and(|end| end.end == End::Terminated);
        Ok(Outcome { x_next, reward, terminated })
    }
}

/// A task with everything that answering needs.
pub(super) struct TaskProber<'a> {
    stepper: Stepper<'a>,
    gradient: TransitionGradient<'a>,
}

impl<'a> TaskProber<'a> {
    pub(super) fn new(task: &'a dyn Task, derivatives: Derivatives) -> Result<Self> {
        let model = match derivatives {
            Derivatives::Nominal => task.nominal(),
            Derivatives::Own => task.plant_dynamics().with_context(|| {
                format!(
                    "the plant of `{}` has no derivatives; take those of the nominal model with \
                     --derivatives nominal",
                    task.name()
                )
            })?,
        };
        Ok(Self {
            stepper: Stepper::new(task),
            gradient: TransitionGradient::through(task, model, JacobianSource::Analytic)?,
        })
    }

    pub(super) fn answer(&mut self, request: TaskRequest) -> Result<TaskAnswer> {
        let TaskRequest { state, action } = request;
        let Self { stepper, gradient } = self;
        stepper.check_state("state", &state)?;
        stepper.check_action("action", &action)?;
        let (x, u) = (DVector::from_vec(state), DVector::from_vec(action));
        let Outcome { x_next, reward, terminated } = stepper.step(0, &x, &u)?;
        gradient.evaluate(&Move { t: 0, x: &x, u: &u, x_next: &x_next })?;
        Ok(TaskAnswer {
            fx: rows(&gradient.jacobian.fx),
            fu: rows(&gradient.jacobian.fu),
            reward,
            reward_gradient: gradient.reward_gradient.as_slice().to_vec(),
            terminated,
            x_next: x_next.data.into(),
        })
    }
}
