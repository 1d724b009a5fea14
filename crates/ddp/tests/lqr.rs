//! Linear-quadratic regulators against dense KKT systems, closed forms and each other.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use ddp::lqr::{
    FiniteHorizon, LqStage, LqTerminal, LqrError, StationaryProblem, continuous, discrete,
    finite_horizon,
};
use nalgebra::{DMatrix, DVector, dmatrix, dvector};
use proptest::prelude::*;

/// Reproducible entries in [−1, 1), by SplitMix64.
struct Draw(u64);

impl Draw {
    fn number(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / 2.0_f64.powi(63) - 1.0
    }

    fn vector(&mut self, n: usize) -> DVector<f64> {
        DVector::from_fn(n, |_, _| self.number())
    }

    fn matrix(&mut self, rows: usize, cols: usize) -> DMatrix<f64> {
        DMatrix::from_fn(rows, cols, |_, _| self.number())
    }

    /// Symmetric, with eigenvalues from `smallest` on.
    fn hessian(&mut self, n: usize, smallest: f64) -> DMatrix<f64> {
        let root = self.matrix(n, n);
        &root * root.transpose() / n as f64 + DMatrix::identity(n, n) * smallest
    }

    fn orthogonal(&mut self, n: usize) -> DMatrix<f64> {
        self.matrix(n, n).qr().q()
    }

    /// A cost whose joint Hessian in (x, u) is positive definite.
    fn stage(&mut self, nx: usize, nu: usize) -> LqStage {
        let joint = self.hessian(nx + nu, 0.1);
        LqStage {
            fx: self.matrix(nx, nx) * (2.0 / (nx as f64).sqrt()),
            fu: self.matrix(nx, nu),
            f: self.vector(nx),
            l: self.number(),
            lx: self.vector(nx),
            lu: self.vector(nu),
            lxx: joint.view((0, 0), (nx, nx)).into_owned(),
            lux: joint.view((nx, 0), (nu, nx)).into_owned(),
            luu: joint.view((nx, nx), (nu, nu)).into_owned(),
        }
    }

    fn terminal(&mut self, nx: usize) -> LqTerminal {
        LqTerminal { l: self.number(), lx: self.vector(nx), lxx: self.hessian(nx, 0.0) }
    }

    /// A stationary problem with a cross term whose A = stable + BF, where F has entries up to
    /// `growth`. The gains −F stabilise it and bound P, while A itself is unstable for most F;
    /// a plain random A is now and then as good as out of reach.
    fn stationary(&mut self, stable: DMatrix<f64>, nu: usize, growth: f64) -> StationaryProblem {
        let nx = stable.nrows();
        let stage = self.stage(nx, nu);
        let a = stable + &stage.fu * self.matrix(nu, nx) * growth;
        StationaryProblem { a, b: stage.fu, q: stage.lxx, s: stage.lux, r: stage.luu }
    }

    fn discrete(&mut self, nx: usize, nu: usize, growth: f64) -> StationaryProblem {
        let contraction = self.orthogonal(nx) * 0.9;
        self.stationary(contraction, nu, growth)
    }

    fn continuous(&mut self, nx: usize, nu: usize, growth: f64) -> StationaryProblem {
        let root = self.matrix(nx, nx);
        let damped_rotation = &root - root.transpose() - self.hessian(nx, 0.1);
        self.stationary(damped_rotation, nu, growth)
    }
}

fn relative_difference(found: &DMatrix<f64>, expected: &DMatrix<f64>) -> f64 {
    (found - expected).amax() / expected.amax().max(1.0)
}

fn stage_cost(stage: &LqStage, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
    stage.l
        + stage.lx.dot(x)
        + stage.lu.dot(u)
        + 0.5 * x.dot(&(&stage.lxx * x))
        + u.dot(&(&stage.lux * x))
        + 0.5 * u.dot(&(&stage.luu * u))
}

/// The optimum from `x0` by one dense solve for all states, controls and multipliers at once:
/// states, controls, the discounted cost, and the multiplier of the initial state.
struct Kkt {
    xs: Vec<DVector<f64>>,
    us: Vec<DVector<f64>>,
    cost: f64,
    costate: DVector<f64>,
}

