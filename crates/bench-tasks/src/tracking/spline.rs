//! One quadratic per axis between two set points.

use nalgebra::DMatrix;

/// The quadratic c₂s² + c₁s + c₀ on [0, h] that fits two positions with weight 10 and two velocities with
/// weight 1 by least squares: four conditions, three coefficients. In closed form, with
/// r = (p_f − p₀) − h(v₀ + v_f)/2 and D = 0.2 + h²/2,
///
/// ```text
/// c₂ = (v_f − v₀)/(2h)    c₁ = v₀ + r h/(2D)    c₀ = p₀ + r/(10D)
/// ```
///
/// Set points are [x, y, ẋ, ẏ], references [x, y, ẋ, ẏ, ẍ, ÿ].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuadraticSpline {
    /// h (s).
    pub duration: f64,
}

impl QuadraticSpline {
    /// Weights of [p₀, v₀, p_f, v_f] in position, velocity and acceleration at time `s`.
    #[must_use]
    pub fn weights(&self, s: f64) -> [[f64; 4]; 3] {
        let h = self.duration;
        let d = 0.2 + 0.5 * h * h;
        // r by [p₀, v₀, p_f, v_f].
        let r = [-1.0, -0.5 * h, 1.0, -0.5 * h];
        let c2 = [0.0, -0.5 / h, 0.0, 0.5 / h];
        let with = |own: [f64; 4], factor: f64| -> [f64; 4] {
            std::array::from_fn(|i| own[i] + factor * r[i])
        };
        let c1 = with([0.0, 1.0, 0.0, 0.0], 0.5 * h / d);
        let c0 = with([1.0, 0.0, 0.0, 0.0], 0.1 / d);
        [
            std::array::from_fn(|i| c2[i] * s * s + c1[i] * s + c0[i]),
            std::array::from_fn(|i| 2.0 * c2[i] * s + c1[i]),
            c2.map(|c2| 2.0 * c2),
        ]
    }

    /// Writes the reference at time `s` between two set points.
    pub fn reference(&self, s: f64, before: &[f64], after: &[f64], sigma: &mut [f64]) {
        for (order, w) in self.weights(s).into_iter().enumerate() {
            for axis in 0..2 {
                let (p, v) = (axis, axis + 2);
                sigma[2 * order + axis] =
                    w[0] * before[p] + w[1] * before[v] + w[2] * after[p] + w[3] * after[v];
            }
        }
    }

    /// Writes its derivatives by both set points, 6 × 4 each.
    pub fn jacobian(&self, s: f64, by_before: &mut DMatrix<f64>, by_after: &mut DMatrix<f64>) {
        by_before.fill(0.0);
        by_after.fill(0.0);
        for (order, w) in self.weights(s).into_iter().enumerate() {
            for axis in 0..2 {
                let row = 2 * order + axis;
                by_before[(row, axis)] = w[0];
                by_before[(row, axis + 2)] = w[1];
                by_after[(row, axis)] = w[2];
                by_after[(row, axis + 2)] = w[3];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_is_the_least_squares_one() {
        let spline = QuadraticSpline { duration: 0.3 };
        let (before, after) = ([0.2, -1.0, 0.7, 2.0], [0.9, 0.4, -0.3, 1.0]);
        let mut ends = [[0.0; 6]; 2];
        spline.reference(0.0, &before, &after, &mut ends[0]);
        spline.reference(0.3, &before, &after, &mut ends[1]);
        for axis in 0..2 {
            // Residuals of p(0), p(h), v(0), v(h), times their weights, are orthogonal to what each
            // coefficient does to them.
            let residuals = [
                10.0 * (ends[0][axis] - before[axis]),
                10.0 * (ends[1][axis] - after[axis]),
                ends[0][axis + 2] - before[axis + 2],
                ends[1][axis + 2] - after[axis + 2],
            ];
            for by in [[0.0, 0.09, 0.0, 0.6], [0.0, 0.3, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]] {
                let dot: f64 = by.iter().zip(residuals).map(|(b, r)| b * r).sum();
                assert!(dot.abs() < 1e-13, "{dot}");
            }
        }
    }
}
