//! Steps: free motion, linear oscillators, symmetries, statics, failures.

use std::f64::consts::TAU;

use dynamics::mass_spring::{End, Law, Link, MassSpring, Scheme, Startup, hanging, pendulum};
use dynamics::{DynamicsError, Plant, Stream};
use nalgebra::{DVector, dvector};

use crate::networks::{
    N_CASES, bdf2, box_on_cables, case, distance, free, integration, oscillator, rest, run, spring,
};

const H: f64 = 1.0 / 60.0;

#[test]
fn free_fall_is_exact_but_for_the_known_offset_of_a_bdf1_start() {
    let mut spec = free(2, &[0.7], 0);
    spec.gravity = vec![0.0, -9.81];
    for (startup, offset) in [(Startup::Bdf1, -0.75 * 9.81 * H * H), (Startup::SecondOrder, 0.0)] {
        let model = MassSpring::new(spec.clone(), integration(Scheme::Bdf2, startup, H)).unwrap();
        let start = model.state(&[0.0, 0.0], &[0.5, 2.0], &[]).unwrap();
        let last = run(&model, &start, &rest(&model), 60).pop().unwrap();
        let t = 60.0 * H;
        let expected = [0.5 * t, 2.0 * t - 0.5 * 9.81 * t * t + offset];
        assert!(distance(&last.as_slice()[..2], &expected) < 1e-11, "{startup:?} {last}");
        let v = &last.as_slice()[model.layout().velocities()];
        assert!(distance(v, &[0.5, 2.0 - 9.81 * t]) < 1e-11);
    }
}

/// Energy kept in a nominal period, and period over nominal period, of a circular orbit, whose
/// numerical solution is one damped mode.
fn orbit(scheme: Scheme, steps_per_period: f64) -> (f64, f64) {
    let omega = 2.0;
    let h = TAU / omega / steps_per_period;
    let model =
        MassSpring::new(oscillator(omega), integration(scheme, Startup::SecondOrder, h)).unwrap();
    let start = model.state(&[1.0, 0.0], &[0.0, omega], &[0.0, 0.0]).unwrap();
    // Ten periods; a trace of the conjugate mode, which turns the other way, averages out.
    let steps = 10 * steps_per_period as usize;
    let states = run(&model, &start, &rest(&model), 40 + steps);
    let (first, last) = (&states[40], &states[40 + steps]);
    let kept = (model.energies(last).total() / model.energies(first).total()).powf(0.1);
    let turned = |pair: &[DVector<f64>]| {
        let (a, b) = (&pair[0], &pair[1]);
        (a[0] * b[1] - a[1] * b[0]).atan2(a[0] * b[0] + a[1] * b[1])
    };
    let angle: f64 = states[40..].windows(2).map(turned).sum();
    (kept, 10.0 * TAU / angle)
}

#[test]
fn an_oscillator_keeps_the_energy_and_has_the_period_of_the_linear_theory() {
    // Steps per period, energy kept by BDF1 and BDF2, period error of both.
    let table = [
        (10.0, 0.036, 0.675, 0.12, 0.10),
        (25.0, 0.216, 0.958, 0.021, 0.020),
        (50.0, 0.457, 0.994, 0.0052, 0.0052),
        (100.0, 0.674, 0.9992, 0.0013, 0.0013),
        (200.0, 0.821, 0.9999, 0.0003, 0.0003),
    ];
    for (steps, kept1, kept2, late1, late2) in table {
        for (scheme, kept, late) in [(Scheme::Bdf1, kept1, late1), (Scheme::Bdf2, kept2, late2)] {
            let (found, period) = orbit(scheme, steps);
            assert!((found - kept).abs() < 6e-4, "{scheme:?} {steps}: {found} {kept}");
            let tolerance = 0.05 * late + 5e-5;
            assert!((period - 1.0 - late).abs() < tolerance, "{scheme:?} {steps}: {period} {late}");
        }
    }
}

