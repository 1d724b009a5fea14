//! Sizes of a task, and its actions in units of half their range.

use dynamics::{ActionBounds, Task};
use nalgebra::DMatrix;

/// Entries of the state, its tangent, the observation and the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) nx: usize,
    pub(crate) ndx: usize,
    pub(crate) no: usize,
    pub(crate) nu: usize,
}

impl Sizes {
    pub(crate) fn of(task: &dyn Task) -> Self {
        let plant = task.plant();
        let nx = plant.any_nx();
        let no = task.observation().n_observations(nx);
        Self { nx, ndx: plant.any_ndx(), no, nu: plant.any_nu() }
    }

    /// u = middle + half·a: writes a.
    pub(crate) fn to_shares(self, bounds: &ActionBounds, u: &[f64], a: &mut [f64]) {
        for (j, (a, u)) in a.iter_mut().zip(u).enumerate() {
            let (low, high) = (bounds.low[j], bounds.high[j]);
            *a = (2.0 * u - high - low) / (high - low);
        }
    }

    /// Writes the physical action for one in units of half the range, clipped to the range.
    pub(crate) fn to_physical(self, bounds: &ActionBounds, a: &[f64], u: &mut [f64]) {
        for (j, (u, a)) in u.iter_mut().zip(a).enumerate() {
            let (low, high) = (bounds.low[j], bounds.high[j]);
            *u = 0.5 * (high + low) + 0.5 * (high - low) * a.clamp(-1.0, 1.0);
        }
    }

    /// ∂u/∂a of entry `j` at `a`: 0 strictly outside the range.
    pub(crate) fn slope(self, bounds: &ActionBounds, j: usize, a: f64) -> f64 {
        if a.abs() > 1.0 { 0.0 } else { 0.5 * (bounds.high[j] - bounds.low[j]) }
    }

    /// Turns derivatives by a into those by u.
    pub(crate) fn per_unit(self, bounds: &ActionBounds, fu: &mut DMatrix<f64>) {
        for (j, mut column) in fu.column_iter_mut().enumerate() {
            column *= 2.0 / (bounds.high[j] - bounds.low[j]);
        }
    }
}
