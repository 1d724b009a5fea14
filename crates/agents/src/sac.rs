//! The soft actor-critic and its value-gradient form (VG-SAC).
//!
//! One update of both, in the order of the algorithm box. With
//! [`SacSettings::value_gradient`] switched on, the critics also regress their input gradients on
//! the costate that the model's Jacobian carries back from the next state. Equation numbers are
//! those of Gurumurthy, Kolter and Manchester, "Deep Off-Policy Iterative Learning Control" (L4DC
//! 2023); `docs/methods/vg-sac.md` has the equations and the deviations.

use critics::{
    Adam, AdamSettings, CriticError, Mlp, MlpSpec, PolicyWorkspace, Real, SquashedGaussian,
};
use dynamics::{ActionBounds, Stream, Task};

use crate::critic_ensemble::{CriticEnsemble, CriticReport, mean_weight};
use crate::off_policy::{Interaction, OffPolicy, Scalars, fill_normal, transition_shape};
use crate::replay::{Batch, TransitionShape};
use crate::rows::split_actions;
use crate::threads::join;
use crate::{Actor, GradientTarget, LearnError, OffPolicyLearner, SacSettings, Squash};

/// Losses and diagnostics of one update.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UpdateReport {
    /// Losses of the critics.
    pub critics: CriticReport,
    /// α log π − min Q, averaged.
    pub policy_loss: f64,
    /// −log π of the actor's own samples, averaged.
    pub entropy: f64,
    /// Entropy weight α that was used.
    pub alpha: f64,
}

/// The entropy weight α.
#[derive(Debug, Clone)]
pub struct Temperature {
    /// log α.
    pub log_alpha: [f64; 1],
    /// Adam of log α.
    pub optimizer: Adam<f64>,
}

/// Networks, target copies, optimisers and loss balance: everything an update changes.
pub struct Sac<T: Real> {
    settings: SacSettings,
    gamma: f64,
    shape: TransitionShape,
    /// The policy π.
    pub actor: SquashedGaussian<T>,
    /// Adam of the policy.
    pub actor_optimizer: Adam<T>,
    /// Q₁ and Q₂ with their targets.
    pub critics: CriticEnsemble<T>,
    /// log α and its Adam, which move only where α is learned.
    pub temperature: Temperature,
    scratch: ActorScratch<T>,
}

/// Actions drawn for rows of observations, with their log-densities.
struct Sampled<T: Real> {
    ws: PolicyWorkspace<T>,
    actions: Vec<T>,
    log_prob: Vec<T>,
}

impl<T: Real> Sampled<T> {
    fn new(actor: &SquashedGaussian<T>, n: usize, nu: usize) -> Self {
        Self { ws: actor.workspace(n), actions: vec![T::ZERO; n * nu], log_prob: vec![T::ZERO; n] }
    }

    fn draw(&mut self, actor: &SquashedGaussian<T>, o: &[T], eps: &[T]) {
        actor.sample(o, eps, &mut self.ws, &mut self.actions, &mut self.log_prob);
    }
}

/// Buffers of one update; nothing is allocated after construction.
struct ActorScratch<T: Real> {
    /// a′ at the next observations, ã at the observations, and the action of exploration.
    next: Sampled<T>,
    now: Sampled<T>,
    explorer: Sampled<T>,
    /// Noise of the target action and of the actor's loss.
    eps: [Vec<T>; 2],
    /// Bellman targets y.
    y: Vec<T>,
    /// ∂/∂[o′, u′] rows of the next state's value.
    costate: Vec<T>,
    action_seed: Vec<T>,
    log_prob_seed: Vec<T>,
    observation_gradient: Vec<T>,
    grads: Vec<T>,
}

