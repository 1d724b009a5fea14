//! Second derivatives of steps, contracted with a costate: exact ones against hyper-dual numbers and
//! differences, and the default, by central differences, against exact ones.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use dynamics::check::BlockCheck;
use dynamics::models::{
    Acrobot, AcrobotParameters, Airplane, AirplaneParameters, Car, CarParameters, Cartpole,
    CartpoleGym, CartpoleGymParameters, CartpoleParameters, DeadbandKind, DoublePendulum,
    DoublePendulumParameters, LagParameters, LaggedCar, Pendulum, PendulumParameters, Quadrotor,
    QuadrotorParameters, Swimmer, SwimmerParameters, Unicycle, iiwa14,
};
use dynamics::rigid_body::{
    Base, Model, Motor, PassiveForces, RigidBodyPlant, RigidBodyScheme, SecondOrderWorkspace,
};
use dynamics::{
    DerivativeKind, Dynamics, DynamicsError, Euler, GenericContinuous, GenericDynamics,
    HessianProduct, Linearization, Plant, Rk4, SecondOrderDynamics, SemiImplicitEuler, States,
    Stream,
};
use nalgebra::{DMatrix, DVector};
use num_dual::HyperDual64;
use proptest::prelude::*;

#[path = "common/random_tree.rs"]
mod random_tree;
use random_tree::random_tree;

/// A model with the default product.
struct Plain<'a, M>(&'a M);

impl<M: Plant> Plant for Plain<'_, M> {
    type Workspace = M::Workspace;

    fn name(&self) -> &str {
        self.0.name()
    }
    fn nx(&self) -> usize {
        self.0.nx()
    }
    fn ndx(&self) -> usize {
        self.0.ndx()
    }
    fn nu(&self) -> usize {
        self.0.nu()
    }
    fn states(&self) -> States<'_> {
        self.0.states()
    }
    fn workspace(&self) -> M::Workspace {
        self.0.workspace()
    }
    fn step(
        &self,
        ws: &mut M::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.0.step(ws, x, u, x_next)
    }
}

impl<M: Dynamics> Dynamics for Plain<'_, M> {
    fn linearize(
        &self,
        ws: &mut M::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        self.0.linearize(ws, x, u, out)
    }
}

/// A state, controls and a costate.
struct Point {
    x: DVector<f64>,
    u: DVector<f64>,
    lambda: DVector<f64>,
}

impl Point {
    /// Entries of the state within ±`reach`, of the controls within `controls`.
    fn random(model: &impl Plant, seed: u64, reach: f64, controls: [f64; 2]) -> Self {
        let mut s = Stream::new(seed, "point", 0);
        let [low, high] = controls;
        Self {
            x: DVector::from_fn(model.nx(), |_, _| s.uniform(-reach, reach)),
            u: DVector::from_fn(model.nu(), |_, _| s.uniform(low, high)),
            lambda: DVector::from_fn(model.ndx(), |_, _| s.normal()),
        }
    }

    /// For a tree, with unit quaternions.
    fn of_tree(plant: &RigidBodyPlant, seed: u64) -> Self {
        let mut q = plant.model().random_configuration(&mut Stream::new(seed, "q", 0));
        let mut point = Self::random(plant, seed, 1.0, [-2.0, 2.0]);
        // Scalar joints within ±1, far from either side of a limit.
        for dof in plant.model().dofs().iter().filter(|dof| dof.scalar) {
            q[dof.q] = point.x[dof.q];
        }
        point.x.rows_mut(0, q.len()).copy_from(&q);
        point
    }

