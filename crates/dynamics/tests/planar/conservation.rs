//! Conservation laws and cases with a closed form.

use dynamics::models::{Hopper, HopperParameters};
use dynamics::planar::{Capsule, HingeAxis, PlanarDescription, PlanarLink, PlanarTree};
use nalgebra::{DVector, dvector};

use crate::{DT, hoppers, roll};

/// Nothing but inertia and, if asked, gravity.
fn free(gravity: f64, dt: f64, n_substeps: usize) -> Hopper {
    let description = HopperParameters {
        gravity,
        armature: 0.0,
        joint_damping: 0.0,
        viscosity: 0.0,
        limit_stiffness: 0.0,
        n_substeps,
        ..HopperParameters::nominal()
    }
    .model(dt)
    .unwrap()
    .description()
    .clone();
    PlanarTree::new(description).unwrap()
}

fn tumbling() -> DVector<f64> {
    dvector![0.3, 3.0, 0.4, -0.7, -0.5, 0.2, 1.0, 2.0, 1.5, -2.0, 3.0, 1.0]
}

#[test]
fn momentum_is_conserved_and_gravity_changes_it_at_its_own_rate() {
    // The integrator is of first order, so the error falls with the step. Torques act between
    // bodies, so they change nothing.
    let error = |n: usize| {
        let model = free(9.81, 0.4 / n as f64, 1);
        let x = roll(&model, &tumbling(), &vec![dvector![0.004, -0.003, 0.002]; n]);
        let (before, after) = (model.momentum(&tumbling()), model.momentum(&x));
        let weight = 9.81 * (0..4).map(|body| model.inertia(body).0).sum::<f64>();
        // Angular momentum about the origin: the torque of gravity is weight times x of the
        // centre of mass, which moves at constant speed from where it was.
        let com = (model.momentum(&x)[0]) / weight * 9.81;
        let start = center_of_mass(&model, &tumbling());
        let torque = weight * (start * 0.4 + com * 0.4 * 0.4 / 2.0);
        let expected = [before[0], before[1] - weight * 0.4, before[2] + torque];
        after.iter().zip(expected).map(|(a, e)| (a - e).abs()).fold(0.0, f64::max)
    };
    let (coarse, fine) = (error(4000), error(8000));
    assert!(fine < 0.02, "{fine}");
    assert!((1.7..2.3).contains(&(coarse / fine)), "{coarse} {fine}");
}

/// x of the centre of mass, from the angular momentum under a push: z-momentum at unit speed of the
/// whole has the lever x.
fn center_of_mass(model: &Hopper, x: &DVector<f64>) -> f64 {
    let mut moving = x.clone();
    moving.rows_mut(6, 6).fill(0.0);
    moving[7] = 1.0;
    let [_, p_z, l] = model.momentum(&moving);
    -l / p_z
}

#[test]
fn energy_error_halves_when_dt_halves() {
    let error = |n: usize| {
        let model = free(9.81, 0.4 / n as f64, 1);
        let x = roll(&model, &tumbling(), &vec![DVector::zeros(3); n]);
        (model.energy(&x) - model.energy(&tumbling())).abs()
    };
    let (coarse, fine) = (error(4000), error(8000));
    assert!(fine < 0.05 && (1.8..2.2).contains(&(coarse / fine)), "{coarse} {fine}");
}

#[test]
fn free_fall_is_the_discrete_parabola() {
    // Without rotation everything falls alike: v = −g t and z = −g h² n (n + 1)/2 exactly.
    let model = free(9.81, DT, 16);
    let mut x0 = DVector::zeros(12);
    (x0[1], x0[6]) = (5.0, 0.7);
    let x = roll(&model, &x0, &vec![DVector::zeros(3); 30]);
    let (h, n) = (DT / 16.0, 480.0);
    let mut expected = x0.clone();
    expected[0] = 0.7 * DT * 30.0;
    expected[1] = 5.0 - 9.81 * h * h * n * (n + 1.0) / 2.0;
    expected[7] = -9.81 * DT * 30.0;
    assert!((x - expected).amax() < 1e-11);
}

