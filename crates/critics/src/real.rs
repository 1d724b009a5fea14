//! The two scalar types of this crate.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::elementary;
use crate::product::Kernels;

mod sealed {
    /// Closes [`super::Real`] to other types: the matrix products exist for `f32` and `f64` only.
    #[cfg(not(feature = "candle"))]
    pub trait Sealed {}
    /// The same, and what candle needs of a type.
    #[cfg(feature = "candle")]
    pub trait Sealed: crate::candle_mlp::Transfer {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A real number: `f32` or `f64`.
///
/// [`Real::exp`] and [`Real::tanh`] are this crate's own branch-free routines (errors below 2 units
/// in the last place), so that loops over them become vector code and give the same bits on every
/// instruction set.
pub trait Real:
    sealed::Sealed
    + Kernels
    + Copy
    + Default
    + Debug
    + Display
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Name of the type: `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// The nearest number of this type.
    fn from_f64(v: f64) -> Self;
    /// The same number as `f64`, without loss.
    fn to_f64(self) -> f64;
    /// Square root.
    fn sqrt(self) -> Self;
    /// eˣ, vectorisable.
    fn exp(self) -> Self;
    /// eˣ for x ≤ 0 as a sum of two numbers, the second far smaller, vectorisable.
    fn exp_with_rest(self) -> (Self, Self);
    /// ln(1 + t) + `rest` for t in [0, 1] and a far smaller rest, vectorisable; meaningless elsewhere.
    fn ln_one_plus_unit(self, rest: Self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Hyperbolic tangent, vectorisable.
    fn tanh(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Whether the number is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// The larger of two numbers; `other` where `self` is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers; `other` where `self` is NaN.
    fn min(self, other: Self) -> Self;
}

macro_rules! impl_real {
    ($real:ident, $exp:ident, $exp_with_rest:ident, $ln_one_plus_unit:ident, $tanh:ident) => {
        impl Real for $real {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAME: &'static str = stringify!($real);

            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
            fn from_f64(v: f64) -> Self {
                v as $real
            }
            #[inline(always)]
            #[allow(clippy::cast_lossless, reason = "one text for both types")]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $real::sqrt(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                elementary::$exp(self)
            }
            #[inline(always)]
            fn exp_with_rest(self) -> (Self, Self) {
                elementary::$exp_with_rest(self)
            }
            #[inline(always)]
            fn ln_one_plus_unit(self, rest: Self) -> Self {
                elementary::$ln_one_plus_unit(self, rest)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $real::ln(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                elementary::$tanh(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $real::abs(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $real::is_finite(self)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                if self > other { self } else { other }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if self < other { self } else { other }
            }
        }
    };
}

impl_real!(f32, exp_f32, exp_with_rest_f32, ln_one_plus_unit_f32, tanh_f32);
impl_real!(f64, exp_f64, exp_with_rest_f64, ln_one_plus_unit_f64, tanh_f64);
