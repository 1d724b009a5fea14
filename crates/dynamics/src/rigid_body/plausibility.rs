//! Inertias that a body can hardly have: the usual slips in units and signs.

use nalgebra::{Matrix3, SymmetricEigen};

use super::description::Inertial;

/// How much the largest principal moment may exceed the sum of the others. Files round to a few
/// digits, and thin plates lie on the boundary.
const TRIANGLE_TOLERANCE: f64 = 1e-2;
/// Farthest centre of mass that is believed (m).
const FAR_CENTER: f64 = 10.0;
/// Radii of gyration that are believed (m).
const RADIUS: std::ops::RangeInclusive<f64> = 1e-4..=10.0;
/// Iterations after which the eigenvalues of a 3 × 3 matrix would have converged long ago.
const MAX_ITERATIONS: usize = 200;

/// What is hard to believe about a body, in words; empty for a plausible one.
///
/// A body without mass and inertia is plausible here: many links are mere frames.
pub(super) fn remarks(inertial: &Inertial) -> Vec<String> {
    let mut remarks = Vec::new();
    let Inertial { mass, center, inertia } = inertial;
    let scale = inertia.amax();
    if *mass == 0.0 {
        if scale > 0.0 {
            remarks.push("the inertia is not zero but the mass is".to_owned());
        }
        return remarks;
    }
    let distance = center.norm();
    if distance > FAR_CENTER {
        remarks.push(format!(
            "the centre of mass is {distance:.3} m away from the link's origin; are these metres?"
        ));
    }
    if scale == 0.0 {
        remarks.push("the inertia is zero: a point mass".to_owned());
        return remarks;
    }
    let Some([small, middle, large]) = principal_moments(inertia, scale) else {
        remarks.push("the principal moments of inertia cannot be computed".to_owned());
        return remarks;
    };
    if small <= 0.0 {
        remarks.push(format!(
            "the inertia is not positive definite: its principal moments are {small:.3e}, \
             {middle:.3e} and {large:.3e} kg·m²"
        ));
        return remarks;
    }
    if large > (small + middle) * (1.0 + TRIANGLE_TOLERANCE) {
        remarks.push(format!(
            "no body has this inertia: the principal moment {large:.3e} kg·m² exceeds the sum of \
             the others, {small:.3e} and {middle:.3e}"
        ));
    }
    let radius = (large / mass).sqrt();
    if !RADIUS.contains(&radius) {
        remarks.push(format!(
            "the inertia is that of a body with a radius of gyration of {radius:.3e} m; are these \
             kg·m²?"
        ));
    }
    remarks
}

/// Principal moments from the smallest to the largest. `scale` is the largest entry; dividing by it
/// keeps the iteration away from overflow.
fn principal_moments(inertia: &Matrix3<f64>, scale: f64) -> Option<[f64; 3]> {
    let scaled = inertia / scale;
    if !scaled.iter().all(|entry| entry.is_finite()) {
        return None;
    }
    let eigen = SymmetricEigen::try_new(scaled, f64::EPSILON, MAX_ITERATIONS)?;
    let mut moments = [0, 1, 2].map(|axis| eigen.eigenvalues[axis] * scale);
    moments.sort_by(f64::total_cmp);
    Some(moments)
}
