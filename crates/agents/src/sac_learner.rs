//! SAC and VG-SAC at work on a task: interaction, replay, save and load.

use std::path::Path;

use critics::{
    Adam, CheckpointError, Checkpoints, CriticError, Snapshot, SnapshotWriter, SquashedGaussian,
    Tensors,
};
use dynamics::{
    ActionBounds, DynamicsError, End, Environment, Move, Stream, StreamState, Task,
    TransitionGradient,
};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::policy::narrow;
use crate::replay::{Batch, Derivatives, Record, RecordLayout, Replay, TransitionShape};
use crate::replay_log::{ReplayLog, SegmentRef};
use crate::sac::{LossBalance, Sac, Temperature, UpdateReport};
use crate::{
    Budget, Episode, LearnError, Learner, MeanPolicy, Policy, Progress, SacSettings, save_policy,
};

/// SAC or VG-SAC learning on one task with one seed.
pub struct SacLearner<'a> {
    task: &'a dyn Task,
    seed: u64,
    random_steps: u64,
    batch_size: usize,
    update_after: usize,
    /// Physical action = middle + half·(action of the networks), entry by entry.
    half: Vec<f64>,
    middle: Vec<f64>,
    sac: Sac<f32>,
    replay: Replay,
    log: Option<ReplayLog>,
    env: Environment<'a>,
    gradient: Option<TransitionGradient<'a>>,
    streams: Streams,
    /// An episode is under way.
    in_episode: bool,
    episode_return: f64,
    progress: Progress,
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
    eps_next: Vec<f32>,
    eps_actor: Vec<f32>,
    observation: Vec<f64>,
    o: Vec<f32>,
    o_next: Vec<f32>,
    eps: Vec<f32>,
    action: Vec<f32>,
    log_prob: [f32; 1],
    u: DVector<f64>,
    actor: critics::PolicyWorkspace<f32>,
    /// ∂o/∂x and ∂o'/∂x'.
    ox: DMatrix<f64>,
    ox_next: DMatrix<f64>,
    /// [fx, fu], ndx × (ndx + nu), and the same seen by the next observation.
    state_jacobian: DMatrix<f64>,
    jacobian: DMatrix<f64>,
}

const METRICS: [&str; 10] = [
    "q_loss",
    "policy_loss",
    "entropy",
    "state_gradient_loss",
    "action_gradient_loss",
    "kappa_s",
    "kappa_a",
    "alpha",
    "train_return",
    "train_length",
];

/// Sums since the metrics were last taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    updates: u64,
    update_sums: [f64; 8],
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
    balance: LossBalance,
    adam_steps: [u64; 3],
    /// log α, and of its Adam both moments and the steps.
    temperature: (f64, f64, f64, u64),
    metrics: Metrics,
    transitions: u64,
    segments: Vec<SegmentRef>,
}

const STATE_FILE: &str = "state.json";
const TENSOR_FILE: &str = "tensors.safetensors";
const REPLAY_DIR: &str = "replay";

