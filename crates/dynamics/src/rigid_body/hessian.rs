//! Exact second derivatives of a step of semi-implicit Euler.
//!
//! With M̃ = M + D(v) and the passive force p, the acceleration solves r = RNEA(q, v, a) + D a − p = τ.
//! Differentiated twice, and with λ̄ = M̃⁻¹ s and C = ∂(M̃ λ̄)/∂z for z = (q, v),
//!
//! ```text
//! s·a_zz = −[ (λ̄·r)_zz + C a_z + (C a_z)ᵀ ] ,  s·a_zτ = −C a_τ ,  s·a_ττ = 0
//! ```
//!
//! where s = h λ_v + h² Jᵀ λ_q, J the right Jacobian of q ⊕ h v'. On a Lie group, with ε = h dv' and
//! A = Ad(exp(−h v')), the next state moves by A δ + J ε + ½ [A δ, J ε] and ½ ∂J(ε) ε; the last two are
//! what [`tangent_hessian`] is for.

use nalgebra::{DVector, Matrix6, Vector6};
use num_dual::Dual64;

use super::configuration::{tangent_hessian, tangent_maps};
use super::model::Model;
use super::plant::{RigidBodyPlant, RigidBodyWorkspace, axpy};
use super::second_order::PowerHessian;
use crate::HessianProduct;

/// Scratch of [`RigidBodyPlant::differentiate_euler_twice`].
#[derive(Debug, Clone)]
pub(super) struct HessianScratch {
    power: PowerHessian,
    /// s, then λ̄.
    lambda: Vec<f64>,
    /// ∂a by [q, v, u], by rows.
    rates: Vec<f64>,
    /// Half of the result by [q, v, u]: its sum with its transpose is the whole.
    half: Vec<f64>,
    /// Rows of a joint on a Lie group: ∂ε by [q, v, u], and what multiplies with it.
    moved: Vec<f64>,
    weighted: Vec<f64>,
}

impl HessianScratch {
    pub(super) fn new(model: &Model, nu: usize) -> Self {
        let nv = model.nv();
        let n = 2 * nv + nu;
        Self {
            power: PowerHessian::new(model),
            lambda: vec![0.0; nv],
            rates: vec![0.0; nv * n],
            half: vec![0.0; n * n],
            moved: vec![0.0; 6 * n],
            weighted: vec![0.0; 6 * n],
        }
    }
}

impl RigidBodyPlant {
    /// Second derivatives of λ·(f(x ⊕ δ, u) ⊖ f(x, u)) for one substep of semi-implicit Euler.
    pub(super) fn differentiate_euler_twice(
        &self,
        ws: &mut RigidBodyWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) {
        let (model, nq, nv, nu, h) =
            (&self.model, self.model.nq(), self.model.nv(), self.motors.len(), self.h());
        let n = 2 * nv + nu;
        let (q, v) = x.as_slice().split_at(nq);
        let RigidBodyWorkspace { stage, hessian: scratch, dual, .. } = ws;
        self.motor_forces(u.as_slice(), &mut stage.motors);
        model.differentiate_acceleration(&mut stage.tree, q, v, &stage.motors, Some(h));
        let tree = &stage.tree;
        for k in 0..nv {
            stage.chart[k] = h * (v[k] + h * tree.qdd[k]);
            scratch.lambda[k] = h * (lambda[nv + k] + h * lambda[k]);
            let row = &mut scratch.rates[k * n..][..n];
            let (by_z, by_tau) = tree.da[3 * nv * k..][..3 * nv].split_at(2 * nv);
            row[..2 * nv].copy_from_slice(by_z);
            for (to, motor) in row[2 * nv..].iter_mut().zip(&self.motors) {
                *to = by_tau[motor.dof] * motor.gear;
            }
        }
        scratch.half.fill(0.0);
        for body in model.bodies.iter().filter(|body| body.v.len() > 1) {
            self.bend(body.v.clone(), lambda, &stage.chart, scratch);
        }
        model.solve_mass(&tree.l, &tree.d_inverse, &mut scratch.lambda);
        model.differentiate_power(tree, &scratch.lambda, &mut scratch.power);

        let HessianScratch { power, lambda, rates, half, .. } = scratch;
        for (to, &q) in dual.q.iter_mut().zip(q) {
            *to = Dual64::from(q);
        }
        for (to, &v) in dual.v.iter_mut().zip(v) {
            *to = Dual64::new(v, 1.0);
        }
        for i in 0..nv {
            let row = &mut half[i * n..][..n];
            axpy(&mut row[..nv], -0.5, &power.qq[i * nv..][..nv]);
            axpy(&mut row[nv..2 * nv], -1.0, &power.qv[i * nv..][..nv]);
            for (k, rate) in rates.chunks_exact(n).enumerate() {
                axpy(row, -power.qa[i * nv + k], rate);
            }
            // Of passive forces, which are linear in q, only friction bends, in its own velocity.
            let passive = model.passive_force(i, &dual.q, &dual.v, h);
            let bend = passive.inertia_by_v.eps * tree.qdd[i] - passive.by_v.eps;
            let row = &mut half[(nv + i) * n..][..n];
            axpy(&mut row[nv..2 * nv], -0.5, &power.vv[i * nv..][..nv]);
            row[nv + i] -= 0.5 * lambda[i] * bend;
            axpy(row, -passive.inertia_by_v.re * lambda[i], &rates[i * n..][..n]);
        }
        let entry = |i: usize, j: usize| half[i * n + j] + half[j * n + i];
        for j in 0..2 * nv {
            (0..2 * nv).for_each(|i| out.xx[(i, j)] = entry(i, j));
            (0..nu).for_each(|i| out.ux[(i, j)] = entry(2 * nv + i, j));
        }
        for j in 0..nu {
            (0..nu).for_each(|i| out.uu[(i, j)] = entry(2 * nv + i, 2 * nv + j));
        }
    }

