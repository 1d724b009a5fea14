//! A value network as the last cost of an optimal-control problem.

use dynamics::{CostExpansion, HessianKind, TerminalCost};
use nalgebra::DVector;

use super::{ValueNetwork, ValueWorkspace};
use crate::Real;

/// ℓ(x) = factor · V(x) + bias of a [`ValueNetwork`], for states in ℝⁿ.
///
/// Value, gradient and Hessian are `f64`, also over a network in `f32`, and allocate nothing.
///
/// ```
/// use critics::{Initialization, NeuralTerminalCost, Scaling, ValueNetwork, ValueSpec};
/// use dynamics::{CostExpansion, HessianKind, Stream, TerminalCost};
/// use nalgebra::dvector;
///
/// let stream = &mut Stream::new(1, "weights", 0);
/// let (spec, scaling) = (ValueSpec::new(2), Scaling::none(2));
/// let net = ValueNetwork::<f64>::random(spec, scaling, Initialization::Pytorch, stream)?;
/// let cost = NeuralTerminalCost::new(net, HessianKind::GaussNewton);
/// let (mut ws, mut out) = (cost.workspace(), CostExpansion::zeros(2, 1));
/// cost.expand_terminal(&mut ws, &dvector![0.3, -0.2], &mut out);
/// assert_eq!(out.l, cost.terminal(&mut ws, &dvector![0.3, -0.2]));
/// # Ok::<(), critics::CriticError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NeuralTerminalCost<T: Real> {
    /// V.
    pub net: ValueNetwork<T>,
    /// The Hessian to compute; [`TerminalCost::hessian_kind`] tells what it is.
    pub kind: HessianKind,
    /// What V and its derivatives are multiplied by, such as a discount over the horizon.
    pub factor: f64,
    /// Added to the value; a controller cannot tell, but labels made with this cost carry it.
    pub bias: f64,
}

/// Scratch of a [`NeuralTerminalCost`], one per thread.
#[derive(Debug, Clone)]
pub struct TerminalWorkspace<T: Real> {
    net: ValueWorkspace<T>,
    x: Vec<T>,
    v: [T; 1],
    vx: Vec<T>,
    vxx: Vec<T>,
}

impl<T: Real> NeuralTerminalCost<T> {
    /// V itself: factor 1, no bias.
    #[must_use]
    pub fn new(net: ValueNetwork<T>, kind: HessianKind) -> Self {
        Self { net, kind, factor: 1.0, bias: 0.0 }
    }

    fn cost(&self, v: T) -> f64 {
        self.factor * v.to_f64() + self.bias
    }
}

impl<T: Real> TerminalWorkspace<T> {
    fn set_state(&mut self, x: &DVector<f64>) {
        assert_eq!(x.len(), self.x.len(), "entries of the state");
        self.x.iter_mut().zip(x.iter()).for_each(|(to, from)| *to = T::from_f64(*from));
    }
}

impl<T: Real> TerminalCost for NeuralTerminalCost<T> {
    type Workspace = TerminalWorkspace<T>;

    fn ndx(&self) -> usize {
        self.net.nx()
    }

    fn workspace(&self) -> Self::Workspace {
        let n = self.net.nx();
        let zeros = |n| vec![T::ZERO; n];
        let net = self.net.workspace(1);
        TerminalWorkspace { net, x: zeros(n), v: [T::ZERO], vx: zeros(n), vxx: zeros(n * n) }
    }

    fn terminal(&self, ws: &mut Self::Workspace, x: &DVector<f64>) -> f64 {
        ws.set_state(x);
        self.net.value(&ws.x, &mut ws.net, &mut ws.v);
        self.cost(ws.v[0])
    }

    fn expand_terminal(&self, ws: &mut Self::Workspace, x: &DVector<f64>, out: &mut CostExpansion) {
        ws.set_state(x);
        self.net.hessian(self.kind, &ws.x, &mut ws.net, &mut ws.v, &mut ws.vx, &mut ws.vxx);
        out.l = self.cost(ws.v[0]);
        let scaled = |from: &T| self.factor * from.to_f64();
        out.lx.iter_mut().zip(&ws.vx).for_each(|(lx, vx)| *lx = scaled(vx));
        // Symmetric, so the order of storage does not matter.
        out.lxx.iter_mut().zip(&ws.vxx).for_each(|(lxx, vxx)| *lxx = scaled(vxx));
    }

    fn hessian_kind(&self) -> HessianKind {
        self.net.hessian_kind(self.kind)
    }
}
