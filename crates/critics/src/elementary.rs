//! Exponential, hyperbolic tangent and logarithm without branches.
//!
//! Every function is straight-line code of additions, multiplications, selections and at most one
//! division, so a loop over it becomes vector code. Nothing is fused into a multiply-add: the bits
//! are the same on every instruction set.

/// Adding and subtracting 1.5·2²³ rounds a moderate number to the nearest integer and leaves that
/// integer in the lowest bits of the sum.
const ROUND_F32: f32 = 12_582_912.0;
/// 1.5·2⁵², see [`ROUND_F32`].
const ROUND_F64: f64 = 6_755_399_441_055_744.0;

/// ln 2 in two parts, the first with so few bits that its products with exponents are exact.
const LN2_F32: (f32, f32) = (355.0 / 512.0, -2.121_944_4e-4);
/// See [`LN2_F32`].
const LN2_F64: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);

/// 2ⁿ for an integer n within −126..=127.
#[inline(always)]
fn power_of_two_f32(n: f32) -> f32 {
    f32::from_bits(((n + ROUND_F32).to_bits() << 23).wrapping_add(127 << 23))
}

/// 2ⁿ for an integer n within −1022..=1023.
#[inline(always)]
fn power_of_two_f64(n: f64) -> f64 {
    f64::from_bits(((n + ROUND_F64).to_bits() << 52).wrapping_add(1023 << 52))
}

/// The value of Σ cᵢ rⁱ, coefficients from the highest power down.
macro_rules! horner {
    ($r:expr; $highest:expr $(, $coefficient:expr)*) => {{
        let mut sum = $highest;
        $(sum = sum * $r + $coefficient;)*
        sum
    }};
}

/// e^r − 1 and the integer n of x = n ln 2 + r, |r| ≤ ½ ln 2.
#[inline(always)]
fn exp_tail_f32(x: f32) -> (f32, f32) {
    let n = (x * std::f32::consts::LOG2_E + ROUND_F32) - ROUND_F32;
    let r = (x - n * LN2_F32.0) - n * LN2_F32.1;
    // Taylor's series; the first omitted term is below 6e-9.
    let p = horner!(r; 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5);
    (r + r * r * p, n)
}

/// See [`exp_tail_f32`].
#[inline(always)]
fn exp_tail_f64(x: f64) -> (f64, f64) {
    let n = (x * std::f64::consts::LOG2_E + ROUND_F64) - ROUND_F64;
    let r = (x - n * LN2_F64.0) - n * LN2_F64.1;
    // Taylor's series; the first omitted term is below 5e-18.
    let p = horner!(r;
        1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0,
        1.0 / 362_880.0, 1.0 / 40_320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0,
        1.0 / 6.0, 0.5);
    (r + r * r * p, n)
}

/// eˣ; 0 and infinity beyond the range of `f32`, NaN stays NaN.
#[inline(always)]
pub(crate) fn exp_f32(x: f32) -> f32 {
    // Comparisons rather than `clamp`-like calls keep NaN and become selections.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let (t, n) = exp_tail_f32(x);
    let power = 1.0 + t;
    // In two steps, since 2ⁿ alone may be outside the normal numbers where the product is not.
    let half = (n * 0.5 + ROUND_F32) - ROUND_F32;
    power * power_of_two_f32(half) * power_of_two_f32(n - half)
}

/// eˣ; 0 and infinity beyond the range of `f64`, NaN stays NaN.
#[inline(always)]
pub(crate) fn exp_f64(x: f64) -> f64 {
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    let (t, n) = exp_tail_f64(x);
    let power = 1.0 + t;
    let half = (n * 0.5 + ROUND_F64) - ROUND_F64;
    power * power_of_two_f64(half) * power_of_two_f64(n - half)
}

/// eˣ for x ≤ 0 as a sum of two numbers, the second far smaller; see [`exp_f32`].
#[inline(always)]
pub(crate) fn exp_with_rest_f32(x: f32) -> (f32, f32) {
    let x = if x < -104.0 { -104.0 } else { x };
    let (t, n) = exp_tail_f32(x);
    let power = 1.0 + t;
    let rest = t - (power - 1.0);
    let half = (n * 0.5 + ROUND_F32) - ROUND_F32;
    let (first, second) = (power_of_two_f32(half), power_of_two_f32(n - half));
    (power * first * second, rest * first * second)
}

