//! Once a workspace is made, second derivatives of steps do not allocate, exact or by differences.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dynamics::models::{
    Acrobot, AcrobotParameters, Pendulum, PendulumParameters, Quadrotor, QuadrotorParameters,
    Unicycle, iiwa14,
};
use dynamics::rigid_body::{Base, Model, RigidBodyPlant, RigidBodyScheme};
use dynamics::{Dynamics, Euler, HessianProduct, Rk4, SemiImplicitEuler};
use nalgebra::DVector;

thread_local! {
    static BLOCKS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // During the end of a thread the counter may be gone; nothing is measured then.
        let _ = BLOCKS.try_with(|blocks| blocks.set(blocks.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn blocks(work: impl FnOnce()) -> usize {
    let before = BLOCKS.get();
    work();
    BLOCKS.get() - before
}

fn assert_no_blocks(model: &impl Dynamics, x: &DVector<f64>) {
    let (u, lambda) = (DVector::repeat(model.nu(), 0.7), DVector::from_element(model.ndx(), -0.3));
    let (mut ws, mut out) = (model.workspace(), HessianProduct::of(model));
    let count = blocks(|| model.hessian_product(&mut ws, x, &u, &lambda, &mut out).unwrap());
    assert_eq!(count, 0, "{}", model.name());
}

#[test]
fn second_derivatives_do_not_allocate() {
    assert!(blocks(|| drop(std::hint::black_box(vec![1.0]))) > 0, "the counter counts");
    let state = |n: usize| DVector::repeat(n, 0.4);
    assert_no_blocks(&Euler::new(Unicycle, 0.1).unwrap(), &state(3));
    assert_no_blocks(&Pendulum::new(PendulumParameters::default(), 0.05).unwrap(), &state(2));
    let acrobot = Acrobot::new(AcrobotParameters::real()).unwrap();
    assert_no_blocks(
        &SemiImplicitEuler::with_substeps(acrobot.clone(), 0.1, 2).unwrap(),
        &state(4),
    );
    assert_no_blocks(&Rk4::with_substeps(acrobot, 0.1, 2).unwrap(), &state(4));
    let quadrotor = Quadrotor::new(QuadrotorParameters::real()).unwrap();
    // More stages or substeps multiply matrices, for which the linear algebra takes memory from 6 states on.
    assert_no_blocks(&Euler::new(quadrotor, 0.02).unwrap(), &state(12));
    for base in [Base::Fixed, Base::Floating] {
        let model = Model::new(&iiwa14(), base).unwrap();
        let x = DVector::from_iterator(
            model.nq() + model.nv(),
            model.neutral().iter().copied().chain(std::iter::repeat_n(0.3, model.nv())),
        );
        for scheme in [RigidBodyScheme::SemiImplicitEuler, RigidBodyScheme::Rk4] {
            assert_no_blocks(&RigidBodyPlant::new(model.clone(), scheme, 0.01).unwrap(), &x);
        }
    }
}