fn dense_kkt(stages: &[LqStage], terminal: &LqTerminal, discount: f64, x0: &DVector<f64>) -> Kkt {
    let (n_steps, nx, nu) = (stages.len(), x0.len(), stages[0].lu.len());
    let n_states = (n_steps + 1) * nx;
    let n_primal = n_states + n_steps * nu;
    let n = n_primal + n_states;
    let mut matrix = DMatrix::zeros(n, n);
    let mut rhs = DVector::zeros(n);
    for (t, stage) in stages.iter().enumerate() {
        let weight = discount.powi(t as i32);
        let (x, u) = (t * nx, n_states + t * nu);
        matrix.view_mut((x, x), (nx, nx)).copy_from(&(&stage.lxx * weight));
        matrix.view_mut((u, x), (nu, nx)).copy_from(&(&stage.lux * weight));
        matrix.view_mut((x, u), (nx, nu)).copy_from(&(stage.lux.transpose() * weight));
        matrix.view_mut((u, u), (nu, nu)).copy_from(&(&stage.luu * weight));
        rhs.rows_mut(x, nx).copy_from(&(&stage.lx * -weight));
        rhs.rows_mut(u, nu).copy_from(&(&stage.lu * -weight));
        // The constraint fx x + fu u + f − x⁺ = 0.
        let row = n_primal + (t + 1) * nx;
        matrix.view_mut((row, x), (nx, nx)).copy_from(&stage.fx);
        matrix.view_mut((row, u), (nx, nu)).copy_from(&stage.fu);
        rhs.rows_mut(row, nx).copy_from(&-&stage.f);
    }
    let weight = discount.powi(n_steps as i32);
    let x = n_steps * nx;
    matrix.view_mut((x, x), (nx, nx)).copy_from(&(&terminal.lxx * weight));
    rhs.rows_mut(x, nx).copy_from(&(&terminal.lx * -weight));
    // The constraint x0 − x = 0 of the first state.
    rhs.rows_mut(n_primal, nx).copy_from(&-x0);
    matrix.view_mut((n_primal, 0), (n_states, n_states)).add_assign_diagonal(-1.0);
    let constraints = matrix.rows(n_primal, n_states).columns(0, n_primal).transpose();
    matrix.view_mut((0, n_primal), (n_primal, n_states)).copy_from(&constraints);

    let z = matrix.lu().solve(&rhs).unwrap();
    let xs: Vec<_> = (0..=n_steps).map(|t| z.rows(t * nx, nx).into_owned()).collect();
    let us: Vec<_> = (0..n_steps).map(|t| z.rows(n_states + t * nu, nu).into_owned()).collect();
    let last = &xs[n_steps];
    let end = terminal.l + terminal.lx.dot(last) + 0.5 * last.dot(&(&terminal.lxx * last));
    let cost = (0..n_steps)
        .map(|t| discount.powi(t as i32) * stage_cost(&stages[t], &xs[t], &us[t]))
        .sum::<f64>()
        + weight * end;
    Kkt { xs, us, cost, costate: z.rows(n_primal, nx).into_owned() }
}

trait AddDiagonal {
    fn add_assign_diagonal(&mut self, value: f64);
}

impl AddDiagonal for nalgebra::DMatrixViewMut<'_, f64> {
    fn add_assign_diagonal(&mut self, value: f64) {
        for i in 0..self.nrows() {
            self[(i, i)] += value;
        }
    }
}

/// States and controls that the feedback of `solution` produces.
fn roll_out(
    solution: &FiniteHorizon,
    stages: &[LqStage],
    x0: &DVector<f64>,
) -> (Vec<DVector<f64>>, Vec<DVector<f64>>) {
    let (mut xs, mut us) = (vec![x0.clone()], Vec::new());
    for (t, stage) in stages.iter().enumerate() {
        let u = solution.control(t, &xs[t]);
        xs.push(&stage.fx * &xs[t] + &stage.fu * &u + &stage.f);
        us.push(u);
    }
    (xs, us)
}

