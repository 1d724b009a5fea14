//! The vectors of AVX-512 and of AVX2 with fused multiply–add.

use std::arch::x86_64::*;

use super::lanes::{Lanes, entry_points};
use super::pack::Copying;
use super::tile::{Dots, Tile};

/// The first n of 16 lanes.
#[inline(always)]
fn mask16(n: usize) -> __mmask16 {
    ((1_u32 << n) - 1) as __mmask16
}

/// The first n of 8 lanes.
#[inline(always)]
fn mask8(n: usize) -> __mmask8 {
    ((1_u32 << n) - 1) as __mmask8
}

/// Ones before zeros: from element 8 − n on they are a mask of the first n lanes.
static MASK_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
/// The same for 4 lanes of 64 bits, from element 4 − n on.
static MASK_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

// SAFETY of all blocks below: the instructions exist, and the pointers are good for what is read or
// written; both are promises of the callers (see `Lanes`).

impl Lanes for __m512 {
    type Real = f32;
    const N: usize = 16;
    const TILE_VECTORS: usize = 2;
    const TILE_COLUMNS: usize = 8;
    const DOTS: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: see above; masked lanes are not touched.
        unsafe { _mm512_maskz_loadu_ps(mask16(n), from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: see above; masked lanes are not touched.
        unsafe { _mm512_mask_storeu_ps(to, mask16(n), self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see above.
        unsafe {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self)));
            _mm256_add_ps(_mm512_castps512_ps256(self), upper).sum()
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        // SAFETY: see above.
        unsafe {
            let mut rows = [Self::zero(); 16];
            for i in 0..16 {
                rows[i] = Self::load(from.add(i * from_step));
            }
            // Within each quarter of 128 bits: pairs, then fours.
            let mut pairs = rows;
            for i in 0..8 {
                pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            let mut fours = [_mm512_setzero_pd(); 16];
            for i in 0..4 {
                for half in 0..2 {
                    let upper = _mm512_castps_pd(pairs[4 * i + half]);
                    let lower = _mm512_castps_pd(pairs[4 * i + half + 2]);
                    // fours[4i + j]: column 4q + j of rows 4i … 4i + 3 in quarter q
                    fours[4 * i + 2 * half] = _mm512_unpacklo_pd(upper, lower);
                    fours[4 * i + 2 * half + 1] = _mm512_unpackhi_pd(upper, lower);
                }
            }
            // Then the quarters are a 4 × 4 transpose of their own.
            for j in 0..4 {
                let [r0, r1, r2, r3] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
                let r0 = _mm512_castpd_ps(r0);
                let r1 = _mm512_castpd_ps(r1);
                let r2 = _mm512_castpd_ps(r2);
                let r3 = _mm512_castpd_ps(r3);
                let even01 = _mm512_shuffle_f32x4::<0b10_00_10_00>(r0, r1);
                let even23 = _mm512_shuffle_f32x4::<0b10_00_10_00>(r2, r3);
                let odd01 = _mm512_shuffle_f32x4::<0b11_01_11_01>(r0, r1);
                let odd23 = _mm512_shuffle_f32x4::<0b11_01_11_01>(r2, r3);
                let columns = [
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(even01, even23),
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(odd01, odd23),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(even01, even23),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(odd01, odd23),
                ];
                for (q, column) in columns.into_iter().enumerate() {
                    column.store(to.add((4 * q + j) * to_step));
                }
            }
        }
    }
    entry_points!(f32, #[target_feature(enable = "avx512f,avx2,fma")]);
}

impl Lanes for __m512d {
    type Real = f64;
    const N: usize = 8;
    const TILE_VECTORS: usize = 2;
    const TILE_COLUMNS: usize = 8;
    const DOTS: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        unsafe { _mm512_setzero_pd() }
    }
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_set1_pd(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f64, n: usize) -> Self {
        // SAFETY: see above; masked lanes are not touched.
        unsafe { _mm512_maskz_loadu_pd(mask8(n), from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_pd(to, self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f64, n: usize) {
        // SAFETY: see above; masked lanes are not touched.
        unsafe { _mm512_mask_storeu_pd(to, mask8(n), self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_pd(self, b, c) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_add_pd(self, other) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        // SAFETY: see above.
        unsafe {
            let upper = _mm512_extractf64x4_pd::<1>(self);
            _mm256_add_pd(_mm512_castpd512_pd256(self), upper).sum()
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f64, from_step: usize, to: *mut f64, to_step: usize) {
        // SAFETY: see above.
        unsafe {
            let mut rows = [Self::zero(); 8];
            for i in 0..8 {
                rows[i] = Self::load(from.add(i * from_step));
            }
            let mut pairs = rows;
            for i in 0..4 {
                // pairs[2i + j]: column 2q + j of rows 2i, 2i + 1 in quarter q
                pairs[2 * i] = _mm512_unpacklo_pd(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_pd(rows[2 * i], rows[2 * i + 1]);
            }
            for j in 0..2 {
                let [r0, r1, r2, r3] = [pairs[j], pairs[2 + j], pairs[4 + j], pairs[6 + j]];
                let even01 = _mm512_shuffle_f64x2::<0b10_00_10_00>(r0, r1);
                let even23 = _mm512_shuffle_f64x2::<0b10_00_10_00>(r2, r3);
                let odd01 = _mm512_shuffle_f64x2::<0b11_01_11_01>(r0, r1);
                let odd23 = _mm512_shuffle_f64x2::<0b11_01_11_01>(r2, r3);
                let columns = [
                    _mm512_shuffle_f64x2::<0b10_00_10_00>(even01, even23),
                    _mm512_shuffle_f64x2::<0b10_00_10_00>(odd01, odd23),
                    _mm512_shuffle_f64x2::<0b11_01_11_01>(even01, even23),
                    _mm512_shuffle_f64x2::<0b11_01_11_01>(odd01, odd23),
                ];
                for (q, column) in columns.into_iter().enumerate() {
                    column.store(to.add((2 * q + j) * to_step));
                }
            }
        }
    }
    entry_points!(f64, #[target_feature(enable = "avx512f,avx2,fma")]);
}

impl Lanes for __m256 {
    type Real = f32;
    const N: usize = 8;
    const TILE_VECTORS: usize = 2;
    const TILE_COLUMNS: usize = 6;
    const DOTS: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: see above; masked lanes are not touched, and n ≤ 8.
        unsafe {
            let mask = _mm256_loadu_si256(MASK_32.as_ptr().add(8 - n).cast());
            _mm256_maskload_ps(from, mask)
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: see above; masked lanes are not touched, and n ≤ 8.
        unsafe {
            let mask = _mm256_loadu_si256(MASK_32.as_ptr().add(8 - n).cast());
            _mm256_maskstore_ps(to, mask, self);
        }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see above.
        unsafe {
            let fours = _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps::<1>(self));
            let twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
            _mm_cvtss_f32(_mm_add_ss(twos, _mm_shuffle_ps::<1>(twos, twos)))
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        // SAFETY: see above.
        unsafe {
            let mut rows = [Self::zero(); 8];
            for i in 0..8 {
                rows[i] = Self::load(from.add(i * from_step));
            }
            let mut pairs = rows;
            for i in 0..4 {
                pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            let mut fours = rows;
            for i in 0..2 {
                for half in 0..2 {
                    let upper = _mm256_castps_pd(pairs[4 * i + half]);
                    let lower = _mm256_castps_pd(pairs[4 * i + half + 2]);
                    // fours[4i + j]: column 4q + j of rows 4i … 4i + 3 in half q
                    fours[4 * i + 2 * half] = _mm256_castpd_ps(_mm256_unpacklo_pd(upper, lower));
                    fours[4 * i + 2 * half + 1] =
                        _mm256_castpd_ps(_mm256_unpackhi_pd(upper, lower));
                }
            }
            for j in 0..4 {
                let (upper, lower) = (fours[j], fours[4 + j]);
                _mm256_permute2f128_ps::<0x20>(upper, lower).store(to.add(j * to_step));
                _mm256_permute2f128_ps::<0x31>(upper, lower).store(to.add((4 + j) * to_step));
            }
        }
    }
    entry_points!(f32, #[target_feature(enable = "avx2,fma")]);
}

impl Lanes for __m256d {
    type Real = f64;
    const N: usize = 4;
    const TILE_VECTORS: usize = 2;
    const TILE_COLUMNS: usize = 6;
    const DOTS: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        unsafe { _mm256_setzero_pd() }
    }
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        // SAFETY: see above.
        unsafe { _mm256_set1_pd(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        // SAFETY: see above.
        unsafe { _mm256_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f64, n: usize) -> Self {
        // SAFETY: see above; masked lanes are not touched, and n ≤ 4.
        unsafe {
            let mask = _mm256_loadu_si256(MASK_64.as_ptr().add(4 - n).cast());
            _mm256_maskload_pd(from, mask)
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_pd(to, self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f64, n: usize) {
        // SAFETY: see above; masked lanes are not touched, and n ≤ 4.
        unsafe {
            let mask = _mm256_loadu_si256(MASK_64.as_ptr().add(4 - n).cast());
            _mm256_maskstore_pd(to, mask, self);
        }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_pd(self, b, c) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm256_add_pd(self, other) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        // SAFETY: see above.
        unsafe {
            let twos = _mm_add_pd(_mm256_castpd256_pd128(self), _mm256_extractf128_pd::<1>(self));
            _mm_cvtsd_f64(_mm_add_sd(twos, _mm_unpackhi_pd(twos, twos)))
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f64, from_step: usize, to: *mut f64, to_step: usize) {
        // SAFETY: see above.
        unsafe {
            let [r0, r1] = [Self::load(from), Self::load(from.add(from_step))];
            let [r2, r3] =
                [Self::load(from.add(2 * from_step)), Self::load(from.add(3 * from_step))];
            let (even01, odd01) = (_mm256_unpacklo_pd(r0, r1), _mm256_unpackhi_pd(r0, r1));
            let (even23, odd23) = (_mm256_unpacklo_pd(r2, r3), _mm256_unpackhi_pd(r2, r3));
            _mm256_permute2f128_pd::<0x20>(even01, even23).store(to);
            _mm256_permute2f128_pd::<0x20>(odd01, odd23).store(to.add(to_step));
            _mm256_permute2f128_pd::<0x31>(even01, even23).store(to.add(2 * to_step));
            _mm256_permute2f128_pd::<0x31>(odd01, odd23).store(to.add(3 * to_step));
        }
    }
    entry_points!(f64, #[target_feature(enable = "avx2,fma")]);
}
