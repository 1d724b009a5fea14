//! The cost of reaching: a frame to a goal, with little force beyond that of gravity, within limits.

use nalgebra::{DMatrix, DVector, Matrix3, Rotation3, UnitQuaternion, Vector3};

use super::model::{FrameId, Model};
use super::plant::Motor;
use super::reach_settings::ReachSettings;
use super::workspace::Workspace;
use crate::{Cost, CostExpansion, DynamicsError, HessianKind, TerminalCost};

/// The cost of reaching of DVP (Parag et al., ICRA 2022) for any tree of rigid bodies, x = [q; v].
///
/// A step costs dt times the sum of the terms of [`ReachSettings`]; the end costs
/// `terminal_weight` times those of goal, orientation and state. The Hessian is Gauss–Newton: JᵀJ of
/// the residuals, and where a limit is exceeded or just met, its weight.
#[derive(Debug, Clone)]
pub struct ReachCost {
    model: Model,
    frame: FrameId,
    motors: Vec<Motor>,
    settings: ReachSettings,
    /// What concerns one entry of the state alone.
    terms: Vec<Term>,
    /// Directions of joints on Lie groups whose configuration has a weight, with √weight.
    curved: Vec<(usize, f64)>,
}

/// ½ weight (x − reference)² + ½ limit_weight (excess of x beyond [lower, upper])².
#[derive(Debug, Clone, Copy)]
struct Term {
    /// Entry of x, and direction of the tangent.
    entry: usize,
    direction: usize,
    weight: f64,
    reference: f64,
    lower: f64,
    upper: f64,
}

/// Scratch of a [`ReachCost`].
#[derive(Debug, Clone)]
pub struct ReachWorkspace {
    tree: Workspace,
    /// Residuals, and their derivatives by q in rows of `stride` numbers, both times √weight.
    residuals: Vec<f64>,
    rows: Vec<f64>,
    stride: usize,
    dq: Vec<f64>,
    chart: DMatrix<f64>,
}

/// Columns of the Hessian that are summed at once.
const BLOCK: usize = 8;

impl ReachCost {
    /// The cost for `frame` of `model` driven by `motors`.
    ///
    /// # Errors
    /// [`DynamicsError`] for vectors of the wrong length, weights that are negative or not finite, a
    /// motor without a gear, and a frame that nothing moves.
    pub fn new(
        model: Model,
        frame: FrameId,
        motors: &[Motor],
        settings: ReachSettings,
    ) -> Result<Self, DynamicsError> {
        settings.check(&model, frame, motors)?;
        let (nq, nv) = (model.nq(), model.nv());
        let weight = |i: usize| settings.state_weight * settings.state_weights[i].powi(2);
        let (mut terms, mut curved) = (Vec::new(), Vec::new());
        for (k, dof) in model.dofs().iter().enumerate() {
            if !dof.scalar {
                if weight(k) > 0.0 {
                    curved.push((k, weight(k).sqrt()));
                }
                continue;
            }
            let [low, high] = dof.properties.position_limit;
            let reach = 0.5 * settings.limit_margin * (high - low);
            let (lower, upper) = match reach.is_finite() {
                true => (0.5 * (low + high) - reach, 0.5 * (low + high) + reach),
                false => (f64::NEG_INFINITY, f64::INFINITY),
            };
            let reference = settings.state_reference[dof.q];
            terms.push(Term {
                entry: dof.q,
                direction: k,
                weight: weight(k),
                reference,
                lower,
                upper,
            });
        }
        for k in 0..nv {
            let limit = settings.velocity_limits[k];
            terms.push(Term {
                entry: nq + k,
                direction: nv + k,
                weight: weight(nv + k),
                reference: settings.state_reference[nq + k],
                lower: -limit,
                upper: limit,
            });
        }
        Ok(Self { model, frame, motors: motors.to_vec(), settings, terms, curved })
    }

    /// The tree.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Weights and references.
    #[must_use]
    pub fn settings(&self) -> &ReachSettings {
        &self.settings
    }

