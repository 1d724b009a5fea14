//! How the outputs of a perceptron become a value.

use serde::{Deserialize, Serialize};

use crate::Real;

/// V = Σ_k f(r_k) over the outputs r of the perceptron.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// V = r of a single output, of any sign.
    Plain,
    /// V = Σ r², without the ½ of quadratic costs: Parag et al. (2022).
    SumOfSquares,
    /// V = Σ (√(r² + 1) − 1), which grows linearly: the code published for their arm.
    SmoothNorm,
}

impl Head {
    /// Whether V is a sum of convex functions of residuals, which has a Gauss–Newton Hessian.
    #[must_use]
    pub fn has_residuals(self) -> bool {
        self != Self::Plain
    }

    /// f, f′, f″ and f‴ at r.
    #[inline]
    pub(crate) fn jet<T: Real>(self, r: T) -> [T; 4] {
        match self {
            Self::Plain => [r, T::ONE, T::ZERO, T::ZERO],
            Self::SumOfSquares => [r * r, r + r, T::ONE + T::ONE, T::ZERO],
            Self::SmoothNorm => {
                let root = (r * r + T::ONE).sqrt();
                let (cosine, sine) = (T::ONE / root, r / root);
                let curvature = cosine * cosine * cosine;
                // r²/(√ + 1) is √(r² + 1) − 1 without its cancellation near 0.
                let third = -(curvature * cosine * (sine + sine + sine));
                [r * r / (root + T::ONE), sine, curvature, third]
            }
        }
    }
}
