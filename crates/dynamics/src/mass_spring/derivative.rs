//! The derivative of a step by the implicit function theorem, in factored form.

use std::sync::Arc;

use nalgebra::DVector;

use super::factor::Factor;
use super::layout::Layout;
use super::mechanics::{Network, Objective, point};
use super::network::End;
use super::newton::Newton;
use super::scheme::Coefficients;
use crate::{DerivativeScratch, Linearization};

/// The derivative of one step of a [`MassSpring`](super::MassSpring): the factor of A = cM + U_xx at
/// the new positions and the few blocks that couple them to handles and dashpots. From r(x') = 0,
///
/// ```text
/// A δx' = cM (α₁δxₙ + α₂δxₙ₋₁ + β₁δvₙ + β₂δvₙ₋₁) − U_xp δp' − D (δxₙ, δpₙ),   δp' = δpₙ + h δu
/// ```
///
/// with D from the lengths at which dashpots start. Products take two triangular solves.
#[derive(Debug, Clone)]
pub struct MassSpringDerivative {
    network: Arc<Network>,
    layout: Layout,
    h: f64,
    coefficients: Coefficients,
    factor: Factor,
    /// Blocks K of the springs at handles, d × d each: U_xp = −K.
    handle_blocks: Vec<f64>,
    /// Of each dashpot: b/h n at its end, then n at its start.
    dashpots: Vec<f64>,
}

impl MassSpringDerivative {
    pub(super) fn new(
        network: Arc<Network>,
        layout: Layout,
        h: f64,
        coefficients: Coefficients,
    ) -> Self {
        let d = network.spec.dimension;
        Self {
            layout,
            h,
            coefficients,
            factor: Factor::new(&network.pattern),
            handle_blocks: vec![0.0; d * d * network.handled.len()],
            dashpots: vec![0.0; 2 * d * network.damped.len()],
            network,
        }
    }

    /// Whether this was made by a model of this network and layout.
    pub(super) fn belongs_to(&self, network: &Arc<Network>) -> bool {
        Arc::ptr_eq(&self.network, network)
    }

    /// Writes the derivative of the step from `state` that Newton's method has solved; whether A is
    /// positive definite.
    pub(super) fn write<const D: usize>(
        &mut self,
        coefficients: Coefficients,
        objective: &Objective,
        newton: &Newton,
        state: &DVector<f64>,
    ) -> bool {
        self.coefficients = coefficients;
        let network = &*self.network;
        let [x, p] =
            [self.layout.positions(), self.layout.handles()].map(|at| &state.as_slice()[at]);
        let mut blocks = self.handle_blocks.chunks_exact_mut(D * D);
        let mut dashpots = self.dashpots.chunks_exact_mut(2 * D);
        let springs = network.stretched::<D>(&newton.x, &objective.handles, &objective.dashpots);
        let mut handled = network.handled.iter().map(|(spring, ..)| *spring).peekable();
        let mut damped = network.damped.iter().zip(&objective.dashpots).peekable();
        for (index, (spring, s)) in springs.enumerate() {
            if handled.next_if_eq(&index).is_some()
                && let Some(block) = blocks.next()
            {
                for (out, row) in block.chunks_exact_mut(D).zip(s.stiffness()) {
                    out.copy_from_slice(&row);
                }
            }
            if let Some((_, dashpot)) = damped.next_if(|(at, _)| **at == index)
                && let Some(out) = dashpots.next()
            {
                let before = spring.vector::<D>(x, p);
                for k in 0..D {
                    out[k] = dashpot.rate * s.n[k];
                    // A dashpot that starts at length 0 has no direction; its slope counts as 0.
                    out[D + k] =
                        if dashpot.length > 0.0 { before[k] / dashpot.length } else { 0.0 };
                }
            }
        }
        self.factor.factor(&newton.matrix)
    }

    /// Whether the step has a derivative: A is not singular.
    pub(super) fn is_regular(&self) -> bool {
        self.factor.is_invertible()
    }

    /// Overwrites b (n) by A⁻¹b.
    pub(super) fn solve(&self, b: &mut [f64], placed: &mut [f64]) {
        self.factor.solve(&self.network.pattern, b, placed);
    }

    pub(super) fn gamma0(&self) -> f64 {
        self.coefficients.gamma[0]
    }

    /// Coordinates of the masses, n.
    pub(crate) fn n(&self) -> usize {
        self.layout.n
    }

    pub(crate) fn tangent(
        &self,
        scratch: &mut DerivativeScratch,
        dx: &[f64],
        du: &[f64],
        out: &mut [f64],
    ) {
        scratch.fit(self.layout.n);
        match self.network.spec.dimension {
            2 => self.tangent_in::<2>(scratch, dx, du, out),
            _ => self.tangent_in::<3>(scratch, dx, du, out),
        }
    }

