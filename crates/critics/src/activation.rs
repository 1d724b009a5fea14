//! Activation functions and the element-wise passes over whole layers.
//!
//! A layer keeps its output h = φ(z). For tanh, ReLU and the identity the derivatives follow from h
//! alone; SiLU and softplus also keep the logistic function of z, their *gate*.

use std::marker::PhantomData;

#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use pulp::{Scalar, Simd, WithSimd};
use serde::{Deserialize, Serialize};

use crate::{InstructionPath, Real};

/// The non-linearity φ of the hidden layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// φ(z) = z.
    Identity,
    /// φ(z) = tanh z.
    Tanh,
    /// φ(z) = max(z, 0); slope 0 at z = 0, curvature 0 everywhere.
    Relu,
    /// φ(z) = z σ(z) with the logistic function σ; within 2.5 units in the last place.
    Silu,
    /// φ(z) = ln(1 + eᶻ); within 2 units in the last place, as tanh.
    Softplus,
}

impl Activation {
    /// φ(z).
    #[must_use]
    pub fn value<T: Real>(self, z: T) -> T {
        with_curve!(self, C => C::value(z).0)
    }

    /// φ′(z).
    #[must_use]
    pub fn slope<T: Real>(self, z: T) -> T {
        with_curve!(self, C => {
            let (h, gate) = C::value(z);
            C::slope(h, gate)
        })
    }

    /// φ″(z).
    #[must_use]
    pub fn curvature<T: Real>(self, z: T) -> T {
        with_curve!(self, C => {
            let (h, gate) = C::value(z);
            C::curvature(h, gate)
        })
    }

    /// φ‴(z).
    #[must_use]
    pub fn third<T: Real>(self, z: T) -> T {
        with_curve!(self, C => {
            let (h, gate) = C::value(z);
            C::third(h, gate)
        })
    }

    /// Whether the passes below need a gate beside every output.
    pub(crate) fn is_gated(self) -> bool {
        matches!(self, Self::Silu | Self::Softplus)
    }

    /// Whether φ″ is anything but 0 by declaration.
    pub(crate) fn is_curved(self) -> bool {
        !matches!(self, Self::Identity | Self::Relu)
    }

    /// z ← φ(z + b) for every row, and the gates where there are any.
    ///
    /// `z` is batch × `bias.len()`; `gate` has the same length, or none for an ungated activation.
    pub(crate) fn apply<T: Real>(self, bias: &[T], z: &mut [T], gate: &mut [T]) {
        debug_assert_eq!(z.len() % bias.len(), 0);
        debug_assert!(!self.is_gated() || gate.len() == z.len());
        with_curve!(self, C => dispatch(Apply::<C, T> { bias, z, gate, curve: PhantomData }));
    }

    /// h̄ ← φ′ h̄: the sensitivity to z from that to h.
    pub(crate) fn pull_back<T: Real>(self, h: &[T], gate: &[T], bar: &mut [T]) {
        debug_assert_eq!(h.len(), bar.len());
        debug_assert!(!self.is_gated() || gate.len() == h.len());
        with_curve!(self, C => dispatch(PullBack::<C, T> { h, gate, bar, curve: PhantomData }));
    }

    /// ḣ = φ′ ż.
    pub(crate) fn push_forward<T: Real>(self, h: &[T], gate: &[T], z_dot: &[T], h_dot: &mut [T]) {
        debug_assert!(h.len() == z_dot.len() && h.len() == h_dot.len());
        debug_assert!(!self.is_gated() || gate.len() == h.len());
        with_curve!(self, C => dispatch(PushForward::<C, T> { h, gate, z_dot, h_dot, curve: PhantomData }));
    }

    /// Pulls the sensitivities to h and ḣ back to z and ż, in place:
    /// z̄ = φ′ h̄ + φ″ ż ḣ̄ and ż̄ = φ′ ḣ̄.
    pub(crate) fn pull_back_twice<T: Real>(
        self,
        h: &[T],
        gate: &[T],
        z_dot: &[T],
        bar: &mut [T],
        bar_dot: &mut [T],
    ) {
        debug_assert!(h.len() == z_dot.len() && h.len() == bar.len() && h.len() == bar_dot.len());
        debug_assert!(!self.is_gated() || gate.len() == h.len());
        with_curve!(self, C => dispatch(
            PullBackTwice::<C, T> { h, gate, z_dot, bar, bar_dot, curve: PhantomData }
        ));
    }

    /// φ′, φ″ and φ‴ of a whole layer.
    pub(crate) fn derivatives<T: Real>(self, h: &[T], gate: &[T], out: Derivatives<'_, T>) {
        debug_assert!(!self.is_gated() || gate.len() == h.len());
        with_curve!(self, C => dispatch(Differentiate::<C, T> { h, gate, out, curve: PhantomData }));
    }
}

