//! Multi-layer perceptrons with hand-written derivatives.
//!
//! z₁ = W₁x + b₁, h₁ = φ(z₁), …, out = W_L h_{L−1} + b_L. A batch is a slice, sample after sample.
//! All parameters stand in one vector W₁, b₁, W₂, b₂, … with W [out, in] row-major.

use std::ops::Range;

use dynamics::Stream;
use serde::{Deserialize, Serialize};

use crate::activation::add_bias;
use crate::error::{check_finite, check_length};
use crate::mlp_workspace::MlpWorkspace;
use crate::{Activation, CriticError, Products, Real};

/// Sizes and activation of a perceptron; the output layer is linear.
///
/// Read from a file, a specification is checked by [`MlpSpec::validate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedSpec")]
pub struct MlpSpec {
    /// Number of inputs, sizes of the hidden layers, number of outputs.
    pub sizes: Vec<usize>,
    /// Non-linearity of the hidden layers.
    pub hidden: Activation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedSpec {
    sizes: Vec<usize>,
    hidden: Activation,
}

impl TryFrom<UncheckedSpec> for MlpSpec {
    type Error = CriticError;

    fn try_from(UncheckedSpec { sizes, hidden }: UncheckedSpec) -> Result<Self, CriticError> {
        let spec = Self { sizes, hidden };
        spec.validate()?;
        Ok(spec)
    }
}

impl MlpSpec {
    /// Checks that there are an input and an output and that no layer is empty.
    ///
    /// # Errors
    ///
    /// [`CriticError::LayerSizes`] otherwise.
    pub fn validate(&self) -> Result<(), CriticError> {
        if self.sizes.len() < 2 || self.sizes.contains(&0) {
            return Err(CriticError::LayerSizes { sizes: self.sizes.clone() });
        }
        Ok(())
    }

    /// Number of inputs.
    #[must_use]
    pub fn n_in(&self) -> usize {
        self.sizes.first().copied().unwrap_or(0)
    }

    /// Number of outputs.
    #[must_use]
    pub fn n_out(&self) -> usize {
        self.sizes.last().copied().unwrap_or(0)
    }

    /// Number of linear layers, one more than hidden layers.
    #[must_use]
    pub fn n_layers(&self) -> usize {
        self.sizes.len().saturating_sub(1)
    }

    /// Number of parameters of all layers.
    #[must_use]
    pub fn n_params(&self) -> usize {
        self.offset(self.n_layers())
    }

    /// Where the weights of a layer (0 is next to the input) stand in the flat vector: [out, in]
    /// row-major.
    ///
    /// # Panics
    ///
    /// When there is no such layer.
    #[must_use]
    pub fn weight(&self, layer: usize) -> Range<usize> {
        let start = self.offset(layer);
        start..start + self.sizes[layer + 1] * self.sizes[layer]
    }

    /// Where the biases of a layer stand in the flat vector.
    ///
    /// # Panics
    ///
    /// When there is no such layer.
    #[must_use]
    pub fn bias(&self, layer: usize) -> Range<usize> {
        let start = self.weight(layer).end;
        start..start + self.sizes[layer + 1]
    }

    /// Number of parameters before a layer.
    fn offset(&self, layer: usize) -> usize {
        self.sizes.windows(2).take(layer).map(|pair| (pair[0] + 1) * pair[1]).sum()
    }
}

/// How [`Mlp::random`] draws weights and biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// Weights uniform within ±√(6/(fan_in + fan_out)), Glorot with gain 1; biases 0.
    Xavier,
    /// Weights and biases uniform within ±1/√fan_in, the default of PyTorch's linear layer.
    Pytorch,
}

/// A perceptron: its specification and its parameters.
///
/// The network is immutable during evaluation; everything an evaluation leaves behind is in a
/// [`MlpWorkspace`], one per thread and per set of activations that must be kept. The derivative
/// methods read the workspace of the last [`Mlp::forward`] and need unchanged parameters.
///
/// Lengths that do not fit the network are programming errors and panic, as do workspaces of
/// another shape and derivatives before `forward`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp<T: Real> {
    spec: MlpSpec,
    params: Vec<T>,
}

