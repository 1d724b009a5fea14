//! Jacobians and exact second derivatives by the inputs.
//!
//! With z_l = W_l h_{l−1} + b_l, h_l = φ(z_l), J_l = ∂z_l/∂x and h̄_l = ∂(seed·out)/∂h_l, the second
//! derivative of seed·out is Σ_l J_lᵀ diag(φ″(z_l) ⊙ h̄_l) J_l over the hidden layers. So one reverse
//! pass and `n_in` tangents give the whole matrix, and no direction needs a reverse pass of its own.
//!
//! Tangents are stored direction after direction, so J_lᵀ (`n_in` × width) of a sample is a batch of
//! `n_in` rows to the matrix products.

use std::ops::Range;

use dynamics::HessianKind;

use crate::{Mlp, MlpSpec, MlpWorkspace, Products, Real};

/// Tangents that are propagated together: enough for the matrix products to run at full speed.
const TANGENTS: usize = 256;

/// What [`Mlp::jacobian`], [`Mlp::hessian`] and [`Mlp::squared_residual`] need beside the
/// [`MlpWorkspace`].
///
/// Made by [`Mlp::hessian_workspace`]. Samples are worked off in groups of about 256 tangents, so the
/// size does not grow with the batch once a group is full; nothing is allocated afterwards unless a
/// larger batch comes first.
#[derive(Debug, Clone)]
pub struct HessianWorkspace<T: Real> {
    /// Sizes of the network this belongs to.
    sizes: Vec<usize>,
    /// Samples that fit.
    capacity: usize,
    /// J₁ᵀ = W₁ᵀ, the same for every sample.
    first: Vec<T>,
    /// The weights of J_lᵀ diag(·) J_l for every layer, samples × width.
    curvatures: Vec<Vec<T>>,
    /// Sensitivities to the layer at hand and to the one below.
    bar: Vec<T>,
    bar_below: Vec<T>,
    /// Unit tangents.
    ones: Vec<T>,
    /// J_lᵀ of the layer at hand, samples × `n_in` × width; sensitivities of outputs for
    /// [`Mlp::jacobian`].
    pub(crate) z_dot: Vec<T>,
    /// ∂h_l/∂x in the same layout.
    pub(crate) h_dot: Vec<T>,
    /// Contribution of one layer to the matrix of one sample.
    part: Vec<T>,
}

impl<T: Real> HessianWorkspace<T> {
    fn new(spec: &MlpSpec, max_batch: usize) -> Self {
        let mut scratch = Self {
            sizes: spec.sizes.clone(),
            capacity: 0,
            first: vec![T::ZERO; spec.n_in() * spec.sizes[1]],
            curvatures: vec![Vec::new(); spec.n_layers()],
            bar: Vec::new(),
            bar_below: Vec::new(),
            ones: Vec::new(),
            z_dot: Vec::new(),
            h_dot: Vec::new(),
            part: vec![T::ZERO; spec.n_in() * spec.n_in()],
        };
        scratch.reserve(max_batch);
        scratch
    }

    /// Makes room for a batch, and returns the samples of a group.
    fn reserve(&mut self, batch: usize) -> usize {
        let n_in = self.sizes[0];
        let group = (TANGENTS / n_in).max(1);
        let samples = batch.min(group);
        if samples > self.capacity {
            self.capacity = samples;
            let widest = self.sizes.iter().copied().max().unwrap_or(0);
            for (curvature, width) in self.curvatures.iter_mut().zip(&self.sizes[1..]) {
                curvature.resize(samples * width, T::ZERO);
            }
            for buffer in [&mut self.bar, &mut self.bar_below] {
                buffer.resize(samples * widest, T::ZERO);
            }
            self.ones.resize(samples * widest, T::ONE);
            for buffer in [&mut self.z_dot, &mut self.h_dot] {
                buffer.resize(samples * n_in * widest, T::ZERO);
            }
        }
        group
    }
}

/// Buffers for V(x) = |r(x)|² and its derivatives, filled by [`Mlp::squared_residual`].
///
/// All are overwritten, sample after sample.
#[derive(Debug)]
pub struct SquaredResidual<'a, T> {
    /// V = rᵀr, batch.
    pub v: &'a mut [T],
    /// Vx = 2 Jᵀr, batch × `n_in`.
    pub vx: &'a mut [T],
    /// Vxx = 2 JᵀJ + 2 Σ r_k ∇²r_k, or 2 JᵀJ alone; batch × `n_in` × `n_in`, exactly symmetric.
    pub vxx: &'a mut [T],
    /// J = ∂r/∂x, batch × `n_out` × `n_in`, row-major.
    pub jacobian: &'a mut [T],
}

