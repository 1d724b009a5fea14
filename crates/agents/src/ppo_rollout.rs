//! What PPO collects between two phases of learning, and the advantages it draws from it.

use critics::{CheckpointError, Tensors};
use dynamics::Task;

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
/// All environments step at once, but a run is counted in steps of one environment, and may stop
/// between any two of them: there may be transitions that are made but not yet counted.
pub(crate) struct RolloutBuffer {
    sizes: Sizes,
    n_counted: usize,
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
            n_counted: 0,
        }
    }

    /// Transitions that have been counted.
    pub(crate) fn n_counted(&self) -> usize {
        self.n_counted
    }

    /// Whether the next transition to count is still to be made.
    pub(crate) fn is_counted(&self) -> bool {
        self.n_counted == self.rewards.len()
    }

    /// Whether a whole roll-out has been counted.
    pub(crate) fn is_full(&self) -> bool {
        self.n_counted == self.sizes.n_transitions
    }

    /// Counts one transition more: its environment, and whether it has ended an episode.
    pub(crate) fn count(&mut self) -> (usize, bool) {
        let i = self.n_counted;
        self.n_counted += 1;
        (i % self.sizes.n_envs, self.mask[i] == 0.0)
    }

    pub(crate) fn decide(&mut self, decision: &Decision<'_>) {
        self.o.extend_from_slice(decision.o);
        self.u.extend_from_slice(decision.u);
        self.log_prob.push(decision.log_prob);
        self.values.push(decision.value);
    }

    /// Outcome of the decision that has none yet and was made first.
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
        self.n_counted = 0;
    }

    /// Adds what is there to a checkpoint.
    pub(crate) fn save(&self, tensors: &mut Tensors) -> Result<(), CheckpointError> {
        let made = self.rewards.len();
        tensors.insert_f32("rollout.o", &[made, self.sizes.n_observations], &self.o)?;
        tensors.insert_f32("rollout.u", &[made, self.sizes.nu], &self.u)?;
        tensors.insert_f64("rollout.log_prob", &[made], &self.log_prob)?;
        tensors.insert_f64("rollout.values", &[made], &self.values)?;
        tensors.insert_f64("rollout.rewards", &[made], &self.rewards)?;
        tensors.insert_f64("rollout.mask", &[made], &self.mask)
    }

    /// A roll-out as [`RolloutBuffer::save`] stored it when `n_counted` transitions were counted.
    pub(crate) fn load(
        sizes: Sizes,
        n_counted: usize,
        tensors: &Tensors,
    ) -> Result<Self, CheckpointError> {
        // All environments step at once.
        let made = n_counted.next_multiple_of(sizes.n_envs);
        let mut rollout = Self { n_counted, ..Self::new(sizes) };
        let (no, nu) = (sizes.n_observations, sizes.nu);
        rollout.o.extend(tensors.f32_of_shape("rollout.o", &[made, no])?);
        rollout.u.extend(tensors.f32_of_shape("rollout.u", &[made, nu])?);
        for (name, values) in [
            ("rollout.log_prob", &mut rollout.log_prob),
            ("rollout.values", &mut rollout.values),
            ("rollout.rewards", &mut rollout.rewards),
            ("rollout.mask", &mut rollout.mask),
        ] {
            values.extend(tensors.f64_of_shape(name, &[made])?);
        }
        Ok(rollout)
    }
}
