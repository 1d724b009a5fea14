//! Once a solver is made, neither its iterations nor the ticks of MPC allocate.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::UnicycleProblem;
use ddp::{Guess, Method, Mpc, MpcSettings, Problem, Settings, Solver, Status};
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
fn nothing_allocates_in_solves_and_ticks() {
    assert!(blocks(|| drop(std::hint::black_box(vec![1.0]))) > 0, "the counter counts");
    let parts = UnicycleProblem::new(1.0, 1.0);
    let limits = ActionBounds::symmetric(2, 0.5);
    let problem = Problem { control_limits: Some(&limits), ..parts.problem(40) };
    let (x0, u, us) = (dvector![-1.0, -1.0, 1.0], dvector![0.1, 0.0], vec![dvector![0.1, 0.0]; 40]);
    for method in Method::ALL {
        let mut solver = Solver::new(problem, method, Settings::default()).unwrap();
        for guess in [Guess::Repeat(&u), Guess::Controls(&us)] {
            let count = blocks(|| {
                assert_eq!(solver.solve_in_place(&x0, guess).unwrap(), Status::Converged);
            });
            assert_eq!(count, 0, "{method}: a solve");
            assert!(solver.log().len() > 3);
        }
        let settings = MpcSettings::default();
        let mut mpc = Mpc::new(problem, method, Settings::default(), settings, &u).unwrap();
        let (mut x, mut control) = (x0.clone(), u.clone());
        let count = blocks(|| {
            for _ in 0..10 {
                mpc.tick(&x).unwrap();
                mpc.control(0.5, &x, &mut control).unwrap();
                x.copy_from(&mpc.xs()[1]);
                mpc.shift(1).unwrap();
            }
        });
        assert_eq!(count, 0, "{method}: ticks");
    }
}
