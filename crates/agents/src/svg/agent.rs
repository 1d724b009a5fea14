//! One update of a stochastic value gradient, in the order of algorithm 2: model, critic, policy.

use critics::{
    Activation, Adam, AdamSettings, CriticError, Initialization, Mlp, MlpSpec, MlpWorkspace, Real,
    soft_update,
};
use dynamics::{
    AnyDynamics, DynamicsError, End, Linearization, Move, RewardGradient, Scratch, Stream, Task,
};
use nalgebra::{DMatrix, DVector};

use super::experience::Transition;
use super::model::{LearnedDynamics, ModelWorkspace};
use super::policy::{GaussianPolicy, MeanScratch};
use super::recursion::{Recursion, StepGradient};
use super::settings::{Estimator, ModelSource, SvgSettings};
use super::sizes::Sizes;
use super::{Transitions, UpdateError};
use crate::Normalization;

/// Policy, model and critic with their optimisers.
pub struct Svg<'a, T: Real = f32> {
    task: &'a dyn Task,
    settings: SvgSettings,
    sizes: Sizes,
    /// The policy.
    pub policy: GaussianPolicy<T>,
    /// The model, where one is learned.
    pub model: Option<LearnedDynamics<'a, T>>,
    /// V(o) or Q(o, a), and its target.
    pub critic: Option<[Mlp<T>; 2]>,
    /// The slow policy that chooses a' for DPG's critic.
    pub policy_target: Option<Mlp<T>>,
    /// Of the policy's network, of log σ, of the critic, and of the model's networks and log σ.
    pub(crate) optimizers: Optimizers<T>,
    pub(crate) critic_updates: u64,
    w: Workspaces<T>,
    s: Buffers<'a, T>,
}

/// Of the networks.
struct Workspaces<T: Real> {
    policy: MlpWorkspace<T>,
    critic: Option<MlpWorkspace<T>>,
    model: Option<ModelWorkspace<T>>,
}

/// All optimisers.
pub(crate) struct Optimizers<T: Real> {
    pub(crate) policy: Adam<T>,
    pub(crate) log_std: Adam<T>,
    pub(crate) critic: Option<Adam<T>>,
    pub(crate) model: Vec<Adam<T>>,
    pub(crate) model_log_std: Adam<T>,
}

/// What an update of the policy did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PolicyReport {
    /// Norm of the gradient before it is shortened.
    pub gradient_norm: f64,
    /// Mean of the importance weights, truncated as they are used.
    pub weight_mean: f64,
    /// The largest of them before truncation.
    pub weight_max: f64,
    /// Effective sample size of the truncated weights as a share of their number.
    pub effective_share: f64,
    /// Share of the weights that were truncated.
    pub truncated_share: f64,
}

struct Buffers<'a, T: Real> {
    nominal: Option<(&'a dyn AnyDynamics, Scratch, Linearization)>,
    /// The plant's derivatives, to compare with.
    truth: Option<(Scratch, Linearization)>,
    reward: Scratch,
    reward_gradient: RewardGradient,
    recursion: Recursion,
    steps: Vec<StepGradient>,
    mean_scratch: MeanScratch<T>,
    o: Vec<f64>,
    u: DVector<f64>,
    x: DVector<f64>,
    xi: Vec<f64>,
    ox: DMatrix<f64>,
    /// Policy inputs, model or Q inputs, rows.
    inputs: Vec<T>,
    joint: Vec<T>,
    changes: Vec<f64>,
    model_jacobian: Vec<f64>,
    mean_jacobian: Vec<f64>,
    mean: Vec<f64>,
    eta: Vec<f64>,
    /// dJ/dμ and dJ/d log σ.
    weights: Vec<f64>,
    log_std_weights: Vec<f64>,
    ratios: Vec<f64>,
    vx: Vec<f64>,
    /// ∇ₒV of the states that end windows.
    value_gradient: Vec<T>,
    seed: Vec<T>,
    targets: Vec<f64>,
    /// Of the network and of log σ.
    policy_grads: [Vec<T>; 2],
    critic_grads: Vec<T>,
    /// Of the networks, and of log σ behind them.
    model_grads: Vec<Vec<T>>,
}

