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
use crate::rows::{join as join_rows, pull_back, push_forward};
use crate::threads::join;

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
///
/// Two critics never read one another, so their passes run side by side where the current rayon pool
/// has a second thread and the networks are large enough; what joins them goes in their order, and
/// the bits do not depend on the number of threads.
pub struct CriticEnsemble<T: Real> {
    shape: TransitionShape,
    value_gradient: Option<ValueGradientSettings>,
    /// Q₁ … Q_n.
    pub members: Vec<Critic<T>>,
    /// State of the gradient losses.
    pub balance: LossBalance,
    /// Regression steps done.
    pub n_steps: u64,
    scratch: Scratch<T>,
}

/// One critic.
pub struct Critic<T: Real> {
    /// Q.
    pub net: Mlp<T>,
    /// Q̄, which follows Q slowly.
    pub target: Mlp<T>,
    /// Adam of Q.
    pub optimizer: Adam<T>,
    scratch: CriticScratch<T>,
}

/// Buffers of one critic; nothing is allocated after construction.
struct CriticScratch<T: Real> {
    net: MlpWorkspace<T>,
    /// Mean squared Bellman error, and its derivative per row.
    q_loss: f64,
    bellman_seed: Vec<T>,
    /// Seeds of a reverse pass per row.
    seed: Vec<T>,
    /// Rows in which this critic is the smallest.
    rows: Vec<usize>,
    /// ∂Q/∂[o, u] rows.
    gradient: Vec<T>,
    /// ∂Q/∂[x, u] rows, then the derivative of the gradient losses in them.
    state_gradient: Vec<T>,
    v_state: Vec<T>,
    v_action: Vec<T>,
    /// The same pushed forward to [o, u].
    v: Vec<T>,
    grads: Vec<T>,
}

/// Buffers that the critics share.
struct Scratch<T> {
    /// [o, u] rows.
    inputs: Vec<T>,
    /// min Q per row, and which critic it is.
    min_q: Vec<T>,
    which: Vec<usize>,
    /// ∂min Q/∂[o, u] rows.
    gradient: Vec<T>,
    /// Targets G, in state coordinates.
    target_gradient: Vec<T>,
    column: Vec<f64>,
    probe_grads: Vec<T>,
}

