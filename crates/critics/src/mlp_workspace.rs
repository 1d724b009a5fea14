//! Scratch of a perceptron.

#[cfg(feature = "candle")]
use crate::candle_tape::Tape;
use crate::{MlpSpec, Real};

/// Everything an [`Mlp`](crate::Mlp) writes while it is evaluated and differentiated.
///
/// Made by [`Mlp::workspace`](crate::Mlp::workspace) for a largest batch; our kernels allocate nothing
/// afterwards unless a larger batch comes.
#[derive(Debug, Clone)]
pub struct MlpWorkspace<T: Real> {
    /// Sizes of the network this belongs to.
    sizes: Vec<usize>,
    /// Whether the activation keeps gates.
    gated: bool,
    /// Largest batch that fits without allocation.
    capacity: usize,
    /// Batch of the last forward pass; none before the first.
    batch: Option<usize>,
    /// Whether the tangents belong to the last forward pass.
    pub(crate) has_tangent: bool,
    /// Input of every linear layer: h of the whole batch, directly behind it ḣ of the whole batch.
    pub(crate) inputs: Vec<Vec<T>>,
    /// Gates of every hidden layer; empty where the activation has none.
    pub(crate) gates: Vec<Vec<T>>,
    /// ż of every hidden layer.
    pub(crate) z_dots: Vec<Vec<T>>,
    /// ∂(seed·out)/∂h of every hidden layer and the seed, as the last [`Mlp::input_gradient`] left
    /// them; a loss on input gradients needs the same numbers. No seed stands for none.
    ///
    /// [`Mlp::input_gradient`]: crate::Mlp::input_gradient
    pub(crate) h_bars: Vec<Vec<T>>,
    pub(crate) h_bars_seed: Vec<T>,
    /// Outputs.
    pub(crate) out: Vec<T>,
    /// Directional derivatives of the outputs.
    pub(crate) out_tangent: Vec<T>,
    /// Sensitivities to the layer at hand, values before tangents.
    pub(crate) bar: Vec<T>,
    /// Sensitivities to the layer below it.
    pub(crate) bar_below: Vec<T>,
    /// The last forward pass where candle made it; the buffers above then hold outputs only.
    #[cfg(feature = "candle")]
    pub(crate) tape: Option<Tape>,
}

impl<T: Real> MlpWorkspace<T> {
    /// Scratch for batches of up to `max_batch` samples of a network.
    pub(crate) fn new(spec: &MlpSpec, max_batch: usize) -> Self {
        let n_layers = spec.n_layers();
        let mut ws = Self {
            sizes: spec.sizes.clone(),
            gated: spec.hidden.is_gated(),
            capacity: 0,
            batch: None,
            has_tangent: false,
            inputs: vec![Vec::new(); n_layers],
            gates: vec![Vec::new(); n_layers - 1],
            z_dots: vec![Vec::new(); n_layers - 1],
            h_bars: vec![Vec::new(); n_layers - 1],
            h_bars_seed: Vec::new(),
            out: Vec::new(),
            out_tangent: Vec::new(),
            bar: Vec::new(),
            bar_below: Vec::new(),
            #[cfg(feature = "candle")]
            tape: None,
        };
        ws.reserve(max_batch);
        ws
    }

    /// Batch of the last forward pass; 0 before the first.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch.unwrap_or(0)
    }

    /// Outputs (batch × `n_out`) of the last forward pass; empty before the first.
    #[must_use]
    pub fn out(&self) -> &[T] {
        &self.out[..self.batch() * self.sizes[self.sizes.len() - 1]]
    }

    /// Makes room for `batch` samples.
    fn reserve(&mut self, batch: usize) {
        if batch <= self.capacity {
            return;
        }
        self.capacity = batch;
        let n_layers = self.sizes.len() - 1;
        let widest = self.sizes.iter().copied().max().unwrap_or(0);
        for layer in 0..n_layers {
            self.inputs[layer].resize(2 * batch * self.sizes[layer], T::ZERO);
        }
        for (layer, width) in self.sizes[1..n_layers].iter().enumerate() {
            self.z_dots[layer].resize(batch * width, T::ZERO);
            self.h_bars[layer].resize(batch * width, T::ZERO);
            if self.gated {
                self.gates[layer].resize(batch * width, T::ZERO);
            }
        }
        self.h_bars_seed.reserve(batch * self.sizes[n_layers]);
        self.out.resize(batch * self.sizes[n_layers], T::ZERO);
        self.out_tangent.resize(batch * self.sizes[n_layers], T::ZERO);
        self.bar.resize(2 * batch * widest, T::ZERO);
        self.bar_below.resize(2 * batch * widest, T::ZERO);
    }

    /// Prepares a forward pass.
    ///
    /// # Panics
    ///
    /// When the workspace belongs to a network of another shape.
    pub(crate) fn begin(&mut self, spec: &MlpSpec, batch: usize) {
        self.check_shape(spec);
        self.reserve(batch);
        self.batch = Some(batch);
        self.has_tangent = false;
        self.h_bars_seed.clear();
        // The device gets its memory back before the next evaluation needs it.
        #[cfg(feature = "candle")]
        {
            self.tape = None;
        }
    }

    /// The batch of the last forward pass.
    ///
    /// # Panics
    ///
    /// Without a forward pass, or when the workspace belongs to a network of another shape.
    pub(crate) fn check(&self, spec: &MlpSpec) -> usize {
        self.check_shape(spec);
        assert!(self.batch.is_some(), "`forward` must come before any derivative");
        self.batch()
    }

    fn check_shape(&self, spec: &MlpSpec) {
        assert!(
            self.sizes == spec.sizes && self.gated == spec.hidden.is_gated(),
            "a workspace of sizes {:?} was given to a network of sizes {:?}",
            self.sizes,
            spec.sizes
        );
    }
}