impl<'a, T: Real> Svg<'a, T> {
    /// Everything at its start.
    ///
    /// # Errors
    /// Layer sizes that make no network.
    pub fn new(task: &'a dyn Task, settings: &SvgSettings, seed: u64) -> Result<Self, CriticError> {
        let sizes = Sizes::of(task);
        let Sizes { nx, ndx, no, nu } = sizes;
        let policy = GaussianPolicy::new(task, settings, seed)?;
        let learned = settings.model.as_ref().filter(|m| m.source == ModelSource::Learned);
        let model = learned.map(|model| LearnedDynamics::new(task, model, seed)).transpose()?;
        let critic = match &settings.critic {
            None => None,
            Some(critic) => {
                let mut layers = vec![if settings.estimator.has_q() { no + nu } else { no }];
                layers.extend(&critic.hidden);
                layers.push(1);
                let spec = MlpSpec { sizes: layers, hidden: Activation::Tanh };
                let stream = &mut Stream::new(seed, "critic weights", 0);
                let net = Mlp::random(spec, Initialization::Pytorch, &[], stream)?;
                Some([net.clone(), net])
            }
        };
        let adam = |n, lr| Adam::new(n, AdamSettings { lr, ..AdamSettings::default() });
        let n_policy = policy.mean.net().params().len();
        let model_rate = learned.map_or(0.0, |model| model.learning_rate);
        let nets = model.as_ref().map_or(&[][..], |model| &model.nets);
        let n_critic = critic.as_ref().map_or(0, |[net, _]| net.params().len());
        let nominal = settings.model.as_ref().filter(|m| m.source == ModelSource::Nominal);
        let nominal = nominal.map(|_| {
            let nominal = task.nominal();
            (nominal, nominal.any_workspace(), Linearization::zeros(ndx, nu))
        });
        let batch = settings.minibatch;
        Ok(Self {
            task,
            sizes,
            optimizers: Optimizers {
                policy: adam(n_policy, settings.learning_rate),
                log_std: adam(nu, settings.learning_rate),
                critic: settings.critic.as_ref().map(|c| adam(n_critic, c.learning_rate)),
                model: nets.iter().map(|net| adam(net.params().len(), model_rate)).collect(),
                model_log_std: adam(ndx, model_rate),
            },
            policy_target: (settings.estimator == Estimator::Deterministic)
                .then(|| policy.mean.net().clone()),
            critic_updates: 0,
            w: Workspaces {
                policy: policy.mean.net().workspace(batch),
                critic: critic.as_ref().map(|[net, _]| net.workspace(batch)),
                model: model.as_ref().map(|model| model.scratch(batch)),
            },
            s: Buffers {
                nominal,
                truth: None,
                reward: task.reward_scratch(),
                reward_gradient: RewardGradient::zeros(ndx, nu),
                recursion: Recursion::new(ndx, nu),
                steps: Vec::new(),
                mean_scratch: MeanScratch::default(),
                o: vec![0.0; no],
                u: DVector::zeros(nu),
                x: DVector::zeros(nx),
                xi: vec![0.0; ndx],
                ox: DMatrix::zeros(no, ndx),
                inputs: Vec::new(),
                joint: Vec::new(),
                changes: Vec::new(),
                model_jacobian: Vec::new(),
                mean_jacobian: Vec::new(),
                mean: Vec::new(),
                eta: Vec::new(),
                weights: Vec::new(),
                log_std_weights: vec![0.0; nu],
                ratios: Vec::new(),
                vx: vec![0.0; ndx],
                value_gradient: Vec::new(),
                seed: Vec::new(),
                targets: Vec::new(),
                policy_grads: [n_policy, nu].map(|n| vec![T::ZERO; n]),
                critic_grads: vec![T::ZERO; n_critic],
                model_grads: nets
                    .iter()
                    .map(|net| net.params().len())
                    .chain([ndx])
                    .map(|n| vec![T::ZERO; n])
                    .collect(),
            },
            policy,
            model,
            critic,
            settings: settings.clone(),
        })
    }

    /// Settings in use.
    #[must_use]
    pub fn settings(&self) -> &SvgSettings {
        &self.settings
    }

    /// Takes means and scales of observations for policy and critic. The model has its own, so that it
    /// may learn with newer ones than the policy acted with.
    pub fn normalize(&mut self, normalization: &Normalization) {
        self.policy.mean.normalization.copy_from(normalization);
    }

    /// Writes the mean action in state `x`, in units of half the range.
    pub fn mean_action(&mut self, x: &DVector<f64>, mean: &mut [f64]) {
        let s = &mut self.s;
        s.inputs.resize(self.sizes.no, T::ZERO);
        self.task.observation().observe(x, &mut s.o);
        self.policy.mean.normalize(&s.o, &mut s.inputs);
        self.policy.mean.act(&s.inputs, &mut self.w.policy, mean);
    }

