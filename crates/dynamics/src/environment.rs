//! A task being run: one episode after another on its plant.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::error::check_vector;
use crate::{
    AnyDynamics, DerivativeKind, DynamicsError, End, FiniteDifference, Linearization, Move,
    RewardGradient, Scratch, Stream, Task, difference_reward,
};

/// Steps a [`Task`]'s real plant and keeps the current state and step count.
pub struct Environment<'a> {
    task: &'a dyn Task,
    plant: Scratch,
    reward: Scratch,
    noise_stream: Option<Stream>,
    noise: Vec<f64>,
    t: usize,
    x: DVector<f64>,
    x_previous: DVector<f64>,
}

/// What one step of an [`Environment`] returned; the states are read from the environment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Reward of the step.
    pub reward: f64,
    /// Set if the episode is over.
    pub end: Option<End>,
}

impl<'a> Environment<'a> {
    /// An environment whose state is undefined until [`Environment::reset`] or
    /// [`Environment::restore`]. `noise_stream` feeds a plant with exogenous noise.
    #[must_use]
    pub fn new(task: &'a dyn Task, noise_stream: Option<Stream>) -> Self {
        let plant = task.plant();
        let state = DVector::zeros(plant.any_nx());
        Self {
            task,
            plant: plant.any_workspace(),
            reward: task.reward_scratch(),
            noise_stream,
            noise: vec![0.0; plant.any_n_noise()],
            t: 0,
            x: state.clone(),
            x_previous: state,
        }
    }

    /// Starts an episode from a state drawn with `stream`.
    pub fn reset(&mut self, stream: &mut Stream) {
        self.t = 0;
        self.task.sample_x0(stream, &mut self.x);
        self.x_previous.copy_from(&self.x);
    }

    /// Puts the environment into state `x` at step `t` of an episode.
    ///
    /// # Errors
    /// A state of the wrong size or with entries that are not finite.
    pub fn restore(&mut self, x: &DVector<f64>, t: usize) -> Result<(), DynamicsError> {
        check_vector(self.task.name(), "x", x.as_slice(), self.x.len())?;
        self.x.copy_from(x);
        self.x_previous.copy_from(x);
        self.t = t;
        Ok(())
    }

    /// Applies `u` for one control step.
    ///
    /// # Errors
    /// What the plant reports, and [`DynamicsError::NotFinite`] for an action, state or reward that
    /// is not finite.
    pub fn step(&mut self, u: &DVector<f64>) -> Result<Step, DynamicsError> {
        let task = self.task;
        check_vector(task.name(), "u", u.as_slice(), task.plant().any_nu())?;
        std::mem::swap(&mut self.x, &mut self.x_previous);
        if let Some(stream) = &mut self.noise_stream {
            self.noise.iter_mut().for_each(|xi| *xi = stream.normal());
        }
        task.plant().any_step(&mut self.plant, &self.x_previous, u, &self.noise, &mut self.x)?;
        check_vector(task.name(), "x_next", self.x.as_slice(), self.x.len())?;
        task.wrap(&mut self.x);
        let m = Move { t: self.t, x: &self.x_previous, u, x_next: &self.x };
        let reward = task.reward(&mut self.reward, &m);
        check_vector(task.name(), "reward", &[reward], 1)?;
        let own_end = task.ends(&m, reward);
        self.t += 1;
        Ok(match own_end {
            Some(end) => Step { reward: end.reward, end: Some(end.end) },
            None => Step { reward, end: (self.t >= task.horizon()).then(|| task.time_limit()) },
        })
    }

    /// The state now.
    #[must_use]
    pub fn x(&self) -> &DVector<f64> {
        &self.x
    }

    /// The state before the last step.
    #[must_use]
    pub fn x_previous(&self) -> &DVector<f64> {
        &self.x_previous
    }

    /// The exogenous noise of the last step; zeros where there is no stream for it.
    #[must_use]
    pub fn noise(&self) -> &[f64] {
        &self.noise
    }

    /// Steps taken in this episode.
    #[must_use]
    pub fn t(&self) -> usize {
        self.t
    }

    /// The stream of exogenous noise, if there is one.
    #[must_use]
    pub fn noise_stream(&self) -> Option<&Stream> {
        self.noise_stream.as_ref()
    }
}

