//! What a loss on Hessians adds to a Sobolev loss.
//!
//! Wanted is ∂/∂θ of Σ [e V + g·Vx + ⟨E, Vxx⟩] with constant e, g, E. In the coordinates of the
//! perceptron let A h = g·∇h + ⟨E, ∇²h⟩ for any quantity h, and write E = Σ_ij M_ij d_i d_jᵀ with
//! directions d and a symmetric M. Then A goes forward through the layers as a single number ḧ = A h
//! per unit, together with the tangents ẋ_i along d_i:
//!
//! z = W h, ż_i = W ḣ_i, z̈ = W ḧ; ẏ_i = Σ_j M_ij ż_j, τ = Σ_i ż_i ẏ_i;
//! φ(z): ḣ_i = φ′ ż_i, ḧ = φ′ z̈ + φ″ τ, starting from ḧ = g at the input.
//!
//! The head f is one more such layer, and e V + A V the sum of its units. Reversed, with the
//! sensitivities h̄ = e, ḣ̄ = 0, ḧ̄ = 1 at the top:
//!
//! z̄ = φ′ h̄ + φ″ (Σ_i ż_i ḣ̄_i + z̈ ḧ̄) + φ‴ τ ḧ̄, ż̄_i = φ′ ḣ̄_i + 2 φ″ ẏ_i ḧ̄, z̈̄ = φ′ ḧ̄;
//! W̄ += z̄ hᵀ + Σ_i ż̄_i ḣ_iᵀ + z̈̄ ḧᵀ, and Wᵀ takes all three to the layer below.
//!
//! ḧ̄ is the sensitivity of V itself, which the input gradient left behind. For whole matrices the d_i
//! are the unit vectors and M = E; the Hessian Σ_l J_lᵀ diag(φ″ ḧ̄) J_l comes from the same tangents.
//! For products V̂xx d the directions are every d and its error m, and ⟨E, Vxx⟩ = Σ m·Vxx d makes M the
//! exchange of both with a factor ½. Rows of tangents stand direction after direction within a sample;
//! the errors m are a second block behind all directions d.

use std::ops::Range;

use super::loss::to_errors;
use super::network::Evaluation;
use super::second_order_passes::{Along, Contract, Curve, PullBack, Rows, Scale};
use super::{HessianTargets, ValueNetwork};
use crate::activation::{Derivatives, dispatch};
use crate::hessian::{add_gram, mirror};
use crate::{MlpSpec, Products, Real};

/// What one group of samples is differentiated for.
pub(super) struct Goal<'a, T> {
    pub(super) target: &'a HessianTargets<'a, T>,
    /// ∂L/∂(an entry of Vxx) over its error.
    pub(super) factor: T,
    /// e = ∂L/∂V of every sample.
    pub(super) errors: &'a [T],
    /// g in the coordinates of the perceptron.
    pub(super) tangent: &'a [T],
}

/// Scratch of the second order for one group.
#[derive(Debug, Clone)]
pub(super) struct SecondOrder<T: Real> {
    layers: Vec<Layer<T>>,
    /// Sensitivities ḣ̄ and ż̄ at hand and below, rows × widest.
    bar_dot: Vec<T>,
    bar_dot_below: Vec<T>,
    /// Ones: ḧ̄ of the head.
    ones: Vec<T>,
    /// Vxx, then E: samples × n × n. Products Vxx d, then their errors: rows × n.
    hessians: Vec<T>,
    /// Scratch of a Gram matrix: diag(c) J and its result.
    scaled: Vec<T>,
    gram: Vec<T>,
}

/// A linear layer with the activation above it; the head for the last.
#[derive(Debug, Clone)]
struct Layer<T> {
    /// φ′, φ″ and φ‴, samples × width.
    slope: Vec<T>,
    curvature: Vec<T>,
    third: Vec<T>,
    /// τ.
    tau: Vec<T>,
    /// φ″ ḧ̄.
    weights: Vec<T>,
    /// ḣ of the layer's inputs, rows × inputs; ż and ẏ, rows × width.
    h_dot: Vec<T>,
    z_dot: Vec<T>,
    y_dot: Vec<T>,
}

