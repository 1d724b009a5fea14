//! Settings of MBPO.

use serde::{Deserialize, Serialize};

use crate::{LearnError, SacSettings};

/// Settings of [`MbpoLearner`](super::MbpoLearner).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MbpoSettings {
    /// Steps of the plant between two fits of the model, F.
    pub refit_every: u64,
    /// Roll-outs of the model after each fit, M.
    pub rollouts: usize,
    /// Their length grows linearly with the plant's steps from the first of `rollout_length` to the last,
    /// between those of `rollout_steps`.
    pub rollout_length: [usize; 2],
    /// See `rollout_length`; equal numbers for a length that does not change.
    pub rollout_steps: [u64; 2],
    /// Fits whose roll-outs are remembered.
    pub kept_fits: usize,
    /// Updates per step of the plant, G.
    pub updates: usize,
    /// Share of the transitions of an update that the plant has made, ρ.
    pub real_share: f64,
    /// The model.
    pub model: EnsembleSettings,
    /// The policy and its critics. `batch_size` counts transitions of both kinds, `random_steps` is n₀.
    pub sac: SacSettings,
}

/// Settings of the ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleSettings {
    /// Networks.
    pub members: usize,
    /// Those that predict: the best on held-out transitions.
    pub elites: usize,
    /// Hidden layers, swish.
    pub hidden: Vec<usize>,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Transitions of a step of Adam.
    pub batch: usize,
    /// Weight decay of each layer; of further layers, the last.
    pub weight_decay: Vec<f64>,
    /// Share of the transitions that is held out, at most 5,000.
    pub holdout: f64,
    /// Passes through the transitions after which a fit ends at the latest.
    pub max_epochs: usize,
    /// A member's fit ends when it has not become better by 1 % for more than so many passes.
    pub patience: usize,
}

impl Default for MbpoSettings {
    /// The published settings, but for the roll-outs of a fit, 100,000 there, and the random steps, 5,000
    /// there; the length of roll-outs is one, as published for HalfCheetah and Walker2d.
    fn default() -> Self {
        Self {
            refit_every: 250,
            rollouts: 10_000,
            rollout_length: [1, 1],
            rollout_steps: [0, 0],
            kept_fits: 4,
            updates: 20,
            real_share: 0.05,
            model: EnsembleSettings {
                members: 7,
                elites: 5,
                hidden: vec![200; 4],
                learning_rate: 1e-3,
                batch: 256,
                weight_decay: vec![2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4],
                holdout: 0.2,
                max_epochs: 100,
                patience: 5,
            },
            sac: SacSettings { random_steps: 500, update_after: 500, ..SacSettings::sac() },
        }
    }
}

impl MbpoSettings {
    /// k after so many steps of the plant.
    #[must_use]
    pub fn length_at(&self, env_steps: u64) -> usize {
        let [first, last] = self.rollout_length;
        let [from, to] = self.rollout_steps;
        if env_steps >= to {
            return last;
        }
        let share = env_steps.saturating_sub(from) as f64 / (to - from).max(1) as f64;
        (first as f64 + share * (last as f64 - first as f64)).round() as usize
    }

    /// Transitions of an update that the plant has made.
    #[must_use]
    pub fn real_batch(&self) -> usize {
        let n = (self.real_share * self.sac.batch_size as f64).round() as usize;
        n.clamp(1, self.sac.batch_size)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        self.sac.check()?;
        let refuse = |key, value: String, needed| Err(LearnError::Setting { key, value, needed });
        let longest = self.rollout_length[0].max(self.rollout_length[1]);
        let counts = [
            ("method.refit_every", self.refit_every as usize),
            ("method.rollouts", self.rollouts),
            ("method.rollout_length", self.rollout_length[0].min(self.rollout_length[1])),
            ("method.rollouts times method.rollout_length", self.rollouts.saturating_mul(longest)),
            ("method.kept_fits", self.kept_fits),
            ("method.updates", self.updates),
            ("method.model.elites", self.model.elites),
            ("method.model.batch", self.model.batch),
            ("method.model.max_epochs", self.model.max_epochs),
        ];
        for (key, count) in counts {
            if !(1..=10_000_000).contains(&count) {
                return refuse(key, count.to_string(), "between 1 and 10000000");
            }
        }
        let EnsembleSettings { members, elites, holdout, learning_rate, .. } = self.model;
        if let Some(decay) = self.model.weight_decay.iter().find(|d| !(d.is_finite() && **d >= 0.0))
        {
            let needed = "0 or positive, and finite";
            return refuse("method.model.weight_decay", decay.to_string(), needed);
        }
        if members > MEMBER_NAMES.len() || members < elites {
            let needed = "at least `method.model.elites` and at most 16";
            return refuse("method.model.members", members.to_string(), needed);
        }
        if self.rollout_steps[0] > self.rollout_steps[1] {
            let needed = "two numbers, the smaller one first";
            return refuse("method.rollout_steps", format!("{:?}", self.rollout_steps), needed);
        }
        for (key, value) in
            [("method.real_share", self.real_share), ("method.model.holdout", holdout)]
        {
            if !(value > 0.0 && value < 1.0) {
                return refuse(key, value.to_string(), "above 0 and below 1");
            }
        }
        if !(learning_rate.is_finite() && learning_rate > 0.0) {
            let key = "method.model.learning_rate";
            return refuse(key, learning_rate.to_string(), "positive and finite");
        }
        Ok(())
    }
}

/// Names of the members in checkpoints.
pub(super) const MEMBER_NAMES: [&str; 16] = [
    "model.0", "model.1", "model.2", "model.3", "model.4", "model.5", "model.6", "model.7",
    "model.8", "model.9", "model.10", "model.11", "model.12", "model.13", "model.14", "model.15",
];
/// Names of their optimisers.
pub(super) const ADAM_NAMES: [&str; 16] = [
    "adam.model.0",
    "adam.model.1",
    "adam.model.2",
    "adam.model.3",
    "adam.model.4",
    "adam.model.5",
    "adam.model.6",
    "adam.model.7",
    "adam.model.8",
    "adam.model.9",
    "adam.model.10",
    "adam.model.11",
    "adam.model.12",
    "adam.model.13",
    "adam.model.14",
    "adam.model.15",
];
