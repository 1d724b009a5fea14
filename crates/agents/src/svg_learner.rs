//! Stochastic value gradients at work on a task: interaction, memory, save and load.

use std::path::Path;

use critics::{Adam, CheckpointError, Checkpoints, Snapshot, SnapshotWriter, Tensors};
use dynamics::{Environment, Stream, StreamState, Task};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::metrics::Means;
use crate::ppo_learner::{SavedMethod, check};
use crate::replay_log::{ReplayLog, SegmentRef, listed_segments, open_once};
use crate::svg::{
    Estimator, Experience, Sizes, Statistics, Svg, SvgSettings, Targets, Transition, Transitions,
    UpdateError,
};
use crate::{
    Actor, Budget, Episode, LearnError, Learner, MeanPolicy, Normalization, Policy, Progress,
    save_policy,
};

/// A stochastic value gradient, or one of the baselines it is compared with, learning on a task.
///
/// Learning begins with the end of the first episode: before it nothing is known of the sizes of
/// observations and changes. Their statistics grow with every transition and are put to use at the end of
/// every episode.
pub struct SvgLearner<'a> {
    task: &'a dyn Task,
    seed: u64,
    sizes: Sizes,
    settings: SvgSettings,
    agent: Svg<'a, f32>,
    experience: Experience,
    log: Option<ReplayLog>,
    env: Environment<'a>,
    streams: Streams,
    observations: Statistics,
    changes: Statistics,
    in_episode: bool,
    episode_return: f64,
    progress: Progress,
    metrics: Means,
    b: Buffers,
}

/// One random stream per purpose.
struct Streams {
    start: Stream,
    exploration: Stream,
    batch: Stream,
    update: Stream,
    imagination: Stream,
}

struct Buffers {
    transition: Transition,
    batch: Transitions,
    one: Transitions,
    u: DVector<f64>,
    mean: Vec<f64>,
    eta: Vec<f64>,
    o: Vec<f64>,
    deviation: Vec<f64>,
    /// Of observations.
    units: Normalization,
    /// Where an imagined episode starts.
    x0: DVector<f64>,
}

/// Per step, update or episode: return with noise and length of training episodes; loss of the model;
/// share of the variance of changes that one-step predictions leave unexplained, on transitions that are
/// not learned yet; cosine between the model's ∂x'/∂a, with the noise that explains the
/// transition held fixed, and the plant's; loss of the critic; importance
/// weights of the policy's gradient (mean as used, mean over updates of the largest before truncation,
/// effective sample size and share truncated); the gradient's norm before it is shortened; mean deviation of the actions and share
/// of them beyond their range; return and length of episodes that the planner imagines.
const METRICS: [&str; 15] = [
    "train_return",
    "train_length",
    "model_loss",
    "model_unexplained",
    "control_cosine",
    "critic_loss",
    "weight_mean",
    "weight_max",
    "effective_share",
    "truncated_share",
    "gradient_norm",
    "policy_std",
    "cut_actions",
    "imagined_return",
    "imagined_length",
];

/// Steps between two looks at the cosine.
const COSINE_EVERY: u64 = 10;

/// Transitions of the episode under way that on-policy gradients draw from, at most.
const ON_POLICY: u64 = 1000;

/// Everything of the state that is not a tensor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedState {
    method: String,
    seed: u64,
    env_steps: u64,
    updates: u64,
    episodes: u64,
    in_episode: bool,
    t: usize,
    episode_return: f64,
    /// start, exploration, batch, update, imagination.
    streams: [StreamState; 5],
    plant_noise: Option<StreamState>,
    adam_steps: Vec<u64>,
    critic_updates: u64,
    metrics: Means,
    transitions: u64,
    segments: Vec<SegmentRef>,
}

const STATE_FILE: &str = "state.json";
const TENSOR_FILE: &str = "tensors.safetensors";

