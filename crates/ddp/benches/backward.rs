//! The phases of an iteration on a random linear-quadratic problem of a 7-dof arm's size.
#![allow(clippy::unwrap_used, reason = "a bench that fails is a bug of its own")]

use ddp::{Guess, Method, Problem, Settings, Solver};
use divan::Bencher;
use dynamics::{
    Cost, CostExpansion, Dynamics, DynamicsError, HessianKind, Linearization, Plant, Stream,
    TerminalCost,
};
use nalgebra::{DMatrix, DVector};

fn main() {
    divan::main();
}

struct Linear {
    jacobian: Linearization,
}

impl Plant for Linear {
    type Workspace = ();
    fn name(&self) -> &str {
        "linear"
    }
    fn nx(&self) -> usize {
        self.jacobian.fx.nrows()
    }
    fn nu(&self) -> usize {
        self.jacobian.fu.ncols()
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next.gemv(1.0, &self.jacobian.fx, x, 0.0);
        x_next.gemv(1.0, &self.jacobian.fu, u, 1.0);
        Ok(())
    }
}

impl Dynamics for Linear {
    fn linearize(
        &self,
        (): &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.copy_from(&self.jacobian.fx);
        out.fu.copy_from(&self.jacobian.fu);
        Ok(())
    }
}

struct Squares(usize, usize);

impl Cost for Squares {
    type Workspace = ();
    fn ndx(&self) -> usize {
        self.0
    }
    fn nu(&self) -> usize {
        self.1
    }
    fn workspace(&self) {}
    fn stage(&self, (): &mut (), _t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        0.5 * (x.norm_squared() + u.norm_squared())
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
        out.lx.copy_from(x);
        out.lu.copy_from(u);
        out.lxx.fill_with_identity();
        out.luu.fill_with_identity();
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::Exact
    }
}

impl TerminalCost for Squares {
    type Workspace = ();
    fn ndx(&self) -> usize {
        self.0
    }
    fn workspace(&self) {}
    fn terminal(&self, (): &mut (), x: &DVector<f64>) -> f64 {
        0.5 * x.norm_squared()
    }
    fn expand_terminal(&self, (): &mut (), x: &DVector<f64>, out: &mut CostExpansion) {
        out.l = 0.5 * x.norm_squared();
        out.lx.copy_from(x);
        out.lxx.fill_with_identity();
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::Exact
    }
}

#[divan::bench(args = [(2, 1), (3, 2), (4, 1), (14, 7), (24, 12), (40, 10)])]
fn backward_per_100_nodes(bencher: Bencher, (n, m): (usize, usize)) {
    let mut s = Stream::new(1, "lq", 0);
    let jacobian = Linearization {
        fx: DMatrix::from_fn(n, n, |i, j| f64::from(u8::from(i == j)) + 0.03 * s.normal()),
        fu: DMatrix::from_fn(n, m, |_, _| 0.1 * s.normal()),
    };
    let (model, cost) = (Linear { jacobian }, Squares(n, m));
    let problem = Problem::new(&model, &cost, &cost, 100);
    let mut solver = Solver::new(problem, Method::Fddp, Settings::default()).unwrap();
    let (x0, u) = (DVector::from_element(n, 1.0), DVector::zeros(m));
    solver.set_guess(&x0, Guess::Repeat(&u)).unwrap();
    solver.evaluate().unwrap();
    solver.linearize().unwrap();
    bencher.bench_local(|| assert!(solver.backward_pass(1e-9)));
}
