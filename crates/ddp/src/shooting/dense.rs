//! The step by a factorisation of H.

use super::model::QuadraticModel;
use crate::kernels::{cholesky, cholesky_solve};

/// H and the factor of its free part.
pub(super) struct Dense {
    h: Vec<f64>,
    factor: Vec<f64>,
    free: Vec<usize>,
    x: Vec<f64>,
}

impl Dense {
    pub(super) fn new(unknowns: usize) -> Self {
        Self {
            h: vec![0.0; unknowns * unknowns],
            factor: vec![0.0; unknowns * unknowns],
            free: Vec::with_capacity(unknowns),
            x: Vec::with_capacity(unknowns),
        }
    }

    /// Takes H of the roll-out.
    pub(super) fn prepare(&mut self, model: &mut QuadraticModel) {
        model.assemble(&mut self.h);
    }

    /// Solves H_FF d_F = −r_F on the free unknowns F, d = 0 elsewhere; false if H_FF is not positive
    /// definite.
    pub(super) fn solve(&mut self, residual: &[f64], is_free: &[bool], d: &mut [f64]) -> bool {
        let size = residual.len();
        let Self { h, factor, free, x } = self;
        free.clear();
        free.extend((0..size).filter(|&i| is_free[i]));
        let n = free.len();
        let factor = &mut factor[..n * n];
        for (column, &j) in factor.chunks_exact_mut(n.max(1)).zip(free.iter()) {
            let from = &h[j * size..][..size];
            for (entry, &i) in column.iter_mut().zip(free.iter()) {
                *entry = from[i];
            }
        }
        if !cholesky(factor, n) {
            return false;
        }
        x.clear();
        x.extend(free.iter().map(|&i| -residual[i]));
        cholesky_solve(factor, n, x);
        d.fill(0.0);
        for (&i, x) in free.iter().zip(x.iter()) {
            d[i] = *x;
        }
        true
    }
}