/// The residuals of both equations as they stand in textbooks, relative to their largest term.
fn discrete_residual(problem: &StationaryProblem, discount: f64, p: &DMatrix<f64>) -> f64 {
    let StationaryProblem { a, b, q, s, r } = problem;
    let ap = a.transpose() * p * discount;
    let cross = &ap * b + s.transpose();
    let quu = r + b.transpose() * p * b * discount;
    let step = &cross * quu.try_inverse().unwrap() * cross.transpose();
    let apa = ap * a;
    (&apa - &step + q - p).amax() / apa.amax().max(step.amax()).max(q.amax())
}

fn continuous_residual(problem: &StationaryProblem, p: &DMatrix<f64>) -> f64 {
    let StationaryProblem { a, b, q, s, r } = problem;
    let cross = p * b + s.transpose();
    let step = &cross * r.clone().try_inverse().unwrap() * cross.transpose();
    let ap = a.transpose() * p;
    (&ap + ap.transpose() - &step + q).amax() / ap.amax().max(step.amax()).max(q.amax())
}

/// x⁺ = 2x + u with one stage of cost ½x² + ½u².
fn doubling_stage() -> LqStage {
    LqStage {
        fx: dmatrix![2.0],
        fu: dmatrix![1.0],
        f: dvector![0.0],
        l: 0.0,
        lx: dvector![0.0],
        lu: dvector![0.0],
        lxx: dmatrix![1.0],
        lux: dmatrix![0.0],
        luu: dmatrix![1.0],
    }
}

fn scalar_terminal() -> LqTerminal {
    LqTerminal { l: 0.0, lx: dvector![0.0], lxx: dmatrix![1.0] }
}

fn scalar(a: f64, b: f64, q: f64, r: f64) -> StationaryProblem {
    StationaryProblem::new(dmatrix![a], dmatrix![b], dmatrix![q], dmatrix![r])
}

