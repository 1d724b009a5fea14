//! The value network: specification, scalings, and evaluation with two derivatives.

use dynamics::{HessianKind, Stream};
use serde::{Deserialize, Serialize};

use super::Head;
use crate::error::check_length;
use crate::hessian::mirror;
use crate::{
    Activation, Backend, CriticError, HessianWorkspace, Initialization, Mlp, MlpSpec, MlpWorkspace,
    Real,
};

/// Sizes, activation and head of a [`ValueNetwork`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueSpec {
    /// Entries of the state.
    pub nx: usize,
    /// Sizes of the hidden layers.
    pub hidden: Vec<usize>,
    /// Non-linearity of the hidden layers.
    pub activation: Activation,
    /// How the outputs become a value.
    pub head: Head,
    /// Outputs below a head with residuals; [`Head::Plain`] has one output whatever stands here.
    pub residuals: usize,
}

impl ValueSpec {
    /// The network of Parag et al. (2022) for states of `nx` entries: three hidden layers of 64 tanh
    /// units, and the sum of three squared residuals.
    ///
    /// The code published for their arm has `hidden: vec![64; 4]` and [`Head::SmoothNorm`].
    #[must_use]
    pub fn new(nx: usize) -> Self {
        let (hidden, activation) = (vec![64; 3], Activation::Tanh);
        Self { nx, hidden, activation, head: Head::SumOfSquares, residuals: 3 }
    }

    /// The perceptron below the head.
    #[must_use]
    pub fn mlp(&self) -> MlpSpec {
        let n_out = if self.head.has_residuals() { self.residuals } else { 1 };
        let sizes = [&[self.nx], self.hidden.as_slice(), &[n_out]].concat();
        MlpSpec { sizes, hidden: self.activation }
    }
}

/// Scalings of a [`ValueNetwork`]: the perceptron sees (x − shift)/scale, and V = value · Σ f(r).
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// Subtracted from the state, nx.
    pub shift: Vec<f64>,
    /// What the state is divided by, nx, above 0.
    pub scale: Vec<f64>,
    /// Factor of the value, above 0.
    pub value: f64,
}

impl Scaling {
    /// States and values as they are.
    #[must_use]
    pub fn none(nx: usize) -> Self {
        Self { shift: vec![0.0; nx], scale: vec![1.0; nx], value: 1.0 }
    }

    /// Checks lengths, and that all numbers are finite and the scales above 0, in `T` too.
    pub(super) fn validate<T: Real>(&self, nx: usize) -> Result<(), CriticError> {
        check_length("`shift`", self.shift.len(), nx)?;
        check_length("`scale`", self.scale.len(), nx)?;
        let usable = |found: f64| {
            let (number, inverse) = (T::from_f64(found), T::from_f64(found.recip()));
            number > T::ZERO && number.is_finite() && inverse > T::ZERO && inverse.is_finite()
        };
        let needed = "it must be finite and above 0";
        if let Some(&found) = self.scale.iter().find(|scale| !usable(**scale)) {
            return Err(CriticError::Setting { name: "scale", found, needed });
        }
        if !usable(self.value) {
            return Err(CriticError::Setting { name: "value scale", found: self.value, needed });
        }
        match self.shift.iter().find(|shift| !T::from_f64(**shift).is_finite()) {
            None => Ok(()),
            Some(&found) => {
                Err(CriticError::Setting { name: "shift", found, needed: "it must be finite" })
            }
        }
    }
}

