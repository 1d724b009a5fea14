//! Second derivatives of forward dynamics, contracted with a costate.

use nalgebra::{DMatrix, DVector};
use num_dual::Dual64;

use super::model::Model;
use super::workspace::Workspace;

/// Scratch of [`Model::aba_hessian`].
#[derive(Debug, Clone)]
pub struct SecondOrderWorkspace {
    tree: Workspace<Dual64>,
    q: Vec<Dual64>,
    moved: Vec<Dual64>,
    chart: Vec<Dual64>,
    v: Vec<Dual64>,
    tau: Vec<Dual64>,
}

impl SecondOrderWorkspace {
    /// Scratch for `model`.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let numbers = |n: usize| vec![Dual64::from(0.0); n];
        Self {
            tree: Workspace::new(model),
            q: numbers(model.nq()),
            moved: numbers(model.nq()),
            chart: numbers(model.nv()),
            v: numbers(model.nv()),
            tau: numbers(model.nv()),
        }
    }
}

impl Model {
    /// Writes the second derivatives of λ·q̈(q, v, τ) by [q, v, τ] (3 nv × 3 nv) with q̈ of
    /// [`Model::aba`]: exact, by dual numbers over the analytic first derivatives.
    ///
    /// Column k is the derivative of the gradient along the k-th input. The block of a joint on a
    /// Lie group with itself is that of the tangent that moves along (not symmetric there).
    pub fn aba_hessian(
        &self,
        ws: &mut SecondOrderWorkspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        tau: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut DMatrix<f64>,
    ) {
        let nv = self.nv();
        for (to, &from) in ws.q.iter_mut().zip(q.iter()) {
            *to = Dual64::from(from);
        }
        for input in 0..3 * nv {
            let seed = |at: usize| Dual64::new(0.0, if at == input { 1.0 } else { 0.0 });
            for k in 0..nv {
                ws.chart[k] = seed(k);
                ws.v[k] = seed(nv + k) + v[k];
                ws.tau[k] = seed(2 * nv + k) + tau[k];
            }
            self.integrate_generic(&ws.q, &ws.chart, &mut ws.moved);
            self.differentiate_acceleration(&mut ws.tree, &ws.moved, &ws.v, &ws.tau, None);
            for row in 0..3 * nv {
                out[(row, input)] =
                    (0..nv).map(|k| lambda[k] * ws.tree.da[3 * nv * k + row].eps).sum();
            }
        }
    }
}
