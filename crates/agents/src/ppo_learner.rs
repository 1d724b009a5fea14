//! PPO at work on a task: roll-outs, phases of learning, save and load.

use std::path::Path;

use critics::{CheckpointError, MlpWorkspace, Snapshot, SnapshotWriter, Tensors};
use dynamics::{End, Stream, StreamState, Task};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::policy::narrow;
use crate::ppo::{Ppo, PpoBatch, PpoNetworks, PpoReport, log_density};
use crate::ppo_rollout::{Decision, RolloutBuffer, Sizes};
use crate::{
    Actor, Budget, LearnError, Learner, MeanPolicy, Policy, PpoSettings, Progress,
    SavedEnvironment, Squash, VectorEnvironment, save_policy,
};

/// PPO learning on a task.
pub struct PpoLearner<'a> {
    task: &'a dyn Task,
    seed: u64,
    settings: PpoSettings,
    agent: Ppo<f32>,
    envs: VectorEnvironment<'a>,
    /// Noise of the actions, one stream per environment.
    exploration: Vec<Stream>,
    rollout: RolloutBuffer,
    sizes: Sizes,
    /// Draws the order of the transitions.
    minibatches: Stream,
    progress: Progress,
    metrics: Metrics,
    buffers: Buffers,
}

/// Buffers of the loop; nothing is allocated after construction.
struct Buffers {
    actor: MlpWorkspace<f32>,
    critic: MlpWorkspace<f32>,
    /// Observations of environments, row after row.
    o: Vec<f32>,
    sample: Vec<f32>,
    /// Actions of all environments within the bounds, row after row.
    u: Vec<f64>,
    last_values: Vec<f64>,
    order: Vec<usize>,
    batch: PpoBatch<f32>,
}

const METRICS: [&str; 9] = [
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "gradient_norm",
    "explained_variance",
    "train_return",
    "train_length",
];

/// Sums since the metrics were last taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    updates: u64,
    update_sums: [f64; 6],
    /// Roll-outs with an explained variance.
    rollouts: u64,
    explained_variance: f64,
    episodes: u64,
    episode_sums: [f64; 2],
}

/// Everything of the state that is not a tensor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedState {
    method: String,
    seed: u64,
    env_steps: u64,
    updates: u64,
    episodes: u64,
    environments: Vec<SavedEnvironment>,
    exploration: Vec<StreamState>,
    minibatches: StreamState,
    adam_steps: u64,
    metrics: Metrics,
    /// Transitions of the roll-out under way that have been counted.
    transitions: usize,
}

const STATE_FILE: &str = "state.json";
const TENSOR_FILE: &str = "tensors.safetensors";

