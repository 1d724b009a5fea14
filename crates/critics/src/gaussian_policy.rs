//! The Gaussian policy squashed by tanh into a box of actions.

use crate::error::check_length;
use crate::{CriticError, Mlp, MlpWorkspace, Real};

/// Bounds of the logarithm of the standard deviation.
const LOG_STD: (f64, f64) = (-20.0, 2.0);
/// What keeps the logarithm of the squashing finite.
const SQUASH_EPSILON: f64 = 1e-6;

/// a = s·tanh(ξ) + b with ξ = μ + σε, ε standard normal.
///
/// The network gives [μ; log σ] for every state (2 `nu` outputs); log σ is clamped to [−20, 2], with
/// derivative 0 strictly outside. s and b are half the width and the middle of the action range. The
/// noise ε is drawn by the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct SquashedGaussian<T: Real> {
    net: Mlp<T>,
    scale: Vec<T>,
    bias: Vec<T>,
}

/// Scratch of a [`SquashedGaussian`], and what its derivatives need of the last sample.
#[derive(Debug, Clone)]
pub struct PolicyWorkspace<T: Real> {
    net: MlpWorkspace<T>,
    /// Batch of the last call of `sample`; none where something else came since.
    sampled: Option<usize>,
    /// tanh ξ, batch × nu.
    squashed: Vec<T>,
    /// ∂ξ/∂(raw log σ) = σε where the clamp is open, 0 elsewhere.
    spread: Vec<T>,
    /// 1 where the clamp of log σ is open, 0 elsewhere.
    open: Vec<T>,
    /// Sensitivities to the network's outputs, batch × 2 nu.
    seed: Vec<T>,
}

impl<T: Real> PolicyWorkspace<T> {
    fn reserve(&mut self, batch: usize, nu: usize) {
        if self.squashed.len() < batch * nu {
            self.squashed.resize(batch * nu, T::ZERO);
            self.spread.resize(batch * nu, T::ZERO);
            self.open.resize(batch * nu, T::ZERO);
            self.seed.resize(2 * batch * nu, T::ZERO);
        }
    }
}

impl<T: Real> SquashedGaussian<T> {
    /// A policy with actions within `low` and `high`.
    ///
    /// # Errors
    ///
    /// [`CriticError::Shape`] when the bounds differ in length or the network does not have twice
    /// as many outputs, [`CriticError::ActionRange`] for a range that is empty or not finite.
    pub fn new(net: Mlp<T>, low: &[f64], high: &[f64]) -> Result<Self, CriticError> {
        check_length("`high`", high.len(), low.len())?;
        check_length("the policy network's output", net.spec().n_out(), 2 * low.len())?;
        for (index, (&low, &high)) in low.iter().zip(high).enumerate() {
            if !(low.is_finite() && high.is_finite() && low < high) {
                return Err(CriticError::ActionRange { index, low, high });
            }
        }
        let pairs = || low.iter().zip(high);
        let scale = pairs().map(|(low, high)| T::from_f64(0.5 * (high - low))).collect();
        let bias = pairs().map(|(low, high)| T::from_f64(0.5 * (high + low))).collect();
        Ok(Self { net, scale, bias })
    }

    /// The network of mean and log-deviation.
    #[must_use]
    pub fn net(&self) -> &Mlp<T> {
        &self.net
    }

    /// The network of mean and log-deviation, to be changed by an optimiser.
    pub fn net_mut(&mut self) -> &mut Mlp<T> {
        &mut self.net
    }

    /// Size of the state.
    #[must_use]
    pub fn nx(&self) -> usize {
        self.net.spec().n_in()
    }

    /// Size of the action.
    #[must_use]
    pub fn nu(&self) -> usize {
        self.scale.len()
    }

    /// Smallest and largest value of each action.
    pub fn bounds(&self) -> impl Iterator<Item = (f64, f64)> {
        let pairs = self.scale.iter().zip(&self.bias);
        pairs.map(|(&s, &b)| ((b - s).to_f64(), (b + s).to_f64()))
    }

    /// Scratch for batches of up to `max_batch` states; a larger batch makes it grow.
    #[must_use]
    pub fn workspace(&self, max_batch: usize) -> PolicyWorkspace<T> {
        let mut ws = PolicyWorkspace {
            net: self.net.workspace(max_batch),
            sampled: None,
            squashed: Vec::new(),
            spread: Vec::new(),
            open: Vec::new(),
            seed: Vec::new(),
        };
        ws.reserve(max_batch, self.nu());
        ws
    }

    /// The actions of evaluation, s·tanh(μ) + b (batch × `nu`), for the states `x` (batch × `nx`).
    ///
    /// # Panics
    ///
    /// When `x` is not a whole number of states or `a` has another batch.
    pub fn mean_action(&self, x: &[T], ws: &mut PolicyWorkspace<T>, a: &mut [T]) {
        let nu = self.nu();
        ws.sampled = None;
        let out = self.net.forward(x, &mut ws.net);
        assert_eq!(2 * a.len(), out.len(), "one action per state");
        for (a, out) in a.chunks_exact_mut(nu).zip(out.chunks_exact(2 * nu)) {
            for j in 0..nu {
                a[j] = self.scale[j] * out[j].tanh() + self.bias[j];
            }
        }
    }

