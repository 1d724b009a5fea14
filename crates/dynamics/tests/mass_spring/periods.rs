//! Pendulums and ropes against their known periods and the energy that the schemes lose.

use std::f64::consts::{FRAC_PI_3, TAU};

use dynamics::Plant;
use dynamics::mass_spring::{
    ChainStart, GRAVITY, Link, MassSpring, Scheme, Startup, chain_start, hanging, pendulum,
};
use nalgebra::DVector;

use crate::networks::{bdf2, integration, rest};

/// Mean period from the zero crossings of the first coordinate in `time` seconds.
fn period(model: &MassSpring, start: &DVector<f64>, time: f64) -> f64 {
    let h = model.integration().dt;
    let (mut ws, u) = (model.workspace(), rest(model));
    let (mut x, mut next, mut crossings) = (start.clone(), start.clone(), Vec::new());
    for t in 0..(time / h).round() as usize {
        model.step(&mut ws, &x, &u, &mut next).unwrap();
        if (x[0] < 0.0) != (next[0] < 0.0) {
            crossings.push(h * (t as f64 + x[0] / (x[0] - next[0])));
        }
        std::mem::swap(&mut x, &mut next);
    }
    let last = crossings.len() - 1;
    2.0 * (crossings[last] - crossings[0]) / last as f64
}

/// 0.5 m, 1 kg, released at rest at 60° in axial balance.
fn released(k: f64, scheme: Scheme, h: f64) -> (MassSpring, DVector<f64>) {
    released_at(FRAC_PI_3, k, scheme, h)
}

/// The same at another angle.
fn released_at(angle: f64, k: f64, scheme: Scheme, h: f64) -> (MassSpring, DVector<f64>) {
    let link = Link { stiffness: k, ..Link::pendulum() };
    let model =
        MassSpring::new(pendulum(2, &[link]), integration(scheme, Startup::Bdf1, h)).unwrap();
    let (p, direction) = ([0.0, 0.0], [angle.sin(), -angle.cos()]);
    let ChainStart { x, v } = chain_start(2, &[link], &p, &direction, &[0.0, 0.0]).unwrap();
    let start = model.state(&x, &v, &p).unwrap();
    (model, start)
}

#[test]
fn the_period_of_a_pendulum_at_each_step() {
    for (steps, expected) in [(30.0, 1.5306), (60.0, 1.5288), (120.0, 1.5268), (240.0, 1.5261)] {
        let (model, start) = released(1e4, Scheme::Bdf2, 1.0 / steps);
        let found = period(&model, &start, 10.0);
        assert!((found - expected).abs() < 1e-4, "h = 1/{steps}: {found} {expected}");
    }
}

#[test]
fn small_swings_have_the_period_of_the_mathematical_pendulum() {
    let rigid = TAU * (0.5 / GRAVITY).sqrt();
    assert!((rigid - 1.41850).abs() < 5e-6);
    // The spring gives way by its static stretch.
    let expected = TAU * ((0.5 + GRAVITY / 1e6) / GRAVITY).sqrt();
    let (model, start) = released_at(0.01, 1e6, Scheme::Bdf2, 1.0 / 1920.0);
    let found = period(&model, &start, 4.3);
    assert!((found - expected).abs() < 2e-5, "{found} {expected}");
}

#[test]
fn stiffer_springs_approach_the_rigid_pendulum() {
    let rigid = 1.52231;
    let mut before = f64::INFINITY;
    for (k, elastic) in [(1e4, 1.52576), (1e5, 1.52266), (1e6, rigid + 3.5e-5)] {
        let (model, start) = released(k, Scheme::Bdf2, 1.0 / 1920.0);
        let found = period(&model, &start, 2.1);
        assert!((found - elastic).abs() < 1e-4, "k = {k}: {found} {elastic}");
        assert!((found - rigid).abs() < before);
        before = (found - rigid).abs();
    }
}

#[test]
fn the_energy_lost_in_10_s_is_that_of_the_schemes_and_never_gained() {
    let table =
        [(30.0, 0.246, 1.0), (60.0, 0.044, 0.977), (120.0, 0.0065, 0.868), (240.0, 0.0010, 0.666)];
    for (steps, by_bdf2, by_bdf1) in table {
        for (scheme, expected) in [(Scheme::Bdf2, by_bdf2), (Scheme::Bdf1, by_bdf1)] {
            let (model, start) = released(1e4, scheme, 1.0 / steps);
            let swing = GRAVITY * 0.5 * (1.0 - FRAC_PI_3.cos());
            let initial = model.energies(&start).total();
            let (mut ws, mut x, mut next) = (model.workspace(), start.clone(), start);
            for _ in 0..(10.0 * steps) as usize {
                model.step(&mut ws, &x, &rest(&model), &mut next).unwrap();
                std::mem::swap(&mut x, &mut next);
                assert!(model.energies(&x).total() <= initial + 1e-9 * swing);
            }
            let lost = (initial - model.energies(&x).total()) / swing;
            let tolerance = 0.01 * expected + 5e-4_f64.min(0.05 * expected);
            assert!((lost - expected).abs() < tolerance, "{scheme:?} 1/{steps}: {lost} {expected}");
        }
    }
}

#[test]
fn a_double_pendulum_swings_in_its_two_modes() {
    let links = [Link { stiffness: 1e6, ..Link::pendulum() }; 2];
    let model = MassSpring::new(pendulum(2, &links), bdf2(1e-3)).unwrap();
    let root = std::f64::consts::SQRT_2;
    for (ratio, omega) in [(root, 3.390), (-root, 8.185)] {
        let mut x = hanging(2, &links, &[0.0, 0.0]).unwrap();
        x[0] = 0.5e-3;
        x[2] = 0.5e-3 * (1.0 + ratio);
        let start = model.state(&x, &[0.0; 4], &[0.0, 0.0]).unwrap();
        let found = TAU / period(&model, &start, 4.0);
        assert!((found / omega - 1.0).abs() < 2e-3, "{found} {omega}");
    }
}

/// J₀ by its power series.
fn bessel(z: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..30 {
        term *= -z * z / (4.0 * f64::from(k * k));
        sum += term;
    }
    sum
}

#[test]
fn a_hanging_rope_swings_at_its_fundamental_as_masses_are_added() {
    let expected = 3.766;
    let mut before = f64::INFINITY;
    for n in [5, 10, 20, 40] {
        let share = 1.0 / n as f64;
        let link = Link { length: share, mass: 0.5 * share, stiffness: 1e6, ..Link::pendulum() };
        let links = vec![link; n];
        let model = MassSpring::new(pendulum(2, &links), bdf2(1.0 / 500.0)).unwrap();
        let mut x = hanging(2, &links, &[0.0, 0.0]).unwrap();
        for i in 0..n {
            // The mode is J₀(2.4048 √s) with s the height above the lower end.
            x[2 * i] = 1e-4 * bessel(2.404_826 * (1.0 - (i + 1) as f64 * share).sqrt());
        }
        let start = model.state(&x, &vec![0.0; 2 * n], &[0.0, 0.0]).unwrap();
        let error = (TAU / period(&model, &start, 4.0) / expected - 1.0).abs();
        assert!(error < 0.7 * before, "{n} masses: {error} after {before}");
        before = error;
    }
    assert!(before < 0.01, "{before}");
}