    /// Writes the controls that hold the robot at rest in `x` against gravity, as far as motors can: a
    /// first guess for solvers.
    pub fn holding_controls(
        &self,
        ws: &mut ReachWorkspace,
        x: &DVector<f64>,
        u: &mut DVector<f64>,
    ) {
        let tree = &mut ws.tree;
        self.model.place(tree, &x.as_slice()[..self.model.nq()]);
        self.model.carry(tree);
        self.model.gravity_torque_of(tree);
        for (u, motor) in u.iter_mut().zip(&self.motors) {
            *u = tree.tau[motor.dof] / motor.gear;
        }
    }

    fn scratch(&self) -> ReachWorkspace {
        let nv = self.model.nv();
        let stride = nv.next_multiple_of(BLOCK);
        let rows = 6 + self.motors.len() + self.curved.len();
        ReachWorkspace {
            tree: self.model.workspace(),
            residuals: vec![0.0; rows],
            rows: vec![0.0; rows * stride],
            stride,
            dq: vec![0.0; nv],
            chart: DMatrix::identity(nv, nv),
        }
    }

    /// Writes the residuals of goal, controls (not at the end) and curved configurations, with their
    /// derivatives if asked for, and returns how many there are.
    #[inline(always)]
    fn residuals<const EXPAND: bool>(
        &self,
        ws: &mut ReachWorkspace,
        q: &[f64],
        u: Option<&DVector<f64>>,
    ) -> usize {
        let mut n = self.goal_residuals::<EXPAND>(ws, q);
        if let Some(u) = u
            && self.settings.control_weight > 0.0
        {
            n = self.control_residuals::<EXPAND>(ws, u, n);
        }
        if !self.curved.is_empty() {
            n = self.curved_residuals::<EXPAND>(ws, q, n);
        }
        n
    }

    /// Places the tree; p − goal, and the rotation vector that is left, in the world's axes.
    #[inline(always)]
    fn goal_residuals<const EXPAND: bool>(&self, ws: &mut ReachWorkspace, q: &[f64]) -> usize {
        let (model, settings) = (&self.model, &self.settings);
        let ReachWorkspace { tree, residuals, rows, stride, .. } = ws;
        model.place(tree, q);
        let (r, p) = model.frame_placement(tree, self.frame);
        let root = settings.goal_weight.sqrt();
        for axis in 0..3 {
            residuals[axis] = root * (p[axis] + tree.origin[axis] - settings.goal[axis]);
        }
        // The constructor refuses frames of the world.
        let Some(body) = model.frame(self.frame).body else { return 0 };
        let moving = || model.ancestors(body).iter().copied().chain(model.bodies[body].v.clone());
        if EXPAND {
            for k in moving() {
                let column = tree.j[k].at(p);
                for axis in 0..3 {
                    rows[axis * *stride + k] = root * column[axis];
                }
            }
        }
        if settings.orientation_weight == 0.0 {
            return 3;
        }
        let r = Rotation3::from_matrix_unchecked(Matrix3::from_fn(|i, j| r[i][j]));
        let turn = UnitQuaternion::from_rotation_matrix(&r) * settings.orientation.inverse();
        let turn = turn.scaled_axis();
        let root = settings.orientation_weight.sqrt();
        for axis in 0..3 {
            residuals[3 + axis] = root * turn[axis];
        }
        if EXPAND {
            let (across, along) = root_of_log_metric(turn.norm_squared());
            for k in moving() {
                let axis = Vector3::from(tree.j[k].angular);
                let column = axis * across + turn * (along * turn.dot(&axis));
                for row in 0..3 {
                    rows[(3 + row) * *stride + k] = root * column[row];
                }
            }
        }
        6
    }

    /// u − g(q) of each motor.
    #[inline(always)]
    fn control_residuals<const EXPAND: bool>(
        &self,
        ws: &mut ReachWorkspace,
        u: &DVector<f64>,
        first: usize,
    ) -> usize {
        let ReachWorkspace { tree, residuals, rows, stride, .. } = ws;
        let nv = self.model.nv();
        self.model.carry(tree);
        if EXPAND {
            self.model.gravity_derivatives_of(tree);
        } else {
            self.model.gravity_torque_of(tree);
        }
        let root = self.settings.control_weight.sqrt();
        for (j, motor) in self.motors.iter().enumerate() {
            let factor = -root / motor.gear;
            residuals[first + j] = root * u[j] + factor * tree.tau[motor.dof];
            if EXPAND {
                let row = &mut rows[(first + j) * *stride..][..nv];
                for (row, g) in row.iter_mut().zip(&tree.dtau_dq[motor.dof * nv..][..nv]) {
                    *row = factor * g;
                }
            }
        }
        first + self.motors.len()
    }

