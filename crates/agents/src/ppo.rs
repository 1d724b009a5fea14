//! Proximal policy optimisation with the clipped objective.
//!
//! One update in the order of the algorithm box. Equation numbers are those of Schulman, Wolski,
//! Dhariwal, Radford and Klimov, "Proximal Policy Optimization Algorithms" (2017). The policy is a
//! Gaussian N(μ(o), diag σ²) that is not squashed, with log σ a vector of its own; defaults and
//! details that the paper leaves open (advantages per minibatch, norm of the gradients, orthogonal
//! weights) follow Stable-Baselines3. [`PpoLearner`](crate::PpoLearner) collects the roll-outs.

use critics::{Activation, Adam, AdamSettings, CriticError, Mlp, MlpSpec, MlpWorkspace, Real};
use dynamics::Stream;
use nalgebra::DMatrix;

use crate::{PpoSettings, PpoWeights};

/// Policy and value function.
#[derive(Debug, Clone, PartialEq)]
pub struct PpoNetworks<T: Real> {
    /// Mean μ(o) of the actions, in physical units.
    pub actor: Mlp<T>,
    /// log σ of each action.
    pub log_std: Vec<T>,
    /// The value function V(o).
    pub critic: Mlp<T>,
}

impl<T: Real> PpoNetworks<T> {
    /// Networks as the settings ask for; the streams `actor weights` and `critic weights` of `seed` draw
    /// the weights.
    ///
    /// # Errors
    /// Layer sizes that make no network.
    pub fn new(
        settings: &PpoSettings,
        n_observations: usize,
        nu: usize,
        seed: u64,
    ) -> Result<Self, CriticError> {
        let spec = |n_out| {
            let mut sizes = vec![n_observations];
            sizes.extend(&settings.hidden);
            sizes.push(n_out);
            MlpSpec { sizes, hidden: Activation::Tanh }
        };
        let network = |n_out, head_gain, stream| {
            let stream = &mut Stream::new(seed, stream, 0);
            match settings.weights {
                PpoWeights::Orthogonal => orthogonal_mlp(spec(n_out), head_gain, stream),
                PpoWeights::Uniform(how) => Mlp::random(spec(n_out), how, &[], stream),
            }
        };
        Ok(Self {
            actor: network(nu, 0.01, "actor weights")?,
            log_std: vec![T::from_f64(settings.log_std); nu],
            critic: network(1, 1.0, "critic weights")?,
        })
    }

    /// All parameters with their names in a checkpoint.
    #[must_use]
    pub fn parameters(&self) -> [(&'static str, &[T]); 3] {
        [
            ("actor", self.actor.params()),
            ("log_std", &self.log_std),
            ("critic", self.critic.params()),
        ]
    }

    /// The same, to be changed.
    pub fn parameters_mut(&mut self) -> [&mut [T]; 3] {
        [self.actor.params_mut(), &mut self.log_std, self.critic.params_mut()]
    }
}

/// A network with weights of gain √2 in the hidden layers and `head_gain` in the last one.
fn orthogonal_mlp<T: Real>(
    spec: MlpSpec,
    head_gain: f64,
    stream: &mut Stream,
) -> Result<Mlp<T>, CriticError> {
    spec.validate()?;
    let mut params = vec![T::ZERO; spec.n_params()];
    for layer in 0..spec.n_layers() {
        let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
        let head = layer + 1 == spec.n_layers();
        let gain = if head { head_gain } else { std::f64::consts::SQRT_2 };
        let weight = gain * orthogonal(n_out, n_in, stream);
        // The transpose has the rows of the weights one after another.
        for (p, w) in params[spec.weight(layer)].iter_mut().zip(weight.transpose().iter()) {
            *p = T::from_f64(*w);
        }
    }
    Mlp::new(spec, params)
}

/// A matrix with orthonormal columns, or rows where it has fewer of them, drawn uniformly from all
/// such matrices: Q of the factorisation QR of a matrix of standard normal numbers (Saxe,
/// McClelland and Ganguli 2014; Mezzadri 2007).
#[must_use]
pub fn orthogonal(n_rows: usize, n_columns: usize, stream: &mut Stream) -> DMatrix<f64> {
    let (long, short) = (n_rows.max(n_columns), n_rows.min(n_columns));
    // Only R with a positive diagonal makes Q uniform; nalgebra chooses the signs so.
    let q = DMatrix::from_fn(long, short, |_, _| stream.normal()).qr().q();
    if n_rows < n_columns { q.transpose() } else { q }
}

/// log π(u|o) of the Gaussian with this mean, Σⱼ −½zⱼ² − log σⱼ − ½ log 2π with z = (u − μ)/σ.
#[must_use]
pub fn log_density<T: Real>(u: &[T], mean: &[T], log_std: &[T]) -> f64 {
    let mut sum = 0.0;
    for (j, log_std) in log_std.iter().enumerate() {
        let log_std = log_std.to_f64();
        let z = (u[j].to_f64() - mean[j].to_f64()) * (-log_std).exp();
        sum -= 0.5 * z * z + log_std + HALF_LN_TWO_PI;
    }
    sum
}

/// ½ log 2π.
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// Transitions that an update learns from; sample after sample.
#[derive(Debug, Clone, PartialEq)]
pub struct PpoBatch<T> {
    /// Observations.
    pub o: Vec<T>,
    /// Actions as drawn, beyond their bounds where the Gaussian went there.
    pub u: Vec<T>,
    /// log π(u|o) of the policy that acted.
    pub log_prob: Vec<f64>,
    /// Advantages Â.
    pub advantages: Vec<f64>,
    /// What the value function is regressed on.
    pub returns: Vec<f64>,
}

impl<T> PpoBatch<T> {
    /// No transitions, with room for `n`.
    #[must_use]
    pub fn with_capacity(n: usize, n_observations: usize, nu: usize) -> Self {
        Self {
            o: Vec::with_capacity(n * n_observations),
            u: Vec::with_capacity(n * nu),
            log_prob: Vec::with_capacity(n),
            advantages: Vec::with_capacity(n),
            returns: Vec::with_capacity(n),
        }
    }

