//! Rigid-body trees: values of the literature, identities, duals' and differences' derivatives.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use dynamics::models::{Cartpole, CartpoleParameters, DeadbandKind, iiwa14};
use dynamics::rigid_body::description::{
    Inertial, JointDescription, JointKind, JointProperties, LinkDescription, RobotDescription,
};
use dynamics::rigid_body::{
    Base, Model, ModelError, Motor, PassiveForces, RigidBodyPlant, RigidBodyScheme,
    SecondOrderWorkspace, Workspace,
};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, Dynamics as _, JacobianSource, Linearization, Move,
    Plant as _, Rk4, Scratch, StateSpace as _, Stream, Task, TransitionGradient,
};
use nalgebra::{DMatrix, DVector, Matrix3, Rotation3, Vector3, dvector};
use proptest::prelude::*;

#[path = "common/random_tree.rs"]
mod random_tree;
use random_tree::random_tree;

fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}[{i}]: {a} against {b}");
    }
}

#[test]
fn the_arm_has_the_values_of_the_sheet() {
    let model = Model::new(&iiwa14(), Base::Fixed).unwrap();
    assert_eq!((model.nq(), model.nv(), model.n_bodies()), (7, 7, 7));
    let mut ws = model.workspace();
    let tool = model.find_frame("tool").unwrap();
    let zero = DVector::zeros(7);
    let (_, p) = model.frame_pose(&mut ws, &zero, tool);
    assert_close("tool at 0", p.as_slice(), &[0.0, 0.0, 1.301], 1e-12);
    let q0 = dvector![0.1, 0.7, 0.0, 0.7, -0.5, 1.5, 0.0];
    let (_, p) = model.frame_pose(&mut ws, &q0, tool);
    assert_close("tool at q0", p.as_slice(), &[0.380389, -0.019990, 1.089793], 1e-6);
    let mut tau = zero.clone();
    model.rnea(&mut ws, &q0, &zero, &zero, &mut tau);
    let gravity = [0.0, -25.503465, -0.528521, -0.021027, 0.0, -0.364738, 0.0];
    assert_close("gravity", tau.as_slice(), &gravity, 1e-7);
    let mut m = DMatrix::zeros(7, 7);
    model.mass_matrix(&mut ws, &q0, &mut m);
    let diagonal = [0.746145, 3.111937, 0.259279, 0.531789, 0.020812, 0.009631, 0.001035];
    assert_close("diagonal of M", m.diagonal().as_slice(), &diagonal, 1e-6);
    let others = [m[(0, 1)], m[(1, 3)], m[(2, 4)]];
    assert_close("M", &others, &[0.082366, -1.009238, 0.017903], 1e-6);

    let q = dvector![0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7];
    let v = dvector![0.7, -0.6, 0.5, -0.4, 0.3, -0.2, 0.1];
    let a = dvector![1.0, -1.0, 0.5, -0.5, 0.25, -0.25, 0.1];
    model.rnea(&mut ws, &q, &v, &a, &mut tau);
    let expected = [0.369490, -1.484230, -0.219897, 4.426978, -0.198957, 0.095514, 0.001842];
    assert_close("RNEA", tau.as_slice(), &expected, 1e-6);
    let (_, p) = model.frame_pose(&mut ws, &q, tool);
    assert_close("tool", p.as_slice(), &[-0.040305, 0.005919, 1.274127], 1e-6);
    let mut qdd = zero.clone();
    let ramp = DVector::from_fn(7, |i, _| i as f64 + 1.0);
    model.aba(&mut ws, &q, &v, &ramp, &mut qdd);
    let expected = [-37.75838, 2.19024, -39.97541, 30.27973, 89.97236, 679.40040, 6751.97051];
    assert_close("ABA", qdd.as_slice(), &expected, 1e-8);
    model.rnea_derivatives(&mut ws, &q, &v, &a);
    let row: Vec<f64> = ws.dtau_dq().row(1).iter().copied().collect();
    let expected = [0.0, -52.678527, -0.598642, 14.985207, -0.733950, -0.338016, 0.0];
    assert_close("row 2 of dtau/dq", &row, &expected, 1e-7);
    let row: Vec<f64> = ws.dtau_dv().row(0).iter().copied().collect();
    let expected = [0.219526, -0.236952, 0.020163, 0.016062, 0.005435, -0.001578, -0.000074];
    assert_close("row 1 of dtau/dv", &row, &expected, 1e-6);
}

