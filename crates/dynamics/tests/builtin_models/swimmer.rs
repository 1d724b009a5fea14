//! The swimmer.

use dynamics::check::check_against_duals;
use dynamics::models::{Swimmer, SwimmerParameters};
use dynamics::{ContinuousDynamics, Rk4, SemiImplicitEuler};
use nalgebra::{DVector, dvector};
use proptest::prelude::*;

use crate::{assert_error, audit, audit_rollout, roll, vector, xdot};

fn swimmers() -> Vec<Swimmer> {
    let uneven = SwimmerParameters {
        masses: vec![1.0, 0.4, 2.0, 0.7],
        lengths: vec![0.5, 1.3, 0.8, 1.0],
        strength: 2.0,
        ..SwimmerParameters::uniform(4)
    };
    [2, 3, 5, 7]
        .map(SwimmerParameters::uniform)
        .into_iter()
        .chain([uneven])
        .map(|p| Swimmer::new(p).unwrap())
        .collect()
}

fn published_swimmer() -> (Swimmer, DVector<f64>, DVector<f64>) {
    let x = [0.0, 0.0, 0.1, -0.4, 0.7, 0.2, -0.1, 0.5, -1.0, 0.25];
    let model = Swimmer::new(SwimmerParameters::uniform(3)).unwrap();
    (model, DVector::from_row_slice(&x), dvector![1.0, -0.5])
}

fn without_drag(n: usize) -> Swimmer {
    Swimmer::new(SwimmerParameters {
        normal_drag: 0.0,
        tangential_drag: 0.0,
        ..SwimmerParameters::uniform(n)
    })
    .unwrap()
}

proptest! {
    #[test]
    fn swimmer_has_exact_jacobians(x in vector(-2.0..2.0, 18), u in vector(-2.0..2.0, 6)) {
        for model in swimmers() {
            audit(&model, &x[..model.nx()], &u[..model.nu()], true)?;
        }
    }

    #[test]
    fn swimmer_turns_and_moves_with_its_frame(
        x in vector(-2.0..2.0, 10),
        u in vector(-2.0..2.0, 2),
        turn in -3.0..3.0_f64,
    ) {
        let (model, ..) = published_swimmer();
        let rotate = |a: f64, b: f64| [a * turn.cos() - b * turn.sin(), a * turn.sin() + b * turn.cos()];
        let mut turned = x.clone();
        turned[0] += 3.0;
        turned[2..5].iter_mut().for_each(|theta| *theta += turn);
        turned[5..7].copy_from_slice(&rotate(x[5], x[6]));
        let u = DVector::from_vec(u);
        let a = xdot(&model, &DVector::from_vec(x), &u);
        let b = xdot(&model, &DVector::from_vec(turned), &u);
        let w = rotate(a[5], a[6]);
        prop_assert!((w[0] - b[5]).abs() + (w[1] - b[6]).abs() < 1e-11);
        prop_assert!((a.rows(7, 3) - b.rows(7, 3)).amax() < 1e-10);
    }

    #[test]
    fn fluid_takes_energy_and_joints_add_it(x in vector(-2.0..2.0, 10), u in vector(-2.0..2.0, 2)) {
        // dE/dt = Σ τ_j (θ̇_j − θ̇_{j+1}) without drag, and less with it.
        let power = |model: &Swimmer| {
            let x = DVector::from_row_slice(&x);
            let rate = xdot(model, &x, &DVector::from_row_slice(&u));
            let h = 1e-5;
            (model.kinetic_energy((&x + &rate * h).as_slice())
                - model.kinetic_energy((&x - &rate * h).as_slice())) / (2.0 * h)
        };
        let work = u[0] * (x[7] - x[8]) + u[1] * (x[8] - x[9]);
        prop_assert!((power(&without_drag(3)) - work).abs() < 1e-5);
        prop_assert!(power(&published_swimmer().0) < work + 1e-5);
    }
}

#[test]
fn swimmer_accelerates_as_published() {
    let (model, x, u) = published_swimmer();
    assert!((model.kinetic_energy(x.as_slice()) - 0.276278835).abs() < 1e-9);
    let expected = dvector![-0.50199271, 0.17313106, 5.95900286, -2.69893796, 3.31017115];
    assert!((xdot(&model, &x, &u).rows(5, 5) - expected).amax() < 1e-8);
}

#[test]
fn swimmer_without_drag_keeps_its_energy() {
    let (_, x, _) = published_swimmer();
    let model = without_drag(3);
    let end = roll(&Rk4::new(model.clone(), 1e-3).unwrap(), &x, &dvector![0.0, 0.0], 5000);
    let change = model.kinetic_energy(end.as_slice()) - model.kinetic_energy(x.as_slice());
    assert!(change.abs() < 1e-11, "{change:e}");
}

#[test]
fn nose_of_a_straight_swimmer_is_half_its_length_behind_its_center() {
    for n in [2, 3, 6] {
        let model = Swimmer::new(SwimmerParameters::uniform(n)).unwrap();
        let x = vec![0.0; model.nx()];
        let [along, across] = model.nose(&x);
        assert!((along + 0.5 * n as f64).abs() < 1e-14 && across == 0.0, "{along} {across}");
    }
}

#[test]
fn swimmer_steps_semi_implicitly() {
    let (swimmer, x, u) = published_swimmer();
    let model = SemiImplicitEuler::new(swimmer, 0.01).unwrap();
    for block in check_against_duals(&model, &model, &x, &u).unwrap() {
        assert!(block.error <= 1e-10, "{block:?}");
    }
}

#[test]
fn rollouts_have_the_jacobians_of_dual_numbers() {
    for model in swimmers() {
        let (nu, nx) = (model.nu(), model.nx());
        let x0: Vec<f64> = (0..nx).map(|i| 0.4 * (1.7 * i as f64).sin()).collect();
        audit_rollout(model, 0.03, &x0, &vec![0.0; nu], &vec![1.0; nu]);
    }
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    assert_error(
        Swimmer::new(SwimmerParameters::uniform(1)),
        "`swimmer`: number of masses is 1, but must be at least 2, one per link",
    );
    let p = SwimmerParameters { lengths: vec![1.0; 2], ..SwimmerParameters::uniform(3) };
    assert_error(Swimmer::new(p), "`swimmer`: `lengths` has 2 entries, needs 3");
}
