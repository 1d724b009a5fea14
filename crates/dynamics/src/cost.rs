//! Objectives to be minimised, with their derivatives.

use std::any::Any;

use nalgebra::{DMatrix, DVector};

use crate::DynamicsError;
use crate::angles::wrap_to_pi;
use crate::continuous::Scalar;
use crate::duals::real;

/// Whether a Hessian is the second derivative or an approximation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HessianKind {
    /// The exact second derivative.
    Exact,
    /// JᵀJ of the residuals, without their curvature.
    GaussNewton,
}

/// Value, gradient and Hessian of a cost at one point, in tangent coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct CostExpansion {
    /// ℓ.
    pub l: f64,
    /// ∂ℓ/∂x, ndx.
    pub lx: DVector<f64>,
    /// ∂ℓ/∂u, nu.
    pub lu: DVector<f64>,
    /// ∂²ℓ/∂x², ndx × ndx.
    pub lxx: DMatrix<f64>,
    /// ∂²ℓ/∂u∂x, nu × ndx.
    pub lux: DMatrix<f64>,
    /// ∂²ℓ/∂u², nu × nu.
    pub luu: DMatrix<f64>,
}

impl CostExpansion {
    /// Zeros of the given sizes.
    #[must_use]
    pub fn zeros(ndx: usize, nu: usize) -> Self {
        Self {
            l: 0.0,
            lx: DVector::zeros(ndx),
            lu: DVector::zeros(nu),
            lxx: DMatrix::zeros(ndx, ndx),
            lux: DMatrix::zeros(nu, ndx),
            luu: DMatrix::zeros(nu, nu),
        }
    }
}

/// The cost of being in x and applying u at step t.
pub trait Cost: Send + Sync {
    /// Scratch of one thread.
    type Workspace: Any + Send;

    /// Dimension of the state's tangent space.
    fn ndx(&self) -> usize;
    /// Entries of the control.
    fn nu(&self) -> usize;
    /// Fresh scratch for one thread.
    fn workspace(&self) -> Self::Workspace;
    /// ℓ(t, x, u).
    fn stage(&self, ws: &mut Self::Workspace, t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64;
    /// Value and all derivatives of ℓ(t, x, u).
    fn expand_stage(
        &self,
        ws: &mut Self::Workspace,
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    );
    /// Whether `lxx, lux, luu` are exact.
    fn hessian_kind(&self) -> HessianKind;
}

/// A cost written once for every [`Scalar`], so that dual numbers can check its derivatives.
pub trait GenericCost: Cost {
    /// ℓ(t, x, u) for a state and control of any scalar type.
    fn stage_generic<S: Scalar>(&self, t: usize, x: &[S], u: &[S]) -> S;
}

/// The cost of ending in x: the last term of a sum, or a learned value function.
pub trait TerminalCost: Send + Sync {
    /// Scratch of one thread.
    type Workspace: Any + Send;

    /// Dimension of the state's tangent space.
    fn ndx(&self) -> usize;
    /// Fresh scratch for one thread.
    fn workspace(&self) -> Self::Workspace;
    /// ℓ(x).
    fn terminal(&self, ws: &mut Self::Workspace, x: &DVector<f64>) -> f64;
    /// Writes `l`, `lx` and `lxx` of ℓ(x); leaves the control blocks alone.
    fn expand_terminal(&self, ws: &mut Self::Workspace, x: &DVector<f64>, out: &mut CostExpansion);
    /// Whether `lxx` is exact.
    fn hessian_kind(&self) -> HessianKind;
}

/// ℓ(x, u) = Σᵢ wᵢ eᵢ² + Σⱼ rⱼ uⱼ² with e = x − goal, angular differences wrapped to (−π, π].
///
/// The goal has an entry for each direction of the state. Entries of the state beyond it, such as the
/// flag of a mass-spring network that waits for its first step, cost nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct QuadraticCost {
    goal: Vec<f64>,
    state_weights: Vec<f64>,
    control_weights: Vec<f64>,
    is_angle: Vec<bool>,
    control_limit: f64,
}

impl QuadraticCost {
    /// A cost with the given goal and weights, all entries plain numbers.
    ///
    /// # Errors
    /// [`DynamicsError::Dimension`] if `goal` and `state_weights` differ in length.
    pub fn new(
        goal: Vec<f64>,
        state_weights: Vec<f64>,
        control_weights: Vec<f64>,
    ) -> Result<Self, DynamicsError> {
        if goal.len() != state_weights.len() {
            return Err(DynamicsError::Dimension {
                model: "quadratic cost".to_owned(),
                what: "state_weights",
                found: state_weights.len(),
                needed: goal.len(),
            });
        }
        let is_angle = vec![false; goal.len()];
        Ok(Self { goal, state_weights, control_weights, is_angle, control_limit: f64::INFINITY })
    }

