//! Gains and values at the trajectory that is returned.

use dynamics::{Cost, Dynamics, TerminalCost};
use nalgebra::{DMatrix, DVector};

use crate::backward_pass::Regularization;
use crate::regularization;
use crate::trajectory::Trajectory;
use crate::{DdpError, Solution, Solver, Status};

impl<D: Dynamics, C: Cost, E: TerminalCost> Solver<'_, D, C, E> {
    /// What was found, with gains and values at the trajectory itself: one more linearisation and a
    /// backward pass without regularisation. Where that fails, the gains need μ and the value is that
    /// of the policy with those gains, still in the plain quadratic model.
    pub(crate) fn solution(&mut self, status: Status) -> Result<Solution, DdpError> {
        let problem = self.problem;
        let (ndx, nu, horizon) = (problem.dynamics.ndx(), problem.dynamics.nu(), problem.horizon);
        let mut values = Values {
            vx: vec![DVector::from_element(ndx, f64::NAN); horizon + 1],
            vxx: vec![DMatrix::from_element(ndx, ndx, f64::NAN); horizon + 1],
        };
        let mut last_vx0 = DVector::from_element(ndx, f64::NAN);
        let mut last_vxx0 = DMatrix::from_element(ndx, ndx, f64::NAN);
        if !self.log.is_empty() {
            self.riccati.value(&mut last_vx0, &mut last_vxx0);
        }
        let found = self.first_bad_value().is_none() && self.refresh(Some(&mut values))?;
        if !found {
            for node in &mut self.nodes {
                node.k = DVector::from_element(nu, f64::NAN);
                node.gains = DMatrix::from_element(nu, ndx, f64::NAN);
            }
        }
        let Trajectory { xs, us, costs, gaps, cost, .. } = &self.now;
        let mut v = costs.clone();
        for t in (0..horizon).rev() {
            v[t] += problem.discount * v[t + 1];
        }
        v[0] = *cost;
        let multiplier =
            |((vx, vxx), gap): ((&DVector<f64>, &DMatrix<f64>), &DVector<f64>)| vx + vxx * gap;
        let multipliers = values.vx.iter().zip(&values.vxx).zip(gaps).map(multiplier).collect();
        Ok(Solution {
            method: self.method,
            status,
            iterations: self.iterations,
            cost: *cost,
            discount: problem.discount,
            feasible: self.feasible,
            regularization: self.mu,
            xs: xs.clone(),
            us: us.clone(),
            k: self.nodes.iter().map(|node| node.k.clone()).collect(),
            gains: self.nodes.iter().map(|node| node.gains.clone()).collect(),
            v,
            vx: values.vx,
            vxx: values.vxx,
            gaps: gaps.clone(),
            multipliers,
            last_vx0,
            last_vxx0,
            log: self.log.clone(),
        })
    }

    /// Linearises at the trajectory and computes gains (and values) there; false if no regularisation
    /// makes that possible.
    pub(crate) fn refresh(&mut self, mut values: Option<&mut Values>) -> Result<bool, DdpError> {
        self.linearize()?;
        self.curved = self.takes_curvature();
        let mut mu = 0.0;
        loop {
            let regularization = Regularization { mu, plain_value: true };
            if self.sweep(regularization, values.as_deref_mut()).is_ok() {
                return Ok(true);
            }
            if !regularization::increase(&mut mu, &self.settings) {
                return Ok(false);
            }
        }
    }
}

/// Expansion of the value at every node.
pub(crate) struct Values {
    pub(crate) vx: Vec<DVector<f64>>,
    pub(crate) vxx: Vec<DMatrix<f64>>,
}
