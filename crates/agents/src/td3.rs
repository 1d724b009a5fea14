//! Deterministic actor-critics: DDPG, TD3, and DDPG with value-gradient losses.
//!
//! DDPG (Lillicrap et al. 2016) is TD3 (Fujimoto et al. 2018) with one critic, no smoothing of the
//! target action and an actor that is updated every time; both are one algorithm with settings here,
//! as in Stable-Baselines3. With [`Td3Settings::value_gradient`] the critics also regress their
//! input gradients, as in VG-SAC.

use critics::{
    Activation, Adam, AdamSettings, CriticError, Initialization, Mlp, MlpSpec, MlpWorkspace, Real,
    soft_update,
};
use dynamics::{ActionBounds, Stream, Task};
use serde::{Deserialize, Serialize};

use crate::critic_ensemble::{CriticEnsemble, CriticReport, mean_weight};
use crate::off_policy::{Interaction, OffPolicy, Scalars, fill_normal, transition_shape};
use crate::replay::{Batch, TransitionShape};
use crate::rows::split_actions;
use crate::{Actor, GradientTarget, LearnError, OffPolicyLearner, Squash, ValueGradientSettings};

/// Settings of DDPG and TD3; the defaults are Stable-Baselines3's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Td3Settings {
    /// Hidden layers of the actor (ReLU).
    pub actor_hidden: Vec<usize>,
    /// Hidden layers of each critic.
    pub critic_hidden: Vec<usize>,
    /// Activation of the critics; gradient losses need a smooth one.
    pub critic_activation: Activation,
    /// Adam step size of actor and critics.
    pub learning_rate: f64,
    /// Rate τ at which the targets follow.
    pub tau: f64,
    /// Transitions per update.
    pub batch_size: usize,
    /// Transitions the replay memory holds.
    pub replay_capacity: usize,
    /// Steps with uniformly random actions at the start.
    pub random_steps: u64,
    /// Updates begin once the memory holds more transitions than this.
    pub update_after: usize,
    /// Standard deviation of the exploration noise, as a share of half the action range.
    pub exploration_noise: f64,
    /// Critics: 1 (DDPG) or 2 (TD3).
    pub n_critics: usize,
    /// Updates of the critics per update of the actor and the targets.
    pub policy_delay: u64,
    /// Standard deviation of the noise on the target action, as a share of half the range.
    pub target_noise: f64,
    /// Largest noise on the target action, likewise.
    pub target_noise_clip: f64,
    /// How weights and biases are drawn.
    pub initialization: Initialization,
    /// Networks see actions scaled to [−1, 1] in the place of physical ones.
    pub normalize_actions: bool,
    /// The value-gradient losses, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_gradient: Option<ValueGradientSettings>,
}

impl Td3Settings {
    /// TD3.
    #[must_use]
    pub fn td3() -> Self {
        Self {
            actor_hidden: vec![400, 300],
            critic_hidden: vec![400, 300],
            critic_activation: Activation::Relu,
            learning_rate: 1e-3,
            tau: 0.005,
            batch_size: 256,
            replay_capacity: 1_000_000,
            random_steps: 100,
            update_after: 100,
            exploration_noise: 0.0,
            n_critics: 2,
            policy_delay: 2,
            target_noise: 0.2,
            target_noise_clip: 0.5,
            initialization: Initialization::Pytorch,
            normalize_actions: true,
            value_gradient: None,
        }
    }

    /// DDPG.
    #[must_use]
    pub fn ddpg() -> Self {
        Self {
            n_critics: 1,
            policy_delay: 1,
            target_noise: 0.0,
            target_noise_clip: 0.0,
            ..Self::td3()
        }
    }

    /// DDPG with value-gradient losses on a smooth critic.
    #[must_use]
    pub fn vg_ddpg() -> Self {
        Self {
            critic_activation: Activation::Tanh,
            value_gradient: Some(ValueGradientSettings::default()),
            ..Self::ddpg()
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |key, value: String, needed| Err(LearnError::Setting { key, value, needed });
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return refuse("method.learning_rate", self.learning_rate.to_string(), "positive");
        }
        if !(0.0..=1.0).contains(&self.tau) {
            return refuse("method.tau", self.tau.to_string(), "between 0 and 1");
        }
        for (key, value) in [
            ("method.exploration_noise", self.exploration_noise),
            ("method.target_noise", self.target_noise),
            ("method.target_noise_clip", self.target_noise_clip),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "finite and not negative");
            }
        }
        if !(1..=2).contains(&self.n_critics) {
            return refuse("method.n_critics", self.n_critics.to_string(), "1 or 2");
        }
        if self.policy_delay == 0 {
            return refuse("method.policy_delay", "0".to_owned(), "at least 1");
        }
        if self.critic_hidden.is_empty() {
            return refuse("method.critic_hidden", "[]".to_owned(), "at least one layer");
        }
        match &self.value_gradient {
            Some(vg) => vg.check(),
            None => Ok(()),
        }
    }
}