    /// (q ⊖ q_ref) of joints on Lie groups.
    #[inline(never)]
    fn curved_residuals<const EXPAND: bool>(
        &self,
        ws: &mut ReachWorkspace,
        q: &[f64],
        first: usize,
    ) -> usize {
        let (model, nv) = (&self.model, self.model.nv());
        let reference = &self.settings.state_reference.as_slice()[..model.nq()];
        let ReachWorkspace { residuals, rows, stride, dq, chart, .. } = ws;
        model.difference_of(reference, q, dq);
        if EXPAND {
            model.difference_jacobian_of(reference, q, chart);
        }
        for (j, &(direction, root)) in self.curved.iter().enumerate() {
            residuals[first + j] = root * dq[direction];
            if EXPAND {
                for k in 0..nv {
                    rows[(first + j) * *stride + k] = root * chart[(direction, k)];
                }
            }
        }
        first + self.curved.len()
    }

    /// The sum of all terms, before it is multiplied by dt.
    fn value(&self, ws: &mut ReachWorkspace, x: &DVector<f64>, u: Option<&DVector<f64>>) -> f64 {
        let n = self.residuals::<false>(ws, &x.as_slice()[..self.model.nq()], u);
        let limit_weight = if u.is_some() { self.settings.limit_weight } else { 0.0 };
        let squares: f64 = ws.residuals[..n].iter().map(|r| r * r).sum();
        let terms = self.terms.iter().map(|term| term.at(x, limit_weight).value);
        0.5 * (squares + terms.sum::<f64>())
    }

    /// The sum of all terms and its derivatives by x, times `scale`.
    fn expand(
        &self,
        ws: &mut ReachWorkspace,
        x: &DVector<f64>,
        u: Option<&DVector<f64>>,
        scale: f64,
        out: &mut CostExpansion,
    ) {
        let nv = self.model.nv();
        let n = self.residuals::<true>(ws, &x.as_slice()[..self.model.nq()], u);
        let limit_weight = if u.is_some() { self.settings.limit_weight } else { 0.0 };
        let (residuals, rows) = (&ws.residuals[..n], &ws.rows[..n * ws.stride]);
        let mut l: f64 = residuals.iter().map(|r| r * r).sum();
        out.lx.fill(0.0);
        out.lxx.fill(0.0);
        accumulate(residuals, rows, ws.stride, nv, scale, out);
        for term in &self.terms {
            let Point { value, slope, curvature } = term.at(x, limit_weight);
            l += value;
            out.lx[term.direction] += scale * slope;
            out.lxx[(term.direction, term.direction)] += scale * curvature;
        }
        out.l = 0.5 * scale * l;
    }
}

/// lx = `scale` Jᵀ r and lxx = `scale` Jᵀ J in the first `nv` directions, J by rows.
#[inline(always)]
fn accumulate(
    residuals: &[f64],
    rows: &[f64],
    stride: usize,
    nv: usize,
    scale: f64,
    out: &mut CostExpansion,
) {
    let ndx = out.lxx.nrows();
    for block in (0..nv).step_by(BLOCK) {
        let size = BLOCK.min(nv - block);
        let parts = || rows.chunks_exact(stride).map(|row| (row, &row[block..block + BLOCK]));
        let mut sums = [0.0; BLOCK];
        for (&residual, (_, part)) in residuals.iter().zip(parts()) {
            add_scaled(&mut sums, residual, part);
        }
        for (to, sum) in out.lx.as_mut_slice()[block..].iter_mut().zip(&sums[..size]) {
            *to = scale * sum;
        }
        // The block on and those left of the diagonal; the others by symmetry.
        for column in 0..block + size {
            let mut sums = [0.0; BLOCK];
            for (row, part) in parts() {
                add_scaled(&mut sums, row[column], part);
            }
            let sums = sums.map(|sum| scale * sum);
            let start = column * ndx + block;
            out.lxx.as_mut_slice()[start..start + size].copy_from_slice(&sums[..size]);
            if column < block {
                for (k, &sum) in sums[..size].iter().enumerate() {
                    out.lxx[(column, block + k)] = sum;
                }
            }
        }
    }
}