impl<T: Real> SecondOrder<T> {
    pub(super) fn new(spec: &MlpSpec) -> Self {
        let none = || Vec::new();
        let layer = |_| Layer {
            slope: none(),
            curvature: none(),
            third: none(),
            tau: none(),
            weights: none(),
            h_dot: none(),
            z_dot: none(),
            y_dot: none(),
        };
        Self {
            layers: (0..spec.n_layers()).map(layer).collect(),
            bar_dot: none(),
            bar_dot_below: none(),
            ones: none(),
            hessians: none(),
            scaled: none(),
            gram: none(),
        }
    }

    /// Makes room; buffers only grow.
    fn reserve(&mut self, spec: &MlpSpec, samples: usize, rows: usize) {
        fn grow<T: Real>(buffer: &mut Vec<T>, n: usize, value: T) {
            if buffer.len() < n {
                buffer.resize(n, value);
            }
        }
        let (n, widest) = (spec.n_in(), spec.sizes.iter().copied().max().unwrap_or(0));
        for (layer, sizes) in self.layers.iter_mut().zip(spec.sizes.windows(2)) {
            let Layer { slope, curvature, third, tau, weights, h_dot, z_dot, y_dot } = layer;
            for buffer in [slope, curvature, third, tau, weights] {
                grow(buffer, samples * sizes[1], T::ZERO);
            }
            grow(h_dot, rows * sizes[0], T::ZERO);
            grow(z_dot, rows * sizes[1], T::ZERO);
            grow(y_dot, rows * sizes[1], T::ZERO);
        }
        grow(&mut self.bar_dot, rows * widest, T::ZERO);
        grow(&mut self.bar_dot_below, rows * widest, T::ZERO);
        grow(&mut self.ones, samples * spec.n_out(), T::ONE);
        grow(&mut self.hessians, (rows * n).max(samples * n * n), T::ZERO);
        grow(&mut self.scaled, n * widest, T::ZERO);
        grow(&mut self.gram, n * n, T::ZERO);
    }

    /// Adds the gradient of e V + g·Vx + ⟨E, Vxx⟩ to `grads` where they are given, and returns the sum
    /// of the squared errors of Vxx; after the network's evaluation and gradient of this group.
    pub(super) fn differentiate(
        &mut self,
        net: &ValueNetwork<T>,
        goal: &Goal<'_, T>,
        e: &mut Evaluation<T>,
        grads: Option<&mut [T]>,
    ) -> f64 {
        let (spec, samples, n) = (net.net().spec(), goal.errors.len(), net.nx());
        let (per_sample, blocks) = match *goal.target {
            HessianTargets::Matrices(_) => (n, 1),
            HessianTargets::Products { per_sample, .. } => (per_sample, 2),
        };
        let block = samples * per_sample;
        let shape = Rows { samples, per_sample };
        self.reserve(spec, samples, blocks * block);
        self.differentiate_layers(net, samples, e);
        let sum = match *goal.target {
            HessianTargets::Matrices(target) => {
                self.layers[0].h_dot[..block * n].fill(T::ZERO);
                for unit in self.layers[0].h_dot[..block * n].chunks_exact_mut(n * n) {
                    unit.iter_mut().step_by(n + 1).for_each(|one| *one = T::ONE);
                }
                self.propagate(net, shape, 0..block);
                self.hessians(spec, samples);
                let sum = self.replace_by_errors(net, target, goal.factor);
                self.contract_with_matrices(spec, samples);
                sum
            }
            HessianTargets::Products { directions, products, .. } => {
                let own = &mut self.layers[0].h_dot[..block * n];
                own.copy_from_slice(directions);
                net.scale_gradient(own);
                self.propagate(net, shape, 0..block);
                self.products(net, shape, e);
                let errors = &mut self.hessians[..block * n];
                net.scale_gradient(errors);
                let sum = to_errors(errors, products, goal.factor);
                net.scale_gradient(errors);
                self.layers[0].h_dot[block * n..2 * block * n].copy_from_slice(errors);
                self.propagate(net, shape, block..2 * block);
                self.exchange(spec, block);
                sum
            }
        };
        if let Some(grads) = grads {
            self.curve(net, goal, shape, blocks * block, e);
            self.reverse(net, goal, shape, blocks * block, e, grads);
        }
        sum
    }