/// Losses and diagnostics of one update.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Td3Report {
    /// Losses of the critics.
    pub critics: CriticReport,
    /// −Q₁(s, μ(s)), averaged; absent where the actor was not updated.
    pub policy_loss: Option<f64>,
}

/// Networks, target copies, optimisers and loss balance of DDPG or TD3.
pub struct Td3<T: Real> {
    settings: Td3Settings,
    gamma: f64,
    shape: TransitionShape,
    bounds: ActionBounds,
    /// The policy μ before its tanh.
    pub actor: Mlp<T>,
    /// Its slow copy μ̄.
    pub actor_target: Mlp<T>,
    /// Adam of the policy.
    pub actor_optimizer: Adam<T>,
    /// Q₁ (and Q₂) with their targets.
    pub critics: CriticEnsemble<T>,
    scratch: Td3Scratch<T>,
}

/// Buffers of one update.
struct Td3Scratch<T: Real> {
    actor: MlpWorkspace<T>,
    explorer: MlpWorkspace<T>,
    /// Noise of the target action.
    eps: Vec<T>,
    actions: Vec<T>,
    /// ∂a/∂z of the squashing, and whether a smoothed action was clipped (0).
    slopes: Vec<T>,
    y: Vec<T>,
    costate: Vec<T>,
    action_seed: Vec<T>,
    observation_gradient: Vec<T>,
    grads: Vec<T>,
    policy_loss: f64,
}

impl<T: Real> Td3<T> {
    /// Freshly initialised networks; targets are copies.
    ///
    /// # Errors
    /// Layer sizes that make no network.
    pub fn new(
        settings: &Td3Settings,
        shape: TransitionShape,
        gamma: f64,
        bounds: &ActionBounds,
        seed: u64,
    ) -> Result<Self, CriticError> {
        let TransitionShape { n_observations: no, nu, .. } = shape;
        let network = |n_in, hidden: &[usize], n_out, activation, purpose, index| {
            let sizes = [&[n_in], hidden, &[n_out]].concat();
            let stream = &mut Stream::new(seed, purpose, index);
            Mlp::random(MlpSpec { sizes, hidden: activation }, settings.initialization, &[], stream)
        };
        let actor = network(no, &settings.actor_hidden, nu, Activation::Relu, "actor weights", 0)?;
        let mut nets = Vec::new();
        for index in 0..settings.n_critics as u64 {
            let hidden = &settings.critic_hidden;
            let activation = settings.critic_activation;
            nets.push(network(no + nu, hidden, 1, activation, "critic weights", index)?);
        }
        let n = settings.batch_size;
        let zeros = |len: usize| vec![T::ZERO; len];
        let adam = AdamSettings { lr: settings.learning_rate, ..AdamSettings::default() };
        Ok(Self {
            scratch: Td3Scratch {
                actor: actor.workspace(n),
                explorer: actor.workspace(1),
                eps: zeros(n * nu),
                actions: zeros(n * nu),
                slopes: zeros(n * nu),
                y: zeros(n),
                costate: zeros(n * (no + nu)),
                action_seed: zeros(n * nu),
                observation_gradient: zeros(n * no),
                grads: zeros(actor.params().len()),
                policy_loss: 0.0,
            },
            critics: CriticEnsemble::new(
                nets.clone(),
                nets,
                shape,
                n,
                settings.learning_rate,
                settings.value_gradient.clone(),
            ),
            actor_optimizer: Adam::new(actor.params().len(), adam),
            actor_target: actor.clone(),
            actor,
            settings: settings.clone(),
            gamma,
            shape,
            bounds: bounds.clone(),
        })
    }

    /// One update on `batch` with standard normal noise for the target action (batch × nu).
    pub fn update(&mut self, batch: &Batch<T>, eps: &[T]) -> Td3Report {
        self.value_targets(batch, eps);
        if let Some(vg) = &self.settings.value_gradient {
            self.gradient_targets(batch, vg.target);
        }
        let critics = self.critics.regress(batch, &self.scratch.y);
        let mut report = Td3Report { critics, policy_loss: None };
        if self.critics.n_steps.is_multiple_of(self.settings.policy_delay) {
            report.policy_loss = Some(self.actor_step(batch));
            let tau = self.settings.tau;
            self.critics.update_targets(tau);
            soft_update(self.actor_target.params_mut(), self.actor.params(), tau);
        }
        report
    }