    pub(crate) fn adjoint(
        &self,
        scratch: &mut DerivativeScratch,
        lambda: &[f64],
        out_x: &mut [f64],
        out_u: &mut [f64],
    ) {
        scratch.fit(self.layout.n);
        match self.network.spec.dimension {
            2 => self.adjoint_in::<2>(scratch, lambda, out_x, out_u),
            _ => self.adjoint_in::<3>(scratch, lambda, out_x, out_u),
        }
    }

    pub(crate) fn dense(&self, out: &mut Linearization) {
        match self.network.spec.dimension {
            2 => self.dense_in::<2>(out),
            _ => self.dense_in::<3>(out),
        }
    }

    /// Subtracts U_xp δp' from `rhs`.
    fn pull_handles<const D: usize>(&self, dp: &[f64], rhs: &mut [f64]) {
        let blocks = self.handle_blocks.chunks_exact(D * D);
        for (&(_, mass, handle), block) in self.network.handled.iter().zip(blocks) {
            let dp: [f64; D] = point(dp, handle);
            for (rhs, row) in rhs[D * mass..].iter_mut().zip(block.chunks_exact(D)) {
                *rhs += row.iter().zip(&dp).map(|(k, dp)| k * dp).sum::<f64>();
            }
        }
    }

    /// Subtracts D (δx, δp) from `rhs`.
    fn pull_dashpots<const D: usize>(&self, dx: &[f64], dp: &[f64], rhs: &mut [f64]) {
        for (&index, ends) in self.network.damped.iter().zip(self.dashpots.chunks_exact(2 * D)) {
            let spring = &self.network.spec.springs[index];
            let (after, before) = ends.split_at(D);
            let change: [f64; D] = spring.vector(dx, dp);
            let longer: f64 = change.iter().zip(before).map(|(c, n)| c * n).sum();
            spring.scatter(longer, &point::<D>(after, 0), rhs);
        }
    }

    fn tangent_in<const D: usize>(
        &self,
        scratch: &mut DerivativeScratch,
        dx: &[f64],
        du: &[f64],
        out: &mut [f64],
    ) {
        let n = self.layout.n;
        let Coefficients { c, alpha, beta, gamma } = self.coefficients;
        let (history, dp) = dx.split_at(4 * n);
        let (out, out_p) = out.split_at_mut(4 * n);
        for ((out, dp), du) in out_p.iter_mut().zip(dp).zip(du) {
            *out = dp + self.h * du;
        }
        let (out_x, rest) = out.split_at_mut(n);
        for (i, mass) in self.network.coordinate_masses.iter().enumerate() {
            out_x[i] = c
                * mass
                * (alpha[0] * history[i]
                    + alpha[1] * history[n + i]
                    + beta[0] * history[2 * n + i]
                    + beta[1] * history[3 * n + i]);
        }
        self.pull_handles::<D>(out_p, out_x);
        self.pull_dashpots::<D>(&history[..n], dp, out_x);
        self.solve(out_x, &mut scratch.placed);
        rest[..n].copy_from_slice(&history[..n]);
        rest[2 * n..].copy_from_slice(&history[2 * n..3 * n]);
        for i in 0..n {
            rest[n + i] = gamma[0] * out_x[i] + gamma[1] * history[i] + gamma[2] * history[n + i];
        }
    }

    fn adjoint_in<const D: usize>(
        &self,
        scratch: &mut DerivativeScratch,
        lambda: &[f64],
        out_x: &mut [f64],
        out_u: &mut [f64],
    ) {
        let n = self.layout.n;
        let Coefficients { c, alpha, beta, gamma } = self.coefficients;
        let (lambda, lambda_p) = lambda.split_at(4 * n);
        let (out, out_p) = out_x.split_at_mut(4 * n);
        let DerivativeScratch { solved: mu, placed } = scratch;
        for i in 0..n {
            mu[i] = lambda[i] + gamma[0] * lambda[2 * n + i];
        }
        self.solve(mu, placed);
        for (i, mass) in self.network.coordinate_masses.iter().enumerate() {
            let (q, lambda_v) = (c * mass * mu[i], lambda[2 * n + i]);
            out[i] = lambda[n + i] + gamma[1] * lambda_v + alpha[0] * q;
            out[n + i] = gamma[2] * lambda_v + alpha[1] * q;
            out[2 * n + i] = lambda[3 * n + i] + beta[0] * q;
            out[3 * n + i] = beta[1] * q;
        }
        // b̂ = λ_p − U_xpᵀμ is what p' and so pₙ and h u receive.
        out_p.copy_from_slice(lambda_p);
        let blocks = self.handle_blocks.chunks_exact(D * D);
        for (&(_, mass, handle), block) in self.network.handled.iter().zip(blocks) {
            for (row, mu) in block.chunks_exact(D).zip(&mu[D * mass..]) {
                for (out, k) in out_p[D * handle..].iter_mut().zip(row) {
                    *out += k * mu;
                }
            }
        }
        for (out, received) in out_u.iter_mut().zip(out_p.iter()) {
            *out = self.h * received;
        }
        for (&index, ends) in self.network.damped.iter().zip(self.dashpots.chunks_exact(2 * D)) {
            let spring = &self.network.spec.springs[index];
            let (after, before) = ends.split_at(D);
            let along: f64 =
                spring.mass_difference::<D>(mu).iter().zip(after).map(|(m, n)| m * n).sum();
            spring.scatter_all(along, &point::<D>(before, 0), &mut out[..n], out_p);
        }
    }

