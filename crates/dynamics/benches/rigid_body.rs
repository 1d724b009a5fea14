//! Rigid-body algorithms on the 7-dof arm, and on chains of growing length.

#![expect(clippy::expect_used, reason = "a bench has no one to report to")]

use divan::{Bencher, black_box};
use dynamics::models::iiwa14;
use dynamics::rigid_body::description::{
    Inertial, JointDescription, JointKind, JointProperties, LinkDescription, RobotDescription,
};
use dynamics::rigid_body::{Base, Model, Motor, ReachCost, ReachSettings, Workspace};
use dynamics::{Cost, CostExpansion, Stream};
use nalgebra::{DMatrix, DVector, Matrix3, Vector3};

fn main() {
    divan::main();
}

struct Case {
    model: Model,
    ws: Workspace,
    q: DVector<f64>,
    v: DVector<f64>,
    tau: DVector<f64>,
    out: DVector<f64>,
    m: DMatrix<f64>,
}

fn arm() -> Case {
    case(&iiwa14())
}

/// Rods of 0.3 m, one on the end of the other, on revolute joints about y and x in turn.
fn chain(links: usize) -> Case {
    let name = |i: usize| format!("link{i}");
    let rod = Inertial {
        mass: 1.0,
        center: Vector3::new(0.0, 0.0, 0.15),
        inertia: Matrix3::from_diagonal(&Vector3::new(8e-3, 8e-3, 1e-3)),
    };
    let joint = |i: usize| JointDescription {
        name: format!("joint{i}"),
        kind: JointKind::Revolute(if i % 2 == 1 { Vector3::y() } else { Vector3::x() }),
        parent: name(i - 1),
        child: name(i),
        position: Vector3::new(0.0, 0.0, 0.3),
        rotation: Matrix3::identity(),
        home: vec![0.0],
        properties: JointProperties::default(),
        line: 0,
    };
    let link = |i| LinkDescription {
        name: name(i),
        inertial: if i == 0 { Inertial::ZERO } else { rod },
        line: 0,
    };
    case(&RobotDescription {
        name: "chain".to_owned(),
        gravity: Vector3::new(0.0, 0.0, -9.81),
        links: (0..=links).map(link).collect(),
        joints: (1..=links).map(joint).collect(),
        ..RobotDescription::default()
    })
}

fn case(description: &RobotDescription) -> Case {
    let model = Model::new(description, Base::Fixed).expect("valid");
    let mut s = Stream::new(0, "bench", 0);
    let nv = model.nv();
    let mut normal = |n: usize| DVector::from_fn(n, |_, _| s.normal());
    let (v, tau) = (normal(nv), normal(nv));
    Case {
        ws: model.workspace(),
        q: model.random_configuration(&mut Stream::new(0, "q", 0)),
        v,
        tau,
        out: DVector::zeros(nv),
        m: DMatrix::zeros(nv, nv),
        model,
    }
}

#[divan::bench]
fn rnea(bencher: Bencher) {
    let mut c = arm();
    bencher.bench_local(|| {
        c.model.rnea(&mut c.ws, black_box(&c.q), &c.v, &c.tau, &mut c.out);
    });
}

#[divan::bench]
fn aba(bencher: Bencher) {
    let mut c = arm();
    bencher.bench_local(|| c.model.aba(&mut c.ws, black_box(&c.q), &c.v, &c.tau, &mut c.out));
}

#[divan::bench]
fn crba(bencher: Bencher) {
    let mut c = arm();
    bencher.bench_local(|| c.model.mass_matrix(&mut c.ws, black_box(&c.q), &mut c.m));
}

#[divan::bench]
fn rnea_derivatives(bencher: Bencher) {
    let mut c = arm();
    bencher.bench_local(|| c.model.rnea_derivatives(&mut c.ws, black_box(&c.q), &c.v, &c.tau));
}

#[divan::bench]
fn aba_derivatives(bencher: Bencher) {
    let mut c = arm();
    bencher.bench_local(|| c.model.aba_derivatives(&mut c.ws, black_box(&c.q), &c.v, &c.tau));
}

#[divan::bench]
fn gravity_derivatives(bencher: Bencher) {
    let mut c = arm();
    bencher.bench_local(|| c.model.gravity_derivatives(&mut c.ws, black_box(&c.q)));
}

/// The cost of reaching of DVP's arm, and a state and control.
fn reaching(orientation_weight: f64) -> (ReachCost, DVector<f64>, DVector<f64>) {
    let Case { model, q, v, tau, .. } = arm();
    let tool = model.find_frame("tool").expect("the arm has a tool");
    let goal = Vector3::new(-0.3, -0.4, 0.5);
    let settings = ReachSettings { orientation_weight, ..ReachSettings::new(&model, 0.03, goal) };
    let motors: Vec<_> = (0..7).map(|dof| Motor { dof, gear: 1.0 }).collect();
    let x = DVector::from_iterator(14, q.iter().chain(&v).copied());
    (ReachCost::new(model, tool, &motors, settings).expect("valid"), x, tau)
}

#[divan::bench(args = [0.0, 1.0])]
fn reach_cost(bencher: Bencher, orientation_weight: f64) {
    let (cost, x, u) = reaching(orientation_weight);
    let mut ws = Cost::workspace(&cost);
    bencher.bench_local(|| cost.stage(&mut ws, 0, black_box(&x), &u));
}

#[divan::bench(args = [0.0, 1.0])]
fn reach_cost_expansion(bencher: Bencher, orientation_weight: f64) {
    let (cost, x, u) = reaching(orientation_weight);
    let (mut ws, mut out) = (Cost::workspace(&cost), CostExpansion::zeros(14, 7));
    bencher.bench_local(|| cost.expand_stage(&mut ws, 0, black_box(&x), &u, &mut out));
}

const CHAINS: [usize; 4] = [4, 16, 32, 64];

#[divan::bench(args = CHAINS)]
fn chain_aba(bencher: Bencher, links: usize) {
    let mut c = chain(links);
    bencher.bench_local(|| c.model.aba(&mut c.ws, black_box(&c.q), &c.v, &c.tau, &mut c.out));
}

#[divan::bench(args = CHAINS)]
fn chain_crba(bencher: Bencher, links: usize) {
    let mut c = chain(links);
    bencher.bench_local(|| c.model.mass_matrix(&mut c.ws, black_box(&c.q), &mut c.m));
}

#[divan::bench(args = CHAINS)]
fn chain_aba_derivatives(bencher: Bencher, links: usize) {
    let mut c = chain(links);
    bencher.bench_local(|| c.model.aba_derivatives(&mut c.ws, black_box(&c.q), &c.v, &c.tau));
}
