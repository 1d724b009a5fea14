//! Derivatives of single shooting: sweeps against each other and against differences.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::lq::Lq;
use common::shooting::{AnyProblem, Case, cases};
use ddp::shooting::{Route, Shooting, Step};
use ddp::{DdpError, Problem};
use dynamics::{
    AnyCost, AnyDynamics, AnyTerminalCost, Cost, CostExpansion, QuadraticCost, Stream, TerminalCost,
};
use nalgebra::{DMatrix, DVector, dvector};

type AnyShooting<'a> = Shooting<'a, &'a dyn AnyDynamics, &'a dyn AnyCost, &'a dyn AnyTerminalCost>;

fn rolled<'a>(case: &Case, problem: AnyProblem<'a>) -> AnyShooting<'a> {
    let mut shooting = Shooting::new(problem).unwrap();
    shooting.rollout(&case.x0, &case.us).unwrap();
    shooting
}

fn stacked(us: &[DVector<f64>]) -> DVector<f64> {
    DVector::from_iterator(us.len() * us[0].len(), us.iter().flat_map(|u| u.iter().copied()))
}

fn unstacked(u: &DVector<f64>, nu: usize) -> Vec<DVector<f64>> {
    u.as_slice().chunks_exact(nu).map(DVector::from_column_slice).collect()
}

fn random_vector(seed: u64, n: usize) -> DVector<f64> {
    let mut s = Stream::new(seed, "shooting vector", 0);
    DVector::from_fn(n, |_, _| s.normal())
}

/// Relative to the larger of 1 and the largest entry expected.
fn assert_close(name: &str, found: &DMatrix<f64>, expected: &DMatrix<f64>, tolerance: f64) {
    let error = (found - expected).amax() / expected.amax().max(1.0);
    assert!(error <= tolerance, "{name}: {error:e}");
}

fn column(values: &[f64]) -> DMatrix<f64> {
    DMatrix::from_column_slice(values.len(), 1, values)
}

/// Derivatives of J by all states x₁ … x_T and all controls, each for itself.
struct Partial {
    jx: DVector<f64>,
    ju: DVector<f64>,
    jxx: DMatrix<f64>,
    jux: DMatrix<f64>,
    juu: DMatrix<f64>,
}

fn partial(problem: &AnyProblem<'_>, xs: &[DVector<f64>], us: &[DVector<f64>]) -> Partial {
    let (n, m, horizon) = (problem.cost.ndx(), problem.cost.nu(), us.len());
    let (nn, mm) = (horizon * n, horizon * m);
    let mut out = Partial {
        jx: DVector::zeros(nn),
        ju: DVector::zeros(mm),
        jxx: DMatrix::zeros(nn, nn),
        jux: DMatrix::zeros(mm, nn),
        juu: DMatrix::zeros(mm, mm),
    };
    let (mut cost_ws, mut terminal_ws) = (problem.cost.workspace(), problem.terminal.workspace());
    let mut weight = 1.0;
    for t in 0..=horizon {
        let mut at = CostExpansion::zeros(n, m);
        if t < horizon {
            problem.cost.expand_stage(&mut cost_ws, t, &xs[t], &us[t], &mut at);
            out.ju.rows_mut(t * m, m).copy_from(&(&at.lu * weight));
            out.juu.view_mut((t * m, t * m), (m, m)).copy_from(&(&at.luu * weight));
        } else {
            problem.terminal.expand_terminal(&mut terminal_ws, &xs[t], &mut at);
        }
        if t > 0 {
            let row = (t - 1) * n;
            out.jx.rows_mut(row, n).copy_from(&(&at.lx * weight));
            out.jxx.view_mut((row, row), (n, n)).copy_from(&(&at.lxx * weight));
            if t < horizon {
                out.jux.view_mut((t * m, row), (m, n)).copy_from(&(&at.lux * weight));
            }
        }
        weight *= problem.discount;
    }
    out
}

#[test]
fn the_adjoint_gradient_is_the_direct_one() {
    for case in cases() {
        let parts = case.parts();
        let problem = case.problem(&parts);
        let mut shooting = rolled(&case, problem);
        let s = shooting.direct().unwrap();
        let Partial { jx, ju, .. } = partial(&problem, shooting.xs(), shooting.us());
        let expected = column((ju + s.tr_mul(&jx)).as_slice());
        assert_close(case.name, &column(shooting.gradient().unwrap()), &expected, 1e-12);
    }
}

