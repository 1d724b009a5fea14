//! Guarded Newton iterations on the energy of a step.

use super::factor::Band;
use super::mechanics::{Energy, Network, Objective};

/// Largest entry of the residual of a solved step (N).
pub(super) const TOLERANCE: f64 = 1e-10;
const MAX_ITERATIONS: usize = 60;
const MAX_HALVINGS: usize = 40;
/// Share of the predicted decrease that a step must reach.
const ARMIJO: f64 = 1e-4;

/// Counts of the Newton solver since its workspace was made or reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewtonStatistics {
    /// Time steps solved or given up.
    pub steps: usize,
    /// Newton iterations, one factorisation and one solve each.
    pub iterations: usize,
    /// Halvings of a Newton step by the line search.
    pub halvings: usize,
    /// Iterations that took the positive semidefinite stiffness, A being indefinite.
    pub semidefinite: usize,
    /// Derivatives at a point where A is indefinite.
    pub indefinite_derivatives: usize,
    /// Time steps given up.
    pub failures: usize,
}

/// What a solve that has failed reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stalled {
    pub(super) residual: f64,
    pub(super) iterations: usize,
}

/// Buffers of the solver.
#[derive(Debug, Clone)]
pub(super) struct Newton {
    /// In: the first guess; out: the solution.
    pub(super) x: Vec<f64>,
    /// Out: A at the solution, not factored.
    pub(super) matrix: Band,
    pub(super) statistics: NewtonStatistics,
    trial: Vec<f64>,
    residual: Vec<f64>,
    direction: Vec<f64>,
    placed: Vec<f64>,
}

impl Newton {
    pub(super) fn new(network: &Network) -> Self {
        let zeros = || vec![0.0; network.n()];
        Self {
            x: zeros(),
            matrix: Band::zeros(&network.pattern),
            statistics: NewtonStatistics::default(),
            trial: zeros(),
            residual: zeros(),
            direction: zeros(),
            placed: zeros(),
        }
    }

    /// Minimises Φ from the guess in `x`.
    pub(super) fn solve<const D: usize>(
        &mut self,
        network: &Network,
        objective: &Objective,
    ) -> Result<(), Stalled> {
        self.statistics.steps += 1;
        let mut energy = network.energy::<D>(objective, &self.x);
        let mut previous = f64::INFINITY;
        let mut iterations = 0;
        loop {
            network.assemble::<D>(objective, &self.x, &mut self.residual, &mut self.matrix);
            let residual = largest(&self.residual);
            if residual <= TOLERANCE {
                return Ok(());
            }
            // Stiff springs and positions far from the origin round the forces coarser than the
            // tolerance; then the residual stops falling at that level.
            let at_rounding = |x: &[f64]| residual <= network.rounding::<D>(objective, x)[0];
            if residual > 0.5 * previous && at_rounding(&self.x) {
                return Ok(());
            }
            let moved = residual.is_finite()
                && iterations < MAX_ITERATIONS
                && self.find_direction::<D>(network, objective)
                && self.search::<D>(network, objective, &mut energy);
            if !moved {
                self.statistics.failures += 1;
                return Err(Stalled { residual, iterations });
            }
            previous = residual;
            iterations += 1;
            self.statistics.iterations += 1;
        }
    }

    /// δ = −A⁻¹r, with a positive definite A.
    fn find_direction<const D: usize>(&mut self, network: &Network, objective: &Objective) -> bool {
        if !self.matrix.cholesky() {
            self.statistics.semidefinite += 1;
            network.assemble_semidefinite::<D>(objective, &self.x, &mut self.matrix);
            if !self.matrix.cholesky() {
                return false;
            }
        }
        for (direction, residual) in self.direction.iter_mut().zip(&self.residual) {
            *direction = -residual;
        }
        self.matrix.solve_placed(&network.pattern, &mut self.direction, &mut self.placed);
        true
    }

    /// Backtracks on Φ; false if no step lowers it.
    fn search<const D: usize>(
        &mut self,
        network: &Network,
        objective: &Objective,
        energy: &mut Energy,
    ) -> bool {
        let slope: f64 = self.residual.iter().zip(&self.direction).map(|(r, d)| r * d).sum();
        let mut rounding = 16.0 * f64::EPSILON * energy.size;
        let mut length = 1.0;
        for _ in 0..MAX_HALVINGS {
            for ((trial, x), d) in self.trial.iter_mut().zip(&self.x).zip(&self.direction) {
                *trial = x + length * d;
            }
            let found = network.energy::<D>(objective, &self.trial);
            let bound = energy.value + ARMIJO * length * slope;
            if found.value > bound + rounding && length == 1.0 {
                // Perhaps the decrease is there and Φ too coarse to show it.
                rounding = rounding.max(network.rounding::<D>(objective, &self.x)[1]);
            }
            if found.value <= bound + rounding {
                std::mem::swap(&mut self.x, &mut self.trial);
                *energy = found;
                return true;
            }
            length *= 0.5;
            self.statistics.halvings += 1;
        }
        false
    }
}

fn largest(values: &[f64]) -> f64 {
    // `max` would pass over what is not a number.
    values.iter().fold(0.0, |m, v| if v.abs() > m || v.is_nan() { v.abs() } else { m })
}
