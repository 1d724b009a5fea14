//! Random linear-quadratic problems and their dense optimality conditions.

use ddp::Problem;
use ddp::lqr::{LqStage, LqTerminal};
use dynamics::{
    Cost, CostExpansion, Dynamics, DynamicsError, HessianKind, Linearization, Plant, Stream,
    TerminalCost,
};
use nalgebra::{DMatrix, DVector};

/// Affine dynamics, the same at all steps, with a quadratic cost of its own at every step.
pub(crate) struct Lq {
    pub(crate) stages: Vec<LqStage>,
    pub(crate) terminal: LqTerminal,
}

/// A step of Newton's method for all states and controls at once, and the multipliers.
pub(crate) struct KktStep {
    pub(crate) dxs: Vec<DVector<f64>>,
    pub(crate) dus: Vec<DVector<f64>>,
    pub(crate) lambdas: Vec<DVector<f64>>,
}

pub(crate) fn random_vector(s: &mut Stream, n: usize) -> DVector<f64> {
    DVector::from_fn(n, |_, _| s.normal())
}

fn random_matrix(s: &mut Stream, rows: usize, columns: usize) -> DMatrix<f64> {
    DMatrix::from_fn(rows, columns, |_, _| s.normal())
}

fn random_hessian(s: &mut Stream, n: usize) -> DMatrix<f64> {
    let root = random_matrix(s, n, n);
    &root * root.transpose() / n as f64 + DMatrix::identity(n, n) * 0.1
}

impl Lq {
    pub(crate) fn random(nx: usize, nu: usize, horizon: usize, seed: u64) -> Self {
        let s = &mut Stream::new(seed, "lq", 0);
        let fx = random_matrix(s, nx, nx) / (nx as f64).sqrt();
        let (fu, f) = (random_matrix(s, nx, nu), random_vector(s, nx));
        let mut stage = || {
            let joint = random_hessian(s, nx + nu);
            LqStage {
                fx: fx.clone(),
                fu: fu.clone(),
                f: f.clone(),
                l: s.normal(),
                lx: random_vector(s, nx),
                lu: random_vector(s, nu),
                lxx: joint.view((0, 0), (nx, nx)).into_owned(),
                lux: joint.view((nx, 0), (nu, nx)).into_owned(),
                luu: joint.view((nx, nx), (nu, nu)).into_owned(),
            }
        };
        let stages = (0..horizon).map(|_| stage()).collect();
        let (lx, lxx) = (random_vector(s, nx), random_hessian(s, nx));
        Self { stages, terminal: LqTerminal { l: s.normal(), lx, lxx } }
    }

    pub(crate) fn problem(&self) -> Problem<'_, Self, Self, Self> {
        Problem::new(self, self, self, self.stages.len())
    }

    /// A trajectory of the given number of steps that has nothing to do with the dynamics.
    pub(crate) fn random_guess(&self, seed: u64) -> (Vec<DVector<f64>>, Vec<DVector<f64>>) {
        let s = &mut Stream::new(seed, "lq guess", 0);
        let (nx, nu) = (Plant::nx(self), Plant::nu(self));
        let xs = (0..=self.stages.len()).map(|_| random_vector(s, nx)).collect();
        (xs, (0..self.stages.len()).map(|_| random_vector(s, nu)).collect())
    }

    /// f(x, u) of any step.
    pub(crate) fn next(&self, x: &DVector<f64>, u: &DVector<f64>) -> DVector<f64> {
        let LqStage { fx, fu, f, .. } = &self.stages[0];
        fx * x + fu * u + f
    }

    /// The step from a trajectory to the optimum from `x0`, from one dense linear system:
    /// stationarity of Σ γᵗ ℓ + λ·(gaps) by states and controls, and the linearised dynamics.
    /// Multipliers are in units of their node, λₜ/γᵗ.
    pub(crate) fn kkt_step(
        &self,
        discount: f64,
        x0: &DVector<f64>,
        xs: &[DVector<f64>],
        us: &[DVector<f64>],
    ) -> KktStep {
        let (nx, nu, horizon) = (x0.len(), us[0].len(), us.len());
        let (x_at, u_at) = (|t: usize| t * nx, |t: usize| (horizon + 1) * nx + t * nu);
        let primal = u_at(horizon);
        let row = |t: usize| primal + t * nx;
        let n = row(horizon + 1);
        let (mut a, mut b) = (DMatrix::zeros(n, n), DVector::zeros(n));
        let eye = DMatrix::identity(nx, nx);
        for t in 0..=horizon {
            let weight = discount.powi(i32::try_from(t).unwrap());
            let (x, i) = (&xs[t], x_at(t));
            // −δxₜ + fx δxₜ₋₁ + fu δuₜ₋₁ = −gapₜ
            a.view_mut((row(t), i), (nx, nx)).copy_from(&-&eye);
            a.view_mut((i, row(t)), (nx, nx)).copy_from(&-&eye);
            let reached = if t == 0 { x0.clone() } else { self.next(&xs[t - 1], &us[t - 1]) };
            b.rows_mut(row(t), nx).copy_from(&(x - reached));
            if t == horizon {
                let LqTerminal { lx, lxx, .. } = &self.terminal;
                a.view_mut((i, i), (nx, nx)).copy_from(&(lxx * weight));
                b.rows_mut(i, nx).copy_from(&((lx + lxx * x) * -weight));
                continue;
            }
            let LqStage { fx, fu, lx, lu, lxx, lux, luu, .. } = &self.stages[t];
            let (u, j) = (&us[t], u_at(t));
            a.view_mut((i, i), (nx, nx)).copy_from(&(lxx * weight));
            a.view_mut((j, i), (nu, nx)).copy_from(&(lux * weight));
            a.view_mut((i, j), (nx, nu)).copy_from(&(lux.transpose() * weight));
            a.view_mut((j, j), (nu, nu)).copy_from(&(luu * weight));
            b.rows_mut(i, nx).copy_from(&((lx + lxx * x + lux.tr_mul(u)) * -weight));
            b.rows_mut(j, nu).copy_from(&((lu + lux * x + luu * u) * -weight));
            let next = row(t + 1);
            a.view_mut((next, i), (nx, nx)).copy_from(fx);
            a.view_mut((i, next), (nx, nx)).copy_from(&fx.transpose());
            a.view_mut((next, j), (nx, nu)).copy_from(fu);
            a.view_mut((j, next), (nu, nx)).copy_from(&fu.transpose());
        }
        let z = a.lu().solve(&b).unwrap();
        let part = |at: usize, size: usize| z.rows(at, size).into_owned();
        let in_units_of_node = |t: usize| discount.powi(-i32::try_from(t).unwrap());
        KktStep {
            dxs: (0..=horizon).map(|t| part(x_at(t), nx)).collect(),
            dus: (0..horizon).map(|t| part(u_at(t), nu)).collect(),
            lambdas: (0..=horizon).map(|t| part(row(t), nx) * in_units_of_node(t)).collect(),
        }
    }
}