#[test]
fn bdf2_has_order_2_in_the_position_and_bdf1_order_1() {
    let omega = 2.0;
    for (scheme, order) in [(Scheme::Bdf1, 1.0), (Scheme::Bdf2, 2.0)] {
        let error = |steps: usize| {
            let h = 1.0 / steps as f64;
            let integration = integration(scheme, Startup::SecondOrder, h);
            let model = MassSpring::new(oscillator(omega), integration).unwrap();
            let start = model.state(&[1.0, 0.0], &[0.0, omega], &[0.0, 0.0]).unwrap();
            let last = run(&model, &start, &rest(&model), steps).pop().unwrap();
            distance(&last.as_slice()[..2], &[omega.cos(), omega.sin()])
        };
        let observed = (error(400) / error(800)).log2();
        assert!((observed - order).abs() < 0.03, "{scheme:?}: {observed}");
    }
}

#[test]
fn a_slack_cable_pulls_nothing() {
    let link = Link { law: Law::Unilateral { smoothing: 1e-3 }, ..Link::pendulum() };
    let model = MassSpring::new(pendulum(2, &[link]), bdf2(H)).unwrap();
    let start = model.state(&[0.1, -0.2], &[0.3, 0.0], &[0.0, 0.0]).unwrap();
    let last = run(&model, &start, &rest(&model), 5).pop().unwrap();
    let t = 5.0 * H;
    let v = &last.as_slice()[model.layout().velocities()];
    assert!(distance(v, &[0.3, -9.81 * t]) < 1e-12);
}

#[test]
fn hanging_chains_stay_where_their_static_stretch_puts_them() {
    let one_sided = Law::Unilateral { smoothing: 1e-3 };
    let pendulum_link = Link::pendulum();
    let rope_link = Link { length: 0.1, mass: 0.05, law: one_sided, ..pendulum_link };
    for links in
        [vec![pendulum_link], vec![Link { law: one_sided, ..pendulum_link }], vec![rope_link; 10]]
    {
        let model = MassSpring::new(pendulum(3, &links), bdf2(H)).unwrap();
        let x = hanging(3, &links, &[0.2, 0.0, 1.0]).unwrap();
        let start = model.state(&x, &vec![0.0; x.len()], &[0.2, 0.0, 1.0]).unwrap();
        let last = run(&model, &start, &rest(&model), 20).pop().unwrap();
        assert!(distance(&last.as_slice()[..x.len()], &x) < 1e-11);
    }
    let stretch = |links: &[Link]| -0.5 - hanging(2, links, &[0.0, 0.0]).unwrap()[1];
    assert!((stretch(&[pendulum_link]) - 9.81e-4).abs() < 1e-15);
    let cable = Link { law: one_sided, ..pendulum_link };
    assert!((stretch(&[cable]) - (9.81e-4 - 5e-4)).abs() < 1e-15);
    // The upper link carries both masses.
    assert!((stretch(&[pendulum_link; 2]) - 2.0 * 9.81e-4).abs() < 1e-15);
}

#[test]
fn momentum_is_conserved_without_gravity_and_handles() {
    let mut stream = Stream::new(5, "free", 0);
    let mut spec = free(3, &[0.3, 1.0, 2.0, 0.5], 0);
    for (a, b) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
        spec.springs.push(spring(End::Mass(a), End::Mass(b), 500.0, 0.8));
    }
    spec.springs[1].damping = 5.0;
    let model = MassSpring::new(spec, bdf2(H)).unwrap();
    let x: Vec<f64> = (0..12).map(|_| stream.normal()).collect();
    let v: Vec<f64> = (0..12).map(|_| stream.normal()).collect();
    let start = model.state(&x, &v, &[]).unwrap();
    let before = model.momentum(&start);
    for state in run(&model, &start, &rest(&model), 200) {
        assert!(distance(&model.momentum(&state), &before) < 1e-10);
    }
}

#[test]
fn a_system_in_uniform_motion_equals_the_resting_one_shifted() {
    let [wx, wz] = [1.3, -0.4];
    let model = MassSpring::new(box_on_cables(), bdf2(H)).unwrap();
    let moving = |speed: f64| {
        let shift = |n: usize| [speed * wx, speed * wz].repeat(n);
        let x = crate::networks::BOX_CORNERS.concat();
        let start = model.state(&x, &shift(4), &[-0.2, 0.0, 0.1, 0.0]).unwrap();
        let u = DVector::from_vec(shift(2));
        run(&model, &start, &u, 60).pop().unwrap()
    };
    let (resting, moved) = (moving(0.0), moving(1.0));
    let t = 60.0 * H;
    for at in [model.layout().positions(), model.layout().handles()] {
        for i in at {
            let shift = if i % 2 == 0 { wx * t } else { wz * t };
            assert!((moved[i] - resting[i] - shift).abs() < 1e-10);
        }
    }
}