impl<T: Real> Mlp<T> {
    /// A network with given parameters in the flat layout.
    ///
    /// # Errors
    ///
    /// [`CriticError::LayerSizes`] for a bad specification, [`CriticError::Shape`] for a vector of
    /// the wrong length, [`CriticError::NotFinite`] for a parameter that is not finite.
    pub fn new(spec: MlpSpec, params: Vec<T>) -> Result<Self, CriticError> {
        spec.validate()?;
        check_length("`params`", params.len(), spec.n_params())?;
        check_finite("`params`", &params)?;
        Ok(Self { spec, params })
    }

    /// [`Mlp::random`] with [`Initialization::Xavier`].
    ///
    /// # Errors
    ///
    /// As [`Mlp::random`].
    pub fn xavier(
        spec: MlpSpec,
        heads: &[usize],
        stream: &mut Stream,
    ) -> Result<Self, CriticError> {
        Self::random(spec, Initialization::Xavier, heads, stream)
    }

    /// A network with random weights, and biases as `initialization` says.
    ///
    /// Numbers are drawn layer by layer, the weights in row-major order before the biases. `heads`
    /// lists the sizes of output heads that count as layers of their own (such as mean and
    /// log-deviation of a policy), each with its own fan_out; an empty slice means
    /// a single head.
    ///
    /// # Errors
    ///
    /// [`CriticError::LayerSizes`] for a bad specification, [`CriticError::Heads`] when the heads do
    /// not add up to the output or one is empty.
    pub fn random(
        spec: MlpSpec,
        initialization: Initialization,
        heads: &[usize],
        stream: &mut Stream,
    ) -> Result<Self, CriticError> {
        spec.validate()?;
        let n_out = spec.n_out();
        let sum = heads.iter().sum();
        if !heads.is_empty() && (sum != n_out || heads.contains(&0)) {
            return Err(CriticError::Heads { heads: heads.to_vec(), sum, n_out });
        }
        let mut params = vec![T::ZERO; spec.n_params()];
        let last = spec.n_layers() - 1;
        for layer in 0..spec.n_layers() {
            let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
            let whole = [n_out];
            let heads = if layer == last && !heads.is_empty() { heads } else { &whole };
            let mut draw = |params: &mut [T], bound: f64| {
                params.iter_mut().for_each(|p| *p = T::from_f64(stream.uniform(-bound, bound)));
            };
            let (mut weight, mut bias) = (spec.weight(layer).start, spec.bias(layer).start);
            for &head in heads {
                #[expect(clippy::cast_precision_loss, reason = "layer sizes are small")]
                let (fan_in, fan_out) = (n_in as f64, head as f64);
                let weights = &mut params[weight..weight + head * n_in];
                match initialization {
                    Initialization::Xavier => draw(weights, (6.0 / (fan_in + fan_out)).sqrt()),
                    Initialization::Pytorch => {
                        draw(weights, fan_in.sqrt().recip());
                        draw(&mut params[bias..bias + head], fan_in.sqrt().recip());
                    }
                }
                weight += head * n_in;
                bias += head;
            }
        }
        Ok(Self { spec, params })
    }

    /// Sizes and activation.
    #[must_use]
    pub fn spec(&self) -> &MlpSpec {
        &self.spec
    }

    /// All parameters in the flat layout.
    #[must_use]
    pub fn params(&self) -> &[T] {
        &self.params
    }

    /// All parameters in the flat layout, to be changed by an optimiser.
    pub fn params_mut(&mut self) -> &mut [T] {
        &mut self.params
    }

    /// Scratch for batches of up to `max_batch` samples; a larger batch makes it grow.
    #[must_use]
    pub fn workspace(&self, max_batch: usize) -> MlpWorkspace<T> {
        MlpWorkspace::new(&self.spec, max_batch)
    }

