//! What can be wrong with a linear-quadratic problem, and the checks of its data.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use thiserror::Error;

/// A matrix counts as symmetric when it differs from its transpose by at most this, relative to
/// its largest entry.
const SYMMETRY_TOLERANCE: f64 = 1e-10;

/// Errors of the linear-quadratic regulators.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LqrError {
    /// A vector or matrix has the wrong size.
    #[error(
        "`{what}`{} is {}×{}, needs {}×{}",
        of_stage(*stage), found.0, found.1, needed.0, needed.1
    )]
    Dimension {
        /// Name of the vector or matrix.
        what: &'static str,
        /// The stage it belongs to, in time-varying problems.
        stage: Option<usize>,
        /// Rows and columns given.
        found: (usize, usize),
        /// Rows and columns needed.
        needed: (usize, usize),
    },
    /// A number of the problem, or of its solution at this stage, is not finite.
    #[error("`{what}`{} has the entry {value}; every entry must be finite", of_stage(*stage))]
    NotFinite {
        /// Name of the vector or matrix.
        what: &'static str,
        /// The stage it belongs to, in time-varying problems.
        stage: Option<usize>,
        /// The value found.
        value: f64,
    },
    /// A Hessian is not symmetric.
    #[error(
        "`{what}`{} differs from its transpose by {difference:.2e}; pass its symmetric part, \
         which gives the same cost", of_stage(*stage)
    )]
    NotSymmetric {
        /// Name of the matrix.
        what: &'static str,
        /// The stage it belongs to, in time-varying problems.
        stage: Option<usize>,
        /// Largest difference of two opposite entries.
        difference: f64,
    },
    /// The cost of the control has no unique minimum.
    #[error(
        "`{what}`{} is not positive definite (smallest eigenvalue {smallest:.2e}); increase the \
         weight of the control", of_stage(*stage)
    )]
    NotPositiveDefinite {
        /// Name of the matrix.
        what: &'static str,
        /// The stage at which the recursion met it, in time-varying problems.
        stage: Option<usize>,
        /// Its smallest eigenvalue.
        smallest: f64,
    },
    /// The discount factor is out of its range.
    #[error("the discount factor is {found}, but must lie in (0, 1]")]
    Discount {
        /// The value given.
        found: f64,
    },
    /// A mode that does not decay is out of reach of the control.
    #[error(
        "no gains stabilise (`a`, `b`): a mode that does not decay by itself is out of reach of \
         the control, or nearly so; add an actuator or remove the mode from the model"
    )]
    NotStabilizable,
    /// The system can be stabilised, but doing so is not optimal for this cost.
    #[error(
        "the Riccati equation has no stabilising solution although (`a`, `b`) can be stabilised: \
         a mode that does not decay by itself is free of cost, or the cost is unbounded below; \
         add weight to `q`"
    )]
    NoStabilizingSolution,
    /// Rounding errors left too large a residual.
    #[error(
        "the Riccati equation was solved to a relative residual of {residual:.2e} only (needs \
         {needed:.0e}) in {iterations} doublings; bring the weights of `q` to similar sizes"
    )]
    Inaccurate {
        /// The residual that was left, relative to the terms of the equation.
        residual: f64,
        /// The largest one that is accepted.
        needed: f64,
        /// Doublings made.
        iterations: usize,
    },
}

fn of_stage(stage: Option<usize>) -> String {
    stage.map_or_else(String::new, |t| format!(" of stage {t}"))
}

/// Checks of the data of one stage, or of a stationary problem.
#[derive(Clone, Copy)]
pub(super) struct Check {
    pub(super) stage: Option<usize>,
}

impl Check {
    /// Size and finiteness.
    pub(super) fn matrix(
        self,
        what: &'static str,
        matrix: &DMatrix<f64>,
        needed: (usize, usize),
    ) -> Result<(), LqrError> {
        let (stage, found) = (self.stage, matrix.shape());
        if found != needed {
            return Err(LqrError::Dimension { what, stage, found, needed });
        }
        self.finite(what, matrix.as_slice())
    }

    /// Size and finiteness.
    pub(super) fn vector(
        self,
        what: &'static str,
        vector: &DVector<f64>,
        needed: usize,
    ) -> Result<(), LqrError> {
        let (stage, found, needed) = (self.stage, vector.shape(), (needed, 1));
        if found != needed {
            return Err(LqrError::Dimension { what, stage, found, needed });
        }
        self.finite(what, vector.as_slice())
    }

    /// Size, finiteness and symmetry.
    pub(super) fn hessian(
        self,
        what: &'static str,
        matrix: &DMatrix<f64>,
        n: usize,
    ) -> Result<(), LqrError> {
        self.matrix(what, matrix, (n, n))?;
        let difference = (matrix - matrix.transpose()).amax();
        if difference > SYMMETRY_TOLERANCE * matrix.amax() {
            return Err(LqrError::NotSymmetric { what, stage: self.stage, difference });
        }
        Ok(())
    }

    pub(super) fn finite(self, what: &'static str, values: &[f64]) -> Result<(), LqrError> {
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(&value) => Err(LqrError::NotFinite { what, stage: self.stage, value }),
        }
    }

    /// The Cholesky factor of a symmetric, finite matrix.
    pub(super) fn cholesky(
        self,
        what: &'static str,
        matrix: &DMatrix<f64>,
    ) -> Result<Cholesky<f64, Dyn>, LqrError> {
        Cholesky::new(matrix.clone()).ok_or_else(|| LqrError::NotPositiveDefinite {
            what,
            stage: self.stage,
            smallest: matrix.symmetric_eigenvalues().min(),
        })
    }
}

pub(super) fn check_discount(found: f64) -> Result<(), LqrError> {
    if found > 0.0 && found <= 1.0 { Ok(()) } else { Err(LqrError::Discount { found }) }
}

/// ½(M + Mᵀ): products of symmetric factors are symmetric up to rounding only.
pub(super) fn symmetric_part(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    (matrix + matrix.transpose()) * 0.5
}
