//! The schedule of the regularisation μ.

use crate::Settings;

/// μ ← min(factor·μ, max); false once the maximum is reached.
pub(crate) fn increase(mu: &mut f64, settings: &Settings) -> bool {
    // From zero it could not grow.
    *mu = (settings.regularization_factor * *mu).max(settings.min_regularization);
    *mu = mu.min(settings.max_regularization);
    *mu < settings.max_regularization
}

/// μ ← max(μ/factor, min).
pub(crate) fn decrease(mu: &mut f64, settings: &Settings) {
    *mu = (*mu / settings.regularization_factor).max(settings.min_regularization);
}