    /// Fills `out` with one window: an episode from `x0` that the model imagines, with noise of the actions
    /// and of the model drawn from `noise`. It ends where the task ends it, after its horizon, or before a
    /// state or a reward that is not finite; returns its undiscounted return.
    ///
    /// # Errors
    /// What the model reports.
    pub fn imagine(
        &mut self,
        x0: &DVector<f64>,
        noise: &mut Stream,
        out: &mut Transitions,
    ) -> Result<f64, UpdateError> {
        out.clear();
        let Sizes { nx, nu, .. } = self.sizes;
        let (mut x, mut mean) = (std::mem::take(&mut self.s.x), std::mem::take(&mut self.s.mean));
        x.copy_from(x0);
        mean.resize(nu, 0.0);
        let mut total = 0.0;
        for t in 0..self.task.horizon() {
            self.mean_action(&x, &mut mean);
            let (bounds, s) = (self.task.action_bounds(), &mut self.s);
            let b = out.push(nx, nu);
            b.t = t;
            b.x.copy_from(&x);
            b.log_prob = 0.0;
            for (j, a) in b.a.iter_mut().enumerate() {
                *a = mean[j] + self.policy.std(j) * noise.normal();
            }
            self.sizes.to_physical(bounds, b.a.as_slice(), s.u.as_mut_slice());
            if let (Some(model), Some(ws)) = (&self.model, &mut self.w.model) {
                s.xi.iter_mut().for_each(|xi| *xi = noise.normal());
                // The model sees the action as it was drawn.
                model.step_share(ws, &b.x, b.a.as_slice(), &s.xi, &mut b.x_next);
            } else if let Some((nominal, scratch, _)) = &mut s.nominal {
                nominal.any_step(scratch, &b.x, &s.u, &[], &mut b.x_next)?;
            }
            let transition = Move { t, x: &b.x, u: &s.u, x_next: &b.x_next };
            b.reward = self.task.reward(&mut s.reward, &transition);
            if !(b.reward.is_finite() && b.x_next.iter().all(|x| x.is_finite())) {
                out.pop();
                break;
            }
            b.end = None;
            if let Some(end) = self.task.ends(&transition, b.reward) {
                (b.reward, b.end) = (end.reward, Some(end.end));
            }
            total += b.reward;
            x.copy_from(&b.x_next);
            if b.end.is_some() {
                break;
            }
        }
        (self.s.x, self.s.mean) = (x, mean);
        out.close();
        Ok(total)
    }

    /// How much of a transition's change its prediction misses: the mean over entries, of those that are
    /// learned, of the squared error in units of `deviation` (ndx); none without a learned model.
    pub fn prediction_error(&mut self, b: &Transition, deviation: &[f64]) -> Option<f64> {
        let (Some(model), Some(ws)) = (&self.model, &mut self.w.model) else { return None };
        let s = &mut self.s;
        model_inputs(self.task, model, std::slice::from_ref(b), &mut s.o, &mut s.joint);
        model.predict(&s.joint, ws);
        let (mut sum, mut n) = (0.0, 0);
        for (i, deviation) in deviation.iter().enumerate() {
            if !model.targets.known[i] {
                sum += ((b.x_next[i] - b.x[i] - ws.mean[i]) / deviation).powi(2);
                n += 1;
            }
        }
        (n > 0).then(|| sum / f64::from(n))
    }

    /// Cosine between the model's ∂x'/∂a and the true one in the only transition of `batch`: that of the
    /// plant, or of the nominal model where the plant has no derivatives. None where the action is cut
    /// off, and without a learned model.
    ///
    /// # Errors
    /// What the models report.
    pub fn control_cosine(&mut self, batch: &Transitions) -> Result<Option<f64>, UpdateError> {
        let Some(b) = batch.as_slice().first().filter(|_| self.model.is_some()) else {
            return Ok(None);
        };
        if b.a.iter().any(|a| a.abs() > 1.0) {
            return Ok(None);
        }
        self.differentiate_steps(batch)?;
        let truth = self.task.plant_dynamics().unwrap_or(self.task.nominal());
        let bounds = self.task.action_bounds();
        let (ws, jacobian) = self.s.truth.get_or_insert_with(|| {
            (truth.any_workspace(), Linearization::zeros(self.sizes.ndx, self.sizes.nu))
        });
        self.sizes.to_physical(bounds, b.a.as_slice(), self.s.u.as_mut_slice());
        truth.any_linearize(ws, &b.x, &self.s.u, jacobian)?;
        for (j, mut column) in jacobian.fu.column_iter_mut().enumerate() {
            column *= self.sizes.slope(bounds, j, b.a[j]);
        }
        let fu = &self.s.steps[0].fu;
        let norms = fu.norm() * jacobian.fu.norm();
        Ok((norms > 0.0).then(|| fu.dot(&jacobian.fu) / norms))
    }

