//! Exact Jacobians on every branch.

use dynamics::check::{
    BlockCheck, central_differences, check_against_differences, check_against_duals,
    check_rollout_against_duals,
};
use dynamics::models::HopperParameters;
use dynamics::planar::{ContactKind, ContactParameters, PlanarTree};
use dynamics::{Dynamics, GenericDynamics, Linearization, Plant, Stream};
use nalgebra::DVector;

use crate::{DT, Seen, cheetahs, hoppers, random_point, roll};

fn jacobians_equal_duals<const N: usize>(models: &[PlanarTree<N>], z: [f64; 2]) {
    let mut stream = Stream::new(4, "duals", N as u64);
    let mut seen = Seen::default();
    for model in models {
        for i in 0..150 {
            let (mut x, mut u) = random_point(N, &mut stream, i % 4 != 0, z);
            if i == 0 {
                // Degenerate: at rest, joints exactly at rest position and limit, action on the
                // edge of its clip.
                x.fill(0.0);
                u.fill(1.0);
            }
            seen.note(model, &x, &u);
            for block in check_against_duals(model, model, &x, &u).unwrap() {
                assert!(block.error <= 1e-10, "{}: {block:?} at {x} {u}", model.name());
            }
        }
    }
    assert!(seen.all(), "{seen:?}");
}

#[test]
fn jacobians_of_the_hopper_equal_dual_numbers_on_every_branch() {
    jacobians_equal_duals(&hoppers(), [-0.5, 0.0]);
}

#[test]
fn jacobians_of_the_half_cheetah_equal_dual_numbers_on_every_branch() {
    jacobians_equal_duals(&cheetahs(), [-0.9, -0.2]);
}

fn smooth(contact: ContactParameters) -> ContactParameters {
    ContactParameters { kind: ContactKind::Smooth, ..contact }
}

#[test]
fn jacobians_with_smooth_contact_equal_dual_numbers_and_differences() {
    let mut p = HopperParameters::nominal();
    p.contact = smooth(p.contact);
    // Wide enough for differences to resolve the corners.
    (p.contact.smoothing_depth, p.contact.smoothing_speed) = (0.01, 0.2);
    let model = p.model(DT).unwrap();
    let mut stream = Stream::new(5, "smooth", 0);
    let mut n_compared = 0;
    for i in 0..60 {
        let (x, mut u) = random_point(6, &mut stream, i % 4 != 0, [-0.4, 0.0]);
        u *= 0.7;
        for block in check_against_duals(&model, &model, &x, &u).unwrap() {
            assert!(block.error <= 1e-10, "{block:?} at {x} {u}");
        }
        // The limits of the joints still have kinks.
        if model.branches(&x, &u).iter().any(|b| *b != 0) {
            continue;
        }
        n_compared += 1;
        let [fx, fu] = check_against_differences(&model, &x, &u).unwrap();
        assert!(fx.error.max(fu.error) <= 1e-6, "{fx:?} {fu:?} at {x} {u}");
    }
    assert!(n_compared > 3, "{n_compared}");
}

/// Whether no switch changes within twice the reach of central differences along each coordinate.
fn is_smooth<const N: usize>(model: &PlanarTree<N>, x: &DVector<f64>, u: &DVector<f64>) -> bool {
    let here = model.branches(x, u);
    (0..x.len() + u.len()).all(|i| {
        [-2.0, -1.0, 1.0, 2.0].into_iter().all(|factor| {
            let (mut x, mut u) = (x.clone(), u.clone());
            let z = if i < x.len() { &mut x[i] } else { &mut u[i - 2 * N] };
            *z += factor * dynamics::check::RICHARDSON_STEP * z.abs().max(1.0);
            model.branches(&x, &u) == here
        })
    })
}

fn jacobians_equal_differences<const N: usize>(models: &[PlanarTree<N>], z: [f64; 2]) {
    let mut stream = Stream::new(6, "differences", N as u64);
    let mut seen = Seen::default();
    let mut in_contact = 0;
    for model in models {
        for i in 0..1500 {
            let (mut x, u) = random_point(N, &mut stream, i % 50 != 0, z);
            // Slow, so that fewer switches change within a step.
            x.rows_mut(N, N).scale_mut(0.3);
            if !is_smooth(model, &x, &u) {
                continue;
            }
            in_contact += usize::from(model.clearances(&x).iter().any(|c| *c < 0.0));
            seen.note(model, &x, &u);
            let expected = central_differences(model, &x, &u).unwrap();
            let mut found = Linearization::of(model);
            model.linearize(&mut model.workspace(), &x, &u, &mut found).unwrap();
            for block in [
                BlockCheck::compare("fx", &found.fx, &expected.fx),
                BlockCheck::compare("fu", &found.fu, &expected.fu),
            ] {
                assert!(block.error <= 1e-6, "{}: {block:?} at {x} {u}", model.name());
            }
        }
    }
    assert!(in_contact > 10, "{in_contact} {seen:?}");
}

#[test]
fn jacobians_of_the_hopper_equal_differences_away_from_switches() {
    jacobians_equal_differences(&hoppers(), [-0.4, 0.0]);
}

#[test]
fn jacobians_of_the_half_cheetah_equal_differences_away_from_switches() {
    jacobians_equal_differences(&cheetahs(), [-0.7, -0.3]);
}

fn rollouts_equal_duals<const N: usize>(models: &[PlanarTree<N>], z: f64) {
    let mut stream = Stream::new(7, "rollouts", N as u64);
    for model in models {
        for _ in 0..2 {
            let mut x0 = DVector::from_fn(2 * N, |_, _| stream.uniform(-0.1, 0.1));
            x0[1] += z;
            let us: Vec<_> = (0..50)
                .map(|_| DVector::from_fn(N - 3, |_, _| stream.uniform(-1.0, 1.0)))
                .collect();
            for block in check_rollout_against_duals(model, model, &x0, &us).unwrap() {
                assert!(block.error <= 1e-9, "{}: {block:?}", model.name());
            }
        }
    }
}

#[test]
fn fifty_steps_of_jacobians_equal_dual_numbers() {
    rollouts_equal_duals(&hoppers(), 0.0);
    rollouts_equal_duals(&cheetahs(), -0.2);
}

#[test]
fn nothing_depends_on_where_x_is() {
    let model = HopperParameters::real().model(DT).unwrap();
    let (mut x, u) = random_point(6, &mut Stream::new(8, "shift", 0), true, [-0.3, -0.2]);
    let mut jacobian = Linearization::of(&model);
    model.linearize(&mut model.workspace(), &x, &u, &mut jacobian).unwrap();
    let mut expected = DVector::zeros(12);
    expected[0] = 1.0;
    assert_eq!(jacobian.fx.column(0), expected);
    let before = roll(&model, &x, std::slice::from_ref(&u));
    x[0] += 3.0;
    let after = roll(&model, &x, &[u]);
    assert!((after[0] - before[0] - 3.0).abs() < 1e-12);
    assert_eq!(after.rows(1, 11), before.rows(1, 11));
}

#[test]
fn step_and_its_generic_twin_agree_to_the_bit() {
    let model = &cheetahs()[1];
    let (x, u) = random_point(9, &mut Stream::new(9, "twin", 0), true, [-0.6, -0.5]);
    let expected = model.step_generic(x.as_slice(), u.as_slice());
    assert_eq!(roll(model, &x, &[u]).as_slice(), expected);
}