impl<'a> PpoLearner<'a> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range, networks that cannot be built.
    pub fn new(task: &'a dyn Task, settings: &PpoSettings, seed: u64) -> Result<Self, LearnError> {
        settings.check()?;
        let n_envs = settings.n_envs;
        let sizes = Sizes::of(task, n_envs, settings.rollout_transitions());
        let batch = settings.minibatch.min(sizes.n_transitions);
        let networks = PpoNetworks::new(settings, sizes.n_observations, sizes.nu, seed)?;
        Ok(Self {
            task,
            seed,
            envs: VectorEnvironment::new(task, seed, n_envs),
            exploration: (0..n_envs as u64).map(|i| Stream::new(seed, "exploration", i)).collect(),
            rollout: RolloutBuffer::new(sizes),
            sizes,
            minibatches: Stream::new(seed, "minibatches", 0),
            progress: Progress::default(),
            metrics: Metrics::default(),
            buffers: Buffers {
                actor: networks.actor.workspace(n_envs),
                critic: networks.critic.workspace(n_envs),
                o: vec![0.0; n_envs * sizes.n_observations],
                sample: vec![0.0; sizes.nu],
                u: vec![0.0; n_envs * sizes.nu],
                last_values: vec![0.0; n_envs],
                order: (0..sizes.n_transitions).collect(),
                batch: PpoBatch::with_capacity(batch, sizes.n_observations, sizes.nu),
            },
            agent: Ppo::new(settings, networks),
            settings: settings.clone(),
        })
    }

    /// The value function at `states` of the task: expected discounted rewards of the policy as it
    /// acts, noise and all.
    #[must_use]
    pub fn values(&self, states: &[DVector<f64>]) -> Vec<f64> {
        let critic = &self.agent.networks.critic;
        let mut observation = vec![0.0; self.sizes.n_observations];
        let mut o = vec![0.0; states.len() * observation.len()];
        for (x, o) in states.iter().zip(o.chunks_exact_mut(observation.len())) {
            self.task.observation().observe(x, &mut observation);
            narrow(&observation, o);
        }
        let mut workspace = critic.workspace(states.len());
        let values = critic.forward(&o, &mut workspace);
        values.iter().map(|&value| f64::from(value)).collect()
    }

    /// Counts one step of one environment, and learns once the roll-out is full.
    fn step(&mut self) -> Result<(), LearnError> {
        if self.rollout.is_counted() {
            self.decide()?;
            self.step_all()?;
        }
        let (row, ends) = self.rollout.count();
        self.progress.env_steps += 1;
        if ends {
            let episode = self.envs.episode(row);
            self.progress.episodes += 1;
            self.progress.episode = Some(episode);
            self.metrics.episodes += 1;
            self.metrics.episode_sums[0] += episode.total_reward;
            self.metrics.episode_sums[1] += episode.length as f64;
        }
        if self.rollout.is_full() {
            self.learn()?;
        }
        Ok(())
    }

    /// Draws the next action of every environment from the policy.
    fn decide(&mut self) -> Result<(), LearnError> {
        let Sizes { n_observations: no, nu, .. } = self.sizes;
        let PpoNetworks { actor, log_std, critic } = &self.agent.networks;
        let bounds = self.task.action_bounds();
        let b = &mut self.buffers;
        self.envs.observe(&mut b.o);
        let mean = actor.forward(&b.o, &mut b.actor);
        let values = critic.forward(&b.o, &mut b.critic);
        for (i, exploration) in self.exploration.iter_mut().enumerate() {
            let mean = &mean[i * nu..][..nu];
            for (j, u) in b.sample.iter_mut().enumerate() {
                // u = μ + σε
                let std = f64::from(log_std[j]).exp();
                let drawn = f64::from(mean[j]) + std * exploration.normal();
                narrow(&[drawn], std::slice::from_mut(u));
                // Only the plant sees the bounds; the log-density is that of the action as drawn.
                b.u[i * nu + j] = f64::from(*u).clamp(bounds.low[j], bounds.high[j]);
            }
            let decision = Decision {
                o: &b.o[i * no..][..no],
                u: &b.sample,
                log_prob: log_density(&b.sample, mean, log_std),
                value: f64::from(values[i]),
            };
            for (what, value) in [
                ("an action's log-density", decision.log_prob),
                ("a state's value", decision.value),
            ] {
                if !value.is_finite() {
                    return Err(not_finite(self.seed, &self.progress, (what, value)));
                }
            }
            self.rollout.decide(&decision);
        }
        Ok(())
    }

    /// Makes one step of every environment with the actions that are decided.
    fn step_all(&mut self) -> Result<(), LearnError> {
        let (b, no) = (&mut self.buffers, self.sizes.n_observations);
        self.envs.step(&b.u).map_err(|error| LearnError::Task {
            seed: self.seed,
            env_step: self.progress.env_steps + error.row as u64,
            source: error.source,
        })?;
        // V of the states in which the clock has stopped an episode
        let mut n_stopped = 0;
        for row in 0..self.envs.n_envs() {
            if self.envs.outcome(row).end == Some(End::Truncated) {
                self.envs.observe_reached(row, &mut b.o[n_stopped * no..][..no]);
                n_stopped += 1;
            }
        }
        let values_beyond: &[f32] = match n_stopped {
            0 => &[],
            _ => self.agent.networks.critic.forward(&b.o[..n_stopped * no], &mut b.critic),
        };
        let mut stopped = 0;
        for row in 0..self.envs.n_envs() {
            let outcome = self.envs.outcome(row);
            let mut reward = outcome.reward;
            if outcome.end == Some(End::Truncated) {
                reward += self.task.discount() * f64::from(values_beyond[stopped]);
                stopped += 1;
            }
            self.rollout.push(reward, outcome.end.is_none());
        }
        Ok(())
    }

    /// Advantages of the roll-out, then epochs of minibatches in random order: the lower half of
    /// the algorithm box.
    fn learn(&mut self) -> Result<(), LearnError> {
        let b = &mut self.buffers;
        for (row, o) in b.o.chunks_exact_mut(self.sizes.n_observations).enumerate() {
            self.envs.observe_reached(row, o);
        }
        let values = self.agent.networks.critic.forward(&b.o, &mut b.critic);
        for (last, &value) in b.last_values.iter_mut().zip(values) {
            *last = f64::from(value);
        }
        let (gamma, lambda) = (self.task.discount(), self.settings.gae_lambda);
        self.rollout.estimate_advantages(&b.last_values, gamma, lambda);
        if let Some(explained) = self.rollout.explained_variance() {
            self.metrics.rollouts += 1;
            self.metrics.explained_variance += explained;
        }
        // The order must not depend on roll-outs before this one, which a checkpoint has not.
        b.order.iter_mut().enumerate().for_each(|(i, place)| *place = i);
        'phase: for _ in 0..self.settings.epochs {
            shuffle(&mut b.order, &mut self.minibatches);
            for indices in b.order.chunks(self.settings.minibatch) {
                self.rollout.gather(indices, &mut b.batch);
                if self.settings.normalize_advantages {
                    b.batch.normalize_advantages();
                }
                let outcome = self.agent.update(&b.batch);
                self.progress.updates += 1;
                let report = outcome.map_err(|what| not_finite(self.seed, &self.progress, what))?;
                self.metrics.add(&report);
                if report.approx_kl > self.settings.max_kl {
                    break 'phase;
                }
            }
        }
        self.rollout.clear();
        Ok(())
    }

    fn actor(&self) -> Result<Actor, LearnError> {
        let net = self.agent.networks.actor.clone();
        Ok(Actor::new(net, self.task.action_bounds().clone(), Squash::Clip)?)
    }
}

