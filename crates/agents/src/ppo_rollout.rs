//! What PPO collects between two phases of learning and from where, and the advantages it draws
//! from it.

use critics::{CheckpointError, Tensors};
use dynamics::{DynamicsError, Environment, Stream, StreamState, Task};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::off_policy::transition_shape;
use crate::ppo::PpoBatch;

/// Generalised advantage estimates of a roll-out of several environments in lockstep: transition
/// `i` belongs to environment `i` modulo their number, and the transition after it in the same
/// environment stands that number of places further on. The last ones lead into states of
/// `last_values`, one per environment.
///
/// `values` are V of the states before the transitions; `mask` is 0 where an episode ended with
/// the transition, otherwise 1. An episode that the clock has ended is to have γV(s′) in its last
/// reward.
///
/// # Panics
/// When the lengths differ.
pub fn generalized_advantages(
    rewards: &[f64],
    values: &[f64],
    mask: &[f64],
    last_values: &[f64],
    gamma: f64,
    lambda: f64,
    advantages: &mut [f64],
) {
    let (n, n_envs) = (rewards.len(), last_values.len());
    assert!(values.len() == n && mask.len() == n && advantages.len() == n, "one per transition");
    for i in (0..n).rev() {
        let (next_value, next_advantage) = match i + n_envs < n {
            true => (values[i + n_envs], advantages[i + n_envs]),
            false => (last_values[i % n_envs], 0.0),
        };
        // δ = r + γV(s′) − V(s)   (Schulman et al. 2017, eq. 12)
        let delta = rewards[i] + gamma * mask[i] * next_value - values[i];
        // Â = Σ (γλ)ˡ δ, summed from behind   (eq. 11; Schulman et al. 2016, eq. 16)
        advantages[i] = delta + gamma * lambda * mask[i] * next_advantage;
    }
}

/// Transitions of several environments in lockstep, with room for a whole roll-out.
///
/// All environments decide at once and then step one after another, so between two steps there may
/// be more decisions than outcomes.
pub(crate) struct RolloutBuffer {
    sizes: Sizes,
    o: Vec<f32>,
    u: Vec<f32>,
    log_prob: Vec<f64>,
    values: Vec<f64>,
    rewards: Vec<f64>,
    mask: Vec<f64>,
    advantages: Vec<f64>,
    returns: Vec<f64>,
}

/// Sizes of a roll-out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) n_observations: usize,
    pub(crate) nu: usize,
    pub(crate) n_envs: usize,
    /// Transitions of a whole roll-out.
    pub(crate) n_transitions: usize,
}

impl Sizes {
    pub(crate) fn of(task: &dyn Task, n_envs: usize, n_transitions: usize) -> Self {
        let shape = transition_shape(task);
        Self { n_observations: shape.n_observations, nu: shape.nu, n_envs, n_transitions }
    }
}

/// What the policy decided for one environment.
pub(crate) struct Decision<'a> {
    pub(crate) o: &'a [f32],
    pub(crate) u: &'a [f32],
    pub(crate) log_prob: f64,
    pub(crate) value: f64,
}

impl RolloutBuffer {
    pub(crate) fn new(sizes: Sizes) -> Self {
        let n = sizes.n_transitions;
        let numbers = || Vec::with_capacity(n);
        Self {
            o: Vec::with_capacity(n * sizes.n_observations),
            u: Vec::with_capacity(n * sizes.nu),
            log_prob: numbers(),
            values: numbers(),
            rewards: numbers(),
            mask: numbers(),
            advantages: vec![0.0; n],
            returns: vec![0.0; n],
            sizes,
        }
    }

    /// Transitions that have been made.
    pub(crate) fn len(&self) -> usize {
        self.rewards.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() == self.sizes.n_transitions
    }

    /// The environment whose turn it is.
    pub(crate) fn turn(&self) -> usize {
        self.len() % self.sizes.n_envs
    }

    /// The action that this environment is to take, once it is decided.
    pub(crate) fn action(&self) -> Option<&[f32]> {
        let start = self.len() * self.sizes.nu;
        self.u.get(start..start + self.sizes.nu)
    }

    pub(crate) fn decide(&mut self, decision: &Decision<'_>) {
        self.o.extend_from_slice(decision.o);
        self.u.extend_from_slice(decision.u);
        self.log_prob.push(decision.log_prob);
        self.values.push(decision.value);
    }

    /// Outcome of the action decided longest ago.
    pub(crate) fn push(&mut self, reward: f64, episode_goes_on: bool) {
        self.rewards.push(reward);
        self.mask.push(f64::from(u8::from(episode_goes_on)));
    }

    /// Advantages, and the returns Â + V that the value function is regressed on.
    pub(crate) fn estimate_advantages(&mut self, last_values: &[f64], gamma: f64, lambda: f64) {
        let Self { rewards, values, mask, advantages, .. } = self;
        generalized_advantages(rewards, values, mask, last_values, gamma, lambda, advantages);
        for (i, target) in self.returns.iter_mut().enumerate() {
            *target = self.advantages[i] + self.values[i];
        }
    }

