//! States and controls along the horizon, and what the models say of them.

use dynamics::{Cost, CostExpansion, Dynamics, DynamicsError, Linearization, TerminalCost};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use crate::{DdpError, Problem};

/// Where the iteration stands, or a step that is tried.
pub(crate) struct Trajectory {
    /// T + 1 states.
    pub(crate) xs: Vec<DVector<f64>>,
    /// T controls.
    pub(crate) us: Vec<DVector<f64>>,
    /// Costs of the nodes, not discounted.
    pub(crate) costs: Vec<f64>,
    /// x₀ ⊖ xs₀ and f(xsₜ, usₜ) ⊖ xsₜ₊₁.
    pub(crate) gaps: Vec<DVector<f64>>,
    pub(crate) cost: f64,
    /// Σ γᵗ |ℓ|: the scale of the cost's rounding error.
    pub(crate) scale: f64,
}

impl Trajectory {
    pub(crate) fn new(nx: usize, ndx: usize, nu: usize, horizon: usize) -> Self {
        Self {
            xs: vec![DVector::zeros(nx); horizon + 1],
            us: vec![DVector::zeros(nu); horizon],
            costs: vec![0.0; horizon + 1],
            gaps: vec![DVector::zeros(ndx); horizon + 1],
            cost: 0.0,
            scale: 0.0,
        }
    }

    /// Adds up the costs of the nodes, in order.
    pub(crate) fn sum_costs(&mut self, discount: f64) {
        let (mut weight, mut cost, mut scale) = (1.0, 0.0, 0.0);
        for l in &self.costs {
            cost += weight * l;
            scale += weight * l.abs();
            weight *= discount;
        }
        (self.cost, self.scale) = (cost, scale);
    }

    /// Largest entry of a gap.
    pub(crate) fn largest_gap(&self) -> f64 {
        self.gaps.iter().flat_map(|gap| gap.iter()).fold(0.0, |m, g| g.abs().max(m))
    }
}

/// Derivatives of one step, and the gains that follow from them.
pub(crate) struct Node {
    pub(crate) jacobian: Linearization,
    pub(crate) cost: CostExpansion,
    pub(crate) k: DVector<f64>,
    pub(crate) gains: DMatrix<f64>,
}

impl Node {
    pub(crate) fn new(ndx: usize, nu: usize) -> Self {
        Self {
            jacobian: Linearization::zeros(ndx, nu),
            cost: CostExpansion::zeros(ndx, nu),
            k: DVector::zeros(nu),
            gains: DMatrix::zeros(nu, ndx),
        }
    }

    /// Whether some derivative is not finite.
    pub(crate) fn has_bad_number(&self) -> bool {
        let Self { jacobian: Linearization { fx, fu }, cost, .. } = self;
        let blocks = [fx.as_slice(), fu.as_slice()];
        blocks.iter().any(|block| !all_finite(block)) || has_bad_number(cost)
    }
}

pub(crate) fn has_bad_number(cost: &CostExpansion) -> bool {
    let CostExpansion { l, lx, lu, lxx, lux, luu } = cost;
    let blocks = [lx.as_slice(), lu.as_slice(), lxx.as_slice(), lux.as_slice(), luu.as_slice()];
    !l.is_finite() || blocks.iter().any(|block| !all_finite(block))
}

pub(crate) fn all_finite(values: &[f64]) -> bool {
    values.iter().all(|v| v.is_finite())
}

/// Scratch of one thread.
pub(crate) struct Scratch<D: Dynamics, C: Cost> {
    pub(crate) dynamics: D::Workspace,
    pub(crate) cost: C::Workspace,
    /// The first node of this thread's share that failed.
    failure: Option<(usize, DynamicsError)>,
}

impl<D: Dynamics, C: Cost> Scratch<D, C> {
    pub(crate) fn of<E>(problem: &Problem<'_, D, C, E>) -> Self {
        let (dynamics, cost) = (problem.dynamics.workspace(), problem.cost.workspace());
        Self { dynamics, cost, failure: None }
    }
}

/// Derivatives at all nodes of a trajectory (Crocoddyl's `calcDiff`), each node by itself, so that the
/// result does not depend on the number of threads, which is that of `scratch`.
pub(crate) fn linearize<D: Dynamics, C: Cost, E: TerminalCost>(
    problem: &Problem<'_, D, C, E>,
    t0: usize,
    trajectory: &Trajectory,
    nodes: &mut [Node],
    scratch: &mut [Scratch<D, C>],
) -> Result<(), DdpError> {
    let at_node = |scratch: &mut Scratch<D, C>, t: usize, node: &mut Node| {
        let (x, u) = (&trajectory.xs[t], &trajectory.us[t]);
        problem.dynamics.linearize(&mut scratch.dynamics, x, u, &mut node.jacobian)?;
        problem.cost.expand_stage(&mut scratch.cost, t0 + t, x, u, &mut node.cost);
        Ok(())
    };
    let share = nodes.len().div_ceil(scratch.len());
    let work = |(thread, (scratch, nodes)): (usize, (&mut Scratch<D, C>, &mut [Node]))| {
        scratch.failure = None;
        for (i, node) in nodes.iter_mut().enumerate() {
            let t = thread * share + i;
            if let Err(source) = at_node(scratch, t, node) {
                scratch.failure = Some((t, source));
                return;
            }
        }
    };
    if let [only] = scratch {
        work((0, (only, nodes)));
    } else {
        scratch.par_iter_mut().zip(nodes.par_chunks_mut(share)).enumerate().for_each(work);
    }
    match scratch.iter_mut().find_map(|scratch| scratch.failure.take()) {
        Some((t, source)) => Err(DdpError::Model { t, source }),
        None => Ok(()),
    }
}
