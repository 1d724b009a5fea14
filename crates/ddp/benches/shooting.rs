//! Single shooting: roll-outs with gradients, and the routes to the step of second order.
#![allow(clippy::unwrap_used, reason = "a bench that fails is a bug of its own")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::lq::Lq;
use ddp::Problem;
use ddp::shooting::{Route, Shooting, Step};
use divan::{AllocProfiler, Bencher};
use dynamics::mass_spring::{Integration, Link, MassSpring, Scheme, Startup, hanging, pendulum};
use dynamics::{ActionBounds, Plant, QuadraticCost};
use nalgebra::DVector;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A chain of springs that swings below a handle and is to come to rest.
struct Chain {
    model: MassSpring,
    cost: QuadraticCost,
    terminal: QuadraticCost,
    limits: ActionBounds,
    x0: DVector<f64>,
}

impl Chain {
    fn new(dimension: usize, n_links: usize) -> Self {
        let links = vec![Link::pendulum(); n_links];
        let integration =
            Integration { scheme: Scheme::Bdf2, startup: Startup::SecondOrder, dt: 1.0 / 30.0 };
        let model = MassSpring::new(pendulum(dimension, &links), integration).unwrap();
        let p = vec![0.0; dimension];
        let x = hanging(dimension, &links, &p).unwrap();
        let mut v = vec![0.0; x.len()];
        v.iter_mut().step_by(dimension).for_each(|v| *v = 1.0);
        let x0 = model.state(&x, &v, &p).unwrap();
        let mut weights = vec![0.0; model.ndx()];
        let layout = model.layout();
        weights[layout.velocities()].fill(1.0);
        weights[layout.handles()].fill(0.3);
        let cost = |r: f64| {
            let goal = vec![0.0; model.ndx()];
            QuadraticCost::new(goal, weights.clone(), vec![r; dimension]).unwrap()
        };
        let (cost, terminal) = (cost(0.05), cost(0.0));
        let limits = ActionBounds::symmetric(dimension, 0.2);
        Self { model, cost, terminal, limits, x0 }
    }

    fn shooting(
        &self,
        horizon: usize,
        limited: bool,
    ) -> Shooting<'_, MassSpring, QuadraticCost, QuadraticCost> {
        let problem = Problem {
            control_limits: limited.then_some(&self.limits),
            ..Problem::new(&self.model, &self.cost, &self.terminal, horizon)
        };
        let mut shooting = Shooting::new(problem).unwrap();
        self.roll(&mut shooting);
        shooting
    }

    fn roll(&self, shooting: &mut Shooting<'_, MassSpring, QuadraticCost, QuadraticCost>) -> f64 {
        let policy = |t: usize, _: &DVector<f64>, u: &mut DVector<f64>| {
            u.fill(0.0);
            u[0] = 0.1 * (0.3 * t as f64).sin();
        };
        shooting.rollout_policy(&self.x0, policy).unwrap()
    }
}

const PENDULUMS: [(usize, usize); 3] = [(2, 1), (3, 1), (3, 2)];

/// 50 steps with their derivatives, and the gradient.
#[divan::bench(args = PENDULUMS)]
fn rollout_with_gradient(bencher: Bencher, (dimension, links): (usize, usize)) {
    let chain = Chain::new(dimension, links);
    let mut shooting = chain.shooting(50, false);
    bencher.bench_local(|| {
        chain.roll(&mut shooting);
        shooting.gradient().unwrap()[0]
    });
}

/// 50 steps with their derivatives, and controls that are better.
#[divan::bench(args = PENDULUMS)]
fn rollout_and_improve(bencher: Bencher, (dimension, links): (usize, usize)) {
    let chain = Chain::new(dimension, links);
    let mut shooting = chain.shooting(50, true);
    bencher.bench_local(|| {
        chain.roll(&mut shooting);
        shooting
            .improve(Step::SecondOrder { route: Route::Auto, step_length: 1.0 })
            .unwrap()
            .cost_after
    });
}

/// Dimension, links, horizon.
const SIZES: [(usize, usize, usize); 8] = [
    (2, 1, 25),
    (2, 1, 50),
    (2, 1, 100),
    (2, 1, 200),
    (3, 1, 100),
    (3, 2, 100),
    (3, 10, 100),
    (3, 25, 100),
];

fn step(bencher: Bencher, size: (usize, usize, usize), limited: bool, route: Route) {
    let (dimension, links, horizon) = size;
    let chain = Chain::new(dimension, links);
    let mut shooting = chain.shooting(horizon, limited);
    shooting.second_order_step(route).unwrap();
    bencher.bench_local(|| shooting.second_order_step(route).unwrap().report.solves);
}

#[divan::bench(args = SIZES)]
fn dense(bencher: Bencher, size: (usize, usize, usize)) {
    step(bencher, size, false, Route::Dense);
}

#[divan::bench(args = SIZES)]
fn riccati(bencher: Bencher, size: (usize, usize, usize)) {
    step(bencher, size, false, Route::Riccati);
}

#[divan::bench(args = SIZES)]
fn conjugate_gradient(bencher: Bencher, size: (usize, usize, usize)) {
    let route = Route::ConjugateGradient { tolerance: 1e-10, max_iterations: 10_000 };
    step(bencher, size, false, route);
}

#[divan::bench(args = SIZES)]
fn automatic_within_limits(bencher: Bencher, size: (usize, usize, usize)) {
    step(bencher, size, true, Route::Auto);
}

#[divan::bench(args = SIZES)]
fn gauss_newton_product(bencher: Bencher, (dimension, links, horizon): (usize, usize, usize)) {
    let chain = Chain::new(dimension, links);
    let mut shooting = chain.shooting(horizon, false);
    let z = DVector::from_element(dimension * horizon, 1.0);
    let mut out = DVector::zeros(z.len());
    bencher.bench_local(|| {
        shooting.gauss_newton_product(z.as_slice(), out.as_mut_slice()).unwrap();
        out[0]
    });
}

/// The same with Jacobians and cost Hessians that are full matrices, over 100 steps.
#[divan::bench(args = [(2, 1), (4, 1), (14, 7), (40, 10)])]
fn gauss_newton_product_of_matrices(bencher: Bencher, (nx, nu): (usize, usize)) {
    let lq = Lq::random(nx, nu, 100, 1);
    let mut shooting = Shooting::new(lq.problem()).unwrap();
    shooting.rollout(&DVector::zeros(nx), &vec![DVector::zeros(nu); 100]).unwrap();
    let (z, mut out) = (vec![1.0; 100 * nu], vec![0.0; 100 * nu]);
    bencher.bench_local(|| {
        shooting.gauss_newton_product(&z, &mut out).unwrap();
        out[0]
    });
}
