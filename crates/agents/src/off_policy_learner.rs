//! Off-policy methods at work on a task: interaction, replay, save and load, written once for all.

use std::path::Path;

use critics::{CheckpointError, Checkpoints, CriticError, Snapshot, SnapshotWriter, Tensors};
use dynamics::{
    ActionBounds, DynamicsError, End, Environment, Move, Stream, StreamState, Task,
    TransitionGradient,
};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::off_policy::{Interaction, OffPolicy, Scalars, transition_shape};
use crate::policy::narrow;
use crate::replay::{Batch, Derivatives, Record, RecordLayout, Replay, TransitionShape};
use crate::replay_log::{ReplayLog, SegmentRef, listed_segments, open_once};
use crate::{
    Actor, Budget, Episode, LearnError, Learner, MeanPolicy, Policy, Progress, save_policy,
};

/// An off-policy method learning on one task with one seed.
pub struct OffPolicyLearner<'a, A> {
    task: &'a dyn Task,
    seed: u64,
    interaction: Interaction,
    /// Range of the actions that the networks see.
    bounds: ActionBounds,
    /// Physical action = middle + half·(action of the networks), entry by entry.
    half: Vec<f64>,
    middle: Vec<f64>,
    agent: A,
    replay: Replay,
    log: Option<ReplayLog>,
    env: Environment<'a>,
    gradient: Option<TransitionGradient<'a>>,
    streams: Streams,
    /// An episode is under way.
    in_episode: bool,
    episode_return: f64,
    progress: Progress,
    metric_names: Vec<&'static str>,
    metrics: Metrics,
    buffers: Buffers,
}

/// One random stream per purpose.
struct Streams {
    start: Stream,
    random_action: Stream,
    exploration: Stream,
    batch: Stream,
    update: Stream,
}

struct Buffers {
    batch: Batch<f32>,
    update_metrics: Vec<f64>,
    observation: Vec<f64>,
    o: Vec<f32>,
    o_next: Vec<f32>,
    action: Vec<f32>,
    u: DVector<f64>,
    /// ∂o/∂x and ∂o'/∂x'.
    ox: DMatrix<f64>,
    ox_next: DMatrix<f64>,
    /// [fx, fu], ndx × (ndx + nu), and the same seen by the next observation.
    state_jacobian: DMatrix<f64>,
    jacobian: DMatrix<f64>,
}

/// Diagnostics that every off-policy method has beside its own.
const EPISODE_METRICS: [&str; 2] = ["train_return", "train_length"];

/// Sums since the metrics were last taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    updates: u64,
    update_sums: Vec<f64>,
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
    random_steps: u64,
    in_episode: bool,
    t: usize,
    x: Vec<f64>,
    episode_return: f64,
    /// start, random action, exploration, batch, update.
    streams: [StreamState; 5],
    plant_noise: Option<StreamState>,
    adam_steps: Vec<u64>,
    scalars: Scalars,
    metrics: Metrics,
    transitions: u64,
    segments: Vec<SegmentRef>,
}

const STATE_FILE: &str = "state.json";
const TENSOR_FILE: &str = "tensors.safetensors";

