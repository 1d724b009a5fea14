//! The same perceptron on candle, for architectures and losses that have no kernel here.
//!
//! A gradient of candle's own gradient is silently wrong, since `backward` detaches. The input
//! gradient is therefore written as network arithmetic (transposed weights and activation
//! derivatives), and a single ordinary `backward` trains losses on values and on gradients.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var, WithDType};

use crate::{Activation, Backend, CriticError, Mlp, MlpSpec, Real};

/// The types that candle computes with, moved between slices and devices.
pub trait Transfer: Sized {
    /// The numbers of a slice, row-major, on a device.
    #[doc(hidden)]
    fn upload(values: &[Self], shape: &[usize], device: &Device) -> candle_core::Result<Tensor>;
    /// All numbers of a tensor, row-major.
    #[doc(hidden)]
    fn download(tensor: &Tensor) -> candle_core::Result<Vec<Self>>;
}

impl<T: WithDType> Transfer for T {
    fn upload(values: &[T], shape: &[usize], device: &Device) -> candle_core::Result<Tensor> {
        Tensor::from_slice(values, shape, device)
    }

    fn download(tensor: &Tensor) -> candle_core::Result<Vec<T>> {
        tensor.flatten_all()?.to_vec1()
    }
}

/// A perceptron whose weights ([out, in]) and biases are candle variables.
#[derive(Debug, Clone)]
pub struct CandleMlp {
    spec: MlpSpec,
    weights: Vec<Var>,
    biases: Vec<Var>,
}

/// Names what was attempted in an error of candle.
fn during(operation: &'static str) -> impl Fn(candle_core::Error) -> CriticError {
    move |source| CriticError::Candle { operation, source: Box::new(source) }
}

impl CandleMlp {
    /// Copies a network into variables of its own scalar type, on the device of its backend (the
    /// processor for [`Backend::Native`]).
    ///
    /// # Errors
    ///
    /// [`CriticError::Candle`] when a variable cannot be made.
    pub fn from_mlp<T: Real>(mlp: &Mlp<T>) -> Result<Self, CriticError> {
        let device = match mlp.backend() {
            Backend::Native => &Device::Cpu,
            Backend::Candle(device) => device,
        };
        Self::on(device, mlp).map_err(during("make variables of the parameters"))
    }

    /// Copies a network into variables on a device.
    pub(crate) fn on<T: Real>(device: &Device, mlp: &Mlp<T>) -> candle_core::Result<Self> {
        let spec = mlp.spec().clone();
        let var = |range: std::ops::Range<usize>, shape: &[usize]| {
            Var::from_tensor(&T::upload(&mlp.params()[range], shape, device)?)
        };
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for layer in 0..spec.n_layers() {
            let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
            weights.push(var(spec.weight(layer), &[n_out, n_in])?);
            biases.push(var(spec.bias(layer), &[n_out])?);
        }
        Ok(Self { spec, weights, biases })
    }

    /// Sizes and activation.
    #[must_use]
    pub fn spec(&self) -> &MlpSpec {
        &self.spec
    }

    /// The variables in the order of the flat layout: W₁, b₁, W₂, b₂, …
    pub fn vars(&self) -> impl Iterator<Item = &Var> {
        self.weights.iter().zip(&self.biases).flat_map(|(weight, bias)| [weight, bias])
    }