fn double_integrator() -> StationaryProblem {
    let a = dmatrix![0.0, 1.0; 0.0, 0.0];
    StationaryProblem::new(a, dmatrix![0.0; 1.0], DMatrix::identity(2, 2), dmatrix![1.0])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn finite_horizon_equals_the_dense_kkt_solution(
        seed: u64, nx in 1_usize..=40, nu in 1_usize..=10, n_steps in 1_usize..=5,
        discount in 0.5..=1.0,
    ) {
        let mut draw = Draw(seed);
        let stages: Vec<_> = (0..n_steps).map(|_| draw.stage(nx, nu)).collect();
        let terminal = draw.terminal(nx);
        let x0 = draw.vector(nx);
        let solution = finite_horizon(&stages, &terminal, discount).unwrap();
        let kkt = dense_kkt(&stages, &terminal, discount, &x0);
        let (xs, us) = roll_out(&solution, &stages, &x0);
        for (x, expected) in xs.iter().zip(&kkt.xs).chain(us.iter().zip(&kkt.us)) {
            prop_assert!((x - expected).amax() <= 1e-9 * expected.amax().max(1.0));
        }
        let error = (solution.value(0, &x0) - kkt.cost).abs();
        prop_assert!(error <= 1e-9 * kkt.cost.abs().max(1.0), "cost differs by {error:e}");
        let gradient = &solution.vx[0] + &solution.vxx[0] * &x0;
        let error = (&gradient - &kkt.costate).amax();
        prop_assert!(error <= 1e-9 * gradient.amax().max(1.0), "costate differs by {error:e}");
    }

    #[test]
    fn discrete_solves_the_riccati_equation_and_stabilises(
        seed: u64, nx in 1_usize..=40, nu in 1_usize..=10, growth in 0.0..2.0,
        discount in 0.7..=1.0,
    ) {
        let problem = Draw(seed).discrete(nx, nu, growth);
        let regulator = discrete(&problem, discount).unwrap();
        let residual = discrete_residual(&problem, discount, &regulator.p);
        prop_assert!(residual <= 1e-9, "residual {residual:e}");
        prop_assert!(regulator.residual <= 1e-9);
        prop_assert!(regulator.spectral_radius < 1.0 / discount.sqrt());
        prop_assert!(regulator.p == regulator.p.transpose());
    }

    #[test]
    fn continuous_solves_the_riccati_equation_and_stabilises(
        seed: u64, nx in 1_usize..=40, nu in 1_usize..=10, growth in 0.0..2.0,
    ) {
        let problem = Draw(seed).continuous(nx, nu, growth);
        let regulator = continuous(&problem).unwrap();
        let residual = continuous_residual(&problem, &regulator.p);
        prop_assert!(residual <= 1e-9, "residual {residual:e}");
        prop_assert!(regulator.residual <= 1e-9);
        prop_assert!(regulator.spectral_abscissa < 0.0);
        prop_assert!(regulator.p == regulator.p.transpose());
    }

    #[test]
    fn value_of_the_simulated_closed_loop_is_the_quadratic_form(
        seed: u64, nx in 1_usize..=8, nu in 1_usize..=3, discount in 0.8..=1.0,
    ) {
        let mut draw = Draw(seed);
        let problem = draw.discrete(nx, nu, 1.0);
        let regulator = discrete(&problem, discount).unwrap();
        let x0 = draw.vector(nx);
        let (mut x, mut sum, mut weight) = (x0.clone(), 0.0, 1.0);
        while weight * x.norm_squared() > 1e-26 * x0.norm_squared() {
            let u = &regulator.gains * &x;
            sum += weight
                * (0.5 * x.dot(&(&problem.q * &x))
                    + u.dot(&(&problem.s * &x))
                    + 0.5 * u.dot(&(&problem.r * &u)));
            x = &problem.a * x + &problem.b * u;
            weight *= discount;
        }
        let value = 0.5 * x0.dot(&(&regulator.p * &x0));
        let scale = regulator.p.norm() * x0.norm_squared();
        prop_assert!((sum - value).abs() <= 1e-10 * scale, "{sum} is not {value}");
    }

    #[test]
    fn a_mode_out_of_reach_is_found_in_any_coordinates(
        seed: u64, nx in 2_usize..=12, mode in 1.05..3.0,
    ) {
        let mut draw = Draw(seed);
        let mut a = draw.matrix(nx, nx) * 0.3;
        a.row_mut(nx - 1).fill(0.0);
        a[(nx - 1, nx - 1)] = mode;
        let mut b = draw.matrix(nx, 2);
        b.row_mut(nx - 1).fill(0.0);
        let turn = draw.orthogonal(nx);
        let problem = StationaryProblem::new(
            turn.transpose() * a * &turn,
            turn.transpose() * b,
            DMatrix::identity(nx, nx),
            DMatrix::identity(2, 2),
        );
        prop_assert_eq!(discrete(&problem, 1.0), Err(LqrError::NotStabilizable));
        prop_assert_eq!(continuous(&problem), Err(LqrError::NotStabilizable));
    }
}

#[test]
fn every_node_holds_the_value_of_the_rest_of_the_problem() {
    let mut draw = Draw(5);
    let stages: Vec<_> = (0..4).map(|_| draw.stage(3, 2)).collect();
    let terminal = draw.terminal(3);
    let whole = finite_horizon(&stages, &terminal, 0.9).unwrap();
    let rest = finite_horizon(&stages[2..], &terminal, 0.9).unwrap();
    assert_eq!((whole.v[2], &whole.vx[2], &whole.vxx[2]), (rest.v[0], &rest.vx[0], &rest.vxx[0]));
    assert_eq!((whole.v.len(), whole.k.len()), (5, 4));
}

#[test]
fn one_scalar_step_by_hand() {
    // V₁ = ½x², so quu = 2, qux = 2, qxx = 5 and u = −x, V₀ = ½·3x².
    let solution = finite_horizon(&[doubling_stage()], &scalar_terminal(), 1.0).unwrap();
    assert!((solution.gains[0][(0, 0)] + 1.0).abs() < 1e-15);
    assert!((solution.vxx[0][(0, 0)] - 3.0).abs() < 1e-15);
}

