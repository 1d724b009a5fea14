//! The soft actor-critic and its value-gradient form (VG-SAC).
//!
//! One update of both, in the order of the algorithm box. With
//! [`SacSettings::value_gradient`] switched on, the critics also regress their input gradients on
//! the costate that the model's Jacobian carries back from the next state. Equation numbers are
//! those of Gurumurthy, Kolter and Manchester, "Deep Off-Policy Iterative Learning Control" (L4DC
//! 2023); `docs/methods/vg-sac.md` has the equations and the deviations.

use critics::{
    Activation, Adam, AdamSettings, CriticError, Mlp, MlpSpec, MlpWorkspace, PolicyWorkspace, Real,
    RunningMedian, SquashedGaussian, gradient_loss, soft_update,
};
use dynamics::{ActionBounds, Stream};
use serde::{Deserialize, Serialize};

use crate::replay::{Batch, TransitionShape};
use crate::rows::{join, pull_back, push_forward, split_actions};
use crate::{GradientTarget, SacSettings, ValueGradientSettings};

/// Losses and diagnostics of one update.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UpdateReport {
    /// Mean squared Bellman error of each critic.
    pub q_loss: [f64; 2],
    /// α log π − min Q, averaged.
    pub policy_loss: f64,
    /// −log π of the actor's own samples, averaged.
    pub entropy: f64,
    /// L_s, summed over both critics.
    pub state_gradient_loss: f64,
    /// L_a, summed over both critics.
    pub action_gradient_loss: f64,
    /// Everything the critics minimise.
    pub critic_loss: f64,
    /// On-line weights κ_s and κ_a.
    pub kappa: [f64; 2],
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

/// On-line weights of the gradient losses and the scales of their hinges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossBalance {
    /// κ_s and κ_a; absent before the first update.
    pub kappa: Option<[f64; 2]>,
    /// Running medians of the state-gradient errors.
    pub state_median: RunningMedian,
    /// Running medians of the action-gradient errors.
    pub action_median: RunningMedian,
}

/// Networks, target copies, optimisers and loss balance: everything an update changes.
pub struct Sac<T: Real> {
    settings: SacSettings,
    gamma: f64,
    shape: TransitionShape,
    /// The policy π.
    pub actor: SquashedGaussian<T>,
    /// Q₁ and Q₂.
    pub critics: [Mlp<T>; 2],
    /// Q̄₁ and Q̄₂.
    pub targets: [Mlp<T>; 2],
    /// Adam of the actor, Q₁ and Q₂.
    pub optimizers: [Adam<T>; 3],
    /// State of the gradient losses.
    pub balance: LossBalance,
    /// log α and its Adam, which move only where α is learned.
    pub temperature: Temperature,
    /// Updates done.
    pub n_updates: u64,
    scratch: UpdateScratch<T>,
}

/// Buffers of one update; nothing is allocated after construction.
struct UpdateScratch<T: Real> {
    actor: PolicyWorkspace<T>,
    critics: [MlpWorkspace<T>; 2],
    /// [o, u] rows.
    inputs: Vec<T>,
    actions: Vec<T>,
    log_prob: Vec<T>,
    /// min Q per row, and which critic it is.
    min_q: Vec<T>,
    which: Vec<bool>,
    /// Bellman targets y.
    y: Vec<T>,
    /// Derivative of the Bellman error per row.
    bellman_seed: Vec<T>,
    /// Seeds of a reverse pass per row.
    seed: Vec<T>,
    /// ∂Q/∂[o, u] rows.
    gradient: Vec<T>,
    gradient_sum: Vec<T>,
    action_seed: Vec<T>,
    observation_gradient: Vec<T>,
    /// ∂Q/∂[x, u] rows, then the derivative of the losses in them.
    state_gradient: Vec<T>,
    /// Targets G, in state coordinates.
    target_gradient: Vec<T>,
    v_state: Vec<T>,
    v_action: Vec<T>,
    /// The same pulled back to [o, u].
    v: Vec<T>,
    column: Vec<f64>,
    actor_grads: Vec<T>,
    critic_grads: [Vec<T>; 2],
    probe_grads: Vec<T>,
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
                hidden: Activation::Relu,
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