fn not_finite(seed: u64, progress: &Progress, (what, value): (&'static str, f64)) -> LearnError {
    LearnError::NotFinite {
        method: METHOD.to_owned(),
        seed,
        what,
        value,
        env_step: progress.env_steps,
        update: progress.updates,
    }
}

const METHOD: &str = "ppo";

/// Brings the entries into an order drawn from `stream` (Fisher and Yates).
fn shuffle(order: &mut [usize], stream: &mut Stream) {
    for last in (1..order.len()).rev() {
        order.swap(last, stream.index(last + 1));
    }
}

impl Metrics {
    fn add(&mut self, report: &PpoReport) {
        self.updates += 1;
        let PpoReport { policy_loss, value_loss, entropy, .. } = *report;
        let PpoReport { approx_kl, clip_fraction, gradient_norm, .. } = *report;
        let values = [policy_loss, value_loss, entropy, approx_kl, clip_fraction, gradient_norm];
        for (sum, value) in self.update_sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
}

impl Learner for PpoLearner<'_> {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn advance(&mut self, budget: Budget) -> Result<Progress, LearnError> {
        self.progress.episode = None;
        for _ in 0..budget.env_steps {
            self.step()?;
            if self.progress.episode.is_some() {
                break;
            }
        }
        Ok(self.progress)
    }

    fn policy(&self) -> Result<Box<dyn Policy + '_>, LearnError> {
        Ok(Box::new(MeanPolicy::new(self.task, self.actor()?)?))
    }

    fn metric_names(&self) -> &[&'static str] {
        &METRICS
    }

    fn take_metrics(&mut self) -> Vec<f64> {
        let m = std::mem::take(&mut self.metrics);
        let updates = m.update_sums.iter().map(|sum| sum / m.updates as f64);
        let rollouts = std::iter::once(m.explained_variance / m.rollouts as f64);
        let episodes = m.episode_sums.iter().map(|sum| sum / m.episodes as f64);
        updates.chain(rollouts).chain(episodes).collect()
    }

    fn save_policy(&self, path: &Path) -> Result<(), LearnError> {
        save_policy(path, &self.actor()?)
    }

    fn networks(&self) -> Result<Tensors, CheckpointError> {
        let mut tensors = Tensors::new();
        for (name, params) in self.agent.networks.parameters() {
            tensors.insert_f32(name, &[params.len()], params)?;
        }
        Ok(tensors)
    }

    fn start_from(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        // There is no random phase to leave out.
        self.set_networks(networks)
    }

    fn set_networks(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        let mut loaded = Vec::new();
        for (name, params) in self.agent.networks.parameters() {
            loaded.push(networks.f32_of_shape(name, &[params.len()])?);
        }
        for (params, loaded) in self.agent.networks.parameters_mut().into_iter().zip(loaded) {
            params.copy_from_slice(&loaded);
        }
        Ok(())
    }

    fn save(
        &mut self,
        _dir: &Path,
        checkpoint: &mut SnapshotWriter,
    ) -> Result<(), CheckpointError> {
        let mut tensors = self.networks()?;
        let agent = &self.agent;
        for ((name, _), adam) in agent.networks.parameters().iter().zip(&agent.optimizers) {
            tensors.insert_f32(&format!("adam.{name}.m"), &[adam.m().len()], adam.m())?;
            tensors.insert_f32(&format!("adam.{name}.v"), &[adam.v().len()], adam.v())?;
        }
        self.rollout.save(&mut tensors)?;
        checkpoint.tensors(TENSOR_FILE, &tensors)?;
        checkpoint.json(
            STATE_FILE,
            &SavedState {
                method: METHOD.to_owned(),
                seed: self.seed,
                env_steps: self.progress.env_steps,
                updates: self.progress.updates,
                episodes: self.progress.episodes,
                environments: self.envs.save(),
                exploration: self.exploration.iter().map(Stream::state).collect(),
                minibatches: self.minibatches.state(),
                adam_steps: agent.optimizers[0].t(),
                metrics: self.metrics.clone(),
                transitions: self.rollout.n_counted(),
            },
        )
    }

    fn load(&mut self, _dir: &Path, checkpoint: &Snapshot) -> Result<(), LearnError> {
        // Another method's state has other fields; its name says more than the missing field.
        let method: SavedMethod = checkpoint.json(STATE_FILE)?;
        check("the method", &method.method, METHOD)?;
        let saved: SavedState = checkpoint.json(STATE_FILE)?;
        check("the seed", saved.seed, self.seed)?;
        self.envs.restore(&saved.environments)?;
        check("the number of exploration streams", saved.exploration.len(), self.sizes.n_envs)?;
        let room = self.sizes.n_transitions;
        if saved.transitions >= room {
            return Err(LearnError::Mismatch {
                what: "the roll-out".to_owned(),
                found: format!("{} transitions", saved.transitions),
                needed: format!("fewer than {room} transitions"),
            });
        }
        let tensors = checkpoint.tensors(TENSOR_FILE)?;
        let rollout = RolloutBuffer::load(self.sizes, saved.transitions, &tensors)?;
        self.set_networks(&tensors)?;
        let agent = &mut self.agent;
        for ((name, params), adam) in agent.networks.parameters().iter().zip(&mut agent.optimizers)
        {
            let moment =
                |part| tensors.f32_of_shape(&format!("adam.{name}.{part}"), &[params.len()]);
            adam.restore(moment("m")?, moment("v")?, saved.adam_steps)?;
        }
        self.exploration = saved.exploration.into_iter().map(Stream::at).collect();
        self.rollout = rollout;
        self.minibatches = Stream::at(saved.minibatches);
        self.metrics = saved.metrics;
        self.progress = Progress {
            env_steps: saved.env_steps,
            updates: saved.updates,
            episodes: saved.episodes,
            episode: None,
        };
        Ok(())
    }
}

/// What every method's state begins with.
#[derive(Deserialize)]
pub(crate) struct SavedMethod {
    pub(crate) method: String,
}

/// Refuses a stored value that is not the one needed.
pub(crate) fn check(
    what: &str,
    found: impl ToString,
    needed: impl ToString,
) -> Result<(), LearnError> {
    let (found, needed) = (found.to_string(), needed.to_string());
    if found == needed {
        return Ok(());
    }
    Err(LearnError::Mismatch { what: what.to_owned(), found, needed })
}