    /// Columns of A⁻¹cM and A⁻¹K serve all blocks; each is solved for within the column of `fx` that
    /// it belongs to, the rows below serving as scratch before they are written.
    fn dense_in<const D: usize>(&self, out: &mut Linearization) {
        let n = self.layout.n;
        let Coefficients { c, alpha, beta, gamma } = self.coefficients;
        let (handles, damped) = (self.layout.n_handle_coordinates, !self.dashpots.is_empty());
        let ndx = self.layout.ndx();
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        fu.fill(0.0);
        let fx_entries = fx.as_mut_slice();
        for j in 0..n {
            // The last of the four columns first, since its scratch is overwritten by the others.
            let column = &mut fx_entries[ndx * j..ndx * (j + 1)];
            let (top, scratch) = column.split_at_mut(n);
            top[j] = c * self.network.coordinate_masses[j];
            self.solve(top, &mut scratch[..n]);
            scratch[..n].fill(0.0);
            for (block, factor) in [(1, alpha[1]), (2, beta[0]), (3, beta[1]), (0, alpha[0])] {
                for i in 0..n {
                    fx_entries[ndx * (block * n + j) + i] = factor * fx_entries[ndx * j + i];
                }
            }
        }
        for k in 0..handles {
            let at = ndx * (4 * n + k);
            let (column, direction) = fx_entries[at..at + ndx].split_at_mut(4 * n);
            direction[k] = 1.0;
            let (top, scratch) = column.split_at_mut(n);
            self.pull_handles::<D>(direction, top);
            self.solve(top, &mut scratch[..n]);
            scratch[..n].fill(0.0);
            for i in 0..n {
                let value = self.h * top[i];
                fu[(i, k)] = value;
                fu[(2 * n + i, k)] = gamma[0] * value;
            }
            fu[(4 * n + k, k)] = self.h;
        }
        if damped {
            self.add_dashpots::<D>(fx_entries);
        }
        for column in 0..ndx {
            for i in 0..n {
                fx[(2 * n + i, column)] = gamma[0] * fx[(i, column)];
            }
        }
        for i in 0..n {
            fx[(n + i, i)] = 1.0;
            fx[(3 * n + i, 2 * n + i)] = 1.0;
            fx[(2 * n + i, i)] += gamma[1];
            fx[(2 * n + i, n + i)] += gamma[2];
        }
    }

    /// Subtracts A⁻¹D from the x-rows of the columns of xₙ and pₙ; the v-rows are still scratch.
    fn add_dashpots<const D: usize>(&self, fx: &mut [f64]) {
        let (n, ndx) = (self.layout.n, self.layout.ndx());
        for column in self.layout.positions().chain(self.layout.handles()) {
            for (&index, ends) in self.network.damped.iter().zip(self.dashpots.chunks_exact(2 * D))
            {
                let spring = &self.network.spec.springs[index];
                let (after, before) = ends.split_at(D);
                // The direction of the column, seen by this spring.
                let longer: f64 = spring
                    .ends
                    .iter()
                    .zip([1.0, -1.0])
                    .map(|(end, sign)| {
                        let first = self.first_coordinate(*end);
                        let inside = (first..first + D).contains(&column);
                        if inside { sign * before[column - first] } else { 0.0 }
                    })
                    .sum();
                let rows = &mut fx[ndx * column + n..ndx * column + 2 * n];
                spring.scatter(longer, &point::<D>(after, 0), rows);
            }
            let (top, rest) = fx[ndx * column..ndx * (column + 1)].split_at_mut(n);
            let (rhs, placed) = rest.split_at_mut(n);
            self.solve(rhs, &mut placed[..n]);
            for (top, rhs) in top.iter_mut().zip(rhs.iter()) {
                *top += rhs;
            }
            rest[..2 * n].fill(0.0);
        }
    }

    /// Where a point's coordinates begin in the state.
    fn first_coordinate(&self, end: End) -> usize {
        let d = self.network.spec.dimension;
        match end {
            End::Mass(index) => d * index,
            End::Handle(index) => 4 * self.layout.n + d * index,
        }
    }
}