impl<T: Real> CriticEnsemble<T> {
    /// One or two networks of one shape with their target copies, fresh optimisers and loss balance.
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
        let members = nets.into_iter().zip(targets).map(|(net, target)| Critic {
            scratch: CriticScratch {
                net: net.workspace(n),
                q_loss: 0.0,
                bellman_seed: zeros(n),
                seed: zeros(n),
                rows: Vec::with_capacity(n),
                gradient: zeros(n * (no + nu)),
                state_gradient: zeros(n * (ndx + nu)),
                v_state: zeros(n * (ndx + nu)),
                v_action: zeros(n * (ndx + nu)),
                v: zeros(n * (no + nu)),
                grads: zeros(n_params),
            },
            optimizer: Adam::new(n_params, adam),
            net,
            target,
        });
        Self {
            members: members.collect(),
            shape,
            value_gradient,
            balance: LossBalance {
                kappa: None,
                state_median: median.clone(),
                action_median: median,
            },
            n_steps: 0,
            scratch: Scratch {
                inputs: zeros(n * (no + nu)),
                min_q: zeros(n),
                which: vec![0; n],
                gradient: zeros(n * (no + nu)),
                target_gradient: zeros(n * (ndx + nu)),
                column: Vec::with_capacity(n),
                probe_grads: zeros(n_params),
            },
        }
    }

    /// min Q̄(o, u) over the target critics, per row.
    pub fn target_minimum(&mut self, o: &[T], u: &[T]) -> &[T] {
        join_rows(o, u, self.shape, &mut self.scratch.inputs);
        let inputs = &self.scratch.inputs;
        side_by_side(&mut self.members, |critic| {
            critic.target.forward(inputs, &mut critic.scratch.net);
        });
        self.take_minimum(self.members.len())
    }

    /// ∂min Q̄/∂[o, u] per row, after [`CriticEnsemble::target_minimum`].
    pub fn target_minimum_gradient(&mut self) -> &[T] {
        self.seed_minimum(self.members.len(), T::ONE);
        side_by_side(&mut self.members, |critic| {
            let CriticScratch { net, seed, rows, gradient, .. } = &mut critic.scratch;
            critic.target.input_gradient_of_rows(&seed[..rows.len()], rows, net, gradient);
        });
        self.sum_gradients(self.members.len())
    }

    /// min Q(o, u) over the first `n` critics, per row.
    pub fn minimum(&mut self, n: usize, o: &[T], u: &[T]) -> &[T] {
        join_rows(o, u, self.shape, &mut self.scratch.inputs);
        let inputs = &self.scratch.inputs;
        side_by_side(&mut self.members[..n], |critic| {
            critic.net.forward(inputs, &mut critic.scratch.net);
        });
        self.take_minimum(n)
    }

    /// `weight`·∂min Q/∂[o, u] per row, after [`CriticEnsemble::minimum`] of the same `n`.
    pub fn minimum_gradient(&mut self, n: usize, weight: T) -> &[T] {
        self.seed_minimum(n, weight);
        side_by_side(&mut self.members[..n], |critic| {
            let CriticScratch { net, seed, rows, gradient, .. } = &mut critic.scratch;
            critic.net.input_gradient_of_rows(&seed[..rows.len()], rows, net, gradient);
        });
        self.sum_gradients(n)
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
        join_rows(&batch.o, &batch.u, self.shape, &mut self.scratch.inputs);
        let mut report = match self.value_gradient.clone() {
            Some(vg) => self.regress_with_gradients(&vg, batch, y),
            None => {
                let inputs = &self.scratch.inputs;
                side_by_side(&mut self.members, |critic| {
                    critic.bellman_error(inputs, y);
                    let CriticScratch { net, bellman_seed, grads, .. } = &mut critic.scratch;
                    grads.fill(T::ZERO);
                    critic.net.backward(bellman_seed, net, grads, None);
                    critic.optimizer.step(critic.net.params_mut(), grads);
                });
                CriticReport::default()
            }
        };
        for (loss, critic) in report.q_loss.iter_mut().zip(&self.members) {
            *loss = critic.scratch.q_loss;
            report.critic_loss += *loss;
        }
        self.n_steps += 1;
        report
    }

    /// [`CriticEnsemble::regress`] with the hinge losses L_s, L_a of ∇Qᵢ against G; the gradient of
    /// everything that a critic minimises takes one reverse pass.
    fn regress_with_gradients(
        &mut self,
        vg: &ValueGradientSettings,
        batch: &Batch<T>,
        y: &[T],
    ) -> CriticReport {
        let shape = self.shape;
        let TransitionShape { nu, ndx, .. } = shape;
        let mut report = CriticReport::default();
        let s = &mut self.scratch;
        let inputs = &s.inputs;
        side_by_side(&mut self.members, |critic| {
            critic.bellman_error(inputs, y);
            let CriticScratch { net, seed, gradient, state_gradient, .. } = &mut critic.scratch;
            seed.fill(T::ONE);
            critic.net.input_gradient(seed, net, gradient);
            pull_back(gradient, &batch.observation_jacobian, shape, state_gradient);
        });
        // The running medians are common to the critics and see them in their order.
        for critic in &mut self.members {
            let CriticScratch { state_gradient, v_state, v_action, .. } = &mut critic.scratch;
            let mut loss = |columns, median, v: &mut [T]| {
                gradient_loss(
                    state_gradient,
                    &s.target_gradient,
                    &batch.mask,
                    batch.reward.len(),
                    ndx + nu,
                    columns,
                    median,
                    &mut s.column,
                    v,
                )
            };
            report.state_gradient_loss += loss(0..ndx, &mut self.balance.state_median, v_state);
            report.action_gradient_loss +=
                loss(ndx..ndx + nu, &mut self.balance.action_median, v_action);
        }
        if self.n_steps.is_multiple_of(vg.kappa_interval.max(1)) {
            self.weigh_losses(batch, vg);
        }
        report.kappa = self.balance.kappa.unwrap_or_default();
        let weights = [vg.zeta_s * report.kappa[0], vg.zeta_a * report.kappa[1]];
        report.critic_loss =
            weights[0] * report.state_gradient_loss + weights[1] * report.action_gradient_loss;
        let [state, action] = weights.map(T::from_f64);
        side_by_side(&mut self.members, |critic| {
            let s = &mut critic.scratch;
            for ((v, &v_state), &v_action) in
                s.state_gradient.iter_mut().zip(&s.v_state).zip(&s.v_action)
            {
                *v = state * v_state + action * v_action;
            }
            push_forward(&s.state_gradient, &batch.observation_jacobian, shape, &mut s.v);
            s.grads.fill(T::ZERO);
            critic.net.tangent(&s.v, &mut s.net);
            critic.net.sobolev_backward(&s.bellman_seed, &s.seed, &mut s.net, &mut s.grads);
            critic.optimizer.step(critic.net.params_mut(), &s.grads);
        });
        report
    }

    /// κ_s, κ_a = ‖∂L_q/∂W‖ / ‖∂L_s/∂W‖, ‖∂L_a/∂W‖ with W the second layer's weights of the first
    /// critic, smoothed over the recomputations   (eq. 18)
    fn weigh_losses(&mut self, batch: &Batch<T>, vg: &ValueGradientSettings) {
        let Scratch { min_q: zeros, probe_grads, .. } = &mut self.scratch;
        // Only the directional derivative counts in a gradient loss, not the value.
        zeros.fill(T::ZERO);
        let Critic { net: critic, scratch: s, .. } = &mut self.members[0];
        let spec = critic.spec();
        let w = spec.weight(1.min(spec.n_layers() - 1));
        probe_grads.fill(T::ZERO);
        critic.backward(&s.bellman_seed, &mut s.net, probe_grads, None);
        let q_norm = norm(&probe_grads[w.clone()]);
        let mut ratio = |v_x: &[T]| {
            push_forward(v_x, &batch.observation_jacobian, self.shape, &mut s.v);
            probe_grads.fill(T::ZERO);
            critic.tangent(&s.v, &mut s.net);
            critic.sobolev_backward(zeros, &s.seed, &mut s.net, probe_grads);
            q_norm / norm(&probe_grads[w.clone()])
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

    /// Q̄ ← (1 − τ) Q̄ + τ Q.
    pub fn update_targets(&mut self, tau: f64) {
        side_by_side(&mut self.members, |critic| {
            soft_update(critic.target.params_mut(), critic.net.params(), tau);
        });
    }

    /// Critics and targets by name.
    pub fn networks(&self) -> impl Iterator<Item = (&'static str, &Mlp<T>)> {
        let critics = ["critic1", "critic2"].into_iter().zip(self.members.iter().map(|c| &c.net));
        critics
            .chain(["target1", "target2"].into_iter().zip(self.members.iter().map(|c| &c.target)))
    }

    /// The same in the same order, to be changed.
    pub fn networks_mut(&mut self) -> impl Iterator<Item = &mut Mlp<T>> {
        let (nets, targets): (Vec<_>, Vec<_>) =
            self.members.iter_mut().map(|c| (&mut c.net, &mut c.target)).unzip();
        nets.into_iter().chain(targets)
    }

    /// Optimisers by name.
    pub fn optimizers(&self) -> impl Iterator<Item = (&'static str, &Adam<T>)> {
        ["adam.critic1", "adam.critic2"].into_iter().zip(self.members.iter().map(|c| &c.optimizer))
    }

    /// The same in the same order, to be changed.
    pub fn optimizers_mut(&mut self) -> impl Iterator<Item = &mut Adam<T>> {
        self.members.iter_mut().map(|c| &mut c.optimizer)
    }

    /// The minimum over the first `n` critics' last outputs, and which critic has it.
    fn take_minimum(&mut self, n: usize) -> &[T] {
        let Scratch { min_q, which, .. } = &mut self.scratch;
        for (i, critic) in self.members[..n].iter().enumerate() {
            for ((min_q, which), &q) in
                min_q.iter_mut().zip(which.iter_mut()).zip(critic.scratch.net.out())
            {
                if i == 0 || q < *min_q {
                    (*min_q, *which) = (q, i);
                }
            }
        }
        min_q
    }

    /// Seeds every critic in the rows where it has the minimum.
    fn seed_minimum(&mut self, n: usize, weight: T) {
        for (i, critic) in self.members[..n].iter_mut().enumerate() {
            let CriticScratch { seed, rows, .. } = &mut critic.scratch;
            let which = self.scratch.which.iter().enumerate();
            rows.clear();
            rows.extend(which.filter(|&(_, &which)| which == i).map(|(row, _)| row));
            seed.fill(weight);
        }
    }

    /// Adds up the first `n` critics' input gradients.
    fn sum_gradients(&mut self, n: usize) -> &[T] {
        let sum = &mut self.scratch.gradient;
        sum.copy_from_slice(&self.members[0].scratch.gradient);
        for critic in &self.members[1..n] {
            for (sum, &part) in sum.iter_mut().zip(&critic.scratch.gradient) {
                *sum += part;
            }
        }
        sum
    }
}

impl<T: Real> Critic<T> {
    /// Evaluates the rows in `inputs`; mean (Q − y)², and its derivative in Q.
    fn bellman_error(&mut self, inputs: &[T], y: &[T]) {
        let s = &mut self.scratch;
        let q = self.net.forward(inputs, &mut s.net);
        s.q_loss = squared_error(q, y, &mut s.bellman_seed);
    }
}

/// Does `pass` for every critic, at the same time where that pays.
fn side_by_side<T: Real>(critics: &mut [Critic<T>], pass: impl Fn(&mut Critic<T>) + Sync) {
    match critics {
        [first, second] => {
            let forward = first.scratch.seed.len() * first.net.params().len();
            join(forward, || pass(first), || pass(second));
        }
        critics => critics.iter_mut().for_each(pass),
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
