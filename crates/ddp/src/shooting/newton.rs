//! The quadratic program of the step: gᵀδ + ½ δᵀHδ within low ≤ δ ≤ high, by projected Newton steps
//! (Bertsekas 1982) whose linear systems any [`Route`] solves. Every route holds the same unknowns at
//! their bounds in the end, so all give the same step.
//!
//! Where H is ill-conditioned, letting go of bounds at every step zigzags. After some steps bounds are
//! therefore kept until the minimum of the face is found. Each face then has a lower minimum than the
//! one before, and the search ends.

use super::conjugate_gradient::{ConjugateGradient, Ending};
use super::dense::Dense;
use super::model::QuadraticModel;
use super::riccati::Recursion;
use super::route::Route;
use crate::DdpError;
use crate::kernels::dot;
use crate::trajectory::has_bad_number;

/// Newton steps that let go of bounds without waiting for the minimum of the face.
const EAGER_SOLVES: usize = 12;
/// The free gradient is zero below this share of the largest entry of g.
const TOLERANCE: f64 = 1e-13;
/// Unknowns closer to a bound than this share of the box (at most of 1) count as on it where their
/// gradient points outside.
const NEAR: f64 = 1e-12;
/// Share of the linear decrease that a step must bring.
const ARMIJO: f64 = 0.1;
/// Step lengths that are tried without waiting for the minimum of the face: 1, ½, ¼.
const EAGER_LENGTHS: i32 = 3;

/// Scratch and result of a quadratic program.
pub(super) struct Newton {
    /// The minimiser.
    pub(super) delta: Vec<f64>,
    /// The box; infinite where there is none.
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
    /// g + H δ.
    residual: Vec<f64>,
    direction: Vec<f64>,
    trial: Vec<f64>,
    trial_residual: Vec<f64>,
    is_free: Vec<bool>,
    was_free: Vec<bool>,
    dense: Option<Dense>,
    recursion: Option<Recursion>,
    gradients: Option<ConjugateGradient>,
}

/// How far a search followed its direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    /// All of it, to the minimum of the face.
    Whole,
    /// To a bound, or a part of the way.
    Part,
    /// Not at all.
    Nothing,
}

impl Newton {
    pub(super) fn new(unknowns: usize) -> Self {
        let zeros = || vec![0.0; unknowns];
        Self {
            delta: zeros(),
            low: zeros(),
            high: zeros(),
            residual: zeros(),
            direction: zeros(),
            trial: zeros(),
            trial_residual: zeros(),
            is_free: vec![true; unknowns],
            was_free: vec![true; unknowns],
            dense: None,
            recursion: None,
            gradients: None,
        }
    }

    /// Minimises with the gradient that `model` holds, in the box if `limited`. Returns the number of
    /// linear systems and whether they and the search for the active bounds converged.
    pub(super) fn minimize(
        &mut self,
        model: &mut QuadraticModel,
        route: Route,
        limited: bool,
    ) -> Result<(usize, bool), DdpError> {
        if route == Route::Dense {
            self.dense.get_or_insert_with(|| Dense::new(self.delta.len())).prepare(model);
        }
        if !limited {
            self.is_free.fill(true);
            self.residual.copy_from_slice(&model.gradient);
            let converged = self.solve(model, route)?;
            self.delta.copy_from_slice(&self.direction);
            return Ok((1, converged));
        }
        let small = TOLERANCE * model.gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        for (i, delta) in self.delta.iter_mut().enumerate() {
            *delta = 0.0_f64.clamp(self.low[i], self.high[i]);
        }
        differentiate(model, &self.delta, &mut self.residual);
        let mut value = evaluate(model, &self.delta, &self.residual);
        let (mut is_whole, mut is_patient, mut converged) = (false, false, true);
        let max_solves = EAGER_SOLVES + 10 * self.delta.len();
        for solves in 0..max_solves {
            is_patient |= solves >= EAGER_SOLVES;
            let release = is_whole || !is_patient;
            std::mem::swap(&mut self.is_free, &mut self.was_free);
            let free_gradient = self.classify(release);
            if release && free_gradient <= small {
                return Ok((solves, true));
            }
            if is_whole && self.is_free == self.was_free {
                return Ok((solves, converged));
            }
            converged = self.solve(model, route)?;
            let search = match is_patient {
                true => self.search_to_bounds(model, &mut value),
                false => self.search(model, &mut value),
            };
            is_whole = search == Search::Whole;
            is_patient |= search == Search::Nothing;
        }
        Ok((max_solves, false))
    }

    /// Finds the unknowns that no bound holds; returns the largest entry of their gradient. Held are,
    /// with `release`, unknowns at a bound whose gradient points outside, and otherwise those held
    /// before and those that the last direction leads outside.
    fn classify(&mut self, release: bool) -> f64 {
        let mut largest: f64 = 0.0;
        for (i, delta) in self.delta.iter_mut().enumerate() {
            let (low, high) = (self.low[i], self.high[i]);
            let towards = if release { -self.residual[i] } else { self.direction[i] };
            // An unknown a rounding error away from its bound would stop every step.
            let near = NEAR * (high - low).min(1.0);
            if towards < 0.0 && *delta <= low + near {
                *delta = low;
                self.is_free[i] = false;
            } else if towards > 0.0 && *delta >= high - near {
                *delta = high;
                self.is_free[i] = false;
            } else {
                self.is_free[i] = release || self.was_free[i];
            }
            if self.is_free[i] {
                largest = largest.max(self.residual[i].abs());
            }
        }
        largest
    }

