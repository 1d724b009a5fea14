//! Neither an update nor acting on one state allocates.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use critics::{
    Activation, Adam, AdamSettings, Mlp, MlpSpec, RunningMedian, SquashedGaussian, gradient_loss,
    soft_update,
};
use dynamics::Stream;

thread_local! {
    /// Blocks taken by this thread, and bytes it holds.
    static COUNT: Cell<(usize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn note(blocks: usize, bytes: isize) {
    // During the end of a thread the counter may be gone; nothing is measured then.
    let _ = COUNT.try_with(|count| {
        let (b, held) = count.get();
        count.set((b + blocks, held + bytes));
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(0, -(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Blocks taken and bytes kept by `f`.
fn measured(mut f: impl FnMut()) -> (usize, isize) {
    let (blocks, held) = COUNT.get();
    f();
    let (blocks_after, held_after) = COUNT.get();
    (blocks_after - blocks, held_after - held)
}

struct Learner {
    critic: Mlp<f32>,
    target: Vec<f32>,
    policy: SquashedGaussian<f32>,
    adam: Adam<f32>,
    grads: Vec<f32>,
    policy_grads: Vec<f32>,
}

/// The network calls of one update, as a method makes them.
fn update(batch: usize) -> impl FnMut() {
    let stream = &mut Stream::new(1, "weights", 0);
    let mut net = |sizes: [usize; 4], hidden, heads: &[usize]| {
        Mlp::<f32>::xavier(MlpSpec { sizes: sizes.to_vec(), hidden }, heads, stream).unwrap()
    };
    let critic = net([5, 96, 96, 1], Activation::Tanh, &[]);
    let policy = net([4, 96, 96, 2], Activation::Silu, &[1, 1]);
    let n = critic.params().len();
    let mut l = Learner {
        target: critic.params().to_vec(),
        policy_grads: vec![0.0; policy.params().len()],
        policy: SquashedGaussian::new(policy, &[-1.0], &[1.0]).unwrap(),
        adam: Adam::new(n, AdamSettings::default()),
        grads: vec![0.0; n],
        critic,
    };
    let (mut ws, mut policy_ws) = (l.critic.workspace(batch), l.policy.workspace(batch));
    let (x, s) = (vec![0.5_f32; 5 * batch], vec![0.5_f32; 4 * batch]);
    let (ones, mut gx, mut v) = (vec![1.0_f32; batch], vec![0.0; 5 * batch], vec![0.0; 5 * batch]);
    let (mut a, mut log_prob, mut gs) = (vec![0.0; batch], vec![0.0; batch], vec![0.0; 4 * batch]);
    let (mut median, mut scratch) = (RunningMedian::default(), Vec::with_capacity(batch));
    let goal = vec![0.1_f32; 5 * batch];
    move || {
        l.critic.forward(&x, &mut ws);
        l.critic.input_gradient(&ones, &mut ws, &mut gx);
        gradient_loss(&gx, &goal, &ones, batch, 5, 0..4, &mut median, &mut scratch, &mut v);
        l.critic.tangent(&v, &mut ws);
        l.grads.fill(0.0);
        l.critic.sobolev_backward(&ones, &ones, &mut ws, &mut l.grads);
        l.adam.step(l.critic.params_mut(), &l.grads);
        soft_update(&mut l.target, l.critic.params(), 0.005);
        l.policy.mean_action(&s, &mut policy_ws, &mut a);
        l.policy.sample(&s, &ones, &mut policy_ws, &mut a, &mut log_prob);
        l.policy.backward(&ones, &ones, &mut policy_ws, &mut l.policy_grads);
        l.policy.state_gradient(&ones, &ones, &mut policy_ws, &mut gs);
    }
}

#[test]
fn acting_on_one_state_allocates_nothing() {
    let stream = &mut Stream::new(1, "weights", 0);
    let spec = MlpSpec { sizes: vec![18, 256, 256, 12], hidden: Activation::Relu };
    let net = Mlp::<f32>::xavier(spec, &[6, 6], stream).unwrap();
    let policy = SquashedGaussian::new(net, &[-1.0; 6], &[1.0; 6]).unwrap();
    let mut ws = policy.workspace(1);
    let (mut a, mut log_prob, mut gx) = ([0.0; 6], [0.0], [0.0; 18]);
    let mut act = || {
        policy.mean_action(&[0.5; 18], &mut ws, &mut a);
        policy.sample(&[0.5; 18], &[0.1; 6], &mut ws, &mut a, &mut log_prob);
        policy.state_gradient(&[1.0; 6], &[1.0], &mut ws, &mut gx);
    };
    // The first call detects the instruction set and makes the thread's packing memory.
    act();
    assert_eq!(measured(act), (0, 0));
}

#[test]
fn an_update_allocates_nothing_after_the_first() {
    let mut update = update(256);
    // The first update makes the running median and the thread's packing memory.
    update();
    assert_eq!(measured(&mut update), (0, 0));
}
