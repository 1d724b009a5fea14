//! Derivatives of a step: against differences, dual numbers, and each other.

use dynamics::mass_spring::{End, Integration, Law, MassSpring, Scheme, Startup};
use dynamics::{Dynamics, HessianProduct, Linearization, Plant, StepDerivative, Stream};
use nalgebra::{DMatrix, DVector};
use num_dual::Dual64;
use proptest::prelude::*;

use crate::networks::{Case, N_CASES, case, free, oscillator, spring};
use crate::residual::residual;

/// Jacobians by Richardson-extrapolated differences in the tangent space.
fn differences(model: &MassSpring, x: &DVector<f64>, u: &DVector<f64>) -> Linearization {
    let (ndx, mut ws) = (model.ndx(), model.workspace());
    let mut out = Linearization::of(model);
    let mut slope = |column: usize, h: f64| {
        let mut ends = [x.clone(), x.clone()];
        for (end, sign) in ends.iter_mut().zip([1.0, -1.0]) {
            let (mut dx, mut u) = (DVector::zeros(ndx), u.clone());
            if column < ndx {
                dx[column] = sign * h;
            } else {
                u[column - ndx] += sign * h;
            }
            let (mut moved, mut next) = (x.clone(), x.clone());
            model.states().integrate(x, &dx, &mut moved);
            model.step(&mut ws, &moved, &u, &mut next).unwrap();
            *end = next;
        }
        let mut change = DVector::zeros(ndx);
        model.states().difference(&ends[1], &ends[0], &mut change);
        change / (2.0 * h)
    };
    for column in 0..ndx + model.nu() {
        let best = (slope(column, 2e-5) * 4.0 - slope(column, 4e-5)) / 3.0;
        if column < ndx {
            out.fx.set_column(column, &best);
        } else {
            out.fu.set_column(column - ndx, &best);
        }
    }
    out
}

fn relative(found: &DMatrix<f64>, expected: &DMatrix<f64>) -> f64 {
    (found - expected).amax() / expected.amax().max(1.0)
}

fn linearized(Case { model, x, u }: &Case) -> Linearization {
    let (ndx, nu) = (model.ndx(), model.nu());
    let mut out = Linearization {
        fx: DMatrix::repeat(ndx, ndx, f64::NAN),
        fu: DMatrix::repeat(ndx, nu, f64::NAN),
    };
    model.linearize(&mut model.workspace(), x, u, &mut out).unwrap();
    out
}

fn factored(Case { model, x, u }: &Case) -> (DVector<f64>, StepDerivative) {
    let (mut next, mut out) = (x.clone(), model.new_derivative());
    model.derivative(&mut model.workspace(), x, u, &mut next, &mut out).unwrap();
    (next, out)
}

/// Second derivatives of λ·f in the stacked [x, u], by Richardson-extrapolated differences of the
/// Jacobians.
fn second_differences(Case { model, x, u }: &Case, lambda: &DVector<f64>) -> DMatrix<f64> {
    let (ndx, nu) = (model.ndx(), model.nu());
    let gradient = |column: usize, h: f64| {
        let (mut dx, mut u) = (DVector::zeros(ndx), u.clone());
        if column < ndx {
            dx[column] = h;
        } else {
            u[column - ndx] += h;
        }
        let mut moved = x.clone();
        model.states().integrate(x, &dx, &mut moved);
        let jacobian = linearized(&Case { model: model.clone(), x: moved, u });
        let by_x = jacobian.fx.tr_mul(lambda);
        let by_u = jacobian.fu.tr_mul(lambda);
        DVector::from_iterator(ndx + nu, by_x.iter().chain(by_u.iter()).copied())
    };
    let mut out = DMatrix::zeros(ndx + nu, ndx + nu);
    for column in 0..ndx + nu {
        let slope = |h: f64| (gradient(column, h) - gradient(column, -h)) / (2.0 * h);
        out.set_column(column, &((slope(1e-5) * 4.0 - slope(2e-5)) / 3.0));
    }
    out
}