impl<'a> SacLearner<'a> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range, networks that cannot be built, a nominal model that cannot be
    /// differentiated as asked.
    pub fn new(task: &'a dyn Task, settings: &SacSettings, seed: u64) -> Result<Self, LearnError> {
        check(settings)?;
        let plant = task.plant();
        let (nx, nu, ndx) = (plant.any_nx(), plant.any_nu(), plant.any_ndx());
        let no = task.observation().n_observations(nx);
        let shape = TransitionShape { n_observations: no, nu, ndx };
        let derivatives = settings.value_gradient.is_some();
        let layout = RecordLayout {
            shape,
            derivatives,
            observation_jacobian: task.observation().jacobian().is_some(),
        };
        let physical = task.action_bounds();
        let bounds = match settings.normalize_actions {
            true => ActionBounds::symmetric(nu, 1.0),
            false => physical.clone(),
        };
        let (half, middle) = if settings.normalize_actions {
            let pairs = physical.low.iter().zip(&physical.high);
            pairs.map(|(low, high)| (0.5 * (high - low), 0.5 * (high + low))).unzip()
        } else {
            (vec![1.0; nu], vec![0.0; nu])
        };
        let sac = Sac::new(settings, shape, task.discount(), &bounds, seed)?;
        let gradient = match &settings.value_gradient {
            Some(vg) => Some(TransitionGradient::new(task, vg.jacobians)?),
            None => None,
        };
        let noise = (plant.any_n_noise() > 0).then(|| Stream::new(seed, "plant noise", 0));
        let n = settings.batch_size;
        let buffers = Buffers {
            batch: Batch::default(),
            eps_next: vec![0.0; n * nu],
            eps_actor: vec![0.0; n * nu],
            observation: vec![0.0; no],
            o: vec![0.0; no],
            o_next: vec![0.0; no],
            eps: vec![0.0; nu],
            action: vec![0.0; nu],
            log_prob: [0.0],
            u: DVector::zeros(nu),
            actor: sac.actor.workspace(1),
            ox: DMatrix::zeros(no, ndx),
            ox_next: DMatrix::zeros(no, ndx),
            state_jacobian: DMatrix::zeros(ndx, ndx + nu),
            jacobian: DMatrix::zeros(no, ndx + nu),
        };
        Ok(Self {
            task,
            seed,
            random_steps: settings.random_steps,
            batch_size: n,
            update_after: settings.update_after,
            half,
            middle,
            replay: Replay::new(layout, settings.replay_capacity),
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
            metrics: Metrics::default(),
            buffers,
            sac,
        })
    }

    /// One environment step, with one update before it once the memory is large enough.
    fn step(&mut self) -> Result<(), LearnError> {
        if !self.in_episode {
            self.env.reset(&mut self.streams.start);
            self.in_episode = true;
            self.episode_return = 0.0;
        }
        self.choose_action();
        if self.replay.len() > self.update_after {
            self.update()?;
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
        if self.progress.env_steps < self.random_steps {
            for (a, (low, high)) in b.action.iter_mut().zip(self.sac.actor.bounds()) {
                let action = self.streams.random_action.uniform(low, high);
                narrow(&[action], std::slice::from_mut(a));
            }
        } else {
            fill_normal(&mut b.eps, &mut self.streams.exploration);
            self.sac.actor.sample(&b.o, &b.eps, &mut b.actor, &mut b.action, &mut b.log_prob);
        }
        for (j, u) in b.u.iter_mut().enumerate() {
            *u = self.middle[j] + self.half[j] * f64::from(b.action[j]);
        }
    }

    fn update(&mut self) -> Result<(), LearnError> {
        let b = &mut self.buffers;
        self.replay.sample(self.batch_size, &mut self.streams.batch, &mut b.batch);
        fill_normal(&mut b.eps_next, &mut self.streams.update);
        fill_normal(&mut b.eps_actor, &mut self.streams.update);
        let report = self.sac.update(&b.batch, &b.eps_next, &b.eps_actor);
        self.progress.updates += 1;
        self.check_finite(&report)?;
        self.metrics.updates += 1;
        let values = [
            0.5 * (report.q_loss[0] + report.q_loss[1]),
            report.policy_loss,
            report.entropy,
            report.state_gradient_loss,
            report.action_gradient_loss,
            report.kappa[0],
            report.kappa[1],
            report.alpha,
        ];
        for (sum, value) in self.metrics.update_sums.iter_mut().zip(values) {
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
            match self.task.observation().jacobian() {
                None => b.jacobian.copy_from(&b.state_jacobian),
                Some(observation) => {
                    observation.linearize(x, &mut b.ox);
                    observation.linearize(x_next, &mut b.ox_next);
                    b.jacobian.gemm(1.0, &b.ox_next, &b.state_jacobian, 0.0);
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
            reward,
            o_next: &b.o_next,
            mask: if terminated { 0.0 } else { 1.0 },
            derivatives,
        });
        Ok(())
    }

    fn check_finite(&self, report: &UpdateReport) -> Result<(), LearnError> {
        for (what, value) in [
            ("the first critic's loss", report.q_loss[0]),
            ("the second critic's loss", report.q_loss[1]),
            ("the critics' whole loss", report.critic_loss),
            ("the actor's loss", report.policy_loss),
        ] {
            if !value.is_finite() {
                return Err(LearnError::NotFinite {
                    method: self.method().to_owned(),
                    seed: self.seed,
                    what,
                    value,
                    env_step: self.progress.env_steps,
                    update: self.progress.updates,
                });
            }
        }
        Ok(())
    }

    fn task_error(&self, source: DynamicsError) -> LearnError {
        LearnError::Task { seed: self.seed, env_step: self.progress.env_steps, source }
    }

    /// The actor with actions in physical units.
    fn physical_actor(&self) -> Result<SquashedGaussian<f32>, CriticError> {
        let bounds = self.task.action_bounds();
        SquashedGaussian::new(self.sac.actor.net().clone(), &bounds.low, &bounds.high)
    }

    /// The networks by name.
    fn named_networks(&self) -> [(&'static str, &[f32]); 5] {
        let Sac { actor, critics, targets, .. } = &self.sac;
        [
            ("actor", actor.net().params()),
            ("critic1", critics[0].params()),
            ("critic2", critics[1].params()),
            ("target1", targets[0].params()),
            ("target2", targets[1].params()),
        ]
    }
}

fn fill_normal(values: &mut [f32], stream: &mut Stream) {
    for value in values {
        #[expect(clippy::cast_possible_truncation, reason = "networks are in single precision")]
        let normal = stream.normal() as f32;
        *value = normal;
    }
}

fn check(settings: &SacSettings) -> Result<(), LearnError> {
    let refuse = |key, value: String, needed| Err(LearnError::Setting { key, value, needed });
    let positive = |v: f64| v.is_finite() && v > 0.0;
    let share = |v: f64| (0.0..=1.0).contains(&v);
    if !positive(settings.learning_rate) {
        return refuse("method.learning_rate", settings.learning_rate.to_string(), "positive");
    }
    if !share(settings.tau) {
        return refuse("method.tau", settings.tau.to_string(), "between 0 and 1");
    }
    if !(settings.alpha.is_finite() && settings.alpha >= 0.0) {
        return refuse("method.alpha", settings.alpha.to_string(), "finite and not negative");
    }
    if settings.batch_size == 0 {
        return refuse("method.batch_size", "0".to_owned(), "at least 1");
    }
    if settings.replay_capacity <= settings.batch_size {
        let value = settings.replay_capacity.to_string();
        return refuse("method.replay_capacity", value, "larger than method.batch_size");
    }
    if settings.learn_alpha && settings.alpha == 0.0 {
        let value = settings.alpha.to_string();
        return refuse("method.alpha", value, "positive where it is learned");
    }
    if settings.critic_hidden.is_empty() {
        return refuse("method.critic_hidden", "[]".to_owned(), "at least one layer");
    }
    if let Some(vg) = &settings.value_gradient {
        for (key, value) in [
            ("method.value_gradient.kappa_smoothing", vg.kappa_smoothing),
            ("method.value_gradient.median_decay", vg.median_decay),
        ] {
            if !share(value) {
                return refuse(key, value.to_string(), "between 0 and 1");
            }
        }
        for (key, value) in [
            ("method.value_gradient.zeta_s", vg.zeta_s),
            ("method.value_gradient.zeta_a", vg.zeta_a),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "finite and not negative");
            }
        }
    }
    Ok(())
}