    /// One step of Adam for the model on `batch`; returns the loss before it.
    ///
    /// # Errors
    /// A loss or gradient that is not finite.
    pub fn update_model(&mut self, batch: &Transitions) -> Result<f64, UpdateError> {
        let (Some(model), Some(ws)) = (&mut self.model, &mut self.w.model) else {
            return Ok(0.0);
        };
        let s = &mut self.s;
        model_inputs(self.task, model, batch.as_slice(), &mut s.o, &mut s.joint);
        changes(batch.as_slice(), &mut s.changes);
        model.predict(&s.joint, ws);
        s.model_grads.iter_mut().for_each(|grads| grads.fill(T::ZERO));
        let (grads, log_std_grads) = s.model_grads.split_at_mut(model.nets.len());
        let loss = model.loss_gradient(&s.changes, ws, grads, &mut log_std_grads[0]);
        finite("the model's loss", loss)?;
        shorten("the model's gradient", &mut s.model_grads, self.settings.max_gradient_norm)?;
        let optimizers = self.optimizers.model.iter_mut();
        for ((net, adam), grads) in model.nets.iter_mut().zip(optimizers).zip(&s.model_grads) {
            adam.step(net.params_mut(), grads);
        }
        let log_std_grads = &s.model_grads[model.nets.len()];
        self.optimizers.model_log_std.step(&mut model.log_std, log_std_grads);
        Ok(loss)
    }

    /// One step of fitted policy evaluation on `batch` (appendix of the paper, form confirmed by others):
    ///
    /// ½ mean w (y − V(o))², y = r + γ V⁻(o')   or   ½ mean (y − Q(o, a))², y = r + γ Q⁻(o', a')
    ///
    /// with a' from the policy of now, its noise from `noise` (DPG: from its slow copy, without noise).
    /// Returns the loss before the step.
    ///
    /// # Errors
    /// A loss or gradient that is not finite.
    pub fn update_critic(
        &mut self,
        batch: &Transitions,
        noise: &mut Stream,
    ) -> Result<f64, UpdateError> {
        let (Some([net, target]), Some(ws), Some(settings), Some(adam)) = (
            &mut self.critic,
            &mut self.w.critic,
            &self.settings.critic,
            &mut self.optimizers.critic,
        ) else {
            return Ok(0.0);
        };
        let batch = batch.as_slice();
        let (s, policy) = (&mut self.s, &self.policy);
        let Sizes { no, nu, .. } = self.sizes;
        let has_q = self.settings.estimator.has_q();
        // Value of what comes next.
        observe(self.task, &policy.mean, batch.iter().map(|b| &b.x_next), &mut s.o, &mut s.inputs);
        let next = if has_q {
            s.mean.resize(batch.len() * nu, 0.0);
            match &self.policy_target {
                Some(slow) => {
                    policy.mean.act_with(slow, &s.inputs, &mut self.w.policy, &mut s.mean)
                }
                None => {
                    policy.mean.act(&s.inputs, &mut self.w.policy, &mut s.mean);
                    for (i, a) in s.mean.iter_mut().enumerate() {
                        *a += policy.std(i % nu) * noise.normal();
                    }
                }
            }
            join(&s.inputs, &s.mean, (no, nu), &mut s.joint);
            target.forward(&s.joint, ws)
        } else {
            target.forward(&s.inputs, ws)
        };
        s.targets.clear();
        let discount = self.task.discount();
        s.targets.extend(batch.iter().zip(next).map(|(b, next)| {
            let beyond = if b.end == Some(End::Terminated) { 0.0 } else { next.to_f64() };
            b.reward + discount * beyond
        }));
        // Value of what is.
        observe(self.task, &policy.mean, batch.iter().map(|b| &b.x), &mut s.o, &mut s.inputs);
        s.ratios.clear();
        let here = if has_q {
            s.ratios.resize(batch.len(), 1.0);
            s.mean.clear();
            s.mean.extend(batch.iter().flat_map(|b| b.a.iter().copied()));
            join(&s.inputs, &s.mean, (no, nu), &mut s.joint);
            net.forward(&s.joint, ws)
        } else {
            s.mean.resize(batch.len() * nu, 0.0);
            policy.mean.act(&s.inputs, &mut self.w.policy, &mut s.mean);
            s.eta.resize(nu, 0.0);
            let limit = self.settings.max_weight.unwrap_or(f64::INFINITY);
            for (b, mean) in batch.iter().zip(s.mean.chunks_exact(nu)) {
                policy.infer_noise(mean, b.a.as_slice(), &mut s.eta);
                s.ratios.push((policy.log_density(&s.eta) - b.log_prob).exp().min(limit));
            }
            net.forward(&s.inputs, ws)
        };
        let mut loss = 0.0;
        let share = 1.0 / batch.len() as f64;
        s.seed.clear();
        for ((value, target), ratio) in here.iter().zip(&s.targets).zip(&s.ratios) {
            let error = value.to_f64() - target;
            loss += 0.5 * share * ratio * error * error;
            s.seed.push(T::from_f64(share * ratio * error));
        }
        finite("the critic's loss", loss)?;
        s.critic_grads.fill(T::ZERO);
        net.backward(&s.seed, ws, &mut s.critic_grads, None);
        let limit = self.settings.max_gradient_norm;
        shorten("the critic's gradient", std::slice::from_mut(&mut s.critic_grads), limit)?;
        adam.step(net.params_mut(), &s.critic_grads);
        self.critic_updates += 1;
        if self.critic_updates.is_multiple_of(settings.target_every) {
            soft_update(target.params_mut(), net.params(), settings.target_rate);
            if let Some(slow) = &mut self.policy_target {
                soft_update(slow.params_mut(), policy.mean.net().params(), settings.target_rate);
            }
        }
        Ok(loss)
    }

