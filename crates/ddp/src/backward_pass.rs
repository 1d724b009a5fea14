//! The backward pass: from the quadratic model of each node to gains and the value's expansion.
//!
//! Sheet of the pass at one node, with p, P the gradient and Hessian of the value behind the gap of
//! the next node, discounted:
//!
//! ```text
//! Q_u = ℓ_u + f_uᵀ p          Q_x = ℓ_x + f_xᵀ p
//! Q_uu = ℓ_uu + f_uᵀ P f_u + μ   Q_xu = ℓ_xu + f_xᵀ P f_u   Q_xx = ℓ_xx + f_xᵀ P f_x   (+ p·f_zz)
//! k = argmin ½ kᵀ Q_uu k + Q_uᵀ k (in the box)   K_f = −Q_uu,ff⁻¹ Q_ux,f, other rows 0
//! V_x = Q_x + KᵀQ_u   V_xx = Q_xx + Q_xu K + μ   then V_x += V_xx gap
//! ```
//!
//! That V_x leaves out what clamped controls still move, and so does the slope of the expected
//! improvement; with both, the iterates are those of Crocoddyl. In general V_x = Q_x + Q_xu k. The values
//! that are handed out are those of the plain quadratic model under the gains found, with −μ Kᵀk and
//! −μ KᵀK in addition.

use dynamics::{CostExpansion, HessianProduct, Linearization};
use nalgebra::{DMatrix, DVector};
use pulp::{Arch, Simd, WithSimd};

use crate::box_qp::BoxQp;
use crate::kernels::{
    Right, axpy, cholesky, cholesky_solve, dot, padded, product, subtract_product,
};

/// Values beyond this count as not finite.
pub(crate) const HUGE: f64 = 1e30;

/// Why a backward pass cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Q_uu is not positive definite (on the free controls).
    Indefinite,
    /// The value is not finite.
    NotFinite,
}

/// What the pass knows of a node.
pub(crate) struct NodeModel<'a> {
    pub(crate) jacobian: &'a Linearization,
    pub(crate) cost: &'a CostExpansion,
    /// Curvature of the dynamics along the costate, for full second order.
    pub(crate) curvature: Option<&'a HessianProduct>,
    /// low − u and high − u, where the box holds.
    pub(crate) room: Option<(&'a [f64], &'a [f64])>,
    /// Whether value and slope count what clamped controls still move.
    pub(crate) general: bool,
}

/// How μ enters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Regularization {
    pub(crate) mu: f64,
    /// Whether the value is that of the plain quadratic model, not of the regularised one.
    pub(crate) plain_value: bool,
}

/// The value's expansion at the node that the pass has reached, and its scratch.
///
/// Matrices are column-major with padded rows. Controls come before states, so that the block of
/// states under controls, Q_xu, has contiguous columns.
pub(crate) struct Riccati {
    n: usize,
    m: usize,
    arch: Arch,
    /// V_x and V_xx (padded) of the node that was reached last.
    pub(crate) vx: Vec<f64>,
    vxx: Vec<f64>,
    /// [f_u f_x]ᵀ.
    transposed: Vec<f64>,
    /// P [f_u f_x].
    carried: Vec<f64>,
    /// Gradient and Hessian of Q by [u, x], the latter on and below its diagonal.
    q: Vec<f64>,
    qq: Vec<f64>,
    quu: Vec<f64>,
    factor: Vec<f64>,
    /// Q_xu L⁻ᵀ and Q_xu Q_uu⁻¹ of the free controls.
    half: Vec<f64>,
    full: Vec<f64>,
    k: Vec<f64>,
    qp: BoxQp,
    all: Vec<usize>,
    /// Q_uᵀ k over the free controls and kᵀ Q_uu k of the node.
    pub(crate) linear: f64,
    /// Σ |Q_u k| over the clamped controls, where `linear` leaves them out.
    pub(crate) clamped: f64,
    pub(crate) quadratic: f64,
}

/// One step, to be compiled for each instruction set.
struct Step<'a, 'n> {
    riccati: &'a mut Riccati,
    node: &'a NodeModel<'n>,
    regularization: Regularization,
    k: &'a mut DVector<f64>,
    gains: &'a mut DMatrix<f64>,
}

impl WithSimd for Step<'_, '_> {
    type Output = Result<(), Failure>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        self.riccati.step_on_this_machine(self.node, self.regularization, self.k, self.gains)
    }
}

impl Riccati {
    pub(crate) fn new(n: usize, m: usize) -> Self {
        let (np, zp) = (padded(n), padded(n + m));
        Self {
            n,
            m,
            arch: Arch::new(),
            vx: vec![0.0; n],
            vxx: vec![0.0; np * n],
            transposed: vec![0.0; zp * n],
            carried: vec![0.0; np * (n + m)],
            q: vec![0.0; zp],
            qq: vec![0.0; zp * (n + m)],
            quu: vec![0.0; m * m],
            factor: vec![0.0; m * m],
            half: vec![0.0; np * m],
            full: vec![0.0; np * m],
            k: vec![0.0; m],
            qp: BoxQp::new(m),
            all: (0..m).collect(),
            linear: 0.0,
            clamped: 0.0,
            quadratic: 0.0,
        }
    }

