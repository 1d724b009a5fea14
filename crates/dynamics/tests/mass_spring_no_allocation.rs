//! No step of a mass-spring network allocates, nor do its derivatives.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dynamics::mass_spring::{
    Integration, Law, Link, MassSpring, Scheme, Startup, hanging, pendulum,
};
use dynamics::{Dynamics, HessianProduct, Linearization, Plant};
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

#[test]
fn steps_and_derivatives_do_not_allocate() {
    let one_sided = Law::Unilateral { smoothing: 1e-3 };
    for links in [vec![Link::pendulum(); 2], vec![Link { law: one_sided, ..Link::pendulum() }; 10]]
    {
        let mut spec = pendulum(3, &links);
        spec.springs[1].damping = 2.0;
        let integration = Integration { scheme: Scheme::Bdf2, startup: Startup::Bdf1, dt: 0.02 };
        let model = MassSpring::new(spec, integration).unwrap();
        let mut x = hanging(3, &links, &[0.0; 3]).unwrap();
        x[0] += 0.2;
        let x = model.state(&x, &vec![0.3; x.len()], &[0.0; 3]).unwrap();
        let (u, mut x_next) = (DVector::from_element(3, 0.3), x.clone());
        let (mut ws, mut out) = (model.workspace(), Linearization::of(&model));
        let (mut derivative, mut hessian) = (model.new_derivative(), HessianProduct::of(&model));
        let (lambda, mut by_x, mut by_u) =
            (DVector::from_element(model.ndx(), 1.0), vec![0.0; model.ndx()], [0.0; 3]);
        let mut scratch = derivative.scratch();
        let before = BLOCKS.get();
        model.step(&mut ws, &x, &u, &mut x_next).unwrap();
        model.linearize(&mut ws, &x, &u, &mut out).unwrap();
        model.derivative(&mut ws, &x, &u, &mut x_next, &mut derivative).unwrap();
        derivative.adjoint(&mut scratch, lambda.as_slice(), &mut by_x, &mut by_u);
        derivative.tangent(&mut scratch, lambda.as_slice(), &[1.0; 3], &mut by_x);
        derivative.dense(&mut out);
        model.hessian_product(&mut ws, &x, &u, &lambda, &mut hessian).unwrap();
        assert_eq!(BLOCKS.get() - before, 0);
    }
    // The counter counts.
    let before = BLOCKS.get();
    drop(std::hint::black_box(vec![1.0_f64; 4]));
    assert_eq!(BLOCKS.get() - before, 1);
}