    /// One step of Adam for the policy, up the estimated gradient.
    ///
    /// # Errors
    /// As [`Svg::policy_gradient`].
    pub fn update_policy(
        &mut self,
        batch: &Transitions,
        noise: &mut Stream,
    ) -> Result<PolicyReport, UpdateError> {
        let mut report = self.policy_gradient(batch, noise)?;
        let s = &mut self.s;
        let n_parts = if self.settings.learn_std { 2 } else { 1 };
        let (parts, limit) = (&mut s.policy_grads[..n_parts], self.settings.max_gradient_norm);
        report.gradient_norm = shorten("the policy's gradient", parts, limit)?;
        let [grads, log_std_grads] = &s.policy_grads;
        self.optimizers.policy.step(self.policy.mean.net_mut().params_mut(), grads);
        if self.settings.learn_std {
            self.optimizers.log_std.step(&mut self.policy.log_std, log_std_grads);
            self.policy.clamp();
        }
        Ok(report)
    }

    /// The gradients of −J by the policy's weights and by log σ, left in [`Svg::gradients`]: sums over
    /// the steps of a window, means over windows.
    ///
    /// # Errors
    /// A derivative of task or model that fails.
    pub fn policy_gradient(
        &mut self,
        batch: &Transitions,
        noise: &mut Stream,
    ) -> Result<PolicyReport, UpdateError> {
        let all = batch.as_slice();
        let Sizes { nu, .. } = self.sizes;
        let (s, policy) = (&mut self.s, &self.policy);
        observe(self.task, &policy.mean, all.iter().map(|b| &b.x), &mut s.o, &mut s.inputs);
        s.mean.resize(all.len() * nu, 0.0);
        policy.mean.act(&s.inputs, &mut self.w.policy, &mut s.mean);
        s.eta.resize(all.len() * nu, 0.0);
        for (i, b) in all.iter().enumerate() {
            let part = i * nu..(i + 1) * nu;
            policy.infer_noise(&s.mean[part.clone()], b.a.as_slice(), &mut s.eta[part]);
        }
        s.weights.resize(all.len() * nu, 0.0);
        s.log_std_weights.fill(0.0);
        let mut report = PolicyReport::default();
        match self.settings.estimator {
            Estimator::Zero | Estimator::Deterministic => self.through_q(all, noise),
            Estimator::ActorCritic => self.through_densities(all),
            _ => report = self.through_model(batch)?,
        }
        // Down the negative, which optimisers expect.
        let s = &mut self.s;
        let largest = s.weights.iter().fold(0.0, |largest: f64, w| largest.max(w.abs()));
        finite("the gradient of the return by an action", largest)?;
        // What single precision cannot hold keeps its direction; its length is cut anyway.
        let factor = -(LARGEST / largest).min(1.0);
        s.weights.iter_mut().chain(&mut s.log_std_weights).for_each(|w| *w *= factor);
        s.seed.resize(all.len() * nu, T::ZERO);
        self.policy.mean.seed(&s.weights, &self.w.policy, &mut s.seed);
        let [grads, log_std_grads] = &mut s.policy_grads;
        grads.fill(T::ZERO);
        self.policy.mean.net().backward(&s.seed, &mut self.w.policy, grads, None);
        for (grad, weight) in log_std_grads.iter_mut().zip(&s.log_std_weights) {
            *grad = T::from_f64(*weight);
        }
        Ok(report)
    }