#[test]
fn discrete_scalar_closed_form() {
    for (a, b, q, r) in [(2.0, 1.0, 1.0, 1.0), (0.5, 3.0, 2.0, 0.1), (-1.0, 0.1, 1e-2, 1.0)] {
        let regulator = discrete(&scalar(a, b, q, r), 1.0).unwrap();
        // b²p² + (r − a²r − b²q) p − qr = 0
        let linear: f64 = r - a * a * r - b * b * q;
        let p = ((linear * linear + 4.0 * b * b * q * r).sqrt() - linear) / (2.0 * b * b);
        let gain = -a * b * p / (r + b * b * p);
        assert!((regulator.p[(0, 0)] / p - 1.0).abs() < 1e-12, "{a}");
        assert!((regulator.gains[(0, 0)] / gain - 1.0).abs() < 1e-12, "{a}");
        assert!((regulator.spectral_radius - (a + b * gain).abs()).abs() < 1e-12, "{a}");
    }
}

#[test]
fn continuous_scalar_closed_form() {
    for (a, b, q, r) in [(2.0, 1.0, 1.0, 1.0), (-0.5, 3.0, 2.0, 0.1), (0.0, 1e-3, 1e-4, 1e2)] {
        let regulator = continuous(&scalar(a, b, q, r)).unwrap();
        let pole: f64 = -(a * a + b * b * q / r).sqrt();
        let p = r * (a - pole) / (b * b);
        assert!((regulator.p[(0, 0)] / p - 1.0).abs() < 1e-12, "{a}");
        assert!((regulator.gains[(0, 0)] * r / (-b * p) - 1.0).abs() < 1e-12, "{a}");
        assert!((regulator.spectral_abscissa / pole - 1.0).abs() < 1e-12, "{a}");
    }
}

#[test]
fn continuous_double_integrator() {
    let regulator = continuous(&double_integrator()).unwrap();
    let root = 3.0_f64.sqrt();
    assert!(relative_difference(&regulator.p, &dmatrix![root, 1.0; 1.0, root]) < 1e-14);
    assert!(relative_difference(&regulator.gains, &dmatrix![-1.0, -root]) < 1e-14);
    assert!((regulator.spectral_abscissa + 0.5 * root).abs() < 1e-13);
}

#[test]
fn continuous_double_integrator_in_awkward_units() {
    // Micrometres and kiloseconds: P transforms as D P D, and so must ours.
    let (length, time) = (1e-6, 1e3);
    let d = DMatrix::from_diagonal(&dvector![length, length / time]);
    let inverse = DMatrix::from_diagonal(&dvector![1.0 / length, time / length]);
    let plain = double_integrator();
    let scaled = StationaryProblem {
        a: &inverse * &plain.a * &d,
        b: &inverse * &plain.b,
        q: &d * &plain.q * &d,
        ..plain
    };
    let p = inverse.clone() * continuous(&scaled).unwrap().p * inverse;
    let root = 3.0_f64.sqrt();
    assert!(relative_difference(&p, &dmatrix![root, 1.0; 1.0, root]) < 1e-11);
}

#[test]
fn poles_far_apart_and_close_to_the_imaginary_axis() {
    // Independent scalar systems: fast, slow, and hardly damped by a small weight.
    let a = DMatrix::from_diagonal(&dvector![1e4, -1e-3, 0.0]);
    let q = DMatrix::from_diagonal(&dvector![1.0, 1.0, 1e-12]);
    let identity = DMatrix::identity(3, 3);
    let problem = StationaryProblem::new(a.clone(), identity.clone(), q.clone(), identity);
    let regulator = continuous(&problem).unwrap();
    for i in 0..3 {
        let (a, q): (f64, f64) = (a[(i, i)], q[(i, i)]);
        // The root of p² − 2ap − q that does not suffer from cancellation.
        let root = (a * a + q).sqrt();
        let p = if a > 0.0 { a + root } else { q / (root - a) };
        assert!((regulator.p[(i, i)] / p - 1.0).abs() < 1e-6, "mode {i}");
    }
    assert!((regulator.spectral_abscissa / -1e-6 - 1.0).abs() < 1e-5);
}