    /// Begins at the last node.
    pub(crate) fn start(&mut self, terminal: &CostExpansion, regularization: Regularization) {
        let (n, np) = (self.n, padded(self.n));
        self.vx.copy_from_slice(terminal.lx.as_slice());
        for j in 0..n {
            self.vxx[j * np..][..n].copy_from_slice(&terminal.lxx.as_slice()[j * n..][..n]);
        }
        self.raise_diagonal(regularization);
    }

    /// Moves the expansion point over a gap; writes V_xx gap into `product`.
    pub(crate) fn cross_gap(&mut self, gap: &DVector<f64>, product: &mut DVector<f64>) {
        self.multiply(gap, product);
        axpy(&mut self.vx, 1.0, product.as_slice());
    }

    /// Writes V_xx d.
    pub(crate) fn multiply(&self, d: &DVector<f64>, out: &mut DVector<f64>) {
        let np = padded(self.n);
        out.fill(0.0);
        for (column, &d) in self.vxx.chunks_exact(np).zip(d.as_slice()) {
            axpy(out.as_mut_slice(), d, &column[..self.n]);
        }
    }

    /// Writes V_x and V_xx.
    pub(crate) fn value(&self, vx: &mut DVector<f64>, vxx: &mut DMatrix<f64>) {
        let (n, np) = (self.n, padded(self.n));
        vx.as_mut_slice().copy_from_slice(&self.vx);
        for j in 0..n {
            vxx.as_mut_slice()[j * n..][..n].copy_from_slice(&self.vxx[j * np..][..n]);
        }
    }

    /// Discounts the value of the node that was reached, before the next [`Riccati::step`].
    pub(crate) fn discount(&mut self, gamma: f64) {
        if gamma != 1.0 {
            self.vx.iter_mut().chain(&mut self.vxx).for_each(|v| *v *= gamma);
        }
    }

    /// Goes back over one node; writes its gains.
    pub(crate) fn step(
        &mut self,
        node: &NodeModel<'_>,
        regularization: Regularization,
        k: &mut DVector<f64>,
        gains: &mut DMatrix<f64>,
    ) -> Result<(), Failure> {
        let arch = self.arch;
        arch.dispatch(Step { riccati: self, node, regularization, k, gains })
    }

    #[inline(always)]
    fn step_on_this_machine(
        &mut self,
        node: &NodeModel<'_>,
        regularization: Regularization,
        k: &mut DVector<f64>,
        gains: &mut DMatrix<f64>,
    ) -> Result<(), Failure> {
        self.expand(node);
        let (n, m) = (self.n, self.m);
        let (np, zp, mu) = (padded(n), padded(n + m), regularization.mu);
        for j in 0..m {
            for i in j..m {
                let entry = self.qq[j * zp + i];
                self.quu[j * m + i] = entry;
                self.quu[i * m + j] = entry;
            }
            self.quu[j * m + j] += mu;
        }
        let free = match node.room {
            Some((low, high)) => {
                self.qp.x.fill(0.0);
                if !self.qp.minimize(&self.quu, &self.q[..m], low, high) {
                    return Err(Failure::Indefinite);
                }
                self.k.copy_from_slice(&self.qp.x);
                &self.qp.free
            }
            None => &self.all,
        };
        let n_free = free.len();
        // Q_uu,ff = L Lᵀ
        for (b, &j) in free.iter().enumerate() {
            for (a, &i) in free.iter().enumerate().skip(b) {
                self.factor[b * n_free + a] = self.quu[j * m + i];
            }
        }
        let l = &mut self.factor[..n_free * n_free];
        if !cholesky(l, n_free) {
            return Err(Failure::Indefinite);
        }
        if node.room.is_none() {
            for (k, q) in self.k.iter_mut().zip(&self.q) {
                *k = -q;
            }
            cholesky_solve(l, m, &mut self.k);
        }
        // half = Q_xu,f L⁻ᵀ, full = half L⁻¹
        for (b, &j) in free.iter().enumerate() {
            let (before, column) = self.half.split_at_mut(b * np);
            let column = &mut column[..np];
            column[..n].copy_from_slice(&self.qq[j * zp + m..][..n]);
            for (a, other) in before.chunks_exact(np).enumerate() {
                axpy(column, -l[a * n_free + b], other);
            }
            let inverse = 1.0 / l[b * n_free + b];
            column.iter_mut().for_each(|y| *y *= inverse);
        }
        for b in (0..n_free).rev() {
            let (column, after) = self.full[b * np..].split_at_mut(np);
            column.copy_from_slice(&self.half[b * np..][..np]);
            for (a, other) in after.chunks_exact(np).take(n_free - b - 1).enumerate() {
                axpy(column, -l[b * n_free + b + 1 + a], other);
            }
            let inverse = 1.0 / l[b * n_free + b];
            column.iter_mut().for_each(|y| *y *= inverse);
        }
        // K
        if n_free < m {
            gains.fill(0.0);
        }
        for (b, &j) in free.iter().enumerate() {
            for (i, &entry) in self.full[b * np..][..n].iter().enumerate() {
                gains.as_mut_slice()[i * m + j] = -entry;
            }
        }
        k.as_mut_slice().copy_from_slice(&self.k);
        // V_x = Q_x + Q_xu k or Q_x + KᵀQ_u, V_xx = Q_xx − half halfᵀ
        self.vx.copy_from_slice(&self.q[m..m + n]);
        if node.general {
            for (j, &k) in self.k.iter().enumerate() {
                axpy(&mut self.vx, k, &self.qq[j * zp + m..][..n]);
            }
        } else {
            for (b, &j) in free.iter().enumerate() {
                axpy(&mut self.vx, -self.q[j], &self.full[b * np..][..n]);
            }
        }
        for j in 0..n {
            self.vxx[j * np..][..n].copy_from_slice(&self.qq[(m + j) * zp + m..][..n]);
        }
        let used = &self.half[..n_free * np];
        subtract_product(
            &mut self.vxx,
            used,
            Right { entries: used, row: np, column: 1 },
            np,
            n_free,
        );
        if regularization.plain_value && mu > 0.0 {
            let full = &self.full[..n_free * np];
            for (b, &j) in free.iter().enumerate() {
                axpy(&mut self.vx, mu * self.k[j], &full[b * np..][..n]);
                for i in 0..n {
                    let factor = -mu * full[b * np + i];
                    axpy(&mut self.vxx[i * np..][..n], factor, &full[b * np..][..n]);
                }
            }
        }
        for j in 0..n {
            for i in j + 1..n {
                self.vxx[i * np + j] = self.vxx[j * np + i];
            }
        }
        (self.linear, self.clamped) = (0.0, 0.0);
        for j in 0..m {
            let part = self.q[j] * self.k[j];
            if node.general || free.contains(&j) {
                self.linear += part;
            } else {
                self.clamped += part.abs();
            }
        }
        self.raise_diagonal(regularization);
        self.quadratic = (0..m).map(|j| self.k[j] * dot(&self.quu[j * m..][..m], &self.k)).sum();
        let finite = |v: &f64| v.abs() < HUGE;
        let diagonal = (0..n).all(|j| finite(&self.vxx[j * np + j]));
        if diagonal && self.vx.iter().all(finite) { Ok(()) } else { Err(Failure::NotFinite) }
    }