/// Where [`Activation::derivatives`] writes φ′, φ″ and φ‴, each as long as the layer.
pub(crate) struct Derivatives<'a, T> {
    pub(crate) slope: &'a mut [T],
    pub(crate) curvature: &'a mut [T],
    pub(crate) third: &'a mut [T],
}

/// Runs a pass compiled for the instruction path of this process.
#[inline]
pub(crate) fn dispatch<P: WithSimd>(pass: P) -> P::Output {
    dispatch_on(InstructionPath::current(), pass)
}

/// Runs a pass compiled for a path, or for any processor where the path is not available.
///
/// Passes use no fused multiply–add and no reductions, so their bits are the same on every path.
#[inline]
pub(crate) fn dispatch_on<P: WithSimd>(path: InstructionPath, pass: P) -> P::Output {
    #[cfg(target_arch = "x86_64")]
    match path {
        InstructionPath::Avx512 => {
            if let Some(simd) = V4::try_new() {
                return Simd::vectorize(simd, pass);
            }
        }
        InstructionPath::Avx2 => {
            if let Some(simd) = V3::try_new() {
                return Simd::vectorize(simd, pass);
            }
        }
        InstructionPath::Portable => {}
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = path;
    Simd::vectorize(Scalar, pass)
}

/// z ← z + b for every row: the bias of a linear layer.
pub(crate) fn add_bias<T: Real>(bias: &[T], z: &mut [T]) {
    Activation::Identity.apply(bias, z, &mut []);
}

/// One activation as a type, so that each pass is compiled once per activation.
trait Curve<T: Real>: Copy {
    /// Whether the derivatives need the gate.
    const GATED: bool;
    /// φ(z) and the gate (anything for an ungated curve).
    fn value(z: T) -> (T, T);
    /// φ′ from φ and gate.
    fn slope(h: T, gate: T) -> T;
    /// φ″ from φ and gate.
    fn curvature(h: T, gate: T) -> T;
    /// φ‴ from φ and gate.
    fn third(h: T, gate: T) -> T;
}

/// Binds `$curve` to the [`Curve`] of an activation within `$body`.
macro_rules! with_curve {
    ($activation:expr, $curve:ident => $body:expr) => {
        match $activation {
            Activation::Identity => {
                use IdentityCurve as $curve;
                $body
            }
            Activation::Tanh => {
                use TanhCurve as $curve;
                $body
            }
            Activation::Relu => {
                use ReluCurve as $curve;
                $body
            }
            Activation::Silu => {
                use SiluCurve as $curve;
                $body
            }
            Activation::Softplus => {
                use SoftplusCurve as $curve;
                $body
            }
        }
    };
}
use with_curve;

#[derive(Clone, Copy)]
struct IdentityCurve;
#[derive(Clone, Copy)]
struct TanhCurve;
#[derive(Clone, Copy)]
struct ReluCurve;
#[derive(Clone, Copy)]
struct SiluCurve;
#[derive(Clone, Copy)]
struct SoftplusCurve;

impl<T: Real> Curve<T> for IdentityCurve {
    const GATED: bool = false;
    #[inline(always)]
    fn value(z: T) -> (T, T) {
        (z, T::ONE)
    }
    #[inline(always)]
    fn slope(_h: T, _gate: T) -> T {
        T::ONE
    }
    #[inline(always)]
    fn curvature(_h: T, _gate: T) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn third(_h: T, _gate: T) -> T {
        T::ZERO
    }
}

impl<T: Real> Curve<T> for TanhCurve {
    const GATED: bool = false;
    #[inline(always)]
    fn value(z: T) -> (T, T) {
        (z.tanh(), T::ONE)
    }
    #[inline(always)]
    fn slope(h: T, _gate: T) -> T {
        T::ONE - h * h
    }
    #[inline(always)]
    fn curvature(h: T, _gate: T) -> T {
        let slope = T::ONE - h * h;
        -(h + h) * slope
    }
    #[inline(always)]
    fn third(h: T, _gate: T) -> T {
        // φ‴ = 2φ′(2h² − φ′)
        let square = h * h;
        let slope = T::ONE - square;
        (slope + slope) * (square + square - slope)
    }
}

impl<T: Real> Curve<T> for ReluCurve {
    const GATED: bool = false;
    #[inline(always)]
    fn value(z: T) -> (T, T) {
        // Negative z gives 0; the comparison is written so that NaN stays NaN.
        (if z < T::ZERO { T::ZERO } else { z }, T::ONE)
    }
    #[inline(always)]
    fn slope(h: T, _gate: T) -> T {
        if h > T::ZERO { T::ONE } else { T::ZERO }
    }
    #[inline(always)]
    fn curvature(_h: T, _gate: T) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn third(_h: T, _gate: T) -> T {
        T::ZERO
    }
}

/// σ(z), and softplus(−|z|) = ln(1 + e^{−|z|}); the exponential never overflows. What rounds off in it
/// and in the denominator is put back: softplus stays within 2 units in the last place, z σ(z) within
/// 2.5.
#[inline(always)]
fn logistic<T: Real>(z: T) -> (T, T) {
    let (e, rest) = (-z.abs()).exp_with_rest();
    let negative = z < T::ZERO;
    let whole = T::ONE + e;
    let lost = (e - (whole - T::ONE)) + rest;
    let quotient = if negative { e } else { T::ONE } / whole;
    // 1/(1 + e), accurate enough for a correction.
    let inverse = if negative { T::ONE - quotient } else { quotient };
    let rest_above = if negative { rest } else { T::ZERO };
    let sigma = quotient + inverse * (rest_above - quotient * lost);
    (sigma, e.ln_one_plus_unit(rest * inverse))
}

impl<T: Real> Curve<T> for SiluCurve {
    const GATED: bool = true;
    #[inline(always)]
    fn value(z: T) -> (T, T) {
        let (gate, _) = logistic(z);
        (z * gate, gate)
    }
    #[inline(always)]
    fn slope(h: T, gate: T) -> T {
        // φ′ = σ + zσ(1 − σ) with zσ = h
        gate + h * (T::ONE - gate)
    }
    #[inline(always)]
    fn curvature(h: T, gate: T) -> T {
        // φ″ = (1 − σ)(2σ + h(1 − 2σ))
        let rest = T::ONE - gate;
        rest * (gate + gate + h * (rest - gate))
    }
    #[inline(always)]
    fn third(h: T, gate: T) -> T {
        // φ‴ = (1 − σ)(3σ(1 − 2σ) + h((1 − 2σ)² − 2σ(1 − σ)))
        let rest = T::ONE - gate;
        let (bend, product) = (rest - gate, gate * rest);
        let three = gate + gate + gate;
        rest * (three * bend + h * (bend * bend - product - product))
    }
}

impl<T: Real> Curve<T> for SoftplusCurve {
    const GATED: bool = true;
    #[inline(always)]
    fn value(z: T) -> (T, T) {
        let (gate, soft) = logistic(z);
        let positive = if z < T::ZERO { T::ZERO } else { z };
        (positive + soft, gate)
    }
    #[inline(always)]
    fn slope(_h: T, gate: T) -> T {
        gate
    }
    #[inline(always)]
    fn curvature(_h: T, gate: T) -> T {
        gate * (T::ONE - gate)
    }
    #[inline(always)]
    fn third(_h: T, gate: T) -> T {
        let rest = T::ONE - gate;
        gate * rest * (rest - gate)
    }
}

struct Apply<'a, C, T> {
    bias: &'a [T],
    z: &'a mut [T],
    gate: &'a mut [T],
    curve: PhantomData<C>,
}

