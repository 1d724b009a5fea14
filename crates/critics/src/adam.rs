//! Adam, and the soft update of target networks.

use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};

use crate::activation::dispatch;
use crate::error::{check_finite, check_length};
use crate::{CriticError, Real};

/// Settings of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamSettings {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the running mean of gradients.
    pub beta1: f64,
    /// Decay of the running mean of squared gradients.
    pub beta2: f64,
    /// What is added to the root of the squares.
    pub epsilon: f64,
}

impl Default for AdamSettings {
    /// Learning rate 3e-4, decays 0.9 and 0.999, ε = 1e-8.
    fn default() -> Self {
        Self { lr: 3e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// The optimiser of Kingma and Ba (2015), in the form that PyTorch gives it.
///
/// m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε).
/// There is no weight decay.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam<T: Real> {
    m: Vec<T>,
    v: Vec<T>,
    t: u64,
    settings: AdamSettings,
}

impl<T: Real> Adam<T> {
    /// A fresh optimiser of `n` parameters.
    #[must_use]
    pub fn new(n: usize, settings: AdamSettings) -> Self {
        Self { m: vec![T::ZERO; n], v: vec![T::ZERO; n], t: 0, settings }
    }

    /// Changes `params` along the gradients `grads`.
    ///
    /// # Panics
    ///
    /// When either length is not that of the optimiser.
    pub fn step(&mut self, params: &mut [T], grads: &[T]) {
        assert_eq!(params.len(), self.m.len(), "one optimiser state per parameter");
        assert_eq!(grads.len(), self.m.len(), "one gradient per parameter");
        self.t += 1;
        let AdamSettings { lr, beta1, beta2, epsilon } = self.settings;
        // More steps than `f64` can count exactly leave both corrections at 1 anyway.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let t = self.t as f64;
        dispatch(Step {
            params,
            grads,
            m: &mut self.m,
            v: &mut self.v,
            beta1: T::from_f64(beta1),
            rest1: T::from_f64(1.0 - beta1),
            beta2: T::from_f64(beta2),
            rest2: T::from_f64(1.0 - beta2),
            length: T::from_f64(lr / (1.0 - beta1.powf(t))),
            root: T::from_f64((1.0 - beta2.powf(t)).sqrt()),
            epsilon: T::from_f64(epsilon),
        });
    }

    /// Running means of the gradients.
    #[must_use]
    pub fn m(&self) -> &[T] {
        &self.m
    }

    /// Running means of the squared gradients.
    #[must_use]
    pub fn v(&self) -> &[T] {
        &self.v
    }

    /// Number of steps taken.
    #[must_use]
    pub fn t(&self) -> u64 {
        self.t
    }

    /// Settings in use.
    #[must_use]
    pub fn settings(&self) -> &AdamSettings {
        &self.settings
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    ///
    /// [`CriticError::Shape`] when a length is not that of the optimiser,
    /// [`CriticError::NotFinite`] for a moment that is not finite; the state is then unchanged.
    pub fn restore(&mut self, m: Vec<T>, v: Vec<T>, t: u64) -> Result<(), CriticError> {
        check_length("first moments `m`", m.len(), self.m.len())?;
        check_length("second moments `v`", v.len(), self.v.len())?;
        check_finite("first moments `m`", &m)?;
        check_finite("second moments `v`", &v)?;
        (self.m, self.v, self.t) = (m, v, t);
        Ok(())
    }
}

/// target ← (1 − τ) target + τ source.
///
/// # Panics
///
/// When the lengths differ.
pub fn soft_update<T: Real>(target: &mut [T], source: &[T], tau: f64) {
    assert_eq!(target.len(), source.len(), "target and source have the same parameters");
    dispatch(Blend { target, source, keep: T::from_f64(1.0 - tau), take: T::from_f64(tau) });
}

/// One step of [`Adam`] over all parameters.
struct Step<'a, T> {
    params: &'a mut [T],
    grads: &'a [T],
    m: &'a mut [T],
    v: &'a mut [T],
    beta1: T,
    rest1: T,
    beta2: T,
    rest2: T,
    length: T,
    root: T,
    epsilon: T,
}

impl<T: Real> WithSimd for Step<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let moments = self.m.iter_mut().zip(self.v);
        for ((p, g), (m, v)) in self.params.iter_mut().zip(self.grads).zip(moments) {
            *m = self.beta1 * *m + self.rest1 * *g;
            *v = self.beta2 * *v + self.rest2 * *g * *g;
            *p -= self.length * *m / (v.sqrt() / self.root + self.epsilon);
        }
    }
}

struct Blend<'a, T> {
    target: &'a mut [T],
    source: &'a [T],
    keep: T,
    take: T,
}

impl<T: Real> WithSimd for Blend<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (target, source) in self.target.iter_mut().zip(self.source) {
            *target = self.keep * *target + self.take * *source;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InstructionPath;
    use crate::activation::dispatch_on;

