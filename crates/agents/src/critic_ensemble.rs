//! The critics of every off-policy method: an ensemble of Q networks with target copies, regressed
//! on values and, where asked, on value gradients.
//!
//! Equation numbers are those of Gurumurthy, Kolter and Manchester, "Deep Off-Policy Iterative
//! Learning Control" (L4DC 2023); `docs/methods/vg-sac.md` has the equations and the deviations.

use critics::{
    Adam, AdamSettings, Mlp, MlpWorkspace, Real, RunningMedian, gradient_loss, soft_update,
};
use serde::{Deserialize, Serialize};

use crate::ValueGradientSettings;
use crate::replay::{Batch, TransitionShape};
use crate::rows::{join, pull_back, push_forward};

/// Losses of one step of the critics.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CriticReport {
    /// Mean squared Bellman error of each critic; 0 for one that there is not.
    pub q_loss: [f64; 2],
    /// L_s, summed over the critics.
    pub state_gradient_loss: f64,
    /// L_a, summed over the critics.
    pub action_gradient_loss: f64,
    /// Everything the critics minimise.
    pub critic_loss: f64,
    /// On-line weights κ_s and κ_a.
    pub kappa: [f64; 2],
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

/// Q₁ (and Q₂) with targets, optimisers and loss balance.
pub struct CriticEnsemble<T: Real> {
    shape: TransitionShape,
    value_gradient: Option<ValueGradientSettings>,
    /// Q₁ … Q_n.
    pub nets: Vec<Mlp<T>>,
    /// Q̄₁ … Q̄_n.
    pub targets: Vec<Mlp<T>>,
    /// Adam of each critic.
    pub optimizers: Vec<Adam<T>>,
    /// State of the gradient losses.
    pub balance: LossBalance,
    /// Regression steps done.
    pub n_steps: u64,
    scratch: Scratch<T>,
}

/// Buffers of one step; nothing is allocated after construction.
struct Scratch<T: Real> {
    nets: Vec<MlpWorkspace<T>>,
    /// [o, u] rows.
    inputs: Vec<T>,
    /// min Q per row, and which critic it is.
    min_q: Vec<T>,
    which: Vec<usize>,
    /// Derivative of the Bellman error per row.
    bellman_seed: Vec<T>,
    /// Seeds of a reverse pass per row.
    seed: Vec<T>,
    /// ∂Q/∂[o, u] rows of one critic, and summed over the critics.
    gradient: Vec<T>,
    gradient_sum: Vec<T>,
    /// ∂Q/∂[x, u] rows, then the derivative of the losses in them.
    state_gradient: Vec<T>,
    /// Targets G, in state coordinates.
    target_gradient: Vec<T>,
    v_state: Vec<T>,
    v_action: Vec<T>,
    /// The same pushed forward to [o, u].
    v: Vec<T>,
    column: Vec<f64>,
    grads: Vec<Vec<T>>,
    probe_grads: Vec<T>,
}

impl<T: Real> CriticEnsemble<T> {
    /// One or two networks of one shape with fresh optimisers and loss balance.
    #[must_use]
    pub fn new(
        nets: Vec<Mlp<T>>,
        targets: Vec<Mlp<T>>,
        shape: TransitionShape,
        batch_size: usize,
        learning_rate: f64,
        value_gradient: Option<ValueGradientSettings>,
    ) -> Self {
        let adam = AdamSettings { lr: learning_rate, ..AdamSettings::default() };
        let n_params = nets[0].params().len();
        let decay = value_gradient.as_ref().map_or(0.95, |vg| vg.median_decay);
        let median = RunningMedian { values: None, decay };
        let (n, TransitionShape { n_observations: no, nu, ndx }) = (batch_size, shape);
        let zeros = |len: usize| vec![T::ZERO; len];
        let scratch = Scratch {
            nets: nets.iter().map(|net| net.workspace(n)).collect(),
            inputs: zeros(n * (no + nu)),
            min_q: zeros(n),
            which: vec![0; n],
            bellman_seed: zeros(n),
            seed: zeros(n),
            gradient: zeros(n * (no + nu)),
            gradient_sum: zeros(n * (no + nu)),
            state_gradient: zeros(n * (ndx + nu)),
            target_gradient: zeros(n * (ndx + nu)),
            v_state: zeros(n * (ndx + nu)),
            v_action: zeros(n * (ndx + nu)),
            v: zeros(n * (no + nu)),
            column: Vec::with_capacity(n),
            grads: vec![zeros(n_params); nets.len()],
            probe_grads: zeros(n_params),
        };
        Self {
            shape,
            value_gradient,
            optimizers: nets.iter().map(|_| Adam::new(n_params, adam)).collect(),
            nets,
            targets,
            balance: LossBalance {
                kappa: None,
                state_median: median.clone(),
                action_median: median,
            },
            n_steps: 0,
            scratch,
        }
    }

