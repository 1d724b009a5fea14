//! Angles on the circle.

use std::f64::consts::{PI, TAU};

/// The equal angle in (−π, π].
#[must_use]
pub fn wrap_to_pi(angle: f64) -> f64 {
    let wrapped = angle - TAU * ((angle - PI) / TAU).ceil();
    // Rounding may land just outside; π itself belongs to the interval, −π does not.
    if wrapped <= -PI { PI } else { wrapped.min(PI) }
}

/// The equal angle in [0, 2π); an angle just below a full turn that rounds to 2π becomes 0.
#[must_use]
pub fn wrap_to_tau(angle: f64) -> f64 {
    let wrapped = angle.rem_euclid(TAU);
    if wrapped >= TAU { 0.0 } else { wrapped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_keep_the_angle_and_stay_in_their_interval() {
        for k in -2000..2000 {
            let angle = f64::from(k) * 0.013;
            for wrapped in [wrap_to_pi(angle), wrap_to_tau(angle)] {
                assert!((wrapped.sin() - angle.sin()).abs() < 1e-13);
                assert!((wrapped.cos() - angle.cos()).abs() < 1e-13);
            }
            assert!(wrap_to_pi(angle) > -PI && wrap_to_pi(angle) <= PI);
            assert!((0.0..TAU).contains(&wrap_to_tau(angle)));
        }
    }

    #[test]
    fn ends_of_the_intervals() {
        assert_eq!(wrap_to_pi(-PI), PI);
        assert_eq!(wrap_to_pi(PI), PI);
        assert_eq!(wrap_to_pi(3.0 * PI), PI);
        assert_eq!(wrap_to_tau(-1e-18), 0.0);
        assert_eq!(wrap_to_tau(TAU), 0.0);
        assert_eq!(wrap_to_tau(0.0), 0.0);
    }
}