impl<'a, A: OffPolicy> OffPolicyLearner<'a, A> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range, a nominal model that cannot be differentiated as asked.
    pub fn with_agent(
        task: &'a dyn Task,
        agent: A,
        interaction: Interaction,
        seed: u64,
    ) -> Result<Self, LearnError> {
        interaction.check()?;
        let plant = task.plant();
        let shape = transition_shape(task);
        let TransitionShape { n_observations: no, nu, ndx } = shape;
        let layout = RecordLayout {
            shape,
            derivatives: interaction.jacobians.is_some(),
            observation_jacobian: task.observation().jacobian().is_some(),
        };
        let physical = task.action_bounds();
        let (half, middle) = if interaction.normalize_actions {
            let pairs = physical.low.iter().zip(&physical.high);
            pairs.map(|(low, high)| (0.5 * (high - low), 0.5 * (high + low))).unzip()
        } else {
            (vec![1.0; nu], vec![0.0; nu])
        };
        let gradient = match interaction.jacobians {
            Some(source) => Some(TransitionGradient::new(task, source)?),
            None => None,
        };
        let noise = (plant.any_n_noise() > 0).then(|| Stream::new(seed, "plant noise", 0));
        let n_metrics = agent.metric_names().len();
        let buffers = Buffers {
            batch: Batch::default(),
            update_metrics: vec![0.0; n_metrics],
            observation: vec![0.0; no],
            o: vec![0.0; no],
            o_next: vec![0.0; no],
            action: vec![0.0; nu],
            u: DVector::zeros(nu),
            ox: DMatrix::zeros(no, ndx),
            ox_next: DMatrix::zeros(no, ndx),
            state_jacobian: DMatrix::zeros(ndx, ndx + nu),
            jacobian: DMatrix::zeros(no, ndx + nu),
        };
        Ok(Self {
            task,
            seed,
            bounds: interaction.network_bounds(physical),
            half,
            middle,
            replay: Replay::new(layout, interaction.replay_capacity),
            log: None,
            env: Environment::new(task, noise),
            gradient,
            streams: Streams {
                start: Stream::new(seed, "episode starts", 0),
                random_action: Stream::new(seed, "random actions", 0),
                exploration: Stream::new(seed, "exploration", 0),
                batch: Stream::new(seed, "batches", 0),
                update: Stream::new(seed, "update noise", 0),
            },
            in_episode: false,
            episode_return: 0.0,
            progress: Progress::default(),
            metric_names: agent.metric_names().iter().chain(&EPISODE_METRICS).copied().collect(),
            metrics: Metrics::empty(n_metrics),
            buffers,
            interaction,
            agent,
        })
    }

    /// One environment step, with the updates before it once the memory is large enough.
    fn step(&mut self) -> Result<(), LearnError> {
        if !self.in_episode {
            self.env.reset(&mut self.streams.start);
            self.in_episode = true;
            self.episode_return = 0.0;
        }
        self.choose_action();
        if self.replay.len() > self.interaction.update_after {
            let noise = &mut self.streams.update;
            self.agent.prepare(&self.replay, self.progress.env_steps, noise);
            for _ in 0..self.agent.updates_per_step() {
                self.update()?;
            }
        }
        let t = self.env.t();
        let step = self.env.step(&self.buffers.u).map_err(|source| self.task_error(source))?;
        self.store(t, step.reward, step.end).map_err(|source| self.task_error(source))?;
        self.episode_return += step.reward;
        self.progress.env_steps += 1;
        if step.end.is_some() {
            let episode = Episode { total_reward: self.episode_return, length: self.env.t() };
            self.in_episode = false;
            self.progress.episodes += 1;
            self.progress.episode = Some(episode);
            self.metrics.episodes += 1;
            self.metrics.episode_sums[0] += episode.total_reward;
            self.metrics.episode_sums[1] += episode.length as f64;
        }
        Ok(())
    }

    /// Observes the state into `o` and writes the action into `u`.
    fn choose_action(&mut self) {
        let b = &mut self.buffers;
        self.task.observation().observe(self.env.x(), &mut b.observation);
        narrow(&b.observation, &mut b.o);
        if self.progress.env_steps < self.interaction.random_steps {
            let ranges = self.bounds.low.iter().zip(&self.bounds.high);
            for (a, (&low, &high)) in b.action.iter_mut().zip(ranges) {
                let action = self.streams.random_action.uniform(low, high);
                narrow(&[action], std::slice::from_mut(a));
            }
        } else {
            self.agent.explore(&b.o, &mut self.streams.exploration, &mut b.action);
        }
        for (j, u) in b.u.iter_mut().enumerate() {
            *u = self.middle[j] + self.half[j] * f64::from(b.action[j]);
        }
    }

    fn update(&mut self) -> Result<(), LearnError> {
        let b = &mut self.buffers;
        let n = self.interaction.batch_size;
        self.replay.sample(n, &mut self.streams.batch, &mut b.batch);
        let noise = &mut self.streams.update;
        let outcome = self.agent.update(&b.batch, noise, &mut b.update_metrics);
        self.progress.updates += 1;
        outcome.map_err(|(what, value)| LearnError::NotFinite {
            method: self.agent.method().to_owned(),
            seed: self.seed,
            what,
            value,
            env_step: self.progress.env_steps,
            update: self.progress.updates,
        })?;
        self.metrics.updates += 1;
        for (sum, value) in self.metrics.update_sums.iter_mut().zip(&b.update_metrics) {
            *sum += value;
        }
        Ok(())
    }

    /// Stores the transition that the environment has just made.
    fn store(&mut self, t: usize, reward: f64, end: Option<End>) -> Result<(), DynamicsError> {
        let b = &mut self.buffers;
        self.task.observation().observe(self.env.x(), &mut b.observation);
        narrow(&b.observation, &mut b.o_next);
        let terminated = end == Some(End::Terminated);
        let mut derivatives = None;
        if let (Some(gradient), false) = (&mut self.gradient, terminated) {
            let (x, x_next) = (self.env.x_previous(), self.env.x());
            gradient.evaluate(&Move { t, x, u: &b.u, x_next })?;
            let ndx = gradient.jacobian.fx.ncols();
            b.state_jacobian.columns_mut(0, ndx).copy_from(&gradient.jacobian.fx);
            // Derivatives in the action that the networks see.
            for (j, &half) in self.half.iter().enumerate() {
                let mut column = b.state_jacobian.column_mut(ndx + j);
                column.copy_from(&gradient.jacobian.fu.column(j));
                column *= half;
                gradient.reward_gradient[ndx + j] *= half;
            }
            gradient.reward_gradient *= self.interaction.reward_scale;
            match self.task.observation().jacobian() {
                None => b.jacobian.copy_from(&b.state_jacobian),
                Some(observation) => {
                    observation.linearize(x, &mut b.ox);
                    observation.linearize(x_next, &mut b.ox_next);
                    // Column by column, since nalgebra's product of larger matrices allocates.
                    for (j, column) in b.state_jacobian.column_iter().enumerate() {
                        b.jacobian.column_mut(j).gemv(1.0, &b.ox_next, &column, 0.0);
                    }
                }
            }
            derivatives = Some(Derivatives {
                jacobian: &b.jacobian,
                reward_gradient: gradient.reward_gradient.as_slice(),
                observation_jacobian: &b.ox,
            });
        }
        self.replay.push(&Record {
            o: &b.o,
            u: &b.action,
            reward: self.interaction.reward_scale * reward,
            o_next: &b.o_next,
            mask: if terminated { 0.0 } else { 1.0 },
            derivatives,
        });
        Ok(())
    }

    fn task_error(&self, source: DynamicsError) -> LearnError {
        LearnError::Task { seed: self.seed, env_step: self.progress.env_steps, source }
    }

    fn actor(&self) -> Result<Actor, CriticError> {
        self.agent.actor(self.task.action_bounds())
    }
}