    /// 1 − Var(return − V)/Var(return): 1 for a perfect value function, 0 for a constant one. None
    /// if all returns are equal.
    pub(crate) fn explained_variance(&self) -> Option<f64> {
        let variance = |values: &[f64]| {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n
        };
        let of_returns = variance(&self.returns);
        // return − V is the advantage.
        (of_returns > 0.0).then(|| 1.0 - variance(&self.advantages) / of_returns)
    }

    /// Fills `batch` with the transitions of these numbers.
    pub(crate) fn gather(&self, indices: &[usize], batch: &mut PpoBatch<f32>) {
        let Sizes { n_observations: no, nu, .. } = self.sizes;
        batch.o.clear();
        batch.u.clear();
        batch.log_prob.clear();
        batch.advantages.clear();
        batch.returns.clear();
        for &i in indices {
            batch.o.extend_from_slice(&self.o[i * no..][..no]);
            batch.u.extend_from_slice(&self.u[i * nu..][..nu]);
            batch.log_prob.push(self.log_prob[i]);
            batch.advantages.push(self.advantages[i]);
            batch.returns.push(self.returns[i]);
        }
    }

    pub(crate) fn clear(&mut self) {
        let Self { o, u, log_prob, values, rewards, mask, .. } = self;
        o.clear();
        u.clear();
        [log_prob, values, rewards, mask].into_iter().for_each(Vec::clear);
    }

    /// Adds what is there to a checkpoint.
    pub(crate) fn save(&self, tensors: &mut Tensors) -> Result<(), CheckpointError> {
        let (decided, made) = (self.log_prob.len(), self.len());
        tensors.insert_f32("rollout.o", &[decided, self.sizes.n_observations], &self.o)?;
        tensors.insert_f32("rollout.u", &[decided, self.sizes.nu], &self.u)?;
        tensors.insert_f64("rollout.log_prob", &[decided], &self.log_prob)?;
        tensors.insert_f64("rollout.values", &[decided], &self.values)?;
        tensors.insert_f64("rollout.rewards", &[made], &self.rewards)?;
        tensors.insert_f64("rollout.mask", &[made], &self.mask)
    }

    /// A roll-out as [`RolloutBuffer::save`] stored it after `made` transitions.
    pub(crate) fn load(
        sizes: Sizes,
        made: usize,
        tensors: &Tensors,
    ) -> Result<Self, CheckpointError> {
        // Decisions are made for all environments at once.
        let decided = made.next_multiple_of(sizes.n_envs);
        let mut rollout = Self::new(sizes);
        let (no, nu) = (sizes.n_observations, sizes.nu);
        rollout.o.extend(tensors.f32_of_shape("rollout.o", &[decided, no])?);
        rollout.u.extend(tensors.f32_of_shape("rollout.u", &[decided, nu])?);
        for (name, len, values) in [
            ("rollout.log_prob", decided, &mut rollout.log_prob),
            ("rollout.values", decided, &mut rollout.values),
            ("rollout.rewards", made, &mut rollout.rewards),
            ("rollout.mask", made, &mut rollout.mask),
        ] {
            values.extend(tensors.f64_of_shape(name, &[len])?);
        }
        Ok(rollout)
    }
}

/// One of the environments, with its streams.
pub(crate) struct Runner<'a> {
    pub(crate) env: Environment<'a>,
    pub(crate) start: Stream,
    pub(crate) exploration: Stream,
    pub(crate) in_episode: bool,
    pub(crate) episode_return: f64,
}

/// A [`Runner`] in a checkpoint.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedRunner {
    in_episode: bool,
    t: usize,
    x: Vec<f64>,
    episode_return: f64,
    start: StreamState,
    exploration: StreamState,
    plant_noise: Option<StreamState>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(task: &'a dyn Task, seed: u64, index: u64) -> Self {
        let noise =
            (task.plant().any_n_noise() > 0).then(|| Stream::new(seed, "plant noise", index));
        Self {
            env: Environment::new(task, noise),
            start: Stream::new(seed, "episode starts", index),
            exploration: Stream::new(seed, "exploration", index),
            in_episode: false,
            episode_return: 0.0,
        }
    }

    /// A new episode in the place of one that is over.
    pub(crate) fn begin_if_over(&mut self) {
        if !self.in_episode {
            self.env.reset(&mut self.start);
            self.in_episode = true;
            self.episode_return = 0.0;
        }
    }

    pub(crate) fn save(&self) -> SavedRunner {
        SavedRunner {
            in_episode: self.in_episode,
            t: self.env.t(),
            x: self.env.x().as_slice().to_vec(),
            episode_return: self.episode_return,
            start: self.start.state(),
            exploration: self.exploration.state(),
            plant_noise: self.env.noise_stream().map(Stream::state),
        }
    }

    pub(crate) fn load(task: &'a dyn Task, saved: SavedRunner) -> Result<Self, DynamicsError> {
        let mut env = Environment::new(task, saved.plant_noise.map(Stream::at));
        env.restore(&DVector::from_vec(saved.x), saved.t)?;
        Ok(Self {
            env,
            start: Stream::at(saved.start),
            exploration: Stream::at(saved.exploration),
            in_episode: saved.in_episode,
            episode_return: saved.episode_return,
        })
    }
}