impl<'a> SvgLearner<'a> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range; a state that is no plain vector or has angles that are wrapped; a memory that
    /// cannot hold an episode.
    pub fn new(task: &'a dyn Task, settings: &SvgSettings, seed: u64) -> Result<Self, LearnError> {
        settings.check()?;
        let sizes = Sizes::of(task);
        let method = settings.estimator.name();
        if sizes.nx != sizes.ndx {
            let needed = "a state that is a plain vector";
            return Err(LearnError::Unfit { method, task: task.name().to_owned(), needed });
        }
        if wraps(task, sizes.nx) {
            let needed = "a state without wrapped angles, since it learns changes";
            return Err(LearnError::Unfit { method, task: task.name().to_owned(), needed });
        }
        if settings.replay_capacity < task.horizon() {
            return Err(LearnError::Setting {
                key: "method.replay_capacity",
                value: settings.replay_capacity.to_string(),
                needed: "at least the steps of an episode",
            });
        }
        let noise = (task.plant().any_n_noise() > 0).then(|| Stream::new(seed, "plant noise", 0));
        let Sizes { nx, ndx, no, nu } = sizes;
        Ok(Self {
            task,
            seed,
            sizes,
            agent: Svg::new(task, settings, seed)?,
            experience: Experience::new(sizes, settings.replay_capacity),
            log: None,
            env: Environment::new(task, noise),
            streams: Streams {
                start: Stream::new(seed, "episode starts", 0),
                exploration: Stream::new(seed, "exploration", 0),
                batch: Stream::new(seed, "batches", 0),
                update: Stream::new(seed, "update noise", 0),
                imagination: Stream::new(seed, "imagination", 0),
            },
            observations: Statistics::new(no),
            changes: Statistics::new(ndx),
            in_episode: false,
            episode_return: 0.0,
            progress: Progress::default(),
            metrics: Means::default(),
            b: Buffers {
                transition: Transition::zeros(nx, nu),
                batch: Transitions::default(),
                one: Transitions::default(),
                u: DVector::zeros(nu),
                mean: vec![0.0; nu],
                eta: vec![0.0; nu],
                o: vec![0.0; no],
                deviation: vec![1.0; ndx],
                units: Normalization::none(no),
                x0: DVector::zeros(nx),
            },
            settings: settings.clone(),
        })
    }

    /// What learns.
    #[must_use]
    pub fn agent(&self) -> &Svg<'a, f32> {
        &self.agent
    }

    /// One environment step, and what is learned after it.
    fn step(&mut self) -> Result<(), LearnError> {
        if !self.in_episode {
            self.env.reset(&mut self.streams.start);
            self.in_episode = true;
            self.episode_return = 0.0;
        }
        self.act()?;
        self.look()?;
        self.experience.push(&self.b.transition);
        self.progress.env_steps += 1;
        let ended = self.b.transition.end.is_some();
        if !self.settings.estimator.is_episodic() && self.progress.episodes > 0 {
            self.learn_from_step(ended)?;
        }
        if ended {
            self.in_episode = false;
            self.progress.episodes += 1;
            let episode = Episode { total_reward: self.episode_return, length: self.env.t() };
            self.progress.episode = Some(episode);
            let mut values = [None; METRICS.len()];
            values[0] = Some(episode.total_reward);
            values[1] = Some(episode.length as f64);
            self.metrics.add(&values);
            self.take_statistics();
            // An episode is explained by the policy that acted in it, with the units it acted in. The first
            // one gives the units.
            if self.settings.estimator.is_episodic() {
                self.learn_from_episode(episode.length)?;
            }
            self.agent.normalize(&self.b.units);
        }
        Ok(())
    }

    /// Draws an action, applies it, and writes down what happened.
    fn act(&mut self) -> Result<(), LearnError> {
        let b = &mut self.b;
        let transition = &mut b.transition;
        transition.t = self.env.t();
        transition.x.copy_from(self.env.x());
        self.task.observation().observe(&transition.x, &mut b.o);
        self.observations.push(b.o.iter().copied());
        self.agent.mean_action(&transition.x, &mut b.mean);
        let policy = &self.agent.policy;
        for (j, a) in transition.a.iter_mut().enumerate() {
            // As the memory has it, so that the density is that of what is remembered.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the memory is in single precision"
            )]
            let drawn = (b.mean[j] + policy.std(j) * self.streams.exploration.normal()) as f32;
            *a = f64::from(drawn);
        }
        policy.infer_noise(&b.mean, transition.a.as_slice(), &mut b.eta);
        transition.log_prob = policy.log_density(&b.eta);
        if !transition.log_prob.is_finite() {
            let error = ("an action's log-density", transition.log_prob);
            return Err(self.not_finite(error));
        }
        let bounds = self.task.action_bounds();
        self.sizes.to_physical(bounds, transition.a.as_slice(), b.u.as_mut_slice());
        let step = self.env.step(&b.u).map_err(|source| LearnError::Task {
            seed: self.seed,
            env_step: self.progress.env_steps,
            source,
        })?;
        let transition = &mut self.b.transition;
        transition.x_next.copy_from(self.env.x());
        transition.reward = step.reward;
        transition.end = step.end;
        self.episode_return += step.reward;
        let changes = transition.x_next.iter().zip(transition.x.iter()).map(|(n, x)| n - x);
        self.changes.push(changes);
        Ok(())
    }

    /// How well the model knows the transition, which it has not learned yet.
    fn look(&mut self) -> Result<(), LearnError> {
        let transition = &self.b.transition;
        let beyond = transition.a.iter().filter(|a| a.abs() > 1.0).count();
        let stds: f64 = (0..self.sizes.nu).map(|j| self.agent.policy.std(j)).sum();
        let mut values = [None; METRICS.len()];
        if self.progress.episodes > 0 {
            values[3] = self.agent.prediction_error(transition, &self.b.deviation);
            if self.progress.env_steps.is_multiple_of(COSINE_EVERY) {
                self.b.one.clear();
                self.b.one.push(self.sizes.nx, self.sizes.nu).copy_from(transition);
                self.b.one.close();
                let cosine = self.agent.control_cosine(&self.b.one);
                values[4] = cosine.map_err(|error| self.update_error(error))?;
            }
        }
        values[11] = Some(stds / self.sizes.nu as f64);
        values[12] = Some(beyond as f64 / self.sizes.nu as f64);
        self.metrics.add(&values);
        Ok(())
    }

    /// Takes units from the statistics of all transitions, and puts those of the model to use.
    fn take_statistics(&mut self) {
        let (units, changes) = (&mut self.b.units, &self.changes);
        units.mean.copy_from_slice(self.observations.mean());
        for (i, scale) in units.scale.iter_mut().enumerate() {
            *scale = self.observations.scale(i);
        }
        for (i, deviation) in self.b.deviation.iter_mut().enumerate() {
            *deviation = changes.deviation(i);
        }
        let scaled = self.settings.model.as_ref().is_some_and(|model| model.normalize);
        if let Some(model) = &mut self.agent.model {
            let Targets { mean, scale, known } = &mut model.targets;
            for i in 0..known.len() {
                known[i] = changes.is_constant(i);
                mean[i] = if scaled || known[i] { changes.mean()[i] } else { 0.0 };
                scale[i] = if scaled && !known[i] { changes.deviation(i) } else { 1.0 };
            }
            if scaled {
                model.normalization.copy_from(units);
            }
        }
    }

    /// Algorithm 2: model, critic, policy.
    fn learn_from_step(&mut self, ended: bool) -> Result<(), LearnError> {
        let SvgSettings { estimator, minibatch, steps, .. } = self.settings;
        let (critic_updates, all) =
            (self.settings.critic.as_ref().map_or(0, |critic| critic.updates), u64::MAX);
        let mut values = [None; METRICS.len()];
        values[2] = self.learn_model()?;
        for _ in 0..critic_updates {
            let (experience, batch) = (&self.experience, &mut self.b.batch);
            experience.sample((minibatch, 1, all), &mut self.streams.batch, batch);
            let loss = self.agent.update_critic(batch, &mut self.streams.update);
            values[5] = Some(loss.map_err(|error| self.update_error(error))?);
        }
        let last = match estimator {
            Estimator::One | Estimator::ActorCritic => ON_POLICY.min(self.env.t() as u64),
            _ => all,
        };
        // Before the episode has a minibatch, its first steps would be learned over and over; an episode that
        // is over by then is learned once.
        if last < minibatch as u64 && !ended {
            self.metrics.add(&values);
            return Ok(());
        }
        let steps = steps.unwrap_or(1);
        let window = ((minibatch / steps).max(1), steps, last);
        self.experience.sample(window, &mut self.streams.batch, &mut self.b.batch);
        self.learn_policy(&mut values)?;
        self.metrics.add(&values);
        Ok(())
    }

    /// Algorithm 1, or the planner: model, then one step of the policy.
    fn learn_from_episode(&mut self, length: usize) -> Result<(), LearnError> {
        let mut values = [None; METRICS.len()];
        values[2] = self.learn_model()?;
        if self.progress.episodes == 1 {
            self.metrics.add(&values);
            return Ok(());
        }
        if self.settings.estimator == Estimator::Planner {
            let (imagination, b) = (&mut self.streams.imagination, &mut self.b);
            self.task.sample_x0(imagination, &mut b.x0);
            let imagined = self.agent.imagine(&b.x0, imagination, &mut b.batch);
            let imagined = imagined.map_err(|error| self.update_error(error))?;
            let length = self.b.batch.as_slice().len();
            values[14] = Some(length as f64);
            if length == 0 {
                self.metrics.add(&values);
                return Ok(());
            }
            values[13] = Some(imagined);
        } else {
            self.experience.last(length, &mut self.b.batch);
        }
        self.learn_policy(&mut values)?;
        self.metrics.add(&values);
        Ok(())
    }

    /// As many steps of the model as the settings ask for; returns the mean loss.
    fn learn_model(&mut self) -> Result<Option<f64>, LearnError> {
        let Some(model) = self.settings.model.as_ref().filter(|_| self.agent.model.is_some())
        else {
            return Ok(None);
        };
        let (updates, minibatch) = (model.updates, self.settings.minibatch);
        let mut sum = 0.0;
        for _ in 0..updates {
            let (experience, batch) = (&self.experience, &mut self.b.batch);
            experience.sample((minibatch, 1, u64::MAX), &mut self.streams.batch, batch);
            let loss = self.agent.update_model(batch);
            sum += loss.map_err(|error| self.update_error(error))?;
        }
        Ok(Some(sum / updates as f64))
    }

    /// A step of the policy on the batch at hand.
    fn learn_policy(
        &mut self,
        values: &mut [Option<f64>; METRICS.len()],
    ) -> Result<(), LearnError> {
        let report = self.agent.update_policy(&self.b.batch, &mut self.streams.update);
        let report = report.map_err(|error| self.update_error(error))?;
        self.progress.updates += 1;
        if self.settings.estimator.is_weighted() {
            values[6] = Some(report.weight_mean);
            values[7] = Some(report.weight_max);
            values[8] = Some(report.effective_share);
            values[9] = Some(report.truncated_share);
        }
        values[10] = Some(report.gradient_norm);
        Ok(())
    }

    fn update_error(&self, error: UpdateError) -> LearnError {
        match error {
            UpdateError::NotFinite { what, value } => self.not_finite((what, value)),
            UpdateError::Model(source) => {
                LearnError::Task { seed: self.seed, env_step: self.progress.env_steps, source }
            }
        }
    }

    fn not_finite(&self, (what, value): (&'static str, f64)) -> LearnError {
        LearnError::NotFinite {
            method: self.method().to_owned(),
            seed: self.seed,
            what,
            value,
            env_step: self.progress.env_steps,
            update: self.progress.updates,
        }
    }

    fn actor(&self) -> Result<Actor, LearnError> {
        Ok(self.agent.policy.actor(self.task.action_bounds())?)
    }

    /// All parameters with their names.
    fn parameters(&self) -> Vec<(String, &[f32])> {
        let agent = &self.agent;
        let mut all = vec![
            ("policy".to_owned(), agent.policy.mean.net().params()),
            ("log_std".to_owned(), &agent.policy.log_std[..]),
        ];
        if let Some([net, target]) = &agent.critic {
            all.push(("critic".to_owned(), net.params()));
            all.push(("critic_target".to_owned(), target.params()));
        }
        if let Some(target) = &agent.policy_target {
            all.push(("policy_target".to_owned(), target.params()));
        }
        if let Some(model) = &agent.model {
            let nets = model.nets.iter().enumerate();
            all.extend(nets.map(|(i, net)| (format!("model.{i}"), net.params())));
            all.push(("model.log_std".to_owned(), &model.log_std));
        }
        all
    }

    /// The same in the same order, to be changed.
    fn parameters_mut(&mut self) -> Vec<&mut [f32]> {
        let agent = &mut self.agent;
        let mut all =
            vec![agent.policy.mean.net_mut().params_mut(), agent.policy.log_std.as_mut_slice()];
        if let Some([net, target]) = &mut agent.critic {
            all.extend([net.params_mut(), target.params_mut()]);
        }
        if let Some(target) = &mut agent.policy_target {
            all.push(target.params_mut());
        }
        if let Some(model) = &mut agent.model {
            all.extend(model.nets.iter_mut().map(critics::Mlp::params_mut));
            all.push(&mut model.log_std);
        }
        all
    }

    fn optimizers(&self) -> Vec<&Adam<f32>> {
        let o = &self.agent.optimizers;
        [&o.policy, &o.log_std]
            .into_iter()
            .chain(&o.critic)
            .chain(&o.model)
            .chain([&o.model_log_std])
            .collect()
    }

    fn optimizers_mut(&mut self) -> Vec<&mut Adam<f32>> {
        let o = &mut self.agent.optimizers;
        [&mut o.policy, &mut o.log_std]
            .into_iter()
            .chain(&mut o.critic)
            .chain(&mut o.model)
            .chain([&mut o.model_log_std])
            .collect()
    }
}

