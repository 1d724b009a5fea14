//! RNEA, CRBA and ABA: inverse dynamics, mass matrix, forward dynamics.
//!
//! All in the world frame: forces and inertias of children are added to those of parents as they
//! are. Featherstone, Rigid Body Dynamics Algorithms (2008), chapters 5 to 7.

use super::model::Model;
use super::spatial::{Force, Inertia, Motion, V3, add, apply, apply_symmetric, apply_transposed};
use super::workspace::{Articulated, Workspace};
use crate::Scalar;

impl Model {
    /// τ = M(q) a + bias into `ws.tau`, after accelerations and inertias. Leaves momenta, and the
    /// forces through the joints in `ws.f`.
    #[inline]
    pub(crate) fn joint_forces<S: Scalar>(&self, ws: &mut Workspace<S>) {
        for i in 0..self.bodies.len() {
            let (y, v) = (&ws.y[i], ws.v[i]);
            ws.h[i] = y.apply(v);
            ws.f[i] = y.apply(ws.a[i]).add(v.cross_force(ws.h[i]));
        }
        self.forces_to_the_root(ws);
    }

    /// Sums the forces of `ws.f` over subtrees and projects them onto the joints.
    #[inline]
    pub(crate) fn forces_to_the_root<S: Scalar>(&self, ws: &mut Workspace<S>) {
        for (i, body) in self.bodies.iter().enumerate().rev() {
            let f = ws.f[i];
            for k in body.v.clone() {
                ws.tau[k] = ws.j[k].dot(f);
            }
            if let Some(parent) = body.parent {
                ws.f[parent] = ws.f[parent].add(f);
            }
        }
    }

    /// Inertias of subtrees.
    #[inline]
    pub(crate) fn gather_inertias<S: Scalar>(&self, ws: &mut Workspace<S>) {
        ws.y_subtree.copy_from_slice(&ws.y);
        for (i, body) in self.bodies.iter().enumerate().rev() {
            if let Some(parent) = body.parent {
                ws.y_subtree[parent] = ws.y_subtree[parent].add(ws.y_subtree[i]);
            }
        }
    }

    /// The lower triangle of the mass matrix (CRBA), `ws.rotor` on its diagonal, after
    /// [`Model::gather_inertias`]. Entries across branches stay 0.
    #[inline]
    pub(crate) fn mass_matrix_of<S: Scalar>(&self, ws: &mut Workspace<S>) {
        let nv = self.nv();
        for (i, body) in self.bodies.iter().enumerate() {
            for k in body.v.clone() {
                let force = ws.y_subtree[i].apply(ws.j[k]);
                let row = &mut ws.m[k * nv..][..nv];
                for &l in self.ancestors(i) {
                    row[l] = ws.j[l].dot(force);
                }
                for l in body.v.start..=k {
                    row[l] = ws.j[l].dot(force);
                }
                row[k] += ws.rotor[k];
            }
        }
    }

    /// Forward dynamics (ABA): the accelerations under the joint forces in `tau`, into `ws.qdd`;
    /// after velocities and inertias. O(n).
    #[inline]
    pub(crate) fn articulated_body<S: Scalar>(&self, ws: &mut Workspace<S>, tau: &[S]) {
        for i in 0..self.bodies.len() {
            let (y, v) = (&ws.y[i], ws.v[i]);
            ws.articulated[i] = Articulated::of(y, v.cross_force(y.apply(v)));
        }
        for (i, body) in self.bodies.iter().enumerate().rev() {
            let mut inner = ws.articulated[i];
            inner.force = inner.force.add(inner.apply(ws.bias[i]));
            // One degree of freedom after the other: the same as a chain of massless bodies.
            for k in body.v.clone().rev() {
                let j = ws.j[k];
                let u = inner.apply(j);
                let d = j.dot(u) + ws.rotor[k];
                let inverse = d.recip();
                let rest = tau[k] - j.dot(inner.force);
                inner.give_way(u, inverse);
                inner.force = inner.force.add_scaled(rest * inverse, u);
                (ws.u[k], ws.d[k], ws.rest[k]) = (u, inverse, rest);
            }
            if let Some(parent) = body.parent {
                ws.articulated[parent].absorb(&inner);
            }
        }
        for (i, body) in self.bodies.iter().enumerate() {
            let mut a = match body.parent {
                None => self.world_acceleration(),
                Some(parent) => ws.a[parent],
            };
            for k in body.v.clone() {
                let qdd = (ws.rest[k] - a.dot(ws.u[k])) * ws.d[k];
                ws.qdd[k] = qdd;
                a = a.add_scaled(qdd, ws.j[k]);
            }
            ws.a[i] = a.add(ws.bias[i]);
        }
    }

    /// M = Lᵀ D L of the lower triangle in `ws.m`, L unit lower triangular with the sparsity of the
    /// tree (Featherstone 2008, 6.4): strict lower triangle of `ws.l`, and 1/D in `ws.d_inverse`.
    #[inline]
    pub(crate) fn factorize<S: Scalar>(&self, ws: &mut Workspace<S>) {
        let nv = self.nv();
        ws.l.copy_from_slice(&ws.m);
        for k in (0..nv).rev() {
            let (above, below) = ws.l.split_at_mut(k * nv);
            let row = &mut below[..nv];
            let inverse = row[k].recip();
            ws.d_inverse[k] = inverse;
            let body = self.dof_body[k];
            let own = self.bodies[body].v.start..k;
            let ancestors = self.ancestors(body);
            for i in ancestors.iter().copied().chain(own.clone()) {
                let scaled = row[i] * inverse;
                let upper = &mut above[i * nv..][..nv];
                for j in ancestors.iter().copied().take_while(|&j| j <= i) {
                    upper[j] -= scaled * row[j];
                }
                for j in own.clone().take_while(|&j| j <= i) {
                    upper[j] -= scaled * row[j];
                }
            }
            for i in ancestors.iter().copied().chain(own) {
                row[i] *= inverse;
            }
        }
    }