#[test]
fn a_rotation_about_the_vertical_commutes_with_the_step() {
    let (sin, cos) = 0.7_f64.sin_cos();
    let turn = |values: &[f64]| -> Vec<f64> {
        let turned = values
            .chunks_exact(3)
            .map(|r| [cos * r[0] - sin * r[1], sin * r[0] + cos * r[1], r[2]]);
        turned.collect::<Vec<_>>().concat()
    };
    let model = MassSpring::new(pendulum(3, &[Link::pendulum(); 2]), bdf2(H)).unwrap();
    let (x, v) = ([0.1, 0.2, -0.45, 0.3, 0.1, -0.9], [0.5, -0.3, 0.0, -0.2, 0.8, 0.1]);
    let u = [0.7, -0.2, 0.1];
    let end = |x: &[f64], v: &[f64], u: &[f64]| {
        let start = model.state(x, v, &[0.0; 3]).unwrap();
        run(&model, &start, &DVector::from_column_slice(u), 60).pop().unwrap()
    };
    let (plain, turned) = (end(&x, &v, &u), end(&turn(&x), &turn(&v), &turn(&u)));
    let n = model.layout().ndx();
    assert!(distance(&turn(&plain.as_slice()[..n]), &turned.as_slice()[..n]) < 1e-10);
}

#[test]
fn a_pendulum_in_space_that_starts_in_a_plane_is_the_pendulum_in_the_plane() {
    for n in 1..3 {
        let links = vec![Link::pendulum(); n];
        let flat = MassSpring::new(pendulum(2, &links), bdf2(H)).unwrap();
        let space = MassSpring::new(pendulum(3, &links), bdf2(H)).unwrap();
        let lift = |values: &[f64]| -> Vec<f64> {
            values.chunks_exact(2).flat_map(|r| [r[0], 0.0, r[1]]).collect()
        };
        let x: Vec<f64> = (1..=n).flat_map(|i| [0.3 * i as f64, -0.4 * i as f64]).collect();
        let v: Vec<f64> = (1..=n).flat_map(|i| [0.2 * i as f64, 0.3]).collect();
        let a = flat.state(&x, &v, &[0.0; 2]).unwrap();
        let b = space.state(&lift(&x), &lift(&v), &[0.0; 3]).unwrap();
        let a = run(&flat, &a, &dvector![0.4, -0.1], 100).pop().unwrap();
        let b = run(&space, &b, &dvector![0.4, 0.0, -0.1], 100).pop().unwrap();
        let entries = flat.layout().ndx();
        let lifted = lift(&a.as_slice()[..entries]);
        assert!(distance(&lifted, &b.as_slice()[..lifted.len()]) < 1e-12);
    }
}

#[test]
fn mass_damping_slows_like_an_exponential() {
    let mut spec = free(2, &[0.7], 0);
    spec.mass_damping = 1.5;
    let model =
        MassSpring::new(spec, integration(Scheme::Bdf2, Startup::SecondOrder, 1e-3)).unwrap();
    let start = model.state(&[0.0, 0.0], &[1.0, 0.0], &[]).unwrap();
    let last = run(&model, &start, &rest(&model), 1000).pop().unwrap();
    assert!((last[model.layout().velocities().start] - (-1.5_f64).exp()).abs() < 1e-5);
}

