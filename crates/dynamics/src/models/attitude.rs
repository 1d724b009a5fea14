//! Attitude as modified Rodrigues parameters: m = n tan(φ/4) for a turn by φ about the unit vector n.
//!
//! With s = mᵀm and S v = m × v,
//!
//! ```text
//! R(m) = I + [8 S² + 4 (1−s) S]/(1+s)²  (body → world),   R(m)ᵀ = R(−m)
//! ṁ = ¼ [(1−s) ω + 2 m×ω + 2 (mᵀω) m]   (ω in the body frame)
//! ```

use nalgebra::{Matrix3, Vector3};

use crate::continuous::Scalar;

/// Three consecutive entries of a vector.
pub(super) fn triple<S: Copy>(values: &[S], start: usize) -> [S; 3] {
    [values[start], values[start + 1], values[start + 2]]
}

pub(super) fn dot<S: Scalar>(a: [S; 3], b: [S; 3]) -> S {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross<S: Scalar>(a: [S; 3], b: [S; 3]) -> [S; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// R(m) v: from body to world.
pub(super) fn to_world<S: Scalar>(m: [S; 3], v: [S; 3]) -> [S; 3] {
    let s = dot(m, m);
    let denominator = (s + 1.0) * (s + 1.0);
    let turn = cross(m, v);
    let twice = cross(m, turn);
    std::array::from_fn(|i| v[i] + (twice[i] * 8.0 + turn[i] * ((-s + 1.0) * 4.0)) / denominator)
}

/// R(m)ᵀ v: from world to body.
pub(super) fn to_body<S: Scalar>(m: [S; 3], v: [S; 3]) -> [S; 3] {
    to_world(m.map(|m| -m), v)
}

/// ṁ at the body rates ω.
pub(super) fn rate<S: Scalar>(m: [S; 3], omega: [S; 3]) -> [S; 3] {
    let (s, along, turn) = (dot(m, m), dot(m, omega), cross(m, omega));
    std::array::from_fn(|i| (omega[i] * (-s + 1.0) + turn[i] * 2.0 + m[i] * along * 2.0) * 0.25)
}

/// R(m).
pub(super) fn rotation(m: &Vector3<f64>) -> Matrix3<f64> {
    let s = m.norm_squared();
    let skew = m.cross_matrix();
    Matrix3::identity() + (skew * skew * 8.0 + skew * (4.0 * (1.0 - s))) / (1.0 + s).powi(2)
}

/// ∂(R(m) v)/∂m at constant v.
pub(super) fn to_world_jacobian(m: &Vector3<f64>, v: &Vector3<f64>) -> Matrix3<f64> {
    let s = m.norm_squared();
    // R v = v + n/(1+s)², n = 8 m×(m×v) + 4 (1−s) m×v
    let turn = m.cross(v);
    let n = m.cross(&turn) * 8.0 + turn * (4.0 * (1.0 - s));
    // m×(m×v) = m (mᵀv) − s v
    let twice_m =
        Matrix3::from_diagonal_element(m.dot(v)) + m * v.transpose() - v * m.transpose() * 2.0;
    let n_m = twice_m * 8.0 - turn * m.transpose() * 8.0 - v.cross_matrix() * (4.0 * (1.0 - s));
    (n_m - n * m.transpose() * (4.0 / (1.0 + s))) / (1.0 + s).powi(2)
}

/// ∂(R(m)ᵀ v)/∂m at constant v.
pub(super) fn to_body_jacobian(m: &Vector3<f64>, v: &Vector3<f64>) -> Matrix3<f64> {
    -to_world_jacobian(&-m, v)
}

/// ∂ṁ/∂m and ∂ṁ/∂ω.
pub(super) fn rate_jacobians(
    m: &Vector3<f64>,
    omega: &Vector3<f64>,
) -> (Matrix3<f64>, Matrix3<f64>) {
    let rate_m = (Matrix3::from_diagonal_element(m.dot(omega)) + m * omega.transpose()
        - omega * m.transpose()
        - omega.cross_matrix())
        * 0.5;
    let rate_omega = Matrix3::from_diagonal_element(0.25 * (1.0 - m.norm_squared()))
        + (m.cross_matrix() + m * m.transpose()) * 0.5;
    (rate_m, rate_omega)
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: [f64; 3] = [0.3, -0.8, 0.5];

    #[test]
    fn rotation_is_that_of_axis_and_angle() {
        let axis = nalgebra::Unit::new_normalize(Vector3::new(1.0, 2.0, -0.5));
        for angle in [0.1_f64, 1.0, 3.0, 5.0] {
            let m = axis.into_inner() * (0.25 * angle).tan();
            let expected = nalgebra::Rotation3::from_axis_angle(&axis, angle);
            assert!((rotation(&m) - expected.matrix()).amax() < 1e-14);
            // The shadow set −m/|m|² is the same attitude.
            let shadow = -m / m.norm_squared();
            assert!((rotation(&shadow) - expected.matrix()).amax() < 1e-13);
        }
    }

    #[test]
    fn vectors_and_matrices_agree() {
        let (m, v) = (Vector3::from(M), Vector3::new(-1.0, 0.4, 2.0));
        let to_world = Vector3::from(to_world(M, v.into()));
        let to_body = Vector3::from(to_body(M, v.into()));
        assert!((to_world - rotation(&m) * v).amax() < 1e-15);
        assert!((to_body - rotation(&m).transpose() * v).amax() < 1e-15);
    }

    #[test]
    fn rate_turns_the_body_with_omega() {
        // Ṙ v = R (ω × v) for every body-fixed v.
        let (m, omega) = (Vector3::from(M), Vector3::new(0.7, -0.2, 1.1));
        let m_dot = Vector3::from(rate(M, omega.into()));
        for v in [Vector3::x(), Vector3::y(), Vector3::z()] {
            let moved = to_world_jacobian(&m, &v) * m_dot;
            assert!((moved - rotation(&m) * omega.cross(&v)).amax() < 1e-14);
        }
    }
}