#[test]
fn armature_and_viscosity_act_on_the_root() {
    // A root without links: m v̇ = −m g − ν v, with m + a on the left, and the same for the pitch.
    let description = PlanarDescription {
        links: Vec::new(),
        root: pair(0.0).description().root.clone(),
        ..hoppers()[0].description().clone()
    };
    let model = PlanarTree::<3>::new(description).unwrap();
    let x = roll(&model, &dvector![0.0, 5.0, 0.4, 0.7, 0.0, 2.0], &[dvector![]]);
    let (mass, _, inertia) = model.inertia(0);
    let (mut v_x, mut v_z, mut rate) = (0.7, 0.0, 2.0);
    for _ in 0..16 {
        v_x -= DT / 16.0 * 10.0 * v_x / (mass + 1.0);
        v_z -= DT / 16.0 * (10.0 * v_z + 9.81 * mass) / (mass + 1.0);
        rate -= DT / 16.0 * 10.0 * rate / (inertia + 1.0);
    }
    assert!((x.rows(3, 3) - dvector![v_x, v_z, rate]).amax() < 1e-13, "{x}");
}

/// A root with one link of the same shape hinged at both centres.
fn pair(stiffness: f64) -> PlanarTree<4> {
    let capsule =
        Capsule { center: [0.0; 2], direction: [0.0, 1.0], half_length: 0.3, radius: 0.05 };
    PlanarTree::new(PlanarDescription {
        name: "pair".to_owned(),
        root_height: 10.0,
        root: vec![capsule],
        links: vec![PlanarLink {
            parent: 0,
            offset: [0.0; 2],
            axis: HingeAxis::Negative,
            limits: [f64::NEG_INFINITY, f64::INFINITY],
            stiffness,
            damping: 0.0,
            capsules: vec![capsule],
        }],
        density: 1000.0,
        gravity: 0.0,
        armature: 0.0,
        viscosity: 0.0,
        limit_stiffness: 0.0,
        strength: 200.0,
        contact: HopperParameters::nominal().contact,
        dt: 1e-3,
        n_substeps: 10,
    })
    .unwrap()
}

#[test]
fn two_equal_bodies_on_a_common_center_swing_like_a_torsion_pendulum() {
    // Reduced inertia I/2: q̈ = −2 k q / I, and the bodies turn against each other by q/2.
    let model = pair(3.0);
    let (_, _, inertia) = model.inertia(0);
    let omega = (2.0 * 3.0 / inertia).sqrt();
    let x0 = dvector![0.0, 0.0, 0.25, 0.5, 0.0, 0.0, 0.0, 0.0];
    let n = 2000;
    let x = roll(&model, &x0, &vec![dvector![0.0]; n]);
    // Semi-implicit Euler on an oscillator, solved exactly: 2 cos α = 2 − (ω h)².
    let h: f64 = 1e-4;
    let alpha = (1.0 - 0.5 * (omega * h).powi(2)).acos();
    let steps = 10.0 * n as f64;
    let (a, c) = (alpha * steps, alpha / 2.0);
    let q = 0.5 * ((a + c).cos() / c.cos());
    assert!((x[3] - q).abs() < 1e-9, "{} {q}", x[3]);
    // σ = −1: the link turns by θ − q, so θ = q/2 throughout.
    assert!((x[2] - 0.5 * q).abs() < 1e-9 && x[0].abs() < 1e-12 && x[1].abs() < 1e-12);
    // Torque τ on the hinge: the bodies speed up by ∓τ/I.
    let x = roll(&pair(0.0), &DVector::zeros(8), &[dvector![0.1]]);
    assert!((x[6] - 0.5 * x[7]).abs() < 1e-12);
    assert!((x[7] - 2.0 * 20.0 * 1e-3 / inertia).abs() < 1e-10);
}