    /// Number of transitions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log_prob.len()
    }

    /// Whether there is no transition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log_prob.is_empty()
    }

    /// Â ← (Â − mean)/(deviation + 1e-8) with the deviation of a sample (n − 1); a single advantage
    /// stays as it is.
    pub fn normalize_advantages(&mut self) {
        if self.len() < 2 {
            return;
        }
        let n = self.len() as f64;
        let mean = self.advantages.iter().sum::<f64>() / n;
        let squares: f64 = self.advantages.iter().map(|a| (a - mean).powi(2)).sum();
        let deviation = (squares / (n - 1.0)).sqrt();
        self.advantages.iter_mut().for_each(|a| *a = (*a - mean) / (deviation + 1e-8));
    }
}

/// Losses and diagnostics of one update.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PpoReport {
    /// What is minimised: the negative of eq. 9.
    pub loss: f64,
    /// The negative of the clipped objective, eq. 7.
    pub policy_loss: f64,
    /// Mean of (V − return)².
    pub value_loss: f64,
    /// Entropy of the Gaussian.
    pub entropy: f64,
    /// Mean of ρ − 1 − log ρ, which estimates KL(π_old ‖ π) from the old policy's samples.
    pub approx_kl: f64,
    /// Share of the transitions whose ratio ρ is out of bounds.
    pub clip_fraction: f64,
    /// Norm of the gradient of all parameters, before it is shortened.
    pub gradient_norm: f64,
}

/// Networks and optimisers: everything an update changes.
pub struct Ppo<T: Real> {
    settings: PpoSettings,
    /// Policy and value function.
    pub networks: PpoNetworks<T>,
    /// Adam of the actor, of log σ and of the critic, which step together.
    pub optimizers: [Adam<T>; 3],
    scratch: Scratch<T>,
}

/// Buffers of one update; nothing is allocated after construction.
struct Scratch<T: Real> {
    actor: MlpWorkspace<T>,
    critic: MlpWorkspace<T>,
    /// ∂loss/∂μ and ∂loss/∂V.
    mean_seed: Vec<T>,
    value_seed: Vec<T>,
    /// ∂loss/∂ log σ.
    log_std_sums: Vec<f64>,
    /// Gradients in the order of [`PpoNetworks::parameters`].
    gradients: [Vec<T>; 3],
}

impl<T: Real> Ppo<T> {
    /// The given networks with fresh optimisers.
    #[must_use]
    pub fn new(settings: &PpoSettings, networks: PpoNetworks<T>) -> Self {
        let PpoSettings { learning_rate, value_learning_rate, adam_epsilon, .. } = *settings;
        let adam = |len, lr| {
            Adam::new(len, AdamSettings { lr, epsilon: adam_epsilon, ..AdamSettings::default() })
        };
        let rates = [learning_rate, learning_rate, value_learning_rate];
        let n = settings.minibatch.min(settings.rollout_transitions());
        let nu = networks.log_std.len();
        let sizes = networks.parameters().map(|(_, params)| params.len());
        Self {
            scratch: Scratch {
                actor: networks.actor.workspace(n),
                critic: networks.critic.workspace(n),
                mean_seed: vec![T::ZERO; n * nu],
                value_seed: vec![T::ZERO; n],
                log_std_sums: vec![0.0; nu],
                gradients: sizes.map(|len| vec![T::ZERO; len]),
            },
            optimizers: [0, 1, 2].map(|i| adam(sizes[i], rates[i])),
            networks,
            settings: settings.clone(),
        }
    }

