//! Settings of PPO.

use serde::{Deserialize, Serialize};

use crate::LearnError;

/// Settings of PPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PpoSettings {
    /// Steps of each environment between two phases of learning.
    pub rollout_steps: usize,
    /// Environments that one policy drives side by side.
    pub n_envs: usize,
    /// Transitions per update; the last minibatch of an epoch has what is left.
    pub minibatch: usize,
    /// Passes over a roll-out.
    pub epochs: usize,
    /// Adam step size of policy and value function.
    pub learning_rate: f64,
    /// Adam's ε.
    pub adam_epsilon: f64,
    /// λ of the generalised advantage estimate.
    pub gae_lambda: f64,
    /// How far the ratio of densities may leave 1 before it earns nothing more.
    pub clip: f64,
    /// Weight of the entropy, c₂ of eq. 9.
    pub entropy_coefficient: f64,
    /// Weight of the value function's loss, c₁ of eq. 9.
    pub value_coefficient: f64,
    /// Gradients of all parameters together are shortened to this norm.
    pub max_gradient_norm: f64,
    /// Hidden layers (tanh) of the policy, and of the value function.
    pub hidden: Vec<usize>,
    /// Advantages are shifted and scaled to mean 0 and deviation 1 in every minibatch.
    pub normalize_advantages: bool,
}

impl Default for PpoSettings {
    /// The defaults of Stable-Baselines3.
    fn default() -> Self {
        Self {
            rollout_steps: 2048,
            n_envs: 1,
            minibatch: 64,
            epochs: 10,
            learning_rate: 3e-4,
            adam_epsilon: 1e-5,
            gae_lambda: 0.95,
            clip: 0.2,
            entropy_coefficient: 0.0,
            value_coefficient: 0.5,
            max_gradient_norm: 0.5,
            hidden: vec![64, 64],
            normalize_advantages: true,
        }
    }
}

impl PpoSettings {
    /// Transitions of one roll-out over all environments.
    #[must_use]
    pub fn rollout_transitions(&self) -> usize {
        self.rollout_steps.saturating_mul(self.n_envs)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |key, value: String, needed| Err(LearnError::Setting { key, value, needed });
        // A slip of the finger must not take the machine's whole memory.
        if !(1..=10_000).contains(&self.n_envs) {
            return refuse("method.n_envs", self.n_envs.to_string(), "between 1 and 10000");
        }
        for (key, value) in [
            ("method.rollout_steps", self.rollout_steps),
            ("method.minibatch", self.minibatch),
            ("method.epochs", self.epochs),
        ] {
            if !(1..=1_000_000).contains(&value) {
                return refuse(key, value.to_string(), "between 1 and 1000000");
            }
        }
        if self.rollout_transitions() > 1_000_000 {
            let needed = "at most 1000000 in all environments together";
            return refuse("method.rollout_steps", self.rollout_steps.to_string(), needed);
        }
        for (key, value) in [
            ("method.learning_rate", self.learning_rate),
            ("method.adam_epsilon", self.adam_epsilon),
            ("method.clip", self.clip),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(key, value.to_string(), "positive");
            }
        }
        for (key, value) in [
            ("method.entropy_coefficient", self.entropy_coefficient),
            ("method.value_coefficient", self.value_coefficient),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "finite and not negative");
            }
        }
        if !(0.0..=1.0).contains(&self.gae_lambda) {
            return refuse("method.gae_lambda", self.gae_lambda.to_string(), "between 0 and 1");
        }
        if self.max_gradient_norm.is_nan() || self.max_gradient_norm <= 0.0 {
            let needed = "positive, or inf for gradients as long as they are";
            return refuse("method.max_gradient_norm", self.max_gradient_norm.to_string(), needed);
        }
        Ok(())
    }
}