impl<C: Curve<T>, T: Real> WithSimd for Apply<'_, C, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { bias, z, gate, curve: _ } = self;
        let width = bias.len();
        if C::GATED {
            for (row, gates) in z.chunks_exact_mut(width).zip(gate.chunks_exact_mut(width)) {
                for ((z, gate), b) in row.iter_mut().zip(gates).zip(bias) {
                    (*z, *gate) = C::value(*z + *b);
                }
            }
        } else {
            for row in z.chunks_exact_mut(width) {
                for (z, b) in row.iter_mut().zip(bias) {
                    *z = C::value(*z + *b).0;
                }
            }
        }
    }
}

struct PullBack<'a, C, T> {
    h: &'a [T],
    gate: &'a [T],
    bar: &'a mut [T],
    curve: PhantomData<C>,
}

impl<C: Curve<T>, T: Real> WithSimd for PullBack<'_, C, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { h, gate, bar, curve: _ } = self;
        if C::GATED {
            for ((bar, h), gate) in bar.iter_mut().zip(h).zip(gate) {
                *bar *= C::slope(*h, *gate);
            }
        } else {
            for (bar, h) in bar.iter_mut().zip(h) {
                *bar *= C::slope(*h, T::ONE);
            }
        }
    }
}

struct PushForward<'a, C, T> {
    h: &'a [T],
    gate: &'a [T],
    z_dot: &'a [T],
    h_dot: &'a mut [T],
    curve: PhantomData<C>,
}

impl<C: Curve<T>, T: Real> WithSimd for PushForward<'_, C, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { h, gate, z_dot, h_dot, curve: _ } = self;
        if C::GATED {
            for (((h_dot, z_dot), h), gate) in h_dot.iter_mut().zip(z_dot).zip(h).zip(gate) {
                *h_dot = C::slope(*h, *gate) * *z_dot;
            }
        } else {
            for ((h_dot, z_dot), h) in h_dot.iter_mut().zip(z_dot).zip(h) {
                *h_dot = C::slope(*h, T::ONE) * *z_dot;
            }
        }
    }
}

