//! The element-wise passes of the second order, over the tangents of a layer.
//!
//! Letters are those of `second_order`.

use pulp::{Simd, WithSimd};

use crate::Real;

/// How rows of tangents belong to samples: `per_sample` rows each, once or in several blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) samples: usize,
    pub(super) per_sample: usize,
}

impl Rows {
    /// Where the units of a row's sample stand.
    #[inline(always)]
    fn sample(self, row: usize, width: usize) -> std::ops::Range<usize> {
        let sample = row / self.per_sample % self.samples;
        sample * width..(sample + 1) * width
    }

    /// Units of a layer from the length of a vector over its samples.
    #[inline(always)]
    fn width(self, length: usize) -> usize {
        length / self.samples
    }
}

/// ḣ = φ′ ż.
pub(super) struct Scale<'a, T> {
    pub(super) shape: Rows,
    pub(super) slope: &'a [T],
    pub(super) z_dot: &'a [T],
    pub(super) h_dot: &'a mut [T],
}

impl<T: Real> WithSimd for Scale<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.shape.width(self.slope.len());
        let rows = self.h_dot.chunks_exact_mut(width).zip(self.z_dot.chunks_exact(width));
        for (row, (h_dot, z_dot)) in rows.enumerate() {
            let slope = &self.slope[self.shape.sample(row, width)];
            for ((h_dot, z_dot), slope) in h_dot.iter_mut().zip(z_dot).zip(slope) {
                *h_dot = *slope * *z_dot;
            }
        }
    }
}

/// τ = Σ_i ż_i ẏ_i.
pub(super) struct Contract<'a, T> {
    pub(super) shape: Rows,
    pub(super) z_dot: &'a [T],
    pub(super) y_dot: &'a [T],
    pub(super) tau: &'a mut [T],
}

impl<T: Real> WithSimd for Contract<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.shape.width(self.tau.len());
        self.tau.fill(T::ZERO);
        let rows = self.z_dot.chunks_exact(width).zip(self.y_dot.chunks_exact(width));
        for (row, (z_dot, y_dot)) in rows.enumerate() {
            let tau = &mut self.tau[self.shape.sample(row, width)];
            for ((tau, z_dot), y_dot) in tau.iter_mut().zip(z_dot).zip(y_dot) {
                *tau += *z_dot * *y_dot;
            }
        }
    }
}

/// ḧ = φ′ z̈ + φ″ τ.
pub(super) struct Curve<'a, T> {
    pub(super) slope: &'a [T],
    pub(super) curvature: &'a [T],
    pub(super) tau: &'a [T],
    pub(super) z_ddot: &'a [T],
    pub(super) h_ddot: &'a mut [T],
}

impl<T: Real> WithSimd for Curve<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { slope, curvature, tau, z_ddot, h_ddot } = self;
        let derivatives = slope.iter().zip(curvature);
        let units = h_ddot.iter_mut().zip(z_ddot).zip(tau).zip(derivatives);
        for (((h_ddot, z_ddot), tau), (slope, curvature)) in units {
            *h_ddot = *slope * *z_ddot + *curvature * *tau;
        }
    }
}

/// Sensitivities to z along a tangent: z̄ = φ′ h̄ + φ″ ż ḧ̄, in place.
pub(super) struct Along<'a, T> {
    pub(super) shape: Rows,
    pub(super) slope: &'a [T],
    pub(super) curvature: &'a [T],
    pub(super) bar_ddot: &'a [T],
    pub(super) z_dot: &'a [T],
    pub(super) bar: &'a mut [T],
}

impl<T: Real> WithSimd for Along<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.shape.width(self.slope.len());
        let rows = self.bar.chunks_exact_mut(width).zip(self.z_dot.chunks_exact(width));
        for (row, (bar, z_dot)) in rows.enumerate() {
            let at = self.shape.sample(row, width);
            let derivatives = self.slope[at.clone()].iter().zip(&self.curvature[at.clone()]);
            let units = bar.iter_mut().zip(z_dot).zip(derivatives).zip(&self.bar_ddot[at]);
            for (((bar, z_dot), (slope, curvature)), bar_ddot) in units {
                *bar = *slope * *bar + *curvature * *z_dot * *bar_ddot;
            }
        }
    }
}

/// The sensitivities to h, ḣ and ḧ pulled back to z, ż and z̈; `bar` and `bar_dot` in place.
pub(super) struct PullBack<'a, T> {
    pub(super) shape: Rows,
    pub(super) slope: &'a [T],
    pub(super) curvature: &'a [T],
    pub(super) third: &'a [T],
    pub(super) tau: &'a [T],
    pub(super) z_ddot: &'a [T],
    pub(super) bar_ddot: &'a [T],
    pub(super) z_dot: &'a [T],
    pub(super) y_dot: &'a [T],
    pub(super) bar: &'a mut [T],
    pub(super) z_bar_ddot: &'a mut [T],
    pub(super) bar_dot: &'a mut [T],
}

impl<T: Real> WithSimd for PullBack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { shape, slope, curvature, third, tau, z_ddot, bar_ddot, .. } = self;
        // z̄ = φ′ h̄ + φ″ z̈ ḧ̄ + φ‴ τ ḧ̄, to which every row adds φ″ ż ḣ̄.
        let above = z_ddot.iter().zip(tau).zip(bar_ddot);
        let derivatives = slope.iter().zip(curvature).zip(third);
        let bars = self.bar.iter_mut().zip(self.z_bar_ddot);
        for (((bar, z_bar_ddot), ((slope, curvature), third)), ((z_ddot, tau), bar_ddot)) in
            bars.zip(derivatives).zip(above)
        {
            *bar = *slope * *bar + (*curvature * *z_ddot + *third * *tau) * *bar_ddot;
            *z_bar_ddot = *slope * *bar_ddot;
        }
        let width = shape.width(slope.len());
        let tangents = self.z_dot.chunks_exact(width).zip(self.y_dot.chunks_exact(width));
        let rows = self.bar_dot.chunks_exact_mut(width).zip(tangents);
        for (row, (bar_dot, (z_dot, y_dot))) in rows.enumerate() {
            let at = shape.sample(row, width);
            let derivatives = slope[at.clone()].iter().zip(&curvature[at.clone()]);
            let sample = self.bar[at.clone()].iter_mut().zip(&bar_ddot[at]).zip(derivatives);
            let units = bar_dot.iter_mut().zip(z_dot.iter().zip(y_dot)).zip(sample);
            for ((bar_dot, (z_dot, y_dot)), ((bar, bar_ddot), (slope, curvature))) in units {
                *bar += *curvature * *z_dot * *bar_dot;
                let twice = *y_dot + *y_dot;
                *bar_dot = *slope * *bar_dot + *curvature * twice * *bar_ddot;
            }
        }
    }
}
