//! The linear model of the states and the quadratic model of the costs around a roll-out, and the
//! sweeps over them.

use dynamics::{CostExpansion, DerivativeScratch, Dynamics, HessianProduct, StepDerivative};
use nalgebra::{DMatrix, DVector};

use crate::DdpError;
use crate::kernels::{axpy, dot};
use crate::trajectory::all_finite;

/// Derivatives along a roll-out. The costs are discounted: their derivatives are those of J.
pub(super) struct QuadraticModel {
    pub(super) ndx: usize,
    pub(super) nu: usize,
    pub(super) horizon: usize,
    pub(super) derivatives: Vec<StepDerivative>,
    /// T + 1 of them; the control's blocks of the last one stay zero.
    pub(super) costs: Vec<CostExpansion>,
    shapes: Shapes,
    /// Hessians of the costs with the curvature of the dynamics, once someone asks for them.
    curved: Vec<CostExpansion>,
    curvature: Option<(HessianProduct, DVector<f64>)>,
    is_curved: bool,
    pub(super) gradient: Vec<f64>,
    pub(super) costates: Vec<f64>,
    /// Whether gradient and costates are those without a policy.
    is_differentiated: bool,
    sweep: Sweep,
}

/// What is zero in the Hessians of the costs.
struct Shapes {
    nodes: Vec<Shape>,
    is_known: bool,
}

#[derive(Clone, Copy)]
struct Shape {
    diagonal: bool,
    coupled: bool,
}

/// Any Hessian: nothing is known to be zero.
const FULL: Shape = Shape { diagonal: false, coupled: true };

impl Shape {
    fn of(cost: &CostExpansion) -> Self {
        let n = cost.lxx.nrows();
        let off_diagonal = |(at, entry): (usize, &f64)| at % (n + 1) != 0 && *entry != 0.0;
        Self {
            diagonal: !cost.lxx.as_slice().iter().enumerate().any(off_diagonal),
            coupled: cost.lux.iter().any(|entry| *entry != 0.0),
        }
    }
}

/// Scratch of the sweeps.
struct Sweep {
    scratch: DerivativeScratch,
    /// Deviations of x₀ … x_T; those of x₀ are zero.
    dxs: Vec<f64>,
    lambda: Vec<f64>,
    lambda_next: Vec<f64>,
    unit: Vec<f64>,
    /// A unit of one control, stacked.
    units: Vec<f64>,
}

impl QuadraticModel {
    pub(super) fn new(ndx: usize, nu: usize, derivatives: Vec<StepDerivative>) -> Self {
        let horizon = derivatives.len();
        Self {
            ndx,
            nu,
            horizon,
            costs: vec![CostExpansion::zeros(ndx, nu); horizon + 1],
            shapes: Shapes { nodes: vec![FULL; horizon + 1], is_known: false },
            curved: Vec::new(),
            curvature: None,
            is_curved: false,
            gradient: vec![0.0; horizon * nu],
            costates: vec![0.0; (horizon + 1) * ndx],
            is_differentiated: false,
            sweep: Sweep {
                scratch: derivatives.first().map(StepDerivative::scratch).unwrap_or_default(),
                dxs: vec![0.0; (horizon + 1) * ndx],
                lambda: vec![0.0; ndx],
                lambda_next: vec![0.0; ndx],
                unit: vec![0.0; nu],
                units: vec![0.0; horizon * nu],
            },
            derivatives,
        }
    }

    /// T·nu.
    pub(super) fn unknowns(&self) -> usize {
        self.horizon * self.nu
    }

    /// Forgets what was derived from the roll-out before.
    pub(super) fn reset(&mut self) {
        self.shapes.is_known = false;
        self.is_curved = false;
        self.is_differentiated = false;
    }

    /// Gradient and costates, unless they are there.
    pub(super) fn differentiate(&mut self) -> Result<(), DdpError> {
        if !self.is_differentiated {
            self.sweep_back(|_, _, _| {})?;
            self.is_differentiated = true;
        }
        Ok(())
    }