struct PullBackTwice<'a, C, T> {
    h: &'a [T],
    gate: &'a [T],
    z_dot: &'a [T],
    bar: &'a mut [T],
    bar_dot: &'a mut [T],
    curve: PhantomData<C>,
}

impl<C: Curve<T>, T: Real> WithSimd for PullBackTwice<'_, C, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { h, gate, z_dot, bar, bar_dot, curve: _ } = self;
        let rows = bar.iter_mut().zip(bar_dot).zip(z_dot).zip(h);
        if C::GATED {
            for ((((bar, bar_dot), z_dot), h), gate) in rows.zip(gate) {
                let slope = C::slope(*h, *gate);
                *bar = slope * *bar + C::curvature(*h, *gate) * *z_dot * *bar_dot;
                *bar_dot *= slope;
            }
        } else {
            for (((bar, bar_dot), z_dot), h) in rows {
                let slope = C::slope(*h, T::ONE);
                *bar = slope * *bar + C::curvature(*h, T::ONE) * *z_dot * *bar_dot;
                *bar_dot *= slope;
            }
        }
    }
}

struct Differentiate<'a, C, T> {
    h: &'a [T],
    gate: &'a [T],
    out: Derivatives<'a, T>,
    curve: PhantomData<C>,
}

impl<C: Curve<T>, T: Real> WithSimd for Differentiate<'_, C, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { h, gate, out: Derivatives { slope, curvature, third }, curve: _ } = self;
        let rows = slope.iter_mut().zip(curvature).zip(third).zip(h);
        if C::GATED {
            for ((((slope, curvature), third), h), gate) in rows.zip(gate) {
                *slope = C::slope(*h, *gate);
                *curvature = C::curvature(*h, *gate);
                *third = C::third(*h, *gate);
            }
        } else {
            for (((slope, curvature), third), h) in rows {
                *slope = C::slope(*h, T::ONE);
                *curvature = C::curvature(*h, T::ONE);
                *third = C::third(*h, T::ONE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dynamics::Stream;

    use super::*;

    /// The bits of all that the passes of one activation write on a path.
    fn bits<C: Curve<T>, T: Real>(path: InstructionPath) -> Vec<u64> {
        let mut stream = Stream::new(3, "passes", 0);
        let n = 7 * 37;
        let mut draw =
            |scale| (0..n).map(|_| T::from_f64(scale * stream.normal())).collect::<Vec<T>>();
        let (bias, mut h, mut gate) = (draw(1.0)[..37].to_vec(), draw(6.0), draw(1.0));
        let (mut bar, mut bar_dot, mut twice, z_dot) = (draw(1.0), draw(1.0), draw(1.0), draw(1.0));
        let (mut h_dot, mut jet) = (draw(1.0), [draw(1.0), draw(1.0), draw(1.0)]);
        let curve = PhantomData::<C>;
        dispatch_on(path, Apply { bias: &bias, z: &mut h, gate: &mut gate, curve });
        dispatch_on(path, PullBack { h: &h, gate: &gate, bar: &mut bar, curve });
        dispatch_on(
            path,
            PushForward { h: &h, gate: &gate, z_dot: &z_dot, h_dot: &mut h_dot, curve },
        );
        let (bar_twice, bar_dot_twice) = (&mut twice, &mut bar_dot);
        dispatch_on(
            path,
            PullBackTwice {
                h: &h,
                gate: &gate,
                z_dot: &z_dot,
                bar: bar_twice,
                bar_dot: bar_dot_twice,
                curve,
            },
        );
        let [slope, curvature, third] = &mut jet;
        let out = Derivatives { slope, curvature, third };
        dispatch_on(path, Differentiate { h: &h, gate: &gate, out, curve });
        let [slope, curvature, third] = jet;
        [h, gate, bar, h_dot, twice, bar_dot, slope, curvature, third]
            .concat()
            .iter()
            .map(|x| x.to_f64().to_bits())
            .collect()
    }

    #[test]
    fn every_pass_gives_the_same_bits_on_every_path() {
        for activation in [
            Activation::Identity,
            Activation::Tanh,
            Activation::Relu,
            Activation::Silu,
            Activation::Softplus,
        ] {
            for path in InstructionPath::ALL.into_iter().filter(|path| path.available()) {
                with_curve!(activation, C => {
                    assert!(
                        bits::<C, f32>(path) == bits::<C, f32>(InstructionPath::Portable)
                            && bits::<C, f64>(path) == bits::<C, f64>(InstructionPath::Portable),
                        "{activation:?} differs between portable and {path}"
                    );
                });
            }
        }
    }
}
