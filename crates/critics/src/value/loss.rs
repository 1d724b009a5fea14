//! Losses on values, gradients and Hessians (Sobolev training, Czarnecki et al. 2017), and their
//! gradients by the parameters in one reverse pass.
//!
//! The loss is L = mean (V − V̂)² + w₁ mean (Vx − V̂x)² + w₂ mean (Vxx − V̂xx)², with means over samples
//! and components. Its differential is that of one linear operator, with the errors as constants:
//!
//! dL = d Σ [e V + g·Vx + ⟨E, Vxx⟩], e = ∂L/∂V, g = ∂L/∂Vx, E = ∂L/∂Vxx.
//!
//! At order 1, g·Vx is the derivative of V along g: one tangent through the layers and the reverse
//! pass of [`Mlp::sobolev_backward`](crate::Mlp::sobolev_backward) with the seeds e f′ + f″ ṙ and f′.
//! `second_order` has what ⟨E, Vxx⟩ adds.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::ValueNetwork;
use super::network::Evaluation;
use super::second_order::{Goal, SecondOrder};
use crate::Real;
use crate::hessian::{groups, part};

/// Samples that are worked off together; their activations stay in the second-level cache.
const SAMPLES: usize = 128;
/// Tangents that are worked off together at order 2.
const TANGENTS: usize = 128;

/// Weights of a Sobolev loss beside the 1 of the values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SobolevWeights {
    /// w₁ of the gradients.
    pub gradient: f64,
    /// w₂ of the Hessians.
    pub hessian: f64,
}

impl Default for SobolevWeights {
    /// Values and gradients alike, no Hessians.
    fn default() -> Self {
        Self { gradient: 1.0, hessian: 0.0 }
    }
}

/// What a network is trained towards; the highest derivative given is the order of the loss.
#[derive(Debug, Clone, Copy)]
pub struct SobolevTargets<'a, T> {
    /// V̂, batch.
    pub v: &'a [T],
    /// V̂x, batch × nx.
    pub vx: Option<&'a [T]>,
    /// V̂xx, or products with it.
    pub vxx: Option<HessianTargets<'a, T>>,
}

/// What the Hessians are trained towards.
#[derive(Debug, Clone, Copy)]
pub enum HessianTargets<'a, T> {
    /// V̂xx, batch × nx × nx: the mean is over all nx² entries. Costs nx tangents per sample.
    Matrices(&'a [T]),
    /// Products V̂xx d with some directions: the mean is over their entries. Costs two tangents per
    /// direction, which is cheaper for few directions; over random unit directions its mean is that
    /// of the whole matrix.
    Products {
        /// Directions d per sample.
        per_sample: usize,
        /// d, batch × `per_sample` × nx.
        directions: &'a [T],
        /// V̂xx d in the same layout.
        products: &'a [T],
    },
}

impl<'a, T> SobolevTargets<'a, T> {
    /// The targets of some samples of the batch.
    fn of(&self, samples: &Range<usize>, n: usize) -> Self {
        let vxx = self.vxx.as_ref().map(|vxx| match *vxx {
            HessianTargets::Matrices(vxx) => HessianTargets::Matrices(&vxx[part(samples, n * n)]),
            HessianTargets::Products { per_sample, directions, products } => {
                let range = part(samples, per_sample * n);
                let (directions, products) = (&directions[range.clone()], &products[range]);
                HessianTargets::Products { per_sample, directions, products }
            }
        });
        let vx = self.vx.map(|vx| &vx[part(samples, n)]);
        Self { v: &self.v[samples.clone()], vx, vxx }
    }

    /// Numbers of V̂xx that are compared for one sample.
    fn second_order_entries(&self, n: usize) -> usize {
        match self.vxx {
            None => 0,
            Some(HessianTargets::Matrices(_)) => n * n,
            Some(HessianTargets::Products { per_sample, .. }) => per_sample * n,
        }
    }

    /// Checks all lengths against `batch` states of `n` entries.
    fn check(&self, batch: usize, n: usize) {
        assert!(batch > 0 && self.v.len() == batch, "{} values, {batch} states", self.v.len());
        if let Some(vx) = self.vx {
            assert_eq!(vx.len(), batch * n, "one target gradient per state");
        }
        match self.vxx {
            None => {}
            Some(HessianTargets::Matrices(vxx)) => {
                assert_eq!(vxx.len(), batch * n * n, "one target Hessian per state");
            }
            Some(HessianTargets::Products { per_sample, directions, products }) => {
                assert!(per_sample > 0, "at least one direction per state");
                assert_eq!(directions.len(), batch * per_sample * n, "directions of every state");
                assert_eq!(products.len(), directions.len(), "one product per direction");
            }
        }
    }
}