#[test]
fn cheap_control_costs_no_digits() {
    let mut draw = Draw(2);
    let problem = StationaryProblem::new(
        draw.matrix(20, 20) * 0.3,
        draw.matrix(20, 4),
        draw.hessian(20, 0.1),
        DMatrix::identity(4, 4) * 1e-8,
    );
    let p = discrete(&problem, 1.0).unwrap().p;
    assert!(discrete_residual(&problem, 1.0, &p) < 1e-13);
}

#[test]
fn discrete_is_the_limit_of_the_finite_horizon() {
    let problem = Draw(3).discrete(6, 2, 1.0);
    let regulator = discrete(&problem, 0.95).unwrap();
    let stage = LqStage {
        fx: problem.a,
        fu: problem.b,
        f: DVector::zeros(6),
        l: 0.0,
        lx: DVector::zeros(6),
        lu: DVector::zeros(2),
        lxx: problem.q,
        lux: problem.s,
        luu: problem.r,
    };
    let terminal = LqTerminal { l: 0.0, lx: DVector::zeros(6), lxx: DMatrix::zeros(6, 6) };
    let solution = finite_horizon(&vec![stage; 400], &terminal, 0.95).unwrap();
    assert!(relative_difference(&solution.vxx[0], &regulator.p) < 1e-11);
    assert!(relative_difference(&solution.gains[0], &regulator.gains) < 1e-11);
}

#[test]
fn continuous_is_the_first_order_limit_of_euler_steps() {
    let problem = Draw(8).continuous(5, 2, 1.0);
    let p = continuous(&problem).unwrap().p;
    let error = |dt: f64| {
        let steps = StationaryProblem {
            a: DMatrix::identity(5, 5) + &problem.a * dt,
            b: &problem.b * dt,
            q: &problem.q * dt,
            s: &problem.s * dt,
            r: &problem.r * dt,
        };
        relative_difference(&discrete(&steps, 1.0).unwrap().p, &p)
    };
    let (coarse, fine) = (error(2e-4), error(1e-4));
    assert!(fine < 1e-3, "{fine:e}");
    assert!((coarse / fine - 2.0).abs() < 0.01, "{}", coarse / fine);
}

#[test]
fn doubling_takes_few_iterations() {
    assert!(discrete(&Draw(1).discrete(40, 10, 1.0), 1.0).unwrap().iterations <= 12);
    assert!(continuous(&Draw(1).continuous(40, 10, 1.0)).unwrap().iterations <= 12);
}

#[test]
fn a_stable_system_without_cost_is_left_alone() {
    let discrete = discrete(&scalar(0.5, 1.0, 0.0, 1.0), 1.0).unwrap();
    assert_eq!((discrete.p[(0, 0)], discrete.gains[(0, 0)]), (0.0, 0.0));
    assert!((discrete.spectral_radius - 0.5).abs() < 1e-15);
    let continuous = continuous(&scalar(-0.5, 1.0, 0.0, 1.0)).unwrap();
    assert_eq!((continuous.p[(0, 0)], continuous.gains[(0, 0)]), (0.0, 0.0));
    assert!((continuous.spectral_abscissa + 0.5).abs() < 1e-14);
}

#[test]
fn a_discount_admits_growth_and_the_radius_says_so() {
    // 0.98 < 1/√0.5, so doing nothing has a finite cost even for a = 1.2.
    let regulator = discrete(&scalar(1.2, 0.0, 1.0, 1.0), 0.5).unwrap();
    assert!((regulator.spectral_radius - 1.2).abs() < 1e-14);
    assert!((regulator.p[(0, 0)] - 1.0 / (1.0 - 0.72)).abs() < 1e-13);
    assert_eq!(discrete(&scalar(1.2, 0.0, 1.0, 1.0), 1.0), Err(LqrError::NotStabilizable));
}

