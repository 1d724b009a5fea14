//! Descriptions: what is refused and how it is said, files, states and observations.

use dynamics::mass_spring::{
    End, Integration, Law, Link, MassSpring, NetworkError, NetworkSpec, Scheme, Startup,
    chain_start, pendulum,
};
use dynamics::{Observation, ObservationJacobian, Plant};
use nalgebra::{DMatrix, DVector};

use crate::networks::{bdf2, box_on_cables, spring};

fn refused(change: impl FnOnce(&mut NetworkSpec)) -> String {
    let mut spec = box_on_cables();
    change(&mut spec);
    MassSpring::new(spec, bdf2(0.01)).unwrap_err().to_string()
}

#[test]
fn nonsense_is_refused_and_named() {
    assert_eq!(
        refused(|spec| spec.dimension = 4),
        "a network lives in 2 or 3 dimensions, not in 4"
    );
    assert_eq!(refused(|spec| spec.masses.clear()), "a network needs at least one mass");
    assert_eq!(
        refused(|spec| spec.masses[2] = -1.0),
        "entry 2 of `masses` is -1, but must be positive and finite"
    );
    assert_eq!(refused(|spec| spec.gravity = vec![0.0; 3]), "`gravity` has 3 entries, needs 2");
    assert_eq!(
        refused(|spec| spec.gravity[1] = f64::NAN),
        "entry 1 of `gravity` is NaN, but must be finite"
    );
    assert_eq!(
        refused(|spec| spec.springs[1].ends[1] = End::Mass(7)),
        "spring 1 is tied to mass 7, but there are 4"
    );
    assert_eq!(
        refused(|spec| spec.springs[6].ends[0] = End::Handle(2)),
        "spring 6 is tied to handle 2, but there are 2"
    );
    assert_eq!(
        refused(|spec| spec.springs[0].ends = [End::Mass(1); 2]),
        "spring 0 joins a point to itself; give it two different ends"
    );
    assert_eq!(
        refused(|spec| spec.springs[0].ends = [End::Handle(0), End::Handle(1)]),
        "spring 0 joins two handles; one of its ends must be a mass"
    );
    assert_eq!(
        refused(|spec| spec.springs[3].stiffness = 0.0),
        "entry 3 of `stiffness` is 0, but must be positive and finite"
    );
    assert_eq!(
        refused(|spec| spec.springs[3].rest_length = -0.1),
        "entry 3 of `rest_length` is -0.1, but must be finite and not negative"
    );
    assert_eq!(
        refused(|spec| spec.springs[3].damping = f64::INFINITY),
        "entry 3 of `damping` is inf, but must be finite and not negative"
    );
    assert_eq!(
        refused(|spec| {
            spec.springs.push(spring(End::Mass(0), End::Handle(0), 1.0, 0.0));
            spec.springs[8].damping = 1.0;
        }),
        "entry 8 of `damping` is 1, but must be 0 for a spring of rest length 0"
    );
    assert_eq!(
        refused(|spec| spec.springs[6].law = Law::Unilateral { smoothing: 0.6 }),
        "entry 6 of `smoothing` is 0.6, but must be at most the rest length"
    );
    assert_eq!(
        refused(|spec| spec.mass_damping = -1.0),
        "entry 0 of `mass_damping` is -1, but must be finite and not negative"
    );
    for dt in [0.0, -0.1, f64::NAN] {
        let error = MassSpring::new(box_on_cables(), bdf2(dt)).unwrap_err();
        assert!(matches!(error, NetworkError::Parameter { what: "dt", .. }));
    }
}

#[test]
fn a_description_survives_its_file_and_files_may_be_short() {
    let spec = box_on_cables();
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<NetworkSpec>(&text).unwrap(), spec);
    let short = r#"{
        "dimension": 2, "masses": [1.0], "n_handles": 1, "gravity": [0.0, -9.81],
        "springs": [{ "ends": [{ "handle": 0 }, { "mass": 0 }], "stiffness": 1e4,
                      "rest_length": 0.5 }]
    }"#;
    let read: NetworkSpec = serde_json::from_str(short).unwrap();
    assert_eq!(read, pendulum(2, &[Link::pendulum()]));
    let cable = r#"{ "unilateral": { "smoothing": 0.001 } }"#;
    let law: Law = serde_json::from_str(cable).unwrap();
    assert_eq!(law, Law::Unilateral { smoothing: 1e-3 });
    let typo = short.replace("stiffness", "stifness");
    assert!(
        serde_json::from_str::<NetworkSpec>(&typo).unwrap_err().to_string().contains("stifness")
    );
    let integration: Integration =
        serde_json::from_str(r#"{ "scheme": "bdf2", "dt": 0.02 }"#).unwrap();
    assert_eq!(integration, bdf2(0.02));
}

