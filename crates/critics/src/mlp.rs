//! Multi-layer perceptrons: the one face for all backends.
//!
//! z₁ = W₁x + b₁, h₁ = φ(z₁), …, out = W_L h_{L−1} + b_L. A batch is a slice, sample after sample.
//! All parameters stand in one vector W₁, b₁, W₂, b₂, … with W [out, in] row-major. Lengths are
//! checked here; the arithmetic is that of `mlp_kernels` or of candle.

use std::ops::Range;

use dynamics::Stream;
use serde::{Deserialize, Serialize};

#[cfg(feature = "candle")]
use crate::candle_tape::Tape;
use crate::error::{check_finite, check_length};
use crate::mlp_workspace::MlpWorkspace;
use crate::{Activation, Backend, CriticError, Real, backend, mlp_kernels};

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
    /// Most parameters of a network: a slip of the finger, or a damaged file, must not take the
    /// machine's whole memory.
    pub const MAX_PARAMS: usize = 100_000_000;

    /// Checks that there are an input and an output, that no layer is empty, and that there are no
    /// more than [`MlpSpec::MAX_PARAMS`] parameters.
    ///
    /// # Errors
    ///
    /// [`CriticError::LayerSizes`] or [`CriticError::TooLarge`] otherwise.
    pub fn validate(&self) -> Result<(), CriticError> {
        if self.sizes.len() < 2 || self.sizes.contains(&0) {
            return Err(CriticError::LayerSizes { sizes: self.sizes.clone() });
        }
        let layer = |pair: &[usize]| pair[0].checked_add(1)?.checked_mul(pair[1]);
        let sum = |sum: usize, pair| sum.checked_add(layer(pair)?);
        let n_params = self.sizes.windows(2).try_fold(0, sum);
        if n_params.is_none_or(|n| n > Self::MAX_PARAMS) {
            let (sizes, limit) = (self.sizes.clone(), Self::MAX_PARAMS);
            return Err(CriticError::TooLarge { sizes, limit });
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
    /// Weights uniform within ±√(6/fan_in), the variance of He et al. for ReLU; biases 0.
    Kaiming,
}

/// A perceptron: its specification, its parameters, and the [`Backend`] that computes it.
///
/// Shapes, layouts and results do not depend on the backend, results to rounding. A new network runs
/// on the backend of the process ([`set_backend`](crate::set_backend)), at first our own kernels.
///
/// The network is immutable during evaluation; everything an evaluation leaves behind is in a
/// [`MlpWorkspace`], one per thread and per set of activations that must be kept. The derivative
/// methods read the workspace of the last [`Mlp::forward`] and need unchanged parameters.
///
/// Lengths that do not fit the network are programming errors and panic, as do workspaces of
/// another shape and derivatives before `forward`. So does a device that fails during a computation,
/// for instance for want of memory: the message names operation and device.
#[derive(Debug, Clone)]
pub struct Mlp<T: Real> {
    spec: MlpSpec,
    params: Vec<T>,
    backend: Backend,
}

/// Two networks are equal when specification and parameters are, whatever computes them.
impl<T: Real> PartialEq for Mlp<T> {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec && self.params == other.params
    }
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
        Ok(Self { spec, params, backend: backend().clone() })
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
                    Initialization::Kaiming => draw(weights, (6.0 / fan_in).sqrt()),
                    Initialization::Pytorch => {
                        draw(weights, fan_in.sqrt().recip());
                        draw(&mut params[bias..bias + head], fan_in.sqrt().recip());
                    }
                }
                weight += head * n_in;
                bias += head;
            }
        }
        Ok(Self { spec, params, backend: backend().clone() })
    }

    /// The same network on another backend.
    ///
    /// Derivatives of an evaluation are computed where it was made; the change counts from the next
    /// [`Mlp::forward`] on.
    #[must_use]
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// What computes the network.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
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
        match &self.backend {
            Backend::Native => mlp_kernels::forward(self, x, ws),
            #[cfg(feature = "candle")]
            Backend::Candle(device) => {
                let out = &mut ws.out[..batch * self.spec.n_out()];
                ws.tape = Some(Tape::record(self, device, x, out));
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

    /// [`Mlp::input_gradient`] of the samples `rows` of the batch alone; `gx` is 0 for all others.
    ///
    /// `seed` is `rows.len()` × `n_out`, `gx` batch × `n_in`. The work is that of a batch of
    /// `rows.len()`: what a minimum over several networks needs, where each sample concerns one.
    ///
    /// # Panics
    ///
    /// When a length does not fit, a row is not in the batch of the last `forward`, or there are more
    /// rows than samples.
    pub fn input_gradient_of_rows(
        &self,
        seed: &[T],
        rows: &[usize],
        ws: &mut MlpWorkspace<T>,
        gx: &mut [T],
    ) {
        let (batch, n_out) = (ws.check(&self.spec), self.spec.n_out());
        assert_eq!(seed.len(), rows.len() * n_out, "one seed per number of the rows' outputs");
        assert_eq!(gx.len(), batch * self.spec.n_in(), "one gradient per number of the input");
        assert!(rows.len() <= batch, "{} rows of a batch of {batch}", rows.len());
        #[cfg(feature = "candle")]
        if let Some(tape) = &ws.tape {
            let mut seeds = vec![T::ZERO; batch * n_out];
            for (seed, &row) in seed.chunks_exact(n_out).zip(rows) {
                seeds[row * n_out..][..n_out].copy_from_slice(seed);
            }
            return tape.input_gradient(&seeds, gx);
        }
        mlp_kernels::input_gradient_of_rows(self, seed, rows, ws, gx);
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
        let n_tangents = batch * self.spec.n_out();
        #[cfg(feature = "candle")]
        if let Some(tape) = &mut ws.tape {
            tape.tangent(v, &mut ws.out_tangent[..n_tangents]);
            ws.has_tangent = true;
            return &ws.out_tangent[..n_tangents];
        }
        mlp_kernels::tangent(self, v, ws);
        ws.has_tangent = true;
        &ws.out_tangent[..n_tangents]
    }

    /// `grads` += ∂/∂θ Σ [seed·out + tangent_seed·(∂out/∂x v)] over the batch, v held constant;
    /// after [`Mlp::forward`] and [`Mlp::tangent`].
    ///
    /// Both seeds are batch × `n_out`. A loss ℓ of the input gradient g = ∇ₓout of a single output is
    /// trained with v = ∂ℓ/∂g and `tangent_seed` = 1, since dℓ = v·dg and v·g = (∂out/∂x) v. One
    /// reverse pass serves both sums, and it is a quarter cheaper where [`Mlp::input_gradient`] with
    /// the same `tangent_seed` has come before.
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

    /// Checks the lengths for all reverse derivatives and computes them where the evaluation was made.
    fn reverse(
        &self,
        seed: &[T],
        tangent_seed: Option<&[T]>,
        ws: &mut MlpWorkspace<T>,
        grads: Option<&mut [T]>,
        gx: Option<&mut [T]>,
    ) {
        let batch = ws.check(&self.spec);
        assert_eq!(seed.len(), batch * self.spec.n_out(), "one seed per number of the last output");
        if let Some(tangent_seed) = tangent_seed {
            assert_eq!(tangent_seed.len(), seed.len(), "both seeds have the shape of the output");
        }
        if let Some(grads) = &grads {
            assert_eq!(grads.len(), self.params.len(), "one gradient per parameter");
        }
        if let Some(gx) = &gx {
            assert_eq!(gx.len(), batch * self.spec.n_in(), "one gradient per number of the input");
        }
        #[cfg(feature = "candle")]
        if let Some(tape) = &ws.tape {
            if let Some(grads) = grads {
                tape.add_gradients(seed, tangent_seed, grads);
            }
            if let Some(gx) = gx {
                tape.input_gradient(seed, gx);
            }
            return;
        }
        mlp_kernels::reverse(self, seed, tangent_seed, ws, grads, gx);
    }
}