    fn product(&self, model: &impl Dynamics) -> HessianProduct {
        let mut out = HessianProduct::of(model);
        for m in [&mut out.xx, &mut out.ux, &mut out.uu] {
            m.fill(f64::NAN);
        }
        let mut ws = model.workspace();
        model.hessian_product(&mut ws, &self.x, &self.u, &self.lambda, &mut out).unwrap();
        // The same from a workspace that has been used, elsewhere too.
        let mut again = HessianProduct::of(model);
        let elsewhere = &self.u * 0.5;
        model.hessian_product(&mut ws, &self.x, &elsewhere, &self.lambda, &mut again).unwrap();
        model.hessian_product(&mut ws, &self.x, &self.u, &self.lambda, &mut again).unwrap();
        assert_eq!((&again.xx, &again.ux, &again.uu), (&out.xx, &out.ux, &out.uu));
        assert_eq!((&out.xx, &out.uu), (&out.xx.transpose(), &out.uu.transpose()));
        out
    }

    /// All second derivatives of λ·f by [x, u], by hyper-dual numbers.
    fn by_duals(&self, model: &impl GenericDynamics) -> DMatrix<f64> {
        let (nx, n) = (self.x.len(), self.x.len() + self.u.len());
        DMatrix::from_fn(n, n, |i, j| {
            let seeded = |(k, &value): (usize, &f64)| {
                let seed = |at| f64::from(u8::from(k == at));
                HyperDual64::new(value, seed(i), seed(j), 0.0)
            };
            let z: Vec<_> = self.x.iter().chain(&self.u).enumerate().map(seeded).collect();
            let next = model.step_generic(&z[..nx], &z[nx..]);
            next.iter().zip(&self.lambda).map(|(x, l)| x.eps1eps2 * l).sum()
        })
    }

    /// The same for any model on any state space, by second differences of
    /// (δ, u) ↦ λ·(f(x ⊕ δ, u) ⊖ f(x, u)), extrapolated.
    fn by_differences(&self, model: &impl Dynamics) -> DMatrix<f64> {
        let n = model.ndx() + model.nu();
        let (mut ws, mut start) = (model.workspace(), self.x.clone());
        model.step(&mut ws, &self.x, &self.u, &mut start).unwrap();
        let mut value = |z: &DVector<f64>| {
            let (mut moved, mut next) = (self.x.clone(), self.x.clone());
            let mut d = self.lambda.clone();
            let dx = z.rows(0, model.ndx()).clone_owned();
            model.states().integrate(&self.x, &dx, &mut moved);
            let u = &self.u + z.rows(model.ndx(), model.nu());
            model.step(&mut ws, &moved, &u, &mut next).unwrap();
            model.states().difference(&start, &next, &mut d);
            d.dot(&self.lambda)
        };
        let mut second = |i: usize, j: usize, h: f64| {
            let mut at = |a: f64, b: f64| {
                let mut z = DVector::zeros(n);
                z[i] += a * h;
                z[j] += b * h;
                value(&z)
            };
            (at(1.0, 1.0) - at(1.0, -1.0) - at(-1.0, 1.0) + at(-1.0, -1.0)) / (4.0 * h * h)
        };
        DMatrix::from_fn(n, n, |i, j| (4.0 * second(i, j, 1e-3) - second(i, j, 2e-3)) / 3.0)
    }
}

fn assert_close(what: &str, found: &HessianProduct, expected: &DMatrix<f64>, tolerance: f64) {
    let (ndx, nu) = (found.xx.nrows(), found.uu.nrows());
    let mut whole = DMatrix::zeros(ndx + nu, ndx + nu);
    whole.view_mut((0, 0), (ndx, ndx)).copy_from(&found.xx);
    whole.view_mut((ndx, 0), (nu, ndx)).copy_from(&found.ux);
    whole.view_mut((0, ndx), (ndx, nu)).copy_from(&found.ux.transpose());
    whole.view_mut((ndx, ndx), (nu, nu)).copy_from(&found.uu);
    let worst = BlockCheck::compare("[x, u]", &whole, expected);
    assert!(worst.error <= tolerance, "{what}: {worst:?}");
}

