//! Once a workspace is made, nothing in rigid-body dynamics allocates.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dynamics::models::iiwa14;
use dynamics::rigid_body::{
    Base, Model, Motor, ReachCost, ReachSettings, RigidBodyPlant, RigidBodyScheme,
    SecondOrderWorkspace,
};
use dynamics::{Cost, CostExpansion, Dynamics, Linearization, Plant, TerminalCost};
use nalgebra::{DMatrix, DVector, Vector3};

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
fn nothing_allocates_after_creation() {
    assert!(blocks(|| drop(std::hint::black_box(vec![1.0]))) > 0, "the counter counts");
    for base in [Base::Fixed, Base::Floating] {
        let model = Model::new(&iiwa14(), base).unwrap();
        let nv = model.nv();
        let (q, v) = (model.neutral(), DVector::from_element(nv, 0.3));
        let (mut out, mut m) = (v.clone(), DMatrix::zeros(nv, nv));
        let (mut j, mut h) = (DMatrix::zeros(6, nv), DMatrix::zeros(3 * nv, 3 * nv));
        let tool = model.find_frame("tool").unwrap();
        let (mut ws, mut second) = (model.workspace(), SecondOrderWorkspace::new(&model));
        let mut moved = q.clone();
        let count = blocks(|| {
            model.frame_pose(&mut ws, &q, tool);
            model.frame_velocity(&mut ws, &q, &v, tool);
            model.frame_jacobian(&mut ws, &q, tool, &mut j);
            model.center_of_mass(&mut ws, &q);
            model.energy(&mut ws, &q, &v);
            model.momentum(&mut ws, &q, &v);
            model.mass_matrix(&mut ws, &q, &mut m);
            model.rnea(&mut ws, &q, &v, &v, &mut out);
            model.aba(&mut ws, &q, &v, &v, &mut out);
            model.rnea_derivatives(&mut ws, &q, &v, &v);
            model.aba_derivatives(&mut ws, &q, &v, &v);
            model.aba_hessian(&mut second, &q, &v, &v, &v, &mut h);
            model.integrate(&q, &v, &mut moved);
            model.difference(&q, &moved, &mut out);
            model.gravity_torque(&mut ws, &q, &mut out);
            model.gravity_derivatives(&mut ws, &q);
        });
        assert_eq!(count, 0, "{base:?}");

        let settings = ReachSettings {
            orientation_weight: 1.0,
            state_weights: DVector::repeat(2 * nv, 1.0),
            terminal_weight: 1.0,
            ..ReachSettings::new(&model, 0.01, Vector3::zeros())
        };
        let motor = Motor { dof: nv - 1, gear: 2.0 };
        let cost = ReachCost::new(model.clone(), tool, &[motor], settings).unwrap();
        let (mut ws, mut expansion) = (Cost::workspace(&cost), CostExpansion::zeros(2 * nv, 1));
        let x = DVector::from_iterator(model.nq() + nv, q.iter().chain(&v).copied());
        let mut u = DVector::zeros(1);
        let count = blocks(|| {
            cost.holding_controls(&mut ws, &x, &mut u);
            cost.stage(&mut ws, 0, &x, &u);
            cost.expand_stage(&mut ws, 0, &x, &u, &mut expansion);
            cost.terminal(&mut ws, &x);
            cost.expand_terminal(&mut ws, &x, &mut expansion);
        });
        assert_eq!(count, 0, "{base:?}");

        for scheme in [RigidBodyScheme::SemiImplicitEuler, RigidBodyScheme::Rk4] {
            let plant = RigidBodyPlant::new(model.clone(), scheme, 0.01).unwrap();
            let x = DVector::from_iterator(plant.nx(), q.iter().chain(&v).copied());
            let (mut next, u) = (x.clone(), DVector::from_element(plant.nu(), 1.0));
            let (mut ws, mut out) = (plant.workspace(), Linearization::of(&plant));
            let count = blocks(|| {
                plant.step(&mut ws, &x, &u, &mut next).unwrap();
                plant.linearize(&mut ws, &x, &u, &mut out).unwrap();
            });
            assert_eq!(count, 0, "{base:?} {scheme:?}");
        }
    }
}