    /// The last gradients of −J: by the parameters of the mean's network, and by log σ.
    #[must_use]
    pub fn gradients(&self) -> (&[T], &[T]) {
        let [grads, log_std_grads] = &self.s.policy_grads;
        (grads, log_std_grads)
    }

    /// SVG(0) and DPG: Q_a ∂π/∂θ with fresh noise, or none.
    fn through_q(&mut self, all: &[Transition], noise: &mut Stream) {
        let Sizes { no, nu, .. } = self.sizes;
        let (s, policy) = (&mut self.s, &self.policy);
        let (Some([net, _]), Some(ws)) = (&self.critic, &mut self.w.critic) else { return };
        let random = self.settings.estimator == Estimator::Zero;
        for (i, (eta, mean)) in s.eta.iter_mut().zip(&mut s.mean).enumerate() {
            *eta = if random { noise.normal() } else { 0.0 };
            *mean += policy.std(i % nu) * *eta;
        }
        join(&s.inputs, &s.mean, (no, nu), &mut s.joint);
        net.forward(&s.joint, ws);
        s.seed.clear();
        s.seed.resize(all.len(), T::ONE);
        s.value_gradient.resize(s.joint.len(), T::ZERO);
        net.input_gradient(&s.seed, ws, &mut s.value_gradient);
        let share = 1.0 / all.len() as f64;
        for (i, row) in s.value_gradient.chunks_exact(no + nu).enumerate() {
            for (j, slope) in row[no..].iter().enumerate() {
                s.weights[i * nu + j] = share * slope.to_f64();
                s.log_std_weights[j] += s.weights[i * nu + j] * policy.std(j) * s.eta[i * nu + j];
            }
        }
    }

    /// The actor-critic: δ ∇ log π with δ = r + γ V(o') − V(o).
    fn through_densities(&mut self, all: &[Transition]) {
        let nu = self.sizes.nu;
        let (s, policy) = (&mut self.s, &self.policy);
        let (Some([net, _]), Some(ws)) = (&self.critic, &mut self.w.critic) else { return };
        s.targets.clear();
        s.targets.extend(net.forward(&s.inputs, ws).iter().map(|v| -v.to_f64()));
        observe(self.task, &policy.mean, all.iter().map(|b| &b.x_next), &mut s.o, &mut s.joint);
        let next = net.forward(&s.joint, ws);
        let discount = self.task.discount();
        for ((error, b), next) in s.targets.iter_mut().zip(all).zip(next) {
            *error += b.reward;
            if b.end != Some(End::Terminated) {
                *error += discount * next.to_f64();
            }
        }
        let share = 1.0 / all.len() as f64;
        for (i, error) in s.targets.iter().enumerate() {
            for j in 0..nu {
                let eta = s.eta[i * nu + j];
                s.weights[i * nu + j] = share * error * eta / policy.std(j);
                s.log_std_weights[j] += share * error * (eta * eta - 1.0);
            }
        }
    }

    /// SVG(1), SVG(k), SVG(∞) and the planner: the recursion along windows.
    fn through_model(&mut self, batch: &Transitions) -> Result<PolicyReport, UpdateError> {
        let all = batch.as_slice();
        let nu = self.sizes.nu;
        self.differentiate_steps(batch)?;
        self.differentiate_ends(batch);
        let (s, policy) = (&mut self.s, &self.policy);
        s.ratios.clear();
        let weighted = self.settings.estimator.is_weighted();
        let limit = self.settings.max_weight.unwrap_or(f64::INFINITY);
        let mut report = PolicyReport::default();
        for window in &batch.windows {
            let mut ratio = 1.0;
            if weighted {
                let log_ratio: f64 = window
                    .clone()
                    .map(|i| policy.log_density(&s.eta[i * nu..][..nu]) - all[i].log_prob)
                    .sum();
                ratio = log_ratio.exp().min(f64::MAX);
                report.weight_max = report.weight_max.max(ratio);
                report.truncated_share += f64::from(u8::from(ratio > limit));
                ratio = ratio.min(limit);
            }
            s.ratios.push(ratio);
        }
        let n = batch.windows.len() as f64;
        let (sum, squares) =
            s.ratios.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
        report.weight_mean = sum / n;
        report.effective_share = if squares > 0.0 { sum * sum / (n * squares) } else { 0.0 };
        report.truncated_share /= n;
        let discount = self.task.discount();
        let ndx = self.sizes.ndx;
        for (i, (window, ratio)) in batch.windows.iter().zip(&s.ratios).enumerate() {
            let weights = &mut s.weights[window.start * nu..window.end * nu];
            let vx = &mut s.vx[i * ndx..][..ndx];
            s.recursion.backward(&s.steps, window.clone(), discount, vx, weights);
            let share = ratio / n;
            for (at, weight) in weights.iter_mut().enumerate() {
                *weight *= share;
                let (j, eta) = (at % nu, s.eta[window.start * nu + at]);
                s.log_std_weights[j] += *weight * policy.std(j) * eta;
            }
        }
        Ok(report)
    }