impl<T: Real> Mlp<T> {
    /// Scratch for Jacobians and Hessians of batches of up to `max_batch` samples; a larger batch may
    /// make it grow.
    #[must_use]
    pub fn hessian_workspace(&self, max_batch: usize) -> HessianWorkspace<T> {
        HessianWorkspace::new(self.spec(), max_batch)
    }

    /// `hv` = Σ_k `seed`_k (∂²out_k/∂x²) `v` for every sample, after [`Mlp::forward`].
    ///
    /// `seed` is batch × `n_out`; `v` and `hv` are batch × `n_in`, `hv` is overwritten. Costs one
    /// tangent and one reverse pass of twice the batch. The tangents of `v` stay in the workspace, as
    /// after [`Mlp::tangent`].
    ///
    /// # Panics
    ///
    /// When a length does not fit the batch of the last `forward`.
    pub fn hessian_vector(&self, seed: &[T], v: &[T], ws: &mut MlpWorkspace<T>, hv: &mut [T]) {
        let spec = self.spec();
        let batch = ws.check(spec);
        assert_eq!(seed.len(), batch * spec.n_out(), "one seed per number of the last output");
        assert_eq!(hv.len(), batch * spec.n_in(), "one result per number of the input");
        self.tangent(v, ws);
        #[cfg(feature = "candle")]
        if let Some(tape) = &ws.tape {
            tape.hessian_vector(seed, v, hv);
            return;
        }
        // Hv is the input gradient of seed·(∂out/∂x v), which depends on tangents alone: the
        // sensitivities to values start at 0, those to tangents behind them at `seed`.
        ws.bar[..seed.len()].fill(T::ZERO);
        ws.bar[seed.len()..2 * seed.len()].copy_from_slice(seed);
        for layer in (1..spec.n_layers()).rev() {
            let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
            let weight = &self.params()[spec.weight(layer)];
            let z_bar = &ws.bar[..2 * batch * n_out];
            let h_bar = &mut ws.bar_below[..2 * batch * n_in];
            Products::current().input(weight, z_bar, h_bar, n_out, n_in);
            let (bar, bar_dot) = h_bar.split_at_mut(batch * n_in);
            let h = &ws.inputs[layer][..bar.len()];
            let gate = ws.gates[layer - 1].get(..bar.len()).unwrap_or(&[]);
            let z_dot = &ws.z_dots[layer - 1][..bar.len()];
            spec.hidden.pull_back_twice(h, gate, z_dot, bar, bar_dot);
            std::mem::swap(&mut ws.bar, &mut ws.bar_below);
        }
        let (n_in, n_out) = (spec.n_in(), spec.sizes[1]);
        let z_bar = &ws.bar[..batch * n_out];
        Products::current().input(&self.params()[spec.weight(0)], z_bar, hv, n_out, n_in);
    }

