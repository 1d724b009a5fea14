//! Settings of PPO.

use critics::Initialization;
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
    /// Adam step size of the policy.
    pub learning_rate: f64,
    /// Adam step size of the value function.
    pub value_learning_rate: f64,
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
    /// A phase of learning ends with the minibatch on which the policy's distance from the old one,
    /// KL(π_old ‖ π), exceeds this; inf for as many passes as `epochs` says.
    pub max_kl: f64,
    /// Hidden layers (tanh) of the policy, and of the value function.
    pub hidden: Vec<usize>,
    /// How weights and biases are drawn.
    pub weights: PpoWeights,
    /// log σ of every action at the start.
    pub log_std: f64,
    /// Advantages are shifted and scaled to mean 0 and deviation 1 in every minibatch.
    pub normalize_advantages: bool,
}

/// First weights of PPO's networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PpoWeights {
    /// Orthogonal, with gain √2, 0.01 at the head of the policy and 1 at that of the value function;
    /// biases are 0.
    Orthogonal,
    /// As [`Initialization`] says. With [`Initialization::Pytorch`] the policy has the weights of PODS
    /// and BPTT with the same seed and layers.
    #[serde(untagged)]
    Uniform(Initialization),
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
            value_learning_rate: 3e-4,
            adam_epsilon: 1e-5,
            gae_lambda: 0.95,
            clip: 0.2,
            entropy_coefficient: 0.0,
            value_coefficient: 0.5,
            max_gradient_norm: 0.5,
            max_kl: f64::INFINITY,
            hidden: vec![64, 64],
            weights: PpoWeights::Orthogonal,
            log_std: 0.0,
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
            ("method.value_learning_rate", self.value_learning_rate),
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
        if self.max_kl.is_nan() || self.max_kl <= 0.0 {
            let needed = "positive, or inf for no limit";
            return refuse("method.max_kl", self.max_kl.to_string(), needed);
        }
        if !(-20.0..=2.0).contains(&self.log_std) {
            return refuse("method.log_std", self.log_std.to_string(), "between -20 and 2");
        }
        Ok(())
    }
}