/// V(x) = c Σ_k f(r_k(s)) with s = (x − shift)/scale: a perceptron r, a [`Head`] f and a
/// [`Scaling`].
///
/// With D = diag(1/scale) and the Jacobian r_s: Vx = c D r_sᵀ f′, and
/// Vxx = c D [r_sᵀ diag(f″) r_s + Σ f′_k ∇²r_k] D, of which Gauss–Newton keeps the first part.
///
/// A batch is a slice, sample after sample; lengths that do not fit are programming errors and panic.
///
/// ```
/// use critics::{Initialization, Scaling, ValueNetwork, ValueSpec};
/// use dynamics::{HessianKind, Stream};
///
/// let stream = &mut Stream::new(1, "weights", 0);
/// let (spec, scaling) = (ValueSpec::new(2), Scaling::none(2));
/// let net = ValueNetwork::<f64>::random(spec, scaling, Initialization::Pytorch, stream)?;
/// let (mut v, mut vx, mut vxx) = ([0.0], [0.0; 2], [0.0; 4]);
/// let ws = &mut net.workspace(1);
/// let x = [0.3, -0.2];
/// let kind = net.hessian(HessianKind::GaussNewton, &x, ws, &mut v, &mut vx, &mut vxx);
/// assert_eq!(kind, HessianKind::GaussNewton);
/// assert!(v[0] >= 0.0 && vxx[0] >= 0.0);
/// # Ok::<(), critics::CriticError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ValueNetwork<T: Real> {
    spec: ValueSpec,
    net: Mlp<T>,
    scaling: Scaling,
    shift: Vec<T>,
    /// 1/scale.
    pub(super) inverse: Vec<T>,
}

/// Scratch of a [`ValueNetwork`], one per thread, made by [`ValueNetwork::workspace`].
///
/// Nothing is allocated afterwards unless a larger batch comes.
#[derive(Debug, Clone)]
pub struct ValueWorkspace<T: Real> {
    evaluation: Evaluation<T>,
    hessian: HessianWorkspace<T>,
    /// r_s, batch × residuals × nx.
    jacobian: Vec<T>,
}

/// What an evaluation leaves behind for the derivatives.
#[derive(Debug, Clone)]
pub(super) struct Evaluation<T: Real> {
    pub(super) mlp: MlpWorkspace<T>,
    /// (x − shift)/scale.
    s: Vec<T>,
    /// c f′ and c f″ of every output.
    pub(super) slope: Vec<T>,
    pub(super) curvature: Vec<T>,
}

impl<T: Real> Evaluation<T> {
    pub(super) fn new(net: &ValueNetwork<T>, max_batch: usize) -> Self {
        let outputs = vec![T::ZERO; max_batch * net.net.spec().n_out()];
        Self {
            mlp: net.net.workspace(max_batch),
            s: vec![T::ZERO; max_batch * net.nx()],
            slope: outputs.clone(),
            curvature: outputs,
        }
    }
}

impl<T: Real> ValueNetwork<T> {
    /// A network with given parameters, in the layout of [`Mlp::params`].
    ///
    /// # Errors
    ///
    /// As [`Mlp::new`]; [`CriticError::Shape`] or [`CriticError::Setting`] for the scaling.
    pub fn new(spec: ValueSpec, scaling: Scaling, params: Vec<T>) -> Result<Self, CriticError> {
        let net = Mlp::new(spec.mlp(), params)?;
        Self::assemble(spec, scaling, net)
    }

    /// A network with random parameters; [`Mlp::random`] has the order of the draws.
    ///
    /// # Errors
    ///
    /// As [`Mlp::random`]; [`CriticError::Shape`] or [`CriticError::Setting`] for the scaling.
    pub fn random(
        spec: ValueSpec,
        scaling: Scaling,
        initialization: Initialization,
        stream: &mut Stream,
    ) -> Result<Self, CriticError> {
        let net = Mlp::random(spec.mlp(), initialization, &[], stream)?;
        Self::assemble(spec, scaling, net)
    }

    fn assemble(spec: ValueSpec, scaling: Scaling, net: Mlp<T>) -> Result<Self, CriticError> {
        scaling.validate::<T>(spec.nx)?;
        let shift = scaling.shift.iter().map(|shift| T::from_f64(*shift)).collect();
        let inverse = scaling.scale.iter().map(|scale| T::from_f64(scale.recip())).collect();
        let net = net.with_backend(Backend::Native);
        Ok(Self { spec, net, scaling, shift, inverse })
    }

