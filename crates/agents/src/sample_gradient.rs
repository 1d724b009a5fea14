//! Gradients of sums over samples by a policy's weights, with equal bits for any number of threads.

use std::sync::{Mutex, PoisonError};

use critics::{MlpWorkspace, Real};
use rayon::prelude::*;

use crate::normalized_policy::NormalizedPolicy;

/// Samples that a thread takes at once. The sums over them are added in order, so a change of this
/// number changes the last bits of every result.
const CHUNK: usize = 1024;

/// Inputs of a policy's network, each with a vector of nu entries (a target, or a sensitivity), row
/// after row: T rows per start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples<T> {
    pub(crate) n_inputs: usize,
    pub(crate) n_values: usize,
    /// Rows per start.
    horizon: usize,
    inputs: Vec<T>,
    values: Vec<T>,
}

impl<T: Real> Samples<T> {
    pub(crate) fn new(n_inputs: usize, n_values: usize, horizon: usize) -> Self {
        Self { n_inputs, n_values, horizon, inputs: Vec::new(), values: Vec::new() }
    }

    /// Number of rows.
    pub(crate) fn n(&self) -> usize {
        self.inputs.len() / self.n_inputs
    }

    pub(crate) fn inputs(&self) -> &[T] {
        &self.inputs
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    /// Applies `map` to entry `j` of every input.
    pub(crate) fn map_inputs(&mut self, map: impl Fn(usize, f64) -> f64) {
        for input in self.inputs.chunks_exact_mut(self.n_inputs) {
            for (j, entry) in input.iter_mut().enumerate() {
                *entry = T::from_f64(map(j, entry.to_f64()));
            }
        }
    }

    /// Makes room for so many starts.
    pub(crate) fn resize(&mut self, starts: usize) {
        self.inputs.resize(starts * self.horizon * self.n_inputs, T::ZERO);
        self.values.resize(starts * self.horizon * self.n_values, T::ZERO);
    }

    /// Inputs and values of every start.
    pub(crate) fn rows(&mut self) -> impl Iterator<Item = (&mut [T], &mut [T])> + Send {
        let inputs = self.inputs.chunks_exact_mut(self.horizon * self.n_inputs);
        inputs.zip(self.values.chunks_exact_mut(self.horizon * self.n_values))
    }

    /// Takes out the starts that `kept` does not want; the others keep their order.
    pub(crate) fn keep(&mut self, kept: impl Fn(usize) -> bool) {
        let widths = [self.horizon * self.n_inputs, self.horizon * self.n_values];
        for (rows, width) in [&mut self.inputs, &mut self.values].into_iter().zip(widths) {
            let mut n = 0;
            for i in (0..rows.len() / width).filter(|&i| kept(i)) {
                rows.copy_within(i * width..(i + 1) * width, n * width);
                n += 1;
            }
            rows.truncate(n * width);
        }
    }
}

/// Room for the gradients of [`SampleGradient::compute`], reused from call to call.
pub(crate) struct SampleGradient<T: Real> {
    chunks: Vec<Chunk<T>>,
    scratch: Mutex<Vec<Scratch<T>>>,
    sums: Vec<f64>,
    gradient: Vec<T>,
}

/// What a chunk of samples gives.
struct Chunk<T> {
    gradient: Vec<T>,
    loss: f64,
}

/// Scratch of a thread.
struct Scratch<T: Real> {
    ws: MlpWorkspace<T>,
    inputs: Vec<T>,
    values: Vec<T>,
    actions: Vec<f64>,
    weights: Vec<f64>,
    seed: Vec<T>,
}

impl<T: Real> Default for SampleGradient<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            scratch: Mutex::new(Vec::new()),
            sums: Vec::new(),
            gradient: Vec::new(),
        }
    }
}

impl<T: Real> SampleGradient<T> {
    /// Σ (∂π/∂θ)ᵀ w over the samples `indices`, or all, and the sum of losses. `weigh` writes w for an
    /// action π(o) and the sample's value (nu entries each), and returns the sample's loss.
    pub(crate) fn compute(
        &mut self,
        policy: &NormalizedPolicy<T>,
        samples: &Samples<T>,
        indices: Option<&[usize]>,
        weigh: impl Fn(&[f64], &[T], &mut [f64]) -> f64 + Sync,
    ) -> (f64, &[T]) {
        let n = indices.map_or(samples.n(), <[usize]>::len);
        let n_params = policy.net().params().len();
        let n_chunks = n.div_ceil(CHUNK);
        let room = || Chunk { gradient: vec![T::ZERO; n_params], loss: 0.0 };
        self.chunks.resize_with(n_chunks.max(self.chunks.len()), room);
        let queue = Mutex::new(self.chunks[..n_chunks].iter_mut().enumerate());
        let scratch = &self.scratch;
        let n_workers = rayon::current_num_threads().min(n_chunks);
        (0..n_workers).into_par_iter().with_max_len(1).for_each(|_| {
            let kept = scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut own = kept.unwrap_or_else(|| Scratch::new(policy));
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((index, chunk)) = next else { break };
                let first = index * CHUNK;
                let rows = first..n.min(first + CHUNK);
                own.gather(samples, indices, rows);
                chunk.loss = own.add(policy, &weigh, &mut chunk.gradient);
            }
            scratch.lock().unwrap_or_else(PoisonError::into_inner).push(own);
        });
        self.sums.clear();
        self.sums.resize(n_params, 0.0);
        let mut loss = 0.0;
        for chunk in &self.chunks[..n_chunks] {
            loss += chunk.loss;
            let sums = self.sums.iter_mut().zip(&chunk.gradient);
            sums.for_each(|(sum, g)| *sum += g.to_f64());
        }
        self.gradient.clear();
        self.gradient.extend(self.sums.iter().map(|&sum| T::from_f64(sum)));
        (loss, &self.gradient)
    }
}