    /// What a joint on a Lie group adds: Jᵀ in s, and its share of the terms of second order.
    fn bend(
        &self,
        dofs: std::ops::Range<usize>,
        lambda: &DVector<f64>,
        chart: &[f64],
        scratch: &mut HessianScratch,
    ) {
        let (nv, h) = (self.model.nv(), self.h());
        let (first, size) = (dofs.start, dofs.len());
        let n = 2 * nv + self.motors.len();
        // A rotation is the angular block of a motion.
        let offset = 6 - size;
        let (mut step, mut costate) = (Vector6::zeros(), Vector6::zeros());
        for k in 0..size {
            step[offset + k] = chart[first + k];
            costate[offset + k] = lambda[first + k];
        }
        let [linear, angular] = [0, 3].map(|at| step.fixed_rows::<3>(at).into_owned());
        let (by_q, by_v) = tangent_maps(linear, angular);
        let pulled = by_v.tr_mul(&costate);
        // aᵀ S b = λ·[a, b]
        let [by_linear, by_angular] =
            [0, 3].map(|at| costate.fixed_rows::<3>(at).into_owned().cross_matrix());
        let mut bracket = Matrix6::zeros();
        bracket.fixed_view_mut::<3, 3>(0, 3).copy_from(&-by_linear);
        bracket.fixed_view_mut::<3, 3>(3, 0).copy_from(&-by_linear);
        bracket.fixed_view_mut::<3, 3>(3, 3).copy_from(&-by_angular);
        let mixed = by_q.tr_mul(&bracket) * by_v;
        let own = tangent_hessian(linear, angular, &costate);

        let HessianScratch { lambda: s, rates, half, moved, weighted, .. } = scratch;
        for k in 0..size {
            s[first + k] = h * (lambda[nv + first + k] + h * pulled[offset + k]);
            // ε = h (v + h a)
            let row = &mut moved[k * n..][..n];
            row.fill(0.0);
            axpy(row, h * h, &rates[(first + k) * n..][..n]);
            row[nv + first + k] += h;
        }
        for i in 0..size {
            let (row, weighted) = (&mut half[(first + i) * n..][..n], &mut weighted[i * n..][..n]);
            weighted.fill(0.0);
            for (k, moved) in moved.chunks_exact(n).take(size).enumerate() {
                let at = (offset + i, offset + k);
                axpy(row, 0.5 * mixed[at], moved);
                axpy(weighted, 0.5 * own[at], moved);
            }
        }
        for (moved, weighted) in moved.chunks_exact(n).zip(weighted.chunks_exact(n)).take(size) {
            for (row, &factor) in half.chunks_exact_mut(n).zip(moved) {
                axpy(row, factor, weighted);
            }
        }
    }
}
