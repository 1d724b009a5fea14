//! Jacobians by the inputs: in whichever direction has fewer rows to carry.

use std::ops::Range;

use crate::hessian::{activations, groups, part};
use crate::{HessianWorkspace, Mlp, MlpWorkspace, Products, Real};

impl<T: Real> Mlp<T> {
    /// `j` = ∂out/∂x for every sample, after [`Mlp::forward`].
    ///
    /// `j` is batch × `n_out` × `n_in`, row-major, and overwritten. Costs about as many tangents as
    /// there are inputs, or outputs if they are fewer; the gradient of a single output is cheaper by
    /// [`Mlp::input_gradient`].
    ///
    /// # Panics
    ///
    /// When `j` does not fit the batch of the last `forward`, or the scratch belongs to another shape.
    pub fn jacobian(&self, ws: &MlpWorkspace<T>, scratch: &mut HessianWorkspace<T>, j: &mut [T]) {
        let (batch, group) = self.begin(ws, scratch);
        let (n_in, n_out) = (self.spec().n_in(), self.spec().n_out());
        assert_eq!(j.len(), batch * n_out * n_in, "one matrix per sample of the last input");
        #[cfg(feature = "candle")]
        if let Some(tape) = &ws.tape {
            tape.jacobian(j);
            return;
        }
        for samples in groups(batch, group) {
            let j = &mut j[part(&samples, n_out * n_in)];
            if n_out < n_in {
                self.cotangents(ws, scratch, &samples, j);
            } else {
                self.tangents(ws, scratch, &samples, 0..0, &mut []);
                self.store_jacobian(scratch, j);
            }
        }
    }

    /// Pulls the unit sensitivities of all outputs of a group back to `j` (samples × `n_out` × `n_in`).
    fn cotangents(
        &self,
        ws: &MlpWorkspace<T>,
        scratch: &mut HessianWorkspace<T>,
        samples: &Range<usize>,
        j: &mut [T],
    ) {
        let spec = self.spec();
        let (rows, last) = (spec.n_out(), spec.n_layers() - 1);
        // The unit rows times the last weights are the last weights.
        let weight = &self.params()[spec.weight(last)];
        let HessianWorkspace { z_dot: bar, h_dot: bar_below, .. } = scratch;
        let top = if last == 0 { &mut *j } else { &mut bar[..samples.len() * weight.len()] };
        top.chunks_exact_mut(weight.len()).for_each(|bar| bar.copy_from_slice(weight));
        for layer in (0..last).rev() {
            let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
            let z_bar = &mut bar[..samples.len() * rows * n_out];
            for (sample, bars) in samples.clone().zip(z_bar.chunks_exact_mut(rows * n_out)) {
                let (h, gate) = activations(ws, layer, part(&(sample..sample + 1), n_out));
                bars.chunks_exact_mut(n_out).for_each(|bar| spec.hidden.pull_back(h, gate, bar));
            }
            let weight = &self.params()[spec.weight(layer)];
            let h_bar =
                if layer == 0 { &mut *j } else { &mut bar_below[..samples.len() * rows * n_in] };
            Products::current().input(weight, z_bar, h_bar, n_out, n_in);
            std::mem::swap(bar, bar_below);
        }
    }
}
