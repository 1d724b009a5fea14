//! Single shooting: the cost of a roll-out as a function of its controls alone, J(u₀ … u_{T−1}), with
//! gradient, Hessian products and the steps of first and second order that lower it. This is the
//! optimal control inside PODS (Zamora Mora et al. 2021), for any [`Problem`].
//!
//! ```
//! use ddp::Problem;
//! use ddp::shooting::{Route, Shooting, Step};
//! use dynamics::models::Unicycle;
//! use dynamics::{Euler, QuadraticCost};
//! use nalgebra::dvector;
//!
//! let model = Euler::new(Unicycle, 0.1)?;
//! let cost = QuadraticCost::new(vec![0.0; 3], vec![0.5; 3], vec![0.5; 2])?;
//! let mut shooting = Shooting::new(Problem::new(&model, &cost, &cost, 20))?;
//! // Any policy: here one without feedback.
//! shooting.rollout_policy(&dvector![-1.0, -1.0, 1.0], |_t, _x, u| u.fill(0.1))?;
//! let better = shooting.improve(Step::SecondOrder { route: Route::Auto, step_length: 1.0 })?;
//! assert!(better.cost_after < better.cost_before);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Conventions
//! - J is minimised, and J = Σ γᵗ ℓ(t, xₜ, uₜ) + γᵀ ℓ_T(x_T): T controls, T + 1 states.
//! - Stacked controls have T·nu entries (`t·nu + j`); stacked state deviations T·ndx, those of x₁ … x_T.
//! - S = ∂x/∂u in tangent coordinates. With C the Hessian of the costs by x and u, as [`Cost`] gives it,
//!   the Gauss–Newton Hessian is [S; 1]ᵀ C [S; 1]; the exact one adds Σₜ Wₜᵀ (λₜ₊₁·f″) Wₜ with
//!   Wₜ = ∂(xₜ, uₜ)/∂u and the costates λₜ = dJ/dxₜ.
//! - The step of second order is δ = argmin gᵀδ + ½ δᵀHδ with the Gauss–Newton H. The sheet of the
//!   paper prints it for the return −J with the sign that goes downhill; u + αδ goes the right way.
//! - With [`Problem::control_limits`] δ minimises within low ≤ u + δ ≤ high. A minimiser without limits
//!   that is clipped afterwards is no descent direction and stalls the line search.

mod conjugate_gradient;
mod dense;
mod improve;
mod model;
mod newton;
mod riccati;
mod rollout;
mod route;
mod second_order;

use dynamics::{Cost, Dynamics, TerminalCost};
use nalgebra::{DMatrix, DVector};

use crate::{DdpError, Problem};
use improve::Trial;
use model::QuadraticModel;
use newton::Newton;

pub use improve::{Improvement, Step};
pub use route::Route;
pub use second_order::{RouteReport, SecondOrderStep};

/// A roll-out of a [`Problem`], its derivatives, and scratch: made once per thread, used for many
/// roll-outs. After the first use of a [`Route`] nothing allocates but what returns a matrix and the
/// curvature that exact Hessians need.
pub struct Shooting<'a, D: Dynamics, C: Cost, E: TerminalCost> {
    problem: Problem<'a, D, C, E>,
    dynamics_ws: D::Workspace,
    cost_ws: C::Workspace,
    terminal_ws: E::Workspace,
    xs: Vec<DVector<f64>>,
    us: Vec<DVector<f64>>,
    cost: f64,
    /// Whether the fields hold a roll-out and its derivatives.
    ready: bool,
    model: QuadraticModel,
    newton: Newton,
    trial: Trial,
}

impl<'a, D: Dynamics, C: Cost, E: TerminalCost> Shooting<'a, D, C, E> {
    /// Room for roll-outs of `problem`.
    ///
    /// # Errors
    /// [`DdpError`] for parts of the problem that do not fit together.
    pub fn new(problem: Problem<'a, D, C, E>) -> Result<Self, DdpError> {
        problem.check()?;
        if problem.dynamics.nu() == 0 {
            return Err(DdpError::Setting { key: "nu", value: 0.0, needed: "at least 1" });
        }
        let (nx, ndx, nu) = (problem.dynamics.nx(), problem.dynamics.ndx(), problem.dynamics.nu());
        let horizon = problem.horizon;
        let xs = || vec![DVector::zeros(nx); horizon + 1];
        let us = || vec![DVector::zeros(nu); horizon];
        let derivatives = (0..horizon).map(|_| problem.dynamics.new_derivative()).collect();
        Ok(Self {
            dynamics_ws: problem.dynamics.workspace(),
            cost_ws: problem.cost.workspace(),
            terminal_ws: problem.terminal.workspace(),
            xs: xs(),
            us: us(),
            cost: f64::NAN,
            ready: false,
            model: QuadraticModel::new(ndx, nu, derivatives),
            newton: Newton::new(nu * horizon),
            trial: Trial { xs: xs(), us: us() },
            problem,
        })
    }

