//! What is to be solved.

use dynamics::{ActionBounds, Cost, Dynamics, DynamicsError, TerminalCost, check_vector};
use nalgebra::DVector;
use thiserror::Error;

/// An optimal control problem over a horizon of T steps:
///
/// ```text
/// min  Σₜ γᵗ ℓ(t, xₜ, uₜ) + γᵀ ℓ_T(x_T)   subject to   x₀ given,  xₜ₊₁ = f(xₜ, uₜ),  low ≤ uₜ ≤ high
/// ```
pub struct Problem<'a, D, C, E> {
    /// f.
    pub dynamics: &'a D,
    /// ℓ.
    pub cost: &'a C,
    /// ℓ_T: anything with value, gradient and Hessian, a learned value function too.
    pub terminal: &'a E,
    /// T.
    pub horizon: usize,
    /// γ; 1 unless the cost of later steps is to count less.
    pub discount: f64,
    /// The box of the controls. [`Method::BoxDdp`](crate::Method::BoxDdp),
    /// [`Method::BoxFddp`](crate::Method::BoxFddp) and the steps of
    /// [`Shooting`](crate::shooting::Shooting) keep to it, the other methods ignore it.
    pub control_limits: Option<&'a ActionBounds>,
}

impl<D, C, E> Clone for Problem<'_, D, C, E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<D, C, E> Copy for Problem<'_, D, C, E> {}

impl<'a, D: Dynamics, C: Cost, E: TerminalCost> Problem<'a, D, C, E> {
    /// A problem without discount and control limits.
    pub fn new(dynamics: &'a D, cost: &'a C, terminal: &'a E, horizon: usize) -> Self {
        Self { dynamics, cost, terminal, horizon, discount: 1.0, control_limits: None }
    }

    /// Checks that the parts fit together.
    pub(crate) fn check(&self) -> Result<(), DdpError> {
        let (ndx, nu) = (self.dynamics.ndx(), self.dynamics.nu());
        let sizes = [
            ("the cost's ndx", self.cost.ndx(), ndx),
            ("the cost's nu", self.cost.nu(), nu),
            ("the terminal cost's ndx", self.terminal.ndx(), ndx),
        ];
        let limits = self.control_limits.map(|b| {
            [
                ("the control limits' low", b.low.len(), nu),
                ("the control limits' high", b.high.len(), nu),
            ]
        });
        for (what, found, needed) in sizes.into_iter().chain(limits.into_iter().flatten()) {
            if found != needed {
                let model = self.dynamics.name().to_owned();
                return Err(DdpError::Mismatch { model, what, found, needed });
            }
        }
        if ndx == 0 {
            return Err(DdpError::Setting { key: "ndx", value: 0.0, needed: "at least 1" });
        }
        if self.horizon == 0 {
            return Err(DdpError::Setting { key: "horizon", value: 0.0, needed: "at least 1" });
        }
        if !(self.discount > 0.0 && self.discount <= 1.0) {
            let value = self.discount;
            return Err(DdpError::Setting { key: "discount", value, needed: "in (0, 1]" });
        }
        if let Some(bounds) = self.control_limits {
            for (control, (&low, &high)) in bounds.low.iter().zip(&bounds.high).enumerate() {
                let empty = low > high || low == f64::INFINITY || high == f64::NEG_INFINITY;
                if low.is_nan() || high.is_nan() || empty {
                    return Err(DdpError::Limits { control, low, high });
                }
            }
        }
        Ok(())
    }

    pub(crate) fn check_state(&self, what: &'static str, x: &DVector<f64>) -> Result<(), DdpError> {
        Ok(check_vector(self.dynamics.name(), what, x.as_slice(), self.dynamics.nx())?)
    }
}

/// Why there is no answer at all; how well a solve went is in [`Status`](crate::Status).
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum DdpError {
    /// Two parts of a problem differ in size.
    #[error("`{model}` needs {needed} for {what}, found {found}")]
    Mismatch {
        /// Name of the dynamics.
        model: String,
        /// What has the wrong size.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The size that the dynamics need.
        needed: usize,
    },
    /// A setting is out of its range.
    #[error("`{key}` is {value}, but must be {needed}")]
    Setting {
        /// Name of the setting.
        key: &'static str,
        /// Value given.
        value: f64,
        /// What is allowed.
        needed: &'static str,
    },
    /// A control's limits exclude every value.
    #[error("control {control} is limited to [{low}, {high}]; give a low limit ≤ the high one")]
    Limits {
        /// Position in the control.
        control: usize,
        /// Low limit.
        low: f64,
        /// High limit.
        high: f64,
    },
    /// A guess has another number of nodes than the problem.
    #[error("the guess has {found} {what}, needs {needed}; resample it, or solve with its horizon")]
    GuessLength {
        /// `states` or `controls`.
        what: &'static str,
        /// Entries given.
        found: usize,
        /// Entries needed.
        needed: usize,
    },
    /// A vector that is given has the wrong size or an entry that is not finite.
    #[error(transparent)]
    Input(#[from] DynamicsError),
    /// An [`Mpc`](crate::Mpc) is asked for a control before its first tick.
    #[error("there is no plan yet; call `tick` first")]
    NoPlan,
    /// A solution's lists do not belong together.
    #[error("the solution's `{what}` does not fit its other entries; it was changed or cut off")]
    Damaged {
        /// The list.
        what: &'static str,
    },
    /// The model refuses a state and control of the trajectory.
    #[error("the dynamics failed at node {t}")]
    Model {
        /// Node.
        t: usize,
        /// What the model says.
        #[source]
        source: DynamicsError,
    },
    /// A [`Shooting`](crate::shooting::Shooting) is asked for derivatives without a roll-out.
    #[error(
        "there is no roll-out; call `rollout` or `rollout_policy` first, the last may have failed"
    )]
    NoRollout,
    /// A number of a roll-out or of its gradient is not finite.
    #[error("{what} at node {t} is not finite; bound the controls or shorten the steps")]
    NotFinite {
        /// What it is.
        what: &'static str,
        /// Node.
        t: usize,
    },
    /// A quadratic model has no minimum.
    #[error(
        "the Hessian of the cost by the controls is not positive definite (by the route `{route}`); \
         give every control a positive weight"
    )]
    Indefinite {
        /// [`Route::name`](crate::shooting::Route::name) of the way it was found.
        route: &'static str,
    },
}