#[test]
fn a_dashpot_damps_a_spring_at_the_rate_of_the_linear_theory() {
    // ẍ = −(k/m) x − (b/m) ẋ, underdamped: the amplitude falls as exp(−b t/(2m)).
    let mut spec = free(2, &[1.0], 1);
    spec.springs = vec![spring(End::Handle(0), End::Mass(0), 25.0, 1.0)];
    spec.springs[0].damping = 0.6;
    let model =
        MassSpring::new(spec, integration(Scheme::Bdf2, Startup::SecondOrder, 1e-4)).unwrap();
    let start = model.state(&[1.2, 0.0], &[0.0, 0.0], &[0.0, 0.0]).unwrap();
    let last = run(&model, &start, &rest(&model), 20_000).pop().unwrap();
    let (decay, t) = (0.3, 2.0);
    let omega = (25.0_f64 - decay * decay).sqrt();
    let expected = (-decay * t).exp() * ((omega * t).cos() + decay / omega * (omega * t).sin());
    assert!(((last[0] - 1.0) / 0.2 - expected).abs() < 1e-3, "{} {expected}", last[0]);
}

#[test]
fn a_step_takes_the_few_newton_iterations_that_are_expected() {
    let model = MassSpring::new(pendulum(2, &[Link::pendulum()]), bdf2(H)).unwrap();
    let mut x = model.state(&[0.433, -0.25], &[0.0, 0.0], &[0.0, 0.0]).unwrap();
    let (mut ws, mut next) = (model.workspace(), x.clone());
    for _ in 0..100 {
        model.step(&mut ws, &x, &rest(&model), &mut next).unwrap();
        std::mem::swap(&mut x, &mut next);
    }
    let statistics = ws.statistics();
    assert_eq!((statistics.steps, statistics.failures), (100, 0));
    assert!((150..=400).contains(&statistics.iterations), "{statistics:?}");
    ws.reset_statistics();
    assert_eq!(ws.statistics().steps, 0);
}

#[test]
fn crushed_and_thrown_chains_are_solved_by_way_of_the_semidefinite_stiffness() {
    // Stiff links that are crushed to a tenth of their length and thrown about.
    let mut semidefinite = 0;
    for seed in 0..200 {
        let mut stream = Stream::new(seed, "hard", 0);
        let links = [Link { mass: 0.05, length: 0.1, ..Link::pendulum() }; 5];
        let model = MassSpring::new(pendulum(2, &links), bdf2(H)).unwrap();
        let x: Vec<f64> = (0..10).map(|_| 0.1 * stream.normal()).collect();
        let v: Vec<f64> = (0..10).map(|_| 5.0 * stream.normal()).collect();
        let start = model.state(&x, &v, &[0.0, 0.0]).unwrap();
        let (mut ws, mut next) = (model.workspace(), start.clone());
        model.step(&mut ws, &start, &rest(&model), &mut next).unwrap();
        semidefinite += ws.statistics().semidefinite;
    }
    assert!(semidefinite > 0, "no start was hard");
}

#[test]
fn a_state_that_is_not_finite_is_a_typed_failure() {
    for which in 0..N_CASES {
        let mut it = case(which, 1);
        it.x[0] = f64::NAN;
        let (mut ws, mut next) = (it.model.workspace(), it.x.clone());
        let error = it.model.step(&mut ws, &it.x, &it.u, &mut next).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("stopped at residual NaN N (tolerance 1e-10) after 0 Newton"),
            "{text}"
        );
        let DynamicsError::ImplicitStep { residual, .. } = error else { unreachable!("{error}") };
        assert!(residual.is_nan());
        assert_eq!(ws.statistics().failures, 1);
    }
}

#[test]
fn stiff_springs_far_from_the_origin_are_solved_to_what_their_positions_can_resolve() {
    let links = [Link { stiffness: 1e7, ..Link::pendulum() }; 3];
    let model = MassSpring::new(pendulum(2, &links), bdf2(1.0 / 240.0)).unwrap();
    let far = 3000.0;
    let (x, v) = ([0.3, -0.4, 0.6, -0.8, 0.9, -1.2], [0.0; 6]);
    let end = |shift: f64| {
        let start = model.state(&x.map(|x| x + shift), &v, &[shift; 2]).unwrap();
        run(&model, &start, &dvector![0.5, 0.2], 240).pop().unwrap()
    };
    let (near, shifted) = (end(0.0), end(far));
    for i in model.layout().positions() {
        assert!((shifted[i] - far - near[i]).abs() < 1e-6);
    }
}
