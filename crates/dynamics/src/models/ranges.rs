//! Ranges of parameters, refused with one wording.

use crate::DynamicsError;

/// Refuses the first number that is not positive and finite.
pub(super) fn require_positive(
    model: &str,
    values: &[(&'static str, f64)],
) -> Result<(), DynamicsError> {
    require(model, values, "positive and finite", |v| v.is_finite() && v > 0.0)
}

/// Refuses the first number that is negative or not finite.
pub(super) fn require_not_negative(
    model: &str,
    values: &[(&'static str, f64)],
) -> Result<(), DynamicsError> {
    require(model, values, "finite and not negative", |v| v.is_finite() && v >= 0.0)
}

/// Refuses the first number that is not finite.
pub(super) fn require_finite(
    model: &str,
    values: &[(&'static str, f64)],
) -> Result<(), DynamicsError> {
    require(model, values, "finite", f64::is_finite)
}

fn require(
    model: &str,
    values: &[(&'static str, f64)],
    needed: &'static str,
    fits: impl Fn(f64) -> bool,
) -> Result<(), DynamicsError> {
    match values.iter().find(|(_, value)| !fits(*value)) {
        None => Ok(()),
        Some(&(parameter, value)) => {
            Err(DynamicsError::Parameter { model: model.to_owned(), parameter, value, needed })
        }
    }
}