#[inline(always)]
fn add_scaled(sums: &mut [f64; BLOCK], factor: f64, part: &[f64]) {
    for (sum, entry) in sums.iter_mut().zip(part) {
        *sum += factor * entry;
    }
}

/// (a, b) of the symmetric root a E + b r rᵀ of J⁻ᵀ J⁻¹, where J⁻¹ takes angular velocities to the
/// rate of the rotation vector r, of squared length `square`.
fn root_of_log_metric(square: f64) -> (f64, f64) {
    // Along r nothing is stretched, across it by a = (θ/2)/sin(θ/2).
    if square < 1e-4 {
        let b = -(1.0 + square * 7.0 / 240.0) / 24.0;
        return (1.0 - b * square, b);
    }
    let half = 0.5 * square.sqrt();
    let a = half / half.sin();
    (a, (1.0 - a) / square)
}

/// Twice a [`Term`]'s value, its slope and its curvature.
#[derive(Debug, Clone, Copy)]
struct Point {
    value: f64,
    slope: f64,
    curvature: f64,
}

impl Term {
    #[inline(always)]
    fn at(&self, x: &DVector<f64>, limit_weight: f64) -> Point {
        let x = x[self.entry];
        let (e, weight) = (x - self.reference, self.weight);
        let excess = (x - self.upper).max(0.0) + (x - self.lower).min(0.0);
        let beyond = x >= self.upper || x <= self.lower;
        Point {
            value: weight * e * e + limit_weight * excess * excess,
            slope: weight * e + limit_weight * excess,
            curvature: weight + if beyond { limit_weight } else { 0.0 },
        }
    }
}

impl Cost for ReachCost {
    type Workspace = ReachWorkspace;

    fn ndx(&self) -> usize {
        2 * self.model.nv()
    }
    fn nu(&self) -> usize {
        self.motors.len()
    }
    fn workspace(&self) -> ReachWorkspace {
        self.scratch()
    }
    fn stage(&self, ws: &mut ReachWorkspace, _t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        self.settings.dt * self.value(ws, x, Some(u))
    }
    fn expand_stage(
        &self,
        ws: &mut ReachWorkspace,
        _t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        self.expand(ws, x, Some(u), self.settings.dt, out);
        out.lux.fill(0.0);
        out.luu.fill(0.0);
        if self.settings.control_weight == 0.0 {
            out.lu.fill(0.0);
            return;
        }
        // The residuals of the controls and their rows carry √weight.
        let scale = self.settings.dt * self.settings.control_weight.sqrt();
        let first = if self.settings.orientation_weight == 0.0 { 3 } else { 6 };
        let nv = self.model.nv();
        for j in 0..self.motors.len() {
            out.lu[j] = scale * ws.residuals[first + j];
            out.luu[(j, j)] = self.settings.dt * self.settings.control_weight;
            for (k, entry) in ws.rows[(first + j) * ws.stride..][..nv].iter().enumerate() {
                out.lux[(j, k)] = scale * entry;
            }
        }
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::GaussNewton
    }
}

impl TerminalCost for ReachCost {
    type Workspace = ReachWorkspace;

    fn ndx(&self) -> usize {
        2 * self.model.nv()
    }
    fn workspace(&self) -> ReachWorkspace {
        self.scratch()
    }
    fn terminal(&self, ws: &mut ReachWorkspace, x: &DVector<f64>) -> f64 {
        match self.settings.terminal_weight {
            0.0 => 0.0,
            weight => weight * self.value(ws, x, None),
        }
    }
    fn expand_terminal(&self, ws: &mut ReachWorkspace, x: &DVector<f64>, out: &mut CostExpansion) {
        if self.settings.terminal_weight == 0.0 {
            out.l = 0.0;
            out.lx.fill(0.0);
            out.lxx.fill(0.0);
            return;
        }
        self.expand(ws, x, None, self.settings.terminal_weight, out);
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::GaussNewton
    }
}