    /// Derivatives of reward, model and policy at every step.
    fn differentiate_steps(&mut self, batch: &Transitions) -> Result<(), UpdateError> {
        let all = batch.as_slice();
        let Sizes { ndx, no, nu, .. } = self.sizes;
        let (s, task, bounds) = (&mut self.s, self.task, self.task.action_bounds());
        while s.steps.len() < all.len() {
            s.steps.push(StepGradient::zeros(ndx, nu));
        }
        if let (Some(model), Some(ws)) = (&self.model, &mut self.w.model) {
            model_inputs(task, model, all, &mut s.o, &mut s.joint);
            changes(all, &mut s.changes);
            model.predict(&s.joint, ws);
            s.model_jacobian.resize(all.len() * ndx * (no + nu), 0.0);
            model.jacobian(&s.changes, ws, &mut s.model_jacobian);
        }
        // Only what comes before other steps of its window needs to know how the policy reacts.
        let reacts = batch.windows.iter().any(|window| window.len() > 1);
        if reacts {
            s.mean_jacobian.resize(all.len() * nu * no, 0.0);
            let (ws, scratch) = (&mut self.w.policy, &mut s.mean_scratch);
            self.policy.mean_jacobian(all.len(), ws, scratch, &mut s.mean_jacobian);
        }
        let observation = task.observation().jacobian();
        for (i, (b, step)) in all.iter().zip(&mut s.steps).enumerate() {
            let (a, u) = (b.a.as_slice(), &mut s.u);
            self.sizes.to_physical(bounds, a, u.as_mut_slice());
            let r = &mut s.reward_gradient;
            let transition = Move { t: b.t, x: &b.x, u, x_next: &b.x_next };
            task.reward_gradient(&mut s.reward, &transition, r);
            if b.end == Some(End::Terminated) {
                // A task may put another reward in the place of its own at an end; that one is a constant.
                let own = task.reward(&mut s.reward, &transition);
                if (own - b.reward).abs() > 1e-5 * own.abs().max(1.0) {
                    for part in [&mut r.r_x, &mut r.r_u, &mut r.r_xnext] {
                        part.fill(0.0);
                    }
                }
            }
            step.r_x.copy_from(&r.r_x);
            step.r_xnext.copy_from(&r.r_xnext);
            for (j, (out, r_u)) in step.r_u.iter_mut().zip(r.r_u.iter()).enumerate() {
                *out = r_u * self.sizes.slope(bounds, j, a[j]);
            }
            if let Some(observation) = observation {
                observation.linearize(&b.x, &mut s.ox);
            }
            let ox = observation.is_some().then_some(&s.ox);
            if let Some(model) = &self.model {
                let rows = &s.model_jacobian[i * ndx * (no + nu)..][..ndx * (no + nu)];
                model.to_state(rows, ox, &mut step.fx, &mut step.fu);
            } else if let Some((nominal, scratch, jacobian)) = &mut s.nominal {
                nominal.any_linearize(scratch, &b.x, u, jacobian)?;
                step.fx.copy_from(&jacobian.fx);
                step.fu.copy_from(&jacobian.fu);
                for (j, mut column) in step.fu.column_iter_mut().enumerate() {
                    column *= self.sizes.slope(bounds, j, a[j]);
                }
            }
            if reacts {
                for j in 0..nu {
                    let row = &s.mean_jacobian[(i * nu + j) * no..][..no];
                    for k in 0..ndx {
                        step.policy_x[(j, k)] = match ox {
                            None => row[k],
                            Some(ox) => {
                                row.iter().zip(ox.column(k).iter()).map(|(r, o)| r * o).sum()
                            }
                        };
                    }
                }
            }
        }
        Ok(())
    }

