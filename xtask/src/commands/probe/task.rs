//! One transition of a task with its derivatives.

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

/// A task with everything that answering needs.
pub(super) struct TaskProber<'a> {
    task: &'a dyn Task,
    plant: Scratch,
    reward: Scratch,
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
            task,
            plant: task.plant().any_workspace(),
            reward: task.reward_scratch(),
            gradient: TransitionGradient::through(task, model, JacobianSource::Analytic)?,
        })
    }

    pub(super) fn answer(&mut self, request: TaskRequest) -> Result<TaskAnswer> {
        let TaskRequest { state, action } = request;
        let Self { task, gradient, .. } = self;
        let plant = task.plant();
        check_entries(task.name(), "state", &state, plant.any_nx(), &task.state_names())?;
        check_entries(task.name(), "action", &action, plant.any_nu(), &[])?;
        let (x, u) = (DVector::from_vec(state), DVector::from_vec(action));
        let mut x_next = DVector::zeros(x.len());
        plant.any_step(&mut self.plant, &x, &u, &[], &mut x_next)?;
        check_vector(task.name(), "x_next", x_next.as_slice(), x.len())?;
        task.wrap(&mut x_next);
        let m = Move { t: 0, x: &x, u: &u, x_next: &x_next };
        gradient.evaluate(&m)?;
        let reward = task.reward(&mut self.reward, &m);
        let end = task.ends(&m, reward);
        let reward = end.map_or(reward, |end| end.reward);
        check_vector(task.name(), "reward", &[reward], 1)?;
        Ok(TaskAnswer {
            fx: rows(&gradient.jacobian.fx),
            fu: rows(&gradient.jacobian.fu),
            reward,
            reward_gradient: gradient.reward_gradient.as_slice().to_vec(),
            terminated: end.is_some_and(|end| end.end == End::Terminated),
            x_next: x_next.data.into(),
        })
    }
}