/// Derivatives of a transition: Jacobians of the nominal model at the real (x, u), and the total
/// derivative of the reward through them.
///
/// The reward is differentiated at the *real* next state and chained through the *nominal*
/// Jacobian, as VG-SAC does for its gradient targets.
pub struct TransitionGradient<'a> {
    task: &'a dyn Task,
    model: Box<dyn AnyDynamics + 'a>,
    source: JacobianSource,
    model_scratch: Scratch,
    reward_scratch: Scratch,
    partial: RewardGradient,
    /// fx, fu of the model.
    pub jacobian: Linearization,
    /// dr/d[x, u] = [r_x + r_xnext·fx, r_u + r_xnext·fu], ndx + nu entries.
    pub reward_gradient: DVector<f64>,
}

/// Where [`TransitionGradient`] takes derivatives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JacobianSource {
    /// The model's and the reward's own derivatives.
    Analytic,
    /// Central differences of the model's step and of the reward.
    FiniteDifference,
}

impl<'a> TransitionGradient<'a> {
    /// Derivatives through the task's nominal model.
    ///
    /// # Errors
    /// [`DynamicsError::Dimension`] if differences are asked for a state on a Lie group.
    pub fn new(task: &'a dyn Task, source: JacobianSource) -> Result<Self, DynamicsError> {
        Self::through(task, task.nominal(), source)
    }

    /// Derivatives through `model` in the place of the nominal one (the plant itself, for
    /// instance).
    ///
    /// # Errors
    /// As [`TransitionGradient::new`], and [`DynamicsError::OnLieGroup`] for a task whose state is on a
    /// Lie group without a reward gradient or an observation with a Jacobian of its own.
    pub fn through(
        task: &'a dyn Task,
        model: &'a dyn AnyDynamics,
        source: JacobianSource,
    ) -> Result<Self, DynamicsError> {
        let (nx, ndx) = (model.any_nx(), model.any_ndx());
        let by_differences = source == JacobianSource::FiniteDifference
            || task.reward_derivative_kind() == DerivativeKind::FiniteDifference;
        for (missing, needed) in [
            (by_differences, "`reward_gradient` and `reward_derivative_kind`"),
            (task.observation().jacobian().is_none(), "an `observation` with a Jacobian"),
        ] {
            if nx != ndx && missing {
                let task = task.name().to_owned();
                return Err(DynamicsError::OnLieGroup { task, nx, ndx, needed });
            }
        }
        let model: Box<dyn AnyDynamics + 'a> = match source {
            JacobianSource::Analytic => Box::new(model),
            JacobianSource::FiniteDifference => Box::new(FiniteDifference::new(model)?),
        };
        let (ndx, nu) = (model.any_ndx(), model.any_nu());
        Ok(Self {
            task,
            source,
            model_scratch: model.any_workspace(),
            model,
            reward_scratch: task.reward_scratch(),
            partial: RewardGradient::zeros(ndx, nu),
            jacobian: Linearization::zeros(ndx, nu),
            reward_gradient: DVector::zeros(ndx + nu),
        })
    }

    /// Fills [`Self::jacobian`] and [`Self::reward_gradient`] for a transition of the task.
    ///
    /// # Errors
    /// What the model reports, and [`DynamicsError::NotFinite`] for a derivative that is not finite.
    pub fn evaluate(&mut self, m: &Move<'_>) -> Result<(), DynamicsError> {
        let Self { task, model, jacobian, partial, reward_gradient, .. } = self;
        model.any_linearize(&mut self.model_scratch, m.x, m.u, jacobian)?;
        match self.source {
            JacobianSource::Analytic => {
                task.reward_gradient(&mut self.reward_scratch, m, partial);
            }
            JacobianSource::FiniteDifference => {
                difference_reward(*task, &mut self.reward_scratch, m, partial);
            }
        }
        let Linearization { fx, fu } = jacobian;
        let ndx = partial.r_x.len();
        for i in 0..ndx {
            reward_gradient[i] = partial.r_x[i] + fx.column(i).dot(&partial.r_xnext);
        }
        for j in 0..partial.r_u.len() {
            reward_gradient[ndx + j] = partial.r_u[j] + fu.column(j).dot(&partial.r_xnext);
        }
        let name = task.name();
        check_vector(name, "fx", fx.as_slice(), fx.len())?;
        check_vector(name, "fu", fu.as_slice(), fu.len())?;
        check_vector(name, "reward gradient", reward_gradient.as_slice(), reward_gradient.len())
    }
}
