//! What a solve returns.

use std::fmt;

use dynamics::States;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::serde_lists;
use crate::{DdpError, Method};

/// Why a solve ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// The expected improvement of a feasible iterate is below `stop`.
    Converged,
    /// `max_iterations` were done.
    IterationLimit,
    /// No step was accepted, up to the largest regularisation.
    LineSearchFailed,
    /// No regularisation makes the control Hessians positive definite.
    RegularizationLimit,
    /// A cost, state or derivative of the trajectory is not finite, or some state or cost of every
    /// roll-out that was tried from it.
    NotFinite {
        /// The node where it arose.
        node: usize,
    },
    /// `time_budget` is spent.
    TimeBudget,
}

impl Status {
    /// Name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::IterationLimit => "iteration_limit",
            Self::LineSearchFailed => "line_search_failed",
            Self::RegularizationLimit => "regularization_limit",
            Self::NotFinite { .. } => "not_finite",
            Self::TimeBudget => "time_budget",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { node } => write!(f, "not_finite at node {node}"),
            other => f.write_str(other.name()),
        }
    }
}

/// One iteration, as the field logs it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IterationRow {
    /// Iteration, from 0.
    pub iter: usize,
    /// Cost after it.
    pub cost: f64,
    /// Expected improvement of a full step, |d₁ + ½ d₂|.
    pub stop: f64,
    /// Slope d₁ of the expected improvement.
    pub grad: f64,
    /// Regularisation μ of the accepted backward pass.
    pub reg: f64,
    /// Step length; 0 if none was accepted.
    pub step: f64,
    /// Largest entry of a gap before the step.
    pub feas: f64,
    /// Expected improvement of the step.
    #[serde(rename = "dV-exp")]
    pub dv_exp: f64,
    /// Improvement of the step.
    #[serde(rename = "dV")]
    pub dv: f64,
}

impl IterationRow {
    /// Titles above rows that are displayed.
    pub const TITLE: &str = "iter        cost       stop       grad        reg       step       feas     dV-exp         dV";
}

impl fmt::Display for IterationRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iter, cost, stop, grad, reg, step, feas, dv_exp, dv } = self;
        write!(
            f,
            "{iter:4} {cost:11.4e} {stop:10.3e} {grad:10.3e} {reg:10.3e} {step:10.4} {feas:10.3e} \
             {dv_exp:10.3e} {dv:10.3e}"
        )
    }
}

/// A trajectory with its feedback policy u = usₜ + gainsₜ (x ⊖ xsₜ) and the value of every node.
///
/// `v, vx, vxx` are taken at the trajectory itself and free of regularisation: the expansion of
/// V(xsₜ ⊕ δ) ≈ v + vx·δ + ½ δ·vxx δ, the discounted cost from node t on in units of that node. With
/// Gauss–Newton methods `vxx` lacks the curvature of the dynamics. All vectors over nodes have T + 1
/// entries, those over controls T.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// The method that found it.
    pub method: Method,
    /// Why the solve ended.
    pub status: Status,
    /// Iterations before the last one, as Crocoddyl counts: the first pass is 0.
    pub iterations: usize,
    /// Σ γᵗ ℓ + γᵀ ℓ_T.
    #[serde(with = "serde_lists::number")]
    pub cost: f64,
    /// γ.
    pub discount: f64,
    /// Whether the states follow from the controls.
    pub feasible: bool,
    /// μ at the end; a large one marks a solve to distrust.
    pub regularization: f64,
    /// States.
    #[serde(with = "serde_lists::vectors")]
    pub xs: Vec<DVector<f64>>,
    /// Controls.
    #[serde(with = "serde_lists::vectors")]
    pub us: Vec<DVector<f64>>,
    /// Feed-forward terms: what a full step without regularisation would still change.
    #[serde(with = "serde_lists::vectors")]
    pub k: Vec<DVector<f64>>,
    /// Feedback gains, nu × ndx.
    #[serde(with = "serde_lists::matrices")]
    pub gains: Vec<DMatrix<f64>>,
    /// Value of each node; `v[0]` is the cost.
    #[serde(with = "serde_lists::numbers")]
    pub v: Vec<f64>,
    /// Gradient of the value, ndx.
    #[serde(with = "serde_lists::vectors")]
    pub vx: Vec<DVector<f64>>,
    /// Hessian of the value, ndx × ndx.
    #[serde(with = "serde_lists::matrices")]
    pub vxx: Vec<DMatrix<f64>>,
    /// Gaps: x₀ ⊖ xs₀ and f(xsₜ, usₜ) ⊖ xsₜ₊₁; zero for a feasible solution.
    #[serde(with = "serde_lists::vectors")]
    pub gaps: Vec<DVector<f64>>,
    /// Multipliers of the gaps: the value's gradient behind each gap, vx + vxx gap.
    #[serde(with = "serde_lists::vectors")]
    pub multipliers: Vec<DVector<f64>>,
    /// V_x of node 0, behind its gap, as the last backward pass left it: at the iterate before the last
    /// accepted step and with μ. What Crocoddyl hands out; for comparisons with it only.
    #[serde(with = "serde_lists::vector")]
    pub last_vx0: DVector<f64>,
    /// V_xx of node 0 of the same pass.
    #[serde(with = "serde_lists::matrix")]
    pub last_vxx0: DMatrix<f64>,
    /// One row per iteration.
    pub log: Vec<IterationRow>,
}