    /// Sizes, activation and head.
    #[must_use]
    pub fn spec(&self) -> &ValueSpec {
        &self.spec
    }

    /// Scalings of states and values.
    #[must_use]
    pub fn scaling(&self) -> &Scaling {
        &self.scaling
    }

    /// The perceptron below the head.
    #[must_use]
    pub fn net(&self) -> &Mlp<T> {
        &self.net
    }

    /// All parameters, to be changed by an optimiser.
    pub fn params_mut(&mut self) -> &mut [T] {
        self.net.params_mut()
    }

    /// Entries of the state.
    #[must_use]
    pub fn nx(&self) -> usize {
        self.spec.nx
    }

    /// The Hessian that is given where `kind` is asked for: always the exact one for
    /// [`Head::Plain`], which has no residuals.
    #[must_use]
    pub fn hessian_kind(&self, kind: HessianKind) -> HessianKind {
        if self.spec.head.has_residuals() { kind } else { HessianKind::Exact }
    }

    /// Scratch for batches of up to `max_batch` states; a larger batch makes it grow.
    #[must_use]
    pub fn workspace(&self, max_batch: usize) -> ValueWorkspace<T> {
        ValueWorkspace {
            evaluation: Evaluation::new(self, max_batch),
            hessian: self.net.hessian_workspace(max_batch),
            jacobian: vec![T::ZERO; max_batch * self.net.spec().n_out() * self.nx()],
        }
    }

    /// `v` (batch) = V at the states `x` (batch × nx).
    ///
    /// # Panics
    ///
    /// When a length does not fit, or the workspace belongs to a network of another shape.
    pub fn value(&self, x: &[T], ws: &mut ValueWorkspace<T>, v: &mut [T]) {
        self.evaluate(x, &mut ws.evaluation, v);
    }

    /// V (batch) and Vx (batch × nx) at the states `x` (batch × nx).
    ///
    /// # Panics
    ///
    /// As [`ValueNetwork::value`].
    pub fn value_and_gradient(
        &self,
        x: &[T],
        ws: &mut ValueWorkspace<T>,
        v: &mut [T],
        vx: &mut [T],
    ) {
        self.evaluate(x, &mut ws.evaluation, v);
        self.gradient(&mut ws.evaluation, vx);
    }

