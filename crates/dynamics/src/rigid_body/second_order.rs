//! Second derivatives of forward dynamics by dual numbers, and of inverse dynamics in closed form,
//! contracted with a costate.

use nalgebra::{DMatrix, DVector};
use num_dual::Dual64;

use super::model::Model;
use super::spatial::{Coriolis, Force, Motion, V3, add, cross};
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

    /// Second derivatives of λ·RNEA(q, v, a), λ and a held fixed; after
    /// [`Model::differentiate_joint_forces`] at (q, v, a).
    ///
    /// λ·RNEA is the power Σ w·(Y a + v ×* Y v) of the bodies' forces along the motion w that they
    /// have at joint velocities λ. A change of q_k turns all that lies behind as one body, and in
    /// its frame there w, a and v change by w_p × J_k, da_k − v × dv_k and dv_k (`derivatives.rs`):
    /// so do the first derivatives of a degree of freedom j behind k,
    ///
    /// ```text
    /// ∂q_j = (w_p × J)·F + da_q·Z + dv·Σ Bᵀw ,  ∂v_j = da_v·Z + J·Σ Bᵀw ,  ∂a_j = J·Z
    /// ```
    ///
    /// with F, Z = Σ Y w and Σ Bᵀw of the subtree of j. For the change of B with v, B(v)ᵀ w is
    /// −B(w)ᵀ v. What is left is a force per j to be multiplied with the motions of k.
    pub(crate) fn differentiate_power(
        &self,
        ws: &Workspace<f64>,
        lambda: &[f64],
        out: &mut PowerHessian,
    ) {
        let nv = self.nv();
        for (i, body) in self.bodies.iter().enumerate() {
            let at_rest = Motion::zero();
            let (w, v) = body.parent.map_or((at_rest, at_rest), |p| (out.w[p], ws.v[p]));
            out.w[i] = w;
            for k in body.v.clone() {
                out.w[i] = out.w[i].add_scaled(lambda[k], ws.j[k]);
                out.dw[k] = w.cross(ws.j[k]);
                out.dv[k] = v.cross(ws.j[k]);
            }
            let (y, w) = (&ws.y[i], out.w[i]);
            out.z[i] = y.apply(w);
            out.turn[i] = Coriolis::of(y, w, out.z[i]);
            out.bias[i] = Coriolis::of(y, ws.v[i], ws.h[i]).apply_transposed(w);
        }
        for (i, body) in self.bodies.iter().enumerate().rev() {
            let (y, b, f) = (&ws.y_subtree[i], &ws.b[i], ws.f[i]);
            let (z, bias, turn) = (out.z[i], out.bias[i], out.turn[i]);
            for j in body.v.clone() {
                let (column, dw, dv) = (ws.j[j], out.dw[j], out.dv[j]);
                let momentum = y.apply(column);
                let swing = column.cross_force(z);
                // The changes of F and Z, and what they multiply with, gathered by the motions of k.
                let by_dw =
                    column.cross_force(f).add(y.apply(ws.da_dq[j])).add(b.apply(dv.angular));
                let by_da = swing.add(y.apply(dw));
                let moment = |angular| Force { linear: [0.0; 3], angular };
                let by_dv = moment(cross(column.angular, bias))
                    .add(moment(b.apply_transposed(dw)))
                    .add_scaled(2.0, dv.cross_force(z))
                    .add_scaled(-1.0, turn.apply(dv.angular));
                let v_by_dw = y.apply(ws.da_dv[j]).add(b.apply(column.angular));
                let own = swing.add_scaled(-1.0, turn.apply(column.angular));
                let v_by_dv = own.add(swing);
                for &k in self.ancestors(i) {
                    let (da_v, column) = (ws.da_dv[k], ws.j[k]);
                    let qq = out.dw[k].dot(by_dw) + ws.da_dq[k].dot(by_da) + out.dv[k].dot(by_dv);
                    let vv = column.dot(v_by_dv);
                    out.qq[j * nv + k] = qq;
                    out.qq[k * nv + j] = qq;
                    out.vv[j * nv + k] = vv;
                    out.vv[k * nv + j] = vv;
                    out.qv[k * nv + j] = out.dw[k].dot(v_by_dw) + out.dv[k].dot(v_by_dv);
                    out.qv[j * nv + k] = da_v.dot(by_da) + column.dot(by_dv);
                    out.qa[k * nv + j] = out.dw[k].dot(momentum);
                    out.qa[j * nv + k] = column.dot(by_da);
                }
                // Within a joint a velocity does not move the parent, from which dv and da stem.
                for k in body.v.clone() {
                    out.qq[j * nv + k] =
                        out.dw[k].dot(by_dw) + ws.da_dq[k].dot(by_da) + out.dv[k].dot(by_dv);
                    out.vv[j * nv + k] = ws.j[k].dot(own);
                    out.qv[k * nv + j] = out.dw[k].dot(v_by_dw) + out.dv[k].dot(v_by_dv);
                    out.qa[k * nv + j] = out.dw[k].dot(momentum);
                }
            }
            if let Some(parent) = body.parent {
                out.z[parent] = out.z[parent].add(z);
                out.turn[parent] = out.turn[parent].add(turn);
                out.bias[parent] = add(out.bias[parent], bias);
            }
        }
    }
}

/// Second derivatives of λ·RNEA(q, v, a), and the scratch of [`Model::differentiate_power`].
/// Matrices by rows of nv; entries across branches stay 0.
#[derive(Debug, Clone)]
pub(crate) struct PowerHessian {
    /// By q twice. The block of a joint on a Lie group is that of one tangent after the other, not
    /// symmetric; its symmetric part belongs to q ⊕ δ.
    pub(crate) qq: Vec<f64>,
    /// Rows by q, columns by v.
    pub(crate) qv: Vec<f64>,
    pub(crate) vv: Vec<f64>,
    /// Rows by q, columns by a: ∂(M λ)/∂q, transposed.
    pub(crate) qa: Vec<f64>,
    /// Motions of the bodies at joint velocities λ.
    w: Vec<Motion<f64>>,
    /// Y w, Bᵀ w and B(w), of bodies, then of subtrees.
    z: Vec<Force<f64>>,
    bias: Vec<V3<f64>>,
    turn: Vec<Coriolis<f64>>,
    /// w_p × J and v_p × J of the degrees of freedom.
    dw: Vec<Motion<f64>>,
    dv: Vec<Motion<f64>>,
}

impl PowerHessian {
    pub(crate) fn new(model: &Model) -> Self {
        let (n, nv) = (model.n_bodies(), model.nv());
        let matrix = || vec![0.0; nv * nv];
        Self {
            qq: matrix(),
            qv: matrix(),
            vv: matrix(),
            qa: matrix(),
            w: vec![Motion::zero(); n],
            z: vec![Force::zero(); n],
            bias: vec![[0.0; 3]; n],
            turn: vec![Coriolis::zero(); n],
            dw: vec![Motion::zero(); nv],
            dv: vec![Motion::zero(); nv],
        }
    }
}