    /// The outputs (B, `n_out`) for the inputs `x` (B, `n_in`).
    ///
    /// # Errors
    ///
    /// [`CriticError::Candle`], for instance when shape or scalar type of `x` do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, CriticError> {
        let (out, _) = self.layers(x).map_err(during("evaluate the network"))?;
        Ok(out)
    }

    /// The outputs (B, 1) and their input gradients (B, `n_in`) for the inputs `x` (B, `n_in`).
    ///
    /// Both are differentiable: one `backward` of any loss of the two reaches every variable.
    ///
    /// # Errors
    ///
    /// [`CriticError::Shape`] when the network has more than one output, [`CriticError::Candle`]
    /// when candle fails, for instance because shape or scalar type of `x` do not fit.
    pub fn value_and_gradient(&self, x: &Tensor) -> Result<(Tensor, Tensor), CriticError> {
        crate::error::check_length(
            "the output of a network with an input gradient",
            self.spec.n_out(),
            1,
        )?;
        self.layers(x)
            .and_then(|(out, slopes)| {
                let gradient = self.input_gradient(&out.ones_like()?, &slopes)?;
                Ok((out, gradient))
            })
            .map_err(during("evaluate the network with its input gradient"))
    }

    /// The network with its present parameters.
    ///
    /// # Errors
    ///
    /// [`CriticError::Candle`] when `T` is not the variables' type, [`CriticError::NotFinite`] for
    /// parameters that are not finite.
    pub fn to_mlp<T: Real>(&self) -> Result<Mlp<T>, CriticError> {
        let mut params = Vec::with_capacity(self.spec.n_params());
        for var in self.vars() {
            params.extend(T::download(var).map_err(during("read a variable"))?);
        }
        Mlp::new(self.spec.clone(), params)
    }

    /// Gradients of all parameters in the flat layout; 0 for a variable that the loss did not reach.
    ///
    /// # Errors
    ///
    /// [`CriticError::Candle`] when `T` is not the variables' type.
    pub fn gradients<T: Real>(&self, store: &GradStore) -> Result<Vec<T>, CriticError> {
        let mut grads = vec![T::ZERO; self.spec.n_params()];
        self.add_gradients(store, &mut grads).map_err(during("read a gradient"))?;
        Ok(grads)
    }

    /// Adds the gradients of all variables that the loss reached to a vector of the flat layout.
    pub(crate) fn add_gradients<T: Real>(
        &self,
        store: &GradStore,
        grads: &mut [T],
    ) -> candle_core::Result<()> {
        let mut rest = grads;
        for var in self.vars() {
            let (sums, behind) = rest.split_at_mut(var.elem_count());
            rest = behind;
            if let Some(grad) = store.get(var) {
                for (sum, grad) in sums.iter_mut().zip(T::download(grad)?) {
                    *sum += grad;
                }
            }
        }
        Ok(())
    }

    /// Outputs, and φ′(z) of every hidden layer.
    pub(crate) fn layers(&self, x: &Tensor) -> candle_core::Result<(Tensor, Vec<Tensor>)> {
        let mut h = x.clone();
        let mut slopes = Vec::with_capacity(self.weights.len());
        for (layer, (weight, bias)) in self.weights.iter().zip(&self.biases).enumerate() {
            let z = h.matmul(&weight.t()?)?.broadcast_add(bias)?;
            if layer + 1 == self.weights.len() {
                return Ok((z, slopes));
            }
            let slope;
            (h, slope) = activate(self.spec.hidden, &z)?;
            slopes.push(slope);
        }
        Ok((h, slopes))
    }

    /// W₁ᵀ(φ′(z₁) ⊙ W₂ᵀ(φ′(z₂) ⊙ … W_Lᵀ s)) for the seed s (B, `n_out`) of every sample.
    pub(crate) fn input_gradient(
        &self,
        seed: &Tensor,
        slopes: &[Tensor],
    ) -> candle_core::Result<Tensor> {
        let mut bar = seed.matmul(&self.weights[slopes.len()])?;
        for (weight, slope) in self.weights.iter().zip(slopes).rev() {
            bar = (bar * slope)?.matmul(weight)?;
        }
        Ok(bar)
    }

    /// W_L(… φ′(z₂) ⊙ W₂(φ′(z₁) ⊙ W₁v)) for the direction v (B, `n_in`) of every sample.
    pub(crate) fn tangent(&self, v: &Tensor, slopes: &[Tensor]) -> candle_core::Result<Tensor> {
        let mut h_dot = v.clone();
        for (weight, slope) in self.weights.iter().zip(slopes) {
            h_dot = (h_dot.matmul(&weight.t()?)? * slope)?;
        }
        h_dot.matmul(&self.weights[slopes.len()].t()?)
    }
}

/// φ(z) and φ′(z), both differentiable.
fn activate(activation: Activation, z: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
    match activation {
        Activation::Identity => Ok((z.clone(), z.ones_like()?)),
        Activation::Tanh => {
            let h = z.tanh()?;
            let slope = h.sqr()?.affine(-1.0, 1.0)?;
            Ok((h, slope))
        }
        Activation::Relu => {
            // The slope is constant wherever it is defined. The tape of candle's own `relu` has slope 1
            // at z = 0, where ours is 0.
            let slope = z.gt(0.0)?.to_dtype(z.dtype())?.detach();
            Ok(((z * &slope)?, slope))
        }
        Activation::Silu => {
            let gate = logistic(z)?;
            let h = (z * &gate)?;
            // φ′ = σ + h(1 − σ)
            let slope = (&gate + (&h * gate.affine(-1.0, 1.0)?)?)?;
            Ok((h, slope))
        }
        Activation::Softplus => {
            // ln(1 + eᶻ) = (z + |z|)/2 + ln(1 + e^{−|z|}) cannot overflow.
            let size = z.abs()?;
            let positive = ((z + &size)? * 0.5)?;
            let h = (positive + size.neg()?.exp()?.affine(1.0, 1.0)?.log()?)?;
            Ok((h, logistic(z)?))
        }
    }
}

/// σ(z) = ½(1 + tanh ½z), which overflows neither forward nor backward.
fn logistic(z: &Tensor) -> candle_core::Result<Tensor> {
    z.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}