    /// `h` = Σ_k `seed`_k ∂²out_k/∂x² for every sample, after [`Mlp::forward`].
    ///
    /// `seed` is batch × `n_out`; `h` is batch × `n_in` × `n_in`, overwritten and exactly symmetric.
    /// Costs about `n_in` tangents and one reverse pass. Where φ″ is 0 by declaration, as for
    /// [`Activation::Relu`](crate::Activation::Relu), `h` is 0.
    ///
    /// ```
    /// use critics::{Activation, Mlp, MlpSpec};
    /// use dynamics::Stream;
    ///
    /// let spec = MlpSpec { sizes: vec![3, 32, 32, 1], hidden: Activation::Silu };
    /// let net = Mlp::<f64>::xavier(spec, &[], &mut Stream::new(1, "weights", 0))?;
    /// let (mut ws, mut scratch) = (net.workspace(1), net.hessian_workspace(1));
    /// let (mut vx, mut vxx) = ([0.0; 3], [0.0; 9]);
    /// let v = net.forward(&[0.1, -0.2, 0.3], &mut ws)[0];
    /// net.input_gradient(&[1.0], &mut ws, &mut vx);
    /// net.hessian(&[1.0], &ws, &mut scratch, &mut vxx);
    /// assert_eq!(vxx[1], vxx[3]);
    /// # assert!(v.is_finite());
    /// # Ok::<(), critics::CriticError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When a length does not fit the batch of the last `forward`, or the scratch belongs to another
    /// shape.
    pub fn hessian(
        &self,
        seed: &[T],
        ws: &MlpWorkspace<T>,
        scratch: &mut HessianWorkspace<T>,
        h: &mut [T],
    ) {
        let spec = self.spec();
        let (batch, group) = self.begin(ws, scratch);
        let (n_in, n_out) = (spec.n_in(), spec.n_out());
        assert_eq!(seed.len(), batch * n_out, "one seed per number of the last output");
        assert_eq!(h.len(), batch * n_in * n_in, "one matrix per sample of the last input");
        #[cfg(feature = "candle")]
        if let Some(tape) = &ws.tape {
            tape.hessian(seed, h);
            return;
        }
        let curved = if spec.hidden.is_curved() { 0..spec.n_layers() - 1 } else { 0..0 };
        if curved.is_empty() {
            h.fill(T::ZERO);
            return;
        }
        for samples in groups(batch, group) {
            let seed = &seed[part(&samples, n_out)];
            scratch.bar[..seed.len()].copy_from_slice(seed);
            self.curvatures(ws, scratch, &samples, None);
            let h = &mut h[part(&samples, n_in * n_in)];
            self.tangents(ws, scratch, &samples, curved.clone(), h);
        }
    }

    /// V = |r|² of the outputs r, its first two derivatives and the Jacobian of r, for every sample,
    /// after [`Mlp::forward`].
    ///
    /// `Exact` gives Vxx = 2 JᵀJ + 2 Σ r_k ∇²r_k; `GaussNewton` leaves the second sum out, which makes
    /// Vxx positive semidefinite. Costs about `n_in` tangents and one reverse pass.
    ///
    /// # Panics
    ///
    /// When a length does not fit the batch of the last `forward`, or the scratch belongs to another
    /// shape.
    pub fn squared_residual(
        &self,
        kind: HessianKind,
        ws: &MlpWorkspace<T>,
        scratch: &mut HessianWorkspace<T>,
        result: SquaredResidual<'_, T>,
    ) {
        let spec = self.spec();
        let (batch, group) = self.begin(ws, scratch);
        let (n_in, n_out, last) = (spec.n_in(), spec.n_out(), spec.n_layers() - 1);
        let SquaredResidual { v, vx, vxx, jacobian } = result;
        assert_eq!(v.len(), batch, "one value per sample of the last input");
        assert_eq!(vx.len(), batch * n_in, "one gradient per sample of the last input");
        assert_eq!(vxx.len(), batch * n_in * n_in, "one matrix per sample of the last input");
        assert_eq!(jacobian.len(), batch * n_out * n_in, "one Jacobian per sample");
        let exact = kind == HessianKind::Exact && spec.hidden.is_curved();
        let curved = if exact { 0..last + 1 } else { last..last + 1 };
        let two = T::ONE + T::ONE;
        for (v, r) in v.iter_mut().zip(ws.out().chunks_exact(n_out)) {
            *v = r.iter().map(|r| *r * *r).sum();
        }
        #[cfg(feature = "candle")]
        if let Some(tape) = &ws.tape {
            tape.squared_residual(exact, ws.out(), SquaredResidual { v, vx, vxx, jacobian });
            return;
        }
        for samples in groups(batch, group) {
            // |r|² curves the outputs by 2 and has the sensitivities 2r to them.
            let r = &ws.out()[part(&samples, n_out)];
            scratch.curvatures[last][..r.len()].fill(two);
            for (bar, r) in scratch.bar.iter_mut().zip(r) {
                *bar = two * *r;
            }
            self.curvatures(ws, scratch, &samples, Some(&mut vx[part(&samples, n_in)]));
            let vxx = &mut vxx[part(&samples, n_in * n_in)];
            self.tangents(ws, scratch, &samples, curved.clone(), vxx);
            self.store_jacobian(scratch, &mut jacobian[part(&samples, n_out * n_in)]);
        }
    }