    /// The adjoint sweep; `policy` gets t, νₜ and λₜ and may add to the latter.
    pub(super) fn sweep_back(
        &mut self,
        mut policy: impl FnMut(usize, &[f64], &mut [f64]),
    ) -> Result<(), DdpError> {
        self.is_differentiated = false;
        let (n, m) = (self.ndx, self.nu);
        self.costates[self.horizon * n..].copy_from_slice(self.costs[self.horizon].lx.as_slice());
        for t in (0..self.horizon).rev() {
            let (here, ahead) = self.costates.split_at_mut((t + 1) * n);
            let (lambda, lambda_next) = (&mut here[t * n..], &ahead[..n]);
            let nu = &mut self.gradient[t * m..][..m];
            self.derivatives[t].adjoint(&mut self.sweep.scratch, lambda_next, lambda, nu);
            axpy(nu, 1.0, self.costs[t].lu.as_slice());
            axpy(lambda, 1.0, self.costs[t].lx.as_slice());
            policy(t, nu, lambda);
            if !(all_finite(nu) && all_finite(lambda)) {
                return Err(DdpError::NotFinite { what: "the gradient", t });
            }
        }
        Ok(())
    }

    /// S z.
    pub(super) fn tangent(&mut self, z: &[f64]) -> &[f64] {
        self.sweep.tangent(&self.derivatives, 0, z, self.nu);
        &self.sweep.dxs[self.ndx..]
    }

    /// S as a matrix.
    pub(super) fn direct(&mut self) -> DMatrix<f64> {
        let (n, m, horizon) = (self.ndx, self.nu, self.horizon);
        let mut s = DMatrix::zeros(horizon * n, horizon * m);
        for t in 0..horizon {
            for j in 0..m {
                self.sweep.tangent_of_unit(&self.derivatives, t, j);
                let column = &self.sweep.dxs[(t + 1) * n..];
                s.view_mut((t * n, t * m + j), (column.len(), 1)).copy_from_slice(column);
            }
        }
        s
    }

    /// H z with the Gauss–Newton Hessian.
    pub(super) fn product(&mut self, z: &[f64], out: &mut [f64]) {
        self.know_shapes();
        let Self { derivatives, costs, shapes, sweep, nu, .. } = self;
        sweep.tangent(derivatives, 0, z, *nu);
        sweep.adjoint(derivatives, costs, &shapes.nodes, 0, z, out);
    }

    /// H z with the exact Hessian, whose curvature is there.
    pub(super) fn exact_product(&mut self, z: &[f64], out: &mut [f64]) {
        let Self { derivatives, curved, shapes, sweep, nu, .. } = self;
        shapes.forget();
        sweep.tangent(derivatives, 0, z, *nu);
        sweep.adjoint(derivatives, curved, &shapes.nodes, 0, z, out);
    }

    /// Writes the Gauss–Newton Hessian, both triangles.
    pub(super) fn assemble(&mut self, h: &mut [f64]) {
        self.know_shapes();
        let Self { derivatives, costs, shapes, sweep, .. } = self;
        sweep.assemble(derivatives, costs, &shapes.nodes, h);
    }

    /// Writes the exact Hessian, whose curvature is there.
    pub(super) fn assemble_exact(&mut self, h: &mut [f64]) {
        let Self { derivatives, curved, shapes, sweep, .. } = self;
        shapes.forget();
        sweep.assemble(derivatives, curved, &shapes.nodes, h);
    }

    /// Second derivatives of all steps along the costates, unless they are there.
    pub(super) fn take_curvature<D: Dynamics>(
        &mut self,
        dynamics: &D,
        ws: &mut D::Workspace,
        xs: &[DVector<f64>],
        us: &[DVector<f64>],
    ) -> Result<(), DdpError> {
        if self.is_curved {
            return Ok(());
        }
        self.curved.clone_from(&self.costs);
        let n = self.ndx;
        let (product, lambda) =
            self.curvature.get_or_insert_with(|| (HessianProduct::of(dynamics), DVector::zeros(n)));
        for t in 0..self.horizon {
            lambda.copy_from_slice(&self.costates[(t + 1) * n..][..n]);
            dynamics
                .hessian_product(ws, &xs[t], &us[t], lambda, product)
                .map_err(|source| DdpError::Model { t, source })?;
            let CostExpansion { lxx, lux, luu, .. } = &mut self.curved[t];
            *lxx += &product.xx;
            *lux += &product.ux;
            *luu += &product.uu;
        }
        self.is_curved = true;
        Ok(())
    }

    fn know_shapes(&mut self) {
        if !self.shapes.is_known {
            for (shape, cost) in self.shapes.nodes.iter_mut().zip(&self.costs) {
                *shape = Shape::of(cost);
            }
            self.shapes.is_known = true;
        }
    }
}