    /// The given networks with fresh optimisers and loss balance (fine-tuning).
    #[must_use]
    pub fn from_networks(
        settings: &SacSettings,
        shape: TransitionShape,
        gamma: f64,
        actor: SquashedGaussian<T>,
        critics: [Mlp<T>; 2],
        targets: [Mlp<T>; 2],
    ) -> Self {
        let adam = |n| {
            Adam::new(n, AdamSettings { lr: settings.learning_rate, ..AdamSettings::default() })
        };
        let n_actor = actor.net().params().len();
        let n_critic = critics[0].params().len();
        let decay = settings.value_gradient.as_ref().map_or(0.95, |vg| vg.median_decay);
        let median = RunningMedian { values: None, decay };
        let n = settings.batch_size;
        let (no, nu, ndx) = (shape.n_observations, shape.nu, shape.ndx);
        let zeros = |len: usize| vec![T::ZERO; len];
        let scratch = UpdateScratch {
            actor: actor.workspace(n),
            critics: [critics[0].workspace(n), critics[1].workspace(n)],
            inputs: zeros(n * (no + nu)),
            actions: zeros(n * nu),
            log_prob: zeros(n),
            min_q: zeros(n),
            which: vec![false; n],
            y: zeros(n),
            bellman_seed: zeros(n),
            seed: zeros(n),
            gradient: zeros(n * (no + nu)),
            gradient_sum: zeros(n * (no + nu)),
            action_seed: zeros(n * nu),
            observation_gradient: zeros(n * no),
            state_gradient: zeros(n * (ndx + nu)),
            target_gradient: zeros(n * (ndx + nu)),
            v_state: zeros(n * (ndx + nu)),
            v_action: zeros(n * (ndx + nu)),
            v: zeros(n * (no + nu)),
            column: Vec::with_capacity(n),
            actor_grads: zeros(n_actor),
            critic_grads: [zeros(n_critic), zeros(n_critic)],
            probe_grads: zeros(n_critic),
        };
        Self {
            settings: settings.clone(),
            gamma,
            shape,
            optimizers: [adam(n_actor), adam(n_critic), adam(n_critic)],
            actor,
            critics,
            targets,
            balance: LossBalance {
                kappa: None,
                state_median: median.clone(),
                action_median: median,
            },
            temperature: Temperature {
                log_alpha: [settings.alpha.ln()],
                optimizer: Adam::new(
                    1,
                    AdamSettings { lr: settings.learning_rate, ..AdamSettings::default() },
                ),
            },
            n_updates: 0,
            scratch,
        }
    }