/// eˣ for x ≤ 0 as a sum of two numbers, the second far smaller; see [`exp_f64`].
#[inline(always)]
pub(crate) fn exp_with_rest_f64(x: f64) -> (f64, f64) {
    let x = if x < -746.0 { -746.0 } else { x };
    let (t, n) = exp_tail_f64(x);
    let power = 1.0 + t;
    let rest = t - (power - 1.0);
    let half = (n * 0.5 + ROUND_F64) - ROUND_F64;
    let (first, second) = (power_of_two_f64(half), power_of_two_f64(n - half));
    (power * first * second, rest * first * second)
}

/// Below this, tanh is taken from Lambert's continued fraction, above from the exponential.
const TANH_SPLIT: f64 = 0.625;

/// tanh x.
///
/// Small |x|: the convergent of Lambert's fraction x/(1 + x²/(3 + x²/(5 + …))) whose relative error
/// is below 1e-9, written as x minus a small correction. Otherwise 1 − 2/(e^{2|x|} + 1). Both are
/// `whole − numerator/denominator`, so one division serves both.
#[inline(always)]
pub(crate) fn tanh_f32(x: f32) -> f32 {
    let size = x.abs();
    let y = x * x;
    let small = size < TANH_SPLIT as f32;
    // From 10 on the result is 1 in this type.
    let bounded = if size > 10.0 { 10.0 } else { size };
    let (t, n) = exp_tail_f32(2.0 * bounded);
    let power = 1.0 + t;
    let exponential = power * power_of_two_f32(n);
    let whole = if small { size } else { 1.0 };
    let numerator = if small { size * y * (315.0 + 14.0 * y) } else { 2.0 };
    let denominator = if small { horner!(y; 15.0, 420.0, 945.0) } else { exponential + 1.0 };
    (whole - numerator / denominator).copysign(x)
}

/// tanh x; see [`tanh_f32`]. The convergent's relative error is below 1e-17.
#[inline(always)]
pub(crate) fn tanh_f64(x: f64) -> f64 {
    let size = x.abs();
    let y = x * x;
    let small = size < TANH_SPLIT;
    // From 20 on the result is 1 in this type.
    let bounded = if size > 20.0 { 20.0 } else { size };
    let (t, n) = exp_tail_f64(2.0 * bounded);
    let power = 1.0 + t;
    let exponential = power * power_of_two_f64(n);
    let whole = if small { size } else { 1.0 };
    let numerator =
        if small { size * y * horner!(y; 1.0, 594.0, 45_045.0, 675_675.0) } else { 2.0 };
    let denominator = if small {
        horner!(y; 1.0, 630.0, 51_975.0, 945_945.0, 2_027_025.0)
    } else {
        exponential + 1.0
    };
    (whole - numerator / denominator).copysign(x)
}

/// ln(1 + t) + `rest` for t in [0, 1] and a far smaller rest: 2 artanh(s) with s = t/(2 + t) ≤ ⅓, by its
/// series in s². What rounds off in 2 + t is put back, so that only the division and the last sum count.
#[inline(always)]
pub(crate) fn ln_one_plus_unit_f32(t: f32, rest: f32) -> f32 {
    let whole = 2.0 + t;
    let s = t / whole;
    let z = s * s;
    let p = horner!(z;
        1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0);
    // 1/(2 + t) = ½ (1 − s)
    let lost = (t - (whole - 2.0)) * s * (1.0 - s);
    2.0 * (s + (s * z * p + 0.5 * (rest - lost)))
}

