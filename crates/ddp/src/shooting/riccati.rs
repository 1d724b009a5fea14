//! The step by a backward recursion and a roll-out of the linear model.

use dynamics::{CostExpansion, DerivativeScratch, Linearization, StepDerivative};
use nalgebra::{DMatrix, DVector};

use super::model::QuadraticModel;
use crate::backward_pass::{NodeModel, Regularization, Riccati};
use crate::kernels::axpy;

/// None: the Gauss–Newton Hessian of a problem that is well posed needs none.
const PLAIN: Regularization = Regularization { mu: 0.0, plain_value: true };

/// The recursion, its gains, and a node with some controls held.
pub(super) struct Recursion {
    riccati: Riccati,
    scratch: DerivativeScratch,
    terminal: CostExpansion,
    jacobian: Linearization,
    cost: CostExpansion,
    k: Vec<DVector<f64>>,
    gains: Vec<DMatrix<f64>>,
    dx: Vec<f64>,
    dx_next: Vec<f64>,
}

impl Recursion {
    pub(super) fn new(model: &QuadraticModel) -> Self {
        let (n, m, horizon) = (model.ndx, model.nu, model.horizon);
        let scratch = model.derivatives.first().map(StepDerivative::scratch);
        Self {
            riccati: Riccati::new(n, m),
            scratch: scratch.unwrap_or_default(),
            terminal: CostExpansion::zeros(n, m),
            jacobian: Linearization::zeros(n, m),
            cost: CostExpansion::zeros(n, m),
            k: vec![DVector::zeros(m); horizon],
            gains: vec![DMatrix::zeros(m, n); horizon],
            dx: vec![0.0; n],
            dx_next: vec![0.0; n],
        }
    }

    /// Solves H_FF d_F = −r_F on the free unknowns F, d = 0 elsewhere; false if H_FF is not positive
    /// definite.
    ///
    /// That is the regulator with cost ½ d·C d + r·d on the linear model, whose linear terms are all at
    /// the controls. A control that is held does not move the state and costs ½ d².
    pub(super) fn solve(
        &mut self,
        model: &QuadraticModel,
        residual: &[f64],
        is_free: &[bool],
        d: &mut [f64],
    ) -> bool {
        let (m, horizon) = (model.nu, model.horizon);
        self.terminal.lxx.copy_from(&model.costs[horizon].lxx);
        self.riccati.start(&self.terminal, PLAIN);
        for t in (0..horizon).rev() {
            let is_free = &is_free[t * m..][..m];
            let CostExpansion { lxx, lux, luu, .. } = &model.costs[t];
            self.cost.lu.copy_from_slice(&residual[t * m..][..m]);
            self.cost.lxx.copy_from(lxx);
            self.cost.lux.copy_from(lux);
            self.cost.luu.copy_from(luu);
            let jacobian = match &model.derivatives[t] {
                StepDerivative::Dense(jacobian) if is_free.iter().all(|free| *free) => jacobian,
                derivative => {
                    derivative.dense(&mut self.jacobian);
                    self.hold(is_free);
                    &self.jacobian
                }
            };
            let node = NodeModel {
                jacobian,
                cost: &self.cost,
                curvature: None,
                room: None,
                general: true,
            };
            if self.riccati.step(&node, PLAIN, &mut self.k[t], &mut self.gains[t]).is_err() {
                return false;
            }
        }
        self.dx.fill(0.0);
        for (t, derivative) in model.derivatives.iter().enumerate() {
            let du = &mut d[t * m..][..m];
            // du = k + K dx
            du.copy_from_slice(self.k[t].as_slice());
            for (column, dx) in self.gains[t].as_slice().chunks_exact(m).zip(&self.dx) {
                axpy(du, *dx, column);
            }
            derivative.tangent(&mut self.scratch, &self.dx, du, &mut self.dx_next);
            std::mem::swap(&mut self.dx, &mut self.dx_next);
        }
        true
    }

    /// Cuts controls that are held off the node.
    fn hold(&mut self, is_free: &[bool]) {
        for (j, _) in is_free.iter().enumerate().filter(|(_, free)| !**free) {
            self.jacobian.fu.column_mut(j).fill(0.0);
            let CostExpansion { lu, lux, luu, .. } = &mut self.cost;
            lu[j] = 0.0;
            lux.row_mut(j).fill(0.0);
            luu.row_mut(j).fill(0.0);
            luu.column_mut(j).fill(0.0);
            luu[(j, j)] = 1.0;
        }
    }
}
