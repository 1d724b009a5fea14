//! How good the estimator is at a policy: bias, variance, and the curvature of what it climbs.

use dynamics::DynamicsError;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::gradient::TrackingGradient;
use super::policy::TrackingPolicy;
use super::recording::Recording;
use super::settings::{Derivatives, Horizon};
use crate::LearnError;

/// True and estimated gradients of a policy from some starts, per parameter.
///
/// ```
/// use agents::tracking::{GradientStatistics, Horizon, TrackingPolicy};
/// use bench_tasks::{CarLapSettings, LapTask, Preset, Variant};
/// use dynamics::{Stream, Task};
/// use nalgebra::DVector;
///
/// let mut settings = CarLapSettings::preset(Preset::Paper);
/// settings.common.segments = 20;
/// settings.common.settle_segments = 0;
/// let task = LapTask::car(Variant::Real, &settings)?;
/// let policy = TrackingPolicy::new(&task, &[8, 8], 0)?;
/// let starts: Vec<_> = (0..8)
///     .map(|i| {
///         let mut x0 = DVector::zeros(task.plant().any_nx());
///         task.sample_x0(&mut Stream::new(0, "starts", i), &mut x0);
///         x0
///     })
///     .collect();
/// let found = GradientStatistics::measure(&policy, Horizon::Full, &starts)?;
/// println!("relative bias {:.2}", found.bias().norm() / found.exact().norm());
/// # assert!(found.bias().norm() > 0.0 && found.variance() > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GradientStatistics {
    exact: Vec<DVector<f64>>,
    estimates: Vec<DVector<f64>>,
}

impl GradientStatistics {
    /// One roll-out from each of `starts` (nx entries each), without a plant's noise; the true gradient is over
    /// the whole horizon, with the plant's Jacobians, the estimate over `horizon`, with the nominal model's.
    ///
    /// # Errors
    /// No starts; a plant without derivatives; what plant, model and reward report; gradients that are not
    /// finite.
    pub fn measure(
        policy: &TrackingPolicy<'_>,
        horizon: Horizon,
        starts: &[DVector<f64>],
    ) -> Result<Self, LearnError> {
        let starts = some(starts)?;
        let both = |x0: &DVector<f64>| {
            let recording = roll_out(policy, x0)?;
            let exact = gradient(policy, &recording, (Derivatives::Plant, Horizon::Full))?;
            Ok((exact, gradient(policy, &recording, (Derivatives::Nominal, horizon))?))
        };
        let found: Vec<_> = starts.par_iter().map(both).collect::<Result<_, LearnError>>()?;
        let (exact, estimates) = found.into_iter().unzip();
        Ok(Self { exact, estimates })
    }

    /// The same in other units: entry `at` of each gradient times `factor`, for the pairs given alone.
    ///
    /// # Panics
    /// At a parameter that the policy has not.
    #[must_use]
    pub fn of_entries(&self, entries: &[(usize, f64)]) -> Self {
        let pick = |gradients: &[DVector<f64>]| {
            let one = |all: &DVector<f64>| {
                let values = entries.iter().map(|&(at, factor)| factor * all[at]);
                DVector::from_iterator(entries.len(), values)
            };
            gradients.iter().map(one).collect()
        };
        Self { exact: pick(&self.exact), estimates: pick(&self.estimates) }
    }

    /// Mean of the true gradients.
    #[must_use]
    pub fn exact(&self) -> DVector<f64> {
        mean(&self.exact)
    }

    /// Mean of the estimates.
    #[must_use]
    pub fn estimate(&self) -> DVector<f64> {
        mean(&self.estimates)
    }

    /// What the mean estimate is off by.
    #[must_use]
    pub fn bias(&self) -> DVector<f64> {
        self.estimate() - self.exact()
    }

    /// Trace of the covariance of an estimate from one start; of a mean over N, the N-th part.
    #[must_use]
    pub fn variance(&self) -> f64 {
        let estimate = self.estimate();
        let squares = self.estimates.iter().map(|one| (one - &estimate).norm_squared());
        squares.sum::<f64>() / self.estimates.len() as f64
    }
}

/// Hessian of the mean return from `starts` by some parameters, by central differences of the true
/// gradient. `entries` has their numbers, and units: a parameter moves by `h` times its unit, and the
/// Hessian, entries × entries, is by moves in these units.
///
/// # Errors
/// As [`GradientStatistics::measure`].
///
/// # Panics
/// Without entries, and at a parameter that the policy has not.
pub fn return_hessian(
    policy: &TrackingPolicy<'_>,
    entries: &[(usize, f64)],
    h: f64,
    starts: &[DVector<f64>],
) -> Result<DMatrix<f64>, LearnError> {
    assert!(!entries.is_empty(), "a parameter to move");
    let starts = some(starts)?;
    let column = |&(at, unit): &(usize, f64)| -> Result<DVector<f64>, LearnError> {
        let moved = |offset: f64| -> Result<DVector<f64>, LearnError> {
            let mut policy = policy.clone();
            policy.params_mut()[at] += offset * unit;
            let mut sum = DVector::zeros(policy.params().len());
            for x0 in starts {
                let recording = roll_out(&policy, x0)?;
                sum += gradient(&policy, &recording, (Derivatives::Plant, Horizon::Full))?;
            }
            Ok(sum / starts.len() as f64)
        };
        let slope = (moved(h)? - moved(-h)?) / (2.0 * h);
        let rows = entries.iter().map(|&(row, unit)| slope[row] * unit);
        Ok(DVector::from_iterator(entries.len(), rows))
    };
    let columns: Vec<_> = entries.par_iter().map(column).collect::<Result<_, LearnError>>()?;
    let hessian = DMatrix::from_columns(&columns);
    Ok(0.5 * (&hessian + hessian.transpose()))
}

/// The starts, if there are any.
fn some(starts: &[DVector<f64>]) -> Result<&[DVector<f64>], LearnError> {
    match starts {
        [] => Err(LearnError::Recordings { reason: "there are no starts".to_owned() }),
        starts => Ok(starts),
    }
}

fn failed(source: DynamicsError) -> LearnError {
    LearnError::Recordings { reason: source.to_string() }
}

fn roll_out(policy: &TrackingPolicy<'_>, x0: &DVector<f64>) -> Result<Recording, LearnError> {
    Recording::from_start(policy.task(), &mut policy.follower(), x0, None).map_err(failed)
}

/// dJ/dθ along `recording`.
fn gradient(
    policy: &TrackingPolicy<'_>,
    recording: &Recording,
    (derivatives, horizon): (Derivatives, Horizon),
) -> Result<DVector<f64>, LearnError> {
    let mut grads = DVector::zeros(policy.params().len());
    TrackingGradient::new(policy, policy.task(), derivatives, horizon)?
        .costate(policy, recording, grads.as_mut_slice())
        .map_err(failed)?;
    if !grads.iter().all(|grad| grad.is_finite()) {
        let reason = "the gradient along a roll-out is not finite".to_owned();
        return Err(LearnError::Recordings { reason });
    }
    Ok(grads)
}

fn mean(gradients: &[DVector<f64>]) -> DVector<f64> {
    gradients.iter().sum::<DVector<f64>>() / gradients.len() as f64
}