    /// Gradient and exact Hessian of Σ_k f_k(out_k) for every sample, after [`Mlp::forward`], from
    /// `slope` = f′ and `curvature` = f″ (batch × `n_out`).
    pub(crate) fn composed(
        &self,
        slope: &[T],
        curvature: &[T],
        ws: &MlpWorkspace<T>,
        scratch: &mut HessianWorkspace<T>,
        gx: &mut [T],
        h: &mut [T],
    ) {
        let spec = self.spec();
        let (batch, group) = self.begin(ws, scratch);
        let (n_in, n_out, last) = (spec.n_in(), spec.n_out(), spec.n_layers() - 1);
        let curved = if spec.hidden.is_curved() { 0..last + 1 } else { last..last + 1 };
        for samples in groups(batch, group) {
            let slope = &slope[part(&samples, n_out)];
            scratch.bar[..slope.len()].copy_from_slice(slope);
            let outputs = &mut scratch.curvatures[last][..slope.len()];
            outputs.copy_from_slice(&curvature[part(&samples, n_out)]);
            self.curvatures(ws, scratch, &samples, Some(&mut gx[part(&samples, n_in)]));
            let h = &mut h[part(&samples, n_in * n_in)];
            self.tangents(ws, scratch, &samples, curved.clone(), h);
        }
    }

    /// Batch of the last forward pass and samples of a group.
    pub(crate) fn begin(
        &self,
        ws: &MlpWorkspace<T>,
        scratch: &mut HessianWorkspace<T>,
    ) -> (usize, usize) {
        let spec = self.spec();
        let batch = ws.check(spec);
        assert!(
            scratch.sizes == spec.sizes,
            "a Hessian workspace of sizes {:?} was given to a network of sizes {:?}",
            scratch.sizes,
            spec.sizes
        );
        let group = scratch.reserve(batch);
        // J₁ᵀ = W₁ᵀ; the parameters may have changed since the last call.
        let width = spec.sizes[1];
        let rows = self.params()[spec.weight(0)].chunks_exact(spec.n_in());
        for (unit, row) in rows.enumerate() {
            for (j, w) in scratch.first[unit..].iter_mut().step_by(width).zip(row) {
                *j = *w;
            }
        }
        (batch, group)
    }

    /// Reverse pass of a group from the sensitivities to the outputs in `scratch.bar`: φ″ ⊙ h̄ of every
    /// hidden layer, and the sensitivities to the inputs where they are asked for.
    fn curvatures(
        &self,
        ws: &MlpWorkspace<T>,
        scratch: &mut HessianWorkspace<T>,
        samples: &Range<usize>,
        gx: Option<&mut [T]>,
    ) {
        let spec = self.spec();
        for layer in (1..spec.n_layers()).rev() {
            let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
            let weight = &self.params()[spec.weight(layer)];
            let z_bar = &scratch.bar[..samples.len() * n_out];
            let h_bar = &mut scratch.bar_below[..samples.len() * n_in];
            Products::current().input(weight, z_bar, h_bar, n_out, n_in);
            let (h, gate) = activations(ws, layer - 1, part(samples, n_in));
            // In the direction ż = 1 the pass for both sensitivities gives φ″ h̄ beside φ′ h̄.
            let curvature = &mut scratch.curvatures[layer - 1][..h_bar.len()];
            curvature.fill(T::ZERO);
            spec.hidden.pull_back_twice(h, gate, &scratch.ones[..h.len()], curvature, h_bar);
            std::mem::swap(&mut scratch.bar, &mut scratch.bar_below);
        }
        if let Some(gx) = gx {
            let z_bar = &scratch.bar[..samples.len() * spec.sizes[1]];
            let weight = &self.params()[spec.weight(0)];
            Products::current().input(weight, z_bar, gx, spec.sizes[1], spec.n_in());
        }
    }