    /// y = r + γ·mask·min Q̄(s′, a′), a′ = clip(μ̄(s′) + clip(ε, ±c), range)
    fn value_targets(&mut self, batch: &Batch<T>, eps: &[T]) {
        let s = &mut self.scratch;
        let out = self.actor_target.forward(&batch.o_next, &mut s.actor);
        squash(out, &self.bounds, &mut s.actions, &mut s.slopes);
        let (sigma, clip) = (self.settings.target_noise, self.settings.target_noise_clip);
        if sigma > 0.0 {
            let nu = self.shape.nu;
            for (at, (a, slope)) in s.actions.iter_mut().zip(&mut s.slopes).enumerate() {
                let (low, high) = (self.bounds.low[at % nu], self.bounds.high[at % nu]);
                let noise = (sigma * eps[at].to_f64()).clamp(-clip, clip) * 0.5 * (high - low);
                let noisy = a.to_f64() + noise;
                if !(low..=high).contains(&noisy) {
                    *slope = T::ZERO;
                }
                *a = T::from_f64(noisy.clamp(low, high));
            }
        }
        let min_q = self.critics.target_minimum(&batch.o_next, &s.actions);
        let gamma = T::from_f64(self.gamma);
        for (b, y) in s.y.iter_mut().enumerate() {
            *y = batch.reward[b] + gamma * batch.mask[b] * min_q[b];
        }
    }

    /// G = ρ + γ·mask·λ A; in the paper's form λ includes the part through the target policy.
    fn gradient_targets(&mut self, batch: &Batch<T>, target: GradientTarget) {
        let TransitionShape { n_observations: no, nu, .. } = self.shape;
        let s = &mut self.scratch;
        s.costate.copy_from_slice(self.critics.target_minimum_gradient());
        if target == GradientTarget::Paper {
            split_actions(&s.costate, self.shape, &mut s.action_seed);
            scale(&mut s.action_seed, &s.slopes);
            let Td3Scratch { actor, action_seed, observation_gradient, .. } = s;
            self.actor_target.input_gradient(action_seed, actor, observation_gradient);
            for (sum, part) in
                s.costate.chunks_exact_mut(no + nu).zip(s.observation_gradient.chunks_exact(no))
            {
                for (sum, &part) in sum.iter_mut().zip(part) {
                    *sum += part;
                }
            }
        }
        self.critics.set_gradient_targets(batch, self.gamma, &s.costate);
    }

    /// −Q₁(s, μ(s)), averaged, one Adam step.
    fn actor_step(&mut self, batch: &Batch<T>) -> f64 {
        let s = &mut self.scratch;
        let out = self.actor.forward(&batch.o, &mut s.actor);
        squash(out, &self.bounds, &mut s.actions, &mut s.slopes);
        let n = mean_weight(batch.reward.len());
        let q = self.critics.minimum(1, &batch.o, &s.actions);
        let loss = -n * q.iter().map(|q| q.to_f64()).sum::<f64>();
        let gradient = self.critics.minimum_gradient(1, T::from_f64(-n));
        split_actions(gradient, self.shape, &mut s.action_seed);
        scale(&mut s.action_seed, &s.slopes);
        s.grads.fill(T::ZERO);
        self.actor.backward(&s.action_seed, &mut s.actor, &mut s.grads, None);
        self.actor_optimizer.step(self.actor.params_mut(), &s.grads);
        s.policy_loss = loss;
        loss
    }
}

/// a = middle + half·tanh(z) for rows of z, and ∂a/∂z.
fn squash<T: Real>(z: &[T], bounds: &ActionBounds, a: &mut [T], slopes: &mut [T]) {
    let nu = bounds.low.len();
    for (at, ((&z, a), slope)) in z.iter().zip(a).zip(slopes).enumerate() {
        let (low, high) = (bounds.low[at % nu], bounds.high[at % nu]);
        let (half, middle) = (T::from_f64(0.5 * (high - low)), T::from_f64(0.5 * (high + low)));
        let t = z.tanh();
        *a = middle + half * t;
        *slope = half * (T::ONE - t * t);
    }
}

fn scale<T: Real>(values: &mut [T], by: &[T]) {
    values.iter_mut().zip(by).for_each(|(value, &by)| *value *= by);
}

/// DDPG or TD3 learning on a task.
pub type Td3Learner<'a> = OffPolicyLearner<'a, Td3<f32>>;

