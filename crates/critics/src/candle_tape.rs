//! The candle backend of a perceptron: one evaluation on a device, and its derivatives there.
//!
//! Outputs, tangents, Jacobians and input gradients are network arithmetic on tensors; parameter
//! gradients and second derivatives come from candle's tape, an implementation that shares no formula
//! with our own reverse pass.

use candle_core::{Device, Tensor, Var};

use crate::candle_mlp::CandleMlp;
use crate::hessian::mirror;
use crate::{Mlp, Real, SquaredResidual};

/// An evaluation that stays on its device until the next one.
///
/// It has the parameters of its time, so that they go to the device once per evaluation, and no
/// change of the network can mix with old activations.
#[derive(Debug, Clone)]
pub(crate) struct Tape {
    device: Device,
    network: CandleMlp,
    x: Tensor,
    out: Tensor,
    /// φ′(z) of every hidden layer.
    slopes: Vec<Tensor>,
    /// Directional derivatives of the outputs, once asked for.
    tangent: Option<Tensor>,
}

impl Tape {
    /// Evaluates `net` at the samples `x`, and copies the outputs to `out`.
    ///
    /// # Panics
    ///
    /// When the device fails, as all methods.
    pub(crate) fn record<T: Real>(net: &Mlp<T>, device: &Device, x: &[T], out: &mut [T]) -> Self {
        on(device, "evaluate a network", || {
            let network = CandleMlp::on(device, net)?;
            let x = samples(x, net.spec().n_in(), device)?;
            let (result, slopes) = network.layers(&x)?;
            out.copy_from_slice(&T::download(&result)?);
            Ok(Self { device: device.clone(), network, x, out: result, slopes, tangent: None })
        })
    }

    /// The directional derivatives along `v`, kept for [`Tape::add_gradients`].
    pub(crate) fn tangent<T: Real>(&mut self, v: &[T], out_tangent: &mut [T]) {
        let tangent = on(&self.device, "differentiate a network along directions", || {
            let v = samples(v, self.network.spec().n_in(), &self.device)?;
            let tangent = self.network.tangent(&v, &self.slopes)?;
            out_tangent.copy_from_slice(&T::download(&tangent)?);
            Ok(tangent)
        });
        self.tangent = Some(tangent);
    }

    /// `gx` = (∂out/∂x)ᵀ `seed` for every sample.
    pub(crate) fn input_gradient<T: Real>(&self, seed: &[T], gx: &mut [T]) {
        on(&self.device, "differentiate a network by its inputs", || {
            let gradient = self.network.input_gradient(&self.seeds(seed)?, &self.slopes)?;
            gx.copy_from_slice(&T::download(&gradient)?);
            Ok(())
        });
    }

    /// `grads` += the tape's gradient of Σ `seed`·out, and of Σ `tangent_seed`·tangent where given.
    pub(crate) fn add_gradients<T: Real>(
        &self,
        seed: &[T],
        tangent_seed: Option<&[T]>,
        grads: &mut [T],
    ) {
        on(&self.device, "differentiate a network by its parameters", || {
            let mut sum = (&self.out * self.seeds(seed)?)?.sum_all()?;
            if let (Some(tangent), Some(seed)) = (&self.tangent, tangent_seed) {
                sum = (sum + (tangent * self.seeds(seed)?)?.sum_all()?)?;
            }
            self.network.add_gradients(&sum.backward()?, grads)
        });
    }

    /// `hv` = Σ_k `seed`_k (∂²out_k/∂x²) `v` for every sample.
    pub(crate) fn hessian_vector<T: Real>(&self, seed: &[T], v: &[T], hv: &mut [T]) {
        on(&self.device, "differentiate a network twice by its inputs", || {
            let v = samples(v, self.network.spec().n_in(), &self.device)?;
            self.second_derivative(&self.seeds(seed)?, &v, hv)
        });
    }

    /// `h` = Σ_k `seed`_k ∂²out_k/∂x² for every sample, exactly symmetric: one pass per input.
    pub(crate) fn hessian<T: Real>(&self, seed: &[T], h: &mut [T]) {
        on(&self.device, "differentiate a network twice by its inputs", || {
            h.fill(T::ZERO);
            self.add_hessian(&self.seeds(seed)?, h)
        });
    }

    /// `j` = ∂out/∂x for every sample.
    pub(crate) fn jacobian<T: Real>(&self, j: &mut [T]) {
        on(&self.device, "compute a network's Jacobian", || {
            j.copy_from_slice(&T::download(&self.jacobians()?)?);
            Ok(())
        });
    }

