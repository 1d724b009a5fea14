//! Vectors of one instruction set, and the plain arrays that stand in for them elsewhere.

use super::pack::Copying;
use super::tile::{Dots, Tile};
use crate::Real;

/// A vector of `N` numbers in a register.
///
/// # Safety
///
/// Every method asks that the processor has the instruction set of the type, and that pointers are
/// good for as many numbers as are read or written; no alignment is needed. The methods are
/// inlined into the `run_…` functions, which alone are compiled with the instruction set enabled.
pub(super) trait Lanes: Copy {
    /// The number in a lane.
    type Real: Real;
    /// Lanes of a vector.
    const N: usize;
    /// Vectors in a column of the ordinary tile.
    const TILE_VECTORS: usize;
    /// Columns of the ordinary tile.
    const TILE_COLUMNS: usize;
    /// Scalar products that are summed side by side.
    const DOTS: usize;

    /// 0 in every lane.
    unsafe fn zero() -> Self;
    /// `x` in every lane.
    unsafe fn splat(x: Self::Real) -> Self;
    /// N numbers.
    unsafe fn load(from: *const Self::Real) -> Self;
    /// n ≤ N numbers, 0 in the other lanes.
    unsafe fn load_first(from: *const Self::Real, n: usize) -> Self;
    /// Writes N numbers.
    unsafe fn store(self, to: *mut Self::Real);
    /// Writes the first n ≤ N numbers and nothing else.
    unsafe fn store_first(self, to: *mut Self::Real, n: usize);
    /// self · b + c, rounded once where the path has fused arithmetic.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// self + other.
    unsafe fn add(self, other: Self) -> Self;
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(self) -> Self::Real;
    /// to[j·to_step + i] = from[i·from_step + j] for i, j < N.
    unsafe fn transpose(
        from: *const Self::Real,
        from_step: usize,
        to: *mut Self::Real,
        to_step: usize,
    );

    /// [`super::tile::tile`], compiled for this instruction set.
    unsafe fn run_tile<const V: usize, const C: usize, const SHORT: bool>(tile: &Tile<Self::Real>);
    /// [`super::tile::dots`], compiled for this instruction set.
    unsafe fn run_dots<const R: usize, const C: usize>(dots: &Dots<Self::Real>);
    /// [`super::pack::copied`], compiled for this instruction set.
    unsafe fn run_copied<const W: usize>(copy: &Copying<Self::Real>);
    /// [`super::pack::transposed`], compiled for this instruction set.
    unsafe fn run_transposed(
        from: *const Self::Real,
        from_step: usize,
        rows: usize,
        k: usize,
        to: *mut Self::Real,
        width: usize,
    );
}

/// The three functions that are compiled with `$feature` and take the inlined ones in.
macro_rules! entry_points {
    ($real:ident $(, #[$feature:meta])?) => {
        $(#[$feature])?
        unsafe fn run_tile<const V: usize, const C: usize, const SHORT: bool>(
            tile: &Tile<$real>,
        ) {
            // SAFETY: the caller's promises are passed on.
            unsafe { crate::product::tile::tile::<Self, V, C, SHORT>(tile) }
        }
        $(#[$feature])?
        unsafe fn run_dots<const R: usize, const C: usize>(dots: &Dots<$real>) {
            // SAFETY: the caller's promises are passed on.
            unsafe { crate::product::tile::dots::<Self, R, C>(dots) }
        }
        $(#[$feature])?
        unsafe fn run_copied<const W: usize>(copy: &Copying<$real>) {
            // SAFETY: the caller's promises are passed on.
            unsafe { crate::product::pack::copied::<$real, W>(copy) }
        }
        $(#[$feature])?
        unsafe fn run_transposed(
            from: *const $real,
            from_step: usize,
            rows: usize,
            k: usize,
            to: *mut $real,
            width: usize,
        ) {
            // SAFETY: the caller's promises are passed on.
            unsafe {
                crate::product::pack::transposed::<Self>(from, from_step, rows, k, to, width);
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use entry_points;

/// N numbers in plain Rust. Products and sums are rounded one by one, so the bits are the same on
/// every machine.
#[derive(Clone, Copy)]
pub(super) struct Array<T, const N: usize>([T; N]);

macro_rules! impl_array {
    ($real:ident, $n:literal) => {
        impl Lanes for Array<$real, $n> {
            type Real = $real;
            const N: usize = $n;
            // Sixteen registers of 128 bits hold 8 for the tile.
            const TILE_VECTORS: usize = 1;
            const TILE_COLUMNS: usize = 4;
            const DOTS: usize = 4;

            #[inline(always)]
            unsafe fn zero() -> Self {
                Self([0.0; $n])
            }
            #[inline(always)]
            unsafe fn splat(x: $real) -> Self {
                Self([x; $n])
            }
            #[inline(always)]
            unsafe fn load(from: *const $real) -> Self {
                // SAFETY: the caller promises N numbers.
                Self(unsafe { from.cast::<[$real; $n]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $real, n: usize) -> Self {
                let mut lanes = [0.0; $n];
                for (i, lane) in lanes.iter_mut().enumerate().take(n) {
                    // SAFETY: the caller promises n numbers.
                    *lane = unsafe { *from.add(i) };
                }
                Self(lanes)
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $real) {
                // SAFETY: the caller promises room for N numbers.
                unsafe { to.cast::<[$real; $n]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $real, n: usize) {
                for (i, lane) in self.0.iter().enumerate().take(n) {
                    // SAFETY: the caller promises room for n numbers.
                    unsafe { *to.add(i) = *lane };
                }
            }
            #[inline(always)]
            unsafe fn mul_add(mut self, b: Self, c: Self) -> Self {
                for i in 0..$n {
                    self.0[i] = self.0[i] * b.0[i] + c.0[i];
                }
                self
            }
            #[inline(always)]
            unsafe fn add(mut self, other: Self) -> Self {
                for i in 0..$n {
                    self.0[i] += other.0[i];
                }
                self
            }
            #[inline(always)]
            unsafe fn sum(self) -> $real {
                let (mut lanes, mut n) = (self.0, $n);
                while n > 1 {
                    n /= 2;
                    for i in 0..n {
                        lanes[i] += lanes[i + n];
                    }
                }
                lanes[0]
            }
            #[inline(always)]
            unsafe fn transpose(
                from: *const $real,
                from_step: usize,
                to: *mut $real,
                to_step: usize,
            ) {
                for i in 0..$n {
                    for j in 0..$n {
                        // SAFETY: the caller promises both blocks.
                        unsafe { *to.add(j * to_step + i) = *from.add(i * from_step + j) };
                    }
                }
            }
            entry_points!($real);
        }
    };
}

impl_array!(f32, 8);
impl_array!(f64, 4);