impl<T: Real> Sac<T> {
    /// Freshly initialised networks; targets are copies of the critics. The streams `actor` and
    /// `critic` of `seed` draw the weights.
    ///
    /// # Errors
    /// Layer sizes or action bounds that make no network.
    pub fn new(
        settings: &SacSettings,
        shape: TransitionShape,
        gamma: f64,
        bounds: &ActionBounds,
        seed: u64,
    ) -> Result<Self, CriticError> {
        let TransitionShape { n_observations, nu, .. } = shape;
        let sizes = |n_in, hidden: &[usize], n_out| {
            let mut sizes = vec![n_in];
            sizes.extend(hidden);
            sizes.push(n_out);
            sizes
        };
        let actor = Mlp::random(
            MlpSpec {
                sizes: sizes(n_observations, &settings.actor_hidden, 2 * nu),
                hidden: settings.actor_activation,
            },
            settings.initialization,
            &[nu, nu],
            &mut Stream::new(seed, "actor weights", 0),
        )?;
        let critic = |index| {
            Mlp::random(
                MlpSpec {
                    sizes: sizes(n_observations + nu, &settings.critic_hidden, 1),
                    hidden: settings.critic_activation,
                },
                settings.initialization,
                &[],
                &mut Stream::new(seed, "critic weights", index),
            )
        };
        let critics = [critic(0)?, critic(1)?];
        let actor = SquashedGaussian::new(actor, &bounds.low, &bounds.high)?;
        Ok(Self::from_networks(settings, shape, gamma, actor, critics.clone(), critics))
    }

    /// The given networks with fresh optimisers and loss balance.
    #[must_use]
    pub fn from_networks(
        settings: &SacSettings,
        shape: TransitionShape,
        gamma: f64,
        actor: SquashedGaussian<T>,
        critics: [Mlp<T>; 2],
        targets: [Mlp<T>; 2],
    ) -> Self {
        let adam = AdamSettings { lr: settings.learning_rate, ..AdamSettings::default() };
        let n_actor = actor.net().params().len();
        let (n, no, nu) = (settings.batch_size, shape.n_observations, shape.nu);
        let zeros = |len: usize| vec![T::ZERO; len];
        Self {
            scratch: ActorScratch {
                next: Sampled::new(&actor, n, nu),
                now: Sampled::new(&actor, n, nu),
                explorer: Sampled::new(&actor, 1, nu),
                eps: [zeros(n * nu), zeros(n * nu)],
                y: zeros(n),
                costate: zeros(n * (no + nu)),
                action_seed: zeros(n * nu),
                log_prob_seed: zeros(n),
                observation_gradient: zeros(n * no),
                grads: zeros(n_actor),
            },
            critics: CriticEnsemble::new(
                critics.into(),
                targets.into(),
                shape,
                n,
                settings.learning_rate,
                settings.value_gradient.clone(),
            ),
            actor_optimizer: Adam::new(n_actor, adam),
            actor,
            temperature: Temperature {
                log_alpha: [settings.alpha.ln()],
                optimizer: Adam::new(1, adam),
            },
            settings: settings.clone(),
            gamma,
            shape,
        }
    }

    /// One update on `batch`, with standard normal noise for the target action (`eps_next`) and for
    /// the actor's loss (`eps_actor`), batch × nu each.
    pub fn update(&mut self, batch: &Batch<T>, eps_next: &[T], eps_actor: &[T]) -> UpdateReport {
        let mut report = UpdateReport { alpha: self.alpha(), ..UpdateReport::default() };
        self.sample_actions(batch, eps_next, eps_actor);
        self.value_targets(batch);
        if let Some(vg) = &self.settings.value_gradient {
            self.gradient_targets(batch, vg.target);
        }
        report.critics = self.critics.regress(batch, &self.scratch.y);
        self.actor_step_and_targets(batch, &mut report);
        if self.settings.learn_alpha {
            self.temperature_step(report.entropy);
        }
        report
    }