impl Shapes {
    fn forget(&mut self) {
        self.nodes.fill(FULL);
        self.is_known = false;
    }
}

impl Sweep {
    /// Deviations of the states from step `first` on, with `z` the controls' from there on.
    fn tangent(&mut self, derivatives: &[StepDerivative], first: usize, z: &[f64], m: usize) {
        let n = self.lambda.len();
        self.dxs[first * n..][..n].fill(0.0);
        for (t, derivative) in derivatives.iter().enumerate().skip(first) {
            let (here, ahead) = self.dxs.split_at_mut((t + 1) * n);
            let du = &z[(t - first) * m..][..m];
            derivative.tangent(&mut self.scratch, &here[t * n..], du, &mut ahead[..n]);
        }
    }

    /// Deviations of the states that follow a unit of one control of step `first`.
    fn tangent_of_unit(&mut self, derivatives: &[StepDerivative], first: usize, control: usize) {
        let n = self.lambda.len();
        self.dxs[first * n..][..n].fill(0.0);
        self.unit.fill(0.0);
        self.unit[control] = 1.0;
        for (t, derivative) in derivatives.iter().enumerate().skip(first) {
            let (here, ahead) = self.dxs.split_at_mut((t + 1) * n);
            derivative.tangent(&mut self.scratch, &here[t * n..], &self.unit, &mut ahead[..n]);
            self.unit.fill(0.0);
        }
    }

    /// Writes [S; 1]ᵀ C (dxs, z) for the controls from step `first` on.
    fn adjoint(
        &mut self,
        derivatives: &[StepDerivative],
        costs: &[CostExpansion],
        shapes: &[Shape],
        first: usize,
        z: &[f64],
        out: &mut [f64],
    ) {
        let (n, m) = (self.lambda.len(), self.unit.len());
        let last = derivatives.len();
        self.lambda.fill(0.0);
        add_symmetric(&costs[last], shapes[last], &self.dxs[last * n..], &mut self.lambda);
        for t in (first..last).rev() {
            let (cost, shape) = (&costs[t], shapes[t]);
            let (dx, du) = (&self.dxs[t * n..][..n], &z[(t - first) * m..][..m]);
            let out = &mut out[(t - first) * m..][..m];
            std::mem::swap(&mut self.lambda, &mut self.lambda_next);
            let lambda = &mut self.lambda;
            derivatives[t].adjoint(&mut self.scratch, &self.lambda_next, lambda, out);
            add_symmetric(cost, shape, dx, lambda);
            for (column, du) in cost.luu.as_slice().chunks_exact(m).zip(du) {
                axpy(out, *du, column);
            }
            if shape.coupled {
                for (i, column) in cost.lux.as_slice().chunks_exact(m).enumerate() {
                    axpy(out, dx[i], column);
                    lambda[i] += dot(column, du);
                }
            }
        }
    }

    /// Writes [S; 1]ᵀ C [S; 1] column by column, each by a tangent and an adjoint sweep from the step
    /// of its control on: rows above follow from symmetry.
    fn assemble(
        &mut self,
        derivatives: &[StepDerivative],
        costs: &[CostExpansion],
        shapes: &[Shape],
        h: &mut [f64],
    ) {
        let m = self.unit.len();
        let size = derivatives.len() * m;
        let mut units = std::mem::take(&mut self.units);
        for t in 0..derivatives.len() {
            for j in 0..m {
                self.tangent_of_unit(derivatives, t, j);
                units[j] = 1.0;
                let column = &mut h[(t * m + j) * size..][..size];
                self.adjoint(derivatives, costs, shapes, t, &units, &mut column[t * m..]);
                units[j] = 0.0;
            }
        }
        self.units = units;
        for column in 0..size {
            for row in 0..column {
                h[column * size + row] = h[row * size + column];
            }
        }
    }
}

/// out ← out + ℓ_xx dx.
fn add_symmetric(cost: &CostExpansion, shape: Shape, dx: &[f64], out: &mut [f64]) {
    let n = out.len();
    if shape.diagonal {
        for (i, out) in out.iter_mut().enumerate() {
            *out += cost.lxx[(i, i)] * dx[i];
        }
    } else {
        for (column, dx) in cost.lxx.as_slice().chunks_exact(n).zip(dx) {
            axpy(out, *dx, column);
        }
    }
}