/// Mean squared errors over samples and components, of what was compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SobolevErrors {
    /// Of V.
    pub v: f64,
    /// Of Vx.
    pub vx: Option<f64>,
    /// Of Vxx, or of the products with it.
    pub vxx: Option<f64>,
}

impl SobolevErrors {
    /// The loss.
    #[must_use]
    pub fn loss(&self, weights: SobolevWeights) -> f64 {
        // An error with weight 0 may be anything.
        let term = |weight: f64, error: Option<f64>| {
            if weight == 0.0 { 0.0 } else { weight * error.unwrap_or(0.0) }
        };
        self.v + term(weights.gradient, self.vx) + term(weights.hessian, self.vxx)
    }
}

/// Scratch of [`ValueNetwork::sobolev_gradient`], made by [`ValueNetwork::sobolev_workspace`].
///
/// Samples are worked off in groups, so the size does not grow with the batch. Nothing is allocated
/// after the first call of an order.
#[derive(Debug, Clone)]
pub struct SobolevWorkspace<T: Real> {
    evaluation: Evaluation<T>,
    second: SecondOrder<T>,
    /// V, then ∂L/∂V.
    v: Vec<T>,
    /// Vx, then ∂L/∂Vx in the coordinates of the perceptron.
    vx: Vec<T>,
    /// Sensitivities to the outputs.
    seed: Vec<T>,
}

impl<T: Real> ValueNetwork<T> {
    /// Scratch for losses on batches of up to `max_batch` samples.
    #[must_use]
    pub fn sobolev_workspace(&self, max_batch: usize) -> SobolevWorkspace<T> {
        let samples = max_batch.min(SAMPLES);
        SobolevWorkspace {
            evaluation: Evaluation::new(self, samples),
            second: SecondOrder::new(self.net().spec()),
            v: vec![T::ZERO; samples],
            vx: vec![T::ZERO; samples * self.nx()],
            seed: vec![T::ZERO; samples * self.net().spec().n_out()],
        }
    }

    /// Mean squared errors at the states `x` (batch × nx).
    ///
    /// # Panics
    ///
    /// When the batch is empty, a length does not fit, or the workspace belongs to a network of
    /// another shape.
    pub fn sobolev_errors(
        &self,
        x: &[T],
        targets: &SobolevTargets<'_, T>,
        ws: &mut SobolevWorkspace<T>,
    ) -> SobolevErrors {
        self.sobolev(x, targets, SobolevWeights::default(), ws, None)
    }

    /// `grads` += ∂L/∂θ of the loss at the states `x` (batch × nx), and the errors of which it is
    /// made.
    ///
    /// `grads` has the layout of the parameters.
    ///
    /// # Panics
    ///
    /// As [`ValueNetwork::sobolev_errors`].
    pub fn sobolev_gradient(
        &self,
        x: &[T],
        targets: &SobolevTargets<'_, T>,
        weights: SobolevWeights,
        ws: &mut SobolevWorkspace<T>,
        grads: &mut [T],
    ) -> SobolevErrors {
        self.sobolev(x, targets, weights, ws, Some(grads))
    }