    /// The entropy weight α as it is now.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        match self.settings.learn_alpha {
            true => self.temperature.log_alpha[0].exp(),
            false => self.settings.alpha,
        }
    }

    /// Actions drawn for rows of observations.
    pub(crate) fn sample_rows(&self, o: &[T], noise: &mut Stream) -> Vec<T> {
        let n = o.len() / self.shape.n_observations;
        let mut drawn = Sampled::new(&self.actor, n, self.shape.nu);
        let eps: Vec<T> = (0..n * self.shape.nu).map(|_| T::from_f64(noise.normal())).collect();
        drawn.draw(&self.actor, o, &eps);
        drawn.actions
    }

    /// a′ ~ π(·|s′) and ã ~ π(·|s): the policy changes only after both have been used.
    fn sample_actions(&mut self, batch: &Batch<T>, eps_next: &[T], eps_actor: &[T]) {
        let (actor, ActorScratch { next, now, .. }) = (&self.actor, &mut self.scratch);
        join(
            batch.reward.len() * actor.net().params().len(),
            || next.draw(actor, &batch.o_next, eps_next),
            || now.draw(actor, &batch.o, eps_actor),
        );
    }

    /// y = r + γ·mask·(min Q̄(s′, a′) − α log π(a′|s′))   (eq. 13)
    fn value_targets(&mut self, batch: &Batch<T>) {
        let (gamma, alpha) = (T::from_f64(self.gamma), T::from_f64(self.alpha()));
        let s = &mut self.scratch;
        let min_q = self.critics.target_minimum(&batch.o_next, &s.next.actions);
        for (b, y) in s.y.iter_mut().enumerate() {
            let value = min_q[b] - alpha * s.next.log_prob[b];
            *y = batch.reward[b] + gamma * batch.mask[b] * value;
        }
    }

    /// G = ρ + γ·mask·λ A with the costate λ at s′ and the nominal Jacobian A   (eqs. 14, 15)
    fn gradient_targets(&mut self, batch: &Batch<T>, target: GradientTarget) {
        let TransitionShape { n_observations: no, nu, .. } = self.shape;
        let alpha = self.alpha();
        let s = &mut self.scratch;
        s.costate.copy_from_slice(self.critics.target_minimum_gradient());
        if target == GradientTarget::Paper {
            // The next action and its log-density depend on s′ as well.
            split_actions(&s.costate, self.shape, &mut s.action_seed);
            s.log_prob_seed.fill(T::from_f64(-alpha));
            let ActorScratch { next, action_seed, log_prob_seed, observation_gradient, .. } = s;
            let Sampled { ws, .. } = next;
            self.actor.state_gradient(action_seed, log_prob_seed, ws, observation_gradient);
            for (sum, through_policy) in
                s.costate.chunks_exact_mut(no + nu).zip(s.observation_gradient.chunks_exact(no))
            {
                for (sum, &part) in sum.iter_mut().zip(through_policy) {
                    *sum += part;
                }
            }
        }
        self.critics.set_gradient_targets(batch, self.gamma, &s.costate);
    }

    /// mean(α log π(ã|s) − min Q(s, ã)) with ã reparameterised, one Adam step   (eq. 11); beside it
    /// the target copies, which the actor's loss does not read.
    fn actor_step_and_targets(&mut self, batch: &Batch<T>, report: &mut UpdateReport) {
        let alpha = self.alpha();
        let s = &mut self.scratch;
        let sum = |values: &[T]| values.iter().map(|v| v.to_f64()).sum::<f64>();
        let n = mean_weight(s.now.log_prob.len());
        report.entropy = -n * sum(&s.now.log_prob);
        let min_q = self.critics.minimum(2, &batch.o, &s.now.actions);
        report.policy_loss = -alpha * report.entropy - n * sum(min_q);
        let gradient = self.critics.minimum_gradient(2, T::from_f64(-n));
        split_actions(gradient, self.shape, &mut s.action_seed);
        s.log_prob_seed.fill(T::from_f64(alpha * n));
        let (actor, optimizer, critics) =
            (&mut self.actor, &mut self.actor_optimizer, &mut self.critics);
        join(
            batch.reward.len() * actor.net().params().len(),
            || {
                s.grads.fill(T::ZERO);
                let Sampled { ws, .. } = &mut s.now;
                actor.backward(&s.action_seed, &s.log_prob_seed, ws, &mut s.grads);
                optimizer.step(actor.net_mut().params_mut(), &s.grads);
            },
            || critics.update_targets(self.settings.tau),
        );
    }

    /// One Adam step of log α on −log α·(mean log π + target entropy), the target being −nu.
    fn temperature_step(&mut self, entropy: f64) {
        #[expect(clippy::cast_precision_loss, reason = "a few actions")]
        let target_entropy = -(self.shape.nu as f64);
        let gradient = entropy - target_entropy;
        let Temperature { log_alpha, optimizer } = &mut self.temperature;
        optimizer.step(log_alpha, &[gradient]);
    }
}