struct State {
    q: DVector<f64>,
    v: DVector<f64>,
    a: DVector<f64>,
}

fn random_state(model: &Model, seed: u64) -> State {
    let mut s = Stream::new(seed, "random state", 0);
    let mut normal = |n: usize| DVector::from_fn(n, |_, _| s.normal());
    let (v, a) = (normal(model.nv()), normal(model.nv()));
    State { q: model.random_configuration(&mut Stream::new(seed, "q", 0)), v, a }
}

/// Central differences with one step of Richardson's extrapolation of f along a tangent direction.
fn richardson(f: impl Fn(f64) -> DVector<f64>) -> DVector<f64> {
    let h = 1e-3;
    let slope = |h: f64| (f(h) - f(-h)) / (2.0 * h);
    (slope(h / 2.0) * 4.0 - slope(h)) / 3.0
}

fn relative_error(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
    (a - b).amax() / b.amax().max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn identities_of_random_trees(n in 1_usize..14, seed: u64, floating: bool) {
        let base = if floating { Base::Floating } else { Base::Fixed };
        let model = Model::new(&random_tree(n, seed), base).unwrap();
        let nv = model.nv();
        prop_assume!(nv > 0);
        let State { q, v, a } = random_state(&model, seed);
        let mut ws = model.workspace();
        let (mut tau, mut back) = (DVector::zeros(nv), DVector::zeros(nv));
        model.rnea(&mut ws, &q, &v, &a, &mut tau);
        model.aba(&mut ws, &q, &v, &tau, &mut back);
        let scale = 1.0 + tau.amax();
        prop_assert!((&back - &a).amax() < 1e-8 * scale, "aba(rnea): {}", (&back - &a).amax());
        // Columns of M from RNEA.
        let mut m = DMatrix::zeros(nv, nv);
        model.mass_matrix(&mut ws, &q, &mut m);
        let zero = DVector::zeros(nv);
        let mut bias = zero.clone();
        model.rnea(&mut ws, &q, &v, &zero, &mut bias);
        prop_assert!((&m * &a + &bias - &tau).amax() < 1e-10 * scale);
        model.aba_derivatives(&mut ws, &q, &v, &tau);
        let minv = ws.dqdd_dtau().clone_owned();
        prop_assert!((&minv * &m - DMatrix::identity(nv, nv)).amax() < 1e-7);
        let mut alone = DMatrix::zeros(nv, nv);
        model.inverse_mass_matrix(&mut model.workspace(), &q, &mut alone);
        prop_assert!(relative_error(&alone, &minv) < 1e-9);
        let (dq, dv) = (ws.dqdd_dq().clone_owned(), ws.dqdd_dv().clone_owned());
        model.rnea_derivatives(&mut ws, &q, &v, &a);
        let (tq, tv) = (ws.dtau_dq().clone_owned(), ws.dtau_dv().clone_owned());
        prop_assert!(relative_error(&(&m * dq), &-tq) < 1e-8);
        prop_assert!(relative_error(&(&m * dv), &-tv) < 1e-8);
    }

    #[test]
    fn derivatives_of_random_trees_agree_with_differences(
        n in 1_usize..9, seed: u64, floating: bool,
    ) {
        let base = if floating { Base::Floating } else { Base::Fixed };
        let model = Model::new(&random_tree(n, seed), base).unwrap();
        let nv = model.nv();
        prop_assume!(nv > 0);
        let State { q, v, a } = random_state(&model, seed);
        let mut ws = model.workspace();
        model.rnea_derivatives(&mut ws, &q, &v, &a);
        let (tq, tv) = (ws.dtau_dq().clone_owned(), ws.dtau_dv().clone_owned());
        for k in 0..nv {
            let along = |h: f64| {
                let mut e = DVector::zeros(nv);
                e[k] = h;
                e
            };
            let by_q = richardson(|h| {
                let (mut moved, mut tau) = (q.clone(), DVector::zeros(nv));
                model.integrate(&q, &along(h), &mut moved);
                model.rnea(&mut model.workspace(), &moved, &v, &a, &mut tau);
                tau
            });
            let by_v = richardson(|h| {
                let mut tau = DVector::zeros(nv);
                model.rnea(&mut model.workspace(), &q, &(&v + along(h)), &a, &mut tau);
                tau
            });
            let error = (tq.column(k) - &by_q).amax() / by_q.amax().max(1.0);
            prop_assert!(error < 1e-6, "by q{k}: {error} of {by_q}");
            let error = (tv.column(k) - &by_v).amax() / by_v.amax().max(1.0);
            prop_assert!(error < 1e-6, "by v{k}: {error}");
        }
    }

    #[test]
    fn moving_along_a_difference_arrives(n in 1_usize..9, seed: u64) {
        let model = Model::new(&random_tree(n, seed), Base::Floating).unwrap();
        let q0 = model.random_configuration(&mut Stream::new(seed, "q", 0));
        let q1 = model.random_configuration(&mut Stream::new(seed, "q", 1));
        let mut d = DVector::zeros(model.nv());
        model.difference(&q0, &q1, &mut d);
        let mut back = q0.clone();
        model.integrate(&q0, &d, &mut back);
        let mut rest = DVector::zeros(model.nv());
        model.difference(&q1, &back, &mut rest);
        prop_assert!(rest.amax() < 1e-9, "{rest}");
    }
}

