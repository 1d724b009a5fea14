//! Implicit integration in time: both schemes as one set of coefficients.

use serde::{Deserialize, Serialize};

use super::network::{NetworkError, positive};

/// How a network is integrated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Integration {
    /// The scheme.
    pub scheme: Scheme,
    /// How the history starts; BDF1 has none and needs none.
    #[serde(default)]
    pub startup: Startup,
    /// Time step h (s).
    pub dt: f64,
}

/// Backward differentiation for second-order systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Order 1, implicit Euler: stable and heavily damping.
    Bdf1,
    /// Order 2, v = (3x − 4xₙ + xₙ₋₁)/(2h) and the same for the acceleration.
    Bdf2,
}

/// How BDF2 gets the history that a start at (x, v) lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Startup {
    /// The first step is one of BDF1; an entry of the state tells it apart and is no direction of
    /// the tangent space.
    #[default]
    Bdf1,
    /// x₋₁ and v₋₁ from the acceleration at the start: no extra entry, exact in free fall. Springs
    /// should start in axial balance, or the acceleration holds k·(length error)/m.
    SecondOrder,
}

/// One step is x' = argmin (c/2)(x − x̃)ᵀM(x − x̃) + U(x, p') with
/// x̃ = α₁xₙ + α₂xₙ₋₁ + β₁vₙ + β₂vₙ₋₁, and v' = γ₀x' + γ₁xₙ + γ₂xₙ₋₁.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Coefficients {
    pub(super) c: f64,
    pub(super) alpha: [f64; 2],
    pub(super) beta: [f64; 2],
    pub(super) gamma: [f64; 3],
}

impl Coefficients {
    /// The coefficients with the force −δ M v' of the mass damping gathered into c and α, β.
    pub(super) fn new(scheme: Scheme, h: f64, mass_damping: f64) -> Self {
        let plain = match scheme {
            Scheme::Bdf1 => Self {
                c: 1.0 / (h * h),
                alpha: [1.0, 0.0],
                beta: [h, 0.0],
                gamma: [1.0 / h, -1.0 / h, 0.0],
            },
            Scheme::Bdf2 => Self {
                c: 9.0 / (4.0 * h * h),
                alpha: [4.0 / 3.0, -1.0 / 3.0],
                beta: [8.0 * h / 9.0, -2.0 * h / 9.0],
                gamma: [1.5 / h, -2.0 / h, 0.5 / h],
            },
        };
        if mass_damping == 0.0 {
            return plain;
        }
        // cM(x − x̃) + δM(γ₀x + γ₁xₙ + γ₂xₙ₋₁) is again (c + δγ₀)M(x − x̃').
        let Self { c, alpha, beta, gamma } = plain;
        let damped = c + mass_damping * gamma[0];
        Self {
            c: damped,
            alpha: std::array::from_fn(|i| (c * alpha[i] - mass_damping * gamma[i + 1]) / damped),
            beta: beta.map(|beta| c * beta / damped),
            gamma,
        }
    }
}

impl Integration {
    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        positive("dt", 0, self.dt)
    }

    /// Whether the state has an entry that marks its start.
    pub(super) fn has_flag(&self) -> bool {
        self.scheme == Scheme::Bdf2 && self.startup == Startup::Bdf1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_motion_is_continued_whatever_the_damping_is_without_it_and_slowed_with_it() {
        let (h, v) = (0.02, 1.7);
        for scheme in [Scheme::Bdf1, Scheme::Bdf2] {
            for damping in [0.0, 0.8] {
                let c = Coefficients::new(scheme, h, damping);
                let history = [0.3, 0.3 - h * v];
                let target =
                    c.alpha[0] * history[0] + c.alpha[1] * history[1] + (c.beta[0] + c.beta[1]) * v;
                let speed = c.gamma[0] * target + c.gamma[1] * history[0] + c.gamma[2] * history[1];
                // M(γ₀-scaled acceleration) = −δ v': one step of v̇ = −δ v from a history of speed v.
                let rate = c.gamma[0];
                let expected = v * rate / (rate + damping);
                assert!((speed - expected).abs() < 1e-12, "{scheme:?} {speed} {expected}");
                assert!((c.alpha[0] + c.alpha[1] - 1.0).abs() < 1e-14);
            }
        }
    }
}
