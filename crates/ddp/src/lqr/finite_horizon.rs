//! The Riccati recursion over a finite horizon.

use nalgebra::{DMatrix, DVector};

use super::error::{Check, LqrError, check_discount, symmetric_part};

/// One step of a linear-quadratic problem: the next state is fx x + fu u + f, the cost
/// l + lxᵀx + luᵀu + ½ xᵀlxx x + uᵀlux x + ½ uᵀluu u. The number of controls may differ between
/// stages.
#[derive(Debug, Clone, PartialEq)]
pub struct LqStage {
    /// Next state by state, nx × nx.
    pub fx: DMatrix<f64>,
    /// Next state by control, nx × nu.
    pub fu: DMatrix<f64>,
    /// Next state at x = 0, u = 0; nx.
    pub f: DVector<f64>,
    /// Cost at x = 0, u = 0.
    pub l: f64,
    /// Gradient of the cost there by state, nx.
    pub lx: DVector<f64>,
    /// Gradient of the cost there by control, nu.
    pub lu: DVector<f64>,
    /// Hessian of the cost by state, nx × nx.
    pub lxx: DMatrix<f64>,
    /// Mixed Hessian, nu × nx.
    pub lux: DMatrix<f64>,
    /// Hessian of the cost by control, nu × nu.
    pub luu: DMatrix<f64>,
}

/// The cost l + lxᵀx + ½ xᵀlxx x of the last state.
#[derive(Debug, Clone, PartialEq)]
pub struct LqTerminal {
    /// Cost at x = 0.
    pub l: f64,
    /// Gradient of the cost there, nx.
    pub lx: DVector<f64>,
    /// Hessian of the cost, nx × nx.
    pub lxx: DMatrix<f64>,
}

/// Value function and optimal control of a finite-horizon problem, in absolute coordinates:
/// Vₜ(x) = v + vxᵀx + ½ xᵀvxx x and u = k + K x.
#[derive(Debug, Clone, PartialEq)]
pub struct FiniteHorizon {
    /// Vₜ(0), n_steps + 1 numbers.
    pub v: Vec<f64>,
    /// Gradients of Vₜ at x = 0, n_steps + 1 vectors of nx.
    pub vx: Vec<DVector<f64>>,
    /// Hessians of Vₜ, n_steps + 1 symmetric matrices of nx × nx.
    pub vxx: Vec<DMatrix<f64>>,
    /// Feed-forward terms k, n_steps vectors of nu.
    pub k: Vec<DVector<f64>>,
    /// Gains K, n_steps matrices of nu × nx.
    pub gains: Vec<DMatrix<f64>>,
}

impl FiniteHorizon {
    /// The optimal cost from state `x` (nx) at step `t` on, discounted to step `t`.
    ///
    /// # Panics
    /// If `t` is beyond the horizon or `x` has another length.
    #[must_use]
    pub fn value(&self, t: usize, x: &DVector<f64>) -> f64 {
        self.v[t] + self.vx[t].dot(x) + 0.5 * x.dot(&(&self.vxx[t] * x))
    }

    /// The optimal control (nu) in state `x` (nx) at step `t`.
    ///
    /// # Panics
    /// If there is no step `t` or `x` has another length.
    #[must_use]
    pub fn control(&self, t: usize, x: &DVector<f64>) -> DVector<f64> {
        &self.k[t] + &self.gains[t] * x
    }
}