/// SAC or VG-SAC learning on a task.
pub type SacLearner<'a> = OffPolicyLearner<'a, Sac<f32>>;

impl<'a> SacLearner<'a> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range, networks that cannot be built, a nominal model that cannot be
    /// differentiated as asked.
    pub fn new(task: &'a dyn Task, settings: &SacSettings, seed: u64) -> Result<Self, LearnError> {
        settings.check()?;
        let interaction = Interaction {
            batch_size: settings.batch_size,
            replay_capacity: settings.replay_capacity,
            random_steps: settings.random_steps,
            update_after: settings.update_after,
            normalize_actions: settings.normalize_actions,
            reward_scale: settings.reward_scale,
            jacobians: settings.value_gradient.as_ref().map(|vg| vg.jacobians),
        };
        interaction.check()?;
        let bounds = interaction.network_bounds(task.action_bounds());
        let agent = Sac::new(settings, transition_shape(task), task.discount(), &bounds, seed)?;
        Self::with_agent(task, agent, interaction, seed)
    }
}

const METRICS: [&str; 8] = [
    "q_loss",
    "policy_loss",
    "entropy",
    "state_gradient_loss",
    "action_gradient_loss",
    "kappa_s",
    "kappa_a",
    "alpha",
];

impl OffPolicy for Sac<f32> {
    fn method(&self) -> &'static str {
        if self.settings.value_gradient.is_some() { "vg-sac" } else { "sac" }
    }

    fn metric_names(&self) -> &'static [&'static str] {
        &METRICS
    }

    fn explore(&mut self, o: &[f32], noise: &mut Stream, action: &mut [f32]) {
        let s = &mut self.scratch;
        let eps = &mut s.eps[0][..action.len()];
        fill_normal(eps, noise);
        s.explorer.draw(&self.actor, o, eps);
        action.copy_from_slice(&s.explorer.actions);
    }

    fn update(
        &mut self,
        batch: &Batch<f32>,
        noise: &mut Stream,
        metrics: &mut [f64],
    ) -> Result<(), (&'static str, f64)> {
        let mut eps = std::mem::take(&mut self.scratch.eps);
        eps.iter_mut().for_each(|eps| fill_normal(eps, noise));
        let report = Sac::update(self, batch, &eps[0], &eps[1]);
        self.scratch.eps = eps;
        let critics = &report.critics;
        for (what, value) in
            [("the critics' loss", critics.critic_loss), ("the actor's loss", report.policy_loss)]
        {
            if !value.is_finite() {
                return Err((what, value));
            }
        }
        metrics.copy_from_slice(&[
            0.5 * (critics.q_loss[0] + critics.q_loss[1]),
            report.policy_loss,
            report.entropy,
            critics.state_gradient_loss,
            critics.action_gradient_loss,
            critics.kappa[0],
            critics.kappa[1],
            report.alpha,
        ]);
        Ok(())
    }

    fn actor(&self, bounds: &ActionBounds) -> Result<Actor, CriticError> {
        Actor::new(self.actor.net().clone(), bounds.clone(), Squash::Tanh)
    }

    fn networks(&self) -> Vec<(&'static str, &Mlp<f32>)> {
        let mut networks = vec![("actor", self.actor.net())];
        networks.extend(self.critics.networks());
        networks
    }

    fn networks_mut(&mut self) -> Vec<&mut Mlp<f32>> {
        let mut networks = vec![self.actor.net_mut()];
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
        let Temperature { log_alpha, optimizer } = &self.temperature;
        // An α of 0 has no logarithm, and does not move.
        let moves = self.settings.learn_alpha;
        Scalars {
            updates: self.critics.n_steps,
            balance: self.critics.balance.clone(),
            temperature: moves
                .then(|| (log_alpha[0], optimizer.m()[0], optimizer.v()[0], optimizer.t())),
            policy_loss: 0.0,
        }
    }

    fn set_scalars(&mut self, scalars: Scalars) -> Result<(), CriticError> {
        self.critics.n_steps = scalars.updates;
        self.critics.balance = scalars.balance;
        if let Some((log_alpha, m, v, t)) = scalars.temperature {
            self.temperature.log_alpha = [log_alpha];
            self.temperature.optimizer.restore(vec![m], vec![v], t)?;
        }
        Ok(())
    }
}
