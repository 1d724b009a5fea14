//! The step by conjugate gradients, with the control Hessians of the costs as preconditioner.

use dynamics::CostExpansion;

use super::model::QuadraticModel;
use crate::kernels::{axpy, cholesky, cholesky_solve, dot};

/// Vectors of the iteration, and the factors of the preconditioner's blocks.
pub(super) struct ConjugateGradient {
    residual: Vec<f64>,
    scaled: Vec<f64>,
    direction: Vec<f64>,
    product: Vec<f64>,
    blocks: Vec<f64>,
}

/// How an iteration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Converged,
    CutOff,
    Indefinite,
}

impl ConjugateGradient {
    pub(super) fn new(model: &QuadraticModel) -> Self {
        let n = model.unknowns();
        let zeros = || vec![0.0; n];
        Self {
            residual: zeros(),
            scaled: zeros(),
            direction: zeros(),
            product: zeros(),
            blocks: vec![0.0; n * model.nu],
        }
    }

    /// Solves H_FF d_F = −r_F on the free unknowns F, d = 0 elsewhere, up to `tolerance` relative to r.
    pub(super) fn solve(
        &mut self,
        model: &mut QuadraticModel,
        residual: &[f64],
        is_free: &[bool],
        (tolerance, max_iterations): (f64, usize),
        d: &mut [f64],
    ) -> Ending {
        let m = model.nu;
        self.factorize(&model.costs, m, is_free);
        d.fill(0.0);
        self.residual.copy_from_slice(residual);
        self.residual.iter_mut().for_each(|r| *r = -*r);
        hold(&mut self.residual, is_free);
        let small = tolerance * dot(&self.residual, &self.residual).sqrt();
        let mut rho = self.scale(m);
        self.direction.copy_from_slice(&self.scaled);
        for _ in 0..max_iterations {
            if dot(&self.residual, &self.residual).sqrt() <= small {
                return Ending::Converged;
            }
            model.product(&self.direction, &mut self.product);
            hold(&mut self.product, is_free);
            let curvature = dot(&self.direction, &self.product);
            // Also refuses a number that is not finite.
            if !(curvature > 0.0 && curvature.is_finite()) {
                return Ending::Indefinite;
            }
            let step = rho / curvature;
            axpy(d, step, &self.direction);
            axpy(&mut self.residual, -step, &self.product);
            let before = rho;
            rho = self.scale(m);
            let factor = rho / before;
            for (direction, scaled) in self.direction.iter_mut().zip(&self.scaled) {
                *direction = scaled + factor * *direction;
            }
        }
        match dot(&self.residual, &self.residual).sqrt() <= small {
            true => Ending::Converged,
            false => Ending::CutOff,
        }
    }

    /// Factors of the blocks ℓ_uu, where they are positive definite, else of the identity.
    fn factorize(&mut self, costs: &[CostExpansion], m: usize, is_free: &[bool]) {
        let nodes = self.blocks.chunks_exact_mut(m * m).zip(costs).zip(is_free.chunks_exact(m));
        for ((block, cost), is_free) in nodes {
            for j in 0..m {
                for i in 0..m {
                    let entry = if is_free[i] && is_free[j] { cost.luu[(i, j)] } else { 0.0 };
                    block[j * m + i] = if i == j && !is_free[i] { 1.0 } else { entry };
                }
            }
            if !cholesky(block, m) {
                block.fill(0.0);
                (0..m).for_each(|i| block[i * m + i] = 1.0);
            }
        }
    }

    /// Applies the preconditioner to the residual; returns the product of the two.
    fn scale(&mut self, m: usize) -> f64 {
        self.scaled.copy_from_slice(&self.residual);
        let blocks = self.blocks.chunks_exact(m * m);
        for (scaled, block) in self.scaled.chunks_exact_mut(m).zip(blocks) {
            cholesky_solve(block, m, scaled);
        }
        dot(&self.residual, &self.scaled)
    }
}

fn hold(values: &mut [f64], is_free: &[bool]) {
    for (value, free) in values.iter_mut().zip(is_free) {
        if !free {
            *value = 0.0;
        }
    }
}