    /// Propagates all unit tangents of a group to the outputs, where they stay in `scratch.z_dot`, and
    /// sets `h` (samples × `n_in` × `n_in`) to Σ J_lᵀ diag(c_l) J_l over the layers `curved`.
    pub(crate) fn tangents(
        &self,
        ws: &MlpWorkspace<T>,
        scratch: &mut HessianWorkspace<T>,
        samples: &Range<usize>,
        curved: Range<usize>,
        h: &mut [T],
    ) {
        let spec = self.spec();
        let n_x = spec.n_in();
        h.fill(T::ZERO);
        for layer in 0..spec.n_layers() {
            let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
            let z_dot = &mut scratch.z_dot[..samples.len() * n_x * n_out];
            if layer == 0 {
                z_dot.chunks_exact_mut(n_x * n_out).for_each(|j| j.copy_from_slice(&scratch.first));
            } else {
                // J_lᵀ = (∂h_{l−1}/∂x)ᵀ Wᵀ
                let weight = &self.params()[spec.weight(layer)];
                let h_dot = &scratch.h_dot[..samples.len() * n_x * n_in];
                Products::current().forward(weight, h_dot, z_dot, n_out, n_in);
            }
            if curved.contains(&layer) {
                let curvature = scratch.curvatures[layer].chunks_exact(n_out);
                let jacobians = z_dot.chunks_exact(n_x * n_out);
                // `h_dot` is free until the activation, so it holds diag(c) J.
                let scaled = &mut scratch.h_dot[..n_x * n_out];
                for ((h, j), c) in h.chunks_exact_mut(n_x * n_x).zip(jacobians).zip(curvature) {
                    add_gram(j, c, scaled, &mut scratch.part, h);
                }
            }
            if layer + 1 < spec.n_layers() {
                let h_dot = scratch.h_dot.chunks_exact_mut(n_x * n_out);
                let tangents = z_dot.chunks_exact(n_x * n_out).zip(h_dot);
                for (sample, (z_dot, h_dot)) in samples.clone().zip(tangents) {
                    let (h, gate) = activations(ws, layer, part(&(sample..sample + 1), n_out));
                    for (z, h_dot) in z_dot.chunks_exact(n_out).zip(h_dot.chunks_exact_mut(n_out)) {
                        spec.hidden.push_forward(h, gate, z, h_dot);
                    }
                }
            }
        }
        h.chunks_exact_mut(n_x * n_x).for_each(|h| mirror(h, n_x));
    }

    /// `j` (samples × `n_out` × `n_in`) from the tangents of the outputs.
    pub(crate) fn store_jacobian(&self, scratch: &HessianWorkspace<T>, j: &mut [T]) {
        let (n_in, n_out) = (self.spec().n_in(), self.spec().n_out());
        let transposed = scratch.z_dot.chunks_exact(n_in * n_out);
        for (j, transposed) in j.chunks_exact_mut(n_in * n_out).zip(transposed) {
            for (k, row) in j.chunks_exact_mut(n_in).enumerate() {
                for (to, from) in row.iter_mut().zip(transposed[k..].iter().step_by(n_out)) {
                    *to = *from;
                }
            }
        }
    }
}

/// Consecutive samples that are worked off together.
pub(crate) fn groups(batch: usize, group: usize) -> impl Iterator<Item = Range<usize>> {
    (0..batch).step_by(group).map(move |start| start..(start + group).min(batch))
}

/// Where the numbers of these samples stand, `size` of them per sample.
pub(crate) fn part(samples: &Range<usize>, size: usize) -> Range<usize> {
    samples.start * size..samples.end * size
}

/// Outputs and gates of a hidden layer.
pub(crate) fn activations<T: Real>(
    ws: &MlpWorkspace<T>,
    hidden: usize,
    range: Range<usize>,
) -> (&[T], &[T]) {
    let gate = ws.gates[hidden].get(range.clone()).unwrap_or(&[]);
    (&ws.inputs[hidden + 1][range], gate)
}

/// `h` += J diag(c) Jᵀ with the rows of `j` as long as `c`; `scaled` and `part` are scratch of the
/// sizes of `j` and `h`.
pub(crate) fn add_gram<T: Real>(j: &[T], c: &[T], scaled: &mut [T], part: &mut [T], h: &mut [T]) {
    let (width, n) = (c.len(), j.len() / c.len());
    for (scaled, row) in scaled.chunks_exact_mut(width).zip(j.chunks_exact(width)) {
        for ((scaled, j), c) in scaled.iter_mut().zip(row).zip(c) {
            *scaled = *c * *j;
        }
    }
    Products::current().forward(j, scaled, part, n, width);
    for (h, part) in h.iter_mut().zip(part) {
        *h += *part;
    }
}

/// Copies the upper triangle to the lower: both are the same sums in another order of factors.
pub(crate) fn mirror<T: Copy>(h: &mut [T], n: usize) {
    for row in 1..n {
        for column in 0..row {
            h[row * n + column] = h[column * n + row];
        }
    }
}