    /// Gradient and Hessian of Q.
    #[inline(always)]
    fn expand(&mut self, node: &NodeModel<'_>) {
        let (n, m) = (self.n, self.m);
        let (np, zp) = (padded(n), padded(n + m));
        let Linearization { fx, fu } = node.jacobian;
        let (fx, fu) = (fx.as_slice(), fu.as_slice());
        for i in 0..n {
            let column = &mut self.transposed[i * zp..][..n + m];
            for (j, entry) in column[..m].iter_mut().enumerate() {
                *entry = fu[j * n + i];
            }
            for (j, entry) in column[m..].iter_mut().enumerate() {
                *entry = fx[j * n + i];
            }
        }
        let (by_u, by_x) = self.carried.split_at_mut(np * m);
        product::<false>(by_u, &self.vxx, Right { entries: fu, row: 1, column: n }, np, n);
        product::<false>(by_x, &self.vxx, Right { entries: fx, row: 1, column: n }, np, n);
        let carried = Right { entries: &self.carried, row: 1, column: np };
        product::<true>(&mut self.qq, &self.transposed, carried, zp, n);
        let CostExpansion { lx, lu, lxx, lux, luu, .. } = node.cost;
        self.q[..m].copy_from_slice(lu.as_slice());
        self.q[m..m + n].copy_from_slice(lx.as_slice());
        for (i, &p) in self.vx.iter().enumerate() {
            axpy(&mut self.q, p, &self.transposed[i * zp..][..zp]);
        }
        self.add_hessian(lxx.as_slice(), lux.as_slice(), luu.as_slice());
        if let Some(h) = node.curvature {
            self.add_hessian(h.xx.as_slice(), h.ux.as_slice(), h.uu.as_slice());
        }
    }

    #[inline(always)]
    fn add_hessian(&mut self, xx: &[f64], ux: &[f64], uu: &[f64]) {
        let (n, m) = (self.n, self.m);
        let zp = padded(n + m);
        for j in 0..m {
            let column = &mut self.qq[j * zp..][..n + m];
            axpy(&mut column[j..m], 1.0, &uu[j * m + j..][..m - j]);
            for (i, entry) in column[m..].iter_mut().enumerate() {
                *entry += ux[i * m + j];
            }
        }
        for j in 0..n {
            axpy(&mut self.qq[(m + j) * zp + m + j..][..n - j], 1.0, &xx[j * n + j..][..n - j]);
        }
    }

    fn raise_diagonal(&mut self, regularization: Regularization) {
        if !regularization.plain_value {
            let np = padded(self.n);
            for j in 0..self.n {
                self.vxx[j * np + j] += regularization.mu;
            }
        }
    }
}