/// Exact against hyper-dual numbers, and the default against exact.
fn audit(model: &(impl Dynamics + GenericDynamics), reach: f64, controls: [f64; 2]) {
    assert_eq!(model.hessian_product_kind(), DerivativeKind::Analytic, "{}", model.name());
    assert_eq!(Plain(model).hessian_product_kind(), DerivativeKind::FiniteDifference);
    for seed in 0..8 {
        let point = Point::random(model, seed, reach, controls);
        let expected = point.by_duals(model);
        assert_close(model.name(), &point.product(model), &expected, 1e-10);
        assert_close(model.name(), &point.product(&Plain(model)), &expected, 1e-6);
    }
}

fn audit_integrators<M>(model: &M, dt: f64, reach: f64, controls: [f64; 2])
where
    M: GenericContinuous + Clone,
{
    for substeps in [1, 3] {
        let euler = Euler::with_substeps(model.clone(), dt, substeps).unwrap();
        audit(&euler, reach, controls);
        audit(&Rk4::with_substeps(model.clone(), dt, substeps).unwrap(), reach, controls);
    }
}

fn audit_mechanical<M>(model: &M, dt: f64, reach: f64, controls: [f64; 2])
where
    M: GenericContinuous + SecondOrderDynamics + Clone,
{
    audit_integrators(model, dt, reach, controls);
    for substeps in [1, 3] {
        let model = SemiImplicitEuler::with_substeps(model.clone(), dt, substeps).unwrap();
        audit(&model, reach, controls);
    }
}

#[test]
fn products_of_wheels_and_arms_are_those_of_hyper_dual_numbers() {
    audit_integrators(&Unicycle, 0.1, 3.0, [-2.0, 2.0]);
    let identified = CarParameters::identified();
    audit_integrators(&Car::new(CarParameters::released()).unwrap(), 0.02, 2.0, [-1.0, 1.0]);
    audit_integrators(&Car::new(identified).unwrap(), 0.02, 2.0, [-1.0, 1.0]);
    let lagged = LaggedCar::new(identified, LagParameters::identified()).unwrap();
    audit_integrators(&lagged, 0.02, 2.0, [-1.0, 1.0]);
    let acrobot = Acrobot::new(AcrobotParameters::real()).unwrap();
    audit_mechanical(&acrobot, 0.02, 4.0, [-10.0, 10.0]);
    let links = DoublePendulumParameters { gravity: 9.81, ..DoublePendulumParameters::real() };
    audit_mechanical(&DoublePendulum::new(links).unwrap(), 0.02, 4.0, [-2.0, 2.0]);
    let rough = CartpoleParameters {
        cart_mass: 1.0,
        pole_mass: 0.2,
        length: 0.5,
        gravity: 9.81,
        damping: 0.08,
        friction: 0.6,
        friction_slope: 5.0,
        deadband: 0.05,
        deadband_kind: DeadbandKind::Zeroing,
    };
    audit_mechanical(&Cartpole::new(rough).unwrap(), 0.02, 3.0, [-10.0, 10.0]);
    let gym = CartpoleGym::new(CartpoleGymParameters::default()).unwrap();
    audit_mechanical(&gym, 0.02, 3.0, [-10.0, 10.0]);
    let pendulum = Pendulum::new(PendulumParameters::default(), 0.05).unwrap();
    audit(&pendulum, 3.0, [-1.9, 1.9]);
    // Torque and speed beyond their limits.
    audit(&pendulum, 3.0, [3.0, 4.0]);
    let slow = PendulumParameters { max_speed: 0.01, ..PendulumParameters::default() };
    audit(&Pendulum::new(slow, 0.05).unwrap(), 3.0, [-1.9, 1.9]);
}

