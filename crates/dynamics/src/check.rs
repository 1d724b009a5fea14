//! Checks of derivatives against independent sources, entry by entry.

use nalgebra::{DMatrix, DVector};
use num_dual::HyperDual64;

use crate::cost::GenericCost;
use crate::duals::DualOracle;
use crate::finite_difference::{Sides, neighbours};
use crate::{AnyDynamics, Cost, CostExpansion, DynamicsError, Linearization, States};

/// Largest disagreement of one block of derivatives with its reference.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockCheck {
    /// Name of the block: `fx`, `fu`, `lx`, …
    pub block: &'static str,
    /// Row of the worst entry.
    pub row: usize,
    /// Column of the worst entry.
    pub column: usize,
    /// The derivative under test there.
    pub found: f64,
    /// The reference there.
    pub expected: f64,
    /// |found − expected| / max(1, largest entry of the reference block).
    pub error: f64,
}

impl BlockCheck {
    /// Compares a block with its reference; both have the same shape. An entry that is not finite
    /// counts as an infinite error.
    #[must_use]
    pub fn compare(block: &'static str, found: &DMatrix<f64>, expected: &DMatrix<f64>) -> Self {
        let scale = expected.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        let mut worst =
            Self { block, row: 0, column: 0, found: 0.0, expected: 0.0, error: f64::NEG_INFINITY };
        for column in 0..found.ncols() {
            for row in 0..found.nrows() {
                let (f, e) = (found[(row, column)], expected[(row, column)]);
                let difference = (f - e).abs() / scale;
                let error = if difference.is_finite() { difference } else { f64::INFINITY };
                if error > worst.error {
                    worst = Self { block, row, column, found: f, expected: e, error };
                }
            }
        }
        worst.error = worst.error.max(0.0);
        worst
    }
}

/// Jacobians of a step by Richardson-extrapolated central differences, (4 D(h/2) − D(h))/3, in the
/// tangent space of the states: about eleven digits where the step is smooth within 10⁻³ of the point.
///
/// # Errors
/// What the model reports.
pub fn central_differences(
    model: &dyn AnyDynamics,
    x: &DVector<f64>,
    u: &DVector<f64>,
) -> Result<Linearization, DynamicsError> {
    let (ndx, nu, states) = (model.any_ndx(), model.any_nu(), model.any_states());
    let mut scratch = model.any_workspace();
    let (mut plus, mut minus) = (x.clone(), x.clone());
    let (mut by_x, mut by_u) = (Sides::new(x, ndx), Sides::new(u, nu));
    let mut slope = |column: usize, h: f64| {
        let (width, ends) = if column < ndx {
            let width = by_x.place(states, x, column, h);
            (width, [(&by_x.above, u), (&by_x.below, u)])
        } else {
            let width = by_u.place(States::Vector, u, column - ndx, h);
            (width, [(x, &by_u.above), (x, &by_u.below)])
        };
        model.any_step(&mut scratch, ends[0].0, ends[0].1, &[], &mut plus)?;
        model.any_step(&mut scratch, ends[1].0, ends[1].1, &[], &mut minus)?;
        let mut change = DVector::zeros(ndx);
        states.difference(&minus, &plus, &mut change);
        Ok(change / width)
    };
    let mut out = Linearization::zeros(ndx, nu);
    for column in 0..ndx + nu {
        let coarse = slope(column, RICHARDSON_STEP)?;
        let fine = slope(column, 0.5 * RICHARDSON_STEP)?;
        let best = (fine * 4.0 - coarse) / 3.0;
        if column < ndx {
            out.fx.set_column(column, &best);
        } else {
            out.fu.set_column(column - ndx, &best);
        }
    }
    Ok(out)
}

/// Relative step of [`central_differences`], farther than which a kink must lie.
pub const RICHARDSON_STEP: f64 = 4e-4;

fn analytic(
    model: &dyn AnyDynamics,
    x: &DVector<f64>,
    u: &DVector<f64>,
) -> Result<Linearization, DynamicsError> {
    // Pre-filled with NaN, so that an entry that the model forgets to write is seen.
    let ndx = model.any_ndx();
    let mut out = Linearization {
        fx: DMatrix::repeat(ndx, ndx, f64::NAN),
        fu: DMatrix::repeat(ndx, u.len(), f64::NAN),
    };
    model.any_linearize(&mut model.any_workspace(), x, u, &mut out)?;
    Ok(out)
}

fn compare(found: &Linearization, expected: &Linearization) -> [BlockCheck; 2] {
    [
        BlockCheck::compare("fx", &found.fx, &expected.fx),
        BlockCheck::compare("fu", &found.fu, &expected.fu),
    ]
}

/// Jacobians of one step against central differences.
///
/// # Errors
/// What the model reports.
pub fn check_against_differences(
    model: &dyn AnyDynamics,
    x: &DVector<f64>,
    u: &DVector<f64>,
) -> Result<[BlockCheck; 2], DynamicsError> {
    Ok(compare(&analytic(model, x, u)?, &central_differences(model, x, u)?))
}

/// Jacobians of one step against dual numbers.
///
/// # Errors
/// What the model reports.
pub fn check_against_duals(
    model: &dyn AnyDynamics,
    oracle: &dyn DualOracle,
    x: &DVector<f64>,
    u: &DVector<f64>,
) -> Result<[BlockCheck; 2], DynamicsError> {
    Ok(compare(&analytic(model, x, u)?, &oracle.dual_linearize(x, u)))
}