    /// One update on `batch`, with standard normal noise for the target action (`eps_next`) and for
    /// the actor's loss (`eps_actor`), batch × nu each.
    pub fn update(&mut self, batch: &Batch<T>, eps_next: &[T], eps_actor: &[T]) -> UpdateReport {
        let mut report = UpdateReport::default();
        self.value_targets(batch, eps_next);
        if self.settings.value_gradient.is_some() {
            self.gradient_targets(batch);
        }
        self.critic_step(batch, &mut report);
        self.actor_step(batch, eps_actor, &mut report);
        report.alpha = self.alpha();
        if self.settings.learn_alpha {
            self.temperature_step(report.entropy);
        }
        for (target, critic) in self.targets.iter_mut().zip(&self.critics) {
            soft_update(target.params_mut(), critic.params(), self.settings.tau);
        }
        self.n_updates += 1;
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

    /// Gradient targets G = [∂/∂s, ∂/∂a] of the last update, batch × (ndx + nu).
    #[must_use]
    pub fn gradient_target(&self) -> &[T] {
        &self.scratch.target_gradient
    }

    /// y = r + γ·mask·(min Q̄(s′, a′) − α log π(a′|s′)), a′ ~ π(·|s′)   (eq. 13)
    fn value_targets(&mut self, batch: &Batch<T>, eps_next: &[T]) {
        let alpha = self.alpha();
        let s = &mut self.scratch;
        self.actor.sample(&batch.o_next, eps_next, &mut s.actor, &mut s.actions, &mut s.log_prob);
        join(&batch.o_next, &s.actions, self.shape, &mut s.inputs);
        minimum(&self.targets, s);
        let (gamma, alpha) = (T::from_f64(self.gamma), T::from_f64(alpha));
        for b in 0..s.y.len() {
            let value = s.min_q[b] - alpha * s.log_prob[b];
            s.y[b] = batch.reward[b] + gamma * batch.mask[b] * value;
        }
    }

    /// G = ρ + γ·mask·λ A with the costate λ at s′ and the nominal Jacobian A   (eqs. 14, 15)
    fn gradient_targets(&mut self, batch: &Batch<T>) {
        let TransitionShape { n_observations: no, nu, ndx, .. } = self.shape;
        minimum_gradient(&self.targets, T::ONE, &mut self.scratch);
        let alpha = self.alpha();
        let s = &mut self.scratch;
        let target = self.settings.value_gradient.as_ref().map(|vg| vg.target);
        if target == Some(GradientTarget::Paper) {
            // The next action and its log-density depend on s′ as well.
            split_actions(&s.gradient_sum, self.shape, &mut s.action_seed);
            s.seed.fill(T::from_f64(-alpha));
            let UpdateScratch { actor, action_seed, seed, observation_gradient, .. } = s;
            self.actor.state_gradient(action_seed, seed, actor, observation_gradient);
            for (sum, through_policy) in s
                .gradient_sum
                .chunks_exact_mut(no + nu)
                .zip(s.observation_gradient.chunks_exact(no))
            {
                for (sum, &part) in sum.iter_mut().zip(through_policy) {
                    *sum += part;
                }
            }
        }
        let gamma = T::from_f64(self.gamma);
        let width = ndx + nu;
        for (b, g) in s.target_gradient.chunks_exact_mut(width).enumerate() {
            let lambda = &s.gradient_sum[b * (no + nu)..][..no];
            let jacobian = &batch.jacobian[b * no * width..][..no * width];
            g.copy_from_slice(&batch.reward_gradient[b * width..][..width]);
            let scale = gamma * batch.mask[b];
            for (&lambda, row) in lambda.iter().zip(jacobian.chunks_exact(width)) {
                for (g, &a) in g.iter_mut().zip(row) {
                    *g += scale * lambda * a;
                }
            }
        }
    }

    /// L = Σᵢ mean(Qᵢ − y)² + ζ_s κ_s L_s + ζ_a κ_a L_a, one Adam step   (eqs. 16–18)
    fn critic_step(&mut self, batch: &Batch<T>, report: &mut UpdateReport) {
        join(&batch.o, &batch.u, self.shape, &mut self.scratch.inputs);
        for i in 0..2 {
            let s = &mut self.scratch;
            let q = self.critics[i].forward(&s.inputs, &mut s.critics[i]);
            report.q_loss[i] = squared_error(q, &s.y, &mut s.bellman_seed);
            s.critic_grads[i].fill(T::ZERO);
            if self.settings.value_gradient.is_some() {
                self.gradient_losses(i, batch, report);
            } else {
                let UpdateScratch { critics, bellman_seed, critic_grads, .. } = s;
                self.critics[i].backward(bellman_seed, &mut critics[i], &mut critic_grads[i], None);
            }
        }
        report.critic_loss = report.q_loss[0] + report.q_loss[1];
        if let Some(vg) = &self.settings.value_gradient {
            report.kappa = self.balance.kappa.unwrap_or_default();
            report.critic_loss += vg.zeta_s * report.kappa[0] * report.state_gradient_loss
                + vg.zeta_a * report.kappa[1] * report.action_gradient_loss;
        }
        for i in 0..2 {
            self.optimizers[1 + i]
                .step(self.critics[i].params_mut(), &self.scratch.critic_grads[i]);
        }
    }

    /// Hinge losses L_s, L_a of ∇Qᵢ against G, their on-line weights, and the gradient of everything
    /// critic i minimises, in one reverse pass.
    fn gradient_losses(&mut self, i: usize, batch: &Batch<T>, report: &mut UpdateReport) {
        let Some(vg) = self.settings.value_gradient.clone() else { return };
        let TransitionShape { nu, ndx, .. } = self.shape;
        let n = batch.reward.len();
        let s = &mut self.scratch;
        s.seed.fill(T::ONE);
        self.critics[i].input_gradient(&s.seed, &mut s.critics[i], &mut s.gradient);
        pull_back(&s.gradient, &batch.observation_jacobian, self.shape, &mut s.state_gradient);
        let mut loss = |columns, median, v: &mut [T]| {
            gradient_loss(
                &s.state_gradient,
                &s.target_gradient,
                &batch.mask,
                n,
                ndx + nu,
                columns,
                median,
                &mut s.column,
                v,
            )
        };
        report.state_gradient_loss += loss(0..ndx, &mut self.balance.state_median, &mut s.v_state);
        report.action_gradient_loss +=
            loss(ndx..ndx + nu, &mut self.balance.action_median, &mut s.v_action);
        if i == 0 && self.n_updates.is_multiple_of(vg.kappa_interval.max(1)) {
            self.weigh_losses(batch, &vg);
        }
        let kappa = self.balance.kappa.unwrap_or_default();
        let (state, action) =
            (T::from_f64(vg.zeta_s * kappa[0]), T::from_f64(vg.zeta_a * kappa[1]));
        let s = &mut self.scratch;
        for ((v, &v_state), &v_action) in
            s.state_gradient.iter_mut().zip(&s.v_state).zip(&s.v_action)
        {
            *v = state * v_state + action * v_action;
        }
        push_forward(&s.state_gradient, &batch.observation_jacobian, self.shape, &mut s.v);
        let UpdateScratch { critics, v, bellman_seed, seed, critic_grads, .. } = s;
        self.critics[i].tangent(v, &mut critics[i]);
        self.critics[i].sobolev_backward(bellman_seed, seed, &mut critics[i], &mut critic_grads[i]);
    }

    /// κ_s, κ_a = ‖∂L_q/∂W‖ / ‖∂L_s/∂W‖, ‖∂L_a/∂W‖ with W the second layer's weights of the first
    /// critic, smoothed over the recomputations   (eq. 18)
    fn weigh_losses(&mut self, batch: &Batch<T>, vg: &ValueGradientSettings) {
        let spec = self.critics[0].spec();
        let w = spec.weight(1.min(spec.n_layers() - 1));
        let critic = &self.critics[0];
        let s = &mut self.scratch;
        s.probe_grads.fill(T::ZERO);
        critic.backward(&s.bellman_seed, &mut s.critics[0], &mut s.probe_grads, None);
        let q_norm = norm(&s.probe_grads[w.clone()]);
        let mut ratio = |v_x: &[T]| {
            push_forward(v_x, &batch.observation_jacobian, self.shape, &mut s.v);
            s.probe_grads.fill(T::ZERO);
            critic.tangent(&s.v, &mut s.critics[0]);
            // Only the directional derivative counts here, not the value.
            s.min_q.fill(T::ZERO);
            critic.sobolev_backward(&s.min_q, &s.seed, &mut s.critics[0], &mut s.probe_grads);
            q_norm / norm(&s.probe_grads[w.clone()])
        };
        let fresh = [ratio(&s.v_state), ratio(&s.v_action)];
        let keep = vg.kappa_smoothing;
        let old = self.balance.kappa;
        self.balance.kappa = Some(std::array::from_fn(|k| {
            let before = old.map(|kappa| kappa[k]);
            match (before, fresh[k].is_finite()) {
                (Some(before), true) => keep * before + (1.0 - keep) * fresh[k],
                (None, true) => fresh[k],
                // A loss without gradient (every row masked, say) says nothing about its weight.
                (before, false) => before.unwrap_or(0.0),
            }
        }));
    }

    /// mean(α log π(ã|s) − min Q(s, ã)) with ã reparameterised, one Adam step   (eq. 11)
    fn actor_step(&mut self, batch: &Batch<T>, eps: &[T], report: &mut UpdateReport) {
        let alpha = self.alpha();
        let s = &mut self.scratch;
        self.actor.sample(&batch.o, eps, &mut s.actor, &mut s.actions, &mut s.log_prob);
        join(&batch.o, &s.actions, self.shape, &mut s.inputs);
        minimum(&self.critics, s);
        let n = mean_weight(s.min_q.len());
        let sum = |values: &[T]| values.iter().map(|v| v.to_f64()).sum::<f64>();
        report.entropy = -n * sum(&s.log_prob);
        report.policy_loss = -alpha * report.entropy - n * sum(&s.min_q);
        minimum_gradient(&self.critics, T::from_f64(-n), s);
        split_actions(&s.gradient_sum, self.shape, &mut s.action_seed);
        s.seed.fill(T::from_f64(alpha * n));
        s.actor_grads.fill(T::ZERO);
        let UpdateScratch { actor, action_seed, seed, actor_grads, .. } = s;
        self.actor.backward(action_seed, seed, actor, actor_grads);
        self.optimizers[0].step(self.actor.net_mut().params_mut(), actor_grads);
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

/// Writes min(Q₁, Q₂) of the rows in `s.inputs`, and which critic is the smaller.
fn minimum<T: Real>(critics: &[Mlp<T>; 2], s: &mut UpdateScratch<T>) {
    let [first, second] = &mut s.critics;
    let q1 = critics[0].forward(&s.inputs, first);
    let q2 = critics[1].forward(&s.inputs, second);
    for (b, (&q1, &q2)) in q1.iter().zip(q2).enumerate() {
        s.which[b] = q2 < q1;
        s.min_q[b] = if q2 < q1 { q2 } else { q1 };
    }
}

/// Writes `weight`·∂min(Q₁, Q₂)/∂[o, u] into `s.gradient_sum`, after [`minimum`].
fn minimum_gradient<T: Real>(critics: &[Mlp<T>; 2], weight: T, s: &mut UpdateScratch<T>) {
    for (i, critic) in critics.iter().enumerate() {
        for (seed, &second) in s.seed.iter_mut().zip(&s.which) {
            *seed = if second == (i == 1) { weight } else { T::ZERO };
        }
        let out = if i == 0 { &mut s.gradient_sum } else { &mut s.gradient };
        critic.input_gradient(&s.seed, &mut s.critics[i], out);
    }
    for (sum, &part) in s.gradient_sum.iter_mut().zip(&s.gradient) {
        *sum += part;
    }
}

/// mean (q − y)², and its derivative in q.
fn squared_error<T: Real>(q: &[T], y: &[T], seed: &mut [T]) -> f64 {
    let n = mean_weight(q.len());
    let mut sum = 0.0;
    for ((&q, &y), seed) in q.iter().zip(y).zip(seed) {
        let error = q.to_f64() - y.to_f64();
        sum += error * error;
        *seed = T::from_f64(2.0 * n * error);
    }
    n * sum
}

fn norm<T: Real>(values: &[T]) -> f64 {
    values.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt()
}

fn mean_weight(n: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a batch is far smaller than 2⁵²")]
    let n = n as f64;
    1.0 / n
}
