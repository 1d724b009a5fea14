//! Doubling: sums and recursions over 2ⁱ steps of a stationary system in i iterations.

use nalgebra::DMatrix;

use super::error::symmetric_part;

/// 2⁶⁴ steps: a mode that has not decayed by then has a modulus of 1 up to rounding.
const MAX_DOUBLINGS: usize = 64;

/// What is left after another doubling is of the order of the square of this.
const DECAYED: f64 = 1e-9;

/// The stabilising solution X of X = AᵀX(I + GX)⁻¹A + H with symmetric G and H, and the number of
/// doublings; `None` if the iteration does not contract.
///
/// With A₀ = A, G₀ = G, H₀ = H, the iterate Hᵢ is the value after 2ⁱ steps, Gᵢ that of the dual
/// problem, and Aᵢ the transition over these steps, which decays to zero exactly if the closed loop
/// is stable. Anderson, *Second-order convergent algorithms for the steady-state Riccati
/// equation*, International Journal of Control 28 (1978); Chu, Fan, Lin and Wang, *Structure-
/// preserving algorithms for periodic discrete-time algebraic Riccati equations*, the same 77
/// (2004).
pub(super) fn stabilizing_solution(
    mut a: DMatrix<f64>,
    mut g: DMatrix<f64>,
    mut h: DMatrix<f64>,
) -> Option<(DMatrix<f64>, usize)> {
    let n = a.nrows();
    for doublings in 1..=MAX_DOUBLINGS {
        let w = (DMatrix::identity(n, n) + &g * &h).lu();
        let (w_a, w_g) = (w.solve(&a)?, w.solve(&g)?);
        // H ← H + AᵀH(I + GH)⁻¹A, G ← G + A(I + GH)⁻¹GAᵀ, A ← A(I + GH)⁻¹A
        h = symmetric_part(&(&h + a.transpose() * &h * &w_a));
        g = symmetric_part(&(&g + &a * w_g * a.transpose()));
        a *= w_a;
        // A sum is finite only if each of its terms is.
        if !(a.norm() + g.norm() + h.norm()).is_finite() {
            return None;
        }
        if a.norm() <= DECAYED {
            return Some((h, doublings));
        }
    }
    None
}

/// The solution X = Σⱼ (Mᵀ)ʲ N Mʲ of X = MᵀXM + N with a symmetric N; `None` if a mode of M does
/// not decay. Smith, *Matrix equation XA + BX = C*, SIAM Journal on Applied Mathematics 16 (1968).
pub(super) fn stein_solution(mut m: DMatrix<f64>, mut n: DMatrix<f64>) -> Option<DMatrix<f64>> {
    for _ in 0..MAX_DOUBLINGS {
        n = symmetric_part(&(&n + m.transpose() * &n * &m));
        m = &m * &m;
        if !(m.norm() + n.norm()).is_finite() {
            return None;
        }
        if m.norm() <= DECAYED {
            return Some(n);
        }
    }
    None
}

/// The largest modulus of the eigenvalues of a square matrix whose entries are finite (not a number
/// otherwise), by Gelfand's formula
/// ρ = lim ‖Mᵏ‖^(1/k) at k = 2⁶⁴. Unlike a QR iteration it cannot fail to converge.
pub fn spectral_radius(mut m: DMatrix<f64>) -> f64 {
    // With Mᵢ₊₁ = (Mᵢ / ‖Mᵢ‖)², ln ρ is the sum of 2⁻ⁱ ln ‖Mᵢ‖.
    // Scaled, so that no norm overflows.
    let scale = m.amax();
    if scale == 0.0 {
        return 0.0;
    }
    m /= scale;
    let (mut log_radius, mut weight, mut square) = (scale.ln(), 1.0, m.clone());
    for _ in 0..MAX_DOUBLINGS {
        let norm = m.norm();
        if norm == 0.0 {
            return 0.0;
        }
        log_radius += weight * norm.ln();
        weight *= 0.5;
        m /= norm;
        m.mul_to(&m, &mut square);
        std::mem::swap(&mut m, &mut square);
    }
    log_radius.exp()
}

/// The largest real part of the eigenvalues of a finite square matrix, to an accuracy relative to
/// its norm.
pub(super) fn spectral_abscissa(m: &DMatrix<f64>) -> f64 {
    // exp maps real parts to moduli; the scale keeps it away from overflow.
    let scale = m.norm().max(f64::MIN_POSITIVE);
    spectral_radius((m / scale).exp()).ln() * scale
}

#[cfg(test)]
mod tests {
    use nalgebra::dmatrix;

    use super::*;

    #[test]
    fn spectral_radius_of_matrices_on_which_a_qr_iteration_stalls() {
        let cyclic = dmatrix![0.0, 0.0, 0.5; 0.5, 0.0, 0.0; 0.0, 0.5, 0.0];
        assert!((spectral_radius(cyclic) - 0.5).abs() < 1e-14);
        let jordan = dmatrix![0.9, 1e6, 0.0; 0.0, 0.9, 1e6; 0.0, 0.0, 0.9];
        assert!((spectral_radius(jordan) - 0.9).abs() < 1e-12);
        assert_eq!(spectral_radius(dmatrix![0.0, 1.0; 0.0, 0.0]), 0.0);
        assert_eq!(spectral_radius(DMatrix::zeros(2, 2)), 0.0);
        let large = dmatrix![3e200, 4e200; -4e200, 3e200];
        assert!((spectral_radius(large) / 5e200 - 1.0).abs() < 1e-12);
        assert!(spectral_radius(dmatrix![f64::NAN, 0.0; 0.0, 1.0]).is_nan());
        let rotation = dmatrix![0.6, -0.8; 0.8, 0.6];
        assert!((spectral_radius(rotation) - 1.0).abs() < 1e-14);
    }

    #[test]
    fn spectral_abscissa_of_damped_and_unstable_systems() {
        let oscillator = dmatrix![0.0, 1.0; -1e4, -0.2];
        assert!((spectral_abscissa(&oscillator) + 0.1).abs() < 1e-11 * 1e4);
        assert!((spectral_abscissa(&dmatrix![-3.0, 5.0; 0.0, 2.0]) - 2.0).abs() < 1e-13);
        assert_eq!(spectral_abscissa(&DMatrix::zeros(2, 2)), 0.0);
    }

    #[test]
    fn stein_solution_is_a_geometric_series_and_refuses_a_unit_root() {
        let x = stein_solution(dmatrix![0.5], dmatrix![3.0]).unwrap();
        assert!((x[(0, 0)] - 4.0).abs() < 1e-14);
        assert!(stein_solution(dmatrix![1.0], dmatrix![0.0]).is_none());
        assert!(stein_solution(dmatrix![2.0], dmatrix![1.0]).is_none());
    }
}