/// See [`ln_one_plus_unit_f32`].
#[inline(always)]
pub(crate) fn ln_one_plus_unit_f64(t: f64, rest: f64) -> f64 {
    let whole = 2.0 + t;
    let s = t / whole;
    let z = s * s;
    let p = horner!(z;
        1.0 / 35.0, 1.0 / 33.0, 1.0 / 31.0, 1.0 / 29.0, 1.0 / 27.0, 1.0 / 25.0, 1.0 / 23.0,
        1.0 / 21.0, 1.0 / 19.0, 1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0,
        1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0);
    let lost = (t - (whole - 2.0)) * s * (1.0 - s);
    2.0 * (s + (s * z * p + 0.5 * (rest - lost)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;

    /// A number of about 106 bits: the sum of two `f64`.
    #[derive(Clone, Copy)]
    struct Double(f64, f64);

    impl Double {
        fn sum(a: f64, b: f64) -> Self {
            let s = a + b;
            let t = s - a;
            Self(s, (a - (s - t)) + (b - t))
        }
        fn plus(self, o: Self) -> Self {
            let Self(s, e) = Self::sum(self.0, o.0);
            let Self(h, l) = Self::sum(s, e + self.1 + o.1);
            Self(h, l)
        }
        fn times(self, o: Self) -> Self {
            let p = self.0 * o.0;
            let e = self.0.mul_add(o.0, -p) + (self.0 * o.1 + self.1 * o.0);
            Self::sum(p, e)
        }
        fn over(self, o: Self) -> Self {
            let q = self.0 / o.0;
            let r = self.plus(o.times(Self(-q, 0.0)));
            let q2 = r.0 / o.0;
            let r = r.plus(o.times(Self(-q2, 0.0)));
            Self::sum(q, q2).plus(Self(r.0 / o.0, 0.0))
        }
    }

    /// tanh to far more than `f64`: Lambert's fraction at x/32, doubled five times.
    fn tanh_reference(x: f64) -> Double {
        let small = Double(x / 32.0, 0.0);
        let y = small.times(small);
        let mut tail = Double(41.0, 0.0);
        for k in (0..20).rev() {
            tail = Double(f64::from(2 * k + 1), 0.0).plus(y.over(tail));
        }
        let mut t = small.over(tail);
        for _ in 0..5 {
            // tanh 2a = 2 tanh a / (1 + tanh² a)
            t = t.plus(t).over(Double(1.0, 0.0).plus(t.times(t)));
        }
        t
    }

    fn sweep() -> impl Iterator<Item = f64> {
        let fine = (0..60_000).map(|i| f64::from(i) * 3.7e-4);
        let tiny = (0..3_000).map(|i| 10f64.powf(-12.0 + f64::from(i) * 4e-3));
        fine.chain(tiny).chain([TANH_SPLIT - 1e-9, TANH_SPLIT, TANH_SPLIT + 1e-9])
    }

    #[test]
    fn tanh_f64_stays_within_two_units_in_the_last_place() {
        let mut worst: f64 = 0.0;
        for x in sweep().flat_map(|x| [x, -x]) {
            let Double(high, low) = tanh_reference(x);
            let unit = (high.abs().next_up() - high.abs()).min(f64::EPSILON / 2.0);
            let error = ((tanh_f64(x) - high) - low).abs() / unit;
            worst = worst.max(error);
        }
        assert!(worst <= 2.0, "{worst} units in the last place");
    }

    #[test]
    fn tanh_f32_stays_within_two_units_in_the_last_place() {
        let mut worst: f64 = 0.0;
        for x in sweep().flat_map(|x| [x, -x]).map(|x| x as f32) {
            let exact = f64::from(x).tanh();
            let rounded = exact.abs() as f32;
            let unit = f64::from((rounded.next_up() - rounded).min(f32::EPSILON / 2.0));
            worst = worst.max((f64::from(tanh_f32(x)) - exact).abs() / unit);
        }
        assert!(worst <= 2.0, "{worst} units in the last place");
    }

    /// z σ(z) and ln(1 + eᶻ) to far more than `f64`, from tanh ½z.
    fn silu_and_softplus_reference(z: f64) -> [Double; 2] {
        let one = Double(1.0, 0.0);
        let half = Double(0.5, 0.0);
        let t = tanh_reference(0.5 * z.abs());
        let minus_t = Double(-t.0, -t.1);
        let signed = if z < 0.0 { minus_t } else { t };
        let silu = Double(z, 0.0).times(half.times(one.plus(signed)));
        // ln(1 + e) = 2 artanh(e/(2 + e)) with e = e^{−|z|} = (1 − t)/(1 + t)
        let e = one.plus(minus_t).over(one.plus(t));
        let s = e.over(Double(2.0, 0.0).plus(e));
        let square = s.times(s);
        let mut sum = Double(0.0, 0.0);
        for k in (0..40).rev() {
            sum = one.over(Double(f64::from(2 * k + 1), 0.0)).plus(square.times(sum));
        }
        let log = Double(2.0, 0.0).times(s.times(sum));
        [silu, if z < 0.0 { log } else { Double(z, 0.0).plus(log) }]
    }

    #[test]
    fn softplus_stays_within_two_units_in_the_last_place_and_silu_within_two_and_a_half() {
        let mut worst = [0.0_f64; 4];
        for z in (1..40_000).map(|i| f64::from(i) * 4.3e-4).flat_map(|z| [z, -z]) {
            let exact = silu_and_softplus_reference(z);
            let narrow = f64::from(z as f32);
            let exact_narrow = silu_and_softplus_reference(narrow);
            for (i, curve) in [Activation::Silu, Activation::Softplus].into_iter().enumerate() {
                let Double(high, low) = exact[i];
                let unit = high.abs().next_up() - high.abs();
                let error = ((curve.value(z) - high) - low).abs() / unit;
                worst[i] = worst[i].max(error);
                let Double(high, _) = exact_narrow[i];
                let rounded = high.abs() as f32;
                let unit = f64::from(rounded.next_up() - rounded);
                let error = (f64::from(curve.value(narrow as f32)) - high).abs() / unit;
                worst[2 + i] = worst[2 + i].max(error);
            }
        }
        let bounds = [2.5, 2.0, 2.5, 2.0];
        let holds = worst.iter().zip(bounds).all(|(&worst, bound)| worst <= bound);
        assert!(holds, "{worst:?} units in the last place");
    }

    #[test]
    fn tanh_keeps_zeros_saturates_and_passes_nan() {
        assert_eq!(tanh_f32(0.0).to_bits(), 0.0_f32.to_bits());
        assert_eq!(tanh_f32(-0.0).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(tanh_f64(0.0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(tanh_f64(-0.0).to_bits(), (-0.0_f64).to_bits());
        for x in [10.0, 50.0, 1e30, f32::MAX, f32::INFINITY] {
            assert_eq!((tanh_f32(x), tanh_f32(-x)), (1.0, -1.0));
        }
        for x in [20.0, 50.0, 1e300, f64::MAX, f64::INFINITY] {
            assert_eq!((tanh_f64(x), tanh_f64(-x)), (1.0, -1.0));
        }
        assert!(tanh_f32(f32::NAN).is_nan() && tanh_f64(f64::NAN).is_nan());
        let least = f64::from_bits(1);
        assert_eq!(tanh_f64(least), least);
    }

    #[test]
    fn exp_agrees_with_the_standard_library_over_its_whole_range() {
        for i in -7_500..=7_100 {
            let x = f64::from(i) * 0.1 + 0.013;
            let (found, exact) = (exp_f64(x), x.exp());
            if exact.is_finite() && exact > f64::MIN_POSITIVE {
                assert!((found - exact).abs() <= 4e-16 * exact, "e^{x}: {found} for {exact}");
            } else {
                assert!(found == exact || (found - exact).abs() <= 1e-323, "e^{x}: {found}");
            }
        }
        for i in -10_300..=8_870 {
            let x = (f64::from(i) * 0.01) as f32;
            let exact = f64::from(x).exp();
            let found = f64::from(exp_f32(x));
            let unit = 1.2e-7 * exact.max(f64::from(f32::MIN_POSITIVE));
            assert!((found - exact).abs() <= 2.0 * unit, "e^{x}: {found} for {exact}");
        }
        assert_eq!((exp_f64(1e4), exp_f64(-1e4)), (f64::INFINITY, 0.0));
        assert_eq!((exp_f32(1e4), exp_f32(-1e4)), (f32::INFINITY, 0.0));
        assert!(exp_f32(f32::NAN).is_nan() && exp_f64(f64::NAN).is_nan());
    }

    #[test]
    fn logarithm_of_one_plus_a_fraction_agrees_with_the_standard_library() {
        for i in 0..=10_000 {
            let t = f64::from(i) * 1e-4;
            assert!((ln_one_plus_unit_f64(t, 0.0) - t.ln_1p()).abs() <= 5e-16 * t.ln_1p());
            let t = t as f32;
            let exact = f64::from(t).ln_1p();
            assert!((f64::from(ln_one_plus_unit_f32(t, 0.0)) - exact).abs() <= 2.5e-7 * exact);
        }
    }
}
