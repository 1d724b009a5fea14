//! Ways to the step of second order, and what they cost.

use dynamics::StepDerivative;

/// How the quadratic program of the step is solved. All routes give the same step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Route {
    /// Assembles H, T·nu × T·nu, column by column and factorises it.
    Dense,
    /// A Riccati recursion over the linear model, with time linear in T.
    Riccati,
    /// Preconditioned conjugate gradients on products with H; nothing larger than a vector is stored
    /// beyond the derivatives of the steps.
    ConjugateGradient {
        /// Ends when the residual is below this share of the right-hand side, in (0, 1).
        tolerance: f64,
        /// Products at most per linear system. A direction cut off there still goes downhill.
        max_iterations: usize,
    },
    /// The one of the others that is expected to be fastest. With w the time of a product with a step's
    /// derivative, n = ndx and m = nu, the times of one linear system are
    ///
    /// ```text
    /// Dense               T² m w + c (T m)³/6: a tangent and an adjoint sweep per column, a factorisation
    /// Riccati             T (a₀ + a₁ n (n + m) + a₂ n (n + m)²)
    /// ConjugateGradient   2 T w per iteration, of which min(200, T m) are expected
    /// ```
    ///
    /// with constants that were measured once, so that the choice depends on sizes only. Matrices have
    /// w = b₀ + b₁ n (n + m), networks of springs w = b₂ n. Control limits ask for several linear
    /// systems, but for one assembly of H. Conjugate gradients run to 10⁻¹⁰.
    Auto,
}

/// Tolerance of the conjugate gradients that [`Route::Auto`] takes.
const AUTO_TOLERANCE: f64 = 1e-10;
/// Products with H that they are expected to need.
const EXPECTED_PRODUCTS: f64 = 200.0;
/// Linear systems that control limits are expected to ask for.
const SYSTEMS_IN_A_BOX: f64 = 6.0;

/// Measured costs in nanoseconds (one core of an x86-64 server, the bench `shooting`).
mod nanoseconds {
    /// A product with Jacobians as matrices: fixed, and per entry.
    pub(super) const PRODUCT: f64 = 12.0;
    pub(super) const PRODUCT_ENTRY: f64 = 1.1;
    /// A product with the factored step of a network of springs, per direction of its state.
    pub(super) const PRODUCT_OF_SPRINGS: f64 = 3.3;
    /// A node of the recursion: fixed, per n (n + m), per n (n + m)².
    pub(super) const NODE: f64 = 400.0;
    pub(super) const NODE_ENTRY: f64 = 2.5;
    pub(super) const NODE_CUBE: f64 = 0.06;
    /// A multiply-add of the factorisation of H.
    pub(super) const FACTOR: f64 = 0.25;
}

impl Route {
    /// Name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Riccati => "riccati",
            Self::ConjugateGradient { .. } => "conjugate-gradient",
            Self::Auto => "auto",
        }
    }

    /// The route that [`Route::Auto`] stands for.
    pub(super) fn resolve(
        self,
        derivative: &StepDerivative,
        ndx: usize,
        nu: usize,
        horizon: usize,
        limited: bool,
    ) -> Self {
        if self != Self::Auto {
            return self;
        }
        let product = match derivative {
            StepDerivative::MassSpring(_) => nanoseconds::PRODUCT_OF_SPRINGS * ndx as f64,
            _ => nanoseconds::PRODUCT + nanoseconds::PRODUCT_ENTRY * (ndx * (ndx + nu)) as f64,
        };
        fastest(product, ndx, nu, horizon, limited)
    }
}

/// The fastest route if a product with a step's derivative takes `product` nanoseconds.
fn fastest(product: f64, ndx: usize, nu: usize, horizon: usize, limited: bool) -> Route {
    let (n, m, t) = (ndx as f64, nu as f64, horizon as f64);
    let systems = if limited { SYSTEMS_IN_A_BOX } else { 1.0 };
    let node = nanoseconds::NODE
        + nanoseconds::NODE_ENTRY * n * (n + m)
        + nanoseconds::NODE_CUBE * n * (n + m).powi(2);
    let dense = t * t * m * product + systems * nanoseconds::FACTOR * (t * m).powi(3) / 6.0;
    let riccati = systems * t * node;
    let gradients = systems * EXPECTED_PRODUCTS.min(t * m) * 2.0 * t * product;
    if riccati <= dense.min(gradients) {
        Route::Riccati
    } else if dense <= gradients {
        Route::Dense
    } else {
        let max_iterations = 20 * horizon * nu;
        Route::ConjugateGradient { tolerance: AUTO_TOLERANCE, max_iterations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masses' and handles' coordinates, horizon: the tasks of PODS and what its sheet expects.
    #[test]
    fn pendulums_take_the_recursion_ropes_the_matrix_and_cloth_neither() {
        let route = |n: usize, nu: usize, horizon: usize, product: f64| {
            fastest(product, 4 * n + nu, nu, horizon, false).name()
        };
        let of_springs =
            |n: usize, nu: usize| nanoseconds::PRODUCT_OF_SPRINGS * (4 * n + nu) as f64;
        for (n, nu) in [(2, 2), (3, 3), (6, 3), (8, 4)] {
            assert_eq!(route(n, nu, 100, of_springs(n, nu)), "riccati");
        }
        assert_eq!(route(30, 3, 100, of_springs(30, 3)), "dense");
        assert_eq!(route(75, 12, 100, of_springs(75, 12)), "conjugate-gradient");
        assert_eq!(route(75, 12, 10, of_springs(75, 12)), "dense");
    }
}