impl Solution {
    /// T.
    #[must_use]
    pub fn horizon(&self) -> usize {
        self.us.len()
    }

    /// The trajectory as a feedback policy in the given space of states. It does not keep control
    /// limits.
    ///
    /// # Errors
    /// [`DdpError::Damaged`] for a solution whose lists do not fit each other.
    pub fn policy<'a>(&'a self, states: States<'a>) -> Result<FeedbackPolicy<'a>, DdpError> {
        let horizon = self.us.len();
        let nu = self.us.first().map_or(0, DVector::len);
        let (nx, ndx) =
            (self.xs.first().map_or(0, DVector::len), self.gains.first().map_or(0, DMatrix::ncols));
        let lists = [
            ("us", horizon > 0 && self.us.iter().all(|u| u.len() == nu)),
            ("xs", self.xs.len() == horizon + 1 && self.xs.iter().all(|x| x.len() == nx)),
            (
                "gains",
                self.gains.len() == horizon && self.gains.iter().all(|k| k.shape() == (nu, ndx)),
            ),
        ];
        match lists.into_iter().find(|(_, fits)| !fits) {
            Some((what, _)) => Err(DdpError::Damaged { what }),
            None => Ok(FeedbackPolicy { solution: self, states, dx: DVector::zeros(ndx) }),
        }
    }
}

/// u = usₜ + gainsₜ (x ⊖ xsₜ); beyond the horizon the last node's.
pub struct FeedbackPolicy<'a> {
    solution: &'a Solution,
    states: States<'a>,
    dx: DVector<f64>,
}

impl FeedbackPolicy<'_> {
    /// Writes the control of step `t` in state `x`, not limited to any box.
    ///
    /// # Errors
    /// A state or control of the wrong size.
    pub fn control(
        &mut self,
        t: usize,
        x: &DVector<f64>,
        u: &mut DVector<f64>,
    ) -> Result<(), DdpError> {
        let Solution { xs, us, gains, method, .. } = self.solution;
        let t = t.min(us.len().saturating_sub(1));
        let sizes = [("the state", x.len(), xs[t].len()), ("the control", u.len(), us[t].len())];
        for (what, found, needed) in sizes {
            if found != needed {
                let model = format!("feedback policy of {method}");
                return Err(DdpError::Mismatch { model, what, found, needed });
            }
        }
        self.states.difference(&xs[t], x, &mut self.dx);
        u.copy_from(&us[t]);
        u.gemv(1.0, &gains[t], &self.dx, 1.0);
        Ok(())
    }
}
