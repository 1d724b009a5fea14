//! Neither a terminal cost nor a step of Sobolev training allocates once its workspace exists.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;

use critics::{
    Adam, AdamSettings, FitSettings, HessianTargets, Initialization, NeuralTerminalCost, Scaling,
    SobolevTargets, SobolevWeights, ValueData, ValueNetwork, ValueSpec,
};
use dynamics::{CostExpansion, HessianKind, Stream, TerminalCost};
use nalgebra::DVector;

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

fn network(nx: usize) -> ValueNetwork<f64> {
    let stream = &mut Stream::new(1, "weights", 0);
    let (spec, scaling) = (ValueSpec::new(nx), Scaling::none(nx));
    ValueNetwork::random(spec, scaling, Initialization::Pytorch, stream).unwrap()
}

#[test]
fn a_terminal_cost_allocates_nothing_after_the_first_call() {
    for kind in [HessianKind::Exact, HessianKind::GaussNewton] {
        let cost = NeuralTerminalCost::new(network(14), kind);
        let (mut ws, mut out) = (cost.workspace(), CostExpansion::zeros(14, 7));
        let x = DVector::from_element(14, 0.2);
        let mut expand = || {
            cost.expand_terminal(&mut ws, &x, &mut out);
            out.l += cost.terminal(&mut ws, &x);
        };
        // The first call makes the thread's packing memory.
        expand();
        let before = BLOCKS.get();
        expand();
        assert_eq!(BLOCKS.get() - before, 0, "{kind:?}");
    }
}

#[test]
fn steps_of_every_order_allocate_nothing_after_the_first() {
    let (mut net, samples, nx) = (network(4), 150, 4);
    let data = vec![0.3; samples * nx * nx];
    let (x, v) = (&data[..samples * nx], &data[..samples]);
    let along = &data[..samples * 2 * nx];
    let products = HessianTargets::Products { per_sample: 2, directions: along, products: along };
    let (mut ws, mut grads) = (net.sobolev_workspace(samples), vec![0.0; net.net().params().len()]);
    let mut adam = Adam::new(grads.len(), AdamSettings::default());
    let orders = [
        (None, None),
        (Some(x), None),
        (Some(x), Some(HessianTargets::Matrices(&data))),
        (Some(x), Some(products)),
    ];
    for (vx, vxx) in orders {
        let mut step = || {
            let targets = SobolevTargets { v, vx, vxx };
            net.sobolev_gradient(x, &targets, SobolevWeights::default(), &mut ws, &mut grads);
            adam.step(net.params_mut(), &grads);
        };
        step();
        let before = BLOCKS.get();
        step();
        assert_eq!(BLOCKS.get() - before, 0, "vx {}, vxx {vxx:?}", vx.is_some());
    }
}

#[test]
fn epochs_of_training_allocate_nothing_but_the_report() {
    let mut net = network(2);
    let values = |n: usize| (0..n).map(|i| (i as f64).sin()).collect::<Vec<_>>();
    let data = ValueData { x: values(40), v: values(20), vx: values(40), vxx: values(80) };
    let mut adam = Adam::new(net.net().params().len(), AdamSettings::default());
    let stream = &mut Stream::new(1, "fit", 0);
    let mut blocks = |epochs| {
        let weights = SobolevWeights { gradient: 1.0, hessian: 1.0 };
        let settings = FitSettings {
            epochs,
            weights,
            batch: Some(8),
            directions: Some(1),
            ..FitSettings::default()
        };
        let before = BLOCKS.get();
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        net.fit(&mut adam, &data, None, &settings, stream, go_on).unwrap();
        BLOCKS.get() - before
    };
    blocks(1);
    // The list of epochs doubles four times from 4 entries on.
    assert!(blocks(64) <= blocks(4) + 4);
}
