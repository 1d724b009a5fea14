//! What an off-policy method adds to interaction and replay, and how it meets its task.

use critics::{Adam, CriticError, Mlp};
use dynamics::{ActionBounds, JacobianSource, Stream, Task};
use serde::{Deserialize, Serialize};

use crate::replay::{Batch, Replay, TransitionShape};
use crate::{Actor, LearnError, LossBalance};

/// What an off-policy method is, beside interaction and replay.
pub trait OffPolicy {
    /// Name of the method on the command line.
    fn method(&self) -> &'static str;
    /// Names of the diagnostics of an update.
    fn metric_names(&self) -> &'static [&'static str];
    /// Writes an exploring action (in the networks' range) for an observation.
    fn explore(&mut self, o: &[f32], noise: &mut Stream, action: &mut [f32]);
    /// One update; writes the diagnostics.
    ///
    /// # Errors
    /// A loss that is not finite, and its name.
    fn update(
        &mut self,
        batch: &Batch<f32>,
        noise: &mut Stream,
        metrics: &mut [f64],
    ) -> Result<(), (&'static str, f64)>;
    /// Updates per environment step.
    fn updates_per_step(&self) -> usize {
        1
    }
    /// Called before the updates of a step, with all of the memory and the steps done.
    fn prepare(&mut self, _replay: &Replay, _env_steps: u64, _noise: &mut Stream) {}
    /// Numbers that a checkpoint keeps beside networks, optimisers and [`OffPolicy::scalars`].
    fn numbers(&self) -> Vec<(String, Vec<f32>)> {
        Vec::new()
    }
    /// Takes up what [`OffPolicy::numbers`] returned, asking for it by name.
    ///
    /// # Errors
    /// A name that there is not, or numbers of another length.
    fn set_numbers(
        &mut self,
        _numbers: &mut dyn FnMut(&str) -> Result<Vec<f32>, LearnError>,
    ) -> Result<(), LearnError> {
        Ok(())
    }
    /// The deterministic policy with actions in the given range.
    ///
    /// # Errors
    /// A range of another size.
    fn actor(&self, bounds: &ActionBounds) -> Result<Actor, CriticError>;
    /// All networks by name.
    fn networks(&self) -> Vec<(&'static str, &Mlp<f32>)>;
    /// The same, to be changed.
    fn networks_mut(&mut self) -> Vec<&mut Mlp<f32>>;
    /// All optimisers by name.
    fn optimizers(&self) -> Vec<(&'static str, &Adam<f32>)>;
    /// The same, to be changed.
    fn optimizers_mut(&mut self) -> Vec<&mut Adam<f32>>;
    /// Whatever else an update changes.
    fn scalars(&self) -> Scalars;
    /// Takes up what [`OffPolicy::scalars`] returned.
    ///
    /// # Errors
    /// Optimiser moments of another size.
    fn set_scalars(&mut self, scalars: Scalars) -> Result<(), CriticError>;
}

/// The small state of an off-policy method in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scalars {
    /// Updates done.
    pub updates: u64,
    /// State of the gradient losses.
    pub balance: LossBalance,
    /// log α, and of its Adam both moments and the steps.
    pub temperature: Option<(f64, f64, f64, u64)>,
    /// The actor's last loss, a diagnostic between its delayed updates.
    pub policy_loss: f64,
}

/// How an off-policy method meets its task.
#[derive(Debug, Clone, PartialEq)]
pub struct Interaction {
    /// Transitions per update.
    pub batch_size: usize,
    /// Transitions the replay memory holds.
    pub replay_capacity: usize,
    /// Steps with uniformly random actions at the start.
    pub random_steps: u64,
    /// Updates begin once the memory holds more transitions than this.
    pub update_after: usize,
    /// Networks see actions scaled to [−1, 1].
    pub normalize_actions: bool,
    /// Factor of the rewards, and of their gradients, as the memory holds them.
    pub reward_scale: f64,
    /// Where the derivatives stored with a transition come from, if any are.
    pub jacobians: Option<JacobianSource>,
}

impl Interaction {
    /// Range of the actions that the networks see.
    #[must_use]
    pub fn network_bounds(&self, physical: &ActionBounds) -> ActionBounds {
        match self.normalize_actions {
            true => ActionBounds::symmetric(physical.low.len(), 1.0),
            false => physical.clone(),
        }
    }

    /// Checks the ranges; before anything is built, since buffers grow with the batch.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |key, value: usize, needed| {
            Err(LearnError::Setting { key, value: value.to_string(), needed })
        };
        // A slip of the finger must not take the machine's whole memory.
        if !(1..=1_000_000).contains(&self.batch_size) {
            return refuse("method.batch_size", self.batch_size, "between 1 and 1000000");
        }
        if self.replay_capacity <= self.update_after {
            let needed = "larger than method.update_after";
            return refuse("method.replay_capacity", self.replay_capacity, needed);
        }
        Ok(())
    }
}

/// Sizes of a task's transitions.
#[must_use]
pub fn transition_shape(task: &dyn Task) -> TransitionShape {
    let plant = task.plant();
    TransitionShape {
        n_observations: task.observation().n_observations(plant.any_nx()),
        nu: plant.any_nu(),
        ndx: plant.any_ndx(),
    }
}

/// Fills a slice with standard normal numbers.
pub(crate) fn fill_normal(values: &mut [f32], stream: &mut Stream) {
    for value in values {
        #[expect(clippy::cast_possible_truncation, reason = "networks are in single precision")]
        let normal = stream.normal() as f32;
        *value = normal;
    }
}