    /// φ′, φ″, φ‴ and φ″ ḧ̄ of all layers.
    fn differentiate_layers(&mut self, net: &ValueNetwork<T>, samples: usize, e: &Evaluation<T>) {
        let (spec, last) = (net.net().spec(), self.layers.len() - 1);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let length = samples * spec.sizes[index + 1];
            let slope = &mut layer.slope[..length];
            let curvature = &mut layer.curvature[..length];
            let third = &mut layer.third[..length];
            let weights = &mut layer.weights[..length];
            if index == last {
                let factor = T::from_f64(net.scaling().value);
                for (third, r) in third.iter_mut().zip(e.mlp.out()) {
                    *third = factor * net.spec().head.jet(*r)[3];
                }
                slope.copy_from_slice(&e.slope[..length]);
                curvature.copy_from_slice(&e.curvature[..length]);
                weights.copy_from_slice(curvature);
            } else {
                let h = &e.mlp.inputs[index + 1][..length];
                let gate = e.mlp.gates[index].get(..length).unwrap_or(&[]);
                spec.hidden.derivatives(h, gate, Derivatives { slope, curvature, third });
                let bars = curvature.iter().zip(&e.mlp.h_bars[index]);
                weights
                    .iter_mut()
                    .zip(bars)
                    .for_each(|(c, (curvature, bar))| *c = *curvature * *bar);
            }
        }
    }

    /// Takes the tangents of some rows from the inputs to the outputs.
    fn propagate(&mut self, net: &ValueNetwork<T>, shape: Rows, rows: Range<usize>) {
        let spec = net.net().spec();
        let at = |width: usize| rows.start * width..rows.end * width;
        for index in 0..self.layers.len() {
            let (n_in, n_out) = (spec.sizes[index], spec.sizes[index + 1]);
            let (below, above) = self.layers.split_at_mut(index + 1);
            let Layer { h_dot, z_dot, slope, .. } = &mut below[index];
            let weight = &net.net().params()[spec.weight(index)];
            let z_dot = &mut z_dot[at(n_out)];
            Products::current().forward(weight, &h_dot[at(n_in)], z_dot, n_out, n_in);
            if let Some(above) = above.first_mut() {
                let h_dot = &mut above.h_dot[at(n_out)];
                dispatch(Scale { shape, slope: &slope[..shape.samples * n_out], z_dot, h_dot });
            }
        }
    }

    /// The Hessians by the perceptron's inputs, from unit tangents.
    fn hessians(&mut self, spec: &MlpSpec, samples: usize) {
        let n = spec.n_in();
        let hessians = &mut self.hessians[..samples * n * n];
        hessians.fill(T::ZERO);
        for (layer, &width) in self.layers.iter().zip(&spec.sizes[1..]) {
            let tangents =
                layer.z_dot.chunks_exact(n * width).zip(layer.weights.chunks_exact(width));
            for (h, (j, c)) in hessians.chunks_exact_mut(n * n).zip(tangents) {
                add_gram(j, c, &mut self.scaled[..n * width], &mut self.gram, h);
            }
        }
    }

    /// Replaces the Hessians by E in the coordinates of the perceptron; returns the squared errors.
    fn replace_by_errors(&mut self, net: &ValueNetwork<T>, target: &[T], factor: T) -> f64 {
        let (n, half) = (net.nx(), T::from_f64(0.5));
        let mut sum = 0.0;
        for (h, target) in self.hessians.chunks_exact_mut(n * n).zip(target.chunks_exact(n * n)) {
            for i in 0..n {
                for j in i..n {
                    let scale = net.inverse[i] * net.inverse[j];
                    let found = scale * h[i * n + j];
                    let (upper, lower) = (found - target[i * n + j], found - target[j * n + i]);
                    sum += upper.to_f64() * upper.to_f64();
                    if i != j {
                        sum += lower.to_f64() * lower.to_f64();
                    }
                    // Only the symmetric part of the error can change a symmetric matrix.
                    h[i * n + j] = factor * scale * half * (upper + lower);
                }
            }
            mirror(h, n);
        }
        sum
    }

    /// ẏ = E ż of unit tangents.
    fn contract_with_matrices(&mut self, spec: &MlpSpec, samples: usize) {
        let n = spec.n_in();
        for (layer, &width) in self.layers.iter_mut().zip(&spec.sizes[1..]) {
            let tangents = layer.z_dot.chunks_exact(n * width);
            let results = layer.y_dot.chunks_exact_mut(n * width);
            let errors = self.hessians[..samples * n * n].chunks_exact(n * n);
            for ((y_dot, z_dot), e) in results.zip(tangents).zip(errors) {
                Products::current().input(z_dot, e, y_dot, n, width);
            }
        }
    }

    /// ∇² d of every direction by the perceptron's inputs: the input gradient of the tangents ṙ.
    fn products(&mut self, net: &ValueNetwork<T>, shape: Rows, e: &Evaluation<T>) {
        let (spec, rows) = (net.net().spec(), shape.samples * shape.per_sample);
        let last = self.layers.len() - 1;
        self.bar_dot[..rows * spec.n_out()].fill(T::ZERO);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (n_in, n_out) = (spec.sizes[index], spec.sizes[index + 1]);
            let length = shape.samples * n_out;
            let above = if index == last { &self.ones } else { &e.mlp.h_bars[index] };
            let bar = &mut self.bar_dot[..rows * n_out];
            dispatch(Along {
                shape,
                slope: &layer.slope[..length],
                curvature: &layer.curvature[..length],
                bar_ddot: &above[..length],
                z_dot: &layer.z_dot[..rows * n_out],
                bar,
            });
            let weight = &net.net().params()[spec.weight(index)];
            let below = if index == 0 { &mut self.hessians } else { &mut self.bar_dot_below };
            Products::current().input(weight, bar, &mut below[..rows * n_in], n_out, n_in);
            std::mem::swap(&mut self.bar_dot, &mut self.bar_dot_below);
        }
    }

    /// ẏ of a direction is half the tangent along its error, and the other way round.
    fn exchange(&mut self, spec: &MlpSpec, block: usize) {
        let half = T::from_f64(0.5);
        for (layer, &width) in self.layers.iter_mut().zip(&spec.sizes[1..]) {
            let (first, second) = layer.z_dot[..2 * block * width].split_at(block * width);
            let swapped = second.iter().chain(first);
            layer.y_dot.iter_mut().zip(swapped).for_each(|(y_dot, z_dot)| *y_dot = half * *z_dot);
        }
    }

    /// Takes ḧ from the inputs to the outputs; ḧ and z̈ stand where a tangent of the network would.
    fn curve(
        &mut self,
        net: &ValueNetwork<T>,
        goal: &Goal<'_, T>,
        shape: Rows,
        rows: usize,
        e: &mut Evaluation<T>,
    ) {
        let (spec, samples) = (net.net().spec(), shape.samples);
        let ws = &mut e.mlp;
        ws.inputs[0][goal.tangent.len()..2 * goal.tangent.len()].copy_from_slice(goal.tangent);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let (n_in, n_out) = (spec.sizes[index], spec.sizes[index + 1]);
            let length = samples * n_out;
            let tau = &mut layer.tau[..length];
            let (z_dot, y_dot) = (&layer.z_dot[..rows * n_out], &layer.y_dot[..rows * n_out]);
            dispatch(Contract { shape, z_dot, y_dot, tau });
            let (below, above) = ws.inputs.split_at_mut(index + 1);
            let h_ddot = &below[index][samples * n_in..2 * samples * n_in];
            let z_ddot = ws.z_dots.get_mut(index).unwrap_or(&mut ws.out_tangent);
            let z_ddot = &mut z_ddot[..length];
            let weight = &net.net().params()[spec.weight(index)];
            Products::current().forward(weight, h_ddot, z_ddot, n_out, n_in);
            if let Some(above) = above.first_mut() {
                let (slope, curvature) = (&layer.slope[..length], &layer.curvature[..length]);
                let h_ddot = &mut above[length..2 * length];
                dispatch(Curve { slope, curvature, tau, z_ddot, h_ddot });
            }
        }
    }

    /// The reverse pass of values, ḧ and tangents; `grads` is added to.
    fn reverse(
        &mut self,
        net: &ValueNetwork<T>,
        goal: &Goal<'_, T>,
        shape: Rows,
        rows: usize,
        e: &mut Evaluation<T>,
        grads: &mut [T],
    ) {
        let (spec, params, samples) = (net.net().spec(), net.net().params(), shape.samples);
        let (ws, products, last) = (&mut e.mlp, Products::current(), self.layers.len() - 1);
        let n_out = spec.n_out();
        for (bars, error) in ws.bar.chunks_exact_mut(n_out).zip(goal.errors) {
            bars.fill(*error);
        }
        self.bar_dot[..rows * n_out].fill(T::ZERO);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (n_in, n_out) = (spec.sizes[index], spec.sizes[index + 1]);
            let length = samples * n_out;
            let (bar, z_bar_ddot) = ws.bar[..2 * length].split_at_mut(length);
            let above = if index == last { &self.ones } else { &ws.h_bars[index] };
            let bar_dot = &mut self.bar_dot[..rows * n_out];
            dispatch(PullBack {
                shape,
                slope: &layer.slope[..length],
                curvature: &layer.curvature[..length],
                third: &layer.third[..length],
                tau: &layer.tau[..length],
                z_ddot: &ws.z_dots.get(index).unwrap_or(&ws.out_tangent)[..length],
                bar_ddot: &above[..length],
                z_dot: &layer.z_dot[..rows * n_out],
                y_dot: &layer.y_dot[..rows * n_out],
                bar,
                z_bar_ddot,
                bar_dot,
            });
            for row in bar.chunks_exact(n_out) {
                let biases = grads[spec.bias(index)].iter_mut();
                biases.zip(row).for_each(|(sum, bar)| *sum += *bar);
            }
            let weight = spec.weight(index);
            let w_bar = &mut grads[weight.clone()];
            let inputs = &ws.inputs[index][..2 * samples * n_in];
            products.weight(&ws.bar[..2 * length], inputs, w_bar, n_out, n_in);
            products.weight(bar_dot, &layer.h_dot[..rows * n_in], w_bar, n_out, n_in);
            if index == 0 {
                return;
            }
            let weight = &params[weight];
            let below = &mut ws.bar_below[..samples * n_in];
            products.input(weight, &ws.bar[..length], below, n_out, n_in);
            let below = &mut self.bar_dot_below[..rows * n_in];
            products.input(weight, bar_dot, below, n_out, n_in);
            std::mem::swap(&mut ws.bar, &mut ws.bar_below);
            std::mem::swap(&mut self.bar_dot, &mut self.bar_dot_below);
        }
    }
}