#[test]
fn an_indefinite_weight_is_accepted_where_a_regulator_exists() {
    // p² − 2ap − q = 0 with a = −2, q = −1.
    let p = continuous(&scalar(-2.0, 1.0, -1.0, 1.0)).unwrap().p[(0, 0)];
    assert!((p - (3.0_f64.sqrt() - 2.0)).abs() < 1e-14);
    // With q = −5 the Hamiltonian matrix has imaginary eigenvalues.
    let unbounded = scalar(-2.0, 1.0, -5.0, 1.0);
    assert_eq!(continuous(&unbounded), Err(LqrError::NoStabilizingSolution));
}

#[test]
fn a_mode_free_of_cost_that_does_not_decay_has_no_regulator() {
    for a in [1.0, 2.0] {
        let problem = scalar(a, 1.0, 0.0, 1.0);
        assert_eq!(discrete(&problem, 1.0), Err(LqrError::NoStabilizingSolution), "{a}");
    }
    let mut unseen_position = double_integrator();
    unseen_position.q[(0, 0)] = 0.0;
    assert_eq!(continuous(&unseen_position), Err(LqrError::NoStabilizingSolution));
    let out_of_reach = scalar(0.0, 0.0, 1.0, 1.0);
    assert_eq!(continuous(&out_of_reach), Err(LqrError::NotStabilizable));
}

#[test]
fn errors_of_the_finite_horizon_name_matrix_and_stage() {
    let text = |change: &dyn Fn(&mut LqStage)| {
        let mut stages = vec![doubling_stage(); 3];
        change(&mut stages[1]);
        finite_horizon(&stages, &scalar_terminal(), 1.0).unwrap_err().to_string()
    };
    assert_eq!(text(&|s| s.fu = DMatrix::zeros(2, 1)), "`fu` of stage 1 is 2×1, needs 1×1");
    assert_eq!(text(&|s| s.lx = DVector::zeros(3)), "`lx` of stage 1 is 3×1, needs 1×1");
    assert_eq!(
        text(&|s| s.f[0] = f64::NAN),
        "`f` of stage 1 has the entry NaN; every entry must be finite"
    );
    // V₂ = ½·3x².
    assert_eq!(
        text(&|s| s.luu[(0, 0)] = -4.0),
        "`quu` of stage 1 is not positive definite (smallest eigenvalue -1.00e0); increase the \
         weight of the control"
    );
    assert_eq!(
        finite_horizon(&[], &scalar_terminal(), 1.5).unwrap_err().to_string(),
        "the discount factor is 1.5, but must lie in (0, 1]"
    );
    let overflow = text(&|s| s.fx[(0, 0)] = 1e200);
    assert!(overflow.starts_with("`vxx` of stage 1 has the entry "), "{overflow}");
}

#[test]
fn errors_of_the_stationary_regulators_say_what_to_do() {
    let text = |change: &dyn Fn(&mut StationaryProblem)| {
        let mut problem = double_integrator();
        // Growing in continuous and in discrete time.
        problem.a.fill_diagonal(2.0);
        change(&mut problem);
        let found = discrete(&problem, 1.0).unwrap_err();
        assert_eq!(continuous(&problem).unwrap_err(), found);
        found.to_string()
    };
    assert_eq!(text(&|p| p.b = DMatrix::zeros(3, 1)), "`b` is 3×1, needs 2×1");
    assert_eq!(text(&|p| p.a = DMatrix::zeros(0, 0)), "`a` is 0×0, needs 1×1");
    assert_eq!(text(&|p| p.s = DMatrix::zeros(2, 1)), "`s` is 2×1, needs 1×2");
    assert_eq!(
        text(&|p| p.a[(0, 0)] = f64::INFINITY),
        "`a` has the entry inf; every entry must be finite"
    );
    assert_eq!(
        text(&|p| p.q[(0, 1)] = 0.5),
        "`q` differs from its transpose by 5.00e-1; pass its symmetric part, which gives the same \
         cost"
    );
    assert_eq!(
        text(&|p| p.r[(0, 0)] = 0.0),
        "`r` is not positive definite (smallest eigenvalue 0.00e0); increase the weight of the \
         control"
    );
    assert!(text(&|p| p.b.fill(0.0)).starts_with("no gains stabilise (`a`, `b`)"));
    assert!(text(&|p| p.q.fill(0.0)).ends_with("add weight to `q`"));
}
