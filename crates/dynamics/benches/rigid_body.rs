//! Rigid-body algorithms on the 7-dof arm, and on chains of growing length.

#![expect(clippy::expect_used, reason = "a bench has no one to report to")]

use divan::{Bencher, black_box};
use dynamics::Stream;
use dynamics::models::iiwa14;
use dynamics::rigid_body::{Base, Model, Workspace};
use nalgebra::{DMatrix, DVector};

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
    let model = Model::new(&iiwa14(), Base::Fixed).expect("valid");
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