#[test]
fn the_gradient_is_that_of_central_differences() {
    for case in cases() {
        let parts = case.parts();
        let mut shooting = rolled(&case, case.problem(&parts));
        let (nu, u) = (case.us[0].len(), stacked(&case.us));
        let gradient = column(shooting.gradient().unwrap());
        let h = 1e-5;
        let differences: Vec<f64> = (0..u.len())
            .map(|i| {
                let mut at = |step: f64| {
                    let mut moved = u.clone();
                    moved[i] += step;
                    shooting.rollout(&case.x0, &unstacked(&moved, nu)).unwrap()
                };
                (at(h) - at(-h)) / (2.0 * h)
            })
            .collect();
        assert_close(case.name, &gradient, &column(&differences), 1e-7);
    }
}

#[test]
fn states_depend_on_earlier_controls_only() {
    for case in cases() {
        let parts = case.parts();
        let mut shooting = rolled(&case, case.problem(&parts));
        let s = shooting.direct().unwrap();
        let (nu, horizon) = (case.us[0].len(), case.us.len());
        let n = s.nrows() / horizon;
        for t in 1..=horizon {
            let row = s.view(((t - 1) * n, 0), (n, horizon * nu));
            assert!(row.columns(t * nu, (horizon - t) * nu).iter().all(|entry| *entry == 0.0));
            assert!(
                row.columns((t - 1) * nu, nu).iter().any(|entry| *entry != 0.0),
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn products_are_those_with_the_matrices() {
    for case in cases() {
        let parts = case.parts();
        let problem = case.problem(&parts);
        let mut shooting = rolled(&case, problem);
        let s = shooting.direct().unwrap();
        let p = partial(&problem, shooting.xs(), shooting.us());
        let cross = &p.jux * &s;
        let expected = s.tr_mul(&p.jxx) * &s + &cross + cross.transpose() + &p.juu;
        let h = shooting.gauss_newton_hessian().unwrap();
        assert_close(case.name, &h, &expected, 1e-12);
        let z = random_vector(1, s.ncols());
        let (mut sz, mut hz) = (vec![0.0; s.nrows()], vec![0.0; s.ncols()]);
        shooting.tangent(z.as_slice(), &mut sz).unwrap();
        shooting.gauss_newton_product(z.as_slice(), &mut hz).unwrap();
        assert_close(case.name, &column(&sz), &column((&s * &z).as_slice()), 1e-12);
        assert_close(case.name, &column(&hz), &column((&h * &z).as_slice()), 1e-12);
        let exact = shooting.exact_hessian().unwrap();
        shooting.exact_product(z.as_slice(), &mut hz).unwrap();
        assert_close(case.name, &column(&hz), &column((&exact * &z).as_slice()), 1e-12);
        // The Gauss–Newton product is itself again after the exact one.
        shooting.gauss_newton_product(z.as_slice(), &mut hz).unwrap();
        assert_close(case.name, &column(&hz), &column((&h * &z).as_slice()), 1e-12);
    }
}

#[test]
fn the_exact_hessian_is_symmetric_and_that_of_differences_of_the_gradient() {
    for case in cases() {
        let parts = case.parts();
        let mut shooting = rolled(&case, case.problem(&parts));
        let exact = shooting.exact_hessian().unwrap();
        let gauss_newton = shooting.gauss_newton_hessian().unwrap();
        assert_close(case.name, &exact, &exact.transpose(), 1e-12);
        let (nu, u) = (case.us[0].len(), stacked(&case.us));
        let h = 1e-5;
        let mut differences = DMatrix::zeros(u.len(), u.len());
        for i in 0..u.len() {
            let mut at = |step: f64| {
                let mut moved = u.clone();
                moved[i] += step;
                shooting.rollout(&case.x0, &unstacked(&moved, nu)).unwrap();
                DVector::from_column_slice(shooting.gradient().unwrap())
            };
            differences.set_column(i, &((at(h) - at(-h)) / (2.0 * h)));
        }
        assert_close(case.name, &exact, &differences, 1e-6);
        let curvature = (&exact - &gauss_newton).amax() / exact.amax();
        assert_eq!(curvature < 1e-8, case.name == "linear", "{}: {curvature:e}", case.name);
    }
}

#[test]
fn the_gauss_newton_hessian_is_at_least_that_of_the_controls() {
    for case in cases().iter().filter(|case| case.name != "linear") {
        let parts = case.parts();
        let problem = case.problem(&parts);
        let mut shooting = rolled(case, problem);
        let h = shooting.gauss_newton_hessian().unwrap();
        let r = partial(&problem, shooting.xs(), shooting.us()).juu;
        let smallest = (&h - r).symmetric_eigenvalues().min();
        assert!(smallest > -1e-12 * h.amax(), "{}: {smallest:e}", case.name);
    }
}

/// u = k + K x, and J by K and by x₀.
#[test]
fn back_propagation_through_a_policy_is_that_of_central_differences() {
    for case in cases() {
        let parts = case.parts();
        let mut shooting = Shooting::new(case.problem(&parts)).unwrap();
        let (nu, nx) = (case.us[0].len(), case.x0.len());
        let gains = DMatrix::from_column_slice(nu, nx, random_vector(3, nu * nx).as_slice()) * 0.1;
        let mut cost = |gains: &DMatrix<f64>, x0: &DVector<f64>| {
            shooting.rollout_policy(x0, |t, x, u| *u = &case.us[t] * 0.1 + gains * x).unwrap()
        };
        let h = 1e-5;
        let by_gains = DMatrix::from_fn(nu, nx, |i, j| {
            let mut at = |step: f64| {
                let mut moved = gains.clone();
                moved[(i, j)] += step;
                cost(&moved, &case.x0)
            };
            (at(h) - at(-h)) / (2.0 * h)
        });
        let by_start = DMatrix::from_fn(nx, 1, |i, _| {
            let mut at = |step: f64| {
                let mut moved = case.x0.clone();
                moved[i] += step;
                cost(&gains, &moved)
            };
            (at(h) - at(-h)) / (2.0 * h)
        });
        let before = cost(&gains, &case.x0);
        let mut found = DMatrix::zeros(nu, nx);
        let nus = shooting
            .gradient_with_policy(|_, x, nu, lambda| {
                let nu = DVector::from_column_slice(nu);
                found += &nu * x.transpose();
                for (lambda, add) in lambda.iter_mut().zip((gains.tr_mul(&nu)).iter()) {
                    *lambda += add;
                }
            })
            .unwrap()
            .to_vec();
        assert_close(case.name, &found, &by_gains, 1e-6);
        assert_close(case.name, &column(&shooting.costates()[..nx]), &by_start, 1e-6);
        // The gradient of the open loop is another one, with the roll-out the same.
        let us = shooting.us().to_vec();
        assert!(shooting.gradient().unwrap() != nus);
        let open = shooting.gradient().unwrap().to_vec();
        assert_eq!(shooting.rollout(&case.x0, &us).unwrap().to_bits(), before.to_bits());
        assert_eq!(shooting.gradient().unwrap(), open);
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let lq = Lq::random(3, 2, 4, 1);
    let mut shooting = Shooting::new(lq.problem()).unwrap();
    assert_eq!(shooting.gradient(), Err(DdpError::NoRollout));
    assert!(matches!(
        shooting.improve(Step::FirstOrder { step_length: 0.05 }),
        Err(DdpError::NoRollout)
    ));
    let (x0, us) = (dvector![0.1, 0.2, 0.3], vec![dvector![0.0, 0.0]; 4]);
    let short = DdpError::GuessLength { what: "controls", found: 3, needed: 4 };
    assert_eq!(shooting.rollout(&x0, &us[1..]), Err(short));
    assert!(matches!(shooting.rollout(&dvector![1.0], &us), Err(DdpError::Input(_))));
    let wrong = shooting.rollout(&x0, &vec![dvector![0.0]; 4]).unwrap_err();
    assert_eq!(wrong.to_string(), "`random linear system` needs 2 for a control, found 1");
    let failed =
        shooting.rollout_policy(&x0, |t, _, u| u.fill(if t == 2 { f64::NAN } else { 0.0 }));
    assert_eq!(failed, Err(DdpError::NotFinite { what: "the control", t: 2 }));
    assert!(shooting.cost().is_nan());
    let message = shooting.direct().unwrap_err().to_string();
    assert!(message.starts_with("there is no roll-out; call `rollout`"), "{message}");
    shooting.rollout(&x0, &us).unwrap();
    assert!(shooting.tangent(&[0.0; 3], &mut [0.0; 12]).is_err());
    assert!(shooting.gauss_newton_product(&[0.0; 8], &mut [0.0; 7]).is_err());
}

#[test]
fn a_hessian_without_a_minimum_is_an_error_by_every_route() {
    let parts = common::UnicycleProblem::new(1.0, 1.0);
    let cost = QuadraticCost::new(vec![0.0; 3], vec![0.5; 3], vec![-1.0, -20.0]).unwrap();
    let problem = Problem { cost: &cost, ..parts.problem(6) };
    let mut shooting = Shooting::new(problem).unwrap();
    shooting.rollout(&dvector![-1.0, -1.0, 1.0], &vec![dvector![0.1, 0.1]; 6]).unwrap();
    let gradients = Route::ConjugateGradient { tolerance: 1e-9, max_iterations: 100 };
    for route in [Route::Dense, Route::Riccati, gradients] {
        let error = shooting.second_order_step(route).unwrap_err();
        assert_eq!(error, DdpError::Indefinite { route: route.name() });
    }
    let wild = Route::ConjugateGradient { tolerance: 0.0, max_iterations: 1 };
    assert!(matches!(shooting.second_order_step(wild), Err(DdpError::Setting { .. })));
}