    /// V (batch), Vx (batch × nx) and Vxx (batch × nx × nx, exactly symmetric) at the states `x`
    /// (batch × nx), and which Hessian it is: see [`ValueNetwork::hessian_kind`].
    ///
    /// Gauss–Newton costs a reverse pass per residual, the exact Hessian about nx tangents.
    ///
    /// # Panics
    ///
    /// As [`ValueNetwork::value`].
    pub fn hessian(
        &self,
        kind: HessianKind,
        x: &[T],
        ws: &mut ValueWorkspace<T>,
        v: &mut [T],
        vx: &mut [T],
        vxx: &mut [T],
    ) -> HessianKind {
        let (n, n_out) = (self.nx(), self.net.spec().n_out());
        assert_eq!(vx.len(), x.len(), "one gradient per state");
        assert_eq!(vxx.len(), x.len() * n, "one matrix per state");
        self.evaluate(x, &mut ws.evaluation, v);
        let kind = self.hessian_kind(kind);
        let ValueWorkspace { evaluation: Evaluation { mlp, slope, curvature, .. }, .. } = ws;
        let outputs = v.len() * n_out;
        let (slope, curvature) = (&slope[..outputs], &curvature[..outputs]);
        if kind == HessianKind::Exact {
            self.net.composed(slope, curvature, mlp, &mut ws.hessian, vx, vxx);
        } else {
            if ws.jacobian.len() < outputs * n {
                ws.jacobian.resize(outputs * n, T::ZERO);
            }
            let jacobians = &mut ws.jacobian[..outputs * n];
            self.net.jacobian(mlp, &mut ws.hessian, jacobians);
            // Vx = r_sᵀ f′ and Vxx = r_sᵀ diag(f″) r_s, still without D.
            let samples = jacobians.chunks_exact(n_out * n).zip(slope.chunks_exact(n_out));
            let results = vx.chunks_exact_mut(n).zip(vxx.chunks_exact_mut(n * n));
            let samples = samples.zip(curvature.chunks_exact(n_out)).zip(results);
            for (((jacobian, slope), curvature), (vx, vxx)) in samples {
                vx.fill(T::ZERO);
                vxx.fill(T::ZERO);
                let rows = jacobian.chunks_exact(n).zip(slope).zip(curvature);
                for ((row, &slope), &curvature) in rows {
                    for (i, &entry) in row.iter().enumerate() {
                        vx[i] += slope * entry;
                        let scaled = curvature * entry;
                        let above = vxx[i * n + i..(i + 1) * n].iter_mut();
                        above.zip(&row[i..]).for_each(|(vxx, entry)| *vxx += scaled * *entry);
                    }
                }
            }
        }
        self.scale_gradient(vx);
        for vxx in vxx.chunks_exact_mut(n * n) {
            for (row, &by_row) in vxx.chunks_exact_mut(n).zip(&self.inverse) {
                for (vxx, &by_column) in row.iter_mut().zip(&self.inverse) {
                    *vxx *= by_row * by_column;
                }
            }
            mirror(vxx, n);
        }
        kind
    }

    /// Evaluates the batch `x`: V into `v`, f′ and f″ of the outputs and all activations into `e`.
    pub(super) fn evaluate(&self, x: &[T], e: &mut Evaluation<T>, v: &mut [T]) {
        let (n, n_out) = (self.nx(), self.net.spec().n_out());
        assert_eq!(x.len(), v.len() * n, "{} values for states of {n} entries", v.len());
        if e.s.len() < x.len() {
            e.s.resize(x.len(), T::ZERO);
            e.slope.resize(v.len() * n_out, T::ZERO);
            e.curvature.resize(v.len() * n_out, T::ZERO);
        }
        for (s, x) in e.s.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
            for (((s, x), shift), inverse) in
                s.iter_mut().zip(x).zip(&self.shift).zip(&self.inverse)
            {
                *s = (*x - *shift) * *inverse;
            }
        }
        let factor = T::from_f64(self.scaling.value);
        let outputs = self.net.forward(&e.s[..x.len()], &mut e.mlp).chunks_exact(n_out);
        let slopes = e.slope.chunks_exact_mut(n_out).zip(e.curvature.chunks_exact_mut(n_out));
        for ((v, r), (slope, curvature)) in v.iter_mut().zip(outputs).zip(slopes) {
            let mut sum = T::ZERO;
            for ((r, slope), curvature) in r.iter().zip(slope).zip(curvature) {
                let [value, first, second, _] = self.spec.head.jet(*r);
                sum += value;
                (*slope, *curvature) = (factor * first, factor * second);
            }
            *v = factor * sum;
        }
    }

    /// `vx` (batch × nx) after [`ValueNetwork::evaluate`].
    pub(super) fn gradient(&self, e: &mut Evaluation<T>, vx: &mut [T]) {
        let outputs = e.mlp.batch() * self.net.spec().n_out();
        self.net.input_gradient(&e.slope[..outputs], &mut e.mlp, vx);
        self.scale_gradient(vx);
    }

    /// ∂/∂x = D ∂/∂s of every sample.
    pub(super) fn scale_gradient(&self, vx: &mut [T]) {
        for vx in vx.chunks_exact_mut(self.nx()) {
            vx.iter_mut().zip(&self.inverse).for_each(|(vx, inverse)| *vx *= *inverse);
        }
    }
}