/// A step's Jacobians against Richardson differences in the tangent.
fn check_plant(plant: &RigidBodyPlant, seed: u64, tolerance: f64) -> Result<(), TestCaseError> {
    let model = plant.model();
    let State { q, v, .. } = random_state(model, seed);
    let x = DVector::from_iterator(model.nq() + model.nv(), q.iter().chain(&v).copied());
    let mut s = Stream::new(seed, "u", 0);
    let u = DVector::from_fn(plant.nu(), |_, _| s.normal());
    let mut ws = plant.workspace();
    let (mut next, mut jacobian) = (x.clone(), Linearization::of(plant));
    plant.step(&mut ws, &x, &u, &mut next).unwrap();
    plant.linearize(&mut ws, &x, &u, &mut jacobian).unwrap();
    let step = |x: &DVector<f64>, u: &DVector<f64>| {
        let (mut moved, mut d) = (x.clone(), DVector::zeros(plant.ndx()));
        plant.step(&mut plant.workspace(), x, u, &mut moved).unwrap();
        plant.difference(&next, &moved, &mut d);
        d
    };
    for k in 0..plant.ndx() + plant.nu() {
        let expected = richardson(|h| {
            let mut along = DVector::zeros(plant.ndx() + plant.nu());
            along[k] = h;
            let (dx, du) = along.as_slice().split_at(plant.ndx());
            let mut moved = x.clone();
            plant.integrate(&x, &DVector::from_row_slice(dx), &mut moved);
            step(&moved, &(&u + DVector::from_row_slice(du)))
        });
        let found = match k.checked_sub(plant.ndx()) {
            None => jacobian.fx.column(k).clone_owned(),
            Some(j) => jacobian.fu.column(j).clone_owned(),
        };
        let error = (&found - &expected).amax() / expected.amax().max(1.0);
        prop_assert!(error < tolerance, "column {k}: {error}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn jacobians_of_steps_are_exact(n in 1_usize..6, seed: u64, floating: bool, rk4: bool) {
        let base = if floating { Base::Floating } else { Base::Fixed };
        let mut model = Model::new(&random_tree(n, seed), base).unwrap();
        prop_assume!(model.nv() > 0);
        for dof in model.dofs_mut() {
            dof.properties.damping = 0.3;
            dof.properties.friction = 0.2;
            dof.properties.stiffness = 0.7;
            dof.properties.armature = 0.05;
            // Beyond it from the start, or never.
            dof.properties.position_limit = [-20.0, if dof.q % 2 == 0 { -10.0 } else { 20.0 }];
        }
        let settings = PassiveForces { limit_stiffness: 3.0, limit_damping: 0.4, ..Default::default() };
        model.set_passive_forces(settings);
        let scheme = if rk4 { RigidBodyScheme::Rk4 } else { RigidBodyScheme::SemiImplicitEuler };
        let plant = RigidBodyPlant::new(model, scheme, 0.02).unwrap().with_substeps(2);
        check_plant(&plant, seed, 1e-6)?;
    }

    #[test]
    fn second_derivatives_are_those_of_the_first(n in 1_usize..5, seed: u64) {
        let model = Model::new(&random_tree(n, seed), Base::Fixed).unwrap();
        let nv = model.nv();
        prop_assume!(nv > 0);
        let State { q, v, a: tau } = random_state(&model, seed);
        let lambda = DVector::from_fn(nv, |i, _| 1.0 - 0.3 * i as f64);
        let mut second = SecondOrderWorkspace::new(&model);
        let mut h = DMatrix::zeros(3 * nv, 3 * nv);
        model.aba_hessian(&mut second, &q, &v, &tau, &lambda, &mut h);
        let gradient = |q: &DVector<f64>, v: &DVector<f64>, tau: &DVector<f64>| {
            let mut ws = model.workspace();
            model.aba_derivatives(&mut ws, q, v, tau);
            let mut g = DVector::zeros(3 * nv);
            g.rows_mut(0, nv).copy_from(&(ws.dqdd_dq().transpose() * &lambda));
            g.rows_mut(nv, nv).copy_from(&(ws.dqdd_dv().transpose() * &lambda));
            g.rows_mut(2 * nv, nv).copy_from(&(ws.dqdd_dtau().transpose() * &lambda));
            g
        };
        for k in 0..3 * nv {
            let expected = richardson(|h| {
                let mut along = DVector::zeros(3 * nv);
                along[k] = h;
                let part = |at: usize| along.rows(at * nv, nv).clone_owned();
                let mut moved = q.clone();
                model.integrate(&q, &part(0), &mut moved);
                gradient(&moved, &(&v + part(1)), &(&tau + part(2)))
            });
            let error = (h.column(k) - &expected).amax() / expected.amax().max(1.0);
            prop_assert!(error < 1e-6, "column {k}: {error}");
        }
    }
}

/// Drift of energy over one second of free motion.
fn drift(scheme: RigidBodyScheme, dt: f64) -> f64 {
    let model = Model::new(&random_tree(5, 3), Base::Floating).unwrap();
    let plant = RigidBodyPlant::new(model, scheme, dt).unwrap();
    let model = plant.model();
    let State { q, v, .. } = random_state(model, 3);
    let mut x = DVector::from_iterator(model.nq() + model.nv(), q.iter().chain(&v).copied());
    let (mut ws, mut tree) = (plant.workspace(), model.workspace());
    let energy = |tree: &mut Workspace, x: &DVector<f64>| {
        let (q, v) = (x.rows(0, model.nq()).clone_owned(), x.rows(model.nq(), model.nv()));
        let e = model.energy(tree, &q, &v.clone_owned());
        e.kinetic + e.potential
    };
    let before = energy(&mut tree, &x);
    let u = DVector::zeros(plant.nu());
    for _ in 0..(0.5 / dt).round() as usize {
        let mut next = x.clone();
        plant.step(&mut ws, &x, &u, &mut next).unwrap();
        x = next;
    }
    model
        .check_state(
            &x.rows(0, model.nq()).clone_owned(),
            &x.rows(model.nq(), model.nv()).clone_owned(),
        )
        .unwrap();
    (energy(&mut tree, &x) - before).abs()
}

#[test]
fn energy_drifts_with_the_order_of_the_scheme() {
    let ratio = drift(RigidBodyScheme::Rk4, 2e-3) / drift(RigidBodyScheme::Rk4, 1e-3);
    assert!(
        ratio > 12.0,
        "halving the step divides the drift of RK4 by {ratio}, expected 16 or more"
    );
    let ratio = drift(RigidBodyScheme::SemiImplicitEuler, 1e-3)
        / drift(RigidBodyScheme::SemiImplicitEuler, 5e-4);
    assert!((1.7..2.4).contains(&ratio), "semi-implicit Euler: {ratio}, expected 2");
}

#[test]
fn a_floating_robot_keeps_its_momentum_and_knows_no_place() {
    let mut robot = random_tree(6, 11);
    robot.gravity = Vector3::zeros();
    let model = Model::new(&robot, Base::Floating).unwrap();
    let (nq, nv) = (model.nq(), model.nv());
    let State { q, v, .. } = random_state(&model, 11);
    let (mut ws, mut a) = (model.workspace(), DVector::zeros(nv));

    // Internal torques change neither momentum; differences along the motion.
    let tau = DVector::from_fn(nv, |i, _| if i < 6 { 0.0 } else { 0.5 });
    model.aba(&mut ws, &q, &v, &tau, &mut a);
    let momentum = |h: f64| {
        let mut moved = q.clone();
        // Second order in h along the motion.
        model.integrate(&q, &(&v * h + &a * (0.5 * h * h)), &mut moved);
        let (linear, angular) = model.momentum(&mut model.workspace(), &moved, &(&v + &a * h));
        DVector::from_iterator(6, linear.iter().chain(&angular).copied())
    };
    let rate = richardson(momentum);
    assert!(rate.amax() < 1e-6, "momentum changes: {rate}");

    // Shifted and turned about the vertical, all joints feel the same.
    let gravity = Model::new(&random_tree(6, 11), Base::Floating).unwrap();
    let mut gravity = gravity;
    gravity.set_gravity(Vector3::new(0.0, 0.0, -9.81));
    let mut tau = DVector::zeros(nv);
    gravity.rnea(&mut ws, &q, &v, &a, &mut tau);
    let before = tau.clone();
    gravity.aba_derivatives(&mut ws, &q, &v, &tau);
    let derivative = ws.dqdd_dv().clone_owned();
    let yaw = Rotation3::from_axis_angle(&Vector3::z_axis(), 0.8);
    let mut moved = q.clone();
    let p = yaw * Vector3::new(q[0], q[1], q[2]) + Vector3::new(3.0, -2.0, 5.0);
    moved.rows_mut(0, 3).copy_from(&p);
    let turned = nalgebra::UnitQuaternion::from_rotation_matrix(&yaw)
        * nalgebra::UnitQuaternion::new_normalize(nalgebra::Quaternion::new(
            q[6], q[3], q[4], q[5],
        ));
    moved.rows_mut(3, 4).copy_from(&turned.coords);
    assert_eq!(moved.len(), nq);
    gravity.rnea(&mut ws, &moved, &v, &a, &mut tau);
    assert!((&tau - &before).amax() < 1e-9 * before.amax().max(1.0), "{}", (&tau - before).amax());
    gravity.aba_derivatives(&mut ws, &moved, &v, &tau);
    assert!(relative_error(&ws.dqdd_dv().clone_owned(), &derivative) < 1e-8);
}

/// A link of the cartpole below.
fn link(name: &str, mass: f64, center: Vector3<f64>) -> LinkDescription {
    let inertial = Inertial { mass, center, inertia: Matrix3::zeros() };
    LinkDescription { name: name.to_owned(), inertial, line: 0 }
}

#[test]
fn the_cartpole_as_a_tree_is_the_cartpole_by_hand() {
    let joint = |name: &str, kind: JointKind, parent: &str| JointDescription {
        name: name.to_owned(),
        kind,
        parent: parent.to_owned(),
        child: name.to_owned(),
        position: Vector3::zeros(),
        rotation: Matrix3::identity(),
        home: kind.neutral(),
        properties: JointProperties { damping: 0.08, ..JointProperties::default() },
        line: 0,
    };
    let (cart_mass, pole_mass, length) = (1.8, 0.6, 0.5);
    let robot = RobotDescription {
        name: "cartpole".to_owned(),
        links: vec![
            link("rail", 0.0, Vector3::zeros()),
            link("cart", cart_mass, Vector3::zeros()),
            // A point mass that hangs down; positive angles lift it towards +x.
            link("pole", pole_mass, Vector3::new(0.0, 0.0, -length)),
        ],
        joints: vec![
            joint("cart", JointKind::Prismatic(Vector3::x()), "rail"),
            joint("pole", JointKind::Revolute(-Vector3::y()), "cart"),
        ],
        gravity: Vector3::new(0.0, 0.0, -9.81),
        ..RobotDescription::default()
    };
    let tree = Model::new(&robot, Base::Fixed).unwrap();
    let plant = RigidBodyPlant::new(tree, RigidBodyScheme::Rk4, 0.02)
        .unwrap()
        .with_motors(vec![Motor { dof: 0, gear: 1.0 }])
        .unwrap();
    let by_hand = Rk4::new(
        Cartpole::new(CartpoleParameters {
            cart_mass,
            pole_mass,
            length,
            gravity: 9.81,
            damping: 0.08,
            friction: 0.0,
            friction_slope: 5.0,
            deadband: 0.0,
            deadband_kind: DeadbandKind::Zeroing,
        })
        .unwrap(),
        0.02,
    )
    .unwrap();
    let mut s = Stream::new(0, "cartpole", 0);
    for _ in 0..100 {
        let x = DVector::from_fn(4, |_, _| 2.0 * s.normal());
        let u = dvector![10.0 * s.normal()];
        let (mut a, mut b) = (x.clone(), x.clone());
        plant.step(&mut plant.workspace(), &x, &u, &mut a).unwrap();
        by_hand.step(&mut by_hand.workspace(), &x, &u, &mut b).unwrap();
        assert_close("x'", a.as_slice(), b.as_slice(), 1e-12);
        let (mut fa, mut fb) = (Linearization::of(&plant), Linearization::of(&by_hand));
        plant.linearize(&mut plant.workspace(), &x, &u, &mut fa).unwrap();
        by_hand.linearize(&mut by_hand.workspace(), &x, &u, &mut fb).unwrap();
        assert_close("fx", fa.fx.as_slice(), fb.fx.as_slice(), 1e-11);
        assert_close("fu", fa.fu.as_slice(), fb.fu.as_slice(), 1e-11);
    }
}

#[test]
fn models_refuse_what_is_no_tree_and_states_that_are_none() {
    let good = random_tree(3, 1);
    let mut twice = good.clone();
    twice.joints[1].child = twice.joints[0].child.clone();
    assert!(matches!(Model::new(&twice, Base::Fixed), Err(ModelError::NotATree { .. })));
    let mut unknown = good.clone();
    unknown.joints[0].child = "nowhere".to_owned();
    assert!(Model::new(&unknown, Base::Fixed).is_err());
    let mut heavy = good.clone();
    heavy.links[1].inertial.mass = f64::NAN;
    assert!(matches!(Model::new(&heavy, Base::Fixed), Err(ModelError::Inertial { .. })));
    let model = Model::new(&good, Base::Floating).unwrap();
    let (mut q, v) = (model.neutral(), DVector::zeros(model.nv()));
    assert!(model.check_state(&q, &v).is_ok());
    q[6] = 2.0;
    let error = model.check_state(&q, &v).unwrap_err().to_string();
    assert!(error.contains("the norm of a quaternion"), "{error}");
    assert!(model.find_frame("hand").unwrap_err().to_string().contains("l0, "));
}

#[test]
fn far_from_the_origin_a_floating_robot_keeps_its_precision() {
    let model = Model::new(&random_tree(6, 5), Base::Floating).unwrap();
    let State { q, v, a: tau } = random_state(&model, 5);
    let mut ws = model.workspace();
    model.aba_derivatives(&mut ws, &q, &v, &tau);
    let (qdd, by_q) = (ws.qdd().to_vec(), ws.dqdd_dq().clone_owned());
    let energy = model.energy(&mut ws, &q, &v);
    let center = model.center_of_mass(&mut ws, &q);
    let mut far = q.clone();
    far[0] += 1000.0;
    model.aba_derivatives(&mut ws, &far, &v, &tau);
    assert_close("qdd", ws.qdd(), &qdd, 1e-11);
    assert!(relative_error(&ws.dqdd_dq().clone_owned(), &by_q) < 1e-11);
    let shift = Vector3::new(1000.0, 0.0, 0.0);
    let moved = model.center_of_mass(&mut ws, &far);
    assert_close("centre", (moved - shift).as_slice(), center.as_slice(), 1e-11);
    let there = model.energy(&mut ws, &far, &v);
    assert_close("kinetic energy", &[there.kinetic], &[energy.kinetic], 1e-12);
    // Gravity of the random tree has a part along x.
    let expected = energy.potential - model.mass() * model.gravity().x * 1000.0;
    assert_close("potential energy", &[there.potential], &[expected], 1e-11);
}

#[test]
fn a_stiff_limit_stops_a_light_link_within_large_steps() {
    let mut model = Model::new(&iiwa14(), Base::Fixed).unwrap();
    for dof in model.dofs_mut() {
        dof.properties.damping = 50.0;
    }
    let limits: Vec<f64> =
        model.dofs().iter().map(|dof| dof.properties.position_limit[1]).collect();
    let plant = RigidBodyPlant::new(model, RigidBodyScheme::SemiImplicitEuler, 0.02).unwrap();
    let (mut ws, mut x) = (plant.workspace(), DVector::zeros(14));
    // Torques that press every joint against its limit; the last link has 1 g·m².
    let u = DVector::from_element(7, 60.0);
    for _ in 0..1000 {
        let mut next = x.clone();
        plant.step(&mut ws, &x, &u, &mut next).unwrap();
        x = next;
    }
    for (q, limit) in x.as_slice()[..7].iter().zip(limits) {
        assert!(q.abs() < limit + 0.2, "{q} is far beyond {limit}");
    }
    assert!(x.rows(7, 7).amax() < 1.0, "it comes to rest: {x}");
}

/// A floating robot that says nothing of its derivatives.
struct Silent {
    plant: RigidBodyPlant,
    bounds: ActionBounds,
}

impl Task for Silent {
    fn name(&self) -> &str {
        "silent"
    }
    fn plant(&self) -> &dyn AnyPlant {
        &self.plant
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.plant
    }
    fn horizon(&self) -> usize {
        10
    }
    fn dt(&self) -> f64 {
        self.plant.dt()
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, _stream: &mut Stream, x0: &mut DVector<f64>) {
        x0.fill(0.0);
        x0[6] = 1.0;
    }
    fn reward(&self, _scratch: &mut Scratch, transition: &Move<'_>) -> f64 {
        -transition.x_next[0].powi(2)
    }
}

#[test]
fn a_task_on_a_lie_group_is_told_what_it_needs() {
    let model = Model::new(&random_tree(2, 4), Base::Floating).unwrap();
    let plant = RigidBodyPlant::new(model, RigidBodyScheme::SemiImplicitEuler, 0.01).unwrap();
    let bounds = ActionBounds::symmetric(plant.nu(), 1.0);
    let task = Silent { plant, bounds };
    let error = TransitionGradient::new(&task, JacobianSource::Analytic).err().unwrap().to_string();
    assert!(
        error.contains("`silent`: its state has") && error.contains("`reward_gradient`"),
        "{error}"
    );
}
