//! The stochastic policy of the stochastic value gradients.

use critics::{CriticError, MlpWorkspace, Real};
use dynamics::{ActionBounds, Task};

use super::settings::SvgSettings;
use super::sizes::Sizes;
use crate::{Actor, NormalizedPolicy};

/// Smallest and largest log-deviation.
const LOG_STD: [f64; 2] = [-5.0, 2.0];

/// a = μ(o) + σ η with η standard normal, in units of half the range of the actions: μ is a network
/// within ±1, log σ a vector of its own. Actions are not squashed; the plant sees them clipped to ±1, and
/// everything else (densities, noise, models and critics) as they were drawn.
#[derive(Debug, Clone)]
pub struct GaussianPolicy<T: Real = f32> {
    /// μ.
    pub mean: NormalizedPolicy<T>,
    /// log σ.
    pub log_std: Vec<T>,
}

impl<T: Real> GaussianPolicy<T> {
    /// A policy with random weights from stream `actor weights`, those of the last layer a tenth of the
    /// usual: first actions are little more than noise.
    ///
    /// # Errors
    /// Layer sizes that make no network.
    pub fn new(task: &dyn Task, settings: &SvgSettings, seed: u64) -> Result<Self, CriticError> {
        let Sizes { no, nu, .. } = Sizes::of(task);
        let shares = ActionBounds::symmetric(nu, 1.0);
        let mut mean = NormalizedPolicy::random(no, &settings.hidden, shares, seed)?;
        let last = mean.net().spec().n_layers() - 1;
        let head = mean.net().spec().weight(last).start..mean.net().params().len();
        mean.net_mut().params_mut()[head].iter_mut().for_each(|p| *p *= T::from_f64(0.1));
        Ok(Self { mean, log_std: vec![T::from_f64(settings.std.ln()); nu] })
    }

    /// σ of action `j`.
    #[must_use]
    pub fn std(&self, j: usize) -> f64 {
        self.log_std[j].to_f64().exp()
    }

    /// η that explains action `a` where the mean is `mean`, entry by entry.
    pub fn infer_noise(&self, mean: &[f64], a: &[f64], eta: &mut [f64]) {
        for (j, eta) in eta.iter_mut().enumerate() {
            *eta = (a[j] - mean[j]) / self.std(j);
        }
    }

    /// log π of the action whose noise is `eta`.
    #[must_use]
    pub fn log_density(&self, eta: &[f64]) -> f64 {
        let one =
            |(j, eta): (usize, &f64)| -0.5 * eta * eta - self.log_std[j].to_f64() - HALF_LN_TWO_PI;
        eta.iter().enumerate().map(one).sum()
    }

    /// Keeps deviations within a sensible range.
    pub fn clamp(&mut self) {
        for log_std in &mut self.log_std {
            *log_std = T::from_f64(log_std.to_f64().clamp(LOG_STD[0], LOG_STD[1]));
        }
    }

    /// ∂μ/∂o by the observation itself for the inputs of the last [`NormalizedPolicy::act`] in `ws`:
    /// samples × nu × no.
    pub fn mean_jacobian(
        &self,
        n: usize,
        ws: &mut MlpWorkspace<T>,
        scratch: &mut MeanScratch<T>,
        jacobian: &mut [f64],
    ) {
        let (no, nu) = (self.mean.n_observations(), self.mean.nu());
        scratch.weights.resize(n * nu, 0.0);
        scratch.seed.resize(n * nu, T::ZERO);
        scratch.row.resize(n * no, T::ZERO);
        let scale = &self.mean.normalization().scale;
        for j in 0..nu {
            scratch.weights.iter_mut().enumerate().for_each(|(i, w)| {
                *w = f64::from(u8::from(i % nu == j));
            });
            self.mean.seed(&scratch.weights, ws, &mut scratch.seed);
            self.mean.net().input_gradient(&scratch.seed, ws, &mut scratch.row);
            for (s, row) in scratch.row.chunks_exact(no).enumerate() {
                let out = &mut jacobian[(s * nu + j) * no..][..no];
                for ((out, slope), scale) in out.iter_mut().zip(row).zip(scale) {
                    *out = slope.to_f64() / scale;
                }
            }
        }
    }

    /// The mean in the task's units, as files have it.
    ///
    /// # Errors
    /// Parameters that are not finite.
    pub fn actor(&self, bounds: &ActionBounds) -> Result<Actor, CriticError> {
        self.mean.clone().with_bounds(bounds.clone()).actor()
    }
}

/// ½ log 2π.
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// Scratch of [`GaussianPolicy::mean_jacobian`].
#[derive(Debug, Clone, Default)]
pub struct MeanScratch<T> {
    weights: Vec<f64>,
    seed: Vec<T>,
    row: Vec<T>,
}
