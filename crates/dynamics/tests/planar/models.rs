//! Constants of the two models, errors, and the frozen mass matrix.

use dynamics::models::HopperParameters;
use dynamics::planar::{PlanarDescription, PlanarTree};
use dynamics::{DynamicsError, Plant, Stream};
use nalgebra::DVector;

use crate::{DT, cheetahs, hoppers, roll};

fn close(found: f64, expected: f64, digits: f64) {
    assert!((found - expected).abs() <= 0.51 * digits, "{found}, not {expected}");
}

#[test]
fn capsules_give_the_published_masses_and_inertias() {
    let hopper = &hoppers()[0];
    for (body, (mass, center, inertia)) in [
        (3.6651914, [0.0, 0.0], 0.06924594),
        (4.0578905, [0.0, -0.225], 0.09329876),
        (2.7813567, [0.0, -0.25], 0.07230254),
        (5.3155748, [0.06, 0.0], 0.10352308),
    ]
    .into_iter()
    .enumerate()
    {
        check_inertia(hopper.inertia(body), mass, center, inertia);
    }
    let cheetah = &cheetahs()[0];
    for (body, (mass, center, inertia)) in [
        (9.4573332, [0.1523899, 0.0253983], 1.35744911),
        (2.3355270, [0.1, -0.13], 0.02548755),
        (2.4020031, [-0.14, -0.07], 0.02764085),
        (1.6574708, [0.03, -0.097], 0.00961200),
        (2.1759844, [-0.07, -0.12], 0.02078977),
        (1.8170134, [0.065, -0.09], 0.01244106),
        (1.3383855, [0.045, -0.07], 0.00533998),
    ]
    .into_iter()
    .enumerate()
    {
        check_inertia(cheetah.inertia(body), mass, center, inertia);
    }
}

fn check_inertia(found: (f64, [f64; 2], f64), mass: f64, center: [f64; 2], inertia: f64) {
    close(found.0, mass, 1e-6);
    close(found.1[0], center[0], 1e-7);
    close(found.1[1], center[1], 1e-7);
    close(found.2, inertia, 1e-7);
}

#[test]
fn lowest_points_hang_where_they_are_published() {
    let lowest = |clearances: Vec<f64>| clearances.into_iter().fold(f64::INFINITY, f64::min);
    close(lowest(hoppers()[0].clearances(&DVector::zeros(12))), 0.04, 1e-12);
    let mut x = DVector::zeros(18);
    x[1] = -0.2;
    close(lowest(cheetahs()[0].clearances(&x)), 0.176, 1e-3);
    let ends: Vec<_> = cheetahs()[0].description().links[3].capsules[0].ends().concat();
    for (found, expected) in ends.iter().zip([-0.003915, -0.004580, -0.136085, -0.235420]) {
        close(*found, expected, 1e-6);
    }
}

#[test]
fn wrong_arguments_are_named() {
    let message = |error: DynamicsError| error.to_string();
    let p = HopperParameters::nominal();
    let error = HopperParameters { density: 0.0, ..p }.model(DT).unwrap_err();
    assert_eq!(message(error), "`hopper`: density is 0, but must be positive and finite");
    let error = PlanarTree::<7>::new(hoppers()[0].description().clone()).unwrap_err();
    assert!(message(error).contains("has 6 entries, needs 7"));
    let model = &hoppers()[0];
    let (mut ws, mut out) = (model.workspace(), DVector::zeros(12));
    let error = model.step(&mut ws, &DVector::zeros(11), &DVector::zeros(3), &mut out).unwrap_err();
    assert_eq!(message(error), "`hopper`: `x` has 11 entries, needs 12");
}

#[test]
fn a_mass_matrix_refreshed_at_every_substep_leads_elsewhere() {
    let model = HopperParameters::nominal().model(DT).unwrap();
    let refreshed = PlanarTree::<6>::new(PlanarDescription {
        dt: DT / 16.0,
        n_substeps: 1,
        ..model.description().clone()
    })
    .unwrap();
    let mut stream = Stream::new(10, "frozen", 0);
    let x0 = DVector::from_fn(12, |_, _| stream.uniform(-0.05, 0.05));
    let us: Vec<_> =
        (0..100).map(|_| DVector::from_fn(3, |_, _| stream.uniform(-1.0, 1.0))).collect();
    let held: Vec<_> = us.iter().flat_map(|u| vec![u.clone(); 16]).collect();
    let gap = (roll(&model, &x0, &us) - roll(&refreshed, &x0, &held)).rows(3, 3).amax();
    assert!((1e-3..0.5).contains(&gap), "{gap}");
}