    /// The derivatives of |r|² as [`Mlp::squared_residual`] has them, at the outputs `r`; `result.v` is
    /// left alone.
    pub(crate) fn squared_residual<T: Real>(
        &self,
        exact: bool,
        r: &[T],
        result: SquaredResidual<'_, T>,
    ) {
        on(&self.device, "expand a network's squared outputs", || {
            // ∂|r|²/∂r = 2r, so Vx = Jᵀ 2r and Vxx = 2 JᵀJ + Σ 2r_k ∇²r_k
            let seed = (self.seeds(r)? * 2.0)?;
            result
                .vx
                .copy_from_slice(&T::download(&self.network.input_gradient(&seed, &self.slopes)?)?);
            let jacobians = self.jacobians()?;
            result.jacobian.copy_from_slice(&T::download(&jacobians)?);
            let gram = (jacobians.transpose(1, 2)?.contiguous()?.matmul(&jacobians)? * 2.0)?;
            result.vxx.copy_from_slice(&T::download(&gram)?);
            if exact {
                self.add_hessian(&seed, result.vxx)?;
            } else {
                let n = self.network.spec().n_in();
                result.vxx.chunks_exact_mut(n * n).for_each(|vxx| mirror(vxx, n));
            }
            Ok(())
        });
    }

    /// J (B, `n_out`, `n_in`): one pass per output.
    fn jacobians(&self) -> candle_core::Result<Tensor> {
        let n_out = self.network.spec().n_out();
        let units = Tensor::eye(n_out, self.out.dtype(), &self.device)?;
        let rows = (0..n_out).map(|k| {
            let seed = units.narrow(0, k, 1)?.broadcast_as(self.out.shape())?.contiguous()?;
            self.network.input_gradient(&seed, &self.slopes)
        });
        Tensor::stack(&rows.collect::<candle_core::Result<Vec<_>>>()?, 1)
    }

    /// Adds Σ_k `seed`_k ∂²out_k/∂x² to `h`, and makes `h` exactly symmetric.
    fn add_hessian<T: Real>(&self, seed: &Tensor, h: &mut [T]) -> candle_core::Result<()> {
        let n = self.network.spec().n_in();
        let units = Tensor::eye(n, self.out.dtype(), &self.device)?;
        let mut column = vec![T::ZERO; h.len() / n];
        for i in 0..n {
            let v = units.narrow(0, i, 1)?.broadcast_as(self.x.shape())?.contiguous()?;
            self.second_derivative(seed, &v, &mut column)?;
            for (h, column) in h.chunks_exact_mut(n * n).zip(column.chunks_exact(n)) {
                for (row, second) in column.iter().enumerate() {
                    h[row * n + i] += *second;
                }
            }
        }
        h.chunks_exact_mut(n * n).for_each(|h| mirror(h, n));
        Ok(())
    }

    /// `hv` = the tape's gradient of Σ `seed`·(∂out/∂x `v`) by the inputs.
    fn second_derivative<T: Real>(
        &self,
        seed: &Tensor,
        v: &Tensor,
        hv: &mut [T],
    ) -> candle_core::Result<()> {
        let x = Var::from_tensor(&self.x)?;
        let (_, slopes) = self.network.layers(&x)?;
        let sum = (self.network.tangent(v, &slopes)? * seed)?.sum_all()?;
        match sum.backward()?.get(&x) {
            Some(gradient) => hv.copy_from_slice(&T::download(gradient)?),
            // No slope depends on the inputs.
            None => hv.fill(T::ZERO),
        }
        Ok(())
    }

    /// One number per output of every sample.
    fn seeds<T: Real>(&self, seed: &[T]) -> candle_core::Result<Tensor> {
        samples(seed, self.network.spec().n_out(), &self.device)
    }
}

/// A batch of samples with `n` features each as a tensor (B, n).
fn samples<T: Real>(values: &[T], n: usize, device: &Device) -> candle_core::Result<Tensor> {
    T::upload(values, &[values.len() / n, n], device)
}

/// Carries out an operation that only a failing device can stop.
///
/// Lengths are checked before and the device works since its backend was made; what is left, such as
/// memory that runs out, nobody who evaluates a network can mend.
///
/// # Panics
///
/// When the device fails.
#[expect(clippy::panic, reason = "evaluating a network has no other way to fail")]
fn on<R>(device: &Device, operation: &str, compute: impl FnOnce() -> candle_core::Result<R>) -> R {
    compute().unwrap_or_else(|error| {
        panic!("candle could not {operation} on {:?}: {error}", device.location())
    })
}