    /// The same cost with the given entries of the state treated as angles (rad); an index beyond
    /// the state is ignored.
    #[must_use]
    pub fn with_angles(mut self, entries: &[usize]) -> Self {
        for &i in entries {
            if let Some(flag) = self.is_angle.get_mut(i) {
                *flag = true;
            }
        }
        self
    }

    /// The same cost with every control clipped to ±`limit` before it counts (slope 0 strictly
    /// outside), as a plant that clips it asks for.
    #[must_use]
    pub fn with_control_limit(mut self, limit: f64) -> Self {
        self.control_limit = limit;
        self
    }

    fn clip(&self, u: f64) -> (f64, f64) {
        match u.abs() > self.control_limit {
            true => (self.control_limit.copysign(u), 0.0),
            false => (u, 1.0),
        }
    }

    fn error(&self, i: usize, x: f64) -> f64 {
        let e = x - self.goal[i];
        if self.is_angle[i] { wrap_to_pi(e) } else { e }
    }
}

impl GenericCost for QuadraticCost {
    fn stage_generic<S: Scalar>(&self, _t: usize, x: &[S], u: &[S]) -> S {
        let mut sum = S::zero();
        for (i, &x) in x.iter().enumerate().take(self.goal.len()) {
            // Wrapping shifts by a constant: slope 1.
            let e = x - (real(x) - self.error(i, real(x)));
            sum += e * e * self.state_weights[i];
        }
        for (&u, &weight) in u.iter().zip(&self.control_weights) {
            let u = match self.clip(real(u)) {
                (limit, 0.0) => S::from(limit),
                _ => u,
            };
            sum += u * u * weight;
        }
        sum
    }
}

impl Cost for QuadraticCost {
    type Workspace = ();

    fn ndx(&self) -> usize {
        self.goal.len()
    }
    fn nu(&self) -> usize {
        self.control_weights.len()
    }
    fn workspace(&self) {}
    fn stage(&self, (): &mut (), t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        self.stage_generic(t, x.as_slice(), u.as_slice())
    }
    fn expand_stage(
        &self,
        ws: &mut (),
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        out.l = self.stage(ws, t, x, u);
        out.lxx.fill(0.0);
        out.lux.fill(0.0);
        out.luu.fill(0.0);
        for (i, &w) in self.state_weights.iter().enumerate() {
            out.lx[i] = 2.0 * w * self.error(i, x[i]);
            out.lxx[(i, i)] = 2.0 * w;
        }
        for (j, &r) in self.control_weights.iter().enumerate() {
            let (clipped, slope) = self.clip(u[j]);
            out.lu[j] = 2.0 * r * slope * clipped;
            out.luu[(j, j)] = 2.0 * r * slope;
        }
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::Exact
    }
}

impl TerminalCost for QuadraticCost {
    type Workspace = ();

    fn ndx(&self) -> usize {
        self.goal.len()
    }
    fn workspace(&self) {}
    fn terminal(&self, (): &mut (), x: &DVector<f64>) -> f64 {
        self.stage_generic(0, x.as_slice(), &[])
    }
    fn expand_terminal(&self, (): &mut (), x: &DVector<f64>, out: &mut CostExpansion) {
        out.l = 0.0;
        out.lxx.fill(0.0);
        for (i, &w) in self.state_weights.iter().enumerate() {
            let e = self.error(i, x[i]);
            out.l += e * e * w;
            out.lx[i] = 2.0 * w * e;
            out.lxx[(i, i)] = 2.0 * w;
        }
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::Exact
    }
}

/// No terminal cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroTerminalCost {
    /// Dimension of the state's tangent space.
    pub ndx: usize,
}

impl TerminalCost for ZeroTerminalCost {
    type Workspace = ();

    fn ndx(&self) -> usize {
        self.ndx
    }
    fn workspace(&self) {}
    fn terminal(&self, (): &mut (), _x: &DVector<f64>) -> f64 {
        0.0
    }
    fn expand_terminal(&self, (): &mut (), _x: &DVector<f64>, out: &mut CostExpansion) {
        out.l = 0.0;
        out.lx.fill(0.0);
        out.lxx.fill(0.0);
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::Exact
    }
}