/// Jacobians of the end of a roll-out with respect to its start (`fx`) and to the stacked controls
/// (`fu`), as products of the one-step Jacobians, against dual numbers carried through the whole
/// roll-out.
///
/// # Errors
/// What the model reports.
pub fn check_rollout_against_duals(
    model: &dyn AnyDynamics,
    oracle: &dyn DualOracle,
    x0: &DVector<f64>,
    us: &[DVector<f64>],
) -> Result<[BlockCheck; 2], DynamicsError> {
    let nu = model.any_nu();
    let mut scratch = model.any_workspace();
    let mut found = Linearization::zeros(x0.len(), nu * us.len());
    found.fx.fill_with_identity();
    let (mut x, mut x_next) = (x0.clone(), x0.clone());
    for (t, u) in us.iter().enumerate() {
        let step = analytic(model, &x, u)?;
        found.fx = &step.fx * &found.fx;
        found.fu = &step.fx * &found.fu;
        found.fu.columns_mut(t * nu, nu).copy_from(&step.fu);
        model.any_step(&mut scratch, &x, u, &[], &mut x_next)?;
        std::mem::swap(&mut x, &mut x_next);
    }
    Ok(compare(&found, &oracle.dual_rollout(x0, us)))
}

/// Gradient and Hessian of a stage cost against central differences of its value and gradient.
pub fn check_cost<C: Cost>(
    cost: &C,
    t: usize,
    x: &DVector<f64>,
    u: &DVector<f64>,
) -> [BlockCheck; 5] {
    let mut ws = cost.workspace();
    let (ndx, nu) = (x.len(), u.len());
    let mut found = CostExpansion::zeros(ndx, nu);
    cost.expand_stage(&mut ws, t, x, u, &mut found);
    let mut gradient = DMatrix::zeros(ndx + nu, 1);
    let mut hessian = DMatrix::zeros(ndx + nu, ndx + nu);
    let (mut above, mut below) = (found.clone(), found.clone());
    for i in 0..ndx + nu {
        let (mut x_moved, mut u_moved) = (x.clone(), u.clone());
        let z = if i < ndx { x[i] } else { u[i - ndx] };
        let ends = neighbours(z, f64::EPSILON.cbrt());
        for (value, out) in [(ends.0, &mut above), (ends.1, &mut below)] {
            if i < ndx {
                x_moved[i] = value;
            } else {
                u_moved[i - ndx] = value;
            }
            cost.expand_stage(&mut ws, t, &x_moved, &u_moved, out);
        }
        let width = ends.0 - ends.1;
        gradient[(i, 0)] = (above.l - below.l) / width;
        for j in 0..ndx {
            hessian[(j, i)] = (above.lx[j] - below.lx[j]) / width;
        }
        for j in 0..nu {
            hessian[(ndx + j, i)] = (above.lu[j] - below.lu[j]) / width;
        }
    }
    compare_cost(&found, &gradient, &hessian)
}

/// Gradient and Hessian of a stage cost against hyper-dual numbers, which carry exact second
/// derivatives.
pub fn check_cost_against_duals<C: GenericCost>(
    cost: &C,
    t: usize,
    x: &DVector<f64>,
    u: &DVector<f64>,
) -> [BlockCheck; 5] {
    let (ndx, nu) = (x.len(), u.len());
    let mut found = CostExpansion::zeros(ndx, nu);
    cost.expand_stage(&mut cost.workspace(), t, x, u, &mut found);
    let mut gradient = DMatrix::zeros(ndx + nu, 1);
    let mut hessian = DMatrix::zeros(ndx + nu, ndx + nu);
    for i in 0..ndx + nu {
        for j in 0..ndx + nu {
            // ε₁ along entry i, ε₂ along entry j.
            let seeded = |(k, &value): (usize, &f64)| {
                let seed = |at| f64::from(u8::from(k == at));
                HyperDual64::new(value, seed(i), seed(j), 0.0)
            };
            let z: Vec<_> = x.iter().chain(u.iter()).enumerate().map(seeded).collect();
            let l = cost.stage_generic(t, &z[..ndx], &z[ndx..]);
            gradient[(i, 0)] = l.eps1;
            hessian[(i, j)] = l.eps1eps2;
        }
    }
    compare_cost(&found, &gradient, &hessian)
}

/// Blocks of an expansion against the derivatives in the stacked [x, u].
fn compare_cost(
    found: &CostExpansion,
    gradient: &DMatrix<f64>,
    hessian: &DMatrix<f64>,
) -> [BlockCheck; 5] {
    let (ndx, nu) = (found.lx.len(), found.lu.len());
    let column = |v: &DVector<f64>| DMatrix::from_column_slice(v.len(), 1, v.as_slice());
    let part =
        |m: &DMatrix<f64>, row, col, rows, cols| m.view((row, col), (rows, cols)).into_owned();
    [
        BlockCheck::compare("lx", &column(&found.lx), &part(gradient, 0, 0, ndx, 1)),
        BlockCheck::compare("lu", &column(&found.lu), &part(gradient, ndx, 0, nu, 1)),
        BlockCheck::compare("lxx", &found.lxx, &part(hessian, 0, 0, ndx, ndx)),
        BlockCheck::compare("lux", &found.lux, &part(hessian, ndx, 0, nu, ndx)),
        BlockCheck::compare("luu", &found.luu, &part(hessian, ndx, ndx, nu, nu)),
    ]
}
