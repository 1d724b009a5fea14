//! The policy of PODS and BPTT: a bounded network on normalised observations.

use critics::{Activation, CriticError, Initialization, Mlp, MlpSpec, MlpWorkspace, Real};
use dynamics::{ActionBounds, Observation, ObservationJacobian, Stream, Task};
use nalgebra::{DMatrix, DVector};

use crate::{Actor, Squash};

/// Added to deviations, so that an entry that never moves is not blown up.
const SMALLEST_SCALE: f64 = 1e-3;

/// (o − mean) / scale, entry by entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalization {
    /// Means of the observation's entries.
    pub mean: Vec<f64>,
    /// Their standard deviations and 10⁻³.
    pub scale: Vec<f64>,
}

impl Normalization {
    /// The observation as it is.
    #[must_use]
    pub fn none(n_observations: usize) -> Self {
        Self { mean: vec![0.0; n_observations], scale: vec![1.0; n_observations] }
    }

    /// Takes over the numbers of another of the same length.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.mean.copy_from_slice(&other.mean);
        self.scale.copy_from_slice(&other.scale);
    }

    /// Entry `j` of an observation, normalised.
    pub(crate) fn apply(&self, j: usize, o: f64) -> f64 {
        (o - self.mean[j]) / self.scale[j]
    }

    /// Statistics of rows of observations.
    pub(crate) fn of<T: Real>(rows: &[T], n_observations: usize) -> Self {
        let n = (rows.len() / n_observations) as f64;
        let column = |j: usize| rows.iter().skip(j).step_by(n_observations).map(|o| o.to_f64());
        let mean: Vec<f64> = (0..n_observations).map(|j| column(j).sum::<f64>() / n).collect();
        let scale = |j: usize| {
            let squares: f64 = column(j).map(|o| (o - mean[j]).powi(2)).sum();
            (squares / n).sqrt() + SMALLEST_SCALE
        };
        Self { scale: (0..n_observations).map(scale).collect(), mean }
    }
}

/// π(o) = middle + half range · tanh(net((o − mean) / scale)).
#[derive(Debug, Clone)]
pub struct NormalizedPolicy<T: Real> {
    pub(crate) net: Mlp<T>,
    pub(crate) normalization: Normalization,
    bounds: ActionBounds,
}

impl<T: Real> NormalizedPolicy<T> {
    /// A policy with tanh layers `hidden`, weights and biases uniform in ±1/√fan_in. Whatever learns
    /// it, equal seeds and sizes give equal weights; so do SAC and PPO with such layers
    /// ([`Initialization::Pytorch`]).
    ///
    /// # Errors
    /// Sizes that make no network, a range of actions that is empty or not finite.
    pub fn random(
        n_observations: usize,
        hidden: &[usize],
        bounds: ActionBounds,
        seed: u64,
    ) -> Result<Self, CriticError> {
        let ranges = bounds.low.iter().zip(&bounds.high);
        for (index, (&low, &high)) in ranges.enumerate() {
            if !(low.is_finite() && high.is_finite() && low < high) {
                return Err(CriticError::ActionRange { index, low, high });
            }
        }
        let mut sizes = vec![n_observations];
        sizes.extend(hidden);
        sizes.push(bounds.low.len());
        let spec = MlpSpec { sizes, hidden: Activation::Tanh };
        let mut stream = Stream::new(seed, "actor weights", 0);
        let net = Mlp::random(spec, Initialization::Pytorch, &[], &mut stream)?;
        Ok(Self { net, normalization: Normalization::none(n_observations), bounds })
    }

    /// The same policy with actions in another range.
    #[must_use]
    pub(crate) fn with_bounds(self, bounds: ActionBounds) -> Self {
        Self { bounds, ..self }
    }

    /// The network behind the normalisation.
    #[must_use]
    pub fn net(&self) -> &Mlp<T> {
        &self.net
    }

    /// The network behind the normalisation, to be changed.
    pub fn net_mut(&mut self) -> &mut Mlp<T> {
        &mut self.net
    }

    /// What is done to observations.
    #[must_use]
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// Entries of an observation.
    #[must_use]
    pub fn n_observations(&self) -> usize {
        self.net.spec().n_in()
    }

    /// Entries of an action.
    #[must_use]
    pub fn nu(&self) -> usize {
        self.bounds.low.len()
    }

    /// Writes the network's input for an observation.
    pub fn normalize(&self, o: &[f64], input: &mut [T]) {
        for (j, (input, &o)) in input.iter_mut().zip(o).enumerate() {
            *input = T::from_f64(self.normalization.apply(j, o));
        }
    }

    /// Writes the actions (rows of nu) for rows of inputs.
    pub fn act(&self, inputs: &[T], ws: &mut MlpWorkspace<T>, actions: &mut [f64]) {
        self.act_with(&self.net, inputs, ws, actions);
    }

    /// [`NormalizedPolicy::act`] with another network of the same shape.
    pub(crate) fn act_with(
        &self,
        net: &Mlp<T>,
        inputs: &[T],
        ws: &mut MlpWorkspace<T>,
        actions: &mut [f64],
    ) {
        let out = net.forward(inputs, ws);
        for (index, (action, &out)) in actions.iter_mut().zip(out).enumerate() {
            let (middle, half) = self.range(index % self.nu());
            *action = middle + half * out.tanh().to_f64();
        }
    }