impl<T: Real> Scratch<T> {
    fn new(policy: &NormalizedPolicy<T>) -> Self {
        let (n, nu) = (policy.n_observations(), policy.nu());
        Self {
            ws: policy.net().workspace(CHUNK),
            inputs: Vec::with_capacity(CHUNK * n),
            values: Vec::with_capacity(CHUNK * nu),
            actions: Vec::with_capacity(CHUNK * nu),
            weights: Vec::with_capacity(CHUNK * nu),
            seed: Vec::with_capacity(CHUNK * nu),
        }
    }

    /// Copies the samples of a chunk.
    fn gather(
        &mut self,
        samples: &Samples<T>,
        indices: Option<&[usize]>,
        rows: std::ops::Range<usize>,
    ) {
        let (n, nu) = (samples.n_inputs, samples.n_values);
        self.inputs.clear();
        self.values.clear();
        let Some(indices) = indices else {
            self.inputs.extend_from_slice(&samples.inputs[rows.start * n..rows.end * n]);
            self.values.extend_from_slice(&samples.values[rows.start * nu..rows.end * nu]);
            return;
        };
        for &i in &indices[rows] {
            self.inputs.extend_from_slice(&samples.inputs[i * n..][..n]);
            self.values.extend_from_slice(&samples.values[i * nu..][..nu]);
        }
    }

    /// Writes the gradient of the gathered samples; returns their loss.
    fn add(
        &mut self,
        policy: &NormalizedPolicy<T>,
        weigh: impl Fn(&[f64], &[T], &mut [f64]) -> f64,
        gradient: &mut [T],
    ) -> f64 {
        let (nu, n_values) = (policy.nu(), self.values.len());
        self.actions.resize(n_values, 0.0);
        self.weights.resize(n_values, 0.0);
        self.seed.resize(n_values, T::ZERO);
        policy.act(&self.inputs, &mut self.ws, &mut self.actions);
        let mut loss = 0.0;
        for (i, weights) in self.weights.chunks_exact_mut(nu).enumerate() {
            let row = i * nu..(i + 1) * nu;
            loss += weigh(&self.actions[row.clone()], &self.values[row], weights);
        }
        policy.seed(&self.weights, &self.ws, &mut self.seed);
        gradient.fill(T::ZERO);
        policy.net().backward(&self.seed, &mut self.ws, gradient, None);
        loss
    }
}

#[cfg(test)]
mod tests {
    use dynamics::{ActionBounds, Stream};

    use super::*;

    /// Starts of 10 steps with random numbers.
    fn samples(starts: usize) -> Samples<f64> {
        let mut samples = Samples::new(3, 2, 10);
        let mut stream = Stream::new(0, "samples", 0);
        samples.resize(starts);
        samples.inputs.iter_mut().for_each(|input| *input = stream.normal());
        samples.values.iter_mut().for_each(|value| *value = stream.normal());
        samples
    }

    fn weigh(action: &[f64], value: &[f64], w: &mut [f64]) -> f64 {
        w.iter_mut().zip(action).zip(value).for_each(|((w, a), v)| *w = a - v);
        w.iter().map(|w| 0.5 * w * w).sum()
    }

    #[test]
    fn sums_over_chunks_are_those_over_single_samples() {
        let bounds = ActionBounds { low: vec![-1.0, 0.5], high: vec![1.0, 3.0] };
        let policy = NormalizedPolicy::<f64>::random(3, &[4], bounds, 0).unwrap();
        let samples = samples(250);
        let mut room = SampleGradient::default();
        let mut total = (0.0, vec![0.0; policy.net().params().len()]);
        for i in 0..samples.n() {
            let (loss, gradient) = room.compute(&policy, &samples, Some(&[i]), weigh);
            total.0 += loss;
            total.1.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
        let backwards: Vec<_> = (0..samples.n()).rev().collect();
        for indices in [None, Some(&*backwards)] {
            let (loss, gradient) = room.compute(&policy, &samples, indices, weigh);
            assert!((loss / total.0 - 1.0).abs() < 1e-12);
            for (a, b) in gradient.iter().zip(&total.1) {
                assert!((a - b).abs() < 1e-10 * (1.0 + b.abs()), "{a} {b}");
            }
        }
    }

    #[test]
    fn starts_that_are_taken_out_leave_the_others_in_order() {
        let all = samples(5);
        let mut kept = all.clone();
        kept.keep(|i| i == 1 || i == 4);
        assert_eq!(kept.inputs, [&all.inputs[30..60], &all.inputs[120..150]].concat());
        assert_eq!(kept.values, [&all.values[20..40], &all.values[80..100]].concat());
    }
}