#[test]
fn only_a_bdf1_start_of_bdf2_has_a_flag_and_the_first_step_takes_it_down() {
    let sizes = [
        (Scheme::Bdf2, Startup::Bdf1, 11),
        (Scheme::Bdf2, Startup::SecondOrder, 10),
        (Scheme::Bdf1, Startup::Bdf1, 10),
    ];
    for (scheme, startup, nx) in sizes {
        let integration = Integration { scheme, startup, dt: 0.01 };
        let model = MassSpring::new(pendulum(2, &[Link::pendulum()]), integration).unwrap();
        assert_eq!((model.nx(), model.ndx(), model.nu()), (nx, 10, 2));
        let x = model.state(&[0.0, -0.5], &[0.1, 0.0], &[0.0, 0.0]).unwrap();
        let mut next = x.clone();
        model.step(&mut model.workspace(), &x, &DVector::zeros(2), &mut next).unwrap();
        if let Some(flag) = model.layout().flag() {
            assert_eq!((x[flag], next[flag]), (1.0, 0.0));
        }
        // The history moves up.
        assert_eq!(next.as_slice()[2..4], x.as_slice()[0..2]);
        assert_eq!(next.as_slice()[6..8], x.as_slice()[4..6]);
    }
}

#[test]
fn states_that_make_no_sense_are_refused() {
    let model = MassSpring::new(pendulum(2, &[Link::pendulum()]), bdf2(0.01)).unwrap();
    let error = model.state(&[0.2, 0.1], &[0.0, 0.0], &[0.2, 0.1]).unwrap_err();
    assert_eq!(error, NetworkError::ZeroLength { spring: 0 });
    let error = model.state(&[0.0], &[0.0, 0.0], &[0.0, 0.0]).unwrap_err();
    assert_eq!(error.to_string(), "`x` has 1 entries, needs 2");
    let error = model.state(&[0.0, 1.0], &[f64::NAN, 0.0], &[0.0, 0.0]).unwrap_err();
    assert_eq!(error.to_string(), "entry 0 of `v` is NaN, but must be finite");
}

#[test]
fn an_observation_is_handles_positions_velocities() {
    let model = MassSpring::new(pendulum(2, &[Link::pendulum()]), bdf2(0.01)).unwrap();
    let x = model.state(&[1.0, 2.0], &[3.0, 4.0], &[5.0, 6.0]).unwrap();
    let observation = model.observation();
    let mut o = vec![f64::NAN; observation.n_observations(model.nx())];
    observation.observe(&x, &mut o);
    assert_eq!(o, [5.0, 6.0, 1.0, 2.0, 3.0, 4.0]);
    let mut ox = DMatrix::repeat(6, 10, f64::NAN);
    observation.linearize(&x, &mut ox);
    let tangent = x.rows(0, 10);
    assert_eq!((ox * tangent).as_slice(), o);
}

#[test]
fn a_chain_starts_in_axial_balance() {
    let link = Link::pendulum();
    let (sin, cos) = 0.6_f64.sin_cos();
    let start =
        chain_start(2, &[link], &[0.3, 0.1], &[sin, -cos], &[1.2 * cos, 1.2 * sin]).unwrap();
    let length = (start.x[0] - 0.3).hypot(start.x[1] - 0.1);
    // k (ℓ − L) = m (g cosθ + v²/ℓ).
    let tension = 9.81 * cos + 1.2 * 1.2 / length;
    assert!((1e4 * (length - 0.5) - tension).abs() < 1e-9);
    // Then the mass is accelerated along the spring as the circle needs it.
    let integration = Integration { scheme: Scheme::Bdf2, startup: Startup::SecondOrder, dt: 0.01 };
    let model = MassSpring::new(pendulum(2, &[link]), integration).unwrap();
    let a = model.acceleration(&start.x, &start.v, &[0.3, 0.1]);
    assert!((a[0] * sin - a[1] * cos + 1.2 * 1.2 / length).abs() < 1e-9);
}