    /// Turns weights of the actions that [`NormalizedPolicy::act`] left in `ws` into weights of the
    /// network's outputs: multiplies by half range · (1 − tanh²).
    pub(crate) fn seed(&self, weights: &[f64], ws: &MlpWorkspace<T>, seed: &mut [T]) {
        for (index, (seed, &out)) in seed.iter_mut().zip(ws.out()).enumerate() {
            let (_, half) = self.range(index % self.nu());
            let tanh = out.tanh().to_f64();
            *seed = T::from_f64(weights[index] * half * (1.0 - tanh * tanh));
        }
    }

    fn range(&self, j: usize) -> (f64, f64) {
        let (low, high) = (self.bounds.low[j], self.bounds.high[j]);
        (0.5 * (high + low), 0.5 * (high - low))
    }

    /// The same policy with the normalisation inside its first layer, as files have it: to rounding it
    /// chooses the same actions.
    ///
    /// # Errors
    /// Parameters that are not finite.
    pub fn actor(&self) -> Result<Actor, CriticError> {
        let spec = self.net.spec();
        let Normalization { mean, scale } = &self.normalization;
        let mut params: Vec<f64> = self.net.params().iter().map(|p| p.to_f64()).collect();
        let (weight, bias) = (spec.weight(0), spec.bias(0));
        // W (o − mean)/scale + b = (W/scale) o + (b − (W/scale) mean)
        for (row, at) in bias.enumerate() {
            let start = weight.start + row * mean.len();
            let mut shift = 0.0;
            for (j, w) in params[start..start + mean.len()].iter_mut().enumerate() {
                *w /= scale[j];
                shift += *w * mean[j];
            }
            params[at] -= shift;
        }
        let params = params.into_iter().map(f32::from_f64).collect();
        Actor::new(Mlp::new(spec.clone(), params)?, self.bounds.clone(), Squash::Tanh)
    }
}

/// A policy in the loop with a model, with scratch: one per thread.
pub(crate) struct ClosedLoop<'p, T: Real> {
    policy: &'p NormalizedPolicy<T>,
    observation: &'p dyn Observation,
    jacobian: Option<&'p dyn ObservationJacobian>,
    ws: MlpWorkspace<T>,
    o: Vec<f64>,
    input: Vec<T>,
    action: Vec<f64>,
    seed: Vec<T>,
    input_gradient: Vec<T>,
    ox: DMatrix<f64>,
}

impl<'p, T: Real> ClosedLoop<'p, T> {
    pub(crate) fn new(policy: &'p NormalizedPolicy<T>, task: &'p dyn Task) -> Self {
        let (n, nu) = (policy.n_observations(), policy.nu());
        Self {
            policy,
            observation: task.observation(),
            jacobian: task.observation().jacobian(),
            ws: policy.net.workspace(1),
            o: vec![0.0; n],
            input: vec![T::ZERO; n],
            action: vec![0.0; nu],
            seed: vec![T::ZERO; nu],
            input_gradient: vec![T::ZERO; n],
            ox: DMatrix::zeros(n, task.nominal().any_ndx()),
        }
    }

    /// Writes the network's input in state `x`.
    pub(crate) fn observe(&mut self, x: &DVector<f64>, input: &mut [T]) {
        self.observation.observe(x, &mut self.o);
        self.policy.normalize(&self.o, input);
    }

    /// Writes the action in state `x`.
    pub(crate) fn act(&mut self, x: &DVector<f64>, u: &mut DVector<f64>) {
        self.observation.observe(x, &mut self.o);
        self.policy.normalize(&self.o, &mut self.input);
        self.policy.act(&self.input, &mut self.ws, u.as_mut_slice());
    }

    /// `lambda` (ndx) += (∂π/∂x)ᵀ `weights` at `x`, whose observation becomes `input`.
    pub(crate) fn pull_back(
        &mut self,
        x: &DVector<f64>,
        weights: &[f64],
        lambda: &mut [f64],
        input: &mut [T],
    ) {
        self.observe(x, input);
        self.policy.act(input, &mut self.ws, &mut self.action);
        self.policy.seed(weights, &self.ws, &mut self.seed);
        self.policy.net.input_gradient(&self.seed, &mut self.ws, &mut self.input_gradient);
        let scale = &self.policy.normalization.scale;
        let gradient = |j: usize| self.input_gradient[j].to_f64() / scale[j];
        let Some(jacobian) = self.jacobian else {
            lambda.iter_mut().enumerate().for_each(|(j, lambda)| *lambda += gradient(j));
            return;
        };
        jacobian.linearize(x, &mut self.ox);
        for (lambda, column) in lambda.iter_mut().zip(self.ox.column_iter()) {
            // λ += (∂o/∂x)ᵀ ∂(ν·π)/∂o
            *lambda += column.iter().enumerate().map(|(j, ox)| ox * gradient(j)).sum::<f64>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisation_has_the_mean_and_deviation_of_each_entry() {
        let rows = [1.0, 7.0, 3.0, 7.0, 5.0, 7.0, 7.0, 7.0];
        let normalization = Normalization::of(&rows, 2);
        assert_eq!(normalization.mean, [4.0, 7.0]);
        assert!((normalization.scale[0] - (5.0_f64.sqrt() + 1e-3)).abs() < 1e-15);
        assert_eq!(normalization.scale[1], 1e-3);
    }
}
