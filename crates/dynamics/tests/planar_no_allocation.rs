//! Neither a step nor a linearisation of a planar mechanism allocates.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dynamics::models::{HalfCheetahParameters, HopperParameters};
use dynamics::planar::{ContactKind, PlanarTree};
use dynamics::{Dynamics, Linearization, Plant};
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

fn blocks_of_both<const N: usize>(model: &PlanarTree<N>) -> usize {
    let mut x = DVector::from_element(2 * N, -0.1);
    x[1] = -0.5;
    assert!(
        model.clearances(&x).iter().any(|c| *c < 0.0),
        "the contact's branches are measured too"
    );
    let (u, mut x_next) = (DVector::from_element(N - 3, 0.3), x.clone());
    let (mut ws, mut out) = (model.workspace(), Linearization::of(model));
    let before = BLOCKS.get();
    model.step(&mut ws, &x, &u, &mut x_next).unwrap();
    model.linearize(&mut ws, &x, &u, &mut out).unwrap();
    BLOCKS.get() - before
}

#[test]
fn step_and_linearize_do_not_allocate() {
    for kind in [ContactKind::Hard, ContactKind::Smooth] {
        let (mut hopper, mut cheetah) = (HopperParameters::real(), HalfCheetahParameters::real());
        (hopper.contact.kind, cheetah.contact.kind) = (kind, kind);
        assert_eq!(blocks_of_both(&hopper.model(1.0 / 60.0).unwrap()), 0, "{kind:?}");
        assert_eq!(blocks_of_both(&cheetah.model(1.0 / 60.0).unwrap()), 0, "{kind:?}");
    }
    // The counter counts.
    let before = BLOCKS.get();
    drop(std::hint::black_box(vec![1.0_f64; 4]));
    assert_eq!(BLOCKS.get() - before, 1);
}