/// Minimises Σₜ γᵗ stageₜ(x, u) + γᵀ terminal(x), with T the number of `stages` and γ the
/// `discount`.
///
/// Vₜ is a current value: it is discounted to step t, so that v\[0\] is the objective at x₀ = 0 and
/// the recursion reads Vₜ(x) = min over u of stageₜ(x, u) + γ Vₜ₊₁(fx x + fu u + f). Hessians by
/// state may be indefinite as long as every quu is positive definite.
///
/// Bellman, *Dynamic Programming* (1957); Anderson and Moore, *Optimal Control: Linear Quadratic
/// Methods* (1990).
///
/// # Errors
/// [`LqrError::Dimension`], [`LqrError::NotFinite`] and [`LqrError::NotSymmetric`] for the data,
/// [`LqrError::NotPositiveDefinite`] with the stage at which quu is not, and
/// [`LqrError::Discount`].
pub fn finite_horizon(
    stages: &[LqStage],
    terminal: &LqTerminal,
    discount: f64,
) -> Result<FiniteHorizon, LqrError> {
    check_discount(discount)?;
    let nx = terminal.lx.len();
    check_terminal(terminal, nx)?;
    let (mut v, mut vx, mut vxx) = (terminal.l, terminal.lx.clone(), terminal.lxx.clone());
    // Filled from the last node to the first, and turned round at the end.
    let mut solution = FiniteHorizon {
        v: vec![v],
        vx: vec![vx.clone()],
        vxx: vec![vxx.clone()],
        k: Vec::with_capacity(stages.len()),
        gains: Vec::with_capacity(stages.len()),
    };
    for (t, stage) in stages.iter().enumerate().rev() {
        let check = Check { stage: Some(t) };
        check_stage(stage, nx, check)?;
        let LqStage { fx, fu, f, l, lx, lu, lxx, lux, luu } = stage;
        // The next value and its gradient at the state that follows x = 0, u = 0.
        let v_next = v + vx.dot(f) + 0.5 * f.dot(&(&vxx * f));
        let vx_next = &vx + &vxx * f;
        let (fx_t, fu_t) = (fx.transpose() * discount, fu.transpose() * discount);
        let qx = lx + &fx_t * &vx_next;
        let qu = lu + &fu_t * &vx_next;
        let qxx = lxx + &fx_t * &vxx * fx;
        let qux = lux + &fu_t * &vxx * fx;
        let quu = symmetric_part(&(luu + &fu_t * &vxx * fu));
        check.finite("quu", quu.as_slice())?;
        let factor = check.cholesky("quu", &quu)?;
        let (k, gains) = (-factor.solve(&qu), -factor.solve(&qux));
        v = l + discount * v_next + 0.5 * qu.dot(&k);
        vx = qx + qux.transpose() * &k;
        vxx = symmetric_part(&(qxx + qux.transpose() * &gains));
        check.finite("v", &[v])?;
        check.finite("vx", vx.as_slice())?;
        check.finite("vxx", vxx.as_slice())?;
        solution.v.push(v);
        solution.vx.push(vx.clone());
        solution.vxx.push(vxx.clone());
        solution.k.push(k);
        solution.gains.push(gains);
    }
    solution.v.reverse();
    solution.vx.reverse();
    solution.vxx.reverse();
    solution.k.reverse();
    solution.gains.reverse();
    Ok(solution)
}

fn check_terminal(terminal: &LqTerminal, nx: usize) -> Result<(), LqrError> {
    let check = Check { stage: None };
    check.finite("terminal.l", &[terminal.l])?;
    check.vector("terminal.lx", &terminal.lx, nx)?;
    check.hessian("terminal.lxx", &terminal.lxx, nx)
}

fn check_stage(stage: &LqStage, nx: usize, check: Check) -> Result<(), LqrError> {
    let nu = stage.lu.len();
    check.matrix("fx", &stage.fx, (nx, nx))?;
    check.matrix("fu", &stage.fu, (nx, nu))?;
    check.vector("f", &stage.f, nx)?;
    check.finite("l", &[stage.l])?;
    check.vector("lx", &stage.lx, nx)?;
    check.vector("lu", &stage.lu, nu)?;
    check.hessian("lxx", &stage.lxx, nx)?;
    check.matrix("lux", &stage.lux, (nu, nx))?;
    check.hessian("luu", &stage.luu, nu)
}