    /// One Adam step of all parameters on `batch`.
    ///
    /// # Errors
    /// A loss that is not finite, and its name; nothing has moved then.
    pub fn update(&mut self, batch: &PpoBatch<T>) -> Result<PpoReport, (&'static str, f64)> {
        let report = self.loss_gradient(batch);
        for (what, value) in [
            ("the policy's loss", report.policy_loss),
            ("the value function's loss", report.value_loss),
            ("the distance from the old policy", report.approx_kl),
            ("the norm of the gradient", report.gradient_norm),
        ] {
            if !value.is_finite() {
                return Err((what, value));
            }
        }
        let shorter = self.settings.max_gradient_norm / (report.gradient_norm + 1e-6);
        let shorter = T::from_f64(shorter.min(1.0));
        let parameters = self.networks.parameters_mut();
        for ((params, gradient), adam) in
            parameters.into_iter().zip(&mut self.scratch.gradients).zip(&mut self.optimizers)
        {
            gradient.iter_mut().for_each(|g| *g *= shorter);
            adam.step(params, gradient);
        }
        Ok(report)
    }

    /// Loss on `batch`, with its gradient left for [`Ppo::gradients`].
    ///
    /// loss = −L_CLIP + c₁ mean (V − return)² − c₂ entropy   (eq. 9)
    pub fn loss_gradient(&mut self, batch: &PpoBatch<T>) -> PpoReport {
        self.scratch.gradients.iter_mut().for_each(|g| g.fill(T::ZERO));
        let mut report = PpoReport::default();
        self.policy_loss(batch, &mut report);
        self.value_loss(batch, &mut report);
        let PpoSettings { value_coefficient, entropy_coefficient, .. } = self.settings;
        report.loss = report.policy_loss + value_coefficient * report.value_loss
            - entropy_coefficient * report.entropy;
        let squares = |g: &Vec<T>| g.iter().map(|g| g.to_f64().powi(2)).sum::<f64>();
        report.gradient_norm = self.scratch.gradients.iter().map(squares).sum::<f64>().sqrt();
        report
    }

    /// Gradients of the last loss, in the order of [`PpoNetworks::parameters`].
    #[must_use]
    pub fn gradients(&self) -> &[Vec<T>; 3] {
        &self.scratch.gradients
    }

    /// −mean min(ρ Â, clip(ρ, 1 − ε, 1 + ε) Â) with ρ = π(u|o)/π_old(u|o)   (eq. 7), and the entropy
    fn policy_loss(&mut self, batch: &PpoBatch<T>, report: &mut PpoReport) {
        let PpoSettings { clip, entropy_coefficient, .. } = self.settings;
        let PpoNetworks { actor, log_std, .. } = &self.networks;
        let nu = log_std.len();
        let weight = 1.0 / batch.len() as f64;
        let s = &mut self.scratch;
        let mean = actor.forward(&batch.o, &mut s.actor);
        // d entropy / d log σ = 1 for every action.
        s.log_std_sums.fill(-entropy_coefficient);
        for (i, (u, mean)) in batch.u.chunks_exact(nu).zip(mean.chunks_exact(nu)).enumerate() {
            let log_ratio = log_density(u, mean, log_std) - batch.log_prob[i];
            let (ratio, advantage) = (log_ratio.exp(), batch.advantages[i]);
            let clipped = ratio.clamp(1.0 - clip, 1.0 + clip);
            let (free, bounded) = (ratio * advantage, clipped * advantage);
            report.policy_loss -= weight * free.min(bounded);
            report.approx_kl += weight * (ratio - 1.0 - log_ratio);
            report.clip_fraction += weight * f64::from(u8::from((ratio - 1.0).abs() > clip));
            // d loss / d log π: dρ = ρ d log π, and a clipped ratio does not move.
            let slope = if bounded < free { 0.0 } else { -weight * free };
            for j in 0..nu {
                let inverse_std = (-log_std[j].to_f64()).exp();
                let z = (u[j].to_f64() - mean[j].to_f64()) * inverse_std;
                // ∂ log π/∂μ = z/σ and ∂ log π/∂ log σ = z² − 1
                s.mean_seed[i * nu + j] = T::from_f64(slope * z * inverse_std);
                s.log_std_sums[j] += slope * (z * z - 1.0);
            }
        }
        report.entropy = log_std.iter().map(|l| l.to_f64() + HALF_LN_TWO_PI + 0.5).sum();
        let [actor_gradient, log_std_gradient, _] = &mut s.gradients;
        for (gradient, &sum) in log_std_gradient.iter_mut().zip(&s.log_std_sums) {
            *gradient = T::from_f64(sum);
        }
        let seed = &s.mean_seed[..batch.u.len()];
        actor.backward(seed, &mut s.actor, actor_gradient, None);
    }

    /// mean (V(o) − return)², the value function's part of eq. 9
    fn value_loss(&mut self, batch: &PpoBatch<T>, report: &mut PpoReport) {
        let critic = &self.networks.critic;
        let weight = 1.0 / batch.len() as f64;
        let s = &mut self.scratch;
        let values = critic.forward(&batch.o, &mut s.critic);
        for (i, (value, target)) in values.iter().zip(&batch.returns).enumerate() {
            let error = value.to_f64() - target;
            report.value_loss += weight * error * error;
            s.value_seed[i] = T::from_f64(2.0 * weight * self.settings.value_coefficient * error);
        }
        let seed = &s.value_seed[..batch.len()];
        critic.backward(seed, &mut s.critic, &mut s.gradients[2], None);
    }
}