impl<'a> Td3Learner<'a> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range, networks that cannot be built, a nominal model that cannot be
    /// differentiated as asked.
    pub fn new(task: &'a dyn Task, settings: &Td3Settings, seed: u64) -> Result<Self, LearnError> {
        settings.check()?;
        let interaction = Interaction {
            batch_size: settings.batch_size,
            replay_capacity: settings.replay_capacity,
            random_steps: settings.random_steps,
            update_after: settings.update_after,
            normalize_actions: settings.normalize_actions,
            reward_scale: 1.0,
            jacobians: settings.value_gradient.as_ref().map(|vg| vg.jacobians),
        };
        interaction.check()?;
        let bounds = interaction.network_bounds(task.action_bounds());
        let agent = Td3::new(settings, transition_shape(task), task.discount(), &bounds, seed)?;
        Self::with_agent(task, agent, interaction, seed)
    }
}

const METRICS: [&str; 6] =
    ["q_loss", "policy_loss", "state_gradient_loss", "action_gradient_loss", "kappa_s", "kappa_a"];

impl OffPolicy for Td3<f32> {
    fn method(&self) -> &'static str {
        match (self.settings.n_critics, &self.settings.value_gradient) {
            (1, None) => "ddpg",
            (1, Some(_)) => "vg-ddpg",
            _ => "td3",
        }
    }

    fn metric_names(&self) -> &'static [&'static str] {
        &METRICS
    }

    fn explore(&mut self, o: &[f32], noise: &mut Stream, action: &mut [f32]) {
        let s = &mut self.scratch;
        let out = self.actor.forward(o, &mut s.explorer);
        squash(out, &self.bounds, action, &mut s.slopes[..action.len()]);
        for (j, a) in action.iter_mut().enumerate() {
            let (low, high) = (self.bounds.low[j], self.bounds.high[j]);
            let noise = self.settings.exploration_noise * 0.5 * (high - low) * noise.normal();
            #[expect(clippy::cast_possible_truncation, reason = "networks are in single precision")]
            let noisy = (f64::from(*a) + noise).clamp(low, high) as f32;
            *a = noisy;
        }
    }

    fn update(
        &mut self,
        batch: &Batch<f32>,
        noise: &mut Stream,
        metrics: &mut [f64],
    ) -> Result<(), (&'static str, f64)> {
        let mut eps = std::mem::take(&mut self.scratch.eps);
        fill_normal(&mut eps, noise);
        let report = Td3::update(self, batch, &eps);
        self.scratch.eps = eps;
        let (critics, policy_loss) = (&report.critics, self.scratch.policy_loss);
        for (what, value) in
            [("the critics' loss", critics.critic_loss), ("the actor's loss", policy_loss)]
        {
            if !value.is_finite() {
                return Err((what, value));
            }
        }
        metrics.copy_from_slice(&[
            critics.q_loss.iter().sum::<f64>() / self.settings.n_critics as f64,
            policy_loss,
            critics.state_gradient_loss,
            critics.action_gradient_loss,
            critics.kappa[0],
            critics.kappa[1],
        ]);
        Ok(())
    }

    fn actor(&self, bounds: &ActionBounds) -> Result<Actor, CriticError> {
        Actor::new(self.actor.clone(), bounds.clone(), Squash::Tanh)
    }

    fn networks(&self) -> Vec<(&'static str, &Mlp<f32>)> {
        let mut networks = vec![("actor", &self.actor), ("actor_target", &self.actor_target)];
        networks.extend(self.critics.networks());
        networks
    }

    fn networks_mut(&mut self) -> Vec<&mut Mlp<f32>> {
        let mut networks = vec![&mut self.actor, &mut self.actor_target];
        networks.extend(self.critics.networks_mut());
        networks
    }

    fn optimizers(&self) -> Vec<(&'static str, &Adam<f32>)> {
        let mut optimizers = vec![("adam.actor", &self.actor_optimizer)];
        optimizers.extend(self.critics.optimizers());
        optimizers
    }

    fn optimizers_mut(&mut self) -> Vec<&mut Adam<f32>> {
        let mut optimizers = vec![&mut self.actor_optimizer];
        optimizers.extend(self.critics.optimizers_mut());
        optimizers
    }

    fn scalars(&self) -> Scalars {
        Scalars {
            updates: self.critics.n_steps,
            balance: self.critics.balance.clone(),
            temperature: None,
            policy_loss: self.scratch.policy_loss,
        }
    }

    fn set_scalars(&mut self, scalars: Scalars) -> Result<(), CriticError> {
        self.critics.n_steps = scalars.updates;
        self.critics.balance = scalars.balance;
        self.scratch.policy_loss = scalars.policy_loss;
        Ok(())
    }
}