#[test]
fn products_of_aircraft_are_those_of_hyper_dual_numbers() {
    for p in [QuadrotorParameters::nominal(), QuadrotorParameters::real_with_air_drag()] {
        let model = Quadrotor::new(p).unwrap();
        audit(&Euler::new(model.clone(), 0.02).unwrap(), 1.0, [11.5, 18.3]);
        audit(&Rk4::new(model, 0.02).unwrap(), 1.0, [11.5, 18.3]);
    }
    for p in [AirplaneParameters::nominal(), AirplaneParameters::wind_tunnel()] {
        let model = Airplane::new(p).unwrap();
        // Angles of attack within ±π/2, where the coefficients are smooth.
        let euler = Euler::new(model.clone(), 0.02).unwrap();
        let rk4 = Rk4::new(model, 0.02).unwrap();
        for seed in 0..4 {
            let mut point = Point::random(&euler, seed, 0.3, [60.0, 150.0]);
            point.x[6] += 6.0;
            let (by_euler, by_rk4) = (point.by_duals(&euler), point.by_duals(&rk4));
            assert_close("airplane", &point.product(&euler), &by_euler, 1e-10);
            assert_close("airplane", &point.product(&rk4), &by_rk4, 1e-10);
            assert_close("airplane", &point.product(&Plain(&rk4)), &by_rk4, 1e-6);
        }
    }
}

#[test]
fn without_second_derivatives_of_the_model_integrators_take_differences() {
    let swimmer = || Swimmer::new(SwimmerParameters::uniform(3)).unwrap();
    let (rk4, euler) =
        (Rk4::new(swimmer(), 0.03).unwrap(), SemiImplicitEuler::new(swimmer(), 0.03).unwrap());
    assert_eq!(rk4.hessian_product_kind(), DerivativeKind::FiniteDifference);
    for seed in 0..4 {
        let point = Point::random(&rk4, seed, 2.0, [-1.0, 1.0]);
        assert_close("swimmer", &point.product(&rk4), &point.by_duals(&rk4), 1e-6);
        assert_close("swimmer", &point.product(&euler), &point.by_duals(&euler), 1e-6);
    }
}

fn passive(model: &mut Model) {
    for dof in model.dofs_mut() {
        dof.properties.damping = 0.3;
        dof.properties.friction = 0.2;
        dof.properties.stiffness = 0.7;
        dof.properties.armature = 0.05;
        // Beyond it from the start, or never.
        dof.properties.position_limit = [-20.0, if dof.q % 2 == 0 { -10.0 } else { 20.0 }];
    }
    model.set_passive_forces(PassiveForces {
        friction_slope: 3.0,
        limit_stiffness: 3.0,
        limit_damping: 0.4,
    });
}