    /// The outputs (batch × `n_out`) for the inputs `x` (batch × `n_in`).
    ///
    /// Inputs and activations stay in the workspace for the derivatives.
    ///
    /// # Panics
    ///
    /// When `x` is not a whole number of samples or the workspace belongs to another shape.
    pub fn forward<'w>(&self, x: &[T], ws: &'w mut MlpWorkspace<T>) -> &'w [T] {
        let n_in = self.spec.n_in();
        assert_eq!(x.len() % n_in, 0, "{} numbers are no whole samples of {n_in}", x.len());
        let batch = x.len() / n_in;
        ws.begin(&self.spec, batch);
        ws.inputs[0][..x.len()].copy_from_slice(x);
        let last = self.spec.n_layers() - 1;
        for layer in 0..=last {
            let (n_in, n_out) = (self.spec.sizes[layer], self.spec.sizes[layer + 1]);
            let bias = &self.params[self.spec.bias(layer)];
            let (below, above) = ws.inputs.split_at_mut(layer + 1);
            let h = &below[layer][..batch * n_in];
            let z = match above.first_mut() {
                Some(z) => &mut z[..batch * n_out],
                None => &mut ws.out[..batch * n_out],
            };
            // Z = W H
            Products::current().forward(&self.params[self.spec.weight(layer)], h, z, n_out, n_in);
            if layer < last {
                self.spec.hidden.apply(
                    bias,
                    z,
                    ws.gates[layer].get_mut(..z.len()).unwrap_or(&mut []),
                );
            } else {
                add_bias(bias, z);
            }
        }
        ws.out()
    }

    /// `gx` = (∂out/∂x)ᵀ `seed` for every sample, after [`Mlp::forward`].
    ///
    /// `seed` is batch × `n_out`, `gx` batch × `n_in` and overwritten. No parameter gradients are
    /// computed.
    ///
    /// # Panics
    ///
    /// When a length does not fit the batch of the last `forward`.
    pub fn input_gradient(&self, seed: &[T], ws: &mut MlpWorkspace<T>, gx: &mut [T]) {
        self.reverse(seed, None, ws, None, Some(gx));
    }

    /// `grads` += Σ ∂(seed·out)/∂θ over the batch, after [`Mlp::forward`]; also the input gradient
    /// of [`Mlp::input_gradient`] where `gx` is given.
    ///
    /// `seed` is batch × `n_out`; `grads` has the layout of the parameters and is added to.
    ///
    /// # Panics
    ///
    /// When a length does not fit the network or the batch of the last `forward`.
    pub fn backward(
        &self,
        seed: &[T],
        ws: &mut MlpWorkspace<T>,
        grads: &mut [T],
        gx: Option<&mut [T]>,
    ) {
        self.reverse(seed, None, ws, Some(grads), gx);
    }

    /// The directional derivatives (∂out/∂x) v of every sample (batch × `n_out`), after
    /// [`Mlp::forward`].
    ///
    /// `v` is batch × `n_in`. Intermediate tangents stay in the workspace for
    /// [`Mlp::sobolev_backward`].
    ///
    /// # Panics
    ///
    /// When `v` does not fit the batch of the last `forward`.
    pub fn tangent<'w>(&self, v: &[T], ws: &'w mut MlpWorkspace<T>) -> &'w [T] {
        let batch = ws.check(&self.spec);
        assert_eq!(v.len(), batch * self.spec.n_in(), "one tangent per number of the last input");
        ws.inputs[0][v.len()..2 * v.len()].copy_from_slice(v);
        let last = self.spec.n_layers() - 1;
        for layer in 0..=last {
            let (n_in, n_out) = (self.spec.sizes[layer], self.spec.sizes[layer + 1]);
            let weight = &self.params[self.spec.weight(layer)];
            let (below, above) = ws.inputs.split_at_mut(layer + 1);
            let h_dot = &below[layer][batch * n_in..2 * batch * n_in];
            if let Some(above) = above.first_mut() {
                // ż = W ḣ, then ḣ = φ′ ż
                let z_dot = &mut ws.z_dots[layer][..batch * n_out];
                Products::current().forward(weight, h_dot, z_dot, n_out, n_in);
                let (h, rest) = above.split_at_mut(batch * n_out);
                let gate = ws.gates[layer].get(..h.len()).unwrap_or(&[]);
                self.spec.hidden.push_forward(h, gate, z_dot, &mut rest[..batch * n_out]);
            } else {
                let out = &mut ws.out_tangent[..batch * n_out];
                Products::current().forward(weight, h_dot, out, n_out, n_in);
            }
        }
        ws.has_tangent = true;
        &ws.out_tangent[..batch * self.spec.n_out()]
    }

    /// `grads` += ∂/∂θ Σ [seed·out + tangent_seed·(∂out/∂x v)] over the batch, v held constant;
    /// after [`Mlp::forward`] and [`Mlp::tangent`].
    ///
    /// Both seeds are batch × `n_out`. A loss ℓ of the input gradient g = ∇ₓout of a single output is
    /// trained with v = ∂ℓ/∂g and `tangent_seed` = 1, since dℓ = v·dg and v·g = (∂out/∂x) v. One
    /// reverse pass serves both sums.
    ///
    /// # Panics
    ///
    /// When a length does not fit, or `tangent` has not followed the last `forward`.
    pub fn sobolev_backward(
        &self,
        seed: &[T],
        tangent_seed: &[T],
        ws: &mut MlpWorkspace<T>,
        grads: &mut [T],
    ) {
        assert!(ws.has_tangent, "`tangent` must come between `forward` and `sobolev_backward`");
        self.reverse(seed, Some(tangent_seed), ws, Some(grads), None);
    }

    /// The reverse pass behind all derivative methods.
    ///
    /// With a `tangent_seed` the sensitivities to tangents stand behind those to values, as ḣ stands
    /// behind h in the workspace: every product then simply has twice the batch.
    fn reverse(
        &self,
        seed: &[T],
        tangent_seed: Option<&[T]>,
        ws: &mut MlpWorkspace<T>,
        mut grads: Option<&mut [T]>,
        gx: Option<&mut [T]>,
    ) {
        let batch = ws.check(&self.spec);
        let n_out = self.spec.n_out();
        assert_eq!(seed.len(), batch * n_out, "one seed per number of the last output");
        if let Some(grads) = &grads {
            assert_eq!(grads.len(), self.params.len(), "one gradient per parameter");
        }
        if let Some(gx) = &gx {
            assert_eq!(gx.len(), batch * self.spec.n_in(), "one gradient per number of the input");
        }
        ws.bar[..seed.len()].copy_from_slice(seed);
        let mut columns = batch;
        if let Some(tangent_seed) = tangent_seed {
            assert_eq!(tangent_seed.len(), seed.len(), "both seeds have the shape of the output");
            ws.bar[seed.len()..2 * seed.len()].copy_from_slice(tangent_seed);
            columns = 2 * batch;
        }
        for layer in (0..self.spec.n_layers()).rev() {
            let (n_in, n_out) = (self.spec.sizes[layer], self.spec.sizes[layer + 1]);
            let weight = self.spec.weight(layer);
            let z_bar = &ws.bar[..columns * n_out];
            if let Some(grads) = grads.as_deref_mut() {
                // W̄ += z̄ hᵀ + ż̄ ḣᵀ in one product
                let h = &ws.inputs[layer][..columns * n_in];
                Products::current().weight(z_bar, h, &mut grads[weight.clone()], n_out, n_in);
                let bias = &mut grads[self.spec.bias(layer)];
                for row in z_bar[..batch * n_out].chunks_exact(n_out) {
                    for (sum, bar) in bias.iter_mut().zip(row) {
                        *sum += *bar;
                    }
                }
            }
            if layer == 0 {
                if let Some(gx) = gx {
                    Products::current().input(&self.params[weight], z_bar, gx, n_out, n_in);
                }
                return;
            }
            let h_bar = &mut ws.bar_below[..columns * n_in];
            Products::current().input(&self.params[weight], z_bar, h_bar, n_out, n_in);
            let h = &ws.inputs[layer][..batch * n_in];
            let gate = ws.gates[layer - 1].get(..h.len()).unwrap_or(&[]);
            if tangent_seed.is_some() {
                let z_dot = &ws.z_dots[layer - 1][..h.len()];
                let (bar, bar_dot) = h_bar.split_at_mut(h.len());
                self.spec.hidden.pull_back_twice(h, gate, z_dot, bar, bar_dot);
            } else {
                self.spec.hidden.pull_back(h, gate, h_bar);
            }
            std::mem::swap(&mut ws.bar, &mut ws.bar_below);
        }
    }
}