    /// min Q̄(o, u) over the target critics, per row.
    pub fn target_minimum(&mut self, o: &[T], u: &[T]) -> &[T] {
        join(o, u, self.shape, &mut self.scratch.inputs);
        minimum(&self.targets, &mut self.scratch);
        &self.scratch.min_q
    }

    /// ∂min Q̄/∂[o, u] per row, after [`CriticEnsemble::target_minimum`].
    pub fn target_minimum_gradient(&mut self) -> &[T] {
        minimum_gradient(&self.targets, T::ONE, &mut self.scratch);
        &self.scratch.gradient_sum
    }

    /// min Q(o, u) over the first `n` critics, per row.
    pub fn minimum(&mut self, n: usize, o: &[T], u: &[T]) -> &[T] {
        join(o, u, self.shape, &mut self.scratch.inputs);
        minimum(&self.nets[..n], &mut self.scratch);
        &self.scratch.min_q
    }

    /// `weight`·∂min Q/∂[o, u] per row, after [`CriticEnsemble::minimum`] of the same `n`.
    pub fn minimum_gradient(&mut self, n: usize, weight: T) -> &[T] {
        minimum_gradient(&self.nets[..n], weight, &mut self.scratch);
        &self.scratch.gradient_sum
    }

    /// Gradient targets G = ρ + γ·mask·λ A from the costate λ at the next observation (rows of
    /// [o, u], of which the first block counts) and the model's Jacobian A   (eqs. 14, 15).
    pub fn set_gradient_targets(&mut self, batch: &Batch<T>, gamma: f64, costate: &[T]) {
        let TransitionShape { n_observations: no, nu, ndx } = self.shape;
        let (gamma, width) = (T::from_f64(gamma), ndx + nu);
        for (b, g) in self.scratch.target_gradient.chunks_exact_mut(width).enumerate() {
            let lambda = &costate[b * (no + nu)..][..no];
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

    /// Gradient targets G = [∂/∂x, ∂/∂u] as last set, batch × (ndx + nu).
    #[must_use]
    pub fn gradient_target(&self) -> &[T] {
        &self.scratch.target_gradient
    }

    /// One Adam step on L = Σᵢ mean(Qᵢ − y)² + ζ_s κ_s L_s + ζ_a κ_a L_a   (eqs. 16–18); the
    /// gradient losses only where they are switched on, against the targets set before.
    pub fn regress(&mut self, batch: &Batch<T>, y: &[T]) -> CriticReport {
        let mut report = CriticReport::default();
        join(&batch.o, &batch.u, self.shape, &mut self.scratch.inputs);
        for i in 0..self.nets.len() {
            let s = &mut self.scratch;
            let q = self.nets[i].forward(&s.inputs, &mut s.nets[i]);
            let q_loss = squared_error(q, y, &mut s.bellman_seed);
            report.critic_loss += q_loss;
            report.q_loss[i.min(1)] = q_loss;
            s.grads[i].fill(T::ZERO);
            if self.value_gradient.is_some() {
                self.gradient_losses(i, batch, &mut report);
            } else {
                let Scratch { nets, bellman_seed, grads, .. } = s;
                self.nets[i].backward(bellman_seed, &mut nets[i], &mut grads[i], None);
            }
        }
        if let Some(vg) = &self.value_gradient {
            report.kappa = self.balance.kappa.unwrap_or_default();
            report.critic_loss += vg.zeta_s * report.kappa[0] * report.state_gradient_loss
                + vg.zeta_a * report.kappa[1] * report.action_gradient_loss;
        }
        for ((net, optimizer), grads) in
            self.nets.iter_mut().zip(&mut self.optimizers).zip(&self.scratch.grads)
        {
            optimizer.step(net.params_mut(), grads);
        }
        self.n_steps += 1;
        report
    }

    /// Critics and targets by name.
    pub fn networks(&self) -> impl Iterator<Item = (&'static str, &Mlp<T>)> {
        let critics = ["critic1", "critic2"].into_iter().zip(&self.nets);
        critics.chain(["target1", "target2"].into_iter().zip(&self.targets))
    }

    /// The same in the same order, to be changed.
    pub fn networks_mut(&mut self) -> impl Iterator<Item = &mut Mlp<T>> {
        self.nets.iter_mut().chain(&mut self.targets)
    }

    /// Optimisers by name.
    pub fn optimizers(&self) -> impl Iterator<Item = (&'static str, &Adam<T>)> {
        ["adam.critic1", "adam.critic2"].into_iter().zip(&self.optimizers)
    }

    /// Q̄ ← (1 − τ) Q̄ + τ Q.
    pub fn update_targets(&mut self, tau: f64) {
        for (target, net) in self.targets.iter_mut().zip(&self.nets) {
            soft_update(target.params_mut(), net.params(), tau);
        }
    }

    /// Hinge losses L_s, L_a of ∇Qᵢ against G, their on-line weights, and the gradient of everything
    /// critic i minimises, in one reverse pass.
    fn gradient_losses(&mut self, i: usize, batch: &Batch<T>, report: &mut CriticReport) {
        let Some(vg) = self.value_gradient.clone() else { return };
        let TransitionShape { nu, ndx, .. } = self.shape;
        let n = batch.reward.len();
        let s = &mut self.scratch;
        s.seed.fill(T::ONE);
        self.nets[i].input_gradient(&s.seed, &mut s.nets[i], &mut s.gradient);
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
        if i == 0 && self.n_steps.is_multiple_of(vg.kappa_interval.max(1)) {
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
        let Scratch { nets, v, bellman_seed, seed, grads, .. } = s;
        self.nets[i].tangent(v, &mut nets[i]);
        self.nets[i].sobolev_backward(bellman_seed, seed, &mut nets[i], &mut grads[i]);
    }

    /// κ_s, κ_a = ‖∂L_q/∂W‖ / ‖∂L_s/∂W‖, ‖∂L_a/∂W‖ with W the second layer's weights of the first
    /// critic, smoothed over the recomputations   (eq. 18)
    fn weigh_losses(&mut self, batch: &Batch<T>, vg: &ValueGradientSettings) {
        let spec = self.nets[0].spec();
        let w = spec.weight(1.min(spec.n_layers() - 1));
        let critic = &self.nets[0];
        let s = &mut self.scratch;
        s.probe_grads.fill(T::ZERO);
        critic.backward(&s.bellman_seed, &mut s.nets[0], &mut s.probe_grads, None);
        let q_norm = norm(&s.probe_grads[w.clone()]);
        let mut ratio = |v_x: &[T]| {
            push_forward(v_x, &batch.observation_jacobian, self.shape, &mut s.v);
            s.probe_grads.fill(T::ZERO);
            critic.tangent(&s.v, &mut s.nets[0]);
            // Only the directional derivative counts here, not the value.
            s.min_q.fill(T::ZERO);
            critic.sobolev_backward(&s.min_q, &s.seed, &mut s.nets[0], &mut s.probe_grads);
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
}

/// Writes the minimum over `nets` for the rows in `s.inputs`, and which network has it.
fn minimum<T: Real>(nets: &[Mlp<T>], s: &mut Scratch<T>) {
    for (i, (net, ws)) in nets.iter().zip(&mut s.nets).enumerate() {
        for (b, &q) in net.forward(&s.inputs, ws).iter().enumerate() {
            if i == 0 || q < s.min_q[b] {
                s.min_q[b] = q;
                s.which[b] = i;
            }
        }
    }
}

/// Writes `weight`·∂min Q/∂[o, u] into `s.gradient_sum`, after [`minimum`] of the same networks.
fn minimum_gradient<T: Real>(nets: &[Mlp<T>], weight: T, s: &mut Scratch<T>) {
    for (i, net) in nets.iter().enumerate() {
        for (seed, &which) in s.seed.iter_mut().zip(&s.which) {
            *seed = if which == i { weight } else { T::ZERO };
        }
        if i == 0 {
            net.input_gradient(&s.seed, &mut s.nets[i], &mut s.gradient_sum);
        } else {
            net.input_gradient(&s.seed, &mut s.nets[i], &mut s.gradient);
            for (sum, &part) in s.gradient_sum.iter_mut().zip(&s.gradient) {
                *sum += part;
            }
        }
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

/// 1/n.
pub(crate) fn mean_weight(n: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a batch is far smaller than 2⁵²")]
    let n = n as f64;
    1.0 / n
}
