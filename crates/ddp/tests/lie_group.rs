//! States with rotations: derivatives along tangent vectors, gaps and feedback on the group.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use ddp::shooting::{Route, Shooting, Step};
use ddp::{Guess, Method, Problem, Settings, Solution, Solver, Status};
use dynamics::rigid_body::description::{
    Inertial, JointDescription, JointKind, JointProperties, LinkDescription, RobotDescription,
};
use dynamics::rigid_body::{Base, Model, Motor, RigidBodyPlant, RigidBodyScheme};
use dynamics::{Cost, CostExpansion, HessianKind, Plant, StateSpace, States, Stream, TerminalCost};
use nalgebra::{DMatrix, DVector, Matrix3, Vector3};

/// A lopsided body on a joint of the given kind, with a motor on every degree of freedom.
fn body(kind: JointKind) -> RigidBodyPlant {
    let inertial = Inertial {
        mass: 1.5,
        center: Vector3::new(0.1, -0.05, 0.2),
        inertia: Matrix3::new(0.05, 0.01, 0.0, 0.01, 0.08, -0.02, 0.0, -0.02, 0.06),
    };
    let link = |name: &str, inertial| LinkDescription { name: name.to_owned(), inertial, line: 0 };
    let joint = JointDescription {
        name: "joint".to_owned(),
        kind,
        parent: "base".to_owned(),
        child: "body".to_owned(),
        position: Vector3::zeros(),
        rotation: Matrix3::identity(),
        home: kind.neutral(),
        properties: JointProperties::default(),
        line: 0,
    };
    let robot = RobotDescription {
        name: "body".to_owned(),
        links: vec![link("base", Inertial::ZERO), link("body", inertial)],
        joints: vec![joint],
        gravity: Vector3::new(0.0, 0.0, -9.81),
        ..RobotDescription::default()
    };
    let model = Model::new(&robot, Base::Fixed).unwrap();
    let motors = (0..model.nv()).map(|dof| Motor { dof, gear: 1.0 }).collect();
    RigidBodyPlant::new(model, RigidBodyScheme::SemiImplicitEuler, 0.05)
        .unwrap()
        .with_motors(motors)
        .unwrap()
}

/// ½ w ‖x ⊖ goal‖² + ½ r ‖u‖², Gauss–Newton in the tangent space.
struct Reach<'a> {
    space: &'a RigidBodyPlant,
    goal: DVector<f64>,
    w: f64,
    r: f64,
}

struct Scratch {
    d: DVector<f64>,
    jacobian: DMatrix<f64>,
}

impl Reach<'_> {
    fn scratch(&self) -> Scratch {
        let n = self.space.ndx();
        Scratch { d: DVector::zeros(n), jacobian: DMatrix::zeros(n, n) }
    }
    fn distance(&self, ws: &mut Scratch, x: &DVector<f64>) -> f64 {
        self.space.difference(&self.goal, x, &mut ws.d);
        0.5 * self.w * ws.d.norm_squared()
    }
    fn expand(&self, ws: &mut Scratch, x: &DVector<f64>, out: &mut CostExpansion) {
        out.l = self.distance(ws, x);
        self.space.difference_jacobian(&self.goal, x, &mut ws.jacobian);
        out.lx.gemv_tr(self.w, &ws.jacobian, &ws.d, 0.0);
        out.lxx.gemm_tr(self.w, &ws.jacobian, &ws.jacobian, 0.0);
    }
}

impl Cost for Reach<'_> {
    type Workspace = Scratch;

    fn ndx(&self) -> usize {
        self.space.ndx()
    }
    fn nu(&self) -> usize {
        self.space.nu()
    }
    fn workspace(&self) -> Scratch {
        self.scratch()
    }
    fn stage(&self, ws: &mut Scratch, _t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        self.distance(ws, x) + 0.5 * self.r * u.norm_squared()
    }
    fn expand_stage(
        &self,
        ws: &mut Scratch,
        _t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        self.expand(ws, x, out);
        out.l += 0.5 * self.r * u.norm_squared();
        out.lu.zip_apply(u, |lu, u| *lu = self.r * u);
        out.lux.fill(0.0);
        out.luu.fill(0.0);
        out.luu.fill_diagonal(self.r);
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::GaussNewton
    }
}