    #[test]
    fn first_steps_agree_with_the_formula_worked_by_hand() {
        let settings = AdamSettings { lr: 0.1, beta1: 0.5, beta2: 0.75, epsilon: 1e-2 };
        let mut adam = Adam::<f64>::new(1, settings);
        let mut p = [1.0];
        // t = 1: m = 1, v = 1, corrections ½ and ¼: 0.1/0.5 · 1/(1/0.5 + 0.01)
        adam.step(&mut p, &[2.0]);
        let first = 1.0 - 0.2 / 2.01;
        assert!((p[0] - first).abs() < 1e-15);
        // t = 2: m = ½ − ½ = 0, v = ¾ + ¼ = 1: nothing moves
        adam.step(&mut p, &[-1.0]);
        assert!((p[0] - first).abs() < 1e-15);
        assert_eq!((adam.m(), adam.v(), adam.t()), (&[0.0][..], &[1.0][..], 2));
        // t = 3: m = 2, v = ¾ + 4, corrections ⅞ and 1 − 27/64
        adam.step(&mut p, &[4.0]);
        let root = (1.0_f64 - 27.0 / 64.0).sqrt();
        let third = first - 0.1 / 0.875 * 2.0 / (4.75_f64.sqrt() / root + 1e-2);
        assert!((p[0] - third).abs() < 1e-15);
    }

    #[test]
    fn every_entry_follows_the_scalar_recurrence() {
        let settings = AdamSettings::default();
        let n = 37;
        let mut adam = Adam::<f64>::new(n, settings);
        let mut params: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        let mut scalar: Vec<[f64; 3]> = params.iter().map(|p| [*p, 0.0, 0.0]).collect();
        for t in 1..=20 {
            let grads: Vec<f64> = (0..n).map(|i| ((i * t) as f64 * 0.7).cos()).collect();
            adam.step(&mut params, &grads);
            let (c1, c2) = (1.0 - 0.9_f64.powi(t as i32), 1.0 - 0.999_f64.powi(t as i32));
            for (g, [p, m, v]) in grads.iter().zip(&mut scalar) {
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                *p -= 3e-4 * (*m / c1) / ((*v / c2).sqrt() + 1e-8);
            }
        }
        for (p, [expected, ..]) in params.iter().zip(&scalar) {
            assert!((p - expected).abs() < 1e-14, "{p} for {expected}");
        }
    }

    #[test]
    fn a_restored_optimiser_continues_with_equal_bits() {
        let mut adam = Adam::<f32>::new(5, AdamSettings::default());
        let (mut p, g) = ([0.5_f32; 5], [1.0, -2.0, 3.0, 0.0, 1e-9]);
        adam.step(&mut p, &g);
        let mut other = Adam::new(5, AdamSettings::default());
        other.restore(adam.m().to_vec(), adam.v().to_vec(), adam.t()).unwrap();
        let mut q = p;
        adam.step(&mut p, &g);
        other.step(&mut q, &g);
        assert_eq!(p.map(f32::to_bits), q.map(f32::to_bits));
        let error = other.restore(vec![0.0; 4], vec![0.0; 5], 1).unwrap_err();
        assert_eq!(error.to_string(), "first moments `m` has shape [4], needed is [5]");
        assert!(other.restore(vec![0.0; 5], vec![f32::NAN; 5], 1).is_err());
        assert_eq!(other, adam);
    }

    /// Parameters and moments after one step on a path.
    fn step_on(path: InstructionPath) -> Vec<u32> {
        let numbers = |f: fn(f32) -> f32| (0..77).map(|i| f(i as f32)).collect::<Vec<_>>();
        let grads = numbers(f32::cos);
        let (mut params, mut m, mut v) = (numbers(f32::sin), numbers(f32::sqrt), numbers(f32::abs));
        dispatch_on(
            path,
            Step {
                params: &mut params,
                grads: &grads,
                m: &mut m,
                v: &mut v,
                beta1: 0.9,
                rest1: 0.1,
                beta2: 0.999,
                rest2: 0.001,
                length: 3e-4,
                root: 0.7,
                epsilon: 1e-8,
            },
        );
        dispatch_on(path, Blend { target: &mut m, source: &params, keep: 0.995, take: 0.005 });
        [params, m, v].concat().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn steps_and_soft_updates_give_the_same_bits_on_every_path() {
        for path in InstructionPath::ALL.into_iter().filter(|path| path.available()) {
            assert!(step_on(path) == step_on(InstructionPath::Portable), "{path}");
        }
    }

    #[test]
    fn soft_update_moves_the_target_by_tau() {
        let mut target = [1.0, -2.0, 0.0];
        soft_update(&mut target, &[2.0, 2.0, 1.0], 0.25);
        assert_eq!(target, [1.25, -1.0, 0.25]);
    }
}
