//! Second derivatives allocate nothing once their workspaces exist.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use critics::{Activation, Mlp, MlpSpec, SquaredResidual};
use dynamics::{HessianKind, Stream};

thread_local! {
    /// Blocks taken by this thread.
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
fn second_derivatives_allocate_nothing_after_the_first() {
    for (n_in, batch) in [(4, 200), (30, 3)] {
        let spec = MlpSpec { sizes: vec![n_in, 64, 64, 3], hidden: Activation::Silu };
        let net = Mlp::<f64>::xavier(spec, &[], &mut Stream::new(1, "weights", 0)).unwrap();
        let (x, seed) = (vec![0.5; n_in * batch], vec![1.0; 3 * batch]);
        let (mut ws, mut scratch) = (net.workspace(batch), net.hessian_workspace(batch));
        let (mut hv, mut h) = (vec![0.0; n_in * batch], vec![0.0; n_in * n_in * batch]);
        let (mut v, mut vx) = (vec![0.0; batch], vec![0.0; n_in * batch]);
        let mut jacobian = vec![0.0; 3 * n_in * batch];
        let mut expand = |batch: usize| {
            net.forward(&x[..n_in * batch], &mut ws);
            let h = &mut h[..n_in * n_in * batch];
            let jacobian = &mut jacobian[..3 * n_in * batch];
            let (seed, x) = (&seed[..3 * batch], &x[..n_in * batch]);
            net.hessian_vector(seed, x, &mut ws, &mut hv[..n_in * batch]);
            net.hessian(seed, &ws, &mut scratch, h);
            net.jacobian(&ws, &mut scratch, jacobian);
            let (v, vx) = (&mut v[..batch], &mut vx[..n_in * batch]);
            let result = SquaredResidual { v, vx, vxx: h, jacobian };
            net.squared_residual(HessianKind::Exact, &ws, &mut scratch, result);
        };
        // The first call makes the thread's packing memory.
        expand(batch);
        let before = BLOCKS.get();
        expand(batch);
        expand(1);
        assert_eq!(BLOCKS.get() - before, 0, "{n_in} inputs, batch {batch}");
    }
}