    fn sobolev(
        &self,
        x: &[T],
        targets: &SobolevTargets<'_, T>,
        weights: SobolevWeights,
        ws: &mut SobolevWorkspace<T>,
        mut grads: Option<&mut [T]>,
    ) -> SobolevErrors {
        let n = self.nx();
        let batch = x.len() / n;
        assert_eq!(batch * n, x.len(), "{} numbers are no whole states of {n}", x.len());
        targets.check(batch, n);
        let entries = targets.second_order_entries(n);
        let group = match targets.vxx {
            None => SAMPLES,
            Some(HessianTargets::Matrices(_)) => (TANGENTS / n).max(1),
            Some(HessianTargets::Products { per_sample, .. }) => {
                (TANGENTS / (2 * per_sample)).max(1)
            }
        };
        ws.reserve(group.min(batch), n, self.net().spec().n_out());
        #[expect(clippy::cast_precision_loss, reason = "batches are far smaller than 2⁵²")]
        let [values, slopes, curvatures] = [1, n, entries].map(|size| (batch * size) as f64);
        // ∂L/∂(an entry) = factor · error
        let factors = [
            T::from_f64(2.0 / values),
            T::from_f64(2.0 * weights.gradient / slopes),
            T::from_f64(if entries == 0 { 0.0 } else { 2.0 * weights.hessian / curvatures }),
        ];
        let mut sums = [0.0; 3];
        for samples in groups(batch, group) {
            let (x, targets) = (&x[part(&samples, n)], targets.of(&samples, n));
            let found = self.sobolev_group(x, &targets, factors, ws, grads.as_deref_mut());
            sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
        }
        SobolevErrors {
            v: sums[0] / values,
            vx: targets.vx.map(|_| sums[1] / slopes),
            vxx: targets.vxx.map(|_| sums[2] / curvatures),
        }
    }

    /// Adds the gradient of a group, and returns its sums of squared errors.
    fn sobolev_group(
        &self,
        x: &[T],
        targets: &SobolevTargets<'_, T>,
        factors: [T; 3],
        ws: &mut SobolevWorkspace<T>,
        grads: Option<&mut [T]>,
    ) -> [f64; 3] {
        let n_out = self.net().spec().n_out();
        let (outputs, mut sums) = (targets.v.len() * n_out, [0.0; 3]);
        let SobolevWorkspace { evaluation: e, second, v, vx, seed } = ws;
        let (v, vx, seed) = (&mut v[..targets.v.len()], &mut vx[..x.len()], &mut seed[..outputs]);
        self.evaluate(x, e, v);
        sums[0] = to_errors(v, targets.v, factors[0]);
        if targets.vx.is_some() || targets.vxx.is_some() {
            self.gradient(e, vx);
            match targets.vx {
                Some(target) => sums[1] = to_errors(vx, target, factors[1]),
                None => vx.fill(T::ZERO),
            }
            // Along ∂/∂x = D ∂/∂s the tangent in s is D g.
            self.scale_gradient(vx);
        }
        if let Some(target) = &targets.vxx {
            let goal = Goal { target, factor: factors[2], errors: v, tangent: vx };
            sums[2] = second.differentiate(self, &goal, e, grads);
            return sums;
        }
        let Some(grads) = grads else { return sums };
        let seeds = seed.chunks_exact_mut(n_out).zip(v.iter());
        if targets.vx.is_some() {
            let r_dot = self.net().tangent(vx, &mut e.mlp).chunks_exact(n_out);
            let slopes = e.slope.chunks_exact(n_out).zip(e.curvature.chunks_exact(n_out));
            for (((seed, error), r_dot), (slope, curvature)) in seeds.zip(r_dot).zip(slopes) {
                let row = seed.iter_mut().zip(r_dot).zip(slope.iter().zip(curvature));
                for ((seed, r_dot), (slope, curvature)) in row {
                    *seed = *slope * *error + *curvature * *r_dot;
                }
            }
            self.net().sobolev_backward(seed, &e.slope[..outputs], &mut e.mlp, grads);
        } else {
            for ((seed, error), slope) in seeds.zip(e.slope.chunks_exact(n_out)) {
                seed.iter_mut().zip(slope).for_each(|(seed, slope)| *seed = *slope * *error);
            }
            self.net().backward(seed, &mut e.mlp, grads, None);
        }
        sums
    }
}

impl<T: Real> SobolevWorkspace<T> {
    fn reserve(&mut self, samples: usize, n: usize, n_out: usize) {
        if self.v.len() < samples {
            self.v.resize(samples, T::ZERO);
            self.vx.resize(samples * n, T::ZERO);
            self.seed.resize(samples * n_out, T::ZERO);
        }
    }
}

/// `found` ← factor (found − target); returns the sum of the squared differences.
pub(super) fn to_errors<T: Real>(found: &mut [T], target: &[T], factor: T) -> f64 {
    let mut sum = 0.0;
    for (found, target) in found.iter_mut().zip(target) {
        let error = *found - *target;
        sum += error.to_f64() * error.to_f64();
        *found = factor * error;
    }
    sum
}