impl TerminalCost for Reach<'_> {
    type Workspace = Scratch;

    fn ndx(&self) -> usize {
        self.space.ndx()
    }
    fn workspace(&self) -> Scratch {
        self.scratch()
    }
    fn terminal(&self, ws: &mut Scratch, x: &DVector<f64>) -> f64 {
        self.distance(ws, x)
    }
    fn expand_terminal(&self, ws: &mut Scratch, x: &DVector<f64>, out: &mut CostExpansion) {
        self.expand(ws, x, out);
    }
    fn hessian_kind(&self) -> HessianKind {
        HessianKind::GaussNewton
    }
}

const KINDS: [JointKind; 2] = [JointKind::Spherical, JointKind::FreeFlyer];
const HORIZON: usize = 20;

/// At rest in the neutral position, moved along a random tangent vector.
fn state(plant: &RigidBodyPlant, spread: f64, seed: u64) -> DVector<f64> {
    let s = &mut Stream::new(seed, "state", 0);
    let rest = plant.model().neutral();
    let x = DVector::from_fn(plant.nx(), |i, _| rest.get(i).copied().unwrap_or(0.0));
    let dx = DVector::from_fn(plant.ndx(), |_, _| s.uniform(-spread, spread));
    let mut out = x.clone();
    plant.integrate(&x, &dx, &mut out);
    out
}

fn costs(plant: &RigidBodyPlant) -> [Reach<'_>; 2] {
    [(1.0, 0.01), (10.0, 0.0)].map(|(w, r)| Reach {
        space: plant,
        goal: state(plant, 0.0, 0),
        w,
        r,
    })
}

fn solve(plant: &RigidBodyPlant, method: Method, x0: &DVector<f64>, guess: Guess<'_>) -> Solution {
    let [cost, terminal] = costs(plant);
    let problem = Problem { discount: 0.97, ..Problem::new(plant, &cost, &terminal, HORIZON) };
    let settings = Settings { stop: 1e-14, max_iterations: 300, ..Settings::default() };
    let found = Solver::new(problem, method, settings).unwrap().solve(x0, guess).unwrap();
    assert_eq!(found.status, Status::Converged, "{method}");
    found
}

#[test]
fn value_gradients_are_along_tangent_vectors() {
    for kind in KINDS {
        let plant = body(kind);
        let x0 = state(&plant, 1.0, 1);
        let u = DVector::zeros(plant.nu());
        for method in [Method::Fddp, Method::Ilqr, Method::Ddp] {
            let found = solve(&plant, method, &x0, Guess::Repeat(&u));
            let scale = found.vx[0].amax().max(1.0);
            for i in 0..plant.ndx() {
                let moved = |by: f64| {
                    let mut dx = DVector::zeros(plant.ndx());
                    dx[i] = by;
                    let mut x = x0.clone();
                    plant.integrate(&x0, &dx, &mut x);
                    solve(&plant, method, &x, Guess::Controls(&found.us)).cost
                };
                let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                let vx = found.vx[0][i];
                assert!((vx - slope).abs() < 1e-5 * scale, "{kind:?} {method} {i}: {vx} {slope}");
            }
        }
    }
}

