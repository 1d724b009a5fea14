//! After the first use of a route, neither roll-outs nor gradients nor steps allocate.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::UnicycleProblem;
use ddp::Problem;
use ddp::shooting::{Route, Shooting, Step};
use dynamics::ActionBounds;
use nalgebra::dvector;

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

#[test]
fn nothing_allocates_in_roll_outs_gradients_and_steps() {
    assert!(blocks(|| drop(std::hint::black_box(vec![1.0]))) > 0, "the counter counts");
    let parts = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds::symmetric(2, 0.5);
    let gradients = Route::ConjugateGradient { tolerance: 1e-10, max_iterations: 1000 };
    for control_limits in [None, Some(&limits)] {
        let problem = Problem { control_limits, ..parts.problem(40) };
        let mut shooting = Shooting::new(problem).unwrap();
        let x0 = dvector![-1.0, -1.0, 1.0];
        let mut work = || {
            shooting.rollout_policy(&x0, |_, _, u| u.fill(0.1)).unwrap();
            shooting.gradient().unwrap();
            shooting.gradient_with_policy(|_, _, nu, lambda| lambda[0] += nu[0]).unwrap();
            assert!(shooting.improve(Step::FirstOrder { step_length: 0.05 }).is_ok());
            for route in [Route::Dense, Route::Riccati, gradients, Route::Auto] {
                let found =
                    shooting.improve(Step::SecondOrder { route, step_length: 1.0 }).unwrap();
                assert!(found.step_length.is_some());
            }
        };
        work();
        assert_eq!(blocks(work), 0);
    }
}
