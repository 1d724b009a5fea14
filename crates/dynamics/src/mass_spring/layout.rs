//! Where things are in the state, and what a policy sees of it.

use std::ops::Range;

use nalgebra::{DMatrix, DVector};

use crate::{Observation, ObservationJacobian, StateSpace};

/// The state y = (xₙ, xₙ₋₁, vₙ, vₙ₋₁, pₙ[, flag]): n entries for each of the first four, P for the
/// handles; the flag is 1 until the first step has been made and 0 from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Coordinates of the masses, n.
    pub n: usize,
    /// Coordinates of the handles, P: the entries of a control.
    pub n_handle_coordinates: usize,
    /// Whether the state ends with the flag.
    pub has_flag: bool,
}

impl Layout {
    /// Entries of the state.
    #[must_use]
    pub fn nx(&self) -> usize {
        self.ndx() + usize::from(self.has_flag)
    }
    /// Directions of the state, 4n + P.
    #[must_use]
    pub fn ndx(&self) -> usize {
        4 * self.n + self.n_handle_coordinates
    }
    /// Positions xₙ of the masses (m).
    #[must_use]
    pub fn positions(&self) -> Range<usize> {
        0..self.n
    }
    /// Positions xₙ₋₁ (m).
    #[must_use]
    pub fn previous_positions(&self) -> Range<usize> {
        self.n..2 * self.n
    }
    /// Velocities vₙ [m/s].
    #[must_use]
    pub fn velocities(&self) -> Range<usize> {
        2 * self.n..3 * self.n
    }
    /// Velocities vₙ₋₁ [m/s].
    #[must_use]
    pub fn previous_velocities(&self) -> Range<usize> {
        3 * self.n..4 * self.n
    }
    /// Positions pₙ of the handles (m).
    #[must_use]
    pub fn handles(&self) -> Range<usize> {
        4 * self.n..self.ndx()
    }
    /// Position of the flag.
    #[must_use]
    pub fn flag(&self) -> Option<usize> {
        self.has_flag.then(|| self.ndx())
    }
    /// Whether `state` waits for its first step.
    pub(super) fn is_start(&self, state: &DVector<f64>) -> bool {
        self.flag().is_some_and(|flag| state[flag] > 0.5)
    }
}

/// States with a flag: tangent vectors leave it out.
impl StateSpace for Layout {
    fn integrate(&self, x: &DVector<f64>, dx: &DVector<f64>, out: &mut DVector<f64>) {
        out.copy_from(x);
        for (out, dx) in out.iter_mut().zip(dx.iter()) {
            *out += dx;
        }
    }
    fn difference(&self, x0: &DVector<f64>, x1: &DVector<f64>, out: &mut DVector<f64>) {
        for ((out, x0), x1) in out.iter_mut().zip(x0.iter()).zip(x1.iter()) {
            *out = x1 - x0;
        }
    }
    fn difference_jacobian(&self, _: &DVector<f64>, _: &DVector<f64>, out: &mut DMatrix<f64>) {
        out.fill_with_identity();
    }
}

/// What a policy sees of a network: (pₙ, xₙ, vₙ), P + 2n entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkObservation(pub Layout);

impl NetworkObservation {
    fn sources(&self) -> impl Iterator<Item = usize> {
        self.0.handles().chain(self.0.positions()).chain(self.0.velocities())
    }
}

impl Observation for NetworkObservation {
    fn n_observations(&self, _nx: usize) -> usize {
        self.0.n_handle_coordinates + 2 * self.0.n
    }
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]) {
        for (o, at) in o.iter_mut().zip(self.sources()) {
            *o = x[at];
        }
    }
    fn jacobian(&self) -> Option<&dyn ObservationJacobian> {
        Some(self)
    }
}

impl ObservationJacobian for NetworkObservation {
    fn linearize(&self, _x: &DVector<f64>, ox: &mut DMatrix<f64>) {
        ox.fill(0.0);
        for (row, at) in self.sources().enumerate() {
            ox[(row, at)] = 1.0;
        }
    }
}
