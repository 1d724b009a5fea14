//! One update of SAC and VG-SAC, one evaluation of the policy, one environment step of SVG with its updates, and
//! one pass of the tracking-feedback gradient.

#![expect(clippy::expect_used, reason = "a bench has no one to report to")]

use agents::replay::{Batch, TransitionShape};
use agents::svg::{Estimator, SvgSettings};
use agents::tracking::{Derivatives, Horizon, Recording, TrackingGradient, TrackingPolicy};
use agents::{Budget, Learner, Sac, SacSettings, SvgLearner};
use bench_tasks::{CarLapSettings, CartpoleSvg, CartpoleSvgSettings, LapTask, Preset, Variant};
use divan::Bencher;
use dynamics::{ActionBounds, Stream};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    divan::main();
}

const BATCH: usize = 256;
/// Observation 6, action 1: a cartpole with room.
const SHAPE: TransitionShape = TransitionShape { n_observations: 6, nu: 1, ndx: 6 };

/// Hidden width of the actor and of the critics, two layers each.
const WIDTHS: [(usize, usize); 3] = [(64, 64), (256, 256), (256, 512)];

fn networks(settings: SacSettings, (actor, critic): (usize, usize)) -> Sac<f32> {
    let settings = SacSettings {
        actor_hidden: vec![actor; 2],
        critic_hidden: vec![critic; 2],
        batch_size: BATCH,
        ..settings
    };
    Sac::new(&settings, SHAPE, 0.99, &ActionBounds::symmetric(1, 40.0), 0).expect("valid")
}

fn numbers(n: usize, stream: &mut Stream) -> Vec<f32> {
    (0..n).map(|_| stream.normal() as f32).collect()
}

fn update(bencher: Bencher, settings: SacSettings, widths: (usize, usize)) {
    let derivatives = settings.value_gradient.is_some();
    let mut sac = networks(settings, widths);
    let mut s = Stream::new(0, "bench", 0);
    let TransitionShape { n_observations: no, nu, ndx } = SHAPE;
    let derivative = |n: usize| if derivatives { n * BATCH } else { 0 };
    let batch = Batch {
        o: numbers(no * BATCH, &mut s),
        u: numbers(nu * BATCH, &mut s),
        reward: numbers(BATCH, &mut s),
        o_next: numbers(no * BATCH, &mut s),
        mask: vec![1.0; BATCH],
        jacobian: numbers(derivative(no * (ndx + nu)), &mut s),
        reward_gradient: numbers(derivative(ndx + nu), &mut s),
        observation_jacobian: Vec::new(),
    };
    let (eps_next, eps_actor) = (numbers(nu * BATCH, &mut s), numbers(nu * BATCH, &mut s));
    bencher.bench_local(|| sac.update(&batch, &eps_next, &eps_actor));
}

#[divan::bench(args = WIDTHS, sample_count = 50)]
fn sac_update(bencher: Bencher, widths: (usize, usize)) {
    update(bencher, SacSettings::paired_sac(), widths);
}

#[divan::bench(args = WIDTHS, sample_count = 50)]
fn vg_sac_update(bencher: Bencher, widths: (usize, usize)) {
    update(bencher, SacSettings::vg_sac(), widths);
}

#[divan::bench(args = [(1, 64), (256, 64), (1, 256), (256, 256)])]
fn policy_evaluation(bencher: Bencher, (batch, width): (usize, usize)) {
    let sac = networks(SacSettings::sac(), (width, 64));
    let x = numbers(SHAPE.n_observations * batch, &mut Stream::new(0, "bench", 0));
    let mut action = vec![0.0; SHAPE.nu * batch];
    let mut ws = sac.actor.workspace(batch);
    bencher.bench_local(|| sac.actor.mean_action(&x, &mut ws, &mut action));
}

/// Acting, model, critic and policy on the cart-pole with the defaults.
#[divan::bench(args = [Estimator::OneReplay, Estimator::Zero], sample_count = 200)]
fn svg_step(bencher: Bencher, estimator: Estimator) {
    let task = CartpoleSvg::new(Variant::Real, &CartpoleSvgSettings::default()).expect("valid");
    let mut learner = SvgLearner::new(&task, &SvgSettings::of(estimator), 0).expect("valid");
    // The first episode learns nothing.
    while learner.advance(Budget { env_steps: 100 }).expect("learns").env_steps < 600 {}
    bencher.bench_local(|| learner.advance(Budget { env_steps: 1 }).expect("learns"));
}

/// The gradient along a roll-out of the car, 156 decisions and 1,092 steps.
#[divan::bench(sample_count = 50)]
fn tracking_gradient(bencher: Bencher) {
    let settings = CarLapSettings::preset(Preset::Paper);
    let task = LapTask::car(Variant::Real, &settings).expect("valid");
    let policy = TrackingPolicy::new(&task, &[64, 64], 0).expect("fits");
    let starts = &mut Stream::new(0, "bench", 0);
    let recording =
        Recording::of(&task, &mut policy.follower(), starts, None).expect("the plant steps");
    let (source, horizon) = (Derivatives::Nominal, Horizon::Full);
    let mut gradient = TrackingGradient::new(&policy, &task, source, horizon).expect("fits");
    let mut grads = vec![0.0; policy.params().len()];
    bencher.bench_local(|| gradient.costate(&policy, &recording, &mut grads).expect("finite"));
}