    /// Solves M x = b in place, after [`Model::factorize`].
    #[inline]
    pub(crate) fn solve_mass<S: Scalar>(&self, l: &[S], d_inverse: &[S], b: &mut [S]) {
        let nv = self.nv();
        for k in (0..nv).rev() {
            let x = b[k];
            self.for_ancestors(k, |i| b[i] -= l[k * nv + i] * x);
        }
        for k in 0..nv {
            let mut x = b[k] * d_inverse[k];
            self.for_ancestors(k, |i| x -= l[k * nv + i] * b[i]);
            b[k] = x;
        }
    }

    /// The same for all right-hand sides of the derivatives at once: rows [Q, V, T] of 3 nv numbers, Q
    /// and V with the sparsity of the tree (an entry between two degrees of freedom is 0 unless one is
    /// at or above the other), T the identity.
    ///
    /// On the way to the root only the columns of a row's own branch are not 0; of M⁻¹ = T, which is
    /// symmetric, the upper triangle is enough.
    #[inline]
    pub(crate) fn solve_derivatives<S: Scalar>(&self, l: &[S], d_inverse: &[S], b: &mut [S]) {
        let nv = self.nv();
        let n = 3 * nv;
        for k in (0..nv).rev() {
            let (above, below) = b.split_at_mut(k * n);
            let row = &below[..n];
            let body = &self.bodies[self.dof_body[k]];
            let behind = 2 * nv + k..2 * nv + body.subtree.end;
            self.for_ancestors(k, |i| {
                let (to, factor) = (&mut above[i * n..][..n], l[k * nv + i]);
                if body.branch[0].len() == nv {
                    axpy(&mut to[..2 * nv], factor, &row[..2 * nv]);
                } else {
                    for range in &body.branch {
                        for columns in [range.clone(), nv + range.start..nv + range.end] {
                            axpy(&mut to[columns.clone()], factor, &row[columns]);
                        }
                    }
                }
                axpy(&mut to[behind.clone()], factor, &row[behind.clone()]);
            });
        }
        for (row, &inverse) in b.chunks_exact_mut(n).zip(d_inverse) {
            row.iter_mut().for_each(|x| *x *= inverse);
        }
        for k in 0..nv {
            let (above, below) = b.split_at_mut(k * n);
            let row = &mut below[..n];
            self.for_ancestors(k, |i| {
                let (from, factor) = (&above[i * n..][..n], l[k * nv + i]);
                axpy(&mut row[..2 * nv], factor, &from[..2 * nv]);
                axpy(&mut row[2 * nv + k..], factor, &from[2 * nv + k..]);
            });
        }
        for k in 0..nv {
            for j in 0..k {
                b[k * n + 2 * nv + j] = b[j * n + 2 * nv + k];
            }
        }
    }

    /// Calls `f` for every degree of freedom between the root and `k`.
    #[inline(always)]
    fn for_ancestors(&self, k: usize, mut f: impl FnMut(usize)) {
        let body = self.dof_body[k];
        self.ancestors(body).iter().for_each(|&i| f(i));
        (self.bodies[body].v.start..k).for_each(f);
    }
}

/// to ← to − factor·from.
#[inline(always)]
fn axpy<S: Scalar>(to: &mut [S], factor: S, from: &[S]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to -= factor * from;
    }
}

impl<S: Scalar> Articulated<S> {
    /// A body alone, with the force it takes to keep it at its velocity.
    #[inline(always)]
    fn of(y: &Inertia<S>, force: Force<S>) -> Self {
        let (m, [x, yy, z], zero) = (S::from(y.mass), y.moment, S::zero());
        Self {
            linear: [m, m, m, zero, zero, zero],
            // −[m c]
            mixed: [[zero, z, -yy], [-z, zero, x], [yy, -x, zero]],
            angular: y.rotational,
            force,
        }
    }

    #[inline(always)]
    fn apply(&self, m: Motion<S>) -> Force<S> {
        Force {
            linear: add(apply_symmetric(&self.linear, m.linear), apply(&self.mixed, m.angular)),
            angular: add(
                apply_transposed(&self.mixed, m.linear),
                apply_symmetric(&self.angular, m.angular),
            ),
        }
    }

    /// Takes out what a free joint with column force `u` does not transmit.
    #[inline(always)]
    fn give_way(&mut self, u: Force<S>, inverse: S) {
        let (l, a) = (u.linear, u.angular);
        let (sl, sa) = (l.map(|x| x * inverse), a.map(|x| x * inverse));
        let outer = |m: &mut [S; 6], s: V3<S>, x: V3<S>| {
            m[0] -= s[0] * x[0];
            m[1] -= s[1] * x[1];
            m[2] -= s[2] * x[2];
            m[3] -= s[0] * x[1];
            m[4] -= s[0] * x[2];
            m[5] -= s[1] * x[2];
        };
        outer(&mut self.linear, sl, l);
        outer(&mut self.angular, sa, a);
        for (row, s) in self.mixed.iter_mut().zip(sl) {
            for (entry, a) in row.iter_mut().zip(a) {
                *entry -= s * a;
            }
        }
    }

    #[inline(always)]
    fn absorb(&mut self, child: &Self) {
        for (to, from) in [(&mut self.linear, &child.linear), (&mut self.angular, &child.angular)] {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
        }
        for (to, from) in self.mixed.iter_mut().zip(&child.mixed) {
            *to = add(*to, *from);
        }
        self.force = self.force.add(child.force);
    }
}