    /// Actions and log-densities for the states `x` (batch × `nx`) and standard normal noise `eps`
    /// (batch × `nu`).
    ///
    /// log π(a|x) = Σⱼ [log N(ξⱼ; μⱼ, σⱼ) − log(sⱼ(1 − tanh²ξⱼ) + 10⁻⁶)], summed in `f64`.
    ///
    /// # Panics
    ///
    /// When a length does not fit the batch.
    pub fn sample(
        &self,
        x: &[T],
        eps: &[T],
        ws: &mut PolicyWorkspace<T>,
        a: &mut [T],
        log_prob: &mut [T],
    ) {
        let nu = self.nu();
        let batch = x.len() / self.nx();
        assert_eq!(eps.len(), batch * nu, "noise for every action");
        assert_eq!(a.len(), batch * nu, "one action per state");
        assert_eq!(log_prob.len(), batch, "one log-density per state");
        ws.reserve(batch, nu);
        let half_ln_two_pi = 0.5 * std::f64::consts::TAU.ln();
        let (low, high) = (T::from_f64(LOG_STD.0), T::from_f64(LOG_STD.1));
        let out = self.net.forward(x, &mut ws.net);
        for (row, out) in out.chunks_exact(2 * nu).enumerate() {
            let mut sum = 0.0;
            for j in 0..nu {
                let at = row * nu + j;
                let (mean, raw, eps) = (out[j], out[nu + j], eps[at]);
                // Written so that NaN stays NaN.
                let log_std = if raw < low { low } else { raw };
                let log_std = if log_std > high { high } else { log_std };
                let noise = log_std.exp() * eps;
                let squashed = (mean + noise).tanh();
                ws.open[at] = if raw < low || raw > high { T::ZERO } else { T::ONE };
                ws.spread[at] = ws.open[at] * noise;
                ws.squashed[at] = squashed;
                a[at] = self.scale[j] * squashed + self.bias[j];
                // log N(ξ; μ, σ) = −½ε² − log σ − ½ log 2π
                let eps = eps.to_f64();
                let normal = -0.5 * eps * eps - log_std.to_f64() - half_ln_two_pi;
                let squashed = squashed.to_f64();
                let slope = self.scale[j].to_f64() * (1.0 - squashed * squashed);
                sum += normal - (slope + SQUASH_EPSILON).ln();
            }
            log_prob[row] = T::from_f64(sum);
        }
        ws.sampled = Some(batch);
    }

    /// `grads` += ∂L/∂θ from `a_seed` = ∂L/∂a (batch × `nu`) and `log_prob_seed` = ∂L/∂log π
    /// (batch), after [`SquashedGaussian::sample`] and with its noise held fixed.
    ///
    /// # Panics
    ///
    /// When a length does not fit the last sample, or there is none.
    pub fn backward(
        &self,
        a_seed: &[T],
        log_prob_seed: &[T],
        ws: &mut PolicyWorkspace<T>,
        grads: &mut [T],
    ) {
        let n = self.seed(a_seed, log_prob_seed, ws);
        self.net.backward(&ws.seed[..n], &mut ws.net, grads, None);
    }

    /// `gx` = ∂L/∂x (batch × `nx`, overwritten) from the seeds of [`SquashedGaussian::backward`]:
    /// the part of a total derivative that passes through the policy.
    ///
    /// # Panics
    ///
    /// When a length does not fit the last sample, or there is none.
    pub fn state_gradient(
        &self,
        a_seed: &[T],
        log_prob_seed: &[T],
        ws: &mut PolicyWorkspace<T>,
        gx: &mut [T],
    ) {
        let n = self.seed(a_seed, log_prob_seed, ws);
        self.net.input_gradient(&ws.seed[..n], &mut ws.net, gx);
    }

    /// Fills `ws.seed` with the sensitivities to the network's outputs and returns their number.
    fn seed(&self, a_seed: &[T], log_prob_seed: &[T], ws: &mut PolicyWorkspace<T>) -> usize {
        let nu = self.nu();
        assert!(ws.sampled.is_some(), "`sample` must come before its derivatives");
        let batch = ws.sampled.unwrap_or(0);
        assert_eq!(a_seed.len(), batch * nu, "one seed per action of the last sample");
        assert_eq!(log_prob_seed.len(), batch, "one seed per log-density of the last sample");
        let epsilon = T::from_f64(SQUASH_EPSILON);
        for (row, &log_seed) in log_prob_seed.iter().enumerate() {
            for j in 0..nu {
                let at = row * nu + j;
                let squashed = ws.squashed[at];
                // s(1 − tanh²ξ) = ∂a/∂ξ
                let slope = self.scale[j] * (T::ONE - squashed * squashed);
                // ∂/∂ξ of −log(slope + 10⁻⁶) is 2 tanh ξ slope/(slope + 10⁻⁶); log N depends on the
                // network only through −log σ once ε is fixed.
                let curve = (squashed + squashed) * slope / (slope + epsilon);
                let bar = a_seed[at] * slope + log_seed * curve;
                let seed = &mut ws.seed[2 * nu * row..2 * nu * (row + 1)];
                seed[j] = bar;
                seed[nu + j] = bar * ws.spread[at] - log_seed * ws.open[at];
            }
        }
        2 * batch * nu
    }
}