    /// Writes the Newton direction of the free unknowns; false if it is only approximate.
    fn solve(&mut self, model: &mut QuadraticModel, route: Route) -> Result<bool, DdpError> {
        let Self { residual, is_free, direction, dense, recursion, gradients, .. } = self;
        let ending = match route {
            Route::Dense => {
                let dense = dense.get_or_insert_with(|| Dense::new(direction.len()));
                definite(dense.solve(residual, is_free, direction))
            }
            Route::Riccati | Route::Auto => {
                let recursion = recursion.get_or_insert_with(|| Recursion::new(model));
                definite(recursion.solve(model, residual, is_free, direction))
            }
            Route::ConjugateGradient { tolerance, max_iterations } => {
                let gradients = gradients.get_or_insert_with(|| ConjugateGradient::new(model));
                let until = (tolerance, max_iterations);
                gradients.solve(model, residual, is_free, until, direction)
            }
        };
        match ending {
            // A number that is not finite also shows as a Hessian without a minimum.
            Ending::Indefinite => Err(match model.costs.iter().position(has_bad_number) {
                Some(t) => DdpError::NotFinite { what: "a derivative of the cost", t },
                None => DdpError::Indefinite { route: route.name() },
            }),
            ending => Ok(ending == Ending::Converged),
        }
    }

    /// Moves δ along the direction, cut off at the box, with halved steps until that brings a decrease.
    fn search(&mut self, model: &mut QuadraticModel, value: &mut f64) -> Search {
        for halving in 0..EAGER_LENGTHS {
            let search = self.try_step(model, value, 0.5_f64.powi(halving));
            if search != Search::Nothing {
                return search;
            }
        }
        Search::Nothing
    }

    /// Moves δ along the direction as a whole, cut off at the box, or if that brings no decrease, to
    /// the first bound on the way. The value falls all the way to the minimum of the face.
    fn search_to_bounds(&mut self, model: &mut QuadraticModel, value: &mut f64) -> Search {
        let search = self.try_step(model, value, 1.0);
        if search != Search::Nothing {
            return search;
        }
        let Self { delta, low, high, direction, trial, .. } = self;
        let room = |i: usize| match direction[i] {
            d if d > 0.0 => (high[i] - delta[i]) / d,
            d if d < 0.0 => (low[i] - delta[i]) / d,
            _ => f64::INFINITY,
        };
        let step = (0..delta.len()).map(room).fold(1.0, f64::min);
        for (i, trial) in trial.iter_mut().enumerate() {
            let bound = if direction[i] > 0.0 { high[i] } else { low[i] };
            let to = delta[i] + step * direction[i];
            *trial = if room(i) <= step { bound } else { to.clamp(low[i], high[i]) };
        }
        *value = self.differentiate_trial(model);
        self.take_trial();
        Search::Part
    }

    /// Takes δ + `step` direction, cut off at the box, if nothing is cut off and the step is a whole
    /// one or if the value falls enough.
    fn try_step(&mut self, model: &mut QuadraticModel, value: &mut f64, step: f64) -> Search {
        let (mut expected, mut is_cut) = (0.0, false);
        for (i, trial) in self.trial.iter_mut().enumerate() {
            let to = self.delta[i] + step * self.direction[i];
            *trial = to.clamp(self.low[i], self.high[i]);
            is_cut |= *trial != to;
            expected += self.residual[i] * (self.delta[i] - *trial);
        }
        let at_trial = self.differentiate_trial(model);
        let is_whole = step == 1.0 && !is_cut;
        let rounding = 4.0 * f64::EPSILON * value.abs();
        if !is_whole && *value - at_trial < ARMIJO * expected - rounding {
            return Search::Nothing;
        }
        *value = at_trial;
        self.take_trial();
        if is_whole { Search::Whole } else { Search::Part }
    }

    /// Writes the gradient at the trial; returns its value.
    fn differentiate_trial(&mut self, model: &mut QuadraticModel) -> f64 {
        differentiate(model, &self.trial, &mut self.trial_residual);
        evaluate(model, &self.trial, &self.trial_residual)
    }

    fn take_trial(&mut self) {
        std::mem::swap(&mut self.delta, &mut self.trial);
        std::mem::swap(&mut self.residual, &mut self.trial_residual);
    }
}

/// Writes g + H δ.
fn differentiate(model: &mut QuadraticModel, delta: &[f64], residual: &mut [f64]) {
    model.product(delta, residual);
    residual.iter_mut().zip(&model.gradient).for_each(|(r, g)| *r += g);
}

/// gᵀδ + ½ δᵀHδ from g + H δ.
fn evaluate(model: &QuadraticModel, delta: &[f64], residual: &[f64]) -> f64 {
    0.5 * (dot(&model.gradient, delta) + dot(residual, delta))
}

fn definite(solved: bool) -> Ending {
    if solved { Ending::Converged } else { Ending::Indefinite }
}