impl Metrics {
    fn empty(n_update_metrics: usize) -> Self {
        Self { update_sums: vec![0.0; n_update_metrics], ..Self::default() }
    }
}

impl<A: OffPolicy> Learner for OffPolicyLearner<'_, A> {
    fn method(&self) -> &'static str {
        self.agent.method()
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
        &self.metric_names
    }

    fn take_metrics(&mut self) -> Vec<f64> {
        let fresh = Metrics::empty(self.metrics.update_sums.len());
        let m = std::mem::replace(&mut self.metrics, fresh);
        let updates = m.update_sums.iter().map(|sum| sum / m.updates as f64);
        let episodes = m.episode_sums.iter().map(|sum| sum / m.episodes as f64);
        updates.chain(episodes).collect()
    }

    fn save_policy(&self, path: &Path) -> Result<(), LearnError> {
        save_policy(path, &self.actor()?)
    }

    fn networks(&self) -> Result<Tensors, CheckpointError> {
        let mut tensors = Tensors::new();
        for (name, net) in self.agent.networks() {
            tensors.insert_f32(name, &[net.params().len()], net.params())?;
        }
        Ok(tensors)
    }

    fn start_from(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        self.set_networks(networks)?;
        self.interaction.random_steps = 0;
        Ok(())
    }

    fn set_networks(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        let mut loaded = Vec::new();
        for (name, net) in self.agent.networks() {
            loaded.push(networks.f32_of_shape(name, &[net.params().len()])?);
        }
        for (net, params) in self.agent.networks_mut().into_iter().zip(loaded) {
            net.params_mut().copy_from_slice(&params);
        }
        Ok(())
    }

    fn save(&mut self, dir: &Path, checkpoint: &mut SnapshotWriter) -> Result<(), CheckpointError> {
        let log =
            open_once(&mut self.log, dir, self.replay.layout().width(), self.replay.capacity())?;
        let (first, records) = self.replay.records_from(log.end());
        if !records.is_empty() {
            log.append(first, &records)?;
        }
        let segments = log.live();
        let mut tensors = self.networks()?;
        for (name, adam) in self.agent.optimizers() {
            tensors.insert_f32(&format!("{name}.m"), &[adam.m().len()], adam.m())?;
            tensors.insert_f32(&format!("{name}.v"), &[adam.v().len()], adam.v())?;
        }
        for (name, numbers) in self.agent.numbers() {
            tensors.insert_f32(&name, &[numbers.len()], &numbers)?;
        }
        checkpoint.tensors(TENSOR_FILE, &tensors)?;
        let s = &self.streams;
        checkpoint.json(
            STATE_FILE,
            &SavedState {
                method: self.method().to_owned(),
                seed: self.seed,
                env_steps: self.progress.env_steps,
                updates: self.progress.updates,
                episodes: self.progress.episodes,
                random_steps: self.interaction.random_steps,
                in_episode: self.in_episode,
                t: self.env.t(),
                x: self.env.x().as_slice().to_vec(),
                episode_return: self.episode_return,
                streams: [&s.start, &s.random_action, &s.exploration, &s.batch, &s.update]
                    .map(Stream::state),
                plant_noise: self.env.noise_stream().map(Stream::state),
                adam_steps: self.agent.optimizers().iter().map(|(_, adam)| adam.t()).collect(),
                scalars: self.agent.scalars(),
                metrics: self.metrics.clone(),
                transitions: self.replay.pushed(),
                segments,
            },
        )
    }

    fn load(&mut self, dir: &Path, checkpoint: &Snapshot) -> Result<(), LearnError> {
        let saved: SavedState = checkpoint.json(STATE_FILE)?;
        for (what, found, needed) in [
            ("the method", saved.method.clone(), self.method().to_owned()),
            ("the seed", saved.seed.to_string(), self.seed.to_string()),
        ] {
            if found != needed {
                return Err(LearnError::Mismatch { what: what.to_owned(), found, needed });
            }
        }
        let tensors = checkpoint.tensors(TENSOR_FILE)?;
        self.set_networks(&tensors)?;
        let mut moments = Vec::new();
        for (name, adam) in self.agent.optimizers() {
            let shape = [adam.m().len()];
            let moment = |part| tensors.f32_of_shape(&format!("{name}.{part}"), &shape);
            moments.push((moment("m")?, moment("v")?));
        }
        for ((adam, (m, v)), &steps) in
            self.agent.optimizers_mut().into_iter().zip(moments).zip(&saved.adam_steps)
        {
            adam.restore(m, v, steps)?;
        }
        self.agent.set_scalars(saved.scalars)?;
        self.agent.set_numbers(&mut |name| Ok(tensors.get_f32(name)?.1))?;
        let capacity = self.replay.capacity();
        let mut replay = Replay::new(*self.replay.layout(), capacity);
        open_once(&mut self.log, dir, replay.layout().width(), capacity)?
            .load(&saved.segments, &mut |number, record| replay.restore_record(number, record))?;
        if replay.pushed() != saved.transitions {
            return Err(LearnError::Mismatch {
                what: "the replay memory".to_owned(),
                found: format!("{} transitions", replay.pushed()),
                needed: format!("{} transitions", saved.transitions),
            });
        }
        self.replay = replay;
        let [start, random_action, exploration, batch, update] = saved.streams.map(Stream::at);
        self.streams = Streams { start, random_action, exploration, batch, update };
        self.env = Environment::new(self.task, saved.plant_noise.map(Stream::at));
        self.env.restore(&DVector::from_vec(saved.x), saved.t)?;
        self.in_episode = saved.in_episode;
        self.episode_return = saved.episode_return;
        self.interaction.random_steps = saved.random_steps;
        self.metrics = saved.metrics;
        self.progress = Progress {
            env_steps: saved.env_steps,
            updates: saved.updates,
            episodes: saved.episodes,
            episode: None,
        };
        Ok(())
    }

    fn prune(&mut self, dir: &Path, kept: &Checkpoints) -> Result<(), CheckpointError> {
        let listed = listed_segments(kept, |snapshot| {
            Ok(snapshot.json::<SavedState>(STATE_FILE)?.segments)
        })?;
        open_once(&mut self.log, dir, self.replay.layout().width(), self.replay.capacity())?
            .retain(&listed)
    }
}