/// Whether a one-sided spring is so near a knot of its law that differences reach over it.
fn near_a_knot(Case { model, x, u }: &Case) -> bool {
    let mut next = x.clone();
    model.step(&mut model.workspace(), x, u, &mut next).unwrap();
    let (layout, d) = (model.layout(), model.spec().dimension);
    model.spec().springs.iter().any(|spring| {
        let Law::Unilateral { smoothing } = spring.law else { return false };
        let [a, b] = spring.ends.map(|end| match end {
            End::Mass(i) => &next.as_slice()[d * i..][..d],
            End::Handle(i) => &next.as_slice()[layout.handles()][d * i..][..d],
        });
        let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
        let stretch = square.sqrt() - spring.rest_length;
        stretch.abs() < 5e-4 || (stretch + smoothing).abs() < 5e-4
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn jacobians_equal_differences(which in 0..N_CASES, seed in 0..10_000_u64) {
        let case = case(which, seed);
        prop_assume!(!near_a_knot(&case));
        let (found, expected) = (linearized(&case), differences(&case.model, &case.x, &case.u));
        prop_assert!(relative(&found.fx, &expected.fx) < 1e-6);
        prop_assert!(relative(&found.fu, &expected.fu) < 1e-6);
    }

    #[test]
    fn the_residual_of_the_formulas_stays_zero_along_the_jacobians_by_dual_numbers(
        which in 0..N_CASES, seed in 0..10_000_u64,
    ) {
        let case = case(which, seed);
        let Case { model, x, u } = &case;
        let jacobian = linearized(&case);
        let (next, _) = factored(&case);
        let (layout, ndx) = (model.layout(), model.ndx());
        let start = layout.flag().is_some_and(|flag| x[flag] > 0.5);
        for input in 0..ndx + model.nu() {
            let dual = |value: f64, slope: f64| Dual64::new(value, slope);
            let seed = |value: &f64, at| dual(*value, if at == input { 1.0 } else { 0.0 });
            let y: Vec<_> = x.iter().take(ndx).enumerate().map(|(i, v)| seed(v, i)).collect();
            let a: Vec<_> = u.iter().enumerate().map(|(j, v)| seed(v, ndx + j)).collect();
            let column = |row| {
                if input < ndx { jacobian.fx[(row, input)] } else { jacobian.fu[(row, input - ndx)] }
            };
            let x_next: Vec<_> = (0..layout.n).map(|i| dual(next[i], column(i))).collect();
            // The terms that cancel are as large as cm, k and what the input is multiplied by.
            let scale = 1e4;
            for r in residual(model, &x_next, &y, &a, start) {
                prop_assert!(r.re.abs() < 1e-9, "residual {}", r.re);
                prop_assert!(r.eps.abs() < 1e-12 * scale, "slope {} of input {input}", r.eps);
            }
        }
    }

    #[test]
    fn the_factored_derivative_is_that_of_the_same_step(
        which in 0..N_CASES, seed in 0..10_000_u64,
    ) {
        let case = case(which, seed);
        let Case { model, x, u } = &case;
        let (next, derivative) = factored(&case);
        let mut stepped = x.clone();
        model.step(&mut model.workspace(), x, u, &mut stepped).unwrap();
        prop_assert_eq!(&next, &stepped);
        let jacobian = linearized(&case);
        let mut dense = Linearization::of(model);
        derivative.dense(&mut dense);
        prop_assert_eq!(&dense, &jacobian);

        let (ndx, nu) = (model.ndx(), model.nu());
        let mut stream = Stream::new(seed, "directions", 0);
        let mut draw = |n| DVector::from_fn(n, |_, _| stream.normal());
        let (dx, du, lambda) = (draw(ndx), draw(nu), draw(ndx));
        let mut scratch = derivative.scratch();
        let mut out = DVector::repeat(ndx, f64::NAN);
        derivative.tangent(&mut scratch, dx.as_slice(), du.as_slice(), out.as_mut_slice());
        let expected = &jacobian.fx * &dx + &jacobian.fu * &du;
        prop_assert!((&out - &expected).amax() < 1e-12 * expected.amax().max(1.0));

        let (mut by_x, mut by_u) = (DVector::repeat(ndx, f64::NAN), DVector::repeat(nu, f64::NAN));
        let (slots_x, slots_u) = (by_x.as_mut_slice(), by_u.as_mut_slice());
        derivative.adjoint(&mut scratch, lambda.as_slice(), slots_x, slots_u);
        let (expected_x, expected_u) = (jacobian.fx.tr_mul(&lambda), jacobian.fu.tr_mul(&lambda));
        prop_assert!((by_x - &expected_x).amax() < 1e-12 * expected_x.amax().max(1.0));
        prop_assert!((by_u - &expected_u).amax() < 1e-12 * expected_u.amax().max(1.0));

        // Matrices give the same products.
        let matrices = StepDerivative::Dense(dense);
        matrices.tangent(&mut scratch, dx.as_slice(), du.as_slice(), out.as_mut_slice());
        prop_assert!((&out - &expected).amax() < 1e-12 * expected.amax().max(1.0));
    }

    #[test]
    fn the_hessian_product_equals_differences_of_jacobians(
        which in 0..N_CASES, seed in 0..10_000_u64,
    ) {
        let case = case(which, seed);
        prop_assume!(!near_a_knot(&case));
        let Case { model, x, u } = &case;
        let mut stream = Stream::new(seed, "costate", 0);
        let lambda = DVector::from_fn(model.ndx(), |_, _| stream.normal());
        let mut found = HessianProduct::of(model);
        model.hessian_product(&mut model.workspace(), x, u, &lambda, &mut found).unwrap();
        let expected = second_differences(&case, &lambda);
        let (ndx, nu) = (model.ndx(), model.nu());
        let mut whole = DMatrix::zeros(ndx + nu, ndx + nu);
        whole.view_mut((0, 0), (ndx, ndx)).copy_from(&found.xx);
        whole.view_mut((ndx, 0), (nu, ndx)).copy_from(&found.ux);
        whole.view_mut((0, ndx), (ndx, nu)).copy_from(&found.ux.transpose());
        whole.view_mut((ndx, ndx), (nu, nu)).copy_from(&found.uu);
        prop_assert!(relative(&whole, &expected) < 1e-6, "{}", relative(&whole, &expected));
    }

    #[test]
    fn the_adjoint_of_a_roll_out_equals_its_tangents(
        which in 0..N_CASES, seed in 0..10_000_u64,
    ) {
        let Case { model, x, .. } = case(which, seed);
        let (steps, ndx, nu) = (20, model.ndx(), model.nu());
        let mut stream = Stream::new(seed, "roll-out", 0);
        let (mut ws, mut x, mut next) = (model.workspace(), x.clone(), x);
        let mut along = vec![model.new_derivative(); steps];
        for derivative in &mut along {
            let u = DVector::from_fn(nu, |_, _| 0.3 * stream.normal());
            model.derivative(&mut ws, &x, &u, &mut next, derivative).unwrap();
            std::mem::swap(&mut x, &mut next);
        }
        let mut scratch = along[0].scratch();
        let end: Vec<f64> = (0..ndx).map(|_| stream.normal()).collect();
        let (mut costate, mut earlier) = (end.clone(), vec![0.0; ndx]);
        let mut by_u = vec![vec![0.0; nu]; steps];
        for (derivative, by_u) in along.iter().zip(&mut by_u).rev() {
            derivative.adjoint(&mut scratch, &costate, &mut earlier, by_u);
            std::mem::swap(&mut costate, &mut earlier);
        }
        let scale = by_u.iter().flatten().fold(1.0_f64, |m, g| m.max(g.abs()));
        for (tau, by_u) in by_u.iter().enumerate() {
            for (j, gradient) in by_u.iter().enumerate() {
                let (mut dx, mut later, mut du) = (vec![0.0; ndx], vec![0.0; ndx], vec![0.0; nu]);
                for (t, derivative) in along.iter().enumerate() {
                    du[j] = if t == tau { 1.0 } else { 0.0 };
                    derivative.tangent(&mut scratch, &dx, &du, &mut later);
                    std::mem::swap(&mut dx, &mut later);
                    // Nothing moves before the action, and a handle keeps what it is given.
                    let handle = dx[model.layout().handles()][j];
                    let expected = if t < tau { 0.0 } else { model.integration().dt };
                    prop_assert_eq!(handle, expected);
                    prop_assert!(t >= tau || dx.iter().all(|&dx| dx == 0.0));
                }
                let direct: f64 = dx.iter().zip(&end).map(|(dx, end)| dx * end).sum();
                prop_assert!((direct - gradient).abs() < 1e-12 * scale, "{direct} {gradient}");
            }
        }
    }
}

#[test]
fn a_linear_network_has_no_second_derivatives() {
    let integration = Integration { scheme: Scheme::Bdf2, startup: Startup::Bdf1, dt: 0.02 };
    let model = MassSpring::new(oscillator(5.0), integration).unwrap();
    // At length 0, where the spring has no direction.
    let x = model.state(&[0.3, 0.1], &[0.0, 0.0], &[0.3, 0.1]).unwrap();
    let lambda = DVector::repeat(model.ndx(), 1.0);
    let mut out = HessianProduct::of(&model);
    model
        .hessian_product(&mut model.workspace(), &x, &DVector::zeros(2), &lambda, &mut out)
        .unwrap();
    assert_eq!([out.xx.amax(), out.ux.amax(), out.uu.amax()], [0.0; 3]);
}

#[test]
fn a_balanced_crushed_mass_has_the_derivative_of_its_indefinite_matrix() {
    // Between two handles that press on it the mass is in an equilibrium that is not a minimum.
    let mut spec = free(2, &[0.01], 2);
    spec.springs = vec![
        spring(End::Handle(0), End::Mass(0), 1e4, 1.0),
        spring(End::Mass(0), End::Handle(1), 1e4, 1.0),
    ];
    let integration = Integration { scheme: Scheme::Bdf2, startup: Startup::Bdf1, dt: 0.05 };
    let model = MassSpring::new(spec, integration).unwrap();
    let x = model.state(&[0.0, 0.0], &[0.0, 0.0], &[-0.5, 0.0, 0.5, 0.0]).unwrap();
    let (mut ws, mut out) = (model.workspace(), Linearization::of(&model));
    model.linearize(&mut ws, &x, &DVector::zeros(4), &mut out).unwrap();
    assert_eq!(ws.statistics().indefinite_derivatives, 1);
    // A = cm + 2k along the springs, cm − 2k across: 1/h² m = 4 and k (1 − 0.5)/0.5 = k.
    let (cm, k) = (4.0, 1e4);
    assert!((out.fx[(0, 0)] - cm / (cm + 2.0 * k)).abs() < 1e-14);
    assert!((out.fx[(1, 1)] - cm / (cm - 2.0 * k)).abs() < 1e-14);
}