impl Learner for SacLearner<'_> {
    fn method(&self) -> &'static str {
        if self.gradient.is_some() { "vg-sac" } else { "sac" }
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
        Ok(Box::new(MeanPolicy::new(self.task, self.physical_actor()?)?))
    }

    fn metric_names(&self) -> &'static [&'static str] {
        &METRICS
    }

    fn take_metrics(&mut self) -> Vec<f64> {
        let m = std::mem::take(&mut self.metrics);
        let updates = m.update_sums.iter().map(|sum| sum / m.updates as f64);
        let episodes = m.episode_sums.iter().map(|sum| sum / m.episodes as f64);
        updates.chain(episodes).collect()
    }

    fn save_policy(&self, path: &Path) -> Result<(), LearnError> {
        save_policy(path, &self.physical_actor()?, self.task.action_bounds())
    }

    fn networks(&self) -> Result<Tensors, CheckpointError> {
        let mut tensors = Tensors::new();
        for (name, params) in self.named_networks() {
            tensors.insert_f32(name, &[params.len()], params)?;
        }
        Ok(tensors)
    }

    fn start_from(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        self.set_networks(networks)?;
        self.random_steps = 0;
        Ok(())
    }

    fn set_networks(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        let mut loaded = Vec::new();
        for (name, params) in self.named_networks() {
            loaded.push(networks.f32_of_shape(name, &[params.len()])?);
        }
        let Sac { actor, critics: [critic1, critic2], targets: [target1, target2], .. } =
            &mut self.sac;
        for (net, params) in
            [actor.net_mut(), critic1, critic2, target1, target2].into_iter().zip(loaded)
        {
            net.params_mut().copy_from_slice(&params);
        }
        Ok(())
    }

    fn save(&mut self, dir: &Path, checkpoint: &mut SnapshotWriter) -> Result<(), CheckpointError> {
        let log = replay_log(&mut self.log, dir, &self.replay)?;
        let (first, records) = self.replay.records_from(log.end());
        if !records.is_empty() {
            log.append(first, &records)?;
        }
        let segments = log.live();
        let mut tensors = self.networks()?;
        for (adam, name) in self.sac.optimizers.iter().zip(ADAM_NAMES) {
            tensors.insert_f32(&format!("{name}.m"), &[adam.m().len()], adam.m())?;
            tensors.insert_f32(&format!("{name}.v"), &[adam.v().len()], adam.v())?;
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
                random_steps: self.random_steps,
                in_episode: self.in_episode,
                t: self.env.t(),
                x: self.env.x().as_slice().to_vec(),
                episode_return: self.episode_return,
                streams: [&s.start, &s.random_action, &s.exploration, &s.batch, &s.update]
                    .map(Stream::state),
                plant_noise: self.env.noise_stream().map(Stream::state),
                balance: self.sac.balance.clone(),
                adam_steps: [0, 1, 2].map(|i| self.sac.optimizers[i].t()),
                temperature: {
                    let Temperature { log_alpha, optimizer } = &self.sac.temperature;
                    (log_alpha[0], optimizer.m()[0], optimizer.v()[0], optimizer.t())
                },
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
        for ((adam, name), &steps) in
            self.sac.optimizers.iter_mut().zip(ADAM_NAMES).zip(&saved.adam_steps)
        {
            let shape = [adam.m().len()];
            let moment = |part| tensors.f32_of_shape(&format!("{name}.{part}"), &shape);
            Adam::restore(adam, moment("m")?, moment("v")?, steps)?;
        }
        self.sac.balance = saved.balance;
        let (log_alpha, m, v, t) = saved.temperature;
        self.sac.temperature.log_alpha = [log_alpha];
        self.sac.temperature.optimizer.restore(vec![m], vec![v], t)?;
        self.sac.n_updates = saved.updates;
        let capacity = self.replay.capacity();
        let mut replay = Replay::new(*self.replay.layout(), capacity);
        replay_log(&mut self.log, dir, &replay)?
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
        self.random_steps = saved.random_steps;
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
        let mut listed = Vec::new();
        for step in kept.steps()? {
            listed.extend(kept.open(step)?.json::<SavedState>(STATE_FILE)?.segments);
        }
        replay_log(&mut self.log, dir, &self.replay)?.retain(&listed)
    }
}

const ADAM_NAMES: [&str; 3] = ["adam.actor", "adam.critic1", "adam.critic2"];

/// The replay segments below `dir`, opened at first use.
fn replay_log<'l>(
    log: &'l mut Option<ReplayLog>,
    dir: &Path,
    replay: &Replay,
) -> Result<&'l mut ReplayLog, CheckpointError> {
    let opened = match log.take() {
        Some(opened) => opened,
        None => ReplayLog::open(
            dir.join(REPLAY_DIR),
            replay.layout().width(),
            replay.capacity() as u64,
        )?,
    };
    Ok(log.insert(opened))
}