#[test]
fn the_arm_agrees_with_dual_numbers_over_forward_dynamics() {
    let h = 0.03;
    let mut model = Model::new(&iiwa14(), Base::Fixed).unwrap();
    model.set_passive_forces(PassiveForces { limit_stiffness: 0.0, ..Default::default() });
    let motors: Vec<Motor> = (0..7).map(|dof| Motor { dof, gear: 1.0 + dof as f64 }).collect();
    let plant = RigidBodyPlant::new(model, RigidBodyScheme::SemiImplicitEuler, h).unwrap();
    let plant = plant.with_motors(motors.clone()).unwrap();
    assert_eq!(plant.hessian_product_kind(), DerivativeKind::Analytic);
    for seed in 0..8 {
        let point = Point::of_tree(&plant, seed);
        let Point { x, u, lambda } = &point;
        let (q, v) = (x.rows(0, 7).clone_owned(), x.rows(7, 7).clone_owned());
        let tau = DVector::from_fn(7, |i, _| motors[i].gear * u[i]);
        let s = (lambda.rows(7, 7) + lambda.rows(0, 7) * h) * h;
        let mut expected = DMatrix::zeros(21, 21);
        let mut second = SecondOrderWorkspace::new(plant.model());
        plant.model().aba_hessian(&mut second, &q, &v, &tau, &s, &mut expected);
        for motor in &motors {
            let mut row = expected.row_mut(14 + motor.dof);
            row *= motor.gear;
            let mut column = expected.column_mut(14 + motor.dof);
            column *= motor.gear;
        }
        assert_close("arm", &point.product(&plant), &expected, 1e-10);
        assert_close("arm", &point.product(&Plain(&plant)), &expected, 1e-6);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_of_trees_are_those_of_differences(
        n in 1_usize..6, seed: u64, floating: bool, rough: bool,
    ) {
        let base = if floating { Base::Floating } else { Base::Fixed };
        let mut model = Model::new(&random_tree(n, seed), base).unwrap();
        prop_assume!(model.nv() > 0 && model.nv() < 20);
        if rough {
            passive(&mut model);
        }
        let plant = RigidBodyPlant::new(model, RigidBodyScheme::SemiImplicitEuler, 0.05).unwrap();
        let point = Point::of_tree(&plant, seed);
        let exact = point.product(&plant);
        assert_close("differences", &exact, &point.by_differences(&plant), 1e-6);
        let default = point.product(&Plain(&plant));
        for (name, a, b) in
            [("xx", &default.xx, &exact.xx), ("ux", &default.ux, &exact.ux), ("uu", &default.uu, &exact.uu)]
        {
            let worst = BlockCheck::compare(name, a, b);
            prop_assert!(worst.error < 1e-6, "{worst:?}");
        }
    }

    #[test]
    fn products_of_other_schemes_are_those_of_differences(n in 1_usize..4, seed: u64, rk4: bool) {
        let mut model = Model::new(&random_tree(n, seed), Base::Floating).unwrap();
        prop_assume!(model.nv() < 13);
        passive(&mut model);
        let scheme = if rk4 { RigidBodyScheme::Rk4 } else { RigidBodyScheme::SemiImplicitEuler };
        let plant = RigidBodyPlant::new(model, scheme, 0.05).unwrap().with_substeps(2);
        prop_assert_eq!(plant.hessian_product_kind(), DerivativeKind::FiniteDifference);
        let point = Point::of_tree(&plant, seed);
        assert_close("plant", &point.product(&plant), &point.by_differences(&plant), 1e-6);
    }

    #[test]
    fn differences_of_states_have_exact_jacobians(n in 1_usize..6, seed: u64, floating: bool) {
        let base = if floating { Base::Floating } else { Base::Fixed };
        let model = Model::new(&random_tree(n, seed), base).unwrap();
        prop_assume!(model.nv() > 0);
        let plant = RigidBodyPlant::new(model, RigidBodyScheme::SemiImplicitEuler, 0.05).unwrap();
        let (x0, ndx) = (Point::of_tree(&plant, seed).x, plant.ndx());
        let states = plant.states();
        let mut found = DMatrix::repeat(ndx, ndx, f64::NAN);
        states.difference_jacobian(&x0, &x0, &mut found);
        prop_assert!((&found - DMatrix::identity(ndx, ndx)).amax() < 1e-14);
        // Any state that is less than half a turn away.
        let mut s = Stream::new(seed, "away", 0);
        let away = DVector::from_fn(ndx, |_, _| s.uniform(-1.2, 1.2));
        let mut x1 = x0.clone();
        states.integrate(&x0, &away, &mut x1);
        states.difference_jacobian(&x0, &x1, &mut found);
        let along = |i: usize, h: f64| {
            let (mut dx, mut moved, mut d) = (DVector::zeros(ndx), x1.clone(), away.clone());
            dx[i] = h;
            states.integrate(&x1, &dx, &mut moved);
            states.difference(&x0, &moved, &mut d);
            d
        };
        for i in 0..ndx {
            let slope = |h: f64| (along(i, h) - along(i, -h)) / (2.0 * h);
            let expected = (slope(5e-4) * 4.0 - slope(1e-3)) / 3.0;
            prop_assert!((found.column(i) - expected).amax() < 1e-7, "column {i}");
        }
    }
}