    /// What is rolled out.
    pub fn problem(&self) -> &Problem<'a, D, C, E> {
        &self.problem
    }
    /// States of the roll-out, T + 1.
    pub fn xs(&self) -> &[DVector<f64>] {
        &self.xs
    }
    /// Controls of the roll-out, T.
    pub fn us(&self) -> &[DVector<f64>] {
        &self.us
    }
    /// J of the roll-out; not a number before the first one and after one that failed.
    pub fn cost(&self) -> f64 {
        self.cost
    }
    /// Scratch of the dynamics, where a model keeps statistics of its steps.
    pub fn dynamics_workspace(&mut self) -> &mut D::Workspace {
        &mut self.dynamics_ws
    }

    /// dJ/du with the controls as the only unknowns, T·nu, by the adjoint sweep
    /// λₜ = ℓ_x + fxᵀ λₜ₊₁, dJ/duₜ = ℓ_u + fuᵀ λₜ₊₁.
    ///
    /// # Errors
    /// [`DdpError::NoRollout`], or [`DdpError::NotFinite`] for derivatives that are not.
    pub fn gradient(&mut self) -> Result<&[f64], DdpError> {
        self.check_ready()?;
        self.model.differentiate()?;
        Ok(&self.model.gradient)
    }

    /// νₜ = dJ/duₜ, T·nu, where the controls come from a policy π that sees the state. From the last
    /// step on `policy` gets t, xₜ, νₜ (nu) and λₜ (ndx) and adds (∂π/∂x)ᵀ νₜ to the latter; the gradient
    /// by the policy's parameters is then Σₜ (∂π/∂θ)ᵀ νₜ: back-propagation through time without a tape.
    ///
    /// # Errors
    /// As [`Shooting::gradient`].
    pub fn gradient_with_policy(
        &mut self,
        mut policy: impl FnMut(usize, &DVector<f64>, &[f64], &mut [f64]),
    ) -> Result<&[f64], DdpError> {
        self.check_ready()?;
        let xs = &self.xs;
        self.model.sweep_back(|t, nu, lambda| policy(t, &xs[t], nu, lambda))?;
        Ok(&self.model.gradient)
    }

    /// λ₀ … λ_T of the gradient taken last, (T + 1)·ndx, in units of J; zeros before the first.
    pub fn costates(&self) -> &[f64] {
        &self.model.costates
    }

    /// S as a matrix, T·ndx × T·nu: block lower triangular. For tests, figures and small problems;
    /// [`Shooting::tangent`] multiplies with it.
    ///
    /// # Errors
    /// [`DdpError::NoRollout`].
    pub fn direct(&mut self) -> Result<DMatrix<f64>, DdpError> {
        self.check_ready()?;
        Ok(self.model.direct())
    }

    /// Writes S z, the deviations of x₁ … x_T (T·ndx) that deviations `z` of the controls (T·nu) bring.
    ///
    /// # Errors
    /// [`DdpError::NoRollout`], or [`DdpError::Mismatch`] for slices of the wrong length.
    pub fn tangent(&mut self, z: &[f64], out: &mut [f64]) -> Result<(), DdpError> {
        self.check_ready()?;
        let model = &mut self.model;
        let (controls, states) = (model.unknowns(), model.ndx * model.horizon);
        self.check_length("z", z.len(), controls)?;
        self.check_length("the product's room", out.len(), states)?;
        out.copy_from_slice(self.model.tangent(z));
        Ok(())
    }

    /// Writes H z (T·nu) with the Gauss–Newton Hessian: one tangent and one adjoint sweep.
    ///
    /// # Errors
    /// As [`Shooting::tangent`].
    pub fn gauss_newton_product(&mut self, z: &[f64], out: &mut [f64]) -> Result<(), DdpError> {
        self.check_ready()?;
        self.check_product(z, out)?;
        self.model.product(z, out);
        Ok(())
    }

    /// Writes H z (T·nu) with the exact Hessian. The first product after a roll-out takes the second
    /// derivatives of all steps.
    ///
    /// # Errors
    /// As [`Shooting::exact_hessian`] and [`Shooting::tangent`].
    pub fn exact_product(&mut self, z: &[f64], out: &mut [f64]) -> Result<(), DdpError> {
        self.check_ready()?;
        self.check_product(z, out)?;
        self.take_curvature()?;
        self.model.exact_product(z, out);
        Ok(())
    }

    /// The Gauss–Newton Hessian, T·nu × T·nu.
    ///
    /// # Errors
    /// [`DdpError::NoRollout`].
    pub fn gauss_newton_hessian(&mut self) -> Result<DMatrix<f64>, DdpError> {
        self.check_ready()?;
        let n = self.model.unknowns();
        let mut h = DMatrix::zeros(n, n);
        self.model.assemble(h.as_mut_slice());
        Ok(h)
    }

    /// The Hessian of J, T·nu × T·nu, as exact as the Hessians of the costs and
    /// [`Dynamics::hessian_product`] are. It need not be positive definite.
    ///
    /// # Errors
    /// As [`Shooting::gradient`], and [`DdpError::Model`].
    pub fn exact_hessian(&mut self) -> Result<DMatrix<f64>, DdpError> {
        self.check_ready()?;
        self.take_curvature()?;
        let n = self.model.unknowns();
        let mut h = DMatrix::zeros(n, n);
        self.model.assemble_exact(h.as_mut_slice());
        Ok(h)
    }

    /// Adds the curvature of the dynamics along the costates to the Hessians of the costs.
    fn take_curvature(&mut self) -> Result<(), DdpError> {
        self.model.differentiate()?;
        let Self { problem, dynamics_ws, xs, us, .. } = self;
        self.model.take_curvature(problem.dynamics, dynamics_ws, xs, us)
    }

    fn check_ready(&self) -> Result<(), DdpError> {
        if self.ready { Ok(()) } else { Err(DdpError::NoRollout) }
    }

    fn check_product(&self, z: &[f64], out: &[f64]) -> Result<(), DdpError> {
        let needed = self.model.unknowns();
        self.check_length("z", z.len(), needed)?;
        self.check_length("the product's room", out.len(), needed)
    }

    fn check_length(
        &self,
        what: &'static str,
        found: usize,
        needed: usize,
    ) -> Result<(), DdpError> {
        if found == needed {
            return Ok(());
        }
        let model = self.problem.dynamics.name().to_owned();
        Err(DdpError::Mismatch { model, what, found, needed })
    }
}