#[test]
fn guesses_anywhere_on_the_group_lead_to_the_same_optimum() {
    for kind in KINDS {
        let plant = body(kind);
        let x0 = state(&plant, 1.0, 1);
        let u = DVector::zeros(plant.nu());
        let best = solve(&plant, Method::Fddp, &x0, Guess::Repeat(&u));
        for seed in 0..5 {
            let xs: Vec<_> =
                (0..=HORIZON as u64).map(|t| state(&plant, 0.5, 100 * seed + t)).collect();
            let us = vec![u.clone(); HORIZON];
            let found = solve(&plant, Method::Fddp, &x0, Guess::Trajectory(&xs, &us));
            assert!((found.cost - best.cost).abs() < 1e-9 * best.cost, "{kind:?} {seed}");
            for x in &found.xs {
                let q = &x.as_slice()[plant.model().nq() - 4..plant.model().nq()];
                assert!((q.iter().map(|q| q * q).sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn partial_steps_keep_their_share_of_gaps_on_the_group() {
    let plant = body(JointKind::FreeFlyer);
    let [cost, terminal] = costs(&plant);
    let problem = Problem::new(&plant, &cost, &terminal, HORIZON);
    let x0 = state(&plant, 1.0, 1);
    let us = vec![DVector::zeros(plant.nu()); HORIZON];
    let xs: Vec<_> = (0..=HORIZON as u64).map(|t| state(&plant, 0.5, t)).collect();
    let solve = |max_iterations| {
        // Refusing rises of the cost shortens the first step.
        let settings = Settings { max_iterations, accept_rise: 0.0, ..Settings::default() };
        let mut solver = Solver::new(problem, Method::Fddp, settings).unwrap();
        solver.solve(&x0, Guess::Trajectory(&xs, &us)).unwrap()
    };
    let (before, after) = (solve(0), solve(1));
    let step = after.log[0].step;
    assert!(step > 0.0 && step < 1.0 && !after.feasible, "{step}");
    for (before, after) in before.gaps.iter().zip(&after.gaps) {
        assert!((after - before * (1.0 - step)).amax() < 1e-9);
    }
}

#[test]
fn the_policy_measures_deviations_on_the_group() {
    let plant = body(JointKind::FreeFlyer);
    let x0 = state(&plant, 1.0, 1);
    let u = DVector::zeros(plant.nu());
    let found = solve(&plant, Method::Fddp, &x0, Guess::Repeat(&u));
    let mut policy = found.policy(plant.states()).unwrap();
    let dx = DVector::from_fn(plant.ndx(), |i, _| 0.01 * (i as f64 - 4.0));
    let (mut x, mut u) = (x0.clone(), u);
    assert!(matches!(plant.states(), States::Manifold(_)));
    plant.integrate(&found.xs[5], &dx, &mut x);
    policy.control(5, &x, &mut u).unwrap();
    assert!((u - (&found.us[5] + &found.gains[5] * dx)).amax() < 1e-10);
}

#[test]
fn single_shooting_differentiates_and_descends_on_the_group() {
    for kind in KINDS {
        let plant = body(kind);
        let [cost, terminal] = costs(&plant);
        let problem = Problem { discount: 0.97, ..Problem::new(&plant, &cost, &terminal, HORIZON) };
        let (x0, mut us) = (state(&plant, 1.0, 1), vec![DVector::zeros(plant.nu()); HORIZON]);
        let mut shooting = Shooting::new(problem).unwrap();
        shooting.rollout(&x0, &us).unwrap();
        let gradient = shooting.gradient().unwrap().to_vec();
        let scale = gradient.iter().fold(1.0, |m: f64, g| m.max(g.abs()));
        for (i, found) in gradient.iter().enumerate().step_by(7) {
            let mut moved = |by: f64| {
                let mut us = us.clone();
                us[i / plant.nu()][i % plant.nu()] += by;
                shooting.rollout(&x0, &us).unwrap()
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((found - slope).abs() < 1e-7 * scale, "{kind:?} {i}: {found} {slope}");
        }
        for _ in 0..100 {
            shooting.rollout(&x0, &us).unwrap();
            us = shooting
                .improve(Step::SecondOrder { route: Route::Auto, step_length: 1.0 })
                .unwrap()
                .us
                .to_vec();
        }
        let best = solve(&plant, Method::Fddp, &x0, Guess::Controls(&us)).cost;
        let reached = shooting.cost();
        assert!((reached - best).abs() < 1e-9 * best, "{kind:?}: {reached} against {best}");
    }
}