    /// V_x at the *observed* states behind the windows: 0 where the episode is over for good there, and
    /// without a critic.
    fn differentiate_ends(&mut self, batch: &Transitions) {
        let all = batch.as_slice();
        let Sizes { ndx, no, .. } = self.sizes;
        let (s, task) = (&mut self.s, self.task);
        let n = batch.windows.len();
        s.vx.clear();
        s.vx.resize(n * ndx, 0.0);
        let (Some([net, _]), Some(ws)) = (&self.critic, &mut self.w.critic) else { return };
        let ends = || batch.windows.iter().map(|window| &all[window.end - 1]);
        observe(task, &self.policy.mean, ends().map(|b| &b.x_next), &mut s.o, &mut s.joint);
        net.forward(&s.joint, ws);
        s.seed.clear();
        s.seed.resize(n, T::ONE);
        s.value_gradient.resize(n * no, T::ZERO);
        net.input_gradient(&s.seed, ws, &mut s.value_gradient);
        let scale = &self.policy.mean.normalization().scale;
        let observation = task.observation().jacobian();
        for (i, b) in ends().enumerate() {
            if b.end == Some(End::Terminated) {
                continue;
            }
            let row = &s.value_gradient[i * no..][..no];
            let slope = |k: usize| row[k].to_f64() / scale[k];
            let vx = &mut s.vx[i * ndx..][..ndx];
            match observation {
                None => vx.iter_mut().enumerate().for_each(|(k, v)| *v = slope(k)),
                Some(observation) => {
                    observation.linearize(&b.x_next, &mut s.ox);
                    for (v, column) in vx.iter_mut().zip(s.ox.column_iter()) {
                        *v = column.iter().enumerate().map(|(k, o)| o * slope(k)).sum();
                    }
                }
            }
        }
    }
}

/// Largest weight of ∂π/∂θ, far within single precision.
const LARGEST: f64 = 1e30;

/// Rows of the policy's inputs.
fn observe<'x, T: Real>(
    task: &dyn Task,
    policy: &crate::NormalizedPolicy<T>,
    states: impl Iterator<Item = &'x DVector<f64>>,
    o: &mut [f64],
    inputs: &mut Vec<T>,
) {
    inputs.clear();
    for x in states {
        task.observation().observe(x, o);
        let start = inputs.len();
        inputs.resize(start + o.len(), T::ZERO);
        policy.normalize(o, &mut inputs[start..]);
    }
}

/// Rows of the model's inputs.
fn model_inputs<T: Real>(
    task: &dyn Task,
    model: &LearnedDynamics<'_, T>,
    batch: &[Transition],
    o: &mut [f64],
    inputs: &mut Vec<T>,
) {
    inputs.clear();
    for b in batch {
        task.observation().observe(&b.x, o);
        let start = inputs.len();
        inputs.resize(start + o.len() + b.a.len(), T::ZERO);
        model.write_input(o, b.a.as_slice(), &mut inputs[start..]);
    }
}

/// Rows x' − x.
fn changes(batch: &[Transition], out: &mut Vec<f64>) {
    out.clear();
    out.extend(batch.iter().flat_map(|b| b.x_next.iter().zip(b.x.iter()).map(|(n, x)| n - x)));
}

/// Rows [o, a].
fn join<T: Real>(o: &[T], a: &[f64], (no, nu): (usize, usize), rows: &mut Vec<T>) {
    rows.clear();
    for (o, a) in o.chunks_exact(no).zip(a.chunks_exact(nu)) {
        rows.extend_from_slice(o);
        rows.extend(a.iter().map(|&a| T::from_f64(a)));
    }
}

fn finite(what: &'static str, value: f64) -> Result<(), UpdateError> {
    if value.is_finite() { Ok(()) } else { Err(UpdateError::NotFinite { what, value }) }
}

/// Shortens gradients together to the norm `limit`; returns the norm before.
fn shorten<T: Real>(
    what: &'static str,
    parts: &mut [Vec<T>],
    limit: f64,
) -> Result<f64, UpdateError> {
    let squares = parts.iter().flatten().map(|g| g.to_f64().powi(2)).sum::<f64>();
    let norm = squares.sqrt();
    finite(what, norm)?;
    if norm > limit {
        let factor = T::from_f64(limit / norm);
        parts.iter_mut().flatten().for_each(|g| *g *= factor);
    }
    Ok(norm)
}

impl From<DynamicsError> for UpdateError {
    fn from(source: DynamicsError) -> Self {
        Self::Model(source)
    }
}