impl Plant for Lq {
    type Workspace = ();

    fn name(&self) -> &str {
        "random linear system"
    }
    fn nx(&self) -> usize {
        self.terminal.lx.len()
    }
    fn nu(&self) -> usize {
        self.stages[0].lu.len()
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        let LqStage { fx, fu, f, .. } = &self.stages[0];
        x_next.copy_from(f);
        x_next.gemv(1.0, fx, x, 1.0);
        x_next.gemv(1.0, fu, u, 1.0);
        Ok(())
    }
}

impl Dynamics for Lq {
    fn linearize(
        &self,
        (): &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.copy_from(&self.stages[0].fx);
        out.fu.copy_from(&self.stages[0].fu);
        Ok(())
    }
}

fn quadratic(h: &DMatrix<f64>, a: &DVector<f64>, b: &DVector<f64>) -> f64 {
    (0..b.len()).map(|j| b[j] * h.column(j).dot(a)).sum()
}

impl Cost for Lq {
    type Workspace = ();

    fn ndx(&self) -> usize {
        Plant::nx(self)
    }
    fn nu(&self) -> usize {
        Plant::nu(self)
    }
    fn workspace(&self) {}
    fn stage(&self, (): &mut (), t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        let LqStage { l, lx, lu, lxx, lux, luu, .. } = &self.stages[t];
        l + lx.dot(x)
            + lu.dot(u)
            + 0.5 * quadratic(lxx, x, x)
            + quadratic(lux, u, x)
            + 0.5 * quadratic(luu, u, u)
    }
    fn expand_stage(
        &self,
        ws: &mut (),
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        let stage = &self.stages[t];
        out.l = self.stage(ws, t, x, u);
        out.lx.copy_from(&stage.lx);
        out.lx.gemv(1.0, &stage.lxx, x, 1.0);
        out.lx.gemv_tr(1.0, &stage.lux, u, 1.0);
        out.lu.copy_from(&stage.lu);
        out.lu.gemv(1.0, &stage.lux, x, 1.0);
        out.lu.gemv(1.0, &stage.luu, u, 1.0);
        out.lxx.copy_from(&stage.lxx);
        out.lux.copy_from(&stage.lux);
        out.luu.copy_from(&stage.luu);
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::Exact
    }
}

impl TerminalCost for Lq {
    type Workspace = ();

    fn ndx(&self) -> usize {
        Plant::nx(self)
    }
    fn workspace(&self) {}
    fn terminal(&self, (): &mut (), x: &DVector<f64>) -> f64 {
        let LqTerminal { l, lx, lxx } = &self.terminal;
        l + lx.dot(x) + 0.5 * quadratic(lxx, x, x)
    }
    fn expand_terminal(&self, ws: &mut (), x: &DVector<f64>, out: &mut CostExpansion) {
        out.l = self.terminal(ws, x);
        out.lx.copy_from(&self.terminal.lx);
        out.lx.gemv(1.0, &self.terminal.lxx, x, 1.0);
        out.lxx.copy_from(&self.terminal.lxx);
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::Exact
    }
}