impl Learner for SvgLearner<'_> {
    fn method(&self) -> &'static str {
        self.settings.estimator.name()
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
        self.metrics.take(METRICS.len())
    }

    fn save_policy(&self, path: &Path) -> Result<(), LearnError> {
        save_policy(path, &self.actor()?)
    }

    fn networks(&self) -> Result<Tensors, CheckpointError> {
        let mut tensors = Tensors::new();
        for (name, params) in self.parameters() {
            tensors.insert_f32(&name, &[params.len()], params)?;
        }
        let Normalization { mean, scale } = self.agent.policy.mean.normalization();
        tensors.insert_f64("mean", &[mean.len()], mean)?;
        tensors.insert_f64("scale", &[scale.len()], scale)?;
        let statistics = [&self.observations, &self.changes];
        for (name, statistics) in ["observations", "changes"].into_iter().zip(statistics) {
            let numbers = statistics.numbers();
            tensors.insert_f64(name, &[numbers.len()], &numbers)?;
        }
        tensors.insert_u64("statistics", &[2], &statistics.map(|statistics| statistics.n))?;
        if let Some(model) = &self.agent.model {
            let Targets { mean, scale, known } = model.targets();
            let known: Vec<u64> = known.iter().map(|&known| u64::from(known)).collect();
            tensors.insert_f64("model.mean", &[mean.len()], mean)?;
            tensors.insert_f64("model.scale", &[scale.len()], scale)?;
            tensors.insert_u64("model.known", &[known.len()], &known)?;
        }
        Ok(tensors)
    }

    fn start_from(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        // There is no random phase to leave out.
        self.set_networks(networks)
    }

    fn set_networks(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        let mut loaded = Vec::new();
        for (name, params) in self.parameters() {
            loaded.push(networks.f32_of_shape(&name, &[params.len()])?);
        }
        let Sizes { ndx, no, .. } = self.sizes;
        let mean = networks.f64_of_shape("mean", &[no])?;
        let scale = networks.f64_of_shape("scale", &[no])?;
        let observations = networks.f64_of_shape("observations", &[4 * no])?;
        let changes = networks.f64_of_shape("changes", &[4 * ndx])?;
        let (_, n) = networks.get_u64("statistics")?;
        check("the entries of `statistics`", n.len(), 2)?;
        let targets = match self.agent.model {
            None => None,
            Some(_) => {
                let (shape, known) = networks.get_u64("model.known")?;
                check(
                    "the entries of `model.known`",
                    format!("{shape:?}"),
                    format!("{:?}", [ndx]),
                )?;
                Some(Targets {
                    mean: networks.f64_of_shape("model.mean", &[ndx])?,
                    scale: networks.f64_of_shape("model.scale", &[ndx])?,
                    known: known.iter().map(|&known| known != 0).collect(),
                })
            }
        };
        for (params, loaded) in self.parameters_mut().into_iter().zip(loaded) {
            params.copy_from_slice(&loaded);
        }
        let normalization = Normalization { mean, scale };
        self.agent.normalize(&normalization);
        self.observations.restore(n[0], &observations);
        self.changes.restore(n[1], &changes);
        self.b.deviation = (0..ndx).map(|i| self.changes.deviation(i)).collect();
        let scaled = self.settings.model.as_ref().is_some_and(|model| model.normalize);
        if let (Some(model), Some(targets)) = (&mut self.agent.model, targets) {
            model.targets = targets;
            if scaled {
                model.normalization = normalization;
            }
        }
        Ok(())
    }

    fn save(&mut self, dir: &Path, checkpoint: &mut SnapshotWriter) -> Result<(), CheckpointError> {
        let log =
            open_once(&mut self.log, dir, self.experience.width(), self.experience.capacity())?;
        let (first, records) = self.experience.records_from(log.end());
        if !records.is_empty() {
            log.append(first, &records)?;
        }
        let segments = log.live();
        let mut tensors = self.networks()?;
        for (i, adam) in self.optimizers().iter().enumerate() {
            tensors.insert_f32(&format!("adam.{i}.m"), &[adam.m().len()], adam.m())?;
            tensors.insert_f32(&format!("adam.{i}.v"), &[adam.v().len()], adam.v())?;
        }
        let x = self.env.x().as_slice();
        tensors.insert_f64("x", &[x.len()], x)?;
        let deviation = &self.b.deviation;
        tensors.insert_f64("deviation", &[deviation.len()], deviation)?;
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
                in_episode: self.in_episode,
                t: self.env.t(),
                episode_return: self.episode_return,
                streams: [&s.start, &s.exploration, &s.batch, &s.update, &s.imagination]
                    .map(Stream::state),
                plant_noise: self.env.noise_stream().map(Stream::state),
                adam_steps: self.optimizers().iter().map(|adam| adam.t()).collect(),
                critic_updates: self.agent.critic_updates,
                metrics: self.metrics.clone(),
                transitions: self.experience.pushed(),
                segments,
            },
        )
    }

    fn load(&mut self, dir: &Path, checkpoint: &Snapshot) -> Result<(), LearnError> {
        // Another method's state has other fields; its name says more than the missing field.
        let method: SavedMethod = checkpoint.json(STATE_FILE)?;
        check("the method", &method.method, self.method())?;
        let saved: SavedState = checkpoint.json(STATE_FILE)?;
        check("the seed", saved.seed, self.seed)?;
        let tensors = checkpoint.tensors(TENSOR_FILE)?;
        self.set_networks(&tensors)?;
        check("the number of optimisers", saved.adam_steps.len(), self.optimizers().len())?;
        for (i, (adam, steps)) in
            self.optimizers_mut().into_iter().zip(&saved.adam_steps).enumerate()
        {
            let shape = [adam.m().len()];
            let moment = |part| tensors.f32_of_shape(&format!("adam.{i}.{part}"), &shape);
            adam.restore(moment("m")?, moment("v")?, *steps)?;
        }
        let Sizes { ndx, nx, .. } = self.sizes;
        self.b.deviation = tensors.f64_of_shape("deviation", &[ndx])?;
        let mut experience = Experience::new(self.sizes, self.experience.capacity());
        open_once(&mut self.log, dir, experience.width(), experience.capacity())?
            .load(&saved.segments, &mut |number, record| {
                experience.restore_record(number, record)
            })?;
        check("the number of transitions", experience.pushed(), saved.transitions)?;
        self.experience = experience;
        let [start, exploration, batch, update, imagination] = saved.streams.map(Stream::at);
        self.streams = Streams { start, exploration, batch, update, imagination };
        self.env = Environment::new(self.task, saved.plant_noise.map(Stream::at));
        self.env.restore(&DVector::from_vec(tensors.f64_of_shape("x", &[nx])?), saved.t)?;
        self.in_episode = saved.in_episode;
        self.episode_return = saved.episode_return;
        self.agent.critic_updates = saved.critic_updates;
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
        open_once(&mut self.log, dir, self.experience.width(), self.experience.capacity())?
            .retain(&listed)
    }
}

/// Whether the task brings states that it has reached into another form.
fn wraps(task: &dyn Task, nx: usize) -> bool {
    [-20.0, 20.0].into_iter().any(|value| {
        let mut x = DVector::repeat(nx, value);
        task.wrap(&mut x);
        x.iter().any(|x| *x != value)
    })
}
